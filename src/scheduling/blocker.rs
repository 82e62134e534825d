use std::fmt;

use serde::Serialize;

use super::as_text;
use crate::model::{HostPort, Key, Taint, Text};

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
    /// Each term of the required node affinity names different nodes at once, which none can be.
    AffinityConflict,
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
        /// A pod that is excluded; `None` if it is one that has yet to be created.
        #[serde(serialize_with = "as_optional_text", skip_serializing_if = "Option::is_none")]
        pod: Option<Key>,
    },
    /// The anti-affinity of a pod near the node excludes this pod.
    ExistingAntiAffinity {
        /// The label that defines what is near.
        key: Text,
        /// A pod that excludes this one; `None` if it is one that has yet to be created.
        #[serde(serialize_with = "as_optional_text", skip_serializing_if = "Option::is_none")]
        pod: Option<Key>,
    },
}

impl Plugin {
    /// Whether the plugin counts pods on several nodes, so that pods that come elsewhere can change its answer.
    pub(crate) fn counts_pods(self) -> bool {
        matches!(self, Self::PodTopologySpread | Self::InterPodAffinity)
    }

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
            #[serde(skip_serializing_if = "Option::is_none")]
            advice: Option<String>,
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
        let explained = |cause| Explained { cause, explanation: Cause::explain(cause), advice: Cause::advice(cause) };
        let causes = causes.iter().map(explained).collect();
        BlockerFields { plugin, stage, code, reasons: self.reasons(), causes }.serialize(serializer)
    }
}

impl fmt::Display for SchedulingBlocker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reasons().join(", "))
    }
}

// The signature is that of serde's `serialize_with`.
#[allow(clippy::ref_option)]
fn as_optional_text<S: serde::Serializer>(value: &Option<Key>, serializer: S) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => serializer.collect_str(value),
        None => serializer.serialize_none(),
    }
}
