//! Any text as an id, and what is read as a wire type.

use proptest::prelude::*;
use proto::{
    Address, Folder, Jid, Opaque, Timestamp, Topic, routd::NewMessage, runed::StartRun,
    turn::TurnResult,
};
use serde::{Serialize, de::DeserializeOwned};
use std::{
    fmt::{Debug, Display},
    path::{Component, Path},
    str::FromStr,
};

/// Pieces of ids, and what does not belong into one.
const TEXT: &str =
    "([a-z0-9]|/|\\.|\\.\\.|-|~|:|#|web:|hook:|telegram:|share|[A-Z]|é| |\n|\u{0}){0,12}";

/// Reads it as text and through JSON, which must agree, and writes it as it came.
fn id<T>(text: &str) -> Option<T>
where
    T: FromStr + Serialize + DeserializeOwned + PartialEq + Debug + Display,
{
    let json = serde_json::to_string(text).unwrap();
    let parsed = text.parse::<T>().ok();
    assert_eq!(parsed, serde_json::from_str(&json).ok(), "as text and as JSON: {text:?}");
    if let Some(id) = &parsed {
        assert_eq!(id.to_string(), text);
        assert_eq!(serde_json::to_string(id).unwrap(), json);
    }
    parsed
}

/// What is read can be written, and is then read alike.
fn alike<T: Serialize + DeserializeOwned>(json: &str) -> bool {
    let Ok(read) = serde_json::from_str::<T>(json) else { return false };
    let written = serde_json::to_string(&read).unwrap();
    let again = serde_json::from_str::<T>(&written);
    let again = again.unwrap_or_else(|error| panic!("{written} is not read: {error}"));
    assert_eq!(serde_json::to_string(&again).unwrap(), written);
    true
}

proptest! {
    #[test]
    fn a_folder_is_a_path_that_stays_below_where_it_is_put(text in TEXT) {
        if let Some(folder) = id::<Folder>(&text) {
            let mut parts = Path::new(folder.as_str()).components();
            prop_assert!(parts.all(|part| matches!(part, Component::Normal(_))));
            prop_assert!(!text.starts_with('-') && !text.contains("/-"), "an option: {}", text);
        }
    }

    #[test]
    fn an_address_says_where_it_leads(text in TEXT) {
        if let Some(jid) = id::<Jid>(&text) {
            prop_assert_eq!(format!("{}:{}", jid.platform(), jid.room()), text);
            match jid.address() {
                Address::Web(_) => prop_assert_eq!(jid.platform(), "web"),
                Address::Hook(folder, source) => {
                    prop_assert_eq!(Jid::hook(&folder, &source).unwrap(), jid);
                }
                Address::Platform => prop_assert!(!["web", "hook"].contains(&jid.platform())),
            }
        }
    }

    #[test]
    fn topics_and_opaque_ids_are_what_they_say(text in "\\PC{0,300}", odd in any::<String>()) {
        for text in [text, odd] {
            if let Some(topic) = id::<Topic>(&text) {
                prop_assert!(topic.as_str().len() <= 128 && !topic.as_str().contains('#'));
            }
            if let Some(opaque) = id::<Opaque>(&text) {
                prop_assert!((1..=256).contains(&opaque.as_str().len()));
            }
        }
    }

    #[test]
    fn any_time_that_is_read_is_written_so_that_it_is_read_again(
        year in 0..=9999_u32, month in 1..=12_u32, day in 1..=28_u32, hour in 0..=23_u32,
        fraction in "(\\.[0-9]{1,9})?", zone in "(Z|[+-](0[0-9]|1[0-9]|2[0-3]):[0-5][0-9])",
    ) {
        let time = format!("\"{year:04}-{month:02}-{day:02}T{hour:02}:59:59{fraction}{zone}\"");
        alike::<Timestamp>(&time);
    }

    #[test]
    fn a_message_survives_the_wire(
        id in "[!-~]{1,40}", content in any::<String>(), sender in any::<String>(),
        millis in -62_000_000_000_000..250_000_000_000_000_i64,
    ) {
        let message = serde_json::json!({
            "id": id, "chat_jid": "web:a/b", "sender": sender, "content": content,
            "timestamp": Timestamp(millis), "later": "is not known yet",
        });
        prop_assert!(alike::<NewMessage>(&message.to_string()));
    }

    #[test]
    fn no_text_makes_a_reader_panic(
        text in "([\\[\\]{}\":,0-9.eE+-]|null|true|\"id\"|\"attempt\"|\"limits\"|\\PC){0,40}"
    ) {
        alike::<NewMessage>(&text);
        alike::<StartRun>(&text);
        alike::<TurnResult>(&text);
    }
}

#[test]
fn a_time_at_either_end_of_the_calendar_is_read_or_refused() {
    for time in ["9999-12-31T23:59:59.999-23:59", "0000-01-01T00:00:00+23:59"] {
        alike::<Timestamp>(&format!("\"{time}\""));
    }
}
