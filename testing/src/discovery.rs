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
        ["openapi", "v3"] => {
            let all = store.resources();
            let all = all.iter().map(|resource| prefix(&resource.group, &resource.version));
            let paths = all.map(|path| (path.clone(), json!({"serverRelativeURL": format!("/openapi/v3/{path}")})));
            Some(json!({"paths": Value::Object(paths.collect())}))
        }
        ["openapi", "v3", "api", version] => Some(openapi(store, "", version)),
        ["openapi", "v3", "apis", group, version] => Some(openapi(store, group, version)),
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

/// Returns the path of a version of a group.
fn prefix(group: &str, version: &str) -> String {
    if group.is_empty() { format!("api/{version}") } else { format!("apis/{group}/{version}") }
}

/// Describes the resources as far as kubectl and Helm need it: fields are validated, if at all, by the server.
fn openapi(store: &Store, group: &str, version: &str) -> Value {
    let all = store.resources();
    let found = all.iter().filter(|resource| resource.group == group && resource.version == version);
    let paths = found.map(|Resource { kind, plural, is_namespaced, .. }| {
        let namespace = if *is_namespaced { "namespaces/{namespace}/" } else { "" };
        let patch = json!({"parameters": [{"name": "fieldValidation", "in": "query", "schema": {"type": "string"}}],
            "responses": {}, "x-kubernetes-action": "patch",
            "x-kubernetes-group-version-kind": {"group": group, "version": version, "kind": kind}});
        (format!("/{}/{namespace}{plural}/{{name}}", prefix(group, version)), json!({"patch": patch}))
    });
    json!({"openapi": "3.0.0", "info": {"title": "daemonplan-testing", "version": "1.36"}, "paths": Value::Object(paths.collect())})
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
