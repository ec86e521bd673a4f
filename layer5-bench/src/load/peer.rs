//! Other servers, fed the same samples in the same run.
//! In: which, and where its data may lie. Out: a row. Called from: [`super`].
//! They answer when they have a body in memory, and write it to disk seconds later: their answers promise less.

use std::{
    net::{SocketAddr, TcpListener},
    path::Path,
    process::{Child, Command, Stdio},
    sync::atomic::AtomicBool,
    time::{Duration, Instant},
};

use clap::ValueEnum;

use super::{LoadArgs, Measured, send};
use crate::{
    Failure,
    progress::say,
    service::{http::Connection, usage, workload::Form},
};

/// Longest wait for a peer to start, and to make visible what it took.
const DEADLINE: Duration = Duration::from_secs(30);

/// Servers that are known here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Peer {
    /// Debian's `victoria-metrics` and its own JSON lines
    #[value(name = "victoria-metrics")]
    Json,
    /// Debian's `victoria-metrics` and Influx lines
    #[value(name = "victoria-metrics-influx")]
    Influx,
    /// Debian's `victoria-metrics` and Prometheus remote write
    #[value(name = "victoria-metrics-remote-write")]
    RemoteWrite,
}

impl Peer {
    fn form(self) -> Form {
        match self {
            Self::Json => Form::VictoriaJson,
            Self::Influx => Form::Influx,
            Self::RemoteWrite => Form::RemoteWrite,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Json => "victoria-metrics, JSON import",
            Self::Influx => "victoria-metrics, Influx lines",
            Self::RemoteWrite => "victoria-metrics, remote write",
        }
    }
}

/// A process that is killed with its owner.
#[derive(Debug)]
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _gone = self.0.kill();
        let _gone = self.0.wait();
    }
}

/// Feeds `peer` as Layer5 was fed.
pub(super) fn measure(peer: Peer, args: &LoadArgs, folder: &Path) -> Result<Measured, Failure> {
    say(peer.name());
    let data = folder.join("peer");
    let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let at: SocketAddr = free.map_err(|e| Failure::new(format!("no port: {e}")))?;
    let child = Command::new("victoria-metrics")
        .arg(format!("-storageDataPath={}", data.display()))
        .arg(format!("-httpListenAddr={at}"))
        .arg("-loggerLevel=ERROR")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|e| {
            Failure::new(format!(
                "victoria-metrics can't be run: {e}; Debian has a package of that name"
            ))
        })?;
    let process = Killed(child);
    let pid = process.0.id();
    let mut connection = Connection::new(at, DEADLINE);
    until("victoria-metrics answers", || {
        connection
            .get("/health")
            .is_ok_and(|a| a.status == 200)
            .then_some(())
    })?;
    let workload = args.workload();
    let before = usage::cpu_seconds(pid).unwrap_or(0.0);
    let outcome = send(
        &workload,
        &args.pressure(at, peer.form()),
        &AtomicBool::new(false),
    );
    // What it took is in memory; it has not done its work before it can be read.
    connection
        .get("/internal/force_flush")
        .map_err(Failure::new)?;
    let expected = outcome.taken * workload.samples_per_body() as u64;
    let stored = until("victoria-metrics counts what it took", || {
        let page = connection.get("/metrics").ok()?.body;
        let rows = rows_inserted(&String::from_utf8_lossy(&page));
        (rows >= expected).then_some(rows)
    })?;
    let after = usage::cpu_seconds(pid).unwrap_or(0.0);
    let row = Measured::new(
        peer.name(),
        &outcome,
        &workload,
        after - before,
        pid,
        stored,
    );
    drop(process);
    let _kept_on_failure = std::fs::remove_dir_all(data);
    Ok(row)
}

/// The sum of the counters of rows by protocol on VictoriaMetrics' page.
fn rows_inserted(page: &str) -> u64 {
    let counters = page
        .lines()
        .filter(|line| line.starts_with("vm_rows_inserted_total{"));
    let values = counters.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok());
    values.sum::<f64>() as u64
}

fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> Result<T, Failure> {
    let began = Instant::now();
    loop {
        if let Some(seen) = look() {
            return Ok(seen);
        }
        if began.elapsed() > DEADLINE {
            return Err(Failure::new(format!("not within {DEADLINE:?}: {what}")));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_summed_over_protocols() {
        let page = "# x\nvm_rows_inserted_total{type=\"influx\"} 3\nvm_rows_inserted_total{type=\"vmimport\"} 1e3\n\
                    vm_rows_ignored_total 7\n";
        assert_eq!(rows_inserted(page), 1003);
    }
}
