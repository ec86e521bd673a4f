//! A real disk that is full, the data's or the backups', and one whose fsync fails: what senders see, and that it ends well.
//! How: a small tmpfs (needs root), and `strace -e inject` on the running service. Skipped with a message where those are
//! not to be had, unless LAYER5_REQUIRE_TOOLS=1.

mod service;

use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use layer5_server::clock;
use serde_json::json;
use service::{Service, call, complaint, finished_task, run, until};

/// Says why a test proves nothing here; a failure where everything must be there.
fn left_out(what: &str) {
    assert!(
        std::env::var("LAYER5_REQUIRE_TOOLS").as_deref() != Ok("1"),
        "{what}, and LAYER5_REQUIRE_TOOLS=1"
    );
    eprintln!("skipped: {what}");
}

/// A tmpfs that goes with this value.
struct SmallDisk<'a>(&'a Path);

impl<'a> SmallDisk<'a> {
    fn mount(at: &'a Path, mib: u32) -> Option<Self> {
        let size = format!("size={mib}m");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "layer5-test"])
            .arg(at)
            .stderr(Stdio::null())
            .status();
        mounted
            .is_ok_and(|status| status.success())
            .then_some(Self(at))
    }
}

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        let _gone = Command::new("umount").arg("-l").arg(self.0).status();
    }
}

fn report(task: &str) -> serde_json::Value {
    finished_task("agent_1", task, &json!(clock::now()))
}

#[test]
fn a_full_disk_refuses_writes_answers_reads_and_recovers_by_itself() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let Some(disk) = SmallDisk::mount(folder.path(), 160) else {
        return left_out("no tmpfs can be mounted here");
    };
    let service = Service::start(&disk.0.join("data"));
    assert_eq!(service.post("/kpi", &report("a")).json(200)["accepted"], 1);
    // 64 MiB are kept free (see `store::StoreConfig`); 40 are left.
    let hog = disk.0.join("hog");
    fs::write(&hog, vec![0; 115 << 20]).expect("there is room for it");

    let lost = report("b");
    let detail = service.post("/kpi", &lost).problem(503);
    assert!(!detail.is_empty());
    let refused = service.post("/kpi", &report("c"));
    assert_eq!(refused.header("retry-after"), Some("5"));
    assert!(refused.problem(503).contains("disk"), "the reason is told");
    let ready = service.get("/ready");
    assert_eq!(ready.status, 503);
    assert_eq!(
        service.get("/health").status,
        200,
        "a restart would not help"
    );
    // Reads are served all the while.
    let history = service.get("/api/v1/series/agent_1/latency_ms").json(200);
    assert_eq!(history["samples"].as_array().map(Vec::len), Some(1));
    assert_eq!(service.get("/api/v1/agents").json(200)["total"], 1);

    fs::remove_file(&hog).expect("it is ours");
    let freed = Instant::now();
    until("it is ready again", || {
        (service.get("/ready").status == 200).then_some(())
    });
    assert!(
        freed.elapsed() <= Duration::from_secs(5),
        "{:?}",
        freed.elapsed()
    );
    let again = service.post("/kpi", &lost).json(200);
    let n = |key: &str| again[key].as_u64().unwrap_or(0);
    assert_eq!(n("accepted") + n("duplicates"), 1, "stored once: {again}");
    assert_eq!(service.status()["reports"]["stored"], 2);
    service.kill();
}

#[test]
fn a_full_backup_disk_costs_the_backup_and_nothing_else() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let place = folder.path().join("backups");
    fs::create_dir(&place).expect("made");
    let Some(disk) = SmallDisk::mount(&place, 8) else {
        return left_out("no tmpfs can be mounted here");
    };
    let repository = disk.0.join("repository").display().to_string();
    let settings = [
        ("BACKUP__REPOSITORY", repository.as_str()),
        ("BACKUP__EVERY_HOURS", "0"),
    ];
    let service = Service::start_with(&folder.path().join("data"), &settings, None);
    assert_eq!(service.post("/kpi", &report("a")).json(200)["accepted"], 1);
    let url = format!("http://{}", service.api);
    let create = || run(&["backup", "create", "--url", &url]);
    let hog = disk.0.join("hog");
    fs::write(&hog, vec![0; 9 << 20]).expect_err("it is larger than the disk");

    let output = create();
    let said = complaint(&output);
    assert_eq!(output.status.code(), Some(74), "{said}");
    assert!(said.contains("No space left on device"), "{said}");
    assert_eq!(service.post("/kpi", &report("b")).json(200)["accepted"], 1);

    fs::remove_file(hog).expect("it was written");
    let output = create();
    assert!(output.status.success(), "{}", complaint(&output));
    let output = run(&["backup", "verify", "--repository", &repository]);
    assert!(output.status.success(), "{}", complaint(&output));
}

/// strace on a running service; every fdatasync from here on fails.
fn break_fsync(pid: u32) -> Option<Child> {
    let log = Stdio::piped();
    let mut strace = Command::new("strace")
        .args(["-f", "-qq", "-e", "trace=fdatasync"])
        .args(["-e", "inject=fdatasync:error=EIO", "-p", &pid.to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .ok()?;
    let status = format!("/proc/{pid}/task");
    let attached = || {
        let tasks = fs::read_dir(&status).into_iter().flatten().flatten();
        let mut states =
            tasks.filter_map(|task| fs::read_to_string(task.path().join("status")).ok());
        states.all(|state| !state.contains("TracerPid:\t0"))
    };
    let begun = Instant::now();
    while !attached() {
        let ended = strace.try_wait().ok().flatten();
        if ended.is_some() || begun.elapsed() > Duration::from_secs(20) {
            let _gone = strace.kill();
            return None;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Some(strace)
}

#[test]
fn a_failed_fsync_ends_the_service_and_loses_nothing() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let data_dir = folder.path().join("data");
    let mut service = Service::start(&data_dir);
    for task in ["a", "b", "c"] {
        assert_eq!(service.post("/kpi", &report(task)).json(200)["accepted"], 1);
    }
    let Some(mut strace) = break_fsync(service.pid()) else {
        return left_out("strace can't be had, or may not trace");
    };
    let body = report("d").to_string();
    let json = [("Content-Type", "application/json")];
    let answer = call(service.api, "POST", "/kpi", &json, body.as_bytes());
    let failed = Instant::now();
    assert!(answer.is_ok_and(|answer| answer.status == 503), "no yes");
    until("it is unready", || {
        match call(service.api, "GET", "/ready", &[], b"") {
            Ok(answer) => (answer.status == 503).then_some(()),
            // It listens no more.
            Err(_) => Some(()),
        }
    });
    assert!(
        failed.elapsed() <= Duration::from_secs(1),
        "{:?}",
        failed.elapsed()
    );
    let ended = until("it exits", || service.ended());
    assert_eq!(ended.code(), Some(74));
    let _gone = strace.kill();
    let _gone = strace.wait();

    let service = Service::start(&data_dir);
    let stored = service.status()["reports"]["stored"].as_u64();
    // What was not acknowledged may be there, whole.
    assert!(matches!(stored, Some(3 | 4)), "{stored:?}");
    assert_eq!(service.post("/kpi", &report("e")).json(200)["accepted"], 1);
    service.kill();
}
