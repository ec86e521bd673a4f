//! How a command calls a running service: its address, a token, one JSON answer.
//! Called from: [`super::status`], [`super::deadletter`].

use std::{path::PathBuf, time::Duration};

use clap::Args;
use serde_json::Value;

use super::Failure;

/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// Which service.
#[derive(Args, Debug)]
pub(super) struct ServiceArgs {
    /// Where it listens
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080")]
    url: String,
    /// A file with a token, where tokens are set up
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

impl ServiceArgs {
    /// The answer to a `GET` of `path`.
    pub(super) async fn get(&self, path: &str) -> Result<Value, Failure> {
        self.call(path, |client, url| client.get(url)).await
    }

    /// The answer to a `POST` of `body` to `path`.
    pub(super) async fn post(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        self.call(path, |client, url| client.post(url).json(body))
            .await
    }

    async fn call(
        &self,
        path: &str,
        request: impl FnOnce(reqwest::Client, &str) -> reqwest::RequestBuilder,
    ) -> Result<Value, Failure> {
        let url = format!("{}{path}", self.url.trim_end_matches('/'));
        let mut request = request(reqwest::Client::new(), &url).timeout(PATIENCE);
        if let Some(path) = &self.token_file {
            let token = std::fs::read_to_string(path)
                .map_err(|e| Failure::new(66, format!("cannot read {}: {e}", path.display())))?;
            request = request.bearer_auth(token.trim());
        }
        let unreachable = |e: reqwest::Error| {
            let detail = format!("{url} does not answer: {e}; is `layer5 serve` running there?");
            Failure::new(69, detail)
        };
        let response = request.send().await.map_err(unreachable)?;
        if !response.status().is_success() {
            let status = response.status();
            let detail = response.text().await.unwrap_or_default();
            let detail = format!("{url} answered {status}: {detail}");
            return Err(Failure::new(69, detail));
        }
        response.json().await.map_err(unreachable)
    }
}
