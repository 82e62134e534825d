//! A forecast as a chart.

use std::fmt;

use super::{Forecast, TimelinePoint};
use crate::util::duration;

/// The nodes of a forecast by the state of their pods over time, as stacked areas: an HTML `figure` with SVG and a legend, without
/// scripts and without styles of its own.
///
/// ```
/// use daemonplan::{Snapshot, forecast::{Assumptions, Chart}, model::{DaemonSet, Namespace, Node}};
/// let daemonset = DaemonSet::new("prod", "agent", [("app", "agent")])?;
/// let (nodes, namespace) = ([Node::new("a")], Namespace::new("prod"));
/// let snapshot = Snapshot::new(&daemonset, &nodes, &[], &namespace).at("2026-01-02T03:04:05Z".parse().unwrap());
/// let forecast = snapshot.forecast(&Assumptions::default());
/// let chart = forecast.chart().to_string();
/// assert!(chart.starts_with("<figure><svg ") && Chart::STYLE.contains(".new"));
/// # Ok::<(), daemonplan::model::RequirementError>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Chart<'a>(&'a Forecast);

/// The dimensions, in SVG units.
const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 220.0;
const LEFT: f64 = 44.0;
const BOTTOM: f64 = 24.0;
const TOP: f64 = 14.0;

/// The number of spans of time.
const COLUMNS: u32 = 240;

impl Chart<'_> {
    /// A style sheet for charts, which uses the colours `--new`, `--old`, `--unavailable`, `--rule` and `--quiet` of the page.
    pub const STYLE: &'static str = include_str!("chart.css");
}

impl Forecast {
    /// Returns the chart of the forecast; empty if nothing happens, or the DaemonSet wants no node.
    pub fn chart(&self) -> Chart<'_> {
        Chart(self)
    }
}

/// A stacked area: its class, its name, its lower and its upper edge.
type Area = (&'static str, &'static str, fn(&TimelinePoint) -> usize, fn(&TimelinePoint) -> usize);

const AREAS: [Area; 3] = [
    ("new", "Up to date", |_| 0, |point| point.new),
    ("old", "Outdated", |point| point.new, |point| point.new + point.old),
    ("unavailable", "Unavailable", TimelinePoint::available, |point| point.available() + point.unavailable),
];

impl fmt::Display for Chart<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Forecast { after, desired, .. } = self.0;
        if after.is_zero() || *desired == 0 {
            return Ok(());
        }
        let columns = self.0.columns(COLUMNS);
        let y = |nodes: usize| TOP + (HEIGHT - TOP - BOTTOM) * (1.0 - to_f64(nodes) / to_f64(*desired));
        let x = |column: usize| LEFT + (WIDTH - LEFT) * to_f64(column) / to_f64(columns.len());
        let title = format!("Nodes by the pod that they have, over {}", duration::words(*after));
        write!(
            f,
            r#"<figure><svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{title}"><title>{title}</title>"#
        )?;
        for (class, label, from, to) in AREAS {
            write!(f, r#"<polygon class="{class}" points=""#)?;
            let edge = |edge: fn(&TimelinePoint) -> usize| {
                let points = columns.iter().enumerate();
                points.flat_map(move |(column, point)| [(column, edge(point)), (column + 1, edge(point))])
            };
            for (column, nodes) in edge(to).chain(edge(from).collect::<Vec<_>>().into_iter().rev()) {
                write!(f, "{:.1},{:.1} ", x(column), y(nodes))?;
            }
            write!(f, r#""><title>{label}</title></polygon>"#)?;
        }
        for nodes in [0, desired / 2, *desired] {
            let at = y(nodes);
            write!(f, r#"<line class="grid" x1="{LEFT}" x2="{WIDTH}" y1="{at:.1}" y2="{at:.1}"></line>"#)?;
            write!(f, r#"<text x="{}" y="{:.1}" text-anchor="end">{nodes}</text>"#, LEFT - 6.0, at + 4.0)?;
        }
        for (part, anchor) in [(0, "start"), (2, "middle"), (4, "end")] {
            let (at, time) = (x(columns.len() * part / 4), *after * u32::try_from(part).unwrap_or_default() / 4);
            write!(f, r#"<text x="{at:.1}" y="{}" text-anchor="{anchor}">"#, HEIGHT - 6.0)?;
            write!(f, "{}</text>", duration::words(time))?;
        }
        f.write_str("</svg><figcaption>")?;
        for (class, label, ..) in AREAS {
            write!(f, r#"<span class="key {class}">{label}</span>"#)?;
        }
        f.write_str("</figcaption></figure>")
    }
}

#[allow(clippy::cast_precision_loss)] // the drawing is coarser
fn to_f64(count: usize) -> f64 {
    count as f64
}
