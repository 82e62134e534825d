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

/// The condition of a synthetic DaemonSet.
///
/// ```
/// use daemonplan::synthetic::{Condition, Synthetic};
/// let cluster = Synthetic::new(10).condition(Condition::New).daemonsets(1).build();
/// assert_eq!(cluster.pods.len(), 0);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Condition {
    /// All pods are updated and available.
    Settled,
    /// Like [`Settled`](Self::Settled), with a required node affinity of six `NotIn` requirements.
    SettledWithAffinity,
    /// A rolling update is half done, with `maxUnavailable` 10%.
    RollingOut,
    /// A rolling update with surge is half done.
    Surging,
    /// Two of three pods are outdated and are not replaced.
    OnDelete,
    /// Half of the pods have not yet been ready for `minReadySeconds`.
    WarmingUp,
    /// Some pods have failed, are not ready, are being deleted or are missing.
    Troubled,
    /// The DaemonSet has no pods.
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

    /// Adds a DaemonSet in this condition to `cluster`.
    pub(super) fn add_to(
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
        let snapshot = Snapshot::new(&daemonset, &cluster.nodes, &[], namespace);
        let desired: Vec<_> = snapshot.placements().filter(|placement| placement.verdict.should_run()).collect();
        let mut builder = PodBuilder { daemonset: &daemonset, random, pods: Vec::new() };
        for (index, node) in desired.iter().map(|placement| &placement.node).enumerate() {
            let permille = index * 1000 / desired.len();
            match self {
                Self::New => {}
                Self::WarmingUp => builder.warming_up(&new, node),
                Self::Troubled => builder.troubled(&new, node),
                Self::RollingOut if (500..550).contains(&permille) => builder.pending(&new, node),
                Self::Surging if (500..530).contains(&permille) => {
                    builder.running(&old, node);
                    builder.pending(&new, node);
                }
                Self::RollingOut | Self::Surging if permille >= 500 => builder.running(&old, node),
                Self::OnDelete if index % 3 > 0 => builder.running(&old, node),
                _ => builder.running(&new, node),
            }
        }
        cluster.pods.append(&mut builder.pods);
        cluster.revisions.append(&mut revisions);
        cluster.daemonsets.push(daemonset);
    }

    fn daemonset(self, namespace: &Namespace, number: usize, random: &mut Random) -> DaemonSet {
        let roles = ["node-exporter", "log-shipper", "cni", "csi-node", "scanner", "dns-cache", "tracer", "kube-proxy"];
        let role = roles.into_iter().cycle().nth(number).unwrap_or_default();
        let mut daemonset = DaemonSet::unselective(namespace.name.clone(), format!("{role}-{number}"));
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

/// Sets the DaemonSet's template to this edition, and returns its revision.
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

/// The labels of a pod that identify its template.
struct Edition {
    hash: Text,
    number: i64,
}

/// A builder of a DaemonSet's pods.
struct PodBuilder<'a> {
    daemonset: &'a DaemonSet,
    random: &'a mut Random,
    pods: Vec<Pod>,
}

impl PodBuilder<'_> {
    fn running(&mut self, edition: &Edition, node: &Text) {
        let mut pod = self.pod(edition, node);
        run(&mut pod, 3600, self.random);
        self.pods.push(pod);
    }

    fn pending(&mut self, edition: &Edition, node: &Text) {
        let pod = self.pod(edition, node);
        self.pods.push(pod);
    }

    fn warming_up(&mut self, edition: &Edition, node: &Text) {
        let mut pod = self.pod(edition, node);
        let since = now() - jiff::SignedDuration::from_secs(self.random.below(600).into());
        (pod.phase, pod.ready) = (PodPhase::Running, Readiness::Ready { since: Some(since) });
        self.pods.push(pod);
    }

    fn troubled(&mut self, edition: &Edition, node: &Text) {
        let problem = self.random.below(1000);
        let mut pod = self.pod(edition, node);
        if problem >= 10 {
            run(&mut pod, 3600, self.random);
        }
        match problem {
            10..20 => (pod.phase, pod.ready) = (PodPhase::Failed, Readiness::default()),
            20..30 => pod.ready = Readiness::default(),
            30..35 => pod.deleted = Some(now()),
            35..45 => return,
            _ => {}
        }
        self.pods.push(pod);
    }

    /// Returns a pod that was just bound to its node.
    fn pod(&mut self, edition: &Edition, node: &Text) -> Pod {
        let DaemonSet { namespace, name, uid, .. } = self.daemonset;
        let mut pod = Pod::new(namespace.clone(), format!("{name}-{}", letters(self.pods.len(), 5)));
        pod.uid = self.random.uid();
        let generation = edition.number.to_string();
        pod.labels = Labels::from_iter([
            ("app.kubernetes.io/name", name.as_str()),
            ("app.kubernetes.io/component", "agent"),
            (HASH_LABEL, edition.hash.as_str()),
            ("pod-template-generation", generation.as_str()),
        ]);
        pod.controller = Some(ControllerRef { kind: "DaemonSet".into(), name: name.clone(), uid: uid.clone() }.into());
        pod.created = Some(now() - jiff::SignedDuration::from_secs(30));
        pod.node = PodNode::Bound(node.clone());
        pod
    }
}
