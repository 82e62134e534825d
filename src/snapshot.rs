//! A plan from all that there is, at once.
//!
//! # Where the time goes
//!
//! On 10,000 nodes with a pod each, whose names and uids are too long to be held in place, a settled plan takes about
//! 1,000 instructions for a node and its pod, and misses a cache of 1 MB about 17 times (cachegrind). What it cannot do
//! without is about 14 cache lines: of a node its struct (2), the value of each label that a rule asks for, and its
//! taints; of a pod its struct (5), the name of its node, and that node's entry, struct and name to compare. A pod of
//! another controller takes 30 instructions and a line, a requirement on labels 130 and up to a line.
//!
//! So what decides often is held in place ([`Text`]), label sets share their keys, and all they have if they are equal
//! ([`Labels`]), so that most pods' labels are known by their address, and nodes and pods are looked at in small steps, a
//! few at a time, so that several fetches are under way at the same time.

use std::sync::Arc;

use indexmap::IndexMap;
use jiff::Timestamp;

use crate::{
    Action, Backoff, Plan, Settings,
    cell::{Cell, CellRules},
    fold::Fold,
    history::History,
    member::{Member, PodIndex, TemplateLabels},
    model::{ControllerRevision, DaemonSet, Labels, Namespace, Node, Pod, Text},
    nodes::{NodeIndex, Nodes},
    ownership::{Claim, claim_pod, selects},
    placement::{PlacementRules, Verdict},
    plan::{Course, Facts, Pods, claim_action},
    recent::Recent,
    resolved::Policy,
};

/// All that a plan is made from: one DaemonSet and the cluster around it, at one moment.
///
/// What is not given: no ControllerRevisions (which is not the same as an empty slice of them), no clock, the default
/// [`Settings`], no back-off of Failed pods, and all effects of the last plan observed.
///
/// ```
/// use daemonplan::{Settings, Snapshot, model::{DaemonSet, Namespace, Node}};
/// let (daemonset, namespace) = (DaemonSet::new("prod", "agent"), Namespace::new("prod"));
/// let nodes = [Node::new("node-7")];
/// let settings = Settings::default().burst(10);
/// let plan = Snapshot::new(&daemonset, &nodes, &[], &namespace)
///     .revisions(&[])
///     .now("2026-01-02T03:04:05Z".parse().unwrap())
///     .settings(&settings)
///     .plan();
/// assert_eq!(plan.status.unwrap().desired_number_scheduled, 1);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Snapshot<'a> {
    pub(crate) daemonset: &'a DaemonSet,
    pub(crate) nodes: &'a [Node],
    pub(crate) pods: &'a [Pod],
    pub(crate) namespace: &'a Namespace,
    pub(crate) revisions: Option<&'a [ControllerRevision]>,
    pub(crate) now: Option<Timestamp>,
    pub(crate) settings: Option<&'a Settings>,
    pub(crate) backoff: Option<&'a Backoff>,
    pub(crate) effects_observed: bool,
}

impl<'a> Snapshot<'a> {
    /// A DaemonSet, all nodes of the cluster, the pods of the DaemonSet's namespace (others are ignored) and that
    /// namespace. The order of nodes and pods makes no difference.
    pub fn new(daemonset: &'a DaemonSet, nodes: &'a [Node], pods: &'a [Pod], namespace: &'a Namespace) -> Self {
        Self {
            daemonset,
            nodes,
            pods,
            namespace,
            revisions: None,
            now: None,
            settings: None,
            backoff: None,
            effects_observed: true,
        }
    }

    /// All ControllerRevisions of the namespace. Without them a plan has no actions on revisions.
    #[must_use]
    pub fn revisions(self, revisions: &'a [ControllerRevision]) -> Self {
        Self { revisions: Some(revisions), ..self }
    }

    /// The time. Without it no pod is available under a positive `minReadySeconds`, and no back-off starts.
    #[must_use]
    pub fn now(self, now: Timestamp) -> Self {
        Self { now: Some(now), ..self }
    }

    /// What the cluster's operator has configured.
    #[must_use]
    pub fn settings(self, settings: &'a Settings) -> Self {
        Self { settings: Some(settings), ..self }
    }

    /// The back-off of Failed pods, as earlier plans gave it back.
    #[must_use]
    pub fn backoff(self, backoff: &'a Backoff) -> Self {
        Self { backoff: Some(backoff), ..self }
    }

    /// Says that the effects of the last plan do not show yet, as when a cache lags behind: then nothing is created
    /// or deleted.
    #[must_use]
    pub fn effects_unobserved(self) -> Self {
        Self { effects_observed: false, ..self }
    }

    /// The DaemonSet that the plan is for.
    pub fn daemonset(&self) -> &'a DaemonSet {
        self.daemonset
    }

    pub(crate) fn history(&self) -> History {
        match self.revisions {
            Some(revisions) => History::new(self.daemonset, revisions.iter()),
            None => History::not_given(self.daemonset),
        }
    }

    /// The plan.
    pub fn plan(self) -> Plan<'a> {
        let Self { daemonset, namespace, revisions, now, effects_observed, .. } = self;
        let (default_settings, no_backoff) = (Settings::default(), Backoff::default());
        let settings = self.settings.unwrap_or(&default_settings);
        let mut warnings = Vec::new();
        let index = NodeIndex::new(self.nodes, &mut warnings);
        let rules = Arc::new(PlacementRules::compile(daemonset, namespace, settings, &mut warnings));
        let all = revisions.unwrap_or_default().iter();
        match Course::of(daemonset) {
            Course::Reconcile => {
                let history = self.history();
                let backoff = self.backoff.unwrap_or(&no_backoff);
                let labels = TemplateLabels::of(daemonset);
                let policy = Policy::of(daemonset, settings, &mut warnings);
                let cells = CellRules {
                    daemonset,
                    placement: &rules,
                    policy: &policy,
                    hash: &history.hash,
                    labels: &labels,
                    now,
                    backoff,
                    settings,
                };
                let mut fold = Fold::default();
                let pods = Claimed::cells(self.pods, &index, &cells, |site| {
                    fold.add(site.name, site.cell);
                });
                let facts = Facts {
                    daemonset,
                    settings,
                    policy: &policy,
                    backoff,
                    now,
                    effects_observed,
                    history: &history,
                    fold: &fold,
                };
                let hash = history.hash.clone();
                let mut plan = Plan::new(daemonset, hash, Nodes::Listed(index), Arc::clone(&rules), warnings);
                plan.reconcile(&facts, &pods);
                plan
            }
            course => {
                let hash = History::not_given(daemonset).hash;
                let mut plan = Plan::new(daemonset, hash, Nodes::Listed(index), rules, warnings);
                if course == Course::CollectDependents {
                    plan.collect_dependents(daemonset, self.pods.iter(), all, effects_observed, settings.burst);
                }
                plan
            }
        }
    }
}

/// A place for pods, and what is to be said of it: a node, or the name of one that is missing.
pub(crate) struct Site<'s> {
    pub(crate) name: &'s Text,
    pub(crate) node: Option<&'s Node>,
    pub(crate) verdict: Verdict,
    pub(crate) pods: &'s [Member<'s>],
    pub(crate) cell: Cell,
}

/// The pods of a snapshot, and which of them are the DaemonSet's.
pub(crate) struct Claimed<'a> {
    all: &'a [Pod],
    claims: Vec<Action>,
    own: Vec<PodIndex>,
}

impl<'a> Claimed<'a> {
    /// Claims pods, and hands on the cells of every node and of every missing node that claimed pods are on.
    pub(crate) fn cells(
        all: &'a [Pod],
        nodes: &NodeIndex<'_>,
        rules: &CellRules<'_>,
        mut each: impl FnMut(Site<'_>),
    ) -> Self {
        let mut pods = Self { all, claims: Vec::new(), own: Vec::new() };
        let mut placed = Chains { last: vec![usize::MAX; nodes.len()], members: Vec::new() };
        let mut missing = IndexMap::<&Text, Vec<Member<'a>>>::new();
        let (mut selected, mut origins) = (ByLabels::new(), ByLabels::new());
        // In two steps for a few pods at a time: a step waits for memory at several places at the same time, and the next
        // finds these pods still at hand.
        let mut members = Vec::with_capacity(BATCH);
        for (first, batch) in (0..).step_by(BATCH).zip(all.chunks(BATCH)) {
            for (index, pod) in (first..).zip(batch) {
                let selects = || selected.get(&pod.labels, |labels| selects(rules.daemonset, labels));
                let claim = claim_pod(rules.daemonset, pod, selects);
                if claim == Claim::Ignore {
                    continue;
                }
                pods.claims.extend(claim_action(claim, pod));
                if claim.is_claimed() {
                    pods.own.push(index);
                    members.extend(rules.member(index, pod, origins.get(&pod.labels, |labels| rules.origin(labels))));
                }
            }
            for member in members.drain(..) {
                match member.pod.node.name().map(|node| (node, nodes.slot(node))) {
                    Some((_, Some(slot))) => placed.add(slot, member),
                    Some((node, None)) => missing.entry(node).or_default().push(member),
                    None => {}
                }
            }
        }
        pods.claims.sort_by(|a, b| a.object().cmp(&b.object()));

        let mut members = Vec::new();
        for ((node, verdict), last) in nodes.all().iter().zip(rules.verdicts(nodes.all())).zip(&placed.last) {
            placed.collect(*last, &mut members);
            let cell = rules.cell(node, verdict, &mut members);
            each(Site { name: &node.name, node: Some(node), verdict, pods: &members, cell });
        }
        for (name, mut members) in missing {
            let cell = rules.cell_without_node(name, &mut members);
            each(Site { name, node: None, verdict: Verdict::Refuse, pods: &members, cell });
        }
        pods
    }
}

/// How many pods are looked at at a time.
const BATCH: usize = 64;

/// What was found out about labels; most pods have the same ones as the pods before them.
struct ByLabels<'a, T>(Recent<(&'a Labels, T)>);

impl<'a, T: Copy> ByLabels<'a, T> {
    fn new() -> Self {
        Self(Recent::new(4))
    }

    fn get(&mut self, labels: &'a Labels, find_out: impl Fn(&Labels) -> T) -> T {
        let known = self.0.get(|(known, _)| known.are_the_same(labels), || (labels, find_out(labels)));
        known.map_or_else(|| find_out(labels), |(_, found)| *found)
    }
}

/// Pods by node, without a list for each node.
struct Chains<'a> {
    /// For each node the place of its last pod.
    last: Vec<usize>,
    /// Each with the place of the pod before it on the same node. A place that there is not ends a chain.
    members: Vec<(Member<'a>, usize)>,
}

impl<'a> Chains<'a> {
    fn add(&mut self, slot: usize, member: Member<'a>) {
        if let Some(last) = self.last.get_mut(slot) {
            let before = std::mem::replace(last, self.members.len());
            self.members.push((member, before));
        }
    }

    fn collect(&self, mut place: usize, members: &mut Vec<Member<'a>>) {
        members.clear();
        while let Some((member, before)) = self.members.get(place) {
            members.push(*member);
            place = *before;
        }
    }
}

impl Pods for Claimed<'_> {
    fn get(&self, index: PodIndex) -> Option<&Pod> {
        self.all.get(usize::try_from(index).ok()?)
    }

    fn claims(&self) -> Vec<Action> {
        self.claims.clone()
    }

    fn claimed(&self) -> impl Iterator<Item = &Pod> {
        self.own.iter().filter_map(|index| self.get(*index))
    }
}

/// What a DaemonSet needs: the short form of [`Snapshot::plan`], for the actions alone.
///
/// ```
/// use daemonplan::{Action, model::{DaemonSet, Namespace, Node}, plan};
/// let mut daemonset = DaemonSet::new("prod", "agent");
/// daemonset.selector = serde_json::from_str(r#"{"matchLabels": {"app": "agent"}}"#).unwrap();
/// let actions = plan(&daemonset, &[Node::new("node-7")], &[], &Namespace::new("prod"));
/// assert!(matches!(&actions[0], Action::CreatePod { node, .. } if node == "node-7"));
/// ```
pub fn plan(daemonset: &DaemonSet, nodes: &[Node], pods: &[Pod], namespace: &Namespace) -> Vec<Action> {
    Snapshot::new(daemonset, nodes, pods, namespace).plan().actions
}
