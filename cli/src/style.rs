//! Styles and text helpers that all commands share.

use std::{collections::BTreeSet, time::Duration};

use anstyle::{AnsiColor, Style};
use daemonplan::MissingFact;
use jiff::SignedDuration;

pub(super) const BOLD: Style = Style::new().bold();
pub(super) const DIM: Style = Style::new().dimmed();
pub(super) const WARN: Style = AnsiColor::Yellow.on_default();
pub(super) const GOOD: Style = AnsiColor::Green.on_default();
pub(super) const BAD: Style = AnsiColor::Red.on_default();

/// The number of similar lines to show; the others are summarized.
pub(super) const SHOWN: usize = 8;

/// The colour of added (+), removed (-) and changed lines.
pub(super) fn style(sign: char) -> Style {
    match sign {
        '+' => AnsiColor::Green.on_default(),
        '-' => AnsiColor::Red.on_default(),
        _ => AnsiColor::Cyan.on_default(),
    }
}

/// Returns how many of `count` similar lines to show. A single surplus line is shown, since its summary is a line, too.
pub(super) fn shown_of(count: usize, all: bool) -> usize {
    if all || count <= SHOWN + 1 { count } else { SHOWN }
}

/// Lists the first few names, or all.
pub(super) fn names(all_names: &[String], all: bool) -> String {
    first_names(all_names, if all || all_names.len() <= SHOWN { all_names.len() } else { SHOWN })
}

/// Lists the first `shown` names, and the number of the others.
pub(super) fn first_names(all_names: &[String], shown: usize) -> String {
    let names: Vec<_> = all_names.iter().take(shown).map(String::as_str).collect();
    let more = match all_names.len().saturating_sub(shown) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("{}{more}", names.join(", "))
}

/// Lists what an input lacks, such as "no nodes, no pods and no namespace".
pub(super) fn lacking(facts: &BTreeSet<MissingFact>) -> String {
    listed(&facts.iter().map(|fact| format!("no {fact}")).collect::<Vec<_>>())
}

/// Lists words, such as "the pods, the nodes and the namespace".
pub(super) fn listed(words: &[String]) -> String {
    match words.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} and {last}", others.join(", ")),
        None => String::new(),
    }
}

/// Suggests the known name that is most like one that is not known, as "; did you mean …?".
pub(super) fn did_you_mean<'n>(unknown: &str, known: impl Iterator<Item = &'n str>) -> String {
    const LEAST: f64 = 0.75;
    let similar = known.map(|name| (strsim::jaro_winkler(&unknown.to_lowercase(), &name.to_lowercase()), name));
    let best = similar.filter(|(score, _)| *score > LEAST).max_by(|(a, _), (b, _)| a.total_cmp(b));
    best.map(|(_, name)| format!("; did you mean {name}?")).unwrap_or_default()
}

pub(super) fn plural(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// Formats a time span in whole seconds, rounded up so that nothing is retried too early.
pub(super) fn span(after: Duration) -> String {
    let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
    format!("{:#}", SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX)))
}
