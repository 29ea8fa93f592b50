//! Tokens for people's programs.

use crate::{
    browser::Browser,
    rig::{Authd, World},
};
use auth::Kind;
use serde_json::{Value, json};

/// An operator's browser, by a one-time link.
async fn logged_in(authd: &Authd) -> Browser {
    let browser = Browser::default();
    let link = authd.link().await;
    assert_eq!(browser.post(authd, &link.path, "").await.status, 303);
    browser
}

async fn refresh_token(authd: &Authd, browser: &Browser) -> String {
    let page = browser.post(authd, "/auth/programs", "").await;
    assert_eq!(page.status, 200, "{}", page.html);
    let (_, rest) = page.html.split_once("<pre><code>").unwrap();
    rest.split_once('<').unwrap().0.to_owned()
}

async fn refresh(authd: &Authd, token: &str) -> Result<(String, String), u16> {
    let body = json!({ "refresh_token": token });
    let answer = authd.post("/auth/token").json(&body).send().await.unwrap();
    match answer.status().as_u16() {
        200 => {
            assert_eq!(answer.headers()["cache-control"], "no-store");
            let answer: Value = answer.json().await.unwrap();
            assert_eq!(answer["expires_in"], 900);
            let text = |name: &str| answer[name].as_str().unwrap().to_owned();
            Ok((text("token"), text("refresh_token")))
        }
        status => Err(status),
    }
}

#[tokio::test]
async fn a_refresh_token_is_good_once_and_one_that_is_shown_twice_ends_its_family() {
    let world = World::new();
    let authd = world.start().await;
    let browser = logged_in(&authd).await;
    let first = refresh_token(&authd, &browser).await;
    let other = refresh_token(&authd, &browser).await;
    let (access, second) = refresh(&authd, &first).await.unwrap();
    let caller = authd.verify(&access, "routd", Kind::Operator).await.unwrap();
    assert_eq!(caller.subject().as_str(), "operator:local");
    let (_, third) = refresh(&authd, &second).await.unwrap();
    assert_eq!(refresh(&authd, &first).await, Err(401), "it was spent");
    assert_eq!(refresh(&authd, &third).await, Err(401), "and whoever copied it has this one too");
    assert!(refresh(&authd, &other).await.is_ok(), "another program goes on");
    for made_up in ["", "x", &"A".repeat(43), &browser.session().unwrap()] {
        assert_eq!(refresh(&authd, made_up).await, Err(401), "{made_up:?}");
    }
    let actions = authd.actions().await;
    assert_eq!(actions.iter().filter(|action| *action == "refresh.reuse").count(), 1);
    let bytes = std::fs::read(world.database()).unwrap();
    for token in [&first, &second, &third, &other] {
        let held = bytes.windows(token.len()).any(|window| window == token.as_bytes());
        assert!(!held, "only hashes are kept");
    }
}

#[tokio::test]
async fn of_many_who_spend_one_token_at_once_none_goes_on_for_long() {
    let world = World::new();
    let authd = world.start().await;
    let token = refresh_token(&authd, &logged_in(&authd).await).await;
    let tries = futures::future::join_all((0..8).map(|_| refresh(&authd, &token))).await;
    let won: Vec<_> = tries.into_iter().filter_map(Result::ok).collect();
    assert_eq!(won.len(), 1, "one claim, one successor");
    assert_eq!(refresh(&authd, &won[0].1).await, Err(401), "the others gave it away");
}

#[tokio::test]
async fn a_program_lasts_as_long_as_its_session() {
    let world = World::new();
    let authd = world.start().await;
    let browser = logged_in(&authd).await;
    let token = refresh_token(&authd, &browser).await;
    world.advance_minutes(29 * 24 * 60);
    let (_, token) = refresh(&authd, &token).await.unwrap();
    world.advance_minutes(30 * 24 * 60);
    assert_eq!(refresh(&authd, &token).await, Err(401), "thirty days without use");

    let browser = logged_in(&authd).await;
    let token = refresh_token(&authd, &browser).await;
    browser.post(&authd, "/auth/logout", "everywhere=yes").await;
    assert_eq!(refresh(&authd, &token).await, Err(401), "logged out everywhere");
    let nobody = Browser::default();
    assert_eq!(nobody.post(&authd, "/auth/programs", "").await.status, 403);
    let forged = authd.post("/auth/programs").header("sec-fetch-site", "cross-site");
    assert_eq!(forged.send().await.unwrap().status(), 403);
}
