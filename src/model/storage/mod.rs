//! Volumes, as far as the scheduler looks at them.

mod wire;

use serde::Deserialize;

use crate::model::{LabelSelector, Labels, NodeSelector, Quantity, Text};

/// A PersistentVolume. <https://kubernetes.io/docs/concepts/storage/persistent-volumes/>
///
/// ```
/// use daemonplan::model::PersistentVolume;
/// let text = r#"{"metadata": {"name": "pv-1"}, "spec": {"csi": {"driver": "csi.example.com", "volumeHandle": "1"}}}"#;
/// let volume: PersistentVolume = serde_json::from_str(text)?;
/// assert_eq!(volume.driver, "csi.example.com");
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "wire::PersistentVolumeWire")]
#[non_exhaustive]
pub struct PersistentVolume {
    /// `metadata.name`.
    pub name: Text,
    /// `metadata.labels`.
    pub labels: Labels,
    /// Whether the volume is being deleted.
    pub is_being_deleted: bool,
    /// `spec.capacity.storage`.
    pub capacity: Quantity,
    /// `spec.accessModes`.
    pub access_modes: Vec<Text>,
    /// Whether `spec.volumeMode` is `Block`.
    pub is_block: bool,
    /// The StorageClass; often empty.
    pub class: Text,
    /// `spec.volumeAttributesClassName`; often empty.
    pub attributes_class: Text,
    /// `spec.claimRef`: the claim that the volume is for.
    pub claim: Option<ClaimRef>,
    /// `spec.nodeAffinity.required`: the nodes that can reach the volume; `None` for all.
    pub node_affinity: Option<NodeSelector>,
    /// The driver that attaches the volume to nodes: `spec.csi.driver`. Empty if it is not of CSI.
    pub driver: Text,
    /// The volume's name for that driver: `spec.csi.volumeHandle`.
    pub handle: Text,
    /// Whether `status.phase` is `Available`.
    pub is_available: bool,
}

/// The claim that a [`PersistentVolume`] is for.
///
/// ```
/// use daemonplan::model::ClaimRef;
/// let claim: ClaimRef = serde_json::from_str(r#"{"namespace": "prod", "name": "data", "uid": "7"}"#)?;
/// assert_eq!(claim.name, "data");
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct ClaimRef {
    /// The namespace.
    #[serde(default)]
    pub namespace: Text,
    /// The name.
    #[serde(default)]
    pub name: Text,
    /// The uid; empty if any claim of the name will do.
    #[serde(default)]
    pub uid: Text,
}

/// A PersistentVolumeClaim. <https://kubernetes.io/docs/concepts/storage/persistent-volumes/#persistentvolumeclaims>
///
/// ```
/// use daemonplan::model::PersistentVolumeClaim;
/// let text = r#"{"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOncePod"]}}"#;
/// let claim: PersistentVolumeClaim = serde_json::from_str(text)?;
/// assert_eq!((&*claim.namespace, claim.volume.is_empty()), ("default", true));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "wire::ClaimWire")]
#[non_exhaustive]
#[allow(clippy::struct_excessive_bools)] // facts of a claim that do not depend on each other
pub struct PersistentVolumeClaim {
    /// `metadata.namespace`.
    pub namespace: Text,
    /// `metadata.name`.
    pub name: Text,
    /// `metadata.uid`.
    pub uid: Text,
    /// The uid of the controller; that of the pod for an ephemeral volume. Often empty.
    pub owner: Text,
    /// Whether the claim is being deleted.
    pub is_being_deleted: bool,
    /// Whether the annotation `pv.kubernetes.io/bind-completed` says that the claim is bound to `volume`.
    pub is_bound: bool,
    /// The annotation `volume.kubernetes.io/selected-node`: where the volume is being provisioned. Often empty.
    pub selected_node: Text,
    /// `spec.accessModes`.
    pub access_modes: Vec<Text>,
    /// The StorageClass; empty for none.
    pub class: Text,
    /// `spec.volumeAttributesClassName`; often empty.
    pub attributes_class: Text,
    /// `spec.volumeName`: the volume; empty if there is none yet.
    pub volume: Text,
    /// `spec.resources.requests.storage`.
    pub request: Option<Quantity>,
    /// Whether `spec.volumeMode` is `Block`.
    pub is_block: bool,
    /// `spec.selector`: the volumes that will do; `None` for all.
    pub selector: Option<LabelSelector>,
    /// Whether `status.phase` is `Lost`: the volume does not exist any more.
    pub is_lost: bool,
}

/// A StorageClass. <https://kubernetes.io/docs/concepts/storage/storage-classes/>
///
/// ```
/// use daemonplan::model::StorageClass;
/// let text = r#"{"metadata": {"name": "fast"}, "provisioner": "csi.example.com", "volumeBindingMode": "Immediate"}"#;
/// let class: StorageClass = serde_json::from_str(text)?;
/// assert!(!class.waits_for_pods);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "wire::ClassWire")]
#[non_exhaustive]
pub struct StorageClass {
    /// `metadata.name`.
    pub name: Text,
    /// `provisioner`.
    pub provisioner: Text,
    /// Whether `volumeBindingMode` is `WaitForFirstConsumer`: volumes are bound when a pod is scheduled.
    pub waits_for_pods: bool,
    /// `allowedTopologies`: terms of labels with their values, one of which must match a node; without terms any node.
    pub topologies: Vec<Vec<(Text, Vec<Text>)>>,
}

/// A CSINode: the drivers on a node. <https://kubernetes.io/docs/concepts/storage/storage-limits/>
///
/// ```
/// use daemonplan::model::CsiNode;
/// let text = r#"{"metadata": {"name": "node-7"},
///     "spec": {"drivers": [{"name": "csi.example.com", "nodeID": "7", "allocatable": {"count": 25}}]}}"#;
/// let node: CsiNode = serde_json::from_str(text)?;
/// assert_eq!(node.limits, [("csi.example.com".into(), 25)]);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "wire::CsiNodeWire")]
#[non_exhaustive]
pub struct CsiNode {
    /// The name of the node.
    pub name: Text,
    /// How many volumes each driver can attach, where it has a limit.
    pub limits: Vec<(Text, i64)>,
}

/// A CSIDriver. <https://kubernetes.io/docs/concepts/storage/storage-capacity/>
///
/// ```
/// use daemonplan::model::CsiDriver;
/// let text = r#"{"metadata": {"name": "csi.example.com"}, "spec": {"storageCapacity": true}}"#;
/// assert!(serde_json::from_str::<CsiDriver>(text)?.reports_capacity);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "wire::CsiDriverWire")]
#[non_exhaustive]
pub struct CsiDriver {
    /// The name of the driver, which is the `provisioner` of its StorageClasses.
    pub name: Text,
    /// `spec.storageCapacity`: whether the driver says by CSIStorageCapacity objects how much storage is left where.
    pub reports_capacity: bool,
}

/// A CSIStorageCapacity: the storage that is left for a StorageClass on some nodes.
/// <https://kubernetes.io/docs/concepts/storage/storage-capacity/>
///
/// ```
/// use daemonplan::model::CsiStorageCapacity;
/// let text = r#"{"metadata": {"name": "a"}, "storageClassName": "fast", "nodeTopology": {}, "capacity": "10Gi"}"#;
/// assert_eq!(serde_json::from_str::<CsiStorageCapacity>(text)?.class, "fast");
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "wire::CapacityWire")]
#[non_exhaustive]
pub struct CsiStorageCapacity {
    /// `metadata.namespace`.
    pub namespace: Text,
    /// `metadata.name`.
    pub name: Text,
    /// `storageClassName`.
    pub class: Text,
    /// `nodeTopology`: the nodes; none if it is missing.
    pub nodes: Option<LabelSelector>,
    /// The largest volume that fits: `maximumVolumeSize`, or `capacity`; nothing fits if neither is known.
    pub largest: Option<Quantity>,
}

/// A VolumeAttachment: a volume that is being attached to a node, or is attached.
///
/// ```
/// use daemonplan::model::VolumeAttachment;
/// let text = r#"{"metadata": {"name": "a"}, "spec": {
///     "attacher": "csi.example.com", "nodeName": "node-7", "source": {"persistentVolumeName": "pv-1"}}}"#;
/// assert_eq!(serde_json::from_str::<VolumeAttachment>(text)?.node, "node-7");
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "wire::AttachmentWire")]
#[non_exhaustive]
pub struct VolumeAttachment {
    /// `metadata.name`.
    pub name: Text,
    /// `spec.attacher`: the driver.
    pub attacher: Text,
    /// `spec.nodeName`.
    pub node: Text,
    /// `spec.source.persistentVolumeName`; often empty.
    pub volume: Text,
}
