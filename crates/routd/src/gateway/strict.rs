//! JSON that everybody reads alike. Pure.
//!
//! A name that stands twice in an object is taken from its first place by one reader and from its last by another: what
//! was checked would not be what is done. So such a body is refused, and any other is passed on byte for byte.

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use std::fmt;

/// Reads it; the reason why not says where, and quotes nothing.
pub(crate) fn parse(bytes: &[u8]) -> Result<Map<String, Value>, String> {
    match serde_json::from_slice::<Strict>(bytes) {
        Ok(Strict(Value::Object(object))) => Ok(object),
        Ok(_) => Err("the body must be a JSON object".into()),
        Err(error) => {
            let twice = error.is_data() && error.to_string().starts_with(TWICE);
            let what = if twice { TWICE } else { "the body is not JSON" };
            Err(format!("{what}, at line {} column {}", error.line(), error.column()))
        }
    }
}

const TWICE: &str = "a name stands twice in one object";

struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader).map(Strict)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut all = Vec::new();
        while let Some(Strict(item)) = items.next_element()? {
            all.push(item);
        }
        Ok(Value::Array(all))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        let mut all = Map::new();
        while let Some(name) = fields.next_key::<String>()? {
            if all.contains_key(&name) {
                return Err(de::Error::custom(TWICE));
            }
            let Strict(value) = fields.next_value()?;
            all.insert(name, value);
        }
        Ok(Value::Object(all))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_name_that_stands_twice_is_refused_however_it_is_written() {
        for twice in [
            r#"{"tools":[],"tools":[1]}"#,
            r#"{"tools":[],"\u0074ools":[1]}"#,
            r#"{"a":[{"b":{"c":1,"c":1}}]}"#,
        ] {
            assert!(parse(twice.as_bytes()).unwrap_err().starts_with(TWICE), "{twice}");
        }
        assert_eq!(parse(br#"{"a":{"a":[1,-2,0.5,null,true,"x"]}}"#).unwrap().len(), 1);
        for bad in
            [&b"[]"[..], b"{", b"\"x\"", b"{\"a\":\"\\ud800\"}", b"{}{}", b"{\"a\":\"\xff\"}"]
        {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
        let deep = format!("{}{}", "{\"a\":".repeat(10_000), "1");
        assert!(parse(deep.as_bytes()).is_err(), "without end of the stack");
    }

    proptest! {
        #[test]
        fn it_reads_what_everybody_reads(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(read) = parse(&bytes) {
                prop_assert_eq!(Value::Object(read), serde_json::from_slice::<Value>(&bytes).unwrap());
            }
        }
    }
}
