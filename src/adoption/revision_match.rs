//! Which pods carry the labels of the current revision.

use crate::model::{DaemonSet, HASH_LABEL, Labels, TEMPLATE_GENERATION_LABEL, Text};

/// The labels that tie a pod to a template.
#[derive(Clone, Debug)]
pub(crate) struct RevisionLabels {
    hash_key: Text,
    generation_key: Text,
    /// The DaemonSet's template generation, which the API server keeps for clients of older versions.
    generation: Option<Text>,
    /// What a pod is whose generation alone is the current one.
    of_generation: RevisionMatch,
}

/// Whether a pod's labels name the current revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RevisionMatch {
    /// The hash label is the current one. Without revisions the current hash is not known, so that the label of the
    /// template generation counts as well.
    Hash,
    /// Only the label of the template generation is the current one.
    Generation,
    /// Neither is.
    Outdated,
}

impl RevisionLabels {
    /// `hash_is_known` is false if no revisions were given.
    pub(crate) fn new(daemonset: &DaemonSet, hash_is_known: bool) -> Self {
        Self {
            of_generation: if hash_is_known { RevisionMatch::Generation } else { RevisionMatch::Hash },
            hash_key: HASH_LABEL.into(),
            generation_key: TEMPLATE_GENERATION_LABEL.into(),
            generation: daemonset.template_generation().map(|generation| generation.to_string().into()),
        }
    }

    /// Compares a pod's `labels` with the current revision, whose hash is `hash`.
    pub(crate) fn compare(&self, labels: &Labels, hash: &Text) -> RevisionMatch {
        let has_current_generation = |current: &Text| labels.get_text(&self.generation_key) == Some(current);
        if labels.get_text(&self.hash_key) == Some(hash) {
            RevisionMatch::Hash
        } else if self.generation.as_ref().is_some_and(has_current_generation) {
            self.of_generation
        } else {
            RevisionMatch::Outdated
        }
    }
}
