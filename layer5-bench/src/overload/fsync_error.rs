//! An fsync that fails: no further yes, unready at once, the process ends, and the next one has all that was promised.
//! The failure is strace's: from the n-th on, every fdatasync and fsync of a thread answers EIO and does nothing.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use layer5_server::clock;

use super::{Line, OverloadArgs};
use crate::{
    Failure,
    service::{
        http::Connection,
        promise::Promises,
        subject::{DEADLINE, Launch},
        workload::Workload,
    },
};

/// Syncs of one thread that go well.
const GOOD_SYNCS: u32 = 30;
const UNREADY_MAX: Duration = Duration::from_secs(1);
/// The exit code for a store that failed, after `sysexits.h`.
const EXIT_STORE: i32 = 74;

pub(super) fn run(args: &OverloadArgs) -> Result<Vec<Line>, Failure> {
    if std::process::Command::new("strace")
        .arg("-V")
        .output()
        .is_err()
    {
        return Err(Failure::left_out(
            "strace is not installed, fsync can't be made to fail",
        ));
    }
    let folder = args.folder()?;
    let mut launch = Launch::new(&args.binary(), &folder.path().join("data"));
    let tracer = format!(
        "strace -f -qq -o /dev/null -e signal=none -e trace=fdatasync,fsync \
         -e inject=fdatasync,fsync:error=EIO:when={GOOD_SYNCS}+"
    );
    launch.tracer = tracer.split_whitespace().map(str::to_owned).collect();
    let mut service = launch.start().map_err(Failure::new)?;
    let workload = Workload::new(args.seed, 100, 4, 20, clock::now().plus_seconds(-60.0));
    let promises = Promises::new(workload, "/kpi");
    let (stop, api) = (AtomicBool::new(false), service.api);
    let (unready_at, status, ended_at) = std::thread::scope(|scope| {
        scope.spawn(|| promises.send_until(api, 4, &stop));
        let watched = scope.spawn(|| {
            let mut connection = Connection::new(api, DEADLINE);
            while !stop.load(Ordering::Relaxed) {
                match connection.get("/ready") {
                    Ok(answer) if answer.status == 200 => {
                        std::thread::sleep(Duration::from_millis(2))
                    }
                    // 503, or nobody there any more.
                    _ => break,
                }
            }
            Instant::now()
        });
        let status = service.wait(DEADLINE);
        let ended_at = Instant::now();
        stop.store(true, Ordering::Relaxed);
        (
            watched.join().expect("a watcher does not panic"),
            status,
            ended_at,
        )
    });
    let last_yes = promises.last_yes();
    let since =
        |at: Instant| last_yes.map_or(Duration::MAX, |yes| at.saturating_duration_since(yes));
    let promised = promises.now();
    launch.tracer.clear();
    let service = launch.start().map_err(Failure::new)?;
    let findings = promises
        .audit(service.api, &promised)
        .map_err(Failure::new)?;
    service.kill();
    let line = |demand: &str, seen: String, met: bool| Line::new("fsync error", demand, seen, met);
    Ok(vec![
        line(
            "unready within 1 s of the last yes",
            format!("{:.3} s", since(unready_at).as_secs_f64()),
            since(unready_at) <= UNREADY_MAX,
        ),
        line(
            "ends, with exit code 74",
            format!(
                "{status:?}, {:.2} s after the last yes",
                since(ended_at).as_secs_f64()
            ),
            status.is_some_and(|s| s.code() == Some(EXIT_STORE)),
        ),
        line(
            "comes back with all that was promised",
            format!(
                "{} acknowledged, {} lost, {} doubled",
                findings.acknowledged, findings.lost, findings.doubled
            ),
            findings.acknowledged > 0 && findings.lost + findings.doubled == 0,
        ),
    ])
}
