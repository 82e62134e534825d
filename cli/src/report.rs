//! The JSON reports of the commands. Their format is documented; fields may be added, but never removed.

use std::cell::Cell;

use daemonplan::{Placement, Plan, Snapshot};
use indexmap::IndexMap;
use serde::{Serialize, Serializer, ser::SerializeSeq};

/// A DaemonSet's snapshot with its plan.
pub(super) type Planned<'a> = (Snapshot<'a>, Plan);

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
        let placements = snapshot.placements().collect();
        Fields { daemon_set: Name::of(snapshot), plan, placements }.serialize(serializer)
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Fields<'a> {
    daemon_set: Name<'a>,
    #[serde(flatten)]
    plan: &'a Plan,
    placements: Vec<Placement>,
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
