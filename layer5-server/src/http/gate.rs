//! The gate that bodies of reports come through: how many bytes of them are held at once, and who is next when there is
//! more than can be taken.
//! In: requests whose body is not read yet. Out: [`Sent`], the body as it came, [`Gate::turn`], leave to decode it, and
//! [`Gate::room`], leave to hand it on.
//! Called from: `http/reports` and the other routes that take reports.
//!
//! A refusal must cost less than what is refused, or ten times too much work would leave no time for any. So nothing is
//! decoded before the ring has room for it, nothing is read before there is memory for it, and both are waited for a
//! moment, in the order of arrival: senders that are waited for come one after the other instead of all again. What is
//! refused is not read, unless it is short; [`super::closing`] sees to it that its sender gets the answer.
//!
//! A body stays in the pieces in which it came until it is its turn to be decoded: room for all of it at once would be
//! laid out for every connection, and stay scattered over the memory of the process long after.
//!
//! Invariants: bytes held never exceed `bodies_bytes_max`, whatever is announced; who sends slowly holds only what it
//! has sent; whole bodies there are no more than turns.

use std::{
    future::poll_fn,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    body::{Body, Bytes, HttpBody},
    extract::{FromRequest, Request},
    http::{HeaderMap, header},
};
use tokio::{
    sync::{Notify, Semaphore, SemaphorePermit},
    time::{Instant, sleep, timeout, timeout_at},
};

use super::{Doors, closing::SHORT_BODY_BYTES, problem::Problem};
use crate::{config::HttpConfig, intake::Intake};

/// Bytes of a body for a sample, when it is not known yet how many it has: shape B with short names.
const BYTES_PER_SAMPLE: usize = 32;
/// Most senders that wait to be let in. They come in one by one, so those behind them would wait for nothing: more come
/// than can be taken, and a sender that learns so at once holds no connection.
const WAITING_MAX: usize = 64;
/// How often room in the ring is looked for by those whose turn it is.
const ROOM_PAUSE: Duration = Duration::from_millis(1);
/// Pause before a body is decoded again that found no room after all.
const RETRY_PAUSE: Duration = Duration::from_millis(20);
/// Longest time for which a short body that is refused is read.
const DRAIN_PATIENCE: Duration = Duration::from_secs(5);
/// Counted for a piece besides its bytes: what it takes to know where it is.
const PIECE_BYTES: usize = 64;

/// The gate.
#[derive(Debug)]
pub(crate) struct Gate {
    held: AtomicUsize,
    bytes_max: usize,
    body_bytes_max: usize,
    patience: Duration,
    /// Rung once for each body that was let go.
    let_go: Notify,
    /// Those who wait for it.
    waiting: Semaphore,
    /// Those who may decode: one does while the next one waits for room in the ring.
    turns: Semaphore,
}

impl Gate {
    /// A gate with the limits of `config`.
    pub(crate) fn new(config: &HttpConfig) -> Self {
        let n_cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self {
            held: AtomicUsize::new(0),
            bytes_max: config.bodies_bytes_max,
            body_bytes_max: config.body_bytes_max,
            patience: Duration::from_secs_f64(config.full_wait_seconds),
            let_go: Notify::new(),
            waiting: Semaphore::new(WAITING_MAX),
            turns: Semaphore::new(2 * n_cores),
        }
    }

    /// Waits until less than half of the memory for bodies is held, if not too many wait for it already.
    async fn enter(&self) -> Result<(), Problem> {
        if self.has_memory() {
            return Ok(());
        }
        let Ok(_place) = self.waiting.try_acquire() else {
            return Err(Problem::full());
        };
        let deadline = Instant::now() + self.patience;
        while !self.has_memory() {
            let rung = self.let_go.notified();
            if timeout_at(deadline, rung).await.is_err() {
                return Err(Problem::full());
            }
        }
        Ok(())
    }

    fn has_memory(&self) -> bool {
        self.held.load(Ordering::Acquire) < self.bytes_max / 2
    }

    /// Waits for leave to put a body together and decode it; while the permit is held few others do.
    pub(crate) async fn turn(&self, deadline: Instant) -> Result<SemaphorePermit<'_>, Problem> {
        match timeout_at(deadline, self.turns.acquire()).await {
            Ok(Ok(turn)) => Ok(turn),
            Ok(Err(_)) | Err(_) => Err(Problem::full()),
        }
    }

    /// Waits until the ring has room for a body of `bytes` bytes.
    pub(crate) async fn room(
        &self,
        intake: &Intake,
        bytes: usize,
        deadline: Instant,
    ) -> Result<(), Problem> {
        loop {
            let (len, capacity, _) = intake.fill();
            // What looks larger than half of the ring may still fit into it: then an empty half must do.
            let needed = (bytes / BYTES_PER_SAMPLE).min(capacity / 2);
            if capacity - len.min(capacity) >= needed {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(Problem::full());
            }
            sleep(ROOM_PAUSE).await;
        }
    }

    /// Whether there is time left to look for room again, after a pause.
    pub(crate) async fn may_try_again(&self, deadline: Instant) -> bool {
        sleep(RETRY_PAUSE).await;
        Instant::now() < deadline
    }

    /// When somebody who comes now is told to come again.
    pub(crate) fn deadline(&self) -> Instant {
        Instant::now() + self.patience
    }
}

/// Bytes that count against the memory for bodies, until they are dropped.
#[derive(Debug)]
pub(crate) struct Held {
    gate: Arc<Gate>,
    bytes: usize,
}

impl Held {
    /// Nothing, at a gate of its own that has room for `bytes_max`.
    #[cfg(test)]
    pub(super) fn of(bytes_max: usize) -> Self {
        let bodies_bytes_max = bytes_max;
        Self::none(&Arc::new(Gate::new(&HttpConfig {
            bodies_bytes_max,
            ..HttpConfig::default()
        })))
    }

    fn none(gate: &Arc<Gate>) -> Self {
        Self {
            gate: Arc::clone(gate),
            bytes: 0,
        }
    }

    /// Counts `bytes` more.
    ///
    /// # Errors
    /// 429 when there is no memory for them; they are not counted then.
    pub(crate) fn grow(&mut self, bytes: usize) -> Result<(), Problem> {
        let before = self.gate.held.fetch_add(bytes, Ordering::AcqRel);
        if before + bytes > self.gate.bytes_max {
            self.gate.held.fetch_sub(bytes, Ordering::AcqRel);
            return Err(Problem::full());
        }
        self.bytes += bytes;
        Ok(())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.gate.held.fetch_sub(self.bytes, Ordering::AcqRel);
        self.gate.let_go.notify_one();
    }
}

/// A body that was let in, as it was sent.
#[derive(Debug)]
pub(crate) struct Sent {
    pieces: Vec<Bytes>,
    /// Its share of the memory for bodies.
    pub(crate) held: Held,
}

impl Sent {
    /// Its bytes in one piece; they count against the memory for bodies as the pieces did.
    pub(crate) fn whole(self) -> (Bytes, Held) {
        let Self { mut pieces, held } = self;
        if pieces.len() == 1 {
            return (pieces.remove(0), held);
        }
        let n_bytes = pieces.iter().map(Bytes::len).sum();
        let mut bytes = Vec::with_capacity(n_bytes);
        for piece in pieces {
            bytes.extend_from_slice(&piece);
        }
        (bytes.into(), held)
    }
}

impl FromRequest<Doors> for Sent {
    type Rejection = Problem;

    async fn from_request(request: Request, doors: &Doors) -> Result<Self, Problem> {
        let gate = &doors.gate;
        let asks_first = request.headers().contains_key(header::EXPECT);
        let mut body = request.into_body();
        let read = match doors.unready_reasons().first() {
            Some(reason) => Err(Problem::unavailable(format!("{reason}, nothing was taken"))),
            None => match gate.enter().await {
                Ok(()) => read(gate, &mut body).await,
                Err(full) => Err(full),
            },
        };
        let is_short = body.size_hint().upper();
        let is_short = is_short.is_some_and(|bytes| bytes <= SHORT_BODY_BYTES);
        if read.is_err() && is_short && !asks_first {
            drain(&mut body).await;
        }
        read
    }
}

/// The length that a request announces.
pub(super) fn announced(headers: &HeaderMap) -> Option<u64> {
    let length = headers.get(header::CONTENT_LENGTH)?;
    length.to_str().ok()?.parse().ok()
}

async fn read(gate: &Arc<Gate>, body: &mut Body) -> Result<Sent, Problem> {
    let mut held = Held::none(gate);
    let (mut pieces, mut n_bytes) = (Vec::new(), 0);
    while let Some(piece) = next_piece(body).await? {
        n_bytes += piece.len();
        if n_bytes > gate.body_bytes_max {
            return Err(Problem::too_large("the body", gate.body_bytes_max));
        }
        held.grow(piece.len() + PIECE_BYTES)?;
        pieces.push(piece);
    }
    Ok(Sent { pieces, held })
}

async fn next_piece(body: &mut Body) -> Result<Option<Bytes>, Problem> {
    loop {
        let frame = poll_fn(|context| pin!(&mut *body).poll_frame(context)).await;
        match frame {
            None => return Ok(None),
            Some(Err(error)) => {
                let detail = format!("the body broke off: {error}");
                return Err(Problem::bad_request(detail));
            }
            Some(Ok(frame)) => {
                if let Ok(piece) = frame.into_data() {
                    return Ok(Some(piece));
                }
            }
        }
    }
}

/// Reads what is left of a refused body and forgets it, so that its connection can be used again.
async fn drain(body: &mut Body) {
    let rest = async { while let Ok(Some(_forgotten)) = next_piece(body).await {} };
    let _slow = timeout(DRAIN_PATIENCE, rest).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_bounded_and_given_back() {
        let mut first = Held::of(100);
        first.grow(60).expect("60 of 100");
        let mut second = Held::none(&first.gate);
        second.grow(40).expect("100 of 100");
        assert_eq!(
            second.grow(1).expect_err("101 of 100").status,
            axum::http::StatusCode::TOO_MANY_REQUESTS
        );
        drop(first);
        second.grow(60).expect("what the first held is free");
        let gate = Arc::clone(&second.gate);
        drop(second);
        assert_eq!(gate.held.load(Ordering::Relaxed), 0);
    }
}
