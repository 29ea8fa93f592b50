//! One-time links, sessions, and the pages.

use crate::rig::{Authd, SERVICE_KEY, World};
use proto::authd::Session;
use reqwest::{RequestBuilder, Response, StatusCode, header};

/// The `name=value` of the session cookie that a response sets.
fn cookie(response: &Response) -> String {
    let set = response.headers()[header::SET_COOKIE].to_str().unwrap();
    set.split(';').next().unwrap().to_owned()
}

async fn log_in(authd: &Authd) -> String {
    let link = authd.link().await;
    let response = authd.post(&link.path).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::SEE_OTHER);
    assert_eq!(response.headers()[header::LOCATION], "/auth/");
    cookie(&response)
}

async fn resolve(authd: &Authd, cookie: &str) -> Result<Session, u16> {
    let (_, value) = cookie.split_once('=').unwrap();
    let token = authd.token("proxyd", SERVICE_KEY).await.token;
    let body = serde_json::json!({ "cookie": value });
    let request = authd.post("/v1/sessions/resolve").bearer_auth(token).json(&body);
    let response = request.send().await.unwrap();
    match response.status() {
        StatusCode::OK => Ok(response.json().await.unwrap()),
        other => Err(other.as_u16()),
    }
}

async fn page(request: RequestBuilder) -> (StatusCode, String) {
    let response = request.send().await.unwrap();
    let policy = response.headers()[header::CONTENT_SECURITY_POLICY].to_str().unwrap().to_owned();
    assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"), "{policy}");
    assert!(policy.contains("frame-ancestors 'none'") && !policy.contains("unsafe"), "{policy}");
    for (name, value) in [
        ("cache-control", "no-store"),
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("referrer-policy", "same-origin"),
    ] {
        assert_eq!(response.headers()[name], value);
    }
    (response.status(), response.text().await.unwrap())
}

#[tokio::test]
async fn a_link_logs_one_browser_in_and_looking_at_it_spends_nothing() {
    let world = World::new();
    let authd = world.start().await;
    let link = authd.link().await;
    for _ in 0..2 {
        let (status, html) = page(authd.get(&link.path)).await;
        assert_eq!(status, 200);
        assert!(html.contains("<form method=\"post\">") && html.contains("Log in"), "{html}");
        assert!(!html.contains("<script"), "it works without");
    }
    let response = authd.post(&link.path).send().await.unwrap();
    assert_eq!(response.status(), 303);
    let set = response.headers()[header::SET_COOKIE].to_str().unwrap();
    assert!(
        set.starts_with("arizuko_session=") && set.contains("; HttpOnly; SameSite=Lax"),
        "{set}"
    );
    let cookie = cookie(&response);

    let (status, html) = page(authd.get(&link.path)).await;
    assert_eq!(status, 410, "{html}");
    let again = authd.post(&link.path).send().await.unwrap();
    assert_eq!(again.status(), 410);
    assert!(!again.headers().contains_key(header::SET_COOKIE));

    let (_, html) = page(authd.get("/auth/").header("cookie", &cookie)).await;
    assert!(html.contains("operator:local") && html.contains("Log out"), "{html}");
    let (_, html) = page(authd.get("/auth/")).await;
    assert!(html.contains("arizuko login") && !html.contains("operator:local"), "{html}");
    let session = resolve(&authd, &cookie).await.unwrap();
    assert_eq!(session.subject, "operator:local");
    assert_eq!(session.expires_at, world.clock.now().plus(12 * 60 * 60 * 1000));
    let actions = authd.actions().await;
    for action in ["link.make", "link.spend"] {
        let rows = actions.iter().filter(|known| *known == action).count();
        assert_eq!(rows, 1, "{action}: {actions:?}");
    }
}

#[tokio::test]
async fn of_many_who_press_the_button_at_once_one_gets_in() {
    let world = World::new();
    let authd = world.start().await;
    let link = authd.link().await;
    let mut presses = tokio::task::JoinSet::new();
    for _ in 0..16 {
        presses.spawn(authd.post(&link.path).send());
    }
    let mut cookies = Vec::new();
    for response in presses.join_all().await {
        let response = response.unwrap();
        match response.status().as_u16() {
            303 => cookies.push(cookie(&response)),
            410 => assert!(!response.headers().contains_key(header::SET_COOKIE)),
            other => panic!("{other}"),
        }
    }
    assert_eq!(cookies.len(), 1);
    assert!(resolve(&authd, &cookies[0]).await.is_ok());
    assert_eq!(authd.actions().await.iter().filter(|action| *action == "link.spend").count(), 1);
}

#[tokio::test]
async fn a_link_ends_after_ten_minutes_and_one_that_never_was_says_the_same() {
    let world = World::new();
    let authd = world.start().await;
    let link = authd.link().await;
    world.advance_minutes(10);
    let (status, late) = page(authd.get(&link.path)).await;
    assert_eq!(status, 404);
    assert_eq!(authd.post(&link.path).send().await.unwrap().status(), 404);
    for path in [format!("/auth/login/{}", "A".repeat(43)), "/auth/login/x".to_owned()] {
        let (status, never) = page(authd.get(&path)).await;
        assert_eq!((status.as_u16(), &never), (404, &late));
        assert_eq!(authd.post(&path).send().await.unwrap().status(), 404);
    }
}

#[tokio::test]
async fn a_form_that_another_site_sends_spends_nothing_and_ends_nothing() {
    let world = World::new();
    let authd = world.start().await;
    let link = authd.link().await;
    for (name, value) in [("sec-fetch-site", "cross-site"), ("origin", "https://elsewhere.example")]
    {
        let (status, _) = page(authd.post(&link.path).header(name, value)).await;
        assert_eq!(status, 403, "{name}");
    }
    assert_eq!(page(authd.get(&link.path)).await.0, 200, "it is still good");
    let cookie = log_in(&authd).await;
    let out = authd.post("/auth/logout").header("cookie", &cookie);
    let (status, _) = page(out.header("sec-fetch-site", "same-site")).await;
    assert_eq!(status, 403);
    assert!(resolve(&authd, &cookie).await.is_ok());

    let own = authd.post(&link.path).header("origin", &authd.serving.url);
    assert_eq!(own.send().await.unwrap().status(), 303);
}

#[tokio::test]
async fn logging_out_ends_this_session_or_all_of_them() {
    let world = World::new();
    let authd = world.start().await;
    let (one, two, three) = (log_in(&authd).await, log_in(&authd).await, log_in(&authd).await);
    let out = |cookie: &str| authd.post("/auth/logout").header("cookie", cookie);
    let response = out(&one).send().await.unwrap();
    assert_eq!(response.status(), 303);
    let cleared = response.headers()[header::SET_COOKIE].to_str().unwrap();
    assert!(cleared.starts_with("arizuko_session=;") && cleared.contains("Max-Age=0"), "{cleared}");
    assert_eq!(resolve(&authd, &one).await.unwrap_err(), 404);
    assert!(resolve(&authd, &two).await.is_ok());

    let (_, html) = page(authd.get("/auth/").header("cookie", &two)).await;
    assert_eq!(html.matches("action=\"/auth/sessions/end\"").count(), 1, "{html}");
    assert!(html.contains("Log out everywhere"), "{html}");
    assert_eq!(out(&two).body("everywhere=yes").send().await.unwrap().status(), 303);
    for cookie in [&two, &three] {
        assert_eq!(resolve(&authd, cookie).await.unwrap_err(), 404);
    }
    assert_eq!(out(&three).send().await.unwrap().status(), 303, "a repeat answers alike");
    let ended = authd.actions().await.into_iter().filter(|action| action == "session.end").count();
    assert_eq!(ended, 3);
}

#[tokio::test]
async fn a_session_lasts_while_it_is_used_but_never_longer_than_a_week() {
    let world = World::new();
    let authd = world.start().await;
    let (used, idle) = (log_in(&authd).await, log_in(&authd).await);
    for hour in 1..=16 {
        world.advance_minutes(10 * 60);
        assert!(resolve(&authd, &used).await.is_ok(), "after {} hours", 10 * hour);
    }
    assert_eq!(resolve(&authd, &idle).await.unwrap_err(), 404);
    world.advance_minutes(8 * 60);
    assert_eq!(resolve(&authd, &used).await.unwrap_err(), 404, "a week is over");
    let (_, html) = page(authd.get("/auth/").header("cookie", &used)).await;
    assert!(html.contains("You are not logged in"), "{html}");
}

#[tokio::test]
async fn behind_the_edge_the_cookie_is_for_https_and_a_stranger_cannot_pretend() {
    let world = World::new();
    let authd = world.start().await;
    let proxyd = authd.token("proxyd", SERVICE_KEY).await.token;
    let webd = authd.token("webd", SERVICE_KEY).await.token;
    let press = |link: String, edge: Option<String>| {
        let mut request = authd.post(&link).header("x-forwarded-proto", "https");
        if let Some(edge) = edge {
            request = request.header(kit::EDGE_HEADER, edge);
        }
        request.send()
    };
    let response = press(authd.link().await.path, Some(proxyd.clone())).await.unwrap();
    let set = response.headers()[header::SET_COOKIE].to_str().unwrap();
    assert!(set.starts_with("__Host-arizuko_session=") && set.ends_with("; Secure"), "{set}");
    let cookie = cookie(&response);
    let who = authd.get("/auth/").header("cookie", &cookie);
    let who = who.header(kit::EDGE_HEADER, &proxyd).header("x-forwarded-proto", "https");
    assert!(page(who).await.1.contains("operator:local"));
    for stranger in [None, Some(webd), Some("nonsense".to_owned())] {
        let response = press(authd.link().await.path, stranger).await.unwrap();
        let set = response.headers()[header::SET_COOKIE].to_str().unwrap();
        assert!(set.starts_with("arizuko_session=") && !set.contains("Secure"), "{set}");
    }
}

#[tokio::test]
async fn a_session_outlives_a_restart() {
    let world = World::new();
    let authd = world.start().await;
    let cookie = log_in(&authd).await;
    authd.stop().await;
    let authd = world.start().await;
    assert!(resolve(&authd, &cookie).await.is_ok());
}
