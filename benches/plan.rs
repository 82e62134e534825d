//! How long plans take on synthetic clusters, all at once and event by event: `cargo bench --features synthetic --bench plan`.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use daemonplan::{
    Cluster, Key, Settings,
    model::{Pod, Readiness},
    synthetic::{Condition, Synthetic, SyntheticCluster},
};
use serde::{Serialize, de::DeserializeOwned};

/// Lets the objects lie in memory in the order in which they are listed, as when they have just been read.
fn as_read<T: Serialize + DeserializeOwned>(objects: &mut Vec<T>) {
    let copies = objects.chunks(1_000).flat_map(|objects| {
        let copy = serde_json::to_vec(objects).and_then(|text| serde_json::from_slice::<Vec<T>>(&text));
        copy.unwrap_or_default()
    });
    *objects = copies.collect();
}

/// Plans for the first DaemonSet, without a burst limit, and gives the number of actions.
fn plan(cluster: &SyntheticCluster, settings: &Settings) -> usize {
    let plan = black_box(cluster).snapshot(0).map(|snapshot| snapshot.settings(settings).plan());
    plan.map_or(0, |plan| plan.actions.len())
}

fn all_at_once(c: &mut Criterion) {
    let settings = Settings::default().burst(usize::MAX);
    let mut group = c.benchmark_group("snapshot");
    group.sample_size(10);
    let mut bench = |name: &str, nodes: usize, synthetic: Synthetic| {
        let mut cluster = synthetic.build();
        as_read(&mut cluster.nodes);
        as_read(&mut cluster.pods);
        group.bench_function(BenchmarkId::new(name, nodes), |b| b.iter(|| plan(&cluster, &settings)));
    };
    for nodes in [1_000, 10_000, 100_000, 1_000_000] {
        bench("settled", nodes, Synthetic::new(nodes).condition(Condition::Settled));
        bench("affinity", nodes, Synthetic::new(nodes).condition(Condition::SettledWithAffinity));
    }
    // Other pods are spread over five namespaces, of which a plan sees one.
    let crowded = |condition| Synthetic::new(10_000).condition(condition).other_pods(250_000);
    bench("settled, 50,000 others", 10_000, crowded(Condition::Settled));
    bench("affinity, 50,000 others", 10_000, crowded(Condition::SettledWithAffinity));
    for (name, condition) in [
        ("half rolled out", Condition::RollingOut),
        ("half surged", Condition::Surging),
        ("some in trouble", Condition::Troubled),
        ("first roll-out", Condition::New),
    ] {
        bench(name, 10_000, Synthetic::new(10_000).condition(condition));
    }
}

/// A cluster that knows everything and has planned for every DaemonSet, and their keys.
fn kept(synthetic: &SyntheticCluster) -> (Cluster, Vec<Key>) {
    let mut cluster = Cluster::new(Settings::default());
    synthetic.objects().for_each(|object| cluster.apply(object));
    let keys = cluster.stale(synthetic.now);
    for key in &keys {
        cluster.plan(key, synthetic.now);
    }
    (cluster, keys)
}

fn event_by_event(c: &mut Criterion) {
    let mut group = c.benchmark_group("cluster");
    for nodes in [1_000, 10_000, 100_000, 1_000_000] {
        let synthetic = Synthetic::new(nodes).condition(Condition::Settled).build();
        let (Some(ready), Some(key)) = (synthetic.pods.get(nodes / 2).cloned(), kept(&synthetic).1.pop()) else {
            return;
        };
        let mut unready: Pod = ready.clone();
        unready.ready = Readiness::NotReady;
        let (mut cluster, _) = kept(&synthetic);
        group.bench_function(BenchmarkId::new("event that says nothing new", nodes), |b| {
            b.iter(|| cluster.apply(black_box(&ready).clone()));
        });
        group.bench_function(BenchmarkId::new("pod turns ready or unready, and plan", nodes), |b| {
            let mut is_ready = true;
            b.iter(|| {
                is_ready = !is_ready;
                cluster.apply(black_box(if is_ready { &ready } else { &unready }).clone());
                cluster.plan(&key, synthetic.now).map(|plan| plan.actions.len())
            });
        });
    }
    let synthetic = Synthetic::new(10_000).daemonsets(100).condition(Condition::Settled).build();
    let (mut cluster, keys) = kept(&synthetic);
    let Some(node) = synthetic.nodes.get(5_000) else { return };
    let mut relabelled = node.clone();
    let mut is_there = true;
    relabelled.labels = node.labels.with("kubernetes.io/os", "other");
    group.bench_function("node is relabelled, 100 DaemonSets told", |b| {
        b.iter(|| {
            is_there = !is_there;
            cluster.apply(black_box(if is_there { node } else { &relabelled }).clone());
        });
    });
    group.bench_function("node is relabelled, 100 DaemonSets told and planned for", |b| {
        b.iter(|| {
            is_there = !is_there;
            cluster.apply(black_box(if is_there { node } else { &relabelled }).clone());
            for key in &keys {
                black_box(cluster.plan(key, synthetic.now).map(|plan| plan.actions.len()));
            }
        });
    });
}

#[allow(missing_docs)]
mod run {
    use super::{all_at_once, criterion_group, event_by_event};
    criterion_group!(group, all_at_once, event_by_event);
}

criterion_main!(run::group);
