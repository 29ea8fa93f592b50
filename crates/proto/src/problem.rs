//! Errors on the wire: `application/problem+json` (RFC 9457).

use serde::{Deserialize, Serialize};

/// What a caller is told when a request fails. The code is stable; the text is for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Problem {
    /// The HTTP status.
    pub status: u16,
    /// A stable word for programs; see [`Code`].
    pub code: String,
    /// A short name of the kind of problem.
    pub title: String,
    /// What happened to this request and what to do about it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// The id under which the daemon's log has the cause, where the cause is not shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
}

/// The stable codes. A daemon may add its own; these mean the same everywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Code {
    /// The request does not parse, or a field of it is not what it must be.
    BadRequest,
    /// No credential, or one that is not good. A new one may help.
    Unauthorized,
    /// The credential is good and does not allow this.
    Forbidden,
    /// There is no such thing.
    NotFound,
    /// The thing is in a state that does not allow this.
    Conflict,
    /// There was such a thing, and it is over for good. Trying again does not help.
    Gone,
    /// The body is too large.
    TooLarge,
    /// Too many requests; `Retry-After` says when to try again.
    RateLimited,
    /// Something this daemon needs is not there now. Trying again may help.
    Unavailable,
    /// The daemon failed; its log has the cause under the reference.
    Internal,
}

impl Code {
    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BadRequest => "bad_request",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::NotFound => "not_found",
            Self::Conflict => "conflict",
            Self::Gone => "gone",
            Self::TooLarge => "too_large",
            Self::RateLimited => "rate_limited",
            Self::Unavailable => "unavailable",
            Self::Internal => "internal",
        }
    }

    /// The HTTP status it goes with.
    pub const fn status(self) -> u16 {
        match self {
            Self::BadRequest => 400,
            Self::Unauthorized => 401,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::Conflict => 409,
            Self::Gone => 410,
            Self::TooLarge => 413,
            Self::RateLimited => 429,
            Self::Unavailable => 503,
            Self::Internal => 500,
        }
    }

    /// The short name shown to people.
    pub const fn title(self) -> &'static str {
        match self {
            Self::BadRequest => "The request is not understood",
            Self::Unauthorized => "A valid credential is needed",
            Self::Forbidden => "Not allowed",
            Self::NotFound => "Not found",
            Self::Conflict => "Not possible in the present state",
            Self::Gone => "Over",
            Self::TooLarge => "Too large",
            Self::RateLimited => "Too many requests",
            Self::Unavailable => "Not available now",
            Self::Internal => "Something failed inside",
        }
    }
}
