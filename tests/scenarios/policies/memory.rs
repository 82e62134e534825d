//! What is remembered of updates, and what follows.

use super::*;

#[test]
fn a_failed_template_is_recorded_and_not_chosen_again() {
    let mut cluster = update(plain(&["a", "b", "c"]), &[("on-failure", "roll-back")]);
    cluster = cluster.with_pods([crashing("a"), new("b"), old("c")]);
    step(&mut cluster);
    let failed = &record(&cluster).failed[0];
    assert_eq!((&*failed.hash, failed.at, &*failed.reason), ("two", Some(cluster.now), "3 restarts on a"));
    assert_eq!(failed.restored.as_deref(), Some("one"));
    // Node a is broken for every template: most pods that work are of the failed one, and it is not restored.
    cluster.pods[0] = crashing("a").of("one");
    assert!(cluster.plan().actions.iter().all(|action| action.code() != "RollBack"), "{:?}", cluster.actions());
    assert_eq!(next_nodes(&cluster), ["b"], "the way back goes on");
}

#[test]
fn a_template_that_is_set_again_and_fails_again_is_paused() {
    let mut cluster = update(plain(&["a", "b", "c"]), &[("on-failure", "roll-back")]);
    let two = cluster.daemonset.template.clone();
    cluster = cluster.with_pods([crashing("a"), old("b"), old("c")]);
    step(&mut cluster);
    cluster.daemonset.template = two;
    assert_eq!(
        phase(&cluster).to_string(),
        "the update is paused, since the new template fails on a (3 restarts); \
         there is no roll-back, as the template was rolled back before"
    );
    assert!(
        step(&mut cluster)
            .iter()
            .any(|line| line == "record the rollout of agent: the update to two is paused: 3 restarts on a")
    );
    // The pause outlasts the failure, until the operator ends it.
    cluster.pods[0] = new("a");
    assert_eq!(
        phase(&cluster).to_string(),
        "the update is paused until an operator removes the annotation daemonplan/rollout-record, since the new template \
         failed on a (3 restarts); there is no roll-back, as the template was rolled back before"
    );
    assert_eq!(next_nodes(&cluster), [""; 0]);
    cluster.daemonset.annotations = [("daemonplan/on-failure", "roll-back")].into_iter().collect();
    assert_eq!(next_nodes(&cluster), ["b", "c"]);
}

#[test]
fn a_new_template_is_not_held_up_by_the_failure_of_another() {
    let mut cluster = update(plain(&["a", "b", "c"]), &[("on-failure", "pause")]);
    cluster = cluster.with_pods([crashing("a"), old("b"), old("c")]);
    step(&mut cluster);
    assert!(matches!(phase(&cluster), RolloutPhase::Failing { is_paused: true, .. }));
    cluster.daemonset.template = template(json!({"containers": [{"name": "agent", "image": "agent:3"}]}));
    let revision = cluster.revision("three", 3);
    cluster.revisions.push(revision);
    assert_eq!(next_nodes(&cluster), ["a", "b"]);
}

#[test]
fn an_update_is_done_once_its_last_pod_has_been_well_for_some_time() {
    let ready = |minutes: i64| new("a").but(|pod| pod.ready = Readiness::Ready { since: Some(minutes_ago(minutes)) });
    let cluster = update(plain(&["a"]), &[("on-failure", "roll-back")]);
    let fresh = cluster.clone().with_pods([ready(1)]);
    assert_eq!(phase(&fresh).to_string(), "all pods are up to date; they must stay available for 4m more");
    assert_eq!(fresh.plan().requeue_after.unwrap().as_secs(), 240);
    let mut done = cluster.with_pods([ready(5)]);
    assert_eq!(step(&mut done)[0], "record the rollout of agent: the update to two is done");
    assert_eq!((phase(&done), done.actions()), (RolloutPhase::Settled, vec![]));
    // What happens later is no failure of the update.
    done.pods[0] = crashing("a");
    assert_eq!((phase(&done), done.actions().len()), (RolloutPhase::Settled, 0));
}

#[test]
fn an_update_that_was_over_long_ago_is_not_judged() {
    let hours_ago = |hours: i64| minutes_ago(60 * hours);
    let ready = |name: &str, hours: i64| {
        new(name).but(|pod| {
            (pod.created, pod.ready) = (Some(hours_ago(hours)), Readiness::Ready { since: Some(hours_ago(hours)) });
        })
    };
    let failing = |hours: i64| crashing("a").but(|pod| pod.created = Some(hours_ago(hours)));
    let cluster = update(plain(&["a", "b"]), &[("on-failure", "roll-back")]);
    let of =
        |cluster: &Cluster, a: Pod, hours: i64| step(&mut cluster.clone().with_pods([a, ready("b", hours)]))[0].clone();
    let done = "record the rollout of agent: the update to two is done";
    let fails = "roll agent back to revision agent-one (number 1): the new template fails on a";
    assert_eq!([of(&cluster, failing(24), 24), of(&cluster, failing(24), 23)], [done, fails]);
    assert_eq!(of(&cluster, failing(1), 99), fails, "the last node of a long update");
    let mut joined = cluster.clone();
    joined.nodes[0].created = Some(minutes_ago(65));
    assert_eq!(of(&joined, failing(1), 99), done, "the node itself is new");
    let mut other = cluster;
    let record = r#"{"done": "one"}"#;
    other.daemonset.annotations = other.daemonset.annotations.with("daemonplan/rollout-record", record);
    assert_eq!(of(&other, failing(24), 24), done, "whatever was done before");
}

#[test]
fn nodes_that_were_broken_before_prove_nothing_against_the_template() {
    for (unavailable, surge) in [(1, 0), (0, 1)] {
        let nodes = [labelled("a", &[("zone", "east")]), labelled("b", &[("zone", "west")])];
        let annotations = [("groups", "zone"), ("on-failure", "roll-back")];
        let cluster = update(nodes, &annotations).rolling(json!(unavailable), json!(surge));
        let mut cluster = cluster.with_pods([old("a"), broken("b")]);
        step(&mut cluster);
        step(&mut cluster);
        assert_eq!(record(&cluster).replaced.unwrap().nodes, ["b"], "surge {surge}");
        cluster.pods.retain(|pod| pod.node.name().is_some_and(|node| node == "a"));
        cluster.pods.push(crashing("b"));
        assert_eq!(phase(&cluster).code(), "Rolling");
        // Elsewhere it does.
        cluster.pods[0] = crashing("a");
        assert_eq!(phase(&cluster).code(), "RollingBack");
    }
}

#[test]
fn a_node_that_was_broken_when_its_turn_came_proves_nothing_against_the_template() {
    for (unavailable, surge) in [(1, 0), (0, 1)] {
        let judged = |annotations: &[(&str, &str)]| {
            let cluster = update(plain(&["a", "b", "c"]), annotations).rolling(json!(unavailable), json!(surge));
            cluster.with_pods([broken("a"), old("b").unready(), old("c")])
        };
        let mut cluster = judged(&[("on-failure", "roll-back"), ("rollout-record", r#"{"done": "one"}"#)]);
        assert_eq!(
            step(&mut cluster)[0],
            "record the rollout of agent: pods that were broken before are replaced on a",
            "b is unready, but it starts"
        );
        cluster.pods = vec![crashing("a"), old("b"), old("c")];
        assert_eq!(phase(&cluster).code(), "Rolling", "surge {surge}");
        cluster.pods[1] = crashing("b");
        assert_eq!(phase(&cluster).code(), "RollingBack");
        // It may be the older template that does not work.
        assert!(!step(&mut judged(&[("on-failure", "roll-back")]))[0].starts_with("record"));
        // Where failures do not count, there is nothing to remember.
        assert!(!step(&mut judged(&[("strict-budget", "true")]))[0].starts_with("record"));
    }
}

#[test]
fn so_many_broken_nodes_are_remembered() {
    let names: Vec<_> = (0..1_005).map(|number| format!("n{number:04}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let mut cluster = update(plain(&names), &[("on-failure", "roll-back"), ("rollout-record", r#"{"done": "one"}"#)])
        .with_pods(names.iter().map(|name| broken(name)));
    cluster.settings.burst = 2_000;
    step(&mut cluster);
    assert_eq!(record(&cluster).replaced.unwrap().nodes.len(), ReplacedNodes::LIMIT);
}

#[test]
fn a_node_that_was_broken_gets_no_pod_of_a_template_that_fails() {
    let record = ("rollout-record", r#"{"replaced": {"hash": "two", "nodes": ["a"]}}"#);
    let cluster = update(plain(&["a", "b", "c"]), &[("on-failure", "pause"), record]);
    assert_eq!(created_image(&cluster.clone().with_pods([new("b"), old("c")])), "agent:2");
    assert_eq!(created_image(&cluster.with_pods([crashing("b"), old("c")])), "agent:1");
}

#[test]
fn a_roll_back_withdraws_the_approval_of_the_failed_template() {
    let of = |approved: &str| {
        let policy = [
            ("canary", "1"),
            ("canary-approval", "manual"),
            ("on-failure", "roll-back"),
            ("canary-approved", approved),
        ];
        let cluster = update(plain(&["a", "b"]), &policy).with_pods([crashing("a"), old("b")]);
        let mut after = cluster.clone();
        step(&mut after);
        (
            after.daemonset.annotations.get("daemonplan/canary-approved").map(str::to_owned),
            after.daemonset.annotations.len(),
        )
    };
    assert_eq!(of("two"), (None, 4), "the record is added");
    assert_eq!(of("two/1").0, None);
    assert_eq!(of("one"), (Some("one".to_owned()), 5), "of another template");
}

#[test]
fn what_was_done_last_is_recorded_even_if_failures_do_not_count_at_the_time() {
    let well = |name: &str| new(name).but(|pod| pod.ready = Readiness::Ready { since: Some(minutes_ago(6)) });
    let step_of = |record: &str| {
        let mut cluster = update(plain(&["a"]), &[("strict-budget", "true"), ("rollout-record", record)]);
        cluster.pods = vec![well("a")];
        step(&mut cluster)
    };
    assert_eq!(step_of(r#"{"done": "one"}"#)[0], "record the rollout of agent: the update to two is done");
    assert!(!step_of("{}").iter().any(|line| line.starts_with("record")));
}

#[test]
fn a_failure_is_remembered_even_if_no_other_pod_is_left() {
    let mut alone = update(plain(&["a"]), &[("on-failure", "pause")]).with_pods([crashing("a")]);
    let paused = "record the rollout of agent: the update to two is paused: 3 restarts on a";
    assert_eq!(step(&mut alone)[0], paused);
    assert!(record(&alone).failure_of("two").unwrap().is_paused);
    let explained = alone.snapshot().explain().update.to_string();
    assert!(explained.starts_with("the update is paused until an operator removes the annotation"), "{explained}");
    alone.pods.clear();
    assert_eq!(created_image(&alone), "agent:1");
    // An operator went on, and all pods have been well since.
    alone.pods = vec![new("a").but(|pod| pod.ready = Readiness::Ready { since: Some(minutes_ago(6)) })];
    assert_eq!(step(&mut alone)[0], "record the rollout of agent: the update to two is done");
    assert!(record(&alone).failed.is_empty());
    // Nothing else is known.
    let mut first = update(plain(&["a"]), &[("on-failure", "pause")]).with_pods([crashing("a")]);
    first.revisions.retain(|revision| revision.revision == 2);
    assert_eq!(
        (phase(&first).code(), step(&mut first).iter().any(|line| line.starts_with("record"))),
        ("Failing", false)
    );
}

#[test]
fn a_way_back_that_has_ended_is_what_the_next_roll_back_restores() {
    let mut cluster =
        update(plain(&["a", "b"]), &[("on-failure", "roll-back"), ("rollout-record", r#"{"done": "two"}"#)]);
    // An operator goes back to the first template.
    cluster.daemonset.template = cluster.revisions[0].template().unwrap();
    let since = |minutes: i64| move |pod: &mut Pod| pod.ready = Readiness::Ready { since: Some(minutes_ago(minutes)) };
    cluster.pods = vec![new("a"), new("b")];
    step(&mut cluster);
    assert_eq!((record(&cluster).returns_to.as_deref(), record(&cluster).done), (Some("one"), None));
    cluster.pods = vec![old("a").but(since(9)), old("b").but(since(4))];
    step(&mut cluster);
    assert_eq!((phase(&cluster).code(), record(&cluster).done), ("Settled", None));
    cluster.pods[1] = old("b").but(since(6));
    step(&mut cluster);
    assert_eq!(record(&cluster).done.as_deref(), Some("one"));
}
