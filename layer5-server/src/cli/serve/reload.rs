//! The files of a running service's configuration: looked at every second, loaded when they have changed.
//! In: files, SIGHUP. Out: the running service with what can be taken, the log's lines, an entry of the history.
//! Called from: [`super`]. A look reads the texts through whatever links lead to them, so the exchange of a ConfigMap's
//! volume is a change like any other, and a file that is written the same again is none.
//! Invariants: a text is loaded by itself only when two looks have seen the same, so nobody's half-written file is; what is
//! refused changes nothing and is said once until the files change.

use std::{path::PathBuf, time::Duration};

use crate::{
    app::Running,
    cli::config::checked,
    clock,
    config::{
        Layers, Loaded,
        history::{History, How},
    },
    logging,
};

/// Time between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What the files say, `None` for one that can't be read.
type Texts = Vec<Option<Vec<u8>>>;

/// The files of the configuration in force.
pub(super) struct Files {
    layers: Layers,
    /// The templates and whatever else the configuration names.
    named: Vec<PathBuf>,
    /// What was loaded last, taken or refused.
    loaded: Texts,
    /// What the look before saw.
    seen: Texts,
    history: History,
}

impl Files {
    /// The files that the service was started from.
    pub(super) fn started(layers: Layers, loaded: &Loaded, running: &Running) -> Self {
        let mut files = Self {
            layers,
            named: Vec::new(),
            loaded: Texts::new(),
            seen: Texts::new(),
            history: History::of(&running.data_dir),
        };
        files.keep(How::Start, loaded, Vec::new());
        files
    }

    /// Resolves when the files say something else, and have said it for a while.
    pub(super) async fn changed(&mut self) {
        if self.layers.file.is_none() {
            // Variables and flags alone don't change.
            return std::future::pending().await;
        }
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let texts = self.texts();
            if texts != self.loaded && texts == self.seen {
                return;
            }
            self.seen = texts;
        }
    }

    /// Loads the files and lets the service take what it can.
    pub(super) async fn load(&mut self, running: &Running) {
        self.loaded = self.texts();
        let loaded = match checked(&self.layers) {
            Ok(loaded) => loaded,
            Err(error) => {
                running.refuse_reload();
                let error = error.message();
                tracing::error!(
                    error,
                    "the configuration is refused, the one before stays in force"
                );
                return;
            }
        };
        let reloaded = match running.reload(loaded.config.clone()).await {
            Ok(reloaded) => reloaded,
            Err(error) => {
                running.refuse_reload();
                tracing::error!(%error, "the configuration is not taken, the one before stays in force");
                return;
            }
        };
        for change in &reloaded.applied {
            if change.key == "log.level" {
                // It was checked with the configuration; without a log there is nothing to set.
                let _no_log = logging::set_level(&running.config().log.level);
            }
            tracing::info!(
                key = change.key,
                from = change.from,
                to = change.to,
                "a setting has changed"
            );
        }
        for change in &reloaded.needs_restart {
            tracing::warn!(
                key = change.key,
                from = change.from,
                to = change.to,
                "a setting needs a restart"
            );
        }
        let n = reloaded.applied.len();
        tracing::info!(
            changed = n,
            needs_restart = reloaded.needs_restart.len(),
            "the configuration was loaded"
        );
        let waiting = reloaded
            .needs_restart
            .into_iter()
            .map(|change| change.key)
            .collect();
        self.keep(How::Reload, &loaded, waiting);
    }

    /// Keeps what is in force now for the history, and remembers which files it came from.
    fn keep(&mut self, how: How, loaded: &Loaded, needs_restart: Vec<String>) {
        let n_layers = self.layers.paths().len();
        let others = loaded.files.iter().skip(n_layers);
        self.named = others.map(|file| file.path.clone()).collect();
        if how == How::Start {
            // What was started from, not what may stand there by now.
            let text = |file: &crate::config::FileRead| Some(file.text.clone().into_bytes());
            self.loaded = loaded.files.iter().map(text).collect();
        } else {
            self.loaded = self.texts();
        }
        let environment = self.layers.environment;
        let kept = self
            .history
            .add(how, clock::now(), environment, &loaded.files, needs_restart);
        if let Err(error) = kept {
            tracing::warn!(%error, "the configuration's history could not be written");
        }
    }

    fn texts(&self) -> Texts {
        let paths = self
            .layers
            .paths()
            .into_iter()
            .chain(self.named.iter().cloned());
        paths.map(|path| std::fs::read(path).ok()).collect()
    }
}
