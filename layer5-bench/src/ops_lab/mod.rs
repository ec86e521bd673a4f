//! `layer5-bench ops-lab`: everything that operations works with, on this machine, with hours that pass in minutes.
//! In: ports and a folder. Out: Prometheus, Alertmanager, a webhook receiver, redis, two Layer5s (green takes reports, blue
//! stands by) and the demo's fleet, all on loopback. Called from: the command line, and `tests/ops_lab.rs`.
//! [`compressed`] divides the durations of rules and routes, `parts` writes the files and starts the processes, [`drill`]
//! makes every alert fire by its real cause and resolve again.
//! Invariants: nothing outlives the lab: processes, mounts and, without `--dir`, the folder end with it.

pub mod cause;
pub mod clock;
mod command;
pub mod compressed;
pub mod disk;
pub mod drill;
pub mod fleet;
pub mod part;
mod parts;
pub mod receiver;
pub mod view;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

pub use command::{OpsLabArgs, run};
use serde::{Deserialize, Serialize};

use self::{
    clock::Clock,
    disk::{Disk, SlowDisk},
    fleet::Fleet,
    part::Part,
    parts::Instance,
    receiver::Receiver,
};
use crate::{Failure, progress::say, service::subject};

/// An hour of the installed rules is a minute of the lab's.
pub const FACTOR: u32 = 60;

/// Where everything listens.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Addresses {
    /// Layer5's API.
    pub api: SocketAddr,
    /// Layer5's metrics page.
    pub metrics: SocketAddr,
    /// The API of the one that stands by.
    pub standby_api: SocketAddr,
    /// Its metrics page.
    pub standby_metrics: SocketAddr,
    /// Prometheus.
    pub prometheus: SocketAddr,
    /// Alertmanager.
    pub alertmanager: SocketAddr,
    /// Redis.
    pub redis: SocketAddr,
    /// The webhook receiver.
    pub receiver: SocketAddr,
}

/// What a lab is started with.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Its folder.
    pub folder: PathBuf,
    /// The `layer5` binary.
    pub binary: PathBuf,
    /// How long the fleet reports.
    pub lasts: Duration,
    /// Ports, 0 for free ones: API, metrics, Prometheus, Alertmanager, receiver.
    pub ports: [u16; 5],
}

impl Plan {
    /// Free ports in `folder`.
    #[must_use]
    pub fn new(folder: &Path, lasts: Duration) -> Self {
        Self {
            folder: folder.to_owned(),
            binary: subject::default_binary(),
            lasts,
            ports: [0; 5],
        }
    }
}

/// A running lab. Its fields end in their order: who asks before who answers, processes before their disk.
#[derive(Debug)]
pub struct Lab {
    /// Where everything listens.
    pub at: Addresses,
    /// The fleet, Layer7 and Layer8.
    pub fleet: Fleet,
    /// What the receivers of the routes were told.
    pub receiver: Receiver,
    /// The clock of both Layer5s.
    pub clock: Clock,
    _prometheus: Part,
    _alertmanager: Part,
    green: Option<Part>,
    blue: Option<Part>,
    redis: Option<Part>,
    /// The disk of both.
    pub disk: Disk,
    plan: Plan,
    config: PathBuf,
    /// When it was ready.
    pub began: Instant,
}

impl Lab {
    /// Starts everything and waits until it answers.
    ///
    /// # Errors
    /// When a program is missing (left out), a port is taken, or something does not come up; nothing is left running then.
    pub fn start(plan: Plan) -> Result<Self, Failure> {
        let folder = plan.folder.as_path();
        std::fs::create_dir_all(folder)
            .map_err(|e| Failure::new(format!("{}: {e}", folder.display())))?;
        let receiver = Receiver::start(plan.ports[4]).map_err(Failure::new)?;
        let at = Addresses {
            api: part::port(plan.ports[0])?,
            metrics: part::port(plan.ports[1])?,
            standby_api: part::port(0)?,
            standby_metrics: part::port(0)?,
            prometheus: part::port(plan.ports[2])?,
            alertmanager: part::port(plan.ports[3])?,
            redis: part::port(0)?,
            receiver: receiver.address,
        };
        let fleet = Fleet::start()?;
        let clock = Clock::new(folder)?;
        let disk = Disk::new(&folder.join("disk"))?;
        let routes = parts::alertmanager_file(folder, receiver.address, FACTOR)?;
        let alertmanager = parts::alertmanager(at.alertmanager, &routes, folder)?;
        let redis = parts::redis(at.redis, folder)?;
        let (layer7, layer8) = fleet.urls();
        let config = parts::layer5_file(folder, &at, &layer7, &layer8)?;
        let scrape = parts::prometheus_files(folder, &at, FACTOR)?;
        let prometheus = parts::prometheus(at.prometheus, &scrape, folder)?;
        fleet.pause();
        let mut lab = Self {
            at,
            fleet,
            receiver,
            clock,
            _prometheus: prometheus,
            _alertmanager: alertmanager,
            green: None,
            blue: None,
            redis: Some(redis),
            disk,
            config,
            began: Instant::now(),
            plan,
        };
        lab.start_green()?;
        lab.start_blue()?;
        lab.fleet
            .drive(format!("http://{}", lab.at.api), lab.plan.lasts);
        lab.fleet.resume();
        say(format!("the lab is up: {}", lab.plan.folder.display()));
        Ok(lab)
    }

    /// The folder of its files and logs.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.plan.folder
    }

    /// Starts the Layer5 that takes reports; its data folder is where it was.
    ///
    /// # Errors
    /// When it does not become ready.
    pub fn start_green(&mut self) -> Result<(), Failure> {
        let instance = Instance {
            name: "green",
            data: &self.disk.at.join("data"),
            config: Some(&self.config),
            listen: [self.at.api, self.at.metrics],
            redis: Some(self.at.redis),
        };
        self.green = Some(self.launch(&instance)?);
        Ok(())
    }

    /// Starts the Layer5 that stands by.
    ///
    /// # Errors
    /// When it does not become ready.
    pub fn start_blue(&mut self) -> Result<(), Failure> {
        let instance = Instance {
            name: "blue",
            data: &self.disk.at.join("standby"),
            config: None,
            listen: [self.at.standby_api, self.at.standby_metrics],
            redis: None,
        };
        self.blue = Some(self.launch(&instance)?);
        Ok(())
    }

    fn launch(&self, instance: &Instance<'_>) -> Result<Part, Failure> {
        let plan = &self.plan;
        parts::layer5(&plan.binary, instance, &self.clock, &plan.folder)
    }

    /// Kills the Layer5 that stands by.
    pub fn kill_blue(&mut self) {
        if let Some(blue) = self.blue.take() {
            blue.kill();
        }
    }

    /// Kills redis.
    pub fn kill_redis(&mut self) {
        if let Some(redis) = self.redis.take() {
            redis.kill();
        }
    }

    /// Starts redis again.
    ///
    /// # Errors
    /// When it can't be run.
    pub fn start_redis(&mut self) -> Result<(), Failure> {
        self.redis = Some(parts::redis(self.at.redis, &self.plan.folder)?);
        Ok(())
    }

    /// Delays every durable write of the green one until the answer is dropped.
    ///
    /// # Errors
    /// When it can't be traced.
    pub fn slow_disk(&self, delay: Duration) -> Result<SlowDisk, Failure> {
        let green = self
            .green
            .as_ref()
            .ok_or_else(|| Failure::new("green is not running"))?;
        SlowDisk::of(green.pid(), "committer", delay, &self.plan.folder)
    }
}
