//! The data folder, opened: at once, or when the process that has it lets it go.
//! In: a checked [`Config`]. Out: the store. Called from: [`super::start`].
//! Waiting for a folder is one half of a hand-over; the sockets are bound by then, so connections wait as well.

use std::time::{Duration, Instant};

use super::rooms::store_config;
use crate::{
    config::Config,
    store::{OpenError, Store},
};

/// Pause between two looks at the lock: part of the gap of a hand-over.
const LOCK_PAUSE: Duration = Duration::from_millis(5);

/// Opens the folder, waiting for it as long as `store.lock_wait_seconds` says when another process has it.
pub(super) fn open_store(config: &Config) -> Result<Store, OpenError> {
    let began = Instant::now();
    let patience = Duration::from_secs_f64(config.store.lock_wait_seconds);
    let mut waited = false;
    loop {
        match Store::open(&config.store.data_dir, &store_config(config)) {
            Err(OpenError::InUse { dir, pid }) if began.elapsed() < patience => {
                if !std::mem::replace(&mut waited, true) {
                    tracing::info!(data_dir = %dir.display(), pid, "waiting for the data folder");
                }
                std::thread::sleep(LOCK_PAUSE);
            }
            opened => {
                if let (true, Ok(store)) = (waited, &opened) {
                    let (seconds, epoch) = (began.elapsed().as_secs_f64(), store.epoch());
                    tracing::info!(seconds, epoch, "the data folder is ours");
                }
                return opened;
            }
        }
    }
}
