//! Runs the controller in a simulated cluster: it settles, makes no needless writes, and never a forbidden one.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)] // a test fails by panicking

mod adoption;
mod faults;
#[path = "../harness/mod.rs"]
mod harness;
mod leadership;
mod pages;
mod policies;
mod scopes;

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use daemonplan_testing::{
    Faults, Id, Pace, Server, Store, Write,
    daemonsets::{one_pod_on_each_node, roll_out, unsettled},
    objects::{controller_of, daemonset, namespace, node, running},
};
use harness::{
    KINDS, Process, cluster as start, controller, daemonset_of_kind, forbidden_writes, own_writes, page, settle,
    unsettled_of_kinds,
};
use serde_json::{Value, json};
use tokio::time;

const LIMIT: Duration = Duration::from_secs(90);
const ALONE: &str = "--no-leader-election";

/// Returns why the DaemonSets, which should run on all nodes, are not settled.
fn everywhere(store: &Store) -> Option<String> {
    unsettled(store, |_, _| true)
}

/// Asserts that no rule was broken during the run.
fn assert_no_violations(server: &Server) {
    let store = server.store();
    assert_eq!(store.violations, [""; 0]);
    assert_eq!(forbidden_writes(&store), [""; 0]);
}

/// Returns the uids of the pods, by name.
fn pods(server: &Server) -> BTreeMap<String, String> {
    let pods = server.store().all("pods");
    pods.into_iter().map(|(id, pod)| (id.name, pod["metadata"]["uid"].to_string())).collect()
}

/// Waits until `holds` is true.
async fn wait_for(server: &Server, what: &str, holds: impl Fn(&Store) -> bool) {
    assert!(server.wait_for(Duration::from_secs(20), holds).await, "timed out waiting for: {what}");
}

async fn wait_until_ready(process: &Process) {
    for _ in 0..1000 {
        if page(process, "/readyz").await.0 == 200 {
            return;
        }
        time::sleep(Duration::from_millis(10)).await;
    }
    panic!("timed out waiting for /readyz");
}

fn writes<'a>(store: &'a Store, verb: &str, plural: &str) -> Vec<&'a Write> {
    store.writes.iter().filter(|write| write.verb == *verb && write.id.resource == plural).collect()
}

#[tokio::test]
async fn violations_are_detected() {
    let server = Server::start().await.unwrap();
    let mut store = server.store();
    store.invariants.push(one_pod_on_each_node);
    store.create("daemonsets", daemonset("prod", "agent"));
    let uid = store.get(&Id::new("daemonsets", "prod", "agent")).unwrap()["metadata"]["uid"].clone();
    let of_agent = json!([{"kind": "DaemonSet", "name": "agent", "controller": true, "uid": uid}]);
    for name in ["one", "two"] {
        let metadata = json!({"namespace": "prod", "name": name, "ownerReferences": of_agent});
        store.create("pods", json!({"metadata": metadata, "spec": {"nodeName": "node-1"}}));
    }
    assert_eq!(store.violations.len(), 1);
    let object = json!({"metadata": {"ownerReferences": [{"kind": "ReplicaSet", "controller": true}]}});
    let pod = Id::new("pods", "prod", "web");
    store.writes.push(Write { verb: http::Method::DELETE, id: pod, subresource: None, object, code: 200 });
    assert_eq!(forbidden_writes(&store).len(), 1);
    assert!(everywhere(&store).is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_daemonset_gets_its_pods_and_a_new_template_rolls_out() {
    let (server, _life) = start(10, Pace::default()).await;
    let agent = server.store().create("daemonsets", daemonset("prod", "agent"));
    let _process = controller(&server, ALONE);
    settle(&server, LIMIT, everywhere).await;
    roll_out(&mut server.store(), &agent, "registry/agent:<2>&");
    settle(&server, LIMIT, everywhere).await;
    assert_no_violations(&server);
    let store = server.store();
    let creations = writes(&store, "POST", "pods");
    assert_eq!((creations.len(), writes(&store, "DELETE", "pods").len()), (20, 10), "one pod per node and template");
    assert!(
        creations.iter().all(|write| write.object["metadata"]["generateName"] == "agent-"),
        "as in the built-in controller"
    );
    assert!(own_writes(&store) < 100, "{} writes", own_writes(&store));
    // The built-in controller compares revisions by their bytes: keys must be sorted.
    let revisions = store.all("controllerrevisions");
    assert_eq!(revisions.len(), 2);
    for (_, revision) in &revisions {
        let sorted: BTreeMap<String, Value> =
            serde_json::from_value(revision["data"]["spec"]["template"]["spec"].clone()).unwrap();
        let keys: Vec<_> = revision["data"]["spec"]["template"]["spec"].as_object().unwrap().keys().collect();
        assert_eq!(keys, sorted.keys().collect::<Vec<_>>());
    }
    let reasons: Vec<_> = store.all("events").iter().map(|(_, event)| event["reason"].clone()).collect();
    assert!(
        reasons.contains(&json!("SuccessfulCreate")) && reasons.contains(&json!("SuccessfulDelete")),
        "{reasons:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_daemonsets_settle_on_a_hundred_changing_nodes() {
    let (server, _life) = start(100, Pace::default()).await;
    let ids = KINDS.map(|kind| server.store().create("daemonsets", daemonset_of_kind(kind, "30%")));
    let _process = controller(&server, ALONE);
    for round in 2..5 {
        {
            let mut store = server.store();
            let nodes = store.all("nodes");
            for (number, (node, _)) in nodes.iter().enumerate() {
                match number % 10 {
                    0..3 => store.edit(node, |node| {
                        node["metadata"]["labels"]["tier"] = json!(if round % 2 == 0 { "edge" } else { "core" });
                    }),
                    3 => store
                        .edit(node, |node| node["spec"]["taints"] = json!([{"key": "sick", "effect": "NoExecute"}])),
                    4 => store.edit(node, |node| node["spec"]["taints"] = json!([])),
                    5 if round == 3 => store.remove(node),
                    _ => {}
                }
            }
            store.create("nodes", node(&format!("new-{round}")));
            for id in &ids {
                roll_out(&mut store, id, &format!("registry/agent:{round}"));
            }
        }
        // The next round comes during the rollout.
        time::sleep(Duration::from_millis(150)).await;
    }
    settle(&server, LIMIT, unsettled_of_kinds).await;
    assert_no_violations(&server);
    let store = server.store();
    let (created, all) = (writes(&store, "POST", "pods").len(), own_writes(&store));
    assert!(created < 300 * 4, "{created} pods were created");
    assert!(all < 300 * 4 * 3, "{all} writes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_created_in_a_namespace_being_deleted() {
    let (server, _life) = start(10, Pace { collects: false, ..Pace::default() }).await;
    server.store().edit(&Id::new("namespaces", "", "prod"), |namespace| {
        namespace["metadata"]["finalizers"] = json!(["kubernetes"]);
    });
    server.store().delete(&Id::new("namespaces", "", "prod"));
    server.store().create("daemonsets", daemonset("prod", "agent"));
    let _process = controller(&server, ALONE);
    time::sleep(Duration::from_secs(2)).await;
    let store = server.store();
    assert!(own_writes(&store) <= 2, "{} writes", own_writes(&store));
    assert!(store.all("pods").is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dry_run_writes_nothing() {
    let (server, _life) = start(3, Pace::default()).await;
    server.store().create("daemonsets", daemonset("prod", "agent"));
    let process = controller(&server, "--dry-run --status-delay 0.05");
    wait_until_ready(&process).await;
    time::sleep(Duration::from_millis(300)).await;
    assert!(server.store().writes.is_empty(), "expected no write, not even a lease or an Event");
    let (_, text) = page(&process, "/metrics").await;
    assert!(text.contains(r#"action="CreatePod",reason="NoPod",result="dry-run"} 3"#), "{text}");
    let plans = text.lines().find_map(|line| line.strip_prefix("daemonplan_plans_total ")).unwrap();
    assert!(plans.parse::<usize>().unwrap() < 10, "{plans} plans of a cluster in which nothing happens");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn namespace_and_selector_flags_restrict_the_daemonsets() {
    let (server, _life) = start(3, Pace::default()).await;
    {
        let mut store = server.store();
        store.create("namespaces", namespace("lab"));
        for (namespace, name) in [("prod", "agent"), ("prod", "proxy"), ("lab", "agent")] {
            store.create("daemonsets", daemonset(namespace, name));
        }
    }
    let process = controller(&server, &format!("{ALONE} --namespace prod --selector app=agent"));
    wait_for(&server, "pods", |store| store.all("pods").len() == 3).await;
    time::sleep(Duration::from_millis(300)).await;
    assert!(server.store().all("pods").iter().all(|(id, _)| id.namespace == "prod" && id.name.starts_with("agent")));
    // A DaemonSet whose labels no longer match is left alone.
    let agent = Id::new("daemonsets", "prod", "agent");
    server.store().edit(&agent, |daemonset| daemonset["metadata"]["labels"]["app"] = json!("other"));
    roll_out(&mut server.store(), &agent, "registry/agent:2");
    time::sleep(Duration::from_millis(300)).await;
    assert!(writes(&server.store(), "DELETE", "pods").is_empty());
    assert_eq!(page(&process, "/explain/prod/agent").await.0, 404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn collect_garbage_replaces_missing_garbage_collectors() {
    for (flags, left) in [(ALONE.to_owned(), 4), (format!("{ALONE} --collect-garbage"), 0)] {
        let (server, _life) = start(5, Pace { collects: false, ..Pace::default() }).await;
        let agent = server.store().create("daemonsets", daemonset("prod", "agent"));
        let _process = controller(&server, &flags);
        settle(&server, LIMIT, everywhere).await;
        server.store().remove(&Id::new("nodes", "", "node-0004"));
        let of_missing =
            |store: &Store| store.all("pods").iter().any(|(_, pod)| pod["spec"]["nodeName"] == "node-0004");
        if left == 0 {
            wait_for(&server, "the pod of the missing node is deleted", |store| !of_missing(store)).await;
        } else {
            time::sleep(Duration::from_millis(300)).await;
            assert!(of_missing(&server.store()), "left to the pod garbage collector");
            let missing =
                server.store().all("pods").into_iter().find(|(_, pod)| pod["spec"]["nodeName"] == "node-0004");
            server.store().remove(&missing.unwrap().0);
        }
        settle(&server, LIMIT, everywhere).await;
        server.store().edit(&agent, |daemonset| daemonset["metadata"]["finalizers"] = json!(["foregroundDeletion"]));
        server.store().delete(&agent);
        time::sleep(Duration::from_millis(500)).await;
        assert_eq!(server.store().all("pods").len(), left);
        assert_no_violations(&server);
    }
}
