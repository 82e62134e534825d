//! Pods that come to nodes beside those of a DaemonSet: forecasts and explanations do not know which come first.

mod over_nodes;
mod quotas;

use std::collections::BTreeMap;

use daemonplan::{
    Snapshot,
    forecast::{Assumptions, Outcome},
    manifest::Manifests,
    model::Node,
    overhead::DaemonSetFleet,
};
use serde_json::{Value, json};

/// A DaemonSet with what its template has besides a container and its labels.
fn daemonset(name: &str, cpu: &str, spec: Value) -> Value {
    let mut template = json!({"containers": [{"name": "main", "image": "x", "resources": {"requests": {"cpu": cpu}}}]});
    template.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    json!({
        "apiVersion": "apps/v1", "kind": "DaemonSet",
        "metadata": {"name": name, "namespace": "prod", "uid": name},
        "spec": {
            "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": template},
        },
    })
}

/// A node with a cpu, in a zone.
fn node(name: &str, zone: &str) -> Value {
    json!({
        "kind": "Node", "metadata": {"name": name, "labels": {"zone": zone}},
        "status": {"allocatable": {"cpu": "1", "pods": "110"}},
    })
}

/// A pod with this in its spec.
fn pod(name: &str, cpu: &str, owner: Option<&str>, spec: Value) -> Value {
    let mut own = json!({"containers": [{"name": "main", "resources": {"requests": {"cpu": cpu}}}]});
    own.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    let owners = owner.map(|owner| json!([{"kind": "DaemonSet", "name": owner, "uid": owner, "controller": true}]));
    let labels = json!({"app": owner.unwrap_or("other"), "controller-revision-hash": "old"});
    json!({
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "prod", "ownerReferences": owners.unwrap_or_default(), "labels": labels},
        "spec": own,
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
    })
}

fn on(node: &str) -> Value {
    json!({"nodeName": node})
}

/// The target of a pod that waits for a node.
fn waits_for(node: &str) -> Value {
    let field = json!({"key": "metadata.name", "operator": "In", "values": [node]});
    json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {
        "nodeSelectorTerms": [{"matchFields": [field]}],
    }}}})
}

fn priority(name: &str, value: i32) -> Value {
    json!({"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": name}, "value": value})
}

fn read(objects: &[Value]) -> Manifests {
    let mut manifests = Manifests::default();
    let mut list = objects.to_vec();
    list.push(json!({"kind": "Namespace", "metadata": {"name": "prod"}}));
    let text = json!({"kind": "List", "items": list}).to_string();
    manifests.read("cluster.json", text.as_bytes()).unwrap();
    assert!(manifests.problems().is_empty(), "{:?}", manifests.problems());
    manifests.complete()
}

/// How each DaemonSet's forecast ends, and what is not known.
fn forecasts(objects: &[Value]) -> BTreeMap<String, (Outcome, Vec<String>)> {
    let manifests = read(objects);
    let all: Vec<_> = manifests.snapshots().collect();
    let coming = all.iter().filter_map(|snapshot| snapshot.coming_pods(manifests.scheduling_objects()));
    let state = manifests.cluster_state().with_coming(coming);
    let forecasts = all.iter().map(|snapshot| {
        let forecast = snapshot.scheduling(&state).forecast(&Assumptions::default());
        let unknown = forecast.unknown.iter().map(ToString::to_string).collect();
        (snapshot.daemonset().name.to_string(), (forecast.outcome, unknown))
    });
    forecasts.collect()
}

fn none() -> Value {
    json!({})
}

fn sure(outcome: Outcome) -> (Outcome, Vec<String>) {
    (outcome, Vec::new())
}

fn waits(unknown: &str) -> (Outcome, Vec<String>) {
    (Outcome::Waiting, vec![unknown.to_owned()])
}

fn at_best(unknown: &str) -> (Outcome, Vec<String>) {
    (Outcome::Done, vec![unknown.to_owned()])
}

#[test]
fn two_new_daemonsets_with_room_for_one_are_not_sure_to_be_done() {
    let (a, b) = (daemonset("a", "600m", none()), daemonset("b", "600m", none()));
    let forecasts = forecasts(&[a, b, node("n", "1")]);
    assert_eq!(
        forecasts["a"],
        at_best("whether its pod is bound to node n in time, which depends on the pods of DaemonSet prod/b")
    );
    assert_eq!(
        forecasts["b"],
        at_best("whether its pod is bound to node n in time, which depends on the pods of DaemonSet prod/a")
    );
}

#[test]
fn two_new_daemonsets_with_room_for_both_are_done() {
    let forecasts = forecasts(&[daemonset("a", "600m", none()), daemonset("b", "400m", none()), node("n", "1")]);
    assert_eq!((&forecasts["a"], &forecasts["b"]), (&sure(Outcome::Done), &sure(Outcome::Done)));
}

#[test]
fn of_two_new_daemonsets_the_one_of_higher_priority_is_done() {
    let high = daemonset("high", "600m", json!({"priorityClassName": "high"}));
    let mut objects = vec![high, daemonset("low", "600m", none()), node("n", "1"), priority("high", 10)];
    let expected =
        at_best("whether its pod is bound to node n in time, which depends on the pods of DaemonSet prod/high");
    let by_priority = forecasts(&objects);
    assert_eq!((&by_priority["high"], &by_priority["low"]), (&sure(Outcome::Done), &expected));
    // A pod that is never preempted for another keeps its place, whatever its priority.
    objects[3]["preemptionPolicy"] = json!("Never");
    let expected =
        at_best("whether its pod is bound to node n in time, which depends on the pods of DaemonSet prod/low");
    assert_eq!(forecasts(&objects)["high"], expected);
}

#[test]
fn a_daemonset_that_never_fits_takes_no_room_from_others() {
    let forecasts = forecasts(&[daemonset("a", "600m", none()), daemonset("huge", "2", none()), node("n", "1")]);
    assert_eq!((&forecasts["a"], forecasts["huge"].0), (&sure(Outcome::Done), Outcome::Stuck));
}

#[test]
fn three_new_daemonsets_of_which_any_two_fit_are_not_sure_to_be_done() {
    let three = ["a", "b", "c"].map(|name| daemonset(name, "400m", none()));
    let elsewhere = daemonset("elsewhere", "400m", only_on("m"));
    let three: Vec<_> = three.into_iter().map(|one| with_selector(one, "n")).collect();
    let forecasts = forecasts(&[&three[..], &[elsewhere, named_node("m", "1"), named_node("n", "1")]].concat());
    let unknown = "whether its pod is bound to node n in time, which depends on the pods of DaemonSet prod/b and the pods of DaemonSet prod/c";
    assert_eq!(forecasts["a"], at_best(unknown));
}

#[test]
fn two_new_daemonsets_with_one_host_port_are_not_sure_to_be_done() {
    let two = ["a", "b"].map(|name| {
        let mut own = daemonset(name, "10m", none());
        own["spec"]["template"]["spec"]["containers"][0]["ports"] = json!([{"containerPort": 80, "hostPort": 80}]);
        own
    });
    let forecasts = forecasts(&[&two[..], &[node("n", "1")]].concat());
    assert_eq!(
        forecasts["a"],
        at_best("whether its pod is bound to node n in time, which depends on the pods of DaemonSet prod/b")
    );
}

#[test]
fn one_pod_of_low_priority_gives_its_place_to_one_of_two_daemonsets() {
    let two = ["a", "b"].map(|name| daemonset(name, "600m", json!({"priorityClassName": "high"})));
    let low = pod("web", "800m", None, on("n"));
    let forecasts = forecasts(&[&two[..], &[node("n", "1"), priority("high", 10), low]].concat());
    let victim = "when its pod starts on node n, as prod/web must leave before";
    let rival = "whether its pod is bound to node n in time, which depends on the pods of DaemonSet prod/b";
    assert_eq!(forecasts["a"], (Outcome::Waiting, vec![victim.to_owned(), rival.to_owned()]));
}

#[test]
fn two_updates_at_once_that_request_more_are_not_sure_to_be_done() {
    let old = ["a", "b"].map(|name| pod(&format!("{name}-1"), "400m", Some(name), on("n")));
    let of = |cpu: &str| {
        let two = ["a", "b"].map(|name| daemonset(name, cpu, none()));
        forecasts(&[&two[..], &old[..], &[node("n", "1")]].concat())
    };
    assert_eq!(of("500m")["a"], sure(Outcome::Done));
    assert_eq!(of("600m")["a"].0, Outcome::Done);
    assert_eq!(
        of("600m")["a"].1,
        ["whether its pod is bound to node n in time, which depends on the pods of DaemonSet prod/b"]
    );
}

#[test]
fn a_pod_that_waits_can_take_the_room_of_an_old_pod() {
    let old = pod("a-1", "900m", Some("a"), on("n"));
    let of = |waiting: Value| {
        forecasts(&[daemonset("a", "900m", none()), old.clone(), node("n", "1"), waiting])["a"].clone()
    };
    let unknown = at_best("whether its pod is bound to node n in time, which depends on prod/web, which waits");
    assert_eq!(of(pod("web", "500m", None, none())), unknown);
    assert_eq!(of(pod("web", "500m", None, waits_for("n"))), unknown);
    // For other nodes, with too little room, or not ready to be bound.
    assert_eq!(of(pod("web", "500m", None, waits_for("m"))), sure(Outcome::Done));
    assert_eq!(of(pod("web", "2", None, none())), sure(Outcome::Done));
    assert_eq!(of(pod("web", "100m", None, none())), sure(Outcome::Done));
    assert_eq!(of(pod("web", "500m", None, json!({"schedulingGates": [{"name": "x"}]}))), sure(Outcome::Done));
    assert_eq!(of(pod("web", "500m", None, json!({"schedulerName": "other"}))), sure(Outcome::Done));
    assert_eq!(of(pod("web", "500m", None, json!({"priority": -1}))), sure(Outcome::Done));
    let mut leaving = pod("web", "500m", None, none());
    leaving["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    assert_eq!(of(leaving), sure(Outcome::Done));
}

#[test]
fn a_waiting_pod_of_another_daemonset_counts_once() {
    let (a, b) = (daemonset("a", "400m", none()), daemonset("b", "500m", none()));
    let waiting = pod("b-1", "500m", Some("b"), waits_for("n"));
    assert_eq!(forecasts(&[a, b, node("n", "1"), waiting])["a"], sure(Outcome::Done));
}

#[test]
fn pods_that_stay_are_not_about_to_come() {
    let mut on_delete = daemonset("b", "900m", none());
    on_delete["spec"]["updateStrategy"] = json!({"type": "OnDelete"});
    let small = pod("b-1", "100m", Some("b"), on("n"));
    assert_eq!(
        forecasts(&[daemonset("a", "500m", none()), on_delete, node("n", "1"), small])["a"],
        sure(Outcome::Done)
    );
}

#[test]
fn explanations_say_what_may_come_first() {
    let manifests = read(&[daemonset("a", "600m", none()), daemonset("b", "600m", none()), node("n", "1")]);
    let all: Vec<_> = manifests.snapshots().collect();
    let coming = all.iter().filter_map(|snapshot| snapshot.coming_pods(manifests.scheduling_objects()));
    let state = manifests.cluster_state().with_coming(coming);
    let mut explanation = all[0].explain();
    all[0].explain_scheduling(&state, &mut explanation);
    let unknown = &explanation.nodes[0].new_pod.as_ref().unwrap().feasibility.unknown;
    let said = json!([{"unknown": "competingPods", "node": "n", "competitors": [{"daemonset": "prod/b"}]}]);
    assert_eq!(serde_json::to_value(unknown).unwrap(), said);
}

/// Keeps pods of an app near, or away, by a label of nodes.
fn affinity(kind: &str, app: &str, key: &str) -> Value {
    let term = json!({"topologyKey": key, "labelSelector": {"matchLabels": {"app": app}}});
    json!({"affinity": {kind: {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}})
}

fn only_on(node: &str) -> Value {
    json!({"nodeSelector": {"host": node}})
}

/// Lets a DaemonSet come to one node only.
fn with_selector(mut daemonset: Value, node: &str) -> Value {
    daemonset["spec"]["template"]["spec"]["nodeSelector"] = only_on(node)["nodeSelector"].clone();
    daemonset
}

fn with(mut one: Value, other: Value) -> Value {
    one.as_object_mut().unwrap().append(&mut other.as_object().unwrap().clone());
    one
}

/// A node in a zone, with its name as a label.
fn named_node(name: &str, zone: &str) -> Value {
    let mut node = node(name, zone);
    node["metadata"]["labels"]["host"] = json!(name);
    node
}

fn surging(name: &str, spec: Value) -> Value {
    let mut own = daemonset(name, "10m", spec);
    own["spec"]["updateStrategy"] = json!({"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}});
    own
}

fn going(mut pod: Value) -> Value {
    pod["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    pod
}

#[test]
fn pods_that_leave_for_good_make_room() {
    let old = pod("b-1", "800m", Some("b"), on("n"));
    let unknown = waits("when its pod fits on node n, which depends on the pods of DaemonSet prod/b");
    let of = |b: Value| forecasts(&[daemonset("a", "500m", none()), b, named_node("n", "1"), old.clone()])["a"].clone();
    assert_eq!(of(daemonset("b", "800m", only_on("other"))), unknown);
    let mut deleted = daemonset("b", "800m", none());
    deleted["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    deleted["metadata"]["finalizers"] = json!(["foregroundDeletion"]);
    assert_eq!(of(deleted.clone()), unknown);
    // Nor do pods stay that a DaemonSet that is being deleted would leave alone otherwise.
    deleted["spec"]["updateStrategy"] = json!({"type": "OnDelete"});
    assert_eq!(of(deleted.clone()), unknown);
    deleted["metadata"]["finalizers"] = json!(["orphan"]);
    assert_eq!(of(deleted).0, Outcome::Stuck, "its pods stay");
    let unknown = waits("when its pod fits on node n, which depends on prod/web, whose deletion has begun");
    let web = going(pod("web", "800m", None, on("n")));
    assert_eq!(forecasts(&[daemonset("a", "500m", none()), named_node("n", "1"), web])["a"], unknown);
}

#[test]
fn of_two_pods_on_a_node_one_leaves_for_good() {
    let mut b = daemonset("b", "300m", none());
    b["spec"]["updateStrategy"] = json!({"type": "OnDelete"});
    let pods = ["b-1", "b-2"].map(|name| pod(name, "300m", Some("b"), on("n")));
    let of = |cpu: &str| {
        forecasts(&[&[daemonset("a", cpu, none()), b.clone(), named_node("n", "1")], &pods[..]].concat())["a"].clone()
    };
    let unknown = waits("when its pod fits on node n, which depends on the pods of DaemonSet prod/b");
    assert_eq!((of("400m"), of("700m"), of("800m").0), (sure(Outcome::Done), unknown, Outcome::Stuck));
}

#[test]
fn a_pod_that_may_stay_on_a_node_does_not_leave_it() {
    let mut tainted = named_node("n", "1");
    tainted["spec"] = json!({"taints": [{"key": "a", "effect": "NoSchedule"}]});
    let a = daemonset("a", "500m", json!({"tolerations": [{"operator": "Exists"}]}));
    let b = daemonset("b", "800m", none());
    let of = |b: &Value, old: &Value| forecasts(&[a.clone(), b.clone(), tainted.clone(), old.clone()])["a"].0;
    let old = pod("b-1", "800m", Some("b"), on("n"));
    assert_eq!((of(&b, &old), of(&b, &going(old.clone()))), (Outcome::Stuck, Outcome::Waiting));
    let mut deleted = b.clone();
    deleted["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    deleted["metadata"]["finalizers"] = json!(["foregroundDeletion"]);
    assert_eq!(of(&deleted, &old), Outcome::Waiting);
    // A pod that the DaemonSet releases, as its labels no longer match, stays as well.
    let mut released = old.clone();
    released["metadata"]["labels"]["app"] = json!("changed");
    assert_eq!(of(&daemonset("b", "800m", only_on("other")), &released), Outcome::Stuck);
    // A pod that has ended takes no place, and none comes instead.
    let mut ended = old;
    ended["status"]["phase"] = json!("Failed");
    assert_eq!(of(&b, &ended), Outcome::Done);
}

#[test]
fn a_pod_whose_place_another_daemonset_takes_is_not_settled() {
    let high = daemonset("high", "700m", json!({"priorityClassName": "high"}));
    let mut old = pod("low-1", "600m", Some("low"), on("n"));
    old["metadata"]["labels"] = json!({"app": "low"});
    let objects = [high, daemonset("low", "600m", none()), named_node("n", "1"), priority("high", 10), old];
    let all = forecasts(&objects);
    let unknown = "whether its pod keeps its place on node n, which depends on the pods of DaemonSet prod/high";
    assert!(all["low"].1.contains(&unknown.to_owned()), "{:?}", all["low"]);
}

#[test]
fn during_a_surge_the_ports_of_the_old_pod_count_as_they_are() {
    let with_port = |port: u32| {
        let mut own = surging("a", none());
        own["spec"]["template"]["spec"]["containers"][0]["ports"] = json!([{"containerPort": port, "hostPort": port}]);
        own
    };
    let mut old = pod("a-1", "10m", Some("a"), on("n"));
    old["spec"]["containers"][0]["ports"] = json!([{"containerPort": 80, "hostPort": 80}]);
    let of = |port| forecasts(&[with_port(port), old.clone(), named_node("n", "1")])["a"].0;
    assert_eq!([of(80), of(90)], [Outcome::Stuck, Outcome::Done]);
    // The same where the scheduler is not asked.
    let of = |port| {
        let manifests = read(&[with_port(port), old.clone(), named_node("n", "1")]);
        manifests.snapshots().next().unwrap().forecast(&Assumptions::default()).outcome
    };
    assert_eq!([of(80), of(90)], [Outcome::Stuck, Outcome::Done]);
}

#[test]
fn what_the_scheduler_said_of_a_waiting_pod_is_not_ignored() {
    let mut waiting = pod("a-1", "10m", Some("a"), waits_for("n"));
    waiting["status"] = json!({"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False",
        "reason": "Unschedulable", "message": "0/1 nodes are available: 1 Insufficient cpu."}]});
    let unknown = "whether prod/a-1 is bound now: the scheduler said: 0/1 nodes are available: 1 Insufficient cpu.";
    let forecast = forecasts(&[daemonset("a", "10m", none()), named_node("n", "1"), waiting])["a"].clone();
    assert!(forecast.1.contains(&unknown.to_owned()), "{forecast:?}");
}

#[test]
fn under_disk_pressure_only_critical_pods_start_for_sure() {
    let mut pressed = named_node("n", "1");
    pressed["spec"] = json!({"taints": [{"key": "node.kubernetes.io/disk-pressure", "effect": "NoSchedule"}]});
    let of = |spec| forecasts(&[daemonset("a", "10m", spec), pressed.clone()])["a"].clone();
    let unknown = "whether the kubelet of node n lets a new pod start, as long as it has the taint node.kubernetes.io/disk-pressure";
    assert_eq!(of(none()), at_best(unknown));
    assert_eq!(of(json!({"priorityClassName": "system-node-critical"})), sure(Outcome::Done));
}

#[test]
fn remedies_do_not_promise_a_successor_where_none_comes() {
    let old = pod("b-1", "800m", Some("b"), on("n"));
    let of = |b: Value| {
        let manifests = read(&[daemonset("a", "500m", none()), b, named_node("n", "1"), old.clone()]);
        let all: Vec<_> = manifests.snapshots().collect();
        let coming = all.iter().filter_map(|snapshot| snapshot.coming_pods(manifests.scheduling_objects()));
        let state = manifests.cluster_state().with_coming(coming);
        let mut explanation = all[0].explain();
        all[0].explain_scheduling(&state, &mut explanation);
        explanation.nodes[0].new_pod.as_ref().unwrap().remedies[0].text.clone()
    };
    let stays = "fits if prod/b-1 leaves (cpu 800m), though DaemonSet b creates another";
    assert_eq!(of(daemonset("b", "800m", none())), stays);
    assert_eq!(of(daemonset("b", "800m", only_on("other"))), "fits if prod/b-1 leaves (cpu 800m)");
}

#[test]
fn on_a_new_node_pods_are_asked_about_again_once_others_are_bound() {
    let fleet = |needed: &str| {
        let manifests =
            read(&[daemonset("a", "10m", affinity("podAffinity", needed, "host")), daemonset("b", "10m", none())]);
        let state = manifests.cluster_state();
        let fleet = DaemonSetFleet::of(manifests.snapshots().map(|snapshot| snapshot.scheduling(&state)));
        let new: Node = serde_json::from_value(named_node("n", "1")).unwrap();
        fleet.overhead(&new).pending().len()
    };
    assert_eq!((fleet("b"), fleet("missing")), (0, 1));
}

#[test]
fn a_change_whose_pods_take_the_place_of_others_shows_there_too() {
    let (low, nodes) = (daemonset("low", "600m", none()), [node("n", "1")]);
    let own = |cpu: &str| daemonset("high", cpu, json!({"priorityClassName": "high"}));
    let pods = [
        pod("low-n", "600m", Some("low"), on("n")),
        pod("high-n", "300m", Some("high"), json!({"nodeName": "n", "priority": 9})),
    ];
    let clusters = ["300m", "400m", "500m"].map(|cpu| {
        let objects = [&[own(cpu), low.clone(), priority("high", 9)][..], &nodes, &pods].concat();
        read(&objects)
    });
    let unknown = |before: &Manifests, after: &Manifests| {
        let with = |manifests: &Manifests, see: &mut dyn FnMut(Snapshot<'_>)| {
            let all: Vec<_> = manifests.snapshots().collect();
            let coming = all.iter().filter_map(|snapshot| snapshot.coming_pods(manifests.scheduling_objects()));
            let state = manifests.cluster_state().with_coming(coming);
            let low = all.iter().find(|snapshot| snapshot.daemonset().name == "low").unwrap();
            see(low.scheduling(&state));
        };
        let mut found = Vec::new();
        with(before, &mut |before| {
            with(after, &mut |after| {
                let diff = Snapshot::diff(Some(&before), &after);
                found = diff.unknown.iter().map(ToString::to_string).collect();
            });
        });
        found
    };
    let [small, medium, large] = &clusters;
    let lost = "whether its pod keeps its place on node n, which depends on the pods of DaemonSet prod/high";
    let late = "whether its pod is bound to node n in time, which depends on the pods of DaemonSet prod/high";
    assert_eq!(unknown(small, large), [late, lost]);
    assert_eq!(unknown(small, medium), [""; 0], "both fit");
    assert_eq!(unknown(large, large), [""; 0], "not because of a change");
}

#[test]
fn a_pod_that_surges_takes_the_place_of_others_before_the_old_one_leaves() {
    let low = [daemonset("low", "300m", none()), pod("low-n", "300m", Some("low"), on("n"))];
    let old = pod("high-n", "400m", Some("high"), json!({"nodeName": "n", "priority": 9}));
    let of = |high: Value| {
        let rest = [high, node("n", "1"), priority("high", 9), old.clone()];
        let objects = [&low[..], &rest].concat();
        forecasts(&objects)["low"].clone()
    };
    let high = |cpu: &str| daemonset("high", cpu, json!({"priorityClassName": "high"}));
    let surging = |cpu: &str| {
        let mut high = high(cpu);
        high["spec"]["updateStrategy"] = surging("high", none())["spec"]["updateStrategy"].clone();
        high
    };
    let lost = at_best("whether its pod keeps its place on node n, which depends on the pods of DaemonSet prod/high");
    assert_eq!((of(surging("400m")), of(surging("300m"))), (lost, sure(Outcome::Done)));
    assert_eq!(of(high("400m")), sure(Outcome::Done), "without a surge the old pod is gone before");
}

#[test]
fn a_daemonset_takes_no_place_on_nodes_to_which_it_does_not_come() {
    let low = [daemonset("low", "700m", none()), pod("low-n", "700m", Some("low"), on("n"))];
    let of = |node: &str| {
        let high = with_selector(daemonset("high", "700m", json!({"priorityClassName": "high"})), node);
        let rest = [high, named_node("m", "1"), named_node("n", "1"), priority("high", 9)];
        forecasts(&[&low[..], &rest].concat())["low"].1.iter().any(|fact| fact.contains("keeps its place"))
    };
    assert_eq!((of("n"), of("m")), (true, false));
}

#[test]
fn a_replaced_pod_leaves_before_the_new_one_takes_the_place_of_others() {
    let of = |cpu: &str, web: &str| {
        let high = daemonset("high", cpu, json!({"priorityClassName": "high"}));
        let old = pod("high-n", "400m", Some("high"), json!({"nodeName": "n", "priority": 9}));
        forecasts(&[high, old, node("n", "1"), priority("high", 9), pod("web", web, None, on("n"))])["high"].clone()
    };
    let victim = "when its pod starts on node n, as prod/web must leave before";
    assert_eq!(of("400m", "400m"), sure(Outcome::Done), "the old pod makes room enough");
    assert_eq!(of("700m", "400m"), (Outcome::Waiting, vec![victim.to_owned()]));
    assert_eq!(of("2", "400m").0, Outcome::Stuck);
}

#[test]
fn a_pod_of_an_older_template_that_waits_for_one_that_goes_is_not_stuck() {
    let mut own = daemonset("a", "100m", none());
    own["spec"]["updateStrategy"] = json!({"type": "OnDelete"});
    let of = |web: Value| {
        let mut waiting = pod("a-1", "600m", Some("a"), waits_for("n"));
        waiting["status"] = json!({"phase": "Pending"});
        forecasts(&[own.clone(), waiting, node("n", "1"), web])["a"].clone()
    };
    let web = pod("web", "600m", None, on("n"));
    let unknown = "when its pod fits on node n, which depends on prod/web, whose deletion has begun";
    assert_eq!(of(web.clone()).0, Outcome::Stuck);
    assert_eq!(of(going(web)), (Outcome::OnDelete, vec![unknown.to_owned()]));
}

#[test]
fn a_pod_that_waits_takes_places_on_one_node_and_only_if_it_fits_on_none() {
    let waiting = pod("web", "600m", None, json!({"priority": 9}));
    let own = |name: &str| pod(&format!("a-{name}"), "700m", Some("a"), on(name));
    let lost = |nodes: &[Value], pods: &[Value]| {
        let all = [&[daemonset("a", "700m", none()), waiting.clone()], nodes, pods].concat();
        forecasts(&all)["a"].1.iter().filter(|fact| fact.contains("keeps its place")).count()
    };
    let two = [named_node("m", "1"), named_node("n", "1")];
    assert_eq!(lost(&two, &[own("m"), own("n")]), 1);
    assert_eq!(lost(&two, &[own("m")]), 0, "it fits on the other node");
    // Nor does it come where an old pod leaves, if it is bound elsewhere before.
    let update = |others: &[Value]| {
        let all = [&[daemonset("a", "700m", only_on("m")), waiting.clone(), own("m")], others].concat();
        forecasts(&all)["a"].clone()
    };
    let low = json!({"nodeName": "n"});
    assert_eq!(update(&two), sure(Outcome::Done));
    let full = pod("full", "700m", None, low);
    assert_ne!(update(&[&two[..], &[full]].concat()), sure(Outcome::Done));
}

#[test]
fn the_nodes_where_others_take_the_place_do_not_count_as_available() {
    let mut low = daemonset("low", "600m", none());
    low["spec"]["updateStrategy"] = json!({"type": "OnDelete"});
    let objects = [
        daemonset("high", "700m", json!({"priorityClassName": "high"})),
        low,
        node("m", "1"),
        node("n", "1"),
        priority("high", 9),
        pod("low-n", "600m", Some("low"), on("n")),
        pod("low-m", "100m", Some("low"), on("m")),
    ];
    let manifests = read(&objects);
    let all: Vec<_> = manifests.snapshots().collect();
    let coming = all.iter().filter_map(|snapshot| snapshot.coming_pods(manifests.scheduling_objects()));
    let state = manifests.cluster_state().with_coming(coming);
    let low = all.iter().find(|snapshot| snapshot.daemonset().name == "low").unwrap();
    let forecast = low.scheduling(&state).forecast(&Assumptions::default());
    assert_eq!((forecast.desired, forecast.lowest_available), (2, 1));
}
