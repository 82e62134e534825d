//! Pods that count as up to date though they are of another template, and pods that are evicted again and again.

use indexmap::IndexMap;

use crate::{
    adoption::{
        RevisionHistory,
        claim::claim_pod,
        revision_match::{RevisionLabels, RevisionMatch},
    },
    context::SyncMode,
    model::{Container, ControllerRevision, HASH_LABEL, PodSpec, Taint, TaintEffect, Text},
    plan::Warning,
    planner::Snapshot,
};

impl Snapshot<'_> {
    /// Returns the warnings about pods that count as up to date, as in Kubernetes, and are not, and about pods that are
    /// evicted again and again. An [explanation](Self::explain) has them, too; a plan does not, as they need a look at every
    /// pod and every node.
    ///
    /// ```
    /// use daemonplan::{Snapshot, model::{DaemonSet, Namespace}};
    /// let daemonset = DaemonSet::new("prod", "agent", [("app", "agent")])?;
    /// assert!(Snapshot::new(&daemonset, &[], &[], &Namespace::new("prod")).pod_warnings().is_empty());
    /// # Ok::<(), daemonplan::model::RequirementError>(())
    /// ```
    pub fn pod_warnings(&self) -> Vec<Warning> {
        self.pod_warnings_by(&self.history())
    }

    pub(super) fn pod_warnings_by(&self, history: &RevisionHistory) -> Vec<Warning> {
        if SyncMode::of(self.daemonset, self.namespace) != SyncMode::Reconcile {
            return Vec::new();
        }
        let labels = RevisionLabels::new(self.daemonset, history.is_given());
        let mut by_generation = Vec::new();
        // The pods that are up to date by their hash, by what they run.
        let mut by_spec = IndexMap::<&PodSpec, Vec<Text>>::new();
        let is_claimed = |pod: &&_| claim_pod(self.daemonset, pod).is_claimed();
        for pod in self.pods.iter().filter(is_claimed).filter(|pod| pod.node.name().is_some()) {
            let hash = || pod.labels.get(HASH_LABEL).unwrap_or_default();
            match (labels.compare(&pod.labels, history.hash()), &pod.spec) {
                (RevisionMatch::Generation, _) if history.old().any(|(_, old)| old == *hash()) => {
                    by_generation.push(pod.name.clone());
                }
                (RevisionMatch::Hash, Some(spec)) => by_spec.entry(spec).or_default().push(pod.name.clone()),
                _ => {}
            }
        }
        let mut warnings = other_images(&PodSpec::of(&self.daemonset.template), by_spec, history);
        if !by_generation.is_empty() {
            by_generation.sort_unstable();
            warnings.push(Warning::CountsByGeneration { pods: by_generation });
        }
        warnings.extend(self.evicted_repeatedly());
        warnings
    }

    fn evicted_repeatedly(&self) -> Option<Warning> {
        let template = &self.daemonset.template;
        let json = template.json().get("spec").and_then(|spec| spec.get("tolerations"));
        let seconds = |index: usize| json.and_then(|json| json.get(index)?.get("tolerationSeconds")?.as_i64());
        if !(0..template.tolerations().len()).any(|index| seconds(index).is_some()) {
            return None;
        }
        let rules = self.placement_rules();
        let time = |taint: &Taint| {
            let tolerations = template.tolerations().iter().enumerate();
            let mut times = tolerations.filter(|(_, own)| own.tolerates(taint, false)).map(|(index, _)| seconds(index));
            // One without a time tolerates it for good, as those that each daemon pod gets.
            let is_for_good = times.clone().any(|time| time.is_none()) || rules.tolerates_automatically(taint);
            if is_for_good { None } else { times.try_fold(i64::MAX, |least, time| Some(least.min(time?))) }
        };
        let evicted = self.nodes.iter().filter(|node| rules.verdict(node).should_run()).filter_map(|node| {
            let no_execute = node.taints.iter().filter(|taint| taint.effect == TaintEffect::NoExecute);
            let times = no_execute.filter_map(|taint| Some((time(taint).filter(|time| *time < i64::MAX)?, taint)));
            let (seconds, taint) = times.min_by_key(|(seconds, _)| *seconds)?;
            Some((node.name.clone(), taint.clone(), seconds))
        });
        let mut evicted: Vec<_> = evicted.collect();
        evicted.sort_by(|(a, ..), (b, ..)| a.cmp(b));
        let (_, taint, seconds) = evicted.first().cloned()?;
        Some(Warning::EvictedRepeatedly { nodes: evicted.into_iter().map(|(node, ..)| node).collect(), taint, seconds })
    }
}

/// Pods run other images than their template says if somebody changed that, or labelled them, by hand or because of
/// duplicate revisions; or if admission rewrites images. The latter does so for all pods, so the images of an older revision
/// are evidence, or pods that run those of the template.
fn other_images(template: &PodSpec, by_spec: IndexMap<&PodSpec, Vec<Text>>, history: &RevisionHistory) -> Vec<Warning> {
    let some_run_the_template = by_spec.keys().any(|spec| other_image(spec, template).is_none());
    let mut warnings = Vec::new();
    for (spec, mut pods) in by_spec {
        let Some((found, expected)) = other_image(spec, template) else { continue };
        let runs = |revision: &ControllerRevision| {
            revision.template().is_ok_and(|old| other_image(spec, &PodSpec::of(&old)).is_none())
        };
        let older = history.old().filter(|(revision, _)| runs(revision)).last();
        let revision = older.map(|(revision, _)| revision.name.clone());
        if revision.is_some() || some_run_the_template {
            pods.sort_unstable();
            let (image, expected) = (found.image.clone(), expected.image.clone());
            warnings.push(Warning::RunsOtherImage { pods, image, expected, revision });
        }
    }
    warnings.sort_by_cached_key(ToString::to_string);
    warnings
}

/// Returns the first container whose image is not that of the template, and the container of the template.
fn other_image<'a>(spec: &'a PodSpec, template: &'a PodSpec) -> Option<(&'a Container, &'a Container)> {
    let mut both = template.all_containers().filter_map(|expected| {
        let found = spec.all_containers().find(|container| container.name == expected.name)?;
        Some((found, expected))
    });
    both.find(|(found, expected)| {
        found.image != expected.image && !found.image.is_empty() && !expected.image.is_empty()
    })
}
