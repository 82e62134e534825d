//! A claimed pod with the parts of its state that decisions use.

use crate::{
    adoption::revision_match::RevisionMatch,
    context::DaemonSetContext,
    model::{HASH_LABEL, Pod, Text},
};

/// The index of a pod in the snapshot or in the cluster's table.
pub(crate) type PodIndex = u32;

/// A claimed pod with the parts of its state that decisions use.
#[allow(clippy::struct_excessive_bools)] // independent facts
#[derive(Clone, Copy, Debug)]
pub(crate) struct ClaimedPod<'a> {
    pub(crate) index: PodIndex,
    pub(crate) pod: &'a Pod,
    /// Whether the pod is not being deleted.
    pub(crate) is_live: bool,
    pub(crate) is_terminal: bool,
    pub(crate) is_ready: bool,
    pub(crate) is_available: bool,
    pub(crate) revision: RevisionMatch,
}

impl<'a> ClaimedPod<'a> {
    /// `None` if the pod [does not count](is_counted).
    pub(crate) fn new(
        context: &DaemonSetContext<'_>,
        index: PodIndex,
        pod: &'a Pod,
        revision: RevisionMatch,
    ) -> Option<Self> {
        is_counted(pod).then(|| Self {
            index,
            pod,
            is_live: !pod.is_being_deleted(),
            is_terminal: pod.is_terminal(),
            is_ready: pod.is_ready(),
            is_available: context.is_available(pod),
            revision,
        })
    }

    /// The hash label; empty if the pod has none.
    pub(crate) fn hash(&self) -> Text {
        self.pod.labels.get(HASH_LABEL).map(Text::from).unwrap_or_default()
    }

    pub(crate) fn is_updated(&self) -> bool {
        self.revision.is_updated
    }

    /// Whether the pod is outdated and not being deleted.
    pub(crate) fn is_outdated(&self) -> bool {
        self.is_live && !self.revision.is_updated
    }
}

/// Whether a claimed pod counts for its node: pods that are terminal and being deleted do not.
pub(crate) fn is_counted(pod: &Pod) -> bool {
    !(pod.is_terminal() && pod.is_being_deleted())
}

/// The pods that are not being deleted.
pub(crate) fn live<'a, 'p>(pods: &'a [ClaimedPod<'p>]) -> impl Iterator<Item = ClaimedPod<'p>> + 'a {
    pods.iter().copied().filter(|claimed| claimed.is_live)
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
