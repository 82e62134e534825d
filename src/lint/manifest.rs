//! What the API server refuses, and fields that it does not know.

use serde_json::Value;

use super::{Finding, Lint};
use crate::{
    api_server::{FieldError, UnknownField, unknown_fields, validate},
    model::Key,
    planner::Snapshot,
};

/// Finds in the manifest of a DaemonSet what the API server refuses, and fields that it does not know. [`lint`](super::lint())
/// does the same for all DaemonSets that can be read; this is for the others, and for changes: `before` is the object that
/// the manifest changes.
///
/// ```
/// use daemonplan::lint::{Lint, lint_manifest};
/// let manifest = serde_json::json!({
///     "metadata": {"namespace": "prod", "name": "agent"},
///     "spec": {"selector": {"matchLabels": {"app": "agent"}}, "updateStrategy": {"type": "rolling"},
///              "template": {"metadata": {"labels": {"app": "agent"}}, "spec": {"containers": [{"name": "a", "image": "a"}]}}}
/// });
/// let findings = lint_manifest(&manifest, None);
/// assert_eq!((findings[0].lint, &*findings[0].field), (Lint::RefusedByApiServer, "spec.updateStrategy"));
/// ```
pub fn lint_manifest(manifest: &Value, before: Option<&Value>) -> Vec<Finding> {
    let metadata = |field: &str| manifest.get("metadata").and_then(|metadata| metadata.get(field)?.as_str());
    let name = |field: &str| metadata(field).unwrap_or_default().to_owned();
    let namespace = Some(name("namespace")).filter(|namespace| !namespace.is_empty()).unwrap_or("default".to_owned());
    of_manifest(&Key::new(namespace, name("name")), manifest, before)
}

/// Checks the manifest of a snapshot's DaemonSet, or what the model holds of it.
pub(super) fn check(snapshot: &Snapshot<'_>) -> Vec<Finding> {
    let key = Key::new(snapshot.daemonset.namespace.clone(), snapshot.daemonset.name.clone());
    let mut findings = match snapshot.manifest {
        Some((manifest, before)) => of_manifest(&key, manifest, before),
        None => of_manifest(&key, &serde_json::to_value(snapshot.daemonset).unwrap_or_default(), None),
    };
    if snapshot.settings.is_some_and(|settings| settings.toleration_comparison) {
        // The cluster has the feature gate that allows these operators.
        let is_allowed = |finding: &Finding| {
            ["\"Lt\": supported", "\"Gt\": supported"].iter().any(|text| finding.message.contains(text))
        };
        findings.retain(|finding| !is_allowed(finding));
    }
    findings
}

fn of_manifest(key: &Key, manifest: &Value, before: Option<&Value>) -> Vec<Finding> {
    let refused = validate(manifest, before).into_iter().map(|refusal| Finding {
        lint: Lint::RefusedByApiServer,
        fix: fix(&refusal).to_owned(),
        message: refusal.message,
        field: refusal.field,
        ..found(key)
    });
    // An API server knows the fields of what it has stored.
    let is_stored = |manifest: &Value| manifest.pointer("/metadata/resourceVersion").is_some();
    let mut unknown = if is_stored(manifest) { Vec::new() } else { unknown_fields(manifest) };
    if let Some(before) = before.filter(|before| is_stored(before)) {
        let known = unknown_fields(before);
        unknown.retain(|field| known.iter().all(|known| known.path != field.path));
    }
    let unknown = unknown.into_iter().map(|UnknownField { path, similar }| Finding {
        lint: Lint::UnknownField,
        message: format!("unknown field {path:?}: kubectl refuses it, and other clients lose it"),
        fix: similar.map_or("remove it".to_owned(), |similar| format!("did you mean {similar}? Otherwise remove it")),
        field: path,
        ..found(key)
    });
    refused.chain(unknown).collect()
}

fn found(key: &Key) -> Finding {
    Finding {
        lint: Lint::RefusedByApiServer,
        severity: Lint::RefusedByApiServer.severity(),
        daemon_set: key.clone(),
        kind: "DaemonSet",
        field: String::new(),
        message: String::new(),
        fix: String::new(),
        nodes: Vec::new(),
    }
}

fn fix(refusal: &FieldError) -> &'static str {
    let has = |text: &str| refusal.message.contains(text);
    match refusal.field.as_str() {
        "spec.updateStrategy.rollingUpdate.maxSurge" if has("maxUnavailable is non-zero") => {
            "set maxUnavailable to 0, whose default is 1, or leave maxSurge out"
        }
        "spec.updateStrategy.rollingUpdate.maxUnavailable" if has("maxSurge is 0") => "set maxUnavailable to 1 or more",
        "spec.template.metadata.labels" => "give the template the labels of the selector",
        "spec.template.spec.restartPolicy" => "set it to Always, or leave it out",
        "spec.template.spec.activeDeadlineSeconds" => "leave it out",
        "apiVersion" => "set it to apps/v1",
        _ if has("Required value") => "set it",
        _ if has("Forbidden") => "leave it out",
        _ if has("Duplicate value") => "remove one of the two",
        _ if has("supported values") => "set it to one of the supported values",
        _ => "correct it: the API server refuses the DaemonSet as it is",
    }
}
