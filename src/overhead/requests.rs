//! The resource requests of a pod.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, de::Error};
use serde_json::Value;

use crate::model::{PodTemplate, Quantity, Text};

/// Amounts by resource, such as `cpu` and `memory`.
pub(super) type Resources = BTreeMap<Text, Quantity>;

/// The fields of a pod's spec that determine its requests.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PodRequirements {
    containers: Option<Vec<ContainerRequests>>,
    init_containers: Option<Vec<ContainerRequests>>,
    #[serde(default, deserialize_with = "amounts")]
    overhead: Option<Resources>,
    resources: Option<ResourceRequirements>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ContainerRequests {
    resources: Option<ResourceRequirements>,
    restart_policy: Option<String>,
}

#[derive(Default, Deserialize)]
struct ResourceRequirements {
    #[serde(default, deserialize_with = "amounts")]
    requests: Option<Resources>,
    #[serde(default, deserialize_with = "amounts")]
    limits: Option<Resources>,
}

impl ContainerRequests {
    /// The requests; a limit without a request counts as a request.
    fn requests(&self) -> Resources {
        let Some(ResourceRequirements { requests, limits }) = &self.resources else { return Resources::new() };
        let mut all = limits.clone().unwrap_or_default();
        all.extend(requests.clone().unwrap_or_default());
        all
    }

    fn is_sidecar(&self) -> bool {
        self.restart_policy.as_deref() == Some("Always")
    }
}

/// Computes what a pod of `template` requests, as Kubernetes counts it.
///
/// The base is the sum over all containers and sidecars, or the peak of the initialization if that is more. Requests of
/// the pod itself replace the base, and the pod's overhead is added.
/// <https://kubernetes.io/docs/concepts/workloads/pods/sidecar-containers/#resource-sharing-within-containers>
pub(super) fn of_template(template: &PodTemplate) -> Result<Resources, serde_json::Error> {
    let spec: PodRequirements =
        Option::deserialize(template.json().get("spec").unwrap_or(&Value::Null))?.unwrap_or_default();
    let mut running = Resources::new();
    for container in spec.containers.iter().flatten() {
        add(&mut running, &container.requests());
    }
    let (mut sidecars, mut initialization) = (Resources::new(), Resources::new());
    for container in spec.init_containers.iter().flatten() {
        let mut now = container.requests();
        if container.is_sidecar() {
            add(&mut running, &now);
            add(&mut sidecars, &now);
            now.clone_from(&sidecars);
        } else {
            add(&mut now, &sidecars);
        }
        raise(&mut initialization, &now);
    }
    raise(&mut running, &initialization);
    for (resource, amount) in spec.resources.map(|own| of_pod(own, &running)).unwrap_or_default() {
        running.insert(resource, amount);
    }
    add(&mut running, &spec.overhead.unwrap_or_default());
    Ok(running)
}

/// Reads amounts. The API server refuses negative ones.
fn amounts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Resources>, D::Error> {
    let amounts = Option::<Resources>::deserialize(deserializer)?;
    match amounts.iter().flatten().find(|(_, amount)| **amount < Quantity::default()) {
        Some((resource, amount)) => {
            Err(D::Error::custom(format_args!("{resource}: expected a quantity of at least 0, found {amount}")))
        }
        None => Ok(amounts),
    }
}

/// The requests of the pod itself. A limit without a request counts only if no container requests the resource.
fn of_pod(own: ResourceRequirements, containers: &Resources) -> Resources {
    let mut requests = own.requests.unwrap_or_default();
    for (resource, limit) in own.limits.unwrap_or_default() {
        if !containers.contains_key(&resource) {
            requests.entry(resource).or_insert(limit);
        }
    }
    requests.retain(|resource, _| resource == "cpu" || resource == "memory" || resource.starts_with("hugepages-"));
    requests
}

pub(super) fn add(sum: &mut Resources, more: &Resources) {
    for (resource, amount) in more {
        let before = sum.entry(resource.clone()).or_default();
        *before += *amount;
    }
}

/// Raises every amount to at least that of `other`.
fn raise(most: &mut Resources, other: &Resources) {
    for (resource, amount) in other {
        let before = most.entry(resource.clone()).or_insert(*amount);
        if *before < *amount {
            *before = *amount;
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json};

    use super::*;

    #[allow(clippy::needless_pass_by_value)] // json!(…) reads better than &json!(…)
    fn requests(spec: Value) -> Vec<(String, String)> {
        let template: PodTemplate = from_value(json!({"spec": spec})).unwrap();
        let all = of_template(&template).unwrap();
        all.into_iter().map(|(resource, amount)| (resource.to_string(), amount.to_string())).collect()
    }

    fn cpu(spec: Value) -> String {
        requests(spec)
            .into_iter()
            .find(|(resource, _)| resource == "cpu")
            .map_or_else(|| "none".into(), |(_, amount)| amount)
    }

    fn container(cpu: &str) -> Value {
        json!({"resources": {"requests": {"cpu": cpu}}})
    }

    fn sidecar(cpu: &str) -> Value {
        json!({"resources": {"requests": {"cpu": cpu}}, "restartPolicy": "Always"})
    }

    #[test]
    fn containers_add_up() {
        assert_eq!(cpu(json!({"containers": [container("100m"), container("1")]})), "1100m");
        assert_eq!(cpu(json!({"containers": [{}, {"resources": null}]})), "none");
        assert_eq!(requests(json!(null)), []);
    }

    #[test]
    fn a_limit_without_a_request_is_a_request() {
        let container = json!({"resources": {"limits": {"cpu": "2", "memory": "1Gi"}, "requests": {"cpu": "1"}}});
        let expected =
            [("cpu", "1"), ("memory", "1Gi")].map(|(resource, amount)| (resource.to_owned(), amount.to_owned()));
        assert_eq!(requests(json!({"containers": [container]})), expected);
    }

    #[test]
    fn negative_amounts_are_refused() {
        for spec in [
            json!({"containers": [container("-250m")]}),
            json!({"initContainers": [{"resources": {"limits": {"cpu": "-1"}}}]}),
            json!({"overhead": {"cpu": "-1"}}),
            json!({"resources": {"requests": {"cpu": "-1"}}}),
        ] {
            let template: PodTemplate = from_value(json!({"spec": spec})).unwrap();
            let error = of_template(&template).unwrap_err().to_string();
            assert!(error.starts_with("cpu: expected a quantity of at least 0, found -"), "{error}");
        }
    }

    #[test]
    fn init_containers_count_if_they_request_more() {
        let spec = |init: &str| json!({"containers": [container("100m")], "initContainers": [container(init), container("50m")]});
        assert_eq!((cpu(spec("200m")), cpu(spec("20m"))), ("200m".into(), "100m".into()));
    }

    #[test]
    fn sidecars_add_to_the_containers_and_to_later_init_containers() {
        let containers = json!([container("100m")]);
        assert_eq!(cpu(json!({"containers": containers, "initContainers": [sidecar("30m"), sidecar("20m")]})), "150m");
        assert_eq!(
            cpu(json!({"containers": containers, "initContainers": [sidecar("30m"), container("200m")]})),
            "230m"
        );
        assert_eq!(
            cpu(json!({"containers": containers, "initContainers": [container("200m"), sidecar("30m")]})),
            "200m"
        );
    }

    #[test]
    fn requests_of_the_pod_itself_replace_those_of_containers_and_overhead_is_added() {
        let containers = json!([container("100m")]);
        let own =
            |resources: Value| json!({"containers": containers, "resources": resources, "overhead": {"cpu": "5m"}});
        assert_eq!(cpu(own(json!({"requests": {"cpu": "1"}}))), "1005m");
        assert_eq!(cpu(own(json!({"limits": {"cpu": "1"}}))), "105m");
        let only_limit = json!({"containers": [{}], "resources": {"limits": {"memory": "1Gi", "example.com/gpu": 1}}});
        assert_eq!(requests(only_limit), [("memory".to_owned(), "1Gi".to_owned())]);
    }
}
