//! The disk of the lab's Layer5: small, so that it can be filled, and slow on demand.
//! In: a size; a process. Out: a mounted folder; a tracer that delays every durable write. Called from: [`super::Lab`].
//! Invariants: unmounted when dropped; where nothing may be mounted it is a plain folder, which says that it can't be
//! filled.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use super::part::Part;
use crate::Failure;

/// Its size, MiB: what the store keeps free, several times over.
const MIB: u64 = 1024;

/// A folder on a small disk.
#[derive(Debug)]
pub struct Disk {
    /// Where.
    pub at: PathBuf,
    is_mounted: bool,
}

impl Disk {
    pub(super) fn new(at: &Path) -> Result<Self, Failure> {
        fs::create_dir_all(at).map_err(Failure::new)?;
        let size = format!("size={MIB}m");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "layer5-lab"])
            .arg(at)
            .output();
        Ok(Self {
            at: at.to_owned(),
            is_mounted: mounted.is_ok_and(|run| run.status.success()),
        })
    }

    /// Whether it can be filled without filling the machine's own.
    #[must_use]
    pub fn can_be_filled(&self) -> bool {
        self.is_mounted
    }

    /// Fills it to about this share.
    ///
    /// # Errors
    /// When it is no disk of its own, or can't be written.
    pub fn fill(&self, share: f64) -> Result<(), Failure> {
        if !self.is_mounted {
            return Err(Failure::left_out(
                "nothing may be mounted here, so no disk can be filled",
            ));
        }
        let mut file = fs::File::create(self.filler()).map_err(Failure::new)?;
        let piece = vec![0x5a; 1 << 20];
        for _ in 0..(MIB as f64 * share) as u64 {
            file.write_all(&piece).map_err(Failure::new)?;
        }
        Ok(())
    }

    /// Makes room again.
    ///
    /// # Errors
    /// When the filler can't be removed.
    pub fn empty(&self) -> Result<(), Failure> {
        fs::remove_file(self.filler()).map_err(Failure::new)
    }

    fn filler(&self) -> PathBuf {
        self.at.join("filler")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if self.is_mounted {
            // A lazy one, should anybody still look into it.
            let _gone = Command::new("umount").arg("-l").arg(&self.at).status();
        }
    }
}

/// Delays every durable write of one thread until it is dropped, as a disk in trouble does.
#[derive(Debug)]
pub struct SlowDisk {
    _tracer: Part,
}

/// What makes a write durable.
const CALLS: &str = "fsync,fdatasync,msync,sync_file_range";

impl SlowDisk {
    /// Of the thread of `pid` with this name: a tracer slows down every call of whom it traces, so nobody else is.
    pub(super) fn of(
        pid: u32,
        thread: &str,
        delay: Duration,
        folder: &Path,
    ) -> Result<Self, Failure> {
        let thread = thread_of(pid, thread)?;
        let mut command = Command::new("strace");
        command
            .args(["-qq", "-o", "/dev/null", "-e", "signal=none"])
            .args(["-e", &format!("trace={CALLS}")])
            .args([
                "-e",
                &format!("inject={CALLS}:delay_enter={}", delay.as_micros()),
            ])
            .args(["-p", &thread]);
        Ok(Self {
            _tracer: Part::start("strace", &mut command, folder)?,
        })
    }
}

/// The number of a process' thread.
fn thread_of(pid: u32, name: &str) -> Result<String, Failure> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).map_err(Failure::new)?;
    tasks
        .filter_map(Result::ok)
        .find(|task| {
            let comm = fs::read_to_string(task.path().join("comm"));
            comm.is_ok_and(|comm| comm.trim_end() == name)
        })
        .map(|task| task.file_name().to_string_lossy().into_owned())
        .ok_or_else(|| Failure::new(format!("process {pid} has no thread {name}")))
}
