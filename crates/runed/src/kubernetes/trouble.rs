//! What went wrong between runed and the cluster, by what follows from it. Pure.

use crate::backend::{Cause, NotStarted, Refusal};
use kube::core::Status;
use std::time::Duration;

/// Why the cluster did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    /// It cannot be reached, or broke off: whether it did what it was asked is not known. This passes.
    #[error("the cluster's API at {url} does not answer")]
    Away {
        /// Its address.
        url: String,
        /// What the client said.
        #[source]
        source: Cause,
    },
    /// It answered that it does not answer now.
    #[error("the cluster's API says {code}: {message}")]
    Busy {
        /// The HTTP status.
        code: u16,
        /// Its words.
        message: String,
        /// How long it asks to be left alone.
        after: Option<Duration>,
    },
    /// It answered, and what it said is no.
    #[error("the cluster's API says {code} {reason}: {message}")]
    Said {
        /// The HTTP status.
        code: u16,
        /// Its word for that.
        reason: String,
        /// Its words.
        message: String,
    },
}

impl Trouble {
    /// Sorts an error of the client.
    pub fn of(url: &str, error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => Self::said(&status),
            error => Self::Away { url: url.to_owned(), source: error.into() },
        }
    }

    /// It took longer than it may.
    pub fn late(url: &str) -> Self {
        Self::Away { url: url.to_owned(), source: "it took too long".into() }
    }

    fn said(status: &Status) -> Self {
        let (code, message) = (status.code, status.message.clone());
        let after = status.details.as_ref().map(|details| details.retry_after_seconds);
        let after = after.filter(|seconds| *seconds > 0);
        match code {
            // A credential that was just replaced is read again within a minute.
            401 | 408 | 429 | 500.. => Self::Busy {
                code,
                message,
                after: after.map(|seconds| Duration::from_secs(u64::from(seconds))),
            },
            _ => Self::Said { code, reason: status.reason.clone(), message },
        }
    }

    /// Whether asking again may help.
    pub fn passes(&self) -> bool {
        !matches!(self, Self::Said { .. })
    }

    /// Whether it may have been done all the same.
    pub fn is_doubtful(&self) -> bool {
        match self {
            Self::Away { .. } => true,
            Self::Busy { code, .. } => *code >= 500 || *code == 408,
            Self::Said { .. } => false,
        }
    }

    /// How long it asks to be left alone.
    pub fn after(&self) -> Option<Duration> {
        match self {
            Self::Busy { after, .. } => *after,
            _ => None,
        }
    }

    /// Whether there is no such thing.
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Said { code: 404 | 410, .. })
    }

    /// Whether it is there already.
    pub fn is_there(&self) -> bool {
        matches!(self, Self::Said { code: 409, reason, .. } if reason == "AlreadyExists")
    }

    /// What this means for a run that was to start in this namespace.
    pub fn not_started(self, namespace: &str) -> NotStarted {
        let Self::Said { code, message, .. } = &self else {
            return NotStarted::failed("the run did not start", self);
        };
        let advice = match code {
            // A quota is full now, and empties when other runs end.
            403 if message.contains("exceeded quota") => None,
            403 => Some(format!(
                "the cluster does not let runed make Jobs in the namespace {namespace}; give its service account the Role of the manifests, or see what policy refuses: {message}"
            )),
            404 => Some(format!(
                "there is no namespace {namespace} for agents; set KUBERNETES_NAMESPACE: {message}"
            )),
            400 | 422 => Some(format!(
                "the cluster refuses the run's Job; see the settings AGENT_*: {message}"
            )),
            _ => None,
        };
        match advice {
            Some(text) => Refusal(text).into(),
            None => NotStarted::failed("the run did not start", self),
        }
    }
}
