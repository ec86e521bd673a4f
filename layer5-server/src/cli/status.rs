//! `layer5 status`: one look at a running service.
//! In: its address. Out: a table, or the status as JSON.

use std::process::ExitCode;

use clap::Args;
use comfy_table::{Table, presets};
use serde_json::Value;

use super::{Failure, Output, finish, print, runtime, service::ServiceArgs};

/// Look at a running service
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:\n  \
    layer5 status\n  \
    layer5 status --output json | jq .reports.stored")]
pub(super) struct StatusArgs {
    #[command(flatten)]
    service: ServiceArgs,
    /// A table for people, or one JSON object for programs
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

pub(super) fn run(args: &StatusArgs) -> ExitCode {
    finish(look(args))
}

fn look(args: &StatusArgs) -> Result<(), Failure> {
    let status = runtime()?.block_on(args.service.get("/api/v1/status"))?;
    match args.output {
        Output::Json => print(&format!("{status:#}\n")),
        Output::Text => print(&table(&status)),
    }
    Ok(())
}

fn table(status: &Value) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    rows(&mut table, "", status);
    format!("{table}\n")
}

/// One row per leaf, objects flattened by dots.
fn rows(table: &mut Table, name: &str, value: &Value) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                let name = if name.is_empty() {
                    key.clone()
                } else {
                    format!("{name}.{key}")
                };
                rows(table, &name, value);
            }
        }
        Value::Null => {
            table.add_row([name, "-"]);
        }
        Value::String(text) => {
            table.add_row([name, text]);
        }
        other => {
            table.add_row([name.to_owned(), other.to_string()]);
        }
    }
}
