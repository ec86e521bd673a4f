//! A shadow's source: the reports that another instance has made durable, in the order of its log.
//! In: `GET {url}/api/v1/log?after=N`. Out: one batch at the border a page. Called from: [`super::Sources`].
//! Next on the way: [`crate::intake`].
//! The position in the other's log is kept in our own, in the commit that made the page durable; a shadow that begins
//! with a copy of the other's folder begins behind that copy's end, one that begins with nothing at the log's start.
//! Invariants: the next page is asked for when this one is durable; a gap in the other's log is said, never skipped.

use std::{path::PathBuf, sync::Arc, time::Duration};

use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::sync::watch;

use super::{
    Ended, Link, SourceError,
    page::{PageError, PageLimit, Pages, Place},
};
use crate::{
    config::FollowConfig,
    intake::{Intake, Source},
    neighbours::CallKind,
};

/// The name of the position in our log.
pub(super) const OFFSET: &str = "follow";
/// Longest time for one page.
const PATIENCE: Duration = Duration::from_secs(10);

/// Longest page: the other ends one at some thousand reports, of which a group may bring more.
const PAGE_LIMIT: PageLimit = PageLimit {
    bytes: 256 << 20,
    set_by: "",
};

/// Why the other's log could not be followed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FollowError {
    /// A page could not be had.
    #[error(transparent)]
    Page(#[from] PageError),
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
}

impl SourceError for FollowError {
    fn kind(&self) -> CallKind {
        match self {
            Self::Page(error) => error.kind(),
            Self::Token { .. } => CallKind::Connection,
            Self::Gap { .. } => CallKind::Answer,
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
    pages: Pages,
    link: Arc<Link>,
    /// The last position that is durable here.
    after: u64,
}

impl Session {
    /// Goes on after the position `after` of the other's log.
    pub(super) fn new(config: FollowConfig, intake: Intake, link: Arc<Link>, after: u64) -> Self {
        Self {
            pages: Pages::new(intake, Source::Follow, PATIENCE, PAGE_LIMIT),
            config,
            link,
            after,
        }
    }

    /// Takes one page; whether there may be more right now.
    async fn page(&mut self) -> Result<bool, FollowError> {
        let after = self.after;
        let body = self.fetch().await?;
        let place = Place::After(after);
        let json = |source| PageError::Json { place, source };
        let page: Page<'_> = serde_json::from_slice(&body).map_err(json)?;
        // With nothing of the other's log yet, its start is wherever it begins.
        if after > 0 && page.first_seq > after + 1 {
            let first = page.first_seq;
            return Err(FollowError::Gap { after, first });
        }
        self.link.answered();
        if page.n_reports > 0 {
            let offset = (OFFSET, page.next_after);
            self.pages.take(page.reports, offset).await?;
        }
        self.after = page.next_after;
        self.link.followed_to(self.after);
        Ok(page.next_after > after)
    }

    async fn fetch(&self) -> Result<Vec<u8>, FollowError> {
        let base = self.config.url.as_deref().unwrap_or_default();
        let url = format!("{}/api/v1/log", base.trim_end_matches('/'));
        let mut url =
            reqwest::Url::parse(&url).expect("a checked configuration has a sound address");
        url.query_pairs_mut()
            .append_pair("after", &self.after.to_string());
        let token = match &self.config.token_file {
            None => None,
            Some(path) => {
                Some(
                    std::fs::read_to_string(path).map_err(|source| FollowError::Token {
                        path: path.clone(),
                        source,
                    })?,
                )
            }
        };
        let token = token.as_deref().map(str::trim);
        let place = Place::After(self.after);
        Ok(self.pages.fetch(place, url, token).await?)
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
