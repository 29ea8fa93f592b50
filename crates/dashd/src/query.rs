//! What an address or a form says, read once. What was left blank is not there.

use serde::{Deserialize, Deserializer, de};
use std::{fmt::Display, str::FromStr};

/// Reads a field that may be blank.
pub(crate) fn blank<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr,
    T::Err: Display,
{
    let text = String::deserialize(deserializer)?;
    match text.trim() {
        "" => Ok(None),
        text => text.parse().map(Some).map_err(de::Error::custom),
    }
}

/// Reads a field that must not be blank.
pub(crate) fn text<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr,
    T::Err: Display,
{
    String::deserialize(deserializer)?.trim().parse().map_err(de::Error::custom)
}

/// A query without fields.
#[derive(Debug, Deserialize)]
pub(crate) struct None {}

/// Something named by its id.
#[derive(Debug, Deserialize)]
pub(crate) struct One {
    #[serde(deserialize_with = "text")]
    pub(crate) id: proto::Opaque,
}
