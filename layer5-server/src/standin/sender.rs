//! The fleet's HTTP client: sends posts until they are answered, and keeps the account of every line.
//! In: [`Post`]s, with what must become of each line. Out: a [`Ledger`] whose sums must add up.
//! Called from: `fleet` and the demo's host source.
//! Invariants: a refused post (429, 503) is sent again with the same bytes, not before `Retry-After` has passed; a
//! line is acknowledged only by a 200 that covers it; nothing is given up before [`PATIENCE`] has passed.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use reqwest::{StatusCode, header};
use serde::Deserialize;

use super::{report::Mistake, world::Post};

/// How long one post is tried.
pub const PATIENCE: Duration = Duration::from_secs(20);
/// How long one attempt may take.
const ATTEMPT: Duration = Duration::from_secs(10);
/// The wait after a refusal without a `Retry-After`, and after a broken connection.
const PAUSE: Duration = Duration::from_millis(50);
/// Breaches kept word for word; further ones are counted.
const BREACHES_MAX: usize = 20;

/// The service's answer to a post.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Answer {
    /// Reports that are durable now.
    pub accepted: usize,
    /// Reports that were there already.
    pub duplicates: usize,
    /// Reports that were refused.
    pub rejected: Vec<RejectedLine>,
}

/// One refused report.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct RejectedLine {
    /// Its index in the body.
    pub index: usize,
    /// Why.
    pub reason: String,
    /// The field at fault.
    pub field: String,
    /// Value and limit.
    pub detail: String,
}

/// What became of one post.
#[derive(Debug)]
pub struct Delivery {
    /// The service's answer; the reason if there was none in [`PATIENCE`].
    pub answer: Result<Answer, String>,
    /// From the first byte sent to the answer, of the attempt that was answered.
    pub took: Duration,
    /// Attempts that were refused with 429 or 503.
    pub refusals: usize,
    /// Attempts that ended without an answer, so that nobody knows whether they were stored.
    pub broken: usize,
}

/// The account of a run.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// Posts that were answered.
    pub posts: usize,
    /// Lines in them.
    pub sent: usize,
    /// Distinct good reports that were acknowledged.
    pub acknowledged: usize,
    /// Distinct good reports that were never answered.
    pub unanswered: usize,
    /// As the answers say.
    pub accepted: usize,
    /// As the answers say.
    pub duplicates: usize,
    /// Repeats sent on purpose, in answered posts.
    pub repeats: usize,
    /// By reason, as the answers say.
    pub rejected: BTreeMap<String, usize>,
    /// Attempts that were refused with 429 or 503, and sent again.
    pub refusals: usize,
    /// Attempts without an answer, and sent again.
    pub broken: usize,
    /// One per answered post, ms.
    pub took_ms: Vec<f64>,
    /// Where an answer broke the contract, the first `BREACHES_MAX` of them.
    pub breaches: Vec<String>,
    /// All of them.
    pub n_breaches: usize,
}

impl Ledger {
    /// Enters a delivery of `post`.
    pub fn enter(&mut self, post: &Post, delivery: Delivery) {
        self.refusals += delivery.refusals;
        self.broken += delivery.broken;
        let answer = match delivery.answer {
            Ok(answer) => answer,
            Err(reason) => {
                self.unanswered += post.good();
                self.breach(format!(
                    "a post of {} lines had no answer: {reason}",
                    post.lines
                ));
                return;
            }
        };
        self.posts += 1;
        self.sent += post.lines;
        self.acknowledged += post.good();
        self.accepted += answer.accepted;
        self.duplicates += answer.duplicates;
        self.repeats += post.repeats;
        self.took_ms.push(delivery.took.as_secs_f64() * 1e3);
        for line in &answer.rejected {
            *self.rejected.entry(line.reason.clone()).or_default() += 1;
        }
        for breach in breaches(post, &answer, delivery.broken > 0) {
            self.breach(breach);
        }
    }

    /// Lines that were refused.
    #[must_use]
    pub fn n_rejected(&self) -> usize {
        self.rejected.values().sum()
    }

    /// The value below which the share `q` of the answers came, ms; `None` without answers. O(n log n).
    #[must_use]
    pub fn took_ms_quantile(&self, q: f64) -> Option<f64> {
        let mut sorted = self.took_ms.clone();
        sorted.sort_by(f64::total_cmp);
        let rank = (q * sorted.len() as f64).ceil() as usize;
        sorted.get(rank.clamp(1, sorted.len().max(1)) - 1).copied()
    }

    fn breach(&mut self, text: String) {
        self.n_breaches += 1;
        if self.breaches.len() < BREACHES_MAX {
            self.breaches.push(text);
        }
    }
}

/// What in `answer` is not what must become of `post`. After an attempt without an answer, lines may have been
/// stored by it, so accepted and duplicates can't be told apart.
fn breaches(post: &Post, answer: &Answer, ambiguous: bool) -> Vec<String> {
    let mut found = Vec::new();
    let sum = answer.accepted + answer.duplicates + answer.rejected.len();
    if sum != post.lines {
        found.push(format!(
            "an answer speaks of {sum} reports, {} were sent",
            post.lines
        ));
    }
    if !ambiguous && (answer.accepted, answer.duplicates) != (post.good(), post.repeats) {
        found.push(format!(
            "{} accepted and {} duplicates, expected {} and {}",
            answer.accepted,
            answer.duplicates,
            post.good(),
            post.repeats
        ));
    }
    let mut rejected: Vec<(usize, &str)> = answer
        .rejected
        .iter()
        .map(|line| (line.index, line.reason.as_str()))
        .collect();
    rejected.sort_unstable();
    let planted: Vec<(usize, &str)> = post
        .mistakes
        .iter()
        .map(|(index, mistake): &(usize, Mistake)| (*index, mistake.reason().as_str()))
        .collect();
    if rejected != planted {
        found.push(format!("rejected {rejected:?}, expected {planted:?}"));
    }
    found
}

/// A client for neighbours on loopback: straight to them, whatever proxy the environment names, and never waiting for
/// ever.
///
/// # Panics
/// Never: only TLS and name resolution can be refused, and neither is used.
#[must_use]
pub fn loopback_client() -> reqwest::Client {
    reqwest::Client::builder()
        .no_proxy()
        .timeout(ATTEMPT)
        .build()
        .expect("nothing in these options can be refused")
}

/// A connection to the service.
#[derive(Clone, Debug)]
pub struct Sender {
    client: reqwest::Client,
    url: String,
}

impl Sender {
    /// A sender to the service at `api`, such as `http://127.0.0.1:8080`.
    #[must_use]
    pub fn new(client: reqwest::Client, api: &str) -> Self {
        Self {
            client,
            url: format!("{api}/kpi"),
        }
    }

    /// Sends `body` until it is answered or [`PATIENCE`] is over.
    pub async fn deliver(&self, body: axum::body::Bytes) -> Delivery {
        let deadline = Instant::now() + PATIENCE;
        let (mut refusals, mut broken) = (0, 0);
        loop {
            let started = Instant::now();
            let (pause, reason) = match self.attempt(body.clone()).await {
                Attempt::Answered(answer) => {
                    let took = started.elapsed();
                    return Delivery {
                        answer,
                        took,
                        refusals,
                        broken,
                    };
                }
                Attempt::Refused(pause) => {
                    refusals += 1;
                    (pause, "refused as overloaded".to_owned())
                }
                Attempt::Broken(reason) => {
                    broken += 1;
                    (PAUSE, reason)
                }
            };
            if Instant::now() + pause > deadline {
                return Delivery {
                    answer: Err(reason),
                    took: started.elapsed(),
                    refusals,
                    broken,
                };
            }
            tokio::time::sleep(pause).await;
        }
    }

    async fn attempt(&self, body: axum::body::Bytes) -> Attempt {
        let request = self
            .client
            .post(&self.url)
            .header(header::CONTENT_TYPE, "application/x-ndjson")
            .body(body);
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) => return Attempt::Broken(error.to_string()),
        };
        let status = response.status();
        if matches!(
            status,
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE
        ) {
            return Attempt::Refused(retry_after(response.headers()));
        }
        match response.bytes().await {
            Err(error) => Attempt::Broken(error.to_string()),
            Ok(bytes) if status == StatusCode::OK => Attempt::Answered(
                serde_json::from_slice(&bytes)
                    .map_err(|error| format!("unreadable answer: {error}")),
            ),
            Ok(bytes) => {
                let text = String::from_utf8_lossy(&bytes);
                let text: String = text.chars().take(200).collect();
                Attempt::Answered(Err(format!("{status}: {text}")))
            }
        }
    }
}

enum Attempt {
    Answered(Result<Answer, String>),
    Refused(Duration),
    Broken(String),
}

/// The wait that a refusal asks for, in seconds as RFC 9110 has it.
fn retry_after(headers: &header::HeaderMap) -> Duration {
    headers
        .get(header::RETRY_AFTER)
        .and_then(|value| value.to_str().ok()?.parse().ok())
        .map_or(PAUSE, Duration::from_secs)
        .max(PAUSE)
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use axum::{Router, body::Bytes, routing::post};

    use super::*;

    fn rejected(index: usize, reason: &str) -> RejectedLine {
        RejectedLine {
            index,
            reason: reason.into(),
            field: String::new(),
            detail: String::new(),
        }
    }

    fn delivery(answer: Result<Answer, String>, broken: usize) -> Delivery {
        Delivery {
            answer,
            took: Duration::from_millis(5),
            refusals: 0,
            broken,
        }
    }

    fn sent() -> Post {
        Post {
            body: Vec::new(),
            lines: 10,
            mistakes: vec![(3, Mistake::CutOff), (7, Mistake::OutOfRange)],
            repeats: 1,
        }
    }

    #[track_caller]
    fn check(accepted: usize, duplicates: usize, lines: &[RejectedLine], broken: usize, n: usize) {
        let answer = Answer {
            accepted,
            duplicates,
            rejected: lines.to_vec(),
        };
        let mut ledger = Ledger::default();
        ledger.enter(&sent(), delivery(Ok(answer), broken));
        assert_eq!(ledger.n_breaches, n, "{:?}", ledger.breaches);
        assert_eq!(ledger.acknowledged, 7);
    }

    #[test]
    fn an_answer_must_account_for_every_line() {
        let right = [rejected(7, "out_of_range"), rejected(3, "malformed")];
        check(7, 1, &right, 0, 0);
        check(6, 1, &right, 0, 2);
        check(6, 2, &right, 0, 1);
        check(6, 2, &right, 1, 0);
        check(
            7,
            1,
            &[rejected(3, "malformed"), rejected(6, "out_of_range")],
            0,
            1,
        );
        check(
            7,
            1,
            &[rejected(3, "too_old"), rejected(7, "out_of_range")],
            0,
            1,
        );
        check(8, 1, &right[..1], 0, 2);
    }

    #[test]
    fn quantiles_are_values_that_occurred() {
        let mut ledger = Ledger::default();
        assert_eq!(ledger.took_ms_quantile(0.5), None);
        ledger.took_ms = vec![4.0, 1.0, 3.0, 2.0];
        assert_eq!(ledger.took_ms_quantile(0.5), Some(2.0));
        assert_eq!(ledger.took_ms_quantile(0.99), Some(4.0));
        assert_eq!(ledger.took_ms_quantile(0.0), Some(1.0));
    }

    #[tokio::test]
    async fn a_refused_post_comes_again_with_the_same_bytes() {
        let calls = Arc::new(AtomicUsize::new(0));
        let counter = calls.clone();
        let handler = move |body: Bytes| {
            let call = counter.fetch_add(1, Ordering::SeqCst);
            async move {
                assert_eq!(body.as_ref(), b"line\n");
                match call {
                    0 => (
                        StatusCode::TOO_MANY_REQUESTS,
                        [("retry-after", "0")],
                        String::new(),
                    ),
                    1 => (
                        StatusCode::SERVICE_UNAVAILABLE,
                        [("retry-after", "0")],
                        String::new(),
                    ),
                    _ => {
                        let body = r#"{"accepted":1,"duplicates":0,"rejected":[]}"#;
                        (StatusCode::OK, [("retry-after", "0")], body.to_owned())
                    }
                }
            }
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port");
        let api = format!("http://{}", listener.local_addr().expect("bound"));
        let router = Router::new().route("/kpi", post(handler));
        tokio::spawn(async move { axum::serve(listener, router).await });
        let sender = Sender::new(loopback_client(), &api);
        let delivery = sender.deliver(Bytes::from_static(b"line\n")).await;
        assert_eq!(delivery.answer.expect("answered").accepted, 1);
        assert_eq!((delivery.refusals, delivery.broken), (2, 0));
        assert_eq!(calls.load(Ordering::SeqCst), 3);
    }
}
