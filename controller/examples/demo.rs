//! Runs the controller in an in-memory cluster: a new DaemonSet, a new template, a taint, and a removed node.
//!
//! `cargo run --example demo` runs through these steps and exits; with `-- --stay` it serves the web page until Ctrl-C.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)] // a test fails by panicking

#[path = "../tests/harness/mod.rs"]
mod harness;

use std::time::{Duration, Instant};

use daemonplan_testing::{Id, Pace, Server, daemonsets::roll_out, objects::daemonset};
use harness::controller;
use serde_json::json;

const NODES: usize = 12;

#[tokio::main]
async fn main() {
    let stays = std::env::args().any(|flag| flag == "--stay");
    let pace = Pace { start: Duration::from_millis(400), stop: Duration::from_millis(200), ..Pace::default() };
    let (server, _life) = harness::cluster(NODES, pace).await;
    let process = controller(&server, "--lease-namespace prod");
    println!("a cluster of {NODES} nodes; the controller's web page: http://{}/", process.address);

    let mut agent = daemonset("prod", "agent");
    agent["spec"]["updateStrategy"]["rollingUpdate"]["maxUnavailable"] = json!(3);
    let agent = server.store().create("daemonsets", agent);
    follow(&server, &agent, "DaemonSet prod/agent created").await;
    roll_out(&mut server.store(), &agent, "registry/agent:2");
    follow(&server, &agent, "template edited: new image, maxUnavailable 3").await;
    server.store().edit(&Id::new("nodes", "", "node-0003"), |node| {
        node["spec"]["taints"] = json!([{"key": "maintenance", "effect": "NoExecute"}]);
    });
    follow(&server, &agent, "node-0003 tainted, not tolerated by the pods").await;
    server.store().remove(&Id::new("nodes", "", "node-0005"));
    follow(&server, &agent, "node-0005 removed").await;

    let (_, explanation) = harness::page(&process, "/explain/prod/agent?node=node-0003").await;
    println!("\nwhy does node-0003 run no pod? GET /explain/prod/agent?node=node-0003\n{explanation}");
    if stays {
        println!("\nweb page until Ctrl-C: http://{}/", process.address);
        drop(tokio::signal::ctrl_c().await);
    }
    let outcome = process.terminate(Duration::from_secs(30));
    println!("\nshut down cleanly: {}", matches!(outcome, Some(Ok(()))));
}

/// Prints the status until it is quiet for a second.
async fn follow(server: &Server, daemonset: &Id, what: &str) {
    println!("\n{what}");
    let (start, mut shown, mut quiet) = (Instant::now(), String::new(), Instant::now());
    while quiet.elapsed() < Duration::from_secs(1) {
        let status = server.store().get(daemonset).unwrap()["status"].clone();
        let number = |field: &str| status[field].as_i64().unwrap_or(0);
        let line = format!(
            "desired {}, ready {}, updated {}",
            number("desiredNumberScheduled"),
            number("numberReady"),
            number("updatedNumberScheduled")
        );
        if line != shown {
            println!("  {:4.1} s  {line}", start.elapsed().as_secs_f64());
            (shown, quiet) = (line, Instant::now());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
