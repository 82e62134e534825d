use std::{
    fmt,
    io::{self, BufRead, Read},
};

use indexmap::IndexMap;
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, DeserializeSeed, MapAccess, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

use super::{
    ManifestError, Manifests, Place, Scope,
    collection::Object,
    source::{Position, Source},
    yaml,
};
use crate::model::Text;

impl Manifests {
    /// Reads one file's text: YAML documents, JSON, or both; `file` is its name in error messages.
    ///
    /// What is wrong with the text goes to [`problems`](Self::problems), and the rest is read on. An object that is
    /// given twice counts as it is given last.
    ///
    /// # Errors
    /// If the text itself cannot be read.
    pub fn read(&mut self, file: &str, text: impl io::Read) -> io::Result<()> {
        const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
        let mut text = Source::new(text);
        let mut sink =
            Sink { manifests: self, place: Place { file: file.to_owned(), ..Place::default() }, kind: None, depth: 0 };
        if text.fill_buf()?.starts_with(BYTE_ORDER_MARK) {
            text.consume(BYTE_ORDER_MARK.len());
        }
        while text.next_visible()? == Some(b'{') {
            if !sink.read_json(&mut text)? {
                return Ok(());
            }
        }
        sink.read_yaml(text)
    }
}

/// Where objects go, with the place that is being read.
struct Sink<'m> {
    manifests: &'m mut Manifests,
    place: Place,
    /// The kind of the list that is being read: `PodList` says what items without a kind are.
    kind: Option<String>,
    /// How many lists within lists are being read.
    depth: usize,
}

/// What every object has.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Header {
    api_version: Option<String>,
    kind: Option<String>,
    #[serde(default)]
    metadata: Option<HeaderMetadata>,
}

/// Read leniently: what is wrong here is told, with its field, when the object itself is read.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct HeaderMetadata {
    #[serde(default, deserialize_with = "if_readable")]
    name: Option<Text>,
    #[serde(default, deserialize_with = "if_readable")]
    namespace: Option<Text>,
    #[serde(default, deserialize_with = "if_readable")]
    owner_references: Option<Vec<Owner>>,
}

#[derive(Deserialize)]
struct Owner {
    kind: Option<String>,
    name: Option<Text>,
    controller: Option<bool>,
}

fn if_readable<'de, D: Deserializer<'de>, T: DeserializeOwned>(deserializer: D) -> Result<Option<T>, D::Error> {
    let value = serde_json::Value::deserialize(deserializer)?;
    Ok(serde_json::from_value(value).ok())
}

impl Sink<'_> {
    /// A JSON document; whether what follows it can be read.
    fn read_json(&mut self, text: &mut Source<impl Read>) -> io::Result<bool> {
        self.begin_document();
        let start = text.position();
        let mut deserializer = serde_json::Deserializer::from_reader(text);
        match Document(self).deserialize(&mut deserializer) {
            Ok(()) => Ok(true),
            Err(error) if error.is_io() => Err(error.into()),
            Err(error) => {
                let place = Position { line: error.line(), column: error.column() };
                let Position { line, column } = place.from(start);
                let problem = without_positions(&error.to_string());
                let problem = format!("not readable as JSON: line {line}, column {column} of the file: {problem}");
                self.report(Scope::Everything, problem);
                Ok(false)
            }
        }
    }

    /// YAML documents, each begun by a line with `---` or ended by one with `...`.
    fn read_yaml(&mut self, mut text: Source<impl Read>) -> io::Result<()> {
        let (mut document, mut line) = (Vec::new(), Vec::new());
        let mut first_line = text.position().line;
        loop {
            line.clear();
            let line_number = text.position().line;
            let at_end = text.read_until(b'\n', &mut line)? == 0;
            let mark = line.strip_prefix(b"---").or_else(|| line.strip_prefix(b"..."));
            let divides = mark.filter(|rest| rest.first().is_none_or(u8::is_ascii_whitespace));
            if at_end || divides.is_some() {
                self.read_yaml_document(&document, first_line);
                document.clear();
                first_line = line_number;
            }
            // What stands behind the mark belongs to the new document.
            document.extend_from_slice(divides.unwrap_or(&line));
            if at_end {
                return Ok(());
            }
        }
    }

    fn read_yaml_document(&mut self, text: &[u8], first_line: usize) {
        // A comment, or a directive such as `%YAML 1.2`.
        let says_nothing = |line: &[u8]| line.trim_ascii().first().is_none_or(|first| b"#%".contains(first));
        if text.split(|&byte| byte == b'\n').all(says_nothing) {
            return;
        }
        self.begin_document();
        match std::str::from_utf8(text).map_err(|error| not_utf8(text, error)).and_then(from_yaml) {
            Ok(serde_json::Value::Null) => {}
            Ok(value) => self.read_text(&value.to_string()),
            Err((line, error)) => {
                let line = line + first_line;
                self.report(Scope::Everything, format!("not readable as YAML: line {line} of the file: {error}"));
            }
        }
    }

    fn begin_document(&mut self) {
        self.manifests.count_document();
        self.place.document += 1;
    }

    fn read_text(&mut self, json: &str) {
        let mut deserializer = serde_json::Deserializer::from_str(json);
        if let Err(error) = Document(self).deserialize(&mut deserializer) {
            self.report(Scope::Everything, plain(&error));
        }
    }

    /// One object that is no list.
    fn object(&mut self, json: &str) {
        let header = match serde_json::from_str::<Header>(json) {
            Ok(header) => header,
            Err(error) => return self.report(Scope::Everything, plain(&error)),
        };
        let kind = header.kind.clone().or_else(|| self.kind.as_deref()?.strip_suffix("List").map(str::to_owned));
        let Some(kind) = kind.filter(|kind| !kind.is_empty()) else {
            self.place.field = Some("kind".into());
            self.report(Scope::Everything, "expected the kind of an object, found none".into());
            self.place.field = None;
            return;
        };
        if kind.ends_with("List") {
            return self.nested_list(json);
        }
        let (group, _) = header.api_version.as_deref().unwrap_or_default().split_once('/').unwrap_or_default();
        let no_group = header.api_version.is_none();
        self.place.object = Some(shortened(header.describe(&kind)));
        match (kind.as_str(), group) {
            ("DaemonSet", group) if group == "apps" || no_group => {
                self.parse(json, &header, &kind, |object| Object::DaemonSet(Box::new(object)));
            }
            ("ControllerRevision", group) if group == "apps" || no_group => {
                self.parse(json, &header, &kind, |object| Object::ControllerRevision(Box::new(object)));
            }
            ("Node", "") => self.parse(json, &header, &kind, Object::Node),
            ("Pod", "") => self.parse(json, &header, &kind, |object| Object::Pod(Box::new(object))),
            ("Namespace", "") => self.parse(json, &header, &kind, Object::Namespace),
            _ => self.manifests.skip(&kind),
        }
        self.place.object = None;
    }

    /// A list within a list.
    fn nested_list(&mut self, json: &str) {
        const DEEPEST: usize = 8;
        if self.depth == DEEPEST {
            return self
                .report(Scope::Everything, format!("expected lists at most {DEEPEST} deep, found a deeper one"));
        }
        let item = self.place.item;
        self.depth += 1;
        self.read_text(json);
        self.depth -= 1;
        self.place.item = item;
    }

    fn parse<T: DeserializeOwned>(&mut self, json: &str, header: &Header, kind: &str, wrap: impl FnOnce(T) -> Object) {
        match serde_path_to_error::deserialize(&mut serde_json::Deserializer::from_str(json)) {
            Ok(object) => self.manifests.add(wrap(object)),
            Err(error) => {
                let path = error.path().to_string();
                self.place.field = (path != ".").then(|| shortened(path));
                self.report(header.scope(kind), plain(&error.into_inner()));
                self.place.field = None;
            }
        }
    }

    fn report(&mut self, scope: Scope, problem: String) {
        let problem = shortened(problem);
        self.manifests.report(ManifestError { place: self.place.clone(), problem, scope });
    }
}

impl Header {
    fn describe(&self, kind: &str) -> String {
        let metadata = self.metadata.as_ref();
        let name = metadata.and_then(|m| m.name.as_deref()).unwrap_or("without a name");
        match metadata.and_then(|m| m.namespace.as_deref()) {
            Some(namespace) => format!("{kind} {namespace}/{name}"),
            None => format!("{kind} {name}"),
        }
    }

    /// Whose plan cannot be made if this object cannot be read.
    fn scope(&self, kind: &str) -> Scope {
        let Some(metadata) = &self.metadata else { return Scope::Everything };
        let namespace = metadata.namespace.clone().unwrap_or_else(|| "default".into());
        let mut owners = metadata.owner_references.iter().flatten();
        let owner = owners.find(|owner| owner.controller == Some(true));
        match (kind, owner) {
            ("DaemonSet", _) => match &metadata.name {
                Some(name) => Scope::DaemonSet(namespace, name.clone()),
                None => Scope::Nothing,
            },
            ("Namespace", _) => metadata.name.clone().map_or(Scope::Nothing, Scope::Namespace),
            ("Pod" | "ControllerRevision", None) => Scope::Namespace(namespace),
            ("Pod" | "ControllerRevision", Some(owner)) => match (owner.kind.as_deref(), &owner.name) {
                (Some("DaemonSet"), Some(name)) => Scope::DaemonSet(namespace, name.clone()),
                _ => Scope::Nothing,
            },
            _ => Scope::Everything,
        }
    }
}

/// Reads a YAML document; an error comes with its line, counted from 0.
fn from_yaml(text: &str) -> Result<serde_json::Value, (usize, String)> {
    yaml::to_json(text).map_err(|error| {
        let line = error.location().map_or(0, |location| location.line().saturating_sub(1));
        (line, without_positions(&error.to_string()))
    })
}

fn not_utf8(text: &[u8], error: std::str::Utf8Error) -> (usize, String) {
    let before = text.iter().take(error.valid_up_to());
    (before.filter(|&&byte| byte == b'\n').count(), "expected UTF-8, found other bytes".to_owned())
}

/// What serde says, as "expected …, found …".
fn plain(error: &impl fmt::Display) -> String {
    let message = without_positions(&error.to_string());
    let told = ["invalid type: ", "invalid value: "].iter().find_map(|what| message.split_once(what));
    let told = told.and_then(|(field, told)| Some((field, told.rsplit_once(", expected ")?)));
    let Some((field, (found, expected))) = told else { return message };
    let expected = match expected {
        "u32" => "a whole number from 0",
        "i32" | "i64" => "a whole number",
        other => other,
    };
    format!("{field}expected {expected}, found {found}")
}

/// A message without the middle of what would fill a screen.
fn shortened(message: String) -> String {
    const LONGEST: usize = 400;
    const KEPT: usize = 180;
    let head = message.floor_char_boundary(KEPT);
    let tail = message.ceil_char_boundary(message.len().saturating_sub(KEPT));
    match (message.get(..head), message.get(tail..)) {
        (Some(head), Some(tail)) if message.len() > LONGEST => format!("{head} … {tail}"),
        _ => message,
    }
}

/// A message without its "at line 1 column 70", which count in the object or the document and not in the file.
fn without_positions(message: &str) -> String {
    let mut parts = message.split(" at line ");
    let mut kept = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let rest = part.trim_start_matches(|c: char| c.is_ascii_digit());
        let rest = rest.strip_prefix(" column ").unwrap_or(rest);
        kept.push_str(rest.trim_start_matches(|c: char| c.is_ascii_digit()));
    }
    kept
}

/// A document: an object, or a list whose items are handed on one by one while they are read.
struct Document<'s, 'm>(&'s mut Sink<'m>);

impl<'de> DeserializeSeed<'de> for Document<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Document<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a Kubernetes object or a list of them")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<(), M::Error> {
        let Self(sink) = self;
        let mut fields = IndexMap::<String, Box<RawValue>>::new();
        let is_kind_of_list = |kind: Option<&str>| kind.is_some_and(|kind| kind.ends_with("List"));
        let mut is_list = false;
        while let Some(key) = map.next_key::<String>()? {
            let kind = kind_among(&fields);
            if key == "items" && (kind.is_none() || is_kind_of_list(kind.as_deref())) {
                is_list = true;
                let outer = std::mem::replace(&mut sink.kind, kind);
                map.next_value_seed(Items(sink))?;
                sink.kind = outer;
                sink.place.item = None;
            } else {
                fields.insert(key, map.next_value()?);
            }
        }
        if !is_list && !is_kind_of_list(kind_among(&fields).as_deref()) {
            match serde_json::to_string(&fields) {
                Ok(json) => sink.object(&json),
                Err(error) => sink.report(Scope::Everything, error.to_string()),
            }
        }
        Ok(())
    }
}

fn kind_among(fields: &IndexMap<String, Box<RawValue>>) -> Option<String> {
    serde_json::from_str(fields.get("kind")?.get()).ok()
}

/// The items of a list.
struct Items<'s, 'm>(&'s mut Sink<'m>);

impl<'de> DeserializeSeed<'de> for Items<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Items<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of Kubernetes objects")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<S: SeqAccess<'de>>(self, mut items: S) -> Result<(), S::Error> {
        let mut number = 0;
        while let Some(item) = items.next_element::<Box<RawValue>>()? {
            number += 1;
            self.0.place.item = Some(number);
            self.0.object(item.get());
        }
        Ok(())
    }
}
