//! Command-line flags for the [`Settings`], for any program that embeds the planner (feature `clap`).

use std::fs;

use clap::Args;

use crate::{
    affinity::NodeResources,
    manifest::read_yaml,
    model::Text,
    policy::{PolicyError, RolloutPolicy},
    selector::SelectorExpression,
    settings::Settings,
};

/// The flags for the [`Settings`]. Flatten them into the flags of a program, so that all programs have the same.
///
/// ```
/// use clap::Parser;
/// use daemonplan::flags::SettingsFlags;
/// #[derive(Parser)]
/// struct Flags {
///     #[command(flatten)]
///     settings: SettingsFlags,
/// }
/// let flags = Flags::parse_from(["program", "--burst", "500", "--policy", "partition=20%"]);
/// assert_eq!(flags.settings.settings()?.burst, 500);
/// assert!(Flags::try_parse_from(["program", "--default-node-selector", "a in b"]).is_err());
/// # Ok::<(), daemonplan::policy::PolicyError>(())
/// ```
#[derive(Clone, Debug, Args)]
pub struct SettingsFlags {
    /// The maximum number of pods that a plan creates, and that it deletes
    #[arg(long, value_name = "N", default_value_t = Settings::default().burst)]
    burst: usize,

    /// The cluster's default project node selector (OpenShift: defaultNodeSelector of the Scheduler), such as role=worker
    #[arg(long, value_name = "SELECTOR")]
    project_node_selector: Option<SelectorExpression>,

    /// The Kubernetes default node selector (admission plugin PodNodeSelector), such as role=worker
    #[arg(long, value_name = "SELECTOR")]
    default_node_selector: Option<SelectorExpression>,

    /// Evaluate the toleration operators Lt and Gt (feature gate TaintTolerationComparisonOperators)
    #[arg(long)]
    toleration_comparison: bool,

    /// A rollout policy, such as order=oldest-pod; repeatable. The annotations of a DaemonSet take precedence
    #[arg(long, value_name = "NAME=VALUE")]
    policy: Vec<String>,

    /// Ignore annotations with rollout policies, as the built-in controller does
    #[arg(long)]
    ignore_policies: bool,

    /// The prefix of annotations with rollout policies
    #[arg(long, value_name = "PREFIX", default_value = RolloutPolicy::PREFIX, value_parser = prefix)]
    policy_prefix: Text,

    /// A file that says what the pods of DaemonSets request on some nodes instead of what their templates say: a list of
    /// {daemonSet: {namespace, name}, nodes: SELECTOR, containers: {NAME: {requests, limits}}}, in YAML or JSON
    #[arg(long, value_name = "FILE", value_parser = node_resources)]
    node_resources: Option<Box<[NodeResources]>>,
}

/// Reads what pods request on some nodes.
fn node_resources(file: &str) -> Result<Box<[NodeResources]>, String> {
    let text = fs::read_to_string(file).map_err(|error| error.to_string())?;
    read_yaml::<Vec<_>>(&text).map(Vec::into_boxed_slice)
}

/// Reads a prefix, with or without its slash.
fn prefix(text: &str) -> Result<Text, String> {
    let prefix = text.strip_suffix('/').unwrap_or(text);
    let is_subdomain = prefix.split('.').all(|label| {
        let is_allowed = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '-';
        !label.is_empty() && label.chars().all(is_allowed) && !label.starts_with('-') && !label.ends_with('-')
    });
    if is_subdomain && prefix.len() <= 253 {
        Ok(format!("{prefix}/").into())
    } else {
        Err("expected a DNS subdomain such as rollouts.example.com/".to_owned())
    }
}

impl SettingsFlags {
    /// Returns the settings.
    ///
    /// # Errors
    /// If a `--policy` is unknown or invalid.
    pub fn settings(&self) -> Result<Settings, PolicyError> {
        Ok(Settings {
            burst: self.burst,
            project_node_selector: self.project_node_selector.clone(),
            default_node_selector: self.default_node_selector.clone(),
            toleration_comparison: self.toleration_comparison,
            rollout_policy: RolloutPolicy::default().with_flags(self.policy.iter().map(String::as_str))?,
            ignore_policy_annotations: self.ignore_policies,
            policy_prefix: self.policy_prefix.clone(),
            node_resources: self.node_resources.as_deref().unwrap_or_default().to_vec(),
            ..Settings::default()
        })
    }
}
