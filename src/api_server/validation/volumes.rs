//! Volumes. `pkg/apis/core/validation`

use std::collections::BTreeSet;

use serde_json::Value;

use super::{
    environment::{self, VOLUME_FIELDS},
    errors::{FieldErrors, Path},
    names::{dns_label, list, text},
};
use crate::model::Quantity;

/// Checks the volumes. Returns the names of the good ones.
pub(super) fn volumes<'p>(errors: &mut FieldErrors, path: &Path, volumes: &'p Value) -> BTreeSet<&'p str> {
    let mut names = BTreeSet::new();
    for (index, volume) in list(volumes).enumerate() {
        let (path, name) = (path.index(index), text(&volume["name"]));
        let before = errors.0.len();
        source(errors, &path, volume);
        if name.is_empty() {
            errors.required(&path.child("name"), "");
        } else {
            errors.invalid_each(&path.child("name"), name, dns_label(name));
        }
        if names.contains(name) {
            errors.duplicate(&path.child("name"), name);
        }
        if errors.0.len() == before {
            names.insert(name);
        }
    }
    names
}

/// The kinds of volumes, in the order in which Kubernetes looks at them.
const SOURCES: &[&str] = &[
    "emptyDir",
    "hostPath",
    "gitRepo",
    "gcePersistentDisk",
    "awsElasticBlockStore",
    "secret",
    "nfs",
    "iscsi",
    "glusterfs",
    "flocker",
    "persistentVolumeClaim",
    "rbd",
    "cinder",
    "cephfs",
    "quobyte",
    "downwardAPI",
    "fc",
    "flexVolume",
    "configMap",
    "azureFile",
    "vsphereVolume",
    "photonPersistentDisk",
    "portworxVolume",
    "azureDisk",
    "storageos",
    "projected",
    "scaleIO",
    "csi",
    "ephemeral",
    "image",
];

fn source(errors: &mut FieldErrors, path: &Path, volume: &Value) {
    let mut given = SOURCES.iter().filter(|source| !volume[**source].is_null());
    let Some(first) = given.next() else {
        errors.required(path, "must specify a volume type");
        return;
    };
    let (source, source_path) = (&volume[*first], path.child(first));
    let required = |errors: &mut FieldErrors, field: &str| {
        if text(&source[field]).is_empty() {
            errors.required(&source_path.child(field), "");
        }
    };
    match *first {
        "hostPath" => {
            const TYPES: &[&str] =
                &["", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"];
            let host_path = text(&source["path"]);
            required(errors, "path");
            inside(errors, &source_path.child("path"), host_path);
            let kind = text(&source["type"]);
            if !TYPES.contains(&kind) {
                errors.not_supported(&source_path.child("type"), kind, TYPES);
            }
        }
        "secret" => required(errors, "secretName"),
        "configMap" => required(errors, "name"),
        "persistentVolumeClaim" => required(errors, "claimName"),
        "nfs" => {
            required(errors, "server");
            required(errors, "path");
            if !text(&source["path"]).starts_with('/') {
                let detail = "must be an absolute path";
                errors.invalid(&source_path.child("path"), text(&source["path"]), detail);
            }
        }
        "csi" => required(errors, "driver"),
        "emptyDir" => {
            let limit = source["sizeLimit"].as_str().and_then(|limit| limit.parse::<Quantity>().ok());
            if limit.is_some_and(|limit| limit.nanos() < 0) {
                let detail = "SizeLimit field must be a valid resource quantity";
                errors.forbidden(&source_path.child("sizeLimit"), detail);
            }
        }
        "gitRepo" => {
            required(errors, "repository");
            relative(errors, &source_path.child("directory"), text(&source["directory"]));
        }
        "iscsi" => {
            required(errors, "targetPortal");
            required(errors, "iqn");
        }
        "awsElasticBlockStore" => required(errors, "volumeID"),
        "gcePersistentDisk" => required(errors, "pdName"),
        "downwardAPI" => {
            for file in list(&source["items"]) {
                pod_file(errors, &source_path, file);
            }
        }
        "projected" => projected(errors, &source_path, source),
        _ => {}
    }
    if matches!(*first, "secret" | "configMap") {
        key_files(errors, &source_path.child("items"), &source["items"]);
    }
    if matches!(*first, "secret" | "configMap" | "downwardAPI" | "projected") {
        mode(errors, &source_path.child("defaultMode"), &source["defaultMode"]);
    }
    for other in given {
        errors.forbidden(&path.child(other), "may not specify more than 1 volume type");
    }
}

/// A path in a volume: neither absolute nor above it.
pub(super) fn relative(errors: &mut FieldErrors, path: &Path, file: &str) {
    if file.starts_with('/') {
        errors.invalid(path, file, "must be a relative path");
    }
    inside(errors, path, file);
}

fn inside(errors: &mut FieldErrors, path: &Path, file: &str) {
    if file.split('/').any(|part| part == "..") {
        errors.invalid(path, file, "must not contain '..'");
    }
}

/// The path of a file that the kubelet writes.
fn written(errors: &mut FieldErrors, path: &Path, file: &str) {
    relative(errors, path, file);
    if file.starts_with("..") && !file.starts_with("../") {
        errors.invalid(path, file, "must not start with '..'");
    }
}

fn mode(errors: &mut FieldErrors, path: &Path, mode: &Value) {
    if let Some(mode) = mode.as_i64().filter(|mode| !(0..=0o777).contains(mode)) {
        errors.invalid(path, mode, "must be a number between 0 and 0777 (octal), both inclusive");
    }
}

/// The files that hold keys of a `ConfigMap` or `Secret`.
fn key_files(errors: &mut FieldErrors, path: &Path, items: &Value) {
    for (index, item) in list(items).enumerate() {
        let path = path.index(index);
        for field in ["key", "path"].into_iter().filter(|field| text(&item[*field]).is_empty()) {
            errors.required(&path.child(field), "");
        }
        written(errors, &path.child("path"), text(&item["path"]));
        mode(errors, &path.child("mode"), &item["mode"]);
    }
}

/// A file that holds a field of the pod. The API server leaves out its index.
fn pod_file(errors: &mut FieldErrors, path: &Path, file: &Value) {
    let at = text(&file["path"]);
    if at.is_empty() {
        errors.required(&path.child("path"), "");
    }
    written(errors, &path.child("path"), at);
    let (field, resource) = (&file["fieldRef"], &file["resourceFieldRef"]);
    if field.is_object() {
        environment::field(errors, &path.child("fieldRef"), field, VOLUME_FIELDS);
        if resource.is_object() {
            let detail = "fieldRef and resourceFieldRef can not be specified simultaneously";
            errors.invalid(path, "resource", detail);
        }
    } else if resource.is_object() {
        environment::resource(errors, &path.child("resourceFieldRef"), resource, true);
    } else {
        errors.required(path, "one of fieldRef and resourceFieldRef is required");
    }
    mode(errors, &path.child("mode"), &file["mode"]);
}

fn projected(errors: &mut FieldErrors, path: &Path, volume: &Value) {
    const SOURCES: [&str; 5] = ["secret", "configMap", "downwardAPI", "serviceAccountToken", "clusterTrustBundle"];
    for (index, given) in list(&volume["sources"]).enumerate() {
        let at = path.child("sources").index(index);
        for kind in SOURCES.into_iter().filter(|kind| given[*kind].is_object()) {
            let (source, at) = (&given[kind], at.child(kind));
            match kind {
                "secret" | "configMap" => {
                    if text(&source["name"]).is_empty() {
                        errors.required(&at.child("name"), "");
                    }
                    key_files(errors, &at.child("items"), &source["items"]);
                }
                "downwardAPI" => list(&source["items"]).for_each(|file| pod_file(errors, &at, file)),
                "serviceAccountToken" => {
                    let seconds = source["expirationSeconds"].as_i64().unwrap_or(3600);
                    if seconds < 600 {
                        let detail = "may not specify a duration less than 10 minutes";
                        errors.invalid(&at.child("expirationSeconds"), seconds, detail);
                    }
                    // Not the path of the source.
                    if text(&source["path"]).is_empty() {
                        errors.required(&path.child("path"), "");
                    } else {
                        written(errors, &path.child("path"), text(&source["path"]));
                    }
                }
                _ => {}
            }
        }
        if SOURCES.into_iter().filter(|kind| given[*kind].is_object()).count() > 1 {
            errors.forbidden(&at, "may not specify more than 1 volume type per source");
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api_server::validation::errors::refusals;

    fn refused(source: &Value) -> Vec<String> {
        refusals(|errors, path, volumes| drop(self::volumes(errors, path, volumes)), &json!([source]))
    }

    #[test]
    fn files_in_volumes_have_a_key_and_a_place() {
        for (source, refusal) in [
            (json!({"configMap": {"name": "c", "items": [{"key": "a"}]}}), "configMap.items[0].path: Required value"),
            (
                json!({"secret": {"secretName": "c", "items": [{"key": "a", "path": "../b"}]}}),
                "secret.items[0].path: Invalid value: \"../b\": must not contain '..'",
            ),
            (
                json!({"configMap": {"name": "c", "items": [{"key": "a", "path": "..b"}]}}),
                "configMap.items[0].path: Invalid value: \"..b\": must not start with '..'",
            ),
            (
                json!({"configMap": {"name": "c", "items": [{"key": "a", "path": "b", "mode": 1000}]}}),
                "configMap.items[0].mode: Invalid value: 1000: must be a number between 0 and 0777",
            ),
            (json!({"downwardAPI": {"items": [{"path": "a"}]}}), "downwardAPI: Required value: one of fieldRef and"),
            (
                json!({"downwardAPI": {"items": [{"path": "a", "fieldRef": {"fieldPath": "spec.nodeName"}}]}}),
                "downwardAPI.fieldRef.fieldPath: Unsupported value: \"spec.nodeName\"",
            ),
            (
                json!({"downwardAPI": {"items": [{"path": "a", "resourceFieldRef": {"resource": "limits.cpu"}}]}}),
                "downwardAPI.resourceFieldRef.containerName: Required value",
            ),
            (json!({"projected": {"sources": [{"serviceAccountToken": {}}]}}), "projected.path: Required value"),
            (
                json!({"projected": {"sources": [{"serviceAccountToken": {"path": "t", "expirationSeconds": 10}}]}}),
                "projected.sources[0].serviceAccountToken.expirationSeconds: Invalid value: 10: may not specify",
            ),
            (json!({"projected": {"sources": [{"configMap": {}}]}}), "projected.sources[0].configMap.name: Required"),
            (json!({"emptyDir": {"sizeLimit": "-1Gi"}}), "emptyDir.sizeLimit: Forbidden: SizeLimit field must be"),
            (json!({"gitRepo": {}}), "gitRepo.repository: Required value"),
        ] {
            let mut volume = source.clone();
            volume["name"] = "v".into();
            let found = refused(&volume);
            assert!(found.len() == 1 && found[0].starts_with(&format!("at[0].{refusal}")), "{found:?}");
        }
        let good = json!({"name": "v", "projected": {"sources": [
            {"serviceAccountToken": {"path": "token"}},
            {"configMap": {"name": "c", "items": [{"key": "k", "path": "a/b"}]}},
            {"downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}}
        ]}});
        assert_eq!(refused(&good), [""; 0]);
    }
}
