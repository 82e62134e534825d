//! The older revision that nodes keep, or that a roll-back restores.

use super::candidates::{HashUsage, Progress};
use crate::{
    context::DaemonSetContext,
    model::{ControllerRevision, PodTemplate, Text},
};

/// The older revisions of a DaemonSet, with what is known of their pods.
pub(crate) struct OlderRevisions<'e> {
    progress: &'e Progress,
    context: &'e DaemonSetContext<'e>,
}

/// An older revision.
#[derive(Clone, Debug)]
pub(crate) struct OlderRevision<'e> {
    pub(crate) revision: &'e ControllerRevision,
    pub(crate) template: PodTemplate,
    pub(crate) hash: Text,
}

impl<'e> OlderRevisions<'e> {
    pub(crate) fn new(progress: &'e Progress, context: &'e DaemonSetContext<'e>) -> Self {
        Self { progress, context }
    }

    /// All that are not known to have failed, by ascending number.
    fn not_failed(&self) -> impl Iterator<Item = (&'e ControllerRevision, Text)> {
        let record = &self.context.rules.policy.record;
        self.context.rules.history.old().filter(|(_, hash)| record.failure_of(hash).is_none())
    }

    /// The one with the most available pods, then the most pods, then the highest number.
    fn most_used(&self) -> Option<(&'e ControllerRevision, Text, HashUsage)> {
        let in_use = self.not_failed().filter_map(|(revision, hash)| {
            let usage = *self.progress.old.get(&hash)?;
            Some((revision, hash, usage))
        });
        in_use.max_by_key(|(.., usage)| (usage.available, usage.all))
    }

    /// The best guess where no pod tells that a template works: the one whose update was done last, or else the newest one of
    /// which no pod is left, or else the newest one.
    pub(crate) fn guess(&self) -> Option<(&'e ControllerRevision, Text)> {
        let done = self.context.rules.policy.record.done.as_ref();
        let rank = |hash: &Text| (Some(hash) == done, !self.progress.old.contains_key(hash));
        self.not_failed().max_by_key(|(_, hash)| rank(hash))
    }

    /// Whether no pod of an older template works, while the current template does.
    pub(crate) fn is_broken(&self) -> bool {
        let Progress { old, .. } = self.progress;
        let is_broken = |usage: &HashUsage| usage.available == 0 && usage.broken == usage.all;
        let works = self.progress.available().next().is_some();
        works && !old.is_empty() && old.values().all(is_broken)
    }

    /// The one that nodes without a pod get while the update has not reached them; `is_failing` says that the current one
    /// fails, or may fail. `None` if its template cannot be read, or if the current one is to be taken.
    pub(crate) fn to_keep(&self, is_failing: bool) -> Option<OlderRevision<'e>> {
        if self.is_broken() {
            return None;
        }
        let in_use = self.most_used().map(|(revision, hash, _)| (revision, hash));
        // If all pods are gone, all templates in use failed, or the one that is left fails.
        let is_guessed = self.progress.with_pods == 0 || self.all_failed() || is_failing;
        read(in_use.or_else(|| self.guess().filter(|_| is_guessed))?)
    }

    /// The one that a roll-back restores: the one whose update was done last, or else one with available pods, or the best
    /// guess where no node here has a pod of any.
    pub(crate) fn to_restore(&self) -> Option<OlderRevision<'e>> {
        let done = self.context.rules.policy.record.done.as_ref();
        let proven = self.not_failed().find(|(_, hash)| Some(hash) == done);
        let works = || {
            let (revision, hash, usage) = self.most_used()?;
            (usage.available > 0).then_some((revision, hash))
        };
        let is_guessed = self.progress.old_here == 0 || self.all_failed();
        read(proven.or_else(works).or_else(|| self.guess().filter(|_| is_guessed))?)
    }

    /// Whether pods of older templates are left, all of templates that are known to have failed.
    fn all_failed(&self) -> bool {
        let (old, record) = (&self.progress.old, &self.context.rules.policy.record);
        !old.is_empty() && old.keys().all(|hash| record.failure_of(hash).is_some())
    }
}

fn read((revision, hash): (&ControllerRevision, Text)) -> Option<OlderRevision<'_>> {
    Some(OlderRevision { revision, template: revision.template().ok()?, hash })
}
