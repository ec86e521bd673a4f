//! The dedup window: has this metric of this report been seen in the last ten minutes?
//! In: [`ReportKey`]s, metrics, the time of the log. Out: new or duplicate. Called from: the committer in `server`,
//! live and when the log is replayed.
//!
//! **Key.** 128 bits. The window of the fastest sender we promise to hold has 10^8 reports, 5 * 10^15 pairs. With 64
//! bits one pair in 10^8 reports collides with probability 2.7 * 10^-4 per window, that is a lost report every month at
//! that rate; with 128 bits it is 1.5 * 10^-23. The hash is MurmurHash3 x64 128 with a fixed seed over agent, time,
//! task id; it is kept on disk, so it never changes. It does not resist a sender who computes collisions: such a
//! sender could as well repeat the ids themselves.
//!
//! **Entries.** One per report and block of 64 metrics: 16 bytes of key, 64 bits of mask. The metrics of the catalogue
//! and the first custom ones share the report's one entry.
//!
//! **Window.** Two generations. When the younger is as old as the window, it becomes the older and the older is
//! forgotten: a key is remembered for at least one window, and for less than two.
//!
//! Invariants: `admit` answers `New` exactly once per (key, metric) within a window, unless the window was full: then
//! the generations change early, the keys forgotten too soon are counted, and a duplicate of one of them would pass.
//! At most 29 bytes per entry when full, up to twice that while a table has just grown.

use hashbrown::HashTable;
use layer5_core::{AgentId, MetricId, Timestamp};

use crate::mix::{Murmur128, avalanche};

/// The fixed seed of report keys, "L5" in ASCII. Part of the format on disk.
const KEY_SEED: u64 = 0x4c35;

/// Metrics per entry: one bit each.
const METRICS_PER_ENTRY: u32 = u64::BITS;

/// What a report is recognised by when it comes again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ReportKey {
    /// The upper half.
    pub hi: u64,
    /// The lower half.
    pub lo: u64,
}

impl ReportKey {
    /// The key from its number.
    #[must_use]
    pub const fn from_u128(key: u128) -> Self {
        Self {
            hi: (key >> 64) as u64,
            lo: key as u64,
        }
    }

    /// The key as one number, for the disk.
    #[must_use]
    pub const fn to_u128(self) -> u128 {
        (self.hi as u128) << 64 | self.lo as u128
    }
}

/// The key of the report of `agent` on `task_id` at `at`: the same on every machine, in every version.
///
/// # Cost
/// About 10 ns for a UUID; no allocation.
#[must_use]
pub fn report_key(agent: AgentId, task_id: &str, at: Timestamp) -> ReportKey {
    let [hi, lo] = Murmur128::new(KEY_SEED)
        .block(u64::from(agent.0), at.nanos() as u64)
        .finish(task_id.as_bytes());
    ReportKey { hi, lo }
}

/// An entry of the window, to be written down and put back: which of 64 metrics of a report were seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The report's key, changed where the metrics are beyond the first 64.
    pub key: ReportKey,
    /// One bit for each metric.
    pub metrics: u64,
}

impl Seen {
    /// The entry of one metric of a report.
    #[must_use]
    pub fn of(report: ReportKey, metric: MetricId) -> Self {
        let (key, metrics) = entry_of(report, metric);
        Self { key, metrics }
    }
}

/// Whether a metric of a report was seen before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Not within the window: it counts, and is remembered.
    New,
    /// Seen within the window: it changes nothing.
    Duplicate,
}

/// Which metrics of which reports were seen within the last window.
#[derive(Debug)]
pub struct DedupWindow {
    window_nanos: i64,
    generation_entries_max: usize,
    table_seed: u64,
    young: Generation,
    old: Generation,
    forgotten_early: u64,
}

#[derive(Debug, Default)]
struct Generation {
    entries: HashTable<Entry>,
    since: Option<Timestamp>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    key: ReportKey,
    seen: u64,
}

impl DedupWindow {
    /// A window of `window_seconds` (contract: 600) that holds at most `entries_max` entries, of at most 29 bytes when
    /// full. `table_seed` only spreads the entries in memory, so that no sender can choose ids that crowd one place.
    #[must_use]
    pub fn new(window_seconds: f64, entries_max: usize, table_seed: u64) -> Self {
        Self {
            window_nanos: Timestamp::EPOCH.plus_seconds(window_seconds).nanos(),
            generation_entries_max: (entries_max / 2).max(1),
            table_seed,
            young: Generation::default(),
            old: Generation::default(),
            forgotten_early: 0,
        }
    }

    /// Whether `metric` of the report `key` is new at `now`, the time of the log; remembers it.
    ///
    /// # Cost
    /// Two probes of a hash table; allocates only when a table grows.
    pub fn admit(&mut self, key: ReportKey, metric: MetricId, now: Timestamp) -> Admission {
        self.pass_time(now);
        let (key, bit) = entry_of(key, metric);
        let hash = self.hash(key);
        let seen_before = self.old.seen(hash, key) & bit != 0;
        if seen_before {
            return Admission::Duplicate;
        }
        self.remember(hash, key, bit, now)
    }

    /// Makes room for reports that are about to be admitted, each with one of its metrics; while the window is not full,
    /// what [`Self::admit`] answers is the same without.
    ///
    /// A window of millions of reports is far from the processor. Reads and writes that do not wait for each other
    /// overlap, those of one [`Self::admit`] after the other hardly do.
    pub fn expect(
        &mut self,
        reports: impl IntoIterator<Item = (ReportKey, MetricId)>,
        now: Timestamp,
    ) {
        self.pass_time(now);
        for (key, metric) in reports {
            let (key, _) = entry_of(key, metric);
            let hash = self.hash(key);
            if self.old.seen(hash, key) == 0 {
                // An entry in which nothing was seen yet.
                self.remember(hash, key, 0, now);
            }
        }
    }

    /// Puts back what was admitted at `seen_at`, in the order of the log. The same as [`Self::admit`], and named apart
    /// because the answer does not matter.
    pub fn restore(&mut self, key: ReportKey, metric: MetricId, seen_at: Timestamp) {
        self.admit(key, metric, seen_at);
    }

    /// Puts back `entries` that were admitted until `seen_at`, in the order of the log.
    ///
    /// # Cost
    /// One probe of a hash table each.
    pub fn restore_all(&mut self, entries: &[Seen], seen_at: Timestamp) {
        self.pass_time(seen_at);
        for Seen { key, metrics } in entries {
            self.remember(self.hash(*key), *key, *metrics, seen_at);
        }
    }

    /// Entries held now.
    #[must_use]
    pub fn len(&self) -> usize {
        self.young.entries.len() + self.old.entries.len()
    }

    /// Whether nothing is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Entries that were forgotten before their window had passed, because the window was full.
    #[must_use]
    pub fn forgotten_early(&self) -> u64 {
        self.forgotten_early
    }

    fn hash(&self, key: ReportKey) -> u64 {
        table_hash(key, self.table_seed)
    }

    fn remember(&mut self, hash: u64, key: ReportKey, bit: u64, now: Timestamp) -> Admission {
        let found = self.young.entries.find_mut(hash, |entry| entry.key == key);
        if let Some(entry) = found {
            let seen_before = entry.seen & bit != 0;
            entry.seen |= bit;
            return if seen_before {
                Admission::Duplicate
            } else {
                Admission::New
            };
        }
        if self.young.entries.len() >= self.generation_entries_max {
            self.forgotten_early += self.old.entries.len() as u64;
            self.change_generation(now);
        }
        let seed = self.table_seed;
        let entry = Entry { key, seen: bit };
        self.young
            .entries
            .insert_unique(hash, entry, |entry| table_hash(entry.key, seed));
        self.young.since.get_or_insert(now);
        Admission::New
    }

    /// Changes generations when the younger is a window old; a clock that goes back changes nothing.
    fn pass_time(&mut self, now: Timestamp) {
        let Some(since) = self.young.since else {
            return;
        };
        let age = now.nanos().saturating_sub(since.nanos());
        if age >= self.window_nanos.saturating_mul(2) {
            self.young.entries.clear();
            self.old.entries.clear();
            self.young.since = Some(now);
        } else if age >= self.window_nanos {
            // Counted from the plan, not from now: a pause must not make keys live longer.
            self.change_generation(Timestamp::from_nanos(since.nanos() + self.window_nanos));
        }
    }

    /// The younger becomes the older; the older's memory is used again.
    fn change_generation(&mut self, since: Timestamp) {
        std::mem::swap(&mut self.young, &mut self.old);
        self.young.entries.clear();
        self.young.since = Some(since);
    }
}

impl Generation {
    fn seen(&self, hash: u64, key: ReportKey) -> u64 {
        self.entries
            .find(hash, |entry| entry.key == key)
            .map_or(0, |entry| entry.seen)
    }
}

/// The entry that a metric of a report is in, and its bit there.
fn entry_of(key: ReportKey, metric: MetricId) -> (ReportKey, u64) {
    let block = u64::from(metric.0 / METRICS_PER_ENTRY);
    let entry = ReportKey {
        hi: key.hi ^ avalanche(block),
        lo: key.lo,
    };
    (entry, 1 << (metric.0 % METRICS_PER_ENTRY))
}

fn table_hash(key: ReportKey, seed: u64) -> u64 {
    let product = u128::from(key.lo ^ seed) * u128::from(key.hi ^ seed.rotate_left(32) | 1);
    (product >> 64) as u64 ^ product as u64
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    const WINDOW: f64 = 600.0;

    fn at(seconds: f64) -> Timestamp {
        Timestamp::EPOCH.plus_seconds(seconds)
    }

    fn key(n: u64) -> ReportKey {
        report_key(AgentId(7), &n.to_string(), at(0.0))
    }

    #[test]
    fn a_key_is_the_same_for_ever() {
        let t = Timestamp::from_nanos(1_795_436_298_000_000_000);
        let task = "8c6f2f0e-8a9a-4f57-9e10-2d3c4b5a6978";
        let got = report_key(AgentId(17), task, t);
        assert_eq!(
            got.to_u128(),
            161_491_105_343_300_819_409_532_537_210_512_679_316
        );
        assert_eq!(ReportKey::from_u128(got.to_u128()), got);
    }

    #[test]
    fn every_part_of_the_key_counts() {
        let base = report_key(AgentId(1), "ab", at(1.0));
        for other in [
            report_key(AgentId(2), "ab", at(1.0)),
            report_key(AgentId(1), "ac", at(1.0)),
            report_key(AgentId(1), "ab\0", at(1.0)),
            report_key(AgentId(1), "ab", at(2.0)),
        ] {
            assert_ne!(base, other);
        }
    }

    #[test]
    fn what_is_expected_is_admitted_as_if_it_were_not() {
        let (mut window, mut other) = (
            DedupWindow::new(WINDOW, 1000, 1),
            DedupWindow::new(WINDOW, 1000, 1),
        );
        for round in 0..40_u64 {
            // Reports come again after a while, and generations change.
            let reports = [round * 7 % 90, round * 11 % 90, round / 2];
            let now = at(round as f64 * 50.0);
            window.expect(reports.map(|n| (key(n), MetricId(3))), now);
            for n in reports {
                for metric in [3, 70] {
                    let metric = MetricId(metric);
                    let expected = other.admit(key(n), metric, now);
                    assert_eq!(window.admit(key(n), metric, now), expected, "{round} {n}");
                }
            }
            assert_eq!(window.len(), other.len());
        }
    }

    #[test]
    fn metrics_of_a_report_are_told_apart() {
        let mut window = DedupWindow::new(WINDOW, 1000, 1);
        for metric in [0, 1, 63, 64, 65, 127, 128, 9999, u32::MAX] {
            let metric = MetricId(metric);
            assert_eq!(window.admit(key(1), metric, at(0.0)), Admission::New);
            assert_eq!(window.admit(key(1), metric, at(1.0)), Admission::Duplicate);
            assert_eq!(window.admit(key(2), metric, at(1.0)), Admission::New);
        }
        // Blocks 0, 1, 2, 156 and the last, of two reports.
        assert_eq!(window.len(), 10);
    }

    #[test]
    fn nothing_is_forgotten_within_the_window_and_everything_after_two() {
        let mut window = DedupWindow::new(WINDOW, 1000, 1);
        window.admit(key(1), MetricId(0), at(0.0));
        window.admit(key(2), MetricId(0), at(599.0));
        for seconds in [600.0, 900.0, 1198.9] {
            window.admit(key(3), MetricId(0), at(seconds));
            let again = window.admit(key(2), MetricId(0), at(seconds));
            assert_eq!(again, Admission::Duplicate, "{seconds}");
        }
        assert_eq!(
            window.admit(key(1), MetricId(0), at(1200.0)),
            Admission::New
        );
        assert_eq!(
            window.admit(key(2), MetricId(0), at(9999.0)),
            Admission::New
        );
        assert_eq!(window.len(), 1);
    }

    #[test]
    fn what_was_written_down_is_put_back() {
        let (mut live, mut written) = (DedupWindow::new(WINDOW, 1000, 1), Vec::new());
        for n in 0..50 {
            for metric in [0, 5, 63, 64, 200] {
                let (metric, now) = (MetricId(metric), at(n as f64 * 20.0));
                assert_eq!(live.admit(key(n), metric, now), Admission::New);
                written.push((Seen::of(key(n), metric), now));
            }
        }
        let mut back = DedupWindow::new(WINDOW, 1000, 2);
        for (seen, now) in written {
            back.restore_all(&[seen], now);
        }
        assert_eq!(back.len(), live.len());
        for n in 0..60 {
            for metric in [0, 1, 5, 63, 64, 65, 200, 4000] {
                let (metric, now) = (MetricId(metric), at(1000.0));
                let expected = live.admit(key(n), metric, now);
                assert_eq!(back.admit(key(n), metric, now), expected, "{n} {metric:?}");
            }
        }
    }

    #[test]
    fn a_new_metric_of_an_old_report_is_remembered_for_a_window() {
        let mut window = DedupWindow::new(WINDOW, 1000, 1);
        window.admit(key(1), MetricId(0), at(0.0));
        assert_eq!(window.admit(key(1), MetricId(1), at(700.0)), Admission::New);
        assert_eq!(
            window.admit(key(1), MetricId(1), at(1299.0)),
            Admission::Duplicate
        );
        assert_eq!(
            window.admit(key(1), MetricId(0), at(1299.0)),
            Admission::New
        );
    }

    #[test]
    fn a_clock_that_goes_back_forgets_nothing() {
        let mut window = DedupWindow::new(WINDOW, 1000, 1);
        window.admit(key(1), MetricId(0), at(5000.0));
        let again = window.admit(key(1), MetricId(0), at(-5000.0));
        assert_eq!(again, Admission::Duplicate);
    }

    #[test]
    fn a_full_window_forgets_the_oldest_and_counts_it() {
        let mut window = DedupWindow::new(WINDOW, 10, 1);
        for n in 0..10 {
            window.admit(key(n), MetricId(0), at(0.0));
        }
        assert_eq!((window.len(), window.forgotten_early()), (10, 0));
        window.admit(key(10), MetricId(0), at(0.0));
        assert_eq!((window.len(), window.forgotten_early()), (6, 5));
        assert_eq!(
            window.admit(key(9), MetricId(0), at(0.0)),
            Admission::Duplicate
        );
        assert_eq!(window.admit(key(0), MetricId(0), at(0.0)), Admission::New);
    }

    #[test]
    fn a_full_window_takes_29_bytes_an_entry() {
        // 7/8 of 2^15 places are what one generation can hold before its table grows again.
        let entries_max = 2 * ((1 << 15) / 8 * 7);
        let mut window = DedupWindow::new(WINDOW, entries_max, 1);
        for n in 0..entries_max as u64 {
            window.admit(key(n), MetricId(0), at(0.0));
        }
        assert_eq!(window.len(), entries_max);
        let bytes = window.young.entries.allocation_size() + window.old.entries.allocation_size();
        assert!(
            bytes <= 29 * entries_max,
            "{}",
            bytes as f64 / entries_max as f64
        );
    }

    proptest! {
        /// Against a map of when each was first seen: new exactly when it was not seen, or forgotten; forgotten only
        /// after a window, and surely after two.
        #[test]
        fn as_a_map_of_times_says(steps in prop::collection::vec((0_u64..2, prop::sample::select(vec![0_u32, 1, 64]), 0.0..700.0_f64), 1..100)) {
            let mut window = DedupWindow::new(WINDOW, 10_000, 3);
            let mut admitted_at: HashMap<(u64, u32), f64> = HashMap::new();
            let mut now = 0.0;
            for (n, metric, pause) in steps {
                now += pause;
                let answer = window.admit(key(n), MetricId(metric), at(now));
                let age = admitted_at.get(&(n, metric)).map_or(f64::INFINITY, |then| now - then);
                if age < WINDOW {
                    prop_assert_eq!(answer, Admission::Duplicate);
                }
                if age >= 2.0 * WINDOW {
                    prop_assert_eq!(answer, Admission::New);
                }
                if answer == Admission::New {
                    admitted_at.insert((n, metric), now);
                }
            }
            prop_assert_eq!(window.forgotten_early(), 0);
        }
    }
}
