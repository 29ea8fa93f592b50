//! The four ways in, and tokens that end.

use crate::bao::{Bao, CANARY, LIMIT, value};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use secrets::SecretSource;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use stores::proxy::Proxy;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

const READER: &str = "path \"kv/data/az\" { capabilities = [\"read\"] }\n\
                      path \"kv/metadata/az\" { capabilities = [\"read\"] }";

async fn ready() -> Option<Bao> {
    let bao = Bao::start().await?;
    bao.put(json!({"A": CANARY})).await;
    bao.policy("reader", READER).await;
    Some(bao)
}

fn jwt(key: &rcgen::KeyPair, subject: &str) -> String {
    let now = jsonwebtoken::get_current_timestamp();
    let claims = json!({
        "iss": "https://issuer", "sub": subject, "aud": ["bao"], "iat": now, "exp": now + 600,
        "kubernetes.io": {
            "namespace": "az",
            "serviceaccount": {"name": "arizuko", "uid": "u1"},
        },
    });
    let key = EncodingKey::from_ec_pem(key.serialize_pem().as_bytes()).unwrap();
    jsonwebtoken::encode(&Header::new(Algorithm::ES256), &claims, &key).unwrap()
}

#[tokio::test]
async fn with_a_jwt_that_is_read_again_for_every_login() {
    let Some(bao) = ready().await else { return };
    let key = rcgen::KeyPair::generate().unwrap();
    bao.ok("POST", "sys/auth/ci", json!({"type": "jwt"})).await;
    let pem = key.public_key_pem();
    bao.ok("POST", "auth/ci/config", json!({"jwt_validation_pubkeys": [pem]})).await;
    let role = json!({
        "role_type": "jwt", "bound_audiences": ["bao"], "bound_subject": "arizuko",
        "user_claim": "sub", "token_policies": ["reader"], "token_ttl": "1h",
    });
    bao.ok("POST", "auth/ci/role/az", role).await;
    let wrong = jwt(&key, "somebody");
    let file = bao.file("jwt", &wrong);
    let query = format!("auth=jwt&auth_mount=ci&role=az&jwt_file={}", file.display());
    let source = bao.at(&bao.base(), "kv/az", &query);
    let error = value(&source, "A").await.unwrap_err();
    assert!(error.starts_with("denied") && error.contains("login at auth/ci"), "{error}");
    let right = jwt(&key, "arizuko");
    bao.file("jwt", &right);
    assert_eq!(value(&source, "A").await.unwrap(), CANARY);
    bao.assert_unsaid(&[&wrong, &right]);
}

/// The one part of a cluster that the server asks: whose a token is. There is no cluster here; this
/// answers as its API server does.
async fn token_reviews(reviewed: Arc<Mutex<Vec<String>>>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut text = String::new();
            let review: Value = loop {
                let mut bytes = vec![0; 65_536];
                let Ok(length @ 1..) = stream.read(&mut bytes).await else { break Value::Null };
                text += &String::from_utf8_lossy(&bytes[..length]);
                let body = text.split_once("\r\n\r\n").map(|(_, body)| body);
                if let Some(review) = body.and_then(|body| serde_json::from_str(body).ok()) {
                    break review;
                }
            };
            let token = review["spec"]["token"].as_str().unwrap_or_default().to_owned();
            reviewed.lock().unwrap().push(token);
            let user = json!({
                "username": "system:serviceaccount:az:arizuko", "uid": "u1",
                "groups": ["system:serviceaccounts", "system:serviceaccounts:az"],
            });
            let body = json!({
                "apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview",
                "status": {"authenticated": true, "user": user, "audiences": ["bao"]},
            });
            let body = body.to_string();
            let head =
                "HTTP/1.1 201 Created\r\ncontent-type: application/json\r\nconnection: close";
            let answer = format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
            stream.write_all(answer.as_bytes()).await.ok();
        }
    });
    base
}

#[tokio::test]
async fn with_the_token_of_a_pod_which_is_read_again_for_every_login() {
    let Some(bao) = ready().await else { return };
    let reviewed = Arc::new(Mutex::new(Vec::new()));
    let cluster = token_reviews(reviewed.clone()).await;
    let key = rcgen::KeyPair::generate().unwrap();
    let authority = rcgen::generate_simple_self_signed(["cluster".to_owned()]).unwrap();
    bao.ok("POST", "sys/auth/kubernetes", json!({"type": "kubernetes"})).await;
    let config = json!({
        "kubernetes_host": cluster, "kubernetes_ca_cert": authority.cert.pem(),
        "disable_local_ca_jwt": true, "disable_iss_validation": true,
    });
    bao.ok("POST", "auth/kubernetes/config", config).await;
    let role = json!({
        "bound_service_account_names": ["arizuko"],
        "bound_service_account_namespaces": ["az"],
        "token_policies": ["reader"], "token_ttl": "1h",
    });
    bao.ok("POST", "auth/kubernetes/role/az", role).await;
    let first = jwt(&key, "system:serviceaccount:az:arizuko");
    let file = bao.file("pod", &first);
    let query = format!("auth=kubernetes&role=az&jwt_file={}", file.display());
    let source = bao.at(&bao.base(), "kv/az", &query);
    assert_eq!(value(&source, "A").await.unwrap(), CANARY);
    // The kubelet replaces it; a login after that uses the new one. All tokens are revoked, so that
    // there is one.
    let second = jwt(&rcgen::KeyPair::generate().unwrap(), "system:serviceaccount:az:arizuko");
    bao.file("pod", &second);
    bao.ok("PUT", "sys/leases/revoke-prefix/auth/kubernetes", Value::Null).await;
    bao.until("it logs in again", async |_| value(&source, "A").await.is_ok()).await;
    assert_eq!(*reviewed.lock().unwrap(), [first.clone(), second.clone()]);
    bao.assert_unsaid(&[&first, &second]);
}

#[tokio::test]
async fn with_an_approle_whose_tokens_end_and_nobody_notices() {
    let Some(bao) = ready().await else { return };
    bao.ok("POST", "sys/auth/approle", json!({"type": "approle"})).await;
    let role = json!({"token_policies": ["reader"], "token_ttl": "2s", "token_max_ttl": "5s"});
    bao.ok("POST", "auth/approle/role/az", role).await;
    let id = bao.ok("GET", "auth/approle/role/az/role-id", Value::Null).await;
    let id = id["data"]["role_id"].as_str().unwrap().to_owned();
    let secret = bao.ok("POST", "auth/approle/role/az/secret-id", json!({})).await;
    let secret = secret["data"]["secret_id"].as_str().unwrap().to_owned();
    let proxy = Proxy::before(bao.port()).await;
    let file = bao.file("secret-id", &secret);
    let query = format!("auth=approle&role_id={id}&secret_id_file={}", file.display());
    let source = bao.at(&proxy.base(), "kv/az", &query);
    // Through two lives of five seconds: renewed, and replaced before the end of each.
    let mut refused = Vec::new();
    bao.until("the third login", async |_| {
        refused.extend(value(&source, "A").await.err());
        proxy.count("auth/approle/login") >= 3
    })
    .await;
    assert!(refused.is_empty(), "{refused:?}");
    assert!(proxy.count("auth/token/renew-self") >= 2, "{:?}", proxy.requests());
    // It is kept alive also while nobody reads.
    let logins = proxy.count("auth/approle/login");
    let hinted = tokio::select! {
        () = source.changed() => true,
        () = bao.until("a login without a read", async |_| {
            proxy.count("auth/approle/login") > logins
        }) => false,
    };
    assert!(!hinted, "a login is no news of a secret");
    bao.assert_unsaid(&[&secret]);
}

#[tokio::test]
async fn with_a_token_that_somebody_else_writes_and_replaces() {
    let Some(bao) = ready().await else { return };
    let file = bao.token("reader", "1h").await;
    let first = std::fs::read_to_string(&file).unwrap().trim().to_owned();
    let query = format!("auth=token&token_file={}", file.display());
    let proxy = Proxy::before(bao.port()).await;
    let source = bao.at(&proxy.base(), "kv/az", &query);
    assert_eq!(value(&source, "A").await.unwrap(), CANARY);
    let hint = tokio::time::timeout(LIMIT, source.changed());
    let (hint, ()) = tokio::join!(hint, async {
        bao.ok("POST", "auth/token/revoke", json!({"token": first})).await;
        bao.token("reader", "1h").await;
    });
    hint.expect("a new token in the file is a reason to look");
    assert_eq!(value(&source, "A").await.unwrap(), CANARY);
    let second = std::fs::read_to_string(&file).unwrap().trim().to_owned();
    bao.assert_unsaid(&[&first, &second]);
}

#[tokio::test]
async fn in_a_namespace() {
    let Some(bao) = Bao::start().await else { return };
    bao.ok("POST", "sys/namespaces/team1", json!({})).await;
    let engine = json!({"type": "kv", "options": {"version": "2"}});
    bao.call("POST", "sys/mounts/kv", engine, "team1").await;
    bao.until("the engine takes an entry", async |bao: &stores::bao::Bao| {
        let entry = json!({"data": {"A": "canary-of-team-one"}});
        bao.call("POST", "kv/data/az", entry, "team1").await.0 == 200
    })
    .await;
    bao.put(json!({"A": CANARY})).await;
    let root = format!("auth=token&token_file={}", bao.file("root", &bao.root).display());
    let theirs = bao.at(&bao.base(), "kv/az", &format!("{root}&namespace=team1"));
    assert_eq!(value(&theirs, "A").await.unwrap(), "canary-of-team-one");
    assert_eq!(value(&bao.source("kv/az"), "A").await.unwrap(), CANARY);
    bao.assert_unsaid(&["canary-of-team-one"]);
}
