use std::collections::{BTreeMap, HashMap, HashSet};

use indexmap::IndexMap;
use serde_json::Value;

use crate::manifest::{ManifestError, Scope, apply};
use crate::{
    model::{ControllerRevision, DaemonSet, Namespace, Node, Pod, Text},
    planner::Snapshot,
};

/// The objects of one or more files: DaemonSets and all that their plans are made from.
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
/// for snapshot in manifests.snapshots() {
///     assert_eq!(snapshot.plan().actions.len(), 2); // a pod and a status
/// }
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Manifests {
    nodes: ByName<Node>,
    namespaces: BTreeMap<Text, Contents>,
    documents: usize,
    skipped: IndexMap<String, usize>,
    replaced: usize,
    problems: Vec<ManifestError>,
    complete: bool,
}

#[derive(Clone, Debug, Default)]
struct Contents {
    namespace: Option<Namespace>,
    /// What stands in for a namespace that is not given.
    unannotated: Option<Namespace>,
    daemonsets: BTreeMap<Text, DaemonSet>,
    /// The DaemonSets as they were given, with the fields that no planner reads.
    originals: BTreeMap<Text, Value>,
    pods: ByName<Pod>,
    revisions: ByName<ControllerRevision>,
}

/// Objects with an index by name; the last one of a name stands.
#[derive(Clone, Debug)]
struct ByName<T> {
    items: Vec<T>,
    index: HashMap<Text, usize>,
}

/// An object that a planner reads.
pub(super) enum Object {
    DaemonSet(Box<DaemonSet>, Value),
    Node(Node),
    Pod(Box<Pod>),
    Namespace(Namespace),
    ControllerRevision(Box<ControllerRevision>),
}

impl Manifests {
    /// Says that what is not here does not exist: a namespace without ControllerRevisions has none.
    #[must_use]
    pub fn complete(self) -> Self {
        Self { complete: true, ..self }
    }

    /// What was wrong, in the order in which it was found.
    pub fn problems(&self) -> &[ManifestError] {
        &self.problems
    }

    /// How many documents were read, whatever is in them.
    pub fn documents(&self) -> usize {
        self.documents
    }

    /// Objects of other kinds, with their number.
    pub fn skipped(&self) -> impl Iterator<Item = (&str, usize)> {
        self.skipped.iter().map(|(kind, count)| (kind.as_str(), *count))
    }

    /// How many objects were given again later, so that the earlier ones do not count.
    pub fn replaced(&self) -> usize {
        self.replaced
    }

    /// All nodes.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes.items
    }

    /// All DaemonSets, by namespace and name.
    pub fn daemonsets(&self) -> impl Iterator<Item = &DaemonSet> {
        self.namespaces.values().flat_map(|contents| contents.daemonsets.values())
    }

    /// The manifest of a DaemonSet as it was given, with the fields that no planner reads; `None` if it was changed since
    /// ([`with`](Self::with)).
    pub fn original(&self, daemonset: &DaemonSet) -> Option<&Value> {
        self.namespaces.get(&daemonset.namespace)?.originals.get(&daemonset.name)
    }

    /// All objects, for a [`Cluster`](crate::cluster::Cluster): also a namespace of each name that is not given.
    pub fn objects(&self) -> impl Iterator<Item = crate::model::Resource> {
        let nodes = self.nodes.items.iter().cloned().map(crate::model::Resource::from);
        nodes.chain(self.namespaces.values().flat_map(|contents| {
            let namespace = contents.namespace.as_ref().or(contents.unannotated.as_ref()).cloned();
            let namespace = namespace.into_iter().map(crate::model::Resource::from);
            namespace
                .chain(contents.daemonsets.values().cloned().map(crate::model::Resource::from))
                .chain(contents.revisions.items.iter().cloned().map(crate::model::Resource::from))
                .chain(contents.pods.items.iter().cloned().map(crate::model::Resource::from))
        }))
    }

    /// How many pods there are.
    pub fn pod_count(&self) -> usize {
        self.namespaces.values().map(|contents| contents.pods.items.len()).sum()
    }

    /// A snapshot for every DaemonSet, by namespace and name, but for those about which something could not be read.
    ///
    /// Revisions count as given if there are any in the DaemonSet's namespace.
    pub fn snapshots(&self) -> impl Iterator<Item = Snapshot<'_>> {
        let daemonsets = self.namespaces.values().flat_map(|contents| {
            let namespace = contents.namespace.as_ref().or(contents.unannotated.as_ref());
            contents.daemonsets.values().filter_map(move |daemonset| Some((contents, namespace?, daemonset)))
        });
        let unknown: HashSet<&Scope> = self.problems.iter().map(|problem| &problem.scope).collect();
        let is_known = move |daemonset: &DaemonSet| {
            !Scope::all_of(&daemonset.namespace, &daemonset.name).iter().any(|scope| unknown.contains(scope))
        };
        daemonsets.filter(move |(_, _, daemonset)| is_known(daemonset)).map(|(contents, namespace, daemonset)| {
            let snapshot = Snapshot::new(daemonset, &self.nodes.items, &contents.pods.items, namespace);
            if self.complete || !contents.revisions.items.is_empty() {
                snapshot.revisions(&contents.revisions.items)
            } else {
                snapshot
            }
        })
    }

    pub(super) fn add(&mut self, object: Object) {
        let replaced = match object {
            Object::Node(node) => self.nodes.insert(node.name.clone(), node),
            Object::Namespace(namespace) => {
                let contents = self.contents(&namespace.name.clone());
                contents.namespace.replace(namespace).is_some()
            }
            Object::DaemonSet(daemonset, original) => {
                let contents = self.contents(&daemonset.namespace.clone());
                contents.originals.insert(daemonset.name.clone(), original);
                contents.daemonsets.insert(daemonset.name.clone(), *daemonset).is_some()
            }
            Object::Pod(pod) => self.contents(&pod.namespace.clone()).pods.insert(pod.name.clone(), *pod),
            Object::ControllerRevision(revision) => {
                self.contents(&revision.namespace.clone()).revisions.insert(revision.name.clone(), *revision)
            }
        };
        self.replaced += usize::from(replaced);
    }

    /// A node, to be changed.
    pub fn node_mut(&mut self, name: &str) -> Option<&mut Node> {
        self.nodes.get_mut(name)
    }

    /// Takes a node away; `false` if there is none of this name.
    pub fn remove_node(&mut self, name: &str) -> bool {
        self.nodes.remove(name)
    }

    /// What these manifests come to once `changes` are applied, as `kubectl apply` does it: objects are added, and those
    /// that are there already become what the changes say.
    ///
    /// - A DaemonSet keeps its identity, its status and whatever the API server has filled in, so that a manifest from Git
    ///   does not differ from the live object by that alone.
    /// - A node or a namespace without `metadata.uid` keeps the labels, annotations and taints that are not mentioned. With
    ///   one, as `kubectl get` prints it, it is taken as it is.
    /// - Problems are added to those that there are.
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
            for (name, daemonset) in changed.daemonsets {
                contents.originals.remove(&name);
                let daemonset = match contents.daemonsets.get(&name) {
                    Some(live) => apply::daemonset(live, daemonset),
                    None => daemonset,
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
        self.problems.extend(changes.problems);
        self
    }

    pub(super) fn count_document(&mut self) {
        self.documents += 1;
    }

    pub(super) fn skip(&mut self, kind: &str) {
        *self.skipped.entry(kind.to_owned()).or_default() += 1;
    }

    pub(super) fn report(&mut self, problem: ManifestError) {
        self.problems.push(problem);
    }

    fn contents(&mut self, namespace: &Text) -> &mut Contents {
        self.namespaces
            .entry(namespace.clone())
            .or_insert_with(|| Contents { unannotated: Some(Namespace::new(namespace.clone())), ..Contents::default() })
    }
}

impl<T> ByName<T> {
    /// Whether there was one of this name before.
    fn insert(&mut self, name: Text, item: T) -> bool {
        let slot = *self.index.entry(name).or_insert(self.items.len());
        let known = self.items.get_mut(slot);
        let replaced = known.is_some();
        match known {
            Some(known) => *known = item,
            None => self.items.push(item),
        }
        replaced
    }
}

impl<T> ByName<T> {
    fn get_mut(&mut self, name: &str) -> Option<&mut T> {
        self.items.get_mut(*self.index.get(name)?)
    }

    /// Whether there was one of this name.
    fn remove(&mut self, name: &str) -> bool {
        let Some(slot) = self.index.remove(name) else { return false };
        self.items.remove(slot);
        for other in self.index.values_mut().filter(|other| **other > slot) {
            *other -= 1;
        }
        true
    }
}

impl<T> Default for ByName<T> {
    fn default() -> Self {
        Self { items: Vec::new(), index: HashMap::new() }
    }
}
