//! What people do: they edit the template and the policy, undo, approve, resume, cordon and repair.

use std::collections::BTreeSet;

use daemonplan::{Action, model::TaintEffect, policy::RolloutPhase};
use jiff::SignedDuration;
use serde_json::json;

use crate::{
    kubelet::{CORDONED, UNREACHABLE},
    world::{Kind, World, name},
};

impl World {
    pub fn choose_policy(&mut self) {
        self.max = u32::try_from(1 + self.pick(3)).unwrap();
        self.surges = self.chance(25);
        let (max, none) = (json!(self.max), json!(0));
        let (unavailable, surge) = if self.surges { (none, max) } else { (max, none) };
        self.cluster = self.cluster.clone().rolling(unavailable, surge);
        if self.chance(20) {
            self.cluster.daemonset.min_ready_seconds = 30;
        }
        if self.chance(60) {
            let then = if self.chance(70) { "roll-back" } else { "pause" };
            self.policy.insert("on-failure", then.into());
            if self.chance(50) {
                self.policy.insert("available-within", "5m".into());
            }
            if self.chance(25) {
                self.policy.insert("max-failures", "1".into());
            }
        }
        match self.pick(4) {
            0 => {
                let canary = self.one_of(&["1", "30%", "0", "1, 50%", "1, 40%, 80%"]);
                self.policy.insert("canary", canary.into());
            }
            1 => drop(self.policy.insert("canary-nodes", "pool=blue".into())),
            _ => {}
        }
        if self.policy.keys().any(|key| key.starts_with("canary")) {
            let has_steps = self.steps() > 1;
            if self.chance(50) {
                let bake = if has_steps { self.one_of(&["5m", "2m, 10m", "10m, 1m"]) } else { "10m" };
                self.policy.insert("canary-bake", bake.into());
            }
            if self.chance(20) {
                let approval = if has_steps { self.one_of(&["manual", "automatic, manual"]) } else { "manual" };
                self.policy.insert("canary-approval", approval.into());
            }
            if self.policy.contains_key("on-failure") && self.chance(70) {
                let timeout = self.one_of(&["20m", "15m"]);
                self.policy.insert("canary-timeout", timeout.into());
            }
        }
        if self.chance(35) {
            self.policy.insert("groups", "zone".into());
            if self.chance(30) {
                self.policy.insert("group-max-unavailable", "1".into());
            }
        }
        if self.chance(30) {
            self.policy.insert("strict-budget", "true".into());
        }
        if self.chance(15) {
            self.policy.insert("slow-start", "1".into());
        }
        if self.chance(50) {
            let away = self.one_of(&["unreachable", "unreachable,cordoned", "unreachable=2m"]);
            self.policy.insert("away", away.into());
            if self.chance(30) {
                self.policy.insert("max-away", "1".into());
            }
        }
        if self.chance(15) {
            self.policy.insert("partition", "1".into());
        }
        if self.policy.is_empty() {
            self.policy.insert("strict-budget", "true".into());
        }
        self.annotate();
    }

    fn one_of(&mut self, all: &[&'static str]) -> &'static str {
        all[self.pick(all.len())]
    }

    fn some_nodes(&mut self) -> BTreeSet<String> {
        let all = self.chance(50);
        (0..self.nodes()).filter(|_| all || self.chance(40)).map(name).collect()
    }

    fn new_template(&mut self) {
        let nodes = self.some_nodes();
        let kind = match self.pick(10) {
            0 | 1 => Kind::Crashes(nodes),
            2 => Kind::Hangs(nodes),
            8 | 9 => Kind::Flaps(nodes),
            3 => Kind::NoImage,
            4 | 5 => Kind::CutsOff(nodes, [0, 0, 120][self.pick(3)]),
            _ => Kind::Good,
        };
        self.note(format_args!("template {}: {kind:?}", self.templates.len()));
        self.templates.push(kind);
        self.set_template(self.templates.len() - 1);
        (self.returns, self.rolled_back_at, self.is_older) = (false, None, false);
    }

    fn undo(&mut self) {
        let current = self.current();
        let known: Vec<_> =
            (0..self.templates.len()).filter(|at| self.hash_of(*at).is_some() && *at < current).collect();
        if let Some(before) = known.last().copied() {
            self.note(format_args!("the operator undoes template {current}: back to {before}"));
            self.facts.undone += 1;
            self.set_template(before);
            let rolled_back_at = self.restored.get(&before).copied();
            // One that has failed is tried again, as if it was new.
            let has_failed = self.failed_templates().contains(&before);
            self.is_older = true;
            (self.returns, self.rolled_back_at) = (rolled_back_at.is_some() || !has_failed, rolled_back_at);
        }
    }

    /// Does something, or more often nothing.
    pub fn operate(&mut self) {
        if !self.chance(12) {
            return;
        }
        let node = self.any_node();
        match self.pick(20) {
            0..5 => self.new_template(),
            5 => self.undo(),
            6 => {
                let pods: Vec<_> = self.cluster.pods.iter().map(|pod| pod.name.to_string()).collect();
                if !pods.is_empty() {
                    let lost = pods[self.pick(pods.len())].clone();
                    self.note(format_args!("{lost} is lost"));
                    self.cluster.pods.retain(|pod| pod.name != lost);
                    self.processes.remove(&lost);
                }
            }
            7 | 8 if !self.machines[&node].is_down => self.take_down(&node, false),
            9..12 if !self.machines[&node].was_cut_off => self.bring_back(&node),
            12 => {
                let is_broken = !self.machines[&node].is_broken;
                self.set_broken(&node, is_broken);
            }
            13 => {
                self.note(format_args!("{node} is cordoned"));
                self.taint(&node, CORDONED, TaintEffect::NoSchedule);
            }
            14 => self.untaint(&node, CORDONED),
            15 => self.approve(),
            16 => {
                let policy = if self.chance(70) { "paused" } else { "frozen" };
                let becomes = if self.policy.contains_key(policy) { None } else { Some("true") };
                self.set(policy, becomes);
            }
            17 => {
                let pool = [None, Some("pool=blue"), Some("pool=green")][self.pick(3)];
                self.set("update-nodes", pool);
            }
            18 => {
                let kept = [None, Some("1"), Some("50%")][self.pick(3)];
                self.set("partition", kept);
            }
            _ => {
                if self.chance(30) {
                    self.note("the operator removes the record");
                    self.remove_record();
                }
            }
        }
    }

    fn set(&mut self, policy: &'static str, value: Option<&str>) {
        self.note(format_args!("{policy} becomes {value:?}"));
        match value {
            Some(value) => drop(self.policy.insert(policy, value.to_owned())),
            None => drop(self.policy.remove(policy)),
        }
        // Without any policy, updates are those of the built-in controller.
        if self.policy.is_empty() {
            self.policy.insert("strict-budget", "true".into());
        }
        self.annotate();
    }

    fn set_broken(&mut self, node: &str, is_broken: bool) {
        self.note(format_args!("{node} {} for every template", if is_broken { "breaks" } else { "works again" }));
        self.machines.get_mut(node).unwrap().is_broken = is_broken;
        let here: Vec<_> = self.pods_on(node).map(|pod| pod.name.to_string()).collect();
        for pod in here {
            self.processes.get_mut(&pod).unwrap().due = self.cluster.now;
        }
    }

    /// Resumes an update that was paused or rolled back, as a node went away just when the update reached it.
    fn insist(&mut self) {
        let good = self.templates.len() - 1;
        if self.current() != good || matches!(self.phase(), Some(RolloutPhase::Failing { is_paused: true, .. })) {
            self.note("the operator insists on the template");
            self.remove_record();
            self.set_template(good);
            (self.returns, self.rolled_back_at, self.is_older) = (false, None, false);
        }
    }

    fn approve(&mut self) {
        if let Some(RolloutPhase::AwaitingApproval { value, .. }) = self.phase() {
            self.set("canary-approved", Some(&value.to_string()));
        }
    }

    /// Nothing happens any more but what nodes and the controller do.
    pub fn calm_down(&mut self) {
        self.note("from here on, the operator does nothing");
        self.is_calm = true;
        for _ in 0..240 {
            self.tick(60);
        }
        self.check_rest();
    }

    /// The operator repairs everything, and sets a template that works everywhere.
    pub fn repair(&mut self) {
        self.note("the operator repairs everything");
        let nodes: Vec<_> = self.machines.keys().cloned().collect();
        self.templates.push(Kind::Good);
        self.set_template(self.templates.len() - 1);
        (self.returns, self.rolled_back_at, self.is_older) = (false, None, false);
        for node in &nodes {
            self.untaint(node, CORDONED);
            self.set_broken(node, false);
        }
        for policy in ["paused", "frozen", "partition", "update-nodes"] {
            self.set(policy, None);
        }
        let has_canaries = self.cluster.nodes.iter().any(|node| node.labels.get("pool") == Some("blue"));
        if !has_canaries {
            self.set("canary-nodes", None);
            for policy in ["canary-bake", "canary-approval", "canary-approved", "canary-timeout"] {
                if !self.policy.contains_key("canary") {
                    self.set(policy, None);
                }
            }
        }
        for _ in 0..240 {
            // A node that is cut off again as soon as it is back is started without its pod.
            for node in &nodes {
                let since = self.machines[node].down_since;
                if since.is_some_and(|since| self.cluster.now.duration_since(since) >= SignedDuration::from_mins(15)) {
                    let kinds = &self.templates;
                    let cuts =
                        |template: usize| matches!(&kinds[template], Kind::CutsOff(nodes, _) if nodes.contains(node));
                    let here =
                        self.cluster.pods.iter().filter(|pod| pod.node.name().is_some_and(|name| *name == **node));
                    let gone: Vec<_> =
                        here.filter(|pod| cuts(self.process(pod).template)).map(|pod| pod.name.clone()).collect();
                    self.cluster.pods.retain(|pod| !gone.contains(&pod.name));
                    self.bring_back(node);
                }
            }
            self.approve();
            self.insist();
            self.tick(60);
        }
        if !self.is_up_to_date() {
            self.fail(format_args!("after all was repaired, not all nodes are up to date: {:?}", self.phase()));
        }
        assert!(self.cluster.nodes.iter().all(|node| node.taints.iter().all(|taint| taint.key != UNREACHABLE)));
        let acts = |action: &Action| !matches!(action, Action::UpdateStatus { .. });
        if self.cluster.plan().actions.iter().any(acts)
            || self.cluster.now.duration_since(self.last_creation) < SignedDuration::from_mins(30)
        {
            self.fail("after all was repaired, there is still something to do");
        }
    }
}
