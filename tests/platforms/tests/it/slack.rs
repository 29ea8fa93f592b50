//! The Slack workspace is one to the official client, and lies only when it is told to.

use platforms::slack::{self, Lie, Slack};
use serde_json::{Value, json};
use std::time::Duration;

async fn call(slack: &Slack, method: &str, given: Value) -> Result<Value, String> {
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = format!("{}/{method}", slack.api_url());
    let sent = http.post(url).bearer_auth("xoxb-1").json(&given).send().await;
    let answer = sent.map_err(|error| error.to_string())?;
    answer.json().await.map_err(|error| error.to_string())
}

#[tokio::test]
async fn the_official_client_takes_it_for_slack() {
    // Where the client is not installed, nothing is verified, and that is said.
    slack::proven().await;
}

#[tokio::test]
async fn a_lie_is_told_once_and_leaves_behind_what_it_says() {
    let slack = Slack::start().await;
    slack.add_bot_token("xoxb-1");
    let post = |text: &str| json!({"channel": "C1", "text": text});
    for (lie, is_there) in [
        (Lie::Drops, true),
        (Lie::Loses, false),
        (Lie::RateLimits(30), false),
        (Lie::Refuses("internal_error"), false),
        (Lie::DoesAndRefuses("fatal_error"), true),
        (Lie::Breaks(503), false),
        (Lie::Babbles, true),
    ] {
        let text = format!("{lie:?}");
        slack.next("chat.postMessage", lie);
        let answer = call(&slack, "chat.postMessage", post(&text)).await;
        assert!(answer.is_err() || answer.unwrap()["ok"] == false, "{text}");
        assert_eq!(slack.posted("C1").contains(&text), is_there, "{text}");
    }
    assert_eq!(slack.impatient(), ["chat.postMessage"; 4], "calls before the time that it named");
    slack.next("chat.postMessage", Lie::DoesLate(Duration::from_millis(1)));
    assert!(call(&slack, "chat.postMessage", post("late")).await.is_err());
    slack
        .until("it is done late", |slack| slack.posted("C1").contains(&"late".into()).then_some(()))
        .await;
    assert_eq!(call(&slack, "chat.postMessage", post("true")).await.unwrap()["ok"], true);
    assert_eq!(slack.posted("C1").last().unwrap(), "true");
    assert!(slack.posted("D1").is_empty());
}
