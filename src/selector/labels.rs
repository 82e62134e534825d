use std::fmt;

use crate::model::{LabelSelector, Labels, Operator, Requirement, Text};

/// A requirement on labels that does not hold.
///
/// ```
/// use daemonplan::model::{DaemonSet, Labels};
/// let selector = DaemonSet::new("prod", "agent", [("app", "agent")])?.selector.unwrap();
/// let mismatch = selector.mismatch(&Labels::default()).unwrap();
/// assert_eq!((&**mismatch.requirement.key(), &mismatch.found), ("app", &None));
/// assert_eq!(mismatch.to_string(), "app=agent is required, found no label app");
/// # Ok::<(), daemonplan::model::RequirementError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LabelMismatch {
    /// The requirement.
    pub requirement: Requirement,
    /// The value of the label, if the label exists.
    pub found: Option<Text>,
}

impl LabelMismatch {
    /// The first of `requirements` that `labels` do not meet.
    pub(super) fn first(requirements: &[Requirement], labels: &Labels) -> Option<Self> {
        let requirement = requirements.iter().find(|requirement| !requirement.matches(labels))?;
        Some(Self { requirement: requirement.clone(), found: labels.get_text(requirement.key()).cloned() })
    }
}

impl fmt::Display for LabelMismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { requirement, found } = self;
        let key = requirement.key();
        match found {
            Some(found) => write!(f, "{requirement} is required, found {key}={found}"),
            None => write!(f, "{requirement} is required, found no label {key}"),
        }
    }
}

impl Requirement {
    /// Whether `labels` meet this requirement.
    ///
    /// `NotIn` and `DoesNotExist` hold for an absent label. `Gt` and `Lt` hold only if the value is a 64-bit integer.
    ///
    /// ```
    /// use daemonplan::model::{Labels, Operator, Requirement};
    /// let newer = Requirement::new("generation", Operator::Gt(3)).unwrap();
    /// assert!(newer.matches(&Labels::from_iter([("generation", "10")])));
    /// assert!(!newer.matches(&Labels::from_iter([("generation", "new")])));
    /// ```
    pub fn matches(&self, labels: &Labels) -> bool {
        self.allows(labels.get_text(self.key()))
    }

    /// Whether the requirement holds for the value `found`, or for an absent label.
    #[inline]
    pub(crate) fn allows(&self, found: Option<&Text>) -> bool {
        let integer = || found.and_then(|value| value.parse::<i64>().ok());
        match self.operator() {
            Operator::In(values) => found.is_some_and(|found| values.iter().any(|value| value == found)),
            Operator::NotIn(values) => found.is_none_or(|found| values.iter().all(|value| value != found)),
            Operator::Exists => found.is_some(),
            Operator::DoesNotExist => found.is_none(),
            Operator::Gt(bound) => integer().is_some_and(|value| value > *bound),
            Operator::Lt(bound) => integer().is_some_and(|value| value < *bound),
        }
    }
}

impl LabelSelector {
    /// Whether `labels` meet every requirement.
    pub fn matches(&self, labels: &Labels) -> bool {
        self.requirements().iter().all(|requirement| requirement.matches(labels))
    }

    /// Returns the first requirement that `labels` do not meet, or `None` if they meet all.
    pub fn mismatch(&self, labels: &Labels) -> Option<LabelMismatch> {
        LabelMismatch::first(self.requirements(), labels)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(operator: Operator) -> [bool; 3] {
        let requirement = Requirement::new("k", operator).unwrap();
        [Some("5"), Some("x"), None].map(|value| requirement.matches(&value.map(|v| ("k", v)).into_iter().collect()))
    }

    #[test]
    fn operators_hold_for_a_number_a_word_or_an_absent_label() {
        assert_eq!(holds(Operator::In(vec!["5".into(), "6".into()])), [true, false, false]);
        assert_eq!(holds(Operator::NotIn(vec!["5".into()])), [false, true, true]);
        assert_eq!(holds(Operator::Exists), [true, true, false]);
        assert_eq!(holds(Operator::DoesNotExist), [false, false, true]);
        assert_eq!(holds(Operator::Gt(4)), [true, false, false]);
        assert_eq!(holds(Operator::Gt(5)), [false, false, false]);
        assert_eq!(holds(Operator::Lt(6)), [true, false, false]);
        assert_eq!(holds(Operator::Lt(5)), [false, false, false]);
    }
}
