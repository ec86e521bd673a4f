//! What the kernel says of this process: memory and CPU time, from `/proc/self` where there is one.

/// Kernel ticks in a second of CPU time: 100 on every Linux that Rust supports (`getconf CLK_TCK`).
const TICKS_PER_SECOND: f64 = 100.0;

/// Resident bytes and CPU seconds of this process; `None` where there is no `/proc`.
#[must_use]
pub fn memory_and_cpu() -> Option<(u64, f64)> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let kib: u64 = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?
        .split_whitespace()
        .next()?
        .parse()
        .ok()?;
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // Fields are counted behind the command's name, which may hold blanks and brackets.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
    Some((kib * 1024, ticks as f64 / TICKS_PER_SECOND))
}
