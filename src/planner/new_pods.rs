//! The pods that a snapshot's current template asks for, before they are created.

use crate::{
    affinity::PodBlueprint,
    model::{Pod, well_known::PROJECT_NODE_SELECTOR_ANNOTATION},
    planner::Snapshot,
    scheduling::{Admitted, PodAdmission, SchedulingObjects},
};

impl Snapshot<'_> {
    /// Returns a pod by the current template for no node in particular, before admission. `None` if the template cannot be
    /// read.
    pub(crate) fn new_pod(&self) -> Option<Pod> {
        let blueprint = PodBlueprint::new(self.daemonset, &self.daemonset.template, self.history().hash());
        Some(blueprint.pod("", "")).filter(|pod| pod.spec.is_some())
    }

    /// Returns the admission plugins of the cluster.
    pub(crate) fn admission<'s>(&'s self, objects: &'s SchedulingObjects) -> PodAdmission<'s> {
        let admission = PodAdmission::new(self.namespace, objects);
        let default = self.settings.and_then(|settings| settings.project_node_selector.as_ref());
        let is_project = self.namespace.annotations.contains_key(PROJECT_NODE_SELECTOR_ANNOTATION);
        match default {
            None if !is_project => admission,
            default => admission.open_shift(default.map(ToString::to_string).unwrap_or_default()),
        }
    }

    /// Returns a pod by the current template after admission, and what admission made of it.
    pub(crate) fn admitted_pod(&self, objects: &SchedulingObjects) -> Option<(Pod, Admitted)> {
        let mut pod = self.new_pod()?;
        let admitted = self.admission(objects).admit(pod.spec.as_deref()?);
        pod.spec = Some(admitted.spec.clone().into());
        Some((pod, admitted))
    }
}
