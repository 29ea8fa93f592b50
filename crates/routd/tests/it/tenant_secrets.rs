//! Secrets of folders and persons: spent where they may go, by whom they belong to, and never seen.

use crate::{agent::Agent, stage::Stage};
use axum::{
    Json, Router,
    extract::{Request, State},
    http::header,
    response::{IntoResponse, Redirect, Response},
    routing::any,
};
use proto::{
    Nothing,
    routd::{
        AUDIT, AuditQuery, LIST_TENANT_SECRETS, REKEY, REMOVE_TENANT_SECRET, RemoveTenantSecret,
        SET_TENANT_SECRET, SetTenantSecret, TenantSecret,
    },
};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};

const CHAT: &str = "web:atlas~one";
const VALUE: &str = "ghp_0123456789+abc/defg==";

/// What the service outside was asked: method and path, and the header that carried the secret.
type Asked = Arc<Mutex<Vec<(String, String)>>>;

/// A service outside that gives back what it was shown, as careless ones do.
async fn echo(State(asked): State<Asked>, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    let shown = request.headers().get(header::AUTHORIZATION);
    let shown = shown.map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default();
    asked.lock().unwrap().push((format!("{} {path}", request.method()), shown.clone()));
    if path.ends_with("/elsewhere") {
        return Redirect::temporary("http://127.0.0.1:1/stolen").into_response();
    }
    let encoded: String = form_urlencoded::byte_serialize(VALUE.as_bytes()).collect();
    let answer = json!({ "you_sent": shown, "link": format!("https://x.test/?token={encoded}") });
    ([("x-echo", shown), ("set-cookie", "sid=1".into())], Json(answer)).into_response()
}

async fn service() -> (String, Asked) {
    let asked = Asked::default();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new().fallback(any(echo)).with_state(asked.clone());
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    (url, asked)
}

fn secret(owner: &str, name: &str, value: &str, url: Option<&str>) -> SetTenantSecret {
    let (owner, url) = (owner.parse().unwrap(), url.map(str::to_owned));
    SetTenantSecret { owner, name: name.into(), value: value.into(), url, header: None }
}

async fn set(stage: &Stage, wanted: &SetTenantSecret) -> TenantSecret {
    stage.call(&SET_TENANT_SECRET, wanted, &stage.operator()).await.unwrap()
}

async fn agent(stage: &Stage, nth: usize) -> Agent {
    stage.say(CHAT, &format!("m{nth}"), "hello").await;
    Agent::on(&stage.runed.nth(nth).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_spends_a_secret_that_it_never_sees() {
    let stage = Stage::new().await;
    let (url, asked) = service().await;
    let stored =
        set(&stage, &secret("folder:atlas", "GITHUB_TOKEN", VALUE, Some(&format!("{url}/repos/"))))
            .await;
    let agent = agent(&stage, 0).await;
    let call = json!({
        "secret": "GITHUB_TOKEN", "url": format!("{url}/repos/a?page=2"), "method": "POST", "json": { "title": "x" },
    });
    let told = agent.tool("http_request", call.clone(), Some("k1")).await;
    assert!(!told.is_error, "{told:?}");
    assert_eq!(told.structured["status"], 200);
    assert_eq!(*asked.lock().unwrap(), [("POST /repos/a".into(), format!("Bearer {VALUE}"))]);
    // What was given back is scrubbed, in a header, in a body, and in another encoding.
    let seen = format!("{told:?}");
    assert!(seen.matches("[secret]").count() >= 3, "{seen}");
    assert!(!seen.contains("ghp_") && !seen.contains("sid=1"), "{seen}");
    // The same call is answered alike, and not made again.
    assert_eq!(agent.tool("http_request", call, Some("k1")).await, told);
    assert_eq!(asked.lock().unwrap().len(), 1);
    // A redirect is told and not followed.
    let away = json!({ "secret": "GITHUB_TOKEN", "url": format!("{url}/repos/elsewhere") });
    let told = agent.tool("http_request", away, None).await;
    assert_eq!(told.structured["status"], 307);

    let query = AuditQuery { before: None, limit: None };
    let audit = stage.call(&AUDIT, &query, &stage.operator()).await.unwrap();
    let uses: Vec<_> =
        audit.rows.iter().rev().filter(|row| row.action == "tenant-secret.use").collect();
    assert_eq!(uses.len(), 2, "each use has its row");
    assert_eq!((&*uses[0].actor, &*uses[0].target), ("folder:atlas", "folder:atlas GITHUB_TOKEN"));
    assert!(
        uses[0].detail.contains("POST ") && !uses[0].detail.contains("page=2"),
        "{:?}",
        uses[0]
    );
    let listed = stage.call(&LIST_TENANT_SECRETS, &Nothing {}, &stage.operator()).await.unwrap();
    assert_eq!(listed.secrets[0].id, stored.id);
    assert!(listed.secrets[0].used_at.is_some());
    // The value is nowhere that anybody reads.
    let rows = serde_json::to_string(&(audit, listed)).unwrap();
    assert!(!rows.contains("ghp_"), "{rows}");
    for file in ["routd.db", "routd.db-wal"] {
        let bytes = std::fs::read(stage.dir.path().join(file)).unwrap_or_default();
        assert!(!bytes.windows(8).any(|piece| piece == b"ghp_0123"), "{file}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_goes_nowhere_else_and_serves_nobody_else() {
    let stage = Stage::new().await;
    stage.add_group("borea").await;
    let (url, asked) = service().await;
    let bound = format!("{url}/repos/");
    set(&stage, &secret("folder:borea", "THEIRS", VALUE, Some(&bound))).await;
    set(&stage, &secret("folder:atlas", "OURS", VALUE, Some(&bound))).await;
    set(&stage, &secret("folder:atlas", "ANTHROPIC_API_KEY", "sk-ant-key", None)).await;
    set(&stage, &secret("person:web:anon/somebody-else", "PERSONAL", VALUE, Some(&bound))).await;
    let agent = agent(&stage, 0).await;
    for (secret, target, why) in [
        ("OURS", format!("{url}/user"), "nowhere else"),
        ("OURS", format!("{url}/repos/../user"), "nowhere else"),
        ("OURS", format!("{url}/repos/%2e%2e/user"), "nowhere else"),
        ("OURS", format!("{url}/repos/..%2fuser"), "encoded"),
        ("OURS", "http://169.254.169.254/latest/".into(), "nowhere else"),
        ("OURS", format!("{url}@evil.test/repos/"), "`url`"),
        ("THEIRS", format!("{url}/repos/a"), "no secret"),
        ("PERSONAL", format!("{url}/repos/a"), "no secret"),
        ("ANTHROPIC_API_KEY", format!("{url}/repos/a"), "model's key"),
        ("NEVER_SET", format!("{url}/repos/a"), "no secret"),
    ] {
        let told =
            agent.tool("http_request", json!({ "secret": secret, "url": target }), None).await;
        assert!(told.is_error && told.text.contains(why), "{secret} {target}: {told:?}");
    }
    let named = json!({ "secret": "OURS", "url": bound, "headers": { "Host": "evil.test" } });
    assert!(agent.tool("http_request", named, None).await.is_error);
    // A header of the agent's own does not stand in the secret's place.
    let beside =
        json!({ "secret": "OURS", "url": bound, "headers": { "Authorization": "Bearer mine" } });
    assert!(!agent.tool("http_request", beside, None).await.is_error);
    assert_eq!(*asked.lock().unwrap(), [("GET /repos/".into(), format!("Bearer {VALUE}"))]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_persons_secret_serves_only_what_that_person_alone_asked() {
    let stage = Stage::new().await;
    let (url, asked) = service().await;
    let agent = agent(&stage, 0).await;
    let sender: String = stage
        .database()
        .query_row("SELECT sender FROM messages WHERE id = 'm0'", [], |row| row.get(0))
        .unwrap();
    set(&stage, &secret(&format!("person:{sender}"), "MINE", VALUE, Some(&url))).await;
    let call = json!({ "secret": "MINE", "url": format!("{url}/a") });
    assert!(!agent.tool("http_request", call.clone(), None).await.is_error);
    // Somebody else's message joins the turn: what it asks for is not this person's wish.
    stage
        .database()
        .execute(
            "INSERT INTO messages (id, chat_jid, outbound, sender, content, verb, thread, topic, folder, disposition,
                 turn_id, is_group, sent_at, received_at, rule)
             SELECT 'm-other', chat_jid, 0, 'web:anon/other', 'me too', verb, thread, topic, folder, disposition,
                 turn_id, is_group, sent_at, received_at, rule FROM messages WHERE id = 'm0'",
            [],
        )
        .unwrap();
    assert!(agent.tool("http_request", call, None).await.is_error);
    assert_eq!(asked.lock().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_was_moved_does_not_open() {
    let stage = Stage::new().await;
    let (url, asked) = service().await;
    let bound = format!("{url}/repos/");
    let first = set(&stage, &secret("folder:atlas", "TOKEN", VALUE, Some(&bound))).await;
    // Set again, under another value: one row, and the new value counts, also after the database's key was renewed.
    let again = set(&stage, &secret("folder:atlas", "TOKEN", "second-value", Some(&bound))).await;
    assert_eq!(first.id, again.id);
    stage.call(&REKEY, &proto::authd::Rekey::default(), &stage.operator()).await.unwrap();
    let agent = agent(&stage, 0).await;
    let call = json!({ "secret": "TOKEN", "url": format!("{url}/repos/a") });
    assert!(!agent.tool("http_request", call.clone(), None).await.is_error);
    assert_eq!(asked.lock().unwrap()[0].1, "Bearer second-value");
    // Whoever edits where it may go, has a row without a value.
    let evil = json!({ "secret": "TOKEN", "url": format!("{url}/evil") });
    stage.database().execute("UPDATE tenant_secrets SET url = ?1", [format!("{url}/")]).unwrap();
    let (_, answer) =
        agent.mcp("tools/call", json!({ "name": "http_request", "arguments": evil })).await;
    assert!(answer["error"].is_object(), "{answer}");
    stage.database().execute("UPDATE tenant_secrets SET url = ?1", [&bound]).unwrap();
    for _ in 0..2 {
        let gone = RemoveTenantSecret { id: first.id.clone() };
        stage.call(&REMOVE_TENANT_SECRET, &gone, &stage.operator()).await.unwrap();
    }
    assert!(agent.tool("http_request", call, None).await.is_error);
    let left: i64 = stage
        .database()
        .query_row("SELECT count(*) FROM sealed WHERE name LIKE 'tenant%'", [], |row| row.get(0))
        .unwrap();
    assert_eq!((left, asked.lock().unwrap().len()), (0, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_a_secret_is_refused_and_not_repeated() {
    let stage = Stage::new().await;
    let web = Some("https://api.example.com/");
    for (owner, name, value, url) in [
        ("folder:atlas", "lower", VALUE, web),
        ("folder:atlas", "TOKEN", "", web),
        ("folder:atlas", "TOKEN", "two\nlines", web),
        ("folder:atlas", "TOKEN", VALUE, None),
        ("folder:atlas", "TOKEN", VALUE, Some("ftp://x/")),
        ("folder:atlas", "TOKEN", VALUE, Some("https://user@x/")),
        ("folder:atlas", "OPENAI_API_KEY", VALUE, web),
    ] {
        let refused = stage
            .call(&SET_TENANT_SECRET, &secret(owner, name, value, url), &stage.operator())
            .await;
        let problem = refused.unwrap_err();
        assert_eq!(problem.status, 400, "{name} {url:?}");
        assert!(
            !problem.detail.contains("ghp_") && !problem.detail.contains("two"),
            "{}",
            problem.detail
        );
    }
    let nobody = stage.call(&LIST_TENANT_SECRETS, &Nothing {}, "guess").await.unwrap_err();
    assert_eq!(nobody.status, 401);
    let listed = stage.call(&LIST_TENANT_SECRETS, &Nothing {}, &stage.operator()).await.unwrap();
    assert_eq!(serde_json::to_value(listed).unwrap()["secrets"], Value::from(Vec::<Value>::new()));
}
