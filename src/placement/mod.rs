//! Decides for each node whether a pod should run, whether an existing one may stay, and why.
//!
//! The rules are compiled once for a DaemonSet and its namespace. A decision about a node allocates no memory.

mod check;
mod node_index;
mod placements;
mod rules;

use std::fmt;

use serde::Serialize;

use crate::{
    model::{Requirement, Taint, Text},
    selector::{TermMismatch, write_mismatch},
};

pub use check::{PlacementCheck, PlacementRule, Remedy};
pub(crate) use node_index::NodeIndex;
pub(crate) use placements::{NodeSource, Placements, PlannedNodes};
pub(crate) use rules::PlacementRules;

/// The two answers for a node.
///
/// ```
/// use daemonplan::Verdict;
/// assert!(!Verdict::Keep.should_run() && Verdict::Keep.may_keep_running());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Verdict {
    /// A pod should run here.
    Run,
    /// No pod should be created here, but one that is here may keep running.
    Keep,
    /// No pod should run here; one that is here is deleted.
    Refuse,
}

/// The decision for one node, with its reason.
///
/// ```
/// use daemonplan::{Snapshot, model::{DaemonSet, Namespace, Node, Taint, TaintEffect}};
/// # let mut daemonset = DaemonSet::new("prod", "agent");
/// # daemonset.selector = serde_json::from_str(r#"{"matchLabels": {"app": "agent"}}"#)?;
/// # daemonset.template = serde_json::from_str(r#"{"metadata": {"labels": {"app": "agent"}}}"#)?;
/// # let namespace = Namespace::new("prod");
/// let mut nodes = [Node::new("node-7")];
/// nodes[0].taints = vec![Taint::new("a", "b", TaintEffect::NoSchedule)];
/// let snapshot = Snapshot::new(&daemonset, &nodes, &[], &namespace);
/// assert_eq!(
///     snapshot.plan().placement("node-7").unwrap().to_string(),
///     "node-7: not placed, but a pod that is there stays: taint a=b:NoSchedule is not tolerated",
/// );
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// The node's name.
    pub node: Text,
    /// The decision.
    pub verdict: Verdict,
    /// What decided.
    pub reason: PlacementReason,
}

/// What decided about a node: the first rule that does not hold, or that all do.
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
    /// The template's `spec.nodeName` names another node.
    NodeName {
        /// The node that it names.
        required: Text,
    },
    /// A pair of the template's `spec.nodeSelector` is not on the node.
    NodeSelector {
        /// The label.
        key: Text,
        /// The value that it must have.
        required: Text,
        /// The value that it has, if it is there.
        found: Option<Text>,
    },
    /// No term of the template's required node affinity matches.
    NodeAffinity {
        /// Why not, term by term.
        terms: Vec<TermMismatch>,
    },
    /// A taint that is not tolerated.
    Taint {
        /// The taint.
        taint: Taint,
    },
    /// The namespace's node selector does not match.
    NamespaceNodeSelector {
        /// Where the selector stands.
        source: SelectorSource,
        /// The requirement that does not hold.
        requirement: Requirement,
        /// The label's value on the node, if it is there.
        found: Option<Text>,
    },
}

/// Where a namespace's node selector stands.
///
/// ```
/// use daemonplan::placement::SelectorSource;
/// assert_eq!(SelectorSource::ProjectAnnotation.to_string(), "annotation openshift.io/node-selector");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
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
    /// Whether a pod is created here if there is none.
    pub fn should_run(self) -> bool {
        self == Self::Run
    }

    /// Whether a pod that is here stays.
    pub fn may_keep_running(self) -> bool {
        self != Self::Refuse
    }
}

impl fmt::Display for Placement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { node, reason, .. } = self;
        match self.verdict {
            Verdict::Run => write!(f, "{node}: placed"),
            Verdict::Keep => write!(f, "{node}: not placed, but a pod that is there stays: {reason}"),
            Verdict::Refuse => write!(f, "{node}: not placed: {reason}"),
        }
    }
}

impl Serialize for Placement {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Wire<'a> {
            node: &'a Text,
            should_run: bool,
            may_keep_running: bool,
            reason: &'a PlacementReason,
            message: String,
        }
        let (should_run, may_keep_running) = (self.verdict.should_run(), self.verdict.may_keep_running());
        let message = self.reason.to_string();
        Wire { node: &self.node, should_run, may_keep_running, reason: &self.reason, message }.serialize(serializer)
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
            Self::Taint { taint } => write!(f, "taint {taint} is not tolerated"),
            Self::NamespaceNodeSelector { source, requirement, found } => {
                write!(f, "{source}: ")?;
                write_mismatch(f, requirement, found.as_ref())
            }
        }
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
