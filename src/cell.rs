//! One node's cell: everything that a plan has to know about that node, computed from the node and the claimed pods on it
//! and from nothing else. A [fold](crate::fold) over all cells makes the plan.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::{
    Settings,
    backoff::{Backoff, BackoffKey, Wait},
    explain::PodState,
    member::{Member, Origin, PodIndex, TemplateLabels},
    model::{DaemonSet, Labels, Node, Pod, PodPhase, Readiness, Text, UpdateStrategy},
    placement::{PlacementRules, Verdict},
    reason::{Creation, Deletion},
    resolved::Policy,
    seat::{Seat, Seating},
};

/// What is the same for all cells of a DaemonSet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CellRules<'a> {
    pub(crate) daemonset: &'a DaemonSet,
    pub(crate) placement: &'a PlacementRules,
    pub(crate) policy: &'a Policy,
    pub(crate) hash: &'a Text,
    pub(crate) labels: &'a TemplateLabels,
    pub(crate) now: Option<Timestamp>,
    pub(crate) backoff: &'a Backoff,
    pub(crate) settings: &'a Settings,
}

/// One node's cell. Without work to do it owns no memory.
#[derive(Debug)]
pub(crate) struct Cell {
    pub(crate) counts: Counts,
    pub(crate) standing: Standing,
    /// Whether bound pods are to be garbage-collected, the node being gone.
    pub(crate) collects: bool,
    /// When time alone makes a pod of this node available.
    pub(crate) available_at: Option<Timestamp>,
    /// Its place in an update that keeps to a policy.
    pub(crate) seat: Option<Box<Seat>>,
    pub(crate) work: Option<Box<Work>>,
}

/// What a node adds to the status.
#[allow(clippy::struct_excessive_bools)] // each is counted on its own
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) desired: bool,
    pub(crate) scheduled: bool,
    pub(crate) ready: bool,
    pub(crate) available: bool,
    pub(crate) updated: bool,
}

/// What a node means to a rolling update, by its pods that are not being deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It should run no pod and has none.
    Bystander,
    /// It has none.
    Vacant,
    /// It has several of the old or several of the new template.
    Crowded,
    /// It has a new one.
    New { available: bool },
    /// It has an old one.
    Old { pod: PodIndex, available: bool },
    /// It has an old and a new one.
    Both { old: PodIndex, old_available: bool, new_available: bool },
}

impl Standing {
    /// Whether it has an old pod whose turn may come.
    pub(crate) fn has_old(self) -> bool {
        matches!(self, Self::Old { .. } | Self::Both { .. })
    }
}

/// What is to be done on a node.
#[derive(Debug, Default)]
pub(crate) struct Work {
    pub(crate) create: Option<Creation>,
    /// By the pods' names.
    pub(crate) delete: Vec<(PodIndex, Deletion)>,
    /// Pods to be garbage-collected, by their names.
    pub(crate) collect: Vec<PodIndex>,
    /// How long a Failed pod has to wait.
    pub(crate) wait: Option<Wait>,
    /// When time alone makes the back-off of this node another one.
    pub(crate) backoff_changes_at: Option<Timestamp>,
}

impl CellRules<'_> {
    /// The seat of a node, or of one that is missing, if there is a policy.
    #[inline]
    fn seat(&self, name: &Text, node: Option<&Node>, pods: &[Member<'_>]) -> Option<Box<Seat>> {
        if !self.policy.guides_updates {
            return None;
        }
        let min_ready = SignedDuration::from_secs(self.daemonset.min_ready_seconds.into());
        let seating = Seating { policy: &self.policy.rollout, now: self.now, min_ready };
        Some(Box::new(seating.seat(name, node, pods)))
    }

    pub(crate) fn verdicts(&self, nodes: &[&Node]) -> Vec<Verdict> {
        self.placement.verdicts(nodes)
    }

    pub(crate) fn origin(&self, labels: &Labels) -> Origin {
        self.labels.origin(labels, self.hash)
    }

    /// A claimed pod of the DaemonSet; `None` if it does not count at all: it has ended and is being deleted.
    pub(crate) fn member<'p>(&self, index: PodIndex, pod: &'p Pod, origin: Origin) -> Option<Member<'p>> {
        is_in_a_cell(pod).then(|| Member {
            index,
            pod,
            is_live: !pod.is_being_deleted(),
            is_terminal: pod.is_terminal(),
            is_ready: pod.is_ready(),
            is_available: self.is_available(pod),
            origin,
        })
    }

    /// The cell of `node`, which has these claimed pods. Puts them into order.
    pub(crate) fn cell(&self, node: &Node, verdict: Verdict, pods: &mut Vec<Member<'_>>) -> Cell {
        put_in_order(pods);
        Cell {
            counts: counts(verdict, pods),
            standing: match standing(pods) {
                Standing::Vacant if pods.is_empty() && !verdict.should_run() => Standing::Bystander,
                standing => standing,
            },
            collects: false,
            available_at: self.available_at(pods),
            seat: self.seat(&node.name, Some(node), pods),
            work: self.work(node, verdict, pods),
        }
    }

    /// The cell of a node that does not exist, but has claimed pods.
    pub(crate) fn cell_without_node(&self, name: &Text, pods: &mut Vec<Member<'_>>) -> Cell {
        put_in_order(pods);
        let (bound, mut unbound): (Vec<Member<'_>>, Vec<_>) =
            pods.iter().partition(|member| member.pod.node.is_bound());
        let mut bound: Vec<_> =
            if self.settings.collect_pods_on_missing_nodes { live(&bound).collect() } else { Vec::new() };
        for pods in [&mut unbound, &mut bound] {
            pods.sort_by_key(|member| &member.pod.name);
        }
        let delete: Vec<_> = unbound.iter().map(|member| (member.index, Deletion::NodeGone)).collect();
        let collect: Vec<_> = bound.iter().map(|member| member.index).collect();
        Cell {
            counts: Counts::default(),
            standing: standing(pods),
            collects: !collect.is_empty(),
            available_at: self.available_at(pods),
            seat: self.seat(name, None, pods),
            work: (!delete.is_empty() || !collect.is_empty())
                .then(|| Box::new(Work { delete, collect, ..Work::default() })),
        }
    }

    /// What a pod is doing.
    pub(crate) fn state(&self, member: &Member<'_>) -> PodState {
        match (member.pod.phase, member.pod.ready) {
            _ if !member.is_live => PodState::Deleting,
            (PodPhase::Succeeded, _) => PodState::Succeeded,
            (PodPhase::Failed, _) => PodState::Failed,
            _ if member.is_available => PodState::Available,
            (_, Readiness::Ready { since }) => {
                let at = self.becomes_available(since).zip(self.now);
                let available_after = at.and_then(|(at, now)| Duration::try_from(at.duration_since(now)).ok());
                PodState::Ready { available_after }
            }
            (PodPhase::Pending, _) => PodState::Pending,
            _ => PodState::NotReady,
        }
    }

    fn work(&self, node: &Node, verdict: Verdict, pods: &[Member<'_>]) -> Option<Box<Work>> {
        let mut work = None;
        match verdict {
            Verdict::Run if pods.is_empty() => match self.refusal(&node.name) {
                Some((wait, changes_at)) => {
                    (some(&mut work).wait, some(&mut work).backoff_changes_at) = (Some(wait), changes_at);
                }
                None => some(&mut work).create = Some(Creation::NoPod),
            },
            Verdict::Refuse => {
                for member in live(pods) {
                    let placement = self.placement.reason(node);
                    some(&mut work).delete.push((member.index, Deletion::NotPlaced { placement }));
                }
            }
            // One that runs is left alone.
            _ if matches!(pods, [only] if only.is_live && !only.is_terminal) => {}
            Verdict::Run | Verdict::Keep => {
                self.remove_ended(node, pods, &mut work);
                let mut running = live(pods).filter(|member| !member.is_terminal);
                if !self.surges() {
                    keep_one(running.next(), running, &mut work);
                } else if let Some(first) = running.next() {
                    keep_pair(first, running, &mut work);
                } else if verdict.should_run() {
                    some(&mut work).create = Some(Creation::NoLivePod);
                }
            }
        }
        if let Some(work) = &mut work {
            let name = |index| pods.iter().find(|member| member.index == index).map(|member| &member.pod.name);
            work.delete.sort_by_key(|(index, _)| name(*index));
        }
        work
    }

    /// Deletes pods that have ended: all that Succeeded, and one that Failed unless it is in back-off.
    fn remove_ended(&self, node: &Node, pods: &[Member<'_>], work: &mut Option<Box<Work>>) {
        for succeeded in live(pods).filter(|member| member.pod.phase == PodPhase::Succeeded) {
            some(work).delete.push((succeeded.index, Deletion::Succeeded));
        }
        let failed = live(pods).filter(|member| member.pod.phase == PodPhase::Failed);
        let mut deleted = None;
        for (member, key) in failed.map(|member| (member, self.backoff_key(&node.name, member.pod))) {
            let work = some(work);
            let mut wait = self.backoff.wait(&key, self.now);
            work.backoff_changes_at =
                work.backoff_changes_at.into_iter().chain(self.backoff.changes_at(&key, self.now)).min();
            if deleted.as_ref() == Some(&key) {
                // Deleting the first one starts the back-off, in which this one is.
                wait = Some(Wait::For(self.backoff.next_delay(&key, self.now)));
            } else if wait.is_none() && deleted.is_none() {
                work.delete.push((member.index, Deletion::Failed));
                deleted = Some(key);
            }
            work.wait = work.wait.into_iter().chain(wait).min_by_key(|wait| wait.at(self.now));
        }
    }

    /// What the back-off of a Failed pod goes by.
    fn backoff_key(&self, node: &Text, pod: &Pod) -> BackoffKey {
        self.policy.backoff_key(self.daemonset, node, pod)
    }

    /// How long no pod is created on a node, as the API server refused to.
    fn refusal(&self, node: &Text) -> Option<(Wait, Option<Timestamp>)> {
        if !self.policy.rollout.backoff_by_reason {
            return None;
        }
        let key = Backoff::key(self.daemonset, node).because(BackoffKey::REFUSED);
        Some((self.backoff.wait(&key, self.now)?, self.backoff.changes_at(&key, self.now)))
    }

    /// Whether the DaemonSet's update surges at all: a maxSurge that comes to more than 0 out of 1.
    fn surges(&self) -> bool {
        match self.daemonset.update_strategy {
            UpdateStrategy::OnDelete => false,
            UpdateStrategy::RollingUpdate { max_surge, .. } => max_surge.of(1) > 0,
        }
    }

    /// Whether the pod has been ready for `minReadySeconds`. Without a clock nobody can tell, unless that is 0.
    fn is_available(&self, pod: &Pod) -> bool {
        let Readiness::Ready { since } = pod.ready else { return false };
        self.daemonset.min_ready_seconds == 0
            || self.becomes_available(since).is_some_and(|at| self.now.is_some_and(|now| at <= now))
    }

    fn becomes_available(&self, since: Option<Timestamp>) -> Option<Timestamp> {
        let seconds = SignedDuration::from_secs(self.daemonset.min_ready_seconds.into());
        // A time beyond the year 9999 never comes.
        since?.checked_add(seconds).ok()
    }

    /// When the first pod that is ready, but not yet available, becomes available.
    #[inline]
    fn available_at(&self, pods: &[Member<'_>]) -> Option<Timestamp> {
        if self.daemonset.min_ready_seconds == 0 {
            return None;
        }
        let waiting = pods.iter().filter(|member| !member.is_available);
        let times = waiting.filter_map(|member| match member.pod.ready {
            Readiness::Ready { since } => self.becomes_available(since),
            Readiness::NotReady => None,
        });
        times.min()
    }
}

/// Whether a claimed pod counts at all: not if it has ended and is being deleted.
pub(crate) fn is_in_a_cell(pod: &Pod) -> bool {
    !(pod.is_terminal() && pod.is_being_deleted())
}

/// What the node adds to the status: its first pod stands for all.
fn counts(verdict: Verdict, pods: &[Member<'_>]) -> Counts {
    let desired = verdict.should_run();
    match pods.first() {
        Some(first) if desired => Counts {
            desired,
            scheduled: true,
            ready: first.is_ready,
            available: first.is_available,
            updated: first.origin.is_updated,
        },
        first => Counts { desired, scheduled: first.is_some(), ..Counts::default() },
    }
}

/// What the pods that are not being deleted mean to an update.
fn standing(pods: &[Member<'_>]) -> Standing {
    let (mut old, mut new) = (None, None);
    for member in live(pods) {
        let slot = if member.origin.is_updated { &mut new } else { &mut old };
        if slot.replace(member).is_some() {
            return Standing::Crowded;
        }
    }
    match (old, new) {
        (None, None) => Standing::Vacant,
        (None, Some(new)) => Standing::New { available: new.is_available },
        (Some(old), None) => Standing::Old { pod: old.index, available: old.is_available },
        (Some(old), Some(new)) => {
            Standing::Both { old: old.index, old_available: old.is_available, new_available: new.is_available }
        }
    }
}

fn some(work: &mut Option<Box<Work>>) -> &mut Work {
    work.get_or_insert_default()
}

/// Without surge, one running pod stays.
fn keep_one<'p>(kept: Option<Member<'p>>, others: impl Iterator<Item = Member<'p>>, work: &mut Option<Box<Work>>) {
    let Some(kept) = kept else { return };
    for other in others {
        some(work).delete.push((other.index, Deletion::Duplicate { kept: kept.pod.name.clone() }));
    }
}

/// With surge, one of the current and one of another hash stay, until the new one can do without the old.
fn keep_pair<'p>(first: Member<'p>, others: impl Iterator<Item = Member<'p>>, work: &mut Option<Box<Work>>) {
    let (mut old, mut new) = (None::<Member<'_>>, None::<Member<'_>>);
    for member in std::iter::once(first).chain(others) {
        match if member.origin.has_current_hash { &mut new } else { &mut old } {
            Some(kept) => {
                some(work).delete.push((member.index, Deletion::Duplicate { kept: kept.pod.name.clone() }));
            }
            slot => *slot = Some(member),
        }
    }
    if let (Some(old), Some(new)) = (old, new) {
        if !old.is_ready {
            some(work).delete.push((old.index, Deletion::SurgeOldNotReady));
        } else if new.is_available {
            some(work).delete.push((old.index, Deletion::SurgeFinished));
        }
    }
}

/// Those that are not being deleted.
fn live<'a, 'p>(pods: &'a [Member<'p>]) -> impl Iterator<Item = Member<'p>> + 'a {
    pods.iter().copied().filter(|member| member.is_live)
}

/// Bound ones first, then the oldest, then by name; each once.
#[inline]
fn put_in_order(pods: &mut Vec<Member<'_>>) {
    if pods.len() < 2 {
        return;
    }
    pods.sort_by(|a, b| {
        let key = |pod: &Pod| (!pod.node.is_bound(), pod.created);
        key(a.pod).cmp(&key(b.pod)).then_with(|| (&a.pod.name, a.index).cmp(&(&b.pod.name, b.index)))
    });
    pods.dedup_by(|a, b| a.pod.name == b.pod.name);
}
