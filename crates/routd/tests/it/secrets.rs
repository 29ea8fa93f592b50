//! Secrets change while routd runs, and while it does not.

use crate::{
    links::{issue, resolve},
    stage::{CHANNEL_SECRET, KEY, Stage, eventually, message},
};
use db::audit::{Chain, verify};
use proto::{
    Problem,
    routd::{AUDIT, AuditQuery, LinkKind, MessageAck, POST_MESSAGE},
};
use std::time::Duration;

const NEXT: &str = "channel-secret-after-the-rotation";
const KEY_TWO: &str = "0123456789abcdef0123456789abcdef-two";

async fn post(stage: &Stage, bearer: &str, id: &str) -> Result<MessageAck, Problem> {
    stage.call(&POST_MESSAGE, &message("web:atlas", id, "hello"), bearer).await
}

#[tokio::test(flavor = "multi_thread")]
async fn both_channel_secrets_are_good_for_the_overlap_and_then_one() {
    let mut stage = Stage::unstarted();
    stage.overlap = Duration::from_millis(1500);
    stage.start().await;
    stage.add_group("atlas").await;
    post(&stage, CHANNEL_SECRET, "m1").await.unwrap();
    assert_eq!(post(&stage, NEXT, "m2").await.unwrap_err().status, 401);
    // Nobody tells routd: it looks again when it is shown what it does not know.
    stage.source.set_silently([("CHANNEL_SECRET", NEXT)]);
    eventually("the new secret to be taken", || async { post(&stage, NEXT, "m2").await.ok() })
        .await;
    post(&stage, CHANNEL_SECRET, "m3").await.expect("the old one is good for the overlap");
    eventually("the old secret to be refused", || async {
        (post(&stage, CHANNEL_SECRET, "m3").await.err()?.status == 401).then_some(())
    })
    .await;
    post(&stage, NEXT, "m4").await.unwrap();
    let page = stage.call(&AUDIT, &AuditQuery::default(), &stage.operator()).await.unwrap();
    let published = page.rows.iter().find(|row| row.action == "secret.publish").unwrap();
    assert_eq!(published.target, "CHANNEL_SECRET");
    assert!(page.rows.iter().any(|row| row.action == "secret.load"));
    let all = format!("{page:?}");
    assert!(!all.contains(NEXT) && !all.contains(CHANNEL_SECRET) && !all.contains(KEY));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_key_of_the_database_is_wrapped_anew_and_links_still_open() {
    let mut stage = Stage::unstarted().setting("SECRETS_OVERLAP", "1500ms");
    stage.overlap = Duration::from_millis(1500);
    stage.start().await;
    stage.add_group("atlas").await;
    let link = issue(&stage, LinkKind::Chat, None).await;
    let wraps = |stage: &Stage| stage.count("SELECT count(*) FROM data_keys");
    assert_eq!(wraps(&stage), 1);
    stage.source.set([("SECRETS_KEY", KEY_TWO)]);
    eventually("the key to be wrapped under both", || async { (wraps(&stage) == 2).then_some(()) })
        .await;
    resolve(&stage, &link.token, LinkKind::Chat).await.unwrap();
    eventually("the old wrap to be dropped", || async { (wraps(&stage) == 1).then_some(()) }).await;
    stage.restart().await;
    assert_eq!(resolve(&stage, &link.token, LinkKind::Chat).await.unwrap(), link.link);
    stage.stop().await;
    // Going back to the first key after its time is refused, and touches nothing.
    stage.source.set_silently([("SECRETS_KEY", KEY)]);
    let (_, refused) = stage.try_start().await;
    let error = refused.expect_err("it cannot open its database");
    assert_eq!(error.exit_code(), 78);
    assert!(error.to_string().contains("SECRETS_KEY_PREVIOUS"), "{error}");
    assert_eq!(wraps(&stage), 1);
    stage.source.set_silently([("SECRETS_KEY", KEY_TWO)]);
    stage.start().await;
    resolve(&stage, &link.token, LinkKind::Chat).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_changed_while_routd_was_down_is_taken_up_with_its_predecessor() {
    let mut stage = Stage::new().await;
    let link = issue(&stage, LinkKind::Chat, None).await;
    stage.stop().await;
    stage.source.set_silently([("SECRETS_KEY", KEY_TWO), ("SECRETS_KEY_PREVIOUS", KEY)]);
    stage.start().await;
    resolve(&stage, &link.token, LinkKind::Chat).await.unwrap();
    assert_eq!(stage.count("SELECT count(*) FROM data_keys"), 2);
    stage.stop().await;
    stage.source.remove("SECRETS_KEY_PREVIOUS");
    stage.start().await;
    resolve(&stage, &link.token, LinkKind::Chat).await.unwrap();
    stage.stop().await;
    // A restart does not know the earlier key any more; going back to it within the overlap works.
    stage.source.set_silently([("SECRETS_KEY", KEY)]);
    stage.start().await;
    assert_eq!(resolve(&stage, &link.token, LinkKind::Chat).await.unwrap(), link.link);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_adapter_that_got_a_secret_of_its_own_is_told_to_look_for_it() {
    let stage = Stage::new().await;
    let own = "secret-of-the-web-adapter";
    // The adapter saw it first: routd looks again when it is shown what it does not know.
    stage.source.set_silently([("CHANNEL_SECRET_WEBD", own)]);
    eventually("its own to be taken", || async { post(&stage, own, "m1").await.ok() }).await;
    // routd saw it first: 401 is what makes an adapter look again, and deliver the same message.
    assert_eq!(post(&stage, CHANNEL_SECRET, "m2").await.unwrap_err().status, 401);
    post(&stage, own, "m2").await.unwrap();
    let other = message("slack:T1/dm/D1", "m1", "hello");
    let slack: Result<MessageAck, _> = stage.call(&POST_MESSAGE, &other, CHANNEL_SECRET).await;
    slack.expect("the shared one speaks for those that have none of their own");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_adapters_rotations_do_not_shorten_the_overlap_of_another() {
    let stage = Stage::new().await;
    let by = async |secret: String, chat: &str, id: &str| -> Result<MessageAck, Problem> {
        stage.call(&POST_MESSAGE, &message(chat, id, "hello"), &secret).await
    };
    let own = |number: u32| format!("secret-of-teled-number-{number}");
    let (slack, telegram) = ("slack:T1/dm/D1", "telegram:user/1");
    stage.source.set([("CHANNEL_SECRET", NEXT), ("CHANNEL_SECRET_TELED", &own(1))]);
    for number in 1..=4 {
        stage.source.set([("CHANNEL_SECRET_TELED", own(number).as_str())]);
        let id = format!("t{number}");
        eventually("its own to be taken", || async { by(own(number), telegram, &id).await.ok() })
            .await;
    }
    // As many as are accepted at once have come since, and all of them are another adapter's.
    by(CHANNEL_SECRET.to_owned(), slack, "s1").await.expect("its overlap has not ended");
    for number in 1..=4 {
        by(own(number), telegram, "again").await.expect("nor has that of any of these");
    }
    let refused = by(own(1), slack, "s2").await.unwrap_err();
    assert_eq!(refused.status, 403, "an adapter's own speaks for no other: {refused:?}");
    let refused = by(CHANNEL_SECRET.to_owned(), telegram, "t9").await.unwrap_err();
    assert_eq!(refused.status, 401, "nor does the shared one for it: {refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_audit_log_holds_together_and_shows_when_it_does_not() {
    let mut stage = Stage::new().await;
    issue(&stage, LinkKind::Chat, None).await;
    stage.stop().await;
    let conn = stage.database();
    let Chain::Whole { rows, .. } = verify(&conn).unwrap() else { panic!("broken") };
    assert!(rows >= 3, "{rows}");
    conn.execute_batch("DROP TRIGGER audit_is_fixed").unwrap();
    conn.execute("UPDATE audit SET actor = 'nobody' WHERE id = 2", []).unwrap();
    assert_eq!(verify(&conn).unwrap(), Chain::Broken { id: 2 });
}
