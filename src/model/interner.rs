use std::sync::Arc;

use crate::{
    model::{ControllerRef, Labels, Node, Pod, PodSpec, ResourceList, Text, labels::Keys},
    util::shared_values::SharedValues,
};

/// Shares memory between the equal parts of nodes and of pods: label sets and their keys, taints, controllers,
/// specs. Objects of
/// other kinds are few, and stay as they are.
///
/// A [`Cluster`](crate::cluster::Cluster) and the reader of [`manifest`](crate::manifest) have one of their own. Use
/// one where you read many objects for a [`Snapshot`](crate::planner::Snapshot): it saves memory, and plans are faster
/// because shared labels are recognised by their address. Results do not depend on it. It remembers a limited number of
/// parts.
///
/// ```
/// use daemonplan::model::{Interner, Node};
/// let text = r#"[{"metadata": {"name": "node-1", "labels": {"os": "linux"}}},
///     {"metadata": {"name": "node-2", "labels": {"os": "linux"}}}]"#;
/// let mut nodes: Vec<Node> = serde_json::from_str(text)?;
/// let mut interner = Interner::default();
/// nodes.iter_mut().for_each(|node| interner.share(node));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Interner {
    keys: SharedValues<Arc<Keys>>,
    labels: SharedValues<Labels>,
    specs: SharedValues<Arc<PodSpec>>,
    allocatable: SharedValues<Arc<ResourceList>>,
    controllers: SharedValues<Arc<ControllerRef>>,
    /// Keys and values of taints.
    texts: SharedValues<Text>,
}

impl Interner {
    pub(crate) fn share_node(&mut self, node: &mut Node) {
        if let Some(keys) = node.labels.keys_mut() {
            self.keys.share(keys);
        }
        if let Some(allocatable) = &mut node.allocatable {
            self.allocatable.share(allocatable);
        }
        for taint in &mut node.taints {
            self.texts.share(&mut taint.key);
            self.texts.share(&mut taint.value);
        }
    }

    pub(crate) fn share_pod(&mut self, pod: &mut Pod) {
        self.labels.share(&mut pod.labels);
        if let Some(spec) = &mut pod.spec {
            self.specs.share(spec);
        }
        if let Some(controller) = &mut pod.controller {
            self.controllers.share(controller);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::model::{ControllerRef, Interner, Labels, Node, Pod, Taint, TaintEffect};

    #[test]
    fn equal_parts_of_nodes_and_pods_share_their_memory() {
        let long = |text: &str| format!("{text}-too-long-to-be-stored-inline");
        let node = |name: &str| {
            let mut node = Node::new(name);
            node.labels = Labels::from([(long("os"), long("linux")), ("hostname".into(), name.into())]);
            node.taints = vec![Taint::new(long("key"), long("value"), TaintEffect::NoSchedule)];
            node
        };
        let pod = |name: &str| {
            let mut pod = Pod::new("prod", name);
            pod.labels = Labels::from([(long("app"), long("agent"))]);
            let (kind, name, uid) = ("DaemonSet".into(), long("agent").into(), long("uid").into());
            pod.controller = Some(ControllerRef { kind, name, uid }.into());
            pod
        };
        let (mut nodes, mut pods) = ([node("a"), node("b")], [pod("a"), pod("b")]);
        let (before, mut interner) = ((nodes.clone(), pods.clone()), Interner::default());
        for (node, pod) in nodes.iter_mut().zip(&mut pods) {
            interner.share(node);
            interner.share(pod);
        }
        assert_eq!((nodes.clone(), pods.clone()), before, "the objects are equal to what they were");
        let [a, b] = &mut nodes;
        assert!(std::sync::Arc::ptr_eq(a.labels.keys_mut().unwrap(), b.labels.keys_mut().unwrap()));
        assert!(std::ptr::eq(a.taints[0].key.as_str(), b.taints[0].key.as_str()));
        let [a, b] = &pods;
        assert!(a.labels.are_the_same(&b.labels));
        let uid = |pod: &Pod| pod.controller.as_ref().unwrap().uid.as_str().as_ptr();
        assert_eq!(uid(a), uid(b));
    }
}
