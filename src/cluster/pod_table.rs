//! The pods of a cluster that a DaemonSet may claim.

use std::{
    collections::{BTreeSet, HashMap},
    mem,
};

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use super::node_table::Slot;
use crate::{
    model::{Pod, Text},
    node::claimed_pod::PodIndex,
    util::slab::Slab,
};

/// Pods in numbered slots, found by name and by owner.
#[derive(Clone, Debug, Default)]
pub(super) struct PodTable {
    pods: Slab<PlacedPod>,
    by_name: HashTable<PodIndex>,
    seed: RandomState,
    by_owner: HashMap<PodOwner, BTreeSet<PodIndex>, RandomState>,
}

/// A pod and the slot of its node.
#[derive(Clone, Debug)]
pub(super) struct PlacedPod {
    pub(super) pod: Pod,
    pub(super) slot: Option<Slot>,
}

/// The namespace and the controller of pods.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct PodOwner {
    pub(super) namespace: Text,
    /// The controller's uid; `None` for orphans.
    pub(super) controller: Option<Text>,
}

/// Whether a DaemonSet may claim a pod: whether it is an orphan or has a DaemonSet as its controller.
pub(super) fn may_be_claimed(pod: &Pod) -> bool {
    pod.controller.as_ref().is_none_or(|owner| owner.kind == "DaemonSet")
}

impl PodOwner {
    /// `None` for pods that no DaemonSet may claim.
    fn of(pod: &Pod) -> Option<Self> {
        let controller = pod.controller.as_ref().map(|owner| owner.uid.clone());
        may_be_claimed(pod).then(|| Self { namespace: pod.namespace.clone(), controller })
    }
}

impl PodTable {
    pub(super) fn get(&self, index: PodIndex) -> Option<&PlacedPod> {
        self.pods.get(index)
    }

    pub(super) fn find(&self, namespace: &Text, name: &Text) -> Option<PodIndex> {
        let is_it = |index: &PodIndex| {
            self.get(*index).is_some_and(|placed| placed.pod.name == *name && placed.pod.namespace == *namespace)
        };
        self.by_name.find(code(&self.seed, namespace, name), is_it).copied()
    }

    pub(super) fn owned_by(&self, owner: &PodOwner) -> impl Iterator<Item = PodIndex> + use<'_> {
        self.by_owner.get(owner).into_iter().flatten().copied()
    }

    /// All pods, in any order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Pod> {
        self.pods.iter().map(|placed| &placed.pod)
    }

    pub(super) fn insert(&mut self, placed: PlacedPod) -> PodIndex {
        let owner = PodOwner::of(&placed.pod);
        let Pod { namespace, name, .. } = &placed.pod;
        let of_name = code(&self.seed, namespace, name);
        let index = self.pods.insert(placed);
        self.join(owner, index);
        let code = |index: &PodIndex| {
            self.pods.get(*index).map_or(0, |PlacedPod { pod, .. }| code(&self.seed, &pod.namespace, &pod.name))
        };
        self.by_name.insert_unique(of_name, index, code);
        index
    }

    /// Replaces a pod by its new state and returns the old one.
    pub(super) fn replace(&mut self, index: PodIndex, new: PlacedPod) -> Option<PlacedPod> {
        let after = PodOwner::of(&new.pod);
        let old = mem::replace(self.pods.get_mut(index)?, new);
        let before = PodOwner::of(&old.pod);
        if before != after {
            self.leave(before, index);
            self.join(after, index);
        }
        Some(old)
    }

    pub(super) fn remove(&mut self, index: PodIndex) -> Option<PlacedPod> {
        let old = self.pods.remove(index)?;
        self.leave(PodOwner::of(&old.pod), index);
        if let Ok(entry) =
            self.by_name.find_entry(code(&self.seed, &old.pod.namespace, &old.pod.name), |other| *other == index)
        {
            entry.remove();
        }
        Some(old)
    }

    fn join(&mut self, owner: Option<PodOwner>, index: PodIndex) {
        if let Some(owner) = owner {
            self.by_owner.entry(owner).or_default().insert(index);
        }
    }

    fn leave(&mut self, owner: Option<PodOwner>, index: PodIndex) {
        let Some(owner) = owner else { return };
        if let Some(pods) = self.by_owner.get_mut(&owner) {
            pods.remove(&index);
            if pods.is_empty() {
                self.by_owner.remove(&owner);
            }
        }
    }
}

fn code(seed: &RandomState, namespace: &Text, name: &Text) -> u64 {
    namespace.hash_with(seed).rotate_left(32) ^ name.hash_with(seed)
}
