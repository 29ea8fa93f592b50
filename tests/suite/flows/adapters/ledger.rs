//! Both adapters while daemons die and platforms lie: what every message came to is counted in the end.

use super::place::Place;
use crate::harness::{eventually, reply_of};
use platforms::{slack, slack::Kind, telegram};
use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use serde_json::json;
use std::{collections::BTreeMap, time::Duration};
use tokio::runtime::Runtime;

/// What happens, one after the other.
const STEPS: usize = 90;
/// Chats of each platform.
const CHATS: usize = 6;

/// Where something was written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Chat {
    Telegram(i64),
    Slack(String),
}

/// What was written there, and the platform's id of it.
struct Question {
    chat: Chat,
    id: String,
    text: String,
}

struct Ledger {
    place: Place,
    runtime: Runtime,
    random: StdRng,
    questions: Vec<Question>,
    /// The last question of each chat.
    last: BTreeMap<Chat, usize>,
    /// Lies after which nobody knows, and processes that were killed.
    doubts: usize,
}

impl Ledger {
    /// How often the answer to a question is seen.
    fn seen(&self, question: &Question) -> usize {
        let texts = match &question.chat {
            Chat::Telegram(person) => self.place.telegram.texts(*person),
            Chat::Slack(channel) => self.place.slack.posted(channel),
        };
        texts.iter().filter(|text| **text == reply_of(&question.text)).count()
    }

    /// What became of the answer that is not seen, if that is known: its state in the outbox.
    fn given_up(&self, question: &Question) -> Option<String> {
        let out = self.place.suite.run(&["--json", "trace", &question.id]);
        let trace: serde_json::Value = serde_json::from_slice(&out.stdout).ok()?;
        let steps = trace["steps"].as_array()?;
        let ends = |what: &&str| matches!(*what, "outbox.ambiguous" | "outbox.failed");
        steps.iter().filter_map(|step| step["what"].as_str()).find(ends).map(str::to_owned)
    }

    fn is_settled(&self, at: usize) -> bool {
        let question = &self.questions[at];
        self.seen(question) > 0 || self.given_up(question).is_some()
    }

    /// Somebody writes, in a chat where nothing is open.
    fn ask(&mut self) {
        let person = |nth: usize| Chat::Telegram(i64::try_from(nth).unwrap() + 11);
        let channel = |nth: usize| Chat::Slack(format!("D{}", nth + 11));
        let chats = (0..CHATS).flat_map(|nth| [person(nth), channel(nth)]);
        let free = |chat: &Chat| self.last.get(chat).is_none_or(|at| self.is_settled(*at));
        let free: Vec<Chat> = chats.filter(free).collect();
        let Some(chat) = free.choose(&mut self.random).cloned() else {
            return std::thread::sleep(Duration::from_millis(100));
        };
        let text = format!("question {}", self.questions.len());
        let id = match &chat {
            Chat::Telegram(person) => self.place.telegram.says(*person, &text).to_string(),
            Chat::Slack(channel) => {
                let event = self.place.slack.says("U1", channel, &text);
                self.runtime.block_on(self.place.tell_slack(&event));
                event["event"]["ts"].as_str().unwrap().to_owned()
            }
        };
        self.last.insert(chat.clone(), self.questions.len());
        self.questions.push(Question { chat, id, text });
    }

    fn lie(&mut self) {
        let nth = self.random.random_range(0..9);
        let wait = json!({ "retry_after": 1 });
        let to_telegram = |lie| self.place.telegram.next("sendMessage", lie);
        let to_slack = |lie| self.place.slack.next("chat.postMessage", lie);
        match nth {
            0 => to_telegram(telegram::Lie::Refuses(429, "Too Many Requests: retry after 1", wait)),
            1 => to_telegram(telegram::Lie::TakesAndBreaksOff),
            2 => to_telegram(telegram::Lie::DropsAndBreaksOff),
            3 => to_telegram(telegram::Lie::Garbage(502)),
            4 => to_slack(slack::Lie::Drops),
            5 => to_slack(slack::Lie::Loses),
            6 => to_slack(slack::Lie::RateLimits(1)),
            7 => to_slack(slack::Lie::Babbles),
            _ => self.place.telegram.tells_again(),
        }
        self.doubts += usize::from(matches!(nth, 1..=5 | 7));
    }

    fn kill(&mut self) {
        let daemon = ["teled", "slakd", "routd"].choose(&mut self.random).copied().unwrap();
        self.place.suite.kill(daemon);
        self.place.suite.restart(daemon);
        self.doubts += 1;
    }
}

#[test]
fn while_daemons_die_and_platforms_lie_each_message_is_answered_once_or_known_to_be_in_doubt() {
    let runtime = Runtime::new().unwrap();
    let _entered = runtime.enter();
    let mut place = runtime.block_on(Place::new());
    for nth in 0..CHATS {
        place.slack.add_channel(&format!("D{}", nth + 11), "direct", Kind::Direct);
    }
    place.suite.start_apart();
    place.suite.ok(&["group", "add", "people"]);
    for nth in 0..CHATS {
        // A folder for each two chats, so that agents work side by side.
        let folder = format!("people/p{nth}");
        place.suite.ok(&["group", "add", &folder]);
        let person = format!("chat_jid=telegram:user/{}", nth + 11);
        place.suite.ok(&["route", "add", "--match", &person, "--target", &folder]);
        let channel = format!("chat_jid=slack:T1/dm/D{}", nth + 11);
        place.suite.ok(&["route", "add", "--match", &channel, "--target", &folder]);
    }
    place.give_tokens();
    for adapter in ["teled", "slakd"] {
        place.suite.restart(adapter);
    }
    let seed = rand::random();
    eprintln!("the order of what happens follows from {seed}");
    let random = StdRng::seed_from_u64(seed);
    let (questions, last) = (Vec::new(), BTreeMap::new());
    let mut ledger = Ledger { place, runtime, random, questions, last, doubts: 0 };
    for step in 0..STEPS {
        match step % 9 {
            4 => ledger.kill(),
            1 | 6 => ledger.lie(),
            _ => ledger.ask(),
        }
    }
    for at in 0..ledger.questions.len() {
        let question = &ledger.questions[at];
        eventually(&format!("{:?} `{}` is settled", question.chat, question.text), || {
            ledger.is_settled(at).then_some(())
        });
    }
    let mut missing = 0;
    for question in &ledger.questions {
        match ledger.seen(question) {
            1 => {}
            0 => {
                let state = ledger.given_up(question);
                assert_eq!(state.as_deref(), Some("outbox.ambiguous"), "{}", question.text);
                missing += 1;
            }
            more => panic!("{:?} `{}` is answered {more} times", question.chat, question.text),
        }
    }
    let asked = ledger.questions.len();
    eprintln!(
        "{asked} questions, {missing} answers in doubt and not seen, {} doubts",
        ledger.doubts
    );
    assert!(asked > STEPS / 3, "{asked} questions were asked");
    assert!(missing <= ledger.doubts, "more are missing than anything explains");
}
