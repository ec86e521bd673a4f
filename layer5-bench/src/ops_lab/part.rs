//! One process of the lab: started with its output in a file of its own, ended when dropped.
//! In: a command. Out: [`Part`]. Called from: `parts`.
//! Invariants: only processes that were started here are ever signalled, by their number; every wait has a deadline.

use std::{
    fs::File,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use crate::{
    Failure,
    service::http::{Answer, Connection},
};

/// Longest wait for a part to answer; only failures take it.
const DEADLINE: Duration = Duration::from_secs(60);
/// How long a part may take to end by itself.
const LAST_WORDS: Duration = Duration::from_secs(15);

/// A running process.
#[derive(Debug)]
pub struct Part {
    name: &'static str,
    child: Child,
    log: PathBuf,
}

impl Part {
    /// Starts `command`; its output goes to `folder/NAME.log`.
    ///
    /// # Errors
    /// When the program is not there (left out) or can't be run.
    pub fn start(
        name: &'static str,
        command: &mut Command,
        folder: &Path,
    ) -> Result<Self, Failure> {
        let log = folder.join(format!("{name}.log"));
        let file = File::options().create(true).append(true).open(&log);
        let file = file.map_err(|e| Failure::new(format!("{}: {e}", log.display())))?;
        let errors = file.try_clone().map_err(Failure::new)?;
        let spawned = command
            .stdin(Stdio::null())
            .stdout(file)
            .stderr(errors)
            .spawn();
        let child = spawned.map_err(|error| {
            let program = command.get_program().to_string_lossy().into_owned();
            let said = format!(
                "{program} can't be run: {error}; ./check.sh tools brings what the lab needs"
            );
            match error.kind() {
                std::io::ErrorKind::NotFound => Failure::left_out(said),
                _ => Failure::new(said),
            }
        })?;
        Ok(Self { name, child, log })
    }

    /// Its process number.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until `GET path` is answered 200.
    ///
    /// # Errors
    /// When it ends or does not answer in time; with the end of its log.
    pub fn until_it_answers(&mut self, at: SocketAddr, path: &str) -> Result<(), Failure> {
        let began = Instant::now();
        while !ask(at, path).is_ok_and(|answer| answer.status == 200) {
            let ended = self.child.try_wait().ok().flatten();
            if ended.is_some() || began.elapsed() > DEADLINE {
                let log = std::fs::read_to_string(&self.log).unwrap_or_default();
                let end: Vec<&str> = log.lines().rev().take(15).collect();
                let end: Vec<&str> = end.into_iter().rev().collect();
                let name = self.name;
                let what =
                    ended.map_or("does not answer".to_owned(), |s| format!("ended with {s}"));
                return Err(Failure::new(format!("{name} {what}:\n{}", end.join("\n"))));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// Sends it a signal, such as `STOP`.
    pub fn signal(&self, name: &str) {
        signal(name, self.pid());
    }

    /// SIGKILL, and back when it is gone.
    pub fn kill(mut self) {
        let _gone = self.child.kill();
        let _gone = self.child.wait();
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> bool {
        self.child.try_wait().ok().flatten().is_some()
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if self.ended() {
            return;
        }
        self.signal("TERM");
        let began = Instant::now();
        while !self.ended() && began.elapsed() < LAST_WORDS {
            std::thread::sleep(Duration::from_millis(20));
        }
        // It may be gone already.
        let _gone = self.child.kill();
        let _gone = self.child.wait();
    }
}

/// Sends a signal to one process.
pub(super) fn signal(name: &str, pid: u32) {
    let script = format!("kill -{name} {pid} 2>/dev/null");
    // It may be gone already, which is what most signals are sent for.
    let _gone = Command::new("sh").args(["-c", &script]).status();
}

/// One `GET`.
///
/// # Errors
/// When there is no whole answer.
pub fn ask(at: SocketAddr, path: &str) -> std::io::Result<Answer> {
    Connection::new(at, Duration::from_secs(10)).get(path)
}

/// `port` of loopback, or a free one for 0.
///
/// # Errors
/// When it can't be had.
pub(super) fn port(port: u16) -> Result<SocketAddr, Failure> {
    TcpListener::bind(("127.0.0.1", port))
        .and_then(|listener| listener.local_addr())
        .map_err(|e| Failure::new(format!("port {port} can't be had: {e}")))
}
