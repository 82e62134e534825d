//! What the input does not hold, and which actions rest on it.

use std::fmt;

use serde::Serialize;

use crate::{
    adoption::RevisionDeleteReason,
    model::UpdateStrategy,
    placement::PlacementReason,
    plan::{Action, DeleteReason},
};

/// A kind of fact that an input lacks: whether such objects exist is unknown.
///
/// ```
/// use daemonplan::{MissingFact, Snapshot, model::{DaemonSet, Namespace, Node}};
/// let daemonset = DaemonSet::new("prod", "agent", [("app", "agent")])?;
/// let (nodes, namespace) = ([Node::new("node-7")], Namespace::new("prod"));
/// let plan = Snapshot::new(&daemonset, &nodes, &[], &namespace).without(MissingFact::Pods).plan();
/// assert!(plan.actions.is_empty(), "a pod may run there already");
/// assert_eq!(plan.unsupported[0].rests_on, [MissingFact::Pods]);
/// # Ok::<(), daemonplan::model::RequirementError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[non_exhaustive]
pub enum MissingFact {
    /// The nodes.
    Nodes,
    /// The pods.
    Pods,
    /// The DaemonSet's namespace, and with it its node selector.
    Namespace,
    /// The `ControllerRevision`s, and with them the hash of pods that are up to date.
    Revisions,
}

/// A set of facts that an input lacks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct MissingFacts(u8);

/// An action that would follow if the objects that are missing from the input did not exist. It is not to be carried
/// out. It serializes as the action with the field `restsOn`.
///
/// ```
/// use daemonplan::{MissingFact, Snapshot, model::{DaemonSet, Namespace, Node}};
/// let daemonset = DaemonSet::new("prod", "agent", [("app", "agent")])?;
/// let (nodes, namespace) = ([Node::new("node-7")], Namespace::new("prod"));
/// let plan = Snapshot::new(&daemonset, &nodes, &[], &namespace).without(MissingFact::Namespace).plan();
/// assert_eq!(plan.unsupported[0].action.to_string(), "create pod on node-7: no pod on this node");
/// # Ok::<(), daemonplan::model::RequirementError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct UnsupportedAction {
    /// The action.
    #[serde(flatten)]
    pub action: Action,
    /// The missing facts that it rests on.
    pub rests_on: Vec<MissingFact>,
}

impl MissingFact {
    const ALL: [Self; 4] = [Self::Nodes, Self::Pods, Self::Namespace, Self::Revisions];

    fn bit(self) -> u8 {
        match self {
            Self::Nodes => 1,
            Self::Pods => 2,
            Self::Namespace => 4,
            Self::Revisions => 8,
        }
    }
}

impl MissingFacts {
    pub(crate) fn with(self, fact: MissingFact) -> Self {
        Self(self.0 | fact.bit())
    }

    pub(crate) fn contains(self, fact: MissingFact) -> bool {
        self.0 & fact.bit() != 0
    }

    pub(crate) fn iter(self) -> impl Iterator<Item = MissingFact> {
        MissingFact::ALL.into_iter().filter(move |fact| self.contains(*fact))
    }

    /// Divides actions into those that the input supports, and the others.
    /// `is_guided` says whether a rollout policy may choose an older template.
    pub(crate) fn divide(
        self,
        actions: Vec<Action>,
        strategy: UpdateStrategy,
        is_guided: bool,
    ) -> (Vec<Action>, Vec<UnsupportedAction>) {
        let (mut supported, mut unsupported) = (Vec::new(), Vec::new());
        for action in actions {
            let rests_on: Vec<_> = self.iter().filter(|fact| rests_on(&action, *fact, strategy, is_guided)).collect();
            if rests_on.is_empty() {
                supported.push(action);
            } else {
                unsupported.push(UnsupportedAction { action, rests_on });
            }
        }
        (supported, unsupported)
    }
}

/// Whether unknown objects might make the action wrong.
fn rests_on(action: &Action, fact: MissingFact, strategy: UpdateStrategy, is_guided: bool) -> bool {
    use MissingFact::{Namespace, Nodes, Pods, Revisions};
    match action {
        Action::CreatePod { reason, .. } => fact != Revisions || reason.is_update() || is_guided,
        Action::DeletePod { reason, .. } => match reason {
            DeleteReason::OwnerDeleted => false,
            // A roll-back takes the place of all other steps.
            _ if is_guided => true,
            DeleteReason::NotPlaced { placement: PlacementReason::NamespaceNodeSelector { .. } } => {
                matches!(fact, Nodes | Namespace)
            }
            // Of two pods, one may be the new one of an update that surges.
            DeleteReason::Duplicate { .. } => fact == Nodes || (fact == Revisions && strategy.surges()),
            // The budget of an update depends on all nodes that should run a pod.
            reason if reason.is_update() => true,
            _ => fact == Nodes,
        },
        Action::DeleteRevision { reason: RevisionDeleteReason::BeyondLimit { .. }, .. } => fact == Pods,
        Action::UpdateStatus { .. } | Action::RollBack { .. } | Action::RecordRollout { .. } => true,
        _ => false,
    }
}

impl fmt::Display for MissingFact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nodes => "nodes",
            Self::Pods => "pods",
            Self::Namespace => "namespace",
            Self::Revisions => "ControllerRevisions",
        })
    }
}
