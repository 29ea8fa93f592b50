//! What an adapter serves to routd. Translation only.

use crate::{
    Act, Platform, files,
    outbound::{NotOut, Outbound, Request},
};
use axum::{
    extract::{Path, State},
    response::{IntoResponse, Response},
    routing::get,
};
use kit::{Api, Caller, Failure, Tasks};
use proto::{
    Code, Jid, Nothing, Opaque,
    routd::{
        ADAPTER_FILE, DELETE, Delete, EDIT, Edit, HISTORY, History, HistoryQuery, REACT, React,
        SEND, Send as Message, Sent, TYPING, Typing,
    },
};
use rand::Rng;
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::{sync::Arc, time::Duration};
use tokio::{sync::oneshot, time::timeout};

/// How long a request waits for its outcome; it goes on without it. Less than routd waits for an answer.
const PATIENCE: Duration = Duration::from_secs(40);
/// When a request whose outcome was not there yet is to be made again.
const AGAIN: Duration = Duration::from_secs(5);
/// The longest key.
const KEY_MAX: usize = 256;

/// What the handlers share.
pub(crate) struct Served<P> {
    pub(crate) outbound: Arc<Outbound<P>>,
    pub(crate) tasks: Tasks,
}

/// Adds the endpoints that this platform has.
pub(crate) fn mount<P: Platform>(api: &mut Api, served: Arc<Served<P>>) {
    let can = |word: &str| served.outbound.platform.profile().capabilities.contains(&word);
    let state = || served.clone();
    api.mount_keyed(SEND, state(), send);
    if can("edit") {
        api.mount_keyed(EDIT, state(), edit);
    }
    if can("delete") {
        api.mount_keyed(DELETE, state(), delete);
    }
    if can("react") {
        api.mount_keyed(REACT, state(), react);
    }
    if can("typing") {
        api.mount(TYPING, state(), typing);
    }
    if can("history") {
        api.mount(HISTORY, state(), history);
    }
    api.raw(ADAPTER_FILE, get(file::<P>).with_state(state()));
}

async fn send<P: Platform>(
    served: Arc<Served<P>>,
    _: Caller,
    key: Option<String>,
    message: Message,
) -> Result<Sent, Failure> {
    let chat = message.chat_jid.clone();
    let ids = served.carry(SEND.route.path, key, chat, &message, Act::Send).await?;
    Ok(Sent { ids })
}

async fn edit<P: Platform>(
    served: Arc<Served<P>>,
    _: Caller,
    key: Option<String>,
    edit: Edit,
) -> Result<Nothing, Failure> {
    let chat = edit.chat_jid.clone();
    let act = |edit: Edit| Act::Edit(edit, Vec::new());
    served.carry(EDIT.route.path, key, chat, &edit, act).await.map(|_| Nothing {})
}

async fn delete<P: Platform>(
    served: Arc<Served<P>>,
    _: Caller,
    key: Option<String>,
    delete: Delete,
) -> Result<Nothing, Failure> {
    let chat = delete.chat_jid.clone();
    let act = |delete: Delete| Act::Delete(delete, Vec::new());
    served.carry(DELETE.route.path, key, chat, &delete, act).await.map(|_| Nothing {})
}

async fn react<P: Platform>(
    served: Arc<Served<P>>,
    _: Caller,
    key: Option<String>,
    react: React,
) -> Result<Nothing, Failure> {
    let chat = react.chat_jid.clone();
    served.carry(REACT.route.path, key, chat, &react, Act::React).await.map(|_| Nothing {})
}

async fn typing<P: Platform>(
    served: Arc<Served<P>>,
    _: Caller,
    typing: Typing,
) -> Result<Nothing, Failure> {
    served.own(&typing.chat_jid)?;
    let platform = &served.outbound.platform;
    let shown = platform.typing(&typing.chat_jid, typing.thread_id.as_deref()).await;
    shown.map(|()| Nothing {}).map_err(|trouble| trouble.failure())
}

async fn history<P: Platform>(
    served: Arc<Served<P>>,
    _: Caller,
    query: HistoryQuery,
) -> Result<History, Failure> {
    served.own(&query.chat_jid)?;
    let history = served.outbound.platform.history(&query).await;
    history.map_err(|trouble| trouble.failure())
}

async fn file<P: Platform>(
    State(served): State<Arc<Served<P>>>,
    Path(id): Path<String>,
) -> Response {
    match served.outbound.platform.open_file(&id).await {
        Ok(file) => files::answer(file),
        Err(crate::Trouble::Permanent(why)) => Failure::not_found(why).into_response(),
        Err(trouble) => trouble.failure().into_response(),
    }
}

impl<P: Platform> Served<P> {
    /// Refuses a chat that is another adapter's.
    fn own(&self, chat: &Jid) -> Result<(), Failure> {
        let prefixes = self.outbound.platform.profile().prefixes;
        if prefixes.iter().any(|prefix| chat.as_str().starts_with(prefix)) {
            return Ok(());
        }
        let detail = format!("{chat} is no chat of this adapter's");
        Err(Failure::new(Code::BadRequest, detail).code("permanent"))
    }

    /// Has the order carried to its end, and waits for that as long as routd does.
    async fn carry<T: Serialize + Clone>(
        &self,
        path: &str,
        key: Option<String>,
        chat: Jid,
        what: &T,
        act: impl FnOnce(T) -> Act,
    ) -> Result<Vec<Opaque>, Failure> {
        self.own(&chat)?;
        let digest = digest(path, what)?;
        // Without a key nobody can ask again, and nothing is to be remembered for long.
        let key = key.unwrap_or_else(|| format!("unkeyed-{:032x}", rand::rng().random::<u128>()));
        if key.len() > KEY_MAX || !key.chars().all(|c| c.is_ascii_graphic()) {
            return Err(Failure::bad_request("`Idempotency-Key` has 1 to 256 visible characters"));
        }
        let request = Request { key, digest, chat, act: act(what.clone()) };
        let (tell, told) = oneshot::channel();
        let outbound = self.outbound.clone();
        // A task of its own, so that a caller who goes away does not cut it off in the middle.
        self.tasks.spawn("carry", async move {
            if tell.send(outbound.carry(request).await).is_err() {
                tracing::debug!("nobody waits for the outcome any more; it is in the spool");
            }
        });
        match timeout(PATIENCE, told).await {
            Ok(Ok(Ok(ids))) => Ok(ids),
            Ok(Ok(Err(NotOut::Trouble(trouble)))) => Err(trouble.failure()),
            Ok(Ok(Err(other))) => Err(other.failure()),
            Ok(Err(_)) | Err(_) => {
                let detail = "it is still under way; ask again under the same Idempotency-Key";
                Err(Failure::unavailable(detail).code("transient").retry_after(AGAIN))
            }
        }
    }
}

fn digest<T: Serialize>(path: &str, what: &T) -> Result<String, Failure> {
    let body = serde_json::to_vec(what).map_err(|error| Failure::internal(&error))?;
    let mut hash = Sha256::new();
    hash.update(path);
    hash.update([0]);
    hash.update(body);
    Ok(hex::encode(hash.finalize()))
}
