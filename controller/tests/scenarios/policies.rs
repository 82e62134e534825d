//! Rollout policies.

use super::*;

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
    assert!(code == 200 && page.contains("keep their pods (4 kept by the policy partition)"), "{code}: {page}");
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
