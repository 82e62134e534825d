//! Which DaemonSets a replica manages: those of some namespaces, or of a shard.

use super::*;

/// Starts a cluster with a DaemonSet `agent` in each of these namespaces.
async fn agents_in(namespaces: &[&str]) -> (Server, daemonplan_testing::Workloads) {
    let (server, life) = start(3, Pace::default()).await;
    {
        let mut store = server.store();
        for name in namespaces {
            store.create("namespaces", namespace(name));
            store.create("daemonsets", daemonset(name, "agent"));
        }
    }
    (server, life)
}

/// Counts the pods in a namespace.
fn pods_in(store: &Store, namespace: &str) -> usize {
    store.all("pods").iter().filter(|(id, _)| id.namespace == namespace).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_namespaces_are_watched_one_by_one() {
    let (server, _life) = agents_in(&["a", "b", "c"]).await;
    // Nothing of the third namespace is read: rights to the others suffice.
    let process = controller(&server, &format!("{ALONE} --namespace a --namespace b --namespace a"));
    wait_for(&server, "pods", |store| pods_in(store, "a") == 3 && pods_in(store, "b") == 3).await;
    // One namespace is listed again: what is in the other stays known, and what has gone is noticed.
    server.store().remove(&Id::new("daemonsets", "b", "agent"));
    server.store().compact();
    roll_out(&mut server.store(), &Id::new("daemonsets", "a", "agent"), "registry/agent:2");
    wait_for(&server, "the update", |store| {
        let status = &store.get(&Id::new("daemonsets", "a", "agent")).unwrap()["status"];
        status["updatedNumberScheduled"] == 3 && status["numberReady"] == 3 && status["observedGeneration"] == 2
    })
    .await;
    wait_for(&server, "the end of the other", |store| pods_in(store, "b") == 0).await;
    let (_, html) = page(&process, "/").await;
    assert!(html.contains("Only namespaces a, b.") && html.contains("/daemonsets/a/agent"), "{html}");
    assert!(!html.contains("/daemonsets/b/agent"), "{html}");
    assert_eq!(pods_in(&server.store(), "c"), 0);
    assert_no_violations(&server);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_plan_is_made_before_every_namespace_is_listed() {
    let (server, _life) = agents_in(&["a", "b"]).await;
    let process = controller(&server, &format!("{ALONE} --namespace a --namespace b"));
    wait_for(&server, "pods", |store| pods_in(store, "a") + pods_in(store, "b") == 6).await;
    process.kill();
    server.store().faults.forbidden = Some("pods");
    let process = controller(&server, &format!("{ALONE} --namespace a --namespace b"));
    server.store().writes.clear();
    time::sleep(Duration::from_millis(500)).await;
    assert_eq!(page(&process, "/readyz").await, (503, "not listed yet: Pod\n".to_owned()));
    assert_eq!(own_writes(&server.store()), 0);
    server.store().faults.forbidden = None;
    wait_until_ready(&process).await;
    settle(&server, LIMIT, everywhere).await;
    assert!(writes(&server.store(), "POST", "pods").is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_labels_of_a_namespace_decide_whether_its_daemonsets_are_managed() {
    let (server, _life) = agents_in(&["a", "b"]).await;
    let label = |namespace: &str, team: &str| {
        server.store().edit(&Id::new("namespaces", "", namespace), |namespace| {
            namespace["metadata"]["labels"]["team"] = json!(team);
        });
    };
    label("a", "infra");
    let process = controller(&server, &format!("{ALONE} --namespace-selector team=infra"));
    wait_for(&server, "pods", |store| pods_in(store, "a") == 3).await;
    time::sleep(Duration::from_millis(300)).await;
    assert_eq!(pods_in(&server.store(), "b"), 0);
    assert_eq!(page(&process, "/explain/b/agent").await.0, 404);
    // A label brings a namespace in, and its loss leaves the DaemonSets as they are.
    label("b", "infra");
    wait_for(&server, "pods of the other", |store| pods_in(store, "b") == 3).await;
    label("a", "shop");
    while page(&process, "/explain/a/agent").await.0 != 404 {
        time::sleep(Duration::from_millis(10)).await;
    }
    let agent = Id::new("daemonsets", "a", "agent");
    server.store().writes.clear();
    roll_out(&mut server.store(), &agent, "registry/agent:2");
    time::sleep(Duration::from_millis(500)).await;
    assert!(server.store().writes.iter().all(|write| write.id.namespace != "a"), "{:?}", server.store().writes);
    label("a", "infra");
    settle(&server, LIMIT, everywhere).await;
    // A namespace that comes later counts, too.
    {
        let mut store = server.store();
        store.create("daemonsets", daemonset("late", "agent"));
        let mut late = namespace("late");
        late["metadata"]["labels"]["team"] = json!("infra");
        store.create("namespaces", late);
    }
    settle(&server, LIMIT, everywhere).await;
    assert_eq!(pods_in(&server.store(), "late"), 3);
    assert_no_violations(&server);
}

const QUICK: &str = "--lease-duration 2 --renew-deadline 1 --retry-period 0.1 --lease-namespace prod";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_shard_manages_its_part_and_all_together_everything() {
    let (server, _life) = start(4, Pace::default()).await;
    for number in 0..12 {
        server.store().create("daemonsets", daemonset("prod", &format!("agent-{number}")));
    }
    let shards: Vec<_> = (0..3)
        .map(|number| controller(&server, &format!("{QUICK} --shard {number}/3 --identity shard-{number}")))
        .collect();
    settle(&server, LIMIT, everywhere).await;
    let mut shown = 0;
    for (number, shard) in shards.iter().enumerate() {
        let (_, html) = page(shard, "/").await;
        let own = html.matches("href=\"/daemonsets/prod/").count();
        assert!((1..12).contains(&own) && html.contains(&format!("Only shard {number}/3.")), "{html}");
        shown += own;
        let lease = server.store().get(&Id::new("leases", "prod", &format!("daemonplan-controller-{number}"))).cloned();
        let lease = lease.unwrap();
        assert_eq!(lease["spec"]["holderIdentity"], format!("shard-{number}"));
        assert_eq!(lease["metadata"]["annotations"]["daemonplan/shards"], "3");
    }
    assert_eq!(shown, 12);
    // A pod without an owner may be of any shard: the DaemonSet that selects it adopts it. One is taken from its DaemonSet.
    let orphan = server.store().all("pods").remove(0).0;
    server.store().edit(&orphan, |pod| drop(pod["metadata"].as_object_mut().unwrap().remove("ownerReferences")));
    wait_for(&server, "the adoption", |store| store.get(&orphan).is_some_and(|pod| controller_of(pod).is_some())).await;
    for number in 0..12 {
        roll_out(&mut server.store(), &Id::new("daemonsets", "prod", &format!("agent-{number}")), "registry/agent:2");
    }
    settle(&server, LIMIT, everywhere).await;
    assert_no_violations(&server);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_number_of_shards_waits_until_the_first_is_gone() {
    let (server, _life) = start(4, Pace::default()).await;
    let agents: Vec<_> = (0..6)
        .map(|number| server.store().create("daemonsets", daemonset("prod", &format!("agent-{number}"))))
        .collect();
    // One shard of one is the same as none.
    let whole = controller(&server, &format!("{QUICK} --shard 0/1 --identity whole"));
    settle(&server, LIMIT, everywhere).await;
    assert!(server.store().get(&Id::new("leases", "prod", "daemonplan-controller")).is_some());
    let halves: Vec<_> = (0..2)
        .map(|number| controller(&server, &format!("{QUICK} --shard {number}/2 --identity half-{number}")))
        .collect();
    for half in &halves {
        wait_until_ready(half).await;
    }
    time::sleep(Duration::from_secs(1)).await;
    for half in &halves {
        assert!(page(half, "/metrics").await.1.contains("daemonplan_leader 0"));
    }
    assert!(page(&whole, "/metrics").await.1.contains("daemonplan_leader 1"), "it is not disturbed");
    // Not even if the lease is deleted under it, and others are faster.
    for _ in 0..6 {
        server.store().remove(&Id::new("leases", "prod", "daemonplan-controller"));
        time::sleep(Duration::from_millis(400)).await;
    }
    let leads = async |process: &Process| page(process, "/metrics").await.1.contains("daemonplan_leader 1");
    let (whole_leads, mut half_leads) = (leads(&whole).await, false);
    for half in &halves {
        half_leads |= leads(half).await;
    }
    assert!(!(whole_leads && half_leads), "two numbers of shards lead");
    // It is killed: its lease must expire first.
    whole.kill();
    for agent in &agents {
        roll_out(&mut server.store(), agent, "registry/agent:2");
    }
    settle(&server, LIMIT, everywhere).await;
    // Back again: the halves are shut down and release their leases. A whole one that waits takes over.
    let whole = controller(&server, &format!("{QUICK} --identity whole"));
    time::sleep(Duration::from_millis(500)).await;
    assert!(page(&whole, "/metrics").await.1.contains("daemonplan_leader 0"));
    for half in halves {
        assert!(matches!(half.terminate(Duration::from_secs(10)), Some(Ok(()))));
    }
    for agent in &agents {
        roll_out(&mut server.store(), agent, "registry/agent:3");
    }
    settle(&server, LIMIT, everywhere).await;
    assert!(page(&whole, "/metrics").await.1.contains("daemonplan_leader 1"));
    assert_no_violations(&server);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_tell_how_far_updates_are_and_which_attempts_fail() {
    let (server, _life) = start(6, Pace::default()).await;
    let agent = server.store().create("daemonsets", daemonset("prod", "agent"));
    let process = controller(&server, ALONE);
    settle(&server, LIMIT, everywhere).await;
    let metric = async |name: &str| {
        let (_, text) = page(&process, "/metrics").await;
        let labelled = format!(r#"{name}{{namespace="prod",daemonset="agent"}} "#);
        text.lines().find_map(|line| line.strip_prefix(&labelled)).map(|number| number.parse::<u64>().unwrap())
    };
    assert_eq!(metric("daemonplan_update_nodes_left").await, None);
    assert_eq!(metric("daemonplan_failed_attempts_total").await, None);
    roll_out(&mut server.store(), &agent, "registry/agent:crashes");
    wait_for(&server, "the first new pod", |store| writes(store, "POST", "pods").len() == 7).await;
    time::sleep(Duration::from_millis(300)).await;
    assert_eq!(metric("daemonplan_update_nodes_left").await, Some(5));
    server.store().faults.refused = 1.0;
    roll_out(&mut server.store(), &agent, "registry/agent:2");
    for _ in 0..500 {
        if metric("daemonplan_failed_attempts_total").await.is_some() {
            break;
        }
        time::sleep(Duration::from_millis(10)).await;
    }
    assert!(metric("daemonplan_failed_attempts_total").await > Some(0));
    server.store().faults.refused = 0.0;
    settle(&server, LIMIT, everywhere).await;
    assert_eq!(metric("daemonplan_update_nodes_left").await, None);
}
