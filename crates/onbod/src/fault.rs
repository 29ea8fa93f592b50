//! Why a request or a step of a loop is refused, told apart by what the caller should do.

use kit::Failure;
use std::time::Duration;

/// When a caller that met a busy database should come back.
const COME_BACK: Duration = Duration::from_secs(1);

/// A refusal, or a failure of the database. All but the last two are texts written for the caller.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    #[error("{0}")]
    NotFound(String),
    #[error("{0}")]
    Conflict(String),
    #[error("the database did not do it")]
    Database(#[source] db::Error),
    /// A row that this program cannot have written.
    #[error("{0}: this is a defect, or the database was edited")]
    Defect(String),
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
            Fault::NotFound(text) => Self::not_found(text),
            Fault::Conflict(text) => Self::conflict(text),
            // The disk's trouble and not the request's: the log of the writer has the cause.
            Fault::Database(error) if error.is_ours() => {
                Self::unavailable(error.to_string()).retry_after(COME_BACK)
            }
            fault @ (Fault::Database(_) | Fault::Defect(_)) => Self::internal(&fault),
        }
    }
}
