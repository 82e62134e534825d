//! The default scheduler's half: whether it would bind a pod to a node, and if not, why and what would help.
//!
//! A DaemonSet's pods are created for their nodes, and bound by the default scheduler. [`ClusterState`] holds what it looks
//! at; [`ClusterState::feasibility`] runs one cycle of it for a pod. No `Snapshot` is needed, and the pod need not be of a
//! DaemonSet.
//!
//! The rules are those of Kubernetes 1.36 with its default configuration and feature gates. Not covered are dynamic resource
//! allocation, the scores by which the scheduler picks one of several nodes, and extenders.

mod admission;
mod advice;
mod alike;
mod amounts;
mod blocker;
mod cluster_state;
mod coming_pods;
mod company;
mod competition;
mod cycle;
#[cfg(feature = "forecast")]
mod displacement;
mod feasibility;
mod incoming;
mod load;
mod objects;
mod plugins;
mod pod_info;
mod preemption;
mod questions;
mod remedy;
mod rival;
mod stages;
mod trial_node;
mod unknown;
mod verdict;
mod words;

pub(crate) use admission::QuotaLedger;
#[cfg(feature = "forecast")]
pub(crate) use admission::QuotaUse;
pub use admission::{
    AdmissionChange, AdmissionRefusal, AdmissionStage, AdmissionStatus, Admitted, PodAdmission, QuotaRoom,
};
pub use alike::PodsAlike;
pub use amounts::Amounts;
pub use blocker::{Cause, Code, Plugin, SchedulingBlocker, Stage};
pub use cluster_state::ClusterState;
pub(crate) use cluster_state::{KeptFacts, KeptNode};
pub use coming_pods::ComingPods;
pub use competition::Competitor;
#[cfg(feature = "forecast")]
pub(crate) use displacement::Displacement;
use feasibility::as_text;
pub(crate) use feasibility::as_texts;
pub use feasibility::{Agreement, Feasibility, SchedulingVerdict};
pub(crate) use load::{NodeLoad, excludes_others, is_unbound, takes_room};
#[cfg(feature = "manifest")]
pub(crate) use objects::{ObjectVisitor, visit};
pub use objects::{SchedulingObject, SchedulingObjects};
pub use preemption::{NoVictims, Preemption};
pub use remedy::{RemedyChange, SchedulingRemedy};
pub use unknown::UnknownFact;
