//! The way back and the way forward: what an update may always do.

use super::*;

#[test]
fn the_way_back_does_not_wait_for_canaries_or_approval() {
    for canary in [("canary", "1"), ("canary-nodes", "pool=blue")] {
        let annotations = [canary, ("canary-bake", "1h"), ("canary-approval", "manual"), ("on-failure", "roll-back")];
        let mut cluster = update(plain(&["a", "b", "c"]), &annotations).with_pods([new("a"), new("b"), crashing("c")]);
        cluster.daemonset.annotations = cluster.daemonset.annotations.with("daemonplan/canary-approved", "two");
        cluster.nodes[0].labels = [("pool", "blue")].into_iter().collect();
        step(&mut cluster);
        assert!(
            step(&mut cluster).contains(&"delete pod new-c on c: outdated and not available".to_owned()),
            "{canary:?}"
        );
        assert_eq!(created_image(&cluster), "agent:1", "a missing pod is of the template that is restored");
    }
}

#[test]
fn an_undo_by_the_operator_is_a_way_back() {
    for annotations in [
        &[("canary", "1"), ("canary-bake", "1h")][..],
        &[("canary", "1"), ("canary-approval", "manual")],
        &[("partition", "3")],
        &[("update-nodes", "pool=blue")],
    ] {
        let mut cluster = update(plain(&["a", "b", "c"]), annotations).with_pods([new("a"), new("b"), old("c")]);
        let one = cluster.revisions[0].template().unwrap();
        cluster.daemonset.template = one;
        let lines = step(&mut cluster);
        assert!(lines[0].starts_with("update revision agent-one (number 3"), "{lines:?}");
        assert_eq!(lines[1], "record the rollout of agent: the update goes back to one");
        assert_eq!(
            &lines[2..],
            ["delete pod new-a on a: outdated", "delete pod new-b on b: outdated"],
            "{annotations:?}"
        );
        // The record or the age of the revision tells it later.
        assert_eq!(created_image(&cluster), "agent:1");
        cluster.daemonset.annotations = update(plain(&[]), annotations).daemonset.annotations;
        cluster.pods.push(new("a"));
        let [one, two] = [0, 1].map(|at| cluster.revisions[at].name.clone());
        for revision in &mut cluster.revisions {
            revision.created = Some(minutes_ago(if revision.name == one { 60 } else { 30 }));
        }
        assert_ne!(one, two);
        assert!(next_nodes(&cluster).contains(&"b".to_owned()), "{annotations:?}");
        assert_eq!(created_image(&cluster), "agent:1");
    }
}

#[test]
fn broken_pods_are_replaced_before_their_turn_within_the_budget() {
    let zones = |names: &[(&str, &str)]| -> Vec<Node> {
        names.iter().map(|(name, zone)| labelled(name, &[("zone", zone)])).collect()
    };
    let nodes = || zones(&[("a", "east"), ("b", "west"), ("c", "west")]);
    for annotation in [("groups", "zone"), ("canary-nodes", "zone=east")] {
        let cluster = update(nodes(), &[annotation]).rolling(json!(1), json!(0));
        let mut cluster = cluster.with_pods([old("a"), broken("b"), broken("c")]);
        assert_eq!(
            step(&mut cluster),
            [
                "record the rollout of agent: pods that were broken before are replaced on b",
                "delete pod old-b on b: outdated and not available",
            ]
        );
        assert_eq!((next_nodes(&cluster), created_image(&cluster)), (vec!["b".into()], "agent:2".into()));
        // With the budget used up, the others wait, and the nodes are named.
        cluster.pods.push(new("b").unready());
        assert_eq!(next_nodes(&cluster), [""; 0]);
        let waits_for = if annotation.0 == "groups" { "waits for b, c" } else { "waits for a, b, c" };
        assert_eq!(cluster.plan().rollout.unwrap().waiting().unwrap(), waits_for);
        let surging =
            update(nodes(), &[annotation]).rolling(json!(0), json!(1)).with_pods([old("a"), broken("b"), old("c")]);
        assert_eq!((next_nodes(&surging), created_image(&surging)), (vec!["b".into()], "agent:2".into()));
    }
}

#[test]
fn a_pod_that_is_unready_for_a_moment_waits_for_the_turn_of_its_group() {
    let nodes = || [labelled("a", &[("zone", "east")]), labelled("b", &[("zone", "west")])];
    let next = |minutes| {
        let unready = old("b").but(|pod| pod.ready = Readiness::NotReady { since: Some(minutes_ago(minutes)) });
        next_nodes(&update(nodes(), &[("groups", "zone")]).rolling(json!(1), json!(0)).with_pods([old("a"), unready]))
    };
    assert_eq!((next(9), next(10)), (vec![], vec!["b".into()]));
}

#[test]
fn a_ready_pod_is_not_known_to_be_stuck_without_a_clock() {
    let nodes = [labelled("a", &[("zone", "east")]), labelled("b", &[("zone", "west")])];
    let restarted = old("b").but(|pod| pod.problem = broken("b").problem);
    let mut cluster =
        update(nodes, &[("groups", "zone")]).rolling(json!(2), json!(0)).with_pods([broken("a"), restarted]);
    cluster.daemonset.min_ready_seconds = 60;
    let snapshot = daemonplan::Snapshot::new(&cluster.daemonset, &cluster.nodes, &cluster.pods, &cluster.namespace);
    let plan = snapshot.revisions(&cluster.revisions).settings(&cluster.settings).plan();
    assert_eq!(lines(&plan), ["delete pod old-a on a: outdated and not available"]);
}
