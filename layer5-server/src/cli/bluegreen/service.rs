//! A running instance as those who deploy see it: its status, its findings, one report in and out.
//! In: an address and perhaps a token. Out: numbers, or words on why there are none. Called from: the other files here.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::{Value, json};
use uuid::Uuid;

use crate::{cli::Failure, clock, standin::sender::loopback_client};

/// Patience with one answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a smoke report may take to be read back.
const SMOKE_PATIENCE: Duration = Duration::from_secs(20);
/// Pause between two looks.
const LOOK_PAUSE: Duration = Duration::from_millis(50);

/// One instance.
#[derive(Clone, Debug)]
pub(super) struct Service {
    url: String,
    token: Option<String>,
    client: reqwest::Client,
}

/// What an instance has counted since its start, and how good its advice was.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Counts {
    /// Reports seen.
    pub(super) received: u64,
    /// Reports refused, and errors of its own.
    pub(super) wrong: u64,
    /// Accuracy of the last 24 h, from 20 evaluations on.
    pub(super) accuracy: Option<f64>,
    /// End of its log.
    pub(super) log_seq: u64,
    /// How far a shadow has followed.
    pub(super) followed_seq: Option<u64>,
    /// Reports in its log, ever.
    pub(super) stored: u64,
}

impl Service {
    /// The instance at `url`.
    pub(super) fn new(url: &str, token_file: Option<&Path>) -> Result<Self, Failure> {
        let read = |path: &Path| {
            std::fs::read_to_string(path)
                .map(|token| token.trim().to_owned())
                .map_err(|e| Failure::new(66, format!("cannot read {}: {e}", path.display())))
        };
        Ok(Self {
            url: url.trim_end_matches('/').to_owned(),
            token: token_file.map(read).transpose()?,
            client: loopback_client(),
        })
    }

    /// Where it is.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// The answer to a `GET`.
    pub(super) async fn get(&self, path: &str) -> Result<Value, String> {
        self.answer(self.client.get(format!("{}{path}", self.url)))
            .await
    }

    /// The answer to a `POST`.
    pub(super) async fn post(&self, path: &str, body: &Value) -> Result<Value, String> {
        let request = self.client.post(format!("{}{path}", self.url));
        self.answer(request.json(body)).await
    }

    async fn answer(&self, mut request: reqwest::RequestBuilder) -> Result<Value, String> {
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        let answer = request
            .timeout(PATIENCE)
            .send()
            .await
            .map_err(|e| format!("{} does not answer: {e}", self.url))?;
        let status = answer.status();
        let text = answer.text().await.unwrap_or_default();
        if !status.is_success() {
            let text: String = text.chars().take(300).collect();
            return Err(format!("{} answered {status}: {text}", self.url));
        }
        serde_json::from_str(&text).map_err(|e| format!("{} answered no JSON: {e}", self.url))
    }

    /// What it has counted.
    pub(super) async fn counts(&self) -> Result<Counts, String> {
        let status = self.get("/api/v1/status").await?;
        let rejected = status["reports"]["rejected"].as_object();
        let rejected: u64 = rejected.map_or(0, |by_reason| {
            by_reason.values().filter_map(Value::as_u64).sum()
        });
        Ok(Counts {
            received: status["reports"]["received"].as_u64().unwrap_or(0),
            wrong: rejected + status["errors"].as_u64().unwrap_or(0),
            accuracy: status["optimization"]["accuracy"].as_f64(),
            log_seq: status["log_seq"].as_u64().unwrap_or(0),
            followed_seq: status["followed_seq"].as_u64(),
            stored: status["reports"]["stored"].as_u64().unwrap_or(0),
        })
    }

    /// Sends one report and reads it back; how long that took.
    ///
    /// Its agent is called `layer5-smoke`, so this is for candidates, whose folder goes with them.
    pub(super) async fn smoke(&self) -> Result<Duration, String> {
        let began = std::time::Instant::now();
        let (task, at) = (Uuid::new_v4(), clock::now());
        let report = json!({
            "agent_id": "layer5-smoke", "task_id": task, "timestamp": at,
            "metrics": { "smoke": 1.0 },
        });
        let answer = self.post("/kpi", &report).await?;
        if answer["accepted"] != 1 {
            return Err(format!("a good report was not taken: {answer}"));
        }
        let from = at.plus_seconds(-1.0);
        let path = format!("/api/v1/series/layer5-smoke/smoke?from={from}");
        loop {
            let seen = self.get(&path).await.map(|page| page["samples"].clone());
            match seen {
                Ok(Value::Array(samples)) if !samples.is_empty() => return Ok(began.elapsed()),
                other if began.elapsed() > SMOKE_PATIENCE => {
                    return Err(format!("a report went in and did not come out: {other:?}"));
                }
                _ => tokio::time::sleep(LOOK_PAUSE).await,
            }
        }
    }
}

/// Which instance a command looks at.
#[derive(clap::Args, Debug)]
pub(super) struct Which {
    /// Where its API listens
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080")]
    url: String,
    /// A file with an operator's token, where tokens are set up
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

impl Which {
    pub(super) fn service(&self) -> Result<Service, Failure> {
        Service::new(&self.url, self.token_file.as_deref())
    }

    pub(super) fn token_file(&self) -> Option<&Path> {
        self.token_file.as_deref()
    }
}
