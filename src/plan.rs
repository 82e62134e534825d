//! The plan: what the cells come to, as actions and a status.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;

use crate::{
    Settings, Warning,
    action::{Action, ObjectRef},
    backoff::{Backoff, BackoffEntry, BackoffKey},
    event::Event,
    fold::Fold,
    gate::{Gate, OlderRevision},
    gc,
    history::History,
    member::PodIndex,
    model::{ControllerRevision, DaemonSet, DaemonSetStatus, HASH_LABEL, LabelSelector, Pod, Text},
    nodes::Nodes,
    ownership::Claim,
    placement::{Placement, PlacementRules},
    policy::{OnFailure, RolloutPhase, RolloutStatus},
    reason::{Creation, Deletion, Release},
    resolved::Policy,
    template::PodBlueprint,
    turns::{Steps, Wanted},
};

/// What a DaemonSet needs, and why.
///
/// ```
/// use daemonplan::{Plan, Snapshot, model::{DaemonSet, Namespace, Node}};
/// # let mut daemonset = DaemonSet::new("prod", "agent");
/// # daemonset.selector = serde_json::from_str(r#"{"matchLabels": {"app": "agent"}}"#)?;
/// # daemonset.template = serde_json::from_str(r#"{"metadata": {"labels": {"app": "agent"}}}"#)?;
/// # let namespace = Namespace::new("prod");
/// let nodes = [Node::new("node-7")];
/// let Plan { actions, status, warnings, .. } = Snapshot::new(&daemonset, &nodes, &[], &namespace).revisions(&[]).plan();
/// assert_eq!(actions[1].to_string(), "create pod on node-7: no pod is there");
/// assert_eq!((status.unwrap().desired_number_scheduled, warnings.len()), (1, 0));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct Plan<'a> {
    /// The hash label that up-to-date pods carry.
    pub hash: Text,
    /// What to do, in the order in which to do it: claims, revisions and relabelling, creations, deletions, clean-up,
    /// status. To stop after any of them and to plan again is safe.
    pub actions: Vec<Action>,
    /// The status before the actions take effect; `None` where none is to be written.
    pub status: Option<DaemonSetStatus>,
    /// Kubernetes Events to emit about the DaemonSet.
    pub events: Vec<Event>,
    /// When to plan again, even if nothing changes but the time.
    pub plan_again_after: Option<Duration>,
    /// Entries of the [`Backoff`] that change.
    pub backoff: Vec<(BackoffKey, BackoffEntry)>,
    /// What else somebody should know.
    pub warnings: Vec<Warning>,
    /// Where an update stands that keeps to a [`RolloutPolicy`](crate::RolloutPolicy); `None` without one.
    pub rollout: Option<RolloutStatus>,
    /// How many creations the burst limit holds back for a later plan.
    pub held_back_creations: usize,
    /// How many deletions the burst limit holds back for a later plan.
    pub held_back_deletions: usize,
    rules: Arc<PlacementRules>,
    nodes: Nodes<'a>,
}

/// What is to be done about a DaemonSet at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Course {
    /// Nothing: its selector is empty.
    LeaveAlone,
    /// What becomes of its objects, since it is being deleted.
    CollectDependents,
    /// To reconcile it.
    Reconcile,
}

/// What a plan is put together from, once the cells are folded.
pub(crate) struct Facts<'f> {
    pub(crate) daemonset: &'f DaemonSet,
    pub(crate) settings: &'f Settings,
    pub(crate) policy: &'f Policy,
    pub(crate) backoff: &'f Backoff,
    pub(crate) now: Option<Timestamp>,
    pub(crate) effects_observed: bool,
    pub(crate) history: &'f History,
    pub(crate) fold: &'f Fold,
}

/// The pods that the cells are about.
pub(crate) trait Pods {
    fn get(&self, index: PodIndex) -> Option<&Pod>;

    /// Adoptions and releases, by name.
    fn claims(&self) -> Vec<Action>;

    /// The DaemonSet's own, and those that it adopts.
    fn claimed(&self) -> impl Iterator<Item = &Pod>;

    /// Whether a claimed pod on some node carries this hash.
    fn carry(&self, hash: &str) -> bool {
        let mut on_nodes = self.claimed().filter(|pod| pod.node.name().is_some());
        on_nodes.any(|pod| pod.labels.get(HASH_LABEL) == Some(hash))
    }
}

impl Course {
    pub(crate) fn of(daemonset: &DaemonSet) -> Self {
        match &daemonset.selector {
            Some(selector) if selector.is_empty() => Self::LeaveAlone,
            _ if daemonset.is_being_deleted() => Self::CollectDependents,
            _ => Self::Reconcile,
        }
    }
}

impl<'a> Plan<'a> {
    /// A plan that asks for nothing.
    pub(crate) fn new(
        daemonset: &DaemonSet,
        hash: Text,
        nodes: Nodes<'a>,
        rules: Arc<PlacementRules>,
        mut warnings: Vec<Warning>,
    ) -> Self {
        let mut events = Vec::new();
        if daemonset.selector.is_none() {
            warnings.push(Warning::SelectsNoPods);
        }
        if daemonset.selector.as_ref().is_some_and(LabelSelector::is_empty) {
            warnings.push(Warning::SelectsAllPods);
            events.push(Event::selects_all_pods());
        }
        Self {
            hash,
            actions: Vec::new(),
            status: None,
            events,
            plan_again_after: None,
            backoff: Vec::new(),
            warnings,
            rollout: None,
            held_back_creations: 0,
            held_back_deletions: 0,
            rules,
            nodes,
        }
    }

    /// The decision for every node, by name.
    pub fn placements(&self) -> impl Iterator<Item = Placement> {
        let mut nodes = self.nodes.all();
        nodes.sort_unstable_by_key(|node| &node.name);
        nodes.into_iter().map(|node| self.rules.placement(node))
    }

    /// The decision for one node; `None` if there is none of this name.
    pub fn placement(&self, node: &str) -> Option<Placement> {
        self.nodes.get(node).map(|node| self.rules.placement(node))
    }

    /// Asks for what becomes of the objects of a DaemonSet that is being deleted.
    pub(crate) fn collect_dependents<'p>(
        &mut self,
        daemonset: &DaemonSet,
        pods: impl Iterator<Item = &'p Pod>,
        revisions: impl Iterator<Item = &'p ControllerRevision>,
        effects_observed: bool,
        burst: usize,
    ) {
        let mut pods = gc::dependent_pods(daemonset, pods);
        let mut revisions = gc::dependent_revisions(daemonset, revisions);
        if !daemonset.orphans_dependents() {
            if !effects_observed {
                return;
            }
            self.held_back_deletions = pods.len().saturating_sub(burst);
            pods.truncate(burst);
        }
        self.actions.append(&mut pods);
        self.actions.append(&mut revisions);
    }

    /// Asks for what the DaemonSet needs.
    pub(crate) fn reconcile(&mut self, facts: &Facts<'_>, pods: &impl Pods) {
        let Facts { daemonset, policy, history, fold, now, effects_observed, .. } = *facts;
        if !history.is_given() {
            self.warnings.push(Warning::HistoryNotGiven);
        }
        self.actions = pods.claims();
        self.actions.extend(history.claims.iter().cloned());
        self.actions.extend(history.changes.iter().cloned());
        if history.has_duplicates() {
            self.actions.extend(relabel(pods.claimed(), &history.hash));
        }
        let mut gate = fold.gate(policy, &history.hash, now);
        self.plan_again_after = fold.plan_again_after(daemonset, &gate, now, effects_observed);
        if effects_observed {
            self.go_on(facts, &mut gate, pods);
        }
        self.rollout = policy.guides_updates.then(|| fold.rollout_status(gate.phase));
        self.actions.extend(history.delete_duplicates());
        if effects_observed {
            self.actions.extend(history.delete_beyond(daemonset.revision_history_limit, |hash| pods.carry(hash)));
        }
        let status = fold.status(daemonset, history.collision_count, effects_observed);
        if status_changed(&daemonset.status, &status) {
            self.actions.push(Action::UpdateStatus { status: status.clone() });
        }
        self.status = Some(status);
    }

    /// Asks for the template to be rolled back, if a policy says so, or else for pods to be created and deleted.
    fn go_on(&mut self, facts: &Facts<'_>, gate: &mut Gate, pods: &impl Pods) {
        let Facts { daemonset, policy, history, fold, .. } = *facts;
        let older = if gate.is_open() { None } else { fold.older_revision(history) };
        let rolls_back = policy.rollout.failure.is_some_and(|failure| failure.then == OnFailure::RollBack);
        match (&gate.phase, older) {
            (RolloutPhase::Failing { nodes }, Some(older)) if rolls_back && older.is_good => {
                self.actions.push(Action::RollBack {
                    daemonset: ObjectRef::from(daemonset),
                    generation: daemonset.generation,
                    revision: Box::new(older.revision.clone()),
                    failing: nodes.clone(),
                });
                self.events.push(Event::rolled_back(older.revision, nodes));
                gate.phase = RolloutPhase::RollingBack { nodes: nodes.clone() };
            }
            (_, older) => self.carry_out(facts, gate, older.as_ref(), pods),
        }
    }

    /// Turns what the cells ask for, or else what the update asks for, into actions within the burst limit.
    fn carry_out(&mut self, facts: &Facts<'_>, gate: &Gate, older: Option<&OlderRevision<'_>>, pods: &impl Pods) {
        let Facts { daemonset, settings: Settings { burst, .. }, policy, .. } = *facts;
        let steps = facts.fold.steps(daemonset.update_strategy, &policy.rollout, gate, older.is_some(), *burst);
        let Steps { mut create, delete } = steps;
        create.first.sort_unstable_by_key(|(node, _)| *node);
        self.held_back_creations = create.take(*burst);
        if !create.first.is_empty() {
            let current = PodBlueprint::new(daemonset, &daemonset.template, &self.hash);
            let older = older.map(|older| PodBlueprint::new(daemonset, &older.template, &older.hash));
            self.actions.extend(create.first.into_iter().map(|(node, reason)| Action::CreatePod {
                node: node.clone(),
                blueprint: older.as_ref().filter(|_| reason == Creation::HeldBack).unwrap_or(&current).clone(),
                reason,
            }));
        }
        let Wanted { first, count } = delete;
        let found = first.into_iter().filter_map(|(index, reason)| Some((pods.get(index)?, reason)));
        let mut delete = Wanted { first: found.collect(), count };
        delete.first.sort_by_key(|(pod, _)| (pod.node.name(), &pod.name));
        self.held_back_deletions = delete.take(*burst);
        for (pod, reason) in delete.first {
            self.delete(pod, reason, facts);
        }
    }

    fn delete(&mut self, pod: &Pod, reason: Deletion, facts: &Facts<'_>) {
        let node = pod.node.name().cloned();
        match (&reason, &node) {
            (Deletion::Succeeded, Some(node)) => self.events.push(Event::succeeded_pod(pod, node)),
            (Deletion::Failed, Some(node)) => {
                self.events.push(Event::failed_pod(pod, node));
                let key = facts.policy.backoff_key(facts.daemonset, node, pod);
                self.backoff.extend(facts.now.map(|now| (key.clone(), facts.backoff.next(&key, now))));
            }
            _ => {}
        }
        self.actions.push(Action::DeletePod { pod: ObjectRef::from(pod), node, reason });
    }
}

/// What a claim of a pod asks for.
pub(crate) fn claim_action(claim: Claim, pod: &Pod) -> Option<Action> {
    match claim {
        Claim::Adopt => Some(Action::AdoptPod { pod: ObjectRef::from(pod) }),
        Claim::Release => Some(Action::ReleasePod { pod: ObjectRef::from(pod), reason: Release::LabelsDoNotMatch }),
        Claim::Owned | Claim::Ignore => None,
    }
}

fn relabel<'p>(claimed: impl Iterator<Item = &'p Pod>, hash: &Text) -> Vec<Action> {
    let others = claimed.filter(|pod| pod.labels.get(HASH_LABEL) != Some(hash));
    let mut actions: Vec<_> =
        others.map(|pod| Action::RelabelPod { pod: ObjectRef::from(pod), hash: hash.clone() }).collect();
    actions.sort_by(|a, b| a.object().cmp(&b.object()));
    actions
}

/// Whether the status must be written. An observed generation that is ahead is no reason to.
fn status_changed(before: &DaemonSetStatus, status: &DaemonSetStatus) -> bool {
    let observed_generation = before.observed_generation.max(status.observed_generation);
    *before != DaemonSetStatus { observed_generation, ..status.clone() }
}
