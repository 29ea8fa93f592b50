//! Why a run ended without a result that routd has.

use crate::link::Trouble;
use std::io;
use std::path::PathBuf;

/// Why a run ended without a result that routd has. Variants differ in what the one who started
/// the run should do; [`AntError::exit_code`] tells it across the process boundary.
#[derive(Debug, thiserror::Error)]
pub enum AntError {
    /// Another attempt owns the turn, or this one was given up. Nothing is wrong; do nothing.
    #[error("another attempt owns this turn")]
    Superseded,
    /// SIGTERM. The harness was stopped and nothing was posted.
    #[error("stopped before the turn was done")]
    Stopped,
    /// The offline harness was asked to crash.
    #[error("crashed, as the message asked")]
    Crashed,
    /// routd did not answer in time. A new attempt may find it.
    #[error("could not {step} over {} in time; is routd running?", socket.display())]
    Unreachable {
        /// What was attempted.
        step: &'static str,
        /// The socket.
        socket: PathBuf,
        /// What went wrong the last time.
        #[source]
        last: Trouble,
    },
    /// routd refused a request for good: the two do not fit together.
    #[error("could not {step}: routd refused it for good")]
    Refused {
        /// What was attempted.
        step: &'static str,
        /// What routd said.
        #[source]
        answer: Trouble,
    },
    /// The socket's path cannot be used.
    #[error("the socket's path {} has over 107 bytes; use a shorter --socket-dir", .0.display())]
    SocketPath(PathBuf),
    /// The address of the turn's listener cannot be used.
    #[error("`{0}` is no address of a listener of turns; give --turn-url as https://HOST:PORT")]
    TurnUrl(String),
    /// The socket of this run, whose connections go to the listener, could not be made or was lost.
    #[error(
        "could not offer the turn's listener as a socket below /tmp; can /tmp be written in here?"
    )]
    Door(#[source] io::Error),
    /// The HTTP client could not be made.
    #[error("could not set up the client for the turn's socket")]
    Client(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The port on 127.0.0.1 could not be opened, or was lost.
    #[error("could not offer the turn on 127.0.0.1; is the loopback interface up in here?")]
    Bridge(#[source] io::Error),
    /// The handler of SIGTERM could not be set.
    #[error("could not listen for SIGTERM")]
    Signals(#[source] io::Error),
}

impl AntError {
    /// What the process exits with: 3 for [`AntError::Superseded`], 143 for [`AntError::Stopped`],
    /// otherwise as in sysexits: 64 usage, 69 unavailable, 70 software, 71 system, 76 protocol.
    /// No other code of this list means that the turn may be left alone; 0 is an accepted result.
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Superseded => 3,
            Self::SocketPath(_) | Self::TurnUrl(_) => 64,
            Self::Unreachable { .. } => 69,
            Self::Crashed | Self::Client(_) => 70,
            Self::Bridge(_) | Self::Door(_) | Self::Signals(_) => 71,
            Self::Refused { .. } => 76,
            Self::Stopped => 143,
        }
    }
}
