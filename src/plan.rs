//! The plan: cells are built node by node, and folded into actions and a status.

use std::{
    cmp::min,
    collections::{BTreeSet, HashSet},
    time::Duration,
};

use indexmap::{IndexMap, map::Entry};

use crate::{
    Settings, Snapshot, Warning,
    action::{Action, ObjectRef},
    backoff::{Backoff, BackoffEntry, BackoffKey},
    cell::{Cell, CellRules, Member},
    event::Event,
    gc,
    history::History,
    model::{DaemonSetStatus, HASH_LABEL, LabelSelector, Node, Pod, Text},
    ownership::{Claim, claim_pod},
    placement::{Placement, PlacementRules},
    reason::{Creation, Deletion, Release},
    rollout::{Rollout, Steps},
    template::PodBlueprint,
};

/// What a DaemonSet needs, and why.
#[derive(Debug)]
#[non_exhaustive]
pub struct Plan<'a> {
    /// The hash label that up-to-date pods carry.
    pub hash: Text,
    /// What to do, in the order in which to do it: claims, revisions and relabelling, creations, deletions, clean-up,
    /// status. To stop after any of them and to plan again is safe.
    pub actions: Vec<Action>,
    /// The status before the actions take effect; `None` where none is to be written.
    pub status: Option<DaemonSetStatus>,
    /// Kubernetes Events to emit about the DaemonSet.
    pub events: Vec<Event>,
    /// When to plan again, even if nothing changes but the time.
    pub plan_again_after: Option<Duration>,
    /// Entries of the [`Backoff`] that change.
    pub backoff: Vec<(BackoffKey, BackoffEntry)>,
    /// What else somebody should know.
    pub warnings: Vec<Warning>,
    /// How many creations the burst limit holds back for a later plan.
    pub held_back_creations: usize,
    /// How many deletions the burst limit holds back for a later plan.
    pub held_back_deletions: usize,
    rules: PlacementRules,
    nodes: IndexMap<&'a str, &'a Node>,
}

impl<'a> Plan<'a> {
    pub(crate) fn of(snapshot: Snapshot<'a>) -> Self {
        let Snapshot { daemonset, namespace, settings, revisions, .. } = snapshot;
        let default_settings = Settings::default();
        let settings = settings.unwrap_or(&default_settings);
        let mut warnings = Vec::new();
        let nodes = by_name(snapshot.nodes, &mut warnings);
        let rules = PlacementRules::compile(daemonset, namespace, settings, &mut warnings);
        let mut plan = Self {
            hash: Text::default(),
            actions: Vec::new(),
            status: None,
            events: Vec::new(),
            plan_again_after: None,
            backoff: Vec::new(),
            warnings,
            held_back_creations: 0,
            held_back_deletions: 0,
            rules,
            nodes,
        };
        if daemonset.selector.is_none() {
            plan.warnings.push(Warning::SelectsNoPods);
        }
        if daemonset.selector.as_ref().is_some_and(LabelSelector::is_empty) {
            plan.hash = History::not_given(daemonset).hash;
            plan.warnings.push(Warning::SelectsAllPods);
            plan.events.push(Event::selects_all_pods());
        } else if daemonset.is_being_deleted() {
            plan.hash = History::not_given(daemonset).hash;
            plan.collect_dependents(&snapshot, settings);
        } else {
            if revisions.is_none() {
                plan.warnings.push(Warning::HistoryNotGiven);
            }
            plan.reconcile(&snapshot, settings);
        }
        plan
    }

    /// The decision for every node, by name.
    pub fn placements(&self) -> impl Iterator<Item = Placement> {
        let mut nodes: Vec<_> = self.nodes.values().collect();
        nodes.sort_unstable_by_key(|node| &node.name);
        nodes.into_iter().map(|node| self.rules.placement(node))
    }

    /// The decision for one node; `None` if there is none of this name.
    pub fn placement(&self, node: &str) -> Option<Placement> {
        self.nodes.get(node).map(|node| self.rules.placement(node))
    }

    fn collect_dependents(&mut self, snapshot: &Snapshot<'a>, settings: &Settings) {
        let mut pods = gc::dependent_pods(snapshot.daemonset, snapshot.pods);
        let mut revisions = gc::dependent_revisions(snapshot.daemonset, snapshot.revisions.unwrap_or_default());
        if !snapshot.daemonset.orphans_dependents() {
            if !snapshot.effects_observed {
                return;
            }
            self.held_back_deletions = pods.len().saturating_sub(settings.burst);
            pods.truncate(settings.burst);
        }
        self.actions.append(&mut pods);
        self.actions.append(&mut revisions);
    }

    fn reconcile(&mut self, snapshot: &Snapshot<'a>, settings: &Settings) {
        let Snapshot { daemonset, revisions, now, .. } = *snapshot;
        let history = revisions.map_or_else(|| History::not_given(daemonset), |all| History::new(daemonset, all));
        let Claims { actions: claims, claimed } = claim(snapshot);
        self.hash = history.hash.clone();

        let no_backoff = Backoff::default();
        let rules = CellRules {
            daemonset,
            placement: self.rules.clone(),
            hash: history.hash.clone(),
            template_generation: daemonset.template_generation().map(|n| n.to_string().into()),
            now,
            backoff: snapshot.backoff.unwrap_or(&no_backoff),
            collect: settings.collect_pods_on_missing_nodes,
        };
        let mut fold = Fold::default();
        for_each_cell(&self.nodes, &claimed, &rules, |node, cell| fold.add(node, cell));

        self.actions = claims;
        self.actions.extend(history.claims.iter().cloned());
        self.actions.extend(history.changes.iter().cloned());
        if history.has_duplicates() {
            self.actions.extend(relabel(&claimed, &history.hash));
        }
        let status = fold.status(snapshot, history.collision_count);
        self.plan_again_after = fold.plan_again_after(snapshot);
        if snapshot.effects_observed {
            self.carry_out(fold, snapshot, settings, rules.backoff);
        }
        self.actions.extend(history.delete_duplicates());
        if snapshot.effects_observed {
            let in_use = hashes_in_use(&claimed);
            let limit = daemonset.revision_history_limit;
            self.actions.extend(history.delete_beyond(limit, |hash| in_use.contains(&**hash)));
        }
        if status_changed(snapshot, &status) {
            self.actions.push(Action::UpdateStatus { status: status.clone() });
        }
        self.status = Some(status);
    }

    /// Turns what the cells ask for, or else what the update asks for, into actions within the burst limit.
    fn carry_out(&mut self, fold: Fold<'a>, snapshot: &Snapshot<'a>, settings: &Settings, backoff: &Backoff) {
        let Fold { mut create, mut delete, mut collected, rollout, desired, .. } = fold;
        if create.is_empty() && delete.is_empty() {
            let steps = rollout.steps(snapshot.daemonset.update_strategy, desired);
            Steps { create, delete } = steps;
        }
        delete.append(&mut collected);
        create.sort_unstable_by_key(|(node, _)| *node);
        delete.sort_by(|(a, _), (b, _)| by_node(snapshot.pods, *a).cmp(&by_node(snapshot.pods, *b)));
        self.held_back_creations = create.len().saturating_sub(settings.burst);
        self.held_back_deletions = delete.len().saturating_sub(settings.burst);
        create.truncate(settings.burst);
        delete.truncate(settings.burst);

        if !create.is_empty() {
            let blueprint = PodBlueprint::new(snapshot.daemonset, &self.hash);
            self.actions.extend(create.into_iter().map(|(node, reason)| Action::CreatePod {
                node: node.clone(),
                blueprint: blueprint.clone(),
                reason,
            }));
        }
        for (pod, reason) in delete {
            let Some(pod) = snapshot.pods.get(pod) else { continue };
            let node = pod.node.name().cloned();
            match (&reason, &node) {
                (Deletion::Succeeded, Some(node)) => self.events.push(Event::succeeded_pod(pod, node)),
                (Deletion::Failed, Some(node)) => {
                    self.events.push(Event::failed_pod(pod, node));
                    let key = Backoff::key(snapshot.daemonset, node);
                    let delay = backoff.next_delay(&key, snapshot.now);
                    self.backoff.extend(snapshot.now.map(|now| (key, BackoffEntry { delay, last_update: now })));
                }
                _ => {}
            }
            self.actions.push(Action::DeletePod { pod: ObjectRef::from(pod), node, reason });
        }
    }
}

fn by_node(pods: &[Pod], pod: usize) -> Option<(Option<&Text>, &Text)> {
    pods.get(pod).map(|pod| (pod.node.name(), &pod.name))
}

/// All nodes, each once: of several with the same name the smallest, so that their order makes no difference.
fn by_name<'a>(nodes: &'a [Node], warnings: &mut Vec<Warning>) -> IndexMap<&'a str, &'a Node> {
    let mut all = IndexMap::with_capacity(nodes.len());
    let mut ambiguous = BTreeSet::new();
    for node in nodes {
        match all.entry(&*node.name) {
            Entry::Vacant(entry) => {
                entry.insert(node);
            }
            Entry::Occupied(mut entry) if **entry.get() != *node => {
                ambiguous.insert(&node.name);
                let smaller = min(*entry.get(), node);
                entry.insert(smaller);
            }
            Entry::Occupied(_) => {}
        }
    }
    warnings.extend(ambiguous.into_iter().map(|name| Warning::DuplicateNode { node: name.clone() }));
    all
}

struct Claims<'a> {
    /// Adoptions and releases, by name.
    actions: Vec<Action>,
    /// The pods that are the DaemonSet's.
    claimed: Vec<Member<'a>>,
}

fn claim<'a>(snapshot: &Snapshot<'a>) -> Claims<'a> {
    let (mut actions, mut claimed) = (Vec::new(), Vec::new());
    for (index, pod) in snapshot.pods.iter().enumerate() {
        let claim = claim_pod(snapshot.daemonset, pod);
        if claim.is_claimed() {
            claimed.push(Member { index, pod });
        }
        match claim {
            Claim::Adopt => actions.push(Action::AdoptPod { pod: ObjectRef::from(pod) }),
            Claim::Release => {
                let reason = Release::LabelsDoNotMatch;
                actions.push(Action::ReleasePod { pod: ObjectRef::from(pod), reason });
            }
            Claim::Owned | Claim::Ignore => {}
        }
    }
    actions.sort_by(|a, b| a.object().cmp(&b.object()));
    Claims { actions, claimed }
}

/// Builds the cell of every node and of every missing node that claimed pods are on.
fn for_each_cell<'a>(
    nodes: &IndexMap<&'a str, &'a Node>,
    claimed: &[Member<'a>],
    rules: &CellRules<'_>,
    mut each: impl FnMut(&'a Text, Cell),
) {
    let mut missing = IndexMap::<&Text, Vec<Member<'a>>>::new();
    let mut placed = Vec::with_capacity(claimed.len());
    for member in claimed.iter().filter(|member| !(member.pod.is_terminal() && member.pod.is_being_deleted())) {
        let Some(node) = member.pod.node.name() else { continue };
        match nodes.get_index_of(&**node) {
            Some(slot) => placed.push((slot, *member)),
            None => missing.entry(node).or_default().push(*member),
        }
    }
    placed.sort_unstable_by_key(|(slot, member)| (*slot, member.index));
    let mut placed = placed.into_iter().peekable();
    let mut pods = Vec::new();
    for (slot, node) in nodes.values().enumerate() {
        pods.clear();
        while let Some((_, member)) = placed.next_if(|(at, _)| *at == slot) {
            pods.push(member);
        }
        each(&node.name, rules.cell(node, &mut pods));
    }
    for (node, mut pods) in missing {
        each(node, rules.cell_without_node(&mut pods));
    }
}

/// What all cells come to.
#[derive(Default)]
struct Fold<'a> {
    desired: usize,
    current: usize,
    misscheduled: usize,
    ready: usize,
    available: usize,
    updated: usize,
    create: Vec<(&'a Text, Creation)>,
    /// Pods by index.
    delete: Vec<(usize, Deletion)>,
    /// Bound pods of missing nodes, by index: they do not keep an update waiting.
    collected: Vec<(usize, Deletion)>,
    rollout: Rollout<'a>,
    wait: Option<Duration>,
    available_at: Option<jiff::Timestamp>,
}

impl<'a> Fold<'a> {
    fn add(&mut self, node: &'a Text, cell: Cell) {
        let counts = cell.counts;
        self.desired += usize::from(counts.desired);
        self.current += usize::from(counts.desired && counts.scheduled);
        self.misscheduled += usize::from(!counts.desired && counts.scheduled);
        self.ready += usize::from(counts.ready);
        self.available += usize::from(counts.available);
        self.updated += usize::from(counts.updated);
        self.available_at = earliest(self.available_at, cell.available_at);
        let mut collects = false;
        if let Some(work) = cell.work {
            collects = !work.collect.is_empty();
            self.create.extend(work.create.map(|reason| (node, reason)));
            self.delete.extend(work.delete);
            self.collected.extend(work.collect.into_iter().map(|pod| (pod, Deletion::NodeGone)));
            self.wait = earliest(self.wait, work.wait);
        }
        self.rollout.add(node, cell.standing, counts.desired, collects);
    }

    fn status(&self, snapshot: &Snapshot<'_>, collision_count: Option<i32>) -> DaemonSetStatus {
        let count = |nodes: usize| i32::try_from(nodes).unwrap_or(i32::MAX);
        let daemonset = snapshot.daemonset;
        DaemonSetStatus {
            desired_number_scheduled: count(self.desired),
            current_number_scheduled: count(self.current),
            number_misscheduled: count(self.misscheduled),
            number_ready: count(self.ready),
            number_available: count(self.available),
            number_unavailable: count(self.desired.saturating_sub(self.available)),
            updated_number_scheduled: count(self.updated),
            observed_generation: if snapshot.effects_observed {
                daemonset.generation
            } else {
                daemonset.status.observed_generation
            },
            collision_count,
        }
    }

    fn plan_again_after(&self, snapshot: &Snapshot<'_>) -> Option<Duration> {
        let until = |at: jiff::Timestamp| Duration::try_from(at.duration_since(snapshot.now?)).ok();
        let mut available = self.available_at.and_then(until);
        if self.ready != self.available {
            let longest = Duration::from_secs(snapshot.daemonset.min_ready_seconds.into());
            available = available.or(Some(longest));
        }
        let wait = self.wait.filter(|_| snapshot.effects_observed);
        earliest(available, wait)
    }
}

fn earliest<T: Ord>(a: Option<T>, b: Option<T>) -> Option<T> {
    match (a, b) {
        (Some(a), Some(b)) => Some(min(a, b)),
        (a, b) => a.or(b),
    }
}

fn relabel(claimed: &[Member<'_>], hash: &Text) -> Vec<Action> {
    let others = claimed.iter().filter(|member| member.pod.labels.get(HASH_LABEL) != Some(hash));
    let mut actions: Vec<_> =
        others.map(|member| Action::RelabelPod { pod: ObjectRef::from(member.pod), hash: hash.clone() }).collect();
    actions.sort_by(|a, b| a.object().cmp(&b.object()));
    actions
}

/// The hashes that claimed pods on some node carry.
fn hashes_in_use<'a>(claimed: &[Member<'a>]) -> HashSet<&'a str> {
    let on_nodes = claimed.iter().filter(|member| member.pod.node.name().is_some());
    on_nodes.filter_map(|member| member.pod.labels.get(HASH_LABEL)).collect()
}

/// Whether the status must be written. An observed generation that is ahead is no reason to.
fn status_changed(snapshot: &Snapshot<'_>, status: &DaemonSetStatus) -> bool {
    let before = &snapshot.daemonset.status;
    let observed_generation = before.observed_generation.max(status.observed_generation);
    *before != DaemonSetStatus { observed_generation, ..status.clone() }
}
