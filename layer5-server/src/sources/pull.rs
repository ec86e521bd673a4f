//! Reports fetched from Layer4's pages: `GET /kpi/export?page=N`, every few seconds.
//! In: `{"kpi_reports":[...],"pagination":{"page","total_pages",...}}`. Out: one batch at the border a page.
//! Called from: [`super::Sources`]. Next on the way: [`crate::intake`].
//! Pages are numbered from 1, the oldest first, and only the last one grows. The last page read is kept in the log, in
//! the commit that made it durable, and read again at the next poll and after a restart; what it held before is known by
//! its dedup keys. When the pages have become fewer than that, they are others, and are read from the first.
//! Invariants: the next page is asked for when this one is durable; a poll reads at most `pages_per_poll_max`.

use std::{sync::Arc, time::Duration};

use layer5_ingest::BodyFormat;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::sync::watch;

use super::{Ended, Link, SourceError};
use crate::{
    config::PullConfig,
    intake::{Intake, Source, TakeError},
    neighbours::CallKind,
};

/// The name of the position in the log.
pub(super) const OFFSET: &str = "pull";

/// Why a page could not be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PullError {
    /// No answer, or one that broke off.
    #[error("page {page} could not be fetched: {source}")]
    Call {
        /// Which.
        page: u64,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
    /// An answer that is no success.
    #[error("page {page} is answered with {status}")]
    Status {
        /// Which.
        page: u64,
        /// What was answered.
        status: reqwest::StatusCode,
    },
    /// A page that is larger than it may be.
    #[error("page {page} is larger than {limit} bytes (sources.pull.page_bytes_max)")]
    TooLarge {
        /// Which.
        page: u64,
        /// How large it may be.
        limit: usize,
    },
    /// A page that can't be read.
    #[error("page {page} can't be read: {source}")]
    Json {
        /// Which.
        page: u64,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// What was read could not be made durable.
    #[error("what was read is not durable: the store does not take it now")]
    NotDurable,
    /// Nothing can be taken any more, or not in this form.
    #[error(transparent)]
    Take(#[from] TakeError),
}

impl SourceError for PullError {
    fn kind(&self) -> CallKind {
        match self {
            Self::Call { source, .. } if source.is_timeout() => CallKind::Timeout,
            Self::Call { .. } => CallKind::Connection,
            Self::Status { .. } => CallKind::Status,
            Self::TooLarge { .. } | Self::Json { .. } | Self::NotDurable | Self::Take(_) => {
                CallKind::Answer
            }
        }
    }
}

#[derive(Deserialize)]
struct Export<'a> {
    #[serde(borrow)]
    kpi_reports: &'a RawValue,
    #[serde(default)]
    pagination: Pagination,
}

#[derive(Default, Deserialize)]
struct Pagination {
    #[serde(default)]
    total_pages: u64,
}

/// What outlives one session.
#[derive(Debug)]
pub(super) struct Session {
    config: PullConfig,
    url: reqwest::Url,
    client: reqwest::Client,
    intake: Intake,
    link: Arc<Link>,
    /// The last page that is durable.
    page: u64,
}

impl Session {
    /// Goes on after `page`, as the log has it.
    pub(super) fn new(
        config: PullConfig,
        intake: Intake,
        link: Arc<Link>,
        page: Option<&str>,
    ) -> Self {
        let url = config.url.as_deref().unwrap_or_default();
        Self {
            url: reqwest::Url::parse(url).expect("a checked configuration has a sound address"),
            client: reqwest::Client::builder()
                .timeout(Duration::from_secs_f64(config.timeout_seconds))
                .no_proxy()
                .build()
                .expect("a client without TLS needs nothing of the machine"),
            config,
            intake,
            link,
            page: page.and_then(|page| page.parse().ok()).unwrap_or(1).max(1),
        }
    }

    /// Reads on from the last page; returns how many pages there were.
    async fn poll(&mut self) -> Result<(), PullError> {
        let mut page = self.page;
        for _ in 0..self.config.pages_per_poll_max {
            let body = self.fetch(page).await?;
            let json = |source| PullError::Json { page, source };
            let export: Export<'_> = serde_json::from_slice(&body).map_err(json)?;
            let n_pages = export.pagination.total_pages;
            if page > n_pages.max(1) {
                page = 1;
                self.page = page;
                continue;
            }
            let reports = export.kpi_reports.get().as_bytes();
            let offset = Some((OFFSET.to_owned(), page.to_string()));
            let taken = self
                .intake
                .take_when_there_is_room(reports, BodyFormat::Json, Source::Pull, offset)
                .await?;
            if let Some(durable) = taken.durable {
                durable.await.map_err(|_gone| PullError::NotDurable)?;
            }
            self.link.answered();
            self.page = page;
            if page >= n_pages {
                break;
            }
            page += 1;
        }
        Ok(())
    }

    async fn fetch(&self, page: u64) -> Result<Vec<u8>, PullError> {
        let call = |source| PullError::Call { page, source };
        let mut url = self.url.clone();
        url.query_pairs_mut().append_pair("page", &page.to_string());
        let mut answer = self.client.get(url).send().await.map_err(call)?;
        let status = answer.status();
        if !status.is_success() {
            return Err(PullError::Status { page, status });
        }
        let (mut body, limit) = (Vec::new(), self.config.page_bytes_max);
        while let Some(chunk) = answer.chunk().await.map_err(call)? {
            if body.len() + chunk.len() > limit {
                return Err(PullError::TooLarge { page, limit });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }
}

impl super::Session for Session {
    type Error = PullError;

    async fn run(&mut self, mut stop: watch::Receiver<bool>) -> Ended<PullError> {
        let mut every = tokio::time::interval(Duration::from_secs_f64(self.config.poll_seconds));
        every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut worked = false;
        loop {
            let polled = async {
                every.tick().await;
                self.poll().await
            };
            tokio::select! {
                polled = polled => match polled {
                    Ok(()) => worked = true,
                    Err(error) => return Ended::Failed { error, worked },
                },
                // An error means that the service is gone, which is a stop too.
                _ = stop.wait_for(|stop| *stop) => return Ended::Asked,
            }
        }
    }
}
