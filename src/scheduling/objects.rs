use std::collections::BTreeMap;

use indexmap::IndexMap;
use serde::de::DeserializeOwned;

use super::UnknownFact;
use crate::{
    model::{
        CsiDriver, CsiNode, CsiStorageCapacity, Key, LimitRange, PersistentVolume, PersistentVolumeClaim, Pod,
        PodDisruptionBudget, PriorityClass, ReportedEvent, ResourceQuota, RuntimeClass, SchedulerConfig, StorageClass,
        Text, VolumeAttachment,
    },
    selector::{ExpressionError, SelectorExpression},
};

/// The objects besides nodes, pods and namespaces that the scheduler and admission look at.
///
/// What is not here does not exist. Without any object of storage (volumes, claims, classes and the objects of CSI), nothing
/// is known about storage: plugins that need it are left out. Where a kind has no object that an answer needs, the answer
/// [says so](super::UnknownFact), unless [all are here](Self::is_complete).
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
    /// Configurations of the scheduler (OpenShift), by name.
    pub scheduler_configs: IndexMap<Text, SchedulerConfig>,
    /// Events, which tell what was said before. No answer rests on them.
    pub events: IndexMap<Key, ReportedEvent>,
    /// The only namespace whose pods are known; `None` if those of all are.
    pub only_namespace_of_pods: Option<Text>,
    /// Whether all objects of these kinds are here, even if there are none.
    pub is_complete: bool,
    /// How many objects of the input are not here because they could not be read, by their kinds; those of any kind of the input, as
    /// pods and nodes. Under the empty text are those of which not even the kind could be read.
    pub unreadable: BTreeMap<Text, usize>,
}

/// An object that [`SchedulingObjects`] hold.
///
/// ```
/// use daemonplan::{model::PriorityClass, scheduling::SchedulingObject};
/// assert_eq!(<PriorityClass as SchedulingObject>::KIND, "PriorityClass");
/// ```
pub trait SchedulingObject: DeserializeOwned {
    /// The kind.
    const KIND: &'static str;

    /// The API group; empty for the core group.
    const GROUP: &'static str;

    /// Returns the namespace; `None` for objects that are in none.
    fn namespace_mut(&mut self) -> Option<&mut Text>;

    /// Adds the object. It replaces one of its name. Returns whether there was one.
    fn add_to(self, objects: &mut SchedulingObjects) -> bool;
}

#[cfg(feature = "manifest")]
/// A way to read an object whose kind is not known before.
pub(crate) trait ObjectVisitor {
    type Output;

    fn visit<T: SchedulingObject>(self) -> Self::Output;
}

macro_rules! objects {
    ($($object:ident, $kind:literal of $group:literal in $field:ident, $scope:ident;)+) => {
        $(
            impl SchedulingObject for $object {
                const KIND: &'static str = $kind;
                const GROUP: &'static str = $group;

                fn namespace_mut(&mut self) -> Option<&mut Text> {
                    objects!(@namespace self $scope)
                }

                fn add_to(self, objects: &mut SchedulingObjects) -> bool {
                    objects.$field.insert(objects!(@key self $scope), self).is_some()
                }
            }
        )+

        impl SchedulingObjects {
            #[cfg(feature = "manifest")]
            fn add_all_to(self, objects: &mut Self) {
                objects.is_complete |= self.is_complete;
                for (kind, count) in self.unreadable {
                    *objects.unreadable.entry(kind).or_default() += count;
                }
                objects.only_namespace_of_pods = objects.only_namespace_of_pods.take().or(self.only_namespace_of_pods);
                $(objects.$field.extend(self.$field);)+
            }
        }

        #[cfg(feature = "manifest")]
        /// Lets a visitor read an object of a kind, unless none of that kind are held.
        pub(crate) fn visit<V: ObjectVisitor>(kind: &str, group: &str, visitor: V) -> Option<V::Output> {
            match (kind, group) {
                $(($kind, $group) => Some(visitor.visit::<$object>()),)+
                _ => None,
            }
        }
    };
    (@namespace $object:ident namespaced) => { Some(&mut $object.namespace) };
    (@namespace $object:ident cluster_wide) => { None };
    (@key $object:ident namespaced) => { Key::new(&$object.namespace, &$object.name) };
    (@key $object:ident cluster_wide) => { $object.name.clone() };
}

objects! {
    PersistentVolume, "PersistentVolume" of "" in volumes, cluster_wide;
    PersistentVolumeClaim, "PersistentVolumeClaim" of "" in claims, namespaced;
    StorageClass, "StorageClass" of "storage.k8s.io" in storage_classes, cluster_wide;
    CsiNode, "CSINode" of "storage.k8s.io" in csi_nodes, cluster_wide;
    CsiDriver, "CSIDriver" of "storage.k8s.io" in csi_drivers, cluster_wide;
    CsiStorageCapacity, "CSIStorageCapacity" of "storage.k8s.io" in capacities, namespaced;
    VolumeAttachment, "VolumeAttachment" of "storage.k8s.io" in attachments, cluster_wide;
    PodDisruptionBudget, "PodDisruptionBudget" of "policy" in budgets, namespaced;
    PriorityClass, "PriorityClass" of "scheduling.k8s.io" in priority_classes, cluster_wide;
    RuntimeClass, "RuntimeClass" of "node.k8s.io" in runtime_classes, cluster_wide;
    LimitRange, "LimitRange" of "" in limit_ranges, namespaced;
    ResourceQuota, "ResourceQuota" of "" in quotas, namespaced;
    ReportedEvent, "Event" of "" in events, namespaced;
    SchedulerConfig, "Scheduler" of "config.openshift.io" in scheduler_configs, cluster_wide;
}

impl SchedulingObjects {
    /// The kinds that a pod with claims needs.
    pub(super) const OF_STORAGE: &[&str] = &[
        "PersistentVolume",
        "PersistentVolumeClaim",
        "StorageClass",
        "CSINode",
        "CSIDriver",
        "CSIStorageCapacity",
        "VolumeAttachment",
    ];

    /// The kinds that admission looks at.
    pub(super) const OF_ADMISSION: &[&str] =
        &["Namespace", "LimitRange", "ResourceQuota", "PriorityClass", "RuntimeClass", "Scheduler"];

    /// Adds an object. It replaces one of its name. Returns whether there was one.
    pub fn add(&mut self, object: impl SchedulingObject) -> bool {
        object.add_to(self)
    }

    /// Adds the objects of others. They replace those of their names, but quotas without a status keep what is used of them.
    #[cfg(feature = "manifest")]
    pub(crate) fn extend(&mut self, mut other: Self) {
        for (key, quota) in other.quotas.iter_mut().filter(|(_, quota)| quota.used.is_empty()) {
            quota.used = self.quotas.get(key).map(|known| known.used.clone()).unwrap_or_default();
        }
        other.add_all_to(self);
    }

    /// Returns what is not known because objects of these kinds, or of a kind that is not known, could not be read.
    pub(crate) fn unreadable_of<'k>(&self, kinds: &'k [&str]) -> impl Iterator<Item = UnknownFact> + use<'_, 'k> {
        let unreadable = self.unreadable.iter().filter(|(kind, _)| kind.is_empty() || kinds.contains(&kind.as_str()));
        unreadable.map(|(kind, objects)| UnknownFact::Unreadable { kind: kind.clone(), objects: *objects })
    }

    /// Returns the node selector of OpenShift projects that have none of their own: what belongs into
    /// [`Settings::project_node_selector`](crate::Settings::project_node_selector). `None` if there is none.
    ///
    /// # Errors
    /// If it cannot be read.
    ///
    /// ```
    /// use daemonplan::{model::SchedulerConfig, scheduling::SchedulingObjects};
    /// let text = r#"{"metadata": {"name": "cluster"}, "spec": {"defaultNodeSelector": "role=worker"}}"#;
    /// let mut objects = SchedulingObjects::default();
    /// objects.add(serde_json::from_str::<SchedulerConfig>(text).unwrap());
    /// assert_eq!(objects.project_node_selector()?.unwrap().to_string(), "role=worker");
    /// # Ok::<(), daemonplan::selector::ExpressionError>(())
    /// ```
    pub fn project_node_selector(&self) -> Result<Option<SelectorExpression>, ExpressionError> {
        let config = self.scheduler_configs.get("cluster");
        let text = config.map(|config| &config.default_node_selector).filter(|text| !text.is_empty());
        text.map(|text| text.parse()).transpose()
    }

    /// Whether there is a Scheduler of `config.openshift.io`.
    pub(crate) fn has_scheduler_config(&self) -> bool {
        !self.scheduler_configs.is_empty()
    }

    /// Returns the Events about an object, the latest first.
    pub(crate) fn events_about(&self, kind: &str, key: &Key, uid: &Text) -> Vec<&ReportedEvent> {
        let mut events: Vec<_> = self.events.values().filter(|event| event.is_about(kind, key, uid)).collect();
        events.sort_by_key(|event| std::cmp::Reverse((event.last, &event.name)));
        events
    }

    /// Returns a claim in the namespace of a pod.
    pub(super) fn claim_of(&self, pod: &Pod, name: &Text) -> Option<&PersistentVolumeClaim> {
        self.claims.get(&Key::new(&pod.namespace, name))
    }

    /// Whether the kinds that claims need have objects here.
    pub(super) fn knows_all_storage(&self) -> bool {
        let has_none = self.claims.is_empty() || self.volumes.is_empty() || self.storage_classes.is_empty();
        self.is_complete || !has_none
    }

    /// Whether anything is known about storage.
    pub fn knows_storage(&self) -> bool {
        self.is_complete
            || !self.volumes.is_empty()
            || !self.claims.is_empty()
            || !self.storage_classes.is_empty()
            || !self.csi_nodes.is_empty()
            || !self.csi_drivers.is_empty()
    }
}
