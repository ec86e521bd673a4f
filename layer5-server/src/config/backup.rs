//! Where backups go, how often, and how many stay.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::ConfigError;

/// Backups of the data folder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BackupConfig {
    /// The folder of the backups, on another disk than the data; without one none are made.
    pub repository: Option<PathBuf>,
    /// A file with the key of an encrypted repository: 64 hexadecimal digits, as `openssl rand -hex 32` prints them.
    pub key_file: Option<PathBuf>,
    /// Time between two backups that the service makes by itself, hours; 0 = only when asked.
    pub every_hours: f64,
    /// The newest so many backups are kept.
    pub keep_last: usize,
    /// The newest of each of so many days is kept.
    pub keep_daily: usize,
    /// The newest of each of so many weeks is kept.
    pub keep_weekly: usize,
}

impl Default for BackupConfig {
    fn default() -> Self {
        Self {
            repository: None,
            key_file: None,
            every_hours: 24.0,
            keep_last: 4,
            keep_daily: 14,
            keep_weekly: 8,
        }
    }
}

impl BackupConfig {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let (key, hours) = ("backup.every_hours", self.every_hours);
        if !(hours == 0.0 || (0.01..=8760.0).contains(&hours)) {
            let legal = "0 (only when asked), or 0.01 to 8760";
            return Err(ConfigError::invalid(key, hours, legal));
        }
        let kept = [
            ("backup.keep_last", self.keep_last),
            ("backup.keep_daily", self.keep_daily),
            ("backup.keep_weekly", self.keep_weekly),
        ];
        for (key, n) in kept {
            if n > 10_000 {
                return Err(ConfigError::invalid(key, n, "0 to 10000"));
            }
        }
        Ok(())
    }
}
