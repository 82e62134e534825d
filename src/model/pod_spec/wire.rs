//! The spec of a pod or a template as Kubernetes writes it.

use std::{fmt, sync::Arc};

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{Error, Visitor},
};

use super::{
    Container, DEFAULT_SCHEDULER, HostPort, PodAffinityTerm, PodSpec, PreemptionPolicy, ResourceList,
    ResourceRequirements, TopologySpreadConstraint, WeightedPodAffinityTerm, resources::or_default, volume::VolumeWire,
};
use crate::model::{
    Labels, NodeSelector, NodeSelectorTerm, PodNode, Text, Toleration,
    metadata::unless_default,
    node_selector::{RawSelector, RawTerm},
};

#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PodSpecWire {
    #[serde(skip_serializing_if = "Option::is_none")]
    node_name: Option<Text>,
    #[serde(skip_serializing_if = "Option::is_none")]
    affinity: Option<Affinity>,
    #[serde(skip_serializing_if = "Option::is_none")]
    init_containers: Option<Vec<ContainerWire>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    containers: Option<Vec<ContainerWire>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resources: Option<ResourceRequirements>,
    #[serde(skip_serializing_if = "Option::is_none")]
    overhead: Option<ResourceList>,
    #[serde(skip_serializing_if = "Option::is_none")]
    host_network: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    node_selector: Option<Labels>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tolerations: Option<Vec<Toleration>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    topology_spread_constraints: Option<Vec<TopologySpreadConstraint>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    volumes: Option<Vec<VolumeWire>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scheduler_name: Option<Text>,
    #[serde(skip_serializing_if = "Option::is_none")]
    os: Option<NameWire>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scheduling_gates: Option<Vec<NameWire>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resource_claims: Option<Vec<NameWire>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    priority: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    priority_class_name: Option<Text>,
    #[serde(skip_serializing_if = "Option::is_none")]
    preemption_policy: Option<PreemptionPolicy>,
    #[serde(skip_serializing_if = "Option::is_none")]
    runtime_class_name: Option<Text>,
}

#[derive(Default, Serialize, Deserialize)]
struct Affinity {
    #[serde(rename = "nodeAffinity", skip_serializing_if = "Option::is_none")]
    of_nodes: Option<NodeAffinityWire>,
    #[serde(rename = "podAffinity", skip_serializing_if = "Option::is_none")]
    of_pods: Option<PodAffinityWire>,
    #[serde(rename = "podAntiAffinity", skip_serializing_if = "Option::is_none")]
    anti: Option<PodAffinityWire>,
}

#[derive(Serialize, Deserialize)]
struct NodeAffinityWire {
    #[serde(rename = "requiredDuringSchedulingIgnoredDuringExecution", skip_serializing_if = "Option::is_none")]
    required: Option<RawSelector>,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct PodAffinityWire {
    #[serde(rename = "requiredDuringSchedulingIgnoredDuringExecution", skip_serializing_if = "Option::is_none")]
    required: Option<Vec<PodAffinityTerm>>,
    #[serde(rename = "preferredDuringSchedulingIgnoredDuringExecution", skip_serializing_if = "Option::is_none")]
    preferred: Option<Vec<WeightedPodAffinityTerm>>,
}

#[derive(Serialize, Deserialize)]
struct NameWire {
    #[serde(default)]
    name: Text,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ContainerWire {
    #[serde(default, deserialize_with = "scalar")]
    name: Text,
    #[serde(default, deserialize_with = "scalar")]
    image: Text,
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "is_default")]
    resources: ResourceRequirements,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ports: Option<Vec<PortWire>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    restart_policy: Option<Text>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PortWire {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    container_port: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    host_port: Option<u32>,
    #[serde(rename = "hostIP", default, skip_serializing_if = "Option::is_none")]
    host_ip: Option<Text>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    protocol: Option<Text>,
}

/// Reads a name. In YAML a name such as `n` is a boolean: the API server refuses it, but it does not matter to requests.
fn scalar<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Text, D::Error> {
    struct Scalar;
    impl Visitor<'_> for Scalar {
        type Value = Text;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a string")
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<Text, E> {
            Ok(text.into())
        }

        fn visit_bool<E: Error>(self, value: bool) -> Result<Text, E> {
            Ok(value.to_string().into())
        }

        fn visit_u64<E: Error>(self, value: u64) -> Result<Text, E> {
            Ok(value.to_string().into())
        }

        fn visit_unit<E: Error>(self) -> Result<Text, E> {
            Ok(Text::default())
        }
    }
    deserializer.deserialize_any(Scalar)
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl PodAffinityWire {
    fn new(required: Vec<PodAffinityTerm>, preferred: Vec<WeightedPodAffinityTerm>) -> Option<Self> {
        let own = Self { required: unless_default(required), preferred: unless_default(preferred) };
        (own.required.is_some() || own.preferred.is_some()).then_some(own)
    }
}

impl PodSpecWire {
    /// Returns the node of a pod with this spec.
    pub(crate) fn node(&self) -> PodNode {
        if let Some(node) = self.node_name.as_ref().filter(|node| !node.is_empty()) {
            return PodNode::Bound(node.clone());
        }
        let required = self.affinity.as_ref().and_then(|affinity| affinity.of_nodes.as_ref()?.required.as_ref());
        let terms = required.and_then(|selector| selector.node_selector_terms.as_deref()).unwrap_or_default();
        let mut fields = terms.iter().flat_map(|term| term.match_fields.iter().flatten());
        // As in Kubernetes, the first such requirement decides, even if it does not name exactly one node.
        match fields.find(|field| field.key == "metadata.name" && field.operator == "In") {
            Some(field) => match field.values.as_deref() {
                Some([node]) => PodNode::Intended(node.clone()),
                _ => PodNode::None,
            },
            None => PodNode::None,
        }
    }

    /// Returns what a pod on or for `node` has from its template. A pod always has containers; where they are left out, its
    /// spec is not known.
    pub(crate) fn into_pod_spec(mut self, node: &PodNode) -> Option<Arc<PodSpec>> {
        self.containers.as_ref().filter(|containers| !containers.is_empty())?;
        let terms = self.affinity.as_mut().and_then(|affinity| {
            let required = affinity.of_nodes.as_mut()?.required.as_mut()?;
            required.node_selector_terms.as_mut().filter(|terms| !terms.is_empty())
        });
        let is_for_one_node = match (&terms, node.name()) {
            (Some(terms), Some(node)) => terms.iter().all(|term| term.names_only(node)),
            _ => false,
        };
        for term in terms.into_iter().flatten().filter(|_| is_for_one_node) {
            term.match_fields = None;
        }
        Some(Arc::new(self.into_spec(is_for_one_node)))
    }

    /// Returns the spec, with the API server's defaults.
    pub(super) fn into_spec(self, is_for_one_node: bool) -> PodSpec {
        let host_network = self.host_network.unwrap_or_default();
        let containers = |containers: Option<Vec<ContainerWire>>| {
            let containers = containers.unwrap_or_default().into_iter();
            containers.map(|container| container.into_container(host_network)).collect()
        };
        let Affinity { of_nodes, of_pods, anti } = self.affinity.unwrap_or_default();
        let node_affinity = of_nodes.and_then(|affinity| affinity.required).map(|required| {
            let any = || NodeSelectorTerm::All { expressions: Vec::new(), fields: Vec::new() };
            let term = |term: RawTerm| match NodeSelectorTerm::from(term) {
                NodeSelectorTerm::Empty if is_for_one_node => any(),
                term => term,
            };
            required.node_selector_terms.unwrap_or_default().into_iter().map(term).collect::<NodeSelector>()
        });
        let is_any = |term: &NodeSelectorTerm| match term {
            NodeSelectorTerm::All { expressions, fields } => expressions.is_empty() && fields.is_empty(),
            NodeSelectorTerm::Empty | NodeSelectorTerm::Invalid(_) => false,
        };
        let node_affinity = node_affinity.filter(|own| !is_for_one_node || !own.terms().iter().any(is_any));
        let (of_pods, anti) = (of_pods.unwrap_or_default(), anti.unwrap_or_default());
        let mut topology_spread = self.topology_spread_constraints.unwrap_or_default();
        topology_spread.retain(|constraint| constraint.is_required);
        let volumes = self.volumes.unwrap_or_default().into_iter();
        let names =
            |list: Option<Vec<NameWire>>| list.unwrap_or_default().into_iter().map(|own| own.name).collect::<Vec<_>>();
        let mut spec = PodSpec {
            init_containers: containers(self.init_containers),
            containers: containers(self.containers),
            resources: self.resources.unwrap_or_default(),
            overhead: self.overhead.unwrap_or_default(),
            node_selector: self.node_selector.unwrap_or_default(),
            node_affinity,
            is_for_one_node,
            tolerations: self.tolerations.unwrap_or_default(),
            pod_affinity: of_pods.required.unwrap_or_default(),
            pod_anti_affinity: anti.required.unwrap_or_default(),
            preferred_pod_affinity: of_pods.preferred.unwrap_or_default(),
            preferred_pod_anti_affinity: anti.preferred.unwrap_or_default(),
            topology_spread,
            volumes: volumes.filter_map(VolumeWire::into_volume).collect(),
            scheduler: self.scheduler_name.filter(|name| name != DEFAULT_SCHEDULER).unwrap_or_default(),
            os: self.os.map(|os| os.name).unwrap_or_default(),
            scheduling_gates: names(self.scheduling_gates),
            resource_claims: names(self.resource_claims),
            priority: self.priority,
            priority_class: self.priority_class_name.unwrap_or_default(),
            preemption_policy: self.preemption_policy,
            runtime_class: self.runtime_class_name.unwrap_or_default(),
        };
        spec.set_default_requests();
        // The API server rounds what it has filled in.
        let containers = spec.init_containers.iter_mut().chain(&mut spec.containers);
        let resources = containers.map(|container| &mut container.resources).chain([&mut spec.resources]);
        let lists = resources.flat_map(|resources| [&mut resources.requests, &mut resources.limits]);
        lists.chain([&mut spec.overhead]).for_each(ResourceList::round_up);
        spec
    }

    /// Returns the spec of a pod on or for `node`.
    pub(crate) fn of_pod(spec: Option<Arc<PodSpec>>, node: PodNode) -> Self {
        let is_known = spec.is_some();
        let spec = spec.map(Arc::unwrap_or_clone).unwrap_or_default();
        let is_for_one_node =
            spec.is_for_one_node || matches!(node, PodNode::Intended(_)) && spec.node_affinity.is_none();
        let pinned = node.name().filter(|_| is_for_one_node);
        let has_node_affinity = pinned.is_some() || spec.node_affinity.is_some();
        let node_affinity = has_node_affinity.then(|| RawSelector::new(spec.node_affinity.as_ref(), pinned));
        let affinity = Affinity {
            of_nodes: node_affinity.map(|required| NodeAffinityWire { required: Some(required) }),
            of_pods: PodAffinityWire::new(spec.pod_affinity, spec.preferred_pod_affinity),
            anti: PodAffinityWire::new(spec.pod_anti_affinity, spec.preferred_pod_anti_affinity),
        };
        let has_affinity = affinity.of_nodes.is_some() || affinity.of_pods.is_some() || affinity.anti.is_some();
        let containers = |containers: Vec<Container>| containers.into_iter().map(ContainerWire::from).collect();
        let names = |names: Vec<Text>| {
            unless_default(names).map(|names| names.into_iter().map(|name| NameWire { name }).collect())
        };
        let volumes: Vec<_> = spec.volumes.into_iter().map(VolumeWire::from).collect();
        Self {
            node_name: match node {
                PodNode::Bound(node) => Some(node),
                PodNode::Intended(_) | PodNode::None => None,
            },
            affinity: has_affinity.then_some(affinity),
            init_containers: unless_default(spec.init_containers).map(containers),
            containers: is_known.then(|| containers(spec.containers)),
            resources: unless_default(spec.resources),
            overhead: unless_default(spec.overhead),
            host_network: None,
            node_selector: unless_default(spec.node_selector),
            tolerations: unless_default(spec.tolerations),
            topology_spread_constraints: unless_default(spec.topology_spread),
            volumes: (!volumes.is_empty()).then_some(volumes),
            scheduler_name: unless_default(spec.scheduler),
            os: unless_default(spec.os).map(|name| NameWire { name }),
            scheduling_gates: names(spec.scheduling_gates),
            resource_claims: names(spec.resource_claims),
            priority: spec.priority,
            priority_class_name: unless_default(spec.priority_class),
            preemption_policy: spec.preemption_policy,
            runtime_class_name: unless_default(spec.runtime_class),
        }
    }
}

impl ContainerWire {
    fn into_container(self, host_network: bool) -> Container {
        let port = |port: PortWire| {
            let is_set = |port: &u32| *port > 0;
            let number = port.host_port.filter(is_set);
            let number = number.or_else(|| port.container_port.filter(|port| host_network && is_set(port)))?;
            let protocol = port.protocol.filter(|protocol| !protocol.is_empty()).unwrap_or_else(|| "TCP".into());
            Some(HostPort { number, protocol, ip: port.host_ip.unwrap_or_default() })
        };
        Container {
            name: self.name,
            image: self.image,
            resources: self.resources,
            host_ports: self.ports.unwrap_or_default().into_iter().filter_map(port).collect(),
            is_sidecar: self.restart_policy.is_some_and(|policy| policy == "Always"),
        }
    }
}

impl From<Container> for ContainerWire {
    fn from(container: Container) -> Self {
        let port = |HostPort { number, protocol, ip }| PortWire {
            container_port: Some(number),
            host_port: Some(number),
            host_ip: unless_default(ip),
            protocol: Some(protocol),
        };
        let ports = container.host_ports.into_iter().map(port).collect::<Vec<_>>();
        Self {
            name: container.name,
            image: container.image,
            resources: container.resources,
            ports: (!ports.is_empty()).then_some(ports),
            restart_policy: container.is_sidecar.then(|| "Always".into()),
        }
    }
}
