//! What the command line asks of Alertmanager: `layer5 alert test` and `layer5 maintenance`.
//! In: its address. Out: alerts and silences over its API, version 2.
//! Invariant: a silence that Layer5 sets always ends by itself.

pub(super) mod alert;
pub(super) mod maintenance;

use std::time::Duration;

use clap::Args;
use layer5_core::Timestamp;
use serde_json::Value;

use super::Failure;
use crate::neighbours::why;

/// Patience with one call.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where Alertmanager is.
#[derive(Args, Debug)]
pub(super) struct Place {
    /// Where Alertmanager listens
    #[arg(
        long,
        value_name = "URL",
        env = "ALERTMANAGER_URL",
        default_value = "http://127.0.0.1:9093"
    )]
    alertmanager: String,
}

impl Place {
    async fn get(&self, path: &str) -> Result<Value, Failure> {
        self.send(reqwest::Client::new().get(self.url(path))).await
    }

    async fn post(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        self.send(reqwest::Client::new().post(self.url(path)).json(body))
            .await
    }

    async fn delete(&self, path: &str) -> Result<Value, Failure> {
        self.send(reqwest::Client::new().delete(self.url(path)))
            .await
    }

    fn url(&self, path: &str) -> String {
        format!("{}/api/v2/{path}", self.alertmanager.trim_end_matches('/'))
    }

    /// The answer as JSON; an empty one is null.
    async fn send(&self, request: reqwest::RequestBuilder) -> Result<Value, Failure> {
        let place = &self.alertmanager;
        let silent = |e: reqwest::Error| {
            Failure::new(
                69,
                format!(
                    "Alertmanager at {place} does not answer: {}; give --alertmanager",
                    why(&e)
                ),
            )
        };
        let response = request.timeout(PATIENCE).send().await.map_err(silent)?;
        let status = response.status();
        let text = response.text().await.map_err(silent)?;
        if !status.is_success() {
            return Err(Failure::new(
                69,
                format!("Alertmanager at {place} answered {status}: {}", text.trim()),
            ));
        }
        Ok(serde_json::from_str(&text).unwrap_or_default())
    }
}

/// The last of these silences whose time ran out: whoever ends one early changes it at its very end.
pub(super) fn newest_that_ran_out<'a>(
    silences: impl Iterator<Item = &'a Value>,
) -> Option<&'a Value> {
    let at = |silence: &Value, key: &str| Timestamp::parse_rfc3339(silence[key].as_str()?);
    silences
        .filter(|silence| silence["status"]["state"] == "expired")
        .filter_map(|silence| {
            let (changed, ended) = (at(silence, "updatedAt")?, at(silence, "endsAt")?);
            (changed < ended).then_some((ended, silence))
        })
        .max_by_key(|(ended, _)| *ended)
        .map(|(_, silence)| silence)
}
