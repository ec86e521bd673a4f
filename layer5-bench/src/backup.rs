//! `layer5-bench backup`: what a backup of a busy service costs, and how long a lost disk keeps it away.
//! In: how much it holds. Out: a row per step. Called from: the command line.

use std::{
    path::PathBuf,
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use clap::Args;
use layer5_server::clock;
use serde_json::{Value, json};

use crate::{
    Failure,
    progress::say,
    service::{
        disk::bytes_under,
        http::Connection,
        latency::Percentiles,
        pressure::{Pressure, send},
        subject::{self, Launch, Subject},
        workload::{Form, Workload},
    },
};

/// Longest time for filling the folder, and for one backup.
const DEADLINE: Duration = Duration::from_secs(1800);
/// Time between two backups in which there is something new.
const BETWEEN: Duration = Duration::from_secs(5);

/// Back a busy service up, lose its disk, bring it back
///
/// Feeds a service until its data folder holds so many bytes, goes on feeding it while two backups are made, kills it and
/// restores the second one into an empty folder. What comes back is backed up once more: its content must be the same.
#[derive(Args, Debug)]
#[command(after_long_help = "Example:\n  \
    layer5-bench backup --mib 1024\n\n\
    Exit codes: 0 the same content came back, 1 something else did, 2 wrong arguments")]
pub struct BackupArgs {
    /// The `layer5` binary [default: the one beside this]
    #[arg(long, value_name = "FILE")]
    pub server: Option<PathBuf>,
    /// Where the folders are made [default: the folder for temporary files]
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Bytes of the data folder, MiB
    #[arg(long, default_value_t = 1024)]
    pub mib: u64,
    /// Samples a second while backups are made
    #[arg(long, default_value_t = 50_000.0)]
    pub rate: f64,
    /// Agents that report
    #[arg(long, default_value_t = 1000)]
    pub agents: usize,
    /// What the reports hold
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

/// The service under test and where its backups go.
struct Drill {
    binary: PathBuf,
    data: PathBuf,
    repository: String,
    workload: Workload,
    next_body: u64,
}

/// Runs it; a table and its numbers.
///
/// # Errors
/// When a step fails, or something else comes back.
pub fn run(args: &BackupArgs) -> Result<(String, Value), Failure> {
    let folder = match &args.dir {
        Some(dir) => tempfile::tempdir_in(dir),
        None => tempfile::tempdir(),
    };
    let folder = folder.map_err(|e| Failure::new(format!("no folder for data: {e}")))?;
    let from = clock::now().plus_seconds(-60.0);
    let mut drill = Drill {
        binary: args.server.clone().unwrap_or_else(subject::default_binary),
        data: folder.path().join("data"),
        repository: folder.path().join("repository").display().to_string(),
        workload: Workload::new(args.seed, args.agents, 7, 1000, from),
        next_body: 0,
    };
    let mut launch = Launch::new(&drill.binary, &drill.data);
    launch.settings.extend([
        ("BACKUP__REPOSITORY", drill.repository.clone()),
        ("BACKUP__EVERY_HOURS", "0".to_owned()),
    ]);
    let service = launch.start().map_err(Failure::new)?;
    say(format!("writing {} MiB", args.mib));
    let data = drill.data.clone();
    drill.feed(&service, None, || Ok(bytes_under(&data) >= args.mib << 20))?;
    let held = bytes_under(&data);
    let mut made = Vec::new();
    for n in 1..=2 {
        say(format!("backup {n} of {held} bytes"));
        made.push(drill.back_up(&service, args.rate)?);
    }
    let lost_at = stored(&service)?;
    service.kill();
    std::fs::remove_dir_all(&data).map_err(Failure::new)?;

    let back = folder.path().join("back");
    let (verified, verify_seconds) = drill.layer5(&["verify", "latest"])?;
    say("restoring");
    let aim = [
        "restore",
        "latest",
        "--data-dir",
        &back.display().to_string(),
    ];
    let (restored, restore_seconds) = drill.layer5(&aim)?;
    let (again, _) = drill.layer5(&["create", "--data-dir", &back.display().to_string()])?;
    if again["content"] != restored["content"] {
        let (was, is) = (&restored["content"], &again["content"]);
        return Err(Failure::new(format!("{was} was backed up, {is} came back")));
    }
    let service = Launch::new(&drill.binary, &back)
        .start()
        .map_err(Failure::new)?;
    let ready_seconds = service.ready_after.as_secs_f64();
    let (kept, expected) = (
        stored(&service)?,
        &verified["backups"][0]["contents"]["totals"]["reports"],
    );
    service.kill();
    if json!(kept) != *expected {
        return Err(Failure::new(format!(
            "{expected} reports were backed up, {kept} came back"
        )));
    }
    let numbers = json!({
        "tool": "backup", "data_bytes": held, "backups": made,
        "verify_seconds": verify_seconds, "restore_seconds": restore_seconds, "ready_seconds": ready_seconds,
        "reports_stored": lost_at, "reports_back": kept,
    });
    Ok((table(&numbers), numbers))
}

impl Drill {
    /// Feeds `service` at `rate`, or as fast as it answers, until `done`. Returns the 99th percentile of its answers, ms.
    fn feed(
        &mut self,
        service: &Subject,
        rate: Option<f64>,
        mut done: impl FnMut() -> Result<bool, Failure>,
    ) -> Result<f64, Failure> {
        let pressure = Pressure {
            at: service.api,
            form: Form::Reports,
            connections: 16,
            rate,
            span: DEADLINE,
            grace: Duration::ZERO,
            first_body: self.next_body,
            heed_retry_after: true,
        };
        let stop = AtomicBool::new(false);
        let (outcome, ended) = std::thread::scope(|scope| {
            let sent = scope.spawn(|| send(&self.workload, &pressure, &stop));
            let ended = loop {
                match done() {
                    Ok(false) if !sent.is_finished() => {
                        std::thread::sleep(Duration::from_millis(20))
                    }
                    ended => break ended.map(drop),
                }
            };
            stop.store(true, Ordering::Relaxed);
            (sent.join().expect("a sender does not panic"), ended)
        });
        ended?;
        self.next_body = outcome.next_body;
        Ok(Percentiles::of(&outcome.times).p99)
    }

    /// One backup under load, a while after the one before.
    fn back_up(&mut self, service: &Subject, rate: f64) -> Result<Value, Failure> {
        let began = Instant::now();
        let p99_before = self.feed(service, Some(rate), || Ok(began.elapsed() > BETWEEN))?;
        let mut connection = Connection::new(service.api, subject::DEADLINE);
        let path = "/api/v1/backups";
        let asked = connection.post(path, "application/json", b"{}");
        let before = asked.map_err(Failure::new)?.count("finished");
        let mut state = Value::Null;
        let p99 = self.feed(service, Some(rate), || {
            state = connection.get(path).map_err(Failure::new)?.json();
            Ok(state["finished"].as_u64() > Some(before))
        })?;
        if let Some(error) = state["error"].as_str() {
            return Err(Failure::new(format!("no backup: {error}")));
        }
        let mut newest = state["newest"].take();
        newest["answer_p99_ms"] = json!({ "before": p99_before, "meanwhile": p99 });
        Ok(newest)
    }

    /// `layer5 backup` with `arguments`: its answer, and how long it took, s.
    fn layer5(&self, arguments: &[&str]) -> Result<(Value, f64), Failure> {
        let began = Instant::now();
        let ran = Command::new(&self.binary)
            .arg("backup")
            .args(arguments)
            .args(["--repository", &self.repository, "--output", "json"])
            .output()
            .map_err(Failure::new)?;
        if !ran.status.success() {
            let said = String::from_utf8_lossy(&ran.stderr);
            return Err(Failure::new(format!("layer5 backup {arguments:?}: {said}")));
        }
        let answer = serde_json::from_slice(&ran.stdout).map_err(Failure::new)?;
        Ok((answer, began.elapsed().as_secs_f64()))
    }
}

fn stored(service: &Subject) -> Result<u64, Failure> {
    let mut connection = Connection::new(service.api, subject::DEADLINE);
    let status = connection
        .get("/api/v1/status")
        .map_err(Failure::new)?
        .json();
    Ok(status["reports"]["stored"].as_u64().unwrap_or(0))
}

fn table(numbers: &Value) -> String {
    let mib = |value: &Value| value.as_f64().unwrap_or(0.0) / f64::from(1 << 20);
    let seconds = |name: &str| numbers[name].as_f64().unwrap_or(0.0);
    let mut table = format!(
        "data folder          {:>8.0} MiB\n",
        mib(&numbers["data_bytes"])
    );
    for (backup, n) in numbers["backups"].as_array().into_iter().flatten().zip(1..) {
        let p99 = &backup["answer_p99_ms"];
        table += &format!(
            "backup {n}             {:>8.1} s, {:.0} MiB, {:.0} MiB of it new; p99 of an answer {:.0} ms, {:.0} before\n",
            backup["seconds"].as_f64().unwrap_or(0.0),
            mib(&backup["bytes"]),
            mib(&backup["new_bytes"]),
            p99["meanwhile"].as_f64().unwrap_or(0.0),
            p99["before"].as_f64().unwrap_or(0.0),
        );
    }
    let rows = [
        ("verified", "verify_seconds"),
        ("restored", "restore_seconds"),
        ("ready after", "ready_seconds"),
    ];
    for (row, name) in rows {
        table += &format!("{row:<20} {:>8.1} s\n", seconds(name));
    }
    let back = seconds("restore_seconds") + seconds("ready_seconds");
    let (all, kept) = (&numbers["reports_stored"], &numbers["reports_back"]);
    table
        + &format!(
            "back after           {back:>8.1} s, with {kept} of {all} reports: the rest came after the backup\n"
        )
}
