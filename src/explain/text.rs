//! The text form of explanations.

use std::fmt;

use crate::explain::{
    Blocker, BlockerCause, ClaimReason, NodeExplanation, NodeFailures, NodeRollout, PodState, SchedulingExplanation,
    UpdateState,
};
use crate::{
    model::{Taint, well_known::UNREACHABLE_TAINT},
    placement::Verdict,
    plan::CreateReason,
    scheduling::{Agreement, SchedulingVerdict, UnknownFact},
    util::duration::words,
};

/// Describes the node in one sentence. The sentence does not contain the node's name, so that equal nodes form a group. With `#`, it
/// says until when pods become available, not when.
impl fmt::Display for NodeExplanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let failure = self.checks.iter().find_map(|check| check.failure.as_ref());
        match (self.pods.is_empty(), failure) {
            (false, failure) => {
                for (number, pod) in self.pods.iter().enumerate() {
                    let age = match pod.revision.is_current {
                        Some(true) => "an up-to-date pod",
                        Some(false) => "an outdated pod",
                        None => "a pod of unknown template",
                    };
                    write!(f, "{}{age}, ", if number > 0 { "; " } else { "" })?;
                    pod.state.fmt(f)?;
                    if let Some(problem) = &pod.problem {
                        write!(f, " ({problem})")?;
                    }
                    if let Some(scheduling) = pod.scheduling.as_ref().filter(|_| pod.deletion.is_none()) {
                        write_scheduling(f, scheduling)?;
                    }
                    if let Some(deletion) = &pod.deletion {
                        write!(f, ", deleted next: {deletion}")?;
                    }
                }
                if let (Some(failure), true) = (failure, self.is_managed && self.verdict == Verdict::Keep) {
                    let stays = self.pods.iter().any(|pod| pod.deletion.is_none() && pod.state != PodState::Deleting);
                    let what =
                        if stays { "it stays, but no new pod would be created" } else { "no new pod is created" };
                    write!(f, "; misscheduled: {what}: {failure}")?;
                }
                if let Some(creation) = self.creation {
                    f.write_str("; ")?;
                    self.write_creation(f, creation)?;
                }
            }
            (true, Some(failure)) => {
                let known = if self.pods_are_known { "no pod" } else { "no pod should run" };
                write!(f, "{known}: {failure}")?;
                let remedies: Vec<_> = self.remedies.iter().map(ToString::to_string).collect();
                match remedies.split_last() {
                    Some((only, [])) => write!(f, "; it would run with {only}")?,
                    Some((last, others)) => write!(f, "; it would run with {} and {last}", others.join(", "))?,
                    None => {}
                }
            }
            (true, None) => match self.creation {
                Some(creation) => self.write_creation(f, creation)?,
                None if !self.is_managed => f.write_str("no pod, and none is created")?,
                None if !self.pods_are_known => f.write_str("a pod should run here; whether one does is not known")?,
                None if self.backoff.is_some() => f.write_str("no pod: the API server refused to create one")?,
                None => f.write_str("no pod yet; one should run here")?,
            },
        }
        if self.is_virtual {
            f.write_str("; the node is virtual: as a rule daemon pods do not run there")?;
        }
        for pod in &self.ended_pods {
            write!(f, "; pod {pod} has ended and does not count, though its deletion is not over: see its finalizers")?;
        }
        if self.is_managed && self.verdict == Verdict::Run {
            for taint in &self.tolerated_automatically {
                write!(f, "; {}, which daemon pods tolerate automatically", of_taint(taint))?;
            }
        }
        // Only on nodes that have a pod or should have one.
        if let Some(rollout) = self.rollout.as_ref().filter(|_| self.verdict == Verdict::Run || !self.pods.is_empty()) {
            rollout.fmt(f)?;
        }
        match self.backoff {
            Some(backoff) if self.pods.is_empty() => write!(f, "; next attempt in {}", words(backoff))?,
            Some(backoff) => write!(f, "; back-off: a failed pod stays for {} more", words(backoff))?,
            None => {}
        }
        // A single failure is not a series.
        for failures in self.failures.iter().filter(|failures| failures.count > 1) {
            write!(f, "; {failures}")?;
        }
        Ok(())
    }
}

/// Says what the scheduler would say now, where that is not what it has said.
fn write_scheduling(f: &mut fmt::Formatter<'_>, scheduling: &SchedulingExplanation) -> fmt::Result {
    match scheduling.agreement {
        Some(Agreement::Same | Agreement::NotKnown) => Ok(()),
        Some(Agreement::FitsNow) => f.write_str("; by the facts given it would fit now"),
        _ if scheduling.feasibility.verdict == SchedulingVerdict::OtherScheduler => {
            f.write_str("; left to another scheduler")
        }
        _ if scheduling.feasibility.verdict != SchedulingVerdict::Fits => {
            write!(f, "; by the facts given: {}", scheduling.reasons())
        }
        _ if scheduling.feasibility.unknown.is_empty() => f.write_str("; by the facts given it fits"),
        _ => Ok(()),
    }
}

impl NodeExplanation {
    /// Says what becomes of the pod that is created next, unless it fits.
    fn write_creation(&self, f: &mut fmt::Formatter<'_>, reason: CreateReason) -> fmt::Result {
        if self.is_refused {
            return write!(f, "a pod is wanted next: {reason}; admission refuses it");
        }
        write!(f, "a pod is created next: {reason}")?;
        if let Some(resources) = self.resources.as_ref().filter(|resources| !resources.is_empty()) {
            write!(f, "; it requests what is set for {resources}")?;
        }
        let Some(new) = &self.new_pod else { return Ok(()) };
        let victims = new.feasibility.preempts().len();
        if new.is_refused() {
            let waits = new.feasibility.unknown.iter().any(UnknownFact::is_awaited);
            write!(
                f,
                "; it would stay Pending{}: {}",
                if waits { " until others come or go" } else { "" },
                new.reasons()
            )
        } else if victims > 0 {
            write!(f, "; it would take the place of {victims} pod{}", if victims == 1 { "" } else { "s" })
        } else {
            Ok(())
        }
    }
}

/// Describes a node with this taint.
fn of_taint(taint: &Taint) -> String {
    if taint.is_cordon() {
        format!("the node is cordoned ({taint})")
    } else {
        format!("the node has the taint {taint}")
    }
}

impl fmt::Display for NodeFailures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.count {
            1 => f.write_str("failed once")?,
            count => write!(f, "failed {count} times in a row")?,
        }
        if self.reason.is_empty() { Ok(()) } else { write!(f, " ({})", self.reason) }
    }
}

/// Why the node is not updated; each reason follows a semicolon.
impl fmt::Display for NodeRollout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_excluded {
            f.write_str("; the node is away and excluded from updates")?;
        }
        if !self.is_selected {
            f.write_str(
                "; the policy does not select the node for updates: a pod stays as it is, and one created later has the \
                 older template while that is in use",
            )?;
        }
        match (&self.failure, &self.doubt) {
            (Some(reason), _) => write!(f, "; the current template fails here ({reason})"),
            (None, Some(reason)) => write!(f, "; it is doubtful whether the current template works here ({reason})"),
            (None, None) => Ok(()),
        }
    }
}

impl fmt::Display for PodState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Deleting => f.write_str("being deleted"),
            Self::Succeeded => f.write_str("completed"),
            Self::Failed => f.write_str("failed"),
            Self::Pending => f.write_str("pending"),
            Self::NotReady => f.write_str("not ready"),
            Self::Ready { available_after: Some(after) } => {
                write!(f, "ready, available in {}{}", if f.alternate() { "up to " } else { "" }, words(*after))
            }
            Self::Ready { available_after: None } => f.write_str("ready, not yet available"),
            Self::Available => f.write_str("available"),
        }
    }
}

impl fmt::Display for ClaimReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Adopted => f.write_str("adopted: its labels match the selector, and it has no controller"),
            Self::Released => f.write_str("released: its labels no longer match the selector"),
            Self::BeingDeleted => f.write_str("not adopted, though its labels match: it is being deleted"),
            Self::Predecessor => {
                f.write_str("not adopted, though its labels match: a deleted DaemonSet of the same name controls it")
            }
            Self::OtherController { kind, name } => {
                write!(f, "not adopted, though its labels match: {kind} {name} controls it")
            }
        }
    }
}

fn waits(blocked_by: &[Blocker]) -> String {
    match blocked_by.len() {
        1 => "1 node".to_owned(),
        count => format!("{count} nodes"),
    }
}

impl fmt::Display for UpdateState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nodes = |old: &usize| format!("{old} node{} with an outdated pod", if *old == 1 { "" } else { "s" });
        match self {
            Self::None => f.write_str("none, the DaemonSet is left alone"),
            Self::Deleting { blocked_by } => {
                f.write_str("the DaemonSet is being deleted")?;
                if blocked_by.is_empty() { Ok(()) } else { write!(f, ", and waits for {}", waits(blocked_by)) }
            }
            Self::Unknown { missing } => write!(f, "not known, because the input has no {missing}"),
            Self::Done => f.write_str("no pod is outdated"),
            Self::OnDelete { old } => {
                write!(f, "{}: OnDelete replaces a pod only after kubectl delete pod removed it", nodes(old))
            }
            Self::Moving { old } => write!(f, "{}: the update is in progress", nodes(old)),
            Self::Unobserved { old } => write!(f, "{}: waiting for the effects of the last plan to show", nodes(old)),
            Self::AfterRepairs { old } => {
                write!(f, "{}: missing, failed and surplus pods come first, then the others", nodes(old))
            }
            Self::Held { old: 0, phase } => phase.fmt(f),
            Self::Held { old, phase } => write!(f, "{}: {phase}", nodes(old)),
            Self::Waiting { old, by_group: true, blocked_by, .. } => {
                write!(f, "{}: waits for {}, whose group comes first", nodes(old), waits(blocked_by))
            }
            Self::Waiting { old, limit, blocked_by, .. } => {
                let waits = waits(blocked_by);
                write!(f, "{}: waits for {waits}; at most {limit} may be unavailable or surge at a time", nodes(old))
            }
        }
    }
}

impl fmt::Display for Blocker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.cause {
            BlockerCause::NoPod => f.write_str("no pod")?,
            BlockerCause::SeveralPods => f.write_str("several pods")?,
            BlockerCause::Away => f.write_str("away, so that its pod does not count as available")?,
            BlockerCause::PortTaken { pod, port, held_by } => write!(
                f,
                "pod {pod} waits for port {port} of the node, which {held_by} keeps until {pod} is available: it never \
                 starts; set maxSurge to 0 and maxUnavailable to 1 or more"
            )?,
            BlockerCause::Pod { pod, state, problem, lasts } => {
                match (lasts, state) {
                    (None, _) => write!(f, "pod {pod} is {state}")?,
                    (Some(lasts), PodState::Deleting) => {
                        write!(f, "pod {pod} has been terminating for {}", words(*lasts))?;
                    }
                    (Some(lasts), _) => write!(f, "pod {pod} has been {state} for {}", words(*lasts))?,
                }
                if let Some(problem) = problem {
                    write!(f, " ({problem})")?;
                }
            }
        }
        match &self.node_taint {
            Some(taint) if taint.stops_pods() => {
                let state = if taint.key == UNREACHABLE_TAINT { "does not report" } else { "is not ready" };
                write!(f, ", and the node {state}")?;
                taint.added.map_or(Ok(()), |added| write!(f, " since {added}"))?;
                write!(f, " ({taint})")
            }
            Some(taint) => write!(f, ", and {}", of_taint(taint)),
            None => Ok(()),
        }
    }
}
