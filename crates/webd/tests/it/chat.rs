//! What people say through a link, and under whose name.

use crate::{
    fake_routd::CHAT,
    rig::{Webd, client, cookie_of},
};
use auth::Kind;
use proto::Daemon;
use serde_json::{Value, json};

async fn say(webd: &Webd, cookie: Option<&str>, body: Value) -> reqwest::Response {
    let mut request = client().post(webd.url(&format!("/chat/{CHAT}"))).json(&body);
    if let Some(cookie) = cookie {
        request = request.header("cookie", cookie);
    }
    request.send().await.unwrap()
}

#[tokio::test]
async fn a_browser_is_one_sender_and_another_browser_another() {
    let webd = Webd::start().await;
    let first = say(&webd, None, json!({"content": "hello"})).await;
    assert_eq!(first.status(), 202);
    let whole = first.headers()["set-cookie"].to_str().unwrap().to_owned();
    for part in ["HttpOnly", "SameSite=Lax", &format!("Path=/chat/{CHAT};")] {
        assert!(whole.contains(part), "{whole}");
    }
    let cookie = cookie_of(&first).unwrap();
    let again = say(&webd, Some(&cookie), json!({"content": "again"})).await;
    assert_eq!(cookie_of(&again), None, "a browser that is known gets no new name");
    say(&webd, None, json!({"content": "somebody else"})).await;
    let state = webd.routd.state();
    let senders: Vec<&str> = state.messages.iter().map(|m| &*m.sender).collect();
    assert_eq!(senders[0], senders[1]);
    assert_ne!(senders[0], senders[2]);
    let value = cookie.split_once('=').unwrap().1;
    for message in &state.messages {
        assert!(message.sender.starts_with("web:anon/"), "{}", message.sender);
        assert_eq!(message.chat_jid.as_str(), "web:corp/eng");
        let shown = serde_json::to_string(message).unwrap();
        assert!(!shown.contains(value), "the cookie stays between the browser and webd");
    }
}

#[tokio::test]
async fn the_same_client_id_is_the_same_message() {
    let webd = Webd::start().await;
    let first = say(&webd, None, json!({"content": "once", "id": "k1", "topic": "plans"})).await;
    let cookie = cookie_of(&first).unwrap();
    let body = json!({"content": "once", "id": "k1", "topic": "plans"});
    let mut ids = vec![];
    for _ in 0..3 {
        let answer = say(&webd, Some(&cookie), body.clone()).await;
        assert_eq!(answer.status(), 202);
        ids.push(answer.json::<Value>().await.unwrap()["id"].as_str().unwrap().to_owned());
    }
    assert!(ids[0].ends_with(".k1"), "the page knows its own message by this: {}", ids[0]);
    assert_eq!(webd.routd.state().messages.len(), 1, "repeats change nothing");
    assert_eq!(webd.routd.state().messages[0].topic.as_ref().unwrap().as_str(), "plans");
    say(&webd, None, body).await;
    assert_eq!(webd.routd.state().messages.len(), 2, "another browser's `k1` is another message");
}

#[tokio::test]
async fn who_is_logged_in_writes_under_that_name_if_the_edge_says_so() {
    let webd = Webd::start().await;
    let edge = webd.authority.service(Daemon::Proxyd);
    let other_daemon = webd.authority.service(Daemon::Timed);
    let wrong_audience =
        webd.authority.token("service:proxyd", &[Daemon::Authd], Kind::Service, &[]);
    let send = async |proof: Option<&str>| {
        let mut request = client()
            .post(webd.url(&format!("/chat/{CHAT}")))
            .header("x-user-subject", "operator:local")
            .header("x-forwarded-proto", "https")
            .json(&json!({"content": "x"}));
        if let Some(proof) = proof {
            request = request.header("x-arizuko-edge", proof);
        }
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 202);
        let secure =
            answer.headers().get("set-cookie").map(|c| c.to_str().unwrap().contains("Secure"));
        let sender = webd.routd.state().messages.last().unwrap().sender.clone();
        (sender, secure)
    };
    assert_eq!(send(Some(&edge)).await, ("web:operator/local".into(), None));
    for proof in [None, Some("garbage"), Some(&*other_daemon), Some(&*wrong_audience)] {
        let (sender, secure) = send(proof).await;
        assert!(sender.starts_with("web:anon/"), "{sender} must not be believed");
        assert_eq!(secure, Some(false), "nor what else an unproven request says of itself");
    }
}

#[tokio::test]
async fn a_page_without_its_script_sends_a_form_and_comes_back() {
    let webd = Webd::start().await;
    let path = webd.url(&format!("/chat/{CHAT}/"));
    let form = |content: &str, id: &str| {
        client()
            .post(&path)
            .header("accept", "text/html")
            .header("sec-fetch-site", "same-origin")
            .form(&[("content", content), ("id", id), ("topic", "")])
    };
    let sent = form("line 1\r\nline 2 <b>", "f1").send().await.unwrap();
    assert_eq!(sent.status(), 303);
    let cookie = cookie_of(&sent).unwrap();
    assert_eq!(sent.headers()["location"], format!("/chat/{CHAT}/#end"));
    // The button pressed twice.
    let twice = form("line 1\r\nline 2 <b>", "f1").header("cookie", &cookie).send().await.unwrap();
    assert_eq!(twice.status(), 303);
    assert_eq!(webd.routd.state().messages.len(), 1);
    assert_eq!(webd.routd.state().messages[0].content, "line 1\nline 2 <b>");
    let page = client().get(&path).header("cookie", &cookie).send().await.unwrap();
    let page = page.text().await.unwrap();
    assert!(page.contains("line 2 &lt;b&gt;") && !page.contains("line 2 <b>"), "{page}");
    assert!(page.contains("message mine"), "one's own message is shown as one's own");

    let refused = form("refuse me", "f2").header("cookie", &cookie).send().await.unwrap();
    assert_eq!(refused.status(), 400);
    let page = refused.text().await.unwrap();
    assert!(page.contains("routd does not like it"), "the reason is shown");
    assert!(page.contains(">refuse me</textarea>"), "what was typed is not lost");
    assert_eq!(webd.routd.state().messages.len(), 1);
}

#[tokio::test]
async fn what_is_no_message_is_refused_with_the_reason() {
    let webd = Webd::start().await;
    for (body, status) in [
        (json!({"content": "  "}), 400),
        (json!({}), 400),
        (json!({"content": "x", "sender": "operator:local"}), 400),
        (json!({"content": "x", "id": "a b"}), 400),
        (json!({"content": "x", "topic": "a#b"}), 400),
        (json!({"content": "x".repeat(65_537)}), 413),
        (json!({"content": "x".repeat(300_000)}), 413),
    ] {
        let answer = say(&webd, None, body).await;
        assert_eq!(answer.status(), status);
        assert_eq!(answer.headers()["content-type"], "application/problem+json");
    }
    let other_site = client()
        .post(webd.url(&format!("/chat/{CHAT}")))
        .header("sec-fetch-site", "cross-site")
        .form(&[("content", "x")])
        .send()
        .await
        .unwrap();
    assert_eq!(other_site.status(), 403);
    assert!(webd.routd.state().presented.is_empty(), "nothing was even tried");
}
