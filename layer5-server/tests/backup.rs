//! Backups: what comes back is what was there, also of a store that goes on; what was changed or cut is refused; nothing
//! of the data that is replaced is lost. Stores through their public door, and the command with a real service.

#![allow(
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

mod bucket;
mod service;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use layer5_core::{AgentId, MetricId, Quality, Sample, SeriesId, SeriesKey, Timestamp};
use layer5_server::backup::{
    BackupError, Kept, Key, Manifest, Present, Repository, create, present, prune, restore,
};
use layer5_server::store::{Group, Store, StoreConfig, StoredReport};
use serde_json::{Value, json};
use service::{Service, complaint, finished_task, recent_second, run, text, until};
use tempfile::TempDir;

const N_AGENTS: u32 = 20;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(1_795_000_000_000 + seconds * 1000)
}

fn config() -> StoreConfig {
    StoreConfig {
        // Several segments and blocks, however little there is.
        segment_bytes: 1 << 20,
        min_free_bytes: 0,
        head_samples: 500,
        head_samples_max: 4000,
        ..StoreConfig::default()
    }
}

fn open(dir: &Path) -> Store {
    Store::open(dir, &config()).expect("a good folder")
}

/// Group `seq`: one report of every agent, with a value that only this group has.
fn group(seq: u64) -> Group {
    let mut group = Group {
        seq,
        at: at(seq as i64),
        ..Group::default()
    };
    for agent in 0..N_AGENTS {
        if seq == 1 {
            let key = SeriesKey {
                agent: AgentId(agent),
                metric: MetricId(0),
            };
            let name = format!("agent-with-a-name-{agent}");
            group.new_agents.push((AgentId(agent), name));
            group.new_series.push((SeriesId(agent), key));
        }
        let key = u128::from(seq) << 64 | u128::from(agent);
        group.reports.push(StoredReport { key, n_samples: 1 });
        group.samples.push(Sample {
            at: at(seq as i64),
            value: seq as f64 + f64::from(agent) / 8.0,
            series: SeriesId(agent),
            quality: Quality::Good,
        });
    }
    group.offsets.push(("redis".into(), format!("{seq}-0")));
    group
}

fn fill(store: &Store, groups: std::ops::RangeInclusive<u64>) {
    for seq in groups {
        store.commit(&group(seq)).expect("committed");
        store.flush_history_if_due().expect("written");
    }
}

/// A store with a snapshot, several segments and blocks, and something in the head.
fn store_with(dir: &Path, n_groups: u64) -> Store {
    let store = open(dir);
    fill(&store, 1..=n_groups / 2);
    let parts = [("watch".to_owned(), vec![7; 5000])];
    store.write_snapshot(n_groups / 2, &parts).expect("written");
    fill(&store, n_groups / 2 + 1..=n_groups);
    store
}

struct Kit {
    folder: TempDir,
}

impl Kit {
    fn new() -> Self {
        Self {
            folder: TempDir::new().unwrap(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn key(&self, digit: char) -> Key {
        let path = self.path(&format!("key-{digit}"));
        fs::write(&path, digit.to_string().repeat(64)).unwrap();
        Key::read(&path).unwrap()
    }

    fn repository(&self, key: Option<Key>) -> Repository {
        Repository::open_or_make(&self.path("repository"), key).expect("a repository")
    }
}

fn back_up(store: &Store, repository: &Repository, seconds: i64) -> (String, Manifest) {
    create(store, repository, at(seconds), |_| true).expect("a backup")
}

fn bring_back(repository: &Repository, manifest: &Manifest, dir: &Path) {
    let restored = restore(repository, manifest, dir, false, |_| {}).expect("restored");
    assert!(!restored.waits_for_restart && restored.aside.is_none());
}

/// All that can be asked of a store, in comparable form.
fn answers(store: &Store) -> (String, Vec<Group>, Vec<Sample>) {
    let (all, end) = (Timestamp::MIN, Timestamp::MAX);
    let mut samples = Vec::new();
    for agent in 0..N_AGENTS {
        let key = (AgentId(agent), SeriesId(agent));
        store.samples(key, all, end, |s| samples.push(s)).unwrap();
    }
    samples.sort_by_key(|s| (s.series.0, s.at));
    let (names, offsets) = (store.names().unwrap(), store.offsets().unwrap());
    let contents = store.contents().unwrap();
    let groups = store.groups_from(store.first_seq().unwrap_or(1));
    let text = format!("{names:?} {offsets:?} {contents:?}");
    (text, groups.map(Result::unwrap).collect(), samples)
}

#[test]
fn what_comes_back_is_what_was_there() {
    for key in [None, Some('a')] {
        let kit = Kit::new();
        let repository = kit.repository(key.map(|digit| kit.key(digit)));
        let store = store_with(&kit.path("data"), 200);
        let expected = answers(&store);
        let (id, manifest) = back_up(&store, &repository, 0);
        // What comes later is not in it.
        fill(&store, 201..=220);
        let manifest_again = repository.manifest(&id).unwrap();
        assert_eq!(manifest_again, manifest);
        let back = kit.path("back");
        bring_back(&repository, &manifest, &back);
        let restored = open(&back);
        assert_eq!(answers(&restored), expected);
        assert_eq!(restored.latest_snapshot().unwrap().unwrap().seq, 100);
        // The same content, to the hash, and nothing new to store.
        let (_, again) = back_up(&restored, &repository, 60);
        assert_eq!(again.content_hash(), manifest.content_hash());
        assert_eq!(again.new_bytes, 0);
        // It goes on where it was.
        fill(&restored, 201..=210);
    }
}

#[test]
fn an_empty_store_comes_back_empty() {
    let kit = Kit::new();
    let repository = kit.repository(None);
    let (_, manifest) = back_up(&open(&kit.path("data")), &repository, 0);
    bring_back(&repository, &manifest, &kit.path("back"));
    assert_eq!(open(&kit.path("back")).totals().last_seq, 0);
}

#[test]
fn a_backup_of_a_store_that_is_written_is_of_one_moment() {
    let kit = Kit::new();
    let repository = kit.repository(None);
    let store = store_with(&kit.path("data"), 40);
    let mut last = 40;
    let (_, manifest) = create(&store, &repository, at(0), |_| {
        last += 1;
        store.commit(&group(last)).unwrap();
        store.flush_history().unwrap();
        true
    })
    .unwrap();
    assert!(last > 44, "several chunks, a commit after each");
    assert_eq!(manifest.contents.totals.last_seq, 40);
    bring_back(&repository, &manifest, &kit.path("back"));
    let restored = open(&kit.path("back"));
    let expected: Vec<Group> = (1..=40).map(group).collect();
    assert_eq!(answers(&restored).1, expected);
}

#[test]
fn the_second_backup_stores_what_is_new() {
    let kit = Kit::new();
    let repository = kit.repository(None);
    let store = open(&kit.path("data"));
    // Several segments of the log: what is full is not stored again.
    for seq in 1..=100 {
        let mut large = group(seq);
        large.samples = large.samples.repeat(200);
        for (i, sample) in large.samples.iter_mut().enumerate() {
            sample.value += (i as f64).sin();
        }
        large.reports.iter_mut().for_each(|r| r.n_samples = 200);
        store.commit(&large).expect("committed");
    }
    let (_, first) = back_up(&store, &repository, 0);
    let (_, same) = back_up(&store, &repository, 1);
    assert_eq!(same.new_bytes, 0);
    fill(&store, 101..=104);
    let (_, second) = back_up(&store, &repository, 2);
    assert!(second.new_bytes > 0);
    assert!(
        second.new_bytes * 4 < first.new_bytes,
        "{} after {}",
        second.new_bytes,
        first.new_bytes
    );
}

/// Every file of the repository.
fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Whether all of the repository in `dir` can be read; the way that `layer5 backup verify` takes.
fn verified(dir: &Path, key: Option<Key>) -> Result<(), BackupError> {
    let repository = Repository::open(dir, key)?;
    let manifests: Result<Vec<Manifest>, _> = repository
        .ids()?
        .iter()
        .map(|id| repository.manifest(id))
        .collect();
    repository.verify(&manifests?, |_| {}).map(|_| ())
}

#[test]
fn a_thousand_changed_and_cut_backups_are_refused() {
    let kit = Kit::new();
    let key = kit.key('a');
    let store = store_with(&kit.path("data"), 30);
    for (name, key) in [("plain", None), ("sealed", Some(key))] {
        let dir = kit.path(name);
        let repository = Repository::open_or_make(&dir, key.clone()).unwrap();
        let (_, manifest) = back_up(&store, &repository, 0);
        verified(&dir, key.clone()).expect("whole");
        let files = files(&dir);
        let mut state = 17_u64;
        let mut draw = |n: usize| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 33) as usize % n
        };
        for round in 0..500 {
            let file = &files[round % files.len()];
            let good = fs::read(file).unwrap();
            let mut bad = good.clone();
            match draw(4) {
                0 => bad.truncate(draw(good.len())),
                1 => bad.extend_from_slice(&good[..draw(good.len()) + 1]),
                _ => bad[draw(good.len())] ^= 1 << draw(8),
            }
            fs::write(file, &bad).unwrap();
            let verdict = verified(&dir, key.clone());
            assert!(verdict.is_err(), "round {round}: {}", file.display());
            if round % 50 == 0 {
                let back = kit.path("back");
                let refused = Repository::open(&dir, key.clone())
                    .and_then(|r| r.manifest(&r.find("latest")?).map(|m| (r, m)))
                    .and_then(|(r, m)| restore(&r, &m, &back, false, |_| {}));
                assert!(refused.is_err() || manifest.files.is_empty());
                assert_eq!(present(&back), Present::Empty, "nothing half done is left");
            }
            fs::write(file, &good).unwrap();
        }
        verified(&dir, key).expect("whole again");
        // A missing object is as bad as a changed one.
        let object = files
            .iter()
            .find(|f| f.parent().unwrap().ends_with("backups"));
        assert!(object.is_some());
        let object = files.iter().find(|f| !f.ends_with("repository.json"));
        fs::remove_file(object.unwrap()).unwrap();
    }
}

#[test]
fn a_sealed_repository_shows_nothing_and_opens_for_its_key_alone() {
    let kit = Kit::new();
    let store = store_with(&kit.path("data"), 20);
    let repository = kit.repository(Some(kit.key('a')));
    back_up(&store, &repository, 0);
    let dir = kit.path("repository");
    for file in files(&dir) {
        let bytes = fs::read(&file).unwrap();
        let shows = |word: &[u8]| bytes.windows(word.len()).any(|window| window == word);
        assert!(!shows(b"agent-with-a-name"), "{}", file.display());
        assert!(!shows(&b"a".repeat(64)), "{}", file.display());
    }
    let refusal = |key| Repository::open(&dir, key).unwrap_err().to_string();
    assert!(refusal(None).contains("backup.key_file"));
    assert!(refusal(Some(kit.key('b'))).contains("another key"));
    let plain = kit.path("plain");
    Repository::open_or_make(&plain, None).unwrap();
    let error = Repository::open(&plain, Some(kit.key('a'))).unwrap_err();
    assert!(error.to_string().contains("not encrypted"), "{error}");
}

#[test]
fn a_newer_repository_and_a_folder_with_something_else_are_left_alone() {
    let kit = Kit::new();
    let dir = kit.path("repository");
    kit.repository(None);
    fs::write(dir.join("repository.json"), "{\"format\":2,\"new\":1}").unwrap();
    let error = Repository::open(&dir, None).unwrap_err();
    assert!(matches!(error, BackupError::NewerFormat { found: 2, .. }));
    let other = kit.path("other");
    fs::create_dir(&other).unwrap();
    fs::write(other.join("letter.txt"), "dear").unwrap();
    let error = Repository::open_or_make(&other, None).unwrap_err();
    assert!(matches!(error, BackupError::NotEmpty(_)), "{error}");
    assert!(matches!(
        Repository::open(&other, None),
        Err(BackupError::NoRepository(_))
    ));
}

#[test]
fn data_that_is_replaced_is_set_aside() {
    let kit = Kit::new();
    let repository = kit.repository(None);
    let (_, manifest) = back_up(&store_with(&kit.path("data"), 20), &repository, 0);
    let dir = kit.path("live");
    drop(store_with(&dir, 60));
    let refused = restore(&repository, &manifest, &dir, false, |_| {});
    assert!(matches!(refused, Err(BackupError::HoldsData(_))));
    assert_eq!(open(&dir).totals().last_seq, 60);
    let restored = restore(&repository, &manifest, &dir, true, |_| {}).unwrap();
    assert_eq!(open(&dir).totals().last_seq, 20);
    let aside = restored.aside.unwrap();
    assert_eq!(open(&aside).totals().last_seq, 60);
    // A second time: both old ones are kept.
    let restored = restore(&repository, &manifest, &dir, true, |_| {}).unwrap();
    assert_ne!(restored.aside.unwrap(), aside);
    assert_eq!(open(&aside).totals().last_seq, 60);
}

#[test]
fn the_data_of_a_newer_program_is_replaced_too() {
    let kit = Kit::new();
    let repository = kit.repository(None);
    let (_, manifest) = back_up(&store_with(&kit.path("data"), 20), &repository, 0);
    let dir = kit.path("live");
    drop(store_with(&dir, 60));
    fs::write(dir.join("format"), "99\n").unwrap();
    assert_eq!(present(&dir), Present::Unreadable);
    let restored = restore(&repository, &manifest, &dir, true, |_| {}).unwrap();
    assert_eq!(open(&dir).totals().last_seq, 20);
    let aside = restored.aside.unwrap();
    assert_eq!(fs::read_to_string(aside.join("format")).unwrap(), "99\n");
}

#[test]
fn a_folder_in_use_is_replaced_at_the_next_start() {
    let kit = Kit::new();
    let repository = kit.repository(None);
    let (_, manifest) = back_up(&store_with(&kit.path("data"), 20), &repository, 0);
    let dir = kit.path("live");
    let live = store_with(&dir, 60);
    let restored = restore(&repository, &manifest, &dir, true, |_| {}).unwrap();
    assert!(restored.waits_for_restart);
    fill(&live, 61..=62);
    assert_eq!(live.totals().last_seq, 62, "it goes on until then");
    drop(live);
    assert_eq!(open(&dir).totals().last_seq, 20);
    assert_eq!(open(&dir.join("before-restore-1")).totals().last_seq, 62);
}

#[test]
fn a_restore_that_a_crash_stopped_anywhere_is_finished_at_the_next_start() {
    let kit = Kit::new();
    let repository = kit.repository(None);
    let (_, manifest) = back_up(&store_with(&kit.path("data"), 20), &repository, 0);
    let parts = [
        "log",
        "views.redb",
        "snapshots",
        "history",
        "seen",
        "roll",
        "format",
    ];
    // As far as `done` renames had come; each part takes two.
    for done in 0..=2 * parts.len() {
        let dir = kit.path(&format!("live-{done}"));
        let live = store_with(&dir, 60);
        restore(&repository, &manifest, &dir, true, |_| {}).unwrap();
        drop(live);
        let aside = dir.join("before-restore-1");
        for (i, part) in parts.iter().enumerate() {
            if done > 2 * i && dir.join(part).exists() {
                fs::create_dir_all(&aside).unwrap();
                fs::rename(dir.join(part), aside.join(part)).unwrap();
            }
            if done > 2 * i + 1 {
                fs::rename(dir.join("restore.ready").join(part), dir.join(part)).unwrap();
            }
        }
        assert_eq!(open(&dir).totals().last_seq, 20, "after {done} steps");
        assert_eq!(open(&aside).totals().last_seq, 60, "after {done} steps");
        assert!(!dir.join("restore.ready").exists());
    }
}

#[test]
fn old_backups_go_and_what_others_need_stays() {
    let kit = Kit::new();
    let repository = kit.repository(None);
    let store = store_with(&kit.path("data"), 100);
    let mut ids = Vec::new();
    for day in 0..5 {
        fill(&store, 101 + day * 10..=110 + day * 10);
        ids.push(back_up(&store, &repository, day as i64 * 86_400).0);
    }
    let kept = Kept {
        last: 1,
        daily: 2,
        weekly: 0,
    };
    let n_files = files(&kit.path("repository")).len();
    let later = SystemTime::now() + Duration::from_secs(48 * 3600);
    let would = prune(&repository, kept, later, true).unwrap();
    assert_eq!(files(&kit.path("repository")).len(), n_files, "a dry run");
    let pruned = prune(&repository, kept, later, false).unwrap();
    assert_eq!(pruned, would);
    assert_eq!(pruned.backups, ids[..3]);
    assert!(pruned.objects > 0 && pruned.bytes > 0);
    verified(&kit.path("repository"), None).expect("the others are whole");
    // Young objects stay: a backup under way may be about to name them.
    fs::remove_file(kit.path("repository/backups").join(&ids[3])).unwrap();
    let pruned = prune(&repository, kept, SystemTime::now(), false).unwrap();
    assert_eq!((pruned.backups.len(), pruned.objects), (0, 0));
    // Where a manifest can't be read, nobody knows what it needs.
    let manifest = kit.path("repository/backups").join(&ids[4]);
    fs::write(&manifest, "damaged").unwrap();
    assert!(prune(&repository, kept, later, false).is_err());
}

fn layer5(arguments: &[&str]) -> Value {
    let output = run(&[arguments, &["--output", "json"]].concat());
    assert!(output.status.success(), "{}", complaint(&output));
    serde_json::from_str(&text(&output)).expect("JSON")
}

#[test]
fn a_running_service_is_backed_up_and_brought_back_by_the_command() {
    let kit = Kit::new();
    let (data, back) = (kit.path("data"), kit.path("back"));
    let repository = kit.path("repository").display().to_string();
    let settings = [
        ("BACKUP__REPOSITORY", repository.as_str()),
        ("BACKUP__EVERY_HOURS", "0"),
    ];
    let service = Service::start_with(&data, &settings, None);
    let age = "layer5_backup_age_seconds";
    assert!(!service.metrics_page().lines().any(|l| l.starts_with(age)));
    let at = json!(recent_second());
    let send = |service: &Service, tasks: std::ops::Range<u32>| {
        for task in tasks {
            let report = finished_task("agent_1", &format!("t-{task}"), &at);
            assert_eq!(service.post("/kpi", &report).json(200)["accepted"], 1);
        }
    };
    send(&service, 0..10);
    let url = format!("http://{}", service.api);
    let made = layer5(&["backup", "create", "--url", &url]);
    assert!(made["bytes"].as_u64() > Some(0), "{made}");
    until("the age is on the page", || {
        let page = service.metrics_page();
        page.lines().find(|l| l.starts_with(age)).map(drop)
    });
    send(&service, 10..15);
    assert!(layer5(&["backup", "create", "--url", &url])["id"].is_string());

    let repository = ["--repository", &repository];
    let listed = layer5(&[&["backup", "list"][..], &repository].concat());
    assert_eq!(listed["backups"].as_array().map(Vec::len), Some(2));
    let verified = layer5(&[&["backup", "verify"][..], &repository].concat());
    assert!(verified["objects"].as_u64() > Some(3), "{verified}");
    let id = made["id"].as_str().unwrap();
    let dir = back.display().to_string();
    let aim = ["backup", "restore", id, "--data-dir", &dir];
    let dry = layer5(&[&aim[..], &repository, &["--dry-run"]].concat());
    assert_eq!(
        (&dry["now"]["reports"], &dry["then"]["reports"]),
        (&json!(0), &json!(10))
    );
    assert!(!back.join("log").exists());
    let restored = layer5(&[&aim[..], &repository].concat());
    assert_eq!(restored["content"], listed["backups"][0]["content"]);
    let again = run(&[&aim[..], &repository].concat());
    assert_eq!(again.status.code(), Some(73), "{}", complaint(&again));

    let brought_back = Service::start(&back);
    assert_eq!(brought_back.status()["reports"]["stored"], 10);
    // What it knew it still knows: the same report counts once.
    let report = finished_task("agent_1", "t-3", &at);
    assert_eq!(
        brought_back.post("/kpi", &report).json(200)["duplicates"],
        1
    );
    send(&brought_back, 20..21);
    assert_eq!(brought_back.status()["reports"]["stored"], 11);
}

#[test]
fn a_service_makes_backups_by_itself_and_says_when_it_cannot() {
    let kit = Kit::new();
    let repository = kit.path("repository").display().to_string();
    let settings = [("BACKUP__REPOSITORY", repository.as_str())];
    let service = Service::start_with(&kit.path("data"), &settings, None);
    until("the first backup is made without being asked", || {
        service.said("backup made").map(drop)
    });
    drop(service);
    // In the place of its folder lies a file.
    let other = kit.path("key-a").display().to_string();
    kit.key('a');
    let settings = [("BACKUP__REPOSITORY", other.as_str())];
    let service = Service::start_with(&kit.path("data-2"), &settings, None);
    let error = until("the failure is told", || {
        let state = service.get("/api/v1/backups").json(200);
        state["error"].as_str().map(str::to_owned)
    });
    assert!(error.contains("key-a"), "{error}");
    let output = run(&[
        "backup",
        "create",
        "--url",
        &format!("http://{}", service.api),
    ]);
    assert_eq!(output.status.code(), Some(74), "{}", complaint(&output));
    drop(service);
    let service = Service::start(&kit.path("data-3"));
    let refused = service.post("/api/v1/backups", &json!({}));
    assert!(refused.problem(409).contains("backup.repository"));
}

#[test]
fn mistakes_are_answered_with_the_way_out() {
    let kit = Kit::new();
    let none = kit.path("none").display().to_string();
    let check = |arguments: &[&str], code: i32, words: &str| {
        let output = run(arguments);
        let said = complaint(&output);
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.contains(words), "{said}");
    };
    check(&["backup", "list"], 2, "--repository");
    check(
        &["backup", "list", "--repository", &none],
        66,
        "no backup repository",
    );
    kit.repository(None);
    let there = kit.path("repository").display().to_string();
    check(
        &["backup", "restore", "2031", "--repository", &there],
        66,
        "layer5 backup list",
    );
    check(
        &[
            "backup",
            "create",
            "--data-dir",
            &none,
            "--repository",
            &there,
        ],
        66,
        "no data folder",
    );
}
