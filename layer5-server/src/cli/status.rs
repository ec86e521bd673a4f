//! `layer5 status`: one look at a running service.
//! In: its address. Out: a table, or the status as JSON.

use std::process::ExitCode;

use clap::Args;
use comfy_table::{Table, presets};
use serde_json::Value;

use super::{Failure, Output, finish, print, runtime};

/// Look at a running service
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:\n  \
    layer5 status\n  \
    layer5 status --output json | jq .reports.stored")]
pub(super) struct StatusArgs {
    /// Where it listens
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080")]
    url: String,
    /// A file with a reader's token, where tokens are set up
    #[arg(long, value_name = "FILE")]
    token_file: Option<std::path::PathBuf>,
    /// A table for people, or one JSON object for programs
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

pub(super) fn run(args: &StatusArgs) -> ExitCode {
    finish(look(args))
}

fn look(args: &StatusArgs) -> Result<(), Failure> {
    let status = runtime()?.block_on(fetch(args))?;
    match args.output {
        Output::Json => print(&format!("{status:#}\n")),
        Output::Text => print(&table(&status)),
    }
    Ok(())
}

async fn fetch(args: &StatusArgs) -> Result<Value, Failure> {
    let url = format!("{}/api/v1/status", args.url.trim_end_matches('/'));
    let mut request = reqwest::Client::new()
        .get(&url)
        .timeout(std::time::Duration::from_secs(10));
    if let Some(path) = &args.token_file {
        let token = std::fs::read_to_string(path)
            .map_err(|e| Failure::new(66, format!("cannot read {}: {e}", path.display())))?;
        request = request.bearer_auth(token.trim());
    }
    let unreachable = |e: reqwest::Error| {
        Failure::new(
            69,
            format!("{url} does not answer: {e}; is `layer5 serve` running there?"),
        )
    };
    let response = request.send().await.map_err(unreachable)?;
    if !response.status().is_success() {
        let status = response.status();
        let detail = response.text().await.unwrap_or_default();
        return Err(Failure::new(
            69,
            format!("{url} answered {status}: {detail}"),
        ));
    }
    response.json().await.map_err(unreachable)
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
