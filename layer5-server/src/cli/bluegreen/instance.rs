//! One `layer5 serve` process of the exercise: blue or green, active or shadow.
//! In: a binary, ports, a folder. Out: a process that is ready, or words on why not. Called from: [`super::local`].
//! Invariants: a process that was started is ended with its [`Instance`]; nothing of the caller's own settings reaches it.

use std::{
    fmt,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use tokio::net::TcpStream;

use super::service::Service;
use crate::cli::Failure;

/// Pause between two looks.
const LOOK_PAUSE: Duration = Duration::from_millis(10);

/// One of the two environments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Color {
    Blue,
    Green,
}

impl Color {
    pub(super) fn other(self) -> Self {
        match self {
            Self::Blue => Self::Green,
            Self::Green => Self::Blue,
        }
    }

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Blue => "blue",
            Self::Green => "green",
        }
    }
}

impl fmt::Display for Color {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How an instance is started.
#[derive(Clone, Debug)]
pub(super) struct Launch {
    pub(super) binary: PathBuf,
    pub(super) config: PathBuf,
    pub(super) color: Color,
    pub(super) port: u16,
    pub(super) data_dir: PathBuf,
    /// Where Layer7 is.
    pub(super) layer7: String,
    /// Settings as the environment has them: `LAYER5_...`.
    pub(super) settings: Vec<(&'static str, String)>,
}

/// A running instance.
#[derive(Debug)]
pub(super) struct Instance {
    process: Child,
    pub(super) color: Color,
    pub(super) service: Service,
    address: SocketAddr,
}

impl Launch {
    /// Starts it; its log goes to `log`.
    pub(super) fn start(&self, log: &Path) -> Result<Instance, Failure> {
        let io =
            |what: &Path, e: std::io::Error| Failure::new(1, format!("{}: {e}", what.display()));
        let log_file = std::fs::File::options()
            .create(true)
            .append(true)
            .open(log)
            .map_err(|e| io(log, e))?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        let mut command = Command::new(&self.binary);
        for (name, _) in std::env::vars() {
            let settings = ["RUST_LOG", "REDIS_URL", "DEPLOYMENT_COLOR"];
            if name.starts_with("LAYER") || settings.contains(&name.as_str()) {
                command.env_remove(name);
            }
        }
        let process = command
            .arg("serve")
            .arg("--config")
            .arg(&self.config)
            .env("LAYER5_HTTP__LISTEN", address.to_string())
            .env("LAYER5_METRICS__LISTEN", "127.0.0.1:0")
            .env("LAYER5_STORE__DATA_DIR", &self.data_dir)
            .env("DEPLOYMENT_COLOR", self.color.as_str())
            .env("LAYER7_API_URL", &self.layer7)
            .envs(self.settings.iter().map(|(k, v)| (k, v)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log_file)
            .spawn()
            .map_err(|e| io(&self.binary, e))?;
        Ok(Instance {
            process,
            color: self.color,
            service: Service::new(&format!("http://{address}"), None)?,
            address,
        })
    }
}

impl Instance {
    /// Waits until it listens; it may not be ready yet.
    pub(super) async fn listens(&mut self, patience: Duration) -> Result<(), String> {
        let began = Instant::now();
        while TcpStream::connect(self.address).await.is_err() {
            self.still_runs(began, patience, "listen")?;
            tokio::time::sleep(LOOK_PAUSE).await;
        }
        Ok(())
    }

    /// Waits until it is ready.
    pub(super) async fn ready(&mut self, patience: Duration) -> Result<(), String> {
        let began = Instant::now();
        loop {
            let asked = tokio::time::timeout(LOOK_PAUSE * 20, self.service.get("/ready"));
            if let Ok(Ok(_)) = asked.await {
                return Ok(());
            }
            self.still_runs(began, patience, "get ready")?;
            tokio::time::sleep(LOOK_PAUSE).await;
        }
    }

    fn still_runs(&mut self, began: Instant, patience: Duration, what: &str) -> Result<(), String> {
        let color = self.color;
        if let Ok(Some(status)) = self.process.try_wait() {
            return Err(format!(
                "{color} ended with {status} before it could {what}"
            ));
        }
        match began.elapsed() > patience {
            true => Err(format!("{color} did not {what} within {patience:?}")),
            false => Ok(()),
        }
    }

    /// Whether it has ended.
    pub(super) fn is_gone(&mut self) -> bool {
        !matches!(self.process.try_wait(), Ok(None))
    }

    /// Asks it to stop.
    pub(super) fn terminate(&self) -> Result<(), Failure> {
        let kill = format!("kill -TERM {}", self.process.id());
        let sent = Command::new("sh").args(["-c", &kill]).status();
        match sent {
            Ok(status) if status.success() => Ok(()),
            other => Err(Failure::new(1, format!("{kill}: {other:?}"))),
        }
    }

    /// Waits for its end; kills it when that takes too long.
    pub(super) async fn ended(&mut self, patience: Duration) -> Option<ExitStatus> {
        let began = Instant::now();
        loop {
            match self.process.try_wait() {
                Ok(Some(status)) => return Some(status),
                Ok(None) if began.elapsed() < patience => tokio::time::sleep(LOOK_PAUSE).await,
                _ => {
                    self.kill();
                    return None;
                }
            }
        }
    }

    /// SIGKILL.
    pub(super) fn kill(&mut self) {
        // It may have ended already.
        let _gone = self.process.kill();
        let _gone = self.process.wait();
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.kill();
    }
}
