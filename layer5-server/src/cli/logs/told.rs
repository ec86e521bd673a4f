//! What was gathered from a log, told as tables or as JSON.

use layer5_core::Timestamp;
use serde_json::json;

use super::gather::Gathered;

/// For programs.
pub(super) fn json(found: &Gathered, moment: Option<(Timestamp, f64)>) -> String {
    let mut all = json!({
        "lines": found.lines,
        "not_understood": found.not_understood,
        "first": found.first.map(|at| at.to_string()),
        "last": found.last.map(|at| at.to_string()),
        "levels": found.levels,
        "groups": found.groups(),
        "slow": found.slow,
    });
    if let Some((at, within)) = moment {
        all["around"] = json!({
            "at": at.to_string(),
            "within_seconds": within,
            "lines": found.around,
            "left_out": found.around_left_out,
            "began": began(found, at, within),
        });
    }
    format!("{all:#}\n")
}

/// For people.
pub(super) fn text(found: &Gathered, moment: Option<(Timestamp, f64)>) -> String {
    match moment {
        Some((at, within)) => around(found, at, within),
        None => summary(found),
    }
}

fn summary(found: &Gathered) -> String {
    let span = match (found.first, found.last) {
        (Some(first), Some(last)) => format!("{first} to {last}"),
        _ => String::new(),
    };
    let levels: Vec<String> = found
        .levels
        .iter()
        .map(|(l, n)| format!("{n} {l}"))
        .collect();
    let mut page = format!("{} lines, {span}: {}\n", found.lines, levels.join(", "));
    if found.not_understood > 0 {
        page += &format!("{} lines are none of layer5's\n", found.not_understood);
    }
    page += match found.groups().is_empty() {
        true => "\nno warning and no error\n",
        false => "\nwarnings and errors, the gravest and most frequent first\n",
    };
    for group in found.groups() {
        page += &format!(
            "{:>7}  {:<5}  {} .. {}  {}\n",
            group.count,
            group.level,
            group.first,
            clock(group.last),
            group.message
        );
        if !group.example.is_empty() {
            page += &format!("{:>16}{}\n", "", group.example);
        }
    }
    if !found.slow.is_empty() {
        page += "\nslow requests, the slowest first\n";
    }
    for slow in &found.slow {
        let id = slow.request_id.as_deref().unwrap_or("-");
        page += &format!(
            "{:>9.1} ms  {}  {id}  {}\n",
            slow.took_ms, slow.at, slow.fields
        );
    }
    page + "\nwhat happened around a moment: --around 14:05\n"
}

fn around(found: &Gathered, at: Timestamp, within: f64) -> String {
    if found.around.is_empty() {
        let span = found.first.zip(found.last);
        let span = span.map_or(String::new(), |(first, last)| {
            format!("; the log goes from {first} to {last}")
        });
        return format!("nothing was logged within {within:.0} s of {at}{span}\n");
    }
    let mut page = format!("within {within:.0} s of {at}\n\n");
    for line in &found.around {
        let id = line
            .request_id
            .as_deref()
            .map_or(String::new(), |id| format!("  [{id}]"));
        page += &format!(
            "{}  {:<5}  {}{id}  {}\n",
            clock(line.at),
            line.level,
            line.message,
            line.fields
        );
    }
    if found.around_left_out > 0 {
        page += &format!(
            "and {} more; ask for a narrower --within\n",
            found.around_left_out
        );
    }
    for message in began(found, at, within) {
        page += &format!("\nbegan then, and not seen before in this log: {message}\n");
    }
    page
}

/// Messages whose first time in the log lies in the window: what was new then.
fn began(found: &Gathered, at: Timestamp, within: f64) -> Vec<&str> {
    let groups = found.groups().into_iter();
    groups
        .filter(|group| group.first.seconds_since(at).abs() <= within)
        .map(|group| group.message.as_str())
        .collect()
}

/// `14:05:10.123` of a time.
fn clock(at: Timestamp) -> String {
    let text = at.to_string();
    text.split_once('T').map_or(text.clone(), |(_, time)| {
        time.trim_end_matches('Z').to_owned()
    })
}
