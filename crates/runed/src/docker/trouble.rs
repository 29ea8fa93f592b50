//! What went wrong between runed and the engine, by what follows from it.

use crate::backend::{NotStarted, Refusal};
use bollard::errors::Error;
use std::error::Error as _;
use std::io;

/// Why the engine did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    /// It cannot be reached, or broke off. This passes.
    #[error("the container engine at {socket} does not answer")]
    Away {
        /// Its socket.
        socket: String,
        /// What the system said.
        #[source]
        source: Error,
    },
    /// This user may not use its socket. This is a matter of configuration.
    #[error(
        "this user may not use the container engine's socket {socket}; add the user to the group that owns it, or choose another CONTAINER_BACKEND"
    )]
    Forbidden {
        /// Its socket.
        socket: String,
    },
    /// It answered, and what it said is no.
    #[error("the container engine says: {message}")]
    Said {
        /// The HTTP status.
        status: u16,
        /// Its words.
        message: String,
    },
}

impl Trouble {
    /// Sorts an error of the client.
    pub fn of(socket: &str, error: Error) -> Self {
        let socket = socket.to_owned();
        if let Error::DockerResponseServerError { status_code, message } = error {
            return Self::Said { status: status_code, message: message.trim().to_owned() };
        }
        let is_forbidden = |error: &io::Error| error.kind() == io::ErrorKind::PermissionDenied;
        let mut forbidden = matches!(&error, Error::IOError { err } if is_forbidden(err));
        let mut cause = error.source();
        while let Some(found) = cause {
            forbidden |= found.downcast_ref().is_some_and(is_forbidden);
            cause = found.source();
        }
        if forbidden { Self::Forbidden { socket } } else { Self::Away { socket, source: error } }
    }

    /// Whether the engine says that it has no such thing.
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Said { status: 404, .. })
    }

    /// Whether the engine says that the thing is not in the state for this: it is there already, or has ended.
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Said { status: 409 | 304, .. })
    }

    /// What this means for a run that was to start.
    pub fn not_started(self, image: &str) -> NotStarted {
        match &self {
            Self::Away { .. } => NotStarted::failed("the run did not start", self),
            Self::Forbidden { .. } => Refusal(self.to_string()).into(),
            Self::Said { status, message } => match advice(*status, message, image) {
                Some(refusal) => refusal.into(),
                None => NotStarted::failed("the run did not start", self),
            },
        }
    }
}

/// What to do about an answer that will stay the same. None for what may pass.
fn advice(status: u16, message: &str, image: &str) -> Option<Refusal> {
    let said = message.to_lowercase();
    let any = |words: &[&str]| words.iter().any(|word| said.contains(word));
    let advice = if any(&["no such image", "not found: manifest", "pull access denied"]) {
        format!(
            "the engine has no image {image}; build or pull it there (`docker pull {image}`), or set CONTAINER_IMAGE"
        )
    } else if any(&["network"]) && (status == 404 || any(&["not found"])) {
        format!(
            "the network for agents is not there; make it (`docker network create`), or set EGRESS_NETWORK: {message}"
        )
    } else if any(&["bind source path does not exist"]) {
        format!(
            "the engine does not see a directory that the run needs; where runed is itself in a container, set HOST_DATA_DIR and HOST_APP_DIR to the paths of the machine: {message}"
        )
    } else if any(&["docker-init", "\"init\""]) {
        format!(
            "the engine has no init for containers; install its `docker-init` (tini): {message}"
        )
    } else if any(&[
        "no command specified",
        "executable file not found",
        "no such file or directory",
        "permission denied",
        "exec format error",
    ]) {
        format!("the entry point of the image {image} cannot be run; it is to be `ant`: {message}")
    } else if status == 400 {
        format!("the engine refuses this container: {message}")
    } else {
        return None;
    };
    Some(Refusal(advice))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(status: u16, message: &str) -> NotStarted {
        Trouble::Said { status, message: message.into() }.not_started("agent:1")
    }

    #[test]
    fn what_stays_as_it_is_says_what_to_do_and_what_passes_is_tried_again() {
        for (status, message, advice) in [
            (404, "No such image: agent:1", "docker pull agent:1"),
            (404, "network agents not found", "EGRESS_NETWORK"),
            (
                400,
                "invalid mount config for type \"bind\": bind source path does not exist: /x",
                "HOST_DATA_DIR",
            ),
            (
                400,
                "OCI runtime create failed: exec: \"/ant\": stat /ant: no such file or directory: unknown",
                "entry point",
            ),
            (400, "No command specified", "entry point"),
            (500, "exec: \"docker-init\": executable file not found in $PATH", "docker-init"),
            (400, "Minimum memory limit allowed is 6MB", "refuses"),
        ] {
            let outcome = outcome(status, message);
            let chain = outcome.chain();
            assert!(matches!(outcome, NotStarted::Refused(_)), "{message}: {chain}");
            assert!(chain.contains(advice), "{message}: {chain}");
        }
        for (status, message) in [(500, "device or resource busy"), (503, "shutting down")] {
            let outcome = outcome(status, message);
            assert!(matches!(outcome, NotStarted::Failed { .. }), "{message}");
            assert!(outcome.chain().contains(message), "{}", outcome.chain());
        }
    }

    #[test]
    fn an_engine_that_is_away_may_come_back_and_one_that_is_forbidden_does_not() {
        let system = |kind| Error::IOError { err: io::Error::from(kind) };
        let away = Trouble::of("/s", system(io::ErrorKind::ConnectionRefused));
        assert!(matches!(away, Trouble::Away { .. }));
        assert!(matches!(away.not_started("i"), NotStarted::Failed { .. }));
        let forbidden = Trouble::of("/s", system(io::ErrorKind::PermissionDenied));
        let forbidden = forbidden.not_started("i");
        assert!(matches!(forbidden, NotStarted::Refused(_)));
        assert!(
            forbidden.chain().contains("/s; add the user to the group"),
            "{}",
            forbidden.chain()
        );
        assert!(matches!(Trouble::of("/s", Error::RequestTimeoutError), Trouble::Away { .. }));
        let said = Error::DockerResponseServerError { status_code: 409, message: " busy\n".into() };
        assert!(Trouble::of("/s", said).is_conflict());
    }
}
