//! The pods that a DaemonSet is about to create.

use std::collections::HashMap;

use crate::{
    adoption::{
        claim::{claim_pod, controls_pod},
        revision_match::{RevisionLabels, RevisionMatch},
    },
    model::{Pod, Resource, Text, UpdateStrategy},
    placement::Verdict,
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
        let is_refused = admitted.refusal.as_ref().is_some_and(AdmissionRefusal::is_lasting);
        let Changing { mut coming, leaving } = self.changing();
        if is_refused {
            coming.clear();
        }
        let is_idle = coming.is_empty() && leaving.is_empty();
        (!is_idle).then(|| ComingPods::new(self.daemonset.key(), new, coming).leaving(leaving))
    }

    /// Returns the nodes to which new pods come, each with the DaemonSet's pods there, which leave.
    pub(super) fn coming_nodes(&self) -> HashMap<Text, Vec<&'a Pod>> {
        self.changing().coming
    }

    fn changing(&self) -> Changing<'a> {
        let rules = self.placement_rules();
        let (labels, hash) = (RevisionLabels::new(self.daemonset, true), self.history().hash);
        let is_going = self.daemonset.deleted.is_some();
        let stays = |pod: &Pod| {
            let is_outdated = labels.compare(&pod.labels, &hash) == RevisionMatch::Outdated;
            pod.node.is_bound()
                && !pod.is_being_deleted()
                && (!is_outdated || self.daemonset.update_strategy == UpdateStrategy::OnDelete)
        };
        let verdicts: HashMap<_, _> = self.nodes.iter().map(|node| (&node.name, rules.verdict(node))).collect();
        let wanted = verdicts.iter().filter(|(_, verdict)| verdict.should_run() && !is_going);
        let mut coming: HashMap<_, _> = wanted.map(|(node, _)| ((*node).clone(), Vec::new())).collect();
        let mut leaving = HashMap::<_, Vec<_>>::new();
        // A DaemonSet that is being deleted claims none any more, and its own are deleted with it.
        let is_own =
            |pod: &Pod| claim_pod(self.daemonset, pod).is_claimed() || is_going && controls_pod(self.daemonset, pod);
        for pod in self.pods.iter().filter(|pod| !pod.is_terminal() && is_own(pod)) {
            let Some((node, verdict)) = pod.node.name().and_then(|node| verdicts.get_key_value(node)) else { continue };
            let is_wanted = *verdict == Verdict::Run && !is_going;
            let may_stay = *verdict != Verdict::Refuse && !is_going && !pod.is_being_deleted();
            if is_wanted && !stays(pod) {
                coming.get_mut(*node).filter(|_| pod.node.is_bound()).into_iter().for_each(|leave| leave.push(pod));
            } else if is_wanted && coming.remove(*node).is_some() || *verdict == Verdict::Keep && may_stay {
                // Of several pods that are up to date one stays.
            } else if pod.node.is_bound() {
                leaving.entry((*node).clone()).or_default().push(pod);
            }
        }
        Changing { coming, leaving }
    }
}

/// The nodes to which new pods come, with those that leave for them; and the pods that leave other nodes.
struct Changing<'a> {
    coming: HashMap<Text, Vec<&'a Pod>>,
    leaving: HashMap<Text, Vec<&'a Pod>>,
}
