use serde::{Deserialize, Serialize};

use crate::model::Text;

/// A volume of a pod that can keep it off a node: a claim, or a disk that pods cannot share.
///
/// ```
/// use daemonplan::model::{Pod, PodVolume};
/// let pod: Pod = serde_json::from_str(r#"{"metadata": {"name": "agent-x2k"}, "spec": {
///     "containers": [{"name": "agent"}],
///     "volumes": [{"name": "logs", "hostPath": {"path": "/var/log"}}, {"name": "data", "ephemeral": {}}]
/// }}"#)?;
/// let volumes = &pod.spec.as_ref().unwrap().volumes;
/// assert_eq!(volumes, &[PodVolume::Ephemeral { name: "data".into() }]);
/// assert_eq!(volumes[0].claim(&pod.name).unwrap(), "agent-x2k-data");
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PodVolume {
    /// `persistentVolumeClaim`.
    Claim {
        /// The name of the claim in the pod's namespace.
        claim: Text,
    },
    /// `ephemeral`: the claim is created for the pod and named after it.
    Ephemeral {
        /// The name of the volume.
        name: Text,
    },
    /// `gcePersistentDisk`.
    GcePersistentDisk {
        /// `pdName`.
        name: Text,
        /// `readOnly`.
        read_only: bool,
    },
    /// `awsElasticBlockStore`.
    AwsElasticBlockStore {
        /// `volumeID`.
        id: Text,
    },
    /// `iscsi`.
    Iscsi {
        /// `iqn`.
        iqn: Text,
        /// `readOnly`.
        read_only: bool,
    },
    /// `rbd`.
    Rbd {
        /// `monitors`.
        monitors: Vec<Text>,
        /// `pool`; `rbd` by default.
        pool: Text,
        /// `image`.
        image: Text,
        /// `readOnly`.
        read_only: bool,
    },
}

impl PodVolume {
    /// Returns the name of the PersistentVolumeClaim, which depends on the pod's name for ephemeral volumes.
    pub fn claim(&self, pod: &str) -> Option<Text> {
        match self {
            Self::Claim { claim } => Some(claim.clone()),
            Self::Ephemeral { name } => Some(format!("{pod}-{name}").into()),
            _ => None,
        }
    }

    /// Whether two pods with these volumes cannot run on the same node.
    pub fn conflicts_with(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::GcePersistentDisk { name, read_only }, Self::GcePersistentDisk { name: of, read_only: also }) => {
                name == of && !(*read_only && *also)
            }
            (Self::AwsElasticBlockStore { id }, Self::AwsElasticBlockStore { id: of }) => id == of,
            (Self::Iscsi { iqn, read_only }, Self::Iscsi { iqn: of, read_only: also }) => {
                iqn == of && !(*read_only && *also)
            }
            (
                Self::Rbd { monitors, pool, image, read_only },
                Self::Rbd { monitors: others, pool: of_pool, image: of, read_only: also },
            ) => {
                let share_a_monitor = monitors.iter().any(|monitor| others.contains(monitor));
                share_a_monitor && pool == of_pool && image == of && !(*read_only && *also)
            }
            _ => false,
        }
    }
}

/// A volume as Kubernetes writes it.
#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct VolumeWire {
    #[serde(default)]
    name: Text,
    #[serde(skip_serializing_if = "Option::is_none")]
    persistent_volume_claim: Option<ClaimSource>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ephemeral: Option<Empty>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gce_persistent_disk: Option<Disk>,
    #[serde(skip_serializing_if = "Option::is_none")]
    aws_elastic_block_store: Option<Disk>,
    #[serde(skip_serializing_if = "Option::is_none")]
    iscsi: Option<Disk>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rbd: Option<Disk>,
}

#[derive(Serialize, Deserialize)]
struct Empty {}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ClaimSource {
    #[serde(default)]
    claim_name: Text,
}

/// The fields that identify a disk of any kind.
#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Disk {
    #[serde(skip_serializing_if = "Option::is_none")]
    pd_name: Option<Text>,
    #[serde(rename = "volumeID", skip_serializing_if = "Option::is_none")]
    volume_id: Option<Text>,
    #[serde(skip_serializing_if = "Option::is_none")]
    iqn: Option<Text>,
    #[serde(skip_serializing_if = "Option::is_none")]
    monitors: Option<Vec<Text>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pool: Option<Text>,
    #[serde(skip_serializing_if = "Option::is_none")]
    image: Option<Text>,
    #[serde(skip_serializing_if = "Option::is_none")]
    read_only: Option<bool>,
}

impl VolumeWire {
    pub(super) fn into_volume(self) -> Option<PodVolume> {
        if let Some(ClaimSource { claim_name: claim }) = self.persistent_volume_claim {
            return Some(PodVolume::Claim { claim });
        }
        if self.ephemeral.is_some() {
            return Some(PodVolume::Ephemeral { name: self.name });
        }
        if let Some(disk) = self.gce_persistent_disk {
            let read_only = disk.read_only.unwrap_or_default();
            return Some(PodVolume::GcePersistentDisk { name: disk.pd_name.unwrap_or_default(), read_only });
        }
        if let Some(disk) = self.aws_elastic_block_store {
            return Some(PodVolume::AwsElasticBlockStore { id: disk.volume_id.unwrap_or_default() });
        }
        if let Some(disk) = self.iscsi {
            let read_only = disk.read_only.unwrap_or_default();
            return Some(PodVolume::Iscsi { iqn: disk.iqn.unwrap_or_default(), read_only });
        }
        self.rbd.map(|disk| PodVolume::Rbd {
            monitors: disk.monitors.unwrap_or_default(),
            pool: disk.pool.filter(|pool| !pool.is_empty()).unwrap_or_else(|| "rbd".into()),
            image: disk.image.unwrap_or_default(),
            read_only: disk.read_only.unwrap_or_default(),
        })
    }
}

impl From<PodVolume> for VolumeWire {
    fn from(volume: PodVolume) -> Self {
        let yes = |read_only: bool| read_only.then_some(true);
        match volume {
            PodVolume::Claim { claim: claim_name } => {
                Self { persistent_volume_claim: Some(ClaimSource { claim_name }), ..Self::default() }
            }
            PodVolume::Ephemeral { name } => Self { name, ephemeral: Some(Empty {}), ..Self::default() },
            PodVolume::GcePersistentDisk { name, read_only } => {
                let disk = Disk { pd_name: Some(name), read_only: yes(read_only), ..Disk::default() };
                Self { gce_persistent_disk: Some(disk), ..Self::default() }
            }
            PodVolume::AwsElasticBlockStore { id } => {
                let disk = Disk { volume_id: Some(id), ..Disk::default() };
                Self { aws_elastic_block_store: Some(disk), ..Self::default() }
            }
            PodVolume::Iscsi { iqn, read_only } => {
                let disk = Disk { iqn: Some(iqn), read_only: yes(read_only), ..Disk::default() };
                Self { iscsi: Some(disk), ..Self::default() }
            }
            PodVolume::Rbd { monitors, pool, image, read_only } => {
                let (monitors, pool, image) = (Some(monitors), Some(pool), Some(image));
                let disk = Disk { monitors, pool, image, read_only: yes(read_only), ..Disk::default() };
                Self { rbd: Some(disk), ..Self::default() }
            }
        }
    }
}
