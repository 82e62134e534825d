//! What the input lacks is not known, and no action rests on it.

use daemonplan::{
    Action, DeleteReason, MissingFact, Plan, Snapshot,
    explain::UpdateState,
    model::{HASH_LABEL, TEMPLATE_GENERATION_LABEL},
};
use serde_json::json;

use crate::common::{Cluster, cluster, lines, node, pod};

/// A cluster whose update surges: node a has an old and a new, available pod. The labels are those of another controller,
/// whose hash we do not know.
fn surging(generation: &str) -> Cluster {
    let labelled = |name: &str, hash: &str, generation: &str| {
        let mut pod = pod(name, "a");
        pod.labels = pod.labels.with(HASH_LABEL, hash).with(TEMPLATE_GENERATION_LABEL, generation);
        pod
    };
    cluster([node("a")])
        .with_new_template()
        .rolling(json!(0), json!(1))
        .with(|daemonset| {
            let generation = [("deprecated.daemonset.template.generation", "2")];
            daemonset.annotations = generation.into_iter().collect();
        })
        .with_pods([labelled("old", "foreign-1", "1"), labelled("new", "foreign-2", generation)])
}

fn without_revisions(cluster: &Cluster) -> Snapshot<'_> {
    Snapshot::new(&cluster.daemonset, &cluster.nodes, &cluster.pods, &cluster.namespace).at(cluster.now)
}

fn unsupported(plan: &Plan) -> Vec<String> {
    plan.unsupported.iter().map(|unsupported| unsupported.action.to_string()).collect()
}

#[test]
fn without_revisions_the_generation_tells_which_of_two_pods_is_new_for_every_rule() {
    let cluster = surging("2");
    let plan = without_revisions(&cluster).plan();
    assert_eq!(lines(&plan)[0], "delete pod old on a: outdated, and the new pod is available");
    assert_eq!(plan.status.unwrap().updated_number_scheduled, 1);
}

#[test]
fn whoever_says_that_the_revisions_are_not_known_gets_no_deletion_that_rests_on_them() {
    for generation in ["1", "2"] {
        let cluster = surging(generation);
        let snapshot = without_revisions(&cluster).without(MissingFact::Revisions);
        let plan = snapshot.plan();
        assert!(plan.actions.is_empty(), "{:?}", plan.actions);
        assert!(unsupported(&plan)[0].starts_with("delete pod "), "{:?}", plan.unsupported);
        let pods = &snapshot.explain().nodes[0].pods;
        assert!(pods.iter().all(|pod| pod.revision.is_current != Some(false)));
    }
}

#[test]
fn without_nodes_pods_are_not_on_missing_ones() {
    let cluster = cluster([]).with_pod(pod("p", "a"));
    let snapshot = cluster.snapshot().without(MissingFact::Nodes);
    let plan = snapshot.plan();
    assert_eq!((plan.actions.len(), plan.status.is_none()), (0, true));
    assert_eq!(unsupported(&plan)[0], "delete pod p on a: its node does not exist");
    assert_eq!(plan.to_string().lines().next(), Some("nothing that is sure"));
    let explanation = snapshot.explain();
    assert_eq!(
        (explanation.nodes.len(), &explanation.update),
        (0, &UpdateState::Unknown { missing: MissingFact::Nodes })
    );
}

#[test]
fn adoption_and_the_end_of_a_daemonset_need_neither_nodes_nor_namespace() {
    let mut orphan = pod("p", "a");
    orphan.controller = None;
    let mut cluster = cluster([node("a")]).with_pod(orphan);
    let plan = |cluster: &Cluster| {
        let snapshot = cluster.snapshot().without(MissingFact::Namespace).without(MissingFact::Nodes);
        snapshot.plan()
    };
    assert!(matches!(&plan(&cluster).actions[..], [Action::AdoptPod { .. }]), "{}", plan(&cluster));
    cluster.pods[0].controller = Some(crate::common::owner());
    cluster.daemonset.deleted = Some(cluster.now);
    let plan = plan(&cluster);
    assert!(matches!(&plan.actions[0], Action::DeletePod { reason: DeleteReason::OwnerDeleted, .. }), "{plan}");
    assert_eq!((plan.unsupported.len(), plan.warnings.len()), (0, 0));
}
