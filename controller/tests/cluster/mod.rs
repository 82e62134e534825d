//! A cluster for tests: the API server, and what else moves in a cluster: a scheduler, kubelets and the garbage collectors,
//! none of which knows more than it has to.

#![allow(dead_code, unused_imports)] // the tests, the demo and the soak each use a part
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)] // a test fails by panicking
#![allow(unreachable_pub, missing_debug_implementations)] // no item of a test is reachable

pub mod server;

use std::{
    collections::{HashMap, HashSet},
    time::{Duration, Instant},
};

use clap::Parser;
use daemonplan_controller::{config::Config, controller::Controller};
use serde_json::{Value, json};
use tokio::time;
use tokio_util::sync::CancellationToken;

use server::{Id, Store};
pub use server::{Server, id, node_of, now, owner};

/// How fast the cluster is.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// From being bound until a pod is ready.
    pub start: Duration,
    /// From being asked to go until it is gone.
    pub stop: Duration,
    /// How often everybody looks.
    pub tick: Duration,
    /// How often of a hundred a pod fails instead of becoming ready.
    pub failures: u8,
    /// Whether there are garbage collectors.
    pub collects: bool,
}

impl Default for Pace {
    fn default() -> Self {
        let [start, stop, tick] = [30, 20, 5].map(Duration::from_millis);
        Self { start, stop, tick, failures: 0, collects: true }
    }
}

/// Lets the cluster live as long as the token.
pub fn live(server: &Server, pace: Pace) -> CancellationToken {
    let (end, server) = (CancellationToken::new(), server.clone());
    let ended = end.clone();
    tokio::spawn(async move {
        let mut life = Life::default();
        while !ended.is_cancelled() {
            life.go_on(&mut server.store(), pace);
            time::sleep(pace.tick).await;
        }
    });
    end
}

#[derive(Default)]
struct Life {
    /// Since when a pod is bound, or asked to go.
    since: HashMap<(String, bool), Instant>,
}

impl Life {
    fn go_on(&mut self, store: &mut Store, pace: Pace) {
        let nodes: HashSet<String> = store.all("nodes").into_iter().map(|((.., name), _)| name).collect();
        for (id, pod) in store.all("pods") {
            self.pod(store, pace, &nodes, &id, &pod);
        }
        if pace.collects {
            collect_garbage(store);
        }
        for (id, namespace) in store.all("namespaces") {
            let empty = ["pods", "daemonsets", "controllerrevisions"]
                .iter()
                .all(|plural| store.all(plural).iter().all(|((_, space, _), _)| *space != id.2));
            if namespace["metadata"].get("deletionTimestamp").is_some() && empty {
                store.remove(&id);
            }
        }
    }

    fn pod(&mut self, store: &mut Store, pace: Pace, nodes: &HashSet<String>, id: &Id, pod: &Value) {
        let uid = pod["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
        let goes = pod["metadata"].get("deletionTimestamp").is_some();
        let mut waited = |what| self.since.entry((uid.clone(), what)).or_insert_with(Instant::now).elapsed();
        match pod["spec"]["nodeName"].as_str() {
            // The pod garbage collector.
            Some(node) if !nodes.contains(node) && (pace.collects || goes) => store.remove(id),
            Some(node) if !nodes.contains(node) => {}
            // The kubelet.
            Some(_) if goes => {
                if waited(true) >= pace.stop {
                    store.remove(id);
                }
            }
            Some(_) if pod["status"]["phase"] == "Pending" && waited(false) >= pace.start && crashes(pod) => {
                store.edit(id, |pod| {
                    let waiting = json!({"restartCount": 3, "state": {"waiting": {"reason": "CrashLoopBackOff"}}});
                    pod["status"] = json!({"phase": "Running", "containerStatuses": [waiting]});
                });
            }
            Some(_) if pod["status"]["phase"] == "Pending" && waited(false) >= pace.start => {
                let fails = fastrand::u8(..100) < pace.failures;
                store.edit(id, |pod| pod["status"] = if fails { json!({"phase": "Failed"}) } else { ready(true) });
            }
            Some(_) => {}
            // The scheduler.
            None => {
                if let Some(node) = node_of(pod).filter(|node| nodes.contains(node)) {
                    store.edit(id, |pod| pod["spec"]["nodeName"] = json!(node));
                }
            }
        }
    }
}

/// Whether a pod's image is one that crashes.
fn crashes(pod: &Value) -> bool {
    pod["spec"]["containers"][0]["image"].as_str().is_some_and(|image| image.ends_with(":crashes"))
}

/// A status of a pod that runs.
pub fn ready(ready: bool) -> Value {
    let status = if ready { "True" } else { "False" };
    json!({"phase": "Running", "conditions": [{"type": "Ready", "status": status, "lastTransitionTime": now()}]})
}

/// The garbage collector: what belongs to a DaemonSet that is gone goes; a DaemonSet that leaves its pods behind lets go.
fn collect_garbage(store: &mut Store) {
    let mut owners = HashSet::new();
    for (id, daemonset) in store.all("daemonsets") {
        let uid = daemonset["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
        let goes = daemonset["metadata"].get("deletionTimestamp").is_some();
        if goes && daemonset["metadata"]["finalizers"] == json!(["orphan"]) {
            for (dependent, object) in store.all("pods").into_iter().chain(store.all("controllerrevisions")) {
                if owner(&object).is_some_and(|owner| owner["uid"] == *uid) {
                    store.edit(&dependent, |object| {
                        object["metadata"].as_object_mut().unwrap().remove("ownerReferences");
                    });
                }
            }
            store.edit(&id, |daemonset| daemonset["metadata"]["finalizers"] = json!([]));
        } else {
            owners.insert(uid);
        }
    }
    for (id, object) in store.all("pods").into_iter().chain(store.all("controllerrevisions")) {
        let of_daemonset = owner(&object).filter(|owner| owner["kind"] == "DaemonSet");
        if of_daemonset.is_some_and(|owner| !owners.contains(owner["uid"].as_str().unwrap_or_default())) {
            store.delete(&id);
        }
    }
}

/// A node.
pub fn node(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
        "spec": {}, "status": {"conditions": [{"type": "Ready", "status": "True"}]}})
}

/// A DaemonSet that the API server has filled in.
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

/// Three DaemonSets of three kinds: "agent" goes everywhere, "proxy" to the edge, "surging" updates by surge.
pub const KINDS: [&str; 3] = ["agent", "proxy", "surging"];

/// One of the [`KINDS`], of which so many pods may be unavailable in an update.
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

/// What is wrong with DaemonSets of the [`KINDS`], which tolerate no taint.
pub fn unsettled_of_kinds(store: &Store) -> Option<String> {
    let nodes: HashMap<String, _> = store.all("nodes").into_iter().map(|((.., name), node)| (name, node)).collect();
    unsettled(store, |daemonset, node| {
        let node = &nodes[node];
        let tainted = node["spec"]["taints"].as_array().is_some_and(|taints| !taints.is_empty());
        !tainted && (daemonset.2 != "proxy" || node["metadata"]["labels"]["tier"] == "edge")
    })
}

/// Another template: another image.
pub fn roll_out(store: &mut Store, daemonset: &Id, image: &str) {
    store.edit(daemonset, |daemonset| {
        daemonset["spec"]["template"]["spec"]["containers"][0]["image"] = json!(image);
    });
}

/// An empty cluster with a namespace and so many nodes, that lives.
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

/// DaemonSets as `daemonset` makes them, and their pods and revisions as a controller has left them.
///
/// The pods are as large as real ones, in fields that no planner reads.
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

/// A controller in a process of its own, as it were: it can be killed at any moment.
pub struct Process {
    runtime: Option<tokio::runtime::Runtime>,
    stop: CancellationToken,
    done: std::sync::mpsc::Receiver<anyhow::Result<()>>,
    /// Where its page is.
    pub address: std::net::SocketAddr,
}

/// Starts a controller with these flags.
pub fn controller(server: &Server, flags: &str) -> Process {
    // With RUST_LOG set, a test that fails shows what the controller said.
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
    /// No farewell.
    pub fn kill(mut self) {
        self.runtime.take().unwrap().shutdown_background();
    }

    /// As a signal would: gives what `run` gave, if it ended in time.
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

/// Whether every DaemonSet is where it should be: one ready pod of the newest template on every node that it should be on, none
/// elsewhere, and the status says so. Otherwise, what is wrong.
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
            return Some(format!("{}'s newest revision is not of its template", id.2));
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
                return Some(format!("{} on {node} goes or is not ready", pod_id.2));
            }
            // Either says so, as to Kubernetes.
            let generation = &pod["metadata"]["labels"]["pod-template-generation"];
            let current = &meta["annotations"]["deprecated.daemonset.template.generation"];
            if *hash != newest["metadata"]["labels"]["controller-revision-hash"] && generation != current {
                return Some(format!("{} on {node} is not up to date", pod_id.2));
            }
            if !nodes.contains(&node) || !running.insert(node.clone()) {
                return Some(format!("{} should not be on {node}", pod_id.2));
            }
        }
        if running != nodes {
            return Some(format!("{}: {} of {} nodes", id.2, running.len(), nodes.len()));
        }
        let count = nodes.len();
        for field in ["desiredNumberScheduled", "numberReady", "updatedNumberScheduled", "numberAvailable"] {
            if status[field].as_u64() != Some(count as u64) && !(count == 0 && status[field].is_null()) {
                return Some(format!("{}: {field} is {} and not {count}", id.2, status[field]));
            }
        }
        if status["observedGeneration"] != meta["generation"] {
            return Some(format!("{}: its generation has not been seen", id.2));
        }
    }
    None
}

/// Waits until the condition holds, and stays so for a while in which nothing is written; panics with what is wrong.
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
        assert!(Instant::now() < end + REST * 2, "writes have no end");
        time::sleep(Duration::from_millis(5)).await;
    }
}

/// How often a controller has written to pods, revisions and DaemonSets.
pub fn own_writes(store: &Store) -> usize {
    store.writes.iter().filter(|write| !matches!(&*write.id.0, "leases" | "events")).count()
}

/// What no controller of DaemonSets may do, ever: writes to what it does not own and may not adopt.
pub fn trespasses(store: &Store) -> Vec<String> {
    let mut found = Vec::new();
    for write in &store.writes {
        let is_own = match &*write.id.0 {
            "leases" | "events" => true,
            // Of a DaemonSet itself only the template is written, to roll it back where that is asked for.
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

/// What a page of the controller says, by its path.
pub async fn page(process: &Process, path: &str) -> (u16, String) {
    let client =
        kube::Client::try_from(kube::Config::new(format!("http://{}", process.address).parse().unwrap())).unwrap();
    let request = http::Request::get(path).body(kube::client::Body::empty()).unwrap();
    let response = client.send(request).await.unwrap();
    let code = response.status().as_u16();
    let body = axum::body::to_bytes(axum::body::Body::new(response.into_body()), usize::MAX).await.unwrap();
    (code, String::from_utf8(body.to_vec()).unwrap())
}
