//! A secret on standard input: never an argument, which every process of the machine could read.

use crate::{
    failure::{Exit, Failure},
    output::Output,
};
use secrets::{SECRET_BYTES_MAX, Secret};
use std::io::{IsTerminal, Read};

/// The value on standard input, as a file would hold it: one trailing newline is dropped.
///
/// # Errors
/// It cannot be read, or cannot be a secret; the reason never holds a part of it.
pub(super) fn secret(what: &str, output: Output) -> Result<Secret, Failure> {
    if std::io::stdin().is_terminal() {
        output.note(&format!(
            "type {what}, then Ctrl-D (it is shown as you type; a pipe is better):"
        ));
    }
    let most = u64::try_from(SECRET_BYTES_MAX + 3).unwrap_or(u64::MAX);
    let bad = |why: String| Failure::new(Exit::Data, format!("{what} on standard input: {why}"));
    // As large as it can get, so that growing leaves no copy behind.
    let mut bytes = Vec::with_capacity(SECRET_BYTES_MAX + 3);
    let read = std::io::stdin().lock().take(most).read_to_end(&mut bytes);
    read.map_err(|error| bad(error.to_string()))?;
    secrets::files::drop_newline(&mut bytes);
    Secret::new(bytes).map_err(|error| bad(error.to_string()))
}
