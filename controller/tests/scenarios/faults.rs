//! Errors of the API server, late watches and failing pods.

use super::*;

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
