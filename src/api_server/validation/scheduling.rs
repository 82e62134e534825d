//! Affinity, tolerations and topology spread. `pkg/apis/core/validation`

use serde_json::Value;

use super::{
    errors::{FieldErrors, Path},
    names::{dns_label, dns_subdomain, label_key, label_selector, label_value, list, text},
};

pub(super) fn affinity(errors: &mut FieldErrors, path: &Path, affinity: &Value) {
    const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
    const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";
    let (node, node_path) = (&affinity["nodeAffinity"], path.child("nodeAffinity"));
    if node[REQUIRED].is_object() {
        let path = node_path.child(REQUIRED).child("nodeSelectorTerms");
        let terms: Vec<_> = list(&node[REQUIRED]["nodeSelectorTerms"]).collect();
        if terms.is_empty() {
            errors.required(&path, "must have at least one node selector term");
        }
        for (index, term) in terms.into_iter().enumerate() {
            node_term(errors, &path.index(index), term);
        }
    }
    for (index, preferred) in list(&node[PREFERRED]).enumerate() {
        let path = node_path.child(PREFERRED).index(index);
        weight(errors, &path, preferred);
        node_term(errors, &path.child("preference"), &preferred["preference"]);
    }
    for kind in ["podAffinity", "podAntiAffinity"] {
        let (pods, path) = (&affinity[kind], path.child(kind));
        for (index, term) in list(&pods[REQUIRED]).enumerate() {
            pod_term(errors, &path.child(REQUIRED).index(index), term);
        }
        for (index, preferred) in list(&pods[PREFERRED]).enumerate() {
            let path = path.child(PREFERRED).index(index);
            weight(errors, &path, preferred);
            pod_term(errors, &path.child("podAffinityTerm"), &preferred["podAffinityTerm"]);
        }
    }
}

fn weight(errors: &mut FieldErrors, path: &Path, preferred: &Value) {
    let weight = preferred["weight"].as_i64().unwrap_or_default();
    if !(1..=100).contains(&weight) {
        errors.invalid(&path.child("weight"), weight, "must be in the range 1-100");
    }
}

fn node_term(errors: &mut FieldErrors, path: &Path, term: &Value) {
    for (index, requirement) in list(&term["matchExpressions"]).enumerate() {
        let path = path.child("matchExpressions").index(index);
        let (values_path, values): (_, Vec<_>) = (path.child("values"), list(&requirement["values"]).collect());
        let operator = text(&requirement["operator"]);
        match (operator, values.len()) {
            ("In" | "NotIn", 0) => {
                errors.required(&values_path, "must be specified when `operator` is 'In' or 'NotIn'");
            }
            ("Exists" | "DoesNotExist", 1..) => {
                let detail = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
                errors.forbidden(&values_path, detail);
            }
            ("Gt" | "Lt", count) if count != 1 => {
                errors.required(&values_path, "must be specified single value when `operator` is 'Lt' or 'Gt'");
            }
            ("In" | "NotIn" | "Exists" | "DoesNotExist" | "Gt" | "Lt", _) => {}
            _ => errors.invalid(&path.child("operator"), operator, "not a valid selector operator"),
        }
        let key = text(&requirement["key"]);
        errors.invalid_each(&path.child("key"), key, label_key(key));
        for (index, value) in values.iter().enumerate() {
            let value = text(value);
            errors.invalid_each(&values_path.index(index), value, label_value(value));
        }
    }
    for (index, requirement) in list(&term["matchFields"]).enumerate() {
        let path = path.child("matchFields").index(index);
        let values: Vec<_> = list(&requirement["values"]).collect();
        match text(&requirement["operator"]) {
            "In" | "NotIn" if values.len() != 1 => errors.required(
                &path.child("values"),
                "must be only one value when `operator` is 'In' or 'NotIn' for node field selector",
            ),
            "In" | "NotIn" => {}
            other => errors.invalid(&path.child("operator"), other, "not a valid selector operator"),
        }
        let key = text(&requirement["key"]);
        if key == "metadata.name" {
            for (index, value) in values.iter().enumerate() {
                let value = text(value);
                errors.invalid_each(&path.child("values").index(index), value, dns_subdomain(value));
            }
        } else {
            errors.invalid(&path.child("key"), key, "not a valid field selector key");
        }
    }
}

fn pod_term(errors: &mut FieldErrors, path: &Path, term: &Value) {
    label_selector(errors, &path.child("labelSelector"), &term["labelSelector"]);
    label_selector(errors, &path.child("namespaceSelector"), &term["namespaceSelector"]);
    for namespace in list(&term["namespaces"]).map(text) {
        errors.invalid_each(&path.child("namespace"), namespace, dns_label(namespace));
    }
    // The keys are checked once they are merged into the selector.
    let (key, path) = (text(&term["topologyKey"]), path.child("topologyKey"));
    if key.is_empty() {
        errors.required(&path, "can not be empty");
    }
    errors.invalid_each(&path, key, label_key(key));
}

fn match_label_keys(errors: &mut FieldErrors, path: &Path, keys: &Value, selector: &Value) {
    let keys: Vec<_> = list(keys).map(text).collect();
    if !keys.is_empty() && selector.is_null() {
        errors.forbidden(path, "must not be specified when labelSelector is not set");
        return;
    }
    let expressions = list(&selector["matchExpressions"]).map(|requirement| text(&requirement["key"]));
    let labels = selector["matchLabels"].as_object().into_iter().flatten().map(|(key, _)| key.as_str());
    let mut of_selector = FieldErrors::default();
    label_selector(&mut of_selector, path, selector);
    let selected: Vec<_> = labels.chain(expressions).filter(|_| of_selector.0.is_empty()).collect();
    for (index, key) in keys.into_iter().enumerate() {
        errors.invalid_each(&path.index(index), key, label_key(key));
        if selected.contains(&key) {
            errors.invalid(&path.index(index), key, "exists in both matchLabelKeys and labelSelector");
        }
    }
}

pub(super) fn topology_spread(errors: &mut FieldErrors, path: &Path, constraints: &Value) {
    const ACTIONS: &[&str] = &["DoNotSchedule", "ScheduleAnyway"];
    const POLICIES: &[&str] = &["Honor", "Ignore"];
    let constraints: Vec<_> = list(constraints).collect();
    for (index, constraint) in constraints.iter().enumerate() {
        let path = path.index(index);
        let skew = constraint["maxSkew"].as_i64().unwrap_or_default();
        if skew <= 0 {
            errors.invalid(&path.child("maxSkew"), skew, "must be greater than zero");
        }
        let (key, when) = (text(&constraint["topologyKey"]), text(&constraint["whenUnsatisfiable"]));
        if key.is_empty() {
            errors.required(&path.child("topologyKey"), "can not be empty");
        } else {
            errors.invalid_each(&path.child("topologyKey"), key, label_key(key));
        }
        if !ACTIONS.contains(&when) {
            errors.not_supported(&path.child("whenUnsatisfiable"), when, ACTIONS);
        }
        let is_same = |other: &&Value| text(&other["topologyKey"]) == key && text(&other["whenUnsatisfiable"]) == when;
        if constraints.iter().skip(index + 1).any(is_same) {
            errors.duplicate(&path.child("{topologyKey, whenUnsatisfiable}"), &format!("{{{key}, {when}}}"));
        }
        if let Some(least) = constraint["minDomains"].as_i64() {
            let path = path.child("minDomains");
            if least <= 0 {
                errors.invalid(&path, least, "must be greater than zero");
            }
            if when != "DoNotSchedule" {
                let detail = format!("can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {when}");
                errors.invalid(&path, least, detail);
            }
        }
        for policy in ["nodeAffinityPolicy", "nodeTaintsPolicy"] {
            if let Some(value) = constraint[policy].as_str().filter(|value| !POLICIES.contains(value)) {
                errors.not_supported(&path.child(policy), value, POLICIES);
            }
        }
        let keys = path.child("matchLabelKeys");
        match_label_keys(errors, &keys, &constraint["matchLabelKeys"], &constraint["labelSelector"]);
        label_selector(errors, &path.child("labelSelector"), &constraint["labelSelector"]);
    }
}

pub(super) fn tolerations(errors: &mut FieldErrors, path: &Path, tolerations: &Value) {
    for (index, toleration) in list(tolerations).enumerate() {
        let (path, operator_path) = (path.index(index), path.index(index).child("operator"));
        let field = |name: &str| text(&toleration[name]);
        let (key, operator, value, effect) = (field("key"), field("operator"), field("value"), field("effect"));
        if key.is_empty() && operator != "Exists" {
            let detail = "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
            errors.invalid(&operator_path, operator, detail);
        } else if !key.is_empty() {
            errors.invalid_each(&path.child("key"), key, label_key(key));
        }
        if toleration.get("tolerationSeconds").is_some_and(Value::is_number) && effect != "NoExecute" {
            let detail = "effect must be 'NoExecute' when `tolerationSeconds` is set";
            errors.invalid(&path.child("effect"), effect, detail);
        }
        match operator {
            "Equal" | "" => {
                let details = label_value(value);
                if !details.is_empty() {
                    errors.invalid(&operator_path, value, details.join(";"));
                }
            }
            "Exists" if !value.is_empty() => {
                errors.invalid(&operator_path, value, "value must be empty when `operator` is 'Exists'");
            }
            "Exists" => {}
            "Lt" | "Gt" => errors.not_supported(&operator_path, operator, &["Equal", "Exists", "Lt", "Gt"]),
            _ => errors.not_supported(&operator_path, operator, &["Equal", "Exists"]),
        }
        if !effect.is_empty() {
            errors.one_of(&path.child("effect"), effect, &["NoSchedule", "PreferNoSchedule", "NoExecute"]);
        }
    }
}
