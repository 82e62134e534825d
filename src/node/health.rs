//! What a pod says about its template: that it works, that it may fail, or that it fails.

use std::time::Duration;

use jiff::Timestamp;

use super::claimed_pod::ClaimedPod;
use crate::{
    model::{Pod, PodPhase, PodProblem, Text},
    policy::{FailurePolicy, RolloutPolicy},
};

/// What a pod says about its template.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum PodHealth {
    /// Nothing against it.
    Well,
    /// It may fail; why.
    InDoubt(Text),
    /// It fails; why.
    Failing(Text),
}

/// Since when a state has lasted. An unknown time is before all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Since {
    Unknown,
    At(Timestamp),
}

impl From<Option<Timestamp>> for Since {
    fn from(time: Option<Timestamp>) -> Self {
        time.map_or(Self::Unknown, Self::At)
    }
}

/// Compares times with now, and records when the next comparison changes.
pub(super) struct Clock {
    pub(super) now: Option<Timestamp>,
    pub(super) next_change: Option<Timestamp>,
}

impl Clock {
    /// Whether `after` has passed since `since`. It has not without a clock, nor if the end is beyond the year 9999.
    pub(super) fn has_passed(&mut self, since: Timestamp, after: Duration) -> bool {
        let (Ok(at), Some(now)) = (since.checked_add(after), self.now) else { return false };
        if at > now {
            self.next_change = Some(self.next_change.map_or(at, |next| next.min(at)));
        }
        at <= now
    }

    /// Whether a state has lasted for `after`. If it is not known since when, it has not.
    pub(super) fn is_over(&mut self, since: Since, after: Duration) -> bool {
        matches!(since, Since::At(at) if self.has_passed(at, after))
    }
}

impl PodHealth {
    /// Judges an updated pod. `lost` is since when its node has not reported, if it does not; a pod that had been well for
    /// the time of a proof by then is not to blame.
    pub(super) fn of(
        failure: &FailurePolicy,
        policy: &RolloutPolicy,
        claimed: &ClaimedPod<'_>,
        lost: Option<Since>,
        clock: &mut Clock,
    ) -> Self {
        let health = Self::at_first(failure, policy.proof(), claimed, lost, clock);
        let is_past = |clock| is_past(claimed.pod, policy.judgement(), clock);
        if health != Self::Well && is_past(clock) { Self::Well } else { health }
    }

    /// The same, however long ago the pod was created.
    fn at_first(
        failure: &FailurePolicy,
        proof: Duration,
        claimed: &ClaimedPod<'_>,
        lost: Option<Since>,
        clock: &mut Clock,
    ) -> Self {
        let pod = claimed.pod;
        let mut health = Self::Well;
        // What was created when the node was away already says nothing.
        if matches!(lost, Some(Since::At(since)) if pod.created.is_some_and(|created| created > since)) {
            return health;
        }
        if pod.phase == PodPhase::Failed {
            health = health.max(Self::of_end(pod));
        }
        if let Some(problem) = &pod.problem {
            health = health.max(Self::of_restarts(failure, claimed, problem, clock));
            health = health.max(Self::of_wait(failure, pod, problem, clock));
        }
        if lost.is_some_and(|since| was_proven(pod, since, proof)) {
            return health;
        }
        if let Some(within) = failure.available_within.filter(|_| !pod.is_ready() && pod.phase != PodPhase::Failed)
            && start_of(pod, within).is_some_and(|since| clock.has_passed(since, within))
        {
            health = health.max(Self::Failing("not ready in time".into()));
        }
        if let Some(since) = lost.filter(|_| !claimed.is_available()) {
            let grace = failure.available_within.unwrap_or(failure.start_grace);
            let is_over = clock.is_over(since, grace);
            let reason = "no longer reporting".into();
            health = health.max(if is_over { Self::Failing(reason) } else { Self::InDoubt(reason) });
        }
        health
    }

    fn of_end(pod: &Pod) -> Self {
        match pod.problem.as_ref().map(|problem| &*problem.reason).unwrap_or_default() {
            reason if FailurePolicy::is_excused(reason) => Self::Well,
            "" => Self::Failing("failed".into()),
            reason => Self::Failing(format!("failed ({reason})").into()),
        }
    }

    fn of_restarts(failure: &FailurePolicy, claimed: &ClaimedPod<'_>, problem: &PodProblem, clock: &mut Clock) -> Self {
        let restarts = restarts(problem);
        if restarts <= failure.pause_restarts.min(failure.max_restarts) || has_recovered(claimed, clock) {
            return Self::Well;
        }
        let reason = match restarts {
            1 => "1 restart".into(),
            restarts => format!("{restarts} restarts").into(),
        };
        if restarts > failure.max_restarts { Self::Failing(reason) } else { Self::InDoubt(reason) }
    }

    fn of_wait(failure: &FailurePolicy, pod: &Pod, problem: &PodProblem, clock: &mut Clock) -> Self {
        let reason = &problem.waiting;
        if reason == PodProblem::CRASH_LOOP {
            return Self::InDoubt(reason.clone());
        }
        if !FailurePolicy::REASONS.contains(&&**reason) {
            return Self::Well;
        }
        // No later attempt can succeed.
        let is_final = reason == "InvalidImageName";
        let grace = failure.start_grace;
        let is_over = start_of(pod, grace).is_some_and(|since| clock.has_passed(since, grace));
        if is_final || is_over { Self::Failing(reason.clone()) } else { Self::InDoubt(reason.clone()) }
    }
}

/// How much earlier than a node gets its taint its pods may become unready.
const LIFECYCLE: Duration = Duration::from_secs(10);

/// Whether a pod was ready until its node went away: its Ready condition says since when it has not been.
pub(super) fn was_ready_until(pod: &Pod, lost: Since) -> bool {
    let end = pod.unready_since().and_then(|since| since.checked_add(LIFECYCLE).ok());
    matches!((lost, end), (Since::At(lost), Some(end)) if lost <= end)
}

/// Whether a pod was old enough when its node went away, and ready until then: the template has been proven there.
fn was_proven(pod: &Pod, lost: Since, proof: Duration) -> bool {
    let end = pod.created.and_then(|created| created.checked_add(proof).ok());
    was_ready_until(pod, lost) && matches!((lost, end), (Since::At(lost), Some(end)) if end <= lost)
}

/// Whether what happens to a pod is no longer the template's fault: it was created longer ago than it is judged, and is ready,
/// or was after that time.
fn is_past(pod: &Pod, judgement: Duration, clock: &mut Clock) -> bool {
    let Some(created) = pod.created else { return false };
    let was_ready_after = |since| created.checked_add(judgement).is_ok_and(|end| since >= end);
    let was_ready = pod.is_ready() || pod.unready_since().is_some_and(was_ready_after);
    was_ready && clock.has_passed(created, judgement)
}

/// The restarts that the template may have caused.
fn restarts(problem: &PodProblem) -> u32 {
    problem.restarts.saturating_sub(u32::from(problem.rebooted))
}

/// When a pod began to start: its creation, or, if it was ready after the time it has, the time when it no longer was.
fn start_of(pod: &Pod, within: Duration) -> Option<Timestamp> {
    /// How much later than it happens a kubelet may report a pod that never was ready.
    const REPORT: Duration = Duration::from_secs(60);
    let created = pod.created?;
    let was_ready = |since: &Timestamp| created.checked_add(within + REPORT).is_ok_and(|end| *since > end);
    Some(pod.unready_since().filter(was_ready).unwrap_or(created))
}

/// Whether a pod is known to have been available long enough for its earlier restarts to no longer count.
fn has_recovered(claimed: &ClaimedPod<'_>, clock: &mut Clock) -> bool {
    match claimed.pod.ready_since() {
        Some(since) => claimed.is_available() && clock.has_passed(since, FailurePolicy::RECOVERY),
        None => false,
    }
}

/// Whether a pod that is not available does not start: it keeps crashing, or the kubelet cannot start it.
pub(super) fn is_broken(claimed: &ClaimedPod<'_>, policy: Option<&FailurePolicy>) -> bool {
    let Some(problem) = claimed.pod.problem.as_ref().filter(|_| claimed.is_unavailable()) else { return false };
    let most = policy.map_or_else(FailurePolicy::default_pause_restarts, |failure| failure.pause_restarts);
    let waits = problem.waiting == PodProblem::CRASH_LOOP || FailurePolicy::REASONS.contains(&&*problem.waiting);
    waits || restarts(problem) > most
}

/// Whether a pod is broken, or has not been ready for so long that no wait for it makes sense.
pub(super) fn is_stuck(claimed: &ClaimedPod<'_>, policy: Option<&FailurePolicy>, clock: &mut Clock) -> bool {
    if !claimed.is_unavailable() {
        return false;
    }
    // The time is always compared, as it tells when the next decision is due.
    let is_late = claimed.pod.unready_since().is_some_and(|since| clock.has_passed(since, FailurePolicy::RECOVERY));
    is_late || is_broken(claimed, policy)
}
