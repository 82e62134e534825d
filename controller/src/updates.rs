//! How far updates have come, for the metrics.

use std::collections::HashMap;

use daemonplan::{
    Key, Plan,
    model::{DaemonSet, Resource, UpdateStrategy},
    policy::RolloutPhase,
};

/// The number of nodes that each update still has to reach, where it goes on by itself or should.
#[derive(Debug, Default)]
pub(crate) struct Updates(HashMap<Key, usize>);

impl Updates {
    /// Takes over what a plan says.
    pub(crate) fn planned(&mut self, daemonset: &DaemonSet, plan: &Plan) {
        let key = daemonset.key();
        match nodes_left(daemonset, plan) {
            0 => drop(self.0.remove(&key)),
            left => drop(self.0.insert(key, left)),
        }
    }

    pub(crate) fn forget(&mut self, key: &Key) {
        self.0.remove(key);
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Key, usize)> {
        self.0.iter().map(|(key, left)| (key, *left))
    }
}

/// Returns the number of nodes that an update still has to reach; 0 where it rests because its policy or its strategy says so.
fn nodes_left(daemonset: &DaemonSet, plan: &Plan) -> usize {
    let Some(rollout) = &plan.rollout else {
        let rolls = matches!(daemonset.update_strategy, UpdateStrategy::RollingUpdate { .. });
        let status = plan.status.as_ref().filter(|_| rolls);
        let left = status.map(|status| status.desired_number_scheduled - status.updated_number_scheduled);
        return left.and_then(|left| usize::try_from(left).ok()).unwrap_or_default();
    };
    match rollout.phase {
        RolloutPhase::Rolling { .. }
        | RolloutPhase::CanaryStarting { .. }
        | RolloutPhase::InDoubt { .. }
        | RolloutPhase::Failing { .. }
        | RolloutPhase::Unreadable { .. } => rollout.old,
        _ => 0,
    }
}
