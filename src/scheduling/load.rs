//! What a node has, and what the pods on it take: sums that pods are added to and taken off.

use super::Amounts;
use crate::model::{Node, Pod, Text};

/// What pods can request on a node, and what those on it request together.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct NodeLoad {
    pub(super) requested: Amounts,
    /// `None` if that is not known.
    pub(super) allocatable: Option<Allocatable>,
    /// The number of pods of which is not known what they request.
    pub(super) pods_without_spec: usize,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Allocatable {
    pub(super) amounts: Amounts,
    pub(super) pods: i64,
}

impl NodeLoad {
    pub(crate) fn add(&mut self, pod: &Pod) {
        self.add_requests(pod, &assigned(pod));
    }

    /// Adds a pod that requests this.
    pub(super) fn add_requests(&mut self, pod: &Pod, requests: &Amounts) {
        self.requested.add(requests);
        self.pods_without_spec += usize::from(pod.spec.is_none());
    }

    /// Takes a pod off that was added.
    pub(crate) fn remove(&mut self, pod: &Pod) {
        self.requested.subtract(&assigned(pod));
        self.pods_without_spec -= usize::from(pod.spec.is_none());
    }

    /// Sets what the node has; `None` if the node is not known.
    pub(crate) fn set_node(&mut self, node: Option<&Node>) {
        self.allocatable = node.and_then(|node| node.allocatable.as_deref()).map(|list| Allocatable {
            amounts: Amounts::from(list),
            pods: i64::try_from(list.get("pods").value()).unwrap_or(i64::MAX),
        });
    }
}

/// Whether a pod takes something of its node.
pub(crate) fn takes_room(pod: &Pod) -> bool {
    pod.node.is_bound() && !pod.is_terminal()
}

/// Whether a pod waits for a node.
pub(crate) fn is_unbound(pod: &Pod) -> bool {
    !pod.node.is_bound() && !pod.is_terminal()
}

/// Whether the scheduler keeps a node free for a pod that waits.
pub(super) fn is_nominated(pod: &Pod) -> bool {
    pod.scheduling.as_ref().is_some_and(|status| !status.nominated_node.is_empty())
}

/// Whether a pod can keep others off nodes by its anti-affinity.
pub(crate) fn excludes_others(pod: &Pod) -> bool {
    takes_room(pod) && pod.spec.as_ref().is_some_and(|spec| !spec.pod_anti_affinity.is_empty())
}

/// What a pod takes from its node; nothing if that is not known.
pub(super) fn assigned(pod: &Pod) -> Amounts {
    pod.assigned_requests().map(|requests| Amounts::from(&requests)).unwrap_or_default()
}

/// The name of a pod's DaemonSet: if the pod leaves, another one comes.
pub(super) fn daemonset_of(pod: &Pod) -> Option<&Text> {
    pod.controller.as_deref().filter(|owner| owner.kind == "DaemonSet").map(|owner| &owner.name)
}

pub(super) fn priority(pod: &Pod) -> i32 {
    pod.spec.as_ref().and_then(|spec| spec.priority).unwrap_or_default()
}

/// Returns the first pod by namespace and name: one of several that an answer names, whatever their order.
pub(super) fn first<'p>(pods: impl Iterator<Item = &'p Pod>) -> Option<&'p Pod> {
    pods.min_by_key(|pod| (&pod.namespace, &pod.name))
}

pub(super) fn is_same(a: &Pod, b: &Pod) -> bool {
    a.namespace == b.namespace && a.name == b.name
}
