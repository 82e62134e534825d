//! The revisions of a DaemonSet, and the roll-back to an older one.

use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;

use crate::{
    adoption::{
        claim::relation_to,
        revision_history::{distinct, hash_of},
        template_hash::{equals_ignoring_nulls, revision_data},
    },
    model::{ControllerRevision, DaemonSet, PodTemplateError, Text, well_known::CHANGE_CAUSE_ANNOTATION},
    plan::MissingFact,
    planner::{Snapshot, claimed_pods::ClaimedPods},
    policy::{FailedTemplate, RolloutRecord},
};

/// Returns the DaemonSet with the template of `revision`, as `kubectl rollout undo` leaves it: for simulations. What to
/// send to the API server is the patch [`ControllerRevision::data`], as the model leaves out fields of a DaemonSet.
///
/// Apart from the template, only the generations change that the API server raises with it: `metadata.generation` and
/// the template's generation. The next plan decides which revision is current, and its number.
///
/// # Errors
/// Returns an error if the revision has no template, or if the template cannot be read.
///
/// ```
/// use daemonplan::{history::rollback, model::{ControllerRevision, DaemonSet}};
/// use serde_json::json;
/// let daemonset = DaemonSet::new("prod", "agent", [("app", "agent")]).unwrap();
/// let data = json!({"spec": {"template": {"spec": {"hostNetwork": true}, "$patch": "replace"}}});
/// let before = rollback(&daemonset, &ControllerRevision::new("prod", "agent-6d5f", 3, data))?;
/// assert!(before.template.host_network());
/// # Ok::<(), daemonplan::model::PodTemplateError>(())
/// ```
pub fn rollback(daemonset: &DaemonSet, revision: &ControllerRevision) -> Result<DaemonSet, PodTemplateError> {
    let template = revision.template()?;
    let generation = daemonset.generation.saturating_add(i64::from(template != daemonset.template));
    let mut after = DaemonSet { generation, template, ..daemonset.clone() };
    let is_changed = after.template != daemonset.template;
    after.follow(daemonset, is_changed);
    Ok(after)
}

/// A revision of a DaemonSet, as [`Snapshot::rollout_history`] returns it.
///
/// ```
/// use daemonplan::{Snapshot, model::{ControllerRevision, DaemonSet, Labels, Namespace}};
/// use serde_json::json;
/// let daemonset = DaemonSet::new("prod", "agent", [("app", "agent")])?;
/// let mut revision = ControllerRevision::new("prod", "agent-6d5f", 3, json!({"spec": {"template": {}}}));
/// revision.labels = Labels::from_iter([("app", "agent")]);
/// let (namespace, revisions) = (Namespace::new("prod"), [revision]);
/// let history = Snapshot::new(&daemonset, &[], &[], &namespace).revisions(&revisions).rollout_history();
/// assert_eq!((history[0].number, &*history[0].hash, history[0].is_current), (3, "agent-6d5f", false));
/// # Ok::<(), daemonplan::model::RequirementError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct RevisionSummary {
    /// The revision's number; a higher number is newer.
    pub number: i64,
    /// The revision's name.
    pub revision: Text,
    /// The label `controller-revision-hash` of the revision's pods.
    pub hash: Text,
    /// Whether the revision has the DaemonSet's current template.
    pub is_current: bool,
    /// The number of the revision's pods that are on nodes and not being deleted; `None` if the snapshot
    /// [lacks](Snapshot::without) the pods.
    pub pods: Option<usize>,
    /// The number of those pods that are available; `None` likewise.
    pub available: Option<usize>,
    /// The annotation `kubernetes.io/change-cause`.
    pub change_cause: Option<Text>,
    /// The failure that the [record](crate::policy::RolloutRecord) of a rollout policy holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<FailedTemplate>,
    /// The patch that sets a DaemonSet's template to that of the revision.
    #[serde(serialize_with = "as_value")]
    pub data: Arc<Value>,
}

/// Why a DaemonSet cannot be rolled back.
///
/// ```
/// use daemonplan::{Snapshot, history::UndoError, model::{DaemonSet, Namespace}};
/// let (daemonset, namespace) = (DaemonSet::new("prod", "agent", [("app", "agent")])?, Namespace::new("prod"));
/// let snapshot = Snapshot::new(&daemonset, &[], &[], &namespace).revisions(&[]);
/// assert!(matches!(snapshot.undo(None), Err(UndoError::NothingOlder)));
/// # Ok::<(), daemonplan::model::RequirementError>(())
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UndoError {
    /// No ControllerRevisions were given.
    #[error("no ControllerRevisions were given: expected those of the DaemonSet's namespace")]
    HistoryNotGiven,
    /// No revision exists other than the current one.
    #[error("no revision exists other than the current one")]
    NothingOlder,
    /// All revisions other than the current one have failed, as a [record](crate::policy::RolloutRecord) says.
    #[error("all other revisions have failed: give the number of one of them: {known}")]
    AllFailed {
        /// Their numbers.
        known: String,
    },
    /// No revision has this number.
    #[error("revision {number} does not exist; expected one of: {known}")]
    NoSuchRevision {
        /// The number.
        number: i64,
        /// The existing numbers.
        known: String,
    },
    /// The revision of this number has the current template.
    #[error("revision {number} is already the current one")]
    IsCurrent {
        /// The number.
        number: i64,
    },
    /// The revision's template cannot be read.
    #[error("revision {number}: {source}")]
    Template {
        /// The number.
        number: i64,
        /// The cause.
        source: PodTemplateError,
    },
}

impl<'a> Snapshot<'a> {
    /// Returns the DaemonSet's revisions, the newest first, each with the number of its pods.
    pub fn rollout_history(&self) -> Vec<RevisionSummary> {
        let compiled = self.compile();
        let current = revision_data(&self.daemonset.template);
        let pods = (!self.missing.contains(MissingFact::Pods)).then_some(0);
        let mut revisions: Vec<_> = self.own_revisions().map(|revision| summary(revision, &current, pods)).collect();
        // Also if no policy guides updates any more.
        let prefix = &compiled.context().settings.policy_prefix;
        let record = RolloutRecord::of(&self.daemonset.annotations, prefix).unwrap_or_default();
        for revision in &mut revisions {
            revision.failure = record.failure_of(&revision.hash).cloned();
        }
        revisions.sort_by(|a, b| (b.number, &b.revision).cmp(&(a.number, &a.revision)));
        ClaimedPods::decide(self.pods, &compiled.nodes, &compiled.context(), |view| {
            for claimed in view.pods.iter().filter(|claimed| claimed.is_live()) {
                if let Some(revision) = revisions.iter_mut().find(|revision| revision.hash == claimed.hash()) {
                    let available = usize::from(claimed.is_available());
                    revision.pods = revision.pods.map(|pods| pods + 1);
                    revision.available = revision.available.map(|pods| pods + available);
                }
            }
        });
        revisions
    }

    /// Returns the revision to return to: that with the number `to_revision`, or else the newest one that is not current and
    /// has not failed by the [record](crate::policy::RolloutRecord) of a rollout policy.
    ///
    /// Its [`data`](ControllerRevision::data) is the strategic merge patch that restores its template in the DaemonSet, as
    /// `kubectl rollout undo` sends it. The patch changes nothing else; with `metadata.resourceVersion` in it, it fails
    /// if the DaemonSet has changed in the meantime.
    ///
    /// # Errors
    /// If no such revision exists, if it is the current one, if all others have failed and none is named, or if its template
    /// cannot be read.
    pub fn undo(&self, to_revision: Option<i64>) -> Result<&'a ControllerRevision, UndoError> {
        if self.revisions.is_none() {
            return Err(UndoError::HistoryNotGiven);
        }
        let all = self.rollout_history();
        let found = match to_revision {
            None => {
                let others = || all.iter().filter(|revision| !revision.is_current);
                let known = numbers(others());
                let why = if known.is_empty() { UndoError::NothingOlder } else { UndoError::AllFailed { known } };
                others().find(|revision| revision.failure.is_none()).ok_or(why)?
            }
            Some(number) => all.iter().find(|revision| revision.number == number).ok_or_else(|| {
                let known = if all.is_empty() { "none".to_owned() } else { numbers(all.iter()) };
                UndoError::NoSuchRevision { number, known }
            })?,
        };
        let number = found.number;
        if found.is_current {
            return Err(UndoError::IsCurrent { number });
        }
        let revision = self.own_revisions().find(|revision| revision.name == found.revision);
        let revision = revision.ok_or(UndoError::NothingOlder)?;
        revision.template().map_err(|source| UndoError::Template { number, source })?;
        Ok(revision)
    }

    fn own_revisions(&self) -> impl Iterator<Item = &'a ControllerRevision> {
        let all = self.revisions.unwrap_or_default().iter();
        let own = all.filter(|revision| relation_to(self.daemonset, revision).is_claimed());
        distinct(own).0.into_values()
    }
}

/// The numbers of these revisions, the lowest first.
fn numbers<'r>(revisions: impl DoubleEndedIterator<Item = &'r RevisionSummary>) -> String {
    revisions.rev().map(|revision| revision.number.to_string()).collect::<Vec<_>>().join(", ")
}

fn summary(revision: &ControllerRevision, current: &Value, pods: Option<usize>) -> RevisionSummary {
    RevisionSummary {
        number: revision.revision,
        revision: revision.name.clone(),
        hash: hash_of(revision),
        is_current: equals_ignoring_nulls(&revision.data, current),
        pods,
        available: pods,
        change_cause: revision.annotations.get(CHANGE_CAUSE_ANNOTATION).map(Text::from),
        failure: None,
        data: Arc::clone(&revision.data),
    }
}

fn as_value<S: serde::Serializer>(data: &Arc<Value>, serializer: S) -> Result<S::Ok, S::Error> {
    data.as_ref().serialize(serializer)
}
