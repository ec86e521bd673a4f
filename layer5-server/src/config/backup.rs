//! Where backups go, how often, and how many stay.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Backups of the data folder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
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
