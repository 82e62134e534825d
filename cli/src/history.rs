//! `daemonplan history` and `daemonplan undo`: the revisions of a DaemonSet, and the roll-back to one of them.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use clap::Args;
use daemonplan::{
    Kind, MissingFact, Snapshot,
    history::{RevisionSummary, UndoError},
    model::ControllerRevision,
    policy::FailedTemplate,
};
use serde_json::{Value, json};

use super::{
    Failure,
    facts::{Facts, InputArgs},
    output::{self, Format, daemonset_name, escape_control, write_error},
    report,
    selection::Selection,
    style::{BOLD, DIM, WARN},
};

/// List the revisions of DaemonSets, or show the template of one.
#[derive(Debug, Args)]
#[command(after_help = "Which revisions exist, and how many pods use them?\n  \
    daemonplan history -n monitoring agent\n\n\
    What is the template of revision 3?\n  \
    daemonplan history -n monitoring agent --revision 3")]
pub(super) struct HistoryArgs {
    #[command(flatten)]
    selection: Selection,

    /// Show only this revision, with its template
    #[arg(long, value_name = "NUMBER")]
    revision: Option<i64>,

    /// Output format
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,

    #[command(flatten)]
    input: InputArgs,
}

/// Print a DaemonSet's manifest with an older template.
#[derive(Debug, Args)]
#[command(after_help = "Return to the previous template; this fails if the DaemonSet has changed in the meantime:\n  \
    daemonplan undo -n monitoring agent | kubectl replace -f -\n\n\
    What would a roll-back to revision 3 change?\n  \
    daemonplan undo -n monitoring agent --to-revision 3 > before.yaml && daemonplan diff --with before.yaml -n monitoring agent")]
pub(super) struct UndoArgs {
    #[command(flatten)]
    selection: Selection,

    /// The number of the revision to return to [default: the newest that is not current and has not failed]
    #[arg(long, value_name = "NUMBER")]
    to_revision: Option<i64>,

    /// Output format
    #[arg(short, long, value_enum, default_value_t = ManifestFormat::Yaml)]
    output: ManifestFormat,

    #[command(flatten)]
    input: InputArgs,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum ManifestFormat {
    Yaml,
    Json,
}

pub(super) fn history(args: &HistoryArgs) -> Result<ExitCode, Failure> {
    let kinds = [Kind::DaemonSet, Kind::ControllerRevision, Kind::Pod];
    let facts = args.input.read(&kinds, &args.selection)?;
    let selected = facts.selected(&args.selection, &[])?;
    let mut histories: Vec<_> = selected.into_iter().map(|snapshot| (snapshot, snapshot.rollout_history())).collect();
    if let Some(number) = args.revision {
        for (_, revisions) in &mut histories {
            revisions.retain(|revision| revision.number == number);
        }
        if histories.iter().all(|(_, revisions)| revisions.is_empty()) {
            return Err(Failure(format!("revision {number} does not exist")));
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
    .map_err(write_error)?;
    let is_known = |(snapshot, _): &(Snapshot<'_>, _)| snapshot.missing().all(|fact| fact != MissingFact::Revisions);
    Ok(if histories.iter().all(is_known) { facts.exit_code() } else { ExitCode::FAILURE })
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
        writeln!(out, "{BOLD}{}{BOLD:#}", daemonset_name(daemonset))?;
        if snapshot.missing().any(|fact| fact == MissingFact::Revisions) {
            writeln!(out, "  {WARN}! not known: the input has no ControllerRevisions{WARN:#}")?;
            continue;
        }
        if snapshot.missing().any(|fact| fact == MissingFact::Pods) {
            writeln!(out, "  {WARN}! the input has no pods: their number is not known{WARN:#}")?;
        }
        if revisions.is_empty() {
            writeln!(out, "  {DIM}no revision{DIM:#}")?;
            continue;
        }
        let width = revisions.iter().map(|revision| revision.hash.len()).max().unwrap_or(0).max("hash".len());
        writeln!(out, "  {DIM}revision  {:width$}  {:>5}  {:>9}  change cause{DIM:#}", "hash", "pods", "available")?;
        for revision in revisions {
            let current = revision.is_current.then(|| "(current)".to_owned());
            let cause = revision.change_cause.as_ref().map(escape_control);
            let failure = revision.failure.as_ref().map(|failure| escape_control(format!("({})", failed(failure))));
            let notes = [current, cause, failure].into_iter().flatten().collect::<Vec<_>>().join(" ");
            let RevisionSummary { number, hash, .. } = revision;
            let count = |count: Option<usize>| count.map_or("?".to_owned(), |count| count.to_string());
            let [pods, available] = [revision.pods, revision.available].map(count);
            let line = format!("  {number:>8}  {:width$}  {pods:>5}  {available:>9}  {notes}", escape_control(hash));
            writeln!(out, "{}", line.trim_end())?;
            if shows_template {
                let namespace = daemonset.namespace.clone();
                let data = Value::clone(&revision.data);
                let template =
                    ControllerRevision::new(namespace, revision.revision.clone(), revision.number, data).template();
                match template {
                    Ok(template) => output::write_yaml(out, &template)?,
                    Err(error) => writeln!(out, "  {}", escape_control(error))?,
                }
            }
        }
    }
    out.flush()
}

fn failed(failure: &FailedTemplate) -> String {
    let at = failure.at.map_or(String::new(), |at| format!(" at {at}"));
    // What is recorded of a second failure is when the first one was, and why the last one.
    let again = if failure.restored.is_some() && failure.is_paused { ", and again later" } else { "" };
    format!("failed{at}{again}: {}", failure.reason)
}

pub(super) fn undo(args: &UndoArgs) -> Result<ExitCode, Failure> {
    let facts = args.input.read(&[Kind::DaemonSet, Kind::ControllerRevision], &args.selection)?;
    let selected = facts.selected(&args.selection, &[])?;
    let [snapshot] = selected.as_slice() else {
        return Err(Failure("expected one DaemonSet, found several: give its name and its namespace (-n)".into()));
    };
    let manifest = rolled_back(&facts, *snapshot, args.to_revision).map_err(|error| Failure(escape_control(error)))?;
    if let Some(number) = args.to_revision {
        let chosen = snapshot.rollout_history().into_iter().find(|revision| revision.number == number);
        if let Some(failure) = chosen.and_then(|revision| revision.failure) {
            output::note(format_args!("this revision {}", failed(&failure)));
        }
    }
    let mut out = output::stdout();
    match args.output {
        ManifestFormat::Yaml => output::write_yaml(&mut out, &manifest),
        ManifestFormat::Json => output::write_json(&mut out, &manifest),
    }
    .map_err(write_error)?;
    Ok(facts.exit_code())
}

/// Returns the given manifest with an older template, and without the fields that only the API server writes. The
/// resourceVersion stays, so that replacing the DaemonSet fails if it has changed in the meantime.
fn rolled_back(facts: &Facts, snapshot: Snapshot<'_>, to_revision: Option<i64>) -> Result<Value, UndoError> {
    let revision = snapshot.undo(to_revision)?;
    let template = revision.template().map_err(|source| UndoError::Template { number: revision.revision, source })?;
    let (manifests, daemonset) = (&facts.manifests, snapshot.daemonset());
    // Beside a manifest from Git, the live object is the one to replace.
    let change = manifests.change(daemonset).map(|change| change.before.unwrap_or(change.merged));
    let mut manifest = change.or_else(|| manifests.original(daemonset)).cloned().unwrap_or_default();
    if let Some(fields) = manifest.as_object_mut() {
        fields.entry("apiVersion").or_insert_with(|| "apps/v1".into());
        fields.entry("kind").or_insert_with(|| "DaemonSet".into());
        fields.shift_remove("status");
    }
    if let Some(metadata) = manifest.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.shift_remove("managedFields");
    }
    if let Some(spec) = manifest.get_mut("spec").and_then(Value::as_object_mut) {
        spec.insert("template".into(), Value::Object(template.json().clone()));
    }
    Ok(manifest)
}
