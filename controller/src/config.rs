//! Command-line flags.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Parser, builder::NonEmptyStringValueParser};
use daemonplan::{Settings, flags::SettingsFlags, selector::SelectorExpression};

use crate::shard::Shard;

/// A DaemonSet controller that can replace the built-in one of Kubernetes.
///
/// It watches DaemonSets, nodes, pods, namespaces and revisions, plans each DaemonSet with `daemonplan`, and carries
/// the plans out. Disable the built-in one first: `kube-controller-manager --controllers=*,-daemonset-controller`.
#[derive(Clone, Debug, Parser)]
#[command(version, max_term_width = 120)]
#[allow(clippy::struct_excessive_bools)] // flags
pub struct Config {
    /// Path of the kubeconfig file [default: $KUBECONFIG, ~/.kube/config, or the pod's service account]
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,

    /// Context of the kubeconfig file
    #[arg(long, value_name = "NAME")]
    pub context: Option<String>,

    /// Manage only DaemonSets in this namespace; repeat it for several, which are watched one by one
    #[arg(short, long = "namespace", value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    pub namespaces: Vec<String>,

    /// Manage only DaemonSets in namespaces with matching labels, such as `team=infra`; the whole cluster is watched
    #[arg(long, value_name = "SELECTOR", conflicts_with = "namespaces")]
    pub namespace_selector: Option<SelectorExpression>,

    /// Manage only shard K of N, from 0 to N-1: the DaemonSets for which the 64-bit FNV-1a hash of NAMESPACE/NAME, modulo N, is K
    #[arg(long, value_name = "K/N")]
    pub shard: Option<Shard>,

    /// Manage only DaemonSets with matching labels, such as `tier=infra,team!=lab`
    #[arg(short = 'l', long, value_name = "SELECTOR")]
    pub selector: Option<String>,

    /// Log the planned actions without writing anything or taking part in leader election
    #[arg(long)]
    pub dry_run: bool,

    /// Delete pods on missing nodes, and pods and revisions of DaemonSets being deleted, in clusters without garbage
    /// collectors
    #[arg(long)]
    pub collect_garbage: bool,

    #[command(flatten)]
    settings: SettingsFlags,

    /// Maximum number of DaemonSets processed concurrently
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = at_least_one)]
    pub workers: usize,

    /// Maximum number of concurrent write requests
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = at_least_one)]
    pub writes: usize,

    /// How long a status may wait for more changes if only its counts have changed
    #[arg(long, value_name = "SECONDS", default_value = "3", value_parser = seconds)]
    pub status_delay: Duration,

    /// Timeout of a request
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    pub request_timeout: Duration,

    /// Objects per page of an initial list
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..))]
    pub page_size: u32,

    /// Address for the web page, /explain, /healthz, /readyz and /metrics; no TLS, no authentication
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,

    /// Keep the pods of all controllers, so that the web page and /explain say why pods are Pending, and what would help
    #[arg(long)]
    pub explain_pending: bool,

    /// Write without leader election; only for a cluster with a single replica
    #[arg(long)]
    pub no_leader_election: bool,

    /// Namespace of the lease
    #[arg(long, value_name = "NAME", default_value = "kube-system")]
    pub lease_namespace: String,

    /// Name of the lease; with several shards, it is followed by `-K`
    #[arg(long, value_name = "NAME", default_value = "daemonplan-controller")]
    pub lease_name: String,

    /// Unique identity of this replica in the lease [default: host name and a random number]
    #[arg(long, value_name = "NAME")]
    pub identity: Option<String>,

    /// How long other replicas wait after the last renewal before they take over the lease
    #[arg(long, value_name = "SECONDS", default_value = "15", value_parser = seconds)]
    pub lease_duration: Duration,

    /// How long the leader keeps writing without a renewal; less than --lease-duration
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    pub renew_deadline: Duration,

    /// Interval between attempts to acquire or renew the lease; less than --renew-deadline
    #[arg(long, value_name = "SECONDS", default_value = "2", value_parser = seconds)]
    pub retry_period: Duration,

    /// Log in JSON lines
    #[arg(long)]
    pub log_json: bool,
}

impl Config {
    /// Returns the planner's settings.
    ///
    /// # Errors
    /// If `--policy` is invalid, the lease times are not in ascending order, or the lease's name is too long for a label.
    pub fn settings(&self) -> anyhow::Result<Settings> {
        anyhow::ensure!(
            self.retry_period < self.renew_deadline && self.renew_deadline < self.lease_duration,
            "invalid lease times: expected --retry-period < --renew-deadline < --lease-duration"
        );
        anyhow::ensure!(self.lease_name.len() <= 63, "--lease-name: expected at most 63 letters");
        let mut settings = self.settings.settings().map_err(|error| anyhow::anyhow!("--policy: {error}"))?;
        settings.collect_pods_on_missing_nodes = self.collect_garbage;
        Ok(settings)
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "expected a number of seconds".to_owned())?;
    Duration::try_from_secs_f64(seconds)
        .ok()
        .filter(|time| !time.is_zero())
        .ok_or_else(|| "expected a number of seconds above 0".to_owned())
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
    fn defaults_are_consistent() {
        let config = parse("").unwrap();
        assert!(config.settings().is_ok());
        assert_eq!((config.workers, config.lease_duration), (8, Duration::from_secs(15)));
    }

    #[test]
    fn pods_on_missing_nodes_are_left_to_the_cluster_unless_asked() {
        let collects = |flags| parse(flags).unwrap().settings().unwrap().collect_pods_on_missing_nodes;
        assert!(!collects("") && collects("--collect-garbage"));
    }

    #[test]
    fn invalid_values_are_rejected() {
        for flags in [
            "--workers 0",
            "--writes many",
            "--request-timeout 0",
            "--retry-period -1",
            "--page-size 0",
            "--default-node-selector a,,=b=c",
            "--namespace=",
            "--namespace prod --namespace-selector team=infra",
            "--namespace-selector team=a=b",
            "--shard 2/2",
        ] {
            assert!(parse(flags).is_err(), "{flags}");
        }
        for flags in ["--renew-deadline 15", "--retry-period 10", "--policy partition=many"] {
            assert!(parse(flags).unwrap().settings().is_err(), "{flags}");
        }
    }
}
