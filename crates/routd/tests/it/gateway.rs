//! The model gateway: agents speak to models and hold no key; what they use is counted, and ends at a cap.

mod caps;

use crate::{
    model::{Model, Reply},
    runed::Started,
    stage::{PATIENCE, Stage, eventually},
};
use futures::StreamExt;
use proto::{
    Nothing,
    routd::{
        ADD_RULE, AUDIT, AclEffect, AclRule, AuditQuery, CapLimits, LIST_CAPS, SET_CAP,
        SET_TENANT_SECRET, SetCap, SetTenantSecret, TenantSecret, USAGE, UsageBy, UsagePage,
        UsageQuery, UsageRow,
    },
    turn::SOCKET,
};
use reqwest::{Client, Method, Response};
use serde_json::{Value, json};

const CHAT: &str = "web:atlas~one";
const KEY: &str = "sk-ant-0123456789-instance";
const OPENAI_KEY: &str = "sk-proj-0123456789-instance";

/// An answer of 25 tokens of input, 7 from the cache and 30 into it, and 15 of output.
const EVENTS: &str = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"usage\":\
    {\"input_tokens\":25,\"cache_creation_input_tokens\":30,\"cache_read_input_tokens\":7,\"output_tokens\":1}}}\n\n\
    event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\
    \"text\":\"Hello there, this is what the model says\"}}\n\n\
    event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":\
    {\"output_tokens\":15}}\n\nevent: message_stop\ndata: {\"type\":\"message_stop\"}\n\n";

/// A stage whose models are played by the test.
async fn stage_with(model: &Model, settings: &[(&'static str, &str)]) -> Stage {
    let url = model.serve().await;
    model.accept([KEY, OPENAI_KEY]);
    let mut stage = Stage::unstarted()
        .setting("ANTHROPIC_BASE_URL", &url)
        .setting("OPENAI_BASE_URL", &format!("{url}/v1"));
    for (name, value) in settings {
        stage = stage.setting(name, value);
    }
    stage.source.set_silently([("ANTHROPIC_API_KEY", KEY), ("OPENAI_API_KEY", OPENAI_KEY)]);
    stage.start().await;
    stage.add_group("atlas").await;
    stage
}

/// An agent's own HTTP client, on its turn's socket.
struct Agent(Client);

impl Agent {
    fn on(run: &Started) -> Self {
        let http = Client::builder().unix_socket(run.directory.join(SOCKET)).no_proxy();
        Self(http.timeout(PATIENCE).build().unwrap())
    }

    async fn of(stage: &Stage, nth: usize) -> Self {
        stage.say(CHAT, &format!("m{nth}"), "hello").await;
        Self::on(&stage.runed.nth(nth).await)
    }

    async fn send(&self, method: Method, path: &str, body: &Value) -> Response {
        let url = format!("http://localhost/model/{path}");
        let request = self.0.request(method, url).header("x-api-key", "sk-the-agents-own");
        let request = request.header("authorization", "Bearer the-agents-own");
        request.header("cookie", "a=b").json(body).send().await.unwrap()
    }

    async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let answer = self.send(Method::POST, path, body).await;
        let status = answer.status().as_u16();
        let text = answer.text().await.unwrap();
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    /// Asks Anthropic's model for something.
    async fn ask(&self) -> (u16, Value) {
        self.post("anthropic/v1/messages?beta=true", &hello()).await
    }
}

fn hello() -> Value {
    json!({
        "model": "claude-sonnet-4-5",
        "max_tokens": 100,
        "stream": true,
        "messages": [{ "role": "user", "content": "hello" }],
    })
}

fn message() -> Reply {
    let usage = json!({ "input_tokens": 1_000, "output_tokens": 100 });
    Reply::Json(json!({ "type": "message", "content": [], "usage": usage }))
}

async fn usage(stage: &Stage, query: UsageQuery) -> UsagePage {
    stage.call(&USAGE, &query, &stage.operator()).await.unwrap()
}

async fn by_model(stage: &Stage) -> Vec<UsageRow> {
    usage(stage, UsageQuery { by: Some(UsageBy::Model), ..UsageQuery::default() }).await.rows
}

fn states(stage: &Stage) -> Vec<String> {
    let db = stage.database();
    let mut rows = db.prepare("SELECT state FROM usage ORDER BY seq").unwrap();
    rows.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

async fn cap(stage: &Stage, folder: &str, limits: CapLimits) {
    cap_of(stage, &format!("folder:{folder}"), limits).await;
}

async fn cap_of(stage: &Stage, whose: &str, limits: CapLimits) {
    let cap = SetCap { of: whose.parse().unwrap(), limits };
    stage.call(&SET_CAP, &cap, &stage.operator()).await.unwrap();
}

async fn give(stage: &Stage, owner: &str, name: &str, value: &str) -> TenantSecret {
    let (owner, name) = (owner.parse().unwrap(), name.into());
    let secret = SetTenantSecret { owner, name, value: value.into(), url: None, header: None };
    stage.call(&SET_TENANT_SECRET, &secret, &stage.operator()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_streams_from_both_models_and_holds_no_key() {
    let model = Model::default();
    let stage = stage_with(&model, &[]).await;
    let agent = Agent::of(&stage, 0).await;
    for size in [1, 7, 100_000] {
        model.reply(Reply::Events(EVENTS.into(), size));
        let (status, answer) = agent.ask().await;
        assert_eq!(
            (status, answer.as_str()),
            (200, Some(EVENTS)),
            "byte for byte, in pieces of {size}"
        );
    }
    let asked = model.asked().remove(0);
    assert_eq!((&*asked.place, &*asked.key), ("POST /v1/messages?beta=true", KEY));
    assert_eq!(asked.body, hello().to_string(), "the body is the agent's");
    let seen = format!("{:?}", asked.headers);
    assert!(!seen.contains("agents-own") && !asked.headers.contains_key("cookie"), "{seen}");
    assert_eq!(asked.headers["anthropic-version"], "2023-06-01");

    // Usage is asked for in the agent's place, and the agent sees what it asked for.
    let chunk =
        "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hi\"}}],\"usage\":null}\n\n";
    let count = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":20,\"completion_tokens\":4,\
        \"prompt_tokens_details\":{\"cached_tokens\":8}}}\n\n";
    model.reply(Reply::Events([chunk, count, "data: [DONE]\n\n"].concat(), 3));
    let chat = json!({ "model": "gpt-5", "stream": true, "messages": [{ "role": "user", "content": "hello" }] });
    let (status, answer) = agent.post("openai/v1/chat/completions", &chat).await;
    assert_eq!((status, answer), (200, [chunk, "data: [DONE]\n\n"].concat().into()));
    let asked = model.asked().pop().unwrap();
    assert_eq!((&*asked.place, &*asked.key), ("POST /v1/chat/completions", OPENAI_KEY));
    assert_eq!(asked.json()["stream_options"], json!({ "include_usage": true }));
    let used = json!({ "input_tokens": 9, "output_tokens": 2 });
    model.reply(Reply::Json(json!({ "object": "response", "usage": used })));
    let response = json!({ "model": "llama-3", "input": "hello" });
    assert_eq!(agent.post("openai/v1/responses", &response).await.0, 200);
    assert_eq!(model.asked().pop().unwrap().json()["store"], false, "nothing is kept there");

    let rows = by_model(&stage).await;
    let told: Vec<_> = rows
        .iter()
        .map(|row| {
            (&*row.model, row.requests, row.input_tokens, row.output_tokens, row.micro_dollars)
        })
        .collect();
    // $3, $15, $0.30 and $3.75 for a million: 75 + 225 + 2.1 + 112.5 each, rounded up.
    assert_eq!(
        told,
        [
            ("claude-sonnet-4-5", 3, 75, 45, 3 * 415),
            ("gpt-5", 1, 12, 4, 15 + 40 + 1),
            ("llama-3", 1, 9, 2, 0),
        ]
    );
    assert_eq!((rows[0].cache_read_tokens, rows[0].cache_write_tokens), (21, 90));
    assert_eq!(rows[2].unpriced_requests, 1, "counted, and not priced");
    assert!(states(&stage).iter().all(|state| state == "done"), "{:?}", states(&stage));
    for file in ["routd.db", "routd.db-wal"] {
        let bytes = std::fs::read(stage.dir.path().join("store").join(file)).unwrap_or_default();
        for key in [KEY, OPENAI_KEY] {
            assert!(!bytes.windows(key.len()).any(|piece| piece == key.as_bytes()), "{file}");
        }
    }
    assert!(!stage.context().metrics.text().unwrap().contains("instance\""));
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_rotate_in_the_middle_of_a_turn_and_a_refused_one_is_never_shown() {
    let model = Model::default();
    let stage = stage_with(&model, &[]).await;
    let agent = Agent::of(&stage, 0).await;
    model.reply(message());
    assert_eq!(agent.ask().await.0, 200);
    // Replaced at the model and at the source, and nobody says so: the same request finds it.
    model.accept(["sk-ant-second"]);
    stage.source.set_silently([("ANTHROPIC_API_KEY", "sk-ant-second")]);
    model.reply(message());
    assert_eq!(agent.ask().await.0, 200, "the agent notices nothing");
    assert_eq!(model.keys(), [KEY, KEY, "sk-ant-second"]);
    // Replaced at the source, told, and the model still accepts both: the next request has the new one.
    model.accept(["sk-ant-second", "sk-ant-third"]);
    stage.source.set([("ANTHROPIC_API_KEY", "sk-ant-third")]);
    eventually("the next request under the new key", || async {
        model.reply(message());
        assert_eq!(agent.ask().await.0, 200);
        (model.keys().last().unwrap() == "sk-ant-third").then_some(())
    })
    .await;
    // Refused, whatever is tried: told as what it is.
    model.accept([]);
    let (status, answer) = agent.ask().await;
    assert_eq!((status, &answer["error"]["type"]), (401, &json!("authentication_error")));
    let text = answer.to_string();
    assert!(text.contains("the model refused the key") && !text.contains("sk-ant"), "{text}");
    let degraded = format!("{:?}", stage.context().secrets.degraded());
    assert!(degraded.contains("ANTHROPIC_API_KEY") && !degraded.contains("sk-ant"), "{degraded}");
    assert_eq!(states(&stage).last().unwrap(), "failed", "and it cost nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_two_people_wrote_spends_neither_ones_own_key() {
    let model = Model::default();
    let mut stage = stage_with(&model, &[]).await;
    let agent = Agent::of(&stage, 0).await;
    model.accept([KEY, "sk-person", "sk-other"]);
    give(&stage, "person:visitor:1", "ANTHROPIC_API_KEY", "sk-person").await;
    give(&stage, "person:visitor:2", "ANTHROPIC_API_KEY", "sk-other").await;
    model.reply(message());
    assert_eq!(agent.ask().await.0, 200);
    assert_eq!(model.keys(), ["sk-person"], "who wrote alone");
    // Messages of two people join no turn today. Should they one day, their keys are safe from each other.
    stage.stop().await;
    let another = "INSERT INTO messages (id, chat_jid, outbound, sender, content, verb, thread, topic, folder,
             disposition, turn_id, is_group, sent_at, received_at, rule, origin)
         SELECT 'm1', chat_jid, outbound, 'visitor:2', 'and mine', verb, thread, topic, folder, disposition, turn_id,
             is_group, sent_at, received_at, rule, origin FROM messages WHERE id = 'm0'";
    assert_eq!(stage.database().execute(another, []).unwrap(), 1);
    stage.start().await;
    model.reply(message());
    assert_eq!(agent.ask().await.0, 200);
    assert_eq!(model.keys(), ["sk-person", KEY]);
    assert_eq!(stage.count("SELECT count(*) FROM usage WHERE key_owner LIKE 'person:%'"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_persons_key_goes_before_the_folders_and_that_before_the_instances() {
    let model = Model::default();
    let stage = stage_with(&model, &[]).await;
    let agent = Agent::of(&stage, 0).await;
    let sender: String = stage
        .database()
        .query_row("SELECT sender FROM messages WHERE id = 'm0'", [], |row| row.get(0))
        .unwrap();
    model.accept([KEY, "sk-folder", "oauth-person", "sk-elsewhere", "oauth-person-new"]);
    give(&stage, "folder:other", "ANTHROPIC_API_KEY", "sk-elsewhere").await;
    model.reply(message());
    agent.ask().await;
    give(&stage, "folder:atlas", "ANTHROPIC_API_KEY", "sk-folder").await;
    model.reply(message());
    agent.ask().await;
    give(&stage, &format!("person:{sender}"), "CLAUDE_CODE_OAUTH_TOKEN", "oauth-person").await;
    model.reply(message());
    agent.ask().await;
    assert_eq!(model.keys(), [KEY, "sk-folder", "oauth-person"]);
    let last = model.asked().pop().unwrap();
    assert_eq!(last.headers["authorization"], "Bearer oauth-person");
    assert!(last.headers["anthropic-beta"].to_str().unwrap().starts_with("oauth-"));
    assert!(!last.headers.contains_key("x-api-key"));
    // A person's key that the model refuses is theirs to replace: nobody else's is spent in its place.
    model.accept([KEY, "sk-folder"]);
    let (status, answer) = agent.ask().await;
    assert_eq!(status, 401, "{answer}");
    assert_eq!(model.keys()[3..], ["oauth-person"]);
    let owners: Vec<String> = {
        let db = stage.database();
        let mut rows = db.prepare("SELECT key_owner FROM usage ORDER BY seq").unwrap();
        rows.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    };
    let person = format!("person:{sender}");
    assert_eq!(owners, ["instance", "folder:atlas", &person, &person]);
    let audit = stage.call(&AUDIT, &AuditQuery::default(), &stage.operator()).await.unwrap();
    let uses = audit.rows.iter().filter(|row| row.action == "tenant-secret.use").count();
    assert_eq!(uses, 3, "each use of a folder's or person's key has its row");
    assert!(!format!("{audit:?}").contains("oauth-person"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_persons_key_that_is_replaced_while_it_is_refused_is_found() {
    let model = Model::default();
    let stage = stage_with(&model, &[]).await;
    let agent = Agent::of(&stage, 0).await;
    give(&stage, "folder:atlas", "ANTHROPIC_API_KEY", "sk-old").await;
    // The model refuses the old one; while it does, its owner replaces it.
    model.accept(["sk-new"]);
    let refusal = model.hold_refusal();
    let replaced = async {
        eventually("the first request", || async { (model.keys() == ["sk-old"]).then_some(()) })
            .await;
        give(&stage, "folder:atlas", "ANTHROPIC_API_KEY", "sk-new").await;
        refusal.notify_one();
    };
    model.reply(message());
    let ((status, answer), ()) = tokio::join!(agent.ask(), replaced);
    assert_eq!(status, 200, "{answer}");
    assert_eq!(model.keys(), ["sk-old", "sk-new"], "once, and not under another's key");
    // The same again is not tried twice.
    model.accept([]);
    assert_eq!(agent.ask().await.0, 401);
    assert_eq!(model.keys().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_vendor_would_do_for_an_agent_needs_a_right() {
    let model = Model::default();
    let stage = stage_with(&model, &[]).await;
    let agent = Agent::of(&stage, 0).await;
    let with = |more: Value| {
        let mut body = hello();
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    let search =
        with(json!({ "tools": [{ "type": "web_search_20250305", "name": "web_search" }] }));
    let image = with(json!({ "messages": [{ "role": "user", "content": [
        { "type": "image", "source": { "type": "url", "url": "https://evil.test/?q=secret" } }] }] }));
    let remote = with(
        json!({ "mcp_servers": [{ "type": "url", "url": "https://evil.test", "name": "x" }] }),
    );
    for body in [&search, &image, &remote] {
        for path in ["anthropic/v1/messages", "anthropic/v1/messages/count_tokens"] {
            let (status, answer) = agent.post(path, body).await;
            assert_eq!(
                (status, &answer["error"]["type"]),
                (403, &json!("permission_error")),
                "{answer}"
            );
            assert!(answer["error"]["message"].as_str().unwrap().contains("egress"), "{answer}");
        }
    }
    let tool = json!({ "model": "gpt-5", "input": "x", "tools": [{ "type": "web_search" }] });
    let (status, answer) = agent.post("openai/v1/responses", &tool).await;
    assert_eq!((status, &answer["error"]["code"]), (403, &json!("egress_not_granted")));
    let twice =
        "{\"model\":\"claude-x\",\"tools\":[],\"tools\":[{\"type\":\"web_search_20250305\"}]}";
    let url = "http://localhost/model/anthropic/v1/messages";
    let raw = |body: &'static str| agent.0.post(url).body(body).send();
    assert_eq!(raw(twice).await.unwrap().status(), 400);
    for path in [
        "anthropic/v1/files",
        "anthropic/v1/messages/batches",
        "anthropic/v1/messages%2fbatches",
        "anthropic/v1/../v1/files",
        "openai/v1/files",
        "openai/v1/responses/resp_1",
        "openai/v1/messages",
    ] {
        let (status, answer) = agent.post(path, &hello()).await;
        assert_eq!(status, 404, "{path}: {answer}");
    }
    assert!(model.asked().is_empty(), "nothing of it reached the model");
    assert!(states(&stage).is_empty());

    let right = AclRule {
        principal: "folder:atlas".into(),
        action: "egress".into(),
        scope: "atlas".into(),
        effect: AclEffect::Allow,
    };
    stage.call(&ADD_RULE, &right, &stage.operator()).await.unwrap();
    for body in [&search, &image, &remote] {
        model.reply(message());
        assert_eq!(agent.post("anthropic/v1/messages", body).await.0, 200);
    }
    // What is kept under a key that others spend stays out of reach.
    let stored = with(json!({ "container": "container_of_another_folder" }));
    assert_eq!(agent.post("anthropic/v1/messages", &stored).await.0, 404);
    let kept = json!({ "model": "gpt-5", "input": "x", "previous_response_id": "resp_of_another" });
    assert_eq!(agent.post("openai/v1/responses", &kept).await.0, 404);
    assert_eq!(model.asked().len(), 3);
    model.reply(Reply::Json(json!({ "data": [] })));
    let models = agent.send(Method::GET, "anthropic/v1/models?limit=2&key=x", &json!({})).await;
    assert_eq!(models.status(), 200);
    assert_eq!(model.asked().pop().unwrap().place, "GET /v1/models?limit=2");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_wrong_at_a_model_is_told_without_the_key() {
    let model = Model::default();
    let stage = stage_with(&model, &[("MODEL_TIMEOUT", "500ms")]).await;
    let agent = Agent::of(&stage, 0).await;
    let echo =
        |status, name| Reply::Status(status, (name, format!("x {KEY}")), format!("you sent {KEY}"));
    model.reply(echo(529, "x-request-id"));
    let answer = agent.send(Method::POST, "anthropic/v1/messages", &hello()).await;
    assert_eq!(answer.status(), 529, "passed on, for the client to try again");
    assert_eq!(answer.headers()["x-request-id"], "[secret]");
    assert_eq!(answer.text().await.unwrap(), "you sent [secret]");
    model.reply(Reply::Status(
        307,
        ("location", "http://127.0.0.1:1/stolen".into()),
        String::new(),
    ));
    let (status, answer) = agent.ask().await;
    assert_eq!((status, &answer["error"]["type"]), (502, &json!("api_error")), "{answer}");
    model.reply(Reply::Silent);
    let (status, answer) = agent.ask().await;
    assert_eq!((status, &answer["error"]["type"]), (504, &json!("timeout_error")), "{answer}");
    model.reply(Reply::Held(EVENTS[..40].into()));
    let held = agent.send(Method::POST, "anthropic/v1/messages", &hello()).await;
    assert!(held.bytes().await.is_err(), "it says nothing for too long within its answer");
    let large = json!({ "model": "x", "input": "y".repeat(33 * 1024 * 1024) });
    let (status, answer) = agent.post("openai/v1/responses", &large).await;
    assert_eq!((status, &answer["error"]["code"]), (413, &json!("too_large")));
    assert_eq!(states(&stage), ["failed", "failed", "failed", "cut"]);
    stage.source.remove("OPENAI_API_KEY");

    let mut none = Stage::new().await;
    let agent = Agent::of(&none, 0).await;
    let (status, answer) = agent.ask().await;
    assert_eq!(status, 401);
    let text = answer.to_string();
    assert!(text.contains("ANTHROPIC_API_KEY") && text.contains("no key"), "{text}");
    none.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_whose_turn_has_ended_spends_nothing_more() {
    let model = Model::default();
    let stage = stage_with(&model, &[]).await;
    let agent = Agent::of(&stage, 0).await;
    let turn = crate::agent::Agent::on(&stage.runed.nth(0).await);
    turn.input().await.unwrap();
    turn.result(proto::turn::Outcome::Silent, None).await.unwrap();
    let (status, answer) = agent.ask().await;
    assert_eq!((status, &answer["type"]), (410, &json!("error")), "{answer}");
    let (status, _) = agent.post("anthropic/v1/messages/count_tokens", &hello()).await;
    assert_eq!(status, 410);
    assert!(model.asked().is_empty() && states(&stage).is_empty());
}
