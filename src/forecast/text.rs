//! Forecasts in words.

use std::fmt;

use crate::forecast::{Forecast, Outcome, StuckCause};
use crate::util::duration::words;

/// How it ends, and how few pods are available on the way.
impl fmt::Display for Forecast {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let after = words(self.after);
        match self.outcome {
            Outcome::Done if self.after.is_zero() && self.waves.is_empty() => f.write_str("done already")?,
            Outcome::Done => write!(f, "done after {after}")?,
            Outcome::Stuck => {
                let nodes = match self.stuck.len() {
                    1 => "1 node".to_owned(),
                    count => format!("{count} nodes"),
                };
                write!(f, "stuck after {after}: {nodes} not as they should be")?;
            }
            Outcome::Held => {
                let phase = self.rollout.as_ref().map(|rollout| format!(": {}", rollout.phase)).unwrap_or_default();
                write!(f, "as far as it goes after {after}{phase}")?;
            }
            Outcome::RolledBack => write!(f, "it fails and is rolled back after {after}")?,
            Outcome::Restless => write!(f, "it never comes to rest: pods are created without end")?,
            Outcome::Unfinished => write!(f, "not done after {after}")?,
        }
        if self.desired == 0 {
            return f.write_str("; no node should run a pod");
        }
        write!(f, "; never fewer than {} of {} nodes have an available pod", self.lowest_available, self.desired)
    }
}

impl fmt::Display for StuckCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NodeNotReady { taint } => {
                write!(f, "the node is not ready ({taint}): no pod starts or stops there")
            }
            Self::PodNeverStarts => f.write_str("the new pod is one of those that are assumed never to start"),
            Self::PodStaysUnready { pod } => write!(f, "pod {pod} has not been ready for long"),
            Self::PodStaysInDeletion { pod } => write!(f, "pod {pod} has been asked to go for long"),
            Self::NoPod => f.write_str("no pod is created"),
            Self::WaitsForOthers => f.write_str("an older pod, whose turn does not come"),
        }
    }
}
