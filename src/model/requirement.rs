use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::model::{
    Text,
    syntax::{check_key, check_value},
};

/// A well-formed requirement on labels: a key and a condition on its value.
///
/// Label selectors, node selector terms and selector expressions consist of requirements. A requirement displays in the
/// notation of `kubectl --selector`.
///
/// ```
/// use daemonplan::model::{Operator, Requirement};
/// let requirement = Requirement::new("zone", Operator::In(vec!["a".into(), "b".into()])).unwrap();
/// assert_eq!(requirement.to_string(), "zone in (a,b)");
/// assert!(Requirement::new("no spaces", Operator::Exists).is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Requirement {
    key: Text,
    operator: Operator,
}

/// The condition of a [`Requirement`] on the value of its key.
///
/// ```
/// use daemonplan::model::{Labels, Operator, Requirement};
/// let cores = Requirement::new("cores", Operator::Gt(8)).unwrap();
/// assert!(cores.matches(&Labels::from_iter([("cores", "16")])));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operator {
    /// The label exists and has one of these values.
    In(Vec<Text>),
    /// The label is absent or has none of these values.
    NotIn(Vec<Text>),
    /// The label exists.
    Exists,
    /// The label is absent.
    DoesNotExist,
    /// The label's value is an integer above this bound.
    Gt(i64),
    /// The label's value is an integer below this bound.
    Lt(i64),
}

/// The error for a malformed requirement.
///
/// ```
/// use daemonplan::model::{Operator, Requirement, RequirementError};
/// assert_eq!(Requirement::new("no spaces", Operator::Exists), Err(RequirementError::Key("no spaces".into())));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Error)]
#[non_exhaustive]
pub enum RequirementError {
    /// The key is not a valid label key.
    #[error("{0:?} is not a valid label key")]
    Key(Text),
    /// A value is not a valid label value.
    #[error(
        "{0:?} is not a valid label value (at most 63 letters, digits, '-', '_' and '.', alphanumeric at both ends)"
    )]
    Value(Text),
    /// The operator is not valid here.
    #[error("{found:?} is not a valid operator, expected {expected}")]
    Operator {
        /// The operator that was found.
        found: Text,
        /// The valid operators.
        expected: &'static str,
    },
    /// The number of values does not fit the operator.
    #[error("operator {operator} expects {expected}, found {found}")]
    Values {
        /// The operator.
        operator: Text,
        /// The expected number of values, such as `exactly one value`.
        expected: &'static str,
        /// The number of values that was found.
        found: usize,
    },
    /// The value of `Gt` or `Lt` is not an integer.
    #[error("operator {operator} expects an integer, found {found:?}")]
    Integer {
        /// The operator.
        operator: Text,
        /// The value that was found.
        found: Text,
    },
}

impl Requirement {
    /// Validates `key` and the values of `operator`, and returns the requirement.
    ///
    /// # Errors
    /// If `key` or a value of `operator` is invalid, or if `In` or `NotIn` has no values.
    pub fn new(key: impl Into<Text>, operator: Operator) -> Result<Self, RequirementError> {
        let key = key.into();
        check_key(&key)?;
        match &operator {
            Operator::In(values) if values.is_empty() => Err(needs_values("In")),
            Operator::NotIn(values) if values.is_empty() => Err(needs_values("NotIn")),
            Operator::In(values) | Operator::NotIn(values) => values.iter().try_for_each(|value| check_value(value)),
            Operator::Exists | Operator::DoesNotExist | Operator::Gt(_) | Operator::Lt(_) => Ok(()),
        }?;
        Ok(Self { key, operator })
    }

    /// Returns the label key.
    pub fn key(&self) -> &Text {
        &self.key
    }

    /// Returns the condition on the label's value.
    pub fn operator(&self) -> &Operator {
        &self.operator
    }
}

fn needs_values(operator: &str) -> RequirementError {
    RequirementError::Values { operator: operator.into(), expected: "at least one value", found: 0 }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = &self.key;
        match &self.operator {
            Operator::In(values) => match values.as_slice() {
                [value] => write!(f, "{key}={value}"),
                values => write!(f, "{key} in ({})", values.join(",")),
            },
            Operator::NotIn(values) => match values.as_slice() {
                [value] => write!(f, "{key}!={value}"),
                values => write!(f, "{key} notin ({})", values.join(",")),
            },
            Operator::Exists => write!(f, "{key}"),
            Operator::DoesNotExist => write!(f, "!{key}"),
            Operator::Gt(bound) => write!(f, "{key}>{bound}"),
            Operator::Lt(bound) => write!(f, "{key}<{bound}"),
        }
    }
}

impl Serialize for Requirement {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        RawRequirement::from(self).serialize(serializer)
    }
}

/// A requirement as Kubernetes writes it, not yet validated.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct RawRequirement {
    #[serde(default)]
    pub(super) key: Text,
    #[serde(default)]
    pub(super) operator: Text,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) values: Option<Vec<Text>>,
}

impl RawRequirement {
    /// Validates a requirement of a label selector.
    pub(super) fn for_label_selector(self) -> Result<Requirement, RequirementError> {
        let values = self.values.unwrap_or_default();
        let operator = match (&*self.operator, values) {
            ("In", values) => Operator::In(values),
            ("NotIn", values) => Operator::NotIn(values),
            ("Exists", values) => without_values("Exists", &values, Operator::Exists)?,
            ("DoesNotExist", values) => without_values("DoesNotExist", &values, Operator::DoesNotExist)?,
            _ => {
                let expected = "In, NotIn, Exists or DoesNotExist";
                return Err(RequirementError::Operator { found: self.operator, expected });
            }
        };
        Requirement::new(self.key, operator)
    }

    /// Validates a requirement in the `matchExpressions` of a node selector term.
    pub(super) fn for_node_selector(self) -> Result<Requirement, RequirementError> {
        let operator = match &*self.operator {
            "Gt" => Operator::Gt(integer("Gt", self.values.as_deref())?),
            "Lt" => Operator::Lt(integer("Lt", self.values.as_deref())?),
            "In" | "NotIn" | "Exists" | "DoesNotExist" => return self.for_label_selector(),
            _ => {
                let expected = "In, NotIn, Exists, DoesNotExist, Gt or Lt";
                return Err(RequirementError::Operator { found: self.operator, expected });
            }
        };
        Requirement::new(self.key, operator)
    }
}

impl From<&Requirement> for RawRequirement {
    fn from(requirement: &Requirement) -> Self {
        let (operator, values) = match &requirement.operator {
            Operator::In(values) => ("In", Some(values.clone())),
            Operator::NotIn(values) => ("NotIn", Some(values.clone())),
            Operator::Exists => ("Exists", None),
            Operator::DoesNotExist => ("DoesNotExist", None),
            Operator::Gt(bound) => ("Gt", Some(vec![bound.to_string().into()])),
            Operator::Lt(bound) => ("Lt", Some(vec![bound.to_string().into()])),
        };
        Self { key: requirement.key.clone(), operator: operator.into(), values }
    }
}

fn without_values(name: &str, values: &[Text], operator: Operator) -> Result<Operator, RequirementError> {
    if values.is_empty() {
        Ok(operator)
    } else {
        Err(RequirementError::Values { operator: name.into(), expected: "no values", found: values.len() })
    }
}

fn integer(operator: &str, values: Option<&[Text]>) -> Result<i64, RequirementError> {
    match values.unwrap_or_default() {
        [value] => parse_bound(operator, value),
        values => Err(RequirementError::Values {
            operator: operator.into(),
            expected: "exactly one value",
            found: values.len(),
        }),
    }
}

/// Parses the bound of `Gt` or `Lt`. It must be a valid label value, which excludes negative integers.
pub(crate) fn parse_bound(operator: &str, value: &Text) -> Result<i64, RequirementError> {
    check_value(value)?;
    let wrong = |_| RequirementError::Integer { operator: operator.into(), found: value.clone() };
    value.parse().map_err(wrong)
}
