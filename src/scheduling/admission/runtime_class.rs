//! The plugin RuntimeClass: overhead, node selector and tolerations of the RuntimeClass.

use super::{AdmissionChange, AdmissionRefusal, Admitted, Checked, PodAdmission, UnknownFact};
use crate::model::{PodSpec, RuntimeClass, Toleration, TolerationOperator};

const PLUGIN: &str = "RuntimeClass";

fn class_of<'a>(admission: &PodAdmission<'a>, spec: &PodSpec) -> Option<&'a RuntimeClass> {
    admission.objects.runtime_classes.get(&spec.runtime_class)
}

/// Whether the RuntimeClasses of the cluster are not known.
fn are_unknown(admission: &PodAdmission<'_>) -> bool {
    admission.objects.runtime_classes.is_empty() && !admission.objects.is_complete
}

pub(super) fn mutate(admission: &PodAdmission<'_>, admitted: &mut Admitted) -> Checked {
    let refuse = |reason: String| Err(AdmissionRefusal::mutating(PLUGIN, reason));
    let spec = &mut admitted.spec;
    if spec.runtime_class.is_empty() {
        return Ok(());
    }
    if are_unknown(admission) {
        admitted.unknown.push(UnknownFact::RuntimeClass { name: spec.runtime_class.clone() });
        return Ok(());
    }
    let Some(class) = class_of(admission, spec) else {
        return refuse(format!("pod rejected: RuntimeClass {:?} not found", spec.runtime_class.as_str()));
    };
    if !class.overhead.is_empty() {
        if !spec.overhead.is_empty() && spec.overhead != class.overhead {
            return refuse("pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead".into());
        }
        if spec.overhead.is_empty() {
            let amounts = class.overhead.iter().map(|(resource, amount)| format!("{resource} {amount}"));
            let amounts = amounts.collect::<Vec<_>>().join(", ");
            admitted.changes.push(AdmissionChange::Overhead { amounts });
        }
        spec.overhead.clone_from(&class.overhead);
    }
    let mut added = Vec::new();
    for (key, value) in &class.node_selector {
        match spec.node_selector.get_text(key) {
            Some(own) if own == value => {}
            Some(own) => {
                return refuse(format!(
                    "conflict: runtimeClass.scheduling.nodeSelector[{key}] = {value}; pod.spec.nodeSelector[{key}] = {own}"
                ));
            }
            None => {
                spec.node_selector.insert(key.clone(), value.clone());
                added.push(format!("{key}={value}"));
            }
        }
    }
    if !added.is_empty() {
        admitted.changes.push(AdmissionChange::NodeSelector { plugin: PLUGIN, labels: added.join(",") });
    }
    if !class.tolerations.is_empty() || !class.node_selector.is_empty() {
        let before = spec.tolerations.clone();
        spec.tolerations = merged(&before, &class.tolerations);
        let count = spec.tolerations.iter().filter(|toleration| !before.contains(toleration)).count();
        if count > 0 {
            admitted.changes.push(AdmissionChange::Tolerations { count });
        }
    }
    Ok(())
}

pub(super) fn validate(admission: &PodAdmission<'_>, spec: &PodSpec) -> Checked {
    if are_unknown(admission) {
        return Ok(());
    }
    // A class that has an overhead has set it.
    let has_overhead = class_of(admission, spec).is_some_and(|class| !class.overhead.is_empty());
    if has_overhead || spec.overhead.is_empty() {
        return Ok(());
    }
    let reason = "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead";
    Err(AdmissionRefusal::validating(PLUGIN, vec![reason.into()]))
}

/// Puts tolerations together and leaves out those that another one covers.
fn merged(own: &[Toleration], more: &[Toleration]) -> Vec<Toleration> {
    let all: Vec<_> = own.iter().chain(more).collect();
    let mut merged: Vec<Toleration> = Vec::new();
    for (index, toleration) in all.iter().enumerate() {
        let mut later = all.iter().skip(index);
        let is_covered = merged.iter().any(|other| covers(other, toleration))
            || later.any(|other| other != toleration && covers(other, toleration));
        if !is_covered {
            merged.push((*toleration).clone());
        }
    }
    merged
}

/// Whether a toleration tolerates all that another one does.
fn covers(one: &Toleration, other: &Toleration) -> bool {
    let all_keys = one.key.is_empty() && one.operator == TolerationOperator::Exists;
    one == other
        || (one.key == other.key || all_keys)
            && (one.effect == other.effect || one.effect.is_none())
            && match one.operator {
                TolerationOperator::Equal => other.operator == TolerationOperator::Equal && one.value == other.value,
                TolerationOperator::Exists => true,
                TolerationOperator::Lt | TolerationOperator::Gt | TolerationOperator::Unknown => false,
            }
}
