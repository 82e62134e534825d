//! The policy that holds for one DaemonSet: its annotations, and where they say nothing, the settings.

use crate::{
    Backoff, BackoffKey, RolloutPolicy, Settings, Warning,
    model::{DaemonSet, Pod, Text, UpdateStrategy},
};

/// The policy that holds for a DaemonSet.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Policy {
    pub(crate) rollout: RolloutPolicy,
    /// Whether its annotations could be read. If not, what was meant to hold an update back must not let it go.
    pub(crate) is_readable: bool,
    /// Whether an update keeps to more than the DaemonSet's own strategy.
    pub(crate) guides_updates: bool,
}

impl Policy {
    pub(crate) fn of(daemonset: &DaemonSet, settings: &Settings, warnings: &mut Vec<Warning>) -> Self {
        let (rollout, is_readable) = match settings.policy_of(daemonset) {
            Ok(rollout) => (rollout, true),
            Err(error) => {
                warnings.push(Warning::InvalidPolicy { error });
                (settings.rollout_policy.clone(), false)
            }
        };
        let plain = RolloutPolicy { backoff_by_reason: rollout.backoff_by_reason, ..RolloutPolicy::default() };
        let guides_updates =
            (!is_readable || rollout != plain) && daemonset.update_strategy != UpdateStrategy::OnDelete;
        Self { rollout, is_readable, guides_updates }
    }

    /// What the back-off of a Failed pod goes by.
    pub(crate) fn backoff_key(&self, daemonset: &DaemonSet, node: &Text, pod: &Pod) -> BackoffKey {
        let key = Backoff::key(daemonset, node);
        match &pod.trouble {
            Some(trouble) if self.rollout.backoff_by_reason => key.because(trouble.reason.clone()),
            _ => key,
        }
    }
}
