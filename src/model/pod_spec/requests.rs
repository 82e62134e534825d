//! What a pod requests, as Kubernetes counts it.

use super::{Container, PodSpec, ResourceList};
use crate::model::{AssignedResources, Pod, PodScheduling};

impl PodSpec {
    /// Computes what a pod with this spec requests, as the scheduler counts it.
    ///
    /// The base is the sum over all containers and sidecars, or the peak of the initialization if that is more. Requests of
    /// the pod itself for cpu, memory and huge pages replace the base, and the overhead is added.
    /// <https://kubernetes.io/docs/concepts/workloads/pods/sidecar-containers/#resource-sharing-within-containers>
    ///
    /// ```
    /// use daemonplan::model::{PodSpec, PodTemplate};
    /// let template: PodTemplate = serde_json::from_str(r#"{"spec": {
    ///     "initContainers": [{"name": "set-up", "resources": {"requests": {"cpu": "2"}}}],
    ///     "containers": [{"name": "agent", "resources": {"requests": {"cpu": "250m"}, "limits": {"memory": "1Gi"}}}]
    /// }}"#)?;
    /// let requests = PodSpec::of(&template)?.requests();
    /// assert_eq!((requests.get("cpu").to_string(), requests.get("memory").to_string()), ("2".into(), "1Gi".into()));
    /// # Ok::<(), serde_json::Error>(())
    /// ```
    pub fn requests(&self) -> ResourceList {
        let mut requests = self.containers_requests();
        replace(&mut requests, &self.resources.requests);
        requests.add(&self.overhead);
        requests
    }

    /// Computes what the containers request together, without requests of the pod itself and without overhead.
    pub fn containers_requests(&self) -> ResourceList {
        self.aggregate(|container| container.resources.requests.clone())
    }

    /// Computes the limits of a pod with this spec. What has no limit is left out. The overhead is added to what has one.
    pub fn limits(&self) -> ResourceList {
        let mut limits = self.containers_limits();
        replace(&mut limits, &self.resources.limits);
        for (resource, amount) in &self.overhead {
            if !limits.get(resource).is_zero() {
                limits.add(&ResourceList::from_iter([(resource, *amount)]));
            }
        }
        limits
    }

    fn containers_limits(&self) -> ResourceList {
        self.aggregate(|container| container.resources.limits.clone())
    }

    /// Computes the sum over all containers and sidecars, or the peak of the initialization if that is more.
    fn aggregate(&self, amounts: impl Fn(&Container) -> ResourceList) -> ResourceList {
        let mut running = ResourceList::default();
        for container in &self.containers {
            running.add(&amounts(container));
        }
        let (mut sidecars, mut initialization) = (ResourceList::default(), ResourceList::default());
        for container in &self.init_containers {
            let mut now = amounts(container);
            if container.is_sidecar {
                running.add(&now);
                sidecars.add(&now);
                now.clone_from(&sidecars);
            } else {
                now.add(&sidecars);
            }
            initialization.raise(&now);
        }
        running.raise(&initialization);
        running
    }

    /// Fills in what the API server does in a new pod: a limit without a request is a request.
    /// <https://kubernetes.io/docs/concepts/configuration/manage-resources-containers/#requests-and-limits>
    pub(super) fn set_default_requests(&mut self) {
        for container in self.init_containers.iter_mut().chain(&mut self.containers) {
            let resources = &mut container.resources;
            for (resource, limit) in &resources.limits {
                resources.requests.set_missing(resource, *limit);
            }
        }
        if !self.is_pod_level() {
            return;
        }
        for (resource, limit) in &self.containers_limits() {
            if resource.starts_with(HUGE_PAGES) {
                self.resources.limits.set_missing(resource, *limit);
            }
        }
        if self.resources.limits.is_empty() {
            return;
        }
        for (resource, amount) in &self.containers_requests() {
            // Huge pages cannot be overcommitted: what they request is their limit.
            if resource == "cpu" || resource == "memory" {
                self.resources.requests.set_missing(resource, *amount);
            }
        }
        let limits = self.resources.limits.clone();
        for (resource, limit) in limits.iter().filter(|(resource, _)| is_for_pods(resource)) {
            self.resources.requests.set_missing(resource, *limit);
        }
    }

    fn is_pod_level(&self) -> bool {
        !self.resources.requests.is_empty() || !self.resources.limits.is_empty()
    }
}

impl Pod {
    /// Computes what the pod takes from its node: what its spec requests, or what the kubelet reports if a resize is under
    /// way, whichever is more. `None` if its spec is not known.
    ///
    /// ```
    /// use daemonplan::model::Pod;
    /// let pod: Pod = serde_json::from_str(r#"{
    ///     "metadata": {"name": "agent-x2k"},
    ///     "spec": {"nodeName": "a", "containers": [{"name": "agent", "resources": {"requests": {"cpu": "1"}}}]},
    ///     "status": {"containerStatuses": [{"name": "agent", "resources": {"requests": {"cpu": "2"}}}]}
    /// }"#)?;
    /// assert_eq!(pod.assigned_requests().unwrap().get("cpu").to_string(), "2");
    /// # Ok::<(), serde_json::Error>(())
    /// ```
    pub fn assigned_requests(&self) -> Option<ResourceList> {
        let spec = self.spec.as_deref()?;
        Some(match &self.scheduling {
            Some(status) if !status.containers.is_empty() || status.pod.is_some() => status.assigned(spec),
            _ => spec.requests(),
        })
    }
}

impl PodScheduling {
    fn assigned(&self, spec: &PodSpec) -> ResourceList {
        let mut requests = spec.aggregate(|container| {
            let is_init = spec.init_containers.iter().any(|init| std::ptr::eq(init, container));
            let status = self.containers.iter().find(|status| status.name == container.name);
            match status.filter(|_| !is_init || container.is_sidecar) {
                Some(status) => self.most(&container.resources.requests, status),
                None => container.resources.requests.clone(),
            }
        });
        let own = &spec.resources.requests;
        match &self.pod {
            // What the spec does not request for the pod itself stays with the containers.
            Some(status) => {
                let most = self.most(own, status);
                let most = most.iter().filter(|(resource, _)| own.contains(resource));
                replace(&mut requests, &most.map(|(resource, amount)| (resource.clone(), *amount)).collect());
            }
            None => replace(&mut requests, own),
        }
        requests.add(&spec.overhead);
        requests
    }

    /// The most of what the spec requests and what the kubelet reports; only the latter if it can never do the resize.
    fn most(&self, requests: &ResourceList, status: &AssignedResources) -> ResourceList {
        let mut most = if self.resize_is_infeasible { ResourceList::default() } else { requests.clone() };
        most.raise(&status.allocated);
        if let Some(resources) = &status.resources {
            most.raise(&resources.requests);
        }
        most
    }
}

const HUGE_PAGES: &str = "hugepages-";

/// Whether a pod itself can request the resource, beside its containers.
fn is_for_pods(resource: &str) -> bool {
    resource == "cpu" || resource == "memory" || resource.starts_with(HUGE_PAGES)
}

fn replace(amounts: &mut ResourceList, own: &ResourceList) {
    for (resource, amount) in own.iter().filter(|(resource, _)| is_for_pods(resource)) {
        amounts.set(resource.clone(), *amount);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, from_value, json};

    use super::*;
    use crate::model::PodTemplate;

    #[allow(clippy::needless_pass_by_value)] // json!(…) reads better than &json!(…)
    fn requests(spec: Value) -> Vec<(String, String)> {
        let template: PodTemplate = from_value(json!({"spec": spec})).unwrap();
        let all = PodSpec::of(&template).unwrap().requests();
        all.iter().map(|(resource, amount)| (resource.to_string(), amount.to_string())).collect()
    }

    fn cpu(spec: Value) -> String {
        let mut requests = requests(spec).into_iter();
        requests.find(|(resource, _)| resource == "cpu").map_or_else(|| "none".into(), |(_, amount)| amount)
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
