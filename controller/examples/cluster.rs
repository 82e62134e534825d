//! The in-memory cluster of the tests as a program, for a controller in another process.
//!
//! `cargo run --release --example cluster -- FILE NODES DAEMONSETS` writes a kubeconfig FILE and serves until Ctrl-C.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)] // a test fails by panicking

#[path = "../tests/harness/mod.rs"]
mod harness;

use daemonplan_testing::Pace;
use harness::settled_daemonsets;

#[tokio::main]
async fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [file, nodes, daemonsets] = args.as_slice() else {
        eprintln!("usage: cluster FILE NODES DAEMONSETS");
        std::process::exit(2);
    };
    let pace = Pace { tick: std::time::Duration::from_secs(1), ..Pace::default() };
    let (server, _life) = harness::cluster(nodes.parse().unwrap(), pace).await;
    settled_daemonsets(&mut server.store(), daemonsets.parse().unwrap());
    std::fs::write(file, server.kubeconfig().to_string()).unwrap();
    println!("serving at http://{}", server.address());
    drop(tokio::signal::ctrl_c().await);
    let writes = harness::own_writes(&server.store());
    println!("{writes} writes to pods, revisions and DaemonSets");
}
