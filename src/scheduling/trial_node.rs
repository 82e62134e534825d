//! A node as it would be if some of its pods left and others came.

use std::borrow::Cow;

use super::{
    Amounts,
    cluster_state::{NodeInfo, NodePods},
    load::{assigned, first, is_same},
    pod_info::PodInfo,
};
use crate::model::{HostPort, Node, Pod};

#[derive(Clone)]
pub(super) struct TrialNode<'t, 's> {
    pub(super) info: NodeInfo<'s>,
    pub(super) pods: TrialPods<'t, 's>,
    pub(super) requested: Cow<'t, Amounts>,
    /// The ports of pods that have left. As in the scheduler, they are free even if another pod has them, too.
    pub(super) released: Vec<HostPort>,
    /// Pods that have left other nodes.
    pub(super) lost: Vec<&'t Pod>,
}

/// The pods of a node in a trial.
#[derive(Clone)]
pub(super) struct TrialPods<'t, 's> {
    there: NodePods<'s>,
    /// Those that have left. A trial of a settled node has only the pod itself here, and looks up no other pod.
    left: Vec<&'t Pod>,
    came: Vec<&'s Pod>,
}

fn ports(pod: &Pod) -> impl Iterator<Item = &HostPort> {
    pod.spec.iter().flat_map(|spec| spec.host_ports())
}

impl<'t, 's> TrialNode<'t, 's> {
    /// Returns the node as it is, without the pod itself.
    pub(super) fn new(own: &'t PodInfo<'s>, info: NodeInfo<'s>) -> Self {
        let pods = TrialPods { there: info.pods, left: Vec::new(), came: Vec::new() };
        let requested = Cow::Borrowed(&info.load.requested);
        let mut node = Self { info, pods, requested, released: Vec::new(), lost: Vec::new() };
        // A pod without a name is not there yet.
        if !own.pod.name.is_empty() && node.pods.holds(own.pod) {
            node.remove(own.pod, &assigned(own.pod));
        }
        node
    }

    /// Lets a pod come.
    pub(super) fn add(&mut self, pod: &'s Pod, requests: &Amounts) {
        self.pods.came.push(pod);
        self.released.retain(|port| !ports(pod).any(|own| own.is_same(port)));
        self.requested.to_mut().add(requests);
    }

    /// Returns the first pod on this node that meets a condition, or the first on other nodes that do.
    pub(super) fn find_pod(
        &self,
        own: &PodInfo<'s>,
        is_near: impl Fn(&Node) -> bool,
        condition: impl Fn(&Pod) -> bool,
    ) -> Option<&'s Pod> {
        let here = first(self.pods.iter().filter(|pod| condition(pod)));
        let others = || {
            let nodes =
                own.state.nodes.iter().filter(|info| info.node.name != self.info.node.name && is_near(info.node));
            let is_gone = |pod: &Pod| is_same(pod, own.pod) || self.lost.iter().any(|lost| is_same(lost, pod));
            first(nodes.flat_map(|info| info.pods.iter()).filter(|pod| condition(pod) && !is_gone(pod)))
        };
        here.or_else(others)
    }

    /// Lets a pod that is there leave.
    pub(super) fn remove(&mut self, pod: &'t Pod, requests: &Amounts) {
        self.pods.remove(pod);
        self.requested.to_mut().subtract(requests);
    }

    /// Counts the ports of a pod as free.
    pub(super) fn release_ports(&mut self, pod: &Pod) {
        self.released.extend(ports(pod).cloned());
    }
}

impl<'t, 's> TrialPods<'t, 's> {
    pub(super) fn len(&self) -> usize {
        self.there.len() - self.left.len() + self.came.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &'s Pod> + '_ {
        let there = self.there.iter().filter(|pod| !self.has_left(pod));
        there.chain(self.came.iter().copied())
    }

    pub(super) fn holds(&self, pod: &Pod) -> bool {
        self.came.iter().any(|other| is_same(other, pod)) || self.there.holds(pod) && !self.has_left(pod)
    }

    fn has_left(&self, pod: &Pod) -> bool {
        self.left.iter().any(|left| is_same(left, pod))
    }

    /// Removes a pod that is there.
    fn remove(&mut self, pod: &'t Pod) {
        let before = self.came.len();
        self.came.retain(|other| !is_same(other, pod));
        if self.came.len() == before {
            self.left.push(pod);
        }
    }
}
