//! The input that all commands share.

use std::{collections::BTreeSet, path::PathBuf, process::ExitCode};

use clap::Args;
use daemonplan::{
    Key, Kind, MissingFact, Resource, Settings, Snapshot,
    api_server::{self, FieldError},
    flags::SettingsFlags,
    lint::{Lint, lint_manifest},
    manifest::{ManifestChange, Manifests, SkipReason},
    model::{DaemonSet, Pod, Text},
    scheduling::{AdmissionRefusal, Agreement, ClusterState},
};
use jiff::Timestamp;

use super::{
    Failure,
    application::note_of_application,
    change::{ChangeArgs, Changed, refuses},
    fields::fields,
    input,
    kubectl::KubectlArgs,
    output::{note, print_error},
    selection::Selection,
    style::lacking,
};

/// All kinds that plans depend on.
pub(super) const ALL_KINDS: &[Kind] =
    &[Kind::DaemonSet, Kind::Node, Kind::Pod, Kind::Namespace, Kind::ControllerRevision];

/// The flags for the input.
#[derive(Debug, Args)]
#[command(next_help_heading = "Input")]
#[allow(clippy::struct_excessive_bools)] // independent flags
pub(super) struct InputArgs {
    /// A file, a directory with .yaml, .yml and .json files (also .gz), or - for standard input; repeatable. Without
    /// it, kubectl reads the cluster
    #[arg(short, long = "filename", value_name = "FILE|DIR|-")]
    filename: Vec<PathBuf>,

    /// Also read the directories in a directory
    #[arg(short = 'R', long, requires = "filename")]
    recursive: bool,

    #[command(flatten)]
    kubectl: KubectlArgs,

    /// The time to plan for, such as 2026-01-02T03:04:05Z [default: now]
    #[arg(long, value_name = "RFC3339")]
    now: Option<Timestamp>,

    /// Treat the input as complete: what it does not hold does not exist
    #[arg(long)]
    complete: bool,

    /// List the files and objects that are not read, and why
    #[arg(long)]
    show_skipped: bool,

    #[command(flatten)]
    settings: SettingsFlags,

    /// Create and delete nothing, because the effects of the last plan do not show in the input yet
    #[arg(long = "effects-unobserved")]
    expectations_unsatisfied: bool,

    /// Leave pods on missing nodes to the cluster's own garbage collector
    #[arg(long)]
    keep_pods_on_missing_nodes: bool,
}

/// The flags for the input and for changes of it.
#[derive(Debug, Args)]
pub(super) struct FactArgs {
    #[command(flatten)]
    pub(super) input: InputArgs,

    #[command(flatten)]
    pub(super) changes: ChangeArgs,
}

/// The input of a command.
pub(super) struct Facts {
    pub(super) manifests: Manifests,
    settings: Settings,
    now: Timestamp,
    expectations_unsatisfied: bool,
    /// Whether all of the input could be read.
    is_readable: bool,
    /// Whether the directories in a directory are read, too.
    is_recursive: bool,
    /// How the cluster was read, if it was.
    cluster: Option<KubectlArgs>,
}

impl Facts {
    pub(super) fn snapshots(&self) -> impl Iterator<Item = Snapshot<'_>> {
        self.manifests.snapshots().map(|snapshot| {
            let snapshot = snapshot.at(self.now).settings(&self.settings);
            if self.expectations_unsatisfied { snapshot.expectations_unsatisfied() } else { snapshot }
        })
    }

    /// Returns what the default scheduler knows of the input.
    pub(super) fn cluster_state(&self) -> ClusterState<'_> {
        self.manifests.cluster_state().toleration_comparison(self.settings.toleration_comparison)
    }

    /// Returns the same with the pods that the DaemonSets of the input are about to create.
    pub(super) fn state_with_coming(&self) -> ClusterState<'_> {
        let objects = self.manifests.scheduling_objects();
        self.cluster_state().with_coming(self.snapshots().filter_map(|snapshot| snapshot.coming_pods(objects)))
    }

    /// Returns the namespace of all pods of the input, if they have but one and it is not known that there are no others.
    pub(super) fn only_namespace_of_pods(&self) -> Option<&Text> {
        let mut namespaces = self.manifests.pods().map(|pod| &pod.namespace);
        let first = namespaces.next().filter(|_| !self.manifests.has_all_of(Kind::Pod))?;
        namespaces.all(|namespace| namespace == first).then_some(first)
    }

    /// Takes the pods of other namespaces as not known, if the input has none and the scheduler said of a pod that it does not fit
    /// where by the input it would.
    pub(super) fn doubt_other_namespaces(&mut self) {
        if let Some(namespace) = self.only_namespace_of_pods().filter(|_| self.is_contradicted()).cloned() {
            self.manifests.set_only_namespace_of_pods(namespace);
        }
    }

    /// Whether a pod would fit by the input, and the scheduler said that it does not.
    fn is_contradicted(&self) -> bool {
        let state = self.cluster_state();
        let fits_now = |pod: &Pod| {
            let said = pod.problem.as_ref().map(|problem| &problem.unschedulable).filter(|said| !said.is_empty());
            said.is_some_and(|said| state.feasibility(pod).agreement(said) == Agreement::FitsNow)
        };
        let mut waiting = self.manifests.pods().filter(|pod| !pod.node.is_bound() && !pod.is_terminal());
        waiting.any(fits_now)
    }

    /// Whether it is known that there are no DaemonSets at all.
    pub(super) fn has_no_daemonsets(&self) -> bool {
        self.manifests.has_all_of(Kind::DaemonSet) && self.manifests.daemonsets().next().is_none()
    }

    /// Returns the snapshots of the selected DaemonSets. Prints an error for each that cannot be planned, because an
    /// object could not be read.
    ///
    /// # Errors
    /// If none is selected, or if a snapshot lacks one of the `needed` facts.
    pub(super) fn selected(&self, selection: &Selection, needed: &[MissingFact]) -> Result<Vec<Snapshot<'_>>, Failure> {
        let selected = selection.of(&self.manifests)?;
        let is_selected =
            |snapshot: &Snapshot<'_>| selected.iter().any(|daemonset| std::ptr::eq(*daemonset, snapshot.daemonset()));
        let snapshots: Vec<_> = self.snapshots().filter(is_selected).collect();
        let is_known =
            |daemonset: &&DaemonSet| snapshots.iter().any(|snapshot| std::ptr::eq(*daemonset, snapshot.daemonset()));
        for DaemonSet { namespace, name, .. } in selected.iter().copied().filter(|daemonset| !is_known(daemonset)) {
            print_error(&format_args!("{namespace}/{name} is left out, because of an object that could not be read"));
        }
        let mut missing = snapshots.iter().flat_map(Snapshot::missing);
        match missing.find(|fact| needed.contains(fact)) {
            Some(fact) => Err(lacks(fact)),
            None if snapshots.is_empty() => Err(Failure("no DaemonSet is left".into())),
            None => Ok(snapshots),
        }
    }

    /// Returns the same input with changes, if any.
    ///
    /// # Errors
    /// If a change cannot be made, or names a DaemonSet that is not selected.
    pub(super) fn changed(self, changes: &ChangeArgs, selection: &Selection) -> Result<Self, Failure> {
        if changes.is_empty() { Ok(self) } else { self.with(changes, selection) }
    }

    /// Returns why the API server, or kubectl before it, refuses the change of a DaemonSet; nothing if there is none.
    pub(super) fn refusals(&self, daemonset: &DaemonSet) -> Vec<FieldError> {
        let Some(ManifestChange { given, merged, before, .. }) = self.manifests.change(daemonset) else {
            return Vec::new();
        };
        if before == Some(given) {
            return Vec::new();
        }
        let namespace = self.manifests.namespace(&daemonset.namespace);
        let is_missing = namespace.is_none() && self.manifests.has_all_of(Kind::Namespace);
        let name = &daemonset.namespace;
        let of_namespace = match namespace.filter(|namespace| namespace.deleted.is_some()) {
            _ if before.is_some() => None,
            Some(namespace) => AdmissionRefusal::of_namespace(namespace).map(|refusal| refusal.to_string()),
            None => is_missing.then(|| format!("namespaces {name:?} not found")),
        };
        let of_namespace = of_namespace.map(|problem| FieldError::new("metadata.namespace", problem));
        let unknown = lint_manifest(merged, before).into_iter().filter(|finding| finding.lint == Lint::UnknownField);
        let unknown = unknown.map(|finding| FieldError::new(finding.field, finding.message));
        api_server::validate(merged, before).into_iter().chain(unknown).chain(of_namespace).collect()
    }

    /// Returns the same input with changes.
    pub(super) fn with(&self, changes: &ChangeArgs, selection: &Selection) -> Result<Self, Failure> {
        let of_context = || self.cluster.as_ref().filter(|_| changes.has_manifests())?.namespace();
        let namespace = selection.namespace().map(str::to_owned).or_else(of_context);
        let Changed { manifests, named, is_complete } =
            changes.apply(&self.manifests, namespace.as_deref(), self.is_recursive)?;
        let selected = selection.of(&manifests)?;
        for Key { namespace, name } in &named {
            if !selected.iter().any(|daemonset| (&daemonset.namespace, &daemonset.name) == (namespace, name)) {
                return Err(Failure(format!(
                    "--with has {namespace}/{name}, which is not among the selected DaemonSets: select it too, or give \
                     --with only the files of those that are selected"
                )));
            }
        }
        let (settings, is_readable) = (self.settings.clone(), self.is_readable && is_complete);
        let facts = Self { manifests, settings, is_readable, cluster: self.cluster.clone(), ..*self };
        for daemonset in selection.of(&facts.manifests)? {
            if let Some(change @ ManifestChange { before: Some(before), .. }) = facts.manifests.change(daemonset)
                && let Some(live) = self.manifests.daemonsets().find(|live| live.key() == daemonset.key())
            {
                let has_removed = facts.refusals(daemonset).is_empty()
                    && fields(live, daemonset).iter().any(|field| field.after.is_none());
                note_of_application(daemonset, &change, before, has_removed);
            }
        }
        Ok(facts)
    }

    /// Returns the exit code of a command about these snapshots: 1 if an answer is not sure, or if part of the input could not
    /// be read. Prints what is missing.
    ///
    /// Without revisions an answer may still be sure: `needed` are further facts that one rests on.
    pub(super) fn exit_code_of<'s>(
        &self,
        snapshots: impl IntoIterator<Item = &'s Snapshot<'s>>,
        needed: impl IntoIterator<Item = MissingFact>,
    ) -> ExitCode {
        let managed = snapshots.into_iter().filter(|snapshot| !snapshot.daemonset().is_being_deleted());
        let missing = managed.flat_map(Snapshot::missing).filter(|fact| *fact != MissingFact::Revisions);
        let missing: BTreeSet<_> = missing.chain(needed).collect();
        if missing.is_empty() {
            return self.exit_code();
        }
        print_error(&format_args!(
            "the input has {}: the answer is not sure; add what is missing, or say --complete if there is none",
            lacking(&missing)
        ));
        ExitCode::FAILURE
    }

    /// Returns the exit code of a command that has no other result: 1 if part of the input could not be read.
    pub(super) fn exit_code(&self) -> ExitCode {
        if self.is_readable { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

/// What to do if the input lacks a fact that a command needs.
fn lacks(fact: MissingFact) -> Failure {
    Failure(format!(
        "the input has no {fact}, so that the answer is not known. Add them: kubectl get \
         daemonsets,nodes,pods,namespaces,controllerrevisions -A -o json is a whole cluster. To compare a manifest with a \
         cluster: daemonplan diff --with FILE; to check it alone: daemonplan lint -f FILE; if there are no {fact}: --complete"
    ))
}

impl FactArgs {
    /// Reads the files, or else these kinds from the cluster, and applies the changes.
    ///
    /// # Errors
    /// Also if the API server would refuse a change.
    pub(super) fn read(&self, kinds: &[Kind], selection: &Selection) -> Result<Facts, Failure> {
        accepted(self.input.read(kinds, selection)?.changed(&self.changes, selection)?, selection)
    }

    /// Reads what the scheduler looks at: nodes, the pods of all namespaces, and the objects of storage and admission.
    pub(super) fn read_for_pod(&self, selection: &Selection) -> Result<Facts, Failure> {
        let kinds = [Kind::DaemonSet, Kind::Node, Kind::Pod, Kind::Namespace, Kind::ControllerRevision];
        let namespace = selection.pod()?.and_then(|pod| pod.namespace);
        let facts = self.input.read_all(&kinds, selection, namespace.as_deref(), true)?;
        if self.changes.is_empty() {
            return Ok(facts);
        }
        Err(Failure("changes are for DaemonSets: to explain a pod, edit the input".into()))
    }

    /// Reads the files, or else all kinds from the cluster and what the scheduler looks at, and applies the changes.
    ///
    /// # Errors
    /// Also if the API server would refuse a change.
    pub(super) fn read_for_scheduling(&self, selection: &Selection) -> Result<Facts, Failure> {
        accepted(self.read_unchecked(selection)?, selection)
    }

    /// Reads the same, also with changes that the API server refuses.
    pub(super) fn read_unchecked(&self, selection: &Selection) -> Result<Facts, Failure> {
        self.input.read_for_scheduling(ALL_KINDS, selection)?.changed(&self.changes, selection)
    }
}

/// Refuses changes that the API server would refuse.
fn accepted(facts: Facts, selection: &Selection) -> Result<Facts, Failure> {
    let mut refused = 0;
    for daemonset in facts.manifests.daemonsets() {
        if !selection.includes(&daemonset.namespace, &daemonset.name)? {
            continue;
        }
        let refusals = facts.refusals(daemonset);
        refused += usize::from(!refusals.is_empty());
        for refusal in refusals {
            print_error(&format_args!("{}/{}: {refusal}", daemonset.namespace, daemonset.name));
        }
    }
    if refused > 0 { Err(refuses(refused, "change")) } else { Ok(facts) }
}

impl InputArgs {
    /// Reads the files, or else these kinds from the cluster.
    pub(super) fn read(&self, kinds: &[Kind], selection: &Selection) -> Result<Facts, Failure> {
        self.read_all(kinds, selection, selection.only_namespace()?.as_deref(), false)
    }

    /// Reads the files, or else these kinds from the cluster and what the scheduler looks at.
    pub(super) fn read_for_scheduling(&self, kinds: &[Kind], selection: &Selection) -> Result<Facts, Failure> {
        self.read_all(kinds, selection, selection.only_namespace()?.as_deref(), true)
    }

    /// Reads the files, or else these kinds from a namespace of the cluster, or from all; and what the scheduler looks at.
    fn read_all(
        &self,
        kinds: &[Kind],
        selection: &Selection,
        namespace: Option<&str>,
        with_scheduling: bool,
    ) -> Result<Facts, Failure> {
        let mut settings = self.settings()?;
        let mut manifests = Manifests::default();
        if let Some(namespace) = selection.namespace() {
            manifests.set_default_namespace(namespace);
        }
        let mut is_readable = true;
        if self.filename.is_empty() {
            if has_piped_input() {
                note(format_args!("standard input is not read; -f - reads it"));
            }
            if with_scheduling {
                self.kubectl.read_for_scheduling(&mut manifests, kinds, namespace)?;
            } else {
                self.kubectl.read(&mut manifests, kinds, namespace)?;
            }
        } else {
            is_readable = input::read(&mut manifests, &self.filename, self.recursive)?;
        }
        let now = self.now.unwrap_or_else(Timestamp::now);
        if self.complete {
            manifests = manifests.complete();
        }
        if settings.project_node_selector.is_none() {
            let selector = manifests.scheduling_objects().project_node_selector();
            let in_field = |error| Failure(format!("Scheduler cluster: spec.defaultNodeSelector: {error}"));
            settings.project_node_selector = selector.map_err(in_field)?;
        }
        input::print_problems(&manifests);
        self.print_skipped(&manifests);
        Self::print_unknown(&settings, &manifests);
        is_readable &= manifests.problems().is_empty();
        let (expectations_unsatisfied, is_recursive) = (self.expectations_unsatisfied, self.recursive);
        let cluster = self.filename.is_empty().then(|| self.kubectl.clone());
        Ok(Facts { manifests, settings, now, expectations_unsatisfied, is_readable, is_recursive, cluster })
    }

    /// Lists what was not read: all, or what has the name of a kind that is read.
    fn print_skipped(&self, manifests: &Manifests) {
        let is_shown = |reason| self.show_skipped || reason == SkipReason::OtherGroup;
        for object in manifests.skipped().iter().filter(|object| is_shown(object.reason)) {
            note(format_args!("{object}"));
        }
    }

    /// Names the DaemonSets of settings that the input does not have, though it may have them: the names may be misspelt.
    fn print_unknown(settings: &Settings, manifests: &Manifests) {
        for Key { namespace, name } in settings.node_resources.iter().map(|resources| &resources.daemon_set) {
            let mut read = manifests.daemonsets().filter(|daemonset| daemonset.namespace == *namespace).peekable();
            // What comes with a change is not known here.
            if read.peek().is_some() && !read.any(|daemonset| daemonset.name == *name) {
                note(format_args!("--node-resources: the input has no DaemonSet {namespace}/{name}"));
            }
        }
    }

    fn settings(&self) -> Result<Settings, Failure> {
        let settings = self.settings.settings().map_err(|error| Failure(format!("--policy: {error}")));
        let mut settings = settings?;
        settings.collect_pods_on_missing_nodes = !self.keep_pods_on_missing_nodes;
        Ok(settings)
    }
}

/// Whether standard input is a pipe or a file that may hold something.
#[cfg(unix)]
fn has_piped_input() -> bool {
    use std::os::unix::fs::FileTypeExt;
    std::fs::metadata("/dev/stdin")
        .is_ok_and(|input| input.file_type().is_fifo() || (input.is_file() && input.len() > 0))
}

#[cfg(not(unix))]
fn has_piped_input() -> bool {
    false
}
