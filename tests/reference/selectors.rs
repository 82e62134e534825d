//! Predicates of §2: labels, selectors, taints.

use std::collections::BTreeMap;

use serde_json::Value;

pub type Labels = BTreeMap<String, String>;

/// A requirement, valid or not.
#[derive(Clone, Debug, PartialEq)]
pub struct Requirement {
    key: String,
    operator: String,
    values: Vec<String>,
}

pub fn text<'v>(value: &'v Value, field: &str) -> &'v str {
    value[field].as_str().unwrap_or("")
}

pub fn list(value: &Value) -> Vec<Value> {
    value.as_array().cloned().unwrap_or_default()
}

pub fn pairs(value: &Value) -> Labels {
    let fields = value.as_object().into_iter().flatten();
    fields.map(|(key, value)| (key.clone(), value.as_str().unwrap_or("").to_owned())).collect()
}

pub fn requirement(json: &Value) -> Requirement {
    let values = list(&json["values"]).iter().map(|value| value.as_str().unwrap().to_owned()).collect();
    Requirement { key: text(json, "key").to_owned(), operator: text(json, "operator").to_owned(), values }
}

/// Returns whether a requirement holds; `None` if it is invalid.
pub fn holds(requirement: &Requirement, labels: &Labels) -> Option<bool> {
    let Requirement { key, operator, values } = requirement;
    let found = labels.get(key);
    if !is_key(key) || !values.iter().all(|value| is_value(value)) {
        return None;
    }
    let integer = |text: &String| text.parse::<i64>().ok();
    match (operator.as_str(), values.as_slice()) {
        ("In", [_, ..]) => Some(found.is_some_and(|found| values.contains(found))),
        ("NotIn", [_, ..]) => Some(found.is_none_or(|found| !values.contains(found))),
        ("Exists", []) => Some(found.is_some()),
        ("DoesNotExist", []) => Some(found.is_none()),
        ("Gt", [bound]) => integer(bound).map(|bound| found.and_then(integer).is_some_and(|found| found > bound)),
        ("Lt", [bound]) => integer(bound).map(|bound| found.and_then(integer).is_some_and(|found| found < bound)),
        _ => None,
    }
}

/// Returns whether a label selector in JSON matches; a missing one matches nothing.
pub fn selects(selector: &Value, labels: &Labels) -> bool {
    let wanted = pairs(&selector["matchLabels"]);
    !selector.is_null()
        && wanted.iter().all(|(key, value)| labels.get(key) == Some(value))
        && list(&selector["matchExpressions"]).iter().all(|json| holds(&requirement(json), labels).unwrap())
}

/// Returns whether one term of a required node affinity matches.
pub fn term_matches(term: &Value, node: &str, labels: &Labels) -> bool {
    let (expressions, fields) = (list(&term["matchExpressions"]), list(&term["matchFields"]));
    let field_holds = |json: &Value| {
        let Requirement { key, operator, values } = requirement(json);
        let found = if key == "metadata.name" { node } else { "" };
        match (operator.as_str(), values.as_slice()) {
            ("In", [value]) => Some(value == found),
            ("NotIn", [value]) => Some(value != found),
            _ => None,
        }
    };
    let all = expressions.iter().map(|json| holds(&requirement(json), labels)).chain(fields.iter().map(field_holds));
    !(expressions.is_empty() && fields.is_empty()) && all.into_iter().all(|holds| holds == Some(true))
}

pub fn tolerates(toleration: &Value, taint: &Value, compare: bool) -> bool {
    let (own, other) = (text(toleration, "value"), text(taint, "value"));
    let integers = || Some((other.parse::<i64>().ok()?, own.parse::<i64>().ok()?));
    ["", text(taint, "effect")].contains(&text(toleration, "effect"))
        && ["", text(taint, "key")].contains(&text(toleration, "key"))
        && match text(toleration, "operator") {
            "" | "Equal" => own == other,
            "Exists" => true,
            "Lt" => compare && integers().is_some_and(|(taint, own)| taint < own),
            "Gt" => compare && integers().is_some_and(|(taint, own)| taint > own),
            _ => false,
        }
}

/// Parses a selector expression; `None` if it is invalid.
pub fn expression(written: &str) -> Option<Vec<Requirement>> {
    let mut parts = vec![String::new()];
    let mut depth = 0;
    for c in written.chars() {
        match c {
            ',' if depth == 0 => {
                parts.push(String::new());
                continue;
            }
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        parts.last_mut().unwrap().push(c);
    }
    if written.trim().is_empty() {
        Some(Vec::new())
    } else {
        parts.iter().map(|part| one_expression(part.trim())).collect()
    }
}

fn one_expression(written: &str) -> Option<Requirement> {
    let make = |key: &str, operator: &str, values: Vec<String>| {
        let made = Requirement { key: key.trim().to_owned(), operator: operator.to_owned(), values };
        holds(&made, &Labels::new()).map(|_| made)
    };
    if let Some((key, values)) = written.split_once(" notin ").or_else(|| written.split_once(" in ")) {
        let operator = if written.contains(" notin ") { "NotIn" } else { "In" };
        let values = values.trim().strip_prefix('(')?.strip_suffix(')')?;
        return make(key, operator, values.split(',').map(|value| value.trim().to_owned()).collect());
    }
    for (sign, operator) in [("!=", "NotIn"), ("==", "In"), ("=", "In"), (">", "Gt"), ("<", "Lt")] {
        if let Some((key, value)) = written.split_once(sign) {
            return make(key, operator, vec![value.trim().to_owned()]);
        }
    }
    match written.strip_prefix('!') {
        Some(key) => make(key, "DoesNotExist", Vec::new()),
        None => make(written, "Exists", Vec::new()),
    }
}

/// Returns whether a label value is valid: empty, or up to 63 letters, digits, `-`, `_` and `.`, starting and ending
/// with a letter or digit.
fn is_value(text: &str) -> bool {
    let outer = |c: char| c.is_ascii_alphanumeric();
    text.len() <= 63
        && text.starts_with(outer)
        && text.ends_with(outer)
        && !text.contains(|c| !outer(c) && !"-_.".contains(c))
        || text.is_empty()
}

fn is_key(text: &str) -> bool {
    let (prefix, name) = text.split_once('/').unwrap_or(("x", text));
    !name.is_empty() && is_value(name) && !prefix.is_empty() && is_value(prefix)
}
