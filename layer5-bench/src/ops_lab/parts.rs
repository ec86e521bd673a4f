//! The files and commands of the lab's processes, made of what is installed.
//! In: addresses, `deploy/`. Out: configurations in the lab's folder, and [`Part`]s that run on them.
//! Called from: [`super::Lab`].
//! Invariants: rules, routes and inhibitions are those of `deploy/`, with nothing but their durations changed; receivers
//! keep their names and become webhooks; everything listens on loopback.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
};

use layer5_server::standin::surface::TUNABLES;

use super::{Addresses, clock::Clock, compressed::compressed, part::Part};
use crate::Failure;

/// Scrapes and evaluations, once a second.
const PACE: &str = "1s";

const PROMETHEUS: &str = include_str!("../../../deploy/prometheus/prometheus-local.yml");
const ALERTS: &str = include_str!("../../../deploy/prometheus/rules/alerts.yml");
const RECORDING: &str = include_str!("../../../deploy/prometheus/rules/recording.yml");
const ALERTMANAGER: &str = include_str!("../../../deploy/alertmanager/alertmanager.yml");

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    fs::write(path, text).map_err(|e| Failure::new(format!("{}: {e}", path.display())))
}

/// Writes the rules with compressed durations and the scrape configuration; returns the latter's path.
pub(super) fn prometheus_files(
    folder: &Path,
    at: &Addresses,
    factor: u32,
) -> Result<PathBuf, Failure> {
    let rules = folder.join("rules");
    fs::create_dir_all(&rules).map_err(Failure::new)?;
    write(&rules.join("alerts.yml"), &compressed(ALERTS, factor))?;
    write(&rules.join("recording.yml"), &compressed(RECORDING, factor))?;
    let text = PROMETHEUS
        .replace("_interval: 5s", &format!("_interval: {PACE}"))
        .replace("127.0.0.1:9093", &at.alertmanager.to_string())
        .replace("127.0.0.1:9090", &at.metrics.to_string());
    let blue = format!(
        "      - targets: [\"{}\"]\n        labels:\n          color: blue\n",
        at.standby_metrics
    );
    let green = "          color: green\n";
    if !text.contains(green) {
        return Err(Failure::new(
            "prometheus-local.yml has no target of the colour green",
        ));
    }
    let path = folder.join("prometheus.yml");
    write(&path, &text.replacen(green, &format!("{green}{blue}"), 1))?;
    Ok(path)
}

/// Writes the routes with compressed durations, and a webhook behind every receiver's name.
pub(super) fn alertmanager_file(
    folder: &Path,
    webhook: SocketAddr,
    factor: u32,
) -> Result<PathBuf, Failure> {
    let malformed = || Failure::new("alertmanager.yml has no routes before its receivers");
    let (_, routes) = ALERTMANAGER.split_once("\nroute:").ok_or_else(malformed)?;
    let (routes, receivers) = routes.split_once("\nreceivers:").ok_or_else(malformed)?;
    let receivers: String = receivers
        .lines()
        .filter_map(|line| line.strip_prefix("  - name: "))
        .map(|name| {
            format!("  - name: {name}\n    webhook_configs:\n      - url: http://{webhook}/{name}\n        send_resolved: true\n")
        })
        .collect();
    // Whether it is night here and now must not decide what the lab sees.
    let always: String = routes
        .split_inclusive('\n')
        .filter(|line| !line.trim_start().starts_with("mute_time_intervals:"))
        .collect();
    let text = compressed(&format!("route:{always}\nreceivers:\n{receivers}"), factor);
    let path = folder.join("alertmanager.yml");
    write(&path, &text)?;
    Ok(path)
}

/// Layer5's configuration: the demo's cohort, small rings, short patience, so that a lab can fill and exhaust them.
pub(super) fn layer5_file(
    folder: &Path,
    at: &Addresses,
    layer7: &str,
    layer8: &str,
) -> Result<PathBuf, Failure> {
    let mut text = format!(
        "[http]\nlisten = \"{}\"\nrequest_timeout_seconds = 1.0\n\n\
         [metrics]\nlisten = \"{}\"\n\n\
         [store]\ndisk_bytes_max = 268435456\nraw_days = 3650.0\naggregate_days = 3650.0\n\n\
         [limits]\nmax_age_seconds = 315360000.0\n\n\
         [pipeline]\nshards = 1\nintake_capacity = 8192\nshard_capacity = 8192\ngroup_samples_max = 1024\ntick_millis = 100\n\n\
         [layer7]\nurl = \"{layer7}\"\n\n[layer8]\nurl = \"{layer8}\"\n\n[log]\nfile = \"{2}/layer5.log\"\n\n[backup]\nrepository = \"{2}/backups\"\nevery_hours = 0.0\n\n\
         [[cohort]]\nname = \"fleet\"\nagents = \"agent_*\"\ncanary_share = 1.0\nholdout_share = 0.0\nwindow_len = 12\nsettle_len = 4\ntrials_max = 100000\n",
        at.api,
        at.metrics,
        folder.display()
    );
    for tunable in &TUNABLES {
        let kind = if tunable.integer { "int" } else { "float" };
        text += &format!(
            "\n[[cohort.parameter]]\nname = \"{}\"\ntype = \"{kind}\"\nlow = {:?}\nhigh = {:?}\nlog = {}\ninitial = {:?}\n",
            tunable.name, tunable.low, tunable.high, tunable.log, tunable.initial
        );
    }
    let path = folder.join("layer5.toml");
    write(&path, &text)?;
    Ok(path)
}

/// One Layer5 of the lab.
#[derive(Debug)]
pub(super) struct Instance<'a> {
    pub(super) name: &'static str,
    pub(super) data: &'a Path,
    /// The one that takes reports has a configuration; the other one stands by with the defaults.
    pub(super) config: Option<&'a Path>,
    /// The API and the metrics page.
    pub(super) listen: [SocketAddr; 2],
    pub(super) redis: Option<SocketAddr>,
}

/// `layer5 serve`, with a clock that the lab can set.
pub(super) fn layer5(
    binary: &Path,
    instance: &Instance<'_>,
    clock: &Clock,
    folder: &Path,
) -> Result<Part, Failure> {
    let mut command = Command::new(binary);
    command.arg("serve");
    // Nothing of the caller's own environment may configure it.
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("LAYER")) {
        command.env_remove(name);
    }
    if let Some(config) = instance.config {
        command.arg("--config").arg(config);
    }
    let color = if instance.config.is_some() {
        "green"
    } else {
        "blue"
    };
    let [api, metrics] = instance.listen;
    command
        .env("LAYER5_HTTP__LISTEN", api.to_string())
        .env("LAYER5_METRICS__LISTEN", metrics.to_string())
        .env("LAYER5_STORE__DATA_DIR", instance.data)
        .env("DEPLOYMENT_COLOR", color)
        .env("RUST_LOG", "info");
    if let Some(redis) = instance.redis {
        command.env("REDIS_URL", format!("redis://{redis}"));
    }
    clock.wind(&mut command);
    let mut part = Part::start(instance.name, &mut command, folder)?;
    part.until_it_answers(api, "/ready")?;
    Ok(part)
}

pub(super) fn redis(at: SocketAddr, folder: &Path) -> Result<Part, Failure> {
    let mut command = Command::new("redis-server");
    command
        .args([
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--appendonly",
            "no",
            "--port",
        ])
        .arg(at.port().to_string())
        .arg("--dir")
        .arg(folder);
    Part::start("redis", &mut command, folder)
}

pub(super) fn prometheus(at: SocketAddr, config: &Path, folder: &Path) -> Result<Part, Failure> {
    let mut command = Command::new("prometheus");
    command
        .arg(format!("--config.file={}", config.display()))
        .arg(format!(
            "--storage.tsdb.path={}",
            folder.join("prometheus").display()
        ))
        .arg(format!("--web.listen-address={at}"))
        .arg("--web.enable-lifecycle");
    let mut part = Part::start("prometheus", &mut command, folder)?;
    part.until_it_answers(at, "/-/ready")?;
    Ok(part)
}

pub(super) fn alertmanager(at: SocketAddr, config: &Path, folder: &Path) -> Result<Part, Failure> {
    let mut command = Command::new("prometheus-alertmanager");
    command
        .arg(format!("--config.file={}", config.display()))
        .arg(format!(
            "--storage.path={}",
            folder.join("alertmanager").display()
        ))
        .arg(format!("--web.listen-address={at}"))
        .arg("--cluster.listen-address=");
    let mut part = Part::start("alertmanager", &mut command, folder)?;
    part.until_it_answers(at, "/-/ready")?;
    Ok(part)
}
