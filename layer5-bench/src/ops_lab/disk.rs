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

/// Delays every fdatasync of a process until it is dropped, as a disk in trouble does.
#[derive(Debug)]
pub struct SlowDisk {
    _tracer: Part,
}

impl SlowDisk {
    pub(super) fn of(pid: u32, delay: Duration, folder: &Path) -> Result<Self, Failure> {
        let inject = format!(
            "inject=fsync,fdatasync,msync,sync_file_range:delay_enter={}",
            delay.as_micros()
        );
        let mut command = Command::new("strace");
        command
            .args(["-f", "-qq", "-o", "/dev/null", "-e", "signal=none"])
            .args([
                "-e",
                "trace=fsync,fdatasync,msync,sync_file_range",
                "-e",
                &inject,
            ])
            .args(["-p", &pid.to_string()]);
        Ok(Self {
            _tracer: Part::start("strace", &mut command, folder)?,
        })
    }
}
