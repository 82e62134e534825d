//! The fields of a DaemonSet, as Go's types in `k8s.io/api` v1.36 declare them.
//!
//! `schema.txt` has a line for each type, with its fields and their types: `*` marks a pointer, `!` a field that is
//! always written (no `omitempty`), `[…]` a list and `{…}` a map. The fields are those of the `OpenAPI` document of
//! Kubernetes.

const SCHEMA: &str = include_str!("schema.txt");

/// The type of a field.
#[derive(Clone, Copy, Debug)]
pub(super) struct FieldType {
    pub(super) shape: Shape,
    /// Whether Go distinguishes an absent value from the zero value.
    pub(super) is_pointer: bool,
    /// Whether the field is written even if it has the zero value.
    pub(super) is_always_written: bool,
}

/// The JSON values that a field takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    String,
    Bool,
    Int32,
    Int64,
    Quantity,
    IntOrString,
    Time,
    /// Anything.
    Any,
    /// The items of a list have this type.
    List(&'static str),
    /// The values of a map have this type.
    Map(&'static str),
    /// An object of this type.
    Object(&'static str),
}

impl FieldType {
    /// Reads a type as the schema writes it.
    pub(super) fn of(text: &'static str) -> Self {
        let (text, is_always_written) = text.strip_suffix('!').map_or((text, false), |text| (text, true));
        let (text, is_pointer) = text.strip_prefix('*').map_or((text, false), |text| (text, true));
        let within = |open, close| text.strip_prefix(open)?.strip_suffix(close);
        let shape = match text {
            "string" => Shape::String,
            "bool" => Shape::Bool,
            "int32" => Shape::Int32,
            "int64" => Shape::Int64,
            "Quantity" => Shape::Quantity,
            "IntOrString" => Shape::IntOrString,
            "Time" => Shape::Time,
            "any" => Shape::Any,
            _ => match (within('[', ']'), within('{', '}')) {
                (Some(items), _) => Shape::List(items),
                (_, Some(values)) => Shape::Map(values),
                _ => Shape::Object(text),
            },
        };
        Self { shape, is_pointer, is_always_written }
    }
}

/// Iterates over the fields of a type, by name.
pub(super) fn fields(of: &str) -> impl Iterator<Item = (&'static str, FieldType)> {
    let line = SCHEMA.lines().find_map(|line| line.strip_prefix(of)?.strip_prefix(' '));
    line.unwrap_or_default().split(' ').filter_map(|field| {
        let (name, text) = field.split_once(':')?;
        Some((name, FieldType::of(text)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_of_the_schema_is_known() {
        let mut count = 0;
        let mut open = vec!["DaemonSet"];
        let mut seen = std::collections::BTreeSet::new();
        while let Some(of) = open.pop().filter(|_| count < 10_000) {
            if !seen.insert(of) {
                continue;
            }
            assert!(fields(of).next().is_some(), "{of}");
            for (_, field) in fields(of) {
                count += 1;
                let inner = match field.shape {
                    Shape::List(inner) | Shape::Map(inner) => FieldType::of(inner).shape,
                    shape => shape,
                };
                if let Shape::Object(inner) = inner {
                    open.push(inner);
                }
            }
        }
        assert_eq!(seen.len(), SCHEMA.lines().count(), "every line is reachable");
    }
}
