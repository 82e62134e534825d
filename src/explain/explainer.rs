//! Explains single nodes.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use super::{Blocker, BlockerCause, NodeExplanation, NodeFailures, NodeRollout, PodExplanation, PodRevision};
use crate::{
    adoption::{
        claim::{controls_pod, controls_revision},
        ports::shared_port,
    },
    backoff::BackoffEntry,
    context::{DaemonSetContext, SyncMode},
    model::{HASH_LABEL, Node, Taint, Text},
    node::{
        claimed_pod::{ClaimedPod, is_counted},
        decision::NodeUpdateState,
        pod_state::PodState,
    },
    plan::{Action, CreateReason, DeleteReason, MissingFact, MissingFacts, Plan},
    planner::{Snapshot, claimed_pods::NodeView},
};

/// Explains single nodes, given the context and the plan.
pub(super) struct Explainer<'e> {
    context: &'e DaemonSetContext<'e>,
    missing: MissingFacts,
    mode: SyncMode,
    creations: HashMap<&'e Text, CreateReason>,
    deletions: HashMap<&'e Text, &'e DeleteReason>,
    /// The numbers of revisions, by hash.
    numbers: HashMap<&'e str, i64>,
    /// The pods that have ended and are being deleted, by node.
    ended: HashMap<&'e Text, Vec<Text>>,
    /// The nodes on which pods neither start nor stop: the kubelet is silent.
    stopped: HashSet<&'e Text>,
}

impl<'e> Explainer<'e> {
    pub(super) fn new(
        context: &'e DaemonSetContext<'e>,
        snapshot: &Snapshot<'e>,
        plan: &'e Plan,
        mode: SyncMode,
    ) -> Self {
        let (mut creations, mut deletions) = (HashMap::new(), HashMap::new());
        for action in &plan.actions {
            match action {
                Action::CreatePod { node, reason, .. } => drop(creations.insert(node, *reason)),
                Action::DeletePod { pod, reason, .. } => drop(deletions.insert(&pod.name, reason)),
                _ => {}
            }
        }
        let revisions = snapshot.revisions.unwrap_or_default().iter();
        let own = revisions.filter(|revision| controls_revision(context.daemonset, revision));
        let numbers = own.filter_map(|revision| Some((revision.labels.get(HASH_LABEL)?, revision.revision))).collect();
        let mut ended = HashMap::<_, Vec<_>>::new();
        for pod in snapshot.pods.iter().filter(|pod| !is_counted(pod) && controls_pod(context.daemonset, pod)) {
            if let Some(node) = pod.node.name() {
                ended.entry(node).or_default().push(pod.name.clone());
            }
        }
        let stopped = snapshot.nodes.iter().filter(|node| node.taints.iter().any(Taint::stops_pods));
        let mut stopped: HashSet<_> = stopped.map(|node| &node.name).collect();
        // A ready pod says that the kubelet works: what the taint reports is being mended.
        for pod in snapshot.pods.iter().filter(|pod| pod.is_ready()) {
            pod.node.name().map(|node| stopped.remove(node));
        }
        Self { context, missing: snapshot.missing, mode, creations, deletions, numbers, ended, stopped }
    }

    /// Whether the plan has a step of an update that can come about: not on a node where pods neither start nor stop.
    pub(super) fn moves(&self, plan: &Plan) -> bool {
        let can = |node: Option<&Text>| node.is_none_or(|node| !self.stopped.contains(node));
        // What rests on a fact that is not known is not what the update waits for.
        let unsupported = plan.unsupported.iter().map(|unsupported| &unsupported.action);
        plan.actions.iter().chain(unsupported).any(|action| match action {
            Action::CreatePod { node, reason, .. } => reason.is_update() && can(Some(node)),
            Action::DeletePod { node, reason, .. } => reason.is_update() && can(node.as_ref()),
            _ => false,
        })
    }

    pub(super) fn node(&self, view: &NodeView<'_>) -> NodeExplanation {
        let NodeView { name, node, verdict, pods, decision } = view;
        let placement = &self.context.rules.placement;
        let wait = decision.work.as_ref().and_then(|work| work.wait);
        NodeExplanation {
            node: (*name).clone(),
            exists: node.is_some(),
            verdict: *verdict,
            checks: node.map(|node| placement.checks(node)).unwrap_or_default(),
            remedies: node.filter(|node| !node.is_virtual()).map(|node| placement.remedies(node)).unwrap_or_default(),
            is_virtual: node.is_some_and(Node::is_virtual) && !pods.iter().any(|claimed| claimed.pod.is_ready()),
            pods: pods.iter().map(|claimed| self.pod(claimed)).collect(),
            creation: self.creations.get(name).copied(),
            is_refused: false,
            new_pod: None,
            ended_pods: self.ended.get(name).cloned().unwrap_or_default(),
            pods_are_known: !self.missing.contains(MissingFact::Pods),
            is_managed: self.mode == SyncMode::Reconcile,
            tolerated_automatically: node
                .map(|node| placement.tolerated_automatically(node).cloned().collect())
                .unwrap_or_default(),
            resources: node
                .and_then(|node| self.context.settings.resources_on(self.context.daemonset, node))
                .map(|resources| resources.of_template(&self.context.daemonset.template)),
            failures: self.failures(name),
            rollout: decision.policy.as_ref().filter(|_| node.is_some()).map(|policy| NodeRollout {
                is_selected: policy.is_selected,
                is_excluded: policy.is_excluded(),
                failure: policy.failure().cloned(),
                doubt: policy.doubt().cloned(),
            }),
            backoff: wait.and_then(|wait| wait.at(self.context.now)),
        }
    }

    fn failures(&self, node: &Text) -> Vec<NodeFailures> {
        let DaemonSetContext { backoff, daemonset, now, .. } = *self.context;
        let failures = backoff.failures(daemonset, node, now);
        let failures = failures.map(|(reason, entry)| {
            let BackoffEntry { last_update: last, failures: count, .. } = *entry;
            NodeFailures { reason: reason.clone(), count, last }
        });
        let mut failures: Vec<_> = failures.collect();
        failures.sort_by(|a, b| a.reason.cmp(&b.reason));
        failures
    }

    fn pod(&self, claimed: &ClaimedPod<'_>) -> PodExplanation {
        let hash = claimed.pod.labels.get(HASH_LABEL);
        let number = hash.and_then(|hash| self.numbers.get(hash)).copied();
        PodExplanation {
            pod: claimed.pod.name.clone(),
            revision: PodRevision { hash: hash.map(Text::from), number, is_current: self.is_current(claimed) },
            state: self.context.pod_state(claimed),
            problem: claimed.pod.describe_problem(),
            deletion: self.deletions.get(&claimed.pod.name).map(|reason| (*reason).clone()),
            scheduling: None,
        }
    }

    /// The port that keeps the new pod of a node from starting beside the old one.
    fn port_taken(&self, pods: &[ClaimedPod<'_>]) -> Option<BlockerCause> {
        let new =
            pods.iter().find(|claimed| claimed.is_live() && claimed.is_updated() && !claimed.pod.node.is_bound())?;
        let old = pods.iter().find(|claimed| !claimed.is_updated() && claimed.pod.node.is_bound())?;
        let revisions = self.context.rules.history.old().map(|(revision, _)| revision);
        let port = shared_port(&self.context.daemonset.template, revisions, &old.hash())?;
        Some(BlockerCause::PortTaken { pod: new.pod.name.clone(), port, held_by: old.pod.name.clone() })
    }

    /// Returns the pod that keeps a node from being done with.
    fn cause(&self, claimed: &ClaimedPod<'_>) -> BlockerCause {
        let state = self.context.pod_state(claimed);
        let pod = claimed.pod;
        let problem = pod.problem.as_ref();
        let since = match state {
            PodState::Deleting => pod.deleted,
            PodState::Pending => problem.and_then(|problem| problem.unschedulable_since).or(pod.created),
            _ => None,
        };
        let lasts = since.zip(self.context.now).map(|(since, now)| now.duration_since(since));
        BlockerCause::Pod {
            pod: pod.name.clone(),
            state,
            problem: pod.describe_problem(),
            lasts: lasts.and_then(|lasts| Duration::try_from(lasts).ok()),
        }
    }

    /// Returns the pod of a node that is being deleted and still there.
    pub(super) fn leaving(&self, view: &NodeView<'_>) -> Option<Blocker> {
        let leaving = view.pods.iter().find(|claimed| !claimed.is_live())?;
        let node_taint = view.node.and_then(problem_of).cloned();
        Some(Blocker { node: view.name.clone(), cause: self.cause(leaving), node_taint })
    }

    /// Returns the node if the policy takes it to be away, or if it does not report and may have lost its pod to the update.
    pub(super) fn away(view: &NodeView<'_>) -> Option<Blocker> {
        let policy = view.decision.policy.as_ref().filter(|policy| policy.is_wanted)?;
        let is_lost = !view.verdict.should_run() && policy.is_lacking;
        let cause = if view.pods.is_empty() { BlockerCause::NoPod } else { BlockerCause::Away };
        let node_taint = view.node.and_then(problem_of).cloned();
        (policy.is_excluded() || is_lost).then(|| Blocker { node: view.name.clone(), cause, node_taint })
    }

    /// Whether a pod is up to date. Without revisions, a label of another hash or generation is no evidence.
    fn is_current(&self, claimed: &ClaimedPod<'_>) -> Option<bool> {
        (claimed.is_updated() || !self.missing.contains(MissingFact::Revisions)).then(|| claimed.is_updated())
    }

    /// Returns why the node may block an update, which surges or not, and whether the node uses the budget.
    pub(super) fn blocker(&self, view: &NodeView<'_>, surges: bool) -> Option<(Blocker, bool)> {
        let NodeView { name, node, pods, decision, .. } = view;
        let pod = |claimed: &ClaimedPod<'_>| self.cause(claimed);
        let live =
            |is_new: bool| pods.iter().find(|claimed| claimed.is_live() && claimed.is_updated() == is_new).map(pod);
        let update = decision.counted.update;
        let cause = match update {
            NodeUpdateState::SeveralPods => BlockerCause::SeveralPods,
            NodeUpdateState::NoPod if !surges => pods.first().map_or(BlockerCause::NoPod, pod),
            NodeUpdateState::Both { .. } if !surges => BlockerCause::SeveralPods,
            NodeUpdateState::Both { new, .. } if !new.is_ready() && self.port_taken(pods).is_some() => {
                self.port_taken(pods)?
            }
            NodeUpdateState::Updated { new } | NodeUpdateState::Both { new, .. } if !new.is_available() => live(true)?,
            // A policy may keep an update from replacing it.
            NodeUpdateState::Outdated { old, .. } if !old.is_available() => live(false)?,
            _ => return None,
        };
        if decision.policy.as_ref().is_some_and(|policy| policy.is_excluded()) {
            return None;
        }
        let node_taint = node.and_then(problem_of).cloned();
        let is_lost = matches!(update, NodeUpdateState::Updated { .. }) && self.context.rules.policy.guides_updates;
        let uses_budget =
            !surges || is_lost || !matches!(update, NodeUpdateState::Updated { .. } | NodeUpdateState::Outdated { .. });
        Some((Blocker { node: (*name).clone(), cause, node_taint }, uses_budget))
    }
}

/// The taint that reports a problem of the node itself.
fn problem_of(node: &Node) -> Option<&Taint> {
    node.taints.iter().find(|taint| taint.reports_problem())
}

/// Returns the nodes that use the budget, or all that may block if no node does, or the `others`, by name.
pub(super) fn decisive(mut blockers: Vec<(Blocker, bool)>, others: Vec<Blocker>) -> Vec<Blocker> {
    if blockers.iter().any(|(_, uses_budget)| *uses_budget) {
        blockers.retain(|(_, uses_budget)| *uses_budget);
    }
    let blockers: Vec<_> = blockers.into_iter().map(|(blocker, _)| blocker).collect();
    let mut blockers = if blockers.is_empty() { others } else { blockers };
    blockers.sort_by(|a, b| a.node.cmp(&b.node));
    blockers
}
