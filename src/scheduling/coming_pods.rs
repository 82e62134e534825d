//! What DaemonSets are about to do.

use std::collections::HashMap;

use super::{ClusterState, QuotaLedger, company::ByNode, load::is_same};
use crate::{
    model::{Key, Node, Pod, Text},
    selector::PerNode,
};

/// What a DaemonSet is about to do: the pods that it creates, and those that it deletes. They compete with the new pods of other
/// DaemonSets.
///
/// ```
/// use daemonplan::{Key, model::{Node, Pod}};
/// use daemonplan::scheduling::{ClusterState, ComingPods, SchedulingObjects};
/// let node: Node = serde_json::from_str(r#"{"metadata": {"name": "a"}, "status": {"allocatable": {"pods": "1"}}}"#)?;
/// let pod: Pod = serde_json::from_str(r#"{"metadata": {"name": "agent"}, "spec": {"containers": [{"name": "main"}]}}"#)?;
/// let objects = SchedulingObjects::default();
/// let coming = ComingPods::new(Key::new("prod", "other"), pod.clone(), [("a".into(), Vec::new())]);
/// let state = ClusterState::new([&node], [], [], &objects).with_coming([coming]);
/// assert_eq!(state.pods_like(&pod).competitors("a", &[])[0].to_string(), "the pods of DaemonSet prod/other");
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct ComingPods<'a> {
    pub(super) daemonset: Key,
    pub(super) pods: PerNode<Pod>,
    /// The nodes to which pods come, with those that leave for them.
    pub(super) nodes: ByNode<'a>,
    /// How many of the pods that come exist, and wait for their nodes.
    #[cfg_attr(not(feature = "forecast"), expect(dead_code, reason = "only forecasts look at the quotas of others"))]
    waiting: usize,
    /// The pods that leave other nodes.
    pub(super) leaving: ByNode<'a>,
    /// Whether the pods come before those leave that leave for them.
    pub(super) surges: bool,
    /// Whether nothing can keep the DaemonSet from creating the pods where none leaves for them.
    pub(super) is_certain: bool,
}

impl<'a> ComingPods<'a> {
    /// Describes pods like these, as admission leaves them, by the nodes they come to, each with the pods that leave for it.
    /// Without a name they are named after the DaemonSet.
    pub fn new(
        daemonset: Key,
        pods: impl Into<PerNode<Pod>>,
        nodes: impl IntoIterator<Item = (Text, Vec<&'a Pod>)>,
    ) -> Self {
        // Pods are told from each other by their names.
        let name: Text = format!("{}-?????", daemonset.name).into();
        let named =
            |pod: &Pod| Pod { name: if pod.name.is_empty() { name.clone() } else { pod.name.clone() }, ..pod.clone() };
        let pods = pods.into().map(named);
        let (nodes, leaving) = (nodes.into_iter().collect(), HashMap::default());
        Self { daemonset, pods, nodes, waiting: 0, leaving, surges: false, is_certain: false }
    }

    /// Sets how many of the pods exist, and wait for their nodes: quotas count them already.
    #[must_use]
    pub fn waiting(self, waiting: usize) -> Self {
        Self { waiting, ..self }
    }

    /// Sets whether the pods come before those leave that leave for them, as in a surge.
    #[must_use]
    pub fn surging(self, surges: bool) -> Self {
        Self { surges, ..self }
    }

    /// Sets whether nothing can keep the pods from being created on nodes where none leaves for them: no quota, no policy, and nothing
    /// unknown. Forecasts are sure then that they take the place of pods of lower priority.
    #[must_use]
    pub fn certain(self, is_certain: bool) -> Self {
        Self { is_certain, ..self }
    }

    /// Adds the pods that leave nodes to which none comes.
    #[must_use]
    pub fn leaving(self, leaving: impl IntoIterator<Item = (Text, Vec<&'a Pod>)>) -> Self {
        Self { leaving: leaving.into_iter().collect(), ..self }
    }

    /// Whether a pod leaves, and none comes in its place.
    pub(super) fn leaves_for_good(&self, pod: &Pod) -> bool {
        let leaving = pod.node.name().and_then(|node| self.leaving.get(node));
        leaving.is_some_and(|leaving| leaving.iter().any(|other| is_same(other, pod)))
    }

    /// Returns the DaemonSet.
    #[cfg(feature = "forecast")]
    pub(crate) fn daemonset(&self) -> &Key {
        &self.daemonset
    }

    /// Gives back the room in the quotas of their namespace that pods have whose deletion is about to begin.
    pub(crate) fn give_room(&self, ledger: &mut QuotaLedger<'_>) {
        let leave = self.nodes.values().chain(self.leaving.values()).flatten();
        let gone = leave.filter(|pod| !pod.is_being_deleted());
        gone.for_each(|pod| ledger.give(&ledger.use_of(&pod.spec.clone().unwrap_or_default())));
    }

    /// Takes the room for the pods in the quotas of their namespace. Returns whether there is enough.
    #[cfg(feature = "forecast")]
    pub(crate) fn take_room(&self, state: &ClusterState<'_>, ledger: &mut QuotaLedger<'_>) -> bool {
        let new = self.pods.map(|pod| ledger.use_of(&pod.spec.clone().unwrap_or_default()));
        let mut nodes: Vec<_> = self.nodes.keys().collect();
        if !new.is_uniform() {
            nodes.sort_unstable();
        }
        nodes.into_iter().skip(self.waiting).all(|node| {
            let new = new.on_known(state.node(node));
            let has_room = ledger.lacking(new).is_none();
            if has_room {
                ledger.take(new);
            }
            has_room
        })
    }
}

impl<'a> ClusterState<'a> {
    /// Returns a node.
    pub(crate) fn node(&self, name: &Text) -> Option<&Node> {
        self.nodes.get(name).map(|info| info.node)
    }

    /// Adds what DaemonSets are about to do: what [`PodsAlike::competitors`](super::PodsAlike::competitors) and
    /// [`PodsAlike::needed`](super::PodsAlike::needed) look at.
    #[must_use]
    pub fn with_coming(mut self, coming: impl IntoIterator<Item = ComingPods<'a>>) -> Self {
        self.coming.extend(coming);
        self
    }

    /// Iterates over what other DaemonSets of its namespace are about to do: they share its quotas.
    pub(crate) fn coming_in_namespace_of(&self, daemonset: &Key) -> impl Iterator<Item = &ComingPods<'a>> {
        self.coming_beside(Some(daemonset)).filter(|coming| coming.daemonset.namespace == daemonset.namespace)
    }

    /// Iterates over what other DaemonSets than one are about to do.
    pub(crate) fn coming_beside(&self, daemonset: Option<&Key>) -> impl Iterator<Item = &ComingPods<'a>> {
        self.coming.iter().filter(move |coming| Some(&coming.daemonset) != daemonset)
    }
}
