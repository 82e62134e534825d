//! Pods that come to nodes beside those of a DaemonSet: forecasts and explanations do not know which come first.

mod over_nodes;
mod preemption;
mod quotas;

use std::collections::BTreeMap;

use daemonplan::{
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
        at_best("whether its pod finds room on node n, which depends on the pods of DaemonSet prod/b")
    );
    assert_eq!(
        forecasts["b"],
        at_best("whether its pod finds room on node n, which depends on the pods of DaemonSet prod/a")
    );
}

#[test]
fn two_new_daemonsets_with_room_for_both_are_done() {
    let forecasts = forecasts(&[daemonset("a", "600m", none()), daemonset("b", "400m", none()), node("n", "1")]);
    assert_eq!((&forecasts["a"], &forecasts["b"]), (&sure(Outcome::Done), &sure(Outcome::Done)));
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
    let unknown = "whether its pod finds room on node n, which depends on the pods of DaemonSet prod/b and the pods of DaemonSet prod/c";
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
        at_best("whether its pod finds room on node n, which depends on the pods of DaemonSet prod/b")
    );
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
        ["whether its pod finds room on node n, which depends on the pods of DaemonSet prod/b"]
    );
}

#[test]
fn a_pod_that_waits_can_take_the_room_of_an_old_pod() {
    let old = pod("a-1", "900m", Some("a"), on("n"));
    let of = |waiting: Value| {
        forecasts(&[daemonset("a", "900m", none()), old.clone(), node("n", "1"), waiting])["a"].clone()
    };
    let unknown = at_best("whether its pod finds room on node n, which depends on prod/web, which waits");
    assert_eq!(of(pod("web", "500m", None, none())), unknown);
    assert_eq!(of(pod("web", "500m", None, waits_for("n"))), unknown);
    assert_eq!(of(pod("web", "500m", None, json!({"schedulerName": "other"}))), unknown);
    // For other nodes, with too little room, or not ready to be bound.
    assert_eq!(of(pod("web", "500m", None, waits_for("m"))), sure(Outcome::Done));
    assert_eq!(of(pod("web", "2", None, none())), sure(Outcome::Done));
    assert_eq!(of(pod("web", "100m", None, none())), sure(Outcome::Done));
    assert_eq!(of(pod("web", "500m", None, json!({"schedulingGates": [{"name": "x"}]}))), sure(Outcome::Done));
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

/// A DaemonSet that surges, and requests cpu.
fn surge(name: &str, cpu: &str) -> Value {
    let mut own = surging(name, none());
    own["spec"]["template"]["spec"]["containers"][0]["resources"]["requests"]["cpu"] = json!(cpu);
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
    let unknown =
        "whether prod/a-1 would be bound now: the scheduler said: 0/1 nodes are available: 1 Insufficient cpu.";
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
fn two_surges_at_once_with_room_for_one_take_longer() {
    let old = ["a", "b"].map(|name| pod(&format!("{name}-1"), "10m", Some(name), on("n")));
    let of = |web: &str, b: Value| {
        let two = [surging("a", none()), b];
        let rest = [pod("web", web, None, on("n")), node("n", "1")];
        forecasts(&[&two[..], &old[..], &rest].concat())["a"].clone()
    };
    let unknown = waits("when its pod fits on node n, which depends on the pods of DaemonSet prod/b");
    assert_eq!(of("970m", surging("b", none())), unknown);
    assert_eq!(of("960m", surging("b", none())), sure(Outcome::Done), "there is room for both");
    assert_eq!(of("970m", daemonset("b", "10m", none())), sure(Outcome::Done), "the other's old pod leaves first");
    assert_eq!(of("980m", surging("b", none())).0, Outcome::Stuck);
}

#[test]
fn several_surges_take_longer_together_but_not_for_pods_that_leave_first() {
    let old = |name: &str, cpu: &str| pod(&format!("{name}-1"), cpu, Some(name), on("n"));
    let of = |web: &str, c: Value| {
        let new = [daemonset("a", "100m", none()), surge("b", "200m"), c];
        let pods = [old("a", "100m"), old("b", "200m"), old("c", "200m"), pod("web", web, None, on("n"))];
        forecasts(&[&new[..], &pods, &[node("n", "1")]].concat())["a"].clone()
    };
    let both =
        "when its pod fits on node n, which depends on the pods of DaemonSet prod/b and the pods of DaemonSet prod/c";
    assert_eq!(of("200m", surge("c", "200m")), waits(both));
    assert_eq!(of("100m", surge("c", "200m")), sure(Outcome::Done));
    assert_eq!(of("300m", daemonset("c", "200m", none())), sure(Outcome::Done), "its old pod leaves first");
}

#[test]
fn a_pod_of_a_job_that_is_in_the_way_ends() {
    let of = |owner: &str| {
        let mut batch = pod("batch", "900m", None, on("n"));
        batch["metadata"]["ownerReferences"] =
            json!([{"apiVersion": "x/v1", "kind": owner, "name": "batch", "uid": "b", "controller": true}]);
        forecasts(&[daemonset("a", "500m", none()), node("n", "1"), batch])["a"].clone()
    };
    assert_eq!(of("Job"), waits("when its pod fits on node n, which depends on prod/batch, whose Job ends"));
    assert_eq!(of("ReplicaSet").0, Outcome::Stuck);
}

#[test]
fn a_surge_that_cannot_begin_frees_nothing() {
    surges_that_cannot_begin(&none());
    // The same if the pods of others count on other nodes, too.
    surges_that_cannot_begin(&affinity("podAntiAffinity", "none", "zone"));
}

fn surges_that_cannot_begin(rules: &Value) {
    let old = pod("b-1", "800m", Some("b"), on("n"));
    let own = daemonset("a", "500m", rules.clone());
    let of = |b: Value, old: Value| forecasts(&[own.clone(), b, node("n", "1"), old])["a"].clone();
    let surge = |cpu: &str| surge("b", cpu);
    let unknown = waits("when its pod fits on node n, which depends on the pods of DaemonSet prod/b");
    assert_eq!(of(surge("300m"), old.clone()).0, Outcome::Stuck, "its new pod fits only once the old one is gone");
    assert_eq!(
        of(daemonset("b", "2", none()), old.clone()),
        unknown,
        "the old pod leaves, and the new one never comes"
    );
    assert_eq!(of(with_selector(surge("300m"), "elsewhere"), old.clone()), unknown);
    let mut unready = old.clone();
    unready["status"] = json!({"phase": "Running"});
    assert_eq!(of(surge("300m"), unready), unknown, "it does not wait for the new pod");
    assert_eq!(of(surge("300m"), going(old)), unknown);
}
