//! The pod that a scheduling cycle is about.

use std::borrow::Cow;

use super::{Amounts, ClusterState, cluster_state::NodeInfo, load::priority};
use crate::model::{HostPort, Pod, PodNode, PodSpec, Text};

/// A pod, the node that it is for, and what is known of the cluster.
#[derive(Clone, Debug)]
pub(super) struct PodInfo<'s> {
    pub(super) state: &'s ClusterState<'s>,
    pub(super) pod: &'s Pod,
    /// The node that the pod is for, or on.
    pub(super) node: Cow<'s, PodNode>,
    pub(super) spec: Cow<'s, PodSpec>,
    pub(super) requests: Amounts,
}

impl<'s> PodInfo<'s> {
    pub(super) fn new(state: &'s ClusterState<'_>, pod: &'s Pod, spec: Cow<'s, PodSpec>) -> Self {
        let requests = Amounts::from(&spec.requests());
        Self { state, pod, node: Cow::Borrowed(&pod.node), spec, requests }
    }

    pub(super) fn priority(&self) -> i32 {
        priority(self.pod)
    }

    pub(super) fn host_ports(&self) -> impl Iterator<Item = &HostPort> {
        self.spec.host_ports()
    }

    /// Returns the node that the pod is for, or on.
    pub(super) fn target(&self) -> Option<&Text> {
        self.node.name().filter(|_| self.spec.is_for_one_node || self.node.is_bound())
    }

    /// Returns that node, if it is known.
    pub(super) fn target_info(&self) -> Option<NodeInfo<'s>> {
        self.target().and_then(|node| self.state.nodes.get(node))
    }
}
