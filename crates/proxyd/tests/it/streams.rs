//! Server-sent events through the edge.

use crate::rig::{Edge, client, until};
use std::time::Duration;

async fn chunk(answer: &mut reqwest::Response) -> Option<String> {
    let chunk = tokio::time::timeout(Duration::from_secs(10), answer.chunk()).await;
    let chunk = chunk.expect("an event within ten seconds").expect("no broken stream");
    chunk.map(|chunk| String::from_utf8(chunk.to_vec()).unwrap())
}

#[tokio::test]
async fn events_pass_one_by_one_and_a_client_resumes() {
    let edge = Edge::start().await;
    let request = client().get(edge.at("/chat/token/events")).header("last-event-id", "41");
    let mut stream = request.send().await.unwrap();
    assert_eq!(stream.headers()["content-type"], "text/event-stream");
    assert_eq!(edge.daemons.last().1["last-event-id"], "41");
    assert_eq!(chunk(&mut stream).await.unwrap(), ": hello\n\n");
    for text in ["one", "two"] {
        edge.daemons.events.send(text.into()).unwrap();
        // The next event is sent only after this one has arrived: nothing may wait for more.
        assert_eq!(chunk(&mut stream).await.unwrap(), format!("data: {text}\n\n"));
    }
    drop(stream);
    until(async || edge.daemons.events.receiver_count() == 0).await;
}

#[tokio::test]
async fn a_stop_ends_streams_cleanly_and_waits_for_requests_in_flight() {
    let edge = Edge::start().await;
    let mut stream = client().get(edge.at("/chat/token/events")).send().await.unwrap();
    assert_eq!(chunk(&mut stream).await.unwrap(), ": hello\n\n");
    let in_flight = tokio::spawn(client().get(edge.at("/chat/token/hang")).send());
    until(async || edge.daemons.count() == 2).await;
    edge.context.stop.cancel();
    assert_eq!(chunk(&mut stream).await, None, "an end, not a broken connection");
    edge.daemons.go.notify_one();
    assert_eq!(in_flight.await.unwrap().unwrap().status(), 200);
    let busy = edge.context.tasks.ended(Duration::from_secs(10)).await;
    assert!(busy.is_empty(), "{busy:?}");
    assert!(client().get(edge.at("/health")).send().await.is_err(), "nothing is accepted any more");
}

#[tokio::test]
async fn a_silent_stream_outlives_the_time_for_an_answer() {
    let edge = Edge::with(|rig| rig.setting("PROXYD_ANSWER_TIMEOUT", "100ms")).await;
    let mut stream = client().get(edge.at("/chat/token/events")).send().await.unwrap();
    assert_eq!(chunk(&mut stream).await.unwrap(), ": hello\n\n");
    // A request that hangs is given up after that time: so it has passed for the stream too.
    assert_eq!(edge.get("/chat/token/hang").await.status(), 504);
    edge.daemons.events.send("late".into()).unwrap();
    assert_eq!(chunk(&mut stream).await.unwrap(), "data: late\n\n");
}
