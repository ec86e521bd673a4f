//! The Kubernetes manifests: every overlay and colour is built by kubectl, checked against the schemas of the oldest and
//! the newest Kubernetes that we say we run on, read as typed objects, and held against the names that the guide uses.
//! Without the tools these tests say so and pass; with LAYER5_REQUIRE_TOOLS=1 they fail.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use k8s_openapi::{
    api::{
        apps::v1::Deployment,
        batch::v1::CronJob,
        core::v1::{
            ConfigMap, Namespace, PersistentVolumeClaim, PodSpec, Secret, Service, ServiceAccount,
        },
        networking::v1::NetworkPolicy,
        policy::v1::PodDisruptionBudget,
        rbac::v1::{Role, RoleBinding},
    },
    apimachinery::pkg::util::intstr::IntOrString,
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

const ENVIRONMENTS: [&str; 3] = ["development", "staging", "production"];
const COLORS: [&str; 2] = ["blue", "green"];
/// The oldest and the newest Kubernetes.
const VERSIONS: [&str; 2] = ["1.30", "1.37"];

fn root() -> PathBuf {
    let bench = Path::new(env!("CARGO_MANIFEST_DIR"));
    bench
        .parent()
        .expect("every crate is a folder of the workspace")
        .to_owned()
}

/// Runs a tool at the root; its output, or `None` where it is missing and not required.
fn tool(program: &str, arguments: &[&str]) -> Option<String> {
    let run = Command::new(program)
        .args(arguments)
        .current_dir(root())
        .output();
    let run = match run {
        Ok(run) => run,
        Err(error) => {
            let required = std::env::var_os("LAYER5_REQUIRE_TOOLS").is_some_and(|v| v == "1");
            assert!(
                !required,
                "{program} is required and does not start: {error}"
            );
            eprintln!("skipped: {program} is not installed");
            return None;
        }
    };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, told) = (text(&run.stdout), text(&run.stderr));
    assert!(
        run.status.success(),
        "{program} {arguments:?}:\n{out}{told}"
    );
    Some(out)
}

fn overlay(environment: &str, color: &str) -> Option<String> {
    let path = format!("deploy/kubernetes/overlays/{environment}/{color}");
    tool("kubectl", &["kustomize", &path])
}

fn documents(text: &str) -> Vec<Value> {
    serde_yaml_ng::Deserializer::from_str(text)
        .map(|document| Value::deserialize(document).expect("kubectl writes YAML"))
        .collect()
}

fn typed<T: DeserializeOwned>(object: &Value) -> T {
    serde_json::from_value(object.clone()).unwrap_or_else(|error| panic!("{error}: {object:#}"))
}

fn named<'a>(objects: &'a [Value], kind: &str, name: &str) -> &'a Value {
    let found = objects
        .iter()
        .find(|o| o["kind"] == kind && o["metadata"]["name"] == name);
    found.unwrap_or_else(|| panic!("no {kind} {name}"))
}

#[test]
fn every_overlay_is_what_the_schemas_allow() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut files = vec!["deploy/kubernetes/secret.example.yaml".to_owned()];
    for environment in ENVIRONMENTS {
        for color in COLORS {
            let Some(text) = overlay(environment, color) else {
                return;
            };
            let file = folder.path().join(format!("{environment}-{color}.yaml"));
            fs::write(&file, text).expect("written");
            files.push(file.display().to_string());
        }
    }
    for version in VERSIONS {
        let mut arguments = vec!["--strict", "--no-warn", "-k", version];
        arguments.extend(files.iter().map(String::as_str));
        if tool("kubernetes-validate", &arguments).is_none() {
            return;
        }
    }
    // It refuses what is wrong.
    let wrong = folder.path().join("wrong.yaml");
    let text = fs::read_to_string(&files[1]).expect("read");
    fs::write(&wrong, text.replace("maxUnavailable:", "maxUnavailible:")).expect("written");
    let run = Command::new("kubernetes-validate")
        .args(["--strict", "--no-warn"])
        .arg(&wrong)
        .output()
        .expect("it ran before");
    assert!(!run.status.success(), "a misspelt field passes");
}

#[test]
fn every_object_is_of_a_kind_that_kubernetes_knows() {
    for environment in ENVIRONMENTS {
        for color in COLORS {
            let Some(text) = overlay(environment, color) else {
                return;
            };
            for object in documents(&text) {
                match object["kind"].as_str().expect("a kind") {
                    "Namespace" => drop(typed::<Namespace>(&object)),
                    "ServiceAccount" => drop(typed::<ServiceAccount>(&object)),
                    "Role" => drop(typed::<Role>(&object)),
                    "RoleBinding" => drop(typed::<RoleBinding>(&object)),
                    "ConfigMap" => drop(typed::<ConfigMap>(&object)),
                    "Service" => drop(typed::<Service>(&object)),
                    "PersistentVolumeClaim" => drop(typed::<PersistentVolumeClaim>(&object)),
                    "NetworkPolicy" => drop(typed::<NetworkPolicy>(&object)),
                    "PodDisruptionBudget" => drop(typed::<PodDisruptionBudget>(&object)),
                    "Deployment" => {
                        let deployment: Deployment = typed(&object);
                        let pod = deployment.spec.and_then(|spec| spec.template.spec);
                        is_restricted(&pod.expect("a pod"));
                    }
                    "CronJob" => {
                        let job: CronJob = typed(&object);
                        let pod = job
                            .spec
                            .and_then(|s| s.job_template.spec)
                            .and_then(|s| s.template.spec);
                        is_restricted(&pod.expect("a pod"));
                    }
                    // Of the Prometheus operator, which k8s-openapi does not know.
                    "ServiceMonitor" | "PrometheusRule" => {
                        assert_eq!(object["apiVersion"], "monitoring.coreos.com/v1");
                    }
                    other => panic!("{other} is not expected"),
                }
            }
        }
    }
    let secret =
        fs::read_to_string(root().join("deploy/kubernetes/secret.example.yaml")).expect("read");
    let secret: Secret = typed(&documents(&secret)[0]);
    assert_eq!(secret.metadata.name.as_deref(), Some("layer5-secrets"));
}

/// The profile `restricted` of the Pod Security Standards, and a root that can't be written.
fn is_restricted(pod: &PodSpec) {
    let own = pod.security_context.as_ref().expect("a context");
    assert_eq!(own.run_as_non_root, Some(true));
    assert!(own.run_as_user.is_some_and(|user| user > 0));
    let profile = own.seccomp_profile.as_ref().map(|p| p.type_.as_str());
    assert_eq!(profile, Some("RuntimeDefault"));
    assert_eq!(pod.automount_service_account_token, Some(false));
    for container in &pod.containers {
        let own = container.security_context.as_ref().expect("a context");
        assert_eq!(own.allow_privilege_escalation, Some(false));
        assert_eq!(own.read_only_root_filesystem, Some(true));
        let dropped = own.capabilities.as_ref().and_then(|c| c.drop.as_deref());
        assert_eq!(dropped, Some(&["ALL".to_owned()][..]));
        let resources = container.resources.as_ref().expect("resources");
        let limits = resources.limits.as_ref().expect("limits");
        assert!(limits.contains_key("memory"));
    }
}

#[test]
fn the_names_are_those_of_the_guide() {
    for color in COLORS {
        let Some(text) = overlay("production", color) else {
            return;
        };
        let objects = documents(&text);
        let stray: Vec<&Value> = objects
            .iter()
            .filter(|o| o["kind"] != "Namespace")
            .filter(|o| o["metadata"]["namespace"] != "project-chimera")
            .collect();
        assert!(stray.is_empty(), "{stray:?}");
        let live: Deployment = typed(named(&objects, "Deployment", "layer5-refinement"));
        let spec = live.spec.expect("a spec");
        let labels = spec
            .template
            .metadata
            .and_then(|m| m.labels)
            .expect("labels");
        let label = |key: &str| labels.get(key).map(String::as_str);
        assert_eq!(label("app"), Some("layer5"));
        assert_eq!(label("component"), Some("refinement"));
        assert_eq!(label("deployment"), Some(color));
        let rolling = spec
            .strategy
            .and_then(|s| s.rolling_update)
            .expect("rolling");
        assert_eq!(
            rolling.max_unavailable,
            Some(IntOrString::Int(1)),
            "else the old pod never lets go"
        );
        let candidate: Deployment =
            typed(named(&objects, "Deployment", "layer5-refinement-candidate"));
        let candidate = candidate.spec.expect("a spec");
        assert_eq!(candidate.replicas, Some(0));
        let theirs = candidate
            .template
            .metadata
            .and_then(|m| m.labels)
            .expect("labels");
        let other = if color == "blue" { "green" } else { "blue" };
        assert_eq!(theirs.get("deployment").map(String::as_str), Some(other));
        assert_ne!(candidate.selector, spec.selector, "each owns its own pods");
        for name in [
            "layer5-service",
            "layer5-refinement-active",
            "layer5-refinement-blue",
            "layer5-refinement-green",
        ] {
            let service: Service = typed(named(&objects, "Service", name));
            let service = service.spec.expect("a spec");
            let ports: Vec<i32> = service
                .ports
                .expect("ports")
                .iter()
                .map(|p| p.port)
                .collect();
            assert_eq!(ports, [9090, 8080], "{name}");
            let selector = service.selector.expect("a selector");
            let selects = |labels: &BTreeMap<String, String>| {
                selector
                    .iter()
                    .all(|(key, value)| labels.get(key) == Some(value))
            };
            let wanted = match name {
                "layer5-refinement-blue" => (color == "blue", color == "green"),
                "layer5-refinement-green" => (color == "green", color == "blue"),
                _ => (true, false),
            };
            assert_eq!((selects(&labels), selects(&theirs)), wanted, "{name}");
        }
        let pod = spec.template.spec.expect("a pod");
        let container = &pod.containers[0];
        let env: Vec<&str> = container
            .env
            .iter()
            .flatten()
            .map(|e| e.name.as_str())
            .collect();
        for name in [
            "REDIS_URL",
            "LAYER7_API_URL",
            "LAYER8_API_URL",
            "DEPLOYMENT_COLOR",
            "RUST_LOG",
        ] {
            assert!(env.contains(&name), "{name}");
        }
        named(&objects, "ConfigMap", "layer5-config");
        named(&objects, "CronJob", "layer5-backup");
    }
}

#[test]
fn the_operators_rules_are_prometheus_own() {
    let path = root().join("deploy/kubernetes/monitoring/prometheusrule.yaml");
    let groups = |file: &str| -> Value {
        let text =
            fs::read_to_string(root().join("deploy/prometheus/rules").join(file)).expect("read");
        documents(&text)[0]["groups"].clone()
    };
    let mut expected = groups("recording.yml");
    let alerts = groups("alerts.yml");
    let list = expected.as_array_mut().expect("a list");
    list.extend(alerts.as_array().expect("a list").iter().cloned());
    if std::env::var_os("UPDATE").is_some() {
        let body = |file: &str| {
            let text = fs::read_to_string(root().join("deploy/prometheus/rules").join(file))
                .expect("read");
            let (_, groups) = text.split_once("groups:\n").expect("groups");
            let indented = |line: &str| {
                if line.is_empty() {
                    "\n".to_owned()
                } else {
                    format!("  {line}\n")
                }
            };
            groups.lines().map(indented).collect::<String>()
        };
        let text = fs::read_to_string(&path).expect("read");
        let (head, _) = text.split_once("  groups:\n").expect("groups");
        let text = format!(
            "{head}  groups:\n{}{}",
            body("recording.yml"),
            body("alerts.yml")
        );
        fs::write(&path, text).expect("written");
    }
    let own = documents(&fs::read_to_string(&path).expect("read"));
    assert_eq!(
        own[0]["spec"]["groups"], expected,
        "run UPDATE=1 cargo test -p layer5-bench --test manifests"
    );
}

#[test]
fn scripts_and_containerfile_pass_their_linters() {
    tool(
        "shellcheck",
        &[
            "deploy/deploy-production.sh",
            "deploy/image/build.sh",
            "check.sh",
        ],
    );
    tool("hadolint", &["deploy/image/Containerfile"]);
}

#[test]
fn systemd_understands_its_units() {
    let folder = tempfile::tempdir().expect("a folder");
    for unit in ["layer5.service", "layer5-hardened.service"] {
        let text = fs::read_to_string(root().join("deploy/systemd").join(unit)).expect("read");
        // Neither the program nor its user need be on the machine that checks.
        let text = text
            .replace("/usr/local/bin/layer5", "/bin/true")
            .replace("=layer5\n", "=daemon\n");
        let file = folder.path().join(unit);
        fs::write(&file, text).expect("written");
        // Machines without systemd have no use for units.
        let Ok(run) = Command::new("systemd-analyze")
            .arg("verify")
            .arg(&file)
            .output()
        else {
            eprintln!("skipped: systemd-analyze is not installed");
            return;
        };
        let told = String::from_utf8_lossy(&run.stderr);
        assert!(
            run.status.success() && !told.contains(unit),
            "{unit}: {told}"
        );
    }
}
