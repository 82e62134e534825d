//! What holds for any cluster.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // a test says what is wrong by failing
#![allow(clippy::wildcard_imports)] // of the builder

mod common;

use std::collections::{BTreeMap, BTreeSet};

use common::*;
use daemonplan::{
    Action, Creation,
    model::{HASH_LABEL, Node, Pod, PodNode, PodPhase, Readiness, UpdateStrategy},
};
use proptest::{collection::vec, prelude::*, sample::select, test_runner::FileFailurePersistence};
use serde_json::{Value, json};

const NODES: [&str; 7] = ["a", "b", "c", "d", "e", "f", "gone"];

fn any_node(name: &'static str) -> impl Strategy<Value = Node> {
    let taints = select(vec!["dedicated=db:NoSchedule", "broken:NoExecute", "soft:PreferNoSchedule"]);
    (proptest::option::of(select(vec!["worker", "infra"])), vec(taints, 0..2)).prop_map(move |(role, taints)| {
        let mut node = tainted(name, &taints);
        node.labels = role.into_iter().map(|role| ("role", role)).collect();
        node
    })
}

fn any_pod(number: usize) -> impl Strategy<Value = Pod> {
    let state = (
        select(NODES.to_vec()),
        0..8_u8,
        select(vec![
            PodPhase::Running,
            PodPhase::Running,
            PodPhase::Running,
            PodPhase::Pending,
            PodPhase::Failed,
            PodPhase::Succeeded,
        ]),
        proptest::option::weighted(0.7, 0..100_i64),
        select(vec!["one", "two", "zero"]),
        0..6_u8,
        prop::bool::weighted(0.15),
    );
    state.prop_map(move |(node, bound, phase, ready_for, hash, owner, deleted)| {
        let now: jiff::Timestamp = "2026-01-02T03:04:05Z".parse().unwrap();
        let mut pod = pod(&format!("agent-{number}"), node).of(hash).phase(phase);
        match bound {
            0 => pod.node = PodNode::None,
            1 => pod.node = PodNode::Intended(node.into()),
            _ => {}
        }
        if let Some(seconds) = ready_for {
            pod.ready = Readiness::Ready { since: Some(now - jiff::SignedDuration::from_secs(seconds)) };
        }
        match owner {
            0 => pod.controller = None,
            1 => pod.controller.as_mut().unwrap().uid = "uid-other".into(),
            2 => pod.labels = pod.labels.with("app", "other"),
            _ => {}
        }
        if deleted { pod.being_deleted() } else { pod }
    })
}

fn any_bound() -> impl Strategy<Value = Value> {
    prop_oneof![(0..4_u32).prop_map(|count| json!(count)), (0..=100_u32).prop_map(|p| json!(format!("{p}%")))]
}

fn any_strategy() -> impl Strategy<Value = Value> {
    let rolling = |(unavailable, surge)| json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": unavailable, "maxSurge": surge}});
    prop_oneof![
        1 => Just(json!({"type": "OnDelete"})),
        2 => any_bound().prop_map(move |unavailable| rolling((unavailable, json!(0)))),
        2 => any_bound().prop_map(move |surge| rolling((json!(0), surge))),
    ]
}

prop_compose! {
    fn any_cluster()(
        nodes in (any_node("a"), any_node("b"), any_node("c"), any_node("d"), any_node("e"), any_node("f")),
        count in 0..=6_usize,
        pods in (0..12_usize).prop_flat_map(|count| (0..count).map(any_pod).collect::<Vec<_>>()),
        strategy in any_strategy(),
        spec in select(vec![json!({}), json!({"nodeSelector": {"role": "worker"}}), json!({"tolerations": [{"operator": "Exists"}]})]),
        min_ready_seconds in select(vec![0, 0, 60]),
        burst in select(vec![1, 2, 250]),
        limit in 0..3_u32,
        selector in select(vec!["", "role=worker", "!role"]),
    ) -> Cluster {
        let (a, b, c, d, e, f) = nodes;
        cluster([a, b, c, d, e, f].into_iter().take(count))
            .with_spec(spec)
            .with_strategy(strategy)
            .with_pods(pods)
            .annotated(&[("openshift.io/node-selector", selector)])
            .with_settings(|settings| settings.burst(burst))
            .with(|daemonset| {
                daemonset.min_ready_seconds = min_ready_seconds;
                daemonset.revision_history_limit = limit;
            })
    }
}

/// Claimed pods that are not being deleted, those that are to be adopted included, by node.
fn live_pods(cluster: &Cluster) -> BTreeMap<&str, Vec<&Pod>> {
    let mut by_node = BTreeMap::<_, Vec<_>>::new();
    for pod in &cluster.pods {
        let ours = pod.controller.as_ref().is_none_or(|owner| owner.uid == "uid-agent")
            && pod.labels.get("app") == Some("agent");
        if let Some(node) = pod.node.name().filter(|_| ours && !pod.is_being_deleted()) {
            by_node.entry(&**node).or_default().push(pod);
        }
    }
    by_node
}

fn surges(cluster: &Cluster) -> bool {
    matches!(cluster.daemonset.update_strategy, UpdateStrategy::RollingUpdate { max_surge, .. } if max_surge.of(1) > 0)
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct("tests/properties.proptest-regressions"))),
        ..ProptestConfig::default()
    })]

    #[test]
    fn carrying_plans_out_leads_to_a_plan_that_asks_for_nothing(mut cluster in any_cluster(), new_template: bool) {
        if new_template {
            cluster = cluster.with_new_template();
        }
        // The cluster itself removes pods that are being deleted.
        cluster.pods.retain(|pod| !pod.is_being_deleted());
        // A pod that is stuck, neither ready nor ended, never becomes ready by itself.
        for pod in &mut cluster.pods {
            if !pod.is_terminal() && !pod.is_ready() {
                pod.ready = Readiness::Ready { since: Some(cluster.now) };
            }
        }
        cluster.settle();

        let plan = cluster.plan();
        prop_assert_eq!(&plan.actions, &[]);
        let wanted: BTreeSet<_> = plan.placements().filter(|p| p.verdict.should_run()).map(|p| p.node).collect();
        let hash = plan.hash.clone();
        let live = live_pods(&cluster);
        for node in &wanted {
            let pods = &live[&**node];
            prop_assert_eq!(pods.len(), 1, "node {} has {:?}", node, pods);
            if cluster.daemonset.update_strategy != UpdateStrategy::OnDelete {
                prop_assert_eq!(pods[0].labels.get(HASH_LABEL), Some(&*hash));
            }
        }
        for (node, _) in live {
            prop_assert!(plan.placement(node).unwrap().verdict.may_keep_running(), "a pod is left on {}", node);
        }
    }

    #[test]
    fn the_order_of_the_input_makes_no_difference(cluster in any_cluster(), seed in any::<u64>()) {
        let mut shuffled = cluster.clone();
        let key = |name: &str| name.bytes().fold(seed, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
        shuffled.nodes.sort_by_key(|node| key(&node.name));
        shuffled.pods.sort_by_key(|pod| key(&pod.name));
        shuffled.revisions.reverse();
        let (a, b) = (cluster.plan(), shuffled.plan());
        prop_assert_eq!(serde_json::to_string(&a.actions).unwrap(), serde_json::to_string(&b.actions).unwrap());
        prop_assert_eq!(&a.status, &b.status);
        prop_assert_eq!(&a.events, &b.events);
        prop_assert_eq!(&a.backoff, &b.backoff);
        prop_assert_eq!(&a.warnings, &b.warnings);
        prop_assert_eq!(a.plan_again_after, b.plan_again_after);
        prop_assert!(a.placements().eq(b.placements()));
    }

    #[test]
    fn no_pod_is_created_beside_another_but_to_surge(cluster in any_cluster()) {
        let live = live_pods(&cluster);
        let plan = cluster.plan();
        for action in &plan.actions {
            let Action::CreatePod { node, reason, .. } = action else { continue };
            prop_assert!(plan.placement(node).unwrap().verdict.should_run(), "{action}");
            let running: Vec<_> = live.get(&**node).into_iter().flatten().filter(|pod| !pod.is_terminal()).collect();
            match reason {
                Creation::Surge | Creation::ReplacesUnavailable => {
                    prop_assert!(surges(&cluster) && running.len() == 1, "{action}");
                }
                _ => prop_assert!(running.is_empty(), "{action}"),
            }
        }
    }

    #[test]
    fn only_own_pods_are_touched_and_only_orphans_adopted(cluster in any_cluster()) {
        let plan = cluster.plan();
        let adopted: BTreeSet<_> = plan.actions.iter().filter_map(|action| match action {
            Action::AdoptPod { pod } => Some(pod.name.clone()),
            _ => None,
        }).collect();
        for action in &plan.actions {
            let (pod, may_be_adopted) = match action {
                Action::DeletePod { pod, .. } | Action::RelabelPod { pod, .. } => (pod, adopted.contains(&pod.name)),
                Action::ReleasePod { pod, .. } => (pod, false),
                Action::AdoptPod { pod } => {
                    let found = cluster.pods.iter().find(|other| other.name == pod.name).unwrap();
                    prop_assert!(found.controller.is_none() && !found.is_being_deleted());
                    continue;
                }
                _ => continue,
            };
            let found = cluster.pods.iter().find(|other| other.name == pod.name).unwrap();
            let owned = found.controller.as_ref().is_some_and(|owner| owner.uid == "uid-agent");
            prop_assert!(owned || may_be_adopted, "{action}");
            prop_assert_eq!(&pod.uid, &found.uid);
        }
    }

    #[test]
    fn an_update_never_takes_more_available_pods_than_max_unavailable_allows(cluster in any_cluster()) {
        let UpdateStrategy::RollingUpdate { max_unavailable, .. } = cluster.daemonset.update_strategy else {
            return Ok(());
        };
        let plan = cluster.plan();
        let status = plan.status.as_ref().unwrap();
        let turns = plan.actions.iter().filter(|action| action.reason_code() == "Outdated").count();
        let desired = usize::try_from(status.desired_number_scheduled).unwrap();
        prop_assert!(turns <= max_unavailable.of(desired).max(1), "{} at once", turns);
    }

    #[test]
    fn the_burst_limits_creations_and_deletions(cluster in any_cluster(), burst in 0..4_usize) {
        let limited = cluster.clone().with_settings(|settings| settings.burst(burst));
        let count = |kind: fn(&Action) -> bool| limited.plan().actions.iter().filter(|action| kind(action)).count();
        let creations = count(|action| matches!(action, Action::CreatePod { .. }));
        let deletions = count(|action| matches!(action, Action::DeletePod { .. }));
        prop_assert!(creations <= burst && deletions <= burst, "{} and {}", creations, deletions);
    }

    #[test]
    fn the_status_is_a_naive_count(cluster in any_cluster()) {
        let plan = cluster.plan();
        let status = plan.status.clone().unwrap();
        let desired = plan.placements().filter(|placement| placement.verdict.should_run()).count();
        prop_assert_eq!(usize::try_from(status.desired_number_scheduled).unwrap(), desired);
        prop_assert_eq!(status.number_unavailable, status.desired_number_scheduled - status.number_available);
        prop_assert!(status.number_available <= status.number_ready);
        prop_assert!(status.number_ready <= status.current_number_scheduled);
        prop_assert!(status.updated_number_scheduled <= status.current_number_scheduled);
        prop_assert!(status.current_number_scheduled <= status.desired_number_scheduled);
    }

    #[test]
    fn objects_survive_a_round_trip(cluster in any_cluster()) {
        for pod in &cluster.pods {
            let text = serde_json::to_string(pod).unwrap();
            prop_assert_eq!(&serde_json::from_str::<Pod>(&text).unwrap(), pod);
        }
        for node in &cluster.nodes {
            let text = serde_json::to_string(node).unwrap();
            prop_assert_eq!(&serde_json::from_str::<Node>(&text).unwrap(), node);
        }
        let text = serde_json::to_string(&cluster.daemonset).unwrap();
        prop_assert_eq!(&serde_json::from_str::<daemonplan::model::DaemonSet>(&text).unwrap(), &cluster.daemonset);
    }

    #[test]
    fn selector_expressions_read_what_they_write(text in "[a-z!=<>(), 0-9in]{0,24}") {
        if let Ok(selector) = text.parse::<daemonplan::matching::SelectorExpression>() {
            prop_assert_eq!(selector.to_string().parse::<daemonplan::matching::SelectorExpression>(), Ok(selector));
        }
    }
}
