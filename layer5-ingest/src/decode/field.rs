//! The fields of a report that mean something, and the sets of them that make a shape.
//! In: a key. Out: its field. Called from: `report_json`, which decides what a report is by words of bits.
//! Invariants: a field's number is below 32; the first are those of the catalogue.
//! Reference: Project Chimera's contracts, section 2.

/// The fields that mean something. A number below 32, so that sets of them are words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Field {
    LatencyMs,
    Accuracy,
    CpuUsage,
    MemoryMb,
    NetworkBytes,
    AgentId,
    TaskId,
    RecordedAt,
    Timestamp,
    CustomMetrics,
    Metrics,
    ExecutionContext,
    Metadata,
    /// Any other key.
    Unknown,
    /// `execution_context.hostname`.
    ContextHost,
    /// `metadata.hostname`.
    MetadataHost,
}

pub(super) const N_FIELDS: usize = 16;

/// The fields that are keys of a report, in the order of their numbers; the first are the catalogue's.
pub(super) const KEYS: [&str; 13] = [
    "latency_ms",
    "accuracy",
    "cpu_usage",
    "memory_mb",
    "network_bytes",
    "agent_id",
    "task_id",
    "recorded_at",
    "timestamp",
    "custom_metrics",
    "metrics",
    "execution_context",
    "metadata",
];

pub(super) const FIELDS: [Field; 13] = [
    Field::LatencyMs,
    Field::Accuracy,
    Field::CpuUsage,
    Field::MemoryMb,
    Field::NetworkBytes,
    Field::AgentId,
    Field::TaskId,
    Field::RecordedAt,
    Field::Timestamp,
    Field::CustomMetrics,
    Field::Metrics,
    Field::ExecutionContext,
    Field::Metadata,
];

impl Field {
    pub(super) fn of_key(key: &str) -> Self {
        KEYS.iter()
            .position(|&known| known == key)
            .map_or(Self::Unknown, |i| FIELDS[i])
    }

    pub(super) const fn bit(self) -> u32 {
        1 << self as u8
    }
}

/// What a report of shape A must have.
pub(super) const TASK_NEEDS: u32 = Field::LatencyMs.bit()
    | Field::Accuracy.bit()
    | Field::CpuUsage.bit()
    | Field::MemoryMb.bit()
    | Field::AgentId.bit()
    | Field::TaskId.bit()
    | Field::RecordedAt.bit();

/// What only a report of shape A has and must have.
pub(super) const TASK_SIGNS: u32 = Field::LatencyMs.bit()
    | Field::Accuracy.bit()
    | Field::CpuUsage.bit()
    | Field::MemoryMb.bit()
    | Field::NetworkBytes.bit()
    | Field::RecordedAt.bit();

/// The fields of a report of shape A that can be at fault.
pub(super) const TASK_FIELDS: u32 = TASK_NEEDS
    | Field::NetworkBytes.bit()
    | Field::CustomMetrics.bit()
    | Field::ExecutionContext.bit()
    | Field::ContextHost.bit();

#[cfg(test)]
mod tests {
    use layer5_core::Kpi;

    use super::*;

    #[test]
    fn fields_have_the_numbers_of_their_keys_and_of_the_catalogue() {
        for (i, (field, key)) in FIELDS.into_iter().zip(KEYS).enumerate() {
            assert_eq!(field as usize, i);
            assert_eq!(Field::of_key(key), field);
        }
        for kpi in Kpi::ALL {
            assert_eq!(KEYS[kpi as usize], kpi.name());
        }
        assert_eq!(Field::of_key("latency"), Field::Unknown);
        assert!((Field::MetadataHost as usize) < N_FIELDS);
    }
}
