//! Real input: the processes of this machine as agents, their CPU, memory and I/O from `/proc` as KPIs.
//! In: a limit on the number of processes, and the moment of each reading. Out: a [`Post`] of shape B.
//! Called from: `cli/demo`.
//! Invariants: at most `processes_max` are followed; one that is followed stays so until it ends, so that its series
//! have no holes; a KPI that the kernel does not let us read is absent, never zero.
//! Reference: proc(5). CPU times are in clock ticks of 1/100 s on every Linux that Rust supports but Alpha.

use std::{
    collections::{BTreeMap, HashMap},
    fs, io,
    path::{Path, PathBuf},
};

use layer5_core::Timestamp;

use super::{
    report::{KpiBatch, TimeForm, WireTime},
    world::Post,
};

const TICKS_PER_SECOND: f64 = 100.0;
const KB_PER_MB: f64 = 1024.0;

/// A process, told apart from a later one with the same id by when it started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct ProcessKey {
    pid: u32,
    start_ticks: u64,
}

/// What `/proc` says of a process at one moment.
#[derive(Clone, Debug, PartialEq)]
struct Reading {
    key: ProcessKey,
    name: String,
    cpu_ticks: u64,
    threads: u64,
    memory_mb: f64,
    /// Bytes read and written since it started; `None` when the kernel does not tell us.
    io_bytes: Option<(u64, u64)>,
    open_files: Option<usize>,
}

/// A process that is followed.
#[derive(Debug)]
struct Followed {
    agent_id: String,
    at: Timestamp,
    last: Reading,
    cpu_usage_peak: f64,
    cpu_seconds: f64,
    memory_mb: f64,
}

/// One process in the closing table.
#[derive(Clone, Debug, PartialEq)]
pub struct Busy {
    /// `name-pid`.
    pub agent_id: String,
    /// CPU seconds used while it was followed.
    pub cpu_seconds: f64,
    /// The largest fraction of all cores between two readings.
    pub cpu_usage_peak: f64,
    /// At the last reading.
    pub memory_mb: f64,
}

/// Reads this machine's processes.
#[derive(Debug)]
pub struct HostSampler {
    proc: PathBuf,
    hostname: String,
    cores: f64,
    processes_max: usize,
    followed: HashMap<ProcessKey, Followed>,
    ended: Vec<Busy>,
    /// CPU ticks at the first sight of processes that are not followed.
    seen: HashMap<ProcessKey, u64>,
    readings: u64,
}

impl HostSampler {
    /// A sampler of the `processes_max` busiest processes.
    ///
    /// # Errors
    /// When there is no `/proc` of Linux's kind.
    pub fn new(processes_max: usize) -> io::Result<Self> {
        Self::at(Path::new("/proc"), processes_max)
    }

    fn at(proc: &Path, processes_max: usize) -> io::Result<Self> {
        if !cfg!(target_os = "linux") || fs::metadata(proc.join("self/stat")).is_err() {
            let what = "--source host reads /proc, which is Linux's; use --source fleet here";
            return Err(io::Error::new(io::ErrorKind::Unsupported, what));
        }
        let hostname = fs::read_to_string(proc.join("sys/kernel/hostname")).unwrap_or_default();
        Ok(Self {
            proc: proc.to_owned(),
            hostname: hostname.trim().to_owned(),
            cores: std::thread::available_parallelism().map_or(1.0, |n| n.get() as f64),
            processes_max,
            followed: HashMap::new(),
            ended: Vec::new(),
            seen: HashMap::new(),
            readings: 0,
        })
    }

    /// Reads every process at `now`; the post is empty at the first reading, because rates need two.
    ///
    /// # Errors
    /// When `/proc` can't be listed. A process that ends meanwhile is left out.
    pub fn sample(&mut self, now: Timestamp) -> io::Result<Post> {
        let readings: Vec<Reading> = self
            .pids()?
            .into_iter()
            .filter_map(|pid| read_process(&self.proc, pid))
            .collect();
        self.readings += 1;
        let mut post = Post::default();
        let mut alive = HashMap::with_capacity(self.followed.len());
        let mut strangers = Vec::new();
        for reading in readings {
            match self.followed.remove(&reading.key) {
                Some(mut followed) => {
                    let key = reading.key;
                    self.write(&mut followed, reading, now, &mut post);
                    alive.insert(key, followed);
                }
                None => strangers.push(reading),
            }
        }
        let ended = self.followed.drain().map(|(_, followed)| followed.closed());
        self.ended.extend(ended);
        self.followed = alive;
        self.follow_busiest(strangers, now);
        Ok(post)
    }

    /// The processes that were followed, the busiest first.
    #[must_use]
    pub fn busiest(&self) -> Vec<Busy> {
        let mut rows = self.ended.clone();
        rows.extend(self.followed.values().map(Followed::closed));
        rows.sort_by(|a, b| {
            b.cpu_seconds
                .total_cmp(&a.cpu_seconds)
                .then(b.memory_mb.total_cmp(&a.memory_mb))
                .then(a.agent_id.cmp(&b.agent_id))
        });
        rows
    }

    fn pids(&self) -> io::Result<Vec<u32>> {
        let names = fs::read_dir(&self.proc)?;
        Ok(names
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .collect())
    }

    /// Fills free places with those strangers that used most CPU since they were first seen, then by memory.
    fn follow_busiest(&mut self, mut strangers: Vec<Reading>, now: Timestamp) {
        let free = self.processes_max.saturating_sub(self.followed.len());
        let used = |r: &Reading, seen: &HashMap<ProcessKey, u64>| {
            seen.get(&r.key)
                .map(|first| r.cpu_ticks - first.min(&r.cpu_ticks))
        };
        let previously = std::mem::take(&mut self.seen);
        strangers.sort_by(|a, b| {
            used(b, &previously)
                .cmp(&used(a, &previously))
                .then(b.memory_mb.total_cmp(&a.memory_mb))
        });
        for (place, reading) in strangers.into_iter().enumerate() {
            let first = previously.get(&reading.key).copied();
            // At the very first reading nobody has been seen using CPU; memory decides for half of the places.
            let open = if self.readings == 1 { free / 2 } else { free };
            if place < open {
                let followed = Followed::new(reading, now);
                self.followed.insert(followed.last.key, followed);
            } else {
                self.seen
                    .insert(reading.key, first.unwrap_or(reading.cpu_ticks));
            }
        }
    }

    fn write(&self, followed: &mut Followed, reading: Reading, now: Timestamp, post: &mut Post) {
        let seconds = now.seconds_since(followed.at);
        // A clock that was set back gives no rate.
        if seconds <= 0.0 {
            return;
        }
        let last = &followed.last;
        let cpu_seconds =
            (reading.cpu_ticks.saturating_sub(last.cpu_ticks)) as f64 / TICKS_PER_SECOND;
        // Ticks are coarse: a reading just after one more tick than fits would be above all cores.
        let cpu_usage = (cpu_seconds / seconds / self.cores).min(1.0);
        let mut metrics: BTreeMap<&str, f64> = BTreeMap::new();
        metrics.insert("cpu_usage", cpu_usage);
        metrics.insert("memory_mb", reading.memory_mb);
        metrics.insert("threads", reading.threads as f64);
        if let (Some(before), Some(after)) = (last.io_bytes, reading.io_bytes) {
            let rate = |a: u64, b: u64| b.saturating_sub(a) as f64 / seconds;
            metrics.insert("read_bytes_per_second", rate(before.0, after.0));
            metrics.insert("write_bytes_per_second", rate(before.1, after.1));
        }
        if let Some(open_files) = reading.open_files {
            metrics.insert("open_files", open_files as f64);
        }
        let report = KpiBatch {
            timestamp: WireTime::new(now, TimeForm::Text),
            agent_id: &followed.agent_id,
            task_id: format!("reading-{}", self.readings),
            metrics,
            metadata: [("hostname", self.hostname.as_str())].into(),
        };
        let line =
            serde_json::to_string(&report).expect("string keys and finite numbers are always JSON");
        post.body.extend_from_slice(line.as_bytes());
        post.body.push(b'\n');
        post.lines += 1;
        followed.cpu_usage_peak = followed.cpu_usage_peak.max(cpu_usage);
        followed.cpu_seconds += cpu_seconds;
        followed.memory_mb = reading.memory_mb;
        followed.at = now;
        followed.last = reading;
    }
}

impl Followed {
    fn new(last: Reading, at: Timestamp) -> Self {
        Self {
            agent_id: format!("{}-{}", last.name, last.key.pid),
            at,
            cpu_usage_peak: 0.0,
            cpu_seconds: 0.0,
            memory_mb: last.memory_mb,
            last,
        }
    }

    fn closed(&self) -> Busy {
        Busy {
            agent_id: self.agent_id.clone(),
            cpu_seconds: self.cpu_seconds,
            cpu_usage_peak: self.cpu_usage_peak,
            memory_mb: self.memory_mb,
        }
    }
}

/// What `/proc/pid` says; `None` when the process is gone, or a thread of the kernel (which has no memory of its own).
fn read_process(proc: &Path, pid: u32) -> Option<Reading> {
    let folder = proc.join(pid.to_string());
    let stat = fs::read_to_string(folder.join("stat")).ok()?;
    let stat = parse_stat(&stat)?;
    let status = fs::read_to_string(folder.join("status")).ok()?;
    let memory_kb = field(&status, "VmRSS:")?;
    let io = fs::read_to_string(folder.join("io")).ok();
    let io_bytes =
        io.and_then(|io| Some((field(&io, "read_bytes:")?, field(&io, "write_bytes:")?)));
    let open_files = fs::read_dir(folder.join("fd")).ok().map(Iterator::count);
    Some(Reading {
        key: ProcessKey {
            pid,
            start_ticks: stat.start_ticks,
        },
        name: stat.name,
        cpu_ticks: stat.cpu_ticks,
        threads: stat.threads,
        memory_mb: memory_kb as f64 / KB_PER_MB,
        io_bytes,
        open_files,
    })
}

#[derive(Debug, PartialEq)]
struct Stat {
    name: String,
    cpu_ticks: u64,
    threads: u64,
    start_ticks: u64,
}

/// Fields 2 (name), 14 + 15 (user and system time), 20 (threads) and 22 (start) of `/proc/pid/stat`. The name stands
/// in parentheses and may hold blanks and parentheses itself, so the fields are counted from the last one.
fn parse_stat(text: &str) -> Option<Stat> {
    let (open, close) = (text.find('(')?, text.rfind(')')?);
    let name: String = text
        .get(open + 1..close)?
        .chars()
        .map(|c| if c.is_control() { '_' } else { c })
        .collect();
    // The first field behind the name is the third.
    let fields: Vec<&str> = text[close + 1..].split_ascii_whitespace().collect();
    let number = |field: usize| -> Option<u64> { fields.get(field - 3)?.parse().ok() };
    Some(Stat {
        name,
        cpu_ticks: number(14)? + number(15)?,
        threads: number(20)?,
        start_ticks: number(22)?,
    })
}

/// The number behind `key` at the start of a line.
fn field(text: &str, key: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_is_read_whatever_the_process_calls_itself() {
        let rest = "S 1 1 1 0 -1 4194560 1 2 3 4 700 55 5 6 20 0 9 0 1234567 1 2";
        for name in ["sh", "a b", "x) R 9 (y", "(sd-pam)"] {
            let stat = parse_stat(&format!("42 ({name}) {rest}\n")).expect("well-formed");
            assert_eq!(stat.name, name);
            assert_eq!(
                (stat.cpu_ticks, stat.threads, stat.start_ticks),
                (755, 9, 1_234_567)
            );
        }
        for text in ["", "42 sh S 1", "42 (sh) S 1 1", ")("] {
            assert_eq!(parse_stat(text), None, "{text}");
        }
    }

    #[test]
    fn fields_are_found_by_their_whole_name() {
        let io = "rchar: 9\nread_bytes: 4096\nwrite_bytes: 0\ncancelled_write_bytes: 7\n";
        assert_eq!(field(io, "read_bytes:"), Some(4096));
        assert_eq!(field(io, "write_bytes:"), Some(0));
        assert_eq!(field("VmRSS:\t   1024 kB\n", "VmRSS:"), Some(1024));
        assert_eq!(field(io, "VmRSS:"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_is_followed() {
        let mut host = HostSampler::new(10_000).expect("a Linux");
        let now = Timestamp::from_millis(1_795_436_298_000);
        let lines: usize = (0..4)
            .map(|i| {
                host.sample(now.plus_seconds(f64::from(i)))
                    .expect("readable")
                    .lines
            })
            .sum();
        assert!(lines > 0);
        let own = format!("-{}", std::process::id());
        let rows = host.busiest();
        let own = rows
            .iter()
            .find(|row| row.agent_id.ends_with(&own))
            .expect("followed");
        assert!(own.memory_mb > 0.5 && own.cpu_usage_peak <= 1.0);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_number_of_processes_is_bounded() {
        let mut host = HostSampler::new(2).expect("a Linux");
        let now = Timestamp::from_millis(1_795_436_298_000);
        for i in 0..4 {
            let post = host
                .sample(now.plus_seconds(f64::from(i)))
                .expect("readable");
            assert!(post.lines <= 2);
            assert!(host.followed.len() <= 2);
        }
    }

    #[test]
    fn without_proc_the_error_says_what_to_do() {
        let error = HostSampler::at(Path::new("/nonexistent"), 5).expect_err("no such folder");
        assert!(error.to_string().contains("--source fleet"));
    }
}
