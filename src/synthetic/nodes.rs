use std::sync::Arc;

use crate::model::{Labels, Node, Quantity, ResourceList, Taint, TaintEffect};
use crate::synthetic::random::Random;

/// A pool of nodes: its share in percent, its instance type and its taint.
struct Pool {
    name: &'static str,
    share: u32,
    instance: &'static str,
    /// Cores, and GiB of memory.
    size: (i64, i64),
    taint: Option<(&'static str, &'static str)>,
}

const POOLS: [Pool; 6] = [
    Pool { name: "general", share: 60, instance: "m7.2xlarge", size: (8, 32), taint: None },
    Pool { name: "memory", share: 20, instance: "r7.4xlarge", size: (16, 128), taint: None },
    Pool {
        name: "gpu",
        share: 8,
        instance: "g6.12xlarge",
        size: (48, 192),
        taint: Some(("nvidia.com/gpu", "present")),
    },
    Pool { name: "ingress", share: 4, instance: "c7.xlarge", size: (4, 8), taint: Some(("dedicated", "ingress")) },
    Pool {
        name: "infra",
        share: 5,
        instance: "m7.4xlarge",
        size: (16, 64),
        taint: Some(("node-role.kubernetes.io/infra", "")),
    },
    Pool {
        name: "control-plane",
        share: 3,
        instance: "m7.xlarge",
        size: (4, 16),
        taint: Some(("node-role.kubernetes.io/control-plane", "")),
    },
];

/// Returns `count` nodes, by name.
pub(super) fn nodes(count: usize, random: &mut Random) -> Vec<Node> {
    let mut nodes: Vec<_> = (0..count).map(|number| node(number, random)).collect();
    nodes.sort_by(|a, b| a.name.cmp(&b.name));
    nodes
}

fn node(number: usize, random: &mut Random) -> Node {
    let zone = random.pick(&["eu-central-1a", "eu-central-1b", "eu-central-1c"]).copied().unwrap_or_default();
    let pool = pool(random.below(100));
    let [a, b, c] = [number / 65_536, number / 256 % 256, number % 256];
    let mut node = Node::new(format!("ip-10-{a}-{b}-{c}.eu-central-1.compute.internal"));
    node.uid = random.uid();
    let generation = (2 + random.below(6)).to_string();
    let rack = format!("rack-{}", random.below(400));
    node.labels = Labels::from_iter([
        ("beta.kubernetes.io/arch", "amd64"),
        ("beta.kubernetes.io/instance-type", pool.instance),
        ("beta.kubernetes.io/os", "linux"),
        ("failure-domain.beta.kubernetes.io/region", "eu-central-1"),
        ("failure-domain.beta.kubernetes.io/zone", zone),
        ("kubernetes.io/arch", "amd64"),
        ("kubernetes.io/hostname", &node.name),
        ("kubernetes.io/os", "linux"),
        (&format!("node-role.kubernetes.io/{}", pool.name), ""),
        ("node.example.com/generation", &generation),
        ("node.example.com/pool", pool.name),
        ("node.example.com/rack", &rack),
        ("node.kubernetes.io/instance-type", pool.instance),
        ("topology.kubernetes.io/region", "eu-central-1"),
        ("topology.kubernetes.io/zone", zone),
    ]);
    node.taints = taints(pool, random);
    node.unschedulable = node.taints.iter().any(Taint::is_cordon);
    node.allocatable = Some(Arc::new(allocatable(pool)));
    node
}

/// What pods can request, after what the kubelet keeps for itself.
fn allocatable(pool: &Pool) -> ResourceList {
    const GIB: i64 = 1 << 30;
    let (cores, memory) = pool.size;
    ResourceList::from_iter([
        ("cpu", Quantity::from_milli(cores * 1000 - 80)),
        ("ephemeral-storage", Quantity::from_bytes(100 * GIB)),
        ("memory", Quantity::from_bytes((memory - 1) * GIB)),
        ("pods", Quantity::from(110_i64)),
    ])
}

/// Returns the pool at this percentage of all nodes.
fn pool(mut percent: u32) -> &'static Pool {
    let [general, ..] = &POOLS;
    let found = POOLS.iter().find(|pool| {
        let is_found = percent < pool.share;
        percent = percent.saturating_sub(pool.share);
        is_found
    });
    found.unwrap_or(general)
}

/// Returns the taints of a node: at least one, which tells spot from reserved instances.
fn taints(pool: &Pool, random: &mut Random) -> Vec<Taint> {
    let taint = |key: &str, value: &str, effect| Taint::new(key, value, effect);
    let lifecycle = if random.happens(300) { "spot" } else { "reserved" };
    let mut taints = vec![taint("node.example.com/lifecycle", lifecycle, TaintEffect::PreferNoSchedule)];
    taints.extend(pool.taint.map(|(key, value)| taint(key, value, TaintEffect::NoSchedule)));
    if random.happens(10) {
        taints.push(taint("node.kubernetes.io/unschedulable", "", TaintEffect::NoSchedule));
    }
    if random.happens(5) {
        taints.push(taint("node.kubernetes.io/not-ready", "", TaintEffect::NoSchedule));
        taints.push(taint("node.kubernetes.io/not-ready", "", TaintEffect::NoExecute));
    }
    if random.happens(5) {
        taints.push(taint("node.kubernetes.io/disk-pressure", "", TaintEffect::NoSchedule));
    }
    taints
}
