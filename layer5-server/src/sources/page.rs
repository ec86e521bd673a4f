//! Pages of reports that are fetched over HTTP, one after the other: what [`super::pull`] and [`super::follow`] share.
//! In: a request. Out: the page's bytes, bounded; its reports made durable, with the position behind them.
//! Invariants: a page is durable when `Pages::take` returns, or nothing of it was taken.

use std::{fmt, time::Duration};

use layer5_ingest::BodyFormat;
use serde_json::value::RawValue;

use super::SourceError;
use crate::{
    intake::{Intake, Source, TakeError},
    neighbours::CallKind,
};

/// Which page, as its source counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// By its number.
    Page(u64),
    /// What follows a position of a log.
    After(u64),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Page(page) => write!(f, "page {page}"),
            Self::After(seq) => write!(f, "what follows group {seq}"),
        }
    }
}

/// How large a page may be.
#[derive(Clone, Copy, Debug)]
pub struct PageLimit {
    /// Bytes.
    pub(super) bytes: usize,
    /// Where that is set, ` (sources.pull.page_bytes_max)`; empty where it is not.
    pub(super) set_by: &'static str,
}

/// Why a page could not be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PageError {
    /// No answer, or one that broke off.
    #[error("{place} could not be fetched: {source}")]
    Call {
        /// Which.
        place: Place,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
    /// An answer that is no success.
    #[error("{place} is answered with {status}")]
    Status {
        /// Which.
        place: Place,
        /// What was answered.
        status: reqwest::StatusCode,
    },
    /// A page that is larger than it may be.
    #[error("{place} is larger than {} bytes{}", limit.bytes, limit.set_by)]
    TooLarge {
        /// Which.
        place: Place,
        /// How large it may be.
        limit: PageLimit,
    },
    /// A page that can't be read.
    #[error("{place} can't be read: {source}")]
    Json {
        /// Which.
        place: Place,
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

impl SourceError for PageError {
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

/// Where pages come from and go to.
#[derive(Debug)]
pub(super) struct Pages {
    client: reqwest::Client,
    intake: Intake,
    source: Source,
    limit: PageLimit,
}

impl Pages {
    /// Pages within `limit` for `source`, each within `patience`.
    pub(super) fn new(
        intake: Intake,
        source: Source,
        patience: Duration,
        limit: PageLimit,
    ) -> Self {
        Self {
            client: reqwest::Client::builder()
                .timeout(patience)
                .no_proxy()
                .build()
                .expect("a client without TLS needs nothing of the machine"),
            intake,
            source,
            limit,
        }
    }

    /// The page at `url`.
    pub(super) async fn fetch(
        &self,
        place: Place,
        url: reqwest::Url,
        token: Option<&str>,
    ) -> Result<Vec<u8>, PageError> {
        let call = |source| PageError::Call { place, source };
        let mut request = self.client.get(url);
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let mut answer = request.send().await.map_err(call)?;
        let status = answer.status();
        if !status.is_success() {
            return Err(PageError::Status { place, status });
        }
        let (mut body, limit) = (Vec::new(), self.limit);
        while let Some(chunk) = answer.chunk().await.map_err(call)? {
            if body.len() + chunk.len() > limit.bytes {
                return Err(PageError::TooLarge { place, limit });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    /// Makes `reports` durable, and with them that the source was read to `offset`.
    pub(super) async fn take(
        &self,
        reports: &RawValue,
        offset: (&str, u64),
    ) -> Result<(), PageError> {
        let reports = reports.get().as_bytes();
        let offset = Some((offset.0.to_owned(), offset.1.to_string()));
        let taken = self
            .intake
            .take_when_there_is_room(reports, BodyFormat::Json, self.source, offset)
            .await?;
        if let Some(durable) = taken.durable {
            durable.await.map_err(|_gone| PageError::NotDurable)?;
        }
        Ok(())
    }
}
