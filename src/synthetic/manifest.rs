//! Writes objects as `kubectl get -o json` does, with the fields that planning does not need.

use std::{io, sync::Arc};

use serde::Serialize;
use serde_json::{Serializer, Value, json, ser::PrettyFormatter};

use crate::model::{Node, Pod, PodPhase, PodSpec, Readiness};
use crate::synthetic::{SyntheticCluster, now};

impl SyntheticCluster {
    /// Writes the output of `kubectl get daemonsets,nodes,pods,namespaces,controllerrevisions -A -o json`.
    ///
    /// Pods and nodes are complete, with volumes, conditions and images. Each has about 6 KB.
    ///
    /// # Errors
    /// If writing to `out` fails.
    pub fn write_json(&self, mut out: impl io::Write) -> io::Result<()> {
        out.write_all(b"{\n    \"apiVersion\": \"v1\",\n    \"items\": [")?;
        let mut separator = "\n";
        let mut item = |value: &Value| {
            let mut text = Vec::new();
            value.serialize(&mut Serializer::with_formatter(&mut text, PrettyFormatter::with_indent(b"    ")))?;
            out.write_all(separator.as_bytes())?;
            separator = ",\n";
            // Items are indented two levels more than a document.
            for (at, line) in text.split(|byte| *byte == b'\n').enumerate() {
                out.write_all(if at == 0 { b"        " } else { b"\n        " })?;
                out.write_all(line)?;
            }
            io::Result::Ok(())
        };
        for namespace in &self.namespaces {
            item(&json!(namespace))?;
        }
        for node in &self.nodes {
            item(&complete_node(node))?;
        }
        for daemonset in &self.daemonsets {
            item(&json!(daemonset))?;
        }
        for revision in &self.revisions {
            item(&json!(revision))?;
        }
        for pod in &self.pods {
            item(&complete_pod(pod))?;
        }
        out.write_all(
            b"\n    ],\n    \"kind\": \"List\",\n    \"metadata\": {\n        \"resourceVersion\": \"\"\n    }\n}\n",
        )?;
        out.flush()
    }
}

fn complete_node(node: &Node) -> Value {
    let address = node.name.split('.').next().unwrap_or_default().trim_start_matches("ip-").replace('-', ".");
    let is_ready = node.taints.iter().all(|taint| taint.key != "node.kubernetes.io/not-ready");
    let condition = |kind: &str, status: bool| {
        let status = if status { "True" } else { "False" };
        json!({
            "lastHeartbeatTime": now(), "lastTransitionTime": now(), "message": format!("kubelet reports {kind}"),
            "reason": format!("Kubelet{kind}"), "status": status, "type": kind,
        })
    };
    let image = |number: u32| {
        let name = format!("registry.example.com/platform/image-{number}");
        json!({"names": [format!("{name}@sha256:{:064x}", number), format!("{name}:1.{number}.0")], "sizeBytes": 100_000_000 + number})
    };
    let amounts = json!(node.allocatable.as_deref());
    let status = json!({
        "addresses": [{"address": address, "type": "InternalIP"}, {"address": node.name, "type": "Hostname"}],
        "allocatable": amounts,
        "capacity": amounts,
        "conditions": [
            condition("MemoryPressure", false), condition("DiskPressure", false), condition("PIDPressure", false),
            condition("Ready", is_ready),
        ],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": 10250}},
        "images": (0..12).map(image).collect::<Vec<_>>(),
        "nodeInfo": {
            "architecture": "amd64", "bootID": node.uid, "containerRuntimeVersion": "containerd://2.1.4",
            "kernelVersion": "6.12.40", "kubeletVersion": "v1.36.2", "machineID": node.uid, "operatingSystem": "linux",
            "osImage": "Example Linux 12", "systemUUID": node.uid,
        },
    });
    let mut complete = json!(node);
    if let Some(complete) = complete.as_object_mut() {
        complete.insert("status".into(), status);
    }
    complete
}

/// Returns what the pods of an application have in common.
pub(super) fn spec_of(pod: &Pod) -> Option<Arc<PodSpec>> {
    let name = application(pod);
    let spec = pod_spec(name, &image(name));
    let is_of_daemonset = pod.controller.as_ref().is_some_and(|controller| controller.kind == "DaemonSet");
    PodSpec::of_pod(&spec, is_of_daemonset, &pod.labels)
}

fn application(pod: &Pod) -> &str {
    pod.labels.get("app.kubernetes.io/name").unwrap_or_default()
}

fn image(name: &str) -> String {
    format!("registry.example.com/platform/{name}:1.2.0")
}

fn complete_pod(pod: &Pod) -> Value {
    let name = application(pod);
    let image = image(name);
    let mut complete = json!(pod);
    if let Some(complete) = complete.as_object_mut() {
        let mut spec = pod_spec(name, &image);
        if let (Some(spec), Some(Value::Object(minimal))) = (spec.as_object_mut(), complete.remove("spec")) {
            // The place of the pod; everything else is part of the complete spec.
            spec.extend(minimal.into_iter().filter(|(field, _)| field == "nodeName" || field == "affinity"));
        }
        complete.insert("spec".into(), spec);
        complete.insert("status".into(), pod_status(pod, &image));
    }
    complete
}

fn pod_spec(name: &str, image: &str) -> Value {
    let probe = json!({
        "failureThreshold": 3, "httpGet": {"path": "/readyz", "port": 9100, "scheme": "HTTP"}, "periodSeconds": 10,
        "successThreshold": 1, "timeoutSeconds": 1,
    });
    let mount = |name: &str, path: &str| json!({"mountPath": path, "name": name, "readOnly": true});
    let tolerate = |key: &str, effect: &str| json!({"effect": effect, "key": key, "operator": "Exists"});
    json!({
        "containers": [{
            "args": ["--node-name=$(NODE_NAME)", "--config=/etc/agent/config.yaml", "--log-level=info"],
            "env": [{"name": "NODE_NAME", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "spec.nodeName"}}}],
            "image": image,
            "imagePullPolicy": "IfNotPresent",
            "name": "agent",
            "ports": [{"containerPort": 9100, "name": "metrics", "protocol": "TCP"}],
            "readinessProbe": probe,
            "resources": {"limits": {"memory": "256Mi"}, "requests": {"cpu": "50m", "memory": "64Mi"}},
            "terminationMessagePath": "/dev/termination-log",
            "terminationMessagePolicy": "File",
            "volumeMounts": [
                mount("config", "/etc/agent"),
                mount("kube-api-access", "/var/run/secrets/kubernetes.io/serviceaccount"),
            ],
        }],
        "dnsPolicy": "ClusterFirst",
        "enableServiceLinks": true,
        "preemptionPolicy": "PreemptLowerPriority",
        "priority": 2_000_001_000,
        "priorityClassName": "system-node-critical",
        "restartPolicy": "Always",
        "schedulerName": "default-scheduler",
        "serviceAccount": name,
        "serviceAccountName": name,
        "terminationGracePeriodSeconds": 30,
        "tolerations": [
            tolerate("node.kubernetes.io/not-ready", "NoExecute"), tolerate("node.kubernetes.io/unreachable", "NoExecute"),
        ],
        "volumes": [
            {"configMap": {"defaultMode": 420, "name": format!("{name}-config")}, "name": "config"},
            {"name": "kube-api-access", "projected": {"defaultMode": 420, "sources": [
                {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
                {"configMap": {"items": [{"key": "ca.crt", "path": "ca.crt"}], "name": "kube-root-ca.crt"}},
            ]}},
        ],
    })
}

fn pod_status(pod: &Pod, image: &str) -> Value {
    let started = pod.phase == PodPhase::Running;
    let is_ready = pod.is_ready();
    let condition = |kind: &str, status: bool| {
        let since = match pod.ready {
            Readiness::Ready { since } => since,
            Readiness::NotReady { .. } => pod.created,
        };
        let status = if status { "True" } else { "False" };
        json!({"lastProbeTime": null, "lastTransitionTime": since, "status": status, "type": kind})
    };
    let ready = condition("Ready", is_ready);
    json!({
        "conditions": [
            condition("PodReadyToStartContainers", started), condition("Initialized", true), ready,
            condition("ContainersReady", is_ready), condition("PodScheduled", true),
        ],
        "containerStatuses": [{
            "containerID": format!("containerd://{}", pod.uid),
            "image": image,
            "imageID": format!("{image}@sha256:{:0>64}", pod.uid.replace('-', "")),
            "lastState": {},
            "name": "agent",
            "ready": is_ready,
            "restartCount": 0,
            "started": started,
            "state": if started { json!({"running": {"startedAt": pod.created}}) } else { json!({"waiting": {"reason": "ContainerCreating"}}) },
        }],
        "hostIP": "10.0.0.1",
        "hostIPs": [{"ip": "10.0.0.1"}],
        "phase": pod.phase,
        "podIP": "10.128.0.1",
        "podIPs": [{"ip": "10.128.0.1"}],
        "qosClass": "Burstable",
        "startTime": pod.created,
    })
}
