//! Every key of a configuration, from the types themselves: what it means, what it may be, what it is by default.
//! Out: a JSON schema, and the list that the document and `layer5 config show` are made of.
//! Invariants: the words are the comments of the fields, the ranges those that are checked: nothing is said twice.

use serde_json::{Value, json};

use super::{Config, live, ranges};

/// One key.
#[derive(Clone, Debug, PartialEq)]
pub struct Key {
    /// Its path, with `[]` for any element of an array of tables and `*` for any name.
    pub path: String,
    /// What it means.
    pub meaning: String,
    /// What it may be, in words.
    pub legal: String,
    /// Its default as TOML has it; `None` where there is none.
    pub default: Option<String>,
    /// Whether its table is refused without it.
    pub is_required: bool,
    /// Whether it takes effect at a reload.
    pub is_live: bool,
}

/// Every key, sections in the order of their names.
#[must_use]
pub fn every_key() -> Vec<Key> {
    let mut keys = Vec::new();
    collect("", &schema(), false, &mut keys);
    keys
}

/// The configuration as a JSON schema (2020-12).
#[must_use]
pub fn schema() -> Value {
    let settings = schemars::generate::SchemaSettings::draft2020_12().with(|settings| {
        settings.inline_subschemas = true;
    });
    let mut schema = settings
        .into_generator()
        .into_root_schema_for::<Config>()
        .to_value();
    schema["title"] = json!("The configuration of Layer5");
    add_ranges("", &mut schema);
    schema
}

/// A key or a table in another table.
struct Inside<'a> {
    path: String,
    schema: &'a Value,
    is_required: bool,
}

/// What a table holds: its own keys, the one of any name, or those of each element.
fn inner<'a>(path: &str, schema: &'a Value) -> Vec<Inside<'a>> {
    let mut inside = Vec::new();
    let required = |name: &str| {
        let required = schema["required"].as_array();
        required.is_some_and(|names| names.iter().any(|required| required == name))
    };
    for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
        inside.push(Inside {
            path: super::layer::joined(path, name),
            schema: inner,
            is_required: required(name),
        });
    }
    if schema["additionalProperties"].is_object() {
        inside.push(Inside {
            path: format!("{path}.*"),
            schema: &schema["additionalProperties"],
            is_required: false,
        });
    }
    if schema["items"]["properties"].is_object() {
        inside.extend(inner(&format!("{path}[]"), &schema["items"]));
    }
    inside
}

fn collect(path: &str, schema: &Value, is_required: bool, keys: &mut Vec<Key>) {
    let inside = inner(path, schema);
    if inside.is_empty() {
        let meaning = schema["description"].as_str().unwrap_or_default();
        keys.push(Key {
            path: path.to_owned(),
            meaning: meaning.replace('\n', " "),
            legal: legal(path, schema),
            default: default(&schema["default"]),
            is_required,
            is_live: live::is_live(path),
        });
    }
    for Inside {
        path,
        schema,
        is_required,
    } in inside
    {
        collect(&path, schema, is_required, keys);
    }
}

/// JSON's default as TOML writes it.
fn default(value: &Value) -> Option<String> {
    let value: toml::Value = serde_json::from_value(value.clone()).ok()?;
    Some(value.to_string())
}

fn legal(path: &str, schema: &Value) -> String {
    let words: Vec<String> = one_of(schema)
        .iter()
        .map(|word| format!("`{word}`"))
        .collect();
    if !words.is_empty() {
        return words.join(", ");
    }
    let kind = match &schema["type"] {
        Value::String(kind) => kind.as_str(),
        Value::Array(kinds) => kinds.first().and_then(Value::as_str).unwrap_or_default(),
        _ => "",
    };
    let kind = match kind {
        "integer" => "whole number",
        "number" => "number",
        "boolean" => "`true`, `false`",
        "string" => "text",
        "array" => "list of numbers",
        _ => "number or text",
    };
    match ranges::of(path) {
        Some(range) => format!("{kind}, {}", range.legal()),
        None => kind.to_owned(),
    }
}

/// The words of a closed set.
fn one_of(schema: &Value) -> Vec<&str> {
    let listed = schema["enum"].as_array();
    let described = schema["oneOf"].as_array();
    listed
        .into_iter()
        .flatten()
        .chain(described.into_iter().flatten().map(|one| &one["const"]))
        .filter_map(Value::as_str)
        .collect()
}

fn add_ranges(path: &str, schema: &mut Value) {
    if let Some(range) = ranges::of(path).filter(|_| schema.is_object()) {
        let least = if range.is_open {
            "exclusiveMinimum"
        } else {
            "minimum"
        };
        schema[least] = json!(range.low);
        schema["maximum"] = json!(range.high);
    }
    let properties = schema.get_mut("properties");
    let properties = properties.and_then(Value::as_object_mut);
    for (name, inner) in properties.into_iter().flatten() {
        add_ranges(&super::layer::joined(path, name), inner);
    }
    if let Some(inner) = schema.get_mut("additionalProperties") {
        add_ranges(&format!("{path}.*"), inner);
    }
    if let Some(inner) = schema.get_mut("items") {
        add_ranges(&format!("{path}[]"), inner);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_says_what_it_means() {
        let keys = every_key();
        assert!(keys.len() > 80, "{}", keys.len());
        for key in &keys {
            assert!(key.meaning.len() > 10, "{}: {:?}", key.path, key.meaning);
        }
        let listen = keys
            .iter()
            .find(|key| key.path == "http.listen")
            .expect("there");
        assert_eq!(listen.default.as_deref(), Some("\"127.0.0.1:8080\""));
    }

    #[test]
    fn every_range_and_every_live_key_is_of_a_key() {
        let keys = every_key();
        for range in ranges::RANGES {
            assert!(
                keys.iter().any(|key| key.path == range.key),
                "{}",
                range.key
            );
        }
        for live in live::LIVE {
            let found = keys.iter().any(|key| live::covers(live, &key.path));
            assert!(found, "{live}");
        }
    }

    #[test]
    fn the_schema_takes_the_defaults() {
        let (schema, config) = (schema(), Config::default());
        let value = serde_json::to_value(&config).expect("a configuration is JSON");
        for (section, inner) in value.as_object().expect("an object") {
            let known = &schema["properties"][section];
            assert!(known.is_object(), "{section}");
            for key in inner.as_object().into_iter().flatten().map(|(key, _)| key) {
                assert!(known["properties"][key].is_object(), "{section}.{key}");
            }
        }
        assert_eq!(schema["additionalProperties"], json!(false));
    }
}
