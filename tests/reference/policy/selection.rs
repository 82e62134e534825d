//! The next nodes to update, one by one.

use serde_json::json;

use super::super::{Wishes, update::resolve};
use super::{Progress, Target};

impl<'s> Progress<'s> {
    /// Adds the next actions of the update, and returns the nodes whose pods are replaced that were broken before.
    pub fn wishes(&self) -> (Wishes, Vec<String>) {
        let surges = self.max_surge > 0;
        let strict = self.policy.says("strict-budget", "true");
        let mut limit = if surges { self.max_surge } else { self.max_unavailable };
        if let Some(first) = self.policy.nodes("slow-start", self.desired).filter(|_| !self.is_return) {
            let is_well = |target: &&Target<'_>| matches!((&*target.old, &*target.new), ([], [new]) if new.available);
            let well = self.counted().filter(is_well).count();
            limit = limit.min((first + well).max(1));
        }
        let mut selection = Selection {
            progress: self,
            room: self.room.saturating_sub(if self.room == usize::MAX { 0 } else { self.to_fill().len() }),
            taken: Vec::new(),
        };
        let mut wishes = Wishes::default();
        let extra = self.not_excused();
        let left = |used: usize| limit.saturating_sub(used + extra);
        let is_first = self.phase["phase"] == "CanaryStarting" && self.phase["step"] == json!(1);
        let canaries_first = is_first && self.policy.get("canary").is_some();
        if surges {
            self.unwanted_when_surging(&mut wishes, &mut selection);
            let mut left = left(self.counted().filter(|target| target.surges()).count());
            let is_next = |target: &Target<'_>| target.is_candidate() && target.state.run;
            if canaries_first {
                let next = selection.take(is_next, left, Some(false));
                left -= next.len();
                self.create(&mut wishes, next, "Surge");
            }
            let most = if strict { left } else { usize::MAX };
            let replaced = selection.take(|target| target.is_broken() && target.state.run, most, Some(false));
            left = left.saturating_sub(if strict { replaced.len() } else { 0 });
            let stuck = selection.take_stuck(left);
            left -= stuck.len();
            let names = self.broken_before(&replaced, &stuck);
            self.create(&mut wishes, replaced, "ReplacesUnavailable");
            self.create(&mut wishes, stuck, "ReplacesUnavailable");
            if !canaries_first {
                let next = selection.take(is_next, left, Some(false));
                self.create(&mut wishes, next, "Surge");
            }
            return (wishes, names);
        }
        let lacking = |target: &&Target<'_>| target.is_in_progress() || target.is_broken() || target.is_unready();
        let lacking = left(self.counted().filter(lacking).count());
        let mut in_progress = left(self.counted().filter(|target| target.is_in_progress()).count());
        if canaries_first {
            let next = selection.take(Target::is_candidate, lacking, Some(true));
            in_progress = in_progress.saturating_sub(next.len());
            self.delete(&mut wishes, next, "Outdated");
        }
        let most = if strict { in_progress } else { usize::MAX };
        let broken = selection.take(Target::is_broken, most, Some(false));
        let stuck = selection.take_stuck(in_progress.saturating_sub(broken.len()));
        let names = self.broken_before(&broken, &stuck);
        self.delete(&mut wishes, broken, "OutdatedUnavailable");
        self.delete(&mut wishes, stuck, "OutdatedUnavailable");
        if !canaries_first {
            let next = selection.take(Target::is_candidate, lacking, Some(true));
            self.delete(&mut wishes, next, "Outdated");
        }
        (wishes, names)
    }

    fn broken_before(&self, in_turn: &[&Target<'s>], early: &[&Target<'s>]) -> Vec<String> {
        let is_judged = self.policy.get("on-failure").is_some() && !self.is_return;
        let done = &self.policy.record["done"];
        let was_broken = |target: &&&Target<'s>| target.older.as_ref().is_some_and(|older| older.2 && *done == older.0);
        let in_turn = in_turn.iter().take(self.burst).filter(|_| is_judged).filter(was_broken);
        in_turn.chain(early.iter().take(self.burst)).map(|target| target.state.name.clone()).collect()
    }

    fn unwanted_when_surging(&self, wishes: &mut Wishes, selection: &mut Selection<'_, 's>) {
        let finished =
            self.present().filter(|target| matches!((&*target.old, &*target.new), ([_], [new]) if new.available));
        self.delete(wishes, finished.collect(), "SurgeFinished");
        let unwanted = selection.take(|target| target.is_broken() && !target.state.run, usize::MAX, None);
        self.delete(wishes, unwanted, "OutdatedUnavailable");
        let available = |target: &&Target<'_>| match (&*target.old, &*target.new) {
            ([old], [_]) => old.available,
            ([old], []) => old.available && !target.gone,
            ([], [new]) => new.available,
            _ => false,
        };
        let spare = self.counted().filter(available).count().saturating_sub(self.run);
        let spare = selection.take(|target| target.is_candidate() && !target.state.run, spare, None);
        self.delete(wishes, spare, "NotWanted");
    }

    /// Returns how many of the nodes that are left out use the budget nevertheless.
    pub(super) fn not_excused(&self) -> usize {
        let away = self.targets.iter().filter(|target| target.away && !target.gone && target.is_unavailable());
        if let Some(most) = self.policy.nodes("max-away", self.desired) {
            return away.count().saturating_sub(most);
        }
        let refused = away.filter(|target| target.unschedulable).count();
        refused.saturating_sub(resolve(&json!("10%"), self.desired))
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

    /// Selects stuck pods of the groups that wait for their turn, group by group.
    fn take_stuck(&mut self, most: usize) -> Vec<&'p Target<'s>> {
        let progress = self.progress;
        let waits = |target: &&Target<'s>| {
            let is_due = !progress.waits && progress.only.as_ref().is_none_or(|only| target.group == *only);
            target.stuck && target.selected && target.wanted && (target.state.run || progress.max_surge == 0) && !is_due
        };
        let stuck = progress.present().filter(|_| progress.replaces_stuck).filter(waits);
        let mut stuck: Vec<_> = stuck.filter(|target| target.is_unready() && !target.old.is_empty()).collect();
        stuck.sort_by(|a, b| a.place().cmp(&b.place()));
        let mut next = Vec::new();
        for target in stuck {
            if next.len() < most && self.room > 0 && self.group_allows(&target.group, false) {
                self.taken.push((target, false));
                self.room = if self.room == usize::MAX { self.room } else { self.room - 1 };
                next.push(target);
            }
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
        let limit = limit.max(1);
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
