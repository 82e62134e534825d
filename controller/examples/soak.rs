//! Everything at once, for as long as it is told to: nodes come and go, pods fail, templates change, DaemonSets are orphaned and
//! made anew, controllers die, the API server errs. In the end all must be as it should, and nothing may have been done that may not.
//!
//! `cargo run --release --example soak -- SECONDS [SEED]`

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)] // a test fails by panicking

#[path = "../tests/cluster/mod.rs"]
mod cluster;

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use cluster::{
    KINDS, Pace, Process, Server, controller, daemonset_of_kind, node, own_writes, ready, roll_out,
    server::{Faults, Id, Store},
    settle, trespasses, unsettled_of_kinds,
};
use serde_json::json;

const NODES: usize = 60;
const FLAGS: &str =
    "--lease-duration 3 --renew-deadline 2 --retry-period 0.5 --lease-namespace prod --request-timeout 3";

#[tokio::main]
async fn main() {
    let mut args = std::env::args().skip(1).map(|arg| arg.parse::<u64>().unwrap());
    let (seconds, seed) = (args.next().unwrap_or(60), args.next().unwrap_or(1));
    let (server, _life) = cluster::cluster(NODES, Pace { failures: 2, ..Pace::default() }).await;
    for kind in KINDS {
        create(&mut server.store(), kind);
    }
    let mut random = fastrand::Rng::with_seed(seed);
    let mut replicas: Vec<Process> = (0..2).map(|_| controller(&server, FLAGS)).collect();
    let (start, mut happened) = (Instant::now(), BTreeMap::<&str, usize>::new());
    while start.elapsed() < Duration::from_secs(seconds) {
        let what = happen(&server, &mut replicas, &mut random);
        *happened.entry(what).or_default() += 1;
        tokio::time::sleep(Duration::from_millis(random.u64(10..400))).await;
    }
    let busy = own_writes(&server.store());
    {
        let mut store = server.store();
        store.faults = Faults::default();
        for (pod, _) in store.all("pods") {
            store.edit(&pod, |pod| {
                if pod["status"]["phase"] == "Running" {
                    pod["status"] = ready(true);
                }
            });
        }
    }
    settle(&server, Duration::from_secs(400), unsettled_of_kinds).await;
    let settled = own_writes(&server.store());
    tokio::time::sleep(Duration::from_secs(5)).await;
    let store = server.store();
    println!("{} s, seed {seed}: {happened:?}", start.elapsed().as_secs());
    println!(
        "{busy} writes in the turmoil, {} until all was well, {} in the 5 s after; {} crowded nodes, {} trespasses",
        settled - busy,
        own_writes(&store) - settled,
        store.crowds.len(),
        trespasses(&store).len()
    );
    let sound = store.crowds.is_empty() && trespasses(&store).is_empty() && own_writes(&store) == settled;
    for complaint in store.crowds.iter().chain(&trespasses(&store)).take(20) {
        println!("  {complaint}");
    }
    std::process::exit(i32::from(!sound));
}

fn create(store: &mut Store, kind: &str) {
    store.create("daemonsets", daemonset_of_kind(kind, "20%"));
}

/// One thing that may happen; gives its name.
#[allow(clippy::too_many_lines)] // one arm for each thing that may happen
fn happen(server: &Server, replicas: &mut [Process], random: &mut fastrand::Rng) -> &'static str {
    let mut store = server.store();
    let any = |store: &Store, plural: &str, random: &mut fastrand::Rng| -> Option<Id> {
        random.choice(store.all(plural)).map(|(id, _)| id)
    };
    match random.u8(0..22) {
        0 | 1 => {
            store.create("nodes", node(&format!("late-{:08x}", random.u32(..))));
            "a node comes"
        }
        2 | 3 => {
            if let Some(node) = any(&store, "nodes", random) {
                store.remove(&node);
            }
            "a node goes"
        }
        4..7 => {
            if let Some(node) = any(&store, "nodes", random) {
                let tier = *random.choice(&["edge", "core"]).unwrap();
                store.edit(&node, |node| node["metadata"]["labels"]["tier"] = json!(tier));
            }
            "a label"
        }
        7..10 => {
            if let Some(node) = any(&store, "nodes", random) {
                let taints = if random.bool() { json!([{"key": "sick", "effect": "NoExecute"}]) } else { json!([]) };
                store.edit(&node, |node| node["spec"]["taints"] = taints);
            }
            "a taint"
        }
        10 | 11 => {
            if let Some(daemonset) = any(&store, "daemonsets", random) {
                roll_out(&mut store, &daemonset, &format!("registry/agent:{}", random.u8(..5)));
            }
            "a template"
        }
        12 | 13 => {
            if let Some(pod) = any(&store, "pods", random) {
                store.delete(&pod);
            }
            "a pod is deleted"
        }
        14 => {
            if let Some(pod) = any(&store, "pods", random) {
                store.edit(&pod, |pod| pod["status"] = json!({"phase": "Failed"}));
            }
            "a pod fails"
        }
        15 => {
            if let Some(pod) = any(&store, "pods", random) {
                let is_ready = random.bool();
                store.edit(&pod, |pod| {
                    if pod["status"]["phase"] == "Running" {
                        pod["status"] = ready(is_ready);
                    }
                });
            }
            "readiness"
        }
        16 => {
            if let Some(daemonset) = any(&store, "daemonsets", random) {
                if random.bool() {
                    store.edit(&daemonset, |daemonset| daemonset["metadata"]["finalizers"] = json!(["orphan"]));
                }
                store.delete(&daemonset);
                let server = server.clone();
                tokio::spawn(async move {
                    tokio::time::sleep(Duration::from_millis(300)).await;
                    let mut store = server.store();
                    if store.get(&daemonset).is_none() {
                        create(&mut store, &daemonset.2);
                    }
                });
            }
            "a DaemonSet is deleted and made anew"
        }
        17 => {
            store.compact();
            "watches are too old"
        }
        18 | 19 => {
            let some = |random: &mut fastrand::Rng, most: f64| if random.bool() { random.f64() * most } else { 0.0 };
            store.faults = Faults {
                refused: some(random, 0.2),
                done_and_failed: some(random, 0.1),
                too_many: some(random, 0.05),
                conflict: some(random, 0.1),
                done_and_dropped: some(random, 0.01),
                watch_ends: some(random, 0.1),
                watch_lag: Duration::from_millis(if random.bool() { random.u64(..200) } else { 0 }),
                ..Faults::default()
            };
            "other faults"
        }
        _ => {
            drop(store);
            let replica = random.choice(replicas.iter_mut()).unwrap();
            let old = std::mem::replace(replica, controller(server, FLAGS));
            if random.bool() {
                old.kill();
                return "a controller is killed";
            }
            // It says farewell while the others go on.
            std::thread::spawn(move || old.terminate(Duration::from_secs(30)));
            "a controller is stopped"
        }
    }
}
