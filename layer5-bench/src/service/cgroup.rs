//! A control group of our own: memory and CPU of a process that must not have more.
//! In: limits. Out: what a command must write to join, and what was counted. Called from: [`crate::overload`].
//! Invariants: works with version 1 and 2 of the kernel's interface; the group is removed when dropped, after those in
//! it are gone.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// The period of the CPU quota, us: the kernel's default.
const PERIOD_US: u64 = 100_000;

/// A group with limits.
#[derive(Debug)]
pub struct Cgroup {
    /// One folder for version 2, one per controller for version 1.
    folders: Vec<PathBuf>,
    unified: bool,
}

impl Cgroup {
    /// A new group named `name` of at most `memory_bytes`, and `cpus` when given (0.5 is half of one).
    ///
    /// # Errors
    /// When the kernel offers no control groups here or this user may not make one.
    pub fn new(name: &str, memory_bytes: u64, cpus: Option<f64>) -> io::Result<Self> {
        let root = Path::new("/sys/fs/cgroup");
        let unified = root.join("cgroup.controllers").exists();
        let quota = cpus.map(|cpus| (cpus * PERIOD_US as f64) as u64);
        let mut group = Self {
            folders: Vec::new(),
            unified,
        };
        if unified {
            let folder = group.make(&root.join(name))?;
            fs::write(folder.join("memory.max"), memory_bytes.to_string())?;
            // Swap would hide what does not fit.
            let _no_swap = fs::write(folder.join("memory.swap.max"), "0");
            if let Some(quota) = quota {
                fs::write(folder.join("cpu.max"), format!("{quota} {PERIOD_US}"))?;
            }
            return Ok(group);
        }
        let folder = group.make(&root.join("memory").join(name))?;
        fs::write(
            folder.join("memory.limit_in_bytes"),
            memory_bytes.to_string(),
        )?;
        if let Some(quota) = quota {
            let folder = group.make(&root.join("cpu").join(name))?;
            fs::write(folder.join("cpu.cfs_period_us"), PERIOD_US.to_string())?;
            fs::write(folder.join("cpu.cfs_quota_us"), quota.to_string())?;
        }
        Ok(group)
    }

    fn make(&mut self, folder: &Path) -> io::Result<PathBuf> {
        fs::create_dir(folder)?;
        self.folders.push(folder.to_owned());
        Ok(folder.to_owned())
    }

    /// Files that a process joins by writing its number into each.
    #[must_use]
    pub fn doors(&self) -> Vec<PathBuf> {
        self.folders
            .iter()
            .map(|f| f.join("cgroup.procs"))
            .collect()
    }

    /// Most memory that was ever charged, and how many were killed for want of it.
    #[must_use]
    pub fn peak_and_kills(&self) -> (Option<u64>, Option<u64>) {
        let folder = &self.folders[0];
        let number = |file: &str| fs::read_to_string(folder.join(file)).ok();
        let peak = match self.unified {
            true => number("memory.peak"),
            false => number("memory.max_usage_in_bytes"),
        };
        let events = match self.unified {
            true => number("memory.events"),
            false => number("memory.oom_control"),
        };
        let kills = events.and_then(|text| {
            let line = text.lines().find_map(|l| l.strip_prefix("oom_kill "))?;
            line.trim().parse().ok()
        });
        (peak.and_then(|text| text.trim().parse().ok()), kills)
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        for folder in &self.folders {
            // The kernel keeps a group for a moment after its last process is gone.
            for _ in 0..100 {
                if fs::remove_dir(folder).is_ok() || !folder.exists() {
                    break;
                }
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
        }
    }
}
