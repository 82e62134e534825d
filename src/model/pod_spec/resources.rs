use std::collections::{BTreeMap, btree_map};

use serde::{Deserialize, Deserializer, Serialize};

use crate::model::{Quantity, Text};

/// Amounts by resource, such as `cpu` and `memory`.
///
/// ```
/// use daemonplan::model::{Quantity, ResourceList};
/// let mut used = ResourceList::from_iter([("cpu", "250m".parse::<Quantity>()?)]);
/// used.add(&ResourceList::from_iter([("cpu", Quantity::from(1_i64)), ("memory", "64Mi".parse()?)]));
/// assert_eq!(used.get("cpu").to_string(), "1250m");
/// assert!(used.get("example.com/gpu").is_zero());
/// # Ok::<(), daemonplan::model::InvalidQuantity>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct ResourceList(BTreeMap<Text, Quantity>);

/// Requests and limits of a container or a pod.
/// <https://kubernetes.io/docs/concepts/configuration/manage-resources-containers/>
///
/// ```
/// use daemonplan::model::ResourceRequirements;
/// let own: ResourceRequirements = serde_json::from_str(r#"{"limits": {"cpu": 2}}"#)?;
/// assert_eq!(own.limits.get("cpu").to_string(), "2");
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ResourceRequirements {
    /// What the scheduler reserves.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "ResourceList::is_empty")]
    pub requests: ResourceList,
    /// What the kubelet allows at most.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "ResourceList::is_empty")]
    pub limits: ResourceList,
}

/// A port of the node that a pod takes, so that no other pod can have it there.
/// <https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/#ports>
///
/// ```
/// use daemonplan::model::HostPort;
/// let port = HostPort { number: 8080, protocol: "TCP".into(), ip: "".into() };
/// assert!(port.conflicts_with(&HostPort { ip: "10.0.0.1".into(), ..port.clone() }));
/// assert_eq!(port.to_string(), "8080/TCP");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct HostPort {
    /// The number.
    pub number: u32,
    /// `TCP`, `UDP` or `SCTP`.
    pub protocol: Text,
    /// The address; empty for all addresses.
    #[serde(skip_serializing_if = "Text::is_empty")]
    pub ip: Text,
}

/// Reads a missing value and null alike.
pub(super) fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

impl ResourceList {
    /// Returns the amount of a resource; 0 if there is none.
    pub fn get(&self, resource: &str) -> Quantity {
        self.0.get(resource).copied().unwrap_or_default()
    }

    /// Whether the resource is named, even with the amount 0.
    pub fn contains(&self, resource: &str) -> bool {
        self.0.contains_key(resource)
    }

    /// Whether no resource is named.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Iterates over all resources, by name.
    pub fn iter(&self) -> btree_map::Iter<'_, Text, Quantity> {
        self.0.iter()
    }

    /// Sets the amount of a resource.
    pub fn set(&mut self, resource: Text, amount: Quantity) {
        self.0.insert(resource, amount);
    }

    /// Sets the amount of a resource that is not named yet.
    pub fn set_missing(&mut self, resource: &Text, amount: Quantity) {
        self.0.entry(resource.clone()).or_insert(amount);
    }

    /// Rounds all amounts up to thousandths, as the API server does.
    pub(crate) fn round_up(&mut self) {
        for amount in self.0.values_mut() {
            *amount = amount.rounded_to_milli();
        }
    }

    /// Returns the list with all amounts rounded up to thousandths, as the API server does.
    pub(crate) fn rounded_up(mut self) -> Self {
        self.round_up();
        self
    }

    /// Adds the amounts of `other`.
    pub fn add(&mut self, other: &Self) {
        for (resource, amount) in other {
            *self.0.entry(resource.clone()).or_default() += *amount;
        }
    }

    /// Raises each amount to at least that of `other`.
    pub fn raise(&mut self, other: &Self) {
        for (resource, amount) in other {
            let own = self.0.entry(resource.clone()).or_insert(*amount);
            if *own < *amount {
                *own = *amount;
            }
        }
    }
}

impl<T: Into<Text>> FromIterator<(T, Quantity)> for ResourceList {
    fn from_iter<I: IntoIterator<Item = (T, Quantity)>>(amounts: I) -> Self {
        Self(amounts.into_iter().map(|(resource, amount)| (resource.into(), amount)).collect())
    }
}

impl<'a> IntoIterator for &'a ResourceList {
    type Item = (&'a Text, &'a Quantity);
    type IntoIter = btree_map::Iter<'a, Text, Quantity>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<'de> Deserialize<'de> for ResourceList {
    /// Reads null as 0, as the API server does.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let amounts = BTreeMap::<Text, Option<Quantity>>::deserialize(deserializer)?;
        Ok(amounts.into_iter().map(|(resource, amount)| (resource, amount.unwrap_or_default())).collect())
    }
}

impl HostPort {
    /// Whether two pods with these ports cannot run on the same node.
    pub fn conflicts_with(&self, other: &Self) -> bool {
        let same_address = self.ip == other.ip || self.is_any_address() || other.is_any_address();
        self.number == other.number && self.protocol == other.protocol && same_address
    }

    /// Whether both are the same port of the same address.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        let is_same_address = self.ip == other.ip || self.is_any_address() && other.is_any_address();
        self.number == other.number && self.protocol == other.protocol && is_same_address
    }

    fn is_any_address(&self) -> bool {
        self.ip.is_empty() || self.ip == "0.0.0.0"
    }
}

impl std::fmt::Display for HostPort {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { number, protocol, ip } = self;
        match &**ip {
            "" => write!(f, "{number}/{protocol}"),
            ip if ip.contains(':') => write!(f, "[{ip}]:{number}/{protocol}"),
            ip => write!(f, "{ip}:{number}/{protocol}"),
        }
    }
}
