//! The plugin LimitRanger: defaults for containers, and bounds for containers and pods.

use super::{AdmissionChange, AdmissionRefusal, Admitted, Checked, PodAdmission};
use crate::model::{Container, LimitRange, LimitRangeItem, PodSpec, Quantity, ResourceList, ResourceRequirements};

fn ranges<'a>(admission: &PodAdmission<'a>) -> Vec<&'a LimitRange> {
    let all = admission.objects.limit_ranges.values();
    let mut own: Vec<_> = all.filter(|range| range.namespace == admission.namespace.name).collect();
    own.sort_by(|a, b| a.name.cmp(&b.name));
    own
}

pub(super) fn mutate(admission: &PodAdmission<'_>, admitted: &mut Admitted) {
    for range in ranges(admission) {
        let mut set = Vec::new();
        let defaults = defaults(range);
        let spec = &mut admitted.spec;
        for (word, containers) in [("container", &mut spec.containers), ("init container", &mut spec.init_containers)] {
            for container in containers {
                set.extend(set_defaults(container, &defaults, word));
            }
        }
        if !set.is_empty() {
            admitted.changes.push(AdmissionChange::Defaults { set });
        }
    }
}

/// The defaults of a range; those of later items win.
fn defaults(range: &LimitRange) -> ResourceRequirements {
    let mut defaults = ResourceRequirements::default();
    for item in range.limits.iter().filter(|item| item.kind == "Container") {
        for (resource, amount) in &item.default_requests {
            defaults.requests.set(resource.clone(), *amount);
        }
        for (resource, amount) in &item.default_limits {
            defaults.limits.set(resource.clone(), *amount);
        }
    }
    defaults
}

/// Sets what a container lacks. Returns what was set, in the words of the annotation.
fn set_defaults(container: &mut Container, defaults: &ResourceRequirements, word: &str) -> Vec<String> {
    let name = &container.name;
    let own = &mut container.resources;
    let lists = [("request", &mut own.requests, &defaults.requests), ("limit", &mut own.limits, &defaults.limits)];
    let mut set = Vec::new();
    for (kind, own, defaults) in lists {
        let mut missing = Vec::new();
        for (resource, amount) in defaults {
            if !own.contains(resource) {
                own.set(resource.clone(), *amount);
                missing.push(resource.as_str());
            }
        }
        if !missing.is_empty() {
            set.push(format!("{} {kind} for {word} {name}", missing.join(", ")));
        }
    }
    set
}

pub(super) fn validate(admission: &PodAdmission<'_>, spec: &PodSpec) -> Checked {
    // The overhead does not count here.
    let own = PodSpec { overhead: ResourceList::default(), ..spec.clone() };
    for range in ranges(admission) {
        let mut reasons = Vec::new();
        for item in &range.limits {
            match item.kind.as_str() {
                "Container" => {
                    for container in spec.containers.iter().chain(&spec.init_containers) {
                        check(item, &container.resources.requests, &container.resources.limits, &mut reasons);
                    }
                }
                "Pod" => check(item, &own.requests(), &own.limits(), &mut reasons),
                _ => {}
            }
        }
        let mut distinct: Vec<String> = Vec::new();
        for reason in reasons {
            if !distinct.contains(&reason) {
                distinct.push(reason);
            }
        }
        if !distinct.is_empty() {
            return Err(AdmissionRefusal::validating("LimitRanger", distinct));
        }
    }
    Ok(())
}

/// Checks the bounds of an item of a range.
fn check(item: &LimitRangeItem, requests: &ResourceList, limits: &ResourceList, reasons: &mut Vec<String>) {
    let kind = &item.kind;
    let amount = |list: &ResourceList, resource: &str| list.contains(resource).then(|| list.get(resource));
    for (resource, bound) in &item.min {
        let start = format!("minimum {resource} usage per {kind} is {bound}");
        match (amount(requests, resource), amount(limits, resource)) {
            (None, _) => reasons.push(format!("{start}.  No request is specified")),
            (Some(request), _) if request < *bound => reasons.push(format!("{start}, but request is {request}")),
            (_, Some(limit)) if limit < *bound => reasons.push(format!("{start}, but limit is {limit}")),
            _ => {}
        }
    }
    for (resource, bound) in &item.max {
        let start = format!("maximum {resource} usage per {kind} is {bound}");
        match (amount(requests, resource), amount(limits, resource)) {
            (_, None) => reasons.push(format!("{start}.  No limit is specified")),
            (_, Some(limit)) if limit > *bound => reasons.push(format!("{start}, but limit is {limit}")),
            (Some(request), _) if request > *bound => reasons.push(format!("{start}, but request is {request}")),
            _ => {}
        }
    }
    for (resource, bound) in &item.max_ratio {
        let start = format!("{resource} max limit to request ratio per {kind} is {bound}");
        let positive = |list: &ResourceList| amount(list, resource).filter(|amount| !amount.is_zero());
        match (positive(requests), positive(limits)) {
            (None, _) => reasons.push(format!("{start}, but no request is specified or request is 0")),
            (_, None) => reasons.push(format!("{start}, but no limit is specified or limit is 0")),
            (Some(request), Some(limit)) => {
                let ratio = ratio(limit, request);
                if ratio > as_float(bound.nanos()) / 1e9 {
                    reasons.push(format!("{start}, but provided ratio is {ratio:.6}"));
                }
            }
        }
    }
}

fn ratio(limit: Quantity, request: Quantity) -> f64 {
    as_float(limit.milli()) / as_float(request.milli())
}

/// Amounts are far from where floating-point numbers get coarse in a way that a ratio would show.
#[allow(clippy::cast_precision_loss)]
fn as_float(amount: i128) -> f64 {
    amount as f64
}
