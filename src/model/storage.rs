//! Volumes, as far as the scheduler looks at them.

use serde::Deserialize;

use crate::model::{
    LabelSelector, Labels, NodeSelector, Quantity, ResourceList, Text,
    metadata::{Metadata, MissingName},
};

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
#[serde(try_from = "PersistentVolumeWire")]
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
#[serde(try_from = "ClaimWire")]
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
#[serde(try_from = "ClassWire")]
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
#[serde(try_from = "CsiNodeWire")]
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
#[serde(try_from = "CsiDriverWire")]
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
#[serde(try_from = "CapacityWire")]
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
#[serde(try_from = "AttachmentWire")]
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

const CLASS_ANNOTATION: &str = "volume.beta.kubernetes.io/storage-class";
const BOUND_ANNOTATION: &str = "pv.kubernetes.io/bind-completed";
const SELECTED_NODE_ANNOTATION: &str = "volume.kubernetes.io/selected-node";

#[derive(Deserialize)]
struct PersistentVolumeWire {
    #[serde(default)]
    metadata: Metadata,
    #[serde(default)]
    spec: PersistentVolumeSpecWire,
    status: Option<PhaseWire>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PersistentVolumeSpecWire {
    capacity: Option<ResourceList>,
    access_modes: Option<Vec<Text>>,
    volume_mode: Option<Text>,
    storage_class_name: Option<Text>,
    volume_attributes_class_name: Option<Text>,
    claim_ref: Option<ClaimRef>,
    node_affinity: Option<VolumeNodeAffinity>,
    csi: Option<CsiWire>,
}

#[derive(Deserialize)]
struct VolumeNodeAffinity {
    required: Option<NodeSelector>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct CsiWire {
    #[serde(default)]
    driver: Text,
    #[serde(default)]
    volume_handle: Text,
}

#[derive(Default, Deserialize)]
struct PhaseWire {
    phase: Option<Text>,
}

#[derive(Deserialize)]
struct ClaimWire {
    #[serde(default)]
    metadata: Metadata,
    #[serde(default)]
    spec: ClaimSpecWire,
    status: Option<PhaseWire>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ClaimSpecWire {
    access_modes: Option<Vec<Text>>,
    storage_class_name: Option<Text>,
    volume_attributes_class_name: Option<Text>,
    volume_name: Option<Text>,
    volume_mode: Option<Text>,
    resources: Option<super::ResourceRequirements>,
    selector: Option<LabelSelector>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ClassWire {
    #[serde(default)]
    metadata: Metadata,
    provisioner: Option<Text>,
    volume_binding_mode: Option<Text>,
    allowed_topologies: Option<Vec<TopologyTerm>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TopologyTerm {
    match_label_expressions: Option<Vec<TopologyLabel>>,
}

#[derive(Deserialize)]
struct TopologyLabel {
    #[serde(default)]
    key: Text,
    values: Option<Vec<Text>>,
}

#[derive(Deserialize)]
struct CsiNodeWire {
    #[serde(default)]
    metadata: Metadata,
    spec: Option<CsiNodeSpecWire>,
}

#[derive(Deserialize)]
struct CsiNodeSpecWire {
    drivers: Option<Vec<DriverWire>>,
}

#[derive(Deserialize)]
struct DriverWire {
    #[serde(default)]
    name: Text,
    allocatable: Option<AllocatableWire>,
}

#[derive(Deserialize)]
struct AllocatableWire {
    count: Option<i64>,
}

#[derive(Deserialize)]
struct CsiDriverWire {
    #[serde(default)]
    metadata: Metadata,
    spec: Option<CsiDriverSpecWire>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CsiDriverSpecWire {
    storage_capacity: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CapacityWire {
    #[serde(default)]
    metadata: Metadata,
    storage_class_name: Option<Text>,
    node_topology: Option<LabelSelector>,
    capacity: Option<Quantity>,
    maximum_volume_size: Option<Quantity>,
}

#[derive(Deserialize)]
struct AttachmentWire {
    #[serde(default)]
    metadata: Metadata,
    #[serde(default)]
    spec: AttachmentSpecWire,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct AttachmentSpecWire {
    attacher: Option<Text>,
    node_name: Option<Text>,
    source: Option<SourceWire>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SourceWire {
    persistent_volume_name: Option<Text>,
}

fn is_block(mode: Option<Text>) -> bool {
    mode.is_some_and(|mode| mode == "Block")
}

impl PhaseWire {
    fn is(self, phase: &str) -> bool {
        self.phase.is_some_and(|own| own == phase)
    }
}

impl Metadata {
    /// Takes the StorageClass: that of the old annotation, or that of the spec.
    fn class(&self, of_spec: Option<Text>) -> Text {
        self.annotation(CLASS_ANNOTATION).or(of_spec).unwrap_or_default()
    }

    fn annotation(&self, key: &str) -> Option<Text> {
        self.annotations.as_ref()?.get(key).map(Text::from)
    }
}

impl TryFrom<PersistentVolumeWire> for PersistentVolume {
    type Error = MissingName;

    fn try_from(mut wire: PersistentVolumeWire) -> Result<Self, MissingName> {
        let CsiWire { driver, volume_handle: handle } = wire.spec.csi.unwrap_or_default();
        Ok(Self {
            name: wire.metadata.take_name()?,
            class: wire.metadata.class(wire.spec.storage_class_name),
            labels: wire.metadata.labels.unwrap_or_default(),
            is_being_deleted: wire.metadata.deletion_timestamp.is_some(),
            capacity: wire.spec.capacity.map(|capacity| capacity.get("storage")).unwrap_or_default(),
            access_modes: wire.spec.access_modes.unwrap_or_default(),
            is_block: is_block(wire.spec.volume_mode),
            attributes_class: wire.spec.volume_attributes_class_name.unwrap_or_default(),
            claim: wire.spec.claim_ref,
            node_affinity: wire.spec.node_affinity.and_then(|affinity| affinity.required),
            driver,
            handle,
            is_available: wire.status.unwrap_or_default().is("Available"),
        })
    }
}

impl TryFrom<ClaimWire> for PersistentVolumeClaim {
    type Error = MissingName;

    fn try_from(mut wire: ClaimWire) -> Result<Self, MissingName> {
        let requests = wire.spec.resources.map(|resources| resources.requests);
        Ok(Self {
            name: wire.metadata.take_name()?,
            namespace: wire.metadata.take_namespace(),
            owner: wire.metadata.controller().map(|owner| owner.uid.clone()).unwrap_or_default(),
            is_being_deleted: wire.metadata.deletion_timestamp.is_some(),
            is_bound: wire.metadata.annotation(BOUND_ANNOTATION).is_some(),
            selected_node: wire.metadata.annotation(SELECTED_NODE_ANNOTATION).unwrap_or_default(),
            class: wire.metadata.class(wire.spec.storage_class_name),
            uid: wire.metadata.uid.unwrap_or_default(),
            access_modes: wire.spec.access_modes.unwrap_or_default(),
            attributes_class: wire.spec.volume_attributes_class_name.unwrap_or_default(),
            volume: wire.spec.volume_name.unwrap_or_default(),
            request: requests.filter(|requests| requests.contains("storage")).map(|requests| requests.get("storage")),
            is_block: is_block(wire.spec.volume_mode),
            selector: wire.spec.selector,
            is_lost: wire.status.unwrap_or_default().is("Lost"),
        })
    }
}

impl TryFrom<ClassWire> for StorageClass {
    type Error = MissingName;

    fn try_from(mut wire: ClassWire) -> Result<Self, MissingName> {
        let term = |term: TopologyTerm| {
            let labels = term.match_label_expressions.unwrap_or_default().into_iter();
            labels.map(|label| (label.key, label.values.unwrap_or_default())).collect()
        };
        Ok(Self {
            name: wire.metadata.take_name()?,
            provisioner: wire.provisioner.unwrap_or_default(),
            waits_for_pods: wire.volume_binding_mode.is_some_and(|mode| mode == "WaitForFirstConsumer"),
            topologies: wire.allowed_topologies.unwrap_or_default().into_iter().map(term).collect(),
        })
    }
}

impl TryFrom<CsiNodeWire> for CsiNode {
    type Error = MissingName;

    fn try_from(mut wire: CsiNodeWire) -> Result<Self, MissingName> {
        let drivers = wire.spec.and_then(|spec| spec.drivers).unwrap_or_default().into_iter();
        let limit = |driver: DriverWire| Some((driver.name, driver.allocatable?.count?));
        Ok(Self { name: wire.metadata.take_name()?, limits: drivers.filter_map(limit).collect() })
    }
}

impl TryFrom<CsiDriverWire> for CsiDriver {
    type Error = MissingName;

    fn try_from(mut wire: CsiDriverWire) -> Result<Self, MissingName> {
        let reports_capacity = wire.spec.and_then(|spec| spec.storage_capacity).unwrap_or_default();
        Ok(Self { name: wire.metadata.take_name()?, reports_capacity })
    }
}

impl TryFrom<CapacityWire> for CsiStorageCapacity {
    type Error = MissingName;

    fn try_from(mut wire: CapacityWire) -> Result<Self, MissingName> {
        Ok(Self {
            name: wire.metadata.take_name()?,
            namespace: wire.metadata.take_namespace(),
            class: wire.storage_class_name.unwrap_or_default(),
            nodes: wire.node_topology,
            largest: wire.maximum_volume_size.or(wire.capacity),
        })
    }
}

impl TryFrom<AttachmentWire> for VolumeAttachment {
    type Error = MissingName;

    fn try_from(mut wire: AttachmentWire) -> Result<Self, MissingName> {
        Ok(Self {
            name: wire.metadata.take_name()?,
            attacher: wire.spec.attacher.unwrap_or_default(),
            node: wire.spec.node_name.unwrap_or_default(),
            volume: wire.spec.source.and_then(|source| source.persistent_volume_name).unwrap_or_default(),
        })
    }
}
