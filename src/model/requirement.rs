use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::model::{
    Text,
    syntax::{check_key, check_value},
};

/// One well-formed requirement on labels: a key and what is asked of its value.
///
/// Label selectors, node selector terms and selector expressions are all made of these.
/// It displays in the notation of `kubectl --selector`.
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

/// What a [`Requirement`] asks of the value under its key.
///
/// ```
/// use daemonplan::model::{Labels, Operator, Requirement};
/// let cores = Requirement::new("cores", Operator::Gt(8)).unwrap();
/// assert!(cores.matches(&Labels::from_iter([("cores", "16")])));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operator {
    /// The label is there with one of these values.
    In(Vec<Text>),
    /// The label is absent, or its value is none of these.
    NotIn(Vec<Text>),
    /// The label is there.
    Exists,
    /// The label is absent.
    DoesNotExist,
    /// The label is an integer above this one.
    Gt(i64),
    /// The label is an integer below this one.
    Lt(i64),
}

/// Why a requirement is not well-formed.
///
/// ```
/// use daemonplan::model::{Operator, Requirement, RequirementError};
/// assert_eq!(Requirement::new("no spaces", Operator::Exists), Err(RequirementError::Key("no spaces".into())));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Error)]
#[non_exhaustive]
pub enum RequirementError {
    /// The key is no label key.
    #[error("{0:?} is not a valid label key")]
    Key(Text),
    /// A value is no label value.
    #[error(
        "{0:?} is not a valid label value (at most 63 letters, digits, '-', '_' and '.', alphanumeric at both ends)"
    )]
    Value(Text),
    /// The operator is none that may stand here.
    #[error("{found:?} is not a valid operator, expected {expected}")]
    Operator {
        /// What was found.
        found: Text,
        /// What may stand here.
        expected: &'static str,
    },
    /// The number of values does not fit the operator.
    #[error("operator {operator} expects {expected}, found {found}")]
    Values {
        /// The operator.
        operator: Text,
        /// How many values it takes.
        expected: &'static str,
        /// How many there are.
        found: usize,
    },
    /// `Gt` and `Lt` compare with an integer.
    #[error("operator {operator} expects an integer, found {found:?}")]
    Integer {
        /// The operator.
        operator: Text,
        /// What was found.
        found: Text,
    },
}

impl Requirement {
    /// A requirement, once key and values are checked.
    ///
    /// # Errors
    /// If the key is no label key, a value no label value, or `In`/`NotIn` have no values.
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

    /// The label that this is about.
    pub fn key(&self) -> &Text {
        &self.key
    }

    /// What is asked of it.
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

/// A requirement as Kubernetes writes it, not yet checked.
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
    /// Checks what a label selector may say.
    pub(super) fn for_label_selector(self) -> Result<Requirement, RequirementError> {
        let values = self.values.unwrap_or_default();
        let operator = match (&*self.operator, values) {
            ("In", values) => Operator::In(values),
            ("NotIn", values) => Operator::NotIn(values),
            ("Exists", values) => none("Exists", &values, Operator::Exists)?,
            ("DoesNotExist", values) => none("DoesNotExist", &values, Operator::DoesNotExist)?,
            _ => {
                let expected = "In, NotIn, Exists or DoesNotExist";
                return Err(RequirementError::Operator { found: self.operator, expected });
            }
        };
        Requirement::new(self.key, operator)
    }

    /// Checks what a node selector term's `matchExpressions` may say.
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

fn none(name: &str, values: &[Text], operator: Operator) -> Result<Operator, RequirementError> {
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

/// Reads what `Gt` and `Lt` compare with: an integer that is a label value, hence not a negative one.
pub(crate) fn parse_bound(operator: &str, value: &Text) -> Result<i64, RequirementError> {
    check_value(value)?;
    let wrong = |_| RequirementError::Integer { operator: operator.into(), found: value.clone() };
    value.parse().map_err(wrong)
}
