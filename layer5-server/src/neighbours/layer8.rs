//! Layer8, resources: takes advice on what an agent needs, best effort.
//! In: [`ResourceAdvice`]. Out: whether it was taken; nothing is kept or repeated. Called from: the tuner's task.
//! Reference: Project Chimera's contracts, section 3.

use layer5_core::Timestamp;
use serde::Serialize;

use super::door::{CallError, Door, DoorConfig, DoorError, DoorSnapshot};

/// What an agent needs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ResourceAdvice {
    /// Whose need.
    pub agent_id: String,
    /// Cores.
    pub cpu_allocation: f64,
    /// MB.
    pub memory_allocation: f64,
    /// Devices; `None` when there is nothing to say.
    pub gpu_allocation: Option<f64>,
    /// Why, in one line.
    pub reasoning: String,
    /// When it was decided.
    pub timestamp: Timestamp,
}

/// Layer8's door.
#[derive(Debug)]
pub struct Layer8Client {
    door: Door,
}

impl Layer8Client {
    /// A client of the Layer8 at `config.url`.
    ///
    /// # Errors
    /// When the address is not one.
    pub fn new(config: &DoorConfig) -> Result<Self, DoorError> {
        Door::new(config).map(|door| Self { door })
    }

    /// `POST /recommendations`, once.
    ///
    /// # Errors
    /// When it was not taken.
    pub async fn recommend(&self, advice: &ResourceAdvice) -> Result<(), CallError> {
        let request = self.door.post("/recommendations").json(advice);
        self.door.call(request).await.map(|_| ())
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
