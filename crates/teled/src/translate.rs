//! An update of Telegram's as what routd is told. Pure. <https://core.telegram.org/bots/api#update>

mod content;

use crate::address::{self, chat_jid, name, opaque, user};
use adapter::Event;
use frankenstein::{
    types::{
        CallbackQuery, Chat, ChatMember, ChatMemberUpdated, ChatType, MaybeInaccessibleMessage,
        Message, MessageReactionUpdated, ReactionType,
    },
    updates::{Update, UpdateContent},
};
use proto::{Timestamp, routd::NewMessage};

/// The kinds of updates that teled asks for.
pub(crate) const KINDS: [&str; 7] = [
    "message",
    "edited_message",
    "channel_post",
    "edited_channel_post",
    "message_reaction",
    "callback_query",
    "my_chat_member",
];

/// Who the bot is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Me {
    /// Its id.
    pub(crate) id: u64,
    /// Its name behind the `@`.
    pub(crate) username: String,
}

/// What is known when an update is translated.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    /// Who the bot is.
    pub(crate) me: Me,
    /// Bytes of the largest file that can be had.
    pub(crate) file_max: u64,
}

/// What an update comes to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Translated {
    /// For routd.
    pub(crate) event: Option<Event>,
    /// A button that was pressed, to be answered.
    pub(crate) callback: Option<String>,
    /// A group, and the supergroup that it has become.
    pub(crate) moved: Option<(i64, i64)>,
}

/// Translates an update. What is of no use to an agent comes to nothing.
pub(crate) fn translate(update: &Update, known: &Known) -> Translated {
    let key = format!("u{}", update.update_id);
    let event = |message: Option<NewMessage>| Translated {
        event: message.map(|message| Event { key: key.clone(), message }),
        ..Translated::default()
    };
    match &update.content {
        UpdateContent::Message(message) | UpdateContent::ChannelPost(message) => Translated {
            moved: message.migrate_to_chat_id.map(|new| (message.chat.id, new)),
            ..event(written(message, known))
        },
        UpdateContent::EditedMessage(message) | UpdateContent::EditedChannelPost(message) => {
            event(edited(message, known))
        }
        UpdateContent::MessageReaction(reaction) => event(reacted(reaction, update.update_id)),
        UpdateContent::CallbackQuery(query) => {
            Translated { callback: Some(query.id.clone()), ..event(pressed(query)) }
        }
        UpdateContent::MyChatMember(change) => event(membership(change, update.update_id)),
        _ => Translated::default(),
    }
}

fn written(message: &Message, known: &Known) -> Option<NewMessage> {
    if message.from.as_ref().is_some_and(|from| from.id == known.me.id) {
        return None;
    }
    let (content, verb) = match content::service(message) {
        Some((line, verb)) => (line, verb.to_owned()),
        None => (content::text(message, known), verb(message, known).to_owned()),
    };
    let attachments = content::attachments(message, known);
    if content.trim().is_empty() && attachments.is_empty() {
        return None;
    }
    let (sender, sender_name) = sender(message);
    Some(NewMessage {
        id: opaque(message.message_id.into())?,
        chat_jid: chat_jid(&message.chat)?,
        sender,
        sender_name: Some(sender_name).filter(|name| !name.is_empty()),
        content,
        timestamp: at(message.date),
        topic: topic(message),
        verb: Some(verb),
        reply_to: replied(message).and_then(|id| opaque(id.into())),
        is_group: is_group(&message.chat),
        attachments,
    })
}

/// A text that was changed: an event of its own, about the message.
fn edited(message: &Message, known: &Known) -> Option<NewMessage> {
    let edited = message.edit_date.unwrap_or(message.date);
    let new = written(message, known)?;
    Some(NewMessage {
        id: format!("{}:e{edited}", message.message_id).parse().ok()?,
        verb: Some("edit".into()),
        reply_to: opaque(message.message_id.into()),
        timestamp: at(edited),
        ..new
    })
}

fn reacted(reaction: &MessageReactionUpdated, update: u32) -> Option<NewMessage> {
    let emoji = |one: &ReactionType| match one {
        ReactionType::Emoji(one) => one.emoji.clone(),
        ReactionType::CustomEmoji(_) => "a custom emoji".into(),
        ReactionType::Paid(_) => "⭐".into(),
    };
    let (old, new): (Vec<String>, Vec<String>) = (
        reaction.old_reaction.iter().map(emoji).collect(),
        reaction.new_reaction.iter().map(emoji).collect(),
    );
    let only = |these: &[String], those: &[String]| {
        these.iter().filter(|one| !those.contains(one)).cloned().collect::<Vec<_>>().join(" ")
    };
    let (added, removed) = (only(&new, &old), only(&old, &new));
    let (verb, content) = match (added.as_str(), removed.as_str()) {
        ("", "") => return None,
        (added, "") => ("react", format!("reacted with {added}")),
        ("", removed) => ("unreact", format!("took back the reaction {removed}")),
        (added, removed) => ("react", format!("reacted with {added} in place of {removed}")),
    };
    let (sender, sender_name) = match (&reaction.user, &reaction.actor_chat) {
        (Some(person), _) => (user(person), name(person)),
        (None, Some(chat)) => of_chat(chat),
        (None, None) => return None,
    };
    Some(NewMessage {
        id: format!("{}:r{update}", reaction.message_id).parse().ok()?,
        verb: Some(verb.into()),
        reply_to: opaque(reaction.message_id.into()),
        ..notice(&reaction.chat, sender, sender_name, content, reaction.date)?
    })
}

fn pressed(query: &CallbackQuery) -> Option<NewMessage> {
    let (chat, message, thread) = match query.message.as_ref()? {
        MaybeInaccessibleMessage::Message(message) => {
            (&*message.chat, message.message_id, topic(message))
        }
        MaybeInaccessibleMessage::InaccessibleMessage(message) => {
            (&message.chat, message.message_id, None)
        }
    };
    let data = query.data.clone().filter(|data| !data.trim().is_empty())?;
    let sender = (user(&query.from), name(&query.from));
    Some(NewMessage {
        id: format!("cb:{}", query.id).parse().ok()?,
        verb: Some("button".into()),
        reply_to: opaque(message.into()),
        topic: thread,
        timestamp: None,
        ..notice(chat, sender.0, sender.1, data, 0)?
    })
}

/// The bot was added to a group or a channel, or removed. That a person blocked it is told by nobody writing.
fn membership(change: &ChatMemberUpdated, update: u32) -> Option<NewMessage> {
    if change.chat.type_field == ChatType::Private {
        return None;
    }
    let is_in = |member: &ChatMember| match member {
        ChatMember::Left(_) | ChatMember::Kicked(_) => false,
        ChatMember::Restricted(member) => member.is_member,
        _ => true,
    };
    let content = match (is_in(&change.old_chat_member), is_in(&change.new_chat_member)) {
        (false, true) => "added the bot to this chat",
        (true, false) => "removed the bot from this chat",
        _ => return None,
    };
    let sender = (user(&change.from), name(&change.from));
    Some(NewMessage {
        id: format!("member:{update}").parse().ok()?,
        verb: Some("membership".into()),
        ..notice(&change.chat, sender.0, sender.1, content.into(), change.date)?
    })
}

/// Something that happened in a chat and is no message; its id is to be set.
fn notice(
    chat: &Chat,
    sender: String,
    sender_name: String,
    content: String,
    date: u64,
) -> Option<NewMessage> {
    Some(NewMessage {
        id: "0".parse().ok()?,
        chat_jid: chat_jid(chat)?,
        sender,
        sender_name: Some(sender_name).filter(|name| !name.is_empty()),
        content,
        timestamp: at(date),
        topic: None,
        verb: None,
        reply_to: None,
        is_group: is_group(chat),
        attachments: Vec::new(),
    })
}

/// Who wrote a message: a person, or the chat in whose name somebody wrote.
fn sender(message: &Message) -> (String, String) {
    if let Some(chat) = &message.sender_chat {
        return of_chat(chat);
    }
    match &message.from {
        Some(from) => (user(from), name(from)),
        None => {
            let (sender, title) = of_chat(&message.chat);
            (sender, message.author_signature.as_deref().map_or(title, address::clean))
        }
    }
}

fn of_chat(chat: &Chat) -> (String, String) {
    let title = chat.title.as_deref().or(chat.first_name.as_deref()).unwrap_or_default();
    let jid = chat_jid(chat).map(String::from).unwrap_or_default();
    (jid, address::clean(title))
}

/// What kind of message it is: whether the bot is spoken to, in a chat of several.
fn verb<'a>(message: &Message, known: &Known) -> &'a str {
    if !is_group(&message.chat) {
        return "message";
    }
    let (text, entities) = content::words(message);
    let name = &known.me.username;
    let is_me = |word: &str| !name.is_empty() && word.eq_ignore_ascii_case(name);
    let addressed = entities.iter().any(|entity| {
        use frankenstein::types::MessageEntityType as Type;
        match entity.type_field {
            Type::Mention => is_me(crate::entities::part(text, entity).trim_start_matches('@')),
            Type::TextMention => entity.user.as_ref().is_some_and(|user| user.id == known.me.id),
            // A command that names no bot is for every bot.
            Type::BotCommand => {
                let command = crate::entities::part(text, entity);
                command.split_once('@').is_none_or(|(_, bot)| is_me(bot))
            }
            _ => false,
        }
    });
    if addressed { "mention" } else { "message" }
}

const fn is_group(chat: &Chat) -> bool {
    !matches!(chat.type_field, ChatType::Private)
}

/// The topic of a forum. Threads of replies in other groups have ids too, and are no topics.
fn topic(message: &Message) -> Option<proto::Topic> {
    let thread = message.message_thread_id.filter(|_| message.is_topic_message == Some(true))?;
    thread.to_string().parse().ok()
}

/// The message that this one answers. In a topic, everything answers its first message.
fn replied(message: &Message) -> Option<i32> {
    let replied = message.reply_to_message.as_ref()?;
    let is_root = replied.forum_topic_created.is_some()
        || message.is_topic_message == Some(true)
            && Some(replied.message_id) == message.message_thread_id;
    (!is_root).then_some(replied.message_id)
}

fn at(seconds: u64) -> Option<Timestamp> {
    let milliseconds = i64::try_from(seconds).ok()?.checked_mul(1_000)?;
    (milliseconds > 0).then_some(Timestamp(milliseconds))
}

#[cfg(test)]
mod tests;
