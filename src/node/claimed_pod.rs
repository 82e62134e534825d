//! A claimed pod with the parts of its state that decisions use.

use crate::{
    adoption::revision_match::RevisionMatch,
    context::DaemonSetContext,
    model::{HASH_LABEL, Pod, Text},
};

/// The index of a pod in the snapshot or in the cluster's table.
pub(crate) type PodIndex = u32;

/// A claimed pod with the parts of its state that decisions use.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ClaimedPod<'a> {
    pub(crate) index: PodIndex,
    pub(crate) pod: &'a Pod,
    pub(crate) lifecycle: Lifecycle,
    pub(crate) availability: Availability,
    pub(crate) revision: RevisionMatch,
}

/// Whether a pod stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lifecycle {
    /// It has not ended and is not being deleted.
    Running,
    /// Its phase is `Succeeded` or `Failed`.
    Ended,
    /// It has not ended and is being deleted.
    Deleting,
}

/// Whether a pod does its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Availability {
    NotReady,
    /// Ready, but not yet for `minReadySeconds`.
    Ready,
    /// Ready; without a clock, for how long is unknown.
    Unknown,
    /// Ready for `minReadySeconds`.
    Available,
}

impl Availability {
    pub(crate) fn is_ready(self) -> bool {
        self != Self::NotReady
    }

    pub(crate) fn is_available(self) -> bool {
        self == Self::Available
    }
}

impl<'a> ClaimedPod<'a> {
    /// `None` if the pod [does not count](is_counted).
    pub(crate) fn new(
        context: &DaemonSetContext<'_>,
        index: PodIndex,
        pod: &'a Pod,
        revision: RevisionMatch,
    ) -> Option<Self> {
        let lifecycle = match (pod.is_terminal(), pod.is_being_deleted()) {
            (true, true) => return None,
            (true, false) => Lifecycle::Ended,
            (false, true) => Lifecycle::Deleting,
            (false, false) => Lifecycle::Running,
        };
        Some(Self { index, pod, lifecycle, availability: context.availability(pod), revision })
    }

    /// Whether the pod is not being deleted.
    pub(crate) fn is_live(&self) -> bool {
        self.lifecycle != Lifecycle::Deleting
    }

    /// Whether the pod has ended.
    pub(crate) fn is_terminal(&self) -> bool {
        self.lifecycle == Lifecycle::Ended
    }

    pub(crate) fn is_available(&self) -> bool {
        self.availability.is_available()
    }

    /// Whether the pod is known not to be available.
    pub(crate) fn is_unavailable(&self) -> bool {
        !matches!(self.availability, Availability::Available | Availability::Unknown)
    }

    /// The hash label; empty if the pod has none.
    pub(crate) fn hash(&self) -> Text {
        self.pod.labels.get(HASH_LABEL).map(Text::from).unwrap_or_default()
    }

    pub(crate) fn is_updated(&self) -> bool {
        self.revision != RevisionMatch::Outdated
    }

    /// Whether the pod is outdated and not being deleted.
    pub(crate) fn is_outdated(&self) -> bool {
        self.is_live() && !self.is_updated()
    }
}

/// Whether a claimed pod counts for its node: pods that are terminal and being deleted do not.
pub(crate) fn is_counted(pod: &Pod) -> bool {
    !(pod.is_terminal() && pod.is_being_deleted())
}

/// The pods that are not being deleted.
pub(crate) fn live<'a, 'p>(pods: &'a [ClaimedPod<'p>]) -> impl Iterator<Item = ClaimedPod<'p>> + 'a {
    pods.iter().copied().filter(ClaimedPod::is_live)
}

/// Sorts the pods of a node: bound ones first, then the oldest, then by name. Duplicates are removed.
#[inline]
pub(crate) fn sort(pods: &mut Vec<ClaimedPod<'_>>) {
    if pods.len() < 2 {
        return;
    }
    pods.sort_by(|a, b| {
        let key = |pod: &Pod| (!pod.node.is_bound(), pod.created);
        key(a.pod).cmp(&key(b.pod)).then_with(|| (&a.pod.name, a.index).cmp(&(&b.pod.name, b.index)))
    });
    pods.dedup_by(|a, b| a.pod.name == b.pod.name);
}
