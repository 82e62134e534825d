use std::fmt;

use serde::Serialize;

use crate::model::{FieldRequirement, Node, NodeSelector, NodeSelectorTerm, Requirement, RequirementError, Text};

/// The reason why a term of a required node affinity does not match a node.
///
/// ```
/// use daemonplan::{model::{Node, NodeSelectorTerm}, selector::TermMismatch};
/// assert_eq!(NodeSelectorTerm::Empty.mismatch(&Node::new("node-7")), Some(TermMismatch::Empty));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "mismatch", rename_all_fields = "camelCase")]
#[non_exhaustive]
pub enum TermMismatch {
    /// A requirement on labels does not hold.
    Label {
        /// The requirement.
        requirement: Requirement,
        /// The value of the node's label, if the label exists.
        found: Option<Text>,
    },
    /// A requirement on a field does not hold.
    Field {
        /// The requirement.
        requirement: FieldRequirement,
        /// The value of the node's field.
        found: Text,
    },
    /// The term is empty.
    Empty,
    /// The term is malformed.
    Invalid {
        /// The error.
        #[serde(serialize_with = "as_text")]
        error: RequirementError,
    },
}

impl NodeSelector {
    /// Whether at least one of the terms matches `node`.
    pub fn matches(&self, node: &Node) -> bool {
        self.terms().iter().any(|term| term.matches(node))
    }

    /// Returns for each term the first reason why it does not match `node`, or `None` if any term matches.
    ///
    /// ```
    /// use daemonplan::model::{Node, NodeSelector};
    /// let text = r#"{"nodeSelectorTerms": [{"matchExpressions": [{"key": "gpu", "operator": "Exists"}]}]}"#;
    /// let gpu: NodeSelector = serde_json::from_str(text)?;
    /// let mismatches = gpu.mismatches(&Node::new("node-7")).unwrap();
    /// assert_eq!(mismatches[0].to_string(), "gpu is required, the node has no label gpu");
    /// # Ok::<(), serde_json::Error>(())
    /// ```
    pub fn mismatches(&self, node: &Node) -> Option<Vec<TermMismatch>> {
        self.terms().iter().map(|term| term.mismatch(node)).collect()
    }
}

impl NodeSelectorTerm {
    /// Whether every requirement of this term holds for `node`.
    pub fn matches(&self, node: &Node) -> bool {
        match self {
            Self::All { expressions, fields } => {
                expressions.iter().all(|requirement| requirement.matches(&node.labels))
                    && fields.iter().all(|requirement| requirement.matches(node))
            }
            Self::Empty | Self::Invalid(_) => false,
        }
    }

    /// Returns the first reason why this term does not match `node`, or `None` if it does.
    pub fn mismatch(&self, node: &Node) -> Option<TermMismatch> {
        match self {
            Self::Empty => Some(TermMismatch::Empty),
            Self::Invalid(error) => Some(TermMismatch::Invalid { error: error.clone() }),
            Self::All { expressions, fields } => {
                let label = expressions.iter().find(|requirement| !requirement.matches(&node.labels));
                let field = fields.iter().find(|requirement| !requirement.matches(node));
                let label = label.map(|requirement| TermMismatch::Label {
                    requirement: requirement.clone(),
                    found: node.labels.get_text(requirement.key()).cloned(),
                });
                label.or_else(|| {
                    field.map(|requirement| TermMismatch::Field {
                        requirement: requirement.clone(),
                        found: requirement.field(node).into(),
                    })
                })
            }
        }
    }
}

impl FieldRequirement {
    /// Whether the field of `node` meets this requirement.
    pub fn matches(&self, node: &Node) -> bool {
        (self.value == *self.field(node)) == self.equal
    }

    fn field<'n>(&self, node: &'n Node) -> &'n str {
        if self.key == "metadata.name" { &node.name } else { "" }
    }
}

impl fmt::Display for TermMismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Label { requirement, found } => write_mismatch(f, requirement, found.as_ref()),
            Self::Field { requirement, found } => write!(f, "{requirement} is required, the node has {found:?}"),
            Self::Empty => f.write_str("the term is empty and matches nothing"),
            Self::Invalid { error } => write!(f, "the term matches nothing: {error}"),
        }
    }
}

/// Writes a message such as `role=worker is required, the node has role=infra`.
pub(crate) fn write_mismatch(
    f: &mut fmt::Formatter<'_>,
    requirement: &Requirement,
    found: Option<&Text>,
) -> fmt::Result {
    let key = requirement.key();
    match found {
        Some(value) => write!(f, "{requirement} is required, the node has {key}={value}"),
        None => write!(f, "{requirement} is required, the node has no label {key}"),
    }
}

fn as_text<S: serde::Serializer>(error: &RequirementError, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(error)
}
