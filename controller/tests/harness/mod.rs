//! What the tests, the demo and the soak share: clusters, controllers in them, and what a controller must not do.

#![allow(dead_code)] // each uses a part
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)] // a test fails by panicking
#![allow(unreachable_pub, missing_debug_implementations)] // tests have no public API

use std::{collections::HashMap, net::SocketAddr, sync::mpsc, time::Duration};

use clap::Parser;
use daemonplan_controller::{config::Config, controller::Controller};
use daemonplan_testing::{
    Id, Pace, Server, Store, Workloads,
    daemonsets::{one_pod_on_each_node, unsettled},
    objects::{controller_of, daemonset, namespace, node, running},
};
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};
use tokio_util::sync::CancellationToken;

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
    let nodes: HashMap<String, _> = store.all("nodes").into_iter().map(|(id, node)| (id.name, node)).collect();
    unsettled(store, |daemonset, node| {
        let node = &nodes[node];
        let tainted = node["spec"]["taints"].as_array().is_some_and(|taints| !taints.is_empty());
        !tainted && (daemonset.name != "proxy" || node["metadata"]["labels"]["tier"] == "edge")
    })
}

/// Starts a cluster with the namespace `prod` and `nodes` nodes, in which pods are scheduled, started and collected.
pub async fn cluster(nodes: usize, pace: Pace) -> (Server, Workloads) {
    let server = Server::start().await.unwrap();
    {
        let mut store = server.store();
        store.invariants.push(one_pod_on_each_node);
        store.create("namespaces", namespace("prod"));
        for number in 0..nodes {
            store.create("nodes", node(&format!("node-{number:04}")));
        }
    }
    let workloads = Workloads::start(&server, pace);
    (server, workloads)
}

/// Creates DaemonSets with the pods and revisions that a controller would have created.
///
/// Fields that the planner ignores make the pods as large as real ones.
pub fn settled_daemonsets(store: &mut Store, count: usize) {
    let managed = json!([{"manager": "kube-controller-manager", "operation": "Update", "fieldsV1": {"f:metadata": "x".repeat(1500)}},
        {"manager": "kubelet", "operation": "Update", "subresource": "status", "fieldsV1": {"f:status": "x".repeat(2500)}}]);
    let nodes: Vec<String> = store.all("nodes").into_iter().map(|(id, _)| id.name).collect();
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
                    "status": running(true)}),
            );
        }
    }
}

/// A controller on its own runtime, which can be killed at any moment like a process.
pub struct Process {
    runtime: Option<Runtime>,
    stop: CancellationToken,
    done: mpsc::Receiver<anyhow::Result<()>>,
    /// The address of its web page.
    pub address: SocketAddr,
}

/// Starts a controller with these flags.
pub fn controller(server: &Server, flags: &str) -> Process {
    // With RUST_LOG set, a failing test shows the controller's log.
    if let Ok(filter) = tracing_subscriber::EnvFilter::try_from_default_env() {
        drop(tracing_subscriber::fmt().with_env_filter(filter).with_test_writer().try_init());
    }
    let flags = format!("controller --listen 127.0.0.1:0 {flags}");
    let config = Config::try_parse_from(flags.split_whitespace()).unwrap();
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (stop, server) = (CancellationToken::new(), server.clone());
    let (address, known) = mpsc::channel();
    let (ended, done) = mpsc::channel();
    let token = stop.clone();
    runtime.spawn(async move {
        let controller = Controller::new(config, server.client().unwrap()).await.unwrap();
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

/// Waits until `wrong` returns `None` for a while without writes; panics with its reason after `limit`.
pub async fn settle(server: &Server, limit: Duration, wrong: impl Fn(&Store) -> Option<String>) {
    const REST: Duration = Duration::from_millis(400);
    server.settle(limit, REST, is_own, wrong).await.unwrap();
}

/// Whether an object is one that the controller is there for.
fn is_own(id: &Id) -> bool {
    !matches!(&*id.resource, "leases" | "events")
}

/// Returns the number of writes to pods, revisions and DaemonSets.
pub fn own_writes(store: &Store) -> usize {
    store.writes.iter().filter(|write| is_own(&write.id)).count()
}

/// Returns the writes that a DaemonSet controller must never make: to objects that it neither owns nor may adopt.
pub fn forbidden_writes(store: &Store) -> Vec<String> {
    let mut found = Vec::new();
    for write in &store.writes {
        let is_allowed = match &*write.id.resource {
            "leases" | "events" => true,
            // Only a rollback writes to a DaemonSet itself, where its policy asks for it.
            "daemonsets" => {
                let rolls_back = write.object["metadata"]["annotations"]["daemonplan/on-failure"] == "roll-back";
                write.verb == "PATCH" && (write.subresource.as_deref() == Some("status") || rolls_back)
            }
            "pods" | "controllerrevisions" => match controller_of(&write.object) {
                Some(owner) => owner["kind"] == "DaemonSet",
                None => write.verb == "PATCH", // an adoption
            },
            _ => false,
        };
        if !is_allowed && write.code < 300 {
            found.push(format!("{} {}", write.verb, write.id));
        }
    }
    found
}

/// Returns a client for the pages of a controller, which retries nothing.
pub fn client(process: &Process) -> kube::Client {
    let mut config = kube::Config::new(format!("http://{}", process.address).parse().unwrap());
    config.default_retry = false;
    kube::Client::try_from(config).unwrap()
}

/// Requests a page of the controller; returns its status and body.
pub async fn page(process: &Process, path: &str) -> (u16, String) {
    let client = client(process);
    let request = http::Request::get(path).body(kube::client::Body::empty()).unwrap();
    let response = client.send(request).await.unwrap();
    let code = response.status().as_u16();
    let body = axum::body::to_bytes(axum::body::Body::new(response.into_body()), usize::MAX).await.unwrap();
    (code, String::from_utf8(body.to_vec()).unwrap())
}
