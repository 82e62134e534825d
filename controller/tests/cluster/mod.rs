//! An in-memory cluster for tests: API server, scheduler, kubelets and garbage collectors.

#![allow(dead_code, unused_imports)] // the tests, the demo and the soak each use a part
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)] // a test fails by panicking
#![allow(unreachable_pub, missing_debug_implementations)] // tests have no public API

mod garbage;
mod reads;
pub mod server;
pub mod store;
mod workloads;
mod writes;

use std::{
    collections::{HashMap, HashSet},
    time::{Duration, Instant},
};

use clap::Parser;
use daemonplan_controller::{config::Config, controller::Controller};
use serde_json::{Value, json};
use tokio::time;
use tokio_util::sync::CancellationToken;

use store::{Id, Store};

pub use server::Server;
pub use store::{id, node_of, now, owner};
pub use workloads::{Pace, live, ready};

/// Returns a Ready node.
pub fn node(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
        "spec": {}, "status": {"conditions": [{"type": "Ready", "status": "True"}]}})
}

/// Returns a DaemonSet with the API server's defaults.
pub fn daemonset(namespace: &str, name: &str) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "DaemonSet",
        "metadata": {"namespace": namespace, "name": name, "labels": {"app": name},
            "annotations": {"deprecated.daemonset.template.generation": "1"}},
        "spec": {
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "main", "image": "registry/agent:1", "resources": {}}], "dnsPolicy": "ClusterFirst",
                    "restartPolicy": "Always", "securityContext": {}, "terminationGracePeriodSeconds": 30}},
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0}},
            "revisionHistoryLimit": 10},
        "status": {"currentNumberScheduled": 0, "numberMisscheduled": 0, "desiredNumberScheduled": 0, "numberReady": 0}})
}

/// Three kinds of DaemonSets: "agent" runs on all nodes, "proxy" on edge nodes, "surging" updates by surge.
pub const KINDS: [&str; 3] = ["agent", "proxy", "surging"];

/// Returns a DaemonSet of one of the [`KINDS`] with this `maxUnavailable`.
pub fn daemonset_of_kind(kind: &str, max_unavailable: &str) -> Value {
    let mut daemonset = daemonset("prod", kind);
    daemonset["spec"]["updateStrategy"]["rollingUpdate"] = match kind {
        "surging" => json!({"maxUnavailable": 0, "maxSurge": "20%"}),
        _ => json!({"maxUnavailable": max_unavailable, "maxSurge": 0}),
    };
    if kind == "proxy" {
        daemonset["spec"]["template"]["spec"]["nodeSelector"] = json!({"tier": "edge"});
    }
    daemonset
}

/// Returns why the DaemonSets of the [`KINDS`], which tolerate no taint, are not settled.
pub fn unsettled_of_kinds(store: &Store) -> Option<String> {
    let nodes: HashMap<String, _> = store.all("nodes").into_iter().map(|((.., name), node)| (name, node)).collect();
    unsettled(store, |daemonset, node| {
        let node = &nodes[node];
        let tainted = node["spec"]["taints"].as_array().is_some_and(|taints| !taints.is_empty());
        !tainted && (daemonset.2 != "proxy" || node["metadata"]["labels"]["tier"] == "edge")
    })
}

/// Starts a rollout by setting another image.
pub fn roll_out(store: &mut Store, daemonset: &Id, image: &str) {
    store.edit(daemonset, |daemonset| {
        daemonset["spec"]["template"]["spec"]["containers"][0]["image"] = json!(image);
    });
}

/// Starts a cluster with the namespace `prod` and `nodes` nodes, whose kubelets and controllers run.
pub async fn cluster(nodes: usize, pace: Pace) -> (Server, CancellationToken) {
    let server = Server::start(1).await;
    {
        let mut store = server.store();
        store.create("namespaces", json!({"metadata": {"name": "prod"}, "status": {"phase": "Active"}}));
        for number in 0..nodes {
            store.create("nodes", node(&format!("node-{number:04}")));
        }
    }
    let life = live(&server, pace);
    (server, life)
}

/// Creates DaemonSets with the pods and revisions that a controller would have created.
///
/// Fields that the planner ignores make the pods as large as real ones.
pub fn settled_daemonsets(store: &mut Store, count: usize) {
    let managed = json!([{"manager": "kube-controller-manager", "operation": "Update", "fieldsV1": {"f:metadata": "x".repeat(1500)}},
        {"manager": "kubelet", "operation": "Update", "subresource": "status", "fieldsV1": {"f:status": "x".repeat(2500)}}]);
    let nodes: Vec<String> = store.all("nodes").into_iter().map(|((.., name), _)| name).collect();
    for number in 0..count {
        let name = format!("agent-{number}");
        let mut daemonset = daemonset("prod", &name);
        let of = nodes.len();
        daemonset["status"] = json!({"currentNumberScheduled": of, "numberMisscheduled": 0, "desiredNumberScheduled": of,
            "numberReady": of, "observedGeneration": 1, "updatedNumberScheduled": of, "numberAvailable": of});
        let mut template = daemonset["spec"]["template"].clone();
        template["$patch"] = json!("replace");
        let id = store.create("daemonsets", daemonset);
        let owner = json!([{"apiVersion": "apps/v1", "kind": "DaemonSet", "name": name, "controller": true,
            "blockOwnerDeletion": true, "uid": store.get(&id).unwrap()["metadata"]["uid"]}]);
        let labels = json!({"app": name, "controller-revision-hash": "6f4c8d7b9", "pod-template-generation": "1"});
        store.create(
            "controllerrevisions",
            json!({"metadata": {"namespace": "prod", "name": format!("{name}-6f4c8d7b9"), "labels": labels, "ownerReferences": owner},
                "revision": 1, "data": {"spec": {"template": template}}}),
        );
        for node in &nodes {
            let affinity = json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms":
                [{"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]}]}}});
            store.create(
                "pods",
                json!({"metadata": {"namespace": "prod", "name": format!("{name}-{node}"), "labels": labels, "ownerReferences": owner, "managedFields": managed},
                    "spec": {"nodeName": node, "affinity": affinity,
                        "containers": [{"name": "main", "image": "registry/agent:1", "resources": {}}]},
                    "status": ready(true)}),
            );
        }
    }
}

/// A controller on its own runtime, which can be killed at any moment like a process.
pub struct Process {
    runtime: Option<tokio::runtime::Runtime>,
    stop: CancellationToken,
    done: std::sync::mpsc::Receiver<anyhow::Result<()>>,
    /// The address of its web page.
    pub address: std::net::SocketAddr,
}

/// Starts a controller with these flags.
pub fn controller(server: &Server, flags: &str) -> Process {
    // With RUST_LOG set, a failing test shows the controller's log.
    if let Ok(filter) = tracing_subscriber::EnvFilter::try_from_default_env() {
        drop(tracing_subscriber::fmt().with_env_filter(filter).with_test_writer().try_init());
    }
    let flags = format!("controller --listen 127.0.0.1:0 {flags}");
    let config = Config::try_parse_from(flags.split_whitespace()).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (stop, server) = (CancellationToken::new(), server.clone());
    let (address, known) = std::sync::mpsc::channel();
    let (ended, done) = std::sync::mpsc::channel();
    let token = stop.clone();
    runtime.spawn(async move {
        let controller = Controller::new(config, server.client()).await.unwrap();
        address.send(controller.address().unwrap()).unwrap();
        drop(ended.send(controller.run(token).await));
    });
    let address = known.recv_timeout(Duration::from_secs(10)).unwrap();
    Process { runtime: Some(runtime), stop, done, address }
}

impl Process {
    /// Kills the controller without a shutdown.
    pub fn kill(mut self) {
        self.runtime.take().unwrap().shutdown_background();
    }

    /// Shuts the controller down as a signal would. Returns the outcome of `run`, if it ended in time.
    pub fn terminate(mut self, limit: Duration) -> Option<anyhow::Result<()>> {
        self.stop.cancel();
        let outcome = self.done.recv_timeout(limit).ok();
        self.runtime.take().unwrap().shutdown_background();
        outcome
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Returns why the cluster is not settled, or `None`.
///
/// A settled DaemonSet has one ready pod of the newest template on each wanted node, none elsewhere, and a matching
/// status.
pub fn unsettled(store: &Store, wanted: impl Fn(&Id, &str) -> bool) -> Option<String> {
    for (id, daemonset) in store.all("daemonsets") {
        let (meta, status) = (&daemonset["metadata"], &daemonset["status"]);
        if meta.get("deletionTimestamp").is_some() {
            return Some(format!("{} is being deleted", id.2));
        }
        let nodes: HashSet<String> =
            store.all("nodes").into_iter().map(|((.., name), _)| name).filter(|node| wanted(&id, node)).collect();
        let own = |object: &Value| owner(object).is_some_and(|owner| owner["uid"] == meta["uid"]);
        let revisions = store.all("controllerrevisions");
        let newest = revisions.iter().filter(|(_, one)| own(one)).max_by_key(|(_, one)| one["revision"].as_i64());
        let Some((_, newest)) = newest else { return Some(format!("{} has no revision", id.2)) };
        let template = &newest["data"]["spec"]["template"]["spec"];
        if *template != daemonset["spec"]["template"]["spec"] {
            return Some(format!("{}: the newest revision has another template", id.2));
        }
        let mut running = HashSet::new();
        for (pod_id, pod) in store.all("pods") {
            if !own(&pod) {
                continue;
            }
            let node = node_of(&pod).unwrap_or_default();
            let hash = &pod["metadata"]["labels"]["controller-revision-hash"];
            let is_ready = pod["status"]["conditions"][0]["status"] == "True";
            if pod["metadata"].get("deletionTimestamp").is_some() || !is_ready {
                return Some(format!("{} on {node} is being deleted or not ready", pod_id.2));
            }
            // As in Kubernetes, either label makes a pod updated.
            let generation = &pod["metadata"]["labels"]["pod-template-generation"];
            let current = &meta["annotations"]["deprecated.daemonset.template.generation"];
            if *hash != newest["metadata"]["labels"]["controller-revision-hash"] && generation != current {
                return Some(format!("{} on {node} is outdated", pod_id.2));
            }
            if !nodes.contains(&node) || !running.insert(node.clone()) {
                return Some(format!("{} should not be on {node}", pod_id.2));
            }
        }
        if running != nodes {
            return Some(format!("{}: runs on {} of {} nodes", id.2, running.len(), nodes.len()));
        }
        let count = nodes.len();
        for field in ["desiredNumberScheduled", "numberReady", "updatedNumberScheduled", "numberAvailable"] {
            if status[field].as_u64() != Some(count as u64) && !(count == 0 && status[field].is_null()) {
                return Some(format!("{}: {field} is {}, expected {count}", id.2, status[field]));
            }
        }
        if status["observedGeneration"] != meta["generation"] {
            return Some(format!("{}: generation not observed", id.2));
        }
    }
    None
}

/// Waits until `wrong` returns `None` for a while without writes; panics with its reason after `limit`.
pub async fn settle(server: &Server, limit: Duration, wrong: impl Fn(&Store) -> Option<String>) {
    const REST: Duration = Duration::from_millis(400);
    let end = Instant::now() + limit;
    let mut rest = None;
    loop {
        let (state, writes) = {
            let store = server.store();
            (wrong(&store), own_writes(&store))
        };
        match (state, rest) {
            (None, Some((since, before))) if before == writes => {
                if Instant::elapsed(&since) >= REST {
                    return;
                }
            }
            (None, _) => rest = Some((Instant::now(), writes)),
            (Some(wrong), _) => {
                rest = None;
                assert!(Instant::now() < end, "not settled in {limit:?}: {wrong}");
            }
        }
        assert!(Instant::now() < end + REST * 2, "writes never stop");
        time::sleep(Duration::from_millis(5)).await;
    }
}

/// Returns the number of writes to pods, revisions and DaemonSets.
pub fn own_writes(store: &Store) -> usize {
    store.writes.iter().filter(|write| !matches!(&*write.id.0, "leases" | "events")).count()
}

/// Returns the writes that a DaemonSet controller must never make: to objects that it neither owns nor may adopt.
pub fn forbidden_writes(store: &Store) -> Vec<String> {
    let mut found = Vec::new();
    for write in &store.writes {
        let is_own = match &*write.id.0 {
            "leases" | "events" => true,
            // Only a rollback writes to a DaemonSet itself, where its policy asks for it.
            "daemonsets" => {
                let rolls_back = write.object["metadata"]["annotations"]["daemonplan/on-failure"] == "roll-back";
                write.verb == "PATCH" && (write.status || rolls_back)
            }
            "pods" | "controllerrevisions" => match owner(&write.object) {
                Some(owner) => owner["kind"] == "DaemonSet",
                None => write.verb == "PATCH", // an adoption
            },
            _ => false,
        };
        if !is_own && write.code < 300 {
            found.push(format!("{} {:?}", write.verb, write.id));
        }
    }
    found
}

/// Requests a page of the controller; returns its status and body.
pub async fn page(process: &Process, path: &str) -> (u16, String) {
    let client =
        kube::Client::try_from(kube::Config::new(format!("http://{}", process.address).parse().unwrap())).unwrap();
    let request = http::Request::get(path).body(kube::client::Body::empty()).unwrap();
    let response = client.send(request).await.unwrap();
    let code = response.status().as_u16();
    let body = axum::body::to_bytes(axum::body::Body::new(response.into_body()), usize::MAX).await.unwrap();
    (code, String::from_utf8(body.to_vec()).unwrap())
}
