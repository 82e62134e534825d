//! Carries out what a plan asks for: in its order, with its preconditions, and no further than it may.

use std::{fmt, sync::Arc, time::Duration};

use daemonplan::{
    Action, Key, Kind,
    model::{ControllerRef, ControllerRevision, DaemonSet, DaemonSetStatus, HASH_LABEL, Labels, Pod, Text},
    plan::EventType,
};
use futures::future;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::{OnceCell, Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::{
    api::{Patch, Refusal, Server, Written},
    controller::Shared,
    events::Events,
    job::{Failure, Job, Step},
    leader::Role,
    metrics::{ActionLabels, ErrorLabels, Metrics},
    state::Moment,
    watched::Watched,
};

/// How long to wait for a pod to show, of which nobody knows whether it has been created or deleted.
const DOUBT: Duration = Duration::from_secs(30);

/// How often a deletion is tried, of an object that changes all the time.
const ATTEMPTS: usize = 5;

/// Whether anything may be written: this one leads, and is not about to stop.
#[derive(Clone, Debug)]
pub struct Gate {
    /// Whether this one leads.
    pub role: watch::Receiver<Role>,
    /// Whether it is to stop.
    pub stop: CancellationToken,
}

impl Gate {
    /// Whether anything may be written that was planned when this one had that role.
    pub fn is_open(&self, role: Role) -> bool {
        matches!(role, Role::Leader { .. }) && *self.role.borrow() == role && !self.stop.is_cancelled()
    }
}

/// Carries out jobs.
pub struct Executor {
    /// Where to.
    pub server: Server,
    /// What is known, to note there what has been written.
    pub shared: Arc<Shared>,
    /// Where to tell of it.
    pub events: Events,
    /// And to count it.
    pub metrics: Arc<Metrics>,
    /// Whether anything may be written.
    pub gate: Gate,
    /// How many requests may be under way.
    pub writes: Semaphore,
}

impl fmt::Debug for Executor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Executor").finish_non_exhaustive()
    }
}

/// The parts of a plan. A failure in one of the first ends the job; the rest is done even so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Claim,
    Revise,
    Relabel,
    RollBack,
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
            Action::RollBack { .. } => Self::RollBack,
            Action::CreatePod { .. } => Self::Create,
            Action::DeletePod { .. } => Self::Delete,
            Action::DeleteRevision { .. } => Self::CleanUp,
            Action::UpdateStatus { .. } => Self::Status,
            // Of a later version of the planner.
            _ => return None,
        })
    }
}

impl Executor {
    /// Does what the job says, step by step, as long as this one has the role in which it was planned.
    ///
    /// # Errors
    /// If an action was refused; later actions are then not tried.
    pub async fn carry_out(&self, job: &Job, role: Role) -> Result<(), Failure> {
        let execution = Execution { executor: self, daemonset: &job.daemonset, role, looked: OnceCell::new() };
        let mut outcome = Ok(());
        for steps in job.steps.chunk_by(|a, b| Stage::of(&a.action) == Stage::of(&b.action)) {
            let stage = steps.first().and_then(|step| Stage::of(&step.action));
            let done = match stage {
                Some(Stage::Create) => execution.create_slowly(steps).await,
                // A revision must be there before pods that carry its hash, and one may be about the other.
                Some(Stage::Revise) => execution.all(steps, 1).await,
                Some(_) => execution.all(steps, usize::MAX).await,
                None => Err(Failure::default()),
            };
            let goes_on = matches!(stage, Some(Stage::Create | Stage::Delete | Stage::CleanUp | Stage::Status));
            match (outcome, done) {
                (_, Err(failure)) if !goes_on => return Err(failure),
                (Ok(()), done) => outcome = done,
                (Err(_), _) => {}
            }
        }
        outcome
    }
}

/// A job under way.
struct Execution<'a> {
    executor: &'a Executor,
    daemonset: &'a DaemonSet,
    role: Role,
    /// Whether the DaemonSet has been looked at anew: once is enough.
    looked: OnceCell<()>,
}

impl Execution<'_> {
    /// One, then two, four and so on, so that what is refused for one pod is not asked for hundreds.
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

    /// So many at the same time; if one fails, the others that were begun are done even so.
    async fn all(&self, steps: &[Step], together: usize) -> Result<(), Failure> {
        for some in steps.chunks(together.min(steps.len()).max(1)) {
            first_failure(future::join_all(some.iter().map(|step| self.step(step))).await)?;
        }
        Ok(())
    }

    /// One step, and what is to be noted of how it went.
    async fn step(&self, step: &Step) -> Result<(), Refusal> {
        let Executor { writes, gate, metrics, shared, .. } = self.executor;
        let DaemonSet { namespace, name, .. } = self.daemonset;
        let result = match writes.acquire().await {
            Ok(_permit) if gate.is_open(self.role) => self.write(step).await,
            _ => return Err(Refusal::Stopped),
        };
        let action = step.action.code();
        let labels = |result| ActionLabels { action, reason: step.action.reason_code(), result };
        match &result {
            Ok(done) => {
                metrics.actions.get_or_create(&labels("done")).inc();
                if shared.state().written(step, done.version(), Moment::now()).is_some() {
                    metrics.lagged(Duration::ZERO); // the watch was faster
                }
                if let Action::UpdateStatus { .. } = step.action {
                    debug!(%namespace, daemonset = %name, action = %step.action, "done");
                } else {
                    info!(%namespace, daemonset = %name, action = %step.action, object = %step.key.name, "done");
                }
            }
            Err(refusal) => {
                metrics.actions.get_or_create(&labels("failed")).inc();
                metrics.errors.get_or_create(&ErrorLabels { action, code: refusal.code() }).inc();
                if refusal.is_terminating() {
                    debug!(%namespace, daemonset = %name, "the namespace is being deleted");
                } else {
                    warn!(%namespace, daemonset = %name, action = %step.action, error = %refusal, "failed");
                }
                self.settle(step, refusal).await;
                if let (Action::CreatePod { node, .. }, Refusal::Refused { code: 400..=403 | 422, .. }) =
                    (&step.action, refusal)
                {
                    shared.state().refused(self.daemonset, node, Moment::now());
                }
            }
        }
        self.tell(step, &result);
        result.map(drop)
    }

    /// After a write that came to nothing: has it been done?
    async fn settle(&self, step: &Step, refusal: &Refusal) {
        let server = &self.executor.server;
        let done = match refusal {
            Refusal::Refused { .. } | Refusal::Changed(_) | Refusal::Stopped => Some(false),
            Refusal::Failed(_) => match &step.action {
                Action::CreatePod { .. } => match server.get::<Watched<Pod>>(Kind::Pod, &step.key).await {
                    Ok(_) => Some(true),
                    Err(refusal) => refusal.is(404).then_some(false),
                },
                Action::DeletePod { pod, .. } => match server.get::<Watched<Pod>>(Kind::Pod, &step.key).await {
                    Ok(found) => found.object.ok().map(|found| found.is_being_deleted() || found.uid != pod.uid),
                    Err(refusal) => refusal.is(404).then_some(true),
                },
                _ => Some(false), // to do it again is harmless
            },
            Refusal::Unanswered(_) => None,
        };
        let mut state = self.executor.shared.state();
        match done {
            Some(true) => drop(state.written(step, "", Moment::now())),
            Some(false) => state.cancelled(step),
            None => state.doubted(step, DOUBT, Moment::now()),
        }
    }

    /// Carries out one action.
    async fn write(&self, step: &Step) -> Result<Done, Refusal> {
        let (server, daemonset, key) = (&self.executor.server, self.daemonset, &step.key);
        let written = match &step.action {
            Action::CreatePod { node, blueprint, .. } => {
                let mut manifest = blueprint.manifest(node);
                if let Some(metadata) = manifest.get_mut("metadata").and_then(Value::as_object_mut) {
                    metadata.insert("name".to_owned(), json!(key.name));
                }
                server.create(Kind::Pod, &key.namespace, manifest.to_string()).await
            }
            Action::DeletePod { pod, .. } => return self.delete::<Pod>(step, &pod.uid).await,
            Action::DeleteRevision { revision, .. } => {
                return self.delete::<ControllerRevision>(step, &revision.uid).await;
            }
            Action::AdoptPod { pod } => self.adopt::<Pod>(step, &pod.uid).await,
            Action::AdoptRevision { revision } => self.adopt::<ControllerRevision>(step, &revision.uid).await,
            Action::ReleasePod { pod, .. } => self.release::<Pod>(step, &pod.uid).await,
            Action::ReleaseRevision { revision, .. } => self.release::<ControllerRevision>(step, &revision.uid).await,
            Action::RelabelPod { pod, hash } => {
                let patch = json!({"metadata": {"uid": pod.uid, "labels": {HASH_LABEL: hash}}});
                server.patch(step.kind(), key, Patch::Merge, &patch).await
            }
            Action::UpdateRevision { revision, number, hash, .. } => {
                let metadata = json!({"uid": revision.uid, "labels": {HASH_LABEL: hash}});
                let patch = json!({"metadata": metadata, "revision": number});
                server.patch(step.kind(), key, Patch::Merge, &patch).await
            }
            Action::RollBack { generation, revision, .. } => self.roll_back(key, *generation, revision).await,
            Action::CreateRevision { revision } => self.create_revision(key, revision).await,
            Action::UpdateStatus { status } => {
                let patch = json!({"metadata": {"uid": daemonset.uid}, "status": whole(status)});
                server.patch_status(step.kind(), key, &patch).await
            }
            other => Err(Refusal::Changed(format!("{other} is of a later version of the planner"))),
        };
        written.map(Done::Written)
    }

    /// Deletes an object, if it still is the DaemonSet's: somebody may have left it behind since, and it is to stay then.
    async fn delete<T: Claimable>(&self, step: &Step, uid: &Text) -> Result<Done, Refusal> {
        let server = &self.executor.server;
        let mut refused = None;
        for _ in 0..ATTEMPTS {
            let (object, version) = match self.look_at::<T>(step).await {
                Err(refusal) if refusal.is(404) => return Ok(Done::Gone),
                found => found?,
            };
            if object.uid() != uid || object.is_being_deleted() {
                return Ok(Done::Gone);
            }
            if !self.owns(&object) {
                return Err(Refusal::Changed(format!("{} is no longer the DaemonSet's", step.key.name)));
            }
            match server.delete(step.kind(), &step.key, uid, &version).await {
                Ok(()) => return Ok(Done::Deleted),
                Err(refusal) if refusal.is(404) => return Ok(Done::Gone),
                // Its status may have changed.
                Err(refusal) if refusal.is(409) => refused = Some(refusal),
                Err(refusal) => return Err(refusal),
            }
        }
        Err(refused.unwrap_or(Refusal::Stopped))
    }

    /// Creates a revision. If there is one of its name that the watch did not tell of, what is known is wrong: the next plan
    /// finds it to be the template's, or counts a collision and takes another name.
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

    /// Gives the DaemonSet an older template back, as `kubectl rollout undo` does, if nobody has edited it since.
    async fn roll_back(&self, key: &Key, generation: i64, revision: &ControllerRevision) -> Result<Written, Refusal> {
        let server = &self.executor.server;
        let fresh: Watched<DaemonSet> = server.get(Kind::DaemonSet, key).await?;
        let version = fresh.version().to_owned();
        let fresh = fresh.object.map_err(Refusal::Changed)?;
        if fresh.uid != self.daemonset.uid || fresh.generation != generation {
            return Err(Refusal::Changed("the DaemonSet was edited since, and is not rolled back".to_owned()));
        }
        let mut patch = Value::clone(&revision.data);
        if let Some(fields) = patch.as_object_mut() {
            fields.insert("metadata".to_owned(), json!({"uid": fresh.uid, "resourceVersion": version}));
        }
        server.patch(Kind::DaemonSet, key, Patch::Strategic, &patch).await
    }

    /// Whether the DaemonSet is still the one that was planned for, and is not being deleted.
    async fn look_again(&self) -> Result<(), Refusal> {
        let owner = self.daemonset;
        let key = Key::new(owner.namespace.clone(), owner.name.clone());
        let look = || async {
            let fresh: Watched<DaemonSet> = self.executor.server.get(Kind::DaemonSet, &key).await?;
            let fresh = fresh.object.map_err(Refusal::Changed)?;
            if fresh.uid != owner.uid || fresh.is_being_deleted() {
                return Err(Refusal::Changed("the DaemonSet is gone or being deleted, and adopts nothing".to_owned()));
            }
            Ok(())
        };
        self.looked.get_or_try_init(look).await.copied()
    }

    /// Makes the DaemonSet an object's controller, after a look at both.
    async fn adopt<T: Claimable>(&self, step: &Step, uid: &Text) -> Result<Written, Refusal> {
        self.look_again().await?;
        let owner = self.daemonset;
        let reference = json!({"apiVersion": "apps/v1", "kind": "DaemonSet", "name": owner.name, "uid": owner.uid,
            "controller": true, "blockOwnerDeletion": true});
        self.claim::<T>(step, uid, &reference, |object| {
            let matches = owner.selector.as_ref().is_some_and(|selector| selector.matches(object.labels()));
            matches && object.controller().is_none() && !object.is_being_deleted()
        })
        .await
    }

    /// Takes the DaemonSet's reference off an object, after a look at it.
    async fn release<T: Claimable>(&self, step: &Step, uid: &Text) -> Result<Written, Refusal> {
        let reference = json!({"$patch": "delete", "uid": self.daemonset.uid});
        self.claim::<T>(step, uid, &reference, |object| self.owns(object)).await
    }

    /// Patches an object's owner references, if it still is as it was planned for, and stays so until the patch is done.
    async fn claim<T: Claimable>(
        &self,
        step: &Step,
        uid: &Text,
        reference: &Value,
        holds: impl Fn(&T) -> bool,
    ) -> Result<Written, Refusal> {
        let (object, version) = self.look_at::<T>(step).await?;
        if object.uid() != uid || !holds(&object) {
            return Err(Refusal::Changed(format!("{} is otherwise by now", step.key.name)));
        }
        let metadata = json!({"uid": uid, "resourceVersion": version, "ownerReferences": [reference]});
        let patch = json!({"metadata": metadata});
        self.executor.server.patch(step.kind(), &step.key, Patch::Strategic, &patch).await
    }

    /// The object that a step is about as it is now, and its version.
    async fn look_at<T: Claimable>(&self, step: &Step) -> Result<(T, String), Refusal> {
        let found: Watched<T> = self.executor.server.get(step.kind(), &step.key).await?;
        let version = found.version().to_owned();
        Ok((found.object.map_err(Refusal::Changed)?, version))
    }

    /// Whether the DaemonSet is the object's controller.
    fn owns<T: Claimable>(&self, object: &T) -> bool {
        object.controller().is_some_and(|controller| controller.uid == self.daemonset.uid)
    }

    /// Emits the Event that the built-in controller would.
    fn tell(&self, step: &Step, result: &Result<Done, Refusal>) {
        let pod = &step.key;
        let (pod, kind, reason, message) = match (&step.action, result) {
            (Action::CreatePod { .. }, Ok(_)) => {
                (Some(pod), EventType::Normal, "SuccessfulCreate", format!("Created pod: {}", pod.name))
            }
            (Action::CreatePod { .. }, Err(refusal)) if !refusal.is_terminating() => {
                (None, EventType::Warning, "FailedCreate", format!("Error creating: {refusal}"))
            }
            (Action::DeletePod { .. }, Ok(Done::Deleted)) => {
                (Some(pod), EventType::Normal, "SuccessfulDelete", format!("Deleted pod: {}", pod.name))
            }
            (Action::DeletePod { .. }, Err(refusal)) => {
                (Some(pod), EventType::Warning, "FailedDelete", format!("Error deleting: {refusal}"))
            }
            _ => return,
        };
        self.executor.events.say(self.daemonset, pod, kind, reason, message);
    }
}

/// What has become of an object.
enum Done {
    /// It is as the API server answered.
    Written(Written),
    /// It is being deleted.
    Deleted,
    /// It was gone before.
    Gone,
}

impl Done {
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

/// All fields of a status: a merge patch leaves out what it does not change, and a planner leaves out what is zero.
fn whole(status: &DaemonSetStatus) -> Value {
    json!({
        "currentNumberScheduled": status.current_number_scheduled,
        "numberMisscheduled": status.number_misscheduled,
        "desiredNumberScheduled": status.desired_number_scheduled,
        "numberReady": status.number_ready,
        "observedGeneration": status.observed_generation,
        "updatedNumberScheduled": status.updated_number_scheduled,
        "numberAvailable": status.number_available,
        "numberUnavailable": status.number_unavailable,
        "collisionCount": status.collision_count,
    })
}

/// What a DaemonSet adopts and releases.
trait Claimable: DeserializeOwned {
    fn uid(&self) -> &Text;
    fn labels(&self) -> &Labels;
    fn controller(&self) -> Option<&ControllerRef>;
    fn is_being_deleted(&self) -> bool;
}

macro_rules! claimable {
    ($($object:ident)+) => {$(
        impl Claimable for $object {
            fn uid(&self) -> &Text {
                &self.uid
            }

            fn labels(&self) -> &Labels {
                &self.labels
            }

            fn controller(&self) -> Option<&ControllerRef> {
                self.controller.as_ref()
            }

            fn is_being_deleted(&self) -> bool {
                self.deleted.is_some()
            }
        }
    )+};
}

claimable! { Pod ControllerRevision }
