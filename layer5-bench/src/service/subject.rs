//! The service under test: one `layer5 serve` process on free ports of loopback.
//! In: a binary, a data folder, settings, perhaps a tracer in front. Out: its addresses, how long it took to be ready,
//! how it ended, the end of its log. Called from: the tools.
//! Invariants: a subject that is dropped is killed, with whatever runs it; every wait has a deadline.

use std::{
    collections::VecDeque,
    io::{self, BufRead, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, mpsc},
    time::{Duration, Instant},
};

use serde_json::Value;

use super::usage;

/// Lines of the log that are kept.
const LOG_LINES: usize = 40;
/// Longest wait for a service to be ready or to end; only failures take it.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// How a service is started.
#[derive(Clone, Debug, Default)]
pub struct Launch {
    /// The `layer5` binary.
    pub binary: PathBuf,
    /// Where it keeps its data.
    pub data_dir: PathBuf,
    /// Settings as the environment has them, without the prefix: `("PIPELINE__SHARDS", "1")`.
    pub settings: Vec<(&'static str, String)>,
    /// A configuration file.
    pub config: Option<PathBuf>,
    /// What runs it: `strace` and its arguments. Empty: nothing.
    pub tracer: Vec<String>,
    /// Files that it writes its number into before it starts, to join control groups.
    pub joins: Vec<PathBuf>,
}

/// A running service.
#[derive(Debug)]
pub struct Subject {
    child: Child,
    pid: u32,
    /// Where the API listens.
    pub api: SocketAddr,
    /// From the start of the process to the line that says that it is ready.
    pub ready_after: Duration,
    log: Log,
}

type Log = Arc<Mutex<VecDeque<String>>>;

/// Why a service did not become ready.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// It could not be run.
    #[error("{program} can't be run: {source}")]
    Run {
        /// What.
        program: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It ended, or was killed, before it was ready.
    #[error("layer5 ended with {status} before it was ready; its log ends:\n{log}")]
    Ended {
        /// How.
        status: ExitStatus,
        /// Its last lines.
        log: String,
    },
    /// It took too long.
    #[error("layer5 was not ready after {DEADLINE:?}; its log ends:\n{log}")]
    Late {
        /// Its last lines.
        log: String,
    },
}

/// The `layer5` binary beside this one, where cargo puts both.
#[must_use]
pub fn default_binary() -> PathBuf {
    let here = std::env::current_exe().unwrap_or_default();
    let mut folder = here.parent().unwrap_or(Path::new(".")).to_owned();
    // Tests run from a folder below the binaries.
    if folder.ends_with("deps") {
        folder.pop();
    }
    folder.join("layer5")
}

impl Launch {
    /// A service of `binary` that keeps its data in `data_dir`.
    #[must_use]
    pub fn new(binary: &Path, data_dir: &Path) -> Self {
        Self {
            binary: binary.to_owned(),
            data_dir: data_dir.to_owned(),
            ..Self::default()
        }
    }

    /// Starts it and waits until it is ready.
    ///
    /// # Errors
    /// [`LaunchError`]; nothing is left running then.
    ///
    /// # Panics
    /// Never: no holder of the lock panics.
    pub fn start(&self) -> Result<Subject, LaunchError> {
        let mut command = self.command();
        let began = Instant::now();
        let mut child = command.spawn().map_err(|source| LaunchError::Run {
            program: command.get_program().to_string_lossy().into_owned(),
            source,
        })?;
        let log = Log::default();
        let said = child.stderr.take().map(|stderr| follow(stderr, &log));
        let text = |log: &Log| {
            let lines = log.lock().expect("no holder panics");
            lines
                .iter()
                .fold(String::new(), |all, line| all + line + "\n")
        };
        let ready = said.and_then(|said| said.recv_timeout(DEADLINE).ok());
        let address = |line: &Value| line["api"].as_str()?.parse().ok();
        if let Some(api) = ready.as_ref().and_then(address) {
            let ready_after = began.elapsed();
            let traced = (!self.tracer.is_empty()).then(|| usage::only_child(child.id()));
            let pid = traced.flatten().unwrap_or(child.id());
            return Ok(Subject {
                child,
                pid,
                api,
                ready_after,
                log,
            });
        }
        if let Ok(Some(status)) = wait_for(&mut child, Duration::from_secs(1)) {
            let log = text(&log);
            return Err(LaunchError::Ended { status, log });
        }
        let pid = usage::only_child(child.id()).unwrap_or(child.id());
        let threads = usage::threads(pid);
        signal("KILL", pid);
        // It may have ended meanwhile.
        let _gone = child.kill();
        let _gone = child.wait();
        let log = text(&log) + &threads;
        Err(LaunchError::Late { log })
    }

    fn command(&self) -> Command {
        let binary = self.binary.to_string_lossy().into_owned();
        let mut words: Vec<String> = self.tracer.clone();
        words.extend([binary, "serve".into()]);
        if let Some(config) = &self.config {
            words.extend(["--config".into(), config.to_string_lossy().into_owned()]);
        }
        let mut command = if self.joins.is_empty() {
            let mut command = Command::new(&words[0]);
            command.args(&words[1..]);
            command
        } else {
            let joins = self
                .joins
                .iter()
                .map(|file| format!("echo $$ > '{}' && ", file.display()));
            let script = joins.collect::<String>() + "exec \"$@\"";
            let mut command = Command::new("sh");
            command.args(["-c", &script, "sh"]).args(&words);
            command
        };
        // Nothing of the caller's own environment may configure it.
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("LAYER")) {
            command.env_remove(name);
        }
        command
            .env("LAYER5_HTTP__LISTEN", "127.0.0.1:0")
            .env("LAYER5_METRICS__LISTEN", "127.0.0.1:0")
            .env("LAYER5_STORE__DATA_DIR", &self.data_dir)
            .env("RUST_LOG", "info")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        for (key, value) in &self.settings {
            command.env(format!("LAYER5_{key}"), value);
        }
        command
    }
}

/// Keeps the end of the log; the line that says that it is ready comes out of the channel.
fn follow(stderr: std::process::ChildStderr, log: &Log) -> mpsc::Receiver<Value> {
    let (ready, said) = mpsc::channel();
    let kept = Arc::clone(log);
    std::thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            if let Ok(value) = serde_json::from_str::<Value>(&line)
                && value["message"] == "layer5 is ready"
            {
                // Nobody waits any more when the start was given up.
                let _given_up = ready.send(value);
            }
            let mut kept = kept.lock().expect("no holder panics");
            if kept.len() == LOG_LINES {
                kept.pop_front();
            }
            kept.push_back(line);
        }
    });
    said
}

impl Subject {
    /// The number of the `layer5` process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// The end of its log.
    ///
    /// # Panics
    /// Never: no holder of the lock panics.
    #[must_use]
    pub fn log(&self) -> String {
        let lines = self.log.lock().expect("no holder panics");
        lines
            .iter()
            .fold(String::new(), |all, line| all + line + "\n")
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Waits at most `patience` for its end.
    pub fn wait(&mut self, patience: Duration) -> Option<ExitStatus> {
        wait_for(&mut self.child, patience).ok().flatten()
    }

    /// Sends it a signal, such as `STOP`.
    pub fn signal(&self, name: &str) {
        signal(name, self.pid);
    }

    /// SIGSTOP, and back when every thread stands still. What a thread had begun in the kernel is finished then.
    ///
    /// # Errors
    /// When it does not stand still within [`DEADLINE`].
    pub fn freeze(&self) -> io::Result<()> {
        self.signal("STOP");
        let began = Instant::now();
        while !usage::is_stopped(self.pid) {
            if began.elapsed() > DEADLINE {
                return Err(io::Error::other("layer5 did not stop at SIGSTOP"));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// SIGKILL, and back when it is gone.
    pub fn kill(mut self) {
        self.end();
    }

    /// SIGTERM; how it ended, or `None` when it had to be killed.
    pub fn terminate(mut self) -> Option<ExitStatus> {
        self.signal("TERM");
        self.wait(DEADLINE)
    }

    fn end(&mut self) {
        if self.ended().is_none() {
            // A tracer ends with what it traces; killed itself it would leave that running.
            signal("KILL", self.pid);
            if self.wait(Duration::from_secs(10)).is_none() {
                let _gone = self.child.kill();
                let _gone = self.child.wait();
            }
        }
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        self.end();
    }
}

fn wait_for(child: &mut Child, patience: Duration) -> io::Result<Option<ExitStatus>> {
    let began = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if began.elapsed() >= patience {
            return Ok(None);
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn signal(name: &str, pid: u32) {
    let script = format!("kill -{name} {pid} 2>/dev/null");
    // It may be gone already, which is what most signals are sent for.
    let _gone = Command::new("sh").args(["-c", &script]).status();
}
