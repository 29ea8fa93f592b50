//! What can go wrong, by what an operator does about it. Never a word of what a server said.

use secrets::{SourceError, remote::Silence};
use std::{path::PathBuf, time::Duration};

/// Why AWS did not give what was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// The identity may not do this.
    #[error("access denied for {0}; the policy of its role must allow that")]
    Forbidden(String),
    /// The key that a secret is encrypted under cannot be used.
    #[error("the KMS key of {0} cannot be used; see the key's state and its policy")]
    Key(String),
    /// The identity was not believed.
    #[error("{what} was refused ({code}); see its trust policy and what {file} holds")]
    ExchangeRefused {
        /// What was asked for, and of whom.
        what: String,
        /// The code of AWS, or the HTTP status.
        code: String,
        /// What the identity is proved with.
        file: PathBuf,
    },
    /// The credentials are not believed, also after a fresh exchange.
    #[error("its credentials are refused ({0})")]
    Credentials(&'static str),
    /// What an identity is proved with is not there, or will not do.
    #[error("{file} cannot be used as a credential: {reason}")]
    Credential {
        /// The file.
        file: PathBuf,
        /// Why, without a word of what it holds.
        reason: String,
    },
    /// The SDK's chain found nothing.
    #[error(
        "auth=default found no credentials: no variables, profile, web identity, container or instance has any"
    )]
    NoChain,
    /// Signatures carry a time, and ours is not theirs.
    #[error("this machine's clock differs from that of AWS by minutes; set it")]
    Skewed,
    /// The secret is scheduled for deletion.
    #[error("{0} is scheduled for deletion; restore it (aws secretsmanager restore-secret)")]
    Deleted(String),
    /// The secret holds something else.
    #[error("{0} does not hold a JSON object of names and values")]
    NotObject(String),
    /// The labels moved each time that it was read.
    #[error("its versions keep changing; trying again")]
    Moving,
    /// It has too much to do.
    #[error("it asks for fewer calls")]
    TooMany,
    /// It said how long to wait, or was asked too often, and that time has not passed.
    #[error("it asks for fewer calls; the next may be made in {} s", .0.as_secs().max(1))]
    Waiting(Duration),
    /// All calls of the hour are spent.
    #[error("the calls of this hour are spent; the next may be made in {} s", .0.as_secs().max(1))]
    Spent(Duration),
    /// A quota other than that of calls, such as that of versions.
    #[error("a quota of the account or the secret is used up (LimitExceededException)")]
    Quota,
    /// It sends elsewhere, and nobody follows with credentials.
    #[error("it sends elsewhere ({0}), which is not followed; see endpoint= in its URL")]
    Elsewhere(u16),
    /// It answers 503.
    #[error("it is not in service (503)")]
    NotInService,
    /// Another status.
    #[error("it answered {0}")]
    Status(u16),
    /// It takes the request for a wrong one.
    #[error("it refuses the request as it is ({0})")]
    Request(&'static str),
    /// What it answered is not what AWS answers.
    #[error("its answer cannot be read as one of AWS")]
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
    /// The whole would be more than a secret may hold.
    #[error("the secret would be longer than 65,536 bytes, the most that one may hold")]
    TooBig,
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
            Self::Forbidden(_)
            | Self::Key(_)
            | Self::ExchangeRefused { .. }
            | Self::Credentials(_) => SourceError::Denied { place, cause: self.into() },
            Self::Deleted(_) | Self::NotObject(_) => {
                SourceError::Refused { place, reason: self.to_string() }
            }
            _ => SourceError::Unreachable { place, cause: self.into() },
        }
    }
}
