//! The secrets of both platforms, each replaced a hundred times while people write.

use super::place::{Place, random};
use crate::harness::{View, reply_of};
use platforms::slack::Kind;
use tokio::runtime::Runtime;

/// How often each is replaced.
const ROUNDS: usize = 100;
/// Chats of each platform, written in by turns.
const CHATS: usize = 5;

fn person(round: usize) -> i64 {
    i64::try_from(round % CHATS).unwrap() + 11
}

fn channel(round: usize) -> String {
    format!("D{}", round % CHATS + 11)
}

/// New values of all five, of which each platform takes its own at once, as it does when somebody presses its button.
fn replace(place: &mut Place, view: &View) {
    let app = format!("xapp-{}", random());
    let (bot, signing) = (format!("xoxb-{}", random()), random());
    place.slack.add_app_token(&app);
    place.slack.add_bot_token(&bot);
    let token = place.telegram.revoke_token();
    let old = std::mem::replace(&mut place.bot, bot.clone());
    place.slack.revoke(&old, "token_revoked");
    place.signing.clone_from(&signing);
    let webhook = random();
    let values = [
        ("TELEGRAM_BOT_TOKEN", token.as_str()),
        ("TELEGRAM_WEBHOOK_SECRET", &webhook),
        ("SLACK_BOT_TOKEN", &bot),
        ("SLACK_APP_TOKEN", &app),
        ("SLACK_SIGNING_SECRET", &signing),
    ];
    view.taken_up(&["teled", "slakd"], || place.set(&values));
}

#[test]
fn every_secret_of_the_platforms_is_replaced_again_and_again_and_no_message_is_lost() {
    let runtime = Runtime::new().unwrap();
    let _entered = runtime.enter();
    let mut place = runtime.block_on(Place::new());
    for nth in 0..CHATS {
        place.slack.add_channel(&channel(nth), "direct", Kind::Direct);
    }
    let webhook = format!("{}/telegram/webhook", place.suite.edge());
    place.suite.set("TELEGRAM_WEBHOOK_URL", &webhook);
    place.suite.start_apart();
    for adapter in ["teled", "slakd"] {
        place.suite.restart(adapter);
    }
    place.suite.ok(&["group", "add", "people"]);
    place.suite.ok(&["route", "add", "--match", "", "--target", "people/{sender}"]);
    let view = View::new(&place.suite, &place.suite.dotenv("AUTHD_SERVICE_KEY"));
    let before = ["teled", "slakd"].map(|adapter| view.generation(adapter));
    replace(&mut place, &view);
    for round in 0..ROUNDS {
        // The chat's question before this one is answered: each question is a turn.
        let answered = round / CHATS;
        runtime.block_on(async {
            let person = person(round);
            let is = |it: &platforms::telegram::Telegram| it.texts(person).len() >= answered;
            place.telegram.until("an answer", is).await;
            let channel = channel(round);
            let there = |it: &platforms::slack::Slack| {
                (it.posted(&channel).len() >= answered).then_some(())
            };
            place.slack.until("an answer", there).await;
            place.telegram.says(person, &format!("question {round}"));
            let event = place.slack.says("U1", &channel, &format!("question {round}"));
            // By the socket and by the signature in turns; some come both ways, as in a real change of ways.
            if round % 2 == 0 {
                place.slack.send_through_socket("events_api", &event);
            }
            if round % 3 != 0 || round % 2 == 1 {
                place.tell_slack(&event).await;
            }
        });
        replace(&mut place, &view);
    }
    runtime.block_on(async {
        for nth in 0..CHATS {
            let expected: Vec<_> = (nth..ROUNDS).step_by(CHATS).collect();
            let expected: Vec<_> =
                expected.iter().map(|round| reply_of(&format!("question {round}"))).collect();
            let (person, channel) = (person(nth), channel(nth));
            let is = |it: &platforms::telegram::Telegram| it.texts(person).len() >= expected.len();
            place.telegram.until("the last answers", is).await;
            assert_eq!(place.telegram.texts(person), expected, "each once, in order");
            let there = |it: &platforms::slack::Slack| {
                (it.posted(&channel).len() >= expected.len()).then_some(())
            };
            place.slack.until("the last answers", there).await;
            assert_eq!(place.slack.posted(&channel), expected, "each once, in order");
        }
    });
    for (adapter, before) in ["teled", "slakd"].into_iter().zip(before) {
        let made = view.generation(adapter) - before;
        assert!(made > u64::try_from(ROUNDS).unwrap(), "{adapter} took up {made} changes");
    }
    let status = place.suite.json(&["status"]);
    let queues = &status["queues"];
    assert_eq!((&queues["outbox_pending"], &queues["outbox_ambiguous"]), (&0.into(), &0.into()));
    place.none_is_shown();
}
