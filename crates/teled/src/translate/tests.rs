//! What updates of Telegram's become.

use super::*;
use serde_json::{Value, json};

fn known() -> Known {
    Known { me: Me { id: 9, username: "the_bot".into() }, file_max: 1_000 }
}

fn of(update: Value) -> Translated {
    translate(&serde_json::from_value(update).unwrap(), &known())
}

fn person() -> Value {
    json!({ "id": 42, "is_bot": false, "first_name": "Ada", "last_name": "L" })
}

fn in_chat(kind: &str, more: Value) -> Value {
    let id = if kind == "private" { 42 } else { -1007 };
    let mut message = json!({
        "message_id": 5, "date": 1_700_000_000, "from": person(),
        "chat": { "id": id, "type": kind, "title": "Team" },
    });
    for (name, value) in more.as_object().unwrap() {
        message[name] = value.clone();
    }
    message
}

fn message(kind: &str, more: Value) -> NewMessage {
    let update = json!({ "update_id": 1, "message": in_chat(kind, more) });
    of(update).event.unwrap().message
}

#[test]
fn a_private_message_is_a_message_of_its_person() {
    let new = message("private", json!({ "text": "hello" }));
    assert_eq!(new.id.as_str(), "5");
    assert_eq!(new.chat_jid.as_str(), "telegram:user/42");
    assert_eq!(
        (new.sender.as_str(), new.sender_name.as_deref()),
        ("telegram:user/42", Some("Ada L"))
    );
    assert_eq!((new.content.as_str(), new.verb.as_deref()), ("hello", Some("message")));
    assert_eq!(new.timestamp, Some(Timestamp(1_700_000_000_000)));
    assert!(!new.is_group && new.attachments.is_empty() && new.topic.is_none());
}

#[test]
fn in_a_group_the_bot_is_spoken_to_by_its_name_a_command_or_not() {
    let with = |text: &str, kind: &str, offset: u16, length: u16| {
        let entity = json!([{ "type": kind, "offset": offset, "length": length, "user": { "id": 9, "is_bot": true, "first_name": "B" } }]);
        let new = message("supergroup", json!({ "text": text, "entities": entity }));
        (new.verb.unwrap(), new.content)
    };
    let is = |verb: &str, text: &str| (verb.to_owned(), text.to_owned());
    assert_eq!(with("👋 @The_Bot hi", "mention", 3, 8), is("mention", "👋 @The_Bot hi"));
    assert_eq!(with("@other hi", "mention", 0, 6), is("message", "@other hi"));
    assert_eq!(with("Bot hi", "text_mention", 0, 3), is("mention", "Bot hi"));
    assert_eq!(with("/status@the_bot now", "bot_command", 0, 15), is("mention", "/status now"));
    assert_eq!(with("/status@other_bot", "bot_command", 0, 17), is("message", "/status@other_bot"));
    assert_eq!(with("/status", "bot_command", 0, 7), is("mention", "/status"));
    let plain = message("group", json!({ "text": "the_bot is good" }));
    assert_eq!((plain.verb.as_deref(), plain.is_group), (Some("message"), true));
    assert_eq!(plain.chat_jid.as_str(), "telegram:group/-1007");
}

#[test]
fn topics_replies_quotes_and_forwards_are_kept() {
    let root = json!({ "message_id": 3, "date": 1, "chat": { "id": -1007, "type": "supergroup" }, "forum_topic_created": { "name": "T", "icon_color": 1 } });
    let topic = json!({ "text": "a", "message_thread_id": 3, "is_topic_message": true, "reply_to_message": root });
    let new = message("supergroup", topic);
    assert_eq!((new.topic.unwrap().as_str(), new.reply_to), ("3", None));
    let replied = json!({ "message_id": 4, "date": 1, "chat": { "id": -1007, "type": "supergroup" }, "text": "x" });
    let reply = json!({
        "text": "b", "message_thread_id": 4, "reply_to_message": replied,
        "quote": { "text": "one\ntwo", "position": 0 },
        "forward_origin": { "type": "user", "date": 1, "sender_user": person() },
    });
    let new = message("supergroup", reply);
    assert_eq!(new.topic, None, "a thread of replies is no topic");
    assert_eq!(new.reply_to.unwrap().as_str(), "4");
    assert_eq!(new.content, "(forwarded from Ada L)\n\n> one\n> two\n\nb");
}

#[test]
fn edits_reactions_buttons_and_memberships_are_events_about_messages() {
    let edit = json!({ "update_id": 2, "edited_message": in_chat("private", json!({ "text": "new", "edit_date": 1_700_000_050 })) });
    let new = of(edit).event.unwrap().message;
    assert_eq!((new.id.as_str(), new.reply_to.unwrap().as_str()), ("5:e1700000050", "5"));
    assert_eq!((new.verb.as_deref(), new.content.as_str()), (Some("edit"), "new"));

    let emoji = |emoji: &str| json!([{ "type": "emoji", "emoji": emoji }]);
    let chat = json!({ "id": 42, "type": "private", "first_name": "Ada" });
    let reaction = json!({ "update_id": 3, "message_reaction": {
        "chat": chat, "message_id": 5, "user": person(), "date": 7,
        "old_reaction": emoji("👎"), "new_reaction": emoji("👍") } });
    let new = of(reaction).event.unwrap().message;
    assert_eq!((new.id.as_str(), new.verb.as_deref()), ("5:r3", Some("react")));
    assert_eq!(new.content, "reacted with 👍 in place of 👎");

    let press = json!({ "update_id": 4, "callback_query": {
        "id": "77", "from": person(), "chat_instance": "c", "data": "yes",
        "message": in_chat("private", json!({ "text": "sure?" })) } });
    let pressed = of(press);
    let new = pressed.event.unwrap().message;
    assert_eq!(pressed.callback.as_deref(), Some("77"));
    assert_eq!((new.id.as_str(), new.content.as_str()), ("cb:77", "yes"));
    assert_eq!(new.reply_to.unwrap().as_str(), "5");

    let member = |status: &str| json!({ "status": status, "user": { "id": 9, "is_bot": true, "first_name": "B" }, "until_date": 0 });
    let change = |kind: &str, old: &str, new: &str| {
        of(json!({ "update_id": 6, "my_chat_member": {
            "chat": { "id": -1007, "type": kind, "title": "Team" }, "from": person(), "date": 7,
            "old_chat_member": member(old), "new_chat_member": member(new) } }))
    };
    let added = change("supergroup", "left", "member").event.unwrap().message;
    assert_eq!(
        (added.verb.as_deref(), added.content.as_str()),
        (Some("membership"), "added the bot to this chat")
    );
    assert!(change("supergroup", "member", "member").event.is_none());
    assert!(
        change("private", "member", "kicked").event.is_none(),
        "who blocks the bot is not answered"
    );
}

#[test]
fn files_are_named_and_what_is_too_large_has_no_address() {
    let size = |id: &str, side: u32| json!({ "file_id": id, "file_unique_id": "u", "width": side, "height": side, "file_size": side });
    let new = message(
        "private",
        json!({ "photo": [size("small", 90), size("big", 800)], "caption": "look" }),
    );
    assert_eq!(new.content, "look");
    let [photo] = &new.attachments[..] else { panic!("{new:?}") };
    assert_eq!((photo.url.as_deref(), photo.size), (Some("/files/big"), Some(800)));
    let document = |size: u64, name: &str| {
        let file = json!({ "file_id": "f", "file_unique_id": "u", "file_name": name, "mime_type": "text/plain", "file_size": size });
        message("private", json!({ "document": file })).attachments.remove(0)
    };
    assert_eq!(document(5_000, "a.txt").url, None);
    assert_eq!(document(5, "../../etc/passwd").filename, "passwd");
    assert_eq!(document(5, "..").filename, "document");
    let voice = json!({ "voice": { "file_id": "v", "file_unique_id": "u", "duration": 1 } });
    assert_eq!(message("private", voice).attachments[0].mime, "audio/ogg");
}

#[test]
fn what_is_neither_text_nor_a_file_is_said_in_words() {
    let at = json!({ "latitude": 51.5, "longitude": -0.12 });
    assert_eq!(message("private", json!({ "location": at })).content, "Location: 51.5, -0.12");
    let venue =
        json!({ "location": at, "venue": { "location": at, "title": "Inn", "address": "1 Road" } });
    assert_eq!(message("private", venue).content, "Location: Inn, 1 Road (51.5, -0.12)");
    let contact = json!({ "contact": { "phone_number": "+441", "first_name": "Bo" } });
    assert_eq!(message("private", contact).content, "Contact: Bo, +441");
    let joined = message("group", json!({ "new_chat_members": [person()] }));
    assert_eq!((joined.content.as_str(), joined.verb.as_deref()), ("Ada L joined", Some("join")));
}

#[test]
fn a_channel_writes_in_its_own_name_and_the_bot_does_not_hear_itself() {
    let mut post = in_chat("channel", json!({ "text": "news" }));
    post.as_object_mut().unwrap().remove("from");
    let new = of(json!({ "update_id": 1, "channel_post": post })).event.unwrap().message;
    assert_eq!(
        (new.sender.as_str(), new.sender_name.as_deref()),
        ("telegram:channel/-1007", Some("Team"))
    );
    let own = json!({ "text": "me", "from": { "id": 9, "is_bot": true, "first_name": "B" } });
    assert!(of(json!({ "update_id": 1, "message": in_chat("private", own) })).event.is_none());
    let moved = of(
        json!({ "update_id": 1, "message": in_chat("group", json!({ "migrate_to_chat_id": -1009 })) }),
    );
    assert_eq!((moved.moved, moved.event.is_none()), (Some((-1007, -1009)), true));
}
