//! Layer7, evolution: takes recommendations, tells outcomes.
//! In: a recommendation. Out: what became of its delivery; outcomes. Called from: [`crate::outbox`].
//! Invariants: the idempotency key is the recommendation's id, so a repeated push has one effect.
//! Reference: Project Chimera's contracts, section 3.

use std::time::Duration;

use layer5_core::{Outcome, Recommendation};

use super::door::{CallError, Door, DoorConfig, DoorError, DoorSnapshot};

/// What became of one push.
#[derive(Debug)]
pub enum Delivery {
    /// Layer7 has it.
    Delivered,
    /// Layer7 will never take it; its words.
    Refused(String),
    /// Not now.
    Retry {
        /// The least time to wait, when the neighbour or its circuit said so.
        wait: Option<Duration>,
        /// Why.
        error: CallError,
    },
}

/// Layer7's door.
#[derive(Debug)]
pub struct Layer7Client {
    door: Door,
}

impl Layer7Client {
    /// A client of the Layer7 at `config.url`.
    ///
    /// # Errors
    /// When the address is not one.
    pub fn new(config: &DoorConfig) -> Result<Self, DoorError> {
        Door::new(config).map(|door| Self { door })
    }

    /// `POST /optimization`, once. `epoch` lets Layer7 tell this instance from one that came after it.
    pub async fn push(&self, recommendation: &Recommendation, epoch: u64) -> Delivery {
        let request = self
            .door
            .post("/optimization")
            .header(
                "Idempotency-Key",
                recommendation.optimization_id.to_string(),
            )
            .header("Layer5-Epoch", epoch)
            .json(recommendation);
        match self.door.call(request).await {
            Ok(_) => Delivery::Delivered,
            Err(CallError::Status { status, detail, .. }) if is_final(status) => {
                Delivery::Refused(format!("{status} {detail}").trim_end().to_owned())
            }
            Err(error) => {
                let wait = match &error {
                    CallError::CircuitOpen { wait } => Some(*wait),
                    CallError::Status { retry_after, .. } => *retry_after,
                    _ => None,
                };
                Delivery::Retry { wait, error }
            }
        }
    }

    /// `GET /feedback`: the next outcome, or `None` when there is none.
    ///
    /// # Errors
    /// When the call failed or the answer is no outcome.
    pub async fn poll_feedback(&self) -> Result<Option<Outcome>, CallError> {
        let answer = self.door.call(self.door.get("/feedback")).await?;
        if answer.status == 204 {
            return Ok(None);
        }
        let outcome: Result<Outcome, _> = serde_json::from_slice(&answer.body);
        let unusable = |detail: String| {
            let error = CallError::Answer(detail);
            self.door.count(&error);
            error
        };
        let outcome = outcome.map_err(|e| unusable(e.to_string()))?;
        if !outcome.performance_delta.is_finite() {
            return Err(unusable(format!(
                "performance_delta {}",
                outcome.performance_delta
            )));
        }
        Ok(Some(outcome))
    }

    /// `GET /health`.
    ///
    /// # Errors
    /// When it is not well, or can't be asked.
    pub async fn health(&self) -> Result<(), CallError> {
        self.door.call(self.door.get("/health")).await.map(|_| ())
    }

    /// How long each call since the last look took, s.
    #[must_use]
    pub fn take_durations(&self) -> Vec<f64> {
        self.door.take_durations()
    }

    /// What is known of it.
    #[must_use]
    pub fn snapshot(&self) -> DoorSnapshot {
        self.door.snapshot()
    }
}

/// Whether `status` speaks of the recommendation and will not change. A 4xx that speaks of time (408, 425, 429) or of
/// the sender's credentials (401, 403, 407) will, once somebody has seen to it.
fn is_final(status: u16) -> bool {
    (400..500).contains(&status) && !matches!(status, 401 | 403 | 407 | 408 | 425 | 429)
}
