//! `daemonplan plan`: for each DaemonSet its state in one line, its actions with reasons, and the nodes without a pod.

use std::{
    collections::BTreeSet,
    io::{self, Write},
    process::ExitCode,
    time::Duration,
};

use clap::{Args, ValueEnum};
use daemonplan::{
    Action, MissingFact, Plan, Snapshot, Verdict,
    manifest::Manifests,
    model::{DaemonSet, UpdateStrategy},
    plan::{HeldBack, UnsupportedAction},
    policy::RolloutPhase,
};
use indexmap::IndexMap;

use super::{
    Failure,
    facts::{ALL_KINDS, FactArgs},
    output::{self, daemonset_name, escape_control, print_error, write_error},
    report::{self, Planned},
    selection::Selection,
    style::{BOLD, DIM, SHOWN, WARN, first_names, lacking, listed, names, plural, shown_of, span, style},
    table,
};

/// Plan every DaemonSet of a cluster.
#[derive(Debug, Args)]
#[command(after_help = "Plan from the output of kubectl:\n  \
    kubectl get daemonsets,nodes,pods,namespaces,controllerrevisions -A -o json | daemonplan plan -f -\n\n\
    Exit code: 0 success, 1 error, 2 actions are needed (with --exit-code).")]
pub(super) struct PlanArgs {
    #[command(flatten)]
    selection: Selection,

    /// Output format
    #[arg(short, long, value_enum, default_value_t)]
    output: PlanFormat,

    /// Exit with 2 if actions are needed
    #[arg(long)]
    exit_code: bool,

    /// Show every DaemonSet, and every action on its own line, without abbreviation
    #[arg(long)]
    all: bool,

    #[command(flatten)]
    facts: FactArgs,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum PlanFormat {
    /// Text for people; of many DaemonSets a table, and those with something to do
    #[default]
    Text,
    /// A table of all DaemonSets
    Wide,
    /// The names of the DaemonSets with something to do, one on each line
    Name,
    /// JSON for programs, in a documented format
    Json,
    /// The JSON report as YAML
    Yaml,
}

pub(super) fn run(args: &PlanArgs) -> Result<ExitCode, Failure> {
    let facts = args.facts.read(ALL_KINDS, &args.selection)?;
    let selected = if args.selection.is_limited() || args.exit_code || !facts.has_no_daemonsets() {
        facts.selected(&args.selection, &[MissingFact::Nodes])?
    } else {
        Vec::new()
    };
    let (mut any_actions, mut unsupported, mut is_sure) = (false, 0, true);
    let missing: BTreeSet<_> = selected.iter().flat_map(Snapshot::missing).collect();
    let plans = selected.into_iter().map(|snapshot| {
        let mut plan = snapshot.plan();
        plan.warnings.extend(snapshot.pod_warnings());
        (snapshot, plan)
    });
    let plans = plans.inspect(|(snapshot, plan)| {
        any_actions |= !plan.actions.is_empty();
        unsupported += plan.unsupported.len();
        is_sure &=
            snapshot.missing().all(|fact| fact == MissingFact::Revisions) || snapshot.daemonset().is_being_deleted();
    });
    let mut out = output::stdout();
    match args.output {
        PlanFormat::Text => write(&mut output::text(), &facts.manifests, plans.collect(), args.all),
        PlanFormat::Wide => table::write(&mut output::styled(), &plans.collect::<Vec<_>>(), true),
        PlanFormat::Name => table::names(&mut out, &plans.collect::<Vec<_>>()),
        PlanFormat::Json => output::write_json(&mut out, &report::plans(plans)),
        PlanFormat::Yaml => output::write_yaml(&mut out, &report::plans(plans)),
    }
    .map_err(write_error)?;
    if !is_sure || unsupported > 0 || (args.exit_code && !missing.is_empty()) {
        print_error(&format_args!(
            "the input has {}: {} not sure; add what is missing, or say --complete if there is none",
            lacking(&missing),
            match unsupported {
                0 => "the answer is".to_owned(),
                1 => "1 action is".to_owned(),
                count => format!("{count} actions are"),
            },
        ));
        return Ok(ExitCode::FAILURE);
    }
    Ok(match facts.exit_code() {
        ExitCode::SUCCESS if args.exit_code && any_actions => ExitCode::from(2),
        code => code,
    })
}

fn write(out: &mut impl Write, manifests: &Manifests, plans: Vec<Planned<'_>>, all: bool) -> io::Result<()> {
    let counts = [
        (manifests.daemonsets().count(), "DaemonSet"),
        (manifests.nodes().len(), "node"),
        (manifests.pod_count(), "pod"),
    ];
    let counts = counts.map(|(count, what)| plural(count, what)).join(", ");
    let mut skipped = IndexMap::<&str, usize>::new();
    for object in manifests.skipped() {
        *skipped.entry(if object.kind.is_empty() { "other document" } else { &object.kind }).or_default() += 1;
    }
    let skipped: Vec<_> =
        skipped.into_iter().map(|(kind, count)| format!("{count} {}", escape_control(kind))).collect();
    write!(out, "{BOLD}cluster{BOLD:#}: {counts}")?;
    if !skipped.is_empty() {
        write!(out, " {DIM}(ignored: {}){DIM:#}", first_names(&skipped, SHOWN))?;
    }
    writeln!(out)?;

    let is_long = plans.len() > SHOWN;
    if is_long {
        writeln!(out)?;
        table::write(out, &plans, all)?;
    }
    let mut summary = Summary::default();
    for planned in plans {
        let is_shown = all || !is_long || table::has_news(&planned);
        let (snapshot, plan) = planned;
        let groups = grouped(&plan);
        if is_shown {
            writeln!(out)?;
            one(out, &snapshot, &plan, &groups, all)?;
        }
        summary.add(&plan, &groups);
    }
    writeln!(out)?;
    summary.write(out)?;
    out.flush()
}

fn one(out: &mut impl Write, snapshot: &Snapshot<'_>, plan: &Plan, groups: &Groups, all: bool) -> io::Result<()> {
    let daemonset = snapshot.daemonset();
    let name = daemonset_name(daemonset);
    writeln!(out, "{BOLD}{name}{BOLD:#}  {}", state(daemonset, plan))?;
    for warning in &plan.warnings {
        writeln!(out, "  {WARN}! {}{WARN:#}", escape_control(warning))?;
    }
    if let Some(rollout) = &plan.rollout {
        let phase = (rollout.phase != RolloutPhase::Settled).then(|| format!("policy: {}", rollout.phase));
        for text in phase.into_iter().chain(rollout.notes()) {
            writeln!(out, "  {}", escape_control(text))?;
        }
    }
    if plan.actions.is_empty() {
        let nothing = if plan.unsupported.is_empty() { "nothing to do" } else { "nothing that is sure" };
        writeln!(out, "  {DIM}{nothing}{DIM:#}")?;
    }
    for lines in groups.values() {
        group(out, lines, all)?;
    }
    let mut unsupported = Groups::new();
    for UnsupportedAction { action, rests_on, .. } in &plan.unsupported {
        let mut line = line(action);
        let rests_on: Vec<_> = rests_on.iter().map(|fact| format!("the {fact}")).collect();
        line.reason = format!("{} – not sure without {}", line.reason, listed(&rests_on));
        line.sign = '?';
        unsupported.entry((line.verb, action.reason_code())).or_default().push(line);
    }
    for lines in unsupported.values() {
        group(out, lines, all)?;
    }
    let HeldBack { creations, deletions, .. } = plan.held_back;
    for (held_back, what) in [(creations, "more creation"), (deletions, "more deletion")] {
        if held_back > 0 {
            writeln!(out, "  {WARN}… {} held back by the burst limit{WARN:#}", plural(held_back, what))?;
        }
    }
    for event in &plan.events {
        writeln!(out, "  {DIM}event {}{DIM:#}", escape_control(event))?;
    }
    without_pod(out, snapshot, all)?;
    if let Some(after) = plan.requeue_after {
        writeln!(out, "  requeue after {}", span(after))?;
    }
    Ok(())
}

fn state(daemonset: &DaemonSet, plan: &Plan) -> String {
    let strategy = match daemonset.update_strategy {
        UpdateStrategy::OnDelete => "OnDelete".to_owned(),
        strategy @ UpdateStrategy::RollingUpdate { max_unavailable, max_surge } if strategy.surges() => {
            format!("RollingUpdate, surge {max_surge}, unavailable {max_unavailable}")
        }
        UpdateStrategy::RollingUpdate { max_unavailable, .. } => {
            format!("RollingUpdate, unavailable {max_unavailable}")
        }
    };
    match &plan.status {
        Some(status) => {
            let misscheduled = match status.number_misscheduled {
                0 => String::new(),
                count => format!("; misscheduled {count}"),
            };
            format!(
                "{strategy}: desired {}, current {}, up to date {}, available {}{misscheduled}",
                status.desired_number_scheduled,
                status.current_number_scheduled,
                status.updated_number_scheduled,
                status.number_available,
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

/// The lines of a plan, by verb and reason.
type Groups = IndexMap<(&'static str, &'static str), Vec<Line>>;

fn grouped(plan: &Plan) -> Groups {
    let mut groups = Groups::new();
    for action in &plan.actions {
        let line = line(action);
        groups.entry((line.verb, action.reason_code())).or_default().push(line);
    }
    groups
}

fn line(action: &Action) -> Line {
    let (sign, verb, object, node) = match action {
        Action::AdoptPod { pod, .. } => ('~', "adopt", escape_control(&pod.name), String::new()),
        Action::ReleasePod { pod, .. } => ('~', "release", escape_control(&pod.name), String::new()),
        Action::RelabelPod { pod, hash } => {
            ('~', "relabel", escape_control(&pod.name), escape_control(format_args!("hash {hash}")))
        }
        Action::AdoptRevision { revision, .. } => {
            ('~', "adopt revision", escape_control(&revision.name), String::new())
        }
        Action::ReleaseRevision { revision, .. } => {
            ('~', "release revision", escape_control(&revision.name), String::new())
        }
        Action::UpdateRevision { revision, number, .. } => {
            ('~', "update revision", escape_control(&revision.name), format!("number {number}"))
        }
        Action::CreateRevision { revision } => {
            ('+', "create revision", escape_control(&revision.name), format!("number {}", revision.revision))
        }
        Action::RollBack { daemonset, revision, .. } => {
            ('~', "roll back", escape_control(&daemonset.name), format!("to revision {}", revision.revision))
        }
        Action::RecordRollout { daemonset, .. } => ('~', "record", escape_control(&daemonset.name), String::new()),
        Action::CreatePod { node, .. } => ('+', "create", String::new(), escape_control(node)),
        Action::DeletePod { pod, node, .. } => {
            ('-', "delete", escape_control(&pod.name), escape_control(node.as_deref().unwrap_or("no node")))
        }
        Action::DeleteRevision { revision, .. } => {
            ('-', "delete revision", escape_control(&revision.name), String::new())
        }
        Action::UpdateStatus { .. } => ('~', "update status", String::new(), String::new()),
        _ => ('~', "do", escape_control(action), String::new()),
    };
    Line { sign, verb, object, node, reason: escape_control(action.reason()) }
}

fn group(out: &mut impl Write, lines: &[Line], all: bool) -> io::Result<()> {
    let shown = shown_of(lines.len(), all);
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

/// Writes the nodes that should not run a pod, by reason.
fn without_pod(out: &mut impl Write, snapshot: &Snapshot<'_>, all: bool) -> io::Result<()> {
    let mut reasons = IndexMap::<(bool, String), Vec<String>>::new();
    for placement in snapshot.placements().filter(|placement| placement.verdict != Verdict::Run) {
        let stays = placement.verdict == Verdict::Keep;
        reasons.entry((stays, escape_control(&placement.reason))).or_default().push(escape_control(&placement.node));
    }
    for ((stays, reason), nodes) in reasons {
        let stays = if stays { " (an existing pod stays)" } else { "" };
        writeln!(out, "  {DIM}not on {}: {reason}{stays}{DIM:#}", names(&nodes, all))?;
    }
    Ok(())
}

#[derive(Default)]
struct Summary {
    plans: usize,
    unsupported: usize,
    verbs: IndexMap<&'static str, usize>,
    again: Option<Duration>,
}

impl Summary {
    fn add(&mut self, plan: &Plan, groups: &Groups) {
        self.plans += 1;
        self.unsupported += plan.unsupported.len();
        for ((verb, _), lines) in groups {
            *self.verbs.entry(verb).or_default() += lines.len();
        }
        self.again = self.again.into_iter().chain(plan.requeue_after).min();
    }

    fn write(&self, out: &mut impl Write) -> io::Result<()> {
        if self.plans == 0 {
            return writeln!(out, "{BOLD}no plan{BOLD:#}: there are no DaemonSets");
        }
        let mut parts: Vec<_> = self.verbs.iter().map(|(verb, count)| format!("{count} × {verb}")).collect();
        match self.unsupported {
            0 if parts.is_empty() => parts.push("nothing to do".to_owned()),
            0 => {}
            count => parts.push(format!("{count} not sure")),
        }
        let again = self.again.map(|after| format!("; requeue after {}", span(after))).unwrap_or_default();
        writeln!(out, "{BOLD}{}{BOLD:#}: {}{again}", plural(self.plans, "plan"), parts.join(", "))
    }
}
