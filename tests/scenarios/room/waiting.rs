//! Pods that wait as they are, and not as the template says.

use daemonplan::{
    forecast::{Assumptions, Outcome},
    lint::{Lint, lint},
    model::{Node, Pod, PodNode, PodPhase, PodProblem, PodSpec, Taint, TaintEffect},
};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{
    super::common::{PodExt, cluster, pod},
    Full, other, requesting, sized, spec_of,
};

/// A pod of the current template that waits for a node, with its own spec.
fn waiting(node: &str, own: &Value) -> Pod {
    let mut pod = pod("agent-a", node).phase(PodPhase::Pending).unready();
    let mut spec = PodSpec::clone(&spec_of(own));
    spec.is_for_one_node = true;
    (pod.node, pod.spec) = (PodNode::Intended(node.into()), Some(spec.into()));
    pod
}

#[test]
fn a_pod_that_waits_as_another_template_said_is_asked_about_as_it_is_and_can_be_created_again() {
    let of = |own: &Value, template: &str| {
        let mut cluster = cluster([sized("a", "1")]).with_spec(requesting(template));
        cluster.pods = vec![waiting("a", own)];
        Full::of(cluster, []).with(|snapshot| {
            let forecast = snapshot.forecast(&Assumptions::default());
            let explanation = snapshot.explain();
            let remedies = &explanation.nodes[0].pods[0].scheduling.as_ref().unwrap().remedies;
            (forecast.outcome, remedies.first().map(|remedy| remedy.text.clone()))
        })
    };
    let mut gated = requesting("300m");
    gated["schedulingGates"] = json!([{"name": "example.com/license"}]);
    let again =
        Some("fits if it is deleted: the next one is as the template, the settings and admission now say".to_owned());
    assert_eq!(of(&requesting("2"), "300m"), (Outcome::Stuck, again.clone()));
    assert_eq!(of(&gated, "300m"), (Outcome::Stuck, again));
    assert_eq!(of(&requesting("300m"), "300m"), (Outcome::Done, None));
    let (outcome, remedy) = of(&requesting("2"), "3");
    assert!(outcome == Outcome::Stuck && remedy.unwrap().contains("1 more"), "the next one does not fit either");
}

#[test]
fn what_the_scheduler_said_of_a_pod_that_is_deleted_next_does_not_matter() {
    let of = |node: &str| {
        let mut cluster = cluster([sized("a", "1")]).with_spec(requesting("300m"));
        let mut pod = waiting(node, &requesting("300m"));
        let mut problem = PodProblem::default();
        problem.unschedulable = "0/1 nodes are available: 1 Insufficient cpu.".into();
        pod.problem = Some(Box::new(problem));
        cluster.pods = vec![pod];
        Full::of(cluster, []).with(|snapshot| snapshot.forecast(&Assumptions::default()).unknown.len())
    };
    assert_eq!((of("a"), of("gone")), (1, 0));
}

#[test]
fn what_a_pod_that_waits_tolerates_matters_where_there_is_something_to_tolerate() {
    let of = |node: Node, tolerates: bool| {
        let mut cluster = cluster([node]).with_spec(requesting("300m"));
        let mut own = requesting("300m");
        if tolerates {
            own["tolerations"] = json!([{"operator": "Exists"}]);
        }
        cluster.pods = vec![waiting("a", &own)];
        Full::of(cluster, []).forecast().0
    };
    let cordoned = || {
        let mut node = sized("a", "1");
        node.unschedulable = true;
        node
    };
    let pressed = || {
        let mut node = sized("a", "1");
        node.taints = vec![Taint::new("node.kubernetes.io/memory-pressure", "", TaintEffect::NoSchedule)];
        node
    };
    for node in [cordoned(), pressed()] {
        assert_eq!((of(node.clone(), false), of(node, true)), (Outcome::Stuck, Outcome::Done));
    }
    assert_eq!(of(sized("a", "1"), false), Outcome::Done);
}

/// A pod that waits since an hour before [`now`], of which the scheduler said something.
fn refused_for_an_hour(cpu: &str, own: Option<&Value>) -> Full {
    let mut cluster = cluster([sized("a", "1")]).with_spec(requesting(cpu));
    let mut problem = PodProblem::default();
    problem.unschedulable = "0/1 nodes are available: 1 Insufficient memory.".into();
    let mut pod = waiting("a", own.unwrap_or(&Value::Null));
    pod.spec = pod.spec.filter(|_| own.is_some());
    (pod.created, pod.problem) = (Some(now() - SignedDuration::from_hours(1)), Some(Box::new(problem)));
    cluster.pods = vec![pod];
    Full::of(cluster, [other("web", "a", "800m")])
}

fn now() -> Timestamp {
    "2026-06-01T12:00:00Z".parse().unwrap()
}

#[test]
fn a_pod_that_the_scheduler_has_refused_for_long_stays_refused_if_too_little_is_known() {
    let of = |cluster: Full, after: SignedDuration| {
        cluster.with(|snapshot| {
            let forecast = snapshot.at(now() + after).forecast(&Assumptions::default());
            (forecast.outcome, forecast.stuck.first().map(|stuck| stuck.cause.to_string()))
        })
    };
    let now = SignedDuration::ZERO;
    let said = "the pod stays Pending: 0/1 nodes are available: 1 Insufficient memory.";
    assert_eq!(of(refused_for_an_hour("100m", None), now), (Outcome::Stuck, Some(said.to_owned())));
    let own = requesting("100m");
    assert_eq!(of(refused_for_an_hour("100m", Some(&own)), now).0, Outcome::Done, "it fits by all that decides");
    let first_minutes = SignedDuration::from_mins(-55);
    assert_eq!(of(refused_for_an_hour("100m", None), first_minutes).0, Outcome::Done, "it may be bound yet");
    let mut unknown = refused_for_an_hour("100m", Some(&own));
    unknown.others[0].spec = None;
    assert_eq!(of(unknown, now), (Outcome::Stuck, Some(said.to_owned())));
}

#[test]
fn a_pod_that_waits_for_long_is_found_with_cause_and_cure() {
    let of = |cluster: Full, after: SignedDuration| {
        cluster.with(|snapshot| {
            let findings = lint(&[snapshot.at(now() + after)]);
            let finding = findings.into_iter().find(|finding| finding.lint == Lint::NotBound);
            finding.map(|finding| (finding.message, finding.fix))
        })
    };
    let now = SignedDuration::ZERO;
    let (message, fix) = of(refused_for_an_hour("300m", Some(&requesting("300m"))), now).unwrap();
    let cause = "a: NodeResourcesFit: requests cpu 300m, but 200m of 1 are free: 100m more are needed";
    assert_eq!(message, format!("on 1 node a pod has waited for more than 10m to be bound ({cause})"));
    assert_eq!(fix, "fits if shop/web leaves (cpu 800m), or fits if its priority is above 0, which preempts shop/web");
    let (message, fix) = of(refused_for_an_hour("100m", Some(&requesting("100m"))), now).unwrap();
    assert!(message.contains("(a: the scheduler said: 0/1 nodes are available: 1 Insufficient memory.)"), "{message}");
    assert_eq!(fix, "look at what kubectl describe pod -n prod agent-a shows");
    let first_minutes = SignedDuration::from_mins(-55);
    assert_eq!(of(refused_for_an_hour("300m", Some(&requesting("300m"))), first_minutes), None);
    let mut silent = refused_for_an_hour("100m", Some(&requesting("100m")));
    silent.cluster.pods[0].problem = None;
    assert!(of(silent, now).unwrap().0.contains("(a: why is not known)"));
    let mut elsewhere = refused_for_an_hour("300m", Some(&requesting("300m")));
    elsewhere.cluster.nodes[0].name = "b".into();
    assert_eq!(of(elsewhere, now), None, "it is deleted next");
    let mut bound = refused_for_an_hour("300m", Some(&requesting("300m")));
    bound.cluster.pods[0].node = PodNode::Bound("a".into());
    assert_eq!(of(bound, now), None, "its containers are started");
    let mut outdated = refused_for_an_hour("300m", Some(&requesting("300m")));
    outdated.cluster.pods[0] = outdated.cluster.pods[0].clone().of("zero");
    assert_eq!(of(outdated, now), None, "it is replaced next");
}

#[test]
fn a_gated_pod_does_not_wait_for_others_to_leave() {
    let of = |gates: Value| {
        let mut cluster = cluster([sized("a", "1")]).with_spec(requesting("300m"));
        let mut own = requesting("300m");
        own["schedulingGates"] = gates;
        cluster.pods = vec![waiting("a", &own)];
        let mut web = other("web", "a", "800m");
        web.deleted = Some(now());
        Full::of(cluster, [web]).forecast().0
    };
    assert_eq!((of(json!([])), of(json!([{"name": "example.com/license"}]))), (Outcome::Waiting, Outcome::Stuck));
}

#[test]
fn the_pods_are_named_whose_place_a_pod_that_waits_takes() {
    let mut own = requesting("300m");
    own["priority"] = json!(9);
    let mut cluster = cluster([sized("a", "1")]).with_spec(requesting("300m"));
    cluster.pods = vec![waiting("a", &own)];
    Full::of(cluster, [other("web", "a", "800m")]).with(|snapshot| {
        let forecast = snapshot.forecast(&Assumptions::default());
        assert_eq!(forecast.preempted.iter().map(ToString::to_string).collect::<Vec<_>>(), ["shop/web"]);
        assert_eq!(forecast.outcome, Outcome::Waiting);
    });
}

#[test]
fn what_the_scheduler_said_does_not_keep_a_pod_from_waiting_for_what_goes() {
    let mut full = refused_for_an_hour("300m", Some(&requesting("300m")));
    full.others[0].deleted = Some(now());
    full.with(|snapshot| {
        let forecast = snapshot.at(now()).forecast(&Assumptions::default());
        let unknown: Vec<_> = forecast.unknown.iter().map(ToString::to_string).collect();
        let waits = "when its pod fits on node a, which depends on shop/web, whose deletion has begun";
        assert_eq!((forecast.outcome, unknown), (Outcome::Waiting, vec![waits.to_owned()]));
    });
}

#[test]
fn gates_other_schedulers_and_taints_that_came_later_are_causes_of_waiting() {
    let finding = |full: Full| {
        full.with(|snapshot| {
            let findings = lint(&[snapshot.at(now())]);
            let finding = findings.into_iter().find(|finding| finding.lint == Lint::NotBound).unwrap();
            (finding.message.split_once('(').unwrap().1.to_owned(), finding.fix)
        })
    };
    let mut gated = requesting("100m");
    gated["schedulingGates"] = json!([{"name": "example.com/license"}]);
    let (cause, fix) = finding(refused_for_an_hour("100m", Some(&gated)));
    assert!(cause.starts_with("a: SchedulingGates: "), "{cause}");
    assert!(
        fix.starts_with("fits if it is deleted: the next one is as the template, the settings and admission now say"),
        "{fix}"
    );
    let mut own = requesting("100m");
    own["schedulerName"] = json!("volcano");
    assert_eq!(finding(refused_for_an_hour("100m", Some(&own))).0, "a: left to the scheduler volcano)");
    let mut later = refused_for_an_hour("100m", Some(&requesting("100m")));
    later.cluster.nodes[0].taints = vec![Taint::new("dedicated", "db", TaintEffect::NoSchedule)];
    assert!(finding(later).0.starts_with("a: TaintToleration: "), "the pod stays, and waits for ever");
}

#[test]
fn what_helps_on_one_of_several_nodes_is_told_of_that_node() {
    let names = ["a", "b", "c", "d"];
    let mut cluster = cluster(names.map(|name| sized(name, "1"))).with_spec(requesting("300m"));
    cluster.pods = names
        .iter()
        .map(|name| {
            let mut pod = waiting(name, &requesting("300m"));
            (pod.name, pod.created) = (format!("agent-{name}").into(), Some(now() - SignedDuration::from_hours(1)));
            pod
        })
        .collect();
    Full::of(cluster, names.map(|name| other(&format!("web-{name}"), name, "800m"))).with(|snapshot| {
        let findings = lint(&[snapshot.at(now())]);
        let finding = findings.into_iter().find(|finding| finding.lint == Lint::NotBound).unwrap();
        assert!(finding.message.ends_with("; and 1 more)") && finding.nodes.len() == 4, "{}", finding.message);
        assert!(finding.fix.starts_with("on a: fits if shop/web-a leaves"), "{}", finding.fix);
    });
}
