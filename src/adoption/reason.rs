//! Why a pod or a revision is released, and why a revision is updated or deleted.

use std::fmt;

use crate::model::Text;

/// Why a pod or a revision is released.
///
/// ```
/// assert_eq!(daemonplan::adoption::ReleaseReason::LabelsDoNotMatch.to_string(), "its labels do not match the selector");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum ReleaseReason {
    /// Its labels do not match the DaemonSet's selector.
    LabelsDoNotMatch,
    /// Its DaemonSet is being deleted and is to leave it behind.
    Orphaned,
}

/// Why a revision is updated.
///
/// ```
/// assert_eq!(daemonplan::adoption::RevisionUpdateReason::NoHashLabel.to_string(), "it has no hash label");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum RevisionUpdateReason {
    /// It has no hash label; it gets its name.
    NoHashLabel,
    /// It is the current one, but its number is not above all old ones.
    NotTheNewest,
}

/// Why a revision is deleted.
///
/// ```
/// use daemonplan::adoption::RevisionDeleteReason;
/// let reason = RevisionDeleteReason::BeyondLimit { limit: 10 };
/// assert_eq!(reason.to_string(), "no pod uses it and at most 10 old revisions are kept");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum RevisionDeleteReason {
    /// It says the same as the current one.
    Duplicate {
        /// The current one.
        kept: Text,
    },
    /// There are more old revisions than the DaemonSet keeps.
    BeyondLimit {
        /// How many it keeps.
        limit: u32,
    },
    /// Its DaemonSet is being deleted.
    OwnerDeleted,
}

impl ReleaseReason {
    pub(crate) fn code(self) -> &'static str {
        match self {
            Self::LabelsDoNotMatch => "LabelsDoNotMatch",
            Self::Orphaned => "Orphaned",
        }
    }
}

impl fmt::Display for ReleaseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::LabelsDoNotMatch => "its labels do not match the selector",
            Self::Orphaned => "its DaemonSet is being deleted and leaves it behind",
        })
    }
}

impl RevisionUpdateReason {
    pub(crate) fn code(self) -> &'static str {
        match self {
            Self::NoHashLabel => "NoHashLabel",
            Self::NotTheNewest => "NotTheNewest",
        }
    }
}

impl fmt::Display for RevisionUpdateReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoHashLabel => "it has no hash label",
            Self::NotTheNewest => "it is the current one and must have the highest number",
        })
    }
}

impl RevisionDeleteReason {
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Duplicate { .. } => "Duplicate",
            Self::BeyondLimit { .. } => "BeyondLimit",
            Self::OwnerDeleted => "OwnerDeleted",
        }
    }
}

impl fmt::Display for RevisionDeleteReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Duplicate { kept } => write!(f, "it says the same as {kept}"),
            Self::BeyondLimit { limit } => write!(f, "no pod uses it and at most {limit} old revisions are kept"),
            Self::OwnerDeleted => f.write_str("its DaemonSet is being deleted"),
        }
    }
}
