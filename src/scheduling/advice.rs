//! What to do about causes that no remedy changes: those of volumes, and of rules about other pods.

use super::Cause;

impl Cause {
    /// Says what to do, if it is not what a [remedy](super::SchedulingRemedy) would change. Unlike remedies it was not tried out.
    ///
    /// ```
    /// use daemonplan::scheduling::Cause;
    /// let cause = Cause::ClaimNotFound { claim: "data".into() };
    /// assert_eq!(cause.advice().unwrap(), "create the claim data, or name another one in the pod's volumes");
    /// assert_eq!(Cause::Cordoned.advice(), None);
    /// ```
    pub fn advice(&self) -> Option<String> {
        let advice = match self {
            Self::ClaimNotFound { claim } => {
                format!("create the claim {claim}, or name another one in the pod's volumes")
            }
            Self::EphemeralClaimNotFound { claim } => {
                format!("if the claim {claim} is not created soon, look at the Events of the pod")
            }
            Self::ClaimOfOther { claim, .. } => {
                format!("delete the claim {claim} if it is not needed: then one is created for the pod")
            }
            Self::ClaimLost { claim, .. } => {
                format!("restore the volume, or delete the claim {claim} and create it again, with an empty volume")
            }
            Self::ClaimBeingDeleted { claim } => format!("create the claim {claim} again once it is gone"),
            Self::UnboundImmediateClaims { claims } => format!(
                "create a volume for {}, or find out why none is provisioned: kubectl describe pvc",
                claims.join(", ")
            ),
            Self::VolumeNodeAffinity { volume } | Self::VolumeZone { volume, .. } => format!(
                "keep the pods off the nodes that the volume {volume} excludes, or use a volume that each node reaches"
            ),
            Self::NoVolume { claim } => {
                format!("create a volume for the claim {claim} that the node reaches, or allow its StorageClass there")
            }
            Self::NotEnoughStorage { claim } => format!("free storage, or let the claim {claim} request less"),
            Self::VolumeMissing { volumes } => {
                format!("restore the volumes {}, or delete their claims and create them again", volumes.join(", "))
            }
            Self::VolumeNotFound { volume } => {
                format!("restore the volume {volume}, or delete its claim and create it again")
            }
            Self::StorageClassNotFound { class } => format!("create the StorageClass {class}"),
            Self::ClaimWithoutClass { claim } => format!("create the claim {claim} again, with a StorageClass"),
            Self::ClaimWithoutVolume { claim } => {
                format!("find out why the claim {claim} gets no volume: kubectl describe pvc")
            }
            Self::SpreadWithoutLabel { key } | Self::PodAffinity { key, has_label: false } => {
                format!("give the node the label {key}, or remove the rule from the template")
            }
            Self::Spread { .. } => {
                "remove the constraint from the template: a DaemonSet spreads its pods by itself".to_owned()
            }
            Self::PodAffinity { key, has_label: true } => format!(
                "start a pod that the rule requires on a node with the same {key}, or remove the rule from the template"
            ),
            Self::AffinityConflict => "let the terms of the node affinity name one node each".to_owned(),
            Self::NodeAffinity => "change the required node affinity, if the pod is meant for the node".to_owned(),
            Self::Gated { .. }
            | Self::Cordoned
            | Self::Taint { .. }
            | Self::NodeSelector { .. }
            | Self::HostPort { .. }
            | Self::TooManyPods { .. }
            | Self::Insufficient { .. }
            | Self::DiskInUse { .. }
            | Self::ClaimInUse { .. }
            | Self::VolumeLimit { .. }
            | Self::ClaimLookup { .. }
            | Self::PodAntiAffinity { .. }
            | Self::ExistingAntiAffinity { .. } => return None,
        };
        Some(advice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Key, Text};

    #[test]
    fn every_cause_that_no_remedy_changes_has_advice_that_names_what_it_is_about() {
        let name = || Text::from("data");
        let about = [
            Cause::ClaimNotFound { claim: name() },
            Cause::EphemeralClaimNotFound { claim: name() },
            Cause::ClaimOfOther { claim: name(), pod: Key::new("prod", "agent") },
            Cause::ClaimLost { claim: name(), volume: "disk".into() },
            Cause::ClaimBeingDeleted { claim: name() },
            Cause::UnboundImmediateClaims { claims: vec![name()] },
            Cause::VolumeNodeAffinity { volume: name() },
            Cause::VolumeZone { volume: name(), key: "zone".into(), allowed: vec!["a".into()], found: None },
            Cause::NoVolume { claim: name() },
            Cause::NotEnoughStorage { claim: name() },
            Cause::VolumeMissing { volumes: vec![name()] },
            Cause::VolumeNotFound { volume: name() },
            Cause::StorageClassNotFound { class: name() },
            Cause::ClaimWithoutClass { claim: name() },
            Cause::ClaimWithoutVolume { claim: name() },
            Cause::SpreadWithoutLabel { key: name() },
            Cause::PodAffinity { key: name(), has_label: true },
            Cause::PodAffinity { key: name(), has_label: false },
        ];
        for cause in about {
            let advice = cause.advice().unwrap_or_default();
            assert!(advice.contains("data"), "{cause:?}: {advice}");
        }
        let spread = Cause::Spread { key: name(), value: "a".into(), pods: 2, smallest: 0, max_skew: 1 };
        for rule in [spread, Cause::AffinityConflict, Cause::NodeAffinity] {
            assert!(rule.advice().is_some(), "{rule:?}");
        }
    }
}
