//! `daemonplan lint`: dangerous configurations, for people, for programs, and for code scanners (SARIF).

use std::{
    collections::BTreeSet,
    io::{self, Write},
    process::ExitCode,
};

use anstyle::{AnsiColor, Style};
use clap::{
    Args, ValueEnum,
    builder::{PossibleValuesParser, TypedValueParser},
};
use daemonplan::{
    Key, MissingFact, Resource as _, Snapshot,
    lint::{Finding, Lint, Severity, lint_manifest, lint_selected},
};
use indexmap::IndexMap;

use super::{
    Failure,
    facts::FactArgs,
    output::{self, escape_control, write_error},
    sarif,
    selection::Selection,
    style::{BOLD, DIM, lacking, names, plural},
};

/// Find dangerous configurations.
#[derive(Debug, Args)]
#[command(after_help = help())]
pub(super) struct LintArgs {
    #[command(flatten)]
    selection: Selection,

    /// Exit with 3 on a finding of this severity or worse, or with this code; repeatable
    #[arg(long, value_name = "error|warning|note|CODE", value_parser = denials(), hide_possible_values = true)]
    deny: Vec<Deny>,

    /// Ignore findings with this code; repeatable
    #[arg(long, value_name = "CODE", value_parser = codes(), hide_possible_values = true)]
    allow: Vec<Lint>,

    /// Output format
    #[arg(short, long, value_enum, default_value_t)]
    output: LintFormat,

    /// List all nodes, without abbreviation
    #[arg(long)]
    all: bool,

    #[command(flatten)]
    facts: FactArgs,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum LintFormat {
    /// Text for people
    #[default]
    Text,
    /// JSON for programs, in a documented format
    Json,
    /// The JSON report as YAML
    Yaml,
    /// SARIF 2.1.0 for code scanners
    Sarif,
}

/// A finding that makes the command fail.
#[derive(Clone, Copy, Debug)]
enum Deny {
    /// This severity or a worse one.
    Severity(Severity),
    Lint(Lint),
}

const SEVERITIES: [Severity; 3] = [Severity::Error, Severity::Warning, Severity::Note];

fn help() -> String {
    let lines = SEVERITIES.iter().flat_map(|severity| {
        let lints = Lint::ALL.iter().filter(move |lint| lint.severity() == *severity);
        lints.map(move |lint| format!("  {severity:7}  {:26}  {}", lint.code(), lint.title()))
    });
    let lines: Vec<_> = lines.collect();
    format!(
        "In a pipeline:\n  daemonplan lint -f manifests/ --deny error --deny no-history\n\n\
         Lints:\n{}\n\n\
         Exit code: 0 success, 1 error, 3 denied finding.",
        lines.join("\n")
    )
}

fn code(text: &str) -> Result<Lint, String> {
    let lint = Lint::ALL.iter().find(|lint| lint.code() == text);
    lint.copied().ok_or_else(|| "expected a code, such as no-history; --help lists all".to_owned())
}

/// Parses a code; completions list all.
fn codes() -> impl TypedValueParser<Value = Lint> {
    PossibleValuesParser::new(Lint::ALL.iter().map(|lint| lint.code())).try_map(|text| code(&text))
}

fn denials() -> impl TypedValueParser<Value = Deny> {
    let codes = Lint::ALL.iter().map(|lint| lint.code());
    PossibleValuesParser::new(["error", "warning", "note"].into_iter().chain(codes)).try_map(|text| deny(&text))
}

fn deny(text: &str) -> Result<Deny, String> {
    let severity = SEVERITIES.into_iter().find(|severity| severity.to_string() == text);
    severity.map(Deny::Severity).map_or_else(|| code(text).map(Deny::Lint), Ok)
}

impl Deny {
    fn includes(self, finding: &Finding) -> bool {
        match self {
            Self::Severity(severity) => finding.severity >= severity,
            Self::Lint(lint) => finding.lint == lint,
        }
    }
}

/// Adds a finding, once: several documents of one name may have the same faults.
fn add(findings: &mut Vec<Finding>, finding: Finding) {
    if !findings.contains(&finding) {
        findings.push(finding);
    }
}

pub(super) fn run(args: &LintArgs) -> Result<ExitCode, Failure> {
    let facts = args.facts.read_unchecked(&args.selection)?;
    let (mut findings, mut checked) = (Vec::<Finding>::new(), BTreeSet::new());
    for (_, manifest) in facts.manifests.set_aside() {
        for finding in lint_manifest(manifest, None) {
            let Key { namespace, name } = &finding.daemon_set;
            if args.selection.includes(namespace, name)? {
                checked.insert(finding.daemon_set.clone());
                add(&mut findings, finding);
            }
        }
    }
    let only_set_aside = facts.manifests.daemonsets().next().is_none() && !findings.is_empty();
    let snapshots = if only_set_aside { Vec::new() } else { facts.selected(&args.selection, &[])? };
    let selected: BTreeSet<_> = snapshots.iter().map(|snapshot| snapshot.daemonset().key()).collect();
    // The selectors of other DaemonSets may overlap, too.
    let state = facts.state_with_coming();
    let all: Vec<_> = facts.snapshots().map(|snapshot| snapshot.scheduling(&state)).collect();
    let of_selected = lint_selected(&all, |snapshot| selected.contains(&snapshot.daemonset().key()));
    for finding in of_selected {
        add(&mut findings, finding);
    }
    checked.extend(selected);
    findings.retain(|finding| !args.allow.contains(&finding.lint));
    findings.sort_by(|a, b| a.daemon_set.cmp(&b.daemon_set).then(b.severity.cmp(&a.severity)));
    let unchecked: BTreeSet<_> = snapshots.iter().flat_map(Snapshot::missing).collect();
    let mut out = output::stdout();
    match args.output {
        LintFormat::Text => write(&mut output::text(), &findings, checked.len(), &unchecked, args.all),
        LintFormat::Json => output::write_json(&mut out, &IndexMap::from([("findings", &findings)])),
        LintFormat::Yaml => output::write_yaml(&mut out, &IndexMap::from([("findings", &findings)])),
        LintFormat::Sarif => output::write_json(&mut out, &sarif::report(&findings, &facts.manifests)),
    }
    .map_err(write_error)?;
    for deny in &args.deny {
        let Deny::Lint(lint) = deny else { continue };
        if let Some(fact) = lint.needs().iter().find(|fact| unchecked.contains(fact)) {
            return Err(Failure(format!(
                "--deny {lint}: not checked, because the input has no {fact}; add what is missing, or say --complete if \
                 there is none"
            )));
        }
    }
    let is_denied = findings.iter().any(|finding| args.deny.iter().any(|deny| deny.includes(finding)));
    Ok(match facts.exit_code() {
        ExitCode::SUCCESS if is_denied => ExitCode::from(3),
        code => code,
    })
}

fn style(severity: Severity) -> Style {
    match severity {
        Severity::Error => AnsiColor::Red.on_default().bold(),
        Severity::Warning => AnsiColor::Yellow.on_default().bold(),
        Severity::Note => AnsiColor::Cyan.on_default().bold(),
    }
}

fn write(
    out: &mut impl Write,
    findings: &[Finding],
    daemonsets: usize,
    unchecked: &BTreeSet<MissingFact>,
    all: bool,
) -> io::Result<()> {
    let mut current = None;
    for finding in findings {
        let Finding { lint, severity, daemon_set, kind, field, message, fix, nodes, .. } = finding;
        let is_first = current.is_none();
        if current.replace(daemon_set).is_none_or(|current| current != daemon_set) {
            let name = escape_control(daemon_set);
            writeln!(out, "{}{BOLD}{name}{BOLD:#}", if is_first { "" } else { "\n" })?;
        }
        let (style, field) = (style(*severity), escape_control(field));
        writeln!(out, "  {style}{severity}{style:#} {BOLD}{lint}{BOLD:#}  {DIM}{kind}: {field}{DIM:#}")?;
        writeln!(out, "    {}", escape_control(message))?;
        if all && !nodes.is_empty() {
            writeln!(out, "    {DIM}{}{DIM:#}", names(&nodes.iter().map(escape_control).collect::<Vec<_>>(), all))?;
        }
        let label = if fix.starts_with("kubectl ") { "$" } else { "fix:" };
        writeln!(out, "    {label} {}", escape_control(fix))?;
    }
    if !findings.is_empty() {
        writeln!(out)?;
    }
    let counts = SEVERITIES.iter().filter_map(|severity| {
        let count = findings.iter().filter(|finding| finding.severity == *severity).count();
        (count > 0).then(|| plural(count, &severity.to_string()))
    });
    let counts: Vec<_> = counts.collect();
    let found = if counts.is_empty() { "nothing found".to_owned() } else { counts.join(", ") };
    writeln!(out, "{BOLD}{}{BOLD:#}: {found}", plural(daemonsets, "DaemonSet"))?;
    if !unchecked.is_empty() {
        writeln!(out, "{DIM}the input has {}: rules about them were not checked{DIM:#}", lacking(unchecked))?;
    }
    out.flush()
}
