//! Rollout policies: which nodes an update may reach, in which order, and which it leaves alone.

mod annotations;
pub use annotations::Policy;
mod canaries;
mod record;
pub use record::plain;
mod selection;
mod target;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use self::annotations::seconds;
use self::target::{Clock, Health, Target, in_seconds, lost_at};
use super::{
    Wishes,
    facts::Facts,
    history::History,
    nodes::NodeState,
    update::{max_surge, resolve},
};

const CANARIES: usize = 0;
const NO_GROUP: usize = usize::MAX;

/// The progress of the update, and its limits.
#[allow(clippy::struct_excessive_bools)] // independent facts
pub struct Progress<'s> {
    policy: &'s Policy,
    targets: Vec<Target<'s>>,
    /// How many nodes should run a pod, or would if they reported.
    desired: usize,
    /// How many nodes should run a pod.
    run: usize,
    burst: usize,
    max_surge: usize,
    max_unavailable: usize,
    phase: Value,
    /// Whether the template is one that was set before.
    is_return: bool,
    /// Whether that was an operator.
    is_undo: bool,
    /// The group that is being updated.
    only: Option<(usize, String)>,
    /// Whether it waits for the update of another node.
    waits: bool,
    /// Whether stuck pods of other groups are replaced.
    replaces_stuck: bool,
    /// How many more nodes may be updated.
    room: usize,
    /// Whether the update has just ended.
    ends: bool,
    /// The nodes where the template fails, if it does.
    failing: Vec<String>,
    /// How many steps of the canaries are recorded as baked, and how many have baked now.
    baked_before: usize,
    baked: usize,
    /// The canaries that have to be available for longer.
    baking: Vec<String>,
    /// On how many nodes the template may fail.
    most_failures: usize,
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
        let failed = policy.record["failed"].as_array();
        let roll_back = failed.into_iter().flatten().rfind(|failed| failed["restored"] == history.hash);
        let is_undo = roll_back.is_none()
            && policy.failed(&history.hash).is_none()
            && (policy.record["returnsTo"] == history.hash || history.is_restored());
        let is_return = roll_back.is_some() || is_undo;
        let mut clock = Clock { facts, times: Vec::new() };
        let targets: Vec<_> =
            nodes.iter().map(|state| Target::new(policy, is_return, roll_back, state, &mut clock)).collect();
        let wanted = |targets: &Vec<Target<'_>>| targets.iter().filter(|target| target.wanted).count();
        let mut progress = Self {
            policy,
            desired: wanted(&targets),
            run: desired,
            targets,
            burst: facts.burst(),
            max_surge: max_surge(facts, desired),
            max_unavailable: resolve(&bounds["maxUnavailable"], desired).max(usize::from(desired > 0)),
            phase: json!({"phase": "Settled"}),
            is_return,
            is_undo,
            only: None,
            waits: false,
            replaces_stuck: false,
            room: usize::MAX,
            ends: false,
            failing: Vec::new(),
            baked_before: 0,
            baked: 0,
            baking: Vec::new(),
            most_failures: 0,
            older: None,
            rolls_back_to: None,
            times: clock.times,
        };
        let baked = &policy.record["baked"];
        let steps = baked["steps"].as_u64().filter(|_| baked["hash"] == history.hash).unwrap_or(0);
        progress.baked_before = usize::try_from(steps).unwrap();
        progress.find_phase(facts, history);
        progress.choose_older_revision(history);
        progress
    }

    /// Returns the nodes that use up the budget.
    fn counted(&self) -> impl Iterator<Item = &Target<'s>> {
        self.targets.iter().filter(|target| !target.away)
    }

    fn present(&self) -> impl Iterator<Item = &Target<'s>> {
        self.counted().filter(|target| !target.gone)
    }

    /// Returns the outdated pods of the nodes: hash, available, broken.
    fn older(&self) -> impl Iterator<Item = &(String, bool, bool)> {
        self.targets.iter().filter(|target| !target.gone).filter_map(|target| target.older.as_ref())
    }

    fn updated(&self) -> usize {
        let stay = self.targets.iter().filter(|target| !target.gone);
        stay.filter(|target| target.wanted && !target.new.is_empty()).count()
    }

    /// Returns whether a node here has a pod.
    fn has_pods(&self) -> bool {
        let mut stay = self.targets.iter().filter(|target| !target.gone);
        stay.any(|target| target.older.is_some() || !target.new.is_empty())
    }

    fn since(&self) -> impl Iterator<Item = (i64, &Target<'s>)> {
        self.present().filter_map(|target| Some((target.proven_at()?, target)))
    }

    /// Returns whether nothing of an older template works, and the current one does.
    fn only_current_works(&self) -> bool {
        let mut older = self.older().peekable();
        older.peek().is_some()
            && older.all(|(_, available, broken)| !available && *broken)
            && self.since().next().is_some()
    }

    /// Decides what a roll-back restores, or what a node that waits gets.
    fn choose_older_revision(&mut self, history: &History) {
        let all = history.old.iter().zip(&history.old_revisions);
        let not_failed: Vec<_> = all.filter(|((_, hash), _)| self.policy.failed(hash).is_none()).collect();
        let usage = |hash: &str| {
            let own: Vec<_> = self.older().filter(|(other, ..)| other == hash).collect();
            (own.iter().filter(|(_, available, _)| *available).count(), own.len())
        };
        let in_use = not_failed.iter().filter(|((_, hash), _)| usage(hash).1 > 0);
        let most_used = in_use.max_by_key(|((_, hash), _)| usage(hash)).copied();
        let rank = |hash: &str| (self.policy.record["done"] == hash, self.older().all(|(other, ..)| other != hash));
        let guess = not_failed.iter().max_by_key(|((_, hash), _)| rank(hash)).copied();
        let template = |revision: &Value| {
            let mut template = revision["data"]["spec"]["template"].clone();
            template.as_object_mut().unwrap().remove("$patch");
            template
        };
        let all_failed =
            self.older().next().is_some() && self.older().all(|(hash, ..)| self.policy.failed(hash).is_some());
        let old_here = self.present().any(|target| target.older.is_some());

        let is_failing = self.phase["phase"] == "Failing" || self.phase["phase"] == "InDoubt";
        let kept = most_used.or_else(|| guess.filter(|_| !self.has_pods() || all_failed || is_failing));
        let done = not_failed.iter().find(|((_, hash), _)| self.policy.record["done"] == **hash).copied();
        let restored = done.or_else(|| most_used.filter(|((_, hash), _)| usage(hash).0 > 0));
        let restored = restored.or_else(|| guess.filter(|_| !old_here || all_failed));
        let was_rolled_back = self.policy.failed(&history.hash).is_some_and(|failed| !failed["restored"].is_null());
        let rolls_back = self.phase["phase"] == "Failing"
            && self.policy.says("on-failure", "roll-back")
            && !was_rolled_back
            && !history.is_restored();
        let refusal = match () {
            () if was_rolled_back => "RolledBackBefore",
            () if history.is_restored() => "Undone",
            () => "NoOlderTemplate",
        };
        if self.phase["phase"] == "Failing" && self.policy.says("on-failure", "roll-back") {
            self.phase["noRollBack"] = json!(refusal);
        }
        let restored = restored.filter(|_| rolls_back).map(|((name, hash), _)| (name.clone(), hash.clone()));
        let kept = kept.filter(|_| !self.only_current_works());
        let kept = kept.map(|((name, hash), revision)| (name.clone(), hash.clone(), template(revision)));
        (self.older, self.rolls_back_to) = (kept, restored);
    }

    /// Returns whether the failure of the template matters.
    fn is_judged(&self, facts: &Facts<'_>, history: &History) -> bool {
        let is_done = self.policy.record["done"] == history.hash || self.was_done_before(facts);
        self.policy.get("on-failure").is_some() && !is_done && !self.is_return
    }

    /// Returns whether no pod is outdated, one has been available for a day, and no new one came since but to new nodes.
    fn was_done_before(&self, facts: &Facts<'_>) -> bool {
        let day = self.policy.proof().max(24 * 3600);
        let is_long_ago = |time: i64| facts.now.is_some_and(|now| now.as_second() - time >= day);
        let last =
            self.targets.iter().filter(|target| target.state.exists).filter_map(|target| target.reached_at).max();
        self.older().next().is_none()
            && self.since().map(|(since, _)| since).min().is_some_and(is_long_ago)
            && last.is_none_or(is_long_ago)
    }

    fn nodes_that_are(&self, health: Health) -> Vec<String> {
        let judged = self.targets.iter().filter(|target| !target.gone && (!target.away || target.unschedulable));
        let are = judged.filter(|target| target.health == Some(health));
        are.map(|target| target.state.name.clone()).collect()
    }

    fn failing_phase(&mut self, facts: &Facts<'_>, history: &History) -> Option<Value> {
        if !self.is_judged(facts, history) {
            return None;
        }
        let replaced = self.replaced_before(&history.hash);
        let judged = |health| self.nodes_that_are(health).into_iter().filter(|node| !replaced.contains(node));
        let failing: Vec<_> = judged(Health::Failing).collect();
        let doubts: Vec<_> = judged(Health::InDoubt).collect();
        let limit = self.most_failures;
        let is_over = |at: i64| facts.now.is_some_and(|now| now.as_second() >= at);
        let has_ended = self.older().next().is_none() && self.well_at().is_some_and(is_over);
        let known = self.policy.failed(&history.hash).filter(|failed| failed["isPaused"] == json!(true) && !has_ended);
        let is_paused = known.is_some();
        let late = self.late_canaries(facts, history);
        if failing.len() > limit || is_paused || !late.is_empty() {
            let still_fails = !failing.is_empty() || !late.is_empty();
            let known = known.and_then(|known| known["nodes"].as_array()).into_iter().flatten();
            let known = known.map(|node| node.as_str().unwrap().to_owned());
            let nodes: BTreeSet<_> = failing.into_iter().chain(late).chain(known).collect();
            self.failing = nodes.into_iter().collect();
            let is_everywhere = self.older().next().is_none();
            return Some(json!({
                "phase": "Failing", "isPaused": is_paused, "isEverywhere": is_everywhere, "stillFails": still_fails,
            }));
        }
        let is_in_doubt = failing.len() + doubts.len() > limit && !doubts.is_empty();
        (is_in_doubt && self.older().next().is_some()).then(|| json!({"phase": "InDoubt"}))
    }

    /// Returns on how many nodes the template may fail while the update can still go on.
    fn most_failures(&self, facts: &Facts<'_>, history: &History) -> usize {
        let limit = self.policy.nodes("max-failures", self.desired).unwrap_or(0);
        let bounds = &facts.daemonset["spec"]["updateStrategy"]["rollingUpdate"];
        let room = match max_surge(facts, self.desired) {
            0 => resolve(&bounds["maxUnavailable"], self.desired).max(1),
            surging => surging,
        };
        let limit = limit.min(self.desired.saturating_sub(1)).min(room - 1);
        let is_outdated = self.older().next().is_some();
        let phase = self.canary_phase(facts, history).filter(|_| is_outdated).map(|(phase, _)| phase);
        let wanted =
            phase.filter(|phase| phase["phase"] == "CanaryStarting").and_then(|phase| phase["wanted"].as_u64());
        match wanted.map(|wanted| usize::try_from(wanted).unwrap()) {
            None | Some(0) => limit,
            Some(wanted) => limit.min(wanted - 1),
        }
    }

    /// Returns when all updated pods will have been well for long enough, if all are well.
    fn well_at(&self) -> Option<i64> {
        let has_doubts =
            [Health::InDoubt, Health::Failing].iter().any(|health| !self.nodes_that_are(*health).is_empty());
        let unfinished = self.present().any(|target| target.selected && !target.is_done());
        if self.policy.get("on-failure").is_none() || has_doubts || unfinished {
            return None;
        }
        Some(self.since().map(|(since, _)| since).max()? + self.policy.proof())
    }

    fn find_phase(&mut self, facts: &Facts<'_>, history: &History) {
        let policy = self.policy;
        let not_failed = history.old.iter().any(|(_, hash)| policy.failed(hash).is_none());
        let outdated = self.older().next().is_some();
        self.most_failures = self.most_failures(facts, history);
        let all_gone = !self.has_pods() && self.desired > 0 && not_failed;
        let shut = if policy.says("frozen", "true") {
            Some(json!({"phase": "Frozen"}))
        } else if policy.says("paused", "true") && (outdated || all_gone) {
            Some(json!({"phase": "Paused"}))
        } else {
            self.failing_phase(facts, history)
        };
        if let Some(phase) = shut {
            self.room = 0;
            if outdated && ["Frozen", "Paused"].contains(&phase["phase"].as_str().unwrap()) {
                let waits = self.canary_phase(facts, history).map(|(phase, _)| phase);
                self.note_baked(history, waits.as_ref());
                let bakes = waits.filter(|phase| phase["phase"] == "CanaryBaking" && self.records_baked(history));
                self.times.extend(bakes.and_then(|phase| phase["remainingSeconds"].as_i64()));
            }
            self.phase = phase;
            return;
        }
        let well = self.well_at().map(|at| at - facts.now.map_or(at - 1, jiff::Timestamp::as_second));
        if !outdated {
            self.ends = policy.get("on-failure").is_some() && !self.is_return && self.was_done_before(facts);
            let is_done = policy.record["done"] == history.hash || self.ends;
            let is_recorded = policy.get("on-failure").is_some() || !policy.record["done"].is_null();
            if is_recorded && !is_done && self.has_pods() {
                self.ends = well.is_some_and(|left| left <= 0);
                if !self.ends {
                    let left = well.filter(|_| facts.now.is_some());
                    if policy.get("on-failure").is_some() && !self.is_return {
                        self.phase = json!({"phase": "Verifying", "remainingSeconds": left});
                        self.times.extend(left);
                    }
                }
            }
            return;
        }
        let is_well = self.is_judged(facts, history) && well.is_some_and(|left| left <= 0);
        self.ends = is_well && !self.present().any(|target| target.older.is_some());
        self.find_phase_of_update(facts, history);
    }

    /// Returns whether it is recorded which canaries have baked.
    fn records_baked(&self, history: &History) -> bool {
        self.waits_for_canaries(history) && self.policy.get("canary-timeout").is_some()
    }

    /// Notes how many steps of the canaries have baked; `phase` says for which the others wait.
    fn note_baked(&mut self, history: &History, phase: Option<&Value>) {
        if self.records_baked(history) {
            self.baked = match phase {
                None => self.steps().len().max(1),
                Some(phase) => {
                    let step = usize::try_from(phase["step"].as_u64().unwrap()).unwrap();
                    step - usize::from(phase["phase"] != "AwaitingApproval")
                }
            };
        }
    }

    fn find_phase_of_update(&mut self, facts: &Facts<'_>, history: &History) {
        let policy = self.policy;
        let updated = self.updated();
        let since = history.created().filter(|_| !self.is_return);
        let vanished = |target: &&Target<'_>| {
            let lost = lost_at(target.state).and_then(|lost| in_seconds(&lost));
            target.lost_pod && target.lost && lost.zip(since).is_some_and(|(lost, since)| lost >= since)
        };
        let vanished = self.targets.iter().filter(vanished).count();
        let up_to = |nodes: usize| nodes.saturating_sub(updated + vanished);
        let mut room = if self.kept().is_some() { up_to(self.allowed()) } else { usize::MAX };
        self.phase = json!({"phase": "Rolling", "group": null});
        let unfinished = self.present().filter(|target| target.selected && !target.is_done());
        let (flapping, due): (Vec<_>, Vec<_>) =
            unfinished.partition(|target| target.flaps && target.old.is_empty() && target.new.len() == 1);
        let first = |targets: &[&Target<'_>]| targets.iter().map(|target| target.group.clone()).min();
        let (only, nothing_left) = (first(&due).or_else(|| first(&flapping)), due.is_empty() && flapping.is_empty());
        if policy.get("groups").is_some() && !policy.says("group-pace", "spread") {
            self.only = only;
            let elsewhere = |target: &Target<'_>| self.only.as_ref().is_some_and(|only| target.group != *only);
            let waits = self.present().any(|target| elsewhere(target) && target.is_in_progress() && !target.stuck);
            self.waits = waits;
            if let Some((_, name)) = &self.only {
                self.phase["group"] = json!(name);
                self.replaces_stuck = true;
            }
        }
        let waits = self.canary_phase(facts, history);
        self.note_baked(history, waits.as_ref().map(|(phase, _)| phase));
        // Canaries by label are not waited for if the partition lets no more nodes have the template.
        if let Some((phase, most)) = waits.filter(|(_, most)| most.is_some() || room > 0) {
            if let Some(most) = most {
                room = room.min(up_to(most));
            } else {
                self.only = Some((CANARIES, String::new()));
                self.replaces_stuck = true;
            }
            if let (Some(left), true) = (phase["remainingSeconds"].as_i64(), phase["phase"] == "CanaryBaking") {
                self.times.push(left);
            }
            let deadlines = self.deadlines(facts, history, &phase);
            self.times.extend(deadlines.into_iter().map(|(left, _)| left).filter(|left| *left > 0));
            self.baking = self.baking(facts, &phase);
            self.phase = phase;
        } else if room == 0 || nothing_left {
            let outdated = self.targets.iter().filter(|target| !target.gone && target.older.is_some());
            let (selected, others): (Vec<_>, Vec<_>) = outdated.partition(|target| target.selected);
            let (away, here): (Vec<_>, Vec<_>) = selected.into_iter().partition(|target| target.away);
            let partition = if room == 0 { here.len() } else { 0 };
            if partition + others.len() + away.len() > 0 {
                self.phase = json!({
                    "phase": "Held", "partition": partition, "notSelected": others.len(), "away": away.len(),
                });
            }
        }
        self.room = room;
    }

    pub fn status(&self) -> Value {
        let mut status = self.phase.clone();
        status["old"] = json!(self.older().count());
        status["updated"] = json!(self.updated());
        let lacks = |target: &&Target<'_>| target.away && target.is_unavailable();
        // Pods of missing nodes are collected, and no longer matter.
        status["unavailableAway"] = json!(self.targets.iter().filter(lacks).count());
        let is_canary = |target: &&Target<'_>| target.group.0 == CANARIES && target.wanted;
        let are_away = self.present().filter(is_canary).count() == 0;
        let starts = |target: &&Target<'_>| {
            let is_starting = self.phase["phase"] == "CanaryStarting" && is_canary(target);
            is_starting && target.away == are_away && !target.has_available_since()
        };
        let refused = |target: &&Target<'_>| {
            let is_starting = self.phase["phase"] == "CanaryStarting" && target.wanted;
            is_starting && target.unschedulable && !target.has_available_since()
        };
        let waits = |target: &&Target<'_>| target.is_in_progress() || target.is_unready();
        let is_held = self.phase["phase"] == "Held";
        let away = self.targets.iter().filter(|target| is_held && target.away && target.selected && !target.gone);
        let away = away.filter(|target| target.older.is_some());
        let exceeds = self.not_excused() > 0;
        let more =
            self.targets.iter().filter(|target| exceeds && target.away && !target.gone && target.is_unavailable());
        let waits = self.present().filter(waits).chain(away).chain(more).chain(self.targets.iter().filter(starts));
        let bakes = |target: &&Target<'_>| self.baking.contains(&target.state.name);
        let waits = waits.chain(self.targets.iter().filter(refused)).chain(self.targets.iter().filter(bakes));
        let waits: BTreeMap<_, _> = waits.map(|target| (&target.state.name, target)).collect();
        status["waitsFor"] = json!(waits.keys().collect::<Vec<_>>());
        let silent = waits.values().filter(|target| target.state.exists && lost_at(target.state).is_some());
        let silent: Vec<_> = silent.map(|target| &target.state.name).collect();
        if !silent.is_empty() {
            status["notReporting"] = json!(silent);
        }
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

    /// Returns whether no pod is created or deleted at all.
    pub fn is_frozen(&self) -> bool {
        self.phase["phase"] == "Frozen"
    }

    /// Nodes that the update has not reached get missing pods of the older template.
    pub fn hold_creations_back(&self, wishes: &mut Wishes, hash: &str) {
        let is_open = ["Settled", "Verifying"].contains(&self.phase["phase"].as_str().unwrap());
        if !is_open && self.older.is_some() {
            let to_fill = self.to_fill();
            let fails = ["Failing", "InDoubt"].contains(&self.phase["phase"].as_str().unwrap());
            let replaced = if fails { Vec::new() } else { self.replaced_before(hash) };
            for (node, reason) in &mut wishes.create {
                if !to_fill.contains(&&**node) && !replaced.contains(node) {
                    *reason = "HeldBack";
                }
            }
        }
    }
}
