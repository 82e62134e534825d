//! Which objects a list or a watch shows.

use std::collections::HashMap;

use daemonplan::{model::Labels, selector::SelectorExpression};
use serde_json::Value;

use crate::{id::Id, refusal::Refusal, target::Target};

/// The objects of a list or a watch.
#[derive(Clone, Debug)]
pub(crate) struct Selection {
    resource: String,
    namespace: String,
    labels: Option<SelectorExpression>,
    /// A path, the value, and whether they must be equal.
    fields: Vec<(String, String, bool)>,
}

/// The fields that can be selected besides `metadata.name` and `metadata.namespace`.
const FIELDS: &[(&str, &[&str])] = &[
    (
        "pods",
        &[
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "status.phase",
            "status.podIP",
        ],
    ),
    ("nodes", &["spec.unschedulable"]),
    ("namespaces", &["status.phase"]),
    ("secrets", &["type"]),
    ("jobs", &["status.successful"]),
    ("replicasets", &["status.replicas"]),
    (
        "events",
        &[
            "involvedObject.kind",
            "involvedObject.name",
            "involvedObject.namespace",
            "involvedObject.uid",
            "reason",
            "type",
            "regarding.kind",
            "regarding.name",
            "regarding.namespace",
            "regarding.uid",
            "reportingController",
        ],
    ),
];

impl Selection {
    /// Reads the selectors of a request.
    pub(crate) fn of(target: &Target, query: &HashMap<String, String>) -> Result<Self, Refusal> {
        let labels = query.get("labelSelector").filter(|text| !text.is_empty());
        let labels =
            labels.map(|text| text.parse().map_err(|error| Refusal::bad_request(format!("{error}")))).transpose()?;
        let resource = target.resource.name().into_owned();
        let known = FIELDS.iter().find(|(of, _)| *of == resource).map_or(&[][..], |(_, fields)| fields);
        let mut fields = Vec::new();
        for text in
            query.get("fieldSelector").into_iter().flat_map(|text| text.split(',')).filter(|text| !text.is_empty())
        {
            let (field, value, equal) = match (text.split_once("!="), text.split_once("==")) {
                (Some((field, value)), _) => (field, value, false),
                (_, Some((field, value))) => (field, value, true),
                _ => match text.split_once('=') {
                    Some((field, value)) => (field, value, true),
                    None => return Err(Refusal::bad_request(format!("invalid field selector {text:?}"))),
                },
            };
            if !matches!(field, "metadata.name" | "metadata.namespace") && !known.contains(&field) {
                return Err(Refusal::bad_request(format!("field label not supported: {field}")));
            }
            fields.push((field.to_owned(), value.to_owned(), equal));
        }
        // A collection's path may hold the name, too: the watch of a single object.
        fields.extend(target.name.iter().map(|name| ("metadata.name".to_owned(), name.clone(), true)));
        Ok(Self { resource, namespace: target.namespace.clone(), labels, fields })
    }

    pub(crate) fn resource(&self) -> &str {
        &self.resource
    }

    pub(crate) fn has(&self, id: &Id, object: &Value) -> bool {
        self.resource == id.resource
            && (self.namespace.is_empty() || self.namespace == id.namespace)
            && self.fields.iter().all(|(path, value, equal)| (field(object, path) == *value) == *equal)
            && self.labels.as_ref().is_none_or(|labels| labels.matches(&labels_of(object)))
    }
}

/// Returns a field as text; a missing one is empty.
fn field(object: &Value, path: &str) -> String {
    match path.split('.').fold(object, |value, name| &value[name]) {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn labels_of(object: &Value) -> Labels {
    serde_json::from_value(object["metadata"]["labels"].clone()).unwrap_or_default()
}
