//! `layer5 config`: is a configuration good, what does it say and why, what would change, what was before.
//! In: the same file, environment, variables and flags as `layer5 serve`. Out: text or JSON on standard output.
//! Invariants: nothing is applied here; `rollback` alone writes, and only the files of the configuration.

mod past;
mod show;

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, Subcommand};

use super::{Failure, Output, finish, print};
use crate::{
    config::{ConfigError, Environment, Layers, Loaded, document, keys},
    http::Tokens,
};

/// Where a configuration comes from; the same for every command that reads one.
#[derive(Args, Clone, Debug)]
pub(super) struct LayerArgs {
    /// The configuration, TOML
    #[arg(long, value_name = "FILE", env = "LAYER5_CONFIG")]
    config: Option<PathBuf>,
    /// Add the overlay of this environment, which lies beside FILE: layer5.production.toml beside layer5.toml
    #[arg(long, value_name = "NAME", env = "LAYER5_ENV", requires = "config")]
    env: Option<Environment>,
    /// Set one key, such as log.level=debug; wins over everything else
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_and_value)]
    set: Vec<(String, String)>,
}

fn key_and_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("KEY=VALUE is expected")?;
    Ok((key.trim().to_owned(), value.trim().to_owned()))
}

impl LayerArgs {
    /// What they name.
    pub(super) fn layers(&self) -> Layers {
        Layers {
            file: self.config.clone(),
            environment: self.env,
            variables: std::env::vars().collect(),
            flags: self.set.clone(),
        }
    }
}

/// A configuration that is refused.
pub(super) fn refused(error: impl ToString) -> Failure {
    Failure::new(78, error)
}

/// Check, show, compare and roll back the configuration
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:\n  \
    layer5 config check --config layer5.toml --env production\n  \
    layer5 config show --origin --config layer5.toml\n  \
    layer5 config diff --config layer5.toml\n  \
    layer5 config rollback --config layer5.toml\n  \
    layer5 config schema > layer5.schema.json")]
pub(super) struct ConfigArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Is it good? Also looks at the files that it names; exit code 78 when it is not
    ///
    /// Example: layer5 config check --config layer5.toml --env staging
    Check {
        #[command(flatten)]
        layers: LayerArgs,
    },
    /// Every value that is set; with --origin also where each comes from, with --all the defaults too
    ///
    /// Example: layer5 config show --origin --config layer5.toml
    Show {
        #[command(flatten)]
        layers: LayerArgs,
        /// Say where each value comes from: file, overlay, env, flag or default
        #[arg(long)]
        origin: bool,
        /// Show the defaults too
        #[arg(long)]
        all: bool,
        /// Text for people or JSON for programs
        #[arg(long, default_value = "text")]
        output: Output,
    },
    /// What would change, and whether it needs a restart
    ///
    /// Compares what was applied last with the files as they are now. FROM and TO may be numbers of the history or files.
    ///
    /// Example: layer5 config diff --config layer5.toml
    Diff {
        /// What to compare: a number of the history or a file; without, what was applied last
        from: Option<String>,
        /// With what: a number of the history or a file; without, the configuration as it is now
        to: Option<String>,
        #[command(flatten)]
        past: past::PastArgs,
        /// Text for people or JSON for programs
        #[arg(long, default_value = "text")]
        output: Output,
    },
    /// What was applied, and when
    ///
    /// Example: layer5 config history --config layer5.toml
    History {
        #[command(flatten)]
        past: past::PastArgs,
        /// Text for people or JSON for programs
        #[arg(long, default_value = "text")]
        output: Output,
    },
    /// Put an earlier configuration back into the files; a running service loads it by itself
    ///
    /// Without --to: what was applied last, if the files say something else, or else the one before it.
    ///
    /// Example: layer5 config rollback --config layer5.toml
    Rollback {
        /// The number in the history
        #[arg(long, value_name = "N")]
        to: Option<u64>,
        /// Only print what would be written
        #[arg(long)]
        print: bool,
        #[command(flatten)]
        past: past::PastArgs,
    },
    /// The configuration as JSON schema, for editors
    ///
    /// Example: layer5 config schema > layer5.schema.json
    Schema,
    /// The page docs/operating/configuration.md: every key with default, range and meaning
    ///
    /// Example: layer5 config docs | less
    Docs,
}

pub(super) fn run(args: &ConfigArgs) -> ExitCode {
    finish(match &args.command {
        Command::Check { layers } => check(layers),
        Command::Show {
            layers,
            origin,
            all,
            output,
        } => show::show(layers, *origin, *all, *output),
        Command::Diff {
            from,
            to,
            past,
            output,
        } => past::diff(from.as_deref(), to.as_deref(), past, *output),
        Command::History { past, output } => past::history(past, *output),
        Command::Rollback { to, print, past } => past::rollback(*to, *print, past),
        Command::Schema => {
            let schema = serde_json::to_string_pretty(&keys::schema()).expect("a schema is JSON");
            print(&format!("{schema}\n"));
            Ok(())
        }
        Command::Docs => {
            print(&document::page());
            Ok(())
        }
    })
}

/// The configuration with everything that a start would look at.
pub(super) fn checked(layers: &Layers) -> Result<Loaded, Failure> {
    let loaded = layers.load().map_err(|error: ConfigError| refused(error))?;
    if let Some(path) = &loaded.config.auth.tokens_file {
        Tokens::read(path).map_err(refused)?;
    }
    if let Some(path) = &loaded.config.sources.redis.password_file {
        let missing = |error| {
            refused(format!(
                "{}: {error} (sources.redis.password_file)",
                path.display()
            ))
        };
        std::fs::read_to_string(path).map_err(missing)?;
    }
    Ok(loaded)
}

fn check(args: &LayerArgs) -> Result<(), Failure> {
    let loaded = checked(&args.layers())?;
    let files = loaded
        .files
        .iter()
        .map(|file| file.path.display().to_string());
    let read = match loaded.files.len() {
        0 => "defaults alone".to_owned(),
        _ => files.collect::<Vec<_>>().join(", "),
    };
    print(&format!("the configuration is good ({read})\n"));
    Ok(())
}
