//! A disk that is full for a while: senders are told 503, readers are served, and it goes on when there is room.

use std::{
    fs::File,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use layer5_server::clock;

use super::{Line, OverloadArgs};
use crate::{
    Failure,
    powercut::{Mounted, make_image_of},
    service::{
        http::Connection,
        promise::Promises,
        subject::{DEADLINE, Launch},
        workload::{Form, Workload},
    },
};

/// Size of the disk, MiB: what is reserved (`min_free_bytes`), and as much again.
const DISK_MIB: u64 = 256;
const RESUME_MAX: Duration = Duration::from_secs(5);

pub(super) fn run(args: &OverloadArgs) -> Result<Vec<Line>, Failure> {
    let folder = args.folder()?;
    let image = folder.path().join("disk");
    make_image_of(&image, DISK_MIB)?;
    let disk = Mounted::mount(&image, &folder.path().join("mounted"))?;
    let launch = Launch::new(&args.binary(), &disk.at.join("data"));
    let service = launch.start().map_err(Failure::new)?;
    let workload = Workload::new(args.seed, 100, 4, 20, clock::now().plus_seconds(-60.0));
    let promises = Promises::new(workload.clone(), "/kpi");
    let stop = AtomicBool::new(false);
    let filler = disk.at.join("filler");
    let lines = std::thread::scope(|scope| {
        scope.spawn(|| promises.send_until(service.api, 4, &stop));
        let lines = trial(&service.api, &filler, &promises, &workload);
        stop.store(true, Ordering::Relaxed);
        lines
    });
    let mut lines = lines?;
    let findings = promises
        .audit(service.api, &promises.now())
        .map_err(Failure::new)?;
    lines.push(Line::new(
        "disk full",
        "nothing lost, nothing doubled",
        format!(
            "{} acknowledged, {} lost, {} doubled",
            findings.acknowledged, findings.lost, findings.doubled
        ),
        findings.lost + findings.doubled == 0,
    ));
    service.kill();
    Ok(lines)
}

fn trial(
    api: &std::net::SocketAddr,
    filler: &std::path::Path,
    promises: &Promises,
    workload: &Workload,
) -> Result<Vec<Line>, Failure> {
    let line = |demand: &str, seen: String, met: bool| Line::new("disk full", demand, seen, met);
    let mut connection = Connection::new(*api, DEADLINE);
    let mut probe = Connection::new(*api, DEADLINE);
    until("a first yes", || promises.last_yes().map(|_| ()))?;
    fill(filler)?;
    let full = Instant::now();
    // A body that nobody else sends: its index is far beyond theirs.
    let mut body = Vec::new();
    workload.write(1 << 40, Form::Reports, &mut body);
    let mut statuses = std::collections::BTreeMap::<(u16, bool), u64>::new();
    let refused = until("503", || {
        let answer = probe
            .post("/kpi", Form::Reports.content_type(), &body)
            .ok()?;
        *statuses
            .entry((answer.status, answer.retry_after.is_some()))
            .or_default() += 1;
        (answer.status == 503).then(|| full.elapsed())
    })?;
    let unready = until("unready", || {
        connection
            .get("/ready")
            .ok()
            .filter(|a| a.status == 503)
            .map(|_| full.elapsed())
    })?;
    let reads = [
        "/health",
        "/api/v1/status",
        "/api/v1/agents",
        "/api/v1/patterns",
    ];
    let mut served = 0;
    for path in reads {
        served += u32::from(connection.get(path).is_ok_and(|a| a.status == 200));
    }
    for _ in 0..20 {
        let answer = probe
            .post("/kpi", Form::Reports.content_type(), &body)
            .map_err(Failure::new)?;
        *statuses
            .entry((answer.status, answer.retry_after.is_some()))
            .or_default() += 1;
    }
    std::fs::remove_file(filler).map_err(Failure::new)?;
    let freed = Instant::now();
    let resumed = until("a yes after there was room", || {
        promises
            .last_yes()
            .filter(|yes| *yes > freed)
            .map(|yes| yes - freed)
    })?;
    let only = statuses
        .keys()
        .all(|(status, again)| *status == 200 || *status == 503 && *again);
    Ok(vec![
        line(
            "503 with Retry-After, and unready",
            format!(
                "after {:.2} s, unready after {:.2} s; (status, Retry-After): {statuses:?}",
                refused.as_secs_f64(),
                unready.as_secs_f64()
            ),
            only,
        ),
        line(
            "reads are served",
            format!("{served} of {}", reads.len()),
            served == reads.len() as u32,
        ),
        line(
            "goes on within 5 s of room",
            format!("{:.2} s", resumed.as_secs_f64()),
            resumed <= RESUME_MAX,
        ),
    ])
}

/// Fills the disk to the last block.
fn fill(path: &std::path::Path) -> Result<(), Failure> {
    use std::io::Write;
    let mut file = File::create(path).map_err(Failure::new)?;
    let piece = vec![0x5a; 1 << 20];
    loop {
        match file.write(&piece) {
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::StorageFull => return Ok(()),
            Err(error) => return Err(Failure::new(error)),
        }
    }
}

fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> Result<T, Failure> {
    let began = Instant::now();
    loop {
        if let Some(seen) = look() {
            return Ok(seen);
        }
        if began.elapsed() > Duration::from_secs(20) {
            return Err(Failure::new(format!("not within 20 s: {what}")));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}
