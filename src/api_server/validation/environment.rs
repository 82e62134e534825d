//! The environment of containers, and the fields that it refers to. `pkg/apis/core/validation`

use serde_json::Value;

use super::{
    errors::{FieldErrors, Path},
    names::{config_key, dns_subdomain, list, text},
};

/// The fields of a pod that the environment of a container may refer to.
const FIELDS: &[&str] = &[
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];
/// The fields of a pod that a volume may hold.
pub(super) const VOLUME_FIELDS: &[&str] =
    &["metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid"];
/// Further fields that have a name.
const OTHER_FIELDS: &[&str] = &["spec.restartPolicy", "spec.schedulerName", "status.phase"];
/// The amounts of a container that its environment or a volume may hold, beside those of huge pages.
const RESOURCES: &[&str] = &[
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
];
const SEVERAL: &str = "may not have more than one field specified at a time";

/// The variables of a container.
pub(super) fn variables(errors: &mut FieldErrors, path: &Path, variables: &Value) {
    for (index, variable) in list(variables).enumerate() {
        let (path, name) = (path.index(index), text(&variable["name"]));
        if name.is_empty() {
            errors.required(&path.child("name"), "");
        } else {
            variable_name(errors, &path.child("name"), name);
        }
        let (source, path) = (&variable["valueFrom"], path.child("valueFrom"));
        if !source.is_object() {
            continue;
        }
        let mut count = 0;
        for kind in ["fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef", "fileKeyRef"] {
            let (reference, path) = (&source[kind], path.child(kind));
            if reference.is_null() {
                continue;
            }
            count += 1;
            match kind {
                "fieldRef" => field(errors, &path, reference, FIELDS),
                "resourceFieldRef" => resource(errors, &path, reference, false),
                "configMapKeyRef" | "secretKeyRef" => key(errors, &path, reference),
                _ => {}
            }
        }
        let sources =
            "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`";
        match count {
            0 => errors.invalid(&path, "", sources),
            _ if !text(&variable["value"]).is_empty() => {
                errors.invalid(&path, "", "may not be specified when `value` is not empty");
            }
            1 => {}
            _ => errors.invalid(&path, "", SEVERAL),
        }
    }
}

fn variable_name(errors: &mut FieldErrors, path: &Path, name: &str) {
    if name.contains(|c: char| !matches!(c, ' '..='~') || c == '=') {
        let detail = "a valid environment variable name must consist only of printable ASCII characters other than '='";
        errors.invalid(path, name, detail);
    }
}

/// The `ConfigMap`s and `Secret`s of which all keys are variables.
pub(super) fn sources(errors: &mut FieldErrors, path: &Path, sources: &Value) {
    for (index, source) in list(sources).enumerate() {
        let item = path.index(index);
        variable_name(errors, &item.child("prefix"), text(&source["prefix"]));
        let mut count = 0;
        for kind in ["configMapRef", "secretRef"] {
            if source[kind].is_null() {
                continue;
            }
            count += 1;
            let (name, path) = (text(&source[kind]["name"]), item.child(kind).child("name"));
            if name.is_empty() {
                errors.required(&path, "");
            } else {
                errors.invalid_each(&path, name, dns_subdomain(name));
            }
        }
        match count {
            0 => errors.invalid(path, "", "must specify one of: `configMapRef` or `secretRef`"),
            1 => {}
            _ => errors.invalid(path, "", SEVERAL),
        }
    }
}

/// A reference to a field of the pod.
pub(super) fn field(errors: &mut FieldErrors, path: &Path, reference: &Value, supported: &[&str]) {
    let (field, path) = (text(&reference["fieldPath"]), path.child("fieldPath"));
    if field.contains('[') {
        return;
    }
    let is_known = [FIELDS, VOLUME_FIELDS, OTHER_FIELDS].concat().contains(&field);
    if field.is_empty() {
        errors.required(&path, "");
    } else if !is_known && field != "spec.host" {
        errors.invalid(&path, field, format!("error converting fieldPath: field label not supported: {field}"));
    } else if !supported.contains(&field) && field != "spec.host" {
        errors.not_supported(&path, field, supported);
    }
}

/// A reference to an amount of a container, which a volume names.
pub(super) fn resource(errors: &mut FieldErrors, path: &Path, reference: &Value, is_in_volume: bool) {
    let resource = text(&reference["resource"]);
    let is_huge = ["limits.hugepages-", "requests.hugepages-"].iter().any(|prefix| resource.starts_with(prefix));
    if is_in_volume && text(&reference["containerName"]).is_empty() {
        errors.required(&path.child("containerName"), "");
    } else if resource.is_empty() {
        errors.required(&path.child("resource"), "");
    } else if !RESOURCES.contains(&resource) && !is_huge {
        errors.not_supported(&path.child("resource"), resource, RESOURCES);
    }
}

/// A key of a `ConfigMap` or `Secret`.
fn key(errors: &mut FieldErrors, path: &Path, reference: &Value) {
    let (name, key) = (text(&reference["name"]), text(&reference["key"]));
    errors.invalid_each(&path.child("name"), name, dns_subdomain(name));
    if key.is_empty() {
        errors.required(&path.child("key"), "");
    } else {
        errors.invalid_each(&path.child("key"), key, config_key(key));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api_server::validation::errors::refusals;

    #[test]
    fn the_environment_refers_to_fields_that_exist() {
        let variable =
            |name: &str, field: &str| json!([{"name": name, "valueFrom": {"fieldRef": {"fieldPath": field}}}]);
        assert!(refusals(variables, &variable("NODE-NAME", "spec.nodeName")).is_empty());
        assert!(refusals(variables, &variable("LABEL", "metadata.labels['app']")).is_empty());
        for (name, field, start) in [
            ("N", "spec.nodename", "at[0].valueFrom.fieldRef.fieldPath: Invalid value"),
            ("N", "metadata.labels", "at[0].valueFrom.fieldRef.fieldPath: Unsupported value"),
            ("A=B", "spec.nodeName", "at[0].name: Invalid value"),
            ("", "spec.nodeName", "at[0].name: Required value"),
        ] {
            let found = refusals(variables, &variable(name, field));
            assert!(found.len() == 1 && found[0].starts_with(start), "{found:?}");
        }
    }

    #[test]
    fn a_variable_has_one_source() {
        let of = |source: Value| refusals(variables, &json!([{"name": "A", "valueFrom": source}]));
        let secret = json!({"name": "s", "key": "k"});
        assert!(of(json!({"secretKeyRef": secret})).is_empty());
        assert!(of(json!({}))[0].starts_with("at[0].valueFrom: Invalid value: \"\": must specify one of: `fieldRef`"));
        assert_eq!(
            of(json!({"secretKeyRef": secret, "configMapKeyRef": secret})),
            ["at[0].valueFrom: Invalid value: \"\": may not have more than one field specified at a time"]
        );
        assert_eq!(of(json!({"secretKeyRef": {"name": "s"}})), ["at[0].valueFrom.secretKeyRef.key: Required value"]);
        assert!(of(json!({"secretKeyRef": {"name": "s", "key": ".."}}))[0].ends_with("must not be '..'"));
        assert!(
            of(json!({"secretKeyRef": {"name": "S", "key": "k"}}))[0]
                .starts_with("at[0].valueFrom.secretKeyRef.name: Inv")
        );
        let resource = |name: &str| of(json!({"resourceFieldRef": {"resource": name}}));
        assert!(resource("limits.cpu").is_empty() && resource("limits.hugepages-2Mi").is_empty());
        assert!(resource("limits.gpu")[0].contains("resourceFieldRef.resource: Unsupported value: \"limits.gpu\""));
    }

    #[test]
    fn all_keys_of_one_source_are_variables() {
        assert!(refusals(sources, &json!([{"prefix": "A_", "configMapRef": {"name": "c"}}])).is_empty());
        for (source, refusal) in [
            (json!({}), "at: Invalid value: \"\": must specify one of: `configMapRef` or `secretRef`"),
            (json!({"configMapRef": {}}), "at[0].configMapRef.name: Required value"),
            (json!({"secretRef": {"name": "My_Secret"}}), "at[0].secretRef.name: Invalid value: \"My_Secret\""),
            (json!({"prefix": "a=", "secretRef": {"name": "s"}}), "at[0].prefix: Invalid value: \"a=\""),
        ] {
            let found = refusals(sources, &json!([source]));
            assert!(found.len() == 1 && found[0].starts_with(refusal), "{found:?}");
        }
    }
}
