//! The syntax of names, labels and ports. `k8s.io/apimachinery/pkg/util/validation`

use serde_json::Value;

use super::errors::{FieldErrors, Path};

const NAME_PART: &str = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an \
    alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is \
    '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const LABEL_VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', \
    and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for \
    validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
const DNS_LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must \
    start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is \
    '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const DNS_SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or \
    '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
    '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";

const CONFIG_KEY: &str = "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or \
    'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";

fn is_word(text: &str, others: &str) -> bool {
    let is_edge = |c: char| c.is_ascii_alphanumeric();
    text.starts_with(is_edge) && text.ends_with(is_edge) && text.chars().all(|c| is_edge(c) || others.contains(c))
}

fn is_dns_word(text: &str) -> bool {
    is_word(text, "-") && !text.contains(|c: char| c.is_ascii_uppercase())
}

/// The key of a label, which may have a domain before it.
pub(super) fn label_key(key: &str) -> Vec<String> {
    let mut errors = Vec::new();
    let parts: Vec<_> = key.split('/').collect();
    let name = match parts.as_slice() {
        [name] => name,
        [prefix, name] => {
            if prefix.is_empty() {
                errors.push("prefix part must be non-empty".to_owned());
            } else {
                errors.extend(dns_subdomain(prefix).into_iter().map(|error| format!("prefix part {error}")));
            }
            name
        }
        _ => {
            let optional = " with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')";
            return vec![format!("a valid label key {NAME_PART}{optional}")];
        }
    };
    if name.is_empty() {
        errors.push("name part must be non-empty".to_owned());
    } else if name.len() > 63 {
        errors.push("name part must be no more than 63 bytes".to_owned());
    }
    if !is_word(name, "-_.") {
        errors.push(format!("name part {NAME_PART}"));
    }
    errors
}

/// Returns what the API server refuses in the key and the value of a label or of a taint, the key's first.
///
/// ```
/// use daemonplan::api_server::label_problems;
/// assert_eq!(label_problems("example.com/pool", "blue"), [""; 0]);
/// assert!(label_problems("a b", "blue")[0].starts_with("\"a b\": name part must consist of alphanumeric characters"));
/// ```
pub fn label_problems(key: &str, value: &str) -> Vec<String> {
    let of = |text: &str, problems: Vec<String>| {
        problems.into_iter().map(|problem| format!("{text:?}: {problem}")).collect()
    };
    let all: [Vec<String>; 2] = [of(key, label_key(key)), of(value, label_value(value))];
    all.concat()
}

pub(super) fn label_value(value: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if value.len() > 63 {
        errors.push("must be no more than 63 bytes".to_owned());
    }
    if !value.is_empty() && !is_word(value, "-_.") {
        errors.push(LABEL_VALUE.to_owned());
    }
    errors
}

pub(super) fn dns_label(text: &str) -> Vec<String> {
    let long = (text.len() > 63).then(|| "must be no more than 63 characters".to_owned());
    long.into_iter().chain((!is_dns_word(text)).then(|| DNS_LABEL.to_owned())).collect()
}

pub(super) fn dns_subdomain(text: &str) -> Vec<String> {
    let long = (text.len() > 253).then(|| "must be no more than 253 characters".to_owned());
    let is_good = text.split('.').all(is_dns_word);
    long.into_iter().chain((!is_good).then(|| DNS_SUBDOMAIN.to_owned())).collect()
}

/// The key of a `ConfigMap` or `Secret`.
pub(super) fn config_key(key: &str) -> Vec<String> {
    let is_known = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let checks = [
        (key.len() > 253, "must be no more than 253 characters"),
        (!key.chars().all(is_known) || key.is_empty(), CONFIG_KEY),
        (key == ".", "must not be '.'"),
        (key == "..", "must not be '..'"),
        (key.starts_with("..") && key != "..", "must not start with '..'"),
    ];
    checks.into_iter().filter(|(fails, _)| *fails).map(|(_, error)| error.to_owned()).collect()
}

pub(super) fn port_number(port: i64) -> Option<String> {
    (!(1..=65535).contains(&port)).then(|| "must be between 1 and 65535, inclusive".to_owned())
}

pub(super) fn port_name(name: &str) -> Vec<String> {
    let is_known = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let checks = [
        (name.len() > 15, "must be no more than 15 characters"),
        (
            !name.chars().all(is_known) || name.is_empty(),
            "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)",
        ),
        (!name.contains(|c: char| c.is_ascii_lowercase()), "must contain at least one letter (a-z)"),
        (name.contains("--"), "must not contain consecutive hyphens"),
        (name.starts_with('-') || name.ends_with('-'), "must not begin or end with a hyphen"),
    ];
    checks.into_iter().filter(|(fails, _)| *fails).map(|(_, error)| error.to_owned()).collect()
}

/// The labels of an object, or those that a selector names.
pub(super) fn labels(errors: &mut FieldErrors, path: &Path, labels: &Value) {
    for (key, value) in sorted(labels) {
        errors.invalid_each(path, key, label_key(key));
        let value = value.as_str().unwrap_or_default();
        errors.invalid_each(path, value, label_value(value));
    }
}

pub(super) fn annotations(errors: &mut FieldErrors, path: &Path, annotations: &Value) {
    const MAX_SIZE: usize = 256 << 10;
    let mut size = 0;
    for (key, value) in sorted(annotations) {
        errors.invalid_each(path, key, label_key(&key.to_lowercase()));
        size += key.len() + value.as_str().map_or(0, str::len);
    }
    if size > MAX_SIZE {
        errors.too_long(path, MAX_SIZE);
    }
}

/// The entries of a map, by key.
pub(super) fn sorted(map: &Value) -> Vec<(&String, &Value)> {
    let mut entries: Vec<_> = map.as_object().into_iter().flatten().collect();
    entries.sort_by_key(|(key, _)| *key);
    entries
}

pub(super) fn label_selector(errors: &mut FieldErrors, path: &Path, selector: &Value) {
    labels(errors, &path.child("matchLabels"), &selector["matchLabels"]);
    for (index, requirement) in list(&selector["matchExpressions"]).enumerate() {
        let path = path.child("matchExpressions").index(index);
        let values: Vec<_> = list(&requirement["values"]).collect();
        let operator = text(&requirement["operator"]);
        match operator {
            "In" | "NotIn" if values.is_empty() => {
                errors.required(&path.child("values"), "must be specified when `operator` is 'In' or 'NotIn'");
            }
            "Exists" | "DoesNotExist" if !values.is_empty() => {
                let detail = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
                errors.forbidden(&path.child("values"), detail);
            }
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            _ => errors.invalid(&path.child("operator"), operator, "not a valid selector operator"),
        }
        let key = text(&requirement["key"]);
        errors.invalid_each(&path.child("key"), key, label_key(key));
        for (index, value) in values.iter().enumerate() {
            let value = text(value);
            errors.invalid_each(&path.child("values").index(index), value, label_value(value));
        }
    }
}

pub(super) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

pub(super) fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}
