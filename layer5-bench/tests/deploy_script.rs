//! `deploy-production.sh` with real kubectl against a stand-in of the Kubernetes API: the happy way, each failure, and
//! interrupted at every step and run again.
//! Without kubectl these tests say so and pass; with LAYER5_REQUIRE_TOOLS=1 they fail.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::{Arc, Mutex},
};

use layer5_bench::cluster::{Cluster, Trouble};
use serde_json::{Value, json};

const OLD: &str = "registry.example.org/chimera/layer5:v2.0.0";
const NEW: &str = "registry.example.org/chimera/layer5:v2.1.0";

/// A cluster in which production runs v2.0.0 as green, and a home for kubectl.
struct Stage {
    cluster: Cluster,
    home: tempfile::TempDir,
}

impl Stage {
    /// `None` where kubectl is missing and not required.
    fn set(trouble: Trouble) -> Option<Self> {
        let kubectl = Command::new("kubectl")
            .args(["version", "--client"])
            .output();
        if let Err(error) = kubectl {
            let required = std::env::var_os("LAYER5_REQUIRE_TOOLS").is_some_and(|v| v == "1");
            assert!(!required, "kubectl is required and does not start: {error}");
            eprintln!("skipped: kubectl is not installed");
            return None;
        }
        let installed = [
            (
                "deployments",
                deployment("layer5-refinement", "active", "green", 1),
            ),
            (
                "deployments",
                deployment("layer5-refinement-candidate", "shadow", "blue", 0),
            ),
            ("cronjobs", backup_job()),
        ];
        let cluster = Cluster::start(&installed, OLD, trouble).expect("a port");
        let home = tempfile::tempdir().expect("a folder");
        fs::write(home.path().join("config"), cluster.kubeconfig()).expect("written");
        Some(Self { cluster, home })
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .env("KUBECONFIG", self.home.path().join("config"))
            .env("KUBECACHEDIR", self.home.path().join("cache"))
            .env("HOME", self.home.path())
            .env("LAYER5_DEPLOY_PATIENCE", "6")
            .env("LAYER5_LEASE_SECONDS", "60")
            .stdin(Stdio::null());
        command
    }

    fn deploy(&self, arguments: &[&str]) -> Output {
        let mut command = self.command(&script());
        command.arg("v2.1.0").args(arguments);
        command.output().expect("bash runs it")
    }

    fn kubectl(&self, arguments: &[&str]) -> Output {
        let mut command = self.command(Path::new("kubectl"));
        command.args(arguments).output().expect("it ran before")
    }

    /// Image and colour of the live Deployment, replicas of the candidate's.
    fn state(&self) -> (String, String, u64) {
        let live = self
            .cluster
            .object("deployments", "layer5-refinement")
            .expect("it is there");
        let candidate = self
            .cluster
            .object("deployments", "layer5-refinement-candidate");
        let template = &live["spec"]["template"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        (
            text(&template["spec"]["containers"][0]["image"]),
            text(&template["metadata"]["labels"]["deployment"]),
            candidate.expect("it is there")["spec"]["replicas"]
                .as_u64()
                .expect("a number"),
        )
    }

    fn note(&self, name: &str) -> String {
        let lease = self
            .cluster
            .object("leases", "layer5-deploy")
            .unwrap_or_default();
        let note = &lease["metadata"]["annotations"][format!("layer5.deploy/{name}")];
        note.as_str().unwrap_or_default().to_owned()
    }

    fn n_writes(&self) -> usize {
        self.cluster
            .calls()
            .iter()
            .filter(|call| call.writes())
            .count()
    }
}

fn script() -> PathBuf {
    // The link at the root, as the guide calls it.
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy-production.sh")
}

fn deployment(name: &str, role: &str, color: &str, replicas: u64) -> Value {
    let own = json!({"app": "layer5", "component": "refinement", "role": role});
    let mut labels = own.clone();
    labels["deployment"] = color.into();
    json!({
        "kind": "Deployment", "apiVersion": "apps/v1",
        "metadata": {"name": name, "labels": {"app": "layer5", "environment": "production"}, "annotations": {}},
        "spec": {
            "replicas": replicas, "selector": {"matchLabels": own}, "strategy": {"type": "RollingUpdate"},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "layer5", "image": OLD}]},
            },
        },
    })
}

fn backup_job() -> Value {
    json!({
        "kind": "CronJob", "apiVersion": "batch/v1", "metadata": {"name": "layer5-backup"},
        "spec": {"schedule": "17 */6 * * *", "jobTemplate": {"spec": {"template": {"spec": {
            "restartPolicy": "Never", "containers": [{"name": "backup", "image": OLD}],
        }}}}},
    })
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[track_caller]
fn ended(output: &Output, code: i32, words: &str) {
    let told = told(output);
    assert_eq!(output.status.code(), Some(code), "{told}");
    assert!(told.contains(words), "not said: {words}\n{told}");
}

fn served_by_new() -> (String, String, u64) {
    (NEW.into(), "blue".into(), 0)
}

fn served_by_old() -> (String, String, u64) {
    (OLD.into(), "green".into(), 0)
}

#[test]
fn a_good_version_is_deployed_and_the_guides_commands_speak_of_it() {
    let Some(stage) = Stage::set(Trouble::None) else {
        return;
    };
    let output = stage.deploy(&["--watch", "1"]);
    ended(&output, 0, "v2.1.0 is deployed: blue serves");
    assert_eq!(stage.state(), served_by_new());
    assert_eq!(stage.note("phase"), "done");
    let told = told(&output);
    let steps = [
        "==> 1 checks",
        "==> 2 backup",
        "==> 3 candidate",
        "==> 4 validation",
        "==> 5 switch",
        "==> 6 watch",
        "==> 7 scale down",
    ];
    let places: Vec<_> = steps.iter().map(|step| told.find(step)).collect();
    assert!(
        places.iter().all(Option::is_some) && places.is_sorted(),
        "{told}"
    );
    // The same again: there is nothing to do.
    ended(&stage.deploy(&[]), 0, "blue serves v2.1.0 already");
    // Module 2 of the guide.
    let n = "project-chimera";
    let status = stage.kubectl(&["rollout", "status", "deployment/layer5-refinement", "-n", n]);
    ended(&status, 0, "successfully rolled out");
    let undo = stage.kubectl(&["rollout", "undo", "deployment/layer5-refinement", "-n", n]);
    ended(&undo, 0, "deployment.apps/layer5-refinement rolled back");
    assert_eq!(stage.state(), served_by_old());
    ended(
        &stage.kubectl(&["get", "pods", "-l", "app=layer5", "-n", n]),
        0,
        "layer5-refinement-",
    );
}

#[test]
fn a_dry_run_prints_the_plan_and_writes_nothing() {
    let Some(stage) = Stage::set(Trouble::None) else {
        return;
    };
    let output = stage.deploy(&["--dry-run"]);
    ended(
        &output,
        0,
        "deployment/layer5-refinement <- blue registry.example.org/chimera/layer5:v2.1.0",
    );
    ended(&output, 0, "job layer5-deploy-");
    assert_eq!((stage.n_writes(), stage.state()), (0, served_by_old()));
}

#[test]
fn what_is_wrong_before_the_switch_leaves_green_as_it_is() {
    let cases = [
        (Trouble::Crashes, "CrashLoopBackOff"),
        (Trouble::NoImage, "ImagePullBackOff"),
        (Trouble::NeverReady, "not ready after"),
        (Trouble::NoRoom, "Insufficient memory"),
        (
            Trouble::NoBackup,
            "the backup failed: layer5: no space left on device",
        ),
        (Trouble::NoSmoke, "does not come out"),
        (
            Trouble::Differs,
            "does not find what the live version finds",
        ),
        (
            Trouble::Forbidden,
            "you may not patch deployments/layer5-refinement",
        ),
    ];
    for (trouble, words) in cases {
        let Some(stage) = Stage::set(trouble) else {
            return;
        };
        ended(&stage.deploy(&["--auto-rollback"]), 1, words);
        assert_eq!(stage.state(), served_by_old(), "{trouble:?}");
        let live = stage.cluster.calls().into_iter().filter(|call| {
            call.method == "PATCH" && call.path.contains("/deployments/layer5-refinement?")
        });
        assert_eq!(
            live.count(),
            0,
            "{trouble:?}: the live Deployment was touched"
        );
        if trouble != Trouble::Differs {
            continue;
        }
        // Once it is mended, the same command deploys.
        stage.cluster.trouble(Trouble::None);
        ended(&stage.deploy(&["--watch", "1"]), 0, "is deployed");
        assert_eq!(stage.state(), served_by_new(), "{trouble:?}");
    }
}

#[test]
fn what_is_wrong_after_the_switch_goes_back_when_asked_to() {
    for (trouble, words) in [
        (Trouble::CrashesActive, "CrashLoopBackOff"),
        (Trouble::Worse, "accuracy: 0.912, 0.970 before"),
    ] {
        let Some(stage) = Stage::set(trouble) else {
            return;
        };
        let output = stage.deploy(&["--auto-rollback", "--watch", "1"]);
        ended(&output, 3, words);
        ended(&output, 3, "was rolled back: green");
        assert_eq!(
            (stage.state(), stage.note("phase").as_str()),
            (served_by_old(), "rolled-back")
        );
        let Some(stage) = Stage::set(trouble) else {
            return;
        };
        ended(&stage.deploy(&["--watch", "1"]), 4, "kubectl rollout undo");
        assert_eq!(stage.state().1, "blue");
        // Another version waits until this one is dealt with; the same command with the flag does that.
        let mut other = stage.command(&script());
        let other = other.arg("v2.2.0").output().expect("bash runs it");
        ended(&other, 1, "the deployment of v2.1.0 was interrupted");
        ended(
            &stage.deploy(&["--auto-rollback", "--watch", "1"]),
            3,
            "was rolled back: green",
        );
        assert_eq!(stage.state(), served_by_old());
    }
}

#[test]
fn wrong_arguments_and_wrong_clusters_are_told_apart() {
    let Some(stage) = Stage::set(Trouble::None) else {
        return;
    };
    let run = |arguments: &[&str]| {
        stage
            .command(&script())
            .args(arguments)
            .output()
            .expect("bash runs it")
    };
    ended(
        &run(&["2.1.0"]),
        2,
        "'2.1.0' is no version: expected vX.Y.Z",
    );
    ended(&run(&["v2.1"]), 2, "is no version");
    ended(&run(&["v2.1.0;reboot"]), 2, "is no version");
    ended(&run(&[]), 2, "which version?");
    ended(
        &run(&["v2.1.0", "--env", "moon"]),
        2,
        "expected production, staging or development",
    );
    ended(&run(&["v2.1.0", "--watch"]), 2, "--watch needs a value");
    ended(&run(&["--fast", "v2.1.0"]), 2, "unknown option --fast");
    ended(&run(&["--help"]), 0, "--auto-rollback");
    ended(
        &run(&["v2.1.0", "--env", "staging"]),
        1,
        "this cluster is 'production', not staging",
    );
    let nowhere = stage
        .command(&script())
        .arg("v2.1.0")
        .env("KUBECONFIG", "/nowhere")
        .output();
    ended(
        &nowhere.expect("bash runs it"),
        69,
        "kubectl has no context",
    );
    assert_eq!((stage.n_writes(), stage.state()), (0, served_by_old()));
}

#[test]
fn two_deployments_at_once_are_refused() {
    let Some(stage) = Stage::set(Trouble::None) else {
        return;
    };
    let lease = |renewed: &str| {
        json!({
            "kind": "Lease", "apiVersion": "coordination.k8s.io/v1",
            "metadata": {"name": "layer5-deploy", "annotations": {"layer5.deploy/phase": "backup"}},
            "spec": {"holderIdentity": "eve@elsewhere:1:1", "leaseDurationSeconds": 60, "renewTime": renewed},
        })
    };
    stage
        .cluster
        .put("leases", lease("2126-11-28T00:00:00.000000Z"));
    ended(&stage.deploy(&[]), 5, "eve@elsewhere:1:1 is deploying");
    assert_eq!(stage.state(), served_by_old());
    // One that was not renewed is nobody's.
    stage
        .cluster
        .put("leases", lease("2026-01-01T00:00:00.000000Z"));
    ended(&stage.deploy(&["--watch", "1"]), 0, "is deployed");
}

/// Kills the script behind its `n`th write; whether it got that far.
fn kill_behind(stage: &Stage, n: usize, arguments: &[&str]) -> bool {
    let running: Arc<Mutex<Option<Child>>> = Arc::default();
    let (killer, mut reached) = (Arc::clone(&running), false);
    let hit = Arc::new(Mutex::new(false));
    let seen = Arc::clone(&hit);
    stage.cluster.on_write(move |number| {
        if number == n && !reached {
            reached = true;
            *seen.lock().expect("no holder panics") = true;
            if let Some(child) = killer.lock().expect("no holder panics").as_mut() {
                child.kill().expect("a child can be killed");
            }
        }
    });
    let mut command = stage.command(&script());
    // A lease that is given up quickly, as nobody waits a minute here.
    command
        .env("LAYER5_LEASE_SECONDS", "1")
        .arg("v2.1.0")
        .args(arguments);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    {
        let mut place = running.lock().expect("no holder panics");
        *place = Some(command.spawn().expect("bash runs it"));
    }
    // The lock must be free while it runs, or nobody could kill it.
    loop {
        let mut place = running.lock().expect("no holder panics");
        let child = place.as_mut().expect("it was put there");
        if child.try_wait().expect("a child can be asked").is_some() {
            break;
        }
        drop(place);
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    stage.cluster.on_write(|_| {});
    *hit.lock().expect("no holder panics")
}

/// Runs the script to its end, as often as it is told that another one is under way.
fn again(stage: &Stage, arguments: &[&str]) -> Output {
    for _ in 0..60 {
        let output = stage.deploy(arguments);
        if output.status.code() != Some(5) {
            return output;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    panic!("the lease is never given up");
}

#[test]
fn interrupted_at_every_step_it_goes_on() {
    for n in 1.. {
        let Some(stage) = Stage::set(Trouble::None) else {
            return;
        };
        if !kill_behind(&stage, n, &["--watch", "1"]) {
            assert!(n > 8, "only {n} writes");
            eprintln!("interrupted behind each of {} writes", n - 1);
            return;
        }
        let output = again(&stage, &["--watch", "1"]);
        assert_eq!(
            output.status.code(),
            Some(0),
            "behind write {n}: {}",
            told(&output)
        );
        assert_eq!(stage.state(), served_by_new(), "behind write {n}");
        let jobs = stage
            .cluster
            .calls()
            .into_iter()
            .filter(|c| c.method == "POST" && c.path.contains("/jobs"));
        assert!(jobs.count() <= 2, "behind write {n}");
    }
}

#[test]
fn interrupted_on_its_way_back_it_goes_on_back() {
    // The writes from the switch on: noted, switched, watched, noted, back, noted.
    for n in 8..14 {
        let Some(stage) = Stage::set(Trouble::Worse) else {
            return;
        };
        let arguments = ["--watch", "1", "--auto-rollback"];
        if !kill_behind(&stage, n, &arguments) {
            return;
        }
        let output = again(&stage, &arguments);
        let (code, state) = (output.status.code(), stage.state());
        assert!(
            matches!(code, Some(0 | 3)),
            "behind write {n}: {}",
            told(&output)
        );
        // Once rolled back it is a new deployment of a bad version, which ends the same way.
        assert_eq!(
            state,
            served_by_old(),
            "behind write {n}: {}",
            told(&output)
        );
    }
}
