//! A node of a simulation, its pods, and how it counts.

use oorandom::Rand64;

use crate::{
    forecast::{StuckCause, assumptions::rng},
    model::{Taint, Text},
    placement::Verdict,
    plan::{CreateReason, DeleteReason},
};

/// A node, which may be missing, and the DaemonSet's pods on it.
#[derive(Debug)]
pub(crate) struct SimulatedNode {
    pub(crate) verdict: Verdict,
    /// Whether the DaemonSet is being deleted, which ends when no pod is left.
    pub(crate) is_given_up: bool,
    pub(crate) exists: bool,
    /// A taint that keeps pods from starting and stopping on the node.
    pub(crate) taint: Option<Taint>,
    /// The pods that existed at the start and were not being deleted.
    pub(crate) before: Vec<Text>,
    pub(crate) pods: Vec<SimulatedPod>,
    /// Why a pod was last created here.
    pub(crate) creation: Option<CreateReason>,
    /// Why a pod was last deleted here.
    pub(crate) deletion: Option<DeleteReason>,
    pub(super) state: SimulatedState,
    /// Whether the node had an available pod at the start.
    pub(super) was_available: bool,
    /// The number of generators used so far.
    pub(super) draws: usize,
    /// The index of the node's open step.
    pub(super) step: Option<usize>,
}

/// The parts of a pod's state that the simulation uses.
#[allow(clippy::struct_excessive_bools)] // independent facts
#[derive(Clone, Debug)]
pub(crate) struct SimulatedPod {
    pub(crate) name: Text,
    pub(crate) is_new: bool,
    pub(crate) is_available: bool,
    pub(crate) is_being_deleted: bool,
    /// Whether the pod is assumed never to start.
    pub(crate) fails: bool,
    /// What keeps the pod from starting.
    pub(crate) waits_for: Option<StuckCause>,
}

/// How a node is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SimulatedState {
    /// No pod should run there.
    Aside,
    Unavailable,
    Old,
    New,
}

/// The number of nodes with an available outdated pod only, with an available updated pod, and without an available
/// pod, of those that should run a pod.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct StateCounts {
    pub(crate) old: usize,
    pub(crate) new: usize,
    pub(crate) unavailable: usize,
}

impl SimulatedNode {
    pub(super) fn current_state(&self) -> SimulatedState {
        let mut available = self.pods.iter().filter(|pod| pod.is_available && !pod.is_being_deleted);
        match (self.verdict, available.clone().any(|pod| pod.is_new)) {
            (Verdict::Keep | Verdict::Refuse, _) => SimulatedState::Aside,
            (Verdict::Run, true) => SimulatedState::New,
            (Verdict::Run, false) if available.next().is_some() => SimulatedState::Old,
            (Verdict::Run, false) => SimulatedState::Unavailable,
        }
    }

    pub(super) fn is_newly_unavailable(&self) -> bool {
        self.was_available && self.state == SimulatedState::Unavailable
    }

    /// Whether the node has converged: it has a pod, or none, as it should. A rollout does not wait for pods that leave a node
    /// that is not ready, if none comes there.
    pub(crate) fn is_settled(&self, must_be_new: bool) -> bool {
        match (&*self.pods, self.verdict) {
            (pods, _) if self.is_given_up => pods.is_empty(),
            (_, Verdict::Keep) if self.taint.is_some() => true,
            (pods, Verdict::Refuse) if self.taint.is_some() => pods.iter().all(|pod| pod.is_being_deleted),
            ([only], Verdict::Run) => only.is_available && !only.is_being_deleted && (only.is_new || !must_be_new),
            (pods, Verdict::Keep) => pods.iter().all(|pod| !pod.is_being_deleted),
            (pods, Verdict::Refuse) => pods.is_empty(),
            (_, Verdict::Run) => false,
        }
    }

    /// Whether pods stay in deletion for good.
    pub(crate) fn is_lost(&self) -> bool {
        self.taint.is_some() && self.pods.iter().any(|pod| pod.is_being_deleted)
    }

    pub(super) fn begin_deletion(&mut self, name: &Text) {
        self.pods.iter_mut().filter(|pod| pod.name == *name).for_each(|pod| pod.is_being_deleted = true);
    }

    pub(super) fn set_wait(&mut self, name: &Text, waits_for: Option<StuckCause>) {
        if let Some(pod) = self.pods.iter_mut().find(|pod| pod.name == *name) {
            pod.waits_for = waits_for;
        }
    }

    pub(super) fn remove_pod(&mut self, name: &Text) {
        self.pods.retain(|pod| pod.name != *name);
    }

    pub(super) fn draw(&mut self, seed: u64, node: &str) -> Rand64 {
        self.draws += 1;
        rng(seed, node, self.draws)
    }
}

impl StateCounts {
    pub(super) fn move_one(&mut self, from: SimulatedState, to: SimulatedState) {
        if let Some(count) = self.count(from) {
            *count -= 1;
        }
        if let Some(count) = self.count(to) {
            *count += 1;
        }
    }

    fn count(&mut self, state: SimulatedState) -> Option<&mut usize> {
        match state {
            SimulatedState::Aside => None,
            SimulatedState::Old => Some(&mut self.old),
            SimulatedState::New => Some(&mut self.new),
            SimulatedState::Unavailable => Some(&mut self.unavailable),
        }
    }
}

/// The final state of a node.
#[derive(Clone, Copy)]
pub(super) enum End {
    NoPod,
    /// A pod that existed at the start.
    Kept {
        is_new: bool,
    },
    /// A pod that was created later.
    NewPod,
}

impl End {
    pub(super) fn of(simulated: Option<&SimulatedNode>) -> Self {
        let Some(simulated) = simulated else { return Self::NoPod };
        let mut pods = simulated.pods.iter().filter(|pod| !pod.is_being_deleted);
        match (pods.clone().find(|pod| simulated.before.contains(&pod.name)), pods.next()) {
            (Some(kept), _) => Self::Kept { is_new: kept.is_new },
            (None, Some(_)) => Self::NewPod,
            (None, None) => Self::NoPod,
        }
    }
}
