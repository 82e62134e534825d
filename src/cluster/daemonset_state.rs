//! What a [`Cluster`](super::Cluster) keeps for one DaemonSet: its rules, its claimed pods, its decisions and totals.

use std::{
    collections::{BTreeMap, HashMap},
    mem,
};

use foldhash::fast::RandomState;
use jiff::Timestamp;

use super::{
    node_table::{NodeTable, Slot},
    pod_indices::PodIndices,
    pod_table::{PlacedPod, PodOwner, PodTable},
};
use crate::{
    adoption::{
        Claim, RevisionHistory,
        claim::{claim_pod_if, selects},
        template_hash::hash_after,
    },
    backoff::Backoff,
    context::{DaemonSetContext, DaemonSetRules, SyncMode},
    model::{ControllerRevision, DaemonSet, HASH_LABEL, Namespace, Node, Pod, Text},
    node::claimed_pod::{ClaimedPod, PodIndex, is_counted},
    plan::{Action, Plan},
    planner::{
        reconcile::{self, ClusterSource},
        totals::{Contribution, Totals},
    },
    settings::Settings,
};

/// A DaemonSet with everything known about it.
#[derive(Debug)]
pub(super) struct DaemonSetState {
    pub(super) daemonset: DaemonSet,
    /// When time alone makes the plan stale.
    pub(super) due: Option<Timestamp>,
    /// `None` before the first plan.
    rules: Option<DaemonSetRules>,
    stale: Stale,
    /// By the node's slot.
    nodes: Vec<NodeState>,
    /// The slots whose decisions are stale.
    stale_nodes: Vec<Slot>,
    totals: Totals,
    /// When the decisions were last brought up to date.
    at: Option<Timestamp>,
    /// Pods to adopt and to release, by name.
    claims: BTreeMap<Text, (PodIndex, Claim)>,
    /// The number of claimed pods on any node, by hash.
    hashes: HashMap<Text, usize, RandomState>,
}

/// What must be recomputed before the next plan.
#[derive(Clone, Copy, Debug)]
struct Stale {
    rules: bool,
    history: bool,
    /// Which pods are claimed.
    claims: bool,
}

/// What a DaemonSet keeps for one node.
#[derive(Debug, Default)]
struct NodeState {
    pods: PodIndices,
    contribution: Option<Contribution>,
    is_stale: bool,
}

/// What a pod means to a DaemonSet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Membership {
    claim: Claim,
    /// The slot of the node whose decision the pod is part of.
    node: Option<Slot>,
}

/// The parts of the cluster that a DaemonSet's plan depends on.
#[derive(Clone, Copy, Debug)]
pub(super) struct ClusterView<'c> {
    pub(super) namespace: &'c Namespace,
    pub(super) settings: &'c Settings,
    pub(super) backoff: &'c Backoff,
    pub(super) nodes: &'c NodeTable,
    pub(super) pods: &'c PodTable,
    pub(super) now: Timestamp,
    pub(super) expectations_satisfied: bool,
}

impl<'c> ClusterView<'c> {
    fn context(&self, daemonset: &'c DaemonSet, rules: &'c DaemonSetRules) -> DaemonSetContext<'c> {
        let ClusterView { settings, backoff, now, expectations_satisfied, .. } = *self;
        DaemonSetContext { daemonset, rules, settings, backoff, now: Some(now), expectations_satisfied }
    }
}

/// The copy computes its decisions again.
impl Clone for DaemonSetState {
    fn clone(&self) -> Self {
        Self { due: self.due, ..Self::new(self.daemonset.clone()) }
    }
}

impl DaemonSetState {
    pub(super) fn new(daemonset: DaemonSet) -> Self {
        Self {
            rules: None,
            daemonset,
            due: None,
            stale: Stale::EVERYTHING,
            nodes: Vec::new(),
            stale_nodes: Vec::new(),
            totals: Totals::default(),
            at: None,
            claims: BTreeMap::new(),
            hashes: HashMap::default(),
        }
    }

    /// Applies a new state of the DaemonSet.
    pub(super) fn update(&mut self, daemonset: DaemonSet, nodes: &NodeTable) {
        let old = mem::replace(&mut self.daemonset, daemonset);
        let status = self.daemonset.status.clone();
        self.stale.history |= old.status.collision_count != status.collision_count;
        if old.status.observed_generation != status.observed_generation {
            // Back-offs start again.
            for node in self.totals.nodes_with_work() {
                self.mark_stale(nodes.find(&node));
            }
        }
        if (DaemonSet { status, ..old }) != self.daemonset {
            self.stale = Stale::EVERYTHING;
        }
    }

    /// Marks everything stale after a change of the settings.
    pub(super) fn mark_everything_stale(&mut self) {
        self.stale = Stale::EVERYTHING;
    }

    /// Marks the rules stale after a change of the namespace.
    pub(super) fn mark_rules_stale(&mut self) {
        self.stale.rules = true;
    }

    /// Marks the history stale after a change of revisions of the namespace.
    pub(super) fn mark_history_stale(&mut self) {
        self.stale.history = true;
    }

    /// Marks the decision for a node stale.
    pub(super) fn mark_stale(&mut self, slot: Option<Slot>) {
        let Some(slot) = slot else { return };
        if self.node_mut(slot).is_some_and(|node| !mem::replace(&mut node.is_stale, true)) {
            self.stale_nodes.push(slot);
        }
    }

    /// Applies a change of a node. Returns whether the plan may have changed.
    pub(super) fn node_changed(&mut self, slot: Slot, before: Option<&Node>, after: Option<&Node>) -> bool {
        let known = usize::try_from(slot).ok().and_then(|slot| self.nodes.get(slot));
        let has_work = known.and_then(|node| node.contribution.as_ref()).is_some_and(Contribution::has_work);
        if let Some(rules) = self.rules.as_ref().filter(|_| !self.stale.rules)
            && !(rules.policy.guides_updates || has_work)
        {
            let verdict = |node| rules.placement.verdict(node);
            if before.map(verdict) == after.map(verdict) {
                return false;
            }
        }
        self.mark_stale(Some(slot));
        true
    }

    /// Forgets a slot that is about to hold another node.
    pub(super) fn free(&mut self, slot: Slot, name: &Text) {
        let node = usize::try_from(slot).ok().and_then(|slot| self.nodes.get_mut(slot));
        if let Some(contribution) = node.and_then(|node| node.contribution.take()) {
            self.totals.remove(name, contribution);
        }
    }

    /// Applies an added, changed or deleted pod. Returns whether the plan may have changed.
    pub(super) fn pod_changed(
        &mut self,
        index: PodIndex,
        before: Option<&PlacedPod>,
        after: Option<&PlacedPod>,
    ) -> bool {
        let membership = |placed: Option<&PlacedPod>| {
            placed.filter(|placed| self.may_claim(&placed.pod)).map_or(Membership::NONE, |it| self.membership(it))
        };
        let memberships = (membership(before), membership(after));
        if memberships == (Membership::NONE, Membership::NONE) {
            return false;
        }
        if self.stale.claims {
            return true;
        }
        if let Some(placed) = before {
            self.remove_pod(index, placed, memberships.0);
        }
        if let Some(placed) = after {
            self.add_pod(index, placed, memberships.1);
        }
        self.mark_stale(memberships.0.node);
        self.mark_stale(memberships.1.node);
        true
    }

    /// Whether a pod of the namespace is this DaemonSet's or an orphan.
    fn may_claim(&self, pod: &Pod) -> bool {
        pod.controller.as_ref().is_none_or(|owner| owner.uid == self.daemonset.uid)
    }

    fn claim(&self, pod: &Pod) -> Claim {
        claim_pod_if(&self.daemonset, pod, || selects(&self.daemonset, &pod.labels))
    }

    fn membership(&self, PlacedPod { pod, slot }: &PlacedPod) -> Membership {
        let claim = self.claim(pod);
        Membership { claim, node: slot.filter(|_| claim.is_claimed() && is_counted(pod)) }
    }

    fn add_pod(&mut self, index: PodIndex, PlacedPod { pod, .. }: &PlacedPod, Membership { claim, node }: Membership) {
        if matches!(claim, Claim::Adopt | Claim::Release) {
            self.claims.insert(pod.name.clone(), (index, claim));
        }
        if let Some(hash) = hash_in_use(claim, pod) {
            *self.hashes.entry(hash.into()).or_default() += 1;
        }
        if let Some(node) = node.and_then(|slot| self.node_mut(slot)) {
            node.pods.insert(index);
        }
    }

    fn remove_pod(
        &mut self,
        index: PodIndex,
        PlacedPod { pod, .. }: &PlacedPod,
        Membership { claim, node }: Membership,
    ) {
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
        if let Some(node) = node.and_then(|slot| self.node_mut(slot)) {
            node.pods.remove(index);
        }
    }

    fn node_mut(&mut self, slot: Slot) -> Option<&mut NodeState> {
        let slot = usize::try_from(slot).ok()?;
        if slot >= self.nodes.len() {
            self.nodes.resize_with(slot + 1, NodeState::default);
        }
        self.nodes.get_mut(slot)
    }

    /// Recomputes the rules if they are stale, and returns whether nodes may be decided otherwise.
    fn refresh_rules<'r>(
        &mut self,
        view: &ClusterView<'_>,
        stale: Stale,
        revisions: impl Iterator<Item = &'r ControllerRevision>,
    ) -> bool {
        let history = || RevisionHistory::new(&self.daemonset, revisions);
        let compile = |history| DaemonSetRules::compile(&self.daemonset, view.namespace, view.settings, history);
        match &mut self.rules {
            None => {
                self.rules = Some(compile(history()));
                true
            }
            Some(rules) if stale.rules => {
                let new = if stale.history { history() } else { mem::take(&mut rules.history) };
                let before = mem::replace(rules, compile(new));
                before.placement != rules.placement
                    || before.policy != rules.policy
                    || before.direction != rules.direction
                    || stale.history && !before.history.is_current_as(&rules.history)
            }
            Some(rules) => stale.history && rules.set_history(history()),
        }
    }

    /// Recomputes everything that is stale.
    pub(super) fn refresh<'r>(
        &mut self,
        view: &ClusterView<'_>,
        revisions: impl Iterator<Item = &'r ControllerRevision>,
    ) {
        let ClusterView { nodes, pods, now, .. } = *view;
        if SyncMode::of(&self.daemonset, view.namespace) != SyncMode::Reconcile {
            return;
        }
        let stale = mem::replace(&mut self.stale, Stale::NOTHING);
        let mut all_nodes = stale.claims || self.at.is_none_or(|at| now < at);
        all_nodes |= self.refresh_rules(view, stale, revisions);
        if stale.claims {
            self.claim_all(pods);
        }
        if all_nodes {
            self.totals = Totals::default();
            for node in &mut self.nodes {
                (node.contribution, node.is_stale) = (None, false);
            }
            self.stale_nodes.clear();
            for slot in (0..).take(nodes.len()) {
                self.mark_stale(Some(slot));
            }
        } else {
            for node in self.totals.changed_by(now) {
                self.mark_stale(nodes.find(&node));
            }
        }
        self.decide_stale_nodes(view);
        self.at = Some(now);
    }

    fn claim_all(&mut self, pods: &PodTable) {
        self.claims.clear();
        self.hashes.clear();
        for node in &mut self.nodes {
            node.pods = PodIndices::None;
        }
        for owner in [self.as_owner(), self.no_owner()] {
            for index in pods.owned_by(&owner) {
                if let Some(placed) = pods.get(index) {
                    self.add_pod(index, placed, self.membership(placed));
                }
            }
        }
    }

    /// The owner of the pods that it controls.
    fn as_owner(&self) -> PodOwner {
        let DaemonSet { namespace, uid, .. } = &self.daemonset;
        PodOwner { namespace: namespace.clone(), controller: Some(uid.clone()) }
    }

    /// The owner of the orphans in its namespace.
    fn no_owner(&self) -> PodOwner {
        PodOwner { namespace: self.daemonset.namespace.clone(), controller: None }
    }

    fn decide_stale_nodes(&mut self, view: &ClusterView<'_>) {
        let Self { daemonset, rules: Some(rules), nodes: kept_nodes, stale_nodes, totals, .. } = self else { return };
        let (context, nodes) = (view.context(daemonset, rules), view.nodes);
        let mut claimed = Vec::new();
        for slot in stale_nodes.drain(..) {
            let Some(kept) = usize::try_from(slot).ok().and_then(|slot| kept_nodes.get_mut(slot)) else { continue };
            kept.is_stale = false;
            // A slot that was freed in the meantime has no contribution.
            let Some(name) = nodes.name(slot) else { continue };
            if let Some(contribution) = kept.contribution.take() {
                totals.remove(name, contribution);
            }
            claimed.clear();
            claimed.extend(kept.pods.iter().filter_map(|index| {
                let pod = &view.pods.get(*index)?.pod;
                ClaimedPod::new(&context, *index, pod, context.rules.labels.compare(&pod.labels, context.hash()))
            }));
            let decision = match nodes.at(slot) {
                Some(node) => context.decide(node, context.rules.placement.verdict(node), &mut claimed),
                None if claimed.is_empty() => continue,
                None => context.decide_missing(name, &mut claimed),
            };
            kept.contribution = Some(totals.add(name, decision));
        }
    }

    /// Returns the plan, once everything is up to date.
    pub(super) fn plan<'c>(
        &self,
        view: &ClusterView<'c>,
        revisions: impl Iterator<Item = &'c ControllerRevision>,
    ) -> Plan {
        let ClusterView { namespace, settings, pods, nodes, expectations_satisfied, .. } = *view;
        let daemonset = &self.daemonset;
        let mode = SyncMode::of(daemonset, namespace);
        if let (SyncMode::Reconcile, Some(rules)) = (mode, &self.rules) {
            let pods = ClusterPods { state: self, pods, nodes };
            let context = view.context(daemonset, rules);
            return reconcile::reconcile(&context, &self.totals, &pods, rules.warnings.clone());
        }
        let rules = DaemonSetRules::compile(daemonset, namespace, settings, RevisionHistory::not_given(daemonset));
        let mut plan = Plan::new(daemonset, hash_after(daemonset, 0), rules.warnings);
        if mode == SyncMode::CollectDependents {
            let owned = pods.owned_by(&self.as_owner()).filter_map(|index| pods.get(index)).map(|placed| &placed.pod);
            let burst = settings.burst;
            reconcile::collect_dependents(&mut plan, daemonset, owned, revisions, expectations_satisfied, burst);
        }
        plan
    }

    /// When time alone changes the plan.
    pub(super) fn changes_at(&self, view: &ClusterView<'_>) -> Option<Timestamp> {
        let rules = self.rules.as_ref()?;
        if SyncMode::of(&self.daemonset, view.namespace) != SyncMode::Reconcile {
            return None;
        }
        let gate = self.totals.gate(&view.context(&self.daemonset, rules));
        self.totals.changes_at().into_iter().chain(gate.opens_at).min()
    }
}

/// The claimed pods of a DaemonSet in a cluster.
struct ClusterPods<'c> {
    state: &'c DaemonSetState,
    pods: &'c PodTable,
    nodes: &'c NodeTable,
}

impl ClusterSource for ClusterPods<'_> {
    fn get(&self, index: PodIndex) -> Option<&Pod> {
        self.pods.get(index).map(|placed| &placed.pod)
    }

    fn node(&self, name: &Text) -> Option<&Node> {
        self.nodes.get(name)
    }

    fn claims(&self) -> Vec<Action> {
        let claims = self.state.claims.values();
        claims.filter_map(|(index, claim)| Action::of_claim(*claim, self.get(*index)?, &self.state.daemonset)).collect()
    }

    fn claimed(&self) -> impl Iterator<Item = &Pod> {
        let owners = [self.state.as_owner(), self.state.no_owner()];
        let all = owners.into_iter().flat_map(|owner| self.pods.owned_by(&owner));
        let all = all.filter_map(|index| self.get(index));
        all.filter(|pod| self.state.claim(pod).is_claimed())
    }

    fn uses_hash(&self, hash: &str) -> bool {
        self.state.hashes.contains_key(hash)
    }
}

impl Stale {
    const NOTHING: Self = Self { rules: false, history: false, claims: false };
    const EVERYTHING: Self = Self { rules: true, history: true, claims: true };
}

impl Membership {
    const NONE: Self = Self { claim: Claim::Ignore, node: None };
}

/// The hash that a pod keeps in use.
fn hash_in_use(claim: Claim, pod: &Pod) -> Option<&str> {
    pod.labels.get(HASH_LABEL).filter(|_| claim.is_claimed() && pod.node.name().is_some())
}
