//! The plans for people: per DaemonSet its state in one line, what would be done and why, and who gets no pod.

use std::{
    io::{self, Write},
    time::Duration,
};

use anstyle::{AnsiColor, Style};
use daemonplan::{
    Action, Plan, Verdict,
    manifest::Manifests,
    model::{DaemonSet, UpdateStrategy},
};
use indexmap::IndexMap;
use jiff::SignedDuration;

use super::{Planned, output::tame};

pub(super) const BOLD: Style = Style::new().bold();
pub(super) const DIM: Style = Style::new().dimmed();
pub(super) const WARN: Style = AnsiColor::Yellow.on_default();

/// So many lines that say the same for the same reason are shown, more are summed up.
pub(super) const SHOWN: usize = 8;

pub(super) fn write<'a>(
    out: &mut impl Write,
    manifests: &Manifests,
    plans: impl Iterator<Item = Planned<'a>>,
    all: bool,
) -> io::Result<()> {
    let counts = [
        (manifests.daemonsets().count(), "DaemonSet"),
        (manifests.nodes().len(), "node"),
        (manifests.pod_count(), "pod"),
    ];
    let counts = counts.map(|(count, what)| plural(count, what)).join(", ");
    let skipped: Vec<_> = manifests.skipped().map(|(kind, count)| format!("{count} {}", tame(kind))).collect();
    write!(out, "{BOLD}cluster{BOLD:#}: {counts}")?;
    if !skipped.is_empty() {
        write!(out, " {DIM}(not looked at: {}){DIM:#}", skipped.join(", "))?;
    }
    writeln!(out)?;

    let mut summary = Summary::default();
    for (snapshot, plan) in plans {
        writeln!(out)?;
        let groups = grouped(&plan);
        one(out, snapshot.daemonset(), &plan, &groups, all)?;
        summary.add(&plan, &groups);
    }
    writeln!(out)?;
    summary.write(out)?;
    out.flush()
}

fn one(out: &mut impl Write, daemonset: &DaemonSet, plan: &Plan<'_>, groups: &Groups, all: bool) -> io::Result<()> {
    let name = tame(format_args!("{}/{}", daemonset.namespace, daemonset.name));
    writeln!(out, "{BOLD}{name}{BOLD:#}  {}", state(daemonset, plan))?;
    for warning in &plan.warnings {
        writeln!(out, "  {WARN}! {}{WARN:#}", tame(warning))?;
    }
    if plan.actions.is_empty() {
        writeln!(out, "  {DIM}nothing to do{DIM:#}")?;
    }
    for lines in groups.values() {
        group(out, lines, all)?;
    }
    for (held_back, what) in [(plan.held_back_creations, "more creation"), (plan.held_back_deletions, "more deletion")]
    {
        if held_back > 0 {
            writeln!(out, "  {WARN}… {} held back by the burst limit{WARN:#}", plural(held_back, what))?;
        }
    }
    for event in &plan.events {
        writeln!(out, "  {DIM}event {}{DIM:#}", tame(event))?;
    }
    without_pod(out, plan, all)?;
    if let Some(after) = plan.plan_again_after {
        writeln!(out, "  look again in {}", span(after))?;
    }
    Ok(())
}

fn state(daemonset: &DaemonSet, plan: &Plan<'_>) -> String {
    let strategy = match daemonset.update_strategy {
        UpdateStrategy::OnDelete => "OnDelete".to_owned(),
        UpdateStrategy::RollingUpdate { max_unavailable, max_surge } if max_surge.of(1) > 0 => {
            format!("RollingUpdate, surge {max_surge}, unavailable {max_unavailable}")
        }
        UpdateStrategy::RollingUpdate { max_unavailable, .. } => {
            format!("RollingUpdate, unavailable {max_unavailable}")
        }
    };
    match &plan.status {
        Some(status) => {
            let wanted = plural(usize::try_from(status.desired_number_scheduled).unwrap_or_default(), "node");
            let misplaced = match status.number_misscheduled {
                0 => String::new(),
                count => format!("; {count} where none is wanted"),
            };
            format!(
                "{strategy}: wanted on {wanted}, {} placed, {} up to date, {} available{misplaced}",
                status.current_number_scheduled, status.updated_number_scheduled, status.number_available,
            )
        }
        None if daemonset.is_being_deleted() => format!("{strategy}: being deleted"),
        None => strategy,
    }
}

/// A line of the plan.
struct Line {
    sign: char,
    verb: &'static str,
    object: String,
    node: String,
    reason: String,
}

/// The lines of a plan, by what is done and why.
type Groups = IndexMap<(&'static str, &'static str), Vec<Line>>;

fn grouped(plan: &Plan<'_>) -> Groups {
    let mut groups = Groups::new();
    for action in &plan.actions {
        let line = line(action);
        groups.entry((line.verb, action.reason_code())).or_default().push(line);
    }
    groups
}

fn line(action: &Action) -> Line {
    let (sign, verb, object, node) = match action {
        Action::AdoptPod { pod } => ('~', "adopt", tame(&pod.name), String::new()),
        Action::ReleasePod { pod, .. } => ('~', "release", tame(&pod.name), String::new()),
        Action::RelabelPod { pod, hash } => ('~', "relabel", tame(&pod.name), tame(format_args!("hash {hash}"))),
        Action::AdoptRevision { revision } => ('~', "adopt revision", tame(&revision.name), String::new()),
        Action::ReleaseRevision { revision, .. } => ('~', "release revision", tame(&revision.name), String::new()),
        Action::UpdateRevision { revision, number, .. } => {
            ('~', "update revision", tame(&revision.name), format!("number {number}"))
        }
        Action::CreateRevision { revision } => {
            ('+', "create revision", tame(&revision.name), format!("number {}", revision.revision))
        }
        Action::CreatePod { node, .. } => ('+', "create", String::new(), tame(node)),
        Action::DeletePod { pod, node, .. } => {
            ('-', "delete", tame(&pod.name), tame(node.as_deref().unwrap_or("no node")))
        }
        Action::DeleteRevision { revision, .. } => ('-', "delete revision", tame(&revision.name), String::new()),
        Action::UpdateStatus { .. } => ('~', "write status", String::new(), String::new()),
        _ => ('~', "do", tame(action), String::new()),
    };
    Line { sign, verb, object, node, reason: tame(action.reason()) }
}

fn group(out: &mut impl Write, lines: &[Line], all: bool) -> io::Result<()> {
    let shown = if all || lines.len() <= SHOWN + 1 { lines.len() } else { SHOWN };
    let width = |field: fn(&Line) -> &String| lines.iter().take(shown).map(|line| field(line).len()).max().unwrap_or(0);
    let (object_width, node_width) = (width(|line| &line.object), width(|line| &line.node));
    for line in lines.iter().take(shown) {
        let style = style(line.sign);
        let Line { sign, verb, object, node, reason } = line;
        write!(out, "  {style}{sign} {verb}{style:#}")?;
        for (text, width) in [(object, object_width), (node, node_width)].into_iter().filter(|(_, width)| *width > 0) {
            write!(out, "  {text:width$}")?;
        }
        writeln!(out, "  {DIM}{reason}{DIM:#}")?;
    }
    if let (Some(first), 1..) = (lines.first(), lines.len() - shown) {
        let style = style(first.sign);
        writeln!(
            out,
            "  {style}{} {}{style:#}  … and {} more like these {DIM}(--all){DIM:#}",
            first.sign,
            first.verb,
            lines.len() - shown
        )?;
    }
    Ok(())
}

fn style(sign: char) -> Style {
    match sign {
        '+' => AnsiColor::Green.on_default(),
        '-' => AnsiColor::Red.on_default(),
        _ => AnsiColor::Cyan.on_default(),
    }
}

/// The nodes that should run no pod, by reason.
fn without_pod(out: &mut impl Write, plan: &Plan<'_>, all: bool) -> io::Result<()> {
    let mut reasons = IndexMap::<(bool, String), Vec<String>>::new();
    for placement in plan.placements().filter(|placement| placement.verdict != Verdict::Run) {
        let stays = placement.verdict == Verdict::Keep;
        reasons.entry((stays, tame(&placement.reason))).or_default().push(tame(&placement.node));
    }
    for ((stays, reason), nodes) in reasons {
        let stays = if stays { " (a pod that is there stays)" } else { "" };
        writeln!(out, "  {DIM}not on {}: {reason}{stays}{DIM:#}", names(&nodes, all))?;
    }
    Ok(())
}

/// The first few names, or all.
pub(super) fn names(all_names: &[String], all: bool) -> String {
    let shown = if all || all_names.len() <= SHOWN { all_names.len() } else { SHOWN };
    let names: Vec<_> = all_names.iter().take(shown).map(String::as_str).collect();
    let more = match all_names.len() - shown {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("{}{more}", names.join(", "))
}

#[derive(Default)]
struct Summary {
    plans: usize,
    verbs: IndexMap<&'static str, usize>,
    again: Option<Duration>,
}

impl Summary {
    fn add(&mut self, plan: &Plan<'_>, groups: &Groups) {
        self.plans += 1;
        for ((verb, _), lines) in groups {
            *self.verbs.entry(verb).or_default() += lines.len();
        }
        self.again = self.again.into_iter().chain(plan.plan_again_after).min();
    }

    fn write(&self, out: &mut impl Write) -> io::Result<()> {
        if self.plans == 0 {
            return writeln!(out, "{BOLD}no plan{BOLD:#}: the input has no DaemonSet that could be planned");
        }
        let mut parts: Vec<_> = self.verbs.iter().map(|(verb, count)| format!("{count} × {verb}")).collect();
        if parts.is_empty() {
            parts.push("nothing to do".to_owned());
        }
        let again = self.again.map(|after| format!("; look again in {}", span(after))).unwrap_or_default();
        writeln!(out, "{BOLD}{}{BOLD:#}: {}{again}", plural(self.plans, "plan"), parts.join(", "))
    }
}

pub(super) fn plural(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// A time span in whole seconds, rounded up so that nobody looks too early.
pub(super) fn span(after: Duration) -> String {
    let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
    format!("{:#}", SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX)))
}
