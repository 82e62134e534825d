//! The page of a node: every rule, and its pods.

use daemonplan::{explain::NodeExplanation, model::DaemonSet};
use maud::{Markup, html};

use super::{
    live::Page,
    parts::{path, sentence},
};

/// Renders one node with its rules and pods.
pub(super) fn one_node(daemonset: &DaemonSet, node: &NodeExplanation) -> Page {
    let path = path(&daemonset.namespace, &daemonset.name);
    let top = html! {
        nav { a href="/" { "DaemonSets" } " › " a href=(path) { (daemonset.namespace) "/" wbr; (daemonset.name) } }
        h1 { (node.node) }
    };
    let live = html! {
        p { (sentence(node)) }
        section {
            h2 { "Rules" }
            table class="rules" { tbody { @for check in &node.checks { tr {
                td { @if check.failure.is_some() { span class="bad" { "✗" } } @else { span class="done" { "✓" } } }
                td { (check.rule) }
                td class="names" { @if let Some(failure) = &check.failure { (failure) } }
            } } } }
            @if !node.remedies.is_empty() {
                h3 { "Changes that would allow a pod here" }
                ul { @for remedy in &node.remedies { li { (remedy) } } }
            }
        }
        @let waiting = waiting(node);
        @if !waiting.0.is_empty() { section { h2 { "Scheduling" } (waiting) } }
        @if !node.pods.is_empty() { section {
            h2 { "Pods" }
            ul { @for pod in &node.pods { li {
                (pod.pod) ": " (pod.state)
                @if let Some(number) = pod.revision.number { ", revision " (number) }
                @if pod.revision.is_current == Some(false) { ", outdated" }
                @if let Some(deletion) = &pod.deletion { ", to be deleted: " (deletion) }
            } } }
        } }
    };
    Page { title: format!("{} on {}", daemonset.name, node.node), top, live }
}

/// Says why pods of a node are Pending, and what would help.
pub(super) fn waiting(node: &NodeExplanation) -> Markup {
    let pods = node.pods.iter().filter(|pod| pod.deletion.is_none()).filter_map(|pod| pod.scheduling.as_ref());
    html! {
        @for scheduling in pods.chain(node.new_pod.as_ref()) {
            @let feasibility = &scheduling.feasibility;
            @let causes = scheduling.causes();
            @if !causes.is_empty() || !feasibility.unknown.is_empty() { ul class="waiting" {
                @for cause in causes { li { span class="bad" { "✗ " } (cause) } }
                @if let Some(preemption) = &feasibility.preemption { li { (preemption) } }
                @for help in scheduling.help() { li { "→ " (help) } }
                @for unknown in &feasibility.unknown { li class="warn" { "Not known: " (unknown) } }
            } }
        }
    }
}
