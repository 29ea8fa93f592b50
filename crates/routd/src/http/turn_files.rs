//! Files on a turn's socket: those that came with messages go to the agent, those that it sends come from it. None is
//! held whole.

use super::until;
use crate::{
    adapters, attachment,
    attempt::Attempt,
    fault::Fault,
    files::NotStored,
    hub,
    store::{channels, messages},
};
use axum::{
    Json,
    body::Body,
    extract::{Path, Request, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use futures::stream;
use kit::{Caller, Failure, Fetched, PeerError};
use proto::{
    Code, Nothing,
    routd::{Attachment, Channel},
    turn::{NoFile, Wanted, WantedAsk},
};
use std::io;

/// Characters of a reason that are kept.
const REASON_MAX: usize = 200;

/// A file that came with a message.
pub(super) async fn get(State(attempt): State<Attempt>, Path(id): Path<String>) -> Response {
    given(&attempt, &id).await.into_response()
}

async fn given(attempt: &Attempt, id: &str) -> Result<Response, Failure> {
    check(attempt).await?;
    let app = attempt.app()?;
    let most = app.settings.files.each;
    let none = || Failure::not_found("there is no such file for this turn");
    let (seq, index) = read_id(id).ok_or_else(none)?;
    let begun = attempt.clone();
    let found = app.db.try_read(move |conn| {
        let turn = begun.current(conn)?;
        let message = messages::get(conn, seq)?
            .filter(|one| one.folder.as_ref() == Some(&turn.folder) && !one.outbound);
        let Some(mut message) = message else { return Ok(None) };
        let registered = channels::of_chat(conn, &message.chat_jid)?;
        let daemon = adapters::of_platform(message.chat_jid.platform());
        if index >= message.attachments.len() {
            return Ok::<_, Fault>(None);
        }
        let file = message.attachments.swap_remove(index);
        Ok(daemon.zip(registered).map(|(daemon, one)| (file, daemon, one.channel)))
    });
    let (file, daemon, channel) = found.await?.ok_or_else(none)?;
    if file.size.is_some_and(|size| size > most) {
        return Err(too_large(most));
    }
    let path = place(&file, &channel).ok_or_else(none)?;
    let fetched = app.context.peers.at(daemon, channel.url).fetch(&path).await;
    let fetched = fetched.map_err(|error| told(&error))?;
    if fetched.length().is_some_and(|length| length > most) {
        return Err(too_large(most));
    }
    let headers = super::files::headers(&file.filename, &file.mime, fetched.length());
    Ok((headers, Body::from_stream(limited(fetched, most))).into_response())
}

/// Refuses who speaks for an attempt that is over: it may repeat its result, and nothing else.
async fn check(attempt: &Attempt) -> Result<(), Failure> {
    let (app, begun) = (attempt.app()?, attempt.clone());
    Ok(app.db.try_read(move |conn| begun.current(conn).map(drop)).await?)
}

/// Where the adapter serves it.
fn place(file: &Attachment, channel: &Channel) -> Option<String> {
    let url = file.url.as_deref()?;
    let path = attachment::path_at(&channel.url, url);
    if path.is_none() {
        tracing::warn!(
            adapter = channel.name,
            "an attachment's address is not below the adapter's"
        );
    }
    path
}

/// The message and the place among its files, as `SEQ-INDEX`.
fn read_id(id: &str) -> Option<(i64, usize)> {
    let (seq, index) = id.split_once('-')?;
    Some((seq.parse().ok()?, index.parse().ok()?))
}

/// The bytes, cut off by an error where there are too many, so that nobody takes them for the whole.
fn limited(
    file: Fetched,
    most: u64,
) -> impl futures::Stream<Item = io::Result<bytes::Bytes>> + Send + 'static {
    stream::try_unfold((file, most), |(mut file, left)| async move {
        let piece = file.piece().await.map_err(io::Error::other)?;
        let Some(piece) = piece else { return Ok(None) };
        let left = left.checked_sub(piece.len() as u64);
        let left = left.ok_or_else(|| io::Error::other("the file is larger than it may be"))?;
        Ok(Some((piece, (file, left))))
    })
}

fn too_large(most: u64) -> Failure {
    Failure::new(Code::TooLarge, format!("the file has more than {most} bytes"))
}

/// An adapter's refusal, for the agent's side: what it may ask for again, and what it may not.
fn told(error: &PeerError) -> Failure {
    tracing::warn!(error = %kit::chain(error), "an adapter did not give a file");
    match error.status() {
        Some(404 | 410) => Failure::not_found("the adapter does not have the file any more"),
        Some(413) => Failure::new(Code::TooLarge, "the platform does not give a file of this size"),
        Some(400..=499) => Failure::not_found("the adapter does not give the file"),
        _ => Failure::unavailable("the adapter of this chat does not give files just now"),
    }
}

/// Which files of the home are wanted; waits for one.
pub(super) async fn wanted(attempt: Attempt, _: Caller, ask: WantedAsk) -> Result<Wanted, Failure> {
    attempt.is(ask.attempt)?;
    check(&attempt).await?;
    let app = attempt.app()?;
    let deadline = until(ask.wait_seconds);
    // Listening comes before looking, so that what happens between the two is not missed.
    let mut news = app.wake.hub.listen(&hub::files(&attempt.turn_id));
    loop {
        let files = app.desk.wanted(&attempt, ask.after);
        if !files.is_empty() {
            return Ok(Wanted { files });
        }
        tokio::select! {
            () = news.woken() => {}
            () = app.context.stop.cancelled() => return Ok(Wanted { files }),
            () = tokio::time::sleep_until(deadline) => return Ok(Wanted { files }),
        }
    }
}

/// Takes a file that is wanted.
pub(super) async fn bring(
    State(attempt): State<Attempt>,
    Path(id): Path<i64>,
    request: Request,
) -> Response {
    brought(&attempt, id, request).await.into_response()
}

async fn brought(attempt: &Attempt, id: i64, request: Request) -> Result<Response, Failure> {
    check(attempt).await?;
    let app = attempt.app()?;
    let bringing = app.desk.take(attempt, id).ok_or_else(nobody_waits)?;
    let most = bringing.max_bytes;
    let body = request.into_body().into_data_stream();
    let (told, answer) = match app.files.receive(body, most).await {
        Ok(stored) => (Ok(stored), Ok((StatusCode::OK, Json(Nothing {})).into_response())),
        Err(NotStored::TooLarge(_)) => {
            (Err(format!("the file has more than {most} bytes")), Err(too_large(most)))
        }
        Err(NotStored::BrokeOff) => {
            let failure = Failure::bad_request("the file broke off in the middle");
            (Err("the file could not be read to its end".into()), Err(failure))
        }
        Err(error @ NotStored::Disk(_)) => {
            tracing::error!(error = %kit::chain(&error), "a file cannot be stored");
            let failure = Failure::unavailable("the file cannot be stored now");
            (Err("the file cannot be stored now; try again later".into()), Err(failure))
        }
    };
    bringing.tell(told);
    answer
}

/// Takes note that a file cannot be brought.
pub(super) async fn refuse(attempt: Attempt, _: Caller, said: NoFile) -> Result<Nothing, Failure> {
    check(&attempt).await?;
    let bringing = attempt.app()?.desk.take(&attempt, said.id).ok_or_else(nobody_waits)?;
    let line = said.reason.split_whitespace().collect::<Vec<_>>().join(" ");
    bringing.tell(Err(line.chars().take(REASON_MAX).collect()));
    Ok(Nothing {})
}

fn nobody_waits() -> Failure {
    Failure::not_found("nobody waits for this file")
}
