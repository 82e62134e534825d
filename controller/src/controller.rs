//! The controller: watches feed the state, workers carry out the plans.

use std::{
    collections::HashMap,
    fmt,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context;
use daemonplan::{
    Key, Kind,
    model::{ControllerRevision, DaemonSet, Namespace, Node, Pod, Resource, Text},
};
use futures::StreamExt;
use kube::{
    Client,
    runtime::{WatchStreamExt, watcher},
};
use tokio::{
    net::TcpListener,
    sync::{Semaphore, watch},
    task::JoinSet,
    time,
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use crate::{
    api::{Server, reasons},
    config::Config,
    events::{self, Events},
    executor::{Executor, Gate},
    job::{Failure, Job, pod_name},
    leader::{Candidate, Role},
    metrics::{ActionLabels, DaemonSetLabels, KindLabel, Metrics},
    scope::Scope,
    shared::Shared,
    state::{Moment, State},
    watched::{self, Watch},
    web,
};

/// How long a shutdown waits for jobs in flight.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(25);

/// How long to wait before listing again after a version expired.
const RELIST: Duration = Duration::from_secs(1);

/// How often the dispatcher records that it is alive.
const HEARTBEAT: Duration = Duration::from_secs(10);

/// A controller that is bound to its address and not yet running.
pub struct Controller {
    config: Config,
    client: Client,
    listener: TcpListener,
    shared: Arc<Shared>,
    metrics: Arc<Metrics>,
}

impl fmt::Debug for Controller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Controller").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Controller {
    /// Creates a controller for the cluster of `client` and binds its address.
    ///
    /// # Errors
    /// If flags are inconsistent, or the address cannot be bound.
    pub async fn new(config: Config, client: Client) -> anyhow::Result<Self> {
        let (settings, scope) = (config.settings()?, Scope::of(&config));
        let state = State::new(settings, scope, config.collect_garbage, config.dry_run, config.status_delay);
        let state = if config.explain_pending { state.with_scheduling() } else { state };
        let listener = TcpListener::bind(config.listen).await;
        let listener = listener.with_context(|| format!("--listen {}", config.listen))?;
        Ok(Self { config, client, listener, shared: Arc::new(Shared::new(state)), metrics: Arc::default() })
    }

    /// Returns the address of the web page and the metrics.
    ///
    /// # Errors
    /// If the operating system cannot tell the socket's address.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Runs until `stop` is cancelled, then finishes the jobs in flight and releases the lease.
    ///
    /// # Errors
    /// If a watch, a worker, the election or the web server ends unexpectedly.
    pub async fn run(self, stop: CancellationToken) -> anyhow::Result<()> {
        let Self { config, client, listener, shared, metrics } = self;
        let alone = config.no_leader_election || config.dry_run;
        let (role, roles) = watch::channel(if alone { Role::Leader { term: 1 } } else { Role::Unknown });
        let idle = CancellationToken::new();
        let (events, notes) = Events::new(Arc::clone(&metrics));
        let executor = Arc::new(Executor {
            server: Server::new(client.clone(), config.request_timeout),
            shared: Arc::clone(&shared),
            events,
            metrics: Arc::clone(&metrics),
            gate: Gate { role: roles, stop: stop.clone() },
            writes: Semaphore::new(config.writes),
        });
        let site = axum::serve(listener, web::site(Arc::clone(&shared), Arc::clone(&metrics)));
        let emitter = tokio::spawn(events::emit(client.clone(), notes, metrics, config.request_timeout));
        let election = tokio::spawn({
            let candidate = (!alone).then(|| Candidate::new(client.clone(), &config));
            let (stop, idle) = (stop.clone(), idle.clone());
            async move {
                match candidate {
                    Some(candidate) => candidate.run(role, stop, idle).await,
                    None => idle.cancelled().await,
                }
            }
        });
        let outcome = tokio::select! {
            outcome = dispatch(&executor, &config, &client) => outcome,
            ended = site => ended.context("the web server ended unexpectedly"),
        };
        stop.cancel();
        idle.cancel();
        drop(executor); // closes the queue of Events
        let finished = async { drop((election.await, emitter.await)) };
        if time::timeout(SHUTDOWN_TIMEOUT, finished).await.is_err() {
            warn!("shutdown timed out");
        }
        outcome
    }
}

/// Starts a watch of every kind, each with a new list; of several namespaces, one for each.
fn watch_all(executor: &Executor, config: &Config, client: &Client, watches: &mut JoinSet<()>) {
    let namespaces = executor.shared.state().scope().namespaces().to_vec();
    let namespaces = if namespaces.is_empty() { vec![Text::default()] } else { namespaces };
    watches.spawn(watch_kind::<Node>(executor, config, client, &Text::default()));
    for namespace in &namespaces {
        watches.spawn(watch_kind::<Namespace>(executor, config, client, namespace));
        watches.spawn(watch_kind::<ControllerRevision>(executor, config, client, namespace));
        watches.spawn(watch_kind::<Pod>(executor, config, client, namespace));
        watches.spawn(watch_kind::<DaemonSet>(executor, config, client, namespace));
    }
}

/// Watches one kind in a namespace, or in all (`""`), and applies its events to the state.
fn watch_kind<T: Watch>(
    executor: &Executor,
    config: &Config,
    client: &Client,
    namespace: &Text,
) -> impl Future<Output = ()> + use<T> {
    let only = Some(namespace.as_str()).filter(|namespace| !namespace.is_empty());
    let mut settings = watcher::Config::default().page_size(config.page_size);
    settings.label_selector = config.selector.clone().filter(|_| T::KIND == Kind::DaemonSet);
    let own = only.filter(|_| T::KIND == Kind::Namespace);
    settings.field_selector = own.map(|namespace| format!("metadata.name={namespace}"));
    let api = watched::api::<T>(client, only);
    let namespace = namespace.clone();
    let (shared, metrics) = (Arc::clone(&executor.shared), Arc::clone(&executor.metrics));
    async move {
        loop {
            let mut events = std::pin::pin!(watcher(api.clone(), settings.clone()).default_backoff());
            while let Some(event) = events.next().await {
                let error = match event {
                    Ok(event) => {
                        handle_event::<T>(&namespace, event, &shared, &metrics);
                        continue;
                    }
                    Err(error) => error,
                };
                metrics.watch_errors.get_or_create(&KindLabel::of::<T>()).inc();
                warn!(kind = ?T::KIND, error = reasons(&error), "watch failed, retrying");
                // kube's watcher lists again if a running watch expires. If the start of a watch does, it retries
                // forever.
                if matches!(&error, watcher::Error::WatchStartFailed(kube::Error::Api(status)) if status.code == 410) {
                    break;
                }
            }
            time::sleep(RELIST).await;
        }
    }
}

fn handle_event<T: Watch>(
    namespace: &Text,
    event: watcher::Event<watched::Watched<T>>,
    shared: &Shared,
    metrics: &Metrics,
) {
    metrics.watch_events.get_or_create(&KindLabel::of::<T>()).inc();
    let now = Moment::now();
    let (shown, unreadable) = shared.state().observe(namespace, event, now);
    for written in shown.iter().filter_map(|shown| shown.written) {
        metrics.lagged(now.instant.saturating_duration_since(written));
    }
    if let Some((key, reason)) = unreadable {
        metrics.unreadable.get_or_create(&KindLabel::of::<T>()).inc();
        error!(kind = ?T::KIND, namespace = %key.namespace, name = %key.name, reason, "object is invalid, ignored");
    }
    shared.touch();
}

/// Starts jobs for DaemonSets that are ready, until shutdown, then waits for the jobs in flight.
async fn dispatch(executor: &Arc<Executor>, config: &Config, client: &Client) -> anyhow::Result<()> {
    let Executor { shared, gate, metrics, .. } = &**executor;
    let mut roles = gate.role.clone();
    let mut role = Role::Unknown;
    let (mut watches, mut jobs) = (JoinSet::new(), JoinSet::new());
    let mut log = DryRunLog::default();
    while !gate.stop.is_cancelled() {
        shared.beat();
        let before = std::mem::replace(&mut role, *roles.borrow_and_update());
        let leads = matches!(role, Role::Leader { .. });
        metrics.leads.set(i64::from(leads));
        if role != before && (leads || before == Role::Unknown) {
            // The watches may not show the previous leader's last writes yet; a new list does.
            watches.shutdown().await;
            shared.state().forget_lists();
            watch_all(executor, config, client, &mut watches);
        }
        let mut next_wakeup = None;
        if leads {
            if start_jobs(executor, config, role, &mut jobs, &mut log) {
                tokio::task::yield_now().await;
                continue;
            }
            next_wakeup = shared.state().next_wakeup(Moment::now());
        }
        let wake = next_wakeup.map_or(HEARTBEAT, |at| at.saturating_duration_since(Instant::now())).min(HEARTBEAT);
        tokio::select! {
            () = shared.changed() => {}
            () = time::sleep(wake) => {}
            Some(done) = jobs.join_next() => finish(shared, metrics, done)?,
            Some(_) = watches.join_next() => anyhow::bail!("a watch ended unexpectedly"),
            Ok(()) = roles.changed() => {}
            () = gate.stop.cancelled() => {}
        }
    }
    while let Some(done) = jobs.join_next().await {
        finish(shared, metrics, done)?;
    }
    Ok(())
}

type FinishedJob = (Job, Result<(), Failure>);

fn finish(shared: &Shared, metrics: &Metrics, done: Result<FinishedJob, tokio::task::JoinError>) -> anyhow::Result<()> {
    let (job, outcome) = done.context("a worker panicked")?;
    if outcome.is_err() {
        metrics.failed_attempts.get_or_create(&DaemonSetLabels::of(&job.daemonset.key())).inc();
    }
    shared.state().finish(&job, outcome, Moment::now());
    Ok(())
}

/// Starts as many jobs as workers are free. Returns whether it planned anything.
fn start_jobs(
    executor: &Arc<Executor>,
    config: &Config,
    role: Role,
    jobs: &mut JoinSet<FinishedJob>,
    log: &mut DryRunLog,
) -> bool {
    let Executor { shared, metrics, events, .. } = &**executor;
    let (ready, expired) = shared.state().ready(Moment::now());
    for (kind, key, shown) in expired {
        metrics.never_shown.inc();
        warn!(?kind, namespace = %key.namespace, name = %key.name, daemonset = %shown.daemonset.name, "write never shown");
    }
    let mut started = false;
    for key in ready {
        if jobs.len() >= config.workers {
            break;
        }
        let start = Instant::now();
        let job = shared.state().start(&key, Moment::now(), pod_name);
        metrics.plan_time.observe(start.elapsed().as_secs_f64());
        let Some(job) = job else { continue };
        metrics.plans.inc();
        started = true;
        log_plan(&job);
        if config.dry_run {
            log.note(&job, metrics);
        }
        if config.dry_run || job.steps.is_empty() {
            shared.state().finish(&job, Ok(()), Moment::now());
            continue;
        }
        for event in &job.events {
            events.record(&job.daemonset, None, event.r#type, event.reason, event.message.clone());
        }
        let executor = Arc::clone(executor);
        jobs.spawn(async move {
            let outcome = executor.carry_out(&job, role).await;
            (job, outcome)
        });
    }
    started
}

fn log_plan(job: &Job) {
    let DaemonSet { namespace, name, .. } = &job.daemonset;
    for warning in &job.news {
        warn!(%namespace, daemonset = %name, "{warning}");
    }
    for step in &job.steps {
        debug!(%namespace, daemonset = %name, action = %step.action, object = %step.key.name, "planned");
    }
}

/// The plans that a dry run has logged, to log each only once.
#[derive(Default)]
struct DryRunLog(HashMap<Key, Vec<String>>);

impl DryRunLog {
    fn note(&mut self, job: &Job, metrics: &Metrics) {
        let DaemonSet { namespace, name, .. } = &job.daemonset;
        let plan: Vec<_> = job.steps.iter().map(|step| step.action.to_string()).collect();
        let key = Key::new(namespace.clone(), name.clone());
        if self.0.insert(key, plan.clone()).is_some_and(|before| before == plan) {
            return;
        }
        for (step, action) in job.steps.iter().zip(&plan) {
            let (action_code, reason) = (step.action.code(), step.action.reason_code());
            let labels = ActionLabels { action: action_code, reason, result: "dry-run" };
            metrics.actions.get_or_create(&labels).inc();
            info!(%namespace, daemonset = %name, action, "dry run");
        }
    }
}
