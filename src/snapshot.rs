use std::sync::Arc;

use indexmap::IndexMap;
use jiff::Timestamp;

use crate::{
    Action, Backoff, Plan, Settings,
    cell::{CellRules, Member, PodIndex, is_in_a_cell},
    fold::Fold,
    history::History,
    model::{ControllerRevision, DaemonSet, Namespace, Node, Pod, Text},
    nodes::{NodeIndex, Nodes},
    ownership::claim_pod,
    placement::PlacementRules,
    plan::{Course, Facts, Pods, claim_action},
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
                let history = match revisions {
                    Some(_) => History::new(daemonset, all),
                    None => History::not_given(daemonset),
                };
                let backoff = self.backoff.unwrap_or(&no_backoff);
                let cells = CellRules {
                    daemonset,
                    placement: &rules,
                    hash: &history.hash,
                    template_generation: daemonset.template_generation().map(|n| n.to_string().into()),
                    now,
                    backoff,
                    collect: settings.collect_pods_on_missing_nodes,
                };
                let pods = Claimed::new(daemonset, self.pods);
                let fold = pods.fold(&index, &cells);
                let facts =
                    Facts { daemonset, settings, backoff, now, effects_observed, history: &history, fold: &fold };
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

/// The pods of a snapshot that are the DaemonSet's.
struct Claimed<'a> {
    all: &'a [Pod],
    claims: Vec<Action>,
    members: Vec<Member<'a>>,
}

impl<'a> Claimed<'a> {
    fn new(daemonset: &DaemonSet, all: &'a [Pod]) -> Self {
        let (mut claims, mut members) = (Vec::new(), Vec::new());
        for (index, pod) in (0..).zip(all) {
            let claim = claim_pod(daemonset, pod);
            claims.extend(claim_action(claim, pod));
            if claim.is_claimed() {
                members.push(Member { index, pod });
            }
        }
        claims.sort_by(|a, b| a.object().cmp(&b.object()));
        Self { all, claims, members }
    }

    /// Folds the cells of every node and of every missing node that claimed pods are on.
    fn fold(&self, nodes: &NodeIndex<'_>, rules: &CellRules<'_>) -> Fold {
        let (placed, missing) = self.by_node(nodes);
        let mut fold = Fold::default();
        let mut pods = Vec::new();
        for (node, first) in nodes.iter().zip(placed.first) {
            pods.clear();
            let mut place = first;
            while let Some((member, next)) = self.members.get(place).zip(placed.next.get(place)) {
                pods.push(*member);
                place = *next;
            }
            fold.add(&node.name, rules.cell(node, &mut pods));
        }
        for (node, mut pods) in missing {
            fold.add(node, rules.cell_without_node(&mut pods));
        }
        fold
    }

    /// Tells the pods on nodes that there are from those on others.
    fn by_node(&self, nodes: &NodeIndex<'_>) -> (Chains, IndexMap<&'a Text, Vec<Member<'a>>>) {
        let mut chains = Chains { first: vec![usize::MAX; nodes.len()], next: vec![usize::MAX; self.members.len()] };
        let mut missing = IndexMap::<&Text, Vec<Member<'a>>>::new();
        for (place, member) in self.members.iter().enumerate().filter(|(_, member)| is_in_a_cell(member.pod)) {
            let Some(node) = member.pod.node.name() else { continue };
            match nodes.slot(node) {
                Some(slot) => chains.add(slot, place),
                None => missing.entry(node).or_default().push(*member),
            }
        }
        (chains, missing)
    }
}

/// Places in a list, grouped without moving them. A place that there is not ends a chain.
struct Chains {
    /// The first place of each group.
    first: Vec<usize>,
    /// For each place the next one of its group.
    next: Vec<usize>,
}

impl Chains {
    fn add(&mut self, group: usize, place: usize) {
        if let Some((first, next)) = self.first.get_mut(group).zip(self.next.get_mut(place)) {
            *next = std::mem::replace(first, place);
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
        self.members.iter().map(|member| member.pod)
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
