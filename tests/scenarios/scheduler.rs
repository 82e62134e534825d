//! What the module `scheduling` says of single pods and amounts.

mod admission;
mod neighbours;
mod preemption;
mod volumes;

use daemonplan::{
    Cluster, Key, Settings,
    explain::SchedulingExplanation,
    manifest::Manifests,
    model::{Node, Pod, PodNode, PodPhase, PodScheduling, ResourceList},
    scheduling::{Agreement, Amounts, Cause, ClusterState, Plugin, SchedulingObjects, SchedulingVerdict, UnknownFact},
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
    let fits = [&[][..], &[&small], &[&large]].map(|leave| alike.on_without("a", leave).would_fit);
    assert_eq!(fits, [false, false, true]);
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
    let mut unknown = pod("new", "2", json!({}));
    (unknown.spec, unknown.node) = (None, PodNode::Intended("gone".into()));
    assert_eq!(state.feasibility(&unknown).agreement(few), Agreement::NotKnown, "what the pod requires decides");
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
    let with_devices = pod("with-devices", "100m", json!({"resourceClaims": [{"name": "gpu"}]}));
    let devices = vec!["whether the devices of its resource claims can be allocated".into()];
    assert_eq!(unknown(&objects, &[], &with_devices), (true, devices));
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

#[test]
fn storage_is_known_by_any_of_its_kinds_and_known_well_with_claims_volumes_and_classes() {
    let claim = json!({"kind": "PersistentVolumeClaim", "metadata": {"name": "data", "namespace": "shop"},
        "spec": {"volumeName": "disk"}, "status": {"phase": "Bound"}});
    let volume = json!({"kind": "PersistentVolume", "metadata": {"name": "disk"}});
    let class = json!({"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": "fast"}});
    let driver =
        json!({"apiVersion": "storage.k8s.io/v1", "kind": "CSIDriver", "metadata": {"name": "csi.example.com"}});
    let on_node = json!({"apiVersion": "storage.k8s.io/v1", "kind": "CSINode", "metadata": {"name": "a"}, "spec": {"drivers": []}});
    let nodes = [node("a", "1")];
    let claiming = pod("claiming", "100m", json!({"volumes": [{"persistentVolumeClaim": {"claimName": "data"}}]}));
    let is_sure = |known: &[&Value]| {
        let objects = objects(known.iter().copied().cloned());
        assert_eq!(objects.knows_storage(), !known.is_empty());
        !state(&nodes, [], &objects).feasibility(&claiming).unknown.contains(&UnknownFact::Storage)
    };
    assert!(!is_sure(&[]));
    for one in [&claim, &volume, &class, &driver, &on_node] {
        assert!(!is_sure(&[one]), "{one}");
    }
    for two in [[&claim, &volume], [&claim, &class], [&volume, &class]] {
        assert!(!is_sure(&two), "{two:?}");
    }
    assert!(is_sure(&[&claim, &volume, &class]));
}

#[test]
fn objects_of_a_change_replace_those_of_their_names() {
    let class = |value: i32| {
        let class = json!({"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": "high"}, "value": value});
        let mut manifests = Manifests::default();
        manifests.read("class.json", class.to_string().as_bytes()).unwrap();
        manifests
    };
    let changed = class(10).with(class(20));
    assert_eq!(changed.scheduling_objects().priority_classes["high"].value, 20);
}

#[test]
fn the_node_selector_of_projects_is_that_of_the_scheduler_named_cluster() {
    let config = |name: &str, selector: &str| {
        let spec = json!({"defaultNodeSelector": selector});
        objects([
            json!({"apiVersion": "config.openshift.io/v1", "kind": "Scheduler", "metadata": {"name": name}, "spec": spec}),
        ])
    };
    let selector =
        |objects: SchedulingObjects| objects.project_node_selector().map(|own| own.map(|own| own.to_string()));
    assert_eq!(selector(config("cluster", "role=worker")), Ok(Some("role=worker".into())));
    assert_eq!(selector(config("cluster", "")), Ok(None));
    assert_eq!(selector(config("other", "role=worker")), Ok(None));
    assert!(selector(config("cluster", "role in (")).is_err());
}

#[test]
fn the_latest_event_about_a_pod_comes_first_and_those_about_others_are_left_out() {
    let event = |name: &str, kind: &str, about: &str, uid: &str, minute: u32| {
        let involved = json!({"kind": kind, "name": about, "namespace": "shop", "uid": uid});
        json!({"kind": "Event", "metadata": {"name": name, "namespace": "shop"}, "involvedObject": involved,
            "reason": name, "lastTimestamp": format!("2026-01-02T03:{minute:02}:05Z")})
    };
    let objects = objects([
        event("Earlier", "Pod", "new", "7", 4),
        event("Later", "Pod", "new", "", 5),
        event("OfTheOneBefore", "Pod", "new", "6", 6),
        event("OfAnother", "Pod", "old", "", 7),
        event("OfADaemonSet", "DaemonSet", "new", "7", 8),
    ]);
    let nodes = [node("a", "1")];
    let mut new = plain("new", "100m");
    new.uid = "7".into();
    let explanation = SchedulingExplanation::new(&state(&nodes, [], &objects), &new);
    let reasons: Vec<_> = explanation.events.iter().map(|event| event.reason.as_str()).collect();
    assert_eq!(reasons, ["Later", "Earlier"]);
}

#[test]
fn a_node_is_kept_free_only_for_pods_that_wait() {
    let (objects, nodes) = (SchedulingObjects::default(), [node("a", "1"), node("b", "1")]);
    let mut waiting = pod("waiting", "800m", json!({"priority": 5}));
    let mut status = PodScheduling::default();
    status.nominated_node = "a".into();
    waiting.scheduling = Some(Box::new(status));
    let new = pod("new", "500m", naming(&[&["a"]]));
    let fits = |other: &Pod| state(&nodes, [other], &objects).feasibility(&new).would_fit;
    assert!(!fits(&waiting));
    let (mut ended, mut bound) = (waiting.clone(), waiting.clone());
    ended.phase = PodPhase::Failed;
    bound.node = PodNode::Bound("b".into());
    assert!(fits(&ended) && fits(&bound));
}

#[test]
fn every_plugin_is_asked_about_a_node_that_the_pod_is_not_for() {
    let (objects, nodes) = (SchedulingObjects::default(), [node("a", "1"), node("b", "100m")]);
    let state = state(&nodes, [], &objects);
    let plugins = |pod: &Pod, node: &str| state.blockers(pod, node).iter().map(|own| own.plugin).collect::<Vec<_>>();
    let new = pod("new", "500m", naming(&[&["a"]]));
    assert_eq!(plugins(&new, "a"), []);
    assert_eq!(plugins(&new, "b"), [Plugin::NodeAffinity, Plugin::NodeResourcesFit]);
}

#[test]
fn a_pod_that_leaves_for_good_does_not_count_any_more() {
    let mut nodes = [node("a", "1")];
    nodes[0].labels = [("zone", "x")].into_iter().collect();
    let term = json!({"topologyKey": "zone", "labelSelector": {"matchLabels": {"app": "web"}}});
    let apart = json!({"affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}});
    let labelled = |mut pod: Pod| {
        pod.labels = [("app", "web")].into_iter().collect();
        pod
    };
    let (old, other) = (labelled(pod("old", "100m", on("a"))), labelled(pod("other", "100m", on("a"))));
    let (new, objects) = (labelled(pod("new", "100m", apart)), SchedulingObjects::default());
    let one = state(&nodes, [&old], &objects);
    assert!(one.pods_like(&new).refusal_after("a", &[]).is_some());
    assert!(one.pods_like(&new).refusal_after("a", &[&old]).is_none());
    let two = state(&nodes, [&old, &other], &objects);
    assert!(two.pods_like(&new).refusal_after("a", &[&old]).is_some(), "the other one is still there");
}

#[test]
fn a_kept_cluster_forgets_a_pod_without_a_spec_that_is_gone() {
    let mut cluster = Cluster::with_scheduling(Settings::default());
    cluster.set_complete();
    cluster.apply(node("a", "1"));
    let mut strange = pod("strange", "100m", on("a"));
    strange.spec = None;
    cluster.apply(strange);
    let (new, objects) = (plain("new", "100m"), SchedulingObjects::default());
    let unknown = |cluster: &Cluster| cluster.cluster_state(&objects).unwrap().pods_like(&new).unknown_on("a");
    assert_eq!(unknown(&cluster), [UnknownFact::PodSpecs { node: "a".into(), pods: 1 }]);
    cluster.delete::<Pod>(Key::new("shop", "strange"));
    assert_eq!(unknown(&cluster), []);
}

#[test]
fn causes_are_told_in_numbers() {
    let lack = |requested: i64, used: i64, allocatable: i64| {
        Cause::Insufficient { resource: "cpu".into(), requested, used, allocatable }.explain()
    };
    assert_eq!(lack(1100, 0, 1000), "requests cpu 1100m, but the whole node has 1");
    assert_eq!(lack(1000, 400, 1000), "requests cpu 1, but 600m of 1 are free: 400m more are needed");
    assert_eq!(lack(300, 1000, 1000), "requests cpu 300m, but 0 of 1 are free: 300m more are needed");
    let over = "requests cpu 300m, but the pods there request 1200m of 1 already: 500m more are needed";
    assert_eq!(lack(300, 1200, 1000), over);
    let volumes = |requested: usize| {
        Cause::VolumeLimit { driver: "csi.example.com".into(), requested, used: 3, limit: 3 }.explain()
    };
    assert_eq!(volumes(1), "needs 1 more volume of csi.example.com, which has attached 3 of at most 3");
    assert_eq!(volumes(2), "needs 2 more volumes of csi.example.com, which has attached 3 of at most 3");
}

#[test]
fn the_pods_for_which_a_node_is_kept_free_are_named_where_they_decide() {
    let (objects, nodes) = (SchedulingObjects::default(), [node("a", "1")]);
    let mut waiting = pod("waiting", "800m", json!({"priority": 5}));
    let mut status = PodScheduling::default();
    status.nominated_node = "a".into();
    waiting.scheduling = Some(Box::new(status));
    let state = state(&nodes, [&waiting], &objects);
    let kept = |cpu: &str| {
        let answer = state.feasibility(&pod("new", cpu, naming(&[&["a"]])));
        (answer.would_fit, answer.kept_free_for.iter().map(ToString::to_string).collect::<Vec<_>>())
    };
    assert_eq!(kept("100m"), (true, vec![]), "both fit");
    assert_eq!(kept("500m"), (false, vec!["shop/waiting".into()]));
    assert_eq!(kept("1500m"), (false, vec![]), "it fits in no case");
    let there = pod("there", "600m", on("a"));
    let full = ClusterState::new(&nodes, [&waiting, &there], [], &objects);
    let answer = full.feasibility(&pod("new", "500m", naming(&[&["a"]])));
    assert_eq!((answer.blockers.len(), answer.kept_free_for.len()), (1, 1), "room is lacking for both");
}

#[test]
fn without_nodes_nothing_is_known() {
    let objects = SchedulingObjects::default();
    let answer = state(&[], [], &objects).feasibility(&pod("new", "100m", naming(&[&["a"]])));
    assert_eq!((answer.verdict, answer.unknown), (SchedulingVerdict::Error, vec![UnknownFact::Nodes]));
    // Pods that do not come to the scheduler stay as they are.
    let verdict = |fields: Value| state(&[], [], &objects).feasibility(&pod("new", "100m", fields)).verdict;
    assert_eq!(verdict(json!({"schedulingGates": [{"name": "x"}]})), SchedulingVerdict::Gated);
    assert_eq!(verdict(json!({"schedulerName": "x"})), SchedulingVerdict::OtherScheduler);
}

#[test]
fn a_refusal_is_sure_if_what_is_not_known_can_only_refuse() {
    let (objects, nodes) = (SchedulingObjects::default(), [node("a", "1")]);
    let mut other = pod("other", "1m", on("a"));
    other.spec = None;
    let state = state(&nodes, [&other], &objects);
    let is_sure = |cpu: &str| state.feasibility(&pod("new", cpu, naming(&[&["a"]]))).is_sure();
    assert!(is_sure("2") && !is_sure("500m"), "what the other pod requests is not known");
    let mut own = pod("new", "2", json!({}));
    (own.spec, own.node) = (None, PodNode::Intended("a".into()));
    assert!(!state.feasibility(&own).is_sure());
    let sure = self::state(&nodes, [], &objects);
    assert!(sure.feasibility(&pod("new", "500m", naming(&[&["a"]]))).is_sure());
}
