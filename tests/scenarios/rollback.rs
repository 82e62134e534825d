//! The revisions, and the way back.

use daemonplan::history::{UndoError, rollback};

use crate::common::*;

/// Revisions 1 (`one`) and 2 (`two`, the current one), with a pod of each.
fn history() -> Cluster {
    cluster([node("a"), node("b")])
        .with_new_template()
        .with_pods([pod("old", "a"), pod("new", "b").of("two").unready()])
}

#[test]
fn revisions_are_listed_with_the_pods_that_have_them_the_newest_first() {
    let cluster = history();
    let revisions = cluster.snapshot().rollout_history();
    let told: Vec<_> = revisions
        .iter()
        .map(|revision| (revision.number, &*revision.hash, revision.is_current, revision.pods, revision.available))
        .collect();
    assert_eq!(told, [(2, "two", true, 1, 0), (1, "one", false, 1, 1)]);
}

#[test]
fn pods_and_revisions_of_others_are_not_counted() {
    let mut cluster = history();
    cluster.pods[0].controller.as_mut().unwrap().uid = "another".into();
    cluster.revisions[1].controller.as_mut().unwrap().uid = "another".into();
    let revisions = cluster.snapshot().rollout_history();
    assert_eq!(revisions.iter().map(|revision| (revision.number, revision.pods)).collect::<Vec<_>>(), [(1, 0)]);
}

#[test]
fn going_back_changes_nothing_but_the_template() {
    let cluster = history();
    let before = cluster.snapshot().undo(None).unwrap();
    assert_eq!(before.template.json()["spec"]["containers"][0]["image"], "agent:1");
    assert_eq!(before.generation, cluster.daemonset.generation + 1);
    let mut same = before.clone();
    (same.template, same.generation) = (cluster.daemonset.template.clone(), cluster.daemonset.generation);
    assert_eq!(same, cluster.daemonset);
    assert_eq!(cluster.snapshot().undo(Some(1)).unwrap(), before);
    assert_eq!(rollback(&cluster.daemonset, &cluster.revisions[0]).unwrap(), before);
}

#[test]
fn after_going_back_the_older_revision_is_the_current_one_and_no_new_one_is_made() {
    let mut cluster = history();
    cluster.daemonset = cluster.snapshot().undo(None).unwrap();
    assert_eq!(
        cluster.actions(),
        [
            "update revision agent-one (number 3, hash one): it is the current one and must have the highest number",
            "delete pod new on b: it is of an older template and not available",
        ]
    );
}

#[test]
fn where_there_is_no_way_back_it_is_said_why() {
    let cluster = history();
    let why = |cluster: &Cluster, to| cluster.snapshot().undo(to).unwrap_err().to_string();
    assert_eq!(why(&cluster, Some(2)), "revision 2 is the current one");
    assert_eq!(why(&cluster, Some(7)), "there is no revision 7; there are 1, 2");
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
fn going_back_is_another_generation_of_the_template() {
    let mut cluster = history();
    cluster.daemonset.annotations = cluster.daemonset.annotations.with("deprecated.daemonset.template.generation", "2");
    cluster.pods[1].labels = cluster.pods[1].labels.with("pod-template-generation", "2");
    cluster.daemonset = cluster.snapshot().undo(None).unwrap();
    assert_eq!(cluster.daemonset.template_generation(), Some(3));
    assert!(
        cluster.actions()[1].starts_with("delete pod new on b: it is of an older template"),
        "{:?}",
        cluster.actions()
    );
}
