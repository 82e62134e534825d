//! How objects are written.

use std::borrow::Cow;

use axum::http::{HeaderMap, header};
use serde_json::{Value, json};

use crate::resource::Resource;

/// How a client wants its objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// As they are.
    Whole,
    /// As `PartialObjectMetadata`.
    Metadata,
}

impl Form {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let accepted = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if accepted.contains("as=PartialObjectMetadata") { Self::Metadata } else { Self::Whole }
    }

    /// Returns `kind` and `apiVersion` of an object.
    pub(crate) fn types(self, resource: &Resource) -> (Cow<'static, str>, String) {
        match self {
            Self::Whole => (resource.kind.clone(), resource.api_version()),
            Self::Metadata => ("PartialObjectMetadata".into(), "meta.k8s.io/v1".to_owned()),
        }
    }

    /// Writes an object; in a list of a built-in kind, without `kind` and `apiVersion`, as the API server does.
    pub(crate) fn write(self, resource: &Resource, object: &Value, in_list: bool) -> String {
        let object = match self {
            Self::Whole => object.to_string(),
            Self::Metadata => json!({"metadata": object["metadata"]}).to_string(),
        };
        if in_list && self == Self::Whole && !resource.is_custom {
            return object;
        }
        let (kind, api_version) = self.types(resource);
        let fields = object.strip_prefix('{').unwrap_or_default();
        format!(r#"{{"kind":"{kind}","apiVersion":"{api_version}",{fields}"#)
    }
}
