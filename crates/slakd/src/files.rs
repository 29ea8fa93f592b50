//! Files, both ways: the external upload flow, and what is fetched under the bot's token.

use crate::{
    api::{Api, CallError, bearer},
    chat::{Chat, is_id},
    credentials::Token,
    reconcile,
};
use adapter::{Handing, OpenFile, Trouble, capped};
use futures::{StreamExt, TryStreamExt};
use proto::{Opaque, routd::Attachment};
use secrets::Attempt;
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};
use tokio::time::sleep;
use url::Url;

/// Most bytes of a file, either way. Slack itself takes 1 GB.
const BYTES_MAX: u64 = 100 << 20;
/// How long an upload may take.
const UPLOAD: Duration = Duration::from_secs(300);
/// The waits before it is looked whether a file was shared whose answer was lost.
const LOOKS: [Duration; 3] =
    [Duration::ZERO, Duration::from_millis(1_500), Duration::from_millis(3_000)];

/// Uploads a file and shares it in a conversation.
pub(crate) async fn send(
    api: &Api,
    chat: &Chat,
    thread: Option<&str>,
    file: &Attachment,
    handing: &Handing<'_>,
) -> Result<Vec<Opaque>, Trouble> {
    let open = handing.files.open(file, handing.chat, BYTES_MAX).await?;
    let Some(length) = open.size.or(file.size).filter(|length| *length > 0) else {
        return Err(Trouble::Permanent(format!("the file {} is empty", file.filename)));
    };
    let form = vec![("filename", file.filename.clone()), ("length", length.to_string())];
    let place = api.call("files.getUploadURLExternal", &form).await?;
    let id = place["file_id"].as_str().filter(|id| is_id(id)).unwrap_or_default().to_owned();
    let url = place["upload_url"].as_str().and_then(|url| Url::parse(url).ok());
    let url = url.filter(|url| api.url().may_be_followed(url));
    let Some(url) = url.filter(|_| !id.is_empty()) else {
        return Err(Trouble::Transient("Slack named no place to upload a file to".into()));
    };
    let body = reqwest::Body::wrap_stream(open.content);
    let sent = api.http().post(url).header("content-length", length).timeout(UPLOAD).body(body);
    let sent = sent.send().await.map_err(|error| {
        Trouble::Transient(format!("an upload broke off: {}", kit::chain(&error.without_url())))
    })?;
    if !sent.status().is_success() {
        let why = format!("Slack answered an upload with {}", sent.status().as_u16());
        return Err(Trouble::Transient(why));
    }
    share(api, chat, thread, &id, &file.filename).await?;
    id.parse().map(|id| vec![id]).map_err(|_| Trouble::Ambiguous("the file has no id".into()))
}

async fn share(
    api: &Api,
    chat: &Chat,
    thread: Option<&str>,
    id: &str,
    title: &str,
) -> Result<(), Trouble> {
    let mut form = vec![
        ("files", json!([{"id": id, "title": title}]).to_string()),
        ("channel_id", chat.channel().to_owned()),
    ];
    form.extend(thread.map(|thread| ("thread_ts", thread.to_owned())));
    let trouble = match api.call("files.completeUploadExternal", &form).await {
        Ok(_) => return Ok(()),
        Err(error) => error.trouble(false),
    };
    let Trouble::Ambiguous(why) = trouble else { return Err(trouble) };
    // The file is ours alone, so whether it was shared says whether the call was carried out.
    for wait in LOOKS {
        sleep(wait).await;
        match reconcile::ask(api, "files.info", &vec![("file", id.to_owned())]).await {
            Some(info) if is_shared(&info) => return Ok(()),
            Some(_) => {}
            None => return Err(Trouble::Ambiguous(why)),
        }
    }
    Err(Trouble::Transient(why))
}

fn is_shared(info: &Value) -> bool {
    let shares = info["file"]["shares"].as_object();
    shares.is_some_and(|shares| {
        shares.values().any(|kind| kind.as_object().is_some_and(|kind| !kind.is_empty()))
    })
}

/// Opens a file of Slack's.
pub(crate) async fn open(api: &Api, id: &str) -> Result<OpenFile, Trouble> {
    if !is_id(id) {
        return Err(Trouble::Permanent("there is no such file".into()));
    }
    let info = match api.call("files.info", &vec![("file", id.to_owned())]).await {
        Ok(info) => info,
        Err(error) if matches!(error.word(), Some("file_not_found" | "file_deleted")) => {
            return Err(Trouble::Permanent("there is no such file any more".into()));
        }
        Err(error) => return Err(error.trouble(true)),
    };
    let file = &info["file"];
    let url = file["url_private_download"].as_str().or_else(|| file["url_private"].as_str());
    let url = url.and_then(|url| Url::parse(url).ok());
    let Some(url) = url.filter(|url| api.url().may_have_token(url)) else {
        return Err(Trouble::Permanent("the file is not on Slack's own servers".into()));
    };
    let mime = file["mimetype"].as_str().map(str::to_owned);
    let size = file["size"].as_u64();
    if size.is_some_and(|size| size > BYTES_MAX) {
        return Err(Trouble::Permanent(format!("the file has more than {BYTES_MAX} bytes")));
    }
    let is_page = mime.as_deref().is_some_and(|mime| mime.starts_with("text/html"));
    let fetch = |token: Arc<Option<Token>>| {
        let url = url.clone();
        async move {
            let Some(token) = token.as_ref() else { return Attempt::Failed(CallError::NoToken) };
            fetch(api, token, url, is_page).await
        }
    };
    let response = api.bot().present(fetch).await.map_err(|error| error.trouble(true))?;
    let size = response.content_length().or(size);
    let broken = |error: reqwest::Error| {
        Trouble::Transient(format!("a file breaks off: {}", kit::chain(&error.without_url())))
    };
    let content = response.bytes_stream().map_err(broken).boxed();
    Ok(OpenFile { mime, size, content: capped(content, BYTES_MAX) })
}

async fn fetch(
    api: &Api,
    token: &Token,
    url: Url,
    is_page: bool,
) -> Attempt<reqwest::Response, CallError> {
    let header = match bearer(token) {
        Ok(header) => header,
        Err(error) => return Attempt::Failed(error),
    };
    let response = match api.http().get(url).header("authorization", header).send().await {
        Ok(response) => response,
        Err(error) => {
            let why = kit::chain(&error.without_url());
            return Attempt::Failed(CallError::Unreached(format!("a file is not fetched: {why}")));
        }
    };
    let kind = response.headers().get("content-type").and_then(|kind| kind.to_str().ok());
    let page = kind.is_some_and(|kind| kind.starts_with("text/html"));
    let status = response.status().as_u16();
    let refused = |word: &str, why: &str| CallError::Refused {
        word: word.into(),
        class: crate::refusal::class("files.info", word),
        wait: None,
        why: why.into(),
    };
    match status {
        // Whoever has no good token is led to a page to log in.
        200 if page && !is_page => {
            Attempt::Refused(refused("invalid_auth", "Slack shows a page to log in for a file"))
        }
        200 => Attempt::Done(response),
        301 | 302 | 303 | 307 | 308 | 401 | 403 => {
            Attempt::Refused(refused("invalid_auth", "Slack does not give a file under this token"))
        }
        404 | 410 => Attempt::Failed(refused("file_not_found", "there is no such file any more")),
        _ => Attempt::Failed(CallError::Unreached(format!("Slack answered {status} for a file"))),
    }
}
