//! How many volumes a driver can attach to a node.

use foldhash::fast::RandomState;
use indexmap::IndexMap;

use super::super::{
    Cause, ClusterState, Code, Plugin, SchedulingBlocker, Stage, pod_info::PodInfo, trial_node::TrialNode,
};
use crate::model::{Key, PersistentVolumeClaim, Pod, PodVolume, Resource, Text};

/// Volumes, by what identifies them, with their drivers.
type Volumes = IndexMap<(Text, Text), (), RandomState>;

pub(in super::super) fn check(own: &PodInfo<'_>, node: &TrialNode<'_, '_>) -> Option<SchedulingBlocker> {
    let PodInfo { state, pod, spec, .. } = own;
    if spec.volumes.is_empty() {
        return None;
    }
    let mut new = match volumes_of(state, pod, &spec.volumes, true) {
        Ok(new) => new,
        Err(blocker) => return Some(blocker),
    };
    if new.is_empty() {
        return None;
    }
    let name = &node.info.node.name;
    let limits = state.objects.csi_nodes.get(name).map(|node| node.limits.as_slice()).unwrap_or_default();
    if limits.is_empty() {
        return None;
    }
    let mut used = Volumes::default();
    for other in node.pods.iter() {
        let volumes = other.spec.as_ref().map(|spec| spec.volumes.as_slice()).unwrap_or_default();
        match volumes_of(state, other, volumes, false) {
            Ok(volumes) => used.extend(volumes),
            Err(blocker) => return Some(blocker),
        }
    }
    new.retain(|volume, ()| !used.contains_key(volume));
    // What is still attached counts, even if no pod uses it any more.
    for attachment in state.objects.attachments.values().filter(|attachment| attachment.node == *name) {
        let volume = state.objects.volumes.get(&attachment.volume).filter(|volume| !volume.driver.is_empty());
        used.extend(volume.map(|volume| ((volume.driver.clone(), volume.handle.clone()), ())));
    }
    let of_driver = |volumes: &Volumes, driver: &Text| volumes.keys().filter(|(own, _)| own == driver).count();
    limits.iter().find_map(|(driver, limit)| {
        let (requested, used) = (of_driver(&new, driver), of_driver(&used, driver));
        let exceeds = i64::try_from(used + requested).is_ok_and(|count| count > *limit);
        let cause = || Cause::VolumeLimit { driver: driver.clone(), requested, used, limit: *limit };
        (requested > 0 && exceeds)
            .then(|| SchedulingBlocker::of(Plugin::NodeVolumeLimits, Code::Unschedulable, cause()))
    })
}

/// Returns the volumes of a pod that a driver attaches.
fn volumes_of(
    state: &ClusterState<'_>,
    pod: &Pod,
    volumes: &[PodVolume],
    is_new: bool,
) -> Result<Volumes, SchedulingBlocker> {
    let mut found = Volumes::default();
    for volume in volumes {
        let Some(name) = volume.claim(&pod.name) else { continue };
        let claim = Key::new(&pod.namespace, &name);
        let Some(own) = state.objects.claim_of(pod, &name) else {
            if is_new {
                let code = Code::UnschedulableAndUnresolvable;
                return Err(SchedulingBlocker::of(Plugin::NodeVolumeLimits, code, Cause::ClaimLookup { claim }));
            }
            continue;
        };
        if matches!(volume, PodVolume::Ephemeral { .. }) && !is_of(own, pod) {
            let cause = Cause::ClaimOfOther { claim: name, pod: pod.key() };
            return Err(SchedulingBlocker::new(Plugin::NodeVolumeLimits, Stage::Filter, Code::Error, vec![cause]));
        }
        found.extend(driver_of(state, &claim, own).map(|volume| (volume, ())));
    }
    Ok(found)
}

/// Whether the claim of an ephemeral volume was created for the pod.
pub(super) fn is_of(claim: &PersistentVolumeClaim, pod: &Pod) -> bool {
    !claim.owner.is_empty() && claim.owner == pod.uid
}

/// Returns the driver of a claim and its name for the volume. One that is not there yet will be of its StorageClass.
fn driver_of(state: &ClusterState<'_>, key: &Key, claim: &PersistentVolumeClaim) -> Option<(Text, Text)> {
    if let Some(volume) = state.objects.volumes.get(&claim.volume) {
        return (!volume.driver.is_empty()).then(|| (volume.driver.clone(), volume.handle.clone()));
    }
    let class = state.objects.storage_classes.get(&claim.class)?;
    // Claims have a slash in their keys, handles of drivers are compared with those of the same driver only.
    Some((class.provisioner.clone(), format!("claim {key}").into()))
}
