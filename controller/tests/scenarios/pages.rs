//! What the controller tells people.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_pages_and_explain_give_reasons() {
    let (server, _life) = start(3, Pace::default()).await;
    {
        let mut store = server.store();
        let mut agent = daemonset("prod", "agent");
        agent["spec"]["template"]["spec"]["nodeSelector"] = json!({"tier": "<edge>"});
        store.create("daemonsets", agent);
        store.edit(&Id::new("nodes", "", "node-0001"), |node| node["metadata"]["labels"]["tier"] = json!("<edge>"));
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
    let agent = Id::new("daemonsets", "prod", "agent");
    let (pod, _) = server.store().all("pods").pop().unwrap();
    server
        .store()
        .edit(&Id::new("nodes", "", "node-0002"), |node| node["metadata"]["labels"]["tier"] = json!("<edge>"));
    settle(&server, LIMIT, |store| unsettled(store, |_, node| node != "node-0000")).await;
    server.store().edit(&pod, |pod| pod["status"] = running(false));
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
        store.edit(&Id::new("nodes", "", "node-0000"), |node| {
            node["status"]["allocatable"] = json!({"cpu": "1", "pods": "9"});
        });
        let requests = |cpu: &str| json!({"requests": {"cpu": cpu}});
        let mut agent = daemonset("prod", "agent");
        agent["spec"]["template"]["spec"]["containers"][0]["resources"] = requests("500m");
        store.create("daemonsets", agent);
        store.create("namespaces", namespace("shop"));
        let web = store.create("replicasets", json!({"metadata": {"namespace": "shop", "name": "web"}}));
        let uid = store.get(&web).unwrap()["metadata"]["uid"].clone();
        let owner =
            json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "uid": uid, "controller": true});
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
