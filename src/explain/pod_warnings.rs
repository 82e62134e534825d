//! Pods that count as up to date though they are of another template, and pods that are evicted again and again.

use indexmap::IndexMap;

use crate::{
    adoption::{
        RevisionHistory,
        claim::claim_pod,
        revision_match::{RevisionLabels, RevisionMatch},
    },
    context::SyncMode,
    model::{Container, ControllerRevision, HASH_LABEL, Pod, PodSpec, Taint, TaintEffect, Text},
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
        let is_claimed = |pod: &&Pod| claim_pod(self.daemonset, pod).is_claimed();
        let stays = |pod: &&Pod| pod.node.name().is_some() && !pod.is_being_deleted();
        for pod in self.pods.iter().filter(is_claimed).filter(stays) {
            let hash = || pod.labels.get(HASH_LABEL).unwrap_or_default();
            match (labels.compare(&pod.labels, history.hash()), &pod.spec) {
                (RevisionMatch::Generation, _) if history.old().any(|(_, old)| old == *hash()) => {
                    by_generation.push(pod.name.clone());
                }
                (RevisionMatch::Hash, Some(spec)) => by_spec.entry(spec).or_default().push(pod.name.clone()),
                _ => {}
            }
        }
        let template = PodSpec::of(&self.daemonset.template);
        let mut warnings = template.map_or_else(|_| Vec::new(), |template| other_images(&template, by_spec, history));
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
        // The first toleration that matches counts; the controller replaces those that it adds itself.
        let time = |taint: &Taint| {
            let mut own = template.tolerations().iter().enumerate();
            let (index, toleration) = own.find(|(_, own)| own.tolerates(taint, false))?;
            seconds(index).filter(|_| !rules.is_added(toleration))
        };
        let evicted = self.nodes.iter().filter(|node| rules.verdict(node).should_run()).filter_map(|node| {
            let no_execute = node.taints.iter().filter(|taint| taint.effect == TaintEffect::NoExecute);
            let times = no_execute.filter_map(|taint| Some((time(taint)?, taint)));
            let (seconds, taint) = times.min_by_key(|(seconds, _)| *seconds)?;
            Some((node.name.clone(), taint.clone(), seconds))
        });
        let mut evicted: Vec<_> = evicted.collect();
        evicted.sort_by(|(a, ..), (b, ..)| a.cmp(b));
        let (_, taint, seconds) = evicted.first().cloned()?;
        Some(Warning::EvictedRepeatedly { nodes: evicted.into_iter().map(|(node, ..)| node).collect(), taint, seconds })
    }
}

/// Pods run other images than their template says if they were edited or labelled by hand or because of
/// duplicate revisions; or if admission rewrites images. The latter does so for all pods, so the images of an older revision
/// are evidence, or pods that run those of the template.
fn other_images(template: &PodSpec, by_spec: IndexMap<&PodSpec, Vec<Text>>, history: &RevisionHistory) -> Vec<Warning> {
    let some_run_the_template = by_spec.keys().any(|spec| other_image(spec, template).is_none());
    let mut warnings = Vec::new();
    for (spec, mut pods) in by_spec {
        let Some((found, expected)) = other_image(spec, template) else { continue };
        let runs = |revision: &ControllerRevision| {
            let old = revision.template().ok().and_then(|old| PodSpec::of(&old).ok());
            old.is_some_and(|old| other_image(spec, &old).is_none())
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
    both.find(|(found, expected)| !is_same_image(&found.image, &expected.image))
}

/// Whether two images may be the same: another registry may mirror it, and admission may pin its digest. An image without a
/// name is not known.
fn is_same_image(a: &str, b: &str) -> bool {
    let parts = |image: &str| {
        let (image, digest) =
            image.split_once('@').map_or((image, None), |(image, digest)| (image, Some(digest.to_owned())));
        let (name, tag) = match image.rsplit('/').next().unwrap_or(image).split_once(':') {
            Some((name, tag)) => (name.to_owned(), Some(tag.to_owned())),
            None => {
                (image.rsplit('/').next().unwrap_or(image).to_owned(), digest.is_none().then(|| "latest".to_owned()))
            }
        };
        (name, tag, digest)
    };
    let ((a, a_tag, a_digest), (b, b_tag, b_digest)) = (parts(a), parts(b));
    let may_equal = |a: &Option<String>, b: &Option<String>| a.is_none() || b.is_none() || a == b;
    a.is_empty() || b.is_empty() || (a == b && may_equal(&a_tag, &b_tag) && may_equal(&a_digest, &b_digest))
}

#[cfg(test)]
mod tests {
    use super::is_same_image;

    #[test]
    fn a_mirror_and_a_digest_are_the_same_image() {
        for (a, b, is_same) in [
            ("agent:1", "agent:1", true),
            ("agent:1", "agent:2", false),
            ("agent:1", "mirror:5000/x/agent:1", true),
            ("nginx", "docker.io/library/nginx:latest", true),
            ("agent:1", "agent:1@sha256:aa", true),
            ("agent:1", "agent@sha256:aa", true),
            ("agent@sha256:bb", "agent@sha256:aa", false),
            ("agent:1", "other:1", false),
            ("", "agent:1", true),
        ] {
            assert_eq!((is_same_image(a, b), is_same_image(b, a)), (is_same, is_same), "{a} {b}");
        }
    }
}
