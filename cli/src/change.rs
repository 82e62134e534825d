//! What-if: changes to the input before a command looks at it.

use std::path::PathBuf;

use clap::Args;
use daemonplan::{
    Key, Kind,
    api_server::{label_problems, validate_node},
    manifest::Manifests,
    model::{DaemonSet, Node, Taint, TaintEffect, Text},
    scheduling::SchedulingObjects,
};

use super::{
    Failure, input,
    output::{note, print_error},
    style::{SHOWN, did_you_mean, first_names, plural},
};

/// The flags for changes.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "What if")]
pub(super) struct ChangeArgs {
    /// Manifests to apply first, as kubectl apply does; those with a uid replace: a file, a directory, or - for standard
    /// input; repeatable
    #[arg(long, value_name = "FILE|DIR|-")]
    with: Vec<PathBuf>,

    /// Remove a node first, before all other changes of nodes; repeatable
    #[arg(long, value_name = "NODE")]
    remove_node: Vec<Text>,

    /// Set a label of a node first, or remove it with a trailing -; repeatable
    #[arg(long, value_name = "NODE=KEY=VALUE|NODE=KEY-", value_parser = label)]
    set_label: Vec<(Text, LabelChange)>,

    /// Add a taint to a node first, or remove it with a trailing -; repeatable
    #[arg(long, value_name = "NODE=KEY[=VALUE][:EFFECT][-]", value_parser = taint)]
    taint: Vec<(Text, TaintChange)>,

    /// Cordon a node first; repeatable
    #[arg(long, value_name = "NODE")]
    cordon: Vec<Text>,

    /// Uncordon a node first; repeatable
    #[arg(long, value_name = "NODE")]
    uncordon: Vec<Text>,
}

#[derive(Clone, Debug)]
struct LabelChange {
    key: Text,
    /// The new value; `None` removes the label.
    value: Option<Text>,
}

#[derive(Clone, Debug)]
enum TaintChange {
    Set(Taint),
    /// Removes the taints with this key; only those with the effect, if it is given.
    Remove {
        key: Text,
        effect: Option<TaintEffect>,
    },
}

fn label(text: &str) -> Result<(Text, LabelChange), String> {
    const EXPECTED: &str = "expected NODE=KEY=VALUE or NODE=KEY-";
    let (node, label) = text.split_once('=').ok_or(EXPECTED)?;
    let (key, value) = match (label.split_once('='), label.strip_suffix('-')) {
        (Some((key, value)), _) => (key, Some(value.into())),
        (None, Some(key)) => (key, None),
        (None, None) => return Err(EXPECTED.into()),
    };
    check(key, value.as_deref().unwrap_or_default())?;
    Ok((node_name(node).into(), LabelChange { key: key.into(), value }))
}

/// Refuses keys and values that no label and no taint can have.
fn check(key: &str, value: &str) -> Result<(), String> {
    label_problems(key, value).into_iter().next().map_or(Ok(()), Err)
}

fn taint(text: &str) -> Result<(Text, TaintChange), String> {
    const EXPECTED: &str =
        "expected NODE=KEY:EFFECT or NODE=KEY=VALUE:EFFECT, or NODE=KEY- or NODE=KEY:EFFECT- to remove it";
    let (node, rest) = text.split_once('=').ok_or(EXPECTED)?;
    let effect = |effect: &str| {
        let known = [TaintEffect::NoSchedule, TaintEffect::PreferNoSchedule, TaintEffect::NoExecute];
        let effect = known.into_iter().find(|known| known.to_string() == effect);
        effect.ok_or("expected the effect NoSchedule, PreferNoSchedule or NoExecute")
    };
    let split = |key: &str| {
        let (key, value) = key.split_once('=').unwrap_or((key, ""));
        check(key, value)?;
        Ok::<_, String>((Text::from(key), Text::from(value)))
    };
    let change = match (rest.strip_suffix('-'), rest.rsplit_once(':')) {
        (Some(rest), _) => match rest.rsplit_once(':') {
            Some((key, of)) => TaintChange::Remove { key: split(key)?.0, effect: Some(effect(of)?) },
            None => TaintChange::Remove { key: split(rest)?.0, effect: None },
        },
        (None, Some((key, of))) => {
            let (key, value) = split(key)?;
            TaintChange::Set(Taint::new(key, value, effect(of)?))
        }
        (None, None) => return Err(EXPECTED.into()),
    };
    Ok((node_name(node).into(), change))
}

/// The name of a node, which may be written as kubectl prints it, `node/name`.
pub(super) fn node_name(node: &str) -> &str {
    let (kind, name) = node.split_once('/').unwrap_or(("", node));
    if ["node", "nodes", "no"].contains(&kind.to_ascii_lowercase().as_str()) { name } else { node }
}

/// Manifests with all changes, and the DaemonSets that the changes name.
pub(super) struct Changed {
    pub(super) manifests: Manifests,
    pub(super) named: Vec<Key>,
    /// Whether all of `--with` could be read.
    pub(super) is_complete: bool,
}

impl ChangeArgs {
    pub(super) fn has_manifests(&self) -> bool {
        !self.with.is_empty()
    }

    pub(super) fn is_empty(&self) -> bool {
        let shortcuts = [&self.remove_node, &self.cordon, &self.uncordon];
        let has_manifests = !self.with.is_empty() || !self.set_label.is_empty() || !self.taint.is_empty();
        !has_manifests && shortcuts.iter().all(|nodes| nodes.is_empty())
    }

    /// Returns the cluster with all changes. `namespace` is that of manifests without one.
    pub(super) fn apply(
        &self,
        manifests: &Manifests,
        namespace: Option<&str>,
        is_recursive: bool,
    ) -> Result<Changed, Failure> {
        let (mut changed, mut named, mut is_complete) = (manifests.clone(), Vec::new(), true);
        if !self.with.is_empty() {
            let mut applied = Manifests::default();
            if let Some(namespace) = namespace {
                applied.set_default_namespace(namespace);
            }
            is_complete = input::read(&mut applied, &self.with, is_recursive)?;
            is_complete &= applied.problems().is_empty();
            input::print_problems(&applied);
            check_nodes(applied.nodes())?;
            let has_facts = *applied.scheduling_objects() != SchedulingObjects::default();
            if applied.objects().next().is_none() && !has_facts && is_complete {
                return Err(Failure(
                    "--with: no object that plans or the scheduler depend on, such as a DaemonSet".into(),
                ));
            }
            named.extend(
                applied.daemonsets().map(|daemonset| Key::new(daemonset.namespace.clone(), daemonset.name.clone())),
            );
            if let Some(key) = named.iter().find(|key| manifests.lacks_owner(key)) {
                return Err(Failure(format!(
                    "the input has pods or ControllerRevisions of {key}, but not the DaemonSet itself, which --with \
                     would change: add it; if it does not exist: --complete"
                )));
            }
            for Key { namespace, name } in &named {
                let same = |daemonset: &&DaemonSet| daemonset.name == *name;
                let elsewhere: Vec<_> =
                    manifests.daemonsets().filter(same).map(|other| other.namespace.to_string()).collect();
                if !elsewhere.is_empty() && !elsewhere.iter().any(|other| **other == **namespace) {
                    let elsewhere = first_names(&elsewhere, SHOWN);
                    note(format_args!(
                        "--with: {namespace}/{name} is new, while {name} exists in {elsewhere}; -n sets the namespace of manifests without one"
                    ));
                }
            }
            changed = changed.with(applied);
        }
        if !self.remove_node.is_empty() && !changed.nodes().is_empty() {
            // If none is left, there is none.
            changed.add_all_of(Kind::Node);
        }
        for node in self.remove_node.iter().map(|node| node_name(node)) {
            if !changed.remove_node(node) {
                return Err(unknown(&changed, node));
            }
        }
        for (name, LabelChange { key, value }) in &self.set_label {
            let node = node(&mut changed, name)?;
            if value.is_none() && node.labels.get(key).is_none() {
                note(format_args!("--set-label: node {name} has no label {key}"));
            }
            node.labels = if let Some(value) = value {
                node.labels.with(key.clone(), value.clone())
            } else {
                let others = node.labels.iter().filter(|(other, _)| *other != key);
                others.map(|(key, value)| (key.clone(), value.clone())).collect()
            };
        }
        for (name, change) in &self.taint {
            if !change.apply(node(&mut changed, name)?) {
                note(format_args!("--taint: node {name} has no such taint"));
            }
        }
        let cordon = Taint::new("node.kubernetes.io/unschedulable", "", TaintEffect::NoSchedule);
        let uncordon = TaintChange::Remove { key: cordon.key.clone(), effect: Some(cordon.effect.clone()) };
        for (names, change) in [(&self.cordon, TaintChange::Set(cordon)), (&self.uncordon, uncordon)] {
            for name in names {
                if !change.apply(node(&mut changed, node_name(name))?) {
                    note(format_args!("--uncordon: node {name} is not cordoned"));
                }
            }
        }
        Ok(Changed { manifests: changed, named, is_complete })
    }
}

impl TaintChange {
    /// Changes the node. Returns whether a taint that is to be removed was there.
    fn apply(&self, node: &mut Node) -> bool {
        let count = node.taints.len();
        match self {
            Self::Set(taint) => {
                node.taints.retain(|other| (&other.key, &other.effect) != (&taint.key, &taint.effect));
                node.taints.push(taint.clone());
                true
            }
            Self::Remove { key, effect } => {
                node.taints.retain(|other| other.key != *key || effect.as_ref().is_some_and(|of| *of != other.effect));
                node.taints.len() < count
            }
        }
    }
}

/// Prints why the API server refuses nodes.
///
/// # Errors
/// If it refuses one.
pub(super) fn check_nodes(nodes: &[Node]) -> Result<(), Failure> {
    let mut refused = 0;
    for node in nodes {
        let refusals = validate_node(node);
        refused += usize::from(!refusals.is_empty());
        for refusal in refusals {
            print_error(&format_args!("node {}: {refusal}", node.name));
        }
    }
    if refused > 0 { Err(refuses(refused, "node")) } else { Ok(()) }
}

pub(super) fn refuses(count: usize, what: &str) -> Failure {
    Failure(format!("the API server refuses {}, so it has no effect", plural(count, what)))
}

fn node<'m>(manifests: &'m mut Manifests, name: &str) -> Result<&'m mut Node, Failure> {
    let unknown = unknown(manifests, name);
    manifests.node_mut(name).ok_or(unknown)
}

fn unknown(manifests: &Manifests, node: &str) -> Failure {
    let hint = did_you_mean(node, manifests.nodes().iter().map(|node| node.name.as_str()));
    Failure(format!("node {node} not found in the input: it cannot be changed{hint}"))
}
