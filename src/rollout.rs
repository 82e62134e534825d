//! The nodes of a rolling update, in the order in which their [turns](crate::turns) come: that of their names, or that of a
//! [policy](crate::policy), so that an update can be foretold.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::{
    cell::Standing,
    member::PodIndex,
    model::Text,
    seat::{GroupKey, Seat},
    tally::{Counted, Tally},
};

/// The nodes whose turn may come in a rolling update. Those whose pods are deleted anyhow, the node being gone, are not
/// among them, nor are those that are away.
#[derive(Debug, Default)]
pub(crate) struct Rollout {
    groups: BTreeMap<GroupKey, Group>,
    /// The last group: of all nodes, if no policy says otherwise.
    rest: Group,
    /// Old pods whose new ones are available, by node.
    pub(crate) finished: BTreeMap<Text, PodIndex>,
    /// How many nodes have an old pod that is available, and no new one.
    pub(crate) old_available: usize,
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
    pub(crate) old: Candidates,
    /// Old and not available.
    pub(crate) broken: Candidates,
    /// Those that should run a pod and have none; only with a policy.
    pub(crate) vacant: BTreeSet<Place>,
    /// The count of this group's nodes; only with a policy.
    pub(crate) tally: Tally,
    /// How many of the nodes that are updated should run a pod, and how many of them are not done; only with a policy.
    pub(crate) members: usize,
    pub(crate) unfinished: usize,
}

/// A node's place in the order of its group: its rank, and its name.
pub(crate) type Place = (i64, Text);

/// Old pods by node.
pub(crate) type Queue = BTreeMap<Place, PodIndex>;

#[derive(Debug, Default)]
pub(crate) struct Candidates {
    pub(crate) desired: Queue,
    /// Those on nodes that should not run one.
    pub(crate) unwanted: Queue,
}

impl Rollout {
    /// Adds one node.
    #[inline]
    pub(crate) fn add(&mut self, node: &Text, counted: Counted, seat: Option<&Seat>) {
        if seat.is_some() || counted.standing.has_old() {
            self.add_one(node, counted, seat);
        }
    }

    /// Takes one node out, as it was added.
    #[inline]
    pub(crate) fn remove(&mut self, node: &Text, counted: Counted, seat: Option<&Seat>) {
        if seat.is_some() || counted.standing.has_old() {
            self.remove_one(node, counted, seat);
        }
    }

    fn add_one(&mut self, node: &Text, counted: Counted, seat: Option<&Seat>) {
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
            let group = self.group_mut(seat.group.clone());
            if is_vacant(counted, seat) {
                group.vacant.insert((seat.rank, node.clone()));
            }
            group.tally.add(counted);
            group.count(counted, seat, |count| *count += 1);
            self.record.add(node, counted, seat);
        }
    }

    fn remove_one(&mut self, node: &Text, counted: Counted, seat: Option<&Seat>) {
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
            let group = self.group_mut(seat.group.clone());
            if is_vacant(counted, seat) {
                group.vacant.remove(&(seat.rank, node.clone()));
            }
            group.tally.subtract(counted);
            group.count(counted, seat, |count| *count -= 1);
            self.record.remove(node, counted, seat);
        }
    }

    /// All groups, in the order in which they are updated.
    pub(crate) fn groups(&self) -> impl Iterator<Item = (&GroupKey, &Group)> {
        self.groups.iter().chain([(&GroupKey::Rest, &self.rest)])
    }

    fn group_mut(&mut self, key: GroupKey) -> &mut Group {
        if key == GroupKey::Rest { &mut self.rest } else { self.groups.entry(key).or_default() }
    }

    /// Where a node with an old pod waits for its turn; `None` if it is not updated.
    fn queue(&mut self, available: bool, desired: bool, seat: Option<&Seat>) -> Option<(&mut Queue, i64)> {
        let (group, rank) = match seat {
            None => (GroupKey::Rest, 0),
            Some(seat) if seat.is_selected => (seat.group.clone(), seat.rank),
            Some(_) => return None,
        };
        let group = self.group_mut(group);
        let candidates = if available { &mut group.old } else { &mut group.broken };
        Some((if desired { &mut candidates.desired } else { &mut candidates.unwanted }, rank))
    }
}

fn is_vacant(counted: Counted, seat: &Seat) -> bool {
    counted.standing == Standing::Vacant && counted.counts.desired && seat.is_selected
}

impl Group {
    /// Whether nobody waits for a turn.
    pub(crate) fn has_no_candidates(&self) -> bool {
        [&self.old, &self.broken]
            .iter()
            .all(|candidates| candidates.desired.is_empty() && candidates.unwanted.is_empty())
    }

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
