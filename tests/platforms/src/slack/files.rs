//! Files: the external upload flow, and what is fetched under the app's token.

use super::{
    Shared,
    methods::{Refusal, may_post, put, structured, text},
    state::{File, Inner},
};
use axum::{
    body::Bytes,
    extract::{Path, State},
    http::{HeaderMap, StatusCode, header},
    response::{Html, IntoResponse, Response},
};
use serde_json::{Value, json};
use std::sync::Arc;

/// A file as it is shown.
pub(crate) fn shown(shared: &Shared, id: &str, file: &File) -> Value {
    let url = format!("{}/files-pri/{id}/{}", shared.base, file.name);
    json!({"id": id, "name": file.name, "title": file.name, "mimetype": file.mime, "mode": "hosted",
        "size": file.content.len(), "is_external": false, "url_private": url,
        "url_private_download": url})
}

pub(crate) fn upload_url(
    shared: &Arc<Shared>,
    inner: &mut Inner,
    given: &Value,
) -> Result<Value, Refusal> {
    let name = text(given, "filename").to_owned();
    let length = match &given["length"] {
        Value::Number(number) => number.as_u64(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    };
    let promised = length.and_then(|n| usize::try_from(n).ok()).filter(|n| *n > 0);
    let promised = promised.filter(|_| !name.is_empty()).ok_or("invalid_arguments")?;
    let id = format!("F{}", inner.fresh());
    let mime = "application/octet-stream".to_owned();
    let file = File { name, mime, promised, content: Vec::new(), shared: false };
    inner.files.insert(id.clone(), file);
    Ok(json!({"upload_url": format!("{}/upload/{id}", shared.base), "file_id": id}))
}

pub(crate) async fn upload(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
    body: Bytes,
) -> Response {
    let mut inner = shared.inner();
    let Some(file) = inner.files.get_mut(&id).filter(|file| file.content.is_empty()) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    if body.len() != file.promised {
        return (StatusCode::BAD_REQUEST, "not the length that was promised").into_response();
    }
    file.content = body.to_vec();
    format!("OK - {}", body.len()).into_response()
}

pub(crate) fn complete(
    shared: &Arc<Shared>,
    inner: &mut Inner,
    given: &Value,
) -> Result<Value, Refusal> {
    let wanted = structured(given, "files");
    let ids: Vec<String> =
        wanted.as_array().into_iter().flatten().map(|one| text(one, "id").to_owned()).collect();
    let whole = |id: &String| {
        inner.files.get(id).is_some_and(|file| file.content.len() == file.promised && !file.shared)
    };
    if ids.is_empty() || !ids.iter().all(whole) {
        return Err("file_not_found");
    }
    let channel = text(given, "channel_id").to_owned();
    if !channel.is_empty() {
        may_post(inner, &channel)?;
    }
    let mut all = Vec::new();
    for id in &ids {
        let file = inner.files.get_mut(id).unwrap();
        file.shared = true;
        all.push(shown(shared, id, inner.files.get(id).unwrap()));
    }
    if !channel.is_empty() {
        let mut message = json!({"text": text(given, "initial_comment"), "files": all.clone()});
        message["subtype"] = "file_share".into();
        if !text(given, "thread_ts").is_empty() {
            message["thread_ts"] = given["thread_ts"].clone();
        }
        put(inner, &channel, message);
    }
    Ok(json!({"files": all}))
}

pub(crate) fn info(
    shared: &Arc<Shared>,
    inner: &mut Inner,
    given: &Value,
) -> Result<Value, Refusal> {
    let id = text(given, "file");
    let file = inner.files.get(id).ok_or("file_not_found")?;
    let mut shown = shown(shared, id, file);
    let mut shares = serde_json::Map::new();
    for channel in ["C1", "G1", "D1"] {
        let messages =
            inner.channel(channel).map(|one| one.messages.as_slice()).unwrap_or_default();
        let has = |message: &&Value| {
            message["files"].as_array().is_some_and(|all| all.iter().any(|one| one["id"] == id))
        };
        let found: Vec<Value> =
            messages.iter().filter(has).map(|message| json!({"ts": message["ts"]})).collect();
        if !found.is_empty() {
            let kind = if channel == "C1" { "public" } else { "private" };
            shares.entry(kind).or_insert_with(|| json!({}))[channel] = found.into();
        }
    }
    shown["shares"] = shares.into();
    Ok(json!({"file": shown}))
}

pub(crate) fn delete(inner: &mut Inner, given: &Value) -> Result<Value, Refusal> {
    let id = text(given, "file");
    inner.files.remove(id).ok_or("file_not_found")?;
    for channel in ["C1", "G1", "D1"] {
        let Some(found) = inner.channel_mut(channel) else { continue };
        found.messages.retain(|message| {
            let files = message["files"].as_array();
            !files.is_some_and(|all| all.iter().any(|one| one["id"] == id))
        });
    }
    Ok(json!({}))
}

/// As Slack does, whoever has no good token gets a page to log in, and status 200.
pub(crate) async fn download(
    State(shared): State<Arc<Shared>>,
    Path((id, _)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    let inner = shared.inner();
    let bearer = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = bearer.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default();
    if !matches!(inner.bot_tokens.get(token), Some(None)) {
        return Html("<html><title>Log in</title></html>").into_response();
    }
    match inner.files.get(&id) {
        Some(file) => {
            ([(header::CONTENT_TYPE, file.mime.clone())], file.content.clone()).into_response()
        }
        None => StatusCode::NOT_FOUND.into_response(),
    }
}
