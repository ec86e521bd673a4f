//! What controllers make of Deployments and Jobs, at once: replica sets, pods, conditions.
//! In: a Deployment or Job that was changed. Out: the objects that follow from it. Called from: [`super::api`].
//! The old pod goes only when a new one is there, as the strategy of the live Deployment has it; what is wrong with a
//! new image follows from the [`Trouble`].

use serde_json::{Value, json};

use super::{Trouble, objects::Objects};

/// Whether a pod of `image` in `role` comes up; else how its container waits.
fn waiting(
    trouble: Trouble,
    role: &str,
    image: &str,
    old_image: &str,
) -> Option<(&'static str, &'static str)> {
    if image == old_image {
        return None;
    }
    match (trouble, role) {
        (Trouble::Crashes, _) | (Trouble::CrashesActive, "active") => Some((
            "CrashLoopBackOff",
            "back-off 10s restarting failed container",
        )),
        (Trouble::NoImage, _) => Some(("ImagePullBackOff", "Back-off pulling image")),
        (Trouble::NeverReady, _) => Some(("", "")),
        (Trouble::NoRoom, _) => Some((
            "Unschedulable",
            "0/3 nodes are available: 3 Insufficient memory.",
        )),
        _ => None,
    }
}

/// Brings replica sets, pods and status of `deployment` up to date with its spec.
pub(super) fn reconcile(
    objects: &mut Objects,
    mut deployment: Value,
    trouble: Trouble,
    old_image: &str,
) -> Value {
    let name = deployment["metadata"]["name"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    let template = deployment["spec"]["template"].clone();
    let replicas = deployment["spec"]["replicas"].as_u64().unwrap_or(1);
    let generation = deployment["metadata"]["generation"].as_u64().unwrap_or(0) + 1;
    deployment["metadata"]["generation"] = generation.into();
    let deployment = objects.put("deployments", deployment);
    let revision = replica_set(objects, &deployment, &template);
    let labels = template["metadata"]["labels"].clone();
    let role = labels["role"].as_str().unwrap_or_default();
    let image = template["spec"]["containers"][0]["image"]
        .as_str()
        .unwrap_or_default();
    let own = format!("app=layer5,role={role}");
    let before = objects.list("pods", &own, "");
    let waits = waiting(trouble, role, image, old_image);
    let keep = |pod: &Value| {
        pod["metadata"]["annotations"]["revision"] == revision.to_string() && replicas > 0
    };
    for pod in before.iter().filter(|pod| !keep(pod)) {
        let pod = pod["metadata"]["name"].as_str().unwrap_or_default();
        objects.remove("pods", pod).expect("it was listed just now");
    }
    if replicas > 0 && !before.iter().any(keep) {
        let pod = pod(&format!("{name}-{revision}"), &template, revision, waits);
        objects.put("pods", pod);
    }
    let ready = if waits.is_none() { replicas } else { 0 };
    let mut deployment = deployment;
    deployment["metadata"]["annotations"]["deployment.kubernetes.io/revision"] =
        revision.to_string().into();
    deployment["status"] = json!({
        "observedGeneration": generation, "replicas": replicas, "updatedReplicas": replicas,
        "readyReplicas": ready, "availableReplicas": ready, "unavailableReplicas": replicas - ready,
        "conditions": [{"type": "Progressing", "status": "True", "reason": "ReplicaSetUpdated"}],
    });
    objects.put("deployments", deployment)
}

/// The replica set of this template, newest; its revision.
fn replica_set(objects: &mut Objects, deployment: &Value, template: &Value) -> u64 {
    let of = deployment["metadata"]["name"].as_str().unwrap_or_default();
    let role = template["metadata"]["labels"]["role"]
        .as_str()
        .unwrap_or_default();
    let sets = objects.list("replicasets", &format!("role={role}"), "");
    let revision_of = |set: &Value| -> u64 {
        let text = set["metadata"]["annotations"]["deployment.kubernetes.io/revision"].as_str();
        text.and_then(|text| text.parse().ok()).unwrap_or(0)
    };
    let newest = sets.iter().map(revision_of).max().unwrap_or(0);
    let known = sets.iter().find(|set| {
        let mut theirs = set["spec"]["template"].clone();
        if let Some(labels) = theirs["metadata"]["labels"].as_object_mut() {
            labels.remove("pod-template-hash");
        }
        theirs == *template
    });
    let mut set = match known {
        Some(set) if revision_of(set) == newest => return newest,
        Some(set) => set.clone(),
        None => {
            let hash = format!("h{}", newest + 1);
            let mut template = template.clone();
            template["metadata"]["labels"]["pod-template-hash"] = hash.clone().into();
            json!({
                "kind": "ReplicaSet", "apiVersion": "apps/v1",
                "metadata": {
                    "name": format!("{of}-{hash}"), "labels": template["metadata"]["labels"], "annotations": {},
                    "ownerReferences": [{
                        "apiVersion": "apps/v1", "kind": "Deployment", "name": of, "controller": true,
                        "uid": deployment["metadata"]["uid"],
                    }],
                },
                "spec": { "replicas": 1, "selector": {"matchLabels": template["metadata"]["labels"]}, "template": template },
            })
        }
    };
    set["metadata"]["annotations"]["deployment.kubernetes.io/revision"] =
        (newest + 1).to_string().into();
    objects.put("replicasets", set);
    newest + 1
}

fn pod(name: &str, template: &Value, revision: u64, waits: Option<(&str, &str)>) -> Value {
    let ready = if waits.is_none() { "True" } else { "False" };
    let unscheduled = waits.is_some_and(|(reason, _)| reason == "Unschedulable");
    let mut condition = json!({"type": "Ready", "status": ready, "reason": "ContainersNotReady"});
    let mut container = json!({"name": "layer5", "ready": waits.is_none(), "restartCount": 0, "state": {"running": {}}});
    if let Some((reason, message)) = waits {
        if unscheduled {
            condition = json!({"type": "PodScheduled", "status": "False", "reason": reason, "message": message});
        } else if !reason.is_empty() {
            container["state"] = json!({"waiting": {"reason": reason, "message": message}});
        }
    }
    let phase = if unscheduled { "Pending" } else { "Running" };
    json!({
        "kind": "Pod", "apiVersion": "v1",
        "metadata": {
            "name": name, "labels": template["metadata"]["labels"],
            "annotations": {"revision": revision.to_string()},
        },
        "spec": template["spec"],
        "status": {
            "phase": phase, "conditions": [condition], "containerStatuses": [container],
            "startTime": "2026-11-28T00:00:00Z",
        },
    })
}

/// A Job ends as soon as it is there.
pub(super) fn finished(mut job: Value, trouble: Trouble) -> Value {
    let end = if trouble == Trouble::NoBackup {
        "Failed"
    } else {
        "Complete"
    };
    job["status"] = json!({"conditions": [{"type": end, "status": "True"}]});
    job
}
