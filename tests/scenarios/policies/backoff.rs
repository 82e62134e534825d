//! Back-off by reason.

use super::*;

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
fn a_surge_waits_for_the_back_off_of_failed_pods() {
    let surging = |annotations: &[(&str, &str)]| {
        let failed = pod("x", "a").phase(PodPhase::Failed);
        update(plain(&["a"]), annotations).rolling(json!(0), json!(1)).with_pods([failed])
    };
    let mut creations = Vec::new();
    for annotations in [&[][..], &[("backoff", "by-reason")]] {
        let mut cluster = surging(annotations);
        let mut created = 0;
        for _ in 0..60 {
            let plan = cluster.plan();
            created += plan.actions.iter().filter(|action| action.code() == "CreatePod").count();
            cluster.backoff.update(plan.backoff.clone(), cluster.now);
            cluster.apply(&plan.actions);
            for pod in &mut cluster.pods {
                *pod = pod.clone().phase(PodPhase::Failed);
            }
            cluster.now += SignedDuration::from_secs(1);
        }
        creations.push(created);
    }
    assert_eq!(creations, [60, 7], "in a minute");
}
