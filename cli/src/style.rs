//! How things are said and shown, the same in every output.

use std::time::Duration;

use anstyle::{AnsiColor, Style};
use jiff::SignedDuration;

pub(super) const BOLD: Style = Style::new().bold();
pub(super) const DIM: Style = Style::new().dimmed();
pub(super) const WARN: Style = AnsiColor::Yellow.on_default();

/// So many lines that say the same for the same reason are shown, more are summed up.
pub(super) const SHOWN: usize = 8;

/// The colour of what is gained (+), lost (-) or changed.
pub(super) fn style(sign: char) -> Style {
    match sign {
        '+' => AnsiColor::Green.on_default(),
        '-' => AnsiColor::Red.on_default(),
        _ => AnsiColor::Cyan.on_default(),
    }
}

/// How many of so many lines that say the same are shown. One more is not summed up: that would be a line, too.
pub(super) fn shown_of(count: usize, all: bool) -> usize {
    if all || count <= SHOWN + 1 { count } else { SHOWN }
}

/// The first few names, or all.
pub(super) fn names(all_names: &[String], all: bool) -> String {
    first_names(all_names, if all || all_names.len() <= SHOWN { all_names.len() } else { SHOWN })
}

/// So many names, and how many more there are.
pub(super) fn first_names(all_names: &[String], shown: usize) -> String {
    let names: Vec<_> = all_names.iter().take(shown).map(String::as_str).collect();
    let more = match all_names.len().saturating_sub(shown) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("{}{more}", names.join(", "))
}

pub(super) fn plural(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// A time span in whole seconds, rounded up so that nobody looks too early.
pub(super) fn span(after: Duration) -> String {
    let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
    format!("{:#}", SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX)))
}
