//! The plugin Priority: the priority and the preemption policy of the PriorityClass.

use super::{AdmissionChange, AdmissionRefusal, Admitted, Checked, PodAdmission, UnknownFact};
use crate::model::{PreemptionPolicy, PriorityClass};

/// The classes that the API server creates, with their priorities.
const SYSTEM_CLASSES: [(&str, i32); 2] =
    [("system-cluster-critical", 2_000_000_000), ("system-node-critical", 2_000_001_000)];

pub(super) fn mutate(admission: &PodAdmission<'_>, admitted: &mut Admitted) -> Checked {
    let spec = &mut admitted.spec;
    let refuse = |reason: String| Err(AdmissionRefusal::mutating("Priority", reason));
    let classes = &admission.objects.priority_classes;
    let (value, policy) = if spec.priority_class.is_empty() {
        // Of several default classes the one with the lowest priority counts.
        let default = classes.values().filter(|class| class.is_global_default).min_by_key(|class| class.value);
        if let Some(class) = default {
            spec.priority_class = class.name.clone();
        }
        default.map(of_class).unwrap_or_default()
    } else if let Some(class) = classes.get(&spec.priority_class) {
        of_class(class)
    } else if let Some((_, value)) = SYSTEM_CLASSES.iter().find(|(name, _)| spec.priority_class == **name) {
        (*value, PreemptionPolicy::default())
    } else if classes.is_empty() && !admission.objects.is_complete {
        admitted.unknown.push(UnknownFact::PriorityClass { name: spec.priority_class.clone() });
        return Ok(());
    } else {
        return refuse(format!("no PriorityClass with name {} was found", spec.priority_class));
    };
    if let Some(given) = spec.priority.filter(|given| *given != value) {
        return refuse(format!(
            "the integer value of priority ({given}) must not be provided in pod spec; priority admission controller computed \
             {value} from the given PriorityClass name"
        ));
    }
    if let Some(given) = spec.preemption_policy.filter(|given| *given != policy) {
        return refuse(format!(
            "the string value of PreemptionPolicy ({given:?}) must not be provided in pod spec; priority admission controller \
             computed {policy:?} from the given PriorityClass name"
        ));
    }
    if value != 0 && spec.priority.is_none() {
        admitted.changes.push(AdmissionChange::Priority { value });
    }
    (spec.priority, spec.preemption_policy) = (Some(value), Some(policy));
    Ok(())
}

fn of_class(class: &PriorityClass) -> (i32, PreemptionPolicy) {
    (class.value, class.preemption_policy)
}
