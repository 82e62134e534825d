//! The controller in a living cluster: it comes to rest where it should, writes no more than it must, and nothing that it may not.

#![allow(clippy::unwrap_used)] // a test says what is wrong by failing

mod cluster;

use std::time::Duration;

use cluster::{Pace, cluster as start, controller, daemonset, id, own_writes, roll_out, settle, trespasses, unsettled};

const LIMIT: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_daemonset_gets_its_pods_and_a_new_template_rolls_out() {
    let (server, _life) = start(10, Pace::default()).await;
    let agent = server.store().create("daemonsets", daemonset("prod", "agent"));
    let _process = controller(&server, "--no-leader-election");
    settle(&server, LIMIT, |store| unsettled(store, |_, _| true)).await;
    roll_out(&mut server.store(), &agent, "registry/agent:2");
    settle(&server, LIMIT, |store| unsettled(store, |_, _| true)).await;
    let store = server.store();
    assert_eq!(store.crowds, [""; 0]);
    assert_eq!(trespasses(&store), [""; 0]);
    assert_eq!(store.all("controllerrevisions").len(), 2);
    assert!(store.get(&id("pods", "prod", "agent")).is_none());
    println!("{}", own_writes(&store));
}
