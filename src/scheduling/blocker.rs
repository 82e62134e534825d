use std::fmt;

use serde::Serialize;

use super::Amounts;
use crate::model::{HostPort, Key, Quantity, Taint, Text};

/// A plugin of the default scheduler that can refuse a node.
/// <https://kubernetes.io/docs/reference/scheduling/config/#scheduling-plugins>
///
/// The order is that in which the scheduler asks them about a node.
///
/// ```
/// use daemonplan::scheduling::Plugin;
/// assert_eq!(Plugin::NodeResourcesFit.to_string(), "NodeResourcesFit");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[non_exhaustive]
pub enum Plugin {
    /// Keeps pods with `spec.schedulingGates` out of the queue.
    SchedulingGates,
    /// Refuses cordoned nodes.
    NodeUnschedulable,
    /// Refuses nodes with taints that the pod does not tolerate.
    TaintToleration,
    /// Refuses nodes that the pod's node selector or required node affinity excludes.
    NodeAffinity,
    /// Refuses nodes where another pod has a host port of the pod.
    NodePorts,
    /// Refuses nodes without room for the pod's requests, or for another pod.
    NodeResourcesFit,
    /// Refuses disks that other pods use, and claims with the access mode `ReadWriteOncePod`.
    VolumeRestrictions,
    /// Refuses nodes whose driver cannot attach more volumes.
    NodeVolumeLimits,
    /// Refuses nodes from which a claim cannot be served.
    VolumeBinding,
    /// Refuses nodes in another zone than a volume.
    VolumeZone,
    /// Refuses nodes where pods would spread too unevenly.
    PodTopologySpread,
    /// Refuses nodes that the affinity or anti-affinity between pods excludes.
    InterPodAffinity,
}

/// Whether the place of other pods could help.
///
/// ```
/// use daemonplan::scheduling::Code;
/// assert!(Code::Unschedulable < Code::UnschedulableAndUnresolvable);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Code {
    /// If other pods leave the node, the pod may fit.
    Unschedulable,
    /// Even without any other pod the node is refused.
    UnschedulableAndUnresolvable,
    /// The scheduler fails to decide, and tries again.
    Error,
}

/// When the scheduler asks a plugin.
///
/// ```
/// use daemonplan::scheduling::Stage;
/// assert_eq!(serde_json::to_value(Stage::PreFilter)?, "PreFilter");
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Stage {
    /// Before the pod enters the queue.
    PreEnqueue,
    /// Before any node is looked at: a refusal is for all nodes.
    PreFilter,
    /// For each node.
    Filter,
}

/// A plugin of the scheduler that refuses a node, and why.
///
/// It displays as the scheduler's own words.
///
/// ```
/// use daemonplan::{model::{Node, Pod, PodNode}, scheduling::{ClusterState, SchedulingObjects}};
/// let node: Node = serde_json::from_str(r#"{"metadata": {"name": "a"}, "status": {"allocatable": {"cpu": "1"}}}"#)?;
/// let pod: Pod = serde_json::from_str(r#"{"metadata": {"name": "agent-x2k"}, "spec": {"containers": [{"name": "agent"}]}}"#)?;
/// let objects = SchedulingObjects::default();
/// let state = ClusterState::new([&node], [], [], &objects);
/// let blockers = state.blockers(&pod, "a");
/// assert_eq!(blockers[0].to_string(), "Too many pods"); // the node allows none
/// # Ok::<(), serde_json::Error>(())
/// ```
///
/// It serialises with `reasons`, the scheduler's own words, and an `explanation` of each cause.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SchedulingBlocker {
    /// The plugin.
    pub plugin: Plugin,
    /// When the scheduler asks it.
    pub stage: Stage,
    /// Whether the place of other pods could help.
    pub code: Code,
    /// The reasons: at least one.
    pub causes: Vec<Cause>,
}

/// Why a plugin refuses a node. It displays as the scheduler's own words; [`explain`](Self::explain) says more.
///
/// ```
/// use daemonplan::scheduling::Cause;
/// let cause = Cause::Insufficient { resource: "cpu".into(), requested: 500, used: 800, allocatable: 1000 };
/// assert_eq!(cause.to_string(), "Insufficient cpu");
/// assert_eq!(cause.explain(), "requests cpu 500m, but 200m of 1 are free: 300m more are needed");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "cause", rename_all = "camelCase", rename_all_fields = "camelCase")]
#[non_exhaustive]
pub enum Cause {
    /// The pod waits until its scheduling gates are removed.
    Gated {
        /// The names of the gates.
        gates: Vec<Text>,
    },
    /// The node is cordoned, and the pod does not tolerate that.
    Cordoned,
    /// The pod does not tolerate a taint of the node.
    Taint {
        /// The taint.
        #[serde(serialize_with = "as_text")]
        taint: Taint,
    },
    /// The node lacks a label that the pod's node selector requires.
    NodeSelector {
        /// The label.
        key: Text,
        /// Its value.
        required: Text,
        /// The value that the node has, if it has the label.
        found: Option<Text>,
    },
    /// The required node affinity excludes the node.
    NodeAffinity,
    /// Another pod has a host port that the pod needs.
    HostPort {
        /// The port.
        port: HostPort,
        /// The pod that has it.
        #[serde(serialize_with = "as_text")]
        pod: Key,
    },
    /// The node has as many pods as it allows.
    TooManyPods {
        /// The pods that count.
        pods: usize,
        /// How many are allowed.
        allowed: i64,
    },
    /// The node has too little of a resource left.
    Insufficient {
        /// The resource.
        resource: Text,
        /// What the pod requests: thousandths for cpu, otherwise units.
        requested: i64,
        /// What the pods on the node request.
        used: i64,
        /// What pods can request there.
        allocatable: i64,
    },
    /// A pod on the node uses the same disk.
    DiskInUse {
        /// The pod.
        #[serde(serialize_with = "as_text")]
        pod: Key,
    },
    /// Another pod uses a claim that only one pod may use.
    ClaimInUse {
        /// The claim.
        claim: Text,
        /// The pod, if it is still on a node.
        #[serde(serialize_with = "as_optional_text", skip_serializing_if = "Option::is_none")]
        pod: Option<Key>,
    },
    /// A driver cannot attach more volumes to the node.
    VolumeLimit {
        /// The driver.
        driver: Text,
        /// How many volumes more the pod needs.
        requested: usize,
        /// How many are attached or will be.
        used: usize,
        /// How many the driver can attach.
        limit: i64,
    },
    /// A claim that a volume limit depends on does not exist.
    ClaimLookup {
        /// The namespace and name of the claim.
        #[serde(serialize_with = "as_text")]
        claim: Key,
    },
    /// A claim does not exist.
    ClaimNotFound {
        /// The claim.
        claim: Text,
    },
    /// The claim of an ephemeral volume does not exist yet.
    EphemeralClaimNotFound {
        /// The claim.
        claim: Text,
    },
    /// A claim has the name of a pod's ephemeral volume, but is not the pod's.
    ClaimOfOther {
        /// The claim.
        claim: Text,
        /// The pod.
        #[serde(serialize_with = "as_text")]
        pod: Key,
    },
    /// The volume of a claim was lost.
    ClaimLost {
        /// The claim.
        claim: Text,
        /// The volume.
        volume: Text,
    },
    /// A claim is being deleted.
    ClaimBeingDeleted {
        /// The claim.
        claim: Text,
    },
    /// Claims of a StorageClass that binds at once are not bound.
    UnboundImmediateClaims {
        /// The claims.
        claims: Vec<Text>,
    },
    /// A volume of a bound claim cannot be reached from the node.
    VolumeNodeAffinity {
        /// The volume.
        volume: Text,
    },
    /// No volume is left for a claim, and none can be provisioned for the node.
    NoVolume {
        /// The claim.
        claim: Text,
    },
    /// The driver says that it has too little storage left for the node.
    NotEnoughStorage {
        /// The claim.
        claim: Text,
    },
    /// The volumes of bound claims do not exist.
    VolumeMissing {
        /// The volumes.
        volumes: Vec<Text>,
    },
    /// The volume of a claim does not exist.
    VolumeNotFound {
        /// The volume.
        volume: Text,
    },
    /// The StorageClass of a claim does not exist.
    StorageClassNotFound {
        /// The class.
        class: Text,
    },
    /// A claim has neither a volume nor a StorageClass.
    ClaimWithoutClass {
        /// The claim.
        claim: Text,
    },
    /// A claim of a StorageClass that binds at once has no volume.
    ClaimWithoutVolume {
        /// The claim.
        claim: Text,
    },
    /// The volume is in another zone or region than the node.
    VolumeZone {
        /// The volume.
        volume: Text,
        /// The label.
        key: Text,
        /// The zones or regions of the volume.
        allowed: Vec<Text>,
        /// That of the node.
        #[serde(skip_serializing_if = "Option::is_none")]
        found: Option<Text>,
    },
    /// The node lacks the label over which pods spread.
    SpreadWithoutLabel {
        /// The label.
        key: Text,
    },
    /// The pods would spread too unevenly.
    Spread {
        /// The label.
        key: Text,
        /// The node's value of the label.
        value: Text,
        /// The matching pods there, with this one.
        pods: i64,
        /// The smallest number of matching pods for any value.
        smallest: i64,
        /// The largest allowed difference.
        max_skew: i32,
    },
    /// No pod that the pod's affinity requires is near the node.
    PodAffinity {
        /// The label that defines what is near.
        key: Text,
        /// Whether the node has the label.
        has_label: bool,
    },
    /// The pod's anti-affinity excludes a pod near the node.
    PodAntiAffinity {
        /// The label that defines what is near.
        key: Text,
        /// A pod that is excluded.
        #[serde(serialize_with = "as_text")]
        pod: Key,
    },
    /// The anti-affinity of a pod near the node excludes this pod.
    ExistingAntiAffinity {
        /// The label that defines what is near.
        key: Text,
        /// A pod that excludes this one.
        #[serde(serialize_with = "as_text")]
        pod: Key,
    },
}

impl Plugin {
    /// Returns the name in the scheduler's configuration and messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SchedulingGates => "SchedulingGates",
            Self::NodeUnschedulable => "NodeUnschedulable",
            Self::TaintToleration => "TaintToleration",
            Self::NodeAffinity => "NodeAffinity",
            Self::NodePorts => "NodePorts",
            Self::NodeResourcesFit => "NodeResourcesFit",
            Self::VolumeRestrictions => "VolumeRestrictions",
            Self::NodeVolumeLimits => "NodeVolumeLimits",
            Self::VolumeBinding => "VolumeBinding",
            Self::VolumeZone => "VolumeZone",
            Self::PodTopologySpread => "PodTopologySpread",
            Self::InterPodAffinity => "InterPodAffinity",
        }
    }
}

impl fmt::Display for Plugin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl SchedulingBlocker {
    pub(super) fn new(plugin: Plugin, stage: Stage, code: Code, causes: Vec<Cause>) -> Self {
        Self { plugin, stage, code, causes }
    }

    /// Returns a refusal of a node for one reason.
    pub(super) fn of(plugin: Plugin, code: Code, cause: Cause) -> Self {
        Self::new(plugin, Stage::Filter, code, vec![cause])
    }

    /// Returns a refusal of all nodes, which the place of other pods does not change.
    pub(super) fn of_all(plugin: Plugin, cause: Cause) -> Self {
        Self::new(plugin, Stage::PreFilter, Code::UnschedulableAndUnresolvable, vec![cause])
    }

    /// Returns the scheduler's own words, sorted as in its message.
    pub fn reasons(&self) -> Vec<String> {
        let mut reasons: Vec<_> = self.causes.iter().map(ToString::to_string).collect();
        reasons.sort_unstable();
        reasons.dedup();
        reasons
    }
}

impl Serialize for SchedulingBlocker {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Explained<'c> {
            #[serde(flatten)]
            cause: &'c Cause,
            explanation: String,
        }
        #[derive(Serialize)]
        struct BlockerFields<'b> {
            plugin: Plugin,
            stage: Stage,
            code: Code,
            reasons: Vec<String>,
            causes: Vec<Explained<'b>>,
        }
        let Self { plugin, stage, code, ref causes } = *self;
        let causes = causes.iter().map(|cause| Explained { cause, explanation: cause.explain() }).collect();
        BlockerFields { plugin, stage, code, reasons: self.reasons(), causes }.serialize(serializer)
    }
}

impl fmt::Display for SchedulingBlocker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reasons().join(", "))
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::Gated { gates } => return write!(f, "waiting for scheduling gates: [{}]", gates.join(" ")),
            Self::Insufficient { resource, .. } => return write!(f, "Insufficient {resource}"),
            Self::ClaimLookup { claim } => {
                let name = &claim.name;
                return write!(f, "looking up PVC {claim}: persistentvolumeclaim {name:?} not found");
            }
            Self::ClaimNotFound { claim } => return write!(f, "persistentvolumeclaim {claim:?} not found"),
            Self::EphemeralClaimNotFound { claim } => {
                return write!(
                    f,
                    "waiting for ephemeral volume controller to create the persistentvolumeclaim {claim:?}"
                );
            }
            Self::ClaimOfOther { claim, pod } => {
                let namespace = &pod.namespace;
                return write!(f, "PVC {namespace}/{claim} was not created for pod {pod} (pod is not owner)");
            }
            Self::ClaimLost { claim, volume } => {
                return write!(f, "persistentvolumeclaim {claim:?} bound to non-existent persistentvolume {volume:?}");
            }
            Self::ClaimBeingDeleted { claim } => {
                return write!(f, "persistentvolumeclaim {claim:?} is being deleted");
            }
            Self::VolumeNotFound { volume } => return write!(f, "persistentvolume {volume:?} not found"),
            Self::StorageClassNotFound { class } => {
                return write!(f, "storageclass.storage.k8s.io {class:?} not found");
            }
            Self::Cordoned => "node(s) were unschedulable",
            Self::Taint { .. } => "node(s) had untolerated taint(s)",
            Self::NodeSelector { .. } | Self::NodeAffinity => "node(s) didn't match Pod's node affinity/selector",
            Self::HostPort { .. } => "node(s) didn't have free ports for the requested pod ports",
            Self::TooManyPods { .. } => "Too many pods",
            Self::DiskInUse { .. } => "node(s) had no available disk",
            Self::ClaimInUse { .. } => {
                "node(s) unavailable due to PersistentVolumeClaim with ReadWriteOncePod access mode already in-use by \
                 another pod"
            }
            Self::VolumeLimit { .. } => "node(s) exceed max volume count",
            Self::UnboundImmediateClaims { .. } => "pod has unbound immediate PersistentVolumeClaims",
            Self::VolumeNodeAffinity { .. } => "node(s) didn't match PersistentVolume's node affinity",
            Self::NoVolume { .. } => "node(s) didn't find available persistent volumes to bind",
            Self::NotEnoughStorage { .. } => "node(s) did not have enough free storage",
            Self::VolumeMissing { .. } => "node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)",
            Self::ClaimWithoutClass { .. } => "PersistentVolumeClaim had no pv name and storageClass name",
            Self::ClaimWithoutVolume { .. } => "PersistentVolume had no name",
            Self::VolumeZone { .. } => "node(s) had no available volume zone",
            Self::SpreadWithoutLabel { .. } => {
                "node(s) didn't match pod topology spread constraints (missing required label)"
            }
            Self::Spread { .. } => "node(s) didn't match pod topology spread constraints",
            Self::PodAffinity { .. } => "node(s) didn't match pod affinity rules",
            Self::PodAntiAffinity { .. } => "node(s) didn't match pod anti-affinity rules",
            Self::ExistingAntiAffinity { .. } => "node(s) didn't satisfy existing pods anti-affinity rules",
        };
        f.write_str(text)
    }
}

impl Cause {
    /// Says by names and numbers why the node is refused, and what is missing.
    pub fn explain(&self) -> String {
        match self {
            Self::Gated { gates } => {
                format!("the scheduler waits until the scheduling gates {} are removed", gates.join(", "))
            }
            Self::Cordoned => "the node is cordoned, and the pod does not tolerate that".into(),
            Self::Taint { taint } => format!("the pod does not tolerate the taint {taint}"),
            Self::NodeSelector { key, required, found: Some(found) } => {
                format!("the pod's node selector requires {key}={required}, the node has {key}={found}")
            }
            Self::NodeSelector { key, required, found: None } => {
                format!("the pod's node selector requires {key}={required}, the node has no label {key}")
            }
            Self::NodeAffinity => "the pod's required node affinity excludes the node".into(),
            Self::HostPort { port, pod } => format!("port {port} is taken by {pod}"),
            Self::TooManyPods { pods: 1, allowed } => format!("the node has 1 pod and allows {allowed}"),
            Self::TooManyPods { pods, allowed } => format!("the node has {pods} pods and allows {allowed}"),
            Self::Insufficient { resource, requested, used, allocatable } => {
                let amount = |amount: i64| Amounts::quantity(resource, amount);
                let free = allocatable.saturating_sub(*used);
                let all = amount(*allocatable);
                if requested > allocatable {
                    format!("requests {resource} {}, but the whole node has {all}", amount(*requested))
                } else {
                    let missing = requested.saturating_sub(free);
                    let left = if free < 0 {
                        format!("the pods there request {} of {all} already", amount(*used))
                    } else {
                        format!("{} of {all} are free", amount(free))
                    };
                    format!(
                        "requests {resource} {}, but {left}: {} more are needed",
                        amount(*requested),
                        amount(missing)
                    )
                }
            }
            Self::DiskInUse { pod } => format!("{pod} uses the same disk, which pods cannot share"),
            Self::ClaimInUse { claim, pod } => match pod {
                Some(pod) => format!("{pod} uses the claim {claim}, whose access mode ReadWriteOncePod allows one pod"),
                None => {
                    format!("another pod uses the claim {claim}, whose access mode ReadWriteOncePod allows one pod")
                }
            },
            Self::VolumeLimit { driver, requested, used, limit } => {
                let volumes = if *requested == 1 { "volume" } else { "volumes" };
                format!("needs {requested} more {volumes} of {driver}, which has attached {used} of at most {limit}")
            }
            Self::ClaimLookup { claim } => format!("the claim {claim} does not exist"),
            Self::ClaimNotFound { claim } => format!("the claim {claim} does not exist"),
            Self::EphemeralClaimNotFound { claim } => {
                format!("the claim {claim} of the ephemeral volume is not created yet")
            }
            Self::ClaimOfOther { claim, .. } => {
                format!("the claim {claim} has the name of the pod's ephemeral volume, but is not the pod's")
            }
            Self::ClaimLost { claim, volume } => format!("the claim {claim} has lost its volume {volume}"),
            Self::ClaimBeingDeleted { claim } => format!("the claim {claim} is being deleted"),
            Self::UnboundImmediateClaims { claims } => {
                format!("not bound to a volume, although their StorageClass binds at once: {}", claims.join(", "))
            }
            Self::VolumeNodeAffinity { volume } => format!("the volume {volume} cannot be reached from the node"),
            Self::NoVolume { claim } => {
                format!("no volume is left for the claim {claim}, and none can be provisioned for the node")
            }
            Self::NotEnoughStorage { claim } => format!("too little storage is left for the claim {claim}"),
            Self::VolumeMissing { volumes } => format!("volumes of claims do not exist: {}", volumes.join(", ")),
            Self::VolumeNotFound { volume } => format!("the volume {volume} does not exist"),
            Self::StorageClassNotFound { class } => format!("the StorageClass {class} does not exist"),
            Self::ClaimWithoutClass { claim } => format!("the claim {claim} has neither a volume nor a StorageClass"),
            Self::ClaimWithoutVolume { claim } => {
                format!("the claim {claim} has no volume, although its StorageClass binds at once")
            }
            Self::VolumeZone { volume, key, allowed, found } => {
                let found =
                    found.as_ref().map_or_else(|| "without that label".to_owned(), |found| format!("in {found}"));
                format!("the volume {volume} is in {} ({key}), the node is {found}", allowed.join(", "))
            }
            Self::SpreadWithoutLabel { key } => format!("pods spread over the label {key}, which the node lacks"),
            Self::Spread { key, value, pods, smallest, max_skew } => format!(
                "with this pod {pods} matching pods would have {key}={value}, where the least is {smallest}: a difference of \
                 at most {max_skew} is allowed"
            ),
            Self::PodAffinity { key, has_label: true } => {
                format!("no pod that the pod affinity requires is on a node with the same {key}")
            }
            Self::PodAffinity { key, has_label: false } => {
                format!("the pod affinity requires the label {key}, which the node lacks")
            }
            Self::PodAntiAffinity { key, pod } => {
                format!("{pod} is on a node with the same {key}, which the pod's anti-affinity excludes")
            }
            Self::ExistingAntiAffinity { key, pod } => {
                format!("{pod} is on a node with the same {key}, and its anti-affinity excludes this pod")
            }
        }
    }

    /// Returns the amount that is missing, and of which resource.
    pub fn short_by(&self) -> Option<(&Text, Quantity)> {
        match self {
            Self::Insufficient { resource, requested, used, allocatable } => {
                let missing = requested.saturating_sub(allocatable.saturating_sub(*used));
                Some((resource, Amounts::quantity(resource, missing)))
            }
            _ => None,
        }
    }
}

fn as_text<S: serde::Serializer>(value: &impl fmt::Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

// The signature is that of serde's `serialize_with`.
#[allow(clippy::ref_option)]
fn as_optional_text<S: serde::Serializer>(value: &Option<Key>, serializer: S) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => serializer.collect_str(value),
        None => serializer.serialize_none(),
    }
}
