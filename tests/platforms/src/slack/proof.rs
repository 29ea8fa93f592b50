//! The official Python client against this server: what it takes for Slack's, is Slack's.

use super::{Slack, sign};
use std::{path::PathBuf, process::Stdio, time::Duration};
use tokio::process::Command;

/// How long the client may take, on a machine that has other things to do.
const PATIENCE: Duration = Duration::from_secs(120);

/// Has `slack_sdk` and `slack_bolt` use a server of its own, whole. Whether they were there to do it.
///
/// # Panics
/// Something was not as they expect it of Slack.
pub async fn proven() -> bool {
    let Some(python) = crate::tools::python(&["slack_sdk", "slack_bolt"]) else {
        return false;
    };
    let slack = Slack::start().await;
    slack.add_bot_token("xoxb-proof");
    slack.add_app_token("xapp-proof");
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/slack/proof.py");
    let body = r#"{"type":"url_verification","challenge":"x"}"#;
    let time = super::events::now().to_string();
    let child = Command::new(python)
        .arg(script)
        .args([&slack.api_url(), "xoxb-proof", "xapp-proof"])
        .args([&time, body, &sign("proof-secret", &time, body.as_bytes())])
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = async {
        let talk = async {
            // The script has opened its socket when it has asked for the users.
            slack.until("the client's socket", |slack| (slack.sockets() > 0).then_some(())).await;
            let event = slack.says("U1", "C1", "through the socket");
            slack.send_through_socket("events_api", &event)
        };
        let (output, envelope) = tokio::join!(child, talk);
        (output, envelope)
    };
    let (output, envelope) = tokio::time::timeout(PATIENCE, output).await.expect("the client ends");
    let output = output.expect("the client runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "slack_sdk does not take it for Slack:\n{said}");
    assert!(
        slack.is_acknowledged(&envelope),
        "slack_sdk acknowledged what came through the socket"
    );
    true
}
