use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use serde_json::Value;

use crate::manifest::{
    ManifestError, ManifestWarning, Place, Scope, SkippedObject, apply,
    change::{Added, ManifestChange, combine},
};
use crate::{
    model::{
        ControllerRef, ControllerRevision, DaemonSet, Interner, Key, Kind, Namespace, Node, Object, Pod, Resource, Text,
    },
    plan::MissingFact,
    planner::Snapshot,
    scheduling::SchedulingObjects,
    util::by_name::ByName,
};

/// The objects of one or more files: DaemonSets, and the objects that their plans depend on.
///
/// ```
/// use daemonplan::manifest::Manifests;
/// let text = "
/// apiVersion: v1
/// kind: Node
/// metadata: {name: node-7}
/// ---
/// apiVersion: apps/v1
/// kind: DaemonSet
/// metadata: {name: agent, namespace: prod}
/// spec:
///   selector: {matchLabels: {app: agent}}
///   template: {metadata: {labels: {app: agent}}}
/// ";
/// let mut manifests = Manifests::default();
/// manifests.read("cluster.yaml", text.as_bytes())?;
/// assert!(manifests.problems().is_empty());
/// // There are no pods, namespaces and revisions but these.
/// let manifests = manifests.complete();
/// for snapshot in manifests.snapshots() {
///     assert_eq!(snapshot.plan().actions.len(), 3); // a revision, a pod and the status
/// }
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Manifests {
    nodes: ByName<Text, Node>,
    namespaces: BTreeMap<Text, Contents>,
    documents: usize,
    skipped: Vec<SkippedObject>,
    replaced: usize,
    problems: Vec<ManifestError>,
    /// The manifests of DaemonSets that could not be read, or that a later document replaces.
    set_aside: Vec<(Place, Value)>,
    warnings: Vec<ManifestWarning>,
    /// Where the DaemonSets and namespaces were read last.
    places: HashMap<(Kind, Key), Place>,
    /// The kinds of which all objects are known.
    known: BTreeSet<Kind>,
    /// The namespace of manifests without one.
    default_namespace: Option<Text>,
    interner: Interner,
    pub(super) scheduling: SchedulingObjects,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Contents {
    pub(super) namespace: Option<Namespace>,
    /// The substitute for a missing namespace.
    unannotated: Option<Namespace>,
    daemonsets: BTreeMap<Text, DaemonSet>,
    /// The complete manifests of the DaemonSets, with the fields that the model omits.
    originals: BTreeMap<Text, Value>,
    /// The manifests that changed a DaemonSet or create it, as they were given.
    applied: BTreeMap<Text, Value>,
    /// What the API server is asked to store for them.
    merged: BTreeMap<Text, Value>,
    /// The manifests of changed DaemonSets before the change.
    before: BTreeMap<Text, Value>,
    pub(super) pods: ByName<Text, Pod>,
    revisions: ByName<Text, ControllerRevision>,
}

impl Contents {
    /// The controllers of the pods and the revisions.
    fn owners(&self) -> impl Iterator<Item = &ControllerRef> {
        let pods = self.pods.items.iter().filter_map(|pod| pod.controller.as_deref());
        pods.chain(self.revisions.items.iter().filter_map(|revision| revision.controller.as_deref()))
    }
}

impl Manifests {
    /// Declares that these are all objects of a kind: what is not here does not exist.
    ///
    /// Without this, a kind of which there is no object is [not known](MissingFact): an input without nodes says nothing
    /// about the nodes of its cluster. Of the kinds `Node` and `Pod`, one object is taken to mean that all are here, unless
    /// a DaemonSet has pods by its status and its namespace has none here; a namespace is known if it is here, and ControllerRevisions if one is in their namespace.
    ///
    /// ```
    /// use daemonplan::{Kind, manifest::Manifests};
    /// let mut manifests = Manifests::default();
    /// let text = "kind: DaemonSet\nmetadata: {name: agent, namespace: prod}\n---\nkind: Node\nmetadata: {name: a}";
    /// manifests.read("input.yaml", text.as_bytes())?;
    /// assert_eq!(manifests.snapshots().next().unwrap().missing().count(), 3);
    /// manifests.add_all_of(Kind::Pod);
    /// assert_eq!(manifests.snapshots().next().unwrap().missing().count(), 2);
    /// assert_eq!(manifests.complete().snapshots().next().unwrap().missing().count(), 0);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn add_all_of(&mut self, kind: Kind) {
        self.known.insert(kind);
    }

    /// Whether all objects of a kind are [known](Self::add_all_of) to be here.
    pub fn has_all_of(&self, kind: Kind) -> bool {
        self.known.contains(&kind)
    }

    /// Declares that these are all objects of [all kinds](Self::add_all_of).
    #[must_use]
    pub fn complete(mut self) -> Self {
        let all = [Kind::Node, Kind::Pod, Kind::Namespace, Kind::DaemonSet, Kind::ControllerRevision];
        self.known.extend(all);
        self.scheduling.is_complete = true;
        self
    }

    /// Sets the namespace of manifests that name none, such as those of a Helm chart, for all that is read from now on.
    pub fn set_default_namespace(&mut self, namespace: impl Into<Text>) {
        self.default_namespace = Some(namespace.into());
    }

    pub(super) fn default_namespace(&self) -> Option<&Text> {
        self.default_namespace.as_ref()
    }

    pub(super) fn share(&mut self, object: &mut impl Resource) {
        self.interner.share(object);
    }

    /// Returns the problems in the manifests, in the order in which they were found.
    pub fn problems(&self) -> &[ManifestError] {
        &self.problems
    }

    /// Returns what is unexpected in the manifests, but readable.
    pub fn warnings(&self) -> &[ManifestWarning] {
        &self.warnings
    }

    /// Returns the number of documents, including those with skipped or malformed objects.
    pub fn documents(&self) -> usize {
        self.documents
    }

    /// Returns where a DaemonSet or a namespace was read last. The key of a namespace has no namespace.
    pub fn place(&self, kind: Kind, key: &Key) -> Option<&Place> {
        self.places.get(&(kind, key.clone()))
    }

    pub(super) fn add_place(&mut self, object: &Object, place: &Place) {
        if matches!(object, Object::DaemonSet(_) | Object::Namespace(_)) {
            self.places.insert((object.kind(), object.key()), place.clone());
        }
    }

    /// Returns what was not read.
    pub fn skipped(&self) -> &[SkippedObject] {
        &self.skipped
    }

    /// Returns the number of objects that were replaced by later ones.
    pub fn replaced(&self) -> usize {
        self.replaced
    }

    /// Returns all nodes.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes.items
    }

    /// Iterates over all DaemonSets, by namespace and name.
    pub fn daemonsets(&self) -> impl Iterator<Item = &DaemonSet> {
        self.namespaces.values().flat_map(|contents| contents.daemonsets.values())
    }

    /// Returns the complete manifest of a DaemonSet, with the fields that the model omits.
    ///
    /// It is `None` if the DaemonSet was changed by [`with`](Self::with).
    pub fn original(&self, daemonset: &DaemonSet) -> Option<&Value> {
        self.namespaces.get(&daemonset.namespace)?.originals.get(&daemonset.name)
    }

    /// Returns the change of a DaemonSet, or its creation with [`with`](Self::with).
    ///
    /// ```
    /// use daemonplan::manifest::Manifests;
    /// let mut manifests = Manifests::default();
    /// for uid in ["uid: '7'", "labels: {}"] {
    ///     let text = format!("apiVersion: apps/v1\nkind: DaemonSet\nmetadata: {{name: agent, {uid}}}");
    ///     manifests.read("input.yaml", text.as_bytes())?;
    /// }
    /// let change = manifests.change(manifests.daemonsets().next().unwrap()).unwrap();
    /// assert_eq!(change.before.unwrap()["metadata"]["uid"], "7");
    /// assert!(change.given["metadata"]["uid"].is_null() && change.merged["metadata"]["uid"] == "7");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn change(&self, daemonset: &DaemonSet) -> Option<ManifestChange<'_>> {
        let contents = self.namespaces.get(&daemonset.namespace)?;
        let given = contents.applied.get(&daemonset.name)?;
        let merged = contents.merged.get(&daemonset.name).unwrap_or(given);
        Some(ManifestChange { given, merged, before: contents.before.get(&daemonset.name) })
    }

    /// Iterates over the manifests of DaemonSets that are not used, and their places: they could not be read, because of a
    /// wrong value for example, or a later document has their name.
    pub fn set_aside(&self) -> impl Iterator<Item = (&Place, &Value)> {
        self.set_aside.iter().map(|(place, manifest)| (place, manifest))
    }

    pub(super) fn add_set_aside(&mut self, place: Place, manifest: Value) {
        self.set_aside.push((place, manifest));
    }

    /// Iterates over all objects, for a [`Cluster`](crate::cluster::Cluster).
    ///
    /// A missing namespace is replaced with one without annotations.
    pub fn objects(&self) -> impl Iterator<Item = Object> {
        let nodes = self.nodes.items.iter().cloned().map(Object::from);
        nodes.chain(self.namespaces.values().flat_map(|contents| {
            let namespace = contents.namespace.as_ref().or(contents.unannotated.as_ref()).cloned();
            let namespace = namespace.into_iter().map(Object::from);
            namespace
                .chain(contents.daemonsets.values().cloned().map(Object::from))
                .chain(contents.revisions.items.iter().cloned().map(Object::from))
                .chain(contents.pods.items.iter().cloned().map(Object::from))
        }))
    }

    /// Returns the namespace of this name; `None` if it was not read.
    pub fn namespace(&self, name: &str) -> Option<&Namespace> {
        self.namespaces.get(name)?.namespace.as_ref()
    }

    /// Returns the number of pods.
    pub fn pod_count(&self) -> usize {
        self.namespaces.values().map(|contents| contents.pods.items.len()).sum()
    }

    /// Iterates over a snapshot for every DaemonSet, by namespace and name.
    ///
    /// DaemonSets are skipped if a [problem](Self::problems) is in their scope. What is not [known](Self::add_all_of) is
    /// [missing](Snapshot::missing).
    pub fn snapshots(&self) -> impl Iterator<Item = Snapshot<'_>> {
        let daemonsets = self.namespaces.values().flat_map(|contents| {
            let namespace = contents.namespace.as_ref().or(contents.unannotated.as_ref());
            contents.daemonsets.values().filter_map(move |daemonset| Some((contents, namespace?, daemonset)))
        });
        let unknown: HashSet<&Scope> = self.problems.iter().map(|problem| &problem.scope).collect();
        let is_known = move |daemonset: &DaemonSet| {
            !Scope::all_of(&daemonset.namespace, &daemonset.name).iter().any(|scope| unknown.contains(scope))
        };
        // A manifest of a pod that no API server has seen tells nothing about those of the cluster.
        let is_live = |pod: &Pod| !pod.uid.is_empty() || pod.node.name().is_some();
        let has_pods = self.namespaces.values().any(|contents| contents.pods.items.iter().any(is_live));
        let has_revisions = self.namespaces.values().any(|contents| !contents.revisions.items.is_empty());
        daemonsets.filter(move |(_, _, daemonset)| is_known(daemonset)).map(move |(contents, namespace, daemonset)| {
            let snapshot = Snapshot::new(daemonset, &self.nodes.items, &contents.pods.items, namespace)
                .revisions(&contents.revisions.items);
            let snapshot = match (self.change(daemonset), self.original(daemonset)) {
                (Some(ManifestChange { merged, before, .. }), _) => snapshot.manifest(merged, before),
                (None, Some(original)) => snapshot.manifest(original, None),
                (None, None) => snapshot,
            };
            // Its own status says that it has pods.
            let lacks_pods = contents.pods.items.is_empty() && daemonset.status.current_number_scheduled > 0;
            // The API server has not seen it yet: it has no revisions, as far as those of others are here.
            let is_new = daemonset.uid.is_empty() && has_revisions;
            let facts = [
                (Kind::Node, MissingFact::Nodes, !self.nodes.items.is_empty()),
                (Kind::Pod, MissingFact::Pods, has_pods && !lacks_pods),
                (Kind::Namespace, MissingFact::Namespace, contents.namespace.is_some()),
                (Kind::ControllerRevision, MissingFact::Revisions, is_new || !contents.revisions.items.is_empty()),
            ];
            let missing = facts.into_iter().filter(|(kind, _, is_here)| !is_here && !self.known.contains(kind));
            missing.map(|(_, fact, _)| fact).fold(snapshot, Snapshot::without)
        })
    }

    /// Adds an object. `original` is the complete manifest of a DaemonSet.
    pub(super) fn add(&mut self, object: Object, original: Option<Value>, place: &Place) -> Added {
        let is_daemonset = object.kind() == Kind::DaemonSet;
        let earlier = is_daemonset.then(|| self.place(Kind::DaemonSet, &object.key()).cloned()).flatten();
        self.add_place(&object, place);
        let added = match object {
            Object::Node(node) => {
                let (node, added) = combine(self.nodes.get_mut(&node.name), node, |node| &node.uid, apply::node);
                self.nodes.insert(node.name.clone(), node);
                added
            }
            Object::Namespace(namespace) => {
                let contents = self.contents(&namespace.name.clone());
                let live = contents.namespace.as_mut();
                let (namespace, added) = combine(live, namespace, |namespace| &namespace.uid, apply::namespace);
                contents.namespace = Some(namespace);
                added
            }
            Object::DaemonSet(mut daemonset) => {
                if daemonset.uid.is_empty() {
                    // The API server has not seen it yet.
                    let template = apply::stored_template(&Value::Object(daemonset.template.json().clone()));
                    daemonset.template = serde_json::from_value(template).unwrap_or(daemonset.template);
                }
                let contents = self.contents(&daemonset.namespace.clone());
                let (name, mut replaced) = (daemonset.name.clone(), None);
                let live = contents.daemonsets.get_mut(&name);
                let (of_live, given) = if daemonset.uid.is_empty() {
                    (contents.originals.get(&name), original.as_ref())
                } else {
                    (original.as_ref(), contents.originals.get(&name))
                };
                let mut merged = None;
                let apply = |live: &DaemonSet, new| {
                    let application = apply::daemonset(live, new, of_live, given);
                    merged = Some(application.merged);
                    application.daemonset
                };
                let (daemonset, added) = combine(live, daemonset, |daemonset| &daemonset.uid, apply);
                contents.merged.extend(merged.map(|merged| (name.clone(), merged)));
                if added == Added::Changes {
                    // Of the two, the one without a uid is the change.
                    for manifest in original.into_iter().chain(contents.originals.remove(&name)) {
                        let side = if apply::has_uid(&manifest) { &mut contents.before } else { &mut contents.applied };
                        replaced = replaced.or(side.insert(name.clone(), manifest));
                    }
                } else if let Some(original) = original {
                    replaced = contents.originals.insert(name.clone(), original);
                }
                contents.daemonsets.insert(name, daemonset);
                // What an API server has stored, it has accepted.
                let replaced = replaced.filter(|manifest| manifest.pointer("/metadata/resourceVersion").is_none());
                self.set_aside.extend(earlier.zip(replaced));
                added
            }
            Object::Pod(pod) => {
                Added::of(self.contents(&pod.namespace.clone()).pods.insert(pod.name.clone(), pod).is_some())
            }
            Object::ControllerRevision(revision) => {
                let contents = self.contents(&revision.namespace.clone());
                Added::of(contents.revisions.insert(revision.name.clone(), revision).is_some())
            }
        };
        self.replaced += usize::from(added == Added::Replaces);
        added
    }

    /// Gives DaemonSets without a uid, such as manifests from Git, the uid of the DaemonSet of their name that controls
    /// pods or revisions here. Returns their names.
    pub(super) fn identify(&mut self) -> Vec<Key> {
        let mut identified = Vec::new();
        for (namespace, contents) in &mut self.namespaces {
            let without_uid = contents.daemonsets.values().filter(|daemonset| daemonset.uid.is_empty());
            let without_uid: HashSet<_> = without_uid.map(|daemonset| &daemonset.name).collect();
            if without_uid.is_empty() {
                continue;
            }
            let is_wanted = |owner: &&ControllerRef| owner.kind == "DaemonSet" && without_uid.contains(&owner.name);
            let owners: HashSet<_> = contents.owners().filter(is_wanted).collect();
            let owners: Vec<_> = owners.into_iter().cloned().collect();
            for (name, daemonset) in contents.daemonsets.iter_mut().filter(|(_, daemonset)| daemonset.uid.is_empty()) {
                let mut same = owners.iter().filter(|owner| owner.name == *name);
                if let (Some(owner), None) = (same.next(), same.next()) {
                    daemonset.uid = owner.uid.clone();
                    identified.push(Key::new(namespace.clone(), name.clone()));
                }
            }
        }
        identified
    }

    /// Whether pods or ControllerRevisions here name a DaemonSet as their controller that is not here itself, though not
    /// [all](Self::add_all_of) DaemonSets are said to be here.
    ///
    /// ```
    /// use daemonplan::{Key, manifest::Manifests};
    /// let mut manifests = Manifests::default();
    /// let owners = "[{kind: DaemonSet, name: agent, uid: 7, controller: true}]";
    /// let pod = format!("kind: Pod\nmetadata: {{name: agent-x, namespace: prod, ownerReferences: {owners}}}");
    /// manifests.read("pods.yaml", pod.replace("uid: 7", "uid: '7'").as_bytes())?;
    /// assert!(manifests.lacks_owner(&Key::new("prod", "agent")));
    /// assert!(!manifests.lacks_owner(&Key::new("prod", "other")));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn lacks_owner(&self, daemonset: &Key) -> bool {
        let Some(contents) = self.namespaces.get(&daemonset.namespace) else { return false };
        !contents.daemonsets.contains_key(&daemonset.name)
            && !self.has_all_of(Kind::DaemonSet)
            && contents.owners().any(|owner| owner.kind == "DaemonSet" && owner.name == daemonset.name)
    }

    /// Returns the node of this name, for modification.
    pub fn node_mut(&mut self, name: &str) -> Option<&mut Node> {
        self.nodes.get_mut(name)
    }

    /// Removes a node. Returns whether the node existed.
    pub fn remove_node(&mut self, name: &str) -> bool {
        self.nodes.remove(name)
    }

    /// Applies `changes` to these manifests, as `kubectl apply` does: objects are added or changed.
    ///
    /// - A DaemonSet keeps its identity, its status and the API server's defaults. These alone therefore never make a
    ///   manifest from Git differ from the live object.
    /// - A node or a namespace without `metadata.uid` keeps the labels, annotations and taints that `changes` omits.
    ///   With a uid, as `kubectl get` prints it, it replaces the existing object.
    /// - The problems of `changes` are added.
    #[must_use]
    pub fn with(mut self, changes: Self) -> Self {
        for node in changes.nodes.items {
            let node = match self.nodes.get_mut(&node.name) {
                Some(live) => apply::node(live, node),
                None => node,
            };
            self.nodes.insert(node.name.clone(), node);
        }
        for (name, changed) in changes.namespaces {
            let contents = self.contents(&name);
            if let Some(namespace) = changed.namespace {
                contents.namespace = Some(match &contents.namespace {
                    Some(live) => apply::namespace(live, namespace),
                    None => namespace,
                });
            }
            contents.applied.extend(changed.originals);
            contents.applied.extend(changed.applied);
            for (name, daemonset) in changed.daemonsets {
                contents.before.extend(contents.originals.remove(&name).map(|manifest| (name.clone(), manifest)));
                let daemonset = match contents.daemonsets.get(&name) {
                    Some(live) => {
                        let (of_live, given) = (contents.before.get(&name), contents.applied.get(&name));
                        let application = apply::daemonset(live, daemonset, of_live, given);
                        contents.merged.insert(name.clone(), application.merged);
                        application.daemonset
                    }
                    None => daemonset.created(),
                };
                contents.daemonsets.insert(name, daemonset);
            }
            for pod in changed.pods.items {
                contents.pods.insert(pod.name.clone(), pod);
            }
            for revision in changed.revisions.items {
                contents.revisions.insert(revision.name.clone(), revision);
            }
        }
        self.scheduling.extend(changes.scheduling);
        self.problems.extend(changes.problems);
        self.warnings.extend(changes.warnings);
        self.skipped.extend(changes.skipped);
        self.set_aside.extend(changes.set_aside);
        self.places.extend(changes.places);
        self
    }

    pub(super) fn contents_by_namespace(&self) -> impl Iterator<Item = &Contents> {
        self.namespaces.values()
    }

    pub(super) fn count_document(&mut self) {
        self.documents += 1;
    }

    pub(super) fn skip(&mut self, object: SkippedObject) {
        self.skipped.push(object);
    }

    pub(super) fn warn(&mut self, warning: ManifestWarning) {
        self.warnings.push(warning);
    }

    pub(super) fn report(&mut self, problem: ManifestError) {
        // An object is named by its kind first.
        let object = problem.place.object.as_deref().unwrap_or_default();
        let kind = object.split([' ', '.']).next().unwrap_or_default();
        *self.scheduling.unreadable.entry(kind.into()).or_default() += 1;
        self.problems.push(problem);
    }

    fn contents(&mut self, namespace: &Text) -> &mut Contents {
        self.namespaces
            .entry(namespace.clone())
            .or_insert_with(|| Contents { unannotated: Some(Namespace::new(namespace.clone())), ..Contents::default() })
    }
}
