//! What a change does: the cluster as it is and the cluster as it would be, each played forward until nothing is left to
//! do, and compared node by node.

use std::{collections::BTreeSet, fmt};

use serde::{Serialize, Serializer, ser::SerializeMap};

use crate::{
    forecast::{Assumptions, EndState, SimulatedNode, Simulation},
    model::Text,
    placement::{PlacementReason, Verdict},
    plan::{DeleteReason, Plan},
    planner::Snapshot,
};

/// What a change does to a DaemonSet's pods: [`Snapshot::diff`].
///
/// ```
/// use daemonplan::{Snapshot, model::{DaemonSet, Namespace, Node}};
/// # let mut daemonset = DaemonSet::new("prod", "agent");
/// # daemonset.selector = serde_json::from_str(r#"{"matchLabels": {"app": "agent"}}"#)?;
/// # daemonset.template = serde_json::from_str(r#"{"metadata": {"labels": {"app": "agent"}}}"#)?;
/// # let namespace = Namespace::new("prod");
/// let nodes = [Node::new("node-1"), Node::new("node-2")];
/// let before = Snapshot::new(&daemonset, &nodes, &[], &namespace);
/// let after = Snapshot::new(&daemonset, &nodes[..1], &[], &namespace);
/// let diff = Snapshot::diff(Some(&before), &after);
/// assert_eq!((diff.nodes.len(), diff.desired, diff.deletions()), (1, 1, 0));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Diff {
    /// The nodes on which it makes a difference, by name.
    pub nodes: Vec<NodeDiff>,
    /// The most nodes at a time that are without an available pod on the way, of those that have one now and should run
    /// one, if every new pod is available at once.
    pub most_unavailable: usize,
    /// How many nodes should run a pod once the change is made.
    pub desired: usize,
    /// Whether pods would be created without end.
    pub is_restless: bool,
}

/// What a change does on a node.
///
/// ```
/// use daemonplan::{Snapshot, model::{DaemonSet, Namespace, Node}};
/// # let mut daemonset = DaemonSet::new("prod", "agent");
/// # daemonset.selector = serde_json::from_str(r#"{"matchLabels": {"app": "agent"}}"#)?;
/// # daemonset.template = serde_json::from_str(r#"{"metadata": {"labels": {"app": "agent"}}}"#)?;
/// # let namespace = Namespace::new("prod");
/// let nodes = [Node::new("node-1")];
/// let diff = Snapshot::diff(None, &Snapshot::new(&daemonset, &nodes, &[], &namespace));
/// assert_eq!(diff.nodes[0].to_string(), "node-1: pod gained: the DaemonSet is new");
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NodeDiff {
    /// The node's name.
    pub node: Text,
    /// The pods that are there now and that the difference is about.
    pub pods: Vec<Text>,
    /// What is different.
    pub change: Change,
}

/// The difference that a change makes on a node.
///
/// ```
/// use daemonplan::{DeleteReason, forecast::Change};
/// let change = Change::Replaced(DeleteReason::Outdated);
/// assert_eq!((change.code(), change.to_string().as_str()), ("Replaced", "pod replaced: it is of an older template"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Change {
    /// It has a pod that it would not have had.
    Gained(Gain),
    /// It has no pod, and would have had one.
    Lost(Loss),
    /// Its pod is replaced by another one.
    Replaced(DeleteReason),
    /// Its pod stays, and would have been replaced.
    Spared,
    /// Its pod stays, and counts as of an older template (`OnDelete`).
    Outdated,
    /// Its pod stays, and counts as up to date, which it did not.
    UpToDate,
    /// Its pod stays, though none would be created any more.
    Unwanted(PlacementReason),
}

/// Why a node has a pod after a change that it would not have had.
///
/// ```
/// use daemonplan::forecast::{Change, Gain};
/// assert_eq!(Change::Gained(Gain::NewNode).to_string(), "pod gained: the node is new");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Gain {
    /// The DaemonSet is new.
    NewDaemonSet,
    /// The node is new.
    NewNode,
    /// A rule kept pods away that now holds.
    RuleHolds(PlacementReason),
    /// The node is as it was: the pod would have been deleted, or kept from being created.
    Other,
}

/// Why a node has no pod after a change, and would have had one.
///
/// ```
/// use daemonplan::{DeleteReason, forecast::{Change, Loss}};
/// assert_eq!(Change::Lost(Loss::Deleted(DeleteReason::NodeGone)).to_string(), "pod lost: its node does not exist");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Loss {
    /// Its pod is deleted.
    Deleted(DeleteReason),
    /// None is created.
    NotCreated(PlacementReason),
    /// The node is gone, and no pod was there yet.
    NodeGone,
}

impl Snapshot<'_> {
    /// What changes if this cluster becomes `after`: which nodes gain a pod, lose it, or have it replaced, and why. Without
    /// a `before` the DaemonSet is new.
    ///
    /// Both are played forward as they are, with pods that start and stop at once; what would happen anyhow is not in the
    /// difference. How a roll-out goes on in time says [`Snapshot::forecast`].
    ///
    /// ```
    /// use daemonplan::{Snapshot, model::{DaemonSet, Labels, Namespace, Node}};
    /// let mut daemonset = DaemonSet::new("prod", "agent");
    /// daemonset.selector = serde_json::from_str(r#"{"matchLabels": {"app": "agent"}}"#)?;
    /// daemonset.template = serde_json::from_str(
    ///     r#"{"metadata": {"labels": {"app": "agent"}}, "spec": {"nodeSelector": {"role": "worker"}}}"#,
    /// )?;
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
    ///     "node-7: pod gained; before: node selector role=worker is required, the node has no label role",
    /// );
    /// # Ok::<(), serde_json::Error>(())
    /// ```
    pub fn diff(before: Option<&Self>, after: &Self) -> Diff {
        let ideal = Assumptions::ideal();
        let mut then = Simulation::new(after, &ideal);
        let rest = then.run();
        let mut now = before.map(|before| Simulation::new(before, &ideal));
        if let Some(now) = &mut now {
            now.run();
        }
        let sites = |simulation: &Simulation<'_>| simulation.sites.keys().cloned().collect::<BTreeSet<_>>();
        let all = &sites(&then) | &now.as_ref().map(sites).unwrap_or_default();
        let plans = (before.map(|before| before.plan()), after.plan());
        let nodes = all.into_iter().filter_map(|node| {
            let site = now.as_ref().and_then(|now| now.sites.get(&node));
            let then = then.sites.get(&node);
            let rules = Rules {
                daemonset_is_new: now.is_none(),
                fails: reason(plans.0.as_ref(), &node),
                fails_then: reason(Some(&plans.1), &node),
            };
            let pods = site.or(then).map(|site| site.before.clone()).unwrap_or_default();
            Some(NodeDiff { change: change(site, then, rules)?, pods, node })
        });
        Diff {
            nodes: nodes.collect(),
            most_unavailable: then.most_lost,
            desired: then.sites.values().filter(|site| site.verdict == Verdict::Run).count(),
            is_restless: rest == EndState::Restless,
        }
    }
}

/// Which rule keeps new pods away from a node, without a change and with it.
struct Rules {
    daemonset_is_new: bool,
    fails: Option<PlacementReason>,
    fails_then: Option<PlacementReason>,
}

fn reason(plan: Option<&Plan<'_>>, node: &str) -> Option<PlacementReason> {
    let placement = plan?.placement(node)?;
    (placement.verdict != Verdict::Run).then_some(placement.reason)
}

/// What is different on a node: `now` is as things come to rest without the change, `then` with it.
fn change(now: Option<&SimulatedNode>, then: Option<&SimulatedNode>, rules: Rules) -> Option<Change> {
    match (End::of(now), End::of(then)) {
        (End::NoPod, End::NoPod) | (End::NewPod, End::NewPod) => None,
        (End::NoPod, _) => Some(Change::Gained(match (now, rules.fails) {
            _ if rules.daemonset_is_new => Gain::NewDaemonSet,
            (None, _) => Gain::NewNode,
            (Some(_), Some(reason)) => Gain::RuleHolds(reason),
            (Some(_), None) => Gain::Other,
        })),
        (_, End::NoPod) => Some(Change::Lost(match (then.and_then(|site| site.deletion.clone()), rules.fails_then) {
            (Some(deletion), _) => Loss::Deleted(deletion),
            (None, Some(reason)) => Loss::NotCreated(reason),
            (None, None) => Loss::NodeGone,
        })),
        (End::NewPod, End::Kept { .. }) => Some(Change::Spared),
        (End::Kept { .. }, End::NewPod) => then.and_then(|site| site.deletion.clone()).map(Change::Replaced),
        (End::Kept { is_new: true }, End::Kept { is_new: false }) => Some(Change::Outdated),
        (End::Kept { is_new: false }, End::Kept { is_new: true }) => Some(Change::UpToDate),
        (End::Kept { .. }, End::Kept { .. }) => {
            rules.fails_then.filter(|_| rules.fails.is_none()).map(Change::Unwanted)
        }
    }
}

/// How things come to rest on a node.
#[derive(Clone, Copy)]
enum End {
    NoPod,
    /// A pod that was there at the beginning.
    Kept {
        is_new: bool,
    },
    /// One that was not.
    NewPod,
}

impl End {
    fn of(site: Option<&SimulatedNode>) -> Self {
        let Some(site) = site else { return Self::NoPod };
        let mut pods = site.pods.iter().filter(|pod| !pod.is_going);
        match (pods.clone().find(|pod| site.before.contains(&pod.name)), pods.next()) {
            (Some(kept), _) => Self::Kept { is_new: kept.is_new },
            (None, Some(_)) => Self::NewPod,
            (None, None) => Self::NoPod,
        }
    }
}

impl Diff {
    /// How many pods that are there now are deleted: those that are lost and those that are replaced.
    pub fn deletions(&self) -> usize {
        let deleted = self.nodes.iter().filter(|node| matches!(node.change, Change::Lost(_) | Change::Replaced(_)));
        deleted.map(|node| node.pods.len()).sum()
    }
}

impl Change {
    /// The variant's name, for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Gained(_) => "Gained",
            Self::Lost(_) => "Lost",
            Self::Replaced(_) => "Replaced",
            Self::Spared => "Spared",
            Self::Outdated => "Outdated",
            Self::UpToDate => "UpToDate",
            Self::Unwanted(_) => "Unwanted",
        }
    }

    /// Why, for programs; the same as for actions and placements where there is such a reason.
    fn reason_code(&self) -> Option<&'static str> {
        match self {
            Self::Gained(Gain::NewDaemonSet) => Some("NewDaemonSet"),
            Self::Gained(Gain::NewNode) => Some("NewNode"),
            Self::Gained(Gain::RuleHolds(_)) => Some("RuleHolds"),
            Self::Lost(Loss::Deleted(deletion)) | Self::Replaced(deletion) => Some(deletion.code()),
            Self::Lost(Loss::NotCreated(_)) => Some("NotCreated"),
            Self::Lost(Loss::NodeGone) => Some("NodeGone"),
            Self::Gained(Gain::Other) | Self::Spared | Self::Outdated | Self::UpToDate | Self::Unwanted(_) => None,
        }
    }

    /// The rule that it is about.
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
            Self::Gained(Gain::NewDaemonSet) => f.write_str("pod gained: the DaemonSet is new"),
            Self::Gained(Gain::NewNode) => f.write_str("pod gained: the node is new"),
            Self::Gained(Gain::RuleHolds(reason)) => write!(f, "pod gained; before: {reason}"),
            Self::Gained(Gain::Other) => f.write_str("pod gained, which would have gone or not come"),
            Self::Lost(Loss::Deleted(deletion)) => write!(f, "pod lost: {deletion}"),
            Self::Lost(Loss::NotCreated(reason)) => write!(f, "pod not created: {reason}"),
            Self::Lost(Loss::NodeGone) => f.write_str("pod not created: the node is gone"),
            Self::Replaced(deletion) => write!(f, "pod replaced: {deletion}"),
            Self::Spared => f.write_str("pod kept, which would have been replaced"),
            Self::Outdated => f.write_str("pod kept, of an older template from then on"),
            Self::UpToDate => f.write_str("pod kept, up to date from then on"),
            Self::Unwanted(reason) => write!(f, "pod kept, though none would be created: {reason}"),
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
        map.serialize_entry("reason", &self.change.reason_code())?;
        map.serialize_entry("placement", &self.change.placement())?;
        map.serialize_entry("message", &self.change.to_string())?;
        map.end()
    }
}
