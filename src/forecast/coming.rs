//! The pods that a DaemonSet is about to create.

use std::collections::HashMap;

use crate::{
    adoption::{
        claim::claim_pod,
        revision_match::{RevisionLabels, RevisionMatch},
    },
    model::{Pod, Resource, Text, UpdateStrategy},
    plan::MissingFact,
    planner::Snapshot,
    scheduling::{AdmissionRefusal, ComingPods, SchedulingObjects},
};

impl<'a> Snapshot<'a> {
    /// Returns the pods that the DaemonSet is about to create, as admission leaves them: those for nodes that should run one
    /// and have none that is up to date. Forecasts of other DaemonSets need to know of them:
    /// [`ClusterState::with_coming`](crate::scheduling::ClusterState::with_coming). `None` if there are none, or that is not
    /// known.
    ///
    /// ```
    /// use daemonplan::{Snapshot, model::{DaemonSet, Namespace, Node}};
    /// use daemonplan::scheduling::{ClusterState, SchedulingObjects};
    /// let daemonset = DaemonSet::new("prod", "agent", [("app", "agent")])?;
    /// let (nodes, namespace, objects) = ([Node::new("a")], Namespace::new("prod"), SchedulingObjects::default());
    /// let snapshot = Snapshot::new(&daemonset, &nodes, &[], &namespace);
    /// let coming = snapshot.coming_pods(&objects);
    /// assert!(coming.is_some());
    /// let state = ClusterState::new(&nodes, [], [], &objects).with_coming(coming);
    /// # Ok::<(), daemonplan::model::RequirementError>(())
    /// ```
    pub fn coming_pods(&self, objects: &SchedulingObjects) -> Option<ComingPods<'a>> {
        if self.missing().any(|fact| matches!(fact, MissingFact::Pods | MissingFact::Nodes)) {
            return None;
        }
        let (new, admitted) = self.admitted_pod(objects)?;
        if admitted.refusal.as_ref().is_some_and(AdmissionRefusal::is_lasting) {
            return None;
        }
        let nodes = self.coming_nodes();
        (!nodes.is_empty()).then(|| ComingPods::new(self.daemonset.key(), new, nodes))
    }

    /// Returns the nodes to which new pods come, each with the DaemonSet's pods there, which leave.
    pub(super) fn coming_nodes(&self) -> HashMap<Text, Vec<&'a Pod>> {
        let rules = self.placement_rules();
        let (labels, hash) = (RevisionLabels::new(self.daemonset, true), self.history().hash);
        let stays = |pod: &Pod| {
            let is_outdated = labels.compare(&pod.labels, &hash) == RevisionMatch::Outdated;
            pod.node.is_bound()
                && !pod.is_being_deleted()
                && (!is_outdated || self.daemonset.update_strategy == UpdateStrategy::OnDelete)
        };
        let wanted = self.nodes.iter().filter(|node| rules.verdict(node).should_run());
        let mut nodes: HashMap<_, _> = wanted.map(|node| (node.name.clone(), Vec::new())).collect();
        for pod in self.pods.iter().filter(|pod| !pod.is_terminal() && claim_pod(self.daemonset, pod).is_claimed()) {
            let Some(node) = pod.node.name() else { continue };
            if stays(pod) {
                nodes.remove(node);
            } else if let Some(leaving) = nodes.get_mut(node).filter(|_| pod.node.is_bound()) {
                leaving.push(pod);
            }
        }
        nodes
    }
}
