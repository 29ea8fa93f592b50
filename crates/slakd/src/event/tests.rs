use super::*;
use proptest::prelude::*;
use serde_json::json;

fn outer(event: Value) -> Value {
    json!({
        "type": "event_callback", "team_id": "T1", "api_app_id": "A1", "event_id": "Ev1",
        "authorizations": [{"team_id": "T1", "user_id": "UB", "is_bot": true}],
        "event": event,
    })
}

fn heard(event: Value) -> Heard {
    read(Channel::Event, &outer(event))
}

fn post(event: Value) -> Post {
    match heard(event) {
        Heard::Post(post) => *post,
        other => panic!("{other:?}"),
    }
}

fn nothing(event: Value) -> &'static str {
    match heard(event) {
        Heard::Nothing(why) => why,
        other => panic!("{other:?}"),
    }
}

fn said(text: &str) -> Value {
    json!({"type": "message", "channel": "C1", "user": "U1", "text": text, "ts": "17.000200", "channel_type": "channel"})
}

#[test]
fn a_message_is_what_was_said_where_and_by_whom() {
    let plain = post(said("hello"));
    assert_eq!(plain.chat, Chat::new("T1", "C1").unwrap());
    assert_eq!(
        (plain.id.as_str(), plain.user.as_str(), plain.verb),
        ("17.000200", "U1", Verb::Message)
    );
    assert_eq!((plain.text.as_str(), plain.thread, plain.about), ("hello", None, None));
    assert_eq!((plain.at, plain.is_group), (Some(17_000), true));

    let mut direct = said("hi");
    direct["channel"] = "D1".into();
    assert!(!post(direct).is_group);

    let mut reply = said("me too");
    reply["thread_ts"] = "16.000100".into();
    let reply = post(reply);
    assert_eq!(reply.thread.as_deref(), Some("16.000100"));
    assert_eq!(reply.about.as_deref(), Some("16.000100"), "it answers the thread's first message");
    let mut root = said("first");
    root["thread_ts"] = "17.000200".into();
    assert_eq!(post(root).thread, None, "the first message of a thread is in the channel");

    for subtype in ["file_share", "thread_broadcast", "me_message"] {
        let mut other = said("x");
        other["subtype"] = subtype.into();
        assert_eq!(post(other).text, "x");
    }
}

#[test]
fn a_mention_is_the_same_message_whichever_of_its_two_events_comes_first() {
    let message = said("<@UB> deploy");
    let mention = json!({"type": "app_mention", "channel": "C1", "user": "U1", "text": "<@UB> deploy", "ts": "17.000200"});
    let (one, other) = (post(message), post(mention));
    assert_eq!(one, other);
    assert_eq!((one.verb, one.text.as_str()), (Verb::Mention, "deploy"));
    assert_eq!((one.thread.as_deref(), one.about), (Some("17.000200"), None), "it begins a thread");
    let mut direct = said("<@UB> deploy");
    direct["channel"] = "D1".into();
    direct["channel_type"] = "im".into();
    assert_eq!(post(direct).thread, None);
    assert_eq!(post(said("<@U2> deploy")).verb, Verb::Message);
}

#[test]
fn our_own_words_and_other_apps_words_are_not_heard() {
    let mut own = said("I said so");
    own["user"] = "UB".into();
    own["bot_id"] = "B1".into();
    assert_eq!(nothing(own), "our own");
    let mut by_app = said("I said so");
    by_app["bot_id"] = "B1".into();
    by_app["app_id"] = "A1".into();
    assert_eq!(nothing(by_app.clone()), "our own");
    by_app["app_id"] = "A2".into();
    assert_eq!(nothing(by_app), "another app's message");
    let mut bot = said("alert");
    bot["subtype"] = "bot_message".into();
    assert_eq!(nothing(bot), "another app's message");
    for subtype in ["channel_join", "channel_topic", "a_subtype_of_next_year"] {
        let mut other = said("x");
        other["subtype"] = subtype.into();
        nothing(other);
    }
}

#[test]
fn an_edit_is_heard_when_somebody_made_it() {
    let changed = |message: Value, before: Value| {
        json!({"type": "message", "subtype": "message_changed", "channel": "C1", "ts": "20.0", "event_ts": "20.0",
            "message": message, "previous_message": before})
    };
    let before = json!({"user": "U1", "text": "helo", "ts": "17.000200"});
    let now = json!({"user": "U1", "text": "hello", "ts": "17.000200", "edited": {"user": "U1", "ts": "19.000000"}});
    let edit = post(changed(now.clone(), before.clone()));
    assert_eq!(
        (edit.id.as_str(), edit.verb, edit.text.as_str()),
        ("17.000200/edit/19.000000", Verb::Edit, "hello")
    );
    assert_eq!(edit.about.as_deref(), Some("17.000200"));
    let preview = json!({"user": "U1", "text": "helo", "ts": "17.000200", "attachments": [{}]});
    nothing(changed(preview, before.clone()));
    nothing(changed(now.clone(), now.clone()));
    let mut own = now;
    own["user"] = "UB".into();
    assert_eq!(nothing(changed(own, before.clone())), "our own");
    let grave = json!({"subtype": "tombstone", "user": "USLACKBOT", "text": "", "ts": "17.000200"});
    assert_eq!(post(changed(grave, before)).verb, Verb::Delete);
}

#[test]
fn a_deletion_and_reactions_say_which_message_they_are_about() {
    let gone = post(
        json!({"type": "message", "subtype": "message_deleted", "channel": "C1", "deleted_ts": "17.000200",
        "previous_message": {"user": "U1", "text": "oops", "ts": "17.000200"}, "event_ts": "21.5"}),
    );
    assert_eq!(
        (gone.verb, gone.about.as_deref(), gone.at),
        (Verb::Delete, Some("17.000200"), Some(21_500))
    );
    let reacted = |kind: &str, user: &str| {
        json!({"type": kind, "user": user, "reaction": "+1", "item_user": "U2", "event_ts": "30.1",
            "item": {"type": "message", "channel": "C1", "ts": "17.000200"}})
    };
    let on = post(reacted("reaction_added", "U1"));
    let off = post(reacted("reaction_removed", "U1"));
    assert_eq!((on.verb, on.text.as_str(), off.verb), (Verb::React, "👍", Verb::Unreact));
    assert_ne!(on.id, off.id);
    assert_eq!(on.about.as_deref(), Some("17.000200"));
    assert_eq!(nothing(reacted("reaction_added", "UB")), "our own");
}

#[test]
fn files_come_with_the_message_even_where_it_has_no_text() {
    let mut event = said("");
    assert_eq!(nothing(event.clone()), "it has no text and no file");
    event["subtype"] = "file_share".into();
    event["files"] = json!([
        {"id": "F1", "name": "a.png", "mimetype": "image/png", "size": 12, "url_private_download": "https://x"},
        {"id": "F2", "mode": "tombstone"},
        {"id": "F3", "title": "no\u{0}name"},
        {"nothing": true},
    ]);
    let files = post(event).files;
    let file = |id: &str, name: &str, mime: &str, size| File {
        id: id.into(),
        name: name.into(),
        mime: mime.into(),
        size,
    };
    assert_eq!(
        files,
        [
            file("F1", "a.png", "image/png", Some(12)),
            file("F3", "noname", "application/octet-stream", None)
        ]
    );
}

#[test]
fn a_channel_that_is_shared_with_another_workspace_has_our_address() {
    let mut shared = outer(said("hello"));
    shared["team_id"] = "T2".into();
    let Heard::Post(post) = read(Channel::Event, &shared) else { panic!("{shared}") };
    assert_eq!(post.chat, Chat::new("T1", "C1").unwrap());
}

#[test]
fn commands_buttons_and_panes_are_heard() {
    let command = json!({"command": "/deploy", "text": "api now", "user_id": "U1", "user_name": "ann", "team_id": "T1",
        "channel_id": "C1", "trigger_id": "1.2.ab"});
    let Heard::Post(post) = read(Channel::Command, &command) else { panic!() };
    assert_eq!(
        (post.text.as_str(), post.verb, post.id.as_str()),
        ("/deploy api now", Verb::Command, "command/1.2.ab")
    );
    assert_eq!(delivery_id(Channel::Command, &command).as_deref(), Some("1.2.ab"));
    let press = json!({"type": "block_actions", "user": {"id": "U1", "name": "ann"}, "team": {"id": "T1"}, "trigger_id": "t",
        "container": {"type": "message", "channel_id": "C1", "message_ts": "17.000200", "thread_ts": "16.000100"},
        "actions": [{"type": "button", "action_id": "ok", "value": "yes", "text": {"text": "Go on"}, "action_ts": "18.5"}]});
    let Heard::Post(post) = read(Channel::Interaction, &press) else { panic!() };
    assert_eq!(
        (post.text.as_str(), post.verb, post.about.as_deref()),
        ("Go on (yes)", Verb::Button, Some("17.000200"))
    );
    assert_eq!(post.thread.as_deref(), Some("16.000100"));
    let opened = heard(json!({"type": "assistant_thread_started", "event_ts": "1.1",
        "assistant_thread": {"user_id": "U1", "channel_id": "D1", "thread_ts": "17.000200", "context": {}}}));
    let chat = Chat::new("T1", "D1").unwrap();
    assert_eq!(opened, Heard::Opened(Pane { chat, thread: "17.000200".into() }));
    assert!(matches!(
        read(Channel::Interaction, &json!({"type": "view_submission"})),
        Heard::Nothing(_)
    ));
}

/// Any JSON made of the words that matter.
fn anything() -> impl Strategy<Value = Value> {
    let words = "(message|event_callback|message_changed|app_mention|reaction_added|block_actions|U1|UB|C1|T1|17\\.2|<@UB>|\\PC{0,6})";
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        words.prop_map(Value::from),
    ];
    let names = "(type|subtype|event|channel|user|text|ts|thread_ts|message|previous_message|item|files|actions|container|team|edited|authorizations|team_id|id|assistant_thread)";
    leaf.prop_recursive(5, 60, 8, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map(names, inner, 0..8)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn nothing_that_slack_could_send_makes_it_panic_or_makes_an_id_that_routd_refuses(any in anything()) {
        for how in [Channel::Event, Channel::Command, Channel::Interaction] {
            for payload in [any.clone(), outer(any.clone())] {
                let _either = delivery_id(how, &payload);
                if let Heard::Post(post) = read(how, &payload) {
                    prop_assert!(post.chat.jid().is_some());
                    prop_assert!(post.id.parse::<proto::Opaque>().is_ok(), "{}", post.id);
                    prop_assert!(post.about.is_none_or(|id| id.parse::<proto::Opaque>().is_ok()));
                }
            }
        }
    }

    #[test]
    fn a_message_keeps_its_text_whatever_else_grows_on_it(
        name in "[a-z_]{1,12}", other in anything(), text in "[a-z ]{1,20}[a-z]",
    ) {
        let known = ["type", "subtype", "channel", "user", "text", "ts", "thread_ts", "bot_id", "app_id", "bot_profile", "files"];
        prop_assume!(!known.contains(&&*name));
        let mut event = said(&text);
        event[name] = other;
        prop_assert_eq!(post(event).text, text);
    }
}
