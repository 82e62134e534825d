//! Policies as annotations, and as settings.

use super::*;

#[test]
fn an_invalid_annotation_pauses_updates_with_a_warning() {
    for (annotation, text) in
        [("partition", "many"), ("partiton", "1"), ("canary-bake", "10m"), ("group-pace", "spread")]
    {
        let cluster = update(plain(&["a"]), &[(annotation, text)]).with_pods([old("a")]);
        assert_eq!((next_nodes(&cluster), phase(&cluster).code()), (vec![], "Unreadable"), "{annotation}");
        let warning = cluster.plan().warnings[0].to_string();
        assert!(warning.contains(&format!("annotation daemonplan/{annotation}: ")), "{warning}");
        assert!(lint(&[cluster.snapshot()]).iter().any(|finding| finding.lint.code() == "invalid-policy"));
        let heedless = cluster.with_settings(|settings| settings.ignore_policy_annotations = true);
        assert_eq!(next_nodes(&heedless), ["a"]);
    }
}

#[test]
fn annotations_override_the_settings_and_can_remove_a_policy() {
    let mut general = RolloutPolicy::default();
    general.partition = Some(IntOrPercent::Int(1));
    let with = |annotations: &[(&str, &str)]| {
        let cluster = update(plain(&["a", "b"]), annotations).with_pods([old("a"), old("b")]);
        next_nodes(&cluster.with_settings(|settings| settings.rollout_policy = general.clone()))
    };
    assert_eq!(with(&[]), ["a"]);
    assert_eq!(with(&[("partition", "2")]), [""; 0]);
    assert_eq!(with(&[("partition", "none")]), ["a", "b"]);
}

#[test]
fn on_delete_ignores_policies_but_lint_reports_them() {
    let cluster = update(plain(&["a"]), &[("paused", "true")]).with_strategy(json!({"type": "OnDelete"}));
    assert_eq!(cluster.plan().rollout, None);
    assert_eq!(created_image(&cluster), "agent:2");
    assert!(lint(&[cluster.snapshot()]).iter().any(|finding| finding.lint.code() == "idle-policy"));
}

#[test]
fn values_are_trimmed_and_none_removes_each_policy_of_the_settings() {
    let set: Vec<_> = [
        "paused=true",
        "frozen=true",
        "slow-start=1",
        "canary-promoted=two",
        "update-nodes=pool=blue",
        "partition=2",
        "order=oldest-pod",
        "groups=zone",
        "group-pace=spread",
        "group-order=a,b",
        "group-max-unavailable=1",
        "strict-budget=true",
        "away=cordoned",
        "max-away=1",
        "canary=1",
        "canary-bake=10m",
        "canary-approval=manual",
        "canary-approved=two",
        "canary-timeout=1h",
        "on-failure=pause",
        "pause-restarts=7",
        "max-restarts=9",
        "start-grace=1m",
        "available-within=2m",
        "max-failures=1",
        "backoff=by-reason",
    ]
    .into_iter()
    .collect();
    let general = RolloutPolicy::default().with_flags(set.iter().copied()).unwrap();
    let spaced = set.iter().map(|flag| flag.replacen('=', "= ", 1) + " ").collect::<Vec<_>>();
    assert_eq!(RolloutPolicy::default().with_flags(spaced.iter().map(String::as_str)), Ok(general.clone()));
    for name in RolloutPolicy::NAMES.iter().filter(|name| **name != "canary-nodes") {
        let removed = general.clone().with_flags([&*format!("{name}= none ")]).unwrap();
        assert_ne!(removed, general, "{name}");
    }
    let all = RolloutPolicy::NAMES.iter().map(|name| format!("{name}=none")).collect::<Vec<_>>();
    assert_eq!(general.with_flags(all.iter().map(String::as_str)), Ok(RolloutPolicy::default()));
    assert_eq!(RolloutPolicy::default().with_flags(all.iter().map(String::as_str)), Ok(RolloutPolicy::default()));
}

#[test]
fn misplaced_and_misspelt_policies_are_warned_of() {
    let pods = || [old("a")];
    let pairs = |key: &str| [(key, "true")].into_iter().collect();
    let told = |cluster: &Cluster| {
        let warnings = cluster.plan().warnings;
        let texts = warnings.iter().filter(|warning| warning.code() == "MisplacedPolicy").map(ToString::to_string);
        let texts: Vec<_> = texts.collect();
        let lints = lint(&[cluster.snapshot()]).into_iter().filter(|finding| finding.lint.code() == "misplaced-policy");
        assert_eq!(lints.map(|finding| finding.message).collect::<Vec<_>>(), texts);
        texts.concat()
    };
    for key in
        ["Daemonplan/paused", "daemonplan.io/paused", "deamonplan/paused", "daemonplan-paused", "daemon-plan/paused"]
    {
        let cluster = update(plain(&["a"]), &[]).with_pods(pods()).with(|daemonset| daemonset.annotations = pairs(key));
        let expected = "has no effect: as a policy it would be the annotation daemonplan/paused of the DaemonSet";
        assert_eq!(told(&cluster), format!("the annotation {key} of the DaemonSet {expected}"));
    }
    for key in ["example.com/paused", "kubernetes.io/order", "daemonplan.example.com/owner", "paused"] {
        let cluster = update(plain(&["a"]), &[]).with_pods(pods()).with(|daemonset| daemonset.annotations = pairs(key));
        assert_eq!(told(&cluster), "", "{key}");
    }
    let label = update(plain(&["a"]), &[]).with(|daemonset| daemonset.labels = pairs("daemonplan/paused"));
    assert!(told(&label).starts_with("the label daemonplan/paused of the DaemonSet has no effect"));
    let in_template = update(plain(&["a"]), &[]).with(|daemonset| {
        let mut json = daemonset.template.json().clone();
        json["metadata"]["annotations"] = json!({"daemonplan/paused": "true"});
        daemonset.template = daemonplan::model::PodTemplate::new(json).unwrap();
    });
    assert!(told(&in_template).starts_with("the annotation daemonplan/paused of the template has no effect"));
    let heedless = label.with_settings(|settings| settings.ignore_policy_annotations = true);
    assert_eq!(told(&heedless), "");
}

#[test]
fn the_embedder_chooses_the_prefix() {
    let cluster = update(plain(&["a", "b"]), &[]).with_pods([old("a"), old("b")]).with(|daemonset| {
        daemonset.annotations =
            [("rollouts.example.com/canary", "0"), ("rollouts.example.com/canary-approval", "manual")]
                .into_iter()
                .collect();
    });
    assert_eq!(next_nodes(&cluster), ["a", "b"]);
    let cluster = cluster.with_settings(|settings| settings.policy_prefix = "rollouts.example.com/".into());
    assert_eq!(
        phase(&cluster).to_string(),
        "an operator must approve the update: annotate the DaemonSet with rollouts.example.com/canary-approved=two"
    );
    let other = cluster.with(|daemonset| daemonset.annotations = [("daemonplan/paused", "true")].into_iter().collect());
    assert_eq!(next_nodes(&other), ["a", "b"]);
}

#[test]
fn a_record_that_cannot_be_read_pauses_updates() {
    let cluster = update(plain(&["a"]), &[("rollout-record", "{"), ("order", "name"), ("strict-budget", "true")]);
    let cluster = cluster.with_pods([old("a")]);
    assert_eq!((next_nodes(&cluster), phase(&cluster).code()), (vec![], "Unreadable"));
    let warning = cluster.plan().warnings[0].to_string();
    assert!(warning.contains("annotation daemonplan/rollout-record: expected a record"), "{warning}");
}

#[test]
fn an_annotation_that_cannot_be_read_does_not_undo_the_others() {
    let with = |policies: &[(&str, &str)]| {
        let typos = [("strict-budget", "yes"), ("canry", "1"), ("canary-bake", "1h")];
        update(plain(&["a", "b"]), &[policies, &typos].concat())
    };
    let frozen = with(&[("frozen", "true")]).with_pods([old("a")]);
    assert_eq!((next_nodes(&frozen), phase(&frozen).code()), (vec![], "Frozen"));
    let everywhere = with(&[("on-failure", "roll-back")]).with_pods([crashing("a"), crashing("b")]);
    assert_eq!(phase(&everywhere).code(), "RollingBack");
    let halfway = with(&[("on-failure", "roll-back")]).with_pods([crashing("a"), old("b")]);
    assert_eq!(phase(&halfway).code(), "Unreadable");
}

#[test]
fn a_record_that_cannot_be_read_is_kept() {
    let mut cluster = update(plain(&["a", "b"]), &[("rollout-record", "{"), ("on-failure", "roll-back")]);
    cluster.pods = vec![crashing("a"), crashing("b")];
    let lines = step(&mut cluster);
    assert!(lines.iter().all(|line| !line.starts_with("record") && !line.starts_with("roll")), "{lines:?}");
    assert_eq!(cluster.daemonset.annotations.get("daemonplan/rollout-record"), Some("{"));
}

fn idle(cluster: &Cluster) -> Vec<String> {
    let findings = lint(&[cluster.snapshot()]);
    let idle = findings.into_iter().filter(|finding| finding.lint.code() == "idle-policy");
    idle.map(|finding| finding.message).collect()
}

#[test]
fn an_order_by_what_no_node_has_is_found() {
    let nodes = || [labelled("a", &[("zone", "a"), ("speed", "fast")]), labelled("b", &[("zone", "b")])];
    let of = |annotations: &[(&str, &str)]| idle(&update(nodes(), annotations).with_pods([old("a"), old("b")]));
    assert_eq!(of(&[("groups", "zone"), ("group-order", "b,c,d")]), ["no node that should run a pod has zone=c,d"]);
    let by_speed = "no node that should run a pod has an integer in the label speed: the order is by name";
    assert_eq!(of(&[("order", "priority=speed")]), [by_speed]);
    assert_eq!(of(&[("groups", "zone"), ("group-order", "b,a"), ("order", "name")]), [""; 0]);
}

#[test]
fn what_does_not_hold_up_the_way_back_is_not_found_idle() {
    let annotations = [("update-nodes", "zone=x"), ("partition", "100%"), ("canary", "1")];
    let forward = update(plain(&["a"]), &annotations).with_pods([old("a")]);
    assert_eq!(idle(&forward).len(), 2);
    let returns = [("rollout-record", r#"{"returnsTo": "two"}"#)];
    let back = update(plain(&["a"]), &[&annotations[..], &returns].concat()).with_pods([old("a")]);
    assert_eq!((idle(&back), next_nodes(&back)), (vec![], vec!["a".into()]));
}

#[test]
fn canaries_for_which_no_node_waits_are_found() {
    let of = |canary: &[(&str, &str)]| idle(&update(plain(&["a", "b"]), canary).with_pods([old("a"), old("b")]));
    let all = "the canaries are all nodes that should run a pod: no node waits for them";
    assert_eq!(of(&[("canary", "20"), ("canary-bake", "24h")]), [all]);
    assert_eq!(of(&[("canary", "0")]), ["no node is a canary: no node waits"]);
    for gate in [&[("canary", "0"), ("canary-approval", "manual")][..], &[("canary", "1, 100%")]] {
        assert_eq!(of(gate), [""; 0], "{gate:?}");
    }
}

#[test]
fn a_step_with_fewer_nodes_than_one_before_is_found() {
    let nodes: Vec<_> = ('a'..='j').map(|name| name.to_string()).collect();
    let nodes: Vec<_> = nodes.iter().map(|name| &**name).collect();
    let of = |canary: &str| idle(&update(plain(&nodes), &[("canary", canary), ("canary-bake", "1h")]));
    assert_eq!(of("5, 10%, 60%"), ["of 10 nodes, step 2 (10%) has 1, fewer than the 5 of step 1 (5): it adds none"],);
    assert_eq!(of("1, 5%, 10%"), [""; 0], "a small cluster rounds");
    let step = |number: usize, canary: &str, nodes: usize| {
        format!("of 10 nodes, step {number} ({canary}) has {nodes}, fewer than the 5 of step 1 (5): it adds none")
    };
    assert_eq!(of("5, 10%, 20%, 80%"), [step(2, "10%", 1), step(3, "20%", 2)], "whichever comes before");
}

#[test]
fn an_approval_of_what_does_not_exist_is_found() {
    let of = |canary: &[(&str, &str)]| {
        let manual = [("canary", "1, 2"), ("canary-approval", "manual")];
        idle(&update(plain(&["a", "b", "c"]), &[&manual[..], canary].concat()).with_pods([old("a"), old("b")]))
    };
    let unknown = "no revision of the DaemonSet has the hash tow; the current one is two";
    assert_eq!(of(&[("canary-approved", "tow/1")]), [unknown]);
    assert_eq!(of(&[("canary-promoted", "tow")]), [unknown]);
    assert_eq!(of(&[("canary-approved", "two/3")]), ["step 3 is approved, but the canaries have 2 in all"]);
    for known in [("canary-approved", "two/2"), ("canary-approved", "one"), ("canary-promoted", "two")] {
        assert_eq!(of(&[known]), [""; 0], "{known:?}");
    }
}

#[test]
fn canaries_by_label_that_are_all_cordoned_are_found() {
    let of = |away: &str, pods: &[Pod]| {
        let mut nodes = [node("a"), tainted("b", &["node.kubernetes.io/unschedulable:NoSchedule"])];
        nodes[1].labels = [("pool", "canary")].into_iter().collect();
        let cluster = update(nodes, &[("canary-nodes", "pool=canary"), ("away", away)]);
        idle(&cluster.with_pods(pods.to_vec()))
    };
    let found = ["all canaries are cordoned and excused by away: the update waits for b"];
    assert_eq!(of("cordoned", &[old("a"), old("b")]), found);
    assert_eq!(of("cordoned=30m", &[old("a"), old("b")]), [""; 0], "since when is not known");
    assert_eq!(of("unreachable", &[old("a"), old("b")]), [""; 0]);
    assert_eq!(of("cordoned", &[old("a"), new("b")]), [""; 0], "it has been updated");
}

#[test]
fn canaries_by_label_that_do_not_report_are_not_called_missing() {
    let mut nodes = [node("a"), unreachable("b", 5)];
    nodes[1].taints.push(taint("node.kubernetes.io/unreachable:NoSchedule"));
    nodes[1].labels = [("pool", "canary")].into_iter().collect();
    let cluster = update(nodes, &[("canary-nodes", "pool=canary")]).with_pods([old("a"), old("b")]);
    assert_eq!(idle(&cluster), [""; 0]);
}
