//! What happened in a chat.

use super::{page, until};
use crate::{
    app::App,
    fault::Fault,
    hub,
    store::{feed, messages},
};
use kit::{Caller, Failure};
use proto::{
    Address,
    routd::{FeedPage, FeedQuery},
};
use std::sync::Arc;

/// A page of the feed; waits for something to be there.
pub(super) async fn get(
    app: Arc<App>,
    caller: Caller,
    query: FeedQuery,
) -> Result<FeedPage, Failure> {
    let FeedQuery { chat_jid, after, limit, wait_seconds } = query;
    reach(&app, &caller, &chat_jid).await?;
    let (deadline, limit) = (until(wait_seconds), page(limit));
    // Listening comes before looking, so that what happens between the two is not missed.
    let mut news = app.wake.hub.listen(&hub::chat(chat_jid.as_str()));
    loop {
        let chat = chat_jid.clone();
        let read = app.db.read(move |conn| feed::page(conn, &chat, after, limit)).await;
        let events = read.map_err(Fault::from)?;
        if let Some(last) = events.last() {
            let cursor = last.seq;
            return Ok(FeedPage { events, cursor });
        }
        let empty = FeedPage { events, cursor: after.unwrap_or(0) };
        tokio::select! {
            () = news.woken() => {}
            () = app.context.stop.cancelled() => return Ok(empty),
            () = tokio::time::sleep_until(deadline) => return Ok(empty),
        }
    }
}

/// Refuses a token that is limited to a folder whose chat this is not.
async fn reach(app: &Arc<App>, caller: &Caller, chat: &proto::Jid) -> Result<(), Failure> {
    if caller.reaches_all() {
        return Ok(());
    }
    let folder = match chat.address() {
        Address::Web(folder) | Address::Hook(folder, _) => Some(folder),
        Address::Platform => match caller.folder().cloned() {
            Some(limit) => {
                let chat = chat.clone();
                let of = app.db.read(move |conn| messages::folder_of_chat(conn, &chat, &limit));
                of.await.map_err(Fault::from)?
            }
            // What is said in a platform's chat may be several folders'.
            None => None,
        },
    };
    match folder.is_some_and(|folder| caller.reaches(&folder)) {
        true => Ok(()),
        false => Err(Failure::forbidden(format!("this token does not reach the chat {chat}"))),
    }
}
