//! Whose session a cookie is, remembered for a moment.

use kit::{Peer, PeerError};
use proto::authd::{RESOLVE_SESSION, ResolveSession};
use sha2::{Digest, Sha256};
use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// How long a login counts without asking again: a logout takes effect within this time.
const REMEMBERED: Duration = Duration::from_secs(30);
/// How long a cookie that is nobody's stays so without asking again.
const NOBODY_REMEMBERED: Duration = Duration::from_secs(5);
/// Most cookies remembered.
const KNOWN_MAX: usize = 8192;

type Known = HashMap<[u8; 32], (Instant, Option<String>)>;

/// The sessions that were asked for lately. Keyed by hash: no cookie is kept.
#[derive(Debug)]
pub struct Sessions {
    authd: Peer,
    known: Mutex<Known>,
}

impl Sessions {
    /// Sessions, as `authd` knows them.
    pub fn new(authd: Peer) -> Self {
        Self { authd, known: Mutex::default() }
    }

    /// Who is logged in under `cookie`; `None` where nobody is.
    ///
    /// # Errors
    /// authd could not be asked.
    pub async fn subject(&self, cookie: &str) -> Result<Option<String>, PeerError> {
        let key = Sha256::digest(cookie).into();
        if let Some((until, subject)) = self.known().get(&key)
            && *until > Instant::now()
        {
            return Ok(subject.clone());
        }
        let request = ResolveSession { cookie: cookie.to_owned() };
        let subject = match self.authd.call(&RESOLVE_SESSION, &request).await {
            Ok(session) => Some(session.subject),
            Err(error) if error.status() == Some(404) => None,
            Err(error) => return Err(error),
        };
        let lasts = if subject.is_some() { REMEMBERED } else { NOBODY_REMEMBERED };
        let mut known = self.known();
        let now = Instant::now();
        if known.len() >= KNOWN_MAX {
            known.retain(|_, (until, _)| *until > now);
        }
        // Still full: remembering is a convenience, so all of it can go.
        if known.len() >= KNOWN_MAX {
            known.clear();
        }
        known.insert(key, (now + lasts, subject.clone()));
        Ok(subject)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
