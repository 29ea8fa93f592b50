//! The methods of the Web API that an app such as ours calls.

use super::{APP, BOT, BOT_USER, Shared, TEAM, files, state::Inner};
use serde_json::{Value, json};
use std::sync::Arc;

/// Why a call is not done.
pub(crate) type Refusal = &'static str;

/// What a method answers.
pub(crate) fn answer(shared: &Arc<Shared>, method: &str, token: &str, given: &Value) -> Value {
    let mut inner = shared.inner();
    let done = admit(&inner, method, token)
        .and_then(|()| dispatch(shared, &mut inner, method, token, given));
    match done {
        Ok(mut fields) => {
            fields["ok"] = true.into();
            fields
        }
        Err(error) => json!({"ok": false, "error": error}),
    }
}

fn admit(inner: &Inner, method: &str, token: &str) -> Result<(), String> {
    if token.is_empty() {
        return Err("not_authed".into());
    }
    let of_app = method == "apps.connections.open";
    let (tokens, others) = match of_app {
        true => (&inner.app_tokens, &inner.bot_tokens),
        false => (&inner.bot_tokens, &inner.app_tokens),
    };
    match tokens.get(token) {
        Some(None) => Ok(()),
        Some(Some(error)) => Err(error.clone()),
        None if others.contains_key(token) => Err("not_allowed_token_type".into()),
        None => Err("invalid_auth".into()),
    }
}

fn dispatch(
    shared: &Arc<Shared>,
    inner: &mut Inner,
    method: &str,
    token: &str,
    given: &Value,
) -> Result<Value, String> {
    let done = match method {
        "auth.test" => Ok(
            json!({"url": "https://loopback.slack.example/", "team": "loopback", "user": "agent",
            "team_id": TEAM, "user_id": BOT_USER, "bot_id": BOT, "is_enterprise_install": false}),
        ),
        "chat.postMessage" => post(inner, given),
        "chat.update" => update(inner, given),
        "chat.delete" => delete(inner, given),
        "conversations.history" => history(inner, given),
        "conversations.replies" => replies(inner, given),
        "conversations.info" => info(inner, given),
        "users.info" => inner
            .users
            .get(text(given, "user"))
            .map(|user| json!({"user": user}))
            .ok_or("user_not_found"),
        "reactions.add" => react(inner, given, true),
        "reactions.remove" => react(inner, given, false),
        "files.getUploadURLExternal" => files::upload_url(shared, inner, given),
        "files.completeUploadExternal" => files::complete(shared, inner, given),
        "files.info" => files::info(shared, inner, given),
        "files.delete" => files::delete(inner, given),
        "assistant.threads.setStatus" => {
            pane(given, "status")?;
            let text = |name| text(given, name).to_owned();
            inner.statuses.push((text("channel_id"), text("thread_ts"), text("status")));
            Ok(json!({}))
        }
        "assistant.threads.setTitle" => {
            pane(given, "title")?;
            let (thread, title) = (text(given, "thread_ts"), text(given, "title"));
            inner.titles.insert(thread.into(), title.into());
            Ok(json!({}))
        }
        "assistant.threads.setSuggestedPrompts" => {
            pane(given, "prompts")?;
            let prompts = structured(given, "prompts");
            let fits = prompts.as_array().is_some_and(|all| {
                (1..=4).contains(&all.len())
                    && all.iter().all(|one| one["title"].is_string() && one["message"].is_string())
            });
            match fits {
                false => Err("invalid_arguments"),
                true => {
                    inner.prompts.insert(text(given, "thread_ts").into(), prompts);
                    Ok(json!({}))
                }
            }
        }
        "apps.connections.open" => {
            let ticket = format!("ticket-{}", inner.fresh());
            inner.tickets.insert(ticket.clone(), token.to_owned());
            Ok(json!({"url": format!("{}/link/?ticket={ticket}&app_id={APP}", shared.socket)}))
        }
        _ => Err("unknown_method"),
    };
    done.map_err(str::to_owned)
}

/// An argument that is text.
pub(crate) fn text<'a>(given: &'a Value, name: &str) -> &'a str {
    given[name].as_str().unwrap_or_default()
}

/// An argument that is JSON, or JSON in text.
pub(crate) fn structured(given: &Value, name: &str) -> Value {
    match &given[name] {
        Value::String(text) => serde_json::from_str(text).unwrap_or_default(),
        other => other.clone(),
    }
}

fn flag(given: &Value, name: &str) -> bool {
    match &given[name] {
        Value::Bool(flag) => *flag,
        Value::String(text) => matches!(text.as_str(), "1" | "true"),
        Value::Number(number) => number.as_i64() == Some(1),
        _ => false,
    }
}

fn pane(given: &Value, what: &str) -> Result<(), String> {
    let there = ["channel_id", "thread_ts", what].iter().all(|name| !given[*name].is_null());
    there.then_some(()).ok_or_else(|| "invalid_arguments".to_owned())
}

/// Whether the app may post into a conversation.
pub(crate) fn may_post(inner: &Inner, channel: &str) -> Result<(), Refusal> {
    let found = inner.channel(channel).ok_or("channel_not_found")?;
    match (found.archived, found.has_app) {
        (true, _) => Err("is_archived"),
        (false, false) => Err("not_in_channel"),
        (false, true) => Ok(()),
    }
}

/// Puts a message of the app's own into a conversation.
pub(crate) fn put(inner: &mut Inner, channel: &str, mut message: Value) -> Value {
    let ts = inner.next_ts();
    for (name, value) in [
        ("type", "message"),
        ("user", BOT_USER),
        ("bot_id", BOT),
        ("app_id", APP),
        ("team", TEAM),
        ("ts", &*ts),
    ] {
        message[name] = value.into();
    }
    inner.channel_mut(channel).unwrap().messages.push(message.clone());
    message
}

fn post(inner: &mut Inner, given: &Value) -> Result<Value, Refusal> {
    let (channel, said) = (text(given, "channel"), text(given, "text"));
    may_post(inner, channel)?;
    let blocks = structured(given, "blocks");
    if said.is_empty() && blocks.as_array().is_none_or(Vec::is_empty) {
        return Err("no_text");
    }
    if said.chars().count() > 40_000 {
        return Err("msg_too_long");
    }
    let thread = text(given, "thread_ts");
    let known = |message: &Value| message["ts"] == thread;
    if !thread.is_empty() && !inner.channel(channel).unwrap().messages.iter().any(known) {
        return Err("thread_not_found");
    }
    let metadata = structured(given, "metadata");
    let is_whole = metadata["event_type"].is_string() && metadata["event_payload"].is_object();
    if !(metadata.is_null() || is_whole) {
        return Err("invalid_metadata_format");
    }
    let mut message = json!({"text": said});
    if !thread.is_empty() {
        message["thread_ts"] = thread.into();
    }
    if !metadata.is_null() {
        message["metadata"] = metadata;
    }
    if !blocks.is_null() {
        message["blocks"] = blocks;
    }
    let message = put(inner, channel, message);
    Ok(json!({"channel": channel, "ts": message["ts"], "message": message}))
}

fn own<'a>(
    inner: &'a mut Inner,
    given: &Value,
    refusal: Refusal,
) -> Result<&'a mut Value, Refusal> {
    let channel = inner.channel_mut(text(given, "channel")).ok_or("channel_not_found")?;
    let ts = text(given, "ts");
    let message = channel.messages.iter_mut().find(|message| message["ts"] == ts);
    let message = message.ok_or("message_not_found")?;
    if message["user"] == BOT_USER { Ok(message) } else { Err(refusal) }
}

fn update(inner: &mut Inner, given: &Value) -> Result<Value, Refusal> {
    let said = text(given, "text").to_owned();
    if said.is_empty() {
        return Err("no_text");
    }
    if said.chars().count() > 4_000 {
        return Err("msg_too_long");
    }
    let edited = json!({"user": BOT_USER, "ts": inner.next_ts()});
    let message = own(inner, given, "cant_update_message")?;
    message["text"] = said.clone().into();
    message["edited"] = edited;
    let message = message.clone();
    Ok(
        json!({"channel": text(given, "channel"), "ts": message["ts"], "text": said, "message": message}),
    )
}

fn delete(inner: &mut Inner, given: &Value) -> Result<Value, Refusal> {
    own(inner, given, "cant_delete_message")?;
    let ts = text(given, "ts");
    let channel = inner.channel_mut(text(given, "channel")).ok_or("channel_not_found")?;
    channel.messages.retain(|message| message["ts"] != ts);
    Ok(json!({"channel": text(given, "channel"), "ts": ts}))
}

/// A message as it is read, with its metadata only where that was asked for.
fn read(message: &Value, given: &Value) -> Value {
    let mut message = message.clone();
    if !flag(given, "include_all_metadata")
        && let Some(fields) = message.as_object_mut()
    {
        fields.remove("metadata");
    }
    message
}

fn number(given: &Value, name: &str, default: usize) -> usize {
    match &given[name] {
        Value::Number(number) => number.as_u64().and_then(|n| n.try_into().ok()).unwrap_or(default),
        Value::String(text) => text.parse().unwrap_or(default),
        _ => default,
    }
}

/// Messages between the given times, one page of them.
fn page(mut found: Vec<Value>, given: &Value) -> Value {
    let inclusive = flag(given, "inclusive");
    let (oldest, latest) = (text(given, "oldest"), text(given, "latest"));
    found.retain(|message| {
        let ts = text(message, "ts");
        let after = oldest.is_empty() || ts > oldest || (inclusive && ts == oldest);
        let before = latest.is_empty() || ts < latest || (inclusive && ts == latest);
        after && before
    });
    let from =
        text(given, "cursor").strip_prefix("at:").and_then(|at| at.parse().ok()).unwrap_or(0);
    let limit = number(given, "limit", 100).clamp(1, 1000);
    let all = found.len();
    let messages: Vec<Value> = found.into_iter().skip(from).take(limit).collect();
    let next = from + messages.len();
    let more = next < all;
    let cursor = if more { format!("at:{next}") } else { String::new() };
    json!({"messages": messages, "has_more": more, "response_metadata": {"next_cursor": cursor}})
}

fn history(inner: &mut Inner, given: &Value) -> Result<Value, Refusal> {
    let channel = inner.channel(text(given, "channel")).ok_or("channel_not_found")?;
    if !channel.has_app {
        return Err("not_in_channel");
    }
    // Replies are in their thread, and not in the channel.
    let top = |message: &&Value| {
        message["thread_ts"].is_null()
            || message["thread_ts"] == message["ts"]
            || message["subtype"] == "thread_broadcast"
    };
    let found = channel.messages.iter().filter(top).rev();
    Ok(page(found.map(|message| read(message, given)).collect(), given))
}

fn replies(inner: &mut Inner, given: &Value) -> Result<Value, Refusal> {
    let channel = inner.channel(text(given, "channel")).ok_or("channel_not_found")?;
    let ts = text(given, "ts");
    if !channel.messages.iter().any(|message| message["ts"] == ts) {
        return Err("thread_not_found");
    }
    let of_thread = |message: &&Value| message["ts"] == ts || message["thread_ts"] == ts;
    let found = channel.messages.iter().filter(of_thread);
    Ok(page(found.map(|message| read(message, given)).collect(), given))
}

fn info(inner: &mut Inner, given: &Value) -> Result<Value, Refusal> {
    use super::Kind;
    let id = text(given, "channel");
    let channel = inner.channel(id).ok_or("channel_not_found")?;
    let kind = channel.kind;
    let mut shown = json!({"id": id, "is_channel": kind == Kind::Public, "is_group": kind == Kind::Private,
        "is_im": kind == Kind::Direct, "is_private": kind != Kind::Public, "is_archived": channel.archived,
        "is_member": channel.has_app});
    match kind {
        Kind::Direct => shown["user"] = channel.name.clone().into(),
        _ => shown["name"] = channel.name.clone().into(),
    }
    Ok(json!({"channel": shown}))
}

fn react(inner: &mut Inner, given: &Value, add: bool) -> Result<Value, Refusal> {
    let (name, ts) = (text(given, "name"), text(given, "timestamp"));
    let plain = |c: char| c.is_alphanumeric() || "_-+:'".contains(c);
    if name.is_empty() || !name.chars().all(plain) {
        return Err("invalid_name");
    }
    let channel = inner.channel_mut(text(given, "channel")).ok_or("channel_not_found")?;
    let found = channel.messages.iter_mut().find(|message| message["ts"] == ts);
    let message = found.ok_or("message_not_found")?;
    let mut reactions = message["reactions"].as_array().cloned().unwrap_or_default();
    let at = reactions.iter().position(|one| {
        let by_app = one["users"].as_array().is_some_and(|users| users.contains(&BOT_USER.into()));
        one["name"] == name && by_app
    });
    match (add, at) {
        (true, Some(_)) => return Err("already_reacted"),
        (false, None) => return Err("no_reaction"),
        (true, None) => reactions.push(json!({"name": name, "users": [BOT_USER], "count": 1})),
        (false, Some(at)) => drop(reactions.remove(at)),
    }
    message["reactions"] = reactions.into();
    Ok(json!({}))
}
