//! The plugins of OpenShift that add the node selector of a namespace or a project.

use super::{AdmissionChange, AdmissionRefusal, AdmissionStage, AdmissionStatus, Admitted, Checked, PodAdmission};
use crate::model::{
    Labels, Text,
    well_known::{NODE_SELECTOR_ANNOTATION, PROJECT_NODE_SELECTOR_ANNOTATION},
};

const BY_NAMESPACE: &str = "PodNodeSelector";
const BY_PROJECT: &str = "scheduling.openshift.io/OriginPodNodeEnvironment";

/// Adds the node selector of the namespace's annotation `scheduler.alpha.kubernetes.io/node-selector`.
pub(super) fn mutate_by_namespace(admission: &PodAdmission<'_>, admitted: &mut Admitted) -> Checked {
    let Some(text) = admission.namespace.annotations.get(NODE_SELECTOR_ANNOTATION) else { return Ok(()) };
    let labels = read_pairs(text).map_err(|problem| failed(BY_NAMESPACE, problem))?;
    add(BY_NAMESPACE, "namespace", labels, admitted)
}

/// Adds the node selector of the project, or the default one. A namespace with the annotation of Kubernetes has none.
pub(super) fn mutate_by_project(admission: &PodAdmission<'_>, default: &str, admitted: &mut Admitted) -> Checked {
    let annotations = &admission.namespace.annotations;
    if annotations.contains_key(NODE_SELECTOR_ANNOTATION) {
        return Ok(());
    }
    let text = annotations.get(PROJECT_NODE_SELECTOR_ANNOTATION).unwrap_or(default);
    let labels = read_selector(text).map_err(|problem| failed(BY_PROJECT, problem))?;
    add(BY_PROJECT, "project", labels, admitted)
}

/// The plugin itself fails, so that the API server answers with an internal error.
fn failed(plugin: &'static str, problem: String) -> AdmissionRefusal {
    let (stage, status) = (AdmissionStage::Mutating, AdmissionStatus::InternalError);
    AdmissionRefusal { plugin, stage, status, reasons: vec![problem] }
}

fn add(plugin: &'static str, whose: &str, labels: Vec<(Text, Text)>, admitted: &mut Admitted) -> Checked {
    let own = &mut admitted.spec.node_selector;
    if labels.iter().any(|(key, value)| own.get_text(key).is_some_and(|own| own != value)) {
        let reason = format!("pod node label selector conflicts with its {whose} node label selector");
        let (stage, status) = (AdmissionStage::Mutating, AdmissionStatus::ForbiddenWithoutName);
        return Err(AdmissionRefusal { plugin, stage, status, reasons: vec![reason] });
    }
    let new: Vec<_> = labels.into_iter().filter(|(key, _)| !own.contains_key(key)).collect();
    if !new.is_empty() {
        let labels = new.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",");
        admitted.changes.push(AdmissionChange::NodeSelector { plugin, labels });
        *own = own.iter().map(|(key, value)| (key.clone(), value.clone())).chain(new).collect::<Labels>();
    }
    Ok(())
}

/// Reads `key=value` pairs, as the plugin of Kubernetes does.
fn read_pairs(text: &str) -> Result<Vec<(Text, Text)>, String> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let pair = |pair: &str| match pair.split('=').collect::<Vec<_>>().as_slice() {
        [key, value] => Ok((Text::from(key.trim()), Text::from(value.trim()))),
        parts => Err(format!("invalid selector: [{}]", parts.join(" "))),
    };
    text.split(',').map(pair).collect()
}

/// Reads `key=value` pairs, as the plugin of OpenShift does: with spaces, and one equals sign.
fn read_selector(text: &str) -> Result<Vec<(Text, Text)>, String> {
    let mut words = words(text).into_iter().peekable();
    let mut pairs = Vec::new();
    while let Some(key) = words.next() {
        let expected = |found: Option<&str>, expected: &str| {
            let found = found.unwrap_or_default();
            format!("unable to parse requirement: found '{found}', expected: {expected}")
        };
        match words.next() {
            Some("=") => {}
            other => return Err(expected(other, "'='")),
        }
        let value = words.next_if(|word| *word != ",").unwrap_or_default();
        pairs.push((key.into(), value.into()));
        match words.next() {
            None | Some(",") => {}
            other => return Err(expected(other, "',' or 'end of string'")),
        }
    }
    Ok(pairs)
}

/// Splits a selector into words, `=` and `,`.
fn words(text: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let end = match first {
            '=' | ',' => 1,
            _ => rest.find(|c: char| c.is_whitespace() || "=,".contains(c)).unwrap_or(rest.len()),
        };
        let (word, after) = rest.split_at(end);
        words.push(word);
        rest = after.trim_start();
    }
    words
}
