//! Quotas that new pods of several DaemonSets share.

use daemonplan::{
    Snapshot,
    forecast::Outcome,
    lint::{Lint, lint},
};
use serde_json::{Value, json};

use super::{
    at_best, daemonset, forecasts, going, named_node, node, none, on, only_on, pod, read, sure, surging, waits,
    waits_for,
};

#[test]
fn two_new_daemonsets_that_share_a_quota_for_one_are_not_sure_to_be_done() {
    let quota = |pods: u32| {
        json!({"kind": "ResourceQuota", "metadata": {"name": "few", "namespace": "prod"},
            "spec": {"hard": {"pods": pods.to_string()}},
            "status": {"hard": {"pods": pods.to_string()}, "used": {"pods": "0"}}})
    };
    let (a, b) = (daemonset("a", "10m", none()), daemonset("b", "10m", none()));
    let of = |pods| forecasts(&[a.clone(), b.clone(), node("m", "1"), node("n", "1"), quota(pods)]);
    let unknown = "whether new pods of DaemonSet prod/b are created first, which leaves no room in the quota";
    assert_eq!((&of(4)["a"], &of(3)["a"], of(1)["a"].0), (&sure(Outcome::Done), &at_best(unknown), Outcome::Stuck));
}

#[test]
fn old_pods_of_others_give_back_their_room_in_the_quota() {
    let quota = json!({"kind": "ResourceQuota", "metadata": {"name": "few", "namespace": "prod"},
        "spec": {"hard": {"pods": "2"}}, "status": {"hard": {"pods": "2"}, "used": {"pods": "1"}}});
    let (a, b) = (daemonset("a", "10m", none()), daemonset("b", "10m", none()));
    let old = pod("b-1", "10m", Some("b"), on("n"));
    assert_eq!(forecasts(&[a, b, node("n", "1"), old, quota])["a"], sure(Outcome::Done));
}

#[test]
fn pods_that_leave_for_good_give_back_their_room_in_the_quota() {
    let quota = json!({"kind": "ResourceQuota", "metadata": {"name": "few", "namespace": "prod"},
        "spec": {"hard": {"pods": "1"}}, "status": {"hard": {"pods": "1"}, "used": {"pods": "1"}}});
    let unknown = waits("when other pods of the namespace go, before which its quotas have no room");
    let old = pod("b-1", "10m", Some("b"), on("n"));
    let b = daemonset("b", "10m", only_on("other"));
    let objects = [daemonset("a", "10m", none()), b, named_node("n", "1"), old, quota.clone()];
    assert_eq!(forecasts(&objects)["a"], unknown);
    let web = going(pod("web", "10m", None, on("n")));
    assert_eq!(forecasts(&[daemonset("a", "10m", none()), named_node("n", "1"), web, quota])["a"], unknown);
}

#[test]
fn only_quotas_that_count_the_pods_of_both_are_shared() {
    let quota = json!({"kind": "ResourceQuota", "metadata": {"name": "few", "namespace": "prod"},
        "spec": {"hard": {"pods": "1"}, "scopes": ["NotBestEffort"]}, "status": {"hard": {"pods": "1"}, "used": {"pods": "0"}}});
    let mut best_effort = daemonset("a", "1m", none());
    best_effort["spec"]["template"]["spec"]["containers"][0]["resources"] = json!({});
    let (b, c) = (daemonset("b", "1m", none()), daemonset("c", "1m", none()));
    let all = forecasts(&[best_effort, b, c, named_node("n", "1"), quota]);
    assert_eq!(all["a"], sure(Outcome::Done));
    assert_eq!(
        all["b"].1,
        ["whether new pods of DaemonSet prod/c are created first, which leaves no room in the quota"]
    );
}

#[test]
fn the_pods_of_a_daemonset_come_where_its_others_have_gone_from_the_quota() {
    let quota = json!({"kind": "ResourceQuota", "metadata": {"name": "few", "namespace": "prod"},
        "spec": {"hard": {"pods": "1"}}, "status": {"hard": {"pods": "1"}, "used": {"pods": "1"}}});
    let old = pod("a-1", "10m", Some("a"), on("m"));
    let objects = [daemonset("a", "10m", only_on("n")), named_node("m", "1"), named_node("n", "1"), old, quota];
    assert_eq!(forecasts(&objects)["a"], sure(Outcome::Done));
}

#[test]
fn a_daemonset_without_new_pods_does_not_ask_for_room_in_a_quota() {
    let quota = json!({"kind": "ResourceQuota", "metadata": {"name": "few", "namespace": "prod"},
        "spec": {"hard": {"pods": "0"}}, "status": {"hard": {"pods": "0"}, "used": {"pods": "0"}}});
    let objects = [daemonset("a", "10m", only_on("m")), daemonset("b", "10m", none()), named_node("n", "1"), quota];
    assert_eq!(forecasts(&objects)["a"], sure(Outcome::Done));
}

#[test]
fn a_diff_does_not_know_either_who_is_first_in_a_quota() {
    let quota = |pods: u32| {
        json!({"kind": "ResourceQuota", "metadata": {"name": "few", "namespace": "prod"},
            "spec": {"hard": {"pods": pods.to_string()}},
            "status": {"hard": {"pods": pods.to_string()}, "used": {"pods": "0"}}})
    };
    let unknown = |pods| -> Vec<String> {
        let two = ["a", "b"].map(|name| daemonset(name, "10m", none()));
        let manifests = read(&[&two[..], &[node("m", "1"), node("n", "1"), quota(pods)]].concat());
        let all: Vec<_> = manifests.snapshots().collect();
        let coming = all.iter().filter_map(|snapshot| snapshot.coming_pods(manifests.scheduling_objects()));
        let state = manifests.cluster_state().with_coming(coming);
        let own = all.iter().find(|snapshot| snapshot.daemonset().name == "a").unwrap();
        let diff = Snapshot::diff(None, &own.scheduling(&state));
        diff.unknown.iter().map(ToString::to_string).collect()
    };
    let first = "whether new pods of DaemonSet prod/b are created first, which leaves no room in the quota";
    assert_eq!((unknown(3), unknown(4)), (vec![first.to_owned()], vec![]));
}

#[test]
fn a_pod_of_another_daemonset_counts_in_a_quota_once() {
    let with_strategy = |strategy: &str, quota: &str, b: Value| {
        let quota = json!({"kind": "ResourceQuota", "metadata": {"name": "few", "namespace": "prod"},
            "spec": {"hard": {"pods": quota}}, "status": {"hard": {"pods": quota}, "used": {"pods": "1"}}});
        let mut two = ["a", "b"].map(|name| daemonset(name, "10m", none()));
        two[1]["spec"]["updateStrategy"] = json!({"type": strategy});
        forecasts(&[&two[..], &[named_node("n", "1"), b, quota]].concat())["a"].clone()
    };
    let of = |quota: &str, b: Value| with_strategy("RollingUpdate", quota, b);
    let on_delete = |quota: &str, b: Value| with_strategy("OnDelete", quota, b);
    let waiting = pod("b-1", "10m", Some("b"), waits_for("n"));
    let later = "when other pods of the namespace go, before which its quotas have no room";
    let unknown = "whether new pods of DaemonSet prod/b are created first, which leaves no room in the quota";
    assert_eq!(of("2", waiting.clone()), sure(Outcome::Done), "its successor comes in its place");
    assert_eq!(of("1", waiting.clone()).1, [later, unknown]);
    assert_eq!(on_delete("2", waiting.clone()), sure(Outcome::Done), "it was counted when it was created");
    assert_eq!(on_delete("1", waiting).0, Outcome::Stuck);
    // One that goes gives its room back once.
    let leaving = going(pod("b-1", "10m", Some("b"), on("n")));
    assert_eq!(of("2", leaving.clone()), sure(Outcome::Done));
    assert_eq!(of("1", leaving).1, [later, unknown]);
}

#[test]
fn pods_that_go_make_room_in_a_quota_for_a_whole_update() {
    let old = ["m", "n"].map(|node| pod(&format!("a-{node}"), "10m", Some("a"), on(node)));
    let quota = json!({"kind": "ResourceQuota", "metadata": {"name": "few", "namespace": "prod"},
        "spec": {"hard": {"pods": "3"}}, "status": {"hard": {"pods": "3"}, "used": {"pods": "3"}}});
    let rest = [named_node("m", "1"), named_node("n", "1"), quota];
    let of = |web: Value| forecasts(&[&[surging("a", none()), web], &old[..], &rest].concat())["a"].clone();
    let web = pod("web", "10m", None, on("n"));
    assert_eq!(
        of(going(web.clone())),
        waits("when other pods of the namespace go, before which its quotas have no room")
    );
    assert_eq!(of(web).0, Outcome::Stuck);
}

#[test]
fn a_daemonset_that_waits_for_room_in_a_quota_may_take_that_of_a_pod_that_is_replaced() {
    let of = |used: &str, b: &str| {
        let quota = json!({"kind": "ResourceQuota", "metadata": {"name": "few", "namespace": "prod"},
            "spec": {"hard": {"requests.cpu": "40m"}}, "status": {"hard": {"requests.cpu": "40m"}, "used": {"requests.cpu": used}}});
        let two = [daemonset("a", "10m", none()), daemonset("b", b, none())];
        let old = pod("a-1", "20m", Some("a"), on("n"));
        forecasts(&[&two[..], &[named_node("n", "1"), old, quota]].concat())["a"].clone()
    };
    let unknown = at_best("whether new pods of DaemonSet prod/b are created first, which leaves no room in the quota");
    assert_eq!(of("40m", "10m"), unknown, "there is room for both in the end, but b has none yet");
    assert_eq!(of("20m", "10m"), sure(Outcome::Done));
}

#[test]
fn what_others_of_the_namespace_delete_next_makes_room_in_a_quota() {
    let of = |b: Value| {
        let quota = json!({"kind": "ResourceQuota", "metadata": {"name": "few", "namespace": "prod"},
            "spec": {"hard": {"pods": "1"}}, "status": {"hard": {"pods": "1"}, "used": {"pods": "1"}}});
        let old = pod("b-1", "10m", Some("b"), on("n"));
        let manifests = read(&[daemonset("a", "10m", none()), b, named_node("n", "1"), old, quota]);
        let all: Vec<_> = manifests.snapshots().collect();
        let coming = all.iter().filter_map(|snapshot| snapshot.coming_pods(manifests.scheduling_objects()));
        let state = manifests.cluster_state().with_coming(coming);
        let own = all.iter().find(|snapshot| snapshot.daemonset().name == "a").unwrap().scheduling(&state);
        let lacks_room = lint(&[own]).iter().any(|finding| finding.lint == Lint::QuotaTooSmall);
        (own.explain().admission.unwrap().unknown.len(), lacks_room)
    };
    let mut stays = daemonset("b", "10m", none());
    stays["spec"]["updateStrategy"] = json!({"type": "OnDelete"});
    assert_eq!(of(stays), (0, true));
    assert_eq!(of(daemonset("b", "10m", only_on("other"))), (1, false));
}
