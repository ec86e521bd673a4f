//! What an earlier version wrote is read by this one: data folders that were packed when their version was released, and
//! what stood in them. `UPDATE=1` packs one of this version; older ones are never written again.
//! A folder of a newer format is refused, and nothing in it is changed.

mod service;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use redb::{Database, TableDefinition};
use serde_json::{Value, json};
use service::{Service, command, layer5, until};

/// The version whose folder `UPDATE=1` packs.
const THIS: &str = concat!("data-", env!("CARGO_PKG_VERSION"));
/// Old samples would be dropped, and old reports refused: the clock of a fixture stands still.
const SETTINGS: [(&str, &str); 4] = [
    ("STORE__RAW_DAYS", "36500"),
    ("STORE__AGGREGATE_DAYS", "36500"),
    ("LIMITS__MAX_AGE_SECONDS", "3e9"),
    ("PIPELINE__SHARDS", "1"),
];
const COHORT: &str = "[[cohort]]\nname = \"fleet\"\nwindow_len = 30\n[[cohort.parameter]]\nname = \"concurrency\"\n\
                      type = \"int\"\nlow = 1\nhigh = 64\nlog = true\ninitial = 8\n";
/// Seconds since the epoch at which the fixture's reports begin.
const BEGIN: i64 = 1_795_000_000;

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

fn start(folder: &Path) -> Service {
    Service::start_with(folder, &SETTINGS, Some(COHORT))
}

/// What a service says of what it holds.
fn held(service: &Service) -> Value {
    let status = service.status();
    let list = |path: &str, key: &str| service.get(path).json(200)[key].clone();
    let samples = |metric: &str| {
        let path = format!(
            "/api/v1/series/agent_1/{metric}?from={BEGIN}&to={}&limit=500",
            BEGIN + 100_000
        );
        list(&path, "samples")
    };
    json!({
        "reports": status["reports"]["stored"],
        "samples": status["samples"]["stored"],
        "agents": list("/api/v1/agents", "agents").as_array().map(Vec::len),
        "series": list("/api/v1/series", "series"),
        "patterns": list("/api/v1/patterns?limit=1000", "patterns"),
        "recommendations": list("/api/v1/recommendations?limit=1000", "recommendations"),
        "latency_ms": samples("latency_ms"),
        "cpu_usage": samples("cpu_usage"),
    })
}

fn tar(arguments: &[&str], folder: &Path) {
    let status = Command::new("tar")
        .args(arguments)
        .current_dir(folder)
        .status();
    assert!(status.expect("tar runs").success());
}

/// Packs a folder of this version with something of everything in it.
fn pack() {
    let work = tempfile::tempdir().expect("a folder");
    let data = work.path().join("data");
    let mut service = start(&data);
    for step in 0..400_i64 {
        let lines: Vec<String> = (1..=3)
            .map(|agent| {
                let wave = f64::from((step * 37 + agent * 11) as i32 % 100) / 100.0;
                let level = if step > 250 && agent == 1 { 80.0 } else { 45.0 };
                json!({
                    "agent_id": format!("agent_{agent}"), "task_id": format!("t-{step}"),
                    "timestamp": BEGIN + 60 * step,
                    "metrics": { "latency_ms": level + wave, "cpu_usage": 0.4 + wave / 10.0, "accuracy": 0.9 },
                })
                .to_string()
            })
            .collect();
        assert_eq!(
            service.post_lines(&lines.join("\n")).json(200)["accepted"],
            3
        );
    }
    let bad = service.post_lines("{\"agent_id\": \"agent_1\"}").json(200);
    assert_eq!(bad["rejected"].as_array().map(Vec::len), Some(1));
    let processed = |service: &Service| service.status()["reports"]["processed"] == 1200;
    until("everything is processed", || {
        processed(&service).then_some(())
    });
    assert!(service.terminate().success());
    // Once more, so that the fixture's end is a clean one with its effects settled.
    let mut service = start(&data);
    let held = held(&service);
    assert!(service.terminate().success());
    let text = format!("{held:#}\n");
    fs::write(golden().join(format!("{THIS}.json")), text).expect("written");
    let packed = golden().join(format!("{THIS}.tar.gz"));
    tar(&["czf", &packed.display().to_string(), "data"], work.path());
}

/// A fixture, unpacked.
fn unpack(name: &str) -> tempfile::TempDir {
    let work = tempfile::tempdir().expect("a folder");
    let packed = golden().join(format!("{name}.tar.gz"));
    tar(&["xzf", &packed.display().to_string()], work.path());
    work
}

fn fixtures() -> Vec<String> {
    let files = fs::read_dir(golden())
        .expect("the folder of the fixtures")
        .flatten();
    let names = files.filter_map(|file| file.file_name().into_string().ok());
    names
        .filter_map(|name| name.strip_suffix(".tar.gz").map(str::to_owned))
        .collect()
}

#[test]
fn every_version_so_far_is_read() {
    if std::env::var_os("UPDATE").is_some() {
        fs::create_dir_all(golden()).expect("made");
        pack();
    }
    let fixtures = fixtures();
    assert!(
        fixtures.iter().any(|name| name == THIS),
        "{THIS} is missing: UPDATE=1"
    );
    for name in fixtures {
        let work = unpack(&name);
        let text = fs::read_to_string(golden().join(format!("{name}.json"))).expect("read");
        let expected: Value = serde_json::from_str(&text).expect("JSON");
        let mut service = start(&work.path().join("data"));
        let found = held(&service);
        for (key, value) in expected.as_object().expect("an object") {
            assert_eq!(found[key], *value, "{name}: {key}");
        }
        // It goes on from there, and what came is there after the next start too.
        let more = json!({
            "agent_id": "agent_1", "task_id": "one-more", "timestamp": BEGIN + 60 * 400,
            "metrics": { "latency_ms": 81.0 },
        });
        assert_eq!(
            service.post("/kpi", &more).json(200)["accepted"],
            1,
            "{name}"
        );
        assert!(service.terminate().success(), "{name}");
        let again = start(&work.path().join("data"));
        let stored = expected["reports"].as_u64().expect("a number") + 1;
        assert_eq!(again.status()["reports"]["stored"], stored, "{name}");
    }
}

/// Every file with its bytes.
fn bytes_of(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut left = vec![folder.to_owned()];
    while let Some(folder) = left.pop() {
        for entry in fs::read_dir(folder).expect("read").flatten() {
            let path = entry.path();
            if path.is_dir() {
                left.push(path);
            } else {
                found.insert(path.clone(), fs::read(path).expect("read"));
            }
        }
    }
    found
}

#[test]
fn a_newer_format_is_refused_and_left_as_it_is() {
    let work = unpack(THIS);
    let data = work.path().join("data");
    // What a newer program would write.
    fs::write(data.join("format"), "99\n").expect("written");
    let before = bytes_of(&data);
    let serve = command(&data, &SETTINGS, Some(COHORT)).output();
    let repair = layer5().arg("repair").arg(&data).output();
    for ran in [serve, repair] {
        let ran = ran.expect("layer5 can be run");
        let told = String::from_utf8_lossy(&ran.stderr);
        assert_eq!(ran.status.code(), Some(74), "{told}");
        assert!(
            told.contains("has format 99, this program knows up to"),
            "{told}"
        );
    }
    assert!(bytes_of(&data) == before, "something was changed");
}

/// The number of folders that were made before there was a file for it.
#[test]
fn a_newer_format_in_the_views_is_refused() {
    let work = unpack(THIS);
    let data = work.path().join("data");
    let numbers: TableDefinition<'_, &str, u64> = TableDefinition::new("numbers");
    {
        let database = Database::open(data.join("views.redb")).expect("opened");
        let write = database.begin_write().expect("begun");
        let mut table = write.open_table(numbers).expect("opened");
        table.insert("format", 99).expect("written");
        drop(table);
        write.commit().expect("committed");
    }
    let ran = command(&data, &SETTINGS, Some(COHORT)).output();
    let ran = ran.expect("layer5 can be run");
    let told = String::from_utf8_lossy(&ran.stderr);
    assert_eq!(ran.status.code(), Some(74), "{told}");
    assert!(told.contains("views.redb has format 99"), "{told}");
}
