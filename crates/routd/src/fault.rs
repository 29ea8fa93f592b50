//! Why a request or a step of a loop is refused, told apart by what the caller should do.

use kit::Failure;
use proto::Code;
use std::time::Duration;

/// When a caller that met a busy database should come back.
const COME_BACK: Duration = Duration::from_secs(1);

/// A refusal, or a failure of the database. All but the last are texts written for the caller.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    #[error("{0}")]
    Invalid(String),
    /// The credential is not good for this; looking for a newer one may help.
    #[error("{0}")]
    Unauthorized(String),
    #[error("{0}")]
    Forbidden(String),
    /// It is allowed once a person has approved it.
    #[error("{0}")]
    Held(String),
    #[error("{0}")]
    NotFound(String),
    #[error("{0}")]
    Conflict(String),
    /// It is over; trying again does not help.
    #[error("{0}")]
    Gone(String),
    #[error("the database did not do it")]
    Database(#[source] db::Error),
    /// A row that this program cannot have written.
    #[error("{0}: this is a defect, or the database was edited")]
    Defect(String),
}

impl Fault {
    /// Whether its text was written for whoever called.
    pub(crate) const fn is_for_the_caller(&self) -> bool {
        !matches!(self, Self::Database(_) | Self::Defect(_))
    }
}

impl From<db::Error> for Fault {
    fn from(error: db::Error) -> Self {
        Self::Database(error)
    }
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(error.into())
    }
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Invalid(text) => Self::bad_request(text),
            Fault::Unauthorized(text) => Self::unauthorized(text),
            Fault::Forbidden(text) => Self::forbidden(text),
            Fault::NotFound(text) => Self::not_found(text),
            Fault::Conflict(text) | Fault::Held(text) => Self::conflict(text),
            Fault::Gone(text) => Self::new(Code::Gone, text),
            // The disk's trouble and not the request's: the log of the writer has the cause.
            Fault::Database(error) if error.is_ours() => {
                Self::unavailable(error.to_string()).retry_after(COME_BACK)
            }
            fault @ (Fault::Database(_) | Fault::Defect(_)) => Self::internal(&fault),
        }
    }
}
