//! Fetching a file that another daemon serves, piece by piece: none is held whole.

use super::{CALL_TIMEOUT, Peer, PeerError, bearer, protocol, refusal, waits};
use crate::traces::{self, TRACEPARENT};
use axum::body::Bytes;
use futures::{Stream, stream};
use http::{HeaderName, HeaderValue, header};
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// How long a peer may say nothing in the middle of a file.
const PIECE_TIME: Duration = Duration::from_secs(30);

/// A file that a peer serves, while it is read.
#[derive(Debug)]
pub struct Fetched {
    peer: &'static str,
    url: String,
    answer: reqwest::Response,
}

impl Fetched {
    /// How many bytes it has, where the peer says so.
    pub fn length(&self) -> Option<u64> {
        self.answer.content_length()
    }

    /// A header of the peer's answer.
    pub fn header(&self, name: &HeaderName) -> Option<&HeaderValue> {
        self.answer.headers().get(name)
    }

    /// The next bytes; `None` at the file's end.
    ///
    /// # Errors
    /// It broke off, or nothing came for half a minute.
    pub async fn piece(&mut self) -> Result<Option<Bytes>, PeerError> {
        match timeout(PIECE_TIME, self.answer.chunk()).await {
            Ok(Ok(piece)) => Ok(piece),
            Ok(Err(source)) => {
                Err(PeerError::Unknown { peer: self.peer, url: self.url.clone(), source })
            }
            Err(_) => Err(protocol(&self.url, "nothing more of a file").named(self.peer)),
        }
    }

    /// The bytes, in order.
    pub fn into_pieces(self) -> impl Stream<Item = Result<Bytes, PeerError>> + Send + 'static {
        stream::try_unfold(self, |mut file| async move {
            Ok(file.piece().await?.map(|piece| (piece, file)))
        })
    }
}

impl Peer {
    /// Fetches the file at `path` (with its query), presenting this daemon's token. A token that is refused is
    /// replaced once.
    ///
    /// # Errors
    /// See [`PeerError`].
    pub async fn fetch(&self, path: &str) -> Result<Fetched, PeerError> {
        let token = self.token(None).await?;
        match self.fetch_as(path, token.as_ref().map(|token| token.as_bytes())).await {
            Err(error) if error.is_unauthorized() && self.can_renew() => {
                let token = self.token(token.as_deref()).await?;
                self.fetch_as(path, token.as_ref().map(|token| token.as_bytes())).await
            }
            other => other,
        }
    }

    /// The same, presenting `credential` instead of this daemon's token. A refusal is not tried again here: see
    /// [`secrets::Watched::present`].
    ///
    /// # Errors
    /// See [`PeerError`].
    pub async fn fetch_with(&self, path: &str, credential: &[u8]) -> Result<Fetched, PeerError> {
        self.fetch_as(path, Some(credential)).await
    }

    async fn fetch_as(&self, path: &str, credential: Option<&[u8]>) -> Result<Fetched, PeerError> {
        let (peer, url) = (self.name, format!("{}{path}", self.base));
        let credential = credential.and_then(bearer);
        for wait in waits(self.at_once) {
            let mut call = self.http.get(&url);
            if let Some(credential) = &credential {
                call = call.header(header::AUTHORIZATION, credential.clone());
            }
            if let Some(span) = traces::carried() {
                call = call.header(TRACEPARENT, span);
            }
            // The time is for the answer's beginning: a file takes as long as it takes.
            match timeout(CALL_TIMEOUT, call.send()).await {
                Ok(Ok(answer)) if answer.status().is_success() => {
                    return Ok(Fetched { peer, url, answer });
                }
                Ok(Ok(answer)) => return Err(refusal(&url, answer).await.named(peer)),
                Ok(Err(error)) if error.is_connect() => match wait {
                    Some(wait) => sleep(wait).await,
                    None => return Err(PeerError::Unreachable { peer, url, source: error }),
                },
                Ok(Err(source)) => return Err(PeerError::Unknown { peer, url, source }),
                Err(_) => return Err(protocol(&url, "no answer in time").named(peer)),
            }
        }
        Err(protocol(&url, "no attempt was made").named(peer))
    }
}
