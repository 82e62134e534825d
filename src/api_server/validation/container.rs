//! Containers: ports, probes, volume mounts and resources. `pkg/apis/core/validation`

use std::collections::BTreeSet;

use serde_json::Value;

use super::{
    environment,
    errors::{FieldErrors, Path},
    names::{dns_label, label_key, list, port_name, port_number, sorted, text},
    security,
    volumes::relative,
};
use crate::model::Quantity;

const HEADER_NAME: &str = "a valid HTTP header must consist of alphanumeric characters or '-' (e.g. 'X-Header-Name', regex \
    used for validation is '[-A-Za-z0-9]+')";

/// The names of the volumes that containers may mount.
pub(super) struct PodVolumes<'p> {
    pub(super) names: BTreeSet<&'p str>,
}

/// The containers that run, with their names.
pub(super) fn containers(errors: &mut FieldErrors, path: &Path, containers: &Value, volumes: &PodVolumes<'_>) {
    let all: Vec<_> = list(containers).collect();
    if all.is_empty() {
        errors.required(path, "");
    }
    let mut names = BTreeSet::new();
    for (index, container) in all.iter().enumerate() {
        let path = path.index(index);
        common(errors, &path, container, volumes);
        let name = text(&container["name"]);
        if !names.insert(name) {
            errors.duplicate(&path.child("name"), name);
        }
        probes(errors, &path, container);
        restart_policy(errors, &path, container);
    }
    port_conflicts(errors, path, &all);
}

pub(super) fn init_containers(errors: &mut FieldErrors, path: &Path, spec: &Value, volumes: &PodVolumes<'_>) {
    let mut names: BTreeSet<_> = list(&spec["containers"]).map(|container| text(&container["name"])).collect();
    for (index, container) in list(&spec["initContainers"]).enumerate() {
        let item = path.index(index);
        common(errors, &item, container, volumes);
        let restart = container["restartPolicy"].as_str();
        restart_policy(errors, &item, container);
        let name = text(&container["name"]);
        if !name.is_empty() && !names.insert(name) {
            errors.duplicate(&item.child("name"), name);
        }
        if restart == Some("Always") {
            probes(errors, &item, container);
        } else {
            for field in ["lifecycle", "livenessProbe", "readinessProbe", "startupProbe"] {
                if !container[field].is_null() {
                    let detail = "may not be set for init containers without restartPolicy=Always";
                    errors.forbidden(&item.child(field), detail);
                }
            }
        }
        // Init containers run one after the other.
        port_conflicts_of(errors, &item, container, &mut BTreeSet::new());
    }
}

fn restart_policy(errors: &mut FieldErrors, path: &Path, container: &Value) {
    errors.known(&path.child("restartPolicy"), &container["restartPolicy"], &["Always", "Never", "OnFailure"]);
}

fn common(errors: &mut FieldErrors, path: &Path, container: &Value, volumes: &PodVolumes<'_>) {
    let name = text(&container["name"]);
    if name.is_empty() {
        errors.required(&path.child("name"), "");
    } else {
        errors.invalid_each(&path.child("name"), name, dns_label(name));
    }
    let image = text(&container["image"]);
    if image.is_empty() {
        errors.required(&path.child("image"), "");
    }
    let message = text(&container["terminationMessagePolicy"]);
    let policies = ["File", "FallbackToLogsOnError"];
    errors.one_of(&path.child("terminationMessagePolicy"), message, &policies);
    ports(errors, &path.child("ports"), &container["ports"]);
    environment::variables(errors, &path.child("env"), &container["env"]);
    environment::sources(errors, &path.child("envFrom"), &container["envFrom"]);
    mounts(errors, &path.child("volumeMounts"), container, volumes);
    let pull = text(&container["imagePullPolicy"]);
    errors.one_of(&path.child("imagePullPolicy"), pull, &["Always", "IfNotPresent", "Never"]);
    let resources = &container["resources"];
    requirements(errors, &path.child("resources"), &resources["limits"], &resources["requests"]);
    security::container(errors, &path.child("securityContext"), &container["securityContext"]);
}

fn ports(errors: &mut FieldErrors, path: &Path, ports: &Value) {
    let mut names = BTreeSet::new();
    for (index, port) in list(ports).enumerate() {
        let path = path.index(index);
        let name = text(&port["name"]);
        if !name.is_empty() {
            let details = port_name(name);
            if details.is_empty() && !names.insert(name) {
                errors.duplicate(&path.child("name"), name);
            }
            errors.invalid_each(&path.child("name"), name, details);
        }
        match port["containerPort"].as_i64().unwrap_or_default() {
            0 => errors.required(&path.child("containerPort"), ""),
            number => {
                if let Some(detail) = port_number(number) {
                    errors.invalid(&path.child("containerPort"), number, detail);
                }
            }
        }
        let number = port["hostPort"].as_i64().unwrap_or_default();
        if let Some(detail) = port_number(number).filter(|_| number != 0) {
            errors.invalid(&path.child("hostPort"), number, detail);
        }
        errors.one_of(&path.child("protocol"), text(&port["protocol"]), &["SCTP", "TCP", "UDP"]);
    }
}

fn port_conflicts(errors: &mut FieldErrors, path: &Path, containers: &[&Value]) {
    let mut known = BTreeSet::new();
    for (index, container) in containers.iter().enumerate() {
        port_conflicts_of(errors, &path.index(index), container, &mut known);
    }
}

fn port_conflicts_of(errors: &mut FieldErrors, path: &Path, container: &Value, known: &mut BTreeSet<String>) {
    for (index, port) in list(&container["ports"]).enumerate() {
        let number = port["hostPort"].as_i64().unwrap_or_default();
        if number == 0 {
            continue;
        }
        let key = format!("{}/{}/{number}", text(&port["protocol"]), text(&port["hostIP"]));
        if known.contains(&key) {
            errors.duplicate(&path.child("ports").index(index).child("hostPort"), &key);
        }
        known.insert(key);
    }
}

/// Host ports on the network of the node are those of the containers.
pub(super) fn host_network(errors: &mut FieldErrors, path: &Path, containers: &Value) {
    for (number, container) in list(containers).enumerate() {
        for (index, port) in list(&container["ports"]).enumerate() {
            let [host, own] = ["hostPort", "containerPort"].map(|field| port[field].as_i64().unwrap_or_default());
            if host != 0 && host != own {
                let path = path.index(number).child("ports").index(index).child("hostPort");
                errors.invalid(&path, host, "must match `containerPort` when `hostNetwork` is true");
            }
        }
    }
}

/// A hook may not sleep for longer than the pod may take to stop.
pub(super) fn sleeps(errors: &mut FieldErrors, path: &Path, containers: &Value, grace: i64) {
    for (index, container) in list(containers).enumerate() {
        for hook in ["postStart", "preStop"] {
            let seconds = container["lifecycle"][hook]["sleep"]["seconds"].as_i64();
            if let Some(seconds) = seconds.filter(|seconds| !(0..=grace).contains(seconds)) {
                let path = path.index(index).child("lifecycle").child(hook).child("sleep");
                let detail = format!("must be non-negative and less than terminationGracePeriodSeconds ({grace})");
                errors.invalid(&path, seconds, detail);
            }
        }
    }
}

fn probes(errors: &mut FieldErrors, path: &Path, container: &Value) {
    for hook in ["postStart", "preStop"] {
        let handler = &container["lifecycle"][hook];
        if !handler.is_null() {
            handlers(errors, &path.child("lifecycle").child(hook), handler);
        }
    }
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        let (probe, path) = (&container[name], path.child(name));
        if probe.is_null() {
            continue;
        }
        handlers(errors, &path, probe);
        for field in ["initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"]
        {
            errors.not_negative(&path.child(field), probe[field].as_i64());
        }
        let grace = probe["terminationGracePeriodSeconds"].as_i64();
        let grace_path = path.child("terminationGracePeriodSeconds");
        match grace {
            Some(seconds) if name == "readinessProbe" => {
                errors.invalid(&grace_path, seconds, "must not be set for readinessProbes");
            }
            Some(seconds) if seconds <= 0 => errors.invalid(&grace_path, seconds, "must be greater than 0"),
            _ => {}
        }
        let threshold = probe["successThreshold"].as_i64().unwrap_or_default();
        if name != "readinessProbe" && threshold != 1 {
            errors.invalid(&path.child("successThreshold"), threshold, "must be 1");
        }
    }
}

fn handlers(errors: &mut FieldErrors, path: &Path, probe: &Value) {
    let mut count = 0;
    for kind in ["exec", "httpGet", "tcpSocket", "grpc", "sleep"] {
        let (handler, path) = (&probe[kind], path.child(kind));
        if handler.is_null() {
            continue;
        }
        count += 1;
        if count > 1 {
            errors.forbidden(&path, "may not specify more than 1 handler type");
            continue;
        }
        match kind {
            "exec" if list(&handler["command"]).next().is_none() => errors.required(&path.child("command"), ""),
            "httpGet" => {
                if text(&handler["path"]).is_empty() {
                    errors.required(&path.child("path"), "");
                }
                port(errors, &path.child("port"), &handler["port"]);
                errors.one_of(&path.child("scheme"), text(&handler["scheme"]), &["HTTP", "HTTPS"]);
                for header in list(&handler["httpHeaders"]) {
                    let name = text(&header["name"]);
                    if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') {
                        errors.invalid(&path.child("httpHeaders"), name, HEADER_NAME);
                    }
                }
            }
            "tcpSocket" | "grpc" => port(errors, &path.child("port"), &handler["port"]),
            _ => {}
        }
    }
    if count == 0 {
        errors.required(path, "must specify a handler type");
    }
}

fn port(errors: &mut FieldErrors, path: &Path, port: &Value) {
    if let Some(name) = port.as_str() {
        errors.invalid_each(path, name, port_name(name));
    } else {
        let number = port.as_i64().unwrap_or_default();
        if let Some(detail) = port_number(number) {
            errors.invalid(path, number, detail);
        }
    }
}

fn mounts(errors: &mut FieldErrors, of_all: &Path, container: &Value, volumes: &PodVolumes<'_>) {
    let mut paths = BTreeSet::new();
    for (index, mount) in list(&container["volumeMounts"]).enumerate() {
        let path = of_all.index(index);
        let name = text(&mount["name"]);
        if name.is_empty() {
            errors.required(&path.child("name"), "");
        }
        if !volumes.names.contains(name) {
            errors.not_found(&path.child("name"), name);
        }
        let mount_path = text(&mount["mountPath"]);
        if mount_path.is_empty() {
            errors.required(&path.child("mountPath"), "");
        }
        if !paths.insert(mount_path) {
            errors.invalid(&path.child("mountPath"), mount_path, "must be unique");
        }
        // The API server leaves out the index here.
        relative(errors, &of_all.child("subPath"), text(&mount["subPath"]));
        let expression = text(&mount["subPathExpr"]);
        if !expression.is_empty() && !text(&mount["subPath"]).is_empty() {
            let detail = "subPathExpr and subPath are mutually exclusive";
            errors.invalid(&path.child("subPathExpr"), expression, detail);
        }
        relative(errors, &of_all.child("subPathExpr"), expression);
        let (propagation, path) = (&mount["mountPropagation"], of_all.child("mountPropagation"));
        errors.known(&path, propagation, &["Bidirectional", "HostToContainer", "None"]);
        if propagation == "Bidirectional" && container["securityContext"]["privileged"] != true {
            errors.forbidden(&path, "Bidirectional mount propagation is available only to privileged containers");
        }
    }
}

/// The limits and requests of a container, or the overhead of a pod.
pub(super) fn requirements(errors: &mut FieldErrors, path: &Path, limits: &Value, requests: &Value) {
    let (limits_path, requests_path) = (path.child("limits"), path.child("requests"));
    let (mut has_huge_pages, mut has_compute) = (false, false);
    for (amounts, parent, are_requests) in [(limits, &limits_path, false), (requests, &requests_path, true)] {
        for (resource, amount) in sorted(amounts) {
            let path = parent.key(resource);
            let written = text(amount);
            let Ok(quantity) = written.parse::<Quantity>() else { continue };
            resource_name(errors, &path, resource);
            if quantity.nanos() < 0 {
                errors.invalid(&path, written, "must be greater than or equal to 0");
            }
            if is_integer(resource) && quantity.milli() % 1000 != 0 {
                errors.invalid(&path, written, "must be an integer");
            }
            if are_requests {
                let limit = limits.get(resource.as_str()).and_then(Value::as_str);
                let limited = limit.and_then(|limit| Some((limit, limit.parse::<Quantity>().ok()?)));
                match limited {
                    Some((limit, most)) if most != quantity && !allows_overcommit(resource) => {
                        let detail = format!("must be equal to {resource} limit of {limit}");
                        errors.invalid(&requests_path, written, detail);
                    }
                    Some((limit, most)) if quantity > most => {
                        let detail = format!("must be less than or equal to {resource} limit of {limit}");
                        errors.invalid(&requests_path, written, detail);
                    }
                    None if !allows_overcommit(resource) => {
                        errors.required(&limits_path, "Limit must be set for non overcommitable resources");
                    }
                    _ => {}
                }
            }
            if let Some(size) = resource.strip_prefix("hugepages-") {
                has_huge_pages = true;
                let size = size.parse::<Quantity>().map_or(0, Quantity::value);
                if size <= 0 || quantity.nanos() % (size.saturating_mul(1_000_000_000)) != 0 {
                    let detail = format!("{written} is not positive integer multiple of {resource}");
                    errors.invalid(&path, written, detail);
                }
            }
            has_compute |= matches!(resource.as_str(), "cpu" | "memory");
        }
    }
    if has_huge_pages && !has_compute {
        errors.forbidden(path, "HugePages require cpu or memory");
    }
}

fn is_native(resource: &str) -> bool {
    !resource.contains('/') || resource.contains("kubernetes.io/")
}

fn allows_overcommit(resource: &str) -> bool {
    is_native(resource) && !resource.starts_with("hugepages-")
}

/// Whether an amount must be whole: of pods and other objects, and of devices.
fn is_integer(resource: &str) -> bool {
    OBJECTS.contains(&resource) || !is_native(resource)
}

const OBJECTS: &[&str] = &[
    "pods",
    "services",
    "replicationcontrollers",
    "resourcequotas",
    "secrets",
    "configmaps",
    "persistentvolumeclaims",
    "services.nodeports",
    "services.loadbalancers",
];

fn resource_name(errors: &mut FieldErrors, path: &Path, resource: &str) {
    let details = label_key(resource);
    if !details.is_empty() {
        errors.invalid_each(path, resource, details);
        return;
    }
    if resource.contains('/') {
        let is_extended = !is_native(resource) && !resource.starts_with("requests.");
        if !is_native(resource) && !is_extended {
            errors.invalid(path, resource, "doesn't follow extended resource name standard");
        }
        return;
    }
    let is_compute = |resource: &str| {
        matches!(resource, "cpu" | "memory" | "ephemeral-storage") || resource.starts_with("hugepages-")
    };
    let quota = resource.strip_prefix("requests.").or_else(|| resource.strip_prefix("limits.")).unwrap_or(resource);
    if !is_compute(quota) && !OBJECTS.contains(&resource) && quota != "storage" {
        errors.invalid(path, resource, "must be a standard resource type or fully qualified");
    }
    if !is_compute(resource) {
        errors.invalid(path, resource, "must be a standard resource for containers");
    }
}
