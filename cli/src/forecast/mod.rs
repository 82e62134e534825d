//! `daemonplan forecast`: how roll-outs go on in time.

mod html;
mod text;

use std::{process::ExitCode, time::Duration};

use clap::{Args, ValueEnum};
use daemonplan::{
    Forecast, Snapshot,
    forecast::{Assumptions, Delay, Outcome},
};
use jiff::SignedDuration;
use serde::Serialize;

use super::{
    Failure,
    facts::{FactArgs, Selection},
    output::{self, Progress, not_written},
    report,
};

/// Play roll-outs forward: how long they take, in which waves, how few pods are available, and where they get stuck.
#[derive(Debug, Args)]
#[command(after_help = "How long does the roll-out of monitoring/agent take?\n  \
    daemonplan forecast -n monitoring agent\n\n\
    The same as a page, if one pod of a hundred never starts:\n  \
    daemonplan forecast -n monitoring agent --failure-rate 0.01 -o html > forecast.html\n\n\
    Durations are such as 30s or 1m30s. Times to start are taken from the pods that are there, if three or more are ready.")]
pub(super) struct ForecastArgs {
    #[command(flatten)]
    selection: Selection,

    #[command(flatten)]
    assumptions: AssumptionArgs,

    /// How to show the forecasts
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,

    /// Show every wave and name every node, however many there are
    #[arg(long)]
    all: bool,

    #[command(flatten)]
    facts: FactArgs,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    #[default]
    Text,
    /// For programs: the documented contract
    Json,
    /// The same as YAML
    Yaml,
    /// A page on its own, for a browser
    Html,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "What is assumed")]
struct AssumptionArgs {
    /// How long pods take to start: half of them, or half and nine of ten [default: as observed, or else 10s/30s]
    #[arg(long, value_name = "DURATION[/DURATION]", value_parser = delay)]
    startup: Option<Delay>,

    /// How long pods take to stop: half of them, or half and nine of ten [default: 5s]
    #[arg(long, value_name = "DURATION[/DURATION]", value_parser = delay)]
    shutdown: Option<Delay>,

    /// How many of the new pods never start, from 0 to 1
    #[arg(long, value_name = "RATE", default_value_t = 0.0, value_parser = rate)]
    failure_rate: f64,

    /// What is not ready for so long stays so
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = duration)]
    patience: Duration,

    /// How far to look ahead
    #[arg(long, value_name = "DURATION", default_value = "720h", value_parser = duration)]
    horizon: Duration,

    /// How often to play it forward, each time with the next seed; the run in the middle is shown
    #[arg(long, value_name = "N", default_value = "20", value_parser = clap::value_parser!(u64).range(1..=10_000))]
    runs: u64,

    /// The first seed: the same seed gives the same forecast
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
}

fn duration(text: &str) -> Result<Duration, String> {
    let read: Result<SignedDuration, _> = text.parse();
    let read = read.ok().and_then(|duration| Duration::try_from(duration).ok());
    read.ok_or_else(|| "expected a duration such as 30s or 1m30s".to_owned())
}

fn delay(text: &str) -> Result<Delay, String> {
    match text.split_once('/') {
        None => Ok(Delay::Fixed(duration(text)?)),
        Some((median, p90)) => Ok(Delay::LogNormal { median: duration(median)?, p90: duration(p90)? }),
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

/// A DaemonSet's forecast, and how other seeds end.
#[derive(Serialize)]
struct Runs {
    assumptions: Assumptions,
    /// From the best to the worst; one, if nothing happens.
    #[serde(rename = "runs")]
    all: Vec<Run>,
    /// The one in the middle.
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
        let forecast = |seed| snapshot.forecast(&assumptions.clone().seed(seed));
        // Where nothing happens luck plays no part.
        let count = if is_idle(&forecast(args.seed)) { 1 } else { args.runs };
        let mut runs: Vec<_> = (args.seed..args.seed.saturating_add(count))
            .map(|seed| {
                let Forecast { outcome, after, lowest_available, .. } = forecast(seed);
                progress.advance(1);
                Run { seed, outcome, after_seconds: after.as_secs_f64(), lowest_available }
            })
            .collect();
        progress.advance(args.runs - count);
        runs.sort_by(|a, b| {
            let rank = |run: &Run| (run.outcome != Outcome::Done, run.seed);
            rank(a).0.cmp(&rank(b).0).then(a.after_seconds.total_cmp(&b.after_seconds)).then(a.seed.cmp(&b.seed))
        });
        let middle = runs.get(runs.len().saturating_sub(1) / 2).map_or(args.seed, |run| run.seed);
        Self { forecast: forecast(middle), assumptions: assumptions.seed(middle), all: runs }
    }

    fn is_idle(&self) -> bool {
        is_idle(&self.forecast)
    }

    /// How many runs end well, and how long nine of ten of all take at most.
    fn spread(&self) -> Option<String> {
        let (count, done) = (self.all.len(), self.all.iter().filter(|run| run.outcome == Outcome::Done).count());
        let last = self.all.get((count * 9).div_ceil(10).checked_sub(1)?)?;
        let differs = self.all.first().is_some_and(|first| first.after_seconds.total_cmp(&last.after_seconds).is_ne());
        match done {
            _ if count == 1 => None,
            0 => Some(format!("none of {count} runs ends well")),
            _ if done < count => Some(format!("{done} of {count} runs end well")),
            _ if !differs => None,
            _ => {
                let within = super::style::span(Duration::from_secs_f64(last.after_seconds));
                Some(format!("of {count} runs nine in ten take at most {within}"))
            }
        }
    }
}

/// Whether nothing happens, and nothing should.
fn is_idle(forecast: &Forecast) -> bool {
    forecast.after.is_zero() && forecast.waves.is_empty() && forecast.stuck.is_empty()
}

pub(super) fn run(args: &ForecastArgs) -> Result<ExitCode, Failure> {
    let facts = args.facts.read(args.selection.namespace())?;
    let meant = facts.selected(&args.selection)?;
    let steps = args.assumptions.runs.saturating_mul(u64::try_from(meant.len()).unwrap_or(u64::MAX));
    let progress = Progress::new("playing forward".into(), Some(steps), "{msg}  {bar:30}  {pos} of {len} runs");
    let forecasts: Vec<_> =
        meant.into_iter().map(|snapshot| (snapshot, Runs::of(&snapshot, &args.assumptions, &progress))).collect();
    drop(progress);
    let mut out = output::stdout();
    match args.output {
        Format::Text => text::write(&mut output::text(), &forecasts, args.all),
        Format::Json => output::write_json(&mut out, &report::named("forecasts", &forecasts)),
        Format::Yaml => output::write_yaml(&mut out, &report::named("forecasts", &forecasts)),
        Format::Html => html::write(&mut out, &forecasts),
    }
    .map_err(not_written)?;
    Ok(facts.exit_code())
}
