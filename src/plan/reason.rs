//! Why a plan does what it does: data first, with a name for programs and a sentence for people.

use std::fmt;

use crate::{model::Text, placement::PlacementReason};

/// Why a pod is created.
///
/// ```
/// assert_eq!(daemonplan::CreateReason::Surge.to_string(), "the update surges here next");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum CreateReason {
    /// There is none on a node that should run one.
    NoPod,
    /// With surge: those that are there are being deleted or have ended.
    NoLivePod,
    /// With surge: the old pod is not available, so its replacement does not wait for a turn.
    ReplacesUnavailable,
    /// With surge: it is this node's turn.
    Surge,
    /// There is none, and the update has not come to this node: it gets one of the older template.
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
    /// Its node does not exist.
    NodeGone,
    /// It failed.
    Failed,
    /// It ended, and a daemon should not.
    Succeeded,
    /// Another pod of the DaemonSet is kept on this node.
    Duplicate {
        /// That pod.
        kept: Text,
    },
    /// It may not keep running on this node.
    NotPlaced {
        /// Which rule says so.
        placement: PlacementReason,
    },
    /// It is of an older template, and it is this node's turn.
    Outdated,
    /// It is of an older template and not available, so it does not wait for a turn.
    OutdatedUnavailable,
    /// With surge: it is of an older template and not ready, and a new pod is there.
    SurgeOldNotReady,
    /// With surge: it is of an older template, and the new pod is available.
    SurgeFinished,
    /// With surge: it is of an older template, the node should not run one any more, and it is not needed.
    NotWanted,
    /// Its DaemonSet is being deleted.
    OwnerDeleted,
}

impl CreateReason {
    /// Whether it is a step of an update.
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
            Self::NoPod => "no pod is there",
            Self::NoLivePod => "no live pod is there",
            Self::ReplacesUnavailable => "the old pod is not available",
            Self::Surge => "the update surges here next",
            Self::HeldBack => "no pod is there; one of the older template, as the update is held back here",
        })
    }
}

impl DeleteReason {
    /// Whether it is a step of an update.
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
            Self::Succeeded => f.write_str("it ended, and a daemon should not"),
            Self::Duplicate { kept } => write!(f, "{kept} is kept on this node"),
            Self::NotPlaced { placement } => placement.fmt(f),
            Self::Outdated => f.write_str("it is of an older template"),
            Self::OutdatedUnavailable => f.write_str("it is of an older template and not available"),
            Self::SurgeOldNotReady => f.write_str("it is of an older template and not ready, a new pod is there"),
            Self::SurgeFinished => f.write_str("it is of an older template, the new pod is available"),
            Self::NotWanted => f.write_str("it is of an older template and the node should not run one any more"),
            Self::OwnerDeleted => f.write_str("its DaemonSet is being deleted"),
        }
    }
}
