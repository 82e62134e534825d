//! Nodes that are away.

use super::*;

#[test]
fn away_nodes_do_not_use_up_the_budget_and_are_left_alone() {
    let away = |name: &str| tainted(name, &["node.kubernetes.io/unreachable:NoExecute"]);
    let nodes = [away("a"), away("b"), node("c")];
    let cluster =
        update(nodes, &[("away", "unreachable")]).with_pods([old("a").unready(), old("b").unready(), old("c")]);
    assert_eq!(next_nodes(&cluster), ["c"]);
    let plan = cluster.plan();
    assert_eq!((plan.rollout.unwrap().unavailable_excluded, plan.status.unwrap().number_unavailable), (2, 2));
    let explanation = cluster.snapshot().explain();
    assert!(explanation.nodes[0].to_string().ends_with("the node is away and excluded from updates"));
    assert_eq!(explanation.rollout.unwrap().away().unwrap(), "2 nodes without an available pod are away");
}

#[test]
fn a_canary_whose_node_and_pod_have_gone_stays_a_canary() {
    let lost = |minutes: i64, annotations: &[(&str, &str)]| {
        let mut nodes = vec![unreachable("a", minutes), node("b"), node("c")];
        // No new pod comes.
        nodes[0].taints.push(taint("node.kubernetes.io/unreachable:NoSchedule"));
        nodes[0].taints[1].added = nodes[0].taints[0].added;
        let mut cluster = update(nodes, &[&[("canary", "1"), ("canary-bake", "1h")], annotations].concat());
        cluster.revisions[1].created = Some(minutes_ago(30));
        cluster.nodes[0].created = Some(minutes_ago(9999));
        cluster.with_pods([old("b"), old("c")])
    };
    let cluster = lost(20, &[]);
    assert_eq!((next_nodes(&cluster), cluster.plan().rollout.unwrap().waits_for), (vec![], vec!["a".into()]));
    assert_eq!(next_nodes(&lost(40, &[])), ["b"], "it was lost before");
    assert_eq!(next_nodes(&lost(20, &[("canary", "2")])), ["b"]);
    let mut gone = lost(20, &[]);
    gone.nodes.remove(0);
    assert_eq!(next_nodes(&gone), ["b"], "the node has been deleted");
}

#[test]
fn a_policy_can_delay_when_a_node_counts_as_away() {
    let cordoned = |minutes: i64| {
        let mut node = tainted("a", &["node.kubernetes.io/unschedulable:NoSchedule"]);
        node.taints[0].added =
            Some("2026-01-02T03:04:05Z".parse::<jiff::Timestamp>().unwrap() - SignedDuration::from_mins(minutes));
        update([node, crate::common::node("b")], &[("away", "cordoned=30m")]).with_pods([old("a"), old("b")])
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
fn a_node_that_goes_away_with_the_new_template_is_a_victim_of_it() {
    let nodes = |minutes| [unreachable("a", minutes), node("b"), node("c")];
    let annotations = [("canary", "1"), ("canary-bake", "1h"), ("on-failure", "roll-back"), ("away", "unreachable")];
    let pods = || [new("a").unready(), old("b"), old("c")];
    let early = update(nodes(4), &annotations).with_pods(pods());
    assert_eq!(
        (next_nodes(&early), phase(&early).to_string()),
        (vec![], "the update waits, since the new template may fail on a (no longer reporting)".into())
    );
    let late = update(nodes(5), &annotations).with_pods(pods());
    assert_eq!(phase(&late).code(), "RollingBack");
    // Without a policy for failures, it uses the budget and is the canary.
    let plain = update(nodes(60), &[("canary", "1"), ("away", "unreachable")]).with_pods(pods());
    assert_eq!(
        (next_nodes(&plain), phase(&plain)),
        (vec![], RolloutPhase::CanaryStarting { available: 0, wanted: 1, fails_in: None, step: ONLY })
    );
    assert_eq!(plain.plan().rollout.unwrap().waiting().unwrap(), "waits for a, which does not report");
}

#[test]
fn a_pod_that_was_well_for_long_enough_before_its_node_went_away_fails_nothing() {
    let of = |age: i64, unready: i64| {
        let annotations =
            [("canary", "1"), ("canary-bake", "1h"), ("on-failure", "roll-back"), ("available-within", "5m")];
        let cluster = update([unreachable("a", 60), node("b"), node("c"), node("d")], &annotations);
        let pod = new("a").but(|pod| {
            pod.created = Some(minutes_ago(age));
            pod.ready = Readiness::NotReady { since: Some(minutes_ago(unready)) };
        });
        let proven = new("b").but(|pod| pod.ready = Readiness::Ready { since: Some(minutes_ago(300)) });
        let plan = cluster.with_pods([pod, proven, old("c"), old("d")]).plan();
        let deleted = plan.actions.iter().filter(|action| matches!(action, Action::DeletePod { .. })).count();
        (plan.rollout.unwrap().phase.code(), deleted)
    };
    // It was an hour old, and ready until then: the node uses the budget of two, and the update goes on.
    assert_eq!(of(120, 60), ("Rolling", 1));
    assert_eq!(of(119, 60), ("RollingBack", 0));
    // It was no longer ready when the node was still there.
    assert_eq!(of(300, 70), ("RollingBack", 0));
}

#[test]
fn a_node_that_goes_away_between_its_old_pod_and_its_new_one_is_a_victim_too() {
    let annotations = [("away", "unreachable"), ("strict-budget", "true")];
    let nodes = [unreachable("a", 60), node("b"), node("c")];
    let cluster = update(nodes, &annotations).rolling(json!(1), json!(0));
    let stopping = cluster.clone().with_pods([
        old("a").unready().but(|pod| pod.deleted = Some(minutes_ago(1))),
        old("b"),
        old("c"),
    ]);
    assert_eq!(next_nodes(&stopping), [""; 0]);
    let left_alone = cluster.with_pods([old("a").unready(), old("b"), old("c")]);
    assert_eq!(next_nodes(&left_alone), ["b"]);
}

#[test]
fn a_victim_does_not_hold_up_the_way_back() {
    let nodes = [unreachable("a", 5), node("b"), node("c")];
    let done = r#"{"done": "one"}"#;
    let annotations = [("on-failure", "roll-back"), ("away", "unreachable"), ("rollout-record", done)];
    let mut cluster = update(nodes, &annotations);
    cluster = cluster.rolling(json!(1), json!(0)).with_pods([new("a").unready(), new("b"), old("c")]);
    assert_eq!(
        phase(&cluster),
        RolloutPhase::RollingBack { nodes: vec!["a".into()], reason: "no longer reporting on a".into() }
    );
    step(&mut cluster);
    assert_eq!(next_nodes(&cluster), ["b"]);
}

#[test]
fn a_cordon_does_not_end_the_pause_of_a_failing_canary() {
    let mut cordoned = tainted("a", &["node.kubernetes.io/unschedulable:NoSchedule"]);
    cordoned.taints[0].added = Some(minutes_ago(60));
    let annotations = [("canary", "1"), ("on-failure", "pause"), ("away", "cordoned")];
    let cluster = update([cordoned, node("b"), node("c")], &annotations).with_pods([crashing("a"), old("b"), old("c")]);
    assert_eq!(phase(&cluster).to_string(), "the update is paused, since the new template fails on a (3 restarts)");
}

#[test]
fn a_node_that_joins_without_ever_reporting_is_no_victim() {
    let mut nodes = [unreachable("a", 5), node("b")];
    nodes[0].created = Some(minutes_ago(6));
    let joined = new("a").unready().phase(PodPhase::Pending).but(|pod| pod.created = Some(minutes_ago(4)));
    let cluster = update(nodes, &[("on-failure", "pause"), ("away", "unreachable")]).with_pods([joined, old("b")]);
    assert_eq!((next_nodes(&cluster), phase(&cluster).code()), (vec!["b".into()], "Rolling"));
    let excluded = |cluster: &Cluster| cluster.plan().rollout.unwrap().unavailable_excluded;
    let mut older = cluster.clone();
    older.nodes[0].created = Some(minutes_ago(7));
    assert_eq!((excluded(&cluster), excluded(&older)), (1, 0));
}

#[test]
fn only_so_many_nodes_may_be_away() {
    let nodes = || [unreachable("a", 60), unreachable("b", 60), node("c"), node("d")];
    let next = |most: &str| {
        let cluster = update(nodes(), &[("away", "unreachable"), ("max-away", most)]).rolling(json!(1), json!(0));
        next_nodes(&cluster.with_pods([old("a").unready(), old("b").unready(), old("c"), old("d")]))
    };
    assert_eq!((next("2"), next("50%"), next("none")), (vec!["c".into()], vec!["c".into()], vec!["c".into()]));
    assert_eq!((next("1"), next("25%"), next("0")), (vec![], vec![], vec![]));
}

#[test]
fn nodes_whose_pod_cannot_be_scheduled_can_be_excused() {
    let refused = |pod: Pod, minutes| {
        pod.unready().phase(PodPhase::Pending).but(|pod| {
            let mut problem = PodProblem::default();
            problem.unschedulable_reason = "Unschedulable".into();
            problem.unschedulable_since = Some(minutes_ago(minutes));
            (pod.node, pod.problem) = (PodNode::Intended(pod.node.name().unwrap().clone()), Some(Box::new(problem)));
        })
    };
    let names = ["a", "b", "c"];
    let next = |annotations: &[(&str, &str)], pods: [Pod; 3]| {
        let cluster = update(plain(&names), annotations).rolling(json!(1), json!(0));
        next_nodes(&cluster.with_pods(pods))
    };
    let excuse = [("away", "unschedulable=30m")];
    assert_eq!(next(&excuse, [refused(new("a"), 29), old("b"), old("c")]), [""; 0]);
    assert_eq!(next(&excuse, [refused(new("a"), 30), old("b"), old("c")]), ["b"]);
    // A template that fits nowhere does not take all nodes, one by one.
    let pods = || [refused(new("a"), 60), refused(new("b"), 60), old("c")];
    assert_eq!(next(&excuse, pods()), [""; 0]);
    assert_eq!(next(&[("away", "unschedulable=30m"), ("max-away", "2")], pods()), ["c"]);
}

/// Returns a node that has been unreachable for an hour, with both taints that Kubernetes sets.
fn lost(name: &str) -> Node {
    let mut node = unreachable(name, 60);
    let mut taint = taint("node.kubernetes.io/unreachable:NoSchedule");
    taint.added = node.taints[0].added;
    node.taints.push(taint);
    node
}

#[test]
fn nodes_that_do_not_report_count_though_no_pod_should_run_there() {
    let next = |annotations: &[(&str, &str)], pods: [Pod; 4]| {
        let nodes = [lost("a"), lost("b"), node("c"), node("d")];
        let cluster = update(nodes, annotations).rolling(json!(1), json!(0)).with_pods(pods);
        (next_nodes(&cluster), phase(&cluster).code())
    };
    let away = ("away", "unreachable");
    // Two of four nodes keep the older template, whether they report or not.
    let two_lost = || [new("a").unready(), new("b").unready(), old("c"), old("d")];
    assert_eq!(next(&[away, ("partition", "50%")], two_lost()), (vec![], "Held"));
    let two_old = || [old("a").unready(), old("b").unready(), old("c"), old("d")];
    assert_eq!(next(&[away, ("partition", "2")], two_old()), (vec!["c".into()], "Rolling"));
    assert_eq!(next(&[away, ("max-away", "25%")], two_old()), (vec![], "Rolling"));
    assert_eq!(next(&[away, ("canary", "75%")], two_lost()), (vec![], "CanaryStarting"));
}

#[test]
fn nodes_that_are_away_beyond_the_limit_are_named() {
    let nodes = [unreachable("a", 60), unreachable("b", 60), node("c")];
    let cluster = update(nodes, &[("away", "unreachable"), ("max-away", "1")]).rolling(json!(1), json!(0));
    let cluster = cluster.with_pods([old("a").unready(), old("b").unready(), old("c")]);
    let told: Vec<_> = cluster.plan().rollout.unwrap().notes().collect();
    assert_eq!(told, ["waits for a, b, which do not report", "2 nodes without an available pod are away"]);
}

#[test]
fn nodes_that_an_update_waits_for_and_that_do_not_report_are_named() {
    let told = |silent: &[&str]| {
        let names = ["a", "b", "c", "d", "e"];
        let nodes = names.map(|name| if silent.contains(&name) { unreachable(name, 60) } else { node(name) });
        let pods = names.map(|name| if name == "e" { old(name) } else { new(name).unready() });
        let cluster = update(nodes, &[("strict-budget", "true")]).rolling(json!(5), json!(0)).with_pods(pods);
        cluster.plan().rollout.unwrap().waiting().unwrap()
    };
    assert_eq!(told(&[]), "waits for a and 3 other nodes");
    assert_eq!(told(&["b"]), "waits for a and 3 other nodes; b does not report");
    assert_eq!(told(&["b", "c"]), "waits for a and 3 other nodes; b, c do not report");
    assert_eq!(told(&["a", "b", "c", "d", "e"]), "waits for a and 3 other nodes, which do not report");
}

#[test]
fn a_node_that_lost_its_pod_and_does_not_report_uses_the_budget() {
    let next = |created: Option<i64>, nodes: [Node; 2]| {
        let mut cluster = update(nodes, &[("on-failure", "pause")]).rolling(json!(1), json!(0));
        cluster.daemonset.created = created.map(minutes_ago);
        let rollout = cluster.with_pods([old("b")]).plan().rollout.unwrap();
        rollout.waits_for.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    // It went away an hour ago: after the DaemonSet was created, or before, when it had no pod to lose.
    assert_eq!(next(Some(90), [lost("a"), node("b")]), ["a"]);
    assert_eq!(next(Some(30), [lost("a"), node("b")]), [""; 0]);
    // Nor had a node that has never reported, and nothing is known where the taints tell no time.
    let mut silent = lost("a");
    silent.created = Some(minutes_ago(60));
    assert_eq!(next(None, [silent, node("b")]), [""; 0]);
    let mut timeless = lost("a");
    timeless.taints.iter_mut().for_each(|taint| taint.added = None);
    assert_eq!(next(None, [timeless, node("b")]), [""; 0]);
}

#[test]
fn stuck_pods_of_lost_nodes_do_not_wait_for_their_turn() {
    let nodes = || {
        let mut west = lost("b");
        west.labels = [("zone", "west")].into_iter().collect();
        [labelled("a", &[("zone", "east")]), west]
    };
    let stuck = || old("b").but(|pod| pod.ready = Readiness::NotReady { since: Some(minutes_ago(60)) });
    let next = |max_unavailable, max_surge| {
        let cluster = update(nodes(), &[("groups", "zone"), ("strict-budget", "true")]);
        next_nodes(&cluster.rolling(max_unavailable, max_surge).with_pods([old("a").being_deleted(), stuck()]))
    };
    assert_eq!(next(json!(2), json!(0)), ["b"]);
    // With a surge a pod would have to be created there, which Kubernetes' taint forbids.
    assert_eq!(next(json!(0), json!(2)), ["a"]);
}

#[test]
fn a_node_that_may_have_lost_its_pod_is_named_as_what_uses_the_budget() {
    let mut nodes = [unreachable("a", 5), node("b")];
    let mut no_schedule = taint("node.kubernetes.io/unreachable:NoSchedule");
    no_schedule.added = nodes[0].taints[0].added;
    nodes[0].taints.push(no_schedule);
    let cluster = update(nodes, &[("away", "unreachable")]).rolling(json!(1), json!(0)).with_pods([old("b")]);
    let UpdateState::Waiting { blocked_by, .. } = cluster.snapshot().explain().update else {
        panic!("{:?}", cluster.snapshot().explain())
    };
    let named: Vec<_> = blocked_by.iter().map(|blocker| format!("{}: {blocker}", blocker.node)).collect();
    assert_eq!(
        named,
        [
            "a: no pod, and the node does not report since 2026-01-02T02:59:05Z (node.kubernetes.io/unreachable:NoExecute)"
        ]
    );
}
