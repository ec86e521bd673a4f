//! The senders of the exercise: a small fleet that reports, asks for advice and tells what came of it, all through the
//! proxy, and keeps an account of every answer.
//! In: the proxy's address. Out: what was sent, acknowledged, failed; the longest time without an answer.
//! Invariants: every report has its own task, so what the service stores can be counted against what was acknowledged.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use rand::RngExt;
use rand_pcg::Pcg64;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::{
    clock,
    standin::{layer7::Layer7, sender::loopback_client},
};

/// Agents of the fleet.
const AGENTS: u64 = 12;
/// Reports in one post.
const REPORTS: u64 = 4;
/// Pause of a sender between two posts.
const PAUSE: Duration = Duration::from_millis(60);
/// Pause between two questions for advice.
const ASK_PAUSE: Duration = Duration::from_millis(150);
/// A report in so many is a spike, so that there is something to find.
const SPIKE_EVERY: u64 = 97;
/// Reports of the whole fleet after which the levels change.
const LEVEL_LEN: u64 = 6_000;
/// Failures kept word for word.
const FAILURES_KEPT: usize = 10;

/// What the senders saw.
#[derive(Debug)]
pub(super) struct Account {
    began: Instant,
    pub(super) requests: AtomicU64,
    pub(super) failed: AtomicU64,
    /// Reports acknowledged, new or known.
    pub(super) acknowledged: AtomicU64,
    /// Reports answered as refused.
    pub(super) refused: AtomicU64,
    /// Questions for advice that were answered.
    pub(super) advised: AtomicU64,
    failures: Mutex<Vec<String>>,
    /// When the last answer came, and the longest time between two, ms since the start.
    last_answer: AtomicU64,
    longest_gap: AtomicU64,
    longest_request: AtomicU64,
    number: AtomicU64,
    stop: AtomicBool,
    /// Whether outcomes are as predicted.
    pub(super) outcomes_good: AtomicBool,
}

impl Account {
    fn new() -> Self {
        Self {
            began: Instant::now(),
            requests: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            acknowledged: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            advised: AtomicU64::new(0),
            failures: Mutex::default(),
            last_answer: AtomicU64::new(0),
            longest_gap: AtomicU64::new(0),
            longest_request: AtomicU64::new(0),
            number: AtomicU64::new(0),
            stop: AtomicBool::new(false),
            outcomes_good: AtomicBool::new(true),
        }
    }

    fn now(&self) -> u64 {
        self.began.elapsed().as_millis() as u64
    }

    fn answered(&self, took: Duration) {
        let now = self.now();
        let before = self.last_answer.fetch_max(now, Relaxed);
        self.longest_gap
            .fetch_max(now.saturating_sub(before), Relaxed);
        self.longest_request
            .fetch_max(took.as_millis() as u64, Relaxed);
        self.requests.fetch_add(1, Relaxed);
    }

    fn fails(&self, why: String) {
        self.requests.fetch_add(1, Relaxed);
        self.failed.fetch_add(1, Relaxed);
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        if failures.len() < FAILURES_KEPT {
            failures.push(format!("after {} ms: {why}", self.now()));
        }
    }

    /// The first failures in words.
    pub(super) fn failures(&self) -> Vec<String> {
        self.failures
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Longest time between two answers, and longest request, since the last call, ms.
    pub(super) fn take_longest(&self) -> (u64, u64) {
        // A gap that has not ended yet counts.
        let open = self.now().saturating_sub(self.last_answer.load(Relaxed));
        let gap = self.longest_gap.swap(0, Relaxed).max(open);
        (gap, self.longest_request.swap(0, Relaxed))
    }
}

/// The running senders.
#[derive(Debug)]
pub(super) struct Senders {
    pub(super) account: Arc<Account>,
    tasks: Vec<JoinHandle<()>>,
}

impl Senders {
    /// `n` senders and one that asks for advice, to `url`; what `layer7` is recommended has an outcome too.
    pub(super) fn start(url: &str, n: u64, layer7: &Arc<Layer7>) -> Self {
        let account = Arc::new(Account::new());
        let mut tasks: Vec<_> = (0..n)
            .map(|i| tokio::spawn(send(Arc::clone(&account), url.to_owned(), i)))
            .collect();
        tasks.push(tokio::spawn(ask(
            Arc::clone(&account),
            url.to_owned(),
            Arc::clone(layer7),
        )));
        Self { account, tasks }
    }

    /// Stops when every request under way is answered.
    pub(super) async fn finish(self) -> Arc<Account> {
        self.account.stop.store(true, Relaxed);
        for task in self.tasks {
            // Requests have their own deadline.
            let _ended = task.await;
        }
        self.account
    }
}

/// Longest time for one request: above what the proxy waits for.
const PATIENCE: Duration = Duration::from_secs(60);

async fn call(
    account: &Account,
    client: &reqwest::Client,
    url: &str,
    body: &Value,
) -> Option<Value> {
    let began = Instant::now();
    let sent = client.post(url).json(body).timeout(PATIENCE).send().await;
    let answer = match sent {
        Ok(answer) => answer,
        Err(error) => {
            account.fails(format!("{url}: {error:?}"));
            return None;
        }
    };
    let status = answer.status();
    let text = answer.text().await.unwrap_or_default();
    if !status.is_success() {
        account.fails(format!("{url}: {status} {text}"));
        return None;
    }
    account.answered(began.elapsed());
    Some(serde_json::from_str(&text).unwrap_or(Value::Null))
}

async fn send(account: Arc<Account>, url: String, seed: u64) {
    let client = loopback_client();
    let mut rng = Pcg64::new(seed.into(), 0x5e9d);
    let url = format!("{url}/kpi");
    while !account.stop.load(Relaxed) {
        let reports: Vec<Value> = (0..REPORTS).map(|_| report(&account, &mut rng)).collect();
        if let Some(answer) = call(&account, &client, &url, &reports.into()).await {
            let count = |key: &str| answer[key].as_u64().unwrap_or(0);
            let acknowledged = count("accepted") + count("duplicates");
            account.acknowledged.fetch_add(acknowledged, Relaxed);
            let refused = answer["rejected"].as_array().map_or(0, Vec::len);
            account.refused.fetch_add(refused as u64, Relaxed);
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Every second agent is tuned; the others are what findings are compared on.
fn agent(number: u64) -> String {
    match number % AGENTS {
        n if n % 2 == 0 => format!("tuned_{n:02}"),
        n => format!("agent_{n:02}"),
    }
}

/// Every agent's latency moves to another level now and then, so that there is something to find.
fn level_ms(number: u64) -> f64 {
    let own = number % AGENTS;
    match (number / LEVEL_LEN + own / 2) % 2 {
        0 => 45.0,
        _ => 70.0,
    }
}

fn report(account: &Account, rng: &mut Pcg64) -> Value {
    let number = account.number.fetch_add(1, Relaxed);
    let mut noise = || rng.random::<f64>() - 0.5;
    let latency = match number % SPIKE_EVERY {
        0 => 400.0,
        _ => level_ms(number) + 6.0 * noise(),
    };
    json!({
        "agent_id": agent(number),
        "task_id": format!("task-{number}"),
        "timestamp": clock::now(),
        "metrics": {
            "latency_ms": latency,
            "accuracy": 0.9 + 0.05 * noise(),
            "cpu_usage": 0.4 + 0.1 * noise(),
        },
    })
}

/// Asks for advice and tells an outcome of it and of every recommendation: as predicted, or far from it.
async fn ask(account: Arc<Account>, url: String, layer7: Arc<Layer7>) {
    let client = loopback_client();
    let (question, outcome) = (format!("{url}/optimize"), format!("{url}/feedback"));
    for number in 0.. {
        if account.stop.load(Relaxed) {
            return;
        }
        let agent = agent(number * 2);
        let asked = json!({
            "agent_id": agent, "algorithm": "random", "parameters": { "concurrency": 8.0 },
        });
        if let Some(advice) = call(&account, &client, &question, &asked).await {
            account.advised.fetch_add(1, Relaxed);
            let told = outcome_of(&account, &advice);
            call(&account, &client, &outcome, &told).await;
        }
        for recommendation in layer7.take() {
            let told = outcome_of(&account, &json!(recommendation));
            call(&account, &client, &outcome, &told).await;
        }
        tokio::time::sleep(ASK_PAUSE).await;
    }
}

fn outcome_of(account: &Account, advice: &Value) -> Value {
    let predicted = advice["expected_improvement"].as_f64().unwrap_or(0.0);
    let observed = match account.outcomes_good.load(Relaxed) {
        true => predicted,
        false => predicted - 1.0,
    };
    json!({
        "agent_id": advice["agent_id"], "optimization_id": advice["optimization_id"],
        "success": true, "performance_delta": observed, "timestamp": clock::now(),
    })
}
