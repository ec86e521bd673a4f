//! What peers reached on the same problems, read from the file their script writes.
//! In: JSON of `layer5-bench/peers/optimize.sh`. Out: [`Peers`], and a table beside our own. Called from: `main`.
//! Invariants: a peer that was not run has a reason instead of a figure.

use std::fmt::Write;
use std::fs::File;
use std::io;
use std::path::Path;

use serde::Deserialize;

use super::Table;

/// What the script wrote.
#[derive(Debug, Clone, Deserialize)]
pub struct Peers {
    /// How to make the file again.
    pub command: String,
    /// One entry per peer.
    pub peers: Vec<Peer>,
}

/// One peer.
#[derive(Debug, Clone, Deserialize)]
pub struct Peer {
    /// Name and version.
    pub name: String,
    /// Why it has no results, if it has none.
    #[serde(default)]
    pub left_out: Option<String>,
    /// What it reached.
    #[serde(default)]
    pub results: Vec<Reached>,
}

/// One peer on one problem after so many evaluations.
#[derive(Debug, Clone, Deserialize)]
pub struct Reached {
    /// The problem, named as in our table.
    pub problem: String,
    /// Evaluations.
    pub n: usize,
    /// Mean log10 of random search's regret over its own.
    pub gain: f64,
    /// Median regret.
    pub median: f64,
}

impl Peers {
    /// Reads the script's file.
    ///
    /// # Errors
    /// The file cannot be read, or is not what the script writes.
    pub fn read(path: &Path) -> io::Result<Self> {
        let named = |e: io::Error| io::Error::new(e.kind(), format!("{}: {e}", path.display()));
        let file = File::open(path).map_err(named)?;
        serde_json::from_reader(io::BufReader::new(file)).map_err(|e| named(e.into()))
    }

    /// Median regrets after `n` evaluations, ours first, a star where a peer's is lower: where we lose.
    #[must_use]
    pub fn beside(&self, ours: &Table, n: usize) -> String {
        let mut text = format!("median regret at n={n}; * where a peer is ahead\n");
        let run: Vec<&Peer> = self.peers.iter().filter(|p| p.left_out.is_none()).collect();
        let _ = write!(text, "{:<20}{:>11}", "problem", "layer5");
        for peer in &run {
            let _ = write!(text, "{:>22}", peer.name);
        }
        text.push('\n');
        let column = ours.budgets.iter().position(|b| *b == n);
        let mut names: Vec<&str> = ours.rows.iter().map(|row| row.name.as_str()).collect();
        for reached in run.iter().flat_map(|p| &p.results) {
            if !names.contains(&reached.problem.as_str()) {
                names.push(&reached.problem);
            }
        }
        for name in names {
            let row = ours.rows.iter().find(|row| row.name == name);
            let our = row.zip(column).map(|(row, b)| row.medians[b]);
            let found = |peer: &Peer| {
                let mut all = peer.results.iter();
                all.find(|r| r.problem == name && r.n == n)
                    .map(|r| r.median)
            };
            let ahead = run
                .iter()
                .any(|p| found(p).is_some_and(|m| our.is_some_and(|o| m < o)));
            let mark = if ahead { "*" } else { " " };
            let _ = write!(text, "{name:<20}{:>10}{mark}", shown(our));
            for peer in &run {
                let _ = write!(text, "{:>22}", shown(found(peer)));
            }
            text.push('\n');
        }
        for peer in &self.peers {
            if let Some(reason) = &peer.left_out {
                let _ = writeln!(text, "left out: {}: {reason}", peer.name);
            }
        }
        let _ = writeln!(text, "peers' results from: {}", self.command);
        text
    }
}

fn shown(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), |v| format!("{v:.2e}"))
}

#[cfg(test)]
mod tests {
    use super::super::Row;
    use super::*;

    #[test]
    fn a_peer_that_is_ahead_is_marked_and_one_left_out_says_why() {
        let peers: Peers = serde_json::from_str(
            r#"{"command":"c","peers":[{"name":"a 1","results":[{"problem":"p","n":5,"gain":1,"median":0.5}]},{"name":"b","left_out":"no compiler"}]}"#,
        )
        .expect("the script's form");
        let ours = |median| Table {
            budgets: vec![5],
            rows: vec![Row {
                name: "p".into(),
                gains: vec![0.0],
                medians: vec![median],
            }],
        };
        assert!(peers.beside(&ours(0.6), 5).contains("6.00e-1*"));
        let ahead = peers.beside(&ours(0.4), 5);
        assert!(ahead.contains("4.00e-1 ") && ahead.contains("left out: b: no compiler"));
    }
}
