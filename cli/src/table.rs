//! The plans of many DaemonSets as a table, and as names.

use std::io::{self, Write};

use super::{
    output::daemonset_name,
    report::Planned,
    style::{BOLD, DIM, plural},
};

/// Whether a plan says something: an action, or a warning.
pub(super) fn has_news((_, plan): &Planned<'_>) -> bool {
    !plan.actions.is_empty() || !plan.unsupported.is_empty() || !plan.warnings.is_empty()
}

/// Writes the names of DaemonSets with actions, one on each line, as this program takes them.
pub(super) fn names(out: &mut impl Write, plans: &[Planned<'_>]) -> io::Result<()> {
    for (snapshot, _) in plans.iter().filter(|(_, plan)| !plan.actions.is_empty()) {
        writeln!(out, "{}", daemonset_name(snapshot.daemonset()))?;
    }
    out.flush()
}

/// Writes a line for each DaemonSet: all, or those whose plan says something and the number of the others.
pub(super) fn write(out: &mut impl Write, plans: &[Planned<'_>], all: bool) -> io::Result<()> {
    const HEAD: [&str; 8] =
        ["DAEMONSET", "DESIRED", "CURRENT", "UP-TO-DATE", "AVAILABLE", "CREATE", "DELETE", "WARNINGS"];
    let shown: Vec<_> = plans.iter().filter(|plan| all || has_news(plan)).collect();
    let width =
        shown.iter().map(|(snapshot, _)| daemonset_name(snapshot.daemonset()).chars().count()).max().unwrap_or(0);
    let width = width.max(HEAD[0].len());
    let [first, others @ ..] = HEAD;
    write!(out, "{BOLD}{first:width$}")?;
    others.iter().try_for_each(|head| write!(out, "  {head:>10}"))?;
    writeln!(out, "{BOLD:#}")?;
    for (snapshot, plan) in &shown {
        write!(out, "{:width$}", daemonset_name(snapshot.daemonset()))?;
        let counts = plan.status.as_ref().map(|status| {
            [
                status.desired_number_scheduled,
                status.current_number_scheduled,
                status.updated_number_scheduled,
                status.number_available,
            ]
        });
        for place in 0..4 {
            let count = counts.and_then(|counts| counts.get(place).copied());
            write!(out, "  {:>10}", count.map_or("?".to_owned(), |count| count.to_string()))?;
        }
        let of = |code: &str| plan.actions.iter().filter(|action| action.code() == code).count();
        for count in [of("CreatePod"), of("DeletePod"), plan.warnings.len()] {
            write!(out, "  {:>10}", if count == 0 { "-".to_owned() } else { count.to_string() })?;
        }
        writeln!(out)?;
    }
    let hidden = plans.len() - shown.len();
    if hidden > 0 {
        writeln!(out, "{DIM}… and {} with nothing to do (--all){DIM:#}", plural(hidden, "DaemonSet"))?;
    }
    out.flush()
}
