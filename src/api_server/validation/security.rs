//! Users, privileges and the environment of containers. `pkg/apis/core/validation`

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{
    errors::{FieldErrors, Path},
    names::{dns_subdomain, list, text},
};

/// The privileges of a container.
pub(super) fn container(errors: &mut FieldErrors, path: &Path, context: &Value) {
    users(errors, path, context, &["runAsUser", "runAsGroup"]);
    profile(errors, path, context, "seccompProfile", "seccomp");
    profile(errors, path, context, "appArmorProfile", "AppArmor");
    errors.known(&path.child("procMount"), &context["procMount"], &["Default", "Unmasked"]);
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
pub(super) fn pod(errors: &mut FieldErrors, path: &Path, spec: &Value) {
    let context = &spec["securityContext"];
    if spec["hostPID"] == true && spec["shareProcessNamespace"] == true {
        let detail = "ShareProcessNamespace and HostPID cannot both be enabled";
        errors.invalid(&path.child("shareProcessNamespace"), true, detail);
    }
    users(errors, path, context, &["fsGroup", "runAsUser", "runAsGroup"]);
    for (index, group) in list(&context["supplementalGroups"]).enumerate() {
        user(errors, &path.child("supplementalGroups").index(index), group);
    }
    profile(errors, path, context, "seccompProfile", "seccomp");
    profile(errors, path, context, "appArmorProfile", "AppArmor");
    errors.known(&path.child("fsGroupChangePolicy"), &context["fsGroupChangePolicy"], &["Always", "OnRootMismatch"]);
    errors.known(&path.child("supplementalGroupsPolicy"), &context["supplementalGroupsPolicy"], &["Merge", "Strict"]);
    let mut names = BTreeSet::new();
    for (index, parameter) in list(&context["sysctls"]).enumerate() {
        let (path, name) = (path.child("sysctls").index(index).child("name"), text(&parameter["name"]));
        if name.is_empty() {
            errors.required(&path, "");
        } else if !names.insert(name) {
            errors.duplicate(&path, name);
        }
    }
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

/// Checks the fields `seccompProfile` or `appArmorProfile`. `name` is the API server's word for it.
fn profile(errors: &mut FieldErrors, path: &Path, context: &Value, field: &str, name: &str) {
    let (path, profile) = (path.child(field), &context[field]);
    if profile.is_null() {
        return;
    }
    let (kind, file) = (text(&profile["type"]), &profile["localhostProfile"]);
    let file_path = path.child("localhostProfile");
    match kind {
        "" => errors.required(&path.child("type"), &format!("type is required when {field} is set")),
        "Localhost" if file.is_null() => {
            errors.required(&file_path, &format!("must be set when {name} type is Localhost"));
        }
        "Localhost" => {}
        "RuntimeDefault" | "Unconfined" => {
            if !file.is_null() {
                errors.invalid(&file_path, file.clone(), format!("can only be set when {name} type is Localhost"));
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
        let path = path.index(index);
        address(errors, &path.child("ip"), text(&alias["ip"]));
        for name in list(&alias["hostnames"]).map(text) {
            errors.invalid_each(&path.child("hostnames"), name, dns_subdomain(name));
        }
    }
}

pub(super) fn address(errors: &mut FieldErrors, path: &Path, ip: &str) {
    if !is_ip(ip) {
        errors.invalid(path, ip, "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)");
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
    use crate::api_server::validation::errors::refusals;

    #[test]
    fn privileges_that_contradict_each_other_are_refusals() {
        let context = json!({"privileged": true, "allowPrivilegeEscalation": false, "runAsUser": -1});
        let found = refusals(container, &context);
        assert_eq!(found[0], "at.runAsUser: Invalid value: -1: must be between 0 and 2147483647, inclusive");
        assert!(found[1].starts_with("at: Invalid value: {"), "{found:?}");
        assert!(found[1].ends_with("cannot set `allowPrivilegeEscalation` to false and `privileged` to true"));
        assert_eq!(
            refusals(
                container,
                &json!({"allowPrivilegeEscalation": false, "capabilities": {"add": ["CAP_SYS_ADMIN"]}})
            )
            .len(),
            1
        );
        assert!(refusals(container, &json!({"privileged": true, "runAsUser": 0})).is_empty());
        assert!(refusals(container, &Value::Null).is_empty());
    }

    #[test]
    fn profiles_and_addresses_are_checked() {
        assert!(refusals(pod, &json!({"securityContext": {"seccompProfile": {"type": "RuntimeDefault"}}})).is_empty());
        for profile in [json!({}), json!({"type": "Localhost"}), json!({"type": "Mine"})] {
            for field in ["seccompProfile", "appArmorProfile"] {
                assert_eq!(refusals(pod, &json!({"securityContext": {field: profile}})).len(), 1, "{profile}");
                assert_eq!(refusals(container, &json!({field: profile})).len(), 1, "{profile}");
            }
        }
        assert_eq!(refusals(pod, &json!({"securityContext": {"fsGroup": -1, "supplementalGroups": [1, -1]}})).len(), 2);
        for ip in ["10.9.8.7", "010.1.1.1", "2001:db8::ffff"] {
            assert!(refusals(host_aliases, &json!([{"ip": ip}])).is_empty(), "{ip}");
        }
        for ip in ["", "10.9.8", "10.9.8.256", "host"] {
            assert_eq!(refusals(host_aliases, &json!([{"ip": ip}])).len(), 1, "{ip}");
        }
    }

    #[test]
    fn policies_of_a_pod_are_known_ones() {
        for (spec, refusal) in [
            (
                json!({"fsGroupChangePolicy": "x"}),
                "at.fsGroupChangePolicy: Unsupported value: \"x\": supported values: \"Always\"",
            ),
            (json!({"supplementalGroupsPolicy": "x"}), "at.supplementalGroupsPolicy: Unsupported value: \"x\""),
            (json!({"sysctls": [{"name": "a.b"}, {"name": "a.b"}]}), "at.sysctls[1].name: Duplicate value: \"a.b\""),
        ] {
            let found = refusals(pod, &json!({"securityContext": spec}));
            assert!(found.len() == 1 && found[0].starts_with(refusal), "{found:?}");
        }
        assert_eq!(
            refusals(pod, &json!({"hostPID": true, "shareProcessNamespace": true})),
            ["at.shareProcessNamespace: Invalid value: true: ShareProcessNamespace and HostPID cannot both be enabled"]
        );
        assert_eq!(refusals(container, &json!({"procMount": "foo"})).len(), 1);
        assert_eq!(refusals(host_aliases, &json!([{"ip": "1.2.3.4", "hostnames": ["a_b"]}])).len(), 1);
    }
}
