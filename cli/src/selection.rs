//! The selection of DaemonSets, by names, namespace and labels.

use clap::Args;
use daemonplan::{manifest::Manifests, model::DaemonSet, selector::SelectorExpression};

use super::{
    Failure,
    style::{SHOWN, did_you_mean, first_names},
};

/// The flags that select DaemonSets.
#[derive(Debug, Default, Args)]
pub(super) struct Selection {
    /// The DaemonSets, as NAME, NAMESPACE/NAME, or as kubectl prints them, such as ds/NAME [default: all]
    #[arg(value_name = "DAEMONSET")]
    daemonsets: Vec<String>,

    /// The DaemonSets' namespace, also that of manifests without one [default: all]
    #[arg(short, long, value_name = "NAMESPACE")]
    namespace: Option<String>,

    /// All namespaces; this is the default
    #[arg(short = 'A', long, conflicts_with = "namespace")]
    all_namespaces: bool,

    /// Only DaemonSets with these labels, such as app=agent
    #[arg(short = 'l', long, value_name = "SELECTOR")]
    selector: Option<SelectorExpression>,
}

/// A DaemonSet as the command line names it.
#[derive(Clone, Debug)]
struct DaemonSetName {
    /// As it was written.
    text: String,
    namespace: Option<String>,
    name: String,
}

/// A pod as the command line names it.
#[derive(Debug)]
pub(super) struct PodName {
    pub(super) namespace: Option<String>,
    pub(super) name: String,
}

fn is_pod_kind(text: &str) -> bool {
    ["po", "pod", "pods"].contains(&text.to_ascii_lowercase().as_str())
}

/// Whether kubectl reads this as the kind DaemonSet.
pub(super) fn is_daemonset_kind(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    let (name, group) = text.split_once('.').unwrap_or((&text, "apps"));
    ["ds", "daemonset", "daemonsets"].contains(&name) && ["apps", "v1.apps"].contains(&group)
}

impl Selection {
    pub(super) fn namespace(&self) -> Option<&str> {
        self.namespace.as_deref()
    }

    /// The namespace to read from a cluster: one if all names are of it.
    pub(super) fn only_namespace(&self) -> Result<Option<String>, Failure> {
        let names = self.names()?;
        let mut namespaces = names.iter().map(|name| name.namespace.clone().or_else(|| self.namespace.clone()));
        let first = namespaces.next().unwrap_or_else(|| self.namespace.clone());
        Ok(first.filter(|first| namespaces.all(|namespace| namespace.as_ref() == Some(first))))
    }

    /// Whether DaemonSets are selected at all, rather than all of them.
    pub(super) fn is_limited(&self) -> bool {
        !self.daemonsets.is_empty() || self.namespace.is_some() || self.selector.is_some()
    }

    /// Returns the pod, if one is named instead of DaemonSets: as `pod/NAME`, `pod/NAMESPACE/NAME` or `pod NAME`.
    pub(super) fn pod(&self) -> Result<Option<PodName>, Failure> {
        let is_pod = |text: &String| text.split_once('/').is_some_and(|(kind, _)| is_pod_kind(kind));
        let name = match self.daemonsets.as_slice() {
            [kind, name] if is_pod_kind(kind) => name.as_str(),
            [kind] if is_pod_kind(kind) => "",
            [name] if is_pod(name) => name.split_once('/').map_or("", |(_, name)| name),
            names if names.iter().any(is_pod) => {
                return Err(Failure("expected one pod, or DaemonSets, found several names with a pod".into()));
            }
            _ => return Ok(None),
        };
        let (namespace, name) = match name.split_once('/') {
            Some((namespace, name)) => {
                if let Some(other) = self.namespace.as_ref().filter(|other| *other != namespace) {
                    return Err(Failure(format!("pod {namespace}/{name} is not in namespace {other}, as -n says")));
                }
                (Some(namespace.to_owned()), name)
            }
            None => (self.namespace.clone(), name),
        };
        if name.is_empty() || name.contains('/') {
            return Err(Failure(format!("{name:?}: expected pod/NAME or pod/NAMESPACE/NAME")));
        }
        Ok(Some(PodName { namespace, name: name.to_owned() }))
    }

    /// Reads `NAME`, `NAMESPACE/NAME`, `KIND/NAME` and `KIND NAME`.
    fn names(&self) -> Result<Vec<DaemonSetName>, Failure> {
        let texts = match self.daemonsets.as_slice() {
            [kind, names @ ..] if !names.is_empty() && is_daemonset_kind(kind) => names,
            all => all,
        };
        texts.iter().map(|text| DaemonSetName::read(text)).collect()
    }

    /// Returns the selected DaemonSets.
    ///
    /// # Errors
    /// If a name selects none, or if there are none and that is not what the input says.
    pub(super) fn of<'m>(&self, manifests: &'m Manifests) -> Result<Vec<&'m DaemonSet>, Failure> {
        let names = self.names()?;
        let in_scope = |daemonset: &&DaemonSet| {
            self.namespace.as_ref().is_none_or(|namespace| *daemonset.namespace == **namespace)
                && self.selector.as_ref().is_none_or(|selector| selector.matches(&daemonset.labels))
        };
        let candidates: Vec<_> = manifests.daemonsets().filter(in_scope).collect();
        for name in &names {
            if !candidates.iter().any(|daemonset| name.is_of(daemonset)) {
                return Err(self.not_found(Some(name), manifests));
            }
        }
        if candidates.is_empty() {
            return Err(self.not_found(None, manifests));
        }
        let is_named = |daemonset: &&DaemonSet| names.is_empty() || names.iter().any(|name| name.is_of(daemonset));
        Ok(candidates.into_iter().filter(is_named).collect())
    }

    /// Whether a DaemonSet with this namespace and name is selected, whatever its labels.
    pub(super) fn includes(&self, namespace: &str, name: &str) -> Result<bool, Failure> {
        let is_of = |other: &DaemonSetName| {
            other.name == name && other.namespace.as_ref().is_none_or(|other| other == namespace)
        };
        let names = self.names()?;
        let in_namespace = self.namespace.as_ref().is_none_or(|own| own == namespace);
        Ok(in_namespace && (names.is_empty() || names.iter().any(is_of)))
    }

    fn not_found(&self, name: Option<&DaemonSetName>, manifests: &Manifests) -> Failure {
        let known: Vec<_> =
            manifests.daemonsets().map(|daemonset| format!("{}/{}", daemonset.namespace, daemonset.name)).collect();
        if known.is_empty() {
            let mut others: Vec<_> = manifests.skipped().iter().map(|object| object.kind.clone()).collect();
            others.retain(|kind| !kind.is_empty());
            others.dedup();
            let others =
                if others.is_empty() { String::new() } else { format!("; it has {}", first_names(&others, SHOWN)) };
            return Failure(format!("the input has no DaemonSet{others}"));
        }
        let what = name.map(|name| format!(" {}", name.text)).unwrap_or_default();
        let namespace = self.namespace.as_ref().map(|name| format!(" in namespace {name}")).unwrap_or_default();
        let labels = self.selector.as_ref().map(|selector| format!(" with labels {selector}")).unwrap_or_default();
        let hint = match name {
            Some(DaemonSetName { namespace: None, name, .. }) => {
                let mut names: Vec<_> = manifests.daemonsets().map(|daemonset| &*daemonset.name).collect();
                names.dedup();
                did_you_mean(name, names.into_iter())
            }
            Some(DaemonSetName { text, .. }) => did_you_mean(text, known.iter().map(String::as_str)),
            None => {
                let namespaces = manifests.daemonsets().map(|daemonset| &*daemonset.namespace);
                self.namespace.as_ref().map(|name| did_you_mean(name, namespaces)).unwrap_or_default()
            }
        };
        let file = name.filter(|name| std::path::Path::new(&name.text).is_file());
        let hint = file.map_or(hint, |name| format!("; {0} is a file: -f {0} reads it", name.text));
        let known = first_names(&known, SHOWN);
        Failure(format!("no DaemonSet{what}{namespace}{labels} found{hint}; the input has: {known}"))
    }
}

impl DaemonSetName {
    fn read(text: &str) -> Result<Self, Failure> {
        let parts: Vec<_> = text.split('/').collect();
        let (namespace, name) = match parts.as_slice() {
            [name] => (None, *name),
            [kind, name] if is_daemonset_kind(kind) => (None, *name),
            [kind, namespace, name] if is_daemonset_kind(kind) => (Some(*namespace), *name),
            [kind @ ("po" | "pod" | "pods" | "no" | "node" | "nodes" | "deploy" | "deployment" | "sts"), _] => {
                return Err(Failure(format!("{text}: expected a DaemonSet, found the kind {kind}")));
            }
            [namespace, name] => (Some(*namespace), *name),
            _ => return Err(Failure(format!("{text}: expected NAME, NAMESPACE/NAME or ds/NAME"))),
        };
        if name.is_empty() {
            return Err(Failure(format!("{text:?}: expected the name of a DaemonSet")));
        }
        Ok(Self { text: text.to_owned(), namespace: namespace.map(str::to_owned), name: name.to_owned() })
    }

    fn is_of(&self, daemonset: &DaemonSet) -> bool {
        *daemonset.name == *self.name
            && self.namespace.as_ref().is_none_or(|namespace| *daemonset.namespace == **namespace)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_kubectl_and_this_program_print_them() {
        let read =
            |text: &str| DaemonSetName::read(text).map(|name| (name.namespace, name.name)).map_err(|error| error.0);
        let name = |namespace: Option<&str>| Ok((namespace.map(str::to_owned), "agent".to_owned()));
        for text in [
            "agent",
            "ds/agent",
            "ds.apps/agent",
            "daemonsets.apps/agent",
            "daemonset.v1.apps/agent",
            "DaemonSet/agent",
        ] {
            assert_eq!(read(text), name(None), "{text}");
        }
        for text in ["prod/agent", "ds/prod/agent"] {
            assert_eq!(read(text), name(Some("prod")), "{text}");
        }
        for text in ["", "prod/", "pod/agent", "a/b/c"] {
            assert!(read(text).is_err(), "{text}");
        }
        let selection = Selection { daemonsets: vec!["ds".into(), "agent".into()], ..Selection::default() };
        assert_eq!(selection.names().unwrap().len(), 1);
        let one = Selection { daemonsets: vec!["prod/agent".into()], ..Selection::default() };
        assert_eq!(one.only_namespace().unwrap().as_deref(), Some("prod"));
    }
}
