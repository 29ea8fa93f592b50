//! Streams: in order, each event once, whatever happens behind them.

use crate::{
    fake_routd::CHAT,
    rig::{Webd, client},
    sse::Events,
};
use proto::routd::{FeedItem, TurnEnd};
use serde_json::json;
use std::time::Duration;

const JID: &str = "web:corp/eng";

fn events_of(webd: &Webd, query: &str) -> String {
    webd.url(&format!("/chat/{CHAT}/events{query}"))
}

#[tokio::test]
async fn a_stream_tells_what_happens_in_order_and_resumes_where_it_was() {
    let webd = Webd::start().await;
    webd.routd.agent_says(JID, "one");
    let mut stream = Events::open(&events_of(&webd, ""), None).await;
    let one = stream.next().await.unwrap();
    assert_eq!((one.id, &*one.name), (Some(1), "message"));
    assert_eq!(one.data["content"], "one");
    assert_eq!(one.data["body"], json!([{"t": "p", "c": ["one"]}]), "parsed, for the page");

    let turn_id: proto::Opaque = "t1".parse().unwrap();
    let doing = FeedItem::Status { turn_id: turn_id.clone(), text: "reading".into() };
    webd.routd.happens(JID, doing);
    webd.routd.happens("web:corp/other", crate::fake_routd::said("x", "agent", "elsewhere"));
    webd.routd.happens(JID, FeedItem::Done { turn_id, outcome: TurnEnd::Silent });
    let status = stream.next().await.unwrap();
    assert_eq!((&*status.name, &status.data["text"]), ("status", &json!("reading")));
    let done = stream.next().await.unwrap();
    assert_eq!((&*done.name, &done.data["outcome"]), ("done", &json!("silent")));
    assert_eq!(done.id, Some(4), "what happens elsewhere is not told");
    drop(stream);

    webd.routd.agent_says(JID, "while nobody listened");
    let mut resumed = Events::open(&events_of(&webd, "?after=0"), done.id).await;
    let texts = resumed.texts(1).await;
    assert_eq!(texts, ["while nobody listened"], "the header wins over the address");
    let mut from = Events::open(&events_of(&webd, "?after=3"), None).await;
    assert_eq!(from.next().await.unwrap(), done);
    let wrong = client().get(events_of(&webd, "?after=x")).send().await.unwrap();
    assert_eq!(wrong.status(), 400);
}

#[tokio::test]
async fn routd_restarts_behind_a_stream_and_the_listener_notices_nothing() {
    let mut webd = Webd::start().await;
    let mut stream = Events::open(&events_of(&webd, "?after=0"), None).await;
    let mut expected = Vec::new();
    let mut heard = Vec::new();
    for round in 0..3 {
        for n in 0..3 {
            let text = format!("{round}.{n}");
            webd.routd.agent_says(JID, &text);
            expected.push(text);
        }
        heard.extend(stream.texts(2).await);
        webd.wire.cut().await;
        let text = format!("{round} while routd was away");
        webd.routd.agent_says(JID, &text);
        expected.push(text);
        webd.wire.mend().await;
        heard.extend(stream.texts(2).await);
    }
    assert_eq!(heard, expected, "no gap and no repeat, on one connection");
}

#[tokio::test]
async fn a_revoked_link_hears_nothing_more() {
    let webd = Webd::start().await;
    let mut stream = Events::open(&events_of(&webd, "?after=0"), None).await;
    webd.routd.agent_says(JID, "before");
    assert_eq!(stream.texts(1).await, ["before"]);
    webd.routd.state().links.remove(CHAT);
    // The link is remembered for two seconds; after that nothing is told. Waits for the state that
    // a new request is refused.
    let refused = async {
        while client().get(webd.url(&format!("/chat/{CHAT}/"))).send().await.unwrap().status()
            != 404
        {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), refused).await.unwrap();
    webd.routd.agent_says(JID, "secret plans");
    assert_eq!(stream.next().await, None, "the stream ends without telling it");
    let again = client().get(events_of(&webd, "")).send().await.unwrap();
    assert_eq!(again.status(), 404, "and cannot be opened again");
}

#[tokio::test]
async fn a_stop_ends_the_streams_cleanly() {
    let webd = Webd::start().await;
    let mut stream = Events::open(&events_of(&webd, "?after=0"), None).await;
    webd.routd.agent_says(JID, "last");
    assert_eq!(stream.texts(1).await, ["last"]);
    webd.context.stop.cancel();
    assert_eq!(stream.next().await, None, "an end, not a broken connection");
}

#[tokio::test]
async fn streams_have_a_limit_and_give_their_place_back() {
    let webd = Webd::with(|rig| rig.setting("WEBD_MAX_STREAMS", "1")).await;
    let url = events_of(&webd, "?after=0");
    let first = Events::open(&url, None).await;
    let second = client().get(&url).send().await.unwrap();
    assert_eq!(second.status(), 503);
    assert_eq!(second.headers()["retry-after"], "10");
    drop(first);
    let free = async {
        while client().get(&url).send().await.unwrap().status() != 200 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), free).await.expect("the place is given back");
}
