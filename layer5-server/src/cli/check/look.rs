//! What the daily check asks: the health pages, the status, the metrics twice, Alertmanager.
//! Invariant: an address that does not answer is an answer too; nothing here fails.

use std::time::Duration;

use serde_json::Value;

use super::certificate::Certificate;
use crate::{clock, neighbours::why};

/// Patience with one page.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where to ask.
#[derive(Clone, Debug)]
pub(super) struct Places {
    pub(super) api: String,
    pub(super) metrics: String,
    pub(super) alertmanager: Option<String>,
    pub(super) token: Option<String>,
}

/// One page's answer.
#[derive(Clone, Debug, Default)]
pub(super) struct Answer {
    /// HTTP status; `None` when nothing answered.
    pub(super) status: Option<u16>,
    /// The body, or why there is none.
    pub(super) text: String,
    /// The server's clock minus ours, s, when it told the time.
    pub(super) skew: Option<f64>,
}

impl Answer {
    pub(super) fn is_success(&self) -> bool {
        self.status
            .is_some_and(|status| (200..300).contains(&status))
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_default()
    }

    /// The reasons that the page gives, else its beginning.
    pub(super) fn words(&self) -> String {
        let reasons = self.json()["reasons"].as_array().map(|reasons| {
            let words: Vec<&str> = reasons.iter().filter_map(Value::as_str).collect();
            words.join("; ")
        });
        match (self.status, reasons) {
            (None, _) => self.text.clone(),
            (Some(_), Some(reasons)) if !reasons.is_empty() => reasons,
            (Some(status), _) => format!("answered {status}"),
        }
    }
}

/// The page of metrics, read.
#[derive(Clone, Debug, Default)]
pub(super) struct Page(Vec<(String, f64)>);

impl Page {
    pub(super) fn read(text: &str) -> Self {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        Self(
            lines
                .filter_map(|line| {
                    let (name, value) = line.rsplit_once(' ')?;
                    Some((name.to_owned(), value.parse().ok()?))
                })
                .collect(),
        )
    }

    /// Values of a metric with their labels as written, `source="http"`.
    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = (&'a str, f64)> {
        self.0.iter().filter_map(move |(full, value)| {
            let (bare, labels) = full.split_once('{').unwrap_or((full, ""));
            (bare == name).then_some((labels.trim_end_matches('}'), *value))
        })
    }

    /// The sum over all labels; `None` when the metric is absent.
    pub(super) fn sum(&self, name: &str) -> Option<f64> {
        self.all(name)
            .map(|(_, value)| value)
            .reduce(|sum, value| sum + value)
    }
}

/// Everything that was asked.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    pub(super) live: Answer,
    pub(super) ready: Answer,
    pub(super) status: Answer,
    pub(super) metrics_answer: Answer,
    /// The page of metrics before and after the watch, and the time between, s.
    pub(super) before: Page,
    pub(super) after: Page,
    pub(super) watched: f64,
    /// What fires; `None` when nobody was to be asked.
    pub(super) alerts: Option<Answer>,
    /// What is muted; `None` when nobody was to be asked.
    pub(super) silences: Option<Answer>,
    /// The certificates that were to be looked at.
    pub(super) certificates: Vec<Certificate>,
}

/// Asks everything; takes `watch` seconds and, however many of them are silent, the patience with two pages.
pub(super) async fn look(places: &Places, watch: f64) -> Seen {
    let token = places.token.as_deref();
    let metrics = format!("{}/metrics", places.metrics);
    let before = ask(&metrics, None).await;
    let begun = clock::now();
    tokio::time::sleep(Duration::from_secs_f64(watch)).await;
    let watched = clock::now().seconds_since(begun);
    let [health, ready, status] =
        ["health", "ready", "api/v1/status"].map(|page| format!("{}/{page}", places.api));
    let (after, live, ready, status, alerts, silences) = tokio::join!(
        ask(&metrics, None),
        ask(&health, None),
        ask(&ready, None),
        ask(&status, token),
        ask_alertmanager(places, "alerts?active=true&silenced=false"),
        ask_alertmanager(places, "silences"),
    );
    Seen {
        live,
        ready,
        status,
        before: Page::read(&before.text),
        after: Page::read(&after.text),
        metrics_answer: after,
        watched,
        alerts,
        silences,
        certificates: Vec::new(),
    }
}

/// `None` when nobody is to be asked.
async fn ask_alertmanager(places: &Places, what: &str) -> Option<Answer> {
    let url = places.alertmanager.as_ref()?;
    Some(ask(&format!("{url}/api/v2/{what}"), None).await)
}

/// Asks one page.
pub(super) async fn ask(url: &str, token: Option<&str>) -> Answer {
    let mut request = reqwest::Client::new().get(url).timeout(PATIENCE);
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    match request.send().await {
        Err(error) => Answer {
            text: format!("{url} does not answer: {}", why(&error)),
            ..Answer::default()
        },
        Ok(response) => {
            let skew = response
                .headers()
                .get(reqwest::header::DATE)
                .and_then(|date| date.to_str().ok())
                .and_then(crate::neighbours::http_date)
                // The header has whole seconds, cut off.
                .map(|server| server.seconds_since(clock::now()) + 0.5);
            Answer {
                status: Some(response.status().as_u16()),
                text: response.text().await.unwrap_or_default(),
                skew,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_read_with_and_without_labels() {
        let page = Page::read(
            "# HELP a b\n# TYPE a counter\na{x=\"1\"} 2\na{x=\"2\"} 3.5\nb 7\nab 9\nbad\n",
        );
        assert_eq!(page.sum("a"), Some(5.5));
        assert_eq!(page.sum("b"), Some(7.0));
        assert_eq!(page.sum("c"), None);
        assert_eq!(page.all("a").next(), Some(("x=\"1\"", 2.0)));
    }
}
