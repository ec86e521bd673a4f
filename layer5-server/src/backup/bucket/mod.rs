//! A repository in a bucket of an S3-compatible store (Amazon S3, MinIO, Ceph), below a prefix.
//! In: names and bytes. Out: objects. Called from: [`super::place`].
//! The store is spoken to over plain HTTP, signed (AWS Signature Version 4), as this build has no TLS: within a cluster, or
//! through a proxy that adds it. A sealed repository shows nothing to whoever reads along.
//! Invariants: no credential appears in a message or in `Debug`; an answer that does not come ends with an error.

mod client;
mod credentials;
mod crypto;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt as _, TryStreamExt as _};
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::{ObjectStore, ObjectStoreExt as _, RetryConfig, path};
use tokio::runtime::{Builder, Runtime};

use self::client::PlainHttp;
use self::credentials::Credentials;
use self::crypto::Sha2;
use super::BackupError;
use super::place::Entry;
use crate::config::BackupConfig;

/// A request that takes longer is tried again: the largest is a chunk of 4 MiB.
const TIMEOUT: Duration = Duration::from_secs(60);
/// How often, before the backup fails and is due again.
const RETRIES: usize = 4;

/// A repository's bucket.
#[derive(Debug)]
pub(super) struct Bucket {
    store: AmazonS3,
    prefix: path::Path,
    name: PathBuf,
    runtime: Runtime,
}

impl Bucket {
    /// The bucket and prefix of `name`, `s3://bucket/prefix`. Nothing is asked of it yet.
    pub(super) fn open(name: &str, config: &BackupConfig) -> Result<Self, BackupError> {
        let refuse = |detail: String| BackupError::Bucket {
            name: name.to_owned(),
            detail,
        };
        let rest = name.strip_prefix("s3://").unwrap_or(name);
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        if bucket.is_empty() {
            return Err(refuse("which bucket? expected s3://bucket/prefix".into()));
        }
        let prefix = path::Path::parse(prefix).map_err(|e| refuse(e.to_string()))?;
        let endpoint = setting(config.s3_endpoint.as_ref(), "AWS_ENDPOINT_URL").ok_or_else(|| {
            let way = "where is its store? set backup.s3_endpoint (or AWS_ENDPOINT_URL), e.g. http://minio:9000";
            refuse(way.into())
        })?;
        if !endpoint.starts_with("http://") {
            let way = "expected http://: this build has no TLS, let a proxy beside it add that";
            return Err(refuse(format!("its store is at {endpoint}; {way}")));
        }
        let region = setting(config.s3_region.as_ref(), "AWS_REGION");
        let credentials = Credentials::find(config.s3_credentials_file.as_deref())?;
        let retry = RetryConfig {
            max_retries: RETRIES,
            retry_timeout: TIMEOUT,
            ..RetryConfig::default()
        };
        let store = AmazonS3Builder::new()
            .with_bucket_name(bucket)
            .with_endpoint(endpoint)
            .with_region(region.unwrap_or_else(|| "us-east-1".into()))
            .with_allow_http(true)
            .with_crypto_provider(Arc::new(Sha2))
            .with_http_connector(PlainHttp { timeout: TIMEOUT })
            .with_retry(retry);
        let store = credentials.give(store);
        let runtime = Builder::new_current_thread().enable_all().build();
        Ok(Self {
            store: store.build().map_err(|e| refuse(e.to_string()))?,
            prefix,
            name: PathBuf::from(name.trim_end_matches('/')),
            runtime: runtime.map_err(BackupError::io(name))?,
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.name
    }

    fn key(&self, name: &str) -> path::Path {
        name.split('/').fold(self.prefix.clone(), path::Path::join)
    }

    pub(super) fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        let key = self.key(name);
        let read = async { self.store.get(&key).await?.bytes().await };
        let bytes = self.runtime.block_on(read).map_err(refused)?;
        Ok(bytes.into())
    }

    pub(super) fn has(&self, name: &str) -> io::Result<bool> {
        let key = self.key(name);
        match self
            .runtime
            .block_on(self.store.head(&key))
            .map_err(refused)
        {
            Ok(_) => Ok(true),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(e) => Err(e),
        }
    }

    pub(super) fn write(&self, name: &str, bytes: Vec<u8>) -> io::Result<()> {
        let key = self.key(name);
        let put = self.store.put(&key, bytes.into());
        self.runtime.block_on(put).map(drop).map_err(refused)
    }

    pub(super) fn remove(&self, name: &str) -> io::Result<()> {
        let key = self.key(name);
        self.runtime
            .block_on(self.store.delete(&key))
            .map_err(refused)
    }

    pub(super) fn list(&self, part: &str) -> io::Result<Vec<Entry>> {
        let below = self.key(part);
        let listed = self.store.list(Some(&below)).try_collect::<Vec<_>>();
        let found = self.runtime.block_on(listed).map_err(refused)?;
        let name = |key: &path::Path| {
            let parts = key.prefix_match(&self.prefix)?;
            Some(
                parts
                    .map(|p| p.as_ref().to_owned())
                    .collect::<Vec<_>>()
                    .join("/"),
            )
        };
        Ok(found
            .into_iter()
            .filter_map(|meta| {
                Some(Entry {
                    name: name(&meta.location)?,
                    bytes: meta.size,
                    written: meta.last_modified.into(),
                })
            })
            .collect())
    }

    /// Whether nothing lies below the prefix. The bucket has to be there: whoever pays for it makes it.
    pub(super) fn is_empty(&self) -> io::Result<bool> {
        let first = async { self.store.list(Some(&self.prefix)).next().await };
        match self.runtime.block_on(first) {
            None => Ok(true),
            Some(found) => found.map(|_| false).map_err(refused),
        }
    }
}

/// What the configuration says, else the environment variable that other programs for S3 read.
fn setting(configured: Option<&String>, variable: &str) -> Option<String> {
    configured
        .cloned()
        .or_else(|| std::env::var(variable).ok())
        .filter(|text| !text.is_empty())
}

fn refused(error: object_store::Error) -> io::Error {
    match error {
        object_store::Error::NotFound { .. } => io::Error::new(io::ErrorKind::NotFound, error),
        error => io::Error::other(error),
    }
}
