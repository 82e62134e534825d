//! What the module `scheduling` says of single pods, amounts and admission.

use daemonplan::{
    model::{Namespace, Node, Pod, PodSpec, ResourceList},
    scheduling::{Amounts, ClusterState, PodAdmission, SchedulingObjects, SchedulingVerdict},
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

fn read<T: DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

fn node(name: &str, cpu: &str) -> Node {
    read(json!({"metadata": {"name": name}, "status": {"allocatable": {"cpu": cpu, "pods": "10"}}}))
}

/// A pod that requests cpu, with further fields of its spec.
fn pod(name: &str, cpu: &str, fields: Value) -> Pod {
    let container = json!({"name": "main", "resources": {"requests": {"cpu": cpu}}});
    let mut spec = json!({"containers": [container]});
    spec.as_object_mut().unwrap().append(&mut fields.as_object().unwrap().clone());
    read(json!({"metadata": {"name": name, "namespace": "shop"}, "spec": spec}))
}

fn on(node: &str) -> Value {
    json!({"nodeName": node})
}

fn plain(name: &str, cpu: &str) -> Pod {
    pod(name, cpu, json!({}))
}

fn state<'a>(
    nodes: &'a [Node],
    pods: impl IntoIterator<Item = &'a Pod>,
    objects: &'a SchedulingObjects,
) -> ClusterState<'a> {
    ClusterState::new(nodes, pods, [], objects)
}

#[test]
fn a_state_knows_its_nodes_and_what_is_left_on_them() {
    let (objects, nodes, web) = (SchedulingObjects::default(), [node("a", "1")], pod("web", "300m", on("a")));
    let full = state(&nodes, [&web], &objects);
    assert!(full.knows_nodes() && full.has_node("a") && !full.has_node("b"));
    assert!(!state(&[], [], &objects).knows_nodes());
    let left = full.left_on("a").unwrap();
    assert_eq!((left.get("cpu").to_string(), left.get("pods").to_string()), ("700m".into(), "9".into()));
    assert_eq!(full.left_on("b"), None);
}

#[test]
fn tolerations_compare_numbers_only_if_that_is_switched_on() {
    let (objects, mut nodes) = (SchedulingObjects::default(), [node("a", "1")]);
    nodes[0].taints = read(json!([{"key": "sla", "value": "950", "effect": "NoSchedule"}]));
    let toleration = json!([{"key": "sla", "operator": "Gt", "value": "900", "effect": "NoSchedule"}]);
    let tolerant = pod("new", "100m", json!({"tolerations": toleration}));
    let state = state(&nodes, [], &objects);
    assert!(!state.feasibility(&tolerant).would_fit);
    assert!(state.toleration_comparison(true).feasibility(&tolerant).would_fit);
}

#[test]
fn the_only_node_that_will_do_is_named_though_it_was_kept_free_for_the_pod() {
    let (objects, nodes) = (SchedulingObjects::default(), [node("a", "1"), node("b", "100m")]);
    let mut waiting: Value = serde_json::to_value(plain("new", "500m")).unwrap();
    waiting["status"] = json!({"nominatedNodeName": "a"});
    let answer = state(&nodes, [], &objects).feasibility(&read(waiting));
    assert_eq!((answer.node.as_deref(), answer.verdict), (Some("a"), SchedulingVerdict::Fits));
}

#[test]
fn a_pod_is_asked_about_with_and_without_the_pods_that_leave() {
    let (objects, nodes) = (SchedulingObjects::default(), [node("a", "1")]);
    let (large, small) = (pod("large", "600m", on("a")), pod("small", "300m", on("a")));
    let state = state(&nodes, [&large, &small], &objects);
    let new = plain("new", "500m");
    let mut alike = state.pods_like(&new);
    let mut fits = |leave: &[&Pod]| alike.on_without("a", leave).would_fit;
    assert_eq!([fits(&[]), fits(&[&small]), fits(&[&large])], [false, false, true]);
    let tiny = plain("tiny", "100m");
    assert!(state.pods_like(&tiny).on_without("a", &[]).would_fit);
}

#[test]
fn a_pod_that_leaves_gives_back_what_was_assigned_to_it_when_it_was_resized() {
    let (objects, nodes) = (SchedulingObjects::default(), [node("a", "1")]);
    let first = pod("first", "300m", on("a"));
    let mut resized: Value = serde_json::to_value(pod("second", "300m", on("a"))).unwrap();
    let resources = json!({"requests": {"cpu": "600m"}});
    resized["status"] =
        json!({"containerStatuses": [{"name": "main", "allocatedResources": {"cpu": "600m"}, "resources": resources}]});
    let mut resized: Pod = read(resized);
    resized.spec.clone_from(&first.spec);
    assert!(resized.scheduling.is_some(), "the status says more than the spec");
    let state = state(&nodes, [&first, &resized], &objects);
    let new = plain("new", "600m");
    let mut alike = state.pods_like(&new);
    let mut fits = |leave: &[&Pod]| alike.refusal_after("a", leave).is_none();
    assert_eq!([fits(&[&first]), fits(&[&resized]), fits(&[&first])], [false, true, false]);
}

#[test]
fn amounts_are_counted_and_written_in_the_units_of_their_resource() {
    let quantity = |resource, amount| Amounts::quantity(resource, amount).to_string();
    assert_eq!(quantity("cpu", 1500), "1500m");
    assert_eq!(quantity("memory", 1 << 30), "1Gi");
    assert_eq!(quantity("ephemeral-storage", 1 << 20), "1Mi");
    assert_eq!(quantity("hugepages-2Mi", 4 << 20), "4Mi");
    assert_eq!(quantity("example.com/gpu", 1024), "1024");
    let one = |resource| (resource, 1_i64.into());
    let counted = ["example.com/gpu", "hugepages-2Mi", "attachable-volumes-aws-ebs"];
    let ignored = ["pods", "requests.cpu/x", "services"];
    let amounts = Amounts::from(&ResourceList::from_iter(counted.into_iter().chain(ignored).map(one)));
    let mut known: Vec<_> = amounts.iter().map(|(resource, _)| resource).collect();
    known.sort_unstable();
    assert_eq!(known, ["attachable-volumes-aws-ebs", "example.com/gpu", "hugepages-2Mi"]);
}

/// Objects of admission in the namespace `shop`.
fn objects(all: impl IntoIterator<Item = Value>) -> SchedulingObjects {
    let mut objects = SchedulingObjects::default();
    for mut object in all {
        let kind = object["kind"].take();
        match kind.as_str() {
            Some("ResourceQuota") => objects.add(read::<daemonplan::model::ResourceQuota>(object)),
            Some("LimitRange") => objects.add(read::<daemonplan::model::LimitRange>(object)),
            Some("PriorityClass") => objects.add(read::<daemonplan::model::PriorityClass>(object)),
            Some("RuntimeClass") => objects.add(read::<daemonplan::model::RuntimeClass>(object)),
            other => panic!("{other:?}"),
        };
    }
    objects
}

fn spec(value: Value) -> PodSpec {
    let template = read(json!({"spec": value}));
    PodSpec::of(&template).unwrap()
}

#[test]
fn only_a_quota_that_is_used_up_waits_for_room() {
    let quota = |hard: Value, used: Value| {
        let metadata = json!({"name": "few", "namespace": "shop"});
        json!({"kind": "ResourceQuota", "metadata": metadata, "spec": {"hard": hard}, "status": {"hard": hard, "used": used}})
    };
    let refusal = |hard, used| {
        let (namespace, objects) = (Namespace::new("shop"), objects([quota(hard, used)]));
        let without_requests = spec(json!({"containers": [{"name": "main"}]}));
        PodAdmission::new(&namespace, &objects).admit(&without_requests).refusal.unwrap()
    };
    assert!(refusal(json!({"pods": "1"}), json!({"pods": "1"})).is_of_room());
    let unspecified = refusal(json!({"requests.cpu": "1"}), json!({"requests.cpu": "0"}));
    assert!(unspecified.to_string().contains("must specify requests.cpu"), "{unspecified}");
    assert!(!unspecified.is_of_room(), "no pod that goes helps");
}

#[test]
fn each_change_by_admission_is_named() {
    let named = |name: &str| json!({"name": name, "namespace": "shop"});
    let objects = objects([
        json!({"kind": "LimitRange", "metadata": named("sizes"), "spec": {"limits": [{"type": "Container", "defaultRequest": {"cpu": "50m"}}]}}),
        json!({"kind": "PriorityClass", "metadata": {"name": "high"}, "value": 1000}),
        json!({
            "kind": "RuntimeClass", "metadata": {"name": "kata"}, "handler": "kata", "overhead": {"podFixed": {"cpu": "20m"}},
            "scheduling": {"nodeSelector": {"kata": "yes"}, "tolerations": [{"key": "kata", "operator": "Exists"}]},
        }),
    ]);
    let given = spec(json!({
        "containers": [{"name": "main"}], "priorityClassName": "high", "runtimeClassName": "kata",
    }));
    let admitted = PodAdmission::new(&Namespace::new("shop"), &objects).admit(&given);
    let mut changes: Vec<_> = admitted.changes.iter().map(ToString::to_string).collect();
    changes.sort_unstable();
    assert_eq!(
        changes,
        [
            "LimitRanger sets cpu request for container main",
            "Priority sets the priority 1000",
            "RuntimeClass adds a toleration",
            "RuntimeClass adds the node selector kata=yes",
            "RuntimeClass adds the overhead cpu 20m",
        ]
    );
}
