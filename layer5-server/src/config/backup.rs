//! Where backups go, how often, and how many stay.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Backups of the data folder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BackupConfig {
    /// Where the backups go: a folder on another disk than the data, or `s3://bucket/prefix`; without one none are made.
    pub repository: Option<String>,
    /// A file with the key of an encrypted repository: 64 hexadecimal digits, as `openssl rand -hex 32` prints them.
    pub key_file: Option<PathBuf>,
    /// The address of the store of an `s3://` repository, plain HTTP; without it AWS_ENDPOINT_URL of the environment.
    pub s3_endpoint: Option<String>,
    /// Its region; without it AWS_REGION, and without that us-east-1.
    pub s3_region: Option<String>,
    /// A file with its access key, as Amazon's tools keep it (~/.aws/credentials, profile default); without it
    /// AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN.
    pub s3_credentials_file: Option<PathBuf>,
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
            s3_endpoint: None,
            s3_region: None,
            s3_credentials_file: None,
            every_hours: 24.0,
            keep_last: 4,
            keep_daily: 14,
            keep_weekly: 8,
        }
    }
}
