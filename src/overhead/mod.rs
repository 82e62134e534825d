//! Would it run here? All DaemonSets of a cluster, and what they would take of a node that there is not yet.

mod requests;

use std::fmt;

use serde::{Serialize, ser::SerializeStruct};

use crate::{
    context::SyncMode,
    model::{DaemonSet, Key, Namespace, Node, Quantity, Text},
    placement::{PlacementReason, PlacementRules},
    planner::Snapshot,
    settings::Settings,
};

use requests::Resources;

/// All DaemonSets of a cluster, to ask which of them would run on a node that there is not yet: for autoscalers, which have
/// to know what is left of a new node.
///
/// The node is to be as it will be once it is in use: taints that only keep pods away while it starts are not to be on it,
/// unless they are those that DaemonSets tolerate anyhow.
///
/// ```
/// use daemonplan::{Settings, model::{DaemonSet, Namespace, Node}, overhead::DaemonSetFleet};
/// let daemonset: DaemonSet = serde_json::from_str(r#"{
///     "metadata": {"namespace": "prod", "name": "agent"},
///     "spec": {
///         "selector": {"matchLabels": {"app": "agent"}},
///         "template": {
///             "metadata": {"labels": {"app": "agent"}},
///             "spec": {"containers": [{"resources": {"requests": {"cpu": "250m", "memory": "64Mi"}}}]}
///         }
///     }
/// }"#)?;
/// let namespace = Namespace::new("prod");
/// let fleet = DaemonSetFleet::new([(&daemonset, &namespace)], &Settings::default()).unwrap();
/// let node = Node::new("of-a-new-pool");
/// let overhead = fleet.overhead(&node);
/// assert_eq!(overhead.to_string(), "1 of 1 DaemonSet would run: cpu 250m, memory 64Mi, pods 1");
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug)]
pub struct DaemonSetFleet {
    /// By namespace and name.
    members: Vec<FleetMember>,
    /// Those that are placed alike need one look at a node.
    alike: Vec<Alike>,
    /// All resources that any of them requests, in order.
    resources: Vec<Text>,
}

#[derive(Debug)]
struct FleetMember {
    key: Key,
    /// The place of its rules.
    alike: usize,
    requests: Amounts,
}

/// What decides about some of the DaemonSets, and what they request together.
#[derive(Debug)]
struct Alike {
    rules: PlacementRules,
    mode: SyncMode,
    count: usize,
    requests: Amounts,
}

/// By place among the fleet's resources.
type Amounts = Vec<Quantity>;

/// What the DaemonSets of a [`DaemonSetFleet`] would take of a node.
///
/// ```
/// use daemonplan::{Settings, model::Node, overhead::DaemonSetFleet};
/// let fleet = DaemonSetFleet::new([], &Settings::default()).unwrap();
/// assert_eq!(fleet.overhead(&Node::new("node-7")).running().count(), 0);
/// ```
#[derive(Debug)]
pub struct Overhead<'f> {
    fleet: &'f DaemonSetFleet,
    node: &'f Node,
    /// Whether they would run, by place of their rules.
    run: Vec<bool>,
    count: usize,
    sums: Amounts,
}

/// Why a DaemonSet would not run on a node.
///
/// ```
/// use daemonplan::overhead::Refusal;
/// assert_eq!(Refusal::BeingDeleted.to_string(), "the DaemonSet is being deleted");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "refusal", content = "reason")]
#[non_exhaustive]
pub enum Refusal {
    /// A rule about nodes does not hold.
    NotPlaced(PlacementReason),
    /// The DaemonSet is being deleted.
    BeingDeleted,
    /// Its selector selects all pods, so that it is left alone.
    SelectsAllPods,
}

/// A template whose requests cannot be read.
///
/// ```
/// use daemonplan::{Settings, model::{DaemonSet, Namespace}, overhead::DaemonSetFleet};
/// let mut daemonset = DaemonSet::new("prod", "agent");
/// daemonset.template = serde_json::from_str(r#"{"spec": {"overhead": {"cpu": "much"}}}"#).unwrap();
/// let error = DaemonSetFleet::new([(&daemonset, &Namespace::new("prod"))], &Settings::default()).unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     "DaemonSet prod/agent: spec.template.spec: expected a quantity such as 250m, 2 or 64Mi, found \"much\"",
/// );
/// ```
#[derive(Debug, thiserror::Error)]
#[error("DaemonSet {}/{}: spec.template.spec: {source}", daemonset.namespace, daemonset.name)]
#[non_exhaustive]
pub struct RequestsError {
    /// The DaemonSet.
    pub daemonset: Key,
    /// What is wrong.
    pub source: serde_json::Error,
}

impl DaemonSetFleet {
    /// These DaemonSets, each with its namespace.
    ///
    /// # Errors
    /// If the requests of a template are no quantities.
    pub fn new<'a>(
        daemonsets: impl IntoIterator<Item = (&'a DaemonSet, &'a Namespace)>,
        settings: &Settings,
    ) -> Result<Self, RequestsError> {
        let (mut fleet, mut all) = (Self { members: Vec::new(), alike: Vec::new(), resources: Vec::new() }, Vec::new());
        for (daemonset, namespace) in daemonsets {
            let key = Key::new(daemonset.namespace.clone(), daemonset.name.clone());
            match requests::of_template(&daemonset.template) {
                Ok(requests) => all.push((key, daemonset, namespace, requests)),
                Err(source) => return Err(RequestsError { daemonset: key, source }),
            }
        }
        all.sort_by(|(a, ..), (b, ..)| a.cmp(b));
        fleet.resources = all.iter().flat_map(|(.., requests)| requests.keys().cloned()).collect();
        fleet.resources.sort();
        fleet.resources.dedup();
        for (key, daemonset, namespace, requests) in all {
            let rules = PlacementRules::compile(daemonset, namespace, settings);
            let amounts = fleet.resources.iter().map(|resource| requests.get(resource).copied().unwrap_or_default());
            fleet.add(key, rules, SyncMode::of(daemonset), amounts.collect());
        }
        Ok(fleet)
    }

    fn add(&mut self, key: Key, rules: PlacementRules, mode: SyncMode, requests: Amounts) {
        let known = self.alike.iter_mut().enumerate();
        let mut known = known.filter(|(_, alike)| alike.mode == mode && alike.rules == rules);
        let alike = if let Some((place, alike)) = known.next() {
            alike.count += 1;
            add(&mut alike.requests, &requests);
            place
        } else {
            drop(known);
            self.alike.push(Alike { rules, mode, count: 1, requests: requests.clone() });
            self.alike.len() - 1
        };
        self.members.push(FleetMember { key, alike, requests });
    }

    /// The DaemonSets of these snapshots, which are of one cluster.
    ///
    /// # Errors
    /// If the requests of a template are no quantities.
    pub fn of<'a>(snapshots: impl IntoIterator<Item = Snapshot<'a>>) -> Result<Self, RequestsError> {
        let snapshots: Vec<_> = snapshots.into_iter().collect();
        let settings = snapshots.first().and_then(|snapshot| snapshot.settings).cloned().unwrap_or_default();
        Self::new(snapshots.iter().map(|snapshot| (snapshot.daemonset, snapshot.namespace)), &settings)
    }

    /// What they would take of this node.
    pub fn overhead<'f>(&'f self, node: &'f Node) -> Overhead<'f> {
        let mut overhead = Overhead {
            fleet: self,
            node,
            run: Vec::with_capacity(self.alike.len()),
            count: 0,
            sums: vec![Quantity::default(); self.resources.len()],
        };
        for alike in &self.alike {
            let runs = alike.mode == SyncMode::Reconcile && alike.rules.verdict(node).should_run();
            overhead.run.push(runs);
            if runs {
                overhead.count += alike.count;
                add(&mut overhead.sums, &alike.requests);
            }
        }
        overhead
    }
}

fn add(sums: &mut Amounts, more: &Amounts) {
    for (sum, amount) in sums.iter_mut().zip(more).filter(|(_, amount)| !amount.is_zero()) {
        *sum = *sum + *amount;
    }
}

impl<'f> Overhead<'f> {
    /// The DaemonSets that would run, by namespace and name.
    pub fn running(&self) -> impl Iterator<Item = &'f Key> {
        let members = self.fleet.members.iter();
        members.filter(|member| self.run.get(member.alike) == Some(&true)).map(|member| &member.key)
    }

    /// What each of those requests: pairs of a resource and an amount.
    pub fn requests_of(&self, daemonset: &Key) -> impl Iterator<Item = (&'f Text, Quantity)> {
        let DaemonSetFleet { members, resources, .. } = self.fleet;
        let member = members.iter().find(|member| member.key == *daemonset);
        let requests = member.into_iter().flat_map(|member| resources.iter().zip(member.requests.iter().copied()));
        requests.filter(|(_, amount)| !amount.is_zero())
    }

    /// What they request together, by resource; `pods` is their number.
    pub fn requests(&self) -> impl Iterator<Item = (&str, Quantity)> {
        let sums = self.fleet.resources.iter().map(Text::as_str).zip(self.sums.iter().copied());
        sums.filter(|(_, sum)| !sum.is_zero()).chain([("pods", Quantity::count(self.count))])
    }

    /// The DaemonSets that would not run, by namespace and name, and why.
    pub fn refused(&self) -> impl Iterator<Item = (&'f Key, Refusal)> {
        let refused = self.fleet.members.iter().filter(|member| self.run.get(member.alike) == Some(&false));
        refused.filter_map(|member| {
            let Alike { mode, rules, .. } = self.fleet.alike.get(member.alike)?;
            let refusal = match mode {
                SyncMode::LeaveAlone => Refusal::SelectsAllPods,
                SyncMode::CollectDependents => Refusal::BeingDeleted,
                SyncMode::Reconcile => Refusal::NotPlaced(rules.reason(self.node)),
            };
            Some((&member.key, refusal))
        })
    }
}

impl fmt::Display for Overhead<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = self.fleet.members.len();
        write!(f, "{} of {all} DaemonSet{} would run", self.count, if all == 1 { "" } else { "s" })?;
        for (number, (resource, sum)) in self.requests().enumerate() {
            write!(f, "{}{resource} {sum}", if number > 0 { ", " } else { ": " })?;
        }
        Ok(())
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotPlaced(reason) => reason.fmt(f),
            Self::BeingDeleted => f.write_str("the DaemonSet is being deleted"),
            Self::SelectsAllPods => f.write_str("the DaemonSet's selector selects all pods, so that it is left alone"),
        }
    }
}

impl Serialize for Overhead<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Running<'a> {
            daemon_set: &'a Key,
            requests: Resources,
        }
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Refused<'a> {
            daemon_set: &'a Key,
            #[serde(flatten)]
            refusal: Refusal,
            message: String,
        }
        let running = self.running().map(|daemon_set| Running {
            daemon_set,
            requests: self.requests_of(daemon_set).map(|(resource, amount)| (resource.clone(), amount)).collect(),
        });
        let refused = self.refused().map(|(daemon_set, refusal)| {
            let message = refusal.to_string();
            Refused { daemon_set, refusal, message }
        });
        let sums = self.requests().map(|(resource, amount)| (Text::from(resource), amount)).collect::<Resources>();
        let mut fields = serializer.serialize_struct("Overhead", 4)?;
        fields.serialize_field("node", &self.node.name)?;
        fields.serialize_field("requests", &sums)?;
        fields.serialize_field("running", &running.collect::<Vec<_>>())?;
        fields.serialize_field("refused", &refused.collect::<Vec<_>>())?;
        fields.end()
    }
}
