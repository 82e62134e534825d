//! The input that all commands share, and the selection of DaemonSets.

use std::{path::PathBuf, process::ExitCode};

use clap::Args;
use daemonplan::{Settings, Snapshot, flags::SettingsFlags, manifest::Manifests, model::DaemonSet};
use jiff::Timestamp;

use super::{
    Failure, input,
    output::{note, print_error},
};

/// The flags for the input.
#[derive(Debug, Args)]
#[command(next_help_heading = "Input")]
#[allow(clippy::struct_excessive_bools)] // independent flags
pub(super) struct FactArgs {
    /// A file, a directory with .yaml, .yml and .json files, or - for standard input; repeatable. Without it, kubectl
    /// reads the cluster
    #[arg(short, long = "filename", value_name = "FILE|DIR|-")]
    filename: Vec<PathBuf>,

    /// The kubeconfig context of the cluster to read, without -f
    #[arg(long, value_name = "NAME", conflicts_with = "filename")]
    context: Option<String>,

    /// The time to plan for, such as 2026-01-02T03:04:05Z [default: now]
    #[arg(long, value_name = "RFC3339")]
    now: Option<Timestamp>,

    #[command(flatten)]
    settings: SettingsFlags,

    /// Create and delete nothing, because the effects of the last plan do not show in the input yet
    #[arg(long = "effects-unobserved")]
    expectations_unsatisfied: bool,

    /// Leave pods on missing nodes to the cluster's own garbage collector
    #[arg(long)]
    keep_pods_on_missing_nodes: bool,

    /// Treat the input as complete: if it has no ControllerRevisions, none exist
    #[arg(long)]
    complete: bool,
}

/// The flags that select DaemonSets.
#[derive(Debug, Args)]
pub(super) struct Selection {
    /// The DaemonSet's name [default: any]
    daemonset: Option<String>,

    /// The DaemonSet's namespace [default: any]
    #[arg(short, long)]
    namespace: Option<String>,
}

/// The input of a command.
pub(super) struct Facts {
    pub(super) manifests: Manifests,
    settings: Settings,
    now: Timestamp,
    expectations_unsatisfied: bool,
}

impl Selection {
    pub(super) fn namespace(&self) -> Option<&str> {
        self.namespace.as_deref()
    }

    pub(super) fn includes(&self, daemonset: &DaemonSet) -> bool {
        self.daemonset.as_ref().is_none_or(|name| *daemonset.name == **name)
            && self.namespace.as_ref().is_none_or(|namespace| *daemonset.namespace == **namespace)
    }
}

impl Facts {
    pub(super) fn snapshots(&self) -> impl Iterator<Item = Snapshot<'_>> {
        self.manifests.snapshots().map(|snapshot| {
            let snapshot = snapshot.at(self.now).settings(&self.settings);
            if self.expectations_unsatisfied { snapshot.expectations_unsatisfied() } else { snapshot }
        })
    }

    /// Returns the snapshots of the selected DaemonSets.
    ///
    /// # Errors
    /// Returns an error if none is selected.
    pub(super) fn selected(&self, selection: &Selection) -> Result<Vec<Snapshot<'_>>, Failure> {
        let selected: Vec<_> = self.snapshots().filter(|snapshot| selection.includes(snapshot.daemonset())).collect();
        if selected.is_empty() { Err(self.not_found(selection)) } else { Ok(selected) }
    }

    /// Returns the same input with other objects.
    pub(super) fn with_manifests(&self, manifests: Manifests) -> Self {
        let Self { settings, now, expectations_unsatisfied, .. } = self;
        Self { manifests, settings: settings.clone(), now: *now, expectations_unsatisfied: *expectations_unsatisfied }
    }

    /// Returns the exit code of a command that has no other result: 1 if part of the input could not be read.
    pub(super) fn exit_code(&self) -> ExitCode {
        if self.manifests.problems().is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }

    fn not_found(&self, selection: &Selection) -> Failure {
        let name = selection.daemonset.as_deref().map(|name| format!(" {name}")).unwrap_or_default();
        let namespace = selection.namespace().map(|name| format!(" in namespace {name}")).unwrap_or_default();
        let all = self.manifests.daemonsets().map(|daemonset| format!("{}/{}", daemonset.namespace, daemonset.name));
        let all: Vec<_> = all.collect();
        let known = if all.is_empty() { "none".to_owned() } else { all.join(", ") };
        Failure(format!("no DaemonSet{name}{namespace} found; the input has: {known}"))
    }
}

impl FactArgs {
    /// Reads the files, or else the cluster: the objects of `namespace`, or of all namespaces.
    pub(super) fn read(&self, namespace: Option<&str>) -> Result<Facts, Failure> {
        let settings = self.settings()?;
        let mut manifests = if self.filename.is_empty() {
            input::read_cluster(self.context.as_deref(), namespace)?
        } else {
            input::read(&self.filename)?
        };
        let now = self.now.unwrap_or_else(Timestamp::now);
        if self.complete {
            manifests = manifests.complete();
        }
        print_problems(&manifests);
        if manifests.replaced() > 0 {
            note(format_args!("{} objects were given more than once; the last of each is used", manifests.replaced()));
        }
        Ok(Facts { manifests, settings, now, expectations_unsatisfied: self.expectations_unsatisfied })
    }

    /// Returns the path if the input is a single file.
    pub(super) fn only_file(&self) -> Option<&str> {
        match &*self.filename {
            [file] if file.is_file() => file.to_str(),
            _ => None,
        }
    }

    fn settings(&self) -> Result<Settings, Failure> {
        let settings = self.settings.settings().map_err(|error| Failure(format!("--policy: {error}")));
        let mut settings = settings?;
        settings.collect_pods_on_missing_nodes = !self.keep_pods_on_missing_nodes;
        Ok(settings)
    }
}

pub(super) fn print_problems(manifests: &Manifests) {
    for warning in manifests.warnings() {
        note(format_args!("{warning}"));
    }
    for problem in manifests.problems() {
        print_error(problem);
    }
}
