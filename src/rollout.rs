//! The rolling update: how many nodes may be without an available pod, or run two, and whose turn it is.
//!
//! Candidates take their turn in the order of their nodes' names, so that an update can be foretold.

use crate::{
    cell::Standing,
    model::{Text, UpdateStrategy},
    reason::{Creation, Deletion},
};

/// What all nodes together mean to a rolling update.
#[derive(Debug, Default)]
pub(crate) struct Rollout<'a> {
    crowded: usize,
    vacant: usize,
    new_available: usize,
    new_unavailable: usize,
    old_available: Vec<OldPod<'a>>,
    old_unavailable: Vec<OldPod<'a>>,
    both: Vec<Pair>,
}

#[derive(Clone, Copy, Debug)]
struct OldPod<'a> {
    node: &'a Text,
    pod: usize,
    /// Whether its node should run a pod.
    desired: bool,
    /// Whether it is deleted anyhow, its node being gone.
    collected: bool,
}

#[derive(Clone, Copy, Debug)]
struct Pair {
    old: usize,
    old_available: bool,
    new_available: bool,
    /// Whether both are deleted anyhow, their node being gone.
    collected: bool,
}

/// What an update asks for.
#[derive(Debug, Default)]
pub(crate) struct Steps<'a> {
    pub(crate) create: Vec<(&'a Text, Creation)>,
    /// Pods by index.
    pub(crate) delete: Vec<(usize, Deletion)>,
}

impl<'a> Rollout<'a> {
    /// Adds one node.
    pub(crate) fn add(&mut self, node: &'a Text, standing: Standing, desired: bool, collected: bool) {
        match standing {
            Standing::Bystander => {}
            Standing::Vacant => self.vacant += 1,
            Standing::Crowded => self.crowded += 1,
            Standing::New { available: true } => self.new_available += 1,
            Standing::New { available: false } => self.new_unavailable += 1,
            Standing::Old { pod, available } => {
                let list = if available { &mut self.old_available } else { &mut self.old_unavailable };
                list.push(OldPod { node, pod, desired, collected });
            }
            Standing::Both { old, old_available, new_available } => {
                self.both.push(Pair { old, old_available, new_available, collected });
            }
        }
    }

    /// What the update does next, `desired` nodes being those that should run a pod.
    pub(crate) fn steps(mut self, strategy: UpdateStrategy, desired: usize) -> Steps<'a> {
        let UpdateStrategy::RollingUpdate { max_unavailable, max_surge } = strategy else {
            return Steps::default();
        };
        self.old_available.retain(|old| !old.collected);
        self.old_available.sort_unstable_by_key(|old| old.node);
        match (max_surge.of(desired), max_unavailable.of(desired)) {
            // Both 0 is not allowed: then it is one at a time.
            (0, unavailable) => self.without_surge(unavailable.max(usize::from(desired > 0))),
            (surge, _) => self.with_surge(surge, desired),
        }
    }

    fn without_surge(self, max_unavailable: usize) -> Steps<'a> {
        let unavailable =
            self.crowded + self.vacant + self.both.len() + self.new_unavailable + self.old_unavailable.len();
        let broken = self.old_unavailable.iter().filter(|old| !old.collected);
        let broken = broken.map(|old| (old.pod, Deletion::OutdatedUnavailable));
        let budget = max_unavailable.saturating_sub(unavailable);
        let turns = self.old_available.iter().take(budget).map(|old| (old.pod, Deletion::Outdated));
        Steps { create: Vec::new(), delete: broken.chain(turns).collect() }
    }

    fn with_surge(self, max_surge: usize, desired: usize) -> Steps<'a> {
        let mut steps = Steps::default();
        let unfinished = self.both.iter().filter(|pair| !pair.new_available).count();
        let budget = max_surge.saturating_sub(self.crowded + unfinished);
        let old_in_pairs = self.both.iter().filter(|pair| pair.old_available).count();
        let available = self.new_available + self.old_available.len() + old_in_pairs;

        let finished = self.both.iter().filter(|pair| pair.new_available && !pair.collected);
        steps.delete.extend(finished.map(|pair| (pair.old, Deletion::SurgeFinished)));
        for old in self.old_unavailable.iter().filter(|old| !old.collected) {
            if old.desired {
                steps.create.push((old.node, Creation::ReplacesUnavailable));
            } else {
                steps.delete.push((old.pod, Deletion::OutdatedUnavailable));
            }
        }
        let (candidates, unwanted): (Vec<OldPod<'_>>, Vec<_>) = self.old_available.iter().partition(|old| old.desired);
        let spare = available.saturating_sub(desired);
        steps.delete.extend(unwanted.iter().take(spare).map(|old| (old.pod, Deletion::NotWanted)));
        steps.create.extend(candidates.iter().take(budget).map(|old| (old.node, Creation::Surge)));
        steps
    }
}
