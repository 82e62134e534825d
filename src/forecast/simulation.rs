//! A DaemonSet's cluster in which time passes: plans are carried out, pods start and stop, nobody else does anything.

use std::{collections::BTreeMap, mem, time::Duration};

use jiff::{SignedDuration, Timestamp};
use oorandom::Rand64;

use crate::forecast::assumptions::{Assumptions, rng};
use crate::{
    cluster::Cluster,
    context::SyncMode,
    explain::{Explanation, PodExplanation, PodState},
    history::rollback,
    model::{
        ControllerRef, ControllerRevision, DaemonSet, HASH_LABEL, Key, Kind, Node, ObjectRef, Pod, PodNode, PodPhase,
        PodProblem, Readiness, Taint, Text,
    },
    placement::Verdict,
    plan::{Action, CreateReason, DeleteReason, Plan},
    planner::Snapshot,
    policy::{RolloutPhase, RolloutStatus},
};

/// One DaemonSet, its nodes and its pods, played forward until nothing is left to happen.
pub(crate) struct Simulation<'a> {
    assumptions: &'a Assumptions,
    daemonset: &'a DaemonSet,
    cluster: Cluster,
    key: Key,
    began: Timestamp,
    now: Timestamp,
    /// What is going to happen, and the number by which it was scheduled.
    queue: BTreeMap<(Timestamp, usize), SimEvent>,
    scheduled: usize,
    /// How many pods and how many revisions were created.
    created: usize,
    revised: usize,
    pub(crate) sites: BTreeMap<Text, SimulatedNode>,
    tally: StateCounts,
    /// How the tally went.
    pub(crate) moments: Vec<Moment>,
    pub(crate) turns: Vec<NodeStep>,
    /// The most nodes at a time that had an available pod at the beginning and were without one, though they should run one.
    pub(crate) most_lost: usize,
    lost: usize,
    /// Where the update stands, if it keeps to a policy.
    pub(crate) rollout: Option<RolloutStatus>,
    pub(crate) was_rolled_back: bool,
    /// The hash that up-to-date pods carry.
    hash: Text,
}

/// How a simulation ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EndState {
    /// Nothing is left to happen.
    Quiet,
    /// Pods are created without end.
    Restless,
    /// The horizon was reached.
    Unfinished,
}

/// A node, or the name of one that is missing, and the DaemonSet's pods there.
#[derive(Debug)]
pub(crate) struct SimulatedNode {
    pub(crate) verdict: Verdict,
    pub(crate) exists: bool,
    /// That the node is not in order, so that no pod starts or stops there.
    pub(crate) taint: Option<Taint>,
    /// The pods that were there at the beginning and not being deleted.
    pub(crate) before: Vec<Text>,
    pub(crate) pods: Vec<SimulatedPod>,
    /// Why a pod was last created here.
    pub(crate) creation: Option<CreateReason>,
    /// Why a pod was last deleted here.
    pub(crate) deletion: Option<DeleteReason>,
    standing: SimulatedState,
    /// Whether it had an available pod at the beginning.
    was_available: bool,
    /// How often its rng was drawn.
    drawn: usize,
    /// The turn that it is in.
    turn: Option<usize>,
}

/// A pod as far as it matters here.
#[allow(clippy::struct_excessive_bools)] // each is asked for on its own
#[derive(Clone, Debug)]
pub(crate) struct SimulatedPod {
    pub(crate) name: Text,
    pub(crate) is_new: bool,
    pub(crate) is_available: bool,
    pub(crate) is_going: bool,
    /// Whether it is assumed not to start.
    pub(crate) fails: bool,
}

/// What a site counts as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SimulatedState {
    /// No pod should run there.
    Aside,
    Unavailable,
    Old,
    New,
}

/// How many nodes that should run a pod have an available one of an older template only, an up-to-date one, or none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct StateCounts {
    pub(crate) old: usize,
    pub(crate) new: usize,
    pub(crate) unavailable: usize,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub(crate) after: Duration,
    pub(crate) tally: StateCounts,
}

/// What the controller does on a node, from its first action there until all is well again.
#[derive(Debug)]
pub(crate) struct NodeStep {
    pub(crate) node: Text,
    pub(crate) is_update: bool,
    /// The group whose turn it is, by a policy.
    pub(crate) group: Option<Text>,
    pub(crate) begins: Duration,
    pub(crate) ends: Option<Duration>,
}

#[derive(Debug)]
enum SimEvent {
    Ready(Text, Text),
    Crashes(Text),
    Available(Text, Text),
    Gone(Text, Text),
}

impl<'a> Simulation<'a> {
    pub(crate) fn new(snapshot: &Snapshot<'a>, assumptions: &'a Assumptions) -> Self {
        let daemonset = snapshot.daemonset;
        let own = || snapshot.pods.iter().filter(|pod| pod.namespace == daemonset.namespace);
        let known = own().flat_map(|pod| {
            let Readiness::Ready { since } = pod.ready else { return [pod.created, pod.deleted] };
            [pod.created.max(since), pod.deleted]
        });
        let now = snapshot.now.unwrap_or_else(|| known.flatten().max().unwrap_or_default());
        let mut cluster = Cluster::new(snapshot.settings.cloned().unwrap_or_default());
        cluster.resync(Kind::Node, snapshot.nodes.iter().cloned());
        cluster.resync(Kind::ControllerRevision, snapshot.revisions.unwrap_or_default().iter().cloned());
        cluster.apply(daemonset.clone());
        own().for_each(|pod| cluster.apply(pod.clone()));
        cluster.apply(snapshot.namespace.clone());
        let backoff = snapshot.backoff.iter().flat_map(|backoff| backoff.iter());
        cluster.update_backoff(backoff.map(|(key, entry)| (key.clone(), *entry)), now);
        let mut simulation = Self {
            assumptions,
            daemonset,
            cluster,
            key: Key::new(daemonset.namespace.clone(), daemonset.name.clone()),
            began: now,
            now,
            queue: BTreeMap::new(),
            scheduled: 0,
            created: 0,
            revised: 0,
            sites: BTreeMap::new(),
            tally: StateCounts::default(),
            moments: Vec::new(),
            turns: Vec::new(),
            most_lost: 0,
            lost: 0,
            rollout: None,
            was_rolled_back: false,
            hash: snapshot.compile().context().hash().clone(),
        };
        simulation.settle_in(snapshot.at(now).explain(), snapshot.nodes, SyncMode::of(daemonset));
        simulation
    }

    /// Takes over what there is.
    fn settle_in(&mut self, explanation: Explanation, nodes: &[Node], course: SyncMode) {
        let taints = nodes.iter().filter_map(|node| {
            let taint = node.taints.iter().find(|taint| taint.stops_pods())?;
            Some((&node.name, taint))
        });
        let mut taints: BTreeMap<_, _> = taints.filter(|_| self.assumptions.nodes_stay).collect();
        for explained in explanation.nodes {
            let verdict = if course == SyncMode::Reconcile { explained.verdict } else { Verdict::Keep };
            let site = SimulatedNode {
                verdict,
                exists: explained.exists,
                taint: taints.remove(&explained.node).cloned(),
                before: Vec::new(),
                pods: Vec::new(),
                creation: None,
                deletion: None,
                standing: SimulatedState::Aside,
                was_available: false,
                drawn: 0,
                turn: None,
            };
            let node = explained.node.clone();
            self.sites.insert(node.clone(), site);
            for pod in explained.pods {
                self.take_over(&node, pod);
            }
            self.change(&node, |site| {
                let live = site.pods.iter().filter(|pod| !pod.is_going);
                site.before = live.map(|pod| pod.name.clone()).collect();
            });
            if let Some(site) = self.sites.get_mut(&node) {
                site.was_available = matches!(site.standing, SimulatedState::Old | SimulatedState::New);
            }
        }
        self.note_moment();
    }

    fn take_over(&mut self, node: &Text, PodExplanation { pod: name, revision, state, .. }: PodExplanation) {
        let pod = SimulatedPod {
            name: name.clone(),
            is_new: revision.is_current,
            is_available: state == PodState::Available,
            is_going: state == PodState::Deleting,
            fails: false,
        };
        let known = self.cluster.pod(&self.key_of(&name));
        let (created, deleted) = known.map_or((None, None), |pod| (pod.created, pod.deleted));
        let is_recent = |since: Option<Timestamp>| {
            let age = since.and_then(|since| Duration::try_from(self.now.duration_since(since)).ok());
            age.is_none_or(|age| age < self.assumptions.patience)
        };
        match state {
            PodState::Deleting if is_recent(deleted) => self.schedule_end(node, &name),
            PodState::Pending | PodState::NotReady if is_recent(created) => self.schedule_start(node, &name, false),
            PodState::Ready { available_after: Some(after) } => {
                self.schedule(after, SimEvent::Available(node.clone(), name));
            }
            _ => {}
        }
        self.change(node, |site| site.pods.push(pod));
    }

    /// Lets things happen until nothing is left.
    pub(crate) fn run(&mut self) -> EndState {
        let end = self.began.checked_add(signed(self.assumptions.horizon)).unwrap_or(Timestamp::MAX);
        loop {
            if !self.carry_out_plans() {
                return EndState::Restless;
            }
            let next = self.queue.first_key_value().map(|((at, _), _)| *at);
            match next.into_iter().chain(self.cluster.next_stale_after(self.now)).min() {
                None => return EndState::Quiet,
                Some(at) if at > end => return EndState::Unfinished,
                Some(at) => self.now = self.now.max(at),
            }
            // What is scheduled from now on happens after the next plans.
            let later = self.queue.split_off(&(self.now, usize::MAX));
            for happening in mem::replace(&mut self.queue, later).into_values() {
                self.happen(happening);
            }
            self.note_moment();
        }
    }

    /// How long it has taken so far.
    pub(crate) fn elapsed(&self) -> Duration {
        Duration::try_from(self.now.duration_since(self.began)).unwrap_or_default()
    }

    /// Plans, and does what the plan says, until it says nothing; `false` if that has no end.
    fn carry_out_plans(&mut self) -> bool {
        // Each node gets a pod, and once more in an update, and the template a revision; whoever needs many more does not
        // get anywhere.
        let enough = 4 * self.sites.len() + 100;
        loop {
            let Some(plan) = self.cluster.plan(&self.key, self.now) else { return true };
            let Plan { mut actions, backoff, rollout, hash, .. } = plan;
            self.rollout = rollout;
            self.judge_by(hash);
            actions.retain(|action| !matches!(action, Action::UpdateStatus { .. }));
            if actions.is_empty() {
                return true;
            }
            self.cluster.update_backoff(backoff, self.now);
            for action in actions {
                self.carry_out(action);
            }
            self.note_moment();
            if self.created > enough || self.revised > 10 {
                return false;
            }
        }
    }

    /// Looks anew which pods are up to date, once the template is another one.
    fn judge_by(&mut self, hash: Text) {
        if mem::replace(&mut self.hash, hash) == self.hash {
            return;
        }
        let nodes: Vec<_> = self.sites.keys().cloned().collect();
        for node in nodes {
            let pods = self.sites.get(&node).into_iter().flat_map(|site| &site.pods);
            let label = |name: &Text| self.cluster.pod(&self.key_of(name))?.labels.get(HASH_LABEL).map(Text::from);
            let are_new: Vec<bool> = pods.map(|pod| label(&pod.name).as_ref() == Some(&self.hash)).collect();
            self.change(&node, |site| {
                site.pods.iter_mut().zip(are_new).for_each(|(pod, is_new)| pod.is_new = is_new);
            });
        }
    }

    fn carry_out(&mut self, action: Action) {
        match action {
            Action::AdoptPod { pod } => {
                let owner = self.owner();
                self.edit(&pod.name, |pod| pod.controller = Some(owner));
            }
            Action::ReleasePod { pod, .. } => {
                self.edit(&pod.name, |pod| pod.controller = None);
                let on = |site: &SimulatedNode| site.pods.iter().any(|daemon| daemon.name == pod.name);
                if let Some(node) = self.sites.iter().find(|(_, site)| on(site)).map(|(node, _)| node.clone()) {
                    self.change(&node, |site| site.lose(&pod.name));
                }
            }
            Action::RelabelPod { pod, hash } => {
                self.edit(&pod.name, |pod| pod.labels = pod.labels.with(HASH_LABEL, hash));
            }
            Action::RollBack { revision, .. } => {
                self.was_rolled_back = true;
                let daemonset = self.cluster.daemonset(&self.key);
                if let Some(Ok(before)) = daemonset.map(|daemonset| rollback(daemonset, &revision)) {
                    self.cluster.apply(before);
                }
            }
            Action::CreatePod { node, blueprint, reason } => {
                self.created += 1;
                let name = Text::from(format!("{}-forecast-{}", self.daemonset.name, self.created));
                let mut pod = blueprint.pod(node.clone(), name.clone());
                pod.uid = name;
                self.create(&node, pod, reason);
            }
            Action::DeletePod { pod, node: Some(node), reason } => self.delete(&node, &pod.name, reason),
            Action::DeletePod { pod, node: None, .. } => self.cluster.delete(Kind::Pod, &self.key_of(&pod.name)),
            Action::CreateRevision { revision } => {
                self.revised += 1;
                self.cluster.apply(*revision);
            }
            Action::DeleteRevision { revision, .. } => {
                self.cluster.delete(Kind::ControllerRevision, &self.key_of(&revision.name));
            }
            Action::AdoptRevision { revision } => {
                let owner = self.owner();
                self.edit_revision(&revision, |revision| revision.controller = Some(owner));
            }
            Action::ReleaseRevision { revision, .. } => {
                self.edit_revision(&revision, |revision| revision.controller = None);
            }
            Action::UpdateRevision { revision, number, hash, .. } => self.edit_revision(&revision, |revision| {
                revision.revision = number;
                revision.labels = revision.labels.with(HASH_LABEL, hash);
            }),
            Action::UpdateStatus { .. } => {}
        }
    }

    fn create(&mut self, node: &Text, mut pod: Pod, reason: CreateReason) {
        pod.created = Some(self.now);
        pod.node = PodNode::Bound(node.clone());
        let name = pod.name.clone();
        self.cluster.apply(pod);
        self.open_turn(node, reason.is_update());
        let Assumptions { seed, failure_rate, .. } = *self.assumptions;
        let is_new = reason != CreateReason::HeldBack;
        // The older template is the one that is known to work.
        let may_fail = is_new && !self.was_rolled_back;
        let fails =
            may_fail && self.sites.get_mut(node).is_some_and(|site| site.draw(seed, node).rand_float() < failure_rate);
        self.schedule_start(node, &name, fails);
        self.change(node, |site| {
            site.creation = Some(reason);
            site.pods.push(SimulatedPod { name, is_new, is_available: false, is_going: false, fails });
        });
    }

    fn delete(&mut self, node: &Text, name: &Text, reason: DeleteReason) {
        let known = self.cluster.pod(&self.key_of(name));
        let runs = known.is_some_and(|pod| pod.node.is_bound() && !pod.is_terminal());
        self.open_turn(node, reason.is_update());
        if runs {
            let now = self.now;
            self.edit(name, |pod| pod.deleted = Some(now));
            self.schedule_end(node, name);
        }
        self.change(node, |site| {
            site.deletion = Some(reason);
            site.pods.iter_mut().filter(|pod| pod.name == *name).for_each(|pod| pod.is_going = true);
        });
        if !runs {
            // Nothing has to be stopped.
            self.happen(SimEvent::Gone(node.clone(), name.clone()));
        }
    }

    fn open_turn(&mut self, node: &Text, is_update: bool) {
        let (turns, begins) = (self.turns.len(), self.elapsed());
        let group = match self.rollout.as_ref().map(|rollout| &rollout.phase).filter(|_| is_update) {
            Some(RolloutPhase::CanaryStarting { .. }) => Some("canaries".into()),
            Some(RolloutPhase::Rolling { group }) => group.clone(),
            _ => None,
        };
        if let Some(site) = self.sites.get_mut(node).filter(|site| site.turn.is_none()) {
            site.turn = Some(turns);
            self.turns.push(NodeStep { node: node.clone(), is_update, group, begins, ends: None });
        }
    }

    fn happen(&mut self, happening: SimEvent) {
        let now = self.now;
        match happening {
            SimEvent::Ready(node, name) => {
                self.edit(&name, |pod| {
                    (pod.phase, pod.ready) = (PodPhase::Running, Readiness::Ready { since: Some(now) });
                });
                let after = Duration::from_secs(self.daemonset.min_ready_seconds.into());
                if after.is_zero() {
                    self.happen(SimEvent::Available(node, name));
                } else {
                    self.schedule(after, SimEvent::Available(node, name));
                }
            }
            SimEvent::Crashes(name) => self.edit(&name, |pod| {
                let mut problem = PodProblem::default();
                (problem.waiting, problem.restarts) = ("CrashLoopBackOff".into(), 2);
                (pod.phase, pod.problem) = (PodPhase::Running, Some(Box::new(problem)));
            }),
            SimEvent::Available(node, name) => self.change(&node, |site| {
                site.pods.iter_mut().filter(|pod| pod.name == name).for_each(|pod| pod.is_available = true);
            }),
            SimEvent::Gone(node, name) => {
                self.cluster.delete(Kind::Pod, &self.key_of(&name));
                self.change(&node, |site| site.lose(&name));
            }
        }
    }

    /// Changes a site, counts it anew, and ends its turn once all is well there.
    fn change(&mut self, node: &Text, change: impl FnOnce(&mut SimulatedNode)) {
        let elapsed = self.elapsed();
        let Some(site) = self.sites.get_mut(node) else { return };
        let was_lost = site.is_lost();
        change(site);
        let now = site.standing_now();
        let before = mem::replace(&mut site.standing, now);
        self.lost = self.lost + usize::from(site.is_lost()) - usize::from(was_lost);
        self.most_lost = self.most_lost.max(self.lost);
        self.tally.move_one(before, site.standing);
        let turn = site.turn.and_then(|turn| self.turns.get_mut(turn));
        if let Some(turn) = turn.filter(|turn| site.is_well(turn.is_update)) {
            turn.ends = Some(elapsed);
            site.turn = None;
        }
    }

    fn note_moment(&mut self) {
        let moment = Moment { after: self.elapsed(), tally: self.tally };
        if self.moments.last().is_none_or(|last| last.tally != self.tally) {
            self.moments.push(moment);
        }
    }

    fn schedule_start(&mut self, node: &Text, name: &Text, fails: bool) {
        let Some(site) = self.sites.get_mut(node).filter(|site| site.taint.is_none()) else { return };
        let after = self.assumptions.startup.sample(&mut site.draw(self.assumptions.seed, node));
        let name = name.clone();
        self.schedule(after, if fails { SimEvent::Crashes(name) } else { SimEvent::Ready(node.clone(), name) });
    }

    fn schedule_end(&mut self, node: &Text, name: &Text) {
        let Some(site) = self.sites.get_mut(node).filter(|site| site.taint.is_none()) else { return };
        let after = if site.exists {
            self.assumptions.shutdown.sample(&mut site.draw(self.assumptions.seed, node))
        } else {
            Duration::ZERO
        };
        self.schedule(after, SimEvent::Gone(node.clone(), name.clone()));
    }

    fn schedule(&mut self, after: Duration, happening: SimEvent) {
        // What is beyond all time never happens.
        if let Ok(at) = self.now.checked_add(signed(after)) {
            self.scheduled += 1;
            self.queue.insert((at, self.scheduled), happening);
        }
    }

    fn edit(&mut self, name: &Text, edit: impl FnOnce(&mut Pod)) {
        if let Some(mut pod) = self.cluster.pod(&self.key_of(name)).cloned() {
            edit(&mut pod);
            self.cluster.apply(pod);
        }
    }

    fn edit_revision(&mut self, revision: &ObjectRef, edit: impl FnOnce(&mut ControllerRevision)) {
        if let Some(mut revision) = self.cluster.revision(&self.key_of(&revision.name)).cloned() {
            edit(&mut revision);
            self.cluster.apply(revision);
        }
    }

    fn key_of(&self, name: &Text) -> Key {
        Key::new(self.daemonset.namespace.clone(), name.clone())
    }

    fn owner(&self) -> ControllerRef {
        let DaemonSet { name, uid, .. } = self.daemonset;
        ControllerRef { kind: "DaemonSet".into(), name: name.clone(), uid: uid.clone() }
    }
}

impl SimulatedNode {
    fn standing_now(&self) -> SimulatedState {
        let mut available = self.pods.iter().filter(|pod| pod.is_available && !pod.is_going);
        match (self.verdict, available.clone().any(|pod| pod.is_new)) {
            (Verdict::Keep | Verdict::Refuse, _) => SimulatedState::Aside,
            (Verdict::Run, true) => SimulatedState::New,
            (Verdict::Run, false) if available.next().is_some() => SimulatedState::Old,
            (Verdict::Run, false) => SimulatedState::Unavailable,
        }
    }

    fn is_lost(&self) -> bool {
        self.was_available && self.standing == SimulatedState::Unavailable
    }

    /// Whether there is nothing to be done here: a pod is there, or none, as it should be.
    pub(crate) fn is_well(&self, must_be_new: bool) -> bool {
        match (&*self.pods, self.verdict) {
            ([only], Verdict::Run) => only.is_available && !only.is_going && (only.is_new || !must_be_new),
            (pods, Verdict::Keep) => pods.iter().all(|pod| !pod.is_going),
            (pods, Verdict::Refuse) => pods.is_empty(),
            (_, Verdict::Run) => false,
        }
    }

    fn lose(&mut self, name: &Text) {
        self.pods.retain(|pod| pod.name != *name);
    }

    fn draw(&mut self, seed: u64, node: &str) -> Rand64 {
        self.drawn += 1;
        rng(seed, node, self.drawn)
    }
}

impl StateCounts {
    fn move_one(&mut self, from: SimulatedState, to: SimulatedState) {
        if let Some(count) = self.count(from) {
            *count -= 1;
        }
        if let Some(count) = self.count(to) {
            *count += 1;
        }
    }

    fn count(&mut self, standing: SimulatedState) -> Option<&mut usize> {
        match standing {
            SimulatedState::Aside => None,
            SimulatedState::Old => Some(&mut self.old),
            SimulatedState::New => Some(&mut self.new),
            SimulatedState::Unavailable => Some(&mut self.unavailable),
        }
    }
}

fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}
