//! The objects of the cluster and their changes.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    sync::Arc,
};

use axum::http::Method;
use serde_json::{Value, json};

use crate::{
    faults::Faults,
    id::Id,
    objects,
    resource::{CRDS, Resource},
    strategy,
};

/// Number of changes kept for watches and for the later pages of lists.
const MAX_CHANGES: usize = 200_000;

/// A change of an object: a creation has no `before`, a deletion no `after`.
#[derive(Clone, Debug)]
pub struct Change {
    /// The `resourceVersion` of the change.
    pub version: u64,
    /// The object's place.
    pub id: Id,
    /// The object before.
    pub before: Option<Arc<Value>>,
    /// The object after.
    pub after: Option<Arc<Value>>,
}

/// A write request over HTTP and its outcome.
#[derive(Clone, Debug)]
pub struct Write {
    /// POST, PUT, PATCH or DELETE.
    pub verb: Method,
    /// The object's place.
    pub id: Id,
    /// The subresource, such as `status`, or nothing.
    pub subresource: Option<String>,
    /// The object before the write; for a creation, the object sent.
    pub object: Value,
    /// The HTTP status of the response.
    pub code: u16,
}

/// A rule that must hold after every change: returns what is wrong.
pub type Invariant = fn(&Store, &Change) -> Option<String>;

/// The objects of the cluster, the requests so far, and the faults to come.
///
/// Its methods are how the rest of the cluster changes: they are not requests, meet no faults and need no rights.
#[derive(Debug, Default)]
pub struct Store {
    version: u64,
    uids: u64,
    objects: BTreeMap<Id, Arc<Value>>,
    changes: VecDeque<Change>,
    /// The oldest version that a watch may start from.
    oldest: u64,
    /// The pods bound to a node or meant for it.
    places: HashMap<String, BTreeSet<Id>>,
    random: fastrand::Rng,
    /// All writes over HTTP so far.
    pub writes: Vec<Write>,
    /// The number of single objects that were read over HTTP, besides leases.
    pub reads: usize,
    /// The faults that requests meet.
    pub faults: Faults,
    /// What is checked after every change.
    pub invariants: Vec<Invariant>,
    /// What the invariants found.
    pub violations: Vec<String>,
}

impl Store {
    pub(crate) fn new(seed: u64) -> Self {
        Self { version: 1, random: fastrand::Rng::with_seed(seed), ..Self::default() }
    }

    /// Returns an object. `kind` and `apiVersion` are not stored.
    pub fn get(&self, id: &Id) -> Option<&Value> {
        self.objects.get(id).map(|object| &**object)
    }

    /// Returns all objects of a resource in all namespaces, by namespace and name.
    pub fn all(&self, resource: &str) -> Vec<(Id, Arc<Value>)> {
        self.range(resource).map(|(id, object)| (id.clone(), Arc::clone(object))).collect()
    }

    /// Returns the objects of a resource by namespace and name.
    pub(crate) fn range(&self, resource: &str) -> impl Iterator<Item = (&Id, &Arc<Value>)> + use<'_> {
        self.range_from(Id::new(resource, "", ""))
    }

    /// Returns the objects of a resource by namespace and name, from this place on.
    pub(crate) fn range_from(&self, first: Id) -> impl Iterator<Item = (&Id, &Arc<Value>)> {
        let resource = first.resource.clone();
        self.objects.range(first..).take_while(move |(id, _)| id.resource == resource)
    }

    /// Returns all objects.
    pub(crate) fn objects(&self) -> impl Iterator<Item = (&Id, &Arc<Value>)> {
        self.objects.iter()
    }

    /// Returns the pods that are bound to a node or meant for it by an affinity with `metadata.name`.
    pub fn pods_on(&self, node: &str) -> impl Iterator<Item = (&Id, &Value)> {
        let pods = self.places.get(node).into_iter().flatten();
        pods.filter_map(|id| Some((id, self.get(id)?)))
    }

    /// Creates an object, with a uid, a time and a generation as the API server sets them; its status is kept.
    ///
    /// A missing name is generated from `metadata.generateName`. An object that exists is replaced.
    pub fn create(&mut self, resource: &str, mut object: Value) -> Id {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        if let Some(object) = object.as_object_mut() {
            object.remove("kind");
            object.remove("apiVersion");
        }
        let meta = &mut object["metadata"];
        if let Some(prefix) = meta["generateName"].as_str().filter(|_| meta["name"].is_null()) {
            let random: String = (0..5).map(|_| self.random.alphanumeric().to_ascii_lowercase()).collect();
            meta["name"] = json!(format!("{prefix}{random}"));
        }
        let id = Id::new(resource, &text(&meta["namespace"]), &text(&meta["name"]));
        self.uids += 1;
        meta["uid"] = json!(format!("00000000-0000-0000-0000-{:012}", self.uids));
        meta["creationTimestamp"] = json!(objects::now());
        strategy::prepare_creation(self.resource(resource).as_ref(), &mut object);
        self.put(&id, Some(object));
        id
    }

    /// Edits an object, if it exists. An edit without effect makes no new version.
    ///
    /// An object that is being deleted ends when its last finalizer goes, unless it is a pod or a namespace, which end by their
    /// kubelet and controller.
    pub fn edit(&mut self, id: &Id, change: impl FnOnce(&mut Value)) {
        let Some(before) = self.objects.get(id).cloned() else { return };
        let mut after = Value::clone(&before);
        change(&mut after);
        if after == *before {
            return;
        }
        strategy::prepare_update(self.resource(&id.resource).as_ref(), &before, &mut after);
        let ends = strategy::is_being_deleted(&after) && !strategy::is_held(id, &after);
        self.put(id, (!ends).then_some(after));
    }

    /// Removes an object at once, whatever holds it.
    pub fn remove(&mut self, id: &Id) {
        self.put(id, None);
    }

    /// Deletes an object as a request does: a bound pod gets its grace period, a namespace is emptied first, finalizers are
    /// waited for.
    pub fn delete(&mut self, id: &Id) {
        let Some(object) = self.objects.get(id).cloned() else { return };
        if strategy::is_being_deleted(&object) {
            return;
        }
        if strategy::is_held(id, &object) {
            self.edit(id, strategy::begin_deletion);
        } else {
            self.put(id, None);
        }
    }

    /// Ends the grace period of a deletion: the object goes unless it has finalizers.
    pub(crate) fn end(&mut self, id: &Id) {
        match self.get(id) {
            Some(object) if strategy::has_finalizers(object) => self.delete(id),
            _ => self.put(id, None),
        }
    }

    /// Expires all watches and lists of older versions.
    pub fn compact(&mut self) {
        self.oldest = self.version;
        self.changes.clear();
    }

    /// Returns the `resourceVersion` of the newest change.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Returns the changes after a version, the oldest first; `None` if they are not kept any more.
    pub fn changes_since(&self, version: u64) -> Option<impl Iterator<Item = &Change>> {
        let first = self.changes.partition_point(|change| change.version <= version);
        (version >= self.oldest).then(|| self.changes.range(first..))
    }

    /// Returns the resource with this name in an [`Id`].
    pub(crate) fn resource(&self, name: &str) -> Option<Resource> {
        let built_in = Resource::all_built_in().find(|resource| resource.plural == name);
        built_in.or_else(|| Resource::custom(self.get(&Id::new(CRDS, "", name))?, None))
    }

    /// Returns the resource at this place in the API.
    pub(crate) fn resource_at(&self, group: &str, version: &str, plural: &str) -> Option<Resource> {
        let is_it = |one: &Resource| one.group == group && one.version == version && one.plural == plural;
        Resource::all_built_in()
            .find(is_it)
            .or_else(|| Resource::custom(self.get(&Id::new(CRDS, "", &format!("{plural}.{group}")))?, Some(version)))
    }

    /// Returns all resources, each in one version.
    pub(crate) fn resources(&self) -> Vec<Resource> {
        let custom = self.range(CRDS).filter_map(|(_, definition)| Resource::custom(definition, None));
        Resource::all_built_in().chain(custom).collect()
    }

    fn put(&mut self, id: &Id, after: Option<Value>) {
        let before = self.objects.get(id).cloned();
        if before.is_none() && after.is_none() {
            return;
        }
        self.version += 1;
        let version = self.version;
        let after = after.map(|mut object| {
            object["metadata"]["resourceVersion"] = json!(version.to_string());
            Arc::new(object)
        });
        if id.resource == "pods" {
            if let Some(node) = before.as_deref().and_then(objects::node_of) {
                self.places.entry(node).or_default().remove(id);
            }
            if let Some(node) = after.as_deref().and_then(objects::node_of) {
                self.places.entry(node).or_default().insert(id.clone());
            }
        }
        match &after {
            Some(object) => self.objects.insert(id.clone(), Arc::clone(object)),
            None => self.objects.remove(id),
        };
        let change = Change { version, id: id.clone(), before, after };
        let violations: Vec<_> = self.invariants.iter().filter_map(|broken| broken(self, &change)).collect();
        self.violations.extend(violations);
        self.changes.push_back(change);
        while self.changes.len() > MAX_CHANGES {
            self.oldest = self.changes.pop_front().map_or(self.oldest, |change| change.version);
        }
    }

    pub(crate) fn by_chance(&mut self, probability: f64) -> bool {
        probability > 0.0 && self.random.f64() < probability
    }
}
