//! What agents say reaches Slack: once, whatever Slack says of it.

use crate::rig::{World, message};
use axum::{
    Router,
    extract::{Path, Query},
    http::{HeaderMap, StatusCode},
    routing::get,
};
use platforms::slack::Lie;
use proto::{
    Opaque,
    routd::{
        Attachment, DELETE, Delete, EDIT, Edit, HISTORY, HistoryQuery, REACT, React, SEND, Send,
        TYPING, Typing,
    },
};
use std::{collections::HashMap, time::Duration};

const GENERAL: &str = "slack:T1/channel/C1";
const DIRECT: &str = "slack:T1/dm/D1";

#[tokio::test(flavor = "multi_thread")]
async fn what_routd_says_is_posted_where_it_was_asked() {
    let world = World::start().await;
    let channel = world.registered().await;
    assert_eq!(channel.jid_prefixes, ["slack:"]);
    // A message that steers is answered by routd itself.
    world.deliver(&world.slack.says("U1", "D1", "@legal")).await;
    let posted =
        world.slack.until("the answer", |slack| slack.posted("D1").into_iter().next()).await;
    assert_eq!(posted, "This chat goes to main/legal now. Send `@` alone to undo that.");
    let thread = world.slack.says("U1", "C1", "a thread");
    let root = thread["event"]["ts"].as_str().unwrap();
    world.deliver(&world.slack.says_in("U1", "C1", Some(root), "@legal")).await;
    world.slack.until("the answer", |slack| slack.posted("C1").into_iter().next()).await;
    let answer = world.slack.messages("C1").pop().unwrap();
    assert_eq!(answer["thread_ts"], root, "in the thread in which it was asked");
    assert_eq!(world.slack.posted("D1").len(), 1);
    assert!(world.slack.posted("G1").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_written_in_slacks_markup_cut_changed_and_taken_back() {
    let world = World::start().await;
    let sent = world.send(GENERAL, "k1", "**bold** & [a page](https://a.example)").await.unwrap();
    assert_eq!(world.slack.posted("C1"), ["*bold* &amp; <https://a.example|a page>"]);
    let again = world.send(GENERAL, "k1", "**bold** & [a page](https://a.example)").await.unwrap();
    assert_eq!(sent, again, "the same key is answered alike");
    let posts = world.slack.calls("chat.postMessage");
    let post = &posts[0];
    assert_eq!(posts.len(), 1);
    assert_eq!(
        (&post.arguments["unfurl_links"], &post.arguments["unfurl_media"]),
        (&"false".into(), &"false".into())
    );

    let id = sent.ids[0].clone();
    let (chat_jid, at) = (GENERAL.parse().unwrap(), id.clone());
    let edit = Edit { chat_jid, id: at, content: "*mild*".into() };
    world.ask(&EDIT, &edit, "k2").await.unwrap();
    let react = React { chat_jid: GENERAL.parse().unwrap(), id: id.clone(), emoji: "👍".into() };
    world.ask(&REACT, &react, "k3").await.unwrap();
    world.ask(&REACT, &react, "k4").await.expect("what is already so is no failure");
    let message_now = world.slack.messages("C1").pop().unwrap();
    assert_eq!(
        (&message_now["text"], &message_now["reactions"][0]["name"]),
        (&"_mild_".into(), &"+1".into())
    );
    let delete = Delete { chat_jid: GENERAL.parse().unwrap(), id };
    world.ask(&DELETE, &delete, "k5").await.unwrap();
    world.ask(&DELETE, &delete, "k6").await.expect("what is gone is gone");
    assert!(world.slack.messages("C1").is_empty());

    let long: String = (0..900).map(|n| format!("word{n} ")).collect();
    let pieces = world.send(GENERAL, "k7", &long).await.unwrap().ids;
    let posted = world.slack.posted("C1");
    assert_eq!((pieces.len(), posted.len()), (2, 2));
    assert!(posted.iter().all(|piece| piece.encode_utf16().count() <= 4_000));
    assert_eq!(posted.join(" ").split_whitespace().count(), 900, "no word is lost");
    let edit =
        Edit { chat_jid: GENERAL.parse().unwrap(), id: pieces[0].clone(), content: "short".into() };
    world.ask(&EDIT, &edit, "k8").await.unwrap();
    assert_eq!(world.slack.posted("C1"), ["short"], "what is over is taken back");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_whose_answer_is_lost_is_looked_for_and_never_posted_twice() {
    let world = World::start().await;
    for (nth, (lie, calls)) in [
        (Lie::Drops, 1),
        (Lie::Babbles, 1),
        (Lie::DoesAndRefuses("fatal_error"), 1),
        (Lie::DoesLate(Duration::from_millis(700)), 1),
        // It is seen not to be there, and posted then.
        (Lie::Loses, 2),
        (Lie::Refuses("internal_error"), 2),
        (Lie::Breaks(503), 2),
    ]
    .into_iter()
    .enumerate()
    {
        let text = format!("message {nth}");
        let before = world.slack.calls("chat.postMessage").len();
        world.slack.next("chat.postMessage", lie.clone());
        let sent = world.send(GENERAL, &format!("key-{nth}"), &text).await.unwrap();
        let posted = world.slack.posted("C1");
        assert_eq!(posted.iter().filter(|one| **one == text).count(), 1, "{lie:?}: {posted:?}");
        let at = world.slack.messages("C1").into_iter().find(|one| one["text"] == text.as_str());
        assert_eq!(at.unwrap()["ts"], sent.ids[0].as_str(), "{lie:?}: under the id that it has");
        assert_eq!(world.slack.calls("chat.postMessage").len() - before, calls, "{lie:?}");
    }
    // The history is not to be had at once either, and is waited for.
    world.slack.next("chat.postMessage", Lie::Drops);
    world.slack.next("conversations.history", Lie::RateLimits(1));
    world.slack.next("conversations.history", Lie::Breaks(503));
    world.send(GENERAL, "patient", "patience").await.unwrap();
    assert_eq!(world.slack.posted("C1").iter().filter(|one| *one == "patience").count(), 1);
    assert_eq!(world.slack.impatient(), Vec::<String>::new());
    // In a thread it is looked for there.
    let thread = world.slack.says("U1", "C1", "a thread");
    let root = thread["event"]["ts"].as_str().unwrap().to_owned();
    world.slack.next("chat.postMessage", Lie::Drops);
    let reply = Send { thread_id: Some(root), ..message(GENERAL, "a reply") };
    world.ask(&SEND, &reply, "in-thread").await.unwrap();
    assert_eq!(world.slack.posted("C1").iter().filter(|one| *one == "a reply").count(), 1);
    assert_eq!(world.slack.calls("conversations.replies").len(), 1);
}

const CONTENT: &[u8] = b"name,count\nkettles,3\n";

/// A file as routd serves it to the adapter of the chat in which it was sent.
async fn file(
    Path(id): Path<String>,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
) -> Result<&'static [u8], StatusCode> {
    assert!(headers["authorization"].to_str().unwrap().starts_with("Bearer "));
    let is_there = id == "f1" && query["chat_jid"].starts_with("slack:T1/");
    if is_there { Ok(CONTENT) } else { Err(StatusCode::NOT_FOUND) }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_uploaded_and_shared_once_also_where_the_answer_is_lost() {
    let files = Router::new().route("/v1/files/{id}", get(file));
    let (world, _files) = World::start_before(files).await;
    let attachment = |id: &str| Attachment {
        filename: "kettles.csv".into(),
        mime: "text/csv".into(),
        url: Some(format!("/v1/files/{id}")),
        size: None,
    };
    let send = |chat: &str, id: &str, text: &str| Send {
        attachments: vec![attachment(id)],
        ..message(chat, text)
    };
    let sent = world.ask(&SEND, &send("slack:T1/group/G1", "f1", "the list"), "a").await.unwrap();
    assert_eq!(world.slack.posted("G1"), ["the list", ""], "the text, then the file");
    assert_eq!(world.slack.file(sent.ids[1].as_str()).as_deref(), Some(CONTENT));
    for (nth, lie) in [Lie::Drops, Lie::DoesAndRefuses("fatal_error")].into_iter().enumerate() {
        world.slack.next("files.completeUploadExternal", lie);
        let key = format!("lost-{nth}");
        world.ask(&SEND, &send(GENERAL, "f1", ""), &key).await.unwrap();
        world.ask(&SEND, &send(GENERAL, "f1", ""), &key).await.unwrap();
        assert_eq!(world.slack.posted("C1").len(), nth + 1, "shared once");
    }
    // It was not shared, and nothing of it is to be seen: another attempt may be made, and is.
    world.slack.next("files.completeUploadExternal", Lie::Loses);
    let lost = world.ask(&SEND, &send(GENERAL, "f1", ""), "not-done").await.unwrap_err();
    assert_eq!(lost.0.code, "transient");
    world.ask(&SEND, &send(GENERAL, "f1", ""), "not-done").await.unwrap();
    assert_eq!(world.slack.posted("C1").len(), 3);
    let gone = world.ask(&SEND, &send(GENERAL, "f2", ""), "gone").await.unwrap_err();
    assert_eq!(gone.0.code, "permanent");
    // What is taken back is the text and the file.
    let delete = Delete { chat_jid: "slack:T1/group/G1".parse().unwrap(), id: sent.ids[0].clone() };
    world.ask(&DELETE, &delete, "d").await.unwrap();
    assert!(world.slack.posted("G1").is_empty() && world.slack.posted("D1").is_empty());
    assert_eq!(world.slack.posted("C1").len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_doubt_that_cannot_be_cleared_up_stays_one() {
    let world = World::start().await;
    world.slack.next("chat.postMessage", Lie::Drops);
    world.slack.next("conversations.history", Lie::Refuses("missing_scope"));
    let sent = world.send(GENERAL, "k", "once").await;
    assert_eq!(sent.unwrap_err(), "ambiguous");
    // The same is said of it again, and nothing is sent.
    assert_eq!(world.send(GENERAL, "k", "once").await.unwrap_err(), "ambiguous");
    assert_eq!(world.slack.posted("C1"), ["once"]);
    assert_eq!(world.slack.calls("chat.postMessage").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn slacks_refusals_are_told_apart_and_its_pauses_kept() {
    let world = World::start().await;
    world.slack.archive("G1");
    for (chat, code) in [("slack:T1/channel/C404", "permanent"), ("slack:T1/group/G1", "permanent")]
    {
        assert_eq!(world.send(chat, &format!("k-{chat}"), "x").await.unwrap_err(), code);
    }
    world.slack.next("chat.postMessage", Lie::RateLimits(30));
    let (problem, wait) =
        world.ask(&SEND, &message(GENERAL, "later"), "limited").await.unwrap_err();
    assert_eq!(problem.code, "rate_limited");
    assert!(wait.is_some_and(|wait| (25..=30).contains(&wait.as_secs())), "{wait:?}");
    // Another chat, the same method: no call is made before its time. Another method goes on.
    let (problem, wait) = world.ask(&SEND, &message(DIRECT, "later"), "other").await.unwrap_err();
    assert_eq!(problem.code, "rate_limited");
    assert!(wait.is_some_and(|wait| wait.as_secs() >= 20), "{wait:?}");
    let query = HistoryQuery { chat_jid: GENERAL.parse().unwrap(), before: None, limit: 10 };
    world.ask(&HISTORY, &query, "history").await.unwrap();
    assert_eq!(world.slack.impatient(), Vec::<String>::new());
    let react = React {
        chat_jid: GENERAL.parse().unwrap(),
        id: "1.2".parse::<Opaque>().unwrap(),
        emoji: "no".into(),
    };
    assert_eq!(world.ask(&REACT, &react, "r").await.unwrap_err().0.code, "unsupported");
    assert!(world.slack.posted("C1").is_empty() && world.slack.posted("D1").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_slack_has_of_a_chat_is_told_oldest_first_and_the_assistant_shows_that_it_works() {
    let world = World::start().await;
    world.slack.says("U1", "C1", "one");
    let two = world.slack.says("U2", "C1", "two for <@U1>");
    world.slack.says("U1", "C1", "three");
    let query = HistoryQuery { chat_jid: GENERAL.parse().unwrap(), before: None, limit: 2 };
    let texts = |history: proto::routd::History| -> Vec<(String, String)> {
        let all = history.messages.into_iter();
        all.map(|one| (one.sender_name.unwrap_or_default(), one.content)).collect()
    };
    let newest = texts(world.ask(&HISTORY, &query, "h1").await.unwrap());
    let pair = |name: &str, text: &str| (name.to_owned(), text.to_owned());
    assert_eq!(newest, [pair("bob", "two for @ann"), pair("ann", "three")]);
    let before = two["event"]["ts"].as_str().unwrap().parse().unwrap();
    let query = HistoryQuery { before: Some(before), ..query };
    assert_eq!(texts(world.ask(&HISTORY, &query, "h2").await.unwrap()), [pair("ann", "one")]);

    let (_, thread) = world.slack.opens_pane("U1", "D1");
    let typing = Typing { chat_jid: DIRECT.parse().unwrap(), thread_id: Some(thread.clone()) };
    world.ask(&TYPING, &typing, "t1").await.unwrap();
    assert_eq!(world.slack.statuses(), [("D1".into(), thread, "is working on it…".into())]);
    let elsewhere = Typing { chat_jid: GENERAL.parse().unwrap(), thread_id: None };
    assert_eq!(world.ask(&TYPING, &elsewhere, "t2").await.unwrap_err().0.code, "unsupported");
    assert_eq!(world.slack.statuses().len(), 1, "nothing else is shown");
}
