//! Endpoints: one value on both sides, and who gets through.

use async_trait::async_trait;
use auth::{Kind, scopes};
use kit::{Api, Caller, Failure, PeerError, SecretCheck, testing};
use proto::{
    Daemon, Nothing, Opaque,
    kit::{FORGET_SECRET, HEALTH, READY, REFRESH_SECRETS, SECRETS},
    routd::{
        ADD_GROUP, Group, MessageAck, NewGroup, NewMessage, POST_MESSAGE, REMOVE_ROUTE, RemoveRoute,
    },
    runed::{GET_RUN, GetRun, Run, RunState},
};
use std::sync::Arc;

async fn ack(_: (), _: Caller, message: NewMessage) -> Result<MessageAck, Failure> {
    Ok(MessageAck { id: message.id, seq: 7, duplicate: false })
}

async fn group(_: (), _: Caller, new: NewGroup) -> Result<Group, Failure> {
    let created_at = proto::Timestamp(0);
    Ok(Group {
        folder: new.folder,
        harness: new.harness,
        command: new.command,
        model: None,
        created_at,
    })
}

async fn gone(_: (), _: Caller, route: RemoveRoute) -> Result<Nothing, Failure> {
    if route.id == 42 { Ok(Nothing {}) } else { Err(Failure::not_found("there is no such route")) }
}

async fn run(_: (), _: Caller, query: GetRun) -> Result<Run, Failure> {
    assert_eq!((query.wait_seconds, query.unless_state), (3, Some(RunState::Running)));
    Ok(Run {
        id: query.id.clone(),
        turn_id: query.id,
        attempt: 1,
        folder: "main".parse().unwrap(),
        state: RunState::Ended,
        end: None,
        detail: None,
        created_at: proto::Timestamp(0),
        started_at: None,
        ended_at: None,
    })
}

#[derive(Debug)]
struct Knows(&'static str);

#[async_trait]
impl SecretCheck for Knows {
    async fn check(&self, presented: &[u8]) -> Option<Caller> {
        let scopes = [scopes::MESSAGES_WRITE].into_iter().collect();
        (presented == self.0.as_bytes())
            .then(|| Caller::by_secret("service:webd".parse().unwrap(), scopes))
    }
}

struct Served {
    serving: testing::Serving,
    authority: testing::TestAuthority,
    _dir: tempfile::TempDir,
}

async fn served() -> Served {
    let dir = tempfile::tempdir().unwrap();
    let rig = testing::Rig::new(Daemon::Routd, dir.path());
    let (context, authority) = rig.build().await;
    context.gate.accept_secret("CHANNEL_SECRET", Arc::new(Knows("the-channel-secret")));
    let mut api = Api::new(&context);
    api.mount(POST_MESSAGE, (), ack)
        .mount(ADD_GROUP, (), group)
        .mount(REMOVE_ROUTE, (), gone)
        .mount(GET_RUN, (), run);
    let serving = testing::serve_daemon(&context, api.into_router()).await;
    Served { serving, authority, _dir: dir }
}

fn peer(served: &Served, token: &str) -> kit::Peer {
    let http = kit::http_client().unwrap();
    let urls = [(Daemon::Routd, served.serving.url.clone())].into();
    kit::Peers::with_token(http, urls, token).get(Daemon::Routd)
}

fn message() -> NewMessage {
    let json = serde_json::json!({
        "id": "m1", "chat_jid": "web:main", "sender": "web:anon/1", "content": "hello", "later": 1
    });
    serde_json::from_value(json).unwrap()
}

#[tokio::test]
async fn an_endpoint_is_mounted_and_called_through_the_same_value() {
    let served = served().await;
    let operator = peer(&served, &served.authority.operator());

    let answer = operator.call(&POST_MESSAGE, &message()).await.unwrap();
    assert_eq!((answer.id.as_str(), answer.seq), ("m1", 7));
    operator.call(&REMOVE_ROUTE, &RemoveRoute { id: 42 }).await.unwrap();
    let query = GetRun {
        id: "a/strange?id".parse::<Opaque>().unwrap(),
        wait_seconds: 3,
        unless_state: Some(RunState::Running),
    };
    assert_eq!(operator.call(&GET_RUN, &query).await.unwrap().id, query.id);

    let missing = operator.call(&REMOVE_ROUTE, &RemoveRoute { id: 1 }).await.unwrap_err();
    let problem = missing.problem().unwrap();
    assert_eq!((problem.status, problem.code.as_str()), (404, "not_found"));
    assert!(!missing.is_retryable());
}

#[tokio::test]
async fn a_token_needs_the_right_audience_kind_of_key_and_scope() {
    let served = served().await;
    let token = |subject: &str, audience: Daemon, kind, scope: &str| {
        served.authority.token(subject, &[audience], kind, &[scope])
    };
    let good = token("service:webd", Daemon::Routd, Kind::Service, "messages:write");
    peer(&served, &good).call(&POST_MESSAGE, &message()).await.unwrap();

    let stranger = testing::TestAuthority::new(kit::Clock::real()).operator();
    let refused = [
        (String::new(), 401),
        ("not-a-token".into(), 401),
        (token("service:webd", Daemon::Runed, Kind::Service, "messages:write"), 401),
        (token("service:webd", Daemon::Routd, Kind::Service, "messages:read"), 403),
        (stranger, 401),
    ];
    for (token, status) in refused {
        let error = peer(&served, &token).call(&POST_MESSAGE, &message()).await.unwrap_err();
        assert_eq!(error.status(), Some(status), "{error}");
    }
    let bare = kit::http_client().unwrap().get(format!("{}{}", served.serving.url, "/v1/secrets"));
    let answer = bare.send().await.unwrap();
    assert_eq!(answer.status(), 401);
    assert_eq!(answer.headers()["www-authenticate"], "Bearer", "it says what would do");
    // A shared secret opens what names it, and nothing else.
    peer(&served, "the-channel-secret").call(&POST_MESSAGE, &message()).await.unwrap();
    let new = NewGroup {
        folder: "a".parse().unwrap(),
        jid: None,
        harness: None,
        command: vec![],
        model: None,
    };
    let error = peer(&served, "the-channel-secret").call(&ADD_GROUP, &new).await.unwrap_err();
    assert_eq!(error.status(), Some(401));
    let error = peer(&served, "another-secret-of-it").call(&POST_MESSAGE, &message()).await;
    assert_eq!(error.unwrap_err().status(), Some(401));
}

#[tokio::test]
async fn what_does_not_parse_never_reaches_a_handler_and_is_not_quoted() {
    let served = served().await;
    let http = kit::http_client().unwrap();
    let post = async |path: &str, body: &'static str| {
        let request = http.post(format!("{}{path}", served.serving.url));
        let request = request.bearer_auth(served.authority.operator()).body(body);
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    let folder = post("/v1/groups", r#"{"folder":"corp//eng"}"#).await;
    assert_eq!(folder.0, 400);
    assert!(folder.1.contains("write it as `team/name`"), "{}", folder.1);
    let unknown = post("/v1/groups", r#"{"folder":"a","colour":"red"}"#).await;
    assert_eq!(unknown.0, 400, "a person's unknown field is refused: {}", unknown.1);
    assert_eq!(post("/v1/groups", "{").await.0, 400);
    assert_eq!(post("/v1/nothing", "{}").await.0, 404);
    let wrong = post("/v1/messages", r#"{"id":{"s3cr3t-value":1}}"#).await;
    assert_eq!(wrong.0, 400);
    assert!(!wrong.1.contains("s3cr3t-value"), "the answer quotes the request: {}", wrong.1);

    let huge = vec![b'x'; kit::BODY_MAX + 1];
    let request = http.post(format!("{}/v1/groups", served.serving.url)).body(huge);
    let answer = request.bearer_auth(served.authority.operator()).send().await.unwrap();
    assert_eq!(answer.status(), 413);
    let answer = http.put(format!("{}/v1/groups", served.serving.url)).send().await.unwrap();
    assert_eq!(answer.status(), 405);
    let body = answer.text().await.unwrap();
    assert!(body.contains("\"code\":\"method_not_allowed\""), "{body}");
}

#[tokio::test]
async fn the_document_lists_what_is_mounted_and_who_may() {
    let served = served().await;
    let url = format!("{}/openapi.json", served.serving.url);
    let answer = kit::http_client().unwrap().get(url).send().await.unwrap();
    let document: serde_json::Value = answer.json().await.unwrap();
    assert_eq!(document["openapi"], "3.1.0");
    let post = &document["paths"]["/v1/messages"]["post"];
    assert_eq!(post["security"][0]["token"][0], "messages:write");
    let get = &document["paths"]["/v1/runs/{id}"]["get"]["parameters"];
    let places: Vec<_> =
        get.as_array().unwrap().iter().map(|p| (p["name"].as_str(), p["in"].as_str())).collect();
    assert!(places.contains(&(Some("id"), Some("path"))), "{places:?}");
    assert!(places.contains(&(Some("wait_seconds"), Some("query"))), "{places:?}");
    // Every daemon's own are in it too.
    for route in
        [HEALTH.route, READY.route, SECRETS.route, REFRESH_SECRETS.route, FORGET_SECRET.route]
    {
        assert!(document["paths"].get(route.path).is_some(), "{} is not listed", route.path);
    }
}

#[tokio::test]
async fn a_peer_that_is_away_is_told_from_one_that_refuses() {
    testing::install_crypto();
    let http = kit::http_client().unwrap();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", closed.local_addr().unwrap());
    drop(closed);
    let peers = kit::Peers::with_token(http, [(Daemon::Routd, url)].into(), "t");
    let error = peers.get(Daemon::Routd).call(&HEALTH, &Nothing {}).await.unwrap_err();
    assert!(matches!(error, PeerError::Unreachable { peer: "routd", .. }), "{error:?}");
    assert!(error.is_retryable());
}
