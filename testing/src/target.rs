//! What a request is about.

use axum::http::Uri;

use crate::{id::Id, resource::Resource, store::Store};

/// What a request is about.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) resource: Resource,
    pub(crate) namespace: String,
    pub(crate) name: Option<String>,
    pub(crate) subresource: Option<String>,
}

impl Target {
    pub(crate) fn of(store: &Store, uri: &Uri) -> Option<Self> {
        let parts: Vec<&str> = uri.path().trim_matches('/').split('/').collect();
        let (group, version, rest) = match parts.as_slice() {
            ["api", version, rest @ ..] => ("", *version, rest),
            ["apis", group, version, rest @ ..] => (*group, *version, rest),
            _ => return None,
        };
        let (namespace, rest) = match rest {
            ["namespaces", _, "status" | "finalize"] => ("", rest),
            ["namespaces", namespace, rest @ ..] if !rest.is_empty() => (*namespace, rest),
            rest => ("", rest),
        };
        let (plural, name, subresource) = match rest {
            [plural] => (plural, None, None),
            [plural, name] => (plural, Some(name), None),
            [plural, name, subresource] => (plural, Some(name), Some(subresource)),
            _ => return None,
        };
        let resource = store.resource_at(group, version, plural)?;
        let is_placed = match (resource.is_namespaced, namespace.is_empty()) {
            (false, is_global) => is_global,
            // Only lists and watches reach over all namespaces.
            (true, true) => name.is_none(),
            (true, false) => true,
        };
        let owned = |text: Option<&&str>| text.map(|text| (*text).to_owned());
        is_placed.then(|| Self {
            resource,
            namespace: namespace.to_owned(),
            name: owned(name),
            subresource: owned(subresource),
        })
    }

    /// Returns the place of the object with this name.
    pub(crate) fn id(&self, name: &str) -> Id {
        Id::new(&self.resource.name(), &self.namespace, name)
    }
}
