//! Webhooks: accepted once, under the right secret, and answered.

use crate::{
    fake_routd::{CHAT, FIRST, HOOK, SECOND},
    rig::{Webd, client},
};
use aws_lc_rs::hmac;
use base64::{Engine, engine::general_purpose::STANDARD};
use proto::routd::{LinkKind, MessageState, Signature};
use serde_json::{Value, json};

#[tokio::test]
async fn a_program_sends_a_message_and_fetches_the_answer() {
    let webd = Webd::start().await;
    let url = webd.url(&format!("/hook/{HOOK}"));
    let sent =
        client().post(&url).json(&json!({"content": "build 7 failed"})).send().await.unwrap();
    assert_eq!(sent.status(), 202);
    let id = sent.json::<Value>().await.unwrap()["id"].as_str().unwrap().to_owned();
    {
        let mut state = webd.routd.state();
        let [message] = &state.messages[..] else { panic!("one message: {:?}", state.messages) };
        assert_eq!(message.content, "build 7 failed");
        assert_eq!(message.chat_jid.as_str(), "hook:corp/eng/ci");
        assert_eq!(message.sender_name.as_deref(), Some("ci"));
        assert_eq!(message.id.as_str(), id, "the caller gets the id that routd committed");
        let id = message.id.clone();
        state.outcomes.insert(id, (MessageState::Answered, vec!["looking at it".into()]));
    }
    let outcome = client().get(format!("{url}/{id}?wait=60")).send().await.unwrap();
    assert_eq!(outcome.status(), 200);
    let outcome: Value = outcome.json().await.unwrap();
    let expected =
        json!({"id": id, "state": "answered", "done": true, "replies": ["looking at it"]});
    assert_eq!(outcome, expected);
}

#[tokio::test]
async fn a_delivery_that_is_repeated_is_one_message() {
    let webd = Webd::start().await;
    let url = webd.url(&format!("/hook/{HOOK}"));
    for (header, value) in
        [("idempotency-key", "a-1"), ("x-github-delivery", "b-2"), ("webhook-id", "run/7 #2")]
    {
        let mut ids = Vec::new();
        for expected in [false, true] {
            let sent = client().post(&url).header(header, value).body("x").send().await.unwrap();
            assert_eq!(sent.status(), 202);
            let answer: Value = sent.json().await.unwrap();
            assert_eq!(answer["duplicate"], expected);
            ids.push(answer["id"].clone());
        }
        assert_eq!(ids[0], ids[1]);
        let id = ids[0].as_str().unwrap();
        assert!(!id.contains(['/', '#', ' ', '%']), "{id} must fit into the path of its outcome");
        let outcome = client().get(format!("{url}/{id}")).send().await.unwrap();
        assert_eq!(outcome.status(), 200);
    }
    assert_eq!(webd.routd.state().messages.len(), 3, "one message for each delivery");
    let long = "a".repeat(201);
    for bad in ["", &long] {
        let sent = client().post(&url).header("idempotency-key", bad).body("x").send();
        assert_eq!(sent.await.unwrap().status(), 400);
    }
    assert_eq!(webd.routd.state().messages.len(), 3);
}

#[tokio::test]
async fn what_is_no_message_is_refused_and_reaches_nobody() {
    let webd = Webd::start().await;
    let url = webd.url(&format!("/hook/{HOOK}"));
    for (body, kind, status, code) in [
        (vec![b'a'; 262_145], "text/plain", 413, "too_large"),
        (Vec::new(), "text/plain", 400, "bad_request"),
        (vec![0xff, 0xfe], "application/octet-stream", 400, "bad_request"),
        (b"{".to_vec(), "application/json", 400, "bad_request"),
    ] {
        let sent = client().post(&url).header("content-type", kind).body(body);
        let answer = sent.send().await.unwrap();
        assert_eq!(answer.status(), status);
        assert_eq!(answer.headers()["content-type"], "application/problem+json");
        assert_eq!(answer.json::<Value>().await.unwrap()["code"], code);
    }
    assert!(webd.routd.state().presented.is_empty(), "nothing was even tried");
    let largest = client().post(&url).body(vec![b'a'; 262_144]).send().await.unwrap();
    assert_eq!(largest.status(), 202);
}

#[tokio::test]
async fn a_rotated_channel_secret_is_found_and_the_same_message_sent_once() {
    let webd = Webd::start().await;
    let url = webd.url(&format!("/hook/{HOOK}"));
    // routd knows of the rotation first, and webd was not told.
    webd.routd.state().secrets = vec![SECOND.into()];
    webd.source.set_silently([("CHANNEL_SECRET", SECOND)]);
    let sent = client().post(&url).body("in the middle of it").send().await.unwrap();
    assert_eq!(sent.status(), 202, "the caller notices nothing");
    let state = webd.routd.state();
    let presented: Vec<&str> = state.presented.iter().map(|(secret, _)| &**secret).collect();
    assert_eq!(presented, [FIRST, SECOND]);
    assert_eq!(state.presented[0].1, state.presented[1].1, "the same message, not a new one");
    assert_eq!(state.messages.len(), 1);
}

#[tokio::test]
async fn a_secret_of_webd_s_own_is_presented_in_place_of_the_shared_one() {
    let webd = Webd::start().await;
    let url = webd.url(&format!("/hook/{HOOK}"));
    webd.routd.state().secrets = vec![SECOND.into()];
    webd.source.set_silently([("CHANNEL_SECRET_WEBD", SECOND)]);
    assert_eq!(client().post(&url).body("x").send().await.unwrap().status(), 202);
    assert_eq!(webd.routd.state().messages.len(), 1);
}

#[tokio::test]
async fn a_secret_that_nobody_accepts_is_an_error_of_ours_and_never_shown() {
    let webd = Webd::start().await;
    webd.routd.state().secrets.clear();
    let url = webd.url(&format!("/hook/{HOOK}"));
    let sent = client().post(&url).body("x").send().await.unwrap();
    assert_eq!(sent.status(), 500, "not the caller's credential, so not a 401");
    let text = sent.text().await.unwrap();
    assert!(!text.contains(FIRST) && !text.contains("CHANNEL_SECRET"), "{text}");
    let degraded = webd.context.secrets.degraded().join("\n");
    assert!(degraded.contains("CHANNEL_SECRET"), "the operator is told: {degraded}");
}

#[tokio::test]
async fn a_message_that_comes_while_routd_restarts_is_kept_and_committed_once() {
    let mut webd = Webd::start().await;
    let url = webd.url(&format!("/hook/{HOOK}"));
    assert_eq!(client().post(&url).body("before").send().await.unwrap().status(), 202);
    let swallowed = webd.wire.swallow().await;
    let sending = tokio::spawn(client().post(&url).body("meanwhile").send());
    swallowed.cancelled().await;
    webd.wire.mend().await;
    assert_eq!(sending.await.unwrap().unwrap().status(), 202);
    let state = webd.routd.state();
    let contents: Vec<&str> = state.messages.iter().map(|m| &*m.content).collect();
    assert_eq!(contents, ["before", "meanwhile"]);
}

#[tokio::test]
async fn links_that_are_unknown_ended_or_of_the_other_kind_look_alike() {
    let webd = Webd::start().await;
    let mut answers = Vec::new();
    for token in [CHAT, "never-issued-0123456789", "x", "%2e%2e%2f", HOOK] {
        if token == HOOK {
            webd.routd.state().links.remove(HOOK);
        }
        let url = webd.url(&format!("/hook/{token}"));
        let answer = client().post(&url).body("hello").send().await.unwrap();
        let headers = format!("{:?}", answer.headers().get("content-security-policy"));
        answers.push((answer.status().as_u16(), headers, answer.text().await.unwrap()));
    }
    assert_eq!(answers[0].0, 404);
    for answer in &answers {
        assert_eq!(answer, &answers[0], "nothing tells one from another");
        assert!(!answer.2.contains("token-0123"), "the token is not repeated");
    }
    assert!(webd.routd.state().messages.is_empty());
}

#[tokio::test]
async fn a_link_reads_the_outcome_of_its_own_messages_only() {
    let webd = Webd::start().await;
    let other = "other-token-0123456789abcdef";
    webd.routd.link(other, LinkKind::Hook, "hook:corp/sales/crm");
    let url = webd.url(&format!("/hook/{HOOK}"));
    let sent = client().post(&url).body("ours").send().await.unwrap();
    let id = sent.json::<Value>().await.unwrap()["id"].as_str().unwrap().to_owned();
    let theirs = webd.url(&format!("/hook/{other}/{id}"));
    assert_eq!(client().get(theirs).send().await.unwrap().status(), 404);
    let ours: Value =
        client().get(format!("{url}/{id}")).send().await.unwrap().json().await.unwrap();
    assert_eq!((&ours["state"], &ours["done"]), (&json!("queued"), &json!(false)));
    let wrong = client().get(format!("{url}/{id}?wait=soon")).send().await.unwrap();
    assert_eq!(wrong.status(), 400);
}

fn sign(secret: &[u8], payload: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), payload).as_ref().to_vec()
}

fn signed_by(webd: &Webd, signature: Signature) {
    let mut state = webd.routd.state();
    state.links.get_mut(HOOK).unwrap().signature = Some(signature);
    state.signing = vec![b"the-new-one".to_vec(), b"the-old-one".to_vec()];
}

#[tokio::test]
async fn a_delivery_that_github_did_not_sign_reaches_nobody() {
    let webd = Webd::start().await;
    signed_by(&webd, Signature::Github);
    let url = webd.url(&format!("/hook/{HOOK}"));
    let body = br#"{"zen":"Design for failure."}"#;
    let send = |signature: Option<String>, id: &str| {
        let request = client().post(&url).header("x-github-delivery", id).body(body.to_vec());
        match signature {
            Some(signature) => request.header("x-hub-signature-256", signature).send(),
            None => request.send(),
        }
    };
    let shown =
        |secret: &[u8], body: &[u8]| Some(format!("sha256={}", hex::encode(sign(secret, body))));
    for wrong in [None, shown(b"a-guess", body), shown(b"the-new-one", b"other"), Some("x".into())]
    {
        let answer = send(wrong, "d0").await.unwrap();
        assert_eq!(answer.status(), 401);
        assert_eq!(answer.json::<Value>().await.unwrap()["code"], "unauthorized");
    }
    assert!(webd.routd.state().presented.is_empty());
    // In the middle of a rotation both secrets are good, and a delivery is stored once, whoever repeats it.
    for (secret, id, duplicate) in
        [(b"the-old-one", "d1", false), (b"the-new-one", "d2", false), (b"the-new-one", "d1", true)]
    {
        let answer = send(shown(secret, body), id).await.unwrap();
        assert_eq!(answer.status(), 202);
        assert_eq!(answer.json::<Value>().await.unwrap()["duplicate"], duplicate, "{id}");
    }
    assert_eq!(webd.routd.state().messages.len(), 2);
}

#[tokio::test]
async fn a_standard_webhook_cannot_be_played_again_as_a_new_one() {
    let webd = Webd::start().await;
    signed_by(&webd, Signature::Standard);
    let url = webd.url(&format!("/hook/{HOOK}"));
    let now = webd.context.clock.now().0 / 1000;
    let send = |id: &str, time: i64, signed_id: &str| {
        let payload = format!("{signed_id}.{time}.hello");
        let signature = STANDARD.encode(sign(b"the-new-one", payload.as_bytes()));
        client()
            .post(&url)
            .header("webhook-id", id)
            .header("webhook-timestamp", time)
            .header("webhook-signature", format!("v1,AAAA v1,{signature}"))
            .header("idempotency-key", format!("another-{time}-{}", rand::random::<u64>()))
            .body("hello")
            .send()
    };
    for expected in [false, true] {
        let answer = send("msg_1", now, "msg_1").await.unwrap();
        assert_eq!(answer.status(), 202);
        assert_eq!(answer.json::<Value>().await.unwrap()["duplicate"], expected);
    }
    for (id, time, signed_id) in [("msg_2", now, "msg_1"), ("msg_3", now - 400, "msg_3")] {
        assert_eq!(send(id, time, signed_id).await.unwrap().status(), 401, "{id}");
    }
    assert_eq!(webd.routd.state().messages.len(), 1);
}
