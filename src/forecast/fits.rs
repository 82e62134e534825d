//! On which nodes the pods of a rollout will not start, because the scheduler or admission refuses them.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use crate::{
    adoption::{
        claim::claim_pod,
        revision_match::{RevisionLabels, RevisionMatch},
    },
    backoff::is_rejection,
    forecast::{
        StuckCause,
        node_fits::{NodeFit, node_fits, waiting_fit},
    },
    model::{Key, Node, Pod, PodPhase, Resource, Taint, Text},
    planner::Snapshot,
    scheduling::{
        AdmissionRefusal, Admitted, ClusterState, ComingPods, PodsAlike, QuotaLedger, QuotaUse, UnknownFact, is_unbound,
    },
    selector::PerNode,
};

/// What the scheduler and admission would say about new pods of the current template.
#[derive(Clone, Debug, Default)]
pub(super) struct Fits<'a> {
    nodes: Arc<HashMap<Text, NodeFit>>,
    /// The cluster, if the scheduler is asked.
    state: Option<&'a ClusterState<'a>>,
    /// Why admission refuses new pods.
    refusal: PerNode<Option<StuckCause>>,
    quotas: Option<Quotas<'a>>,
    /// The pods that other DaemonSets of the namespace are about to create.
    others: Vec<&'a ComingPods<'a>>,
    /// The pods that wait and are not as new ones would be, or not where those would come: why the scheduler does not bind them.
    waiting: Arc<HashMap<&'a Text, NodeFit>>,
    /// Why the kubelets of nodes have rejected pods of the DaemonSet.
    rejected: HashMap<&'a Text, &'a Text>,
    /// The nodes whose kubelet rejects pods that are not critical, as it lacks something, with the taint that says so.
    pressed: HashMap<&'a Text, &'a Taint>,
    /// What is not known about new pods on any node.
    unknown: Vec<UnknownFact>,
}

/// The quotas, and what the pods of the rollout use of them.
#[derive(Clone, Debug)]
struct Quotas<'a> {
    /// Of the quotas that count the new pods.
    ledger: QuotaLedger<'a>,
    new: Arc<PerNode<QuotaUse>>,
    /// What the pods use whose deletion has begun, but for the DaemonSet's.
    leaving: Arc<Vec<QuotaUse>>,
    /// Whether there was room only once others had gone. They are gone then in the ledger.
    awaits_others: bool,
    /// The room before any pod of the rollout comes or goes.
    start: Arc<QuotaLedger<'a>>,
    /// What the pods of the start use, by name.
    known: Arc<HashMap<Text, QuotaUse>>,
}

impl<'a> Fits<'a> {
    pub(super) fn new(snapshot: &Snapshot<'a>) -> Self {
        let (rejected, failing) = (rejected(snapshot), failing(snapshot));
        let new = snapshot.scheduling.and_then(|state| Some((state, snapshot.admitted_pods(state.objects())?)));
        let Some((state, new)) = new else {
            return Self { rejected, unknown: failing.into_iter().collect(), ..Self::default() };
        };
        let new_pods = new.map(|(pod, _)| pod);
        let (_, admitted) = new.general();
        let is_critical = admitted.spec.priority.is_some_and(|priority| priority >= SYSTEM_CRITICAL);
        let key = snapshot.daemonset.key();
        let own = snapshot.pods.iter().filter(|pod| pod.namespace == snapshot.namespace.name && !pod.is_terminal());
        let leaving =
            own.clone().filter(|pod| pod.is_being_deleted() && !claim_pod(snapshot.daemonset, pod).is_claimed());
        let specs = new.map(|(_, admitted)| &admitted.spec);
        let ledger = QuotaLedger::new(snapshot.admission(state.objects())).that_count(&specs);
        let uses = Arc::new(new.map(|(_, admitted)| ledger.use_of(&admitted.spec)));
        let is_limited = uses.values().any(QuotaUse::is_limited);
        let use_of = |pod: &Pod| ledger.use_of(&pod.spec.clone().unwrap_or_default());
        let quotas = Quotas {
            leaving: Arc::new(leaving.map(use_of).collect()),
            awaits_others: false,
            known: Arc::new(own.filter(|_| is_limited).map(|pod| (pod.name.clone(), use_of(pod))).collect()),
            new: uses,
            start: Arc::new(ledger.clone()),
            ledger,
        };
        // A quota that is used up has room again once an old pod is gone.
        let unchecked = admitted.refusal.as_ref().filter(|refusal| refusal.is_of_status());
        let unchecked = unchecked.map(|refusal| UnknownFact::Creation { message: refusal.to_string().into() });
        let is_refused = admitted.refusal.is_some();
        let not_created =
            |own: &AdmissionRefusal| StuckCause::NotCreated { plugin: own.plugin.into(), message: own.to_string() };
        let lasting = |admitted: &Admitted| admitted.refusal.as_ref().filter(|own| own.is_lasting()).map(not_created);
        Self {
            state: Some(state),
            waiting: waiting(snapshot, state, &new_pods).into(),
            nodes: node_fits(snapshot, state, new_pods).into(),
            refusal: new.map(|(_, admitted)| lasting(admitted)),
            quotas: Some(quotas),
            others: state.coming_in_namespace_of(&key).collect(),
            rejected,
            pressed: if is_critical { HashMap::new() } else { pressed(snapshot.nodes) },
            unknown: admitted
                .unknown
                .iter()
                .cloned()
                .chain(failing)
                .chain(unchecked.or_else(|| failed_creation(snapshot, state).filter(|_| !is_refused)))
                .collect(),
        }
    }

    /// Returns an answer that refuses nothing: new pods fit, but on some nodes they still take the place of the DaemonSet's others.
    pub(super) fn unrefusing(&self) -> Self {
        let displacing = self.nodes.keys().filter(|node| self.displaces_own(node));
        let fit = || NodeFit { displaces_own: true, ..NodeFit::default() };
        let nodes: HashMap<_, _> = displacing.map(|node| (node.clone(), fit())).collect();
        Self { nodes: nodes.into(), ..Self::default() }
    }

    /// Whether the answers are those of the scheduler and admission.
    pub(super) fn asks_scheduler(&self) -> bool {
        self.quotas.is_some()
    }

    /// Returns why a new pod does not come to run on a node, beside other pods of the DaemonSet or after they have left.
    pub(super) fn refusal(&self, node: &Text, is_beside: bool) -> Option<&StuckCause> {
        let of_node = self.nodes.get(node).and_then(|fit| if is_beside { &fit.beside } else { &fit.alone }.as_ref());
        self.not_created(node).or(of_node)
    }

    /// Returns why admission refuses a new pod on a node.
    fn not_created(&self, node: &Text) -> Option<&StuckCause> {
        self.on(&self.refusal, node).as_ref()
    }

    fn on<'v, T>(&self, values: &'v PerNode<T>, node: &Text) -> &'v T {
        values.on_known(self.state.and_then(|state| state.node(node)))
    }

    /// Returns what the scheduler says of a pod of the start that waits, if it is not as new ones would be.
    pub(super) fn waiting(&self, pod: &Text) -> Option<&NodeFit> {
        self.waiting.get(pod)
    }

    /// Whether a new pod on a node takes the place of the DaemonSet's other pods.
    pub(super) fn displaces_own(&self, node: &Text) -> bool {
        self.not_created(node).is_none() && self.nodes.get(node).is_some_and(|fit| fit.displaces_own)
    }

    /// Whether others take the place of the DaemonSet's pods on a node for certain.
    pub(super) fn loses_place(&self, node: &Text) -> bool {
        self.nodes.get(node).is_some_and(|fit| fit.loses_place)
    }

    /// Returns the pods of others whose place a new pod on a node takes.
    pub(super) fn victims(&self, node: &Text) -> &[Key] {
        let fit = self.nodes.get(node).filter(|_| self.not_created(node).is_none());
        fit.map(|fit| fit.victims.as_slice()).unwrap_or_default()
    }

    /// Returns what is not known that decides about new pods on these nodes.
    pub(super) fn unknown<'n>(&self, nodes: impl IntoIterator<Item = &'n Text>) -> Vec<UnknownFact> {
        let (mut unknown, mut count) = (BTreeSet::new(), 0);
        for node in nodes {
            count += 1;
            let of_node = self.nodes.get(node).map(|fit| fit.unknown.as_slice()).unwrap_or_default();
            unknown.extend(of_node.iter().chain(&self.unknown).cloned());
            let rejected = self.rejected.get(node).copied().cloned();
            unknown.extend(rejected.map(|reason| UnknownFact::Kubelet { node: node.clone(), reason }));
            let taint = self.pressed.get(node).map(|taint| taint.key.clone());
            unknown.extend(taint.map(|taint| UnknownFact::Pressure { node: node.clone(), taint }));
        }
        if count > 0 {
            unknown.extend(self.shared_quota());
            let awaits_others = self.quotas.as_ref().is_some_and(|quotas| quotas.awaits_others);
            unknown.extend(awaits_others.then_some(UnknownFact::QuotaRoom));
        }
        // The only new pod comes first.
        unknown.into_iter().filter(|fact| count > 1 || *fact != UnknownFact::OwnPods).collect()
    }

    /// Returns which pods of the DaemonSet others may preempt.
    pub(super) fn threats(&self) -> impl Iterator<Item = &UnknownFact> {
        self.nodes.values().filter_map(|fit| fit.threat.as_ref())
    }

    /// Returns the other DaemonSets for whose new pods the quotas have no room any more, or none yet: who is first decides. One that
    /// waits for room may take that of a pod which is being replaced.
    fn shared_quota(&self) -> Option<UnknownFact> {
        let Quotas { ledger, start, awaits_others, .. } = self.limiting_quotas()?;
        let mut later = if *awaits_others { ledger.clone() } else { self.without_others(ledger) };
        let state = self.state?;
        let mut lacks_room = |coming: &ComingPods<'_>| {
            let mut first = QuotaLedger::clone(start);
            coming.give_room(&mut first);
            let has_room_first = coming.take_room(state, &mut first);
            !coming.take_room(state, &mut later) || !has_room_first
        };
        let without_room = self.others.iter().filter(|coming| lacks_room(coming));
        let daemonsets: Vec<_> = without_room.map(|coming| coming.daemonset().clone()).collect();
        (!daemonsets.is_empty()).then_some(UnknownFact::SharedQuota { daemonsets })
    }

    /// Takes the room for a new pod on a node in the quotas; returns why there is none.
    pub(super) fn take_room(&mut self, node: &Text, is_new: bool) -> Option<StuckCause> {
        // What admission never admits takes none. A pod by an older template may be admitted.
        if let Some(refusal) = self.not_created(node).filter(|_| is_new) {
            return Some(refusal.clone());
        }
        let Quotas { ledger, new, awaits_others, .. } = self.quotas.as_ref()?;
        let new = self.on(new, node);
        let mut lacking = ledger.lacking(new);
        let later = lacking.as_ref().filter(|_| !awaits_others).map(|_| self.without_others(ledger));
        let later = later.filter(|later| later.lacking(new).is_none());
        let known = self.state.and_then(|state| state.node(node));
        let Quotas { ledger, new, awaits_others, .. } = self.quotas.as_mut()?;
        let new = new.on_known(known);
        if let Some(later) = later {
            (*ledger, *awaits_others, lacking) = (later, true, None);
        }
        if lacking.is_none() {
            ledger.take(new);
        }
        lacking.map(|message| StuckCause::NotCreated { plugin: "ResourceQuota".into(), message })
    }

    /// Returns the room once the pods of others are gone that go.
    fn without_others(&self, ledger: &QuotaLedger<'a>) -> QuotaLedger<'a> {
        let mut later = ledger.clone();
        self.others.iter().for_each(|coming| coming.give_room(&mut later));
        let leaving = self.quotas.iter().flat_map(|quotas| quotas.leaving.iter());
        leaving.for_each(|pod| later.give(pod));
        later
    }

    /// Whether a quota counts new pods, and has room for one.
    pub(super) fn quota_has_room(&self) -> bool {
        self.limiting_quotas()
            .is_some_and(|Quotas { ledger, new, .. }| new.values().any(|new| ledger.lacking(new).is_none()))
    }

    /// Returns the quotas, if one counts new pods.
    fn limiting_quotas(&self) -> Option<&Quotas<'a>> {
        self.quotas.as_ref().filter(|quotas| quotas.new.values().any(QuotaUse::is_limited))
    }

    /// Gives back the room of a pod that is gone from a node. One that was not there at the start is a new one that had room.
    pub(super) fn give_room(&mut self, node: &Text, pod: &Text) {
        let node = self.state.and_then(|state| state.node(node));
        if let Some(Quotas { ledger, new, known, .. }) = &mut self.quotas {
            ledger.give(known.get(pod).unwrap_or_else(|| new.on_known(node)));
        }
    }
}

/// Asks the scheduler about the pods of the DaemonSet that wait and are not as new ones would be, or are for nodes to which none
/// would come.
fn waiting<'a>(snapshot: &Snapshot<'a>, state: &ClusterState<'_>, new: &PerNode<&Pod>) -> HashMap<&'a Text, NodeFit> {
    let own = snapshot.pods.iter().filter(|pod| is_unbound(pod) && claim_pod(snapshot.daemonset, pod).is_claimed());
    let mut own = own.peekable();
    if own.peek().is_none() {
        return HashMap::new();
    }
    let rules = snapshot.placement_rules();
    let (labels, hash) = (RevisionLabels::new(snapshot.daemonset, true), snapshot.history().hash);
    let wanted = snapshot.nodes.iter().filter(|node| rules.verdict(node).should_run());
    let wanted: HashMap<&Text, &Node> = wanted.map(|node| (&node.name, node)).collect();
    // Pods of one spec are one as the other.
    let (mut by_spec, mut as_new) = (HashMap::<_, PodsAlike<'_>>::new(), HashMap::<_, bool>::new());
    let answers = own.filter_map(|pod| {
        let (node, spec) = pod.node.name().zip(pod.spec.as_ref())?;
        let new = new.on_known(state.node(node));
        let is_outdated = || labels.compare(&pod.labels, &hash) == RevisionMatch::Outdated;
        let mut is_as_new = || {
            let known = as_new.entry((Arc::as_ptr(spec), std::ptr::from_ref(*new)));
            *known.or_insert_with(|| new.spec.as_ref().is_some_and(|new| spec.is_scheduled_as(new)))
        };
        // Where nothing is to be tolerated, it does not matter what is.
        let tolerates_alike = |node: &&Node| {
            let has_none = node.taints.is_empty() && !node.unschedulable;
            has_none || new.spec.as_ref().is_some_and(|new| new.tolerations == spec.tolerations)
        };
        let is_other = !wanted.get(node).is_some_and(tolerates_alike) || is_outdated() || !is_as_new();
        is_other.then(|| {
            let alike = by_spec.entry((Arc::as_ptr(spec), &pod.labels)).or_insert_with(|| state.pods_like(pod));
            (&pod.name, waiting_fit(alike, pod, node))
        })
    });
    answers.collect()
}

/// The lowest priority of pods that the kubelet admits whatever it lacks.
/// <https://kubernetes.io/docs/tasks/administer-cluster/guaranteed-scheduling-critical-addon-pods/>
const SYSTEM_CRITICAL: i32 = 2_000_000_000;

/// Returns the nodes that lack disk space or process IDs. For lack of memory only pods without requests are rejected that do not
/// tolerate the taint, and the pods of DaemonSets do.
/// <https://kubernetes.io/docs/concepts/scheduling-eviction/node-pressure-eviction/>
fn pressed(nodes: &[Node]) -> HashMap<&Text, &Taint> {
    const PRESSURES: [&str; 2] = ["node.kubernetes.io/disk-pressure", "node.kubernetes.io/pid-pressure"];
    let pressed = nodes.iter().filter_map(|node| {
        let taint = node.taints.iter().find(|taint| PRESSURES.contains(&taint.key.as_str()))?;
        Some((&node.name, taint))
    });
    pressed.collect()
}

/// Returns why the controller could not create a pod, if that is the last that Events say of it.
fn failed_creation(snapshot: &Snapshot<'_>, state: &ClusterState<'_>) -> Option<UnknownFact> {
    let daemonset = snapshot.daemonset;
    let events = state.objects().events_about("DaemonSet", &daemonset.key(), &daemonset.uid);
    let last =
        events.into_iter().find(|event| ["FailedCreate", "SuccessfulCreate"].contains(&event.reason.as_str()))?;
    (last.reason == "FailedCreate").then(|| UnknownFact::Creation { message: last.message.clone() })
}

/// Returns a pod of the current template whose containers do not start, if none of that template is ready anywhere.
fn failing(snapshot: &Snapshot<'_>) -> Option<UnknownFact> {
    let fails = |pod: &&Pod| !pod.is_ready() && pod.problem.as_ref().is_some_and(|problem| !problem.waiting.is_empty());
    let mut failing = snapshot.pods.iter().filter(fails).peekable();
    failing.peek()?;
    let (labels, hash) = (RevisionLabels::new(snapshot.daemonset, true), snapshot.history().hash);
    let is_new = |pod: &&Pod| {
        let is_outdated = || labels.compare(&pod.labels, &hash) == RevisionMatch::Outdated;
        !pod.is_terminal() && claim_pod(snapshot.daemonset, pod).is_claimed() && !is_outdated()
    };
    let first = failing.filter(is_new).min_by_key(|pod| &pod.name)?;
    if snapshot.pods.iter().any(|pod| pod.is_ready() && is_new(&pod)) {
        return None;
    }
    let problem = first.problem.as_ref().map(|problem| problem.waiting.clone()).unwrap_or_default();
    Some(UnknownFact::FailingTemplate { pod: first.key(), problem })
}

/// Returns the nodes whose kubelet has rejected a pod of the DaemonSet, with its reason.
fn rejected<'a>(snapshot: &Snapshot<'a>) -> HashMap<&'a Text, &'a Text> {
    let failed = snapshot.pods.iter().filter(|pod| pod.phase == PodPhase::Failed);
    let mut rejected = HashMap::new();
    for pod in failed.filter(|pod| claim_pod(snapshot.daemonset, pod).is_claimed()) {
        let reason = pod.problem.as_ref().map(|problem| &problem.reason).filter(|reason| is_rejection(reason));
        if let Some((node, reason)) = pod.node.name().zip(reason) {
            rejected.entry(node).and_modify(|known: &mut &Text| *known = (*known).min(reason)).or_insert(reason);
        }
    }
    rejected
}
