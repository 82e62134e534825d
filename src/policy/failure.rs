//! When the new template fails, and what becomes of the update then.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};

use super::InvalidPolicyText;
use crate::{
    backoff::{is_rejection, is_removal},
    model::IntOrPercent,
    util::duration,
};

/// The conditions under which the new template fails, and the reaction.
///
/// The new template fails on a node if the node's new pod
///
/// - has Failed, unless the node or the cluster [is to blame](Self::is_excused),
/// - had a container restarted more than [`max_restarts`](Self::max_restarts) times,
/// - waits for one of [`FailurePolicy::REASONS`] after its [`start_grace`](Self::start_grace),
/// - is not ready within [`available_within`](Self::available_within),
/// - is on a node that went away while or after the update reached it, and is not back within `available_within`, or else
///   `start_grace`, or
/// - is that of a canary, and is not available for long enough within its [`timeout`](super::Canary::timeout).
///
/// Before that, the template is in doubt, and the update waits: while a new pod waits for one of these reasons or for
/// `CrashLoopBackOff`, was restarted more than [`pause_restarts`](Self::pause_restarts) times, or its node is away.
///
/// ```
/// use daemonplan::policy::{FailurePolicy, OnFailure};
/// let policy = FailurePolicy::then(OnFailure::RollBack);
/// assert_eq!((policy.pause_restarts, policy.max_restarts, policy.available_within), (1, 2, None));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub struct FailurePolicy {
    /// `daemonplan/pause-restarts`: the number of restarts that a container of a new pod may have. After more, the update
    /// waits until the pod has recovered.
    ///
    /// Restarts are ignored once the pod is available and has been ready for [`FailurePolicy::RECOVERY`]. The restart that
    /// a reboot of the node causes is not counted.
    #[serde(default = "FailurePolicy::default_pause_restarts")]
    pub pause_restarts: u32,
    /// `daemonplan/max-restarts`: the number of restarts that a container of a new pod may have. After more, the template
    /// fails. They are counted as for [`pause_restarts`](Self::pause_restarts).
    #[serde(default = "default_max_restarts")]
    pub max_restarts: u32,
    /// `daemonplan/start-grace`: how long after its creation a new pod may wait for its images and its configuration.
    ///
    /// The default, five minutes, is the longest back-off of the kubelet between two attempts.
    /// <https://kubernetes.io/docs/concepts/containers/images/#imagepullbackoff>
    #[serde(with = "duration::seconds", default = "default_start_grace", rename = "startGraceSeconds")]
    pub start_grace: Duration,
    /// `daemonplan/available-within`: the time from its creation within which a new pod must become ready. One that was
    /// ready and no longer is has this time again.
    #[serde(with = "duration::optional_seconds", default, rename = "availableWithinSeconds")]
    pub available_within: Option<Duration>,
    /// `daemonplan/max-failures`: the number of nodes on which the new template may fail: never on all of them, on all
    /// canaries of a step, or on as many as may be unavailable or surge at a time, as the update could not go on.
    #[serde(default = "no_nodes")]
    pub max_failures: IntOrPercent,
    /// The reaction if the new template fails on more nodes.
    pub then: OnFailure,
}

/// The reaction to a failing template.
///
/// ```
/// use daemonplan::policy::OnFailure;
/// assert_eq!("roll-back".parse(), Ok(OnFailure::RollBack));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum OnFailure {
    /// `pause`: the update is paused until an operator resumes it.
    Pause,
    /// `roll-back`: the older template with the most available pods is restored. A template that is set again after its
    /// roll-back and fails again is paused.
    RollBack,
}

impl FailurePolicy {
    /// The waiting reasons of containers that count as failures if they last: the kubelet cannot start the container.
    pub const REASONS: &[&str] = &[
        "CreateContainerConfigError",
        "CreateContainerError",
        "ErrImageNeverPull",
        "ErrImagePull",
        "ImageInspectError",
        "ImagePullBackOff",
        "InvalidImageName",
        "RunContainerError",
    ];

    /// The time that a pod must be ready before its restarts are ignored, as by the kubelet.
    pub const RECOVERY: Duration = Duration::from_secs(10 * 60);

    /// Returns a policy that waits after more than one restart and fails after more than two, without a time limit, and
    /// without a failing node allowed.
    pub fn then(then: OnFailure) -> Self {
        Self {
            pause_restarts: Self::default_pause_restarts(),
            max_restarts: default_max_restarts(),
            start_grace: default_start_grace(),
            available_within: None,
            max_failures: no_nodes(),
            then,
        }
    }

    pub(crate) fn default_pause_restarts() -> u32 {
        1
    }

    /// Whether a pod that has Failed for this reason (`status.reason`) says nothing about its template: it was evicted or
    /// preempted, its node was shut down, or the kubelet rejected it.
    ///
    /// ```
    /// use daemonplan::policy::FailurePolicy;
    /// assert!(FailurePolicy::is_excused("Evicted") && FailurePolicy::is_excused("OutOfcpu"));
    /// assert!(!FailurePolicy::is_excused("DeadlineExceeded") && !FailurePolicy::is_excused(""));
    /// ```
    pub fn is_excused(reason: &str) -> bool {
        is_rejection(reason) || is_removal(reason)
    }
}

fn default_max_restarts() -> u32 {
    2
}

fn default_start_grace() -> Duration {
    Duration::from_secs(5 * 60)
}

fn no_nodes() -> IntOrPercent {
    IntOrPercent::Int(0)
}

impl fmt::Display for OnFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pause => "pause",
            Self::RollBack => "roll-back",
        })
    }
}

impl FromStr for OnFailure {
    type Err = InvalidPolicyText;

    fn from_str(text: &str) -> Result<Self, InvalidPolicyText> {
        match text {
            "pause" => Ok(Self::Pause),
            "roll-back" => Ok(Self::RollBack),
            _ => Err(InvalidPolicyText),
        }
    }
}
