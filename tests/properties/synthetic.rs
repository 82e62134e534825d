//! Synthetic clusters match their condition and are deterministic for a seed.

use std::collections::HashSet;

use daemonplan::{
    Action, DeleteReason, Plan,
    manifest::Manifests,
    synthetic::{Condition, Synthetic, SyntheticCluster},
};

fn cluster(condition: Condition) -> SyntheticCluster {
    Synthetic::new(400).condition(condition).build()
}

fn count(plan: &Plan, is_it: impl Fn(&Action) -> bool) -> usize {
    plan.actions.iter().filter(|action| is_it(action)).count()
}

#[test]
fn equal_seeds_give_equal_clusters_and_other_seeds_others() {
    let make = |seed| Synthetic::new(50).daemonsets(8).other_pods(100).seed(seed).build();
    assert_eq!(make(3), make(3));
    assert_ne!(make(3).pods, make(4).pods);
    assert_ne!(make(3).nodes, make(4).nodes);
}

#[test]
fn nodes_have_15_labels_and_taints_and_names_are_unique() {
    let cluster = Synthetic::new(2000).daemonsets(8).other_pods(5000).build();
    assert!(cluster.nodes.iter().all(|node| node.labels.len() == 15 && !node.taints.is_empty()));
    let nodes: HashSet<_> = cluster.nodes.iter().map(|node| &node.name).collect();
    let pods: HashSet<_> = cluster.pods.iter().map(|pod| (&pod.namespace, &pod.name)).collect();
    let uids: HashSet<_> = cluster.pods.iter().map(|pod| &pod.uid).collect();
    assert_eq!((nodes.len(), pods.len(), uids.len()), (2000, cluster.pods.len(), cluster.pods.len()));
    assert!(cluster.pods.len() > 5000 + 7 * 1800, "each DaemonSet except the new one has a pod on most nodes");
    let sorted = cluster.pods.is_sorted_by_key(|pod| (pod.namespace.clone(), pod.name.clone()));
    assert!(sorted && cluster.nodes.is_sorted_by_key(|node| node.name.clone()));
}

#[test]
fn each_condition_has_its_expected_plan() {
    for condition in [Condition::Settled, Condition::SettledWithAffinity, Condition::OnDelete] {
        assert_eq!(cluster(condition).snapshot(0).unwrap().plan().actions, [], "{condition:?}");
    }
    let with_affinity = cluster(Condition::SettledWithAffinity);
    assert!(with_affinity.daemonsets[0].template.required_affinity().is_some());

    let rolling = cluster(Condition::RollingOut);
    let plan = rolling.snapshot(0).unwrap().plan();
    assert!(count(&plan, |a| matches!(a, Action::DeletePod { reason: DeleteReason::Outdated, .. })) > 0);
    let status = plan.status.unwrap();
    assert!(status.updated_number_scheduled * 2 > status.desired_number_scheduled && status.number_unavailable > 0);

    let surging = cluster(Condition::Surging);
    let plan = surging.snapshot(0).unwrap().plan();
    assert!(surging.pods.len() > usize::try_from(plan.status.as_ref().unwrap().desired_number_scheduled).unwrap());

    let plan_of = |cluster: &SyntheticCluster| cluster.snapshot(0).unwrap().plan().requeue_after;
    assert!(plan_of(&cluster(Condition::WarmingUp)).is_some_and(|wait| wait.as_secs() < 300));

    let troubled = cluster(Condition::Troubled);
    let plan = troubled.snapshot(0).unwrap().plan();
    assert!(count(&plan, |a| matches!(a, Action::DeletePod { reason: DeleteReason::Failed, .. })) > 0);
    assert!(count(&plan, |a| matches!(a, Action::CreatePod { .. })) > 0);

    let new = cluster(Condition::New);
    let plan = new.snapshot(0).unwrap().plan();
    assert_eq!(count(&plan, |a| matches!(a, Action::CreatePod { .. })), 250);
}

#[test]
fn a_cluster_written_as_by_kubectl_reads_back_equal() {
    let cluster = Synthetic::new(60).daemonsets(8).other_pods(40).build();
    let mut text = Vec::new();
    cluster.write_json(&mut text).unwrap();
    let mut manifests = Manifests::default();
    manifests.read("synthetic.json", text.as_slice()).unwrap();
    assert!(manifests.problems().is_empty(), "{:?}", manifests.problems());
    assert_eq!(manifests.nodes(), cluster.nodes);
    assert_eq!(manifests.pod_count(), cluster.pods.len());
    for (number, daemonset) in cluster.daemonsets.iter().enumerate() {
        let own = cluster.snapshot(number).unwrap();
        let mut read = manifests.snapshots().filter(|snapshot| snapshot.daemonset() == daemonset);
        let read = read.next().unwrap().at(cluster.now);
        assert_eq!(read.plan().actions, own.plan().actions, "{}", daemonset.name);
    }
}
