//! A node in an update: what its pods say about the new template, and whether it counts.

use serde_json::{Value, json};

use super::super::{
    facts::{Facts, Pod},
    nodes::{NodeState, placement},
    selectors::{list, pairs, text},
    update::pods_of,
};
use super::{CANARIES, NO_GROUP, Policy, seconds};

/// A node in an update.
#[allow(clippy::struct_excessive_bools)] // independent facts
pub struct Target<'s> {
    pub state: &'s NodeState,
    /// Whether a pod should run here, or would if the node reported.
    pub wanted: bool,
    /// Whether it no longer reports.
    pub lost: bool,
    /// Whether it no longer reports and has no pod.
    pub lost_pod: bool,
    /// The index and name of its group.
    pub group: (usize, String),
    pub rank: i64,
    pub selected: bool,
    /// Whether it is left out.
    pub away: bool,
    /// Whether it is left out as its updated pod cannot be scheduled.
    pub unschedulable: bool,
    /// Whether the node is missing: its pods are deleted in any case, and only use up the budget.
    pub gone: bool,
    /// What its new pods say, if it has any.
    pub health: Option<Health>,
    /// When its last new pod came, unless the node was new itself.
    pub reached_at: Option<i64>,
    pub stuck: bool,
    /// Whether an updated pod has run for so long that it was ready before, and is not available.
    pub flaps: bool,
    pub old: Vec<Pod>,
    pub new: Vec<Pod>,
    /// The hash of the outdated pod, which may be being deleted, and whether it is available, or broken.
    pub older: Option<(String, bool, bool)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Health {
    Well,
    InDoubt,
    Failing,
}

/// The time, and when it changes something next, in seconds from now.
pub struct Clock<'c, 'f> {
    pub facts: &'c Facts<'f>,
    pub times: Vec<i64>,
}

impl Clock<'_, '_> {
    /// Returns whether `seconds` have passed since `since`; otherwise records when they will have.
    fn is_over(&mut self, since: &Value, after: i64) -> bool {
        let (Some(since), Some(now)) = (in_seconds(since), self.facts.now) else { return false };
        let left = since + after - now.as_second();
        if left > 0 {
            self.times.push(left);
        }
        left <= 0
    }
}

pub(super) fn in_seconds(time: &Value) -> Option<i64> {
    Some(time.as_str()?.parse::<jiff::Timestamp>().unwrap().as_second())
}

const NOT_READY: &str = "node.kubernetes.io/not-ready";
const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
const CORDONED: &str = "node.kubernetes.io/unschedulable";

/// Returns the time of the oldest taint with this key, null if it has none. One without a time is older than all others.
fn tainted(state: &NodeState, key: &str) -> Option<Value> {
    let taints = list(&state.node["spec"]["taints"]);
    let times = taints.iter().filter(|taint| text(taint, "key") == key).map(|taint| taint["timeAdded"].clone());
    times.min_by_key(in_seconds)
}

fn condition(pod: &Pod, kind: &str, status: &str) -> Option<Value> {
    let conditions = list(&pod.json["status"]["conditions"]);
    conditions.into_iter().find(|condition| condition["type"] == kind && condition["status"] == status)
}

impl<'s> Target<'s> {
    /// `is_return` says whether an operator or a roll-back set the template again; `roll_back` is the failure after which a
    /// roll-back did.
    pub fn new(
        policy: &Policy,
        is_return: bool,
        roll_back: Option<&Value>,
        state: &'s NodeState,
        clock: &mut Clock<'_, '_>,
    ) -> Self {
        let labels = pairs(&state.node["metadata"]["labels"]);
        let (old, new) = pods_of(state);
        let olds: Vec<_> = state.pods.iter().filter(|pod| !pod.updated).collect();
        let first_old = olds.iter().find(|pod| !pod.deleting).or(olds.first());
        let listed: Vec<_> = policy.get("group-order").map(|names| names.split(',').collect()).unwrap_or_default();
        let named = policy.get("groups").and_then(|label| labels.get(label));
        let group = match named {
            _ if state.exists && policy.selects("canary-nodes", &labels) == Some(true) => (CANARIES, String::new()),
            Some(name) => match listed.iter().position(|first| first == name) {
                Some(place) => (1 + place, name.clone()),
                None => (NO_GROUP - 1, name.clone()),
            },
            None => (NO_GROUP, String::new()),
        };
        let rank = match policy.get("order").unwrap_or("name").split_once('=') {
            Some(("priority", label)) => {
                labels.get(label).and_then(|text| text.parse::<i64>().ok()).map_or(i64::MAX, |priority| -priority)
            }
            Some((_, seed)) => random_rank(seed.parse().unwrap(), &state.name),
            None if policy.says("order", "oldest-pod") => {
                first_old.and_then(|pod| pod.created).map_or(i64::MIN, jiff::Timestamp::as_second)
            }
            None => 0,
        };
        let (away, unschedulable) = absence(policy, roll_back, state, clock);
        let lost = lost_at(state).filter(|_| !away && state.exists);
        let wanted = is_wanted(clock.facts, state);
        let lost_since = lost.as_ref().and_then(in_seconds);
        let set_up = in_seconds(&clock.facts.daemonset["metadata"]["creationTimestamp"]);
        let was_there = |lost: i64| set_up.is_none_or(|set_up| set_up <= lost);
        let mut health = None;
        for pod in &new {
            let of_pod = if policy.get("on-failure").is_some() {
                judge(policy, pod, lost.as_ref(), clock)
            } else {
                Health::Well
            };
            health = health.max(Some(of_pod));
        }
        let in_turns = policy.get("canary-nodes").is_some()
            || policy.get("groups").is_some() && !policy.says("group-pace", "spread");
        let lacks = |pod: &&Pod| !pod.available && !pod.unknown;
        let mut stuck = in_turns && !state.live().is_empty() && state.live().iter().all(|pod| lacks(&pod));
        for pod in state.live().iter().filter(|pod| in_turns && lacks(pod)) {
            let since = condition(pod, "Ready", "False").map(|condition| condition["lastTransitionTime"].clone());
            let is_late = clock.is_over(&since.unwrap_or_default(), 600);
            stuck &= is_late || is_broken(policy, pod);
        }
        let start = 600 + clock.facts.min_ready_seconds().max(0);
        let mut flaps = false;
        let can_flap = in_turns && !stuck && lost_at(state).is_none();
        for pod in state.live().iter().filter(|pod| can_flap && pod.updated && !pod.available) {
            flaps |= pod.created.is_some_and(|created| clock.is_over(&json!(created), start));
        }
        let created = in_seconds(&state.node["metadata"]["creationTimestamp"]);
        let newest = new.iter().filter_map(|pod| pod.created).map(jiff::Timestamp::as_second).max();
        Self {
            reached_at: newest.filter(|newest| created.is_none_or(|created| *newest > created + 600)),
            wanted,
            lost: lost.is_some(),
            lost_pod: wanted && state.live().is_empty() && !never_reported(state) && lost_since.is_some_and(was_there),
            group,
            rank,
            selected: state.exists && (is_return || policy.selects("update-nodes", &labels).unwrap_or(true)),
            away,
            unschedulable,
            gone: !state.collected().is_empty(),
            health,
            stuck,
            flaps,
            older: first_old.map(|pod| {
                (pod.hash().cloned().unwrap_or_default(), !pod.deleting && pod.available, is_broken(policy, pod))
            }),
            old,
            new,
            state,
        }
    }

    pub fn place(&self) -> (&(usize, String), i64, &str) {
        (&self.group, self.rank, &self.state.name)
    }

    /// Returns whether the node needs no update or is updated and available.
    pub fn is_done(&self) -> bool {
        match (&*self.old, &*self.new) {
            ([], [new]) => new.available,
            ([], []) => !self.state.run && !self.lost_pod && self.state.pods.is_empty(),
            _ => false,
        }
    }

    /// Returns since when an updated pod has been available, in seconds.
    pub fn proven_at(&self) -> Option<i64> {
        let ([] | [_], [new]) = (&*self.old, &*self.new) else { return None };
        new_since(new).filter(|_| self.wanted)
    }

    /// Returns since when any updated pod has been available.
    pub fn has_available_since(&self) -> bool {
        self.new.iter().find(|pod| pod.available).is_some_and(|pod| new_since(pod).is_some())
    }

    pub fn is_broken(&self) -> bool {
        matches!((&*self.old, &*self.new), ([old], []) if !old.available && !old.unknown)
    }

    /// Returns whether the node has one outdated pod, which is not known to be available.
    pub fn is_unready(&self) -> bool {
        matches!((&*self.old, &*self.new), ([old], []) if !old.available)
    }

    pub fn is_candidate(&self) -> bool {
        matches!((&*self.old, &*self.new), ([old], []) if old.available)
    }

    /// Returns whether the node lacks an available pod because of the update.
    pub fn is_in_progress(&self) -> bool {
        match (&*self.old, &*self.new) {
            ([_], []) => false,
            ([], [new]) => !new.available,
            ([], []) => self.state.run || self.lost_pod || !self.state.pods.is_empty(),
            _ => true,
        }
    }

    /// Returns whether the node surges, or has surged and is not yet well.
    pub fn surges(&self) -> bool {
        match (&*self.old, &*self.new) {
            ([] | [_], [new]) => !new.available,
            ([], []) => self.state.run || self.lost_pod || !self.state.pods.is_empty(),
            (old, new) => old.len() > 1 || new.len() > 1,
        }
    }

    /// Returns whether the node lacks an available pod.
    pub fn is_unavailable(&self) -> bool {
        self.wanted && self.state.live().iter().all(|pod| !pod.available)
    }
}

fn new_since(new: &Pod) -> Option<i64> {
    let condition = list(&new.json["status"]["conditions"]).into_iter().find(|c| c["type"] == "Ready")?;
    condition["lastTransitionTime"].as_str()?;
    new.becomes_available.filter(|_| new.available)
}

/// Returns whether the node is left out, and whether that is as its updated pod cannot be scheduled.
fn absence(policy: &Policy, roll_back: Option<&Value>, state: &NodeState, clock: &mut Clock<'_, '_>) -> (bool, bool) {
    let kinds: Vec<_> = policy.get("away").unwrap_or("").split(',').filter(|part| !part.is_empty()).collect();
    let kinds: Vec<_> = kinds.into_iter().map(|part| part.split_once('=').unwrap_or((part, "0s"))).collect();
    let after = |kind: &str| kinds.iter().find(|(known, _)| *known == kind).map(|(_, after)| seconds(after));
    if !state.exists {
        return (after("deleted").is_some(), false);
    }
    let mut is_away = false;
    let deletion = Some(&state.node["metadata"]["deletionTimestamp"]).filter(|time| !time.is_null());
    for (kind, since) in [
        ("not-ready", tainted(state, NOT_READY)),
        ("unreachable", tainted(state, UNREACHABLE)),
        ("cordoned", tainted(state, CORDONED)),
        ("deleted", deletion.cloned()),
    ] {
        if let (Some(after), Some(since)) = (after(kind), since) {
            is_away |= after == 0 || clock.is_over(&since, after);
        }
    }
    if let Some(after) = after("unschedulable") {
        let refused = state.live().into_iter().filter(|pod| !pod.bound);
        let mut refused = refused.filter_map(|pod| Some((condition(&pod, "PodScheduled", "False")?, pod)));
        if let Some((condition, pod)) = refused.next()
            && (after == 0 || clock.is_over(&condition["lastTransitionTime"], after))
        {
            return (true, pod.updated);
        }
    }
    let mut updated = state.pods.iter().filter(|pod| pod.updated);
    let is_proven = |failed: &&Value| policy.record["done"] == failed["restored"];
    let is_touched = match roll_back.filter(is_proven).and_then(|failed| in_seconds(&failed["at"])) {
        Some(at) => {
            let lost = lost_at(state).and_then(|lost| in_seconds(&lost));
            updated.any(|pod| {
                let unready = condition(pod, "Ready", "False").and_then(|c| in_seconds(&c["lastTransitionTime"]));
                let was_ready = pod.ready || lost.zip(unready).is_some_and(|(lost, unready)| lost <= unready + 10);
                pod.created.is_none_or(|created| created.as_second() >= at) || !was_ready
            })
        }
        None => updated.next().is_some() || state.live().is_empty(),
    };
    (is_away && (never_reported(state) || !is_touched), false)
}

fn is_wanted(facts: &Facts<'_>, state: &NodeState) -> bool {
    let mut node = state.node.clone();
    if let Some(taints) = node.get_mut("spec").and_then(|spec| spec["taints"].as_array_mut()) {
        taints.retain(|taint| ![NOT_READY, UNREACHABLE].contains(&text(taint, "key")));
    }
    state.exists && placement(facts, &node).0
}

/// Returns since when the node has not reported.
pub(super) fn lost_at(state: &NodeState) -> Option<Value> {
    [NOT_READY, UNREACHABLE].into_iter().filter_map(|key| tainted(state, key)).min_by_key(in_seconds)
}

/// Returns whether the node has been lost since it was created.
fn never_reported(state: &NodeState) -> bool {
    let created = in_seconds(&state.node["metadata"]["creationTimestamp"]);
    let since = lost_at(state).and_then(|since| in_seconds(&since));
    created.zip(since).is_some_and(|(created, since)| since <= created + 60)
}

/// Returns the most restarts of a container, without one by a reboot, and the reason why one waits.
fn problem(pod: &Pod) -> (i64, String) {
    let containers = list(&pod.json["status"]["containerStatuses"]);
    let restarts = containers.iter().map(|container| {
        let rebooted = container["lastState"]["terminated"]["reason"] == "Unknown";
        container["restartCount"].as_i64().unwrap_or(0) - i64::from(rebooted)
    });
    let mut waits = containers.iter().filter_map(|container| container["state"]["waiting"]["reason"].as_str());
    (restarts.max().unwrap_or(0), waits.next().unwrap_or("").to_owned())
}

fn restarts_allowed(policy: &Policy) -> (i64, i64) {
    let number = |key, default| policy.get(key).map_or(default, |text| text.parse().unwrap());
    (number("pause-restarts", 1), number("max-restarts", 2))
}

fn is_broken(policy: &Policy, pod: &Pod) -> bool {
    let (restarts, waits) = problem(pod);
    !pod.available
        && !pod.unknown
        && (restarts > restarts_allowed(policy).0 || ["CrashLoopBackOff", "ImagePullBackOff"].contains(&&*waits))
}

fn judge(policy: &Policy, pod: &Pod, lost: Option<&Value>, clock: &mut Clock<'_, '_>) -> Health {
    let health = judge_at_first(policy, pod, lost, clock);
    let Some(created) = pod.created.filter(|_| health != Health::Well) else { return health };
    let day = policy.proof().max(24 * 3600);
    let unready = condition(pod, "Ready", "False").and_then(|condition| in_seconds(&condition["lastTransitionTime"]));
    let was_ready = pod.ready || unready.is_some_and(|since| since >= created.as_second() + day);
    if was_ready && clock.is_over(&json!(created), day) { Health::Well } else { health }
}

fn judge_at_first(policy: &Policy, pod: &Pod, lost: Option<&Value>, clock: &mut Clock<'_, '_>) -> Health {
    let grace = policy.seconds("start-grace").unwrap_or(300);
    let within = policy.seconds("available-within");
    let (restarts, waits) = problem(pod);
    let (pause, most) = restarts_allowed(policy);
    let mut health = Health::Well;
    if let Some((lost, created)) = lost.and_then(in_seconds).zip(pod.created)
        && created.as_second() > lost
    {
        return health;
    }
    let reason = pod.json["status"]["reason"].as_str().unwrap_or("");
    if pod.phase == "Failed" && !["Evicted", "OutOfcpu", "NodeAffinity"].contains(&reason) {
        health = Health::Failing;
    }
    let ready_since = condition(pod, "Ready", "True").map(|condition| condition["lastTransitionTime"].clone());
    if restarts > pause.min(most)
        && !ready_since.filter(|_| pod.available).is_some_and(|since| clock.is_over(&since, 600))
    {
        health = health.max(if restarts > most { Health::Failing } else { Health::InDoubt });
    }
    if waits == "CrashLoopBackOff" {
        health = health.max(Health::InDoubt);
    } else if waits == "ImagePullBackOff" {
        let is_over = clock.is_over(&start(pod, grace), grace);
        health = health.max(if is_over { Health::Failing } else { Health::InDoubt });
    }
    let proven_at = pod.created.map(|created| created.as_second() + policy.proof());
    let unready = condition(pod, "Ready", "False").and_then(|condition| in_seconds(&condition["lastTransitionTime"]));
    let was_proven = lost.and_then(in_seconds).is_some_and(|lost| {
        proven_at.is_some_and(|proven| proven <= lost) && unready.is_some_and(|unready| unready + 10 >= lost)
    });
    if was_proven {
        return health;
    }
    if let Some(within) = within.filter(|_| !pod.ready && pod.phase != "Failed")
        && clock.is_over(&start(pod, within), within)
    {
        health = Health::Failing;
    }
    if let Some(lost) = lost.filter(|_| !pod.available) {
        let is_over = clock.is_over(lost, within.unwrap_or(grace));
        health = health.max(if is_over { Health::Failing } else { Health::InDoubt });
    }
    health
}

/// Returns when the pod began to start: its creation, unless it was ready later than it had to be.
fn start(pod: &Pod, within: i64) -> Value {
    let created = pod.json["metadata"]["creationTimestamp"].clone();
    let unready = condition(pod, "Ready", "False").map(|condition| condition["lastTransitionTime"].clone());
    let end = in_seconds(&created).map(|created| created + within + 60);
    match (unready, end) {
        (Some(unready), Some(end)) if in_seconds(&unready).is_some_and(|since| since > end) => unready,
        _ => created,
    }
}

/// Computes FNV-1a over the seed and the name.
fn random_rank(seed: u64, name: &str) -> i64 {
    let bytes = seed.to_le_bytes().into_iter().chain(name.bytes());
    let hash =
        bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    hash.cast_signed()
}
