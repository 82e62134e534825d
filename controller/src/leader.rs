//! Leader election with a Lease, as in Kubernetes' own controllers.
//!
//! No existing crate fits. kube-leader-election requires an older kube. kube-lease-manager can have two leaders at
//! once: it does not stop a leader that cannot reach the API server, and renews a lease that it may have lost.
//!
//! Here every write of the lease has the `resourceVersion` that was read. The leader gives up before others may take
//! over. Other replicas measure how long they have seen no renewal; they ignore the times written in the lease.
//!
//! Each shard has its own lease, which names the number of shards. All leases of a family have its label: a replica that has
//! acquired its lease leads only once no lease of another number of shards is held. It looks after it has written, so of two
//! replicas with different numbers at least one sees the other.

use std::{
    collections::HashMap,
    fmt,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
};
use kube::{
    Api, Client, ResourceExt,
    api::{ListParams, ObjectMeta, PostParams},
};
use tokio::{sync::watch, time};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{api::reasons, config::Config, shard::Shard};

/// The label of all leases of the replicas of a cluster: the name of the lease of a replica without shards.
const FAMILY: &str = "daemonplan/lease";

/// The annotation of a lease: the number of shards.
const SHARDS: &str = "daemonplan/shards";

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

/// Who holds a lease after an attempt to hold it.
enum Holding {
    /// Another replica.
    Other,
    /// This replica, which did not before.
    Acquired,
    /// This replica, as before.
    Renewed,
}

/// A candidate for leadership, and its lease.
pub struct Candidate {
    leases: Api<Lease>,
    name: String,
    /// The name of the lease without the number of the shard, which all leases of the family have as a label.
    family: String,
    /// The number of shards.
    shards: u32,
    identity: String,
    lease_duration: Duration,
    renew_deadline: Duration,
    retry_period: Duration,
    /// Each lease after its last change, and when that change was seen.
    observed: HashMap<String, (LeaseSpec, Instant)>,
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
            name: match config.shard {
                Some(shard) if shard.of() > 1 => format!("{}-{}", config.lease_name, shard.number()),
                _ => config.lease_name.clone(),
            },
            family: config.lease_name.clone(),
            shards: config.shard.map_or(1, Shard::of),
            identity: config.identity.clone().unwrap_or_else(identity),
            lease_duration: config.lease_duration,
            renew_deadline: config.renew_deadline,
            retry_period: config.retry_period,
            observed: HashMap::new(),
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
                attempt = time::timeout(left, self.campaign(renewed.is_some())) => attempt,
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
            // Replicas that stand in each other's way do not try again at the same moments.
            let wait =
                left.map_or(self.retry_period.mul_f64(1.0 + fastrand::f64() / 4.0), |left| left.min(self.retry_period));
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

    /// Acquires or renews the lease. Returns whether this replica may lead: it holds the lease, and if it did not lead before,
    /// or the lease was deleted under it, no other number of shards is at work.
    async fn campaign(&mut self, leads: bool) -> kube::Result<bool> {
        match self.acquire_or_renew().await? {
            Holding::Other => return Ok(false),
            Holding::Renewed if leads => return Ok(true),
            Holding::Renewed | Holding::Acquired => {}
        }
        let Some((lease, holder)) = self.held_by_other_shards().await? else { return Ok(true) };
        warn!(lease, holder, "waiting: replicas with another number of shards are at work");
        self.release().await?;
        Ok(false)
    }

    /// Creates, takes over or renews the lease.
    async fn acquire_or_renew(&mut self) -> kube::Result<Holding> {
        let Some(mut lease) = self.leases.get_opt(&self.name).await? else {
            let lease = Lease { metadata: self.metadata(ObjectMeta::default()), spec: Some(self.spec(None)) };
            let created = done(self.leases.create(&PostParams::default(), &lease).await)?;
            return Ok(if created { Holding::Acquired } else { Holding::Other });
        };
        let found = lease.spec.take().unwrap_or_default();
        if self.is_held_by_other(&self.name.clone(), &found) {
            return Ok(Holding::Other);
        }
        let is_own = found.holder_identity.as_deref() == Some(&self.identity);
        lease.metadata = self.metadata(lease.metadata);
        lease.spec = Some(self.spec(Some(&found)));
        let written = done(self.leases.replace(&self.name, &PostParams::default(), &lease).await)?;
        Ok(match (written, is_own) {
            (false, _) => Holding::Other,
            (true, true) => Holding::Renewed,
            (true, false) => Holding::Acquired,
        })
    }

    /// Returns a lease of the family with another number of shards that is held, and its holder.
    async fn held_by_other_shards(&mut self) -> kube::Result<Option<(String, String)>> {
        let family = ListParams::default().labels(&format!("{FAMILY}={}", self.family));
        for lease in self.leases.list(&family).await? {
            let shards = lease.annotations().get(SHARDS).and_then(|shards| shards.parse().ok()).unwrap_or(1);
            let (name, found) = (lease.name_any(), lease.spec.unwrap_or_default());
            if shards != self.shards && self.is_held_by_other(&name, &found) {
                return Ok(Some((name, found.holder_identity.unwrap_or_default())));
            }
        }
        Ok(None)
    }

    /// Returns whether another replica holds a lease: it was not released, and no renewal was missed for its duration.
    fn is_held_by_other(&mut self, name: &str, found: &LeaseSpec) -> bool {
        let holder = found.holder_identity.as_deref().unwrap_or_default();
        let (known, since) = self.observed.entry(name.to_owned()).or_insert_with(|| (found.clone(), Instant::now()));
        if known != found {
            (*known, *since) = (found.clone(), Instant::now());
        }
        let seconds = found.lease_duration_seconds.unwrap_or_default().try_into().unwrap_or_default();
        !holder.is_empty() && holder != self.identity && since.elapsed() <= Duration::from_secs(seconds)
    }

    /// Adds the name, the label and the annotation of this replica's lease.
    fn metadata(&self, mut metadata: ObjectMeta) -> ObjectMeta {
        metadata.name = Some(self.name.clone());
        metadata.labels.get_or_insert_default().insert(FAMILY.to_owned(), self.family.clone());
        metadata.annotations.get_or_insert_default().insert(SHARDS.to_owned(), self.shards.to_string());
        metadata
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
