//! What the API server refuses, in its own words. `pkg/apis/apps/validation`, `pkg/apis/core/validation`, v1.36

#![allow(clippy::indexing_slicing)] // the field of a JSON value is null if there is none

mod container;
mod decode;
mod environment;
mod errors;
mod names;
mod pod;
mod scheduling;
mod security;
mod volumes;

use serde_json::{Value, json};

use super::stored::stored;
use crate::model::{LabelSelector, Node, ResourceRequirements};
use errors::{FieldErrors, Path};
use names::{annotations, dns_label, dns_subdomain, label_key, label_selector, label_value, labels, list, text};

pub(crate) use decode::error as decode_error;
pub use decode::{UnknownField, unknown_fields};
pub use errors::FieldError;
pub use names::label_problems;

/// Returns why the API server of Kubernetes v1.36 refuses a DaemonSet, in the order and the words of its answer; nothing
/// if it accepts the DaemonSet. `before` is the DaemonSet that an update changes.
///
/// Checked are the fields that are common in DaemonSets, not each of every kind of volume: what this accepts, the API
/// server may still refuse, and so may admission plugins.
///
/// ```
/// use daemonplan::api_server::validate;
/// let mut manifest = serde_json::json!({
///     "metadata": {"name": "agent", "namespace": "prod"},
///     "spec": {
///         "selector": {"matchLabels": {"app": "agent"}},
///         "updateStrategy": {"rollingUpdate": {"maxSurge": 1}},
///         "template": {
///             "metadata": {"labels": {"app": "agent"}},
///             "spec": {"containers": [{"name": "agent", "image": "agent:1"}]}
///         }
///     }
/// });
/// assert_eq!(
///     validate(&manifest, None)[0].to_string(),
///     "spec.updateStrategy.rollingUpdate.maxSurge: Invalid value: 1: may not be set when maxUnavailable is non-zero",
/// );
/// manifest["spec"]["updateStrategy"]["rollingUpdate"]["maxUnavailable"] = 0.into();
/// assert_eq!(validate(&manifest, None), []);
/// ```
pub fn validate(manifest: &Value, before: Option<&Value>) -> Vec<FieldError> {
    if let Some(refusal) = decode::missing_version(manifest).or_else(|| decode_error(manifest)) {
        return vec![refusal];
    }
    let (daemonset, mut errors) = (stored(manifest), FieldErrors::default());
    let before = before.map(stored);
    if let Some(before) = &before {
        const IMMUTABLE: &str = "field is immutable";
        let uid = &daemonset["metadata"]["uid"];
        let is_other = |before: &Value| !text(before).is_empty() && !text(uid).is_empty() && before != uid;
        if is_other(&before["metadata"]["uid"]) {
            errors.invalid(&Path("metadata.uid".into()), uid.clone(), IMMUTABLE);
        }
        let selector = &daemonset["spec"]["selector"];
        if before["spec"]["selector"] != *selector {
            errors.invalid(&Path("spec.selector".into()), selector.clone(), IMMUTABLE);
        }
    }
    object(&mut errors, &daemonset);
    if let Some(before) = &before
        && !errors.0.is_empty()
    {
        // What is stored was accepted, maybe by an earlier version: as it is, it stays allowed.
        let mut accepted = FieldErrors::default();
        object(&mut accepted, before);
        errors.0.retain(|error| !accepted.0.contains(error));
    }
    errors.0
}

fn object(errors: &mut FieldErrors, daemonset: &Value) {
    metadata(errors, &daemonset["metadata"]);
    spec(errors, &Path("spec".into()), &daemonset["spec"]);
}

/// Returns why the API server refuses the resources of a container at this path.
pub(crate) fn resource_errors(path: String, resources: &ResourceRequirements) -> Vec<FieldError> {
    let mut errors = FieldErrors::default();
    let ResourceRequirements { requests, limits } = resources;
    container::requirements(&mut errors, &Path(path), &json!(limits), &json!(requests));
    errors.0
}

/// Returns why the API server of Kubernetes v1.36 refuses a node, for its name, its labels or its taints.
///
/// ```
/// use daemonplan::{api_server::validate_node, model::{Labels, Node}};
/// let mut node = Node::new("node-7");
/// assert_eq!(validate_node(&node), []);
/// node.labels = Labels::from([("pool", "so blue")]);
/// assert!(validate_node(&node)[0].to_string().starts_with("metadata.labels: Invalid value: \"so blue\": a valid label"));
/// ```
pub fn validate_node(node: &Node) -> Vec<FieldError> {
    let node = serde_json::to_value(node).unwrap_or_default();
    let mut errors = FieldErrors::default();
    metadata(&mut errors, &node["metadata"]);
    for (index, taint) in list(&node["spec"]["taints"]).enumerate() {
        let path = Path("spec.taints".into()).index(index);
        let [key, value, effect] = ["key", "value", "effect"].map(|field| text(&taint[field]));
        errors.invalid_each(&path.child("key"), key, label_key(key));
        errors.invalid_each(&path.child("value"), value, label_value(value));
        errors.one_of(&path.child("effect"), effect, &["NoSchedule", "PreferNoSchedule", "NoExecute"]);
    }
    errors.0
}

fn metadata(errors: &mut FieldErrors, metadata: &Value) {
    let path = Path("metadata".into());
    let name = text(&metadata["name"]);
    if !name.is_empty() {
        errors.invalid_each(&path.child("name"), name, dns_subdomain(name));
    } else if text(&metadata["generateName"]).is_empty() {
        errors.required(&path.child("name"), "name or generateName is required");
    }
    let namespace = text(&metadata["namespace"]);
    if !namespace.is_empty() {
        errors.invalid_each(&path.child("namespace"), namespace, dns_label(namespace));
    }
    labels(errors, &path.child("labels"), &metadata["labels"]);
    annotations(errors, &path.child("annotations"), &metadata["annotations"]);
    for (index, finalizer) in list(&metadata["finalizers"]).map(text).enumerate() {
        let path = path.child("finalizers");
        errors.invalid_each(&path, finalizer, label_key(finalizer));
        if !finalizer.contains('/') && !["kubernetes", "orphan", "foregroundDeletion"].contains(&finalizer) {
            let detail = "name is neither a standard finalizer name nor is it fully qualified";
            errors.invalid(&path.index(index), finalizer, detail);
        }
    }
}

fn spec(errors: &mut FieldErrors, path: &Path, spec: &Value) {
    let (selector, template) = (&spec["selector"], &spec["template"]);
    label_selector(errors, &path.child("selector"), selector);
    let own =
        if template["metadata"]["labels"].is_object() { template["metadata"]["labels"].clone() } else { json!({}) };
    if selects(selector, &own) == Some(false) {
        let path = path.child("template").child("metadata").child("labels");
        let value = if own == json!({}) { Value::Null } else { own };
        errors.invalid(&path, value, "`selector` does not match template `labels`");
    }
    let is_empty = |field: &str| selector[field].is_null();
    if selector.is_object() && is_empty("matchLabels") && is_empty("matchExpressions") {
        errors.invalid(&path.child("selector"), selector.clone(), "empty selector is invalid for daemonset");
    }
    pod::template(errors, &path.child("template"), template);
    let pod_path = path.child("template").child("spec");
    let restart = text(&template["spec"]["restartPolicy"]);
    if restart != "Always" {
        errors.not_supported(&pod_path.child("restartPolicy"), restart, &["Always"]);
    }
    if template["spec"]["activeDeadlineSeconds"].is_number() {
        let detail = "activeDeadlineSeconds in DaemonSet is not Supported";
        errors.forbidden(&pod_path.child("activeDeadlineSeconds"), detail);
    }
    errors.not_negative(&path.child("minReadySeconds"), spec["minReadySeconds"].as_i64());
    strategy(errors, &path.child("updateStrategy"), &spec["updateStrategy"]);
    errors.not_negative(&path.child("revisionHistoryLimit"), spec["revisionHistoryLimit"].as_i64());
}

/// Whether a selector matches labels; `None` if the selector is invalid.
fn selects(selector: &Value, own: &Value) -> Option<bool> {
    if selector.is_null() {
        return Some(false);
    }
    let mut errors = FieldErrors::default();
    label_selector(&mut errors, &Path(String::new()), selector);
    if !errors.0.is_empty() {
        return None;
    }
    let selector: LabelSelector = serde_json::from_value(selector.clone()).ok()?;
    Some(selector.matches(&serde_json::from_value(own.clone()).ok()?))
}

fn strategy(errors: &mut FieldErrors, path: &Path, strategy: &Value) {
    let bounds = &strategy["rollingUpdate"];
    match text(&strategy["type"]) {
        "OnDelete" => return,
        "RollingUpdate" => {}
        kind => {
            // Go writes the fields of its internal type.
            let bounds = if bounds.is_object() {
                let [unavailable, surge] = ["maxUnavailable", "maxSurge"].map(|name| or_zero(&bounds[name]));
                format!("{{\"MaxUnavailable\":{unavailable},\"MaxSurge\":{surge}}}")
            } else {
                "null".to_owned()
            };
            let value = format!("{{\"Type\":{},\"RollingUpdate\":{bounds}}}", Value::from(kind));
            let message = format!("Unsupported value: {value}: supported values: \"RollingUpdate\", \"OnDelete\"");
            errors.0.push(FieldError::new(path.0.clone(), message));
            return;
        }
    }
    let path = path.child("rollingUpdate");
    let both = ["maxUnavailable", "maxSurge"].map(|name| (path.child(name), &bounds[name]));
    for (path, bound) in &both {
        if let Some(text) = bound.as_str().filter(|text| percentage(text).is_none()) {
            let detail = "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or \
                          '93%', regex used for validation is '[0-9]+%')";
            errors.invalid(path, text, detail);
        }
        errors.not_negative(path, bound.as_i64());
    }
    for (path, bound) in &both {
        if let Some(text) = bound.as_str().filter(|text| percentage(text).is_some_and(|percent| percent > 100)) {
            errors.invalid(path, text, "must not be greater than 100%");
        }
    }
    let is_set = |bound: &Value| match bound.as_str() {
        Some(text) => match percentage(text) {
            Some(percent) => percent != 0,
            // Go reads it as a number nevertheless.
            None => text.parse::<i64>().is_ok_and(|number| number != 0),
        },
        None => bound.as_i64().unwrap_or_default() != 0,
    };
    let [(unavailable_path, unavailable), (surge_path, surge)] = both;
    match (is_set(unavailable), is_set(surge)) {
        (true, true) => errors.invalid(&surge_path, surge.clone(), "may not be set when maxUnavailable is non-zero"),
        (false, false) => errors.required(&unavailable_path, "cannot be 0 when maxSurge is 0"),
        _ => {}
    }
}

fn or_zero(value: &Value) -> Value {
    if value.is_null() { 0.into() } else { value.clone() }
}

/// The number before a percent sign.
fn percentage(text: &str) -> Option<u64> {
    let digits = text.strip_suffix('%').filter(|digits| !digits.is_empty())?;
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().unwrap_or(u64::MAX))
}
