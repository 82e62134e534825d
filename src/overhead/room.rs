//! Whether the DaemonSets that would run on a node fit there, and what is left.

use serde::Serialize;

use super::{Overhead, PlacementGroup, candidate::FleetPod};
use crate::{
    context::SyncMode,
    model::{HostPort, Key, Pod, PodNode, Quantity, ResourceList, Text},
    scheduling::{ClusterState, SchedulingBlocker, SchedulingObjects},
};

/// A resource of which the DaemonSets on a node request more than there is.
///
/// ```
/// use daemonplan::overhead::Lacking;
/// let lacking = Lacking { resource: "cpu".into(), requested: "2500m".parse()?, allocatable: 2_i64.into() };
/// assert_eq!(lacking.to_string(), "cpu 2500m of 2");
/// # Ok::<(), daemonplan::model::InvalidQuantity>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Lacking {
    /// The resource; `pods` for the number of pods.
    pub resource: Text,
    /// What the DaemonSets request together.
    pub requested: Quantity,
    /// What pods can request on the node.
    pub allocatable: Quantity,
}

/// A DaemonSet whose pod is created for a node and not bound to it, because there is too little room.
///
/// ```
/// use daemonplan::{model::Node, overhead::DaemonSetFleet};
/// let fleet = DaemonSetFleet::of([]);
/// assert!(fleet.overhead(&Node::new("node-7")).pending().is_empty());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct PendingDaemonSet {
    /// The DaemonSet.
    pub daemon_set: Key,
    /// Why, in the scheduler's own words, such as `Insufficient cpu`.
    pub reasons: Vec<String>,
}

impl std::fmt::Display for Lacking {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { resource, requested, allocatable } = self;
        write!(f, "{resource} {requested} of {allocatable}")
    }
}

impl<'f> Overhead<'f> {
    /// Returns what is left of the node for other pods; less than 0 where the DaemonSets request more than there is. `None` if
    /// the node does not say what pods can request there (`status.allocatable`).
    pub fn left(&self) -> Option<ResourceList> {
        let mut left = ResourceList::clone(self.node.allocatable.as_deref()?);
        for (resource, requested) in self.requests() {
            left.set(resource.into(), left.get(resource) - requested);
        }
        Some(left)
    }

    /// Returns the resources of which the DaemonSets request more than there is; `None` if that is not known.
    pub fn lacking(&self) -> Option<Vec<Lacking>> {
        let allocatable = self.node.allocatable.as_deref()?;
        let all = self.requests().map(|(resource, requested)| Lacking {
            resource: resource.into(),
            requested,
            allocatable: allocatable.get(resource),
        });
        Some(all.filter(|lacking| lacking.requested > lacking.allocatable).collect())
    }

    /// Whether all DaemonSets that would run fit on the node; `None` if that is not known: without `status.allocatable`, or by one of
    /// the [facts](Self::unknown_facts) that are not known.
    pub fn fits(&self) -> Option<bool> {
        // Most need no more than room.
        if !self.has_room() || self.members().any(|(_, pod)| pod.has_rules) && !self.bound_in_order().is_empty() {
            return Some(false);
        }
        let is_known = self.node.allocatable.is_some() && self.unknown_facts().next().is_none();
        is_known.then_some(true)
    }

    /// Returns pairs of DaemonSets that need the same port of the node, so that one of their pods is not bound.
    pub fn port_conflicts(&self) -> Vec<(&'f Key, &'f Key, &'f HostPort)> {
        let with_ports: Vec<_> = self.members().filter(|(_, pod)| !pod.ports.is_empty()).collect();
        let mut conflicts = Vec::new();
        for (index, (one_key, one)) in with_ports.iter().enumerate() {
            for (other_key, other) in with_ports.iter().skip(index + 1) {
                let shared = one.ports.iter().find(|port| other.ports.iter().any(|taken| port.conflicts_with(taken)));
                conflicts.extend(shared.map(|port| (*one_key, *other_key, port)));
            }
        }
        conflicts
    }

    /// Returns the DaemonSets whose pods would be created and not bound, if the pods are bound by priority, and by name where
    /// that is equal. Among equals the scheduler takes the pod first that was created first, so that others may be left out.
    pub fn pending(&self) -> Vec<PendingDaemonSet> {
        if self.fits() == Some(false) { self.bound_in_order() } else { Vec::new() }
    }

    /// Whether there is room for all by the sums.
    fn has_room(&self) -> bool {
        self.lacking().is_none_or(|lacking| lacking.is_empty()) && self.port_conflicts().is_empty()
    }

    fn bound_in_order(&self) -> Vec<PendingDaemonSet> {
        let excludes = |new: &FleetPod| new.pod.spec.as_ref().is_some_and(|spec| !spec.pod_anti_affinity.is_empty());
        let is_plain = self.has_room() && !self.members().any(|(_, new)| excludes(new));
        let mut members: Vec<_> = self.members().collect();
        members.sort_by_key(|(_, new)| std::cmp::Reverse(new.priority));
        let objects = SchedulingObjects::default();
        let (mut bound, mut pending) = (Vec::<Pod>::new(), Vec::new());
        // Those that are refused are asked again as long as others are bound.
        loop {
            let before = bound.len();
            pending.clear();
            members.retain(|(key, new)| {
                let mut pod = new.pod.clone();
                pod.node = PodNode::Intended(self.node.name.clone());
                let is_asked = !new.pod.node.is_bound() && (!is_plain || new.has_rules);
                let state = is_asked.then(|| ClusterState::new([self.node], &bound, [], &objects));
                let blockers = state.map(|state| state.blockers(&pod, &self.node.name)).unwrap_or_default();
                let is_refused = !blockers.is_empty();
                if is_refused {
                    let reasons = blockers.iter().flat_map(SchedulingBlocker::reasons).collect();
                    pending.push(PendingDaemonSet { daemon_set: Key::clone(key), reasons });
                } else {
                    pod.node = PodNode::Bound(self.node.name.clone());
                    bound.push(pod);
                }
                is_refused
            });
            if members.is_empty() || bound.len() == before {
                break;
            }
        }
        pending.sort_by(|a, b| a.daemon_set.cmp(&b.daemon_set));
        pending
    }

    /// The DaemonSets that would run, by namespace and name, each with its pod.
    pub(super) fn members(&self) -> impl Iterator<Item = (&'f Key, &'f FleetPod)> {
        let (members, node) = (self.fleet.members.iter(), self.node);
        let running = members.filter(|member| self.run.get(member.group) == Some(&true));
        running.map(move |member| (&member.key, member.pods.on(node)))
    }

    /// Returns all reasons why a DaemonSet would not run: each placement rule that does not hold.
    pub fn reasons_against(&self, daemonset: &Key) -> Vec<String> {
        let group = self.fleet.member(daemonset).and_then(|member| self.fleet.groups.get(member.group));
        let Some(PlacementGroup { mode: SyncMode::Reconcile, rules, .. }) = group else { return Vec::new() };
        let failures = rules.checks(self.node).into_iter().filter_map(|check| check.failure);
        failures.map(|failure| failure.to_string()).collect()
    }
}
