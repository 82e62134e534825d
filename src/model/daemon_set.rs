use std::{fmt, str::FromStr};

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use serde_json::Value;

use crate::model::{
    DaemonSetStatus, LabelSelector, Labels, PodTemplate, RequirementError, Text,
    metadata::{Metadata, MissingName, unless_default},
    resource::{ApiVersion, KindName},
};

/// A DaemonSet. <https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/daemon-set-v1/>
///
/// Missing fields take the API server's defaults: `RollingUpdate` with `maxUnavailable` 1, `revisionHistoryLimit` 10
/// and `minReadySeconds` 0.
///
/// ```
/// use daemonplan::model::DaemonSet;
/// let text = r#"{
///     "metadata": {"namespace": "prod", "name": "agent"},
///     "spec": {
///         "selector": {"matchLabels": {"app": "agent"}},
///         "template": {"metadata": {"labels": {"app": "agent"}}},
///         "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "10%"}}
///     }
/// }"#;
/// let daemonset: DaemonSet = serde_json::from_str(text).unwrap();
/// assert_eq!(daemonset.name, "agent");
/// assert!(serde_json::from_str::<DaemonSet>(&text.replace("10%", "ten")).is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "DaemonSetWire", into = "DaemonSetWire")]
#[non_exhaustive]
pub struct DaemonSet {
    /// `metadata.namespace`.
    pub namespace: Text,
    /// `metadata.name`.
    pub name: Text,
    /// `metadata.uid`.
    pub uid: Text,
    /// `metadata.generation`; the API server increments it with each change of the spec.
    pub generation: i64,
    /// `metadata.labels`; they are not those of its pods.
    pub labels: Labels,
    /// `metadata.annotations`.
    pub annotations: Labels,
    /// `metadata.creationTimestamp`.
    pub created: Option<Timestamp>,
    /// `metadata.deletionTimestamp`; set while the DaemonSet is being deleted.
    pub deleted: Option<Timestamp>,
    /// `metadata.finalizers`; with `orphan`, deletion orphans the pods and revisions.
    pub finalizers: Vec<Text>,
    /// `spec.selector`; `None` matches nothing.
    pub selector: Option<LabelSelector>,
    /// `spec.template`.
    pub template: PodTemplate,
    /// `spec.updateStrategy`.
    pub update_strategy: UpdateStrategy,
    /// `spec.minReadySeconds`: the time in seconds that a pod must be ready before it counts as available.
    pub min_ready_seconds: u32,
    /// `spec.revisionHistoryLimit`: the number of old revisions to keep.
    pub revision_history_limit: u32,
    /// `status`.
    pub status: DaemonSetStatus,
}

/// The strategy for replacing outdated pods.
/// <https://kubernetes.io/docs/tasks/manage-daemon/update-daemon-set/>
///
/// ```
/// use daemonplan::model::{IntOrPercent, UpdateStrategy};
/// let (max_unavailable, max_surge) = (IntOrPercent::Int(1), IntOrPercent::Int(0));
/// assert_eq!(UpdateStrategy::default(), UpdateStrategy::RollingUpdate { max_unavailable, max_surge });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpdateStrategy {
    /// Outdated pods run until a user deletes them.
    OnDelete,
    /// Outdated pods are replaced step by step, within these limits.
    RollingUpdate {
        /// The number of nodes that may be without an available pod.
        max_unavailable: IntOrPercent,
        /// The number of nodes that may run an outdated and an updated pod at once. Above 0 the update surges.
        max_surge: IntOrPercent,
    },
}

/// A number of nodes: absolute, or a percentage of the desired number of nodes.
///
/// ```
/// use daemonplan::model::IntOrPercent;
/// assert_eq!("10%".parse(), Ok(IntOrPercent::Percent(10)));
/// assert_eq!("5".parse(), Ok(IntOrPercent::Int(5)));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IntOrPercent {
    /// An absolute number.
    Int(u32),
    /// A percentage; the number of nodes is rounded up.
    Percent(u32),
}

impl DaemonSet {
    /// Returns a DaemonSet whose selector requires `labels` and whose template has them, with the API server's defaults.
    /// It has no uid, as before its creation.
    ///
    /// # Errors
    /// If a key or a value of `labels` is invalid.
    ///
    /// ```
    /// use daemonplan::model::DaemonSet;
    /// let mut daemonset = DaemonSet::new("prod", "agent", [("app", "agent")])?;
    /// daemonset.template = daemonset.template.with_node_selector([("role", "worker")]);
    /// daemonset.min_ready_seconds = 10;
    /// assert!(daemonset.selector.unwrap().matches(daemonset.template.labels()));
    /// # Ok::<(), daemonplan::model::RequirementError>(())
    /// ```
    pub fn new<K: Into<Text>, V: Into<Text>>(
        namespace: impl Into<Text>,
        name: impl Into<Text>,
        labels: impl IntoIterator<Item = (K, V)>,
    ) -> Result<Self, RequirementError> {
        let labels: Labels = labels.into_iter().collect();
        Ok(Self {
            selector: Some(labels.clone().try_into()?),
            template: PodTemplate::default().with_labels(labels),
            ..Self::unselective(namespace, name)
        })
    }

    /// A DaemonSet without a selector, with an empty template.
    pub(crate) fn unselective(namespace: impl Into<Text>, name: impl Into<Text>) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
            uid: Text::default(),
            generation: 0,
            labels: Labels::default(),
            annotations: Labels::default(),
            created: None,
            deleted: None,
            finalizers: Vec::new(),
            selector: None,
            template: PodTemplate::default(),
            update_strategy: UpdateStrategy::default(),
            min_ready_seconds: 0,
            revision_history_limit: DEFAULT_REVISION_HISTORY_LIMIT,
            status: DaemonSetStatus::default(),
        }
    }

    /// Whether the DaemonSet has a deletion timestamp.
    pub fn is_being_deleted(&self) -> bool {
        self.deleted.is_some()
    }

    /// Whether deletion orphans the pods and revisions (the finalizer `orphan`).
    pub fn orphans_dependents(&self) -> bool {
        self.finalizers.iter().any(|finalizer| finalizer == "orphan")
    }

    /// Whether the DaemonSet is being deleted and only other controllers' finalizers keep it: the garbage collector leaves its
    /// dependents alone until it is gone.
    pub(crate) fn waits_for_finalizers(&self) -> bool {
        let is_own = |finalizer: &Text| ["orphan", "foregroundDeletion"].contains(&&**finalizer);
        self.is_being_deleted() && !self.finalizers.is_empty() && !self.finalizers.iter().any(is_own)
    }

    /// Returns the annotation `deprecated.daemonset.template.generation`, if it is an integer.
    pub fn template_generation(&self) -> Option<i64> {
        self.annotations.get(TEMPLATE_GENERATION)?.parse().ok()
    }

    /// Sets the template generation as the API server does when it creates the DaemonSet, unless it has a uid: pods with
    /// the label of the first generation count as up to date, no matter what created them. `PrepareForCreate`, v1.36
    #[cfg(feature = "manifest")]
    pub(crate) fn created(mut self) -> Self {
        if self.uid.is_empty() {
            self.annotations = self.annotations.with(TEMPLATE_GENERATION, "1");
        }
        self
    }

    /// Sets the template generation as the API server does when it updates `before` to `self`.
    ///
    /// A changed template increments the generation.
    pub(crate) fn follow(&mut self, before: &Self, is_changed: bool) {
        if let Some(generation) = before.template_generation() {
            let generation = generation.saturating_add(i64::from(is_changed));
            self.annotations = self.annotations.with(TEMPLATE_GENERATION, generation.to_string());
        }
    }
}

/// The annotation with the template generation.
const TEMPLATE_GENERATION: &str = "deprecated.daemonset.template.generation";

const DEFAULT_REVISION_HISTORY_LIMIT: u32 = 10;

impl UpdateStrategy {
    /// Whether updates surge: a node runs an outdated and an updated pod at once (`maxSurge` is above 0).
    ///
    /// ```
    /// assert!(!daemonplan::model::UpdateStrategy::default().surges());
    /// ```
    pub fn surges(self) -> bool {
        match self {
            Self::OnDelete => false,
            Self::RollingUpdate { max_surge, .. } => max_surge.of(1) > 0,
        }
    }
}

impl Default for UpdateStrategy {
    fn default() -> Self {
        Self::RollingUpdate { max_unavailable: IntOrPercent::Int(1), max_surge: IntOrPercent::Int(0) }
    }
}

impl IntOrPercent {
    /// Returns the number of nodes out of `nodes`; percentages are rounded up.
    ///
    /// ```
    /// use daemonplan::model::IntOrPercent;
    /// assert_eq!(IntOrPercent::Percent(25).of(10), 3);
    /// ```
    pub fn of(self, nodes: usize) -> usize {
        match self {
            Self::Int(count) => usize::try_from(count).unwrap_or(usize::MAX),
            Self::Percent(percent) => {
                let exact = (nodes as u128 * u128::from(percent)).div_ceil(100);
                usize::try_from(exact).unwrap_or(usize::MAX)
            }
        }
    }
}

impl fmt::Display for IntOrPercent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int(count) => write!(f, "{count}"),
            Self::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

impl FromStr for IntOrPercent {
    type Err = InvalidIntOrPercent;

    /// Reads `5` or `10%`.
    fn from_str(text: &str) -> Result<Self, InvalidIntOrPercent> {
        let (digits, is_percentage) = text.strip_suffix('%').map_or((text, false), |digits| (digits, true));
        let are_digits = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
        let count = digits.parse::<i32>().ok().filter(|_| are_digits).ok_or(InvalidIntOrPercent)?.unsigned_abs();
        Ok(if is_percentage { Self::Percent(count) } else { Self::Int(count) })
    }
}

/// The error for a text that is not an [`IntOrPercent`].
///
/// ```
/// use daemonplan::model::{IntOrPercent, InvalidIntOrPercent};
/// assert_eq!("-1".parse::<IntOrPercent>(), Err(InvalidIntOrPercent));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a non-negative integer or a percentage such as \"10%\"")]
pub struct InvalidIntOrPercent;

impl Serialize for IntOrPercent {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Int(count) => serializer.serialize_u32(*count),
            Self::Percent(_) => serializer.collect_str(self),
        }
    }
}

impl<'de> Deserialize<'de> for IntOrPercent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let found = Value::deserialize(deserializer)?;
        let read = match &found {
            Value::Number(number) => number.to_string().parse().ok(),
            Value::String(text) => text.parse().ok().filter(|read| matches!(read, Self::Percent(_))),
            _ => None,
        };
        read.ok_or_else(|| D::Error::custom(format_args!("{InvalidIntOrPercent}, found {found}")))
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct DaemonSetWire {
    #[serde(default)]
    api_version: ApiVersion<DaemonSet>,
    #[serde(default)]
    kind: KindName<DaemonSet>,
    #[serde(default)]
    metadata: Metadata,
    spec: Option<DaemonSetSpecWire>,
    status: Option<DaemonSetStatus>,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct DaemonSetSpecWire {
    #[serde(skip_serializing_if = "Option::is_none")]
    selector: Option<LabelSelector>,
    template: Option<PodTemplate>,
    update_strategy: Option<Strategy>,
    #[serde(skip_serializing_if = "Option::is_none")]
    min_ready_seconds: Option<u32>,
    revision_history_limit: Option<u32>,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Strategy {
    r#type: Option<StrategyType>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rolling_update: Option<RollingUpdate>,
}

#[derive(Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Text")]
enum StrategyType {
    RollingUpdate,
    OnDelete,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RollingUpdate {
    max_unavailable: Option<IntOrPercent>,
    max_surge: Option<IntOrPercent>,
}

impl TryFrom<DaemonSetWire> for DaemonSet {
    type Error = MissingName;

    fn try_from(mut wire: DaemonSetWire) -> Result<Self, MissingName> {
        let name = wire.metadata.take_name()?;
        let namespace = wire.metadata.take_namespace();
        let spec = wire.spec.unwrap_or_default();
        Ok(Self {
            namespace,
            name,
            uid: wire.metadata.uid.unwrap_or_default(),
            generation: wire.metadata.generation.unwrap_or_default(),
            labels: wire.metadata.labels.unwrap_or_default(),
            annotations: wire.metadata.annotations.unwrap_or_default(),
            created: wire.metadata.creation_timestamp,
            deleted: wire.metadata.deletion_timestamp,
            finalizers: wire.metadata.finalizers.unwrap_or_default(),
            selector: spec.selector,
            template: spec.template.unwrap_or_default(),
            update_strategy: spec.update_strategy.unwrap_or_default().into(),
            min_ready_seconds: spec.min_ready_seconds.unwrap_or_default(),
            revision_history_limit: spec.revision_history_limit.unwrap_or(DEFAULT_REVISION_HISTORY_LIMIT),
            status: wire.status.unwrap_or_default(),
        })
    }
}

impl TryFrom<Text> for StrategyType {
    type Error = String;

    fn try_from(text: Text) -> Result<Self, String> {
        match &*text {
            "" | "RollingUpdate" => Ok(Self::RollingUpdate),
            "OnDelete" => Ok(Self::OnDelete),
            _ => Err(format!("expected RollingUpdate or OnDelete, found {text:?}")),
        }
    }
}

impl From<Strategy> for UpdateStrategy {
    fn from(strategy: Strategy) -> Self {
        if strategy.r#type == Some(StrategyType::OnDelete) {
            return Self::OnDelete;
        }
        let bounds = strategy.rolling_update.unwrap_or_default();
        Self::RollingUpdate {
            max_unavailable: bounds.max_unavailable.unwrap_or(IntOrPercent::Int(1)),
            max_surge: bounds.max_surge.unwrap_or(IntOrPercent::Int(0)),
        }
    }
}

impl From<UpdateStrategy> for Strategy {
    fn from(strategy: UpdateStrategy) -> Self {
        match strategy {
            UpdateStrategy::OnDelete => Self { r#type: Some(StrategyType::OnDelete), rolling_update: None },
            UpdateStrategy::RollingUpdate { max_unavailable, max_surge } => Self {
                r#type: Some(StrategyType::RollingUpdate),
                rolling_update: Some(RollingUpdate {
                    max_unavailable: Some(max_unavailable),
                    max_surge: Some(max_surge),
                }),
            },
        }
    }
}

impl From<DaemonSet> for DaemonSetWire {
    fn from(daemonset: DaemonSet) -> Self {
        Self {
            api_version: ApiVersion::default(),
            kind: KindName::default(),
            metadata: Metadata {
                name: Some(daemonset.name),
                namespace: Some(daemonset.namespace),
                uid: unless_default(daemonset.uid),
                generation: unless_default(daemonset.generation),
                labels: unless_default(daemonset.labels),
                annotations: unless_default(daemonset.annotations),
                creation_timestamp: daemonset.created,
                deletion_timestamp: daemonset.deleted,
                finalizers: unless_default(daemonset.finalizers),
                ..Metadata::default()
            },
            spec: Some(DaemonSetSpecWire {
                selector: daemonset.selector,
                template: Some(daemonset.template),
                update_strategy: Some(daemonset.update_strategy.into()),
                min_ready_seconds: unless_default(daemonset.min_ready_seconds),
                revision_history_limit: Some(daemonset.revision_history_limit),
            }),
            status: Some(daemonset.status),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::IntOrPercent::{self, Int, Percent};

    #[test]
    fn a_number_of_nodes_is_a_non_negative_integer_or_a_percentage() {
        for (text, expected) in [("0", Int(0)), ("7", Int(7)), (r#""0%""#, Percent(0)), (r#""150%""#, Percent(150))] {
            assert_eq!(serde_json::from_str::<IntOrPercent>(text).unwrap(), expected);
        }
        for text in ["-1", "1.5", r#""5""#, r#""-5%""#, r#""+5%""#, r#""5.5%""#, r#""%""#, "true", "99999999999"] {
            assert!(serde_json::from_str::<IntOrPercent>(text).is_err(), "{text}");
        }
    }

    #[test]
    fn percentages_round_up_and_never_overflow() {
        assert_eq!(Percent(1).of(1), 1);
        assert_eq!(Percent(0).of(10), 0);
        assert_eq!(Percent(34).of(3), 2);
        assert_eq!(Percent(u32::MAX).of(usize::MAX), usize::MAX);
    }
}
