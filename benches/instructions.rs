//! Instruction counts of key cases: `cargo bench --bench instructions` (requires valgrind and `gungraun-runner`).
//! Fails if a case takes over 5 % more than the count committed here.

#![allow(missing_docs)] // the harness makes public items

use std::hint::black_box;

use daemonplan::{
    Cluster, Key, Settings, Snapshot,
    model::{Node, Pod, PodPhase, Readiness, Resource},
    scheduling::SchedulingObjects,
    synthetic::{Condition, Synthetic, SyntheticCluster},
};
use gungraun::{Callgrind, EventKind, LibraryBenchmarkConfig, library_benchmark, library_benchmark_group, main};
use jiff::Timestamp;

/// Allows 5 % more than `committed` instructions.
fn at_most(committed: u64) -> LibraryBenchmarkConfig {
    let mut callgrind = Callgrind::default();
    callgrind.hard_limits([(EventKind::Ir, committed + committed / 20)]);
    let mut config = LibraryBenchmarkConfig::default();
    config.tool(callgrind);
    config
}

/// Returns a thousand nodes, and as many pods of other controllers in the DaemonSet's namespace.
fn nodes(condition: Condition) -> SyntheticCluster {
    Synthetic::new(1_000).condition(condition).other_pods(5_000).build()
}

#[library_benchmark]
#[bench::settled(args = (Condition::Settled), setup = nodes, config = at_most(1_219_000))]
#[bench::affinity(args = (Condition::SettledWithAffinity), setup = nodes, config = at_most(1_984_000))]
#[bench::half_rolled_out(args = (Condition::RollingOut), setup = nodes, config = at_most(1_809_000))]
#[bench::first_roll_out(args = (Condition::New), setup = nodes, config = at_most(2_261_000))]
fn snapshot(cluster: SyntheticCluster) -> (SyntheticCluster, usize) {
    let plan = black_box(&cluster).snapshot(0).map(Snapshot::plan);
    let actions = plan.map_or(0, |plan| plan.actions.len());
    (cluster, actions)
}

/// Returns a cluster that has planned all of its DaemonSets.
struct Kept {
    cluster: Cluster,
    keys: Vec<Key>,
    now: Timestamp,
    node: Node,
    pod: Pod,
}

fn kept(daemonsets: usize) -> Kept {
    let synthetic = Synthetic::new(1_000).daemonsets(daemonsets).condition(Condition::Settled).build();
    let now = synthetic.now;
    let mut cluster = Cluster::new(Settings::default());
    cluster.set_complete();
    synthetic.objects().for_each(|object| cluster.apply(object));
    let keys = cluster.stale(now);
    for key in &keys {
        cluster.plan(key, now);
    }
    let mut pod = synthetic.pods.get(500).cloned().unwrap_or_else(|| Pod::new("default", "none"));
    pod.ready = Readiness::default();
    let mut node = synthetic.nodes.get(500).cloned().unwrap_or_else(|| Node::new("none"));
    node.labels = node.labels.with("kubernetes.io/os", "other");
    Kept { cluster, keys, now, node, pod }
}

#[library_benchmark]
#[bench::one(args = (1), setup = kept, config = at_most(9_219))]
fn pod_turns_unready(mut kept: Kept) -> (Kept, usize) {
    kept.cluster.apply(kept.pod.clone());
    let plan = kept.keys.first().and_then(|key| kept.cluster.plan(black_box(key), kept.now));
    let actions = plan.map_or(0, |plan| plan.actions.len());
    (kept, actions)
}

#[library_benchmark]
#[bench::hundred_daemonsets(args = (100), setup = kept, config = at_most(830_000))]
fn node_is_relabelled(mut kept: Kept) -> (Kept, usize) {
    kept.cluster.apply(kept.node.clone());
    let plans = kept.keys.iter().filter_map(|key| Some(kept.cluster.plan(black_box(key), kept.now)?.actions.len()));
    let actions = plans.sum();
    (kept, actions)
}

/// A cluster that keeps the scheduler's facts, and the pods of its DaemonSet.
struct Scheduled {
    cluster: Cluster,
    daemonset: Key,
    pods: Vec<Pod>,
    objects: SchedulingObjects,
}

/// Returns a thousand nodes with thirty pods each.
fn scheduled() -> Scheduled {
    let synthetic = Synthetic::new(1_000).condition(Condition::Settled).other_pods(29_000).build();
    let mut cluster = Cluster::with_scheduling(Settings::default());
    cluster.set_complete();
    synthetic.objects().for_each(|object| cluster.apply(object));
    let daemonset = synthetic.daemonsets.first().map_or_else(|| Key::new("default", "none"), Resource::key);
    let is_own = |pod: &Pod| pod.controller.as_ref().is_some_and(|owner| owner.name == daemonset.name);
    let pods = synthetic.pods.into_iter().filter(is_own).collect();
    Scheduled { cluster, daemonset, pods, objects: SchedulingObjects::default() }
}

#[library_benchmark]
#[bench::settled(setup = scheduled, config = at_most(2_676_000))]
fn feasibility(scheduled: Scheduled) -> (Scheduled, usize) {
    let Scheduled { cluster, daemonset, pods, objects } = black_box(&scheduled);
    let new = cluster.admitted_pods(daemonset, objects);
    let state = cluster.cluster_state(objects);
    let alike = state.as_ref().zip(new.as_ref()).map(|(state, new)| state.pods_like(new.map(|(pod, _)| pod)));
    let fits = alike.map_or(0, |mut alike| {
        let mut fits =
            |old: &&Pod| old.node.name().is_some_and(|node| alike.refusal_after(node.clone(), &[old]).is_none());
        pods.iter().filter(&mut fits).count()
    });
    drop(state);
    (scheduled, fits)
}

#[library_benchmark]
#[bench::with_scheduling(setup = scheduled, config = at_most(5_682))]
fn pod_ends(mut scheduled: Scheduled) -> (Scheduled, bool) {
    let mut pod = scheduled.pods.swap_remove(500);
    pod.phase = PodPhase::Failed;
    scheduled.cluster.apply(black_box(pod));
    (scheduled, true)
}

library_benchmark_group!(name = scheduling; benchmarks = feasibility, pod_ends);
library_benchmark_group!(name = all_at_once; benchmarks = snapshot);
library_benchmark_group!(name = event_by_event; benchmarks = pod_turns_unready, node_is_relabelled);

main!(library_benchmark_groups = all_at_once, event_by_event, scheduling);
