use std::{borrow::Cow, sync::Arc};

use super::{
    Amounts, ClusterState, Feasibility, SchedulingBlocker, SchedulingRemedy, UnknownFact,
    competition::Competition,
    cycle::refusal_without,
    incoming::{Incoming, Trial},
    load::assigned,
    pod_info::PodInfo,
    remedy::remedies,
    verdict::feasibility,
};
use crate::{
    model::{Pod, PodNode, PodSpec, PodVolume, Text},
    selector::PerNode,
};

/// Pods that differ only in the node they are for, and perhaps in what they request there, as those of a DaemonSet: what is the
/// same for all is worked out once.
///
/// ```
/// use daemonplan::{model::Pod, scheduling::{ClusterState, SchedulingObjects}};
/// let objects = SchedulingObjects::default();
/// let state = ClusterState::new([], [], [], &objects);
/// let pod = Pod::new("prod", "agent");
/// assert!(!state.pods_like(&pod).on("a").would_fit); // there is no such node
/// ```
#[derive(Debug)]
pub struct PodsAlike<'s> {
    pub(super) incoming: Incoming<'s>,
    /// What the pod requests that left last: others that leave mostly have its spec.
    last_left: Option<(Arc<PodSpec>, Amounts)>,
    /// Who may come to nodes beside them, once that was asked.
    pub(super) competition: Option<Box<Competition<'s>>>,
    /// What is not known about any of them.
    unknown: Vec<UnknownFact>,
}

impl<'s> PodsAlike<'s> {
    pub(super) fn new(state: &'s ClusterState<'_>, pods: &PerNode<&'s Pod>) -> Self {
        let is_ephemeral = |volume: &PodVolume| matches!(volume, PodVolume::Ephemeral { .. });
        let mut unknown = Vec::new();
        let infos = pods.map(|pod| {
            let mut spec = pod.spec.as_deref().map_or_else(Cow::default, Cow::Borrowed);
            if !spec.is_for_one_node {
                spec.to_mut().is_for_one_node = true;
            }
            // The claims of ephemeral volumes are created with each pod.
            if spec.volumes.iter().any(is_ephemeral) {
                spec.to_mut().volumes.retain(|volume| !is_ephemeral(volume));
                unknown = vec![UnknownFact::EphemeralClaims];
            }
            PodInfo::new(state, pod, spec)
        });
        let incoming = Incoming::with_infos(infos);
        let mut alike = Self { incoming, last_left: None, competition: None, unknown };
        let spec = &alike.incoming.info.spec;
        alike.unknown.extend(alike.incoming.affects_itself().then_some(UnknownFact::OwnPods));
        if alike.are_bound() {
            alike.unknown.push(UnknownFact::BoundByTemplate);
        } else if !spec.is_of_default_scheduler() {
            alike.unknown.push(UnknownFact::OtherScheduler { name: spec.scheduler.clone() });
        }
        alike
    }

    /// Whether the pods' template names their node, so that the scheduler is not asked. A pod by such a template that is for no
    /// node in particular is bound to none.
    pub(super) fn are_bound(&self) -> bool {
        matches!(&self.incoming.info.pod.node, PodNode::Bound(node) if node.is_empty())
    }

    /// Whether another scheduler decides.
    pub(crate) fn are_of_other_scheduler(&self) -> bool {
        !self.incoming.info.spec.is_of_default_scheduler()
    }

    /// Whether it makes a difference to such a pod that another one is bound to another node.
    #[cfg(feature = "forecast")]
    pub(crate) fn affect_each_other(&self) -> bool {
        self.unknown.contains(&UnknownFact::OwnPods)
    }

    /// Returns the labels of nodes by which such pods affect each other.
    #[cfg(feature = "forecast")]
    pub(crate) fn topology_keys(&self) -> impl Iterator<Item = &Text> {
        let PodSpec { pod_affinity, pod_anti_affinity, topology_spread, .. } = &*self.incoming.info.spec;
        let spread = topology_spread.iter().map(|constraint| &constraint.topology_key);
        pod_affinity.iter().chain(pod_anti_affinity).map(|term| &term.topology_key).chain(spread)
    }

    /// Counts such a pod on a node that some pods have left, in what is decided about other nodes.
    #[cfg(feature = "forecast")]
    pub(crate) fn count_on(&mut self, node: &Text, leave: &[&Pod]) {
        self.incoming.count_alike(node, leave);
        self.competition = None;
    }

    /// Decides whether such a pod would be bound to a node.
    pub fn on(&mut self, node: impl Into<Text>) -> Feasibility {
        self.on_without(node, &[])
    }

    /// Returns what is not known that an answer about a node would need.
    pub fn unknown_on(&self, node: &str) -> Vec<UnknownFact> {
        let of_node = self.incoming.unknown(self.incoming.info.state.nodes.get(&node.into()));
        of_node.into_iter().chain(self.unknown.iter().cloned()).collect()
    }

    /// Decides whether such a pod would be bound to a node that some pods have left.
    pub fn on_without(&mut self, node: impl Into<Text>, leave: &[&'s Pod]) -> Feasibility {
        let mut answer = self.after(node, leave, feasibility);
        answer.unknown.extend(self.unknown.iter().cloned());
        if self.are_bound() { answer.that_fits() } else { answer }
    }

    /// Finds what would make such a pod fit on a node that some pods have left.
    pub fn remedies(&mut self, node: impl Into<Text>, leave: &[&'s Pod]) -> Vec<SchedulingRemedy> {
        if self.are_bound() { Vec::new() } else { self.after(node, leave, remedies) }
    }

    /// Asks about a node that some pods have left.
    fn after<T>(&mut self, node: impl Into<Text>, leave: &[&'s Pod], ask: impl FnOnce(&Incoming<'s>) -> T) -> T {
        self.incoming.aim_at(node);
        self.incoming.company.leave = leave.to_vec();
        let answer = ask(&self.incoming);
        self.incoming.company.leave.clear();
        answer
    }

    /// Returns why such a pod would not be bound to a node after some of the pods there have left; `None` if it would be, or
    /// if there is no such node.
    ///
    /// Preemption is not considered.
    pub fn refusal_after(&mut self, node: impl Into<Text>, leave: &[&Pod]) -> Option<SchedulingBlocker> {
        if self.are_bound() {
            return None;
        }
        if let Some(refusal) = self.incoming.gated().or_else(|| self.incoming.refusals.first().cloned()) {
            return Some(refusal);
        }
        let node = node.into();
        let info = self.incoming.info.state.nodes.get(&node)?;
        self.incoming.aim_at(node);
        let mut trial = Trial::new(&self.incoming, info);
        for pod in leave {
            if trial.node.pods.holds(pod) {
                match &pod.spec {
                    Some(spec) if pod.scheduling.is_none() => {
                        let known = self.last_left.take().filter(|(known, _)| Arc::ptr_eq(known, spec));
                        let (_, requests) =
                            self.last_left.insert(known.unwrap_or_else(|| (spec.clone(), assigned(pod))));
                        trial.remove_for_good(pod, requests);
                    }
                    _ => trial.remove_for_good(pod, &assigned(pod)),
                }
            }
        }
        refusal_without(&trial, leave)
    }
}
