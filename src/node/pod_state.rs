//! The state of a pod as its DaemonSet counts it: readiness and availability.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::claimed_pod::{Availability, ClaimedPod};
use crate::{
    context::DaemonSetContext,
    model::{Pod, PodPhase, Readiness},
    util::duration,
};

/// The state of a pod, as far as it matters to its DaemonSet.
///
/// ```
/// use std::time::Duration;
/// use daemonplan::explain::PodState;
/// let state = PodState::Ready { available_after: Some(Duration::from_secs(40)) };
/// assert_eq!(state.to_string(), "ready, available in 40s");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all_fields = "camelCase")]
#[non_exhaustive]
pub enum PodState {
    /// The pod is being deleted.
    Deleting,
    /// The pod completed successfully.
    Succeeded,
    /// The pod failed.
    Failed,
    /// The pod does not run yet.
    Pending,
    /// The pod runs, but is not ready.
    NotReady,
    /// The pod is ready, but not yet for `minReadySeconds`.
    Ready {
        /// How long until the pod is available; `None` if that is unknown.
        #[serde(serialize_with = "duration::serialize_whole", rename = "availableAfterSeconds")]
        available_after: Option<Duration>,
    },
    /// The pod is available.
    Available,
}

impl DaemonSetContext<'_> {
    /// The state of a claimed pod.
    pub(crate) fn pod_state(&self, claimed: &ClaimedPod<'_>) -> PodState {
        match (claimed.pod.phase, claimed.pod.ready) {
            _ if !claimed.is_live() => PodState::Deleting,
            (PodPhase::Succeeded, _) => PodState::Succeeded,
            (PodPhase::Failed, _) => PodState::Failed,
            _ if claimed.is_available() => PodState::Available,
            (_, Readiness::Ready { since }) => {
                let at = self.becomes_available(since).zip(self.now);
                let available_after = at.and_then(|(at, now)| Duration::try_from(at.duration_since(now)).ok());
                PodState::Ready { available_after }
            }
            (PodPhase::Pending, _) => PodState::Pending,
            _ => PodState::NotReady,
        }
    }

    /// `spec.minReadySeconds`.
    pub(crate) fn min_ready(&self) -> SignedDuration {
        SignedDuration::from_secs(self.daemonset.min_ready_seconds.into())
    }

    /// Whether the pod has been ready for `minReadySeconds`. Without a clock, that is known only if it is 0.
    pub(crate) fn availability(&self, pod: &Pod) -> Availability {
        let Readiness::Ready { since } = pod.ready else { return Availability::NotReady };
        let min_ready_seconds = self.daemonset.min_ready_seconds;
        match self.now {
            _ if min_ready_seconds == 0 => Availability::Available,
            Some(now) if pod.is_available(min_ready_seconds, now) => Availability::Available,
            None if since.is_some() => Availability::Unknown,
            _ => Availability::Ready,
        }
    }

    /// When the first pod that is ready but not yet available becomes available.
    #[inline]
    pub(crate) fn next_available_at(&self, pods: &[ClaimedPod<'_>]) -> Option<Timestamp> {
        if self.daemonset.min_ready_seconds == 0 {
            return None;
        }
        let waiting = pods.iter().filter(|claimed| !claimed.is_available());
        let times = waiting.filter_map(|claimed| match claimed.pod.ready {
            Readiness::Ready { since } => self.becomes_available(since),
            Readiness::NotReady { .. } => None,
        });
        times.min()
    }

    fn becomes_available(&self, since: Option<Timestamp>) -> Option<Timestamp> {
        // A time beyond the year 9999 never comes.
        since?.checked_add(self.min_ready()).ok()
    }
}
