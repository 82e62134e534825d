//! What pods request on some nodes instead of what their template says, by the settings.

use std::collections::BTreeMap;

use daemonplan::{
    Action, Cluster as Incremental, Key, Object, Resource, Snapshot,
    affinity::NodeResources,
    forecast::{Assumptions, Outcome},
    lint::{Lint, lint},
    manifest::read_yaml,
    model::{HASH_LABEL, LimitRange, ResourceQuota},
    overhead::DaemonSetFleet,
    plan::{CreateReason, Warning},
    scheduling::{ClusterState, SchedulingObjects},
};
use serde_json::{Value, json};

use super::{
    super::common::{Cluster, PodExt, cluster, labelled, pod, template},
    Full, requesting, sized, spec,
};

/// Large nodes get this much instead.
fn large(requests: Value) -> NodeResources {
    let setting = json!({
        "daemonSet": {"namespace": "prod", "name": "agent"}, "nodes": "size=large",
        "containers": {"agent": {"requests": requests}},
    });
    serde_json::from_value(setting).unwrap()
}

/// A large node and a small one with a cpu each, where the template requests 100m.
fn two_sizes(cpu: &str) -> Cluster {
    let mut big = sized("big", "1");
    big.labels = [("size", "large")].into_iter().collect();
    let mut cluster = cluster([big, sized("small", "1")]).with_spec(requesting("100m"));
    cluster.settings.node_resources = vec![large(json!({"cpu": cpu}))];
    cluster
}

/// The resources of the containers that are created, by node.
fn created(actions: &[Action]) -> BTreeMap<String, Value> {
    let created = actions.iter().filter_map(|action| match action {
        Action::CreatePod { node, blueprint, .. } => {
            let manifest = blueprint.manifest(node);
            let of_pod = blueprint.pod(node.clone(), "x").spec.unwrap().requests();
            let resources = manifest["spec"]["containers"][0]["resources"].clone();
            let cpu = resources["requests"]["cpu"].as_str().unwrap();
            assert_eq!(of_pod.get("cpu"), cpu.parse().unwrap(), "the pod of a simulator agrees");
            Some((node.to_string(), resources))
        }
        _ => None,
    });
    created.collect()
}

#[test]
fn pods_are_created_with_what_is_set_for_their_node() {
    let cluster = two_sizes("500m");
    let expected = [("big", json!({"requests": {"cpu": "500m"}})), ("small", json!({"requests": {"cpu": "100m"}}))];
    let expected: BTreeMap<_, _> = expected.into_iter().map(|(node, own)| (node.to_owned(), own)).collect();
    assert_eq!(created(&cluster.plan().actions), expected);

    let mut incremental = Incremental::new(cluster.settings.clone());
    let nodes = cluster.nodes.iter().map(Object::from);
    let objects = nodes.chain([Object::from(cluster.namespace.clone()), Object::from(cluster.daemonset.clone())]);
    objects.for_each(|object| incremental.apply(object));
    incremental.set_complete();
    let key = cluster.daemonset.key();
    assert_eq!(created(&incremental.plan(&key, cluster.now).unwrap().actions), expected);
    let mut grown = cluster.nodes[1].clone();
    grown.labels = [("size", "large")].into_iter().collect();
    incremental.apply(grown);
    let plan = incremental.plan(&key, cluster.now).unwrap();
    assert_eq!(created(&plan.actions)["small"], json!({"requests": {"cpu": "500m"}}), "by the labels it has now");
}

#[test]
fn other_amounts_stay_and_the_first_setting_that_selects_a_node_counts() {
    let mut cluster = two_sizes("500m").with_spec(json!({
        "initContainers": [{"name": "init", "resources": {"limits": {"cpu": "1"}}}],
        "containers": [
            {"name": "agent", "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"memory": "1Gi"}}},
            {"name": "log", "resources": null},
        ],
    }));
    let setting = json!({
        "daemonSet": {"namespace": "prod", "name": "agent"}, "nodes": "",
        "containers": {"log": {"limits": {"cpu": 2}}, "init": {"requests": {"cpu": 0.5}}},
    });
    cluster.settings.node_resources.push(serde_json::from_value(setting).unwrap());
    let mut other = large(json!({"cpu": "9"}));
    other.daemon_set = Key::new("prod", "other");
    cluster.settings.node_resources.insert(0, other);
    let containers: BTreeMap<_, _> = cluster
        .plan()
        .actions
        .iter()
        .filter_map(|action| match action {
            Action::CreatePod { node, blueprint, .. } => {
                Some((node.to_string(), blueprint.manifest(node)["spec"].clone()))
            }
            _ => None,
        })
        .collect();
    assert_eq!(
        containers["big"]["containers"],
        json!([
            {"name": "agent", "resources": {"requests": {"cpu": "500m", "memory": "64Mi"}, "limits": {"memory": "1Gi"}}},
            {"name": "log", "resources": null},
        ])
    );
    assert_eq!(
        containers["small"]["containers"][1],
        json!({"name": "log", "resources": {"limits": {"cpu": "2"}}}),
        "a setting without labels is for all nodes that no earlier one selects"
    );
    let init = json!([{"name": "init", "resources": {"requests": {"cpu": "500m"}, "limits": {"cpu": "1"}}}]);
    assert_eq!(containers["small"]["initContainers"], init);
}

#[test]
fn a_change_of_the_setting_replaces_no_pod() {
    let mut cluster = two_sizes("500m");
    cluster.pods = vec![pod("x", "big"), pod("y", "small")];
    cluster.pods.iter_mut().for_each(|pod| pod.spec = Some(spec("100m")));
    assert_eq!(created(&cluster.plan().actions), BTreeMap::new());
    assert!(!cluster.plan().actions.iter().any(|action| matches!(action, Action::DeletePod { .. })));
}

#[test]
fn a_held_back_pod_of_the_older_template_gets_them_too() {
    let mut cluster = two_sizes("500m").with(|daemonset| {
        daemonset.annotations = [("daemonplan/paused", "true")].into_iter().collect();
    });
    cluster.daemonset.template = template(requesting("200m"));
    cluster.daemonset.generation += 1;
    cluster.revisions.push(cluster.revision("two", 2));
    cluster.pods = vec![pod("y", "small").of("one")];
    let plan = cluster.plan();
    let held_back = plan.actions.iter().any(|action| match action {
        Action::CreatePod { reason, blueprint, .. } => {
            let pod = blueprint.pod("big", "x");
            *reason == CreateReason::HeldBack && pod.labels.get(HASH_LABEL) == Some("one")
        }
        _ => false,
    });
    assert!(held_back);
    assert_eq!(created(&plan.actions)["big"], json!({"requests": {"cpu": "500m"}}));
}

#[test]
fn a_container_that_the_template_lacks_is_warned_of_and_what_is_misspelt_is_refused() {
    let mut cluster = two_sizes("500m");
    cluster.settings.node_resources[0].containers.entry("agnet".into()).or_default();
    let expected = Warning::UnknownContainer { nodes: "size=large".into(), container: "agnet".into() };
    assert_eq!(cluster.plan().warnings, [expected]);

    let read = |text: &str| read_yaml::<Vec<NodeResources>>(text).unwrap_err();
    let of = |rest: &str| {
        let nodes = if rest.contains("nodes: ") { "" } else { "\n  nodes: a=b" };
        format!("- daemonSet: {{namespace: prod, name: agent}}{nodes}\n  containers: {rest}")
    };
    for (containers, error) in [
        (
            "{agent: {requests: {cpu: -1}}}",
            "[0].containers: agent.requests.cpu: expected a quantity of at least 0, found -1",
        ),
        ("{agent: {limit: {cpu: 1}}}", "[0].containers.agent.limit: unknown field `limit`"),
        ("{agent: {limits: {cpu: much}}}", "[0].containers: agent.limits.cpu: expected a quantity"),
        ("{agent: {limits: {cpu: }}}", "[0].containers: agent.limits.cpu: expected a quantity, found none"),
        ("{agent: {limits: {mem: 1Gi}}}", "[0].containers: agent.limits.mem: expected cpu, memory"),
        ("{agent: }", "[0].containers.agent: expected an object with requests and limits"),
        ("{}\n  nodeSelector: a=b", "[0].nodeSelector: unknown field `nodeSelector`"),
        ("{}\n  nodes: a in b", "[0].nodes: expected"),
        ("{}\n  nodes: a=b\n  nodes: b=c", "the field [0].nodes is given twice"),
    ] {
        let found = read(&of(containers));
        assert!(found.starts_with(error), "{found}");
    }
}

#[test]
fn overhead_sums_what_is_requested_on_the_node() {
    let cluster = two_sizes("500m");
    let mut other = cluster.clone().with(|daemonset| daemonset.name = "other".into());
    other.settings.node_resources.clear();
    let snapshots = [cluster.snapshot(), other.snapshot().settings(&cluster.settings)];
    for fleet in [
        DaemonSetFleet::of(snapshots),
        DaemonSetFleet::new(
            [(&cluster.daemonset, &cluster.namespace), (&other.daemonset, &other.namespace)],
            &cluster.settings,
        ),
    ] {
        let sum = |node| fleet.overhead(node).to_string();
        assert_eq!(sum(&cluster.nodes[0]), "2 of 2 DaemonSets would run: cpu 600m, pods 2");
        assert_eq!(sum(&cluster.nodes[1]), "2 of 2 DaemonSets would run: cpu 200m, pods 2");
        let own = |node| {
            let overhead = fleet.overhead(node);
            overhead.requests_of(&cluster.daemonset.key()).map(|(_, amount)| amount.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(
            (own(&cluster.nodes[0]), own(&cluster.nodes[1])),
            (vec!["500m".to_owned()], vec!["100m".to_owned()])
        );
    }
}

#[test]
fn overhead_knows_where_they_do_not_fit_and_where_admission_refuses_them() {
    let cluster = two_sizes("1200m");
    let fleet = DaemonSetFleet::of([cluster.snapshot()]);
    assert_eq!(fleet.overhead(&cluster.nodes[0]).fits(), Some(false));
    assert_eq!(fleet.overhead(&cluster.nodes[0]).pending()[0].reasons, ["Insufficient cpu"]);
    assert_eq!(fleet.overhead(&cluster.nodes[1]).fits(), Some(true));

    let mut objects = SchedulingObjects::default();
    let limits = json!({
        "metadata": {"name": "small", "namespace": "prod"}, "spec": {"limits": [{"type": "Container", "max": {"cpu": 1}}]},
    });
    objects.add(serde_json::from_value::<LimitRange>(limits).unwrap());
    let state = ClusterState::new(&cluster.nodes, [], [&cluster.namespace], &objects);
    let fleet = DaemonSetFleet::of([cluster.snapshot().scheduling(&state)]);
    let refused = |node| fleet.overhead(node).refused().map(|(_, refusal)| refusal.to_string()).collect::<Vec<_>>();
    let expected = "validation refuses its pods: spec.containers[0].resources.requests: Invalid value: \"1200m\": must be \
                    less than or equal to cpu limit of 1";
    assert_eq!(refused(&cluster.nodes[0]), [expected]);
    assert_eq!(refused(&cluster.nodes[1]), [] as [String; 0]);
    let explanation = cluster.snapshot().scheduling(&state).explain();
    let refused: Vec<_> = explanation.nodes.iter().map(|node| node.is_refused).collect();
    assert_eq!(refused, [true, false]);
    let admission = explanation.admission.unwrap();
    assert!(admission.refusal.is_none() && admission.on_nodes[0].admission.refusal.is_some());
}

/// Returns the settings that are found to have no effect, each with its field.
fn idle(cluster: Cluster) -> Vec<(String, String)> {
    Full::of(cluster, []).with(|snapshot| {
        let findings = lint(&[snapshot]).into_iter().filter(|finding| finding.lint == Lint::IdleNodeResources);
        findings.map(|finding| (finding.field, finding.message)).collect()
    })
}

#[test]
fn a_setting_without_effect_is_found() {
    let of = |nodes: &str, requests: Value| {
        let mut setting = large(requests);
        setting.nodes = nodes.parse().unwrap();
        setting
    };
    let with = |settings: &[NodeResources]| {
        let mut cluster = two_sizes("500m");
        cluster.settings.node_resources.extend(settings.iter().cloned());
        cluster
    };
    let cpu = || json!({"cpu": "200m"});
    let found = |message: &str| vec![("nodeResources[1]".to_owned(), message.to_owned())];
    assert_eq!(idle(with(&[])), []);
    assert_eq!(idle(with(&[of("", cpu())])), [], "it counts on the small node");
    assert_eq!(
        idle(with(&[of("size=huge", cpu())])),
        found("the setting for nodes with size=huge selects no node that should run a pod")
    );
    assert_eq!(
        idle(with(&[of("size in (large)", cpu())])),
        found("the setting for nodes with size=large comes after others that select all its nodes")
    );
    assert_eq!(idle(with(&[of("", json!({}))])), found("the setting for all nodes sets nothing"));
    let mut of_another = of("size=huge", cpu());
    of_another.daemon_set = Key::new("prod", "another");
    assert_eq!(idle(with(&[of_another])), []);
    let mut misspelt = two_sizes("500m");
    let setting = misspelt.settings.node_resources[0].containers.remove("agent").unwrap();
    misspelt.settings.node_resources[0].containers.insert("agnet".into(), setting);
    let why = "the resources set for size=large name the container agnet, which the template does not have: they have no \
               effect there";
    assert_eq!(idle(misspelt), [("nodeResources".to_owned(), why.to_owned())]);
}

#[test]
fn amounts_that_the_api_server_refuses_together_are_refused_by_admission() {
    let refusal = |amounts: Value, of_template: Value| {
        let mut cluster = two_sizes("500m")
            .with_spec(json!({"containers": [{"name": "agent", "image": "agent:1", "resources": of_template}]}));
        cluster.settings.node_resources[0] = serde_json::from_value(json!({
            "daemonSet": {"namespace": "prod", "name": "agent"}, "nodes": "size=large", "containers": {"agent": amounts},
        }))
        .unwrap();
        Full::of(cluster, []).with(|snapshot| {
            let admission = snapshot.explain().admission.unwrap();
            assert_eq!(admission.refusal, None, "the template is fine");
            admission.on_nodes[0].admission.refusal.as_ref().map(ToString::to_string)
        })
    };
    let gpu = |count: &str| json!({"requests": {"a.b/gpu": count}, "limits": {"a.b/gpu": count}});
    let at = "spec.containers[0].resources";
    for (amounts, of_template, why) in [
        (
            json!({"limits": {"a.b/gpu": "2"}}),
            gpu("1"),
            format!("{at}.requests: Invalid value: \"1\": must be equal to a.b/gpu limit of 2"),
        ),
        (
            json!({"requests": {"a.b/gpu": "1"}}),
            json!({}),
            format!("{at}.limits: Required value: Limit must be set for non overcommitable resources"),
        ),
        (
            json!({"limits": {"a.b/gpu": "500m"}}),
            json!({}),
            format!("{at}.limits[a.b/gpu]: Invalid value: \"500m\": must be an integer"),
        ),
        (
            json!({"limits": {"hugepages-2Mi": "2Mi"}}),
            json!({}),
            format!("{at}: Forbidden: HugePages require cpu or memory"),
        ),
        (
            json!({"requests": {"cpu": "2"}}),
            json!({"limits": {"cpu": "1"}}),
            format!("{at}.requests: Invalid value: \"2\": must be less than or equal to cpu limit of 1"),
        ),
    ] {
        let found = refusal(amounts.clone(), of_template).unwrap_or_default();
        assert!(found.contains(&why), "{amounts}: {found}");
    }
    assert_eq!(refusal(gpu("2"), gpu("1")), None);
    assert_eq!(refusal(json!({"limits": {"a.b/gpu": "2"}}), json!({})), None, "the limit is the request");
}

#[test]
fn the_scheduler_is_asked_with_what_is_requested_on_the_node() {
    let full = || Full::of(two_sizes("1200m"), []);
    full().with(|snapshot| {
        let explanation = snapshot.explain();
        assert_eq!(
            explanation.nodes[0].to_string(),
            "a pod is created next: no pod on this node; it requests what is set for size=large: agent requests cpu \
             1200m; it would stay Pending: Insufficient cpu"
        );
        let help = explanation.nodes[0].new_pod.as_ref().unwrap().help();
        assert_eq!(help, ["fits if it requests 200m less cpu, or the node has 200m more"]);
        assert_eq!(explanation.nodes[1].to_string(), "a pod is created next: no pod on this node");
        let findings = lint(&[snapshot]);
        let found = findings.iter().find(|finding| finding.lint == Lint::NeverFits).unwrap();
        assert_eq!((found.nodes.len(), &*found.nodes[0]), (1, "big"));
        assert_eq!(found.fix, "request less in what is set for these nodes, or keep the pods off them");
    });
    let (outcome, stuck) = full().forecast();
    assert_eq!((outcome, stuck.len()), (Outcome::Stuck, 1));
    assert_eq!(stuck[0].to_string(), "the pod stays Pending: Insufficient cpu");
    assert_eq!(Full::of(two_sizes("900m"), []).forecast().0, Outcome::Done);
}

#[test]
fn a_waiting_pod_whose_spec_is_not_known_is_taken_to_request_it() {
    let mut cluster = two_sizes("1200m");
    let mut waiting = pod("x", "big");
    waiting.node = daemonplan::model::PodNode::Intended("big".into());
    cluster.pods = vec![waiting.clone()];
    Full::of(cluster, []).with(|snapshot| {
        let objects = SchedulingObjects::default();
        let namespace = daemonplan::model::Namespace::new("prod");
        let nodes = two_sizes("1200m").nodes;
        let state = ClusterState::new(&nodes, [&waiting], [&namespace], &objects);
        assert!(!snapshot.explain_pod(&state, &waiting).feasibility.would_fit);
    });
}

#[test]
fn a_quota_counts_what_is_requested_on_each_node() {
    let with_quota = |hard: &str| {
        let mut full = Full::of(two_sizes("800m"), []);
        let quota = json!({
            "metadata": {"name": "few", "namespace": "prod"},
            "spec": {"hard": {"requests.cpu": hard}}, "status": {"used": {"requests.cpu": "0"}},
        });
        full.objects.add(serde_json::from_value::<ResourceQuota>(quota).unwrap());
        full
    };
    assert_eq!(with_quota("900m").forecast().0, Outcome::Done);
    assert_eq!(with_quota("850m").forecast().0, Outcome::Stuck);
    assert!(!with_quota("900m").has(Lint::QuotaTooSmall));
    with_quota("850m").with(|snapshot| {
        let findings = lint(&[snapshot]);
        let found = findings.iter().find(|finding| finding.lint == Lint::QuotaTooSmall).unwrap();
        assert_eq!(
            found.message,
            "ResourceQuota few has room for 1 pod more of those that request most, and 2 nodes lack one \
             (requests.cpu 0 of 850m used)"
        );
        assert_eq!(found.fix, "raise requests.cpu of ResourceQuota few to 900m");
    });
}

#[test]
fn other_daemonsets_compete_with_what_they_request_on_the_node() {
    let cluster = two_sizes("700m");
    let mut other = cluster.clone().with(|daemonset| (daemonset.name, daemonset.uid) = ("other".into(), "o".into()));
    other = other.with_spec(requesting("500m"));
    let objects = SchedulingObjects::default();
    let coming = |settings| {
        let snapshot = cluster.snapshot().settings(settings);
        let state = ClusterState::new(&cluster.nodes, [], [&cluster.namespace], &objects);
        let state = state.with_coming(snapshot.coming_pods(&objects));
        let forecast = other.snapshot().scheduling(&state).forecast(&Assumptions::default());
        forecast.unknown.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let plain = daemonplan::Settings::default();
    assert_eq!(coming(&plain), [] as [&str; 0], "500m and 100m fit together");
    let unknown = coming(&cluster.settings);
    assert_eq!(unknown.len(), 1);
    assert!(unknown[0].contains("big") && unknown[0].contains("prod/agent"), "{unknown:?}");
}

#[test]
fn the_node_of_a_snapshot_is_found_by_its_name() {
    let mut cluster = two_sizes("500m");
    cluster.nodes = (0..300).map(|number| labelled(&format!("n{number}"), &[])).collect();
    cluster.nodes[277].labels = [("size", "large")].into_iter().collect();
    cluster.settings.burst = 300;
    let snapshot: Snapshot<'_> = cluster.snapshot();
    let created = created(&snapshot.plan().actions);
    let special = created.iter().filter(|(_, resources)| resources["requests"]["cpu"] == "500m");
    assert_eq!(special.map(|(node, _)| node.as_str()).collect::<Vec<_>>(), ["n277"]);
}
