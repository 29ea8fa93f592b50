//! Somebody writes who has no route: what they get, from the first line to the agent's answer, with real processes, the
//! edge and the command line between, and with SIGKILL between any two steps.

use crate::harness::{LIMIT, Suite, eventually};
use axum::{Json, Router, extract::State, http::HeaderMap, routing::post};
use kit::testing::{Serving, serve_router};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

/// What was sent to the chats of a platform: each key once, in order.
#[derive(Clone, Default)]
struct Sent(Arc<Mutex<Log>>);

#[derive(Default)]
struct Log {
    by_key: BTreeMap<String, Value>,
    order: Vec<String>,
}

impl Sent {
    fn to(&self, chat: &str) -> Vec<String> {
        let state = self.0.lock().unwrap();
        let all = state.order.iter().map(|key| &state.by_key[key]);
        let of_chat = all.filter(|one| one["chat_jid"] == chat);
        of_chat.map(|one| one["content"].as_str().unwrap().to_owned()).collect()
    }

    /// What a chat got, once it has got so many lines.
    fn lines(&self, chat: &str, count: usize) -> Vec<String> {
        eventually(&format!("{chat} gets {count} lines"), || {
            let got = self.to(chat);
            (got.len() >= count).then_some(got)
        })
    }
}

async fn send(
    State(sent): State<Sent>,
    headers: HeaderMap,
    Json(message): Json<Value>,
) -> Json<Value> {
    let key = headers["idempotency-key"].to_str().unwrap().to_owned();
    let mut state = sent.0.lock().unwrap();
    if state.by_key.insert(key.clone(), message).is_none() {
        state.order.push(key.clone());
    }
    Json(json!({ "ids": [key] }))
}

/// A chat platform with its adapter, and a browser.
struct World {
    sent: Sent,
    _serving: Serving,
    http: reqwest::Client,
    routd: String,
    secret: String,
    edge: String,
    cookie: String,
}

impl World {
    async fn around(suite: &Suite) -> Self {
        let sent = Sent::default();
        let router = Router::new().route("/send", post(send)).with_state(sent.clone());
        let serving = serve_router(router).await;
        let status = suite.json(&["status"]);
        let daemons = status["daemons"].as_array().unwrap();
        let routd = daemons.iter().find(|of| of["daemon"] == "routd").unwrap();
        let routd = routd["address"].as_str().unwrap().to_owned();
        let redirect = reqwest::redirect::Policy::none();
        let http = reqwest::Client::builder()
            .no_proxy()
            .timeout(LIMIT)
            .redirect(redirect)
            .build()
            .unwrap();
        let secret = suite.dotenv("CHANNEL_SECRET");
        let channel = json!({
            "name": "telegram", "url": serving.url, "jid_prefixes": ["telegram:"],
            "capabilities": ["idempotency"],
        });
        let registered = http.post(format!("{routd}/v1/channels/register")).bearer_auth(&secret);
        assert_eq!(registered.json(&channel).send().await.unwrap().status(), 200);
        let edge = suite.edge();
        Self { sent, _serving: serving, http, routd, secret, edge, cookie: String::new() }
    }

    /// Logs the operator in, by the one-time link.
    async fn log_in(&mut self, suite: &Suite) {
        let url = suite.json(&["login"])["url"].as_str().unwrap().to_owned();
        let path = url.split_once("/auth/").unwrap().1;
        let answer = self.http.post(format!("{}/auth/{path}", self.edge)).send().await.unwrap();
        assert_eq!(answer.status(), 303);
        let cookie = answer.headers()["set-cookie"].to_str().unwrap();
        self.cookie = cookie.split(';').next().unwrap().to_owned();
    }

    /// Somebody writes in a chat of their own.
    async fn write(&self, chat: &str, id: &str, text: &str) {
        let message = json!({ "id": id, "chat_jid": chat, "sender": chat, "content": text });
        let posted = self.http.post(format!("{}/v1/messages", self.routd));
        let answer = posted.bearer_auth(&self.secret).json(&message).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{}", answer.text().await.unwrap());
    }

    /// Opens a page, in the browser or as a stranger.
    async fn open(&self, path: &str, cookie: &str) -> (u16, String) {
        let request = self.http.get(format!("{}{path}", self.edge)).header("cookie", cookie);
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    /// Presses the button of a page, as often as it takes while daemons come and go.
    async fn press(&self, path: &str) -> u16 {
        let deadline = std::time::Instant::now() + LIMIT;
        loop {
            let (_, page) = self.open(path, &self.cookie).await;
            let mark = page.split_once("name=\"mark\" value=\"").map(|(_, rest)| rest);
            if let Some((mark, _)) = mark.and_then(|rest| rest.split_once('"')) {
                let request = self
                    .http
                    .post(format!("{}{path}", self.edge))
                    .header("cookie", &self.cookie)
                    .header("origin", &self.edge)
                    .header("content-type", "application/x-www-form-urlencoded");
                let answer = request.body(format!("mark={mark}")).send().await.unwrap();
                if answer.status().as_u16() < 500 {
                    return answer.status().as_u16();
                }
            }
            assert!(std::time::Instant::now() < deadline, "no button at {path}: {page}");
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    }
}

/// The path of the link at the end of a greeting.
fn link_in(line: &str) -> String {
    let (_, token) = line.rsplit_once("/pair/").unwrap_or_else(|| panic!("no link: {line}"));
    format!("/pair/{token}")
}

/// The admission of a chat.
fn admission(suite: &Suite, chat: &str) -> Value {
    let all = suite.json(&["queue", "list", "--all"]);
    let all = all["admissions"].as_array().unwrap();
    all.iter().find(|one| one["chat_jid"] == chat).cloned().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_gets_a_link_logs_in_waits_is_let_in_and_is_answered() {
    kit::testing::install_crypto();
    let (chat, other) = ("telegram:user/7", "telegram:user/8");
    let mut suite = Suite::made();
    suite.start_apart();
    let mut world = World::around(&suite).await;
    // Nothing is said to strangers unless somebody wants that.
    world.write(chat, "m0", "hello?").await;
    suite.kill("onbod");
    suite.set("ONBOARDING_POLICY", "greet");
    suite.restart("onbod");
    world.write(chat, "m1", "hello?").await;
    let greeting = world.sent.lines(chat, 1).remove(0);
    let link = link_in(&greeting);
    // Previews do not spend it, and nobody learns from it whose chat it is.
    for _ in 0..100 {
        let (status, page) = world.open(&link, "").await;
        assert!(status == 401 && !page.contains("user/7"), "{status} {page}");
    }
    world.log_in(&suite).await;
    let (status, page) = world.open(&link, &world.cookie).await;
    assert!(status == 200 && page.contains(chat), "{status} {page}");
    assert_eq!(world.press(&link).await, 303);
    let (_, home) = world.open("/onboard/", &world.cookie).await;
    assert!(home.contains("You are in the queue"), "{home}");
    let listed = suite.json(&["queue", "list"]);
    assert_eq!((&listed["waiting"], &listed["admissions"][0]["position"]), (&json!(1), &json!(1)));
    let id = listed["admissions"][0]["id"].as_str().unwrap().to_owned();
    assert!(suite.ok(&["queue", "list"]).contains(chat));
    suite.ok(&["queue", "approve", &id, "--note", "Welcome."]);
    let said = world.sent.lines(chat, 3);
    assert!(said[1].contains("number 1 in the queue"), "{said:?}");
    assert!(said[2].starts_with("Welcome.") && said[2].contains("You are in"), "{said:?}");
    let folder = admission(&suite, chat)["folder"].as_str().unwrap().to_owned();
    assert!(folder.starts_with("people/p-"), "{folder}");
    // And now there is an agent.
    world.write(chat, "m2", "good morning").await;
    assert_eq!(world.sent.lines(chat, 4)[3], "You said: good morning");
    assert!(suite.ok(&["people"]).contains(&folder));
    let (_, home) = world.open("/onboard/", &world.cookie).await;
    assert!(home.contains("You are in") && home.contains(&folder), "{home}");
    // The link is used, whoever opens it.
    assert_eq!(world.open(&link, "").await.0, 410);
    // Another is refused, hears so once, and nothing after that.
    world.write(other, "m1", "and I?").await;
    world.sent.lines(other, 1);
    let id = admission(&suite, other)["id"].as_str().unwrap().to_owned();
    suite.ok(&["queue", "refuse", &id, "--note", "Not here."]);
    assert!(world.sent.lines(other, 2)[1].starts_with("Not here."));
    world.write(other, "m2", "please").await;
    // One more, whose greeting comes after whatever there was to say to that.
    world.write("telegram:user/9", "m1", "hi").await;
    world.sent.lines("telegram:user/9", 1);
    assert_eq!(world.sent.to(other).len(), 2);
    let (code, line) = suite.fails(&["queue", "approve", "a-nobody"]);
    assert!(code != 0 && line.contains("arizuko queue list"), "{code} {line}");
    let groups = suite.json(&["group", "list"])["groups"].as_array().unwrap().len();
    assert_eq!(groups, 2, "main, and the one that was made");
    let audit = suite.json(&["audit", "--daemon", "onbod"]).to_string();
    for done in ["chat.pair", "newcomer.approve", "newcomer.admit", "newcomer.refuse"] {
        assert!(audit.contains(done), "{done}: {audit}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_killed_between_two_steps_there_is_one_greeting_and_one_route() {
    kit::testing::install_crypto();
    let mut suite = Suite::made();
    suite.set("ONBOARDING_POLICY", "greet").start_apart();
    let mut world = World::around(&suite).await;
    world.log_in(&suite).await;
    // Who dies after the message, after the greeting was asked for, after the button, after the word.
    let rounds = [["onbod", "onbod"], ["routd", "routd"], ["onbod", "routd"], ["routd", "onbod"]];
    for (round, [first, second]) in rounds.into_iter().enumerate() {
        let chat = format!("telegram:user/{round}");
        world.write(&chat, "m1", "hello").await;
        kill(&mut suite, first);
        let link = link_in(&world.sent.lines(&chat, 1)[0]);
        kill(&mut suite, second);
        // The first of all waits for a word; then whoever logs in is known.
        assert_eq!(world.press(&link).await, 303);
        kill(&mut suite, first);
        if round == 0 {
            let id = admission(&suite, &chat)["id"].as_str().unwrap().to_owned();
            suite.ok(&["queue", "approve", &id]);
            kill(&mut suite, second);
        }
        eventually(&format!("{chat} is let in"), || {
            (admission(&suite, &chat)["state"] == "admitted").then_some(())
        });
        eventually("they are told", || {
            world.sent.to(&chat).iter().any(|line| line.contains("You are in: ")).then_some(())
        });
    }
    for round in 0..rounds.len() {
        let got = world.sent.to(&format!("telegram:user/{round}"));
        let of = |text: &str| got.iter().filter(|line| line.contains(text)).count();
        assert_eq!((of("/pair/"), of("You are in: ")), (1, 1), "{got:?}");
        assert_eq!(got.len(), if round == 0 { 3 } else { 2 }, "{got:?}");
    }
    let routes = suite.json(&["route", "list"])["routes"].as_array().unwrap().len();
    assert_eq!(routes, rounds.len());
    let groups = suite.json(&["group", "list"])["groups"].as_array().unwrap().len();
    assert_eq!(groups, 2, "one person, one folder");
    suite.ok(&["audit", "--verify"]);
}

fn kill(suite: &mut Suite, daemon: &'static str) {
    suite.kill(daemon);
    suite.restart(daemon);
}
