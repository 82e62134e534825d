//! What would make a pod fit on its node.

use daemonplan::{
    model::{Node, Pod},
    scheduling::{ClusterState, SchedulingObjects},
};
use serde_json::{Value, json};

fn node(change: impl FnOnce(&mut Value)) -> Node {
    let mut node = json!({"metadata": {"name": "a", "labels": {"disk": "hdd"}}, "spec": {},
        "status": {"allocatable": {"cpu": "1", "memory": "1Gi", "pods": "3"}}});
    change(&mut node);
    serde_json::from_value(node).unwrap()
}

fn pod(name: &str, cpu: &str, change: impl FnOnce(&mut Value)) -> Pod {
    let container = json!({"name": "main", "resources": {"requests": {"cpu": cpu}}});
    let mut pod = json!({"metadata": {"name": name, "namespace": "shop"}, "spec": {"containers": [container]}});
    change(&mut pod);
    serde_json::from_value(pod).unwrap()
}

fn on_node(name: &str, cpu: &str, priority: i32) -> Pod {
    pod(name, cpu, |pod| {
        pod["spec"]["nodeName"] = json!("a");
        pod["spec"]["priority"] = json!(priority);
    })
}

/// A pod for the node, as those of DaemonSets are.
fn waiting(cpu: &str, change: impl FnOnce(&mut Value)) -> Pod {
    pod("new", cpu, |pod| {
        let terms = json!([{"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["a"]}]}]);
        pod["spec"]["affinity"] =
            json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}});
        pod["spec"]["preemptionPolicy"] = json!("Never");
        change(pod);
    })
}

fn remedies(node: &Node, others: &[Pod], pod: &Pod) -> Vec<String> {
    let objects = SchedulingObjects::default();
    let state = ClusterState::new([node], others, [], &objects);
    state.remedies(pod).iter().map(ToString::to_string).collect()
}

fn plain() -> Node {
    node(|_| {})
}

#[test]
fn a_pod_that_fits_needs_no_remedy() {
    assert_eq!(remedies(&plain(), &[], &waiting("1", |_| {})), [""; 0]);
}

#[test]
fn nothing_is_named_against_what_refuses_all_nodes() {
    let claim = json!([{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]);
    let new = waiting("2", |pod| pod["spec"]["volumes"] = claim);
    let mut objects = SchedulingObjects::default();
    objects.is_complete = true;
    let node = plain();
    assert_eq!(ClusterState::new([&node], [], [], &objects).remedies(&new), []);
}

#[test]
fn what_the_pod_or_the_node_has_against_each_other_is_changed() {
    let cordoned = node(|node| {
        node["spec"] = json!({"unschedulable": true,
            "taints": [{"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}]});
    });
    let new = || waiting("1", |_| {});
    assert_eq!(remedies(&cordoned, &[], &new()), ["fits if the node is uncordoned"]);
    let tainted = node(|node| {
        node["spec"]["taints"] = json!([{"key": "dedicated", "value": "db", "effect": "NoSchedule"},
            {"key": "gpu", "effect": "NoExecute"}, {"key": "soft", "effect": "PreferNoSchedule"}]);
    });
    let both = "fits if it tolerates the taint dedicated=db:NoSchedule, and it tolerates the taint gpu:NoExecute";
    assert_eq!(remedies(&tainted, &[], &new()), [both]);
    let tolerant = waiting("1", |pod| pod["spec"]["tolerations"] = json!([{"key": "gpu", "operator": "Exists"}]));
    assert_eq!(remedies(&tainted, &[], &tolerant), ["fits if it tolerates the taint dedicated=db:NoSchedule"]);
    let gated = waiting("1", |pod| pod["spec"]["schedulingGates"] = json!([{"name": "a.b/c"}, {"name": "d.e/f"}]));
    assert_eq!(remedies(&plain(), &[], &gated), ["fits if the scheduling gates a.b/c, d.e/f are removed"]);
    let choosy = waiting("1", |pod| pod["spec"]["nodeSelector"] = json!({"disk": "ssd", "zone": "x"}));
    let labels = "fits if the node has the label disk=ssd, and the node has the label zone=x";
    assert_eq!(remedies(&plain(), &[], &choosy), [labels]);
    let elsewhere = waiting("1", |pod| {
        let expression = json!({"key": "disk", "operator": "In", "values": ["ssd"]});
        let affinity = &mut pod["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"];
        affinity["nodeSelectorTerms"][0]["matchExpressions"] = json!([expression]);
    });
    assert_eq!(remedies(&plain(), &[], &elsewhere), [""; 0], "of an affinity no single change is known");
}

#[test]
fn a_cordon_is_told_with_the_taints_that_stay() {
    let node = node(|node| {
        node["spec"] = json!({"unschedulable": true, "taints": [
            {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}, {"key": "gpu", "effect": "NoSchedule"}]});
    });
    let told = remedies(&node, &[], &waiting("1", |_| {}));
    assert_eq!(told, ["fits if the node is uncordoned, and it tolerates the taint gpu:NoSchedule"]);
}

#[test]
fn pods_that_could_leave_are_named_by_what_they_release() {
    let others = [on_node("large", "600m", 0), on_node("small", "100m", 0)];
    let expected =
        ["fits if shop/large leaves (cpu 600m)", "fits if it requests 500m less cpu, or the node has 500m more"];
    assert_eq!(remedies(&plain(), &others, &waiting("800m", |_| {})), expected);
    let both = ["fits if shop/small leaves (cpu 100m), and shop/large leaves (cpu 600m)"];
    assert_eq!(remedies(&plain(), &others, &waiting("1", |_| {}))[..1], both);
    let too_large = remedies(&plain(), &others, &waiting("1500m", |_| {}));
    assert_eq!(
        too_large,
        ["fits if it requests 1200m less cpu, or the node has 1200m more"],
        "no pod that leaves helps"
    );
    let overcommitted = [on_node("b", "700m", 0), on_node("c", "700m", 0)];
    let told = remedies(&plain(), &overcommitted, &waiting("100m", |_| {}));
    assert_eq!(told.last().unwrap(), "fits if the node has 500m more cpu", "it requests less than is lacking");
}

#[test]
fn the_least_important_pods_are_named_first_and_few_of_them() {
    let large = node(|node| node["status"]["allocatable"] = json!({"cpu": "1", "pods": "9"}));
    let of_daemonset = pod("log-1", "200m", |pod| {
        pod["spec"]["nodeName"] = json!("a");
        pod["metadata"]["ownerReferences"] =
            json!([{"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "log", "uid": "7", "controller": true}]);
    });
    let others = [on_node("b", "200m", 5), of_daemonset.clone(), on_node("c", "200m", 0), on_node("d", "190m", 0)];
    let told = remedies(&large, &others, &waiting("350m", |_| {}));
    assert_eq!(
        told,
        [
            "fits if shop/d leaves (cpu 190m)",
            "fits if shop/c leaves (cpu 200m)",
            "fits if shop/b leaves (cpu 200m)",
            "fits if it requests 140m less cpu, or the node has 140m more",
        ]
    );
    let only = remedies(&large, &[of_daemonset, on_node("e", "700m", 0)], &waiting("300m", |_| {}));
    let recreated = "fits if shop/log-1 leaves (cpu 200m), though DaemonSet log creates another";
    assert!(only.contains(&recreated.into()), "{only:?}");
}

#[test]
fn of_several_pods_that_have_to_leave_as_many_as_possible_stay() {
    let large = node(|node| node["status"]["allocatable"] = json!({"cpu": "1", "pods": "9"}));
    let others = [on_node("b", "300m", 0), on_node("c", "300m", 1), on_node("d", "300m", 2)];
    let told = remedies(&large, &others, &waiting("600m", |_| {}));
    assert_eq!(told[0], "fits if shop/b leaves (cpu 300m), and shop/c leaves (cpu 300m)");
    let memory = |pod: &mut Value| pod["spec"]["containers"][0]["resources"]["requests"]["memory"] = json!("600Mi");
    let large_memory = pod("c", "0", |pod| {
        pod["spec"]["nodeName"] = json!("a");
        memory(pod);
    });
    let told = remedies(&plain(), &[on_node("b", "600m", 0), large_memory], &waiting("600m", memory));
    assert_eq!(told[0], "fits if shop/c leaves (memory 600Mi), and shop/b leaves (cpu 600m)");
}

#[test]
fn more_room_for_pods_is_told_apart_from_more_of_a_resource() {
    let full = [on_node("b", "100m", 0), on_node("c", "100m", 0), on_node("d", "100m", 0)];
    let one = remedies(&plain(), &full, &waiting("100m", |_| {}));
    assert_eq!(one.last().unwrap(), "fits if the node allows 1 pod more");
    assert_eq!(one[0], "fits if shop/b leaves", "what it releases is not what is lacking");
    let four = [on_node("b", "100m", 0), on_node("c", "100m", 0), on_node("d", "100m", 0), on_node("e", "100m", 0)];
    let two = remedies(&plain(), &four, &waiting("100m", |_| {}));
    assert_eq!(two.last().unwrap(), "fits if the node allows 2 pods more");
    let both = remedies(&plain(), &full, &waiting("900m", |_| {}));
    let all = "fits if the node allows 1 pod more, and it requests 200m less cpu, or the node has 200m more";
    assert_eq!(both.last().unwrap(), all);
}

#[test]
fn pods_whose_deletion_has_begun_are_told_together() {
    let going = |name: &str| {
        let mut pod = on_node(name, "400m", 0);
        pod.deleted = Some("2026-01-02T03:04:05Z".parse().unwrap());
        pod
    };
    let told = remedies(&plain(), &[going("c"), going("b")], &waiting("1", |_| {}));
    assert_eq!(told[0], "fits if shop/b, shop/c are gone, whose deletion has begun");
    assert!(!told.iter().any(|remedy| remedy.contains("leaves")), "{told:?}");
    let gated = waiting("1m", |pod| pod["spec"]["schedulingGates"] = json!([{"name": "x"}]));
    assert_eq!(
        remedies(&plain(), &[going("b")], &gated),
        ["fits if the scheduling gates x are removed"],
        "that is enough"
    );
    let staying = remedies(&plain(), &[going("b"), on_node("c", "700m", 0)], &waiting("500m", |_| {}));
    assert!(!staying.iter().any(|remedy| remedy.contains("deletion")), "{staying:?}");
}

#[test]
fn the_lowest_priority_that_is_enough_is_named_unless_a_daemonset_creates_the_pod_again() {
    let preempting = |cpu: &str, priority: i32| {
        waiting(cpu, |pod| {
            pod["spec"]["preemptionPolicy"] = json!("PreemptLowerPriority");
            pod["spec"]["priority"] = json!(priority);
        })
    };
    let others = [on_node("b", "300m", 5), on_node("c", "600m", 7)];
    let has = |pods: &[Pod], pod: &Pod, remedy: &str| remedies(&plain(), pods, pod).contains(&remedy.into());
    let above = "fits if its priority is above 7, which preempts shop/c";
    assert!(has(&others, &preempting("500m", 0), above));
    assert!(!has(&others, &preempting("250m", 6), above), "it takes the place of shop/b already");
    assert!(has(&others, &preempting("500m", 7), above));
    assert!(!has(&others, &waiting("500m", |_| {}), above), "it never preempts");
    let higher = |pods: &[Pod], pod: &Pod| {
        remedies(&plain(), pods, pod).into_iter().filter(|remedy| remedy.contains("priority")).collect::<Vec<_>>()
    };
    let both = "fits if its priority is above 7, which preempts shop/c, shop/b";
    assert_eq!(higher(&others, &preempting("1", 0)), [both]);
    assert_eq!(higher(&others, &preempting("2", 0)), [""; 0]);
    let critical = [on_node("b", "900m", 1_000_000_000), on_node("c", "50m", 2_000_000_000)];
    assert_eq!(higher(&critical, &preempting("500m", 0)), [""; 0], "no class of users is above");
    let with_owner = pod("log-1", "900m", |pod| {
        pod["spec"]["nodeName"] = json!("a");
        pod["spec"]["priority"] = json!(5);
        pod["metadata"]["ownerReferences"] =
            json!([{"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "log", "uid": "7", "controller": true}]);
    });
    assert_eq!(higher(&[on_node("log-1", "900m", 5)], &preempting("500m", 0)).len(), 1);
    assert_eq!(higher(&[with_owner], &preempting("500m", 0)), [""; 0]);
    let other_scheduler = {
        let mut pod = preempting("500m", 0);
        let mut spec = pod.spec.as_deref().unwrap().clone();
        spec.scheduler = "batch".into();
        pod.spec = Some(spec.into());
        pod
    };
    assert_eq!(higher(&others, &other_scheduler), [""; 0]);
}

#[test]
fn no_label_is_proposed_by_which_pods_are_counted() {
    let choosy = |change: fn(&mut Value)| {
        waiting("1", |pod| {
            pod["spec"]["nodeSelector"] = json!({"zone": "x"});
            change(pod);
        })
    };
    let excluding = |key: &str| {
        pod("web", "0", |pod| {
            pod["spec"]["nodeName"] = json!("a");
            let term = json!({"topologyKey": key, "labelSelector": {"matchLabels": {"app": "other"}}});
            pod["spec"]["affinity"] =
                json!({"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}});
        })
    };
    let label = "fits if the node has the label zone=x";
    assert_eq!(remedies(&plain(), &[excluding("rack")], &choosy(|_| {})), [label]);
    assert_eq!(remedies(&plain(), &[excluding("zone")], &choosy(|_| {})), [""; 0]);
    let spread = choosy(|pod| {
        pod["spec"]["topologySpreadConstraints"] = json!([{"topologyKey": "disk", "maxSkew": 1,
            "whenUnsatisfiable": "DoNotSchedule", "labelSelector": {}}]);
    });
    assert_eq!(remedies(&plain(), &[], &spread), [""; 0]);
}
