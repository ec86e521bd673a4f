//! A shadow's source: the reports that another instance has made durable, in the order of its log.
//! In: `GET {url}/api/v1/log?after=N`. Out: one batch at the border a page. Called from: [`super::Sources`].
//! Next on the way: [`crate::intake`].
//! The position in the other's log is kept in our own, in the commit that made the page durable; a shadow that begins
//! with a copy of the other's folder begins behind that copy's end, one that begins with nothing at the log's start.
//! Invariants: the next page is asked for when this one is durable; a gap in the other's log is said, never skipped.

use std::{path::PathBuf, sync::Arc, time::Duration};

use layer5_ingest::BodyFormat;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::sync::watch;

use super::{Ended, Link, SourceError};
use crate::{
    config::FollowConfig,
    intake::{Intake, Source, TakeError},
    neighbours::CallKind,
};

/// The name of the position in our log.
pub(super) const OFFSET: &str = "follow";
/// Longest time for one page.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why a page could not be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FollowError {
    /// No answer, one that broke off, or one that is no success.
    #[error("what follows group {after} could not be fetched: {source}")]
    Call {
        /// Behind which position.
        after: u64,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
    /// A page that can't be read.
    #[error("what follows group {after} can't be read: {source}")]
    Json {
        /// Behind which position.
        after: u64,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// The other's log does not reach back far enough.
    #[error(
        "the log that is followed begins at group {first}, {after} was the last one read: start again from a newer backup, or with an empty folder"
    )]
    Gap {
        /// The last position that is ours.
        after: u64,
        /// The first that the other still has.
        first: u64,
    },
    /// The token can't be read.
    #[error("cannot read sources.follow.token_file {path}: {source}")]
    Token {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// What was read could not be made durable.
    #[error("what was read is not durable: the store does not take it now")]
    NotDurable,
    /// Nothing can be taken any more, or not in this form.
    #[error(transparent)]
    Take(#[from] TakeError),
}

impl SourceError for FollowError {
    fn kind(&self) -> CallKind {
        match self {
            Self::Call { source, .. } if source.is_timeout() => CallKind::Timeout,
            Self::Call { source, .. } if source.is_status() => CallKind::Status,
            Self::Call { .. } | Self::Token { .. } => CallKind::Connection,
            Self::Json { .. } | Self::Gap { .. } | Self::NotDurable | Self::Take(_) => {
                CallKind::Answer
            }
        }
    }
}

#[derive(Deserialize)]
struct Page<'a> {
    first_seq: u64,
    next_after: u64,
    n_reports: usize,
    #[serde(borrow)]
    reports: &'a RawValue,
}

/// What outlives one session.
#[derive(Debug)]
pub(super) struct Session {
    config: FollowConfig,
    client: reqwest::Client,
    intake: Intake,
    link: Arc<Link>,
    /// The last position that is durable here.
    after: u64,
}

impl Session {
    /// Goes on after the position `after` of the other's log.
    pub(super) fn new(config: FollowConfig, intake: Intake, link: Arc<Link>, after: u64) -> Self {
        Self {
            client: reqwest::Client::builder()
                .timeout(PATIENCE)
                .no_proxy()
                .build()
                .expect("a client without TLS needs nothing of the machine"),
            config,
            intake,
            link,
            after,
        }
    }

    /// Takes one page; whether there may be more right now.
    async fn page(&mut self) -> Result<bool, FollowError> {
        let after = self.after;
        let body = self.fetch().await?;
        let json = |source| FollowError::Json { after, source };
        let page: Page<'_> = serde_json::from_slice(&body).map_err(json)?;
        // With nothing of the other's log yet, its start is wherever it begins.
        if after > 0 && page.first_seq > after + 1 {
            let first = page.first_seq;
            return Err(FollowError::Gap { after, first });
        }
        self.link.answered();
        if page.n_reports > 0 {
            let offset = Some((OFFSET.to_owned(), page.next_after.to_string()));
            let reports = page.reports.get().as_bytes();
            let taken = self
                .intake
                .take_when_there_is_room(reports, BodyFormat::Json, Source::Follow, offset)
                .await?;
            if let Some(durable) = taken.durable {
                durable.await.map_err(|_gone| FollowError::NotDurable)?;
            }
        }
        self.after = page.next_after;
        self.link.followed_to(self.after);
        Ok(page.next_after > after)
    }

    async fn fetch(&self) -> Result<Vec<u8>, FollowError> {
        let after = self.after;
        let call = |source| FollowError::Call { after, source };
        let base = self.config.url.as_deref().unwrap_or_default();
        let url = format!("{}/api/v1/log?after={after}", base.trim_end_matches('/'));
        let mut request = self.client.get(url);
        if let Some(path) = &self.config.token_file {
            let token = std::fs::read_to_string(path).map_err(|source| FollowError::Token {
                path: path.clone(),
                source,
            })?;
            request = request.bearer_auth(token.trim());
        }
        let answer = request.send().await.map_err(call)?;
        let answer = answer.error_for_status().map_err(call)?;
        Ok(answer.bytes().await.map_err(call)?.to_vec())
    }
}

impl super::Session for Session {
    type Error = FollowError;

    async fn run(&mut self, mut stop: watch::Receiver<bool>) -> Ended<FollowError> {
        let pause = Duration::from_secs_f64(self.config.poll_seconds);
        let mut worked = false;
        loop {
            tokio::select! {
                page = self.page() => match page {
                    Err(error) => return Ended::Failed { error, worked },
                    Ok(true) => {
                        worked = true;
                        continue;
                    }
                    Ok(false) => {}
                },
                // An error means that the service is gone, which is a stop too.
                _ = stop.wait_for(|stop| *stop) => return Ended::Asked,
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                _ = stop.wait_for(|stop| *stop) => return Ended::Asked,
            }
        }
    }
}
