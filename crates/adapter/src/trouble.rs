//! Why a platform did not take something, by what is to be done about it. Pure.

use axum::http::StatusCode;
use kit::Failure;
use proto::Code;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The platform did not take something, or may have. Each kind says what happens next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Trouble {
    /// It will never take this: the chat is gone, the bot is blocked, the message is not one.
    #[error("{0}")]
    Permanent(String),
    /// It did not take it, and may later. Nothing has happened there.
    #[error("{0}")]
    Transient(String),
    /// It wants to be asked again after this long. Nothing has happened there.
    #[error("{why}; it wants to be asked again in {} seconds", .wait.as_secs())]
    RateLimited {
        /// How long to wait.
        wait: Duration,
        /// What it said.
        why: String,
    },
    /// It has no such thing.
    #[error("{why}; {hint}")]
    Unsupported {
        /// What it does not have.
        why: String,
        /// What to do in its place. An agent reads this.
        hint: String,
    },
    /// It was handed over, and no answer came: it may be out. Never handed over again by itself.
    #[error("{0}; it may or may not be out")]
    Ambiguous(String),
    /// It does not believe the credential any more, or there is none yet. Nothing has happened there; the message
    /// waits for a good one.
    #[error("{0}")]
    Refused(String),
}

/// How a trouble is told to routd: the HTTP status, the stable code and the time to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    /// The HTTP status.
    pub status: u16,
    /// The code of the problem (RFC 9457).
    pub code: &'static str,
    /// What `Retry-After` says.
    pub wait: Option<Duration>,
}

impl Trouble {
    /// How it is told.
    pub const fn told(&self) -> Told {
        let (status, code, wait) = match self {
            Self::Permanent(_) => (400, "permanent", None),
            Self::Transient(_) | Self::Refused(_) => (503, "transient", None),
            Self::RateLimited { wait, .. } => (429, "rate_limited", Some(*wait)),
            Self::Unsupported { .. } => (501, "unsupported", None),
            Self::Ambiguous(_) => (504, "ambiguous", None),
        };
        Told { status, code, wait }
    }

    /// The answer to routd.
    pub(crate) fn failure(&self) -> Failure {
        let told = self.told();
        let code = match self {
            Self::Permanent(_) | Self::Unsupported { .. } => Code::BadRequest,
            Self::RateLimited { .. } => Code::RateLimited,
            Self::Transient(_) | Self::Refused(_) | Self::Ambiguous(_) => Code::Unavailable,
        };
        let status = StatusCode::from_u16(told.status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
        let failure = Failure::new(code, self.to_string()).code(told.code).answered_with(status);
        match told.wait {
            Some(wait) => failure.retry_after(wait),
            None => failure,
        }
    }

    /// Whether this is the last word: a repeat under the same key is answered alike, without asking the platform.
    pub const fn is_final(&self) -> bool {
        matches!(self, Self::Permanent(_) | Self::Unsupported { .. } | Self::Ambiguous(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_trouble_is_told_as_routd_understands_it_and_only_what_is_final_ends_a_key() {
        let wait = Duration::from_secs(7);
        let text = || "because".to_owned();
        for (trouble, status, code, told, is_final) in [
            (Trouble::Permanent(text()), 400, "permanent", None, true),
            (Trouble::Transient(text()), 503, "transient", None, false),
            (Trouble::Refused(text()), 503, "transient", None, false),
            (Trouble::RateLimited { wait, why: text() }, 429, "rate_limited", Some(wait), false),
            (Trouble::Unsupported { why: text(), hint: text() }, 501, "unsupported", None, true),
            (Trouble::Ambiguous(text()), 504, "ambiguous", None, true),
        ] {
            assert_eq!(trouble.told(), Told { status, code, wait: told }, "{trouble:?}");
            assert_eq!(trouble.is_final(), is_final, "{trouble:?}");
        }
    }
}
