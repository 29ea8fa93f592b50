//! The harness that calls a model by itself.

use crate::model::{self, error, in_turn, says, uses};
use crate::routd::{Mcp, Routd, bounded, input};
use ant::Options;
use proto::turn::{Harness, Outcome, TurnResult};
use serde_json::{Value, json};

/// The next turn asks this, of a model that answers like that.
fn ask(routd: &Routd, prompt: &str, script: Option<model::Script>) {
    let mut input = input(Harness::Builtin, &[prompt]);
    input.prompt = prompt.into();
    routd.book().next(input);
    routd.book().model = script;
}

async fn answer(prompt: &str, script: Option<model::Script>) -> (Routd, TurnResult) {
    let routd = Routd::start();
    ask(&routd, prompt, script);
    let result = routd.serve().await;
    (routd, result)
}

/// The newest message of a request, as text.
fn newest(request: &Value) -> String {
    request["messages"].as_array().unwrap().last().unwrap().to_string()
}

#[tokio::test]
async fn a_model_uses_tools_and_answers_and_each_call_happens_once() {
    let first = uses(&[
        ("t1", "set_memory", json!({ "content": "tea" })),
        ("t2", "get_memory", json!({})),
        ("t3", "reply", json!({ "content": "a moment" })),
        ("t4", "no_such_tool", json!({})),
    ]);
    let (routd, result) = answer("remember tea", in_turn(vec![first, says("Done, Zoë.")])).await;
    assert_eq!((result.outcome, result.text.as_deref()), (Outcome::Replied, Some("Done, Zoë.")));
    let mut book = routd.book();
    assert_eq!(book.memory, "tea");
    let keys: Vec<_> = book.calls.iter().filter_map(|(_, key)| key.clone()).collect();
    assert!(
        keys.contains(&"turn-1/2/t1".into()) && keys.contains(&"turn-1/2/t3".into()),
        "{keys:?}"
    );
    assert_eq!(book.effects.len(), 2, "{:?}", book.effects);
    let (headers, second) = book.asked.pop().unwrap();
    let results = second["messages"][2]["content"].as_array().unwrap();
    let ids: Vec<_> = results.iter().map(|r| r["tool_use_id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["t1", "t2", "t3", "t4"], "in the order in which they were asked for");
    assert_eq!((&results[0]["is_error"], &results[3]["is_error"]), (&json!(false), &json!(true)));
    assert!(!headers.contains_key("x-api-key") && !headers.contains_key("authorization"));
    assert_eq!(second["model"], "claude-test");
    assert_eq!(second["tools"][0]["name"], "get_memory");
    assert_eq!(second["tools"][2]["cache_control"]["type"], "ephemeral");
    assert!(book.events.iter().any(|event| event == "using set_memory"), "{:?}", book.events);
}

#[tokio::test]
async fn a_conversation_goes_on_and_one_that_is_lost_begins_with_what_was_said_before() {
    let (routd, first) = answer("my name is Ann", in_turn(vec![says("Hello Ann.")])).await;
    let session = first.session.unwrap();
    let mut next = input(Harness::Builtin, &["who am I?"]);
    next.prompt = "who am I?".into();
    next.prompt_anew = Some("earlier: my name is Ann. who am I?".into());
    next.session = Some(session.clone());
    routd.book().next(next.clone());
    routd.book().model = in_turn(vec![says("Ann.")]);
    let second = routd.serve().await;
    assert_ne!(second.session, Some(session));
    let (_, asked) = routd.book().asked.pop().unwrap();
    assert_eq!(asked["messages"].as_array().unwrap().len(), 3);
    assert_eq!(asked["messages"][0]["content"][0]["text"], "my name is Ann");
    assert!(newest(&asked).contains("who am I?") && !newest(&asked).contains("earlier"));

    next.session = Some("b-of-another-home".into());
    routd.book().next(next.clone());
    routd.book().model = in_turn(vec![says("Ann.")]);
    routd.serve().await;
    let (_, asked) = routd.book().asked.pop().unwrap();
    assert_eq!(asked["messages"].as_array().unwrap().len(), 1);
    assert!(newest(&asked).contains("earlier: my name is Ann"));

    // One that the model cannot read any more is not kept for ever.
    next.session = second.session;
    routd.book().next(next);
    let long = error(400, "prompt is too long: 9 tokens > 8 maximum", &[]);
    routd.book().model = in_turn(vec![long, says("Ann.")]);
    assert_eq!(routd.serve().await.text.as_deref(), Some("Ann."));
    let (_, asked) = routd.book().asked.pop().unwrap();
    assert_eq!(asked["messages"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn what_is_said_meanwhile_is_in_the_conversation_once() {
    let routd = Routd::start();
    let mut calls = 0;
    // It goes on until it has heard: there is no moment to hit.
    let script = Box::new(move |request: &Value| {
        calls += 1;
        match request["messages"].to_string().contains("and milk") {
            true => says("tea and milk"),
            false => uses(&[(&format!("t{calls}"), "get_memory", json!({}))]),
        }
    });
    ask(&routd, "tea", Some(script));
    routd.book().say("and milk");
    let result = routd.serve().await;
    assert_eq!((result.text.as_deref(), result.taken), (Some("tea and milk"), 1));
    let (_, asked) = routd.book().asked.pop().unwrap();
    assert_eq!(asked["messages"].to_string().matches("and milk").count(), 1);
    assert!(routd.book().waiting.is_empty());
}

#[tokio::test]
async fn an_overloaded_model_is_asked_again_and_one_that_breaks_off_did_nothing() {
    let half = "event: message_start\ndata: {\"type\":\"message_start\"}\n\nevent: content_block_start\n\
        data: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"tool_use\",\"id\":\"t\",\"name\":\"reply\",\"input\":{}}}\n\n";
    let script = vec![
        error(429, "slow down", &[("retry-after", "0")]),
        error(529, "overloaded", &[("retry-after", "0")]),
        model::raw(half),
        says("here"),
    ];
    let (routd, result) = answer("hello", in_turn(script)).await;
    assert_eq!(result.text.as_deref(), Some("here"));
    let events = routd.book().events.clone();
    assert!(events.iter().any(|event| event.contains("limits the rate")), "{events:?}");
    assert!(events.iter().any(|event| event.contains("overloaded")), "{events:?}");
    assert!(routd.book().effects.is_empty(), "half a call is no call");
}

#[tokio::test]
async fn a_refusal_is_told_for_what_it_is_and_not_tried_again() {
    for (refusal, said) in [
        (error(401, "invalid x-api-key", &[]), "refused the key"),
        (error(429, "atlas has spent its cap", &[("x-should-retry", "false")]), "spent its cap"),
        (error(404, "model: none", &[]), "no such model"),
        (error(403, "web_search needs egress", &[]), "needs egress"),
    ] {
        let (routd, result) = answer("hello", in_turn(vec![refusal])).await;
        assert_eq!(result.outcome, Outcome::Failed);
        assert!(result.text.as_ref().unwrap().contains(said), "{result:?}");
        assert_eq!((routd.book().asked.len(), result.session), (1, None));
    }
}

#[tokio::test]
async fn silence_is_silent_and_a_model_that_never_ends_is_ended() {
    let (_, silent) = answer("hello", in_turn(vec![says("<silent/>")])).await;
    assert_eq!((silent.outcome, silent.text), (Outcome::Silent, None));
    let mut calls = 0;
    let endless = Box::new(move |_: &Value| {
        calls += 1;
        uses(&[(&format!("t{calls}"), "get_memory", json!({}))])
    });
    let (routd, result) = answer("hello", Some(endless)).await;
    assert_eq!(result.outcome, Outcome::Failed);
    assert_eq!(routd.book().asked.len(), 50);
    assert_eq!(routd.book().asked[49].1["tool_choice"]["type"], "none");
}

#[tokio::test]
async fn skills_are_read_where_they_lie_and_nothing_else_is() {
    let routd = Routd::start_with(Mcp::Stateless);
    let place = tempfile::tempdir().unwrap();
    let skills = place.path().join("workspace");
    std::fs::create_dir_all(skills.join("skills/greet")).unwrap();
    std::fs::write(skills.join("skills/greet/SKILL.md"), "# Greets\nSay ahoy.").unwrap();
    std::fs::write(place.path().join("secret"), "nobody should read this").unwrap();
    std::fs::write(routd.home.path().join("persona.md"), "You are a pirate.").unwrap();
    let script = vec![
        uses(&[
            ("t1", "read_skill", json!({ "path": "greet/SKILL.md" })),
            ("t2", "read_skill", json!({ "path": "../../secret" })),
        ]),
        says("ahoy"),
    ];
    ask(&routd, "greet", in_turn(script));
    let options = Options { skills, ..routd.options() };
    bounded(ant::run(options)).await.unwrap();
    let (_, asked) = routd.book().asked.pop().unwrap();
    let system = asked["system"][0]["text"].as_str().unwrap();
    let who = "# Who you are\n\nYou like the sea.\n\n# Who you are\n\nYou are a pirate.";
    assert!(system.contains(who) && system.contains("- greet: Greets"), "{system}");
    assert!(newest(&asked).contains("Say ahoy.") && !newest(&asked).contains("nobody should"));
    assert_eq!(routd.book().results[0].text.as_deref(), Some("ahoy"));
}
