use serde_json::{Value, json};

use crate::synthetic::{
    SyntheticCluster, now,
    random::{Random, letters},
    run,
};
use crate::{
    model::{
        ControllerRef, ControllerRevision, DaemonSet, HASH_LABEL, IntOrPercent, LabelSelector, Labels, Namespace, Pod,
        PodNode, PodPhase, PodTemplate, Readiness, Text, UpdateStrategy,
    },
    plan::Action,
    planner::Snapshot,
};

/// How a synthetic DaemonSet fares.
///
/// ```
/// use daemonplan::synthetic::{Condition, Synthetic};
/// let cluster = Synthetic::new(10).condition(Condition::New).daemonsets(1).build();
/// assert_eq!(cluster.pods.len(), 0);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Condition {
    /// All is as it should be.
    Settled,
    /// The same, with a required node affinity of six `NotIn` requirements.
    SettledWithAffinity,
    /// An update is half done, with 10 % of the nodes unavailable at most.
    RollingOut,
    /// An update with surge is half done.
    Surging,
    /// Two of three pods are of an older template, and stay.
    OnDelete,
    /// Half of the pods have not been ready for `minReadySeconds`.
    WarmingUp,
    /// Some pods have failed, some are not ready, some are being deleted, some are missing.
    Troubled,
    /// It has no pods yet.
    New,
}

impl Condition {
    pub(super) const ALL: [Self; 8] = [
        Self::Settled,
        Self::SettledWithAffinity,
        Self::RollingOut,
        Self::Surging,
        Self::OnDelete,
        Self::WarmingUp,
        Self::Troubled,
        Self::New,
    ];

    /// Adds a DaemonSet in this condition to the cluster.
    pub(super) fn put_in(
        self,
        cluster: &mut SyntheticCluster,
        namespace: &Namespace,
        number: usize,
        random: &mut Random,
    ) {
        let mut daemonset = self.daemonset(namespace, number, random);
        let mut revisions = vec![revision(&mut daemonset, namespace, &[], 1, random)];
        if matches!(self, Self::RollingOut | Self::Surging | Self::OnDelete) {
            let new = revision(&mut daemonset, namespace, &revisions, 2, random);
            revisions.push(new);
        }
        let edition = |revision: Option<&ControllerRevision>| Edition {
            hash: revision.and_then(|revision| revision.labels.get(HASH_LABEL)).unwrap_or_default().into(),
            number: revision.map(|revision| revision.revision).unwrap_or_default(),
        };
        let (old, new) = (edition(revisions.first()), edition(revisions.last()));
        let plan = Snapshot::new(&daemonset, &cluster.nodes, &[], namespace).revisions(&revisions).plan();
        let wanted: Vec<_> = plan.placements().filter(|placement| placement.verdict.should_run()).collect();
        let mut pods = Pods { daemonset: &daemonset, random, made: Vec::new() };
        for (place, node) in wanted.iter().map(|placement| &placement.node).enumerate() {
            let share = place * 1000 / wanted.len();
            match self {
                Self::New => {}
                Self::WarmingUp => pods.warming_up(&new, node),
                Self::Troubled => pods.troubled(&new, node),
                Self::RollingOut if (500..550).contains(&share) => pods.pending(&new, node),
                Self::Surging if (500..530).contains(&share) => {
                    pods.running(&old, node);
                    pods.pending(&new, node);
                }
                Self::RollingOut | Self::Surging if share >= 500 => pods.running(&old, node),
                Self::OnDelete if place % 3 > 0 => pods.running(&old, node),
                _ => pods.running(&new, node),
            }
        }
        cluster.pods.append(&mut pods.made);
        cluster.revisions.append(&mut revisions);
        cluster.daemonsets.push(daemonset);
    }

    fn daemonset(self, namespace: &Namespace, number: usize, random: &mut Random) -> DaemonSet {
        let roles = ["node-exporter", "log-shipper", "cni", "csi-node", "scanner", "dns-cache", "tracer", "kube-proxy"];
        let role = roles.into_iter().cycle().nth(number).unwrap_or_default();
        let mut daemonset = DaemonSet::new(namespace.name.clone(), format!("{role}-{number}"));
        daemonset.uid = random.uid();
        daemonset.annotations = Labels::from_iter([("deprecated.daemonset.template.generation", "1")]);
        let labels = Labels::from_iter([("app.kubernetes.io/name", daemonset.name.clone())]);
        daemonset.selector = LabelSelector::new(labels, Vec::new()).ok();
        let bounds =
            |unavailable, surge| UpdateStrategy::RollingUpdate { max_unavailable: unavailable, max_surge: surge };
        daemonset.update_strategy = match self {
            Self::OnDelete => UpdateStrategy::OnDelete,
            Self::Surging => bounds(IntOrPercent::Int(0), IntOrPercent::Percent(5)),
            _ => bounds(IntOrPercent::Percent(10), IntOrPercent::Int(0)),
        };
        daemonset.min_ready_seconds = if self == Self::WarmingUp { 300 } else { 0 };
        daemonset.template = template(&daemonset, self == Self::SettledWithAffinity, 1);
        daemonset
    }
}

/// Gives the DaemonSet this edition of its template, and gives the revision for it.
fn revision(
    daemonset: &mut DaemonSet,
    namespace: &Namespace,
    before: &[ControllerRevision],
    edition: i64,
    random: &mut Random,
) -> ControllerRevision {
    daemonset.generation = edition;
    let has_affinity = daemonset.template.required_affinity().is_some();
    daemonset.template = template(daemonset, has_affinity, edition);
    daemonset.annotations = Labels::from_iter([("deprecated.daemonset.template.generation", edition.to_string())]);
    let plan = Snapshot::new(daemonset, &[], &[], namespace).revisions(before).plan();
    let created = plan.actions.into_iter().find_map(|action| match action {
        Action::CreateRevision { revision } => Some(*revision),
        _ => None,
    });
    let mut revision = created.unwrap_or_else(|| {
        ControllerRevision::new(daemonset.namespace.clone(), daemonset.name.clone(), edition, Value::Null)
    });
    revision.uid = random.uid();
    revision
}

fn template(daemonset: &DaemonSet, has_affinity: bool, edition: i64) -> PodTemplate {
    let name = daemonset.name.as_str();
    let tolerated = ["node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/infra", "nvidia.com/gpu"];
    let tolerated = tolerated.map(|key| json!({"key": key, "operator": "Exists", "effect": "NoSchedule"}));
    let template = json!({
        "metadata": {"labels": {"app.kubernetes.io/name": name, "app.kubernetes.io/component": "agent"}},
        "spec": {
            "affinity": has_affinity.then(affinity),
            "containers": [{
                "name": "agent",
                "image": format!("registry.example.com/platform/{name}:1.{edition}.0"),
                "args": ["--node-name=$(NODE_NAME)", "--config=/etc/agent/config.yaml", "--log-level=info"],
                "env": [{"name": "NODE_NAME", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "spec.nodeName"}}}],
                "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": "256Mi"}},
                "volumeMounts": [{"name": "config", "mountPath": "/etc/agent", "readOnly": true}],
            }],
            "nodeSelector": {"kubernetes.io/os": "linux"},
            "serviceAccountName": name,
            "priorityClassName": "system-node-critical",
            "tolerations": tolerated,
            "volumes": [{"name": "config", "configMap": {"name": format!("{name}-config")}}],
        }
    });
    serde_json::from_value(template).unwrap_or_default()
}

fn affinity() -> Value {
    let not_in = |(key, values): (&str, [&str; 2])| json!({"key": key, "operator": "NotIn", "values": values});
    let requirements = [
        ("node.example.com/pool", ["batch", "edge"]),
        ("node.example.com/generation", ["0", "1"]),
        ("node.kubernetes.io/instance-type", ["t3.small", "t3.medium"]),
        ("topology.kubernetes.io/zone", ["eu-central-1d", "eu-central-1e"]),
        ("kubernetes.io/arch", ["arm64", "s390x"]),
        ("node.example.com/virtual", ["true", "kubelet"]),
    ];
    let terms = json!([{"matchExpressions": requirements.map(not_in)}]);
    json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}})
}

/// What ties a pod to its template.
struct Edition {
    hash: Text,
    number: i64,
}

/// Makes the pods of a DaemonSet.
struct Pods<'a> {
    daemonset: &'a DaemonSet,
    random: &'a mut Random,
    made: Vec<Pod>,
}

impl Pods<'_> {
    fn running(&mut self, edition: &Edition, node: &Text) {
        let mut pod = self.pod(edition, node);
        run(&mut pod, 3600, self.random);
        self.made.push(pod);
    }

    fn pending(&mut self, edition: &Edition, node: &Text) {
        let pod = self.pod(edition, node);
        self.made.push(pod);
    }

    fn warming_up(&mut self, edition: &Edition, node: &Text) {
        let mut pod = self.pod(edition, node);
        let since = now() - jiff::SignedDuration::from_secs(self.random.below(600).into());
        (pod.phase, pod.ready) = (PodPhase::Running, Readiness::Ready { since: Some(since) });
        self.made.push(pod);
    }

    fn troubled(&mut self, edition: &Edition, node: &Text) {
        let fate = self.random.below(1000);
        let mut pod = self.pod(edition, node);
        if fate >= 10 {
            run(&mut pod, 3600, self.random);
        }
        match fate {
            10..20 => (pod.phase, pod.ready) = (PodPhase::Failed, Readiness::NotReady),
            20..30 => pod.ready = Readiness::NotReady,
            30..35 => pod.deleted = Some(now()),
            35..45 => return,
            _ => {}
        }
        self.made.push(pod);
    }

    /// A pod that has only just come to its node.
    fn pod(&mut self, edition: &Edition, node: &Text) -> Pod {
        let DaemonSet { namespace, name, uid, .. } = self.daemonset;
        let mut pod = Pod::new(namespace.clone(), format!("{name}-{}", letters(self.made.len(), 5)));
        pod.uid = self.random.uid();
        let generation = edition.number.to_string();
        pod.labels = Labels::from_iter([
            ("app.kubernetes.io/name", name.as_str()),
            ("app.kubernetes.io/component", "agent"),
            (HASH_LABEL, edition.hash.as_str()),
            ("pod-template-generation", generation.as_str()),
        ]);
        pod.controller = Some(ControllerRef { kind: "DaemonSet".into(), name: name.clone(), uid: uid.clone() });
        pod.created = Some(now() - jiff::SignedDuration::from_secs(30));
        pod.node = PodNode::Bound(node.clone());
        pod
    }
}
