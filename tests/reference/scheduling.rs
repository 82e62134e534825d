//! What the plugins of the default scheduler refuse, a second time: slow, and on Kubernetes' JSON as it is.

#![allow(unreachable_pub)] // tests have no public API

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use daemonplan::model::Quantity;
use serde_json::Value;

/// Nodes, namespaces and pods as the API server returns them.
#[derive(Clone, Debug)]
pub struct Facts {
    pub nodes: Vec<Value>,
    pub namespaces: Vec<Value>,
    pub pods: Vec<Value>,
    /// The objects that the plugins for volumes look at.
    pub storage: Vec<Value>,
}

/// The plugins that refuse the node for the pod, each with its reasons, sorted.
pub fn blockers(facts: &Facts, pod: &Value, target: &str) -> BTreeMap<String, Vec<String>> {
    let Some(node) = facts.nodes.iter().find(|node| name(node) == target) else { return BTreeMap::new() };
    let here: Vec<&Value> = live(facts).into_iter().filter(|other| node_of(other) == target).collect();
    let mut found = BTreeMap::new();
    let mut add = |plugin: &str, reason: &str| {
        found.entry(plugin.to_owned()).or_insert_with(Vec::new).push(reason.to_owned());
    };
    let tolerations = list(&pod["spec"]["tolerations"]);
    let tolerated = |taint: &Value| tolerations.iter().any(|toleration| tolerates(toleration, taint));
    let cordon = serde_json::json!({"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"});
    if node["spec"]["unschedulable"] == true && !tolerated(&cordon) {
        add("NodeUnschedulable", "node(s) were unschedulable");
    }
    if !tolerates_all(pod, node) {
        add("TaintToleration", "node(s) had untolerated taint(s)");
    }
    if !selects_node(pod, node, target) {
        add("NodeAffinity", "node(s) didn't match Pod's node affinity/selector");
    }
    let taken: Vec<_> = here.iter().flat_map(|other| ports(other)).collect();
    let clash = |a: &(String, String, i64), b: &(String, String, i64)| {
        a.0 == b.0 && a.2 == b.2 && (a.1 == b.1 || a.1 == "0.0.0.0" || b.1 == "0.0.0.0")
    };
    if ports(pod).iter().any(|port| taken.iter().any(|taken| clash(port, taken))) {
        add("NodePorts", "node(s) didn't have free ports for the requested pod ports");
    }
    for reason in resources(node, pod, &here) {
        add("NodeResourcesFit", &reason);
    }
    for (plugin, reason) in super::reference_volumes::refusals(facts, pod, node) {
        add(plugin, &reason);
    }
    if let Some(reason) = spread(facts, pod, node) {
        add("PodTopologySpread", reason);
    }
    if let Some(reason) = affinity(facts, pod, node) {
        add("InterPodAffinity", reason);
    }
    for reasons in found.values_mut() {
        reasons.sort_unstable();
    }
    found
}

/// The pods of the target that leave for a pod that does not fit there, by name, and how many of them a budget protects.
/// `None` if that does not help.
///
/// The scheduler counts a little differently while it tries this out: pods that spread, and nodes where two pods hold one port,
/// are left to its recorded answers.
pub fn victims(facts: &Facts, budgets: &[Value], pod: &Value, target: &str) -> Option<(BTreeSet<String>, usize)> {
    const ORDER: [&str; 6] =
        ["NodeUnschedulable", "TaintToleration", "NodeAffinity", "NodePorts", "NodeResourcesFit", "InterPodAffinity"];
    let refused = blockers(facts, pod, target);
    let first = ORDER.into_iter().find(|plugin| refused.contains_key(*plugin))?;
    let is_movable = match first {
        "NodePorts" => true,
        "NodeResourcesFit" => {
            let node = facts.nodes.iter().find(|node| name(node) == target)?;
            !resources(node, pod, &[]).iter().any(|reason| reason.starts_with("Insufficient"))
        }
        "InterPodAffinity" => refused[first] != ["node(s) didn't match pod affinity rules"],
        _ => false,
    };
    let counts: BTreeSet<_> = live(facts).into_iter().map(name).collect();
    let is_lower =
        |other: &Value| node_of(other) == target && counts.contains(name(other)) && priority(other) < priority(pod);
    let (mut lower, stay): (Vec<_>, Vec<_>) = facts.pods.iter().cloned().partition(is_lower);
    let mut rest = Facts { pods: stay, ..facts.clone() };
    if !is_movable || lower.is_empty() || !blockers(&rest, pod, target).is_empty() {
        return None;
    }
    lower.sort_by_key(|other| {
        let started = other["status"]["startTime"].as_str().map(str::to_owned);
        let name = (namespace(other).to_owned(), name(other).to_owned());
        (Reverse(priority(other)), started.is_none(), started, name)
    });
    let mut allowed: Vec<_> = budgets.iter().map(|own| own["status"]["disruptionsAllowed"].as_i64().unwrap()).collect();
    let (guarded, free): (Vec<_>, Vec<_>) = lower.into_iter().partition(|other| {
        let mut is_guarded = false;
        for (budget, allowed) in budgets.iter().zip(&mut allowed) {
            let selector = &budget["spec"]["selector"];
            let selects = !is_empty(selector) && matches(selector, &other["metadata"]["labels"]);
            if selects && namespace(budget) == namespace(other) {
                *allowed -= 1;
                is_guarded |= *allowed < 0;
            }
        }
        is_guarded
    });
    let (mut victims, mut violations) = (BTreeSet::new(), 0);
    let in_order = guarded.into_iter().map(|other| (other, 1)).chain(free.into_iter().map(|other| (other, 0)));
    for (other, violation) in in_order {
        let its_name = name(&other).to_owned();
        rest.pods.push(other);
        if !blockers(&rest, pod, target).is_empty() {
            rest.pods.pop();
            victims.insert(its_name);
            violations += violation;
        }
    }
    Some((victims, violations))
}

fn priority(pod: &Value) -> i64 {
    pod["spec"]["priority"].as_i64().unwrap_or_default()
}

pub fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}

pub fn namespace(object: &Value) -> &str {
    object["metadata"]["namespace"].as_str().unwrap_or("default")
}

pub fn node_of(pod: &Value) -> &str {
    pod["spec"]["nodeName"].as_str().unwrap_or_default()
}

pub fn list(value: &Value) -> Vec<&Value> {
    value.as_array().map(|list| list.iter().collect()).unwrap_or_default()
}

pub fn text<'v>(value: &'v Value, field: &str) -> &'v str {
    value[field].as_str().unwrap_or_default()
}

pub fn label<'v>(object: &'v Value, key: &str) -> Option<&'v str> {
    object["metadata"]["labels"].get(key)?.as_str()
}

/// The pods on existing nodes that have not finished.
pub fn live(facts: &Facts) -> Vec<&Value> {
    let nodes: BTreeSet<_> = facts.nodes.iter().map(name).collect();
    let counts = |pod: &&Value| {
        nodes.contains(node_of(pod)) && !["Succeeded", "Failed"].contains(&text(&pod["status"], "phase"))
    };
    facts.pods.iter().filter(counts).collect()
}

fn tolerates(toleration: &Value, taint: &Value) -> bool {
    let (effect, key) = (text(toleration, "effect"), text(toleration, "key"));
    (effect.is_empty() || effect == text(taint, "effect"))
        && (key.is_empty() || key == text(taint, "key"))
        && (text(toleration, "operator") == "Exists" || text(toleration, "value") == text(taint, "value"))
}

fn tolerates_all(pod: &Value, node: &Value) -> bool {
    let tolerations = list(&pod["spec"]["tolerations"]);
    list(&node["spec"]["taints"]).iter().all(|taint| {
        text(taint, "effect") == "PreferNoSchedule" || tolerations.iter().any(|toleration| tolerates(toleration, taint))
    })
}

/// Whether the node selector allows a node. Its required node affinity is the name of the target.
fn selects_node(pod: &Value, node: &Value, target: &str) -> bool {
    let selector = pod["spec"]["nodeSelector"].as_object();
    name(node) == target && selector.into_iter().flatten().all(|(key, value)| label(node, key) == value.as_str())
}

fn ports(pod: &Value) -> Vec<(String, String, i64)> {
    let containers = list(&pod["spec"]["containers"]);
    let ports = containers.into_iter().flat_map(|container| list(&container["ports"]));
    let with_host_port = ports.filter_map(|port| {
        let ip = if text(port, "hostIP").is_empty() { "0.0.0.0" } else { text(port, "hostIP") };
        Some((text(port, "protocol").to_owned(), ip.to_owned(), port["hostPort"].as_i64().filter(|port| *port > 0)?))
    });
    with_host_port.collect()
}

/// What a pod requests of a resource: thousandths for cpu, otherwise units. The generated pods have plain containers only.
fn requested(pod: &Value, resource: &str) -> i128 {
    let amount = |container: &Value| -> Quantity {
        let amount = &container["resources"]["requests"][resource];
        amount.as_str().map(|text| text.parse().unwrap()).unwrap_or_default()
    };
    let sum: Quantity = list(&pod["spec"]["containers"]).into_iter().map(amount).sum();
    if resource == "cpu" { sum.milli() } else { sum.value() }
}

fn resources(node: &Value, pod: &Value, here: &[&Value]) -> Vec<String> {
    let allocatable = |resource: &str| -> i128 {
        let amount = node["status"]["allocatable"][resource].as_str().unwrap_or("0").parse::<Quantity>().unwrap();
        if resource == "cpu" { amount.milli() } else { amount.value() }
    };
    let mut reasons = Vec::new();
    if here.len() as i128 + 1 > allocatable("pods") {
        reasons.push("Too many pods".to_owned());
    }
    for resource in ["cpu", "memory", "example.com/gpu"] {
        let used: i128 = here.iter().map(|other| requested(other, resource)).sum();
        let asked = requested(pod, resource);
        if asked > 0 && asked > allocatable(resource) - used {
            reasons.push(format!("Insufficient {resource}"));
        }
    }
    reasons
}

/// Whether a label selector matches labels; a missing one matches none.
pub fn matches(selector: &Value, labels: &Value) -> bool {
    let own = |key: &str| labels.get(key).and_then(Value::as_str);
    let pairs = selector["matchLabels"].as_object().into_iter().flatten();
    selector.is_object()
        && pairs.into_iter().all(|(key, value)| own(key) == value.as_str())
        && list(&selector["matchExpressions"]).iter().all(|expression| {
            let found = own(text(expression, "key"));
            let values: Vec<_> = list(&expression["values"]).into_iter().filter_map(Value::as_str).collect();
            match text(expression, "operator") {
                "In" => found.is_some_and(|found| values.contains(&found)),
                "NotIn" => found.is_none_or(|found| !values.contains(&found)),
                "Exists" => found.is_some(),
                _ => found.is_none(),
            }
        })
}

/// Whether a term of a node selector matches a node. The generated ones have expressions only.
pub fn matches_node(term: &Value, node: &Value) -> bool {
    !list(&term["matchExpressions"]).is_empty() && matches(term, &node["metadata"]["labels"])
}

fn is_empty(selector: &Value) -> bool {
    let has = |field: &str| {
        !selector[field].is_null()
            && selector[field] != serde_json::json!({})
            && selector[field] != serde_json::json!([])
    };
    selector.is_object() && !has("matchLabels") && !has("matchExpressions")
}

fn spread(facts: &Facts, pod: &Value, target: &Value) -> Option<&'static str> {
    let all = list(&pod["spec"]["topologySpreadConstraints"]);
    for constraint in &all {
        let key = text(constraint, "topologyKey");
        let Some(own) = label(target, key) else {
            return Some("node(s) didn't match pod topology spread constraints (missing required label)");
        };
        let selector = &constraint["labelSelector"];
        let mut counts = BTreeMap::<&str, i64>::new();
        for node in &facts.nodes {
            let has_all = all.iter().all(|other| label(node, text(other, "topologyKey")).is_some());
            let ignores_affinity = text(constraint, "nodeAffinityPolicy") == "Ignore";
            let honors_taints = text(constraint, "nodeTaintsPolicy") == "Honor";
            if !has_all
                || (!ignores_affinity && !selects_node(pod, node, name(target)))
                || (honors_taints && !tolerates_all(pod, node))
            {
                continue;
            }
            let counted = live(facts).into_iter().filter(|other| {
                node_of(other) == name(node)
                    && namespace(other) == namespace(pod)
                    && other["metadata"]["deletionTimestamp"].is_null()
                    && !is_empty(selector)
                    && matches(selector, &other["metadata"]["labels"])
            });
            *counts.entry(label(node, key).unwrap()).or_default() += i64::try_from(counted.count()).unwrap();
        }
        let few = counts.len() < usize::try_from(constraint["minDomains"].as_u64().unwrap_or(1)).unwrap();
        let least = counts.values().min().copied().unwrap_or(i64::from(i32::MAX));
        let least = if few { 0 } else { least };
        let itself = i64::from(matches(selector, &pod["metadata"]["labels"]));
        let here = counts.get(own).copied().unwrap_or_default() + itself;
        if here - least > constraint["maxSkew"].as_i64().unwrap() {
            return Some("node(s) didn't match pod topology spread constraints");
        }
    }
    None
}

/// Whether a term of a pod selects another pod.
fn selects(facts: &Facts, term: &Value, owner: &Value, other: &Value) -> bool {
    let named: Vec<_> = list(&term["namespaces"]).into_iter().filter_map(Value::as_str).collect();
    let selector = &term["namespaceSelector"];
    let own = named.is_empty() && selector.is_null();
    let labels = facts.namespaces.iter().find(|object| name(object) == namespace(other));
    let in_namespace = (own && namespace(owner) == namespace(other))
        || named.contains(&namespace(other))
        || (selector.is_object() && labels.is_some_and(|object| matches(selector, &object["metadata"]["labels"])));
    in_namespace && matches(&term["labelSelector"], &other["metadata"]["labels"])
}

fn terms<'v>(pod: &'v Value, kind: &str) -> Vec<&'v Value> {
    list(&pod["spec"]["affinity"][kind]["requiredDuringSchedulingIgnoredDuringExecution"])
}

fn affinity(facts: &Facts, pod: &Value, target: &Value) -> Option<&'static str> {
    let place = |other: &Value, key: &str| {
        let node = facts.nodes.iter().find(|node| name(node) == node_of(other));
        node.and_then(|node| label(node, key)).map(str::to_owned)
    };
    let own = terms(pod, "podAffinity");
    let matching: Vec<_> =
        live(facts).into_iter().filter(|other| own.iter().all(|term| selects(facts, term, pod, other))).collect();
    let mut places = BTreeSet::new();
    for other in &matching {
        for term in &own {
            let key = text(term, "topologyKey");
            places.extend(place(other, key).map(|value| (key.to_owned(), value)));
        }
    }
    let at = |term: &Value| {
        let key = text(term, "topologyKey").to_owned();
        label(target, &key).map(|value| (key.clone(), value.to_owned()))
    };
    let is_met = own.iter().all(|term| at(term).is_some_and(|place| places.contains(&place)));
    let is_first = places.is_empty()
        && own.iter().all(|term| at(term).is_some())
        && own.iter().all(|term| selects(facts, term, pod, pod));
    if !own.is_empty() && !is_met && !is_first {
        return Some("node(s) didn't match pod affinity rules");
    }
    let near = |other: &Value, term: &Value| {
        let key = text(term, "topologyKey");
        label(target, key).is_some_and(|own| place(other, key).is_some_and(|other| other == own))
    };
    for term in terms(pod, "podAntiAffinity") {
        if live(facts).into_iter().any(|other| near(other, term) && selects(facts, term, pod, other)) {
            return Some("node(s) didn't match pod anti-affinity rules");
        }
    }
    for other in live(facts) {
        if terms(other, "podAntiAffinity").iter().any(|term| near(other, term) && selects(facts, term, other, pod)) {
            return Some("node(s) didn't satisfy existing pods anti-affinity rules");
        }
    }
    None
}
