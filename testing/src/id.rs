//! The place of an object.

use std::fmt;

/// The place of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id {
    /// The plural such as `pods`; of a custom resource with its group, such as `widgets.example.com`.
    pub resource: String,
    /// The namespace, empty for an object that is in none.
    pub namespace: String,
    /// The name.
    pub name: String,
}

impl Id {
    /// Returns the place of an object.
    pub fn new(resource: &str, namespace: &str, name: &str) -> Self {
        Self { resource: resource.to_owned(), namespace: namespace.to_owned(), name: name.to_owned() }
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { resource, namespace, name } = self;
        if namespace.is_empty() { write!(f, "{resource} {name}") } else { write!(f, "{resource} {namespace}/{name}") }
    }
}
