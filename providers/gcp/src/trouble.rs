//! What can go wrong, by what an operator does about it. Never a word of what the server said.

use secrets::{SourceError, remote::Silence};
use std::{path::PathBuf, time::Duration};

/// Why Secret Manager did not give what was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// The account may not do this.
    #[error("permission denied (403): {permission} on {on}; see the roles of {on}")]
    Forbidden {
        /// The permission of IAM that it takes.
        permission: &'static str,
        /// The secret, or the project.
        on: String,
    },
    /// The project does not use the API.
    #[error(
        "the Secret Manager API is not enabled in the project; run `gcloud services enable secretmanager.googleapis.com`"
    )]
    ServiceDisabled,
    /// A fresh token was not taken either.
    #[error(
        "its access token is not accepted (401); see auth= in its URL, and the clock of this machine"
    )]
    Unauthenticated,
    /// There was no token to be had.
    #[error("{at} gives no access token ({status}); {remedy}")]
    LoginRefused {
        /// Who was asked.
        at: &'static str,
        /// The HTTP status.
        status: u16,
        /// What to look at.
        remedy: &'static str,
    },
    /// Something else than a metadata server answers.
    #[error("what answers as the metadata server is none; see metadata_endpoint= in its URL")]
    NoMetadataServer,
    /// What a login is made with is not there, or will not do.
    #[error("{file} cannot be used for a login: {reason}")]
    Credential {
        /// The file.
        file: PathBuf,
        /// Why, without a word of what it holds.
        reason: String,
    },
    /// The newest version is disabled.
    #[error(
        "version {0}, the newest, is disabled, and that is no value; enable it (gcloud secrets versions enable) or add another"
    )]
    Disabled(u64),
    /// The newest version is destroyed.
    #[error("version {0}, the newest, is destroyed; add another (gcloud secrets versions add)")]
    Destroyed(u64),
    /// A version's state is none that is known here.
    #[error("version {0}, the newest, is in a state that is not known here")]
    Stateless(u64),
    /// A version went away between two calls.
    #[error("version {0} was disabled or destroyed just now")]
    Withdrawn(u64),
    /// A version that should hold all names does not.
    #[error("version {0} is not a JSON object of names and texts; add one that is")]
    NotAnObject(u64),
    /// What arrived is not what was stored.
    #[error("the value of version {0} does not match its checksum (CRC32C)")]
    Corrupt(u64),
    /// It is too much for one version.
    #[error("all names together are longer than the 65,536 bytes that a version may have")]
    TooMuch,
    /// A value is not text.
    #[error("{0}")]
    NotText(#[from] secrets::remote::NotText),
    /// It has too much to do, or a quota is spent.
    #[error("it asks for fewer calls (429); see the project's quotas")]
    TooMany,
    /// It said how long to wait, and that has not passed.
    #[error("it asked to be left alone for {} s", .0.as_secs().max(1))]
    Waiting(Duration),
    /// All calls of the hour are spent.
    #[error("the calls of this hour are spent; the next may be made in {} s", .0.as_secs().max(1))]
    Spent(Duration),
    /// It sends elsewhere, and nobody follows with a token.
    #[error("it sends elsewhere ({0}), which is not followed; see endpoint= in its URL")]
    Elsewhere(u16),
    /// Another status.
    #[error("it answered {0}")]
    Status(u16),
    /// What it answered is not what such a service answers.
    #[error("its answer cannot be read as that of Secret Manager")]
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
    /// Somebody else wrote between our read and our write, again and again.
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
            Self::Forbidden { .. } | Self::LoginRefused { .. } | Self::Unauthenticated => {
                SourceError::Denied { place, cause: self.into() }
            }
            Self::Disabled(_)
            | Self::Destroyed(_)
            | Self::Stateless(_)
            | Self::NotAnObject(_)
            | Self::ServiceDisabled => SourceError::Refused { place, reason: self.to_string() },
            _ => SourceError::Unreachable { place, cause: self.into() },
        }
    }

    /// Whether the same call may well go better at once.
    pub(crate) const fn is_passing(&self) -> bool {
        matches!(
            self,
            Self::Silent(Silence::Broken) | Self::Corrupt(_) | Self::Status(500 | 502 | 504)
        )
    }

    /// Whether a version is just not there to be read any more.
    pub(crate) const fn is_withdrawal(&self) -> bool {
        matches!(self, Self::Withdrawn(_) | Self::NotAnObject(_))
    }
}
