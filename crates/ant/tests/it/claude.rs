//! The harness that runs the Claude Code CLI: the real one, where it is, against a model that the test plays. Where it
//! is not, the tests say so and prove nothing of it.

use crate::model::{self, error, in_turn, says, uses};
use crate::routd::{LIMIT, Routd, input};
use ant::Options;
use proto::turn::{Harness, Outcome, TurnResult};
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

/// Names the CLI's file.
const VARIABLE: &str = "CLAUDE_CLI";

fn cli() -> Option<PathBuf> {
    let named = std::env::var_os(VARIABLE).map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = named.or_else(|| {
        std::env::split_paths(&path).map(|dir| dir.join("claude")).find(|file| file.is_file())
    });
    if found.is_none() {
        eprintln!("claude: not verified (no CLI; name it in {VARIABLE})");
    }
    found
}

async fn run(routd: &Routd, claude: PathBuf) -> TurnResult {
    let options = Options { claude: Some(claude), bridge: true, ..routd.options() };
    // The first start of the CLI takes seconds.
    tokio::time::timeout(LIMIT * 3, ant::run(options)).await.expect("it hangs").unwrap();
    routd.book().results.pop().unwrap()
}

fn ask(routd: &Routd, prompt: &str, session: Option<&str>, script: Option<model::Script>) {
    let mut input = input(Harness::Claude, &[prompt]);
    input.prompt = prompt.into();
    input.prompt_anew = session.map(|_| format!("earlier and {prompt}"));
    input.session = session.map(str::to_owned);
    routd.book().next(input);
    routd.book().model = script;
}

#[tokio::test]
async fn the_cli_uses_our_tools_answers_and_goes_on_in_its_session() {
    let Some(claude) = cli() else { return };
    let routd = Routd::start();
    let memory = json!({ "content": "likes tea" });
    let look = json!({ "command": "env", "description": "look" });
    let script = vec![
        uses(&[("toolu_1", "mcp__arizuko__set_memory", memory)]),
        uses(&[("toolu_2", "Bash", look)]),
        says("I will remember tea."),
    ];
    ask(&routd, "remember that I like tea", None, in_turn(script));
    let result = run(&routd, claude.clone()).await;
    assert_eq!(result.text.as_deref(), Some("I will remember tea."), "{result:?}");
    assert_eq!(routd.book().memory, "likes tea");
    assert_eq!(routd.book().effects.len(), 1, "{:?}", routd.book().effects);
    for (headers, _) in &routd.book().asked {
        assert_eq!(headers["x-api-key"], "not-a-key", "what it shows the gateway is worth nothing");
        assert!(!headers.contains_key("authorization"), "{headers:?}");
    }
    let seen = routd.book().asked.iter().map(|(_, body)| body.to_string()).collect::<String>();
    assert!(seen.contains("ANTHROPIC_API_KEY=not-a-key"), "the environment was looked at");
    assert!(!seen.contains("CARGO") && !seen.contains("RUST"), "nothing of ours is passed on");
    let events = routd.book().events.clone();
    assert!(events.contains(&"using set_memory".into()), "{events:?}");
    assert!(events.contains(&"running a command: look".into()), "{events:?}");

    let session = result.session.unwrap();
    ask(&routd, "what do I like?", Some(&session), in_turn(vec![says("Tea.")]));
    let again = run(&routd, claude.clone()).await;
    assert_eq!(again.text.as_deref(), Some("Tea."));
    let (_, asked) = routd.book().asked.pop().unwrap();
    assert!(asked["messages"].to_string().contains("remember that I like tea"));
    assert!(!asked["messages"].to_string().contains("earlier and"));

    let lost = "00000000-0000-4000-8000-00000000dead";
    ask(&routd, "what do I like?", Some(lost), in_turn(vec![says("Tea, I hear.")]));
    let anew = run(&routd, claude).await;
    assert_eq!(anew.text.as_deref(), Some("Tea, I hear."), "{anew:?}");
    let (_, asked) = routd.book().asked.pop().unwrap();
    assert!(asked["messages"].to_string().contains("earlier and what do I like?"));
}

#[tokio::test]
async fn the_cli_hears_what_is_said_while_it_works() {
    let Some(claude) = cli() else { return };
    let routd = Routd::start();
    let mut calls = 0;
    let script = Box::new(move |request: &Value| {
        calls += 1;
        match request["messages"].to_string().contains("and milk") {
            true => says("tea and milk"),
            false => uses(&[(&format!("toolu_{calls}"), "mcp__arizuko__get_memory", json!({}))]),
        }
    });
    ask(&routd, "tea", None, Some(script));
    routd.book().say("and milk");
    let result = run(&routd, claude).await;
    assert!(
        result.text.as_deref().is_some_and(|text| text.ends_with("tea and milk")),
        "{result:?}"
    );
    assert_eq!(result.taken, 1);
    assert!(routd.book().waiting.is_empty());
}

#[tokio::test]
async fn a_refused_key_and_a_spent_cap_are_told_for_what_they_are() {
    let Some(claude) = cli() else { return };
    let routd = Routd::start();
    ask(&routd, "hello", None, Some(Box::new(|_| error(401, "invalid x-api-key", &[]))));
    let refused = run(&routd, claude.clone()).await;
    assert_eq!(refused.outcome, Outcome::Failed);
    assert!(refused.text.unwrap().contains("refused the key"));
    let capped =
        Box::new(|_: &Value| error(429, "atlas has spent its cap", &[("x-should-retry", "false")]));
    ask(&routd, "hello", None, Some(capped));
    let capped = run(&routd, claude).await;
    assert_eq!(capped.outcome, Outcome::Failed);
    assert!(capped.text.as_ref().unwrap().contains("spent its cap"), "{capped:?}");
}

#[tokio::test]
async fn without_the_cli_or_a_network_of_its_own_it_says_so() {
    let routd = Routd::start();
    ask(&routd, "hello", None, None);
    let nothing = run(&routd, "/no/such/claude".into()).await;
    assert_eq!(nothing.outcome, Outcome::Failed);
    assert!(nothing.text.unwrap().contains("CLAUDE_CLI"));
    ask(&routd, "hello", None, None);
    let result = routd.serve().await;
    assert!(result.text.unwrap().contains("network namespace"), "no bridge was offered");
}

/// A program in the CLI's place that ends without an answer.
#[tokio::test]
async fn a_cli_that_crashes_is_not_taken_for_one_that_is_silent() {
    let routd = Routd::start();
    let file = routd.home.path().join("claude");
    std::fs::write(&file, "#!/bin/sh\necho garbage; echo why >&2; exit 7\n").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
    ask(&routd, "hello", None, None);
    let result = run(&routd, file).await;
    assert_eq!(result.outcome, Outcome::Failed);
    assert!(result.text.unwrap().contains("exit code 7"));
}
