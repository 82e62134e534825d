use std::collections::BTreeMap;

use serde::Serialize;

use crate::model::{Quantity, ResourceList, Text};

/// Amounts of resources as the scheduler counts them: cpu in thousandths, everything else in whole units, rounded up for
/// each pod. <https://kubernetes.io/docs/concepts/configuration/manage-resources-containers/>
///
/// ```
/// use daemonplan::{model::ResourceList, scheduling::Amounts};
/// let list = ResourceList::from_iter([("cpu", "1.5".parse()?), ("memory", "0.5".parse()?), ("example.com/gpu", 1_i64.into())]);
/// let amounts = Amounts::from(&list);
/// assert_eq!((amounts.milli_cpu, amounts.memory, amounts.get("example.com/gpu")), (1500, 1, 1));
/// # Ok::<(), daemonplan::model::InvalidQuantity>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Amounts {
    /// `cpu`, in thousandths.
    #[serde(rename = "milliCPU")]
    pub milli_cpu: i64,
    /// `memory`, in bytes.
    pub memory: i64,
    /// `ephemeral-storage`, in bytes.
    pub ephemeral_storage: i64,
    /// Extended resources, huge pages and attachable volumes.
    pub scalar: BTreeMap<Text, i64>,
}

pub(super) const CPU: &str = "cpu";
pub(super) const MEMORY: &str = "memory";
pub(super) const EPHEMERAL_STORAGE: &str = "ephemeral-storage";

impl Amounts {
    /// Returns the amount of a resource; 0 if there is none.
    pub fn get(&self, resource: &str) -> i64 {
        match resource {
            CPU => self.milli_cpu,
            MEMORY => self.memory,
            EPHEMERAL_STORAGE => self.ephemeral_storage,
            other => self.scalar.get(other).copied().unwrap_or_default(),
        }
    }

    /// Iterates over the resources with an amount other than 0: cpu, memory and ephemeral storage first.
    pub fn iter(&self) -> impl Iterator<Item = (&str, i64)> {
        self.beside([]).map(|(resource, amount, [])| (resource, amount))
    }

    /// Iterates over the resources with an amount other than 0, each with what others have of it.
    pub(super) fn beside<const N: usize>(&self, others: [&Self; N]) -> impl Iterator<Item = (&str, i64, [i64; N])> {
        let fixed = [
            (CPU, self.milli_cpu, others.map(|other| other.milli_cpu)),
            (MEMORY, self.memory, others.map(|other| other.memory)),
            (EPHEMERAL_STORAGE, self.ephemeral_storage, others.map(|other| other.ephemeral_storage)),
        ];
        let scalar = self.scalar.iter().map(move |(resource, amount)| {
            let others = others.map(|other| other.scalar.get(resource).copied().unwrap_or_default());
            (resource.as_str(), *amount, others)
        });
        fixed.into_iter().chain(scalar).filter(|(_, amount, _)| *amount != 0)
    }

    /// Adds the amounts of `other`. Sums beyond 64 bits wrap around, as in the scheduler.
    pub fn add(&mut self, other: &Self) {
        self.combine(other, i64::wrapping_add);
    }

    /// Takes the amounts of `other` off.
    pub fn subtract(&mut self, other: &Self) {
        self.combine(other, i64::wrapping_sub);
    }

    fn combine(&mut self, other: &Self, operation: fn(i64, i64) -> i64) {
        self.milli_cpu = operation(self.milli_cpu, other.milli_cpu);
        self.memory = operation(self.memory, other.memory);
        self.ephemeral_storage = operation(self.ephemeral_storage, other.ephemeral_storage);
        for (resource, amount) in &other.scalar {
            let own = self.scalar.entry(resource.clone()).or_default();
            *own = operation(*own, *amount);
            if *own == 0 {
                self.scalar.remove(resource);
            }
        }
    }

    /// Returns an amount of a resource as a quantity, such as `250m` of cpu.
    pub fn quantity(resource: &str, amount: i64) -> Quantity {
        match resource {
            CPU => Quantity::from_milli(amount),
            MEMORY | EPHEMERAL_STORAGE => Quantity::from_bytes(amount),
            other if other.starts_with("hugepages-") => Quantity::from_bytes(amount),
            _ => Quantity::from(amount),
        }
    }
}

impl From<&ResourceList> for Amounts {
    /// Counts cpu, memory, ephemeral storage, huge pages, attachable volumes and extended resources, nothing else.
    fn from(list: &ResourceList) -> Self {
        let mut amounts = Self::default();
        for (resource, quantity) in list {
            match resource.as_str() {
                CPU => amounts.milli_cpu = wrapped(quantity.milli()),
                MEMORY => amounts.memory = wrapped(quantity.value()),
                EPHEMERAL_STORAGE => amounts.ephemeral_storage = wrapped(quantity.value()),
                other if is_scalar(other) => {
                    amounts.scalar.insert(resource.clone(), wrapped(quantity.value()));
                }
                _ => {}
            }
        }
        amounts
    }
}

/// Keeps the last 64 bits, as Kubernetes does: amounts beyond 8Ei become other amounts, even negative ones.
#[allow(clippy::cast_possible_truncation)]
fn wrapped(amount: i128) -> i64 {
    amount as i64
}

fn is_scalar(resource: &str) -> bool {
    let is_extended = resource.contains('/') && !resource.starts_with("requests.");
    is_extended || resource.starts_with("hugepages-") || resource.starts_with("attachable-volumes-")
}
