//! What the service says of itself, asked over its API as any client would.
//! In: its address. Out: the status document and every pattern it found.
//! Invariants: a number that the service does not give is absent, never zero.

use std::time::{Duration, Instant};

use layer5_core::PatternEvent;
use serde::Deserialize;
use serde_json::Value;

/// Patterns asked for at once.
const PAGE: usize = 1000;
/// Pages read at most: a million patterns of a demo would be a defect worth seeing.
const PAGES_MAX: usize = 1000;
/// The wait between two looks at the status while the service catches up.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A client of the service's API.
#[derive(Clone, Debug)]
pub(super) struct ServiceView {
    client: reqwest::Client,
    api: String,
}

/// `GET /api/v1/status`.
#[derive(Clone, Debug, Default)]
pub(super) struct Status(Value);

impl Status {
    /// The number at a path such as `/reports/stored`.
    pub(super) fn number(&self, path: &str) -> Option<f64> {
        self.0.pointer(path).and_then(Value::as_f64)
    }

    /// The same as a count.
    pub(super) fn count(&self, path: &str) -> Option<u64> {
        self.0.pointer(path).and_then(Value::as_u64)
    }

    /// The texts of the list at `path`.
    pub(super) fn texts(&self, path: &str) -> Vec<String> {
        let list = self.0.pointer(path).and_then(Value::as_array);
        let texts = list.into_iter().flatten().filter_map(Value::as_str);
        texts.map(str::to_owned).collect()
    }

    /// The sum of the numbers in the object at `path`.
    pub(super) fn sum(&self, path: &str) -> Option<u64> {
        let counts = self.0.pointer(path)?.as_object()?;
        Some(counts.values().filter_map(Value::as_u64).sum())
    }

    /// Whether everything that was stored has been looked at, and everything decided has been delivered.
    fn is_settled(&self) -> bool {
        let stored = self.count("/samples/stored");
        let pending = self.count("/recommendations/pending").unwrap_or(0);
        stored.is_some() && stored == self.count("/samples/processed") && pending == 0
    }
}

#[derive(Deserialize)]
struct Page {
    patterns: Vec<PatternEvent>,
    next_after: Option<u64>,
}

impl ServiceView {
    pub(super) fn new(client: reqwest::Client, api: &str) -> Self {
        Self {
            client,
            api: api.to_owned(),
        }
    }

    /// # Errors
    /// When the service does not answer, or not as the contract says.
    pub(super) async fn status(&self) -> Result<Status, String> {
        let text = self.get("/api/v1/status").await?;
        serde_json::from_str(&text)
            .map(Status)
            .map_err(|error| format!("status: {error}"))
    }

    /// Waits until the service has worked off what it took, at most `patience`; the status as of then.
    ///
    /// # Errors
    /// As [`ServiceView::status`].
    pub(super) async fn settled(&self, patience: Duration) -> Result<Status, String> {
        let deadline = Instant::now() + patience;
        loop {
            let status = self.status().await?;
            if status.is_settled() || Instant::now() >= deadline {
                return Ok(status);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Every pattern, in order of discovery.
    ///
    /// # Errors
    /// As [`ServiceView::status`].
    pub(super) async fn patterns(&self) -> Result<Vec<PatternEvent>, String> {
        let mut patterns = Vec::new();
        let mut after = String::new();
        for _ in 0..PAGES_MAX {
            let text = self
                .get(&format!("/api/v1/patterns?limit={PAGE}{after}"))
                .await?;
            let page: Page =
                serde_json::from_str(&text).map_err(|error| format!("patterns: {error}"))?;
            patterns.extend(page.patterns);
            match page.next_after {
                Some(id) => after = format!("&after={id}"),
                None => break,
            }
        }
        Ok(patterns)
    }

    async fn get(&self, path: &str) -> Result<String, String> {
        let failed = |error: reqwest::Error| format!("GET {path}: {error}");
        let response = self.client.get(format!("{}{path}", self.api)).send().await;
        let response = response.map_err(failed)?;
        let status = response.status();
        let text = response.text().await.map_err(failed)?;
        if !status.is_success() {
            return Err(format!("GET {path}: {status} {text}"));
        }
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_number_that_is_not_there_is_absent() {
        let status =
            Status(json!({"reports": {"stored": 5}, "patterns": {"anomaly": 2, "trend": 3}}));
        assert_eq!(status.count("/reports/stored"), Some(5));
        assert_eq!(status.number("/ingest_ms/p50"), None);
        assert_eq!(status.sum("/patterns"), Some(5));
        assert_eq!(status.sum("/nothing"), None);
    }

    #[test]
    fn settled_means_processed_and_delivered() {
        for (processed, pending, settled) in [(7, 0, true), (6, 0, false), (7, 1, false)] {
            let status = Status(json!({
                "samples": {"stored": 7, "processed": processed},
                "recommendations": {"pending": pending},
            }));
            assert_eq!(status.is_settled(), settled);
        }
        assert!(!Status(json!({})).is_settled());
    }
}
