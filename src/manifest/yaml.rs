use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// Converts a YAML document to JSON.
///
/// # Errors
/// - If the document is malformed.
/// - If its aliases expand it to more than sixteen times its size.
/// - If a mapping repeats a key.
/// - If it is nested more than 128 levels deep.
pub(super) fn to_json(text: &str) -> Result<Value, serde_yaml::Error> {
    const GROWTH: usize = 16;
    const GRACE: usize = 4096;
    if has_too_many_open_brackets(text) {
        return Err(serde_yaml::Error::custom("recursion limit exceeded"));
    }
    let mut budget = GRACE.saturating_add(text.len().saturating_mul(GROWTH));
    Budgeted(&mut budget).deserialize(serde_yaml::Deserializer::from_str(text))
}

/// Whether the number of open brackets would make the parser slow; its time grows with the square of this number.
///
/// Brackets in strings and comments count too, so the limit is far above the maximum depth.
fn has_too_many_open_brackets(text: &str) -> bool {
    const MAX_OPEN: usize = 10_000;
    let mut open = 0_usize;
    text.bytes().any(|byte| {
        match byte {
            b'[' | b'{' => open += 1,
            b']' | b'}' => open = open.saturating_sub(1),
            _ => {}
        }
        open > MAX_OPEN
    })
}

/// Reads a value, and subtracts its size from the remaining budget.
struct Budgeted<'b>(&'b mut usize);

impl Budgeted<'_> {
    fn spend<E: Error>(&mut self, size: usize) -> Result<(), E> {
        let left = self.0.checked_sub(size.saturating_add(1));
        let too_large = "expected aliases to expand the document at most 16-fold, found more";
        *self.0 = left.ok_or_else(|| E::custom(too_large))?;
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Budgeted<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

#[allow(clippy::cast_precision_loss)] // like JSON parsers do with integers that are too large
impl<'de> Visitor<'de> for Budgeted<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(mut self) -> Result<Value, E> {
        self.spend(0)?;
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(mut self, value: bool) -> Result<Value, E> {
        self.spend(0)?;
        Ok(value.into())
    }

    fn visit_i64<E: Error>(mut self, value: i64) -> Result<Value, E> {
        self.spend(0)?;
        Ok(value.into())
    }

    fn visit_u64<E: Error>(mut self, value: u64) -> Result<Value, E> {
        self.spend(0)?;
        Ok(value.into())
    }

    fn visit_i128<E: Error>(self, value: i128) -> Result<Value, E> {
        // Like a JSON parser: integers that are too large become floating-point numbers.
        self.visit_f64(value as f64)
    }

    fn visit_u128<E: Error>(self, value: u128) -> Result<Value, E> {
        self.visit_f64(value as f64)
    }

    fn visit_f64<E: Error>(mut self, value: f64) -> Result<Value, E> {
        self.spend(0)?;
        // JSON has neither infinity nor NaN.
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E: Error>(mut self, value: &str) -> Result<Value, E> {
        self.spend(value.len())?;
        Ok(value.into())
    }

    fn visit_seq<S: SeqAccess<'de>>(mut self, mut sequence: S) -> Result<Value, S::Error> {
        self.spend(0)?;
        let mut items = Vec::new();
        while let Some(item) = sequence.next_element_seed(Budgeted(self.0))? {
            items.push(item);
        }
        Ok(items.into())
    }

    fn visit_map<M: MapAccess<'de>>(mut self, mut mapping: M) -> Result<Value, M::Error> {
        self.spend(0)?;
        let mut fields = Map::new();
        while let Some(key) = mapping.next_key::<String>()? {
            self.spend(key.len())?;
            let value = mapping.next_value_seed(Budgeted(self.0))?;
            if fields.contains_key(&key) {
                return Err(M::Error::custom(format_args!("expected unique keys, found {key:?} twice")));
            }
            fields.insert(key, value);
        }
        Ok(fields.into())
    }
}
