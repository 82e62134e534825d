//! The reasons for releasing pods and revisions, and for updating and deleting revisions.

use std::fmt;

use crate::model::Text;

/// The reason why a pod or a revision is released.
///
/// ```
/// let reason = daemonplan::adoption::ReleaseReason::LabelsDoNotMatch;
/// assert_eq!(reason.to_string(), "its labels do not match the selector");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum ReleaseReason {
    /// Its labels do not match the DaemonSet's selector.
    LabelsDoNotMatch,
    /// Its DaemonSet is being deleted and orphans its dependents.
    Orphaned,
}

/// The reason why a revision is updated.
///
/// ```
/// assert_eq!(daemonplan::adoption::RevisionUpdateReason::NoHashLabel.to_string(), "no hash label");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum RevisionUpdateReason {
    /// The hash label is missing. The revision's name becomes its hash.
    NoHashLabel,
    /// The current revision does not have the highest number.
    NotTheNewest,
}

/// The reason why a revision is deleted.
///
/// ```
/// use daemonplan::adoption::RevisionDeleteReason;
/// let reason = RevisionDeleteReason::BeyondLimit { limit: 10 };
/// assert_eq!(reason.to_string(), "no pod uses it, and revisionHistoryLimit is 10");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum RevisionDeleteReason {
    /// The revision equals the current one.
    Duplicate {
        /// The name of the current revision.
        kept: Text,
    },
    /// No pod uses the revision, and more old revisions exist than the DaemonSet keeps.
    BeyondLimit {
        /// The number of old revisions to keep (`spec.revisionHistoryLimit`).
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
            Self::Orphaned => "its DaemonSet is being deleted and orphans its dependents",
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
            Self::NoHashLabel => "no hash label",
            Self::NotTheNewest => "the current revision must have the highest number",
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
            Self::Duplicate { kept } => write!(f, "duplicate of {kept}"),
            Self::BeyondLimit { limit } => write!(f, "no pod uses it, and revisionHistoryLimit is {limit}"),
            Self::OwnerDeleted => f.write_str("its DaemonSet is being deleted"),
        }
    }
}
