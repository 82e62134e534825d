//! Rules that count pods on several nodes.

use daemonplan::forecast::Outcome;
use serde_json::{Value, json};

use super::{
    affinity, at_best, daemonset, forecasts, going, named_node, node, none, on, only_on, pod, sure, surge, surging,
    waits, waits_for, with,
};

#[test]
fn pods_that_need_those_of_another_new_daemonset_are_not_stuck() {
    let near = |app: &str| {
        let term = json!({"topologyKey": "zone", "labelSelector": {"matchLabels": {"app": app}}});
        json!({"affinity": {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}})
    };
    let of = |needed| forecasts(&[daemonset("a", "1m", near(needed)), daemonset("base", "1m", none()), node("n", "1")]);
    let unknown = "when its pod fits on node n, which depends on the pods of DaemonSet prod/base";
    assert_eq!((&of("base")["a"], of("missing")["a"].0), (&waits(unknown), Outcome::Stuck));
}

#[test]
fn pods_that_need_the_update_of_another_daemonset_are_not_stuck() {
    let old = pod("b-1", "800m", Some("b"), on("n"));
    let of =
        |cpu| forecasts(&[daemonset("a", "500m", none()), daemonset("b", cpu, none()), old.clone(), node("n", "1")]);
    let unknown = "when its pod fits on node n, which depends on the pods of DaemonSet prod/b";
    // With 700m, only the moment in which the old pod is gone is left.
    assert_eq!([&of("500m")["a"], &of("700m")["a"]], [&waits(unknown); 2]);
    // The same beside an old pod.
    let mut surging = daemonset("a", "200m", none());
    surging["spec"]["updateStrategy"] = json!({"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}});
    let own = pod("a-1", "100m", Some("a"), on("n"));
    let of = |cpu| forecasts(&[surging.clone(), daemonset("b", cpu, none()), node("n", "1"), own.clone(), old.clone()]);
    assert_eq!([&of("700m")["a"], &of("800m")["a"]], [&waits(unknown); 2]);
}

#[test]
fn pods_that_spread_over_zones_follow_each_other() {
    let constraint = json!({"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule",
        "nodeAffinityPolicy": "Ignore", "labelSelector": {"matchLabels": {"app": "a"}}});
    let spread = daemonset("a", "10m", json!({"topologySpreadConstraints": [constraint]}));
    let objects = [spread.clone(), node("m", "1"), node("n", "1"), node("o", "2"), pod("a-1", "10m", None, on("m"))];
    let mut objects = objects.to_vec();
    objects[4]["metadata"]["labels"]["app"] = json!("a");
    objects[4]["metadata"]["ownerReferences"] =
        json!([{"kind": "ReplicaSet", "name": "x", "uid": "x", "controller": true}]);
    let unknown = "which of its new pods come first, which decides about the others";
    // Both nodes of zone 1 wait for zone 2; then the second of them would make three pods to one.
    let first = forecasts(&objects[..])["a"].clone();
    assert_eq!(first.0, Outcome::Stuck);
    // With two nodes in zone 2 it goes on.
    objects.push(node("p", "2"));
    assert_eq!(forecasts(&objects[..])["a"], at_best(unknown));
}

#[test]
fn during_a_surge_the_old_pod_counts_for_rules_over_nodes() {
    let away = surging("a", affinity("podAntiAffinity", "a", "zone"));
    let old = pod("a-1", "10m", Some("a"), on("n"));
    assert_eq!(forecasts(&[away, old.clone(), named_node("n", "1")])["a"].0, Outcome::Stuck);
    let near = surging("a", affinity("podAffinity", "a", "host"));
    let second = pod("a-2", "10m", Some("a"), on("m"));
    let objects = [near, old.clone(), second, named_node("m", "1"), named_node("n", "1")];
    assert_eq!(forecasts(&objects)["a"].0, Outcome::Done, "each finds the old pod of its own node");
    let claim = json!([{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]);
    let single = surging("a", json!({"volumes": claim}));
    let mut using = old;
    using["spec"]["volumes"] = claim;
    let bound = json!({"kind": "PersistentVolumeClaim", "metadata": {"name": "data", "namespace": "prod",
        "annotations": {"pv.kubernetes.io/bind-completed": "yes"}},
        "spec": {"volumeName": "disk", "accessModes": ["ReadWriteOncePod"]}, "status": {"phase": "Bound"}});
    let volume = json!({"kind": "PersistentVolume", "metadata": {"name": "disk"}, "status": {"phase": "Bound"}});
    assert_eq!(forecasts(&[single, using, named_node("n", "1"), bound, volume])["a"].0, Outcome::Stuck);
}

#[test]
fn pods_on_other_nodes_of_a_zone_compete_too() {
    let a = daemonset("a", "10m", with(only_on("m"), affinity("podAntiAffinity", "b", "zone")));
    let b = daemonset("b", "10m", only_on("n"));
    let objects = [a, b, named_node("m", "1"), named_node("n", "1")];
    let both = forecasts(&objects);
    let depends = |node: &str, on: &str| {
        at_best(&format!("whether its pod finds room on node {node}, which depends on the pods of DaemonSet prod/{on}"))
    };
    assert_eq!((&both["a"], &both["b"]), (&depends("m", "b"), &depends("n", "a")));
    // A pod that cannot come to the same node comes to the other.
    let a = daemonset("a", "10m", with(only_on("m"), affinity("podAntiAffinity", "b", "zone")));
    let full = pod("full", "900m", None, on("m"));
    let both = forecasts(&[a, daemonset("b", "500m", none()), named_node("m", "1"), named_node("n", "1"), full]);
    assert_eq!(both["a"], depends("m", "b"));
    // In another zone they do not.
    let mut apart = objects;
    apart[3] = named_node("n", "2");
    let both = forecasts(&apart);
    assert_eq!((&both["a"], &both["b"]), (&sure(Outcome::Done), &sure(Outcome::Done)));
}

#[test]
fn a_pod_that_waits_can_keep_others_away_by_its_anti_affinity() {
    let waiting = |spec| pod("web", "1m", None, spec);
    let of = |spec| {
        forecasts(&[daemonset("a", "10m", only_on("m")), named_node("m", "1"), named_node("n", "1"), waiting(spec)])
    };
    let unknown = at_best("whether its pod finds room on node m, which depends on prod/web, which waits");
    assert_eq!(of(with(only_on("n"), affinity("podAntiAffinity", "a", "zone")))["a"], unknown);
    assert_eq!(of(with(only_on("n"), affinity("podAntiAffinity", "a", "host")))["a"], sure(Outcome::Done));
    let other_zone =
        [daemonset("a", "10m", only_on("m")), named_node("k", "1"), named_node("m", "1"), named_node("n", "2")];
    let excluding = waiting(with(only_on("n"), affinity("podAntiAffinity", "a", "zone")));
    assert_eq!(forecasts(&[&other_zone[..], &[excluding]].concat())["a"], sure(Outcome::Done));
}

#[test]
fn what_pods_need_can_come_before_something_else_goes() {
    let spread = json!({"topologyKey": "host", "maxSkew": 1, "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"app": "b"}}, "nodeAffinityPolicy": "Ignore"});
    let mut spec = with(only_on("n"), affinity("podAffinity", "other", "host"));
    spec["topologySpreadConstraints"] = json!([spread]);
    let two = ["b-1", "b-2"].map(|name| {
        let mut pod = pod(name, "10m", None, on("n"));
        pod["metadata"]["labels"]["app"] = json!("b");
        pod
    });
    let leaving = going(pod("web", "10m", None, on("n")));
    let nodes = [named_node("m", "1"), named_node("n", "1")];
    let daemonsets = [daemonset("a", "10m", spec), daemonset("b", "10m", only_on("m"))];
    let unknown = waits("when its pod fits on node n, which depends on the pods of DaemonSet prod/b");
    assert_eq!(forecasts(&[&daemonsets[..], &nodes, &two, &[leaving]].concat())["a"], unknown);
}

#[test]
fn what_pods_need_can_go() {
    let needs = daemonset("a", "10m", affinity("podAffinity", "b", "host"));
    let of = |b: Value, old: Value| forecasts(&[needs.clone(), b, named_node("n", "1"), old])["a"].clone();
    let old = pod("b-1", "10m", Some("b"), on("n"));
    assert_eq!(of(daemonset("b", "10m", none()), old.clone()), sure(Outcome::Done));
    let unknown = at_best("whether its pod finds room on node n, which depends on the pods of DaemonSet prod/b");
    assert_eq!(of(daemonset("b", "10m", only_on("other")), old.clone()), unknown);
    let orphan = going(pod("b-1", "10m", None, on("n")));
    let mut labelled = orphan;
    labelled["metadata"]["labels"]["app"] = json!("b");
    labelled["metadata"]["ownerReferences"] = json!([{"kind": "Job", "name": "x", "uid": "x", "controller": true}]);
    let unknown = at_best("whether its pod finds room on node n, which depends on prod/b-1, whose deletion has begun");
    assert_eq!(of(daemonset("c", "10m", only_on("other")), labelled), unknown);
}

#[test]
fn pods_that_spread_are_replaced_zone_by_zone() {
    let spread = json!({"topologyKey": "zone", "maxSkew": 1, "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"app": "a"}}, "nodeAffinityPolicy": "Ignore"});
    let nodes = [named_node("k", "1"), named_node("m", "1"), named_node("n", "2")];
    let old = ["k", "m", "n"].map(|node| pod(&format!("a-{node}"), "10m", Some("a"), on(node)));
    let a = daemonset("a", "10m", json!({"topologySpreadConstraints": [spread]}));
    let found = forecasts(&[&[a], &nodes[..], &old[..]].concat())["a"].clone();
    assert_eq!(found, at_best("which of its new pods come first, which decides about the others"));
}

#[test]
fn pods_that_wait_follow_each_other_whatever_admission_has_filled_in() {
    // The first keeps the others out of its zone, though each of them would fit now.
    let apart = affinity("podAntiAffinity", "a", "zone");
    let of = |image: &str, cpu: &str| {
        let waiting = ["m", "n"].map(|node| {
            let mut spec = waits_for(node);
            spec["affinity"]["podAntiAffinity"] = apart["affinity"]["podAntiAffinity"].clone();
            spec["priority"] = json!(0);
            spec["preemptionPolicy"] = json!("PreemptLowerPriority");
            spec["schedulerName"] = json!("default-scheduler");
            let mut own = pod(&format!("a-{node}"), cpu, Some("a"), spec);
            own["spec"]["containers"][0]["image"] = json!(image);
            own["metadata"]["labels"] = json!({"app": "a", "pod-template-generation": "1"});
            own["status"] = json!({"phase": "Pending"});
            own
        });
        let mut a = daemonset("a", "10m", apart.clone());
        a["metadata"]["annotations"] = json!({"deprecated.daemonset.template.generation": "1"});
        a["metadata"]["generation"] = json!(1);
        let nodes = [named_node("m", "1"), named_node("n", "1")];
        forecasts(&[&[a][..], &waiting, &nodes].concat())["a"].0
    };
    assert_eq!(of("mirror.example.com/x", "10m"), Outcome::Stuck);
    assert_eq!(of("x", "20m"), Outcome::Done, "of pods that differ it is not known how they would follow each other");
}

fn needing(name: &str, needed: &str) -> Value {
    daemonset(name, "10m", affinity("podAffinity", needed, "zone"))
}

#[test]
fn daemonsets_that_need_each_other_are_stuck_unless_a_third_comes() {
    let node = node("n", "1");
    let two = forecasts(&[needing("a", "b"), needing("b", "a"), node.clone()]);
    assert_eq!((two["a"].0, two["b"].0), (Outcome::Stuck, Outcome::Stuck));
    let three = forecasts(&[needing("a", "b"), needing("b", "c"), daemonset("c", "10m", none()), node]);
    assert_eq!(three["a"].0, Outcome::Waiting);
}

#[test]
fn a_daemonset_that_needs_the_old_pods_of_another_can_come_before_its_new_ones() {
    let old = pod("a-1", "500m", Some("a"), on("n"));
    let of = |b: Value| forecasts(&[daemonset("a", "700m", none()), b, node("n", "1"), old.clone()])["a"].clone();
    let late = at_best("whether its pod finds room on node n, which depends on the pods of DaemonSet prod/b");
    assert_eq!(of(daemonset("b", "400m", affinity("podAffinity", "a", "zone"))), late);
    assert_eq!(of(daemonset("b", "400m", affinity("podAffinity", "none", "zone"))), sure(Outcome::Done));
}

#[test]
fn a_surge_makes_room_only_after_it_has_taken_some() {
    let old = |name: &str, cpu: &str| pod(&format!("{name}-1"), cpu, Some(name), on("n"));
    let of = |a: Value| {
        let b = surge("b", "500m");
        forecasts(&[a, b, node("n", "1"), old("a", "250m"), old("b", "500m")])["b"].0
    };
    assert_eq!(of(surge("a", "250m")), Outcome::Stuck, "there is never more room than now");
    assert_eq!(of(daemonset("a", "250m", none())), Outcome::Waiting, "its old pod leaves first");
    // The new pod of `a` needs less than the old one.
    let less = forecasts(&[surge("a", "1m"), surge("b", "450m"), node("n", "1"), old("a", "260m"), old("b", "500m")]);
    assert_eq!(less["b"].0, Outcome::Waiting);
    let third = [surge("a", "250m"), surge("b", "500m"), node("n", "1"), old("a", "250m"), old("b", "500m")];
    assert_eq!(forecasts(&[&third[..], &[going(pod("web", "1m", None, on("n")))]].concat())["b"].0, Outcome::Stuck);
}
