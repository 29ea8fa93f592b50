//! The page itself: what it shows, what protects it, and what it never says.

use crate::{
    fake_routd::{CHAT, FIRST, HOOK, said},
    rig::{Webd, client},
};
use kit::testing::Lines;
use proto::routd::{Attachment, FeedItem};

async fn get(webd: &Webd, path: &str) -> reqwest::Response {
    client().get(webd.url(path)).header("accept", "text/html").send().await.unwrap()
}

#[tokio::test]
async fn the_page_shows_the_conversation_without_a_script_and_is_locked_down() {
    let webd = Webd::start().await;
    webd.routd.agent_says(
        "web:corp/eng",
        "**bold** <script>alert(1)</script>\n\n```rust\nfn a() {}\n```",
    );
    webd.routd.agent_says("web:corp/other", "not for this link");
    let page = get(&webd, &format!("/chat/{CHAT}/")).await;
    assert_eq!(page.status(), 200);
    let header = |name: &str| page.headers()[name].to_str().unwrap().to_owned();
    assert_eq!(header("referrer-policy"), "no-referrer");
    assert_eq!(header("cache-control"), "no-store");
    assert_eq!(header("x-robots-tag"), "noindex, nofollow");
    let policy = header("content-security-policy");
    for part in ["default-src 'none'", "script-src 'self'", "frame-ancestors 'none'"] {
        assert!(policy.contains(part), "{policy}");
    }
    assert!(!policy.contains("unsafe"), "{policy}");
    let page = page.text().await.unwrap();
    assert!(page.contains("<strong>bold</strong>"));
    assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;") && !page.contains("<script>"));
    assert!(page.contains("<span>rust</span>") && page.contains("<code>fn a() {}"));
    assert!(page.contains("aria-live=\"polite\"") && page.contains("Message to Andy"));
    assert!(!page.contains("not for this link"));
    assert!(!page.contains(" style=") && !page.contains(" onclick="), "the policy would stop it");
    assert!(!page.contains(CHAT), "the page need not know its own token");
}

#[tokio::test]
async fn the_parts_of_the_page_are_ours_and_keep_for_ever() {
    let webd = Webd::start().await;
    let page = get(&webd, &format!("/chat/{CHAT}/")).await.text().await.unwrap();
    let mut parts = 0;
    for start in page.split("\"/chat/assets/").skip(1) {
        let name = start.split('"').next().unwrap();
        let part = get(&webd, &format!("/chat/assets/{name}")).await;
        assert_eq!(part.status(), 200, "{name}");
        let caching = part.headers()["cache-control"].to_str().unwrap();
        assert!(caching.contains("immutable"), "{caching}");
        let text = part.text().await.unwrap();
        let foreign = text.replace("http://www.w3.org/2000/svg", "").contains("://");
        assert!(!foreign, "{name} must ask nobody else for anything");
        assert!(!text.contains("innerHTML") && !text.contains("insertAdjacentHTML"), "{name}");
        parts += 1;
    }
    assert_eq!(parts, 3);
    assert_eq!(
        get(&webd, "/chat/assets/chat.js").await.status(),
        404,
        "only by its content's name"
    );
    assert_eq!(get(&webd, "/chat/assets/events").await.status(), 404);
}

#[tokio::test]
async fn a_file_of_the_chat_is_saved_and_never_shown() {
    let webd = Webd::start().await;
    let mut what = said("m-1", "agent", "");
    if let FeedItem::Message { attachments, .. } = &mut what {
        attachments.push(Attachment {
            filename: "<b>ä.html".into(),
            mime: "text/html".into(),
            url: Some("/v1/files/f-1".into()),
            size: Some(2_500),
        });
    }
    webd.routd.happens("web:corp/eng", what);
    let bytes = b"<script>alert(1)</script>".repeat(100);
    let ours = ("web:corp/eng".parse().unwrap(), bytes.clone());
    webd.routd.state().files.insert("f-1".into(), ours);
    let theirs = ("web:corp/other".parse().unwrap(), b"theirs".to_vec());
    webd.routd.state().files.insert("f-2".into(), theirs);
    let page = get(&webd, &format!("/chat/{CHAT}/")).await.text().await.unwrap();
    assert!(page.contains("href=\"files/f-1\"") && page.contains("2.5 kB"), "{page}");
    assert!(page.contains("&lt;b&gt;ä.html") && !page.contains("<b>"), "{page}");

    let file = get(&webd, &format!("/chat/{CHAT}/files/f-1")).await;
    assert_eq!(file.status(), 200);
    let header = |name: &str| file.headers()[name].to_str().unwrap().to_owned();
    assert!(header("content-disposition").starts_with("attachment; "));
    assert_eq!(header("x-content-type-options"), "nosniff");
    assert_eq!(header("content-type"), "application/octet-stream", "whatever routd says");
    assert_eq!(header("content-security-policy"), "sandbox; default-src 'none'");
    assert_eq!(header("cache-control"), "no-store");
    assert_eq!(file.bytes().await.unwrap(), bytes);

    for none in ["f-2", "f-3", "..%2Ffeed%3Fchat_jid=web:corp%2Feng%26x="] {
        let answer = get(&webd, &format!("/chat/{CHAT}/files/{none}")).await;
        assert_eq!(answer.status(), 404, "{none}");
    }
    let foreign = get(&webd, "/chat/never-issued-0123456789/files/f-1").await;
    assert_eq!(foreign.status(), 404, "the right is the link");
    assert_eq!(webd.routd.state().polls.len(), 1, "no file's name leads elsewhere in routd");
}

#[tokio::test]
async fn the_address_without_its_slash_leads_to_the_page() {
    let webd = Webd::start().await;
    let answer = get(&webd, &format!("/chat/{CHAT}?topic=x")).await;
    assert_eq!(answer.status(), 308);
    assert_eq!(answer.headers()["location"], format!("/chat/{CHAT}/?topic=x"));
    assert_eq!(webd.routd.state().resolved, 0, "without telling whether there is such a link");
}

#[tokio::test]
async fn an_unknown_link_is_a_page_that_says_what_to_do() {
    let webd = Webd::start().await;
    let hook = get(&webd, &format!("/chat/{HOOK}/")).await;
    let none = get(&webd, "/chat/never-issued-0123456789/").await;
    assert_eq!((hook.status(), none.status()), (404.try_into().unwrap(), 404.try_into().unwrap()));
    assert!(none.headers().get("set-cookie").is_none());
    let (hook, none) = (hook.text().await.unwrap(), none.text().await.unwrap());
    assert_eq!(hook, none, "a webhook's token is no chat, and nothing more is said");
    assert!(none.contains("This link does not open anything"));
}

#[tokio::test]
async fn while_routd_is_away_the_page_says_so_and_when_to_come_back() {
    let mut webd = Webd::start().await;
    webd.wire.cut().await;
    let page = get(&webd, &format!("/chat/{CHAT}/")).await;
    assert_eq!(page.status(), 503);
    assert_eq!(page.headers()["retry-after"], "2");
    assert!(page.text().await.unwrap().contains("Not available just now"));
    webd.wire.mend().await;
    assert_eq!(
        get(&webd, &format!("/chat/{CHAT}/")).await.status(),
        200,
        "and nothing stays broken"
    );
}

#[tokio::test]
async fn no_log_line_has_a_token_a_cookie_or_a_secret() {
    // Everything of ours, at its most talkative; the test's own client would log its addresses.
    let lines = Lines::capture("webd=trace,kit=trace,secrets=trace");
    let mut webd = Webd::start().await;
    webd.routd.state().secrets.clear();
    let hook = webd.url(&format!("/hook/{HOOK}"));
    assert_eq!(client().post(&hook).body("x").send().await.unwrap().status(), 500);
    webd.wire.cut().await;
    let page = get(&webd, &format!("/chat/{CHAT}/")).await;
    assert_eq!(page.status(), 503);
    let log = lines.text();
    assert!(log.contains("routd is away"), "the log was captured: {log}");
    for secret in [HOOK, CHAT, FIRST] {
        assert!(!log.contains(secret), "{secret} in {log}");
    }
}
