use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::model::{DaemonSet, Labels, Text, api_group};

/// A reference to an object's controller: the owner with `controller: true`.
///
/// ```
/// use daemonplan::model::{ControllerRef, DaemonSet, Pod};
/// let daemonset = DaemonSet::new("prod", "agent", [("app", "agent")]).unwrap();
/// let mut pod = Pod::new("prod", "agent-x2k");
/// pod.controller = Some(ControllerRef::from(&daemonset).into());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ControllerRef {
    /// The controller's kind, such as `DaemonSet`. A kind that is not Kubernetes' own has its API group, as kubectl
    /// writes it: `DaemonSet.apps.kruise.io`.
    pub kind: Text,
    /// The controller's name.
    pub name: Text,
    /// The controller's uid: its identity. A recreated controller has a different uid.
    pub uid: Text,
}

impl From<&DaemonSet> for ControllerRef {
    /// Returns the reference of the DaemonSet's pods and revisions to it.
    fn from(daemonset: &DaemonSet) -> Self {
        Self { kind: "DaemonSet".into(), name: daemonset.name.clone(), uid: daemonset.uid.clone() }
    }
}

/// The fields of `metadata` that the kinds of this module need, as Kubernetes writes them.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Metadata {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<Text>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) namespace: Option<Text>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) uid: Option<Text>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) generation: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) labels: Option<Labels>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) annotations: Option<Labels>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) creation_timestamp: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) deletion_timestamp: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) finalizers: Option<Vec<Text>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) owner_references: Option<Vec<OwnerReference>>,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct OwnerReference {
    #[serde(default)]
    api_version: Text,
    #[serde(default)]
    kind: Text,
    #[serde(default)]
    name: Text,
    #[serde(default)]
    uid: Text,
    #[serde(skip_serializing_if = "Option::is_none")]
    controller: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    block_owner_deletion: Option<bool>,
}

impl Metadata {
    /// Takes the name.
    ///
    /// # Errors
    /// If the name is missing or empty.
    pub(super) fn take_name(&mut self) -> Result<Text, MissingName> {
        self.name.take().filter(|name| !name.is_empty()).ok_or(MissingName)
    }

    /// Takes the namespace; a missing namespace is `default`, as for kubectl.
    pub(super) fn take_namespace(&mut self) -> Text {
        self.namespace.take().filter(|namespace| !namespace.is_empty()).unwrap_or_else(|| "default".into())
    }

    pub(super) fn controller(&self) -> Option<Arc<ControllerRef>> {
        let owners = self.owner_references.as_deref().unwrap_or_default();
        let owner = owners.iter().find(|owner| owner.controller == Some(true))?;
        // Groups of custom resources have a dot, those of Kubernetes' own controllers have none.
        let group = api_group(&owner.api_version);
        let kind = if group.contains('.') { format!("{}.{group}", owner.kind).into() } else { owner.kind.clone() };
        Some(ControllerRef { kind, name: owner.name.clone(), uid: owner.uid.clone() }.into())
    }

    pub(super) fn set_controller(&mut self, controller: Option<Arc<ControllerRef>>) {
        self.owner_references = controller.map(|controller| {
            let ControllerRef { kind, name, uid } = Arc::unwrap_or_clone(controller);
            let (kind, api_version) = match kind.split_once('.') {
                Some((kind, group)) => (kind.into(), format!("{group}/v1").into()),
                None => (kind, "apps/v1".into()),
            };
            let yes = Some(true);
            vec![OwnerReference { api_version, kind, name, uid, controller: yes, block_owner_deletion: yes }]
        });
    }
}

#[derive(Debug, thiserror::Error)]
#[error("metadata.name: expected a name, found none")]
pub(super) struct MissingName;

/// Returns `None` for the default value, because Kubernetes omits such fields.
pub(super) fn unless_default<T: Default + PartialEq>(value: T) -> Option<T> {
    (value != T::default()).then_some(value)
}
