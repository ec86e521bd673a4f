//! What the disk itself takes for a durable write, measured beside the service on the same file system, and what lies on it.
//! In: a folder. Out: percentiles of write and fdatasync; bytes. Called from: [`crate::load`], [`crate::recover`].

use std::{
    fs::OpenOptions,
    io::{self, Seek, SeekFrom, Write},
    path::Path,
    time::{Duration, Instant},
};

use super::latency::Percentiles;

/// Bytes of one write: a group commit of a few thousand samples.
const WRITE_BYTES: usize = 64 << 10;
/// The file goes round in this many writes, as a log grows into space that it has.
const WRITES_ROUND: u64 = 64;

/// Appends and syncs for `span`; what one pair takes.
///
/// # Errors
/// When the folder can't be written.
pub fn probe(dir: &Path, span: Duration) -> io::Result<Percentiles> {
    let path = dir.join("fdatasync-probe");
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .open(&path)?;
    let bytes = vec![0x5a; WRITE_BYTES];
    let mut times = Vec::new();
    let began = Instant::now();
    while began.elapsed() < span {
        let from = Instant::now();
        if (times.len() as u64).is_multiple_of(WRITES_ROUND) {
            file.seek(SeekFrom::Start(0))?;
        }
        file.write_all(&bytes)?;
        file.sync_data()?;
        times.push(from.elapsed());
    }
    drop(file);
    std::fs::remove_file(path)?;
    Ok(Percentiles::of(&times))
}

/// The size of all files under `dir`, bytes.
#[must_use]
pub fn bytes_under(dir: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(dir) else {
        return 0;
    };
    let sizes = entries.flatten().map(|entry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => bytes_under(&entry.path()),
        Ok(metadata) => metadata.len(),
        Err(_) => 0,
    });
    sizes.sum()
}
