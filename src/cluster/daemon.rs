//! What a [`Cluster`](super::Cluster) keeps for one DaemonSet: its rules, its cells and their fold.

use std::{
    collections::{BTreeMap, HashMap},
    mem,
    sync::Arc,
};

use foldhash::fast::RandomState;
use jiff::Timestamp;

use super::pods::{Group, Placed, PodTable};
use crate::{
    Action, Backoff, Settings, Warning,
    cell::{CellRules, is_in_a_cell},
    fold::{Fold, Folded},
    history::History,
    member::{PodIndex, TemplateLabels},
    model::{ControllerRevision, DaemonSet, HASH_LABEL, Namespace, Node, Pod, Text},
    nodes::{NodeTable, Nodes, Slot},
    ownership::{Claim, claim_pod, selects},
    placement::PlacementRules,
    plan::{Course, Facts, Plan, Pods, claim_action},
    resolved::Policy,
};

/// A DaemonSet with all that is known about it.
#[derive(Debug)]
pub(super) struct Daemon {
    pub(super) daemonset: DaemonSet,
    pub(super) effects_observed: bool,
    /// When it was said to become stale by time alone.
    pub(super) due: Option<Timestamp>,
    rules: Arc<PlacementRules>,
    labels: TemplateLabels,
    policy: Policy,
    warnings: Vec<Warning>,
    history: History,
    outdated: Outdated,
    /// By slot of the node.
    cells: Vec<KeptCell>,
    /// The slots whose cells are out of date.
    dirty: Vec<Slot>,
    fold: Fold,
    /// When the cells were last brought up to date.
    at: Option<Timestamp>,
    /// Pods to adopt and to release, by name.
    claims: BTreeMap<Text, (PodIndex, Claim)>,
    /// How many claimed pods on some node carry a hash.
    hashes: HashMap<Text, usize, RandomState>,
}

/// What has to be worked out anew before the next plan.
#[derive(Clone, Copy, Debug)]
struct Outdated {
    rules: bool,
    history: bool,
    /// Which pods are claimed.
    pods: bool,
}

#[derive(Debug, Default)]
struct KeptCell {
    pods: Few,
    folded: Option<Folded>,
    is_dirty: bool,
}

/// Mostly one.
#[derive(Debug, Default)]
enum Few {
    #[default]
    None,
    One(PodIndex),
    // A box keeps cells small: there is one for each node and DaemonSet.
    #[allow(clippy::box_collection)]
    Many(Box<Vec<PodIndex>>),
}

/// What a pod means to a DaemonSet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stance {
    claim: Claim,
    /// The slot of the cell that it is part of.
    cell: Option<Slot>,
}

impl Daemon {
    pub(super) fn new(daemonset: DaemonSet) -> Self {
        Self {
            history: History::not_given(&daemonset),
            labels: TemplateLabels::of(&daemonset),
            daemonset,
            effects_observed: true,
            due: None,
            rules: Arc::default(),
            policy: Policy::default(),
            warnings: Vec::new(),
            outdated: Outdated::EVERYTHING,
            cells: Vec::new(),
            dirty: Vec::new(),
            fold: Fold::default(),
            at: None,
            claims: BTreeMap::new(),
            hashes: HashMap::default(),
        }
    }

    /// Takes a new state of the DaemonSet.
    pub(super) fn update(&mut self, daemonset: DaemonSet, nodes: &NodeTable) {
        let old = mem::replace(&mut self.daemonset, daemonset);
        let status = self.daemonset.status.clone();
        self.outdated.history |= old.status.collision_count != status.collision_count;
        if old.status.observed_generation != status.observed_generation {
            // Back-offs start anew.
            for node in self.fold.nodes_with_work() {
                self.outdate_at(nodes.find(&node));
            }
        }
        if (DaemonSet { status, ..old }) != self.daemonset {
            self.labels = TemplateLabels::of(&self.daemonset);
            self.outdated = Outdated::EVERYTHING;
        }
    }

    /// Takes notice that the namespace has changed.
    pub(super) fn outdate_rules(&mut self) {
        self.outdated.rules = true;
    }

    /// Takes notice that revisions of the namespace have changed.
    pub(super) fn outdate_history(&mut self) {
        self.outdated.history = true;
    }

    /// Takes notice that the cell of a node is not what it was.
    pub(super) fn outdate_at(&mut self, slot: Option<Slot>) {
        let Some(slot) = slot else { return };
        if self.cell_mut(slot).is_some_and(|cell| !mem::replace(&mut cell.is_dirty, true)) {
            self.dirty.push(slot);
        }
    }

    /// Takes notice that a node has changed; says whether that makes a difference.
    pub(super) fn node_changed(&mut self, slot: Slot, before: Option<&Node>, after: Option<&Node>) -> bool {
        let verdict = |node| self.rules.verdict(node);
        let known = usize::try_from(slot).ok().and_then(|slot| self.cells.get(slot));
        let has_work = known.and_then(|cell| cell.folded).is_some_and(Folded::has_work);
        let matters = self.outdated.rules || self.policy.guides_updates || has_work;
        if !matters && before.map(verdict) == after.map(verdict) {
            return false;
        }
        self.outdate_at(Some(slot));
        true
    }

    /// Forgets a slot that is about to hold another node.
    pub(super) fn free(&mut self, slot: Slot, name: &Text) {
        let cell = usize::try_from(slot).ok().and_then(|slot| self.cells.get_mut(slot));
        if let Some(folded) = cell.and_then(|cell| cell.folded.take()) {
            self.fold.remove(name, folded);
        }
    }

    /// Takes notice that a pod has come, changed or gone; says whether that makes a difference.
    pub(super) fn pod_changed(&mut self, index: PodIndex, before: Option<&Placed>, after: Option<&Placed>) -> bool {
        let stance = |placed: Option<&Placed>| {
            placed.filter(|placed| self.may_concern(&placed.pod)).map_or(Stance::NONE, |placed| self.stance(placed))
        };
        let stances = (stance(before), stance(after));
        if stances == (Stance::NONE, Stance::NONE) {
            return false;
        }
        if self.outdated.pods {
            return true;
        }
        if let Some(placed) = before {
            self.forget(index, placed, stances.0);
        }
        if let Some(placed) = after {
            self.take(index, placed, stances.1);
        }
        self.outdate_at(stances.0.cell);
        self.outdate_at(stances.1.cell);
        true
    }

    /// Whether a pod of the namespace is this DaemonSet's or nobody's.
    fn may_concern(&self, pod: &Pod) -> bool {
        pod.controller.as_ref().is_none_or(|owner| owner.uid == self.daemonset.uid)
    }

    fn claim(&self, pod: &Pod) -> Claim {
        claim_pod(&self.daemonset, pod, || selects(&self.daemonset, &pod.labels))
    }

    fn stance(&self, Placed { pod, slot }: &Placed) -> Stance {
        let claim = self.claim(pod);
        Stance { claim, cell: slot.filter(|_| claim.is_claimed() && is_in_a_cell(pod)) }
    }

    fn take(&mut self, index: PodIndex, Placed { pod, .. }: &Placed, Stance { claim, cell }: Stance) {
        if matches!(claim, Claim::Adopt | Claim::Release) {
            self.claims.insert(pod.name.clone(), (index, claim));
        }
        if let Some(hash) = hash_in_use(claim, pod) {
            *self.hashes.entry(hash.into()).or_default() += 1;
        }
        if let Some(cell) = cell.and_then(|slot| self.cell_mut(slot)) {
            cell.pods.insert(index);
        }
    }

    fn forget(&mut self, index: PodIndex, Placed { pod, .. }: &Placed, Stance { claim, cell }: Stance) {
        if matches!(claim, Claim::Adopt | Claim::Release) {
            self.claims.remove(&pod.name);
        }
        if let Some(hash) = hash_in_use(claim, pod).map(Text::from)
            && let Some(count) = self.hashes.get_mut(&hash)
        {
            *count -= 1;
            if *count == 0 {
                self.hashes.remove(&hash);
            }
        }
        if let Some(cell) = cell.and_then(|slot| self.cell_mut(slot)) {
            cell.pods.remove(index);
        }
    }

    fn cell_mut(&mut self, slot: Slot) -> Option<&mut KeptCell> {
        let slot = usize::try_from(slot).ok()?;
        if slot >= self.cells.len() {
            self.cells.resize_with(slot + 1, KeptCell::default);
        }
        self.cells.get_mut(slot)
    }

    /// Brings everything up to date that is not.
    pub(super) fn refresh<'r>(
        &mut self,
        around: &Around<'_>,
        revisions: impl Iterator<Item = &'r ControllerRevision> + Clone,
    ) {
        if Course::of(&self.daemonset) != Course::Reconcile {
            return;
        }
        let Around { namespace, settings, nodes, pods, now, .. } = *around;
        let outdated = mem::replace(&mut self.outdated, Outdated::NOTHING);
        let mut all_cells = outdated.pods || self.at.is_none_or(|at| now < at);
        if outdated.rules {
            self.warnings.clear();
            let rules = PlacementRules::compile(&self.daemonset, namespace, settings, &mut self.warnings);
            let policy = Policy::of(&self.daemonset, settings, &mut self.warnings);
            all_cells |= rules != *self.rules || policy != self.policy;
            (self.rules, self.policy) = (Arc::new(rules), policy);
        }
        if outdated.history {
            let history = History::new(&self.daemonset, revisions);
            all_cells |= history.hash != self.history.hash;
            self.history = history;
        }
        if outdated.pods {
            self.claim_all(pods);
        }
        if all_cells {
            self.fold = Fold::default();
            for cell in &mut self.cells {
                (cell.folded, cell.is_dirty) = (None, false);
            }
            self.dirty.clear();
            for slot in (0..).take(nodes.len()) {
                self.outdate_at(Some(slot));
            }
        } else {
            for node in self.fold.changed_by(now) {
                self.outdate_at(nodes.find(&node));
            }
        }
        self.fold_dirty_cells(around);
        self.at = Some(now);
    }

    fn claim_all(&mut self, pods: &PodTable) {
        self.claims.clear();
        self.hashes.clear();
        for cell in &mut self.cells {
            cell.pods = Few::None;
        }
        for group in [self.own(), self.orphans()] {
            for index in pods.group(&group) {
                if let Some(placed) = pods.get(index) {
                    self.take(index, placed, self.stance(placed));
                }
            }
        }
    }

    /// The pods that it controls.
    fn own(&self) -> Group {
        let DaemonSet { namespace, uid, .. } = &self.daemonset;
        Group { namespace: namespace.clone(), controller: Some(uid.clone()) }
    }

    /// The pods of its namespace that nobody controls.
    fn orphans(&self) -> Group {
        Group { namespace: self.daemonset.namespace.clone(), controller: None }
    }

    fn fold_dirty_cells(&mut self, around: &Around<'_>) {
        let Around { settings, backoff, nodes, pods, now, .. } = *around;
        let Self { daemonset, rules: placement, labels, policy, history, cells, dirty, fold, .. } = self;
        let (hash, now) = (&history.hash, Some(now));
        let rules = CellRules { daemonset, placement, policy, hash, labels, now, backoff, settings };
        let mut members = Vec::new();
        for slot in dirty.drain(..) {
            let Some(cell) = usize::try_from(slot).ok().and_then(|slot| cells.get_mut(slot)) else { continue };
            cell.is_dirty = false;
            // A slot that has become free since has nothing in the fold any more.
            let Some(name) = nodes.name(slot) else { continue };
            if let Some(folded) = cell.folded.take() {
                fold.remove(name, folded);
            }
            members.clear();
            members.extend(cell.pods.iter().filter_map(|index| {
                let pod = &pods.get(*index)?.pod;
                rules.member(*index, pod, rules.origin(&pod.labels))
            }));
            cell.folded = match nodes.at(slot) {
                Some(node) => Some(fold.add(name, rules.cell(node, placement.verdict(node), &mut members))),
                None if members.is_empty() => None,
                None => Some(fold.add(name, rules.cell_without_node(name, &mut members))),
            };
        }
    }

    /// The plan, once all is up to date.
    pub(super) fn plan<'c>(
        &'c self,
        around: &Around<'c>,
        revisions: impl Iterator<Item = &'c ControllerRevision>,
    ) -> Plan<'c> {
        let Around { namespace, settings, backoff, nodes, pods, now } = *around;
        let Self { daemonset, policy, history, fold, effects_observed, .. } = self;
        let effects_observed = *effects_observed;
        let course = Course::of(daemonset);
        if course == Course::Reconcile {
            let (hash, warnings) = (history.hash.clone(), self.warnings.clone());
            let mut plan = Plan::new(daemonset, hash, Nodes::Kept(nodes), Arc::clone(&self.rules), warnings);
            let now = Some(now);
            let facts = Facts { daemonset, settings, policy, backoff, now, effects_observed, history, fold };
            plan.reconcile(&facts, &Claimed { daemon: self, pods });
            return plan;
        }
        let mut warnings = Vec::new();
        let rules = PlacementRules::compile(daemonset, namespace, settings, &mut warnings);
        let hash = History::not_given(daemonset).hash;
        let mut plan = Plan::new(daemonset, hash, Nodes::Kept(nodes), Arc::new(rules), warnings);
        if course == Course::CollectDependents {
            let owned = pods.group(&self.own()).filter_map(|index| pods.get(index)).map(|placed| &placed.pod);
            plan.collect_dependents(daemonset, owned, revisions, effects_observed, settings.burst);
        }
        plan
    }

    /// When time alone makes another plan.
    pub(super) fn changes_at(&self) -> Option<Timestamp> {
        if Course::of(&self.daemonset) != Course::Reconcile {
            return None;
        }
        let gate = self.fold.gate(&self.policy, &self.history.hash, self.at);
        self.fold.changes_at().into_iter().chain(gate.opens_at).min()
    }
}

/// What a DaemonSet's plan depends on besides the DaemonSet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Around<'c> {
    pub(super) namespace: &'c Namespace,
    pub(super) settings: &'c Settings,
    pub(super) backoff: &'c Backoff,
    pub(super) nodes: &'c NodeTable,
    pub(super) pods: &'c PodTable,
    pub(super) now: Timestamp,
}

/// The pods of a cluster that are a DaemonSet's.
struct Claimed<'c> {
    daemon: &'c Daemon,
    pods: &'c PodTable,
}

impl Pods for Claimed<'_> {
    fn get(&self, index: PodIndex) -> Option<&Pod> {
        self.pods.get(index).map(|placed| &placed.pod)
    }

    fn claims(&self) -> Vec<Action> {
        let claims = self.daemon.claims.values();
        claims.filter_map(|(index, claim)| claim_action(*claim, self.get(*index)?)).collect()
    }

    fn claimed(&self) -> impl Iterator<Item = &Pod> {
        let groups = [self.daemon.own(), self.daemon.orphans()];
        let all = groups.into_iter().flat_map(|group| self.pods.group(&group));
        let all = all.filter_map(|index| self.get(index));
        all.filter(|pod| self.daemon.claim(pod).is_claimed())
    }

    fn carry(&self, hash: &str) -> bool {
        self.daemon.hashes.contains_key(hash)
    }
}

impl Outdated {
    const NOTHING: Self = Self { rules: false, history: false, pods: false };
    const EVERYTHING: Self = Self { rules: true, history: true, pods: true };
}

impl Stance {
    const NONE: Self = Self { claim: Claim::Ignore, cell: None };
}

/// The hash that a pod keeps in use.
fn hash_in_use(claim: Claim, pod: &Pod) -> Option<&str> {
    pod.labels.get(HASH_LABEL).filter(|_| claim.is_claimed() && pod.node.name().is_some())
}

impl Few {
    fn iter(&self) -> impl Iterator<Item = &PodIndex> {
        match self {
            Self::None => [].iter(),
            Self::One(one) => std::slice::from_ref(one).iter(),
            Self::Many(many) => many.iter(),
        }
    }

    fn insert(&mut self, index: PodIndex) {
        *self = match mem::take(self) {
            Self::None => Self::One(index),
            Self::One(one) => Self::Many(Box::new(vec![one, index])),
            Self::Many(mut many) => {
                many.push(index);
                Self::Many(many)
            }
        };
    }

    /// Takes out one that is among them.
    fn remove(&mut self, index: PodIndex) {
        *self = match mem::take(self) {
            Self::Many(mut many) => {
                many.retain(|other| *other != index);
                match many.as_slice() {
                    [one] => Self::One(*one),
                    _ => Self::Many(many),
                }
            }
            Self::One(_) | Self::None => Self::None,
        };
    }
}
