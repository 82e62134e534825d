use std::{io, sync::Arc};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, ser::Formatter};

use crate::model::{
    ControllerRef, Labels, PodTemplate, PodTemplateError, Text,
    metadata::{Metadata, MissingName, unless_default},
    resource::{ApiVersion, KindName},
};

/// A snapshot of a DaemonSet's template, kept to recognise outdated pods and to undo updates.
///
/// ```
/// use daemonplan::model::ControllerRevision;
/// let text = r#"{"metadata": {"name": "agent-6d5f", "namespace": "prod"}, "revision": 3, "data": {}}"#;
/// let revision: ControllerRevision = serde_json::from_str(text).unwrap();
/// assert_eq!(revision.revision, 3);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "RevisionWire", into = "RevisionWire")]
#[non_exhaustive]
pub struct ControllerRevision {
    /// `metadata.namespace`.
    pub namespace: Text,
    /// `metadata.name`.
    pub name: Text,
    /// `metadata.uid`.
    pub uid: Text,
    /// `metadata.labels`; the label `controller-revision-hash` ties pods to the revision.
    pub labels: Labels,
    /// `metadata.annotations`.
    pub annotations: Labels,
    /// `metadata.creationTimestamp`.
    pub created: Option<Timestamp>,
    /// `metadata.deletionTimestamp`.
    pub deleted: Option<Timestamp>,
    /// The owner reference with `controller: true`.
    pub controller: Option<Arc<ControllerRef>>,
    /// The revision number; the highest is the newest.
    pub revision: i64,
    /// The patch that restores this revision's template in a DaemonSet.
    pub data: Arc<Value>,
}

impl ControllerRevision {
    /// Returns a revision without labels and without a controller.
    pub fn new(namespace: impl Into<Text>, name: impl Into<Text>, revision: i64, data: Value) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
            uid: Text::default(),
            labels: Labels::default(),
            annotations: Labels::default(),
            created: None,
            deleted: None,
            controller: None,
            revision,
            data: Arc::new(data),
        }
    }

    /// Returns the template that the revision stores.
    ///
    /// # Errors
    /// If [`data`](Self::data) has no `spec.template`, or if that template is malformed.
    ///
    /// ```
    /// use daemonplan::model::ControllerRevision;
    /// use serde_json::json;
    /// let data = json!({"spec": {"template": {"spec": {"hostNetwork": true}, "$patch": "replace"}}});
    /// let template = ControllerRevision::new("prod", "agent-6d5f", 3, data).template()?;
    /// assert_eq!(serde_json::to_value(&template).unwrap(), json!({"spec": {"hostNetwork": true}}));
    /// # Ok::<(), daemonplan::model::PodTemplateError>(())
    /// ```
    pub fn template(&self) -> Result<PodTemplate, PodTemplateError> {
        let template = self.data.pointer("/spec/template").and_then(Value::as_object);
        let mut template = template.cloned().ok_or_else(|| PodTemplateError::missing("data.spec.template"))?;
        template.retain(|key, _| key != "$patch");
        PodTemplate::new(template)
    }

    /// Returns the manifest to create the revision with, byte for byte as the built-in controller writes it.
    ///
    /// The keys of `data` are sorted, and `<`, `>` and `&` are escaped.
    ///
    /// The built-in controller compares revisions by their bytes, which the API server stores unchanged. Other bytes
    /// for the same template would be a new revision to it. Handing a DaemonSet back would then restart every pod.
    ///
    /// ```
    /// use daemonplan::model::ControllerRevision;
    /// use serde_json::json;
    /// let data = json!({"spec": {"template": {"spec": {}, "$patch": "replace", "metadata": {"name": "a&b"}}}});
    /// let text = ControllerRevision::new("prod", "agent-6d5f", 3, data).manifest();
    /// let expected = r#"{"spec":{"template":{"$patch":"replace","metadata":{"name":"a\u0026b"},"spec":{}}}}"#;
    /// assert!(text.contains(expected));
    /// ```
    pub fn manifest(&self) -> String {
        let data = Arc::new(with_sorted_keys(&self.data));
        let mut text = Vec::new();
        let mut serializer = serde_json::Serializer::with_formatter(&mut text, GoFormatter);
        // Serialization cannot fail: every field of a revision is valid JSON, and writing to a `Vec` always succeeds.
        let written = Self { data, ..self.clone() }.serialize(&mut serializer);
        debug_assert!(written.is_ok(), "{written:?}");
        String::from_utf8(text).unwrap_or_default()
    }
}

/// Sorts the keys of all objects by their bytes.
fn with_sorted_keys(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().map(|(key, value)| (key.clone(), with_sorted_keys(value))).collect();
            fields.sort_by(|(a, _), (b, _)| a.cmp(b));
            Value::Object(fields.into_iter().collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(with_sorted_keys).collect()),
        other => other.clone(),
    }
}

/// Writes strings as Go's `encoding/json` does, which escapes characters that HTML or JavaScript could interpret.
struct GoFormatter;

impl Formatter for GoFormatter {
    fn write_string_fragment<W: io::Write + ?Sized>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        for piece in fragment.split_inclusive(['<', '>', '&', '\u{2028}', '\u{2029}']) {
            match piece.char_indices().next_back() {
                Some((start, last @ ('<' | '>' | '&' | '\u{2028}' | '\u{2029}'))) => {
                    writer.write_all(piece.get(..start).unwrap_or_default().as_bytes())?;
                    write!(writer, "\\u{:04x}", u32::from(last))?;
                }
                _ => writer.write_all(piece.as_bytes())?,
            }
        }
        Ok(())
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RevisionWire {
    #[serde(default)]
    api_version: ApiVersion<ControllerRevision>,
    #[serde(default)]
    kind: KindName<ControllerRevision>,
    #[serde(default)]
    metadata: Metadata,
    #[serde(default)]
    revision: i64,
    #[serde(default)]
    data: Value,
}

impl TryFrom<RevisionWire> for ControllerRevision {
    type Error = MissingName;

    fn try_from(mut wire: RevisionWire) -> Result<Self, MissingName> {
        Ok(Self {
            name: wire.metadata.take_name()?,
            namespace: wire.metadata.take_namespace(),
            controller: wire.metadata.controller(),
            uid: wire.metadata.uid.unwrap_or_default(),
            labels: wire.metadata.labels.unwrap_or_default(),
            annotations: wire.metadata.annotations.unwrap_or_default(),
            created: wire.metadata.creation_timestamp,
            deleted: wire.metadata.deletion_timestamp,
            revision: wire.revision,
            data: Arc::new(wire.data),
        })
    }
}

impl From<ControllerRevision> for RevisionWire {
    fn from(revision: ControllerRevision) -> Self {
        let mut metadata = Metadata {
            name: Some(revision.name),
            namespace: Some(revision.namespace),
            uid: unless_default(revision.uid),
            labels: unless_default(revision.labels),
            annotations: unless_default(revision.annotations),
            creation_timestamp: revision.created,
            deletion_timestamp: revision.deleted,
            ..Metadata::default()
        };
        metadata.set_controller(revision.controller);
        let data = Arc::unwrap_or_clone(revision.data);
        Self {
            api_version: ApiVersion::default(),
            kind: KindName::default(),
            metadata,
            revision: revision.revision,
            data,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::ControllerRevision;

    #[test]
    fn data_is_written_as_go_writes_maps() {
        let data = json!({"b": ["<a href=\"x\">&\u{2028}é\u{7f}\n\u{1}", {"z": null, "y": 1, "Z": 0.5}], "a": true});
        let revision = ControllerRevision::new("prod", "agent-1", 2, data.clone());
        let written = revision.manifest();
        let expected = r#"{"a":true,"b":["\u003ca href=\"x\"\u003e\u0026\u2028é"#.to_owned()
            + "\u{7f}"
            + r#"\n\u0001",{"Z":0.5,"y":1,"z":null}]}"#;
        assert!(written.contains(&format!("\"data\":{expected}")), "{written}");
        assert_eq!(serde_json::from_str::<ControllerRevision>(&written).unwrap(), revision);
    }
}
