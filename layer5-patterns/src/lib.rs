//! Detectors and analyses over KPI series, streaming and batch.
//!
//! Streaming: a [`Watch`] per series takes its samples one by one; each [`Detector`] in it also works alone.
//! Batch: [`analyze()`] tells all of one series; each analysis is a free function over slices in a module of its own.

pub mod alarm;
pub mod analyze;
pub mod anomaly;
pub mod change_point;
pub mod cluster;
pub mod decomposition;
pub mod detector;
pub mod drift;
mod error;
pub mod forecast;
mod fourier;
mod gaps;
pub mod incident;
pub mod limit;
pub mod matching;
mod normal;
mod order_statistics;
pub mod profile;
mod regular_grid;
pub mod relation;
pub mod seasonality;
pub mod stats;
pub mod trend;
pub mod watch;

pub use alarm::{Alarm, Severity};
pub use analyze::{Analysis, AnalysisConfig, Summary, analyze};
pub use detector::{Alone, Detector, Outcome, Part, Refusal};
pub use error::ConfigError;
pub use fourier::{AutocorrelationPlan, autocorrelation};
pub use gaps::fill_gaps;
pub use watch::{Findings, Update, Watch, WatchConfig, WatchState};
