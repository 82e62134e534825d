//! `daemonplan diff`: the effect of a change on the pods of every DaemonSet, node by node.

use std::{
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

use clap::Args;
use daemonplan::{
    Diff, Snapshot,
    forecast::{Change, NodeDiff},
    manifest::Manifests,
    model::{DaemonSet, DaemonSetStatus, IntOrPercent, Node, Taint, TaintEffect, Text},
};
use indexmap::IndexMap;
use json_patch::PatchOperation;
use serde::Serialize;
use serde_json::Value;

use super::{
    Failure,
    facts::{FactArgs, Selection, print_problems},
    input,
    output::{self, Format, escape_control, print_error, write_error},
    report,
    style::{BOLD, DIM, WARN, names, plural, shown_of, style},
};

/// Compare the pods with and without a change.
#[derive(Debug, Args)]
#[command(after_help = "What would a new template and a taint change?\n  \
    daemonplan diff --with changed.yaml --taint node-7=dedicated=db:NoExecute\n\n\
    In a pipeline:\n  \
    daemonplan diff --with manifests/ --max-deletes 50 --max-unavailable 10%\n\n\
    Exit code: 0 success, 1 error, 2 difference (with --exit-code), 3 limit exceeded.")]
pub(super) struct DiffArgs {
    #[command(flatten)]
    selection: Selection,

    /// Exit with 3 if more existing pods are deleted
    #[arg(long, value_name = "N", help_heading = "Limits")]
    max_deletes: Option<usize>,

    /// Exit with 3 if more nodes of a DaemonSet become unavailable at the same time
    #[arg(long, value_name = "N|N%", help_heading = "Limits")]
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

    // Behind the plain options: its help heading holds for all that follow.
    #[command(flatten)]
    changes: ChangeArgs,

    #[command(flatten)]
    facts: FactArgs,
}

/// The flags for the change.
#[derive(Debug, Args)]
#[command(next_help_heading = "Changes")]
struct ChangeArgs {
    /// Manifests to apply, as kubectl apply does: a file, a directory, or - for standard input; repeatable
    #[arg(long, value_name = "FILE|DIR|-")]
    with: Vec<PathBuf>,

    /// Remove a node, before all other changes of nodes
    #[arg(long, value_name = "NODE")]
    remove_node: Vec<Text>,

    /// Set a label of a node, or remove it with a trailing -
    #[arg(long, value_name = "NODE=KEY=VALUE|NODE=KEY-", value_parser = label)]
    set_label: Vec<(Text, LabelChange)>,

    /// Add a taint to a node, or remove it with a trailing -
    #[arg(long, value_name = "NODE=KEY[=VALUE]:EFFECT[-]", value_parser = taint)]
    taint: Vec<(Text, TaintChange)>,

    /// Cordon a node
    #[arg(long, value_name = "NODE")]
    cordon: Vec<Text>,

    /// Uncordon a node
    #[arg(long, value_name = "NODE")]
    uncordon: Vec<Text>,
}

#[derive(Clone, Debug)]
struct LabelChange {
    key: Text,
    /// The new value; `None` removes the label.
    value: Option<Text>,
}

#[derive(Clone, Debug)]
struct TaintChange {
    taint: Taint,
    is_set: bool,
}

fn label(text: &str) -> Result<(Text, LabelChange), String> {
    const EXPECTED: &str = "expected NODE=KEY=VALUE or NODE=KEY-";
    let (node, label) = text.split_once('=').ok_or(EXPECTED)?;
    let (key, value) = match (label.split_once('='), label.strip_suffix('-')) {
        (Some((key, value)), _) => (key, Some(value.into())),
        (None, Some(key)) => (key, None),
        (None, None) => return Err(EXPECTED.into()),
    };
    Ok((node.into(), LabelChange { key: key.into(), value }))
}

fn taint(text: &str) -> Result<(Text, TaintChange), String> {
    const EXPECTED: &str = "expected NODE=KEY:EFFECT or NODE=KEY=VALUE:EFFECT, with a trailing - to remove the taint";
    let (node, rest) = text.split_once('=').ok_or(EXPECTED)?;
    let (rest, is_set) = rest.strip_suffix('-').map_or((rest, true), |rest| (rest, false));
    let (key, effect) = rest.rsplit_once(':').ok_or(EXPECTED)?;
    let (key, value) = key.split_once('=').unwrap_or((key, ""));
    let known = [TaintEffect::NoSchedule, TaintEffect::PreferNoSchedule, TaintEffect::NoExecute];
    let effect = known.into_iter().find(|known| known.to_string() == effect);
    let effect = effect.ok_or("expected the effect NoSchedule, PreferNoSchedule or NoExecute")?;
    Ok((node.into(), TaintChange { taint: Taint::new(key, value, effect), is_set }))
}

impl ChangeArgs {
    /// Returns the cluster with all changes.
    fn apply(&self, manifests: &Manifests) -> Result<Manifests, Failure> {
        let shortcuts = [&self.remove_node, &self.cordon, &self.uncordon];
        let is_empty = self.with.is_empty() && self.set_label.is_empty() && self.taint.is_empty();
        if is_empty && shortcuts.iter().all(|nodes| nodes.is_empty()) {
            let flags = "--with, --set-label, --taint, --cordon, --uncordon or --remove-node";
            return Err(Failure(format!("no change given: expected {flags}")));
        }
        let mut changed = manifests.clone();
        if !self.with.is_empty() {
            let applied = input::read(&self.with)?;
            print_problems(&applied);
            changed = changed.with(applied);
        }
        for node in &self.remove_node {
            if !changed.remove_node(node) {
                return Err(unknown(node));
            }
        }
        for (name, LabelChange { key, value }) in &self.set_label {
            let node = node(&mut changed, name)?;
            node.labels = if let Some(value) = value {
                node.labels.with(key.clone(), value.clone())
            } else {
                let others = node.labels.iter().filter(|(other, _)| *other != key);
                others.map(|(key, value)| (key.clone(), value.clone())).collect()
            };
        }
        for (name, TaintChange { taint, is_set }) in &self.taint {
            set_taint(node(&mut changed, name)?, taint, *is_set);
        }
        for (names, is_set) in [(&self.cordon, true), (&self.uncordon, false)] {
            for name in names {
                let cordon = Taint::new("node.kubernetes.io/unschedulable", "", TaintEffect::NoSchedule);
                set_taint(node(&mut changed, name)?, &cordon, is_set);
            }
        }
        Ok(changed)
    }
}

fn set_taint(node: &mut Node, taint: &Taint, is_set: bool) {
    node.taints.retain(|other| (&other.key, &other.effect) != (&taint.key, &taint.effect));
    node.taints.extend(is_set.then(|| taint.clone()));
}

fn node<'m>(manifests: &'m mut Manifests, name: &Text) -> Result<&'m mut Node, Failure> {
    manifests.node_mut(name).ok_or_else(|| unknown(name))
}

fn unknown(node: &Text) -> Failure {
    Failure(format!("node {node} not found in the input: it cannot be changed"))
}

/// The effect of a change on one DaemonSet.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Difference {
    is_new: bool,
    /// The changed fields of the DaemonSet itself.
    fields: Vec<Field>,
    #[serde(flatten)]
    diff: Diff,
    deletions: usize,
}

/// A changed field.
#[derive(Serialize)]
struct Field {
    path: String,
    before: Option<Value>,
    after: Option<Value>,
}

pub(super) fn run(args: &DiffArgs) -> Result<ExitCode, Failure> {
    let facts = args.facts.read(args.selection.namespace())?;
    let changed = facts.with_manifests(args.changes.apply(&facts.manifests)?);
    let key = |snapshot: &Snapshot<'_>| (snapshot.daemonset().namespace.clone(), snapshot.daemonset().name.clone());
    let before: IndexMap<_, _> = facts.snapshots().map(|snapshot| (key(&snapshot), snapshot)).collect();
    let differences: Vec<_> = changed
        .selected(&args.selection)?
        .into_iter()
        .map(|after| (after, Difference::between(before.get(&key(&after)), &after)))
        .collect();

    let mut out = output::stdout();
    match args.output {
        Format::Text => write(&mut output::text(), &differences, args.all),
        Format::Json => output::write_json(&mut out, &report::named("diffs", &differences)),
        Format::Yaml => output::write_yaml(&mut out, &report::named("diffs", &differences)),
    }
    .map_err(write_error)?;

    let is_allowed = args.is_allowed(&differences);
    let is_different = differences.iter().any(|(_, difference)| !difference.is_empty());
    Ok(match changed.exit_code() {
        ExitCode::SUCCESS if !is_allowed => ExitCode::from(3),
        ExitCode::SUCCESS if args.exit_code && is_different => ExitCode::from(2),
        code => code,
    })
}

impl DiffArgs {
    /// Whether the differences are within the limits. Prints an error for each exceeded limit.
    fn is_allowed(&self, differences: &[(Snapshot<'_>, Difference)]) -> bool {
        let mut is_allowed = true;
        let mut deny = |problem: String| {
            print_error(&problem);
            is_allowed = false;
        };
        let deletions: usize = differences.iter().map(|(_, difference)| difference.deletions).sum();
        if let Some(most) = self.max_deletes.filter(|most| deletions > *most) {
            deny(format!("{} deleted, more than --max-deletes {most} allows", plural(deletions, "pod")));
        }
        for (snapshot, Difference { diff, .. }) in differences {
            let name = name(snapshot.daemonset());
            let most = self.max_unavailable.map(|most| (most, most.of(diff.desired)));
            if let Some((most, _)) = most.filter(|(_, count)| diff.most_unavailable > *count) {
                let nodes = plural(diff.most_unavailable, "node");
                deny(format!("{name}: {nodes} unavailable at a time, more than --max-unavailable {most} allows"));
            }
            if diff.is_restless && (self.max_deletes.is_some() || self.max_unavailable.is_some()) {
                deny(format!("{name}: pods are created and deleted without end"));
            }
        }
        is_allowed
    }
}

impl Difference {
    fn between(before: Option<&Snapshot<'_>>, after: &Snapshot<'_>) -> Self {
        let diff = Snapshot::diff(before, after);
        let fields = before.map(|before| fields(before.daemonset(), after.daemonset())).unwrap_or_default();
        Self { is_new: before.is_none(), fields, deletions: diff.deletions(), diff }
    }

    fn is_empty(&self) -> bool {
        !self.is_new && self.fields.is_empty() && self.diff.nodes.is_empty()
    }
}

/// The fields of the spec and of the metadata in which two DaemonSets differ.
fn fields(before: &DaemonSet, after: &DaemonSet) -> Vec<Field> {
    let written = |daemonset: &DaemonSet| {
        let mut daemonset = daemonset.clone();
        (daemonset.status, daemonset.generation) = (DaemonSetStatus::default(), 0);
        serde_json::to_value(daemonset).unwrap_or_default()
    };
    let before = written(before);
    let changes = json_patch::diff(&before, &written(after));
    // The API server maintains the template's generation.
    let is_counter = |operation: &PatchOperation| operation.path().as_str().ends_with("daemonset.template.generation");
    let fields = changes.0.into_iter().filter(|operation| !is_counter(operation)).map(|operation| {
        let (path, now) = match operation {
            PatchOperation::Add(add) => (add.path, Some(add.value)),
            PatchOperation::Replace(replace) => (replace.path, Some(replace.value)),
            PatchOperation::Remove(remove) => (remove.path, None),
            other => (other.path().to_owned(), None),
        };
        Field { before: before.pointer(path.as_str()).cloned(), after: now, path: path.to_string() }
    });
    fields.collect()
}

fn name(daemonset: &DaemonSet) -> String {
    escape_control(format_args!("{}/{}", daemonset.namespace, daemonset.name))
}

fn write(out: &mut impl Write, differences: &[(Snapshot<'_>, Difference)], all: bool) -> io::Result<()> {
    let changed: Vec<_> = differences.iter().filter(|(_, difference)| !difference.is_empty()).collect();
    let mut counts = IndexMap::<&str, usize>::new();
    for (snapshot, difference) in &changed {
        writeln!(out, "{BOLD}{}{BOLD:#}", name(snapshot.daemonset()))?;
        if difference.is_new {
            let style = style('+');
            writeln!(out, "  {style}+{style:#} the DaemonSet is new")?;
        }
        for field in &difference.fields {
            write_field(out, field)?;
        }
        let mut groups = IndexMap::<(&str, String), Vec<&NodeDiff>>::new();
        for node in &difference.diff.nodes {
            groups.entry((node.change.code(), escape_control(&node.change))).or_default().push(node);
        }
        for ((code, sentence), nodes) in &groups {
            *counts.entry(code).or_default() += nodes.len();
            write_group(out, nodes, sentence, all)?;
        }
        if difference.diff.is_restless {
            writeln!(out, "  {WARN}! never settles: pods are created and deleted without end{WARN:#}")?;
        }
        let unavailable = difference.diff.most_unavailable;
        if unavailable > 0 {
            let nodes = plural(difference.diff.desired, "node");
            writeln!(out, "  {DIM}at most {unavailable} of {nodes} unavailable at a time{DIM:#}")?;
        }
        writeln!(out)?;
    }
    let among = format!("{} of {}", changed.len(), plural(differences.len(), "DaemonSet"));
    let counts: Vec<_> = counts.iter().map(|(code, count)| format!("{count} {}", word(code))).collect();
    match (changed.len(), counts.is_empty()) {
        (0, _) => writeln!(out, "{BOLD}no difference{BOLD:#}: {}", plural(differences.len(), "DaemonSet"))?,
        (_, true) => writeln!(out, "{BOLD}{among}{BOLD:#}: no pod changes")?,
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
    let path = path.trim_start_matches('/').replace('/', ".").replace("~1", "/").replace("~0", "~");
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
        "Gained" => "added",
        "Lost" => "removed",
        "Replaced" => "replaced",
        "Spared" => "spared",
        "Outdated" => "outdated",
        "UpToDate" => "up to date",
        _ => "unwanted",
    }
}
