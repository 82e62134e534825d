//! The actions of a plan.

use std::fmt;

use serde::{Serialize, Serializer, ser::SerializeMap};
use serde_json::{Value, json};

use super::reason::{CreateReason, DeleteReason, RecordReason};
use crate::{
    adoption::{
        ReleaseReason, RevisionDeleteReason, RevisionUpdateReason, claim::Claim, revision_history::RevisionStep,
    },
    affinity::{PodBlueprint, owner_reference},
    model::{ControllerRevision, DaemonSet, DaemonSetStatus, HASH_LABEL, Kind, ObjectRef, Pod, Text},
    policy::{RolloutPhase, RolloutRecord, some_nodes},
};

/// One step of a plan: what to do, to which object, and why.
///
/// `Display` writes one line for people; `Serialize` writes the form that [`guide::output`](crate::guide::output) documents.
///
/// ```
/// use daemonplan::{model::{DaemonSet, Namespace, Node}, plan};
/// let daemonset = DaemonSet::new("prod", "agent", [("app", "agent")])?;
/// let actions = plan(&daemonset, &[Node::new("node-7")], &[], &Namespace::new("prod"));
/// assert_eq!(actions[0].to_string(), "create pod on node-7: no pod on this node");
/// # Ok::<(), daemonplan::model::RequirementError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Action {
    /// Make the DaemonSet the controller of an orphan whose labels match.
    AdoptPod {
        /// The pod.
        pod: ObjectRef,
        /// The DaemonSet, the controller from now on.
        owner: ObjectRef,
    },
    /// Remove the DaemonSet's owner reference from the pod.
    ReleasePod {
        /// The pod.
        pod: ObjectRef,
        /// The DaemonSet, the controller until now.
        owner: ObjectRef,
        /// The reason.
        reason: ReleaseReason,
    },
    /// Make the DaemonSet the controller of an orphaned revision whose labels match.
    AdoptRevision {
        /// The revision.
        revision: ObjectRef,
        /// The DaemonSet, the controller from now on.
        owner: ObjectRef,
    },
    /// Remove the DaemonSet's owner reference from the revision.
    ReleaseRevision {
        /// The revision.
        revision: ObjectRef,
        /// The DaemonSet, the controller until now.
        owner: ObjectRef,
        /// The reason.
        reason: ReleaseReason,
    },
    /// Create the revision of a template that has none.
    CreateRevision {
        /// The whole object.
        revision: Box<ControllerRevision>,
    },
    /// Set a revision's number and hash label.
    UpdateRevision {
        /// The revision.
        revision: ObjectRef,
        /// The number to set.
        number: i64,
        /// The hash label to set.
        hash: Text,
        /// The reason.
        reason: RevisionUpdateReason,
    },
    /// Set a pod's hash label to that of the one revision that is kept of several equal ones.
    RelabelPod {
        /// The pod.
        pod: ObjectRef,
        /// The hash label to set.
        hash: Text,
    },
    /// Restore an older template of the DaemonSet, as `kubectl rollout undo` does. The new template fails, and the
    /// [`FailurePolicy`](crate::policy::FailurePolicy) asks for a roll-back. Such a plan creates and deletes no pods.
    RollBack {
        /// The DaemonSet.
        daemonset: ObjectRef,
        /// The precondition: `metadata.generation` of the DaemonSet.
        generation: i64,
        /// The revision to restore; its [`data`](ControllerRevision::data) is the strategic merge patch.
        revision: Box<ControllerRevision>,
        /// The nodes where the new template fails, by name.
        failing: Vec<Text>,
        /// The annotation of the record.
        annotation: Text,
        /// What the update has come to, which the same write records.
        record: Box<RolloutRecord>,
        /// The annotation that approves the failed template, which the same write removes: if the template is set again, it
        /// must be approved again.
        withdrawn: Option<Text>,
    },
    /// Record what an update has come to, as an annotation of the DaemonSet.
    RecordRollout {
        /// The DaemonSet.
        daemonset: ObjectRef,
        /// The annotation.
        annotation: Text,
        /// The new record.
        record: Box<RolloutRecord>,
        /// What is new.
        reason: RecordReason,
    },
    /// Create a pod for a node.
    CreatePod {
        /// The node's name.
        node: Text,
        /// The pod without its node; see [`PodBlueprint::manifest`].
        blueprint: PodBlueprint,
        /// The reason.
        reason: CreateReason,
    },
    /// Delete a pod.
    DeletePod {
        /// The pod.
        pod: ObjectRef,
        /// The pod's node, if it has one.
        node: Option<Text>,
        /// The reason.
        reason: DeleteReason,
    },
    /// Delete a revision.
    DeleteRevision {
        /// The revision.
        revision: ObjectRef,
        /// The reason.
        reason: RevisionDeleteReason,
    },
    /// Update the DaemonSet's status, which has changed.
    UpdateStatus {
        /// The DaemonSet. One that was recreated under this name has a status of its own.
        daemonset: ObjectRef,
        /// The new status.
        status: DaemonSetStatus,
    },
}

impl Action {
    /// Returns the action's stable name for programs: the variant's name.
    ///
    /// ```
    /// use daemonplan::{Action, CreateReason, affinity::PodBlueprint, model::DaemonSet};
    /// let daemonset = DaemonSet::new("prod", "agent", [("app", "agent")])?;
    /// let blueprint = PodBlueprint::new(&daemonset, &daemonset.template, "6d5f");
    /// let action = Action::CreatePod { node: "node-7".into(), blueprint, reason: CreateReason::NoPod };
    /// assert_eq!((action.code(), action.reason_code()), ("CreatePod", "NoPod"));
    /// # Ok::<(), daemonplan::model::RequirementError>(())
    /// ```
    pub fn code(&self) -> &'static str {
        match self {
            Self::AdoptPod { .. } => "AdoptPod",
            Self::ReleasePod { .. } => "ReleasePod",
            Self::AdoptRevision { .. } => "AdoptRevision",
            Self::ReleaseRevision { .. } => "ReleaseRevision",
            Self::CreateRevision { .. } => "CreateRevision",
            Self::UpdateRevision { .. } => "UpdateRevision",
            Self::RelabelPod { .. } => "RelabelPod",
            Self::RollBack { .. } => "RollBack",
            Self::RecordRollout { .. } => "RecordRollout",
            Self::CreatePod { .. } => "CreatePod",
            Self::DeletePod { .. } => "DeletePod",
            Self::DeleteRevision { .. } => "DeleteRevision",
            Self::UpdateStatus { .. } => "UpdateStatus",
        }
    }

    /// Returns the kind of the object that the action writes.
    ///
    /// ```
    /// use daemonplan::{Action, Kind, ObjectRef, model::Pod};
    /// let pod = ObjectRef::from(&Pod::new("prod", "agent-x2k"));
    /// assert_eq!(Action::RelabelPod { pod, hash: "6d5f".into() }.kind(), Kind::Pod);
    /// ```
    pub fn kind(&self) -> Kind {
        match self {
            Self::AdoptPod { .. }
            | Self::ReleasePod { .. }
            | Self::RelabelPod { .. }
            | Self::CreatePod { .. }
            | Self::DeletePod { .. } => Kind::Pod,
            Self::AdoptRevision { .. }
            | Self::ReleaseRevision { .. }
            | Self::CreateRevision { .. }
            | Self::UpdateRevision { .. }
            | Self::DeleteRevision { .. } => Kind::ControllerRevision,
            Self::RollBack { .. } | Self::RecordRollout { .. } | Self::UpdateStatus { .. } => Kind::DaemonSet,
        }
    }

    /// Returns the reason's stable name for programs: the variant's name where the reason is an enum.
    pub fn reason_code(&self) -> &'static str {
        match self {
            Self::AdoptPod { .. } | Self::AdoptRevision { .. } => "OrphanMatches",
            Self::ReleasePod { reason, .. } | Self::ReleaseRevision { reason, .. } => reason.code(),
            Self::CreateRevision { .. } => "NewTemplate",
            Self::UpdateRevision { reason, .. } => reason.code(),
            Self::RelabelPod { .. } => "DuplicateRevision",
            Self::RollBack { .. } => "TemplateFails",
            Self::RecordRollout { reason, .. } => reason.code(),
            Self::CreatePod { reason, .. } => reason.code(),
            Self::DeletePod { reason, .. } => reason.code(),
            Self::DeleteRevision { reason, .. } => reason.code(),
            Self::UpdateStatus { .. } => "StatusChanged",
        }
    }

    /// Returns the reason as a sentence for people.
    pub fn reason(&self) -> String {
        match self {
            Self::AdoptPod { .. } | Self::AdoptRevision { .. } => {
                "orphan: no controller, and its labels match the selector".to_owned()
            }
            Self::ReleasePod { reason, .. } | Self::ReleaseRevision { reason, .. } => reason.to_string(),
            Self::CreateRevision { .. } => "the template has no revision yet".to_owned(),
            Self::UpdateRevision { reason, .. } => reason.to_string(),
            Self::RelabelPod { .. } => "duplicate revisions: one is kept".to_owned(),
            Self::RollBack { failing, .. } => format!("the new template fails on {}", some_nodes(failing)),
            Self::RecordRollout { reason, .. } => reason.to_string(),
            Self::CreatePod { reason, .. } => reason.to_string(),
            Self::DeletePod { reason, .. } => reason.to_string(),
            Self::DeleteRevision { reason, .. } => reason.to_string(),
            Self::UpdateStatus { .. } => "the status has changed".to_owned(),
        }
    }

    /// Returns the existing object that the action changes, with its uid as the precondition; `None` for creations.
    pub fn object(&self) -> Option<&ObjectRef> {
        match self {
            Self::AdoptPod { pod, .. }
            | Self::ReleasePod { pod, .. }
            | Self::RelabelPod { pod, .. }
            | Self::DeletePod { pod, .. } => Some(pod),
            Self::AdoptRevision { revision, .. }
            | Self::ReleaseRevision { revision, .. }
            | Self::UpdateRevision { revision, .. }
            | Self::DeleteRevision { revision, .. } => Some(revision),
            Self::RollBack { daemonset, .. }
            | Self::RecordRollout { daemonset, .. }
            | Self::UpdateStatus { daemonset, .. } => Some(daemonset),
            Self::CreateRevision { .. } | Self::CreatePod { .. } => None,
        }
    }

    /// Returns the strategic merge patch (`application/strategic-merge-patch+json`) that carries the action out on its
    /// [object](Self::object). `None` for creations and deletions, if the uid of the object or of its owner is not known,
    /// and if the data of the revision to roll back to is no object.
    ///
    /// The patch names the object's uid, so that the API server refuses it for a recreated object. It changes nothing
    /// else, unlike an update of the whole object. That of a status is for the subresource `status`: it sets every
    /// number, zeros too, and leaves `conditions` alone. Owner references are merged by uid, and released with
    /// `$patch: delete`; the template of a roll-back replaces the present one as a whole (`$patch: replace`).
    /// <https://kubernetes.io/docs/tasks/manage-kubernetes-objects/update-api-object-kubectl-patch/>
    ///
    /// ```
    /// use daemonplan::{Action, ObjectRef, model::{DaemonSet, DaemonSetStatus}};
    /// let mut daemonset = DaemonSet::new("prod", "agent", [("app", "agent")])?;
    /// daemonset.uid = "42".into();
    /// let status = DaemonSetStatus { number_ready: 3, ..DaemonSetStatus::default() };
    /// let patch = Action::UpdateStatus { daemonset: ObjectRef::from(&daemonset), status }.patch().unwrap();
    /// assert_eq!((&patch["metadata"]["uid"], &patch["status"]["numberReady"]), (&"42".into(), &3.into()));
    /// assert_eq!(patch["status"]["numberUnavailable"], 0);
    /// # Ok::<(), daemonplan::model::RequirementError>(())
    /// ```
    pub fn patch(&self) -> Option<Value> {
        let mut patch = match self {
            Self::AdoptPod { owner, .. } | Self::AdoptRevision { owner, .. } => {
                json!({"metadata": {"ownerReferences": [owner_reference(&owner.name, known_uid(owner)?)]}})
            }
            Self::ReleasePod { owner, .. } | Self::ReleaseRevision { owner, .. } => {
                json!({"metadata": {"ownerReferences": [{"$patch": "delete", "uid": known_uid(owner)?}]}})
            }
            Self::RelabelPod { hash, .. } => json!({"metadata": {"labels": {HASH_LABEL: hash}}}),
            Self::UpdateRevision { number, hash, .. } => {
                json!({"metadata": {"labels": {HASH_LABEL: hash}}, "revision": number})
            }
            Self::RollBack { revision, annotation, record, withdrawn, .. } => {
                let mut patch = Value::clone(&revision.data);
                patch.as_object_mut()?.insert("metadata".into(), annotated(annotation, record, withdrawn.as_ref()));
                patch
            }
            Self::RecordRollout { annotation, record, .. } => json!({"metadata": annotated(annotation, record, None)}),
            Self::UpdateStatus { status, .. } => json!({"status": all_fields(status)}),
            Self::CreateRevision { .. }
            | Self::CreatePod { .. }
            | Self::DeletePod { .. }
            | Self::DeleteRevision { .. } => return None,
        };
        let metadata = patch.as_object_mut()?.entry("metadata").or_insert_with(|| json!({}));
        metadata.as_object_mut()?.insert("uid".into(), json!(known_uid(self.object()?)?));
        Some(patch)
    }
}

/// Metadata with the record of a rollout, and without the annotation that is withdrawn.
fn annotated(annotation: &Text, record: &RolloutRecord, withdrawn: Option<&Text>) -> Value {
    let withdrawn = withdrawn.map(|annotation| (&**annotation, Value::Null));
    let annotations: Value = withdrawn.into_iter().chain([(&**annotation, record.to_string().into())]).collect();
    json!({"annotations": annotations})
}

fn known_uid(object: &ObjectRef) -> Option<&Text> {
    Some(&object.uid).filter(|uid| !uid.is_empty())
}

/// All fields of a status, zeros too: a patch does not change the fields that it leaves out.
fn all_fields(status: &DaemonSetStatus) -> Value {
    let mut fields = json!({
        "currentNumberScheduled": status.current_number_scheduled,
        "numberMisscheduled": status.number_misscheduled,
        "desiredNumberScheduled": status.desired_number_scheduled,
        "numberReady": status.number_ready,
        "observedGeneration": status.observed_generation,
        "updatedNumberScheduled": status.updated_number_scheduled,
        "numberAvailable": status.number_available,
        "numberUnavailable": status.number_unavailable,
        "collisionCount": status.collision_count,
    });
    // A strategic merge patch keeps the conditions of other types.
    let own = status.conditions.iter().find(|condition| RolloutPhase::is_told_by(condition));
    if let (Some(own), Some(fields)) = (own, fields.as_object_mut()) {
        fields.insert("conditions".into(), json!([own]));
    }
    fields
}

impl Action {
    /// The adoption or release that a claim of a pod asks for.
    pub(crate) fn of_claim(claim: Claim, pod: &Pod, daemonset: &DaemonSet) -> Option<Self> {
        match claim {
            Claim::Adopt => Some(Self::AdoptPod { pod: pod.into(), owner: daemonset.into() }),
            Claim::Release => Some(Self::ReleasePod {
                pod: pod.into(),
                owner: daemonset.into(),
                reason: ReleaseReason::LabelsDoNotMatch,
            }),
            Claim::Owned | Claim::Ignore => None,
        }
    }

    /// The action that carries out a step of a DaemonSet's history.
    pub(crate) fn of_step(step: RevisionStep, daemonset: &DaemonSet) -> Self {
        match step {
            RevisionStep::Adopt { revision } => Self::AdoptRevision { revision, owner: daemonset.into() },
            RevisionStep::Release { revision, reason } => {
                Self::ReleaseRevision { revision, owner: daemonset.into(), reason }
            }
            RevisionStep::Create { revision } => Self::CreateRevision { revision },
            RevisionStep::Update { revision, number, hash, reason } => {
                Self::UpdateRevision { revision, number, hash, reason }
            }
            RevisionStep::Delete { revision, reason } => Self::DeleteRevision { revision, reason },
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AdoptPod { pod, .. } => write!(f, "adopt pod {}", pod.name),
            Self::ReleasePod { pod, .. } => write!(f, "release pod {}", pod.name),
            Self::AdoptRevision { revision, .. } => write!(f, "adopt revision {}", revision.name),
            Self::ReleaseRevision { revision, .. } => write!(f, "release revision {}", revision.name),
            Self::CreateRevision { revision } => {
                write!(f, "create revision {} (number {})", revision.name, revision.revision)
            }
            Self::UpdateRevision { revision, number, hash, .. } => {
                write!(f, "update revision {} (number {number}, hash {hash})", revision.name)
            }
            Self::RelabelPod { pod, hash } => write!(f, "relabel pod {} (hash {hash})", pod.name),
            Self::RollBack { daemonset, revision, .. } => {
                write!(f, "roll {} back to revision {} (number {})", daemonset.name, revision.name, revision.revision)
            }
            Self::RecordRollout { daemonset, .. } => write!(f, "record the rollout of {}", daemonset.name),
            Self::CreatePod { node, .. } => write!(f, "create pod on {node}"),
            Self::DeletePod { pod, node: Some(node), .. } => write!(f, "delete pod {} on {node}", pod.name),
            Self::DeletePod { pod, node: None, .. } => write!(f, "delete pod {} on no node", pod.name),
            Self::DeleteRevision { revision, .. } => write!(f, "delete revision {}", revision.name),
            Self::UpdateStatus { .. } => f.write_str("update status"),
        }?;
        write!(f, ": {}", self.reason())
    }
}

impl Serialize for Action {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("type", self.code())?;
        if let Some(object) = self.object() {
            let field = match self.kind() {
                Kind::Pod => "pod",
                Kind::DaemonSet => "daemonSet",
                _ => "revision",
            };
            map.serialize_entry(field, &object.name)?;
            map.serialize_entry("uid", &object.uid)?;
        }
        match self {
            Self::RelabelPod { hash, .. } => map.serialize_entry("hash", hash)?,
            Self::UpdateRevision { number, hash, .. } => {
                map.serialize_entry("number", number)?;
                map.serialize_entry("hash", hash)?;
            }
            Self::DeletePod { node, .. } => map.serialize_entry("node", node)?,
            Self::CreatePod { node, .. } => map.serialize_entry("node", node)?,
            Self::CreateRevision { revision } | Self::RollBack { revision, .. } => {
                map.serialize_entry("revision", &revision.name)?;
                map.serialize_entry("number", &revision.revision)?;
                map.serialize_entry("hash", &revision.labels.get(HASH_LABEL))?;
            }
            _ => {}
        }
        map.serialize_entry("reason", self.reason_code())?;
        map.serialize_entry("message", &self.reason())?;
        match self {
            Self::CreatePod { node, blueprint, .. } => map.serialize_entry("pod", &blueprint.manifest(node))?,
            Self::CreateRevision { revision } => map.serialize_entry("manifest", revision)?,
            Self::RollBack { generation, failing, record, withdrawn, .. } => {
                map.serialize_entry("generation", generation)?;
                map.serialize_entry("failing", failing)?;
                map.serialize_entry("record", record)?;
                map.serialize_entry("withdrawn", withdrawn)?;
                map.serialize_entry("patch", &self.patch())?;
            }
            Self::RecordRollout { record, .. } => {
                map.serialize_entry("record", record)?;
                map.serialize_entry("patch", &self.patch())?;
            }
            Self::UpdateStatus { status, .. } => map.serialize_entry("status", status)?,
            Self::DeletePod { reason: DeleteReason::NotPlaced { placement }, .. } => {
                map.serialize_entry("placement", placement)?;
            }
            _ => {}
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_action_serialises_with_its_name_its_object_and_its_reason() {
        let (pod, revision) =
            (Pod::new("prod", "agent-x2k"), ControllerRevision::new("prod", "agent-6d5f", 3, 0.into()));
        let (pod, revision) = (ObjectRef::from(&pod), ObjectRef::from(&revision));
        let relabel = Action::RelabelPod { pod: pod.clone(), hash: "6d5f".into() };
        let release = Action::ReleaseRevision { owner: revision.clone(), revision, reason: ReleaseReason::Orphaned };
        let delete = Action::DeletePod { pod, node: None, reason: DeleteReason::OwnerDeleted };
        for (action, code, kind, field) in [
            (&relabel, "RelabelPod", Kind::Pod, "pod"),
            (&release, "ReleaseRevision", Kind::ControllerRevision, "revision"),
            (&delete, "DeletePod", Kind::Pod, "pod"),
        ] {
            let json = serde_json::to_value(action).unwrap();
            assert_eq!((action.code(), action.kind()), (code, kind));
            assert_eq!(json.get("type").unwrap(), code);
            assert_eq!(json.get(field).unwrap(), action.object().unwrap().name.as_str());
        }
        assert!(delete.to_string().starts_with("delete pod agent-x2k on no node: "), "{delete}");
    }
}
