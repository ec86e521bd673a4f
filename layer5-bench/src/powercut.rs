//! `layer5-bench powercut`: takes the power from a service's disk, as far as a file system can tell.
//! In: how many cuts. Out: what was lost: nothing, or the run fails. Called from: the command line, CI and
//! `tests/faults.rs`.
//!
//! The data folder lies on an ext4 image behind a loop device. What was written and not synced is in the page cache
//! of the mounted file system and not in the image, so a copy of the image is what a power cut would have left. The
//! service is stopped with SIGSTOP while the image is copied, so that the copy is of one moment; the copy is
//! mounted, ext4 repairs itself from its journal, a second service recovers from it, and everything acknowledged
//! before the moment must be there. Needs root, a loop device and `mkfs.ext4`.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use clap::Args;
use layer5_server::clock;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use serde_json::{Value, json};

use crate::{
    Failure,
    crash::Bug,
    progress::say,
    service::{
        latency::Percentiles,
        promise::{Findings, Promises},
        subject::{self, Launch},
        workload::Workload,
    },
};

/// Size of the image, MiB.
const IMAGE_MIB: u64 = 768;
/// The shortest and longest time between two cuts, s.
const BETWEEN: std::ops::Range<f64> = 0.15..1.2;
/// Cuts that share a folder: the audit knows duplicates for ten minutes only, and sends everything again.
const CUTS_PER_FOLDER: usize = 10;
const CONNECTIONS: usize = 4;

/// Cut the power of a service's disk, and audit what it promised
///
/// Its data folder is on an ext4 image on a loop device; the image is copied while it runs, the copy is mounted and
/// recovered, and every report that was acknowledged before must be there exactly once.
#[derive(Args, Clone, Debug)]
#[command(after_long_help = "Examples:\n  \
    layer5-bench powercut --cuts 20\n  \
    layer5-bench powercut --cuts 3 --plant missing-fsync     # must fail\n\n\
    Exit codes: 0 nothing lost or doubled, 1 something was, 2 wrong arguments, 77 left out (no root, no loop device)")]
pub struct PowercutArgs {
    /// The `layer5` binary [default: the one beside this]
    #[arg(long, value_name = "FILE")]
    pub server: Option<PathBuf>,
    /// Where images are made [default: the folder for temporary files]
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Power cuts
    #[arg(long, default_value_t = 5)]
    pub cuts: usize,
    /// Which moments and reports
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// A bug to be caught: the run must fail
    #[arg(long, value_enum)]
    pub plant: Option<Bug>,
}

/// Cuts and audits; a table and its numbers.
///
/// # Errors
/// When something acknowledged was lost, something is there twice, or the service does not come back.
pub fn run(args: &PowercutArgs) -> Result<(String, Value), Failure> {
    let folder = match &args.dir {
        Some(dir) => tempfile::tempdir_in(dir),
        None => tempfile::tempdir(),
    };
    let folder = folder.map_err(|e| Failure::new(format!("no folder for images: {e}")))?;
    let binary = args.server.clone().unwrap_or_else(subject::default_binary);
    let mut rng = Pcg64Mcg::seed_from_u64(args.seed);
    let (mut total, mut ready, mut cuts_left) = (Findings::default(), Vec::new(), args.cuts);
    let mut nth = 0;
    while cuts_left > 0 {
        let image = folder.path().join("disk");
        make_image(&image)?;
        let disk = Mounted::mount(&image, &folder.path().join("mounted"))?;
        let mut launch = Launch::new(&binary, &disk.at.join("data"));
        if args.plant == Some(Bug::MissingFsync) {
            let skip = "strace -f --seccomp-bpf -qq -o /dev/null -e signal=none \
                        -e trace=fsync,fdatasync -e inject=fsync,fdatasync:retval=0";
            launch.tracer = skip.split_whitespace().map(str::to_owned).collect();
        }
        let service = launch.start().map_err(Failure::new)?;
        let from = clock::now().plus_seconds(-60.0);
        let workload = Workload::new(args.seed + nth, 100, 4, 20, from);
        nth += 1;
        let promises = Promises::new(workload, Bug::path(args.plant));
        let stop = AtomicBool::new(false);
        let outcome = std::thread::scope(|scope| {
            scope.spawn(|| promises.send_until(service.api, CONNECTIONS, &stop));
            let mut cuts = || {
                for _ in 0..CUTS_PER_FOLDER.min(cuts_left) {
                    std::thread::sleep(Duration::from_secs_f64(rng.random_range(BETWEEN)));
                    service.freeze().map_err(Failure::new)?;
                    let promised = promises.now();
                    let copy = folder.path().join("copy");
                    let copied = run_command("cp", &["--sparse=always", text(&image), text(&copy)]);
                    service.signal("CONT");
                    copied?;
                    let (findings, ready_after) =
                        after_the_cut(&binary, &copy, folder.path(), &promises, &promised)?;
                    total.acknowledged += findings.acknowledged;
                    total.kept_unasked += findings.kept_unasked;
                    ready.push(ready_after);
                    cuts_left -= 1;
                    say(format!(
                        "{} acknowledged, {cuts_left} cuts to go",
                        findings.acknowledged
                    ));
                }
                Ok(())
            };
            let outcome = cuts();
            stop.store(true, Ordering::Relaxed);
            outcome
        });
        service.kill();
        drop(disk);
        outcome?;
    }
    let ready = Percentiles::of(&ready);
    let table = format!(
        "power cuts                       {}\n\
         reports acknowledged before them {}\n\
         reports kept though unanswered   {}\n\
         acknowledged reports lost        {}\n\
         reports there twice              {}\n\
         ready after a cut, ms            p50 {:.0}, max {:.0}\n",
        args.cuts,
        total.acknowledged,
        total.kept_unasked,
        total.lost,
        total.doubled,
        ready.p50,
        ready.max
    );
    let json =
        json!({ "tool": "powercut", "cuts": args.cuts, "findings": total, "ready_ms": ready });
    Ok((table, json))
}

/// Mounts the copy, starts a service on it, and asks for everything that was promised.
fn after_the_cut(
    binary: &Path,
    copy: &Path,
    folder: &Path,
    promises: &Promises,
    promised: &BTreeMap<u64, bool>,
) -> Result<(Findings, Duration), Failure> {
    let disk = Mounted::mount(copy, &folder.join("recovered"))?;
    let launch = Launch::new(binary, &disk.at.join("data"));
    let service = launch.start().map_err(Failure::new)?;
    let findings = promises.audit(service.api, promised);
    let findings = findings.map_err(|e| Failure::new(format!("{e}\n{}", service.log())))?;
    let ready_after = service.ready_after;
    let log = service.log();
    service.kill();
    if findings.lost + findings.doubled > 0 {
        return Err(Failure::new(format!(
            "after a power cut: {} of {} acknowledged reports are lost, {} are there twice\n{log}",
            findings.lost, findings.acknowledged, findings.doubled
        )));
    }
    Ok((findings, ready_after))
}

/// An empty ext4 file system of [`IMAGE_MIB`] in a file.
pub(crate) fn make_image(image: &Path) -> Result<(), Failure> {
    make_image_of(image, IMAGE_MIB)
}

/// The same of another size.
pub(crate) fn make_image_of(image: &Path, mib: u64) -> Result<(), Failure> {
    let file = std::fs::File::create(image).map_err(Failure::new)?;
    file.set_len(mib << 20).map_err(Failure::new)?;
    run_command("mkfs.ext4", &["-q", "-F", text(image)])
        .map_err(|e| Failure::left_out(format!("no ext4 image: {}", e.message)))
}

/// A mounted image; unmounted when dropped.
pub(crate) struct Mounted {
    /// Where.
    pub(crate) at: PathBuf,
}

impl Mounted {
    pub(crate) fn mount(image: &Path, at: &Path) -> Result<Self, Failure> {
        std::fs::create_dir_all(at).map_err(Failure::new)?;
        run_command("mount", &["-o", "loop", text(image), text(at)]).map_err(|e| {
            Failure::left_out(format!(
                "an image can't be mounted here, which needs root and a loop device: {}",
                e.message
            ))
        })?;
        let at = at.to_owned();
        Ok(Self { at })
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        for _ in 0..50 {
            // Whoever was killed a moment ago may still hold a file.
            if run_command("umount", &[text(&self.at)]).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap_or("?")
}

fn run_command(program: &str, arguments: &[&str]) -> Result<(), Failure> {
    let output = Command::new(program)
        .args(arguments)
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .output()
        .map_err(|e| Failure::new(format!("{program}: {e}")))?;
    match output.status.success() {
        true => Ok(()),
        false => {
            let words = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            Err(Failure::new(format!("{program}: {words}")))
        }
    }
}
