//! Files: those that agents sent, for the adapters of their chats.

use crate::{adapters::Voice, app::App, attachment, fault::Fault, store::files};
use axum::{
    Extension,
    body::Body,
    extract::{Path, Query, State},
    http::{HeaderMap, HeaderValue, header},
    response::{IntoResponse, Response},
};
use kit::{Caller, Failure};
use proto::Jid;
use serde::Deserialize;
use std::sync::Arc;

/// What a file may be asked for with.
#[derive(Debug, Deserialize)]
pub(super) struct Asked {
    /// The chat in which it was sent.
    #[serde(default)]
    chat_jid: Option<Jid>,
}

/// A file that an agent sent.
pub(super) async fn get(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    Query(asked): Query<Asked>,
) -> Response {
    served(&app, &caller, &id, asked.chat_jid.as_ref()).await.into_response()
}

async fn served(
    app: &App,
    caller: &Caller,
    id: &str,
    chat: Option<&Jid>,
) -> Result<Response, Failure> {
    let none = || Failure::not_found("there is no such file, or its time is over");
    let wanted = id.to_owned();
    let file = app.db.read(move |conn| files::get(conn, &wanted)).await.map_err(Fault::from)?;
    let file =
        file.filter(|file| chat.is_none_or(|chat| *chat == file.chat_jid)).ok_or_else(none)?;
    let voice = Voice::of(caller, || app.channel.with_own_secret()).filter(|voice| {
        // A person sees a chat through webd, which knows which one that is.
        !matches!(voice, Voice::Person) && caller.reaches(&file.folder)
    });
    voice.ok_or_else(none)?.require(caller, file.chat_jid.platform())?;
    let pieces = app.files.read(id).await.map_err(|error| {
        tracing::error!(id, %error, "a file that a row tells of is not there");
        none()
    })?;
    let headers = headers(&file.name, &file.mime, Some(file.size));
    Ok((headers, Body::from_stream(pieces)).into_response())
}

/// The headers of a file. Nobody is to show it as anything else than what it is saved as.
pub(super) fn headers(name: &str, mime: &str, size: Option<u64>) -> HeaderMap {
    let bytes = HeaderValue::from_static("application/octet-stream");
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_str(mime).unwrap_or(bytes));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if let Ok(disposition) = HeaderValue::from_str(&attachment::disposition(name)) {
        headers.insert(header::CONTENT_DISPOSITION, disposition);
    }
    headers.extend(size.map(|size| (header::CONTENT_LENGTH, HeaderValue::from(size))));
    headers
}
