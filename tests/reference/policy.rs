//! Rollout policies: which nodes an update may reach, in which order, and which it leaves alone.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use serde_json::{Value, json};

use super::{
    Wishes,
    facts::{Facts, Pod},
    history::History,
    nodes::NodeState,
    selectors::{Labels, expression, holds, list, pairs, text},
    update::{max_surge, pods_of, resolve},
};

/// The effective annotations, without their prefix.
pub struct Policy(BTreeMap<String, String>);

impl Policy {
    /// Returns `None` without a policy, or if nothing is updated.
    pub fn of(facts: &Facts<'_>) -> Option<Self> {
        let annotations = pairs(&facts.daemonset["metadata"]["annotations"]);
        let own = annotations.iter().filter_map(|(key, value)| Some((key.strip_prefix("daemonplan/")?, value)));
        // The back-off does not concern updates.
        let own = own.filter(|(key, _)| *key != "backoff");
        let policy: BTreeMap<_, _> = own.map(|(key, value)| (key.to_owned(), value.clone())).collect();
        let rolls = facts.daemonset["spec"]["updateStrategy"]["type"] == "RollingUpdate";
        (rolls && !policy.is_empty()).then_some(Self(policy))
    }

    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    fn says(&self, key: &str, value: &str) -> bool {
        self.get(key) == Some(value)
    }

    fn nodes(&self, key: &str, of: usize) -> Option<usize> {
        let text = self.get(key)?;
        let bound = text.parse::<u64>().map_or_else(|_| json!(text), |count| json!(count));
        Some(resolve(&bound, of))
    }

    fn seconds(&self, key: &str) -> Option<i64> {
        Some(seconds(self.get(key)?))
    }

    fn selects(&self, key: &str, labels: &Labels) -> Option<bool> {
        let requirements = expression(self.get(key)?).unwrap();
        Some(requirements.iter().all(|requirement| holds(requirement, labels).unwrap()))
    }
}

fn seconds(text: &str) -> i64 {
    text.parse::<SignedDuration>().unwrap().as_secs()
}

/// A node in an update.
#[allow(clippy::struct_excessive_bools)] // independent facts
struct Target<'s> {
    state: &'s NodeState,
    /// The index and name of its group.
    group: (usize, String),
    rank: i64,
    selected: bool,
    away: bool,
    /// Whether the node is missing: its pods are deleted in any case, and only use up the budget.
    gone: bool,
    fails: bool,
    old: Vec<Pod>,
    new: Vec<Pod>,
    /// The hash of the outdated pod, which may be being deleted, and whether it is available.
    older: Option<(String, bool)>,
}

const CANARIES: usize = 0;
const NO_GROUP: usize = usize::MAX;

/// The progress of the update, and its limits.
pub struct Progress<'s> {
    policy: &'s Policy,
    targets: Vec<Target<'s>>,
    desired: usize,
    burst: usize,
    max_surge: usize,
    max_unavailable: usize,
    phase: Value,
    /// The group that is being updated.
    only: Option<(usize, String)>,
    /// Whether it waits for the update of another node.
    waits: bool,
    /// How many more nodes may be updated.
    room: usize,
    /// The revision to keep: name, hash and template.
    pub older: Option<(String, String, Value)>,
    pub rolls_back_to: Option<(String, String)>,
    /// Seconds until this may change.
    pub times: Vec<i64>,
}

impl<'s> Progress<'s> {
    pub fn of(policy: &'s Policy, facts: &Facts<'_>, nodes: &'s [NodeState], history: &History) -> Self {
        let desired = nodes.iter().filter(|state| state.run).count();
        let bounds = &facts.daemonset["spec"]["updateStrategy"]["rollingUpdate"];
        let mut progress = Self {
            policy,
            targets: Vec::new(),
            desired,
            burst: facts.burst(),
            max_surge: max_surge(facts, desired),
            max_unavailable: resolve(&bounds["maxUnavailable"], desired).max(usize::from(desired > 0)),
            phase: json!({"phase": "Settled"}),
            only: None,
            waits: false,
            room: usize::MAX,
            older: None,
            rolls_back_to: None,
            times: Vec::new(),
        };
        for state in nodes {
            let target = progress.target(facts, state);
            progress.targets.push(target);
        }
        progress.look_for_older_revision(history);
        progress.find_phase(facts, history);
        progress
    }

    fn target(&mut self, facts: &Facts<'_>, state: &'s NodeState) -> Target<'s> {
        let policy = self.policy;
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
        let away = self.is_away(facts, state);
        let mut fails = false;
        for pod in new.iter().filter(|_| policy.get("on-failure").is_some()) {
            fails |= self.pod_fails(facts, pod);
        }
        Target {
            group,
            rank,
            selected: state.exists && policy.selects("update-nodes", &labels).unwrap_or(true),
            away,
            gone: !state.collected().is_empty(),
            fails,
            older: first_old.map(|pod| (pod.hash().cloned().unwrap_or_default(), !pod.deleting && pod.available)),
            old,
            new,
            state,
        }
    }

    /// Returns whether `seconds` have passed since `since`; otherwise records when they will have.
    fn is_over(&mut self, facts: &Facts<'_>, since: &Value, after: i64) -> bool {
        let (Some(since), Some(now)) = (since.as_str(), facts.now) else { return false };
        let left = since.parse::<jiff::Timestamp>().unwrap().as_second() + after - now.as_second();
        if left > 0 {
            self.times.push(left);
        }
        left <= 0
    }

    fn is_away(&mut self, facts: &Facts<'_>, state: &NodeState) -> bool {
        let mut away = false;
        for part in self.policy.get("away").unwrap_or("").split(',').filter(|part| !part.is_empty()) {
            let (kind, after) = part.split_once('=').unwrap_or((part, "0s"));
            let key = match kind {
                "deleted" if !state.exists => {
                    away = true;
                    continue;
                }
                "deleted" => "",
                "cordoned" => "node.kubernetes.io/unschedulable",
                "not-ready" => "node.kubernetes.io/not-ready",
                _ => "node.kubernetes.io/unreachable",
            };
            let taints = list(&state.node["spec"]["taints"]);
            let mut times: Vec<_> = taints
                .iter()
                .filter(|taint| text(taint, "key") == key)
                .map(|taint| taint["timeAdded"].clone())
                .collect();
            if kind == "deleted" && !state.node["metadata"]["deletionTimestamp"].is_null() {
                times.push(state.node["metadata"]["deletionTimestamp"].clone());
            }
            // The oldest taint counts; a taint without a time counts as older than all others.
            times.sort_by_key(|time| time.as_str().map(|time| time.parse::<jiff::Timestamp>().unwrap()));
            if let Some(first) = times.first() {
                let after = seconds(after);
                away |= after == 0 || self.is_over(facts, first, after);
            }
        }
        away
    }

    fn pod_fails(&mut self, facts: &Facts<'_>, pod: &Pod) -> bool {
        let containers = list(&pod.json["status"]["containerStatuses"]);
        let restarts: i64 = containers.iter().filter_map(|container| container["restartCount"].as_i64()).sum();
        let waits = |container: &Value| {
            let reason = container["state"]["waiting"]["reason"].as_str().unwrap_or("").to_owned();
            ["CrashLoopBackOff", "ErrImagePull", "ImagePullBackOff"].contains(&&*reason)
        };
        let most = self.policy.get("max-restarts").map_or(2, |text| text.parse().unwrap());
        let conditions = list(&pod.json["status"]["conditions"]);
        let since =
            conditions.iter().find(|condition| condition["type"] == "Ready").map(|c| c["lastTransitionTime"].clone());
        let restarted = restarts > most
            && !(pod.available
                && match since {
                    Some(since) if !since.is_null() => self.is_over(facts, &since, 600),
                    _ => false,
                });
        if pod.phase == "Failed" || restarted || containers.iter().any(waits) {
            return true;
        }
        let within = self.policy.seconds("available-within").filter(|_| !pod.available);
        within.is_some_and(|within| self.is_over(facts, &pod.json["metadata"]["creationTimestamp"], within))
    }

    fn look_for_older_revision(&mut self, history: &History) {
        let mut best: Option<((usize, usize), String, String, Value)> = None;
        for ((name, hash), revision) in history.old.iter().zip(&history.old_revisions) {
            let own: Vec<_> = self.older().filter(|(other, _)| other == hash).collect();
            let pods = (own.iter().filter(|(_, available)| *available).count(), own.len());
            if pods.1 > 0 && best.as_ref().is_none_or(|(most, ..)| *most <= pods) {
                best = Some((pods, name.clone(), hash.clone(), revision["data"]["spec"]["template"].clone()));
            }
        }
        self.older = best.map(|((available, _), name, hash, mut template)| {
            template.as_object_mut().unwrap().remove("$patch");
            if available > 0 {
                self.rolls_back_to = Some((name.clone(), hash.clone()));
            }
            (name, hash, template)
        });
    }

    /// Returns the nodes that use up the budget.
    fn counted(&self) -> impl Iterator<Item = &Target<'s>> {
        self.targets.iter().filter(|target| !target.away)
    }

    fn present(&self) -> impl Iterator<Item = &Target<'s>> {
        self.counted().filter(|target| !target.gone)
    }

    /// Returns the nodes with an outdated pod.
    fn older(&self) -> impl Iterator<Item = &(String, bool)> {
        self.targets.iter().filter(|target| !target.gone).filter_map(|target| target.older.as_ref())
    }

    fn updated(&self) -> usize {
        self.present().filter(|target| target.state.run && !target.new.is_empty()).count()
    }

    fn find_phase(&mut self, facts: &Facts<'_>, history: &History) {
        let rolls_back_to = self.rolls_back_to.take();
        if self.older().next().is_none() {
            return;
        }
        let policy = self.policy;
        let failing = self.present().filter(|target| target.fails).count();
        let shut = if policy.says("paused", "true") {
            Some("Paused")
        } else if policy.get("on-failure").is_some()
            && failing > policy.nodes("max-failures", self.desired).unwrap_or(0)
        {
            self.rolls_back_to = rolls_back_to.filter(|_| policy.says("on-failure", "roll-back"));
            Some("Failing")
        } else {
            None
        };
        if let Some(phase) = shut {
            self.room = 0;
            self.phase = json!({"phase": phase});
            return;
        }

        let updated = self.updated();
        let up_to = |nodes: usize| nodes.saturating_sub(updated);
        let kept = policy.nodes("partition", self.desired);
        let mut room = kept.map_or(usize::MAX, |kept| up_to(self.desired.saturating_sub(kept)));
        self.phase = json!({"phase": "Rolling", "group": null});
        let unfinished = self.present().filter(|target| target.selected && !target.is_done());
        let unfinished: Vec<_> = unfinished.map(|target| target.group.clone()).collect();
        if policy.get("groups").is_some() && !policy.says("group-pace", "spread") {
            self.only = unfinished.iter().min().cloned();
            let elsewhere = |target: &Target<'_>| self.only.as_ref().is_some_and(|only| target.group != *only);
            let waits = self.present().any(|target| elsewhere(target) && target.is_in_progress());
            self.waits = waits;
            if let Some((_, name)) = &self.only {
                self.phase["group"] = json!(name);
            }
        }
        let nothing_left = unfinished.is_empty();
        if let Some((phase, most)) = self.canary_phase(facts, history) {
            match most {
                Some(most) => room = room.min(up_to(most)),
                None => self.only = Some((CANARIES, String::new())),
            }
            if let (Some(left), "CanaryBaking") = (phase["remainingSeconds"].as_i64(), text(&phase, "phase")) {
                self.times.push(left);
            }
            self.phase = phase;
        } else if room == 0 || nothing_left {
            self.phase = json!({"phase": "Held"});
        }
        self.room = room;
    }

    /// Returns why the other nodes wait for the canaries, and how many may be updated meanwhile (`None`: the canaries).
    fn canary_phase(&self, facts: &Facts<'_>, history: &History) -> Option<(Value, Option<usize>)> {
        let policy = self.policy;
        let by_label = policy.get("canary-nodes").is_some();
        if !by_label && policy.get("canary").is_none() {
            return None;
        }
        let selected = || self.present().filter(|target| target.selected && (!by_label || target.group.0 == CANARIES));
        let members = selected().filter(|target| target.state.run).count();
        let counted = policy.nodes("canary", self.desired);
        let wanted = counted.map_or(members, |count| count.min(members));
        let mut since: Vec<i64> = selected().filter_map(Target::proven_at).collect();
        since.sort_unstable();
        let phase = |phase: Value| Some((phase, counted));
        if by_label && (wanted == 0 || selected().any(|target| !target.is_done())) || since.len() < wanted {
            return phase(json!({"phase": "CanaryStarting", "available": since.len(), "wanted": wanted}));
        }
        if wanted == 0 {
            return None;
        }
        let bake = policy.seconds("canary-bake").unwrap_or(0);
        let until = if by_label { since.last().unwrap() } else { &since[wanted - 1] } + bake;
        let left = facts.now.map(|now| until - now.as_second());
        if bake > 0 && left.is_none_or(|left| left > 0) {
            return phase(json!({"phase": "CanaryBaking", "remainingSeconds": left}));
        }
        let approved =
            policy.get("canary-approved") == Some(&history.hash) || !policy.says("canary-approval", "manual");
        (!approved).then(|| (json!({"phase": "AwaitingApproval", "hash": history.hash}), counted))
    }

    pub fn status(&self) -> Value {
        let mut status = self.phase.clone();
        status["old"] = json!(self.older().count());
        status["updated"] = json!(self.updated());
        let lacks = |target: &&Target<'_>| {
            target.away && target.state.run && !target.state.pods.first().is_some_and(|first| first.available)
        };
        status["unavailableAway"] = json!(self.targets.iter().filter(lacks).count());
        status
    }

    fn may_update(&self, target: &Target<'_>) -> bool {
        !target.away && target.selected && self.only.as_ref().is_none_or(|only| target.group == *only)
    }

    /// Returns the nodes without a pod that get one of the current template.
    fn to_fill(&self) -> Vec<&str> {
        let vacant = |target: &&Target<'_>| target.state.run && target.old.is_empty() && target.new.is_empty();
        let mut to_fill: Vec<_> = self.present().filter(|target| self.may_update(target)).filter(vacant).collect();
        to_fill.sort_by(|a, b| a.place().cmp(&b.place()));
        to_fill.into_iter().take(self.room).map(|target| &*target.state.name).collect()
    }

    /// Nodes that the update has not reached get missing pods of the older template.
    pub fn hold_creations_back(&self, wishes: &mut Wishes) {
        if self.phase["phase"] != "Settled" && self.older.is_some() {
            let to_fill = self.to_fill();
            for (_, reason) in wishes.create.iter_mut().filter(|(node, _)| !to_fill.contains(&&**node)) {
                *reason = "HeldBack";
            }
        }
    }

    /// Adds the next actions of the update.
    pub fn wishes(&self) -> Wishes {
        let surges = self.max_surge > 0;
        let strict = self.policy.says("strict-budget", "true");
        let lacking =
            |target: &&Target<'_>| if surges { target.surges() } else { target.is_in_progress() || target.is_broken() };
        let in_progress = |target: &&Target<'_>| if surges { target.surges() } else { target.is_in_progress() };
        let limit = if surges { self.max_surge } else { self.max_unavailable };
        let mut selection = Selection {
            progress: self,
            room: self.room.saturating_sub(if self.room == usize::MAX { 0 } else { self.to_fill().len() }),
            taken: Vec::new(),
        };
        let mut wishes = Wishes::default();
        let left = |used: usize| limit.saturating_sub(used);
        if surges {
            let finished =
                self.present().filter(|target| matches!((&*target.old, &*target.new), ([_], [new]) if new.available));
            self.delete(&mut wishes, finished.collect(), "SurgeFinished");
            let unwanted = selection.take(|target| target.is_broken() && !target.state.run, usize::MAX, None);
            self.delete(&mut wishes, unwanted, "OutdatedUnavailable");
            let available = |target: &&Target<'_>| match (&*target.old, &*target.new) {
                ([old], [_]) => old.available,
                ([old], []) => old.available && !target.gone,
                ([], [new]) => new.available,
                _ => false,
            };
            let spare = self.counted().filter(available).count().saturating_sub(self.desired);
            let spare = selection.take(|target| target.is_candidate() && !target.state.run, spare, None);
            self.delete(&mut wishes, spare, "NotWanted");
            let surging = self.counted().filter(in_progress).count();
            let most = if strict { left(surging) } else { usize::MAX };
            let replaced =
                selection.take(|target| target.is_broken() && target.state.run, most, strict.then_some(false));
            let surging = surging + if strict { replaced.len() } else { 0 };
            self.create(&mut wishes, replaced, "ReplacesUnavailable");
            let next = selection.take(|target| target.is_candidate() && target.state.run, left(surging), Some(false));
            self.create(&mut wishes, next, "Surge");
        } else {
            let most = if strict { left(self.counted().filter(in_progress).count()) } else { usize::MAX };
            let broken = selection.take(Target::is_broken, most, strict.then_some(false));
            self.delete(&mut wishes, broken, "OutdatedUnavailable");
            let next = selection.take(Target::is_candidate, left(self.counted().filter(lacking).count()), Some(true));
            self.delete(&mut wishes, next, "Outdated");
        }
        wishes
    }

    /// Keeps the first actions of each kind, up to the burst limit.
    fn delete(&self, wishes: &mut Wishes, targets: Vec<&Target<'s>>, reason: &'static str) {
        wishes.more.1 += targets.len().saturating_sub(self.burst);
        wishes.delete.extend(targets.into_iter().take(self.burst).map(|target| (target.old[0].clone(), reason)));
    }

    fn create(&self, wishes: &mut Wishes, targets: Vec<&Target<'s>>, reason: &'static str) {
        wishes.more.0 += targets.len().saturating_sub(self.burst);
        wishes.create.extend(targets.into_iter().take(self.burst).map(|target| (target.state.name.clone(), reason)));
    }
}

/// Computes FNV-1a over the seed and the name.
fn random_rank(seed: u64, name: &str) -> i64 {
    let bytes = seed.to_le_bytes().into_iter().chain(name.bytes());
    let hash =
        bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    hash.cast_signed()
}

impl Target<'_> {
    fn place(&self) -> (&(usize, String), i64, &str) {
        (&self.group, self.rank, &self.state.name)
    }

    /// Returns whether the node needs no update or is updated and available.
    fn is_done(&self) -> bool {
        match (&*self.old, &*self.new) {
            ([], [new]) => new.available,
            ([], []) => !self.state.run && self.state.pods.is_empty(),
            _ => false,
        }
    }

    /// Returns since when an updated pod has been available, in seconds.
    fn proven_at(&self) -> Option<i64> {
        let ([] | [_], [new]) = (&*self.old, &*self.new) else { return None };
        let condition = list(&new.json["status"]["conditions"]).into_iter().find(|c| c["type"] == "Ready")?;
        condition["lastTransitionTime"].as_str()?;
        new.becomes_available.filter(|_| new.available && self.state.run)
    }

    fn is_broken(&self) -> bool {
        matches!((&*self.old, &*self.new), ([old], []) if !old.available && !old.unknown)
    }

    fn is_candidate(&self) -> bool {
        matches!((&*self.old, &*self.new), ([old], []) if old.available)
    }

    /// Returns whether the node lacks an available pod because of the update.
    fn is_in_progress(&self) -> bool {
        match (&*self.old, &*self.new) {
            ([_], []) => false,
            ([], [new]) => !new.available,
            ([], []) => self.state.run || !self.state.pods.is_empty(),
            _ => true,
        }
    }

    fn surges(&self) -> bool {
        match (&*self.old, &*self.new) {
            ([_], [new]) => !new.available,
            (old, new) => old.len() > 1 || new.len() > 1,
        }
    }
}

/// Selects the next nodes to update, one by one.
struct Selection<'p, 's> {
    progress: &'p Progress<'s>,
    room: usize,
    /// The selected nodes, and whether each loses an available pod.
    taken: Vec<(&'p Target<'s>, bool)>,
}

impl<'p, 's> Selection<'p, 's> {
    /// Selects the next nodes. Group limits apply if `loses` is given.
    fn take(&mut self, fits: impl Fn(&Target<'s>) -> bool, most: usize, loses: Option<bool>) -> Vec<&'p Target<'s>> {
        let progress = self.progress;
        let eligible = progress.present().filter(|target| !progress.waits && progress.may_update(target));
        let mut waiting: Vec<_> = eligible.filter(|target| fits(target)).collect();
        let mut next = Vec::new();
        while next.len() < most && self.room > 0 {
            let open =
                waiting.iter().filter(|target| loses.is_none_or(|loses| self.group_allows(&target.group, loses)));
            let spread = progress.policy.says("group-pace", "spread");
            let key = |target: &&&Target<'s>| if spread { self.progress_of(&target.group) } else { (0, 0) };
            let Some(first) = open.min_by(|a, b| (key(a), a.place()).cmp(&(key(b), b.place()))).copied() else { break };
            waiting.retain(|target| target.state.name != first.state.name);
            self.taken.push((first, loses == Some(true)));
            self.room = if self.room == usize::MAX { self.room } else { self.room - 1 };
            next.push(first);
        }
        next
    }

    fn members(&self, group: &(usize, String)) -> Vec<&'p Target<'s>> {
        self.progress.targets.iter().filter(|target| !target.gone && target.group == *group).collect()
    }

    fn taken_of(&self, group: &(usize, String), only_losses: bool) -> usize {
        self.taken.iter().filter(|(target, loses)| target.group == *group && (*loses || !only_losses)).count()
    }

    fn group_allows(&self, group: &(usize, String), loses: bool) -> bool {
        let members = self.members(group);
        let desired = members.iter().filter(|target| target.state.run).count();
        let Some(limit) = self.progress.policy.nodes("group-max-unavailable", desired) else { return true };
        let present = || members.iter().filter(|target| !target.away);
        if self.progress.max_surge > 0 {
            return present().filter(|target| target.surges()).count() + self.taken_of(group, false) < limit;
        }
        let in_progress = present().filter(|target| target.is_in_progress()).count() + self.taken_of(group, false);
        let lacking = present().filter(|target| target.is_in_progress() || target.is_broken()).count()
            + self.taken_of(group, true);
        in_progress < limit && (!loses || lacking < limit)
    }

    /// Returns how many nodes of a group are being updated, and how many are updated or about to be.
    fn progress_of(&self, group: &(usize, String)) -> (usize, usize) {
        let surges = self.progress.max_surge > 0;
        let members = self.members(group);
        let present = || members.iter().filter(|target| !target.away);
        let in_progress =
            present().filter(|target| if surges { target.surges() } else { target.is_in_progress() }).count();
        let updated = present().filter(|target| target.new.len() == 1 && target.old.len() <= 1).count();
        let taken = self.taken_of(group, false);
        (in_progress + taken, updated + taken)
    }
}
