//! The pods of a cluster that any DaemonSet may have to do with.

use std::{
    collections::{BTreeSet, HashMap},
    mem,
};

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use crate::{
    member::PodIndex,
    model::{Labels, Pod, Text},
    nodes::Slot,
    shelf::{Pool, Shelf},
};

/// Pods in numbered places, found by name and by controller.
#[derive(Debug, Default)]
pub(super) struct PodTable {
    pods: Shelf<Placed>,
    by_name: HashTable<PodIndex>,
    groups: HashMap<Group, BTreeSet<PodIndex>, RandomState>,
    labels: Pool<Labels>,
}

/// A pod and the slot of its node.
#[derive(Debug)]
pub(super) struct Placed {
    pub(super) pod: Pod,
    pub(super) slot: Option<Slot>,
}

/// Pods of one namespace with the same controller, or with none.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Group {
    pub(super) namespace: Text,
    /// The controller's uid.
    pub(super) controller: Option<Text>,
}

impl Group {
    pub(super) fn of(pod: &Pod) -> Self {
        let controller = pod.controller.as_ref().map(|owner| owner.uid.clone());
        Self { namespace: pod.namespace.clone(), controller }
    }
}

impl PodTable {
    pub(super) fn get(&self, index: PodIndex) -> Option<&Placed> {
        self.pods.get(index)
    }

    pub(super) fn find(&self, namespace: &Text, name: &Text) -> Option<PodIndex> {
        let is_it = |index: &PodIndex| {
            self.get(*index).is_some_and(|placed| placed.pod.name == *name && placed.pod.namespace == *namespace)
        };
        self.by_name.find(code(namespace, name), is_it).copied()
    }

    pub(super) fn group(&self, group: &Group) -> impl Iterator<Item = PodIndex> + use<'_> {
        self.groups.get(group).into_iter().flatten().copied()
    }

    /// All pods, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Pod> {
        self.pods.iter().map(|placed| &placed.pod)
    }

    pub(super) fn insert(&mut self, mut placed: Placed) -> PodIndex {
        let group = self.share(&mut placed.pod);
        let Pod { namespace, name, .. } = &placed.pod;
        let of_name = code(namespace, name);
        let index = self.pods.insert(placed);
        self.groups.entry(group).or_default().insert(index);
        let code =
            |index: &PodIndex| self.pods.get(*index).map_or(0, |Placed { pod, .. }| code(&pod.namespace, &pod.name));
        self.by_name.insert_unique(of_name, index, code);
        index
    }

    /// Puts the new state of the same pod in place of the old, and gives the old.
    pub(super) fn replace(&mut self, index: PodIndex, mut new: Placed) -> Option<Placed> {
        let after = self.share(&mut new.pod);
        let old = mem::replace(self.pods.get_mut(index)?, new);
        let before = Group::of(&old.pod);
        if before != after {
            self.leave(&before, index);
            self.groups.entry(after).or_default().insert(index);
        }
        Some(old)
    }

    pub(super) fn remove(&mut self, index: PodIndex) -> Option<Placed> {
        let old = self.pods.remove(index)?;
        self.leave(&Group::of(&old.pod), index);
        if let Ok(entry) = self.by_name.find_entry(code(&old.pod.namespace, &old.pod.name), |other| *other == index) {
            entry.remove();
        }
        Some(old)
    }

    fn leave(&mut self, group: &Group, index: PodIndex) {
        if let Some(pods) = self.groups.get_mut(group) {
            pods.remove(&index);
            if pods.is_empty() {
                self.groups.remove(group);
            }
        }
    }

    /// Lets pods share what is equal, labels and the controller's uid, and gives the group that the pod is of.
    fn share(&mut self, pod: &mut Pod) -> Group {
        self.labels.share(&mut pod.labels);
        let own = Group::of(pod);
        let group = self.groups.get_key_value(&own).map_or(own, |(known, _)| known.clone());
        if let Some((owner, uid)) = pod.controller.as_mut().zip(group.controller.as_ref()) {
            owner.uid = uid.clone();
        }
        group
    }
}

fn code(namespace: &Text, name: &Text) -> u64 {
    namespace.code().rotate_left(32) ^ name.code()
}
