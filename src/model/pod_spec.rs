use serde::{Deserialize, Serialize};

use crate::model::{PodTemplate, Text};

/// The parts of a pod's spec that it has in common with the other pods of its template.
///
/// ```
/// use daemonplan::model::Pod;
/// let pod: Pod = serde_json::from_str(r#"{
///     "metadata": {"name": "agent-x2k"}, "spec": {"containers": [{"name": "agent", "image": "example.com/agent:2"}]}
/// }"#)?;
/// assert_eq!(pod.spec.unwrap().containers[0].image, "example.com/agent:2");
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct PodSpec {
    /// `spec.initContainers`.
    pub init_containers: Vec<Container>,
    /// `spec.containers`.
    pub containers: Vec<Container>,
}

/// A container of a [`PodSpec`].
///
/// ```
/// use daemonplan::model::{Container, PodSpec, PodTemplate};
/// let template = PodTemplate::default().with_container("agent", "example.com/agent:1");
/// let container = Container { name: "agent".into(), image: "example.com/agent:1".into() };
/// assert_eq!(PodSpec::of(&template).containers, [container]);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Container {
    /// The name.
    #[serde(default)]
    pub name: Text,
    /// The image. An update of a pod can change it, and nothing else of a container.
    /// <https://kubernetes.io/docs/concepts/workloads/pods/#pod-update-and-replacement>
    #[serde(default)]
    pub image: Text,
}

impl PodSpec {
    /// Returns what a template says. What is malformed in it, which the API server refuses, is left out.
    pub fn of(template: &PodTemplate) -> Self {
        let list = |field: &str| {
            let list = template.json().get("spec").and_then(|spec| spec.get(field)?.as_array());
            list.into_iter().flatten().filter_map(|container| Container::deserialize(container).ok()).collect()
        };
        Self { init_containers: list("initContainers"), containers: list("containers") }
    }

    /// Iterates over all containers.
    pub(crate) fn all_containers(&self) -> impl Iterator<Item = &Container> {
        self.init_containers.iter().chain(&self.containers)
    }
}
