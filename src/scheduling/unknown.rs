//! What an answer would need and the input does not hold.

use std::fmt;

use serde::Serialize;

use super::{Competitor, as_text, as_texts};
#[cfg(feature = "forecast")]
use crate::model::Pod;
use crate::model::{Key, Node, PodSpec, Text};

/// A fact that an answer would need.
///
/// ```
/// use daemonplan::scheduling::UnknownFact;
/// assert_eq!(UnknownFact::Allocatable { node: "a".into() }.to_string(), "what pods can request on node a");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(tag = "unknown", rename_all = "camelCase")]
#[non_exhaustive]
pub enum UnknownFact {
    /// The nodes of the cluster.
    Nodes,
    /// `status.allocatable` of a node.
    Allocatable {
        /// The node.
        node: Text,
    },
    /// The pods of all namespaces but one.
    OtherNamespaces {
        /// The namespace whose pods are known.
        known: Text,
    },
    /// The specs of pods on a node.
    PodSpecs {
        /// The node.
        node: Text,
        /// How many of its pods.
        pods: usize,
    },
    /// What objects hold that could not be read.
    Unreadable {
        /// Their kind; empty if not even that could be read.
        kind: Text,
        /// How many.
        objects: usize,
    },
    /// Whether the kubelet of a node lets a new pod start, as it has rejected one.
    Kubelet {
        /// The node.
        node: Text,
        /// `status.reason` of the rejected pod.
        reason: Text,
    },
    /// Whether new pods start, as one by the same template does not, and none does elsewhere.
    FailingTemplate {
        /// The pod.
        #[serde(serialize_with = "as_text")]
        pod: Key,
        /// Why its container waits, such as `CrashLoopBackOff`.
        problem: Text,
    },
    /// Whether the kubelet of a node lets a new pod start, as the node lacks something.
    Pressure {
        /// The node.
        node: Text,
        /// The key of the taint that says so.
        taint: Text,
    },
    /// Whether the pods of DaemonSets run on a virtual node.
    VirtualNode {
        /// The node.
        node: Text,
    },
    /// Whether the kubelet of a node, which has another operating system by its label, lets the pod start.
    OperatingSystem {
        /// The node.
        node: Text,
        /// `spec.os.name` of the pod.
        required: Text,
    },
    /// When pods have left whose place the pod takes on a node.
    Victims {
        /// The node.
        node: Text,
        /// The pods.
        #[serde(serialize_with = "as_texts")]
        pods: Vec<Key>,
    },
    /// When a pod is gone, whose deletion its finalizers delay.
    Finalizers {
        /// The pod.
        #[serde(serialize_with = "as_text")]
        pod: Key,
        /// The finalizers.
        finalizers: Vec<Text>,
    },
    /// Whether the scheduler binds a pod of which it said that it does not.
    SaidOtherwise {
        /// The pod.
        #[serde(serialize_with = "as_text")]
        pod: Key,
        /// What it said.
        message: Text,
    },
    /// The spec of the pod itself.
    OwnSpec,
    /// The spec of the pod itself, which is taken to be as its DaemonSet's template says.
    SpecByTemplate,
    /// The objects of storage, which the pod's claims need.
    Storage,
    /// Whether the pod's volumes can be used on a node that does not exist yet.
    VolumesOnNewNode,
    /// The claims of ephemeral volumes, which are created with the pod.
    EphemeralClaims,
    /// Whether devices can be allocated for the pod's resource claims, which is not looked at.
    ResourceClaims,
    /// Which of the DaemonSet's new pods come first, as that decides about the others: they exclude or need each other, or share
    /// a claim.
    OwnPods,
    /// Whether others come or go first, after which the pod does not fit on a node.
    CompetingPods {
        /// The node.
        node: Text,
        /// Who may come or go first.
        competitors: Vec<Competitor>,
    },
    /// When others come or go, before which the pod does not fit on a node.
    NeededPods {
        /// The node.
        node: Text,
        /// Who must come or go.
        needed: Vec<Competitor>,
    },
    /// Whether others take the place of a pod.
    Preemption {
        /// The node.
        node: Text,
        /// Who would.
        by: Vec<Competitor>,
    },
    /// Whether the pod takes the place of others on a node, which it does if others come first.
    LaterVictims {
        /// The node.
        node: Text,
        /// The pods whose place it takes then.
        #[serde(serialize_with = "as_texts")]
        pods: Vec<Key>,
    },
    /// When pods of the namespace go, before which a ResourceQuota has no room.
    QuotaRoom,
    /// Which pods are created first, as the ResourceQuotas have no room for all.
    SharedQuota {
        /// The DaemonSets that are about to create pods, too.
        #[serde(serialize_with = "as_texts")]
        daemonsets: Vec<Key>,
    },
    /// Whether the kubelet lets the pod start on the node that its template names. The scheduler is not asked.
    BoundByTemplate,
    /// Whether another scheduler binds the pod.
    OtherScheduler {
        /// Its name.
        name: Text,
    },
    /// Whether pods can be created, as the last attempt failed for a reason that does not show in the objects, or a ResourceQuota has
    /// no status yet.
    Creation {
        /// The reason.
        message: Text,
    },
    /// The PriorityClass that the pod names.
    PriorityClass {
        /// The name.
        name: Text,
    },
    /// The RuntimeClass that the pod names.
    RuntimeClass {
        /// The name.
        name: Text,
    },
}

impl UnknownFact {
    /// What decides whether the kubelet of a node lets the pod of a DaemonSet start that the scheduler binds there. The kubelet
    /// rejects pods for another operating system with the reason `PodOSNotSupported`.
    /// <https://kubernetes.io/docs/concepts/workloads/pods/#pod-os>
    pub(crate) fn of_kubelet(spec: &PodSpec, node: &Node) -> impl Iterator<Item = Self> {
        let virtual_node = node.is_virtual().then(|| Self::VirtualNode { node: node.name.clone() });
        let is_other = spec.excludes_system_of(node);
        let system = is_other.then(|| Self::OperatingSystem { node: node.name.clone(), required: spec.os.clone() });
        virtual_node.into_iter().chain(system)
    }

    /// Whether the scheduler's answer does not depend on it.
    pub(crate) fn is_of_kubelet(&self) -> bool {
        matches!(self, Self::VirtualNode { .. } | Self::OperatingSystem { .. })
    }

    /// Whether a pod of the DaemonSet on the node shows that new ones start there.
    #[cfg(feature = "forecast")]
    pub(crate) fn is_disproved_by(&self, pod: &Pod) -> bool {
        let is_alike = match self {
            Self::VirtualNode { .. } => true,
            Self::OperatingSystem { required, .. } => pod.spec.as_ref().is_some_and(|spec| spec.os == *required),
            _ => false,
        };
        is_alike && pod.is_ready()
    }

    /// Whether a complete input would tell it.
    #[cfg(feature = "forecast")]
    pub(crate) fn is_of_input(&self) -> bool {
        matches!(
            self,
            Self::Nodes
                | Self::Allocatable { .. }
                | Self::OtherNamespaces { .. }
                | Self::PodSpecs { .. }
                | Self::Unreadable { .. }
                | Self::OwnSpec
                | Self::SpecByTemplate
                | Self::Storage
        )
    }

    /// Whether it can refuse a pod that fits without it, and not help one that does not.
    pub(super) fn only_refuses(&self) -> bool {
        match self {
            Self::Allocatable { .. }
            | Self::PodSpecs { .. }
            | Self::Storage
            | Self::VolumesOnNewNode
            | Self::EphemeralClaims
            | Self::ResourceClaims
            | Self::CompetingPods { .. } => true,
            other => other.is_of_kubelet(),
        }
    }

    /// Whether the pod does not fit until others have come or gone.
    pub(crate) fn is_awaited(&self) -> bool {
        matches!(self, Self::NeededPods { .. } | Self::QuotaRoom | Self::Victims { .. } | Self::Finalizers { .. })
    }

    /// Says that these must come or go before a pod fits on a node, if there are any.
    pub(crate) fn of_needed(node: &Text, needed: Vec<Competitor>) -> Option<Self> {
        (!needed.is_empty()).then(|| Self::NeededPods { node: node.clone(), needed })
    }

    /// Says that these pods leave a node before, if there are any.
    #[cfg(feature = "forecast")]
    pub(crate) fn of_victims(node: &Text, pods: &[Key]) -> Option<Self> {
        (!pods.is_empty()).then(|| Self::Victims { node: node.clone(), pods: pods.to_vec() })
    }

    /// Says that a pod takes the place of these on a node if others come first, if there are any.
    #[cfg(feature = "forecast")]
    pub(crate) fn of_later_victims(node: &Text, pods: Vec<Key>) -> Option<Self> {
        (!pods.is_empty()).then(|| Self::LaterVictims { node: node.clone(), pods })
    }

    /// Says that these may come to a node first, if there are any.
    pub(crate) fn of_competitors(node: &Text, competitors: Vec<Competitor>) -> Option<Self> {
        (!competitors.is_empty()).then(|| Self::CompetingPods { node: node.clone(), competitors })
    }
}

fn all_of(things: &[impl fmt::Display]) -> String {
    things.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ")
}

impl fmt::Display for UnknownFact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nodes => f.write_str("the nodes of the cluster"),
            Self::Allocatable { node } => write!(f, "what pods can request on node {node}"),
            Self::PodSpecs { node, pods: 1 } => write!(f, "what a pod on node {node} requests"),
            Self::PodSpecs { node, pods } => write!(f, "what {pods} pods on node {node} request"),
            Self::OtherNamespaces { known } => write!(f, "what pods of other namespaces than {known} take from nodes"),
            Self::Unreadable { kind, objects } => {
                let kind = if kind.is_empty() { "object" } else { kind };
                let (plural, hold) = if *objects == 1 { ("", "holds") } else { ("s", "hold") };
                write!(f, "what {objects} {kind}{plural} {hold} that could not be read")
            }
            Self::Kubelet { node, reason } => {
                write!(
                    f,
                    "whether the kubelet of node {node} lets a new pod start: it rejected the last one ({reason})"
                )
            }
            Self::FailingTemplate { pod, problem } => {
                write!(f, "whether new pods start, as {pod} by the same template does not ({problem})")
            }
            Self::Pressure { node, taint } => {
                write!(
                    f,
                    "whether the kubelet of node {node} lets a new pod start, as long as it has the taint {taint}"
                )
            }
            Self::VirtualNode { node } => write!(f, "whether a virtual kubelet runs its pod on node {node}"),
            Self::OperatingSystem { node, required } => {
                write!(
                    f,
                    "whether its pod, which is for {required}, starts on node {node} with another operating system"
                )
            }
            Self::Victims { node, pods } => {
                write!(f, "when its pod starts on node {node}, as {} must leave before", all_of(pods))
            }
            Self::Finalizers { pod, finalizers } => {
                write!(f, "when {pod} is gone once it is deleted, as it has the finalizer {}", all_of(finalizers))
            }
            Self::SaidOtherwise { pod, message } => {
                write!(f, "whether {pod} would be bound now: the scheduler said: {message}")
            }
            Self::OwnSpec => f.write_str("what the pod requests"),
            Self::SpecByTemplate => f.write_str("the pod's own spec, which is taken to be as the template says"),
            Self::Storage => f.write_str("the volumes, claims and classes of the cluster"),
            Self::VolumesOnNewNode => f.write_str("whether its volumes can be used on a new node"),
            Self::EphemeralClaims => f.write_str("whether the claims of its ephemeral volumes can be bound"),
            Self::ResourceClaims => f.write_str("whether the devices of its resource claims can be allocated"),
            Self::OwnPods => f.write_str("which of its new pods come first, which decides about the others"),
            Self::CompetingPods { node, competitors } => {
                let who = all_of(competitors);
                write!(f, "whether its pod finds room on node {node}, which depends on {who}")
            }
            Self::NeededPods { node, needed } => {
                write!(f, "when its pod fits on node {node}, which depends on {}", all_of(needed))
            }
            Self::Preemption { node, by } => {
                write!(f, "whether its pod keeps its place on node {node}, which depends on {}", all_of(by))
            }
            Self::LaterVictims { node, pods } => {
                write!(
                    f,
                    "whether its pod takes the place of {} on node {node}, as others may come first",
                    all_of(pods)
                )
            }
            Self::QuotaRoom => f.write_str("when other pods of the namespace go, before which its quotas have no room"),
            Self::SharedQuota { daemonsets } => {
                let daemonsets = all_of(daemonsets);
                write!(
                    f,
                    "whether new pods of DaemonSet {daemonsets} are created first, which leaves no room in the quota"
                )
            }
            Self::BoundByTemplate => f.write_str(
                "whether the kubelet lets the pod start: its template names the node, and the scheduler is not asked",
            ),
            Self::OtherScheduler { name } => write!(f, "whether the scheduler {name} binds its pods"),
            Self::Creation { message } => {
                write!(f, "whether pods can be created now ({message})")
            }
            Self::PriorityClass { name } => write!(f, "the PriorityClass {name}"),
            Self::RuntimeClass { name } => write!(f, "the RuntimeClass {name}"),
        }
    }
}
