//! Where reports come from, and how much of the intake each source may hold.
//! In: claims at the border, what the committer drained. Out: whether a source may claim more. Called from:
//! [`super::Intake`] and the committer.
//! Invariants: a source that is alone may fill the ring; as soon as others send too, the ring is divided evenly among
//! those that sent within [`ACTIVE_SECONDS`], so that one that floods finds itself refused and not its neighbours.

use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering::Relaxed};

use layer5_core::Timestamp;

/// A way in for reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Source {
    /// Pushed to `/kpi`.
    Http,
    /// Prometheus remote write.
    RemoteWrite,
    /// OTLP over HTTP.
    Otlp,
    /// Redis Streams.
    Redis,
    /// Fetched from Layer4's pages.
    Pull,
    /// Layer4's WebSocket.
    WebSocket,
    /// The log of the instance that a shadow follows.
    Follow,
}

impl Source {
    /// Every source; [`Source::index`] is the place.
    pub const ALL: [Self; 7] = [
        Self::Http,
        Self::RemoteWrite,
        Self::Otlp,
        Self::Redis,
        Self::Pull,
        Self::WebSocket,
        Self::Follow,
    ];

    /// Its name in metrics and in the dead-letter log.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::RemoteWrite => "remote_write",
            Self::Otlp => "otlp",
            Self::Redis => "redis",
            Self::Pull => "pull",
            Self::WebSocket => "websocket",
            Self::Follow => "follow",
        }
    }

    /// Its place in [`Source::ALL`].
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }
}

/// How long after its last claim a source counts as sending, s: longer than the pauses between Prometheus' sends.
const ACTIVE_SECONDS: f64 = 10.0;

/// Who holds how much of the intake ring.
#[derive(Debug)]
pub struct Shares {
    capacity: usize,
    /// Samples in the ring, by source.
    held: [AtomicUsize; Source::ALL.len()],
    /// When a source last claimed, nanoseconds; `i64::MIN` before the first time.
    last_claim: [AtomicI64; Source::ALL.len()],
}

impl Shares {
    /// Shares of a ring of `capacity` samples.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self {
            capacity,
            held: Default::default(),
            last_claim: std::array::from_fn(|_| AtomicI64::new(i64::MIN)),
        }
    }

    /// Whether `source` may put `n` samples more into the ring; they are held by it from here on.
    /// A source that holds nothing always may, or a claim larger than a share would never get through.
    #[must_use]
    pub fn claim(&self, source: Source, n: usize, now: Timestamp) -> bool {
        self.last_claim[source.index()].store(now.nanos(), Relaxed);
        let active_from = now.plus_seconds(-ACTIVE_SECONDS).nanos();
        let is_other = |i: &usize| *i != source.index();
        let others = (0..Source::ALL.len())
            .filter(is_other)
            .filter(|&i| self.last_claim[i].load(Relaxed) >= active_from)
            .count();
        let share = self.capacity / (1 + others);
        let held = self.held[source.index()].fetch_add(n, Relaxed);
        if held == 0 || held + n <= share {
            return true;
        }
        self.release(source.index(), n);
        false
    }

    /// `n` samples of the source at `index` have left the ring, or never entered it.
    pub fn release(&self, index: usize, n: usize) {
        self.held[index].fetch_sub(n, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: f64) -> Timestamp {
        Timestamp::EPOCH.plus_seconds(seconds)
    }

    #[test]
    fn alone_a_source_may_fill_the_ring_and_with_others_its_share() {
        let shares = Shares::new(100);
        assert!(shares.claim(Source::Http, 90, at(0.0)));
        assert!(!shares.claim(Source::Http, 11, at(0.0)));
        assert!(shares.claim(Source::Redis, 30, at(1.0)));
        assert!(!shares.claim(Source::Redis, 21, at(1.0)), "51 of 50");
        assert!(shares.claim(Source::Redis, 20, at(1.0)));
        assert!(!shares.claim(Source::Http, 1, at(1.0)), "it holds 90 of 50");
        shares.release(Source::Http.index(), 41);
        assert!(shares.claim(Source::Http, 1, at(1.0)));
        shares.release(Source::Redis.index(), 50);
        assert!(!shares.claim(Source::Http, 1, at(1.0 + ACTIVE_SECONDS)));
        assert!(
            shares.claim(Source::Http, 50, at(1.5 + ACTIVE_SECONDS)),
            "redis is silent, the ring is its own again"
        );
    }

    #[test]
    fn whoever_holds_nothing_may_claim_more_than_a_share() {
        let shares = Shares::new(100);
        assert!(shares.claim(Source::Http, 1, at(0.0)));
        assert!(shares.claim(Source::Redis, 80, at(0.0)));
        assert!(!shares.claim(Source::Redis, 1, at(0.0)));
    }

    #[test]
    fn a_source_is_at_its_index() {
        for (i, source) in Source::ALL.into_iter().enumerate() {
            assert_eq!(source.index(), i);
        }
    }
}
