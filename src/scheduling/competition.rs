//! Pods that are about to come to nodes beside a new one: they may come first, or be what it needs.

use std::{collections::HashMap, fmt};

use foldhash::fast::RandomState;
use serde::Serialize;

#[cfg(feature = "forecast")]
use super::QuotaLedger;
use super::{
    ClusterState, PodsAlike, as_text,
    load::{daemonset_of, priority},
    pod_info::PodInfo,
};
use crate::model::{Key, Pod, PodSpec, Resource, Text};

/// The pods that a DaemonSet is about to create. They compete with those of other DaemonSets for room on the same nodes.
///
/// ```
/// use daemonplan::{Key, model::{Node, Pod}};
/// use daemonplan::scheduling::{ClusterState, ComingPods, SchedulingObjects};
/// let node: Node = serde_json::from_str(r#"{"metadata": {"name": "a"}, "status": {"allocatable": {"pods": "1"}}}"#)?;
/// let pod: Pod = serde_json::from_str(r#"{"metadata": {"name": "agent"}, "spec": {"containers": [{"name": "main"}]}}"#)?;
/// let objects = SchedulingObjects::default();
/// let coming = ComingPods::new(Key::new("prod", "other"), pod.clone(), [("a".into(), Vec::new())]);
/// let state = ClusterState::new([&node], [], [], &objects).with_coming([coming]);
/// assert_eq!(state.pods_like(&pod).competitors("a", &[])[0].to_string(), "a pod of DaemonSet prod/other");
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct ComingPods<'a> {
    daemonset: Key,
    pod: Pod,
    /// The nodes they come to, with the pods that leave for them.
    nodes: HashMap<Text, Vec<&'a Pod>, RandomState>,
}

impl<'a> ComingPods<'a> {
    /// Describes pods like `pod`, as admission leaves it, by the nodes they come to, each with the pods that leave for it.
    pub fn new(daemonset: Key, pod: Pod, nodes: impl IntoIterator<Item = (Text, Vec<&'a Pod>)>) -> Self {
        Self { daemonset, pod, nodes: nodes.into_iter().collect() }
    }

    /// Returns the DaemonSet.
    #[cfg(feature = "forecast")]
    pub(crate) fn daemonset(&self) -> &Key {
        &self.daemonset
    }

    /// Takes the room for the pods in the quotas of their namespace. Returns whether there is enough.
    #[cfg(feature = "forecast")]
    pub(crate) fn take_room(&self, ledger: &mut QuotaLedger<'_>) -> bool {
        let Some(spec) = &self.pod.spec else { return true };
        self.nodes.values().all(|leave| {
            leave.iter().filter_map(|pod| pod.spec.as_deref()).for_each(|spec| ledger.give(spec));
            let has_room = ledger.lacking(spec).is_none();
            if has_room {
                ledger.take(spec);
            }
            has_room
        })
    }
}

/// What may come to a node before a pod, and leave no room for it.
///
/// ```
/// use daemonplan::{Key, scheduling::Competitor};
/// assert_eq!(Competitor::DaemonSet(Key::new("prod", "agent")).to_string(), "a pod of DaemonSet prod/agent");
/// assert_eq!(Competitor::Pod(Key::new("prod", "web-0")).to_string(), "prod/web-0");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Competitor {
    /// A pod that a DaemonSet is about to create.
    DaemonSet(#[serde(serialize_with = "as_text")] Key),
    /// A pod that waits.
    Pod(#[serde(serialize_with = "as_text")] Key),
}

impl fmt::Display for Competitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DaemonSet(daemonset) => write!(f, "a pod of DaemonSet {daemonset}"),
            Self::Pod(pod) => pod.fmt(f),
        }
    }
}

/// Pods that come to a node and others that leave it, while one is tried there.
#[derive(Clone, Debug, Default)]
pub(super) struct Company<'s> {
    pub(super) come: Vec<&'s Pod>,
    pub(super) leave: Vec<&'s Pod>,
}

/// All that may come to nodes beside pods that are alike.
#[derive(Debug)]
pub(super) struct Competition<'s>(Vec<Rival<'s>>);

/// A pod that waits, or the pods that a DaemonSet is about to create.
#[derive(Debug)]
struct Rival<'s> {
    name: Competitor,
    pod: &'s Pod,
    /// Whether it may come first and keep its place.
    may_be_first: bool,
    alike: PodsAlike<'s>,
    destination: Destination<'s>,
}

#[derive(Debug)]
enum Destination<'s> {
    /// These nodes, with the pods that leave for it.
    Nodes(&'s ComingPods<'s>),
    /// This node, or any.
    Waits(Option<&'s Text>),
}

impl<'s> Destination<'s> {
    /// Returns the pods that leave a node for it; `None` if it does not come there.
    fn leaving(&self, node: &Text) -> Option<&'s [&'s Pod]> {
        match self {
            Self::Nodes(coming) => coming.nodes.get(node).map(Vec::as_slice),
            Self::Waits(target) => target.is_none_or(|target| target == node).then_some(&[]),
        }
    }
}

/// A rival that comes to a node, and the pods that leave for it.
type Comer<'s> = (Competitor, &'s Pod, &'s [&'s Pod]);

impl<'s> Competition<'s> {
    pub(super) fn new(own: &PodInfo<'s>) -> Self {
        let state = own.state;
        let key_of = |pod: &Pod| daemonset_of(pod).map(|name| Key::new(&pod.namespace, name));
        let daemonset = key_of(own.pod);
        let may_be_first = |pod: &Pod| priority(pod) >= own.priority() || own.spec.never_preempts();
        let coming = state.coming_beside(daemonset.as_ref()).map(|coming| Rival {
            name: Competitor::DaemonSet(coming.daemonset.clone()),
            pod: &coming.pod,
            may_be_first: may_be_first(&coming.pod),
            alike: state.pods_like(&coming.pod),
            destination: Destination::Nodes(coming),
        });
        let counted: Vec<_> = state.coming.iter().map(|coming| &coming.daemonset).chain(&daemonset).collect();
        let waiting = state.unbound.iter().copied().filter(|pod| {
            let enters = |spec: &PodSpec| spec.is_of_default_scheduler() && spec.scheduling_gates.is_empty();
            let is_counted = || key_of(pod).is_some_and(|daemonset| counted.contains(&&daemonset));
            !pod.is_being_deleted() && pod.spec.as_deref().is_some_and(enters) && may_be_first(pod) && !is_counted()
        });
        let waiting = waiting.map(|pod| Rival {
            name: Competitor::Pod(pod.key()),
            pod,
            may_be_first: true,
            alike: state.pods_like(pod),
            destination: Destination::Waits(pod.node.name()),
        });
        Self(coming.chain(waiting).collect())
    }

    /// Returns the pods of all that may come first to a node.
    pub(super) fn all_on(&self, node: &Text) -> Vec<&'s Pod> {
        let first = self.0.iter().filter(|rival| rival.may_be_first && rival.destination.leaving(node).is_some());
        first.map(|rival| rival.pod).collect()
    }

    /// Returns those that may come first to a node that some pods have left, and would be bound there.
    pub(super) fn first_on(&mut self, node: &Text, leave: &[&Pod]) -> Vec<Comer<'s>> {
        self.comers(node, leave, |rival| rival.may_be_first)
    }

    /// Returns the pods of DaemonSets that come to a node that some pods have left, and would be bound there.
    pub(super) fn coming_to(&mut self, node: &Text, leave: &[&Pod]) -> Vec<Comer<'s>> {
        self.comers(node, leave, |rival| matches!(rival.destination, Destination::Nodes(_)))
    }

    fn comers(&mut self, node: &Text, leave: &[&Pod], is_meant: fn(&Rival<'_>) -> bool) -> Vec<Comer<'s>> {
        let rivals = self.0.iter_mut().filter(|rival| is_meant(rival));
        let comers = rivals.filter_map(|Rival { name, pod, alike, destination, .. }| {
            let for_it = destination.leaving(node)?;
            let gone: Vec<_> = leave.iter().chain(for_it).copied().collect();
            let is_bound =
                alike.refusal_after(node.clone(), &gone).is_none() || !alike.on(node.clone()).preempts().is_empty();
            is_bound.then(|| (name.clone(), *pod, for_it))
        });
        comers.collect()
    }
}

impl<'s> PodsAlike<'s> {
    /// Returns which pods may come first to a node that some pods have left, so that such a pod is not bound there: pods that
    /// wait, and those that [other DaemonSets are about to create](ClusterState::with_coming). Empty if such a pod is bound
    /// all the same, or would take the place of other pods.
    ///
    /// The scheduler takes pods of equal priority in the order in which they came into its queue, which does not show in
    /// objects. <https://kubernetes.io/docs/concepts/scheduling-eviction/pod-priority-preemption/#effect-of-pod-priority-on-scheduling-order>
    pub fn competitors(&mut self, node: impl Into<Text>, leave: &[&'s Pod]) -> Vec<Competitor> {
        let node = node.into();
        let all = self.competition().all_on(&node);
        if all.is_empty() || self.fits_beside(&node, leave, all) {
            return Vec::new();
        }
        let first = self.competition().first_on(&node, leave);
        let (against, others): (Vec<_>, Vec<_>) =
            first.into_iter().partition(|comer| !self.is_bound_beside(&node, leave, std::slice::from_ref(comer)));
        let are_together_against = against.is_empty() && !self.is_bound_beside(&node, leave, &others);
        let competitors = if are_together_against { others } else { against };
        competitors.into_iter().map(|(name, ..)| name).collect()
    }

    /// Returns the DaemonSets whose [new pods](ClusterState::with_coming) such a pod needs to be bound to a node that some pods
    /// have left: because of its pod affinity, or because these request less than those before them. Empty if they do not help.
    ///
    /// ```
    /// use daemonplan::{Key, model::{Node, Pod}};
    /// use daemonplan::scheduling::{ClusterState, ComingPods, SchedulingObjects};
    /// let node: Node = serde_json::from_str(
    ///     r#"{"metadata": {"name": "a", "labels": {"host": "a"}}, "status": {"allocatable": {"pods": "9"}}}"#,
    /// )?;
    /// let pod = |name: &str, spec: &str| serde_json::from_str::<Pod>(&format!(
    ///     r#"{{"metadata": {{"name": "{name}", "labels": {{"app": "{name}"}}}}, "spec": {{{spec} "containers": []}}}}"#,
    /// ));
    /// let term = r#"{"topologyKey": "host", "labelSelector": {"matchLabels": {"app": "base"}}}"#;
    /// let affinity = format!(
    ///     r#""affinity": {{"podAffinity": {{"requiredDuringSchedulingIgnoredDuringExecution": [{term}]}}}},"#,
    /// );
    /// let (agent, objects) = (pod("agent", &affinity)?, SchedulingObjects::default());
    /// let base = ComingPods::new(Key::new("prod", "base"), pod("base", "")?, [("a".into(), Vec::new())]);
    /// let state = ClusterState::new([&node], [], [], &objects).with_coming([base]);
    /// assert_eq!(state.pods_like(&agent).needed("a", &[]), [Key::new("prod", "base")]);
    /// # Ok::<(), serde_json::Error>(())
    /// ```
    pub fn needed(&mut self, node: impl Into<Text>, leave: &[&'s Pod]) -> Vec<Key> {
        let node = node.into();
        let coming = self.competition().coming_to(&node, leave);
        if coming.is_empty() || !self.is_bound_beside(&node, leave, &coming) {
            return Vec::new();
        }
        let one = coming.iter().find(|comer| self.is_bound_beside(&node, leave, std::slice::from_ref(comer)));
        let needed = one.map_or(coming.as_slice(), std::slice::from_ref);
        let needed = needed.iter().filter_map(|(name, ..)| match name {
            Competitor::DaemonSet(daemonset) => Some(daemonset.clone()),
            Competitor::Pod(_) => None,
        });
        needed.collect()
    }

    /// Whether such a pod would be bound to a node with all these pods beside it, and none that leaves for them.
    fn fits_beside(&mut self, node: &Text, leave: &[&'s Pod], come: Vec<&'s Pod>) -> bool {
        self.incoming.company.come = come;
        let is_bound = self.refusal_after(node.clone(), leave).is_none();
        self.incoming.company = Company::default();
        is_bound
    }

    /// Whether such a pod would be bound to a node, or take the place of other pods there, after others have come and left.
    fn is_bound_beside(&mut self, node: &Text, leave: &[&'s Pod], comers: &[Comer<'s>]) -> bool {
        let for_them = comers.iter().flat_map(|(_, _, for_it)| *for_it);
        let leave = leave.iter().chain(for_them).copied().collect();
        self.incoming.company = Company { come: comers.iter().map(|(_, pod, _)| *pod).collect(), leave };
        let answer = self.on(node.clone());
        self.incoming.company = Company::default();
        answer.would_fit || !answer.preempts().is_empty()
    }

    fn competition(&mut self) -> &mut Competition<'s> {
        let own = &self.incoming.info;
        self.competition.get_or_insert_with(|| Competition::new(own))
    }
}

impl<'a> ClusterState<'a> {
    /// Adds the pods that DaemonSets are about to create: what [`PodsAlike::competitors`] and [`PodsAlike::needed`] look at.
    #[must_use]
    pub fn with_coming(mut self, coming: impl IntoIterator<Item = ComingPods<'a>>) -> Self {
        self.coming.extend(coming);
        self
    }

    /// Iterates over the pods that other DaemonSets than one are about to create.
    pub(crate) fn coming_beside(&self, daemonset: Option<&Key>) -> impl Iterator<Item = &ComingPods<'a>> {
        self.coming.iter().filter(move |coming| Some(&coming.daemonset) != daemonset)
    }
}
