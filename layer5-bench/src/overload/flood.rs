//! Ten times what a service can take, in little memory.
//! First its capacity is measured in the same control group, then ten times as much becomes due on a schedule.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use layer5_server::clock;

use super::{Line, OverloadArgs};
use crate::{
    Failure,
    progress::say,
    service::{
        cgroup::Cgroup,
        http::Connection,
        pressure::{Pressure, send},
        subject::{self, Launch},
        usage,
        workload::{Form, Workload},
    },
};

/// How long the capacity is measured.
const CAPACITY_SPAN: Duration = Duration::from_secs(10);
/// Enough that ten times the capacity can wait for its refusal.
const CONNECTIONS: usize = 500;
const OVERLOAD: f64 = 10.0;
const GOODPUT_MIN: f64 = 0.8;
const RECOVERY_MAX: Duration = Duration::from_secs(5);

pub(super) fn run(args: &OverloadArgs) -> Result<Vec<Line>, Failure> {
    let folder = args.folder()?;
    let memory_max = args.memory_mib << 20;
    let name = format!("layer5-overload-{}", std::process::id());
    let cgroup = Cgroup::new(&name, memory_max, Some(args.cpus))
        .map_err(|e| Failure::left_out(format!("no control group can be made here: {e}")))?;
    let mut launch = Launch::new(&args.binary(), &folder.path().join("data"));
    launch.joins = cgroup.doors();
    let mut service = launch.start().map_err(Failure::new)?;
    let workload = Workload::new(args.seed, 1000, 7, 1000, clock::now().plus_seconds(-60.0));
    let samples_of = |bodies: u64| bodies as f64 * workload.samples_per_body() as f64;
    let never = AtomicBool::new(false);
    let mut pressure = Pressure {
        at: service.api,
        form: Form::Reports,
        connections: 8,
        rate: None,
        span: CAPACITY_SPAN,
        grace: Duration::ZERO,
        first_body: 0,
        heed_retry_after: false,
    };
    // Names are learnt and caches filled before anything is measured.
    pressure.span = Duration::from_secs(3);
    let warm = send(&workload, &pressure, &never);
    pressure = Pressure {
        first_body: warm.next_body,
        span: CAPACITY_SPAN,
        ..pressure
    };
    let alone = send(&workload, &pressure, &never);
    let capacity = samples_of(alone.taken) / alone.took.as_secs_f64();
    say(format!(
        "capacity {capacity:.0} samples/s, now ten times as much for {} s",
        args.seconds
    ));
    pressure = Pressure {
        connections: CONNECTIONS,
        rate: Some(capacity * OVERLOAD),
        span: Duration::from_secs_f64(args.seconds),
        first_body: alone.next_body,
        ..pressure
    };
    let rss_max = Mutex::new(0);
    let done = AtomicBool::new(false);
    let flooded = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let rss = usage::memory_bytes(service.pid(), "VmRSS").unwrap_or(0);
                let mut max = rss_max.lock().expect("no holder panics");
                *max = rss.max(*max);
                drop(max);
                std::thread::sleep(Duration::from_millis(100));
            }
        });
        let flooded = send(&workload, &pressure, &never);
        done.store(true, Ordering::Relaxed);
        flooded
    });
    let (rss_max, over) = (
        rss_max.into_inner().expect("no holder panics"),
        Instant::now(),
    );
    let ended = service.ended();
    let mut connection = Connection::new(service.api, subject::DEADLINE);
    let mut body = Vec::new();
    let mut next = flooded.next_body;
    let recovered = loop {
        if ended.is_some() {
            break None;
        }
        workload.write(next, Form::Reports, &mut body);
        next += 1;
        let from = Instant::now();
        let answer = connection.post("/kpi", Form::Reports.content_type(), &body);
        // Back to normal: an answer within the time that a body may wait for room.
        if answer.is_ok_and(|a| a.status == 200) && from.elapsed() < Duration::from_millis(500) {
            break Some(over.elapsed());
        }
        if over.elapsed() > 4 * RECOVERY_MAX {
            break None;
        }
    };
    let (peak, kills) = cgroup.peak_and_kills();
    let status = connection.get("/api/v1/status").unwrap_or_default().json();
    let goodput = samples_of(flooded.taken) / flooded.took.as_secs_f64() / capacity;
    let offered = samples_of(flooded.sent) / flooded.took.as_secs_f64() / capacity;
    let accepted = warm.accepted + alone.accepted + flooded.accepted;
    let stored = status["reports"]["stored"].as_u64().unwrap_or(0);
    service.kill();
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let line = |demand: String, seen: String, met: bool| Line::new("flood", demand, seen, met);
    Ok(vec![
        line(
            format!("offered {OVERLOAD:.0} times the capacity"),
            format!(
                "{offered:.1} times {capacity:.0} samples/s, {} bodies found no connection",
                flooded.unsent
            ),
            offered >= 0.8 * OVERLOAD,
        ),
        line(
            format!("lives in {} MiB", args.memory_mib),
            format!(
                "most resident {:.0} MiB, charged with page cache {:.0} MiB, out-of-memory kills {}",
                mib(rss_max),
                peak.map_or(f64::NAN, mib),
                kills.map_or("not told".into(), |n| n.to_string())
            ),
            ended.is_none() && kills.unwrap_or(0) == 0 && rss_max < memory_max,
        ),
        line(
            "refuses with 429 or 503 and Retry-After alone".into(),
            format!(
                "{} refused, other answers {:?}",
                flooded.refused, flooded.other
            ),
            flooded.other.is_empty() && flooded.refused > 0,
        ),
        line(
            format!("goodput at least {:.0} % of capacity", GOODPUT_MIN * 100.0),
            format!("{:.0} %", goodput * 100.0),
            goodput >= GOODPUT_MIN,
        ),
        line(
            "what was accepted is stored".into(),
            format!("{accepted} accepted, {stored} stored"),
            stored >= accepted,
        ),
        line(
            format!("as before within {RECOVERY_MAX:?}"),
            recovered.map_or("never".into(), |t| format!("{:.2} s", t.as_secs_f64())),
            recovered.is_some_and(|t| t < RECOVERY_MAX),
        ),
    ])
}
