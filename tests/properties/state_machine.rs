//! A simulated cluster: nodes are added and removed, objects edited and deleted, pods fail, and plans are carried out
//! in part. The planner's invariants hold after any events, and once the cluster is quiet it settles.

use crate::common::{Cluster, cluster, node, taint, template};
use crate::reference::check_agreement;
use daemonplan::{
    Action, DeleteReason,
    model::{Labels, Pod, PodPhase, Readiness, Text, UpdateStrategy},
};
use jiff::SignedDuration;
use proptest::{prelude::*, sample::select, test_runner::FileFailurePersistence};
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest, prop_state_machine};
use serde_json::{Value, json};

/// An event. Pods are referred to by their index, modulo the number of pods.
#[derive(Clone, Debug)]
enum ClusterEvent {
    NodeComes(u8),
    NodeGoes(u8),
    NodeBecomes(u8, &'static str),
    NodeIsTainted(u8, &'static str),
    NodeIsCleared(u8),
    TemplateIsEdited(u8),
    RecreatedLeavingPodsBehind,
    ProjectSelects(&'static str),
    PodBecomes(usize, PodPhase, bool),
    PodIsDeletedByHand(usize),
    PodIsMarkedAsDeleted(usize),
    PodsAreGone,
    TimePasses(i64),
    /// The first actions of a plan are carried out; the created pods become ready at once, or not.
    PlanIsCarriedOut(usize, bool),
}

/// Events do not depend on earlier ones.
struct Anything;

impl ReferenceStateMachine for Anything {
    type State = UpdateStrategy;
    type Transition = ClusterEvent;

    fn init_state() -> BoxedStrategy<UpdateStrategy> {
        let bounds = [(json!(1), json!(0)), (json!("50%"), json!(0)), (json!(0), json!(1)), (json!(0), json!("50%"))];
        let rolling = select(bounds.to_vec())
            .prop_map(|(unavailable, surge)| cluster([]).rolling(unavailable, surge).daemonset.update_strategy);
        prop_oneof![1 => Just(UpdateStrategy::OnDelete), 4 => rolling].boxed()
    }

    fn transitions(_: &UpdateStrategy) -> BoxedStrategy<ClusterEvent> {
        use ClusterEvent::{
            NodeBecomes, NodeComes, NodeGoes, NodeIsCleared, NodeIsTainted, PlanIsCarriedOut, PodBecomes,
            PodIsDeletedByHand, PodIsMarkedAsDeleted, PodsAreGone, ProjectSelects, RecreatedLeavingPodsBehind,
            TemplateIsEdited, TimePasses,
        };
        let node = || 0..4_u8;
        let phases = select(vec![PodPhase::Running, PodPhase::Failed, PodPhase::Succeeded, PodPhase::Pending]);
        prop_oneof![
            3 => node().prop_map(NodeComes),
            1 => node().prop_map(NodeGoes),
            1 => (node(), select(vec!["worker", "infra"])).prop_map(|(n, role)| NodeBecomes(n, role)),
            1 => (node(), select(vec!["a=b:NoSchedule", "a=b:NoExecute"])).prop_map(|(n, taint)| NodeIsTainted(n, taint)),
            2 => node().prop_map(NodeIsCleared),
            2 => (0..3_u8).prop_map(TemplateIsEdited),
            1 => Just(RecreatedLeavingPodsBehind),
            1 => select(vec!["", "role=worker", "role!=worker"]).prop_map(ProjectSelects),
            4 => (any::<usize>(), phases, any::<bool>()).prop_map(|(pod, phase, ready)| PodBecomes(pod, phase, ready)),
            1 => any::<usize>().prop_map(PodIsDeletedByHand),
            1 => any::<usize>().prop_map(PodIsMarkedAsDeleted),
            1 => Just(PodsAreGone),
            1 => (1..2000_i64).prop_map(TimePasses),
            8 => (0..6_usize, any::<bool>()).prop_map(|(actions, ready)| PlanIsCarriedOut(actions, ready)),
        ]
        .boxed()
    }

    fn apply(strategy: UpdateStrategy, _: &ClusterEvent) -> UpdateStrategy {
        strategy
    }
}

struct Life;

fn name_of(number: u8) -> String {
    format!("node-{number}")
}

fn edition(number: u8) -> Value {
    json!({"containers": [{"name": "agent", "image": format!("agent:{number}")}]})
}

fn any_pod(cluster: &mut Cluster, number: usize) -> Option<&mut Pod> {
    let count = cluster.pods.len();
    cluster.pods.get_mut(number.checked_rem(count)?)
}

fn any_node(cluster: &mut Cluster, number: u8) -> Option<&mut daemonplan::model::Node> {
    cluster.nodes.iter_mut().find(|node| *node.name == name_of(number))
}

fn carry_out(cluster: &mut Cluster, first: usize, ready: bool) {
    let plan = cluster.plan();
    let (actions, backoff) = (plan.actions.clone(), plan.backoff.clone());
    let done = &actions[..first.min(actions.len())];
    let deletes_failed = |on: &Text| {
        let fits = |action: &Action| matches!(action, Action::DeletePod { node: Some(node), reason: DeleteReason::Failed, .. } if node == on);
        done.iter().any(fits)
    };
    cluster.backoff.update(backoff.into_iter().filter(|(key, _)| deletes_failed(&key.node)), cluster.now);
    let born = cluster.born;
    cluster.apply(done);
    for pod in cluster.pods.iter_mut().rev().take(usize::try_from(cluster.born - born).unwrap()) {
        if !ready {
            (pod.phase, pod.ready) = (PodPhase::Pending, Readiness::default());
        }
    }
}

impl StateMachineTest for Life {
    type SystemUnderTest = Cluster;
    type Reference = Anything;

    fn init_test(strategy: &UpdateStrategy) -> Cluster {
        let mut cluster = cluster([node("node-0"), node("node-1")]).with(|daemonset| {
            daemonset.update_strategy = *strategy;
            daemonset.min_ready_seconds = 30;
        });
        cluster.daemonset.template = template(edition(0));
        cluster.revisions.clear();
        cluster
    }

    fn apply(mut cluster: Cluster, _: &UpdateStrategy, event: ClusterEvent) -> Cluster {
        match event {
            ClusterEvent::NodeComes(number) => {
                if any_node(&mut cluster, number).is_none() {
                    cluster.nodes.push(node(&name_of(number)));
                }
            }
            ClusterEvent::NodeGoes(number) => cluster.nodes.retain(|node| *node.name != name_of(number)),
            ClusterEvent::NodeBecomes(number, role) => {
                if let Some(node) = any_node(&mut cluster, number) {
                    node.labels = Labels::from_iter([("role", role)]);
                }
            }
            ClusterEvent::NodeIsTainted(number, text) => {
                if let Some(node) = any_node(&mut cluster, number) {
                    node.taints = vec![taint(text)];
                }
            }
            ClusterEvent::NodeIsCleared(number) => {
                if let Some(node) = any_node(&mut cluster, number) {
                    node.taints.clear();
                }
            }
            ClusterEvent::TemplateIsEdited(number) => {
                cluster.daemonset.template = template(edition(number));
                cluster.daemonset.generation += 1;
            }
            ClusterEvent::RecreatedLeavingPodsBehind => {
                // Owned objects are released, as planned for a DaemonSet with the finalizer `orphan`.
                cluster.daemonset.deleted = Some(cluster.now);
                cluster.daemonset.finalizers = vec!["orphan".into()];
                let released = cluster.plan().actions;
                cluster.apply(&released);
                assert_eq!(cluster.plan().actions, []);
                cluster.daemonset.deleted = None;
                cluster.daemonset.finalizers.clear();
                cluster.daemonset.status = daemonplan::model::DaemonSetStatus::default();
            }
            ClusterEvent::ProjectSelects(text) => {
                cluster.namespace.annotations = Labels::from_iter([("openshift.io/node-selector", text)]);
            }
            ClusterEvent::PodBecomes(number, phase, ready) => {
                let since = Some(cluster.now);
                if let Some(pod) = any_pod(&mut cluster, number).filter(|pod| !pod.is_terminal()) {
                    pod.phase = phase;
                    pod.ready =
                        if ready && !pod.is_terminal() { Readiness::Ready { since } } else { Readiness::default() };
                }
            }
            ClusterEvent::PodIsDeletedByHand(number) => {
                if let Some(name) = any_pod(&mut cluster, number).map(|pod| pod.name.clone()) {
                    cluster.pods.retain(|pod| pod.name != name);
                }
            }
            ClusterEvent::PodIsMarkedAsDeleted(number) => {
                let now = cluster.now;
                if let Some(pod) = any_pod(&mut cluster, number) {
                    pod.deleted = Some(now);
                }
            }
            ClusterEvent::PodsAreGone => cluster.pods.retain(|pod| !pod.is_being_deleted()),
            ClusterEvent::TimePasses(seconds) => cluster.now += SignedDuration::from_secs(seconds),
            ClusterEvent::PlanIsCarriedOut(actions, ready) => carry_out(&mut cluster, actions, ready),
        }
        cluster
    }

    fn check_invariants(cluster: &Cluster, _: &UpdateStrategy) {
        check_agreement(&cluster.facts());
        let surges = matches!(cluster.daemonset.update_strategy, UpdateStrategy::RollingUpdate { max_surge, .. } if max_surge.of(1) > 0);
        for node in &cluster.nodes {
            let on_node =
                |pod: &&Pod| pod.node.name() == Some(&node.name) && !pod.is_being_deleted() && !pod.is_terminal();
            let live = cluster.pods.iter().filter(on_node).count();
            assert!(live <= 1 + usize::from(surges), "{live} live pods on {}", node.name);
        }
    }

    fn teardown(mut cluster: Cluster, _: UpdateStrategy) {
        let since = Some(cluster.now);
        cluster.pods.retain(|pod| !pod.is_being_deleted());
        for pod in cluster.pods.iter_mut().filter(|pod| !pod.is_terminal()) {
            (pod.phase, pod.ready) = (PodPhase::Running, Readiness::Ready { since });
        }
        cluster.now += SignedDuration::from_hours(1);
        cluster.settle();
        for placement in cluster.snapshot().placements() {
            let pods: Vec<_> = cluster.pods.iter().filter(|pod| pod.node.name() == Some(&placement.node)).collect();
            assert!(!placement.verdict.should_run() || pods.len() == 1, "{placement}, but its pods are {pods:?}");
            assert!(placement.verdict.may_keep_running() || pods.is_empty(), "{placement}, but its pods are {pods:?}");
        }
    }
}

prop_state_machine! {
    #![proptest_config(ProptestConfig {
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct("tests/properties/state_machine.proptest-regressions"))),
        ..ProptestConfig::default()
    })]

    #[test]
    fn invariants_hold_and_the_cluster_settles(sequential 1..40 => Life);
}
