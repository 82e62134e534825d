//! Explains why pods run where they do, why other nodes have none, and what blocks an update.
//!
//! A [`Plan`](crate::plan::Plan) lists the next actions. An explanation gives the reasons, node by node, also where
//! nothing happens: every rule with what would make it hold, every pod with its revision and state, and every node that
//! blocks an update.

mod explainer;
mod pod;
mod pod_warnings;
mod scheduling;
mod text;
mod update;

use std::{fmt, time::Duration};

use indexmap::IndexMap;
use jiff::Timestamp;
use serde::{Serialize, Serializer};

use crate::{
    adoption::claim::controls_pod,
    affinity::NodeResources,
    context::SyncMode,
    model::{Pod, ReportedEvent, Taint, Text, UpdateStrategy},
    node::claimed_pod::ClaimedPod,
    placement::{PlacementCheck, Remedy, Verdict},
    plan::{CreateReason, MissingFact, Warning},
    planner::{
        Snapshot,
        claimed_pods::{ClaimedPods, NodeView},
        totals::Totals,
    },
    policy::{RolloutPhase, RolloutStatus},
    util::duration,
};
use explainer::Explainer;

pub use crate::node::pod_state::PodState;
pub use pod::{ClaimReason, PodClaim, PodExplanation, PodRevision};
pub use scheduling::{AdmissionExplanation, AdmissionOnNodes, ExplainedRemedy, SchedulingExplanation};
pub use update::{Blocker, BlockerCause, UpdateState};

/// The full explanation of one DaemonSet, as [`Snapshot::explain`] returns it.
///
/// ```
/// use daemonplan::{Snapshot, model::{DaemonSet, Namespace, Node}};
/// let daemonset = DaemonSet::new("prod", "agent", [("app", "agent")]).unwrap();
/// let namespace = Namespace::new("prod");
/// let nodes = [Node::new("node-1"), Node::new("node-2")];
/// let explanation = Snapshot::new(&daemonset, &nodes, &[], &namespace).explain();
/// let groups = explanation.groups();
/// assert_eq!(groups["a pod is created next: no pod on this node"].len(), 2);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Explanation {
    /// Every node, and every missing node that has pods of the DaemonSet, by name.
    pub nodes: Vec<NodeExplanation>,
    /// The pods whose labels and controller disagree, by name.
    pub claims: Vec<PodClaim>,
    /// The state of the update to the current template.
    pub update: UpdateState,
    /// The state of the update by its rollout policy; `None` without a policy.
    pub rollout: Option<RolloutStatus>,
    /// The warnings of the plan, and those [about pods](Snapshot::pod_warnings).
    pub warnings: Vec<Warning>,
    /// What admission makes of the pods that are created; `None` without [scheduling facts](Snapshot::scheduling).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub admission: Option<AdmissionExplanation>,
    /// The Events about the DaemonSet among the [scheduling facts](Snapshot::scheduling), the latest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<ReportedEvent>,
}

/// Why pods of the DaemonSet run on a node or not, and why they are created or deleted there.
///
/// ```
/// use daemonplan::{Snapshot, model::{DaemonSet, Namespace, Node}};
/// let daemonset = DaemonSet::new("prod", "agent", [("app", "agent")]).unwrap();
/// let namespace = Namespace::new("prod");
/// let nodes = [Node::new("node-1")];
/// let explanation = Snapshot::new(&daemonset, &nodes, &[], &namespace).explain();
/// let node = &explanation.nodes[0];
/// assert!(node.exists && node.checks.iter().all(|check| check.failure.is_none()));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
#[allow(clippy::struct_excessive_bools)] // each is a fact of its own
pub struct NodeExplanation {
    /// The node's name.
    pub node: Text,
    /// Whether the node exists.
    pub exists: bool,
    /// Whether a pod should run here, and whether an existing pod may stay.
    pub verdict: Verdict,
    /// Whether the node is [virtual](crate::model::Node::is_virtual), so that the DaemonSet's pods do not run there: not if one is
    /// ready.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub is_virtual: bool,
    /// Every placement rule, in the order of evaluation.
    pub checks: Vec<PlacementCheck>,
    /// The changes that together would bring a pod to the node. Empty if a pod should run there, or if no change of the
    /// node would help, as on virtual nodes.
    pub remedies: Vec<Remedy>,
    /// The DaemonSet's pods on the node; the first one counts for the status.
    pub pods: Vec<PodExplanation>,
    /// The DaemonSet's pods on the node that have ended and are being deleted, by name. They no longer count, whatever
    /// delays their deletion, such as a finalizer.
    pub ended_pods: Vec<Text>,
    /// Whether the pods are known; if not, that there are none here is no evidence.
    pub pods_are_known: bool,
    /// Whether pods are created at all: not for a DaemonSet that is being deleted or left alone.
    pub is_managed: bool,
    /// The taints of the node that only the tolerations that each daemon pod gets cover, such as that of a cordoned node.
    pub tolerated_automatically: Vec<Taint>,
    /// Why a pod is created here next.
    #[serde(serialize_with = "as_text")]
    pub creation: Option<CreateReason>,
    /// Whether admission refuses that pod, by the [scheduling facts](Snapshot::scheduling).
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub is_refused: bool,
    /// What the default scheduler would make of that pod; `None` without [scheduling facts](Snapshot::scheduling).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub new_pod: Option<SchedulingExplanation>,
    /// The recent failures of pods on the node, by reason.
    pub failures: Vec<NodeFailures>,
    /// What new pods request here instead of what the template says, by the [settings](crate::Settings::node_resources).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<NodeResources>,
    /// How the rollout policy treats the node; `None` without a policy.
    #[serde(rename = "turn")]
    pub rollout: Option<NodeRollout>,
    /// How long the back-off lasts: until a failed pod is deleted, or until the next attempt to create one.
    #[serde(serialize_with = "duration::serialize_whole", rename = "backoffSeconds")]
    pub backoff: Option<Duration>,
}

/// Consecutive failures of pods on a node, as the back-off counts them.
///
/// ```
/// use daemonplan::{Backoff, Snapshot, model::{DaemonSet, Namespace, Node}};
/// let daemonset = DaemonSet::new("prod", "agent", [("app", "agent")]).unwrap();
/// let namespace = Namespace::new("prod");
/// let now = "2026-01-02T03:04:05Z".parse().unwrap();
/// let mut backoff = Backoff::default();
/// backoff.update([backoff.refused(&daemonset, "node-7", now)], now);
/// let nodes = [Node::new("node-7")];
/// let explanation = Snapshot::new(&daemonset, &nodes, &[], &namespace).backoff(&backoff).at(now).explain();
/// assert_eq!(explanation.nodes[0].failures[0].to_string(), "failed once (CreationRefused)");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct NodeFailures {
    /// The reason; empty if the back-off does not distinguish reasons.
    pub reason: Text,
    /// The number of failures.
    pub count: u32,
    /// When the last pod was deleted or refused.
    pub last: Timestamp,
}

/// How a [`RolloutPolicy`](crate::policy::RolloutPolicy) treats a node.
///
/// ```
/// use daemonplan::{RolloutPolicy, Settings, Snapshot, model::{DaemonSet, Namespace, Node}};
/// let daemonset = DaemonSet::new("prod", "agent", [("app", "agent")]).unwrap();
/// let namespace = Namespace::new("prod");
/// let mut policy = RolloutPolicy::default();
/// policy.update_nodes = Some("pool=blue".parse().unwrap());
/// let mut settings = Settings::default();
/// settings.rollout_policy = policy;
/// let nodes = [Node::new("node-7")];
/// let explanation = Snapshot::new(&daemonset, &nodes, &[], &namespace).settings(&settings).explain();
/// assert!(!explanation.nodes[0].rollout.as_ref().unwrap().is_selected);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct NodeRollout {
    /// Whether the policy selects the node for updates.
    pub is_selected: bool,
    /// Whether the node is away, and excluded from updates until it returns.
    #[serde(rename = "isAway")]
    pub is_excluded: bool,
    /// Why the current template fails here, if it does.
    pub failure: Option<Text>,
    /// Why it is doubtful whether the current template works here, if it is.
    pub doubt: Option<Text>,
}

impl Snapshot<'_> {
    /// Explains where the DaemonSet's pods run, and why.
    ///
    /// ```
    /// use daemonplan::{Snapshot, model::{DaemonSet, Namespace, Node}};
    /// let daemonset: DaemonSet = serde_json::from_str(r#"{
    ///     "metadata": {"namespace": "prod", "name": "agent"},
    ///     "spec": {
    ///         "selector": {"matchLabels": {"app": "agent"}},
    ///         "template": {"metadata": {"labels": {"app": "agent"}}, "spec": {"nodeSelector": {"role": "worker"}}}
    ///     }
    /// }"#)?;
    /// let (nodes, namespace) = ([Node::new("node-1")], Namespace::new("prod"));
    /// let explanation = Snapshot::new(&daemonset, &nodes, &[], &namespace).explain();
    /// assert_eq!(
    ///     explanation.nodes[0].to_string(),
    ///     "no pod: node selector role=worker is required, the node has no label role; \
    ///      it would run with the label role=worker",
    /// );
    /// # Ok::<(), serde_json::Error>(())
    /// ```
    pub fn explain(&self) -> Explanation {
        let compiled = self.compile();
        let (context, plan) = (compiled.context(), compiled.plan());
        let mode = SyncMode::of(self.daemonset, self.namespace);
        let explainer = Explainer::new(&context, self, &plan, mode);
        let (mut nodes, mut totals) = (Vec::new(), Totals::default());
        // The blockers of an update without surge, and of an update with surge.
        let (mut old, mut going, mut blockers) = (0, 0, [Vec::new(), Vec::new()]);
        let (mut leaving, mut others) = (Vec::new(), Vec::new());
        let mut each = |view: NodeView<'_>| {
            nodes.push(explainer.node(&view));
            let is_going = |pod: &ClaimedPod<'_>| !pod.is_live() && !pod.is_updated();
            old += usize::from(!view.decision.collects && view.pods.iter().any(ClaimedPod::is_outdated));
            going += usize::from(!view.decision.collects && view.pods.iter().any(is_going));
            for (blockers, surges) in blockers.iter_mut().zip([false, true]) {
                blockers.extend(explainer.blocker(&view, surges));
            }
            leaving.extend(explainer.leaving(&view));
            others.extend(Explainer::away(&view));
            totals.add(view.name, view.decision);
        };
        let dependents: Vec<Pod>;
        let pods = match mode {
            SyncMode::Reconcile => self.pods,
            SyncMode::CollectDependents | SyncMode::AwaitFinalizers => {
                let owned = self.pods.iter().filter(|pod| controls_pod(self.daemonset, pod));
                dependents = owned.cloned().collect();
                &dependents
            }
            SyncMode::LeaveAlone | SyncMode::OtherNamespace => &[],
        };
        if !self.missing.contains(MissingFact::Nodes) {
            ClaimedPods::decide(pods, &compiled.nodes, &context, &mut each);
        }
        nodes.sort_by(|a, b| a.node.cmp(&b.node));
        if old == 0 && self.daemonset.update_strategy != UpdateStrategy::OnDelete {
            // The last outdated pods are being deleted: until they are gone, the update is not done.
            (old, others) = (going, leaving.clone());
        }
        let held_back = plan.held_back.creations + plan.held_back.deletions;
        let phase = plan.rollout.as_ref().map(|rollout| &rollout.phase);
        let held = || UpdateState::Held { old, phase: phase.cloned().unwrap_or(RolloutPhase::Settled) };
        let update = match totals.budget(&context) {
            _ if mode == SyncMode::CollectDependents => {
                leaving.sort_by(|a: &Blocker, b| a.node.cmp(&b.node));
                UpdateState::Deleting { blocked_by: leaving }
            }
            _ if mode != SyncMode::Reconcile => UpdateState::None,
            _ if self.missing.contains(MissingFact::Nodes) => UpdateState::Unknown { missing: MissingFact::Nodes },
            _ if self.missing.contains(MissingFact::Pods) => UpdateState::Unknown { missing: MissingFact::Pods },
            _ if old > 0 && self.missing.contains(MissingFact::Revisions) => {
                UpdateState::Unknown { missing: MissingFact::Revisions }
            }
            _ if matches!(phase, Some(RolloutPhase::Frozen)) => held(),
            _ if old == 0 && matches!(phase, Some(RolloutPhase::Failing { .. } | RolloutPhase::RollingBack { .. })) => {
                held()
            }
            _ if old == 0 => UpdateState::Done,
            None => UpdateState::OnDelete { old },
            Some(_) if !self.expectations_satisfied => UpdateState::Unobserved { old },
            Some(_)
                if phase.is_some_and(|phase| phase.holds() || matches!(phase, RolloutPhase::RollingBack { .. })) =>
            {
                held()
            }
            Some(_) if explainer.moves(&plan) => UpdateState::Moving { old },
            Some(_) if totals.has_repairs() => UpdateState::AfterRepairs { old },
            Some(_) if held_back > 0 => UpdateState::Moving { old },
            Some(_) if matches!(phase, Some(RolloutPhase::CanaryStarting { .. })) => held(),
            Some(budget) => {
                let [without_surge, with_surge] = blockers;
                // Where no node surges, an update that surges can only wait for nodes of another group.
                let blockers = if budget.surges && !with_surge.is_empty() { with_surge } else { without_surge };
                let by_group = matches!(phase, Some(RolloutPhase::Rolling { group: Some(_) })) && budget.left() > 0;
                let blocked_by = explainer::decisive(blockers, others);
                UpdateState::Waiting { old, limit: budget.limit, by_group, blocked_by }
            }
        };
        let claims = if mode == SyncMode::Reconcile { pod::claims(self.daemonset, self.pods) } else { Vec::new() };
        let mut warnings = plan.warnings;
        warnings.extend(self.pod_warnings_by(&context.rules.history));
        let mut explanation =
            Explanation { nodes, claims, update, rollout: plan.rollout, warnings, admission: None, events: Vec::new() };
        if let Some(state) = self.scheduling.filter(|_| mode == SyncMode::Reconcile) {
            self.explain_scheduling(state, &mut explanation);
        }
        explanation
    }
}

impl Explanation {
    /// Groups the nodes by their explanation, the largest group first. Nodes that differ only in when their pods become available
    /// are one group, whose explanation says until when.
    pub fn groups(&self) -> IndexMap<String, Vec<&NodeExplanation>> {
        let mut groups = IndexMap::<_, Vec<&NodeExplanation>>::new();
        for node in &self.nodes {
            let key = if node.waits().next().is_some() { node.without_waits().to_string() } else { node.to_string() };
            groups.entry(key).or_default().push(node);
        }
        groups.sort_by(|_, a, _, b| b.len().cmp(&a.len()));
        let explained = groups.into_iter().map(|(key, nodes)| {
            let waits = || nodes.iter().map(|node| node.waits().max());
            match nodes.iter().max_by_key(|node| node.waits().max()) {
                Some(last) if waits().any(|wait| wait != last.waits().max()) => (format!("{last:#}"), nodes),
                Some(last) if last.waits().next().is_some() => (last.to_string(), nodes),
                _ => (key, nodes),
            }
        });
        explained.collect()
    }
}

impl NodeExplanation {
    /// When pods that are ready become available.
    fn waits(&self) -> impl Iterator<Item = Duration> {
        self.pods.iter().filter_map(|pod| match pod.state {
            PodState::Ready { available_after } => available_after,
            _ => None,
        })
    }

    fn without_waits(&self) -> Self {
        let mut node = self.clone();
        for pod in &mut node.pods {
            if let PodState::Ready { available_after: Some(after) } = &mut pod.state {
                *after = Duration::ZERO;
            }
        }
        node
    }
}

#[allow(clippy::ref_option)] // the signature that serde expects
fn as_text<S: Serializer, T: fmt::Display>(value: &Option<T>, serializer: S) -> Result<S::Ok, S::Error> {
    value.as_ref().map(ToString::to_string).serialize(serializer)
}
