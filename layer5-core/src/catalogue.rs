//! The KPI catalogue: the metrics that Layer4 is known to send, with unit, legal range and which way is better.
//! In: a metric's name. Out: what is known of it. Called from: decode (to recognise keys without hashing), validate
//! (ranges), the refinery (objective direction).
//! Invariants: `Kpi::ALL[k as usize] == k`, so a `Kpi` is also the number of its metric in every interner.
//! Reference: the table of shape A in Project Chimera's contracts, section 2.

use serde::{Deserialize, Serialize};

/// A metric of report shape A.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[repr(u8)]
pub enum Kpi {
    /// Time to finish the task, ms, `0 < x < 300 000`.
    LatencyMs = 0,
    /// Share of right results, `0 ..= 1`.
    Accuracy = 1,
    /// Fraction of the available cores, `0 ..= 1`.
    CpuUsage = 2,
    /// Resident memory, MB, `0 < x < 1 000 000`.
    MemoryMb = 3,
    /// Bytes moved over the network, `0 <= x < 10^12`.
    NetworkBytes = 4,
}

/// Which way a metric gets better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Better {
    /// Smaller values are better, such as latency.
    Lower,
    /// Larger values are better, such as accuracy.
    Higher,
}

impl Kpi {
    /// Every catalogued metric, in the order of their numbers.
    pub const ALL: [Self; 5] = [
        Self::LatencyMs,
        Self::Accuracy,
        Self::CpuUsage,
        Self::MemoryMb,
        Self::NetworkBytes,
    ];

    /// The metric's name on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::LatencyMs => "latency_ms",
            Self::Accuracy => "accuracy",
            Self::CpuUsage => "cpu_usage",
            Self::MemoryMb => "memory_mb",
            Self::NetworkBytes => "network_bytes",
        }
    }

    /// The catalogued metric of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        // Spelled out: a comparison of lengths and words each, where a search of `ALL` calls functions.
        Some(match name {
            "latency_ms" => Self::LatencyMs,
            "accuracy" => Self::Accuracy,
            "cpu_usage" => Self::CpuUsage,
            "memory_mb" => Self::MemoryMb,
            "network_bytes" => Self::NetworkBytes,
            _ => return None,
        })
    }

    /// The unit its values are in, empty for ratios.
    #[must_use]
    pub const fn unit(self) -> &'static str {
        match self {
            Self::LatencyMs => "ms",
            Self::MemoryMb => "MB",
            Self::NetworkBytes => "bytes",
            Self::Accuracy | Self::CpuUsage => "",
        }
    }

    /// Which way it gets better.
    #[must_use]
    pub const fn better(self) -> Better {
        match self {
            Self::Accuracy => Better::Higher,
            _ => Better::Lower,
        }
    }

    /// Whether a report of shape A must carry it.
    #[must_use]
    pub const fn required(self) -> bool {
        !matches!(self, Self::NetworkBytes)
    }

    /// The legal values in words, for rejections.
    #[must_use]
    pub const fn range_text(self) -> &'static str {
        match self {
            Self::LatencyMs => "0 < x < 300000 ms",
            Self::Accuracy | Self::CpuUsage => "0 <= x <= 1",
            Self::MemoryMb => "0 < x < 1000000 MB",
            Self::NetworkBytes => "an integer, 0 <= x < 10^12 bytes",
        }
    }

    /// Whether `value` is legal; false for NaN and the infinities.
    #[must_use]
    pub fn in_range(self, value: f64) -> bool {
        match self {
            Self::LatencyMs => value > 0.0 && value < 300_000.0,
            Self::Accuracy | Self::CpuUsage => (0.0..=1.0).contains(&value),
            Self::MemoryMb => value > 0.0 && value < 1_000_000.0,
            Self::NetworkBytes => {
                // Whole: there is an instruction for this, and a function call for `fract`.
                (0.0..1e12).contains(&value) && value as i64 as f64 == value
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_lead_back() {
        for (number, kpi) in Kpi::ALL.into_iter().enumerate() {
            assert_eq!(kpi as usize, number);
            assert_eq!(Kpi::from_name(kpi.name()), Some(kpi));
        }
        assert_eq!(Kpi::from_name("latency"), None);
    }

    #[test]
    fn both_sides_of_every_limit() {
        #[track_caller]
        fn check(kpi: Kpi, legal: &[f64], illegal: &[f64]) {
            for &x in legal {
                assert!(kpi.in_range(x), "{x}");
            }
            for &x in illegal
                .iter()
                .chain(&[f64::NAN, f64::INFINITY, f64::NEG_INFINITY])
            {
                assert!(!kpi.in_range(x), "{x}");
            }
        }
        check(
            Kpi::LatencyMs,
            &[1e-9, 299_999.999],
            &[0.0, -1.0, 300_000.0],
        );
        check(Kpi::Accuracy, &[0.0, 1.0], &[-1e-12, 1.000_001]);
        check(Kpi::CpuUsage, &[0.0, 1.0], &[-0.1, 1.1]);
        check(Kpi::MemoryMb, &[0.1, 999_999.9], &[0.0, 1e6]);
        check(
            Kpi::NetworkBytes,
            &[0.0, 999_999_999_999.0],
            &[-1.0, 0.5, 1e12],
        );
    }
}
