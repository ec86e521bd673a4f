//! The tasks that talk to the neighbours: the outbox's delivery, the poll for outcomes, the look whether they are up.
//! In: the configuration's addresses, the store, the committer's inbox. Out: calls, and controls that the log keeps.
//! Called from: `app`. Next on the way: [`crate::outbox`] and [`crate::neighbours`].
//! Invariants: a neighbour without an address is not called; a slow one delays nobody else.

use std::{sync::Arc, time::Duration};

use crossbeam::channel::{Sender, TrySendError};
use tokio::{
    sync::{Notify, oneshot, watch},
    task::JoinHandle,
    time::interval,
};

use crate::{
    config::{Config, NeighbourConfig, Role},
    metrics::Neighbour,
    neighbours::{
        CallKind, DoorConfig, DoorError, DoorSnapshot, Layer7Client, Layer8Client,
        circuit::{CircuitConfig, CircuitState},
    },
    outbox::{Outbox, OutboxConfig, OutboxStatus},
    pipeline::Inbox,
    store::{Control, Store},
};

/// How often a neighbour is asked how it is, and Layer7 for outcomes.
const ASK_EVERY: Duration = Duration::from_secs(5);
/// Most outcomes taken from Layer7 in one go.
const OUTCOMES_MAX: usize = 256;

/// The neighbours that we call, and how that goes.
#[derive(Debug)]
pub struct Deliveries {
    layer7: Option<Arc<Layer7Client>>,
    layer8: Option<Arc<Layer8Client>>,
    outbox: Arc<OutboxStatus>,
    bell: Arc<Notify>,
}

impl Deliveries {
    /// Clients for the neighbours that the configuration names; a shadow has none.
    ///
    /// # Errors
    /// When an address is no URL.
    pub fn new(config: &Config) -> Result<Self, DoorError> {
        let door = |neighbour: &NeighbourConfig| {
            let url = neighbour.url.as_ref();
            url.filter(|_| config.role == Role::Active)
                .map(|url| DoorConfig {
                    url: url.clone(),
                    timeout: Duration::from_secs_f64(neighbour.timeout_seconds),
                    circuit: CircuitConfig::default(),
                })
        };
        let layer7 = door(&config.layer7)
            .map(|door| Layer7Client::new(&door))
            .transpose()?;
        let layer8 = door(&config.layer8)
            .map(|door| Layer8Client::new(&door))
            .transpose()?;
        Ok(Self {
            layer7: layer7.map(Arc::new),
            layer8: layer8.map(Arc::new),
            outbox: Arc::default(),
            bell: Arc::default(),
        })
    }

    /// To be rung when there are new recommendations in the store.
    #[must_use]
    pub fn bell(&self) -> Arc<Notify> {
        Arc::clone(&self.bell)
    }

    /// How the outbox goes.
    #[must_use]
    pub fn outbox(&self) -> &OutboxStatus {
        &self.outbox
    }

    /// Every neighbour that has an address, for the metrics page.
    #[must_use]
    pub fn neighbours(&self) -> Vec<Neighbour> {
        let layer7 = self
            .layer7
            .as_ref()
            .map(|client| view("layer7", &client.snapshot()));
        let layer8 = self
            .layer8
            .as_ref()
            .map(|client| view("layer8", &client.snapshot()));
        layer7.into_iter().chain(layer8).collect()
    }

    /// How long each call to each neighbour took since the last look, s.
    #[must_use]
    pub fn take_call_durations(&self) -> [(&'static str, Vec<f64>); 2] {
        let layer7 = self.layer7.as_ref().map(|client| client.take_durations());
        let layer8 = self.layer8.as_ref().map(|client| client.take_durations());
        [
            ("layer7", layer7.unwrap_or_default()),
            ("layer8", layer8.unwrap_or_default()),
        ]
    }

    /// Starts the tasks; they end when `stop` turns true.
    #[must_use]
    pub fn start(
        &self,
        store: Arc<Store>,
        inbox: &Sender<Inbox>,
        stop: &watch::Receiver<bool>,
    ) -> Vec<JoinHandle<()>> {
        let outbox = Outbox {
            store,
            layer7: self.layer7.clone(),
            config: OutboxConfig::default(),
            status: Arc::clone(&self.outbox),
            bell: Arc::clone(&self.bell),
        };
        let to_log = inbox.clone();
        let tell = move |control| told(to_log.clone(), control);
        let mut tasks = vec![tokio::spawn(outbox.run(tell, stop.clone()))];
        if let Some(layer7) = &self.layer7 {
            let layer7 = Arc::clone(layer7);
            tasks.push(tokio::spawn(ask_layer7(
                layer7,
                inbox.clone(),
                stop.clone(),
            )));
        }
        if let Some(layer8) = &self.layer8 {
            tasks.push(tokio::spawn(ask_layer8(Arc::clone(layer8), stop.clone())));
        }
        tasks
    }
}

fn view(name: &'static str, door: &DoorSnapshot) -> Neighbour {
    Neighbour {
        name,
        up: door.up,
        errors: std::array::from_fn(|i| (CallKind::ALL[i].as_str(), door.errors[i])),
        lost: None,
        circuit: Some(match door.circuit {
            CircuitState::Closed => 0,
            CircuitState::HalfOpen => 1,
            CircuitState::Open => 2,
        }),
    }
}

/// Pause between two tries at a full inbox.
const FULL_PAUSE: Duration = Duration::from_millis(10);

/// Makes a control durable, waiting for room where there is none; `false` when the service is going down.
async fn told(inbox: Sender<Inbox>, control: Control) -> bool {
    let (answer, durable) = oneshot::channel();
    let mut message = Inbox::Control(control, answer);
    loop {
        match inbox.try_send(message) {
            Ok(()) => return durable.await.is_ok(),
            Err(TrySendError::Disconnected(_)) => return false,
            Err(TrySendError::Full(back)) => {
                message = back;
                tokio::time::sleep(FULL_PAUSE).await;
            }
        }
    }
}

async fn ask_layer7(
    layer7: Arc<Layer7Client>,
    inbox: Sender<Inbox>,
    mut stop: watch::Receiver<bool>,
) {
    let mut now_and_then = interval(ASK_EVERY);
    loop {
        tokio::select! {
            _ = stop.changed() => return,
            _ = now_and_then.tick() => {}
        }
        if let Err(error) = layer7.health().await {
            tracing::debug!(%error, "layer7 is not well");
            continue;
        }
        for _ in 0..OUTCOMES_MAX {
            match layer7.poll_feedback().await {
                Ok(Some(outcome)) => {
                    if !told(inbox.clone(), Control::Feedback(outcome)).await {
                        return;
                    }
                }
                Ok(None) => break,
                Err(error) => {
                    tracing::debug!(%error, "layer7 gives no outcomes");
                    break;
                }
            }
        }
    }
}

async fn ask_layer8(layer8: Arc<Layer8Client>, mut stop: watch::Receiver<bool>) {
    let mut now_and_then = interval(ASK_EVERY);
    loop {
        tokio::select! {
            _ = stop.changed() => return,
            _ = now_and_then.tick() => {}
        }
        if let Err(error) = layer8.health().await {
            tracing::debug!(%error, "layer8 is not well");
        }
    }
}
