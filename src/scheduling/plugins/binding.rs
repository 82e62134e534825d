//! Whether the claims of a pod can be served on a node.

use super::{
    super::{Cause, ClusterState, Code, Plugin, SchedulingBlocker, Stage},
    volume_limits::is_of,
};
use crate::model::{
    Node, PersistentVolume, PersistentVolumeClaim, Pod, PodSpec, PodVolume, Quantity, Resource, StorageClass, Text,
};

/// The claims of a pod, by what the scheduler has to do for them.
#[derive(Clone, Debug, Default)]
pub(in super::super) struct PodClaims<'s> {
    /// Those that have a volume.
    bound: Vec<&'s PersistentVolumeClaim>,
    /// Those that get a volume when the pod is scheduled.
    delayed: Vec<&'s PersistentVolumeClaim>,
}

/// The provisioner that cannot make volumes.
const NO_PROVISIONER: &str = "kubernetes.io/no-provisioner";

impl<'s> PodClaims<'s> {
    pub(in super::super) fn new(
        state: &'s ClusterState<'_>,
        pod: &Pod,
        spec: &PodSpec,
    ) -> Result<Self, SchedulingBlocker> {
        let refusal = |cause| SchedulingBlocker::of_all(Plugin::VolumeBinding, cause);
        let claims = spec.volumes.iter().filter_map(|volume| Some((volume, volume.claim(&pod.name)?)));
        let claims = claims.map(|(volume, name)| {
            let is_ephemeral = matches!(volume, PodVolume::Ephemeral { .. });
            find(state, pod, name, is_ephemeral).map_err(refusal)
        });
        let claims = claims.collect::<Result<Vec<_>, _>>()?;
        let (mut bound, mut delayed, mut immediate) = (Vec::new(), Vec::new(), Vec::new());
        for claim in claims {
            let waits = || state.objects.storage_classes.get(&claim.class).is_some_and(|class| class.waits_for_pods);
            if claim.is_bound && !claim.volume.is_empty() {
                bound.push(claim);
            } else if claim.volume.is_empty() && waits() {
                delayed.push(claim);
            } else {
                immediate.push(claim.name.clone());
            }
        }
        if !immediate.is_empty() {
            return Err(refusal(Cause::UnboundImmediateClaims { claims: immediate }));
        }
        Ok(Self { bound, delayed })
    }

    /// Whether claims get their volumes when a pod is bound, which then holds for all pods that use them.
    pub(in super::super) fn get_volumes(&self) -> bool {
        !self.delayed.is_empty()
    }

    pub(in super::super) fn check(&self, state: &ClusterState<'_>, node: &Node) -> Option<SchedulingBlocker> {
        let mut causes: Vec<_> = self.unreachable(state, node).into_iter().chain(self.unserved(state, node)).collect();
        // The scheduler has this order.
        causes.sort_by_key(|cause| matches!(cause, Cause::VolumeMissing { .. }));
        let code = Code::UnschedulableAndUnresolvable;
        (!causes.is_empty()).then(|| SchedulingBlocker::new(Plugin::VolumeBinding, Stage::Filter, code, causes))
    }

    /// Finds the first bound claim whose volume is missing or cannot be reached from a node.
    fn unreachable(&self, state: &ClusterState<'_>, node: &Node) -> Option<Cause> {
        self.bound.iter().find_map(|claim| match state.objects.volumes.get(&claim.volume) {
            None => Some(Cause::VolumeMissing { volumes: vec![claim.volume.clone()] }),
            Some(volume) if !reaches(volume, node) => Some(Cause::VolumeNodeAffinity { volume: volume.name.clone() }),
            Some(_) => None,
        })
    }

    /// Finds the first claim for which there is no volume and none can be made for a node.
    fn unserved(&self, state: &ClusterState<'_>, node: &Node) -> Option<Cause> {
        let (mut to_find, mut to_provision) = (Vec::new(), Vec::new());
        for claim in self.delayed.iter().copied() {
            if claim.selected_node.is_empty() {
                to_find.push(claim);
            } else if claim.selected_node == node.name {
                to_provision.push(claim);
            } else {
                return Some(Cause::NoVolume { claim: claim.name.clone() });
            }
        }
        to_find.sort_by_key(|claim| claim.request.unwrap_or_default());
        let mut chosen = Vec::new();
        for claim in to_find {
            match volume_for(state, claim, node, &chosen) {
                Some(volume) => chosen.push(&volume.name),
                None => to_provision.push(claim),
            }
        }
        to_provision.into_iter().find_map(|claim| cannot_provision(state, claim, node))
    }
}

/// Finds a claim of a pod.
fn find<'s>(
    state: &'s ClusterState<'_>,
    pod: &Pod,
    claim: Text,
    is_ephemeral: bool,
) -> Result<&'s PersistentVolumeClaim, Cause> {
    let Some(own) = state.objects.claim_of(pod, &claim) else {
        return Err(if is_ephemeral {
            Cause::EphemeralClaimNotFound { claim }
        } else {
            Cause::ClaimNotFound { claim }
        });
    };
    if own.is_lost {
        return Err(Cause::ClaimLost { claim, volume: own.volume.clone() });
    }
    if own.is_being_deleted {
        return Err(Cause::ClaimBeingDeleted { claim });
    }
    if is_ephemeral && !is_of(own, pod) {
        return Err(Cause::ClaimOfOther { claim, pod: pod.key() });
    }
    Ok(own)
}

/// Whether a volume can be reached from a node.
fn reaches(volume: &PersistentVolume, node: &Node) -> bool {
    volume.node_affinity.as_ref().is_none_or(|affinity| affinity.matches(node))
}

/// Finds the volume that the scheduler would bind: one that is kept for the claim, or the smallest that is large enough.
fn volume_for<'s>(
    state: &'s ClusterState<'_>,
    claim: &PersistentVolumeClaim,
    node: &Node,
    chosen: &[&Text],
) -> Option<&'s PersistentVolume> {
    let request = claim.request.unwrap_or_default();
    let mut smallest: Option<&PersistentVolume> = None;
    for volume in state.objects.volumes.values().filter(|volume| volume.class == claim.class) {
        let is_kept = volume.claim.as_ref().is_some_and(|own| {
            let is_named = own.name == claim.name && own.namespace == claim.namespace;
            is_named && (own.uid.is_empty() || own.uid == claim.uid)
        });
        let fits = volume.capacity >= request
            && volume.is_block == claim.is_block
            && volume.attributes_class == claim.attributes_class
            && !volume.is_being_deleted
            && (volume.claim.is_none() || is_kept)
            && !chosen.contains(&&volume.name);
        if !fits {
            continue;
        }
        if is_kept {
            return reaches(volume, node).then_some(volume);
        }
        let is_offered = volume.is_available
            && claim.selector.as_ref().is_none_or(|selector| selector.matches(&volume.labels))
            && reaches(volume, node)
            && claim.access_modes.iter().all(|mode| volume.access_modes.contains(mode));
        if is_offered && smallest.is_none_or(|other| volume.capacity < other.capacity) {
            smallest = Some(volume);
        }
    }
    smallest
}

/// Returns why no volume can be made for a claim and a node.
fn cannot_provision(state: &ClusterState<'_>, claim: &PersistentVolumeClaim, node: &Node) -> Option<Cause> {
    let class = state.objects.storage_classes.get(&claim.class)?;
    let can_provision = !class.provisioner.is_empty() && class.provisioner != NO_PROVISIONER;
    if !can_provision || !allows(class, node) {
        return Some(Cause::NoVolume { claim: claim.name.clone() });
    }
    let request = claim.request?;
    (!has_capacity(state, class, request, node)).then(|| Cause::NotEnoughStorage { claim: claim.name.clone() })
}

/// Whether the topologies of a class allow a node. A term without labels matches nothing.
fn allows(class: &StorageClass, node: &Node) -> bool {
    let matches = |term: &Vec<(Text, Vec<Text>)>| {
        !term.is_empty()
            && term.iter().all(|(key, values)| node.labels.get_text(key).is_some_and(|own| values.contains(own)))
    };
    class.topologies.is_empty() || class.topologies.iter().any(matches)
}

/// Whether the driver has storage left for a node, if it reports that.
fn has_capacity(state: &ClusterState<'_>, class: &StorageClass, request: Quantity, node: &Node) -> bool {
    if !state.objects.csi_drivers.get(&class.provisioner).is_some_and(|driver| driver.reports_capacity) {
        return true;
    }
    state.objects.capacities.values().any(|capacity| {
        capacity.class == class.name
            && capacity.largest.is_some_and(|largest| largest.value() >= request.value())
            && capacity.nodes.as_ref().is_some_and(|nodes| nodes.matches(&node.labels))
    })
}
