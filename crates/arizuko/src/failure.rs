//! Why a command ends without having done its work: one line, and an exit code of sysexits.h.

use kit::{PeerError, SettingError, StartError};
use std::{fmt, io, path::Path};

/// The exit codes of sysexits.h that this program uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// The command line is wrong.
    Usage = 64,
    /// The data is wrong.
    Data = 65,
    /// A daemon cannot be reached.
    Unavailable = 69,
    /// A defect of this program.
    Software = 70,
    /// Something cannot be made.
    CannotCreate = 73,
    /// Try again.
    TryAgain = 75,
    /// Not permitted.
    Permission = 77,
    /// The configuration is wrong.
    Config = 78,
}

/// A command that did not do its work. Says what, where, and what to do next.
#[derive(Debug)]
pub struct Failure {
    /// The exit code.
    pub code: u8,
    /// The line.
    pub line: String,
}

impl Failure {
    /// A failure with this exit code.
    pub fn new(exit: Exit, line: impl Into<String>) -> Self {
        Self { code: exit as u8, line: line.into() }
    }

    /// A file or directory that could not be used: which of not there, not allowed and not working
    /// it is decides the exit code.
    pub fn io(doing: &str, path: &Path, error: &io::Error) -> Self {
        let (exit, hint) = match error.kind() {
            io::ErrorKind::PermissionDenied => {
                (Exit::Permission, "run as the user who owns it, or choose another --data-dir")
            }
            io::ErrorKind::StorageFull => (Exit::CannotCreate, "make room on that disk"),
            io::ErrorKind::ReadOnlyFilesystem => {
                (Exit::CannotCreate, "choose a --data-dir on a disk that can be written")
            }
            _ => (Exit::CannotCreate, "check the path, or choose another --data-dir"),
        };
        Self::new(exit, format!("cannot {doing} {}: {error}; {hint}", path.display()))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // One line, whatever a cause or an operator's value put into it, and nothing that a terminal obeys.
        f.write_str(&self.line.replace(char::is_control, " "))
    }
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        Self { code: error.exit_code(), line: kit::chain(&error) }
    }
}

impl From<SettingError> for Failure {
    fn from(error: SettingError) -> Self {
        Self::new(Exit::Config, error.to_string())
    }
}

impl From<PeerError> for Failure {
    fn from(error: PeerError) -> Self {
        let exit = match &error {
            PeerError::Unreachable { .. } | PeerError::NoCredential { .. } => Exit::Unavailable,
            PeerError::Unknown { .. } => Exit::TryAgain,
            PeerError::Refused { problem, .. } => match problem.status {
                401 | 403 => Exit::Permission,
                400 | 404 | 409 | 422 => Exit::Data,
                _ => Exit::TryAgain,
            },
            PeerError::Protocol { .. } => Exit::Software,
        };
        let hint = match &error {
            PeerError::Unreachable { .. } => {
                "; start the instance with `arizuko up`, or name it with --instance or --data-dir"
            }
            PeerError::Unknown { .. } => "; try again",
            _ => "",
        };
        Self::new(exit, format!("{error}{hint}"))
    }
}
