//! Capability links: what a token opens, remembered for a moment.

use crate::{guest, routd::Routd};
use kit::PeerError;
use proto::{
    Jid, Opaque,
    routd::{Link, LinkKind, Signature},
};
use sha2::{Digest, Sha256};
use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// How long an answer is used again: a revoked link works at most this much longer.
const REMEMBERED: Duration = Duration::from_secs(2);
/// Most answers remembered.
const KNOWN_MAX: usize = 4096;

/// The token of a link, as it was shown. `Debug` hides it.
#[derive(Clone)]
pub struct Token {
    text: String,
    kind: LinkKind,
}

impl Token {
    /// A token that could be one; routd is not asked about anything else.
    pub fn shown(text: &str, kind: LinkKind) -> Option<Self> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        let fits = (16..=128).contains(&text.len()) && text.bytes().all(plain);
        fits.then(|| Self { text: text.to_owned(), kind })
    }

    /// The path below which it works, such as `/chat/…`, for the browser that showed it.
    pub fn path(&self) -> String {
        format!("/{}/{}", self.kind.name(), self.text)
    }

    fn key(&self) -> Key {
        Sha256::digest(format!("{} {}", self.kind.name(), self.text)).into()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({}, ..)", self.kind.name())
    }
}

/// What a token opens.
#[derive(Debug)]
pub struct Opened {
    /// The id of the link.
    pub id: Opaque,
    /// The chat.
    pub chat_jid: Jid,
    /// How its deliveries are signed.
    pub signature: Option<Signature>,
}

impl From<Link> for Opened {
    fn from(link: Link) -> Self {
        Self { id: link.id, chat_jid: link.chat_jid, signature: link.signature }
    }
}

/// Why a token opens nothing now.
#[derive(Debug, thiserror::Error)]
pub enum NoLink {
    /// There is no such link, or it has ended.
    #[error("there is no such link")]
    Unknown,
    /// routd could not be asked.
    #[error("routd could not be asked what a link opens")]
    NotAsked(#[source] PeerError),
}

type Key = [u8; 32];
type Known = HashMap<Key, (Instant, Option<Arc<Opened>>)>;

/// The links that were asked for lately.
#[derive(Debug)]
pub struct Links {
    routd: Routd,
    /// Whether anybody may open a chat without a link.
    guests: bool,
    known: Mutex<Known>,
}

impl Links {
    /// Links, as `routd` knows them; and the chats of guests, new ones where `guests` says so.
    pub fn new(routd: Routd, guests: bool) -> Self {
        Self { routd, guests, known: Mutex::default() }
    }

    /// What `token` opens.
    pub async fn resolve(&self, token: &Token) -> Result<Arc<Opened>, NoLink> {
        let key = token.key();
        if let Some(answer) = self.remembered(&key) {
            return answer.ok_or(NoLink::Unknown);
        }
        let asked = match guest::chat_of(&token.text).filter(|_| token.kind == LinkKind::Chat) {
            Some(chat) => self.of_guest(chat).await,
            None => {
                self.routd.resolve(token.kind, &token.text).await.map(|link| link.map(Opened::from))
            }
        };
        let answer = asked.map_err(NoLink::NotAsked)?.map(Arc::new);
        self.remember(key, answer.clone());
        answer.ok_or(NoLink::Unknown)
    }

    /// A guest's chat. One that was begun stays open, whatever may be opened now.
    async fn of_guest(&self, chat: Jid) -> Result<Option<Opened>, PeerError> {
        if !self.guests && !self.routd.is_begun(&chat).await? {
            return Ok(None);
        }
        // The address of the chat is an id by itself.
        let id = chat.as_str().replace(':', "-").parse().ok();
        Ok(id.map(|id| Opened { id, chat_jid: chat, signature: None }))
    }

    fn remembered(&self, key: &Key) -> Option<Option<Arc<Opened>>> {
        let (at, answer) = self.known().get(key)?.clone();
        (at.elapsed() < REMEMBERED).then_some(answer)
    }

    fn remember(&self, key: Key, answer: Option<Arc<Opened>>) {
        let mut known = self.known();
        if known.len() >= KNOWN_MAX {
            known.retain(|_, (at, _)| at.elapsed() < REMEMBERED);
        }
        // Still full: somebody guesses at a rate that the edge lets through. Forgetting is safe.
        if known.len() >= KNOWN_MAX {
            known.clear();
        }
        known.insert(key, (Instant::now(), answer));
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
