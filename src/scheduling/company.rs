//! The pods that come and go while another one is tried on a node.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use foldhash::fast::RandomState;

use super::{Amounts, load::assigned};
use crate::model::{Pod, PodSpec, Text};

/// Pods by their nodes.
pub(super) type ByNode<'a> = HashMap<Text, Vec<&'a Pod>, RandomState>;

/// The pods that have come and gone, while one is tried on a node.
#[derive(Clone, Debug, Default)]
pub(super) struct Company<'s> {
    /// Those of others, which count already where pods are counted.
    pub(super) others: Arc<Changes<'s>>,
    /// The pods that leave the node for the one that is tried.
    pub(super) leave: Vec<&'s Pod>,
}

/// Pods that come and go.
#[derive(Clone, Debug, Default)]
pub(super) struct Changes<'s> {
    pub(super) come: MoversByNode<'s>,
    /// Pods that come to any node, and are counted on none.
    pub(super) anywhere: Vec<Mover<'s>>,
    pub(super) leave: MoversByNode<'s>,
}

pub(super) type MoversByNode<'s> = HashMap<Text, Vec<Mover<'s>>, RandomState>;

/// A pod that comes or goes.
#[derive(Clone, Debug)]
pub(super) struct Mover<'s> {
    pub(super) pod: &'s Pod,
    /// What it takes from its node.
    pub(super) requests: Arc<Amounts>,
}

/// Works out once what pods take that have one spec.
#[derive(Default)]
pub(super) struct Movers(HashMap<*const PodSpec, Arc<Amounts>>);

impl Movers {
    pub(super) fn of<'s>(&mut self, pod: &'s Pod) -> Mover<'s> {
        let requests = match &pod.spec {
            // The status can say otherwise.
            Some(spec) if pod.scheduling.is_none() => {
                self.0.entry(Arc::as_ptr(spec)).or_insert_with(|| assigned(pod).into()).clone()
            }
            _ => assigned(pod).into(),
        };
        Mover { pod, requests }
    }

    pub(super) fn by_node<'s, P: IntoIterator<Item = &'s Pod>>(
        &mut self,
        nodes: impl IntoIterator<Item = (&'s Text, P)>,
    ) -> MoversByNode<'s> {
        let of_node = |(node, pods): (&Text, P)| (node.clone(), pods.into_iter().map(|pod| self.of(pod)).collect());
        nodes.into_iter().map(of_node).collect()
    }
}

impl<'s> Changes<'s> {
    pub(super) fn coming_to(&self, node: &Text) -> impl Iterator<Item = &Mover<'s>> + Clone {
        self.come.get(node).into_iter().flatten().chain(&self.anywhere)
    }

    pub(super) fn leaving(&self, node: &Text) -> impl Iterator<Item = &Mover<'s>> + Clone {
        self.leave.get(node).into_iter().flatten()
    }

    pub(super) fn pods_leaving(&self, node: &Text) -> impl Iterator<Item = &'s Pod> + Clone {
        self.leaving(node).map(|mover| mover.pod)
    }

    /// Returns the nodes that pods come to or leave.
    pub(super) fn nodes(&self) -> BTreeSet<&Text> {
        self.come.keys().chain(self.leave.keys()).collect()
    }

    pub(super) fn comes_to(&self, node: &Text) -> bool {
        self.coming_to(node).next().is_some()
    }

    pub(super) fn add(&mut self, other: &Self) {
        for (sum, more) in [(&mut self.come, &other.come), (&mut self.leave, &other.leave)] {
            for (node, pods) in more {
                sum.entry(node.clone()).or_default().extend_from_slice(pods);
            }
        }
        self.anywhere.extend_from_slice(&other.anywhere);
    }

    /// Adds pods that leave a node.
    pub(super) fn lose(&mut self, node: &Text, pods: &[Mover<'s>]) {
        if !pods.is_empty() {
            self.leave.entry(node.clone()).or_default().extend_from_slice(pods);
        }
    }

    /// The same, but that nothing comes to a node, nor leaves it unless told so.
    pub(super) fn without(&self, node: &Text, leave: bool) -> Self {
        let mut changes = self.clone();
        changes.come.remove(node);
        if !leave {
            changes.leave.remove(node);
        }
        changes
    }

    /// Only those of a node, if they come and leave.
    pub(super) fn of_node(&self, node: &Text, comes: bool, leave: bool) -> Self {
        let of = |pods: &MoversByNode<'s>, do_they: bool| {
            let pods = pods.get(node).filter(|_| do_they);
            pods.map(|pods| (node.clone(), pods.clone())).into_iter().collect()
        };
        let anywhere = if comes { self.anywhere.clone() } else { Vec::new() };
        Self { come: of(&self.come, comes), anywhere, leave: of(&self.leave, leave) }
    }
}
