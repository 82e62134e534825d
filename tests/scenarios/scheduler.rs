//! What the module `scheduling` says of single pods, amounts and admission.

use daemonplan::{
    manifest::Manifests,
    model::{Namespace, Node, Pod, PodSpec, ResourceList},
    scheduling::{Agreement, Amounts, ClusterState, Plugin, PodAdmission, SchedulingObjects, SchedulingVerdict},
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
    let amounts = Amounts::from(&counted.into_iter().chain(ignored).map(one).collect::<ResourceList>());
    let mut known: Vec<_> = amounts.iter().map(|(resource, _)| resource).collect();
    known.sort_unstable();
    assert_eq!(known, ["attachable-volumes-aws-ebs", "example.com/gpu", "hugepages-2Mi"]);
}

/// Reads objects of admission.
fn objects(all: impl IntoIterator<Item = Value>) -> SchedulingObjects {
    let mut manifests = Manifests::default();
    for object in all {
        manifests.read("objects.json", object.to_string().as_bytes()).unwrap();
    }
    assert!(manifests.problems().is_empty() && manifests.skipped().is_empty());
    manifests.scheduling_objects().clone()
}

fn spec(value: Value) -> PodSpec {
    let template = read(json!({"spec": value}));
    PodSpec::of(&template).unwrap()
}

#[test]
fn only_a_quota_that_is_used_up_waits_for_room() {
    let quota = |hard: Value, used: Value| {
        let metadata = json!({"name": "few", "namespace": "shop"});
        json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": metadata, "spec": {"hard": hard}, "status": {"hard": hard, "used": used}})
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
        json!({"apiVersion": "v1", "kind": "LimitRange", "metadata": named("sizes"), "spec": {"limits": [{"type": "Container", "defaultRequest": {"cpu": "50m"}}]}}),
        json!({"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": "high"}, "value": 1000}),
        json!({
            "apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": {"name": "kata"}, "handler": "kata", "overhead": {"podFixed": {"cpu": "20m"}},
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

/// A required node affinity whose terms each name nodes, with `In` for each list.
fn naming(terms: &[&[&str]]) -> Value {
    let field = |name: &&str| json!({"key": "metadata.name", "operator": "In", "values": [name]});
    let term = |names: &&[&str]| json!({"matchFields": names.iter().map(field).collect::<Vec<_>>()});
    let terms: Vec<_> = terms.iter().map(term).collect();
    json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}}})
}

#[test]
fn nodes_that_no_term_names_are_not_looked_at() {
    let (objects, nodes) = (SchedulingObjects::default(), ["a", "b", "c"].map(|name| node(name, "1")));
    let state = state(&nodes, [], &objects);
    let message = |terms: &[&[&str]]| state.feasibility(&pod("large", "2", naming(terms))).message.unwrap();
    let both = message(&[&["a"], &["b"]]);
    assert!(
        both.starts_with("0/3 nodes are available: 1 node(s) didn't satisfy plugin(s) [NodeAffinity], 2 Insuff"),
        "{both}"
    );
    let one = message(&[&["a", "b"], &["c", "c"]]);
    assert!(
        one.starts_with("0/3 nodes are available: 1 Insufficient cpu, 2 node(s) didn't satisfy plugin(s) [Nod"),
        "{one}"
    );
    let others = json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
        {"matchFields": [{"key": "metadata.name", "operator": "NotIn", "values": ["a"]}]},
    ]}}}});
    let all = state.feasibility(&pod("large", "2", others)).message.unwrap();
    assert!(
        all.starts_with("0/3 nodes are available: 1 node(s) didn't match Pod's node affinity/selector, 2 Insuff"),
        "{all}"
    );
}

#[test]
fn terms_that_name_different_nodes_at_once_refuse_all_nodes() {
    let (objects, nodes) = (SchedulingObjects::default(), [node("a", "1"), node("b", "1")]);
    let answer = state(&nodes, [], &objects).feasibility(&pod("new", "100m", naming(&[&["a", "b"]])));
    assert_eq!(answer.message.unwrap(), "0/2 nodes are available: pod affinity terms conflict. not found");
    assert_eq!(answer.blockers[0].plugin, Plugin::NodeAffinity);
    assert!(!answer.would_fit);
}

#[test]
fn an_answer_after_pods_have_left_says_nothing_of_what_they_held() {
    let (objects, nodes) = (SchedulingObjects::default(), [node("a", "1")]);
    let web = pod("web", "800m", on("a"));
    let state = state(&nodes, [&web], &objects);
    let after = |fields: Value| {
        let new = pod("new", "500m", fields);
        state.pods_like(&new).on_without("a", &[&web])
    };
    let fits = after(json!({}));
    assert_eq!((fits.verdict, fits.would_fit, fits.blockers.len()), (SchedulingVerdict::Fits, true, 0));
    assert_eq!((fits.message, fits.preemption), (None, None));
    let other = after(json!({"schedulerName": "batch"}));
    assert_eq!((other.verdict, other.would_fit), (SchedulingVerdict::OtherScheduler, true));
}

#[test]
fn an_answer_is_compared_with_what_the_scheduler_said() {
    let (objects, nodes) =
        (SchedulingObjects::default(), [node("a", "1"), read(json!({"metadata": {"name": "bare"}}))]);
    let low = pod("low", "800m", on("a"));
    let state = state(&nodes, [&low], &objects);
    let agreement = |name: &str, cpu: &str, mut fields: Value, message: &str| {
        fields["affinity"] = naming(&[&[name]])["affinity"].take();
        state.feasibility(&pod("new", cpu, fields)).agreement(message)
    };
    let few = "0/2 nodes are available: 1 Insufficient cpu, 1 other.";
    assert_eq!(agreement("a", "2", json!({}), few), Agreement::Same, "in other words");
    assert_eq!(agreement("a", "2", json!({}), "0/1 nodes are available: 1 Too many pods."), Agreement::Differs);
    assert_eq!(agreement("a", "100m", json!({}), few), Agreement::FitsNow);
    assert_eq!(agreement("bare", "100m", json!({}), few), Agreement::NotKnown);
    let gates = json!({"schedulingGates": [{"name": "example.com/wait"}]});
    assert_eq!(
        agreement("a", "100m", gates, "Scheduling is blocked due to non-empty scheduling gates"),
        Agreement::Same
    );
    let none_found =
        format!("{few} preemption: 0/2 nodes are available: No preemption victims found for incoming pod.");
    assert_eq!(agreement("a", "500m", json!({"priority": 10}), few), Agreement::Same);
    assert_eq!(
        agreement("a", "500m", json!({"priority": 10}), &none_found),
        Agreement::Differs,
        "it would preempt now"
    );
    assert_eq!(agreement("a", "2", json!({"priority": 10}), &none_found), Agreement::Same);
}

#[test]
fn what_is_not_known_refuses_nothing_and_is_named() {
    let nodes = [node("a", "1")];
    let mut own = pod("own", "100m", on("a"));
    let mut strange = pod("strange", "100m", on("a"));
    (own.spec, strange.spec) = (None, None);
    let mut objects = SchedulingObjects::default();
    let unknown = |objects: &SchedulingObjects, pods: &[&Pod], asked: &Pod| {
        let answer = state(&nodes, pods.iter().copied(), objects).feasibility(asked);
        (answer.would_fit, answer.unknown.iter().map(ToString::to_string).collect::<Vec<_>>())
    };
    assert_eq!(unknown(&objects, &[&own], &own), (true, vec!["what the pod requests".into()]));
    let both = vec!["what the pod requests".into(), "what a pod on node a requests".into()];
    assert_eq!(unknown(&objects, &[&own, &strange], &own), (true, both));
    let claiming = pod("claiming", "100m", json!({"volumes": [{"persistentVolumeClaim": {"claimName": "data"}}]}));
    let storage = vec!["the volumes, claims and classes of the cluster".into()];
    assert_eq!(unknown(&objects, &[], &claiming), (true, storage));
    assert_eq!(unknown(&objects, &[], &plain("plain", "100m")), (true, vec![]));
    objects.is_complete = true;
    assert_eq!(unknown(&objects, &[], &claiming), (false, vec![]), "there is no such claim");
}

#[test]
fn an_answer_says_in_a_line_what_becomes_of_the_pod() {
    let (objects, nodes) = (SchedulingObjects::default(), [node("a", "1"), node("b", "1")]);
    let full = state(&nodes, [], &objects);
    let said = |cpu: &str, fields: Value| full.feasibility(&pod("new", cpu, fields)).to_string();
    assert_eq!(said("100m", json!({})), "fits");
    assert_eq!(said("100m", naming(&[&["a"]])), "fits on a");
    assert_eq!(said("100m", json!({"schedulerName": "batch"})), "left to another scheduler");
    assert!(said("2", json!({})).starts_with("0/2 nodes are available: 2 Insufficient cpu."));
    let gated = said("100m", json!({"schedulingGates": [{"name": "example.com/wait"}]}));
    assert!(gated.contains("waiting for scheduling gates: [example.com/wait]"), "{gated}");
    assert_eq!(
        state(&[], [], &objects).feasibility(&plain("new", "1")).to_string(),
        "no nodes available to schedule pods"
    );
}
