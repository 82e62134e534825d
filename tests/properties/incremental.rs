//! Incremental plans equal one-shot plans after any events in any order, and every DaemonSet whose plan changed is
//! stale.

use std::collections::BTreeMap;

use daemonplan::{
    Action, Backoff, Cluster, Key, Kind, Object, OwnedSnapshot, Placement, Plan, Settings, Snapshot,
    model::{ControllerRevision, DaemonSet, DaemonSetStatus, Namespace, Node, Pod, Resource, Text},
    strategies::{clusters, guided_clusters},
};
use jiff::{SignedDuration, Timestamp};
use proptest::{prelude::*, sample::Index, test_runner::FileFailurePersistence};

const KINDS: [Kind; 5] = [Kind::DaemonSet, Kind::Node, Kind::Pod, Kind::Namespace, Kind::ControllerRevision];

/// An event. Objects are referred to by their index in the pool.
#[derive(Clone, Debug)]
enum ClusterEvent {
    Applied(Index),
    Deleted(Index),
    /// A list of a kind, with this percentage of the pool's objects.
    Resynced(usize, u32),
    EffectsObserved(bool),
    /// Time passes, and some DaemonSets are planned; the back-off is returned to the cluster, or not.
    Planned {
        seconds: i64,
        some: bool,
        keeps_backoff: bool,
    },
}

fn events() -> impl Strategy<Value = ClusterEvent> {
    let seconds = prop_oneof![4 => 0..3_i64, 2 => 0..2_000_i64, 1 => -500..0_i64];
    let planned = (seconds, prop::bool::weighted(0.3), any::<bool>());
    prop_oneof![
        12 => any::<Index>().prop_map(ClusterEvent::Applied),
        4 => any::<Index>().prop_map(ClusterEvent::Deleted),
        1 => (0..KINDS.len(), 0..=100_u32).prop_map(|(kind, share)| ClusterEvent::Resynced(kind, share)),
        1 => any::<bool>().prop_map(ClusterEvent::EffectsObserved),
        8 => planned.prop_map(|(seconds, some, keeps_backoff)| ClusterEvent::Planned { seconds, some, keeps_backoff }),
    ]
}

/// All objects, in the simplest form.
struct World {
    objects: BTreeMap<(Kind, Key), Object>,
    settings: Settings,
    backoff: Backoff,
    /// The uids of the DaemonSets whose expectations are not satisfied; `None` if it was not known.
    unsatisfied: BTreeMap<Key, Option<Text>>,
    now: Timestamp,
}

/// A plan, with its time and the placements.
#[derive(Clone, Debug, PartialEq)]
struct Face {
    now: Timestamp,
    plan: Plan,
    placements: Vec<Placement>,
}

impl Face {
    /// Returns the actions and their reasons, without the time at which they are planned.
    fn request(&self) -> impl PartialEq + std::fmt::Debug {
        let Plan { hash, mut actions, mut status, events, held_back, .. } = self.plan.clone();
        let now = Timestamp::from_second(self.now.as_second()).ok();
        let forget = |status: &mut DaemonSetStatus| {
            let conditions = status.conditions.iter_mut().filter(|condition| condition.last_transition == now);
            conditions.for_each(|condition| condition.last_transition = None);
        };
        status.iter_mut().for_each(forget);
        for action in &mut actions {
            if let Action::UpdateStatus { status, .. } = action {
                forget(status);
            }
            if let Action::RollBack { record, .. } | Action::RecordRollout { record, .. } = action {
                // Others were recorded before.
                record.failed.iter_mut().filter(|failed| failed.hash == hash).for_each(|failed| failed.at = None);
            }
        }
        (hash, actions, status, events, held_back)
    }
}

impl World {
    fn all<T>(&self, kind: Kind, get: impl Fn(&Object) -> Option<&T>) -> Vec<T>
    where
        T: Clone,
    {
        let own = self.objects.iter().filter(|((other, _), _)| *other == kind);
        own.filter_map(|(_, object)| get(object)).cloned().collect()
    }

    fn daemonsets(&self) -> Vec<DaemonSet> {
        self.all(
            Kind::DaemonSet,
            |object| if let Object::DaemonSet(daemonset) = object { Some(daemonset) } else { None },
        )
    }

    /// Returns the one-shot plan, if the namespace is known.
    fn plan(&self, daemonset: &DaemonSet) -> Option<Face> {
        let nodes = self.all(Kind::Node, |object| if let Object::Node(node) = object { Some(node) } else { None });
        let pods = self.all(Kind::Pod, |object| if let Object::Pod(pod) = object { Some(pod) } else { None });
        let revisions = self.all(Kind::ControllerRevision, |object| {
            if let Object::ControllerRevision(revision) = object { Some(revision) } else { None }
        });
        let key = (Kind::Namespace, Key::cluster_wide(daemonset.namespace.clone()));
        let Some(Object::Namespace(namespace)) = self.objects.get(&key) else { return None };
        let snapshot = Snapshot::new(daemonset, &nodes, &pods, namespace)
            .revisions(&revisions)
            .at(self.now)
            .settings(&self.settings)
            .backoff(&self.backoff);
        let observed = match self.unsatisfied.get(&daemonset.key()) {
            None => true,
            Some(uid) => uid.as_ref().is_some_and(|uid| *uid != daemonset.uid),
        };
        let snapshot = if observed { snapshot } else { snapshot.expectations_unsatisfied() };
        Some(Face { now: self.now, plan: snapshot.plan(), placements: snapshot.placements().collect() })
    }
}

/// Returns all objects of several clusters: other states of the same objects, and a second DaemonSet.
fn pool(facts: &[OwnedSnapshot]) -> Vec<Object> {
    let mut pool = Vec::new();
    for (number, facts) in facts.iter().enumerate() {
        let mut daemonset = facts.daemonset.clone();
        pool.push(daemonset.clone().into());
        daemonset.status.observed_generation += 1;
        pool.push(daemonset.clone().into());
        if number > 0 {
            (daemonset.name, daemonset.uid) = ("other".into(), "uid-predecessor".into());
            pool.push(daemonset.into());
        }
        pool.push(facts.namespace.clone().into());
        pool.extend(facts.nodes.iter().cloned().map(Object::from));
        pool.extend(facts.revisions.iter().flatten().cloned().map(Object::from));
        for (place, pod) in facts.pods.iter().enumerate() {
            let mut pod = pod.clone();
            pool.push(pod.clone().into());
            if place % 2 == number % 2 {
                // The same pod on another node, in another state.
                pod.node = facts.pods.first().map(|first| first.node.clone()).unwrap_or_default();
                pod.deleted = None;
                pool.push(pod.into());
            }
        }
    }
    pool
}

fn check(facts: &[OwnedSnapshot], events: &[ClusterEvent]) {
    let (pool, first) = (pool(facts), facts.first().unwrap());
    let mut world = World {
        objects: BTreeMap::new(),
        settings: first.settings.clone(),
        backoff: Backoff::default(),
        unsatisfied: BTreeMap::new(),
        now: first.now.unwrap_or_else(|| "2026-01-02T03:04:05Z".parse().unwrap()),
    };
    // Plans are the same if the scheduler's facts are kept, too.
    let new = if events.len().is_multiple_of(2) { Cluster::new } else { Cluster::with_scheduling };
    let mut cluster = new(world.settings.clone());
    cluster.set_complete();
    let mut last = BTreeMap::<Key, Face>::new();
    // Most objects exist initially.
    for object in pool.iter().step_by(2) {
        world.objects.insert((object.kind(), object.key()), object.clone());
        cluster.apply(object.clone());
    }
    for event in events {
        match event {
            ClusterEvent::Applied(index) => {
                let object = index.get(&pool).clone();
                world.objects.insert((object.kind(), object.key()), object.clone());
                cluster.apply(object);
            }
            ClusterEvent::Deleted(index) => {
                let object = index.get(&pool);
                world.objects.remove(&(object.kind(), object.key()));
                if object.kind() == Kind::DaemonSet {
                    world.unsatisfied.remove(&object.key());
                }
                cluster.delete_any(object.kind(), &object.key());
            }
            ClusterEvent::Resynced(kind, share) => {
                let kind = *KINDS.get(*kind).unwrap();
                let own = pool.iter().filter(|object| object.kind() == kind).zip((0..).step_by(37));
                let listed: Vec<Object> =
                    own.filter(|(_, number)| number % 100 < *share).map(|(object, _)| object.clone()).collect();
                world.objects.retain(|(other, _), _| *other != kind);
                for object in &listed {
                    world.objects.insert((kind, object.key()), object.clone());
                }
                resync(&mut cluster, kind, &listed);
            }
            ClusterEvent::EffectsObserved(observed) => {
                let key = Key::new("prod", "agent");
                let known = world.daemonsets().into_iter().find(|daemonset| daemonset.key() == key);
                world.unsatisfied.remove(&key);
                if !observed {
                    world.unsatisfied.insert(key.clone(), known.map(|daemonset| daemonset.uid));
                }
                cluster.set_expectations_satisfied(&key, *observed);
            }
            ClusterEvent::Planned { seconds, some, keeps_backoff } => {
                world.now += SignedDuration::from_secs(*seconds);
                for daemonset in world.daemonsets() {
                    let key = daemonset.key();
                    let expected = world.plan(&daemonset);
                    compare_staleness(&cluster, &key, expected.as_ref(), last.get(&key), world.now);
                    if *some && key.name == "agent" {
                        continue;
                    }
                    let facts = cluster.owned_snapshot(&key, world.now);
                    let copied = facts.as_ref().map(|facts| facts.snapshot().plan());
                    assert_eq!(copied.as_ref(), expected.as_ref().map(|expected| &expected.plan), "facts");
                    let found = cluster.plan(&key, world.now).map(|plan| {
                        let rules = cluster.placement_rules(&key).unwrap();
                        let mut placements: Vec<_> = cluster.nodes().map(|node| rules.placement(node)).collect();
                        placements.sort_by(|a, b| a.node.cmp(&b.node));
                        Face { now: world.now, plan, placements }
                    });
                    assert_eq!(found, expected);
                    let Some(found) = found else { continue };
                    assert!(!cluster.stale(world.now).contains(&key), "stale right after its plan");
                    if *keeps_backoff {
                        world.backoff.update(found.plan.backoff.clone(), world.now);
                        cluster.update_backoff(found.plan.backoff.clone(), world.now);
                    }
                    last.insert(key, found);
                }
            }
        }
        let gone = |key: &Key| !world.objects.contains_key(&(Kind::DaemonSet, key.clone()));
        last.retain(|key, _| !gone(key));
    }
    assert_eq!(cluster.backoff(), &world.backoff);
}

/// Passes the list of a kind.
fn resync(cluster: &mut Cluster, kind: Kind, listed: &[Object]) {
    macro_rules! of {
        ($object:ident) => {
            cluster.resync::<$object>(listed.iter().map(|object| match object {
                Object::$object(object) => object.clone(),
                other => unreachable!("{other:?}"),
            }))
        };
    }
    match kind {
        Kind::DaemonSet => of!(DaemonSet),
        Kind::Node => of!(Node),
        Kind::Pod => of!(Pod),
        Kind::Namespace => of!(Namespace),
        Kind::ControllerRevision => of!(ControllerRevision),
        other => panic!("{other}"),
    }
}

/// Checks that a DaemonSet that is not stale still has the same plan.
fn compare_staleness(cluster: &Cluster, key: &Key, now: Option<&Face>, before: Option<&Face>, time: Timestamp) {
    let is_stale = cluster.stale(time).contains(key);
    match (now, before) {
        (Some(now), Some(before)) if !is_stale && now.now >= before.now => assert_eq!(now.request(), before.request()),
        (Some(_), None) => assert!(is_stale, "{key:?} was never planned, and is not stale"),
        (None, _) => assert!(!is_stale, "{key:?} cannot be planned, and is stale"),
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct("tests/properties/incremental.proptest-regressions"))),
        ..ProptestConfig::default()
    })]

    #[test]
    fn incremental_plans_equal_one_shot_plans(
        facts in prop::collection::vec(clusters(0..6), 2..4),
        events in prop::collection::vec(events(), 1..60),
    ) {
        check(&facts, &events);
    }

    #[test]
    fn incremental_plans_equal_one_shot_plans_on_up_to_fifty_nodes(
        facts in prop::collection::vec(clusters(20..=50), 2),
        events in prop::collection::vec(events(), 1..30),
    ) {
        check(&facts, &events);
    }

    #[test]
    fn incremental_plans_equal_one_shot_plans_with_policies(
        facts in prop::collection::vec(guided_clusters(0..8), 2..4),
        events in prop::collection::vec(events(), 1..60),
    ) {
        check(&facts, &events);
    }
}
