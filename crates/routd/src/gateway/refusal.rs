//! A refusal in the vendor's own words, so that its client libraries show it. Pure.

use super::vendor::Vendor;
use serde_json::{Value, json};

/// Why a request to a model is refused or failed here, and not at the model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) kind: Kind,
    /// For whoever reads the agent's log; never with a secret.
    pub(crate) message: String,
    /// When it may go well, in seconds, where that is known.
    pub(crate) retry_after: Option<u64>,
}

/// What kind of refusal it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The request is not what it must be.
    Invalid,
    /// The model refused the key, or there is none.
    Key,
    /// It needs a right that the folder has not.
    Forbidden,
    /// This is not passed on.
    NotFound,
    /// The body is too large.
    TooLarge,
    /// The folder has spent what it may.
    Capped,
    /// The model cannot be reached, or broke off.
    Upstream,
    /// The model said nothing for too long.
    Timeout,
    /// This attempt is not the one in progress any more.
    Over,
    /// routd itself failed.
    Internal,
}

impl Kind {
    /// The HTTP status.
    pub(crate) const fn status(self) -> u16 {
        match self {
            Self::Invalid => 400,
            Self::Key => 401,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::TooLarge => 413,
            Self::Capped => 429,
            Self::Upstream => 502,
            Self::Timeout => 504,
            Self::Over => 410,
            Self::Internal => 500,
        }
    }

    /// The stable word, for the audit log and for OpenAI's `code`.
    pub(crate) const fn code(self) -> &'static str {
        match self {
            Self::Invalid => "bad_request",
            Self::Key => "model_key",
            Self::Forbidden => "egress_not_granted",
            Self::NotFound => "not_passed_on",
            Self::TooLarge => "too_large",
            Self::Capped => "spending_cap",
            Self::Upstream => "model_unreachable",
            Self::Timeout => "model_silent",
            Self::Over => "gone",
            Self::Internal => "internal",
        }
    }

    /// Whether a client's own retry could help.
    pub(crate) const fn may_be_retried(self) -> bool {
        matches!(self, Self::Upstream | Self::Timeout | Self::Internal)
    }

    const fn anthropic(self) -> &'static str {
        match self {
            Self::Invalid => "invalid_request_error",
            Self::Key => "authentication_error",
            Self::Forbidden => "permission_error",
            Self::NotFound => "not_found_error",
            Self::TooLarge => "request_too_large",
            Self::Capped => "rate_limit_error",
            Self::Timeout => "timeout_error",
            Self::Upstream | Self::Over | Self::Internal => "api_error",
        }
    }

    const fn openai(self) -> &'static str {
        match self {
            Self::Capped => "insufficient_quota",
            Self::Upstream | Self::Timeout | Self::Over | Self::Internal => "server_error",
            _ => "invalid_request_error",
        }
    }
}

impl Refusal {
    pub(crate) fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), retry_after: None }
    }

    /// The body of the answer, as the vendor would write it.
    pub(crate) fn body(&self, vendor: Vendor) -> Value {
        let message = &self.message;
        match vendor {
            Vendor::Anthropic => json!({
                "type": "error",
                "error": { "type": self.kind.anthropic(), "message": message },
            }),
            Vendor::OpenAi => json!({ "error": {
                "message": message,
                "type": self.kind.openai(),
                "param": null,
                "code": self.kind.code(),
            } }),
        }
    }
}
