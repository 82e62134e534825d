//! What the API server stores of a manifest: known fields, without zero values, with defaults and canonical quantities.

use serde_json::{Map, Value, json};

use super::schema::{FieldType, Shape, fields};
use crate::model::Quantity;

/// Returns the DaemonSet that the API server of Kubernetes v1.36 stores for a manifest: fields that it does not know and
/// zero values that it does not write are left out, quantities are canonical, and defaults are filled in. What the API
/// server stored is returned as it is. The status is left alone.
///
/// Sources: the types of `k8s.io/api`, `pkg/apis/core/v1/defaults.go`, `pkg/apis/apps/v1/defaults.go`.
///
/// ```
/// use serde_json::json;
/// let manifest = json!({"spec": {"template": {"spec": {
///     "hostNetwork": false,
///     "containers": [{"name": "agent", "image": "agent:1", "resources": {"requests": {"cpu": 0.05}}}]
/// }}}});
/// let stored = daemonplan::api_server::stored(&manifest);
/// let spec = &stored["spec"]["template"]["spec"];
/// assert_eq!(spec["containers"][0]["resources"]["requests"]["cpu"], "50m");
/// assert_eq!((spec.get("hostNetwork"), &spec["dnsPolicy"]), (None, &json!("ClusterFirst")));
/// ```
pub fn stored(manifest: &Value) -> Value {
    let Value::Object(manifest) = manifest else { return manifest.clone() };
    let without_status = manifest.iter().filter(|(key, _)| *key != "status");
    let without_status = without_status.map(|(key, value)| (key.clone(), value.clone())).collect();
    let mut stored = object("DaemonSet", &without_status);
    match manifest.get("status") {
        Some(status) => stored.insert("status".into(), status.clone()),
        None => stored.remove("status"),
    };
    Value::Object(stored)
}

/// Encodes the known fields of an object, and adds defaults.
fn object(of: &str, given: &Map<String, Value>) -> Map<String, Value> {
    let mut encoded = Map::new();
    let mut is_used = Vec::new();
    // The order of the given fields stays, for people.
    for (key, value) in given {
        let Some((name, field)) = fields(of).find(|(name, _)| name == key) else { continue };
        is_used.push(name);
        if let Some(value) = encode(value, field) {
            encoded.insert(name.into(), value);
        }
    }
    for (name, field) in fields(of).filter(|(name, field)| field.is_always_written && !is_used.contains(name)) {
        let value = match field.shape {
            Shape::Object(of) if !field.is_pointer => Value::Object(object(of, &Map::new())),
            Shape::Quantity => json!("0"),
            Shape::String => json!(""),
            _ => continue,
        };
        encoded.insert(name.into(), value);
    }
    add_defaults(of, &mut encoded);
    encoded
}

/// Encodes a value as Go does; `None` if it is left out.
fn encode(value: &Value, field: FieldType) -> Option<Value> {
    let is_kept = field.is_pointer || field.is_always_written;
    match (field.shape, value) {
        (Shape::Object(of), Value::Object(given)) => Some(Value::Object(object(of, given))),
        (Shape::Object(of), Value::Null) if field.is_always_written && !field.is_pointer => {
            Some(Value::Object(object(of, &Map::new())))
        }
        (Shape::List(items), Value::Array(given)) => {
            let items = FieldType { is_always_written: true, ..FieldType::of(items) };
            let encoded: Vec<_> = given.iter().map(|item| encode(item, items).unwrap_or_default()).collect();
            (is_kept || !encoded.is_empty()).then(|| encoded.into())
        }
        (Shape::Map(values), Value::Object(given)) => {
            let values = FieldType { is_always_written: true, ..FieldType::of(values) };
            let encoded: Map<_, _> =
                given.iter().map(|(key, value)| (key.clone(), encode(value, values).unwrap_or_default())).collect();
            (is_kept || !encoded.is_empty()).then(|| encoded.into())
        }
        (Shape::Quantity, Value::Null) if field.is_always_written => Some(json!("0")),
        (Shape::String, Value::Null) if field.is_always_written => Some(json!("")),
        (_, Value::Null) => None,
        (Shape::Quantity, Value::String(text)) => {
            Some(Quantity::canonical(text).map_or_else(|_| value.clone(), Value::from))
        }
        (Shape::Quantity, Value::Number(number)) => {
            Some(Quantity::canonical(&number.to_string()).map_or_else(|_| value.clone(), Value::from))
        }
        (Shape::String, Value::String(text)) if text.is_empty() => is_kept.then(|| value.clone()),
        (Shape::Bool, Value::Bool(false)) => is_kept.then(|| value.clone()),
        (Shape::Int32 | Shape::Int64, Value::Number(number)) if number.as_i64() == Some(0) => {
            is_kept.then(|| value.clone())
        }
        _ => Some(value.clone()),
    }
}

/// The names of one field of a pod.
const SERVICE_ACCOUNT: [&str; 2] = ["serviceAccountName", "serviceAccount"];

/// Adds the defaults of the fields of one object.
fn add_defaults(of: &str, object: &mut Map<String, Value>) {
    const FILE_MODE: i64 = 0o644;
    let defaults: &[(&str, Value)] = &match of {
        "DaemonSetSpec" => vec![("revisionHistoryLimit", json!(10))],
        "DaemonSetUpdateStrategy" => {
            object.entry("type").or_insert_with(|| "RollingUpdate".into());
            if object.get("type").and_then(Value::as_str) == Some("RollingUpdate") {
                let bounds = object.entry("rollingUpdate").or_insert_with(|| json!({}));
                bounds.as_object_mut().into_iter().for_each(|bounds| add_defaults("RollingUpdateDaemonSet", bounds));
            }
            return;
        }
        "RollingUpdateDaemonSet" => vec![("maxUnavailable", json!(1)), ("maxSurge", json!(0))],
        "PodSpec" => {
            // Of the two names of the field, each stands for the other; the first counts.
            let account =
                SERVICE_ACCOUNT.iter().filter_map(|field| object.get(*field)).find(|name| **name != "").cloned();
            if let Some(account) = account {
                object.extend(SERVICE_ACCOUNT.map(|field| (field.to_owned(), account.clone())));
            }
            object.get_mut("overhead").into_iter().for_each(round_up);
            vec![
                ("restartPolicy", json!("Always")),
                ("terminationGracePeriodSeconds", json!(30)),
                ("dnsPolicy", json!("ClusterFirst")),
                ("securityContext", json!({})),
                ("schedulerName", json!("default-scheduler")),
            ]
        }
        "Container" | "EphemeralContainer" => {
            let image = object.get("image").and_then(Value::as_str).unwrap_or_default();
            vec![
                ("imagePullPolicy", pull_policy(image).into()),
                ("terminationMessagePath", json!("/dev/termination-log")),
                ("terminationMessagePolicy", json!("File")),
            ]
        }
        "ContainerPort" => vec![("protocol", json!("TCP"))],
        "ResourceRequirements" | "VolumeResourceRequirements" => {
            for field in ["limits", "requests"] {
                object.get_mut(field).into_iter().for_each(round_up);
            }
            return;
        }
        "Probe" => vec![
            ("timeoutSeconds", json!(1)),
            ("periodSeconds", json!(10)),
            ("successThreshold", json!(1)),
            ("failureThreshold", json!(3)),
        ],
        "HTTPGetAction" => vec![("path", json!("/")), ("scheme", json!("HTTP"))],
        "GRPCAction" => vec![("service", json!(""))],
        "ObjectFieldSelector" => vec![("apiVersion", json!("v1"))],
        "FileKeySelector" => vec![("optional", json!(false))],
        "Volume" if object.keys().all(|key| key == "name") => vec![("emptyDir", json!({}))],
        "SecretVolumeSource" | "ConfigMapVolumeSource" | "DownwardAPIVolumeSource" | "ProjectedVolumeSource" => {
            vec![("defaultMode", json!(FILE_MODE))]
        }
        "ServiceAccountTokenProjection" => vec![("expirationSeconds", json!(3600))],
        "PodCertificateProjection" => vec![("maxExpirationSeconds", json!(86400))],
        "HostPathVolumeSource" => vec![("type", json!(""))],
        "ImageVolumeSource" => {
            let image = object.get("reference").and_then(Value::as_str).unwrap_or_default();
            vec![("pullPolicy", pull_policy(image).into())]
        }
        "ISCSIVolumeSource" => vec![("iscsiInterface", json!("default"))],
        "RBDVolumeSource" => {
            vec![("pool", json!("rbd")), ("user", json!("admin")), ("keyring", json!("/etc/ceph/keyring"))]
        }
        "AzureDiskVolumeSource" => vec![
            ("cachingMode", json!("ReadWrite")),
            ("kind", json!("Shared")),
            ("fsType", json!("ext4")),
            ("readOnly", json!(false)),
        ],
        "ScaleIOVolumeSource" => vec![("storageMode", json!("ThinProvisioned")), ("fsType", json!("xfs"))],
        "PersistentVolumeClaimSpec" => vec![("volumeMode", json!("Filesystem"))],
        _ => return,
    };
    for (field, value) in defaults {
        object.entry(*field).or_insert_with(|| value.clone());
    }
}

/// Rounds amounts up to thousandths.
fn round_up(amounts: &mut Value) {
    for amount in amounts.as_object_mut().into_iter().flat_map(Map::values_mut) {
        if let Some(rounded) = amount.as_str().and_then(|text| Quantity::rounded_up_to_milli(text).ok()) {
            *amount = rounded.into();
        }
    }
}

/// The pull policy of an image: a tag other than `latest`, a digest and a name that is none are pulled once.
fn pull_policy(image: &str) -> &'static str {
    let (name, digest) = image.split_once('@').map_or((image, None), |(name, digest)| (name, Some(digest)));
    let (domain, path) = match name.split_once('/') {
        Some((domain, path))
            if domain.contains(['.', ':']) || domain == "localhost" || domain.to_lowercase() != domain =>
        {
            (domain, path)
        }
        _ => ("", name),
    };
    let (path, tag) = path.split_once(':').map_or((path, None), |(path, tag)| (path, Some(tag)));
    let is_word = |text: &str, other: &str| {
        let is_good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        text.starts_with(is_good) && text.ends_with(is_good) && text.chars().all(|c| is_good(c) || other.contains(c))
    };
    let is_name =
        path.split('/').all(|part| is_word(part, "._-")) && (domain.is_empty() || !domain.contains(['{', ' ']));
    let tag = match (tag, digest) {
        (None, None) => "latest",
        (None, Some(_)) => "",
        (Some(tag), _) => tag,
    };
    if is_name && tag == "latest" { "Always" } else { "IfNotPresent" }
}
