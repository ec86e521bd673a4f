//! `layer5 bluegreen local`: blue-green deployments on this machine, with real processes behind HAProxy, under load.
//! In: how many, and what is to go wrong. Out: one line per step on standard error, at the end an account of requests,
//! reports and deliveries; exit 0 when every deployment ended as it must and nothing was lost or doubled.
//! A deployment: a candidate follows the live version's log and is compared with it, then takes over, is watched, and
//! goes back if it is worse.

use std::{
    io::Write,
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use clap::Args;
use serde::Serialize;
use serde_json::{Value, json};

use super::{
    compare::compare,
    fault::{FAULTS, Fault},
    instance::{Color, Instance, Launch},
    proxy::Proxy,
    senders::{Account, Senders},
    service::Service,
    takeover::{hand_over, take_back},
    watch,
};
use crate::{
    cli::{Failure, Output, finish, print, runtime},
    standin::{layer7::Layer7, misbehaviour::Misbehaviour},
};

/// Deploy blue-green on this machine, under load
///
/// Two real processes behind HAProxy, a small fleet that sends without a pause, and a Layer7 that counts what it gets.
/// Everything lives in a temporary folder and is gone at the end.
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:\n  \
    layer5 bluegreen local\n  \
    layer5 bluegreen local --switches 0 --fault errors\n  \
    layer5 bluegreen local --switches 20 --rollbacks 10 --output json\n  \
    layer5 bluegreen local --candidate ./target/release/layer5")]
pub(super) struct LocalArgs {
    /// Good deployments
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(0..=1000))]
    switches: u32,
    /// Bad ones, each with another fault
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=1000))]
    rollbacks: u32,
    /// One more bad one, with this fault
    #[arg(long, value_enum)]
    fault: Vec<Fault>,
    /// How long a new version is watched, s
    #[arg(long, value_name = "SECONDS", default_value_t = 2.0, value_parser = super::seconds)]
    watch_seconds: f64,
    /// How long a candidate may take until it is ready, s
    #[arg(long, value_name = "SECONDS", default_value_t = 15.0, value_parser = super::seconds)]
    ready_seconds: f64,
    /// Senders at once
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..=256))]
    senders: u64,
    /// The version that runs
    #[arg(
        long,
        value_name = "FILE",
        help = "The version that runs [default: this program]"
    )]
    live: Option<PathBuf>,
    /// The version that is deployed
    #[arg(
        long,
        value_name = "FILE",
        help = "The version that is deployed [default: this program]"
    )]
    candidate: Option<PathBuf>,
    /// The HAProxy to use
    #[arg(long, value_name = "FILE", default_value = "haproxy")]
    haproxy: PathBuf,
    /// Keep configuration, data and logs there
    #[arg(long, value_name = "FOLDER")]
    keep: Option<PathBuf>,
    /// Text for people, or one JSON object for programs
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

/// How one deployment ended.
#[derive(Debug, Serialize)]
struct Deployment {
    from: String,
    to: String,
    fault: Option<String>,
    /// `switched`, `refused` before the switch, or `rolled back` after it.
    ended: &'static str,
    why: Option<String>,
    /// Who serves now.
    serving: String,
    as_expected: bool,
    /// Longest time between two answers, and longest request, while it went on.
    gap_ms: u64,
    longest_request_ms: u64,
}

pub(super) fn run(args: &LocalArgs) -> ExitCode {
    let ran = runtime().and_then(|runtime| runtime.block_on(exercise(args)));
    match ran {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => 1.into(),
        Err(failure) => finish(Err(failure)),
    }
}

async fn exercise(args: &LocalArgs) -> Result<bool, Failure> {
    let io = |what: &str| {
        let what = what.to_owned();
        move |e: std::io::Error| Failure::new(1, format!("{what}: {e}"))
    };
    let temporary = tempfile::tempdir().map_err(io("no temporary folder"))?;
    let folder = args.keep.clone().unwrap_or(temporary.path().to_owned());
    std::fs::create_dir_all(&folder).map_err(io(&folder.display().to_string()))?;
    let layer7 = Layer7::start(Misbehaviour::default(), 7);
    let layer7 = Arc::new(layer7.await.map_err(io("no port for Layer7"))?);
    let mut stage = Stage::set(args, &folder, &layer7).await?;
    let senders = Senders::start(
        &format!("http://{}", stage.proxy.address),
        args.senders,
        &layer7,
    );
    stage.account = Some(Arc::clone(&senders.account));
    stage.warm_up().await?;

    let good = (0..args.switches).map(|_| None);
    let bad = (0..args.rollbacks as usize).map(|i| Some(FAULTS[i % FAULTS.len()]));
    let asked = args.fault.iter().copied().map(Some);
    let mut deployments = Vec::new();
    for fault in good.chain(bad).chain(asked) {
        let deployment = stage.deploy(fault).await?;
        say(&format!(
            "{} -> {}: {}{}; longest pause {} ms",
            deployment.from,
            deployment.to,
            deployment.ended,
            deployment
                .why
                .as_ref()
                .map_or(String::new(), |why| format!(" ({why})")),
            deployment.gap_ms
        ));
        deployments.push(deployment);
    }
    let account = senders.finish().await;
    let result = stage.audit(&account, &layer7, deployments).await?;
    match args.output {
        Output::Json => print(&format!("{result:#}\n")),
        Output::Text => print(&text(&result)),
    }
    Ok(result["good"] == true)
}

/// What the exercise is played on.
struct Stage<'a> {
    args: &'a LocalArgs,
    folder: &'a Path,
    config: PathBuf,
    layer7: String,
    ports: (u16, u16),
    proxy: Proxy,
    live: Option<Instance>,
    account: Option<Arc<Account>>,
    n_deployed: usize,
}

impl<'a> Stage<'a> {
    async fn set(args: &'a LocalArgs, folder: &'a Path, layer7: &Layer7) -> Result<Self, Failure> {
        let config = folder.join("layer5.toml");
        std::fs::write(&config, CONFIG)
            .map_err(|e| Failure::new(1, format!("{}: {e}", config.display())))?;
        let ports = (free_port()?, free_port()?, free_port()?);
        let port_of = |color| {
            if color == Color::Blue {
                ports.0
            } else {
                ports.1
            }
        };
        let proxy = Proxy::start(&args.haproxy, folder, ports.2, port_of).await?;
        let mut stage = Self {
            args,
            folder,
            config,
            layer7: layer7.url(),
            ports: (ports.0, ports.1),
            proxy,
            live: None,
            account: None,
            n_deployed: 0,
        };
        let launch = stage.launch(&args.live, Color::Green, vec![])?;
        let mut live = launch.start(&stage.log(Color::Green))?;
        live.ready(Duration::from_secs(60)).await.map_err(failed)?;
        stage.live = Some(live);
        Ok(stage)
    }

    /// The one writer of the data folder, as `color`.
    fn launch(
        &self,
        binary: &Option<PathBuf>,
        color: Color,
        settings: Vec<(&'static str, String)>,
    ) -> Result<Launch, Failure> {
        let binary = match binary {
            Some(binary) => binary.clone(),
            None => std::env::current_exe().map_err(|e| Failure::new(1, e))?,
        };
        let mut settings = settings;
        settings.push(("LAYER5_STORE__LOCK_WAIT_SECONDS", "60".into()));
        Ok(Launch {
            binary,
            config: self.config.clone(),
            color,
            port: if color == Color::Blue {
                self.ports.0
            } else {
                self.ports.1
            },
            data_dir: self.folder.join("data"),
            layer7: self.layer7.clone(),
            settings,
        })
    }

    fn log(&self, color: Color) -> PathBuf {
        self.folder.join(format!("{}-{color}.log", self.n_deployed))
    }

    fn live(&mut self) -> &mut Instance {
        self.live
            .as_mut()
            .expect("somebody serves between two steps")
    }

    /// Waits until there is something to compare: reports, findings' past, accuracy.
    async fn warm_up(&mut self) -> Result<(), Failure> {
        say("a fleet sends through the proxy, green serves");
        let began = Instant::now();
        loop {
            let counts = self.live().service.counts().await.map_err(failed)?;
            if counts.accuracy.is_some() && counts.stored > 500 {
                return Ok(());
            }
            if began.elapsed() > Duration::from_secs(120) {
                return Err(Failure::new(
                    1,
                    format!("the fleet does not come up: {counts:?}"),
                ));
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// One deployment, from the version that serves to the other colour.
    async fn deploy(&mut self, fault: Option<Fault>) -> Result<Deployment, Failure> {
        self.n_deployed += 1;
        let from = self.live().color;
        let to = from.other();
        let account = Arc::clone(self.account.as_ref().expect("the senders were started"));
        account.take_longest();
        let (ended, why) = match self.validate(to, fault).await? {
            Err(why) => ("refused", Some(why)),
            Ok(()) => self.switch(from, to, fault, &account).await?,
        };
        account.outcomes_good.store(true, Relaxed);
        let serving = self.serving().await?;
        let expected = if fault.is_some() { from } else { to };
        let (gap_ms, longest_request_ms) = account.take_longest();
        Ok(Deployment {
            from: from.to_string(),
            to: to.to_string(),
            fault: fault.map(Fault::name),
            ended,
            why,
            as_expected: serving == expected.as_str() && (ended == "switched") == fault.is_none(),
            serving,
            gap_ms,
            longest_request_ms,
        })
    }

    /// The candidate as a shadow: ready, a report in and out, the same findings. The inner error is why it is refused.
    async fn validate(
        &mut self,
        color: Color,
        fault: Option<Fault>,
    ) -> Result<Result<(), String>, Failure> {
        say(&format!("{color}: a candidate follows {}", color.other()));
        let shadow = self.folder.join(format!("shadow-{}", self.n_deployed));
        std::fs::create_dir_all(&shadow).map_err(|e| Failure::new(1, e))?;
        // Somebody else has its folder, so it waits for ever.
        let locked = (fault == Some(Fault::NotReady)).then(|| locked(&shadow));
        let _locked = locked.transpose().map_err(|e| Failure::new(1, e))?;
        let mut settings = fault.map_or(vec![], Fault::shadow_settings);
        settings.push(("LAYER5_ROLE", "shadow".into()));
        let live = self.live().service.clone();
        settings.push(("LAYER5_SOURCES__FOLLOW__URL", live.url().to_owned()));
        let mut launch = self.launch(&self.args.candidate, color, settings)?;
        launch.data_dir.clone_from(&shadow);
        let mut candidate = launch.start(&self.log(color))?;
        let patience = Duration::from_secs_f64(self.args.ready_seconds);
        let outcome = async {
            candidate.ready(patience).await?;
            candidate.service.smoke().await?;
            let window = Duration::from_secs(30);
            let caught_up = Duration::from_secs(30);
            let differs = compare(&live, &candidate.service, window, caught_up)
                .await?
                .differs();
            match differs.is_empty() {
                true => Ok(()),
                false => Err(differs.join("; ")),
            }
        };
        let outcome = outcome.await;
        candidate.kill();
        // The folder goes with the candidate; what can't be removed now goes with the exercise.
        let _left = std::fs::remove_dir_all(&shadow);
        Ok(outcome)
    }

    /// Hands over, watches, and goes back when the new version is worse.
    async fn switch(
        &mut self,
        from: Color,
        to: Color,
        fault: Option<Fault>,
        account: &Account,
    ) -> Result<(&'static str, Option<String>), Failure> {
        let span = Duration::from_secs_f64(self.args.watch_seconds);
        let baseline = watch::figures(&self.live().service, Duration::from_secs(1)).await;
        let baseline = baseline.map_err(failed)?;
        say(&format!("{to}: takes over from {from}"));
        let settings = fault.map_or(vec![], Fault::active_settings);
        let next = self.launch(&self.args.candidate, to, settings)?;
        let back = self.launch(&self.args.live, from, vec![])?;
        let killed = fault == Some(Fault::CrashTakeover);
        let old = self.live.take().expect("somebody serves between two steps");
        let log = self.log(to);
        let handed = hand_over(&self.proxy, old, &next, &back, killed, &log).await?;
        let mut new = handed.serving;
        if let Some(why) = handed.failed {
            self.live = Some(new);
            return Ok(("rolled back", Some(why)));
        }
        match fault {
            Some(Fault::CrashLate) => new.kill(),
            Some(Fault::Accuracy) => account.outcomes_good.store(false, Relaxed),
            _ => {}
        }
        // What must go wrong is waited for longer; it ends the watch as soon as it does.
        let span = if fault.is_some() {
            span.max(Duration::from_secs(30))
        } else {
            span
        };
        let watched = watch::watch(&new.service, &baseline, span).await;
        let Err(why) = watched else {
            self.live = Some(new);
            return Ok(("switched", None));
        };
        say(&format!("{to}: worse than {from}: {why}; back"));
        let serving = match new.is_gone() {
            true => take_back(&self.proxy, new, &back, &log).await?,
            false => {
                let again = hand_over(&self.proxy, new, &back, &back, false, &log).await?;
                if let Some(why) = again.failed {
                    return Err(Failure::new(1, format!("the way back failed: {why}")));
                }
                again.serving
            }
        };
        self.live = Some(serving);
        Ok(("rolled back", Some(why)))
    }

    /// Who answers the senders, as the proxy sees it.
    async fn serving(&self) -> Result<String, Failure> {
        let through = Service::new(&format!("http://{}", self.proxy.address), None)?;
        let status = through.get("/api/v1/status").await.map_err(failed)?;
        Ok(status["color"].as_str().unwrap_or_default().to_owned())
    }

    /// What became of everything that was sent.
    async fn audit(
        &mut self,
        account: &Account,
        layer7: &Layer7,
        deployments: Vec<Deployment>,
    ) -> Result<Value, Failure> {
        let counts = self.live().service.counts().await.map_err(failed)?;
        let acknowledged = account.acknowledged.load(Relaxed);
        let failed_requests = account.failed.load(Relaxed);
        let seen = layer7.account();
        let lost = acknowledged.saturating_sub(counts.stored);
        let doubled = counts.stored.saturating_sub(acknowledged);
        // A killed process may have pushed what it could not note any more: it comes again under its key, which is how it
        // has one effect. A process that stops leaves nothing of that kind.
        let kills = [Fault::CrashLate, Fault::CrashTakeover].map(Fault::name);
        let killed = deployments
            .iter()
            .any(|d| d.fault.as_ref().is_some_and(|f| kills.contains(f)));
        let gap = deployments.iter().map(|d| d.gap_ms).max();
        let good = deployments.iter().all(|d| d.as_expected)
            && failed_requests == 0
            && lost == 0
            && doubled == 0
            && seen.n_breaches == 0
            && (killed || seen.repeats == 0);
        Ok(json!({
            "good": good,
            "requests": account.requests.load(Relaxed),
            "failed": failed_requests,
            "failures": account.failures(),
            "reports": {
                "acknowledged": acknowledged, "stored": counts.stored, "lost": lost, "doubled": doubled,
                "refused": account.refused.load(Relaxed),
            },
            "deliveries": { "taken": seen.delivered, "repeated": seen.repeats, "doubled": seen.n_breaches, "breaches": seen.breaches },
            "advised": account.advised.load(Relaxed),
            "longest_gap_ms": gap,
            "deployments": deployments,
        }))
    }
}

/// The lock of a data folder, as another process would have it.
fn locked(folder: &Path) -> std::io::Result<std::fs::File> {
    let file = std::fs::File::create(folder.join("lock"))?;
    file.try_lock()?;
    Ok(file)
}

/// A port below those that the kernel gives to callers, so that nobody gets it while nobody listens on it.
fn free_port() -> Result<u16, Failure> {
    use rand::RngExt;
    let mut rng = rand_pcg::Pcg64::new(crate::clock::now().nanos().unsigned_abs().into(), 0);
    for _ in 0..200 {
        let port = rng.random_range(20_000..32_000);
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
    Err(Failure::new(1, "no free port from 20000 to 32000"))
}

fn failed(why: String) -> Failure {
    Failure::new(1, why)
}

fn say(line: &str) {
    // A reader that went away is no failure.
    let _closed = writeln!(std::io::stderr(), "{line}");
}

fn text(result: &Value) -> String {
    let deployments = result["deployments"].as_array().map_or(0, Vec::len);
    let (reports, deliveries) = (&result["reports"], &result["deliveries"]);
    format!(
        "{deployments} deployments, {}\n\
         requests      {} sent, {} failed\n\
         reports       {} acknowledged, {} stored, {} lost, {} doubled\n\
         deliveries    {} taken by Layer7, {} sent again under their key, {} doubled\n\
         longest pause {} ms\n",
        if result["good"] == true {
            "all as they must be"
        } else {
            "NOT as they must be"
        },
        result["requests"],
        result["failed"],
        reports["acknowledged"],
        reports["stored"],
        reports["lost"],
        reports["doubled"],
        deliveries["taken"],
        deliveries["repeated"],
        deliveries["doubled"],
        result["longest_gap_ms"],
    )
}

/// Both versions run with it.
const CONFIG: &str = r#"
[pipeline]
shards = 1

[[cohort]]
name = "fleet"
agents = "tuned_*"
window_len = 30
[[cohort.parameter]]
name = "concurrency"
type = "int"
low = 1
high = 64
log = true
initial = 8
"#;
