use std::fmt;

use thiserror::Error;

use crate::model::Text;

/// A problem in a manifest, with its place.
///
/// ```
/// use daemonplan::manifest::Manifests;
/// let mut manifests = Manifests::default();
/// manifests.read("cluster.yaml", &b"kind: Node\nmetadata: {name: 7}"[..])?;
/// let error = &manifests.problems()[0];
/// assert_eq!(error.place.field.as_deref(), Some("metadata.name"));
/// assert!(error.problem.starts_with("expected a string, found integer `7`"));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug, Error)]
#[error("{place}: {problem}")]
pub struct ManifestError {
    /// The place of the problem.
    pub place: Place,
    /// The problem: what was expected and what was found.
    pub problem: String,
    /// The DaemonSets that cannot be planned because of the problem.
    pub scope: Scope,
}

/// Something in a manifest that is read, but probably not what its author meant.
///
/// ```
/// use daemonplan::manifest::Manifests;
/// let mut manifests = Manifests::default();
/// manifests.read("node.yaml", &b"kind: Node\nmetadata: {name: a, name: b}"[..])?;
/// let text = manifests.warnings()[0].to_string();
/// assert_eq!(text, "node.yaml: document 1: the field metadata.name is given twice: as with kubectl, the last value counts");
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestWarning {
    /// The place.
    pub place: Place,
    /// What is unexpected, and what is made of it.
    pub text: String,
}

impl fmt::Display for ManifestWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.text)
    }
}

/// An object or a document that is not read, because plans do not depend on it or because it is not what it seems.
///
/// ```
/// use daemonplan::manifest::Manifests;
/// let mut manifests = Manifests::default();
/// manifests.read("kruise.yaml", &b"apiVersion: apps.kruise.io/v1alpha1\nkind: DaemonSet\nmetadata: {name: agent}"[..])?;
/// let skipped = &manifests.skipped()[0];
/// assert_eq!(skipped.kind, "DaemonSet.apps.kruise.io");
/// assert!(skipped.to_string().starts_with("kruise.yaml: document 1: DaemonSet.apps.kruise.io agent: skipped: "));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SkippedObject {
    /// The place.
    pub place: Place,
    /// The kind with its API group, as kubectl writes it; empty if the document is no Kubernetes object.
    pub kind: String,
    /// Why it is not read.
    pub reason: SkipReason,
}

/// Why an object or a document is not read.
///
/// ```
/// use daemonplan::manifest::SkipReason;
/// assert_eq!(SkipReason::OtherKind.to_string(), "plans do not depend on this kind");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SkipReason {
    /// Plans do not depend on the kind.
    OtherKind,
    /// The kind has the name of one that is read, but is of another API group, such as Kruise's DaemonSet.
    OtherGroup,
    /// The document has neither a kind nor an API version nor metadata, like the values of a Helm chart.
    NoObject,
}

impl fmt::Display for SkipReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OtherKind => "plans do not depend on this kind",
            Self::OtherGroup => {
                "it has the name of a kind of Kubernetes, but is of another API group: another controller handles it"
            }
            Self::NoObject => "it has neither kind nor apiVersion and is no Kubernetes object",
        })
    }
}

impl fmt::Display for SkippedObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: skipped: {}", self.place, self.reason)
    }
}

/// The place of a problem in the input.
///
/// ```
/// use daemonplan::manifest::Place;
/// let place = Place { file: "cluster.yaml".into(), document: 2, ..Place::default() };
/// assert_eq!(place.to_string(), "cluster.yaml: document 2");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Place {
    /// The name of the file, as passed to [`Manifests::read`](super::Manifests::read).
    pub file: String,
    /// The number of the document in the file, from 1.
    pub document: usize,
    /// The number of the item in the document's list, from 1.
    pub item: Option<usize>,
    /// The kind, namespace and name of the object, as far as they are readable.
    pub object: Option<String>,
    /// The path of the field, such as `spec.updateStrategy.rollingUpdate.maxSurge`.
    pub field: Option<String>,
}

/// The DaemonSets that cannot be planned because an object could not be read.
///
/// ```
/// use daemonplan::manifest::{Manifests, Scope};
/// let mut manifests = Manifests::default();
/// let text = "kind: DaemonSet\nmetadata: {name: agent, namespace: prod}\nspec: {minReadySeconds: -1}";
/// manifests.read("cluster.yaml", text.as_bytes())?;
/// assert_eq!(manifests.problems()[0].scope, Scope::DaemonSet("prod".into(), "agent".into()));
/// assert_eq!(manifests.snapshots().count(), 0);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Scope {
    /// All DaemonSets: the object is a node, or its kind is unknown.
    Everything,
    /// All DaemonSets of a namespace.
    Namespace(Text),
    /// The DaemonSet with this namespace and name.
    DaemonSet(Text, Text),
    /// No DaemonSet.
    Nothing,
}

impl Scope {
    /// Returns all scopes that include the DaemonSet with this namespace and name.
    pub(super) fn all_of(namespace: &Text, name: &Text) -> [Self; 3] {
        [Self::Everything, Self::Namespace(namespace.clone()), Self::DaemonSet(namespace.clone(), name.clone())]
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: document {}", self.file, self.document)?;
        if let Some(item) = self.item {
            write!(f, ", item {item}")?;
        }
        for part in self.object.iter().chain(&self.field) {
            write!(f, ": {part}")?;
        }
        Ok(())
    }
}

/// Rephrases an error of serde as "expected …, found …".
pub(super) fn plain(error: &impl fmt::Display) -> String {
    let message = without_positions(&error.to_string());
    let parts = ["invalid type: ", "invalid value: "].iter().find_map(|prefix| message.split_once(prefix));
    let parts = parts.and_then(|(field, rest)| Some((field, rest.rsplit_once(", expected ")?)));
    let Some((field, (found, expected))) = parts else { return message };
    let expected = match expected {
        "u32" => "a non-negative integer",
        "i32" | "i64" => "an integer",
        other => other,
    };
    let hint = if expected == "a string" && found.starts_with("boolean") {
        ": in YAML, words such as y, no and on need quotes"
    } else {
        ""
    };
    format!("{field}expected {expected}, found {found}{hint}")
}

/// Removes positions such as "at line 1 column 70", because they are relative to the object, not to the file.
pub(super) fn without_positions(message: &str) -> String {
    let mut parts = message.split(" at line ");
    let mut kept = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let rest = part.trim_start_matches(|c: char| c.is_ascii_digit());
        let rest = rest.strip_prefix(" column ").unwrap_or(rest);
        kept.push_str(rest.trim_start_matches(|c: char| c.is_ascii_digit()));
    }
    kept
}
