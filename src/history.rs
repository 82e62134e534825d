//! Which revision is current and which are old: the template's hash, revisions to create, renumber, label and delete.
//!
//! The current revision is the one whose data equals the template, as JSON values: the order of keys, and whether a field
//! is `null` or absent, make no difference. So taking over from another controller restarts no pod.

use std::collections::HashSet;

use serde_json::{Map, Value};

use crate::{
    action::{Action, ObjectRef},
    fnv::Fnv,
    model::{ControllerRef, ControllerRevision, DaemonSet, HASH_LABEL, Text},
    ownership::{Claim, claim_revision},
    reason::{Release, RevisionDeletion, RevisionUpdate},
    template::revision_data,
};

/// A DaemonSet's history, judged against its template.
#[derive(Debug)]
pub(crate) struct History {
    /// The label that up-to-date pods carry.
    pub(crate) hash: Text,
    /// `status.collisionCount`, raised if the new revision's name was taken.
    pub(crate) collision_count: Option<i32>,
    /// Claims of revisions, in the order of their names.
    pub(crate) claims: Vec<Action>,
    /// Creations and updates of revisions.
    pub(crate) changes: Vec<Action>,
    /// Revisions with the same data as the current one.
    duplicates: Vec<ControllerRevision>,
    /// Revisions of other templates, lowest number first.
    old: Vec<ControllerRevision>,
    current: Option<ControllerRevision>,
    is_given: bool,
}

impl History {
    /// What there is to say when no revisions are given: the template's own hash.
    pub(crate) fn not_given(daemonset: &DaemonSet) -> Self {
        Self {
            hash: template_hash(daemonset, 0),
            collision_count: daemonset.status.collision_count,
            claims: Vec::new(),
            changes: Vec::new(),
            duplicates: Vec::new(),
            old: Vec::new(),
            current: None,
            is_given: false,
        }
    }

    /// The revisions of older templates, lowest number first, and the hashes that their pods carry.
    pub(crate) fn old(&self) -> impl Iterator<Item = (&ControllerRevision, Text)> {
        self.old.iter().map(|revision| (revision, hash_of(revision)))
    }

    /// Whether there is a history at all.
    pub(crate) fn is_given(&self) -> bool {
        self.is_given
    }

    pub(crate) fn new<'r>(
        daemonset: &DaemonSet,
        revisions: impl Iterator<Item = &'r ControllerRevision> + Clone,
    ) -> Self {
        let mut history = Self { is_given: true, ..Self::not_given(daemonset) };
        let data = revision_data(&daemonset.template);
        let mut current = Vec::new();
        for revision in revisions.clone() {
            let claim = claim_revision(daemonset, revision);
            history.claims.extend(claim_action(claim, revision));
            if !claim.is_claimed() {
                continue;
            }
            let same = equal_but_for_nulls(&revision.data, &data);
            (if same { &mut current } else { &mut history.old }).push(revision.clone());
        }
        let by_number = |revision: &ControllerRevision| (revision.revision, revision.name.clone());
        current.sort_by_cached_key(by_number);
        history.old.sort_by_cached_key(by_number);
        history.claims.sort_by(|a, b| a.object().cmp(&b.object()));

        history.current = current.pop();
        history.duplicates = current;
        let newest_old = history.old.last().map_or(0, |revision| revision.revision.max(0));
        let number = newest_old.saturating_add(1);
        match &history.current {
            Some(revision) => history.hash = hash_of(revision),
            None => history.create(daemonset, revisions, number, data),
        }
        history.update(number);
        history
    }

    fn create<'r>(
        &mut self,
        daemonset: &DaemonSet,
        revisions: impl Iterator<Item = &'r ControllerRevision>,
        number: i64,
        data: Value,
    ) {
        let neighbours = revisions.filter(|revision| revision.namespace == daemonset.namespace);
        let taken: HashSet<&Text> = neighbours.map(|revision| &revision.name).collect();
        let named = |attempt| {
            let hash = template_hash(daemonset, attempt);
            let name = Text::from(format!("{}-{hash}", daemonset.name));
            (attempt, hash, name)
        };
        // Of one name more than there are revisions, one is free.
        let attempts = i32::try_from(taken.len()).unwrap_or(i32::MAX);
        let mut tried = (0..attempts).map(named);
        let (collisions, hash, name) =
            tried.find(|(_, _, name)| !taken.contains(name)).unwrap_or_else(|| named(attempts));
        if collisions > 0 {
            let before = self.collision_count.unwrap_or_default();
            self.collision_count = Some(before.saturating_add(collisions));
        }
        let mut revision = ControllerRevision::new(daemonset.namespace.clone(), name, number, data);
        revision.labels = daemonset.template.labels().with(HASH_LABEL, hash.clone());
        revision.annotations = daemonset.annotations.clone();
        revision.controller =
            Some(ControllerRef { kind: "DaemonSet".into(), name: daemonset.name.clone(), uid: daemonset.uid.clone() });
        self.changes.push(Action::CreateRevision { revision: Box::new(revision) });
        self.hash = hash;
    }

    /// Labels revisions that lack the hash, and makes the current one the newest.
    fn update(&mut self, number: i64) {
        let current = self.current.as_ref();
        for revision in self.current.iter().chain(&self.duplicates).chain(&self.old) {
            let unlabelled = own_hash(revision).is_none();
            let outnumbered =
                current.is_some_and(|current| current.name == revision.name) && revision.revision < number;
            let reason = match (outnumbered, unlabelled) {
                (false, false) => continue,
                (true, _) => RevisionUpdate::NotTheNewest,
                (false, true) => RevisionUpdate::NoHashLabel,
            };
            self.changes.push(Action::UpdateRevision {
                revision: ObjectRef::from(revision),
                number: if outnumbered { number } else { revision.revision },
                hash: hash_of(revision),
                reason,
            });
        }
    }

    /// Whether there are several current revisions, so that pods must be made to agree on one.
    pub(crate) fn has_duplicates(&self) -> bool {
        !self.duplicates.is_empty()
    }

    /// Deletes revisions that say the same as the current one.
    pub(crate) fn delete_duplicates(&self) -> impl Iterator<Item = Action> {
        self.duplicates.iter().map(|duplicate| Action::DeleteRevision {
            revision: ObjectRef::from(duplicate),
            reason: RevisionDeletion::Duplicate {
                kept: self.current.as_ref().map(|c| c.name.clone()).unwrap_or_default(),
            },
        })
    }

    /// Deletes what is beyond the limit, lowest number first, but none that a pod still carries.
    pub(crate) fn delete_beyond(&self, limit: u32, is_in_use: impl Fn(&Text) -> bool) -> impl Iterator<Item = Action> {
        let excess = self.old.len().saturating_sub(usize::try_from(limit).unwrap_or(usize::MAX));
        let unused = self.old.iter().filter(move |revision| !is_in_use(&hash_of(revision)));
        unused.take(excess).map(move |revision| Action::DeleteRevision {
            revision: ObjectRef::from(revision),
            reason: RevisionDeletion::BeyondLimit { limit },
        })
    }
}

fn claim_action(claim: Claim, revision: &ControllerRevision) -> Option<Action> {
    let revision = ObjectRef::from(revision);
    match claim {
        Claim::Adopt => Some(Action::AdoptRevision { revision }),
        Claim::Release => Some(Action::ReleaseRevision { revision, reason: Release::LabelsDoNotMatch }),
        Claim::Owned | Claim::Ignore => None,
    }
}

fn own_hash(revision: &ControllerRevision) -> Option<Text> {
    revision.labels.get(HASH_LABEL).filter(|hash| !hash.is_empty()).map(Text::from)
}

/// The hash that a revision's pods carry; a revision without one is labelled with its name.
pub(crate) fn hash_of(revision: &ControllerRevision) -> Text {
    own_hash(revision).unwrap_or_else(|| revision.name.clone())
}

/// Whether two JSON values are equal, a field that is `null` being the same as an absent one.
pub(crate) fn equal_but_for_nulls(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Object(a), Value::Object(b)) => {
            fields(a).count() == fields(b).count()
                && fields(a).all(|(key, value)| b.get(key).is_some_and(|other| equal_but_for_nulls(value, other)))
        }
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equal_but_for_nulls(a, b))
        }
        (a, b) => a == b,
    }
}

fn fields(object: &Map<String, Value>) -> impl Iterator<Item = (&String, &Value)> {
    object.iter().filter(|(_, value)| !value.is_null())
}

/// The hash of the template and the collision count: the same on every platform and in every release.
///
/// It is FNV-1a (64 bits) over the template as canonical JSON (keys sorted, null fields left out, no white space) and
/// the collision count in decimal, written as ten letters and digits of Kubernetes' safe alphabet.
fn template_hash(daemonset: &DaemonSet, more_collisions: i32) -> Text {
    let mut fnv = Fnv::new();
    write_object(&mut fnv, daemonset.template.json());
    let collisions = daemonset.status.collision_count.unwrap_or_default();
    match i64::from(collisions) + i64::from(more_collisions) {
        0 => {}
        count => fnv.write(count.to_string().as_bytes()),
    }
    safe_letters(fnv.finish(), 10).into()
}

/// The lowest `count` digits of a number, lowest first, in the letters in which Kubernetes writes names that are made up:
/// no vowels, and nothing that is easily taken for another.
pub(crate) fn safe_letters(number: u64, count: usize) -> String {
    const ALPHABET: [char; 27] = [
        'b', 'c', 'd', 'f', 'g', 'h', 'j', 'k', 'l', 'm', 'n', 'p', 'q', 'r', 's', 't', 'v', 'w', 'x', 'z', '2', '4',
        '5', '6', '7', '8', '9',
    ];
    let rests = std::iter::successors(Some(number), |rest| Some(rest / 27));
    let digits = rests.take(count).filter_map(|rest| ALPHABET.get(usize::try_from(rest % 27).ok()?));
    digits.collect()
}

fn write_object(fnv: &mut Fnv, object: &Map<String, Value>) {
    let mut sorted: Vec<_> = fields(object).collect();
    sorted.sort_by_key(|(key, _)| *key);
    fnv.write(b"{");
    for (at, (key, value)) in sorted.into_iter().enumerate() {
        fnv.write(if at > 0 { b"," } else { b"" });
        fnv.write(Value::from(key.as_str()).to_string().as_bytes());
        fnv.write(b":");
        write_value(fnv, value);
    }
    fnv.write(b"}");
}

fn write_value(fnv: &mut Fnv, value: &Value) {
    match value {
        Value::Object(object) => write_object(fnv, object),
        Value::Array(items) => {
            fnv.write(b"[");
            for (at, item) in items.iter().enumerate() {
                fnv.write(if at > 0 { b"," } else { b"" });
                write_value(fnv, item);
            }
            fnv.write(b"]");
        }
        scalar => fnv.write(scalar.to_string().as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json};

    use super::*;

    fn hash(template: Value, collision_count: i32) -> Text {
        let mut daemonset = DaemonSet::new("prod", "agent");
        daemonset.template = from_value(template).unwrap();
        daemonset.status.collision_count = Some(collision_count);
        template_hash(&daemonset, 0)
    }

    #[test]
    fn the_hash_never_changes() {
        let template = json!({"metadata": {"labels": {"app": "agent"}}, "spec": {"containers": [{"name": "a"}]}});
        assert_eq!(hash(template.clone(), 0), HASH_OF_THE_FIRST_RELEASE);
        assert_ne!(hash(template, 1), HASH_OF_THE_FIRST_RELEASE);
    }

    const HASH_OF_THE_FIRST_RELEASE: &str = "z9l2z8tgqj";

    #[test]
    fn key_order_and_null_fields_do_not_matter() {
        let a = json!({"spec": {"b": [1, {"c": "x"}], "a": true, "gone": null}});
        let b = json!({"metadata": null, "spec": {"a": true, "b": [1, {"d": null, "c": "x"}]}});
        assert!(equal_but_for_nulls(&a, &b) && equal_but_for_nulls(&b, &a));
        assert_eq!(hash(a, 0), hash(b, 0));
    }

    #[test]
    fn everything_else_does() {
        let a = json!({"a": 1, "b": [1, 2]});
        for b in [
            json!({"a": 1}),
            json!({"a": 2, "b": [1, 2]}),
            json!({"a": 1, "b": [2, 1]}),
            json!({"a": 1, "b": [12]}),
            json!({"a": "1", "b": [1, 2]}),
        ] {
            assert!(!equal_but_for_nulls(&a, &b) && !equal_but_for_nulls(&b, &a), "{b}");
            assert_ne!(hash(a.clone(), 0), hash(b, 0));
        }
    }
}
