//! Reports fetched from Layer4's pages: `GET /kpi/export?page=N`, every few seconds.
//! In: `{"kpi_reports":[...],"pagination":{"page","total_pages",...}}`. Out: one batch at the border a page.
//! Called from: [`super::Sources`]. Next on the way: [`crate::intake`].
//! Pages are numbered from 1, the oldest first, and only the last one grows. The last page read is kept in the log, in
//! the commit that made it durable, and read again at the next poll and after a restart; what it held before is known by
//! its dedup keys. When the pages have become fewer than that, they are others, and are read from the first.
//! Invariants: the next page is asked for when this one is durable; a poll reads at most `pages_per_poll_max`.

use std::{sync::Arc, time::Duration};

use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::sync::watch;

use super::{
    Ended, Link,
    page::{PageError, PageLimit, Pages, Place},
};
use crate::{
    config::PullConfig,
    intake::{Intake, Source},
};

/// The name of the position in the log.
pub(super) const OFFSET: &str = "pull";

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
    pages: Pages,
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
        let patience = Duration::from_secs_f64(config.timeout_seconds);
        let limit = PageLimit {
            bytes: config.page_bytes_max,
            set_by: " (sources.pull.page_bytes_max)",
        };
        Self {
            url: reqwest::Url::parse(url).expect("a checked configuration has a sound address"),
            pages: Pages::new(intake, Source::Pull, patience, limit),
            config,
            link,
            page: page.and_then(|page| page.parse().ok()).unwrap_or(1).max(1),
        }
    }

    /// Reads on from the last page; returns how many pages there were.
    async fn poll(&mut self) -> Result<(), PageError> {
        let mut page = self.page;
        for _ in 0..self.config.pages_per_poll_max {
            let place = Place::Page(page);
            let mut url = self.url.clone();
            url.query_pairs_mut().append_pair("page", &page.to_string());
            let body = self.pages.fetch(place, url, None).await?;
            let json = |source| PageError::Json { place, source };
            let export: Export<'_> = serde_json::from_slice(&body).map_err(json)?;
            let n_pages = export.pagination.total_pages;
            if page > n_pages.max(1) {
                page = 1;
                self.page = page;
                continue;
            }
            self.pages.take(export.kpi_reports, (OFFSET, page)).await?;
            self.link.answered();
            self.page = page;
            if page >= n_pages {
                break;
            }
            page += 1;
        }
        Ok(())
    }
}

impl super::Session for Session {
    type Error = PageError;

    async fn run(&mut self, mut stop: watch::Receiver<bool>) -> Ended<PageError> {
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
