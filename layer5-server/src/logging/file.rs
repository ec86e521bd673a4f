//! The log file: bounded in size and age, its old pieces compressed, the oldest of them dropped.
//! In: lines, through a bounded queue. Out: `NAME`, and old pieces `NAME.<time>.gz`. Called from: [`super::start`].
//! Invariants: whoever logs never waits for the disk: a full queue or a full disk drops the line, and the count of those is
//! a metric; a line is whole or counted as dropped; the piece being compressed is removed only when its copy is on disk.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{
        atomic::{AtomicU64, Ordering::Relaxed},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread::JoinHandle,
    time::{Duration, SystemTime},
};

use flate2::{Compression, write::GzEncoder};
use layer5_core::Timestamp;
use tracing_subscriber::fmt::MakeWriter;

use crate::config::LogConfig;

/// Lines that may wait for the disk.
const QUEUE_LINES: usize = 8192;
/// How long the end of the process waits for what is left.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// Ending of an old piece that is compressed.
const PACKED: &str = "gz";

/// Lines that did not reach the file, of this process.
static DROPPED: AtomicU64 = AtomicU64::new(0);

/// Lines that the log file could not take, since the start of this process.
#[must_use]
pub fn dropped_lines() -> u64 {
    DROPPED.load(Relaxed)
}

/// How large and how old a piece may get, and how many are kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    bytes_max: u64,
    age_max: Duration,
    files_max: usize,
}

impl Limits {
    pub(super) fn of(config: &LogConfig) -> Self {
        Self {
            bytes_max: config.file_bytes_max,
            age_max: Duration::from_secs_f64(config.file_age_seconds),
            files_max: config.files_max,
        }
    }
}

#[derive(Debug)]
enum Message {
    Line(Vec<u8>),
    Stop(SyncSender<()>),
}

/// The way to the file, for the lines.
#[derive(Clone, Debug)]
pub(super) struct Lines(SyncSender<Message>);

/// Its writer. Dropping it waits until everything queued is written.
#[derive(Debug)]
pub(super) struct Writing(SyncSender<Message>);

/// Opens the file for appending and starts its writer.
pub(super) fn open(path: &Path, limits: Limits) -> io::Result<(Lines, Writing)> {
    let file = LogFile::open(path, limits)?;
    let (sender, queue) = sync_channel(QUEUE_LINES);
    std::thread::Builder::new()
        .name("log".into())
        .spawn(move || write_all(file, &queue))?;
    Ok((Lines(sender.clone()), Writing(sender)))
}

impl Drop for Writing {
    fn drop(&mut self) {
        let (done, is_done) = sync_channel(1);
        // A queue that stays full belongs to a disk that hangs: then the last words are lost, and counted.
        if self.0.try_send(Message::Stop(done)).is_ok() {
            let _late = is_done.recv_timeout(LAST_WORDS);
        }
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Write for Lines {
    /// Takes a whole line, which is how the formatter hands them over.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.0.try_send(Message::Line(line.to_vec())).is_err() {
            DROPPED.fetch_add(1, Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The writer's thread.
fn write_all(mut file: LogFile, queue: &Receiver<Message>) {
    let mut is_failing = false;
    while let Ok(message) = queue.recv() {
        match message {
            Message::Stop(done) => {
                file.finish();
                // Whoever asked may have stopped waiting.
                let _late = done.send(());
                return;
            }
            Message::Line(line) => match file.append(&line, SystemTime::now()) {
                Ok(()) => is_failing = false,
                Err(error) => {
                    DROPPED.fetch_add(1, Relaxed);
                    if !is_failing {
                        is_failing = true;
                        let path = file.path.display();
                        let _closed = writeln!(
                            io::stderr(),
                            "layer5: the log file {path} can't be written: {error}; its lines are dropped and counted \
                             until it can, the service goes on"
                        );
                    }
                }
            },
        }
    }
}

/// The open file and what is known of it.
#[derive(Debug)]
struct LogFile {
    path: PathBuf,
    limits: Limits,
    file: File,
    bytes: u64,
    since: SystemTime,
    /// Whether the last line was cut short, so that the next one needs a new line first.
    is_torn: bool,
    packing: Option<JoinHandle<()>>,
}

impl LogFile {
    fn open(path: &Path, limits: Limits) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        let there = file.metadata()?;
        let mut log = Self {
            path: path.to_owned(),
            limits,
            bytes: there.len(),
            since: there.created().or(there.modified())?,
            file,
            is_torn: false,
            packing: None,
        };
        // A process that was killed may have left pieces unpacked.
        log.pack();
        Ok(log)
    }

    fn append(&mut self, line: &[u8], now: SystemTime) -> io::Result<()> {
        let age = now.duration_since(self.since).unwrap_or_default();
        let is_full = self.bytes + line.len() as u64 > self.limits.bytes_max;
        if self.bytes > 0 && (is_full || age >= self.limits.age_max) {
            // Where no new file can be had the old one grows on: better too large than lost.
            let _kept = self.rotate(now);
        }
        if self.is_torn {
            self.file.write_all(b"\n")?;
            self.is_torn = false;
        }
        let written = self.file.write_all(line);
        self.is_torn = written.is_err();
        if written.is_ok() {
            self.bytes += line.len() as u64;
        }
        written
    }

    /// Puts the file away under a name of its own and begins a new one.
    fn rotate(&mut self, now: SystemTime) -> io::Result<()> {
        let old = self.free_name(now);
        fs::rename(&self.path, &old)?;
        let opened = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.path);
        match opened {
            Ok(file) => self.file = file,
            Err(error) => {
                // The open file goes on under the name that people know.
                let _kept = fs::rename(&old, &self.path);
                return Err(error);
            }
        }
        (self.bytes, self.since, self.is_torn) = (0, now, false);
        self.pack();
        Ok(())
    }

    /// `NAME.20261128T140500Z`, with a number where that is taken; one that sorts behind it, also when it is packed.
    fn free_name(&self, now: SystemTime) -> PathBuf {
        let since_epoch = now
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        let at = Timestamp::from_millis(since_epoch.as_millis() as i64).to_string();
        let digits: String = at
            .chars()
            .take(19)
            .filter(|c| *c != '-' && *c != ':')
            .collect();
        let name = |suffix: &str| {
            let mut name = self.path.clone().into_os_string();
            name.push(format!(".{digits}Z{suffix}"));
            PathBuf::from(name)
        };
        let is_free = |path: &PathBuf| !path.exists() && !packed(path).exists();
        std::iter::once(name(""))
            .chain((1..).map(|n| name(&format!("_{n:03}"))))
            .find(is_free)
            .expect("there are more numbers than files")
    }

    /// Compresses old pieces and drops the oldest, in a thread of its own: compressing takes seconds.
    fn pack(&mut self) {
        self.finish();
        let (path, keep) = (self.path.clone(), self.limits.files_max);
        let work = move || {
            // A full disk leaves pieces uncompressed; the next rotation tries again.
            let _left = pack_all(&path);
            let _left = drop_oldest(&path, keep);
        };
        let thread = std::thread::Builder::new().name("log-pack".into());
        self.packing = thread.spawn(work).ok();
    }

    fn finish(&mut self) {
        if let Some(packing) = self.packing.take() {
            let _panicked = packing.join();
        }
    }
}

fn packed(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{PACKED}"));
    name.into()
}

/// The old pieces of a log, oldest first: their names carry their time.
fn pieces(path: &Path) -> io::Result<Vec<PathBuf>> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let begins = format!("{name}.2");
    let mut found: Vec<PathBuf> = fs::read_dir(folder)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|piece| {
            let name = piece.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with(&begins) && !name.ends_with(".part")
        })
        .collect();
    found.sort();
    Ok(found)
}

fn pack_all(path: &Path) -> io::Result<()> {
    for piece in pieces(path)? {
        if piece.extension().is_some_and(|e| e == PACKED) {
            continue;
        }
        let part = piece.with_extension("part");
        let made = pack_one(&piece, &part).and_then(|()| fs::rename(&part, packed(&piece)));
        if made.is_err() {
            let _gone = fs::remove_file(&part);
        }
        made?;
        fs::remove_file(&piece)?;
    }
    Ok(())
}

fn pack_one(piece: &Path, part: &Path) -> io::Result<()> {
    let mut encoder = GzEncoder::new(File::create(part)?, Compression::fast());
    io::copy(&mut File::open(piece)?, &mut encoder)?;
    encoder.finish()?.sync_all()
}

fn drop_oldest(path: &Path, keep: usize) -> io::Result<()> {
    let pieces = pieces(path)?;
    let too_many = pieces.len().saturating_sub(keep);
    pieces[..too_many].iter().try_for_each(fs::remove_file)
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::GzDecoder;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn limits(bytes_max: u64, files_max: usize) -> Limits {
        Limits {
            bytes_max,
            age_max: HOUR,
            files_max,
        }
    }

    fn unpacked(path: &Path) -> String {
        let mut text = String::new();
        let file = File::open(path).expect("it is there");
        GzDecoder::new(file)
            .read_to_string(&mut text)
            .expect("it is whole");
        text
    }

    #[test]
    fn size_and_age_end_a_piece_and_the_oldest_go() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("l.log");
        let mut log = LogFile::open(&path, limits(10, 2)).expect("writable");
        let start = log.since;
        for line in ["1234\n", "5678\n", "9\n"] {
            log.append(line.as_bytes(), start).expect("written");
        }
        log.finish();
        let first = pieces(&path).expect("a folder");
        assert_eq!(first.len(), 1, "{first:?}");
        assert_eq!(unpacked(&first[0]), "1234\n5678\n");
        assert_eq!(fs::read_to_string(&path).expect("there"), "9\n");

        log.append(b"10\n", start + HOUR * 2).expect("written");
        log.append(b"123456789\n", start + HOUR * 2)
            .expect("written");
        log.append(b"11\n", start + HOUR * 2).expect("written");
        log.finish();
        let kept: Vec<String> = pieces(&path)
            .expect("a folder")
            .iter()
            .map(|p| unpacked(p))
            .collect();
        assert_eq!(
            kept,
            ["10\n", "123456789\n"],
            "the oldest went, one more in the same second stayed"
        );
    }

    #[test]
    fn pieces_that_a_kill_left_are_packed_and_foreign_files_are_left_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("l.log");
        let foreign = folder.path().join("l.log.bak");
        fs::write(folder.path().join("l.log.20261128T140500Z"), "old\n").expect("written");
        fs::write(&foreign, "mine\n").expect("written");
        LogFile::open(&path, limits(10, 9))
            .expect("writable")
            .finish();
        let found = pieces(&path).expect("a folder");
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(unpacked(&found[0]), "old\n");
        assert!(foreign.exists());
    }

    #[test]
    fn a_full_disk_drops_lines_and_nobody_waits() {
        // The kernel's own full disk.
        let Ok(file) = OpenOptions::new().append(true).open("/dev/full") else {
            return;
        };
        let path = PathBuf::from("/dev/full");
        let since = SystemTime::now();
        let mut log = LogFile {
            path,
            limits: limits(1 << 20, 1),
            file,
            bytes: 0,
            since,
            is_torn: false,
            packing: None,
        };
        let error = log.append(b"line\n", since).expect_err("the disk is full");
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        assert!(log.is_torn);
    }

    #[test]
    fn a_queue_that_is_full_drops_and_counts() {
        let (sender, _queue) = sync_channel(1);
        let mut lines = Lines(sender);
        let before = dropped_lines();
        for _ in 0..3 {
            lines.write_all(b"x\n").expect("never an error");
        }
        assert!(dropped_lines() >= before + 2);
    }
}
