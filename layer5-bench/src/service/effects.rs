//! What a service does to its neighbours while it is attacked: a Layer7 that remembers everything it was told.
//! In: pushes of recommendations. Out: how many took effect, and which of them twice. Called from: [`crate::crash`].
//! Invariants: it outlives the service, as a neighbour does; it fails now and then, so that Layer5 sends again.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::SocketAddr,
    time::Duration,
};

use layer5_core::Recommendation;
use layer5_server::standin::{layer7::Layer7, misbehaviour::Misbehaviour};
use serde::Serialize;
use serde_json::Value;

use super::http::Connection;

/// A cohort whose trials are over after a few reports, so that advice leaves while the service is killed. `{url}` is
/// where Layer7 listens.
const CONFIG: &str = "
[pipeline]
tick_millis = 20
[store]
snapshot_samples = 20000
[layer7]
url = \"{url}\"
[[cohort]]
name = \"attacked\"
agents = \"*\"
sampler = \"random\"
canary_share = 0.5
window_len = 10
trials_max = 30
settle_len = 1
[[cohort.parameter]]
name = \"knob\"
type = \"float\"
low = 0.0
high = 1.0
initial = 0.5
";

/// A Layer7 that remembers.
#[derive(Debug)]
pub struct Neighbour {
    /// Serves Layer7 while this lives.
    _runtime: tokio::runtime::Runtime,
    layer7: Layer7,
    taken: Vec<Recommendation>,
}

/// What took effect.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Effects {
    /// Recommendations that Layer7 carried out.
    pub carried_out: u64,
    /// Those that it was sent again, and recognised.
    pub repeats: u64,
    /// The same decision carried out under two ids, a key that came with two bodies, or one that Layer5 does not know.
    pub doubled: u64,
    /// Words for the first of them.
    pub why: Option<String>,
}

impl Neighbour {
    /// Starts it.
    ///
    /// # Errors
    /// When no port or thread can be had.
    pub fn start(seed: u64) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let layer7 = runtime.block_on(Layer7::start(Misbehaviour::MILD, seed))?;
        Ok(Self {
            _runtime: runtime,
            layer7,
            taken: Vec::new(),
        })
    }

    /// A configuration of Layer5 that advises this neighbour.
    #[must_use]
    pub fn config(&self) -> String {
        CONFIG.replace("{url}", &self.layer7.url())
    }

    /// Compares what took effect since the last call with what the service at `api` decided, once its outbox is empty or
    /// `patience` has passed.
    ///
    /// # Errors
    /// When the service does not answer.
    pub fn audit(&mut self, api: SocketAddr, patience: Duration) -> io::Result<Effects> {
        let mut connection = Connection::new(api, Duration::from_secs(30));
        let began = std::time::Instant::now();
        while began.elapsed() < patience {
            let status = connection.get("/api/v1/status")?.json();
            if status["recommendations"]["pending"] == 0 {
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let decided = decisions(&mut connection)?;
        self.taken.extend(self.layer7.take());
        let mut effects = Effects {
            carried_out: self.taken.len() as u64,
            repeats: self.layer7.account().repeats as u64,
            ..Effects::default()
        };
        let mut seen = BTreeSet::new();
        for id in self.taken.drain(..).map(|r| r.optimization_id.to_string()) {
            let wrong = match decided.get(&id) {
                None => Some(format!("{id} took effect, and Layer5 does not know it")),
                Some(decision) if !seen.insert(decision.clone()) => Some(format!(
                    "{decision} took effect twice, the second time as {id}"
                )),
                Some(_) => None,
            };
            effects.doubled += u64::from(wrong.is_some());
            effects.why = effects.why.or(wrong);
        }
        let account = self.layer7.account();
        effects.doubled += account.n_breaches as u64;
        effects.why = effects.why.or(account.breaches.first().cloned());
        Ok(effects)
    }
}

/// Every decision of the service by its id: study, trial, agent and setting.
fn decisions(connection: &mut Connection) -> io::Result<BTreeMap<String, String>> {
    let mut decided = BTreeMap::new();
    let mut after = Value::from(0);
    loop {
        let page = connection.get(&format!("/api/v1/recommendations?limit=500&after={after}"))?;
        let page = page.json();
        for row in page["recommendations"].as_array().into_iter().flatten() {
            let id = row["optimization_id"]
                .as_str()
                .unwrap_or_default()
                .to_owned();
            let what = ["study", "trial", "agent_id", "parameters"].map(|f| row[f].to_string());
            decided.insert(id, what.join(" "));
        }
        after = page["next_after"].clone();
        if after.is_null() {
            return Ok(decided);
        }
    }
}
