//! Socket Mode: the same events through sockets that end, are cut, and change their token.

use crate::rig::{APP_TOKEN, BOT_TOKEN, World};

const GENERAL: &str = "slack:T1/channel/C1";
const SECOND_APP: &str = "xapp-2-second-app-token";

async fn world() -> World {
    let mut world = World::unstarted().await;
    world.secrets([("SLACK_BOT_TOKEN", BOT_TOKEN), ("SLACK_APP_TOKEN", APP_TOKEN)]);
    world.start_routd().await;
    world.start_slakd().await;
    world.slack.until("a socket", |slack| (slack.sockets() == 1).then_some(())).await;
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn events_and_commands_come_through_a_socket_and_are_acknowledged_once_they_are_kept() {
    let world = world().await;
    let said = world.slack.says("U1", "C1", "hello");
    let event = world.slack.send_through_socket("events_api", &said);
    let command = serde_json::json!({"command": "/deploy", "text": "api", "user_id": "U2", "user_name": "bob",
        "team_id": "T1", "channel_id": "C1", "trigger_id": "1.2.abc"});
    let command = world.slack.send_through_socket("slash_commands", &command);
    for envelope in [event, command] {
        let done = |slack: &platforms::slack::Slack| slack.is_acknowledged(&envelope).then_some(());
        world.slack.until("the acknowledgement", done).await;
    }
    // The same event over HTTP, or through another socket, is the same message.
    world.slack.send_through_socket("events_api", &said);
    let last = world.slack.says("U1", "C1", "last");
    world.slack.send_through_socket("events_api", &last);
    let written = world.written(GENERAL, 3).await;
    let texts: Vec<&str> = written.iter().map(|(_, text)| text.as_str()).collect();
    assert_eq!(texts, ["hello", "/deploy api", "last"], "none twice");
    assert!(world.metrics().contains("arizuko_slack_sockets 1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_that_is_cut_or_ends_soon_is_replaced_and_no_event_is_lost() {
    let world = world().await;
    world.slack.cut_sockets();
    for n in 0..3 {
        let said = world.slack.says("U1", "C1", &format!("while it is cut {n}"));
        world.slack.send_through_socket("events_api", &said);
    }
    let opened = |slack: &platforms::slack::Slack| slack.calls("apps.connections.open").len();
    world.slack.until("another socket", |slack| (opened(slack) == 2).then_some(())).await;
    world.written(GENERAL, 3).await;
    world.slack.refresh_sockets();
    world.slack.until("a third socket", |slack| (opened(slack) == 3).then_some(())).await;
    world.slack.until("one is left", |slack| (slack.sockets() == 1).then_some(())).await;
    let said = world.slack.says("U1", "C1", "after all that");
    world.slack.send_through_socket("events_api", &said);
    let written = world.written(GENERAL, 4).await;
    assert_eq!(written.len(), 4, "each once: {written:?}");
    assert_eq!(written[3].1, "after all that");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_token_opens_its_socket_before_the_old_one_is_closed() {
    let world = world().await;
    world.slack.add_app_token(SECOND_APP);
    world.source.set([("SLACK_APP_TOKEN", SECOND_APP)]);
    world
        .slack
        .until("the new one", |slack| (slack.sockets_of(SECOND_APP) == 1).then_some(()))
        .await;
    world
        .slack
        .until("the old one ends", |slack| (slack.sockets_of(APP_TOKEN) == 0).then_some(()))
        .await;
    assert_eq!(world.slack.fewest_sockets(), 1, "there was one at every moment");
    world.slack.revoke(APP_TOKEN, "token_revoked");
    let said = world.slack.says("U1", "C1", "under the new token");
    let envelope = world.slack.send_through_socket("events_api", &said);
    world.slack.until("it arrives", |slack| slack.is_acknowledged(&envelope).then_some(())).await;
    assert_eq!(world.written(GENERAL, 1).await[0].1, "under the new token");
    assert_eq!(world.slack.sockets_of(APP_TOKEN), 0);
}
