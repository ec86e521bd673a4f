//! A changed configuration while the service runs: what can be taken is, the rest waits for a restart.
//! In: a checked [`Config`]. Out: what has changed, and what will at the next start. Called from: `cli/serve`.
//! Invariants: all of it or nothing; what changes the findings goes through the log.

use std::sync::{Arc, atomic::Ordering::Relaxed};

use super::{
    Running,
    rooms::{border_limits, fitted, keeping, know_metrics, watch_settings},
};
use crate::{
    config::{Config, live},
    pipeline::Inbox,
    store::Control,
};

/// Why a configuration was not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReloadError {
    /// What the watch finds must change at a position of the log, which takes nothing now.
    #[error("the log takes nothing now")]
    Log,
    /// The metrics that it names can't all be known.
    #[error("{0}")]
    Names(String),
}

/// What a reload did.
#[derive(Clone, Debug, PartialEq)]
pub struct Reloaded {
    /// What has changed.
    pub applied: Vec<live::Change>,
    /// What will at the next start.
    pub needs_restart: Vec<live::Change>,
}

impl Running {
    /// Takes what can be taken of a checked configuration while the service runs; the rest waits for a restart.
    ///
    /// # Errors
    /// [`ReloadError`]; nothing has changed then.
    ///
    /// # Panics
    /// Never: no holder of a lock panics.
    pub async fn reload(&self, asked: Config) -> Result<Reloaded, ReloadError> {
        let asked = fitted(asked);
        let running = self.config.get();
        let next = live::with_live(&running, &asked);
        let applied = live::changes(&running, &next);
        let needs_restart = live::changes(&next, &asked);
        // First what can fail: the log.
        self.tell_watch(&running, &next).await?;
        self.intake.set_limits(border_limits(&next));
        *self.keeper.keeping.lock().expect("no holder panics") = keeping(&next);
        self.config.put(next);
        let waiting = needs_restart.len() as u64;
        self.counters.config_restart_needed.store(waiting, Relaxed);
        self.counters.config_refused.store(false, Relaxed);
        self.counters.config_reloads[0].add(1);
        Ok(Reloaded {
            applied,
            needs_restart,
        })
    }

    /// The configuration's files are refused: for metrics and alert.
    pub fn refuse_reload(&self) {
        self.counters.config_refused.store(true, Relaxed);
        self.counters.config_reloads[1].add(1);
    }

    /// The configuration in force.
    #[must_use]
    pub fn config(&self) -> Arc<Config> {
        self.config.get()
    }

    /// Lets the log say how series are watched from here on.
    async fn tell_watch(&self, running: &Config, next: &Config) -> Result<(), ReloadError> {
        let wanted = watch_settings(next);
        if wanted == watch_settings(running) {
            return Ok(());
        }
        know_metrics(&wanted, &self.names, next)
            .map_err(|error| ReloadError::Names(error.to_string()))?;
        let (answer, durable) = tokio::sync::oneshot::channel();
        let control = Control::Watch(wanted);
        let told = self.inbox.try_send(Inbox::Control(control, answer));
        told.map_err(|_full| ReloadError::Log)?;
        durable.await.map_err(|_gone| ReloadError::Log)
    }
}
