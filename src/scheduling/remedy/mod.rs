//! What would make a pod fit on its node.

mod search;

use std::fmt;

use serde::Serialize;

pub(super) use self::search::remedies;
use super::{as_text, as_texts};
use crate::model::{Key, Taint, Text};

/// Changes that together make a pod fit on its node. All were tried out.
///
/// ```
/// use daemonplan::{model::{Node, Pod}, scheduling::{ClusterState, SchedulingObjects}};
/// let node: Node = serde_json::from_str(
///     r#"{"metadata": {"name": "a"}, "status": {"allocatable": {"cpu": "1", "pods": "110"}}}"#,
/// )?;
/// let pod = |name: &str, cpu: &str| serde_json::from_str::<Pod>(&format!(
///     r#"{{"metadata": {{"name": "{name}"}}, "spec": {{"nodeName": "a", "containers": [
///         {{"name": "main", "resources": {{"requests": {{"cpu": "{cpu}"}}}}}}]}}}}"#,
/// ));
/// let web = pod("web", "800m")?;
/// let objects = SchedulingObjects::default();
/// let state = ClusterState::new([&node], [&web], [], &objects);
/// let remedies: Vec<_> = state.remedies(&pod("agent", "300m")?).iter().map(ToString::to_string).collect();
/// assert_eq!(remedies, [
///     "fits if default/web leaves (cpu 800m)",
///     "fits if its priority is above 0, which preempts default/web",
///     "fits if it requests 100m less cpu, or the node has 100m more",
/// ]);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SchedulingRemedy {
    /// The changes, all of which are needed.
    pub changes: Vec<RemedyChange>,
}

/// A change of a [`SchedulingRemedy`].
///
/// ```
/// use daemonplan::scheduling::RemedyChange;
/// assert_eq!(RemedyChange::Uncordon.to_string(), "the node is uncordoned");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "change", rename_all = "camelCase", rename_all_fields = "camelCase")]
#[non_exhaustive]
pub enum RemedyChange {
    /// Another pod leaves the node, or another node.
    PodLeaves {
        /// The pod.
        #[serde(serialize_with = "as_text")]
        pod: Key,
        /// The other node that it leaves.
        #[serde(skip_serializing_if = "Option::is_none")]
        node: Option<Text>,
        /// What it releases of what is lacking, such as `cpu 200m`; empty if resources are not what is lacking.
        releases: String,
        /// The DaemonSet that creates another pod in its place.
        #[serde(skip_serializing_if = "Option::is_none")]
        daemonset: Option<Text>,
    },
    /// The pod requests less of a resource, or the node has more of it.
    Resource {
        /// The resource.
        resource: Text,
        /// How much, as a quantity.
        amount: String,
        /// Whether the pod requests that much.
        is_requested: bool,
    },
    /// The node allows more pods.
    MorePods {
        /// How many more.
        count: i64,
    },
    /// The pod tolerates a taint, or the node loses it.
    Tolerate {
        /// The taint.
        #[serde(serialize_with = "as_text")]
        taint: Taint,
    },
    /// The pod gets a higher priority, and takes the place of others, or that of pods for which the node is kept free.
    HigherPriority {
        /// The priority that is not enough.
        above: i32,
        /// The pods that leave their place.
        #[serde(serialize_with = "as_texts")]
        preempted: Vec<Key>,
    },
    /// Pods that are being deleted are gone.
    DeletionEnds {
        /// The pods.
        #[serde(serialize_with = "as_texts")]
        pods: Vec<Key>,
    },
    /// Pods are gone for which the scheduler keeps the node free.
    KeptFreeForEnds {
        /// The pods.
        #[serde(serialize_with = "as_texts")]
        pods: Vec<Key>,
    },
    /// The node gets a label that the pod's node selector requires.
    Label {
        /// The key.
        key: Text,
        /// The value.
        value: Text,
    },
    /// The node is uncordoned.
    Uncordon,
    /// The pod is deleted: the one in its place is as the template, the settings and admission now say.
    Recreated,
    /// The scheduling gates are removed.
    RemoveGates {
        /// The gates.
        gates: Vec<Text>,
    },
}

impl fmt::Display for SchedulingRemedy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let changes: Vec<_> = self.changes.iter().map(ToString::to_string).collect();
        write!(f, "fits if {}", changes.join(", and "))
    }
}

impl fmt::Display for RemedyChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PodLeaves { pod, node, releases, daemonset } => {
                write!(f, "{pod} leaves")?;
                if let Some(node) = node {
                    write!(f, " {node}")?;
                }
                if !releases.is_empty() {
                    write!(f, " ({releases})")?;
                }
                daemonset.as_ref().map_or(Ok(()), |owner| write!(f, ", though DaemonSet {owner} creates another"))
            }
            Self::HigherPriority { above, preempted } => {
                write!(f, "its priority is above {above}")?;
                let pods: Vec<_> = preempted.iter().map(ToString::to_string).collect();
                if pods.is_empty() { Ok(()) } else { write!(f, ", which preempts {}", pods.join(", ")) }
            }
            Self::DeletionEnds { pods } => write!(f, "{} gone, whose deletion has begun", are(pods)),
            Self::KeptFreeForEnds { pods } => {
                write!(f, "{} gone, for which the scheduler keeps the node free", are(pods))
            }
            Self::Resource { resource, amount, is_requested: true } => {
                write!(f, "it requests {amount} less {resource}, or the node has {amount} more")
            }
            Self::Resource { resource, amount, is_requested: false } => {
                write!(f, "the node has {amount} more {resource}")
            }
            Self::MorePods { count: 1 } => f.write_str("the node allows 1 pod more"),
            Self::MorePods { count } => write!(f, "the node allows {count} pods more"),
            Self::Tolerate { taint } => write!(f, "it tolerates the taint {taint}"),
            Self::Label { key, value } => write!(f, "the node has the label {key}={value}"),
            Self::Uncordon => f.write_str("the node is uncordoned"),
            Self::Recreated => {
                f.write_str("it is deleted: the next one is as the template, the settings and admission now say")
            }
            Self::RemoveGates { gates } => write!(f, "the scheduling gates {} are removed", gates.join(", ")),
        }
    }
}

/// Names pods, with the verb.
fn are(pods: &[Key]) -> String {
    let names: Vec<_> = pods.iter().map(ToString::to_string).collect();
    format!("{} {}", names.join(", "), if pods.len() == 1 { "is" } else { "are" })
}
