//! What a plan costs in memory: nothing per node where nothing is to be done, and one template for all creations.

mod common;

use allocation_counter::{AllocationInfo, measure};
use common::{Cluster, affinity, cluster, pod, tainted, template};
use serde_json::json;

fn nodes(count: usize) -> Cluster {
    let taints = ["node.kubernetes.io/disk-pressure:NoSchedule", "soft:PreferNoSchedule"];
    cluster((0..count).map(|n| tainted(&format!("node-{n:05}"), &taints)))
}

fn cost_of_a_plan(cluster: &Cluster, actions: usize) -> AllocationInfo {
    measure(|| assert_eq!(cluster.plan().actions.len(), actions))
}

#[test]
fn a_node_where_nothing_is_to_be_done_allocates_nothing() {
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
    // What is left is that lists grow, by doubling: seven times from 100 to 10,000.
    assert!(many <= few + 3 * 7, "{few} allocations for 100 nodes, {many} for 10,000");
}

#[test]
fn ten_thousand_creations_share_one_template() {
    let mut cluster = nodes(10_000);
    let novel = "x".repeat(100_000);
    cluster.daemonset.template = template(json!({"containers": [{"name": "agent", "args": [novel]}]}));
    cluster.revisions = vec![cluster.revision("one", 1)];
    cluster.settings = cluster.settings.burst(10_000);
    let cost = cost_of_a_plan(&cluster, 10_001);
    assert!(cost.bytes_max < 20_000_000, "{} bytes at most, the templates alone are 1 GB", cost.bytes_max);
}
