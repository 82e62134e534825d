//! Nodes that are updated before all others.

use super::*;

#[test]
fn canaries_are_updated_first_and_bake() {
    let cluster = update(plain(&["a", "b", "c"]), &[("canary", "1"), ("canary-bake", "10m")]);
    let all_old = cluster.clone().with_pods([old("a"), old("b"), old("c")]);
    assert_eq!(
        (next_nodes(&all_old), phase(&all_old)),
        (vec!["a".into()], RolloutPhase::CanaryStarting { available: 0, wanted: 1, fails_in: None, step: ONLY })
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
fn canaries_that_still_bake_are_named() {
    let of = |annotations: &[(&str, &str)]| stepwise(annotations, &[9, 4, 3]).plan().rollout.unwrap().waits_for;
    assert_eq!(of(&[("canary", "3"), ("canary-bake", "5m")]), ["b", "c"]);
    assert_eq!(of(&[("canary", "1"), ("canary-bake", "10m")]), ["a"], "the first ones are the canaries");
    let nodes = ["a", "b", "c"].map(|name| labelled(name, &[("canary", if name == "a" { "no" } else { "yes" })]));
    let cluster = update(nodes, &[("canary-nodes", "canary=yes"), ("canary-bake", "5m")]);
    let since = |name, minutes| new(name).but(|pod| pod.ready = Readiness::Ready { since: Some(minutes_ago(minutes)) });
    let plan = cluster.with_pods([old("a"), since("b", 4), since("c", 6)]).plan();
    assert_eq!(plan.rollout.unwrap().waits_for, ["b"]);
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
    assert_eq!(
        (next_nodes(&cluster), phase(&cluster).to_string()),
        (vec![], "no node that should run a pod matches canary-nodes".into())
    );
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
    assert_eq!(
        phase(&approved("one")).to_string(),
        "an operator must approve the update: annotate the DaemonSet with daemonplan/canary-approved=two"
    );
    assert_eq!((next_nodes(&approved("one")), next_nodes(&approved("two"))), (vec![], vec!["b".into()]));
}

#[test]
fn an_update_without_canaries_can_require_approval() {
    let cluster = update(plain(&["a", "b"]), &[("canary", "0"), ("canary-approval", "manual")]);
    let cluster = cluster.with_pods([old("a"), old("b")]);
    assert_eq!((next_nodes(&cluster), phase(&cluster).code()), (vec![], "AwaitingApproval"));
    let approved = [("canary", "0"), ("canary-approval", "manual"), ("canary-approved", "two")];
    assert_eq!(next_nodes(&update(plain(&["a", "b"]), &approved).with_pods([old("a"), old("b")])), ["a", "b"]);
}

#[test]
fn more_canaries_than_the_partition_allows_are_not_waited_for() {
    let cluster = update(plain(&["a", "b"]), &[("canary", "2"), ("partition", "1")]).with_pods([new("a"), old("b")]);
    assert_eq!(phase(&cluster).to_string(), "the other nodes keep their pods (1 kept by the policy partition)");
}

#[test]
fn canaries_by_label_that_the_partition_does_not_reach_are_not_waited_for() {
    let nodes = ["a", "b", "c"].map(|name| labelled(name, &[("canary", "yes")]));
    let of = |policies: &[(&str, &str)]| {
        let cluster =
            update(nodes.clone(), &[&[("canary-nodes", "canary=yes"), ("partition", "2")], policies].concat());
        phase(&cluster.with_pods([new("a"), old("b"), old("c")])).to_string()
    };
    let held = "the other nodes keep their pods (2 kept by the policy partition)";
    assert_eq!([of(&[]), of(&[("canary-approval", "manual")])], [held, held]);
}

#[test]
fn the_selection_can_move_on_after_the_canaries() {
    let pools = || ["a", "b", "c", "d"].into_iter().zip(["blue", "blue", "green", "green"]);
    let nodes = || pools().map(|(name, pool)| labelled(name, &[("pool", pool)]));
    let pods = || [new("a"), new("b"), old("c"), old("d")];
    for canary in [("canary", "1"), ("canary-nodes", "pool=blue")] {
        let cluster = update(nodes(), &[canary, ("update-nodes", "pool=green")]).with_pods(pods());
        assert_eq!(
            (next_nodes(&cluster), phase(&cluster).code()),
            (vec!["c".into(), "d".into()], "Rolling"),
            "{canary:?}"
        );
    }
}

#[test]
fn canaries_that_are_not_selected_are_named() {
    let nodes = [labelled("a", &[("pool", "canary")]), labelled("b", &[("pool", "blue")])];
    let cluster = update(nodes, &[("canary-nodes", "pool=canary"), ("update-nodes", "pool=blue")]);
    let cluster = cluster.with_pods([old("a"), old("b")]);
    assert_eq!((next_nodes(&cluster), phase(&cluster).to_string()), (vec![], "0 of 1 canaries are available".into()));
    assert_eq!(cluster.plan().rollout.unwrap().waits_for, ["a"]);
    let findings = lint(&[cluster.snapshot()]);
    let finding = findings.iter().find(|finding| finding.lint.code() == "idle-policy").unwrap();
    assert_eq!(finding.message, "the update waits for canaries that update-nodes does not select: a");
}

#[test]
fn canaries_that_are_all_away_are_waited_for_by_name() {
    let mut nodes = [node("a"), unreachable("b", 60)];
    nodes[1].labels = [("pool", "canary")].into_iter().collect();
    let cluster = update(nodes, &[("canary-nodes", "pool=canary"), ("away", "unreachable")]);
    let cluster = cluster.with_pods([old("a"), old("b")]);
    let rollout = cluster.plan().rollout.unwrap();
    assert_eq!(rollout.phase.to_string(), "0 of 1 canaries are available");
    assert_eq!(
        (rollout.waiting().unwrap(), next_nodes(&cluster)),
        ("waits for b, which does not report".into(), vec![])
    );
}

#[test]
fn the_first_canary_is_a_node_whose_pod_works_if_the_budget_allows_that() {
    let pods = || [old("a"), old("b"), broken("c")];
    let canary = |max: u32| {
        let cluster = update(plain(&["a", "b", "c"]), &[("canary", "1")]).rolling(json!(max), json!(0));
        next_nodes(&cluster.with_pods(pods()))
    };
    assert_eq!((canary(2), canary(1)), (vec!["a".into()], vec!["c".into()]));
    let surging = update(plain(&["a", "b", "c"]), &[("canary", "1")]).rolling(json!(0), json!(1)).with_pods(pods());
    assert_eq!(next_nodes(&surging), ["a"]);
}

#[test]
fn canaries_can_be_promoted_before_their_time() {
    for canary in [("canary", "1"), ("canary-nodes", "pool=blue")] {
        let next = |hash: &str| {
            let annotations = [canary, ("canary-bake", "1h"), ("canary-approval", "manual"), ("canary-promoted", hash)];
            let mut cluster =
                update(plain(&["a", "b", "c"]), &annotations).with_pods([new("a").unready(), old("b"), old("c")]);
            cluster.nodes[0].labels = [("pool", "blue")].into_iter().collect();
            next_nodes(&cluster)
        };
        assert_eq!((next("two"), next("one")), (vec!["b".into()], vec![]), "{canary:?}");
    }
}

/// Returns ten nodes of which the first have had an available new pod for so many minutes.
fn stepwise(annotations: &[(&str, &str)], updated: &[i64]) -> Cluster {
    let names = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"];
    let cluster = update(plain(&names), annotations);
    let now = cluster.now;
    let pods = names.iter().enumerate().map(|(place, name)| match updated.get(place) {
        Some(minutes) => new(name).but(|pod| {
            let since = now - SignedDuration::from_mins(*minutes);
            pod.created = Some(since - SignedDuration::from_mins(1));
            pod.ready = Readiness::Ready { since: Some(since) };
        }),
        None => old(name),
    });
    cluster.with_pods(pods.collect::<Vec<_>>())
}

#[test]
fn canaries_can_have_several_steps_each_with_its_own_bake_time() {
    let steps = [("canary", "1, 30%, 50%"), ("canary-bake", "1h, 10m")];
    let of = |updated: &[i64]| {
        let cluster = stepwise(&steps, updated);
        (next_nodes(&cluster).join(","), phase(&cluster).to_string())
    };
    assert_eq!(of(&[]), ("a".into(), "step 1 of 3: 0 of 1 canaries are available".into()));
    assert_eq!(of(&[40]), (String::new(), "step 1 of 3: the canaries must be available for 20m more".into()));
    assert_eq!(of(&[60]), ("b,c".into(), "step 2 of 3: 1 of 3 canaries are available".into()));
    assert_eq!(of(&[90, 8, 4]), (String::new(), "step 2 of 3: the canaries must be available for 6m more".into()));
    assert_eq!(of(&[90, 20, 10]), ("d,e".into(), "step 3 of 3: 3 of 5 canaries are available".into()));
    // The last bake time is also that of later steps.
    assert_eq!(
        of(&[120, 50, 50, 9, 9]),
        (String::new(), "step 3 of 3: the canaries must be available for 1m more".into())
    );
    assert_eq!(of(&[120, 50, 50, 10, 10]), ("f,g".into(), "the update is in progress".into()));
}

#[test]
fn each_step_of_canaries_can_require_an_approval_of_its_own() {
    let of = |approved: &str, updated: &[i64]| {
        let steps = [("canary", "1, 3"), ("canary-approval", "automatic, manual"), ("canary-approved", approved)];
        let cluster = stepwise(&steps, updated);
        (next_nodes(&cluster).join(","), phase(&cluster))
    };
    assert_eq!(of("none", &[1]).0, "b,c");
    for approved in ["none", "one", "two/1", "one/2"] {
        let (next, phase) = of(approved, &[1, 1, 1]);
        let message = "step 2 of 2: an operator must approve the update: \
                       annotate the DaemonSet with daemonplan/canary-approved=two/2";
        assert_eq!((&*next, &*phase.to_string()), ("", message), "{approved}");
    }
    for approved in ["two", "two/2", "two/3"] {
        assert_eq!(of(approved, &[1, 1, 1]).0, "d,e", "{approved}");
    }
}

#[test]
fn a_step_that_adds_no_node_keeps_its_bake_time_and_its_approval() {
    let of = |approved: &str, minutes: i64| {
        let mut policy = vec![("canary", "1, 5%, 40%"), ("canary-bake", "1m, 1h, 0s"), ("canary-approval", "manual")];
        policy.push(("canary-approved", approved));
        phase(&stepwise(&policy, &[minutes])).to_string()
    };
    assert_eq!(of("two/1", 9), "step 2 of 3: the canaries must be available for 51m more");
    assert!(of("two/1", 60).starts_with("step 2 of 3: an operator must approve"));
    assert_eq!(of("two/2", 60), "step 3 of 3: 1 of 4 canaries are available");
}

#[test]
fn no_approval_is_asked_for_beyond_the_partition() {
    let of = |partition| {
        let steps =
            [("canary", "1, 2"), ("canary-approval", "manual"), ("canary-approved", "two/1"), ("partition", partition)];
        phase(&stepwise(&steps, &[1, 1])).code()
    };
    assert_eq!((of("8"), of("7")), ("Held", "AwaitingApproval"));
}

#[test]
fn an_approval_can_come_before_the_first_node_of_several_steps() {
    let steps = |approved| [("canary", "0, 20%"), ("canary-approval", "manual"), ("canary-approved", approved)];
    assert_eq!(next_nodes(&stepwise(&steps("none"), &[])), Vec::<String>::new());
    assert_eq!(next_nodes(&stepwise(&steps("two/1"), &[])), ["a", "b"]);
}

#[test]
fn later_steps_replace_broken_pods_first() {
    let mut cluster = stepwise(&[("canary", "1, 5"), ("strict-budget", "true")], &[1]);
    *cluster.pods.last_mut().unwrap() = broken("j");
    assert_eq!(next_nodes(&cluster), ["b", "j"]);
}

#[test]
fn steps_must_ascend_and_have_no_more_values_than_steps() {
    let finds = |annotations: &[(&str, &str)]| phase(&stepwise(annotations, &[])).code();
    for annotations in [
        &[("canary", "10%, 5%")][..],
        &[("canary", "2, 2")],
        &[("canary", "1,")],
        &[("canary", "1"), ("canary-bake", "1m, 2m")],
        &[("canary-nodes", "a"), ("canary-approval", "manual, manual")],
        &[("canary", "1"), ("canary-approved", "two/last")],
        &[("canary", "1"), ("canary-approved", "two/0")],
        &[("canary", "1"), ("canary-approved", "/1")],
        &[("canary", "1"), ("canary-approved", "two, two/1")],
        &[("canary", "1"), ("canary-promoted", "two/1")],
        &[("canary", "1"), ("canary-timeout", "1h")],
        &[("on-failure", "pause"), ("canary-timeout", "1h")],
        &[("canary", "1"), ("on-failure", "pause"), ("canary-timeout", "0s")],
        &[("canary", "1, 2"), ("canary-bake", "1m, 1h"), ("on-failure", "pause"), ("canary-timeout", "1h")],
    ] {
        assert_eq!(finds(annotations), "Unreadable", "{annotations:?}");
    }
    assert_eq!(finds(&[("canary", "5, 10%, 20%"), ("canary-bake", "1m,2m")]), "CanaryStarting");
}

const TIMED: [(&str, &str); 5] = [
    ("canary", "2"),
    ("canary-bake", "30m"),
    ("canary-timeout", "1h"),
    ("on-failure", "roll-back"),
    ("max-failures", "50%"),
];

/// Returns canaries of which `b`, created so many minutes ago, is not available.
fn one_unready(minutes: i64, annotations: &[(&str, &str)]) -> Cluster {
    let mut cluster = stepwise(annotations, &[minutes - 1, 1]);
    let created = cluster.now - SignedDuration::from_mins(minutes);
    cluster.pods[1] = new("b").unready().but(|pod| pod.created = Some(created));
    cluster
}

#[test]
fn canaries_that_are_not_available_in_time_fail_the_template() {
    let waiting = one_unready(59, &TIMED);
    assert_eq!(
        phase(&waiting).to_string(),
        "1 of 2 canaries are available; the template fails in 1m unless they have baked by then"
    );
    assert_eq!(waiting.plan().requeue_after.unwrap().as_secs(), 60);
    let late = one_unready(60, &TIMED);
    assert_eq!(
        phase(&late),
        RolloutPhase::RollingBack { nodes: vec!["b".into()], reason: "not available for 30m within 1h on b".into() }
    );
    let plan = late.plan();
    let Some(Action::RollBack { record, .. }) = plan.actions.first() else { panic!("{:?}", plan.actions) };
    assert_eq!(record.failed[0].reason, "not available for 30m within 1h on b");
}

#[test]
fn a_bake_that_ends_after_the_time_limit_says_when_the_template_fails() {
    let baking = |since: i64| {
        let mut cluster = stepwise(&TIMED, &[50, since]);
        cluster.pods[1].created = Some(cluster.now - SignedDuration::from_mins(51));
        cluster
    };
    let late = baking(10);
    assert_eq!(
        phase(&late).to_string(),
        "the canaries must be available for 20m more; their time ends in 9m and the template fails then"
    );
    assert_eq!(late.plan().requeue_after.unwrap().as_secs(), 9 * 60);
    let in_time = baking(25);
    assert_eq!(phase(&in_time).to_string(), "the canaries must be available for 5m more");
    assert_eq!(in_time.plan().requeue_after.unwrap().as_secs(), 5 * 60, "the limit changes nothing");
}

#[test]
fn what_bakes_while_an_operator_stops_the_update_has_baked() {
    for stop in ["paused", "frozen"] {
        let cluster = stepwise(&[&TIMED[..], &[(stop, "true")]].concat(), &[50, 40]);
        let plan = cluster.plan();
        let baked = plan.actions.iter().find_map(|action| match action {
            Action::RecordRollout { record, .. } => record.baked.clone(),
            _ => None,
        });
        assert_eq!(baked.unwrap().steps, 1, "{stop}");
        let baking = stepwise(&[&TIMED[..], &[(stop, "true")]].concat(), &[50, 25]).plan();
        assert_eq!(baking.requeue_after.unwrap().as_secs(), 5 * 60, "{stop}: then they have baked");
    }
}

#[test]
fn a_template_that_was_promoted_and_then_failed_is_tried_on_canaries_again() {
    let of = |record: &str| {
        let promoted =
            [("canary", "1"), ("canary-promoted", "two"), ("on-failure", "roll-back"), ("rollout-record", record)];
        phase(&stepwise(&promoted, &[])).code()
    };
    assert_eq!(of("{}"), "Rolling");
    assert_eq!(
        of(r#"{"failed": [{"hash": "two", "reason": "x", "nodes": [], "restored": "one", "isPaused": false}]}"#),
        "CanaryStarting"
    );
}

#[test]
fn a_canary_that_cannot_be_scheduled_is_named() {
    let refused = new("a").unready().but(|pod| {
        let mut problem = PodProblem::default();
        (problem.unschedulable, problem.unschedulable_since) = ("Insufficient cpu".into(), Some(minutes_ago(30)));
        (pod.node, pod.problem) = (PodNode::Intended("a".into()), Some(Box::new(problem)));
    });
    let cluster = update(plain(&["a", "b", "c"]), &[("canary", "1"), ("away", "unschedulable")]);
    let rollout = cluster.with_pods([refused, old("b"), old("c")]).plan().rollout.unwrap();
    assert_eq!((rollout.phase.code(), rollout.waits_for), ("CanaryStarting", vec!["a".into()]));
}

#[test]
fn canaries_that_have_baked_once_are_no_longer_late() {
    let flapped = |baked: &str| {
        let record = format!(r#"{{"baked": {baked}}}"#);
        let mut cluster = stepwise(&[&TIMED[..], &[("rollout-record", &*record)]].concat(), &[90, 20]);
        cluster.pods[1].created = Some(cluster.now - SignedDuration::from_mins(91));
        phase(&cluster).code()
    };
    assert_eq!(flapped("null"), "RollingBack");
    assert_eq!(flapped(r#"{"hash": "one", "steps": 1}"#), "RollingBack");
    assert_eq!(flapped(r#"{"hash": "two", "steps": 1}"#), "CanaryBaking");
    // One more node has the template: the canaries must have baked before.
    let mut further = stepwise(&TIMED, &[90, 20, 20]);
    further.pods[1].created = Some(further.now - SignedDuration::from_mins(91));
    assert_eq!(phase(&further).code(), "CanaryBaking");
    // Without a pod of the template, nothing speaks against it.
    assert_eq!(phase(&stepwise(&TIMED, &[])).code(), "CanaryStarting");
}

#[test]
fn a_step_that_has_baked_is_recorded_if_its_time_is_limited() {
    let steps = [("canary", "1, 3"), ("canary-bake", "30m"), ("canary-timeout", "1h"), ("on-failure", "pause")];
    let recorded = |annotations: &[(&str, &str)], updated: &[i64]| {
        let mut cluster = stepwise(annotations, updated);
        let line = step(&mut cluster).into_iter().find(|line| line.starts_with("record"));
        (line.unwrap_or_default(), record(&cluster).baked.map_or(0, |baked| baked.steps))
    };
    assert_eq!(recorded(&steps, &[29]), (String::new(), 0));
    let of = "record the rollout of agent: the canaries of two have been available for long enough";
    assert_eq!(recorded(&steps, &[30]), (of.into(), 1));
    assert_eq!(recorded(&steps, &[90, 30, 30]), (format!("{of}, up to step 2"), 2));
    assert_eq!(recorded(&steps[..2], &[30]), (String::new(), 0));
}

#[test]
fn a_canary_whose_node_has_gone_is_judged_as_such_and_not_as_late() {
    let mut cluster = stepwise(&TIMED, &[300, 300]);
    cluster.nodes[1] = unreachable("b", 20);
    cluster.pods[1] = new("b").but(|pod| {
        pod.created = Some(minutes_ago(300));
        pod.ready = Readiness::NotReady { since: Some(minutes_ago(20)) };
    });
    assert_eq!(phase(&cluster).to_string(), "1 of 2 canaries are available");
}

#[test]
fn each_canary_has_its_own_time() {
    let steps = [("canary", "1, 3"), ("canary-bake", "30m"), ("canary-timeout", "1h"), ("on-failure", "pause")];
    let mut cluster = stepwise(&steps, &[500, 20, 20]);
    assert_eq!(phase(&cluster).code(), "CanaryBaking");
    cluster.pods[1].created = Some(cluster.now - SignedDuration::from_mins(61));
    assert_eq!(
        phase(&cluster).to_string(),
        "the update is paused, since the new template fails on b (not available for 30m within 1h)"
    );
}

#[test]
fn an_approval_that_is_late_fails_nothing() {
    let annotations = [TIMED[0], TIMED[2], TIMED[3], ("canary-approval", "manual")];
    assert_eq!(phase(&stepwise(&annotations, &[500, 500])).code(), "AwaitingApproval");
}

#[test]
fn canaries_by_label_have_a_limited_time_too() {
    let of = |minutes: i64| {
        let annotations = [("canary-nodes", "pool=canary"), TIMED[1], TIMED[2], TIMED[3]];
        let mut cluster = one_unready(minutes, &annotations);
        for node in &mut cluster.nodes[..2] {
            node.labels = [("pool", "canary")].into_iter().collect();
        }
        phase(&cluster).code()
    };
    assert_eq!((of(59), of(60)), ("CanaryStarting", "RollingBack"));
}
