//! Actions on a single node.

use std::time::Duration;

use daemonplan::{Backoff, model::PodPhase};
use jiff::SignedDuration;
use serde_json::json;

use crate::common::*;

#[test]
fn a_desired_node_gets_a_pod_and_a_pod_being_deleted_still_counts() {
    let cluster = cluster([node("a"), node("b")]).with_pod(pod("leaving", "b").being_deleted());
    assert_eq!(cluster.actions(), ["create pod on a: no pod on this node"]);
}

#[test]
fn of_several_pods_a_bound_then_the_oldest_then_the_first_by_name_stays() {
    let older = "2026-01-01T00:00:00Z".parse().unwrap();
    let intended = pod("intended", "a").but(|pod| {
        pod.node = daemonplan::model::PodNode::Intended("a".into());
        pod.created = Some(older);
    });
    let first = cluster([node("a")]).with_pods([pod("young", "a"), intended]);
    assert_eq!(first.actions(), ["delete pod intended on a: young is kept on this node"]);
    let second = cluster([node("a")]).with_pods([pod("old", "a").but(|pod| pod.created = Some(older)), pod("b", "a")]);
    assert_eq!(second.actions(), ["delete pod b on a: old is kept on this node"]);
    let third = cluster([node("a")]).with_pods([pod("y", "a"), pod("x", "a")]);
    assert_eq!(third.actions(), ["delete pod y on a: x is kept on this node"]);
}

#[test]
fn a_pod_listed_twice_is_not_a_duplicate() {
    let cluster = cluster([node("a")]).with_pods([pod("x", "a"), pod("x", "a")]);
    assert_eq!(cluster.actions(), [""; 0]);
}

#[test]
fn a_succeeded_pod_is_deleted_with_an_event() {
    let cluster = cluster([node("a")]).with_pod(pod("done", "a").phase(PodPhase::Succeeded));
    assert_eq!(cluster.actions(), ["delete pod done on a: it completed, but daemon pods must keep running"]);
    assert_eq!(cluster.plan().events[0].reason, "SucceededDaemonPod");
}

#[test]
fn failed_pods_are_deleted_one_at_a_time_with_back_off() {
    let failed = |name| pod(name, "a").phase(PodPhase::Failed);
    let mut cluster = cluster([node("a")]).with_pods([failed("first"), failed("second")]);
    let plan = cluster.plan();
    assert_eq!(lines(&plan), ["delete pod first on a: it failed"]);
    assert_eq!(plan.events[0].reason, "FailedDaemonPod");
    assert_eq!(plan.requeue_after, Some(Duration::from_secs(1)));
    let (backoff, now) = (plan.backoff, cluster.now);
    cluster.backoff.update(backoff, now);
    cluster.pods.remove(0);

    assert_eq!(cluster.actions(), [""; 0], "in back-off");
    cluster.now += SignedDuration::from_secs(1);
    let plan = cluster.plan();
    assert_eq!(lines(&plan), ["delete pod second on a: it failed"]);
    assert_eq!(plan.backoff[0].1.delay, Duration::from_secs(2), "the delay doubles");
}

#[test]
fn a_failed_pod_beyond_the_burst_limit_has_neither_event_nor_back_off() {
    let failed = |node| pod(node, node).phase(PodPhase::Failed);
    let mut cluster = cluster([node("a"), node("b")]).with_pods([failed("b"), failed("a")]);
    cluster.settings.burst = 1;
    let plan = cluster.plan();
    assert_eq!(lines(&plan), ["delete pod a on a: it failed"]);
    assert_eq!((plan.held_back.deletions, plan.events.len()), (1, 1));
    let started: Vec<_> = plan.backoff.iter().map(|(key, _)| &*key.node).collect();
    assert_eq!(started, ["a"]);
}

#[test]
fn back_off_is_per_node_and_generation() {
    let failed = |name, node| pod(name, node).phase(PodPhase::Failed);
    let mut cluster = cluster([node("a"), node("b")]).with_pod(failed("first", "a"));
    let (backoff, now) = (cluster.plan().backoff, cluster.now);
    cluster.backoff.update(backoff, now);
    let mut cluster = cluster.with_pod(failed("second", "b"));
    assert_eq!(cluster.actions(), ["delete pod second on b: it failed"]);
    cluster.daemonset.status.observed_generation = 7;
    assert_eq!(cluster.actions(), ["delete pod first on a: it failed", "delete pod second on b: it failed"]);
}

#[test]
fn without_a_clock_no_back_off_starts_and_a_running_one_continues() {
    let cluster = cluster([node("a")]).with_pod(pod("broken", "a").phase(PodPhase::Failed));
    let timeless = |backoff: &Backoff| {
        let snapshot = daemonplan::Snapshot::new(&cluster.daemonset, &cluster.nodes, &cluster.pods, &cluster.namespace);
        let plan = snapshot.revisions(&cluster.revisions).backoff(backoff).plan();
        (lines(&plan), plan.backoff)
    };
    assert_eq!(timeless(&Backoff::default()), (vec!["delete pod broken on a: it failed".to_owned()], vec![]));
    let known = Backoff::from_iter(cluster.plan().backoff);
    assert_eq!(timeless(&known), (vec![], vec![]));
}

#[test]
fn pods_that_may_not_stay_are_deleted_once() {
    let spec = json!({"nodeSelector": {"role": "worker"}});
    let pods = [pod("stray", "a"), pod("leaving", "a").being_deleted()];
    let cluster = cluster([node("a")]).with_spec(spec).with_pods(pods);
    assert_eq!(
        cluster.actions(),
        ["delete pod stray on a: node selector role=worker is required, the node has no label role"]
    );
}

#[test]
fn with_surge_an_old_and_a_new_pod_share_a_node_until_the_new_pod_is_available() {
    let surging = |old, new| {
        let cluster = cluster([node("a")]).with_new_template().rolling(json!(0), json!(1));
        cluster.with_pods([old, new]).with(|daemonset| daemonset.min_ready_seconds = 60)
    };
    let old = || pod("old", "a");
    let new = |ready_since: &str| {
        let since = Some(ready_since.parse().unwrap());
        pod("new", "a").of("two").but(|pod| pod.ready = daemonplan::model::Readiness::Ready { since })
    };
    let waiting = surging(old(), new("2026-01-02T03:03:30Z"));
    assert_eq!(waiting.actions(), [""; 0]);
    assert_eq!(waiting.plan().requeue_after, Some(Duration::from_secs(25)));
    assert_eq!(
        surging(old(), new("2026-01-02T03:03:05Z")).actions(),
        ["delete pod old on a: outdated, and the new pod is available"]
    );
    assert_eq!(
        surging(old().unready(), new("2026-01-02T03:03:30Z")).actions(),
        ["delete pod old on a: outdated and not ready, and a new pod exists"]
    );
}

#[test]
fn with_surge_only_the_first_of_each_kind_stays() {
    let cluster = cluster([node("a")]).with_new_template().rolling(json!(0), json!(1)).with_pods([
        pod("old-1", "a"),
        pod("old-2", "a"),
        pod("new-1", "a").of("two").unready(),
        pod("new-2", "a").of("two"),
    ]);
    assert_eq!(
        cluster.actions(),
        ["delete pod new-2 on a: new-1 is kept on this node", "delete pod old-2 on a: old-1 is kept on this node"]
    );
}

#[test]
fn with_surge_a_pod_being_deleted_does_not_delay_its_replacement() {
    let leaving = || pod("leaving", "a").being_deleted();
    let surging = cluster([node("a")]).rolling(json!(0), json!("10%")).with_pod(leaving());
    assert_eq!(surging.actions(), ["create pod on a: no live pod on this node"]);
    assert_eq!(cluster([node("a")]).with_pod(leaving()).actions(), [""; 0]);
}

#[test]
fn a_plan_creates_and_deletes_no_more_than_the_burst() {
    let spec = json!({"nodeSelector": {"role": "worker"}});
    let workers = ["a", "b", "c"].map(|name| labelled(name, &[("role", "worker")]));
    let cluster = cluster(workers.into_iter().chain([node("x")]))
        .with_spec(spec)
        .with_pods(["1", "2", "3", "4"].map(|name| pod(name, "x")))
        .with_settings(|settings| settings.burst = 2);
    let plan = cluster.plan();
    let reason = "node selector role=worker is required, the node has no label role";
    assert_eq!(
        lines(&plan),
        [
            "create pod on a: no pod on this node".to_owned(),
            "create pod on b: no pod on this node".to_owned(),
            format!("delete pod 1 on x: {reason}"),
            format!("delete pod 2 on x: {reason}"),
        ]
    );
    assert_eq!((plan.held_back.creations, plan.held_back.deletions), (1, 2));
}
