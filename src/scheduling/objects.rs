use indexmap::IndexMap;

use crate::model::{
    CsiDriver, CsiNode, CsiStorageCapacity, Key, LimitRange, PersistentVolume, PersistentVolumeClaim,
    PodDisruptionBudget, PriorityClass, ResourceQuota, RuntimeClass, StorageClass, Text, VolumeAttachment,
};

/// The objects besides nodes, pods and namespaces that the scheduler and admission look at.
///
/// What is not here does not exist, for the scheduler: add all objects of a kind, or none of them and no pod that names one.
///
/// ```
/// use daemonplan::{model::StorageClass, scheduling::SchedulingObjects};
/// let class = r#"{"metadata": {"name": "fast"}, "provisioner": "csi.example.com"}"#;
/// let mut objects = SchedulingObjects::default();
/// objects.add(serde_json::from_str::<StorageClass>(class)?);
/// assert!(objects.storage_classes.contains_key("fast"));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct SchedulingObjects {
    /// PersistentVolumes, by name.
    pub volumes: IndexMap<Text, PersistentVolume>,
    /// PersistentVolumeClaims.
    pub claims: IndexMap<Key, PersistentVolumeClaim>,
    /// StorageClasses, by name.
    pub storage_classes: IndexMap<Text, StorageClass>,
    /// CSINodes, by the name of the node.
    pub csi_nodes: IndexMap<Text, CsiNode>,
    /// CSIDrivers, by name.
    pub csi_drivers: IndexMap<Text, CsiDriver>,
    /// CSIStorageCapacities.
    pub capacities: IndexMap<Key, CsiStorageCapacity>,
    /// VolumeAttachments, by name.
    pub attachments: IndexMap<Text, VolumeAttachment>,
    /// PodDisruptionBudgets.
    pub budgets: IndexMap<Key, PodDisruptionBudget>,
    /// PriorityClasses, by name.
    pub priority_classes: IndexMap<Text, PriorityClass>,
    /// RuntimeClasses, by name.
    pub runtime_classes: IndexMap<Text, RuntimeClass>,
    /// LimitRanges.
    pub limit_ranges: IndexMap<Key, LimitRange>,
    /// ResourceQuotas.
    pub quotas: IndexMap<Key, ResourceQuota>,
}

/// An object that [`SchedulingObjects`] hold.
///
/// ```
/// use daemonplan::{model::PriorityClass, scheduling::SchedulingObject};
/// assert_eq!(<PriorityClass as SchedulingObject>::KIND, "PriorityClass");
/// ```
pub trait SchedulingObject: Sized {
    /// The kind.
    const KIND: &'static str;

    /// The API group; empty for the core group.
    const GROUP: &'static str;

    /// Adds the object. It replaces one of its name. Returns whether there was one.
    fn add_to(self, objects: &mut SchedulingObjects) -> bool;
}

macro_rules! objects {
    ($($object:ident, $kind:literal of $group:literal in $field:ident by $key:expr;)+) => {$(
        impl SchedulingObject for $object {
            const KIND: &'static str = $kind;
            const GROUP: &'static str = $group;

            fn add_to(self, objects: &mut SchedulingObjects) -> bool {
                let key: fn(&Self) -> _ = $key;
                objects.$field.insert(key(&self), self).is_some()
            }
        }
    )+};
}

objects! {
    PersistentVolume, "PersistentVolume" of "" in volumes by |volume| volume.name.clone();
    PersistentVolumeClaim, "PersistentVolumeClaim" of "" in claims by |claim| Key::new(&claim.namespace, &claim.name);
    StorageClass, "StorageClass" of "storage.k8s.io" in storage_classes by |class| class.name.clone();
    CsiNode, "CSINode" of "storage.k8s.io" in csi_nodes by |node| node.name.clone();
    CsiDriver, "CSIDriver" of "storage.k8s.io" in csi_drivers by |driver| driver.name.clone();
    CsiStorageCapacity, "CSIStorageCapacity" of "storage.k8s.io" in capacities by |own| Key::new(&own.namespace, &own.name);
    VolumeAttachment, "VolumeAttachment" of "storage.k8s.io" in attachments by |attachment| attachment.name.clone();
    PodDisruptionBudget, "PodDisruptionBudget" of "policy" in budgets by |budget| Key::new(&budget.namespace, &budget.name);
    PriorityClass, "PriorityClass" of "scheduling.k8s.io" in priority_classes by |class| class.name.clone();
    RuntimeClass, "RuntimeClass" of "node.k8s.io" in runtime_classes by |class| class.name.clone();
    LimitRange, "LimitRange" of "" in limit_ranges by |range| Key::new(&range.namespace, &range.name);
    ResourceQuota, "ResourceQuota" of "" in quotas by |quota| Key::new(&quota.namespace, &quota.name);
}

impl SchedulingObjects {
    /// Adds an object. It replaces one of its name. Returns whether there was one.
    pub fn add(&mut self, object: impl SchedulingObject) -> bool {
        object.add_to(self)
    }
}
