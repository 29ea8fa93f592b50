//! Guests: whoever opens a chat of their own, without a link.

use crate::rig::{Webd, client, cookie_of};
use serde_json::json;

/// Where `/chat/new` leads.
async fn begin(webd: &Webd) -> String {
    let answer = client().get(webd.url("/chat/new")).send().await.unwrap();
    assert_eq!(answer.status(), 303);
    assert_eq!(answer.headers()["cache-control"], "no-store");
    answer.headers()["location"].to_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_guest_has_a_chat_of_their_own_and_nobody_elses() {
    let webd = Webd::with(|rig| rig.setting("WEB_GUESTS", "true")).await;
    let (one, other) = (begin(&webd).await, begin(&webd).await);
    assert_ne!(one, other);
    let page = client().get(webd.url(&one)).header("accept", "text/html").send().await.unwrap();
    assert_eq!(page.status(), 200);
    assert!(cookie_of(&page).is_some() && page.text().await.unwrap().contains("Talk to Andy"));
    assert!(webd.routd.state().messages.is_empty(), "looking leaves nothing");
    for (path, text) in [(&one, "hello"), (&other, "and I")] {
        let path = path.trim_end_matches('/');
        let said = client().post(webd.url(path)).json(&json!({ "content": text }));
        assert_eq!(said.send().await.unwrap().status(), 202);
    }
    let chats: Vec<String> =
        webd.routd.state().messages.iter().map(|m| m.chat_jid.to_string()).collect();
    assert!(chats[0].starts_with("guest:") && chats[1].starts_with("guest:"), "{chats:?}");
    assert_ne!(chats[0], chats[1]);
    let digits = one.trim_end_matches('/').rsplit('-').next().unwrap();
    assert!(!chats[0].contains(digits), "the address of a chat does not open it");
    let page = client().get(webd.url(&one)).header("accept", "text/html").send().await.unwrap();
    let page = page.text().await.unwrap();
    assert!(page.contains("hello") && !page.contains("and I"), "{page}");
    assert_eq!(webd.routd.state().resolved, 0, "routd has no link of a guest's");
}

#[tokio::test]
async fn without_the_setting_nobody_begins_a_chat_and_one_that_was_begun_goes_on() {
    let webd = Webd::start().await;
    let new = client().get(webd.url("/chat/new")).send().await.unwrap();
    assert_eq!(new.status(), 404);
    let digits = "0123456789abcdef0123456789abcdef";
    let path = format!("/chat/guest-{digits}");
    let say = || client().post(webd.url(&path)).json(&json!({ "content": "hello" })).send();
    assert_eq!(say().await.unwrap().status(), 404, "made up");
    assert!(webd.routd.state().messages.is_empty());
    // Another, in which something was said while it was open to all.
    let open = Webd::with(|rig| rig.setting("WEB_GUESTS", "true")).await;
    let path = format!("/chat/guest-{}", digits.replace('0', "1"));
    let said = client().post(open.url(&path)).json(&json!({ "content": "before" }));
    assert_eq!(said.send().await.unwrap().status(), 202);
    let chat = open.routd.state().messages[0].chat_jid.to_string();
    webd.routd.agent_says(&chat, "welcome");
    let page = client().get(webd.url(&format!("{path}/"))).send().await.unwrap();
    assert!(page.status() == 200 && page.text().await.unwrap().contains("welcome"));
}
