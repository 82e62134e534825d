//! How Kubernetes writes the objects of storage.

use serde::Deserialize;

use super::{
    ClaimRef, CsiDriver, CsiNode, CsiStorageCapacity, PersistentVolume, PersistentVolumeClaim, StorageClass,
    VolumeAttachment,
};
use crate::model::{
    LabelSelector, NodeSelector, Quantity, ResourceList, Text,
    metadata::{Metadata, MissingName},
};

const CLASS_ANNOTATION: &str = "volume.beta.kubernetes.io/storage-class";
const BOUND_ANNOTATION: &str = "pv.kubernetes.io/bind-completed";
const SELECTED_NODE_ANNOTATION: &str = "volume.kubernetes.io/selected-node";

#[derive(Deserialize)]
pub(super) struct PersistentVolumeWire {
    #[serde(default)]
    metadata: Metadata,
    #[serde(default)]
    spec: PersistentVolumeSpecWire,
    status: Option<PhaseWire>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PersistentVolumeSpecWire {
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
pub(super) struct CsiWire {
    #[serde(default)]
    driver: Text,
    #[serde(default)]
    volume_handle: Text,
}

#[derive(Default, Deserialize)]
pub(super) struct PhaseWire {
    phase: Option<Text>,
}

#[derive(Deserialize)]
pub(super) struct ClaimWire {
    #[serde(default)]
    metadata: Metadata,
    #[serde(default)]
    spec: ClaimSpecWire,
    status: Option<PhaseWire>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ClaimSpecWire {
    access_modes: Option<Vec<Text>>,
    storage_class_name: Option<Text>,
    volume_attributes_class_name: Option<Text>,
    volume_name: Option<Text>,
    volume_mode: Option<Text>,
    resources: Option<crate::model::ResourceRequirements>,
    selector: Option<LabelSelector>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ClassWire {
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
pub(super) struct CsiNodeWire {
    #[serde(default)]
    metadata: Metadata,
    spec: Option<CsiNodeSpecWire>,
}

#[derive(Deserialize)]
pub(super) struct CsiNodeSpecWire {
    drivers: Option<Vec<DriverWire>>,
}

#[derive(Deserialize)]
pub(super) struct DriverWire {
    #[serde(default)]
    name: Text,
    allocatable: Option<AllocatableWire>,
}

#[derive(Deserialize)]
pub(super) struct AllocatableWire {
    count: Option<i64>,
}

#[derive(Deserialize)]
pub(super) struct CsiDriverWire {
    #[serde(default)]
    metadata: Metadata,
    spec: Option<CsiDriverSpecWire>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CsiDriverSpecWire {
    storage_capacity: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CapacityWire {
    #[serde(default)]
    metadata: Metadata,
    storage_class_name: Option<Text>,
    node_topology: Option<LabelSelector>,
    capacity: Option<Quantity>,
    maximum_volume_size: Option<Quantity>,
}

#[derive(Deserialize)]
pub(super) struct AttachmentWire {
    #[serde(default)]
    metadata: Metadata,
    #[serde(default)]
    spec: AttachmentSpecWire,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct AttachmentSpecWire {
    attacher: Option<Text>,
    node_name: Option<Text>,
    source: Option<SourceWire>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SourceWire {
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
