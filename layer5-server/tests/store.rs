//! The store's promises, through its public door: what was committed is there after reopening, after a crash image and
//! after a torn tail; effects happen once; a failed disk stops everything; retention gives space back.
//! A crash image is a copy of the folder while the store is open, cut or damaged as a crash could leave it.

#![allow(
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

use std::fs;
use std::path::{Path, PathBuf};

use layer5_core::{
    AgentId, Finding, MetricId, PatternEvent, PatternKind, Quality, Reason, Recommendation,
    Rejection, Sample, SeriesId, SeriesKey, Timestamp,
    event::{Detail, Direction},
};
use layer5_ingest::{ReportKey, Seen};
use layer5_server::store::{
    CommitError, Control, Effects, Evaluation, Faults, Group, OpenError, PatternQuery, ReadError,
    RecommendationState, SeenSince, Store, StoreConfig, StoredRecommendation, StoredReport,
};
use proptest::prelude::*;
use tempfile::TempDir;
use uuid::Uuid;

const NONE: [Uuid; 0] = [];
const SECOND: i64 = 1_000_000_000;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_nanos(1_795_000_000 * SECOND + seconds * SECOND)
}

fn small() -> StoreConfig {
    StoreConfig {
        segment_bytes: 1 << 20,
        min_free_bytes: 0,
        ..StoreConfig::default()
    }
}

fn open(dir: &Path) -> Store {
    Store::open(dir, &small()).expect("a good folder")
}

/// Group `seq`, one second after the one before, with `n` reports of two samples that only this group can have.
fn group(seq: u64, n: u64) -> Group {
    let mut group = Group {
        seq,
        at: at(seq as i64),
        ..Group::default()
    };
    for i in 0..n {
        let key = u128::from(seq) << 64 | u128::from(i);
        group.reports.push(StoredReport { key, n_samples: 2 });
        for metric in 0..2 {
            group.samples.push(Sample {
                at: at(seq as i64),
                value: (seq * 1000 + i) as f64 + 0.1 * f64::from(metric),
                series: SeriesId((i as u32) * 2 + metric),
                quality: Quality::Good,
            });
        }
    }
    group
}

fn advice(name: &str) -> StoredRecommendation {
    StoredRecommendation {
        recommendation: Recommendation {
            agent_id: "a".into(),
            optimization_id: Uuid::new_v5(&Uuid::NAMESPACE_OID, name.as_bytes()),
            parameters: [("threads".to_owned(), 4.0)].into(),
            confidence: 0.9,
            expected_improvement: 0.2,
            expected_interval: (0.1, 0.3),
            timestamp: at(0),
        },
        study: "fleet".into(),
        trial: 7,
        proposed_by: "gp".into(),
        dry_run: false,
    }
}

fn id(name: &str) -> Uuid {
    advice(name).recommendation.optimization_id
}

fn pattern(id: u64, kind: PatternKind, agent: &str, seconds: i64) -> PatternEvent {
    PatternEvent {
        id,
        agent_id: agent.into(),
        metric: "latency_ms".into(),
        finding: Finding {
            kind,
            detail: Detail::Missing { seconds: 3.5 },
            start: at(seconds),
            end: at(seconds + 10),
            detected_at: at(seconds + 20),
            score: 0.5,
            confidence: 0.75,
            direction: Direction::Up,
            magnitude: 1.0 / 3.0,
            baseline: -0.0,
        },
        explanation: "in plain words".into(),
    }
}

fn with(seq: u64, effects: Effects) -> Group {
    Group {
        seq,
        at: at(seq as i64),
        effects,
        ..Group::default()
    }
}

fn commit_all(store: &Store, groups: impl IntoIterator<Item = Group>) -> Vec<Group> {
    groups
        .into_iter()
        .inspect(|group| store.commit(group).expect("a good disk"))
        .collect()
}

fn logged(store: &Store, from: u64) -> Vec<Group> {
    store
        .groups_from(from)
        .collect::<Result<_, _>>()
        .expect("a good log")
}

fn pending(store: &Store) -> Vec<Uuid> {
    let rows = store.pending(0, 100).expect("readable");
    rows.iter()
        .map(|row| row.stored.recommendation.optimization_id)
        .collect()
}

type Part = (String, Vec<u8>);

/// Position and parts of the newest snapshot.
fn newest_snapshot(store: &Store) -> Option<(u64, Vec<Part>)> {
    let snapshot = store.latest_snapshot().unwrap()?;
    Some((snapshot.seq, snapshot.map(Result::unwrap).collect()))
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().flatten() {
        let target = to.join(entry.file_name());
        if entry.metadata().unwrap().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// What a crash at this moment would leave.
fn crash_image(of: &Path) -> TempDir {
    let image = TempDir::new().unwrap();
    copy_folder(of, image.path());
    image
}

fn segments(dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(dir.join("log"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    files
}

#[test]
fn a_kill_while_the_views_are_made_does_not_stop_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    // What a kill leaves between the file's first write and its header.
    let half_made = folder.path().join("views.redb.new");
    std::fs::write(&half_made, [0; 4096]).unwrap();
    let store = Store::open(folder.path(), &StoreConfig::default()).unwrap();
    assert_eq!(store.totals().groups, 0);
    assert!(!half_made.exists() && folder.path().join("views.redb").exists());
}

#[test]
fn everything_in_a_group_comes_back() {
    let dir = TempDir::new().unwrap();
    let mut full = group(1, 3);
    full.tick = true;
    full.new_agents = vec![(AgentId(0), "agent_17".into())];
    full.new_hosts = vec![(AgentId(0), "host".into())];
    full.new_metrics = vec![(MetricId(9), "queue_depth".into())];
    full.new_series = vec![(
        SeriesId(0),
        SeriesKey {
            agent: AgentId(0),
            metric: MetricId(9),
        },
    )];
    full.controls = vec![Control::KillSwitch {
        engaged: true,
        reason: "drill".into(),
    }];
    full.offsets = vec![("redis".into(), "17-0".into())];
    full.effects = Effects {
        events: vec![pattern(1, PatternKind::Anomaly, "agent_17", 0)],
        recommendations: vec![advice("one"), advice("two")],
        evaluations: vec![Evaluation {
            optimization_id: id("two"),
            observed_improvement: 0.25,
            at: at(3),
        }],
        delivered: vec![id("one")],
        refused: vec![(id("none"), "no such agent".into())],
    };
    let store = open(dir.path());
    store.commit(&full).unwrap();
    drop(store);

    let store = open(dir.path());
    assert_eq!(logged(&store, 1), [full.clone()]);
    let totals = store.totals();
    assert_eq!(
        (
            totals.reports,
            totals.samples,
            totals.groups,
            totals.last_seq
        ),
        (3, 6, 1, 1)
    );
    let names = store.names().unwrap();
    assert_eq!(names.agents, full.new_agents);
    assert_eq!(names.hosts, full.new_hosts);
    assert_eq!(names.metrics, full.new_metrics);
    assert_eq!(names.series, full.new_series);
    assert_eq!(store.offsets().unwrap()["redis"], "17-0");
    assert_eq!(
        store.patterns(&PatternQuery::default()).unwrap(),
        full.effects.events
    );
    assert_eq!(
        store.pattern_counts().unwrap(),
        [(PatternKind::Anomaly, 1)].into()
    );
    let states: Vec<_> = store
        .recommendations(0, 10)
        .unwrap()
        .iter()
        .map(|r| r.state)
        .collect();
    assert_eq!(
        states,
        [
            RecommendationState::Delivered,
            RecommendationState::Evaluated
        ]
    );
    assert_eq!(pending(&store), NONE);
}

#[test]
fn an_empty_store_is_empty() {
    let dir = TempDir::new().unwrap();
    for _ in 0..2 {
        let store = open(dir.path());
        assert_eq!(store.totals(), Default::default());
        assert_eq!(logged(&store, 0), []);
        assert_eq!(store.first_seq(), None);
        assert!(store.latest_snapshot().unwrap().is_none());
        assert_eq!(store.names().unwrap(), Default::default());
    }
}

#[test]
fn groups_come_in_order_or_not_at_all() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path());
    store.commit(&group(1, 1)).unwrap();
    for seq in [0, 1, 3] {
        let refused = store.commit(&group(seq, 1));
        assert!(
            matches!(refused, Err(CommitError::OutOfOrder { expected: 2, found }) if found == seq)
        );
    }
    store.commit(&group(2, 1)).unwrap();
    assert_eq!(store.totals().reports, 2);
}

#[test]
fn a_second_process_is_told_who_holds_the_folder() {
    let dir = TempDir::new().unwrap();
    let _store = open(dir.path());
    // flock belongs to the open file, not to the process, so a second open here stands for another process.
    match Store::open(dir.path(), &small()) {
        Err(OpenError::InUse { pid, .. }) => assert_eq!(pid, Some(std::process::id())),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_crash_keeps_what_was_committed_and_its_effects() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path());
    let mut groups: Vec<Group> = (1..=20).map(|seq| group(seq, 50)).collect();
    groups[4].effects.recommendations = vec![advice("one"), advice("two")];
    groups[7].effects.events = vec![pattern(1, PatternKind::Trend, "a", 8)];
    groups[9].controls = vec![Control::Delivered {
        optimization_id: id("one"),
        at: at(10),
    }];
    for seq in 1..=groups.len() {
        store.commit(&groups[seq - 1]).unwrap();
        let image = crash_image(dir.path());
        let recovered = open(image.path());
        assert_eq!(logged(&recovered, 1), groups[..seq]);
        assert_eq!(recovered.totals(), store.totals());
        assert_eq!(pending(&recovered), pending(&store));
        assert_eq!(
            recovered.pattern_counts().unwrap(),
            store.pattern_counts().unwrap()
        );
        recovered.commit(&group(seq as u64 + 1, 1)).unwrap();
    }
    assert_eq!(pending(&store), [id("two")]);
}

#[test]
fn the_group_that_a_power_cut_tore_is_gone_and_no_other() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path());
    let before = commit_all(&store, (1..=5).map(|seq| group(seq, 500)));
    let file = segments(dir.path()).remove(0);
    let old = fs::read(&file).unwrap();
    store.commit(&group(6, 500)).unwrap();
    let new = fs::read(&file).unwrap();
    let views = fs::read(dir.path().join("views.redb")).unwrap();
    drop(store);
    // Every page that the last commit wrote may have reached the disk or not, in any order; try each missing alone.
    let page = 4096;
    let changed: Vec<usize> = (0..new.len().div_ceil(page))
        .filter(|i| {
            let range = i * page..((i + 1) * page).min(new.len());
            old.get(range.clone()) != new.get(range)
        })
        .collect();
    assert!(
        changed.len() > 3,
        "the last commit spans pages: {changed:?}"
    );
    for missing in changed {
        let image = TempDir::new().unwrap();
        fs::create_dir(image.path().join("log")).unwrap();
        let mut torn = new.clone();
        let range = missing * page..((missing + 1) * page).min(new.len());
        match old.get(range.clone()) {
            Some(bytes) => torn[range].copy_from_slice(bytes),
            None => torn[range].fill(0),
        }
        fs::write(
            image.path().join("log").join(file.file_name().unwrap()),
            torn,
        )
        .unwrap();
        fs::write(image.path().join("views.redb"), &views).unwrap();
        let recovered = open(image.path());
        let groups = logged(&recovered, 1);
        assert!(
            groups.len() >= 5,
            "page {missing}: {} groups left",
            groups.len()
        );
        assert_eq!(groups[..5], before);
        recovered
            .commit(&group(groups.len() as u64 + 1, 1))
            .unwrap();
    }
}

#[test]
fn damage_in_the_log_is_named_and_never_skipped() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path());
    commit_all(&store, (1..=40).map(|seq| group(seq, 2000)));
    store.checkpoint().unwrap();
    // What history has on disk is not read from the log at start.
    store.flush_history().unwrap();
    drop(store);
    let files = segments(dir.path());
    assert!(files.len() > 2, "{files:?}");
    for damaged in [0, files.len() - 1] {
        let image = crash_image(dir.path());
        let file = image
            .path()
            .join("log")
            .join(files[damaged].file_name().unwrap());
        let mut bytes = fs::read(&file).unwrap();
        // A page of values in the middle, of groups long since acknowledged.
        let middle = bytes.len() / 3 / 4096 * 4096;
        bytes[middle..middle + 4096].fill(0xA5);
        fs::write(&file, bytes).unwrap();
        match Store::open(image.path(), &small()) {
            Err(OpenError::Damaged { file: named, .. }) => {
                assert_eq!((damaged, named), (files.len() - 1, file));
            }
            Ok(store) => {
                assert_eq!(damaged, 0);
                let error = store
                    .groups_from(1)
                    .find_map(Result::err)
                    .expect("found on reading");
                let ReadError::Damaged { file: named, .. } = error else {
                    panic!("{error}");
                };
                assert_eq!(named, file);
                assert_eq!(store.groups_from(1).last().map(|g| g.is_err()), Some(true));
            }
            Err(other) => panic!("{other}"),
        }
    }
}

#[test]
fn a_log_shorter_than_its_views_is_refused() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path());
    commit_all(&store, (1..=3).map(|seq| group(seq, 1)));
    store.checkpoint().unwrap();
    drop(store);
    fs::remove_file(&segments(dir.path())[0]).unwrap();
    assert!(matches!(
        Store::open(dir.path(), &small()),
        Err(OpenError::Damaged { .. })
    ));
}

#[test]
fn a_failed_disk_poisons_the_store_and_loses_nothing_acknowledged() {
    for fail in [Faults::fail_sync, Faults::fail_write] {
        for n in 1..=12 {
            let dir = TempDir::new().unwrap();
            let faults = Faults::default();
            let store = Store::open_with_faults(dir.path(), &small(), &faults).unwrap();
            let mut acknowledged = commit_all(&store, (1..=3).map(|seq| group(seq, 10)));
            fail(&faults, n);
            let failed = (4..40)
                .map(|seq| group(seq, 10))
                .find_map(|group| match store.commit(&group) {
                    Ok(()) => {
                        acknowledged.push(group);
                        None
                    }
                    Err(error) => Some(error),
                })
                .expect("the fault strikes");
            assert!(matches!(failed, CommitError::Failed { .. }), "{failed}");
            let next = group(acknowledged.len() as u64 + 1, 1);
            assert!(matches!(store.commit(&next), Err(CommitError::Poisoned)));
            assert!(matches!(
                store.mark_delivered(&[]),
                Err(CommitError::Poisoned)
            ));
            assert!(store.is_poisoned());
            drop(store);
            let recovered = open(dir.path());
            let groups = logged(&recovered, 1);
            assert_eq!(groups[..acknowledged.len()], acknowledged);
            assert!(groups.len() <= acknowledged.len() + 1);
        }
    }
}

#[test]
fn a_full_disk_is_refused_before_anything_is_written() {
    let dir = TempDir::new().unwrap();
    let config = StoreConfig {
        min_free_bytes: u64::MAX,
        ..small()
    };
    let store = Store::open(dir.path(), &config).unwrap();
    let refused = store.commit(&group(1, 1));
    assert!(matches!(refused, Err(CommitError::DiskFull { .. })));
    assert!(!store.is_poisoned());
    assert_eq!(store.totals().groups, 0);
}

#[test]
fn a_recommendation_is_put_once_whatever_comes_again() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path());
    let put = || Effects {
        recommendations: vec![advice("one")],
        ..Effects::default()
    };
    store.commit(&with(1, put())).unwrap();
    let mut other = advice("one");
    other.recommendation.confidence = 0.1;
    let again = Effects {
        recommendations: vec![other, advice("two")],
        ..Effects::default()
    };
    store.commit(&with(2, again)).unwrap();
    assert_eq!(pending(&store), [id("one"), id("two")]);
    let numbers: Vec<_> = store
        .recommendations(0, 9)
        .unwrap()
        .iter()
        .map(|r| r.number)
        .collect();
    assert_eq!(numbers, [1, 2]);
    assert_eq!(
        store.recommendation(id("one")).unwrap().unwrap().stored,
        advice("one")
    );

    store.mark_delivered(&[id("one")]).unwrap();
    store.commit(&with(3, put())).unwrap();
    assert_eq!(pending(&store), [id("two")]);
    store.mark_refused(id("two"), "unknown agent").unwrap();
    let row = store.recommendation(id("two")).unwrap().unwrap();
    assert_eq!(
        (row.state, row.refusal.as_str()),
        (RecommendationState::Rejected, "unknown agent")
    );
    assert_eq!(store.outbox_depth().unwrap(), (0, 2));
    assert_eq!(store.recommendation(id("three")).unwrap(), None);
    drop(store);
    let store = open(dir.path());
    assert_eq!(pending(&store), NONE);
    assert_eq!(store.recommendations(1, 9).unwrap().len(), 1);
}

#[test]
fn a_dry_run_never_reaches_the_outbox() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path());
    let dry = StoredRecommendation {
        dry_run: true,
        ..advice("dry")
    };
    let effects = Effects {
        recommendations: vec![dry],
        ..Effects::default()
    };
    store.commit(&with(1, effects)).unwrap();
    assert_eq!(pending(&store), NONE);
    assert_eq!(
        store.recommendations(0, 1).unwrap()[0].state,
        RecommendationState::DryRun
    );
}

#[test]
fn patterns_are_filtered_paged_and_stored_once() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path());
    let kinds = [PatternKind::Anomaly, PatternKind::Trend];
    let events: Vec<_> = (0..10)
        .map(|i| {
            pattern(
                i,
                kinds[i as usize % 2],
                ["a", "b"][i as usize / 5],
                i as i64 * 100,
            )
        })
        .collect();
    store
        .commit(&with(
            1,
            Effects {
                events: events.clone(),
                ..Effects::default()
            },
        ))
        .unwrap();
    store
        .commit(&with(
            2,
            Effects {
                events: events.clone(),
                ..Effects::default()
            },
        ))
        .unwrap();
    let ids = |query: PatternQuery| -> Vec<u64> {
        store
            .patterns(&query)
            .unwrap()
            .iter()
            .map(|event| event.id)
            .collect()
    };
    let all = PatternQuery::default;
    assert_eq!(ids(all()), (0..10).collect::<Vec<_>>());
    assert_eq!(
        ids(PatternQuery {
            limit: 3,
            after: Some(4),
            ..all()
        }),
        [5, 6, 7]
    );
    assert_eq!(
        ids(PatternQuery {
            after: Some(u64::MAX),
            ..all()
        }),
        [0; 0]
    );
    assert_eq!(
        ids(PatternQuery {
            kind: Some(kinds[1]),
            ..all()
        }),
        [1, 3, 5, 7, 9]
    );
    assert_eq!(
        ids(PatternQuery {
            agent_id: Some("a".into()),
            ..all()
        }),
        [0, 1, 2, 3, 4]
    );
    // Pattern 3 spans 300 ..= 310.
    assert_eq!(
        ids(PatternQuery {
            from: Some(at(310)),
            to: Some(at(301)),
            ..all()
        }),
        [3]
    );
    assert_eq!(
        ids(PatternQuery {
            from: Some(at(311)),
            to: Some(at(400)),
            ..all()
        }),
        [0; 0]
    );
    assert_eq!(
        store.pattern_counts().unwrap(),
        kinds.map(|kind| (kind, 5)).into()
    );
    assert_eq!(store.last_pattern_id().unwrap(), 9);
    // Detected 20 s after their start.
    assert_eq!(store.drop_patterns_before(at(320)).unwrap(), 3);
    assert_eq!(ids(all()), (3..10).collect::<Vec<_>>());
    assert_eq!(store.drop_patterns_before(at(320)).unwrap(), 0);
}

#[test]
fn dead_letters_are_a_ring_of_bytes() {
    let dir = TempDir::new().unwrap();
    let config = StoreConfig {
        dead_letter_bytes_max: 5_000,
        ..small()
    };
    let store = Store::open(dir.path(), &config).unwrap();
    let rejection = Rejection::new(Reason::OutOfRange, "latency_ms", "-1 is below 0");
    for i in 0..20_u8 {
        store
            .append_dead_letter(at(i.into()), "http", &rejection, &[i; 1000])
            .unwrap();
    }
    let letters = store.dead_letters(0, 100).unwrap();
    let numbers: Vec<_> = letters.iter().map(|letter| letter.number).collect();
    assert_eq!(numbers, [17, 18, 19, 20]);
    assert_eq!(letters[3].raw, [19; 1000]);
    assert_eq!(letters[3].reason, Reason::OutOfRange.to_string());
    assert_eq!(store.dead_letters(18, 1).unwrap()[0].number, 19);
    store.checkpoint().unwrap();
    drop(store);
    let store = Store::open(dir.path(), &config).unwrap();
    assert_eq!(store.dead_letters(0, 100).unwrap(), letters);
}

#[test]
fn the_newest_whole_snapshot_is_taken() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path());
    commit_all(&store, (1..=9).map(|seq| group(seq, 1)));
    let parts = |n: u8| {
        vec![
            ("shard-0".to_owned(), vec![n; 100_000]),
            ("tuner".to_owned(), vec![]),
        ]
    };
    for seq in [3, 5, 8] {
        store.write_snapshot(seq, &parts(seq as u8)).unwrap();
        assert_eq!(newest_snapshot(&store), Some((seq, parts(seq as u8))));
    }
    let newest = dir.path().join("snapshots/00000000000000000008.l5");
    let good = fs::read(&newest).unwrap();
    assert_eq!(fs::read_dir(newest.parent().unwrap()).unwrap().count(), 2);
    for cut in [0, 7, 8, 20, good.len() / 2, good.len() - 1] {
        fs::write(&newest, &good[..cut]).unwrap();
        assert_eq!(newest_snapshot(&store), Some((5, parts(5))), "cut at {cut}");
    }
    for flipped in (0..good.len()).step_by(997) {
        let mut bad = good.clone();
        bad[flipped] ^= 0x10;
        fs::write(&newest, &bad).unwrap();
        let seq = store.latest_snapshot().unwrap().unwrap().seq;
        assert_eq!(seq, 5, "flipped at {flipped}");
    }
    fs::write(newest.with_extension("new"), b"half").unwrap();
    fs::write(&newest, &good).unwrap();
    assert_eq!(store.latest_snapshot().unwrap().unwrap().seq, 8);
}

#[test]
fn when_no_snapshot_is_whole_a_damaged_part_costs_that_part() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path());
    commit_all(&store, (1..=9).map(|seq| group(seq, 1)));
    let parts: Vec<_> = (0..4)
        .map(|n| (format!("part-{n}"), vec![n; 1000]))
        .collect();
    store.write_snapshot(5, &parts).unwrap();
    store.write_snapshot(8, &parts).unwrap();
    let path = |seq: u64| dir.path().join(format!("snapshots/{seq:020}.l5"));
    let good = fs::read(path(8)).unwrap();
    // In the midst of the third part.
    let mut bad = good.clone();
    let place = good.windows(100).position(|w| w == [2; 100]).unwrap();
    bad[place + 50] ^= 1;
    fs::write(path(5), &good[..good.len() / 2]).unwrap();
    fs::write(path(8), &bad).unwrap();
    let read: Vec<_> = store.latest_snapshot().unwrap().unwrap().collect();
    assert_eq!(store.latest_snapshot().unwrap().unwrap().seq, 8);
    assert_eq!(read.len(), 4);
    for (n, part) in read.into_iter().enumerate() {
        match part {
            Ok(part) => assert_eq!(part, parts[n]),
            Err(error) => assert_eq!((n, error.to_string().contains("part 2")), (2, true)),
        }
    }
    // A file that ends early gives what is before its end, and one error.
    fs::write(path(8), &good[..good.len() / 2]).unwrap();
    let read: Vec<_> = store.latest_snapshot().unwrap().unwrap().collect();
    let n_good = read.iter().take_while(|part| part.is_ok()).count();
    assert!(n_good >= 1 && read.len() == n_good + 1);
    // Without even a header there is nothing.
    fs::write(path(8), b"").unwrap();
    fs::write(path(5), b"").unwrap();
    assert!(store.latest_snapshot().unwrap().is_none());
}

#[test]
fn what_was_seen_comes_back_by_group_and_goes_with_the_log() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path());
    commit_all(&store, (1..=60).map(|seq| group(seq, 2000)));
    let entry = |seq: u64| Seen::of(ReportKey { hi: seq, lo: 7 }, MetricId(3));
    let (mut from, mut expected) = (1, Vec::new());
    for end in [20, 40, 60] {
        let mut seen = SeenSince::default();
        for seq in from..=end {
            seen.push(seq, at(seq as i64), &mut vec![entry(seq)]);
            expected.push(entry(seq));
        }
        assert_eq!(seen.len() as u64, end + 1 - from);
        store.begin_snapshot(end, seen).unwrap();
        store.complete_snapshot(end);
        store.publish_snapshot().unwrap();
        from = end + 1;
    }
    let read = |store: &Store| {
        let mut pieces = Vec::new();
        store.visit_seen(|piece| pieces.push(piece)).unwrap();
        pieces
    };
    let pieces = read(&store);
    let entries: Vec<Seen> = pieces.iter().flat_map(|p| p.entries.clone()).collect();
    assert_eq!(entries, expected);
    for pair in pieces.windows(2) {
        assert_eq!(pair[0].last_seq + 1, pair[1].first_seq);
    }
    // A damaged file is left out, the others are read.
    let second = dir.path().join("seen/00000000000000000040.l5");
    let mut bytes = fs::read(&second).unwrap();
    bytes.truncate(40);
    fs::write(&second, &bytes).unwrap();
    let firsts = |store: &Store| read(store).first().map(|piece| piece.first_seq);
    assert!(
        read(&store)
            .iter()
            .all(|p| !(21..=40).contains(&p.first_seq))
    );
    assert_eq!(firsts(&store), Some(1));
    store.flush_history().unwrap();
    assert!(store.drop_log_before(at(1000)).unwrap() > 0);
    assert!(store.first_seq().unwrap() > 20);
    assert!(firsts(&store) > Some(20), "the log has no such group");
}

#[test]
fn lost_views_are_made_anew_from_the_roll() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path());
    let names = |n: u32| Group {
        new_agents: vec![(AgentId(n), format!("agent-{n}"))],
        new_hosts: vec![(AgentId(n), format!("host-{n}"))],
        new_metrics: vec![(MetricId(n), format!("metric-{n}"))],
        new_series: vec![(
            SeriesId(n),
            SeriesKey {
                agent: AgentId(n),
                metric: MetricId(n),
            },
        )],
        offsets: vec![("pull".into(), n.to_string())],
        ..group(u64::from(n) + 1, 2000)
    };
    let effects = Effects {
        recommendations: ["sent", "refused", "known", "waits"].map(advice).to_vec(),
        events: vec![pattern(3, PatternKind::Anomaly, "agent-1", 5)],
        ..Effects::default()
    };
    let settled = Effects {
        delivered: vec![id("sent"), id("known")],
        refused: vec![(id("refused"), "no".into())],
        evaluations: vec![Evaluation {
            optimization_id: id("known"),
            observed_improvement: 0.25,
            at: at(50),
        }],
        ..Effects::default()
    };
    for n in 0..60 {
        let mut group = names(n);
        match n {
            5 => group.effects = effects.clone(),
            6 => group.effects = settled.clone(),
            _ => {}
        }
        store.commit(&group).unwrap();
    }
    store.write_snapshot(50, &[]).unwrap();
    store.write_snapshot(60, &[]).unwrap();
    store.flush_history().unwrap();
    assert!(store.drop_log_before(at(1000)).unwrap() > 0);
    assert!(store.first_seq().unwrap() > 20);
    // The log goes on after the roll.
    store.commit(&names(60)).unwrap();
    let all = |store: &Store| {
        (
            format!("{:?}", store.names().unwrap()),
            store.offsets().unwrap(),
            store.recommendations(0, 100).unwrap(),
            store.pending(0, 100).unwrap(),
            store.patterns(&PatternQuery::default()).unwrap(),
            store.last_pattern_id().unwrap(),
        )
    };
    let before = all(&store);
    assert_eq!((before.2.len(), before.3.len(), before.5), (4, 1, 3));
    drop(store);
    fs::remove_file(dir.path().join("views.redb")).unwrap();
    assert_eq!(all(&open(dir.path())), before);
    // Without the roll there is no way.
    fs::remove_file(dir.path().join("views.redb")).unwrap();
    fs::remove_dir_all(dir.path().join("roll")).unwrap();
    assert!(matches!(
        Store::open(dir.path(), &small()),
        Err(OpenError::Damaged { .. })
    ));
}

#[test]
fn a_snapshot_that_was_given_up_leaves_nothing_behind() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path());
    commit_all(&store, (1..=9).map(|seq| group(seq, 1)));
    store.begin_snapshot(3, SeenSince::default()).unwrap();
    store.add_to_snapshot(3, "shard-0", vec![1; 100]).unwrap();
    assert!(store.wants_snapshot(3) && !store.wants_snapshot(4));
    store.begin_snapshot(5, SeenSince::default()).unwrap();
    store.add_to_snapshot(3, "shard-1", vec![2; 100]).unwrap();
    assert!(!store.complete_snapshot(3));
    assert_eq!(store.publish_snapshot().unwrap(), None, "5 is not complete");
    store.add_to_snapshot(5, "shard-0", vec![3]).unwrap();
    assert!(store.complete_snapshot(5));
    assert_eq!(store.publish_snapshot().unwrap(), Some(5));
    assert_eq!(store.publish_snapshot().unwrap(), None, "once");
    let only = vec![("shard-0".to_owned(), vec![3])];
    assert_eq!(newest_snapshot(&store), Some((5, only)));
    assert_eq!(
        fs::read_dir(dir.path().join("snapshots")).unwrap().count(),
        1
    );
}

#[test]
fn old_segments_go_as_far_as_no_snapshot_needs_them() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path());
    let groups = commit_all(&store, (1..=60).map(|seq| group(seq, 2000)));
    let n_segments = segments(dir.path()).len();
    assert!(n_segments > 4);
    assert_eq!(logged(&store, 1), groups);
    assert_eq!(
        store.drop_log_before(at(1000)).unwrap(),
        0,
        "no snapshot, so all is needed"
    );

    store.write_snapshot(40, &[]).unwrap();
    assert_eq!(
        store.drop_log_before(at(1000)).unwrap(),
        0,
        "history has none of it on disk"
    );
    store.flush_history().unwrap();
    let bytes = store.disk_bytes();
    let dropped = store.drop_log_before(at(30)).unwrap();
    assert!(dropped > 0 && store.disk_bytes() < bytes);
    let first = store.first_seq().unwrap();
    assert!(
        first > 1 && first <= 30,
        "group 30 and later ones stay: {first}"
    );
    assert_eq!(logged(&store, first), groups[first as usize - 1..]);
    match store.groups_from(first - 1).next() {
        Some(Err(ReadError::Missing { seq, next })) => assert_eq!((seq, next), (first - 1, first)),
        other => panic!("{other:?}"),
    }
    store.drop_log_before(at(1000)).unwrap();
    assert!(
        store.first_seq().unwrap() <= 41,
        "the tail after the snapshot stays"
    );
    assert_eq!(logged(&store, 41), groups[40..]);
    drop(store);
    let store = open(dir.path());
    assert_eq!(store.totals().groups, 60);
    assert_eq!(logged(&store, 41), groups[40..]);
}

#[test]
fn a_half_made_segment_is_cleared_away() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path());
    let groups = commit_all(&store, (1..=2).map(|seq| group(seq, 1)));
    drop(store);
    fs::write(
        dir.path().join("log/00000000000000000003-5.redb.new"),
        b"half",
    )
    .unwrap();
    let store = open(dir.path());
    assert_eq!(logged(&store, 1), groups);
    assert_eq!(segments(dir.path()).len(), 1);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn any_group_comes_back(
        rows in prop::collection::vec((any::<u32>(), any::<i64>(), any::<f64>(), any::<bool>()), 0..50),
        keys in prop::collection::vec((any::<u128>(), any::<u16>()), 0..50),
        names in prop::collection::vec((any::<u32>(), ".{0,20}"), 0..10),
        nanos in any::<i64>(),
        tick in any::<bool>(),
    ) {
        let dir = TempDir::new().unwrap();
        let store = open(dir.path());
        let written = Group {
            seq: 1,
            at: Timestamp::from_nanos(nanos),
            tick,
            new_agents: names.iter().map(|(n, name)| (AgentId(*n), name.clone())).collect(),
            reports: keys.iter().map(|&(key, n_samples)| StoredReport { key, n_samples }).collect(),
            samples: rows
                .iter()
                .map(|&(series, nanos, value, suspect)| Sample {
                    at: Timestamp::from_nanos(nanos),
                    value,
                    series: SeriesId(series),
                    quality: if suspect { Quality::Suspect } else { Quality::Good },
                })
                .collect(),
            ..Group::default()
        };
        store.commit(&written).unwrap();
        prop_assert_eq!(logged(&store, 1), vec![written]);
    }
}
