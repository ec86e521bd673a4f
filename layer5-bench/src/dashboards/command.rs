//! `layer5-bench dashboards render`: pictures of the dashboards from any Prometheus that scrapes a Layer5.
//! In: its address. Out: one SVG for each board, and the panels that had no data.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{boards::BOARDS, picture};
use crate::Failure;

/// Draw the dashboards
#[derive(Args, Clone, Debug)]
#[command(
    after_long_help = "Example:\n  layer5-bench dashboards render --prometheus 127.0.0.1:9095 --minutes 10 --out docs/operating/dashboards"
)]
pub struct DashboardsArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Clone, Debug, Subcommand)]
enum What {
    /// Ask every panel's queries and draw what was found
    Render {
        /// Where Prometheus listens
        #[arg(long, value_name = "IP:PORT")]
        prometheus: SocketAddr,
        /// How far back, minutes
        #[arg(long, default_value_t = 10.0)]
        minutes: f64,
        /// Where the pictures go
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
    },
}

/// Draws; a table and its numbers.
///
/// # Errors
/// When Prometheus does not answer or a picture can't be written.
pub fn run(args: &DashboardsArgs) -> Result<(String, Value), Failure> {
    let What::Render {
        prometheus,
        minutes,
        out,
    } = &args.what;
    let span = Duration::try_from_secs_f64(minutes * 60.0).map_err(Failure::new)?;
    let empty = picture::draw_all(*prometheus, span, out)?;
    let mut table = format!("{} pictures in {}\n", BOARDS.len(), out.display());
    for panel in &empty {
        table += &format!("no data: {panel}\n");
    }
    Ok((
        table,
        json!({ "pictures": BOARDS.len(), "without_data": empty }),
    ))
}
