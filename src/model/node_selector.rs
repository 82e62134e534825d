use std::fmt;

use serde::{Deserialize, Serialize};

use crate::model::{Requirement, RequirementError, Text, requirement::RawRequirement};

/// A required node affinity. At least one of its terms must match; without terms it matches no node.
///
/// Parsing is lenient, as in the scheduler: a malformed term matches nothing, and the other terms still count.
/// <https://kubernetes.io/docs/concepts/scheduling-eviction/assign-pod-node/#node-affinity>
///
/// ```
/// use daemonplan::model::{Node, NodeSelector};
/// let selector: NodeSelector = serde_json::from_str(
///     r#"{"nodeSelectorTerms": [{"matchExpressions": [{"key": "gpu", "operator": "DoesNotExist"}]}]}"#,
/// )?;
/// assert!(selector.matches(&Node::new("node-7")));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default, Deserialize)]
#[serde(from = "RawSelector")]
pub struct NodeSelector {
    terms: Vec<NodeSelectorTerm>,
}

/// One term of a [`NodeSelector`].
///
/// ```
/// use daemonplan::model::{Node, NodeSelectorTerm, Operator, Requirement};
/// let gpu = Requirement::new("gpu", Operator::Exists).unwrap();
/// let term = NodeSelectorTerm::All { expressions: vec![gpu], fields: vec![] };
/// assert!(!term.matches(&Node::new("node-7")));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum NodeSelectorTerm {
    /// All requirements must hold.
    All {
        /// Requirements on the node's labels (`matchExpressions`).
        expressions: Vec<Requirement>,
        /// Requirements on the node's fields (`matchFields`).
        fields: Vec<FieldRequirement>,
    },
    /// An empty term; matches nothing.
    Empty,
    /// A malformed term; matches nothing.
    Invalid(RequirementError),
}

/// A requirement on a field of a node. The only supported field is `metadata.name`; any other field is empty.
///
/// ```
/// use daemonplan::model::FieldRequirement;
/// let requirement = FieldRequirement { key: "metadata.name".into(), equal: false, value: "node-7".into() };
/// assert_eq!(requirement.to_string(), "field metadata.name!=node-7");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FieldRequirement {
    /// The field, such as `metadata.name`.
    pub key: Text,
    /// Whether the field must equal `value` (`In`) or differ from it (`NotIn`).
    pub equal: bool,
    /// The value to compare with.
    pub value: Text,
}

impl NodeSelector {
    /// Returns the terms, in the order of the manifest.
    pub fn terms(&self) -> &[NodeSelectorTerm] {
        &self.terms
    }
}

impl FromIterator<NodeSelectorTerm> for NodeSelector {
    fn from_iter<I: IntoIterator<Item = NodeSelectorTerm>>(terms: I) -> Self {
        Self { terms: terms.into_iter().collect() }
    }
}

impl fmt::Display for FieldRequirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.equal { "=" } else { "!=" };
        write!(f, "field {}{sign}{}", self.key, self.value)
    }
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RawSelector {
    pub(super) node_selector_terms: Option<Vec<RawTerm>>,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RawTerm {
    #[serde(skip_serializing_if = "Option::is_none")]
    match_expressions: Option<Vec<RawRequirement>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) match_fields: Option<Vec<RawRequirement>>,
}

impl RawSelector {
    /// Returns a selector as Kubernetes writes it, each term of which also requires `node`. Malformed terms, which match
    /// nothing, become empty ones, which do so, too.
    pub(super) fn new(selector: Option<&NodeSelector>, node: Option<&Text>) -> Self {
        let any = [NodeSelectorTerm::All { expressions: Vec::new(), fields: Vec::new() }];
        let terms = selector.map_or(&any[..], NodeSelector::terms);
        Self { node_selector_terms: Some(terms.iter().map(|term| RawTerm::new(term, node)).collect()) }
    }
}

impl RawTerm {
    fn new(term: &NodeSelectorTerm, node: Option<&Text>) -> Self {
        let NodeSelectorTerm::All { expressions, fields } = term else {
            return Self { match_expressions: None, match_fields: None };
        };
        let expressions: Vec<_> = expressions.iter().map(RawRequirement::from).collect();
        let fields = fields.iter().map(|FieldRequirement { key, equal, value }| RawRequirement {
            key: key.clone(),
            operator: if *equal { "In" } else { "NotIn" }.into(),
            values: Some(vec![value.clone()]),
        });
        let fields: Vec<_> = fields.chain(node.map(RawRequirement::name_of)).collect();
        Self {
            match_expressions: (!expressions.is_empty()).then_some(expressions),
            match_fields: (!fields.is_empty()).then_some(fields),
        }
    }

    /// Whether the only requirement on fields is the name of this node.
    pub(super) fn names_only(&self, node: &Text) -> bool {
        self.match_fields.as_deref() == Some(&[RawRequirement::name_of(node)])
    }
}

impl RawRequirement {
    /// Returns the requirement that the field `metadata.name` is this name.
    fn name_of(node: &Text) -> Self {
        Self { key: "metadata.name".into(), operator: "In".into(), values: Some(vec![node.clone()]) }
    }
}

impl From<RawSelector> for NodeSelector {
    fn from(raw: RawSelector) -> Self {
        raw.node_selector_terms.unwrap_or_default().into_iter().map(NodeSelectorTerm::from).collect()
    }
}

impl From<RawTerm> for NodeSelectorTerm {
    fn from(raw: RawTerm) -> Self {
        let expressions = raw.match_expressions.unwrap_or_default();
        let fields = raw.match_fields.unwrap_or_default();
        if expressions.is_empty() && fields.is_empty() {
            return Self::Empty;
        }
        let expressions = expressions.into_iter().map(RawRequirement::for_node_selector).collect();
        let fields = fields.into_iter().map(field_requirement).collect();
        match (expressions, fields) {
            (Ok(expressions), Ok(fields)) => Self::All { expressions, fields },
            (Err(error), _) | (_, Err(error)) => Self::Invalid(error),
        }
    }
}

fn field_requirement(raw: RawRequirement) -> Result<FieldRequirement, RequirementError> {
    let equal = match &*raw.operator {
        "In" => true,
        "NotIn" => false,
        _ => return Err(RequirementError::Operator { found: raw.operator, expected: "In or NotIn" }),
    };
    match <[Text; 1]>::try_from(raw.values.unwrap_or_default()) {
        Ok([value]) => Ok(FieldRequirement { key: raw.key, equal, value }),
        Err(values) => {
            Err(RequirementError::Values { operator: raw.operator, expected: "exactly one value", found: values.len() })
        }
    }
}

/// Returns a pod affinity that allows only `node`: `metadata.name In [node]`.
pub(crate) fn affinity_to(node: &str) -> serde_json::Value {
    serde_json::json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required_affinity_to(node)}})
}

pub(crate) fn required_affinity_to(node: &str) -> serde_json::Value {
    let requirement = serde_json::json!({"key": "metadata.name", "operator": "In", "values": [node]});
    serde_json::json!({"nodeSelectorTerms": [{"matchFields": [requirement]}]})
}
