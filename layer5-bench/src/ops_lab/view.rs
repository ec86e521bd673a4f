//! What the lab's Prometheus and Alertmanager say: alerts, queries, silences.
//! In: their addresses. Out: plain values. Called from: [`super::drill`], `dashboards`.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    process::Command,
};

use serde_json::Value;

use super::part::ask;
use crate::Failure;

/// One series of a range query: its labels, and `(seconds, value)` points.
#[derive(Clone, Debug, PartialEq)]
pub struct Curve {
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its points, oldest first.
    pub points: Vec<(f64, f64)>,
}

/// Letters and digits as they are, the rest as `%XX`.
#[must_use]
pub fn escaped(text: &str) -> String {
    let byte = |b: u8| match b.is_ascii_alphanumeric() {
        true => char::from(b).to_string(),
        false => format!("%{b:02X}"),
    };
    text.bytes().map(byte).collect()
}

fn api(at: SocketAddr, path: &str) -> Result<Value, Failure> {
    let answer = ask(at, path).map_err(|e| Failure::new(format!("{at}{path}: {e}")))?;
    let body = answer.json();
    if answer.status != 200 {
        return Err(Failure::new(format!(
            "{at}{path}: {} {body}",
            answer.status
        )));
    }
    Ok(body)
}

/// The alerts that fire now in Prometheus, by name, with how many of each.
///
/// # Errors
/// When it does not answer.
pub fn firing(prometheus: SocketAddr) -> Result<BTreeMap<String, usize>, Failure> {
    let mut names = BTreeMap::new();
    for (name, state) in alerts(prometheus)? {
        if state == "firing" {
            *names.entry(name).or_default() += 1;
        }
    }
    Ok(names)
}

/// The alerts whose condition holds now in Prometheus, whether they fire or still wait.
///
/// # Errors
/// When it does not answer.
pub fn active(prometheus: SocketAddr) -> Result<BTreeSet<String>, Failure> {
    let alerts = alerts(prometheus)?;
    Ok(alerts.into_iter().map(|(name, _)| name).collect())
}

/// Name and state of each active alert.
fn alerts(prometheus: SocketAddr) -> Result<Vec<(String, String)>, Failure> {
    let body = api(prometheus, "/api/v1/alerts")?;
    let alerts = body["data"]["alerts"].as_array().into_iter().flatten();
    let named = alerts.filter_map(|alert| {
        let name = alert["labels"]["alertname"].as_str()?;
        Some((name.to_owned(), alert["state"].as_str()?.to_owned()))
    });
    Ok(named.collect())
}

/// The series that answer a query now.
///
/// # Errors
/// When Prometheus does not answer or refuses the query.
pub fn query(prometheus: SocketAddr, expression: &str) -> Result<Vec<Curve>, Failure> {
    let body = api(
        prometheus,
        &format!("/api/v1/query?query={}", escaped(expression)),
    )?;
    let data = &body["data"];
    if data["resultType"] == "scalar" {
        let labels = BTreeMap::new();
        let points = point(&data["result"]).into_iter().collect();
        return Ok(vec![Curve { labels, points }]);
    }
    Ok(curves(&data["result"], "value"))
}

/// The series that answer a query from `start` to `end` (seconds since the epoch), one point every `step` seconds.
///
/// # Errors
/// When Prometheus does not answer or refuses the query.
pub fn query_range(
    prometheus: SocketAddr,
    expression: &str,
    start: f64,
    end: f64,
    step: f64,
) -> Result<Vec<Curve>, Failure> {
    let body = api(
        prometheus,
        &format!(
            "/api/v1/query_range?query={}&start={start:.3}&end={end:.3}&step={step}",
            escaped(expression)
        ),
    )?;
    Ok(curves(&body["data"]["result"], "values"))
}

fn curves(result: &Value, key: &str) -> Vec<Curve> {
    let series = result.as_array().into_iter().flatten();
    series
        .map(|one| {
            let labels = one["metric"].as_object().into_iter().flatten();
            let points = match key {
                "value" => point(&one[key]).into_iter().collect(),
                _ => one[key]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .filter_map(point)
                    .collect(),
            };
            Curve {
                labels: labels
                    .map(|(k, v)| (k.clone(), v.as_str().unwrap_or_default().to_owned()))
                    .collect(),
                points,
            }
        })
        .collect()
}

/// `[1764338700.1, "5"]`; what is no number is left out.
fn point(value: &Value) -> Option<(f64, f64)> {
    let number: f64 = value[1].as_str()?.parse().ok()?;
    number.is_finite().then_some((value[0].as_f64()?, number))
}

/// Runs amtool on the lab's Alertmanager; what it printed.
///
/// # Errors
/// When it is not there or says no.
pub fn amtool(alertmanager: SocketAddr, arguments: &[&str]) -> Result<String, Failure> {
    let run = Command::new("amtool")
        .arg(format!("--alertmanager.url=http://{alertmanager}"))
        .args(arguments)
        .output()
        .map_err(|e| {
            Failure::left_out(format!(
                "amtool can't be run: {e}; ./check.sh tools brings it"
            ))
        })?;
    let out = String::from_utf8_lossy(&run.stdout).into_owned();
    match run.status.success() {
        true => Ok(out),
        false => Err(Failure::new(format!(
            "amtool {arguments:?}: {out}{}",
            String::from_utf8_lossy(&run.stderr)
        ))),
    }
}
