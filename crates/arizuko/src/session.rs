//! The operator's way in: authd's admin socket, and the token it gives.

use crate::{
    addresses::Addresses,
    failure::{Exit, Failure},
    instance::Instance,
};
use kit::{Peer, PeerError, Peers};
use proto::{
    Daemon, Endpoint, Nothing,
    authd::{LOGIN_LINK, LoginLink, OPERATOR_TOKEN, OperatorTokenRequest},
};
use serde::{Serialize, de::DeserializeOwned};
use std::time::{Duration, Instant};

/// Before a call is made again.
const PAUSE: Duration = Duration::from_millis(200);
/// What was found less than this ago is not looked for again.
const FRESH: Duration = Duration::from_secs(1);

/// The daemons of an instance, each called with the operator's token.
#[derive(Clone, Debug)]
pub struct Session {
    peers: Peers,
}

impl Session {
    /// Proves this user to authd, on the socket that only the instance's owner can open.
    ///
    /// # Errors
    /// The instance does not run, or belongs to another user.
    pub async fn begin(instance: &Instance) -> Result<Self, Failure> {
        let token = ask(instance, &OPERATOR_TOKEN, &OperatorTokenRequest {}).await?;
        let addresses = Addresses::find(instance)?;
        Ok(Self { peers: Peers::with_token(kit::http_client()?, addresses.daemons, &token.token) })
    }

    /// One daemon.
    pub fn peer(&self, daemon: Daemon) -> Peer {
        self.peers.get(daemon)
    }
}

/// One daemon, for as long as a command takes: found anew after a restart, which may have moved it,
/// and shown a new token when the old one has ended.
#[derive(Debug)]
pub struct Line<'a> {
    instance: &'a Instance,
    daemon: Daemon,
    peer: Peer,
    found: Instant,
}

impl<'a> Line<'a> {
    /// Finds `daemon` for the first time.
    ///
    /// # Errors
    /// As for [`Session::begin`].
    pub async fn open(instance: &'a Instance, daemon: Daemon) -> Result<Self, Failure> {
        let peer = Session::begin(instance).await?.peer(daemon);
        Ok(Self { instance, daemon, peer, found: Instant::now() })
    }

    /// The daemon, where it was last found.
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// Whether a call that failed so is worth making again, before `deadline`; then this has waited
    /// a moment, and looked where the daemon is now.
    pub async fn recovers(&mut self, error: &PeerError, deadline: Instant) -> bool {
        let is_old = self.found.elapsed() >= FRESH;
        let is_lost = error.is_unauthorized()
            || matches!(error, PeerError::Unreachable { .. } | PeerError::Unknown { .. });
        // A token that was refused as soon as it was made will be refused again.
        let passes = error.is_retryable() || (error.is_unauthorized() && is_old);
        if !passes || Instant::now() >= deadline {
            return false;
        }
        tokio::time::sleep(PAUSE).await;
        // While the instance is away, the next call fails as this one did.
        if is_old
            && is_lost
            && let Ok(session) = Session::begin(self.instance).await
        {
            self.peer = session.peer(self.daemon);
            self.found = Instant::now();
        }
        true
    }
}

/// A link that logs this operator in, once.
///
/// # Errors
/// As for [`Session::begin`].
pub async fn login_link(instance: &Instance) -> Result<LoginLink, Failure> {
    ask(instance, &LOGIN_LINK, &Nothing {}).await
}

/// Asks authd on the admin socket.
async fn ask<Req: Serialize, Res: DeserializeOwned>(
    instance: &Instance,
    endpoint: &Endpoint<Req, Res>,
    request: &Req,
) -> Result<Res, Failure> {
    let socket = instance.run_dir().join("admin.sock");
    let not_running = |why: &str| {
        let line = format!(
            "the instance {} does not run ({why} {}); start it with `arizuko up`, or name another with --instance or --data-dir",
            instance.name,
            socket.display()
        );
        Failure::new(Exit::Unavailable, line)
    };
    match std::fs::metadata(&socket) {
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            return Err(Failure::io("use", &socket, &error));
        }
        Err(_) => return Err(not_running("there is no")),
    }
    let admin = Peer::on_socket("authd", &socket)
        .map_err(|error| Failure::new(Exit::Software, error.to_string()))?;
    admin.call(endpoint, request).await.map_err(|error| match error {
        // As a process that was killed leaves it.
        PeerError::Unreachable { .. } => not_running("nobody answers on"),
        error => error.into(),
    })
}
