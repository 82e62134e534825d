//! `daemonplan forecast`: how rollouts proceed in time.

mod html;
mod text;

pub(super) use text::by_cause;

use std::{process::ExitCode, time::Duration};

use clap::{Args, ValueEnum};
use daemonplan::{
    Forecast, MissingFact, Snapshot, Warning,
    forecast::{Assumptions, Delay, Outcome},
};
use jiff::SignedDuration;
use serde::Serialize;

use super::{
    Failure,
    facts::FactArgs,
    output::{self, Progress, write_error},
    report,
    selection::Selection,
};

/// Simulate rollouts: how long they take, in which waves, how few pods are available, and where they get stuck.
#[derive(Debug, Args)]
#[command(after_help = "How long does the rollout of monitoring/agent take?\n  \
    daemonplan forecast -n monitoring agent\n\n\
    The same as an HTML page, if 1 % of the pods never start:\n  \
    daemonplan forecast -n monitoring agent --failure-rate 0.01 -o html > forecast.html\n\n\
    Durations are written as 30s or 1m30s. Start times are taken from the existing pods if three or more are ready.")]
pub(super) struct ForecastArgs {
    #[command(flatten)]
    selection: Selection,

    /// Output format
    #[arg(short, long, value_enum, default_value_t)]
    output: ForecastFormat,

    /// List all waves and nodes, without abbreviation
    #[arg(long)]
    all: bool,

    // Behind the plain options: its help heading holds for all that follow.
    #[command(flatten)]
    assumptions: AssumptionArgs,

    #[command(flatten)]
    facts: FactArgs,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum ForecastFormat {
    /// Text for people
    #[default]
    Text,
    /// JSON for programs, in a documented format
    Json,
    /// The JSON report as YAML
    Yaml,
    /// A self-contained HTML page
    Html,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Assumptions")]
struct AssumptionArgs {
    /// How long pods take to start: a fixed time, or p50/p90 [default: as observed, or else 10s/30s]
    #[arg(long, value_name = "DURATION[/DURATION]", value_parser = delay)]
    startup: Option<Delay>,

    /// How long pods take to stop: a fixed time, or p50/p90 [default: 5s]
    #[arg(long, value_name = "DURATION[/DURATION]", value_parser = delay)]
    shutdown: Option<Delay>,

    /// The share of new pods that never start, from 0 to 1
    #[arg(long, value_name = "RATE", default_value_t = 0.0, value_parser = rate)]
    failure_rate: f64,

    /// The age at which an existing pod that is not Ready counts as failed
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = duration)]
    patience: Duration,

    /// How far to look ahead
    #[arg(long, value_name = "DURATION", default_value = "720h", value_parser = duration)]
    horizon: Duration,

    /// The number of simulations, each with the next seed; the median run is shown
    #[arg(long, value_name = "N", default_value = "20", value_parser = clap::value_parser!(u64).range(1..=10_000))]
    runs: u64,

    /// The first seed; equal seeds produce equal forecasts
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
}

fn duration(text: &str) -> Result<Duration, String> {
    let parsed: Result<SignedDuration, _> = text.parse();
    let parsed = parsed.ok().and_then(|duration| Duration::try_from(duration).ok());
    parsed.ok_or_else(|| "expected a duration such as 30s or 1m30s".to_owned())
}

fn delay(text: &str) -> Result<Delay, String> {
    match text.split_once('/') {
        None => Ok(Delay::Fixed(duration(text)?)),
        Some((median, p90)) => match (duration(median)?, duration(p90)?) {
            (median, p90) if median > p90 => Err("expected p50/p90, the shorter time first".to_owned()),
            (median, p90) => Ok(Delay::LogNormal { median, p90 }),
        },
    }
}

fn rate(text: &str) -> Result<f64, String> {
    let rate: Option<f64> = text.parse().ok();
    rate.filter(|rate| (0.0..=1.0).contains(rate)).ok_or_else(|| "expected a number from 0 to 1".to_owned())
}

impl AssumptionArgs {
    fn of(&self, snapshot: &Snapshot<'_>) -> Assumptions {
        let mut assumptions = Assumptions::default()
            .failure_rate(self.failure_rate)
            .patience(self.patience)
            .horizon(self.horizon)
            .seed(self.seed);
        if let Some(startup) = self.startup.or_else(|| Delay::observed(snapshot)) {
            assumptions = assumptions.startup(startup);
        }
        if let Some(shutdown) = self.shutdown {
            assumptions = assumptions.shutdown(shutdown);
        }
        assumptions
    }
}

/// A DaemonSet's forecast, and the outcomes of all seeds.
#[derive(Serialize)]
struct Runs {
    /// What the input lacks: a missing namespace is taken to have no node selector.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    without: Vec<MissingFact>,
    warnings: Vec<Warning>,
    assumptions: Assumptions,
    /// All runs, from the best to the worst. A single run if nothing happens.
    #[serde(rename = "runs")]
    all: Vec<Run>,
    /// The forecast of the median run.
    #[serde(flatten)]
    forecast: Forecast,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Run {
    seed: u64,
    outcome: Outcome,
    after_seconds: f64,
    lowest_available: usize,
}

impl Runs {
    fn of(snapshot: &Snapshot<'_>, args: &AssumptionArgs, progress: &Progress) -> Self {
        let assumptions = args.of(snapshot);
        let mut forecasts = snapshot.forecasts(&assumptions, args.seed..args.seed.saturating_add(args.runs)).peekable();
        // Without events, all seeds have the same outcome.
        let count = if forecasts.peek().is_some_and(is_idle) { 1 } else { args.runs };
        let mut runs: Vec<_> = forecasts
            .zip(args.seed..args.seed.saturating_add(count))
            .map(|(Forecast { outcome, after, lowest_available, .. }, seed)| {
                progress.advance(1);
                Run { seed, outcome, after_seconds: after.as_secs_f64(), lowest_available }
            })
            .collect();
        progress.advance(args.runs - count);
        runs.sort_by(|a, b| {
            let rank = |run: &Run| (!run.is_good(), run.seed);
            rank(a).0.cmp(&rank(b).0).then(a.after_seconds.total_cmp(&b.after_seconds)).then(a.seed.cmp(&b.seed))
        });
        let median = runs.get(runs.len().saturating_sub(1) / 2).map_or(args.seed, |run| run.seed);
        let (without, warnings) = (snapshot.missing().collect(), snapshot.explain().warnings);
        let assumptions = assumptions.seed(median);
        Self { without, warnings, forecast: snapshot.forecast(&assumptions), assumptions, all: runs }
    }

    fn is_idle(&self) -> bool {
        is_idle(&self.forecast)
    }

    /// Describes how the runs differ: how many converge, or the p90 of their durations.
    fn spread(&self) -> Option<String> {
        let (count, done) = (self.all.len(), self.all.iter().filter(|run| run.is_good()).count());
        let last = self.all.get((count * 9).div_ceil(10).checked_sub(1)?)?;
        let differs = self.all.first().is_some_and(|first| first.after_seconds.total_cmp(&last.after_seconds).is_ne());
        match done {
            _ if count == 1 => None,
            0 => Some(format!("0 of {count} runs converge")),
            _ if done < count => Some(format!("{done} of {count} runs converge")),
            _ if !differs => None,
            _ => {
                let within = super::style::span(Duration::from_secs_f64(last.after_seconds));
                Some(format!("p90 of {count} runs: {within}"))
            }
        }
    }
}

impl Run {
    /// Whether all happened that the strategy lets happen.
    fn is_good(&self) -> bool {
        matches!(self.outcome, Outcome::Done | Outcome::Waiting | Outcome::OnDelete)
    }
}

/// Whether nothing happens, and nothing should.
fn is_idle(forecast: &Forecast) -> bool {
    let is_as_it_should = forecast.stuck.is_empty() || forecast.outcome == Outcome::OnDelete;
    forecast.after.is_zero() && forecast.waves.is_empty() && is_as_it_should
}

pub(super) fn run(args: &ForecastArgs) -> Result<ExitCode, Failure> {
    let mut facts = args.facts.read_for_scheduling(&args.selection)?;
    facts.doubt_other_namespaces();
    let selected = facts.selected(&args.selection, &[MissingFact::Nodes, MissingFact::Pods])?;
    let steps = args.assumptions.runs.saturating_mul(u64::try_from(selected.len()).unwrap_or(u64::MAX));
    let progress = Progress::new("simulating".into(), Some(steps), "{msg}  {bar:30}  {pos} of {len} runs");
    let state = facts.state_with_coming();
    let selected = selected.into_iter().map(|snapshot| snapshot.scheduling(&state));
    let forecasts: Vec<_> =
        selected.map(|snapshot| (snapshot, Runs::of(&snapshot, &args.assumptions, &progress))).collect();
    drop(progress);
    let mut out = output::stdout();
    match args.output {
        ForecastFormat::Text => text::write(&mut output::text(), &forecasts, args.all),
        ForecastFormat::Json => output::write_json(&mut out, &report::named("forecasts", &forecasts)),
        ForecastFormat::Yaml => output::write_yaml(&mut out, &report::named("forecasts", &forecasts)),
        ForecastFormat::Html => html::write(&mut out, &forecasts),
    }
    .map_err(write_error)?;
    let needed = forecasts.iter().filter_map(|(_, runs)| runs.forecast.missing);
    Ok(facts.exit_code_of(forecasts.iter().map(|(snapshot, _)| snapshot), needed))
}
