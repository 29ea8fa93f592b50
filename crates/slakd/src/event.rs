//! What Slack tells us, as what it means to the suite. Pure.
//!
//! Read field by field out of the JSON, each as long as it has the shape that is expected: an event that has grown a new
//! part, or lost one, loses no text by that. Nothing here fails; what means nothing to us says why.
//! The events are those of <https://docs.slack.dev/reference/events>.

use crate::{
    chat::{Chat, is_ts},
    text,
};
use serde_json::Value;

/// How what happened came to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Channel {
    /// An event of the Events API.
    Event,
    /// A slash command.
    Command,
    /// A button that was pressed, and other parts of messages that can be used.
    Interaction,
}

/// What it means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// Somebody said or did something in a chat.
    Post(Box<Post>),
    /// Somebody opened the assistant's pane: a thread of the suite's own chat.
    Opened(Pane),
    /// Nothing to the suite, for this reason.
    Nothing(&'static str),
}

/// What somebody said or did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Post {
    /// Where.
    pub(crate) chat: Chat,
    /// What names it among all that happened in that chat.
    pub(crate) id: String,
    /// The member who did it.
    pub(crate) user: String,
    /// What that member is called, where it was said along.
    pub(crate) user_name: Option<String>,
    /// What it is.
    pub(crate) verb: Verb,
    /// The text, with Slack's references in it; without them for what is not a text of Slack's.
    pub(crate) text: String,
    /// The thread that it belongs to.
    pub(crate) thread: Option<String>,
    /// The message that it is about.
    pub(crate) about: Option<String>,
    /// When it happened, in milliseconds since 1970.
    pub(crate) at: Option<i64>,
    /// The files that came with it.
    pub(crate) files: Vec<File>,
    /// Whether several people are in the chat.
    pub(crate) is_group: bool,
}

/// What a post is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    /// A message.
    Message,
    /// A message that names the app.
    Mention,
    /// A message's text was replaced.
    Edit,
    /// A message was taken back.
    Delete,
    /// A reaction was put on a message.
    React,
    /// A reaction was taken off a message.
    Unreact,
    /// A slash command.
    Command,
    /// A button of a message.
    Button,
}

impl Verb {
    /// As routes know it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Message => "message",
            Self::Mention => "mention",
            Self::Edit => "edit",
            Self::Delete => "delete",
            Self::React => "react",
            Self::Unreact => "unreact",
            Self::Command => "command",
            Self::Button => "button",
        }
    }
}

/// A file that came with a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct File {
    /// Slack's id of it.
    pub(crate) id: String,
    /// Its name.
    pub(crate) name: String,
    /// Its media type.
    pub(crate) mime: String,
    /// Its bytes, where Slack says.
    pub(crate) size: Option<u64>,
}

/// A thread of the assistant's pane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pane {
    /// The conversation.
    pub(crate) chat: Chat,
    /// The thread.
    pub(crate) thread: String,
}

/// For whom an event was sent: this app, as it is installed in a workspace.
#[derive(Clone, Copy, Debug)]
struct Us<'a> {
    team: &'a str,
    user: &'a str,
    app: &'a str,
}

/// A part of the JSON, read without any demand.
#[derive(Clone, Copy)]
struct Part<'a>(&'a Value);

impl<'a> Part<'a> {
    fn at(self, name: &str) -> Self {
        Self(self.0.get(name).unwrap_or(&Value::Null))
    }

    fn text(self, name: &str) -> &'a str {
        self.0.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    fn some(self, name: &str) -> Option<&'a str> {
        Some(self.text(name)).filter(|text| !text.is_empty())
    }

    fn list(self, name: &str) -> impl Iterator<Item = Self> {
        self.0.get(name).and_then(Value::as_array).into_iter().flatten().map(Self)
    }
}

/// What names a delivery, the same in every repeat of it.
pub(crate) fn delivery_id(how: Channel, payload: &Value) -> Option<String> {
    let payload = Part(payload);
    let id = match how {
        Channel::Event => payload.some("event_id"),
        // A press has no id; the trigger that came with it was made for it alone.
        Channel::Command | Channel::Interaction => payload.some("trigger_id"),
    };
    id.map(str::to_owned)
}

/// What a delivery means.
pub(crate) fn read(how: Channel, payload: &Value) -> Heard {
    let payload = Part(payload);
    match how {
        Channel::Event => callback(payload),
        Channel::Command => command(payload),
        Channel::Interaction => interaction(payload),
    }
}

fn callback(outer: Part<'_>) -> Heard {
    if outer.text("type") != "event_callback" {
        return Heard::Nothing("it is no event");
    }
    let installed = outer.list("authorizations").next();
    // In a channel that is shared between workspaces, the event's own team may be the other one.
    let team = installed.and_then(|one| one.some("team_id")).unwrap_or(outer.text("team_id"));
    let user = installed.map_or("", |one| one.text("user_id"));
    let us = Us { team, user, app: outer.text("api_app_id") };
    let event = outer.at("event");
    match event.text("type") {
        "message" | "app_mention" => message(us, event),
        "reaction_added" => reaction(us, event, Verb::React),
        "reaction_removed" => reaction(us, event, Verb::Unreact),
        "assistant_thread_started" | "assistant_thread_context_changed" => pane(us, event),
        _ => Heard::Nothing("an event of a kind that nothing is done about"),
    }
}

fn message(us: Us<'_>, event: Part<'_>) -> Heard {
    let Some(chat) = Chat::new(us.team, event.text("channel")) else {
        return Heard::Nothing("it names no conversation");
    };
    match event.text("subtype") {
        "" | "file_share" | "thread_broadcast" | "me_message" => said(us, chat, event),
        "message_changed" => changed(us, chat, event),
        "message_deleted" => {
            let gone = event.at("previous_message");
            deleted(us, chat, event, gone, event.text("deleted_ts"))
        }
        "bot_message" => Heard::Nothing("another app's message"),
        _ => Heard::Nothing("a message of Slack's own about the conversation"),
    }
}

/// Whether a message is this app's own, or another app's. Two agents that answer each other never end.
fn by_app(us: Us<'_>, message: Part<'_>) -> Option<&'static str> {
    let app = message.some("app_id").or_else(|| message.at("bot_profile").some("app_id"));
    let own = message.some("user").is_some_and(|user| user == us.user)
        || app.is_some_and(|app| app == us.app);
    match (own, message.some("bot_id")) {
        (true, _) => Some("our own"),
        (false, Some(_)) => Some("another app's message"),
        (false, None) => None,
    }
}

fn said(us: Us<'_>, chat: Chat, event: Part<'_>) -> Heard {
    if let Some(why) = by_app(us, event) {
        return Heard::Nothing(why);
    }
    let (ts, user) = (event.text("ts"), event.text("user"));
    if !is_ts(ts) || !crate::chat::is_id(user) {
        return Heard::Nothing("it does not say which message it is, or whose");
    }
    let text = event.text("text");
    let mentioned = !us.user.is_empty() && text::mentions(text, us.user);
    let mentioned = mentioned || event.text("type") == "app_mention";
    let files: Vec<File> = event.list("files").filter_map(file).collect();
    let text = text::without_address(text, us.user);
    if text.trim().is_empty() && files.is_empty() && !mentioned {
        return Heard::Nothing("it has no text and no file");
    }
    let about = thread_of(event, ts);
    // A mention in a channel begins a thread, so that the answer and what follows it crowd nobody else.
    let begins = mentioned && !chat.is_direct();
    let thread = about.clone().or_else(|| begins.then(|| ts.to_owned()));
    Heard::Post(Box::new(Post {
        is_group: !chat.is_direct(),
        id: ts.to_owned(),
        user: user.to_owned(),
        user_name: None,
        verb: if mentioned { Verb::Mention } else { Verb::Message },
        text: text.to_owned(),
        about,
        thread,
        at: milliseconds(ts),
        files,
        chat,
    }))
}

fn changed(us: Us<'_>, chat: Chat, event: Part<'_>) -> Heard {
    let (now, before) = (event.at("message"), event.at("previous_message"));
    let ts = now.text("ts");
    // What is left of a message that has replies, when it is deleted.
    if now.text("subtype") == "tombstone" {
        return deleted(us, chat, event, before, ts);
    }
    if let Some(why) = by_app(us, now) {
        return Heard::Nothing(why);
    }
    let edited = now.at("edited");
    let user = edited.some("user").unwrap_or(now.text("user"));
    let version = edited.text("ts");
    if !is_ts(ts) || !is_ts(version) || !crate::chat::is_id(user) {
        return Heard::Nothing("a change that nobody made, such as a preview of a link");
    }
    if now.text("text") == before.text("text") {
        return Heard::Nothing("a change that changed no text");
    }
    Heard::Post(Box::new(Post {
        is_group: !chat.is_direct(),
        id: format!("{ts}/edit/{version}"),
        user: user.to_owned(),
        user_name: None,
        verb: Verb::Edit,
        text: text::without_address(now.text("text"), us.user).to_owned(),
        thread: thread_of(now, ts),
        about: Some(ts.to_owned()),
        at: milliseconds(version),
        files: Vec::new(),
        chat,
    }))
}

fn deleted(us: Us<'_>, chat: Chat, event: Part<'_>, gone: Part<'_>, ts: &str) -> Heard {
    if let Some(why) = by_app(us, gone) {
        return Heard::Nothing(why);
    }
    let user = gone.text("user");
    if !is_ts(ts) || !crate::chat::is_id(user) {
        return Heard::Nothing("it does not say which message is gone, or whose");
    }
    Heard::Post(Box::new(Post {
        is_group: !chat.is_direct(),
        id: format!("{ts}/delete"),
        user: user.to_owned(),
        user_name: None,
        verb: Verb::Delete,
        text: "(deleted)".to_owned(),
        thread: thread_of(gone, ts),
        about: Some(ts.to_owned()),
        at: milliseconds(event.text("event_ts")),
        files: Vec::new(),
        chat,
    }))
}

fn reaction(us: Us<'_>, event: Part<'_>, verb: Verb) -> Heard {
    let (item, user) = (event.at("item"), event.text("user"));
    if user == us.user {
        return Heard::Nothing("our own");
    }
    let (ts, at, name) = (item.text("ts"), event.text("event_ts"), event.text("reaction"));
    let named = item.text("type") == "message" && is_ts(ts) && is_ts(at);
    let Some(chat) = Chat::new(us.team, item.text("channel")).filter(|_| named) else {
        return Heard::Nothing("a reaction to something that is no message");
    };
    let plain = |c: char| c.is_alphanumeric() || "_-+:'".contains(c);
    if !crate::chat::is_id(user) || name.is_empty() || name.len() > 100 || !name.chars().all(plain)
    {
        return Heard::Nothing("a reaction without a name");
    }
    Heard::Post(Box::new(Post {
        is_group: !chat.is_direct(),
        id: format!("{ts}/{}/{user}/{at}", verb.name()),
        user: user.to_owned(),
        user_name: None,
        verb,
        text: crate::emoji::shown(name),
        // The event does not say in which thread the message is.
        thread: None,
        about: Some(ts.to_owned()),
        at: milliseconds(at),
        files: Vec::new(),
        chat,
    }))
}

fn pane(us: Us<'_>, event: Part<'_>) -> Heard {
    let pane = event.at("assistant_thread");
    let thread = pane.text("thread_ts");
    match Chat::new(us.team, pane.text("channel_id")).filter(|_| is_ts(thread)) {
        Some(chat) => Heard::Opened(Pane { chat, thread: thread.to_owned() }),
        None => Heard::Nothing("a pane that names no thread"),
    }
}

fn command(form: Part<'_>) -> Heard {
    let (name, user) = (form.text("command"), form.text("user_id"));
    let chat = Chat::new(form.text("team_id"), form.text("channel_id"));
    let (Some(chat), Some(id)) = (chat, form.some("trigger_id")) else {
        return Heard::Nothing("a command that names no conversation");
    };
    if !crate::chat::is_id(user) || !name.starts_with('/') {
        return Heard::Nothing("a command without a name or a member");
    }
    Heard::Post(Box::new(Post {
        is_group: !chat.is_direct(),
        id: format!("command/{id}"),
        user: user.to_owned(),
        user_name: form.some("user_name").map(str::to_owned),
        verb: Verb::Command,
        text: format!("{name} {}", form.text("text")).trim_end().to_owned(),
        thread: form.some("thread_ts").filter(|ts| is_ts(ts)).map(str::to_owned),
        about: None,
        at: None,
        files: Vec::new(),
        chat,
    }))
}

fn interaction(payload: Part<'_>) -> Heard {
    if payload.text("type") != "block_actions" {
        return Heard::Nothing("an interaction of a kind that nothing is done about");
    }
    let container = payload.at("container");
    let channel = container.some("channel_id").unwrap_or(payload.at("channel").text("id"));
    let who = payload.at("user");
    let (user, ts) = (who.text("id"), container.text("message_ts"));
    let chat = Chat::new(payload.at("team").text("id"), channel);
    let (Some(chat), Some(action)) = (chat, payload.list("actions").next()) else {
        return Heard::Nothing("a button that is in no conversation");
    };
    let at = action.text("action_ts");
    if !crate::chat::is_id(user) || !is_ts(ts) || !is_ts(at) {
        return Heard::Nothing("a button of no message");
    }
    let chosen = action.at("selected_option");
    let label = action.at("text").some("text").or_else(|| chosen.at("text").some("text"));
    let value = action.some("value").or_else(|| chosen.some("value"));
    let text = match (label, value) {
        (Some(label), Some(value)) if label != value => format!("{label} ({value})"),
        (Some(only), _) | (None, Some(only)) => only.to_owned(),
        (None, None) => action.text("action_id").to_owned(),
    };
    if text.is_empty() {
        return Heard::Nothing("a button without a label");
    }
    let thread = container.some("thread_ts").filter(|thread| is_ts(thread) && *thread != ts);
    Heard::Post(Box::new(Post {
        is_group: !chat.is_direct(),
        id: format!("{ts}/button/{user}/{at}"),
        user: user.to_owned(),
        user_name: who.some("name").or_else(|| who.some("username")).map(str::to_owned),
        verb: Verb::Button,
        text,
        thread: thread.map(str::to_owned),
        about: Some(ts.to_owned()),
        at: milliseconds(at),
        files: Vec::new(),
        chat,
    }))
}

/// The thread that a message is in; the first message of a thread is in none.
fn thread_of(message: Part<'_>, ts: &str) -> Option<String> {
    let thread = message.some("thread_ts").filter(|thread| is_ts(thread) && *thread != ts);
    thread.map(str::to_owned)
}

fn file(part: Part<'_>) -> Option<File> {
    // One that was deleted, or is older than the workspace's plan shows, has nothing to fetch.
    if matches!(part.text("mode"), "tombstone" | "hidden_by_limit") {
        return None;
    }
    let id = part.some("id").filter(|id| crate::chat::is_id(id))?;
    let name = part.some("name").or_else(|| part.some("title")).unwrap_or(id);
    let bare = |text: &str, most: usize| {
        let shown = text.chars().filter(|c| !c.is_control()).collect::<String>();
        let end = (0..=most.min(shown.len())).rev().find(|at| shown.is_char_boundary(*at));
        shown.get(..end.unwrap_or(0)).unwrap_or_default().to_owned()
    };
    let name = Some(bare(name, 200)).filter(|name| !name.trim().is_empty());
    Some(File {
        name: name.unwrap_or_else(|| id.to_owned()),
        mime: bare(part.some("mimetype").unwrap_or("application/octet-stream"), 100),
        size: part.0.get("size").and_then(Value::as_u64),
        id: id.to_owned(),
    })
}

/// The time that names a message, in milliseconds since 1970.
pub(crate) fn milliseconds(ts: &str) -> Option<i64> {
    let (seconds, rest) = ts.split_once('.').filter(|_| is_ts(ts))?;
    let seconds: i64 = seconds.parse().ok()?;
    let thousandths: String = rest.chars().chain("000".chars()).take(3).collect();
    seconds.checked_mul(1000)?.checked_add(thousandths.parse().ok()?)
}

#[cfg(test)]
mod tests;
