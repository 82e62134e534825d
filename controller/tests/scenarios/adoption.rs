//! Pods and revisions that another controller, or none, has owned.

use super::*;

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
        let (id, revision) = store.all("controllerrevisions").pop().unwrap();
        store.remove(&id);
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
    assert!(server.store().all("pods").iter().all(|(_, pod)| controller_of(pod).is_none()));
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
    wait_for(&server, "the pod is released", |store| store.get(&pod).is_some_and(|pod| controller_of(pod).is_none()))
        .await;
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
    let deletions: Vec<u16> = writes(&server.store(), "DELETE", "pods").iter().map(|write| write.code).collect();
    assert!(!deletions.is_empty() && deletions.iter().all(|code| *code == 409), "the pods are orphans: {deletions:?}");
    assert_eq!(server.store().all("pods").len(), 3);
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
    let (Id { name, .. }, _) = server.store().all("controllerrevisions").pop().unwrap();
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
