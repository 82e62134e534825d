//! What admission makes of the pods of DaemonSets, compared with what Kubernetes' own plugins answered: see `README.md`.

use std::{
    collections::BTreeSet,
    io::{BufRead, BufReader},
};

use daemonplan::{
    affinity::PodBlueprint,
    model::{
        Container, DaemonSet, Labels, LimitRange, Namespace, PodSpec, PriorityClass, QuotaScope, ResourceList,
        ResourceQuota, RuntimeClass, Toleration,
    },
    scheduling::{AdmissionChange, Admitted, PodAdmission, SchedulingObject, SchedulingObjects},
};
use flate2::read::GzDecoder;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

fn cases() -> impl Iterator<Item = Value> {
    let text = BufReader::new(GzDecoder::new(&include_bytes!("admission.jsonl.gz")[..]));
    text.lines().map(|line| serde_json::from_str(&line.unwrap()).unwrap())
}

fn add<T: SchedulingObject + DeserializeOwned>(objects: &mut SchedulingObjects, case: &Value, field: &str) {
    for object in serde_json::from_value::<Vec<T>>(case[field].clone()).unwrap() {
        objects.add(object);
    }
}

fn objects(case: &Value) -> SchedulingObjects {
    let mut objects = SchedulingObjects::default();
    add::<LimitRange>(&mut objects, case, "limitRanges");
    add::<ResourceQuota>(&mut objects, case, "resourceQuotas");
    add::<PriorityClass>(&mut objects, case, "priorityClasses");
    // The recorded objects are of the internal version, whose overhead has no `podFixed`.
    let mut case = case.clone();
    for class in case["runtimeClasses"].as_array_mut().unwrap() {
        if let Some(overhead) = class.get_mut("overhead").filter(|overhead| overhead.get("podFixed").is_none()) {
            *overhead = serde_json::json!({"podFixed": overhead.take()});
        }
    }
    add::<RuntimeClass>(&mut objects, &case, "runtimeClasses");
    objects
}

/// Runs the pod for node-a through admission.
fn admit(case: &Value) -> Admitted {
    let objects = objects(case);
    let namespace: Namespace = serde_json::from_value(case["namespace"].clone()).unwrap();
    let mut daemonset = DaemonSet::new(&namespace.name, "agent", [("app", "agent")]).unwrap();
    daemonset.template = serde_json::from_value(case["template"].clone()).unwrap();
    let pod = PodBlueprint::new(&daemonset, &daemonset.template, "hash").pod("node-a", "agent-x7k2p");
    let limited = &case["quotaConfiguration"]["limitedResources"][0]["matchScopes"];
    let limited: Vec<QuotaScope> = serde_json::from_value(limited.clone()).unwrap_or_default();
    let admission = PodAdmission::new(&namespace, &objects).limited_scopes(&limited);
    let default = case["defaultNodeSelector"].as_str().unwrap();
    let admission = if case["platform"] == "openshift" { admission.open_shift(default) } else { admission };
    admission.admit(pod.spec.as_deref().unwrap())
}

fn list(value: &Value) -> ResourceList {
    Option::deserialize(value).unwrap().unwrap_or_default()
}

fn differences(name: &Value, spec: &PodSpec, changes: &[AdmissionChange], pod: &Value) -> Vec<String> {
    let mut differences = Vec::new();
    let mut check = |what: &str, is_equal: bool, found: &dyn std::fmt::Debug, expected: &Value| {
        if !is_equal {
            differences.push(format!("{name}: {what}: {found:?} {expected}"));
        }
    };
    let resources = &pod["resources"];
    let lists = |containers: &[Container], expected: &Value| {
        let expected = expected.as_array().unwrap();
        containers.len() == expected.len()
            && containers.iter().zip(expected).all(|(container, expected)| {
                container.resources.requests == list(&expected["requests"])
                    && container.resources.limits == list(&expected["limits"])
            })
    };
    check("containers", lists(&spec.containers, &resources["containers"]), &spec.containers, &resources["containers"]);
    let init = &resources["initContainers"];
    check("initContainers", lists(&spec.init_containers, init), &spec.init_containers, init);
    check("overhead", spec.overhead == list(&resources["overhead"]), &spec.overhead, &resources["overhead"]);
    check("requests", spec.requests() == list(&pod["requests"]), &spec.requests(), &pod["requests"]);
    let selector = Option::<Labels>::deserialize(&pod["nodeSelector"]).unwrap().unwrap_or_default();
    check("nodeSelector", spec.node_selector == selector, &spec.node_selector, &pod["nodeSelector"]);
    let tolerations = Option::<Vec<Toleration>>::deserialize(&pod["tolerations"]).unwrap().unwrap_or_default();
    check("tolerations", spec.tolerations == tolerations, &spec.tolerations, &pod["tolerations"]);
    check("priority", serde_json::json!(spec.priority) == pod["priority"], &spec.priority, &pod["priority"]);
    let policy = serde_json::json!(spec.preemption_policy);
    check("preemptionPolicy", policy == pod["preemptionPolicy"], &policy, &pod["preemptionPolicy"]);
    let set = changes.iter().rev().find_map(|change| match change {
        AdmissionChange::Defaults { set } => Some(format!("LimitRanger plugin set: {}", set.join("; "))),
        _ => None,
    });
    let annotation = &pod["annotations"]["kubernetes.io/limit-ranger"];
    check("annotation", serde_json::json!(set) == *annotation, &set, annotation);
    differences
}

/// The parts of a message in brackets may come in any order.
fn parts(message: &str) -> BTreeSet<String> {
    let (start, rest) = message.split_once('[').filter(|_| message.ends_with(']')).unwrap_or((message, ""));
    rest.trim_end_matches(']').split(", ").chain([start]).map(str::to_owned).collect()
}

fn outcome_differences(name: &Value, found: &Admitted, expect: &Value) -> Vec<String> {
    let Some(refusal) = &found.refusal else {
        if expect["admitted"] != true {
            return vec![format!("{name}: admitted, but {}", expect["message"])];
        }
        return differences(name, &found.spec, &found.changes, &expect["pod"]);
    };
    let message = refusal.message("agent-x7k2p", "agent-");
    let expected = expect["message"].as_str().unwrap_or("admitted");
    let mut found_differences = Vec::new();
    if parts(&message) != parts(expected) {
        found_differences.push(format!("{name}:\n  {message}\n  {expected}"));
    }
    if serde_json::json!(refusal.plugin) != expect["refusedBy"] || serde_json::json!(refusal.stage) != expect["stage"] {
        found_differences.push(format!("{name}: {} {:?}", refusal.plugin, refusal.stage));
    }
    let code = expect["code"].as_u64().unwrap_or(500);
    if u64::from(refusal.status.code()) != code {
        found_differences.push(format!("{name}: {code}"));
    }
    if expect.get("mutated").is_some() {
        found_differences.extend(differences(name, &found.spec, &found.changes, &expect["mutated"]));
    }
    found_differences
}

#[test]
fn pods_are_changed_and_refused_as_by_kubernetes_own_plugins() {
    let mut count = 0;
    for case in cases() {
        let found = admit(&case);
        let single = [case["expect"].clone()];
        let outcomes = case["outcomes"].as_array().filter(|outcomes| !outcomes.is_empty());
        let outcomes = outcomes.map_or(&single[..], Vec::as_slice);
        // Where chance decides, any outcome that was seen will do.
        let differences = outcomes.iter().map(|expect| outcome_differences(&case["name"], &found, expect));
        let closest = differences.min_by_key(Vec::len).unwrap();
        assert!(closest.is_empty(), "{}", closest.join("\n"));
        count += 1;
    }
    assert_eq!(count, 1000);
}
