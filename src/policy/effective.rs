//! The policy in force for one DaemonSet: its annotations, and the settings where they are silent.

use super::{PolicyError, RolloutPolicy, RolloutRecord};
use crate::{
    backoff::{Backoff, BackoffKey},
    model::{DaemonSet, Pod, Text, UpdateStrategy},
};

/// The policy in force for a DaemonSet.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct EffectivePolicy {
    pub(crate) rollout: RolloutPolicy,
    /// Why an annotation could not be read. Updates are then paused, since the annotation may have asked for that.
    pub(crate) error: Option<PolicyError>,
    /// Whether updates keep to more than the DaemonSet's own strategy.
    pub(crate) guides_updates: bool,
    /// What earlier updates have come to; empty if no policy guides them.
    pub(crate) record: RolloutRecord,
    /// Whether that can be read, so that it may be written.
    pub(crate) record_is_known: bool,
}

impl EffectivePolicy {
    /// Adds the record of earlier updates, an annotation under `prefix`, to a policy. `error` is that of an annotation that
    /// could not be read.
    pub(crate) fn new(
        daemonset: &DaemonSet,
        rollout: RolloutPolicy,
        mut error: Option<PolicyError>,
        prefix: &str,
    ) -> Self {
        let plain = RolloutPolicy { backoff_by_reason: rollout.backoff_by_reason, ..RolloutPolicy::default() };
        let guides_updates =
            (error.is_some() || rollout != plain) && daemonset.update_strategy != UpdateStrategy::OnDelete;
        let (mut record, mut is_known) = (RolloutRecord::default(), true);
        if guides_updates {
            match RolloutRecord::of(&daemonset.annotations, prefix) {
                Ok(known) => record = known,
                Err(unread) => (is_known, error) = (false, error.or(Some(unread))),
            }
        }
        Self { rollout, error, guides_updates, record, record_is_known: is_known }
    }

    /// The key of the back-off that applies to a Failed pod.
    pub(crate) fn backoff_key(&self, daemonset: &DaemonSet, node: &Text, pod: &Pod) -> BackoffKey {
        let key = Backoff::key(daemonset, node);
        match &pod.problem {
            Some(problem) if self.rollout.backoff_by_reason => key.because(problem.reason.clone()),
            _ => key,
        }
    }
}
