//! Which revision is current, and what becomes of the others: revisions to create, renumber, label and delete.
//!
//! The current revision is the one whose data equals the template, compared as JSON values: the order of keys and the
//! difference between `null` and absent fields are ignored. A take-over from another controller therefore restarts no pod.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use jiff::Timestamp;
use serde_json::Value;

use super::{
    claim::{Claim, claims, relation_to},
    reason::{ReleaseReason, RevisionDeleteReason, RevisionUpdateReason},
    template_hash::{equals_ignoring_nulls, extra_fields, hash_after, revision_data},
};
use crate::model::{ControllerRef, ControllerRevision, DaemonSet, HASH_LABEL, ObjectRef, Text};

/// A DaemonSet's revisions, compared with its template.
///
/// ```
/// use daemonplan::{adoption::{RevisionHistory, RevisionStep}, model::DaemonSet};
/// let daemonset = DaemonSet::new("prod", "agent", [("app", "agent")])?;
/// let history = RevisionHistory::of(&daemonset, &[]);
/// let Some(RevisionStep::Create { revision }) = history.steps().next() else { unreachable!() };
/// let created = [*revision];
/// let history = RevisionHistory::of(&daemonset, &created);
/// assert_eq!(history.current(), Some(&created[0]));
/// # Ok::<(), daemonplan::model::RequirementError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct RevisionHistory {
    pub(crate) hash: Text,
    /// `status.collisionCount`, raised if the name of the new revision was taken.
    pub(crate) collision_count: Option<i32>,
    /// Adoptions and releases, by name.
    pub(crate) claims: Vec<RevisionStep>,
    /// Creations and updates.
    pub(crate) changes: Vec<RevisionStep>,
    /// The names of revisions that were given more than once, with different contents.
    pub(crate) ambiguous: Vec<Text>,
    /// Revisions with the same data as the current one.
    duplicates: Vec<ControllerRevision>,
    /// Revisions of other templates, by ascending number.
    old: Vec<ControllerRevision>,
    current: Option<ControllerRevision>,
    is_given: bool,
}

/// What becomes of a revision.
///
/// ```
/// use daemonplan::{adoption::{RevisionHistory, RevisionStep}, model::DaemonSet};
/// let daemonset = DaemonSet::new("prod", "agent", [("app", "agent")])?;
/// let history = RevisionHistory::of(&daemonset, &[]);
/// assert!(matches!(history.steps().next(), Some(RevisionStep::Create { .. })));
/// # Ok::<(), daemonplan::model::RequirementError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum RevisionStep {
    /// The DaemonSet becomes its controller.
    Adopt {
        /// The revision.
        revision: ObjectRef,
    },
    /// The DaemonSet is no longer its controller.
    Release {
        /// The revision.
        revision: ObjectRef,
        /// The reason.
        reason: ReleaseReason,
    },
    /// It is created.
    Create {
        /// The whole object.
        revision: Box<ControllerRevision>,
    },
    /// It gets another number or hash label.
    Update {
        /// The revision.
        revision: ObjectRef,
        /// The number to set.
        number: i64,
        /// The hash label to set.
        hash: Text,
        /// The reason.
        reason: RevisionUpdateReason,
    },
    /// It is deleted.
    Delete {
        /// The revision.
        revision: ObjectRef,
        /// The reason.
        reason: RevisionDeleteReason,
    },
}

impl RevisionHistory {
    /// Compares `revisions`, all of the DaemonSet's namespace, with its template. A DaemonSet that is being deleted, or whose
    /// selector is empty, has no history and no [steps](Self::steps).
    pub fn of<'r>(daemonset: &DaemonSet, revisions: impl IntoIterator<Item = &'r ControllerRevision>) -> Self {
        if claims(daemonset) { Self::new(daemonset, revisions.into_iter()) } else { Self::not_given(daemonset) }
    }

    /// Returns the label `controller-revision-hash` of pods that are up to date.
    pub fn hash(&self) -> &Text {
        &self.hash
    }

    /// Returns the revision that equals the template, the one with the highest number if there are several. `None` if
    /// it has yet to be created.
    pub fn current(&self) -> Option<&ControllerRevision> {
        self.current.as_ref()
    }

    /// Iterates over what the DaemonSet does with its revisions, except for the [deletion of old
    /// ones](Self::delete_beyond), which depends on the pods.
    pub fn steps(&self) -> impl Iterator<Item = RevisionStep> {
        self.claims.iter().chain(&self.changes).cloned().chain(self.delete_duplicates())
    }

    /// The history when no revisions are given: only the template's own hash is known.
    pub(crate) fn not_given(daemonset: &DaemonSet) -> Self {
        Self { hash: hash_after(daemonset, 0), collision_count: daemonset.status.collision_count, ..Self::default() }
    }

    /// Compares `revisions`, all of the DaemonSet's namespace, with the template, even if it is being deleted.
    pub(crate) fn new<'r>(daemonset: &DaemonSet, revisions: impl Iterator<Item = &'r ControllerRevision>) -> Self {
        let collision_count = daemonset.status.collision_count;
        let mut history = Self { is_given: true, collision_count, ..Self::default() };
        let data = revision_data(&daemonset.template);
        let (revisions, ambiguous) = distinct(revisions.filter(|revision| revision.namespace == daemonset.namespace));
        history.ambiguous = ambiguous.into_iter().cloned().collect();
        let mut current = Vec::new();
        for revision in revisions.values().copied() {
            let claim = relation_to(daemonset, revision);
            history.claims.extend(RevisionStep::of_claim(claim, revision));
            if !claim.is_claimed() {
                continue;
            }
            let same = equals_ignoring_nulls(&revision.data, &data);
            (if same { &mut current } else { &mut history.old }).push(revision.clone());
        }
        let by_number = |revision: &ControllerRevision| (revision.revision, revision.name.clone());
        current.sort_by_cached_key(by_number);
        history.old.sort_by_cached_key(by_number);

        history.current = current.pop();
        history.duplicates = current;
        let newest_old = history.old.last().map_or(0, |revision| revision.revision.max(0));
        let number = newest_old.saturating_add(1);
        match &history.current {
            Some(revision) => history.hash = hash_of(revision),
            None => history.create(daemonset, &revisions, number, data),
        }
        history.update(number);
        history
    }

    /// The newest revision, and the fields that only it has, if no revision equals the template but this one says all
    /// that the template says.
    pub(crate) fn says_more(&self, daemonset: &DaemonSet) -> Option<(&Text, Vec<Text>)> {
        let newest = self.old.last().filter(|_| self.current.is_none())?;
        Some((&newest.name, extra_fields(&newest.data, &revision_data(&daemonset.template))?))
    }

    /// Whether the template is an older one that was set again: its revision was created before that of the template which
    /// it replaces. Without the times, it shows only until the revision gets the highest number.
    pub(crate) fn is_restored(&self) -> bool {
        let current = self.current.as_ref().zip(self.old.last());
        current.is_some_and(|(current, newest)| match (current.created, newest.created) {
            (Some(current), Some(newest)) => current < newest,
            _ => current.revision < newest.revision,
        })
    }

    /// Whether the same revision is current, as far as nodes depend on it.
    pub(crate) fn is_current_as(&self, other: &Self) -> bool {
        (&self.hash, self.created()) == (&other.hash, other.created())
    }

    /// When the current revision was created; `None` if that is not known.
    pub(crate) fn created(&self) -> Option<Timestamp> {
        self.current.as_ref()?.created
    }

    /// Whether revisions were given at all; an empty list counts as given.
    pub(crate) fn is_given(&self) -> bool {
        self.is_given
    }

    /// Whether several revisions equal the template, so that their pods need one common hash.
    pub(crate) fn has_duplicates(&self) -> bool {
        !self.duplicates.is_empty()
    }

    /// Whether a hash is that of a revision that equals the template.
    pub(crate) fn equals_template(&self, hash: &str) -> bool {
        self.hash == *hash || self.duplicates.iter().any(|duplicate| hash_of(duplicate) == *hash)
    }

    /// The revisions of older templates by ascending number, each with the hash of its pods.
    pub(crate) fn old(&self) -> impl Iterator<Item = (&ControllerRevision, Text)> {
        self.old.iter().map(|revision| (revision, hash_of(revision)))
    }

    /// Deletes the duplicates of the current revision.
    pub(crate) fn delete_duplicates(&self) -> impl Iterator<Item = RevisionStep> {
        self.duplicates.iter().map(|duplicate| RevisionStep::Delete {
            revision: ObjectRef::from(duplicate),
            reason: RevisionDeleteReason::Duplicate {
                kept: self.current.as_ref().map(|c| c.name.clone()).unwrap_or_default(),
            },
        })
    }

    /// Iterates over the deletions of old revisions beyond `limit` (`spec.revisionHistoryLimit`), by ascending number,
    /// except those whose hash is in use by a pod.
    pub fn delete_beyond(&self, limit: u32, is_in_use: impl Fn(&Text) -> bool) -> impl Iterator<Item = RevisionStep> {
        let excess = self.old.len().saturating_sub(usize::try_from(limit).unwrap_or(usize::MAX));
        let unused = self.old.iter().filter(move |revision| !is_in_use(&hash_of(revision)));
        unused.take(excess).map(move |revision| RevisionStep::Delete {
            revision: ObjectRef::from(revision),
            reason: RevisionDeleteReason::BeyondLimit { limit },
        })
    }

    fn create(
        &mut self,
        daemonset: &DaemonSet,
        taken: &BTreeMap<&Text, &ControllerRevision>,
        number: i64,
        data: Value,
    ) {
        let named = |attempt| {
            let hash = hash_after(daemonset, attempt);
            let name = Text::from(format!("{}-{hash}", daemonset.name));
            (attempt, hash, name)
        };
        // Among one name more than there are revisions, at least one is free.
        let attempts = i32::try_from(taken.len()).unwrap_or(i32::MAX);
        let mut tried = (0..attempts).map(named);
        let (collisions, hash, name) =
            tried.find(|(_, _, name)| !taken.contains_key(name)).unwrap_or_else(|| named(attempts));
        if collisions > 0 {
            let before = self.collision_count.unwrap_or_default();
            self.collision_count = Some(before.saturating_add(collisions));
        }
        let mut revision = ControllerRevision::new(daemonset.namespace.clone(), name, number, data);
        revision.labels = daemonset.template.labels().with(HASH_LABEL, hash.clone());
        revision.annotations = daemonset.annotations.clone();
        revision.controller = Some(ControllerRef::from(daemonset).into());
        self.changes.push(RevisionStep::Create { revision: Box::new(revision) });
        self.hash = hash;
    }

    /// Labels the revisions that lack the hash, and gives the current one the highest number.
    fn update(&mut self, number: i64) {
        let current = self.current.as_ref();
        for revision in self.current.iter().chain(&self.duplicates).chain(&self.old) {
            let unlabelled = hash_label(revision).is_none();
            let outnumbered =
                current.is_some_and(|current| current.name == revision.name) && revision.revision < number;
            let reason = match (outnumbered, unlabelled) {
                (false, false) => continue,
                (true, _) => RevisionUpdateReason::NotTheNewest,
                (false, true) => RevisionUpdateReason::NoHashLabel,
            };
            self.changes.push(RevisionStep::Update {
                revision: ObjectRef::from(revision),
                number: if outnumbered { number } else { revision.revision },
                hash: hash_of(revision),
                reason,
            });
        }
    }
}

/// Revisions by name, and the names that several different ones have. Of these the one with the highest number is used,
/// whatever their order.
pub(crate) fn distinct<'r>(
    revisions: impl Iterator<Item = &'r ControllerRevision>,
) -> (BTreeMap<&'r Text, &'r ControllerRevision>, BTreeSet<&'r Text>) {
    let (mut by_name, mut ambiguous) = (BTreeMap::<&Text, &ControllerRevision>::new(), BTreeSet::new());
    for revision in revisions {
        let known = by_name.entry(&revision.name).or_insert(revision);
        if *known != revision {
            ambiguous.insert(&revision.name);
            let rank = |revision: &ControllerRevision| (revision.revision, revision.manifest());
            if rank(revision) > rank(known) {
                *known = revision;
            }
        }
    }
    (by_name, ambiguous)
}

impl fmt::Display for RevisionStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Adopt { revision } => write!(f, "adopt {}", revision.name),
            Self::Release { revision, reason } => write!(f, "release {}: {reason}", revision.name),
            Self::Create { revision } => write!(f, "create {}", revision.name),
            Self::Update { revision, reason, .. } => write!(f, "update {}: {reason}", revision.name),
            Self::Delete { revision, reason } => write!(f, "delete {}: {reason}", revision.name),
        }
    }
}

impl RevisionStep {
    fn of_claim(claim: Claim, revision: &ControllerRevision) -> Option<Self> {
        let revision = ObjectRef::from(revision);
        match claim {
            Claim::Adopt => Some(Self::Adopt { revision }),
            Claim::Release => Some(Self::Release { revision, reason: ReleaseReason::LabelsDoNotMatch }),
            Claim::Owned | Claim::Ignore => None,
        }
    }
}

fn hash_label(revision: &ControllerRevision) -> Option<Text> {
    revision.labels.get(HASH_LABEL).filter(|hash| !hash.is_empty()).map(Text::from)
}

/// The hash of a revision's pods: the hash label, or the revision's name if there is none.
pub(crate) fn hash_of(revision: &ControllerRevision) -> Text {
    hash_label(revision).unwrap_or_else(|| revision.name.clone())
}
