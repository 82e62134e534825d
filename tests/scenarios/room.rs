//! Whether pods fit: what explanations, forecasts, diffs and lints say of the scheduler and admission.

mod admission;
mod differences;
mod doubts;
mod node_resources;
mod waiting;

use std::sync::Arc;

use daemonplan::{
    Snapshot,
    forecast::{Assumptions, Outcome, StuckCause},
    lint::{Lint, lint},
    model::{
        Namespace, Node, Pod, PodNode, PodPhase, PodProblem, PodSpec, PriorityClass, Quantity, ResourceList,
        ResourceQuota,
    },
    overhead::DaemonSetFleet,
    scheduling::{ClusterState, SchedulingObjects, UnknownFact},
};
use serde_json::{Value, json};

use super::common::{Cluster, PodExt, cluster, node, pod, template};

/// A node with room for cpu and 110 pods.
fn sized(name: &str, cpu: &str) -> Node {
    let mut node = node(name);
    let amounts = [("cpu", cpu.parse().unwrap()), ("pods", Quantity::from(110_i64))];
    node.allocatable = Some(Arc::new(ResourceList::from_iter(amounts)));
    node
}

/// A spec whose only container requests cpu.
fn requesting(cpu: &str) -> Value {
    json!({"containers": [{"name": "agent", "image": "agent:1", "resources": {"requests": {"cpu": cpu}}}]})
}

fn spec(cpu: &str) -> Arc<PodSpec> {
    spec_of(&requesting(cpu))
}

fn spec_of(spec: &Value) -> Arc<PodSpec> {
    Arc::new(PodSpec::of(&template(spec.clone())).unwrap())
}

/// A running pod of another namespace.
fn other(name: &str, node: &str, cpu: &str) -> Pod {
    let mut pod = Pod::new("shop", name);
    (pod.node, pod.phase, pod.spec) = (PodNode::Bound(node.into()), PodPhase::Running, Some(spec(cpu)));
    pod
}

/// The cluster with pods of others, and objects of admission.
struct Full {
    cluster: Cluster,
    others: Vec<Pod>,
    objects: SchedulingObjects,
}

impl Full {
    fn of(cluster: Cluster, others: impl IntoIterator<Item = Pod>) -> Self {
        Self { cluster, others: others.into_iter().collect(), objects: SchedulingObjects::default() }
    }

    fn with<T>(self, see: impl FnOnce(Snapshot<'_>) -> T) -> T {
        let pods = self.cluster.pods.iter().chain(&self.others);
        let namespaces = [self.cluster.namespace.clone(), Namespace::new("shop")];
        let state = ClusterState::new(&self.cluster.nodes, pods, &namespaces, &self.objects);
        see(self.cluster.snapshot().scheduling(&state))
    }

    fn forecast(self) -> (Outcome, Vec<StuckCause>) {
        self.with(|snapshot| {
            let forecast = snapshot.forecast(&Assumptions::default());
            (forecast.outcome, forecast.stuck.into_iter().map(|stuck| stuck.cause).collect())
        })
    }

    fn has(self, wanted: Lint) -> bool {
        self.with(|snapshot| lint(&[snapshot]).iter().any(|finding| finding.lint == wanted))
    }

    fn quota(mut self, pods: u32, used: u32) -> Self {
        let quota = json!({
            "metadata": {"name": "few", "namespace": "prod"},
            "spec": {"hard": {"pods": pods}}, "status": {"used": {"pods": used}},
        });
        self.objects.add(serde_json::from_value::<ResourceQuota>(quota).unwrap());
        self
    }
}

/// An available pod of the older template, which requests cpu.
fn outdated(name: &str, node: &str, cpu: &str) -> Pod {
    let mut pod = pod(name, node).of("zero");
    pod.spec = Some(spec(cpu));
    pod
}

fn updating(cpu: &str, nodes: &[(&str, &str)]) -> Cluster {
    let mut cluster = cluster(nodes.iter().map(|(name, size)| sized(name, size))).with_spec(requesting(cpu));
    cluster.pods = nodes.iter().map(|(name, _)| outdated(&format!("old-{name}"), name, "300m")).collect();
    cluster
}

#[test]
fn a_pod_that_would_not_fit_is_explained_by_numbers_and_by_who_could_leave() {
    let cluster = cluster([sized("a", "1")]).with_spec(requesting("300m"));
    Full::of(cluster, [other("web", "a", "800m")]).with(|snapshot| {
        let explanation = snapshot.explain();
        assert_eq!(
            explanation.nodes[0].to_string(),
            "a pod is created next: no pod on this node; it would stay Pending: Insufficient cpu"
        );
        let new = explanation.nodes[0].new_pod.as_ref().unwrap();
        let remedies: Vec<_> = new.remedies.iter().map(|remedy| remedy.text.as_str()).collect();
        assert_eq!(
            remedies,
            [
                "fits if shop/web leaves (cpu 800m)",
                "fits if its priority is above 0, which preempts shop/web",
                "fits if it requests 100m less cpu, or the node has 100m more",
            ]
        );
    });
}

#[test]
fn a_replaced_pod_releases_what_it_holds_before_the_new_one_comes() {
    let full = || Full::of(updating("500m", &[("a", "1")]), [other("web", "a", "500m")]);
    assert_eq!(full().forecast(), (Outcome::Done, vec![]));
    let surging = |cpu| {
        let surging = updating(cpu, &[("a", "1")]).rolling(json!(0), json!(1));
        Full::of(surging, [other("web", "a", "500m")])
    };
    let (outcome, stuck) = surging("500m").forecast();
    assert_eq!(outcome, Outcome::Stuck, "both pods are there at a time");
    assert_eq!(stuck[0].to_string(), "the pod stays Pending: Insufficient cpu");
    assert_eq!(surging("200m").forecast(), (Outcome::Done, vec![]));
}

#[test]
fn a_diff_lists_all_replaced_pods_and_says_which_stay_pending() {
    let mut before = updating("300m", &[("a", "1"), ("b", "2")]);
    before.pods = before.pods.into_iter().map(|pod| pod.of("one")).collect();
    let after = before.clone().with(|daemonset| daemonset.template = template(requesting("900m")));
    Full::of(after, [other("web", "a", "500m")]).with(|after| {
        let diff = Snapshot::diff(Some(&before.snapshot()), &after);
        let [stuck] = diff.stuck.as_slice() else { panic!("{:?}", diff.stuck) };
        let StuckCause::Unschedulable { explanation, .. } = &stuck.cause else { panic!("{stuck:?}") };
        assert_eq!((&*stuck.node, diff.nodes.len()), ("a", 2));
        assert_eq!(explanation, "requests cpu 900m, but 500m of 1 are free: 400m more are needed");
    });
}

#[test]
fn a_pod_of_high_priority_takes_the_place_of_others() {
    let mut spec = requesting("900m");
    spec["priorityClassName"] = json!("system-node-critical");
    let cluster = cluster([sized("a", "1")]).with_spec(spec);
    let full = Full::of(cluster, [other("web", "a", "500m")]);
    full.with(|snapshot| {
        let sentence = snapshot.explain().nodes[0].to_string();
        assert!(sentence.ends_with("; it would take the place of 1 pod"), "{sentence}");
        assert_eq!(snapshot.forecast(&Assumptions::default()).outcome, Outcome::Waiting, "the other pod leaves before");
    });
}

#[test]
fn what_never_fits_is_found() {
    let never = |cpu: &str| Full::of(cluster([sized("a", "1")]).with_spec(requesting(cpu)), []);
    assert!(never("1500m").has(Lint::NeverFits) && !never("1").has(Lint::NeverFits));
    let mut without_pods = sized("a", "1");
    without_pods.allocatable =
        Some(Arc::new([("cpu", Quantity::from(1_i64)), ("pods", Quantity::default())].into_iter().collect()));
    let none = Full::of(cluster([without_pods]).with_spec(requesting("1m")), []);
    none.with(|snapshot| {
        let lints: Vec<_> = lint(&[snapshot]).into_iter().map(|finding| finding.lint).collect();
        assert_eq!(lints, [Lint::NeverFits]);
    });
    let surging =
        |cpu: &str| Full::of(cluster([sized("a", "1")]).with_spec(requesting(cpu)).rolling(json!(0), json!(1)), []);
    assert!(surging("600m").has(Lint::SurgeNeverFits) && !surging("500m").has(Lint::SurgeNeverFits));
    assert!(!never("600m").has(Lint::SurgeNeverFits));
    assert!(never("1").quota(0, 0).has(Lint::QuotaTooSmall) && !never("1").quota(1, 0).has(Lint::QuotaTooSmall));
}

#[test]
fn a_surging_pod_of_higher_priority_takes_the_place_of_the_old_one() {
    let mut spec = requesting("700m");
    spec["priorityClassName"] = json!("system-node-critical");
    let mut cluster = cluster([sized("a", "1")]).with_spec(spec).rolling(json!(0), json!(1));
    cluster.pods = vec![outdated("old-a", "a", "700m")];
    Full::of(cluster, []).with(|snapshot| {
        let forecast = snapshot.forecast(&Assumptions::default());
        assert_eq!((forecast.outcome, forecast.lowest_available), (Outcome::Done, 0), "{forecast:?}");
    });
}

#[test]
fn what_is_not_known_of_the_nodes_is_told() {
    let cluster = cluster([node("a"), sized("b", "1")]).with_spec(requesting("100m"));
    Full::of(cluster, []).with(|snapshot| {
        let forecast = snapshot.forecast(&Assumptions::default());
        let unknown: Vec<_> = forecast.unknown.iter().map(ToString::to_string).collect();
        assert_eq!(unknown, ["what pods can request on node a"]);
        assert_eq!(Snapshot::diff(None, &snapshot).unknown, forecast.unknown);
    });
}

#[test]
fn whether_a_kubelet_that_rejected_a_pod_takes_the_next_one_is_not_known() {
    let mut cluster = cluster([sized("a", "1"), sized("b", "1")]).with_spec(requesting("100m"));
    let failed = |name: &str, node: &str, reason: &str| {
        let mut problem = PodProblem::default();
        problem.reason = reason.into();
        let mut pod = outdated(name, node, "100m");
        (pod.phase, pod.problem) = (PodPhase::Failed, Some(Box::new(problem)));
        pod
    };
    cluster.pods = vec![failed("rejected", "a", "OutOfcpu"), failed("evicted", "b", "Evicted")];
    let expected = ["whether the kubelet of node a lets a new pod start: it rejected the last one (OutOfcpu)"];
    let unknown = |snapshot: Snapshot<'_>| {
        let forecast = snapshot.forecast(&Assumptions::default());
        forecast.unknown.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(unknown(cluster.snapshot()), expected, "without a look at the scheduler");
    assert_eq!(Full::of(cluster, []).with(unknown), expected);
}

#[test]
fn a_pod_whose_deletion_has_begun_is_named_as_what_is_in_the_way() {
    let mut going = other("web", "a", "800m");
    going.deleted = Some("2026-01-02T03:04:05Z".parse().unwrap());
    let full = || Full::of(cluster([sized("a", "1")]).with_spec(requesting("300m")), [going.clone()]);
    full().with(|snapshot| {
        let forecast = snapshot.forecast(&Assumptions::default());
        let unknown = "when its pod fits on node a, which depends on shop/web, whose deletion has begun";
        assert_eq!((forecast.outcome, forecast.unknown[0].to_string().as_str()), (Outcome::Waiting, unknown));
    });
    full().with(|snapshot| {
        let explanation = snapshot.explain();
        let remedies = &explanation.nodes[0].new_pod.as_ref().unwrap().remedies;
        assert_eq!(remedies[0].text, "fits if shop/web is gone, whose deletion has begun");
    });
}

#[test]
fn of_a_pod_whose_template_names_the_node_the_scheduler_is_not_asked() {
    let mut spec = requesting("3");
    spec["nodeName"] = json!("a");
    Full::of(cluster([sized("a", "1"), sized("b", "1")]).with_spec(spec), []).with(|snapshot| {
        let expected =
            ["whether the kubelet lets the pod start: its template names the node, and the scheduler is not asked"];
        let texts = |unknown: &[UnknownFact]| unknown.iter().map(ToString::to_string).collect::<Vec<_>>();
        let forecast = snapshot.forecast(&Assumptions::default());
        assert_eq!((forecast.outcome, texts(&forecast.unknown)), (Outcome::Done, expected.map(String::from).to_vec()));
        let explanation = snapshot.explain();
        let new = explanation.nodes[0].new_pod.as_ref().unwrap();
        assert_eq!(texts(&new.feasibility.unknown), expected);
        assert!(new.feasibility.would_fit && new.feasibility.blockers.is_empty() && new.remedies.is_empty());
        assert!(explanation.nodes[1].new_pod.is_none(), "no pod comes to the other node");
    });
}

#[test]
fn which_pods_of_a_zone_come_first_is_not_known_if_they_exclude_each_other() {
    let mut spec = requesting("100m");
    let term = json!({"topologyKey": "zone", "labelSelector": {"matchLabels": {"app": "agent"}}});
    spec["affinity"] = json!({"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}});
    let mut nodes = [sized("a", "1"), sized("b", "1")];
    for node in &mut nodes {
        node.labels = [("zone", "x")].into_iter().collect();
    }
    let full = || Full::of(cluster(nodes.clone()).with_spec(spec.clone()), []);
    full().with(|snapshot| {
        let forecast = snapshot.forecast(&Assumptions::default());
        assert_eq!(forecast.unknown, [UnknownFact::OwnPods]);
        assert_eq!((forecast.outcome, forecast.stuck.len()), (Outcome::Stuck, 1), "one of them does not fit");
        let StuckCause::Unschedulable { explanation, .. } = &forecast.stuck[0].cause else { panic!() };
        let said = "another new pod is on a node with the same zone, which the pod's anti-affinity excludes";
        assert_eq!(explanation, said);
    });
    let mut there = full();
    there.cluster.pods = vec![pod("agent-1", "a")];
    there.cluster.pods[0].spec = Some(spec_of(&spec));
    let (outcome, stuck) = there.forecast();
    assert_eq!((outcome, stuck.len()), (Outcome::Stuck, 1), "the pod that is there excludes the other");
}

/// A pod of the DaemonSet that has waited for its node since long before the time of the plan.
fn long_pending(name: &str, node: &str) -> Pod {
    let mut pod = pod(name, node).phase(PodPhase::Pending).unready();
    (pod.node, pod.created) = (PodNode::Intended(node.into()), Some("2020-01-02T03:04:05Z".parse().unwrap()));
    let mut own = PodSpec::clone(&spec("300m"));
    (own.is_for_one_node, own.priority) = (true, Some(10));
    pod.spec = Some(own.into());
    pod
}

#[test]
fn a_pod_that_has_waited_long_starts_once_the_scheduler_would_bind_it() {
    let full = |others: Vec<Pod>| {
        let mut cluster = cluster([sized("a", "1")]).with_spec(requesting("300m"));
        cluster.pods = vec![long_pending("waiting", "a")];
        Full::of(cluster, others)
    };
    assert_eq!(full(vec![]).forecast().0, Outcome::Done);
    let with_priority = |priority: i32| {
        let mut other = other("web", "a", "800m");
        let mut own = PodSpec::clone(&spec("800m"));
        own.priority = Some(priority);
        other.spec = Some(own.into());
        other
    };
    assert_eq!(full(vec![with_priority(10)]).forecast().0, Outcome::Stuck);
    let mut preempting = full(vec![with_priority(-1)]);
    preempting.cluster = preempting.cluster.with_spec({
        let mut spec = requesting("300m");
        spec["priorityClassName"] = json!("high");
        spec
    });
    let class = json!({"metadata": {"name": "high"}, "value": 10});
    preempting.objects.add(serde_json::from_value::<daemonplan::model::PriorityClass>(class).unwrap());
    preempting.with(|snapshot| {
        let forecast = snapshot.forecast(&Assumptions::default());
        let preempted: Vec<_> = forecast.preempted.iter().map(ToString::to_string).collect();
        assert_eq!(preempted, ["shop/web"], "{:?}", forecast.outcome);
    });
    // Without the scheduler's facts, its age says that nothing binds it.
    let unasked = full(vec![]).cluster;
    assert_eq!(unasked.snapshot().forecast(&Assumptions::default()).outcome, Outcome::Stuck);
    let mut unknown = full(vec![]);
    unknown.cluster.nodes[0].allocatable = None;
    unknown.with(|snapshot| {
        let forecast = snapshot.forecast(&Assumptions::default());
        assert_eq!(forecast.unknown.len(), 1, "what pods can request there: {:?}", forecast.unknown);
    });
}

#[test]
fn whether_pods_can_be_created_again_after_a_failure_is_not_known() {
    let event = |reason: &str, minute: u32| {
        let event = json!({"metadata": {"name": reason, "namespace": "prod"}, "reason": reason,
            "involvedObject": {"kind": "DaemonSet", "name": "agent", "namespace": "prod"},
            "message": "exceeded quota: few", "lastTimestamp": format!("2026-01-02T03:{minute:02}:05Z")});
        serde_json::from_value::<daemonplan::model::ReportedEvent>(event).unwrap()
    };
    let unknown = |events: Vec<daemonplan::model::ReportedEvent>| {
        let mut full = Full::of(cluster([sized("a", "1")]).with_spec(requesting("100m")), []);
        for event in events {
            full.objects.add(event);
        }
        full.with(|snapshot| {
            let unknown = snapshot.forecast(&Assumptions::default()).unknown;
            unknown.iter().map(ToString::to_string).collect::<Vec<_>>()
        })
    };
    let failed = "whether pods can be created now (exceeded quota: few)";
    assert_eq!(unknown(vec![event("FailedCreate", 4)]), [failed]);
    assert_eq!(unknown(vec![event("FailedCreate", 4), event("SuccessfulCreate", 5)]), [""; 0]);
}

#[test]
fn a_pod_of_another_scheduler_is_left_to_that() {
    for cpu in ["100m", "2"] {
        let mut spec = requesting(cpu);
        spec["schedulerName"] = json!("batch");
        Full::of(cluster([sized("a", "1")]).with_spec(spec), []).with(|snapshot| {
            let forecast = snapshot.forecast(&Assumptions::default());
            let unknown: Vec<_> = forecast.unknown.iter().map(ToString::to_string).collect();
            assert_eq!(unknown, ["whether the scheduler batch binds its pods"]);
            assert_eq!(forecast.outcome, Outcome::Done, "at best");
        });
    }
}

#[test]
fn the_only_new_pod_comes_first() {
    let mut spec = requesting("100m");
    let term = json!({"topologyKey": "zone", "labelSelector": {"matchLabels": {"app": "agent"}}});
    spec["affinity"] = json!({"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}});
    let zoned = |name: &str, zone: &str| {
        let mut node = sized(name, "1");
        node.labels = [("zone", zone)].into_iter().collect();
        node
    };
    let unknown = |nodes: Vec<Node>| {
        Full::of(cluster(nodes).with_spec(spec.clone()), [])
            .with(|snapshot| snapshot.forecast(&Assumptions::default()).unknown)
    };
    assert_eq!(unknown(vec![zoned("a", "x")]), []);
    assert_eq!(unknown(vec![zoned("a", "x"), zoned("b", "y")]), [UnknownFact::OwnPods], "one needs the other near it");
}

#[test]
fn the_overhead_of_a_new_node_says_what_is_not_known() {
    let of = |fields: Value| {
        let mut spec = requesting("300m");
        spec.as_object_mut().unwrap().append(&mut fields.as_object().unwrap().clone());
        Full::of(cluster([sized("a", "1")]).with_spec(spec), []).with(|snapshot| {
            let fleet = DaemonSetFleet::of([snapshot]);
            let node = sized("new", "1");
            let overhead = fleet.overhead(&node);
            assert_eq!((overhead.running().count(), overhead.pending().len()), (1, 0));
            let unknown: Vec<_> = overhead.unknown_facts().map(|(_, fact)| fact.to_string()).collect();
            (overhead.fits(), unknown)
        })
    };
    let unknown = |fact: &str| (None, vec![fact.to_owned()]);
    assert_eq!(of(json!({})), (Some(true), vec![]));
    assert_eq!(of(json!({"priorityClassName": "high"})), unknown("the PriorityClass high"));
    assert_eq!(of(json!({"schedulerName": "batch"})), unknown("whether the scheduler batch binds its pods"));
    let volumes = json!([{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]);
    assert_eq!(of(json!({"volumes": volumes})), unknown("whether its volumes can be used on a new node"));
    let devices = unknown("whether the devices of its resource claims can be allocated");
    assert_eq!(of(json!({"resourceClaims": [{"name": "gpu"}]})), devices);
    assert_eq!(of(json!({"nodeName": "new", "schedulerName": "batch"})), (Some(true), vec![]));
}

#[test]
fn daemonsets_for_which_a_node_has_room_only_one_by_one_are_found() {
    let own = cluster([sized("a", "1"), sized("b", "4")]).with_spec(requesting("600m"));
    let mut other = own.clone();
    other.daemonset.name = "other".into();
    let nodes = |one: &Cluster, other: &Cluster| {
        let mut objects = SchedulingObjects::default();
        objects
            .add(serde_json::from_value::<PriorityClass>(json!({"metadata": {"name": "high"}, "value": 9})).unwrap());
        let state = ClusterState::new(&one.nodes, [], [], &objects);
        let findings = lint(&[one, other].map(|cluster| cluster.snapshot().scheduling(&state)));
        let found = findings.into_iter().filter(|finding| finding.lint == Lint::DoNotFitTogether);
        found.map(|finding| (finding.daemon_set.name.to_string(), finding.nodes)).collect::<Vec<_>>()
    };
    let on_a = |name: &str| vec![(name.to_owned(), vec!["a".into()])];
    assert_eq!(nodes(&own, &other), on_a("other"), "it comes second by its name");
    let with = |field: &str, value: Value| {
        let mut spec = requesting("600m");
        spec[field] = value;
        other.clone().with_spec(spec)
    };
    assert_eq!(nodes(&own, &with("priorityClassName", json!("high"))), on_a(&own.daemonset.name));
    assert_eq!(nodes(&own, &other.clone().with_spec(requesting("400m"))), []);
    assert_eq!(nodes(&own, &other.clone().with_spec(requesting("1"))), on_a("other"), "it takes all, alone");
    let mut few = own.clone().with_spec(requesting("1m"));
    let amounts = [("cpu", Quantity::from(1_i64)), ("pods", Quantity::from(1_i64))];
    few.nodes[0].allocatable = Some(Arc::new(amounts.into_iter().collect()));
    let mut second = few.clone();
    second.daemonset.name = "other".into();
    assert_eq!(nodes(&few, &second), on_a("other"), "the node allows one pod");
    assert_eq!(nodes(&own, &with("nodeSelector", json!({"role": "other"}))), []);
    assert_eq!(nodes(&own, &other.clone().with_spec(requesting("1100m"))), [], "too large by itself: another finding");
}

#[test]
fn a_forecast_says_all_that_keeps_a_pod_from_its_node() {
    let mut spec = requesting("500m");
    spec["containers"][0]["ports"] = json!([{"containerPort": 9100, "hostPort": 9100}]);
    let mut taken = other("exp", "a", "800m");
    let mut with_port = requesting("800m");
    with_port["containers"][0]["ports"] = spec["containers"][0]["ports"].clone();
    taken.spec = Some(spec_of(&with_port));
    let (_, stuck) = Full::of(cluster([sized("a", "1")]).with_spec(spec), [taken]).forecast();
    let [StuckCause::Unschedulable { reasons, explanation }] = stuck.as_slice() else { panic!("{stuck:?}") };
    assert_eq!(reasons, &["node(s) didn't have free ports for the requested pod ports", "Insufficient cpu"]);
    assert!(explanation.contains("port 9100/TCP is taken by shop/exp; requests cpu 500m"), "{explanation}");
}
