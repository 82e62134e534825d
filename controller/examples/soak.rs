//! A soak test: random events for a given time, then checks that the cluster settles and that no rule was ever broken.
//!
//! Nodes are added and removed, pods fail, templates change, DaemonSets are orphaned and recreated, controllers are
//! killed, and the API server fails at random.
//!
//! `cargo run --release --example soak -- SECONDS [SEED]`

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)] // a test fails by panicking

#[path = "../tests/harness/mod.rs"]
mod harness;

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use daemonplan_testing::{
    Faults, Id, Pace, Server, Store,
    daemonsets::roll_out,
    objects::{node, running},
};
use harness::{
    KINDS, Process, controller, daemonset_of_kind, forbidden_writes, own_writes, settle, unsettled_of_kinds,
};
use serde_json::json;

const NODES: usize = 60;
const FLAGS: &str =
    "--lease-duration 3 --renew-deadline 2 --retry-period 0.5 --lease-namespace prod --request-timeout 3";

#[tokio::main]
async fn main() {
    let mut args = std::env::args().skip(1).map(|arg| arg.parse::<u64>().unwrap());
    let (seconds, seed) = (args.next().unwrap_or(60), args.next().unwrap_or(1));
    let (server, _life) = harness::cluster(NODES, Pace { failures: 2, ..Pace::default() }).await;
    for kind in KINDS {
        create(&mut server.store(), kind);
    }
    let mut random = fastrand::Rng::with_seed(seed);
    let mut replicas: Vec<Process> = (0..2).map(|_| controller(&server, FLAGS)).collect();
    let (start, mut counts) = (Instant::now(), BTreeMap::<&str, usize>::new());
    while start.elapsed() < Duration::from_secs(seconds) {
        let event = random_event(&server, &mut replicas, &mut random);
        *counts.entry(event).or_default() += 1;
        tokio::time::sleep(Duration::from_millis(random.u64(10..400))).await;
    }
    let busy = own_writes(&server.store());
    {
        let mut store = server.store();
        store.faults = Faults::default();
        for (pod, _) in store.all("pods") {
            store.edit(&pod, |pod| {
                if pod["status"]["phase"] == "Running" {
                    pod["status"] = running(true);
                }
            });
        }
    }
    settle(&server, Duration::from_secs(400), unsettled_of_kinds).await;
    let settled = own_writes(&server.store());
    tokio::time::sleep(Duration::from_secs(5)).await;
    let store = server.store();
    println!("{} s, seed {seed}: {counts:?}", start.elapsed().as_secs());
    println!(
        "{busy} writes during the events, {} until settled, {} in the 5 s after; {} crowded nodes, {} forbidden writes",
        settled - busy,
        own_writes(&store) - settled,
        store.violations.len(),
        forbidden_writes(&store).len()
    );
    let sound = store.violations.is_empty() && forbidden_writes(&store).is_empty() && own_writes(&store) == settled;
    for complaint in store.violations.iter().chain(&forbidden_writes(&store)).take(20) {
        println!("  {complaint}");
    }
    std::process::exit(i32::from(!sound));
}

fn create(store: &mut Store, kind: &str) {
    store.create("daemonsets", daemonset_of_kind(kind, "20%"));
}

/// Causes one random event and returns its name.
#[allow(clippy::too_many_lines)] // one arm per event
fn random_event(server: &Server, replicas: &mut [Process], random: &mut fastrand::Rng) -> &'static str {
    let mut store = server.store();
    let any = |store: &Store, plural: &str, random: &mut fastrand::Rng| -> Option<Id> {
        random.choice(store.all(plural)).map(|(id, _)| id)
    };
    match random.u8(0..22) {
        0 | 1 => {
            store.create("nodes", node(&format!("late-{:08x}", random.u32(..))));
            "node added"
        }
        2 | 3 => {
            if let Some(node) = any(&store, "nodes", random) {
                store.remove(&node);
            }
            "node removed"
        }
        4..7 => {
            if let Some(node) = any(&store, "nodes", random) {
                let tier = *random.choice(&["edge", "core"]).unwrap();
                store.edit(&node, |node| node["metadata"]["labels"]["tier"] = json!(tier));
            }
            "node relabelled"
        }
        7..10 => {
            if let Some(node) = any(&store, "nodes", random) {
                let taints = if random.bool() { json!([{"key": "sick", "effect": "NoExecute"}]) } else { json!([]) };
                store.edit(&node, |node| node["spec"]["taints"] = taints);
            }
            "taint changed"
        }
        10 | 11 => {
            if let Some(daemonset) = any(&store, "daemonsets", random) {
                roll_out(&mut store, &daemonset, &format!("registry/agent:{}", random.u8(..5)));
            }
            "template edited"
        }
        12 | 13 => {
            if let Some(pod) = any(&store, "pods", random) {
                store.delete(&pod);
            }
            "pod deleted"
        }
        14 => {
            if let Some(pod) = any(&store, "pods", random) {
                store.edit(&pod, |pod| pod["status"] = json!({"phase": "Failed"}));
            }
            "pod failed"
        }
        15 => {
            if let Some(pod) = any(&store, "pods", random) {
                let is_ready = random.bool();
                store.edit(&pod, |pod| {
                    if pod["status"]["phase"] == "Running" {
                        pod["status"] = running(is_ready);
                    }
                });
            }
            "readiness changed"
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
                        create(&mut store, &daemonset.name);
                    }
                });
            }
            "DaemonSet recreated"
        }
        17 => {
            store.compact();
            "watches expired"
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
            "faults changed"
        }
        _ => {
            drop(store);
            let replica = random.choice(replicas.iter_mut()).unwrap();
            let old = std::mem::replace(replica, controller(server, FLAGS));
            if random.bool() {
                old.kill();
                return "controller killed";
            }
            // It shuts down while the others keep running.
            std::thread::spawn(move || old.terminate(Duration::from_secs(30)));
            "controller shut down"
        }
    }
}
