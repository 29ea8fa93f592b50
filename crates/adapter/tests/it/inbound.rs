//! Events reach routd in each chat's order, and one that routd never takes holds nothing up.

use crate::stage::{CHAT, SECRET, Stage, eventually};
use adapter::Event;
use axum::{
    Json, Router,
    http::{HeaderMap, StatusCode},
    routing::post,
};
use kit::testing::{Serving, serve_router};
use proto::routd::NewMessage;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};

/// In routd's place: what it took, and what it is to answer first.
#[derive(Clone, Default)]
struct Fake {
    took: Arc<Mutex<Vec<String>>>,
    refuses: Arc<Mutex<Vec<(String, u16)>>>,
    secret: Arc<Mutex<String>>,
}

impl Fake {
    async fn serve(&self) -> Serving {
        *self.secret.lock().unwrap() = SECRET.into();
        let fake = self.clone();
        let take = move |headers: HeaderMap, Json(message): Json<NewMessage>| {
            let answer = fake.take(&headers, &message);
            async move { answer }
        };
        serve_router(Router::new().route("/v1/messages", post(take))).await
    }

    fn take(&self, headers: &HeaderMap, message: &NewMessage) -> (StatusCode, Json<Value>) {
        let bearer = format!("Bearer {}", self.secret.lock().unwrap());
        if headers["authorization"] != bearer.as_str() {
            return problem(401);
        }
        let mut refuses = self.refuses.lock().unwrap();
        if let Some(at) = refuses.iter().position(|(id, _)| id == message.id.as_str()) {
            return problem(refuses.remove(at).1);
        }
        self.took.lock().unwrap().push(message.id.to_string());
        (StatusCode::OK, Json(json!({ "id": message.id, "seq": 1, "duplicate": false })))
    }
}

fn problem(status: u16) -> (StatusCode, Json<Value>) {
    let body = json!({ "status": status, "code": "x", "title": "No", "detail": "no" });
    (StatusCode::from_u16(status).unwrap(), Json(body))
}

fn event(chat: &str, id: &str) -> Event {
    let message = NewMessage {
        id: id.parse().unwrap(),
        chat_jid: chat.parse().unwrap(),
        sender: chat.into(),
        sender_name: None,
        content: "x".into(),
        timestamp: None,
        topic: None,
        verb: None,
        reply_to: None,
        is_group: false,
        attachments: Vec::new(),
    };
    Event { key: id.into(), message }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chats_order_is_kept_and_what_is_never_taken_is_set_aside() {
    let fake = Fake::default();
    let serving = fake.serve().await;
    let refused = [("a1", 503), ("a2", 400), ("b1", 429), ("a4", 404)];
    *fake.refuses.lock().unwrap() = refused.map(|(id, status)| (id.to_owned(), status)).to_vec();
    let stage = Stage::new(&serving.url).await;
    let other = "telegram:user/2";
    let of_a = (1..=5).map(|n| event(CHAT, &format!("a{n}")));
    let of_b = (1..=2).map(|n| event(other, &format!("b{n}")));
    stage.spool().take(of_a.chain(of_b).collect(), None).await.unwrap();
    let took = |of: char| {
        let took = fake.took.lock().unwrap();
        took.iter().filter(|id| id.starts_with(of)).cloned().collect::<Vec<_>>()
    };
    eventually("all are taken", async || {
        (took('a').len() == 4 && took('b').len() == 2).then_some(())
    })
    .await;
    assert_eq!(took('a'), ["a1", "a3", "a4", "a5"]);
    assert_eq!(took('b'), ["b1", "b2"]);
    let aside = "1 events of the last days were set aside";
    eventually("it is said", async || {
        stage.troubles().iter().any(|line| line.contains(aside)).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_routd_does_not_know_yet_loses_nothing() {
    let fake = Fake::default();
    let serving = fake.serve().await;
    let stage = Stage::new(&serving.url).await;
    let new = "channel-secret-number-two";
    *fake.secret.lock().unwrap() = new.into();
    stage.spool().take(vec![event(CHAT, "a1")], None).await.unwrap();
    eventually("it is said", async || {
        stage.troubles().iter().any(|line| line.contains("does not let")).then_some(())
    })
    .await;
    assert!(fake.took.lock().unwrap().is_empty());
    stage.source.set([("CHANNEL_SECRET", new)]);
    eventually("it is taken", async || (fake.took.lock().unwrap().len() == 1).then_some(())).await;
    eventually("all is well again", async || {
        (!stage.troubles().iter().any(|line| line.starts_with("events:"))).then_some(())
    })
    .await;
    assert_eq!(*fake.took.lock().unwrap(), ["a1"], "once");
}
