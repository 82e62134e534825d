//! The hash of a template, and the comparison of a template with a revision's data.

use serde_json::{Map, Number, Value};

use crate::{
    model::{DaemonSet, PodTemplate, Text},
    util::fnv::Fnv,
};

/// Returns the data of a revision of `template`: the patch that restores the template.
pub(crate) fn revision_data(template: &PodTemplate) -> Value {
    let mut patch = template.json().clone();
    patch.insert("$patch".into(), "replace".into());
    // Moved: `json!` would serialize the whole patch again.
    let spec = Value::from_iter([("template", patch)]);
    Value::from_iter([("spec", spec)])
}

/// Whether two JSON values are equal. A `null` field equals an absent one.
pub(crate) fn equals_ignoring_nulls(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Object(a), Value::Object(b)) => {
            fields(a).count() == fields(b).count()
                && fields(a).all(|(key, value)| b.get(key).is_some_and(|other| equals_ignoring_nulls(value, other)))
        }
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equals_ignoring_nulls(a, b))
        }
        (Value::Number(a), Value::Number(b)) => a == b || canonical(a) == canonical(b),
        (a, b) => a == b,
    }
}

/// Writes a number alike whether or not `serde_json` keeps the digits of its text (its feature `arbitrary_precision`,
/// which any crate of a build may switch on).
fn canonical(number: &Number) -> String {
    let integer = number.as_u64().map(i128::from).or_else(|| number.as_i64().map(i128::from));
    let negative_zero = integer == Some(0) && number.as_f64().is_some_and(f64::is_sign_negative);
    match (integer.filter(|_| !negative_zero), number.as_f64()) {
        (Some(integer), _) => integer.to_string(),
        (None, Some(float)) => Value::from(float).to_string(),
        (None, None) => number.to_string(),
    }
}

fn fields(object: &Map<String, Value>) -> impl Iterator<Item = (&String, &Value)> {
    object.iter().filter(|(_, value)| !value.is_null())
}

/// Returns the hash of a template: the label `controller-revision-hash` of a new revision and of its pods. It is the same
/// on every platform and in every release.
///
/// The hash is FNV-1a (64 bits) over the template and, if it is not 0, the decimal collision count, encoded as ten characters of the
/// alphabet of Kubernetes' generated names. The template is hashed as canonical JSON: sorted keys, no null fields, no white
/// space, numbers as integers or as the shortest decimal of a 64-bit float.
///
/// The built-in controller hashes differently. An existing revision that equals the template keeps its own hash, whichever
/// controller made it. `collision_count` is the DaemonSet's `status.collisionCount`, or 0.
///
/// ```
/// use daemonplan::{adoption::template_hash, model::PodTemplate};
/// let template = PodTemplate::default().with_labels([("app", "agent")]);
/// assert_eq!(template_hash(&template, 0), template_hash(&template.clone(), 0));
/// assert_ne!(template_hash(&template, 0), template_hash(&template, 1));
/// ```
pub fn template_hash(template: &PodTemplate, collision_count: i64) -> Text {
    let mut fnv = Fnv::new();
    write_object(&mut fnv, template.json());
    if collision_count != 0 {
        fnv.write(collision_count.to_string().as_bytes());
    }
    safe_letters(fnv.finish(), 10).into()
}

/// The hash of the DaemonSet's template after `more` collisions.
pub(crate) fn hash_after(daemonset: &DaemonSet, more: i32) -> Text {
    let collisions = daemonset.status.collision_count.unwrap_or_default();
    template_hash(&daemonset.template, i64::from(collisions) + i64::from(more))
}

/// The paths of the fields that only `more` has, if it otherwise equals `less`; `None` if anything else differs.
pub(crate) fn extra_fields(more: &Value, less: &Value) -> Option<Vec<Text>> {
    let mut extra = Vec::new();
    collect_extra(more, less, "", &mut extra).then_some(extra)
}

fn collect_extra(more: &Value, less: &Value, path: &str, extra: &mut Vec<Text>) -> bool {
    match (more, less) {
        (Value::Object(more), Value::Object(less)) => {
            let mut known = 0;
            let all_equal = fields(more).all(|(key, value)| {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                let Some(other) = less.get(key).filter(|other| !other.is_null()) else {
                    extra.push(path.into());
                    return true;
                };
                known += 1;
                collect_extra(value, other, &path, extra)
            });
            all_equal && known == fields(less).count()
        }
        (Value::Array(more), Value::Array(less)) => {
            let mut items = more.iter().zip(less).zip(0_usize..);
            more.len() == less.len()
                && items.all(|((more, less), at)| collect_extra(more, less, &format!("{path}[{at}]"), extra))
        }
        (more, less) => equals_ignoring_nulls(more, less),
    }
}

/// Encodes the lowest `count` base-27 digits of `number`, lowest first.
///
/// The alphabet is that of Kubernetes' generated names: no vowels and no characters that look alike.
pub(crate) fn safe_letters(number: u64, count: usize) -> String {
    const ALPHABET: [char; 27] = [
        'b', 'c', 'd', 'f', 'g', 'h', 'j', 'k', 'l', 'm', 'n', 'p', 'q', 'r', 's', 't', 'v', 'w', 'x', 'z', '2', '4',
        '5', '6', '7', '8', '9',
    ];
    let quotients = std::iter::successors(Some(number), |quotient| Some(quotient / 27));
    let digits = quotients.take(count).filter_map(|quotient| ALPHABET.get(usize::try_from(quotient % 27).ok()?));
    digits.collect()
}

fn write_object(fnv: &mut Fnv, object: &Map<String, Value>) {
    let mut sorted: Vec<_> = fields(object).collect();
    sorted.sort_by_key(|(key, _)| *key);
    fnv.write(b"{");
    for (at, (key, value)) in sorted.into_iter().enumerate() {
        fnv.write(if at > 0 { b"," } else { b"" });
        fnv.write(Value::from(key.as_str()).to_string().as_bytes());
        fnv.write(b":");
        write_value(fnv, value);
    }
    fnv.write(b"}");
}

fn write_value(fnv: &mut Fnv, value: &Value) {
    match value {
        Value::Object(object) => write_object(fnv, object),
        Value::Array(items) => {
            fnv.write(b"[");
            for (at, item) in items.iter().enumerate() {
                fnv.write(if at > 0 { b"," } else { b"" });
                write_value(fnv, item);
            }
            fnv.write(b"]");
        }
        Value::Number(number) => fnv.write(canonical(number).as_bytes()),
        scalar => fnv.write(scalar.to_string().as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json};

    use super::*;

    fn hash(template: Value, collision_count: i64) -> Text {
        template_hash(&from_value(template).unwrap(), collision_count)
    }

    #[test]
    fn the_hash_is_stable_across_releases() {
        let template = json!({"metadata": {"labels": {"app": "agent"}}, "spec": {"containers": [{"name": "a"}]}});
        assert_eq!(hash(template.clone(), 0), HASH_OF_THE_FIRST_RELEASE);
        assert_ne!(hash(template, 1), HASH_OF_THE_FIRST_RELEASE);
    }

    const HASH_OF_THE_FIRST_RELEASE: &str = "z9l2z8tgqj";

    #[test]
    fn key_order_and_null_fields_do_not_matter() {
        let a = json!({"spec": {"b": [1, {"c": "x"}], "a": true, "gone": null}});
        let b = json!({"metadata": null, "spec": {"a": true, "b": [1, {"d": null, "c": "x"}]}});
        assert!(equals_ignoring_nulls(&a, &b) && equals_ignoring_nulls(&b, &a));
        assert_eq!(hash(a, 0), hash(b, 0));
    }

    /// Holds with and without the features `arbitrary_precision` and `preserve_order` of `serde_json`.
    #[test]
    fn numbers_hash_alike_however_their_digits_are_kept() {
        let text = r#"{"spec": {"z": [1.0, 1e2, -0, -0.0, 0.10, 18446744073709551616], "a": -7}}"#;
        let template: PodTemplate = serde_json::from_str(text).unwrap();
        assert_eq!(template_hash(&template, 0), HASH_OF_NUMBERS);
        let data = revision_data(&template);
        let again = serde_json::from_str(&data.to_string().replace("0.10", "0.1").replace("1e2", "100.0")).unwrap();
        assert!(equals_ignoring_nulls(&data, &again));
    }

    const HASH_OF_NUMBERS: &str = "cs6gzwktz8";

    #[test]
    fn fields_that_only_one_has_are_named() {
        let less = json!({"a": [{"b": 1}], "gone": null});
        let more = json!({"a": [{"b": 1, "c": {"d": 2}}], "e": 3});
        assert_eq!(extra_fields(&more, &less).unwrap(), ["a[0].c", "e"]);
        assert_eq!(extra_fields(&less, &less).unwrap(), [] as [&str; 0]);
        for other in [json!({"a": [{"b": 2, "c": 1}]}), json!({"a": []}), json!({"a": [{"c": 1}]}), json!({"e": 3})] {
            assert_eq!(extra_fields(&other, &less), None, "{other}");
        }
    }

    #[test]
    fn every_other_difference_matters() {
        let a = json!({"a": 1, "b": [1, 2]});
        for b in [
            json!({"a": 1}),
            json!({"a": 2, "b": [1, 2]}),
            json!({"a": 1, "b": [2, 1]}),
            json!({"a": 1, "b": [12]}),
            json!({"a": "1", "b": [1, 2]}),
        ] {
            assert!(!equals_ignoring_nulls(&a, &b) && !equals_ignoring_nulls(&b, &a), "{b}");
            assert_ne!(hash(a.clone(), 0), hash(b, 0));
        }
    }
}
