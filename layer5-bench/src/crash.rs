//! `layer5-bench crash`: kills a service again and again, at a chosen system call or at any moment, and looks each time
//! whether what was acknowledged is there, once.
//! In: how many kills. Out: what was lost and doubled: nothing, or the run fails. Called from: the command line, CI and
//! `tests/faults.rs`.
//!
//! A kill at a call is `strace -e inject=CALL:signal=KILL:when=k`: the k-th such call of one of its threads, counted from
//! the start of the process, so that recovery itself is killed as well. The audit of one life runs at the start of
//! the next, under the next kill; the last life of a folder is left alone.

use std::{
    collections::BTreeMap,
    os::unix::process::ExitStatusExt,
    path::PathBuf,
    process::ExitStatus,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use clap::{Args, ValueEnum};
use layer5_server::clock;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use serde_json::{Value, json};

use crate::{
    Failure,
    progress::say,
    service::{
        effects::{Effects, Neighbour},
        promise::{Findings, Promises},
        subject::{self, Launch, LaunchError, Subject},
        workload::Workload,
    },
};

/// System calls, how often they are chosen, and the largest k. What keeps data is most of it; by `sendto`
/// the answers leave.
const CALLS: [(&str, u32, f64); 8] = [
    ("fdatasync", 30, 60.0),
    ("pwrite64", 30, 300.0),
    ("write", 12, 40.0),
    ("fsync", 8, 4.0),
    ("rename", 6, 3.0),
    ("ftruncate", 4, 4.0),
    ("openat", 3, 20.0),
    ("sendto", 7, 60.0),
];
/// Lives that share a data folder: the audit knows duplicates for ten minutes only, and sends everything again.
const LIVES_PER_FOLDER: usize = 20;
/// How long a life may go on when its call is not reached; it is killed then and not counted.
const LIFE: Duration = Duration::from_secs(4);
/// The longest life of a kill at any moment, s.
const RANDOM_LIFE: f64 = 1.5;
const CONNECTIONS: usize = 4;

/// Kill a service at its k-th system call and at random, and audit what it promised
///
/// A small fleet sends reports while it runs. After each kill it is started again on the same folder; every acknowledged
/// report must be there exactly once, and no recommendation may have taken effect twice at a stand-in Layer7.
#[derive(Args, Clone, Debug)]
#[command(after_long_help = "Examples:\n  \
    layer5-bench crash --kills 200 --random 100\n  \
    layer5-bench crash --kills 10 --random 5 --plant ack-before-commit   # must fail\n\n\
    Exit codes: 0 nothing lost or doubled, 1 something was, 2 wrong arguments, 77 left out (no strace)")]
pub struct CrashArgs {
    /// The `layer5` binary [default: the one beside this]
    #[arg(long, value_name = "FILE")]
    pub server: Option<PathBuf>,
    /// Where data folders are made [default: the folder for temporary files]
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Kills at a system call
    #[arg(long, default_value_t = 14)]
    pub kills: usize,
    /// Kills at any moment
    #[arg(long, default_value_t = 6)]
    pub random: usize,
    /// Which calls, moments and reports
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// A bug to be caught: the run must fail
    #[arg(long, value_enum)]
    pub plant: Option<Bug>,
}

/// Bugs that the audit must catch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Bug {
    /// Answers leave before the commit: the sender asks for `?ack=buffered` and takes the answer for a durable one
    AckBeforeCommit,
    /// fsync and fdatasync answer yes and do nothing; a kill does not show it, a power cut does
    MissingFsync,
}

impl Bug {
    /// Where bodies are posted while it is planted.
    #[must_use]
    pub fn path(bug: Option<Self>) -> &'static str {
        match bug {
            Some(Self::AckBeforeCommit) => "/kpi?ack=buffered",
            _ => "/kpi",
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Kill {
    Call(&'static str, u64),
    Moment(f64),
}

#[derive(Debug, Default)]
struct Tally {
    at_call: BTreeMap<&'static str, usize>,
    at_moment: usize,
    before_ready: usize,
    not_reached: usize,
    folders: usize,
    findings: Findings,
    effects: Effects,
    ready_ms: Vec<Duration>,
}

/// One data folder with what was promised about it.
struct House {
    _folder: tempfile::TempDir,
    launch: Launch,
    promises: Promises,
    neighbour: Neighbour,
}

/// Kills and audits; a table and its numbers.
///
/// # Errors
/// When something acknowledged was lost, something is there twice, or the service does not come back.
pub fn run(args: &CrashArgs) -> Result<(String, Value), Failure> {
    if args.kills > 0
        && std::process::Command::new("strace")
            .arg("-V")
            .output()
            .is_err()
    {
        return Err(Failure::left_out(
            "strace is not installed, nothing was killed",
        ));
    }
    let mut rng = Pcg64Mcg::seed_from_u64(args.seed);
    let mut tally = Tally::default();
    let (mut calls_left, mut moments_left) = (args.kills, args.random);
    while calls_left + moments_left > 0 {
        let mut house = House::new(args, tally.folders)?;
        tally.folders += 1;
        for _ in 0..LIVES_PER_FOLDER {
            if calls_left + moments_left == 0 {
                break;
            }
            let call = rng.random_range(0..calls_left + moments_left) < calls_left;
            let kill = match call {
                true => kill_at_call(&mut rng),
                false => Kill::Moment(rng.random_range(0.0..RANDOM_LIFE)),
            };
            if house.live(kill, &mut tally)? {
                match call {
                    true => calls_left -= 1,
                    false => moments_left -= 1,
                }
            }
        }
        house.last_audit(&mut tally)?;
        let left = calls_left + moments_left;
        say(format!("folder {}: {left} kills to go", tally.folders));
    }
    Ok(tally.print())
}

/// A call by its weight; k even over its logarithm, so that the first ones come often.
fn kill_at_call(rng: &mut Pcg64Mcg) -> Kill {
    let total: u32 = CALLS.iter().map(|(_, weight, _)| weight).sum();
    let mut draw = rng.random_range(0..total);
    for (call, weight, k_max) in CALLS {
        if draw < weight {
            return Kill::Call(call, rng.random_range(0.0..k_max.ln()).exp() as u64);
        }
        draw -= weight;
    }
    Kill::Call("fdatasync", 1)
}

impl House {
    fn new(args: &CrashArgs, nth: usize) -> Result<Self, Failure> {
        let folder = match &args.dir {
            Some(dir) => tempfile::tempdir_in(dir),
            None => tempfile::tempdir(),
        };
        let folder = folder.map_err(|e| Failure::new(format!("no folder for data: {e}")))?;
        let neighbour = Neighbour::start(args.seed).map_err(Failure::new)?;
        let config = folder.path().join("layer5.toml");
        std::fs::write(&config, neighbour.config()).map_err(Failure::new)?;
        let binary = args.server.clone().unwrap_or_else(subject::default_binary);
        let mut launch = Launch::new(&binary, &folder.path().join("data"));
        launch.config = Some(config);
        let from = clock::now().plus_seconds(-60.0);
        let workload = Workload::new(args.seed + nth as u64, 100, 4, 20, from);
        Ok(Self {
            _folder: folder,
            launch,
            promises: Promises::new(workload, Bug::path(args.plant)),
            neighbour,
        })
    }

    /// One life, from its start to its kill; whether the kill came as planned.
    fn live(&mut self, kill: Kill, tally: &mut Tally) -> Result<bool, Failure> {
        self.launch.tracer = tracer(kill);
        let mut service = match self.launch.start() {
            Ok(service) => service,
            Err(LaunchError::Ended { status, .. }) if was_killed(status) => {
                tally.before_ready += 1;
                tally.count(kill);
                return Ok(true);
            }
            Err(error) => return Err(Failure::new(format!("{kill:?}: {error}"))),
        };
        tally.ready_ms.push(service.ready_after);
        let promised = self.promises.now();
        match self.promises.audit(service.api, &promised) {
            Ok(findings) => {
                tally.check(findings, &service)?;
                self.promises.settle();
            }
            // Killed in the midst of its audit: the next life is audited instead.
            Err(_) if service.wait(LIFE).is_some() => {
                tally.count(kill);
                return Ok(true);
            }
            Err(error) => return Err(Failure::new(format!("{error}\n{}", service.log()))),
        }
        let (stop, api) = (AtomicBool::new(false), service.api);
        let ended = std::thread::scope(|scope| {
            scope.spawn(|| self.promises.send_until(api, CONNECTIONS, &stop));
            let ended = service.wait(LIFE);
            stop.store(true, Ordering::Relaxed);
            ended
        });
        match ended {
            Some(status) if was_killed(status) => {
                tally.count(kill);
                Ok(true)
            }
            Some(status) => Err(Failure::new(format!(
                "layer5 ended with {status}:\n{}",
                service.log()
            ))),
            None => {
                service.kill();
                tally.not_reached += 1;
                Ok(false)
            }
        }
    }

    /// A life without a kill, in which everything must be there.
    fn last_audit(&mut self, tally: &mut Tally) -> Result<(), Failure> {
        self.launch.tracer.clear();
        let service = self.launch.start().map_err(Failure::new)?;
        let promised = self.promises.now();
        let findings = self
            .promises
            .audit(service.api, &promised)
            .map_err(Failure::new)?;
        tally.check(findings, &service)?;
        tally.findings.acknowledged += findings.acknowledged;
        tally.findings.kept_unasked += findings.kept_unasked;
        let effects = self.neighbour.audit(service.api, Duration::from_secs(20));
        let effects = effects.map_err(Failure::new)?;
        tally.effects.carried_out += effects.carried_out;
        tally.effects.repeats += effects.repeats;
        if effects.doubled > 0 {
            let why = effects.why.unwrap_or_default();
            return Err(Failure::new(format!(
                "{} effects doubled: {why}",
                effects.doubled
            )));
        }
        service.kill();
        Ok(())
    }
}

/// What runs the service so that it is killed as planned.
fn tracer(kill: Kill) -> Vec<String> {
    let words = match kill {
        // Not with --seccomp-bpf: strace 6.1 then counts no further than one.
        Kill::Call(call, k) => format!(
            "strace -f -qq -o /dev/null -e signal=none -e trace={call} \
             -e inject={call}:signal=KILL:when={}",
            k.max(1)
        ),
        // For `timeout` nothing is no limit.
        Kill::Moment(seconds) => format!("timeout -s KILL {:.3}", seconds.max(0.001)),
    };
    words.split_whitespace().map(str::to_owned).collect()
}

/// A tracer ends as what it traced did; a shell's way to say so is 128 and the signal.
fn was_killed(status: ExitStatus) -> bool {
    const SIGKILL: i32 = 9;
    status.signal() == Some(SIGKILL) || status.code() == Some(128 + SIGKILL)
}

impl Tally {
    fn count(&mut self, kill: Kill) {
        match kill {
            Kill::Call(call, _) => *self.at_call.entry(call).or_default() += 1,
            Kill::Moment(_) => self.at_moment += 1,
        }
    }

    fn check(&self, findings: Findings, service: &Subject) -> Result<(), Failure> {
        if findings.lost + findings.doubled == 0 {
            return Ok(());
        }
        let kills = self.at_call.values().sum::<usize>() + self.at_moment;
        Err(Failure::new(format!(
            "after {kills} kills: {} of {} acknowledged reports are lost, {} are there twice\n{}",
            findings.lost,
            findings.acknowledged,
            findings.doubled,
            service.log()
        )))
    }

    fn print(&self) -> (String, Value) {
        let ready = crate::service::latency::Percentiles::of(&self.ready_ms);
        let n_calls: usize = self.at_call.values().sum();
        let by_call: Vec<String> = self
            .at_call
            .iter()
            .map(|(c, n)| format!("{c} {n}"))
            .collect();
        let rows = [
            (
                "kills at a system call",
                format!("{n_calls} ({})", by_call.join(", ")),
            ),
            ("kills at any moment", self.at_moment.to_string()),
            ("of them before it was ready", self.before_ready.to_string()),
            ("planned calls never reached", self.not_reached.to_string()),
            ("data folders", self.folders.to_string()),
            (
                "reports acknowledged",
                self.findings.acknowledged.to_string(),
            ),
            (
                "reports kept though unanswered",
                self.findings.kept_unasked.to_string(),
            ),
            ("acknowledged reports lost", self.findings.lost.to_string()),
            ("reports there twice", self.findings.doubled.to_string()),
            (
                "recommendations carried out",
                self.effects.carried_out.to_string(),
            ),
            ("sent to Layer7 again", self.effects.repeats.to_string()),
            ("carried out twice", self.effects.doubled.to_string()),
            (
                "ready after a kill, ms",
                format!("p50 {:.0}, max {:.0}", ready.p50, ready.max),
            ),
        ];
        let table = rows.iter().fold(String::new(), |table, (name, value)| {
            table + &format!("{name:<32} {value}\n")
        });
        let json = json!({
            "tool": "crash",
            "kills_at_call": self.at_call,
            "kills_at_moment": self.at_moment,
            "before_ready": self.before_ready,
            "not_reached": self.not_reached,
            "folders": self.folders,
            "findings": self.findings,
            "effects": self.effects,
            "ready_ms": ready,
        });
        (table, json)
    }
}
