//! How long a plan takes on synthetic clusters: `cargo bench --bench plan`.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use daemonplan::{
    Settings, Snapshot,
    model::{ControllerRef, DaemonSet, HASH_LABEL, Labels, Namespace, Node, Pod, PodNode, PodPhase, Readiness},
};
use serde_json::json;

struct Cluster {
    daemonset: DaemonSet,
    nodes: Vec<Node>,
    pods: Vec<Pod>,
    namespace: Namespace,
}

/// Nodes with 15 labels each, a taint on every tenth, and a pod of the current template on every node that wants one,
/// with `others` pods of somebody else between them.
fn cluster(count: usize, others: usize, affinity: &serde_json::Value) -> Cluster {
    let daemonset = json!({
        "metadata": {"namespace": "prod", "name": "agent", "uid": "uid-agent", "generation": 1},
        "spec": {
            "selector": {"matchLabels": {"app": "agent"}},
            "template": {
                "metadata": {"labels": {"app": "agent"}},
                "spec": {"containers": [{"name": "agent", "image": "registry.example/agent:1"}], "affinity": affinity}
            }
        }
    });
    let mut daemonset: DaemonSet =
        serde_json::from_value(daemonset).unwrap_or_else(|_| DaemonSet::new("prod", "agent"));
    let nodes: Vec<_> = (0..count).map(node).collect();
    let namespace = Namespace::new("prod");
    let empty = Snapshot::new(&daemonset, &nodes, &[], &namespace).plan();
    let wanted: Vec<_> = empty.placements().filter(|placement| placement.verdict.should_run()).collect();
    let mut pods: Vec<_> =
        wanted.iter().enumerate().map(|(number, wanted)| pod(number, &wanted.node, &empty.hash)).collect();
    let stride = others / pods.len().max(1) + 1;
    for number in 0..others {
        let mut other = Pod::new("prod", format!("web-{number:06}"));
        other.labels = Labels::from_iter([("app", "web"), ("tier", "front")]);
        other.controller = Some(ControllerRef { kind: "ReplicaSet".into(), name: "web".into(), uid: "uid-web".into() });
        pods.insert((number / stride * (stride + 1) + number % stride + 1).min(pods.len()), other);
    }
    daemonset.status = Snapshot::new(&daemonset, &nodes, &pods, &namespace).plan().status.unwrap_or_default();
    Cluster { daemonset, nodes, pods, namespace }
}

fn node(number: usize) -> Node {
    let mut node = Node::new(format!("node-{number:06}"));
    let labels = (0..12).map(|label| (format!("example.com/label-{label}"), format!("value-{}", number % (label + 2))));
    let own = [("kubernetes.io/hostname", node.name.to_string()), ("zone", format!("z{}", number % 3))];
    node.labels = labels
        .chain(own.map(|(key, value)| (key.to_owned(), value)))
        .chain([("role".to_owned(), "worker".to_owned())])
        .collect();
    if number.is_multiple_of(10) {
        let taint = json!({"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"});
        node.taints.extend(serde_json::from_value::<daemonplan::model::Taint>(taint));
    }
    node
}

fn pod(number: usize, node: &daemonplan::model::Text, hash: &daemonplan::model::Text) -> Pod {
    let mut pod = Pod::new("prod", format!("agent-{number:06}"));
    pod.uid = format!("uid-{number}").into();
    pod.labels = Labels::from_iter([("app", "agent"), (HASH_LABEL, hash)]);
    pod.controller = Some(ControllerRef { kind: "DaemonSet".into(), name: "agent".into(), uid: "uid-agent".into() });
    pod.node = PodNode::Bound(node.clone());
    pod.phase = PodPhase::Running;
    pod.ready = Readiness::Ready { since: None };
    pod
}

fn six_requirements() -> serde_json::Value {
    let requirement =
        |label| json!({"key": format!("example.com/label-{label}"), "operator": "NotIn", "values": ["x", "y"]});
    let terms = json!([{"matchExpressions": (0..6).map(requirement).collect::<Vec<_>>()}]);
    json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}})
}

fn benches(c: &mut Criterion) {
    let mut group = c.benchmark_group("settled");
    group.sample_size(20);
    for count in [1_000, 10_000, 100_000] {
        for (name, affinity) in [("plain", json!(null)), ("affinity", six_requirements())] {
            let cluster = cluster(count, 0, &affinity);
            group.bench_function(BenchmarkId::new(name, count), |b| b.iter(|| plan(&cluster)));
        }
    }
    let crowded = cluster(10_000, 50_000, &json!(null));
    group.bench_function("plain/10000 and 50000 foreign pods", |b| b.iter(|| plan(&crowded)));
    group.finish();

    let mut empty = cluster(10_000, 0, &json!(null));
    empty.pods.clear();
    let settings = Settings::default().burst(usize::MAX);
    c.bench_function("first roll-out/10000", |b| {
        b.iter(|| {
            let snapshot = Snapshot::new(&empty.daemonset, &empty.nodes, &empty.pods, &empty.namespace);
            black_box(snapshot.settings(&settings).plan().actions.len())
        });
    });
}

fn plan(cluster: &Cluster) -> usize {
    let Cluster { daemonset, nodes, pods, namespace } = black_box(cluster);
    let actions = Snapshot::new(daemonset, nodes, pods, namespace).plan().actions;
    assert!(actions.is_empty(), "the cluster is settled");
    black_box(actions.len())
}

#[allow(missing_docs)]
mod run {
    use super::{benches, criterion_group};
    criterion_group!(group, benches);
}

criterion_main!(run::group);
