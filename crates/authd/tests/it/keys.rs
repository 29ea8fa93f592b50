//! The life of signing keys, as verifiers see it.

use crate::rig::{Authd, SERVICE_KEY, World, until};
use auth::{Kind, TokenError};
use proto::authd::SigningKeys;
use reqwest::header;

const DAY: u64 = 24 * 60;

async fn kids(authd: &Authd) -> Vec<String> {
    authd.jwks().await.keys.into_iter().map(|key| key.kid).collect()
}

fn kid_of(token: &str) -> String {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    let (header, _) = token.split_once('.').unwrap();
    let header: serde_json::Value =
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header).unwrap()).unwrap();
    header["kid"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn the_keys_are_published_under_both_names_and_hold_no_private_part() {
    let authd = World::new().start().await;
    let mut documents = Vec::new();
    for path in ["/.well-known/jwks.json", "/v1/keys"] {
        let response = authd.get(path).send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()[header::CACHE_CONTROL], "public, max-age=300");
        documents.push(response.json::<serde_json::Value>().await.unwrap());
    }
    assert_eq!(documents[0], documents[1]);
    let keys = documents[0]["keys"].as_array().unwrap();
    assert_eq!(keys.len(), 1, "the first key signs at once");
    let fields: Vec<_> = keys[0].as_object().unwrap().keys().cloned().collect();
    assert_eq!(fields, ["alg", "crv", "kid", "kty", "use", "x", "y"], "`d` is not among them");
}

#[tokio::test]
async fn a_rotation_never_shows_a_verifier_a_key_it_could_not_know_nor_drops_one_it_needs() {
    let world = World::new();
    let authd = world.start().await;
    let first = kids(&authd).await;
    world.advance_minutes(30 * DAY - 5);
    until("the next key is published", || async { kids(&authd).await.len() == 2 }).await;
    let both = kids(&authd).await;
    let old = authd.token("webd", SERVICE_KEY).await.token;
    assert_eq!(kid_of(&old), first[0], "the new key does not sign yet");

    world.advance_minutes(5);
    until("the next key signs", || async {
        kid_of(&authd.token("webd", SERVICE_KEY).await.token) != first[0]
    })
    .await;
    assert_eq!(kids(&authd).await.len(), 2, "the old one is still served");
    let new = authd.token("webd", SERVICE_KEY).await.token;
    assert!(both.contains(&kid_of(&new)), "and the new one had been published before");
    world.advance_minutes(9);
    // A start sweeps before it serves, so what is there now is what the rules want.
    authd.stop().await;
    let authd = world.start().await;
    assert!(authd.verify(&old, "routd", Kind::Service).await.is_ok(), "until it ends by itself");
    assert_eq!(kids(&authd).await.len(), 2);

    world.advance_minutes(9);
    until("the old key is gone", || async { kids(&authd).await == [kid_of(&new)] }).await;
    let mut rows = authd.audit().await;
    rows.retain(|row| row.action.starts_with("key."));
    rows.reverse();
    let steps: Vec<_> = rows.iter().map(|row| row.action.as_str()).collect();
    let expected = ["key.create", "key.create", "key.retire", "key.activate", "key.delete"];
    assert_eq!(steps, expected);
    assert!(rows.iter().all(|row| !row.detail.is_empty()), "each says why");
}

#[tokio::test]
async fn keys_survive_a_restart_and_a_long_absence() {
    let world = World::new();
    let authd = world.start().await;
    let before = kids(&authd).await;
    let token = authd.token("webd", SERVICE_KEY).await.token;
    authd.stop().await;

    let authd = world.start().await;
    assert_eq!(kids(&authd).await, before);
    assert!(authd.verify(&token, "routd", Kind::Service).await.is_ok());
    authd.stop().await;
    world.advance_minutes(200 * DAY);
    let authd = world.start().await;
    assert_eq!(kids(&authd).await.len(), 2, "the next key is published at once, and not more");
    assert_eq!(kid_of(&authd.token("webd", SERVICE_KEY).await.token), before[0]);
}

#[tokio::test]
async fn the_operator_rotates_before_the_time_and_nobody_else_may() {
    let world = World::new();
    let authd = world.start().await;
    let service = authd.token("proxyd", SERVICE_KEY).await.token;
    for (path, post) in [("/v1/signing-keys", false), ("/v1/signing-keys/rotate", true)] {
        let request = |path| if post { authd.post(path) } else { authd.get(path) };
        assert_eq!(request(path).send().await.unwrap().status(), 401, "{path}");
        let refused = request(path).bearer_auth(&service).send().await.unwrap();
        assert_eq!(refused.status(), 403, "{path}");
    }
    assert_eq!(kids(&authd).await.len(), 1);

    let operator = authd.operator().await;
    for _ in 0..2 {
        let rotated = authd.post("/v1/signing-keys/rotate").bearer_auth(&operator);
        let keys: SigningKeys = rotated.send().await.unwrap().json().await.unwrap();
        let states: Vec<_> = keys.keys.iter().map(|key| key.state.as_str()).collect();
        assert!(states.contains(&"pending") && states.contains(&"active"));
        assert_eq!(states.len(), 2, "a second request begins no second rotation");
    }
    world.advance_minutes(5);
    let token = || async { authd.token("webd", SERVICE_KEY).await.token };
    let first = kid_of(&token().await);
    until("the next key signs", || async { kid_of(&token().await) != first }).await;
}

#[tokio::test]
async fn authd_checks_its_own_callers_with_its_own_keys() {
    let world = World::new();
    let authd = world.start().await;
    let body = serde_json::json!({ "cookie": "x" });
    let ask =
        |token: String| authd.post("/v1/sessions/resolve").bearer_auth(token).json(&body).send();
    let proxyd = authd.token("proxyd", SERVICE_KEY).await.token;
    assert_eq!(ask(proxyd.clone()).await.unwrap().status(), 404, "it may ask; there is no session");
    let webd = authd.token("webd", SERVICE_KEY).await.token;
    assert_eq!(ask(webd).await.unwrap().status(), 403);
    let mut forged = proxyd;
    forged.pop();
    assert_eq!(ask(forged).await.unwrap().status(), 401);
    assert!(matches!(
        authd.verify("eyJhbGciOiJub25lIn0.e30.", "routd", Kind::Service).await,
        Err(TokenError::Algorithm)
    ));
}
