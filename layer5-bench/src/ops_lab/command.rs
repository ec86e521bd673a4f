//! The command line of the lab: `up`, `status`, `down`, `drill`.
//! In: arguments. Out: addresses, a table of what fires, the table of a drill. Called from: the binary.
//! Invariants: `down` signals only the process whose own command line names the lab's folder.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::{Duration, Instant},
};

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{Addresses, Lab, Plan, drill, part, view};
use crate::{Failure, progress::say};

/// The file that says where a lab listens.
const STATE: &str = "lab.json";
/// How long `up` and `down` wait.
const PATIENCE: Duration = Duration::from_secs(120);

/// Bring up all that operations works with, on loopback
///
/// Prometheus, Alertmanager, a webhook receiver, redis, two Layer5s and the demo's fleet. Hours of the rules pass in
/// minutes. `./check.sh tools` brings the programs it needs.
#[derive(Args, Clone, Debug)]
#[command(after_long_help = "Examples:\n  \
    layer5-bench ops-lab up\n  \
    layer5-bench ops-lab status --watch\n  \
    layer5-bench ops-lab down\n  \
    layer5-bench ops-lab drill        # every alert, fired and resolved; a table")]
pub struct OpsLabArgs {
    #[command(subcommand)]
    what: What,
    /// The lab's folder
    #[arg(
        long,
        value_name = "DIR",
        global = true,
        default_value = "layer5-ops-lab"
    )]
    dir: PathBuf,
    /// The `layer5` binary [default: the one beside this]
    #[arg(long, value_name = "FILE", global = true)]
    server: Option<PathBuf>,
}

#[derive(Clone, Debug, Subcommand)]
enum What {
    /// Start a lab and leave it running
    Up(Ports),
    /// The lab itself: `up` starts it in the background
    #[command(hide = true)]
    Hold(Ports),
    /// Say where everything listens and what fires
    Status {
        /// Say it again every two seconds, until Ctrl-C
        #[arg(long)]
        watch: bool,
    },
    /// Stop the lab and remove its folder
    Down,
    /// Start a lab, make every alert fire by its real cause and resolve again, stop it
    Drill {
        /// Draw the dashboards of the drill into this folder
        #[arg(long, value_name = "DIR")]
        pictures: Option<PathBuf>,
    },
}

#[derive(Args, Clone, Debug)]
struct Ports {
    /// Layer5's API; 0 for a free one
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Layer5's metrics page
    #[arg(long, default_value_t = 0)]
    metrics_port: u16,
    /// Prometheus
    #[arg(long, default_value_t = 0)]
    prometheus_port: u16,
    /// Alertmanager
    #[arg(long, default_value_t = 0)]
    alertmanager_port: u16,
    /// The webhook receiver
    #[arg(long, default_value_t = 0)]
    receiver_port: u16,
    /// How long the fleet reports, minutes
    #[arg(long, default_value_t = 60)]
    minutes: u64,
}

/// Runs what was asked for; a table and its numbers.
///
/// # Errors
/// When the lab can't be had, or the drill shows something else than it should.
pub fn run(args: &OpsLabArgs) -> Result<(String, Value), Failure> {
    match &args.what {
        What::Up(ports) => up(args, ports),
        What::Hold(ports) => hold(args, ports),
        What::Status { watch } => loop {
            let status = status(&args.dir)?;
            if !*watch {
                return Ok(status);
            }
            say(&status.0);
            std::thread::sleep(Duration::from_secs(2));
        },
        What::Down => down(&args.dir),
        What::Drill { pictures } => drill_it(args, pictures.as_deref()),
    }
}

fn plan(args: &OpsLabArgs, folder: &Path, lasts: Duration) -> Plan {
    let mut plan = Plan::new(folder, lasts);
    if let Some(binary) = &args.server {
        plan.binary = binary.clone();
    }
    plan
}

fn drill_it(args: &OpsLabArgs, pictures: Option<&Path>) -> Result<(String, Value), Failure> {
    let folder = tempfile::tempdir().map_err(Failure::new)?;
    let mut lab = Lab::start(plan(args, folder.path(), drill::LASTS))?;
    let rows = drill::run(&mut lab)?;
    if let Some(pictures) = pictures {
        crate::dashboards::picture::draw_all(lab.at.prometheus, lab.began.elapsed(), pictures)?;
    }
    drop(lab);
    let failed: Vec<&str> = rows
        .iter()
        .filter(|r| !r.holds())
        .map(|r| r.alert.as_str())
        .collect();
    let table = drill::table(&rows);
    match failed.is_empty() {
        true => Ok((table, json!({ "drill": rows }))),
        false => Err(Failure::new(format!(
            "{table}\nnot as it should be: {}",
            failed.join(", ")
        ))),
    }
}

fn up(args: &OpsLabArgs, ports: &Ports) -> Result<(String, Value), Failure> {
    if read(&args.dir).is_ok() {
        let dir = args.dir.display();
        return Err(Failure::new(format!(
            "a lab is up in {dir}; `ops-lab down` ends it, --dir names another"
        )));
    }
    fs::create_dir_all(&args.dir).map_err(Failure::new)?;
    let log = fs::File::create(args.dir.join("lab.log")).map_err(Failure::new)?;
    let this = std::env::current_exe().map_err(Failure::new)?;
    let mut command = Command::new("setsid");
    command
        .arg(this)
        .args(["ops-lab", "hold", "--dir"])
        .arg(&args.dir);
    if let Some(server) = &args.server {
        command.arg("--server").arg(server);
    }
    for (flag, port) in [
        ("--port", ports.port),
        ("--metrics-port", ports.metrics_port),
        ("--prometheus-port", ports.prometheus_port),
        ("--alertmanager-port", ports.alertmanager_port),
        ("--receiver-port", ports.receiver_port),
    ] {
        command.arg(flag).arg(port.to_string());
    }
    command.arg("--minutes").arg(ports.minutes.to_string());
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .map_err(Failure::new)?;
    let began = Instant::now();
    while read(&args.dir).is_err() {
        let ended = child.try_wait().map_err(Failure::new)?;
        if ended.is_some() || began.elapsed() > PATIENCE {
            let said = fs::read_to_string(args.dir.join("lab.log")).unwrap_or_default();
            let failure = Failure::new(format!("the lab did not come up:\n{}", said.trim_end()));
            let code = ended.and_then(|status| status.code()).unwrap_or(1) as u8;
            return Err(Failure { code, ..failure });
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    status(&args.dir)
}

/// Set by SIGTERM and SIGINT.
static ENOUGH: AtomicBool = AtomicBool::new(false);

fn hold(args: &OpsLabArgs, ports: &Ports) -> Result<(String, Value), Failure> {
    listen_for_the_end()?;
    let folder = fs::canonicalize(&args.dir).map_err(Failure::new)?;
    let mut plan = plan(args, &folder, Duration::from_secs(ports.minutes * 60));
    plan.ports = [
        ports.port,
        ports.metrics_port,
        ports.prometheus_port,
        ports.alertmanager_port,
        ports.receiver_port,
    ];
    let lab = Lab::start(plan)?;
    let state = json!({ "pid": std::process::id(), "at": lab.at });
    fs::write(folder.join(STATE), state.to_string()).map_err(Failure::new)?;
    while !ENOUGH.load(Relaxed) {
        std::thread::sleep(Duration::from_millis(100));
    }
    drop(lab);
    fs::remove_file(folder.join(STATE)).map_err(Failure::new)?;
    Ok((String::new(), Value::Null))
}

fn listen_for_the_end() -> Result<(), Failure> {
    use tokio::signal::unix::{SignalKind, signal};
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Failure::new)?;
    std::thread::spawn(move || {
        runtime.block_on(async {
            let (terminate, interrupt) = (
                signal(SignalKind::terminate()),
                signal(SignalKind::interrupt()),
            );
            if let (Ok(mut terminate), Ok(mut interrupt)) = (terminate, interrupt) {
                tokio::select! { _ = terminate.recv() => (), _ = interrupt.recv() => () }
            }
            ENOUGH.store(true, Relaxed);
        });
    });
    Ok(())
}

/// The process and the addresses of the lab in `dir`.
fn read(dir: &Path) -> Result<(u32, Addresses), Failure> {
    let nothing = |_| {
        Failure::new(format!(
            "no lab is up in {}; `ops-lab up` starts one",
            dir.display()
        ))
    };
    let text = fs::read_to_string(dir.join(STATE)).map_err(nothing)?;
    let state: Value = serde_json::from_str(&text).map_err(Failure::new)?;
    let at = serde_json::from_value(state["at"].clone()).map_err(Failure::new)?;
    let pid = state["pid"].as_u64().unwrap_or_default() as u32;
    let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    if !String::from_utf8_lossy(&command).contains("ops-lab") {
        return Err(Failure::new(format!(
            "the lab in {} ended without a word; remove the folder",
            dir.display()
        )));
    }
    Ok((pid, at))
}

fn status(dir: &Path) -> Result<(String, Value), Failure> {
    let (pid, at) = read(dir)?;
    let firing = view::firing(at.prometheus)?;
    let mut table = format!("lab in {}, process {pid}\n", dir.display());
    for (name, address) in [
        ("Layer5", at.api),
        ("metrics", at.metrics),
        ("standby", at.standby_api),
        ("Prometheus", at.prometheus),
        ("Alertmanager", at.alertmanager),
        ("receiver", at.receiver),
        ("redis", at.redis),
    ] {
        let scheme = if name == "redis" { "redis" } else { "http" };
        table += &format!("  {name:<13} {scheme}://{address}\n");
    }
    let names: Vec<&str> = firing.keys().map(String::as_str).collect();
    table += &match names.is_empty() {
        true => "nothing fires\n".to_owned(),
        false => format!("firing: {}\n", names.join(", ")),
    };
    Ok((table, json!({ "pid": pid, "at": at, "firing": firing })))
}

fn down(dir: &Path) -> Result<(String, Value), Failure> {
    let (pid, _) = read(dir)?;
    part::signal("TERM", pid);
    let began = Instant::now();
    while dir.join(STATE).exists() {
        if began.elapsed() > PATIENCE {
            return Err(Failure::new(format!(
                "process {pid} does not end; see {}/lab.log",
                dir.display()
            )));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    fs::remove_dir_all(dir).map_err(Failure::new)?;
    Ok(("the lab is down\n".to_owned(), json!({ "down": true })))
}
