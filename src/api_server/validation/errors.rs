//! The errors of the API server, with its own words.

use std::fmt;

use serde::Serialize;
use serde_json::Value;

/// A refusal of the API server: a field, and what is wrong with it.
///
/// ```
/// use daemonplan::api_server::validate;
/// let manifest = serde_json::json!({"metadata": {"name": "Agent"}, "spec": {"selector": {}, "template": {}}});
/// let refusal = &validate(&manifest, None)[0];
/// assert_eq!(refusal.field, "metadata.name");
/// assert!(refusal.to_string().starts_with("metadata.name: Invalid value: \"Agent\": a lowercase RFC 1123 subdomain"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct FieldError {
    /// The path of the field, as Kubernetes writes it.
    pub field: String,
    /// What is wrong, in Kubernetes' words.
    pub message: String,
    /// Whether the object cannot be read at all: the message then names the field itself.
    #[serde(skip)]
    pub(super) is_unreadable: bool,
}

impl FieldError {
    /// Creates a refusal of a field.
    pub fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { field: field.into(), message: message.into(), is_unreadable: false }
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.is_unreadable {
            write!(f, "{}: ", self.field)?;
        }
        f.write_str(&self.message)
    }
}

/// The path of a field.
#[derive(Clone, Debug)]
pub(super) struct Path(pub(super) String);

impl Path {
    pub(super) fn child(&self, name: &str) -> Self {
        if self.0.is_empty() { Self(name.to_owned()) } else { Self(format!("{}.{name}", self.0)) }
    }

    pub(super) fn index(&self, index: usize) -> Self {
        Self(format!("{}[{index}]", self.0))
    }

    pub(super) fn key(&self, key: &str) -> Self {
        Self(format!("{}[{key}]", self.0))
    }
}

/// The refusals of a value at the path `at`.
#[cfg(test)]
pub(super) fn refusals(check: fn(&mut FieldErrors, &Path, &Value), value: &Value) -> Vec<String> {
    let mut errors = FieldErrors::default();
    check(&mut errors, &Path("at".into()), value);
    errors.0.iter().map(ToString::to_string).collect()
}

/// Collects refusals.
#[derive(Debug, Default)]
pub(super) struct FieldErrors(pub(super) Vec<FieldError>);

impl FieldErrors {
    fn add(&mut self, path: &Path, message: String) {
        self.0.push(FieldError::new(path.0.clone(), message));
    }

    pub(super) fn invalid(&mut self, path: &Path, value: impl Into<Value>, detail: impl fmt::Display) {
        self.add(path, format!("Invalid value: {}: {detail}", value.into()));
    }

    pub(super) fn required(&mut self, path: &Path, detail: &str) {
        let separator = if detail.is_empty() { "" } else { ": " };
        self.add(path, format!("Required value{separator}{detail}"));
    }

    pub(super) fn forbidden(&mut self, path: &Path, detail: &str) {
        self.add(path, format!("Forbidden: {detail}"));
    }

    pub(super) fn too_long(&mut self, path: &Path, most: usize) {
        self.add(path, format!("Too long: may not be more than {most} bytes"));
    }

    pub(super) fn duplicate(&mut self, path: &Path, value: &str) {
        self.add(path, format!("Duplicate value: {}", Value::from(value)));
    }

    pub(super) fn not_found(&mut self, path: &Path, value: &str) {
        self.add(path, format!("Not found: {}", Value::from(value)));
    }

    pub(super) fn not_supported(&mut self, path: &Path, value: impl Into<Value>, supported: &[&str]) {
        let supported: Vec<_> = supported.iter().map(|value| format!("{value:?}")).collect();
        self.add(path, format!("Unsupported value: {}: supported values: {}", value.into(), supported.join(", ")));
    }

    /// Refuses a value that is not among the supported ones. An absent one is required.
    pub(super) fn one_of(&mut self, path: &Path, value: &str, supported: &[&str]) {
        if value.is_empty() {
            self.required(path, "");
        } else if !supported.contains(&value) {
            self.not_supported(path, value, supported);
        }
    }

    /// Refuses a value that is not among the supported ones. An absent one is allowed.
    pub(super) fn known(&mut self, path: &Path, value: &Value, supported: &[&str]) {
        if let Some(value) = value.as_str().filter(|value| !supported.contains(value)) {
            self.not_supported(path, value, supported);
        }
    }

    pub(super) fn invalid_each(&mut self, path: &Path, value: &str, details: impl IntoIterator<Item = String>) {
        for detail in details {
            self.invalid(path, value, detail);
        }
    }

    pub(super) fn not_negative(&mut self, path: &Path, value: Option<i64>) {
        if let Some(value) = value.filter(|value| *value < 0) {
            self.invalid(path, value, "must be greater than or equal to 0");
        }
    }
}
