//! YAML as kubectl reads and writes it: the scalars of YAML 1.1, in Go's reading of them.
//! <https://github.com/kubernetes-sigs/yaml>

use std::{
    collections::{HashMap, HashSet},
    io,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, Tag};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Number, Value};

use super::error::plain;

/// The error of a document, with its line, counted from 1.
pub(super) struct YamlError {
    pub(super) line: usize,
    pub(super) problem: String,
}

/// A document as JSON.
#[derive(Debug)]
pub(super) struct Document {
    pub(super) value: Value,
    /// The keys that a mapping repeats, each as a path. As with kubectl, the last value counts.
    pub(super) repeated: Vec<String>,
}

/// Writes a value as YAML. kubectl reads it back as the same value: strings that YAML 1.1 takes for something else are
/// quoted.
///
/// ```
/// use daemonplan::manifest::write_yaml;
/// let mut text = Vec::new();
/// write_yaml(&mut text, &[("on", 1)].into_iter().collect::<std::collections::BTreeMap<_, _>>())?;
/// assert_eq!(text, b"\"on\": 1\n");
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Errors
/// If the value cannot be serialized, or writing fails.
pub fn write_yaml(out: &mut impl io::Write, value: &impl Serialize) -> io::Result<()> {
    let options = serde_saphyr::ser_options! { compact_list_indent: true, prefer_block_scalars: false };
    let text = serde_saphyr::to_string_with_options(value, options).map_err(io::Error::other)?;
    out.write_all(text.as_bytes())
}

/// Reads a value from YAML, or from JSON, as kubectl would.
///
/// ```
/// use daemonplan::{affinity::NodeResources, manifest::read_yaml};
/// let large = "\
/// - daemonSet: {namespace: prod, name: agent}
///   nodes: size=large
///   containers: {agent: {requests: {cpu: 0.5}}}";
/// assert_eq!(read_yaml::<Vec<NodeResources>>(large)?[0].to_string(), "size=large: agent requests cpu 500m");
/// let misspelt = read_yaml::<Vec<NodeResources>>(&large.replace("requests", "request")).unwrap_err();
/// assert!(misspelt.starts_with("[0].containers.agent.request: unknown field `request`"), "{misspelt}");
/// # Ok::<(), String>(())
/// ```
///
/// # Errors
/// If the text is malformed, with the line; if a mapping repeats a key; or if the value is not as `T` expects it, with the
/// path of the field.
pub fn read_yaml<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    let document = to_json(text).map_err(|YamlError { line, problem }| format!("line {line}: {problem}"))?;
    if let Some(repeated) = document.repeated.first() {
        return Err(format!("the field {repeated} is given twice"));
    }
    serde_path_to_error::deserialize(document.value).map_err(|error| {
        let (path, problem) = (error.path().to_string(), plain(error.inner()));
        if path == "." { problem } else { format!("{path}: {problem}") }
    })
}

/// Converts a YAML document to JSON.
///
/// # Errors
/// - If the document is malformed.
/// - If its aliases expand it to more than sixteen times its size.
/// - If it is nested more than 128 levels deep.
pub(super) fn to_json(text: &str) -> Result<Document, YamlError> {
    const GROWTH: usize = 16;
    const GRACE: usize = 4096;
    let mut builder = Builder { budget: GRACE.saturating_add(text.len().saturating_mul(GROWTH)), ..Builder::default() };
    for event in Parser::new_from_str(text) {
        let (event, span) = event?;
        builder.event(event).map_err(|problem| YamlError::at(&span.start, problem))?;
    }
    let value = builder.root.unwrap_or_default();
    Ok(Document { value, repeated: builder.repeated })
}

/// Puts a value together from the events of the parser.
#[derive(Default)]
struct Builder {
    open: Vec<Open>,
    root: Option<Value>,
    anchors: HashMap<usize, Value>,
    repeated: Vec<String>,
    /// How much larger the document may become.
    budget: usize,
}

/// A sequence or mapping whose end is not read yet, with the number of its anchor.
enum Open {
    Sequence(Vec<Value>, usize),
    Mapping { fields: Map<String, Value>, key: Option<FieldKey>, merged: HashSet<String>, anchor: usize },
}

enum FieldKey {
    Named(String),
    /// `<<`: the fields of the value replace those that the mapping has so far. That is kubectl's order, not YAML's.
    Merge,
}

impl Builder {
    fn event(&mut self, event: Event<'_>) -> Result<(), String> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let is_plain = style == ScalarStyle::Plain;
                self.spend(text.len())?;
                if is_plain && tag.is_none() && text == "<<" && self.take_merge_key() {
                    return Ok(());
                }
                let value = scalar(&text, is_plain, tag.as_deref())?;
                self.finish(value, anchor)
            }
            Event::Alias(anchor) => {
                let value = self.anchors.get(&anchor).cloned().ok_or("expected an anchor that is complete")?;
                self.spend(size(&value))?;
                self.add(value)
            }
            Event::SequenceStart(anchor, _) => self.begin(Open::Sequence(Vec::new(), anchor)),
            Event::MappingStart(anchor, _) => {
                self.begin(Open::Mapping { fields: Map::new(), key: None, merged: HashSet::new(), anchor })
            }
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(Open::Sequence(items, anchor)) => self.finish(items.into(), anchor),
                Some(Open::Mapping { fields, anchor, .. }) => self.finish(fields.into(), anchor),
                None => Ok(()),
            },
            // Documents are separated before they are parsed.
            Event::DocumentStart(_) if self.root.is_some() => Err("expected one document, found another".into()),
            _ => Ok(()),
        }
    }

    fn spend(&mut self, size: usize) -> Result<(), String> {
        let left = self.budget.checked_sub(size.saturating_add(1));
        self.budget = left.ok_or("expected aliases to expand the document at most 16-fold, found more")?;
        Ok(())
    }

    fn begin(&mut self, open: Open) -> Result<(), String> {
        const MAX_DEPTH: usize = 128;
        self.spend(0)?;
        if self.open.len() == MAX_DEPTH {
            return Err("recursion limit exceeded".into());
        }
        self.open.push(open);
        Ok(())
    }

    fn finish(&mut self, value: Value, anchor: usize) -> Result<(), String> {
        if anchor > 0 {
            self.anchors.insert(anchor, value.clone());
        }
        self.add(value)
    }

    /// Takes `<<` as the key of the current mapping. Returns false where no key is expected.
    fn take_merge_key(&mut self) -> bool {
        match self.open.last_mut() {
            Some(Open::Mapping { key: key @ None, .. }) => {
                *key = Some(FieldKey::Merge);
                true
            }
            _ => false,
        }
    }

    fn add(&mut self, value: Value) -> Result<(), String> {
        match self.open.last_mut() {
            None => self.root = Some(value),
            Some(Open::Sequence(items, _)) => items.push(value),
            Some(Open::Mapping { fields, key, merged, .. }) => match key.take() {
                None => *key = Some(FieldKey::Named(field_name(value)?)),
                Some(FieldKey::Merge) => merge(fields, merged, value)?,
                Some(FieldKey::Named(name)) => {
                    if fields.insert(name.clone(), value).is_some() && !merged.remove(&name) {
                        let path = self.path(&name);
                        self.repeated.push(path);
                    }
                }
            },
        }
        Ok(())
    }

    /// The path of a field of the current mapping.
    fn path(&self, field: &str) -> String {
        let outer = self.open.split_last().map_or([].as_slice(), |(_, outer)| outer);
        let mut path = String::new();
        for open in outer {
            match open {
                Open::Sequence(items, _) => path.extend(["[", &items.len().to_string(), "]"]),
                Open::Mapping { key: Some(FieldKey::Named(name)), .. } => push_field(&mut path, name),
                Open::Mapping { .. } => {}
            }
        }
        push_field(&mut path, field);
        path
    }
}

fn push_field(path: &mut String, name: &str) {
    if !path.is_empty() {
        path.push('.');
    }
    path.push_str(name);
}

fn size(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len().saturating_add(1),
        Value::Array(items) => items.iter().map(size).fold(1, usize::saturating_add),
        Value::Object(fields) => {
            let sizes = fields.iter().map(|(key, value)| key.len().saturating_add(1).saturating_add(size(value)));
            sizes.fold(1, usize::saturating_add)
        }
        _ => 1,
    }
}

/// Sets the fields of a mapping, or of several, of which the first counts, and remembers their names.
fn merge(fields: &mut Map<String, Value>, names: &mut HashSet<String>, merged: Value) -> Result<(), String> {
    match merged {
        Value::Object(merged) => {
            for (key, value) in merged {
                names.insert(key.clone());
                fields.insert(key, value);
            }
            Ok(())
        }
        Value::Array(all) => all.into_iter().rev().try_for_each(|merged| match merged {
            Value::Object(_) => merge(fields, names, merged),
            _ => Err("expected mappings to merge, found another value".into()),
        }),
        _ => Err("expected a mapping to merge, found another value".into()),
    }
}

/// Returns a key as the name of a field.
fn field_name(key: Value) -> Result<String, String> {
    match key {
        Value::String(name) => Ok(name),
        Value::Bool(is_set) => Ok(is_set.to_string()),
        Value::Number(number) => Ok(number.to_string()),
        Value::Null => Err("expected a key, found null".into()),
        Value::Array(_) | Value::Object(_) => Err("expected a scalar as key, found a collection".into()),
    }
}

/// Returns the value of a scalar.
fn scalar(text: &str, is_plain: bool, tag: Option<&Tag>) -> Result<Value, String> {
    let kind = match tag {
        None if is_plain => return resolve(text),
        Some(tag) if tag.is_yaml_core_schema() => &*tag.suffix,
        // Unknown tags make strings.
        _ => "str",
    };
    let is_expected: fn(&Value) -> bool = match kind {
        "binary" => {
            let bytes = STANDARD.decode(text.split_whitespace().collect::<String>());
            let bytes = bytes.map_err(|error| format!("expected base64, found {text:?}: {error}"))?;
            return Ok(String::from_utf8_lossy(&bytes).into());
        }
        "int" => |value| value.is_i64() || value.is_u64(),
        "float" => Value::is_number,
        "bool" => Value::is_boolean,
        "null" => Value::is_null,
        _ => return Ok(text.into()),
    };
    let value = resolve(text)?;
    if is_expected(&value) { Ok(value) } else { Err(format!("expected {kind}, found {text:?}")) }
}

/// Returns the value of a plain scalar. <https://yaml.org/type/>, without base 60 and dates.
fn resolve(text: &str) -> Result<Value, String> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    Ok(match text {
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => true.into(),
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => false.into(),
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        ".nan" | ".NaN" | ".NAN" => return Err(format!("expected a number that JSON has, found {text}")),
        _ if matches!(unsigned, ".inf" | ".Inf" | ".INF") => {
            return Err(format!("expected a number that JSON has, found {text}"));
        }
        _ => number(text).map_or_else(|| text.into(), Value::Number),
    })
}

/// Reads an integer (decimal, `0x1A`, `0o644`, `0644`, `0b101`, with underscores) or a decimal fraction.
fn number(text: &str) -> Option<Number> {
    let first = *text.as_bytes().first()?;
    let plain = match first {
        b'0'..=b'9' | b'+' | b'-' => text.replace('_', ""),
        b'.' => text.to_owned(),
        _ => return None,
    };
    if first != b'.'
        && let Some(integer) = integer(&plain)
    {
        return Some(integer);
    }
    let is_float = plain.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte))
        && plain.bytes().any(|byte| byte.is_ascii_digit());
    let float = plain.parse::<f64>().ok().filter(|float| is_float && float.is_finite())?;
    whole(float).or_else(|| Number::from_f64(float))
}

fn integer(plain: &str) -> Option<Number> {
    let (is_negative, unsigned) = match plain.as_bytes().first()? {
        b'-' => (true, plain.get(1..)?),
        b'+' => (false, plain.get(1..)?),
        _ => (false, plain),
    };
    let radix = |lower, upper| unsigned.strip_prefix('0')?.strip_prefix([lower, upper]);
    let (digits, radix) = match (radix('x', 'X'), radix('o', 'O'), radix('b', 'B'), unsigned.strip_prefix('0')) {
        (Some(digits), ..) => (digits, 16),
        (_, Some(digits), ..) => (digits, 8),
        (_, _, Some(digits), _) => (digits, 2),
        (.., Some(digits)) if !digits.is_empty() => (digits, 8),
        _ => (unsigned, 10),
    };
    let magnitude = u64::from_str_radix(digits, radix).ok().filter(|_| !digits.starts_with('+'))?;
    if is_negative { Some(0_i64.checked_sub_unsigned(magnitude)?.into()) } else { Some(magnitude.into()) }
}

/// Returns the integer that a number without a fraction is written as in JSON.
pub(super) fn whole(float: f64) -> Option<Number> {
    let digits = float.to_string();
    let unsigned = || digits.parse::<u64>().map(Number::from);
    digits.parse::<i64>().map(Number::from).or_else(|_| unsigned()).ok()
}

impl YamlError {
    fn at(marker: &Marker, problem: String) -> Self {
        Self { line: marker.line(), problem }
    }
}

impl From<ScanError> for YamlError {
    fn from(error: ScanError) -> Self {
        Self::at(error.marker(), error.info().to_owned())
    }
}
