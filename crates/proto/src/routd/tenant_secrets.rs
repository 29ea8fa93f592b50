//! Secrets of a folder or a person: spent by routd in their name, never given to an agent.

use crate::{Endpoint, Folder, IdError, Needs, Nothing, Opaque, Timestamp};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// Stores a secret, or replaces its value and where it may go.
pub const SET_TENANT_SECRET: Endpoint<SetTenantSecret, TenantSecret> = Endpoint::post(
    "/v1/tenant-secrets",
    Needs::Scope("tenant-secrets:write"),
    "Store a secret of a folder or a person",
);

/// The secrets, without their values.
pub const LIST_TENANT_SECRETS: Endpoint<Nothing, TenantSecrets> = Endpoint::get(
    "/v1/tenant-secrets",
    Needs::Scope("tenant-secrets:read"),
    "The secrets of folders and persons, without their values",
);

/// Removes a secret. A repeat answers alike.
pub const REMOVE_TENANT_SECRET: Endpoint<RemoveTenantSecret, Nothing> = Endpoint::delete(
    "/v1/tenant-secrets/{id}",
    Needs::Scope("tenant-secrets:write"),
    "Remove a secret of a folder or a person",
);

/// Bytes of a person's address.
const PERSON_MAX: usize = 256;

/// Whose secret it is: `folder:corp/eng`, or `person:telegram:user/42`, the address that a person writes from.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Owner {
    /// A folder's: every turn of that folder may have it spent.
    Folder(Folder),
    /// A person's: the turns that answer this person may have it spent.
    Person(String),
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(folder) => write!(f, "folder:{folder}"),
            Self::Person(address) => write!(f, "person:{address}"),
        }
    }
}

/// The text is nobody's address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OwnerError {
    /// It has no kind.
    #[error("write folder:NAME, or person:ADDRESS such as person:telegram:user/42")]
    Kind,
    /// The folder is none.
    #[error(transparent)]
    Folder(#[from] IdError),
    /// The address cannot be one.
    #[error(
        "a person's address has 1 to 256 bytes and no control characters or spaces at its ends"
    )]
    Person,
}

impl FromStr for Owner {
    type Err = OwnerError;
    fn from_str(text: &str) -> Result<Self, OwnerError> {
        match text.split_once(':') {
            Some(("folder", name)) => Ok(Self::Folder(name.parse()?)),
            Some(("person", address)) => {
                let fits = (1..=PERSON_MAX).contains(&address.len())
                    && address.trim() == address
                    && !address.chars().any(char::is_control);
                if fits { Ok(Self::Person(address.into())) } else { Err(OwnerError::Person) }
            }
            _ => Err(OwnerError::Kind),
        }
    }
}

impl Serialize for Owner {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Owner {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl schemars::JsonSchema for Owner {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Owner".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "pattern": "^(folder|person):.+$" })
    }
}

/// A secret to be stored. `Debug` hides its value.
#[derive(Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SetTenantSecret {
    /// Whose.
    pub owner: Owner,
    /// Its name, such as `GITHUB_TOKEN`: capital letters, digits and `_`.
    pub name: String,
    /// The value, at most 65,536 bytes.
    pub value: String,
    /// Where it may go: an `https` or `http` URL with host, port and the beginning of the path. Needed for every
    /// secret but a model's key, which goes to the model and nowhere else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The header that carries it, with `{}` where it stands; `Authorization: Bearer {}` when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<String>,
}

impl fmt::Debug for SetTenantSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SetTenantSecret({} {}, ..)", self.owner, self.name)
    }
}

/// A secret, without its value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct TenantSecret {
    /// Its id, to remove it by.
    pub id: Opaque,
    /// Whose.
    pub owner: Owner,
    /// Its name.
    pub name: String,
    /// Where it may go; `null` for a model's key.
    pub url: Option<String>,
    /// The header that carries it; `null` for a model's key.
    pub header: Option<String>,
    /// When it was stored last.
    pub set_at: Timestamp,
    /// By whom.
    pub set_by: String,
    /// When it was spent last.
    pub used_at: Option<Timestamp>,
}

/// The secrets.
#[derive(Clone, Debug, Serialize, Deserialize, schemars::JsonSchema)]
pub struct TenantSecrets {
    /// By owner and name.
    pub secrets: Vec<TenantSecret>,
}

/// Which secret to remove.
#[derive(Clone, Debug, Serialize, Deserialize, schemars::JsonSchema)]
pub struct RemoveTenantSecret {
    /// Its id.
    pub id: Opaque,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_is_written_as_it_is_read() {
        for text in ["folder:corp/eng", "person:telegram:user/42", "person:user:google|1"] {
            assert_eq!(text.parse::<Owner>().unwrap().to_string(), text);
        }
        for bad in ["", "corp/eng", "folder:", "folder:../x", "person:", "person: a", "user:x"] {
            assert!(bad.parse::<Owner>().is_err(), "{bad:?}");
        }
    }
}
