//! What the models of agents cost, and how much a folder, a person or the whole instance may spend on them.

use crate::{
    Endpoint, Folder, Needs, Nothing, Timestamp,
    routd::{Owner, OwnerError},
};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// What was used, summed up.
pub const USAGE: Endpoint<UsageQuery, UsagePage> = Endpoint::get(
    "/v1/usage",
    Needs::Scope("usage:read"),
    "What models were used, and what that cost",
);

/// Sets what a folder, a person or the whole instance may spend, or takes the cap away.
pub const SET_CAP: Endpoint<SetCap, Cap> = Endpoint::put(
    "/v1/usage/caps",
    Needs::Scope("usage:write"),
    "Set what a folder and those below it, a person or the instance may spend on models",
);

/// The caps.
pub const LIST_CAPS: Endpoint<Nothing, Caps> = Endpoint::get(
    "/v1/usage/caps",
    Needs::Scope("usage:read"),
    "What folders, persons and the instance may spend on models, and what they have spent",
);

/// How usage is summed up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum UsageBy {
    /// For each day (UTC).
    Day,
    /// For each folder.
    Folder,
    /// For each person who alone wrote what a turn answered.
    Person,
    /// For each model.
    Model,
}

impl FromStr for UsageBy {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "day" => Ok(Self::Day),
            "folder" => Ok(Self::Folder),
            "person" => Ok(Self::Person),
            "model" => Ok(Self::Model),
            other => Err(format!("`{other}` is none of day, folder, person and model")),
        }
    }
}

/// Which usage.
#[derive(Clone, Debug, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UsageQuery {
    /// Of this folder and those below it; of all when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folder: Option<Folder>,
    /// Summed up by this; by day, folder, person and model when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<UsageBy>,
    /// Of requests that began then or later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Where the page before this one ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// At most this many rows; 100 when left out, 500 at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// One sum. What it is not summed up by is empty.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct UsageRow {
    /// The day in UTC, such as `2026-01-31`.
    pub day: String,
    /// The folder.
    pub folder: String,
    /// Who alone wrote what the turns answered; empty also where several did.
    pub person: String,
    /// The model, as it was asked for.
    pub model: String,
    /// Requests.
    pub requests: u64,
    /// Tokens of input that were neither read from a cache nor written to one.
    pub input_tokens: u64,
    /// Tokens of output.
    pub output_tokens: u64,
    /// Tokens of input that were read from the model's cache.
    pub cache_read_tokens: u64,
    /// Tokens of input that were written to the model's cache.
    pub cache_write_tokens: u64,
    /// What it cost, in millionths of a dollar, as far as prices are known.
    pub micro_dollars: u64,
    /// Requests whose model has no known price.
    pub unpriced_requests: u64,
}

/// A page of sums.
#[derive(Clone, Debug, Serialize, Deserialize, schemars::JsonSchema)]
pub struct UsagePage {
    /// In the order of what they are summed up by.
    pub rows: Vec<UsageRow>,
    /// Where the next page begins; `null` at the end.
    pub next: Option<String>,
}

/// Whose cap it is: `instance`; `folder:corp/eng`, with those below it; or `person:telegram:user/42`, who writes from that
/// address: all that they alone asked for, in any folder.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CapOf {
    /// Everybody's, together.
    Instance,
    /// A folder's and those below it, together.
    Folder(Folder),
    /// A person's, by the address that they write from.
    Person(String),
}

impl CapOf {
    const INSTANCE: &'static str = "instance";
}

impl fmt::Display for CapOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Instance => f.write_str(Self::INSTANCE),
            Self::Folder(folder) => write!(f, "folder:{folder}"),
            Self::Person(address) => write!(f, "person:{address}"),
        }
    }
}

impl FromStr for CapOf {
    type Err = OwnerError;
    fn from_str(text: &str) -> Result<Self, OwnerError> {
        if text == Self::INSTANCE {
            return Ok(Self::Instance);
        }
        Ok(match text.parse()? {
            Owner::Folder(folder) => Self::Folder(folder),
            Owner::Person(address) => Self::Person(address),
        })
    }
}

impl Serialize for CapOf {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for CapOf {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl schemars::JsonSchema for CapOf {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "CapOf".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "pattern": "^(instance|(folder|person):.+)$" })
    }
}

/// What somebody may spend. All limits left out: no cap any more.
#[derive(Clone, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SetCap {
    /// Whose.
    pub of: CapOf,
    /// The limits.
    #[serde(default)]
    pub limits: CapLimits,
}

/// Limits of a day and of a month, both in UTC.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(deny_unknown_fields)]
pub struct CapLimits {
    /// Millionths of a dollar a day.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub daily_micro_dollars: Option<u64>,
    /// Millionths of a dollar a month.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub monthly_micro_dollars: Option<u64>,
    /// Tokens a day, of every kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub daily_tokens: Option<u64>,
    /// Tokens a month, of every kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub monthly_tokens: Option<u64>,
}

impl CapLimits {
    /// Whether it limits nothing.
    pub const fn is_none(&self) -> bool {
        self.daily_micro_dollars.is_none()
            && self.monthly_micro_dollars.is_none()
            && self.daily_tokens.is_none()
            && self.monthly_tokens.is_none()
    }

    /// Whether it limits money.
    pub const fn is_of_money(&self) -> bool {
        self.daily_micro_dollars.is_some() || self.monthly_micro_dollars.is_some()
    }
}

/// A cap, and what stands against it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Cap {
    /// Whose.
    pub of: CapOf,
    /// The limits.
    pub limits: CapLimits,
    /// What was spent today, with what is set aside for requests in flight.
    pub today: Spent,
    /// What was spent this month, with what is set aside for requests in flight.
    pub this_month: Spent,
}

/// What was spent, with what is set aside for requests in flight.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema,
)]
pub struct Spent {
    /// Millionths of a dollar, as far as prices are known.
    pub micro_dollars: u64,
    /// Tokens of every kind.
    pub tokens: u64,
}

/// The caps.
#[derive(Clone, Debug, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Caps {
    /// The instance's, then folders', then persons'.
    pub caps: Vec<Cap>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whose_a_cap_is_is_written_as_it_is_read() {
        for text in ["instance", "folder:corp/eng", "person:telegram:user/42"] {
            assert_eq!(text.parse::<CapOf>().unwrap().to_string(), text);
        }
        for bad in ["", "corp/eng", "Instance", "instance:x", "folder:", "person:"] {
            assert!(bad.parse::<CapOf>().is_err(), "{bad:?}");
        }
    }
}
