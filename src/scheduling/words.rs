//! What causes say: the scheduler's own words, and more with names and numbers.

use std::fmt;

use super::{Amounts, Cause};
use crate::model::{Key, Quantity, Text};

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
            Self::AffinityConflict => "pod affinity terms conflict",
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
            Self::AffinityConflict => {
                "each term of the pod's required node affinity names different nodes at once".into()
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
                        format!("{} of {all} {} free", amount(free), are(amount(free)))
                    };
                    let (requested, missing) = (amount(*requested), amount(missing));
                    format!("requests {resource} {requested}, but {left}: {missing} more {} needed", are(missing))
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
            Self::ClaimLookup { claim: Key { name: claim, .. } } | Self::ClaimNotFound { claim } => {
                format!("the claim {claim} does not exist")
            }
            Self::EphemeralClaimNotFound { claim } => {
                format!("the claim {claim} of the ephemeral volume is not created yet")
            }
            Self::ClaimOfOther { claim, .. } => {
                format!("the claim {claim} has the name of the pod's ephemeral volume, but is not the pod's")
            }
            Self::ClaimLost { claim, volume } => format!("the claim {claim} has lost its volume {volume}"),
            Self::ClaimBeingDeleted { claim } => format!("the claim {claim} is being deleted"),
            Self::UnboundImmediateClaims { claims } => {
                format!("without a volume, and of no StorageClass that waits for a pod: claims {}", claims.join(", "))
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
                "nodes with {key}={value} would have {pods} matching pods, where the fewest are {smallest}: maxSkew allows \
                 {max_skew} more"
            ),
            Self::PodAffinity { key, has_label: true } => {
                format!("no pod that the pod affinity requires is on a node with the same {key}")
            }
            Self::PodAffinity { key, has_label: false } => {
                format!("the pod affinity requires the label {key}, which the node lacks")
            }
            Self::PodAntiAffinity { key, pod } => {
                let pod = name_or_new(pod.as_ref());
                format!("{pod} is on a node with the same {key}, which the pod's anti-affinity excludes")
            }
            Self::ExistingAntiAffinity { key, pod } => {
                let pod = name_or_new(pod.as_ref());
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

fn are(amount: Quantity) -> &'static str {
    if amount == Quantity::from(1_i64) { "is" } else { "are" }
}

/// Names a pod, or says that it has yet to be created.
fn name_or_new(pod: Option<&Key>) -> String {
    pod.map_or_else(|| "another new pod".to_owned(), ToString::to_string)
}
