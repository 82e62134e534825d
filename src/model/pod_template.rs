use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use serde_json::{Map, Value};

use crate::model::{Labels, NodeSelector, Text, Toleration};

/// A DaemonSet's pod template: kept whole and in order, fields that this crate does not know included, with a typed
/// view of the few that decide where pods run.
///
/// A clone is a reference count.
///
/// ```
/// use daemonplan::model::PodTemplate;
/// let template: PodTemplate = serde_json::from_str(r#"{"spec": {"hostNetwork": true, "brandNew": 1}}"#).unwrap();
/// assert!(template.host_network());
/// assert_eq!(template.json()["spec"]["brandNew"], 1);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct PodTemplate(Arc<Inner>);

#[derive(Debug, PartialEq)]
struct Inner {
    json: Map<String, Value>,
    labels: Labels,
    node_name: Text,
    node_selector: Labels,
    required_affinity: Option<NodeSelector>,
    tolerations: Vec<Toleration>,
    host_network: bool,
}

/// Which field of a template cannot be read, and why.
///
/// ```
/// use daemonplan::model::PodTemplate;
/// let json = serde_json::json!({"spec": {"tolerations": "all"}});
/// let error = PodTemplate::new(json.as_object().unwrap().clone()).unwrap_err();
/// assert_eq!(error.field, "spec.tolerations");
/// ```
#[derive(Debug, thiserror::Error)]
#[error("{field}: {source}")]
pub struct PodTemplateError {
    /// The field, such as `spec.tolerations`: from the template down.
    pub field: &'static str,
    /// What was expected there and what was found.
    pub source: serde_json::Error,
}

impl PodTemplateError {
    /// The field is not there.
    pub(super) fn missing(field: &'static str) -> Self {
        Self { field, source: serde_json::Error::custom("expected an object, found none") }
    }
}

impl PodTemplate {
    /// Reads the fields that decide where pods run; all others pass through unread.
    ///
    /// # Errors
    /// If one of the fields that are read has the wrong type.
    pub fn new(json: Map<String, Value>) -> Result<Self, PodTemplateError> {
        const REQUIRED: &[&str] = &["affinity", "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution"];
        let metadata = json.get("metadata");
        let spec = json.get("spec");
        Ok(Self(Arc::new(Inner {
            labels: read(metadata, &["labels"], "metadata.labels")?.unwrap_or_default(),
            node_name: read(spec, &["nodeName"], "spec.nodeName")?.unwrap_or_default(),
            node_selector: read(spec, &["nodeSelector"], "spec.nodeSelector")?.unwrap_or_default(),
            required_affinity: read(
                spec,
                REQUIRED,
                "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution",
            )?,
            tolerations: read(spec, &["tolerations"], "spec.tolerations")?.unwrap_or_default(),
            host_network: read(spec, &["hostNetwork"], "spec.hostNetwork")?.unwrap_or_default(),
            json,
        })))
    }

    /// The whole template as it was written.
    pub fn json(&self) -> &Map<String, Value> {
        &self.0.json
    }

    /// `metadata.labels`.
    pub fn labels(&self) -> &Labels {
        &self.0.labels
    }

    /// `spec.nodeName`; empty if not set.
    pub fn node_name(&self) -> &Text {
        &self.0.node_name
    }

    /// `spec.nodeSelector`.
    pub fn node_selector(&self) -> &Labels {
        &self.0.node_selector
    }

    /// `spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution`.
    pub fn required_affinity(&self) -> Option<&NodeSelector> {
        self.0.required_affinity.as_ref()
    }

    /// `spec.tolerations`.
    pub fn tolerations(&self) -> &[Toleration] {
        &self.0.tolerations
    }

    /// `spec.hostNetwork`.
    pub fn host_network(&self) -> bool {
        self.0.host_network
    }
}

fn read<'a, T: Deserialize<'a>>(
    from: Option<&'a Value>,
    path: &[&str],
    field: &'static str,
) -> Result<Option<T>, PodTemplateError> {
    match from.and_then(|from| path.iter().try_fold(from, |value, step| value.get(step))) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => T::deserialize(value).map(Some).map_err(|source| PodTemplateError { field, source }),
    }
}

impl Default for PodTemplate {
    fn default() -> Self {
        Self(Arc::new(Inner {
            json: Map::new(),
            labels: Labels::default(),
            node_name: Text::default(),
            node_selector: Labels::default(),
            required_affinity: None,
            tolerations: Vec::new(),
            host_network: false,
        }))
    }
}

impl Serialize for PodTemplate {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.json.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for PodTemplate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(Map::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::PodTemplate;

    #[test]
    fn what_is_written_is_read_as_the_same_to_the_last_digit() {
        let text = r#"{"spec":{"new":[6.666666666666667e+85,0.1,1e-7,18446744073709551615,-0.0]}}"#;
        let digits = "66666666666666666666666000000000000000000000000000000000000000000006148914691236117204";
        for text in [text, &text.replace("0.1", digits)] {
            let template: PodTemplate = serde_json::from_str(text).unwrap();
            let written = serde_json::to_string(&template).unwrap();
            assert_eq!(serde_json::from_str::<PodTemplate>(&written).unwrap(), template);
        }
        assert_eq!(serde_json::to_string(&serde_json::from_str::<PodTemplate>(text).unwrap()).unwrap(), text);
    }
}
