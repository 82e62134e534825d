//! Decides for each node whether a pod should run, whether an existing one may stay, and why.
//!
//! The rules are compiled once for a DaemonSet and its namespace. A decision about a node allocates no memory.

mod check;
mod node_index;
mod rules;

use std::fmt;

use serde::Serialize;

use crate::{
    model::{Requirement, Taint, Text, Toleration, TolerationOperator},
    selector::{TermMismatch, write_mismatch},
};

pub use check::{PlacementCheck, PlacementRule, Remedy};
pub(crate) use node_index::NodeIndex;
pub use rules::PlacementRules;

/// The decision whether a pod should run on a node and whether an existing pod may stay.
///
/// ```
/// use daemonplan::Verdict;
/// assert!(!Verdict::Keep.should_run() && Verdict::Keep.may_keep_running());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Verdict {
    /// A pod should run on the node.
    Run,
    /// No pod is created on the node, but an existing pod may keep running.
    Keep,
    /// No pod should run on the node; an existing pod is deleted.
    Refuse,
}

/// The decision for a node, with its reason.
///
/// ```
/// use daemonplan::{Snapshot, model::{DaemonSet, Namespace, Node, Taint, TaintEffect}};
/// let daemonset = DaemonSet::new("prod", "agent", [("app", "agent")]).unwrap();
/// let namespace = Namespace::new("prod");
/// let mut nodes = [Node::new("node-7")];
/// nodes[0].taints = vec![Taint::new("a", "b", TaintEffect::NoSchedule)];
/// let snapshot = Snapshot::new(&daemonset, &nodes, &[], &namespace);
/// assert_eq!(
///     snapshot.placement("node-7").unwrap().to_string(),
///     "node-7: not placed, but an existing pod stays: taint a=b:NoSchedule is not tolerated",
/// );
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// The node's name.
    pub node: Text,
    /// The decision.
    pub verdict: Verdict,
    /// The reason for the decision.
    pub reason: PlacementReason,
}

/// The reason for the decision about a node: the first rule that does not hold, or that all rules hold.
///
/// ```
/// use daemonplan::placement::PlacementReason;
/// let reason = PlacementReason::NodeSelector { key: "role".into(), required: "worker".into(), found: None };
/// assert_eq!(reason.to_string(), "node selector role=worker is required, the node has no label role");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "rule", rename_all_fields = "camelCase")]
#[non_exhaustive]
pub enum PlacementReason {
    /// Every rule holds.
    AllRulesHold,
    /// The template's `spec.nodeName` names a different node.
    NodeName {
        /// The node in `spec.nodeName`.
        required: Text,
    },
    /// The node lacks a label of the template's `spec.nodeSelector`.
    NodeSelector {
        /// The key of the label.
        key: Text,
        /// The required value.
        required: Text,
        /// The value on the node, if the label exists.
        found: Option<Text>,
    },
    /// No term of the template's required node affinity matches.
    NodeAffinity {
        /// The mismatch of each term.
        terms: Vec<TermMismatch>,
    },
    /// A taint of the node is not tolerated.
    Taint {
        /// The taint.
        taint: Taint,
        /// A toleration of the template for the same key that does not cover the taint.
        #[serde(skip_serializing_if = "Option::is_none")]
        near: Option<Toleration>,
    },
    /// The namespace's node selector does not match.
    NamespaceNodeSelector {
        /// The source of the selector.
        source: SelectorSource,
        /// The requirement that does not hold.
        requirement: Requirement,
        /// The value on the node, if the label exists.
        found: Option<Text>,
    },
}

/// The source of a namespace's node selector.
///
/// ```
/// use daemonplan::placement::SelectorSource;
/// assert_eq!(SelectorSource::ProjectAnnotation.to_string(), "annotation openshift.io/node-selector");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[non_exhaustive]
pub enum SelectorSource {
    /// The annotation `scheduler.alpha.kubernetes.io/node-selector`.
    KubernetesAnnotation,
    /// The annotation `openshift.io/node-selector`.
    ProjectAnnotation,
    /// The cluster's default project node selector.
    ProjectDefault,
    /// The Kubernetes default node selector.
    ClusterDefault,
}

impl Verdict {
    /// Whether a missing pod is created.
    pub fn should_run(self) -> bool {
        self == Self::Run
    }

    /// Whether an existing pod stays.
    pub fn may_keep_running(self) -> bool {
        self != Self::Refuse
    }
}

impl fmt::Display for Placement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { node, reason, .. } = self;
        match self.verdict {
            Verdict::Run => write!(f, "{node}: placed"),
            Verdict::Keep => write!(f, "{node}: not placed, but an existing pod stays: {reason}"),
            Verdict::Refuse => write!(f, "{node}: not placed: {reason}"),
        }
    }
}

impl Serialize for Placement {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct PlacementWire<'a> {
            node: &'a Text,
            should_run: bool,
            may_keep_running: bool,
            reason: &'a PlacementReason,
            message: String,
        }
        let (should_run, may_keep_running) = (self.verdict.should_run(), self.verdict.may_keep_running());
        let message = self.reason.to_string();
        PlacementWire { node: &self.node, should_run, may_keep_running, reason: &self.reason, message }
            .serialize(serializer)
    }
}

impl fmt::Display for PlacementReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AllRulesHold => f.write_str("all rules hold"),
            Self::NodeName { required } => write!(f, "the template names node {required} (spec.nodeName)"),
            Self::NodeSelector { key, required, found: Some(found) } => {
                write!(f, "node selector {key}={required} is required, the node has {key}={found}")
            }
            Self::NodeSelector { key, required, found: None } => {
                write!(f, "node selector {key}={required} is required, the node has no label {key}")
            }
            Self::NodeAffinity { terms } => match terms.as_slice() {
                [] => f.write_str("the required node affinity has no term and matches no node"),
                [term] => write!(f, "node affinity: {term}"),
                terms => {
                    write!(f, "no term of the node affinity matches: ")?;
                    for (at, term) in terms.iter().enumerate() {
                        write!(f, "{}({}) {term}", if at > 0 { "; " } else { "" }, at + 1)?;
                    }
                    Ok(())
                }
            },
            Self::Taint { taint, near } => {
                write!(f, "taint {taint} is not tolerated")?;
                match near {
                    Some(near) => write_near_miss(f, taint, near),
                    None => Ok(()),
                }
            }
            Self::NamespaceNodeSelector { source, requirement, found } => {
                write!(f, "{source}: ")?;
                write_mismatch(f, requirement, found.as_ref())
            }
        }
    }
}

/// Writes why `near`, a toleration of the taint's key, does not cover it: value against value.
fn write_near_miss(f: &mut fmt::Formatter<'_>, taint: &Taint, near: &Toleration) -> fmt::Result {
    let Toleration { key, operator, value, effect } = near;
    match (effect, operator) {
        (Some(effect), _) if *effect != taint.effect => {
            write!(f, ": the toleration of {key} is for the effect {effect}")
        }
        (_, TolerationOperator::Unknown) => write!(f, ": the toleration of {key} has an unknown operator"),
        (_, TolerationOperator::Lt | TolerationOperator::Gt) => {
            let bound = if *operator == TolerationOperator::Lt { "below" } else { "above" };
            write!(f, ": the toleration of {key} is for values {bound} {value}, if the cluster compares them")
        }
        _ if value.is_empty() => write!(f, ": the toleration of {key} has no value, the taint has {:?}", &*taint.value),
        _ => write!(f, ": the toleration of {key} has the value {:?}, the taint has {:?}", &**value, &*taint.value),
    }
}

impl fmt::Display for SelectorSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::KubernetesAnnotation => "annotation scheduler.alpha.kubernetes.io/node-selector",
            Self::ProjectAnnotation => "annotation openshift.io/node-selector",
            Self::ProjectDefault => "default project node selector",
            Self::ClusterDefault => "default node selector",
        })
    }
}
