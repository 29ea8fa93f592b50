//! People: accounts that are linked, and sessions that are ended.

use crate::{
    browser::Browser,
    provider::{Provider, subject},
    rig::{Authd, SERVICE_KEY},
};
use proto::authd::SessionPage;

/// The address of the page that leads to the provider.
async fn begin_link(authd: &Authd, browser: &Browser) -> String {
    let page = browser.post(authd, "/auth/link/oidc", "").await;
    assert_eq!(page.status, 200, "{}", page.html);
    let (_, rest) = page.html.split_once("href=\"http").unwrap();
    format!("http{}", rest.split_once('"').unwrap().0.replace("&amp;", "&"))
}

#[tokio::test(flavor = "multi_thread")]
async fn another_account_is_linked_where_the_person_asks_for_it_and_never_else() {
    let Some(provider) = Provider::start().await else { return };
    let world = provider.world(&[]);
    let authd = world.start().await;
    let (browser, bobs) = (Browser::default(), Browser::default());
    provider.log_in(&authd, &browser, "ada").await;
    let ada = subject(&authd, &browser).await.unwrap();

    // What another browser brings back links nothing, nor does it log in.
    let answer = provider.answer("dan", &begin_link(&authd, &browser).await).await;
    let jar = browser.cookies();
    let only_login = |cookies: &std::collections::BTreeMap<String, String>| {
        let mut cookies = cookies.clone();
        cookies.remove("arizuko_session");
        cookies
    };
    let stranger = Browser::default();
    stranger.set_cookies(only_login(&jar));
    assert_eq!(stranger.get(&authd, &answer).await.status, 400);
    assert!(stranger.session().is_none());
    provider.log_in(&authd, &bobs, "bob").await;
    let bob = subject(&authd, &bobs).await.unwrap();
    let answer = provider.answer("dan", &begin_link(&authd, &browser).await).await;
    let mut mixed = browser.cookies();
    mixed.insert("arizuko_session".into(), bobs.session().unwrap());
    stranger.set_cookies(mixed);
    assert_eq!(stranger.get(&authd, &answer).await.status, 400, "it was not bob who asked");

    let answer = provider.answer("dan", &begin_link(&authd, &browser).await).await;
    let linked = browser.get(&authd, &answer).await;
    assert_eq!((linked.status.as_u16(), linked.location.as_deref()), (303, Some("/auth/")));
    let other = Browser::default();
    provider.log_in(&authd, &other, "dan").await;
    assert_eq!(subject(&authd, &other).await.as_ref(), Some(&ada), "dan is ada now");

    let answer = provider.answer("bob", &begin_link(&authd, &browser).await).await;
    assert_eq!(browser.get(&authd, &answer).await.status, 409, "bob is somebody");
    assert_eq!(subject(&authd, &bobs).await.as_ref(), Some(&bob));
    let nobody = Browser::default();
    assert_eq!(nobody.post(&authd, "/auth/link/oidc", "").await.status, 403);
    let forged = authd.post("/auth/link/oidc").header("sec-fetch-site", "cross-site");
    assert_eq!(forged.send().await.unwrap().status(), 403);
    let links = authd.actions().await.iter().filter(|action| *action == "identity.link").count();
    assert_eq!(links, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_ends_their_own_sessions_and_an_operator_ends_any() {
    let Some(provider) = Provider::start().await else { return };
    let world = provider.world(&[]);
    let authd = world.start().await;
    let (one, two, bobs) = (Browser::default(), Browser::default(), Browser::default());
    provider.log_in(&authd, &one, "ada").await;
    provider.log_in(&authd, &two, "ada").await;
    provider.log_in(&authd, &bobs, "bob").await;
    let list = async || {
        let request = authd.get("/v1/sessions").bearer_auth(authd.operator().await);
        request.send().await.unwrap().json::<SessionPage>().await.unwrap().sessions
    };
    let all = list().await;
    assert_eq!(all.len(), 3, "{all:?}");
    assert!(all.iter().all(|row| row.rule.as_deref() == Some("oidc anyone")), "{all:?}");
    let bob = subject(&authd, &bobs).await.unwrap();
    let of_bob = all.iter().find(|row| row.subject == bob).unwrap().id;
    let ada = subject(&authd, &one).await.unwrap();
    let second = all.iter().filter(|row| row.subject == ada).map(|row| row.id).max().unwrap();

    one.post(&authd, "/auth/sessions/end", &format!("id={of_bob}")).await;
    assert!(subject(&authd, &bobs).await.is_some(), "it is not ada's to end");
    let forged = authd.post("/auth/sessions/end").header("sec-fetch-site", "cross-site");
    assert_eq!(forged.body(format!("id={second}")).send().await.unwrap().status(), 403);
    assert!(subject(&authd, &two).await.is_some());
    one.post(&authd, "/auth/sessions/end", &format!("id={second}")).await;
    assert_eq!(subject(&authd, &two).await, None);
    assert!(subject(&authd, &one).await.is_some());

    let end = async |bearer: String| {
        let request = authd.http.delete(authd.url(&format!("/v1/sessions/{of_bob}")));
        request.bearer_auth(bearer).send().await.unwrap().status().as_u16()
    };
    let dashd = authd.token("dashd", SERVICE_KEY).await.token;
    assert_eq!(end(dashd).await, 403, "dashd has no such right of its own");
    for _ in 0..2 {
        assert_eq!(end(authd.operator().await).await, 200);
    }
    assert_eq!(subject(&authd, &bobs).await, None);
    assert_eq!(list().await.len(), 1);
    let ended = authd.actions().await.iter().filter(|action| *action == "session.end").count();
    assert_eq!(ended, 2);
}
