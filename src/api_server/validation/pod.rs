//! The template of the pods. `pkg/apis/core/validation`

use std::collections::BTreeSet;

use serde_json::Value;

use super::{
    container::{self, PodVolumes},
    errors::{FieldErrors, Path},
    names::{annotations, dns_label, dns_subdomain, label_key, labels, list, text},
    scheduling, security, volumes,
};

pub(super) fn template(errors: &mut FieldErrors, path: &Path, template: &Value) {
    const SECCOMP: &str = "seccomp.security.alpha.kubernetes.io/pod";
    let (metadata, spec) = (&template["metadata"], &template["spec"]);
    labels(errors, &path.child("labels"), &metadata["labels"]);
    annotations(errors, &path.child("annotations"), &metadata["annotations"]);
    if let Some(profile) = metadata["annotations"][SECCOMP].as_str() {
        let is_known = matches!(profile, "runtime/default" | "docker/default" | "unconfined");
        if !is_known && !profile.starts_with("localhost/") {
            errors.invalid(&path.child("annotations").child(SECCOMP), profile, "must be a valid seccomp profile");
        }
    }
    pod_spec(errors, &path.child("spec"), spec);
    if list(&spec["ephemeralContainers"]).next().is_some() {
        let detail = "ephemeral containers not allowed in pod template";
        errors.forbidden(&path.child("spec").child("ephemeralContainers"), detail);
    }
}

fn pod_spec(errors: &mut FieldErrors, path: &Path, spec: &Value) {
    let field = |name: &str| text(&spec[name]);
    let at = |name: &str| path.child(name);
    let volumes = PodVolumes { names: volumes::volumes(errors, &at("volumes"), &spec["volumes"]) };
    container::containers(errors, &at("containers"), &spec["containers"], &volumes);
    container::init_containers(errors, &at("initContainers"), spec, &volumes);
    errors.one_of(&at("restartPolicy"), field("restartPolicy"), &["Always", "OnFailure", "Never"]);
    let policies = ["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"];
    errors.one_of(&at("dnsPolicy"), field("dnsPolicy"), &policies);
    labels(errors, &at("nodeSelector"), &spec["nodeSelector"]);
    let on_host = spec["hostNetwork"] == true;
    if on_host {
        container::host_network(errors, &at("containers"), &spec["containers"]);
    }
    security::pod(errors, &at("securityContext"), spec);
    if let Some(grace) = spec["terminationGracePeriodSeconds"].as_i64() {
        container::sleeps(errors, &at("containers"), &spec["containers"], grace);
    }
    scheduling::affinity(errors, &at("affinity"), &spec["affinity"]);
    dns(errors, path, spec);
    for (index, gate) in list(&spec["readinessGates"]).enumerate() {
        let condition = text(&gate["conditionType"]);
        let path = at("readinessGates").index(index).child("conditionType");
        errors.invalid_each(&path, condition, label_key(condition));
    }
    let mut gates = BTreeSet::new();
    for (index, gate) in list(&spec["schedulingGates"]).enumerate() {
        let (name, path) = (text(&gate["name"]), at("schedulingGates").index(index));
        errors.invalid_each(&path, name, label_key(name));
        if !gates.insert(name) {
            errors.duplicate(&path, name);
        }
    }
    let constraints = &spec["topologySpreadConstraints"];
    scheduling::topology_spread(errors, &at("topologySpreadConstraints"), constraints);
    if spec["hostUsers"] == false {
        for shared in ["hostNetwork", "hostPID", "hostIPC"].into_iter().filter(|shared| spec[*shared] == true) {
            errors.forbidden(&at(shared), "when `hostUsers` is false");
        }
    }
    for (name, check) in [("serviceAccountName", dns_subdomain as fn(&str) -> Vec<String>), ("nodeName", dns_subdomain)]
    {
        named(errors, &at(name), field(name), check);
    }
    if let Some(seconds) = spec["activeDeadlineSeconds"].as_i64()
        && !(1..=i64::from(i32::MAX)).contains(&seconds)
    {
        errors.invalid(&at("activeDeadlineSeconds"), seconds, "must be between 1 and 2147483647, inclusive");
    }
    named(errors, &at("hostname"), field("hostname"), dns_label);
    named(errors, &at("subdomain"), field("subdomain"), dns_label);
    security::host_aliases(errors, &at("hostAliases"), &spec["hostAliases"]);
    scheduling::tolerations(errors, &at("tolerations"), &spec["tolerations"]);
    named(errors, &at("priorityClassName"), field("priorityClassName"), dns_subdomain);
    if let Some(class) = spec["runtimeClassName"].as_str() {
        errors.invalid_each(&at("runtimeClassName"), class, dns_subdomain(class));
    }
    if let Some(policy) = spec["preemptionPolicy"].as_str() {
        errors.one_of(&at("preemptionPolicy"), policy, &["PreemptLowerPriority", "Never"]);
    }
    container::requirements(errors, &at("overhead"), &spec["overhead"], &Value::Null);
    if let Some(os) = spec["os"]["name"].as_str() {
        errors.one_of(&at("os").child("name"), os, &["linux", "windows"]);
    }
}

fn named(errors: &mut FieldErrors, path: &Path, name: &str, check: fn(&str) -> Vec<String>) {
    if !name.is_empty() {
        errors.invalid_each(path, name, check(name));
    }
}

fn dns(errors: &mut FieldErrors, path: &Path, spec: &Value) {
    if spec["dnsPolicy"] == "None" {
        let path = path.child("dnsConfig");
        if spec["dnsConfig"].is_null() {
            errors.required(&path, "must provide `dnsConfig` when `dnsPolicy` is None");
        } else if list(&spec["dnsConfig"]["nameservers"]).next().is_none() {
            let detail = "must provide at least one DNS nameserver when `dnsPolicy` is None";
            errors.required(&path.child("nameservers"), detail);
        }
    }
    let (servers, path) = (&spec["dnsConfig"]["nameservers"], path.child("dnsConfig").child("nameservers"));
    if list(servers).count() > 3 {
        errors.invalid(&path, servers.clone(), "must not have more than 3 nameservers");
    }
    for (index, server) in list(servers).map(text).enumerate() {
        security::address(errors, &path.index(index), server);
    }
}
