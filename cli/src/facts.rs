//! What plans are made from, and which of them are asked for.

use std::{path::PathBuf, process::ExitCode};

use clap::Args;
use daemonplan::{RolloutPolicy, Settings, Snapshot, manifest::Manifests, model::DaemonSet};
use jiff::Timestamp;

use super::{
    Failure, input,
    output::{note, print_error},
};

/// What plans are made from.
#[derive(Debug, Args)]
#[command(next_help_heading = "What to plan from")]
#[allow(clippy::struct_excessive_bools)] // they are flags
pub(super) struct FactArgs {
    /// A file, a folder (its .yaml, .yml and .json files), or - for standard input; may be given more than once. Without
    /// it the cluster is asked with kubectl
    #[arg(short, long = "filename", value_name = "FILE|DIR|-")]
    filename: Vec<PathBuf>,

    /// The kubeconfig context of the cluster to ask, if there is no -f
    #[arg(long, value_name = "NAME", conflicts_with = "filename")]
    context: Option<String>,

    /// The time to plan for, such as 2026-01-02T03:04:05Z [default: now]
    #[arg(long, value_name = "RFC3339")]
    now: Option<Timestamp>,

    /// How many pods one plan creates at most, and how many it deletes at most
    #[arg(long, value_name = "N", default_value_t = 250)]
    burst: usize,

    /// The cluster's default project node selector (OpenShift), such as role=worker
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    project_node_selector: String,

    /// The Kubernetes default node selector, such as role=worker
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    default_node_selector: String,

    /// Heed the toleration operators Lt and Gt (the feature gate TaintTolerationComparisonOperators)
    #[arg(long)]
    toleration_comparison: bool,

    /// What updates keep to, where a DaemonSet's annotations do not say otherwise, such as order=oldest-pod; may be given
    /// more than once
    #[arg(long, value_name = "NAME=VALUE")]
    policy: Vec<String>,

    /// Plan as the built-in controller does, which takes no notice of annotations under daemonplan/
    #[arg(long)]
    ignore_policies: bool,

    /// The effects of the last plan do not show in the input yet: create and delete nothing
    #[arg(long = "effects-unobserved")]
    expectations_unsatisfied: bool,

    /// Leave pods on missing nodes to the cluster's own garbage collector
    #[arg(long)]
    keep_pods_on_missing_nodes: bool,

    /// What is not in the input does not exist: no ControllerRevisions means that there are none
    #[arg(long)]
    complete: bool,
}

/// Which DaemonSets are meant.
#[derive(Debug, Args)]
pub(super) struct Selection {
    /// The DaemonSet's name; without one all are meant
    daemonset: Option<String>,

    /// The DaemonSet's namespace
    #[arg(short, long)]
    namespace: Option<String>,
}

/// What plans are made from, read.
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

    /// Those that are meant, of which there must be one.
    pub(super) fn selected(&self, selection: &Selection) -> Result<Vec<Snapshot<'_>>, Failure> {
        let meant: Vec<_> = self.snapshots().filter(|snapshot| selection.includes(snapshot.daemonset())).collect();
        if meant.is_empty() { Err(self.none_is_meant(selection)) } else { Ok(meant) }
    }

    /// The same, but for the objects.
    pub(super) fn but(&self, manifests: Manifests) -> Self {
        let Self { settings, now, expectations_unsatisfied, .. } = self;
        Self { manifests, settings: settings.clone(), now: *now, expectations_unsatisfied: *expectations_unsatisfied }
    }

    /// What it is if nothing else is to be told: 1 if something could not be read.
    pub(super) fn exit_code(&self) -> ExitCode {
        if self.manifests.problems().is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }

    fn none_is_meant(&self, selection: &Selection) -> Failure {
        let name = selection.daemonset.as_deref().map(|name| format!(" {name}")).unwrap_or_default();
        let namespace = selection.namespace().map(|name| format!(" in the namespace {name}")).unwrap_or_default();
        let all = self.manifests.daemonsets().map(|daemonset| format!("{}/{}", daemonset.namespace, daemonset.name));
        let all: Vec<_> = all.collect();
        let known = if all.is_empty() { "none".to_owned() } else { all.join(", ") };
        Failure(format!("there is no DaemonSet{name}{namespace} that could be read; the input has: {known}"))
    }
}

impl FactArgs {
    /// Reads the files, or else what the cluster has in `namespace` or in all namespaces.
    pub(super) fn read(&self, namespace: Option<&str>) -> Result<Facts, Failure> {
        let settings = self.settings()?;
        let mut manifests = if self.filename.is_empty() {
            input::ask(self.context.as_deref(), namespace)?
        } else {
            input::read(&self.filename)?
        };
        let now = self.now.unwrap_or_else(Timestamp::now);
        if self.complete {
            manifests = manifests.complete();
        }
        print_problems(&manifests);
        if manifests.replaced() > 0 {
            note(format_args!("{} objects were given more than once; the last one counts", manifests.replaced()));
        }
        Ok(Facts { manifests, settings, now, expectations_unsatisfied: self.expectations_unsatisfied })
    }

    /// The file, if all comes from one.
    pub(super) fn only_file(&self) -> Option<&str> {
        match &*self.filename {
            [file] if file.is_file() => file.to_str(),
            _ => None,
        }
    }

    fn settings(&self) -> Result<Settings, Failure> {
        let fail = |flag: &str, error| Failure(format!("{flag}: {error}"));
        let settings = Settings::default()
            .burst(self.burst)
            .project_node_selector(&self.project_node_selector)
            .map_err(|error| fail("--project-node-selector", error))?
            .default_node_selector(&self.default_node_selector)
            .map_err(|error| fail("--default-node-selector", error))?;
        let policy = RolloutPolicy::default().with_flags(self.policy.iter().map(String::as_str));
        let settings = settings.rollout_policy(policy.map_err(|error| Failure(format!("--policy: {error}")))?);
        let settings = if self.ignore_policies { settings.ignore_policy_annotations() } else { settings };
        let settings = if self.keep_pods_on_missing_nodes { settings.keep_pods_on_missing_nodes() } else { settings };
        Ok(if self.toleration_comparison { settings.toleration_comparison() } else { settings })
    }
}

pub(super) fn print_problems(manifests: &Manifests) {
    for problem in manifests.problems() {
        print_error(problem);
    }
}
