//! Who gets a page at all, and what is never on one.

use crate::rig::{Dash, OPERATOR};

/// Every page that shows the whole instance or a part of it.
pub const PAGES: &[&str] = &[
    "/dash/",
    "/dash/services",
    "/dash/services/figures?daemon=routd",
    "/dash/secrets",
    "/dash/secrets/one?name=CHANNEL_SECRET",
    "/dash/secrets/forget?name=CHANNEL_SECRET",
    "/dash/chats",
    "/dash/messages",
    "/dash/messages?words=x",
    "/dash/turns",
    "/dash/outbox",
    "/dash/schedules",
    "/dash/approvals",
    "/dash/approvals?state=done&folder=corp/eng",
    "/dash/folders",
    "/dash/folders/one?folder=corp/eng",
    "/dash/folders/remove?folder=corp/eng",
    "/dash/routes",
    "/dash/routes?jid=telegram:group/7",
    "/dash/access",
    "/dash/access?who=user:ann&what=admin&folder=corp/eng",
    "/dash/links",
    "/dash/newcomers",
    "/dash/newcomers?state=all",
    "/dash/people",
    "/dash/invites",
    "/dash/gates",
    "/dash/sessions",
    "/dash/sessions/end?id=7&subject=user:ann",
    "/dash/usage",
    "/dash/usage?by=model&days=7",
    "/dash/audit",
];

#[tokio::test(flavor = "multi_thread")]
async fn without_a_login_there_is_one_page_which_says_so() {
    let dash = Dash::new().await;
    for path in PAGES {
        let forged = dash.bare(path).header("x-user-subject", OPERATOR);
        for request in [dash.bare(path), forged.header("x-user-act", "act:operator:local")] {
            let answer = request.send().await.unwrap();
            assert_eq!(answer.status(), 401, "{path}");
            let text = answer.text().await.unwrap();
            assert!(text.contains("You are not logged in") && !text.contains("corp"), "{text}");
        }
    }
    let ended = dash.bare("/dash/chats").header("x-user-subject", OPERATOR);
    let edge = dash.authority.service(proto::Daemon::Proxyd);
    let ended = ended.header("x-arizuko-edge", edge).header("x-user-act", "act:over");
    let answer = ended.send().await.unwrap();
    assert_eq!(answer.status(), 401, "a session that has ended is no login");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_sees_every_page_and_what_others_wrote_is_text() {
    let dash = Dash::new().await;
    let evil = "<script>alert(1)</script><img src=x onerror=alert(2)>";
    dash.say("web:corp/eng", "m1", evil).await;
    dash.say("telegram:group/7", "m2", "nobody answers this").await;
    for path in PAGES {
        let answer = dash.request("GET", path, OPERATOR).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        let policy = answer.headers()["content-security-policy"].to_str().unwrap().to_owned();
        let nonce = policy.split("'nonce-").nth(1).unwrap().split('\'').next().unwrap().to_owned();
        assert_eq!(answer.headers()["cache-control"], "no-store");
        let text = answer.text().await.unwrap();
        assert!(!policy.contains("unsafe") && policy.contains("frame-ancestors 'none'"));
        for script in text.split("<script").skip(1) {
            let tag = script.split('>').next().unwrap();
            assert!(tag.contains(&format!("nonce=\"{nonce}\"")), "{path}: {tag}");
            assert!(script.split('>').nth(1).unwrap().starts_with("</script"), "{path}: inline");
        }
        assert!(!text.contains("<img") && !text.contains(" style=") && !text.contains(" onclick"));
        assert!(!text.contains(crate::rig::CHANNEL_SECRET), "{path} has a value");
        assert!(text.contains("Skip to the content") && text.contains("<html lang=\"en\""));
    }
    let (_, messages) = dash.get("/dash/messages", OPERATOR).await;
    assert!(messages.contains("&lt;script&gt;alert(1)"), "{messages}");
    let (status, life) = dash.get("/dash/trace?id=m1", OPERATOR).await;
    assert!(status == 200 && life.contains("routed"), "{life}");
    let (_, overview) = dash.get("/dash/", OPERATOR).await;
    assert!(overview.contains("found no route: 1"), "{overview}");
    assert!(overview.contains("runed is away"), "{overview}");
    let (status, _) = dash.get("/dash/messages?chat=nonsense", OPERATOR).await;
    assert_eq!(status, 400, "what cannot be read is said, and guessed never");
    let (status, said) = dash.get("/dash/?done=<b>you+won</b>", OPERATOR).await;
    assert!(status == 200 && !said.contains("you won"), "an address puts no words on a page");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_leads_nowhere_is_a_page_and_says_so() {
    let dash = Dash::new().await;
    for path in ["/dash/nonsense", "/dash/chats/more", "/dash/secrets/one/", "/dash/folders/"] {
        let answer = dash.request("GET", path, OPERATOR).send().await.unwrap();
        assert_eq!(answer.status(), 404, "{path}");
        let kind = answer.headers()["content-type"].to_str().unwrap().to_owned();
        let text = answer.text().await.unwrap();
        assert!(kind.starts_with("text/html") && text.contains("No page is at this address"));
        assert!(text.contains("Skip to the content"), "{text}");
        let stranger = dash.bare(path).send().await.unwrap();
        assert_eq!(stranger.status(), 401, "who is not logged in learns no address");
    }
}
