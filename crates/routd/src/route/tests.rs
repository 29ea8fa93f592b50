//! Routing by table: each line is a message, the facts, and where it goes.

use super::*;
use proptest::prelude::*;
use std::convert::Infallible;

fn rule(id: i64, pattern: &str, target: &str) -> Rule {
    let (pattern, target) = (Pattern::parse(pattern).unwrap(), Target::parse(target).unwrap());
    Rule { id, pattern, target }
}

fn examples() -> Vec<Rule> {
    vec![
        rule(1, "chat_jid=telegram:group/12345", "atlas/legal"),
        rule(2, "platform=discord", "atlas/{sender}"),
        rule(3, "chat_jid=slack:*/channel/* verb=mention", "atlas"),
        rule(4, "chat_jid=slack:*/channel/*", "atlas#observe"),
        rule(5, "room=T1/dm/*", "atlas#incident"),
        rule(6, "platform=email sender=", "gone"),
        rule(7, "platform=telegram", "atlas"),
    ]
}

fn route(facts: &Facts, jid: &str, sender: &str, verb: &str) -> Decision {
    let (jid, thread) = (jid.parse().unwrap(), Topic::default());
    let query = Query { jid: &jid, sender, verb, thread: &thread };
    decide(&query, facts, |folder| Ok::<_, Infallible>(folder.as_str() != "gone")).unwrap()
}

fn place(decision: &Decision) -> (&'static str, &str) {
    (decision.effect.name(), decision.folder.as_ref().map_or("", |folder| folder.as_str()))
}

#[test]
fn the_first_row_that_matches_takes_the_message() {
    let facts = Facts { rules: examples(), ..Facts::default() };
    for (jid, sender, verb, expected) in [
        ("telegram:group/12345", "telegram:user/1", "message", ("turn", "atlas/legal")),
        ("telegram:group/1", "telegram:user/1", "message", ("turn", "atlas")),
        ("slack:T1/channel/C9", "slack:U1", "message", ("observe", "atlas")),
        ("slack:T1/channel/C9", "slack:U1", "mention", ("turn", "atlas")),
        ("slack:T2/dm/D1", "slack:U1", "message", ("unrouted", "")),
        ("email:box", "", "message", ("unrouted", "")),
        ("web:atlas/eng~x", "anyone", "message", ("turn", "atlas/eng")),
        ("hook:atlas/ci", "anyone", "message", ("turn", "atlas")),
        ("web:gone", "anyone", "message", ("unrouted", "")),
    ] {
        let decision = route(&facts, jid, sender, verb);
        assert_eq!(place(&decision), expected, "{jid} {verb}: {:#?}", decision.steps);
    }
    let pinned = route(&facts, "slack:T1/dm/D1", "slack:U1", "message");
    assert_eq!((pinned.topic.as_str(), pinned.pinned_topic), ("incident", true));
}

#[test]
fn what_is_no_message_starts_no_turn_unless_a_route_names_it() {
    let mut rules = examples();
    rules.insert(6, rule(8, "platform=telegram verb=membership", "atlas#arrivals"));
    let engaged = Some(Earlier {
        folder: "atlas/legal".parse().unwrap(),
        topic: Topic::default(),
        sender: None,
    });
    let quiet = Facts { rules, ..Facts::default() };
    let spoken = Facts { engaged, ..quiet.clone() };
    for (facts, jid, verb, expected) in [
        (&quiet, "telegram:group/1", "edit", ("observe", "atlas")),
        (&quiet, "slack:T1/channel/C9", "react", ("observe", "atlas")),
        (&quiet, "slack:T2/dm/D1", "delete", ("unrouted", "")),
        (&quiet, "telegram:group/1", "command", ("turn", "atlas")),
        (&quiet, "telegram:group/1", "button", ("turn", "atlas")),
        // The route that names it stands behind others that would take it, and goes before them.
        (&quiet, "telegram:group/12345", "membership", ("turn", "atlas")),
        (&spoken, "telegram:group/1", "message", ("turn", "atlas/legal")),
        (&spoken, "telegram:group/1", "unreact", ("observe", "atlas/legal")),
        (&spoken, "telegram:group/1", "membership", ("turn", "atlas")),
    ] {
        let decision = route(facts, jid, "telegram:user/1", verb);
        assert_eq!(place(&decision), expected, "{jid} {verb}: {:#?}", decision.steps);
    }
}

#[test]
fn a_folder_out_of_service_takes_nothing_and_passes_nothing_on() {
    let rules = vec![rule(1, "platform=email", "gone"), rule(2, "", "atlas")];
    let facts = Facts { rules, ..Facts::default() };
    let decision = route(&facts, "email:box", "a@b", "message");
    assert_eq!(place(&decision), ("unrouted", ""));
    assert!(decision.rule.contains("the folder gone is not in service"), "{}", decision.rule);
}

#[test]
fn what_happened_before_beats_the_table() {
    let earlier = |folder: &str| Earlier {
        folder: folder.parse().unwrap(),
        topic: "t".parse().unwrap(),
        sender: None,
    };
    let mut facts = Facts { rules: examples(), ..Facts::default() };
    facts.pinned = Some("pinned".parse().unwrap());
    let at = |facts: &Facts| {
        let decision = route(facts, "slack:T1/channel/C9", "slack:U1", "message");
        (decision.folder.unwrap().to_string(), decision.rule)
    };
    assert_eq!(at(&facts), ("pinned".into(), "pin".into()));
    facts.replied = Some(earlier("replied"));
    assert_eq!(at(&facts), ("replied".into(), "reply".into()));
    facts.engaged = Some(earlier("engaged"));
    assert_eq!(at(&facts), ("engaged".into(), "engagement".into()));
    let direct = route(&facts, "web:atlas", "x", "message");
    assert_eq!(place(&direct), ("turn", "atlas"), "a direct address beats them all");
}

#[test]
fn nobody_is_led_into_another_persons_folder() {
    let own = Earlier {
        folder: "atlas/ann".parse().unwrap(),
        topic: Topic::default(),
        sender: Some("discord:user/ann".into()),
    };
    let facts =
        Facts { engaged: Some(own.clone()), replied: Some(own), rules: examples(), pinned: None };
    let ann = route(&facts, "discord:g1", "discord:user/ann", "message");
    assert_eq!(place(&ann), ("turn", "atlas/ann"));
    assert!(ann.per_person);
    let bob = route(&facts, "discord:g1", "discord:user/bob", "message");
    assert!(bob.folder.as_ref().unwrap().as_str().starts_with("atlas/discord-user-bob-"));
    assert_eq!(bob.made_below.unwrap().as_str(), "atlas");
    let nobody = route(&facts, "discord:g1", "", "message");
    assert_eq!(place(&nobody), ("unrouted", ""));
}

#[test]
fn every_step_is_told() {
    let facts = Facts { rules: examples(), ..Facts::default() };
    let steps = route(&facts, "slack:T2/dm/D1", "slack:U1", "message").steps;
    assert_eq!(steps.len(), 4 + examples().len() + 1, "{steps:#?}");
    assert_eq!(
        steps[4],
        "route 1: `chat_jid=telegram:group/12345` does not hold: chat_jid is `slack:T2/dm/D1`"
    );
    assert_eq!(steps.last().unwrap(), "no route takes it");
}

#[test]
fn a_malformed_predicate_is_an_error() {
    for bad in ["telegram", "=x", "platfrom=x", "platform=[", "verb=a verb=b", "room=a**b"] {
        assert!(Pattern::parse(bad).is_err(), "{bad}");
    }
    let present = Pattern::parse("sender=*").unwrap();
    let of = |sender| Subject { chat_jid: "x:y", sender, verb: "message" };
    assert_eq!(present.refuses(&of("a/b/c")), None, "present means present, whatever is in it");
    assert!(present.refuses(&of("")).is_some());
    assert!(Pattern::parse("").unwrap().refuses(&of("")).is_none());
    let long = format!("room={}", "a".repeat(2000));
    assert_eq!(Pattern::parse(&long), Err(RouteError::TooLong));
}

#[test]
fn a_pattern_says_whether_it_is_of_one_chat() {
    for (pattern, chat) in [
        ("chat_jid=telegram:group/1", Some("telegram:group/1")),
        (r"verb=mention chat_jid=x:\*\[a", Some("x:*[a")),
        ("chat_jid=telegram:*", None),
        ("chat_jid=telegram:group/[1]", None),
        ("chat_jid=*", None),
        ("chat_jid=", None),
        ("platform=telegram", None),
        ("", None),
    ] {
        assert_eq!(Pattern::parse(pattern).unwrap().chat().as_deref(), chat, "{pattern}");
    }
}

proptest! {
    #[test]
    fn what_is_of_one_chat_takes_no_message_of_another(
        pattern in r"chat_jid=(x:[ab*?\\]{1,4}|x:\[ab\])( verb=[ab*])?",
        chat in "x:[ab*?]{1,4}",
        verb in "[ab]",
    ) {
        if let Ok(pattern) = Pattern::parse(&pattern) {
            let subject = Subject { chat_jid: &chat, sender: "s", verb: &verb };
            if let Some(only) = pattern.chat() && pattern.refuses(&subject).is_none() {
                prop_assert_eq!(only, chat);
            }
        }
    }

    #[test]
    fn a_pattern_is_written_as_it_was_read(text in "(platform=[a-z*?]{0,5} ?)?(room=[a-z/?]{0,8})?") {
        if let Ok(pattern) = Pattern::parse(&text) {
            prop_assert_eq!(Pattern::parse(&pattern.to_string()).unwrap(), pattern);
        }
    }

    #[test]
    fn a_folder_is_named_whenever_something_takes_a_message(
        jid in "(telegram:group/12345|slack:T1/channel/[A-Z]|discord:g1|email:x|web:atlas|web:gone)",
        sender in "\\PC{0,40}",
        verb in "(message|mention|untrusted)",
    ) {
        let facts = Facts { rules: examples(), ..Facts::default() };
        let decision = route(&facts, &jid, &sender, &verb);
        prop_assert_eq!(decision.folder.is_some(), decision.effect != Effect::Unrouted);
    }
}
