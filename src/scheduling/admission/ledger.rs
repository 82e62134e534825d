//! The room in ResourceQuotas over time.

use super::{
    PodAdmission, QuotaRoom,
    quota::{counts, quotas, usage},
};
use crate::model::{PodSpec, Quantity, ResourceList, ResourceQuota};

/// What pods use of the ResourceQuotas of their namespace, as some come and others go.
#[derive(Clone, Debug)]
pub(crate) struct QuotaLedger<'a> {
    admission: PodAdmission<'a>,
    used: Vec<(&'a ResourceQuota, ResourceList)>,
}

impl<'a> QuotaLedger<'a> {
    pub(crate) fn new(admission: PodAdmission<'a>) -> Self {
        let used = quotas(&admission).into_iter().map(|quota| (quota, quota.used.clone())).collect();
        Self { admission, used }
    }

    /// The same without the quotas that do not count a pod.
    #[cfg(feature = "forecast")]
    pub(crate) fn that_count(mut self, spec: &PodSpec) -> Self {
        let Self { admission, used } = &mut self;
        used.retain(|(quota, _)| counts(quota, admission, spec));
        self
    }

    /// Returns why there is no room for a pod; `None` if there is.
    pub(crate) fn lacking(&self, spec: &PodSpec) -> Option<String> {
        let usage = usage(spec);
        self.used.iter().filter(|(quota, _)| counts(quota, &self.admission, spec)).find_map(|(quota, used)| {
            let mut limited = usage.iter().filter(|(resource, _)| quota.hard.contains(resource));
            let (resource, amount) =
                limited.find(|(resource, amount)| used.get(resource) + **amount > quota.hard.get(resource))?;
            let (name, used, hard) = (&quota.name, used.get(resource), quota.hard.get(resource));
            Some(format!(
                "exceeded quota: {name}, requested: {resource}={amount}, used: {resource}={used}, limited: {resource}={hard}"
            ))
        })
    }

    /// Returns how many pods alike each quota has room for, by each resource of it that they request.
    pub(crate) fn room_by_resource(&self, spec: &PodSpec) -> Vec<QuotaRoom> {
        let usage = usage(spec);
        let counting = self.used.iter().filter(|(quota, _)| counts(quota, &self.admission, spec));
        let room = counting.flat_map(|(quota, used)| {
            let limiting = usage.iter().filter(|(resource, amount)| quota.hard.contains(resource) && !amount.is_zero());
            limiting.map(|(resource, amount)| {
                let (hard, used) = (quota.hard.get(resource), used.get(resource));
                let left = (hard - used).nanos().max(0) / amount.nanos().max(1);
                let pods = u64::try_from(left).unwrap_or(u64::MAX);
                QuotaRoom {
                    quota: quota.name.clone(),
                    pods,
                    resource: resource.clone(),
                    requested: *amount,
                    used,
                    hard,
                }
            })
        });
        room.collect()
    }

    /// Counts a pod that is created.
    #[cfg(feature = "forecast")]
    pub(crate) fn take(&mut self, spec: &PodSpec) {
        self.count(spec, |used, amount| used + amount);
    }

    /// Counts a pod that is gone.
    pub(crate) fn give(&mut self, spec: &PodSpec) {
        self.count(spec, |used, amount| used - amount);
    }

    fn count(&mut self, spec: &PodSpec, operation: fn(Quantity, Quantity) -> Quantity) {
        let usage = usage(spec);
        for (quota, used) in self.used.iter_mut().filter(|(quota, _)| counts(quota, &self.admission, spec)) {
            for (resource, amount) in usage.iter().filter(|(resource, _)| quota.hard.contains(resource)) {
                used.set(resource.clone(), operation(used.get(resource), *amount));
            }
        }
    }
}
