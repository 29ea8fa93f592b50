//! A point in time, as it travels.

use ::time::{OffsetDateTime, format_description::well_known::Rfc3339};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;

/// Milliseconds since 1970-01-01T00:00:00Z: RFC 3339 in JSON, an integer in a database.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// This time, `milliseconds` later.
    pub const fn plus(self, milliseconds: i64) -> Self {
        Self(self.0.saturating_add(milliseconds))
    }

    /// Whole seconds from `earlier` to this time; 0 when it lies before.
    pub const fn seconds_since(self, earlier: Self) -> u64 {
        let milliseconds = self.0.saturating_sub(earlier.0);
        if milliseconds < 0 { 0 } else { (milliseconds / 1000).unsigned_abs() }
    }

    /// As RFC 3339 in UTC; `None` outside the years 0 to 9999, which it cannot write.
    fn rfc3339(self) -> Option<String> {
        let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0) * 1_000_000);
        time.ok()?.format(&Rfc3339).ok()
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.rfc3339() {
            Some(text) => f.write_str(&text),
            None => write!(f, "{} ms", self.0),
        }
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        let time = OffsetDateTime::parse(&text, &Rfc3339);
        let time = time.map_err(|_| de::Error::custom("expected an RFC 3339 time in UTC"))?;
        let milliseconds = time.unix_timestamp_nanos() / 1_000_000;
        let time = i64::try_from(milliseconds).map(Self);
        // A time zone can lead out of the years that can be written again.
        let time = time.ok().filter(|time| time.rfc3339().is_some());
        time.ok_or_else(|| de::Error::custom("time out of range"))
    }
}

impl schemars::JsonSchema for Timestamp {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Timestamp".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "format": "date-time" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_survives_the_wire_to_the_millisecond() {
        let json = serde_json::to_string(&Timestamp(1_700_000_000_123)).unwrap();
        assert_eq!(json, "\"2023-11-14T22:13:20.123Z\"");
        assert_eq!(serde_json::from_str::<Timestamp>(&json).unwrap(), Timestamp(1_700_000_000_123));
        assert!(serde_json::from_str::<Timestamp>("\"yesterday\"").is_err());
        let beyond = "\"9999-12-31T23:59:59.999-23:59\"";
        assert!(
            serde_json::from_str::<Timestamp>(beyond).is_err(),
            "it could not be written again"
        );
        assert_eq!(Timestamp(0).seconds_since(Timestamp(5_000)), 0, "a clock set back is no panic");
    }
}
