//! The page of all DaemonSets, with a search.

use daemonplan::{Key, model::Resource};
use maud::{Markup, html};
use serde::Deserialize;

use super::{
    live::Page,
    parts::{STATES, badge, path, state_of},
};
use crate::state::State;

/// Which DaemonSets to show.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Filter {
    /// A part of `NAMESPACE/NAME`, whatever the case.
    #[serde(default)]
    q: String,
    /// The state; empty for all.
    #[serde(default)]
    state: String,
}

impl Filter {
    fn has(&self, key: &Key, state: &str) -> bool {
        let name = format!("{}/{}", key.namespace, key.name).to_lowercase();
        let is_found = self.q.to_lowercase().split_whitespace().all(|part| name.contains(part));
        is_found && (self.state.is_empty() || self.state == state)
    }
}

pub(super) fn list(state: &State, filter: &Filter) -> Page {
    let all = state.daemonsets().count();
    let mut shown: Vec<_> =
        state.daemonsets().map(|daemonset| (daemonset.key(), state_of(daemonset), daemonset)).collect();
    shown.retain(|(key, (_, name), _)| filter.has(key, name));
    shown.sort_by(|(a, ..), (b, ..)| a.cmp(b));
    let scope = state.scope().to_string();
    let live = html! {
        @if !scope.is_empty() { p class="quiet" { "Only " (scope) "." } }
        @if !state.is_complete() { p class="warn" { "Not all objects are listed yet." } }
        @if all == 0 { p class="quiet" { "No DaemonSets." } } @else {
            p class="quiet" role="status" {
                @if shown.len() < all { (shown.len()) " of " } (all) " DaemonSet" @if all != 1 { "s" }
            }
        }
        @if !shown.is_empty() {
            div class="wide" { table class="cards" {
                thead { tr {
                    th { "DaemonSet" } th { "State" }
                    th class="number" { "Desired" } th class="number" { "Ready" } th class="number" { "Available" }
                    th class="number" { "Updated" } th class="number" { "Misscheduled" }
                } }
                tbody { @for (key, state, daemonset) in &shown { @let status = &daemonset.status; tr {
                    td { a href=(path(&key.namespace, &key.name)) { (key.namespace) "/" wbr; (key.name) } }
                    td { (badge(*state)) }
                    (number("Desired", status.desired_number_scheduled))
                    (number("Ready", status.number_ready))
                    (number("Available", status.number_available))
                    (number("Updated", status.updated_number_scheduled))
                    (number("Misscheduled", status.number_misscheduled))
                } } }
            } }
        }
    };
    Page { title: "DaemonSets".to_owned(), top: top(filter), live }
}

/// A cell, which says its column's name where a narrow screen has no columns.
fn number(column: &str, count: i32) -> Markup {
    html! { td class="number" data-column=(column) { (count) } }
}

fn top(filter: &Filter) -> Markup {
    html! {
        h1 { "DaemonSets" }
        form id="search" role="search" {
            label {
                "Search"
                input id="q" type="search" name="q" value=(filter.q) placeholder="namespace/name" autocomplete="off";
            }
            label {
                "State"
                select id="state" name="state" {
                    option value="" { "all" }
                    @for (_, state) in STATES { option selected[state == filter.state] { (state) } }
                }
            }
            noscript { button { "Show" } }
            kbd class="quiet" title="Press / to search, Escape to show all" { "/" }
        }
    }
}
