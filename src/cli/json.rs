//! The plans for programs. The README documents this form; fields may be added, none taken away.

use std::{
    cell::Cell,
    io::{self, Write},
};

use daemonplan::{Action, Event, Explanation, Placement, Plan, Warning, model::DaemonSetStatus};
use serde::{Serialize, Serializer, ser::SerializeSeq};

use super::{Explained, Planned};

pub(super) fn write<'a>(out: &mut impl Write, plans: impl Iterator<Item = Planned<'a>>) -> io::Result<()> {
    write_json(out, &Report::of(plans))
}

pub(super) fn write_yaml<'a>(out: &mut impl Write, plans: impl Iterator<Item = Planned<'a>>) -> io::Result<()> {
    write_as_yaml(out, &Report::of(plans))
}

fn write_json(out: &mut impl Write, report: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, report)?;
    writeln!(out)?;
    out.flush()
}

fn write_as_yaml(out: &mut impl Write, report: &impl Serialize) -> io::Result<()> {
    serde_yaml::to_writer(&mut *out, report).map_err(io::Error::other)?;
    out.flush()
}

#[derive(Serialize)]
struct Report<I: Iterator> {
    #[serde(serialize_with = "one_by_one", bound(serialize = "I::Item: Serialize"))]
    plans: Cell<Option<I>>,
}

impl<'a> Report<std::iter::Empty<PlanReport<'a>>> {
    /// Plans are made while they are written, and let go of at once.
    fn of(plans: impl Iterator<Item = Planned<'a>>) -> Report<impl Iterator<Item = PlanReport<'a>>> {
        Report { plans: Cell::new(Some(plans.map(PlanReport))) }
    }
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
        let daemonset = snapshot.daemonset();
        Fields {
            daemon_set: Name { namespace: &daemonset.namespace, name: &daemonset.name },
            hash: &plan.hash,
            actions: &plan.actions,
            status: plan.status.as_ref(),
            placements: plan.placements().collect(),
            events: &plan.events,
            plan_again_after_seconds: seconds(plan),
            held_back: HeldBack { creations: plan.held_back_creations, deletions: plan.held_back_deletions },
            warnings: &plan.warnings,
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
}

#[derive(Serialize)]
struct Name<'a> {
    namespace: &'a str,
    name: &'a str,
}

#[derive(Serialize)]
struct HeldBack {
    creations: usize,
    deletions: usize,
}

/// Whole seconds as an integer.
fn seconds(plan: &Plan<'_>) -> Option<serde_json::Number> {
    let after = plan.plan_again_after?;
    match after.subsec_nanos() {
        0 => Some(after.as_secs().into()),
        _ => serde_json::Number::from_f64(after.as_secs_f64()),
    }
}

#[derive(Serialize)]
struct Explanations<'a> {
    explanations: Vec<ExplanationReport<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ExplanationReport<'a> {
    daemon_set: Name<'a>,
    #[serde(flatten)]
    explanation: &'a Explanation,
}

impl<'a> Explanations<'a> {
    fn of(explanations: &'a [Explained<'a>]) -> Self {
        let report = |(snapshot, explanation): &'a Explained<'a>| {
            let daemonset = snapshot.daemonset();
            let daemon_set = Name { namespace: &daemonset.namespace, name: &daemonset.name };
            ExplanationReport { daemon_set, explanation }
        };
        Self { explanations: explanations.iter().map(report).collect() }
    }
}

pub(super) fn write_explanations(out: &mut impl Write, explanations: &[Explained<'_>]) -> io::Result<()> {
    write_json(out, &Explanations::of(explanations))
}

pub(super) fn write_explanations_as_yaml(out: &mut impl Write, explanations: &[Explained<'_>]) -> io::Result<()> {
    write_as_yaml(out, &Explanations::of(explanations))
}
