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
    // An update makes a revision, deletes four pods and creates four.
    assert!(longest > 9, "at most {longest} writes were made before a kill");
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
    let agent = server.store().create("daemonsets", daemonset_of_kind("agent", "20%"));
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
        let node = Id::new("nodes", "", &format!("node-{number:04}"));
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollout_writes_its_status_seldom_and_its_end_at_once() {
    let (server, _life) = start(60, Pace::default()).await;
    let agent = server.store().create("daemonsets", daemonset_of_kind("agent", "10%"));
    let process = controller(&server, &format!("{ALONE} --status-delay 60"));
    settle(&server, LIMIT, everywhere).await;
    roll_out(&mut server.store(), &agent, "registry/agent:2");
    settle(&server, LIMIT, everywhere).await;
    let statuses = server.store().writes.iter().filter(|write| write.subresource.is_some()).count();
    assert!(statuses <= 6, "{statuses} statuses: of the generations, of their ends");
    let (_, text) = page(&process, "/metrics").await;
    assert!(text.contains(&format!("daemonplan_status_delay_seconds_count {statuses}")), "{text}");
    // Counts alone wait for a rest.
    let pod = server.store().all("pods").remove(0).0;
    server.store().edit(&pod, |pod| pod["status"] = running(false));
    time::sleep(Duration::from_millis(300)).await;
    assert_eq!(server.store().writes.iter().filter(|write| write.subresource.is_some()).count(), statuses);
    assert_no_violations(&server);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_update_looks_at_no_pod_before_it_deletes_it() {
    let (server, _life) = start(20, Pace::default()).await;
    let agent = server.store().create("daemonsets", daemonset_of_kind("agent", "50%"));
    let _process = controller(&server, ALONE);
    settle(&server, LIMIT, everywhere).await;
    roll_out(&mut server.store(), &agent, "registry/agent:2");
    settle(&server, LIMIT, everywhere).await;
    let store = server.store();
    assert_eq!((store.reads, writes(&store, "DELETE", "pods").len()), (0, 20));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_whose_name_is_taken_gets_another_name_at_once() {
    // Before 1.23 Kubernetes answers with 500 if there is a `generateName`, since then with 409.
    for code in [500, 409] {
        let (server, _life) = start(8, Pace::default()).await;
        server.store().faults.name_taken = Some((code, 3));
        server.store().create("daemonsets", daemonset("prod", "agent"));
        let _process = controller(&server, ALONE);
        let began = Instant::now();
        settle(&server, LIMIT, everywhere).await;
        assert!(server.store().faults.name_taken == Some((code, 0)), "{code}");
        assert!(began.elapsed() < Duration::from_secs(20), "{code}: no write is waited for in vain");
        assert_no_violations(&server);
        let store = server.store();
        let refused = writes(&store, "POST", "pods").iter().filter(|write| write.code == code).count();
        assert_eq!((refused, store.all("pods").len()), (3, 8 + 3));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_watch_is_logged_once_by_the_controller_alone() {
    let (server, _life) = start(1, Pace::default()).await;
    server.store().faults.forbidden = Some("pods");
    let config = std::env::temp_dir().join(format!("kubeconfig-{}", server.address().port()));
    std::fs::write(&config, server.kubeconfig().to_string()).unwrap();
    let mut controller = std::process::Command::new(env!("CARGO_BIN_EXE_daemonplan-controller"))
        .args(["--listen", "127.0.0.1:0", ALONE, "--kubeconfig"])
        .arg(&config)
        .env_remove("RUST_LOG")
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    time::sleep(Duration::from_secs(2)).await;
    controller.kill().unwrap();
    let log = String::from_utf8(controller.wait_with_output().unwrap().stderr).unwrap();
    std::fs::remove_file(config).unwrap();
    let refused: Vec<&str> = log.lines().filter(|line| line.contains("403")).collect();
    assert!(!refused.is_empty() && refused.iter().all(|line| line.contains("watch failed, retrying")), "{log}");
}
