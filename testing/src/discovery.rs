//! What clients ask to find out what the API server serves.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::{resource::Resource, store::Store};

/// Answers the requests that are about no object: health, the version, and the resources.
pub(crate) fn discover(store: &Store, path: &str) -> Option<Value> {
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    match parts.as_slice() {
        ["healthz" | "livez" | "readyz"] => Some(json!("ok")),
        ["version"] => Some(json!({"major": "1", "minor": "36", "gitVersion": "v1.36.0", "platform": "memory"})),
        ["api"] => Some(json!({"kind": "APIVersions", "versions": ["v1"]})),
        ["apis"] => {
            let mut groups = BTreeMap::<_, Vec<_>>::new();
            for resource in store.resources().iter().filter(|resource| !resource.group.is_empty()) {
                let version = json!({"groupVersion": resource.api_version(), "version": resource.version});
                let versions = groups.entry(resource.group.to_string()).or_default();
                if !versions.contains(&version) {
                    versions.push(version);
                }
            }
            let groups: Vec<_> = groups.into_iter().collect();
            let groups = groups.iter().map(
                |(name, versions)| json!({"name": name, "versions": versions, "preferredVersion": versions.first()}),
            );
            Some(json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups.collect::<Vec<_>>()}))
        }
        ["api", version] => resources(store, "", version),
        ["apis", group, version] => resources(store, group, version),
        _ => None,
    }
}

/// Returns the resources of a version of a group, if there is any.
fn resources(store: &Store, group: &str, version: &str) -> Option<Value> {
    let mut found = Vec::new();
    let all = store.resources();
    for resource in all.iter().filter(|resource| resource.group == group && resource.version == version) {
        let Resource { kind, plural, is_namespaced, has_status, .. } = resource;
        let verbs = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
        let short_names: Vec<_> = short_name(plural).into_iter().collect();
        found.push(
            json!({"name": plural, "singularName": kind.to_lowercase(), "kind": kind, "namespaced": is_namespaced,
                "shortNames": short_names, "verbs": verbs}),
        );
        if *has_status {
            found.push(json!({"name": format!("{plural}/status"), "singularName": "", "kind": kind,
                "namespaced": is_namespaced, "verbs": ["get", "patch", "update"]}));
        }
    }
    let of = all.iter().find(|resource| resource.group == group && resource.version == version)?.api_version();
    Some(json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": of, "resources": found}))
}

/// Returns the name by which kubectl's users call a resource.
fn short_name(plural: &str) -> Option<&'static str> {
    const NAMES: &[(&str, &str)] = &[
        ("configmaps", "cm"),
        ("cronjobs", "cj"),
        ("customresourcedefinitions", "crd"),
        ("daemonsets", "ds"),
        ("deployments", "deploy"),
        ("endpoints", "ep"),
        ("events", "ev"),
        ("horizontalpodautoscalers", "hpa"),
        ("ingresses", "ing"),
        ("limitranges", "limits"),
        ("namespaces", "ns"),
        ("networkpolicies", "netpol"),
        ("nodes", "no"),
        ("persistentvolumeclaims", "pvc"),
        ("persistentvolumes", "pv"),
        ("poddisruptionbudgets", "pdb"),
        ("pods", "po"),
        ("priorityclasses", "pc"),
        ("replicasets", "rs"),
        ("replicationcontrollers", "rc"),
        ("resourcequotas", "quota"),
        ("serviceaccounts", "sa"),
        ("services", "svc"),
        ("statefulsets", "sts"),
        ("storageclasses", "sc"),
    ];
    NAMES.iter().find(|(of, _)| *of == plural).map(|(_, short)| *short)
}
