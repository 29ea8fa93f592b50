//! Acting for the person whose request a daemon behind the edge is serving.
//!
//! The edge hands on, beside who is logged in, something that stands for that person's session, in
//! this daemon's hands, for two minutes. authd takes it for a token of that person, for one peer: so
//! a daemon that shows pages does what the person may, and can make up nobody.

use crate::{Act, EdgeIdentity, Peer, PeerError, Peers};
use proto::{
    Daemon,
    authd::{USER_TOKEN, UserTokenRequest},
};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// How long a token is used again for the same session and peer. It ends after five minutes; a
/// logout counts within this time, and within the edge's own.
const KEPT: Duration = Duration::from_secs(60);
/// Most tokens kept.
const KEPT_MAX: usize = 4096;

type Kept = HashMap<(Act, Daemon), (Instant, Peer)>;

/// The peers of this daemon, called with people's own rights. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Acting {
    peers: Peers,
    kept: Arc<Mutex<Kept>>,
}

impl Acting {
    /// For a daemon that may: see `sessions:act` in `auth`.
    pub fn new(peers: &Peers) -> Self {
        Self { peers: peers.clone(), kept: Arc::default() }
    }

    /// `peer`, called with the rights of whoever sent the request that `edge` tells of; `None` where
    /// nobody is logged in. For that request alone: the token ends five minutes later at most.
    ///
    /// # Errors
    /// authd could not be asked, or refuses: 401 with the code `session_over` where the session has
    /// ended meanwhile, so that the person has to log in again.
    pub async fn peer(&self, edge: &EdgeIdentity, peer: Daemon) -> Result<Option<Peer>, PeerError> {
        let Some(act) = &edge.act else { return Ok(None) };
        let key = (act.clone(), peer);
        let known = {
            let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            kept.get(&key).filter(|(made, _)| made.elapsed() < KEPT).map(|(_, peer)| peer.clone())
        };
        if let Some(known) = known {
            return Ok(Some(known));
        }
        let request = UserTokenRequest { act: act.0.to_string(), audience: peer };
        let token = self.peers.get(Daemon::Authd).call(&USER_TOKEN, &request).await?;
        let theirs = self.peers.get(peer).presenting(&token.token);
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= KEPT_MAX {
            kept.retain(|_, (made, _)| made.elapsed() < KEPT);
        }
        // Still full: keeping is a convenience, so all of it can go.
        if kept.len() >= KEPT_MAX {
            kept.clear();
        }
        kept.insert(key, (Instant::now(), theirs.clone()));
        Ok(Some(theirs))
    }
}
