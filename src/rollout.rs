//! The rolling update: how many nodes may be without an available pod, or run two, and whose turn it is.
//!
//! Candidates take their turn in the order of their nodes' names, or in the order of a [policy](crate::policy), so that an
//! update can be foretold. How far a policy lets an update go is its [gate](crate::gate).

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::{
    cell::{PodIndex, Standing},
    gate::{Gate, Scope},
    model::{IntOrPercent, Text, UpdateStrategy},
    policy::{GroupKey, GroupPace, RolloutPolicy, Seat},
    reason::{Creation, Deletion},
    tally::{Counted, Tally},
};

/// The nodes whose turn may come in a rolling update. Those whose pods are deleted anyhow, the node being gone, are not
/// among them, nor are those that are away.
#[derive(Debug, Default)]
pub(crate) struct Rollout {
    pub(crate) groups: BTreeMap<GroupKey, Group>,
    /// Old pods whose new ones are available, by node.
    finished: BTreeMap<Text, PodIndex>,
    /// How many nodes have an old pod that is available, and no new one.
    old_available: usize,
    /// What there is to know for policies.
    pub(crate) record: Record,
}

/// What a policy may ask about the nodes that it guides.
#[derive(Debug, Default)]
pub(crate) struct Record {
    /// The hashes of old pods.
    pub(crate) old: BTreeMap<Text, InUse>,
    /// How many nodes have an old pod.
    pub(crate) old_nodes: usize,
    /// How many nodes that should run a pod have a new one.
    pub(crate) updated: usize,
    /// Where the new template fails.
    pub(crate) failing: BTreeSet<Text>,
    /// Since when new pods have been available, on the nodes that are updated: on canaries by label, and on the others.
    pub(crate) canaries: BTreeSet<(Timestamp, Text)>,
    pub(crate) available: BTreeSet<(Timestamp, Text)>,
    /// How many nodes lack an available pod because they are away.
    pub(crate) unavailable_away: usize,
}

/// How many nodes have an old pod of one hash.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct InUse {
    pub(crate) available: usize,
    pub(crate) all: usize,
}

/// Nodes that belong together: all, if no policy says otherwise.
#[derive(Debug, Default)]
pub(crate) struct Group {
    /// Old and available.
    old: Candidates,
    /// Old and not available.
    broken: Candidates,
    /// Those that should run a pod and have none; only with a policy.
    pub(crate) vacant: BTreeSet<Place>,
    /// The count of this group's nodes; only with a policy.
    pub(crate) tally: Tally,
    /// How many of the nodes that are updated should run a pod, and how many of them are not done; only with a policy.
    pub(crate) members: usize,
    pub(crate) unfinished: usize,
}

/// A node's place in the order of its group: its rank, and its name.
type Place = (i64, Text);

/// Old pods by node.
type Queue = BTreeMap<Place, PodIndex>;

#[derive(Debug, Default)]
struct Candidates {
    desired: Queue,
    /// Those on nodes that should not run one.
    unwanted: Queue,
}

/// What an update asks for.
#[derive(Debug, Default)]
pub(crate) struct Steps<'a> {
    pub(crate) create: Wanted<(&'a Text, Creation)>,
    pub(crate) delete: Wanted<(PodIndex, Deletion)>,
}

/// As many as a plan may ask for, and how many there are.
#[derive(Debug)]
pub(crate) struct Wanted<T> {
    pub(crate) first: Vec<T>,
    pub(crate) count: usize,
}

impl<T> Default for Wanted<T> {
    fn default() -> Self {
        Self { first: Vec::new(), count: 0 }
    }
}

impl<T> Wanted<T> {
    /// Adds `count` more, of which the first `burst` are enough.
    pub(crate) fn extend(&mut self, all: impl Iterator<Item = T>, count: usize, burst: usize) {
        self.first.extend(all.take(count.min(burst)));
        self.count += count;
    }

    /// Keeps the first `burst` and gives the number of the others.
    pub(crate) fn take(&mut self, burst: usize) -> usize {
        self.first.truncate(burst);
        self.count.saturating_sub(burst)
    }

    fn append<U>(&mut self, other: Wanted<U>, each: impl Fn(U) -> T) {
        self.first.extend(other.first.into_iter().map(each));
        self.count += other.count;
    }
}

/// On how many nodes an update may be at work at a time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    /// Whether new pods come before old ones go: a percentage of few nodes may be none.
    pub(crate) surges: bool,
    /// How many nodes may be without an available pod, or surge.
    pub(crate) limit: usize,
    /// How many are.
    used: usize,
}

impl Budget {
    /// What a strategy allows; `None` if it never updates by itself.
    pub(crate) fn of(strategy: UpdateStrategy, tally: &Tally) -> Option<Self> {
        let UpdateStrategy::RollingUpdate { max_unavailable, max_surge } = strategy else { return None };
        let desired = tally.desired;
        Some(match (max_surge.of(desired), max_unavailable.of(desired)) {
            // Both 0 is not allowed: then it is one at a time.
            (0, unavailable) => Self::without_surge(unavailable.max(usize::from(desired > 0)), tally),
            (limit, _) => Self { surges: true, limit, used: tally.surging() },
        })
    }

    fn without_surge(limit: usize, tally: &Tally) -> Self {
        Self { surges: false, limit, used: tally.unavailable() }
    }

    fn left(self) -> usize {
        self.limit.saturating_sub(self.used)
    }
}

impl Rollout {
    /// Adds one node.
    pub(crate) fn add(&mut self, node: &Text, counted: Counted, seat: Option<&Seat>) {
        match counted.standing {
            Standing::Both { old, new_available: true, .. } => drop(self.finished.insert(node.clone(), old)),
            Standing::Old { pod, available } => {
                self.old_available += usize::from(available);
                if let Some((queue, rank)) = self.queue(available, counted.counts.desired, seat) {
                    queue.insert((rank, node.clone()), pod);
                }
            }
            _ => {}
        }
        if let Some(seat) = seat {
            let group = self.groups.entry(seat.group.clone()).or_default();
            if is_vacant(counted, seat) {
                group.vacant.insert((seat.rank, node.clone()));
            }
            group.tally.add(counted);
            group.count(counted, seat, |count| *count += 1);
            self.record.add(node, counted, seat);
        }
    }

    /// Takes one node out, as it was added.
    pub(crate) fn remove(&mut self, node: &Text, counted: Counted, seat: Option<&Seat>) {
        match counted.standing {
            Standing::Both { new_available: true, .. } => drop(self.finished.remove(node)),
            Standing::Old { available, .. } => {
                self.old_available -= usize::from(available);
                if let Some((queue, rank)) = self.queue(available, counted.counts.desired, seat) {
                    queue.remove(&(rank, node.clone()));
                }
            }
            _ => {}
        }
        if let Some(seat) = seat {
            let group = self.groups.entry(seat.group.clone()).or_default();
            if is_vacant(counted, seat) {
                group.vacant.remove(&(seat.rank, node.clone()));
            }
            group.tally.subtract(counted);
            group.count(counted, seat, |count| *count -= 1);
            self.record.remove(node, counted, seat);
        }
    }

    /// Where a node with an old pod waits for its turn; `None` if it is not updated.
    fn queue(&mut self, available: bool, desired: bool, seat: Option<&Seat>) -> Option<(&mut Queue, i64)> {
        let (group, rank) = match seat {
            None => (GroupKey::Rest, 0),
            Some(seat) if seat.is_selected => (seat.group.clone(), seat.rank),
            Some(_) => return None,
        };
        let group = self.groups.entry(group).or_default();
        let candidates = if available { &mut group.old } else { &mut group.broken };
        Some((if desired { &mut candidates.desired } else { &mut candidates.unwanted }, rank))
    }

    /// What the update does next, within `burst`.
    pub(crate) fn steps(
        &self,
        strategy: UpdateStrategy,
        tally: &Tally,
        policy: &RolloutPolicy,
        gate: &Gate,
        burst: usize,
    ) -> Steps<'_> {
        let Some(budget) = Budget::of(strategy, tally) else { return Steps::default() };
        let turns = Turns::new(self, budget, policy, gate, burst);
        if budget.surges {
            self.with_surge(budget, tally, policy.strict_budget, turns)
        } else {
            without_surge(budget, tally, policy.strict_budget, turns)
        }
    }

    fn with_surge<'r>(&'r self, budget: Budget, tally: &Tally, strict: bool, mut turns: Turns<'r>) -> Steps<'r> {
        let mut steps = Steps::default();
        let delete = |reason: Deletion| move |(_, pod)| (pod, reason.clone());
        let finished = self.finished.values().map(|pod| (*pod, Deletion::SurgeFinished));
        steps.delete.extend(finished, self.finished.len(), turns.burst);
        let broken = turns.take(&[|group| &group.broken.unwanted], usize::MAX, Cost::Nothing);
        steps.delete.append(broken, delete(Deletion::OutdatedUnavailable));
        let available = tally.new_available + self.old_available + tally.pairs_with_old_available;
        let spare = turns.take(&[|group| &group.old.unwanted], available.saturating_sub(tally.desired), Cost::Nothing);
        steps.delete.append(spare, delete(Deletion::NotWanted));

        let create = |reason: Creation| move |(node, _)| (node, reason);
        let (most, cost) = if strict { (budget.left(), Cost::Work) } else { (usize::MAX, Cost::Nothing) };
        let replaced = turns.take(&[|group| &group.broken.desired], most, cost);
        let left = if strict { budget.left().saturating_sub(replaced.count) } else { budget.left() };
        steps.create.append(replaced, create(Creation::ReplacesUnavailable));
        let surging = turns.take(&[|group| &group.old.desired], left, Cost::Work);
        steps.create.append(surging, create(Creation::Surge));
        steps
    }

    /// The nodes that should run a pod, have none, and get one of the current template, in the order of their turns.
    pub(crate) fn next_to_fill(&self, gate: &Gate) -> impl Iterator<Item = &Text> {
        let groups = self.groups.iter().filter(|(key, _)| gate.scope.includes(key));
        groups.flat_map(|(_, group)| &group.vacant).map(|(_, node)| node).take(gate.room)
    }
}

fn without_surge<'r>(budget: Budget, tally: &Tally, strict: bool, mut turns: Turns<'r>) -> Steps<'r> {
    let mut steps = Steps::default();
    let delete = |reason: Deletion| move |(_, pod)| (pod, reason.clone());
    let (most, cost) =
        if strict { (budget.limit.saturating_sub(tally.at_work()), Cost::Work) } else { (usize::MAX, Cost::Nothing) };
    let broken = turns.take(&[|group| &group.broken.desired, |group| &group.broken.unwanted], most, cost);
    steps.delete.append(broken, delete(Deletion::OutdatedUnavailable));
    let old = turns.take(&[|group| &group.old.desired, |group| &group.old.unwanted], budget.left(), Cost::Loss);
    steps.delete.append(old, delete(Deletion::Outdated));
    steps
}

/// The groups whose turn it is, and how much they may do.
struct Turns<'r> {
    groups: Vec<GroupTurns<'r>>,
    /// How many more nodes may be updated.
    room: usize,
    spread: bool,
    burst: usize,
}

struct GroupTurns<'r> {
    group: &'r Group,
    /// On how many more of its nodes the update may be at work.
    work_left: usize,
    /// How many more of its nodes may lose an available pod.
    loss_left: usize,
    /// On how many the update is at work, and how many are or are about to be up to date.
    at_work: usize,
    updated: usize,
}

/// What a turn counts against in its group.
#[derive(Clone, Copy, PartialEq)]
enum Cost {
    /// Nothing: it is always allowed.
    Nothing,
    /// That the update is at work on the node.
    Work,
    /// That, and that the node loses an available pod.
    Loss,
}

impl<'r> Turns<'r> {
    fn new(rollout: &'r Rollout, budget: Budget, policy: &RolloutPolicy, gate: &Gate, burst: usize) -> Self {
        let groups = policy.groups.as_ref();
        let limit = groups.and_then(|groups| groups.max_unavailable);
        let in_turn = rollout.groups.iter().filter(|(key, _)| !gate.waits && gate.scope.includes(key));
        let filling = if gate.room == usize::MAX { 0 } else { rollout.next_to_fill(gate).count() };
        Self {
            groups: in_turn.map(|(_, group)| GroupTurns::new(group, budget.surges, limit)).collect(),
            room: gate.room - filling,
            spread: groups.is_some_and(|groups| groups.pace == GroupPace::Spread),
            burst,
        }
    }

    /// The next nodes of these queues, at most so many.
    fn take(&mut self, queues: &[fn(&Group) -> &Queue], most: usize, cost: Cost) -> Wanted<(&'r Text, PodIndex)> {
        let mut taken = Wanted::default();
        let mut most = most.min(self.room);
        if self.spread {
            let mut waiting: Vec<_> =
                self.groups.iter().map(|turns| turns.first(queues, most).into_iter().peekable()).collect();
            while most > 0 {
                let open = self.groups.iter_mut().zip(&mut waiting);
                let open = open.filter_map(|(turns, queue)| {
                    (turns.most(cost) > 0 && queue.peek().is_some()).then_some((turns, queue))
                });
                let Some((turns, queue)) = open.min_by_key(|(turns, _)| (turns.at_work, turns.updated)) else { break };
                taken.extend(queue.next().into_iter(), 1, 1);
                turns.note(1, cost);
                (most, self.room) = (most - 1, self.room.saturating_sub(1));
            }
            taken.first.truncate(self.burst);
            return taken;
        }
        for turns in &mut self.groups {
            let waiting: usize = queues.iter().map(|queue| queue(turns.group).len()).sum();
            let count = most.min(waiting).min(turns.most(cost));
            taken.extend(turns.first(queues, count.min(self.burst)).into_iter(), count, self.burst);
            turns.note(count, cost);
            (most, self.room) = (most - count, self.room.saturating_sub(count));
        }
        taken
    }
}

impl<'r> GroupTurns<'r> {
    fn new(group: &'r Group, surges: bool, limit: Option<IntOrPercent>) -> Self {
        let tally = &group.tally;
        let (at_work, lacking) =
            if surges { (tally.surging(), tally.surging()) } else { (tally.at_work(), tally.unavailable()) };
        let left = |used| limit.map_or(usize::MAX, |limit| limit.of(tally.desired).saturating_sub(used));
        let updated = tally.new_available + tally.new_unavailable + tally.pairs;
        Self { group, work_left: left(at_work), loss_left: left(lacking), at_work, updated }
    }

    /// The first so many of all these queues together.
    fn first(&self, queues: &[fn(&Group) -> &Queue], count: usize) -> Vec<(&'r Text, PodIndex)> {
        let group = self.group;
        let mut first: Vec<_> = queues.iter().flat_map(|queue| queue(group).iter().take(count)).collect();
        if queues.len() > 1 {
            first.sort_unstable();
            first.truncate(count);
        }
        first.into_iter().map(|((_, node), pod)| (node, *pod)).collect()
    }

    /// How many turns the group may have.
    fn most(&self, cost: Cost) -> usize {
        match cost {
            Cost::Nothing => usize::MAX,
            Cost::Work => self.work_left,
            Cost::Loss => self.work_left.min(self.loss_left),
        }
    }

    fn note(&mut self, turns: usize, cost: Cost) {
        self.at_work += turns;
        self.updated += turns;
        self.work_left = self.work_left.saturating_sub(turns);
        if cost == Cost::Loss {
            self.loss_left = self.loss_left.saturating_sub(turns);
        }
    }
}

fn is_vacant(counted: Counted, seat: &Seat) -> bool {
    counted.standing == Standing::Vacant && counted.counts.desired && seat.is_selected
}

impl Group {
    fn count(&mut self, Counted { counts, standing }: Counted, seat: &Seat, by_one: impl Fn(&mut usize)) {
        if seat.is_selected && !seat.is_away {
            if counts.desired {
                by_one(&mut self.members);
            }
            if !matches!(standing, Standing::Bystander | Standing::New { available: true }) {
                by_one(&mut self.unfinished);
            }
        }
    }
}

impl Record {
    fn available(&mut self, seat: &Seat) -> &mut BTreeSet<(Timestamp, Text)> {
        if seat.group == GroupKey::Canaries { &mut self.canaries } else { &mut self.available }
    }

    fn add(&mut self, node: &Text, counted: Counted, seat: &Seat) {
        if seat.is_away {
            self.unavailable_away += usize::from(is_unavailable(counted));
        } else {
            self.updated += usize::from(seat.has_new && counted.counts.desired);
            if seat.fails {
                self.failing.insert(node.clone());
            }
            let since = seat.available_since.filter(|_| is_proof(counted, seat));
            self.available(seat).extend(since.map(|since| (since, node.clone())));
        }
        if let Some((hash, available)) = &seat.old {
            let in_use = self.old.entry(hash.clone()).or_default();
            in_use.all += 1;
            in_use.available += usize::from(*available);
            self.old_nodes += 1;
        }
    }

    fn remove(&mut self, node: &Text, counted: Counted, seat: &Seat) {
        if seat.is_away {
            self.unavailable_away -= usize::from(is_unavailable(counted));
        } else {
            self.updated -= usize::from(seat.has_new && counted.counts.desired);
            self.failing.remove(node);
            let since = seat.available_since.filter(|_| is_proof(counted, seat));
            since.map(|since| self.available(seat).remove(&(since, node.clone())));
        }
        if let Some((hash, available)) = &seat.old
            && let Some(in_use) = self.old.get_mut(hash)
        {
            in_use.all -= 1;
            in_use.available -= usize::from(*available);
            self.old_nodes -= 1;
            if in_use.all == 0 {
                self.old.remove(hash);
            }
        }
    }
}

fn is_unavailable(Counted { counts, .. }: Counted) -> bool {
    counts.desired && !counts.available
}

/// Whether a new pod that is available says something about the new template: where nodes are updated.
fn is_proof(Counted { counts, standing }: Counted, seat: &Seat) -> bool {
    let is_new = matches!(standing, Standing::New { available: true } | Standing::Both { new_available: true, .. });
    is_new && counts.desired && seat.is_selected
}

impl Scope {
    fn includes(&self, key: &GroupKey) -> bool {
        match self {
            Self::Nobody => false,
            Self::Only(only) => only == key,
            Self::Everybody => true,
        }
    }
}
