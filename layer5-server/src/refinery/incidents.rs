//! The fleet's incidents: the symptoms of all shards, with the hosts that the log names.
//! In: hosts, and at every tick the findings since the last. Out: [`IncidentView`]s. Called from: [`super::tuner`].
//! Invariants: a function of the log, as the tuner is: hosts are numbered in the order in which the log names them, and a
//! tick's symptoms are sorted before they count.

use std::collections::BTreeMap;

use layer5_core::{AgentId, Timestamp};
use layer5_patterns::incident::{Incidents, Picture, Symptom};
use serde::{Deserialize, Serialize};

use super::Found;

/// Hosts that are told apart, at most; agents on further ones count as on none.
const HOSTS_MAX: usize = 100_000;

/// Incidents, and where agents run.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct FleetIncidents {
    incidents: Incidents,
    hosts: Vec<String>,
    host_numbers: BTreeMap<String, u32>,
    home: BTreeMap<AgentId, u32>,
    n_agents: usize,
}

/// An incident with the name of the host that was hit first.
#[derive(Clone, Debug, PartialEq)]
pub struct IncidentView {
    /// The incident in numbers.
    pub picture: Picture,
    /// The host of the first mover.
    pub first_host: Option<String>,
    /// Agents known in all.
    pub n_agents_known: usize,
}

impl FleetIncidents {
    /// An agent is known. Numbers of agents are dense, so the largest tells how many there are.
    pub(super) fn join(&mut self, agent: AgentId) {
        self.n_agents = self.n_agents.max(agent.0 as usize + 1);
    }

    /// An agent was seen on a host.
    pub(super) fn moved_to(&mut self, agent: AgentId, host: &str) {
        let number = match self.host_numbers.get(host) {
            Some(&number) => number,
            None if self.hosts.len() >= HOSTS_MAX => return,
            None => {
                let number = self.hosts.len() as u32;
                self.hosts.push(host.to_owned());
                self.host_numbers.insert(host.to_owned(), number);
                number
            }
        };
        self.home.insert(agent, number);
    }

    /// A tick: the shards' symptoms, and agents found to be unlike their peers.
    pub(super) fn tick<'a>(
        &mut self,
        mut symptoms: Vec<Symptom>,
        unlike_peers: impl Iterator<Item = &'a Found>,
        newest: Timestamp,
    ) {
        symptoms.extend(unlike_peers.map(|found| Symptom {
            agent: found.agent,
            host: None,
            metric: found.metric,
            interval_seconds: 0.0,
            finding: found.finding,
        }));
        for symptom in &mut symptoms {
            symptom.host = self.home.get(&symptom.agent).copied();
        }
        self.incidents.tick(&mut symptoms, newest);
    }

    /// Every incident that is kept, by number.
    pub(super) fn views(&self) -> Vec<IncidentView> {
        let pictures = self.incidents.pictures(self.n_agents).into_iter();
        pictures
            .map(|picture| IncidentView {
                first_host: picture
                    .first
                    .host
                    .and_then(|host| self.hosts.get(host as usize).cloned()),
                picture,
                n_agents_known: self.n_agents,
            })
            .collect()
    }
}
