use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use serde_json::{Map, Value, json};

use crate::model::{HostPort, Labels, NodeSelector, Text, Toleration};

/// A DaemonSet's pod template, with typed access to the fields that decide where pods run.
///
/// All fields are kept, unknown fields included; in their original order if the feature `preserve_order` of `serde_json` is
/// on in the build. Cloning only increments a reference count.
///
/// ```
/// use daemonplan::model::PodTemplate;
/// let template: PodTemplate = serde_json::from_str(r#"{"spec": {"hostNetwork": true, "brandNew": 1}}"#).unwrap();
/// assert!(template.host_network());
/// assert_eq!(template.json()["spec"]["brandNew"], 1);
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PodTemplate(Arc<Inner>);

#[derive(Clone, Debug, Default, PartialEq)]
struct Inner {
    json: Map<String, Value>,
    labels: Labels,
    node_name: Text,
    node_selector: Labels,
    required_affinity: Option<NodeSelector>,
    tolerations: Vec<Toleration>,
    host_network: bool,
}

/// The error for a malformed field of a template.
///
/// ```
/// use daemonplan::model::PodTemplate;
/// let json = serde_json::json!({"spec": {"tolerations": "all"}});
/// let error = PodTemplate::new(json.as_object().unwrap().clone()).unwrap_err();
/// assert_eq!(error.field, "spec.tolerations");
/// ```
#[derive(Debug, thiserror::Error)]
#[error("{field}: {source}")]
#[non_exhaustive]
pub struct PodTemplateError {
    /// The path of the field within the template, such as `spec.tolerations`.
    pub field: &'static str,
    /// The underlying error: what was expected and what was found.
    pub source: serde_json::Error,
}

impl PodTemplateError {
    /// Returns the error for a missing field.
    pub(super) fn missing(field: &'static str) -> Self {
        Self { field, source: serde_json::Error::custom("expected an object, found none") }
    }
}

impl PodTemplate {
    /// Reads the fields that decide where pods run, and keeps all others unread.
    ///
    /// # Errors
    /// If a field that decides where pods run has the wrong type.
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

    /// Returns a copy with these `metadata.labels` instead.
    #[must_use]
    pub fn with_labels<L: Into<Labels>>(&self, labels: L) -> Self {
        let labels = labels.into();
        self.edited("metadata", "labels", json!(labels), |inner| inner.labels = labels)
    }

    /// Returns a copy with this `spec.nodeSelector` instead.
    #[must_use]
    pub fn with_node_selector<L: Into<Labels>>(&self, labels: L) -> Self {
        let labels = labels.into();
        self.edited("spec", "nodeSelector", json!(labels), |inner| inner.node_selector = labels)
    }

    /// Returns a copy with these `spec.tolerations` instead.
    #[must_use]
    pub fn with_tolerations(&self, tolerations: Vec<Toleration>) -> Self {
        self.edited("spec", "tolerations", json!(tolerations), |inner| inner.tolerations = tolerations)
    }

    /// Returns a copy with one more container.
    ///
    /// ```
    /// use daemonplan::model::PodTemplate;
    /// let template = PodTemplate::default().with_labels([("app", "agent")]).with_container("agent", "example.com/agent:1");
    /// assert_eq!(template.json()["spec"]["containers"][0]["image"], "example.com/agent:1");
    /// ```
    #[must_use]
    pub fn with_container(&self, name: &str, image: &str) -> Self {
        let containers = self.json().get("spec").and_then(|spec| spec.get("containers"));
        let mut containers = containers.and_then(Value::as_array).cloned().unwrap_or_default();
        containers.push(json!({"name": name, "image": image}));
        self.edited("spec", "containers", containers.into(), |_| {})
    }

    /// Sets a field in the JSON, and in the fields that were read from it.
    fn edited(&self, part: &str, field: &str, value: Value, set: impl FnOnce(&mut Inner)) -> Self {
        let mut inner = Inner::clone(&self.0);
        let object = inner.json.entry(part).or_insert_with(|| json!({}));
        if object.is_null() {
            *object = json!({});
        }
        if let Some(object) = object.as_object_mut() {
            object.insert(field.into(), value);
        }
        set(&mut inner);
        Self(Arc::new(inner))
    }

    /// Returns the complete template, unchanged.
    pub fn json(&self) -> &Map<String, Value> {
        &self.0.json
    }

    /// Returns `metadata.labels`.
    pub fn labels(&self) -> &Labels {
        &self.0.labels
    }

    /// Returns `spec.nodeName`; empty if not set.
    pub fn node_name(&self) -> &Text {
        &self.0.node_name
    }

    /// Returns `spec.nodeSelector`.
    pub fn node_selector(&self) -> &Labels {
        &self.0.node_selector
    }

    /// Returns `spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution`.
    pub fn required_affinity(&self) -> Option<&NodeSelector> {
        self.0.required_affinity.as_ref()
    }

    /// Returns `spec.tolerations`.
    pub fn tolerations(&self) -> &[Toleration] {
        &self.0.tolerations
    }

    /// Returns the ports of the node that a pod takes, each with the path of its field: those of its containers and
    /// sidecars. On the network of the node (`hostNetwork`) each port of a container is one.
    ///
    /// ```
    /// use daemonplan::model::PodTemplate;
    /// let template: PodTemplate = serde_json::from_str(
    ///     r#"{"spec": {"containers": [{"name": "a", "ports": [{"containerPort": 80, "hostPort": 8080}]}]}}"#,
    /// ).unwrap();
    /// let (field, port) = &template.host_ports()[0];
    /// assert_eq!((port.number, field.as_str()), (8080, "spec.containers[0].ports[0].hostPort"));
    /// ```
    pub fn host_ports(&self) -> Vec<(String, HostPort)> {
        let field = if self.host_network() { "containerPort" } else { "hostPort" };
        let spec = self.json().get("spec");
        let list = |value: Option<&Value>| value.and_then(Value::as_array).cloned().unwrap_or_default();
        let mut found = Vec::new();
        for kind in ["containers", "initContainers"] {
            for (number, container) in list(spec.and_then(|spec| spec.get(kind))).iter().enumerate() {
                // Of the init containers, only sidecars keep a port.
                let is_sidecar = || container.get("restartPolicy").and_then(Value::as_str) == Some("Always");
                if kind == "initContainers" && !is_sidecar() {
                    continue;
                }
                found.extend(list(container.get("ports")).iter().enumerate().filter_map(|(place, port)| {
                    let text = |name: &str| port.get(name).and_then(Value::as_str).unwrap_or_default();
                    let protocol = Some(text("protocol")).filter(|protocol| !protocol.is_empty()).unwrap_or("TCP");
                    let host_port = port.get(field)?.as_u64().and_then(|port| u32::try_from(port).ok())?;
                    let (protocol, ip) = (protocol.into(), text("hostIP").into());
                    let port = HostPort { number: host_port, protocol, ip };
                    let path = format!("spec.{kind}[{number}].ports[{place}].{field}");
                    (host_port > 0).then_some((path, port))
                }));
            }
        }
        found
    }

    /// Returns `spec.hostNetwork`.
    pub fn host_network(&self) -> bool {
        self.0.host_network
    }
}

fn read<'a, T: Deserialize<'a>>(
    from: Option<&'a Value>,
    path: &[&str],
    field: &'static str,
) -> Result<Option<T>, PodTemplateError> {
    let error = |source| PodTemplateError { field, source };
    let mut value = from;
    for step in path {
        value = match value {
            None | Some(Value::Null) => return Ok(None),
            Some(Value::Object(object)) => object.get(*step),
            Some(other) => return Map::deserialize(other).map(|_| None).map_err(error),
        };
    }
    Option::deserialize(value.unwrap_or(&Value::Null)).map_err(error)
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
    fn numbers_survive_a_round_trip_to_the_last_digit() {
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
