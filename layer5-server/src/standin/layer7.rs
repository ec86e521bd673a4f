//! A stand-in Layer7 on loopback: takes recommendations, checks the contract, reports outcomes.
//! In: `POST /optimization` from Layer5's outbox. Out: accepted recommendations for `changes`, `POST /feedback` to
//! Layer5, and a list of breaches of the contract.
//! Invariants: an idempotency key has one effect however often it comes; what was answered 503 had none; both its
//! queues are bounded.
//! Reference: Project Chimera's contracts, section 3.

use std::{
    collections::{HashMap, VecDeque},
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{ConnectInfo, DefaultBodyLimit, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use layer5_core::{Outcome, Recommendation, Timestamp};
use rand_pcg::Pcg64;
use serde_json::json;
use tokio::{net::TcpListener, sync::mpsc, task::JoinHandle};
use uuid::Uuid;

use super::{
    misbehaviour::{CuttableListener, Misbehaviour, Scissors, Verdict},
    noise,
};

/// Keys remembered; a demo issues far fewer. Beyond them requests are refused, so that a run-away sender is seen.
const KEYS_MAX: usize = 100_000;
/// Outcomes that wait to be reported.
const OUTCOMES_MAX: usize = 4096;
/// Breaches kept word for word; further ones are counted.
const BREACHES_MAX: usize = 20;
/// Attempts per outcome, and the wait between them.
const FEEDBACK_ATTEMPTS: usize = 40;
const FEEDBACK_PAUSE: Duration = Duration::from_millis(250);

/// What Layer7 saw.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Account {
    /// Distinct recommendations accepted.
    pub delivered: usize,
    /// Requests whose key had come before, with the same body.
    pub repeats: usize,
    /// Requests failed on purpose with 503.
    pub errors: usize,
    /// Connections cut on purpose.
    pub cuts: usize,
    /// Outcomes that Layer5 took.
    pub outcomes_told: usize,
    /// Outcomes that Layer5 did not take in `FEEDBACK_ATTEMPTS` attempts, or that found the queue full.
    pub outcomes_lost: usize,
    /// Where Layer5 broke the contract, the first of them.
    pub breaches: Vec<String>,
    /// All of them.
    pub n_breaches: usize,
}

impl Account {
    fn breach(&mut self, text: String) {
        self.n_breaches += 1;
        if self.breaches.len() < BREACHES_MAX {
            self.breaches.push(text);
        }
    }
}

#[derive(Debug)]
struct Desk {
    account: Account,
    misbehaviour: Misbehaviour,
    rng: Pcg64,
    bodies: HashMap<Uuid, Bytes>,
    newest: HashMap<String, Timestamp>,
    inbox: VecDeque<Recommendation>,
}

type Shared = Arc<Mutex<Desk>>;

/// A running stand-in. Dropping it ends it.
#[derive(Debug)]
pub struct Layer7 {
    address: SocketAddr,
    desk: Shared,
    server: JoinHandle<()>,
}

impl Layer7 {
    /// Starts it on a free port of loopback.
    ///
    /// # Errors
    /// When no port can be had.
    pub async fn start(misbehaviour: Misbehaviour, seed: u64) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let desk = Arc::new(Mutex::new(Desk {
            account: Account::default(),
            misbehaviour,
            rng: noise::stream(seed, noise::STREAM_LAYER7),
            bodies: HashMap::new(),
            newest: HashMap::new(),
            inbox: VecDeque::new(),
        }));
        let router = Router::new()
            .route("/optimization", post(optimization))
            // Outcomes are pushed, so a poll finds nothing.
            .route("/feedback", get(|| async { StatusCode::NO_CONTENT }))
            .route(
                "/health",
                get(|| async { Json(json!({"status": "healthy"})) }),
            )
            .layer(DefaultBodyLimit::max(1 << 20))
            .with_state(desk.clone());
        let service = router.into_make_service_with_connect_info::<Scissors>();
        let server = tokio::spawn(async move {
            // An accept loop on loopback ends only with the task.
            let _ = axum::serve(CuttableListener(listener), service).await;
        });
        Ok(Self {
            address,
            desk,
            server,
        })
    }

    /// Where it listens, such as `http://127.0.0.1:40123`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The recommendations accepted since the last call, in order.
    #[must_use]
    pub fn take(&self) -> Vec<Recommendation> {
        lock(&self.desk).inbox.drain(..).collect()
    }

    /// From now on it fails as this says.
    pub fn misbehave(&self, misbehaviour: Misbehaviour) {
        lock(&self.desk).misbehaviour = misbehaviour;
    }

    /// What it saw so far.
    #[must_use]
    pub fn account(&self) -> Account {
        lock(&self.desk).account.clone()
    }

    /// Opens the way for outcomes to the service at `api`.
    #[must_use]
    pub fn feedback(&self, client: reqwest::Client, api: &str) -> Feedback {
        let (queue, outcomes) = mpsc::channel(OUTCOMES_MAX);
        let desk = self.desk.clone();
        let url = format!("{api}/feedback");
        Feedback {
            queue,
            desk: desk.clone(),
            teller: tokio::spawn(tell(outcomes, client, url, desk)),
        }
    }
}

impl Drop for Layer7 {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// Reports outcomes to Layer5, one at a time and in order.
#[derive(Debug)]
pub struct Feedback {
    queue: mpsc::Sender<Outcome>,
    desk: Shared,
    teller: JoinHandle<()>,
}

impl Feedback {
    /// Queues an outcome; when the queue is full it is lost, and counted.
    pub fn report(&self, outcome: Outcome) {
        if self.queue.try_send(outcome).is_err() {
            lock(&self.desk).account.outcomes_lost += 1;
        }
    }

    /// Waits until what is queued has been told, at most `patience`.
    pub async fn finish(self, patience: Duration) {
        drop(self.queue);
        let abort = self.teller.abort_handle();
        if tokio::time::timeout(patience, self.teller).await.is_err() {
            abort.abort();
        }
    }
}

/// A panic while the desk was held left at worst a count behind by one; the table is still worth printing.
fn lock(desk: &Shared) -> MutexGuard<'_, Desk> {
    desk.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn optimization(
    State(desk): State<Shared>,
    ConnectInfo(scissors): ConnectInfo<Scissors>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let (verdict, delay) = {
        let mut desk = lock(&desk);
        let misbehaviour = desk.misbehaviour;
        (misbehaviour.verdict(&mut desk.rng), misbehaviour.delay)
    };
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
    let mut desk = lock(&desk);
    if verdict == Verdict::Error {
        desk.account.errors += 1;
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    let answer = match desk.accept(&headers, body) {
        Ok(id) => (
            StatusCode::OK,
            Json(json!({"status": "accepted", "optimization_id": id})),
        ),
        Err(breach) => {
            let answer = Json(json!({"status": "refused", "detail": breach}));
            desk.account.breach(breach);
            (StatusCode::UNPROCESSABLE_ENTITY, answer)
        }
    };
    if verdict == Verdict::Cut {
        desk.account.cuts += 1;
        scissors.cut();
    }
    answer.into_response()
}

impl Desk {
    /// Takes one recommendation, or says how it breaks the contract.
    fn accept(&mut self, headers: &HeaderMap, body: Bytes) -> Result<Uuid, String> {
        let advice: Recommendation = serde_json::from_slice(&body)
            .map_err(|error| format!("unreadable recommendation: {error}"))?;
        let id = advice.optimization_id;
        let key = headers.get("idempotency-key").map(|key| key.as_bytes());
        if key != Some(id.to_string().as_bytes()) {
            return Err(format!("{id}: Idempotency-Key is {key:?}"));
        }
        if let Some(known) = self.bodies.get(&id) {
            if *known != body {
                return Err(format!("{id} came again with another body"));
            }
            self.account.repeats += 1;
            return Ok(id);
        }
        check(&advice)?;
        if self.bodies.len() >= KEYS_MAX {
            return Err(format!("{id}: more than {KEYS_MAX} recommendations"));
        }
        let newest = self.newest.get(&advice.agent_id);
        if newest.is_some_and(|newest| *newest > advice.timestamp) {
            return Err(format!(
                "{id} for {} is older than the one before",
                advice.agent_id
            ));
        }
        self.newest
            .insert(advice.agent_id.clone(), advice.timestamp);
        self.bodies.insert(id, body);
        self.account.delivered += 1;
        self.inbox.push_back(advice);
        Ok(id)
    }
}

fn check(advice: &Recommendation) -> Result<(), String> {
    let id = advice.optimization_id;
    let (low, high) = advice.expected_interval;
    let expected = advice.expected_improvement;
    if !(0.0..=1.0).contains(&advice.confidence) {
        return Err(format!(
            "{id}: confidence {} is outside 0..=1",
            advice.confidence
        ));
    }
    if !(low <= expected && expected <= high) {
        return Err(format!(
            "{id}: expected {expected} is outside [{low}, {high}]"
        ));
    }
    if advice.parameters.is_empty() {
        return Err(format!("{id}: no parameters"));
    }
    Ok(())
}

async fn tell(
    mut outcomes: mpsc::Receiver<Outcome>,
    client: reqwest::Client,
    url: String,
    desk: Shared,
) {
    while let Some(outcome) = outcomes.recv().await {
        let told = tell_one(&outcome, &client, &url).await;
        let account = &mut lock(&desk).account;
        match told {
            Ok(true) => account.outcomes_told += 1,
            Ok(false) => account.outcomes_lost += 1,
            Err(breach) => account.breach(breach),
        }
    }
}

/// Whether Layer5 took the outcome; an error when it refused one that is right.
async fn tell_one(outcome: &Outcome, client: &reqwest::Client, url: &str) -> Result<bool, String> {
    for _ in 0..FEEDBACK_ATTEMPTS {
        if let Ok(response) = client.post(url).json(outcome).send().await {
            let status = response.status();
            if status.is_success() {
                return Ok(true);
            }
            let again = status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS;
            if !again {
                let id = outcome.optimization_id;
                let text = response.text().await.unwrap_or_default();
                let text: String = text.chars().take(200).collect();
                return Err(format!("the outcome of {id} was refused: {status} {text}"));
            }
        }
        tokio::time::sleep(FEEDBACK_PAUSE).await;
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::standin::sender::loopback_client;

    fn advice(number: u128, second: i64) -> Recommendation {
        Recommendation {
            agent_id: "agent_001".into(),
            optimization_id: Uuid::from_u128(number),
            parameters: [("concurrency".to_owned(), 8.0)].into(),
            confidence: 0.9,
            expected_improvement: 0.1,
            expected_interval: (0.0, 0.2),
            timestamp: Timestamp::from_millis(second * 1000),
        }
    }

    async fn send(layer7: &Layer7, advice: &Recommendation, key: &str) -> Option<StatusCode> {
        let request = loopback_client()
            .post(format!("{}/optimization", layer7.url()))
            .header("Idempotency-Key", key)
            .json(advice);
        request.send().await.ok().map(|response| response.status())
    }

    async fn deliver(layer7: &Layer7, advice: &Recommendation) -> Option<StatusCode> {
        send(layer7, advice, &advice.optimization_id.to_string()).await
    }

    async fn started(misbehaviour: Misbehaviour) -> Layer7 {
        Layer7::start(misbehaviour, 7).await.expect("a free port")
    }

    #[tokio::test]
    async fn a_key_has_one_effect() {
        let layer7 = started(Misbehaviour::default()).await;
        for _ in 0..3 {
            assert_eq!(deliver(&layer7, &advice(1, 10)).await, Some(StatusCode::OK));
        }
        let account = layer7.account();
        assert_eq!(
            (account.delivered, account.repeats, account.n_breaches),
            (1, 2, 0)
        );
        assert_eq!(layer7.take(), [advice(1, 10)]);
        assert_eq!(layer7.take(), []);
    }

    #[tokio::test]
    async fn every_breach_is_seen() {
        let layer7 = started(Misbehaviour::default()).await;
        let refused = Some(StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(deliver(&layer7, &advice(1, 10)).await, Some(StatusCode::OK));
        assert_eq!(send(&layer7, &advice(2, 11), "another").await, refused);
        let mut changed = advice(1, 10);
        changed.confidence = 0.8;
        assert_eq!(deliver(&layer7, &changed).await, refused);
        assert_eq!(deliver(&layer7, &advice(3, 9)).await, refused);
        let mut outside = advice(4, 12);
        outside.expected_improvement = 0.3;
        assert_eq!(deliver(&layer7, &outside).await, refused);
        let account = layer7.account();
        assert_eq!((account.delivered, account.n_breaches), (1, 4));
        assert_eq!(account.breaches.len(), 4);
    }

    #[tokio::test]
    async fn an_error_does_nothing_and_a_cut_does_it_unanswered() {
        let error = Misbehaviour {
            error_share: 1.0,
            ..Misbehaviour::default()
        };
        let layer7 = started(error).await;
        let status = deliver(&layer7, &advice(1, 10)).await;
        assert_eq!(status, Some(StatusCode::SERVICE_UNAVAILABLE));
        assert_eq!(layer7.take(), []);
        let cut = Misbehaviour {
            cut_share: 1.0,
            ..Misbehaviour::default()
        };
        let layer7 = started(cut).await;
        assert_eq!(deliver(&layer7, &advice(1, 10)).await, None);
        assert_eq!(layer7.take(), [advice(1, 10)]);
        assert!(layer7.account().cuts >= 1);
    }

    #[tokio::test]
    async fn outcomes_are_told_until_they_are_taken() {
        let answers = Arc::new(Mutex::new(vec![
            StatusCode::OK,
            StatusCode::SERVICE_UNAVAILABLE,
        ]));
        let left = answers.clone();
        let handler = move || {
            let status = left.lock().expect("not poisoned").pop();
            async move { status.unwrap_or(StatusCode::BAD_REQUEST) }
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let api = format!("http://{}", listener.local_addr().expect("bound"));
        let router = Router::new().route("/feedback", post(handler));
        tokio::spawn(async move { axum::serve(listener, router).await });
        let layer7 = started(Misbehaviour::default()).await;
        let feedback = layer7.feedback(loopback_client(), &api);
        for number in 0..2 {
            feedback.report(Outcome {
                agent_id: "agent_001".into(),
                optimization_id: Uuid::from_u128(number),
                success: true,
                performance_delta: 0.1,
                timestamp: Timestamp::EPOCH,
            });
        }
        feedback.finish(Duration::from_secs(20)).await;
        let account = layer7.account();
        // The first was refused once and then taken, the second was refused for good.
        assert_eq!((account.outcomes_told, account.outcomes_lost), (1, 0));
        assert_eq!(account.n_breaches, 1);
    }
}
