//! What cannot be read: values of another type, and fields that do not exist.

use std::num::IntErrorKind;

use serde::Serialize;
use serde_json::{Map, Value};

use super::errors::FieldError;
use crate::{
    api_server::schema::{FieldType, Shape, fields},
    model::Quantity,
    util::distance::distance,
};

/// A field that the API server does not know. kubectl refuses it, and other clients lose it.
///
/// ```
/// use daemonplan::api_server::unknown_fields;
/// let manifest = serde_json::json!({"spec": {"template": {"spec": {"toleration": []}}}});
/// let unknown = &unknown_fields(&manifest)[0];
/// assert_eq!(unknown.path, "spec.template.spec.toleration");
/// assert_eq!(unknown.similar.as_deref(), Some("spec.template.spec.tolerations"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct UnknownField {
    /// Its path.
    pub path: String,
    /// The path of the field that is probably meant: of a similar name, or of this name in another place nearby.
    pub similar: Option<String>,
}

/// Returns the fields of a DaemonSet's manifest that the API server of Kubernetes v1.36 does not know, in their order.
/// They are what it refuses with strict field validation, as kubectl asks for.
///
/// ```
/// let manifest = serde_json::json!({"spec": {"replicas": 3}});
/// assert_eq!(daemonplan::api_server::unknown_fields(&manifest)[0].path, "spec.replicas");
/// ```
pub fn unknown_fields(manifest: &Value) -> Vec<UnknownField> {
    let mut found = Vec::new();
    search("DaemonSet", manifest, "", &mut found);
    found
}

fn search(of: &'static str, value: &Value, path: &str, found: &mut Vec<UnknownField>) {
    let Value::Object(given) = value else { return };
    for (key, value) in given {
        let at = child(path, key);
        match fields(of).find(|(name, _)| name == key) {
            Some((_, field)) => search_in(field, value, &at, found),
            None => found.push(UnknownField { similar: similar(of, path, key), path: at }),
        }
    }
}

fn search_in(field: FieldType, value: &Value, path: &str, found: &mut Vec<UnknownField>) {
    match (field.shape, value) {
        (Shape::Object(of), value) => search(of, value, path, found),
        (Shape::List(items), Value::Array(values)) => {
            for (index, value) in values.iter().enumerate() {
                search_in(FieldType::of(items), value, &format!("{path}[{index}]"), found);
            }
        }
        _ => {}
    }
}

fn child(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// The field that is probably meant: one of the same object with a similar name, or one of this name within it.
fn similar(of: &str, path: &str, key: &str) -> Option<String> {
    const MOST: usize = 2;
    let lower = key.to_lowercase();
    let near = fields(of).map(|(name, _)| (distance(&lower, &name.to_lowercase()), name));
    let near = near.filter(|(distance, name)| *distance <= MOST && *distance < name.len()).min();
    if let Some((_, name)) = near {
        return Some(child(path, name));
    }
    within(of, key, 2).map(|inner| child(path, &inner))
}

/// The path of a field of this name in the objects of a type.
fn within(of: &str, key: &str, depth: usize) -> Option<String> {
    let objects = || {
        fields(of).filter_map(|(name, field)| match field.shape {
            Shape::Object(inner) => Some((name, inner)),
            _ => None,
        })
    };
    let direct = objects().find(|(_, inner)| fields(inner).any(|(field, _)| field == key));
    if let Some((name, _)) = direct {
        return Some(format!("{name}.{key}"));
    }
    let depth = depth.checked_sub(1)?;
    objects().find_map(|(name, inner)| Some(format!("{name}.{}", within(inner, key, depth)?)))
}

/// Returns the first value that cannot be read.
pub(crate) fn error(manifest: &Value) -> Option<FieldError> {
    let (field, message) = object("DaemonSet", manifest, "").or_else(|| generation(manifest))?;
    Some(FieldError { is_unreadable: true, ..FieldError::new(field, message) })
}

/// An object that names its kind needs its version, too; items of a list may lack both.
pub(super) fn missing_version(manifest: &Value) -> Option<FieldError> {
    let is_missing = !manifest["kind"].is_null() && manifest["apiVersion"].as_str().is_none_or(str::is_empty);
    is_missing.then(|| FieldError { is_unreadable: true, ..FieldError::new("apiVersion", "apiVersion not set") })
}

/// The annotation of the template's generation is a field of an older version.
fn generation(manifest: &Value) -> Option<(String, String)> {
    const ANNOTATION: &str = "deprecated.daemonset.template.generation";
    let text = manifest["metadata"]["annotations"][ANNOTATION].as_str()?;
    let problem = match text.parse::<i64>() {
        Ok(_) => return None,
        Err(error) if matches!(error.kind(), IntErrorKind::PosOverflow | IntErrorKind::NegOverflow) => {
            "value out of range"
        }
        Err(_) => "invalid syntax",
    };
    let message = format!("strconv.ParseInt: parsing {}: {problem}", Value::from(text));
    Some((format!("metadata.annotations[{ANNOTATION}]"), message))
}

/// Returns the path and the problem of the first value of another type.
fn object(of: &'static str, value: &Value, path: &str) -> Option<(String, String)> {
    let Value::Object(given) = value else { return None };
    ordered(of, given).find_map(|(name, field, value)| {
        let path = child(path, name);
        let message = mismatch(field, value, &|kind, expected| {
            format!("json: cannot unmarshal {kind} into Go struct field {of}.{path} of type {expected}")
        });
        message.map(|message| (path.clone(), message)).or_else(|| inside(field, value, &path))
    })
}

fn ordered<'v>(
    of: &'static str,
    given: &'v Map<String, Value>,
) -> impl Iterator<Item = (&'static str, FieldType, &'v Value)> {
    given.iter().filter_map(move |(key, value)| {
        let (name, field) = fields(of).find(|(name, _)| name == key)?;
        Some((name, field, value))
    })
}

fn inside(field: FieldType, value: &Value, path: &str) -> Option<(String, String)> {
    match (field.shape, value) {
        (Shape::Object(of), value) => object(of, value, path),
        (Shape::List(items), Value::Array(values)) => {
            let items = FieldType::of(items);
            values.iter().find_map(|value| inside(items, value, path))
        }
        _ => None,
    }
}

/// Compares a value with the type of its field. `tell` receives the JSON type that was found and the Go type.
fn mismatch(field: FieldType, value: &Value, tell: &dyn Fn(&str, &str) -> String) -> Option<String> {
    let found = match value {
        Value::Null => return None,
        Value::Bool(_) => "bool".to_owned(),
        Value::Number(_) => "number".to_owned(),
        Value::String(_) => "string".to_owned(),
        Value::Array(_) => "array".to_owned(),
        Value::Object(_) => "object".to_owned(),
    };
    let integer = |bits: u32| match value {
        Value::Number(number) => {
            let fits = number.as_i64().is_some_and(|number| bits == 64 || i32::try_from(number).is_ok());
            (!fits).then(|| tell(&format!("number {number}"), &format!("int{bits}")))
        }
        _ => Some(tell(&found, &format!("int{bits}"))),
    };
    match (field.shape, value) {
        (Shape::IntOrString | Shape::String | Shape::Time, Value::String(_))
        | (Shape::Bool, Value::Bool(_))
        | (Shape::Object(_), Value::Object(_))
        | (Shape::Any, _) => None,
        (Shape::Int32 | Shape::IntOrString, _) => integer(32),
        (Shape::Int64, _) => integer(64),
        (Shape::Quantity, _) => quantity(value),
        (Shape::List(items), Value::Array(values)) => {
            let items = FieldType::of(items);
            values.iter().find_map(|value| mismatch(items, value, tell))
        }
        (Shape::Map(values), Value::Object(map)) => {
            let values = FieldType::of(values);
            map.values().find_map(|value| mismatch(values, value, tell))
        }
        (Shape::String | Shape::Time, _) => Some(tell(&found, "string")),
        (Shape::Bool, _) => Some(tell(&found, "bool")),
        (Shape::List(items), _) => Some(tell(&found, &format!("[]{}", go_type(items)))),
        (Shape::Map(values), _) => Some(tell(&found, &format!("map[string]{}", go_type(values)))),
        (Shape::Object(of), _) => Some(tell(&found, &go_type(of))),
    }
}

fn go_type(of: &str) -> String {
    if of.starts_with(|c: char| c.is_ascii_uppercase()) { format!("v1.{of}") } else { of.to_owned() }
}

fn quantity(value: &Value) -> Option<String> {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let text = text.trim();
    text.parse::<Quantity>().err()?;
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let is_digit = |c: char| c.is_ascii_digit();
    let whole = unsigned.trim_start_matches(is_digit);
    let suffix = whole.strip_prefix('.').map_or(whole, |fraction| fraction.trim_start_matches(is_digit));
    let letters = suffix.trim_start_matches(|c| "eEinumkKMGTP".contains(c));
    let rest = letters.strip_prefix(['+', '-']).unwrap_or(letters).trim_start_matches(is_digit);
    let problem = if text.is_empty() || !rest.is_empty() {
        "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
    } else if format!("1{suffix}").parse::<Quantity>().is_err() {
        "unable to parse quantity's suffix"
    } else {
        "unable to parse numeric part of quantity"
    };
    Some(problem.to_owned())
}
