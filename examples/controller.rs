//! A minimal controller: updates a `Cluster` with events, plans stale DaemonSets, and carries out the plans through an
//! API server, here an in-memory one that starts and stops pods at once.
//!
//! `cargo run --features manifest --example controller` reconciles the bundled cluster and prints each write.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    fs::File,
    io,
};

use daemonplan::{
    Action, Cluster, Key, Object, ObjectRef, Plan, Settings,
    history::rollback,
    manifest::Manifests,
    model::{ControllerRef, ControllerRevision, DaemonSet, HASH_LABEL, Pod, PodNode, PodPhase, Readiness, Text},
};
use jiff::Timestamp;

fn main() -> io::Result<()> {
    let mut manifests = Manifests::default();
    manifests.read("pending.json", File::open("examples/pending.json")?)?;
    let start = Timestamp::constant(1_795_475_307, 0); // when the dump was made
    for line in run(manifests.objects(), start) {
        println!("{line}");
    }
    Ok(())
}

/// Runs the controller until nothing is left to do and returns its writes.
pub(crate) fn run(objects: impl Iterator<Item = Object>, mut now: Timestamp) -> Vec<String> {
    let mut server = Server { now, ..Server::default() };
    objects.for_each(|object| server.store(object));
    let mut cluster = Cluster::new(Settings::default());
    cluster.set_complete(); // all objects come as events
    loop {
        // 1. Apply every event. Once all writes show, plans may create and delete again.
        let mut told = HashSet::new();
        while let Some(event) = server.events.pop_front() {
            match event {
                Event::Applied(object) => cluster.apply(*object),
                Event::Deleted(object) => cluster.delete_any(object.kind(), &object.key()),
                Event::AllSeen(daemonset) => drop(told.insert(daemonset)),
            }
        }
        for daemonset in told {
            cluster.set_expectations_satisfied(&daemonset, true);
        }
        // 2. Plan what is stale. If nothing is, wait for the next event, or until time alone makes a DaemonSet stale.
        let stale = cluster.stale(now);
        if stale.is_empty() {
            let Some(next) = cluster.next_stale_after(now) else { return server.log };
            now = next;
            server.now = now;
            continue;
        }
        for key in stale {
            let Some(Plan { actions, backoff, .. }) = cluster.plan(&key, now) else { continue };
            if actions.is_empty() {
                continue;
            }
            // 3. Carry out the plan in order. It is safe to stop anywhere: the next plan continues.
            cluster.update_backoff(backoff, now);
            cluster.set_expectations_satisfied(&key, false);
            for action in &actions {
                if let Err(conflict) = server.write(&key, action) {
                    server.log.push(format!("{conflict}, planned again"));
                    break;
                }
            }
            server.events.push_back(Event::AllSeen(key));
        }
    }
}

/// A watch event.
enum Event {
    Applied(Box<Object>),
    Deleted(Box<Object>),
    /// All writes for this DaemonSet show. With a real API server: once each name and uid has appeared in the watch.
    AllSeen(Key),
}

/// An in-memory API server, with scheduler and kubelets.
#[derive(Default)]
struct Server {
    pods: HashMap<Key, Pod>,
    revisions: HashMap<Key, ControllerRevision>,
    daemonsets: HashMap<Key, DaemonSet>,
    events: VecDeque<Event>,
    log: Vec<String>,
    now: Timestamp,
    created: usize,
}

impl Server {
    fn store(&mut self, object: Object) {
        let key = object.key();
        match &object {
            Object::Pod(pod) => drop(self.pods.insert(key, pod.clone())),
            Object::ControllerRevision(revision) => drop(self.revisions.insert(key, revision.clone())),
            Object::DaemonSet(daemonset) => drop(self.daemonsets.insert(key, daemonset.clone())),
            _ => {} // nodes and namespaces are only watched
        }
        self.events.push_back(Event::Applied(Box::new(object)));
    }

    /// Performs one write. An object that was replaced since the plan is a conflict.
    fn write(&mut self, daemonset: &Key, action: &Action) -> Result<(), String> {
        let owner = self.daemonsets.get(daemonset).map(|daemonset| ControllerRef::from(daemonset).into());
        self.log.push(format!("{}/{}: {action}", daemonset.namespace, daemonset.name));
        match action {
            Action::CreatePod { node, blueprint, .. } => {
                self.created += 1;
                let name = format!("{}-new-{}", daemonset.name, self.created);
                let mut pod = blueprint.pod(node.clone(), name.clone());
                (pod.uid, pod.created) = (name.into(), Some(self.now));
                (pod.node, pod.phase) = (PodNode::Bound(node.clone()), PodPhase::Running);
                pod.ready = Readiness::Ready { since: Some(self.now) };
                self.store(pod.into());
            }
            Action::DeletePod { pod, .. } => {
                let (key, pod) = self.pod(pod)?;
                self.pods.remove(&key);
                self.events.push_back(Event::Deleted(Box::new(pod.into())));
            }
            Action::AdoptPod { pod, .. } => {
                self.edit_pod(pod, |pod| pod.controller = owner)?;
            }
            Action::ReleasePod { pod, .. } => {
                self.edit_pod(pod, |pod| pod.controller = None)?;
            }
            Action::RelabelPod { pod, hash } => self.edit_pod(pod, |pod| {
                pod.labels = pod.labels.with(HASH_LABEL, hash.clone());
            })?,
            Action::CreateRevision { revision } => self.store((**revision).clone().into()),
            Action::DeleteRevision { revision, .. } => {
                if let Some(revision) = self.revisions.remove(&Key::from(revision)) {
                    self.events.push_back(Event::Deleted(Box::new(revision.into())));
                }
            }
            Action::AdoptRevision { revision, .. } => self.edit_revision(&revision.name, daemonset, |revision| {
                revision.controller = owner;
            }),
            Action::ReleaseRevision { revision, .. } => self.edit_revision(&revision.name, daemonset, |revision| {
                revision.controller = None;
            }),
            Action::UpdateRevision { revision, number, hash, .. } => {
                self.edit_revision(&revision.name, daemonset, |revision| {
                    revision.revision = *number;
                    revision.labels = revision.labels.with(HASH_LABEL, hash.clone());
                });
            }
            Action::RollBack { generation, revision, annotation, record, .. } => {
                let known = self.daemonsets.get(daemonset).filter(|known| known.generation == *generation);
                let known = known.ok_or_else(|| format!("{} was edited meanwhile", daemonset.name))?;
                let mut changed = rollback(known, revision).map_err(|error| error.to_string())?;
                changed.annotations = changed.annotations.with(annotation.clone(), record.to_string());
                self.store(changed.into());
            }
            Action::RecordRollout { annotation, record, .. } => {
                if let Some(mut changed) = self.daemonsets.get(daemonset).cloned() {
                    changed.annotations = changed.annotations.with(annotation.clone(), record.to_string());
                    self.store(changed.into());
                }
            }
            Action::UpdateStatus { status, .. } => {
                if let Some(mut changed) = self.daemonsets.get(daemonset).cloned() {
                    changed.status = status.clone();
                    self.store(changed.into());
                }
            }
            // Unknown: of a newer planner.
            other => return Err(format!("{other} is not known")),
        }
        Ok(())
    }

    fn pod(&self, pod: &ObjectRef) -> Result<(Key, Pod), String> {
        let key = Key::from(pod);
        let found = self.pods.get(&key).filter(|found| found.uid == pod.uid).cloned();
        found.map(|pod| (key, pod)).ok_or_else(|| format!("pod {} was replaced since the plan", pod.name))
    }

    fn edit_pod(&mut self, pod: &ObjectRef, edit: impl FnOnce(&mut Pod)) -> Result<(), String> {
        let (_, mut pod) = self.pod(pod)?;
        edit(&mut pod);
        self.store(pod.into());
        Ok(())
    }

    fn edit_revision(&mut self, name: &Text, daemonset: &Key, edit: impl FnOnce(&mut ControllerRevision)) {
        let key = Key::new(daemonset.namespace.clone(), name.clone());
        if let Some(mut revision) = self.revisions.get(&key).cloned() {
            edit(&mut revision);
            self.store(revision.into());
        }
    }
}
