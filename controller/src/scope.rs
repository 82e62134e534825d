//! Which DaemonSets a replica manages.

use std::fmt;

use daemonplan::{
    Key, Object,
    model::{Namespace, Resource, Text},
    selector::SelectorExpression,
};

use crate::{config::Config, shard::Shard};

/// The DaemonSets that a replica manages: those of some namespaces, or of a shard.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    /// The namespaces that are watched, each by itself; the whole cluster if there are none.
    namespaces: Vec<Text>,
    /// Which namespaces count, of those that are watched.
    selector: Option<SelectorExpression>,
    shard: Option<Shard>,
}

impl Scope {
    /// Returns the scope that the flags set.
    pub fn of(config: &Config) -> Self {
        let mut namespaces: Vec<Text> = config.namespaces.iter().map(|name| name.as_str().into()).collect();
        namespaces.sort();
        namespaces.dedup();
        Self { namespaces, selector: config.namespace_selector.clone(), shard: config.shard }
    }

    /// Returns the namespaces that are watched, each by itself; none for the whole cluster.
    pub fn namespaces(&self) -> &[Text] {
        &self.namespaces
    }

    /// Returns the shard, if there are several.
    pub fn shard(&self) -> Option<Shard> {
        self.shard
    }

    /// Whether namespaces are chosen by their labels.
    pub fn selects_namespaces(&self) -> bool {
        self.selector.is_some()
    }

    /// Whether the DaemonSets of this namespace are managed, as far as its labels decide; not if it is unknown.
    pub fn selects(&self, namespace: Option<&Namespace>) -> bool {
        let Some(selector) = &self.selector else { return true };
        namespace.is_some_and(|namespace| selector.matches(&namespace.labels))
    }

    /// Whether an object is a DaemonSet of the shard, or may be of one: what another shard's DaemonSet controls is not.
    pub fn concerns(&self, object: &Object) -> bool {
        let Some(shard) = self.shard else { return true };
        let (namespace, controller) = match object {
            Object::DaemonSet(daemonset) => return shard.has(&daemonset.key()),
            Object::ControllerRevision(revision) => (&revision.namespace, &revision.controller),
            Object::Pod(pod) => (&pod.namespace, &pod.controller),
            _ => return true,
        };
        let owner = controller.as_ref().filter(|owner| owner.kind == "DaemonSet");
        owner.is_none_or(|owner| shard.has(&Key::new(namespace.clone(), owner.name.clone())))
    }
}

/// Displays what the scope is limited to; nothing without limits.
impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut limits = Vec::new();
        match self.namespaces.as_slice() {
            [] => {}
            [namespace] => limits.push(format!("namespace {namespace}")),
            namespaces => limits.push(format!("namespaces {}", namespaces.join(", "))),
        }
        limits.extend(self.selector.iter().map(|selector| format!("namespaces with {selector}")));
        limits.extend(self.shard.iter().map(|shard| format!("shard {shard}")));
        f.write_str(&limits.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_tells_its_limits() {
        assert_eq!(Scope::default().to_string(), "");
        let scope = Scope {
            namespaces: vec!["lab".into(), "prod".into()],
            selector: Some("team=infra".parse().unwrap()),
            shard: Some("1/4".parse().unwrap()),
        };
        assert_eq!(scope.to_string(), "namespaces lab, prod; namespaces with team=infra; shard 1/4");
    }
}
