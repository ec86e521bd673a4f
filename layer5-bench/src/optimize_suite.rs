//! `layer5-bench quality optimize`: which functions, which sampler, how many evaluations.
//! In: arguments. Out: tables, or JSON. Called from: `main`.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::ValueEnum;
use layer5_bench::quality::optimize::peers::Peers;
use layer5_bench::quality::optimize::{Plan, Problem, Table, drawn, measure, public, shifted};
use layer5_optimize::SamplerKind;
use serde_json::json;

use crate::Output;

/// Gains over random search.
#[derive(Debug, clap::Args)]
pub(crate) struct OptimizeArguments {
    /// The functions.
    #[arg(long, value_enum, default_value_t = Set::Public)]
    set: Set,
    /// Only problems whose name contains this.
    #[arg(long, default_value = "")]
    only: String,
    /// Which sampler.
    #[arg(long, default_value = "auto")]
    sampler: String,
    /// Numbers of evaluations at which regret is taken, rising.
    #[arg(long, value_delimiter = ',', default_values_t = [25, 50])]
    budgets: Vec<usize>,
    /// Runs per function.
    #[arg(long, default_value_t = 10)]
    seeds: u64,
    /// Suggestions that are asked for before the first of them is told.
    #[arg(long, default_value_t = 1)]
    batch: usize,
    /// Dimensions of drawn functions.
    #[arg(long, default_value_t = 5)]
    dims: usize,
    /// What drawn functions are drawn from.
    #[arg(long, default_value_t = 1)]
    draw: u64,
    /// Results of `layer5-bench/peers/optimize.sh`, to be shown beside ours.
    #[arg(long, value_name = "FILE")]
    peers: Option<PathBuf>,
    /// How to print.
    #[arg(long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

/// A set of functions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Set {
    /// From the literature.
    Public,
    /// From the literature, the minimum at another place in every run.
    Shifted,
    /// Drawn: shifted, rotated, stretched.
    Drawn,
    /// The drawn ones with noise of a tenth of their standard deviation.
    Noisy,
    /// Drawn over floats, whole numbers and names.
    Mixed,
}

pub(crate) fn run(arguments: &OptimizeArguments) -> io::Result<()> {
    let invalid = |message: String| io::Error::new(io::ErrorKind::InvalidInput, message);
    let sampler = SamplerKind::from_name(&arguments.sampler)
        .ok_or_else(|| invalid(format!("sampler `{}` is not known", arguments.sampler)))?;
    if !arguments.budgets.is_sorted() || arguments.budgets.is_empty() || arguments.seeds == 0 {
        return Err(invalid(
            "budgets must rise, and there must be a budget and a seed".into(),
        ));
    }
    let floats = |draw| drawn::floats_only(arguments.dims, draw);
    let mut problems: Vec<Problem> = match arguments.set {
        Set::Public => public::all(),
        Set::Shifted => shifted::all(),
        Set::Drawn => floats(arguments.draw),
        Set::Noisy => drawn::with_noise(floats(arguments.draw), 0.1),
        Set::Mixed => drawn::mixed(arguments.draw),
    };
    problems.retain(|p| p.name.contains(&arguments.only));
    let plan = Plan {
        sampler,
        budgets: &arguments.budgets,
        seeds: arguments.seeds,
        batch: arguments.batch,
    };
    let table = measure(&problems, plan);
    let peers = arguments.peers.as_deref().map(Peers::read).transpose()?;
    let mut out = io::stdout().lock();
    match arguments.output {
        Output::Table => {
            write!(out, "{table}")?;
            let last = arguments.budgets[arguments.budgets.len() - 1];
            if let Some(peers) = peers {
                write!(out, "\n{}", peers.beside(&table, last))?;
            }
            Ok(())
        }
        Output::Json => writeln!(out, "{:#}", to_json(&table)),
    }
}

fn to_json(table: &Table) -> serde_json::Value {
    let rows: Vec<_> = table
        .rows
        .iter()
        .map(|row| json!({"problem": row.name, "gains": row.gains, "median_regrets": row.medians}))
        .collect();
    json!({"suite": "optimize", "budgets": table.budgets, "mean_gains": table.mean_gains(), "problems": rows})
}
