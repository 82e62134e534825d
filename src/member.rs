//! A claimed pod as its node's cell sees it.

use crate::model::{DaemonSet, HASH_LABEL, Labels, Pod, TEMPLATE_GENERATION_LABEL, Text};

/// The labels that tie a pod to a template.
#[derive(Clone, Debug)]
pub(crate) struct TemplateLabels {
    hash_key: Text,
    generation_key: Text,
    generation: Option<Text>,
}

impl TemplateLabels {
    pub(crate) fn of(daemonset: &DaemonSet) -> Self {
        Self {
            hash_key: HASH_LABEL.into(),
            generation_key: TEMPLATE_GENERATION_LABEL.into(),
            generation: daemonset.template_generation().map(|generation| generation.to_string().into()),
        }
    }

    /// What the labels of a pod say, if up-to-date ones carry `hash`.
    pub(crate) fn origin(&self, labels: &Labels, hash: &Text) -> Origin {
        let has_current_hash = labels.get_text(&self.hash_key) == Some(hash);
        let has_current_generation = |current: &Text| labels.get_text(&self.generation_key) == Some(current);
        Origin {
            has_current_hash,
            is_updated: has_current_hash || self.generation.as_ref().is_some_and(has_current_generation),
        }
    }
}

/// Where a pod is found again: its place in the snapshot or in the cluster.
pub(crate) type PodIndex = u32;

/// A claimed pod, its place, and what of its state decides.
#[allow(clippy::struct_excessive_bools)] // each is asked for on its own
#[derive(Clone, Copy, Debug)]
pub(crate) struct Member<'a> {
    pub(crate) index: PodIndex,
    pub(crate) pod: &'a Pod,
    /// Whether it is not being deleted.
    pub(crate) is_live: bool,
    pub(crate) is_terminal: bool,
    pub(crate) is_ready: bool,
    pub(crate) is_available: bool,
    pub(crate) origin: Origin,
}

impl Member<'_> {
    /// The label that ties it to its revision; empty if it has none.
    pub(crate) fn hash(&self) -> Text {
        self.pod.labels.get(HASH_LABEL).map(Text::from).unwrap_or_default()
    }

    pub(crate) fn is_updated(&self) -> bool {
        self.origin.is_updated
    }

    /// Whether it is not being deleted and of an older template.
    pub(crate) fn is_old(&self) -> bool {
        self.is_live && !self.origin.is_updated
    }
}

/// Whether a pod is of the current template, as its labels say.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin {
    /// By the hash.
    pub(crate) has_current_hash: bool,
    /// By the hash or by the template's generation.
    pub(crate) is_updated: bool,
}
