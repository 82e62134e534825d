//! The room in ResourceQuotas over time.

use super::{
    PodAdmission, QuotaRoom,
    quota::{counts, quotas, usage},
};
use crate::model::{PodSpec, Quantity, ResourceList, ResourceQuota, Text};
#[cfg(feature = "forecast")]
use crate::selector::PerNode;

/// What pods use of the ResourceQuotas of their namespace, as some come and others go.
#[derive(Clone, Debug)]
pub(crate) struct QuotaLedger<'a> {
    admission: PodAdmission<'a>,
    used: Vec<(&'a ResourceQuota, ResourceList)>,
}

/// What a pod uses of the quotas of a ledger, by their places there.
#[derive(Clone, Debug, Default)]
pub(crate) struct QuotaUse(Vec<(usize, Text, Quantity)>);

impl<'a> QuotaLedger<'a> {
    pub(crate) fn new(admission: PodAdmission<'a>) -> Self {
        let used = quotas(&admission).into_iter().map(|quota| (quota, quota.used.clone())).collect();
        Self { admission, used }
    }

    /// The same without the quotas that count none of the pods.
    #[cfg(feature = "forecast")]
    pub(crate) fn that_count(mut self, specs: &PerNode<&PodSpec>) -> Self {
        let Self { admission, used } = &mut self;
        used.retain(|(quota, _)| specs.values().any(|spec| counts(quota, admission, spec)));
        self
    }

    /// Returns what a pod uses.
    pub(crate) fn use_of(&self, spec: &PodSpec) -> QuotaUse {
        let Self { admission, used } = self;
        if used.is_empty() {
            return QuotaUse::default();
        }
        let usage = usage(spec);
        let counting = used.iter().enumerate().filter(|(_, (quota, _))| counts(quota, admission, spec));
        let uses = counting.flat_map(|(place, (quota, _))| {
            let limited = usage.iter().filter(|(resource, _)| quota.hard.contains(resource));
            limited.map(move |(resource, amount)| (place, resource.clone(), *amount))
        });
        QuotaUse(uses.collect())
    }

    /// Returns why there is no room for a pod; `None` if there is.
    pub(crate) fn lacking(&self, pod: &QuotaUse) -> Option<String> {
        pod.0.iter().find_map(|(place, resource, amount)| {
            let (quota, used) = self.used.get(*place)?;
            let (name, used, hard) = (&quota.name, used.get(resource), quota.hard.get(resource));
            (used + *amount > hard).then(|| {
                format!(
                    "exceeded quota: {name}, requested: {resource}={amount}, used: {resource}={used}, limited: {resource}={hard}"
                )
            })
        })
    }

    /// Returns how many pods alike each quota has room for, by each resource of it that they request.
    pub(crate) fn room_by_resource(&self, pod: &QuotaUse) -> impl Iterator<Item = QuotaRoom> {
        pod.0.iter().filter(|(_, _, amount)| !amount.is_zero()).filter_map(|(place, resource, amount)| {
            let (quota, used) = self.used.get(*place)?;
            let (hard, used) = (quota.hard.get(resource), used.get(resource));
            let left = (hard - used).nanos().max(0) / amount.nanos().max(1);
            let pods = u64::try_from(left).unwrap_or(u64::MAX);
            Some(QuotaRoom {
                quota: quota.name.clone(),
                pods,
                resource: resource.clone(),
                requested: *amount,
                used,
                hard,
            })
        })
    }

    /// Counts a pod that is created.
    #[cfg(feature = "forecast")]
    pub(crate) fn take(&mut self, pod: &QuotaUse) {
        self.count(pod, |used, amount| used + amount);
    }

    /// Counts a pod that is gone.
    pub(crate) fn give(&mut self, pod: &QuotaUse) {
        self.count(pod, |used, amount| used - amount);
    }

    fn count(&mut self, pod: &QuotaUse, operation: fn(Quantity, Quantity) -> Quantity) {
        for (place, resource, amount) in &pod.0 {
            if let Some((_, used)) = self.used.get_mut(*place) {
                used.set(resource.clone(), operation(used.get(resource), *amount));
            }
        }
    }
}

impl QuotaUse {
    /// Whether a quota counts the pod.
    #[cfg(feature = "forecast")]
    pub(crate) fn is_limited(&self) -> bool {
        !self.0.is_empty()
    }
}
