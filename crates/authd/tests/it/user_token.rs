//! Daemons behind the edge that act for people.

use crate::rig::{Authd, SERVICE_KEY, World};
use auth::Kind;
use proto::{
    Daemon,
    authd::{Session, Token},
};
use reqwest::header;
use serde_json::{Value, json};

/// Logs the operator in; the cookie's value.
async fn log_in(authd: &Authd) -> String {
    let link = authd.link().await;
    let response = authd.post(&link.path).send().await.unwrap();
    let set = response.headers()[header::SET_COOKIE].to_str().unwrap();
    set.split(';').next().unwrap().split_once('=').unwrap().1.to_owned()
}

/// What the edge is told of a cookie, for a request that `acting` is to serve.
pub async fn find(authd: &Authd, cookie: &str, acting: Option<Daemon>) -> Result<Session, u16> {
    let token = authd.token("proxyd", SERVICE_KEY).await.token;
    let body = json!({ "cookie": cookie, "acting": acting });
    let request = authd.post("/v1/sessions/resolve").bearer_auth(token).json(&body);
    let answer = request.send().await.unwrap();
    match answer.status().as_u16() {
        200 => Ok(answer.json().await.unwrap()),
        status => Err(status),
    }
}

async fn resolve(authd: &Authd, cookie: &str, acting: Option<Daemon>) -> Session {
    find(authd, cookie, acting).await.unwrap()
}

/// What `daemon` gets for what the edge handed on.
pub async fn ask(
    authd: &Authd,
    daemon: Daemon,
    act: &str,
    audience: &str,
) -> Result<Token, (u16, String)> {
    let token = authd.token(daemon.name(), SERVICE_KEY).await.token;
    let body = json!({ "act": act, "audience": audience });
    let answer = authd.post("/v1/user-token").bearer_auth(token).json(&body).send().await.unwrap();
    match answer.status().as_u16() {
        200 => Ok(answer.json().await.unwrap()),
        status => {
            let problem: Value = answer.json().await.unwrap();
            Err((status, problem["code"].as_str().unwrap().to_owned()))
        }
    }
}

#[tokio::test]
async fn a_daemon_acts_for_whoever_asks_it_with_their_rights_and_at_one_peer() {
    let world = World::new();
    let authd = world.start().await;
    let cookie = log_in(&authd).await;
    let session = resolve(&authd, &cookie, Some(Daemon::Dashd)).await;
    let act = session.act.clone().unwrap();
    assert!(!format!("{session:?}").contains(&act), "it is not for a log");
    let token = ask(&authd, Daemon::Dashd, &act, "routd").await.unwrap();
    assert_eq!(token.expires_in, 300);
    let caller = authd.verify(&token.token, "routd", Kind::Operator).await.unwrap();
    assert_eq!(caller.subject().as_str(), "operator:local");
    assert!(caller.may("routes:write") && caller.session().is_some());
    assert!(authd.verify(&token.token, "authd", Kind::Operator).await.is_err(), "for one peer");

    let over = (401, "session_over".to_owned());
    let other = ask(&authd, Daemon::Onbod, &act, "routd").await.unwrap_err();
    assert_eq!(other, over, "it was handed to dashd");
    for daemon in [Daemon::Webd, Daemon::Proxyd, Daemon::Routd] {
        let refused = ask(&authd, daemon, &act, "routd").await.unwrap_err();
        assert_eq!(refused.0, 403, "{daemon} acts for nobody");
    }
    let middle = act.len() / 2;
    let letter = if &act[middle..=middle] == "A" { "B" } else { "A" };
    let forged = format!("{}{letter}{}", &act[..middle], &act[middle + 1..]);
    for made_up in [forged.as_str(), "operator:local", "1", "", &cookie] {
        let refused = ask(&authd, Daemon::Dashd, made_up, "routd").await.unwrap_err();
        assert_eq!(refused, over, "{made_up:?}");
    }
    let asked = authd.post("/v1/user-token").bearer_auth(authd.operator().await);
    let asked = asked.json(&json!({ "act": act, "audience": "routd" })).send().await.unwrap();
    assert_eq!(asked.status(), 403, "an operator has rights of their own");
    assert!(resolve(&authd, &cookie, None).await.act.is_none(), "nobody is to act here");
}

#[tokio::test]
async fn what_the_edge_handed_on_ends_with_its_time_and_with_the_session() {
    let world = World::new();
    let authd = world.start().await;
    let cookie = log_in(&authd).await;
    let act = async || resolve(&authd, &cookie, Some(Daemon::Onbod)).await.act.unwrap();
    let first = act().await;
    world.advance_minutes(1);
    assert!(ask(&authd, Daemon::Onbod, &first, "routd").await.is_ok());
    world.advance_minutes(1);
    assert_eq!(ask(&authd, Daemon::Onbod, &first, "routd").await.unwrap_err().0, 401);

    let second = act().await;
    assert!(ask(&authd, Daemon::Onbod, &second, "routd").await.is_ok());
    let header = format!("arizuko_session={cookie}");
    let out = authd.post("/auth/logout").header("cookie", header).send().await.unwrap();
    assert_eq!(out.status(), 303);
    assert_eq!(ask(&authd, Daemon::Onbod, &second, "routd").await.unwrap_err().0, 401);
}
