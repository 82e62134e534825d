//! Why a plan creates and deletes pods: data with a name for programs and a sentence for people.

use std::fmt;

use crate::{model::Text, placement::PlacementReason, policy::some_nodes};

/// Why a pod is created.
///
/// ```
/// assert_eq!(daemonplan::CreateReason::Surge.to_string(), "the update surges to this node next");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum CreateReason {
    /// The node should run a pod and has none.
    NoPod,
    /// The update surges, and the node's pods are terminal or being deleted.
    NoLivePod,
    /// The update surges, and the outdated pod is not available, so its replacement needs no budget.
    ReplacesUnavailable,
    /// The update surges, and reaches this node.
    Surge,
    /// The node has no pod, and the update has not reached it: the pod gets the older template.
    HeldBack,
}

/// Why a pod is deleted.
///
/// ```
/// use daemonplan::DeleteReason;
/// assert_eq!(DeleteReason::Duplicate { kept: "agent-x2k".into() }.to_string(), "agent-x2k is kept on this node");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DeleteReason {
    /// The node does not exist.
    NodeGone,
    /// The pod failed.
    Failed,
    /// The pod completed, but daemon pods must keep running.
    Succeeded,
    /// Another pod of the DaemonSet is kept on this node.
    Duplicate {
        /// The kept pod.
        kept: Text,
    },
    /// The pod may not keep running on this node.
    NotPlaced {
        /// The rule that decides.
        placement: PlacementReason,
    },
    /// The pod is outdated, and the update reaches this node.
    Outdated,
    /// The pod is outdated and not available, so its deletion needs no budget.
    OutdatedUnavailable,
    /// With surge: the pod is outdated and not ready, and a new pod exists.
    SurgeOldNotReady,
    /// With surge: the pod is outdated, and the new pod is available.
    SurgeFinished,
    /// With surge: the pod is outdated, the node should no longer run one, and enough others are available.
    NotWanted,
    /// The DaemonSet is being deleted.
    OwnerDeleted,
}

/// Why a plan records what an update has come to.
///
/// ```
/// use daemonplan::plan::RecordReason;
/// assert_eq!(RecordReason::Done { hash: "6d5f".into() }.to_string(), "the update to 6d5f is done");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecordReason {
    /// The template fails, and the update is paused until an operator resumes it.
    Paused {
        /// The hash of the template.
        hash: Text,
        /// Why it fails, and where.
        reason: Text,
    },
    /// The update is done.
    Done {
        /// The hash of the template.
        hash: Text,
    },
    /// An operator went back to an older template.
    Undone {
        /// The hash of that template.
        hash: Text,
    },
    /// Canaries that have a limited time have baked.
    CanariesBaked {
        /// The hash of the template.
        hash: Text,
        /// The number of steps that have baked.
        steps: usize,
    },
    /// Pods are replaced that were broken before.
    BrokenPods {
        /// The nodes, by name.
        nodes: Vec<Text>,
    },
}

impl RecordReason {
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Paused { .. } => "TemplateFails",
            Self::Done { .. } => "UpdateDone",
            Self::Undone { .. } => "Undone",
            Self::CanariesBaked { .. } => "CanariesBaked",
            Self::BrokenPods { .. } => "BrokenPods",
        }
    }
}

impl fmt::Display for RecordReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Paused { hash, reason } => write!(f, "the update to {hash} is paused: {reason}"),
            Self::Done { hash } => write!(f, "the update to {hash} is done"),
            Self::Undone { hash } => write!(f, "the update goes back to {hash}"),
            Self::CanariesBaked { hash, steps: 1 } => {
                write!(f, "the canaries of {hash} have been available for long enough")
            }
            Self::CanariesBaked { hash, steps } => {
                write!(f, "the canaries of {hash} have been available for long enough, up to step {steps}")
            }
            Self::BrokenPods { nodes } => {
                write!(f, "pods that were broken before are replaced on {}", some_nodes(nodes))
            }
        }
    }
}

impl CreateReason {
    /// Whether the reason is a step of an update.
    pub(crate) fn is_update(self) -> bool {
        matches!(self, Self::Surge | Self::ReplacesUnavailable)
    }

    pub(crate) fn code(self) -> &'static str {
        match self {
            Self::NoPod => "NoPod",
            Self::NoLivePod => "NoLivePod",
            Self::ReplacesUnavailable => "ReplacesUnavailable",
            Self::Surge => "Surge",
            Self::HeldBack => "HeldBack",
        }
    }
}

impl fmt::Display for CreateReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoPod => "no pod on this node",
            Self::NoLivePod => "no live pod on this node",
            Self::ReplacesUnavailable => "the outdated pod is not available",
            Self::Surge => "the update surges to this node next",
            Self::HeldBack => "no pod on this node; the update is held back here, so the pod gets the older template",
        })
    }
}

impl DeleteReason {
    /// Whether the reason is a step of an update.
    pub(crate) fn is_update(&self) -> bool {
        use DeleteReason::{NotWanted, Outdated, OutdatedUnavailable, SurgeFinished, SurgeOldNotReady};
        matches!(self, Outdated | OutdatedUnavailable | SurgeOldNotReady | SurgeFinished | NotWanted)
    }

    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::NodeGone => "NodeGone",
            Self::Failed => "Failed",
            Self::Succeeded => "Succeeded",
            Self::Duplicate { .. } => "Duplicate",
            Self::NotPlaced { .. } => "NotPlaced",
            Self::Outdated => "Outdated",
            Self::OutdatedUnavailable => "OutdatedUnavailable",
            Self::SurgeOldNotReady => "SurgeOldNotReady",
            Self::SurgeFinished => "SurgeFinished",
            Self::NotWanted => "NotWanted",
            Self::OwnerDeleted => "OwnerDeleted",
        }
    }
}

impl fmt::Display for DeleteReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NodeGone => f.write_str("its node does not exist"),
            Self::Failed => f.write_str("it failed"),
            Self::Succeeded => f.write_str("it completed, but daemon pods must keep running"),
            Self::Duplicate { kept } => write!(f, "{kept} is kept on this node"),
            Self::NotPlaced { placement } => placement.fmt(f),
            Self::Outdated => f.write_str("outdated"),
            Self::OutdatedUnavailable => f.write_str("outdated and not available"),
            Self::SurgeOldNotReady => f.write_str("outdated and not ready, and a new pod exists"),
            Self::SurgeFinished => f.write_str("outdated, and the new pod is available"),
            Self::NotWanted => f.write_str("outdated, and the node should no longer run a pod"),
            Self::OwnerDeleted => f.write_str("its DaemonSet is being deleted"),
        }
    }
}
