//! Time of plans on synthetic clusters, all at once and event by event: `cargo bench --bench plan`.

#![allow(clippy::indexing_slicing)] // a benchmark fails by panicking

use std::{
    cell::{LazyCell, RefCell},
    hint::black_box,
};

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use daemonplan::{
    Cluster, Key, Settings,
    model::{DaemonSet, Node, Pod, PodPhase, PodTemplate, Readiness, Resource},
    overhead::DaemonSetFleet,
    scheduling::SchedulingObjects,
    synthetic::{Condition, Synthetic, SyntheticCluster},
};
use serde::{Serialize, de::DeserializeOwned};

/// Reallocates the objects in list order, as if just deserialized.
fn as_read<T: Serialize + DeserializeOwned>(objects: &mut Vec<T>) {
    let copies = objects.chunks(1_000).flat_map(|objects| {
        let copy = serde_json::to_vec(objects).and_then(|text| serde_json::from_slice::<Vec<T>>(&text));
        copy.unwrap_or_default()
    });
    *objects = copies.collect();
}

/// Plans the first DaemonSet without a burst limit and returns the number of actions.
fn plan(cluster: &SyntheticCluster, settings: &Settings) -> usize {
    let plan = black_box(cluster).snapshot(0).map(|snapshot| snapshot.settings(settings).plan());
    plan.map_or(0, |plan| plan.actions.len())
}

fn all_at_once(c: &mut Criterion) {
    let mut settings = Settings::default();
    settings.burst = usize::MAX;
    let mut group = c.benchmark_group("snapshot");
    group.sample_size(10);
    let mut bench = |name: &str, nodes: usize, synthetic: Synthetic| {
        let cluster = LazyCell::new(|| {
            let mut cluster = synthetic.build();
            as_read(&mut cluster.nodes);
            as_read(&mut cluster.pods);
            cluster
        });
        group.bench_function(BenchmarkId::new(name, nodes), |b| b.iter(|| plan(&cluster, &settings)));
    };
    for nodes in [1_000, 10_000, 100_000, 1_000_000] {
        bench("settled", nodes, Synthetic::new(nodes).condition(Condition::Settled));
        bench("affinity", nodes, Synthetic::new(nodes).condition(Condition::SettledWithAffinity));
    }
    // Other pods are spread over five namespaces; a plan sees only one.
    let crowded = |condition| Synthetic::new(10_000).condition(condition).other_pods(250_000);
    bench("settled, 50,000 others", 10_000, crowded(Condition::Settled));
    bench("affinity, 50,000 others", 10_000, crowded(Condition::SettledWithAffinity));
    for (name, condition) in [
        ("half rolled out", Condition::RollingOut),
        ("half surged", Condition::Surging),
        ("some in problem", Condition::Troubled),
        ("first rollout", Condition::New),
    ] {
        bench(name, 10_000, Synthetic::new(10_000).condition(condition));
    }
}

/// A cluster that has planned every DaemonSet.
struct Kept {
    cluster: Cluster,
    keys: Vec<Key>,
    synthetic: SyntheticCluster,
}

impl Kept {
    fn new(nodes: usize, daemonsets: usize) -> Self {
        let synthetic = Synthetic::new(nodes).daemonsets(daemonsets).condition(Condition::Settled).build();
        let mut cluster = Cluster::new(Settings::default());
        cluster.set_complete();
        synthetic.objects().for_each(|object| cluster.apply(object));
        let keys = cluster.stale(synthetic.now);
        let mut kept = Self { cluster, keys, synthetic };
        kept.plan();
        kept
    }

    fn plan(&mut self) -> usize {
        let plans = self.keys.iter().filter_map(|key| Some(self.cluster.plan(key, self.synthetic.now)?.actions.len()));
        plans.sum()
    }

    fn pod(&self) -> Pod {
        self.synthetic.pods.get(self.synthetic.pods.len() / 2).cloned().unwrap_or_else(|| Pod::new("default", "none"))
    }

    fn node(&self) -> Node {
        self.synthetic.nodes.get(self.synthetic.nodes.len() / 2).cloned().unwrap_or_else(|| Node::new("none"))
    }
}

fn event_by_event(c: &mut Criterion) {
    let mut group = c.benchmark_group("cluster");
    for nodes in [1_000, 10_000, 100_000, 1_000_000] {
        let kept = LazyCell::new(|| RefCell::new(Kept::new(nodes, 1)));
        group.bench_function(BenchmarkId::new("event that says nothing new", nodes), |b| {
            let mut kept = kept.borrow_mut();
            let pod = kept.pod();
            b.iter(|| kept.cluster.apply(black_box(&pod).clone()));
        });
        group.bench_function(BenchmarkId::new("pod turns ready or unready, and plan", nodes), |b| {
            let mut kept = kept.borrow_mut();
            let mut pods = [kept.pod(), kept.pod()];
            pods[0].ready = Readiness::default();
            let mut turns = pods.iter().cycle();
            b.iter(|| {
                kept.cluster.apply(turns.next().map_or_else(|| Pod::new("default", "none"), Pod::clone));
                kept.plan()
            });
        });
    }
    let kept = LazyCell::new(|| RefCell::new(Kept::new(10_000, 100)));
    let mut relabel = |name: &str, plans: bool| {
        group.bench_function(name, |b| {
            let mut kept = kept.borrow_mut();
            let mut nodes = [kept.node(), kept.node()];
            nodes[0].labels = nodes[0].labels.with("kubernetes.io/os", "other");
            let mut turns = nodes.iter().cycle();
            b.iter(|| {
                kept.cluster.apply(turns.next().map_or_else(|| Node::new("none"), Node::clone));
                if plans { kept.plan() } else { 0 }
            });
        });
    };
    relabel("node is relabelled, 100 DaemonSets told", false);
    relabel("node is relabelled, 100 DaemonSets told and planned for", true);
    let kept = LazyCell::new(|| RefCell::new(Kept::new(10_000, 20)));
    group.bench_function("template is edited, and plan/10000", |b| {
        let mut kept = kept.borrow_mut();
        let mut daemonsets = [&kept.synthetic, &kept.synthetic].map(|cluster| cluster.daemonsets[0].clone());
        daemonsets[0].template = kept.synthetic.daemonsets[1].template.clone();
        let mut turns = [0, 1].into_iter().cycle().map(|turn| &daemonsets[turn]);
        b.iter(|| {
            turns.next().into_iter().for_each(|daemonset| kept.cluster.apply(daemonset));
            let Kept { cluster, keys, synthetic } = &mut *kept;
            let stale = keys.iter().find(|key| key.name == daemonsets[0].name);
            stale.and_then(|key| cluster.plan(key, synthetic.now)).map(|plan| plan.actions.len())
        });
    });
}

/// A cluster that keeps the scheduler's facts, its DaemonSet, and the DaemonSet's pods.
struct Scheduled {
    cluster: Cluster,
    daemonset: Key,
    pods: Vec<Pod>,
    objects: SchedulingObjects,
}

impl Scheduled {
    fn new(nodes: usize, other_pods: usize) -> Self {
        let synthetic = Synthetic::new(nodes).condition(Condition::Settled).other_pods(other_pods).build();
        let mut cluster = Cluster::with_scheduling(Settings::default());
        cluster.set_complete();
        synthetic.objects().for_each(|object| cluster.apply(object));
        let daemonset = synthetic.daemonsets[0].key();
        let is_own = |pod: &&Pod| pod.controller.as_ref().is_some_and(|owner| owner.name == daemonset.name);
        let pods = synthetic.pods.iter().filter(is_own).cloned().collect();
        Self { cluster, daemonset, pods, objects: SchedulingObjects::default() }
    }

    /// Counts the nodes where a new pod would fit in place of the one there.
    fn fitting(&self) -> usize {
        let Some(pods) = self.cluster.admitted_pods(&self.daemonset, &self.objects) else { return 0 };
        let Some(state) = self.cluster.cluster_state(&self.objects) else { return 0 };
        let mut alike = state.pods_like(pods.map(|(pod, _)| pod));
        let mut fits =
            |old: &&Pod| old.node.name().is_some_and(|node| alike.refusal_after(node.clone(), &[old]).is_none());
        self.pods.iter().filter(&mut fits).count()
    }
}

fn would_it_fit(c: &mut Criterion) {
    let mut group = c.benchmark_group("scheduling");
    let scheduled = LazyCell::new(|| RefCell::new(Scheduled::new(10_000, 290_000)));
    group.bench_function("10,000 nodes with 300,000 pods", |b| {
        let scheduled = scheduled.borrow();
        assert_eq!(scheduled.fitting(), scheduled.pods.len(), "all fit in place of themselves");
        b.iter(|| black_box(&*scheduled).fitting());
    });
    let plain = LazyCell::new(|| RefCell::new(Kept::new(10_000, 1)));
    let mut event = |name: &str, change: fn(&mut Pod)| {
        let turns = |pod: &Pod| {
            let mut pods = [pod.clone(), pod.clone()];
            change(&mut pods[0]);
            pods
        };
        group.bench_function(format!("{name}, nothing kept"), |b| {
            let mut plain = plain.borrow_mut();
            let pods = turns(&plain.pod());
            let mut turns = pods.iter().cycle();
            b.iter(|| turns.next().into_iter().for_each(|pod| plain.cluster.apply(pod.clone())));
        });
        group.bench_function(format!("{name}, facts kept"), |b| {
            let mut scheduled = scheduled.borrow_mut();
            let pods = turns(&scheduled.pods[5_000]);
            let mut turns = pods.iter().cycle();
            b.iter(|| turns.next().into_iter().for_each(|pod| scheduled.cluster.apply(pod.clone())));
        });
    };
    event("pod turns ready or unready", |pod| pod.ready = Readiness::default());
    event("pod is bound or ends", |pod| pod.phase = PodPhase::Failed);
}

/// Computes the overhead of 200 DaemonSets on 1,000 node shapes: how many would run, and their total requests.
fn would_it_run_here(c: &mut Criterion) {
    let synthetic = LazyCell::new(|| Synthetic::new(1_000).daemonsets(200).build());
    let mut bench = |name: &str, each: fn(usize, &mut DaemonSet)| {
        let fleet = || {
            let mut daemonsets = synthetic.daemonsets.clone();
            daemonsets.iter_mut().enumerate().for_each(|(number, daemonset)| each(number, daemonset));
            let namespaces = &synthetic.namespaces;
            let of = |daemonset: &DaemonSet| namespaces.iter().find(|namespace| namespace.name == daemonset.namespace);
            DaemonSetFleet::new(daemonsets.iter().filter_map(|d| Some((d, of(d)?))), &Settings::default())
        };
        c.bench_function(&format!("overhead, 1,000 nodes × 200 DaemonSets{name}"), |b| {
            let fleet = fleet();
            let requests = |node| fleet.overhead(node).requests().count();
            b.iter(|| black_box(&synthetic.nodes).iter().map(requests).sum::<usize>());
        });
        c.bench_function(&format!("overhead with fit, 1,000 nodes × 200 DaemonSets{name}"), |b| {
            let fleet = fleet();
            let fits = |node: &&Node| fleet.overhead(node).fits() == Some(true);
            b.iter(|| black_box(&synthetic.nodes).iter().filter(fits).count());
        });
    };
    bench("", |_, _| {});
    bench(", no two placed alike", |number, daemonset| {
        let mut template = daemonset.template.json().clone();
        template["spec"]["nodeSelector"]["kubernetes.io/os"] = "linux".into();
        template["spec"]["tolerations"][0]["key"] = format!("example.com/{number}").into();
        daemonset.template = PodTemplate::new(template).unwrap_or_default();
    });
}

#[allow(missing_docs)]
mod run {
    use super::{all_at_once, criterion_group, event_by_event, would_it_fit, would_it_run_here};
    criterion_group!(group, all_at_once, event_by_event, would_it_fit, would_it_run_here);
}

criterion_main!(run::group);
