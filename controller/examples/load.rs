//! Measures what a DaemonSet controller costs a real API server; see `measure-load`.
//!
//! `load KUBECONFIG NODES DAEMONSETS SERVER CONTROLLER...` creates nodes and DaemonSets, plays the scheduler and the kubelets,
//! updates all DaemonSets once, and prints the time, the requests of the controllers and, from `/proc` by the processes' numbers,
//! their CPU time and memory, and what the API server spends and sends to all its watches.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)] // a tool of ours fails by panicking

use std::{
    collections::HashSet,
    sync::Arc,
    time::{Duration, Instant},
};

use daemonplan::model::{Pod, PodPhase, Text};
use daemonplan_controller::watched;
use futures::StreamExt;
use http::{Method, Request};
use kube::{
    Client,
    config::{KubeConfigOptions, Kubeconfig},
    runtime::{WatchStreamExt, watcher},
};
use serde::de::IgnoredAny;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

/// Requests in flight, of all kubelets.
const CONCURRENT: usize = 100;

const DAEMONSETS: &str = "/apis/apps/v1/namespaces/default/daemonsets";

#[tokio::main]
async fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [file, nodes, daemonsets, server, controllers @ ..] = args.as_slice() else {
        eprintln!("usage: load KUBECONFIG NODES DAEMONSETS SERVER CONTROLLER...");
        std::process::exit(2);
    };
    let config = Kubeconfig::read_from(file).unwrap();
    let config = kube::Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await.unwrap();
    let hollow = Arc::new(Hollow { client: Client::try_from(config).unwrap(), slots: Semaphore::new(CONCURRENT) });
    let (nodes, daemonsets): (usize, usize) = (nodes.parse().unwrap(), daemonsets.parse().unwrap());
    let created = (0..nodes).map(|number| hollow.create_node(format!("node-{number:04}")));
    futures::future::join_all(created).await;
    tokio::spawn({
        let hollow = Arc::clone(&hollow);
        async move { hollow.run_pods().await }
    });
    let (server, controllers) = (server.clone(), controllers.to_vec());
    let load = Load { client: hollow.client.clone(), nodes, daemonsets, server, controllers };
    let columns = ["time", "statuses", "GET pod", "ended", "CPU", "peak", "API CPU", "sent"];
    println!("{:24}{}", "", columns.map(|column| format!("{column:>10}")).concat());
    load.phase("create", load.create()).await;
    load.phase("update, 10 % at a time", load.update()).await;
}

/// The DaemonSets and the controller under measurement.
struct Load {
    client: Client,
    nodes: usize,
    daemonsets: usize,
    /// The process of the API server.
    server: String,
    /// The processes of the controllers.
    controllers: Vec<String>,
}

/// Requests and time since the start.
#[derive(Clone, Copy, Debug)]
struct Reading {
    at: Instant,
    statuses: f64,
    gets: f64,
    /// Watches that the API server ended because their reader was too slow, those of the played kubelets among them.
    ended: f64,
    cpu: f64,
    /// CPU time of the API server.
    server_cpu: f64,
    /// Megabytes of events that the API server sent to watches, those of the played kubelets among them.
    sent: f64,
}

impl Load {
    async fn phase(&self, name: &str, begin: impl Future<Output = ()>) {
        let before = self.reading().await;
        begin.await;
        while !self.is_done().await {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        let took = before.at.elapsed().as_secs_f64();
        tokio::time::sleep(Duration::from_secs(5)).await; // late writes count
        let after = self.reading().await;
        let [statuses, gets] = [after.statuses - before.statuses, after.gets - before.gets];
        let (ended, sent) = (after.ended - before.ended, after.sent - before.sent);
        let [cpu, server_cpu] = [after.cpu - before.cpu, after.server_cpu - before.server_cpu];
        let peak = self.peak();
        println!(
            "{name:24}{took:>8.1} s{statuses:>10}{gets:>10}{ended:>10}{cpu:>8.1} s{peak:>7.1} MB{server_cpu:>8.1} s{sent:>7.0} MB"
        );
    }

    fn names(&self) -> impl Iterator<Item = String> {
        (0..self.daemonsets).map(|number| format!("agent-{number}"))
    }

    async fn create(&self) {
        for name in self.names() {
            let daemonset = json!({"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": name, "namespace": "default"},
                "spec": {"selector": {"matchLabels": {"app": name}},
                    "updateStrategy": {"rollingUpdate": {"maxUnavailable": "10%"}},
                    "template": {"metadata": {"labels": {"app": name}}, "spec": {"containers": [{"name": "main",
                        "image": "registry.example/agent:1", "args": ["--config=/etc/agent/config.yaml"],
                        "env": [{"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}],
                        "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"memory": "128Mi"}}}],
                        "tolerations": [{"operator": "Exists"}]}}}});
            send(&self.client, Method::POST, DAEMONSETS.to_owned(), "application/json", &daemonset).await;
        }
    }

    async fn update(&self) {
        for name in self.names() {
            let patch = json!({"spec": {"template": {"spec": {"containers": [{"name": "main", "image": "registry.example/agent:2"}]}}}});
            let daemonset = format!("{DAEMONSETS}/{name}");
            send(&self.client, Method::PATCH, daemonset, "application/strategic-merge-patch+json", &patch).await;
        }
    }

    /// Whether the status of every DaemonSet says that it is up to date and available on every node.
    async fn is_done(&self) -> bool {
        let list: Value = self.client.request(Request::get(DAEMONSETS).body(Vec::new()).unwrap()).await.unwrap();
        let all = list["items"].as_array().unwrap();
        all.len() == self.daemonsets
            && all.iter().all(|daemonset| {
                let status = &daemonset["status"];
                let full = ["updatedNumberScheduled", "numberAvailable", "currentNumberScheduled"];
                status["observedGeneration"] == daemonset["metadata"]["generation"]
                    && full.iter().all(|count| status[count] == self.nodes)
            })
    }

    async fn reading(&self) -> Reading {
        let metrics = self.client.request_text(Request::get("/metrics").body(Vec::new()).unwrap()).await.unwrap();
        let total = |metric: &str, wanted: &[&str]| -> f64 {
            let lines = metrics.lines().filter(|line| line.starts_with(metric));
            let lines = lines.filter(|line| wanted.iter().all(|label| line.contains(label)));
            lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
        };
        let requests = |wanted: &[&str]| total("apiserver_request_total", wanted);
        Reading {
            at: Instant::now(),
            statuses: requests(&[r#"resource="daemonsets""#, r#"subresource="status""#, r#"verb="P"#]),
            gets: requests(&[r#"resource="pods""#, r#"scope="resource""#, r#"verb="GET""#]),
            ended: total("apiserver_terminated_watchers_total", &[]),
            cpu: self.controllers.iter().map(|pid| cpu_time(pid)).sum(),
            server_cpu: cpu_time(&self.server),
            sent: total("apiserver_watch_events_sizes_sum", &[]) / 1e6,
        }
    }

    /// The largest resident set of a controller, in megabytes.
    fn peak(&self) -> f64 {
        let peaks = self.controllers.iter().map(|pid| {
            let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
            let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
            line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() / 1000.0
        });
        peaks.fold(0.0, f64::max)
    }
}

/// User and system time of a process, in seconds.
fn cpu_time(pid: &str) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: f64 = fields.get(11..13).unwrap().iter().map(|field| field.parse::<f64>().unwrap()).sum();
    ticks / 100.0
}

/// All nodes of the cluster.
struct Hollow {
    client: Client,
    slots: Semaphore,
}

/// What is done about a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Step {
    Bind,
    Start,
    Remove,
}

impl Hollow {
    async fn create_node(&self, name: String) {
        let node = json!({"apiVersion": "v1", "kind": "Node",
            "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux"}}});
        self.send(Method::POST, "/api/v1/nodes".to_owned(), "application/json", &node).await;
        let status = json!({"status": {"conditions": [{"type": "Ready", "status": "True"}]}});
        self.send(Method::PATCH, format!("/api/v1/nodes/{name}/status"), "application/merge-patch+json", &status).await;
    }

    async fn run_pods(self: &Arc<Self>) {
        let pods = watched::api::<Pod>(&self.client, None);
        let mut events = std::pin::pin!(watcher(pods, watcher::Config::default()).default_backoff());
        let mut done: HashSet<(Text, Step)> = HashSet::new();
        while let Some(event) = events.next().await {
            let watched = match event {
                Ok(watcher::Event::Apply(watched) | watcher::Event::InitApply(watched)) => watched,
                Ok(_) => continue,
                Err(error) => {
                    eprintln!("watch failed: {error}");
                    continue;
                }
            };
            let Ok(pod) = watched.object else { continue };
            let Some(step) = next_step(&pod) else { continue };
            if done.insert((pod.uid.clone(), step)) {
                let hollow = Arc::clone(self);
                tokio::spawn(async move { hollow.carry_out(step, &pod).await });
            }
        }
    }

    async fn carry_out(&self, step: Step, pod: &Pod) {
        let path = format!("/api/v1/namespaces/{}/pods/{}", pod.namespace, pod.name);
        match step {
            Step::Bind => {
                let node = pod.node.name();
                let binding = json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": pod.name, "namespace": pod.namespace},
                    "target": {"apiVersion": "v1", "kind": "Node", "name": node}});
                self.send(Method::POST, path + "/binding", "application/json", &binding).await;
            }
            Step::Start => {
                let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
                let condition = |kind| json!({"type": kind, "status": "True", "lastTransitionTime": now});
                let conditions = ["Initialized", "Ready", "ContainersReady"].map(condition);
                let status = json!({"status": {"phase": "Running", "startTime": now, "podIP": "10.0.0.1",
                    "conditions": conditions}});
                self.send(Method::PATCH, path + "/status", "application/strategic-merge-patch+json", &status).await;
            }
            Step::Remove => {
                let options = json!({"apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0,
                    "preconditions": {"uid": pod.uid}});
                self.send(Method::DELETE, path, "application/json", &options).await;
            }
        }
    }

    async fn send(&self, method: Method, path: String, media_type: &str, body: &Value) {
        let _slot = self.slots.acquire().await.unwrap();
        send(&self.client, method, path, media_type, body).await;
    }
}

async fn send(client: &Client, method: Method, path: String, media_type: &str, body: &Value) {
    let request = Request::builder().method(method).uri(&path).header(http::header::CONTENT_TYPE, media_type);
    let request = request.body(body.to_string().into_bytes()).unwrap();
    if let Err(error) = client.request::<IgnoredAny>(request).await {
        eprintln!("{path}: {error}");
    }
}

/// Returns what the scheduler or the pod's kubelet does next.
fn next_step(pod: &Pod) -> Option<Step> {
    match (pod.is_being_deleted(), pod.node.is_bound(), pod.phase) {
        (true, true, _) => Some(Step::Remove),
        (false, false, _) => pod.node.name().map(|_| Step::Bind),
        (false, true, PodPhase::Pending) => Some(Step::Start),
        _ => None,
    }
}
