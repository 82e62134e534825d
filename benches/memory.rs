//! Memory use of a `Cluster`: `cargo bench --bench memory [-- NODES DAEMONSETS [scheduling]]`.

use std::hint::black_box;

use allocation_counter::measure;
use daemonplan::{
    Cluster, Object, Settings,
    model::Pod,
    synthetic::{Condition, Synthetic},
};
use serde::{Serialize, de::DeserializeOwned};

/// Returns a copy that shares no memory with the original.
fn copy<T: Serialize + DeserializeOwned + Into<Object>>(object: &T) -> Option<Object> {
    let text = serde_json::to_vec(object).ok()?;
    Some(serde_json::from_slice::<T>(&text).ok()?.into())
}

/// Applies copies of all objects and returns the additional bytes held.
fn growth<'o, T: Serialize + DeserializeOwned + Into<Object> + 'o>(
    cluster: &mut Cluster,
    objects: impl IntoIterator<Item = &'o T>,
) -> usize {
    let grown = measure(|| objects.into_iter().filter_map(copy).for_each(|object| cluster.apply(object)));
    usize::try_from(grown.bytes_current).unwrap_or_default()
}

fn main() {
    let mut numbers = std::env::args().filter_map(|argument| argument.parse().ok());
    let (nodes, daemonsets) = (numbers.next().unwrap_or(10_000), numbers.next().unwrap_or(100));
    let keeps_scheduling = std::env::args().any(|argument| argument == "scheduling");
    let others = if keeps_scheduling { nodes * 20 } else { 0 };
    let synthetic =
        Synthetic::new(nodes).daemonsets(daemonsets).condition(Condition::Settled).other_pods(others).build();
    let is_own = |pod: &&Pod| pod.controller.as_ref().is_some_and(|owner| owner.kind == "DaemonSet");
    let (own, others): (Vec<_>, Vec<_>) = synthetic.pods.iter().partition(is_own);

    let mut cluster = if keeps_scheduling {
        Cluster::with_scheduling(Settings::default())
    } else {
        Cluster::new(Settings::default())
    };
    cluster.set_complete();
    let for_nodes = growth(&mut cluster, &synthetic.nodes);
    let mut for_others = growth(&mut cluster, &synthetic.namespaces);
    for_others += growth(&mut cluster, &synthetic.daemonsets) + growth(&mut cluster, &synthetic.revisions);
    let mut for_pods = growth(&mut cluster, own.iter().copied());
    let for_other_pods = growth(&mut cluster, others.iter().copied());
    let planning = measure(|| {
        for key in cluster.stale(synthetic.now) {
            black_box(cluster.plan(&key, synthetic.now).map(|plan| plan.actions.len()));
        }
    });
    for_pods += usize::try_from(planning.bytes_current).unwrap_or_default();

    // A pod's uid is on the heap; its name is inline unless it is long.
    let unique =
        |texts: &mut dyn Iterator<Item = usize>| texts.filter(|len| *len > 22).map(|len| len + 16).sum::<usize>();
    let of_nodes =
        unique(&mut synthetic.nodes.iter().flat_map(|node| [node.name.len(), node.uid.len(), node.name.len()]));
    let of_pods = unique(&mut own.iter().flat_map(|pod| [pod.name.len(), pod.uid.len()]));
    let of_other_pods = unique(&mut others.iter().flat_map(|pod| [pod.name.len(), pod.uid.len()]));
    let each = |what: &str, count: usize, bytes: usize, strings: usize| {
        let per_piece = |bytes: usize| bytes.checked_div(count).unwrap_or_default();
        println!(
            "{count:9} {what}: {:4} bytes each, and {} of strings that are unique to it",
            per_piece(bytes - strings),
            per_piece(strings)
        );
    };
    println!("{nodes} nodes, {daemonsets} DaemonSets, {} pods", synthetic.pods.len());
    each("nodes", nodes, for_nodes, of_nodes);
    each("pods ", own.len(), for_pods, of_pods);
    if keeps_scheduling {
        each("pods of others", others.len(), for_other_pods, of_other_pods);
    }
    println!("in all {} MB", (for_nodes + for_others + for_pods + for_other_pods) / 1_000_000);
}
