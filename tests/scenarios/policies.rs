//! Updates with a rollout policy.

use daemonplan::{
    Action, RolloutPolicy,
    explain::UpdateState,
    lint::lint,
    model::{IntOrPercent, Node, Pod, PodPhase, PodProblem, Readiness},
    policy::RolloutPhase,
};
use jiff::SignedDuration;
use serde_json::json;

use crate::common::*;

/// Returns nodes a, b, … with a new template (hash `two`), `maxUnavailable` 2, and these annotations.
pub(super) fn update(nodes: impl IntoIterator<Item = Node>, annotations: &[(&str, &str)]) -> Cluster {
    let annotations: Vec<_> = annotations.iter().map(|(key, value)| (format!("daemonplan/{key}"), *value)).collect();
    cluster(nodes).with_new_template().rolling(json!(2), json!(0)).with(|daemonset| {
        daemonset.annotations = annotations.iter().map(|(key, value)| (key.as_str(), *value)).collect();
    })
}

fn plain(names: &[&str]) -> Vec<Node> {
    names.iter().map(|name| node(name)).collect()
}

pub(super) fn old(node: &str) -> Pod {
    pod(&format!("old-{node}"), node)
}

fn new(node: &str) -> Pod {
    pod(&format!("new-{node}"), node).of("two")
}

fn crashing(node: &str) -> Pod {
    new(node).unready().but(|pod| {
        let mut problem = PodProblem::default();
        (problem.waiting, problem.restarts) = ("CrashLoopBackOff".into(), 1);
        pod.problem = Some(Box::new(problem));
    })
}

/// Returns the nodes that are updated next.
fn next_nodes(cluster: &Cluster) -> Vec<String> {
    let nodes = cluster.plan().actions.into_iter().filter_map(|action| match action {
        Action::DeletePod { node: Some(node), .. } | Action::CreatePod { node, .. } => Some(node.to_string()),
        _ => None,
    });
    nodes.collect()
}

fn phase(cluster: &Cluster) -> RolloutPhase {
    cluster.plan().rollout.unwrap().phase
}

/// Returns the image of the pod to be created on a node.
fn created_image(cluster: &Cluster) -> String {
    let image = cluster.plan().actions.iter().find_map(|action| match action {
        Action::CreatePod { node, blueprint, .. } => {
            Some(blueprint.manifest(node)["spec"]["containers"][0]["image"].as_str().unwrap().to_owned())
        }
        _ => None,
    });
    image.unwrap()
}

#[test]
fn without_a_policy_a_plan_has_no_rollout_status() {
    assert_eq!(update(plain(&["a"]), &[]).plan().rollout, None);
}

#[test]
fn oldest_pods_can_be_updated_first() {
    let aged = |node: &str, hours| {
        old(node).but(|pod| {
            pod.created =
                Some("2026-01-02T00:00:00Z".parse::<jiff::Timestamp>().unwrap() - SignedDuration::from_hours(hours));
        })
    };
    let cluster = update(plain(&["a", "b", "c"]), &[("order", "oldest-pod")]);
    assert_eq!(next_nodes(&cluster.with_pods([aged("a", 1), aged("b", 3), aged("c", 2)])), ["b", "c"]);
}

#[test]
fn nodes_can_be_updated_by_priority_descending_and_without_priority_last() {
    let nodes = [node("a"), labelled("b", &[("tier", "1")]), labelled("c", &[("tier", "-7")])];
    let cluster = update(nodes, &[("order", "priority=tier")]).with_pods([old("a"), old("b"), old("c")]);
    assert_eq!(next_nodes(&cluster), ["b", "c"]);
}

#[test]
fn a_random_order_is_deterministic_for_a_seed() {
    let chosen = |seed: &str| {
        let cluster = update(plain(&["a", "b", "c", "d"]), &[("order", seed)]).rolling(json!(1), json!(0));
        next_nodes(&cluster.with_pods([old("a"), old("b"), old("c"), old("d")]))
    };
    assert_eq!(chosen("random=1"), chosen("random=1"));
    let all: std::collections::BTreeSet<_> = (0..20).flat_map(|seed| chosen(&format!("random={seed}"))).collect();
    assert_eq!(all.len(), 4, "each node is first for some seed");
}

pub(super) fn zoned() -> Vec<Node> {
    ["a", "b", "c", "d"]
        .into_iter()
        .zip(["east", "west", "east", "west"])
        .map(|(name, zone)| labelled(name, &[("zone", zone)]))
        .collect()
}

#[test]
fn one_zone_at_a_time_is_updated() {
    let cluster = update(zoned(), &[("groups", "zone")]);
    let all_old = cluster.clone().with_pods([old("a"), old("b"), old("c"), old("d")]);
    assert_eq!(next_nodes(&all_old), ["a", "c"]);
    assert_eq!(phase(&all_old), RolloutPhase::Rolling { group: Some("east".into()) });
    let unfinished = cluster.clone().with_pods([new("a"), old("b"), new("c").unready(), old("d")]);
    assert_eq!(next_nodes(&unfinished), [""; 0], "the next zone waits, though one more node may be unavailable");
    let finished = cluster.with_pods([new("a"), old("b"), new("c"), old("d")]);
    assert_eq!(next_nodes(&finished), ["b", "d"]);
}

#[test]
fn zones_can_have_an_order_and_a_limit() {
    let annotations = [("groups", "zone"), ("group-order", "west, east"), ("group-max-unavailable", "1")];
    let cluster = update(zoned(), &annotations).with_pods([old("a"), old("b"), old("c"), old("d")]);
    assert_eq!(next_nodes(&cluster), ["b"]);
}

#[test]
fn an_update_can_be_spread_over_zones() {
    let cluster = update(zoned(), &[("groups", "zone"), ("group-pace", "spread")]);
    assert_eq!(next_nodes(&cluster.clone().with_pods([old("a"), old("b"), old("c"), old("d")])), ["a", "b"]);
    let east_first = cluster.with_pods([new("a").unready(), old("b"), old("c"), old("d")]);
    assert_eq!(next_nodes(&east_first), ["b"], "a node in the east is being updated");
}

#[test]
fn nodes_without_the_label_are_the_last_group() {
    let nodes = [node("a"), labelled("b", &[("zone", "west")])];
    let cluster = update(nodes, &[("groups", "zone")]).with_pods([old("a"), old("b")]);
    assert_eq!(next_nodes(&cluster), ["b"]);
}

#[test]
fn a_partition_keeps_nodes_at_the_older_template() {
    let cluster = update(plain(&["a", "b", "c", "d"]), &[("partition", "50%")]);
    assert_eq!(next_nodes(&cluster.clone().with_pods([new("a"), old("b"), old("c"), old("d")])), ["b"]);
    let done = cluster.with_pods([new("a"), new("b"), old("c"), old("d")]);
    assert_eq!((next_nodes(&done), phase(&done)), (vec![], RolloutPhase::Held));
}

#[test]
fn missing_pods_in_the_partition_get_the_older_template() {
    let cluster = update(plain(&["a", "b", "c"]), &[("partition", "2")]).with_pods([new("a"), old("b")]);
    assert_eq!(cluster.actions().len(), 1);
    assert_eq!(created_image(&cluster), "agent:1");
    let not_held = update(plain(&["a", "b", "c"]), &[("partition", "1")]).with_pods([new("a"), old("b")]);
    assert_eq!(created_image(&not_held), "agent:2");
}

#[test]
fn without_any_of_its_pods_the_older_template_is_unknown() {
    let cluster = update(plain(&["a"]), &[("partition", "1")]);
    assert_eq!(created_image(&cluster), "agent:2");
}

#[test]
fn only_selected_nodes_are_updated() {
    let nodes = [labelled("a", &[("pool", "green")]), labelled("b", &[("pool", "blue")])];
    let cluster = update(nodes, &[("update-nodes", "pool=blue")]);
    assert_eq!(next_nodes(&cluster.clone().with_pods([old("a"), old("b")])), ["b"]);
    let done = cluster.with_pods([old("a"), new("b")]);
    assert_eq!((next_nodes(&done), phase(&done)), (vec![], RolloutPhase::Held));
    let explanation = done.snapshot().explain();
    assert!(
        explanation.nodes[0]
            .to_string()
            .contains("; the policy does not select the node for updates: a pod stays as it is")
    );
}

#[test]
fn a_paused_update_stops_and_new_nodes_get_the_older_template() {
    let cluster = update(plain(&["a", "b", "c"]), &[("paused", "true")]).with_pods([new("a"), old("b").unready()]);
    assert_eq!(next_nodes(&cluster), ["c"]);
    assert_eq!((created_image(&cluster), phase(&cluster)), ("agent:1".to_owned(), RolloutPhase::Paused));
    let explanation = cluster.with_pods([old("c")]).snapshot().explain();
    assert_eq!(explanation.update.to_string(), "2 nodes with an outdated pod: the update is paused");
}

#[test]
fn canaries_are_updated_first_and_bake() {
    let cluster = update(plain(&["a", "b", "c"]), &[("canary", "1"), ("canary-bake", "10m")]);
    let all_old = cluster.clone().with_pods([old("a"), old("b"), old("c")]);
    assert_eq!(
        (next_nodes(&all_old), phase(&all_old)),
        (vec!["a".into()], RolloutPhase::CanaryStarting { available: 0, wanted: 1 })
    );
    let since = |minutes: i64| {
        let at = cluster.now - SignedDuration::from_mins(minutes);
        new("a").but(|pod| pod.ready = Readiness::Ready { since: Some(at) })
    };
    let baking = cluster.clone().with_pods([since(4), old("b"), old("c")]);
    assert_eq!(phase(&baking).to_string(), "the canaries must be available for 6m more");
    assert_eq!((next_nodes(&baking), baking.plan().requeue_after.unwrap().as_secs()), (vec![], 360));
    assert_eq!(next_nodes(&cluster.clone().with_pods([since(10), old("b"), old("c")])), ["b", "c"]);
}

#[test]
fn canaries_can_be_selected_by_labels() {
    let nodes = [node("a"), node("b"), labelled("c", &[("canary", "yes")])];
    let cluster = update(nodes, &[("canary-nodes", "canary=yes"), ("groups", "zone")]);
    assert_eq!(next_nodes(&cluster.clone().with_pods([old("a"), old("b"), old("c")])), ["c"]);
    assert_eq!(next_nodes(&cluster.with_pods([old("a"), old("b"), new("c")])), ["a", "b"]);
}

#[test]
fn a_canary_selector_that_matches_no_node_blocks_the_update() {
    let cluster = update(plain(&["a"]), &[("canary-nodes", "canary=yes")]).with_pods([old("a")]);
    assert_eq!((next_nodes(&cluster), phase(&cluster).to_string()), (vec![], "no node is a canary".into()));
    let findings = lint(&[cluster.snapshot()]);
    assert!(
        findings.iter().any(|finding| finding.field == "metadata.annotations[daemonplan/canary-nodes]"),
        "{findings:?}"
    );
}

#[test]
fn canaries_can_require_approval() {
    let approved = |hash: &str| {
        let cluster =
            update(plain(&["a", "b"]), &[("canary", "1"), ("canary-approval", "manual"), ("canary-approved", hash)]);
        cluster.with_pods([new("a"), old("b")])
    };
    assert_eq!(phase(&approved("one")), RolloutPhase::AwaitingApproval { hash: "two".into() });
    assert_eq!((next_nodes(&approved("one")), next_nodes(&approved("two"))), (vec![], vec!["b".into()]));
}

#[test]
fn a_failing_template_pauses_the_update() {
    let cluster = update(plain(&["a", "b", "c"]), &[("on-failure", "pause")]);
    let failing = cluster.clone().with_pods([crashing("a"), old("b"), old("c")]);
    assert_eq!((next_nodes(&failing), phase(&failing)), (vec![], RolloutPhase::Failing { nodes: vec!["a".into()] }));
    let starting = cluster.with_pods([new("a").unready(), old("b"), old("c")]);
    assert_eq!(next_nodes(&starting), ["b"]);
}

#[test]
fn failure_criteria_can_be_set() {
    let fails = |annotations: &[(&str, &str)], pod: Pod| {
        let annotations: Vec<_> = annotations.iter().copied().chain([("on-failure", "pause")]).collect();
        matches!(
            phase(&update(plain(&["a", "b"]), &annotations).with_pods([pod, old("b")])),
            RolloutPhase::Failing { .. }
        )
    };
    let restarted = |restarts| {
        new("a").unready().but(|pod| {
            let mut problem = PodProblem::default();
            problem.restarts = restarts;
            pod.problem = Some(Box::new(problem));
        })
    };
    assert!(!fails(&[], restarted(2)) && fails(&[], restarted(3)));
    assert!(fails(&[("max-restarts", "0")], restarted(1)));
    // A pod ready for ten minutes has recovered; these have been ready for four.
    let ready_since =
        |text: &str| restarted(9).but(|pod| pod.ready = Readiness::Ready { since: Some(text.parse().unwrap()) });
    assert!(fails(&[], ready_since("2026-01-02T02:54:06Z")) && !fails(&[], ready_since("2026-01-02T02:54:05Z")));
    assert!(!fails(&[("max-failures", "1")], crashing("a")));
    assert!(fails(&[], new("a").phase(PodPhase::Failed)));
    // These pods are an hour old.
    assert!(fails(&[("available-within", "1h")], new("a").unready()));
    assert!(!fails(&[("available-within", "2h")], new("a").unready()));
    assert!(!fails(&[("available-within", "1h")], new("a")));
}

#[test]
fn a_failing_template_can_be_rolled_back_to_the_most_available_one() {
    let mut cluster = update(plain(&["a", "b", "c"]), &[("on-failure", "roll-back")]);
    cluster = cluster.with_pods([crashing("a"), old("b"), old("c")]);
    assert_eq!(cluster.actions(), ["roll agent back to revision agent-one (number 1): the new template fails on a"]);
    let plan = cluster.plan();
    assert_eq!(plan.rollout.as_ref().unwrap().phase, RolloutPhase::RollingBack { nodes: vec!["a".into()] });
    assert_eq!(plan.events[0].reason, "RolledBack");
    let json = serde_json::to_value(&plan.actions[0]).unwrap();
    assert_eq!((&json["daemonSet"], &json["generation"]), (&json!("agent"), &json!(2)));
    assert_eq!(json["patch"]["spec"]["template"]["spec"]["containers"][0]["image"], "agent:1");

    // After the rollback, the older revision is current, and the failed pod is deleted.
    let actions = plan.actions.clone();
    cluster.apply(&actions);
    assert_eq!(
        cluster.actions(),
        [
            "update revision agent-one (number 3, hash one): the current revision must have the highest number",
            "delete pod new-a on a: outdated and not available",
        ]
    );
}

#[test]
fn without_an_available_older_template_nothing_is_rolled_back() {
    let cluster =
        update(plain(&["a", "b"]), &[("on-failure", "roll-back")]).with_pods([crashing("a"), old("b").unready()]);
    assert!(matches!(phase(&cluster), RolloutPhase::Failing { .. }));
    assert_eq!(next_nodes(&cluster), [""; 0]);
}

#[test]
fn a_strict_budget_counts_unavailable_old_pods_and_replaces_them_first() {
    let cluster = update(plain(&["a", "b", "c", "d"]), &[("strict-budget", "true")]);
    let broken = cluster.clone().with_pods([old("a"), old("b").unready(), old("c").unready(), old("d").unready()]);
    assert_eq!(next_nodes(&broken), ["b", "c"]);
    let at_work = cluster.with_pods([old("a"), new("b").unready(), old("c").unready(), old("d")]);
    assert_eq!(next_nodes(&at_work), ["c"]);
}

#[test]
fn a_strict_budget_holds_for_surges_too() {
    let cluster = update(plain(&["a", "b", "c"]), &[("strict-budget", "true")]).rolling(json!(0), json!(1));
    assert_eq!(next_nodes(&cluster.with_pods([old("a"), old("b").unready(), old("c").unready()])), ["b"]);
}

#[test]
fn away_nodes_do_not_use_up_the_budget_and_are_left_alone() {
    let away = |name: &str| tainted(name, &["node.kubernetes.io/unreachable:NoExecute"]);
    let nodes = [away("a"), away("b"), node("c")];
    let cluster =
        update(nodes, &[("away", "unreachable")]).with_pods([old("a").unready(), new("b").unready(), old("c")]);
    assert_eq!(next_nodes(&cluster), ["c"]);
    let plan = cluster.plan();
    assert_eq!((plan.rollout.unwrap().unavailable_excluded, plan.status.unwrap().number_unavailable), (2, 2));
    let explanation = cluster.snapshot().explain();
    assert!(explanation.nodes[0].to_string().ends_with("the node is away and excluded from updates"));
    assert_eq!(explanation.rollout.unwrap().away().unwrap(), "2 nodes without an available pod are away");
}

#[test]
fn a_policy_can_delay_when_a_node_counts_as_away() {
    let cordoned = |minutes: i64| {
        let mut node = tainted("a", &["node.kubernetes.io/unschedulable:NoSchedule"]);
        node.taints[0].added =
            Some("2026-01-02T03:04:05Z".parse::<jiff::Timestamp>().unwrap() - SignedDuration::from_mins(minutes));
        update([node, super::common::node("b")], &[("away", "cordoned=30m")]).with_pods([old("a"), old("b")])
    };
    assert_eq!(next_nodes(&cordoned(29)), ["a", "b"]);
    assert_eq!(cordoned(29).plan().requeue_after.unwrap().as_secs(), 60);
    assert_eq!(next_nodes(&cordoned(30)), ["b"]);
    let mut timeless = cordoned(30);
    timeless.nodes[0].taints[0].added = None;
    assert_eq!(next_nodes(&timeless), ["a", "b"], "unknown for how long");
}

#[test]
fn nodes_being_deleted_can_count_as_away() {
    let mut leaving = node("a");
    leaving.deleted = Some("2026-01-02T03:00:00Z".parse().unwrap());
    let cluster = update([leaving, node("b")], &[("away", "deleted")]).with_pods([old("a"), old("b")]);
    assert_eq!(next_nodes(&cluster), ["b"]);
}

#[test]
fn an_invalid_annotation_pauses_updates_with_a_warning() {
    for (annotation, text) in
        [("partition", "many"), ("partiton", "1"), ("canary-bake", "10m"), ("group-pace", "spread")]
    {
        let cluster = update(plain(&["a"]), &[(annotation, text)]).with_pods([old("a")]);
        assert_eq!((next_nodes(&cluster), phase(&cluster)), (vec![], RolloutPhase::Unreadable), "{annotation}");
        let warning = cluster.plan().warnings[0].to_string();
        assert!(warning.contains(&format!("annotation daemonplan/{annotation}: ")), "{warning}");
        assert!(lint(&[cluster.snapshot()]).iter().any(|finding| finding.lint.code() == "invalid-policy"));
        let heedless = cluster.with_settings(|settings| settings.ignore_policy_annotations = true);
        assert_eq!(next_nodes(&heedless), ["a"]);
    }
}

#[test]
fn annotations_override_the_settings_and_can_remove_a_policy() {
    let mut general = RolloutPolicy::default();
    general.partition = Some(IntOrPercent::Int(1));
    let with = |annotations: &[(&str, &str)]| {
        let cluster = update(plain(&["a", "b"]), annotations).with_pods([old("a"), old("b")]);
        next_nodes(&cluster.with_settings(|settings| settings.rollout_policy = general.clone()))
    };
    assert_eq!(with(&[]), ["a"]);
    assert_eq!(with(&[("partition", "2")]), [""; 0]);
    assert_eq!(with(&[("partition", "none")]), ["a", "b"]);
}

#[test]
fn on_delete_ignores_policies_but_lint_reports_them() {
    let cluster = update(plain(&["a"]), &[("paused", "true")]).with_strategy(json!({"type": "OnDelete"}));
    assert_eq!(cluster.plan().rollout, None);
    assert_eq!(created_image(&cluster), "agent:2");
    assert!(lint(&[cluster.snapshot()]).iter().any(|finding| finding.lint.code() == "idle-policy"));
}

#[test]
fn problems_of_a_pod_are_described() {
    let cluster = update(plain(&["a", "b"]), &[("on-failure", "pause")]).with_pods([crashing("a"), old("b")]);
    let explanation = cluster.snapshot().explain();
    assert_eq!(
        explanation.nodes[0].to_string(),
        "an up-to-date pod, not ready (CrashLoopBackOff, 1 restart); the new template fails here"
    );
    assert!(matches!(explanation.update, UpdateState::Held { old: 1, phase: RolloutPhase::Failing { .. } }));
}

/// Returns nodes a and b, where pods of the current template failed for these reasons; back-offs are per reason.
fn failed(pods: &[(&str, &str, &str)]) -> Cluster {
    let pods = pods.iter().map(|(name, node, reason)| {
        pod(name, node).phase(PodPhase::Failed).but(|pod| {
            let mut problem = PodProblem::default();
            problem.reason = (*reason).into();
            pod.problem = Some(Box::new(problem));
        })
    });
    let cluster = cluster(plain(&["a"])).with(|daemonset| {
        daemonset.annotations = [("daemonplan/backoff", "by-reason")].into_iter().collect();
    });
    cluster.with_pods(pods)
}

#[test]
fn each_reason_has_its_own_back_off_that_grows_with_its_cause() {
    let mut cluster = failed(&[("x", "a", "OutOfcpu")]);
    let mut waits = Vec::new();
    for _ in 0..4 {
        let plan = cluster.plan();
        assert_eq!(lines(&plan), ["delete pod x on a: it failed"]);
        let (key, entry) = plan.backoff[0].clone();
        assert_eq!(&*key.reason, "OutOfcpu");
        waits.push((entry.failures, entry.delay.as_secs()));
        cluster.backoff.update([(key, entry)], cluster.now);
        assert_eq!(cluster.actions(), [""; 0], "in back-off");
        assert_eq!(cluster.plan().requeue_after, Some(entry.delay));
        // A pod that fails for another reason does not wait.
        assert_eq!(failed(&[("y", "a", "Evicted")]).actions().len(), 1);
        cluster.now += entry.delay;
    }
    assert_eq!(waits, [(1, 10), (2, 20), (3, 40), (4, 80)]);
    let explanation = cluster.snapshot().explain();
    assert!(
        explanation.nodes[0].to_string().ends_with("failed 4 times in a row (OutOfcpu)"),
        "{}",
        explanation.nodes[0]
    );
}

#[test]
fn a_pod_that_failed_for_a_different_reason_does_not_wait() {
    let mut cluster = failed(&[("x", "a", "OutOfcpu"), ("y", "a", "Evicted")]);
    let backoff = cluster.plan().backoff.clone();
    cluster.backoff.update(backoff, cluster.now);
    assert_eq!(cluster.actions(), ["delete pod y on a: it failed"]);
}

#[test]
fn a_rejected_creation_is_retried_only_after_its_back_off() {
    let mut cluster = failed(&[]);
    let refused = cluster.backoff.refused(&cluster.daemonset, "a", cluster.now);
    cluster.backoff.update([refused], cluster.now);
    assert_eq!((cluster.actions().len(), cluster.plan().requeue_after.unwrap().as_secs()), (0, 10));
    let explanation = cluster.snapshot().explain();
    assert_eq!(explanation.nodes[0].to_string(), "no pod: the API server refused to create one; next attempt in 10s");
    cluster.now += SignedDuration::from_secs(10);
    assert_eq!(cluster.actions().len(), 1);
    let mut plain = cluster.clone().with(|daemonset| daemonset.annotations = daemonplan::model::Labels::default());
    plain.now -= SignedDuration::from_secs(5);
    assert_eq!(plain.actions().len(), 1, "expected back-off only by policy");
}

#[test]
fn a_pod_of_the_older_template_is_not_of_the_current_templates_generation() {
    let mut cluster = update(plain(&["a", "b"]), &[("partition", "1")]).with_pods([new("a")]).with(|daemonset| {
        daemonset.annotations = daemonset.annotations.with("deprecated.daemonset.template.generation", "2");
    });
    cluster.pods.push(old("b"));
    cluster.nodes.push(node("c"));
    // One of three nodes keeps the older template, a is updated, and one of the others is next.
    cluster.daemonset.annotations = cluster.daemonset.annotations.with("daemonplan/partition", "2");
    let actions = cluster.plan().actions.clone();
    cluster.apply(&actions);
    let created = cluster.pods.last().unwrap();
    assert_eq!(
        (created.labels.get("controller-revision-hash"), created.labels.get("pod-template-generation")),
        (Some("one"), None)
    );
    assert_eq!((cluster.actions().len(), phase(&cluster)), (0, RolloutPhase::Held));
    assert_eq!(cluster.plan().rollout.unwrap().old, 2);
}

#[test]
fn old_restarts_do_not_prevent_a_template_from_being_deployed_again() {
    let well = |node: &str| {
        old(node).but(|pod| {
            let mut problem = PodProblem::default();
            problem.restarts = 7;
            pod.problem = Some(Box::new(problem));
            pod.ready = Readiness::Ready { since: Some("2026-01-01T00:00:00Z".parse().unwrap()) };
        })
    };
    let mut cluster = update(plain(&["a", "b", "c"]), &[("on-failure", "roll-back")]);
    cluster = cluster.with_pods([crashing("a"), well("b"), well("c")]);
    let actions = cluster.plan().actions.clone();
    cluster.apply(&actions);
    assert_eq!(phase(&cluster), RolloutPhase::Rolling { group: None });
    assert_eq!(next_nodes(&cluster), ["a"]);
}

#[test]
fn a_node_that_is_deselected_after_its_update_keeps_its_pod_and_gets_the_older_template_next() {
    let nodes = [labelled("a", &[("pool", "green")]), node("b"), node("c")];
    let cluster = update(nodes, &[("update-nodes", "pool=blue")]).with_pods([new("a"), old("b"), old("c")]);
    assert_eq!((next_nodes(&cluster), phase(&cluster)), (vec![], RolloutPhase::Held));
    let told = cluster.snapshot().explain().nodes[0].to_string();
    assert!(told.starts_with("an up-to-date pod, available; the policy does not select the node"), "{told}");
    assert!(told.ends_with("one created later has the older template while that is in use"), "{told}");
    let mut lost = cluster.clone();
    lost.pods.remove(0);
    assert_eq!(created_image(&lost), "agent:1");
}
