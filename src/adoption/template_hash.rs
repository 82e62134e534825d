//! The hash of a template, and the comparison of a template with a revision's data.

use serde_json::{Map, Value, json};

use crate::{
    model::{DaemonSet, PodTemplate, Text},
    util::fnv::Fnv,
};

/// Returns the data of a revision of `template`: the patch that restores the template.
pub(crate) fn revision_data(template: &PodTemplate) -> Value {
    let mut patch = template.json().clone();
    patch.insert("$patch".into(), "replace".into());
    json!({"spec": {"template": patch}})
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
        (a, b) => a == b,
    }
}

fn fields(object: &Map<String, Value>) -> impl Iterator<Item = (&String, &Value)> {
    object.iter().filter(|(_, value)| !value.is_null())
}

/// Hashes the template and the collision count. The hash is the same on every platform and in every release.
///
/// The hash is FNV-1a (64 bits) over the template and the decimal collision count, encoded as ten characters by
/// [`safe_letters`]. The template is hashed as canonical JSON: sorted keys, no null fields, no white space.
///
/// `more_collisions` is added to the DaemonSet's `status.collisionCount`.
pub(crate) fn template_hash(daemonset: &DaemonSet, more_collisions: i32) -> Text {
    let mut fnv = Fnv::new();
    write_object(&mut fnv, daemonset.template.json());
    let collisions = daemonset.status.collision_count.unwrap_or_default();
    match i64::from(collisions) + i64::from(more_collisions) {
        0 => {}
        count => fnv.write(count.to_string().as_bytes()),
    }
    safe_letters(fnv.finish(), 10).into()
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
        scalar => fnv.write(scalar.to_string().as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json};

    use super::*;

    fn hash(template: Value, collision_count: i32) -> Text {
        let mut daemonset = DaemonSet::new("prod", "agent");
        daemonset.template = from_value(template).unwrap();
        daemonset.status.collision_count = Some(collision_count);
        template_hash(&daemonset, 0)
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
