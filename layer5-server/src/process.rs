//! What the kernel says of this process: memory, CPU time, open files, from `/proc/self` where there is one.

use std::fs;

/// Kernel ticks in a second of CPU time: 100 on every Linux that Rust supports (`getconf CLK_TCK`).
const TICKS_PER_SECOND: f64 = 100.0;

/// One look at this process.
#[derive(Clone, Debug)]
pub struct Process {
    /// Memory in RAM, bytes.
    pub resident_bytes: f64,
    /// Address space, bytes.
    pub virtual_bytes: f64,
    /// Threads.
    pub threads: f64,
    /// Files and sockets open now.
    pub open_files: f64,
    /// How many may be open.
    pub open_files_max: f64,
    /// Start, seconds since the Unix epoch.
    pub started: f64,
    /// User and system time, s.
    pub cpu_seconds: f64,
    /// What the cgroup allows, else the machine's memory, bytes.
    pub memory_limit_bytes: Option<f64>,
}

/// Looks; `None` where there is no `/proc`.
#[must_use]
pub fn look() -> Option<Process> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let kib = |name: &str| field(&status, name).map(|kib| kib * 1024.0);
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // Fields are counted behind the command's name, which may hold blanks and brackets.
    let fields: Vec<f64> = stat
        .rsplit_once(')')?
        .1
        .split_whitespace()
        .skip(1)
        .map_while(|word| word.parse().ok())
        .collect();
    let ticks = |idx: usize| fields.get(idx).map(|ticks| ticks / TICKS_PER_SECOND);
    let booted = field(&fs::read_to_string("/proc/stat").ok()?, "btime")?;
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    Some(Process {
        resident_bytes: kib("VmRSS:")?,
        virtual_bytes: kib("VmSize:")?,
        threads: field(&status, "Threads:")?,
        open_files: fs::read_dir("/proc/self/fd").ok()?.count() as f64,
        open_files_max: field(&limits, "Max open files")?,
        started: booted + ticks(18)?,
        cpu_seconds: ticks(10)? + ticks(11)?,
        memory_limit_bytes: memory_limit(),
    })
}

/// The number behind `name` at the start of a line.
fn field(text: &str, name: &str) -> Option<f64> {
    text.lines()
        .find_map(|line| line.strip_prefix(name))?
        .split_whitespace()
        .next()?
        .parse()
        .ok()
}

/// The tightest of the machine's memory and the limit of the control group, in either version's place; in a container
/// the group is the root, elsewhere `/proc/self/cgroup` tells where it is. Bytes.
#[must_use]
pub fn memory_limit() -> Option<f64> {
    let machine = field(&fs::read_to_string("/proc/meminfo").ok()?, "MemTotal:")? * 1024.0;
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let own = groups.lines().filter_map(|line| {
        let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
        match controllers {
            "" => Some(format!("/sys/fs/cgroup{path}/memory.max")),
            "memory" => Some(format!("/sys/fs/cgroup/memory{path}/memory.limit_in_bytes")),
            _ => None,
        }
    });
    let root = [
        "/sys/fs/cgroup/memory.max",
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
    ];
    let limits = own
        .chain(root.map(str::to_owned))
        .filter_map(|path| fs::read_to_string(path).ok()?.trim().parse::<f64>().ok());
    Some(limits.fold(machine, f64::min))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_plausible() {
        let process = look().expect("there is a /proc on Linux");
        assert!(process.resident_bytes > 1e5 && process.resident_bytes < process.virtual_bytes);
        assert!(process.threads >= 1.0 && process.open_files >= 3.0);
        assert!(process.open_files < process.open_files_max);
        assert!(
            process
                .memory_limit_bytes
                .is_some_and(|limit| limit > process.resident_bytes)
        );
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .expect("the clock is behind 1970")
            .as_secs_f64();
        // btime is a whole second, and the start is counted in hundredths.
        assert!(process.started < now + 2.0 && process.started > now - 3600.0);
    }
}
