//! The default scheduler's half: agreement with the second implementation, and properties of verdicts and remedies.

use std::collections::{BTreeMap, BTreeSet};

use daemonplan::{
    Cluster, Key, Settings,
    manifest::Manifests,
    model::{Namespace, Node, Pod, PodDisruptionBudget},
    scheduling::{ClusterState, ComingPods, Plugin, Preemption, RemedyChange, SchedulingObjects},
};
use proptest::{collection::vec, option, prelude::*, sample::select};
use serde_json::{Value, json};

use super::reference_scheduler::{Facts, blockers, victims};

fn labels() -> impl Strategy<Value = Value> {
    let pairs = (select(vec!["web", "agent"]), option::of(select(vec!["front", "back"])));
    pairs.prop_map(|(app, tier)| match tier {
        Some(tier) => json!({"app": app, "tier": tier}),
        None => json!({"app": app}),
    })
}

fn selectors() -> impl Strategy<Value = Value> {
    let values = || vec(select(vec!["web", "agent", "front"]), 1..3);
    prop_oneof![
        2 => labels().prop_map(|labels| json!({"matchLabels": labels})),
        1 => Just(json!({})),
        1 => (select(vec!["app", "tier"]), select(vec!["In", "NotIn"]), values())
            .prop_map(|(key, operator, values)| json!({"matchExpressions": [{"key": key, "operator": operator, "values": values}]})),
        1 => (select(vec!["app", "tier"]), select(vec!["Exists", "DoesNotExist"]))
            .prop_map(|(key, operator)| json!({"matchExpressions": [{"key": key, "operator": operator}]})),
    ]
}

/// Sets a field that is given.
pub(super) fn set(object: &mut Value, field: &str, value: Option<impl serde::Serialize>) {
    if let Some(value) = value {
        object[field] = json!(value);
    }
}

fn terms() -> impl Strategy<Value = Vec<Value>> {
    let topology = select(vec!["zone", "kubernetes.io/hostname"]);
    let namespaces = option::weighted(0.3, vec(select(vec!["default", "shop"]), 1..2));
    let selector = option::weighted(0.3, prop_oneof![Just(json!({})), Just(json!({"matchLabels": {"team": "a"}}))]);
    let term = (topology, selectors(), namespaces, selector).prop_map(|(topology, labels, namespaces, selector)| {
        let mut term = json!({"topologyKey": topology, "labelSelector": labels});
        set(&mut term, "namespaces", namespaces);
        set(&mut term, "namespaceSelector", selector);
        term
    });
    prop_oneof![3 => Just(Vec::new()), 1 => vec(term, 1..3)]
}

fn constraints() -> impl Strategy<Value = Vec<Value>> {
    let policies = (select(vec!["Honor", "Ignore"]), select(vec!["Honor", "Ignore"]));
    let constraint = (select(vec!["zone", "rack"]), 1..3, option::of(1..4), selectors(), policies);
    let constraint = constraint.prop_map(|(key, skew, domains, selector, (affinity, taints))| {
        let mut constraint = json!({
            "topologyKey": key, "maxSkew": skew, "whenUnsatisfiable": "DoNotSchedule", "labelSelector": selector,
            "nodeAffinityPolicy": affinity, "nodeTaintsPolicy": taints,
        });
        set(&mut constraint, "minDomains", domains);
        constraint
    });
    prop_oneof![3 => Just(Vec::new()), 1 => vec(constraint, 1..3)]
}

fn containers() -> impl Strategy<Value = Vec<Value>> {
    let amounts = (
        option::of(select(vec!["100m", "0.5", "1", "1500m"])),
        option::of(select(vec!["64Mi", "1Gi", "1500M"])),
        option::weighted(0.2, select(vec!["1", "2"])),
    );
    let ip = option::weighted(0.3, select(vec!["10.0.0.1", "0.0.0.0"]));
    let port = option::weighted(0.3, (select(vec![80, 9100]), select(vec!["TCP", "UDP"]), ip));
    let container = (amounts, port).prop_map(|((cpu, memory, gpu), port)| {
        let mut requests = json!({});
        set(&mut requests, "cpu", cpu);
        set(&mut requests, "memory", memory);
        set(&mut requests, "example.com/gpu", gpu);
        let mut container = json!({"name": "main", "resources": {"requests": requests}});
        if let Some((number, protocol, ip)) = port {
            let mut port = json!({"containerPort": number, "hostPort": number, "protocol": protocol});
            set(&mut port, "hostIP", ip);
            container["ports"] = json!([port]);
        }
        container
    });
    vec(container, 1..3)
}

fn tolerations() -> impl Strategy<Value = Vec<Value>> {
    let toleration = prop_oneof![
        Just(json!({"key": "node.kubernetes.io/unschedulable", "operator": "Exists", "effect": "NoSchedule"})),
        Just(json!({"key": "dedicated", "operator": "Equal", "value": "db"})),
        Just(json!({"operator": "Exists"})),
    ];
    vec(toleration, 0..2)
}

fn pods() -> impl Strategy<Value = Value> {
    let place = (select(vec!["default", "shop"]), labels(), containers());
    let rules = (terms(), terms(), constraints(), tolerations(), option::weighted(0.2, select(vec!["a", "b"])));
    (place, rules).prop_map(|((namespace, labels, containers), (near, far, spread, tolerations, zone))| {
        let mut pod = json!({
            "metadata": {"namespace": namespace, "labels": labels},
            "spec": {
                "containers": containers, "tolerations": tolerations, "topologySpreadConstraints": spread,
                "affinity": {
                    "podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": near},
                    "podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": far},
                },
            },
            "status": {"phase": "Running"},
        });
        set(&mut pod["spec"], "nodeSelector", zone.map(|zone| json!({"zone": zone})));
        pod
    })
}

fn nodes() -> impl Strategy<Value = Vec<Value>> {
    let amounts = (select(vec!["1", "2", "4"]), select(vec!["1Gi", "4Gi"]), select(vec!["0", "3", "110"]));
    let marks = (option::of(select(vec!["a", "b"])), any::<bool>(), prop::bool::weighted(0.2), select(vec![0, 1, 2]));
    let node = (amounts, marks).prop_map(|((cpu, memory, pods), (zone, rack, cordoned, taint))| {
        let mut labels = json!({});
        set(&mut labels, "zone", zone);
        if rack {
            labels["rack"] = json!("r1");
        }
        let taints = match taint {
            0 => json!([]),
            1 => json!([{"key": "dedicated", "value": "db", "effect": "NoSchedule"}]),
            _ => json!([{"key": "soft", "effect": "PreferNoSchedule"}]),
        };
        json!({
            "metadata": {"labels": labels},
            "spec": {"unschedulable": cordoned, "taints": taints},
            "status": {"allocatable": {"cpu": cpu, "memory": memory, "pods": pods, "example.com/gpu": "1"}},
        })
    });
    vec(node, 1..4).prop_map(|mut nodes| {
        for (number, node) in nodes.iter_mut().enumerate() {
            node["metadata"]["name"] = json!(format!("node-{number}"));
            node["metadata"]["labels"]["kubernetes.io/hostname"] = json!(format!("node-{number}"));
        }
        nodes
    })
}

/// A cluster, a pod for one of its nodes, and that node.
pub(super) fn clusters() -> impl Strategy<Value = (Facts, Value, String)> {
    let state = (0..4_usize, prop::bool::weighted(0.1), prop::bool::weighted(0.1));
    (nodes(), vec((pods(), state), 0..7), pods(), 0..4_usize).prop_map(|(nodes, others, mut pending, target)| {
        let place = |index: usize| format!("node-{}", index % nodes.len());
        let named = others.into_iter().enumerate().map(|(number, (mut pod, (node, is_going, has_ended)))| {
            pod["metadata"]["name"] = json!(format!("other-{number}"));
            pod["spec"]["nodeName"] = json!(place(node));
            if is_going {
                pod["metadata"]["deletionTimestamp"] = json!("2026-01-02T03:04:05Z");
            }
            if has_ended {
                pod["status"]["phase"] = json!("Succeeded");
            }
            pod
        });
        let pods = named.collect();
        let target = place(target);
        pending["metadata"]["name"] = json!("pending");
        pending["status"]["phase"] = json!("Pending");
        let field = json!({"key": "metadata.name", "operator": "In", "values": [target]});
        pending["spec"]["affinity"]["nodeAffinity"] = json!({
            "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{"matchFields": [field]}]},
        });
        let namespace = |name: &str, team: &str| json!({"metadata": {"name": name, "labels": {"team": team}}});
        let namespaces = vec![namespace("default", "a"), namespace("shop", "b")];
        (Facts { nodes, namespaces, pods, storage: Vec::new() }, pending, target)
    })
}

/// The facts as the library reads them.
pub(super) struct Read {
    nodes: Vec<Node>,
    namespaces: Vec<Namespace>,
    pods: Vec<Pod>,
    objects: SchedulingObjects,
}

fn read<T: serde::de::DeserializeOwned>(objects: &[Value]) -> Vec<T> {
    objects.iter().map(|object| serde_json::from_value(object.clone()).unwrap()).collect()
}

impl Read {
    pub(super) fn of(facts: &Facts) -> Self {
        let (nodes, namespaces, pods) = (read(&facts.nodes), read(&facts.namespaces), read(&facts.pods));
        let mut manifests = Manifests::default();
        for object in &facts.storage {
            manifests.read("storage.json", object.to_string().as_bytes()).unwrap();
        }
        assert!(manifests.problems().is_empty(), "{:?}", manifests.problems());
        let mut objects = manifests.scheduling_objects().clone();
        objects.is_complete = !facts.storage.is_empty();
        Self { nodes, namespaces, pods, objects }
    }

    fn state(&self) -> ClusterState<'_> {
        ClusterState::new(&self.nodes, &self.pods, &self.namespaces, &self.objects)
    }

    /// The plugins that refuse the pod's node, with their reasons.
    pub(super) fn refusals(&self, pod: &Pod) -> Vec<(String, Vec<String>)> {
        let blockers = self.state().feasibility(pod).blockers;
        let mut all: Vec<_> = blockers.iter().map(|own| (own.plugin.to_string(), own.reasons())).collect();
        all.sort_unstable();
        all
    }
}

fn budgets() -> impl Strategy<Value = Vec<Value>> {
    let budget = (select(vec!["default", "shop"]), selectors(), 0..3).prop_map(|(namespace, selector, allowed)| {
        json!({
            "metadata": {"namespace": namespace},
            "spec": {"selector": selector}, "status": {"disruptionsAllowed": allowed},
        })
    });
    vec(budget, 0..3).prop_map(|mut budgets| {
        for (number, budget) in budgets.iter_mut().enumerate() {
            budget["metadata"]["name"] = json!(format!("budget-{number}"));
        }
        budgets
    })
}

/// Lets no two pods of a node have ports of its own.
fn only_first_has_ports(pods: &mut [Value]) {
    let mut seen = BTreeSet::new();
    for pod in pods {
        let node = pod["spec"]["nodeName"].to_string();
        let containers = pod["spec"]["containers"].as_array_mut().unwrap();
        if containers.iter().any(|container| container.get("ports").is_some()) && !seen.insert(node) {
            for container in containers {
                container.as_object_mut().unwrap().remove("ports");
            }
        }
    }
}

pub(super) fn pod(json: &Value) -> Pod {
    serde_json::from_value(json.clone()).unwrap()
}

/// Brings a cluster to a state through another one, with its objects in either order.
fn kept(cluster: &mut Cluster, Read { nodes, namespaces, pods, .. }: Read, nodes_first: bool) {
    let apply_nodes = |cluster: &mut Cluster| cluster.resync(nodes.clone());
    if nodes_first {
        apply_nodes(cluster);
    }
    cluster.resync(pods);
    cluster.resync(namespaces);
    apply_nodes(cluster);
}

proptest! {
    #[test]
    fn a_kept_cluster_answers_like_a_new_state(
        (before, _, _) in clusters(),
        (after, pending, _) in clusters(),
        nodes_first in any::<bool>(),
    ) {
        let mut cluster = Cluster::with_scheduling(Settings::default());
        cluster.set_complete();
        kept(&mut cluster, Read::of(&before), !nodes_first);
        kept(&mut cluster, Read::of(&after), nodes_first);
        let read = Read::of(&after);
        let (state, new) = (cluster.cluster_state(&read.objects).unwrap(), read.state());
        let pending = pod(&pending);
        for pod in read.pods.iter().chain([&pending]) {
            prop_assert_eq!(state.feasibility(pod), new.feasibility(pod));
            prop_assert_eq!(state.remedies(pod), new.remedies(pod));
        }
        for node in &read.nodes {
            prop_assert_eq!(state.left_on(&node.name), new.left_on(&node.name));
            let mut alike = (state.pods_like(&pending), new.pods_like(&pending));
            let leaves: Vec<_> = read.pods.first().into_iter().collect();
            let refusals = [alike.0.refusal_after(node.name.clone(), &leaves), alike.1.refusal_after(node.name.clone(), &leaves)];
            prop_assert_eq!(&refusals[0], &refusals[1]);
        }
    }

    #[test]
    fn plugins_refuse_what_the_second_implementation_refuses((facts, pending, target) in clusters()) {
        let expected: Vec<_> = blockers(&facts, &pending, &target).into_iter().collect();
        prop_assert_eq!(Read::of(&facts).refusals(&pod(&pending)), expected);
    }

    #[test]
    fn preemption_takes_the_pods_that_the_second_implementation_takes(
        (mut facts, mut pending, target) in clusters(),
        ranks in vec((0..3, option::weighted(0.8, 0..3)), 7),
        priority in 0..4,
        budgets in budgets(),
    ) {
        only_first_has_ports(&mut facts.pods);
        for (other, (priority, minute)) in facts.pods.iter_mut().zip(ranks) {
            other["spec"]["priority"] = json!(priority);
            let start = minute.map(|minute| format!("2026-01-02T03:0{minute}:05Z"));
            set(&mut other["status"], "startTime", start);
        }
        pending["spec"]["priority"] = json!(priority);
        pending["spec"]["topologySpreadConstraints"] = json!([]);
        let mut read = Read::of(&facts);
        for budget in self::read::<PodDisruptionBudget>(&budgets) {
            read.objects.add(budget);
        }
        let found = match read.state().feasibility(&pod(&pending)).preemption {
            Some(Preemption::Preempts { victims, budget_violations, .. }) => {
                Some((victims.iter().map(|victim| victim.name.to_string()).collect(), budget_violations))
            }
            _ => None,
        };
        prop_assert_eq!(found, victims(&facts, &budgets, &pending, &target));
    }

    #[test]
    fn a_pod_fits_if_no_plugin_refuses_it((facts, pending, target) in clusters()) {
        let (read, pod) = (Read::of(&facts), pod(&pending));
        let feasibility = read.state().feasibility(&pod);
        prop_assert_eq!(feasibility.would_fit, blockers(&facts, &pending, &target).is_empty());
        prop_assert_eq!(feasibility.would_fit, feasibility.message.is_none());
        let alike = read.state().pods_like(&pod).on(target.clone()).would_fit;
        prop_assert_eq!(feasibility.would_fit, alike);
    }

    #[test]
    fn who_is_first_is_said_to_matter_where_it_does(
        (mut facts, pending, target) in clusters(),
        mut rival in pods(),
        node in 0..3_usize,
    ) {
        for other in &mut facts.pods {
            other["metadata"].as_object_mut().unwrap().remove("deletionTimestamp");
        }
        let place = format!("node-{}", node % facts.nodes.len());
        rival["metadata"]["name"] = json!("rival");
        let (read, pending) = (Read::of(&facts), pod(&pending));
        let mut after = facts.clone();
        after.pods.push(rival.clone());
        after.pods.last_mut().unwrap()["spec"]["nodeName"] = json!(place);
        let after = Read::of(&after);
        let rival = pod(&rival);
        if !read.state().pods_like(&rival).on(place.clone()).would_fit {
            return Ok(());
        }
        let is_bound = |read: &Read| read.state().pods_like(&pending).on(target.clone()).would_fit;
        let (before, after) = (is_bound(&read), is_bound(&after));
        let coming = ComingPods::new(Key::new("default", "rival"), rival.clone(), [(place.as_str().into(), Vec::new())]);
        let state = read.state().with_coming([coming]);
        let mut alike = state.pods_like(&pending);
        let said = if before { alike.competitors(target.clone(), &[]) } else { alike.needed(target.clone(), &[]) };
        prop_assert_eq!(!said.is_empty(), before != after);
    }

    #[test]
    fn the_order_of_the_facts_makes_no_difference((facts, pending, _) in clusters()) {
        let pod = pod(&pending);
        let mut reversed = facts.clone();
        reversed.nodes.reverse();
        reversed.pods.reverse();
        let (read, reversed) = (Read::of(&facts), Read::of(&reversed));
        let (one, other) = (read.state().feasibility(&pod), reversed.state().feasibility(&pod));
        prop_assert_eq!((one.verdict, one.message), (other.verdict, other.message));
    }

    #[test]
    fn more_capacity_never_makes_a_pod_infeasible((mut facts, pending, target) in clusters()) {
        let before = blockers(&facts, &pending, &target);
        for node in &mut facts.nodes {
            node["status"]["allocatable"] = json!({"cpu": "99", "memory": "99Gi", "pods": "999", "example.com/gpu": "99"});
        }
        let after = Read::of(&facts).refusals(&pod(&pending));
        prop_assert!(after.iter().all(|(plugin, _)| before.contains_key(plugin)), "{after:?} {before:?}");
        prop_assert!(after.iter().all(|(plugin, _)| plugin != "NodeResourcesFit"));
    }

    #[test]
    fn a_pod_that_leaves_adds_no_blocker_but_for_affinity((mut facts, pending, _) in clusters(), index in 0..7_usize) {
        let pod = pod(&pending);
        let before = Read::of(&facts).refusals(&pod);
        if index < facts.pods.len() {
            facts.pods.remove(index);
        }
        for (plugin, _) in Read::of(&facts).refusals(&pod) {
            // A pod elsewhere that leaves can make the spread uneven.
            let may_appear = ["InterPodAffinity", "PodTopologySpread"].contains(&plugin.as_str());
            prop_assert!(may_appear || before.iter().any(|(known, _)| *known == plugin), "{plugin}");
        }
    }

    #[test]
    fn remedies_help_and_victims_are_of_lower_priority(
        (mut facts, mut pending, target) in clusters(),
        priority in 0..2,
        expected in option::weighted(0.3, pods()),
    ) {
        pending["spec"]["priority"] = json!(priority);
        // A pod for which the scheduler keeps the node free.
        if let Some(mut expected) = expected {
            expected["metadata"]["name"] = json!("expected");
            expected["spec"].as_object_mut().unwrap().remove("nodeName");
            expected["spec"]["priority"] = json!(1);
            expected["status"] = json!({"nominatedNodeName": target});
            facts.pods.push(expected);
        }
        let (read, waiting) = (Read::of(&facts), pod(&pending));
        let state = read.state();
        for remedy in state.remedies(&waiting) {
            let (mut changed, mut later) = (facts.clone(), pending.clone());
            let node = changed.nodes.iter_mut().find(|node| node["metadata"]["name"] == *target).unwrap();
            for change in &remedy.changes {
                match change {
                    RemedyChange::PodLeaves { pod, .. } => {
                        changed.pods.retain(|other| other["metadata"]["name"] != *pod.name);
                    }
                    RemedyChange::Resource { resource, amount, .. } => {
                        let own: daemonplan::model::Quantity =
                            node["status"]["allocatable"][&**resource].as_str().unwrap_or("0").parse().unwrap();
                        let more = own + amount.parse().unwrap();
                        node["status"]["allocatable"][&**resource] = json!(more.to_string());
                    }
                    RemedyChange::MorePods { count } => {
                        let own: i64 = node["status"]["allocatable"]["pods"].as_str().unwrap().parse().unwrap();
                        node["status"]["allocatable"]["pods"] = json!((own + count).to_string());
                    }
                    RemedyChange::Tolerate { taint } => {
                        let toleration = json!({"key": taint.key, "operator": "Exists"});
                        later["spec"]["tolerations"].as_array_mut().unwrap().push(toleration);
                    }
                    RemedyChange::HigherPriority { .. } => {}
                    RemedyChange::DeletionEnds { pods } | RemedyChange::KeptFreeForEnds { pods } => {
                        changed.pods.retain(|other| pods.iter().all(|gone| other["metadata"]["name"] != *gone.name));
                    }
                    RemedyChange::Label { key, value } => node["metadata"]["labels"][&**key] = json!(value),
                    RemedyChange::Uncordon => node["spec"]["unschedulable"] = json!(false),
                    other => panic!("{other:?}"),
                }
            }
            if let [RemedyChange::HigherPriority { above, preempted }] = remedy.changes.as_slice() {
                later["spec"]["priority"] = json!(above + 1);
                let later = state.feasibility(&pod(&later));
                prop_assert_eq!(later.preempts(), preempted.as_slice());
                changed.pods.retain(|other| preempted.iter().all(|left| other["metadata"]["name"] != *left.name));
            }
            prop_assert_eq!(blockers(&changed, &later, &target), BTreeMap::default(), "{}", remedy);
            prop_assert!(Read::of(&changed).state().feasibility(&pod(&later)).would_fit, "{}", remedy);
        }
        let feasibility = state.feasibility(&waiting);
        for victim in feasibility.preempts() {
            let named = |other: &&Value| other["metadata"]["name"] == *victim.name;
            prop_assert!(facts.pods.iter().find(named).is_some() && priority > 0);
        }
        let has_plugin = |plugin| feasibility.blockers.iter().any(|own| own.plugin == plugin);
        prop_assert!(!has_plugin(Plugin::SchedulingGates));
    }
}
