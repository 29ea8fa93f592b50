//! A whole suite on Telegram and Slack, which are servers on loopback: a person writes there, an agent answers.

mod ledger;
pub(super) mod place;
mod rotation;

use crate::harness::reply_of;
use place::Place;
use platforms::slack::Kind;
use serde_json::json;

/// Bytes of a file that goes both ways.
const FILE: usize = 15 << 20;

/// Prints a long answer in Markdown: prose, and a code block of some hundred lines.
const LONG: &str = r##"
echo "# What was found"
echo
echo "Some **bold** words, an \`inline\` one, and a [link](https://example.org/)."
echo
echo '```rust'
i=0; while [ $i -lt 480 ]; do printf 'let value_%03d = compute(%03d); // naïve\n' $i $i; i=$((i+1)); done
echo '```'
i=0; while [ $i -lt 60 ]; do printf 'Sentence %02d says nothing new, at some length.\n\n' $i; i=$((i+1)); done
"##;

#[tokio::test(flavor = "multi_thread")]
async fn each_is_answered_where_it_was_written_once_its_token_is_there_and_an_observed_channel_is_not()
 {
    let mut place = Place::new().await;
    place.slack.add_channel("C2", "watched", Kind::Public);
    place.suite.start_up();
    let status = place.suite.json(&["status"]);
    for adapter in ["teled", "slakd"] {
        let all = status["daemons"].as_array().unwrap();
        let own = all.iter().find(|one| one["daemon"] == adapter).unwrap();
        assert_eq!((&own["ready"], &own["degraded"]), (&json!(true), &json!(null)), "{own}");
    }
    place.suite.ok(&["route", "add", "--match", "platform=telegram", "--target", "main"]);
    let watched = "chat_jid=slack:T1/channel/C2";
    place.suite.ok(&["route", "add", "--match", watched, "--target", "main#observe"]);
    let mention = "platform=slack verb=mention";
    place.suite.ok(&["route", "add", "--match", mention, "--target", "main"]);

    place.give_tokens();
    place.telegram.says(7, "hello");
    place.telegram.until("the answer", |it| it.texts(7) == [reply_of("hello")]).await;
    assert_eq!(place.telegram.sent()[0].reply_to, Some(1), "it answers the message");

    let said = place.slack.says("U1", "C1", "<@UBOT> good morning");
    place.tell_slack(&place.slack.mention_of(&said)).await;
    place.tell_slack(&said).await;
    let answer = reply_of("good morning");
    place.slack.until("the answer", |it| (it.posted("C1") == [answer.clone()]).then_some(())).await;
    let posted = place.slack.messages("C1");
    let posted = posted.iter().find(|one| one["user"] == "UBOT").unwrap();
    assert_eq!(posted["thread_ts"], said["event"]["ts"], "in the thread of what was written");

    let seen = place.slack.says("U2", "C2", "<@UBOT> are you there?");
    place.tell_slack(&place.slack.mention_of(&seen)).await;
    place.telegram.says(7, "and now?");
    place.telegram.until("the next answer", |it| it.texts(7).len() == 2).await;
    let stored = place.suite.json(&["trace", seen["event"]["ts"].as_str().unwrap()]);
    assert!(stored["steps"].to_string().contains("observed to main"), "{stored}");
    assert!(place.slack.posted("C2").is_empty(), "what is observed is not answered");
    assert_eq!(place.slack.posted("C1").len(), 1, "a mention that is told twice is one");
    place.none_is_shown();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_answer_arrives_whole_and_each_part_can_be_read_by_itself() {
    let mut place = Place::new().await;
    place.suite.start_up();
    let suite = &place.suite;
    let command = ["--harness", "command", "--command", "/bin/sh", "-c", LONG];
    suite.ok(&[&["group", "add", "long"], &command[..]].concat());
    suite.ok(&["route", "add", "--match", "", "--target", "long"]);
    place.give_tokens();
    place.telegram.says(7, "tell me");
    place.tell_slack(&place.slack.says("U1", "D1", "tell me")).await;
    let last = "Sentence 59 says nothing new, at some length.";
    place.telegram.until("its end", |it| it.texts(7).concat().contains(last)).await;
    place.slack.until("its end", |it| it.posted("D1").concat().contains(last).then_some(())).await;

    let texts = place.telegram.texts(7);
    assert!(texts.iter().all(|text| text.encode_utf16().count() <= 4_096));
    let posts = place.slack.posted("D1");
    assert!(posts.iter().all(|text| text.chars().count() <= 4_000));
    for parts in [&texts, &posts] {
        assert!(parts.concat().chars().count() > 20_000, "it is a long answer");
        let all = parts.join("\n");
        let mut from = 0;
        let lines = (0..480).map(|i| format!("let value_{i:03} = compute({i:03}); // naïve"));
        for line in lines.chain((0..60).map(|i| format!("Sentence {i:02} says nothing new"))) {
            let at = all[from..].find(&line).unwrap_or_else(|| panic!("`{line}` is not there"));
            from += at + line.len();
        }
        assert_eq!(all.matches("let value_123 ").count(), 1, "nothing stands twice");
    }
    assert!(posts.iter().all(|text| text.matches("```").count() % 2 == 0), "code is whole");
    let is_code = |sent: &platforms::telegram::Sent| {
        !sent.text.contains("let value_") || sent.entities.iter().any(|one| one["type"] == "pre")
    };
    assert!(place.telegram.sent().iter().all(is_code), "code is shown as code");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_goes_both_ways_byte_for_byte() {
    let mut place = Place::new().await;
    place.suite.start_up();
    place.suite.ok(&["route", "add", "--match", "", "--target", "main"]);
    place.give_tokens();
    let bytes: Vec<u8> = (0..FILE).map(|at| u8::try_from(at * 31 % 251).unwrap()).collect();
    let document = place.telegram.document("plan.bin", "application/octet-stream", &bytes);
    place.telegram.writes(7, json!({ "document": document, "caption": "back" }));
    let whole = "I sent back what came: 1.";
    place.telegram.until("it is back", |it| it.texts(7).contains(&whole.to_owned())).await;
    let sent = place.telegram.sent();
    let files: Vec<_> = sent.iter().filter_map(|one| one.file.as_ref()).collect();
    let [(name, content)] = files.as_slice() else { panic!("{} files", files.len()) };
    assert!(name.ends_with("plan.bin") && content[..] == bytes[..], "{name}");

    let sent = place.slack.sends_file("U1", "D1", "plan.bin", "application/octet-stream", &bytes);
    let mut back = sent;
    back["event"]["text"] = "back".into();
    place.tell_slack(&back).await;
    place
        .slack
        .until("it is back", |it| it.posted("D1").contains(&whole.into()).then_some(()))
        .await;
    let posted = place.slack.messages("D1");
    let own = posted.iter().filter(|one| one["user"] == "UBOT");
    let files: Vec<_> = own.filter_map(|one| one["files"][0]["id"].as_str()).collect();
    let [id] = files.as_slice() else { panic!("{posted:?}") };
    assert!(place.slack.file(id).unwrap() == bytes, "byte for byte");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_adapter_that_is_killed_between_the_platform_and_routd_loses_nothing() {
    let mut place = Place::new().await;
    place.suite.start_apart();
    place.suite.ok(&["route", "add", "--match", "", "--target", "main"]);
    // An instance can do without them: nothing waits for what does not run.
    place.suite.ok(&["secrets", "rotate", "CHANNEL_SECRET"]);
    let status = place.suite.json(&["status"]);
    let off = status["daemons"].as_array().unwrap().iter().filter(|one| one["alive"] == false);
    let off: Vec<_> = off.map(|one| one["daemon"].as_str().unwrap()).collect();
    assert_eq!(off, ["teled", "slakd"]);

    place.give_tokens();
    place.suite.restart("teled");
    place.suite.restart("slakd");
    place.telegram.says(7, "one");
    place.tell_slack(&place.slack.says("U1", "D1", "one")).await;
    place.telegram.until("an answer", |it| it.texts(7).len() == 1).await;
    place.slack.until("an answer", |it| (it.posted("D1").len() == 1).then_some(())).await;

    place.suite.kill("routd");
    place.telegram.says(7, "two");
    place.telegram.until("teled has it", |it| it.pending() == 0).await;
    let two = place.slack.says("U1", "D1", "two");
    assert_eq!(place.tell_slack(&two).await, [200], "Slack is told that it arrived");
    for adapter in ["teled", "slakd"] {
        place.suite.kill(adapter);
        place.suite.spawn(adapter);
    }
    place.suite.restart("routd");
    place.telegram.until("the answer", |it| it.texts(7).len() == 2).await;
    place.slack.until("the answer", |it| (it.posted("D1").len() == 2).then_some(())).await;
    // Told again, as platforms do: known by its id.
    place.telegram.tells_again();
    assert_eq!(place.tell_slack(&two).await, [200]);
    place.telegram.says(7, "three");
    place.telegram.until("the last answer", |it| it.texts(7).len() >= 3).await;
    let answers = ["one", "two", "three"].map(reply_of);
    assert_eq!(place.telegram.texts(7), answers, "each once, in order");
    assert_eq!(place.slack.posted("D1"), answers[..2], "each once, in order");
    place.none_is_shown();
}
