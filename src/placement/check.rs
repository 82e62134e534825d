//! Checks every rule for a node independently, and finds the changes that would allow a pod on the node.

use std::fmt;

use indexmap::IndexSet;
use serde::Serialize;

use super::{PlacementReason, PlacementRules, SelectorSource};
use crate::model::{
    Node, NodeSelector, NodeSelectorTerm, Operator, Requirement, Taint, Text, well_known::NODE_TAINT_PREFIX,
};

/// The result of checking one rule for a node.
///
/// ```
/// use daemonplan::{Snapshot, model::{DaemonSet, Namespace, Node, Taint, TaintEffect}};
/// let daemonset = DaemonSet::new("prod", "agent", [("app", "agent")]).unwrap();
/// let namespace = Namespace::new("prod");
/// let mut nodes = [Node::new("node-7")];
/// nodes[0].taints = vec![Taint::new("a", "b", TaintEffect::NoSchedule)];
/// let snapshot = Snapshot::new(&daemonset, &nodes, &[], &namespace);
/// let check = &snapshot.explain().nodes[0].checks[0];
/// assert_eq!(check.rule.to_string(), "all taints tolerated");
/// assert_eq!(check.failure.as_ref().unwrap().to_string(), "taint a=b:NoSchedule is not tolerated");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct PlacementCheck {
    /// The rule.
    pub rule: PlacementRule,
    /// The reason why the rule does not hold, or `None` if it holds.
    pub failure: Option<PlacementReason>,
}

/// A rule of a DaemonSet, its namespace or its cluster about nodes.
///
/// ```
/// use daemonplan::placement::PlacementRule;
/// let rule = PlacementRule::NodeSelector { key: "role".into(), required: "worker".into() };
/// assert_eq!(rule.to_string(), "node selector role=worker");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "rule", rename_all_fields = "camelCase")]
#[non_exhaustive]
pub enum PlacementRule {
    /// The template's `spec.nodeName` must name the node.
    NodeName {
        /// The node in `spec.nodeName`.
        required: Text,
    },
    /// The node must have a label of the template's `spec.nodeSelector`.
    NodeSelector {
        /// The key of the label.
        key: Text,
        /// The required value.
        required: Text,
    },
    /// A requirement of the only term of the template's required node affinity must hold.
    NodeAffinityLabel {
        /// The requirement.
        requirement: Requirement,
    },
    /// At least one term of the template's required node affinity must match.
    NodeAffinity {
        /// The terms. Only their number is serialised.
        #[serde(serialize_with = "count")]
        terms: NodeSelector,
    },
    /// All taints with the effects `NoSchedule` and `NoExecute` must be tolerated.
    Taints,
    /// A requirement of the namespace's node selector must hold.
    NamespaceNodeSelector {
        /// The source of the selector.
        source: SelectorSource,
        /// The requirement.
        requirement: Requirement,
    },
}

/// A change that makes a failing rule hold, so that a pod may run on the node.
///
/// ```
/// use daemonplan::{Snapshot, model::{DaemonSet, Namespace, Node, Taint, TaintEffect}};
/// let daemonset = DaemonSet::new("prod", "agent", [("app", "agent")]).unwrap();
/// let namespace = Namespace::new("prod");
/// let mut nodes = [Node::new("node-7")];
/// nodes[0].taints = vec![Taint::new("a", "b", TaintEffect::NoSchedule)];
/// let snapshot = Snapshot::new(&daemonset, &nodes, &[], &namespace);
/// let remedies = &snapshot.explain().nodes[0].remedies;
/// assert_eq!(remedies[0].to_string(), "a toleration for a=b:NoSchedule");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(tag = "remedy", rename_all_fields = "camelCase")]
#[non_exhaustive]
pub enum Remedy {
    /// Add a label to the node.
    Label {
        /// The key of the label.
        key: Text,
        /// The value; `None` means any value.
        value: Option<Text>,
    },
    /// Change the value of a label of the node.
    OtherValue {
        /// The key of the label.
        key: Text,
        /// The current value.
        found: Text,
        /// The values that are excluded.
        excluded: Vec<Text>,
    },
    /// Remove a label from the node.
    NoLabel {
        /// The key of the label.
        key: Text,
    },
    /// Add a toleration to the template.
    Toleration {
        /// The taint to tolerate.
        taint: Taint,
    },
    /// Fix the condition of the node for which Kubernetes added a taint.
    NodeInOrder {
        /// The taint.
        taint: Taint,
    },
}

fn count<S: serde::Serializer>(terms: &NodeSelector, serializer: S) -> Result<S::Ok, S::Error> {
    terms.terms().len().serialize(serializer)
}

impl PlacementRules {
    /// Checks all rules for `node`, each independently of the others, in the order in which they decide.
    pub fn checks(&self, node: &Node) -> Vec<PlacementCheck> {
        let check = |rule: &PlacementRule| PlacementCheck { rule: rule.clone(), failure: self.failure(rule, node) };
        self.rules().iter().map(check).collect()
    }

    /// Returns a small set of changes that together would allow a pod on `node`.
    ///
    /// The set is empty if a pod should run on the node already, or if no such changes exist.
    pub fn remedies(&self, node: &Node) -> Vec<Remedy> {
        let remedies = self.rules().iter().map(|rule| self.remedies_for_rule(rule, node)).collect::<Option<Vec<_>>>();
        let mut remedies: IndexSet<_> = remedies.into_iter().flatten().flatten().collect();
        let valued = |remedy: &Remedy| match remedy {
            Remedy::Label { key, value: Some(_) } => Some(key.clone()),
            _ => None,
        };
        let valued: Vec<_> = remedies.iter().filter_map(valued).collect();
        remedies.retain(|remedy| !matches!(remedy, Remedy::Label { key, value: None } if valued.contains(key)));
        let mut changed = node.clone();
        for remedy in &remedies {
            remedy.apply(&mut changed);
        }
        // Rules may contradict each other.
        if self.verdict(&changed).should_run() { remedies.into_iter().collect() } else { Vec::new() }
    }

    /// Returns the changes that would make `rule` hold, or `None` if no changes would.
    fn remedies_for_rule(&self, rule: &PlacementRule, node: &Node) -> Option<Vec<Remedy>> {
        if self.failure(rule, node).is_none() {
            return Some(Vec::new());
        }
        match rule {
            PlacementRule::NodeName { .. } => None,
            PlacementRule::NodeSelector { key, required } => {
                Some(vec![Remedy::Label { key: key.clone(), value: Some(required.clone()) }])
            }
            PlacementRule::NodeAffinityLabel { requirement }
            | PlacementRule::NamespaceNodeSelector { requirement, .. } => Some(vec![remedy_for(requirement, node)?]),
            PlacementRule::NodeAffinity { terms } => {
                terms.terms().iter().filter_map(|term| remedies_for_term(term, node)).min_by_key(Vec::len)
            }
            PlacementRule::Taints => {
                Some(self.untolerated(node).map(|taint| Remedy::of_taint(taint.clone())).collect())
            }
        }
    }
}

/// Returns the changes that would make `term` match, or `None` if no changes would.
fn remedies_for_term(term: &NodeSelectorTerm, node: &Node) -> Option<Vec<Remedy>> {
    match term {
        NodeSelectorTerm::All { expressions, fields } if fields.iter().all(|requirement| requirement.matches(node)) => {
            let labels = expressions.iter().filter(|requirement| !requirement.matches(&node.labels));
            labels.map(|requirement| remedy_for(requirement, node)).collect()
        }
        _ => None,
    }
}

/// Returns the change that would make a failing `requirement` hold.
fn remedy_for(requirement: &Requirement, node: &Node) -> Option<Remedy> {
    let key = requirement.key().clone();
    Some(match requirement.operator() {
        Operator::In(values) => Remedy::Label { key, value: Some(values.first()?.clone()) },
        Operator::Exists => Remedy::Label { key, value: None },
        Operator::NotIn(excluded) => {
            let (found, excluded) = (node.labels.get_text(&key)?.clone(), excluded.clone());
            Remedy::OtherValue { key, found, excluded }
        }
        Operator::DoesNotExist => Remedy::NoLabel { key },
        Operator::Gt(bound) => Remedy::Label { key, value: Some(bound.checked_add(1)?.to_string().into()) },
        Operator::Lt(bound) => Remedy::Label { key, value: Some(bound.checked_sub(1)?.to_string().into()) },
    })
}

impl Remedy {
    fn of_taint(taint: Taint) -> Self {
        if taint.key.starts_with(NODE_TAINT_PREFIX) { Self::NodeInOrder { taint } } else { Self::Toleration { taint } }
    }

    /// Applies the change to `node`. A toleration is applied by removing the taint.
    fn apply(&self, node: &mut Node) {
        match self {
            Self::Label { key, value } => {
                node.labels = node.labels.with(key.clone(), value.clone().unwrap_or_default());
            }
            Self::OtherValue { key, excluded, .. } => {
                node.labels = node.labels.with(key.clone(), format!("not-{}", excluded.join("-")));
            }
            Self::NoLabel { key } => node.labels = node.labels.without(key),
            Self::Toleration { taint } | Self::NodeInOrder { taint } => node.taints.retain(|other| other != taint),
        }
    }
}

impl fmt::Display for PlacementRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NodeName { required } => write!(f, "spec.nodeName {required}"),
            Self::NodeSelector { key, required } => write!(f, "node selector {key}={required}"),
            Self::NodeAffinityLabel { requirement } => write!(f, "node affinity {requirement}"),
            Self::NodeAffinity { terms } => match terms.terms().len() {
                1 => f.write_str("node affinity"),
                terms => write!(f, "node affinity, one of {terms} terms"),
            },
            Self::Taints => f.write_str("all taints tolerated"),
            Self::NamespaceNodeSelector { source, requirement } => write!(f, "{source}: {requirement}"),
        }
    }
}

impl fmt::Display for Remedy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Label { key, value: Some(value) } => write!(f, "the label {key}={value}"),
            Self::Label { key, value: None } => write!(f, "a label {key}"),
            Self::OtherValue { key, excluded, .. } if excluded.len() > 1 => {
                write!(f, "a value of the label {key} other than {}", excluded.join(", "))
            }
            Self::OtherValue { key, found, .. } => write!(f, "a value other than {key}={found}"),
            Self::NoLabel { key } => write!(f, "no label {key}"),
            Self::Toleration { taint } => write!(f, "a toleration for {taint}"),
            Self::NodeInOrder { taint } => write!(f, "a healthy node (no taint {taint})"),
        }
    }
}
