//! `layer5 repair`: what of a data folder is damaged, what can be saved, and saving it.
//! In: the folder of a service that does not run. Out: a line for each damaged file; with `--apply` a folder that opens.

use std::{path::PathBuf, process::ExitCode};

use clap::Args;
use serde_json::json;

use super::{Failure, Output, finish, print};
use crate::store::{Examined, OpenError, Repair};

/// Find and mend damage in a data folder
///
/// Reads every file of the folder of a stopped service and says what is damaged, where, and what can be saved. Nothing is
/// changed without --apply; with it, damaged files are moved to `damaged/` in the folder and written anew from what could
/// be read. Exit code 0: whole, or repaired; 65: damaged.
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:\n  \
    layer5 repair layer5-data\n  \
    layer5 repair layer5-data --apply")]
pub(super) struct RepairArgs {
    /// The data folder (store.data_dir)
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
    /// Save what can be saved
    #[arg(long)]
    apply: bool,
    /// A table for people, or one JSON object for programs
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

pub(super) fn run(args: &RepairArgs) -> ExitCode {
    finish(repair(args))
}

fn repair(args: &RepairArgs) -> Result<(), Failure> {
    let failed = |error: OpenError| {
        let code = match &error {
            OpenError::InUse { .. } => 75,
            OpenError::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound => 66,
            _ => 74,
        };
        Failure::new(code, error)
    };
    let repair = Repair::examine(&args.folder).map_err(failed)?;
    match args.output {
        Output::Json => {
            let files: Vec<_> = repair.examined().iter().map(as_json).collect();
            let report = json!({ "whole": repair.is_whole(), "files": files });
            print(&format!("{report:#}\n"));
        }
        Output::Text => repair.examined().iter().for_each(|file| print(&line(file))),
    }
    if repair.is_whole() {
        return Ok(());
    }
    if !args.apply {
        let detail = "the folder is damaged; --apply does what is written beside each file";
        return Err(Failure::new(65, detail));
    }
    let aside = repair.apply().map_err(failed)?;
    if args.output == Output::Text {
        print(&format!(
            "repaired; what was damaged is in {}\n",
            aside.display()
        ));
    }
    Ok(())
}

fn line(file: &Examined) -> String {
    let (path, holds) = (file.file.display(), &file.holds);
    match &file.damage {
        None => format!("{path}: whole, {holds}\n"),
        Some(damage) => format!("{path}: DAMAGED, {holds}: {damage}\n  {}\n", file.remedy),
    }
}

fn as_json(file: &Examined) -> serde_json::Value {
    json!({
        "file": file.file,
        "holds": file.holds,
        "damage": file.damage,
        "remedy": file.remedy,
    })
}
