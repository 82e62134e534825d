//! Properties of the plans of any cluster.

use std::collections::{BTreeMap, BTreeSet};

use crate::common::{Cluster, selector};
use daemonplan::{
    Action, CreateReason, DeleteReason, Explanation, MissingFact, OwnedSnapshot, Plan,
    explain::UpdateState,
    model::{
        DaemonSet, HASH_LABEL, Namespace, Node, Pod, PodNode, Readiness, TEMPLATE_GENERATION_LABEL, Text,
        UpdateStrategy,
    },
    overhead::{DaemonSetFleet, Refusal},
    placement::Remedy,
    policy::CanaryNodes,
    strategies::{clusters, guided_clusters, selector_texts},
};
use jiff::SignedDuration;
use proptest::{collection::SizeRange, prelude::*, test_runner::FileFailurePersistence};
use serde_json::Value;

/// Generates clusters that can settle: the DaemonSet exists and selects its pods, and all input is complete.
fn living_clusters() -> impl Strategy<Value = Cluster> {
    clusters(0..=12).prop_map(|facts| {
        let OwnedSnapshot { mut daemonset, nodes, mut pods, namespace, revisions, settings, backoff, .. } = facts;
        daemonset.deleted = None;
        daemonset.min_ready_seconds = daemonset.min_ready_seconds.min(60);
        daemonset.selector = daemonset.selector.filter(|own| !own.is_empty()).or(Some(selector("app", "agent")));
        let now = "2026-01-02T03:04:05Z".parse().unwrap();
        // The cluster removes pods being deleted, and pods of missing nodes that a setting leaves to it.
        pods.retain(|pod| !pod.is_being_deleted());
        let exists = |name: &str| nodes.iter().any(|node| &*node.name == name);
        pods.retain(|pod| !matches!(&pod.node, PodNode::Bound(node) if !exists(node)));
        let revisions = revisions.unwrap_or_default();
        Cluster { daemonset, nodes, pods, namespace, revisions, now, settings, backoff, born: 0 }
    })
}

/// Generates clusters with and without rollout policies.
fn any_clusters(nodes: impl Into<SizeRange>) -> impl Strategy<Value = OwnedSnapshot> {
    let nodes = nodes.into();
    prop_oneof![clusters(nodes.clone()).boxed(), guided_clusters(nodes).boxed()]
}

/// Makes all pods that have not ended available.
fn heal(cluster: &mut Cluster) {
    let since = Some(cluster.now - SignedDuration::from_hours(1));
    for pod in cluster.pods.iter_mut().filter(|pod| !pod.is_terminal()) {
        pod.ready = Readiness::Ready { since };
    }
}

fn is_claimed(daemonset: &DaemonSet, pod: &Pod) -> bool {
    let owned = pod
        .controller
        .as_ref()
        .is_none_or(|owner| owner.uid == daemonset.uid && owner.kind == "DaemonSet" && owner.name == daemonset.name);
    let selected = daemonset.selector.as_ref().is_some_and(|selector| selector.matches(&pod.labels));
    pod.namespace == daemonset.namespace && owned && selected
}

/// Returns claimed pods that are not being deleted, including those to be adopted, by node.
fn live_pods<'p>(daemonset: &DaemonSet, pods: &'p [Pod]) -> BTreeMap<&'p str, Vec<&'p Pod>> {
    let mut by_node = BTreeMap::<_, Vec<_>>::new();
    for pod in pods.iter().filter(|pod| is_claimed(daemonset, pod) && !pod.is_being_deleted()) {
        if let Some(node) = pod.node.name() {
            by_node.entry(&**node).or_default().push(pod);
        }
    }
    by_node
}

/// Returns whether a pod has been ready for `minReadySeconds`.
fn is_available(facts: &OwnedSnapshot, pod: &Pod) -> bool {
    let Readiness::Ready { since } = pod.ready else { return false };
    let seconds = i64::from(facts.daemonset.min_ready_seconds);
    let long_enough = |(since, now): (jiff::Timestamp, jiff::Timestamp)| now.duration_since(since).as_secs() >= seconds;
    seconds == 0 || since.zip(facts.now).is_some_and(long_enough)
}

fn is_up_to_date(daemonset: &DaemonSet, plan: &Plan, pod: &Pod) -> bool {
    let generation = daemonset.template_generation().map(|generation| generation.to_string());
    pod.labels.get(HASH_LABEL) == Some(&*plan.hash)
        || (generation.is_some() && pod.labels.get(TEMPLATE_GENERATION_LABEL) == generation.as_deref())
}

/// Checks that the cluster is settled: each desired node has exactly one pod, updated unless updates are off, and no
/// pod is misscheduled.
fn check_settled(cluster: &Cluster) -> Result<(), TestCaseError> {
    let plan = cluster.plan();
    prop_assert_eq!(&plan.actions, &[]);
    let wanted: BTreeSet<_> =
        cluster.snapshot().placements().filter(|p| p.verdict.should_run()).map(|p| p.node).collect();
    let live = live_pods(&cluster.daemonset, &cluster.pods);
    for node in &wanted {
        let pods = live.get(&**node).map(Vec::as_slice).unwrap_or_default();
        prop_assert_eq!(pods.len(), 1, "node {} has {:?}", node, pods);
        let updates = cluster.daemonset.update_strategy != UpdateStrategy::OnDelete;
        prop_assert!(!updates || is_up_to_date(&cluster.daemonset, &plan, pods[0]), "{:?} is out of date", pods[0]);
    }
    for node in live.keys() {
        let placement = cluster.snapshot().placement(node);
        prop_assert!(
            placement.is_some_and(|placement| placement.verdict.may_keep_running()),
            "a pod is left on {node}"
        );
    }
    Ok(())
}

pub(super) fn max_surge(daemonset: &DaemonSet, nodes: usize) -> usize {
    match daemonset.update_strategy {
        UpdateStrategy::OnDelete => 0,
        UpdateStrategy::RollingUpdate { max_surge, .. } => max_surge.of(nodes),
    }
}

pub(super) fn config() -> ProptestConfig {
    let regressions = FileFailurePersistence::Direct("tests/properties/plan_properties.proptest-regressions");
    ProptestConfig { failure_persistence: Some(Box::new(regressions)), ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn what_part_of_the_input_supports_is_also_planned_with_all_of_it(facts in any_clusters(0..=10)) {
        let mut facts = facts;
        facts.settings.burst = 1000;
        let identities = |plan: Plan| -> BTreeSet<String> {
            let identity = |action: &Action| action.to_string().split(':').next().unwrap_or_default().to_owned();
            plan.actions.iter().map(identity).collect()
        };
        let all = identities(facts.snapshot().plan());
        for fact in [MissingFact::Nodes, MissingFact::Pods, MissingFact::Namespace, MissingFact::Revisions] {
            let mut part = facts.clone();
            match fact {
                MissingFact::Nodes => part.nodes.clear(),
                MissingFact::Pods => part.pods.clear(),
                MissingFact::Namespace => part.namespace = Namespace::new(part.namespace.name),
                _ => part.revisions = None,
            }
            let supported = identities(part.snapshot().without(fact).plan());
            let wrong: Vec<_> = supported.difference(&all).collect();
            prop_assert!(wrong.is_empty(), "without {fact}: {wrong:?}, of {all:?}");
        }
    }

    #[test]
    fn carrying_out_plans_settles_the_cluster(mut cluster in living_clusters(), burst in 1..50_usize) {
        // A stuck pod, neither ready nor ended, never becomes ready by itself.
        heal(&mut cluster);
        cluster.settings.burst = burst;
        cluster.settle();
        check_settled(&cluster)?;
    }

    #[test]
    fn planning_in_bursts_has_the_same_outcome(mut cluster in living_clusters(), burst in 1..4_usize) {
        heal(&mut cluster);
        // While revisions are merged, pods count by their old labels: the number of deletions then depends on the
        // burst.
        let merged = cluster.snapshot().expectations_unsatisfied().plan().actions;
        cluster.apply(&merged);
        let outcome = |burst: usize| {
            let mut cluster = cluster.clone();
            cluster.settings.burst = burst;
            cluster.settle();
            let live = live_pods(&cluster.daemonset, &cluster.pods);
            let hashes = |pods: &Vec<&Pod>| pods.iter().map(|pod| pod.labels.get(HASH_LABEL).map(str::to_owned)).collect();
            live.iter().map(|(node, pods)| ((*node).to_owned(), hashes(pods))).collect::<BTreeMap<String, Vec<_>>>()
        };
        prop_assert_eq!(outcome(burst), outcome(1000));
    }

    #[test]
    fn the_order_of_the_input_makes_no_difference(facts in any_clusters(0..=50), seed in any::<u64>()) {
        let mut shuffled = facts.clone();
        let key = |name: &str| name.bytes().fold(seed, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
        shuffled.nodes.sort_by_key(|node| key(&node.name));
        shuffled.pods.sort_by_key(|pod| key(&pod.name));
        shuffled.revisions.iter_mut().for_each(|revisions| revisions.sort_by_key(|revision| key(&revision.name)));
        let (a, b) = (facts.snapshot().plan(), shuffled.snapshot().plan());
        prop_assert_eq!(serde_json::to_string(&a).unwrap(), serde_json::to_string(&b).unwrap());
        prop_assert_eq!(a, b);
        prop_assert!(facts.snapshot().placements().eq(shuffled.snapshot().placements()));
    }

    #[test]
    fn actions_are_sorted_for_execution(facts in any_clusters(0..=50)) {
        let phase = |action: &Action| match action {
            Action::AdoptPod { .. } | Action::ReleasePod { .. } => 0,
            Action::AdoptRevision { .. } | Action::ReleaseRevision { .. } => 1,
            Action::CreateRevision { .. } | Action::UpdateRevision { .. } => 2,
            Action::RelabelPod { .. } => 3,
            Action::RollBack { .. } | Action::RecordRollout { .. } | Action::CreatePod { .. } => 4,
            Action::DeletePod { .. } => 5,
            Action::DeleteRevision { .. } => 6,
            Action::UpdateStatus { .. } => 7,
            other => panic!("{other}"),
        };
        prop_assert!(facts.snapshot().plan().actions.is_sorted_by_key(phase));
    }

    #[test]
    fn no_action_is_duplicated(facts in any_clusters(0..=50)) {
        let plan = facts.snapshot().plan();
        let mut seen = BTreeSet::new();
        for action in &plan.actions {
            // A pod may be adopted and deleted, but never deleted twice.
            let what = serde_json::to_value(action).unwrap();
            let object = ["pod", "revision", "node"].map(|field| what[field].as_str().map(str::to_owned));
            prop_assert!(seen.insert((what["type"].to_string(), object)), "{action}");
        }
    }

    #[test]
    fn no_pod_is_created_beside_another_but_to_surge(facts in any_clusters(0..=50)) {
        let plan = facts.snapshot().plan();
        let live = live_pods(&facts.daemonset, &facts.pods);
        for action in &plan.actions {
            let Action::CreatePod { node, reason, .. } = action else { continue };
            prop_assert!(facts.snapshot().placement(node).unwrap().verdict.should_run(), "{action}");
            let running = live.get(&**node).into_iter().flatten().filter(|pod| !pod.is_terminal()).count();
            match reason {
                CreateReason::Surge | CreateReason::ReplacesUnavailable => {
                    prop_assert!(max_surge(&facts.daemonset, 1) > 0 && running == 1, "{action}");
                }
                _ => prop_assert_eq!(running, 0, "{}", action),
            }
        }
    }

    #[test]
    fn only_owned_pods_are_changed_and_only_orphans_adopted(facts in any_clusters(0..=50)) {
        for action in &facts.snapshot().plan().actions {
            let (pod, adopts) = match action {
                Action::DeletePod { pod, .. } | Action::RelabelPod { pod, .. } | Action::ReleasePod { pod, .. } => (pod, false),
                Action::AdoptPod { pod, .. } => (pod, true),
                _ => continue,
            };
            let found = facts.pods.iter().find(|other| other.name == pod.name).unwrap();
            prop_assert_eq!(&pod.uid, &found.uid);
            let orphan = found.controller.is_none() && !found.is_being_deleted();
            let owned = found.controller.as_ref().is_some_and(|owner| owner.uid == facts.daemonset.uid);
            let released = matches!(action, Action::ReleasePod { .. });
            prop_assert!(if adopts { orphan } else { owned || (orphan && !released) }, "{action}");
            prop_assert!(released || facts.daemonset.is_being_deleted() || is_claimed(&facts.daemonset, found), "{action}");
        }
    }

    #[test]
    fn an_update_keeps_to_max_unavailable(facts in clusters(0..=50)) {
        let UpdateStrategy::RollingUpdate { max_unavailable, .. } = facts.daemonset.update_strategy else { return Ok(()) };
        let plan = facts.snapshot().plan();
        let outdated = |action: &Action| match action {
            Action::DeletePod { pod, reason: DeleteReason::Outdated, .. } => Some(pod.name.clone()),
            _ => None,
        };
        let turns: BTreeSet<_> = plan.actions.iter().filter_map(outdated).collect();
        if turns.is_empty() {
            return Ok(());
        }
        let live = live_pods(&facts.daemonset, &facts.pods);
        let stays_available = |node: &str| {
            live.get(node).into_iter().flatten().any(|pod| is_available(&facts, pod) && !turns.contains(&pod.name))
        };
        let wanted: Vec<_> = facts.snapshot().placements().filter(|placement| placement.verdict.should_run()).collect();
        let unavailable = wanted.iter().filter(|placement| !stays_available(&placement.node)).count();
        prop_assert!(unavailable <= max_unavailable.of(wanted.len()).max(1), "{unavailable} nodes unavailable after: {turns:?}");
    }

    #[test]
    fn an_update_keeps_to_max_surge(facts in any_clusters(0..=50)) {
        let plan = facts.snapshot().plan();
        let surges = |action: &&Action| matches!(action, Action::CreatePod { reason: CreateReason::Surge, .. });
        let surging = plan.actions.iter().filter(surges).count();
        let desired = facts.snapshot().placements().filter(|placement| placement.verdict.should_run()).count();
        let live = live_pods(&facts.daemonset, &facts.pods);
        let pairs = live.values().filter(|pods| pods.len() > 1);
        let available = |pod: &&&Pod| pod.is_ready() && facts.daemonset.min_ready_seconds == 0;
        let unfinished = pairs.filter(|pods| pods.iter().filter(available).count() < pods.len()).count();
        prop_assert!(surging == 0 || surging + unfinished.min(1) <= max_surge(&facts.daemonset, desired).max(1));
        prop_assert!(surging <= max_surge(&facts.daemonset, desired));
    }

    #[test]
    fn the_burst_limits_creations_and_deletions(facts in any_clusters(0..=50), burst in 0..4_usize) {
        let mut limited = facts.clone();
        limited.settings.burst = burst;
        let mut unlimited = facts;
        unlimited.settings.burst = usize::MAX;
        let count = |plan: &Plan, kind: fn(&Action) -> bool| plan.actions.iter().filter(|action| kind(action)).count();
        let (limited, unlimited) = (limited.snapshot().plan(), unlimited.snapshot().plan());
        for (kind, held_back) in [
            ((|action| matches!(action, Action::CreatePod { .. })) as fn(&Action) -> bool, limited.held_back.creations),
            (|action| matches!(action, Action::DeletePod { .. }), limited.held_back.deletions),
        ] {
            let (some, all) = (count(&limited, kind), count(&unlimited, kind));
            prop_assert_eq!(some, all.min(burst));
            prop_assert_eq!(some + held_back, all);
        }
    }

    #[test]
    fn a_created_pod_has_all_fields_of_its_template(facts in clusters(1..=5)) {
        let template = facts.daemonset.template.json();
        for action in &facts.snapshot().plan().actions {
            let Action::CreatePod { node, blueprint, .. } = action else { continue };
            let pod = blueprint.manifest(node);
            let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
            let mut expected = keys(&template["spec"]);
            let added = ["tolerations", "affinity"].map(str::to_owned);
            expected.extend(added.iter().filter(|key| !template["spec"].as_object().unwrap().contains_key(*key)).cloned());
            // A map keeps its order, or sorts its keys, as serde_json is built.
            let expected = expected.into_iter().map(|key| (key, Value::Null)).collect::<Value>();
            prop_assert_eq!(keys(&pod["spec"]), keys(&expected), "the order of the fields");
            for (key, value) in template["spec"].as_object().unwrap().iter().filter(|(key, _)| !added.contains(key)) {
                let mut own = pod["spec"][key].clone();
                if key == "containers" {
                    // The settings can say otherwise.
                    own[0].as_object_mut().unwrap().remove("resources");
                }
                prop_assert_eq!(&own, value);
            }
            for field in ["annotations", "finalizers"] {
                prop_assert_eq!(pod["metadata"].get(field), template["metadata"].get(field));
            }
        }
    }

    #[test]
    fn objects_survive_a_round_trip(facts in any_clusters(0..=5)) {
        for pod in &facts.pods {
            let text = serde_json::to_string(pod).unwrap();
            prop_assert_eq!(&serde_json::from_str::<Pod>(&text).unwrap(), pod);
        }
        for node in &facts.nodes {
            let text = serde_json::to_string(node).unwrap();
            prop_assert_eq!(&serde_json::from_str::<Node>(&text).unwrap(), node);
        }
        for revision in facts.revisions.iter().flatten() {
            let text = serde_json::to_string(revision).unwrap();
            prop_assert_eq!(&serde_json::from_str::<daemonplan::model::ControllerRevision>(&text).unwrap(), revision);
        }
        let text = serde_json::to_string(&facts.daemonset).unwrap();
        prop_assert_eq!(&serde_json::from_str::<DaemonSet>(&text).unwrap(), &facts.daemonset);
    }

    #[test]
    fn selector_expressions_survive_a_round_trip(text in prop_oneof![selector_texts(), "[a-z!=<>(), 0-9in]{0,24}"]) {
        if let Ok(selector) = text.parse::<daemonplan::selector::SelectorExpression>() {
            prop_assert_eq!(selector.to_string().parse::<daemonplan::selector::SelectorExpression>(), Ok(selector));
        }
    }

    #[test]
    fn explanations_agree_with_the_plan(facts in any_clusters(0..=12)) {
        let explanation = facts.snapshot().explain();
        let plan = facts.snapshot().plan();
        let (mut creations, mut deletions) = (Vec::new(), Vec::new());
        for explained in &explanation.nodes {
            prop_assert_eq!(explained.exists, facts.snapshot().placement(&explained.node).is_some());
            if let Some(placement) = facts.snapshot().placement(&explained.node) {
                prop_assert_eq!(explained.verdict, placement.verdict);
                let fails = explained.checks.iter().any(|check| check.failure.is_some());
                prop_assert_eq!(fails, !placement.verdict.should_run());
                prop_assert!(fails || explained.remedies.is_empty());
            }
            creations.extend(explained.creation.map(|reason| (explained.node.clone(), reason)));
            deletions.extend(explained.pods.iter().filter_map(|pod| Some((pod.pod.clone(), pod.deletion.clone()?))));
        }
        prop_assert!(explanation.nodes.is_sorted_by(|a, b| a.node < b.node));
        let created = plan.actions.iter().filter_map(|action| match action {
            Action::CreatePod { node, reason, .. } => Some((node.clone(), *reason)),
            _ => None,
        });
        prop_assert_eq!(creations, created.collect::<Vec<_>>());
        if !facts.daemonset.is_being_deleted() {
            let deleted = plan.actions.iter().filter_map(|action| match action {
                Action::DeletePod { pod, reason, .. } => Some((pod.name.clone(), reason.clone())),
                _ => None,
            });
            let by_name = |pods: Vec<(Text, DeleteReason)>| pods.into_iter().collect::<BTreeMap<_, _>>();
            prop_assert_eq!(by_name(deletions), by_name(deleted.collect()));
        }
        if let UpdateState::Waiting { limit, blocked_by, .. } = &explanation.update {
            let has_zero_limit = *limit == 0 || has_group_with_zero_limit(&facts, &explanation);
            prop_assert!(!blocked_by.is_empty() || has_zero_limit, "the update waits, but no node blocks it");
            // What stands still is not a move: pods neither start nor stop on such a node.
            let stands_still = |name: &Text| {
                let mut taints = facts.nodes.iter().filter(|node| node.name == *name).flat_map(|node| &node.taints);
                taints.any(|taint| ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"].contains(&&*taint.key))
            };
            let moves = plan.actions.iter().any(|action| match action {
                Action::DeletePod { node, .. } => !node.as_ref().is_some_and(stands_still),
                Action::CreatePod { node, .. } => !stands_still(node),
                _ => false,
            });
            let collects = explanation.nodes.iter().any(|explained| !explained.exists);
            prop_assert!(!moves || collects);
        }
    }

    #[test]
    fn applied_remedies_work(facts in clusters(1..=12)) {
        for explained in facts.snapshot().explain().nodes {
            if explained.remedies.is_empty() {
                continue;
            }
            let mut facts = facts.clone();
            let node = facts.nodes.iter_mut().find(|node| node.name == explained.node).unwrap();
            let mut template = serde_json::to_value(&facts.daemonset.template).unwrap();
            for remedy in &explained.remedies {
                match remedy {
                    Remedy::Label { key, value } => {
                        node.labels = node.labels.with(key.clone(), value.clone().unwrap_or_else(|| "any".into()));
                    }
                    Remedy::OtherValue { key, .. } => node.labels = node.labels.with(key.clone(), "never-heard-of"),
                    Remedy::NoLabel { key } => {
                        let others = node.labels.iter().filter(|(other, _)| *other != key);
                        node.labels = others.map(|(key, value)| (key.clone(), value.clone())).collect();
                    }
                    Remedy::NodeInOrder { taint } => node.taints.retain(|other| other != taint),
                    Remedy::Toleration { taint } => {
                        let toleration = serde_json::json!({
                            "key": taint.key, "operator": "Equal", "value": taint.value, "effect": taint.effect,
                        });
                        let tolerations = &mut template["spec"]["tolerations"];
                        let mut all = tolerations.as_array().cloned().unwrap_or_default();
                        all.push(toleration);
                        *tolerations = all.into();
                    }
                    other => panic!("{other}"),
                }
            }
            facts.daemonset.template = serde_json::from_value(template).unwrap();
            let verdict = facts.snapshot().placement(&explained.node).unwrap().verdict;
            prop_assert!(verdict.should_run(), "{}: {}", explained.node, explained);
        }
    }

    #[test]
    fn overhead_agrees_with_the_placement_on_a_new_node(facts in clusters(0..=12)) {
        let fleet = DaemonSetFleet::of([facts.snapshot()]);
        let is_alive = !facts.daemonset.is_being_deleted()
            && facts.daemonset.selector.as_ref().is_none_or(|selector| !selector.is_empty());
        for node in &facts.nodes {
            let overhead = fleet.overhead(node);
            let placement = facts.snapshot().placement(&node.name).unwrap();
            let runs = is_alive && placement.verdict.should_run();
            prop_assert_eq!(overhead.running().count() + overhead.refused().count(), 1);
            match overhead.refused().next().map(|(_, refusal)| refusal) {
                Some(Refusal::NotPlaced(reason)) => prop_assert_eq!(reason, placement.reason),
                // Admission looks at the namespace, and comes after the controller.
                Some(Refusal::NotAdmitted(_)) => prop_assert!(runs),
                Some(_) => prop_assert!(!is_alive),
                None => prop_assert!(runs),
            }
        }
    }
}

/// Returns whether a group's limit is zero nodes, as a percentage of a group without desired nodes.
fn has_group_with_zero_limit(facts: &OwnedSnapshot, explanation: &Explanation) -> bool {
    let policy = facts.settings.policy_of(&facts.daemonset).unwrap_or_default();
    let Some(groups) = policy.groups else { return false };
    let Some(limit) = groups.max_unavailable else { return false };
    let is_canary = |node: &Node| match policy.canary.as_ref().map(|canary| &canary.nodes) {
        Some(CanaryNodes::Matching(selector)) => selector.matches(&node.labels),
        _ => false,
    };
    let mut desired = BTreeMap::<(bool, Option<&str>), usize>::new();
    for node in &facts.nodes {
        let explained = explanation.nodes.iter().find(|explained| explained.node == node.name);
        let should_run = explained.is_some_and(|explained| explained.verdict.should_run());
        let group = if is_canary(node) { None } else { node.labels.get(&groups.label) };
        *desired.entry((is_canary(node), group)).or_default() += usize::from(should_run);
    }
    desired.values().any(|desired| limit.of(*desired) == 0)
}
