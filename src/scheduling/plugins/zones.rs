//! Volumes that are labelled with a zone or a region.

use super::super::{Cause, ClusterState, Code, Plugin, SchedulingBlocker};
use crate::model::{Node, Pod, PodSpec, PodVolume, Text};

/// The zones and regions that the volumes of a pod are in.
#[derive(Clone, Debug, Default)]
pub(in super::super) struct Zones<'s>(Vec<(&'s Text, &'static str, Vec<Text>)>);

/// The labels, each with the one that has replaced it.
const LABELS: [(&str, &str); 4] = [
    ("failure-domain.beta.kubernetes.io/zone", "topology.kubernetes.io/zone"),
    ("failure-domain.beta.kubernetes.io/region", "topology.kubernetes.io/region"),
    ("topology.kubernetes.io/zone", "topology.kubernetes.io/zone"),
    ("topology.kubernetes.io/region", "topology.kubernetes.io/region"),
];

impl<'s> Zones<'s> {
    pub(in super::super) fn new(
        state: &'s ClusterState<'_>,
        pod: &Pod,
        spec: &PodSpec,
    ) -> Result<Self, SchedulingBlocker> {
        let mut zones = Vec::new();
        let refusal = |cause| Err(SchedulingBlocker::of_all(Plugin::VolumeZone, cause));
        for volume in &spec.volumes {
            let PodVolume::Claim { claim: name } = volume else { continue };
            let claim = name.clone();
            let Some(own) = state.objects.claim_of(pod, name) else {
                return refusal(Cause::ClaimNotFound { claim });
            };
            if own.volume.is_empty() {
                let class = own.class.clone();
                if class.is_empty() {
                    return refusal(Cause::ClaimWithoutClass { claim });
                }
                match state.objects.storage_classes.get(&class) {
                    None => return refusal(Cause::StorageClassNotFound { class }),
                    Some(class) if class.waits_for_pods => continue,
                    Some(_) => return refusal(Cause::ClaimWithoutVolume { claim }),
                }
            }
            let Some(volume) = state.objects.volumes.get(&own.volume) else {
                return refusal(Cause::VolumeNotFound { volume: own.volume.clone() });
            };
            zones.extend(LABELS.into_iter().filter_map(|(key, _)| {
                let values: Vec<_> = volume.labels.get(key)?.split("__").map(|zone| Text::from(zone.trim())).collect();
                // Labels with an empty zone are ignored.
                values.iter().all(|value| !value.is_empty()).then_some((&volume.name, key, values))
            }));
        }
        Ok(Self(zones))
    }

    pub(in super::super) fn check(&self, node: &Node) -> Option<SchedulingBlocker> {
        if self.0.is_empty() || !LABELS.iter().any(|(key, _)| node.labels.contains_key(key)) {
            return None;
        }
        let found = |key: &str| {
            let current = LABELS.iter().find(|(old, _)| *old == key).map_or(key, |(_, current)| current);
            node.labels.get(key).or_else(|| node.labels.get(current))
        };
        let (volume, key, allowed) = self
            .0
            .iter()
            .find(|(_, key, allowed)| found(key).is_none_or(|own| allowed.iter().all(|zone| *zone != *own)))?;
        let (volume, found) = ((*volume).clone(), found(key).map(Text::from));
        let cause = Cause::VolumeZone { volume, key: (*key).into(), allowed: allowed.clone(), found };
        Some(SchedulingBlocker::of(Plugin::VolumeZone, Code::UnschedulableAndUnresolvable, cause))
    }
}
