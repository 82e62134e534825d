//! Disks that pods on a node cannot share, and claims that only one pod may use.

use super::super::{
    Cause, ClusterState, Code, Plugin, SchedulingBlocker,
    load::{first, is_same},
    pod_info::PodInfo,
    trial_node::TrialNode,
};
use crate::model::{Pod, PodSpec, PodVolume, Resource, Text};

/// The names of a pod's claims, without those of ephemeral volumes.
fn named_claims(spec: &PodSpec) -> impl Iterator<Item = &Text> {
    spec.volumes.iter().filter_map(|volume| match volume {
        PodVolume::Claim { claim } => Some(claim),
        _ => None,
    })
}

/// Returns the claims of a pod that only one pod may use.
pub(in super::super) fn single_claims(
    state: &ClusterState<'_>,
    pod: &Pod,
    spec: &PodSpec,
) -> Result<Vec<Text>, SchedulingBlocker> {
    let mut single = Vec::new();
    for name in named_claims(spec) {
        match state.objects.claim_of(pod, name) {
            None => {
                return Err(SchedulingBlocker::of_all(
                    Plugin::VolumeRestrictions,
                    Cause::ClaimNotFound { claim: name.clone() },
                ));
            }
            Some(claim) if claim.access_modes.iter().any(|mode| mode == "ReadWriteOncePod") => {
                single.push(name.clone());
            }
            Some(_) => {}
        }
    }
    Ok(single)
}

/// How many of the claims that only one pod may use are used by another pod, anywhere.
pub(in super::super) fn claim_users(own: &PodInfo<'_>, single: &[Text]) -> i64 {
    let pods = || own.state.nodes.iter().flat_map(|info| info.pods.iter()).filter(|pod| !is_same(pod, own.pod));
    let used = single.iter().filter(|claim| pods().any(|pod| uses(own, claim, pod))).count();
    i64::try_from(used).unwrap_or(i64::MAX)
}

/// Whether a pod uses a claim of the incoming pod.
fn uses(own: &PodInfo<'_>, claim: &Text, pod: &Pod) -> bool {
    let volumes = pod.spec.iter().flat_map(|spec| &spec.volumes);
    pod.namespace == own.pod.namespace
        && volumes.filter_map(|volume| volume.claim(&pod.name)).any(|used| used == *claim)
}

/// How many volumes of `pod` are claims of the incoming pod that only one pod may use.
pub(in super::super) fn single_claims_used_by(own: &PodInfo<'_>, single: &[Text], pod: &Pod) -> i64 {
    if pod.namespace != own.pod.namespace || single.is_empty() {
        return 0;
    }
    let used = pod.spec.iter().flat_map(|spec| named_claims(spec)).filter(|claim| single.contains(claim));
    i64::try_from(used.count()).unwrap_or(i64::MAX)
}

/// Refuses a node for a pod with these claims that only one pod may use, of which `users` are in use.
pub(in super::super) fn check(
    own: &PodInfo<'_>,
    node: &TrialNode<'_, '_>,
    single: &[Text],
    users: i64,
) -> Option<SchedulingBlocker> {
    if own.spec.volumes.is_empty() {
        return None;
    }
    let shares_disk = |pod: &&Pod| {
        let others = || pod.spec.iter().flat_map(|spec| &spec.volumes);
        own.spec.volumes.iter().any(|volume| others().any(|other| volume.conflicts_with(other)))
    };
    let blocker = |cause| Some(SchedulingBlocker::of(Plugin::VolumeRestrictions, Code::Unschedulable, cause));
    if let Some(pod) = first(node.pods.iter().filter(shares_disk)) {
        return blocker(Cause::DiskInUse { pod: pod.key() });
    }
    if users <= 0 {
        return None;
    }
    let users = single.iter().map(|claim| (claim, node.find_pod(own, |_| true, |pod| uses(own, claim, pod))));
    let (claim, pod) = users.max_by_key(|(_, user)| user.is_some())?;
    blocker(Cause::ClaimInUse { claim: claim.clone(), pod: pod.map(Pod::key) })
}
