//! Warnings about the input.

use std::fmt;

use serde::{Serialize, Serializer, ser::SerializeStruct};

use crate::{
    model::{RequirementError, Text},
    placement::{PlacementRules, SelectorSource},
    policy::PolicyError,
    selector::ExpressionError,
};

/// A problem of the input that Kubernetes ignores without a word.
///
/// ```
/// use daemonplan::Warning;
/// let warning = Warning::DuplicateNode { node: "node-7".into() };
/// assert_eq!(warning.code(), "DuplicateNode");
/// assert_eq!(warning.to_string(), "node node-7 was given more than once, with different contents");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Warning {
    /// The DaemonSet's selector is empty and would select every pod, so nothing is done.
    SelectsAllPods,
    /// The DaemonSet has no selector, which matches no pod, not even those that it creates.
    SelectsNoPods,
    /// A term of the template's required node affinity is malformed and matches no node.
    InvalidAffinityTerm {
        /// The index of the term, from 0.
        term: usize,
        /// The cause.
        error: RequirementError,
    },
    /// A node selector annotation of the namespace does not parse and is ignored.
    InvalidNodeSelector {
        /// The annotation.
        source: SelectorSource,
        /// Its text.
        text: Text,
        /// The cause.
        error: ExpressionError,
    },
    /// An annotation with a rollout policy cannot be read, so updates are paused.
    InvalidPolicy {
        /// The cause.
        error: PolicyError,
    },
    /// No ControllerRevisions were given: the template's own hash decides which pods are up to date.
    HistoryNotGiven,
    /// Several nodes of this name were given; the plan uses one of them.
    DuplicateNode {
        /// The name.
        node: Text,
    },
}

impl Warning {
    /// What the compiled rules of a DaemonSet ignore.
    pub(crate) fn of_placement(rules: &PlacementRules) -> Vec<Self> {
        let terms = rules.invalid_terms().map(|(term, error)| Self::InvalidAffinityTerm { term, error: error.clone() });
        let selector = rules.invalid_selector().cloned();
        let selector = selector.map(|invalid| Self::InvalidNodeSelector {
            source: invalid.source,
            text: invalid.text,
            error: invalid.error,
        });
        terms.chain(selector).collect()
    }

    /// Returns the variant's name, for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::SelectsAllPods => "SelectsAllPods",
            Self::SelectsNoPods => "SelectsNoPods",
            Self::InvalidAffinityTerm { .. } => "InvalidAffinityTerm",
            Self::InvalidNodeSelector { .. } => "InvalidNodeSelector",
            Self::InvalidPolicy { .. } => "InvalidPolicy",
            Self::HistoryNotGiven => "HistoryNotGiven",
            Self::DuplicateNode { .. } => "DuplicateNode",
        }
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SelectsAllPods => f.write_str("the selector is empty and selects all pods: nothing is done"),
            Self::SelectsNoPods => f.write_str("no selector: no pod is ever claimed, not even the created ones"),
            Self::InvalidAffinityTerm { term, error } => {
                write!(f, "term {} of the required node affinity matches no node: {error}", term + 1)
            }
            Self::InvalidNodeSelector { source, text, error } => {
                write!(f, "the namespace's {source} is ignored, {text:?} does not parse: {error}")
            }
            Self::InvalidPolicy { error } => write!(f, "updates are paused: {error}"),
            Self::HistoryNotGiven => f.write_str(
                "no ControllerRevisions were given: pods count as up to date by the template's own hash or generation",
            ),
            Self::DuplicateNode { node } => write!(f, "node {node} was given more than once, with different contents"),
        }
    }
}

impl Serialize for Warning {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("Warning", 2)?;
        fields.serialize_field("code", self.code())?;
        fields.serialize_field("message", &self.to_string())?;
        fields.end()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_warning_has_a_code_and_says_what_it_is_about() {
        let term_error = RequirementError::Key("bad key".into());
        let text_error = "a,,b".parse::<crate::selector::SelectorExpression>().unwrap_err();
        let (source, text) = (SelectorSource::ProjectAnnotation, Text::from("a,,b"));
        for (warning, code, about) in [
            (Warning::SelectsAllPods, "SelectsAllPods", "empty"),
            (Warning::SelectsNoPods, "SelectsNoPods", "no selector"),
            (Warning::InvalidAffinityTerm { term: 0, error: term_error }, "InvalidAffinityTerm", "term 1"),
            (Warning::InvalidNodeSelector { source, text, error: text_error }, "InvalidNodeSelector", "a,,b"),
            (Warning::HistoryNotGiven, "HistoryNotGiven", "ControllerRevisions"),
            (Warning::DuplicateNode { node: "node-7".into() }, "DuplicateNode", "node-7"),
        ] {
            let message = warning.to_string();
            assert!(message.contains(about), "{message}");
            assert_eq!(serde_json::to_value(&warning).unwrap(), json!({"code": code, "message": message}));
        }
    }
}
