//! Lint findings, with field, consequence and fix.

use daemonplan::{
    Snapshot,
    lint::{Finding, Lint, Severity, lint},
    model::{LabelSelector, Pod, PodPhase},
};
use serde_json::{Value, json};

use super::common::{Cluster, PodExt, affinity, cluster, labelled, node, pod, selector, taint, template};

fn findings(cluster: &Cluster) -> Vec<Finding> {
    lint(&[cluster.snapshot()])
}

/// Returns the findings as `severity code field: message`.
fn lines(cluster: &Cluster) -> Vec<String> {
    findings(cluster).iter().map(|f| format!("{} {} {}: {}", f.severity, f.lint, f.field, f.message)).collect()
}

/// Returns the only finding of this kind.
fn only(cluster: &Cluster, lint: Lint) -> Finding {
    let mut found = findings(cluster);
    found.retain(|finding| finding.lint == lint);
    assert_eq!(found.len(), 1, "{:#?}", findings(cluster));
    found.remove(0)
}

fn has(cluster: &Cluster, lint: Lint) -> bool {
    findings(cluster).iter().any(|finding| finding.lint == lint)
}

fn some() -> Cluster {
    cluster([
        labelled("w1", &[("role", "worker")]),
        labelled("w2", &[("role", "worker")]),
        labelled("i1", &[("role", "infra")]),
    ])
}

#[test]
fn a_plain_daemonset_has_no_findings() {
    assert_eq!(lines(&some()), Vec::<String>::new());
}

#[test]
fn a_project_selector_that_keeps_pods_away_is_found() {
    let annotated = some().annotated(&[("openshift.io/node-selector", "role=worker")]);
    assert_eq!(
        lines(&annotated),
        ["error project-selector-conflict metadata.annotations[openshift.io/node-selector]: the annotation \
          openshift.io/node-selector excludes 1 node that the DaemonSet selects (i1): a controller that ignores it, such as \
          that of Kubernetes, creates pods there, which stay Pending where admission adds the selector"]
    );
    let finding = only(&annotated, Lint::ProjectSelectorConflict);
    assert_eq!((finding.kind, &*finding.nodes), ("Namespace", &["i1".into()][..]));
    assert_eq!(finding.fix, "kubectl annotate namespace prod openshift.io/node-selector=\"\" --overwrite");

    let by_default = some().with_settings(|settings| settings.project_node_selector = "role=infra".parse().ok());
    assert_eq!(only(&by_default, Lint::ProjectSelectorConflict).nodes, ["w1", "w2"]);
    assert!(!has(&by_default.clone().annotated(&[("openshift.io/node-selector", "")]), Lint::ProjectSelectorConflict));
    assert!(!has(&by_default.with_spec(json!({"nodeSelector": {"role": "infra"}})), Lint::ProjectSelectorConflict));

    let kubernetes = some().with_settings(|settings| settings.default_node_selector = "role=infra".parse().ok());
    let fix = only(&kubernetes, Lint::ProjectSelectorConflict).fix;
    assert_eq!(fix, "kubectl annotate namespace prod scheduler.alpha.kubernetes.io/node-selector=\"\" --overwrite");
}

#[test]
fn an_invalid_annotation_is_found() {
    let cluster = some().annotated(&[("scheduler.alpha.kubernetes.io/node-selector", "a,,b")]);
    let finding = only(&cluster, Lint::InvalidNamespaceSelector);
    assert_eq!((finding.kind, finding.severity), ("Namespace", Severity::Error));
    assert_eq!(finding.field, "metadata.annotations[scheduler.alpha.kubernetes.io/node-selector]");
    let openshift = some().annotated(&[("openshift.io/node-selector", "a,,b")]);
    assert!(only(&openshift, Lint::InvalidNamespaceSelector).field.contains("openshift.io"));
}

#[test]
fn selectors_that_cannot_work_are_found() {
    assert!(has(&some().with(|daemonset| daemonset.selector = None), Lint::SelectorMissing));
    assert!(has(
        &some().with(|daemonset| daemonset.selector = Some(LabelSelector::default())),
        Lint::SelectorMatchesAll
    ));
    let misses = some().with(|daemonset| daemonset.selector = Some(selector("app", "another")));
    assert_eq!(only(&misses, Lint::SelectorMissesTemplate).field, "spec.selector");
}

#[test]
fn selectors_that_match_the_same_pods_are_found_in_both_daemonsets() {
    let one = some();
    let overlapping = |change: fn(&mut Cluster)| {
        let mut other = some();
        other.daemonset.name = "other".into();
        change(&mut other);
        let found = lint(&[one.snapshot(), other.snapshot()]);
        let found = found.iter().filter(|finding| finding.lint == Lint::SelectorsOverlap);
        found.map(|finding| finding.daemon_set.name.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(overlapping(|_| {}), ["agent", "other"]);
    assert_eq!(overlapping(|other| other.daemonset.namespace = "elsewhere".into()), [""; 0]);
    assert_eq!(
        overlapping(|other| {
            other.daemonset.selector = Some(selector("app", "other"));
            other.daemonset.template = template(json!({}));
        }),
        [""; 0]
    );
    // The templates differ, but one pod has the labels of both.
    let both = pod("both", "w1").but(|pod| pod.labels = pod.labels.with("tier", "node"));
    let mut one = some().with_pod(both);
    one.daemonset.template = template(json!({}));
    let mut other = one.clone();
    (other.daemonset.name, other.daemonset.selector) = ("other".into(), Some(selector("tier", "node")));
    let found = lint(&[one.snapshot(), other.snapshot()]);
    assert_eq!(found.iter().filter(|finding| finding.lint == Lint::SelectorsOverlap).count(), 2);
}

#[test]
fn pods_to_be_adopted_are_found_and_those_deleted_afterwards() {
    let orphan = |name: &str, node: &str| pod(name, node).but(|pod| pod.controller = None);
    let cluster = some().with_pods([orphan("x", "w1"), orphan("y", "w1"), pod("own", "w2")]);
    let finding = only(&cluster, Lint::AdoptsPods);
    let deleted = "2 orphaned pods will be adopted, because the labels match, and 1 of them deleted next: x, y";
    assert_eq!(finding.message, deleted);
    let finding = only(&some().with_pods([orphan("x", "w1")]), Lint::AdoptsPods);
    assert_eq!(finding.message, "1 orphaned pod will be adopted, because the labels match: x");
}

#[test]
fn rules_that_match_no_node_are_found_one_by_one() {
    let label = |key: &str, value: &str| json!({"key": key, "operator": "In", "values": [value]});
    let terms = json!([
        {"matchExpressions": [label("role", "cache")]},
        {"matchExpressions": [label("role", "db")]},
        {"matchExpressions": [{"key": "role", "operator": "Near"}]},
        {},
    ]);
    let cluster =
        some().with_spec(json!({"nodeSelector": {"role": "worker", "disk": "ssd"}, "affinity": affinity(terms)}));
    let affinity = "spec.template.spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution";
    let found = findings(&cluster);
    let never: Vec<_> = found.iter().filter(|f| f.lint == Lint::MatchesNoNode).map(|f| f.field.clone()).collect();
    assert_eq!(
        never,
        [
            format!("{affinity}.nodeSelectorTerms[0]"),
            format!("{affinity}.nodeSelectorTerms[1]"),
            format!("{affinity}.nodeSelectorTerms[3]"),
            "spec.template.spec.nodeSelector[disk]".to_owned()
        ]
    );
    assert_eq!(only(&cluster, Lint::InvalidAffinityTerm).field, format!("{affinity}.nodeSelectorTerms[2]"));
    assert_eq!(only(&cluster, Lint::AffinityReplaced).severity, Severity::Note);
    let either = json!([{"matchExpressions": [label("role", "worker")]}, {"matchExpressions": [label("role", "db")]}]);
    let either = some().with_spec(json!({"affinity": super::common::affinity(either)}));
    assert!(!has(&either, Lint::MatchesNoNode), "one of the terms is enough");
    let mut empty = cluster;
    empty.nodes.clear();
    assert!(!has(&empty, Lint::MatchesNoNode), "unknown without nodes");
}

#[test]
fn tolerations_for_everything_and_named_nodes_are_found() {
    let with = |toleration| some().with_spec(json!({"tolerations": [{"key": "a", "operator": "Exists"}, toleration]}));
    let finding = only(&with(json!({"operator": "Exists"})), Lint::ToleratesEverything);
    assert_eq!(finding.field, "spec.template.spec.tolerations[1]");
    assert!(!has(&with(json!({"operator": "Exists", "effect": "NoSchedule"})), Lint::ToleratesEverything));
    assert!(has(&some().with_spec(json!({"nodeName": "w1"})), Lint::NodeNameInTemplate));
}

#[test]
fn bounds_that_block_an_update_or_take_all_pods_down_are_found() {
    assert!(has(&some().rolling(json!(0), json!(0)), Lint::UpdateNeverMoves));
    assert!(has(&some().rolling(json!("0%"), json!("0%")), Lint::UpdateNeverMoves));
    let all = some().rolling(json!("100%"), json!(0));
    assert_eq!(
        only(&all, Lint::UpdateTakesAllDown).message,
        "maxUnavailable is 100% of 3 nodes: all may be unavailable at once"
    );
    assert!(has(&some().rolling(json!(3), json!(0)), Lint::UpdateTakesAllDown));
    for fine in [some().rolling(json!(2), json!(0)), some().rolling(json!(0), json!(3)), some()] {
        assert!(!has(&fine, Lint::UpdateTakesAllDown) && !has(&fine, Lint::UpdateNeverMoves));
    }
    let single = cluster([node("w1")]);
    assert!(!has(&single, Lint::UpdateTakesAllDown), "a single node is always all nodes");
}

#[test]
fn a_surge_that_needs_a_host_port_twice_is_found() {
    let surging = |spec| some().rolling(json!(0), json!(1)).with_spec(spec);
    let ports = |port| json!([{"name": "a"}, {"name": "b", "ports": [port]}]);
    let host_port = surging(json!({"containers": ports(json!({"containerPort": 80, "hostPort": 8080}))}));
    let finding = only(&host_port, Lint::SurgeNeedsPort);
    assert_eq!(finding.field, "spec.template.spec.containers[1].ports[0].hostPort");
    assert!(finding.message.contains("port 8080"), "{}", finding.message);
    let host_network = json!({"hostNetwork": true, "containers": ports(json!({"containerPort": 80}))});
    assert!(has(&surging(host_network.clone()), Lint::SurgeNeedsPort));
    let sidecar = json!({"initContainers": [{"name": "s", "restartPolicy": "Always", "ports": [{"containerPort": 1, "hostPort": 1}]}]});
    assert!(has(&surging(sidecar), Lint::SurgeNeedsPort));
    let init = json!({"initContainers": [{"name": "s", "ports": [{"containerPort": 1, "hostPort": 1}]}]});
    assert!(!has(&surging(init), Lint::SurgeNeedsPort));
    assert!(!has(&surging(json!({"containers": ports(json!({"containerPort": 80}))})), Lint::SurgeNeedsPort));
    assert!(!has(&some().with_spec(host_network), Lint::SurgeNeedsPort), "without a surge no port is needed twice");
}

#[test]
fn a_rollout_of_more_than_a_day_is_found() {
    let slow = some().with(|daemonset| daemonset.min_ready_seconds = 28_801);
    let finding = only(&slow, Lint::SlowRollOut);
    assert_eq!(finding.message, "an update of 3 nodes, 1 at a time, takes at least 24h 3s");
    assert!(!has(&some().with(|daemonset| daemonset.min_ready_seconds = 28_800), Lint::SlowRollOut));
    assert!(!has(&slow.rolling(json!(0), json!(2)), Lint::SlowRollOut));
}

#[test]
fn pods_of_old_revisions_and_missing_history_are_found() {
    let pods = [pod("a", "w1"), pod("b", "w2").of("two"), pod("c", "i1").of("three")];
    let on_delete = some().with_pods(pods).with_strategy(json!({"type": "OnDelete"}));
    assert!(only(&on_delete, Lint::ManyRevisionsInUse).message.starts_with("pods of 3 revisions run"));
    let mut two = on_delete.clone();
    two.pods[2] = pod("c", "i1").of("two");
    assert!(!has(&two, Lint::ManyRevisionsInUse));
    assert!(!has(&on_delete.rolling(json!(1), json!(0)), Lint::ManyRevisionsInUse), "an update is in progress");
    assert!(has(&some().with(|daemonset| daemonset.revision_history_limit = 0), Lint::NoHistory));
}

#[test]
fn a_blocked_update_is_found_with_its_nodes() {
    let mut waiting =
        some().with_pods([pod("a", "w1").of("two").unready(), pod("b", "w2"), pod("c", "i1")]).with_new_template();
    waiting.nodes[0].taints = vec![taint("node.kubernetes.io/not-ready:NoExecute")];
    let finding = only(&waiting, Lint::UpdateWaits);
    assert_eq!(finding.nodes, ["w1"]);
    assert!(finding.message.contains("w1: pod a is not ready, and the node is not ready"), "{}", finding.message);
}

#[test]
fn findings_are_sorted_by_severity_and_every_lint_has_a_unique_code() {
    let cluster = some()
        .with_spec(json!({
            "affinity": affinity(json!([{"matchExpressions": [{"key": "role", "operator": "Exists"}]}])),
            "containers": [{"name": "agent", "image": "agent:1"}],
        }))
        .with(|daemonset| daemonset.revision_history_limit = 0)
        .annotated(&[("openshift.io/node-selector", "role=worker")]);
    let severities: Vec<_> = findings(&cluster).iter().map(|finding| finding.severity).collect();
    assert_eq!(severities, [Severity::Error, Severity::Warning, Severity::Note]);
    let codes: std::collections::BTreeSet<_> = Lint::ALL.iter().map(|lint| lint.code()).collect();
    assert_eq!(codes.len(), Lint::ALL.len());
    let json = serde_json::to_value(&findings(&cluster)[1]).unwrap();
    assert_eq!(json["code"], "no-history");
    assert_eq!((&json["severity"], &json["daemonSet"]["name"]), (&json!("warning"), &json!("agent")));
    assert_eq!(json["nodes"], json!(null));
    let line = findings(&cluster)[1].to_string();
    assert!(line.starts_with("warning[no-history]: prod/agent: DaemonSet: spec.revisionHistoryLimit: "), "{line}");
}

#[test]
fn an_empty_snapshot_can_be_linted() {
    let cluster = cluster([]);
    assert_eq!(lint(&[] as &[Snapshot<'_>]), []);
    assert_eq!(lines(&cluster), Vec::<String>::new());
}

#[test]
fn a_healthy_update_is_no_alarm_and_a_blocked_one_has_a_fix_that_can_work() {
    let minutes_ago = |minutes: i64| Some(some().now - jiff::SignedDuration::from_mins(minutes));
    let waiting = |change: &dyn Fn(&mut Pod)| {
        let mut new = pod("a", "w1").of("two").phase(PodPhase::Pending);
        new.created = minutes_ago(1);
        change(&mut new);
        some().with_pods([new, pod("b", "w2"), pod("c", "i1")]).with_new_template()
    };
    let waits = |cluster: &Cluster| findings(cluster).into_iter().find(|finding| finding.lint == Lint::UpdateWaits);
    assert_eq!(waits(&waiting(&|_| {})), None, "it has been starting for a minute");
    assert_eq!(waits(&waiting(&|pod| pod.deleted = minutes_ago(1))), None);
    let long = waits(&waiting(&|pod| pod.created = minutes_ago(60))).unwrap();
    assert_eq!(long.fix, "fix what kubectl describe pod -n prod a shows, or raise maxUnavailable to 2 or more");
    let surging = waiting(&|pod| pod.created = minutes_ago(60)).rolling(json!(0), json!(1));
    let surging = Cluster { pods: [surging.pods.clone(), vec![pod("d", "w1")]].concat(), ..surging };
    assert!(waits(&surging).unwrap().fix.ends_with("or raise maxSurge to 2 or more"), "both limits are refused");
    let stays = waits(&waiting(&|pod| pod.deleted = minutes_ago(60))).unwrap();
    assert!(stays.fix.contains("kubectl delete pod -n prod a --force"), "{}", stays.fix);
    let mut dead = waiting(&|pod| pod.deleted = minutes_ago(60));
    dead.nodes[0].taints = vec![taint("node.kubernetes.io/unreachable:NoExecute")];
    let dead = waits(&dead).unwrap();
    for way in ["kubectl delete node w1", "maxUnavailable to 2", "daemonplan/away"] {
        assert!(dead.fix.contains(way), "{}", dead.fix);
    }
    assert!(!dead.fix.contains("--force"), "another pod would come that does not start there: {}", dead.fix);
    let clockless = waiting(&|pod| pod.created = minutes_ago(60));
    let snapshot = Snapshot::new(&clockless.daemonset, &clockless.nodes, &clockless.pods, &clockless.namespace)
        .revisions(&clockless.revisions);
    assert!(lint(&[snapshot]).iter().all(|finding| finding.lint != Lint::UpdateWaits));
}

#[test]
fn a_daemonset_that_several_rules_together_keep_from_all_nodes_is_found() {
    let mut cluster = cluster([labelled("a", &[("pool", "x")]), node("b")])
        .with_spec(json!({"nodeSelector": {"pool": "x"}, "containers": [{"name": "a", "image": "a"}]}));
    assert!(findings(&cluster).iter().all(|finding| finding.lint != Lint::WantedNowhere));
    cluster.nodes[0].taints = vec![taint("dedicated:NoSchedule")];
    let finding = only(&cluster, Lint::WantedNowhere);
    assert!(finding.message.starts_with("no node of 2 should run a pod (1 node: "), "{}", finding.message);
    assert!(finding.message.contains("dedicated:NoSchedule is not tolerated"), "{}", finding.message);
    cluster.nodes[0].labels = [("pool", "y")].into_iter().collect();
    assert!(
        findings(&cluster).iter().all(|finding| finding.lint != Lint::WantedNowhere),
        "one rule alone has its own lint"
    );
}

#[test]
fn tolerations_that_the_controller_overrides_are_found() {
    let with = |toleration: Value| {
        let cluster =
            some().with_spec(json!({"tolerations": [toleration], "containers": [{"name": "a", "image": "a"}]}));
        let is_meant = |finding: &Finding| finding.lint == Lint::TolerationOverridden;
        findings(&cluster).iter().filter(|finding| is_meant(finding)).count()
    };
    let key = "node.kubernetes.io/not-ready";
    assert_eq!(with(json!({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 30})), 1);
    assert_eq!(with(json!({"key": key, "operator": "Exists", "effect": "NoExecute"})), 0);
    assert_eq!(with(json!({"key": "mine", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 30})), 0);
}

#[test]
fn critical_priority_classes_are_found_outside_kube_system() {
    let spec = |class: &str| json!({"priorityClassName": class, "containers": [{"name": "a", "image": "a"}]});
    let has = |cluster: &Cluster| findings(cluster).iter().any(|finding| finding.lint == Lint::CriticalPriority);
    assert!(has(&some().with_spec(spec("system-node-critical"))));
    assert!(!has(&some().with_spec(spec("mine"))));
    let mut system = some().with_spec(spec("system-cluster-critical"));
    system.daemonset.namespace = "kube-system".into();
    system.namespace = daemonplan::model::Namespace::new("kube-system");
    assert!(!has(&system));
}

#[test]
fn daemonsets_that_need_the_same_port_of_a_node_are_found() {
    let with_port = |name: &str, port: u64, pool: Option<&str>| {
        let ports = json!([{"containerPort": port, "hostPort": port}]);
        let mut spec = json!({"containers": [{"name": "a", "image": "a", "ports": ports}]});
        if let Some(pool) = pool {
            spec["nodeSelector"] = json!({"pool": pool});
        }
        let nodes = [labelled("a", &[("pool", "x")]), labelled("b", &[("pool", "y")])];
        let mut cluster = cluster(nodes).with_spec(spec);
        cluster.daemonset.name = name.into();
        cluster
    };
    let conflicts = |one: &Cluster, other: &Cluster| {
        let found = lint(&[one.snapshot(), other.snapshot()]);
        let found = found.into_iter().filter(|finding| finding.lint == Lint::HostPortConflict);
        found.map(|finding| (finding.daemon_set.name.to_string(), finding.nodes.len())).collect::<Vec<_>>()
    };
    let one = with_port("one", 9100, None);
    assert_eq!(conflicts(&one, &with_port("two", 9100, None)), [("one".into(), 2), ("two".into(), 2)]);
    assert_eq!(conflicts(&one, &with_port("two", 9100, Some("x"))), [("one".into(), 1), ("two".into(), 1)]);
    assert_eq!(conflicts(&one, &with_port("two", 9101, None)), []);
    assert_eq!(conflicts(&with_port("one", 9100, Some("y")), &with_port("two", 9100, Some("x"))), []);
}

#[test]
fn a_deletion_that_does_not_end_is_found_with_what_helps() {
    let deleting = |minutes: i64| {
        let now = some().now;
        some()
            .with(|daemonset| daemonset.deleted = Some(now))
            .with_pod(pod("x", "w1").but(|pod| pod.deleted = Some(now - jiff::SignedDuration::from_mins(minutes))))
    };
    assert!(!has(&deleting(1), Lint::DeletionWaits), "a pod takes its time to stop");
    let finding = only(&deleting(60), Lint::DeletionWaits);
    assert_eq!(finding.fix, "once its containers have stopped: kubectl delete pod -n prod x --force");
    let mut kept = deleting(60);
    kept.pods[0].problem = Some(Box::default());
    kept.pods[0].problem.as_mut().unwrap().finalizers = vec!["a.io/b".into()];
    let fix = only(&kept, Lint::DeletionWaits).fix;
    assert!(fix.contains("find out why its finalizers (a.io/b) stay") && !fix.contains("--force"), "{fix}");
    let mut dead = deleting(1);
    dead.nodes[0].taints = vec![taint("node.kubernetes.io/unreachable:NoExecute")];
    let finding = only(&dead, Lint::DeletionWaits);
    assert!(
        finding.fix.contains("kubectl delete node w1") && !finding.fix.contains("maxUnavailable"),
        "{}",
        finding.fix
    );
}

#[test]
fn pods_that_the_kubelet_rejects_are_found() {
    let failed = |reason: &str| {
        let status = json!({"phase": "Failed", "reason": reason, "message": "no"});
        let mut json = serde_json::to_value(pod("x", "w1")).unwrap();
        json["status"] = status;
        some().with_pod(serde_json::from_value(json).unwrap())
    };
    let finding = only(&failed("OutOfcpu"), Lint::KubeletRejects);
    assert!(finding.message.contains("(w1: OutOfcpu: no)"), "{}", finding.message);
    assert!(only(&failed("NodeAffinity"), Lint::KubeletRejects).fix.contains("--project-node-selector"));
    assert!(!has(&failed("Evicted"), Lint::KubeletRejects), "the kubelet had accepted it");
    for (reason, fix) in [
        ("OutOfcpu", "make room on the node, or lower what the pod needs"),
        ("TaintToleration", "tolerate the taints of the node, or keep the pods off it"),
        ("NodePorts", "free the port on the node, or let the pod use another one"),
        (
            "PodOSNotSupported",
            "keep them off nodes with another operating system than spec.os says: nodeSelector kubernetes.io/os",
        ),
        ("SysctlForbidden", "change the template or the node as the kubelet says, or keep the pods off the node"),
    ] {
        assert_eq!(only(&failed(reason), Lint::KubeletRejects).fix, fix, "{reason}");
    }
}

#[test]
fn virtual_nodes_and_several_operating_systems_are_found() {
    let os = |name: &str, os: &str| labelled(name, &[("kubernetes.io/os", os)]);
    let mut mixed = cluster([os("a", "linux"), os("b", "windows")]);
    let finding = only(&mixed, Lint::SeveralOperatingSystems);
    assert_eq!(
        (&*finding.nodes, &*finding.fix),
        (&["b".into()][..], "choose one: nodeSelector kubernetes.io/os: linux")
    );
    mixed = mixed.with_spec(json!({"nodeSelector": {"kubernetes.io/os": "linux"}}));
    assert!(!has(&mixed, Lint::SeveralOperatingSystems));
    let fargate = cluster([node("a"), labelled("f", &[("eks.amazonaws.com/compute-type", "fargate")])]);
    let finding = only(&fargate, Lint::VirtualNodes);
    assert_eq!(finding.nodes, ["f"]);
    assert!(finding.fix.ends_with("eks.amazonaws.com/compute-type NotIn [fargate]"), "{}", finding.fix);
    let mut tainted = cluster([node("v")]).with_spec(json!({"tolerations": [{"operator": "Exists"}]}));
    tainted.nodes[0].taints = vec![taint("virtual-kubelet.io/provider=azure:NoSchedule")];
    let finding = only(&tainted, Lint::VirtualNodes);
    assert_eq!(finding.fix, "do not tolerate the taint virtual-kubelet.io/provider=azure:NoSchedule");
    tainted.nodes[0].taints = vec![taint("virtual-kubelet.io/provider=azure:PreferNoSchedule")];
    assert_eq!(only(&tainted, Lint::VirtualNodes).fix, "exclude them with a required node affinity");
    assert!(!has(&cluster([node("a")]), Lint::VirtualNodes));
    assert!(has(&fargate.clone().with_pod(pod("x", "f").unready()), Lint::VirtualNodes));
    assert!(!has(&fargate.with_pod(pod("x", "f")), Lint::VirtualNodes), "its pod is ready");
    let systems = cluster([os("a", "linux"), os("b", "windows")]).with_pod(pod("x", "a"));
    assert!(has(&systems, Lint::SeveralOperatingSystems), "no pod is ready on windows");
    assert!(!has(&systems.with_pod(pod("y", "b")), Lint::SeveralOperatingSystems));
}

#[test]
fn pods_that_tolerate_a_taint_for_a_time_only_are_evicted_again_and_again() {
    let with = |tolerations: serde_json::Value| {
        let mut cluster = some().with_spec(json!({"tolerations": tolerations}));
        cluster.nodes[0].taints = vec![taint("a:NoExecute")];
        cluster
    };
    let timed = json!({"key": "a", "operator": "Exists", "tolerationSeconds": 60});
    let finding = only(&with(json!([timed])), Lint::EvictedRepeatedly);
    assert_eq!(
        finding.message,
        "the taint a:NoExecute of 1 node (w1) is tolerated for 60s only: pods there are evicted after that time and created \
         again, without end, as the controller ignores tolerationSeconds"
    );
    let for_good = json!({"key": "a", "operator": "Exists"});
    assert!(has(&with(json!([timed, for_good])), Lint::EvictedRepeatedly), "the first one counts");
    assert!(!has(&with(json!([for_good, timed])), Lint::EvictedRepeatedly));
    assert!(!has(&with(json!([])), Lint::EvictedRepeatedly), "none is created there");
    let mut unready = with(
        json!([{"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 60}]),
    );
    unready.nodes[0].taints = vec![taint("node.kubernetes.io/not-ready:NoExecute")];
    assert!(!has(&unready, Lint::EvictedRepeatedly), "each daemon pod tolerates it for good");
}

#[test]
fn an_image_with_spaces_is_refused_in_every_pod() {
    let spaced =
        some().with_spec(json!({"containers": [{"name": "a", "image": "a:1"}, {"name": "b", "image": " b:1"}]}));
    let finding = only(&spaced, Lint::PodsRefused);
    assert_eq!((&*finding.field, &*finding.fix), ("spec.template.spec.containers[1].image", "write it as \"b:1\""));
    assert!(!has(&some(), Lint::PodsRefused));
}
