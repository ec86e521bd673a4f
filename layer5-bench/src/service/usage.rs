//! What the kernel says of a process: CPU time and memory, from `/proc/PID`.
//! In: a process id. Out: numbers, or nothing where there is no `/proc` or no such process.

/// Kernel ticks in a second of CPU time: 100 on every Linux that Rust supports (`getconf CLK_TCK`).
const TICKS_PER_SECOND: f64 = 100.0;

/// CPU time of a process so far, all its threads, user and system, s.
#[must_use]
pub fn cpu_seconds(pid: u32) -> Option<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // Fields are counted behind the command's name, which may hold blanks and brackets.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
    Some(ticks as f64 / TICKS_PER_SECOND)
}

/// A line of `/proc/PID/status` in bytes: `VmRSS` is resident now, `VmHWM` the most there ever was.
#[must_use]
pub fn memory_bytes(pid: u32, line: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let found = status
        .lines()
        .find_map(|l| l.strip_prefix(line)?.strip_prefix(':'))?;
    let kib: u64 = found.split_whitespace().next()?.parse().ok()?;
    Some(kib * 1024)
}

/// The one letter of what all threads of a process do: `true` when every one is stopped.
#[must_use]
pub fn is_stopped(pid: u32) -> bool {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{pid}/task")) else {
        return false;
    };
    threads.flatten().all(|thread| {
        let stat = std::fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        let state = stat.rsplit_once(')').map(|(_, rest)| rest.trim_start());
        state.is_some_and(|state| state.starts_with(['T', 't']))
    })
}

/// What each thread of a process waits for now, a line each: name, state and the kernel function it sleeps in.
#[must_use]
pub fn threads(pid: u32) -> String {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{pid}/task")) else {
        return String::new();
    };
    let line = |thread: std::path::PathBuf| {
        let read = |file: &str| std::fs::read_to_string(thread.join(file)).unwrap_or_default();
        let stat = read("stat");
        let state = stat
            .rsplit_once(')')
            .and_then(|(_, rest)| rest.trim().chars().next());
        format!(
            "{:<16} {} {}\n",
            read("comm").trim(),
            state.unwrap_or('?'),
            read("wchan")
        )
    };
    threads
        .flatten()
        .map(|thread| line(thread.path()))
        .collect()
}

/// The process that `parent` started, when there is exactly one.
#[must_use]
pub fn only_child(parent: u32) -> Option<u32> {
    let list = std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).ok()?;
    let mut children = list.split_whitespace();
    let child = children.next()?.parse().ok()?;
    children.next().is_none().then_some(child)
}
