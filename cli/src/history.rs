//! `daemonplan history` and `daemonplan undo`: the templates that there were, and the way back.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use clap::Args;
use daemonplan::{
    Snapshot,
    history::{RevisionSummary, UndoError},
    model::ControllerRevision,
};
use serde_json::{Value, json};

use super::{
    Failure,
    facts::{FactArgs, Facts, Selection},
    output::{self, Format, escape_control, not_written},
    report,
    style::{BOLD, DIM},
};

/// List the revisions of DaemonSets, or show one.
#[derive(Debug, Args)]
#[command(after_help = "Which templates were there, and which pods still have them?\n  \
    daemonplan history -n monitoring agent\n\n\
    What did revision 3 look like?\n  \
    daemonplan history -n monitoring agent --revision 3")]
pub(super) struct HistoryArgs {
    #[command(flatten)]
    selection: Selection,

    /// Show the template of this revision
    #[arg(long, value_name = "NUMBER")]
    revision: Option<i64>,

    /// How to show the revisions
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,

    #[command(flatten)]
    facts: FactArgs,
}

/// Write a DaemonSet's manifest with an older template.
#[derive(Debug, Args)]
#[command(after_help = "Back to the template before, if the DaemonSet is still what it was:\n  \
    daemonplan undo -n monitoring agent | kubectl replace -f -\n\n\
    What would that do?\n  \
    daemonplan undo -n monitoring agent --to-revision 3 > before.yaml && daemonplan diff --with before.yaml -n monitoring agent")]
pub(super) struct UndoArgs {
    #[command(flatten)]
    selection: Selection,

    /// The revision to go back to [default: the newest one that is not the current one]
    #[arg(long, value_name = "NUMBER")]
    to_revision: Option<i64>,

    /// How to write the manifest
    #[arg(short, long, value_enum, default_value_t = ManifestFormat::Yaml)]
    output: ManifestFormat,

    #[command(flatten)]
    facts: FactArgs,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum ManifestFormat {
    Yaml,
    Json,
}

pub(super) fn history(args: &HistoryArgs) -> Result<ExitCode, Failure> {
    let facts = args.facts.read(args.selection.namespace())?;
    let meant = facts.selected(&args.selection)?;
    let mut histories: Vec<_> = meant.into_iter().map(|snapshot| (snapshot, snapshot.rollout_history())).collect();
    if let Some(number) = args.revision {
        for (_, revisions) in &mut histories {
            revisions.retain(|revision| revision.number == number);
        }
        if histories.iter().all(|(_, revisions)| revisions.is_empty()) {
            return Err(Failure(format!("there is no revision {number}")));
        }
    }
    let mut out = output::stdout();
    let named: Vec<_> =
        histories.iter().map(|(snapshot, revisions)| (*snapshot, json!({"revisions": revisions}))).collect();
    match args.output {
        Format::Text => write(&mut output::text(), &histories, args.revision.is_some()),
        Format::Json => output::write_json(&mut out, &report::named("histories", &named)),
        Format::Yaml => output::write_yaml(&mut out, &report::named("histories", &named)),
    }
    .map_err(not_written)?;
    Ok(facts.exit_code())
}

fn write(
    out: &mut impl Write,
    histories: &[(Snapshot<'_>, Vec<RevisionSummary>)],
    shows_template: bool,
) -> io::Result<()> {
    for (number, (snapshot, revisions)) in histories.iter().enumerate() {
        if number > 0 {
            writeln!(out)?;
        }
        let daemonset = snapshot.daemonset();
        writeln!(out, "{BOLD}{}{BOLD:#}", escape_control(format_args!("{}/{}", daemonset.namespace, daemonset.name)))?;
        if revisions.is_empty() {
            writeln!(out, "  {DIM}no revision{DIM:#}")?;
            continue;
        }
        let width = revisions.iter().map(|revision| revision.hash.len()).max().unwrap_or(0).max("hash".len());
        writeln!(out, "  {DIM}revision  {:width$}  {:>5}  {:>9}  change cause{DIM:#}", "hash", "pods", "available")?;
        for revision in revisions {
            let cause = revision.change_cause.as_ref().map(escape_control).unwrap_or_default();
            let cause = if revision.is_current { format!("(current) {cause}") } else { cause };
            let RevisionSummary { number, hash, pods, available, .. } = revision;
            let line = format!("  {number:>8}  {:width$}  {pods:>5}  {available:>9}  {cause}", escape_control(hash));
            writeln!(out, "{}", line.trim_end())?;
            if shows_template {
                let namespace = daemonset.namespace.clone();
                let data = Value::clone(&revision.data);
                let kept =
                    ControllerRevision::new(namespace, revision.revision.clone(), revision.number, data).template();
                match kept {
                    Ok(template) => output::write_yaml(out, &template)?,
                    Err(error) => writeln!(out, "  {}", escape_control(error))?,
                }
            }
        }
    }
    out.flush()
}

pub(super) fn undo(args: &UndoArgs) -> Result<ExitCode, Failure> {
    let facts = args.facts.read(args.selection.namespace())?;
    let meant = facts.selected(&args.selection)?;
    let [snapshot] = meant.as_slice() else {
        return Err(Failure("more than one DaemonSet is meant: name one, and its namespace (-n)".into()));
    };
    let manifest = older(&facts, *snapshot, args.to_revision).map_err(|error| Failure(escape_control(error)))?;
    let mut out = output::stdout();
    match args.output {
        ManifestFormat::Yaml => output::write_yaml(&mut out, &manifest),
        ManifestFormat::Json => output::write_json(&mut out, &manifest),
    }
    .map_err(not_written)?;
    Ok(facts.exit_code())
}

/// The manifest as it was given, but for the template, and without what only the API server writes. The resourceVersion
/// stays: if the DaemonSet has changed since, replacing it fails.
fn older(facts: &Facts, snapshot: Snapshot<'_>, to_revision: Option<i64>) -> Result<Value, UndoError> {
    let before = snapshot.undo(to_revision)?;
    let mut manifest = facts.manifests.original(snapshot.daemonset()).cloned().unwrap_or_default();
    if let Some(fields) = manifest.as_object_mut() {
        fields.entry("apiVersion").or_insert_with(|| "apps/v1".into());
        fields.entry("kind").or_insert_with(|| "DaemonSet".into());
        fields.shift_remove("status");
    }
    if let Some(metadata) = manifest.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.shift_remove("managedFields");
    }
    if let Some(spec) = manifest.get_mut("spec").and_then(Value::as_object_mut) {
        spec.insert("template".into(), Value::Object(before.template.json().clone()));
    }
    Ok(manifest)
}
