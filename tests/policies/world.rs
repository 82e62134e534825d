//! The cluster, its templates and its policy.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    ops::AddAssign,
};

use daemonplan::{
    Action, CreateReason, Plan,
    model::{ControllerRevision, DaemonSet, HASH_LABEL, Pod, PodTemplate},
    policy::{RolloutPhase, RolloutRecord},
};
use jiff::{SignedDuration, Timestamp};
use oorandom::Rand64;
use serde_json::json;

use crate::common::{Cluster, cluster, labelled, template};

/// What a template does.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    Good,
    /// It crashes on these nodes.
    Crashes(BTreeSet<String>),
    /// It never becomes ready on these nodes.
    Hangs(BTreeSet<String>),
    /// It is ready for some minutes at a time on these nodes.
    Flaps(BTreeSet<String>),
    /// Its image cannot be pulled.
    NoImage,
    /// It cuts these nodes off so many seconds after it has started.
    CutsOff(BTreeSet<String>, i64),
}

/// What happened, to see that the promises are put to the test.
#[derive(Clone, Copy, Debug, Default)]
pub struct Facts {
    pub roll_backs: u64,
    pub undone: u64,
    pub paused_by_failure: u64,
    pub cut_off: u64,
    pub waits_at_the_end: u64,
    pub replaced_early: u64,
    pub deletions: u64,
    pub surges: u64,
    pub held_back: u64,
    pub verified: u64,
    pub late_canaries: u64,
    pub later_steps: u64,
}

impl Facts {
    pub fn named(self) -> [(&'static str, u64); 12] {
        [
            ("a roll-back", self.roll_backs),
            ("an undo", self.undone),
            ("a pause after a failure", self.paused_by_failure),
            ("a node cut off by a template", self.cut_off),
            ("a wait at the end", self.waits_at_the_end),
            ("a broken pod replaced early", self.replaced_early),
            ("a deletion", self.deletions),
            ("a surge", self.surges),
            ("a creation from the older template", self.held_back),
            ("an update that was done", self.verified),
            ("a canary that was late", self.late_canaries),
            ("a later step of the canaries", self.later_steps),
        ]
    }
}

impl AddAssign for Facts {
    fn add_assign(&mut self, other: Self) {
        self.roll_backs += other.roll_backs;
        self.undone += other.undone;
        self.paused_by_failure += other.paused_by_failure;
        self.cut_off += other.cut_off;
        self.waits_at_the_end += other.waits_at_the_end;
        self.replaced_early += other.replaced_early;
        self.deletions += other.deletions;
        self.surges += other.surges;
        self.held_back += other.held_back;
        self.verified += other.verified;
        self.late_canaries += other.late_canaries;
        self.later_steps += other.later_steps;
    }
}

/// What the update has done to a node.
#[derive(Clone, Debug, Default)]
pub struct Reached {
    /// The template that the node is getting or has got.
    pub template: usize,
    /// Whether the node had an available pod when this template reached it.
    pub was_well: bool,
}

/// The state of a node that Kubernetes does not show.
#[derive(Clone, Debug, Default)]
pub struct Machine {
    /// Whether pods of every template crash here.
    pub is_broken: bool,
    /// Whether it does not report.
    pub is_down: bool,
    pub down_since: Option<Timestamp>,
    /// Whether a template is the reason.
    pub was_cut_off: bool,
}

/// The state of a pod that Kubernetes does not show.
#[derive(Clone, Debug)]
pub struct Process {
    pub template: usize,
    /// When its next change is due.
    pub due: Timestamp,
    pub started: Option<Timestamp>,
}

#[allow(clippy::struct_excessive_bools)] // independent facts
pub struct World {
    pub seed: u64,
    pub random: Rand64,
    pub cluster: Cluster,
    pub templates: Vec<Kind>,
    pub policy: BTreeMap<&'static str, String>,
    pub max: u32,
    pub surges: bool,
    pub machines: BTreeMap<String, Machine>,
    pub processes: BTreeMap<String, Process>,
    pub reached: BTreeMap<String, Reached>,
    /// How often each template was rolled back since the operator last removed the record.
    pub roll_backs: BTreeMap<usize, u32>,
    /// Whether the operator or a roll-back went back to the current template, and when a roll-back did.
    pub returns: bool,
    pub rolled_back_at: Option<Timestamp>,
    /// Whether the current template was set again, failed or not.
    pub is_older: bool,
    /// The templates that roll-backs have restored, and when, as far as the record tells.
    pub restored: BTreeMap<usize, Timestamp>,
    pub journal: Vec<String>,
    pub facts: Facts,
    pub is_calm: bool,
    /// When a pod was last created.
    pub last_creation: Timestamp,
}

pub fn name(pod_or_node: usize) -> String {
    format!("node-{pod_or_node}")
}

/// Whether the last failure is that of a canary that was late.
fn is_late(record: &RolloutRecord) -> u64 {
    record.failed.last().is_some_and(|failed| failed.reason.starts_with("not available ")).into()
}

impl World {
    pub fn new(seed: u64) -> Self {
        let mut random = Rand64::new(u128::from(seed) * 0x9e37_79b9 + 1);
        let count = usize::try_from(random.rand_range(1..8)).unwrap();
        let mut pick = |most: u64| usize::try_from(random.rand_range(0..most)).unwrap();
        let nodes: Vec<_> = (0..count)
            .map(|number| {
                let labels = [("zone", ["a", "b"][pick(2)]), ("pool", ["blue", "green"][pick(2)])];
                labelled(&name(number), &labels)
            })
            .collect();
        let mut cluster = cluster(nodes);
        cluster.revisions.clear();
        let now = cluster.now;
        let mut world = Self {
            seed,
            random,
            cluster,
            templates: vec![Kind::Good],
            policy: BTreeMap::new(),
            max: 1,
            surges: false,
            machines: (0..count).map(|number| (name(number), Machine::default())).collect(),
            processes: BTreeMap::new(),
            reached: BTreeMap::new(),
            roll_backs: BTreeMap::new(),
            returns: false,
            rolled_back_at: None,
            is_older: false,
            restored: BTreeMap::new(),
            journal: Vec::new(),
            facts: Facts::default(),
            is_calm: false,
            last_creation: now,
        };
        world.choose_policy();
        world.set_template(0);
        // All nodes start well, with the first template.
        for _ in 0..12 {
            world.tick(15);
        }
        world
    }

    pub fn chance(&mut self, percent: u64) -> bool {
        self.random.rand_range(0..100) < percent
    }

    pub fn pick(&mut self, most: usize) -> usize {
        usize::try_from(self.random.rand_range(0..most.max(1) as u64)).unwrap()
    }

    pub fn any_node(&mut self) -> String {
        name(self.pick(self.machines.len()))
    }

    pub fn nodes(&self) -> usize {
        self.machines.len()
    }

    pub fn note(&mut self, what: impl fmt::Display) {
        self.journal.push(format!("{} {what}", self.cluster.now.strftime("%T")));
    }

    /// Fails, with all that has happened.
    pub fn fail(&self, what: impl fmt::Display) -> ! {
        let Self { seed, templates, policy, max, surges, journal, .. } = self;
        let last = journal.len().saturating_sub(60);
        let strategy = if *surges { "surge" } else { "unavailable" };
        panic!(
            "seed {seed}, {strategy} {max}, {policy:?}\ntemplates {templates:?}\n{}\n{}: {what}",
            journal[last..].join("\n"),
            self.cluster.now
        );
    }

    pub fn template_of(template: &PodTemplate) -> usize {
        let image = template.json()["spec"]["containers"][0]["image"].as_str().unwrap();
        image.strip_prefix("agent:").unwrap().parse().unwrap()
    }

    pub fn current(&self) -> usize {
        Self::template_of(&self.cluster.daemonset.template)
    }

    pub fn set_template(&mut self, number: usize) {
        let image = format!("agent:{number}");
        self.cluster.daemonset.template = template(json!({"containers": [{"name": "agent", "image": image}]}));
        self.cluster.daemonset.generation += 1;
    }

    /// Writes the policy to the annotations; the record stays.
    pub fn annotate(&mut self) {
        let daemonset = &mut self.cluster.daemonset;
        let record = daemonset.annotations.get("daemonplan/rollout-record").map(str::to_owned);
        let policy = self.policy.iter().map(|(key, value)| (format!("daemonplan/{key}"), value.clone()));
        let record = record.map(|record| ("daemonplan/rollout-record".to_owned(), record));
        daemonset.annotations = policy.chain(record).collect();
    }

    pub fn remove_record(&mut self) {
        self.cluster.daemonset.annotations = daemonplan::model::Labels::default();
        self.annotate();
        self.roll_backs.clear();
        self.restored.clear();
        // That the template is an older one shows nevertheless.
        (self.returns, self.rolled_back_at) = (self.is_older, None);
    }

    /// The templates that the record says have failed.
    pub fn failed_templates(&self) -> BTreeSet<usize> {
        let record = RolloutRecord::of(&self.cluster.daemonset.annotations, "daemonplan/").unwrap();
        let has_failed =
            |template: &usize| self.hash_of(*template).is_some_and(|hash| record.failure_of(&hash).is_some());
        (0..self.templates.len()).filter(has_failed).collect()
    }

    pub fn process(&self, pod: &Pod) -> &Process {
        &self.processes[pod.name.as_str()]
    }

    pub fn pods_on<'w>(&'w self, node: &'w str) -> impl Iterator<Item = &'w Pod> {
        self.cluster.pods.iter().filter(move |pod| pod.node.name().is_some_and(|name| name == node))
    }

    pub fn is_available(&self, pod: &Pod) -> bool {
        pod.deleted.is_none() && pod.is_available(self.cluster.daemonset.min_ready_seconds, self.cluster.now)
    }

    pub fn has_available(&self, node: &str) -> bool {
        self.pods_on(node).any(|pod| self.is_available(pod))
    }

    /// Lets some seconds pass, and the controller do its work.
    pub fn tick(&mut self, seconds: i64) {
        self.cluster.now += SignedDuration::from_secs(seconds);
        self.run_nodes();
        for round in 0.. {
            let plan = self.cluster.plan();
            let acts = |action: &&Action| !matches!(action, Action::UpdateStatus { .. });
            if !plan.actions.iter().any(|action| acts(&action)) {
                break;
            }
            if round > 20 {
                self.fail(format!(
                    "plans without end: {:?}",
                    plan.actions.iter().map(ToString::to_string).collect::<Vec<_>>()
                ));
            }
            self.check_plan(&plan);
            self.carry_out(&plan);
        }
        self.check_state();
    }

    fn carry_out(&mut self, plan: &Plan) {
        self.cluster.backoff.update(plan.backoff.clone(), self.cluster.now);
        if let Some(RolloutPhase::CanaryStarting { step, .. }) = plan.rollout.as_ref().map(|rollout| &rollout.phase) {
            self.facts.later_steps += u64::from(step.number > 1);
        }
        for action in &plan.actions {
            if !matches!(action, Action::UpdateStatus { .. }) {
                self.note(action);
            }
            match action {
                Action::CreatePod { node, blueprint, reason } => {
                    let image = blueprint.manifest(node)["spec"]["containers"][0]["image"].as_str().unwrap().to_owned();
                    let template = image.strip_prefix("agent:").unwrap().parse().unwrap();
                    self.facts.held_back += u64::from(*reason == CreateReason::HeldBack);
                    self.facts.surges += u64::from(*reason == CreateReason::Surge);
                    self.create(node, blueprint.pod(node.clone(), ""), template);
                }
                Action::DeletePod { pod, .. } => {
                    self.facts.deletions += 1;
                    let grace = i64::try_from(self.pick(3)).unwrap() * 15;
                    let now = self.cluster.now;
                    let due = now + SignedDuration::from_secs(grace);
                    if let Some(process) = self.processes.get_mut(pod.name.as_str()) {
                        process.due = due;
                    }
                    let pods = self.cluster.pods.iter_mut().filter(|other| other.name == pod.name);
                    pods.for_each(|pod| pod.deleted = Some(now));
                }
                Action::RollBack { record, .. } => {
                    self.facts.roll_backs += 1;
                    self.facts.late_canaries += is_late(record);
                    *self.roll_backs.entry(self.current()).or_default() += 1;
                    self.cluster.apply(std::slice::from_ref(action));
                    self.cluster.daemonset.generation += 1;
                    (self.returns, self.rolled_back_at) = (true, Some(self.cluster.now));
                    self.is_older = true;
                    self.restored.insert(self.current(), self.cluster.now);
                }
                Action::CreateRevision { revision } => {
                    let mut revision = ControllerRevision::clone(revision);
                    revision.created = Some(self.cluster.now);
                    self.cluster.revisions.push(revision);
                }
                Action::RecordRollout { record, .. } => {
                    self.facts.verified += u64::from(record.done.is_some());
                    self.facts.replaced_early += u64::from(record.replaced.is_some());
                    self.facts.paused_by_failure += u64::from(record.failed.iter().any(|failed| failed.is_paused));
                    self.facts.late_canaries += is_late(record);
                    self.cluster.apply(std::slice::from_ref(action));
                }
                other => self.cluster.apply(std::slice::from_ref(other)),
            }
        }
    }

    fn create(&mut self, node: &str, mut pod: Pod, template: usize) {
        self.cluster.born += 1;
        let pod_name = format!("pod-{}", self.cluster.born);
        (pod.name, pod.uid) = (pod_name.as_str().into(), pod_name.as_str().into());
        pod.created = Some(self.cluster.now);
        let due = self.cluster.now + SignedDuration::from_secs(15);
        self.processes.insert(pod_name, Process { template, due, started: None });
        let was_well = self.reached.get(node).is_some_and(|reached| reached.template == template && reached.was_well)
            || self.has_available(node);
        self.reached.insert(node.to_owned(), Reached { template, was_well });
        self.cluster.pods.push(pod);
        self.last_creation = self.cluster.now;
    }

    pub fn phase(&self) -> Option<RolloutPhase> {
        self.cluster.plan().rollout.map(|rollout| rollout.phase)
    }

    pub fn hash(&self) -> String {
        self.cluster.plan().hash.to_string()
    }

    pub fn hash_of(&self, template: usize) -> Option<String> {
        let mut revisions = self.cluster.revisions.iter();
        let found = revisions.find(|revision| Self::template_of(&revision.template().unwrap()) == template)?;
        found.labels.get(HASH_LABEL).map(str::to_owned)
    }

    pub fn daemonset(&self) -> &DaemonSet {
        &self.cluster.daemonset
    }
}
