//! What was acknowledged is there after `kill -9`, and once: twenty times load over HTTP, SIGKILL at a random moment and
//! a start on what is left; then the orderly ways to stop, and the ways in which a start is refused.
//! The moments come from a seed that a failure prints; where in the service they strike is up to the machine.

mod service;

use std::{
    collections::BTreeSet,
    net::TcpListener,
    path::Path,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use layer5_server::clock;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use serde_json::{Value, json};
use service::{Service, call, finished_task, recent_second, until};

/// Kills.
const ROUNDS: usize = 20;
/// Senders at the same time.
const SENDERS: usize = 3;
/// Reports in one request.
const BATCH_LEN: usize = 40;
/// The latest moment of a kill after the first answer of a round.
const KILL_WITHIN_MILLIS: u64 = 150;
const SEED: u64 = 2026;

/// One request's reports, and whether the service said that it has them.
#[derive(Clone, Debug)]
struct Sent {
    lines: String,
    acknowledged: bool,
}

/// Sends until the service is gone.
fn load(
    service: &Service,
    round: usize,
    sender: usize,
    gone: &AtomicBool,
    answered: &AtomicUsize,
) -> Vec<Sent> {
    let mut sent = Vec::new();
    let at = json!(recent_second());
    while !gone.load(Ordering::Relaxed) {
        let n = sent.len();
        let reports = (0..BATCH_LEN).map(|i| {
            let agent = format!("agent_{}", i % 10);
            finished_task(&agent, &format!("r{round}-s{sender}-{n}-{i}"), &at).to_string() + "\n"
        });
        let lines: String = reports.collect();
        let headers = [("Content-Type", "application/x-ndjson")];
        let acknowledged = match call(service.api, "POST", "/kpi", &headers, lines.as_bytes()) {
            Ok(answer) => {
                let body = answer.json(200);
                assert_eq!(
                    body,
                    json!({ "accepted": BATCH_LEN, "duplicates": 0, "rejected": [] })
                );
                answered.fetch_add(1, Ordering::Relaxed);
                true
            }
            // Cut off in the middle, or nobody there any more: it may be stored or not.
            Err(_) => false,
        };
        sent.push(Sent {
            lines,
            acknowledged,
        });
        if !acknowledged {
            break;
        }
    }
    sent
}

/// `layer5 status --output json` of a running service.
fn status(service: &Service) -> Value {
    let output = service::run(&[
        "status",
        "--output",
        "json",
        "--url",
        &format!("http://{}", service.api),
    ]);
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}",
        service::complaint(&output)
    );
    serde_json::from_slice(&output.stdout).expect("status prints JSON")
}

fn stored(service: &Service) -> usize {
    let status = status(service);
    let (reports, samples) = (&status["reports"]["stored"], &status["samples"]["stored"]);
    let reports = reports.as_u64().expect("a count");
    // Each of our reports has four metrics: none is stored in part.
    assert_eq!(samples.as_u64(), Some(4 * reports), "{status}");
    reports as usize
}

#[test]
fn twenty_kills_lose_nothing_that_was_acknowledged_and_double_nothing() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let data_dir = folder.path().join("data");
    // A snapshot every few requests, so that kills strike during and between them.
    let settings = [
        ("STORE__SNAPSHOT_SAMPLES", "1500"),
        ("PIPELINE__TICK_MILLIS", "20"),
    ];
    let mut rng = Pcg64Mcg::seed_from_u64(SEED);
    let mut all: Vec<Sent> = Vec::new();
    let mut n_stored = 0;
    let mut n_unanswered = 0;
    for round in 0..ROUNDS {
        let service = Service::start_with(&data_dir, &settings, None);
        assert_eq!(stored(&service), n_stored, "round {round}, seed {SEED}");
        let moment = Duration::from_micros(rng.random_range(0..KILL_WITHIN_MILLIS * 1000));
        let (gone, answered) = (AtomicBool::new(false), AtomicUsize::new(0));
        let sent = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for sender in 0..SENDERS {
                let (service, gone, answered, sent) = (&service, &gone, &answered, &sent);
                scope.spawn(move || {
                    let mine = load(service, round, sender, gone, answered);
                    sent.lock().expect("no holder panics").extend(mine);
                });
            }
            until("the first answer", || {
                (answered.load(Ordering::Relaxed) > 0).then_some(())
            });
            // Nothing is waited for here: the moment is what is drawn.
            std::thread::sleep(moment);
            kill(service.pid());
            gone.store(true, Ordering::Relaxed);
        });
        service.kill();
        let sent = sent.into_inner().expect("no holder panics");
        let acknowledged = sent.iter().filter(|s| s.acknowledged).count() * BATCH_LEN;
        let unanswered = sent.iter().filter(|s| !s.acknowledged).count() * BATCH_LEN;
        n_unanswered += unanswered;

        let service = Service::start_with(&data_dir, &settings, None);
        let found = stored(&service) - n_stored;
        assert!(
            (acknowledged..=acknowledged + unanswered).contains(&found),
            "round {round}, seed {SEED}, {moment:?}: {found} of {acknowledged} acknowledged and {unanswered} unanswered"
        );
        // Whoever had no answer sends again; whoever had one may do so too.
        let mut accepted_now = 0;
        for Sent {
            lines,
            acknowledged,
        } in &sent
        {
            let answer = service.post_lines(lines).json(200);
            let (new, known) = (&answer["accepted"], &answer["duplicates"]);
            assert_eq!(
                new.as_u64().zip(known.as_u64()).map(|(a, b)| a + b),
                Some(BATCH_LEN as u64)
            );
            if *acknowledged {
                assert_eq!(
                    new, 0,
                    "round {round}, seed {SEED}: acknowledged and not known"
                );
            }
            accepted_now += new.as_u64().expect("a count") as usize;
        }
        assert_eq!(found + accepted_now, acknowledged + unanswered);
        n_stored += sent.len() * BATCH_LEN;
        assert_eq!(stored(&service), n_stored);
        service.kill();
        all.extend(sent);
    }
    // Kills that strike between two requests only would prove little.
    assert!(n_unanswered > 0, "no request was under way at any kill");

    let mut service = Service::start_with(&data_dir, &settings, None);
    // In parts, as a fast machine sends more than one body may hold.
    for part in all.chunks(100) {
        let lines: String = part.iter().map(|sent| sent.lines.as_str()).collect();
        let answer = service.post_lines(&lines).json(200);
        let n = part.len() * BATCH_LEN;
        assert_eq!(
            answer,
            json!({ "accepted": 0, "duplicates": n, "rejected": [] })
        );
    }
    assert_eq!(stored(&service), n_stored);
    assert_eq!(patterns_without_twins(&service), Ok(()));

    assert_eq!(service.terminate().code(), Some(0));
    let service = Service::start_with(&data_dir, &settings, None);
    let rebuilt = service
        .said("state rebuilt")
        .expect("it says how it started");
    assert_eq!(
        rebuilt["n_samples"], 0,
        "the snapshot of the stop makes a replay needless: {rebuilt}"
    );
    assert!(rebuilt["snapshot_seq"].as_u64().is_some_and(|seq| seq > 0));
    assert_eq!(service.get("/ready").status, 200);
    assert_eq!(stored(&service), n_stored);
}

/// SIGKILL, while the load is still running.
fn kill(pid: u32) {
    let killed = std::process::Command::new("sh")
        .args(["-c", &format!("kill -9 {pid}")])
        .status();
    assert!(killed.is_ok_and(|status| status.success()));
}

/// Whether any pattern is stored twice; its line if so.
fn patterns_without_twins(service: &Service) -> Result<(), Value> {
    let mut seen = BTreeSet::new();
    let mut after = 0;
    loop {
        let page = service
            .get(&format!("/api/v1/patterns?limit=1000&after={after}"))
            .json(200);
        for pattern in page["patterns"].as_array().expect("a list") {
            let mut what = pattern.clone();
            what.as_object_mut().expect("an object").remove("id");
            if !seen.insert(what.to_string()) {
                return Err(pattern.clone());
            }
        }
        match page["next_after"].as_u64() {
            Some(next) => after = next,
            None => return Ok(()),
        }
    }
}

#[test]
fn a_stop_answers_what_was_taken_and_a_start_remembers_the_fleet() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let data_dir = folder.path().join("data");
    let mut service = Service::start(&data_dir);
    let at = json!(clock::now());
    let mut report = finished_task("agent_1", "t", &at);
    report["execution_context"] = json!({ "hostname": "host-1" });
    service.post("/kpi", &report).json(200);
    let buffered = service.post("/kpi?ack=buffered", &finished_task("agent_2", "t", &at));
    assert_eq!(buffered.json(200)["accepted"], 1);
    assert_eq!(service.terminate().code(), Some(0));
    assert!(service.said("snapshot written").is_some());

    let service = Service::start(&data_dir);
    assert_eq!(
        service.status()["reports"]["stored"],
        2,
        "what was buffered at SIGTERM is kept"
    );
    let agents = service.get("/api/v1/agents").json(200);
    assert_eq!(agents["agents"][0]["host"], "host-1");
    assert_eq!(agents["total"], 2);
    let agent = service.get("/api/v1/agents/agent_1").json(200);
    assert_eq!(agent["series"].as_array().map(Vec::len), Some(4));
    assert_eq!(
        agent["series"][0]["n"], 1,
        "the snapshot holds what the watches knew"
    );
}

#[test]
fn a_start_recognises_what_came_before_whatever_is_left_of_snapshots_and_seen() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let data_dir = folder.path().join("data");
    let settings = [("STORE__SNAPSHOT_SAMPLES", "1500")];
    let at = json!(recent_second());
    let lines: Vec<String> = (0..40)
        .map(|n| {
            let reports = (0..BATCH_LEN).map(|i| {
                let agent = format!("agent_{}", i % 10);
                finished_task(&agent, &format!("{n}-{i}"), &at).to_string() + "\n"
            });
            reports.collect()
        })
        .collect();
    let service = Service::start_with(&data_dir, &settings, None);
    for body in &lines {
        service.post_lines(body).json(200);
    }
    until("a snapshot", || service.said("snapshot written"));
    service.kill();
    let files = |dir: &str| -> Vec<std::path::PathBuf> {
        let entries = std::fs::read_dir(data_dir.join(dir)).expect("a folder");
        let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
        paths.retain(|path| path.extension().is_some_and(|e| e == "l5"));
        paths.sort();
        paths
    };
    let spoil = |path: &std::path::PathBuf| {
        let mut bytes = std::fs::read(path).expect("it is there");
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0x40;
        std::fs::write(path, bytes).expect("the disk takes it");
    };
    let check = |what: &str| {
        let service = Service::start_with(&data_dir, &settings, None);
        assert_eq!(service.status()["reports"]["stored"], 40 * BATCH_LEN);
        for body in &lines {
            let answer = service.post_lines(body).json(200);
            assert_eq!(answer["duplicates"], BATCH_LEN, "{what}");
        }
        service.kill();
    };
    check("all is whole");
    assert!(!files("seen").is_empty() && !files("snapshots").is_empty());
    spoil(&files("seen")[0]);
    check("a file of what was seen is damaged");
    std::fs::remove_dir_all(data_dir.join("seen")).expect("it is there");
    check("nothing of what was seen is left");
    files("snapshots").iter().for_each(spoil);
    check("every snapshot is damaged");
    std::fs::remove_file(data_dir.join("views.redb")).expect("it is there");
    check("the views are lost, and the log has all of it");
}

/// How a start that must fail ended: its exit code and what it said.
fn refused_start(
    data_dir: &Path,
    settings: &[(&str, &str)],
    config: Option<&str>,
) -> (Option<i32>, String) {
    let mut process = service::command(data_dir, settings, config)
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("layer5 can be run");
    let ended = until("a start that can't succeed ends", || {
        process.try_wait().expect("a child can be asked")
    });
    let output = process.wait_with_output().expect("it has ended");
    (ended.code(), service::complaint(&output))
}

#[test]
fn a_folder_in_use_is_refused_with_the_number_of_who_holds_it() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let data_dir = folder.path().join("data");
    let first = Service::start(&data_dir);
    let (code, complaint) = refused_start(&data_dir, &[], None);
    assert_eq!(code, Some(75), "{complaint}");
    assert!(complaint.contains(&first.pid().to_string()), "{complaint}");
    assert!(
        complaint.contains(data_dir.to_str().expect("UTF-8")),
        "{complaint}"
    );
    let report = finished_task("a", "1", &json!(clock::now()));
    assert_eq!(
        first.post("/kpi", &report).json(200)["accepted"],
        1,
        "the first goes on undisturbed"
    );
    first.kill();
    // A killed owner leaves no lock behind.
    assert_eq!(Service::start(&data_dir).status()["reports"]["stored"], 1);
}

#[test]
fn a_typo_in_the_configuration_is_named_with_file_line_and_the_nearest_key() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let data_dir = folder.path().join("data");
    let typo = "[http]\n# where\nlisen = \"127.0.0.1:0\"\n";
    let (code, complaint) = refused_start(&data_dir, &[], Some(typo));
    assert_eq!(code, Some(78), "{complaint}");
    let place = format!("{}:3:", data_dir.with_extension("toml").display());
    assert!(
        complaint.contains(&place) && complaint.contains("`lisen`"),
        "{complaint}"
    );
    assert!(complaint.contains("did you mean `listen`?"), "{complaint}");

    let (code, complaint) = refused_start(&data_dir, &[("PIPELINE__SHRADS", "2")], None);
    assert_eq!(code, Some(78), "{complaint}");
    assert!(
        complaint.contains("LAYER5_PIPELINE__SHRADS") && complaint.contains("`shards`"),
        "{complaint}"
    );
    let (code, complaint) = refused_start(&data_dir, &[], Some("[store]\nraw_days = -1\n"));
    assert_eq!(code, Some(78), "{complaint}");
    assert!(complaint.contains("store.raw_days = -1"), "{complaint}");
    let output = service::command(&data_dir, &[], Some(typo))
        .arg("--check")
        .output()
        .expect("it runs");
    assert_eq!(output.status.code(), Some(78));
    let output = service::command(&data_dir, &[], Some("[http]\nrequests_max = 9\n"))
        .arg("--check")
        .output();
    assert!(output.is_ok_and(|output| output.status.success()));
    assert!(
        !data_dir.exists(),
        "nothing is made for a configuration that is refused, or only checked"
    );
}

#[test]
fn a_port_that_is_taken_is_named_with_its_key() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("it is bound").to_string();
    for (setting, key) in [
        ("HTTP__LISTEN", "http.listen"),
        ("METRICS__LISTEN", "metrics.listen"),
    ] {
        let (code, complaint) =
            refused_start(&folder.path().join("data"), &[(setting, &address)], None);
        assert_eq!(code, Some(1), "{complaint}");
        for part in [key, &address, "another port"] {
            assert!(complaint.contains(part), "`{part}` is not in: {complaint}");
        }
    }
}
