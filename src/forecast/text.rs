//! The text form of forecasts.

use std::fmt;

use crate::forecast::{Forecast, Outcome, StuckCause};
use crate::{policy::RolloutPhase, scheduling::UnknownFact, util::duration::words};

/// The outcome, and the fewest nodes with an available pod until then.
impl fmt::Display for Forecast {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let after = words(self.after);
        match self.outcome {
            Outcome::Done => match (self.after.is_zero() && self.waves.is_empty(), self.unknown.is_empty()) {
                (true, true) => f.write_str("done already")?,
                (true, false) => f.write_str("done now, but whether it stays so is not known")?,
                (false, true) => write!(f, "done after {after}")?,
                (false, false) => write!(f, "done after {after} at best, as not everything is known")?,
            },
            Outcome::Waiting => write!(f, "done after {after} at the earliest, as it waits for others")?,
            Outcome::Stuck => {
                let nodes = match self.stuck.len() {
                    1 => "1 node".to_owned(),
                    count => format!("{count} nodes"),
                };
                write!(f, "stuck after {after}: {nodes} not converged")?;
                self.write_phase(f)?;
                if self.unknown.iter().any(|fact| matches!(fact, UnknownFact::PriorityClass { .. })) {
                    f.write_str(", unless its priority, which is not known, takes the place of others")?;
                }
            }
            Outcome::Held => {
                let phase = self.rollout.as_ref().map(|rollout| format!(": {}", rollout.phase)).unwrap_or_default();
                write!(f, "held after {after}{phase}")?;
            }
            Outcome::OnDelete => {
                let when = if self.after.is_zero() { String::new() } else { format!(" after {after}") };
                let nodes = self.stuck.len();
                let s = if nodes == 1 { "" } else { "s" };
                write!(
                    f,
                    "nothing more happens by itself{when}: {nodes} node{s} keep{} an outdated pod",
                    if nodes == 1 { "s" } else { "" }
                )?;
            }
            Outcome::RolledBack => write!(f, "fails, and is rolled back after {after}")?,
            Outcome::Restless => write!(f, "never settles: its steps repeat without end")?,
            Outcome::Unfinished => {
                write!(f, "not done within the horizon: the last change comes after {after}")?;
                self.write_phase(f)?;
            }
            Outcome::Unknown => {
                let missing = self.missing.map(|fact| format!(", because the input has no {fact}"));
                return write!(f, "not known{}", missing.unwrap_or_default());
            }
        }
        if self.desired == 0 {
            return f.write_str("; no node should run a pod");
        }
        write!(f, "; at least {} of {} nodes have an available pod at any time", self.lowest_available, self.desired)
    }
}

impl Forecast {
    /// What the rollout policy waits for in the end, after a semicolon.
    fn write_phase(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let phase = self.rollout.as_ref().map(|rollout| &rollout.phase);
        let waits = |phase: &&RolloutPhase| phase.holds() || matches!(phase, RolloutPhase::CanaryStarting { .. });
        phase.filter(waits).map_or(Ok(()), |phase| write!(f, "; {phase}"))
    }
}

impl fmt::Display for StuckCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NodeNotReady { taint } => {
                write!(f, "the node is not ready ({taint}): no pod starts or stops there")
            }
            Self::PortTaken { port } => write!(
                f,
                "the new pod waits for port {port} of the node, which the old pod keeps until the new one is available: set \
                 maxSurge to 0 and maxUnavailable to 1 or more"
            ),
            Self::Unschedulable { reasons, .. } => write!(f, "the pod stays Pending: {}", reasons.join(", ")),
            Self::NotCreated { plugin, message } => write!(f, "admission refuses the new pod ({plugin}): {message}"),
            Self::OnDelete => {
                f.write_str("an outdated pod, which OnDelete replaces only once kubectl delete pod removed it")
            }
            Self::PodNeverStarts => f.write_str("the new pod is assumed never to start"),
            Self::PodStaysUnready { pod } => write!(f, "pod {pod} has been unavailable for too long"),
            Self::PodStaysInDeletion { pod } => write!(f, "pod {pod} has been terminating for too long"),
            Self::NoPod => f.write_str("no pod is created"),
            Self::WaitsForOthers => f.write_str("an outdated pod that the update does not reach"),
        }
    }
}
