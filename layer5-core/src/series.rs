//! Names become dense numbers once, at the border; behind it nothing is stringly typed.
//! Invariants: numbers are given from 0 upwards without holes and never change their meaning; the numbers of the
//! catalogue's metrics are fixed (`Kpi as u32`).

use serde::{Deserialize, Serialize};

use crate::Kpi;

macro_rules! dense_number {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub u32);

        impl $name {
            /// This number as an index into a table of its kind.
            #[must_use]
            pub const fn index(self) -> usize {
                self.0 as usize
            }
        }
    };
}

dense_number! {
    /// The number of an agent.
    AgentId
}
dense_number! {
    /// The number of a metric's name.
    MetricId
}
dense_number! {
    /// The number of a series, that is of one metric of one agent.
    SeriesId
}

impl From<Kpi> for MetricId {
    fn from(kpi: Kpi) -> Self {
        Self(kpi as u32)
    }
}

/// What a series is: one metric of one agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SeriesKey {
    /// Whose.
    pub agent: AgentId,
    /// Which metric.
    pub metric: MetricId,
}
