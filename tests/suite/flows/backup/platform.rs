//! What had not been seen to arrive at a platform may have arrived since.

use super::{elsewhere, text};
use crate::{
    flows::adapters::place::Place,
    harness::{eventually, reply_of},
};

#[tokio::test(flavor = "multi_thread")]
async fn what_waited_for_its_platform_is_held_and_never_sent_by_itself() {
    let mut place = Place::new().await;
    place.suite.start_up();
    place.suite.ok(&["route", "add", "--match", "platform=telegram", "--target", "main"]);
    place.give_tokens();
    place.telegram.says(7, "first");
    place.telegram.until("the answer", |it| it.texts(7) == [reply_of("first")]).await;
    place.telegram.says(7, "wait 2");
    let suite = &place.suite;
    eventually("its turn runs", || {
        (suite.json(&["status"])["queues"]["turns_running"] == 1).then_some(())
    });
    // From here on the platform takes nothing from this bot.
    let token = place.telegram.revoke_token();
    eventually("the reply waits", || {
        (suite.json(&["status"])["queues"]["outbox_pending"] == 1).then_some(())
    });
    let dest = suite.scratch("backup");
    suite.ok(&["backup", text(&dest)]);

    let mut second = elsewhere(suite);
    second.set("TELEGRAM_API_URL", place.telegram.url());
    assert_eq!(place.suite.process("up").stop(), Some(0));
    second.ok(&["restore", text(&dest)]);
    second.edit_dotenv(&[("TELEGRAM_BOT_TOKEN", &token)]);
    second.start_up();
    place.telegram.says(7, "second");
    place.telegram.until("the next answer", |it| it.texts(7).contains(&reply_of("second"))).await;
    let queues = second.json(&["status"])["queues"].clone();
    assert_eq!(
        (&queues["outbox_ambiguous"], &queues["outbox_pending"]),
        (&1.into(), &0.into()),
        "{queues}"
    );
    // Also once the adapter, whose memory is as old, has said again that it remembers.
    assert_eq!(second.process("up").stop(), Some(0));
    second.start_up();
    place.telegram.says(7, "third");
    place.telegram.until("the last answer", |it| it.texts(7).contains(&reply_of("third"))).await;
    let said = ["first", "second", "third"].map(reply_of);
    assert_eq!(place.telegram.texts(7), said, "what was held went out");
}
