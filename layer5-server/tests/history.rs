//! History through the store's public door: what was stored comes back by series and time, bit for bit, from memory and
//! from disk, before and after merging, crashes and damage; what is old becomes aggregates and goes.

#![allow(
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use layer5_core::{
    AgentId, MetricId, Quality, Rejection, Report, ReportLimits, Sample, SeriesId, SeriesKey,
    Timestamp, validate,
};
use layer5_ingest::{BodyFormat, CardinalityLimits, DecodeLimits, Names, Resolved, decode_reports};
use layer5_server::standin::{clock::FleetClock, truth::Truth, world::World};
use layer5_server::store::{
    CommitError, Faults, Group, OpenError, Pace, ReadError, Retention, Store, StoreConfig,
    StoredReport,
};
use proptest::prelude::*;
use tempfile::TempDir;

const SECOND: i64 = 1_000_000_000;
const N_AGENTS: u32 = 5;
const N_METRICS: u32 = 3;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_nanos(1_795_000_000 * SECOND + seconds * SECOND)
}

fn config() -> StoreConfig {
    StoreConfig {
        segment_bytes: 1 << 20,
        min_free_bytes: 0,
        head_samples: 150,
        head_samples_max: 4000,
        ..StoreConfig::default()
    }
}

fn open(dir: &Path) -> Store {
    Store::open(dir, &config()).expect("a good folder")
}

fn key(series: u32) -> (AgentId, SeriesId) {
    (AgentId(series / N_METRICS), SeriesId(series))
}

fn value(series: u32, second: i64) -> f64 {
    (second % 97) as f64 / 8.0 + 0.001 * f64::from(series)
}

/// Seconds of reports in a group.
const SPAN: i64 = 10;

/// Group `seq`: every agent reports all its metrics in each of the seconds up to `10 * seq`, `late` seconds earlier.
fn group_late(seq: u64, late: i64) -> Group {
    let mut group = Group {
        seq,
        at: at(seq as i64 * SPAN),
        ..Group::default()
    };
    for series in 0..N_AGENTS * N_METRICS {
        let (agent, id) = key(series);
        if seq == 1 {
            let metric = MetricId(series % N_METRICS);
            group.new_series.push((id, SeriesKey { agent, metric }));
        }
    }
    for second in (seq as i64 - 1) * SPAN + 1..=seq as i64 * SPAN {
        for series in 0..N_AGENTS * N_METRICS {
            if series % N_METRICS == 0 {
                let key = (second as u128) << 32 | u128::from(series);
                let n_samples = N_METRICS as u16;
                group.reports.push(StoredReport { key, n_samples });
            }
            let second = second - late;
            group.samples.push(Sample {
                at: at(second),
                value: value(series, second),
                series: SeriesId(series),
                quality: if second % 10 == 0 {
                    Quality::Suspect
                } else {
                    Quality::Good
                },
            });
        }
    }
    group
}

fn commit(store: &Store, seqs: impl IntoIterator<Item = u64>) {
    for seq in seqs {
        store.commit(&group_late(seq, 0)).unwrap();
        store.flush_history_if_due().unwrap();
    }
}

/// Second, bits and quality of the samples of a series, in time.
fn found(store: &Store, series: u32, from: i64, to: i64) -> Vec<(i64, u64, bool)> {
    let mut found = Vec::new();
    let visit = |sample: Sample| {
        let second = (sample.at.nanos() - at(0).nanos()) / SECOND;
        found.push((
            second,
            sample.value.to_bits(),
            sample.quality == Quality::Suspect,
        ));
    };
    store.samples(key(series), at(from), at(to), visit).unwrap();
    found.sort_unstable();
    found
}

fn expected(series: u32, seconds: impl IntoIterator<Item = i64>) -> Vec<(i64, u64, bool)> {
    let row = |second| (second, value(series, second).to_bits(), second % 10 == 0);
    seconds.into_iter().map(row).collect()
}

fn keep_all() -> Retention {
    Retention {
        raw_seconds: 1e7,
        aggregate_seconds: 1e7,
        bucket_nanos: 60 * SECOND,
        disk_bytes_max: u64::MAX,
    }
}

/// Tidies until nothing is left to do; returns how many blocks of samples and of buckets went.
fn tidy(store: &Store, retention: &Retention, now: i64) -> (u64, u64) {
    let mut pace = Pace::new(1.0, u64::MAX);
    let mut gone = (0, 0);
    loop {
        let tidied = store.tidy_history(retention, at(now), &mut pace).unwrap();
        gone.0 += tidied.expired_samples;
        gone.1 += tidied.expired_buckets;
        if !tidied.more {
            return gone;
        }
    }
}

fn blocks(dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(dir.join("history"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    files
}

#[test]
fn every_sample_comes_back_from_memory_and_disk_through_merges_and_restarts() {
    let dir = TempDir::new().unwrap();
    let mut store = open(dir.path());
    let check = |store: &Store, last: i64| {
        for series in 0..N_AGENTS * N_METRICS {
            assert_eq!(found(store, series, 0, 10_000), expected(series, 1..=last));
        }
        let within = expected(4, 37..last.min(61));
        assert_eq!(found(store, 4, 37, last.min(61)), within, "without the end");
        assert_eq!(found(store, 4, 5000, 6000), []);
        assert_eq!(found(store, 99, 0, 6000), [], "a stranger has no samples");
    };
    store.commit(&group_late(1, 0)).unwrap();
    assert_eq!(store.history_size().blocks, 0);
    check(&store, 10);
    store.flush_history_if_due().unwrap();
    commit(&store, 2..=20);
    let size = store.history_size();
    assert_eq!((size.blocks, size.samples), (20, 200 * 15));
    check(&store, 200);

    drop(store);
    store = open(dir.path());
    check(&store, 200);
    commit(&store, 21..=30);
    store.commit(&group_late(31, 0)).unwrap();
    drop(store);
    // What was in memory is put back from the log.
    store = open(dir.path());
    assert_eq!(store.history_size().head_samples, 150);
    check(&store, 310);

    tidy(&store, &keep_all(), 310);
    let size = store.history_size();
    // Thirty small blocks: three merges of eight, and six that are left.
    assert_eq!((size.blocks, size.samples), (9, 300 * 15));
    check(&store, 310);
    store.flush_history().unwrap();
    assert_eq!(store.history_size().head_samples, 0);
    check(&store, 310);
    drop(store);
    check(&open(dir.path()), 310);
}

#[test]
fn what_comes_late_lands_where_it_belongs() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path());
    commit(&store, 1..=4);
    for seq in 5..=6 {
        // Reports of before the first ones, in later blocks.
        store.commit(&group_late(seq, 200)).unwrap();
        store.flush_history_if_due().unwrap();
    }
    let first = found(&store, 7, -1000, 0);
    assert_eq!(first, expected(7, 41 - 200..=60 - 200));
    assert_eq!(found(&store, 7, 0, 1000), expected(7, 1..=40));
    commit(&store, 7..=8);
    tidy(&store, &keep_all(), 100);
    assert_eq!(store.history_size().blocks, 1);
    assert_eq!(found(&store, 7, -1000, 0), first);
    let rest = expected(7, (1..=40).chain(61..=80));
    assert_eq!(found(&store, 7, 0, 1000), rest);
}

#[test]
fn buckets_are_the_same_from_samples_and_from_aggregates() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path());
    commit(&store, 1..=60);
    let ask = || {
        // From a border of the stored aggregates to beyond the end, so that nothing is cut.
        let buckets = store
            .buckets(key(4), at(140), at(680), 120 * SECOND)
            .unwrap();
        buckets
            .into_iter()
            .map(|(start, b)| (start, (b.count, b.min, b.max, (b.mean() * 1e9).round())))
            .collect::<BTreeMap<_, _>>()
    };
    let before = ask();
    let of_one = |start: i64| {
        let values: Vec<f64> = (start..start + 120)
            .map(|second| value(4, second))
            .collect();
        let fold = |f: fn(f64, f64) -> f64| values.iter().copied().reduce(f).unwrap();
        let mean = values.iter().sum::<f64>() / 120.0;
        (120, fold(f64::min), fold(f64::max), (mean * 1e9).round())
    };
    // The epoch's multiples of 120 s: `at(0)` is 40 s behind one.
    assert_eq!(at(0).nanos() / SECOND % 120, 40);
    assert_eq!(before[&at(200)], of_one(200));
    assert_eq!(before[&at(320)], of_one(320));
    assert_eq!(before.len(), 5);
    assert_eq!(before[&at(80)].0, 60, "the question begins within a bucket");
    assert_eq!(before[&at(560)].0, 41, "and the samples end in one");

    let retention = Retention {
        raw_seconds: 100.0,
        ..keep_all()
    };
    let (samples_gone, buckets_gone) = tidy(&store, &retention, 650);
    assert!(samples_gone > 0 && buckets_gone == 0);
    assert_eq!(found(&store, 4, 0, 500), [], "the samples are gone");
    assert_eq!(ask(), before);
    let bytes = store.history_size();
    assert!(bytes.buckets > 0 && bytes.bucket_bytes > 0);
    drop(store);
    let store = open(dir.path());
    assert_eq!(
        store
            .buckets(key(4), at(160), at(280), 120 * SECOND)
            .unwrap()
            .len(),
        1
    );
    let (_, buckets_gone) = tidy(
        &store,
        &Retention {
            aggregate_seconds: 200.0,
            ..retention
        },
        2000,
    );
    assert!(buckets_gone > 0);
    assert_eq!(
        store
            .buckets(key(4), at(0), at(2000), SECOND)
            .unwrap()
            .len(),
        0
    );
}

#[test]
fn over_the_budget_the_oldest_samples_go_first_and_then_nothing_is_taken() {
    let dir = TempDir::new().unwrap();
    let config = StoreConfig {
        head_samples: 1500,
        ..config()
    };
    let store = Store::open(dir.path(), &config).unwrap();
    commit(&store, 1..=100);
    let other_bytes = store.disk_bytes() - store.history_size().sample_bytes;
    let budget = |bytes| Retention {
        disk_bytes_max: bytes,
        ..keep_all()
    };
    let keep = other_bytes + store.history_size().sample_bytes * 3 / 4;
    let (gone, _) = tidy(&store, &budget(keep), 1000);
    assert!((1..10).contains(&gone), "{gone} of ten blocks");
    assert!(store.disk_bytes() <= keep && !store.is_over_budget());
    assert_eq!(found(&store, 3, 0, 5), [], "the oldest went");
    assert_eq!(
        found(&store, 3, 990, 1001),
        expected(3, 990..=1000),
        "the newest stayed"
    );
    store.commit(&group_late(101, 0)).unwrap();

    tidy(&store, &budget(1000), 1000);
    assert!(store.is_over_budget());
    match store.commit(&group_late(102, 0)) {
        Err(
            error @ CommitError::OverBudget {
                bytes_max: 1000, ..
            },
        ) => assert!(error.is_for_now()),
        other => panic!("{other:?}"),
    }
    tidy(&store, &keep_all(), 1000);
    store.commit(&group_late(102, 0)).unwrap();
}

#[test]
fn the_log_goes_as_soon_as_history_and_snapshots_do_without_it() {
    let dir = TempDir::new().unwrap();
    let config = StoreConfig {
        segment_bytes: 64 << 10,
        head_samples_max: 1 << 20,
        ..config()
    };
    let store = Store::open(dir.path(), &config).unwrap();
    for seq in 1..=60 {
        store.commit(&group_late(seq, 0)).unwrap();
    }
    store.write_snapshot(40, &[]).unwrap();
    store.write_snapshot(50, &[]).unwrap();
    assert_eq!(
        store.drop_log_before(at(10_000)).unwrap(),
        0,
        "it is in memory and in the log alone"
    );
    store.flush_history().unwrap();
    assert!(store.drop_log_before(at(10_000)).unwrap() > 0);
    let first = store.first_seq().unwrap();
    assert!((2..=41).contains(&first), "{first}");
    drop(store);
    let store = Store::open(dir.path(), &config).unwrap();
    assert_eq!(found(&store, 5, 0, 10_000), expected(5, 1..=600));
}

#[test]
fn a_head_without_room_is_written_by_the_commit_that_needs_it() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path());
    for seq in 1..=30 {
        store.commit(&group_late(seq, 0)).unwrap();
    }
    assert!(store.history_size().head_samples < 4000 + 150);
    assert_eq!(store.history_size().blocks, 1);
    assert_eq!(found(&store, 5, 0, 10_000), expected(5, 1..=300));
}

#[test]
fn a_block_that_could_not_be_written_leaves_the_head_as_it_was() {
    for fail in [Faults::fail_sync, Faults::fail_write] {
        let dir = TempDir::new().unwrap();
        let faults = Faults::default();
        let store = Store::open_with_faults(dir.path(), &config(), &faults).unwrap();
        for seq in 1..=2 {
            store.commit(&group_late(seq, 0)).unwrap();
        }
        fail(&faults, 1);
        let error = store.flush_history().expect_err("the fault strikes");
        assert!(store.poison_if_broken(&error), "{error}");
        assert!(store.is_poisoned());
        assert_eq!(found(&store, 5, 0, 10_000), expected(5, 1..=20));
        assert_eq!(blocks(dir.path()), Vec::<PathBuf>::new());
        drop(store);
        assert_eq!(found(&open(dir.path()), 5, 0, 10_000), expected(5, 1..=20));
    }
}

#[test]
fn what_a_crash_left_of_a_merge_is_cleared_away() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path());
    commit(&store, 1..=8);
    let small: Vec<(PathBuf, Vec<u8>)> = blocks(dir.path())
        .into_iter()
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect();
    assert_eq!(small.len(), 8);
    tidy(&store, &keep_all(), 80);
    drop(store);
    let merged = blocks(dir.path());
    assert_eq!(merged.len(), 1);
    // The merged block is there, and its parts were not removed yet; beside it half of another.
    for (path, bytes) in &small {
        fs::write(path, bytes).unwrap();
    }
    fs::write(dir.path().join("history/1-2.new"), b"half").unwrap();
    let store = open(dir.path());
    assert_eq!(blocks(dir.path()), merged);
    assert_eq!(found(&store, 5, 0, 10_000), expected(5, 1..=80));
}

#[test]
fn damage_is_named_with_file_and_offset() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path());
    commit(&store, [1]);
    let block = blocks(dir.path()).pop().unwrap();
    let good = fs::read(&block).unwrap();
    drop(store);
    let mut n_found = 0;
    for place in (0..good.len()).step_by(17) {
        let mut bad = good.clone();
        bad[place] ^= 0x20;
        fs::write(&block, &bad).unwrap();
        match Store::open(dir.path(), &config()) {
            Err(OpenError::Damaged { file, detail }) => {
                assert_eq!(file, block);
                assert!(
                    place >= good.len() - 72 && detail.contains("byte"),
                    "{place}: {detail}"
                );
            }
            Err(other) => panic!("{other}"),
            Ok(store) => {
                let ask = |agent: u32| store.samples(key(agent * 3), at(0), at(100), |_| {});
                for error in (0..N_AGENTS).filter_map(|agent| ask(agent).err()) {
                    let ReadError::Damaged { file, at, .. } = error else {
                        panic!("{error}");
                    };
                    assert_eq!(file, block);
                    assert!(at.starts_with("byte "), "{at}");
                    n_found += 1;
                }
            }
        }
    }
    assert!(
        n_found > 10,
        "every byte of a chunk is covered by a checksum: {n_found}"
    );
    for cut in [0, 71, good.len() / 2, good.len() - 1] {
        fs::write(&block, &good[..cut]).unwrap();
        let opened = Store::open(dir.path(), &config());
        assert!(
            matches!(opened, Err(OpenError::Damaged { .. })),
            "cut at {cut}"
        );
    }
}

/// A week of the demo's fleet, as the committer would store it.
fn fleet_groups(agents: usize, steps: usize) -> Vec<Group> {
    let now = Timestamp::from_millis(1_795_436_298_000);
    let clock = FleetClock::ending_before(now, steps);
    let mut world = World::new(7, agents, clock, Truth::draw(7, agents, steps));
    let limits = ReportLimits {
        max_age_seconds: clock.age_seconds_max(),
        ..ReportLimits::default()
    };
    let mut names = Names::new(1);
    let mut groups: Vec<Group> = Vec::new();
    for from in (0..steps).step_by(8) {
        let mut group = Group {
            seq: groups.len() as u64 + 1,
            at: now,
            ..Group::default()
        };
        let n_known = names.n_series();
        for post in world.write(from..steps.min(from + 8)) {
            let mut take = |_: usize, report: Result<&Report<'_>, Rejection>, _: &[u8]| {
                let Ok(report) = report else { return };
                if validate(report, &limits, now).is_err() {
                    return;
                }
                let mut resolved = Resolved::default();
                names
                    .intern_report(report, &CardinalityLimits::default(), &mut resolved)
                    .unwrap();
                for (value, (_, series)) in report.values.iter().zip(&resolved.series) {
                    group.samples.push(Sample {
                        at: report.recorded_at,
                        value: value.value,
                        series: *series,
                        quality: Quality::Good,
                    });
                }
            };
            decode_reports(
                &post.body,
                BodyFormat::Ndjson,
                &DecodeLimits::default(),
                &mut take,
            )
            .unwrap();
        }
        group.new_series = names.series_from(n_known).collect();
        groups.push(group);
    }
    groups
}

#[test]
fn the_demo_fleet_costs_at_most_three_bytes_a_sample() {
    let dir = TempDir::new().unwrap();
    let config = StoreConfig {
        head_samples: 1 << 15,
        ..config()
    };
    let store = Store::open(dir.path(), &config).unwrap();
    let groups = fleet_groups(20, 2016);
    let mut stored: BTreeMap<u32, Vec<(i64, u64)>> = BTreeMap::new();
    for group in &groups {
        store.commit(group).unwrap();
        store.flush_history_if_due().unwrap();
        for s in &group.samples {
            let of = stored.entry(s.series.0).or_default();
            of.push((s.at.nanos(), s.value.to_bits()));
        }
    }
    store.flush_history().unwrap();
    let ratio = || {
        let size = store.history_size();
        size.sample_bytes as f64 / size.samples as f64
    };
    let first = ratio();
    tidy(&store, &keep_all(), 0);
    let size = store.history_size();
    eprintln!(
        "{} samples of {} series: {first:.2} bytes each in small blocks, {:.2} merged",
        size.samples,
        stored.len(),
        ratio()
    );
    assert!(first <= 3.0 && ratio() <= 3.0, "{first} {}", ratio());
    for (series, mut want) in stored {
        let agent = groups
            .iter()
            .flat_map(|group| &group.new_series)
            .find(|(id, _)| id.0 == series)
            .map(|(_, key)| key.agent)
            .unwrap();
        let mut have = Vec::new();
        let key = (agent, SeriesId(series));
        let visit = |s: Sample| have.push((s.at.nanos(), s.value.to_bits()));
        store
            .samples(key, Timestamp::MIN, Timestamp::MAX, visit)
            .unwrap();
        have.sort_unstable();
        want.sort_unstable();
        assert_eq!(have, want, "series {series}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn any_samples_come_back(rows in prop::collection::vec((0_u32..15, -50_i64..50, any::<u64>(), any::<bool>()), 1..400), per_group in 1_usize..80) {
        let dir = TempDir::new().unwrap();
        let store = open(dir.path());
        let sample = |&(series, millis, bits, suspect): &(u32, i64, u64, bool)| Sample {
            at: Timestamp::from_nanos(at(0).nanos() + millis * 1_000_000),
            // Only finite values are ever stored.
            value: Some(f64::from_bits(bits)).filter(|v| v.is_finite()).unwrap_or(-0.0),
            series: SeriesId(series),
            quality: if suspect { Quality::Suspect } else { Quality::Good },
        };
        for (i, rows) in rows.chunks(per_group).enumerate() {
            let mut group = Group { seq: i as u64 + 1, at: at(0), samples: rows.iter().map(sample).collect(), ..Group::default() };
            if i == 0 {
                group.new_series = group_late(1, 0).new_series;
            }
            store.commit(&group).unwrap();
            store.flush_history_if_due().unwrap();
        }
        tidy(&store, &keep_all(), 0);
        for series in 0..15 {
            let mut want: Vec<_> = rows.iter().map(sample).filter(|s| s.series.0 == series).map(|s| (s.at, s.value.to_bits(), s.quality as u8)).collect();
            let mut have = Vec::new();
            store.samples(key(series), at(-100), at(100), |s| have.push((s.at, s.value.to_bits(), s.quality as u8))).unwrap();
            want.sort_unstable();
            have.sort_unstable();
            prop_assert_eq!(have, want);
        }
    }
}
