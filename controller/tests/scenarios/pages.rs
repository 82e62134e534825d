//! What the controller tells people.

use futures::{AsyncBufReadExt, StreamExt, TryStreamExt, stream::BoxStream};

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
    assert!(html.contains("Forecast") && html.contains("<polygon class=\"old\""), "{html}");
    assert!(html.contains("Not known: whether new pods fit on their nodes"), "{html}");
}

/// Requests a page as a stream of events; returns the status and the data of the events.
async fn follow(process: &Process, path: &str) -> (u16, BoxStream<'static, String>) {
    let client = harness::client(process);
    let request = http::Request::get(path).header("accept", "text/event-stream");
    let response = client.send(request.body(kube::client::Body::empty()).unwrap()).await.unwrap();
    let code = response.status().as_u16();
    let bytes = axum::body::Body::new(response.into_body()).into_data_stream().map_err(std::io::Error::other);
    let lines = bytes.into_async_read().lines().map(Result::unwrap);
    let data = lines.filter_map(|line| async move { line.strip_prefix("data: ").map(str::to_owned) });
    (code, data.boxed())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_open_page_is_told_what_changes() {
    let (server, _life) = start(2, Pace::default()).await;
    let agent = server.store().create("daemonsets", daemonset("prod", "agent"));
    let process = controller(&server, ALONE);
    settle(&server, LIMIT, everywhere).await;
    let (code, mut all) = follow(&process, "/").await;
    let (_, mut one) = follow(&process, "/daemonsets/prod/agent").await;
    assert!(code == 200 && all.next().await.unwrap().contains("1 DaemonSet<"));
    assert!(one.next().await.unwrap().contains("2 nodes"), "first the page as it is");
    server.store().create("daemonsets", daemonset("prod", "proxy"));
    while !all.next().await.unwrap().contains("/daemonsets/prod/proxy") {}
    // Nothing is sent that has not changed.
    let silent = time::timeout(Duration::from_millis(1500), one.next()).await;
    assert!(silent.is_err(), "{silent:?}");
    server.store().remove(&agent);
    while !one.next().await.unwrap().contains("not found") {}
    assert_eq!(one.next().await, None);
    assert_eq!(follow(&process, "/daemonsets/prod/none").await.0, 404);
    // There is an end to how many are kept up to date; a page alone is always to be had.
    let mut open = Vec::new();
    while let (200, stream) = follow(&process, "/").await {
        open.push(stream);
        assert!(open.len() < 200);
    }
    assert!(open.len() >= 60, "{}", open.len());
    assert_eq!(page(&process, "/").await.0, 200);
    // Closed pages make room for others.
    drop(open);
    let again = async {
        while follow(&process, "/").await.0 != 200 {
            time::sleep(Duration::from_millis(50)).await;
        }
    };
    time::timeout(LIMIT, again).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn daemonsets_are_found_by_name_and_state() {
    let (server, _life) = start(2, Pace::default()).await;
    for number in 0..20 {
        server.store().create("daemonsets", daemonset("prod", &format!("agent-{number}")));
    }
    let process = controller(&server, ALONE);
    settle(&server, LIMIT, everywhere).await;
    roll_out(&mut server.store(), &Id::new("daemonsets", "prod", "agent-7"), "registry/agent:crashes");
    let shown = async |query: &str| page(&process, query).await.1.matches("href=\"/daemonsets/").count();
    let rolls_out = async {
        while shown("/?state=rolling+out").await != 1 {
            time::sleep(Duration::from_millis(50)).await;
        }
    };
    time::timeout(LIMIT, rolls_out).await.unwrap();
    for (query, count) in [
        ("/", 20),
        ("/?q=", 20),
        ("/?q=AGENT-1", 11),
        ("/?q=prod+agent-1", 11),
        ("/?q=agent-1+-12", 1),
        ("/?q=none", 0),
        ("/?state=rolling+out", 1),
        ("/?q=agent-1&state=rolling+out", 0),
        ("/?state=up+to+date", 19),
    ] {
        assert_eq!(shown(query).await, count, "{query}");
    }
    let (_, html) = page(&process, "/?q=%3Cscript%3E&state=none").await;
    assert!(html.contains("0 of 20 DaemonSets") && html.contains("value=\"&lt;script&gt;\""), "{html}");
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
    let (_, html) = page(&process, "/daemonsets/prod/agent?forecast=true").await;
    assert!(html.contains("Stuck after 0s") && !html.contains("whether new pods fit"), "{html}");
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
