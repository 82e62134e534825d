//! What the scheduler does not decide: the kubelet, and pods that must leave first.

use daemonplan::{
    explain::PodState,
    forecast::{Assumptions, Outcome},
    lint::{Lint, lint},
    manifest::Manifests,
    model::{Labels, Namespace, Node, Pod, PodNode, PodPhase, PodProblem, PodScheduling, PodSpec, UpdateStrategy},
    overhead::DaemonSetFleet,
    scheduling::{ClusterState, PodAdmission, UnknownFact},
};
use serde_json::{Value, json};

use super::{
    super::common::{Cluster, PodExt, cluster, pod, taint},
    Full, other, requesting, sized, spec, spec_of, updating,
};

/// What the forecast does not know.
fn doubts(cluster: Cluster) -> (Outcome, Vec<String>) {
    Full::of(cluster, []).with(|snapshot| {
        let forecast = snapshot.forecast(&Assumptions::default());
        (forecast.outcome, forecast.unknown.iter().map(ToString::to_string).collect())
    })
}

fn labelled(key: &str, value: &str) -> Node {
    let mut node = sized("v", "1");
    node.labels = Labels::from_iter([(key, value)]);
    node
}

#[test]
fn whether_pods_run_on_virtual_nodes_is_not_known() {
    let unknown = vec!["whether a virtual kubelet runs its pod on node v".to_owned()];
    for (key, value) in [("type", "virtual-kubelet"), ("eks.amazonaws.com/compute-type", "fargate")] {
        assert_eq!(doubts(cluster([labelled(key, value)])), (Outcome::Done, unknown.clone()));
    }
    let mut tainted = sized("v", "1");
    tainted.taints = vec![taint("virtual-kubelet.io/provider=azure:NoSchedule")];
    let everywhere = json!({"tolerations": [{"operator": "Exists"}]});
    assert_eq!(doubts(cluster([tainted]).with_spec(everywhere)), (Outcome::Done, unknown));
    assert_eq!(doubts(cluster([labelled("type", "other")])).1, [""; 0]);
    let mut proven = cluster([labelled("type", "virtual-kubelet")]);
    proven.pods = vec![pod("old", "v").of("zero").but(|pod| pod.spec = Some(spec("100m")))];
    assert_eq!(doubts(proven).1, [""; 0], "an older pod is ready there");
}

#[test]
fn whether_pods_for_another_operating_system_start_is_not_known() {
    let of = |node: Node, os: &str| {
        let mut spec = requesting("100m");
        spec["os"] = json!({"name": os});
        cluster([node]).with_spec(spec)
    };
    let windows = || labelled("kubernetes.io/os", "windows");
    let unknown = ["whether its pod, which is for linux, starts on node v with another operating system"];
    assert_eq!(doubts(of(windows(), "linux")).1, unknown);
    assert_eq!(doubts(of(windows(), "windows")).1, [""; 0]);
    assert_eq!(doubts(of(sized("v", "1"), "linux")).1, [""; 0], "the node does not say what it has");
    let mut other = of(windows(), "linux");
    other.pods = vec![pod("old", "v").of("zero")];
    other.pods[0].spec = Some(spec("100m"));
    assert_eq!(doubts(other).1, unknown, "the older pod is for any");
    let fleet = |cluster: &Cluster| {
        let fleet = DaemonSetFleet::of([cluster.snapshot()]);
        let overhead = fleet.overhead(&cluster.nodes[0]);
        (overhead.fits(), overhead.unknown_facts().count())
    };
    assert_eq!((fleet(&of(windows(), "linux")), fleet(&of(windows(), "windows"))), ((None, 1), (Some(true), 0)));
    let finding = |cluster: &Cluster| {
        let findings = lint(&[cluster.snapshot()]);
        findings.into_iter().find(|finding| finding.lint == Lint::OtherOperatingSystem)
    };
    let found = finding(&of(windows(), "linux")).unwrap();
    assert_eq!(
        (found.nodes, &*found.fix),
        (vec!["v".into()], "keep them off these nodes: nodeSelector kubernetes.io/os: linux")
    );
    assert_eq!(finding(&of(windows(), "windows")), None);
    let mut proven = of(windows(), "linux");
    let mut own = PodSpec::clone(&spec("100m"));
    own.os = "linux".into();
    proven.pods = vec![pod("old", "v").of("zero").but(|pod| pod.spec = Some(own.into()))];
    assert_eq!(finding(&proven), None, "a pod for linux is ready there");
    assert_eq!(doubts(proven).1, [""; 0]);
}

#[test]
fn a_pod_that_is_refused_does_not_come_to_the_kubelet() {
    let cluster = cluster([labelled("type", "virtual-kubelet")]).with_spec(requesting("2"));
    Full::of(cluster, []).with(|snapshot| {
        let explanation = snapshot.explain();
        let new = explanation.nodes[0].new_pod.as_ref().unwrap();
        assert!(new.feasibility.unknown.is_empty() && new.remedies.is_empty());
        assert!(
            explanation.nodes[0].to_string().ends_with("; the node is virtual: as a rule daemon pods do not run there")
        );
    });
}

#[test]
fn when_a_pod_with_finalizers_is_gone_that_no_kubelet_ends_is_not_known() {
    let with = |finalizers: &[&str], is_bound: bool| {
        let mut old = pod("old", "a").of("zero");
        old.spec = Some(spec("100m"));
        if !is_bound {
            old = old.phase(PodPhase::Pending).unready();
            old.node = PodNode::Intended("a".into());
        }
        let mut problem = PodProblem::default();
        problem.finalizers = finalizers.iter().map(|name| (*name).into()).collect();
        old.problem = Some(Box::new(problem));
        let mut cluster = cluster([sized("a", "1")]);
        old.deleted = Some(cluster.now);
        cluster.pods = vec![old];
        doubts(cluster)
    };
    let unknown = "when prod/old is gone once it is deleted, as it has the finalizer x/y";
    assert_eq!(with(&["x/y"], false), (Outcome::Waiting, vec![unknown.to_owned()]));
    assert_eq!(with(&[], false).0, Outcome::Done);
    assert_eq!(with(&["x/y"], true).0, Outcome::Done, "the kubelet ends it, and then it does not count");
}

#[test]
fn a_pod_that_waits_is_asked_about_by_its_own_spec() {
    let waiting = |requests: &str, node: Node| -> Outcome {
        let mut old = pod("old", &node.name).of("zero").phase(PodPhase::Pending).unready();
        old.node = PodNode::Intended(node.name.clone());
        let mut own = PodSpec::clone(&spec_of(&requesting(requests)));
        own.is_for_one_node = true;
        old.spec = Some(own.into());
        let mut cluster = cluster([node]).with_spec(requesting("100m"));
        cluster.daemonset.update_strategy = UpdateStrategy::OnDelete;
        cluster.pods = vec![old];
        Full::of(cluster, []).forecast().0
    };
    assert_eq!(waiting("3", sized("a", "1")), Outcome::Stuck, "the new template does not count");
    assert_eq!(waiting("300m", sized("a", "1")), Outcome::OnDelete, "it starts, and stays");
}

#[test]
fn explanations_say_what_keeps_a_pod_waiting_that_would_fit() {
    let said = |fields: Value, others: Vec<Pod>| {
        let mut own = requesting("300m");
        own.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        let mut cluster = cluster([sized("a", "1")]).with_spec(own.clone());
        let mut waiting = pod("waiting", "a").phase(PodPhase::Pending).unready();
        waiting.node = PodNode::Intended("a".into());
        let mut own = PodSpec::clone(&spec_of(&own));
        own.is_for_one_node = true;
        waiting.spec = Some(own.into());
        cluster.pods = vec![waiting];
        Full::of(cluster, others).with(|snapshot| {
            let explanation = snapshot.explain();
            assert_eq!(explanation.nodes[0].pods[0].state, PodState::Pending);
            explanation.nodes[0].to_string()
        })
    };
    let start = "an up-to-date pod, pending; ";
    let gated = said(json!({"schedulingGates": [{"name": "x"}]}), vec![]);
    assert_eq!(gated, format!("{start}by the facts given: waiting for scheduling gates: [x]"));
    assert_eq!(said(json!({"schedulerName": "volcano"}), vec![]), format!("{start}left to another scheduler"));
    let mut expected = other("big", "a", "900m");
    expected.node = PodNode::None;
    expected.phase = PodPhase::Pending;
    let mut status = PodScheduling::default();
    status.nominated_node = "a".into();
    expected.scheduling = Some(Box::new(status));
    let kept_free = said(json!({}), vec![expected]);
    assert_eq!(kept_free, format!("{start}by the facts given: the node is kept free for shop/big"));
}

#[test]
fn that_new_pods_start_is_not_known_while_those_of_their_template_fail() {
    let of = |starts: bool| {
        let mut cluster = updating("300m", &[("a", "1"), ("b", "1"), ("c", "1")]);
        let failing = |name: &str, node: &str| {
            let mut pod = pod(name, node).unready();
            let mut problem = PodProblem::default();
            problem.waiting = "CrashLoopBackOff".into();
            pod.problem = Some(Box::new(problem));
            pod
        };
        cluster.pods[0] = failing("new-a", "a");
        cluster.pods[1] = if starts { pod("new-b", "b") } else { failing("new-b", "b") };
        let cluster = cluster.rolling(json!(3), json!(0));
        cluster.snapshot().forecast(&Assumptions::default()).unknown
    };
    let unknown: Vec<_> = of(false).iter().map(ToString::to_string).collect();
    assert_eq!(unknown, ["whether new pods start, as prod/new-a by the same template does not (CrashLoopBackOff)"]);
    assert_eq!(of(true), [], "it starts on another node");
}

#[test]
fn what_the_kubelet_says_of_a_waiting_container_is_told() {
    let of = |reason: &str, message: &str| {
        let waiting = json!({"reason": reason, "message": message});
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "x"},
            "status": {"containerStatuses": [{"restartCount": 0, "state": {"waiting": waiting}}]},
        }))
        .unwrap();
        let again: Pod = serde_json::from_value(serde_json::to_value(&pod).unwrap()).unwrap();
        assert_eq!(again, pod);
        pod.problem.unwrap().to_string()
    };
    let missing = of("CreateContainerConfigError", "configmap \"agent\" not found");
    assert_eq!(missing, "CreateContainerConfigError: configmap \"agent\" not found");
    assert_eq!(of("CrashLoopBackOff", "back-off 5m0s restarting failed container"), "CrashLoopBackOff");
    assert_eq!(of("ImagePullBackOff", ""), "ImagePullBackOff");
}

#[test]
fn what_could_not_be_read_is_not_known_where_its_kind_matters() {
    let of = |text: &str| {
        let mut manifests = Manifests::default();
        manifests.read("cluster.yaml", text.as_bytes()).unwrap();
        assert_eq!(manifests.problems().len(), 1, "{:?}", manifests.problems());
        let (node, pod) = (sized("a", "1"), Pod::new("prod", "agent"));
        let state = ClusterState::new([&node], [], [], manifests.scheduling_objects());
        let admitted =
            PodAdmission::new(&Namespace::new("prod"), manifests.scheduling_objects()).admit(&PodSpec::default());
        let texts = |unknown: Vec<UnknownFact>| unknown.iter().map(ToString::to_string).collect::<Vec<_>>();
        let of_scheduler = texts(state.feasibility(&pod).unknown);
        (of_scheduler.iter().any(|fact| fact.contains("could not be read")), texts(admitted.unknown))
    };
    let admission = |fact: &str| vec![format!("what {fact} that could not be read")];
    let pod = "kind: Pod\nmetadata: {name: web}\nspec: {containers: [{name: web, resources: {requests: {cpu: 1mm}}}]}";
    assert_eq!(of(pod), (true, Vec::new()));
    let quota = "kind: ResourceQuota\nmetadata: {name: few}\nspec: {hard: {pods: two}}";
    assert_eq!(of(quota), (false, admission("1 ResourceQuota holds")));
    assert_eq!(of("a: [b"), (true, admission("1 object holds")), "it may be of any kind");
    let daemonset = "apiVersion: apps/v1\nkind: DaemonSet\nmetadata: {name: agent}\nspec: {minReadySeconds: -1}";
    assert_eq!(of(daemonset), (false, Vec::new()), "neither asks for it");
}
