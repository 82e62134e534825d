//! The JSON reports of the commands. Their format is documented; fields may be added, but never removed.

use std::cell::Cell;

use daemonplan::{Action, Event, Placement, Plan, Snapshot, Warning, model::DaemonSetStatus, policy::RolloutStatus};
use indexmap::IndexMap;
use serde::{Serialize, Serializer, ser::SerializeSeq};

/// A DaemonSet's snapshot with its plan.
pub(super) type Planned<'a> = (Snapshot<'a>, Plan<'a>);

/// Returns a report of plans. Each plan is computed while it is written, and dropped at once.
pub(super) fn plans<'a>(plans: impl Iterator<Item = Planned<'a>>) -> impl Serialize {
    Report { plans: Cell::new(Some(plans.map(PlanReport))) }
}

/// Returns a report whose `field` lists one value for each DaemonSet, with its name.
pub(super) fn named<'a, T: Serialize>(field: &'a str, all: &'a [(Snapshot<'a>, T)]) -> impl Serialize + 'a {
    let named = |(snapshot, value): &'a (Snapshot<'a>, T)| Named { daemon_set: Name::of(snapshot), value };
    IndexMap::from([(field, all.iter().map(named).collect::<Vec<_>>())])
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Named<'a, T> {
    daemon_set: Name<'a>,
    #[serde(flatten)]
    value: &'a T,
}

#[derive(Serialize)]
struct Report<I: Iterator> {
    #[serde(serialize_with = "one_by_one", bound(serialize = "I::Item: Serialize"))]
    plans: Cell<Option<I>>,
}

fn one_by_one<S: Serializer, I: Iterator<Item: Serialize>>(
    plans: &Cell<Option<I>>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let mut list = serializer.serialize_seq(None)?;
    for plan in plans.take().into_iter().flatten() {
        list.serialize_element(&plan)?;
    }
    list.end()
}

struct PlanReport<'a>(Planned<'a>);

impl Serialize for PlanReport<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (snapshot, plan) = &self.0;
        Fields {
            daemon_set: Name::of(snapshot),
            hash: &plan.hash,
            actions: &plan.actions,
            status: plan.status.as_ref(),
            placements: plan.placements().collect(),
            events: &plan.events,
            plan_again_after_seconds: seconds(plan),
            held_back: HeldBack { creations: plan.held_back_creations, deletions: plan.held_back_deletions },
            warnings: &plan.warnings,
            rollout: plan.rollout.as_ref(),
        }
        .serialize(serializer)
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Fields<'a> {
    daemon_set: Name<'a>,
    hash: &'a str,
    actions: &'a [Action],
    status: Option<&'a DaemonSetStatus>,
    placements: Vec<Placement>,
    events: &'a [Event],
    plan_again_after_seconds: Option<serde_json::Number>,
    held_back: HeldBack,
    warnings: &'a [Warning],
    #[serde(skip_serializing_if = "Option::is_none")]
    rollout: Option<&'a RolloutStatus>,
}

#[derive(Serialize)]
struct Name<'a> {
    namespace: &'a str,
    name: &'a str,
}

impl<'a> Name<'a> {
    fn of(snapshot: &Snapshot<'a>) -> Self {
        let daemonset = snapshot.daemonset();
        Self { namespace: &daemonset.namespace, name: &daemonset.name }
    }
}

#[derive(Serialize)]
struct HeldBack {
    creations: usize,
    deletions: usize,
}

/// The seconds until the next plan, as an integer if they are whole.
fn seconds(plan: &Plan<'_>) -> Option<serde_json::Number> {
    let after = plan.requeue_after?;
    match after.subsec_nanos() {
        0 => Some(after.as_secs().into()),
        _ => serde_json::Number::from_f64(after.as_secs_f64()),
    }
}
