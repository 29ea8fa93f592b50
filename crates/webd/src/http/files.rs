//! Files that the agent sent in a chat, for whoever holds the chat's link.
//!
//! They are saved and never shown: what an agent made must not run as a page of ours.

use super::{App, Shared, failure};
use crate::story::is_file_id;
use axum::{
    body::Body,
    extract::{Path, State},
    http::{HeaderMap, HeaderValue, header},
    response::{IntoResponse, Response},
};
use kit::Failure;
use proto::{Jid, routd::LinkKind};

/// Even where a browser shows it all the same, nothing of it runs, and it belongs to no site.
const FILE_POLICY: &str = "sandbox; default-src 'none'";

/// `GET /chat/{token}/files/{id}`
pub async fn get(
    State(app): Shared,
    Path((token, id)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    let link = match app.open(LinkKind::Chat, &token, &headers).await {
        Ok((_, link)) => link,
        Err(instead) => return instead,
    };
    app.file(&link.chat_jid, &id).await.into_response()
}

impl App {
    async fn file(&self, chat: &Jid, id: &str) -> Result<Response, Failure> {
        let none = || Failure::not_found("there is no such file here, or its time is over");
        if !is_file_id(id) {
            return Err(none());
        }
        let fetched = self.routd.file(chat, id).await.map_err(|error| failure(&error))?;
        let fetched = fetched.ok_or_else(none)?;
        let mut headers = HeaderMap::new();
        let attachment = HeaderValue::from_static("attachment");
        let named = fetched.header(&header::CONTENT_DISPOSITION).cloned();
        headers.insert(header::CONTENT_DISPOSITION, named.unwrap_or(attachment));
        let bytes = HeaderValue::from_static("application/octet-stream");
        headers.insert(header::CONTENT_TYPE, bytes);
        headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(FILE_POLICY));
        let length = fetched.length().map(HeaderValue::from);
        headers.extend(length.map(|length| (header::CONTENT_LENGTH, length)));
        Ok((headers, Body::from_stream(fetched.into_pieces())).into_response())
    }
}
