//! Policies that no controller reads: misspelt in the prefix, or in a place where only Kubernetes looks.

use std::fmt;

use serde_json::{Map, Value};

use super::RolloutPolicy;
use crate::{
    model::{DaemonSet, Labels, Text},
    util::distance::distance,
};

/// What looks like a policy but is none, as its prefix is misspelt, or as it is not an annotation of the DaemonSet.
///
/// ```
/// use daemonplan::{model::{DaemonSet, Labels}, policy::MisplacedPolicy};
/// let mut daemonset = DaemonSet::new("prod", "agent", [("app", "agent")])?;
/// daemonset.labels = Labels::from([("Daemonplan/paused", "true")]);
/// let misplaced: Vec<_> = MisplacedPolicy::all(&daemonset, "daemonplan/").collect();
/// assert_eq!(misplaced[0].to_string(), "the label Daemonplan/paused of the DaemonSet");
/// assert_eq!(misplaced[0].meant, "daemonplan/paused");
/// # Ok::<(), daemonplan::model::RequirementError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MisplacedPolicy {
    /// Where it is.
    pub place: PolicyPlace,
    /// Its key.
    pub key: Text,
    /// The annotation of the DaemonSet that was probably meant.
    pub meant: Text,
}

/// A place where people put policies.
///
/// ```
/// use daemonplan::policy::PolicyPlace;
/// assert_eq!(PolicyPlace::TemplateAnnotation.field("daemonplan/paused"), "spec.template.metadata.annotations[daemonplan/paused]");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PolicyPlace {
    /// An annotation of the DaemonSet: the right place.
    Annotation,
    /// A label of the DaemonSet.
    Label,
    /// An annotation of the template, which only pods get.
    TemplateAnnotation,
    /// A label of the template.
    TemplateLabel,
}

impl PolicyPlace {
    /// Returns the path of the field.
    pub fn field(self, key: &str) -> String {
        let map = match self {
            Self::Annotation => "metadata.annotations",
            Self::Label => "metadata.labels",
            Self::TemplateAnnotation => "spec.template.metadata.annotations",
            Self::TemplateLabel => "spec.template.metadata.labels",
        };
        format!("{map}[{key}]")
    }
}

impl MisplacedPolicy {
    /// Says what to do about it.
    pub(crate) fn advice(&self) -> String {
        format!("{self} has no effect: as a policy it would be the annotation {} of the DaemonSet", self.meant)
    }

    /// Returns what looks like a policy of the DaemonSet under `prefix` but is none.
    pub fn all<'a>(daemonset: &'a DaemonSet, prefix: &'a str) -> impl Iterator<Item = Self> + 'a {
        let labels = |place, pairs: &'a Labels| pairs.iter().map(move |(key, _)| (place, key.as_str()));
        let in_template = daemonset.template.json().get("metadata").and_then(|metadata| metadata.get("annotations"));
        let in_template = in_template.and_then(Value::as_object).into_iter().flat_map(Map::keys);
        let keys = labels(PolicyPlace::Annotation, &daemonset.annotations)
            .chain(labels(PolicyPlace::Label, &daemonset.labels))
            .chain(in_template.map(|key| (PolicyPlace::TemplateAnnotation, key.as_str())))
            .chain(labels(PolicyPlace::TemplateLabel, daemonset.template.labels()));
        keys.filter_map(|(place, key)| {
            let meant = meant(key, prefix, place)?;
            Some(Self { place, key: key.into(), meant: meant.into() })
        })
    }
}

/// The policy that a key probably means, unless it is in its place.
fn meant(key: &str, prefix: &str, place: PolicyPlace) -> Option<String> {
    if key.starts_with(prefix) {
        return (place != PolicyPlace::Annotation).then(|| key.to_owned());
    }
    let known = |name: &str| RolloutPolicy::NAMES.iter().find(|known| letters(known).eq(letters(name)));
    let Some((domain, name)) = key.rsplit_once('/') else {
        // Such as `daemonplan.paused`.
        let mut rest = letters(key);
        let is_near = letters(prefix).all(|letter| rest.next() == Some(letter));
        let name = known(&rest.filter(|_| is_near).collect::<String>())?;
        return Some(format!("{prefix}{name}"));
    };
    if letters(domain).eq(letters(prefix)) {
        return Some(format!("{prefix}{}", known(name).unwrap_or(&name)));
    }
    // Another domain under the prefix, such as `daemonplan.io`, may belong to others, but not with one of these names.
    let name = known(name)?;
    let (domain, wanted): (String, String) = (letters(domain).collect(), letters(prefix).collect());
    let is_near = domain.starts_with(&wanted) || distance(&domain, &wanted) <= 2;
    is_near.then(|| format!("{prefix}{name}"))
}

/// The letters and digits of a text, in lower case.
fn letters(text: &str) -> impl Iterator<Item = char> {
    text.chars().filter(char::is_ascii_alphanumeric).map(|letter| letter.to_ascii_lowercase())
}

impl fmt::Display for MisplacedPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, whose) = match self.place {
            PolicyPlace::Annotation => ("annotation", "DaemonSet"),
            PolicyPlace::Label => ("label", "DaemonSet"),
            PolicyPlace::TemplateAnnotation => ("annotation", "template"),
            PolicyPlace::TemplateLabel => ("label", "template"),
        };
        write!(f, "the {what} {} of the {whose}", self.key)
    }
}
