//! Why a DaemonSet's pods are where they are, why others are not there, and what keeps an update waiting.
//!
//! A [`Plan`] says what happens next. An explanation says why, node by node, also where nothing happens: every
//! rule with what would make it hold, every pod with its revision and its state, every node that an update waits for.

mod text;

use std::{collections::HashMap, fmt, time::Duration};

use indexmap::IndexMap;
use jiff::Timestamp;
use serde::{Serialize, Serializer};

use crate::{
    Action, BackoffEntry, Plan, Snapshot, Warning,
    cell::{CellRules, Standing},
    fold::Fold,
    member::{Member, TemplateLabels},
    model::{DaemonSet, HASH_LABEL, Pod, Taint, Text},
    nodes::NodeIndex,
    ownership::{Claim, claim_pod, controls_pod, controls_revision, selects},
    placement::{PlacementCheck, PlacementRules, Remedy, Verdict},
    plan::Course,
    policy::{RolloutPhase, RolloutStatus},
    reason::{Creation, Deletion},
    resolved::Policy,
    seconds,
    snapshot::{Claimed, Site},
};

/// The long answer for one DaemonSet: [`Snapshot::explain`].
///
/// ```
/// use daemonplan::{Snapshot, model::{DaemonSet, Namespace, Node}};
/// # let mut daemonset = DaemonSet::new("prod", "agent");
/// # daemonset.selector = serde_json::from_str(r#"{"matchLabels": {"app": "agent"}}"#)?;
/// # daemonset.template = serde_json::from_str(r#"{"metadata": {"labels": {"app": "agent"}}}"#)?;
/// # let namespace = Namespace::new("prod");
/// let nodes = [Node::new("node-1"), Node::new("node-2")];
/// let explanation = Snapshot::new(&daemonset, &nodes, &[], &namespace).explain();
/// let groups = explanation.groups();
/// assert_eq!(groups["a pod is created next: no pod is there"].len(), 2);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Explanation {
    /// Every node, and every missing node that has pods of the DaemonSet, by name.
    pub nodes: Vec<NodeExplanation>,
    /// The pods that are not simply the DaemonSet's or somebody else's, by name.
    pub claims: Vec<PodClaim>,
    /// How far the update to the current template is.
    pub update: UpdateState,
    /// Where the update stands by its policy; `None` without one.
    pub rollout: Option<RolloutStatus>,
    /// What the plan warns of.
    pub warnings: Vec<Warning>,
}

/// Why a node has, gets or loses pods of the DaemonSet, or has none.
///
/// ```
/// use daemonplan::{Snapshot, model::{DaemonSet, Namespace, Node}};
/// # let mut daemonset = DaemonSet::new("prod", "agent");
/// # daemonset.selector = serde_json::from_str(r#"{"matchLabels": {"app": "agent"}}"#)?;
/// # daemonset.template = serde_json::from_str(r#"{"metadata": {"labels": {"app": "agent"}}}"#)?;
/// # let namespace = Namespace::new("prod");
/// let nodes = [Node::new("node-1")];
/// let explanation = Snapshot::new(&daemonset, &nodes, &[], &namespace).explain();
/// let node = &explanation.nodes[0];
/// assert!(node.exists && node.checks.iter().all(|check| check.failure.is_none()));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct NodeExplanation {
    /// The node's name.
    pub node: Text,
    /// Whether there is such a node.
    pub exists: bool,
    /// Whether a pod should run here, and may stay.
    pub verdict: Verdict,
    /// Every rule about the node, in the order in which they decide.
    pub checks: Vec<PlacementCheck>,
    /// What together would bring a pod to the node. None if one should run there, or if nothing of this kind would help.
    pub remedies: Vec<Remedy>,
    /// The DaemonSet's pods on the node; the first one counts for the status.
    pub pods: Vec<PodExplanation>,
    /// Why a pod is created here next.
    #[serde(serialize_with = "as_text")]
    pub creation: Option<Creation>,
    /// How often pods failed here of late, by reason.
    pub failures: Vec<NodeFailures>,
    /// What the policy for updates makes of the node; `None` without one.
    pub turn: Option<NodeTurn>,
    /// How long a failed pod stays before it is deleted (back-off).
    #[serde(serialize_with = "seconds::serialize_whole", rename = "backoffSeconds")]
    pub backoff: Option<Duration>,
}

/// Pods that failed on a node one after the other, as the back-off knows of them.
///
/// ```
/// use daemonplan::{Backoff, Snapshot, model::{DaemonSet, Namespace, Node}};
/// # let mut daemonset = DaemonSet::new("prod", "agent");
/// # daemonset.selector = serde_json::from_str(r#"{"matchLabels": {"app": "agent"}}"#)?;
/// # let namespace = Namespace::new("prod");
/// let now = "2026-01-02T03:04:05Z".parse().unwrap();
/// let mut backoff = Backoff::default();
/// backoff.update([backoff.refused(&daemonset, "node-7", now)], now);
/// let nodes = [Node::new("node-7")];
/// let explanation = Snapshot::new(&daemonset, &nodes, &[], &namespace).backoff(&backoff).now(now).explain();
/// assert_eq!(explanation.nodes[0].failures[0].to_string(), "failed once (CreationRefused)");
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct NodeFailures {
    /// The reason; empty if the back-off does not go by it.
    pub reason: Text,
    /// How many.
    pub count: u32,
    /// When the last one was deleted or refused.
    pub last: Timestamp,
}

/// What a [`RolloutPolicy`](crate::RolloutPolicy) makes of a node.
///
/// ```
/// use daemonplan::{RolloutPolicy, Settings, Snapshot, model::{DaemonSet, Namespace, Node}};
/// # let mut daemonset = DaemonSet::new("prod", "agent");
/// # daemonset.selector = serde_json::from_str(r#"{"matchLabels": {"app": "agent"}}"#)?;
/// # let namespace = Namespace::new("prod");
/// let mut policy = RolloutPolicy::default();
/// policy.update_nodes = Some("pool=blue".parse().unwrap());
/// let settings = Settings::default().rollout_policy(policy);
/// let nodes = [Node::new("node-7")];
/// let explanation = Snapshot::new(&daemonset, &nodes, &[], &namespace).settings(&settings).explain();
/// assert!(!explanation.nodes[0].turn.unwrap().is_selected);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct NodeTurn {
    /// Whether it is among the nodes that are updated.
    pub is_selected: bool,
    /// Whether it is away, and left out as long as it is.
    pub is_away: bool,
    /// Whether the new template fails here.
    pub fails: bool,
}

/// A pod of the DaemonSet on a node.
///
/// ```
/// use daemonplan::{PodState, Snapshot, model::{DaemonSet, Namespace, Node, Pod, PodNode}};
/// # let mut daemonset = DaemonSet::new("prod", "agent");
/// # daemonset.selector = serde_json::from_str(r#"{"matchLabels": {"app": "agent"}}"#)?;
/// # daemonset.template = serde_json::from_str(r#"{"metadata": {"labels": {"app": "agent"}}}"#)?;
/// # let namespace = Namespace::new("prod");
/// # let mut pod = Pod::new("prod", "agent-x2k");
/// # pod.labels = [("app", "agent")].into_iter().collect();
/// # pod.node = PodNode::Bound("node-7".into());
/// let (nodes, pods) = ([Node::new("node-7")], [pod]); // nobody's, and adopted
/// let explanation = Snapshot::new(&daemonset, &nodes, &pods, &namespace).explain();
/// assert_eq!(explanation.nodes[0].pods[0].state, PodState::Pending);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct PodExplanation {
    /// The pod's name.
    pub pod: Text,
    /// The revision that it runs, as its label says.
    pub revision: PodRevision,
    /// What it is doing.
    pub state: PodState,
    /// What is wrong with it, if anything is, such as `CrashLoopBackOff, 3 restarts`.
    pub trouble: Option<String>,
    /// Why it is deleted next.
    #[serde(serialize_with = "as_text")]
    pub deletion: Option<Deletion>,
}

/// The revision that a pod runs.
///
/// ```
/// use daemonplan::{Snapshot, model::{DaemonSet, HASH_LABEL, Namespace, Node, Pod, PodNode}};
/// # let mut daemonset = DaemonSet::new("prod", "agent");
/// # daemonset.selector = serde_json::from_str(r#"{"matchLabels": {"app": "agent"}}"#)?;
/// # daemonset.template = serde_json::from_str(r#"{"metadata": {"labels": {"app": "agent"}}}"#)?;
/// # let namespace = Namespace::new("prod");
/// # let mut pod = Pod::new("prod", "agent-x2k");
/// # pod.labels = [("app", "agent")].into_iter().collect();
/// # pod.node = PodNode::Bound("node-7".into());
/// pod.labels = pod.labels.with(HASH_LABEL, "abc");
/// let (nodes, pods) = ([Node::new("node-7")], [pod]);
/// let explanation = Snapshot::new(&daemonset, &nodes, &pods, &namespace).explain();
/// let revision = &explanation.nodes[0].pods[0].revision;
/// assert_eq!((revision.hash.as_deref(), revision.number, revision.is_current), (Some("abc"), None, false));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct PodRevision {
    /// The pod's label `controller-revision-hash`.
    pub hash: Option<Text>,
    /// The number of the ControllerRevision with this hash, if there is one.
    pub number: Option<i64>,
    /// Whether it counts as up to date.
    pub is_current: bool,
}

/// What a pod is doing, as far as it matters to its DaemonSet.
///
/// ```
/// use std::time::Duration;
/// use daemonplan::PodState;
/// let state = PodState::Ready { available_after: Some(Duration::from_secs(40)) };
/// assert_eq!(state.to_string(), "ready, available in 40s");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all_fields = "camelCase")]
#[non_exhaustive]
pub enum PodState {
    /// It is being deleted.
    Deleting,
    /// It has ended well.
    Succeeded,
    /// It has ended badly.
    Failed,
    /// No node runs it yet.
    Pending,
    /// It runs and is not ready.
    NotReady,
    /// It is ready, and not long enough to be available (`minReadySeconds`).
    Ready {
        /// When it becomes available; `None`: without a clock nobody knows.
        #[serde(serialize_with = "seconds::serialize_whole", rename = "availableAfterSeconds")]
        available_after: Option<Duration>,
    },
    /// It is available.
    Available,
}

/// A pod that matches the DaemonSet's selector and is not its own, or the other way round.
///
/// ```
/// use daemonplan::{ClaimReason, Snapshot, model::{DaemonSet, Namespace, Pod, PodNode}};
/// # let mut daemonset = DaemonSet::new("prod", "agent");
/// # daemonset.selector = serde_json::from_str(r#"{"matchLabels": {"app": "agent"}}"#)?;
/// # daemonset.template = serde_json::from_str(r#"{"metadata": {"labels": {"app": "agent"}}}"#)?;
/// # let namespace = Namespace::new("prod");
/// # let mut pod = Pod::new("prod", "agent-x2k");
/// # pod.labels = [("app", "agent")].into_iter().collect();
/// # pod.node = PodNode::Bound("node-7".into());
/// let pods = [pod];
/// let explanation = Snapshot::new(&daemonset, &[], &pods, &namespace).explain();
/// assert_eq!(explanation.claims[0].reason, ClaimReason::Adopted);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct PodClaim {
    /// The pod's name.
    pub pod: Text,
    /// What becomes of it, and why.
    #[serde(flatten)]
    pub reason: ClaimReason,
}

/// What becomes of a pod whose labels and whose controller do not say the same.
///
/// ```
/// use daemonplan::ClaimReason;
/// let reason = ClaimReason::OtherController { kind: "ReplicaSet".into(), name: "web".into() };
/// assert_eq!(reason.to_string(), "not adopted, though its labels match: ReplicaSet web controls it");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "claim", rename_all_fields = "camelCase")]
#[non_exhaustive]
pub enum ClaimReason {
    /// It is adopted: its labels match, and nobody controls it.
    Adopted,
    /// It is released: its labels do not match any more.
    Released,
    /// It is not adopted, as it is being deleted.
    BeingDeleted,
    /// It is not adopted: it was controlled by a DaemonSet of this name that was another one.
    Predecessor,
    /// It is not adopted: somebody else controls it.
    OtherController {
        /// The controller's kind.
        kind: Text,
        /// The controller's name.
        name: Text,
    },
}

/// How far the update to the current template is.
///
/// ```
/// use daemonplan::UpdateState;
/// let state = UpdateState::Moving { old: 3 };
/// assert_eq!(state.to_string(), "3 nodes with an older pod: the update goes on");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "update", rename_all_fields = "camelCase")]
#[non_exhaustive]
pub enum UpdateState {
    /// The DaemonSet is being deleted or left alone: there is no update.
    None,
    /// No pod is of an older template.
    Done,
    /// The strategy is `OnDelete`: old pods stay until somebody deletes them.
    OnDelete {
        /// How many nodes have an old pod.
        old: usize,
    },
    /// The plan goes on with it.
    Moving {
        /// How many nodes have an old pod.
        old: usize,
    },
    /// The effects of the last plan do not show yet.
    Unobserved {
        /// How many nodes have an old pod.
        old: usize,
    },
    /// Nodes that lack a pod or have one too many come first.
    AfterRepairs {
        /// How many nodes have an old pod.
        old: usize,
    },
    /// The policy does not let it go on.
    Held {
        /// How many nodes have an old pod.
        old: usize,
        /// Why.
        #[serde(flatten)]
        phase: RolloutPhase,
    },
    /// It waits: so many nodes as may be are without an available pod, or surge.
    Waiting {
        /// How many nodes have an old pod.
        old: usize,
        /// `maxUnavailable`, or `maxSurge` if it is not 0, in nodes.
        limit: usize,
        /// The nodes that use up the limit, by name.
        held_by: Vec<Holdup>,
    },
}

/// A node that an update waits for.
///
/// ```
/// use daemonplan::{Snapshot, UpdateState, model::{DaemonSet, Namespace}};
/// # let mut daemonset = DaemonSet::new("prod", "agent");
/// # daemonset.selector = serde_json::from_str(r#"{"matchLabels": {"app": "agent"}}"#)?;
/// # daemonset.template = serde_json::from_str(r#"{"metadata": {"labels": {"app": "agent"}}}"#)?;
/// # let namespace = Namespace::new("prod");
/// let explanation = Snapshot::new(&daemonset, &[], &[], &namespace).explain();
/// if let UpdateState::Waiting { held_by, .. } = &explanation.update {
///     held_by.iter().for_each(|holdup| println!("{}: {holdup}", holdup.node));
/// }
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Holdup {
    /// The node's name.
    pub node: Text,
    /// Why it lacks an available pod.
    #[serde(flatten)]
    pub cause: HoldupCause,
    /// A taint that says that the node itself is not in order.
    pub node_taint: Option<Taint>,
}

/// Why a node that an update waits for lacks an available pod.
///
/// ```
/// use daemonplan::{HoldupCause, PodState};
/// let cause = HoldupCause::Pod { pod: "agent-x2k".into(), state: PodState::NotReady };
/// assert_eq!(serde_json::to_value(&cause)?["state"], "NotReady");
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "cause", rename_all_fields = "camelCase")]
#[non_exhaustive]
pub enum HoldupCause {
    /// It has no pod.
    NoPod,
    /// It has several pods of the same template.
    SeveralPods,
    /// Its pod is not available.
    Pod {
        /// The pod's name.
        pod: Text,
        /// What it is doing.
        #[serde(flatten)]
        state: PodState,
    },
}

impl Snapshot<'_> {
    /// Why the DaemonSet's pods are where they are.
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
        let Self { daemonset, namespace, now, .. } = *self;
        let (settings, backoff) =
            (self.settings.cloned().unwrap_or_default(), self.backoff.cloned().unwrap_or_default());
        let index = NodeIndex::new(self.nodes, &mut Vec::new());
        let placement = PlacementRules::compile(daemonset, namespace, &settings, &mut Vec::new());
        let (history, labels) = (self.history(), TemplateLabels::of(daemonset));
        let policy = Policy::of(daemonset, &settings, &mut Vec::new());
        let rules = CellRules {
            daemonset,
            placement: &placement,
            policy: &policy,
            hash: &history.hash,
            labels: &labels,
            now,
            backoff: &backoff,
            settings: &settings,
        };
        let plan = self.plan();
        let explainer = Explainer::new(self, &rules, &placement, &plan);
        let mut nodes = Vec::new();
        let mut fold = Fold::default();
        let (mut old, mut holdups) = (0, [Vec::new(), Vec::new()]); // if it does not surge, if it does
        let mut each = |site: Site<'_>| {
            nodes.push(explainer.node(&site));
            old += usize::from(!site.cell.collects && site.pods.iter().any(Member::is_old));
            for (holdups, surges) in holdups.iter_mut().zip([false, true]) {
                holdups.extend(explainer.holdup(&site, surges));
            }
            fold.add(site.name, site.cell);
        };
        let course = Course::of(daemonset);
        let dependents: Vec<Pod>;
        let pods = match course {
            Course::Reconcile => self.pods,
            Course::CollectDependents => {
                dependents = self.pods.iter().filter(|pod| controls_pod(daemonset, pod)).cloned().collect();
                &dependents
            }
            Course::LeaveAlone => &[],
        };
        Claimed::cells(pods, &index, &rules, &mut each);
        nodes.sort_by(|a, b| a.node.cmp(&b.node));
        let held_back = plan.held_back_creations + plan.held_back_deletions;
        let phase = plan.rollout.as_ref().map(|rollout| &rollout.phase);
        let held = || UpdateState::Held { old, phase: phase.cloned().unwrap_or(RolloutPhase::Held) };
        let update = match fold.budget(daemonset.update_strategy) {
            _ if course != Course::Reconcile => UpdateState::None,
            _ if old == 0 => UpdateState::Done,
            None => UpdateState::OnDelete { old },
            Some(_) if !self.effects_observed => UpdateState::Unobserved { old },
            Some(_) if phase.is_some_and(RolloutPhase::holds) => held(),
            Some(_) if plan.actions.iter().any(is_update) => UpdateState::Moving { old },
            Some(_) if fold.asks_first() => UpdateState::AfterRepairs { old },
            Some(_) if held_back > 0 => UpdateState::Moving { old },
            Some(_)
                if matches!(phase, Some(RolloutPhase::CanaryStarting { .. } | RolloutPhase::RollingBack { .. })) =>
            {
                held()
            }
            Some(budget) => {
                let [calm, surging] = holdups;
                let held_by = if budget.surges { surging } else { calm };
                UpdateState::Waiting { old, limit: budget.limit, held_by: those_that_matter(held_by) }
            }
        };
        let claims = if course == Course::Reconcile { self.claims() } else { Vec::new() };
        Explanation { nodes, claims, update, rollout: plan.rollout.clone(), warnings: plan.warnings }
    }

    fn claims(&self) -> Vec<PodClaim> {
        let daemonset = self.daemonset;
        let claims = self.pods.iter().filter_map(|pod| {
            let selects = selects(daemonset, &pod.labels);
            let reason = match claim_pod(daemonset, pod, || selects) {
                Claim::Adopt => ClaimReason::Adopted,
                Claim::Release => ClaimReason::Released,
                Claim::Ignore if selects && pod.namespace == daemonset.namespace => {
                    ClaimReason::of_other(daemonset, pod)
                }
                Claim::Owned | Claim::Ignore => return None,
            };
            Some(PodClaim { pod: pod.name.clone(), reason })
        });
        let mut claims: Vec<_> = claims.collect();
        claims.sort_by(|a, b| a.pod.cmp(&b.pod));
        claims
    }
}

/// The nodes that use up what an update may do, or if there are none the others; by name.
fn those_that_matter(mut held_by: Vec<(Holdup, bool)>) -> Vec<Holdup> {
    if held_by.iter().any(|(_, uses_limit)| *uses_limit) {
        held_by.retain(|(_, uses_limit)| *uses_limit);
    }
    let mut held_by: Vec<_> = held_by.into_iter().map(|(holdup, _)| holdup).collect();
    held_by.sort_by(|a, b| a.node.cmp(&b.node));
    held_by
}

/// Whether an action belongs to an update.
fn is_update(action: &Action) -> bool {
    match action {
        Action::CreatePod { reason, .. } => reason.is_update(),
        Action::DeletePod { reason, .. } => reason.is_update(),
        _ => false,
    }
}

/// What explanations are made from.
struct Explainer<'e> {
    rules: &'e CellRules<'e>,
    placement: &'e PlacementRules,
    now: Option<Timestamp>,
    creations: HashMap<&'e Text, Creation>,
    deletions: HashMap<&'e Text, &'e Deletion>,
    /// The numbers of revisions, by their hash.
    numbers: HashMap<&'e str, i64>,
}

impl<'e> Explainer<'e> {
    fn new(
        snapshot: &Snapshot<'e>,
        rules: &'e CellRules<'e>,
        placement: &'e PlacementRules,
        plan: &'e Plan<'_>,
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
        let own = revisions.filter(|revision| controls_revision(snapshot.daemonset, revision));
        let numbers = own.filter_map(|revision| Some((revision.labels.get(HASH_LABEL)?, revision.revision))).collect();
        Self { rules, placement, now: snapshot.now, creations, deletions, numbers }
    }

    fn node(&self, site: &Site<'_>) -> NodeExplanation {
        let wait = site.cell.work.as_ref().and_then(|work| work.wait);
        NodeExplanation {
            node: site.name.clone(),
            exists: site.node.is_some(),
            verdict: site.verdict,
            checks: site.node.map(|node| self.placement.checks(node)).unwrap_or_default(),
            remedies: site.node.map(|node| self.placement.remedies(node)).unwrap_or_default(),
            pods: site.pods.iter().map(|member| self.pod(member)).collect(),
            creation: self.creations.get(site.name).copied(),
            failures: self.failures(site.name),
            turn: site.cell.seat.as_ref().map(|seat| NodeTurn {
                is_selected: seat.is_selected,
                is_away: seat.is_away,
                fails: seat.fails,
            }),
            backoff: wait.and_then(|wait| wait.at(self.now)),
        }
    }

    fn failures(&self, node: &Text) -> Vec<NodeFailures> {
        let CellRules { backoff, daemonset, now, .. } = *self.rules;
        let failures = backoff.failures(daemonset, node, now);
        let failures = failures.map(|(reason, entry)| {
            let BackoffEntry { last_update: last, failures: count, .. } = *entry;
            NodeFailures { reason: reason.clone(), count, last }
        });
        let mut failures: Vec<_> = failures.collect();
        failures.sort_by(|a, b| a.reason.cmp(&b.reason));
        failures
    }

    fn pod(&self, member: &Member<'_>) -> PodExplanation {
        let hash = member.pod.labels.get(HASH_LABEL);
        let number = hash.and_then(|hash| self.numbers.get(hash)).copied();
        PodExplanation {
            pod: member.pod.name.clone(),
            revision: PodRevision { hash: hash.map(Text::from), number, is_current: member.is_updated() },
            state: self.rules.state(member),
            trouble: member.pod.trouble.as_ref().map(ToString::to_string),
            deletion: self.deletions.get(&member.pod.name).map(|reason| (*reason).clone()),
        }
    }

    /// Why an update that surges, or does not, may have to wait for the node, and whether that uses up what it may do.
    fn holdup(&self, Site { name, node, pods, cell, .. }: &Site<'_>, surges: bool) -> Option<(Holdup, bool)> {
        let pod =
            |member: &Member<'_>| HoldupCause::Pod { pod: member.pod.name.clone(), state: self.rules.state(member) };
        let live = |is_new: bool| pods.iter().find(|member| member.is_live && member.is_updated() == is_new).map(pod);
        let cause = match cell.standing {
            Standing::Crowded => HoldupCause::SeveralPods,
            Standing::Vacant if !surges => pods.first().map_or(HoldupCause::NoPod, pod),
            Standing::Both { .. } if !surges => HoldupCause::SeveralPods,
            Standing::New { available: false } | Standing::Both { new_available: false, .. } => live(true)?,
            _ => return None,
        };
        if cell.seat.as_ref().is_some_and(|seat| seat.is_away) {
            return None;
        }
        let node_taint = node.and_then(|node| node.taints.iter().find(|taint| says_not_in_order(taint))).cloned();
        let uses_limit = !surges || !matches!(cell.standing, Standing::New { .. });
        Some((Holdup { node: (*name).clone(), cause, node_taint }, uses_limit))
    }
}

/// Whether a taint says that the node itself is not in order.
fn says_not_in_order(taint: &Taint) -> bool {
    stops_pods(taint) || taint.key == "node.kubernetes.io/unschedulable"
}

/// Whether a taint says that nothing starts or stops on the node.
pub(crate) fn stops_pods(taint: &Taint) -> bool {
    taint.key == "node.kubernetes.io/not-ready" || taint.key == "node.kubernetes.io/unreachable"
}

impl ClaimReason {
    /// Why a pod with fitting labels is not adopted.
    fn of_other(daemonset: &DaemonSet, pod: &Pod) -> Self {
        match &pod.controller {
            None => Self::BeingDeleted,
            Some(owner) if owner.kind == "DaemonSet" && owner.name == daemonset.name => Self::Predecessor,
            Some(owner) => Self::OtherController { kind: owner.kind.clone(), name: owner.name.clone() },
        }
    }
}

impl Explanation {
    /// The nodes of which the same is to be said, the most first.
    pub fn groups(&self) -> IndexMap<String, Vec<&NodeExplanation>> {
        let mut groups = IndexMap::<_, Vec<_>>::new();
        for node in &self.nodes {
            groups.entry(node.to_string()).or_default().push(node);
        }
        groups.sort_by(|_, a, _, b| b.len().cmp(&a.len()));
        groups
    }
}

#[allow(clippy::ref_option)] // as serde asks for it
fn as_text<S: Serializer, T: fmt::Display>(value: &Option<T>, serializer: S) -> Result<S::Ok, S::Error> {
    value.as_ref().map(ToString::to_string).serialize(serializer)
}
