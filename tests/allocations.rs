//! Memory use of plans and of an incremental cluster: no allocation for settled nodes, one template for all creations,
//! and nothing kept for removed objects.

mod common;

use allocation_counter::{AllocationInfo, measure};
use common::{Cluster, affinity, cluster, node, pod, tainted, template};
use daemonplan::{
    Cluster as Kept, Key, Settings,
    model::{DaemonSet, Interner, Namespace, Node, Pod, Text},
};
use serde_json::json;

fn nodes(count: usize) -> Cluster {
    let taints = ["node.kubernetes.io/disk-pressure:NoSchedule", "soft:PreferNoSchedule"];
    cluster((0..count).map(|n| tainted(&format!("node-{n:05}"), &taints)))
}

fn cost_of_a_plan(cluster: &Cluster, actions: usize) -> AllocationInfo {
    measure(|| assert_eq!(cluster.plan().actions.len(), actions))
}

#[test]
fn a_settled_node_allocates_nothing() {
    let settled = |count| {
        let affinity =
            affinity(json!([{"matchExpressions": [{"key": "zone", "operator": "NotIn", "values": ["x", "y"]}]}]));
        let cluster = nodes(count).with_spec(json!({"affinity": affinity}));
        let cluster = cluster.annotated(&[("openshift.io/node-selector", "role!=infra,!gone")]);
        let mut cluster = cluster.with_pods((0..count).map(|n| pod(&format!("pod-{n:05}"), &format!("node-{n:05}"))));
        cluster.settle();
        cost_of_a_plan(&cluster, 0).count_total
    };
    let (few, many) = (settled(100), settled(10_000));
    // Lists still grow by doubling: seven times from 100 to 10,000.
    assert!(many <= few + 3 * 7, "{few} allocations for 100 nodes, {many} for 10,000");
}

#[test]
fn ten_thousand_creations_share_one_template() {
    let mut cluster = nodes(10_000);
    let novel = "x".repeat(100_000);
    cluster.daemonset.template = template(json!({"containers": [{"name": "agent", "args": [novel]}]}));
    cluster.revisions = vec![cluster.revision("one", 1)];
    cluster.settings.burst = 10_000;
    let cost = cost_of_a_plan(&cluster, 10_001);
    assert!(cost.bytes_max < 20_000_000, "{} bytes at most, the templates alone are 1 GB", cost.bytes_max);
}

/// Returns how much memory a cluster gains from the second to the last of many equal rounds.
fn growth(rounds: usize, round: impl Fn(&mut Kept, usize)) -> i64 {
    let mut kept = Kept::new(Settings::default());
    kept.set_complete();
    round(&mut kept, 0);
    measure(|| (1..rounds).for_each(|number| round(&mut kept, number))).bytes_current
}

#[test]
fn added_and_removed_nodes_leave_no_memory_behind() {
    let facts = cluster([]);
    let grown = growth(5_000, |kept, number| {
        kept.apply(facts.namespace.clone());
        kept.apply(facts.daemonset.clone());
        let name = format!("node-{number}");
        kept.apply(node(&name));
        kept.apply(pod("one", &name));
        kept.plan(&Key::new("prod", "agent"), facts.now);
        kept.delete::<Node>(name.as_str());
        kept.delete::<Pod>(&Key::new("prod", "one"));
        kept.plan(&Key::new("prod", "agent"), facts.now);
    });
    assert!(grown < 5_000, "{grown} bytes more after 5,000 removed nodes");
}

#[test]
fn added_and_removed_namespaces_leave_no_memory_behind() {
    let facts = cluster([node("a")]);
    let grown = growth(5_000, |kept, number| {
        let name = Text::from(format!("namespace-{number}"));
        let mut daemonset = facts.daemonset.clone();
        daemonset.namespace = name.clone();
        let key = Key::new(name.clone(), daemonset.name.clone());
        kept.apply(Namespace::new(name.clone()));
        kept.apply(daemonset);
        kept.plan(&key, facts.now);
        kept.delete::<DaemonSet>(&key);
        kept.delete::<Namespace>(name);
    });
    assert!(grown < 5_000, "{grown} bytes more after 5,000 removed namespaces");
}

#[test]
fn pods_share_the_name_of_their_node() {
    const PODS: usize = 1000;
    let name = "n".repeat(1000);
    let mut kept = Kept::new(Settings::default());
    kept.set_complete();
    kept.apply(node(&name));
    let cost = measure(|| (0..PODS).for_each(|number| kept.apply(pod(&format!("pod-{number}"), &name))));
    assert!(cost.bytes_current < 600 * 1000, "{} bytes for {PODS} pods of a node", cost.bytes_current);
}

#[test]
fn a_status_update_rebuilds_nothing() {
    let count = 1000;
    let mut facts = nodes(count);
    facts = facts.with_pods((0..count).map(|n| pod(&format!("pod-{n:05}"), &format!("node-{n:05}"))));
    let mut kept = Kept::new(Settings::default());
    kept.set_complete();
    kept.apply(facts.namespace.clone());
    kept.apply(facts.daemonset.clone());
    kept.resync(facts.nodes.clone());
    kept.resync(facts.pods.clone());
    kept.resync(facts.revisions.clone());
    let key = Key::new("prod", "agent");
    let status = kept.plan(&key, facts.now).and_then(|plan| plan.status);
    facts.daemonset.status = status.unwrap_or_default();
    let cost = measure(|| {
        kept.apply(facts.daemonset.clone());
        assert_eq!(kept.plan(&key, facts.now).map(|plan| plan.actions.len()), Some(0));
    });
    assert!(cost.count_total < 50, "{} allocations for a plan after its status was written", cost.count_total);
}

#[test]
fn interned_pods_share_their_controller_reference() {
    const PODS: usize = 1000;
    let uid = "u".repeat(1000);
    let controller = json!({"kind": "DaemonSet", "name": "agent", "uid": uid, "controller": true});
    let pod = |number: usize| {
        json!({"metadata": {"name": format!("pod-{number}"), "ownerReferences": [controller]}}).to_string()
    };
    let texts: Vec<_> = (0..PODS).map(pod).collect();
    let mut pods: Vec<Pod> = Vec::with_capacity(PODS);
    let mut interner = Interner::default();
    let mut read = |text: &String| {
        let mut pod: Pod = serde_json::from_str(text).ok()?;
        interner.share(&mut pod);
        Some(pod)
    };
    let cost = measure(|| pods.extend(texts.iter().filter_map(&mut read)));
    assert_eq!(pods.len(), PODS);
    assert!(cost.bytes_current < 500 * 1000, "{} bytes for {PODS} pods of a controller", cost.bytes_current);
}
