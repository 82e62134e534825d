//! The flags.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::Parser;
use daemonplan::{RolloutPolicy, Settings};

/// A DaemonSet controller that can stand in for Kubernetes' own.
///
/// It watches DaemonSets, nodes, pods, namespaces and revisions, asks the planner `daemonplan` what each DaemonSet needs, and does
/// it. Switch the built-in one off first: `kube-controller-manager --controllers=*,-daemonset-controller`.
#[derive(Clone, Debug, Parser)]
#[command(version, max_term_width = 120)]
#[allow(clippy::struct_excessive_bools)] // flags
pub struct Config {
    /// The kubeconfig file. Without it: $KUBECONFIG, ~/.kube/config, or the service account of the pod that this runs in
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,

    /// The context of the kubeconfig file
    #[arg(long, value_name = "NAME")]
    pub context: Option<String>,

    /// Only the DaemonSets of this namespace
    #[arg(short, long, value_name = "NAME")]
    pub namespace: Option<String>,

    /// Only DaemonSets with these labels, such as `tier=infra,team!=lab`
    #[arg(short = 'l', long, value_name = "SELECTOR")]
    pub selector: Option<String>,

    /// Show in the log what would be done, and do nothing; leads no election
    #[arg(long)]
    pub dry_run: bool,

    /// Also delete pods on nodes that are gone, and the pods and revisions of DaemonSets that are being deleted, for a cluster
    /// without the controllers that do so
    #[arg(long)]
    pub collect_garbage: bool,

    /// How many pods one round creates at most, and how many it deletes at most, for one DaemonSet
    #[arg(long, value_name = "N", default_value_t = 250)]
    pub burst: usize,

    /// OpenShift's `defaultNodeSelector`: for namespaces without the annotation `openshift.io/node-selector`
    #[arg(long, value_name = "SELECTOR", default_value = "", hide_default_value = true)]
    pub project_node_selector: String,

    /// What updates keep to, where a DaemonSet's annotations do not say otherwise, such as `partition=20%`; may be given more
    /// than once
    #[arg(long, value_name = "NAME=VALUE")]
    pub policy: Vec<String>,

    /// Take no notice of annotations under daemonplan/, as the built-in controller does
    #[arg(long)]
    pub ignore_policies: bool,

    /// How many DaemonSets are worked for at the same time
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = at_least_one)]
    pub workers: usize,

    /// How many requests that write are under way at the same time
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = at_least_one)]
    pub writes: usize,

    /// How long to wait for the answer to a request
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    pub request_timeout: Duration,

    /// How many objects to ask for at once when a watch begins
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..))]
    pub page_size: u32,

    /// Where to serve the page, /explain, /healthz, /readyz and /metrics; without encryption and for anyone
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,

    /// Write without being elected: only for a cluster where nobody else does
    #[arg(long)]
    pub no_leader_election: bool,

    /// The namespace of the lease
    #[arg(long, value_name = "NAME", default_value = "kube-system")]
    pub lease_namespace: String,

    /// The name of the lease
    #[arg(long, value_name = "NAME", default_value = "daemonplan-controller")]
    pub lease_name: String,

    /// Who this is in the lease; must differ from the others. Default: the host's name and a random number
    #[arg(long, value_name = "NAME")]
    pub identity: Option<String>,

    /// How long others wait for a leader that no longer renews the lease
    #[arg(long, value_name = "SECONDS", default_value = "15", value_parser = seconds)]
    pub lease_duration: Duration,

    /// How long the leader goes on without having renewed the lease; less than the lease's duration
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    pub renew_deadline: Duration,

    /// How long to wait between two attempts to get or to renew the lease
    #[arg(long, value_name = "SECONDS", default_value = "2", value_parser = seconds)]
    pub retry_period: Duration,

    /// The log as lines of JSON
    #[arg(long)]
    pub log_json: bool,
}

impl Config {
    /// What the planner goes by.
    ///
    /// # Errors
    /// If the project node selector is none, or the times of the lease do not fit together.
    pub fn settings(&self) -> anyhow::Result<Settings> {
        anyhow::ensure!(
            self.retry_period < self.renew_deadline && self.renew_deadline < self.lease_duration,
            "the lease needs --retry-period < --renew-deadline < --lease-duration"
        );
        let policy = RolloutPolicy::default().with_flags(self.policy.iter().map(String::as_str));
        let policy = policy.map_err(|error| anyhow::anyhow!("--policy: {error}"))?;
        let settings = Settings::default().burst(self.burst).rollout_policy(policy);
        let settings = if self.ignore_policies { settings.ignore_policy_annotations() } else { settings };
        let settings = settings.project_node_selector(&self.project_node_selector);
        settings.map_err(|error| anyhow::anyhow!("--project-node-selector: {error}"))
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "expected a number of seconds".to_owned())?;
    Duration::try_from_secs_f64(seconds).ok().filter(|time| !time.is_zero()).ok_or_else(|| "must be above 0".to_owned())
}

fn at_least_one(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|count| *count > 0).ok_or_else(|| "expected a number above 0".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(flags: &str) -> Result<Config, String> {
        let flags = std::iter::once("controller").chain(flags.split_whitespace());
        Config::try_parse_from(flags).map_err(|error| error.to_string())
    }

    #[test]
    fn defaults_fit_together() {
        let config = parse("").unwrap();
        assert!(config.settings().is_ok());
        assert_eq!((config.workers, config.lease_duration), (8, Duration::from_secs(15)));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for flags in ["--workers 0", "--writes many", "--request-timeout 0", "--retry-period -1", "--page-size 0"] {
            assert!(parse(flags).is_err(), "{flags}");
        }
        for flags in ["--renew-deadline 15", "--retry-period 10", "--project-node-selector a,,=b=c"] {
            assert!(parse(flags).unwrap().settings().is_err(), "{flags}");
        }
    }
}
