//! The pods that a snapshot's current template asks for, before they are created: they differ where they request something else.

use crate::{
    affinity::{NodeResources, PodBlueprint},
    model::{Pod, Resource, Text, well_known::PROJECT_NODE_SELECTOR_ANNOTATION},
    planner::Snapshot,
    scheduling::{AdmissionRefusal, Admitted, ClusterState, PodAdmission, QuotaLedger, SchedulingObjects},
    selector::PerNode,
};

impl<'a> Snapshot<'a> {
    /// Returns the admission plugins of the cluster.
    pub(crate) fn admission<'s>(&self, objects: &'s SchedulingObjects) -> PodAdmission<'s>
    where
        'a: 's,
    {
        let admission = PodAdmission::new(self.namespace, objects);
        let default = self.settings.and_then(|settings| settings.project_node_selector.as_ref());
        let is_project = self.namespace.annotations.contains_key(PROJECT_NODE_SELECTOR_ANNOTATION);
        // Only OpenShift has such an object.
        let is_open_shift = is_project || objects.has_scheduler_config();
        match default {
            None if !is_open_shift => admission,
            default => admission.open_shift(default.map(ToString::to_string).unwrap_or_default()),
        }
    }

    /// Returns pods by the current template for the nodes of the snapshot after admission, each with what admission made of it.
    pub(crate) fn admitted_pods(&self, objects: &SchedulingObjects) -> Option<PerNode<(Pod, Admitted)>> {
        let resources = self.settings.map(|settings| settings.resources_for(self.daemonset, self.nodes));
        self.admitted_pods_with(resources.unwrap_or_default(), self.history().hash(), objects)
    }

    /// Returns the same for any nodes, with the hash of the template.
    pub(crate) fn admitted_pods_anywhere(
        &self,
        hash: &Text,
        objects: &SchedulingObjects,
    ) -> Option<PerNode<(Pod, Admitted)>> {
        let resources = self.settings.into_iter().flat_map(|settings| settings.resources_of(self.daemonset));
        self.admitted_pods_with(resources, hash, objects)
    }

    /// Returns the room in the quotas of the namespace once pods are gone whose deletion has begun, and those that other DaemonSets
    /// delete next.
    pub(crate) fn quotas_after_deletions<'s>(&self, state: &'s ClusterState<'_>) -> QuotaLedger<'s>
    where
        'a: 's,
    {
        let mut quotas = QuotaLedger::new(self.admission(state.objects()));
        let key = self.daemonset.key();
        for other in state.coming_in_namespace_of(&key) {
            other.give_room(&mut quotas);
        }
        let going = self.pods.iter().filter(|pod| pod.namespace == self.namespace.name && pod.is_being_deleted());
        for pod in going.filter(|pod| !pod.is_terminal()) {
            quotas.give(&quotas.use_of(&pod.spec.clone().unwrap_or_default()));
        }
        quotas
    }

    fn admitted_pods_with<'r>(
        &self,
        resources: impl IntoIterator<Item = &'r NodeResources>,
        hash: &Text,
        objects: &SchedulingObjects,
    ) -> Option<PerNode<(Pod, Admitted)>> {
        let blueprints = PodBlueprint::new(self.daemonset, &self.daemonset.template, hash).on_nodes(resources);
        let admission = self.admission(objects);
        blueprints.try_map(|blueprint| {
            let mut pod = blueprint.pod("", "");
            let mut admitted = admission.admit(pod.spec.as_deref()?);
            admitted.refusal = AdmissionRefusal::of_namespace(self.namespace).or(admitted.refusal);
            pod.spec = Some(admitted.spec.clone().into());
            Some((pod, admitted))
        })
    }
}
