//! The pods that a DaemonSet is about to create.

use std::collections::HashMap;

use crate::{
    adoption::{
        claim::{claim_pod, controls_pod},
        revision_match::{RevisionLabels, RevisionMatch},
    },
    context::SyncMode,
    model::{Pod, Resource, Text, UpdateStrategy},
    placement::Verdict,
    plan::MissingFact,
    planner::Snapshot,
    policy::RolloutPolicy,
    scheduling::{AdmissionRefusal, Admitted, ComingPods, QuotaLedger, SchedulingObjects},
    settings::Settings,
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
        let new = self.admitted_pods(objects)?;
        let is_refused = new.map(|(_, admitted)| admitted.refusal.as_ref().is_some_and(AdmissionRefusal::is_lasting));
        let Changing { mut coming, waiting, leaving } = self.changing();
        for node in self.nodes.iter().filter(|node| *is_refused.on(node)) {
            coming.remove(&node.name);
        }
        let is_idle = coming.is_empty() && leaving.is_empty();
        (!is_idle).then(|| {
            let pods = new.map(|(pod, _)| pod.clone());
            let coming = ComingPods::new(self.daemonset.key(), pods, coming).waiting(waiting).leaving(leaving);
            let coming = coming.surging(self.daemonset.update_strategy.surges());
            let mut admitted = new.values().map(|(_, admitted)| admitted);
            coming.certain(admitted.all(|admitted| self.creates_for_certain(admitted, objects)))
        })
    }

    /// Whether nothing can keep the DaemonSet from creating its missing pods.
    fn creates_for_certain(&self, admitted: &Admitted, objects: &SchedulingObjects) -> bool {
        let default = Settings::default();
        let policy = self.settings.unwrap_or(&default).policy_of(self.daemonset);
        let is_limited = || QuotaLedger::new(self.admission(objects)).use_of(&admitted.spec).is_limited();
        SyncMode::of(self.daemonset, self.namespace) == SyncMode::Reconcile
            && policy == Ok(RolloutPolicy::default())
            && admitted.refusal.is_none()
            && admitted.unknown.is_empty()
            && !is_limited()
    }

    /// Returns the nodes to which new pods come, each with the DaemonSet's pods there, which leave.
    pub(super) fn coming_nodes(&self) -> HashMap<Text, Vec<&'a Pod>> {
        self.changing().coming
    }

    fn changing(&self) -> Changing<'a> {
        let rules = self.placement_rules();
        let (labels, hash) = (RevisionLabels::new(self.daemonset, true), self.history().hash);
        let is_going = self.daemonset.deleted.is_some();
        if is_going && self.daemonset.orphans_dependents() {
            return Changing::default();
        }
        let stays = |pod: &Pod| {
            let is_outdated = labels.compare(&pod.labels, &hash) == RevisionMatch::Outdated;
            !pod.is_being_deleted() && (!is_outdated || self.daemonset.update_strategy == UpdateStrategy::OnDelete)
        };
        // A DaemonSet that is being deleted claims none any more, and its own are deleted with it.
        let is_own =
            |pod: &Pod| claim_pod(self.daemonset, pod).is_claimed() || is_going && controls_pod(self.daemonset, pod);
        let mut own = HashMap::<_, Vec<_>>::new();
        for pod in self.pods.iter().filter(|pod| pod.node.name().is_some() && !pod.is_terminal() && is_own(pod)) {
            own.entry(pod.node.name()).or_default().push(pod);
        }
        let (mut coming, mut waiting, mut leaving) = (HashMap::new(), 0, HashMap::new());
        for node in self.nodes {
            let mut pods = own.remove(&Some(&node.name)).unwrap_or_default();
            let staying = pods.iter().position(|pod| pod.node.is_bound() && stays(pod));
            match rules.verdict(node) {
                Verdict::Run if !is_going && staying.is_none() => {
                    if let Some(known) = pods.iter().position(|pod| stays(pod)) {
                        pods.swap_remove(known);
                        waiting += 1;
                    }
                    coming.insert(node.name.clone(), pods);
                    continue;
                }
                // Of several pods that are up to date one stays.
                Verdict::Run if !is_going => drop(staying.map(|staying| pods.swap_remove(staying))),
                Verdict::Keep if !is_going => pods.retain(|pod| pod.is_being_deleted()),
                Verdict::Run | Verdict::Keep | Verdict::Refuse => {}
            }
            if !pods.is_empty() {
                leaving.insert(node.name.clone(), pods);
            }
        }
        Changing { coming, waiting, leaving }
    }
}

/// The nodes to which new pods come, with those that leave for them; and the pods that leave other nodes.
#[derive(Default)]
struct Changing<'a> {
    coming: HashMap<Text, Vec<&'a Pod>>,
    /// How many of the pods that come exist, and wait for their nodes.
    waiting: usize,
    leaving: HashMap<Text, Vec<&'a Pod>>,
}
