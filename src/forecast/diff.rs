//! The effect of a change: simulates the cluster with and without it until nothing is left to do, and compares the
//! results node by node.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use serde::{Serialize, Serializer, ser::SerializeMap};

use crate::{
    forecast::{
        Assumptions, EndState, SimulatedNode, Simulation, StuckNode, fits::Fits, scheduled::Scheduled,
        simulated_node::End,
    },
    model::{Key, Text},
    placement::{PlacementReason, Verdict},
    plan::{DeleteReason, MissingFact},
    planner::Snapshot,
    policy::RolloutPhase,
    scheduling::{UnknownFact, as_texts},
};

/// The effect of a change on a DaemonSet's pods, as [`Snapshot::diff`] returns it.
///
/// ```
/// use daemonplan::{Snapshot, model::{DaemonSet, Namespace, Node}};
/// let daemonset = DaemonSet::new("prod", "agent", [("app", "agent")]).unwrap();
/// let namespace = Namespace::new("prod");
/// let nodes = [Node::new("node-1"), Node::new("node-2")];
/// let before = Snapshot::new(&daemonset, &nodes, &[], &namespace);
/// let after = Snapshot::new(&daemonset, &nodes[..1], &[], &namespace);
/// let diff = Snapshot::diff(Some(&before), &after);
/// assert_eq!((diff.nodes.len(), diff.desired, diff.deletions()), (1, 1, 0));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Diff {
    /// The affected nodes, by name.
    pub nodes: Vec<NodeDiff>,
    /// The most nodes that are without an available pod at the same time. Only affected nodes count that should run a pod
    /// and have an available one now; all nodes if an update that is under way takes more of them at a time than without
    /// the change. New pods are assumed to be available at once.
    pub most_unavailable: usize,
    /// The number of nodes that should run a pod after the change.
    pub desired: usize,
    /// Whether the steps would repeat without end.
    pub is_restless: bool,
    /// The nodes where the new pod can never start, because it needs a port that the old one keeps.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stuck: Vec<StuckNode>,
    /// The fact that a snapshot [lacks](Snapshot::without) and without which the effect is not known. Nothing else is
    /// then said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missing: Option<MissingFact>,
    /// What is not known that decides whether the new pods are bound, or whether others take the place of pods because of the
    /// change.
    #[serde(serialize_with = "as_texts", skip_serializing_if = "Vec::is_empty")]
    pub unknown: Vec<UnknownFact>,
    /// The pods of others whose place new pods take.
    #[serde(serialize_with = "as_texts", skip_serializing_if = "Vec::is_empty")]
    pub preempted: Vec<Key>,
    /// The phase of the rollout policy that holds the update up in the end; `None` if none does.
    #[serde(rename = "policy", skip_serializing_if = "Option::is_none")]
    pub held_by: Option<RolloutPhase>,
    /// All facts that a snapshot lacks, unless both snapshots are equal: they are taken to be absent from the cluster.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rests_on: Vec<MissingFact>,
}

/// The effect of a change on one node.
///
/// ```
/// use daemonplan::{Snapshot, model::{DaemonSet, Namespace, Node}};
/// let daemonset = DaemonSet::new("prod", "agent", [("app", "agent")]).unwrap();
/// let namespace = Namespace::new("prod");
/// let nodes = [Node::new("node-1")];
/// let diff = Snapshot::diff(None, &Snapshot::new(&daemonset, &nodes, &[], &namespace));
/// assert_eq!(diff.nodes[0].to_string(), "node-1: pod added: the DaemonSet is new");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NodeDiff {
    /// The node's name.
    pub node: Text,
    /// The existing pods that are affected.
    pub pods: Vec<Text>,
    /// Those of them that are deleted, and would not be without the change.
    pub deleted: Vec<Text>,
    /// The difference.
    pub change: Change,
}

/// The difference between the outcomes on a node with and without a change.
///
/// ```
/// use daemonplan::{DeleteReason, forecast::Change};
/// let change = Change::Replaced(DeleteReason::Outdated);
/// assert_eq!((change.code(), change.to_string().as_str()), ("Replaced", "pod replaced: outdated"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Change {
    /// The node gets a pod; without the change it would have none.
    Gained(Gain),
    /// The node has no pod; without the change it would have one.
    Lost(Loss),
    /// The pod is replaced; without the change it would stay.
    Replaced(DeleteReason),
    /// A pod of several on the node is deleted; without the change it would stay.
    Reduced(DeleteReason),
    /// The pod stays; without the change it would be deleted.
    Spared,
    /// The DaemonSet, which is new, adopts the pod.
    Adopted,
    /// The pod stays, but becomes outdated (`OnDelete`).
    Outdated,
    /// The pod stays, and becomes up to date.
    UpToDate,
    /// The pod stays, but no new pod would be created.
    Unwanted(PlacementReason),
}

/// Why a node gets a pod by a change.
///
/// ```
/// use daemonplan::forecast::{Change, Gain};
/// assert_eq!(Change::Gained(Gain::NewNode).to_string(), "pod added: the node is new");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Gain {
    /// The DaemonSet is new.
    NewDaemonSet,
    /// The node is new.
    NewNode,
    /// A rule that kept pods away now holds.
    RuleHolds(PlacementReason),
    /// The rules are unchanged: the pod would have been deleted or not created.
    Other,
}

/// Why a node has no pod after a change.
///
/// ```
/// use daemonplan::{DeleteReason, forecast::{Change, Loss}};
/// assert_eq!(Change::Lost(Loss::Deleted(DeleteReason::NodeGone)).to_string(), "pod removed: its node does not exist");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Loss {
    /// The pod is deleted.
    Deleted(DeleteReason),
    /// No pod is created.
    NotCreated(PlacementReason),
    /// The node is removed, and had no pod yet.
    NodeGone,
}

impl Snapshot<'_> {
    /// Computes what changes if the cluster `before` becomes `after`: on which nodes a pod is added, removed or
    /// replaced, and why. Without `before` the DaemonSet is new.
    ///
    /// Both clusters are simulated, with pods that start and stop at once. Actions that do not depend on the change are
    /// left out. [`Snapshot::forecast`] shows how the rollout proceeds in time.
    ///
    /// ```
    /// use daemonplan::{Snapshot, model::{DaemonSet, Labels, Namespace, Node}};
    /// let mut daemonset = DaemonSet::new("prod", "agent", [("app", "agent")]).unwrap();
    /// daemonset.template = daemonset.template.with_node_selector([("role", "worker")]);
    /// let namespace = Namespace::new("prod");
    /// let before = [Node::new("node-7")];
    /// let mut after = before.clone();
    /// after[0].labels = Labels::from_iter([("role", "worker")]);
    ///
    /// let before = Snapshot::new(&daemonset, &before, &[], &namespace).revisions(&[]);
    /// let after = Snapshot::new(&daemonset, &after, &[], &namespace).revisions(&[]);
    /// let diff = Snapshot::diff(Some(&before), &after);
    /// assert_eq!(
    ///     diff.nodes[0].to_string(),
    ///     "node-7: pod added; before: node selector role=worker is required, the node has no label role",
    /// );
    /// ```
    pub fn diff(before: Option<&Self>, after: &Self) -> Diff {
        // Pods that are known to be up to date before are known to be outdated once the template has changed.
        let mut rests_on: Vec<_> = before.into_iter().chain([after]).flat_map(Snapshot::missing).collect();
        rests_on.sort_unstable();
        rests_on.dedup();
        // Equal inputs have equal effects, whatever they lack.
        if !rests_on.is_empty() && before.is_some_and(|before| before.decides_as(after)) {
            rests_on.clear();
        }
        if let Some(missing) = before.unwrap_or(after).needed_to_foresee() {
            let (nodes, stuck, missing) = (Vec::new(), Vec::new(), Some(missing).filter(|_| !rests_on.is_empty()));
            let (unknown, preempted) = (Vec::new(), Vec::new());
            return Diff {
                nodes,
                most_unavailable: 0,
                desired: 0,
                is_restless: false,
                stuck,
                missing,
                unknown,
                preempted,
                held_by: None,
                rests_on,
            };
        }
        let ideal = Assumptions::ideal();
        // All nodes that the change touches, also those that it comes to only if no pod is stuck.
        let fits = Fits::new(after);
        let mut changed = Simulation::new(after, &ideal, fits.unrefusing());
        let end = changed.run();
        let anyway = before.map(|before| {
            let fits = Fits::new(before);
            let mut unchanged = Simulation::new(before, &ideal, fits.unrefusing());
            unchanged.run();
            (Scheduled::new(before, fits, &unchanged, &ideal), unchanged)
        });
        let (anyway, unchanged) = anyway.unzip();
        let names = |simulation: &Simulation<'_>| simulation.nodes.keys().cloned().collect::<BTreeSet<_>>();
        let all = &names(&changed) | &unchanged.as_ref().map(names).unwrap_or_default();
        let (mut fails_without, mut fails_with) = (before.map(failing).unwrap_or_default(), failing(after));
        let nodes = all.into_iter().filter_map(|node| {
            let without = unchanged.as_ref().and_then(|unchanged| unchanged.nodes.get(&node));
            let with = changed.nodes.get(&node);
            let rules = Rules {
                daemonset_is_new: unchanged.is_none(),
                fails_without: fails_without.remove(&node),
                fails_with: fails_with.remove(&node),
            };
            let pods = without.or(with).map(|simulated| simulated.before.clone()).unwrap_or_default();
            let (anyway, mut deleted) = (without.map(gone).unwrap_or_default(), with.map(gone).unwrap_or_default());
            let change = change(without, with, rules);
            deleted.retain(|pod| !anyway.contains(pod));
            let deletion = with.and_then(|with| with.deletion.clone()).filter(|_| !deleted.is_empty());
            let change = match (change, deletion) {
                (Some(change @ (Change::Lost(_) | Change::Replaced(_) | Change::Gained(_))), _) => Some(change),
                (_, Some(deletion)) if matches!(End::of(with), End::NoPod) => {
                    Some(Change::Lost(Loss::Deleted(deletion)))
                }
                (_, Some(deletion)) => Some(Change::Reduced(deletion)),
                (change, None) => change,
            };
            Some(NodeDiff { change: change?, pods, deleted, node })
        });
        let nodes: Vec<_> = nodes.collect();
        let of_touched = |touched| {
            let mut simulation = Simulation::new(after, &ideal, fits.unrefusing());
            simulation.count_only(touched);
            simulation.run();
            simulation.most_unavailable
        };
        // Only what the change touches counts, not an update that is under way.
        let touched: BTreeSet<_> = nodes.iter().map(|node| node.node.clone()).collect();
        let of_touched = if nodes.is_empty() { 0 } else { of_touched(&touched) };
        let without = unchanged.as_ref().map_or(0, |unchanged| unchanged.most_unavailable);
        let is_faster = before.is_some() && changed.most_unavailable > without;
        let most_unavailable = if is_faster { changed.most_unavailable } else { of_touched };
        let (scheduled, anyway) = (Scheduled::new(after, fits, &changed, &ideal), anyway.unwrap_or_default());
        Diff {
            nodes,
            most_unavailable,
            stuck: scheduled.stuck_with(&anyway, &touched),
            desired: changed.nodes.values().filter(|simulated| simulated.verdict == Verdict::Run).count(),
            is_restless: end == EndState::Restless,
            missing: None,
            unknown: scheduled.unknown_with(&anyway, &touched),
            preempted: scheduled.preempted_with(&anyway, &touched),
            held_by: changed.rollout.as_ref().map(|rollout| rollout.phase.clone()).filter(RolloutPhase::holds),
            rests_on,
        }
    }
}

/// The pods of the start that no longer exist at the end.
fn gone(simulated: &SimulatedNode) -> Vec<Text> {
    let stays = |name: &Text| simulated.pods.iter().any(|pod| pod.name == *name && !pod.is_being_deleted);
    simulated.before.iter().filter(|name| !stays(name)).cloned().collect()
}

/// The rules that keep new pods away from a node, without a change and with it.
struct Rules {
    daemonset_is_new: bool,
    fails_without: Option<PlacementReason>,
    fails_with: Option<PlacementReason>,
}

/// The nodes where no pod should run, each with the reason.
fn failing(snapshot: &Snapshot<'_>) -> BTreeMap<Text, PlacementReason> {
    let failing = snapshot.placements().filter(|placement| placement.verdict != Verdict::Run);
    failing.map(|placement| (placement.node, placement.reason)).collect()
}

/// Compares the final states of a node, `without` the change and `with` it.
fn change(without: Option<&SimulatedNode>, with: Option<&SimulatedNode>, rules: Rules) -> Option<Change> {
    match (End::of(without), End::of(with)) {
        (End::NoPod, End::NoPod) | (End::NewPod, End::NewPod) => None,
        (End::NoPod, End::Kept { .. }) if rules.daemonset_is_new => Some(Change::Adopted),
        (End::NoPod, End::Kept { .. }) if without.is_some_and(|without| !without.before.is_empty()) => {
            Some(Change::Spared)
        }
        (End::NoPod, End::NewPod) if rules.daemonset_is_new && with.is_some_and(|with| !with.before.is_empty()) => {
            with.and_then(|simulated| simulated.deletion.clone()).map(Change::Replaced)
        }
        (End::NoPod, _) => Some(Change::Gained(match (without, rules.fails_without) {
            _ if rules.daemonset_is_new => Gain::NewDaemonSet,
            (None, _) => Gain::NewNode,
            (Some(_), Some(reason)) => Gain::RuleHolds(reason),
            (Some(_), None) => Gain::Other,
        })),
        (_, End::NoPod) => {
            Some(Change::Lost(match (with.and_then(|simulated| simulated.deletion.clone()), rules.fails_with) {
                // The update takes the pod, and the rule keeps a new one away.
                (Some(deletion), Some(placement)) if deletion.is_update() => {
                    Loss::Deleted(DeleteReason::NotPlaced { placement })
                }
                (Some(deletion), _) => Loss::Deleted(deletion),
                (None, Some(reason)) => Loss::NotCreated(reason),
                (None, None) => Loss::NodeGone,
            }))
        }
        (End::NewPod, End::Kept { .. }) => Some(Change::Spared),
        (End::Kept { .. }, End::NewPod) => with.and_then(|simulated| simulated.deletion.clone()).map(Change::Replaced),
        (End::Kept { is_new: true }, End::Kept { is_new: false }) => Some(Change::Outdated),
        (End::Kept { is_new: false }, End::Kept { is_new: true }) => Some(Change::UpToDate),
        (End::Kept { .. }, End::Kept { .. }) => {
            rules.fails_with.filter(|_| rules.fails_without.is_none()).map(Change::Unwanted)
        }
    }
}

impl Diff {
    /// Returns the number of existing pods that are deleted because of the change.
    pub fn deletions(&self) -> usize {
        self.nodes.iter().map(|node| node.deleted.len()).sum()
    }
}

impl Change {
    /// Returns the variant's name, for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Gained(_) => "Gained",
            Self::Lost(_) => "Lost",
            Self::Replaced(_) => "Replaced",
            Self::Reduced(_) => "Reduced",
            Self::Spared => "Spared",
            Self::Adopted => "Adopted",
            Self::Outdated => "Outdated",
            Self::UpToDate => "UpToDate",
            Self::Unwanted(_) => "Unwanted",
        }
    }

    /// The reason for programs; equal to that of the action or placement, if any.
    fn reason_code(&self) -> Option<&'static str> {
        match self {
            Self::Gained(Gain::NewDaemonSet) => Some("NewDaemonSet"),
            Self::Gained(Gain::NewNode) => Some("NewNode"),
            Self::Gained(Gain::RuleHolds(_)) => Some("RuleHolds"),
            Self::Lost(Loss::Deleted(deletion)) | Self::Replaced(deletion) | Self::Reduced(deletion) => {
                Some(deletion.code())
            }
            Self::Lost(Loss::NotCreated(_)) => Some("NotCreated"),
            Self::Lost(Loss::NodeGone) => Some("NodeGone"),
            Self::Gained(Gain::Other)
            | Self::Spared
            | Self::Adopted
            | Self::Outdated
            | Self::UpToDate
            | Self::Unwanted(_) => None,
        }
    }

    /// The placement rule that causes the change, if any.
    fn placement(&self) -> Option<&PlacementReason> {
        match self {
            Self::Gained(Gain::RuleHolds(reason))
            | Self::Lost(Loss::NotCreated(reason) | Loss::Deleted(DeleteReason::NotPlaced { placement: reason }))
            | Self::Unwanted(reason) => Some(reason),
            _ => None,
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gained(Gain::NewDaemonSet) => f.write_str("pod added: the DaemonSet is new"),
            Self::Gained(Gain::NewNode) => f.write_str("pod added: the node is new"),
            Self::Gained(Gain::RuleHolds(reason)) => write!(f, "pod added; before: {reason}"),
            Self::Gained(Gain::Other) => f.write_str("pod added, which would have been deleted or not created"),
            Self::Lost(Loss::Deleted(deletion)) => write!(f, "pod removed: {deletion}"),
            Self::Lost(Loss::NotCreated(reason)) => write!(f, "pod not created: {reason}"),
            Self::Lost(Loss::NodeGone) => f.write_str("pod not created: the node is removed"),
            Self::Replaced(deletion) => write!(f, "pod replaced: {deletion}"),
            Self::Reduced(deletion) => write!(f, "pod deleted, another one stays: {deletion}"),
            Self::Spared => f.write_str("pod kept, which would have been deleted"),
            Self::Adopted => f.write_str("pod adopted: the DaemonSet is new"),
            Self::Outdated => f.write_str("pod kept, outdated from then on"),
            Self::UpToDate => f.write_str("pod kept, up to date from then on"),
            Self::Unwanted(reason) => write!(f, "pod kept, but no new one would be created: {reason}"),
        }
    }
}

impl fmt::Display for NodeDiff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.node, self.change)
    }
}

impl Serialize for NodeDiff {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("node", &self.node)?;
        map.serialize_entry("change", self.change.code())?;
        map.serialize_entry("pods", &self.pods)?;
        map.serialize_entry("deleted", &self.deleted)?;
        map.serialize_entry("reason", &self.change.reason_code())?;
        map.serialize_entry("placement", &self.change.placement())?;
        map.serialize_entry("message", &self.change.to_string())?;
        map.end()
    }
}
