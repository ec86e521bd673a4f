//! `layer5 config show`: the values that hold, and where each comes from.
//! Invariants: passwords are hidden.

use std::fmt::Write as _;

use serde_json::json;

use super::{LayerArgs, refused};
use crate::{
    cli::{Failure, Output, print},
    config::{Config, secrets, values},
};

pub(super) fn show(
    args: &LayerArgs,
    origin: bool,
    all: bool,
    output: Output,
) -> Result<(), Failure> {
    let loaded = args.layers().load().map_err(refused)?;
    let table =
        |config: &Config| toml::Table::try_from(config).expect("a configuration is a table");
    let mut rows = Vec::new();
    for (key, value) in values(&table(&loaded.config)) {
        let set = loaded.origin_of(&key);
        if set.is_none() && !all {
            continue;
        }
        let from = set.map_or("default".to_owned(), ToString::to_string);
        rows.push((key, value, from));
    }
    if matches!(output, Output::Json) {
        let shown = rows.iter().map(|(key, value, from)| {
            let mut value = serde_json::to_value(value).expect("a value is JSON");
            secrets::hide_in(&mut value);
            json!({ "key": key, "value": value, "origin": from })
        });
        let text = json!({ "values": shown.collect::<Vec<_>>() });
        print(&format!("{text}\n"));
        return Ok(());
    }
    let mut text = String::new();
    if rows.is_empty() {
        text.push_str("# nothing is set, the defaults hold; --all shows them\n");
    }
    for (key, value, from) in rows {
        let said = format!("{key} = {}", secrets::shown(&value));
        let _ = match origin {
            true => writeln!(text, "{said:<60} # {from}"),
            false => writeln!(text, "{said}"),
        };
    }
    print(&text);
    Ok(())
}
