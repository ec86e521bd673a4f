//! The files under the engine, with a seam: a test can make a write or an fsync fail, or freeze the disk as a power
//! cut would.
//! In: a path. Out: an open `redb` database. Called from: [`super::log`], [`super::views`].
//! Invariants: without a [`Fault`] armed every call goes straight to the file.

use std::fs::{File, OpenOptions};
use std::io;
use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use redb::backends::FileBackend;
use redb::{BackendError, Database, StorageBackend};

/// Makes I/O fail on purpose. Shared by all files of a store; harmless until armed.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// Syncs until one fails; negative or zero: never armed or done.
    syncs_left: Arc<AtomicI64>,
    /// Writes until one fails.
    writes_left: Arc<AtomicI64>,
}

impl Faults {
    /// The `n`-th sync from now fails, as does every write after it.
    pub fn fail_sync(&self, n: i64) {
        self.syncs_left.store(n, Ordering::SeqCst);
    }

    /// The `n`-th write from now fails.
    pub fn fail_write(&self, n: i64) {
        self.writes_left.store(n, Ordering::SeqCst);
    }

    /// Fails when a write of a plain file is due to.
    pub(super) fn before_write(&self) -> io::Result<()> {
        Self::strike(&self.writes_left, "write")
    }

    /// Fails when a sync of a plain file is due to.
    pub(super) fn before_sync(&self) -> io::Result<()> {
        Self::strike(&self.syncs_left, "fsync")
    }

    fn strike(counter: &AtomicI64, what: &str) -> io::Result<()> {
        if counter.load(Ordering::Relaxed) > 0 && counter.fetch_sub(1, Ordering::SeqCst) == 1 {
            return Err(io::Error::other(format!("{what} failed on purpose")));
        }
        Ok(())
    }
}

/// A file with [`Faults`].
#[derive(Debug)]
struct Medium {
    file: FileBackend,
    faults: Faults,
}

impl StorageBackend for Medium {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        Faults::strike(&self.faults.writes_left, "set_len")?;
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        Faults::strike(&self.faults.syncs_left, "fsync")?;
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        Faults::strike(&self.faults.writes_left, "write")?;
        self.file.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.file.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.try_lock_range(start, end)
    }

    fn try_lock_shared_range(
        &self,
        start: Bound<u64>,
        end: Bound<u64>,
    ) -> Result<bool, BackendError> {
        self.file.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.query_lock_range(start, end)
    }
}

/// Opens or creates the database at `path`. Every page's checksum is verified when `verify`, at about 1 s a gigabyte
/// in the page cache; after a crash the engine does so anyway.
pub(super) fn open(
    path: &Path,
    cache_bytes: usize,
    verify: bool,
    faults: &Faults,
) -> Result<Database, redb::Error> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)?;
    let medium = Medium {
        file: FileBackend::new(file)?,
        faults: faults.clone(),
    };
    Ok(Database::builder()
        .set_cache_size(cache_bytes)
        .set_check_integrity_on_open(verify)
        .create_with_backend(medium)?)
}

/// Makes names created, renamed or removed in `dir` durable.
pub(super) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}
