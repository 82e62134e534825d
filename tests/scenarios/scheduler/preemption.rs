//! Whose place a pod would take.

use daemonplan::{
    model::Pod,
    scheduling::{Preemption, SchedulingObjects},
};
use serde_json::{Value, json};

use super::{node, objects, pod, read, state};

#[test]
fn preemption_is_told_in_a_sentence() {
    let budget = |name: &str| {
        json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": name, "namespace": "shop"},
            "spec": {"selector": {"matchLabels": {"app": "web"}}}, "status": {"disruptionsAllowed": 0}})
    };
    let plain = SchedulingObjects::default();
    let guarded = objects([budget("web")]);
    let nodes = [node("a", "1")];
    let web = |name: &str, cpu: &str, priority: i32| {
        let mut pod = pod(name, cpu, json!({"nodeName": "a", "priority": priority}));
        pod.labels = [("app", "web")].into_iter().collect();
        pod
    };
    let told = |pods: &[&Pod], objects: &SchedulingObjects, cpu: &str, fields: Value| {
        let answer = state(&nodes, pods.iter().copied(), objects).feasibility(&pod("new", cpu, fields));
        answer.preemption.unwrap().to_string()
    };
    let (one, two) = (web("one", "500m", 0), web("two", "500m", 0));
    let important = json!({"priority": 10});
    assert_eq!(told(&[&one], &plain, "600m", important.clone()), "preempts shop/one");
    assert_eq!(told(&[&one, &two], &plain, "1", important.clone()), "preempts shop/one, shop/two");
    let against_one = "preempts shop/one (against a PodDisruptionBudget)";
    assert_eq!(told(&[&one], &guarded, "600m", important.clone()), against_one);
    let against_two = "preempts shop/one, shop/two (against 2 PodDisruptionBudgets)";
    assert_eq!(told(&[&one, &two], &guarded, "1", important.clone()), against_two);
    let never = json!({"priority": 10, "preemptionPolicy": "Never"});
    assert_eq!(told(&[&one], &plain, "600m", never), "preempts no pods: its preemptionPolicy is Never");
    assert_eq!(told(&[&one], &plain, "600m", json!({})), "preempts no pods: none there has a lower priority");
    assert_eq!(told(&[], &plain, "2", important.clone()), "preempts no pods: that would not help");
    let (high, low) = (web("high", "500m", 20), web("low", "500m", 0));
    let neither = "preempts no pods: without those of lower priority it would not fit either";
    assert_eq!(told(&[&high, &low], &plain, "600m", important), neither);
    let (mut going, mut new) = (web("going", "500m", 0), pod("new", "600m", json!({"priority": 10})));
    let status = json!({"nominatedNodeName": "a"});
    for (pod, status) in [
        (
            &mut going,
            json!({"conditions": [{"type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler"}]}),
        ),
        (&mut new, status),
    ] {
        let mut value: Value = serde_json::to_value(&*pod).unwrap();
        value["status"] = status;
        *pod = read(value);
    }
    going.deleted = Some("2026-01-02T03:04:05Z".parse().unwrap());
    let answer = state(&nodes, [&going], &plain).feasibility(&new);
    assert_eq!(answer.preemption.unwrap().to_string(), "waits for shop/going, which it has preempted");
    let mut equal = going.spec.as_deref().unwrap().clone();
    equal.priority = Some(10);
    going.spec = Some(equal.into());
    let answer = state(&nodes, [&going], &plain).feasibility(&new);
    assert_eq!(answer.preemption.unwrap().to_string(), "preempts no pods: none there has a lower priority");
}

#[test]
fn of_several_nodes_preemption_takes_the_one_where_it_does_least_harm() {
    let budget = json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget",
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"selector": {"matchLabels": {"app": "guarded"}}}, "status": {"disruptionsAllowed": 0}});
    let objects = objects([budget]);
    let nodes = [node("a", "1"), node("b", "1")];
    let new = pod("new", "1", json!({"priority": 10}));
    // The pods of a node share it; each has a priority, and the minute of its start.
    let on_node = |node: &str, pods: &[(i32, u32)]| {
        let cpu = format!("{}m", 1000 / pods.len());
        let pods = pods.iter().zip(1..).map(|((priority, minute), number)| {
            let mut pod = pod(&format!("{node}-{number}"), &cpu, json!({"nodeName": node, "priority": priority}));
            pod.started = Some(format!("2026-01-02T03:{minute:02}:05Z").parse().unwrap());
            pod
        });
        pods.collect::<Vec<_>>()
    };
    let preempts_on = |a: &[Pod], b: &[Pod]| {
        let answer = state(&nodes, a.iter().chain(b), &objects).feasibility(&new);
        match answer.preemption {
            Some(Preemption::Preempts { node, .. }) => node.to_string(),
            other => panic!("{other:?}"),
        }
    };
    let least_harm = |a: &[(i32, u32)], b: &[(i32, u32)]| preempts_on(&on_node("a", a), &on_node("b", b));
    let mut guarded = on_node("a", &[(1, 0)]);
    guarded[0].labels = [("app", "guarded")].into_iter().collect();
    assert_eq!(preempts_on(&guarded, &on_node("b", &[(9, 0)])), "b", "a budget counts first");
    assert_eq!(least_harm(&[(5, 0)], &[(3, 0), (3, 0)]), "b", "then the highest priority");
    assert_eq!(least_harm(&[(3, 0), (2, 0)], &[(3, 0), (1, 0)]), "b", "then the sum of the priorities");
    assert_eq!(least_harm(&[(3, 0), (-5, 0)], &[(3, 0)]), "b", "a negative one makes more pods no better");
    assert_eq!(least_harm(&[(3, 0), (i32::MIN, 0)], &[(3, 0)]), "b", "then the number of pods");
    assert_eq!(least_harm(&[(3, 1)], &[(3, 2)]), "b", "then the latest start");
    assert_eq!(least_harm(&[(3, 1), (1, 9)], &[(3, 2), (1, 0)]), "b", "of the most important pods");
    assert_eq!(least_harm(&[(3, 0)], &[(3, 0)]), "a", "then the name of the node");
}

#[test]
fn remedies_count_the_pods_for_which_the_node_is_kept_free() {
    let nodes = [node("a", "1")];
    let objects = SchedulingObjects::default();
    let mut expected: Value = serde_json::to_value(pod("expected", "700m", json!({}))).unwrap();
    expected["status"] = json!({"nominatedNodeName": "a"});
    let expected: Pod = read(expected);
    let web = pod("web", "200m", json!({"nodeName": "a"}));
    let told = |cpu: &str| {
        let remedies =
            state(&nodes, [&expected, &web], &objects).pods_like(&pod("new", cpu, json!({}))).remedies("a", &[]);
        remedies.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let gone = "fits if shop/expected is gone, for which the scheduler keeps the node free";
    let priority = "fits if its priority is above 0";
    let less = |cpu: &str| format!("fits if it requests {cpu} less cpu, or the node has {cpu} more");
    assert_eq!(told("200m"), [gone, "fits if shop/web leaves (cpu 200m)", priority, &less("100m")]);
    assert_eq!(told("400m"), [gone, priority, &less("300m")]);
    let higher = "fits if its priority is above 0, which preempts shop/web";
    assert_eq!(told("900m"), [higher, &less("800m")]);
    assert_eq!(told("100m"), [""; 0], "it fits");
}

#[test]
fn pods_that_go_and_pods_that_must_leave_are_one_remedy() {
    let nodes = [node("a", "1")];
    let mut going = pod("going", "500m", json!({"nodeName": "a"}));
    going.deleted = Some("2026-01-02T03:04:05Z".parse().unwrap());
    let web = pod("web", "400m", json!({"nodeName": "a"}));
    let objects = SchedulingObjects::default();
    let told = |cpu: &str| {
        let remedies =
            state(&nodes, [&going, &web], &objects).pods_like(&pod("new", cpu, json!({}))).remedies("a", &[]);
        remedies.iter().map(ToString::to_string).next().unwrap()
    };
    let gone = "fits if shop/going is gone, whose deletion has begun";
    assert_eq!((told("600m"), told("1")), (gone.into(), format!("{gone}, and shop/web leaves (cpu 400m)")));
}

#[test]
fn labels_that_the_kubelet_sets_are_no_remedy() {
    let objects = SchedulingObjects::default();
    let nodes = [node("a", "1")];
    let told = |key: &str| {
        let new = pod("new", "1m", json!({"nodeSelector": {key: "x"}}));
        state(&nodes, [], &objects).pods_like(&new).remedies("a", &[]).len()
    };
    assert_eq!((told("disk"), told("kubernetes.io/hostname"), told("kubernetes.io/os")), (1, 0, 0));
}
