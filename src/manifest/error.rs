use std::fmt;

use thiserror::Error;

use crate::model::Text;

/// What is wrong with a manifest, and where.
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
    /// Where it stands.
    pub place: Place,
    /// What was expected and what was found.
    pub problem: String,
    /// Whose plan cannot be made without it.
    pub scope: Scope,
}

/// Where in the input an error stands.
///
/// ```
/// use daemonplan::manifest::Place;
/// let place = Place { file: "cluster.yaml".into(), document: 2, ..Place::default() };
/// assert_eq!(place.to_string(), "cluster.yaml: document 2");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Place {
    /// The file's name, as it was given.
    pub file: String,
    /// Which document of the file, from 1.
    pub document: usize,
    /// Which item of the document's list, from 1.
    pub item: Option<usize>,
    /// The object: kind, namespace and name, as far as they can be read.
    pub object: Option<String>,
    /// The field, such as `spec.updateStrategy.rollingUpdate.maxSurge`.
    pub field: Option<String>,
}

/// Whose plan cannot be made because an object could not be read.
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
    /// Every DaemonSet's: it was a node, or nobody knows what.
    Everything,
    /// Those of a namespace.
    Namespace(Text),
    /// The one with this namespace and name.
    DaemonSet(Text, Text),
    /// Nobody's.
    Nothing,
}

impl Scope {
    /// All scopes that cover the DaemonSet of this namespace and name.
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
