//! A daemon proves itself with its service key.

use crate::rig::{Authd, SERVICE_KEY, World, until};
use auth::{Kind, TokenError};
use proto::Problem;
use reqwest::{Response, header};

const OWN: &str = "planted-own-key-of-routd-00000000000";
const NEWER: &str = "planted-newer-key-00000000000000000";

async fn problem(response: Response) -> Problem {
    assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json");
    response.json().await.unwrap()
}

#[tokio::test]
async fn the_shared_key_mints_a_token_of_fifteen_minutes_that_says_who_and_for_whom() {
    let world = World::new();
    let authd = world.start().await;
    let response = authd.ask_token("routd", SERVICE_KEY).await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()[header::CACHE_CONTROL], "no-store");
    let token: proto::authd::Token = response.json().await.unwrap();
    assert_eq!((token.token_type.as_str(), token.expires_in), ("Bearer", 900));

    for peer in ["runed", "webd", "authd"] {
        let caller = authd.verify(&token.token, peer, Kind::Service).await.unwrap();
        assert_eq!(caller.subject().as_str(), "service:routd");
        assert!(caller.may("runs:write") && !caller.may("secrets:write"));
    }
    let as_operator = authd.verify(&token.token, "runed", Kind::Operator).await;
    assert_eq!(as_operator, Err(TokenError::Kind));

    let body = serde_json::json!({ "daemon": "routd", "audience": "runed" });
    let narrow = authd.post("/v1/service-token").bearer_auth(SERVICE_KEY).json(&body);
    let narrow: proto::authd::Token = narrow.send().await.unwrap().json().await.unwrap();
    assert!(authd.verify(&narrow.token, "runed", Kind::Service).await.is_ok());
    let elsewhere = authd.verify(&narrow.token, "webd", Kind::Service).await;
    assert_eq!(elsewhere, Err(TokenError::Audience));

    let fingerprint_key = token.fingerprint_key.unwrap();
    assert_eq!(hex_bytes(&fingerprint_key), 32);
    assert_eq!(narrow.fingerprint_key.as_ref(), Some(&fingerprint_key), "one for the instance");
    world.advance_minutes(16);
    let late = authd.verify(&token.token, "runed", Kind::Service).await;
    assert_eq!(late, Err(TokenError::Expired));

    authd.stop().await;
    let again = world.start().await.token("webd", SERVICE_KEY).await;
    assert_eq!(again.fingerprint_key, Some(fingerprint_key), "and the same after a restart");
}

fn hex_bytes(text: &str) -> usize {
    assert!(text.bytes().all(|byte| byte.is_ascii_hexdigit()));
    text.len() / 2
}

#[tokio::test]
async fn each_refusal_says_which_daemon_and_what_to_do_and_is_in_the_audit_log() {
    let world = World::new();
    world.source.set_silently([("AUTHD_SERVICE_KEY_ROUTD", OWN)]);
    let authd = world.start().await;
    let wrong = "a-key-that-nobody-has-0000000000000";

    let response = authd.ask_token("webd", wrong).await;
    assert_eq!(response.status(), 401);
    let refused = problem(response).await;
    assert_eq!(refused.code, "service_key_refused");
    assert!(refused.detail.contains("webd") && refused.detail.contains("AUTHD_SERVICE_KEY"));

    let body = serde_json::json!({ "daemon": "webd" });
    let response = authd.post("/v1/service-token").json(&body).send().await.unwrap();
    assert_eq!(response.status(), 401);
    assert!(problem(response).await.detail.contains("webd showed no key"));

    let response = authd.ask_token("routd", SERVICE_KEY).await;
    assert_eq!(response.status(), 401, "the shared key, where there is an own one");
    assert!(problem(response).await.detail.contains("AUTHD_SERVICE_KEY_ROUTD"));
    assert_eq!(authd.status_of_token("webd", OWN).await, 401, "another daemon's own key");
    assert_eq!(authd.status_of_token("routd", OWN).await, 200);

    for body in ["{\"daemon\":\"nobody\"}", "{}", "", "{\"daemon\":\"routd\",\"audience\":\"x\"}"] {
        let request = authd.post("/v1/service-token").bearer_auth(SERVICE_KEY).body(body);
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 400, "{body}");
        assert!(problem(response).await.detail.contains("routd authd runed"));
    }

    // Written off the path of the request, and equal refusals as one row.
    until("the refusals are written down", || async {
        authd.actions().await.iter().filter(|action| *action == "request.refuse").count() == 2
    })
    .await;
    let rows = authd.audit().await;
    let refused: Vec<_> = rows.iter().filter(|row| row.action == "request.refuse").collect();
    assert!(refused.iter().all(|row| row.target == "POST /v1/service-token"), "{refused:?}");
    let details: Vec<_> = refused.iter().map(|row| row.detail.as_str()).collect();
    let detail = |daemon: &str| {
        let why = "reason=service_key_refused status=401 from=127.0.0.1";
        format!("{why} about=service:{daemon} times=1")
    };
    assert_eq!(details, [detail("routd"), detail("webd")]);
    for row in rows {
        for planted in [wrong, OWN, SERVICE_KEY] {
            assert!(!format!("{row:?}").contains(planted), "{row:?}");
        }
    }
}

#[tokio::test]
async fn a_daemon_without_any_key_is_told_so_and_an_instance_without_any_does_not_start() {
    let world = World::new();
    world.source.remove("AUTHD_SERVICE_KEY");
    let Err(error) = world.try_start().await else { panic!("authd started without a key") };
    assert_eq!(error.exit_code(), 78);
    assert!(error.to_string().contains("AUTHD_SERVICE_KEY_<DAEMON>"), "{error}");

    world.source.set_silently([("AUTHD_SERVICE_KEY_ROUTD", OWN)]);
    let authd = world.start().await;
    assert_eq!(authd.status_of_token("routd", OWN).await, 200);
    let refused = problem(authd.ask_token("webd", OWN).await).await;
    assert!(refused.detail.contains("no key mints the token of webd"), "{}", refused.detail);
    // The key appears later: no restart, and no poll to wait for.
    world.source.set_silently([("AUTHD_SERVICE_KEY_WEBD", NEWER)]);
    until("webd has a token", || async { authd.status_of_token("webd", NEWER).await == 200 }).await;
    assert_eq!(authd.status_of_token("webd", OWN).await, 401);
}

#[tokio::test]
async fn an_own_key_supersedes_the_shared_one_while_authd_runs() {
    let world = World::new();
    let authd = world.start().await;
    assert_eq!(authd.status_of_token("routd", SERVICE_KEY).await, 200);
    world.source.set([("AUTHD_SERVICE_KEY_ROUTD", OWN)]);
    until("the own key mints", || async { authd.status_of_token("routd", OWN).await == 200 }).await;
    assert_eq!(authd.status_of_token("routd", SERVICE_KEY).await, 401, "the shared one no longer");
    assert_eq!(authd.status_of_token("webd", SERVICE_KEY).await, 200, "others still share");
}

async fn rotate(world: &World, authd: &Authd) {
    // Silently: what is presented makes authd look again.
    world.source.set_silently([("AUTHD_SERVICE_KEY", NEWER)]);
    assert_eq!(
        authd.status_of_token("webd", NEWER).await,
        200,
        "accepted without waiting for a poll"
    );
    assert_eq!(
        authd.status_of_token("webd", SERVICE_KEY).await,
        200,
        "and the old one for the overlap"
    );
}

#[tokio::test]
async fn a_rotated_key_is_accepted_beside_the_new_one_until_the_overlap_ends() {
    let world = World::with_short_overlap();
    let authd = world.start().await;
    rotate(&world, &authd).await;
    until("the overlap ends", || async { authd.status_of_token("webd", SERVICE_KEY).await == 401 })
        .await;
    assert_eq!(authd.status_of_token("webd", NEWER).await, 200);
}

#[tokio::test]
async fn forgetting_a_key_ends_the_overlap_and_the_tokens_that_it_minted() {
    let world = World::new();
    world.source.set_silently([("AUTHD_SERVICE_KEY_ROUTD", OWN)]);
    let authd = world.start().await;
    let shared = authd.token("webd", SERVICE_KEY).await.token;
    let own = authd.token("routd", OWN).await.token;
    rotate(&world, &authd).await;

    let operator = authd.operator().await;
    let body = serde_json::json!({ "name": "AUTHD_SERVICE_KEY" });
    let forget = authd.post("/v1/secrets/forget").bearer_auth(&operator).json(&body);
    assert_eq!(forget.send().await.unwrap().status(), 200);
    assert_eq!(authd.status_of_token("webd", SERVICE_KEY).await, 401);
    assert_eq!(authd.status_of_token("webd", NEWER).await, 200);
    until("the tokens have ended", || async {
        authd.verify(&shared, "routd", Kind::Service).await == Err(TokenError::Ended)
    })
    .await;
    assert!(authd.verify(&own, "webd", Kind::Service).await.is_ok(), "its key was not forgotten");
    let fresh = authd.token("webd", NEWER).await.token;
    assert!(authd.verify(&fresh, "routd", Kind::Service).await.is_ok(), "new ones are good");
    let actions = authd.actions().await;
    for action in ["secret.forget", "secret.publish", "tokens.end"] {
        assert!(actions.iter().any(|known| known == action), "{action}: {actions:?}");
    }

    authd.stop().await;
    let authd = world.start().await;
    let after = authd.verify(&shared, "routd", Kind::Service).await;
    assert_eq!(after, Err(TokenError::Ended), "a restart does not bring them back");
}

#[tokio::test]
async fn an_address_that_is_refused_too_often_waits_but_a_good_key_always_passes() {
    let world = World::new();
    let authd = world.start().await;
    let body = serde_json::json!({ "daemon": "webd" });
    let mut limited = None;
    for _ in 0..40 {
        let response = authd.post("/v1/service-token").json(&body).send().await.unwrap();
        if response.status() == 429 {
            limited = Some(response);
            break;
        }
        assert_eq!(response.status(), 401);
    }
    let limited = limited.expect("one of forty refusals is one too many");
    assert!(limited.headers().contains_key(header::RETRY_AFTER));
    assert_eq!(problem(limited).await.code, "rate_limited");
    assert_eq!(authd.status_of_token("webd", SERVICE_KEY).await, 200, "it shares the address");
    until("both kinds of refusal are written down", || async {
        authd.actions().await.iter().filter(|action| *action == "request.refuse").count() == 2
    })
    .await;
}
