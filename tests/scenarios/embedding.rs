//! What an embedder may get wrong, and what the library then does or says.

use daemonplan::{
    Action, Cluster, Key, Object, ObjectRef, Plan, Settings, Snapshot, Warning,
    adoption::RevisionHistory,
    model::{
        ControllerRef, DaemonSet, DaemonSetStatus, LabelSelector, Labels, Namespace, Node, Pod, PodNode, PodPhase,
        Readiness, Text,
    },
    overhead::{DaemonSetFleet, Refusal},
    plan,
    plan::{Event, EventType},
};
use serde_json::json;

use crate::common::{self, *};

fn codes(plan: &Plan) -> Vec<&'static str> {
    plan.warnings.iter().map(Warning::code).collect()
}

/// Five nodes with a ready pod each, of the older template, as long-running clusters have them.
fn outdated(min_ready_seconds: u32) -> common::Cluster {
    let names = ["n1", "n2", "n3", "n4", "n5"];
    let pods = names.map(|name| pod(&format!("pod-{name}"), name));
    let cluster = cluster(names.map(node)).with(|daemonset| daemonset.min_ready_seconds = min_ready_seconds);
    cluster.with_pods(pods).with_new_template()
}

#[test]
fn without_a_clock_an_update_deletes_no_pod_whose_availability_is_unknown() {
    let deletions = |cluster: &common::Cluster| {
        let actions = plan(&cluster.daemonset, &cluster.nodes, &cluster.pods, &cluster.namespace);
        actions.iter().filter(|action| matches!(action, Action::DeletePod { .. })).count()
    };
    assert_eq!(deletions(&outdated(10)), 0, "it is unknown whether any node can spare its pod");
    assert_eq!(deletions(&outdated(0)), 1, "maxUnavailable is 1, and readiness alone decides");
    let mut all = outdated(10).rolling(json!("100%"), json!(0));
    assert_eq!(deletions(&all), 0);
    all.pods[2].ready = Readiness::default();
    assert_eq!(deletions(&all), 1, "a pod that is not ready is not available, whatever the time");
}

#[test]
fn without_a_clock_an_update_creates_no_surge_pod_beside_a_pod_whose_availability_is_unknown() {
    let cluster = outdated(10).rolling(json!(0), json!(2));
    assert_eq!(plan(&cluster.daemonset, &cluster.nodes, &cluster.pods, &cluster.namespace), []);
}

#[test]
fn a_missing_clock_is_warned_of_where_something_depends_on_it() {
    let plan_of = |cluster: &common::Cluster| {
        let common::Cluster { daemonset, nodes, pods, namespace, revisions, .. } = cluster;
        Snapshot::new(daemonset, nodes, pods, namespace).revisions(revisions).plan()
    };
    let canary = |daemonset: &mut DaemonSet| daemonset.annotations.insert("daemonplan/canary", "1");
    let quiet = cluster([node("a")]).with_pod(pod("x", "a"));
    assert_eq!(codes(&plan_of(&quiet)), [] as [&str; 0]);
    assert_eq!(codes(&plan_of(&quiet.clone().with(|daemonset| daemonset.min_ready_seconds = 1))), ["ClockNotGiven"]);
    assert_eq!(codes(&plan_of(&quiet.clone().with(canary))), ["ClockNotGiven"]);
    let failed = cluster([node("a")]).with_pod(pod("x", "a").but(|pod| pod.phase = PodPhase::Failed));
    assert_eq!(codes(&plan_of(&failed)), ["ClockNotGiven"]);
    assert_eq!(codes(&failed.plan()), [] as [&str; 0], "the time is given");
}

#[test]
fn the_namespace_of_another_daemonset_plans_nothing() {
    let cluster = cluster([node("a")]).with_pod(pod("x", "gone"));
    let other = Namespace::new("other");
    let plan = Snapshot::new(&cluster.daemonset, &cluster.nodes, &cluster.pods, &other).at(cluster.now).plan();
    assert_eq!((plan.actions.as_slice(), &plan.status), ([].as_slice(), &None));
    let expected = Warning::OtherNamespace { expected: "prod".into(), found: "other".into() };
    assert_eq!(plan.warnings, [expected]);
    let fleet = DaemonSetFleet::new([(&cluster.daemonset, &other)], &Settings::default());
    let node = Node::new("new");
    let overhead = fleet.overhead(&node);
    assert_eq!(overhead.refused().next().unwrap().1, Refusal::OtherNamespace);
}

#[test]
fn an_input_that_lacks_or_contradicts_something_is_warned_of() {
    let warned = |change: fn(&mut common::Cluster)| {
        let mut cluster = cluster([node("a")]);
        change(&mut cluster);
        codes(&cluster.plan())
    };
    assert_eq!(warned(|_| {}), [] as [&str; 0]);
    assert_eq!(warned(|cluster| cluster.daemonset.uid = "".into()), ["NoUid"]);
    assert_eq!(warned(|cluster| cluster.settings.burst = 0), ["NoBurst"]);
    assert_eq!(warned(|cluster| cluster.daemonset.selector = None), ["SelectsNoPods"]);
    assert_eq!(
        warned(|cluster| cluster.daemonset.selector = Labels::from([("app", "other")]).try_into().ok()),
        ["SelectorMissesTemplate"]
    );
}

#[test]
fn a_revision_that_is_given_twice_counts_once() {
    let mut cluster = cluster([node("a")]).with_pod(pod("x", "a"));
    let once = cluster.plan();
    cluster.revisions.push(cluster.revisions[0].clone());
    assert_eq!(cluster.plan(), once, "the same contents");
    cluster.revisions[0].revision = 7;
    let [newer, older] = cluster.revisions.clone().try_into().unwrap();
    for revisions in [[newer.clone(), older.clone()], [older, newer]] {
        let history = RevisionHistory::of(&cluster.daemonset, &revisions);
        assert_eq!((history.current().unwrap().revision, history.steps().count()), (7, 0));
        cluster.revisions = revisions.to_vec();
        let plan = cluster.plan();
        assert_eq!(plan.warnings, [Warning::DuplicateRevision { revision: "agent-one".into() }]);
        assert!(!plan.actions.iter().any(|action| matches!(action, Action::DeleteRevision { .. })));
    }
}

#[test]
fn a_template_that_lost_a_field_on_its_way_is_warned_of() {
    let whole = json!({"containers": [{"name": "agent", "image": "agent:1"}], "hostnameOverride": "h"});
    let mut cluster = cluster([node("a")]).with_spec(whole).with_pod(pod("x", "a"));
    assert_eq!(codes(&cluster.plan()), [] as [&str; 0]);
    cluster.daemonset.template = template(json!({"containers": [{"name": "agent", "image": "agent:1"}]}));
    let fields = vec![Text::from("spec.template.spec.hostnameOverride")];
    assert_eq!(cluster.plan().warnings, [Warning::RevisionSaysMore { revision: "agent-one".into(), fields }]);
    cluster.daemonset.template = template(json!({"containers": [{"name": "agent", "image": "agent:2"}]}));
    assert_eq!(codes(&cluster.plan()), [] as [&str; 0], "another change is an update like any other");
}

#[test]
fn expectations_hold_while_a_daemonset_is_listed_again() {
    let facts = cluster([node("a")]);
    let key = Key::new("prod", "agent");
    let mut cluster = Cluster::new(Settings::default());
    cluster.set_complete();
    cluster.set_expectations_satisfied(&key, false);
    let objects: [Object; 3] = [facts.namespace.into(), (&facts.daemonset).into(), node("a").into()];
    for object in objects {
        cluster.apply(object);
    }
    let creates = |cluster: &mut Cluster| {
        let plan = cluster.plan(&key, facts.now).unwrap();
        plan.actions.iter().any(|action| matches!(action, Action::CreatePod { .. }))
    };
    assert!(!creates(&mut cluster));
    cluster.resync::<DaemonSet>([]);
    cluster.resync([facts.daemonset.clone()]);
    assert!(!creates(&mut cluster), "the effects of the last plan still do not show");
    cluster.set_expectations_satisfied(&key, true);
    assert_eq!(cluster.stale(facts.now), std::slice::from_ref(&key));
    assert!(creates(&mut cluster));
    cluster.set_expectations_satisfied(&key, false);
    let again = facts.daemonset.clone();
    let mut other = again.clone();
    other.uid = "uid-again".into();
    cluster.apply(other);
    assert!(creates(&mut cluster), "it was recreated, and the old plan was another's");
    cluster.apply(again);
    assert!(!creates(&mut cluster));
    cluster.delete::<DaemonSet>(&key);
    cluster.apply(facts.daemonset.clone());
    assert!(creates(&mut cluster), "deleted, not only missing from a list");
}

#[test]
fn new_settings_and_a_copied_cluster_plan_like_a_new_cluster() {
    let facts = cluster([node("a"), node("b")]).with_pod(pod("lost", "gone"));
    let key = Key::new("prod", "agent");
    let mut first = Cluster::default();
    first.resync([facts.namespace.clone()]);
    first.resync([facts.daemonset.clone()]);
    first.resync(facts.nodes.clone());
    first.resync(facts.pods.clone());
    first.resync(facts.revisions.clone());
    let before = first.plan(&key, facts.now).unwrap();
    let mut copy = first.clone();
    assert_eq!(copy.plan(&key, facts.now).unwrap(), before);
    let mut settings = Settings::default();
    (settings.burst, settings.collect_pods_on_missing_nodes) = (1, false);
    first.set_settings(settings.clone());
    assert_eq!((first.settings(), first.stale(facts.now)), (&settings, vec![key.clone()]));
    let facts = facts.with_settings(|own| *own = settings);
    assert_eq!(first.plan(&key, facts.now).unwrap(), facts.plan());
    assert_eq!((copy.nodes().count(), copy.pods().count(), copy.namespace("prod")), (2, 1, Some(&facts.namespace)));
}

#[test]
fn a_status_patch_clears_what_is_zero_names_the_object_and_leaves_conditions_alone() {
    let mut server = json!({"metadata": {"uid": "uid-agent"}, "status": {
        "numberUnavailable": 3, "numberReady": 0, "conditions": [{"type": "Mine", "status": "True"}]}});
    let facts = cluster([node("a")]).with_pod(pod("x", "a"));
    let plan = facts.plan();
    let Some(action @ Action::UpdateStatus { daemonset, .. }) = plan.actions.last() else { panic!("{plan}") };
    assert_eq!(daemonset, &ObjectRef::from(&facts.daemonset));
    let patch = action.patch().unwrap();
    assert_eq!(patch["metadata"], json!({"uid": "uid-agent"}), "a recreated DaemonSet is another");
    for (field, value) in patch["status"].as_object().unwrap() {
        server["status"][field] = value.clone();
    }
    let mut written: DaemonSetStatus = serde_json::from_value(server["status"].clone()).unwrap();
    written.conditions.clear();
    assert_eq!(Some(&written), plan.status.as_ref());
    assert_eq!(server["status"]["conditions"][0]["type"], "Mine");
}

#[test]
fn every_action_on_an_object_gives_its_patch_or_is_a_deletion() {
    let orphan = pod("orphan", "a").but(|pod| pod.controller = None);
    let foreign = pod("strayed", "a").but(|pod| pod.labels = Labels::default());
    let mut facts = cluster([node("a")]).with_pods([orphan, foreign]);
    (facts.revisions[0].labels, facts.revisions[0].uid) = (Labels::from([("app", "agent")]), "uid-one".into());
    let patches: Vec<_> = facts.plan().actions.iter().map(|action| (action.code(), action.patch())).collect();
    let reference = json!({"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "agent", "uid": "uid-agent",
        "controller": true, "blockOwnerDeletion": true});
    let of = |code: &str| patches.iter().find(|(other, _)| *other == code).unwrap().1.clone();
    assert_eq!(
        of("AdoptPod").unwrap(),
        json!({"metadata": {"uid": "uid-orphan", "ownerReferences": [reference]}}),
        "{patches:?}"
    );
    assert_eq!(
        of("ReleasePod").unwrap()["metadata"]["ownerReferences"],
        json!([{"$patch": "delete", "uid": "uid-agent"}])
    );
    let update = of("UpdateRevision").unwrap();
    assert_eq!(
        (&update["revision"], &update["metadata"]["labels"]["controller-revision-hash"]),
        (&json!(1), &json!("agent-one"))
    );
}

#[test]
fn a_template_whose_requests_cannot_be_read_spoils_no_other() {
    let mut daemonsets = ["a", "b"].map(|name| DaemonSet::new("prod", name, [("app", name)]).unwrap());
    let container = |cpu: &str| json!({"spec": {"containers": [{"resources": {"requests": {"cpu": cpu}}}]}});
    daemonsets[0].template = serde_json::from_value(container("-250m")).unwrap();
    daemonsets[1].template = serde_json::from_value(container("100m")).unwrap();
    let namespace = Namespace::new("prod");
    let fleet = DaemonSetFleet::new(daemonsets.map(|daemonset| (daemonset, namespace.clone())), &Settings::default());
    assert_eq!(
        fleet.problems()[0].to_string(),
        "DaemonSet prod/a: spec.template.spec: cpu: expected a quantity of at least 0, found -250m"
    );
    let node = Node::new("new");
    let overhead = fleet.overhead(&node);
    assert_eq!(overhead.to_string(), "2 of 2 DaemonSets would run: cpu 100m, pods 2, and what these request: prod/a");
    assert_eq!(serde_json::to_value(&overhead).unwrap()["unknown"].as_array().unwrap().len(), 1);
}

#[test]
fn a_plan_can_be_made_kept_shown_and_written() {
    let mut plan = Plan::default();
    assert_eq!(plan.to_string(), "nothing to do");
    plan.actions = vec![Action::RelabelPod { pod: ObjectRef::from(&Pod::new("prod", "x")), hash: "one".into() }];
    plan.warnings = vec![Warning::NoUid];
    plan.events = vec![Event::new(EventType::Normal, "SuccessfulCreate", "Created pod: x")];
    let shown = plan.to_string();
    assert!(
        shown.starts_with("relabel pod x (hash one): ") && shown.contains("\nwarning: the DaemonSet has no uid"),
        "{shown}"
    );
    let written = serde_json::to_value(plan.clone()).unwrap();
    assert_eq!((&written["actions"][0]["type"], &written["heldBack"]["creations"]), (&json!("RelabelPod"), &json!(0)));
    let _: Box<dyn std::any::Any> = Box::new(plan);
}

#[test]
fn the_selector_of_a_claim_is_the_daemonsets_own() {
    use daemonplan::adoption::{Claim, claim_pod, claim_revision};
    let daemonset = cluster([]).daemonset;
    let owned = |labels: &[(&str, &str)]| pod("x", "a").but(|pod| pod.labels = labels.iter().copied().collect());
    assert_eq!(claim_pod(&daemonset, &owned(&[("app", "agent")])), Claim::Owned);
    assert_eq!(claim_pod(&daemonset, &owned(&[])), Claim::Release);
    let foreign = ControllerRef { kind: "ReplicaSet".into(), name: "web".into(), uid: "uid-web".into() }.into();
    assert_eq!(
        claim_pod(&daemonset, &owned(&[("app", "agent")]).but(|pod| pod.controller = Some(foreign))),
        Claim::Ignore
    );
    let revision = cluster([]).revisions.remove(0);
    assert_eq!(claim_revision(&daemonset, &revision), Claim::Owned);
}

#[test]
fn pods_of_missing_nodes_are_found_whoever_owns_them() {
    let web = pod("web", "gone").but(|pod| pod.controller = None);
    let leaving = pod("leaving", "gone").but(|pod| pod.deleted = Some(cluster([]).now));
    let unbound = pod("unbound", "gone").but(|pod| pod.node = PodNode::Intended("gone".into()));
    let pods = [web, pod("x", "a"), leaving, unbound, pod("agent", "gone")];
    let lost = daemonplan::gc::pods_on_missing_nodes(&pods, &[node("a")]);
    assert_eq!(lost.iter().map(|pod| &*pod.name).collect::<Vec<_>>(), ["agent", "web"]);
}

#[test]
fn a_cluster_plans_nothing_before_every_kind_was_listed() {
    let facts = cluster([node("a")]).with_pods([pod("x", "a"), pod("lost", "gone")]);
    let key = Key::new("prod", "agent");
    let mut cluster = Cluster::new(Settings::default());
    let has_plan = |cluster: &mut Cluster| {
        assert_eq!(cluster.stale(facts.now).is_empty(), cluster.plan(&key, facts.now).is_none());
        cluster.plan(&key, facts.now).is_some()
    };
    cluster.resync([facts.namespace.clone()]);
    cluster.resync([facts.daemonset.clone()]);
    cluster.resync(facts.pods.clone());
    cluster.resync(facts.revisions.clone());
    assert!(!has_plan(&mut cluster), "without nodes, every pod would be deleted");
    cluster.apply(node("a"));
    assert!(!has_plan(&mut cluster) && !cluster.is_complete(), "one node is not a list");
    assert_eq!(cluster.owned_snapshot(&Key::new("prod", "agent"), facts.now).map(|_| ()), None);
    cluster.retain::<Node>(|_| true);
    assert!(has_plan(&mut cluster) && cluster.is_complete());
}

#[test]
fn a_plan_that_was_not_carried_out_is_offered_again_once_it_is_marked() {
    let facts = cluster([node("a")]);
    let key = Key::new("prod", "agent");
    let mut cluster = Cluster::new(Settings::default());
    for object in [Object::from(facts.namespace), facts.daemonset.into(), node("a").into()] {
        cluster.apply(object);
    }
    cluster.set_complete();
    let plan = cluster.plan(&key, facts.now);
    assert!(cluster.stale(facts.now).is_empty());
    cluster.mark_stale(&key);
    cluster.mark_stale(&Key::new("prod", "unknown"));
    assert_eq!(cluster.stale(facts.now), std::slice::from_ref(&key));
    assert_eq!(cluster.plan(&key, facts.now), plan);
}

#[test]
fn a_daemonset_that_is_being_deleted_or_selects_everything_claims_nothing() {
    use daemonplan::{
        adoption::{Claim, claim_pod, claim_revision},
        gc::dependents,
    };
    let facts = cluster([]).with_pod(pod("x", "a"));
    let deleted = facts.clone().with(|daemonset| daemonset.deleted = Some(facts.now)).daemonset;
    let selects_all = facts.clone().with(|daemonset| daemonset.selector = Some(LabelSelector::default())).daemonset;
    for daemonset in [&deleted, &selects_all] {
        assert_eq!(claim_pod(daemonset, &facts.pods[0]), Claim::Ignore);
        assert_eq!(claim_revision(daemonset, &facts.revisions[0]), Claim::Ignore);
        let history = RevisionHistory::of(daemonset, &facts.revisions);
        assert_eq!((history.current(), history.steps().count()), (None, 0));
    }
    assert_eq!(dependents(&deleted, &facts.pods, &facts.revisions).len(), 2);
    let mut both = selects_all;
    both.deleted = Some(facts.now);
    assert_eq!(dependents(&both, &facts.pods, &facts.revisions), [], "it is left alone");
}

#[test]
fn a_patch_that_would_name_an_owner_without_uid_is_not_given() {
    let facts = cluster([node("n1")]).with(|daemonset| daemonset.uid = Text::default());
    let facts = facts.with_pod(pod("orphan", "n1").but(|pod| pod.controller = None));
    let adoptions = |facts: &common::Cluster| -> Vec<_> {
        let actions = facts.plan().actions;
        actions.iter().filter(|action| matches!(action, Action::AdoptPod { .. })).map(Action::patch).collect()
    };
    assert_eq!(adoptions(&facts), [None]);
    let patches = adoptions(&facts.with(|daemonset| daemonset.uid = "42".into()));
    assert_eq!(patches[0].as_ref().unwrap()["metadata"]["ownerReferences"][0]["uid"], "42");
}

#[test]
fn a_pod_of_a_template_with_a_node_name_is_bound_from_the_start() {
    use daemonplan::affinity::PodBlueprint;
    let mut daemonset = cluster([]).daemonset;
    let stored =
        |daemonset: &DaemonSet| PodBlueprint::new(daemonset, &daemonset.template, "one").pod("n1", "agent-1").node;
    assert_eq!(stored(&daemonset), PodNode::Intended("n1".into()));
    daemonset.template = serde_json::from_value(json!({"spec": {"nodeName": "n1"}})).unwrap();
    assert_eq!(stored(&daemonset), PodNode::Bound("n1".into()));
}

#[test]
fn old_revisions_and_duplicates_are_steps_of_a_history() {
    let mut facts = cluster([]).with_new_template();
    facts.revisions.push(facts.revision("three", 3));
    let history = RevisionHistory::of(&facts.daemonset, &facts.revisions);
    let steps: Vec<_> = history.steps().map(|step| step.to_string()).collect();
    assert_eq!(steps, ["delete agent-two: duplicate of agent-three"], "{history:?}");
    let beyond = |limit, used: &str| history.delete_beyond(limit, |hash| hash == used).count();
    assert_eq!((beyond(1, ""), beyond(0, ""), beyond(0, "one")), (0, 1, 0));
}
