//! What the other nodes wait for: the canaries, step by step.

use serde_json::{Value, json};

use super::super::{facts::Facts, history::History, update::resolve};
use super::{CANARIES, Progress, Target, seconds};

impl<'s> Progress<'s> {
    /// Returns how many nodes each step may reach.
    pub(super) fn steps(&self) -> Vec<usize> {
        let bound = |text: &str| text.parse::<u64>().map_or_else(|_| json!(text), |count| json!(count));
        self.policy.listed("canary").into_iter().map(|text| resolve(&bound(text), self.desired)).collect()
    }

    fn bake_of(&self, step: usize) -> i64 {
        self.policy.of_step("canary-bake", step).map_or(0, seconds)
    }

    /// Returns how many nodes the partition keeps, if it has an effect.
    pub(super) fn kept(&self) -> Option<usize> {
        let kept = self.policy.nodes("partition", self.desired);
        kept.filter(|_| !self.is_return && !self.only_current_works())
    }

    pub(super) fn allowed(&self) -> usize {
        self.desired.saturating_sub(self.kept().unwrap_or(0))
    }

    fn by_label(&self) -> bool {
        self.policy.get("canary-nodes").is_some()
    }

    fn canaries(&self) -> impl Iterator<Item = &Target<'s>> {
        let by_label = self.by_label();
        self.present().filter(move |target| !by_label || target.group.0 == CANARIES)
    }

    /// Returns the steps: their index, how many nodes they may reach, and how many they need.
    fn all_steps(&self) -> Vec<(usize, usize, usize)> {
        let members = self.canaries().filter(|target| target.wanted);
        let by_label = self.by_label();
        let members = members.filter(|target| by_label || target.selected || !target.new.is_empty()).count();
        if by_label {
            return vec![(0, members, members)];
        }
        let steps = self.steps().into_iter().enumerate();
        steps.map(|(step, most)| (step, most, most.min(members).min(self.allowed()))).collect()
    }

    /// Returns whether an update waits for canaries at all.
    pub(super) fn waits_for_canaries(&self, history: &History) -> bool {
        let is_promoted =
            self.policy.get("canary-promoted") == Some(&history.hash) && self.policy.failed(&history.hash).is_none();
        (self.by_label() || self.policy.get("canary").is_some()) && !self.is_return && !is_promoted
    }

    /// Returns why the other nodes wait for the canaries, and how many may be updated meanwhile (`None`: the canaries).
    pub(super) fn canary_phase(&self, facts: &Facts<'_>, history: &History) -> Option<(Value, Option<usize>)> {
        if !self.waits_for_canaries(history) {
            return None;
        }
        let of = self.steps().len().max(1);
        for (step, most, wanted) in self.all_steps() {
            if let Some(mut phase) = self.phase_of_step(facts, history, step, wanted) {
                phase["step"] = json!(step + 1);
                phase["steps"] = json!(of);
                let deadlines = self.deadlines(facts, history, &phase).into_iter().map(|(left, _)| left);
                if let Some(first) = deadlines.min().filter(|_| phase["phase"] != "AwaitingApproval") {
                    phase["failsInSeconds"] = json!(first.max(0));
                }
                return Some((phase, Some(most).filter(|_| !self.by_label())));
            }
        }
        None
    }

    fn phase_of_step(&self, facts: &Facts<'_>, history: &History, step: usize, wanted: usize) -> Option<Value> {
        let mut since: Vec<_> = self.canaries().filter_map(Target::proven_at).collect();
        since.sort_unstable();
        let unfinished = self.canaries().any(|target| target.selected && !target.is_done());
        if self.by_label() && wanted == 0 {
            let away = self.targets.iter().filter(|target| target.away && target.wanted && target.group.0 == CANARIES);
            return Some(json!({"phase": "CanaryStarting", "available": 0, "wanted": away.count()}));
        }
        if self.by_label() && unfinished || since.len() < wanted {
            return Some(json!({"phase": "CanaryStarting", "available": since.len(), "wanted": wanted}));
        }
        let bake = self.bake_of(step);
        if wanted > 0 && bake > 0 {
            let until = if self.by_label() { since.last().unwrap() } else { &since[wanted - 1] } + bake;
            let left = facts.now.map(|now| until - now.as_second());
            if left.is_none_or(|left| left > 0) {
                return Some(json!({"phase": "CanaryBaking", "remainingSeconds": left}));
            }
        }
        let most = self.steps().get(step).copied().unwrap_or(0);
        let has_next = self.desired > 0 && self.kept().is_none_or(|_| most < self.allowed());
        if self.policy.of_step("canary-approval", step) != Some("manual") || !has_next {
            return None;
        }
        let is_approved = match self.policy.get("canary-approved").map(|text| text.split_once('/').ok_or(text)) {
            Some(Ok((hash, steps))) => hash == history.hash && step < steps.parse().unwrap(),
            Some(Err(hash)) => hash == history.hash,
            None => false,
        };
        let value = match self.steps().len() {
            0 | 1 => history.hash.clone(),
            _ => format!("{}/{}", history.hash, step + 1),
        };
        let annotation = "daemonplan/canary-approved";
        (!is_approved).then(|| json!({"phase": "AwaitingApproval", "annotation": annotation, "value": value}))
    }

    /// Returns the canaries that have to be available for longer.
    pub(super) fn baking(&self, facts: &Facts<'_>, phase: &Value) -> Vec<String> {
        let here = self.all_steps().into_iter().find(|(index, ..)| phase["step"] == json!(index + 1));
        let Some((step, _, wanted)) = here.filter(|_| phase["phase"] == "CanaryBaking") else { return Vec::new() };
        let mut canaries: Vec<_> =
            self.canaries().filter_map(|target| Some((target.proven_at()?, target.state.name.clone()))).collect();
        canaries.sort();
        canaries.truncate(wanted);
        canaries.retain(|(since, _)| facts.now.is_none_or(|now| since + self.bake_of(step) > now.as_second()));
        canaries.into_iter().map(|(_, node)| node).collect()
    }

    fn created(target: &Target<'_>) -> Option<i64> {
        target
            .new
            .iter()
            .filter_map(|pod| pod.created)
            .map(jiff::Timestamp::as_second)
            .min()
            .filter(|_| target.wanted && !target.lost)
    }

    /// Returns the canaries that an update waits for in this phase, and when each is late, in seconds from now.
    pub(super) fn deadlines(&self, facts: &Facts<'_>, history: &History, phase: &Value) -> Vec<(i64, String)> {
        let steps = self.all_steps();
        let here = steps.iter().find(|(index, ..)| phase["step"] == json!(index + 1));
        let (Some(limit), Some(now), Some(&(step, most, _))) = (self.policy.seconds("canary-timeout"), facts.now, here)
        else {
            return Vec::new();
        };
        let was_over = !self.by_label() && self.updated() > most;
        if was_over || step < self.baked_before || phase["phase"] == "AwaitingApproval" {
            return Vec::new();
        }
        let now = now.as_second();
        let broken_before = self.replaced_before(&history.hash);
        let refused = self.targets.iter().filter(|target| target.away && target.unschedulable);
        let refused = refused.filter(|target| !self.by_label() || target.group.0 == CANARIES);
        let waiting = self.canaries().chain(refused).filter_map(|target| {
            let late = Self::created(target)? + limit;
            let bakes_in_time = target.proven_at().is_some_and(|since| since + self.bake_of(step) <= late.max(now));
            (!bakes_in_time && !broken_before.contains(&target.state.name))
                .then(|| (late - now, target.state.name.clone()))
        });
        waiting.collect()
    }

    /// Returns the canaries that have not been available for long enough in time.
    pub(super) fn late_canaries(&self, facts: &Facts<'_>, history: &History) -> Vec<String> {
        let phase = self.canary_phase(facts, history).filter(|_| self.older().next().is_some());
        let deadlines = phase.map(|(phase, _)| self.deadlines(facts, history, &phase)).unwrap_or_default();
        deadlines.into_iter().filter(|(left, _)| *left <= 0).map(|(_, node)| node).collect()
    }
}
