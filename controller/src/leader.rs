//! Leader election with a Lease, as in Kubernetes' own controllers.
//!
//! No existing crate fits. kube-leader-election requires an older kube. kube-lease-manager can have two leaders at
//! once: it does not stop a leader that cannot reach the API server, and renews a lease that it may have lost.
//!
//! Here every write of the lease has the `resourceVersion` that was read. The leader gives up before others may take
//! over. Other replicas measure how long they have seen no renewal; they ignore the times written in the lease.

use std::{
    fmt,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
};
use kube::{
    Api, Client,
    api::{ObjectMeta, PostParams},
};
use tokio::{sync::watch, time};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{api::reasons, config::Config};

/// The role of this replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Not known yet.
    Unknown,
    /// Another replica is the leader.
    StandBy,
    /// This replica is the leader.
    Leader {
        /// The number of times it became leader; another replica may have written between two terms.
        term: u64,
    },
}

/// A candidate for leadership, and its lease.
pub struct Candidate {
    leases: Api<Lease>,
    name: String,
    identity: String,
    lease_duration: Duration,
    renew_deadline: Duration,
    retry_period: Duration,
    /// The lease after its last change, and when that change was seen.
    observed: Option<(LeaseSpec, Instant)>,
}

impl fmt::Debug for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Candidate").field("identity", &self.identity).finish_non_exhaustive()
    }
}

impl Candidate {
    /// Creates a candidate from the command-line flags.
    pub fn new(client: Client, config: &Config) -> Self {
        Self {
            leases: Api::namespaced(client, &config.lease_namespace),
            name: config.lease_name.clone(),
            identity: config.identity.clone().unwrap_or_else(identity),
            lease_duration: config.lease_duration,
            renew_deadline: config.renew_deadline,
            retry_period: config.retry_period,
            observed: None,
        }
    }

    /// Acquires and renews the lease and updates `role`, until `stop` is cancelled.
    ///
    /// Then keeps the lease until `idle` is cancelled, when no write is in flight any more, and releases it.
    pub async fn run(mut self, role: watch::Sender<Role>, stop: CancellationToken, idle: CancellationToken) {
        let mut renewed: Option<Instant> = None;
        let mut term = 0;
        while !stop.is_cancelled() {
            // An attempt that hangs must not outlast the renew deadline.
            let left = renewed.map_or(self.renew_deadline, |at| self.renew_deadline.saturating_sub(at.elapsed()));
            let began = Instant::now();
            let attempt = tokio::select! {
                attempt = time::timeout(left, self.acquire_or_renew()) => attempt,
                () = stop.cancelled() => break,
            };
            match attempt {
                Ok(Ok(true)) => {
                    // Counted from the request; others count from the write, which is later.
                    if renewed.replace(began).is_none() {
                        term += 1;
                        role.send_replace(Role::Leader { term });
                        info!(identity = self.identity, "became leader");
                    }
                }
                Ok(Ok(false)) => {
                    if renewed.take().is_some() {
                        warn!(identity = self.identity, "lost leadership");
                    }
                    role.send_if_modified(|role| std::mem::replace(role, Role::StandBy) != Role::StandBy);
                }
                Ok(Err(error)) => warn!(error = reasons(&error), "failed to acquire or renew the lease, retrying"),
                Err(_) => warn!("lease request timed out"),
            }
            if renewed.is_some_and(|at| at.elapsed() >= self.renew_deadline) {
                warn!(identity = self.identity, "lost leadership: lease not renewed in time");
                renewed = None;
                role.send_replace(Role::StandBy);
            }
            // Wake up at the renew deadline at the latest.
            let left = renewed.map(|at| self.renew_deadline.saturating_sub(at.elapsed()));
            let wait = left.map_or(self.retry_period, |left| left.min(self.retry_period));
            tokio::select! {
                () = time::sleep(wait) => {}
                () = stop.cancelled() => {}
            }
        }
        // Stay leader while writes are in flight.
        let mut renewal = time::interval(self.retry_period);
        loop {
            tokio::select! {
                () = idle.cancelled() => break,
                _ = renewal.tick(), if renewed.is_some() => drop(time::timeout(self.retry_period, self.acquire_or_renew()).await),
            }
        }
        role.send_replace(Role::StandBy);
        if renewed.is_some()
            && let Err(error) = time::timeout(self.retry_period, self.release()).await.unwrap_or(Ok(()))
        {
            warn!(error = reasons(&error), "failed to release the lease");
        }
    }

    /// Creates, takes over or renews the lease. Returns whether this replica holds it.
    async fn acquire_or_renew(&mut self) -> kube::Result<bool> {
        let Some(mut lease) = self.leases.get_opt(&self.name).await? else {
            let metadata = ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() };
            let lease = Lease { metadata, spec: Some(self.spec(None)) };
            return done(self.leases.create(&PostParams::default(), &lease).await);
        };
        let found = lease.spec.take().unwrap_or_default();
        if self.observed.as_ref().is_none_or(|(known, _)| *known != found) {
            self.observed = Some((found.clone(), Instant::now()));
        }
        let holder = found.holder_identity.as_deref().unwrap_or_default();
        if !holder.is_empty() && holder != self.identity && !self.has_expired(&found) {
            return Ok(false);
        }
        lease.spec = Some(self.spec(Some(&found)));
        done(self.leases.replace(&self.name, &PostParams::default(), &lease).await)
    }

    /// Returns whether no renewal was seen for the duration of the lease.
    fn has_expired(&self, found: &LeaseSpec) -> bool {
        let duration =
            Duration::from_secs(found.lease_duration_seconds.unwrap_or_default().try_into().unwrap_or_default());
        self.observed.as_ref().is_some_and(|(_, since)| since.elapsed() > duration)
    }

    fn spec(&self, before: Option<&LeaseSpec>) -> LeaseSpec {
        let now = MicroTime(Timestamp::now());
        let own = before.filter(|spec| spec.holder_identity.as_deref() == Some(&self.identity));
        let transitions = before.and_then(|spec| spec.lease_transitions).unwrap_or_default();
        // Whole seconds, rounded up: other replicas may wait longer, never shorter.
        let seconds = self.lease_duration.as_secs() + u64::from(self.lease_duration.subsec_nanos() > 0);
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: Some(i32::try_from(seconds).unwrap_or(i32::MAX)),
            acquire_time: own.and_then(|spec| spec.acquire_time.clone()).or(Some(now.clone())),
            renew_time: Some(now),
            lease_transitions: Some(if own.is_some() || before.is_none() { transitions } else { transitions + 1 }),
            ..LeaseSpec::default()
        }
    }

    /// Releases the lease, so that another replica can acquire it at once.
    async fn release(&self) -> kube::Result<()> {
        let mut lease = self.leases.get(&self.name).await?;
        let own = lease.spec.as_ref().is_some_and(|spec| spec.holder_identity.as_deref() == Some(&self.identity));
        if own {
            let now = MicroTime(Timestamp::now());
            let transitions = lease.spec.as_ref().and_then(|spec| spec.lease_transitions);
            lease.spec = Some(LeaseSpec {
                holder_identity: Some(String::new()),
                lease_duration_seconds: Some(1),
                acquire_time: Some(now.clone()),
                renew_time: Some(now),
                lease_transitions: transitions,
                ..LeaseSpec::default()
            });
            done(self.leases.replace(&self.name, &PostParams::default(), &lease).await)?;
            info!(identity = self.identity, "released the lease");
        }
        Ok(())
    }
}

/// Returns whether a write succeeded; a conflict means that another replica was faster.
fn done<T>(written: kube::Result<T>) -> kube::Result<bool> {
    match written {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
        Err(error) => Err(error),
    }
}

fn identity() -> String {
    let host = std::env::var("HOSTNAME").unwrap_or_else(|_| "host".to_owned());
    format!("{host}_{:016x}", fastrand::u64(..))
}
