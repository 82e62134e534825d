use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use serde_json::{Map, Value, json};

use crate::{
    model::{Key, PodTemplate, Quantity, ResourceList, ResourceRequirements, Text},
    selector::SelectorExpression,
};

/// What the containers of a DaemonSet request on some nodes, instead of what its template says: more on large nodes, say.
///
/// Each amount replaces the template's amount of the same resource, and the template's other amounts stay. Pods that are
/// created get these amounts, and keep them until they are replaced: a change of the setting alone replaces none.
///
/// ```
/// use daemonplan::affinity::NodeResources;
/// let large: NodeResources = serde_json::from_str(r#"{
///     "daemonSet": {"namespace": "prod", "name": "agent"},
///     "nodes": "size=large",
///     "containers": {"agent": {"requests": {"cpu": "500m"}, "limits": {"memory": "1Gi"}}}
/// }"#)?;
/// assert_eq!(large.containers["agent"].requests.get("cpu").to_string(), "500m");
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[serde(expecting = "an object with daemonSet, nodes and containers")]
#[non_exhaustive]
pub struct NodeResources {
    /// The DaemonSet.
    #[serde(deserialize_with = "key")]
    pub daemon_set: Key,
    /// The labels of the nodes. Empty: all nodes.
    pub nodes: SelectorExpression,
    /// The requests and limits by the name of the container, or init container.
    #[serde(deserialize_with = "containers")]
    pub containers: BTreeMap<Text, ResourceRequirements>,
}

/// The fields with containers.
const LISTS: [&str; 2] = ["initContainers", "containers"];

impl NodeResources {
    /// Returns a rule for nodes with these labels that changes nothing yet.
    ///
    /// ```
    /// use daemonplan::{Key, affinity::NodeResources};
    /// let mut large = NodeResources::new(Key::new("prod", "agent"), "size=large".parse()?);
    /// large.containers.entry("agent".into()).or_default().requests.set("cpu".into(), 2_i64.into());
    /// # Ok::<(), daemonplan::selector::ExpressionError>(())
    /// ```
    pub fn new(daemon_set: Key, nodes: SelectorExpression) -> Self {
        Self { daemon_set, nodes, containers: BTreeMap::new() }
    }

    /// Returns the containers that a template does not have.
    pub(crate) fn unknown_containers<'s>(&'s self, template: &'s PodTemplate) -> impl Iterator<Item = &'s Text> {
        let spec = template.json().get("spec");
        let lists = LISTS.iter().filter_map(move |list| spec?.get(list)?.as_array());
        let names: Vec<_> = lists.flatten().filter_map(|container| container.get("name")?.as_str()).collect();
        self.containers.keys().filter(move |name| !names.contains(&name.as_str()))
    }

    /// Returns what of it has an effect on a template.
    pub(crate) fn of_template(&self, template: &PodTemplate) -> Self {
        let unknown: Vec<_> = self.unknown_containers(template).collect();
        let containers = self.containers.iter().filter(|(name, _)| !unknown.contains(name));
        Self { containers: containers.map(|(name, own)| (name.clone(), own.clone())).collect(), ..self.clone() }
    }

    /// The nodes, in words.
    pub(crate) fn on_nodes(&self) -> String {
        let nodes = self.nodes.to_string();
        if nodes.is_empty() { "all nodes".into() } else { format!("nodes with {nodes}") }
    }

    /// Whether it changes nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.containers.values().all(|own| own.requests.is_empty() && own.limits.is_empty())
    }

    /// Writes the amounts into the spec of a pod.
    pub(super) fn apply(&self, spec: &mut Map<String, Value>) {
        for list in LISTS {
            for container in spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
                let name = container.get("name").and_then(Value::as_str).unwrap_or_default();
                let own = self.containers.get(name);
                if let Some((own, container)) = own.zip(container.as_object_mut()) {
                    for (field, amounts) in [("requests", &own.requests), ("limits", &own.limits)] {
                        set(container, field, amounts);
                    }
                }
            }
        }
    }
}

/// Such as `size=large: agent requests cpu 500m, limits memory 1Gi`.
impl fmt::Display for NodeResources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nodes = self.nodes.to_string();
        f.write_str(if nodes.is_empty() { "all nodes" } else { &nodes })?;
        let is_set = |own: &ResourceRequirements| !own.requests.is_empty() || !own.limits.is_empty();
        let containers = self.containers.iter().filter(|(_, own)| is_set(own));
        for (number, (name, ResourceRequirements { requests, limits })) in containers.enumerate() {
            write!(f, "{} {name}", if number == 0 { ":" } else { ";" })?;
            let lists = [(" requests", requests), (" limits", limits)];
            let lists = lists.into_iter().filter(|(_, amounts)| !amounts.is_empty());
            for (number, (field, amounts)) in lists.enumerate() {
                write!(f, "{}{field}", if number == 0 { "" } else { "," })?;
                for (number, (resource, amount)) in amounts.iter().enumerate() {
                    write!(f, "{} {resource} {amount}", if number == 0 { "" } else { "," })?;
                }
            }
        }
        Ok(())
    }
}

/// Sets some of a container's requests or limits, and keeps the others.
fn set(container: &mut Map<String, Value>, field: &str, amounts: &ResourceList) {
    if amounts.is_empty() {
        return;
    }
    let known = object_in(container, "resources").and_then(|resources| object_in(resources, field));
    if let Some(known) = known {
        known.extend(amounts.iter().map(|(resource, amount)| (resource.to_string(), json!(amount))));
    }
}

/// Returns the object in a field; a new one if there is none.
fn object_in<'o>(object: &'o mut Map<String, Value>, field: &str) -> Option<&'o mut Map<String, Value>> {
    let value = object.entry(field).or_insert(Value::Null);
    if value.is_null() {
        *value = json!({});
    }
    value.as_object_mut()
}

/// Whether containers can request this. <https://kubernetes.io/docs/concepts/configuration/manage-resources-containers/>
fn is_resource(name: &str) -> bool {
    let is_standard = ["cpu", "memory", "ephemeral-storage"].contains(&name) || name.starts_with("hugepages-");
    is_standard || name.contains('/')
}

/// Reads the key of a DaemonSet, and nothing else.
fn key<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Key, D::Error> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields, expecting = "an object with a namespace and a name")]
    struct StrictKey {
        namespace: Text,
        name: Text,
    }
    let StrictKey { namespace, name } = StrictKey::deserialize(deserializer)?;
    Ok(Key { namespace, name })
}

/// Reads requests and limits by container, and nothing else: what is misspelt would be ignored.
fn containers<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<Text, ResourceRequirements>, D::Error> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields, expecting = "an object with requests and limits")]
    struct StrictResources {
        #[serde(default)]
        requests: BTreeMap<Text, Value>,
        #[serde(default)]
        limits: BTreeMap<Text, Value>,
    }
    let containers = BTreeMap::<Text, StrictResources>::deserialize(deserializer)?;
    let read = |(name, StrictResources { requests, limits }): (Text, StrictResources)| {
        let amounts = |field: &str, amounts: BTreeMap<Text, Value>| {
            let read = amounts.into_iter().map(|(resource, amount)| {
                let problem = |problem: String| D::Error::custom(format_args!("{name}.{field}.{resource}: {problem}"));
                if !is_resource(&resource) {
                    let expected = "expected cpu, memory, ephemeral-storage, hugepages-SIZE, or a name with a domain";
                    return Err(problem(expected.into()));
                }
                // No value would be 0 for the API server, and is a mistake here.
                let quantity = Some(&amount).filter(|amount| !amount.is_null());
                let quantity = quantity.ok_or_else(|| problem("expected a quantity, found none".into()))?;
                let quantity = Quantity::deserialize(quantity).map_err(|error| problem(error.to_string()))?;
                if quantity < Quantity::default() {
                    return Err(problem(format!("expected a quantity of at least 0, found {quantity}")));
                }
                Ok((resource, quantity))
            });
            read.collect::<Result<ResourceList, D::Error>>()
        };
        let requests = amounts("requests", requests)?;
        let resources = ResourceRequirements { requests, limits: amounts("limits", limits)? };
        Ok((name, resources))
    };
    containers.into_iter().map(read).collect()
}
