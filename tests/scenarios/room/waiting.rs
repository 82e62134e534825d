//! Pods that wait as they are, and not as the template says.

use daemonplan::{
    forecast::{Assumptions, Outcome},
    model::{Node, Pod, PodNode, PodPhase, PodProblem, PodSpec, Taint, TaintEffect},
};
use serde_json::{Value, json};

use super::{
    super::common::{PodExt, cluster, pod},
    Full, requesting, sized, spec_of,
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
    let again = Some("fits if it is deleted: the next one is as the template and admission now say".to_owned());
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
