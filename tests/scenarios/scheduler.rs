//! What the module `scheduling` says of single pods, amounts and admission.

use daemonplan::{
    Cluster, Key, Settings,
    explain::SchedulingExplanation,
    manifest::Manifests,
    model::{Namespace, Node, Pod, PodNode, PodPhase, PodScheduling, PodSpec, ResourceList},
    scheduling::{
        Agreement, Amounts, Cause, ClusterState, Plugin, PodAdmission, Preemption, SchedulingObjects,
        SchedulingVerdict, UnknownFact,
    },
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
fn preemption_is_told_in_a_sentence() {
    let budget = |name: &str| {
        json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": name, "namespace": "shop"},
            "spec": {"selector": {"matchLabels": {"app": "web"}}}, "status": {"disruptionsAllowed": 0}})
    };
    let plain = SchedulingObjects::default();
    let guarded = objects([budget("web")]);
    let nodes = [node("a", "1")];
    let web = |name: &str, cpu: &str, priority: i32| {
        let mut pod = pod(name, cpu, json!({"nodeName": "a", "priority": priority}));
        pod.labels = [("app", "web")].into_iter().collect();
        pod
    };
    let told = |pods: &[&Pod], objects: &SchedulingObjects, cpu: &str, fields: Value| {
        let answer = state(&nodes, pods.iter().copied(), objects).feasibility(&pod("new", cpu, fields));
        answer.preemption.unwrap().to_string()
    };
    let (one, two) = (web("one", "500m", 0), web("two", "500m", 0));
    let important = json!({"priority": 10});
    assert_eq!(told(&[&one], &plain, "600m", important.clone()), "preempts shop/one");
    assert_eq!(told(&[&one, &two], &plain, "1", important.clone()), "preempts shop/one, shop/two");
    let against_one = "preempts shop/one (against a PodDisruptionBudget)";
    assert_eq!(told(&[&one], &guarded, "600m", important.clone()), against_one);
    let against_two = "preempts shop/one, shop/two (against 2 PodDisruptionBudgets)";
    assert_eq!(told(&[&one, &two], &guarded, "1", important.clone()), against_two);
    let never = json!({"priority": 10, "preemptionPolicy": "Never"});
    assert_eq!(told(&[&one], &plain, "600m", never), "preempts no pods: its preemptionPolicy is Never");
    assert_eq!(told(&[&one], &plain, "600m", json!({})), "preempts no pods: none there has a lower priority");
    assert_eq!(told(&[], &plain, "2", important.clone()), "preempts no pods: that would not help");
    let (high, low) = (web("high", "500m", 20), web("low", "500m", 0));
    let neither = "preempts no pods: without those of lower priority it would not fit either";
    assert_eq!(told(&[&high, &low], &plain, "600m", important), neither);
    let (mut going, mut new) = (web("going", "500m", 0), pod("new", "600m", json!({"priority": 10})));
    let status = json!({"nominatedNodeName": "a"});
    for (pod, status) in [
        (
            &mut going,
            json!({"conditions": [{"type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler"}]}),
        ),
        (&mut new, status),
    ] {
        let mut value: Value = serde_json::to_value(&*pod).unwrap();
        value["status"] = status;
        *pod = read(value);
    }
    going.deleted = Some("2026-01-02T03:04:05Z".parse().unwrap());
    let answer = state(&nodes, [&going], &plain).feasibility(&new);
    assert_eq!(answer.preemption.unwrap().to_string(), "waits for shop/going, which it has preempted");
    let mut equal = going.spec.as_deref().unwrap().clone();
    equal.priority = Some(10);
    going.spec = Some(equal.into());
    let answer = state(&nodes, [&going], &plain).feasibility(&new);
    assert_eq!(answer.preemption.unwrap().to_string(), "preempts no pods: none there has a lower priority");
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
fn of_several_nodes_preemption_takes_the_one_where_it_does_least_harm() {
    let budget = json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget",
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"selector": {"matchLabels": {"app": "guarded"}}}, "status": {"disruptionsAllowed": 0}});
    let objects = objects([budget]);
    let nodes = [node("a", "1"), node("b", "1")];
    let new = pod("new", "1", json!({"priority": 10}));
    // The pods of a node share it; each has a priority, and the minute of its start.
    let on_node = |node: &str, pods: &[(i32, u32)]| {
        let cpu = format!("{}m", 1000 / pods.len());
        let pods = pods.iter().zip(1..).map(|((priority, minute), number)| {
            let mut pod = pod(&format!("{node}-{number}"), &cpu, json!({"nodeName": node, "priority": priority}));
            pod.started = Some(format!("2026-01-02T03:{minute:02}:05Z").parse().unwrap());
            pod
        });
        pods.collect::<Vec<_>>()
    };
    let preempts_on = |a: &[Pod], b: &[Pod]| {
        let answer = state(&nodes, a.iter().chain(b), &objects).feasibility(&new);
        match answer.preemption {
            Some(Preemption::Preempts { node, .. }) => node.to_string(),
            other => panic!("{other:?}"),
        }
    };
    let least_harm = |a: &[(i32, u32)], b: &[(i32, u32)]| preempts_on(&on_node("a", a), &on_node("b", b));
    let mut guarded = on_node("a", &[(1, 0)]);
    guarded[0].labels = [("app", "guarded")].into_iter().collect();
    assert_eq!(preempts_on(&guarded, &on_node("b", &[(9, 0)])), "b", "a budget counts first");
    assert_eq!(least_harm(&[(5, 0)], &[(3, 0), (3, 0)]), "b", "then the highest priority");
    assert_eq!(least_harm(&[(3, 0), (2, 0)], &[(3, 0), (1, 0)]), "b", "then the sum of the priorities");
    assert_eq!(least_harm(&[(3, 0), (-5, 0)], &[(3, 0)]), "b", "a negative one makes more pods no better");
    assert_eq!(least_harm(&[(3, 0), (i32::MIN, 0)], &[(3, 0)]), "b", "then the number of pods");
    assert_eq!(least_harm(&[(3, 1)], &[(3, 2)]), "b", "then the latest start");
    assert_eq!(least_harm(&[(3, 1), (1, 9)], &[(3, 2), (1, 0)]), "b", "of the most important pods");
    assert_eq!(least_harm(&[(3, 0)], &[(3, 0)]), "a", "then the name of the node");
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
}

#[test]
fn without_nodes_nothing_is_known() {
    let objects = SchedulingObjects::default();
    let answer = state(&[], [], &objects).feasibility(&pod("new", "100m", naming(&[&["a"]])));
    assert_eq!((answer.verdict, answer.unknown), (SchedulingVerdict::Error, vec![UnknownFact::Nodes]));
}
