//! The controller in a living cluster: it comes to rest where it should, writes no more than it must, and nothing that it may not.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)] // a test fails by panicking

mod cluster;

use std::{collections::BTreeMap, time::Duration};

use cluster::{
    KINDS, Pace, Process, Server, cluster as start, controller, daemonset, daemonset_of_kind, id, node, own_writes,
    owner, page, ready, roll_out,
    server::{Faults, Store, Write},
    settle, trespasses, unsettled, unsettled_of_kinds,
};
use serde_json::{Value, json};
use tokio::time;

const LIMIT: Duration = Duration::from_secs(90);
const ALONE: &str = "--no-leader-election";

/// All nodes are wanted.
fn everywhere(store: &Store) -> Option<String> {
    unsettled(store, |_, _| true)
}

/// What no run may have done.
fn assert_decent(server: &Server) {
    let store = server.store();
    assert_eq!(store.crowds, [""; 0]);
    assert_eq!(trespasses(&store), [""; 0]);
}

/// The uids of the pods, by name.
fn pods(server: &Server) -> BTreeMap<String, String> {
    let pods = server.store().all("pods");
    pods.iter().map(|((.., name), pod)| (name.clone(), pod["metadata"]["uid"].to_string())).collect()
}

/// Waits until something holds.
async fn wait_for(server: &Server, what: &str, holds: impl Fn(&Store) -> bool) {
    for _ in 0..4000 {
        if holds(&server.store()) {
            return;
        }
        time::sleep(Duration::from_millis(5)).await;
    }
    panic!("never: {what}");
}

fn writes<'a>(store: &'a Store, verb: &str, plural: &str) -> Vec<&'a Write> {
    store.writes.iter().filter(|write| write.verb == *verb && write.id.0 == plural).collect()
}

#[tokio::test]
async fn what_may_not_happen_would_be_seen() {
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
    assert_eq!(trespasses(&store).len(), 1);
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
    assert_decent(&server);
    let store = server.store();
    let creations = writes(&store, "POST", "pods");
    assert_eq!((creations.len(), writes(&store, "DELETE", "pods").len()), (20, 10), "one each, twice, and no more");
    assert!(
        creations.iter().all(|write| write.object["metadata"]["generateName"] == "agent-"),
        "as the built-in one has it"
    );
    assert!(own_writes(&store) < 100, "{} writes", own_writes(&store));
    // The built-in controller knows a revision by its bytes: keys in their order.
    let revisions = store.all("controllerrevisions");
    assert_eq!(revisions.len(), 2);
    for (_, revision) in &revisions {
        let sorted: BTreeMap<String, Value> =
            serde_json::from_value(revision["data"]["spec"]["template"]["spec"].clone()).unwrap();
        let keys: Vec<_> = revision["data"]["spec"]["template"]["spec"].as_object().unwrap().keys().collect();
        assert_eq!(keys, sorted.keys().collect::<Vec<_>>());
    }
    let said: Vec<_> = store.all("events").iter().map(|(_, event)| event["reason"].clone()).collect();
    assert!(said.contains(&json!("SuccessfulCreate")) && said.contains(&json!("SuccessfulDelete")), "{said:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_daemonsets_on_a_hundred_nodes_that_change_all_the_time() {
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
        // The next round comes in the midst of the roll-out.
        time::sleep(Duration::from_millis(150)).await;
    }
    settle(&server, LIMIT, unsettled_of_kinds).await;
    assert_decent(&server);
    let store = server.store();
    let (created, all) = (writes(&store, "POST", "pods").len(), own_writes(&store));
    assert!(created < 300 * 4, "{created} pods were created");
    assert!(all < 300 * 4 * 3, "{all} writes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn to_take_over_from_another_controller_restarts_nothing() {
    let (server, _life) = start(10, Pace::default()).await;
    server.store().create("daemonsets", daemonset("prod", "agent"));
    let process = controller(&server, ALONE);
    settle(&server, LIMIT, everywhere).await;
    process.kill();
    // The built-in controller would have given the revision another name and hash, and other bytes of the same meaning.
    {
        let mut store = server.store();
        let ((.., name), revision) = store.all("controllerrevisions").pop().unwrap();
        store.remove(&id("controllerrevisions", "prod", &name));
        let mut revision = Value::clone(&revision);
        revision["metadata"]["name"] = json!("agent-6f4c8d7b9");
        revision["metadata"]["labels"]["controller-revision-hash"] = json!("6f4c8d7b9");
        let template = revision["data"]["spec"]["template"].as_object_mut().unwrap();
        let patch = template.remove("$patch").unwrap();
        template.insert("$patch".to_owned(), patch); // at the end now
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
    // Once every watch has told of it; for what comes of a watch that is late see the next test.
    while page(&process, "/explain/prod/agent").await.0 != 404 {
        time::sleep(Duration::from_millis(10)).await;
    }
    time::sleep(Duration::from_secs(1)).await;
    server.store().create("daemonsets", daemonset("prod", "agent"));
    settle(&server, LIMIT, everywhere).await;
    assert_eq!(pods(&server), before, "none was restarted");
    assert_decent(&server);
    // A pod whose labels no longer match is let go, and another one takes its place.
    let (pod, _) = server.store().all("pods").pop().unwrap();
    server.store().edit(&pod, |pod| pod["metadata"]["labels"]["app"] = json!("debug"));
    wait_for(&server, "it is released", |store| store.get(&pod).is_some_and(|pod| owner(pod).is_none())).await;
    settle(&server, LIMIT, everywhere).await;
    assert_eq!(server.store().all("pods").len(), 11);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orphans_are_adopted_whichever_watch_tells_of_them_first() {
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
        assert_decent(&server);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_may_be_killed_between_any_two_writes() {
    let (server, _life) = start(4, Pace::default()).await;
    let agent = server.store().create("daemonsets", daemonset("prod", "agent"));
    let mut longest = 0;
    for round in 0..40 {
        roll_out(&mut server.store(), &agent, &format!("registry/agent:{round}"));
        // Dies after so many writes, several times over.
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
    assert!(longest > 20, "the last to die had done {longest} writes");
    assert_decent(&server);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_fails_at_random_is_made_up_for() {
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
        server.store().compact(); // every watch is too old, and lists anew
    }
    settle(&server, LIMIT, everywhere).await;
    assert_decent(&server);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_written_is_waited_for_however_late_the_watch_is() {
    let (server, _life) = start(10, Pace::default()).await;
    server.store().faults.holds = Some("pods");
    server.store().create("daemonsets", daemonset("prod", "agent"));
    let process = controller(&server, ALONE);
    wait_for(&server, "all are created", |store| store.all("pods").len() == 10).await;
    // Something else happens to the DaemonSet meanwhile, and nodes are touched.
    for number in 0..10 {
        let node = id("nodes", "", &format!("node-{number:04}"));
        server.store().edit(&node, |node| node["metadata"]["labels"]["seen"] = json!("1"));
        time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(server.store().all("pods").len(), 10, "none is created twice");
    let (_, text) = page(&process, "/metrics").await;
    assert!(text.contains("daemonplan_writes_not_shown 10"), "{text}");
    server.store().faults.holds = None;
    settle(&server, LIMIT, everywhere).await;
    assert_decent(&server);
    let (_, text) = page(&process, "/metrics").await;
    assert!(text.contains("daemonplan_writes_not_shown 0"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_that_was_left_behind_meanwhile_is_not_deleted() {
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
    assert!(writes(&server.store(), "DELETE", "pods").is_empty(), "they are nobody's");
    // Once the watch tells, they are adopted, and then updated.
    server.store().faults.holds = None;
    settle(&server, LIMIT, everywhere).await;
    assert_decent(&server);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revision_of_the_same_name_that_says_otherwise_is_a_collision() {
    let (server, _life) = start(2, Pace::default()).await;
    server.store().create("daemonsets", daemonset("prod", "agent"));
    let process = controller(&server, ALONE);
    settle(&server, LIMIT, everywhere).await;
    process.kill();
    let ((.., name), _) = server.store().all("controllerrevisions").pop().unwrap();
    // In another cluster somebody has one of that name, and the watch is late to tell.
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
    assert_decent(&server);
    assert_eq!(server.store().all("controllerrevisions").len(), 2);
}

async fn wait_until_ready(process: &Process) {
    for _ in 0..1000 {
        if page(process, "/readyz").await.0 == 200 {
            return;
        }
        time::sleep(Duration::from_millis(10)).await;
    }
    panic!("never ready");
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
    // The leader dies, and the other one waits until the lease is over.
    first.kill();
    roll_out(&mut server.store(), &agent, "registry/agent:2");
    settle(&server, LIMIT, everywhere).await;
    assert_eq!(holder(&server), "second");
    // The leader is asked to go in the midst of a roll-out, and gives the lease back.
    let third = controller(&server, &format!("{LEASE} --identity third"));
    roll_out(&mut server.store(), &agent, "registry/agent:3");
    time::sleep(Duration::from_millis(100)).await;
    assert!(matches!(second.terminate(Duration::from_secs(10)), Some(Ok(()))));
    assert!(["", "third"].contains(&&*holder(&server)), "{}", holder(&server));
    settle(&server, LIMIT, everywhere).await;
    assert_eq!(holder(&server), "third");
    // Somebody takes the lease from it: it stands by, and writes nothing.
    server.store().edit(&id("leases", "prod", "daemonplan-controller"), |lease| {
        lease["spec"]["holderIdentity"] = json!("somebody");
        lease["spec"]["leaseDurationSeconds"] = json!(3600);
    });
    time::sleep(Duration::from_millis(500)).await;
    let before = own_writes(&server.store());
    roll_out(&mut server.store(), &agent, "registry/agent:4");
    time::sleep(Duration::from_secs(1)).await;
    assert_eq!(own_writes(&server.store()), before);
    assert!(page(&third, "/metrics").await.1.contains("daemonplan_leader 0"));
    assert_decent(&server);
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
    assert_decent(&server);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_that_both_write_come_to_rest_even_so() {
    let (server, _life) = start(10, Pace::default()).await;
    server.store().faults.watch_lag = Duration::from_millis(10);
    let agent = server.store().create("daemonsets", daemonset("prod", "agent"));
    let _processes = [controller(&server, ALONE), controller(&server, ALONE)];
    settle(&server, LIMIT, everywhere).await;
    roll_out(&mut server.store(), &agent, "registry/agent:2");
    settle(&server, LIMIT, everywhere).await;
    assert_eq!(trespasses(&server.store()), [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_server_refuses_is_tried_again_ever_more_rarely_and_at_once_when_it_is_set_right() {
    let (server, _life) = start(50, Pace::default()).await;
    let mut broken = daemonset("prod", "agent");
    broken["spec"]["template"]["spec"]["containers"] = json!([]);
    let agent = server.store().create("daemonsets", broken);
    let _process = controller(&server, ALONE);
    time::sleep(Duration::from_secs(3)).await;
    let refused = writes(&server.store(), "POST", "pods").len();
    assert!((3..10).contains(&refused), "one pod at a time is tried, {refused} times in three seconds");
    assert!(server.store().all("events").iter().any(|(_, event)| event["reason"] == "FailedCreate"));
    server.store().edit(&agent, |daemonset| {
        daemonset["spec"]["template"]["spec"]["containers"] = json!([{"name": "main", "image": "registry/agent:1"}]);
    });
    wait_for(&server, "all are created", |store| store.all("pods").len() == 50).await;
    settle(&server, LIMIT, everywhere).await;
    assert_decent(&server);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_created_in_a_namespace_that_goes() {
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
    assert!(server.store().writes.is_empty(), "not even a lease or an Event");
    let (_, text) = page(&process, "/metrics").await;
    assert!(text.contains(r#"action="CreatePod",reason="NoPod",result="dry-run"} 3"#), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_one_namespace_and_only_some_labels() {
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
    // One that no longer has the labels is left alone as it is.
    let agent = id("daemonsets", "prod", "agent");
    server.store().edit(&agent, |daemonset| daemonset["metadata"]["labels"]["app"] = json!("other"));
    roll_out(&mut server.store(), &agent, "registry/agent:2");
    time::sleep(Duration::from_millis(300)).await;
    assert!(writes(&server.store(), "DELETE", "pods").is_empty());
    assert_eq!(page(&process, "/explain/prod/agent").await.0, 404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_garbage_collectors_it_collects_if_it_is_asked_to() {
    for (flags, left) in [(ALONE.to_owned(), 4), (format!("{ALONE} --collect-garbage"), 0)] {
        let (server, _life) = start(5, Pace { collects: false, ..Pace::default() }).await;
        let agent = server.store().create("daemonsets", daemonset("prod", "agent"));
        let _process = controller(&server, &flags);
        settle(&server, LIMIT, everywhere).await;
        server.store().remove(&id("nodes", "", "node-0004"));
        let of_missing =
            |store: &Store| store.all("pods").iter().any(|(_, pod)| pod["spec"]["nodeName"] == "node-0004");
        if left == 0 {
            wait_for(&server, "the pod of the missing node goes", |store| !of_missing(store)).await;
        } else {
            time::sleep(Duration::from_millis(300)).await;
            assert!(of_missing(&server.store()), "somebody else's work");
            let missing =
                server.store().all("pods").into_iter().find(|(_, pod)| pod["spec"]["nodeName"] == "node-0004");
            server.store().remove(&missing.unwrap().0);
        }
        settle(&server, LIMIT, everywhere).await;
        server.store().edit(&agent, |daemonset| daemonset["metadata"]["finalizers"] = json!(["foregroundDeletion"]));
        server.store().delete(&agent);
        time::sleep(Duration::from_millis(500)).await;
        assert_eq!(server.store().all("pods").len(), left);
        assert_decent(&server);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_pod_is_told_of_and_replaced() {
    let (server, _life) = start(2, Pace::default()).await;
    server.store().create("daemonsets", daemonset("prod", "agent"));
    let _process = controller(&server, ALONE);
    settle(&server, LIMIT, everywhere).await;
    let (pod, _) = server.store().all("pods").pop().unwrap();
    server.store().edit(&pod, |pod| pod["status"] = json!({"phase": "Failed"}));
    wait_for(&server, "it goes", |store| store.get(&pod).is_none()).await;
    settle(&server, LIMIT, everywhere).await;
    wait_for(&server, "an Event", |store| {
        store.all("events").iter().any(|(_, event)| event["reason"] == "FailedDaemonPod" && event["type"] == "Warning")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_and_explain_say_why() {
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
    assert!(html.contains("/daemonsets/prod/agent") && html.contains("well"), "{html}");
    let (_, html) = page(&process, "/daemonsets/prod/agent").await;
    assert!(html.contains("2 nodes") && html.contains("&lt;edge&gt;") && !html.contains("<edge>"), "{html}");
    let (_, html) = page(&process, "/daemonsets/prod/agent?node=node-0002").await;
    assert!(html.contains("✗") && html.contains("What would bring a pod here"), "{html}");
    for path in ["/explain/prod/none", "/explain/prod/agent?node=none", "/daemonsets/lab/agent", "/none"] {
        assert_eq!(page(&process, path).await.0, 404, "{path}");
    }
    // A roll-out that a pod holds up, and how it would go on.
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

/// A DaemonSet with these policies, of whose pods so many may be unavailable.
fn guided(max_unavailable: usize, policies: &Value) -> Value {
    let mut daemonset = daemonset("prod", "agent");
    daemonset["spec"]["updateStrategy"]["rollingUpdate"]["maxUnavailable"] = json!(max_unavailable);
    for (name, value) in policies.as_object().unwrap() {
        daemonset["metadata"]["annotations"][format!("daemonplan/{name}")] = value.clone();
    }
    daemonset
}

/// How many pods have an image that ends like this.
fn with_image(store: &Store, end: &str) -> usize {
    let image = |pod: &Value| pod["spec"]["containers"][0]["image"].as_str().unwrap().to_owned();
    store.all("pods").iter().filter(|(_, pod)| image(pod).ends_with(end)).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_template_that_crashes_goes_no_further_than_its_canaries_and_is_rolled_back() {
    let (server, _life) = start(10, Pace::default()).await;
    let policies = json!({"canary": "2", "on-failure": "roll-back"});
    let agent = server.store().create("daemonsets", guided(5, &policies));
    let _process = controller(&server, ALONE);
    settle(&server, LIMIT, everywhere).await;
    roll_out(&mut server.store(), &agent, "registry/agent:crashes");
    let image =
        |store: &Store| store.get(&agent).unwrap()["spec"]["template"]["spec"]["containers"][0]["image"].clone();
    wait_for(&server, "the older template is back", |store| image(store) == "registry/agent:1").await;
    settle(&server, LIMIT, everywhere).await;
    assert_decent(&server);
    let store = server.store();
    let crashed = writes(&store, "POST", "pods")
        .iter()
        .filter(|write| write.object["spec"]["containers"][0]["image"] == "registry/agent:crashes")
        .count();
    assert!((1..=2).contains(&crashed), "{crashed} pods of the new template");
    assert_eq!((with_image(&store, ":1"), store.all("controllerrevisions").len()), (10, 2));
    let said: Vec<_> = store.all("events").iter().map(|(_, event)| event["reason"].clone()).collect();
    assert!(said.contains(&json!("RolledBack")), "{said:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partition_holds_and_pods_that_vanish_there_come_back_with_the_older_template() {
    let (server, _life) = start(10, Pace::default()).await;
    let agent = server.store().create("daemonsets", guided(3, &json!({"partition": "4"})));
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
    wait_for(&server, "it is back", |store| with_image(store, ":1") == 4 && all_ready(store)).await;
    time::sleep(Duration::from_millis(300)).await;
    {
        let store = server.store();
        assert_eq!((with_image(&store, ":1"), with_image(&store, ":2")), (4, 6), "and so it stays");
    }
    let (code, page) = page(&process, "/daemonsets/prod/agent").await;
    assert!(code != 200 || page.contains("stay at their older template"), "{page}");
    assert_decent(&server);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policy_for_all_daemonsets_comes_by_flag() {
    let (server, _life) = start(4, Pace::default()).await;
    let agent = server.store().create("daemonsets", daemonset("prod", "agent"));
    let _process = controller(&server, "--no-leader-election --policy paused=true");
    settle(&server, LIMIT, everywhere).await;
    roll_out(&mut server.store(), &agent, "registry/agent:2");
    wait_for(&server, "the revision is there", |store| store.all("controllerrevisions").len() == 2).await;
    time::sleep(Duration::from_millis(300)).await;
    assert_eq!(with_image(&server.store(), ":2"), 0);
    server.store().edit(&agent, |agent| agent["metadata"]["annotations"]["daemonplan/paused"] = json!("false"));
    settle(&server, LIMIT, everywhere).await;
    assert_eq!(with_image(&server.store(), ":2"), 4);
    assert_decent(&server);
}
