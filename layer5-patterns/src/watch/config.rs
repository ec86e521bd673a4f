//! What may be set about a watch.
//! In: numbers from a config. Out: a checked [`WatchConfig`]. Called from: every caller of a [`super::Watch`], which gives
//! it anew with each sample, so that it can be changed while series are watched.

use serde::{Deserialize, Serialize};

use crate::error::ConfigError;

/// What may be set about a watch. The defaults need no tuning.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WatchConfig {
    /// Chance per sample below which a value is an anomaly. Default 1e-5: on a quiet series one in 100 000 samples,
    /// a year of five-minute samples. Siffer et al. (2017) use 1e-3 to 1e-5.
    pub anomaly_p: f64,
    /// Chance per excursion below which the contrast of two windows is a change. Default 1e-4: an excursion lasts
    /// some six samples, and a step must also last to be told.
    pub change_p: f64,
    /// Chance below which a run of equal values is a flatline. Default 1e-8, for the same reason.
    pub flatline_p: f64,
    /// Scales above the usual (logarithmic) spacing beyond which samples are missing. Default 6.
    pub gap_scales: f64,
    /// Alarms per day that a series in which nothing happens is given once it is known, at five minutes between samples or
    /// less; where samples are rarer, so are alarms. Default 0.15.
    pub alarms_per_day: f64,
    /// Least strength of an alarm while the series is young, in `0 ..= 1`. Default 0.47: chosen on the development half of
    /// the Numenta Anomaly Benchmark, one value for all series.
    pub alarm_strength_min: f64,
    /// Samples in which the bar that an alarm sets for the next one sinks to half. Default 70.
    pub alarm_quiet_len: u32,
    /// Height of that bar, as a factor of the alarm it comes from. Default 2.
    pub alarm_exceed: f64,
}

impl Default for WatchConfig {
    fn default() -> Self {
        Self {
            anomaly_p: 1e-5,
            change_p: 1e-4,
            flatline_p: 1e-8,
            gap_scales: 6.0,
            alarms_per_day: 0.15,
            alarm_strength_min: 0.47,
            alarm_quiet_len: 70,
            alarm_exceed: 2.0,
        }
    }
}

impl WatchConfig {
    /// Checks every field.
    ///
    /// # Errors
    /// The first field out of its range, with value and range.
    ///
    /// # Example
    /// ```
    /// use layer5_patterns::WatchConfig;
    /// assert!(WatchConfig::default().check().is_ok());
    /// assert!(WatchConfig { anomaly_p: 2.0, ..WatchConfig::default() }.check().is_err());
    /// ```
    pub fn check(&self) -> Result<(), ConfigError> {
        const P: &str = "1e-30 to 0.1";
        ConfigError::check("anomaly_p", self.anomaly_p, 1e-30, 0.1, P)?;
        ConfigError::check("change_p", self.change_p, 1e-30, 0.1, P)?;
        ConfigError::check("flatline_p", self.flatline_p, 1e-30, 0.1, P)?;
        ConfigError::check("gap_scales", self.gap_scales, 1.0, 100.0, "1 to 100")?;
        ConfigError::check(
            "alarms_per_day",
            self.alarms_per_day,
            1e-6,
            24.0,
            "1e-6 to 24",
        )?;
        ConfigError::check(
            "alarm_strength_min",
            self.alarm_strength_min,
            0.0,
            1.0,
            "0 to 1",
        )?;
        ConfigError::check(
            "alarm_quiet_len",
            f64::from(self.alarm_quiet_len),
            0.0,
            1e6,
            "0 to 1000000",
        )?;
        ConfigError::check("alarm_exceed", self.alarm_exceed, 1.0, 1e3, "1 to 1000")
    }
}
