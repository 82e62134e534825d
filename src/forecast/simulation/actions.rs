//! Carries the actions of plans out in a simulation.

use super::{NodeStep, SimEvent, Simulation};
use crate::{
    forecast::{
        StuckCause,
        assumptions::Assumptions,
        simulated_node::{SimulatedNode, SimulatedPod},
    },
    history::rollback,
    model::{ControllerRef, ControllerRevision, DaemonSet, HASH_LABEL, ObjectRef, Pod, PodNode, Text},
    plan::{Action, CreateReason, DeleteReason},
    policy::{RolloutPhase, RolloutRecord},
};

impl Simulation<'_> {
    pub(super) fn carry_out(&mut self, action: Action) {
        match action {
            Action::AdoptPod { pod, .. } => {
                let owner = self.owner().into();
                self.edit(&pod.name, |pod| pod.controller = Some(owner));
            }
            Action::ReleasePod { pod, .. } => {
                self.edit(&pod.name, |pod| pod.controller = None);
                let on = |simulated: &SimulatedNode| simulated.pods.iter().any(|daemon| daemon.name == pod.name);
                if let Some(node) = self.nodes.iter().find(|(_, simulated)| on(simulated)).map(|(node, _)| node.clone())
                {
                    self.change(&node, |simulated| simulated.remove_pod(&pod.name));
                }
            }
            Action::RelabelPod { pod, hash } => {
                self.edit(&pod.name, |pod| pod.labels = pod.labels.with(HASH_LABEL, hash));
            }
            Action::RollBack { revision, annotation, record, withdrawn, .. } => {
                self.roll_backs += 1;
                let daemonset = self.cluster.daemonset(&self.key);
                if let Some(Ok(mut before)) = daemonset.map(|daemonset| rollback(daemonset, &revision)) {
                    if let Some(annotation) = withdrawn {
                        before.annotations = before.annotations.without(&annotation);
                    }
                    self.cluster.apply(before);
                    self.annotate(annotation, &record);
                }
            }
            Action::RecordRollout { annotation, record, .. } => self.annotate(annotation, &record),
            Action::CreatePod { node, blueprint, reason } => {
                self.created_pods += 1;
                let name = Text::from(format!("{}-forecast-{}", self.daemonset.name, self.created_pods));
                let mut pod = blueprint.pod(node.clone(), name.clone());
                pod.uid = name;
                self.create(&node, pod, reason);
            }
            Action::DeletePod { pod, node: Some(node), reason } => self.delete(&node, &pod.name, reason),
            Action::DeletePod { pod, node: None, .. } => self.cluster.delete::<Pod>(self.key_of(&pod.name)),
            Action::CreateRevision { revision } => {
                self.created_revisions += 1;
                self.cluster.apply(*revision);
            }
            Action::DeleteRevision { revision, .. } => {
                self.cluster.delete::<ControllerRevision>(&revision);
            }
            Action::AdoptRevision { revision, .. } => {
                let owner = self.owner().into();
                self.edit_revision(&revision, |revision| revision.controller = Some(owner));
            }
            Action::ReleaseRevision { revision, .. } => {
                self.edit_revision(&revision, |revision| revision.controller = None);
            }
            Action::UpdateRevision { revision, number, hash, .. } => self.edit_revision(&revision, |revision| {
                revision.revision = number;
                revision.labels = revision.labels.with(HASH_LABEL, hash);
            }),
            Action::UpdateStatus { .. } => {}
        }
    }

    fn annotate(&mut self, annotation: Text, record: &RolloutRecord) {
        if let Some(mut daemonset) = self.cluster.daemonset(&self.key).cloned() {
            daemonset.annotations = daemonset.annotations.with(annotation, record.to_string());
            self.cluster.apply(daemonset);
        }
    }

    fn create(&mut self, node: &Text, mut pod: Pod, reason: CreateReason) {
        pod.created = Some(self.now);
        let name = pod.name.clone();
        let is_new = reason != CreateReason::HeldBack;
        let waits_for = self.fits.take_room(node, is_new).or_else(|| self.wait(node, &name).filter(|_| is_new));
        let displaces = waits_for == Some(StuckCause::WaitsForOthers);
        // One that is not created takes no place.
        if !matches!(waits_for, Some(StuckCause::NotCreated { .. })) {
            self.filled.insert(node.clone());
        }
        let place = if waits_for.is_none() { PodNode::Bound } else { PodNode::Intended };
        pod.node = place(node.clone());
        self.cluster.apply(pod);
        self.open_step(node, reason.is_update());
        let Assumptions { seed, failure_rate, .. } = *self.assumptions;
        // The older template is known to work.
        let may_fail = is_new && !self.was_rolled_back();
        let fails = may_fail
            && self.nodes.get_mut(node).is_some_and(|simulated| simulated.draw(seed, node).rand_float() < failure_rate);
        if waits_for.is_none() {
            self.schedule_start(node, &name, fails);
        }
        self.change(node, |simulated| {
            simulated.creation = Some(reason);
            let (is_available, is_being_deleted) = (false, false);
            simulated.pods.push(SimulatedPod { name, is_new, is_available, is_being_deleted, fails, waits_for });
        });
        if displaces {
            self.displace(node);
            self.change(node, |simulated| {
                simulated.deletion.get_or_insert(DeleteReason::Outdated);
            });
        }
    }

    /// Lets the running pods of a node stop: the scheduler gives their place to one of higher priority.
    pub(super) fn displace(&mut self, node: &Text) {
        let pods = self.nodes.get(node).into_iter().flat_map(|simulated| &simulated.pods);
        let running = pods.filter(|pod| pod.waits_for.is_none() && !pod.is_being_deleted);
        for name in running.map(|pod| pod.name.clone()).collect::<Vec<_>>() {
            self.stop(node, &name);
            self.change(node, |simulated| simulated.begin_deletion(&name));
        }
    }

    /// Begins the deletion of a running pod.
    fn stop(&mut self, node: &Text, name: &Text) {
        let now = self.now;
        self.edit(name, |pod| pod.deleted = Some(now));
        self.schedule_stop(node, name);
    }

    fn delete(&mut self, node: &Text, name: &Text, reason: DeleteReason) {
        let known = self.cluster.pod(&self.key_of(name));
        let is_running = known.is_some_and(|pod| pod.node.is_bound() && !pod.is_terminal());
        self.open_step(node, reason.is_update());
        if is_running {
            self.stop(node, name);
        }
        self.change(node, |simulated| {
            simulated.deletion = Some(reason);
            simulated.begin_deletion(name);
        });
        if !is_running {
            // A pod that does not run is deleted at once.
            self.doubt_finalizers(name);
            self.process(SimEvent::Gone(node.clone(), name.clone()));
        }
    }

    /// Opens a step for a node that has none.
    fn open_step(&mut self, node: &Text, is_update: bool) {
        let (index, begins) = (self.steps.len(), self.elapsed());
        let group = match self.rollout.as_ref().map(|rollout| &rollout.phase).filter(|_| is_update) {
            Some(RolloutPhase::CanaryStarting { .. }) => Some("canaries".into()),
            Some(RolloutPhase::Rolling { group }) => group.clone(),
            _ => None,
        };
        if let Some(simulated) = self.nodes.get_mut(node).filter(|simulated| simulated.step.is_none()) {
            simulated.step = Some(index);
            self.steps.push(NodeStep { node: node.clone(), is_update, group, begins, ends: None });
        }
    }

    pub(super) fn edit(&mut self, name: &Text, edit: impl FnOnce(&mut Pod)) {
        if let Some(mut pod) = self.cluster.pod(&self.key_of(name)).cloned() {
            edit(&mut pod);
            self.cluster.apply(pod);
        }
    }

    fn edit_revision(&mut self, revision: &ObjectRef, edit: impl FnOnce(&mut ControllerRevision)) {
        if let Some(mut revision) = self.cluster.revision(&self.key_of(&revision.name)).cloned() {
            edit(&mut revision);
            self.cluster.apply(revision);
        }
    }

    fn owner(&self) -> ControllerRef {
        let DaemonSet { name, uid, .. } = self.daemonset;
        ControllerRef { kind: "DaemonSet".into(), name: name.clone(), uid: uid.clone() }
    }
}
