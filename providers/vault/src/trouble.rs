//! What can go wrong, by what an operator does about it. Never a word of what the server said.

use secrets::{SourceError, remote::Silence};
use std::{path::PathBuf, time::Duration};

/// Why the store did not give what was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// It is sealed.
    #[error("it is sealed; unseal it (bao operator unseal)")]
    Sealed,
    /// It is not the active node.
    #[error("this node is a standby without an active one behind it; name the active node")]
    Standby,
    /// It answers 503 for another reason.
    #[error("it is not in service (503)")]
    NotInService,
    /// It sends elsewhere, and nobody follows with a token.
    #[error(
        "it sends elsewhere ({0}), which is not followed; name the active node or its balancer"
    )]
    Elsewhere(u16),
    /// The token may not do this.
    #[error("permission denied (403) for {0}; its policy must allow that")]
    Forbidden(String),
    /// The login was refused.
    #[error("the login at {at} was refused ({status}); see its role and what {file} holds")]
    LoginRefused {
        /// The auth method.
        at: String,
        /// The HTTP status.
        status: u16,
        /// What the login is made with.
        file: PathBuf,
    },
    /// What a login is made with is not there, or will not do.
    #[error("{file} cannot be used for a login: {reason}")]
    Credential {
        /// The file.
        file: PathBuf,
        /// Why, without a word of what it holds.
        reason: String,
    },
    /// Nothing answers under that path.
    #[error("nothing is mounted at {0}; see the mount and namespace= in its URL")]
    NoMount(String),
    /// The engine is of the other version.
    #[error("{0} is a KV engine of the other version; see kv= in its URL")]
    OtherVersion(String),
    /// The newest version is deleted.
    #[error("version {0} of it is deleted; undelete it (bao kv undelete) or write a new one")]
    Deleted(u64),
    /// The newest version is destroyed.
    #[error("version {0} of it is destroyed; write a new one (bao kv put)")]
    Destroyed(u64),
    /// It has too much to do.
    #[error("it asks for fewer calls (429)")]
    TooMany,
    /// It said how long to wait, and that has not passed.
    #[error("it asked to be left alone for {} s", .0.as_secs().max(1))]
    Waiting(Duration),
    /// All calls of the hour are spent.
    #[error("the calls of this hour are spent; the next may be made in {} s", .0.as_secs().max(1))]
    Spent(Duration),
    /// Another status.
    #[error("it answered {0}")]
    Status(u16),
    /// What it answered is not what such a store answers.
    #[error("its answer cannot be read as that of a KV engine")]
    Garbled,
    /// What it answered is too long.
    #[error("its answer is longer than {} bytes", crate::transport::ANSWER_BYTES_MAX)]
    TooLong,
    /// There was no answer.
    #[error("{0}")]
    Silent(Silence),
    /// The certificates to believe cannot be used.
    #[error("ca_file {0} does not hold certificates in PEM that can be read")]
    Roots(PathBuf),
    /// Somebody else wrote between our read and our write.
    #[error("somebody else keeps writing it; try again")]
    Raced,
    /// A programming error, told instead of a panic.
    #[error("the request could not be made; this is a defect")]
    Defect,
}

impl Trouble {
    /// The same, as the keeper tells it.
    pub(crate) fn at(self, place: String) -> SourceError {
        match self {
            Self::Forbidden(_) | Self::LoginRefused { .. } => {
                SourceError::Denied { place, cause: self.into() }
            }
            Self::NoMount(_) | Self::OtherVersion(_) | Self::Deleted(_) | Self::Destroyed(_) => {
                SourceError::Refused { place, reason: self.to_string() }
            }
            _ => SourceError::Unreachable { place, cause: self.into() },
        }
    }

    /// Whether the same call may well go better at once.
    pub(crate) const fn is_passing(&self) -> bool {
        matches!(self, Self::Silent(Silence::Broken) | Self::Status(412 | 500 | 502 | 504))
    }
}
