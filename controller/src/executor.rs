//! Carries out a plan's actions in order, with preconditions, while this replica may write.

use std::{fmt, sync::Arc, time::Duration};

use daemonplan::{
    Action, DeleteReason, Key, Kind,
    model::{ControllerRevision, DaemonSet, Pod, Resource, Text},
    plan::EventType,
};
use futures::future;
use serde_json::{Value, json};
use tokio::sync::{OnceCell, Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::{
    api::{Refusal, Server, Written},
    claimable::Claimable,
    events::Events,
    job::{Failure, Job, Step, pod_name},
    leader::Role,
    metrics::{ActionLabels, ErrorLabels, Metrics},
    shared::Shared,
    state::Moment,
    watched::Watched,
};

/// How long to wait for a pod to show in the watch after a write with unknown outcome.
const DOUBT: Duration = Duration::from_secs(30);

/// Maximum attempts to delete an object that keeps changing, and to find a name for a pod.
const ATTEMPTS: usize = 5;

/// Whether this replica may write: it is the leader and is not shutting down.
#[derive(Clone, Debug)]
pub struct Gate {
    /// The role of this replica.
    pub role: watch::Receiver<Role>,
    /// Cancelled at shutdown.
    pub stop: CancellationToken,
}

impl Gate {
    /// Returns whether a plan made in `role` may still be carried out.
    pub fn is_open(&self, role: Role) -> bool {
        matches!(role, Role::Leader { .. }) && *self.role.borrow() == role && !self.stop.is_cancelled()
    }
}

/// Carries out jobs.
pub struct Executor {
    /// The client for the API server.
    pub server: Server,
    /// The shared state, which records writes.
    pub shared: Arc<Shared>,
    /// The queue of Kubernetes Events.
    pub events: Events,
    /// Counts actions and errors.
    pub metrics: Arc<Metrics>,
    /// Whether this replica may write.
    pub gate: Gate,
    /// Limits concurrent write requests.
    pub writes: Semaphore,
}

impl fmt::Debug for Executor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Executor").finish_non_exhaustive()
    }
}

/// The stages of a plan, in order. A failure up to `Rollout` ends the job; later stages do not depend on each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Claim,
    Revise,
    Relabel,
    Rollout,
    Create,
    Delete,
    CleanUp,
    Status,
}

impl Stage {
    fn of(action: &Action) -> Option<Self> {
        Some(match action {
            Action::AdoptPod { .. }
            | Action::ReleasePod { .. }
            | Action::AdoptRevision { .. }
            | Action::ReleaseRevision { .. } => Self::Claim,
            Action::CreateRevision { .. } | Action::UpdateRevision { .. } => Self::Revise,
            Action::RelabelPod { .. } => Self::Relabel,
            Action::RollBack { .. } | Action::RecordRollout { .. } => Self::Rollout,
            Action::CreatePod { .. } => Self::Create,
            Action::DeletePod { .. } => Self::Delete,
            Action::DeleteRevision { .. } => Self::CleanUp,
            Action::UpdateStatus { .. } => Self::Status,
            // Unknown: of a newer planner.
            _ => return None,
        })
    }
}

impl Executor {
    /// Carries out a job's steps, stage by stage, while this replica keeps `role`.
    ///
    /// # Errors
    /// If an action failed. After a failed claim, revision, relabelling or rollback, later actions are skipped.
    pub async fn carry_out(&self, job: &Job, role: Role) -> Result<(), Failure> {
        let execution = Execution { executor: self, job, role, confirmed: OnceCell::new() };
        let mut outcome = Ok(());
        for steps in job.steps.chunk_by(|a, b| Stage::of(&a.action) == Stage::of(&b.action)) {
            let stage = steps.first().and_then(|step| Stage::of(&step.action));
            let done = match stage {
                Some(Stage::Create) => execution.create_slowly(steps).await,
                // Revisions are written one by one: one update may depend on another.
                Some(Stage::Revise) => execution.all(steps, 1).await,
                Some(_) => execution.all(steps, usize::MAX).await,
                None => Err(Failure::default()),
            };
            if let (Some(stage), Ok(())) = (stage, &done)
                && stage != Stage::Status
            {
                let DaemonSet { namespace, name, .. } = &job.daemonset;
                info!(%namespace, daemonset = %name, ?stage, actions = steps.len(), "applied");
            }
            let independent = matches!(stage, Some(Stage::Create | Stage::Delete | Stage::CleanUp | Stage::Status));
            match (outcome, done) {
                (_, Err(failure)) if !independent => return Err(failure),
                (Ok(()), done) => outcome = done,
                (Err(_), _) => {}
            }
        }
        outcome
    }
}

/// A job in flight.
struct Execution<'a> {
    executor: &'a Executor,
    job: &'a Job,
    role: Role,
    /// Set once the API server has confirmed the DaemonSet.
    confirmed: OnceCell<()>,
}

impl Execution<'_> {
    /// Creates one pod, then two, four and so on, so that a rejection is not repeated for hundreds of pods.
    async fn create_slowly(&self, mut steps: &[Step]) -> Result<(), Failure> {
        let mut size = 1;
        while !steps.is_empty() {
            let (batch, rest) = steps.split_at(size.min(steps.len()));
            let results = future::join_all(batch.iter().map(|step| self.step(step))).await;
            first_failure(results)?;
            (steps, size) = (rest, size * 2);
        }
        Ok(())
    }

    /// Carries out `steps` in chunks of `concurrency`; a failure ends after its chunk.
    async fn all(&self, steps: &[Step], concurrency: usize) -> Result<(), Failure> {
        for chunk in steps.chunks(concurrency.min(steps.len()).max(1)) {
            first_failure(future::join_all(chunk.iter().map(|step| self.step(step))).await)?;
        }
        Ok(())
    }

    /// Carries out one step. A pod whose name is taken gets another one.
    async fn step(&self, step: &Step) -> Result<(), Refusal> {
        let mut result = self.attempt(step).await;
        for _ in 1..ATTEMPTS {
            let Err(Refusal::NameTaken(_)) = result else { break };
            let renamed = self.executor.shared.state().rename(&self.job.daemonset.key(), step, pod_name);
            result = self.attempt(&renamed).await;
        }
        result
    }

    /// Carries out one step and records the outcome: state, metrics, log and Event.
    async fn attempt(&self, step: &Step) -> Result<(), Refusal> {
        let Executor { writes, gate, metrics, shared, .. } = self.executor;
        let DaemonSet { namespace, name, .. } = &self.job.daemonset;
        let result = match writes.acquire().await {
            Ok(_permit) if gate.is_open(self.role) => self.write(step).await,
            _ => {
                shared.state().cancelled(step);
                return Err(Refusal::Stopped);
            }
        };
        let action = step.action.code();
        let labels = |result| ActionLabels { action, reason: step.action.reason_code(), result };
        match &result {
            Ok(done) => {
                metrics.actions.get_or_create(&labels("done")).inc();
                if shared.state().written(step, done.version(), Moment::now()).is_some() {
                    metrics.lagged(Duration::ZERO); // the watch was faster than the response
                }
                if let Action::UpdateStatus { .. } = step.action {
                    metrics.status_delay(self.job.outdated_since.map(|since| since.elapsed()).unwrap_or_default());
                }
                debug!(%namespace, daemonset = %name, action = %step.action, object = %step.key.name, "applied");
            }
            Err(refusal) => {
                metrics.actions.get_or_create(&labels("failed")).inc();
                metrics.errors.get_or_create(&ErrorLabels { action, code: refusal.code() }).inc();
                if refusal.is_terminating() {
                    debug!(%namespace, daemonset = %name, "namespace is being deleted");
                } else {
                    warn!(%namespace, daemonset = %name, action = %step.action, error = %refusal, "write failed");
                }
                self.settle(step, refusal);
                if let (Action::CreatePod { node, .. }, Refusal::Refused { code: 400..=403 | 422, .. }) =
                    (&step.action, refusal)
                {
                    shared.state().refused(&self.job.daemonset, node, Moment::now());
                }
            }
        }
        self.emit_event(step, &result);
        result.map(drop)
    }

    /// Records whether a failed write may show.
    fn settle(&self, step: &Step, refusal: &Refusal) {
        let mut state = self.executor.shared.state();
        match refusal {
            Refusal::Unanswered(_) => state.doubted(step, DOUBT, Moment::now()),
            // After an error of the API server, pods were looked for, and any other write is harmless to repeat.
            _ => state.cancelled(step),
        }
    }

    /// Carries out one action.
    async fn write(&self, step: &Step) -> Result<Outcome, Refusal> {
        let (server, key) = (&self.executor.server, &step.key);
        let written = match &step.action {
            Action::CreatePod { node, blueprint, .. } => {
                let mut manifest = blueprint.manifest(node);
                if let Some(metadata) = manifest.get_mut("metadata").and_then(Value::as_object_mut) {
                    metadata.insert("name".to_owned(), json!(key.name));
                }
                self.create_pod(key, node, manifest.to_string()).await
            }
            Action::DeletePod { pod, .. } => return self.delete_pod(step, &pod.uid).await,
            Action::DeleteRevision { revision, .. } => {
                return self.delete::<ControllerRevision>(step, &revision.uid, None).await;
            }
            Action::AdoptPod { .. } => self.adopt::<Pod>(step).await,
            Action::AdoptRevision { .. } => self.adopt::<ControllerRevision>(step).await,
            Action::ReleasePod { .. } => self.release::<Pod>(step).await,
            Action::ReleaseRevision { .. } => self.release::<ControllerRevision>(step).await,
            Action::RelabelPod { .. } | Action::UpdateRevision { .. } => {
                server.patch(step.kind(), key, &patch_of(step, None)?).await
            }
            Action::RollBack { .. } | Action::RecordRollout { .. } => self.patch_daemonset(step).await,
            Action::CreateRevision { revision } => self.create_revision(key, revision).await,
            Action::UpdateStatus { .. } => server.patch_status(step.kind(), key, &patch_of(step, None)?).await,
            other => Err(Refusal::Changed(format!("unknown action {other}: update the controller"))),
        };
        written.map(Outcome::Written)
    }

    /// Creates a pod. If the API server fails, looks whether it exists.
    async fn create_pod(&self, key: &Key, node: &Text, manifest: String) -> Result<Written, Refusal> {
        let server = &self.executor.server;
        let failure = match server.create(Kind::Pod, &key.namespace, manifest).await {
            Err(refusal) if refusal.is(409) => return Err(Refusal::NameTaken(refusal.to_string())),
            Err(failure @ Refusal::Failed(_)) => failure,
            done => return done,
        };
        // Before Kubernetes 1.23, a taken name is such a failure, too, if there is a `generateName` (kubernetes#104699).
        match server.get::<Watched<Pod>>(Kind::Pod, key).await {
            Ok(found) => {
                let version = found.version().to_owned();
                let pod = found.object.map_err(Refusal::Unanswered)?;
                let is_own = self.owns(&pod) && pod.node.name() == Some(node);
                if is_own { Ok(Written::new(version)) } else { Err(Refusal::NameTaken(failure.to_string())) }
            }
            Err(refusal) if refusal.is(404) => Err(failure),
            Err(refusal) => Err(Refusal::Unanswered(format!("{failure}; then, looking for the pod: {refusal}"))),
        }
    }

    /// Deletes a pod as the watch shows it. If it has changed since, looks first.
    async fn delete_pod(&self, step: &Step, uid: &Text) -> Result<Outcome, Refusal> {
        let version = match self.executor.shared.state().shown_pod(&step.key) {
            Some((pod, _)) if pod.uid != *uid || pod.is_being_deleted() => return Ok(Outcome::Gone),
            Some((pod, _)) if !self.owns(pod) => return Err(self.not_owned(step)),
            Some((_, version)) => version,
            None => return Ok(Outcome::Gone),
        };
        self.delete::<Pod>(step, uid, version).await
    }

    fn not_owned(&self, step: &Step) -> Refusal {
        Refusal::Changed(format!("{} is no longer owned by the DaemonSet {}", step.key.name, self.job.daemonset.name))
    }

    /// Deletes an object if it still has the version that the watch `shows`. Otherwise looks whether the DaemonSet still owns
    /// it: it may have been orphaned since the plan, and then stays.
    async fn delete<T: Claimable>(
        &self,
        step: &Step,
        uid: &Text,
        mut shows: Option<String>,
    ) -> Result<Outcome, Refusal> {
        let server = &self.executor.server;
        // No kubelet is left to end the pod's grace period. Kubernetes' pod garbage collector does the same.
        let at_once = matches!(step.action, Action::DeletePod { reason: DeleteReason::NodeGone, .. });
        let mut refused = None;
        for _ in 0..ATTEMPTS {
            let version = match shows.take() {
                Some(version) => version,
                None => match self.read::<T>(step).await {
                    Err(refusal) if refusal.is(404) => return Ok(Outcome::Gone),
                    // The deletion that failed may have been done.
                    Err(refusal) if matches!(refused, Some(Refusal::Failed(_))) => {
                        return Err(Refusal::Unanswered(refusal.to_string()));
                    }
                    Err(refusal) => return Err(refusal),
                    Ok((object, _)) if object.uid() != uid || object.is_being_deleted() => return Ok(Outcome::Gone),
                    Ok((object, _)) if !self.owns(&object) => return Err(self.not_owned(step)),
                    Ok((_, version)) => version,
                },
            };
            match server.delete(step.kind(), &step.key, uid, &version, at_once).await {
                Ok(()) => return Ok(Outcome::Deleted),
                Err(refusal) if refusal.is(404) => return Ok(Outcome::Gone),
                // It may have changed, or the API server has failed: look.
                Err(refusal) if refusal.is(409) || matches!(refusal, Refusal::Failed(_)) => refused = Some(refusal),
                Err(refusal) => return Err(refusal),
            }
        }
        Err(match refused {
            // It may have been done: nothing has looked since.
            Some(Refusal::Failed(message)) => Refusal::Unanswered(message),
            refused => refused.unwrap_or(Refusal::Stopped),
        })
    }

    /// Creates a revision. If its name is taken by a revision that the watch has not shown yet, adds that one to the
    /// state: the next plan uses it, or counts a collision and chooses another name.
    async fn create_revision(&self, key: &Key, revision: &ControllerRevision) -> Result<Written, Refusal> {
        let server = &self.executor.server;
        let created = server.create(Kind::ControllerRevision, &key.namespace, revision.manifest()).await;
        if created.as_ref().is_err_and(|refusal| refusal.is(409)) {
            let found: Watched<ControllerRevision> = server.get(Kind::ControllerRevision, key).await?;
            if let Ok(found) = found.object {
                self.executor.shared.state().discover(found);
            }
        }
        created
    }

    /// Restores an older template, or records what an update has come to, unless the DaemonSet was edited since the plan.
    async fn patch_daemonset(&self, step: &Step) -> Result<Written, Refusal> {
        let server = &self.executor.server;
        let fresh: Watched<DaemonSet> = server.get(Kind::DaemonSet, &step.key).await?;
        let version = fresh.version().to_owned();
        let fresh = fresh.object.map_err(Refusal::Changed)?;
        let state =
            |daemonset: &DaemonSet| (daemonset.uid.clone(), daemonset.generation, daemonset.annotations.clone());
        if state(&fresh) != state(&self.job.daemonset) {
            return Err(Refusal::Changed("the DaemonSet was edited since the plan: not written".to_owned()));
        }
        server.patch(Kind::DaemonSet, &step.key, &patch_of(step, Some(&version))?).await
    }

    /// Confirms with the API server, once per job, that the DaemonSet still exists and is not being deleted.
    async fn confirm_daemonset(&self) -> Result<(), Refusal> {
        let owner = &self.job.daemonset;
        let key = owner.key();
        let confirm = || async {
            let fresh: Watched<DaemonSet> = self.executor.server.get(Kind::DaemonSet, &key).await?;
            let fresh = fresh.object.map_err(Refusal::Changed)?;
            if fresh.uid != owner.uid || fresh.is_being_deleted() {
                return Err(Refusal::Changed("the DaemonSet is gone or being deleted: nothing adopted".to_owned()));
            }
            Ok(())
        };
        self.confirmed.get_or_try_init(confirm).await.copied()
    }

    /// Makes the DaemonSet an object's controller, after reading both from the API server.
    async fn adopt<T: Claimable>(&self, step: &Step) -> Result<Written, Refusal> {
        self.confirm_daemonset().await?;
        let selector = self.job.daemonset.selector.as_ref();
        self.claim::<T>(step, |object| {
            let matches = selector.is_some_and(|selector| selector.matches(object.labels()));
            matches && object.controller().is_none() && !object.is_being_deleted()
        })
        .await
    }

    /// Removes the DaemonSet's owner reference from an object, after reading it from the API server.
    async fn release<T: Claimable>(&self, step: &Step) -> Result<Written, Refusal> {
        self.claim::<T>(step, |object| self.owns(object)).await
    }

    /// Patches an object's owner references if `holds` is true for it, with its version as a precondition.
    async fn claim<T: Claimable>(&self, step: &Step, holds: impl Fn(&T) -> bool) -> Result<Written, Refusal> {
        let (object, version) = self.read::<T>(step).await?;
        if step.action.object().is_none_or(|planned| planned.uid != *object.uid()) || !holds(&object) {
            return Err(Refusal::Changed(format!("{} has changed since the plan", step.key.name)));
        }
        self.executor.server.patch(step.kind(), &step.key, &patch_of(step, Some(&version))?).await
    }

    /// Reads a step's object, and its version, from the API server.
    async fn read<T: Claimable>(&self, step: &Step) -> Result<(T, String), Refusal> {
        let found: Watched<T> = self.executor.server.get(step.kind(), &step.key).await?;
        let version = found.version().to_owned();
        Ok((found.object.map_err(Refusal::Changed)?, version))
    }

    /// Returns whether the DaemonSet is the object's controller.
    fn owns<T: Claimable>(&self, object: &T) -> bool {
        object.controller().is_some_and(|controller| controller.uid == self.job.daemonset.uid)
    }

    /// Emits the Event that the built-in controller would emit.
    fn emit_event(&self, step: &Step, result: &Result<Outcome, Refusal>) {
        let pod = &step.key;
        let (pod, kind, reason, message) = match (&step.action, result) {
            (Action::CreatePod { .. }, Ok(_)) => {
                (Some(pod), EventType::Normal, "SuccessfulCreate", format!("Created pod: {}", pod.name))
            }
            (Action::CreatePod { .. }, Err(refusal)) if !refusal.is_terminating() => {
                (None, EventType::Warning, "FailedCreate", format!("Error creating: {refusal}"))
            }
            (Action::DeletePod { .. }, Ok(Outcome::Deleted)) => {
                (Some(pod), EventType::Normal, "SuccessfulDelete", format!("Deleted pod: {}", pod.name))
            }
            (Action::DeletePod { .. }, Err(refusal)) => {
                (Some(pod), EventType::Warning, "FailedDelete", format!("Error deleting: {refusal}"))
            }
            _ => return,
        };
        self.executor.events.record(&self.job.daemonset, pod, kind, reason, message);
    }
}

/// The outcome of a successful step.
enum Outcome {
    /// The object was written.
    Written(Written),
    /// The object is being deleted.
    Deleted,
    /// The object was gone already.
    Gone,
}

impl Outcome {
    fn version(&self) -> &str {
        match self {
            Self::Written(written) => written.version(),
            Self::Deleted | Self::Gone => "",
        }
    }
}

fn first_failure(results: Vec<Result<(), Refusal>>) -> Result<(), Failure> {
    let refusals: Vec<_> = results.into_iter().filter_map(Result::err).collect();
    if refusals.is_empty() {
        return Ok(());
    }
    let retry_after = refusals.iter().filter_map(Refusal::retry_after).max();
    Err(Failure { retry_after, terminal: refusals.iter().any(Refusal::is_terminating) })
}

/// The patch that carries a step out, on condition of the object's uid and, if it is given, its version.
fn patch_of(step: &Step, version: Option<&str>) -> Result<Value, Refusal> {
    let without_uid = || Refusal::Changed(format!("{} has no uid", step.key.name));
    let mut patch = step.action.patch().ok_or_else(without_uid)?;
    if let Some(metadata) = patch.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.extend(version.map(|version| ("resourceVersion".to_owned(), json!(version))));
    }
    Ok(patch)
}
