//! The promises of the guide, as what must never happen.

use std::collections::BTreeSet;

use daemonplan::{
    Action, CreateReason, DeleteReason, Plan,
    model::Pod,
    policy::{RolloutPhase, RolloutRecord},
};
use jiff::{SignedDuration, Timestamp};

use crate::{
    kubelet::{CORDONED, UNREACHABLE},
    world::{Kind, World},
};

impl World {
    fn says(&self, policy: &str) -> bool {
        self.policy.contains_key(policy)
    }

    fn of_nodes(&self, policy: &str) -> Option<usize> {
        Some(self.count(self.policy.get(policy)?))
    }

    fn count(&self, text: &str) -> usize {
        match text.trim().strip_suffix('%') {
            Some(percent) => (self.nodes() * percent.parse::<usize>().unwrap()).div_ceil(100),
            None => text.trim().parse().unwrap(),
        }
    }

    /// What the policy says of a step of the canaries.
    fn of_step(&self, policy: &str, step: usize) -> Option<&str> {
        let values: Vec<_> = self.policy.get(policy)?.split(',').map(str::trim).collect();
        values.get(step).or(values.last()).copied()
    }

    /// How many steps the canaries have.
    pub fn steps(&self) -> usize {
        self.policy.get("canary").map_or(1, |steps| steps.split(',').count())
    }

    fn label(&self, node: &str, key: &str) -> String {
        let node = self.cluster.nodes.iter().find(|other| other.name == node).unwrap();
        node.labels.get(key).unwrap().to_owned()
    }

    fn has_taint(&self, node: &str, key: &str) -> bool {
        let node = self.cluster.nodes.iter().find(|other| other.name == node).unwrap();
        node.taints.iter().any(|taint| taint.key == key)
    }

    /// Whether a pod of a template ends badly here through the template's own fault.
    fn is_bad(&self, template: usize, node: &str) -> bool {
        match &self.templates[template] {
            Kind::Good => false,
            Kind::NoImage => true,
            Kind::Crashes(nodes) | Kind::Hangs(nodes) | Kind::Flaps(nodes) | Kind::CutsOff(nodes, _) => {
                nodes.contains(node)
            }
        }
    }

    /// The nodes that worked until the current template came, and do not through its fault.
    fn lost(&self) -> BTreeSet<&str> {
        let current = self.current();
        let lost = self.reached.iter().filter(|(node, reached)| {
            let is_to_blame = self.is_bad(current, node) && !self.machines[*node].is_broken;
            reached.template == current && reached.was_well && is_to_blame && !self.has_available(node)
        });
        lost.map(|(node, _)| node.as_str()).collect()
    }

    /// Checks what may be asked for at all.
    pub fn check_plan(&mut self, plan: &Plan) {
        let current = self.current();
        let touches = |action: &Action| matches!(action, Action::CreatePod { .. } | Action::DeletePod { .. });
        if self.says("frozen") && plan.actions.iter().any(touches) {
            self.fail("a pod is created or deleted, though the DaemonSet is frozen");
        }
        let mut next: Vec<(&str, bool)> = Vec::new();
        for action in &plan.actions {
            match action {
                Action::RollBack { .. } => {
                    if self.roll_backs.contains_key(&current) {
                        self.fail("a second roll-back of the same template");
                    }
                    if self.policy.get("on-failure").is_none_or(|then| then != "roll-back") {
                        self.fail("a roll-back that no policy asks for");
                    }
                }
                Action::DeletePod { node: Some(node), reason: DeleteReason::Outdated, .. }
                | Action::CreatePod { node, reason: CreateReason::Surge, .. } => next.push((node, true)),
                // It was not ready any more, whatever the new template does.
                Action::DeletePod { node: Some(node), reason: DeleteReason::SurgeOldNotReady, .. } => {
                    if let Some(reached) = self.reached.get_mut(&**node) {
                        reached.was_well = false;
                    }
                }
                Action::DeletePod { node: Some(node), reason: DeleteReason::OutdatedUnavailable, .. }
                | Action::CreatePod { node, reason: CreateReason::ReplacesUnavailable, .. } => next.push((node, false)),
                _ => {}
            }
        }
        if next.is_empty() {
            return;
        }
        self.check_budget(&next);
        self.check_gates(&next, &plan.hash);
        for (node, is_well) in next {
            self.reached.insert(node.to_owned(), crate::world::Reached { template: current, was_well: is_well });
        }
    }

    fn is_excused(&self, node: &str) -> bool {
        let Some(away) = self.policy.get("away") else { return false };
        let has_it = self.pods_on(node).any(|pod| self.process(pod).template == self.current());
        let has_none = self.pods_on(node).all(|pod| pod.deleted.is_some());
        let touched =
            (has_it || has_none) && self.reached.get(node).is_some_and(|reached| reached.template == self.current());
        let away = self.has_taint(node, UNREACHABLE) || away.contains("cordoned") && self.has_taint(node, CORDONED);
        // What worked before a roll-back, and what the failed template left, is no harm of the restored one.
        let was_ready = |pod: &Pod| {
            pod.is_ready() || self.machines[node].down_since.is_some_and(|since| pod.unready_since() >= Some(since))
        };
        let is_earlier = |at: Timestamp| {
            let is_left = |pod: &Pod| self.process(pod).template != self.current();
            self.pods_on(node).all(|pod| is_left(pod) || pod.created < Some(at) && was_ready(pod))
        };
        away && (!touched || self.rolled_back_at.is_some_and(is_earlier))
    }

    /// Whether a pod has run for long, and only is not available just now.
    fn flaps(&self, pod: &Pod) -> bool {
        let settled = SignedDuration::from_secs(600 + i64::from(self.cluster.daemonset.min_ready_seconds));
        let is_old = pod.created.is_some_and(|created| created + settled <= self.cluster.now);
        is_old && pod.deleted.is_none() && self.process(pod).started.is_some()
    }

    /// An available pod is only given up within the budget.
    fn check_budget(&self, next: &[(&str, bool)]) {
        let well = next.iter().filter(|(_, is_well)| *is_well).count();
        let max = usize::try_from(self.max).unwrap();
        if well == 0 {
            return;
        }
        let lacking = if self.surges {
            let surges = |node: &&String| {
                let live = self.pods_on(node).filter(|pod| pod.deleted.is_none());
                live.count() > 1
                    && !self
                        .pods_on(node)
                        .any(|pod| self.is_available(pod) && self.process(pod).template == self.current())
            };
            self.machines.keys().filter(|node| !self.is_excused(node)).filter(surges).count()
        } else {
            self.machines.keys().filter(|node| !self.is_excused(node) && !self.has_available(node)).count()
        };
        if lacking + well > max {
            self.fail(format_args!("{lacking} nodes lack a pod, and {well} more are taken: {next:?}"));
        }
        if self.says("groups") && self.says("group-max-unavailable") {
            for zone in ["a", "b"] {
                let taken = next.iter().filter(|(node, is_well)| *is_well && self.label(node, "zone") == zone).count();
                if taken > 1 {
                    self.fail(format_args!("{taken} nodes of zone {zone} at once"));
                }
            }
        }
    }

    /// How many nodes have the current template, or can get it.
    fn reachable(&self) -> usize {
        let current = self.current();
        let is_selected = |node: &str| {
            self.policy
                .get("update-nodes")
                .is_none_or(|selector| format!("pool={}", self.label(node, "pool")) == *selector)
        };
        let has_it =
            |node: &str| self.pods_on(node).any(|pod| self.process(pod).template == current && pod.deleted.is_none());
        self.machines.keys().filter(|node| (is_selected(node) || has_it(node)) && !self.is_excused(node)).count()
    }

    /// Whether pods of the current template have been available for long enough on this many nodes.
    fn have_baked(&self, step: usize, wanted: impl Fn(&str) -> bool) -> usize {
        let bake = self.of_step("canary-bake", step).map_or(SignedDuration::ZERO, |bake| bake.parse().unwrap());
        let bake = bake + SignedDuration::from_secs(self.daemonset().min_ready_seconds.into());
        let current = self.current();
        let baked = |node: &&String| {
            self.pods_on(node).any(|pod| {
                pod.deleted.is_none()
                    && self.process(pod).template == current
                    && pod.ready_since().is_some_and(|since| since + bake <= self.cluster.now)
            })
        };
        self.machines.keys().filter(|node| wanted(node)).filter(baked).count()
    }

    /// Each step of the canaries bakes, and is approved, before more nodes follow.
    fn check_steps(&self, well: &[&str], updated: usize, hash: &str) {
        let is_canary = |node: &str| self.says("canary-nodes") && self.label(node, "pool") == "blue";
        let others = well.iter().filter(|node| !is_canary(node)).count();
        for step in 0..self.steps() {
            let canaries = self.policy.get("canary").and_then(|steps| steps.split(',').nth(step));
            let canaries = canaries.map_or(0, |text| self.count(text));
            let is_beyond =
                self.of_nodes("partition").is_some_and(|kept| canaries >= self.nodes().saturating_sub(kept));
            if others == 0 || updated + others <= canaries || is_beyond {
                continue;
            }
            if self.have_baked(step, |_| true) < canaries.min(self.reachable()) {
                self.fail(format_args!("{updated} nodes are updated and {well:?} follow before {canaries} have baked"));
            }
            let is_manual = self.of_step("canary-approval", step) == Some("manual");
            let approved = self.policy.get("canary-approved").map(|text| text.split_once('/').unwrap_or((text, "9")));
            let is_approved = approved.is_some_and(|(of, steps)| of == hash && step < steps.parse().unwrap());
            if is_manual && !is_approved {
                self.fail(format_args!("{well:?} are updated without an approval of step {}", step + 1));
            }
        }
    }

    /// Canaries, approvals, the partition, the selection and the order of groups hold back whom they should.
    fn check_gates(&self, next: &[(&str, bool)], hash: &str) {
        if self.says("paused") {
            self.fail(format_args!("updated while paused: {next:?}"));
        }
        let current = self.current();
        let well: Vec<_> = next.iter().filter(|(_, is_well)| *is_well).map(|(node, _)| *node).collect();
        if !self.returns {
            if let Some(selector) = self.policy.get("update-nodes")
                && let Some((node, _)) =
                    next.iter().find(|(node, _)| format!("pool={}", self.label(node, "pool")) != *selector)
            {
                self.fail(format_args!("{node} is updated, though it is not selected"));
            }
            let updated = |node: &&String| {
                self.pods_on(node).any(|pod| self.process(pod).template == current && pod.deleted.is_none())
            };
            let updated = self.machines.keys().filter(updated).count();
            if let Some(kept) = self.of_nodes("partition")
                && !well.is_empty()
                && updated + well.len() > self.nodes().saturating_sub(kept)
            {
                self.fail(format_args!("{updated} nodes are updated, {well:?} follow, and the partition keeps {kept}"));
            }
            self.check_steps(&well, updated, hash);
            if self.says("canary-nodes") {
                let is_canary = |node: &str| self.label(node, "pool") == "blue";
                let canaries = self.machines.keys().filter(|node| is_canary(node) && !self.is_excused(node)).count();
                let others: Vec<_> = well.iter().filter(|node| !is_canary(node)).collect();
                if !others.is_empty() && self.have_baked(0, is_canary) < canaries {
                    self.fail(format_args!("{others:?} are updated before the canaries have baked"));
                }
            }
        }
        if self.says("groups") && !self.says("canary-nodes") {
            let selected = |node: &str| {
                self.returns
                    || self
                        .policy
                        .get("update-nodes")
                        .is_none_or(|selector| format!("pool={}", self.label(node, "pool")) == *selector)
            };
            let is_done = |node: &str| {
                let mut own = self.pods_on(node).filter(|pod| self.process(pod).template == current);
                own.any(|pod| self.is_available(pod) || self.flaps(pod)) || self.is_excused(node) || !selected(node)
            };
            let first_is_done =
                self.machines.keys().filter(|node| self.label(node, "zone") == "a").all(|node| is_done(node));
            if !first_is_done && let Some(node) = well.iter().find(|node| self.label(node, "zone") == "b") {
                self.fail(format_args!("{node} is updated before zone a is done"));
            }
        }
    }

    /// Checks what has come of it.
    pub fn check_state(&self) {
        // One that dies later than the canaries bake is beyond every policy.
        match &self.templates[self.current()] {
            Kind::CutsOff(_, after) if *after > 0 => return,
            Kind::Flaps(_) => return,
            _ => {}
        }
        let lost = self.lost();
        let max = usize::try_from(self.max).unwrap();
        if lost.len() > max {
            self.fail(format_args!(
                "template {} takes {lost:?}, and {max} nodes at a time are allowed",
                self.current()
            ));
        }
        for node in self.machines.keys() {
            let live = self.pods_on(node).filter(|pod| pod.deleted.is_none()).count();
            if live > if self.surges { 2 } else { 1 } {
                self.fail(format_args!("{node} has {live} pods"));
            }
        }
    }

    /// Whether each node has one pod, an available one of the current template.
    pub fn is_up_to_date(&self) -> bool {
        let current = self.current();
        let is_well = |node: &String| {
            let pods: Vec<_> = self.pods_on(node).collect();
            matches!(&*pods, [only] if self.process(only).template == current && self.is_available(only))
        };
        self.machines.keys().all(is_well)
    }

    /// At rest, the update is over, or waits for something that has a name.
    pub fn check_rest(&mut self) {
        if self.cluster.now.duration_since(self.last_creation) < SignedDuration::from_mins(60) {
            self.fail("pods are created without end");
        }
        if self.is_up_to_date() {
            return;
        }
        let Some(rollout) = self.cluster.plan().rollout else { return };
        let lacks: Vec<_> = self.machines.keys().filter(|node| !self.has_available(node)).cloned().collect();
        let names = |nodes: &[daemonplan::model::Text]| !nodes.is_empty();
        let is_named = match &rollout.phase {
            RolloutPhase::Paused => self.says("paused"),
            RolloutPhase::Frozen => self.says("frozen"),
            RolloutPhase::Held { partition, not_selected, away } => {
                let is_true = (*partition == 0 || self.says("partition"))
                    && (*not_selected == 0 || self.says("update-nodes"))
                    && (*away == 0 || names(&rollout.waits_for));
                is_true && partition + not_selected + away == rollout.old
            }
            RolloutPhase::AwaitingApproval { .. } => true,
            RolloutPhase::Failing { nodes, .. } | RolloutPhase::InDoubt { nodes, .. } => names(nodes),
            RolloutPhase::CanaryStarting { wanted: 0, .. } => self.says("canary-nodes"),
            RolloutPhase::CanaryStarting { .. } | RolloutPhase::Rolling { .. } => {
                names(&rollout.waits_for) || rollout.away().is_some()
            }
            // One that is ready again and again never bakes, and fails only with a time limit, unless it has baked once.
            RolloutPhase::CanaryBaking { .. } => {
                let record = RolloutRecord::of(&self.cluster.daemonset.annotations, "daemonplan/").unwrap();
                let is_limited = self.says("canary-timeout") && record.baked.is_none();
                matches!(&self.templates[self.current()], Kind::Flaps(_)) && !is_limited && names(&rollout.waits_for)
            }
            // All pods are up to date; some nodes are broken for every template, or away.
            RolloutPhase::Settled | RolloutPhase::Verifying { .. } => !lacks.is_empty(),
            _ => false,
        };
        if !is_named {
            self.fail(format_args!("the update waits for nothing that has a name: {rollout:?}"));
        }
        self.facts.waits_at_the_end += 1;
    }
}
