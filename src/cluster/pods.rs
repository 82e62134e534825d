//! The pods of a cluster that any DaemonSet may have to do with.

use std::{
    collections::{BTreeSet, HashMap},
    hash::BuildHasher,
};

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use crate::{
    cell::PodIndex,
    model::{Labels, Pod, Text},
    nodes::Slot,
};

/// Pods in numbered places, found by name and by controller.
#[derive(Debug, Default)]
pub(super) struct PodTable {
    /// In chunks, so that growing moves nothing.
    chunks: Vec<Vec<Option<Placed>>>,
    free: Vec<PodIndex>,
    by_name: HashTable<PodIndex>,
    groups: HashMap<Group, BTreeSet<PodIndex>, RandomState>,
    labels: HashTable<Labels>,
    hasher: RandomState,
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

const CHUNK: usize = 1024;

/// How many sets of labels are remembered, to be shared by the pods that come.
const REMEMBERED: usize = 4096;

impl Group {
    pub(super) fn of(pod: &Pod) -> Self {
        let controller = pod.controller.as_ref().map(|owner| owner.uid.clone());
        Self { namespace: pod.namespace.clone(), controller }
    }
}

impl PodTable {
    pub(super) fn get(&self, index: PodIndex) -> Option<&Placed> {
        let index = usize::try_from(index).ok()?;
        self.chunks.get(index / CHUNK)?.get(index % CHUNK)?.as_ref()
    }

    pub(super) fn find(&self, namespace: &Text, name: &Text) -> Option<PodIndex> {
        let is_it = |index: &PodIndex| {
            self.get(*index).is_some_and(|placed| placed.pod.name == *name && placed.pod.namespace == *namespace)
        };
        self.by_name.find(self.hash(namespace, name), is_it).copied()
    }

    pub(super) fn group(&self, group: &Group) -> impl Iterator<Item = PodIndex> {
        self.groups.get(group).into_iter().flatten().copied()
    }

    /// All pods, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Pod> {
        self.chunks.iter().flatten().flatten().map(|placed| &placed.pod)
    }

    pub(super) fn insert(&mut self, mut placed: Placed) -> PodIndex {
        self.share(&mut placed.pod);
        let hash = self.hash(&placed.pod.namespace, &placed.pod.name);
        let group = Group::of(&placed.pod);
        let index = self.place(placed);
        self.groups.entry(group).or_default().insert(index);
        let (chunks, hasher) = (&self.chunks, &self.hasher);
        self.by_name.insert_unique(hash, index, |index| {
            let index = usize::try_from(*index).unwrap_or(usize::MAX);
            let placed = chunks.get(index / CHUNK).and_then(|chunk| chunk.get(index % CHUNK)?.as_ref());
            placed.map_or(0, |placed| hash_of(hasher, &placed.pod.namespace, &placed.pod.name))
        });
        index
    }

    /// Puts the new state of the same pod in place of the old, and gives the old.
    pub(super) fn replace(&mut self, index: PodIndex, mut new: Placed) -> Option<Placed> {
        self.share(&mut new.pod);
        let after = Group::of(&new.pod);
        let old = self.place_mut(index)?.replace(new)?;
        let before = Group::of(&old.pod);
        if before != after {
            self.leave(&before, index);
            self.groups.entry(after).or_default().insert(index);
        }
        Some(old)
    }

    pub(super) fn remove(&mut self, index: PodIndex) -> Option<Placed> {
        let old = self.place_mut(index)?.take()?;
        self.free.push(index);
        self.leave(&Group::of(&old.pod), index);
        let hash = self.hash(&old.pod.namespace, &old.pod.name);
        if let Ok(entry) = self.by_name.find_entry(hash, |other| *other == index) {
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

    fn place(&mut self, placed: Placed) -> PodIndex {
        if let Some(index) = self.free.pop()
            && let Some(place) = self.place_mut(index)
        {
            *place = Some(placed);
            return index;
        }
        if self.chunks.last().is_none_or(|chunk| chunk.len() == CHUNK) {
            self.chunks.push(Vec::with_capacity(CHUNK));
        }
        let before = (self.chunks.len() - 1) * CHUNK;
        let Some(chunk) = self.chunks.last_mut() else { return PodIndex::MAX };
        chunk.push(Some(placed));
        PodIndex::try_from(before + chunk.len() - 1).unwrap_or(PodIndex::MAX)
    }

    fn place_mut(&mut self, index: PodIndex) -> Option<&mut Option<Placed>> {
        let index = usize::try_from(index).ok()?;
        self.chunks.get_mut(index / CHUNK)?.get_mut(index % CHUNK)
    }

    /// Lets pods share what is equal: labels and the controller's uid.
    fn share(&mut self, pod: &mut Pod) {
        if let Some((group, _)) = self.groups.get_key_value(&Group::of(pod))
            && let Some((owner, uid)) = pod.controller.as_mut().zip(group.controller.as_ref())
        {
            owner.uid = uid.clone();
        }
        let hash = self.hasher.hash_one(&pod.labels);
        if let Some(known) = self.labels.find(hash, |known| *known == pod.labels) {
            pod.labels = known.clone();
            return;
        }
        if self.labels.len() >= REMEMBERED {
            self.labels.clear();
        }
        let hasher = &self.hasher;
        self.labels.insert_unique(hash, pod.labels.clone(), |labels| hasher.hash_one(labels));
    }

    fn hash(&self, namespace: &Text, name: &Text) -> u64 {
        hash_of(&self.hasher, namespace, name)
    }
}

fn hash_of(hasher: &RandomState, namespace: &Text, name: &Text) -> u64 {
    hasher.hash_one((namespace.as_bytes(), name.as_bytes()))
}
