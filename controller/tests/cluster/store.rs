//! The objects of the cluster, their changes, and the faults of the API server.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use axum::http::Method;
use jiff::Timestamp;
use serde_json::{Value, json};

/// The plural, the namespace (empty for none) and the name.
pub type Id = (String, String, String);

/// Number of changes kept for watches.
pub(super) const MAX_CHANGES: usize = 200_000;

/// A change of an object, for watches.
#[derive(Clone, Debug)]
pub(super) struct Change {
    pub(super) version: u64,
    pub(super) id: Id,
    pub(super) before: Option<Arc<Value>>,
    pub(super) after: Option<Arc<Value>>,
}

/// A write request over HTTP.
#[derive(Clone, Debug)]
pub struct Write {
    pub verb: Method,
    pub id: Id,
    /// Whether it writes the `status` subresource.
    pub status: bool,
    /// The object before the write; for a creation, the new object.
    pub object: Value,
    /// The HTTP status of the response.
    pub code: u16,
}

/// Injected faults, most with a probability.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// A request fails with 500 and is not done.
    pub refused: f64,
    /// A write is done and fails with 500.
    pub done_and_failed: f64,
    /// A request fails with 429.
    pub too_many: f64,
    /// A write fails with 409 and is not done.
    pub conflict: f64,
    /// A write is done and the connection is closed.
    pub done_and_dropped: f64,
    /// A watch ends after an event.
    pub watch_ends: f64,
    /// How long a watch delays events.
    pub watch_lag: Duration,
    /// Watches of this plural show nothing.
    pub holds: Option<&'static str>,
    /// Reads of this plural are refused with 403.
    pub forbidden: Option<&'static str>,
    /// How many more creations of pods find their name taken by a pod of another controller, and the code of the response.
    pub name_taken: Option<(u16, usize)>,
    /// How many more writes to pods, revisions and DaemonSets get a response; later ones hang.
    pub writes_left: Option<u64>,
}

#[derive(Debug, Default)]
pub struct Store {
    pub(super) version: u64,
    pub(super) uids: u64,
    pub(super) objects: BTreeMap<Id, Arc<Value>>,
    pub(super) changes: VecDeque<Change>,
    /// The oldest version that a watch may start from; older ones get 410.
    pub(super) oldest: u64,
    pub writes: Vec<Write>,
    /// The number of single objects that were read, besides leases.
    pub reads: usize,
    pub faults: Faults,
    /// Violations: creations that put too many active pods of a DaemonSet on a node.
    pub crowds: Vec<String>,
    pub(super) random: Option<fastrand::Rng>,
    /// The pods bound to a node or meant for it, by namespace and node.
    pub(super) places: HashMap<(String, String), BTreeSet<Id>>,
}

pub fn id(plural: &str, namespace: &str, name: &str) -> Id {
    (plural.to_owned(), namespace.to_owned(), name.to_owned())
}

impl Store {
    pub fn get(&self, id: &Id) -> Option<&Value> {
        self.objects.get(id).map(|object| &**object)
    }

    /// Returns all objects of a plural, in all namespaces.
    pub fn all(&self, plural: &str) -> Vec<(Id, Arc<Value>)> {
        let of_plural = self.objects.range(id(plural, "", "")..).take_while(|((of, ..), _)| of == plural);
        of_plural.map(|(id, object)| (id.clone(), Arc::clone(object))).collect()
    }

    /// Creates an object.
    pub fn create(&mut self, plural: &str, mut object: Value) -> Id {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let id = id(plural, &text(&object["metadata"]["namespace"]), &text(&object["metadata"]["name"]));
        self.uids += 1;
        object["metadata"]["uid"] = json!(format!("00000000-0000-0000-0000-{:012}", self.uids));
        object["metadata"]["creationTimestamp"] = json!(now());
        if plural == "daemonsets" {
            object["metadata"]["generation"] = json!(1);
        }
        self.put(&id, Some(object));
        id
    }

    /// Edits an object, if it exists. An edit without effect makes no new version.
    pub fn edit(&mut self, id: &Id, change: impl FnOnce(&mut Value)) {
        let Some(before) = self.objects.get(id).cloned() else { return };
        let mut after = Value::clone(&before);
        change(&mut after);
        if after == *before {
            return;
        }
        if id.0 == "daemonsets" && after["spec"] != before["spec"] {
            after["metadata"]["generation"] = json!(after["metadata"]["generation"].as_i64().unwrap_or(0) + 1);
            if after["spec"]["template"] != before["spec"]["template"] {
                let generation = &mut after["metadata"]["annotations"]["deprecated.daemonset.template.generation"];
                let number: i64 = generation.as_str().and_then(|text| text.parse().ok()).unwrap_or(0);
                *generation = json!((number + 1).to_string());
            }
        }
        let deleted = after["metadata"].get("deletionTimestamp").is_some();
        let waits = after["metadata"]["finalizers"].as_array().is_some_and(|finalizers| !finalizers.is_empty());
        let is_pod = id.0 == "pods";
        self.put(id, (!deleted || waits || is_pod).then_some(after));
    }

    /// Removes an object at once, despite finalizers and grace periods.
    pub fn remove(&mut self, id: &Id) {
        self.put(id, None);
    }

    /// Deletes an object: bound pods get a grace period, and finalizers keep it.
    pub fn delete(&mut self, id: &Id) {
        let Some(object) = self.objects.get(id).cloned() else { return };
        if object["metadata"].get("deletionTimestamp").is_some() {
            return;
        }
        let holds = object["metadata"]["finalizers"].as_array().is_some_and(|finalizers| !finalizers.is_empty());
        if holds || (id.0 == "pods" && object["spec"].get("nodeName").is_some()) {
            self.edit(id, |object| object["metadata"]["deletionTimestamp"] = json!(now()));
        } else {
            self.put(id, None);
        }
    }

    /// Expires all watches and pages of older versions.
    pub fn compact(&mut self) {
        self.oldest = self.version;
        self.changes.clear();
    }

    pub(super) fn put(&mut self, id: &Id, after: Option<Value>) {
        let before = self.objects.get(id).cloned();
        if before.is_none() && after.is_none() {
            return;
        }
        self.version += 1;
        let version = self.version;
        let created = before.is_none();
        let after = after.map(|mut object| {
            object["metadata"]["resourceVersion"] = json!(version.to_string());
            Arc::new(object)
        });
        if id.0 == "pods" {
            if let Some(node) = before.as_deref().and_then(node_of) {
                self.places.entry((id.1.clone(), node)).or_default().remove(id);
            }
            if let Some(node) = after.as_deref().and_then(node_of) {
                self.places.entry((id.1.clone(), node)).or_default().insert(id.clone());
            }
        }
        match &after {
            Some(object) => self.objects.insert(id.clone(), Arc::clone(object)),
            None => self.objects.remove(id),
        };
        self.changes.push_back(Change { version, id: id.clone(), before, after });
        while self.changes.len() > MAX_CHANGES {
            self.oldest = self.changes.pop_front().map_or(self.oldest, |change| change.version);
        }
        if id.0 == "pods" && created {
            self.check_crowds(id);
        }
    }

    /// Records a violation if a node has more than one active pod of a DaemonSet, or more than two if it surges.
    fn check_crowds(&mut self, id: &Id) {
        let active = |pod: &Value| {
            let ends = matches!(pod["status"]["phase"].as_str(), Some("Failed" | "Succeeded"));
            (!ends && pod["metadata"].get("deletionTimestamp").is_none()).then(|| (owner(pod).cloned(), node_of(pod)))
        };
        let Some(Some((Some(owner), Some(node)))) = self.get(id).map(active) else { return };
        let daemonset = self.get(&self::id("daemonsets", &id.1, owner["name"].as_str().unwrap_or_default()));
        // Pods of a DaemonSet that is gone are garbage-collected.
        let Some(daemonset) = daemonset.filter(|daemonset| daemonset["metadata"]["uid"] == owner["uid"]) else {
            return;
        };
        let surge = &daemonset["spec"]["updateStrategy"]["rollingUpdate"]["maxSurge"];
        let surges = !surge.is_null() && *surge != 0 && *surge != "0%";
        let place = Some((Some(owner.clone()), Some(node.clone())));
        let pods = self.places.get(&(id.1.clone(), node.clone())).into_iter().flatten();
        let together = pods.filter(|pod| self.get(pod).map(active).as_ref() == Some(&place)).count();
        if together > if surges { 2 } else { 1 } {
            self.crowds.push(format!("{together} pods of {} on {node}", owner["name"]));
        }
    }

    pub(super) fn by_chance(&mut self, probability: f64) -> bool {
        probability > 0.0 && self.random.as_mut().is_some_and(|random| random.f64() < probability)
    }
}

/// Returns the owner reference that is the controller.
pub fn owner(object: &Value) -> Option<&Value> {
    object["metadata"]["ownerReferences"].as_array()?.iter().find(|owner| owner["controller"] == true)
}

/// Returns the node that a pod is bound to or meant for.
pub fn node_of(pod: &Value) -> Option<String> {
    let bound = pod["spec"]["nodeName"].as_str();
    let terms = &pod["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"];
    let meant = terms["nodeSelectorTerms"][0]["matchFields"][0]["values"][0].as_str();
    bound.or(meant).map(str::to_owned)
}

pub fn now() -> String {
    Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
