//! How a call ended that got no answer. Pure.

use std::{error::Error, io, time::Duration};

/// How a call ended without an answer, by its kind alone: what a client says of it may hold an address with more than
/// that in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Silence {
    /// Nobody listens there.
    #[error("the connection was refused")]
    Refused,
    /// It ended in the middle.
    #[error("the connection broke")]
    Broken,
    /// It took longer than this.
    #[error("no answer within {} s", .0.as_secs())]
    Late(Duration),
    /// TLS did not come about.
    #[error("no TLS with it: its certificate is not believed (see ca_file=) or it speaks no TLS")]
    Tls,
    /// The name is not known, or there is no way to it.
    #[error("it cannot be reached; see the network, and the host in its URL")]
    NoWay,
}

/// What an HTTP client knows of a call that failed.
#[derive(Clone, Copy, Debug)]
pub struct Ended {
    /// Whether its own limit of time ended it.
    pub is_timeout: bool,
    /// Whether there was no connection yet.
    pub is_connect: bool,
    /// The limit of time.
    pub limit: Duration,
}

impl Silence {
    /// Reads it from a client's error and what caused that.
    #[must_use]
    pub fn of(error: &(dyn Error + 'static), ended: Ended) -> Self {
        let mut kind = None;
        let mut cause = Some(error);
        while let Some(inner) = cause {
            if let Some(io) = inner.downcast_ref::<io::Error>() {
                kind = Some(io.kind());
                // What TLS says is inside of an error of input and output.
                cause = io.get_ref().map(|inner| inner as &(dyn Error + 'static));
                continue;
            }
            cause = inner.source();
        }
        match kind {
            _ if ended.is_timeout => Self::Late(ended.limit),
            Some(io::ErrorKind::ConnectionRefused) => Self::Refused,
            Some(io::ErrorKind::TimedOut) => Self::Late(ended.limit),
            Some(io::ErrorKind::InvalidData) => Self::Tls,
            _ if !ended.is_connect => Self::Broken,
            Some(
                io::ErrorKind::ConnectionReset
                | io::ErrorKind::UnexpectedEof
                | io::ErrorKind::BrokenPipe,
            ) => Self::Broken,
            _ => Self::NoWay,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_innermost_cause_says_how_a_call_ended() {
        let limit = Duration::from_secs(4);
        let connecting = Ended { is_timeout: false, is_connect: true, limit };
        let under_way = Ended { is_connect: false, ..connecting };
        let late = Ended { is_timeout: true, ..connecting };
        let of = |kind: io::ErrorKind, ended| {
            let inner = io::Error::new(kind, "https://account:secret@host/");
            Silence::of(&io::Error::other(inner), ended)
        };
        use io::ErrorKind as K;
        assert_eq!(of(K::ConnectionRefused, connecting), Silence::Refused);
        assert_eq!(of(K::ConnectionRefused, late), Silence::Late(limit));
        assert_eq!(of(K::TimedOut, connecting), Silence::Late(limit));
        assert_eq!(of(K::InvalidData, connecting), Silence::Tls);
        assert_eq!(of(K::UnexpectedEof, connecting), Silence::Broken);
        assert_eq!(of(K::HostUnreachable, connecting), Silence::NoWay);
        assert_eq!(of(K::Other, under_way), Silence::Broken);
        assert_eq!(Silence::of(&io::Error::other("a name"), connecting), Silence::NoWay);
        assert_eq!(Silence::Late(limit).to_string(), "no answer within 4 s");
    }
}
