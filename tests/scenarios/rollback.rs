//! Revision history and rollback.

use std::sync::Arc;

use daemonplan::history::{UndoError, rollback};

use crate::common::*;

/// Returns revisions 1 (`one`) and 2 (`two`, current), each with a pod.
fn history() -> Cluster {
    cluster([node("a"), node("b")])
        .with_new_template()
        .with_pods([pod("old", "a"), pod("new", "b").of("two").unready()])
}

#[test]
fn revisions_are_listed_with_their_pods_newest_first() {
    let cluster = history();
    let revisions = cluster.snapshot().rollout_history();
    let told: Vec<_> = revisions
        .iter()
        .map(|revision| {
            (revision.number, &*revision.hash, revision.is_current, revision.pods.unwrap(), revision.available.unwrap())
        })
        .collect();
    assert_eq!(told, [(2, "two", true, 1, 0), (1, "one", false, 1, 1)]);
}

#[test]
fn foreign_pods_and_revisions_are_not_counted() {
    let mut cluster = history();
    Arc::make_mut(cluster.pods[0].controller.as_mut().unwrap()).uid = "another".into();
    Arc::make_mut(cluster.revisions[1].controller.as_mut().unwrap()).uid = "another".into();
    let revisions = cluster.snapshot().rollout_history();
    assert_eq!(
        revisions.iter().map(|revision| (revision.number, revision.pods.unwrap())).collect::<Vec<_>>(),
        [(1, 0)]
    );
}

#[test]
fn a_rollback_changes_only_the_template() {
    let cluster = history();
    let revision = cluster.snapshot().undo(None).unwrap();
    assert_eq!(revision, &cluster.revisions[0]);
    assert_eq!(cluster.snapshot().undo(Some(1)).unwrap(), revision);
    let before = rollback(&cluster.daemonset, revision).unwrap();
    assert_eq!(before.template.json()["spec"]["containers"][0]["image"], "agent:1");
    assert_eq!(before.generation, cluster.daemonset.generation + 1);
    let mut same = before.clone();
    (same.template, same.generation) = (cluster.daemonset.template.clone(), cluster.daemonset.generation);
    assert_eq!(same, cluster.daemonset);
}

#[test]
fn after_a_rollback_the_older_revision_is_current_and_none_is_created() {
    let mut cluster = history();
    cluster.daemonset = rollback(&cluster.daemonset, cluster.snapshot().undo(None).unwrap()).unwrap();
    assert_eq!(
        cluster.actions(),
        [
            "update revision agent-one (number 3, hash one): the current revision must have the highest number",
            "delete pod new on b: outdated and not available",
        ]
    );
}

#[test]
fn what_has_failed_is_returned_to_only_by_its_number() {
    let mut cluster = history();
    let record = |hash: &str| format!(r#"{{"failed": [{{"hash": "{hash}", "reason": "6 restarts on b"}}]}}"#);
    let of = |cluster: &mut Cluster, hash: &str| {
        cluster.daemonset.annotations = cluster.daemonset.annotations.with("daemonplan/rollout-record", record(hash));
    };
    let mut oldest = cluster.revisions[0].clone();
    (oldest.name, oldest.revision) = ("agent-zero".into(), 0);
    oldest.labels = oldest.labels.with("controller-revision-hash", "zero");
    oldest.data = Arc::new(serde_json::json!({"spec": {"template": {"$patch": "replace"}}}));
    of(&mut cluster, "one");
    let why = cluster.snapshot().undo(None).unwrap_err().to_string();
    assert_eq!(why, "all other revisions have failed: give the number of one of them: 1");
    cluster.revisions.push(oldest);
    assert_eq!(cluster.snapshot().undo(None).unwrap().revision, 0);
    assert_eq!(cluster.snapshot().undo(Some(1)).unwrap().revision, 1);
    let failures: Vec<_> = cluster.snapshot().rollout_history().into_iter().map(|revision| revision.failure).collect();
    assert_eq!((failures[0].is_none(), &*failures[1].as_ref().unwrap().reason), (true, "6 restarts on b"));
    of(&mut cluster, "two");
    assert_eq!(cluster.snapshot().undo(None).unwrap().revision, 1, "the current one has failed");
}

#[test]
fn an_impossible_rollback_is_an_error() {
    let cluster = history();
    let why = |cluster: &Cluster, to| cluster.snapshot().undo(to).unwrap_err().to_string();
    assert_eq!(why(&cluster, Some(2)), "revision 2 is already the current one");
    assert_eq!(why(&cluster, Some(7)), "revision 7 does not exist; expected one of: 1, 2");
    let mut unreadable = cluster.clone();
    unreadable.revisions[0].data = std::sync::Arc::new(serde_json::json!({"spec": {}}));
    assert_eq!(why(&unreadable, Some(1)), "revision 1: data.spec.template: expected an object, found none");
    let mut first = cluster.clone();
    first.revisions.remove(0);
    assert!(matches!(first.snapshot().undo(None), Err(UndoError::NothingOlder)));
    let nodes = [];
    let without = daemonplan::Snapshot::new(&cluster.daemonset, &nodes, &[], &cluster.namespace);
    assert!(matches!(without.undo(None), Err(UndoError::HistoryNotGiven)));
}

#[test]
fn a_rollback_is_a_new_template_generation() {
    let mut cluster = history();
    cluster.daemonset.annotations = cluster.daemonset.annotations.with("deprecated.daemonset.template.generation", "2");
    cluster.pods[1].labels = cluster.pods[1].labels.with("pod-template-generation", "2");
    cluster.daemonset = rollback(&cluster.daemonset, cluster.snapshot().undo(None).unwrap()).unwrap();
    assert_eq!(cluster.daemonset.template_generation(), Some(3));
    assert!(cluster.actions()[1].starts_with("delete pod new on b: outdated"), "{:?}", cluster.actions());
}
