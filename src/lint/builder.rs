//! Helpers that build findings.

use super::{Finding, Lint};
use crate::{
    model::{Key, Text},
    planner::Snapshot,
};

/// Starts a finding about a field, still without a message and a fix.
pub(super) fn found(snapshot: &Snapshot<'_>, lint: Lint, field: impl Into<String>) -> Finding {
    let daemonset = snapshot.daemonset;
    Finding {
        lint,
        severity: lint.severity(),
        daemon_set: Key::new(daemonset.namespace.clone(), daemonset.name.clone()),
        kind: "DaemonSet",
        field: field.into(),
        message: String::new(),
        fix: String::new(),
        nodes: Vec::new(),
    }
}

impl Finding {
    pub(super) fn with_message(self, message: impl Into<String>) -> Self {
        Self { message: message.into(), ..self }
    }

    pub(super) fn with_fix(self, fix: impl Into<String>) -> Self {
        Self { fix: fix.into(), ..self }
    }

    /// Moves the finding from the DaemonSet to its namespace.
    pub(super) fn in_namespace(self) -> Self {
        Self { kind: "Namespace", ..self }
    }

    pub(super) fn on_nodes(self, nodes: Vec<Text>) -> Self {
        Self { nodes, ..self }
    }
}

pub(super) fn count(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// Lists the first few names, and the number of the others.
pub(super) fn first_few<'t>(names: impl IntoIterator<Item = &'t Text>) -> String {
    const SHOWN: usize = 3;
    let names: Vec<_> = names.into_iter().map(Text::as_str).collect();
    let more = names.len().saturating_sub(SHOWN);
    let shown = names.into_iter().take(SHOWN).collect::<Vec<_>>().join(", ");
    if more > 0 { format!("{shown} and {more} more") } else { shown }
}
