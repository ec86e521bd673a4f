//! The advice that leaves Layer5, and the outcome that comes back.
//! In: trials of a study, from the refinery. Out: to the outbox, which keeps a recommendation until Layer7 has it.
//! Invariants: `expected_interval.0 <= expected_improvement <= expected_interval.1`; `optimization_id` is fixed
//! before the first send and is the idempotency key.
//! Reference: Project Chimera's contracts, section 3.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::Timestamp;

/// Parameter values by name, in name order so that equal advice has equal bytes.
pub type Parameters = BTreeMap<String, f64>;

/// Advice for one agent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Recommendation {
    /// For whom.
    pub agent_id: String,
    /// Its identity, and the idempotency key of its delivery.
    pub optimization_id: Uuid,
    /// What to set.
    pub parameters: Parameters,
    /// Probability, in the model's eyes, that it helps; `0 ..= 1`.
    pub confidence: f64,
    /// Predicted improvement of the objective as a ratio: 0.2 means 20 % better.
    pub expected_improvement: f64,
    /// The 95 % interval of the prediction.
    pub expected_interval: (f64, f64),
    /// When it was decided.
    pub timestamp: Timestamp,
}

/// What became of a recommendation, told by Layer7.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// For whom it was.
    pub agent_id: String,
    /// Which recommendation.
    pub optimization_id: Uuid,
    /// Whether it was applied.
    pub success: bool,
    /// Observed improvement as a ratio, positive is better.
    pub performance_delta: f64,
    /// When it was observed.
    pub timestamp: Timestamp,
}

/// The identity of the `number`-th decision about `agent_id` by the study `study` (any stable name). The same
/// decision has the same id after a restart, which is what makes its delivery happen once.
#[must_use]
pub fn optimization_id(study: &str, number: u64, agent_id: &str) -> Uuid {
    let name = format!("layer5\u{1f}{study}\u{1f}{number}\u{1f}{agent_id}");
    Uuid::new_v5(&Uuid::NAMESPACE_OID, name.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_stable_and_tells_decisions_apart() {
        let id = optimization_id("fleet", 3, "agent_17");
        assert_eq!(id, optimization_id("fleet", 3, "agent_17"));
        assert_ne!(id, optimization_id("fleet", 4, "agent_17"));
        assert_ne!(id, optimization_id("fleet", 3, "agent_18"));
    }

    #[test]
    fn the_wire_form_is_the_contract() {
        let recommendation = Recommendation {
            agent_id: "a".into(),
            optimization_id: Uuid::nil(),
            parameters: [("threads".to_owned(), 4.0)].into(),
            confidence: 0.9,
            expected_improvement: 0.2,
            expected_interval: (0.1, 0.3),
            timestamp: Timestamp::EPOCH,
        };
        assert_eq!(
            serde_json::to_string(&recommendation).expect("plain data"),
            r#"{"agent_id":"a","optimization_id":"00000000-0000-0000-0000-000000000000","parameters":{"threads":4.0},"confidence":0.9,"expected_improvement":0.2,"expected_interval":[0.1,0.3],"timestamp":"1970-01-01T00:00:00Z"}"#
        );
    }
}
