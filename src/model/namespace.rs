use serde::{Deserialize, Serialize};

use super::{
    Labels, Text,
    metadata::{Metadata, MissingName, unless_default},
};

/// A namespace: its name and the annotations that may hold a node selector.
///
/// ```
/// use daemonplan::model::{Labels, Namespace};
/// let mut project = Namespace::new("monitoring");
/// project.annotations = Labels::from_iter([("openshift.io/node-selector", "")]);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Wire", into = "Wire")]
#[non_exhaustive]
pub struct Namespace {
    /// `metadata.name`.
    pub name: Text,
    /// `metadata.annotations`.
    pub annotations: Labels,
}

impl Namespace {
    /// A namespace without annotations.
    pub fn new(name: impl Into<Text>) -> Self {
        Self { name: name.into(), annotations: Labels::default() }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire {
    #[serde(rename(serialize = "apiVersion"), skip_deserializing)]
    api: &'static str,
    #[serde(rename(serialize = "kind"), skip_deserializing)]
    kind: &'static str,
    #[serde(default)]
    metadata: Metadata,
}

impl TryFrom<Wire> for Namespace {
    type Error = MissingName;

    fn try_from(mut wire: Wire) -> Result<Self, MissingName> {
        let name = wire.metadata.take_name()?;
        Ok(Self { name, annotations: wire.metadata.annotations.unwrap_or_default() })
    }
}

impl From<Namespace> for Wire {
    fn from(namespace: Namespace) -> Self {
        let name = Some(namespace.name);
        let annotations = unless_default(namespace.annotations);
        Self { api: "v1", kind: "Namespace", metadata: Metadata { name, annotations, ..Metadata::default() } }
    }
}
