//! `layer5 repair`: damage of every kind is found and named, nothing is changed by looking, and what could be read is there
//! afterwards in a folder that opens.

#![allow(
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

mod service;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use layer5_core::{AgentId, MetricId, Quality, Sample, SeriesId, SeriesKey, Timestamp};
use layer5_server::store::{Group, OpenError, Repair, Store, StoreConfig, StoredReport};
use tempfile::TempDir;

const N_GROUPS: u64 = 40;

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_millis(1_795_000_000_000 + 1000 * seconds as i64)
}

fn config() -> StoreConfig {
    StoreConfig {
        segment_bytes: 256 << 10,
        min_free_bytes: 0,
        ..StoreConfig::default()
    }
}

/// A thousand reports of ten agents with values that only this group has.
fn group(seq: u64) -> Group {
    let mut group = Group {
        seq,
        at: at(seq),
        ..Group::default()
    };
    for i in 0..1000_u32 {
        let series = SeriesId(i % 10);
        if seq == 1 && i < 10 {
            let (agent, metric) = (AgentId(i), MetricId(0));
            group.new_agents.push((agent, format!("agent_{i}")));
            group.new_series.push((series, SeriesKey { agent, metric }));
        }
        let key = u128::from(seq) << 64 | u128::from(i);
        group.reports.push(StoredReport { key, n_samples: 1 });
        group.samples.push(Sample {
            at: at(seq),
            value: (f64::from(i) + 0.37).sqrt() * seq as f64,
            series,
            quality: Quality::Good,
        });
    }
    group
}

/// A folder with several segments, two snapshots and two blocks of history.
fn filled() -> TempDir {
    let dir = TempDir::new().unwrap();
    let store = Store::open(dir.path(), &config()).unwrap();
    for seq in 1..=N_GROUPS {
        store.commit(&group(seq)).unwrap();
        if seq == 10 || seq == 20 {
            store.flush_history().unwrap();
            let parts = [("shard-0".to_owned(), vec![7; 5000])];
            store.write_snapshot(seq, &parts).unwrap();
        }
    }
    store.checkpoint().unwrap();
    drop(store);
    dir
}

fn contents(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(contents(&path));
        } else if path.file_name().unwrap() != "lock" {
            found.insert(path.clone(), fs::read(path).unwrap());
        }
    }
    found
}

fn files(dir: &Path, of: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir.join(of)).unwrap();
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// A page in the middle, long since durable.
fn spoil(file: &Path) {
    let mut bytes = fs::read(file).unwrap();
    let middle = bytes.len() / 3 / 4096 * 4096;
    let end = bytes.len().min(middle + 4096);
    bytes[middle..end].fill(0xA5);
    fs::write(file, bytes).unwrap();
}

/// Examines twice, and applies; returns the file that was found damaged.
fn mend(dir: &Path) -> PathBuf {
    let before = contents(dir);
    let repair = Repair::examine(dir).unwrap();
    assert!(!repair.is_whole());
    let damaged: Vec<_> = repair
        .examined()
        .iter()
        .filter(|file| file.damage.is_some())
        .collect();
    assert_eq!(damaged.len(), 1, "{damaged:?}");
    assert!(!damaged[0].remedy.is_empty());
    let file = damaged[0].file.clone();
    drop(repair);
    assert_eq!(contents(dir), before, "looking changes nothing");
    let aside = Repair::examine(dir).unwrap().apply().unwrap();
    assert_eq!(fs::read_dir(&aside).unwrap().count(), 1);
    assert!(Repair::examine(dir).unwrap().is_whole());
    file
}

#[test]
fn a_whole_folder_is_whole() {
    let dir = filled();
    let before = contents(dir.path());
    let repair = Repair::examine(dir.path()).unwrap();
    assert!(repair.is_whole());
    // Two snapshots, two blocks, the views, and the segments.
    let n_segments = files(dir.path(), "log").len();
    assert!(n_segments > 3);
    assert_eq!(repair.examined().len(), 5 + n_segments);
    assert!(matches!(
        Store::open(dir.path(), &config()),
        Err(OpenError::InUse { .. })
    ));
    drop(repair);
    assert_eq!(contents(dir.path()), before);
    assert!(Repair::examine(&dir.path().join("nowhere")).is_err());
}

#[test]
fn every_group_that_can_be_read_is_kept_and_the_others_are_left_empty() {
    let n_segments = files(filled().path(), "log").len();
    for damaged in [0, 1, n_segments - 1] {
        let dir = filled();
        let file = files(dir.path(), "log")[damaged].clone();
        spoil(&file);
        // The newest is read at start, and stops it.
        if damaged == n_segments - 1 {
            let opened = Store::open(dir.path(), &config());
            assert!(matches!(opened, Err(OpenError::Damaged { file: named, .. }) if named == file));
        }
        assert_eq!(mend(dir.path()), file);
        let store = Store::open(dir.path(), &config()).unwrap();
        assert_eq!(store.totals().last_seq, N_GROUPS);
        let mut n_lost = 0;
        for (seq, read) in (1..=N_GROUPS).zip(store.groups_from(1)) {
            let read = read.unwrap();
            if read.samples.is_empty() {
                n_lost += 1;
                assert_eq!((read.seq, read.reports.len()), (seq, 0));
            } else {
                assert_eq!(read, group(seq));
            }
        }
        assert!((1..=N_GROUPS / 2).contains(&n_lost), "{n_lost} lost");
        store.commit(&group(N_GROUPS + 1)).unwrap();
    }
}

#[test]
fn a_damaged_snapshot_a_block_and_the_views_are_mended() {
    let dir = filled();
    let snapshot = files(dir.path(), "snapshots").pop().unwrap();
    spoil(&snapshot);
    assert_eq!(mend(dir.path()), snapshot);
    let store = Store::open(dir.path(), &config()).unwrap();
    assert_eq!(store.latest_snapshot().unwrap().unwrap().seq, 10);

    drop(store);
    let dir = filled();
    let block = files(dir.path(), "history")[0].clone();
    let mut bytes = fs::read(&block).unwrap();
    bytes[10] ^= 1;
    fs::write(&block, bytes).unwrap();
    assert_eq!(mend(dir.path()), block);
    let store = Store::open(dir.path(), &config()).unwrap();
    let count = |agent: u32| {
        let mut n = 0;
        let key = (AgentId(agent), SeriesId(agent));
        store.samples(key, at(0), at(1000), |_| n += 1).unwrap();
        n
    };
    // The first agent's chunk of ten groups was hit; the others have all.
    assert_eq!((count(0), count(1), count(9)), (3000, 4000, 4000));

    drop(store);
    let dir = filled();
    let views = dir.path().join("views.redb");
    let bytes = fs::read(&views).unwrap();
    fs::write(&views, &bytes[..bytes.len() / 2]).unwrap();
    assert_eq!(mend(dir.path()), views);
    let store = Store::open(dir.path(), &config()).unwrap();
    assert_eq!(store.names().unwrap().agents.len(), 10);
}

#[test]
fn the_command_says_what_it_found_and_mends_only_when_told() {
    let dir = filled();
    let folder = dir.path().to_str().unwrap();
    let output = service::run(&["repair", folder]);
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}",
        service::complaint(&output)
    );
    assert!(
        service::text(&output)
            .lines()
            .all(|line| line.contains("whole"))
    );

    let segment = files(dir.path(), "log")[1].clone();
    spoil(&segment);
    let output = service::run(&["repair", folder]);
    assert_eq!(output.status.code(), Some(65));
    let text = service::text(&output);
    let line = text.lines().find(|line| line.contains("DAMAGED")).unwrap();
    assert!(line.starts_with(segment.to_str().unwrap()), "{line}");
    let output = service::run(&["repair", folder, "--apply", "--output", "json"]);
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}",
        service::complaint(&output)
    );
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["whole"], false);
    let output = service::run(&["repair", folder]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(
        service::run(&["repair", "/nonexistent"]).status.code(),
        Some(66)
    );
}
