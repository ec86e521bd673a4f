//! The objects of the stand-in: kept by kind and name, each with a version that rises at every change.
//! In: what kubectl creates, patches, asks for. Out: objects, lists, or the status that refuses. Called from: [`super::api`].

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::patch;

/// `deployments`, `layer5-refinement`.
pub(super) type Key = (String, String);

/// Everything in the namespace.
#[derive(Debug, Default)]
pub(super) struct Objects {
    kept: BTreeMap<Key, Value>,
    version: u64,
}

/// A refusal as the API has it: code, reason, message.
pub(super) type Refusal = (u16, &'static str, String);

impl Objects {
    /// Puts `object` under `resource`, new or in place of the one before.
    pub(super) fn put(&mut self, resource: &str, mut object: Value) -> Value {
        self.version += 1;
        let name = object["metadata"]["name"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        let meta = &mut object["metadata"];
        meta["resourceVersion"] = self.version.to_string().into();
        meta["namespace"] = "project-chimera".into();
        if meta["uid"].is_null() {
            meta["uid"] = format!("uid-{resource}-{name}-{}", self.version).into();
            meta["creationTimestamp"] = "2026-11-28T00:00:00Z".into();
        }
        self.kept.insert((resource.into(), name), object.clone());
        object
    }

    pub(super) fn create(&mut self, resource: &str, object: Value) -> Result<Value, Refusal> {
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        if self.kept.contains_key(&(resource.into(), name.into())) {
            let message = format!("{resource} \"{name}\" already exists");
            return Err((409, "AlreadyExists", message));
        }
        Ok(self.put(resource, object))
    }

    pub(super) fn get(&self, resource: &str, name: &str) -> Result<Value, Refusal> {
        let found = self.kept.get(&(resource.into(), name.into()));
        found.cloned().ok_or_else(|| {
            let message = format!("{resource} \"{name}\" not found");
            (404, "NotFound", message)
        })
    }

    pub(super) fn remove(&mut self, resource: &str, name: &str) -> Result<Value, Refusal> {
        let object = self.get(resource, name)?;
        self.kept.remove(&(resource.into(), name.into()));
        Ok(object)
    }

    /// What changes when `body` of this content type is applied.
    pub(super) fn patched(
        &self,
        resource: &str,
        name: &str,
        content_type: &str,
        body: &Value,
    ) -> Result<Value, Refusal> {
        let mut object = self.get(resource, name)?;
        match content_type {
            "application/json-patch+json" => patch::steps(&mut object, body).map_err(|why| {
                (
                    422,
                    "Invalid",
                    format!("the server rejected our request: {why}"),
                )
            })?,
            "application/merge-patch+json" => patch::merge(&mut object, body, false),
            "application/strategic-merge-patch+json" => patch::merge(&mut object, body, true),
            other => return Err((415, "UnsupportedMediaType", other.to_owned())),
        }
        Ok(object)
    }

    /// Objects of a resource that the selectors name (`a=b,c=d`, `metadata.name=x`, `status.phase=Running`).
    pub(super) fn list(&self, resource: &str, labels: &str, fields: &str) -> Vec<Value> {
        let of = self.kept.iter().filter(|((r, _), _)| r == resource);
        of.map(|(_, object)| object.clone())
            .filter(|object| {
                let label = |key: &str| object["metadata"]["labels"][key].as_str();
                let field = |key: &str| {
                    object
                        .pointer(&format!("/{}", key.replace('.', "/")))?
                        .as_str()
                };
                selects(labels, label) && selects(fields, field)
            })
            .collect()
    }

    /// The version of the newest change.
    pub(super) fn version(&self) -> u64 {
        self.version
    }
}

fn selects<'a>(selector: &str, value: impl Fn(&str) -> Option<&'a str>) -> bool {
    selector
        .split(',')
        .filter_map(|term| term.split_once('='))
        .all(|(key, wanted)| value(key) == Some(wanted.trim_start_matches('=')))
}

/// A list of `items` as the API has it.
pub(super) fn list_of(kind: &str, api_version: &str, version: u64, items: &[Value]) -> Value {
    json!({
        "kind": format!("{kind}List"), "apiVersion": api_version,
        "metadata": { "resourceVersion": version.to_string() }, "items": items,
    })
}

/// A refusal's body.
pub(super) fn status((code, reason, message): &Refusal) -> Value {
    json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure",
        "code": code, "reason": reason, "message": message, "metadata": {},
    })
}
