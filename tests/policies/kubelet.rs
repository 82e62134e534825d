//! What nodes do with pods.

use daemonplan::model::{PodNode, PodPhase, Readiness, Taint, TaintEffect};
use jiff::SignedDuration;

use crate::world::{Kind, World};

pub const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
pub const CORDONED: &str = "node.kubernetes.io/unschedulable";

impl World {
    /// Lets all nodes do what is due.
    pub fn run_nodes(&mut self) {
        let pods: Vec<_> = self.cluster.pods.iter().map(|pod| pod.name.to_string()).collect();
        for pod in pods {
            self.run_pod(&pod);
        }
    }

    fn run_pod(&mut self, pod_name: &str) {
        let now = self.cluster.now;
        let at = self.cluster.pods.iter().position(|pod| pod.name == pod_name).unwrap();
        let node = self.cluster.pods[at].node.name().unwrap().to_string();
        let machine = self.machines[&node].clone();
        let process = self.processes[pod_name].clone();
        if machine.is_down || process.due > now {
            return;
        }
        if self.cluster.pods[at].deleted.is_some() {
            self.cluster.pods.remove(at);
            self.processes.remove(pod_name);
            return;
        }
        let kind = self.templates[process.template].clone();
        let crashes = machine.is_broken || matches!(&kind, Kind::Crashes(nodes) if nodes.contains(&node));
        let hangs = matches!(&kind, Kind::Hangs(nodes) if nodes.contains(&node));
        let flaps = matches!(&kind, Kind::Flaps(nodes) if nodes.contains(&node));
        let mut next = SignedDuration::from_hours(10_000);
        let pod = &mut self.cluster.pods[at];
        pod.node = PodNode::Bound(node.as_str().into());
        match process.started {
            None if kind == Kind::NoImage => {
                pod.problem.get_or_insert_default().waiting = "ErrImagePull".into();
                pod.ready = Readiness::NotReady { since: pod.unready_since().or(Some(now)) };
            }
            None => {
                (pod.phase, pod.ready) = (PodPhase::Running, Readiness::NotReady { since: Some(now) });
                self.processes.get_mut(pod_name).unwrap().started = Some(now);
                next = SignedDuration::from_secs(15);
            }
            Some(_) if crashes => {
                pod.ready = Readiness::NotReady { since: pod.unready_since().or(Some(now)) };
                let problem = pod.problem.get_or_insert_default();
                problem.restarts += 1;
                problem.waiting = "CrashLoopBackOff".into();
                next = SignedDuration::from_secs((10 << problem.restarts.min(6)).min(300));
            }
            Some(_) if hangs => {}
            Some(_) if flaps => {
                let is_ready = pod.is_ready();
                pod.ready = if is_ready {
                    Readiness::NotReady { since: Some(now) }
                } else {
                    Readiness::Ready { since: Some(now) }
                };
                next = SignedDuration::from_secs(if is_ready { 60 } else { 240 });
            }
            Some(started) => {
                if !pod.is_ready() {
                    pod.ready = Readiness::Ready { since: Some(now) };
                    pod.problem = pod.problem.take().filter(|problem| problem.restarts > 0);
                    if let Some(problem) = &mut pod.problem {
                        problem.waiting = "".into();
                    }
                }
                if let Kind::CutsOff(nodes, after) = &kind
                    && nodes.contains(&node)
                {
                    let dies = started + SignedDuration::from_secs(*after);
                    if dies <= now {
                        self.facts.cut_off += 1;
                        self.take_down(&node, true);
                        return;
                    }
                    next = dies.duration_since(now);
                }
            }
        }
        self.processes.get_mut(pod_name).unwrap().due = now + next;
    }

    pub fn taint(&mut self, node: &str, key: &str, effect: TaintEffect) {
        let now = self.cluster.now;
        let node = self.cluster.nodes.iter_mut().find(|other| other.name == node).unwrap();
        if !node.taints.iter().any(|taint| taint.key == key && taint.effect == effect) {
            let mut taint = Taint::new(key, "", effect);
            taint.added = Some(now);
            node.taints.push(taint);
        }
    }

    pub fn untaint(&mut self, node: &str, key: &str) {
        let node = self.cluster.nodes.iter_mut().find(|other| other.name == node).unwrap();
        node.taints.retain(|taint| taint.key != key);
    }

    /// The node no longer reports.
    pub fn take_down(&mut self, node: &str, was_cut_off: bool) {
        self.note(format_args!("{node} goes away{}", if was_cut_off { ", cut off" } else { "" }));
        let now = self.cluster.now;
        let machine = self.machines.get_mut(node).unwrap();
        (machine.is_down, machine.was_cut_off) = (true, was_cut_off);
        machine.down_since = Some(now);
        for effect in [TaintEffect::NoSchedule, TaintEffect::NoExecute] {
            self.taint(node, UNREACHABLE, effect);
        }
        let here = self.cluster.pods.iter_mut().filter(|pod| pod.node.name().is_some_and(|name| name == node));
        for pod in here.filter(|pod| pod.is_ready()) {
            pod.ready = Readiness::NotReady { since: Some(now) };
        }
    }

    /// The node reports again; what runs there starts again.
    pub fn bring_back(&mut self, node: &str) {
        if !self.machines[node].is_down {
            return;
        }
        self.note(format_args!("{node} is back"));
        let now = self.cluster.now;
        let machine = self.machines.get_mut(node).unwrap();
        (machine.is_down, machine.was_cut_off, machine.down_since) = (false, false, None);
        self.untaint(node, UNREACHABLE);
        let here: Vec<_> = self.pods_on(node).map(|pod| pod.name.to_string()).collect();
        for pod in here {
            let process = self.processes.get_mut(&pod).unwrap();
            (process.due, process.started) = (now, process.started.map(|_| now));
        }
    }
}
