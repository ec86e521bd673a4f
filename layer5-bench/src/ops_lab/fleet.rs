//! The lab's neighbours of Layer5: the demo's fleet in the place of Layer4, and the stand-ins of Layer7 and Layer8.
//! In: Layer5's address. Out: reports, applied recommendations, outcomes; on demand silence, and a Layer7 that fails.
//! Called from: [`super::Lab`].
//! Invariants: the fleet tells the truth about what it sent; what is broken on purpose is broken from outside Layer5.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use layer5_server::{
    clock,
    standin::{
        changes::Changes,
        clock::{FleetClock, STEPS_PER_SECOND},
        fleet,
        layer7::Layer7,
        layer8::Layer8,
        misbehaviour::Misbehaviour,
        sender::{Sender, loopback_client},
        truth::Truth,
        world::World,
    },
};
use tokio::{runtime::Runtime, task::JoinHandle};

use crate::Failure;

/// Agents in the fleet: with 80 reports a second of each, a third of the demo's load.
const AGENTS: usize = 20;
/// Decides the fleet's fate.
const SEED: u64 = 7;
/// How often a paused fleet looks whether it may go on.
const PAUSE: Duration = Duration::from_millis(50);

/// The neighbours, running.
#[derive(Debug)]
pub struct Fleet {
    runtime: Option<Runtime>,
    layer7: Arc<Layer7>,
    layer8: Layer8,
    is_paused: Arc<AtomicBool>,
    is_over: Arc<AtomicBool>,
    acknowledged: Arc<AtomicUsize>,
    driving: Option<JoinHandle<()>>,
}

impl Fleet {
    /// Starts the stand-ins of Layer7 and Layer8.
    ///
    /// # Errors
    /// When no port or thread can be had.
    pub fn start() -> Result<Self, Failure> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .map_err(Failure::new)?;
        let layer7 = runtime.block_on(Layer7::start(Misbehaviour::default(), SEED));
        let layer8 = runtime.block_on(Layer8::start());
        Ok(Self {
            layer7: Arc::new(layer7.map_err(Failure::new)?),
            layer8: layer8.map_err(Failure::new)?,
            runtime: Some(runtime),
            is_paused: Arc::default(),
            is_over: Arc::default(),
            acknowledged: Arc::default(),
            driving: None,
        })
    }

    /// Where the stand-ins listen.
    #[must_use]
    pub fn urls(&self) -> (String, String) {
        (self.layer7.url(), self.layer8.url())
    }

    /// Lets the fleet report to the service at `api` for so long.
    pub fn drive(&mut self, api: String, lasts: Duration) {
        let Some(runtime) = &self.runtime else {
            return;
        };
        let layer7 = Arc::clone(&self.layer7);
        let (paused, over) = (Arc::clone(&self.is_paused), Arc::clone(&self.is_over));
        let acknowledged = Arc::clone(&self.acknowledged);
        self.driving = Some(runtime.spawn(async move {
            let steps = (lasts.as_secs_f64() * STEPS_PER_SECOND) as usize;
            let clock = FleetClock::ending_before(clock::now(), steps);
            let mut world = World::new(SEED, AGENTS, clock, Truth::draw(SEED, AGENTS, steps));
            let mut changes = Changes::new(SEED);
            let client = loopback_client();
            let feedback = layer7.feedback(client.clone(), &api);
            let sender = Arc::new(Sender::new(client, &api));
            let deadline = Instant::now() + lasts + Duration::from_secs(3600);
            let _ended = fleet::run(
                &mut world,
                &mut changes,
                &layer7,
                &feedback,
                &sender,
                deadline,
                |standing| {
                    acknowledged.store(standing.acknowledged, Relaxed);
                    // Holding up this thread holds up the fleet, which is what a pause is; the runtime has another one.
                    while paused.load(Relaxed) && !over.load(Relaxed) {
                        std::thread::sleep(PAUSE);
                    }
                },
            )
            .await;
        }));
    }

    /// Nobody reports any more, until [`Self::resume`].
    pub fn pause(&self) {
        self.is_paused.store(true, Relaxed);
    }

    /// The fleet reports again.
    pub fn resume(&self) {
        self.is_paused.store(false, Relaxed);
    }

    /// Layer7 answers every recommendation 503, or takes them again.
    pub fn break_layer7(&self, broken: bool) {
        let error_share = if broken { 1.0 } else { 0.0 };
        self.layer7.misbehave(Misbehaviour {
            error_share,
            ..Misbehaviour::default()
        });
    }

    /// Reports acknowledged so far.
    #[must_use]
    pub fn acknowledged(&self) -> usize {
        self.acknowledged.load(Relaxed)
    }

    /// Recommendations that Layer7 took, and pieces of advice that Layer8 got.
    #[must_use]
    pub fn delivered(&self) -> (usize, usize) {
        (
            self.layer7.account().delivered,
            self.layer8.account().received,
        )
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        self.is_over.store(true, Relaxed);
        if let Some(driving) = &self.driving {
            driving.abort();
        }
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(Duration::from_secs(5));
        }
    }
}
