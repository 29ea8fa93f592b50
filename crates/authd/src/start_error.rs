//! What keeps authd from starting, and what to do about it.

use crate::{keyring::KeyringError, store::StoreError};
use kit::StartError;
use secrets::seal::UnlockError;

/// As the reason not to start.
pub(crate) fn at_start(error: impl Into<KeyringError>) -> StartError {
    let source: KeyringError = error.into();
    let what = source.to_string();
    let hint = match &source {
        KeyringError::Seal(_) | KeyringError::Damaged { .. } | KeyringError::NoSigner => {
            "restore authd.db from a backup, or move it away to begin with new keys"
        }
        _ => "see the cause, put it right and start again",
    };
    let hint = hint.into();
    match source {
        KeyringError::Store(StoreError::Database(error)) if error.is_retryable() => {
            StartError::Busy { what: format!("{what}: {error}"), hint }
        }
        source => StartError::Data { what, hint, source: Some(source.into()) },
    }
}

/// No `SECRETS_KEY` opens the database, or its wrap is damaged.
pub(crate) fn not_unlocked(error: UnlockError) -> StartError {
    match error {
        UnlockError::NoKey { database, stored, offered } => StartError::Config {
            what: format!(
                "no SECRETS_KEY at hand opens {database}: it is sealed under key {stored}, and {offered} was given"
            ),
            hint:
                "put the earlier value back as SECRETS_KEY, or supply it as SECRETS_KEY_PREVIOUS \
                   beside the new one, and start again; nothing was changed"
                    .into(),
        },
        UnlockError::Damaged { database } => StartError::Data {
            what: format!("the wrapped key of {database} is damaged"),
            hint: "restore the database from a backup; nothing was changed".into(),
            source: None,
        },
        UnlockError::System { .. } => StartError::Other(
            "the key of authd.db could not be prepared".into(),
            Some(error.into()),
        ),
    }
}
