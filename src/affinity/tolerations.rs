//! The tolerations that the controller adds to every pod.

use serde_json::{Value, json};

use crate::model::{
    PodTemplate, TaintEffect, Text, Toleration, TolerationOperator,
    well_known::{
        DISK_PRESSURE_TAINT, MEMORY_PRESSURE_TAINT, NETWORK_UNAVAILABLE_TAINT, NOT_READY_TAINT, PID_PRESSURE_TAINT,
        UNREACHABLE_TAINT, UNSCHEDULABLE_TAINT,
    },
};

/// Returns the tolerations that every pod of a DaemonSet has, besides those of its template. `host_network` is the
/// template's `spec.hostNetwork`.
/// <https://kubernetes.io/docs/concepts/workloads/controllers/daemonset/#taints-and-tolerations>
///
/// ```
/// use daemonplan::{affinity::automatic_tolerations, model::{Taint, TaintEffect}};
/// let cordoned = Taint::new("node.kubernetes.io/unschedulable", "", TaintEffect::NoSchedule);
/// assert!(automatic_tolerations(false).any(|toleration| toleration.tolerates(&cordoned, false)));
/// ```
pub fn automatic_tolerations(host_network: bool) -> impl Iterator<Item = Toleration> {
    automatic(host_network).map(|(key, effect)| Toleration {
        key: key.into(),
        operator: TolerationOperator::Exists,
        value: Text::default(),
        effect: Some(effect),
    })
}

/// Returns the tolerations of a template's pods, as JSON: the template's, unknown fields included, with the [automatic
/// ones](automatic_tolerations).
///
/// ```
/// use daemonplan::{affinity::tolerations, model::{PodTemplate, Toleration}};
/// let template = PodTemplate::default().with_tolerations(vec![Toleration::new("gpu")]);
/// assert_eq!(tolerations(&template).as_array().unwrap().len(), 7);
/// ```
pub fn tolerations(template: &PodTemplate) -> Value {
    let own = template.json().get("spec").and_then(|spec| spec.get("tolerations"));
    with_automatic(own, template.host_network())
}

fn automatic(host_network: bool) -> impl Iterator<Item = (&'static str, TaintEffect)> {
    let always = [
        (NOT_READY_TAINT, TaintEffect::NoExecute),
        (UNREACHABLE_TAINT, TaintEffect::NoExecute),
        (DISK_PRESSURE_TAINT, TaintEffect::NoSchedule),
        (MEMORY_PRESSURE_TAINT, TaintEffect::NoSchedule),
        (PID_PRESSURE_TAINT, TaintEffect::NoSchedule),
        (UNSCHEDULABLE_TAINT, TaintEffect::NoSchedule),
    ];
    let with_host_network = host_network.then_some((NETWORK_UNAVAILABLE_TAINT, TaintEffect::NoSchedule));
    always.into_iter().chain(with_host_network)
}

/// Merges the automatic tolerations into `tolerations`: they replace equal ones or are appended.
fn with_automatic(tolerations: Option<&Value>, host_network: bool) -> Value {
    let mut all = tolerations.and_then(Value::as_array).cloned().unwrap_or_default();
    for (key, effect) in automatic(host_network) {
        let wanted = json!({"key": key, "operator": "Exists", "effect": effect});
        let is_same = |other: &Value| {
            let is_alike =
                |name| [other, &wanted].map(|toleration| toleration.get(name).and_then(Value::as_str).unwrap_or(""));
            ["key", "operator", "effect", "value"].into_iter().map(is_alike).all(|[theirs, ours]| theirs == ours)
        };
        let mut same = all.iter_mut().filter(|toleration| is_same(toleration)).peekable();
        if same.peek().is_some() {
            same.for_each(|toleration| *toleration = wanted.clone());
        } else {
            drop(same);
            all.push(wanted);
        }
    }
    Value::Array(all)
}
