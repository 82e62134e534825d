//! Puts a plan together from the totals over all nodes: claims, revisions, pods, clean-up, status.

use std::collections::HashSet;

use super::{condition::conditions, totals::Totals};
use crate::{
    adoption::RevisionStep,
    affinity::PodBlueprint,
    context::{DaemonSetContext, Direction},
    gc,
    model::{ControllerRevision, DaemonSet, DaemonSetStatus, HASH_LABEL, Node, ObjectRef, Pod, Text},
    node::claimed_pod::PodIndex,
    plan::{Action, CreateReason, DeleteReason, Event, Plan, RecordReason, Warning},
    policy::{
        BakedCanaries, FailedTemplate, NoRollBack, OnFailure, RECORD, RolloutPhase, RolloutRecord,
        annotations::CANARY_APPROVED,
    },
    rollout::{
        older::{OlderRevision, OlderRevisions},
        phase::RolloutGate,
        steps::{Limited, UpdateSteps},
    },
};

/// The nodes and pods that the totals refer to.
pub(crate) trait ClusterSource {
    fn get(&self, index: PodIndex) -> Option<&Pod>;

    /// A node of the cluster.
    fn node(&self, name: &Text) -> Option<&Node>;

    /// Adoptions and releases, by name.
    fn claims(&self) -> Vec<Action>;

    /// The pods that the DaemonSet owns or adopts.
    fn claimed(&self) -> impl Iterator<Item = &Pod>;

    /// Whether a claimed pod on any node has this hash.
    fn uses_hash(&self, hash: &str) -> bool {
        let mut on_nodes = self.claimed().filter(|pod| pod.node.name().is_some());
        on_nodes.any(|pod| pod.labels.get(HASH_LABEL) == Some(hash))
    }
}

/// The plan for a DaemonSet that is reconciled. `warnings` are those about its input.
pub(crate) fn reconcile(
    context: &DaemonSetContext<'_>,
    totals: &Totals,
    pods: &impl ClusterSource,
    warnings: Vec<Warning>,
) -> Plan {
    let plan = Plan::new(context.daemonset, context.hash().clone(), warnings);
    let mut reconciler = Reconciler { context, totals, pods, gate: totals.gate(context), plan };
    reconciler.add_claims();
    reconciler.add_revisions();
    reconciler.add_pods();
    reconciler.add_relabel_warning();
    reconciler.add_cleanup();
    reconciler.add_status();
    reconciler.add_clock_warning();
    reconciler.plan
}

/// Adds the actions for the dependents of a DaemonSet that is being deleted: they are deleted or orphaned.
pub(crate) fn collect_dependents<'p>(
    plan: &mut Plan,
    daemonset: &DaemonSet,
    pods: impl Iterator<Item = &'p Pod>,
    revisions: impl Iterator<Item = &'p ControllerRevision>,
    expectations_satisfied: bool,
    burst: usize,
) {
    let mut pods = gc::dependent_pods(daemonset, pods);
    let mut revisions = gc::dependent_revisions(daemonset, revisions);
    if !daemonset.orphans_dependents() {
        if !expectations_satisfied {
            return;
        }
        plan.held_back.deletions = pods.len().saturating_sub(burst);
        pods.truncate(burst);
    }
    plan.actions.append(&mut pods);
    plan.actions.append(&mut revisions);
}

struct Reconciler<'r, P> {
    context: &'r DaemonSetContext<'r>,
    totals: &'r Totals,
    pods: &'r P,
    gate: RolloutGate,
    plan: Plan,
}

impl<P: ClusterSource> Reconciler<'_, P> {
    fn add_claims(&mut self) {
        let history = &self.context.rules.history;
        self.plan.actions = self.pods.claims();
        self.add_steps_of_history(history.claims.iter().cloned());
    }

    fn add_steps_of_history(&mut self, steps: impl IntoIterator<Item = RevisionStep>) {
        let daemonset = self.context.daemonset;
        self.plan.actions.extend(steps.into_iter().map(|step| Action::of_step(step, daemonset)));
    }

    fn add_revisions(&mut self) {
        let history = &self.context.rules.history;
        if !history.is_given() {
            self.plan.warnings.push(Warning::HistoryNotGiven);
        }
        self.plan.warnings.extend(Warning::of_history(history, self.context.daemonset));
        self.add_steps_of_history(history.changes.iter().cloned());
        if history.has_duplicates() {
            self.plan.actions.extend(relabel(self.pods.claimed(), &history.hash));
        }
    }

    /// Warns of pods of another template that are relabelled and stay.
    fn add_relabel_warning(&mut self) {
        let history = &self.context.rules.history;
        if !history.has_duplicates() {
            return;
        }
        let deleted = self.plan.actions.iter().filter_map(|action| match action {
            Action::DeletePod { pod, .. } => Some(&pod.name),
            _ => None,
        });
        let deleted: HashSet<_> = deleted.collect();
        let is_other = |pod: &&Pod| !history.equals_template(pod.labels.get(HASH_LABEL).unwrap_or_default());
        let stays = |pod: &&Pod| !deleted.contains(&pod.name);
        let pods = self.pods.claimed().filter(is_other).filter(stays);
        let mut pods: Vec<_> = pods.map(|pod| pod.name.clone()).collect();
        if !pods.is_empty() {
            pods.sort_unstable();
            self.plan.warnings.push(Warning::RelabelsOtherTemplate { pods });
        }
    }

    /// Adds the roll-back of the template if the policy asks for it, or else creations and deletions of pods.
    fn add_pods(&mut self) {
        self.plan.requeue_after = self.totals.requeue_after(self.context, &self.gate);
        if self.context.expectations_satisfied {
            let older = self.totals.older_revisions(self.context);
            let restored = self.to_restore(&older);
            if let Ok(Some(restored)) = restored {
                self.roll_back(&restored);
            } else {
                if let RolloutPhase::Failing { no_roll_back, .. } = &mut self.gate.phase {
                    *no_roll_back = restored.err();
                }
                let kept = if self.gate.is_open() { None } else { older.to_keep(self.gate.is_failing()) };
                let steps = self.totals.steps(self.context, &self.gate, kept.is_some());
                if self.context.rules.policy.guides_updates && self.context.rules.policy.record_is_known {
                    self.add_outcome(&self.totals.broken_before(&steps, self.context), older.guess().is_some());
                }
                self.add_steps(steps, kept.as_ref());
            }
        }
        let guides_updates = self.context.rules.policy.guides_updates;
        self.plan.rollout = guides_updates.then(|| self.totals.rollout_status(self.context, &self.gate));
    }

    /// What earlier updates have come to, without what no longer matters.
    fn record(&self) -> RolloutRecord {
        let DaemonSetContext { rules, .. } = *self.context;
        let mut record = rules.policy.record.clone();
        let history = &rules.history;
        let is_known = |hash: &Text| history.hash == *hash || history.old().any(|(_, old)| old == *hash);
        record.failed.retain(|failed| is_known(&failed.hash));
        record.returns_to.take_if(|hash| history.hash != *hash);
        record.replaced.take_if(|replaced| replaced.hash != history.hash);
        record.baked.take_if(|baked| baked.hash != history.hash);
        record
    }

    fn add_cleanup(&mut self) {
        let DaemonSetContext { daemonset, rules, expectations_satisfied, .. } = *self.context;
        let history = &rules.history;
        self.add_steps_of_history(history.delete_duplicates());
        if expectations_satisfied {
            let limit = daemonset.revision_history_limit;
            let unused: Vec<_> = history.delete_beyond(limit, |hash| self.pods.uses_hash(hash)).collect();
            self.add_steps_of_history(unused);
        }
    }

    fn add_status(&mut self) {
        let daemonset = self.context.daemonset;
        let phase = self.plan.rollout.as_ref().map(|rollout| &rollout.phase);
        let conditions = conditions(&daemonset.status.conditions, phase, self.context.now);
        self.plan.status = self.totals.status(self.context, conditions);
        if let Some(status) = self.plan.status.as_ref().filter(|status| has_changed(&daemonset.status, status)) {
            let (daemonset, status) = (ObjectRef::from(daemonset), status.clone());
            self.plan.actions.push(Action::UpdateStatus { daemonset, status });
        }
    }

    /// Warns of a missing clock if the plan depends on the time.
    fn add_clock_warning(&mut self) {
        let fails = |action: &Action| matches!(action, Action::DeletePod { reason: DeleteReason::Failed, .. });
        let depends = || {
            let guides_updates = self.context.rules.policy.guides_updates;
            let waits = self.totals.has_unknown() || self.totals.has_waits();
            guides_updates || waits || self.plan.actions.iter().any(fails)
        };
        if self.context.now.is_none() && depends() {
            self.plan.warnings.push(Warning::ClockNotGiven);
        }
    }

    /// The template that the policy asks to restore, if it does. A template is rolled back once, and not if an operator went back
    /// to it.
    fn to_restore<'o>(&self, older: &OlderRevisions<'o>) -> Result<Option<OlderRevision<'o>>, NoRollBack> {
        let rules = self.context.rules;
        let asks = rules.policy.rollout.failure.is_some_and(|failure| failure.then == OnFailure::RollBack);
        if !asks || !rules.policy.record_is_known || !matches!(self.gate.phase, RolloutPhase::Failing { .. }) {
            return Ok(None);
        }
        let known = rules.policy.record.failure_of(self.context.hash());
        if known.is_some_and(|known| known.restored.is_some()) {
            return Err(NoRollBack::RolledBackBefore);
        }
        if rules.history.is_restored() {
            return Err(NoRollBack::Undone);
        }
        older.to_restore().map(Some).ok_or(NoRollBack::NoOlderTemplate)
    }

    /// The present failure of the new template.
    fn failure(&self) -> FailedTemplate {
        let hash = self.context.hash().clone();
        let known = self.context.rules.policy.record.failure_of(&hash);
        let (nodes, reason) = match &self.gate.phase {
            RolloutPhase::Failing { nodes, reason, .. } => (nodes.clone(), reason.clone()),
            _ => Default::default(),
        };
        FailedTemplate {
            hash,
            // The time of the roll-back tells which pods are older.
            at: known.filter(|known| known.restored.is_some()).map_or(self.context.now, |known| known.at),
            reason,
            nodes,
            restored: known.and_then(|known| known.restored.clone()),
            is_paused: false,
        }
    }

    /// The annotation that approves the current template.
    fn approval(&self) -> Option<Text> {
        let DaemonSetContext { settings, rules, .. } = *self.context;
        let approved = rules.policy.rollout.canary.as_ref()?.approved.as_ref()?;
        (approved.hash == *self.context.hash()).then(|| settings.policy_annotation(CANARY_APPROVED))
    }

    fn roll_back(&mut self, older: &OlderRevision<'_>) {
        let RolloutPhase::Failing { nodes, reason, .. } = self.gate.phase.clone() else { return };
        let daemonset = self.context.daemonset;
        let mut record = self.record();
        record.add_failure(FailedTemplate { restored: Some(older.hash.clone()), ..self.failure() });
        self.plan.actions.push(Action::RollBack {
            daemonset: ObjectRef::from(daemonset),
            generation: daemonset.generation,
            revision: Box::new(older.revision.clone()),
            failing: nodes.clone(),
            annotation: self.context.settings.policy_annotation(RECORD),
            record: Box::new(record),
            withdrawn: self.approval(),
        });
        self.plan.events.push(Event::rolled_back(older.revision, &nodes));
        self.gate.phase = RolloutPhase::RollingBack { nodes, reason };
    }

    /// Records a failure that pauses the update, an update that is done, the way back, and nodes whose broken pods are
    /// replaced. `has_older` says that another template is known that has not failed.
    fn add_outcome(&mut self, replaced: &[Text], has_older: bool) {
        let hash = self.context.hash();
        let before = self.record();
        let mut record = before.clone();
        let mut reason = None;
        if !replaced.is_empty() {
            record.replaced.get_or_insert_default().add(hash, replaced);
            reason = Some(RecordReason::BrokenPods { nodes: replaced.to_vec() });
        }
        if self.gate.baked > record.baked_for(hash) {
            let steps = self.gate.baked;
            record.baked = Some(BakedCanaries { hash: hash.clone(), steps });
            reason = Some(RecordReason::CanariesBaked { hash: hash.clone(), steps });
        }
        if self.context.rules.direction == Direction::Undo && record.returns_to.as_ref() != Some(hash) {
            record.returns_to = Some(hash.clone());
            // The operator has left what was done.
            record.done.take_if(|done| done != hash);
            reason = Some(RecordReason::Undone { hash: hash.clone() });
        }
        if self.gate.ends {
            record.failed.retain(|failed| failed.hash != *hash);
            record.done = Some(hash.clone());
            reason = Some(RecordReason::Done { hash: hash.clone() });
        }
        let is_failing = matches!(self.gate.phase, RolloutPhase::Failing { is_paused: false, .. });
        // Where no other template is known, there is nothing to pause.
        if is_failing && (self.totals.is_outdated() || has_older) {
            let failure = self.failure();
            reason = Some(RecordReason::Paused { hash: hash.clone(), reason: failure.reason.clone() });
            record.add_failure(FailedTemplate { is_paused: true, ..failure });
        }
        // What no longer matters alone is no reason to write.
        if let Some(reason) = reason.filter(|_| record != before) {
            let DaemonSetContext { daemonset, settings, .. } = *self.context;
            let (daemonset, annotation) = (ObjectRef::from(daemonset), settings.policy_annotation(RECORD));
            self.plan.actions.push(Action::RecordRollout { daemonset, annotation, record: Box::new(record), reason });
        }
    }

    /// Turns the next steps into actions, within the burst limit.
    fn add_steps(&mut self, steps: UpdateSteps<'_>, older: Option<&OlderRevision<'_>>) {
        let DaemonSetContext { daemonset, settings, .. } = *self.context;
        let UpdateSteps { mut create, delete, .. } = steps;
        create.first.sort_unstable_by_key(|(node, _)| *node);
        self.plan.held_back.creations = create.take(settings.burst);
        if !create.first.is_empty() {
            let pods = self.pods;
            let nodes = create.first.iter().filter_map(|(node, _)| pods.node(node));
            let resources = settings.resources_for(daemonset, nodes);
            let of = |template, hash| PodBlueprint::new(daemonset, template, hash).on_nodes(resources.iter().copied());
            let current = of(&daemonset.template, &self.plan.hash);
            let older = older.map(|older| of(&older.template, &older.hash));
            self.plan.actions.extend(create.first.into_iter().map(|(node, reason)| {
                let blueprints = older.as_ref().filter(|_| reason == CreateReason::HeldBack).unwrap_or(&current);
                let special = if blueprints.is_uniform() { None } else { pods.node(node) };
                Action::CreatePod { node: node.clone(), blueprint: blueprints.on_known(special).clone(), reason }
            }));
        }
        let Limited { first, count } = delete;
        let found = first.into_iter().filter_map(|(index, reason)| Some((self.pods.get(index)?, reason)));
        let mut delete = Limited { first: found.collect(), count };
        delete.first.sort_by_key(|(pod, _)| (pod.node.name(), &pod.name));
        self.plan.held_back.deletions = delete.take(settings.burst);
        for (pod, reason) in delete.first {
            self.delete(pod, reason);
        }
    }

    fn delete(&mut self, pod: &Pod, reason: DeleteReason) {
        let node = pod.node.name().cloned();
        match (&reason, &node) {
            (DeleteReason::Succeeded, Some(node)) => self.plan.events.push(Event::succeeded_pod(pod, node)),
            (DeleteReason::Failed, Some(node)) => {
                self.plan.events.push(Event::failed_pod(pod, node));
                let DaemonSetContext { backoff, now, .. } = *self.context;
                let key = self.context.backoff_key(node, pod);
                self.plan.backoff.extend(now.map(|now| (key.clone(), backoff.next(&key, now))));
            }
            _ => {}
        }
        self.plan.actions.push(Action::DeletePod { pod: ObjectRef::from(pod), node, reason });
    }
}

/// Gives the pods of duplicate revisions the hash of the current one.
fn relabel<'p>(claimed: impl Iterator<Item = &'p Pod>, hash: &Text) -> Vec<Action> {
    let others = claimed.filter(|pod| pod.labels.get(HASH_LABEL) != Some(hash));
    let mut actions: Vec<_> =
        others.map(|pod| Action::RelabelPod { pod: ObjectRef::from(pod), hash: hash.clone() }).collect();
    actions.sort_by(|a, b| a.object().cmp(&b.object()));
    actions.dedup();
    actions
}

/// Whether the status must be updated. An observed generation ahead of the new one needs no update.
fn has_changed(before: &DaemonSetStatus, status: &DaemonSetStatus) -> bool {
    before.observed_generation < status.observed_generation || !before.is_alike(status)
}
