//! The annotations of a policy.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use serde_json::{Value, json};

use super::super::{
    facts::Facts,
    selectors::{Labels, expression, holds, pairs},
    update::resolve,
};

/// The effective annotations, without their prefix.
pub struct Policy {
    annotations: BTreeMap<String, String>,
    /// What earlier updates have come to.
    pub(super) record: Value,
}

const RECORD: &str = "rollout-record";

impl Policy {
    /// Returns `None` without a policy, or if nothing is updated.
    pub fn of(facts: &Facts<'_>) -> Option<Self> {
        let annotations = pairs(&facts.daemonset["metadata"]["annotations"]);
        let own = annotations.iter().filter_map(|(key, value)| Some((key.strip_prefix("daemonplan/")?, value)));
        let mut annotations: BTreeMap<_, _> = own.map(|(key, value)| (key.to_owned(), value.clone())).collect();
        // The back-off does not concern updates.
        annotations.remove("backoff");
        let record = annotations.remove(RECORD).map_or_else(|| json!({}), |text| serde_json::from_str(&text).unwrap());
        let rolls = facts.daemonset["spec"]["updateStrategy"]["type"] == "RollingUpdate";
        (rolls && !annotations.is_empty()).then_some(Self { annotations, record })
    }

    pub(super) fn get(&self, key: &str) -> Option<&str> {
        self.annotations.get(key).map(String::as_str)
    }

    /// Returns the annotation by which an operator approved the template with this hash.
    pub fn approval_of(&self, hash: &str) -> Option<String> {
        let approved = self.get("canary-approved")?.split('/').next().unwrap();
        (approved == hash).then(|| "daemonplan/canary-approved".to_owned())
    }

    pub(super) fn says(&self, key: &str, value: &str) -> bool {
        self.get(key) == Some(value)
    }

    pub(super) fn nodes(&self, key: &str, of: usize) -> Option<usize> {
        let text = self.get(key)?;
        let bound = text.parse::<u64>().map_or_else(|_| json!(text), |count| json!(count));
        Some(resolve(&bound, of))
    }

    pub(super) fn seconds(&self, key: &str) -> Option<i64> {
        Some(seconds(self.get(key)?))
    }

    /// Returns what it says of a step of the canaries; the last value holds for all later steps.
    pub(super) fn of_step(&self, key: &str, step: usize) -> Option<&str> {
        let values = self.listed(key);
        values.get(step).or(values.last()).copied()
    }

    pub(super) fn listed(&self, key: &str) -> Vec<&str> {
        let parts = self.get(key).map(|text| text.split(',').map(str::trim).collect());
        parts.unwrap_or_default()
    }

    /// Returns how long a pod must have been well to prove its template.
    pub(super) fn proof(&self) -> i64 {
        let steps = 0..self.listed("canary").len().max(1);
        let bake = steps.map(|step| self.of_step("canary-bake", step).map_or(0, seconds)).max().unwrap_or(0);
        bake.max(self.seconds("start-grace").unwrap_or(300))
    }

    pub(super) fn selects(&self, key: &str, labels: &Labels) -> Option<bool> {
        let requirements = expression(self.get(key)?).unwrap();
        Some(requirements.iter().all(|requirement| holds(requirement, labels).unwrap()))
    }

    /// Returns whether the template with this hash is recorded as failed.
    pub(super) fn failed(&self, hash: &str) -> Option<&Value> {
        self.record["failed"].as_array()?.iter().find(|failed| failed["hash"] == hash)
    }
}

pub(super) fn seconds(text: &str) -> i64 {
    text.parse::<SignedDuration>().unwrap().as_secs()
}
