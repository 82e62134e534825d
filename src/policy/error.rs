//! What is wrong with the text of a policy.

use crate::{model::Text, selector::ExpressionError};

/// The error for annotations that are not a valid [`RolloutPolicy`](crate::RolloutPolicy).
///
/// ```
/// use daemonplan::{RolloutPolicy, model::Labels};
/// let error = RolloutPolicy::default().annotated(&Labels::from_iter([("daemonplan/partition", "many")])).unwrap_err();
/// assert_eq!(error.annotation(), "daemonplan/partition");
/// assert_eq!(
///     error.to_string(),
///     "annotation daemonplan/partition: expected a number of nodes or a percentage, found \"many\"",
/// );
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// The name of the annotation is unknown.
    #[error("annotation {annotation}: unknown policy")]
    Unknown {
        /// The name of the annotation.
        annotation: Text,
    },
    /// The value of the annotation is invalid.
    #[error("annotation {annotation}: expected {expected}, found {text:?}")]
    Invalid {
        /// The name of the annotation.
        annotation: Text,
        /// The valid values.
        expected: &'static str,
        /// The value that was found.
        text: Text,
    },
    /// The value of the annotation is not a label selector.
    #[error("annotation {annotation}: expected a label selector, found {text:?}: {error}")]
    Selector {
        /// The name of the annotation.
        annotation: Text,
        /// The value that was found.
        text: Text,
        /// The parse error.
        error: ExpressionError,
    },
    /// The annotation requires a different annotation, which is missing.
    #[error("annotation {annotation}: requires annotation {needed}, which is missing")]
    Alone {
        /// The name of the annotation.
        annotation: Text,
        /// The name of the missing annotation.
        needed: Text,
    },
    /// The annotation contradicts a different annotation.
    #[error("annotation {annotation}: cannot be combined with {other}; remove one of them")]
    Contradiction {
        /// The name of the annotation.
        annotation: Text,
        /// The name of the contradicting annotation.
        other: Text,
    },
}

/// The error for a text that is not a value of a policy.
///
/// ```
/// use daemonplan::policy::{InvalidPolicyText, Order};
/// assert_eq!("by-size".parse::<Order>(), Err(InvalidPolicyText));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid policy value")]
pub struct InvalidPolicyText;

impl PolicyError {
    /// Returns the name of the annotation.
    pub fn annotation(&self) -> &str {
        match self {
            Self::Unknown { annotation }
            | Self::Invalid { annotation, .. }
            | Self::Selector { annotation, .. }
            | Self::Alone { annotation, .. }
            | Self::Contradiction { annotation, .. } => annotation,
        }
    }
}
