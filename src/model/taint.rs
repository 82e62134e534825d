use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{
    Text,
    metadata::unless_default,
    well_known::{NOT_READY_TAINT, UNREACHABLE_TAINT, UNSCHEDULABLE_TAINT},
};

/// A node's taint. <https://kubernetes.io/docs/concepts/scheduling-eviction/taint-and-toleration/>
///
/// ```
/// use daemonplan::model::{Taint, TaintEffect};
/// let taint = Taint::new("dedicated", "db", TaintEffect::NoSchedule);
/// assert_eq!(taint.to_string(), "dedicated=db:NoSchedule");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Taint {
    /// The key; never empty in a cluster.
    #[serde(default)]
    pub key: Text,
    /// The value; often empty.
    #[serde(default, skip_serializing_if = "str::is_empty")]
    pub value: Text,
    /// The effect on pods that do not tolerate the taint.
    #[serde(default)]
    pub effect: TaintEffect,
    /// `timeAdded`: the time when the taint was added, if known.
    #[serde(default, rename = "timeAdded", skip_serializing_if = "Option::is_none")]
    pub added: Option<Timestamp>,
}

/// The effect of a [`Taint`] on pods that do not tolerate it.
///
/// ```
/// use daemonplan::model::TaintEffect;
/// assert_eq!(serde_json::from_str::<TaintEffect>(r#""NoExecute""#)?, TaintEffect::NoExecute);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum TaintEffect {
    /// Such pods are not scheduled on the node.
    NoSchedule,
    /// The scheduler prefers other nodes for such pods. A DaemonSet ignores this effect.
    PreferNoSchedule,
    /// Such pods are not scheduled on the node, and running ones are evicted.
    NoExecute,
    /// An effect that Kubernetes does not define.
    #[default]
    Unknown,
}

/// A pod's toleration: matches taints by effect, key and value. The default tolerates every taint with an empty value.
///
/// ```
/// use daemonplan::model::{Taint, TaintEffect, Toleration};
/// let taint = Taint::new("dedicated", "db", TaintEffect::NoSchedule);
/// assert!(Toleration::new("dedicated").tolerates(&taint, false));
/// let other = Toleration { key: "dedicated".into(), value: "web".into(), ..Toleration::default() };
/// assert!(!other.tolerates(&taint, false));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Toleration {
    /// The key of the taint; empty matches any key.
    pub key: Text,
    /// The comparison of the values.
    pub operator: TolerationOperator,
    /// The value to compare with.
    pub value: Text,
    /// The effect of the taint; `None` matches any effect.
    pub effect: Option<TaintEffect>,
}

/// The comparison between the value of a [`Toleration`] and that of a taint.
///
/// ```
/// use daemonplan::model::{Toleration, TolerationOperator};
/// let toleration: Toleration = serde_json::from_str(r#"{"key": "dedicated", "value": "db"}"#)?;
/// assert_eq!(toleration.operator, TolerationOperator::Equal);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum TolerationOperator {
    /// The values are equal.
    #[default]
    Equal,
    /// Any value matches.
    Exists,
    /// The taint's value is an integer below the toleration's. Off by default.
    Lt,
    /// The taint's value is an integer above the toleration's. Off by default.
    Gt,
    /// An operator that Kubernetes does not define; tolerates nothing.
    Unknown,
}

impl Taint {
    /// Returns a taint without the time when it was added.
    pub fn new(key: impl Into<Text>, value: impl Into<Text>, effect: TaintEffect) -> Self {
        Self { key: key.into(), value: value.into(), effect, added: None }
    }
}

impl Toleration {
    /// Returns a toleration of every taint with this key (operator `Exists`), or of every taint if it is empty.
    pub fn new(key: impl Into<Text>) -> Self {
        Self { key: key.into(), operator: TolerationOperator::Exists, ..Self::default() }
    }
}

impl TaintEffect {
    fn read(text: &str) -> Self {
        match text {
            "NoSchedule" => Self::NoSchedule,
            "PreferNoSchedule" => Self::PreferNoSchedule,
            "NoExecute" => Self::NoExecute,
            _ => Self::Unknown,
        }
    }

    fn as_str(&self) -> &'static str {
        match self {
            Self::NoSchedule => "NoSchedule",
            Self::PreferNoSchedule => "PreferNoSchedule",
            Self::NoExecute => "NoExecute",
            Self::Unknown => "Unknown",
        }
    }
}

impl fmt::Display for TaintEffect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Taint {
    /// Whether the taint reports that the node is not ready or unreachable, so that pods neither start nor stop.
    pub(crate) fn stops_pods(&self) -> bool {
        self.key == NOT_READY_TAINT || self.key == UNREACHABLE_TAINT
    }

    /// Whether the taint reports that the node is not ready, unreachable or cordoned.
    pub(crate) fn reports_problem(&self) -> bool {
        self.stops_pods() || self.is_cordon()
    }

    /// Whether nodes mostly have the taint only while they start: its key says that the node or an agent is not ready yet, or marks
    /// it as a startup taint of the Cluster Autoscaler.
    /// <https://github.com/kubernetes/autoscaler/blob/master/cluster-autoscaler/FAQ.md>
    ///
    /// ```
    /// use daemonplan::model::{Taint, TaintEffect};
    /// let is_of_startup = |key| Taint::new(key, "", TaintEffect::NoSchedule).is_of_startup();
    /// assert!(is_of_startup("node.cilium.io/agent-not-ready") && !is_of_startup("dedicated"));
    /// ```
    pub fn is_of_startup(&self) -> bool {
        const MARKS: [&str; 2] =
            ["startup-taint.cluster-autoscaler.kubernetes.io/", "ignore-taint.cluster-autoscaler.kubernetes.io/"];
        const STATES: [&str; 3] = ["not-ready", "uninitialized", "unregistered"];
        MARKS.iter().any(|mark| self.key.starts_with(mark)) || STATES.iter().any(|state| self.key.ends_with(state))
    }

    /// Whether the taint reports that the node is cordoned.
    pub(crate) fn is_cordon(&self) -> bool {
        self.key == UNSCHEDULABLE_TAINT
    }
}

impl fmt::Display for Taint {
    /// Writes the notation of `kubectl taint`: `key=value:Effect`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.value.is_empty() {
            write!(f, "{}:{}", self.key, self.effect)
        } else {
            write!(f, "{}={}:{}", self.key, self.value, self.effect)
        }
    }
}

impl Serialize for TaintEffect {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for TaintEffect {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Option::<Text>::deserialize(deserializer)?.unwrap_or_default();
        Ok(Self::read(&text))
    }
}

/// A toleration as Kubernetes writes it.
#[derive(Serialize, Deserialize)]
struct TolerationWire {
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<Text>,
    #[serde(skip_serializing_if = "Option::is_none")]
    operator: Option<Text>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<Text>,
    #[serde(skip_serializing_if = "Option::is_none")]
    effect: Option<Text>,
}

impl Serialize for Toleration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let operator = match self.operator {
            TolerationOperator::Equal => "Equal",
            TolerationOperator::Exists => "Exists",
            TolerationOperator::Lt => "Lt",
            TolerationOperator::Gt => "Gt",
            TolerationOperator::Unknown => "Unknown",
        };
        let wire = TolerationWire {
            key: unless_default(self.key.clone()),
            operator: Some(operator.into()),
            value: unless_default(self.value.clone()),
            effect: self.effect.as_ref().map(|effect| effect.as_str().into()),
        };
        wire.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Toleration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let wire = TolerationWire::deserialize(deserializer)?;
        Ok(Self {
            key: wire.key.unwrap_or_default(),
            operator: match wire.operator.as_deref().unwrap_or_default() {
                "" | "Equal" => TolerationOperator::Equal,
                "Exists" => TolerationOperator::Exists,
                "Lt" => TolerationOperator::Lt,
                "Gt" => TolerationOperator::Gt,
                _ => TolerationOperator::Unknown,
            },
            value: wire.value.unwrap_or_default(),
            effect: wire.effect.as_deref().filter(|effect| !effect.is_empty()).map(TaintEffect::read),
        })
    }
}
