//! A stand-in Layer8 on loopback: takes resource advice, and says once which resources there are.
//! In: `POST /recommendations` from Layer5. Out: `POST /api/v1/resources` to it, and a count.
//! Invariants: advice that breaks the contract is counted and refused.
//! Reference: Project Chimera's contracts, section 3.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, State},
    http::StatusCode,
    routing::{get, post},
};
use layer5_core::Timestamp;
use serde::Deserialize;
use serde_json::json;
use tokio::{net::TcpListener, task::JoinHandle};

/// Advice as the contract has it.
#[derive(Debug, Deserialize)]
struct Advice {
    agent_id: String,
    cpu_allocation: f64,
    memory_allocation: f64,
    gpu_allocation: Option<f64>,
    reasoning: String,
    #[serde(rename = "timestamp")]
    _timestamp: Timestamp,
}

/// What Layer8 saw.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Account {
    /// Advice taken.
    pub received: usize,
    /// Where Layer5 broke the contract: the last of them.
    pub breach: Option<String>,
    /// All of them.
    pub n_breaches: usize,
}

type Shared = Arc<Mutex<Account>>;

/// A running stand-in. Dropping it ends it.
#[derive(Debug)]
pub struct Layer8 {
    address: SocketAddr,
    account: Shared,
    server: JoinHandle<()>,
}

impl Layer8 {
    /// Starts it on a free port of loopback.
    ///
    /// # Errors
    /// When no port can be had.
    pub async fn start() -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let account = Shared::default();
        let router = Router::new()
            .route("/recommendations", post(recommendations))
            .route(
                "/health",
                get(|| async { Json(json!({"status": "healthy"})) }),
            )
            .layer(DefaultBodyLimit::max(1 << 20))
            .with_state(account.clone());
        let server = tokio::spawn(async move {
            // An accept loop on loopback ends only with the task.
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self {
            address,
            account,
            server,
        })
    }

    /// Where it listens, such as `http://127.0.0.1:40123`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What it saw so far.
    #[must_use]
    pub fn account(&self) -> Account {
        lock(&self.account).clone()
    }

    /// Tells the service at `api` which resources there are.
    ///
    /// # Errors
    /// The answer, when it is not a success.
    pub async fn announce(&self, client: &reqwest::Client, api: &str) -> Result<(), String> {
        let notice = json!({
            "available_resources": {"cpu_cores": 64, "memory_mb": 131_072, "gpus": 0},
            "timestamp": std::time::SystemTime::now(),
            "source_layer": "layer8",
        });
        let request = client.post(format!("{api}/api/v1/resources")).json(&notice);
        let response = request.send().await.map_err(|error| error.to_string())?;
        let status = response.status();
        if !status.is_success() {
            return Err(format!("the resource notice was refused: {status}"));
        }
        Ok(())
    }
}

impl Drop for Layer8 {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn lock(account: &Shared) -> MutexGuard<'_, Account> {
    account.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn recommendations(State(account): State<Shared>, body: Bytes) -> StatusCode {
    let mut account = lock(&account);
    match read(&body) {
        Ok(()) => {
            account.received += 1;
            StatusCode::OK
        }
        Err(breach) => {
            account.n_breaches += 1;
            account.breach = Some(breach);
            StatusCode::UNPROCESSABLE_ENTITY
        }
    }
}

fn read(body: &[u8]) -> Result<(), String> {
    let advice: Advice = serde_json::from_slice(body)
        .map_err(|error| format!("unreadable resource advice: {error}"))?;
    if advice.agent_id.is_empty() || advice.reasoning.is_empty() {
        return Err("resource advice without an agent or a reason".to_owned());
    }
    let amounts = [
        Some(advice.cpu_allocation),
        Some(advice.memory_allocation),
        advice.gpu_allocation,
    ];
    match amounts.into_iter().flatten().find(|amount| *amount < 0.0) {
        Some(amount) => Err(format!("{}: an allocation of {amount}", advice.agent_id)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::standin::sender::loopback_client;

    #[tokio::test]
    async fn advice_is_taken_by_the_contract() {
        let layer8 = Layer8::start().await.expect("a free port");
        let client = loopback_client();
        let mut advice = json!({
            "agent_id": "agent_001", "cpu_allocation": 2.0, "memory_allocation": 512.0,
            "gpu_allocation": null, "reasoning": "cpu is at 93 %", "timestamp": "2026-11-23T12:00:00Z",
        });
        for (cpu, status) in [
            (2.0, StatusCode::OK),
            (-1.0, StatusCode::UNPROCESSABLE_ENTITY),
        ] {
            advice["cpu_allocation"] = cpu.into();
            let url = format!("{}/recommendations", layer8.url());
            let response = client
                .post(url)
                .json(&advice)
                .send()
                .await
                .expect("answered");
            assert_eq!(response.status(), status);
        }
        let account = layer8.account();
        assert_eq!((account.received, account.n_breaches), (1, 1));
    }
}
