use serde::{Deserialize, Serialize};

use super::resources::or_default;
use crate::model::{LabelSelector, Labels, Operator, Requirement, Text};

/// A required term of a pod's affinity or anti-affinity to other pods.
/// <https://kubernetes.io/docs/concepts/scheduling-eviction/assign-pod-node/#inter-pod-affinity-and-anti-affinity>
///
/// ```
/// use daemonplan::model::PodAffinityTerm;
/// let term: PodAffinityTerm = serde_json::from_str(r#"{"topologyKey": "kubernetes.io/hostname"}"#)?;
/// assert_eq!(term.selector, None); // selects no pods
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct PodAffinityTerm {
    /// `labelSelector`: the pods that count; none if it is missing.
    #[serde(rename = "labelSelector", default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,
    /// `namespaces`: where these pods are. The pod's own namespace if there is no `namespace_selector` either.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub namespaces: Vec<Text>,
    /// `namespaceSelector`: more namespaces where these pods are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace_selector: Option<LabelSelector>,
    /// `topologyKey`: the label whose value the nodes of both pods share, or must not share.
    #[serde(default)]
    pub topology_key: Text,
    /// `matchLabelKeys`. The API server has merged them into `selector` when a pod was created.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub match_label_keys: Vec<Text>,
    /// `mismatchLabelKeys`. The API server has merged them into `selector` when a pod was created.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub mismatch_label_keys: Vec<Text>,
}

/// A preferred term of a pod's affinity or anti-affinity to other pods. It keeps the pod off no node, but ResourceQuotas look at
/// its namespaces.
///
/// ```
/// use daemonplan::model::WeightedPodAffinityTerm;
/// let text = r#"{"weight": 10, "podAffinityTerm": {"topologyKey": "zone"}}"#;
/// let preferred: WeightedPodAffinityTerm = serde_json::from_str(text)?;
/// assert_eq!((preferred.weight, &*preferred.term.topology_key), (10, "zone"));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub struct WeightedPodAffinityTerm {
    /// `weight`: how much the term counts.
    #[serde(default)]
    pub weight: i32,
    /// `podAffinityTerm`: the term.
    #[serde(rename = "podAffinityTerm", default, deserialize_with = "or_default")]
    pub term: PodAffinityTerm,
}

/// A constraint on how pods spread over the values of a node label.
/// <https://kubernetes.io/docs/concepts/scheduling-eviction/topology-spread-constraints/>
///
/// ```
/// use daemonplan::model::TopologySpreadConstraint;
/// let text = r#"{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}"#;
/// let constraint: TopologySpreadConstraint = serde_json::from_str(text)?;
/// assert_eq!((constraint.max_skew, constraint.min_domains), (1, 1));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct TopologySpreadConstraint {
    /// `maxSkew`: the largest allowed difference of the numbers of pods.
    #[serde(default)]
    pub max_skew: i32,
    /// `topologyKey`: the label.
    #[serde(default)]
    pub topology_key: Text,
    /// `labelSelector`: the pods that count; none if it is missing.
    #[serde(rename = "labelSelector", default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,
    /// `minDomains`: with fewer values of the label, the smallest number of pods counts as 0.
    #[serde(default = "one", deserialize_with = "or_one")]
    pub min_domains: i32,
    /// Whether nodes count that the pod's own node affinity excludes: `nodeAffinityPolicy` is `Ignore`.
    #[serde(rename = "nodeAffinityPolicy", default, with = "ignore_by_choice")]
    pub counts_excluded_nodes: bool,
    /// Whether nodes with taints that the pod does not tolerate are left out: `nodeTaintsPolicy` is `Honor`.
    #[serde(rename = "nodeTaintsPolicy", default, with = "honor_by_choice")]
    pub omits_tainted_nodes: bool,
    /// Whether the constraint is required: `whenUnsatisfiable` is not `ScheduleAnyway`.
    #[serde(rename = "whenUnsatisfiable", default = "yes", with = "required")]
    pub(super) is_required: bool,
    /// `matchLabelKeys`. The API server has merged them into `selector` when a pod was created.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub match_label_keys: Vec<Text>,
}

impl PodAffinityTerm {
    /// Merges `matchLabelKeys` and `mismatchLabelKeys` into the selector, as the API server does for a new pod with these
    /// labels.
    pub(crate) fn merge_label_keys(&mut self, labels: &Labels) {
        let (keys, others) =
            (std::mem::take(&mut self.match_label_keys), std::mem::take(&mut self.mismatch_label_keys));
        merge(&mut self.selector, labels, &keys, Operator::In);
        merge(&mut self.selector, labels, &others, Operator::NotIn);
    }
}

impl TopologySpreadConstraint {
    /// Merges `matchLabelKeys` into the selector, as the API server does for a new pod with these labels.
    pub(crate) fn merge_label_keys(&mut self, labels: &Labels) {
        let keys = std::mem::take(&mut self.match_label_keys);
        merge(&mut self.selector, labels, &keys, Operator::In);
    }
}

/// Requires the values that `labels` have for `keys`. Keys without a value are ignored.
fn merge(selector: &mut Option<LabelSelector>, labels: &Labels, keys: &[Text], operator: fn(Vec<Text>) -> Operator) {
    let Some(own) = selector else { return };
    let more = keys.iter().filter_map(|key| {
        let value = labels.get_text(key)?.clone();
        Requirement::new(key.clone(), operator(vec![value])).ok()
    });
    if let Ok(merged) = own.and(more) {
        *own = merged;
    }
}

fn one() -> i32 {
    1
}

fn yes() -> bool {
    true
}

fn or_one<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<i32, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or(1))
}

/// A flag that Kubernetes writes as one of two words.
macro_rules! words {
    ($($module:ident: $yes:literal, $no:literal, $default:literal;)+) => {
        $(mod $module {
            use serde::{Deserialize, Deserializer, Serializer};

            use crate::model::Text;

            // The signature is that of serde's `with`.
            #[allow(clippy::trivially_copy_pass_by_ref)]
            pub(super) fn serialize<S: Serializer>(flag: &bool, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(if *flag { $yes } else { $no })
            }

            pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
                let text = Option::<Text>::deserialize(deserializer)?.unwrap_or_default();
                Ok(if $default { text != $no } else { text == $yes })
            }
        })+
    };
}

words! {
    ignore_by_choice: "Ignore", "Honor", false;
    honor_by_choice: "Honor", "Ignore", false;
    required: "DoNotSchedule", "ScheduleAnyway", true;
}
