//! The configuration that holds now, for all who look at it anew each time.
//! Invariants: it changes as a whole, by a reload, between two looks.

use std::sync::{Arc, RwLock};

use super::Config;

/// A place where the configuration in force stands; clones show the same place.
#[derive(Clone, Debug)]
pub struct InForce(Arc<RwLock<Arc<Config>>>);

impl InForce {
    /// A place with this configuration.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(config))))
    }

    /// The configuration as of now.
    ///
    /// # Panics
    /// Never: no holder of the lock panics.
    #[must_use]
    pub fn get(&self) -> Arc<Config> {
        Arc::clone(&self.0.read().expect("no holder panics"))
    }

    /// From here on this one holds.
    ///
    /// # Panics
    /// Never: no holder of the lock panics.
    pub fn put(&self, config: Config) {
        *self.0.write().expect("no holder panics") = Arc::new(config);
    }
}
