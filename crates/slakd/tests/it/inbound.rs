//! What people do in Slack reaches routd: once, in order, in their own words.

use crate::rig::{PATIENCE, SIGNING, World, eventually};
use platforms::slack::{self, sign};
use proto::routd::FeedItem;
use serde_json::json;
use std::time::Duration;

const GENERAL: &str = "slack:T1/channel/C1";

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_is_heard_once_with_the_names_that_people_see() {
    let world = World::start().await;
    let said = world.slack.says("U1", "C1", "<@U2> see <#C1>, 1 &lt; 2");
    world.deliver(&said).await;
    // The same event again, as a retry, and the mention that Slack tells beside the message.
    world.deliver(&said).await;
    let asked = world.slack.says("U2", "C1", "<@UBOT> what now?");
    world.deliver(&world.slack.mention_of(&asked)).await;
    world.deliver(&asked).await;
    let root = said["event"]["ts"].as_str().unwrap();
    world.deliver(&world.slack.says_in("U2", "C1", Some(root), "in the thread")).await;
    let written = world.written(GENERAL, 3).await;
    let expected =
        [("ann", "@bob see #general, 1 < 2"), ("bob", "what now?"), ("bob", "in the thread")];
    let expected = expected.map(|(name, text)| (name.to_owned(), text.to_owned()));
    assert_eq!(written, expected);
    let heard = world.heard(GENERAL).await;
    let thread = heard.iter().any(|item| {
        matches!(item, FeedItem::Message { content, reply_to: Some(to), .. }
            if content == "in the thread" && to.as_str() == root)
    });
    assert!(thread, "what is said in a thread answers its first message: {heard:?}");
    let asked = world.slack.calls("users.info").len();
    assert_eq!(asked, 2, "each member's name is asked for once");
    assert!(world.metrics().contains("arizuko_slack_told_total{outcome=\"repeated\"} 1"));
    let again = world.written(GENERAL, 3).await;
    assert_eq!(again.len(), 3, "nothing was heard twice: {again:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn edits_deletions_reactions_files_commands_and_buttons_are_heard_as_what_they_are() {
    let world = World::start().await;
    let said = world.slack.says("U1", "C1", "helo");
    world.deliver(&said).await;
    world.deliver(&world.slack.edits(&said, "hello")).await;
    let ts = said["event"]["ts"].as_str().unwrap();
    world.deliver(&world.slack.reacts("U2", "C1", ts, "tada")).await;
    world.deliver(&world.slack.deletes(&said)).await;
    let file = world.slack.sends_file("U1", "C1", "plan.txt", "text/plain", b"the plan");
    world.deliver(&file).await;
    let form = [
        ("command", "/deploy"),
        ("text", "api"),
        ("user_id", "U1"),
        ("user_name", "ann"),
        ("team_id", "T1"),
        ("channel_id", "C1"),
        ("trigger_id", "1.2.abc"),
    ];
    let commanded = world.slack.deliver_form(&world.at("/slack/commands"), SIGNING, &form).await;
    assert!(commanded.is_acknowledged() && commanded.body.is_empty(), "{commanded:?}");
    let press = json!({"type": "block_actions", "user": {"id": "U2", "name": "bob"}, "team": {"id": "T1"},
        "trigger_id": "9.9.x", "container": {"type": "message", "channel_id": "C1", "message_ts": ts},
        "actions": [{"type": "button", "value": "yes", "text": {"text": "Go on"}, "action_ts": "18.5"}]});
    let press = [("payload", press.to_string())];
    let press: Vec<(&str, &str)> =
        press.iter().map(|(name, text)| (*name, text.as_str())).collect();
    let pressed = world.slack.deliver_form(&world.at("/slack/interactions"), SIGNING, &press).await;
    assert!(pressed.is_acknowledged(), "{pressed:?}");
    let written = world.written(GENERAL, 7).await;
    let texts: Vec<&str> = written.iter().map(|(_, text)| text.as_str()).collect();
    assert_eq!(
        texts,
        ["helo", "hello", "🎉", "(deleted)", "(plan.txt)", "/deploy api", "Go on (yes)"]
    );
    // routd fetches the file from slakd, which fetches it from Slack.
    let saved = eventually("the file reaches routd", || async {
        world.heard(GENERAL).await.into_iter().find_map(|item| match item {
            FeedItem::Message { attachments, .. } => {
                attachments.into_iter().find(|one| one.size == Some(8))
            }
            _ => None,
        })
    })
    .await;
    assert_eq!((saved.filename.as_str(), saved.mime.as_str()), ("plan.txt", "text/plain"));
    assert!(
        saved.url.is_none_or(|url| !url.contains("files-pri")),
        "no address of Slack's is told"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_acknowledged_while_routd_is_away_and_none_is_lost() {
    let mut world = World::unstarted().await;
    world.secrets([("SLACK_BOT_TOKEN", crate::rig::BOT_TOKEN), ("SLACK_SIGNING_SECRET", SIGNING)]);
    world.start_slakd().await;
    for n in 0..20 {
        world.deliver(&world.slack.says("U1", "D1", &format!("message {n}"))).await;
    }
    // slakd dies too: what it acknowledged is on its disk.
    world.stop_slakd().await;
    world.start_routd().await;
    world.start_slakd().await;
    let written = world.written("slack:T1/dm/D1", 20).await;
    let expected: Vec<_> = (0..20).map(|n| ("ann".to_owned(), format!("message {n}"))).collect();
    assert_eq!(written, expected, "all of them, in order, and none twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_believed_that_slack_did_not_sign_within_five_minutes() {
    let world = World::start().await;
    let url = world.at("/slack/events");
    let challenge = json!({"type": "url_verification", "challenge": "3eZbrw1aBm"});
    let verified = world.slack.deliver(&url, SIGNING, &challenge).await;
    assert_eq!((verified.attempts, verified.body.as_str()), (vec![200], "3eZbrw1aBm"));
    let event = world.slack.says("U1", "C1", "a forgery").to_string();
    let http = kit::http_client().unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    for (time, secret, body) in [
        (now, "another-signing-secret", event.clone()),
        (now - 400, SIGNING, event.clone()),
        (now + 400, SIGNING, event.clone()),
    ] {
        let signature = sign(secret, &time.to_string(), body.as_bytes());
        let post = http.post(&url).header("x-slack-request-timestamp", time.to_string());
        let answer = post.header("x-slack-signature", signature).body(body).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), 401);
    }
    let signature = sign(SIGNING, &now.to_string(), event.as_bytes());
    let bare = http.post(&url).body(event.clone()).send().await.unwrap();
    assert_eq!(bare.status().as_u16(), 401);
    let changed = http.post(&url).header("x-slack-request-timestamp", now.to_string());
    let changed =
        changed.header("x-slack-signature", signature).body(event.replace("forgery", "f"));
    assert_eq!(changed.send().await.unwrap().status().as_u16(), 401);
    world.deliver(&world.slack.says("U1", "C1", "true")).await;
    let written = world.written(GENERAL, 1).await;
    assert_eq!(written, [("ann".to_owned(), "true".to_owned())], "no forgery was heard");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_nobody_tells_keeps_no_message_from_being_acknowledged() {
    let world = World::start().await;
    world.slack.next("users.info", slack::Lie::Slow(PATIENCE));
    world.deliver(&world.slack.says("U1", "D1", "hello")).await;
    let written = world.written("slack:T1/dm/D1", 1).await;
    assert_eq!(
        written,
        [(String::new(), "hello".to_owned())],
        "without the name, and without waiting"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_opens_the_assistant_is_given_something_to_ask() {
    let world = World::start().await;
    let (event, thread) = world.slack.opens_pane("U1", "D1");
    world.deliver(&event).await;
    let prompts = world.slack.until("prompts", |slack| slack.prompts(&thread)).await;
    assert_eq!(prompts, json!([{"title": "What can you do?", "message": "What can you do?"}]));
    let said = world.slack.says_in("U1", "D1", Some(&thread), "What can you do?");
    world.deliver(&said).await;
    assert_eq!(world.written("slack:T1/dm/D1", 1).await[0].1, "What can you do?");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_official_library_and_slakd_say_the_same_of_every_request() {
    let Some(python) = platforms::tools::python(&["slack_sdk", "slack_bolt"]) else { return };
    assert!(slack::proven().await, "the workspace of these tests is Slack to its official client");
    let world = World::start().await;
    let script = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/oracle.py");
    let run = tokio::process::Command::new(python)
        .arg(script)
        .args([&world.at("/slack/events"), SIGNING])
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(Duration::from_secs(120), run).await.unwrap().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    assert!(
        world.metrics().contains("arizuko_slack_retried_total 1"),
        "a repeat is counted as one"
    );
    let written = world.written(GENERAL, 1).await;
    assert_eq!(
        written.len(),
        1,
        "the one request that is good was heard, and no other: {written:?}"
    );
}
