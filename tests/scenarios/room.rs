//! Whether pods fit: what explanations, forecasts, diffs and lints say of the scheduler and admission.

use std::sync::Arc;

use daemonplan::{
    Snapshot,
    forecast::{Assumptions, Outcome, StuckCause},
    lint::{Lint, lint},
    model::{Namespace, Node, Pod, PodNode, PodPhase, PodSpec, Quantity, ResourceList, ResourceQuota, RuntimeClass},
    scheduling::{ClusterState, SchedulingObjects},
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
    Arc::new(PodSpec::of(&template(requesting(cpu))).unwrap())
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
            ["fits if shop/web leaves (cpu 800m)", "fits if it requests 100m less cpu, or the node has 100m more"]
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
    assert_eq!(stuck[0].to_string(), "the new pod stays Pending: Insufficient cpu");
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
fn a_quota_lets_as_many_pods_come_as_it_has_room_for() {
    let nodes = || cluster([sized("a", "1"), sized("b", "1"), sized("c", "1")]).with_spec(requesting("100m"));
    assert_eq!(Full::of(nodes(), []).quota(5, 2).forecast().0, Outcome::Done);
    let (outcome, stuck) = Full::of(nodes(), []).quota(4, 3).forecast();
    assert_eq!((outcome, stuck.len()), (Outcome::Stuck, 2));
    assert_eq!(
        stuck[0].to_string(),
        "admission refuses the new pod (ResourceQuota): exceeded quota: few, pods 3 of 4 used"
    );
    let replaced = Full::of(updating("300m", &[("a", "1"), ("b", "1")]), []).quota(2, 2);
    assert_eq!(replaced.forecast().0, Outcome::Done, "a pod that is gone gives its room to the next");
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
        assert_eq!(snapshot.forecast(&Assumptions::default()).outcome, Outcome::Done);
    });
}

#[test]
fn what_never_fits_is_found() {
    let never = |cpu: &str| Full::of(cluster([sized("a", "1")]).with_spec(requesting(cpu)), []);
    assert!(never("1500m").has(Lint::NeverFits) && !never("1").has(Lint::NeverFits));
    let surging =
        |cpu: &str| Full::of(cluster([sized("a", "1")]).with_spec(requesting(cpu)).rolling(json!(0), json!(1)), []);
    assert!(surging("600m").has(Lint::SurgeNeverFits) && !surging("500m").has(Lint::SurgeNeverFits));
    assert!(!never("600m").has(Lint::SurgeNeverFits));
    assert!(never("1").quota(0, 0).has(Lint::QuotaTooSmall) && !never("1").quota(1, 0).has(Lint::QuotaTooSmall));
}

#[test]
fn what_admission_refuses_or_keeps_away_is_found() {
    let with_class = |class: Value, spec: Value| {
        let mut full = Full::of(cluster([sized("a", "1")]).with_spec(spec), []);
        full.objects.add(serde_json::from_value::<RuntimeClass>(class).unwrap());
        full
    };
    let class = json!({"metadata": {"name": "kata"}, "scheduling": {"nodeSelector": {"kata": "yes"}}});
    let mut spec = requesting("100m");
    spec["runtimeClassName"] = json!("kata");
    assert!(with_class(class.clone(), spec.clone()).has(Lint::AdmissionExcludesNodes));
    spec["runtimeClassName"] = json!("other");
    assert!(with_class(class.clone(), spec).has(Lint::AdmissionRefuses));
    assert!(!with_class(class, requesting("100m")).has(Lint::AdmissionRefuses));
}
