//! Deliveries to a Layer7 that misbehaves on real sockets: whatever it does, every recommendation has one effect, in
//! order per agent, and is out of the outbox only when that is durable.
//! Nothing here waits for a length of time; every wait is for something that happens, with a limit for the failing case.

#![allow(
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

use std::collections::{HashMap, HashSet, VecDeque};
use std::future::pending;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use layer5_core::{Outcome, Recommendation, Timestamp};
use layer5_server::neighbours::circuit::{CircuitConfig, CircuitState};
use layer5_server::neighbours::{
    CallError, CallKind, Delivery, DoorConfig, Layer7Client, Layer8Client, ResourceAdvice,
};
use layer5_server::outbox::{Outbox, OutboxConfig, OutboxStatus};
use layer5_server::store::{
    Control, Effects, Group, RecommendationState, Store, StoreConfig, StoredRecommendation,
};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::{Barrier, Notify, mpsc, watch};
use tokio::task::JoinHandle;
use uuid::Uuid;

/// Only ever reached by a failing test.
const LIMIT: Duration = Duration::from_secs(30);

#[derive(Clone, Debug)]
enum Reply {
    Ok,
    Status(u16, &'static [(&'static str, &'static str)]),
    /// The effect happens, the answer is lost.
    LoseAnswer,
    Hang,
    /// Answers once so many are here at the same time.
    Meet(Arc<Barrier>),
    /// Answers when rung.
    Wait(Arc<Notify>),
    Body(StatusCode, String),
}

/// What Layer7 saw and how it answers.
#[derive(Debug, Default)]
struct Layer7 {
    script: Mutex<VecDeque<Reply>>,
    pushes: Mutex<Vec<(Instant, Recommendation)>>,
    /// First sight of each idempotency key: its effect.
    effects: Mutex<Vec<Uuid>>,
    under_way: Mutex<HashSet<String>>,
    /// Agents that had two pushes under way at once.
    overlaps: Mutex<Vec<String>>,
}

impl Layer7 {
    fn script(self: &Arc<Self>, replies: impl IntoIterator<Item = Reply>) -> &Arc<Self> {
        self.script.lock().unwrap().extend(replies);
        self
    }

    async fn serve(self: &Arc<Self>, at: SocketAddr) -> (SocketAddr, JoinHandle<()>) {
        let router = Router::new()
            .route("/optimization", post(optimization))
            .route("/recommendations", post(answer))
            .route("/feedback", get(answer))
            .route("/health", get(answer))
            .with_state(Arc::clone(self));
        let listener = TcpListener::bind(at).await.unwrap();
        let at = listener.local_addr().unwrap();
        (
            at,
            tokio::spawn(async move { axum::serve(listener, router).await.unwrap() }),
        )
    }

    fn effects(&self) -> Vec<Uuid> {
        self.effects.lock().unwrap().clone()
    }
}

async fn optimization(
    State(layer7): State<Arc<Layer7>>,
    headers: HeaderMap,
    body: String,
) -> Response {
    let recommendation: Recommendation = serde_json::from_str(&body).unwrap();
    let id = recommendation.optimization_id;
    assert_eq!(headers["idempotency-key"], id.to_string());
    layer7
        .pushes
        .lock()
        .unwrap()
        .push((Instant::now(), recommendation.clone()));
    let first = layer7
        .under_way
        .lock()
        .unwrap()
        .insert(recommendation.agent_id.clone());
    if !first {
        layer7
            .overlaps
            .lock()
            .unwrap()
            .push(recommendation.agent_id.clone());
    }
    let reply = layer7
        .script
        .lock()
        .unwrap()
        .pop_front()
        .unwrap_or(Reply::Ok);
    let lost = matches!(reply, Reply::LoseAnswer | Reply::Hang);
    let has_effect = !matches!(reply, Reply::Status(..) | Reply::Hang);
    if has_effect && !layer7.effects().contains(&id) {
        layer7.effects.lock().unwrap().push(id);
    }
    if lost {
        layer7
            .under_way
            .lock()
            .unwrap()
            .remove(&recommendation.agent_id);
    }
    let response = play(reply).await;
    layer7
        .under_way
        .lock()
        .unwrap()
        .remove(&recommendation.agent_id);
    response
}

async fn answer(State(layer7): State<Arc<Layer7>>) -> Response {
    let reply = layer7.script.lock().unwrap().pop_front();
    play(reply.unwrap_or(Reply::Status(204, &[]))).await
}

async fn play(reply: Reply) -> Response {
    match reply {
        Reply::Ok => StatusCode::OK.into_response(),
        Reply::Status(status, headers) => {
            let mut response = (StatusCode::from_u16(status).unwrap(), "words").into_response();
            for (name, value) in headers {
                response.headers_mut().insert(*name, value.parse().unwrap());
            }
            response
        }
        // Unwinding without the panic hook's message: hyper closes the connection without an answer.
        Reply::LoseAnswer => std::panic::resume_unwind(Box::new("lost")),
        Reply::Hang => pending().await,
        Reply::Meet(barrier) => {
            barrier.wait().await;
            StatusCode::OK.into_response()
        }
        Reply::Wait(bell) => {
            bell.notified().await;
            StatusCode::OK.into_response()
        }
        Reply::Body(status, body) => (status, body).into_response(),
    }
}

fn door(at: SocketAddr) -> DoorConfig {
    DoorConfig {
        url: format!("http://{at}/"),
        timeout: Duration::from_millis(300),
        circuit: CircuitConfig {
            failures_to_open: 5,
            pause: Duration::from_millis(20),
            pause_max: Duration::from_millis(80),
        },
    }
}

fn anywhere() -> SocketAddr {
    ([127, 0, 0, 1], 0).into()
}

/// A store with a committer that makes told controls durable, one group each.
struct Fixture {
    dir: TempDir,
    store: Arc<Store>,
    told: mpsc::UnboundedSender<Control>,
    heard: mpsc::UnboundedReceiver<Control>,
    status: Arc<OutboxStatus>,
    /// Whether the next thing told brings its task to a bad end.
    trip: Arc<AtomicBool>,
}

impl Fixture {
    fn new() -> Self {
        Self::over(TempDir::new().unwrap())
    }

    fn over(dir: TempDir) -> Self {
        let config = StoreConfig {
            min_free_bytes: 0,
            ..StoreConfig::default()
        };
        let store = Arc::new(Store::open(dir.path(), &config).unwrap());
        let (told, heard) = mpsc::unbounded_channel();
        Self {
            dir,
            store,
            told,
            heard,
            status: Arc::default(),
            trip: Arc::default(),
        }
    }

    fn issue(&self, agents: &[&str]) -> Vec<Uuid> {
        let recommendations: Vec<_> = agents.iter().map(|agent| advice(agent)).collect();
        let ids = recommendations
            .iter()
            .map(|r| r.recommendation.optimization_id)
            .collect();
        commit(&self.store, |group| {
            group.effects = Effects {
                recommendations,
                ..Effects::default()
            };
        });
        ids
    }

    fn start(&self, layer7: Layer7Client) -> (watch::Sender<bool>, JoinHandle<()>) {
        let outbox = Outbox {
            store: Arc::clone(&self.store),
            layer7: Some(Arc::new(layer7)),
            config: OutboxConfig {
                retry_min: Duration::from_millis(1),
                retry_max: Duration::from_millis(20),
                look_every: Duration::from_millis(5),
                ..OutboxConfig::default()
            },
            status: Arc::clone(&self.status),
            bell: Arc::default(),
        };
        let (stop, stopped) = watch::channel(false);
        let (store, told) = (Arc::clone(&self.store), self.told.clone());
        let trip = Arc::clone(&self.trip);
        let tell = move |control: Control| {
            let (store, told) = (Arc::clone(&store), told.clone());
            let trip = trip.swap(false, Ordering::SeqCst);
            async move {
                if trip {
                    std::panic::resume_unwind(Box::new("tripped"));
                }
                commit(&store, |group| group.controls.push(control.clone()));
                told.send(control).is_ok()
            }
        };
        (stop, tokio::spawn(outbox.run(tell, stopped)))
    }

    async fn hear(&mut self, n: usize) -> Vec<Control> {
        let mut heard = vec![];
        while heard.len() < n {
            let next = tokio::time::timeout(LIMIT, self.heard.recv()).await;
            heard.push(next.expect("something happens").expect("the outbox lives"));
        }
        heard
    }

    fn state(&self, id: Uuid) -> RecommendationState {
        self.store.recommendation(id).unwrap().unwrap().state
    }
}

fn commit(store: &Store, fill: impl FnOnce(&mut Group)) {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _one = ONE_AT_A_TIME.lock().unwrap();
    let mut group = Group {
        seq: store.totals().last_seq + 1,
        ..Group::default()
    };
    fill(&mut group);
    store.commit(&group).unwrap();
}

fn advice(agent: &str) -> StoredRecommendation {
    StoredRecommendation {
        recommendation: Recommendation {
            agent_id: agent.into(),
            optimization_id: Uuid::new_v4(),
            parameters: [("threads".to_owned(), 4.0)].into(),
            confidence: 0.9,
            expected_improvement: 0.2,
            expected_interval: (0.1, 0.3),
            timestamp: Timestamp::from_millis(1_795_000_000_000),
        },
        study: "fleet".into(),
        trial: 1,
        proposed_by: "gp".into(),
        dry_run: false,
    }
}

async fn until(condition: impl Fn() -> bool) {
    let waited = async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LIMIT, waited)
        .await
        .expect("it comes true");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn agents_go_side_by_side_and_each_in_order() {
    let mut fixture = Fixture::new();
    let ids = fixture.issue(&["a", "b", "c", "a", "b", "a", "c", "a"]);
    let layer7 = Arc::new(Layer7::default());
    // The first three are answered only once all three are there.
    let barrier = Arc::new(Barrier::new(3));
    layer7.script(vec![Reply::Meet(barrier); 3]);
    let (at, _) = layer7.serve(anywhere()).await;
    let _task = fixture.start(Layer7Client::new(&door(at)).unwrap());
    fixture.hear(8).await;
    assert_eq!(*layer7.overlaps.lock().unwrap(), [""; 0]);
    let mut by_agent: HashMap<String, Vec<Uuid>> = HashMap::new();
    for (_, push) in layer7.pushes.lock().unwrap().iter() {
        by_agent
            .entry(push.agent_id.clone())
            .or_default()
            .push(push.optimization_id);
    }
    assert_eq!(by_agent["a"], [ids[0], ids[3], ids[5], ids[7]]);
    assert_eq!(by_agent["b"], [ids[1], ids[4]]);
    assert_eq!(by_agent["c"], [ids[2], ids[6]]);
    assert!(
        ids.iter()
            .all(|&id| fixture.state(id) == RecommendationState::Delivered)
    );
    until(|| fixture.status.depth_and_oldest(Timestamp::EPOCH) == (0, None)).await;
    assert_eq!(fixture.status.pushes(), (8, 0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trouble_delays_but_nothing_is_lost_or_done_twice() {
    let mut fixture = Fixture::new();
    let ids = fixture.issue(&["a", "b", "a", "c", "b", "a"]);
    let layer7 = Arc::new(Layer7::default());
    layer7.script([
        Reply::Status(503, &[]),
        Reply::LoseAnswer,
        Reply::Hang,
        Reply::Status(429, &[]),
        Reply::LoseAnswer,
        Reply::Status(500, &[]),
        Reply::Status(301, &[("location", "http://127.0.0.1:1/")]),
        Reply::Status(401, &[]),
        Reply::LoseAnswer,
        Reply::Status(408, &[]),
    ]);
    let (at, _) = layer7.serve(anywhere()).await;
    let _task = fixture.start(Layer7Client::new(&door(at)).unwrap());
    fixture.hear(6).await;
    let mut effects = layer7.effects();
    let mut expected = ids.clone();
    effects.sort_unstable();
    expected.sort_unstable();
    assert_eq!(effects, expected);
    assert_eq!(layer7.pushes.lock().unwrap().len(), 16);
    assert_eq!(*layer7.overlaps.lock().unwrap(), [""; 0]);
    // The order of an agent's effects holds through all of it.
    let order: Vec<_> = layer7
        .effects()
        .into_iter()
        .filter(|id| ids[..].contains(id))
        .collect();
    let place = |id| order.iter().position(|&other| other == id);
    assert!(place(ids[0]) < place(ids[2]) && place(ids[2]) < place(ids[5]));
    assert!(place(ids[1]) < place(ids[4]));
    assert!(fixture.status.pushes().2 >= 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_is_final_and_the_next_one_goes() {
    let mut fixture = Fixture::new();
    let ids = fixture.issue(&["a", "a"]);
    let layer7 = Arc::new(Layer7::default());
    layer7.script([Reply::Status(422, &[])]);
    let (at, _) = layer7.serve(anywhere()).await;
    let _task = fixture.start(Layer7Client::new(&door(at)).unwrap());
    let heard = fixture.hear(2).await;
    assert!(matches!(&heard[0], Control::Refused { words, .. } if words == "422 words"));
    let row = fixture.store.recommendation(ids[0]).unwrap().unwrap();
    assert_eq!(
        (row.state, &*row.refusal),
        (RecommendationState::Rejected, "422 words")
    );
    assert_eq!(fixture.state(ids[1]), RecommendationState::Delivered);
    assert_eq!(layer7.pushes.lock().unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_asked_to_wait_waits_and_others_do_not() {
    let mut fixture = Fixture::new();
    let ids = fixture.issue(&["a", "b"]);
    let layer7 = Arc::new(Layer7::default());
    layer7.script([Reply::Status(429, &[("retry-after", "1")])]);
    let (at, _) = layer7.serve(anywhere()).await;
    let _task = fixture.start(Layer7Client::new(&door(at)).unwrap());
    let heard = fixture.hear(2).await;
    let pushes = layer7.pushes.lock().unwrap();
    let (asked_at, asked) = &pushes[0];
    let other = ids.iter().find(|&&id| id != asked.optimization_id).unwrap();
    assert!(
        matches!(&heard[0], Control::Delivered { optimization_id, .. } if optimization_id == other)
    );
    let (again_at, again) = pushes.last().unwrap();
    assert_eq!(again.optimization_id, asked.optimization_id);
    assert!(*again_at - *asked_at >= Duration::from_secs(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_under_way_at_a_stop_goes_after_the_start() {
    let fixture = Fixture::new();
    let ids = fixture.issue(&["a", "a"]);
    let layer7 = Arc::new(Layer7::default());
    layer7.script([Reply::Hang]);
    let (at, _) = layer7.serve(anywhere()).await;
    let patient = DoorConfig {
        timeout: LIMIT,
        ..door(at)
    };
    let (stop, task) = fixture.start(Layer7Client::new(&patient).unwrap());
    until(|| layer7.pushes.lock().unwrap().len() == 1).await;
    stop.send(true).unwrap();
    task.await.unwrap();
    let Fixture { dir, store, .. } = fixture;
    until(|| Arc::strong_count(&store) == 1).await;
    drop(store);

    let mut fixture = Fixture::over(dir);
    let _task = fixture.start(Layer7Client::new(&door(at)).unwrap());
    fixture.hear(2).await;
    assert_eq!(layer7.effects(), ids);
    drop(fixture.dir);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_poll_took_is_not_pushed() {
    let mut fixture = Fixture::new();
    let ids = fixture.issue(&["a", "a", "a"]);
    let layer7 = Arc::new(Layer7::default());
    let bell = Arc::new(Notify::new());
    layer7.script([Reply::Wait(Arc::clone(&bell))]);
    let (at, _) = layer7.serve(anywhere()).await;
    let patient = DoorConfig {
        timeout: LIMIT,
        ..door(at)
    };
    let _task = fixture.start(Layer7Client::new(&patient).unwrap());
    until(|| layer7.pushes.lock().unwrap().len() == 1).await;
    let optimization_id = ids[1];
    commit(&fixture.store, |group| {
        group.controls.push(Control::HandedOut {
            optimization_id,
            at: Timestamp::EPOCH,
        });
    });
    bell.notify_one();
    fixture.hear(2).await;
    assert_eq!(layer7.effects(), [ids[0], ids[2]]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_push_that_comes_to_a_bad_end_is_repeated() {
    let mut fixture = Fixture::new();
    let ids = fixture.issue(&["a", "a"]);
    let layer7 = Arc::new(Layer7::default());
    let (at, _) = layer7.serve(anywhere()).await;
    fixture.trip.store(true, Ordering::SeqCst);
    let _task = fixture.start(Layer7Client::new(&door(at)).unwrap());
    fixture.hear(2).await;
    assert_eq!(layer7.effects(), ids);
    assert_eq!(layer7.pushes.lock().unwrap().len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_layer7_that_is_away_is_left_alone_and_found_again() {
    let mut fixture = Fixture::new();
    let ids = fixture.issue(&["a", "b", "c"]);
    let layer7 = Arc::new(Layer7::default());
    let (at, server) = layer7.serve(anywhere()).await;
    server.abort();
    assert!(server.await.unwrap_err().is_cancelled());
    let client = Arc::new(Layer7Client::new(&door(at)).unwrap());
    let outbox_client = Layer7Client::new(&door(at)).unwrap();
    let _task = fixture.start(outbox_client);
    // A second client meets the same closed door, to look at its circuit from outside.
    for _ in 0..5 {
        assert!(matches!(
            client.health().await,
            Err(CallError::Connection(_))
        ));
    }
    let snapshot = client.snapshot();
    assert_eq!(
        (snapshot.circuit, snapshot.up),
        (CircuitState::Open, Some(false))
    );
    assert_eq!((snapshot.calls, snapshot.errors), (5, [0, 5, 0, 0]));
    match client.push(&advice("d").recommendation, 1).await {
        Delivery::Retry {
            wait: Some(wait),
            error: CallError::CircuitOpen { .. },
        } => {
            assert!(wait <= Duration::from_millis(20));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(
        client.snapshot().calls,
        5,
        "nothing goes out while it is open"
    );
    until(|| fixture.status.pushes().2 >= 5).await;

    let (_, _server) = layer7.serve(at).await;
    fixture.hear(3).await;
    let mut effects = layer7.effects();
    effects.sort_unstable();
    let mut ids = ids;
    ids.sort_unstable();
    assert_eq!(effects, ids);
}

#[tokio::test]
async fn every_answer_to_a_push_has_its_class() {
    let layer7 = Arc::new(Layer7::default());
    let (at, _) = layer7.serve(anywhere()).await;
    let client = Layer7Client::new(&door(at)).unwrap();
    let push = async |status: u16| {
        layer7.script([Reply::Status(status, &[])]);
        client.push(&advice("a").recommendation, 1).await
    };
    for status in [200, 201, 202, 204] {
        assert!(
            matches!(push(status).await, Delivery::Delivered),
            "{status}"
        );
    }
    for status in [400, 404, 409, 410, 413, 422, 499] {
        assert!(
            matches!(push(status).await, Delivery::Refused(_)),
            "{status}"
        );
    }
    for status in [301, 307, 401, 403, 408, 425, 429, 500, 502, 503, 504] {
        // A success in between keeps the circuit closed.
        assert!(matches!(push(200).await, Delivery::Delivered));
        let Delivery::Retry {
            wait: None,
            error: CallError::Status { status: seen, .. },
        } = push(status).await
        else {
            panic!("{status}");
        };
        assert_eq!(seen, status);
    }
    assert_eq!(client.snapshot().up, Some(false));
}

#[tokio::test]
async fn only_an_outcome_is_an_outcome() {
    let layer7 = Arc::new(Layer7::default());
    let (at, _) = layer7.serve(anywhere()).await;
    let client = Layer7Client::new(&door(at)).unwrap();
    assert!(matches!(client.poll_feedback().await, Ok(None)));
    let outcome = Outcome {
        agent_id: "a".into(),
        optimization_id: Uuid::nil(),
        success: true,
        performance_delta: 0.25,
        timestamp: Timestamp::EPOCH,
    };
    let body = |text: &str| [Reply::Body(StatusCode::OK, text.to_owned())];
    layer7.script(body(&serde_json::to_string(&outcome).unwrap()));
    assert_eq!(client.poll_feedback().await.unwrap(), Some(outcome));
    for text in ["", "{}", "null", r#"{"agent_id":1}"#] {
        layer7.script(body(text));
        assert!(
            matches!(client.poll_feedback().await, Err(CallError::Answer(_))),
            "{text}"
        );
    }
    layer7.script(body(&" ".repeat((64 << 10) + 1)));
    let error = client.poll_feedback().await.unwrap_err();
    assert_eq!(error.kind(), Some(CallKind::Answer));
    layer7.script([Reply::Hang]);
    assert!(matches!(
        client.poll_feedback().await,
        Err(CallError::Timeout)
    ));
}

#[tokio::test]
async fn layer8_is_told_once() {
    let layer8 = Arc::new(Layer7::default());
    let (at, _) = layer8.serve(anywhere()).await;
    let client = Layer8Client::new(&door(at)).unwrap();
    let advice = ResourceAdvice {
        agent_id: "a".into(),
        cpu_allocation: 2.0,
        memory_allocation: 512.0,
        gpu_allocation: None,
        reasoning: "cpu_usage near 1 for an hour".into(),
        timestamp: Timestamp::EPOCH,
    };
    client.recommend(&advice).await.unwrap();
    layer8.script([Reply::Status(500, &[])]);
    assert!(matches!(
        client.recommend(&advice).await,
        Err(CallError::Status { status: 500, .. })
    ));
    assert_eq!(client.snapshot().errors, [0, 0, 1, 0]);
    client.health().await.unwrap();
}
