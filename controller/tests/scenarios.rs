//! Runs the controller in a simulated cluster: it settles, makes no needless writes, and never a forbidden one.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)] // a test fails by panicking

mod cluster;

use std::{collections::BTreeMap, time::Duration};

use cluster::{
    KINDS, Pace, Process, Server, cluster as start, controller, daemonset, daemonset_of_kind, forbidden_writes, id,
    node, own_writes, owner, page, ready, roll_out, settle,
    store::{Faults, Store, Write},
    unsettled, unsettled_of_kinds,
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
    assert_eq!(store.crowds, [""; 0]);
    assert_eq!(forbidden_writes(&store), [""; 0]);
}

/// Returns the uids of the pods, by name.
fn pods(server: &Server) -> BTreeMap<String, String> {
    let pods = server.store().all("pods");
    pods.iter().map(|((.., name), pod)| (name.clone(), pod["metadata"]["uid"].to_string())).collect()
}

/// Waits until `holds` is true.
async fn wait_for(server: &Server, what: &str, holds: impl Fn(&Store) -> bool) {
    for _ in 0..4000 {
        if holds(&server.store()) {
            return;
        }
        time::sleep(Duration::from_millis(5)).await;
    }
    panic!("timed out waiting for: {what}");
}

fn writes<'a>(store: &'a Store, verb: &str, plural: &str) -> Vec<&'a Write> {
    store.writes.iter().filter(|write| write.verb == *verb && write.id.0 == plural).collect()
}

#[tokio::test]
async fn violations_are_detected() {
    let server = Server::start(1).await;
    let mut store = server.store();
    store.create("daemonsets", daemonset("prod", "agent"));
    let uid = store.get(&id("daemonsets", "prod", "agent")).unwrap()["metadata"]["uid"].clone();
    let of_agent = json!([{"kind": "DaemonSet", "name": "agent", "controller": true, "uid": uid}]);
    for name in ["one", "two"] {
        let metadata = json!({"namespace": "prod", "name": name, "ownerReferences": of_agent});
        store.create("pods", json!({"metadata": metadata, "spec": {"nodeName": "node-1"}}));
    }
    assert_eq!(store.crowds.len(), 1);
    let object = json!({"metadata": {"ownerReferences": [{"kind": "ReplicaSet", "controller": true}]}});
    let pod = id("pods", "prod", "web");
    store.writes.push(Write { verb: http::Method::DELETE, id: pod, status: false, object, code: 200 });
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
async fn taking_over_from_another_controller_restarts_no_pod() {
    let (server, _life) = start(10, Pace::default()).await;
    server.store().create("daemonsets", daemonset("prod", "agent"));
    let process = controller(&server, ALONE);
    settle(&server, LIMIT, everywhere).await;
    process.kill();
    // The built-in controller would have named and hashed the revision differently, and ordered its bytes differently.
    {
        let mut store = server.store();
        let ((.., name), revision) = store.all("controllerrevisions").pop().unwrap();
        store.remove(&id("controllerrevisions", "prod", &name));
        let mut revision = Value::clone(&revision);
        revision["metadata"]["name"] = json!("agent-6f4c8d7b9");
        revision["metadata"]["labels"]["controller-revision-hash"] = json!("6f4c8d7b9");
        let template = revision["data"]["spec"]["template"].as_object_mut().unwrap();
        let patch = template.remove("$patch").unwrap();
        template.insert("$patch".to_owned(), patch); // now the last key
        store.create("controllerrevisions", revision);
        for (pod, _) in store.all("pods") {
            store.edit(&pod, |pod| pod["metadata"]["labels"]["controller-revision-hash"] = json!("6f4c8d7b9"));
        }
        store.writes.clear();
    }
    let before = pods(&server);
    let _process = controller(&server, ALONE);
    settle(&server, LIMIT, everywhere).await;
    time::sleep(Duration::from_millis(500)).await;
    assert_eq!(pods(&server), before);
    assert_eq!(own_writes(&server.store()), 0, "{:?}", server.store().writes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orphans_are_adopted_by_a_daemonset_that_is_created_again() {
    let (server, _life) = start(10, Pace::default()).await;
    let agent = server.store().create("daemonsets", daemonset("prod", "agent"));
    let process = controller(&server, ALONE);
    settle(&server, LIMIT, everywhere).await;
    let before = pods(&server);
    {
        let mut store = server.store();
        store.edit(&agent, |daemonset| daemonset["metadata"]["finalizers"] = json!(["orphan"]));
        store.delete(&agent);
    }
    wait_for(&server, "the DaemonSet is gone", |store| store.get(&agent).is_none()).await;
    assert!(server.store().all("pods").iter().all(|(_, pod)| owner(pod).is_none()));
    // Wait until every watch has shown it; the next test covers late watches.
    while page(&process, "/explain/prod/agent").await.0 != 404 {
        time::sleep(Duration::from_millis(10)).await;
    }
    time::sleep(Duration::from_secs(1)).await;
    server.store().create("daemonsets", daemonset("prod", "agent"));
    settle(&server, LIMIT, everywhere).await;
    assert_eq!(pods(&server), before, "no pod was restarted");
    assert_no_violations(&server);
    // A pod whose labels no longer match is released and replaced.
    let (pod, _) = server.store().all("pods").pop().unwrap();
    server.store().edit(&pod, |pod| pod["metadata"]["labels"]["app"] = json!("debug"));
    wait_for(&server, "the pod is released", |store| store.get(&pod).is_some_and(|pod| owner(pod).is_none())).await;
    settle(&server, LIMIT, everywhere).await;
    assert_eq!(server.store().all("pods").len(), 11);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orphans_are_adopted_whichever_watch_is_late() {
    for late in ["controllerrevisions", "pods", "daemonsets"] {
        let (server, _life) = start(5, Pace::default()).await;
        let agent = server.store().create("daemonsets", daemonset("prod", "agent"));
        let _process = controller(&server, ALONE);
        settle(&server, LIMIT, everywhere).await;
        server.store().faults.holds = Some(late);
        time::sleep(Duration::from_millis(50)).await;
        {
            let mut store = server.store();
            store.edit(&agent, |daemonset| daemonset["metadata"]["finalizers"] = json!(["orphan"]));
            store.delete(&agent);
        }
        wait_for(&server, "the DaemonSet is gone", |store| store.get(&agent).is_none()).await;
        server.store().create("daemonsets", daemonset("prod", "agent"));
        time::sleep(Duration::from_millis(300)).await;
        server.store().faults.holds = None;
        settle(&server, Duration::from_secs(20), everywhere).await;
        assert_no_violations(&server);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_controller_may_be_killed_between_any_two_writes() {
    let (server, _life) = start(4, Pace::default()).await;
    let agent = server.store().create("daemonsets", daemonset("prod", "agent"));
    let mut longest = 0;
    for round in 0..40 {
        roll_out(&mut server.store(), &agent, &format!("registry/agent:{round}"));
        // Killed after `left` writes, several times.
        for left in [round, round / 2, 1] {
            server.store().faults.writes_left = Some(left);
            let process = controller(&server, ALONE);
            for _ in 0..60 {
                if server.store().faults.writes_left == Some(0) {
                    longest = longest.max(left);
                    break;
                }
                time::sleep(Duration::from_millis(5)).await;
            }
            process.kill();
        }
        server.store().faults.writes_left = None;
        let process = controller(&server, ALONE);
        settle(&server, LIMIT, everywhere).await;
        process.kill();
    }
    assert!(longest > 20, "at most {longest} writes were made before a kill");
    assert_no_violations(&server);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_server_errors_are_retried() {
    let (server, _life) = start(20, Pace { failures: 10, ..Pace::default() }).await;
    server.store().faults = Faults {
        refused: 0.05,
        done_and_failed: 0.05,
        too_many: 0.02,
        conflict: 0.05,
        watch_ends: 0.02,
        watch_lag: Duration::from_millis(20),
        ..Faults::default()
    };
    let mut agent = daemonset("prod", "agent");
    agent["spec"]["updateStrategy"]["rollingUpdate"]["maxUnavailable"] = json!("20%");
    let agent = server.store().create("daemonsets", agent);
    let _process = controller(&server, ALONE);
    for round in 0..3 {
        roll_out(&mut server.store(), &agent, &format!("registry/agent:{round}"));
        time::sleep(Duration::from_secs(1)).await;
        server.store().compact(); // every watch expires and lists again
    }
    settle(&server, LIMIT, everywhere).await;
    assert_no_violations(&server);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_pod_is_created_twice_however_late_the_watch_is() {
    let (server, _life) = start(10, Pace::default()).await;
    server.store().faults.holds = Some("pods");
    server.store().create("daemonsets", daemonset("prod", "agent"));
    let process = controller(&server, ALONE);
    wait_for(&server, "all pods are created", |store| store.all("pods").len() == 10).await;
    // Node edits trigger new plans meanwhile.
    for number in 0..10 {
        let node = id("nodes", "", &format!("node-{number:04}"));
        server.store().edit(&node, |node| node["metadata"]["labels"]["seen"] = json!("1"));
        time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(server.store().all("pods").len(), 10, "no pod is created twice");
    let (_, text) = page(&process, "/metrics").await;
    assert!(text.contains("daemonplan_writes_not_shown 10"), "{text}");
    server.store().faults.holds = None;
    settle(&server, LIMIT, everywhere).await;
    assert_no_violations(&server);
    let (_, text) = page(&process, "/metrics").await;
    assert!(text.contains("daemonplan_writes_not_shown 0"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_orphaned_since_the_plan_is_not_deleted() {
    let (server, _life) = start(3, Pace::default()).await;
    let agent = server.store().create("daemonsets", daemonset("prod", "agent"));
    let _process = controller(&server, ALONE);
    settle(&server, LIMIT, everywhere).await;
    server.store().faults.holds = Some("pods");
    time::sleep(Duration::from_millis(50)).await;
    let pods = server.store().all("pods");
    for (pod, _) in &pods {
        server.store().edit(pod, |pod| drop(pod["metadata"].as_object_mut().unwrap().remove("ownerReferences")));
    }
    roll_out(&mut server.store(), &agent, "registry/agent:2");
    wait_for(&server, "a new revision", |store| store.all("controllerrevisions").len() == 2).await;
    time::sleep(Duration::from_millis(500)).await;
    assert!(writes(&server.store(), "DELETE", "pods").is_empty(), "the pods are orphans");
    // Once the watch shows them, they are adopted and then updated.
    server.store().faults.holds = None;
    settle(&server, LIMIT, everywhere).await;
    assert_no_violations(&server);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revision_with_the_same_name_and_other_data_is_a_collision() {
    let (server, _life) = start(2, Pace::default()).await;
    server.store().create("daemonsets", daemonset("prod", "agent"));
    let process = controller(&server, ALONE);
    settle(&server, LIMIT, everywhere).await;
    process.kill();
    let ((.., name), _) = server.store().all("controllerrevisions").pop().unwrap();
    // In a second cluster the name is taken, and the watch is late.
    let (server, _life) = start(2, Pace::default()).await;
    let process = controller(&server, ALONE);
    wait_until_ready(&process).await;
    server.store().faults.holds = Some("controllerrevisions");
    time::sleep(Duration::from_millis(50)).await;
    let other =
        json!({"metadata": {"namespace": "prod", "name": name}, "revision": 1, "data": {"spec": {"template": {}}}});
    server.store().create("controllerrevisions", other);
    let agent = server.store().create("daemonsets", daemonset("prod", "agent"));
    wait_for(&server, "the name is taken", |store| {
        writes(store, "POST", "controllerrevisions").iter().any(|write| write.code == 409)
    })
    .await;
    wait_for(&server, "the collision is counted", |store| store.get(&agent).unwrap()["status"]["collisionCount"] == 1)
        .await;
    server.store().faults.holds = None;
    settle(&server, LIMIT, everywhere).await;
    assert_no_violations(&server);
    assert_eq!(server.store().all("controllerrevisions").len(), 2);
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_replicas_one_writes_and_the_other_takes_over() {
    const LEASE: &str = "--lease-duration 2 --renew-deadline 1 --retry-period 0.1 --lease-namespace prod";
    let (server, _life) = start(5, Pace::default()).await;
    let agent = server.store().create("daemonsets", daemonset("prod", "agent"));
    let holder = |server: &Server| {
        let lease = server.store().get(&id("leases", "prod", "daemonplan-controller")).cloned().unwrap_or_default();
        lease["spec"]["holderIdentity"].as_str().unwrap_or_default().to_owned()
    };
    let first = controller(&server, &format!("{LEASE} --identity first"));
    settle(&server, LIMIT, everywhere).await;
    let second = controller(&server, &format!("{LEASE} --identity second"));
    wait_until_ready(&second).await;
    assert_eq!(holder(&server), "first");
    assert!(page(&second, "/metrics").await.1.contains("daemonplan_leader 0"));
    // The leader is killed, and the other replica waits until the lease expires.
    first.kill();
    roll_out(&mut server.store(), &agent, "registry/agent:2");
    settle(&server, LIMIT, everywhere).await;
    assert_eq!(holder(&server), "second");
    // The leader is shut down during a rollout and releases the lease.
    let third = controller(&server, &format!("{LEASE} --identity third"));
    roll_out(&mut server.store(), &agent, "registry/agent:3");
    time::sleep(Duration::from_millis(100)).await;
    assert!(matches!(second.terminate(Duration::from_secs(10)), Some(Ok(()))));
    assert!(["", "third"].contains(&&*holder(&server)), "{}", holder(&server));
    settle(&server, LIMIT, everywhere).await;
    assert_eq!(holder(&server), "third");
    // Another holder takes the lease: the replica stands by and writes nothing.
    server.store().edit(&id("leases", "prod", "daemonplan-controller"), |lease| {
        lease["spec"]["holderIdentity"] = json!("other");
        lease["spec"]["leaseDurationSeconds"] = json!(3600);
    });
    time::sleep(Duration::from_millis(500)).await;
    let before = own_writes(&server.store());
    roll_out(&mut server.store(), &agent, "registry/agent:4");
    time::sleep(Duration::from_secs(1)).await;
    assert_eq!(own_writes(&server.store()), before);
    assert!(page(&third, "/metrics").await.1.contains("daemonplan_leader 0"));
    assert_no_violations(&server);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_cannot_renew_its_lease_stops_writing() {
    let (server, _life) = start(5, Pace::default()).await;
    let agent = server.store().create("daemonsets", daemonset("prod", "agent"));
    let process = controller(
        &server,
        "--lease-duration 3 --renew-deadline 1 --retry-period 0.1 --lease-namespace prod --identity first",
    );
    settle(&server, LIMIT, everywhere).await;
    server.store().faults.refused = 1.0;
    time::sleep(Duration::from_millis(1500)).await;
    assert!(page(&process, "/metrics").await.1.contains("daemonplan_leader 0"));
    server.store().faults.refused = 0.0;
    roll_out(&mut server.store(), &agent, "registry/agent:2");
    settle(&server, LIMIT, everywhere).await;
    assert_no_violations(&server);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_controllers_without_leader_election_settle() {
    let (server, _life) = start(10, Pace::default()).await;
    server.store().faults.watch_lag = Duration::from_millis(10);
    let agent = server.store().create("daemonsets", daemonset("prod", "agent"));
    let _processes = [controller(&server, ALONE), controller(&server, ALONE)];
    settle(&server, LIMIT, everywhere).await;
    roll_out(&mut server.store(), &agent, "registry/agent:2");
    settle(&server, LIMIT, everywhere).await;
    assert_eq!(forbidden_writes(&server.store()), [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rejected_pods_are_retried_ever_more_rarely_and_at_once_after_an_edit() {
    let (server, _life) = start(50, Pace::default()).await;
    let mut broken = daemonset("prod", "agent");
    broken["spec"]["template"]["spec"]["containers"] = json!([]);
    let agent = server.store().create("daemonsets", broken);
    let _process = controller(&server, ALONE);
    time::sleep(Duration::from_secs(3)).await;
    let refused = writes(&server.store(), "POST", "pods").len();
    assert!((3..10).contains(&refused), "one pod at a time is tried; {refused} attempts in three seconds");
    assert!(server.store().all("events").iter().any(|(_, event)| event["reason"] == "FailedCreate"));
    server.store().edit(&agent, |daemonset| {
        daemonset["spec"]["template"]["spec"]["containers"] = json!([{"name": "main", "image": "registry/agent:1"}]);
    });
    wait_for(&server, "all pods are created", |store| store.all("pods").len() == 50).await;
    settle(&server, LIMIT, everywhere).await;
    assert_no_violations(&server);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_created_in_a_namespace_being_deleted() {
    let (server, _life) = start(10, Pace { collects: false, ..Pace::default() }).await;
    server.store().edit(&id("namespaces", "", "prod"), |namespace| {
        namespace["metadata"]["finalizers"] = json!(["kubernetes"]);
    });
    server.store().delete(&id("namespaces", "", "prod"));
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
    let process = controller(&server, "--dry-run");
    wait_until_ready(&process).await;
    time::sleep(Duration::from_millis(300)).await;
    assert!(server.store().writes.is_empty(), "expected no write, not even a lease or an Event");
    let (_, text) = page(&process, "/metrics").await;
    assert!(text.contains(r#"action="CreatePod",reason="NoPod",result="dry-run"} 3"#), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn namespace_and_selector_flags_restrict_the_daemonsets() {
    let (server, _life) = start(3, Pace::default()).await;
    {
        let mut store = server.store();
        store.create("namespaces", json!({"metadata": {"name": "lab"}}));
        for (namespace, name) in [("prod", "agent"), ("prod", "proxy"), ("lab", "agent")] {
            store.create("daemonsets", daemonset(namespace, name));
        }
    }
    let process = controller(&server, &format!("{ALONE} --namespace prod --selector app=agent"));
    wait_for(&server, "pods", |store| store.all("pods").len() == 3).await;
    time::sleep(Duration::from_millis(300)).await;
    assert!(
        server
            .store()
            .all("pods")
            .iter()
            .all(|((_, namespace, name), _)| namespace == "prod" && name.starts_with("agent"))
    );
    // A DaemonSet whose labels no longer match is left alone.
    let agent = id("daemonsets", "prod", "agent");
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
        server.store().remove(&id("nodes", "", "node-0004"));
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_pod_is_reported_and_replaced() {
    let (server, _life) = start(2, Pace::default()).await;
    server.store().create("daemonsets", daemonset("prod", "agent"));
    let _process = controller(&server, ALONE);
    settle(&server, LIMIT, everywhere).await;
    let (pod, _) = server.store().all("pods").pop().unwrap();
    server.store().edit(&pod, |pod| pod["status"] = json!({"phase": "Failed"}));
    wait_for(&server, "the failed pod is deleted", |store| store.get(&pod).is_none()).await;
    settle(&server, LIMIT, everywhere).await;
    wait_for(&server, "an Event", |store| {
        store.all("events").iter().any(|(_, event)| event["reason"] == "FailedDaemonPod" && event["type"] == "Warning")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_pages_and_explain_give_reasons() {
    let (server, _life) = start(3, Pace::default()).await;
    {
        let mut store = server.store();
        let mut agent = daemonset("prod", "agent");
        agent["spec"]["template"]["spec"]["nodeSelector"] = json!({"tier": "<edge>"});
        store.create("daemonsets", agent);
        store.edit(&id("nodes", "", "node-0001"), |node| node["metadata"]["labels"]["tier"] = json!("<edge>"));
    }
    let process = controller(&server, ALONE);
    settle(&server, LIMIT, |store| unsettled(store, |_, node| node == "node-0001")).await;
    assert_eq!(page(&process, "/healthz").await, (200, "ok\n".to_owned()));
    assert_eq!(page(&process, "/readyz").await.0, 200);
    let (_, json) = page(&process, "/explain/prod/agent").await;
    let explanation: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(explanation["nodes"].as_array().unwrap().len(), 3);
    let (_, json) = page(&process, "/explain/prod/agent?node=node-0002").await;
    let explanation: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        (explanation["nodes"].as_array().unwrap().len(), &explanation["nodes"][0]["verdict"]),
        (1, &json!("Refuse"))
    );
    let (_, html) = page(&process, "/").await;
    assert!(html.contains("/daemonsets/prod/agent") && html.contains("up to date"), "{html}");
    let (_, html) = page(&process, "/daemonsets/prod/agent").await;
    assert!(html.contains("2 nodes") && html.contains("&lt;edge&gt;") && !html.contains("<edge>"), "{html}");
    let (_, html) = page(&process, "/daemonsets/prod/agent?node=node-0002").await;
    assert!(html.contains("✗") && html.contains("Changes that would allow a pod here"), "{html}");
    for path in ["/explain/prod/none", "/explain/prod/agent?node=none", "/daemonsets/lab/agent", "/none"] {
        assert_eq!(page(&process, path).await.0, 404, "{path}");
    }
    // A rollout blocked by a pod shows a forecast.
    let agent = id("daemonsets", "prod", "agent");
    let (pod, _) = server.store().all("pods").pop().unwrap();
    server.store().edit(&id("nodes", "", "node-0002"), |node| node["metadata"]["labels"]["tier"] = json!("<edge>"));
    settle(&server, LIMIT, |store| unsettled(store, |_, node| node != "node-0000")).await;
    server.store().edit(&pod, |pod| pod["status"] = ready(false));
    roll_out(&mut server.store(), &agent, "registry/agent:2");
    server.store().faults.holds = Some("pods");
    time::sleep(Duration::from_millis(300)).await;
    let (_, html) = page(&process, "/daemonsets/prod/agent").await;
    assert!(html.contains("Forecast"), "{html}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_says_why_a_pod_would_stay_pending_and_what_would_help() {
    let (server, _life) = start(1, Pace::default()).await;
    {
        let mut store = server.store();
        store.edit(&id("nodes", "", "node-0000"), |node| {
            node["status"]["allocatable"] = json!({"cpu": "1", "pods": "9"});
        });
        let requests = |cpu: &str| json!({"requests": {"cpu": cpu}});
        let mut agent = daemonset("prod", "agent");
        agent["spec"]["template"]["spec"]["containers"][0]["resources"] = requests("500m");
        store.create("daemonsets", agent);
        store.create("namespaces", json!({"metadata": {"name": "shop"}}));
        let owner =
            json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "uid": "7", "controller": true});
        store.create(
            "pods",
            json!({
                "metadata": {"namespace": "shop", "name": "<web>", "ownerReferences": [owner]},
                "spec": {"nodeName": "node-0000", "containers": [{"name": "web", "resources": requests("800m")}]},
                "status": {"phase": "Running"},
            }),
        );
    }
    let process = controller(&server, "--dry-run --explain-pending");
    wait_until_ready(&process).await;
    for path in ["/daemonsets/prod/agent", "/daemonsets/prod/agent?node=node-0000"] {
        let (_, html) = page(&process, path).await;
        assert!(html.contains("requests cpu 500m, but 200m of 1 are free: 300m more are needed"), "{html}");
        assert!(html.contains("fits if shop/&lt;web&gt; leaves (cpu 800m)") && !html.contains("<web>"), "{html}");
    }
    let (_, json) = page(&process, "/explain/prod/agent").await;
    let explanation: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(explanation["nodes"][0]["newPod"]["blockers"][0]["plugin"], "NodeResourcesFit");
    // Without the flag nothing of this is kept.
    let plain = controller(&server, "--dry-run");
    wait_until_ready(&plain).await;
    let (_, json) = page(&plain, "/explain/prod/agent").await;
    let explanation: Value = serde_json::from_str(&json).unwrap();
    assert!(explanation["nodes"][0]["newPod"].is_null(), "{explanation}");
}

/// Returns a DaemonSet with these policy annotations and `maxUnavailable`.
fn with_policies(max_unavailable: usize, policies: &Value) -> Value {
    let mut daemonset = daemonset("prod", "agent");
    daemonset["spec"]["updateStrategy"]["rollingUpdate"]["maxUnavailable"] = json!(max_unavailable);
    for (name, value) in policies.as_object().unwrap() {
        daemonset["metadata"]["annotations"][format!("daemonplan/{name}")] = value.clone();
    }
    daemonset
}

/// Counts the pods whose image ends with `end`.
fn with_image(store: &Store, end: &str) -> usize {
    let image = |pod: &Value| pod["spec"]["containers"][0]["image"].as_str().unwrap().to_owned();
    store.all("pods").iter().filter(|(_, pod)| image(pod).ends_with(end)).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crashing_template_reaches_only_its_canaries_and_is_rolled_back() {
    let (server, _life) = start(10, Pace::default()).await;
    let policies = json!({"canary": "2", "on-failure": "roll-back"});
    let agent = server.store().create("daemonsets", with_policies(5, &policies));
    let _process = controller(&server, ALONE);
    settle(&server, LIMIT, everywhere).await;
    roll_out(&mut server.store(), &agent, "registry/agent:crashes");
    let image =
        |store: &Store| store.get(&agent).unwrap()["spec"]["template"]["spec"]["containers"][0]["image"].clone();
    wait_for(&server, "the older template is restored", |store| image(store) == "registry/agent:1").await;
    settle(&server, LIMIT, everywhere).await;
    assert_no_violations(&server);
    let store = server.store();
    let crashed = writes(&store, "POST", "pods")
        .iter()
        .filter(|write| write.object["spec"]["containers"][0]["image"] == "registry/agent:crashes")
        .count();
    assert!((1..=2).contains(&crashed), "{crashed} pods of the new template");
    assert_eq!((with_image(&store, ":1"), store.all("controllerrevisions").len()), (10, 2));
    let reasons: Vec<_> = store.all("events").iter().map(|(_, event)| event["reason"].clone()).collect();
    assert!(reasons.contains(&json!("RolledBack")), "{reasons:?}");
    drop(store);

    // The same template is set again: it is tried once more, and then paused instead of rolled back.
    let record = |store: &Store| -> Value {
        let daemonset = store.get(&agent).unwrap();
        let text = daemonset["metadata"]["annotations"]["daemonplan/rollout-record"].as_str().unwrap_or("{}");
        serde_json::from_str(text).unwrap()
    };
    assert!(record(&server.store())["failed"][0]["restored"].is_string());
    roll_out(&mut server.store(), &agent, "registry/agent:crashes");
    wait_for(&server, "the update is paused", |store| record(store)["failed"][0]["isPaused"] == true).await;
    time::sleep(Duration::from_millis(300)).await;
    let store = server.store();
    assert_eq!((image(&store), with_image(&store, ":crashes")), (json!("registry/agent:crashes"), 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pods_in_the_partition_are_recreated_with_the_older_template() {
    let (server, _life) = start(10, Pace::default()).await;
    let agent = server.store().create("daemonsets", with_policies(3, &json!({"partition": "4"})));
    let process = controller(&server, ALONE);
    settle(&server, LIMIT, everywhere).await;
    roll_out(&mut server.store(), &agent, "registry/agent:2");
    wait_for(&server, "six are updated", |store| with_image(store, ":2") == 6 && store.all("pods").len() == 10).await;
    let kept = server
        .store()
        .all("pods")
        .into_iter()
        .find(|(_, pod)| pod["spec"]["containers"][0]["image"] == "registry/agent:1");
    server.store().delete(&kept.unwrap().0);
    let all_ready =
        |store: &Store| store.all("pods").iter().filter(|(_, pod)| pod["status"] != Value::Null).count() == 10;
    wait_for(&server, "the pod is recreated", |store| with_image(store, ":1") == 4 && all_ready(store)).await;
    time::sleep(Duration::from_millis(300)).await;
    {
        let store = server.store();
        assert_eq!((with_image(&store, ":1"), with_image(&store, ":2")), (4, 6), "the partition stays as it is");
    }
    let (code, page) = page(&process, "/daemonsets/prod/agent").await;
    assert!(code == 200 && page.contains("keep the older template"), "{code}: {page}");
    assert_no_violations(&server);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policy_flag_applies_to_all_daemonsets() {
    let (server, _life) = start(4, Pace::default()).await;
    let agent = server.store().create("daemonsets", daemonset("prod", "agent"));
    let _process = controller(&server, "--no-leader-election --policy paused=true");
    settle(&server, LIMIT, everywhere).await;
    roll_out(&mut server.store(), &agent, "registry/agent:2");
    wait_for(&server, "the revision is created", |store| store.all("controllerrevisions").len() == 2).await;
    time::sleep(Duration::from_millis(300)).await;
    assert_eq!(with_image(&server.store(), ":2"), 0);
    server.store().edit(&agent, |agent| agent["metadata"]["annotations"]["daemonplan/paused"] = json!("false"));
    settle(&server, LIMIT, everywhere).await;
    assert_eq!(with_image(&server.store(), ":2"), 4);
    assert_no_violations(&server);
}
