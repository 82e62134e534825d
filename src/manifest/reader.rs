use std::io::{self, BufRead, Read};

use serde::Deserialize;
use serde_json::Value;

use crate::manifest::{
    ManifestError, ManifestWarning, Manifests, Place, Scope, SkipReason, SkippedObject,
    change::Added,
    error::{plain, without_positions},
    head::{Extent, Head, Header, ListMetadata},
    repeated::repeated_fields,
    source::{Fault, Position, Source},
    yaml,
};
use crate::{
    api_server::decode_error,
    model::{ControllerRevision, DaemonSet, Kind, Namespace, Node, Object, Pod, Resource, Text, api_group},
};

impl Manifests {
    /// Reads a file with YAML documents, JSON, or both. `file` is its name in error messages.
    ///
    /// Malformed objects are added to [`problems`](Self::problems), and reading continues. A later object replaces an
    /// earlier one of the same kind, namespace and name.
    ///
    /// # Errors
    /// If reading from `text` fails.
    pub fn read(&mut self, file: &str, text: impl io::Read) -> io::Result<()> {
        const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
        let mut text = Source::new(text);
        let mut sink =
            Sink { manifests: self, place: Place { file: file.to_owned(), ..Place::default() }, kind: None, depth: 0 };
        if text.fill_buf()?.starts_with(BYTE_ORDER_MARK) {
            text.consume(BYTE_ORDER_MARK.len());
        }
        let mut is_readable = true;
        while is_readable && text.is_at_json_object()? {
            is_readable = sink.read_json(&mut text)?;
        }
        if is_readable {
            sink.read_yaml(text)?;
        }
        for key in self.identify() {
            let place = self.place(Kind::DaemonSet, &key).cloned().unwrap_or_default();
            let text = format!("DaemonSet {key} has no uid: taken for the one of its name that controls pods here");
            self.warn(ManifestWarning { place, text });
        }
        Ok(())
    }
}

/// The destination of objects, with the current place in the input.
pub(super) struct Sink<'m> {
    pub(super) manifests: &'m mut Manifests,
    pub(super) place: Place,
    /// The kind of the current list. `PodList` implies the kind of items without a kind.
    kind: Option<Text>,
    /// The nesting depth of lists.
    depth: usize,
}

/// The other kinds of `apps/v1`.
const OTHER_APPS: [&str; 4] = ["Deployment", "ReplicaSet", "StatefulSet", "Scale"];

const NOT_UTF_8: &str = "expected UTF-8, found invalid bytes";

impl Sink<'_> {
    /// Reads a JSON document. Returns whether the text after it is readable.
    fn read_json(&mut self, text: &mut Source<impl Read>) -> io::Result<bool> {
        self.begin_document();
        match self.document(text) {
            Ok(()) => Ok(true),
            Err(Fault::Io(error)) => Err(error),
            Err(Fault::Malformed(position, problem)) => {
                self.report_json(position, &problem);
                Ok(false)
            }
        }
    }

    /// Reads YAML documents, which are separated by lines with `---` or `...`.
    fn read_yaml(&mut self, mut text: Source<impl Read>) -> io::Result<()> {
        let (mut document, mut line) = (Vec::new(), Vec::new());
        let mut first_line = text.position().line;
        loop {
            line.clear();
            let line_number = text.position().line;
            let at_end = text.read_until(b'\n', &mut line)? == 0;
            let marker = line.strip_prefix(b"---").or_else(|| line.strip_prefix(b"..."));
            let after_marker = marker.filter(|rest| rest.first().is_none_or(u8::is_ascii_whitespace));
            if at_end || after_marker.is_some() {
                self.read_yaml_document(&document, first_line);
                document.clear();
                first_line = line_number;
            }
            // Text after the marker is part of the new document.
            document.extend_from_slice(after_marker.unwrap_or(&line));
            if at_end {
                return Ok(());
            }
        }
    }

    fn read_yaml_document(&mut self, text: &[u8], first_line: usize) {
        // Comments start with `#`, directives such as `%YAML 1.2` with `%`.
        let is_empty = |line: &[u8]| line.trim_ascii().first().is_none_or(|first| b"#%".contains(first));
        if text.split(|&byte| byte == b'\n').all(is_empty) {
            return;
        }
        self.begin_document();
        if let Some(what) = output_of_kubectl(text) {
            self.report(Scope::Nothing, format!("expected a Kubernetes object, found {what}"));
            return;
        }
        match std::str::from_utf8(text).map_err(|error| not_utf8(text, error)).and_then(from_yaml) {
            Ok(yaml::Document { value, repeated }) => {
                for field in &repeated {
                    self.warn_of_repeated(field);
                }
                match &value {
                    Value::Null => {}
                    Value::Object(_) => self.read_text(value.to_string().as_bytes()),
                    Value::Array(_) => {
                        let problem = "expected an object, found a sequence: kubectl prints several objects as one of \
                                       kind List, with items";
                        self.report(Scope::Nothing, problem.into());
                    }
                    other => self.report(Scope::Nothing, format!("expected a Kubernetes object, found {other}")),
                }
            }
            Err((line, error)) => {
                let line = line + first_line;
                let is_template = text.windows(2).any(|pair| pair == b"{{");
                let hint = if is_template { "; render templates first, for example with helm template" } else { "" };
                self.report(scope_of_text(text), format!("invalid YAML: line {line} of the file: {error}{hint}"));
            }
        }
    }

    fn begin_document(&mut self) {
        self.manifests.count_document();
        self.place.document += 1;
    }

    fn read_text(&mut self, json: &[u8]) {
        if let Err(Fault::Malformed(_, problem)) = self.document(&mut Source::new(json)) {
            self.report(Scope::Everything, plain(&problem));
        }
    }

    /// Reads an object, or a list item by item.
    fn document(&mut self, text: &mut Source<impl Read>) -> Result<(), Fault> {
        let head = text.peek_value(|json| Head::of(json, Extent::BeforeItems))?;
        match head {
            Ok(Head { kind, has_items, .. }) if kind.as_deref().map_or(has_items, is_list) => self.list(text, kind),
            _ => self.object(text),
        }
    }

    fn list(&mut self, text: &mut Source<impl Read>, kind: Option<Text>) -> Result<(), Fault> {
        // An empty `PodList` tells that there are no pods; a `List` of other objects does not.
        if let Some(kind) = kind.as_deref().and_then(|kind| kind.strip_suffix("List")?.parse().ok()) {
            self.manifests.add_all_of(kind);
        }
        let outer = std::mem::replace(&mut self.kind, kind);
        let mut is_part = false;
        let result = text.object(|text, key| match key {
            "items" => self.items(text),
            "metadata" => {
                let metadata = serde_json::from_slice::<ListMetadata>(text.raw_value()?);
                is_part |= metadata.is_ok_and(|metadata| metadata.r#continue.is_some_and(|token| !token.is_empty()));
                text.skip_value()
            }
            _ => text.skip_value(),
        });
        if is_part {
            let problem = "a part of a list, as its field continue says: add the rest, or list without a limit";
            self.report(Scope::Everything, problem.into());
        }
        self.kind = outer;
        result
    }

    fn items(&mut self, text: &mut Source<impl Read>) -> Result<(), Fault> {
        if let Ok(()) = text.value::<()>()? {
            return Ok(());
        }
        let mut number = 0;
        text.array(|text| {
            number += 1;
            self.place.item = Some(number);
            self.object(text)
        })?;
        self.place.item = None;
        Ok(())
    }

    /// Reads an object or a nested list.
    fn object(&mut self, text: &mut Source<impl Read>) -> Result<(), Fault> {
        let head = match text.peek_value(|json| Head::of(json, Extent::Whole))? {
            Ok(head) => head,
            Err(error) => {
                text.skip_value()?;
                self.report(Scope::Everything, plain(&error));
                return Ok(());
            }
        };
        let of_list = || self.kind.as_deref()?.strip_suffix("List").map(Text::from);
        let Some(kind) = head.kind.or_else(of_list).filter(|kind| !kind.is_empty()) else {
            let is_object = |header: Header| header.metadata.is_some();
            if head.api_version.is_none() && !serde_json::from_slice(text.raw_value()?).is_ok_and(is_object) {
                self.skip("", SkipReason::NoObject);
                return text.skip_value();
            }
            self.place.field = Some("kind".into());
            self.report(Scope::Everything, "expected the kind of an object, found none".into());
            self.place.field = None;
            return text.skip_value();
        };
        let group = api_group(head.api_version.as_deref().unwrap_or_default());
        let no_group = head.api_version.is_none();
        match (&*kind, group) {
            (kind, _) if is_list(kind) => self.nested_list(text),
            ("DaemonSet", _) if head.api_version.as_deref().is_none_or(|version| version == "apps/v1") => {
                let json = text.raw_value()?;
                let original = integers(serde_json::from_slice(json).unwrap_or_default());
                for field in repeated_fields(json) {
                    self.warn_of_repeated(&field);
                }
                self.parse::<DaemonSet>(text, Some(original))
            }
            ("ControllerRevision", group) if group == "apps" || no_group => {
                self.parse::<ControllerRevision>(text, None)
            }
            ("Node", "") => self.parse::<Node>(text, None),
            ("Pod", "") => self.parse::<Pod>(text, None),
            ("Namespace", "") => self.parse::<Namespace>(text, None),
            (kind, group) => {
                if let Some(result) = self.fact(kind, group, text) {
                    return result;
                }
                let known = Kind::ALL.iter().find(|known| known.to_string().eq_ignore_ascii_case(kind));
                let full = if group.is_empty() { kind.to_owned() } else { format!("{kind}.{group}") };
                let header = serde_json::from_slice::<Header>(text.raw_value()?);
                self.place.object = header.ok().map(|header| shortened(header.describe(&full)));
                let version = head.api_version.as_deref().unwrap_or_default();
                // Groups with a dot are those of other controllers.
                if let Some(known) = known.filter(|known| known.to_string() != kind || !group.contains('.')) {
                    let right = format!("{known} of {}", known.api_version());
                    self.report(
                        Scope::Nothing,
                        format!("no matches for kind {kind:?} in version {version:?}: it is {right}"),
                    );
                } else if version == "apps/v1" && !OTHER_APPS.contains(&kind) {
                    self.report(Scope::Nothing, format!("no matches for kind {kind:?} in version {version:?}"));
                } else {
                    let reason = if known.is_some() { SkipReason::OtherGroup } else { SkipReason::OtherKind };
                    self.skip(&full, reason);
                }
                self.place.object = None;
                text.skip_value()
            }
        }
    }

    fn skip(&mut self, kind: &str, reason: SkipReason) {
        self.manifests.skip(SkippedObject { place: self.place.clone(), kind: shortened(kind.to_owned()), reason });
    }

    fn nested_list(&mut self, text: &mut Source<impl Read>) -> Result<(), Fault> {
        const MAX_DEPTH: usize = 8;
        if self.depth == MAX_DEPTH {
            self.report(Scope::Everything, format!("expected at most {MAX_DEPTH} nested lists, found more"));
        } else {
            let item = self.place.item;
            self.depth += 1;
            self.read_text(text.raw_value()?);
            self.depth -= 1;
            self.place.item = item;
        }
        text.skip_value()
    }

    fn parse<R: Resource>(&mut self, text: &mut Source<impl Read>, original: Option<Value>) -> Result<(), Fault> {
        if let Ok((object, json)) = text.value_and_text::<R>()? {
            self.add(object, json, original);
            return Ok(());
        }
        // Parse the object again, with tracking of the field for the error message.
        let start = text.position();
        let json = text.raw_value()?;
        match std::str::from_utf8(json) {
            Err(error) => {
                let read = json.get(..=error.valid_up_to()).unwrap_or_default();
                self.report_json(start.after(read), NOT_UTF_8);
            }
            Ok(json) => self.parse_again::<R>(json, original),
        }
        text.skip_value()
    }

    /// Parses an object with tracking of the field for the error message. As with kubectl, the last value of a repeated
    /// field counts.
    fn parse_again<R: Resource>(&mut self, json: &str, original: Option<Value>) {
        let value = serde_json::from_str::<Value>(json);
        let header = value.as_ref().map_or_else(|_| serde_json::from_str(json), Header::deserialize);
        let header = match header {
            Ok(header) => header,
            Err(error) => return self.report(Scope::Everything, plain(&error)),
        };
        self.place.object = Some(shortened(header.describe(R::KIND)));
        let object = match value {
            Ok(value) => serde_path_to_error::deserialize::<_, R>(lenient(value)),
            // It is nested too deep.
            Err(_) => serde_path_to_error::deserialize(&mut serde_json::Deserializer::from_str(json)),
        };
        match object {
            Ok(object) => self.add(object, json.as_bytes(), original),
            Err(error) => {
                let path = error.path().to_string();
                let mut field = (path != ".").then(|| shortened(path));
                let mut problem = plain(&error.into_inner());
                if let Some(manifest) = original {
                    // The API server names the outermost value of another type.
                    if let Some(refusal) = decode_error(&manifest) {
                        problem = refusal.to_string();
                        field = Some(shortened(refusal.field));
                    }
                    self.manifests.add_set_aside(Place { field: field.clone(), ..self.place.clone() }, manifest);
                }
                self.place.field = field;
                let scope = header.scope(R::KIND, self.manifests.default_namespace());
                self.report(scope, problem);
                self.place.field = None;
            }
        }
        self.place.object = None;
    }

    fn add(&mut self, mut object: impl Resource, json: &[u8], original: Option<Value>) {
        self.manifests.share(&mut object);
        let mut object: Object = object.into();
        let is_unplaced = || object.key().namespace == "default" && names_no_namespace(json);
        if let Some(namespace) = self.manifests.default_namespace().filter(|_| is_unplaced()) {
            match &mut object {
                Object::DaemonSet(daemonset) => daemonset.namespace = namespace.clone(),
                Object::Pod(pod) => pod.namespace = namespace.clone(),
                Object::ControllerRevision(revision) => revision.namespace = namespace.clone(),
                Object::Node(_) | Object::Namespace(_) => {}
            }
        }
        if self.manifests.add(object, original, &self.place) == Added::Changes {
            let is_live = serde_json::from_slice::<Header>(json).is_ok_and(|header| header.has_uid());
            let text = if is_live {
                "the object of its name that has no uid, read before, is taken as a change of it"
            } else {
                "without a uid: taken as a change of the object of its name that has one"
            };
            self.warn(text.into());
        }
    }

    fn report_json(&mut self, Position { line, column }: Position, problem: &str) {
        let problem = without_positions(problem);
        let problem = format!("invalid JSON: line {line}, column {column} of the file: {problem}");
        self.report(Scope::Everything, problem);
    }

    fn warn_of_repeated(&mut self, field: &str) {
        self.warn(format!("the field {field} is given twice: as with kubectl, the last value counts"));
    }

    fn warn(&mut self, text: String) {
        self.manifests.warn(ManifestWarning { place: self.place.clone(), text: shortened(text) });
    }

    pub(super) fn report(&mut self, scope: Scope, problem: String) {
        let problem = shortened(problem);
        self.manifests.report(ManifestError { place: self.place.clone(), problem, scope });
    }
}

/// Returns an object as kubectl sends it, without what the API server does not look at.
fn lenient(value: Value) -> Value {
    let mut value = integers(value);
    if let Some(strategy) = value.pointer_mut("/spec/updateStrategy").and_then(Value::as_object_mut)
        && strategy.get("type").is_some_and(|kind| kind == "OnDelete")
    {
        strategy.remove("rollingUpdate");
    }
    value
}

/// Writes numbers without a fraction as integers, as kubectl does.
pub(super) fn integers(value: Value) -> Value {
    match value {
        Value::Number(number) if number.is_f64() => {
            let float = number.as_f64().filter(|float| float.fract() == 0.0);
            float.and_then(yaml::whole).map_or(Value::Number(number), Value::Number)
        }
        Value::Array(items) => items.into_iter().map(integers).collect(),
        Value::Object(fields) => fields.into_iter().map(|(key, value)| (key, integers(value))).collect(),
        other => other,
    }
}

/// Converts a YAML document to JSON. An error includes its line, counted from 0.
fn from_yaml(text: &str) -> Result<yaml::Document, (usize, String)> {
    yaml::to_json(text).map_err(|yaml::YamlError { line, problem }| (line.saturating_sub(1), problem))
}

/// Recognises what kubectl prints for people, by its first line, and says what to do about it.
fn output_of_kubectl(text: &[u8]) -> Option<&'static str> {
    let first = text.split(|&byte| byte == b'\n').find(|line| !line.trim_ascii().is_empty())?;
    let starts = |heads: [&[u8]; 2]| heads.iter().any(|head| first.starts_with(head));
    if starts([b"NAME  ", b"NAMESPACE  "]) {
        Some("the table that kubectl get prints for people: add -o json or -o yaml to that command")
    } else if starts([b"Error from server", b"error: "]) {
        Some("an error of kubectl")
    } else {
        None
    }
}

/// The DaemonSets that cannot be planned if this YAML cannot be read: all if it seems to be a node, or pods or other
/// facts about them.
fn scope_of_text(text: &[u8]) -> Scope {
    let kinds = text.split(|&byte| byte == b'\n').filter_map(|line| {
        let kind = line.trim_ascii().strip_prefix(b"- ").unwrap_or(line.trim_ascii()).strip_prefix(b"kind:")?;
        std::str::from_utf8(kind.trim_ascii()).ok()?.parse::<Kind>().ok()
    });
    if kinds.filter(|kind| *kind != Kind::DaemonSet).count() > 0 { Scope::Everything } else { Scope::Nothing }
}

pub(super) fn names_no_namespace(json: &[u8]) -> bool {
    serde_json::from_slice::<Header>(json)
        .is_ok_and(|header| header.metadata.is_none_or(|metadata| metadata.namespace.is_none()))
}

fn not_utf8(text: &[u8], error: std::str::Utf8Error) -> (usize, String) {
    let before = text.iter().take(error.valid_up_to());
    (before.filter(|&&byte| byte == b'\n').count(), NOT_UTF_8.to_owned())
}

fn is_list(kind: &str) -> bool {
    kind.ends_with("List")
}

/// Replaces the middle of a long message with an ellipsis.
pub(super) fn shortened(message: String) -> String {
    const MAX_LENGTH: usize = 400;
    const KEPT: usize = 180;
    let is_boundary = |at: &usize| message.is_char_boundary(*at);
    let head = (0..=KEPT).rev().find(is_boundary).unwrap_or_default();
    let tail = (message.len().saturating_sub(KEPT)..=message.len()).find(is_boundary).unwrap_or_default();
    match (message.get(..head), message.get(tail..)) {
        (Some(head), Some(tail)) if message.len() > MAX_LENGTH => format!("{head} … {tail}"),
        _ => message,
    }
}
