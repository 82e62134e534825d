use std::fmt;

use indexmap::IndexMap;
use serde::{Serialize, de::DeserializeOwned};

use super::{Competitor, as_text, as_texts};
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
/// [says so](UnknownFact), unless [all are here](Self::is_complete).
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
}

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
    /// Whether the kubelet of a node lets a new pod start, as it has rejected one.
    Kubelet {
        /// The node.
        node: Text,
        /// `status.reason` of the rejected pod.
        reason: Text,
    },
    /// Whether the kubelet of a node lets a new pod start, as the node lacks something.
    Pressure {
        /// The node.
        node: Text,
        /// The key of the taint that says so.
        taint: Text,
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
    /// Whether the pod does not fit until others have come or gone.
    #[cfg(feature = "forecast")]
    pub(crate) fn is_awaited(&self) -> bool {
        matches!(self, Self::NeededPods { .. } | Self::QuotaRoom)
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
            Self::Kubelet { node, reason } => {
                write!(
                    f,
                    "whether the kubelet of node {node} lets a new pod start: it rejected the last one ({reason})"
                )
            }
            Self::Pressure { node, taint } => {
                write!(
                    f,
                    "whether the kubelet of node {node} lets a new pod start, as long as it has the taint {taint}"
                )
            }
            Self::SaidOtherwise { pod, message } => {
                write!(f, "whether {pod} is bound now: the scheduler said: {message}")
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
                write!(f, "whether its pod is bound to node {node} in time, which depends on {who}")
            }
            Self::NeededPods { node, needed } => {
                write!(f, "when its pod fits on node {node}, which depends on {}", all_of(needed))
            }
            Self::Preemption { node, by } => {
                write!(f, "whether its pod keeps its place on node {node}, which depends on {}", all_of(by))
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
    /// Adds an object. It replaces one of its name. Returns whether there was one.
    pub fn add(&mut self, object: impl SchedulingObject) -> bool {
        object.add_to(self)
    }

    /// Adds the objects of others. They replace those of their names.
    #[cfg(feature = "manifest")]
    pub(crate) fn extend(&mut self, other: Self) {
        other.add_all_to(self);
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
