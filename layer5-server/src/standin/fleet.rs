//! The stand-in Layer4: drives the fleet through its week and posts what it reports.
//! In: the [`World`], Layer7's desk, the service's address. Out: a [`Ledger`] and the steps that were sent.
//! Called from: `cli/demo`.
//! A round sends the steps that are due by the wall clock, every connection its own post, and waits for all answers,
//! so no agent runs ahead of another by more than one round. A slow service gets fewer, larger posts.
//! Invariants: at most `STEPS_PER_ROUND_MAX` steps and one post per connection are in flight.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::task::JoinSet;

use super::{
    changes::Changes,
    clock::STEPS_PER_SECOND,
    layer7::{Feedback, Layer7},
    sender::{Ledger, Sender},
    world::World,
};

/// Steps in one round at most.
const STEPS_PER_ROUND_MAX: usize = 32;
/// Rounds are at least this far apart: at the usual pace two steps.
const ROUND: Duration = Duration::from_millis(25);

/// How a run stands after a round.
#[derive(Clone, Copy, Debug)]
pub struct Standing {
    /// Steps sent and answered.
    pub step: usize,
    /// Reports acknowledged.
    pub acknowledged: usize,
    /// Recommendations applied.
    pub applied: usize,
    /// The share of the best possible improvement that is reached.
    pub improvement_share: f64,
}

/// Sends the fleet's whole run, at most until `deadline`. `on_round` is told how it stands after each round.
/// Returns the ledger and the number of steps sent.
pub async fn run(
    world: &mut World,
    changes: &mut Changes,
    layer7: &Layer7,
    feedback: &Feedback,
    sender: &Arc<Sender>,
    deadline: Instant,
    mut on_round: impl FnMut(Standing),
) -> (Ledger, usize) {
    let mut ledger = Ledger::default();
    let started = Instant::now();
    let steps = world.clock().steps();
    let mut step = 0;
    while step < steps && Instant::now() < deadline {
        let round_started = Instant::now();
        for recommendation in layer7.take() {
            changes.receive(recommendation, step);
        }
        for outcome in changes.advance(step, world) {
            feedback.report(outcome);
        }
        let due = (started.elapsed().as_secs_f64() * STEPS_PER_SECOND) as usize + 1;
        let to = due.min(steps).min(step + STEPS_PER_ROUND_MAX);
        if to > step {
            send_round(world, step..to, sender, &mut ledger).await;
            step = to;
            on_round(Standing {
                step,
                acknowledged: ledger.acknowledged,
                applied: changes.applied().len(),
                improvement_share: world.improvement() / world.improvement_possible(),
            });
        }
        tokio::time::sleep(ROUND.saturating_sub(round_started.elapsed())).await;
    }
    (ledger, step)
}

async fn send_round(
    world: &mut World,
    steps: std::ops::Range<usize>,
    sender: &Arc<Sender>,
    ledger: &mut Ledger,
) {
    let mut in_flight = JoinSet::new();
    for mut post in world.write(steps) {
        let sender = sender.clone();
        let body = axum::body::Bytes::from(std::mem::take(&mut post.body));
        in_flight.spawn(async move {
            let delivery = sender.deliver(body).await;
            (post, delivery)
        });
    }
    while let Some(sent) = in_flight.join_next().await {
        let (post, delivery) = sent.expect("a delivery neither panics nor is aborted");
        ledger.enter(&post, delivery);
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, sync::Mutex};

    use axum::{
        Json, Router, body::Bytes, http::StatusCode, response::IntoResponse, routing::post,
    };
    use layer5_core::Timestamp;
    use serde_json::{Value, json};

    use super::*;
    use crate::standin::{
        clock::FleetClock, misbehaviour::Misbehaviour, sender::loopback_client, truth::Truth,
    };

    /// A receiver that knows just enough of the contract: lines it has seen are duplicates, mistakes are recognised
    /// by the number in their task id, and every fifth post is refused.
    #[derive(Default)]
    struct Receiver {
        calls: usize,
        seen: HashSet<String>,
    }

    impl Receiver {
        fn answer(&mut self, body: &str) -> Result<Value, StatusCode> {
            self.calls += 1;
            if self.calls.is_multiple_of(5) {
                return Err(StatusCode::TOO_MANY_REQUESTS);
            }
            let (mut accepted, mut duplicates, mut rejected) = (0, 0, Vec::new());
            for (index, line) in body.lines().enumerate() {
                if let Some(reason) = reason(line) {
                    rejected
                        .push(json!({"index": index, "reason": reason, "field": "", "detail": ""}));
                } else if self.seen.insert(line.to_owned()) {
                    accepted += 1;
                } else {
                    duplicates += 1;
                }
            }
            Ok(json!({"accepted": accepted, "duplicates": duplicates, "rejected": rejected}))
        }
    }

    fn reason(line: &str) -> Option<&'static str> {
        let Ok(report) = serde_json::from_str::<Value>(line) else {
            return Some("malformed");
        };
        if !report["task_id"]
            .as_str()
            .is_some_and(|id| id.starts_with("bad-"))
        {
            return None;
        }
        let reasons = [
            (report["agent_id"] == "", "invalid_id"),
            (report["latency_ms"] == "NaN", "wrong_type"),
            (report["accuracy"] == 1.7, "out_of_range"),
            (report["memory_mb"].is_null(), "missing_field"),
        ];
        let found = reasons.iter().find(|(is, _)| *is);
        Some(found.map_or("too_far_ahead", |(_, reason)| reason))
    }

    #[tokio::test]
    async fn a_run_is_sent_whole_and_in_order_through_refusals() {
        let receiver = Arc::new(Mutex::new(Receiver::default()));
        let shared = receiver.clone();
        let handler = move |body: Bytes| {
            let text = String::from_utf8(body.to_vec()).expect("text");
            let answer = shared.lock().expect("not poisoned").answer(&text);
            async move { answer.map(Json).map_err(|status| status.into_response()) }
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port");
        let api = format!("http://{}", listener.local_addr().expect("bound"));
        let router = Router::new().route("/kpi", post(handler));
        tokio::spawn(async move { axum::serve(listener, router).await });

        let (agents, steps) = (20, 120);
        let now = Timestamp::from_millis(1_795_436_298_000);
        let clock = FleetClock::ending_before(now, steps);
        let mut world = World::new(7, agents, clock, Truth::quiet(agents));
        let mut changes = Changes::new(7);
        let layer7 = Layer7::start(Misbehaviour::default(), 7)
            .await
            .expect("a port");
        let client = loopback_client();
        let feedback = layer7.feedback(client.clone(), &api);
        let sender = Arc::new(Sender::new(client, &api));
        let deadline = Instant::now() + Duration::from_secs(60);
        let mut last = 0;
        let (ledger, sent) = run(
            &mut world,
            &mut changes,
            &layer7,
            &feedback,
            &sender,
            deadline,
            |standing| {
                assert!(standing.step > last);
                last = standing.step;
            },
        )
        .await;
        assert_eq!((sent, last), (steps, steps));
        assert_eq!(ledger.n_breaches, 0, "{:?}", ledger.breaches);
        assert_eq!(ledger.acknowledged, agents * steps);
        assert_eq!(ledger.accepted, agents * steps);
        assert!(ledger.refusals > 0);
        assert_eq!(
            receiver.lock().expect("not poisoned").seen.len(),
            agents * steps
        );
        feedback.finish(Duration::from_secs(1)).await;
    }
}
