//! Users, privileges and the environment of containers. `pkg/apis/core/validation`

use serde_json::{Value, json};

use super::{
    errors::{FieldErrors, Path},
    names::{list, text},
};

/// The fields of a pod that the environment of a container may refer to.
const ENV_FIELDS: &[&str] = &[
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
/// Fields that are known, but only to volumes.
const VOLUME_FIELDS: &[&str] =
    &["metadata.annotations", "metadata.labels", "spec.restartPolicy", "spec.schedulerName", "status.phase"];

pub(super) fn environment(errors: &mut FieldErrors, path: &Path, variables: &Value) {
    for (index, variable) in list(variables).enumerate() {
        let (path, name) = (path.index(index), text(&variable["name"]));
        if name.is_empty() {
            errors.required(&path.child("name"), "");
        } else if name.contains(|c: char| !matches!(c, ' '..='~') || c == '=') {
            let detail =
                "a valid environment variable name must consist only of printable ASCII characters other than '='";
            errors.invalid(&path.child("name"), name, detail);
        }
        let (source, source_path) = (&variable["valueFrom"], path.child("valueFrom"));
        if let Some(field) = source["fieldRef"]["fieldPath"].as_str().filter(|field| !field.contains('[')) {
            let path = source_path.child("fieldRef").child("fieldPath");
            if field.is_empty() {
                errors.required(&path, "");
            } else if VOLUME_FIELDS.contains(&field) {
                errors.not_supported(&path, field, ENV_FIELDS);
            } else if !ENV_FIELDS.contains(&field) && field != "spec.host" {
                let detail = format!("error converting fieldPath: field label not supported: {field}");
                errors.invalid(&path, field, detail);
            }
        }
        if !text(&variable["value"]).is_empty() && source.is_object() {
            errors.invalid(&source_path, "", "may not be specified when `value` is not empty");
        }
    }
}

/// The privileges of a container.
pub(super) fn container(errors: &mut FieldErrors, path: &Path, context: &Value) {
    users(errors, path, context, &["runAsUser", "runAsGroup"]);
    seccomp(errors, &path.child("seccompProfile"), &context["seccompProfile"]);
    if context["allowPrivilegeEscalation"] == false {
        if context["privileged"] == true {
            let detail = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true";
            errors.invalid(path, internal(context), detail);
        }
        if list(&context["capabilities"]["add"]).any(|capability| capability == "CAP_SYS_ADMIN") {
            let detail = "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN";
            errors.invalid(path, internal(context), detail);
        }
    }
}

/// The privileges of a pod.
pub(super) fn pod(errors: &mut FieldErrors, path: &Path, context: &Value) {
    users(errors, path, context, &["fsGroup", "runAsUser", "runAsGroup"]);
    for (index, group) in list(&context["supplementalGroups"]).enumerate() {
        user(errors, &path.child("supplementalGroups").index(index), group);
    }
    seccomp(errors, &path.child("seccompProfile"), &context["seccompProfile"]);
}

fn users(errors: &mut FieldErrors, path: &Path, context: &Value, fields: &[&str]) {
    for field in fields {
        user(errors, &path.child(field), &context[*field]);
    }
}

fn user(errors: &mut FieldErrors, path: &Path, id: &Value) {
    if let Some(id) = id.as_i64().filter(|id| !(0..=i64::from(i32::MAX)).contains(id)) {
        errors.invalid(path, id, "must be between 0 and 2147483647, inclusive");
    }
}

fn seccomp(errors: &mut FieldErrors, path: &Path, profile: &Value) {
    if profile.is_null() {
        return;
    }
    let (kind, file) = (text(&profile["type"]), &profile["localhostProfile"]);
    let file_path = path.child("localhostProfile");
    match kind {
        "" => errors.required(&path.child("type"), "type is required when seccompProfile is set"),
        "Localhost" if file.is_null() => errors.required(&file_path, "must be set when seccomp type is Localhost"),
        "Localhost" => {}
        "RuntimeDefault" | "Unconfined" => {
            if !file.is_null() {
                errors.invalid(&file_path, file.clone(), "can only be set when seccomp type is Localhost");
            }
        }
        other => errors.not_supported(&path.child("type"), other, &["Localhost", "RuntimeDefault", "Unconfined"]),
    }
}

/// Writes a security context as the API server does in its errors: with the names of its internal fields.
fn internal(context: &Value) -> Value {
    let capabilities = match &context["capabilities"] {
        Value::Null => Value::Null,
        capabilities => json!({"Add": capabilities["add"], "Drop": capabilities["drop"]}),
    };
    let mut written = serde_json::Map::new();
    written.insert("Capabilities".into(), capabilities);
    for field in [
        "privileged",
        "seLinuxOptions",
        "windowsOptions",
        "runAsUser",
        "runAsGroup",
        "runAsNonRoot",
        "readOnlyRootFilesystem",
        "allowPrivilegeEscalation",
        "procMount",
        "seccompProfile",
        "appArmorProfile",
    ] {
        let name = if field == "seLinuxOptions" { "SELinuxOptions".to_owned() } else { capitalised(field) };
        written.insert(name, context[field].clone());
    }
    Value::Object(written)
}

fn capitalised(name: &str) -> String {
    let (first, rest) = name.split_at(name.len().min(1));
    first.to_uppercase() + rest
}

/// Names of hosts that pods resolve.
pub(super) fn host_aliases(errors: &mut FieldErrors, path: &Path, aliases: &Value) {
    for (index, alias) in list(aliases).enumerate() {
        let (path, ip) = (path.index(index).child("ip"), text(&alias["ip"]));
        if !is_ip(ip) {
            errors.invalid(&path, ip, "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)");
        }
    }
}

/// Whether a text is an address. The parts of old fields may have leading zeros.
fn is_ip(text: &str) -> bool {
    let is_part = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit()) && part.parse::<u8>().is_ok();
    text.parse::<std::net::Ipv6Addr>().is_ok() || (text.split('.').count() == 4 && text.split('.').all(is_part))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refused(check: fn(&mut FieldErrors, &Path, &Value), value: &Value) -> Vec<String> {
        let mut errors = FieldErrors::default();
        check(&mut errors, &Path("at".into()), value);
        errors.0.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn privileges_that_contradict_each_other_are_refused() {
        let context = json!({"privileged": true, "allowPrivilegeEscalation": false, "runAsUser": -1});
        let refusals = refused(container, &context);
        assert_eq!(refusals[0], "at.runAsUser: Invalid value: -1: must be between 0 and 2147483647, inclusive");
        assert!(refusals[1].starts_with("at: Invalid value: {"), "{refusals:?}");
        assert!(refusals[1].ends_with("cannot set `allowPrivilegeEscalation` to false and `privileged` to true"));
        assert_eq!(
            refused(container, &json!({"allowPrivilegeEscalation": false, "capabilities": {"add": ["CAP_SYS_ADMIN"]}}))
                .len(),
            1
        );
        assert!(refused(container, &json!({"privileged": true, "runAsUser": 0})).is_empty());
        assert!(refused(container, &Value::Null).is_empty());
    }

    #[test]
    fn the_environment_refers_to_fields_that_exist() {
        let variable =
            |name: &str, field: &str| json!([{"name": name, "valueFrom": {"fieldRef": {"fieldPath": field}}}]);
        assert!(refused(environment, &variable("NODE-NAME", "spec.nodeName")).is_empty());
        assert!(refused(environment, &variable("LABEL", "metadata.labels['app']")).is_empty());
        for (name, field, start) in [
            ("N", "spec.nodename", "at[0].valueFrom.fieldRef.fieldPath: Invalid value"),
            ("N", "metadata.labels", "at[0].valueFrom.fieldRef.fieldPath: Unsupported value"),
            ("A=B", "spec.nodeName", "at[0].name: Invalid value"),
            ("", "spec.nodeName", "at[0].name: Required value"),
        ] {
            let refusals = refused(environment, &variable(name, field));
            assert!(refusals.len() == 1 && refusals[0].starts_with(start), "{refusals:?}");
        }
    }

    #[test]
    fn profiles_and_addresses_are_checked() {
        assert!(refused(pod, &json!({"seccompProfile": {"type": "RuntimeDefault"}})).is_empty());
        for profile in [json!({}), json!({"type": "Localhost"}), json!({"type": "Mine"})] {
            assert_eq!(refused(pod, &json!({"seccompProfile": profile})).len(), 1, "{profile}");
        }
        assert_eq!(refused(pod, &json!({"fsGroup": -1, "supplementalGroups": [1, -1]})).len(), 2);
        for ip in ["10.9.8.7", "010.1.1.1", "2001:db8::ffff"] {
            assert!(refused(host_aliases, &json!([{"ip": ip}])).is_empty(), "{ip}");
        }
        for ip in ["", "10.9.8", "10.9.8.256", "host"] {
            assert_eq!(refused(host_aliases, &json!([{"ip": ip}])).len(), 1, "{ip}");
        }
    }
}
