//! `daemonplan diff`: the effect of a change on the pods of every DaemonSet, node by node.

use std::{
    collections::BTreeSet,
    io::{self, Write},
    process::ExitCode,
};

use clap::Args;
use daemonplan::{
    DeleteReason, Diff, Key, MissingFact, Snapshot,
    api_server::FieldError,
    explain::UpdateState,
    forecast::{Assumptions, Change, Loss, NodeDiff, Outcome},
    model::{IntOrPercent, InvalidIntOrPercent, Pod},
    placement::PlacementReason,
};
use indexmap::IndexMap;
use serde::Serialize;

use super::{
    Failure,
    facts::{ALL_KINDS, FactArgs},
    fields::{Field, fields},
    forecast::by_cause,
    output::{self, Format, daemonset_name, escape_control, print_error, write_error},
    pod::{unknown, unknown_facts},
    report,
    selection::Selection,
    style::{BOLD, DIM, WARN, lacking, names, plural, shown_of, style},
};

/// Compare the pods with and without a change.
#[derive(Debug, Args)]
#[command(after_help = "What would a new template and a taint change?\n  \
    daemonplan diff --with changed.yaml --taint node-7=dedicated=db:NoExecute\n\n\
    In a pipeline:\n  \
    daemonplan diff --with manifests/ --max-deletes 50 --max-unavailable 10%\n\n\
    Exit code: 0 success, 1 error, 2 difference (with --exit-code), 3 limit exceeded, or stuck where a limit is given.")]
pub(super) struct DiffArgs {
    #[command(flatten)]
    selection: Selection,

    /// Exit with 3 if more existing pods are deleted, by the controllers or for the place of new pods
    #[arg(long, value_name = "N", help_heading = "Limits")]
    max_deletes: Option<usize>,

    /// Exit with 3 if more nodes of a DaemonSet become unavailable at the same time; a percentage is of the nodes that
    /// should run a pod, rounded up, as in maxUnavailable
    #[arg(long, value_name = "N|N%", help_heading = "Limits", value_parser = limit)]
    max_unavailable: Option<IntOrPercent>,

    /// Output format
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,

    /// Exit with 2 if anything differs
    #[arg(long)]
    exit_code: bool,

    /// List all nodes, without abbreviation
    #[arg(long)]
    all: bool,

    #[command(flatten)]
    facts: FactArgs,
}

fn limit(text: &str) -> Result<IntOrPercent, String> {
    match text.parse().map_err(|error: InvalidIntOrPercent| error.to_string())? {
        IntOrPercent::Percent(percent) if percent > 100 => Err("expected at most 100%".to_owned()),
        limit => Ok(limit),
    }
}

/// The effect of a change on one DaemonSet.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Difference {
    is_new: bool,
    /// The changed fields of the DaemonSet itself.
    fields: Vec<Field>,
    /// How the update ends, if it is blocked without the change and goes on with it, or blocked with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    rollout: Option<Ends>,
    /// Why the API server, or kubectl before it, refuses the change.
    refusals: Vec<FieldError>,
    #[serde(flatten)]
    diff: Diff,
    deletions: usize,
    /// Whether the namespace is being deleted, so that no pod is created again.
    #[serde(skip)]
    has_no_future: bool,
}

/// How an update ends, without the change and with it.
#[derive(Serialize)]
struct Ends {
    before: Outcome,
    after: Outcome,
    /// Whether the change lets a blocked update go on.
    #[serde(skip)]
    is_freed: bool,
    /// The number of nodes that do not converge, and that of those that would not without the change.
    #[serde(skip)]
    stuck: usize,
    #[serde(skip)]
    stuck_anyway: usize,
}

impl Ends {
    /// Looks whether a change lets a blocked update go on, or one that the change begins is blocked.
    fn of(before: &Snapshot<'_>, after: &Snapshot<'_>, diff: &Diff) -> Option<Self> {
        let waits = matches!(before.explain().update, UpdateState::Waiting { .. });
        if !waits && diff.nodes.is_empty() {
            return None;
        }
        let forecast = |snapshot: &Snapshot<'_>| snapshot.forecast(&Assumptions::default());
        let (before, after) = (forecast(before), forecast(after));
        let is_freed = waits && (before.outcome != after.outcome || before.stuck.len() > after.stuck.len());
        // A port that an old pod keeps is told with its nodes.
        let comes = |node: &NodeDiff| matches!(node.change, Change::Gained(_) | Change::Replaced(_) | Change::Outdated);
        let is_begun = diff.nodes.iter().any(comes);
        let is_blocked = after.outcome == Outcome::Stuck && diff.stuck.is_empty() && is_begun;
        let (stuck, stuck_anyway) = (after.stuck.len(), before.stuck.len());
        let (before, after) = (before.outcome, after.outcome);
        (is_freed || is_blocked).then_some(Self { before, after, is_freed, stuck, stuck_anyway })
    }
}

pub(super) fn run(args: &DiffArgs) -> Result<ExitCode, Failure> {
    if args.facts.changes.is_empty() {
        let flags = "--with, --set-label, --taint, --cordon, --uncordon or --remove-node";
        return Err(Failure(format!("no change given: expected {flags}")));
    }
    let mut facts = args.facts.input.read_for_scheduling(ALL_KINDS, &args.selection)?;
    facts.doubt_other_namespaces();
    let changed = facts.with(&args.facts.changes, &args.selection)?;
    let key = |snapshot: &Snapshot<'_>| (snapshot.daemonset().namespace.clone(), snapshot.daemonset().name.clone());
    let (state, changed_state) = (facts.state_with_coming(), changed.state_with_coming());
    let before = facts.snapshots().map(|snapshot| (key(&snapshot), snapshot.scheduling(&state)));
    let before: IndexMap<_, _> = before.collect();
    let differences: Vec<_> = changed
        .selected(&args.selection, &[])?
        .into_iter()
        .map(|after| {
            let after = after.scheduling(&changed_state);
            let before = before.get(&key(&after));
            let mut difference = Difference::between(before, &after);
            difference.refuse(changed.refusals(after.daemonset()));
            let namespace = changed.manifests.namespace(&after.daemonset().namespace);
            difference.has_no_future = namespace.is_some_and(|namespace| namespace.deleted.is_some());
            (after, difference)
        })
        .collect();

    let mut out = output::stdout();
    match args.output {
        Format::Text => write(&mut output::text(), &differences, changed.exit_code() == ExitCode::SUCCESS, args.all),
        Format::Json => output::write_json(&mut out, &report::named("diffs", &differences)),
        Format::Yaml => output::write_yaml(&mut out, &report::named("diffs", &differences)),
    }
    .map_err(write_error)?;

    let missing: BTreeSet<_> =
        differences.iter().flat_map(|(_, difference)| difference.diff.rests_on.iter().copied()).collect();
    let is_known = differences.iter().all(|(_, difference)| difference.diff.missing.is_none());
    let has_limits = args.max_deletes.is_some() || args.max_unavailable.is_some() || args.exit_code;
    // Without revisions the templates are still compared.
    let is_sure = missing.iter().all(|fact| *fact == MissingFact::Revisions);
    if !is_known || !is_sure || (has_limits && !missing.is_empty()) {
        let missing = lacking(&missing);
        return Err(Failure(format!(
            "the input has {missing}: the effect is not sure; add what is missing, or say --complete if there is none"
        )));
    }
    let mut is_accepted = true;
    for (snapshot, _) in differences.iter().filter(|(_, difference)| !difference.refusals.is_empty()) {
        print_error(&format_args!("{}: the API server refuses the change", daemonset_name(snapshot.daemonset())));
        is_accepted = false;
    }
    if !is_accepted {
        return Ok(ExitCode::FAILURE);
    }
    // What is known to exceed a limit does so whatever is not known.
    let is_going = |key: &Key| {
        let pod = facts.manifests.pod(&key.namespace, &key.name);
        pod.is_some_and(Pod::is_being_deleted)
    };
    let is_allowed = args.is_allowed(&differences, is_going);
    let unknown = unknown_facts(differences.iter().flat_map(|(_, difference)| &difference.diff.unknown));
    if is_allowed && has_limits && !unknown.is_empty() {
        let unknown: Vec<_> = unknown.into_iter().collect();
        return Err(Failure(format!("not known: {}; the effect is not sure", unknown.join("; "))));
    }
    let is_different = differences.iter().any(|(_, difference)| !difference.is_empty());
    Ok(match changed.exit_code() {
        ExitCode::SUCCESS if !is_allowed => ExitCode::from(3),
        ExitCode::SUCCESS if args.exit_code && is_different => ExitCode::from(2),
        code => code,
    })
}

impl DiffArgs {
    /// Whether the differences are within the limits. Prints an error for each exceeded limit.
    fn is_allowed(&self, differences: &[(Snapshot<'_>, Difference)], is_going: impl Fn(&Key) -> bool) -> bool {
        let mut is_allowed = true;
        let mut deny = |problem: String| {
            print_error(&problem);
            is_allowed = false;
        };
        // Two DaemonSets can take the place of one pod.
        let preempted = differences.iter().flat_map(|(_, difference)| &difference.diff.preempted);
        let preempted: BTreeSet<_> = preempted.filter(|pod| !is_going(pod)).collect();
        let own: usize = differences.iter().map(|(_, difference)| difference.deletions).sum();
        let deletions = own + preempted.len();
        if let Some(most) = self.max_deletes.filter(|most| deletions > *most) {
            deny(format!("{} deleted, more than --max-deletes {most} allows", plural(deletions, "pod")));
        }
        for (snapshot, Difference { diff, has_no_future, rollout, .. }) in differences {
            let name = daemonset_name(snapshot.daemonset());
            let has_limit = self.max_deletes.is_some() || self.max_unavailable.is_some();
            if has_limit && *has_no_future && !diff.nodes.is_empty() {
                deny(format!("{name}: its namespace is being deleted"));
            }
            let most = self.max_unavailable.map(|most| (most, most.of(diff.desired)));
            if let Some((most, _)) = most.filter(|(_, count)| diff.most_unavailable > *count) {
                let nodes = plural(diff.most_unavailable, "node");
                deny(format!("{name}: takes down {nodes} at a time, more than --max-unavailable {most} allows"));
            }
            if has_limit && !diff.stuck.is_empty() {
                let nodes = plural(diff.stuck.len(), "node");
                deny(format!(
                    "{name}: stuck on {nodes}: {}",
                    diff.stuck.first().map(|stuck| stuck.cause.to_string()).unwrap_or_default()
                ));
            }
            // What gets stuck without the change, too, is not its fault.
            let begins = |ends: &&Ends| !ends.is_freed && ends.stuck > ends.stuck_anyway;
            if let Some(Ends { stuck, .. }) = rollout.as_ref().filter(begins).filter(|_| has_limit) {
                deny(format!("{name}: the update gets stuck: {} not converged", plural(*stuck, "node")));
            }
            if has_limit && diff.is_restless {
                deny(format!("{name}: its steps repeat without end"));
            }
        }
        is_allowed
    }
}

impl Difference {
    fn between(before: Option<&Snapshot<'_>>, after: &Snapshot<'_>) -> Self {
        let diff = Snapshot::diff(before, after);
        let fields = before.map(|before| fields(before.daemonset(), after.daemonset())).unwrap_or_default();
        let rollout = before.filter(|_| diff.missing.is_none()).and_then(|before| Ends::of(before, after, &diff));
        Self {
            is_new: before.is_none(),
            fields,
            rollout,
            refusals: Vec::new(),
            deletions: diff.deletions(),
            diff,
            has_no_future: false,
        }
    }

    /// Sets why the API server refuses the change: it then has no effect.
    fn refuse(&mut self, refusals: Vec<FieldError>) {
        if !refusals.is_empty() {
            self.diff.nodes.clear();
            self.diff.stuck.clear();
            (self.diff.most_unavailable, self.diff.is_restless, self.diff.held_by) = (0, false, None);
            (self.rollout, self.deletions) = (None, 0);
        }
        self.refusals = refusals;
    }

    fn is_empty(&self) -> bool {
        let Diff { nodes, missing, unknown, stuck, preempted, .. } = &self.diff;
        let is_scheduled_alike = unknown.is_empty() && stuck.is_empty() && preempted.is_empty();
        let is_same = nodes.is_empty() && missing.is_none() && is_scheduled_alike && self.rollout.is_none();
        !self.is_new && self.fields.is_empty() && self.refusals.is_empty() && is_same
    }
}

/// Says what the scheduler makes of the new pods.
fn scheduled(out: &mut impl Write, diff: &Diff, all: bool) -> io::Result<()> {
    for (cause, nodes) in by_cause(&diff.stuck) {
        writeln!(out, "  {WARN}! stuck on {}: {cause}{WARN:#}", plural(nodes.len(), "node"))?;
        writeln!(out, "    {DIM}{}{DIM:#}", names(&nodes, all))?;
    }
    if !diff.preempted.is_empty() {
        let pods: Vec<_> = diff.preempted.iter().map(escape_control).collect();
        writeln!(out, "  {WARN}! preempts {}{WARN:#}", names(&pods, all))?;
    }
    unknown(out, &diff.unknown)
}

fn write(
    out: &mut impl Write,
    differences: &[(Snapshot<'_>, Difference)],
    is_readable: bool,
    all: bool,
) -> io::Result<()> {
    let changed: Vec<_> = differences.iter().filter(|(_, difference)| !difference.is_empty()).collect();
    let mut counts = IndexMap::<&str, usize>::new();
    for (snapshot, difference) in &changed {
        writeln!(out, "{BOLD}{}{BOLD:#}", daemonset_name(snapshot.daemonset()))?;
        if difference.is_new {
            let style = style('+');
            writeln!(out, "  {style}+{style:#} the DaemonSet is new")?;
        }
        for field in &difference.fields {
            write_field(out, field)?;
        }
        for refusal in &difference.refusals {
            writeln!(out, "  {WARN}! the API server refuses this: {}{WARN:#}", escape_control(refusal))?;
            if refusal.field == "spec.selector" && refusal.message.ends_with("field is immutable") {
                let way = "kubectl delete --cascade=orphan and a new DaemonSet leave the old pods without an owner beside \
                           the new ones, unless the new selector matches them";
                writeln!(out, "    {DIM}{way}{DIM:#}")?;
            }
        }
        if !difference.refusals.is_empty() {
            *counts.entry("Refused").or_default() += 1;
            writeln!(out)?;
            continue;
        }
        if difference.has_no_future {
            writeln!(out, "  {WARN}! its namespace is being deleted: no pod is created in it again{WARN:#}")?;
        }
        if let Some(missing) = difference.diff.missing {
            writeln!(out, "  {WARN}! the effect on pods is not known, because the input has no {missing}{WARN:#}")?;
        }
        if difference.diff.rests_on.contains(&MissingFact::Namespace) {
            let fact = MissingFact::Namespace;
            writeln!(out, "  {WARN}! the input has no {fact}: its node selector is taken to be absent{WARN:#}")?;
        }
        let mut groups = IndexMap::<(&str, String), Vec<&NodeDiff>>::new();
        for node in &difference.diff.nodes {
            groups.entry((node.change.code(), escape_control(&node.change))).or_default().push(node);
        }
        for ((code, sentence), nodes) in &groups {
            let is_absent =
                |node: &&&NodeDiff| matches!(node.change, Change::Lost(Loss::NotCreated(_) | Loss::NodeGone));
            let absent = nodes.iter().filter(is_absent).count();
            for (code, count) in [(*code, nodes.len() - absent), ("NotCreated", absent)] {
                if count > 0 {
                    *counts.entry(code).or_default() += count;
                }
            }
            write_group(out, nodes, sentence, all)?;
        }
        let by_affinity = |node: &NodeDiff| {
            let Change::Lost(Loss::Deleted(DeleteReason::NotPlaced { placement })) = &node.change else { return false };
            matches!(placement, PlacementReason::NodeAffinity { .. })
        };
        if difference.diff.nodes.iter().any(by_affinity) {
            let note = "the required node affinity is checked for running pods as well: IgnoredDuringExecution holds for \
                        the scheduler, not for the controller of DaemonSets";
            writeln!(out, "    {DIM}{note}{DIM:#}")?;
        }
        match &difference.rollout {
            // A policy that holds the update up says so itself.
            Some(Ends { is_freed: true, stuck: 0, .. }) if difference.diff.held_by.is_some() => {}
            Some(Ends { is_freed: true, stuck: 0, .. }) => {
                writeln!(out, "  the update, which is blocked without the change, goes on")?;
            }
            Some(Ends { is_freed, stuck, .. }) => {
                let what = if *is_freed { "goes on, and gets stuck later" } else { "gets stuck" };
                let nodes = plural(*stuck, "node");
                let more = "daemonplan forecast tells why";
                writeln!(out, "  {WARN}! the update {what}: {nodes} not converged ({more}){WARN:#}")?;
            }
            None => {}
        }
        if let Some(phase) = &difference.diff.held_by {
            writeln!(out, "  policy: {}", escape_control(phase))?;
        }
        scheduled(out, &difference.diff, all)?;
        if difference.diff.is_restless {
            writeln!(out, "  {WARN}! never settles: its steps repeat without end{WARN:#}")?;
        }
        let unavailable = difference.diff.most_unavailable;
        if unavailable > 0 {
            let nodes = plural(difference.diff.desired, "node");
            writeln!(out, "  {DIM}takes down at most {unavailable} of {nodes} at a time{DIM:#}")?;
        }
        writeln!(out)?;
    }
    let among = format!("{} of {}", changed.len(), plural(differences.len(), "DaemonSet"));
    let counts: Vec<_> = counts.iter().map(|(code, count)| format!("{count} {}", word(code))).collect();
    let unknown = differences.iter().filter(|(_, difference)| difference.diff.missing.is_some()).count();
    if unknown > 0 {
        writeln!(out, "{BOLD}not known{BOLD:#}: {}", plural(unknown, "DaemonSet"))?;
        return out.flush();
    }
    let partly = if is_readable { "" } else { " in what could be read" };
    match (changed.len(), counts.is_empty()) {
        (0, _) => writeln!(out, "{BOLD}no difference{BOLD:#}{partly}: {}", plural(differences.len(), "DaemonSet"))?,
        (_, true) => writeln!(out, "{BOLD}{among}{BOLD:#}: no pod is created or deleted because of it")?,
        (_, false) => writeln!(out, "{BOLD}{among}{BOLD:#}: {}", counts.join(", "))?,
    }
    out.flush()
}

fn write_field(out: &mut impl Write, Field { path, before, after }: &Field) -> io::Result<()> {
    let (sign, what) = match (before, after) {
        (None, Some(after)) => ('+', after.to_string()),
        (Some(before), None) => ('-', before.to_string()),
        (Some(before), Some(after)) => ('~', format!("{before} → {after}")),
        (None, None) => return Ok(()),
    };
    let style = style(sign);
    writeln!(out, "  {style}{sign}{style:#} {}: {}", escape_control(path), escape_control(what))
}

fn write_group(out: &mut impl Write, nodes: &[&NodeDiff], sentence: &str, all: bool) -> io::Result<()> {
    let sign = match nodes.first().map(|node| &node.change) {
        Some(Change::Gained(_)) => '+',
        Some(Change::Lost(_)) => '-',
        _ => '~',
    };
    let style = style(sign);
    writeln!(out, "  {style}{sign} {}{style:#}: {sentence}", plural(nodes.len(), "node"))?;
    if nodes.iter().all(|node| node.pods.is_empty()) {
        let all_names: Vec<_> = nodes.iter().map(|node| escape_control(&node.node)).collect();
        return writeln!(out, "      {}", names(&all_names, all));
    }
    let shown = shown_of(nodes.len(), all);
    let width = nodes.iter().take(shown).map(|node| node.node.len()).max().unwrap_or(0);
    for node in nodes.iter().take(shown) {
        let pods: Vec<_> = node.pods.iter().map(escape_control).collect();
        writeln!(out, "      {:width$}  {DIM}{}{DIM:#}", escape_control(&node.node), pods.join(", "))?;
    }
    if shown < nodes.len() {
        writeln!(out, "      … and {} more {DIM}(--all){DIM:#}", nodes.len() - shown)?;
    }
    Ok(())
}

fn word(code: &str) -> &str {
    match code {
        "Refused" => "refused",
        "Gained" => "added",
        "Lost" => "removed",
        "NotCreated" => "not created",
        "Replaced" => "replaced",
        "Reduced" => "reduced",
        "Spared" => "spared",
        "Adopted" => "adopted",
        "Outdated" => "outdated",
        "UpToDate" => "up to date",
        _ => "unwanted",
    }
}
