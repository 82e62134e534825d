//! Pods that count for each other: affinity, anti-affinity and spread.

use daemonplan::{
    model::{Node, Pod, PodScheduling},
    scheduling::{SchedulingObjects, UnknownFact},
};
use serde_json::{Value, json};

use super::{node, objects, on, pod, state, volumes::bound};

/// A node in a zone, with its name as a label, too.
fn zoned(name: &str, zone: &str) -> Node {
    let mut node = node(name, "1");
    node.labels = [("zone", zone), ("host", name)].into_iter().collect();
    node
}

/// A pod of the app `web` with these fields of its spec.
fn web(name: &str, fields: Value) -> Pod {
    let mut pod = pod(name, "100m", fields);
    pod.labels = [("app", "web")].into_iter().collect();
    pod
}

/// Spreads pods over the values of a label, whatever nodes the pod allows.
fn spread(key: &str, selector: Value) -> Value {
    json!({"topologyKey": key, "maxSkew": 1, "whenUnsatisfiable": "DoNotSchedule", "labelSelector": selector,
        "nodeAffinityPolicy": "Ignore"})
}

fn is_web() -> Value {
    json!({"matchLabels": {"app": "web"}})
}

#[test]
fn only_nodes_that_a_pod_may_use_count_for_its_spread() {
    let labelled = |name: &str, zone: &str, disk: &str| {
        let mut node = node(name, "1");
        node.labels = [("zone", zone), ("disk", disk)].into_iter().collect();
        node
    };
    let nodes = [labelled("a", "x", "ssd"), labelled("b", "y", "hdd")];
    let one = json!({"topologyKey": "zone", "maxSkew": 1, "whenUnsatisfiable": "DoNotSchedule", "labelSelector": {}});
    let spread = |fields: Value| {
        let mut one = one.clone();
        one["labelSelector"] = json!({"matchLabels": {"app": "web"}});
        let mut fields = fields;
        fields["topologySpreadConstraints"] = json!([one]);
        let mut pod = pod("new", "100m", fields);
        pod.labels = [("app", "web")].into_iter().collect();
        pod
    };
    let mut there = pod("there", "100m", on("a"));
    there.labels = [("app", "web")].into_iter().collect();
    let (objects, terms) = (
        SchedulingObjects::default(),
        json!([{"matchExpressions": [
        {"key": "disk", "operator": "In", "values": ["ssd"]}]}]),
    );
    let state = state(&nodes, [&there], &objects);
    let fits = |fields: Value| state.feasibility(&spread(fields)).node.map(|node| node.to_string());
    assert_eq!(fits(json!({})), Some("b".into()), "the other zone has fewer pods");
    assert_eq!(fits(json!({"nodeSelector": {"disk": "ssd"}})), Some("a".into()));
    let affinity =
        json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}});
    assert_eq!(fits(json!({"affinity": affinity})), Some("a".into()));
}

#[test]
fn pods_that_exclude_each_other_over_nodes_do_not_all_fit_for_sure() {
    let claim = json!({"kind": "PersistentVolumeClaim", "metadata": {"name": "data", "namespace": "shop",
        "annotations": {"pv.kubernetes.io/bind-completed": "yes"}},
        "spec": {"volumeName": "disk", "accessModes": ["ReadWriteOncePod"]}, "status": {"phase": "Bound"}});
    let volume = json!({"kind": "PersistentVolume", "metadata": {"name": "disk"}, "status": {"phase": "Bound"}});
    let class = json!({"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": "fast"}});
    let (objects, mut nodes) = (objects([claim, volume, class]), [node("a", "1"), node("b", "1")]);
    for node in &mut nodes {
        node.labels = [("zone", "x"), ("kubernetes.io/hostname", &*node.name)].into_iter().collect();
    }
    let state = state(&nodes, [], &objects);
    let is_sure = |fields: Value| {
        let mut new = pod("new", "100m", fields);
        new.labels = [("app", "agent")].into_iter().collect();
        let mut alike = state.pods_like(&new);
        let answer = alike.on("a");
        assert!(answer.would_fit, "{answer}");
        assert_eq!(answer.unknown, alike.unknown_on("a"));
        !answer.unknown.contains(&UnknownFact::OwnPods)
    };
    let own = json!({"matchLabels": {"app": "agent"}});
    let anti = |key: &str, selector: &Value| {
        let terms = json!([{"topologyKey": key, "labelSelector": selector}]);
        json!({"affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}})
    };
    assert!(is_sure(json!({})));
    assert!(is_sure(anti("kubernetes.io/hostname", &own)), "each is on a node of its own");
    assert!(!is_sure(anti("zone", &own)));
    assert!(is_sure(anti("zone", &json!({"matchLabels": {"app": "web"}}))));
    let spread = |policy: &str, selector: &Value| {
        let constraint = json!({"topologyKey": "zone", "maxSkew": 1, "whenUnsatisfiable": "DoNotSchedule",
            "labelSelector": selector, "nodeAffinityPolicy": policy});
        json!({"topologySpreadConstraints": [constraint]})
    };
    assert!(is_sure(spread("Honor", &own)), "only the node of the pod counts");
    assert!(!is_sure(spread("Ignore", &own)));
    assert!(is_sure(spread("Ignore", &json!({"matchLabels": {"app": "web"}}))));
    assert!(!is_sure(json!({"volumes": [{"persistentVolumeClaim": {"claimName": "data"}}]})));
}

#[test]
fn the_pod_that_is_named_is_near_and_meets_the_rule() {
    let nodes = [zoned("a", "x"), zoned("b", "x"), zoned("c", "y")];
    let far = web("a-far", on("c"));
    let (near, other) = (web("c-near", on("b")), pod("b-other", "1m", on("b")));
    let objects = SchedulingObjects::default();
    let state = state(&nodes, [&far, &near, &other], &objects);
    let terms = json!([{"topologyKey": "zone", "labelSelector": is_web()}]);
    let anti = json!({"affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}});
    let new = pod("new", "1m", anti);
    let blockers = state.blockers(&new, "a");
    let said = "shop/c-near is on a node with the same zone, which the pod's anti-affinity excludes";
    assert_eq!(blockers[0].causes[0].explain(), said);
}

#[test]
fn the_pod_that_is_named_excludes_others_by_the_label_that_decides() {
    let nodes = [zoned("a", "x"), zoned("b", "x")];
    let away = |name: &str, key: &str| {
        let terms = json!([{"topologyKey": key, "labelSelector": is_web()}]);
        let anti = json!({"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}});
        pod(name, "1m", json!({"nodeName": "b", "affinity": anti}))
    };
    let (by_host, by_zone) = (away("a-by-host", "host"), away("b-by-zone", "zone"));
    let objects = SchedulingObjects::default();
    let state = state(&nodes, [&by_host, &by_zone], &objects);
    let said = "shop/b-by-zone is on a node with the same zone, and its anti-affinity excludes this pod";
    assert_eq!(state.blockers(&web("new", json!({})), "a")[0].causes[0].explain(), said);
}

#[test]
fn only_live_pods_that_leave_level_the_spread() {
    let nodes = [zoned("a", "x"), zoned("b", "y")];
    let there = web("there", on("a"));
    let mut going = there.clone();
    going.deleted = Some("2026-01-02T03:04:05Z".parse().unwrap());
    let two = [there.clone(), web("second", on("a"))];
    let objects = SchedulingObjects::default();
    let fits = |pods: &[Pod], selector: Value, leave: &[&Pod]| {
        let state = state(&nodes, pods, &objects);
        let new = web("new", json!({"topologySpreadConstraints": [spread("zone", selector)]}));
        state.pods_like(&new).refusal_after("a", leave).is_none()
    };
    assert!(!fits(&two[..1], is_web(), &[]));
    assert!(fits(&two[..1], is_web(), &[&two[0]]), "then both zones are empty");
    assert!(!fits(&two, is_web(), &[&two[0]]), "one is still there");
    let with_going = [going.clone(), two[1].clone()];
    assert!(!fits(&with_going, is_web(), &[&with_going[0]]), "it did not count before it left either");
    assert!(fits(&two, json!({}), &[]), "an empty selector selects none");
    assert!(fits(&two, json!({}), &[&two[0]]));
}

#[test]
fn nodes_without_the_labels_of_all_constraints_do_not_count() {
    let mut unlabelled = zoned("b", "y");
    unlabelled.labels = [("zone", "y")].into_iter().collect();
    let nodes = [zoned("a", "x"), unlabelled];
    let there = web("there", on("a"));
    let objects = SchedulingObjects::default();
    let state = state(&nodes, [&there], &objects);
    let fits = |constraints: Value| {
        let new = web("new", json!({"topologySpreadConstraints": constraints}));
        state.pods_like(&new).on("a").would_fit
    };
    assert!(!fits(json!([spread("zone", is_web())])), "the other zone has none");
    let host = spread("host", json!({"matchLabels": {"app": "missing"}}));
    assert!(fits(json!([spread("zone", is_web()), host])), "the other zone does not count");
}

#[test]
fn pods_on_other_nodes_that_exclude_a_pod_are_named_in_remedies() {
    let nodes = [zoned("a", "x"), zoned("b", "x"), zoned("c", "x"), zoned("d", "x")];
    let objects = objects(bound("data", "ReadWriteOncePod"));
    let told = |pods: &[Pod], fields: Value| {
        let state = state(&nodes, pods, &objects);
        let remedies = state.pods_like(&web("new", fields)).remedies("a", &[]);
        remedies.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let terms = json!([{"topologyKey": "zone", "labelSelector": is_web()}]);
    let anti = json!({"affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}});
    let there = |name: &str, node: &str| web(name, on(node));
    let one = [there("one", "b")];
    assert_eq!(told(&one, anti.clone()), ["fits if shop/one leaves b"]);
    let two = [there("one", "b"), there("two", "a")];
    assert_eq!(told(&two, anti.clone()), ["fits if shop/two leaves, and shop/one leaves b"]);
    let elsewhere = [there("one", "b"), there("two", "c")];
    assert_eq!(told(&elsewhere, anti.clone()), ["fits if shop/one leaves b, and shop/two leaves c"]);
    let four = [there("one", "b"), there("two", "a"), there("three", "c"), there("four", "d")];
    assert_eq!(told(&four, anti.clone()), [""; 0], "too many");
    let excluding = web("one", json!({"nodeName": "b", "affinity": anti["affinity"]}));
    assert_eq!(told(&[excluding], json!({})), ["fits if shop/one leaves b"]);
    let claim = json!({"volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]});
    let mut user = claim.clone();
    user["nodeName"] = json!("b");
    let mut user = web("one", user);
    assert_eq!(told(&[user.clone()], claim.clone()), ["fits if shop/one leaves b"]);
    user.deleted = Some("2026-01-02T03:04:05Z".parse().unwrap());
    assert_eq!(told(&[user], claim), ["fits if shop/one is gone, whose deletion has begun"]);
}

#[test]
fn without_a_pod_that_excludes_others_the_plugin_is_left_out() {
    // Then the pods for which the node is kept free are not asked about, as in a cycle of the scheduler.
    let excluding = |spec: Value| {
        let terms = json!([{"topologyKey": "host", "labelSelector": is_web()}]);
        let anti = json!({"affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}});
        let mut all = anti;
        all.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        pod("excluding", "1m", all)
    };
    let (there, mut expected) = (excluding(on("a")), excluding(json!({})));
    let mut status = PodScheduling::default();
    status.nominated_node = "a".into();
    (expected.name, expected.scheduling) = ("expected".into(), Some(Box::new(status)));
    let (nodes, objects) = ([zoned("a", "x")], SchedulingObjects::default());
    let new = web("new", json!({}));
    let fits = |pods: &[&Pod]| state(&nodes, pods.iter().copied(), &objects).feasibility(&new).would_fit;
    assert_eq!((fits(&[&there, &expected]), fits(&[&expected])), (false, true));
    let remedies = state(&nodes, [&there, &expected], &objects).pods_like(&new).remedies("a", &[]);
    assert_eq!(remedies[0].to_string(), "fits if shop/excluding leaves");
}
