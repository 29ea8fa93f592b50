//! The operator's way in: authd's admin socket, and the token it gives.

use crate::{
    addresses::Addresses,
    failure::{Exit, Failure},
    instance::Instance,
};
use kit::{Peer, Peers};
use proto::{
    Daemon, Nothing,
    authd::{LOGIN_LINK, LoginLink, OPERATOR_TOKEN, OperatorTokenRequest},
};

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
        let admin = admin(instance)?;
        let token = admin.call(&OPERATOR_TOKEN, &OperatorTokenRequest {}).await?;
        let addresses = Addresses::find(instance)?;
        Ok(Self { peers: Peers::with_token(kit::http_client()?, addresses.daemons, &token.token) })
    }

    /// One daemon.
    pub fn peer(&self, daemon: Daemon) -> Peer {
        self.peers.get(daemon)
    }
}

/// A link that logs this operator in, once.
///
/// # Errors
/// As for [`Session::begin`].
pub async fn login_link(instance: &Instance) -> Result<LoginLink, Failure> {
    Ok(admin(instance)?.call(&LOGIN_LINK, &Nothing {}).await?)
}

fn admin(instance: &Instance) -> Result<Peer, Failure> {
    let socket = instance.run_dir().join("admin.sock");
    match std::fs::metadata(&socket) {
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            return Err(Failure::io("use", &socket, &error));
        }
        Err(_) => {
            let line = format!(
                "the instance {} does not run ({} is not there); start it with `arizuko up`, or name another with --instance or --data-dir",
                instance.name,
                socket.display()
            );
            return Err(Failure::new(Exit::Unavailable, line));
        }
    }
    Peer::on_socket("authd", &socket)
        .map_err(|error| Failure::new(Exit::Software, error.to_string()))
}
