//! §5: the created pod.

use serde_json::{Map, Value, json};

use super::{
    facts::Facts,
    selectors::{expression, holds, list, pairs, text},
};

/// Returns the template's tolerations with the automatic ones added, or replaced where equal.
pub fn tolerations(spec: &Value) -> Vec<Value> {
    let mut all = list(&spec["tolerations"]);
    let automatic = [
        ("not-ready", "NoExecute"),
        ("unreachable", "NoExecute"),
        ("disk-pressure", "NoSchedule"),
        ("memory-pressure", "NoSchedule"),
        ("pid-pressure", "NoSchedule"),
        ("unschedulable", "NoSchedule"),
        ("network-unavailable", "NoSchedule"),
    ];
    for (name, effect) in automatic {
        if name == "network-unavailable" && spec["hostNetwork"] != true {
            continue;
        }
        let key = format!("node.kubernetes.io/{name}");
        let new = json!({"key": key, "operator": "Exists", "effect": effect});
        let says_the_same = |other: &Value| {
            ["key", "operator", "effect", "value"].iter().all(|field| text(other, field) == text(&new, field))
        };
        if !all.iter().any(says_the_same) {
            all.push(new);
        }
    }
    all
}

pub fn pod(facts: &Facts<'_>, template: &Value, node: &str, hash: &str) -> Value {
    let owner = &facts.daemonset["metadata"];
    let mut pod = json!({"apiVersion": "v1", "kind": "Pod", "spec": template["spec"]});

    pod["spec"]["tolerations"] = json!(tolerations(&template["spec"]));
    let only_this_node = json!({"key": "metadata.name", "operator": "In", "values": [node]});
    pod["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"] =
        json!({"nodeSelectorTerms": [{"matchFields": [only_this_node]}]});

    let mut metadata: Map<_, _> = template["metadata"].as_object().unwrap().clone();
    metadata.insert("generateName".into(), json!(format!("{}-", text(owner, "name"))));
    metadata.insert("namespace".into(), owner["namespace"].clone());
    metadata["labels"]["controller-revision-hash"] = json!(hash);
    let is_current = *template == facts.daemonset["spec"]["template"];
    if let Some(generation) = facts.template_generation().filter(|_| is_current) {
        metadata["labels"]["pod-template-generation"] = json!(generation);
    }
    metadata.insert("ownerReferences".into(), json!([owner_reference(facts)]));
    pod["metadata"] = metadata.into();
    set_resources(facts, node, &mut pod);
    pod
}

/// The first setting that is for the DaemonSet and selects the node counts.
fn set_resources(facts: &Facts<'_>, node: &str, pod: &mut Value) {
    let owner = &facts.daemonset["metadata"];
    let node = facts.nodes.iter().find(|other| other["metadata"]["name"] == node).unwrap();
    let labels = pairs(&node["metadata"]["labels"]);
    let counts = |setting: &Value| {
        let of = &setting["daemonSet"];
        let requirements = expression(text(setting, "nodes")).unwrap();
        (&of["namespace"], &of["name"]) == (&owner["namespace"], &owner["name"])
            && requirements.iter().all(|requirement| holds(requirement, &labels) == Some(true))
    };
    let Some(setting) = list(&facts.settings["nodeResources"]).into_iter().find(counts) else { return };
    for container in pod["spec"]["containers"].as_array_mut().unwrap() {
        let own = setting["containers"].get(text(container, "name"));
        for (list, amounts) in own.and_then(Value::as_object).into_iter().flatten() {
            for (resource, amount) in amounts.as_object().unwrap() {
                container["resources"][list][resource] = amount.clone();
            }
        }
    }
}

pub fn owner_reference(facts: &Facts<'_>) -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "name": facts.daemonset["metadata"]["name"],
        "uid": facts.daemonset["metadata"]["uid"],
        "controller": true,
        "blockOwnerDeletion": true,
    })
}
