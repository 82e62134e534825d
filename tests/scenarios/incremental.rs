//! The incremental `Cluster`: events, staleness and plans.

use daemonplan::{
    Action, Cluster, Key, Settings,
    backoff::BackoffKey,
    model::{ControllerRef, DaemonSet, Namespace, Node, Pod, PodPhase, Readiness},
    scheduling::SchedulingObjects,
};
use jiff::SignedDuration;
use serde_json::json;

use crate::common::{self, *};

/// Returns a cluster that has all these objects and has planned once.
fn kept(facts: &common::Cluster) -> Cluster {
    let mut cluster = Cluster::new(facts.settings.clone());
    cluster.set_complete();
    cluster.apply(facts.namespace.clone());
    cluster.apply(facts.daemonset.clone());
    cluster.resync(facts.nodes.iter().cloned());
    cluster.resync(facts.pods.iter().cloned());
    cluster.resync(facts.revisions.iter().cloned());
    cluster.plan(&key(), facts.now);
    cluster
}

fn key() -> Key {
    Key::new("prod", "agent")
}

fn pod_key(name: &str) -> Key {
    Key::new("prod", name)
}

/// Returns the actions, one per line, except the status update.
fn asked(cluster: &mut Cluster, facts: &common::Cluster) -> Vec<String> {
    lines(&cluster.plan(&key(), facts.now).unwrap())
}

#[test]
fn no_plan_exists_before_daemonset_and_namespace_are_known() {
    let facts = cluster([node("a")]);
    let mut cluster = Cluster::new(facts.settings.clone());
    cluster.set_complete();
    assert!(cluster.plan(&key(), facts.now).is_none());
    cluster.apply(facts.daemonset.clone());
    assert!(cluster.plan(&key(), facts.now).is_none() && cluster.stale(facts.now).is_empty());
    cluster.apply(facts.namespace.clone());
    assert_eq!(cluster.stale(facts.now), [key()]);
    cluster.delete::<Namespace>("prod");
    assert!(cluster.plan(&key(), facts.now).is_none() && cluster.stale(facts.now).is_empty());
}

#[test]
fn unchanged_or_irrelevant_objects_make_nothing_stale() {
    let facts = cluster([node("a")]).with_pod(pod("one", "a"));
    let mut cluster = kept(&facts);
    assert!(cluster.stale(facts.now).is_empty());
    cluster.apply(facts.nodes[0].clone());
    cluster.apply(facts.pods[0].clone());
    cluster.apply(facts.daemonset.clone());
    cluster.apply(facts.revisions[0].clone());
    cluster.apply(Namespace::new("prod"));
    cluster.resync(facts.pods.clone());
    cluster.delete::<Pod>(&pod_key("unknown"));
    cluster.delete::<Node>("unknown");
    // A label that no rule reads.
    cluster.apply(labelled("a", &[("rack", "7")]));
    let elsewhere =
        Some(ControllerRef { kind: "DaemonSet".into(), name: "other".into(), uid: "uid-other".into() }.into());
    cluster.apply(pod("other", "a").but(|pod| pod.controller = elsewhere));
    assert_eq!(cluster.stale(facts.now), []);
    cluster.apply(facts.pods[0].clone().unready());
    assert_eq!(cluster.stale(facts.now), [key()]);
}

#[test]
fn pods_of_other_controllers_are_not_stored_even_if_orphans_before() {
    let facts = cluster([node("a")]);
    let mut cluster = kept(&facts);
    let orphan = pod("one", "a").but(|pod| pod.controller = None);
    cluster.apply(orphan.clone());
    assert_eq!(
        asked(&mut cluster, &facts),
        ["adopt pod one: orphan: no controller, and its labels match the selector"]
    );
    assert_eq!(cluster.pod(&pod_key("one")), Some(&orphan));
    let owner = Some(ControllerRef { kind: "ReplicaSet".into(), name: "web".into(), uid: "uid-web".into() }.into());
    cluster.apply(orphan.but(|pod| pod.controller = owner));
    assert_eq!(cluster.pod(&pod_key("one")), None);
    assert_eq!(asked(&mut cluster, &facts), ["create pod on a: no pod on this node"]);
}

#[test]
fn with_the_schedulers_facts_pods_of_other_controllers_count_but_are_not_shown() {
    let facts = cluster([node("a")]);
    let mut cluster = Cluster::with_scheduling(facts.settings.clone());
    cluster.resync([node("a")]);
    let owner = Some(ControllerRef { kind: "ReplicaSet".into(), name: "web".into(), uid: "uid-web".into() }.into());
    let web = pod("web", "a").but(|pod| pod.controller = owner);
    let objects = SchedulingObjects::default();
    cluster.apply(web.clone());
    assert!(cluster.cluster_state(&objects).is_none(), "not all is listed");
    cluster.set_complete();
    let unknown = |cluster: &Cluster| {
        let state = cluster.cluster_state(&objects).unwrap();
        state.feasibility(&pod("new", "a")).unknown.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert!(unknown(&cluster).contains(&"what a pod on node a requests".to_owned()));
    assert_eq!((cluster.pods().count(), cluster.pod(&pod_key("web"))), (0, None));
    cluster.resync::<Pod>([]);
    assert!(!unknown(&cluster).contains(&"what a pod on node a requests".to_owned()));
    assert!(Cluster::new(facts.settings).cluster_state(&objects).is_none(), "nothing is kept");
}

#[test]
fn objects_missing_from_a_list_are_removed() {
    let facts = cluster([node("a"), node("b")]).with_pods([pod("one", "a"), pod("two", "b")]);
    let mut cluster = kept(&facts);
    cluster.resync([node("a")]);
    assert_eq!(asked(&mut cluster, &facts), ["delete pod two on b: its node does not exist"]);
    cluster.resync([pod("one", "a")]);
    assert_eq!(asked(&mut cluster, &facts), [""; 0]);
    assert_eq!(cluster.daemonset(&key()), Some(&facts.daemonset));
    assert_eq!((cluster.node("a").is_some(), cluster.node("b").is_some()), (true, false));
    cluster.resync::<DaemonSet>([]);
    assert!(cluster.daemonset(&key()).is_none() && cluster.plan(&key(), facts.now).is_none());
}

#[test]
fn a_node_added_after_a_removed_one_is_planned_correctly() {
    let facts = cluster([node("a")]).with_pod(pod("one", "a"));
    let mut cluster = kept(&facts);
    cluster.delete::<Pod>(&pod_key("one"));
    cluster.delete::<Node>("a");
    cluster.apply(node("b"));
    assert_eq!(asked(&mut cluster, &facts), ["create pod on b: no pod on this node"]);
    cluster.apply(pod("two", "b"));
    assert_eq!(asked(&mut cluster, &facts), [""; 0]);
}

#[test]
fn a_pod_becoming_available_makes_its_daemonset_stale_by_time_alone() {
    let since = |seconds| cluster([]).now - SignedDuration::from_secs(seconds);
    let facts = cluster([node("a")]).with(|daemonset| daemonset.min_ready_seconds = 60);
    let facts = facts.with_pod(pod("one", "a").but(|pod| pod.ready = Readiness::Ready { since: Some(since(50)) }));
    let mut cluster = kept(&facts);
    let then = facts.now + SignedDuration::from_secs(10);
    assert_eq!(cluster.next_stale_after(facts.now), Some(then));
    assert_eq!(cluster.stale(then - SignedDuration::from_secs(1)), []);
    assert_eq!((cluster.stale(then), cluster.next_stale_after(then)), (vec![key()], None));
    let available = |cluster: &mut Cluster, at| cluster.plan(&key(), at).unwrap().status.unwrap().number_available;
    assert_eq!(available(&mut cluster, then), 1);
    assert_eq!((cluster.next_stale_after(facts.now), cluster.stale(then)), (None, Vec::new()));
    assert_eq!(available(&mut cluster, facts.now), 0, "the clock was set back");
    cluster.delete::<DaemonSet>(&key());
    assert_eq!(cluster.next_stale_after(facts.now), None);
}

#[test]
fn it_lists_its_daemonsets() {
    let facts = cluster([node("a")]);
    let mut cluster = kept(&facts);
    assert_eq!(cluster.daemonsets().collect::<Vec<_>>(), [&facts.daemonset]);
    cluster.delete::<DaemonSet>(&key());
    assert_eq!(cluster.daemonsets().count(), 0);
}

#[test]
fn a_daemonset_being_deleted_waits_for_nothing() {
    let facts = cluster([node("a")]).with(|daemonset| daemonset.min_ready_seconds = 60);
    let ready = Readiness::Ready { since: Some(facts.now) };
    let mut facts = facts.with_pod(pod("one", "a").but(|pod| pod.ready = ready));
    let mut cluster = kept(&facts);
    let then = cluster.next_stale_after(facts.now).unwrap();
    facts.daemonset.deleted = Some(facts.now);
    cluster.apply(facts.daemonset.clone());
    assert!(cluster.plan(&key(), then).is_some());
    assert_eq!((cluster.next_stale_after(facts.now), cluster.stale(then)), (None, Vec::new()));
}

#[test]
fn a_failed_pod_waits_for_the_returned_back_off() {
    let facts = cluster([node("a")]).with_pod(pod("one", "a").phase(PodPhase::Failed));
    let mut cluster = kept(&facts);
    let entries = cluster.plan(&key(), facts.now).unwrap().backoff;
    assert_eq!(entries.len(), 1);
    cluster.update_backoff(entries, facts.now);
    assert_eq!(cluster.stale(facts.now), [key()]);
    assert_eq!(asked(&mut cluster, &facts), [""; 0]);
    assert_eq!(cluster.next_stale_after(facts.now), Some(facts.now + SignedDuration::from_secs(1)));
    let known: Vec<&BackoffKey> = cluster.backoff().iter().map(|(key, _)| key).collect();
    assert_eq!(known.len(), 1);
    let much_later = facts.now + SignedDuration::from_hours(1);
    cluster.update_backoff([], much_later);
    assert_eq!(cluster.backoff().iter().count(), 0);
    assert_eq!(cluster.stale(facts.now), [key()], "without an entry no pod has to wait");
}

#[test]
fn back_offs_restart_with_a_new_observed_generation() {
    let mut facts = cluster([node("a")]).with_pod(pod("one", "a").phase(PodPhase::Failed));
    let mut cluster = kept(&facts);
    let entries = cluster.plan(&key(), facts.now).unwrap().backoff;
    cluster.update_backoff(entries, facts.now);
    assert_eq!(asked(&mut cluster, &facts), [""; 0]);
    facts.daemonset.status.observed_generation += 1;
    cluster.apply(facts.daemonset.clone());
    assert_eq!(asked(&mut cluster, &facts), ["delete pod one on a: it failed"]);
}

#[test]
fn nothing_is_created_until_effects_are_observed() {
    let facts = cluster([node("a")]);
    let mut cluster = kept(&facts);
    cluster.set_expectations_satisfied(&key(), false);
    assert_eq!(cluster.stale(facts.now), [key()]);
    assert_eq!(asked(&mut cluster, &facts), [""; 0]);
    cluster.set_expectations_satisfied(&key(), false);
    assert_eq!(cluster.stale(facts.now), []);
    cluster.set_expectations_satisfied(&key(), true);
    assert_eq!(asked(&mut cluster, &facts), ["create pod on a: no pod on this node"]);
}

#[test]
fn a_revision_is_not_deleted_while_a_pod_carries_its_hash() {
    let facts = cluster([node("a")]).with_new_template().with(|daemonset| daemonset.revision_history_limit = 0);
    let facts = facts.with_strategy(serde_json::json!({"type": "OnDelete"})).with_pod(pod("one", "a"));
    let mut cluster = kept(&facts);
    assert_eq!(asked(&mut cluster, &facts), [""; 0]);
    cluster.apply(pod("one", "a").of("two"));
    assert_eq!(
        asked(&mut cluster, &facts),
        ["delete revision agent-one: no pod uses it, and revisionHistoryLimit is 0"]
    );
}

#[test]
fn a_plan_shows_the_decision_for_each_node() {
    let facts = cluster([node("a"), tainted("b", &["gone:NoSchedule"])]);
    let mut cluster = kept(&facts);
    let plan = cluster.plan(&key(), facts.now).unwrap();
    let rules = cluster.placement_rules(&key()).unwrap();
    let verdicts = ["a", "b"].map(|node| rules.verdict(cluster.node(node).unwrap()).should_run());
    assert_eq!(verdicts, [true, false]);
    assert!(plan.actions.iter().any(|action| matches!(action, Action::CreatePod { node, .. } if node == "a")));
}

#[test]
fn a_new_collision_count_changes_the_hash() {
    let mut facts = cluster([node("a")]);
    facts.revisions.clear();
    let mut cluster = kept(&facts);
    let before = cluster.plan(&key(), facts.now).unwrap().hash;
    facts.daemonset.status.collision_count = Some(1);
    cluster.apply(facts.daemonset.clone());
    let after = cluster.plan(&key(), facts.now).unwrap().hash;
    assert_eq!(after, facts.plan().hash);
    assert_ne!(before, after);
}

#[test]
fn a_missing_node_with_only_foreign_pods_needs_no_pod() {
    let mut facts = cluster(["a", "b"].map(node))
        .with_pods([pod("on-a", "a"), pod("on-b", "b"), pod("lost", "gone")])
        .with_new_template();
    let mut cluster = kept(&facts);
    let mut other = facts.daemonset.clone();
    (other.name, other.uid) = ("other".into(), "uid-other".into());
    let owner = Some(ControllerRef { kind: "DaemonSet".into(), name: "other".into(), uid: "uid-other".into() }.into());
    cluster.apply(other);
    cluster.apply(pod("others", "gone").but(|pod| pod.controller = owner));
    cluster.plan(&key(), facts.now);
    cluster.delete::<Pod>(&pod_key("lost"));
    facts.pods.remove(2);
    let expected = ["delete pod on-a on a: outdated"];
    assert_eq!(facts.actions(), expected);
    assert_eq!(asked(&mut cluster, &facts), expected);
}

#[test]
fn pods_of_one_template_share_their_spec_also_after_they_have_changed() {
    let pod = |name: &str, phase: &str| -> Pod {
        let json = json!({"metadata": {"namespace": "prod", "name": name, "labels": {"app": "agent"}},
            "spec": {"nodeName": name, "containers": [{"name": "main", "image": "agent:1"}]}, "status": {"phase": phase}});
        serde_json::from_value(json).unwrap()
    };
    let mut cluster = Cluster::new(Settings::default());
    for (name, phase) in [("a", "Pending"), ("b", "Pending"), ("a", "Running"), ("b", "Running")] {
        cluster.apply(pod(name, phase));
    }
    let [a, b] = ["a", "b"].map(|name| cluster.pod(&Key::new("prod", name)).unwrap().spec.clone().unwrap());
    assert!(std::sync::Arc::ptr_eq(&a, &b));
}
