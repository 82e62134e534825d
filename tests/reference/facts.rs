//! The input as JSON.

use daemonplan::OwnedSnapshot;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use super::selectors::{Labels, list, pairs, text};

pub struct Facts<'f> {
    pub daemonset: Value,
    pub nodes: Vec<Value>,
    pods: Vec<Value>,
    pub namespace: Value,
    pub revisions: Option<Vec<Value>>,
    pub now: Option<Timestamp>,
    pub settings: Value,
    backoff: Vec<Backoff>,
    pub expectations_satisfied: bool,
    /// Returns the template's hash after this many more collisions.
    pub template_hash: Box<dyn Fn(i64) -> String + 'f>,
}

struct Backoff {
    uid: String,
    observed_generation: i64,
    node: String,
    reason: String,
    delay: i64,
    last_update: Timestamp,
}

fn json(value: &impl Serialize) -> Value {
    serde_json::to_value(value).unwrap()
}

/// Returns a number; 0 if missing.
pub fn number(value: &Value) -> i64 {
    value.as_i64().unwrap_or(0)
}

impl<'f> From<&'f OwnedSnapshot> for Facts<'f> {
    fn from(facts: &'f OwnedSnapshot) -> Self {
        let backoff = facts.backoff.iter().map(|(key, entry)| Backoff {
            uid: key.uid.to_string(),
            observed_generation: key.observed_generation,
            node: key.node.to_string(),
            reason: key.reason.to_string(),
            delay: entry.delay.as_secs().try_into().unwrap(),
            last_update: entry.last_update,
        });
        Self {
            daemonset: json(&facts.daemonset),
            nodes: facts.nodes.iter().map(json).collect(),
            pods: facts.pods.iter().map(json).collect(),
            namespace: json(&facts.namespace),
            revisions: facts.revisions.as_ref().map(|revisions| revisions.iter().map(json).collect()),
            now: facts.now,
            settings: json(&facts.settings),
            backoff: backoff.collect(),
            expectations_satisfied: facts.expectations_satisfied,
            template_hash: Box::new(|more| {
                let mut daemonset = facts.daemonset.clone();
                let before = daemonset.status.collision_count.unwrap_or(0);
                daemonset.status.collision_count = Some(before + i32::try_from(more).unwrap());
                daemonplan::Snapshot::new(&daemonset, &[], &[], &facts.namespace).plan().hash.to_string()
            }),
        }
    }
}

impl Facts<'_> {
    /// Returns the pods of the DaemonSet's namespace, by name.
    pub fn pods(&self) -> Vec<Pod> {
        let namespace = &self.daemonset["metadata"]["namespace"];
        let near = self.pods.iter().filter(|pod| pod["metadata"]["namespace"] == *namespace);
        let mut pods: Vec<_> = near.map(|pod| Pod::new(self, pod)).collect();
        pods.sort_by(|a, b| a.name.cmp(&b.name));
        pods
    }

    pub fn burst(&self) -> usize {
        usize::try_from(number(&self.settings["burst"])).unwrap()
    }

    pub fn min_ready_seconds(&self) -> i64 {
        number(&self.daemonset["spec"]["minReadySeconds"])
    }

    /// Returns the template generation, which predates revisions.
    pub fn template_generation(&self) -> Option<String> {
        let annotations = &self.daemonset["metadata"]["annotations"];
        let generation: i64 = text(annotations, "deprecated.daemonset.template.generation").parse().ok()?;
        Some(generation.to_string())
    }

    /// Returns whether each reason has its own back-off.
    pub fn backs_off_by_reason(&self) -> bool {
        self.daemonset["metadata"]["annotations"]["daemonplan/backoff"] == "by-reason"
    }

    /// Returns the back-off of Failed pods on this node, unless it has expired.
    fn backoff(&self, node: &str, reason: &str) -> Option<&Backoff> {
        let observed = number(&self.daemonset["status"]["observedGeneration"]);
        let uid = text(&self.daemonset["metadata"], "uid");
        let fits = |entry: &&Backoff| {
            let age = self.now.map_or(0, |now| now.as_second() - entry.last_update.as_second());
            (&*entry.uid, entry.observed_generation, &*entry.node, &*entry.reason) == (uid, observed, node, reason)
                && age <= 2 * delays(reason).1
        };
        self.backoff.iter().find(fits)
    }

    /// Returns how long a pod that failed for this reason still has to wait.
    pub fn wait(&self, node: &str, reason: &str) -> i64 {
        let Some(entry) = self.backoff(node, reason) else { return 0 };
        let age = self.now.map_or(0, |now| now.as_second() - entry.last_update.as_second());
        (entry.delay - age).max(0)
    }

    /// Returns how long the next pod has to wait after a deletion.
    pub fn next_delay(&self, node: &str, reason: &str) -> i64 {
        let (first, longest) = delays(reason);
        self.backoff(node, reason).map_or(first, |entry| (2 * entry.delay).min(longest))
    }
}

/// The first and the longest delay.
fn delays(reason: &str) -> (i64, i64) {
    match reason {
        "Evicted" => (30, 15 * 60),
        "OutOfcpu" | "NodeAffinity" | "CreationRefused" => (10, 30 * 60),
        _ => (1, 15 * 60),
    }
}
/// A pod, with the facts that the rules need.
#[derive(Clone, Debug)]
#[allow(clippy::struct_excessive_bools)] // independent facts
pub struct Pod {
    pub json: Value,
    pub name: String,
    pub labels: Labels,
    pub node: Option<String>,
    pub bound: bool,
    pub created: Option<Timestamp>,
    pub deleting: bool,
    pub phase: String,
    pub ready: bool,
    pub available: bool,
    /// Whether the pod is ready for an unknown time.
    pub unknown: bool,
    /// In seconds since 1970.
    pub becomes_available: Option<i64>,
    /// The reason of its failure, which selects its back-off.
    pub reason: String,
    /// Filled in once the current hash is known.
    pub updated: bool,
}

impl Pod {
    fn new(facts: &Facts<'_>, json: &Value) -> Self {
        let (metadata, spec, status) = (&json["metadata"], &json["spec"], &json["status"]);
        let time = |value: &Value| value.as_str().map(|text| text.parse::<Timestamp>().unwrap());
        let ready = list(&status["conditions"])
            .into_iter()
            .find(|condition| condition["type"] == "Ready" && condition["status"] == "True");
        let since = ready.as_ref().and_then(|condition| time(&condition["lastTransitionTime"]));
        let becomes_available = since.map(|since| since.as_second() + facts.min_ready_seconds());
        let long_enough = becomes_available.zip(facts.now).is_some_and(|(at, now)| at <= now.as_second());
        let bound_to = spec["nodeName"].as_str().map(str::to_owned);
        Self {
            json: json.clone(),
            name: text(metadata, "name").to_owned(),
            labels: pairs(&metadata["labels"]),
            bound: bound_to.is_some(),
            node: bound_to.or_else(|| intended_node(spec)),
            created: time(&metadata["creationTimestamp"]),
            deleting: !metadata["deletionTimestamp"].is_null(),
            phase: text(status, "phase").to_owned(),
            ready: ready.is_some(),
            unknown: becomes_available.is_some() && facts.min_ready_seconds() > 0 && facts.now.is_none(),
            available: ready.is_some() && (facts.min_ready_seconds() == 0 || long_enough),
            becomes_available,
            reason: if facts.backs_off_by_reason() { text(status, "reason").to_owned() } else { String::new() },
            updated: false,
        }
    }

    pub fn hash(&self) -> Option<&String> {
        self.labels.get("controller-revision-hash")
    }

    pub fn has_ended(&self) -> bool {
        ["Failed", "Succeeded"].contains(&self.phase.as_str())
    }

    pub fn controller(&self) -> Option<Value> {
        controller(&self.json)
    }
}

/// Returns the first `metadata.name In [one value]` among the fields of the required node affinity.
fn intended_node(spec: &Value) -> Option<String> {
    let required = &spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"];
    let fields = list(&required["nodeSelectorTerms"]).into_iter().flat_map(|term| list(&term["matchFields"]));
    let first = fields.into_iter().find(|field| field["key"] == "metadata.name" && field["operator"] == "In")?;
    match list(&first["values"]).as_slice() {
        [node] => node.as_str().map(str::to_owned),
        _ => None,
    }
}

/// Returns the owner reference with `controller: true`.
pub fn controller(object: &Value) -> Option<Value> {
    list(&object["metadata"]["ownerReferences"]).into_iter().find(|owner| owner["controller"] == true)
}

/// Returns whether the DaemonSet controls this pod: kind, name and uid match.
pub fn is_owner(facts: &Facts<'_>, pod: &Value) -> bool {
    let metadata = &facts.daemonset["metadata"];
    controller(pod).is_some_and(|owner| {
        owner["kind"] == "DaemonSet" && owner["name"] == metadata["name"] && owner["uid"] == metadata["uid"]
    })
}
