//! The line of a field in a text.

use saphyr_parser::{Event, Parser};

use super::Place;

/// A step of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Field(String),
    Index(usize),
}

/// A collection whose end is not read yet.
enum Level {
    /// With the number of items so far.
    Sequence(usize),
    /// With the current key, if its value comes next.
    Mapping(Option<String>),
}

/// Returns the line, from 1, of a field of the object that was read at `place` in a YAML or JSON text. If there is no such
/// field, it is the line of the nearest one around it; `None` if the text has no such object.
///
/// ```
/// use daemonplan::manifest::{Place, line_of_field};
/// let text = "kind: DaemonSet\nspec:\n  minReadySeconds: 5\n  template:\n    spec:\n      containers: []\n";
/// let place = Place { document: 1, ..Place::default() };
/// assert_eq!(line_of_field(text, &place, "spec.minReadySeconds"), Some(3));
/// assert_eq!(line_of_field(text, &place, "spec.template.spec.nodeName"), Some(5));
/// ```
pub fn line_of_field(text: &str, place: &Place, field: &str) -> Option<usize> {
    let mut target: Vec<Step> = Vec::new();
    if let Some(item) = place.item {
        target.extend([Step::Field("items".into()), Step::Index(item.saturating_sub(1))]);
    }
    let least = target.len();
    target.extend(steps(field));
    let (mut document, mut path, mut levels) = (0, Vec::new(), Vec::<Level>::new());
    let mut best: Option<(usize, usize)> = None;
    for event in Parser::new_from_str(text) {
        let (event, span) = event.ok()?;
        match event {
            Event::SequenceEnd | Event::MappingEnd => {
                levels.pop();
                finish(&mut levels, &mut path);
                continue;
            }
            Event::Scalar(..) | Event::SequenceStart(..) | Event::MappingStart(..) | Event::Alias(_) => {}
            _ => continue,
        }
        if levels.is_empty() {
            // A document without content is not counted.
            let is_empty = matches!(&event, Event::Scalar(text, ..) if text.is_empty());
            document += usize::from(!is_empty);
        }
        let is_key = matches!(levels.last(), Some(Level::Mapping(None)));
        match (levels.last_mut(), &event) {
            (Some(Level::Mapping(key @ None)), Event::Scalar(text, ..)) => {
                *key = Some(text.to_string());
                path.push(Step::Field(text.to_string()));
            }
            (Some(Level::Sequence(count)), _) => {
                path.push(Step::Index(*count));
                *count += 1;
            }
            _ => {}
        }
        let depth = path.len();
        if document == place.document && target.starts_with(&path) && best.is_none_or(|(most, _)| depth > most) {
            best = Some((depth, span.start.line()));
        }
        match event {
            Event::SequenceStart(..) => levels.push(Level::Sequence(0)),
            Event::MappingStart(..) => levels.push(Level::Mapping(None)),
            _ if !is_key => finish(&mut levels, &mut path),
            _ => {}
        }
    }
    best.filter(|(depth, _)| *depth >= least).map(|(_, line)| line)
}

/// Ends the value of a field or an item.
fn finish(levels: &mut [Level], path: &mut Vec<Step>) {
    match levels.last_mut() {
        Some(Level::Mapping(key @ Some(_))) => {
            *key = None;
            path.pop();
        }
        Some(Level::Sequence(_)) => {
            path.pop();
        }
        _ => {}
    }
}

/// Splits a path such as `spec.containers[0].ports` or `metadata.annotations[example.com/a]`.
fn steps(path: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut rest = path;
    while !rest.is_empty() {
        if let Some(inner) = rest.strip_prefix('[') {
            let (key, after) = inner.split_once(']').unwrap_or((inner, ""));
            steps.push(key.parse().map_or_else(|_| Step::Field(key.to_owned()), Step::Index));
            rest = after.strip_prefix('.').unwrap_or(after);
        } else {
            let end = rest.find(['.', '[']).unwrap_or(rest.len());
            let (name, after) = rest.split_at(end);
            steps.push(Step::Field(name.to_owned()));
            rest = after.strip_prefix('.').unwrap_or(after);
        }
    }
    steps
}
