//! What several pages have in common.

use std::{fmt::Display, time::Duration};

use daemonplan::model::DaemonSet;
use maud::{Markup, html};

/// The maximum number of names and waves shown.
pub(super) const SHOWN: usize = 12;

/// A state: its class in the style sheet, and its name.
pub(super) type Badge = (&'static str, &'static str);

/// All states, as [`state_of`] returns them.
pub(super) const STATES: [Badge; 5] = [
    ("bad", "unavailable"),
    ("warn", "rolling out"),
    ("warn", "not observed yet"),
    ("warn", "being deleted"),
    ("done", "up to date"),
];

pub(super) fn state_of(daemonset: &DaemonSet) -> Badge {
    let [unavailable, rolling_out, not_observed, being_deleted, up_to_date] = STATES;
    let status = &daemonset.status;
    if daemonset.is_being_deleted() {
        being_deleted
    } else if status.observed_generation < daemonset.generation {
        not_observed
    } else if status.updated_number_scheduled < status.desired_number_scheduled {
        rolling_out
    } else if status.number_available < status.desired_number_scheduled {
        unavailable
    } else {
        up_to_date
    }
}

pub(super) fn badge((class, text): Badge) -> Markup {
    html! { span class={ "badge " (class) } { (text) } }
}

pub(super) fn node_link(path: &str, node: &str) -> Markup {
    html! { a href={ (path) "?node=" (node) } { (node) } }
}

pub(super) fn path(namespace: &str, name: &str) -> String {
    format!("/daemonsets/{namespace}/{name}")
}

pub(super) fn more(all: usize) -> Markup {
    html! { @if all > SHOWN { p class="quiet" { "… and " (all - SHOWN) " more" } } }
}

pub(super) fn count(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// Formats `text` with a capital letter and a full stop.
pub(super) fn sentence(text: &impl Display) -> String {
    let text = text.to_string();
    let mut letters = text.chars();
    let first = letters.next().into_iter().flat_map(char::to_uppercase);
    first.chain(letters).chain(['.']).collect()
}

/// Formats a duration in whole seconds, rounded up.
pub(super) fn span(time: Duration) -> String {
    let seconds = time.as_secs() + u64::from(time.subsec_nanos() > 0);
    format!("{:#}", jiff::SignedDuration::from_secs(seconds.try_into().unwrap_or(i64::MAX)))
}
