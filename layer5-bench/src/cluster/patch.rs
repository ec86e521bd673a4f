//! The three kinds of patch that kubectl sends: a list of steps, a merge, and a merge that knows lists by name.
//! In: an object and a patch. Out: the object, changed. Called from: [`super::objects`].
//! Reference: RFC 6902, RFC 7386, and the Kubernetes strategic merge for lists whose key is `name`.

use serde_json::{Map, Value};

/// Applies the steps of `patch` (RFC 6902: `test`, `add`, `replace`, `remove`).
///
/// # Errors
/// The step that does not apply; the object is then half changed, and to be thrown away.
pub(super) fn steps(object: &mut Value, patch: &Value) -> Result<(), String> {
    for step in patch.as_array().into_iter().flatten() {
        let path = step["path"].as_str().unwrap_or_default();
        let (parent, key) = path.rsplit_once('/').unwrap_or(("", ""));
        let key = key.replace("~1", "/").replace("~0", "~");
        let value = &step["value"];
        match step["op"].as_str() {
            Some("test") => {
                let found = object.pointer(path);
                if found != Some(value) {
                    return Err(format!("test of {path}: {found:?} is not {value}"));
                }
            }
            Some("add" | "replace") => match object.pointer_mut(parent) {
                Some(Value::Object(fields)) => {
                    fields.insert(key, value.clone());
                }
                other => return Err(format!("{path}: its parent is {other:?}")),
            },
            Some("remove") => {
                if let Some(Value::Object(fields)) = object.pointer_mut(parent) {
                    fields.remove(&key);
                }
            }
            other => return Err(format!("step {other:?} is not known here")),
        }
    }
    Ok(())
}

/// Merges `patch` into `object`; `null` removes. Lists are replaced, unless `by_name` and their items have names.
pub(super) fn merge(object: &mut Value, patch: &Value, by_name: bool) {
    match (object, patch) {
        (Value::Object(fields), Value::Object(changes)) => {
            for (key, change) in changes {
                if change.is_null() {
                    fields.remove(key);
                } else {
                    merge(fields.entry(key).or_insert(Value::Null), change, by_name);
                }
            }
        }
        (Value::Array(items), Value::Array(changes)) if by_name && named(changes) => {
            for change in changes {
                match items.iter_mut().find(|item| item["name"] == change["name"]) {
                    Some(item) => merge(item, change, by_name),
                    None => items.push(change.clone()),
                }
            }
        }
        (object @ (Value::Null | Value::Array(_)), Value::Object(_)) => {
            *object = Value::Object(Map::new());
            merge(object, patch, by_name);
        }
        (object, patch) => *object = patch.clone(),
    }
}

fn named(items: &[Value]) -> bool {
    items.iter().all(|item| item["name"].is_string())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn containers_are_merged_by_name_and_labels_by_key() {
        let mut object = json!({"labels": {"a": "1", "b": "2"}, "containers": [{"name": "x", "image": "1", "env": []}]});
        let patch =
            json!({"labels": {"a": "3", "b": null}, "containers": [{"name": "x", "image": "2"}]});
        merge(&mut object, &patch, true);
        let expected =
            json!({"labels": {"a": "3"}, "containers": [{"name": "x", "image": "2", "env": []}]});
        assert_eq!(object, expected);
    }

    #[test]
    fn a_failed_test_stops_the_steps() {
        let mut object = json!({"spec": {"holder": "me"}});
        let test = |value: &str| json!([{"op": "test", "path": "/spec/holder", "value": value}, {"op": "add", "path": "/spec/a~1b", "value": 1}]);
        assert!(steps(&mut object, &test("you")).is_err());
        steps(&mut object, &test("me")).expect("the holder is me");
        assert_eq!(object["spec"]["a/b"], 1);
    }
}
