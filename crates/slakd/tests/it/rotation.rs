//! Tokens and signing secrets change while messages flow, and none is lost.

use crate::rig::{APP_TOKEN, BOT_TOKEN, SIGNING, World, eventually};

const GENERAL: &str = "slack:T1/channel/C1";
const SECOND_BOT: &str = "xoxb-2-second-bot-token";
const SECOND_SIGNING: &str = "0123456789abcdef0123456789abcdef";

#[tokio::test(flavor = "multi_thread")]
async fn without_a_token_it_is_ready_and_idle_and_a_token_that_appears_is_used() {
    let mut world = World::unstarted().await;
    world.start_routd().await;
    world.start_slakd().await;
    assert!(world.slakd().health.is_ready());
    eventually("it says what it waits for", || async {
        let waiting = world.slakd().health.waiting_for();
        (waiting == ["SLACK_BOT_TOKEN"]).then_some(())
    })
    .await;
    assert_eq!(world.send(GENERAL, "early", "hello").await.unwrap_err(), "transient");
    let unsigned = world.slack.says("U1", "C1", "too early");
    let early = world.slack.deliver(&world.at("/slack/events"), SIGNING, &unsigned).await;
    assert_eq!(early.attempts, [503; 4], "Slack is to tell it again");
    assert!(world.slack.calls("auth.test").is_empty(), "nothing is asked without a token");
    world.source.set([("SLACK_BOT_TOKEN", BOT_TOKEN), ("SLACK_SIGNING_SECRET", SIGNING)]);
    world.registered().await;
    assert_eq!(world.slakd().health.troubles(), Vec::<String>::new());
    assert_eq!(world.slakd().health.waiting_for(), Vec::<String>::new());
    world.send(GENERAL, "early", "hello").await.expect("it goes out now");
    world.deliver(&unsigned).await;
    assert_eq!(world.written(GENERAL, 1).await[0].1, "too early");
    assert_eq!(world.slack.posted("C1"), ["hello"], "once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_send_that_a_revoked_token_held_up_goes_out_under_the_new_one() {
    let world = World::start().await;
    world.send(GENERAL, "before", "before").await.unwrap();
    world.slack.revoke(BOT_TOKEN, "token_revoked");
    // The source does not have the new one yet: it waits.
    assert_eq!(world.send(GENERAL, "between", "between").await.unwrap_err(), "transient");
    world.slack.add_bot_token(SECOND_BOT);
    // Nobody tells slakd of it: the refusal makes it look.
    world.source.set_silently([("SLACK_BOT_TOKEN", SECOND_BOT)]);
    let sent = eventually("it goes out", || async {
        world.send(GENERAL, "between", "between").await.ok()
    })
    .await;
    assert_eq!(sent.ids.len(), 1);
    assert_eq!(world.slack.posted("C1"), ["before", "between"], "each once");
    let log = world.metrics();
    assert!(!log.contains(SECOND_BOT) && !log.contains(BOT_TOKEN));
}

#[tokio::test(flavor = "multi_thread")]
async fn both_signing_secrets_are_good_during_the_overlap_and_it_is_counted_which_was_used() {
    let world = World::start().await;
    let url = world.at("/slack/events");
    world.source.set([("SLACK_SIGNING_SECRET", SECOND_SIGNING)]);
    let new = world.slack.says("U1", "C1", "under the new one");
    assert!(world.slack.deliver(&url, SECOND_SIGNING, &new).await.is_acknowledged());
    let old = world.slack.says("U1", "C1", "under the old one");
    assert!(world.slack.deliver(&url, SIGNING, &old).await.is_acknowledged());
    let metrics = world.metrics();
    for line in [
        "arizuko_slack_verified_total{secret=\"current\"} 1",
        "arizuko_slack_verified_total{secret=\"previous\"} 1",
    ] {
        assert!(metrics.contains(line), "{line} is not in\n{metrics}");
    }
    let third = world.slack.says("U1", "C1", "under neither");
    let refused = world.slack.deliver(&url, "fedcba9876543210fedcba9876543210", &third).await;
    assert!(refused.attempts.iter().all(|status| *status == 401 || *status == 0), "{refused:?}");
    let texts: Vec<String> =
        world.written(GENERAL, 2).await.into_iter().map(|(_, text)| text).collect();
    assert_eq!(texts, ["under the new one", "under the old one"]);
    assert!(!metrics.contains(SIGNING) && !metrics.contains(APP_TOKEN));
}
