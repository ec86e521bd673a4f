//! What a drill found: one line for each alert and for each link of the chain, and their table.
//! Called from: [`super::run`] and its scenes.

use serde::Serialize;

/// What became of one alert, or of one link of the chain.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// The alert, or what was tried.
    pub alert: String,
    /// What was done.
    pub cause: &'static str,
    /// From the cause to the alert firing, s.
    pub fired: Option<f64>,
    /// Who was told.
    pub told: String,
    /// From the end of the cause to its resolution, and to the receiver hearing of it, s.
    pub resolved: Option<f64>,
    /// Why it was left out on this machine.
    pub left_out: Option<String>,
}

impl Row {
    /// Whether everything happened that should.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.left_out.is_some() || (self.fired.is_some() && self.resolved.is_some())
    }

    /// A link of the chain that was seen to hold.
    pub(super) fn link(what: &str, cause: &'static str, told: &str) -> Self {
        Self {
            alert: what.to_owned(),
            cause,
            fired: Some(0.0),
            told: told.to_owned(),
            resolved: Some(0.0),
            left_out: None,
        }
    }

    /// An alert whose cause can't be had here.
    pub(super) fn left_out(alert: &str, cause: &'static str, why: &str) -> Self {
        Self {
            alert: alert.to_owned(),
            cause,
            fired: None,
            told: String::new(),
            resolved: None,
            left_out: Some(why.to_owned()),
        }
    }
}

/// The table of a drill.
#[must_use]
pub fn table(rows: &[Row]) -> String {
    let mut table = format!(
        "{:<30} {:>8} {:>9}  {:<20} {}\n",
        "alert", "fired s", "resolved", "told", "cause"
    );
    let seconds = |s: Option<f64>| s.map_or("-".to_owned(), |s| format!("{s:.1}"));
    for row in rows {
        let told = match row.left_out {
            Some(_) => "left out",
            None => &row.told,
        };
        table += &format!(
            "{:<30} {:>8} {:>9}  {told:<20} {}\n",
            row.alert,
            seconds(row.fired),
            seconds(row.resolved),
            row.left_out.as_deref().unwrap_or(row.cause)
        );
    }
    table
}
