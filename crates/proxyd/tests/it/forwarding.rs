//! What reaches a daemon, and what comes back.

use crate::rig::{COOKIE, Edge, client};
use axum::{
    body::Body,
    http::{HeaderMap, Request},
};
use proto::{Daemon, Problem};
use std::time::Duration;
use tower::ServiceExt;

#[tokio::test]
async fn a_client_cannot_say_who_it_is_and_the_edge_proves_itself() {
    let edge = Edge::start().await;
    let answer = client()
        .post(edge.at("/chat/token/?q=1"))
        .header("x-user-subject", "operator:local")
        .header("x-user-act", "stolen")
        .header("X_User_Subject", "operator:local")
        .header("x-arizuko-edge", "forged")
        .header("x-forwarded-for", "9.9.9.9")
        .header("x-forwarded-proto", "https")
        .header("forwarded", "for=9.9.9.9")
        .header("x-real-ip", "9.9.9.9")
        .header("x-request-id", "chosen-by-the-client")
        .header("authorization", "Bearer forged")
        .header("connection", "x-forwarded-for")
        .header("accept-language", "de")
        .header("cookie", format!("arizuko_session={}; a=b", "z".repeat(43)))
        .body("hello")
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 200);
    let shown_id = answer.headers()["x-request-id"].to_str().unwrap().to_owned();
    let (uri, headers, size) = edge.daemons.last();
    assert_eq!((&*uri, size), ("/chat/token/?q=1", 5));
    let value = |name: &str| headers.get(name).map(|value| value.to_str().unwrap());
    for gone in [
        "x-user-act",
        "x-user-subject",
        "x_user_subject",
        "forwarded",
        "x-real-ip",
        "authorization",
    ] {
        assert_eq!(value(gone), None, "{gone} must not pass");
    }
    assert_eq!(value("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(value("x-forwarded-proto"), Some("http"));
    assert_eq!(value("x-forwarded-host"), Some(&*edge.address.to_string()));
    assert_eq!(value("accept-language"), Some("de"));
    assert_eq!(value("cookie"), Some("a=b"), "a session that is nobody's is no business of webd's");
    assert_eq!(value("x-request-id"), Some(&*shown_id));
    assert_ne!(shown_id, "chosen-by-the-client");
    assert!(value("traceparent").is_some());
    assert!(value("x-arizuko-edge").unwrap().starts_with("eyJ"));
    let believed = edge_identity(&headers, &edge).await.expect("webd believes the edge");
    assert_eq!((believed.subject, believed.https), (None, false));
}

/// What webd's gate makes of the headers.
async fn edge_identity(headers: &HeaderMap, edge: &Edge) -> Option<kit::EdgeIdentity> {
    // The rig's token is good for every daemon, so the edge's own gate can stand in for webd's.
    edge.context.gate.verify_edge(headers).await
}

#[tokio::test]
async fn who_is_logged_in_is_told_to_webd_and_the_session_is_not() {
    let edge = Edge::start().await;
    let ask = async |path: &str, cookie: &str| {
        let request = client().get(edge.at(path)).header("cookie", cookie);
        assert_eq!(request.send().await.unwrap().status(), 200);
        edge.daemons.last().1
    };
    let session = format!("arizuko_session={COOKIE}; theme=dark");
    let chat = ask("/chat/token/", &session).await;
    assert_eq!(chat["x-user-subject"], "operator:local");
    assert_eq!(chat["cookie"], "theme=dark");
    let auth = ask("/auth/", &session).await;
    assert_eq!(auth["cookie"], session, "authd reads its own cookie");
    assert!(!auth.contains_key("x-user-subject"));
    let hook = ask("/hook/token", &session).await;
    assert!(!hook.contains_key("x-user-subject"), "a webhook is nobody's browser");
    assert!(!hook["cookie"].to_str().unwrap().contains("session"));
    let over_tls_only = ask("/chat/token/", &format!("__Host-arizuko_session={COOKIE}")).await;
    assert!(!over_tls_only.contains_key("x-user-subject"), "this is not TLS");
}

#[tokio::test]
async fn a_trusted_proxy_that_ended_tls_is_believed_and_nobody_else() {
    let behind = Edge::with(|rig| rig.setting("TRUSTED_PROXIES", "127.0.0.0/8")).await;
    let direct = Edge::start().await;
    for (edge, believed) in [(&behind, true), (&direct, false)] {
        let answer = client()
            .get(edge.at("/chat/token/"))
            .header("x-forwarded-for", "198.51.100.7")
            .header("x-forwarded-proto", "https")
            .header("x-request-id", "from-the-balancer")
            .header("cookie", format!("__Host-arizuko_session={COOKIE}"))
            .send()
            .await
            .unwrap();
        assert_eq!(answer.headers().contains_key("strict-transport-security"), believed);
        assert_eq!(answer.headers()["x-request-id"] == "from-the-balancer", believed);
        let seen = edge.daemons.last().1;
        assert_eq!(seen["x-forwarded-proto"] == "https", believed);
        assert_eq!(seen["x-forwarded-for"] == "198.51.100.7", believed);
        assert_eq!(seen.contains_key("x-user-subject"), believed, "the cookie that TLS protects");
    }
}

#[tokio::test]
async fn an_answer_is_hardened_and_keeps_what_is_the_daemon_s() {
    let edge = Edge::start().await;
    let answer = edge.get("/chat/token/").await;
    let value = |name: &str| answer.headers().get(name).map(|value| value.to_str().unwrap());
    assert_eq!(value("x-content-type-options"), Some("nosniff"));
    assert_eq!(value("x-frame-options"), Some("DENY"));
    assert_eq!(value("referrer-policy"), Some("no-referrer"));
    assert!(value("content-security-policy").unwrap().contains("frame-ancestors 'none'"));
    assert!(value("permissions-policy").is_some());
    assert_eq!(value("strict-transport-security"), None, "this is not TLS");
    assert_eq!(value("set-cookie"), Some("theme=dark"));
    assert_eq!(value("x-arizuko-internal"), None);
    let own = edge.get("/").await;
    assert_eq!(own.status(), 200);
    assert!(own.text().await.unwrap().contains("href=\"/auth/\""));
    assert_eq!(
        edge.get("/health").await.text().await.unwrap(),
        r#"{"status":"ok","daemon":"proxyd"}"#
    );
}

#[tokio::test]
async fn a_daemon_that_is_down_is_a_page_or_a_problem_and_comes_back() {
    let mut edge = Edge::start().await;
    assert_eq!(edge.get("/chat/token/").await.status(), 200);
    let down = edge.webd.take().unwrap();
    let address = down.url.strip_prefix("http://").unwrap().to_owned();
    drop(down);
    crate::rig::until(async || edge.get("/chat/token/").await.status() == 503).await;
    let problem = edge.get("/chat/token/").await;
    assert_eq!(problem.headers()["content-type"], "application/problem+json");
    assert_eq!(problem.headers()["retry-after"], "2");
    let id = problem.headers()["x-request-id"].to_str().unwrap().to_owned();
    let problem: Problem = problem.json().await.unwrap();
    assert_eq!((&*problem.code, problem.reference), ("unavailable", Some(id)));
    let page =
        client().get(edge.at("/chat/token/")).header("accept", "text/html").send().await.unwrap();
    assert_eq!(page.status(), 503);
    let page = page.text().await.unwrap();
    assert!(page.contains("<h1>Not available now</h1>"), "{page}");
    for inside in [&*address, "webd", "127.0.0.1", "Connection refused"] {
        assert!(!page.contains(inside), "{inside} is nobody's business");
    }
    assert_eq!(edge.get("/health").await.status(), 200, "the edge itself is well");
    assert_eq!(edge.get("/auth/").await.status(), 200, "and so are the others");
}

#[tokio::test]
async fn a_daemon_that_does_not_answer_is_given_up_and_its_request_cancelled() {
    let edge = Edge::with(|rig| rig.setting("PROXYD_ANSWER_TIMEOUT", "200ms")).await;
    let answer = edge.get("/chat/token/hang").await;
    assert_eq!(answer.status(), 504);
    let left = edge.daemons.left.notified();
    tokio::time::timeout(Duration::from_secs(10), left).await.expect("cancelled at the daemon too");
}

#[tokio::test]
async fn a_client_that_leaves_cancels_its_request_at_the_daemon() {
    let edge = Edge::start().await;
    let request = tokio::spawn(client().get(edge.at("/chat/token/hang")).send());
    crate::rig::until(async || edge.daemons.count() == 1).await;
    request.abort();
    let left = edge.daemons.left.notified();
    tokio::time::timeout(Duration::from_secs(10), left).await.expect("cancelled");
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_broken_for_the_client_too() {
    let edge = Edge::start().await;
    let answer = edge.get("/chat/token/break").await;
    assert_eq!(answer.status(), 200);
    edge.daemons.go.notify_one();
    assert!(answer.bytes().await.is_err(), "half an answer must not look whole");
}

#[tokio::test]
async fn the_edge_s_own_endpoints_are_not_public_and_it_serves_operators_only_its_document() {
    let edge = Edge::start().await;
    for path in ["/v1/secrets", "/metrics", "/ready", "/openapi.json", "/v1/messages"] {
        assert_eq!(edge.get(path).await.status(), 404, "{path}");
        let request = Request::get(path).body(Body::empty()).unwrap();
        let internal = edge.internal.clone().oneshot(request).await.unwrap();
        let expected = if path == "/openapi.json" { 200 } else { 404 };
        assert_eq!(internal.status(), expected, "{path}: kit serves the others, not proxyd");
    }
    assert_eq!(edge.daemons.count(), 0);
    assert_eq!(edge.context.daemon, Daemon::Proxyd);
}
