use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// Reads a YAML document as JSON.
///
/// Aliases may repeat what an anchor names, but not without end: a document must not come to more than sixteen times
/// its own text. A key may stand only once in a mapping.
pub(super) fn to_json(text: &str) -> Result<Value, serde_yaml::Error> {
    const GROWTH: usize = 16;
    const GRACE: usize = 4096;
    let mut budget = GRACE.saturating_add(text.len().saturating_mul(GROWTH));
    Budgeted(&mut budget).deserialize(serde_yaml::Deserializer::from_str(text))
}

/// Reads one value, and takes its size from what may still be read.
struct Budgeted<'b>(&'b mut usize);

impl Budgeted<'_> {
    fn spend<E: Error>(&mut self, size: usize) -> Result<(), E> {
        let left = self.0.checked_sub(size.saturating_add(1));
        *self.0 =
            left.ok_or_else(|| E::custom("expected aliases that repeat little, found a document that explodes"))?;
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Budgeted<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Budgeted<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value that JSON has too")
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

    fn visit_f64<E: Error>(mut self, value: f64) -> Result<Value, E> {
        self.spend(0)?;
        // JSON has no infinity and nothing that is not a number.
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
                return Err(M::Error::custom(format_args!("expected each key once, found {key:?} twice")));
            }
            fields.insert(key, value);
        }
        Ok(fields.into())
    }
}
