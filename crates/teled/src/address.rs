//! Telegram's ids, and the addresses and ids that routd knows. Pure.

use adapter::Trouble;
use frankenstein::types::{Chat, ChatType, User};
use proto::{Jid, Opaque};

/// The beginning of every address.
pub(crate) const PREFIX: &str = "telegram:";

/// The address of a chat: `telegram:user/42`, `telegram:group/-100123`, `telegram:channel/-100123`.
pub(crate) fn chat_jid(chat: &Chat) -> Option<Jid> {
    let kind = match chat.type_field {
        ChatType::Private => "user",
        ChatType::Group | ChatType::Supergroup => "group",
        ChatType::Channel => "channel",
    };
    format!("{PREFIX}{kind}/{}", chat.id).parse().ok()
}

/// The address of a person, as a sender.
pub(crate) fn user(user: &User) -> String {
    format!("{PREFIX}user/{}", user.id)
}

/// Telegram's id of a chat.
pub(crate) fn chat_id(jid: &Jid) -> Result<i64, Trouble> {
    let id = jid.as_str().strip_prefix(PREFIX).and_then(|rest| rest.split_once('/'));
    let id = id.filter(|(kind, _)| matches!(*kind, "user" | "group" | "channel"));
    id.and_then(|(_, id)| id.parse().ok())
        .ok_or_else(|| Trouble::Permanent(format!("{jid} is no chat of Telegram's")))
}

/// Telegram's id of the message that `id` is, or that the event with this id is about: `42`, `42:e…`.
pub(crate) fn message_id(id: &Opaque) -> Result<i64, Trouble> {
    let number = id.as_str().split(':').next().and_then(|number| number.parse().ok());
    number.ok_or_else(|| Trouble::Permanent(format!("{id} is no message of Telegram's")))
}

/// The id of a message, for routd.
pub(crate) fn opaque(id: i64) -> Option<Opaque> {
    id.to_string().parse().ok()
}

/// A person's name.
pub(crate) fn name(user: &User) -> String {
    let last = user.last_name.as_deref().unwrap_or_default();
    clean(&format!("{} {last}", user.first_name))
}

/// A name as routd takes it: one line, of at most 256 bytes.
pub(crate) fn clean(name: &str) -> String {
    let mut clean = String::new();
    for c in name.trim().chars().filter(|c| !c.is_control()) {
        if clean.len() + c.len_utf8() > 256 {
            break;
        }
        clean.push(c);
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_names_the_chat_that_it_was_made_from() {
        for (kind, id, jid) in [
            ("private", 42, "telegram:user/42"),
            ("group", -7, "telegram:group/-7"),
            ("supergroup", -100_123, "telegram:group/-100123"),
            ("channel", -1009, "telegram:channel/-1009"),
        ] {
            let chat =
                serde_json::from_value(serde_json::json!({ "id": id, "type": kind })).unwrap();
            assert_eq!(chat_jid(&chat).unwrap().as_str(), jid);
            assert_eq!(chat_id(&jid.parse().unwrap()).unwrap(), id);
        }
        for other in ["telegram:42", "telegram:user/x", "telegram:room/1", "slack:user/1"] {
            assert!(chat_id(&other.parse().unwrap()).is_err(), "{other}");
        }
    }

    #[test]
    fn an_event_about_a_message_leads_to_it() {
        for (id, number) in [("42", Some(42)), ("42:e17", Some(42)), ("cb:1", None), ("x", None)] {
            assert_eq!(message_id(&id.parse().unwrap()).ok(), number, "{id}");
        }
        assert_eq!(clean(" a\u{7}b\n"), "ab");
        assert_eq!(clean(&"é".repeat(200)).len(), 256);
    }
}
