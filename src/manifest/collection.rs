use std::collections::{BTreeMap, HashMap, HashSet};

use indexmap::IndexMap;
use serde_json::Value;

use crate::manifest::{ManifestError, ManifestWarning, Scope, apply};
use crate::{
    model::{ControllerRevision, DaemonSet, Interner, Namespace, Node, Object, Pod, Resource, Text},
    planner::Snapshot,
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
    warnings: Vec<ManifestWarning>,
    complete: bool,
    interner: Interner,
}

#[derive(Clone, Debug, Default)]
struct Contents {
    namespace: Option<Namespace>,
    /// The substitute for a missing namespace.
    unannotated: Option<Namespace>,
    daemonsets: BTreeMap<Text, DaemonSet>,
    /// The complete manifests of the DaemonSets, with the fields that the model omits.
    originals: BTreeMap<Text, Value>,
    pods: ByName<Pod>,
    revisions: ByName<ControllerRevision>,
}

/// Objects with an index by name. A later object replaces an earlier one of the same name.
#[derive(Clone, Debug)]
struct ByName<T> {
    items: Vec<T>,
    index: HashMap<Text, usize>,
}

impl Manifests {
    /// Declares the manifests complete: a namespace without ControllerRevisions has none in the cluster either.
    #[must_use]
    pub fn complete(self) -> Self {
        Self { complete: true, ..self }
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

    /// Iterates over the kinds that were skipped, with the number of objects.
    pub fn skipped(&self) -> impl Iterator<Item = (&str, usize)> {
        self.skipped.iter().map(|(kind, count)| (kind.as_str(), *count))
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

    /// Returns the number of pods.
    pub fn pod_count(&self) -> usize {
        self.namespaces.values().map(|contents| contents.pods.items.len()).sum()
    }

    /// Iterates over a snapshot for every DaemonSet, by namespace and name.
    ///
    /// DaemonSets are skipped if a [problem](Self::problems) is in their scope. Revisions count as given if the
    /// DaemonSet's namespace has any, or if the manifests are [`complete`](Self::complete).
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

    /// Adds an object. `original` is the complete manifest of a DaemonSet.
    pub(super) fn add(&mut self, mut object: impl Resource, original: Option<Value>) {
        self.interner.share(&mut object);
        let replaced = match object.into() {
            Object::Node(node) => self.nodes.insert(node.name.clone(), node),
            Object::Namespace(namespace) => {
                let contents = self.contents(&namespace.name.clone());
                contents.namespace.replace(namespace).is_some()
            }
            Object::DaemonSet(daemonset) => {
                let contents = self.contents(&daemonset.namespace.clone());
                contents.originals.extend(original.map(|original| (daemonset.name.clone(), original)));
                contents.daemonsets.insert(daemonset.name.clone(), daemonset).is_some()
            }
            Object::Pod(pod) => self.contents(&pod.namespace.clone()).pods.insert(pod.name.clone(), pod),
            Object::ControllerRevision(revision) => {
                self.contents(&revision.namespace.clone()).revisions.insert(revision.name.clone(), revision)
            }
        };
        self.replaced += usize::from(replaced);
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
        self.warnings.extend(changes.warnings);
        self
    }

    pub(super) fn count_document(&mut self) {
        self.documents += 1;
    }

    pub(super) fn skip(&mut self, kind: &str) {
        *self.skipped.entry(kind.to_owned()).or_default() += 1;
    }

    pub(super) fn warn(&mut self, warning: ManifestWarning) {
        self.warnings.push(warning);
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
    /// Adds or replaces the item of this name. Returns whether it existed.
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

    /// Removes the item of this name. Returns whether it existed.
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
