//! §2 and §4: where a pod should run, and the actions on one node.

use serde_json::Value;

use super::{
    Wishes,
    facts::{Facts, Pod},
    selectors::{Requirement, expression, holds, list, pairs, term_matches, text, tolerates},
    template,
};

/// §2: should run, may keep running, and the deciding rule.
pub fn placement(facts: &Facts<'_>, node: &Value) -> (bool, bool, &'static str) {
    let spec = &facts.daemonset["spec"]["template"]["spec"];
    let name = text(&node["metadata"], "name");
    let labels = pairs(&node["metadata"]["labels"]);

    if !["", name].contains(&text(spec, "nodeName")) {
        return (false, false, "NodeName");
    }
    if !pairs(&spec["nodeSelector"]).iter().all(|(key, value)| labels.get(key) == Some(value)) {
        return (false, false, "NodeSelector");
    }
    let required = &spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"];
    let terms = list(&required["nodeSelectorTerms"]);
    if !required.is_null() && !terms.iter().any(|term| term_matches(term, name, &labels)) {
        return (false, false, "NodeAffinity");
    }

    let tolerations = template::tolerations(spec);
    let compare = facts.settings["tolerationComparison"] == true;
    let untolerated = |effect: &str| {
        let taints = list(&node["spec"]["taints"]);
        let mut taints = taints.iter().filter(|taint| text(taint, "effect") == effect);
        taints.any(|taint| !tolerations.iter().any(|toleration| tolerates(toleration, taint, compare)))
    };
    if untolerated("NoExecute") {
        return (false, false, "Taint");
    }
    if untolerated("NoSchedule") {
        return (false, true, "Taint");
    }

    let selectors = namespace_selectors(facts);
    if selectors.iter().all(|requirement| holds(requirement, &labels).unwrap()) {
        (true, true, "AllRulesHold")
    } else {
        (false, false, "NamespaceNodeSelector")
    }
}

/// §2.4: an invalid annotation requires nothing.
fn namespace_selectors(facts: &Facts<'_>) -> Vec<Requirement> {
    let annotations = pairs(&facts.namespace["metadata"]["annotations"]);
    let read = |text: &String| expression(text).unwrap_or_default();
    let setting = |name: &str| expression(text(&facts.settings, name)).unwrap();
    if let Some(text) = annotations.get("scheduler.alpha.kubernetes.io/node-selector") {
        return read(text);
    }
    let project = annotations.get("openshift.io/node-selector").map(read);
    let mut all = project.unwrap_or_else(|| setting("projectNodeSelector"));
    all.extend(setting("defaultNodeSelector"));
    all
}

/// A node that exists, or a missing node with claimed pods.
#[allow(clippy::struct_excessive_bools)] // independent facts
pub struct NodeState {
    pub name: String,
    pub exists: bool,
    /// The node, or null.
    pub node: Value,
    pub run: bool,
    keep: bool,
    /// The claimed pods on the node, those to keep first.
    pub pods: Vec<Pod>,
    surge: bool,
    hash: String,
    /// Whether revisions were given, so that the hash is that of the current one.
    hash_is_known: bool,
    /// For each Failed pod: how long it has to wait, and the next one with the same reason.
    backoff: Vec<(i64, i64)>,
    /// How long a rejection by the API server delays creations.
    refused: i64,
    collects: bool,
    /// Whether each reason has its own back-off.
    by_reason: bool,
}

pub fn node_states(facts: &Facts<'_>, claimed: &[Pod], hash: &str) -> Vec<NodeState> {
    let mut names: Vec<_> = facts.nodes.iter().map(|node| text(&node["metadata"], "name").to_owned()).collect();
    names.extend(claimed.iter().filter_map(|pod| pod.node.clone()));
    names.sort();
    names.dedup();
    names.into_iter().map(|name| NodeState::new(facts, name, claimed, hash)).filter(NodeState::is_of_interest).collect()
}

impl NodeState {
    fn new(facts: &Facts<'_>, name: String, claimed: &[Pod], hash: &str) -> Self {
        let node = facts.nodes.iter().find(|node| text(&node["metadata"], "name") == name);
        let (run, keep, _) = node.map_or((false, false, ""), |node| placement(facts, node));
        let here = claimed.iter().filter(|pod| pod.node.as_ref() == Some(&name));
        let mut pods: Vec<_> = here.filter(|pod| !(pod.has_ended() && pod.deleting)).cloned().collect();
        pods.sort_by(|a, b| (!a.bound, a.created, &a.name).cmp(&(!b.bound, b.created, &b.name)));
        for pod in &mut pods {
            let generation = facts.template_generation();
            let same_generation =
                generation.is_some() && pod.labels.get("pod-template-generation") == generation.as_ref();
            pod.updated = pod.hash().is_some_and(|own| own == hash) || same_generation;
        }
        let failed = pods.iter().filter(|pod| !pod.deleting && pod.phase == "Failed");
        let backoff = failed.map(|pod| (facts.wait(&name, &pod.reason), facts.next_delay(&name, &pod.reason)));
        let backoff = backoff.collect();
        let refused = if facts.backs_off_by_reason() { facts.wait(&name, "CreationRefused") } else { 0 };
        Self {
            exists: node.is_some(),
            node: node.cloned().unwrap_or_default(),
            run,
            keep,
            pods,
            surge: super::update::max_surge(facts, 1) > 0,
            hash: hash.to_owned(),
            by_reason: facts.backs_off_by_reason(),
            hash_is_known: facts.revisions.is_some(),
            backoff,
            refused,
            collects: facts.settings["collectPodsOnMissingNodes"] == true,
            name,
        }
    }

    fn is_of_interest(&self) -> bool {
        self.exists || !self.pods.is_empty()
    }

    pub fn live(&self) -> Vec<Pod> {
        self.pods.iter().filter(|pod| !pod.deleting).cloned().collect()
    }

    /// Returns the pods bound to a missing node (§8).
    pub fn collected(&self) -> Vec<Pod> {
        let collected = !self.exists && self.collects;
        self.live().into_iter().filter(|pod| collected && pod.bound).collect()
    }

    fn failed(&self) -> Vec<Pod> {
        self.live().into_iter().filter(|pod| self.keep && pod.phase == "Failed").collect()
    }

    /// Returns the Failed pod that may be deleted now.
    fn may_go(&self) -> Option<Pod> {
        let mut free = self.failed().into_iter().zip(&self.backoff).filter(|(_, (wait, _))| *wait == 0);
        free.next().map(|(pod, _)| pod)
    }

    /// Returns how long a deletion of a Failed pod, or a creation, has to wait.
    pub fn wait(&self) -> Option<i64> {
        if self.run && self.pods.is_empty() {
            return (self.refused > 0).then_some(self.refused);
        }
        let going = self.may_go();
        let waits = self.failed().into_iter().zip(&self.backoff).filter_map(|(pod, (wait, next))| match &going {
            Some(going) if going.name == pod.name => None,
            // The deleted pod starts the back-off.
            Some(going) if going.reason == pod.reason => Some(*next),
            _ => (*wait > 0).then_some(*wait),
        });
        waits.min()
    }

    pub fn add_wishes(&self, wishes: &mut Wishes) {
        if !self.exists {
            let unbound = self.pods.iter().filter(|pod| !pod.bound).cloned();
            wishes.delete.extend(unbound.map(|pod| (pod, "NodeGone")));
        } else if self.run && self.pods.is_empty() {
            if self.refused == 0 {
                wishes.create.push((self.name.clone(), "NoPod"));
            }
        } else if self.keep {
            self.add_wishes_for_pods_that_may_stay(wishes);
        } else {
            wishes.delete.extend(self.live().into_iter().map(|pod| (pod, "NotPlaced")));
        }
    }

    fn add_wishes_for_pods_that_may_stay(&self, wishes: &mut Wishes) {
        wishes.delete.extend(self.may_go().map(|pod| (pod, "Failed")));
        let succeeded = self.live().into_iter().filter(|pod| pod.phase == "Succeeded");
        wishes.delete.extend(succeeded.map(|pod| (pod, "Succeeded")));

        let running: Vec<_> = self.live().into_iter().filter(|pod| !pod.has_ended()).collect();
        if !self.surge {
            wishes.delete.extend(running.into_iter().skip(1).map(|pod| (pod, "Duplicate")));
            return;
        }
        let waits = self.by_reason && self.wait().is_some();
        if running.is_empty() && self.run && !waits {
            wishes.create.push((self.name.clone(), "NoLivePod"));
        }
        let is_new = |pod: &Pod| if self.hash_is_known { pod.hash() == Some(&self.hash) } else { pod.updated };
        let (new, old): (Vec<_>, Vec<_>) = running.into_iter().partition(is_new);
        for others in [&new, &old] {
            wishes.delete.extend(others.iter().skip(1).map(|pod| (pod.clone(), "Duplicate")));
        }
        if let (Some(new), Some(old)) = (new.first(), old.first()) {
            if !old.ready {
                wishes.delete.push((old.clone(), "SurgeOldNotReady"));
            } else if new.available {
                wishes.delete.push((old.clone(), "SurgeFinished"));
            }
        }
    }
}
