//! Templates that fail: what counts, and what follows.

use super::*;

#[test]
fn a_failing_template_pauses_the_update() {
    let cluster = update(plain(&["a", "b", "c"]), &[("on-failure", "pause")]);
    let failing = cluster.clone().with_pods([crashing("a"), old("b"), old("c")]);
    assert_eq!(
        (next_nodes(&failing), phase(&failing).to_string()),
        (vec![], "the update is paused, since the new template fails on a (3 restarts)".into())
    );
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
    let restarted = |restarts| new("a").unready().but(|pod| pod.problem = Some(Box::new(restarted(restarts, ""))));
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
    assert_eq!(
        plan.rollout.as_ref().unwrap().phase,
        RolloutPhase::RollingBack { nodes: vec!["a".into()], reason: "3 restarts on a".into() }
    );
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
fn problems_of_a_pod_are_described() {
    let cluster = update(plain(&["a", "b"]), &[("on-failure", "pause")]).with_pods([crashing("a"), old("b")]);
    let explanation = cluster.snapshot().explain();
    assert_eq!(
        explanation.nodes[0].to_string(),
        "an up-to-date pod, not ready (CrashLoopBackOff, 3 restarts); the current template fails here (3 restarts)"
    );
    assert!(matches!(explanation.update, UpdateState::Held { old: 1, phase: RolloutPhase::Failing { .. } }));
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

/// Returns the phase of an update with `on-failure` and these annotations while node a has this pod, and b an outdated one.
fn phase_with(annotations: &[(&str, &str)], pod: Pod) -> RolloutPhase {
    let annotations: Vec<_> = [("on-failure", "roll-back")].into_iter().chain(annotations.iter().copied()).collect();
    phase(&update(plain(&["a", "b"]), &annotations).with_pods([pod, old("b")]))
}

fn with_problem(problem: PodProblem) -> Pod {
    new("a").unready().but(|pod| pod.problem = Some(Box::new(problem)))
}

#[test]
fn a_pod_that_restarts_pauses_the_update_and_fails_it_later() {
    let restarts =
        |annotations: &[(&str, &str)], restarts| phase_with(annotations, with_problem(restarted(restarts, ""))).code();
    assert_eq!([1, 2, 3].map(|count| restarts(&[], count)), ["Rolling", "InDoubt", "RollingBack"]);
    let ten = [("max-restarts", "10")];
    assert_eq!([2, 10, 11].map(|count| restarts(&ten, count)), ["InDoubt", "InDoubt", "RollingBack"]);
    let calm = [("max-restarts", "10"), ("pause-restarts", "10")];
    assert_eq!(restarts(&calm, 10), "Rolling");
    // A crash loop alone is no failure yet, whatever the number of restarts.
    let loops = phase_with(&ten, with_problem(restarted(1, "CrashLoopBackOff")));
    assert_eq!(loops.to_string(), "the update waits, since the new template may fail on a (CrashLoopBackOff)");
}

#[test]
fn what_the_node_or_the_cluster_does_to_a_pod_is_no_failure_of_the_template() {
    for reason in ["Evicted", "Preempting", "NodeShutdown", "Terminated", "OutOfcpu", "UnexpectedAdmissionError"] {
        let mut problem = PodProblem::default();
        problem.reason = reason.into();
        let evicted = with_problem(problem).phase(PodPhase::Failed);
        assert_eq!(phase_with(&[], evicted).code(), "Rolling", "{reason}");
    }
    let failed = new("a").unready().phase(PodPhase::Failed);
    assert_eq!(phase_with(&[], failed).code(), "RollingBack");
}

#[test]
fn the_restart_that_a_reboot_causes_is_not_counted_and_neither_is_the_sum_of_all_containers() {
    let json = |containers: serde_json::Value| -> Pod {
        let pod = json!({"metadata": {"name": "x"}, "status": {"containerStatuses": containers}});
        serde_json::from_value(pod).unwrap()
    };
    let once = json!({"restartCount": 1, "state": {"running": {}}});
    let problem = json(json!([once, once, once])).problem.unwrap();
    assert_eq!(phase_with(&[], with_problem(*problem)).code(), "Rolling");
    let rebooted = json!({"restartCount": 2, "lastState": {"terminated": {"exitCode": 255, "reason": "Unknown"}}});
    let problem = json(json!([rebooted])).problem.unwrap();
    assert_eq!((problem.restarts, problem.rebooted), (2, true));
    assert_eq!(phase_with(&[], with_problem(*problem)).code(), "Rolling");
}

#[test]
fn a_pod_has_a_grace_to_pull_its_images() {
    let pulling = |minutes, annotations: &[(&str, &str)]| {
        let pod = with_problem(restarted(0, "ErrImagePull")).but(|pod| pod.created = Some(minutes_ago(minutes)));
        phase_with(annotations, pod).code()
    };
    assert_eq!([0, 4, 5].map(|minutes| pulling(minutes, &[])), ["InDoubt", "InDoubt", "RollingBack"]);
    assert_eq!(pulling(5, &[("start-grace", "10m")]), "InDoubt");
    // A name that is not one never becomes one.
    assert_eq!(phase_with(&[], with_problem(restarted(0, "InvalidImageName"))).code(), "RollingBack");
}

#[test]
fn a_pod_that_was_ready_has_the_time_to_become_ready_again() {
    let unready = |created: i64, since: i64| {
        let ready = Readiness::NotReady { since: Some(minutes_ago(since)) };
        let pod = new("a").but(|pod| (pod.created, pod.ready) = (Some(minutes_ago(created)), ready));
        phase_with(&[("available-within", "5m")], pod).code()
    };
    assert_eq!(unready(300, 1), "Rolling");
    assert_eq!(unready(300, 5), "RollingBack");
    assert_eq!(unready(5, 5), "RollingBack");
    assert_eq!(unready(4, 4), "Rolling");
}

#[test]
fn a_ready_pod_may_still_wait_for_min_ready_seconds() {
    let cluster = update(plain(&["a", "b"]), &[("on-failure", "roll-back"), ("available-within", "30s")]);
    let ready = new("a").but(|pod| {
        (pod.created, pod.ready) =
            (Some(minutes_ago(1)), Readiness::Ready { since: Some(cluster.now - SignedDuration::from_secs(30)) });
    });
    let cluster = cluster.with_pods([ready, old("b")]).with(|daemonset| daemonset.min_ready_seconds = 60);
    assert_eq!(phase(&cluster), RolloutPhase::Rolling { group: None });
}

#[test]
fn a_template_that_fails_where_no_other_is_left_says_what_to_do() {
    let cluster = update(plain(&["a"]), &[("on-failure", "pause")]).with_pods([crashing("a")]);
    assert_eq!(
        phase(&cluster).to_string(),
        "the new template fails on a (3 restarts), and no pod of another one is left: correct it, or go back with \
         kubectl rollout undo"
    );
    let beside = update(plain(&["a", "b"]), &[("on-failure", "pause"), ("max-failures", "0")]);
    let beside = beside.with_pods([crashing("a"), old("b")]);
    assert!(phase(&beside).to_string().starts_with("the update is paused, since the new template fails on a"));
}

#[test]
fn a_failure_on_the_last_node_counts() {
    for names in [&["a"][..], &["a", "b", "c"]] {
        let mut cluster = update(plain(names), &[("on-failure", "roll-back")]);
        cluster = cluster.with_pods(names.iter().map(|name| if *name == "a" { crashing("a") } else { new(name) }));
        assert_eq!(
            cluster.actions()[0],
            "roll agent back to revision agent-one (number 1): the new template fails on a"
        );
        step(&mut cluster);
        let broken = "delete pod new-a on a: outdated and not available".to_owned();
        assert!(cluster.actions().contains(&broken), "{names:?}");
    }
}

#[test]
fn a_limit_of_all_nodes_still_lets_a_template_fail_that_fails_everywhere() {
    let cluster = update(plain(&["a", "b"]), &[("on-failure", "roll-back"), ("max-failures", "100%")]);
    assert_eq!(phase(&cluster.clone().with_pods([crashing("a"), old("b")])).code(), "Rolling");
    assert_eq!(phase(&cluster.with_pods([crashing("a"), crashing("b")])).code(), "RollingBack");
}

#[test]
fn a_template_may_not_fail_on_so_many_nodes_that_its_update_cannot_go_on() {
    let of = |annotations: &[(&str, &str)], unavailable: i32, failing: &[&str]| {
        let names = ["a", "b", "c", "d", "e"];
        let allowed = [("on-failure", "roll-back"), ("max-failures", "3")];
        let cluster = update(plain(&names), &[&allowed, annotations].concat()).rolling(json!(unavailable), json!(0));
        let pod = |name: &str| match name {
            name if failing.contains(&name) => crashing(name),
            "a" | "b" => new(name),
            _ => old(name),
        };
        phase(&cluster.with_pods(names.map(pod))).code()
    };
    assert_eq!(of(&[], 1, &["c"]), "RollingBack", "it uses up the budget");
    assert_eq!([of(&[], 2, &["c"]), of(&[], 2, &["c", "d"])], ["Rolling", "RollingBack"]);
    assert_eq!(of(&[("max-failures", "0")], 2, &["c"]), "RollingBack");
    let canary = |nodes| [("canary", nodes), ("canary-bake", "1h")];
    assert_eq!(of(&canary("1"), 4, &["a"]), "CanaryBaking", "b is the canary");
    assert_eq!(of(&canary("3"), 4, &["a"]), "CanaryStarting", "a third node is reached next");
    assert_eq!(of(&canary("2"), 4, &["a", "b"]), "RollingBack", "it fails on all canaries");
}

#[test]
fn what_happens_a_day_after_a_pod_came_is_no_failure_of_its_template() {
    let days = |days: i64| minutes_ago(days * 24 * 60);
    let with = |created: i64, ready: Readiness| {
        let pod = with_problem(restarted(9, "CrashLoopBackOff")).but(|pod| {
            (pod.created, pod.ready) = (Some(days(created)), ready);
        });
        let annotations = [("partition", "1"), ("on-failure", "roll-back"), ("available-within", "10m")];
        phase(&update(plain(&["a", "b"]), &annotations).with_pods([pod, old("b")])).code()
    };
    let unready = |minutes| Readiness::NotReady { since: Some(minutes_ago(minutes)) };
    assert_eq!(with(3, Readiness::Ready { since: Some(minutes_ago(1)) }), "Held");
    assert_eq!(with(3, unready(60)), "Held");
    assert_eq!(with(3, unready(3 * 24 * 60 - 1)), "RollingBack", "it has never been ready");
    assert_eq!(with(0, unready(0)), "RollingBack");
}

#[test]
fn a_template_that_fails_gets_no_more_nodes_even_if_it_is_all_that_is_left() {
    let cluster = update(plain(&["a", "b"]), &[("on-failure", "pause")]);
    assert_eq!(created_image(&cluster.clone().with_pods([crashing("a")])), "agent:1");
    assert_eq!(created_image(&cluster.with_pods([new("a")])), "agent:2");
}

#[test]
fn a_pod_that_cannot_be_scheduled_is_judged_though_its_node_is_excused() {
    let refused = new("a").unready().phase(PodPhase::Pending).but(|pod| {
        let mut problem = PodProblem::default();
        problem.unschedulable_since = Some(minutes_ago(10));
        (pod.node, pod.problem) = (PodNode::Intended("a".into()), Some(Box::new(problem)));
    });
    let annotations = [("on-failure", "roll-back"), ("available-within", "5m"), ("away", "unschedulable")];
    let cluster = update(plain(&["a", "b", "c"]), &annotations).with_pods([refused, old("b"), old("c")]);
    assert_eq!(
        phase(&cluster),
        RolloutPhase::RollingBack { nodes: vec!["a".into()], reason: "not ready in time on a".into() }
    );
}

#[test]
fn an_update_that_a_failure_stops_is_found() {
    let of = |then: &str, pods: [Pod; 2], record: &str| {
        let policy = [("on-failure", then), ("max-restarts", "9"), ("rollout-record", record)];
        let cluster = update(plain(&["a", "b"]), &policy).with_pods(pods);
        let found = lint(&[cluster.snapshot()]).into_iter().find(|finding| finding.lint == Lint::UpdateWaits)?;
        let nodes: Vec<_> = found.nodes.iter().map(ToString::to_string).collect();
        Some((nodes.join(" "), found.fix))
    };
    let a = "a".to_owned();
    let back = "correct the template, or go back: kubectl rollout undo -n prod daemonset/agent".to_owned();
    let paused = r#"{"failed": [{"hash": "two", "reason": "x", "nodes": ["a"], "isPaused": true}]}"#;
    assert_eq!(of("pause", [crashing("a"), old("b")], "{}"), Some((a.clone(), back.clone())), "in doubt");
    assert_eq!(of("pause", [new("a"), old("b")], paused), Some((a.clone(), back)), "paused, though it is well again");
    assert_eq!(of("pause", [crashing("a"), new("b")], paused), Some((a, "correct the template".to_owned())));
    assert_eq!(of("pause", [new("a"), old("b")], "{}"), None);
}

/// Returns the fix of the update that waits, if one does.
fn fix_of_waiting(cluster: &Cluster) -> Option<(String, String)> {
    let found = lint(&[cluster.snapshot()]).into_iter().find(|finding| finding.lint == Lint::UpdateWaits)?;
    Some((found.message, found.fix))
}

#[test]
fn a_canary_that_does_not_become_available_is_found() {
    let of = |pod: Pod| fix_of_waiting(&update(plain(&["a", "b"]), &[("canary", "1")]).with_pods([pod, old("b")]));
    let found = Some((
        "1 node with an outdated pod: 0 of 1 canaries are available; waits for a".to_owned(),
        "find out what keeps the pod on a from being available, or go back: kubectl rollout undo -n prod daemonset/agent"
            .to_owned(),
    ));
    let unready = |minutes| new("a").unready().but(|pod| pod.created = Some(minutes_ago(minutes)));
    assert_eq!([of(crashing("a")), of(unready(11))], [found.clone(), found]);
    assert_eq!(of(unready(1)), None);
}

#[test]
fn a_group_that_waits_for_another_one_is_not_told_to_raise_the_limit() {
    let nodes = [labelled("a", &[("zone", "east")]), labelled("b", &[("zone", "west")])];
    let cluster = update(nodes, &[("groups", "zone")]).with_pods([crashing("a"), old("b")]);
    let (message, fix) = fix_of_waiting(&cluster).unwrap();
    assert!(message.contains("waits for 1 node, whose group comes first"), "{message}");
    assert!(!fix.contains("maxUnavailable"), "{fix}");
}

#[test]
fn no_way_back_is_suggested_if_only_pods_of_the_older_template_fail() {
    let nodes = [node("a"), labelled("b", &[("zone", "west")])];
    let cluster = update(nodes, &[("update-nodes", "zone=west")]).rolling(json!(1), json!(0));
    let (_, fix) = fix_of_waiting(&cluster.with_pods([broken("a"), old("b")])).unwrap();
    assert!(fix.contains("raise maxUnavailable to 2") && !fix.contains("undo"), "{fix}");
}
