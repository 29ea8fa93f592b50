//! Whose session a cookie is, remembered for a moment.

use kit::{Peer, PeerError};
use proto::{
    Daemon,
    authd::{RESOLVE_SESSION, ResolveSession},
};
use sha2::{Digest, Sha256};
use std::{
    collections::HashMap,
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// How long a login counts without asking again: a logout takes effect within this time. What lets a
/// daemon act for somebody lasts longer than that.
const REMEMBERED: Duration = Duration::from_secs(30);
/// How long a cookie that is nobody's stays so without asking again.
const NOBODY_REMEMBERED: Duration = Duration::from_secs(5);
/// Most cookies remembered.
const KNOWN_MAX: usize = 8192;

type Known = HashMap<([u8; 32], Option<Daemon>), (Instant, Option<Who>)>;

/// Somebody who is logged in.
#[derive(Clone)]
pub struct Who {
    /// Who, as an opaque subject.
    pub subject: String,
    /// What lets the daemon that was named act for them.
    pub act: Option<String>,
}

impl fmt::Debug for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Who({})", self.subject)
    }
}

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

    /// Who is logged in under `cookie`; `None` where nobody is. `acting` is the daemon that serves the
    /// request, where it may act for them.
    ///
    /// # Errors
    /// authd could not be asked.
    pub async fn whose(
        &self,
        cookie: &str,
        acting: Option<Daemon>,
    ) -> Result<Option<Who>, PeerError> {
        let key = (Sha256::digest(cookie).into(), acting);
        if let Some((until, who)) = self.known().get(&key)
            && *until > Instant::now()
        {
            return Ok(who.clone());
        }
        let request = ResolveSession { cookie: cookie.to_owned(), acting };
        let who = match self.authd.call(&RESOLVE_SESSION, &request).await {
            Ok(session) => Some(Who { subject: session.subject, act: session.act }),
            Err(error) if error.status() == Some(404) => None,
            Err(error) => return Err(error),
        };
        let lasts = if who.is_some() { REMEMBERED } else { NOBODY_REMEMBERED };
        let mut known = self.known();
        let now = Instant::now();
        if known.len() >= KNOWN_MAX {
            known.retain(|_, (until, _)| *until > now);
        }
        // Still full: remembering is a convenience, so all of it can go.
        if known.len() >= KNOWN_MAX {
            known.clear();
        }
        known.insert(key, (now + lasts, who.clone()));
        Ok(who)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
