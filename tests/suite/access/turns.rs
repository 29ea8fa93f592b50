//! The socket of a turn's attempt: it is the identity, and an attempt that is over has none.

use super::verb;
use crate::{
    access::audited::{self, Refused},
    harness::{Suite, eventually},
};
use proto::turn;
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// The sockets of turns, by number.
fn sockets(suite: &Suite) -> Vec<PathBuf> {
    let Ok(found) = fs::read_dir(suite.data().join("run/t")) else { return Vec::new() };
    let mut found: Vec<PathBuf> =
        found.map(|entry| entry.unwrap().path().join("s")).filter(|path| path.exists()).collect();
    found.sort();
    found
}

/// After a turn has ended and its run is gone, nobody answers where its socket was.
pub fn the_socket_of_an_ended_turn_is_gone(suite: &Suite) {
    eventually("the sockets of ended turns go", || sockets(suite).is_empty().then_some(()));
}

/// Calls a route on a turn's socket, as its agent would.
async fn call(socket: &Path, route: &proto::Route, body: &Value) -> (u16, Value) {
    let http = reqwest::Client::builder().unix_socket(socket).build().unwrap();
    let path = route.path.replace("{id}", "1");
    let request = http.request(verb(route), format!("http://turn{path}"));
    let request = request.header("accept", "application/json, text/event-stream");
    let answer = request.json(body).send().await.unwrap();
    let status = answer.status().as_u16();
    (status, serde_json::from_str(&answer.text().await.unwrap()).unwrap_or_default())
}

/// One turn each in `main` and `corp`, which wait for a runed that is away; their sockets.
async fn waiting(suite: &mut Suite) -> [PathBuf; 2] {
    suite.ok(&["group", "add", "corp"]);
    let hook = |folder: &str| {
        let link = suite.json(&["token", "issue", "--kind", "hook", "--folder", folder]);
        format!("{}{}", suite.edge(), link["path"].as_str().unwrap())
    };
    let hooks = [hook("main"), hook("corp")];
    suite.kill("runed");
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let mut turns: Vec<PathBuf> = Vec::new();
    for (count, url) in hooks.iter().enumerate() {
        let said = json!({ "content": format!("question {count}") });
        assert_eq!(http.post(url).json(&said).send().await.unwrap().status(), 202);
        let new = eventually("the turn has a socket", || {
            sockets(suite).into_iter().find(|socket| !turns.contains(socket))
        });
        turns.push(new);
    }
    turns.try_into().unwrap()
}

/// A result, as an agent posts it.
fn result(attempt: u32, text: &str) -> Value {
    json!({ "attempt": attempt, "outcome": "replied", "text": text })
}

/// A call of a route of a turn that has ended, in which everything but its own result is planted.
fn planted(route: &proto::Route) -> Value {
    match route.path {
        "/turn/result" => result(1, "planted"),
        "/turn/events" => json!({ "attempt": 1, "events": [{ "status": "planted" }] }),
        "/turn/steer" => json!({ "attempt": 1, "taken": 0 }),
        "/mcp" => json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list" }),
        "/turn/files/wanted" => json!({ "attempt": 1, "after": 0 }),
        "/turn/files/refused" => json!({ "id": 1, "reason": "planted" }),
        // The first two have no body, and the last any.
        "/turn" | "/turn/files/{id}" | "/turn/files/wanted/{id}" => json!({}),
        path => panic!("nobody tries {path} of an ended turn"),
    }
}

/// Two turns wait for a runed that is away, and this test is both agents.
#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_that_is_over_and_one_that_is_anothers_are_refused_and_written_down() {
    ::kit::testing::install_crypto();
    let mut suite = Suite::made();
    suite.set("LOG_FORMAT", "json");
    suite.start_apart();
    let turns = waiting(&mut suite).await;
    let (status, mine) = call(&turns[0], &turn::GET_TURN.route, &json!({})).await;
    assert_eq!((status, mine["folder"].as_str().unwrap()), (200, "main"), "{mine}");
    let (status, theirs) = call(&turns[1], &turn::GET_TURN.route, &json!({})).await;
    assert_eq!((status, theirs["folder"].as_str().unwrap()), (200, "corp"), "{theirs}");

    let mut wanted = BTreeSet::new();
    let mut expect = |turn: &Value, route: &proto::Route, status: u16, reason: &str| {
        wanted.insert(Refused {
            daemon: "routd".into(),
            subject: format!("turn:{}#1", turn["turn_id"].as_str().unwrap()),
            route: format!("{} {}", route.method.name(), route.path),
            status,
            reason: reason.into(),
            from: format!("user-{}", rustix::process::geteuid().as_raw()),
        });
    };
    // An attempt that is not this socket's.
    let events = json!({ "attempt": 2, "events": [{ "status": "planted" }] });
    for (route, body) in
        [(&turn::POST_RESULT.route, result(2, "planted")), (&turn::POST_EVENTS.route, events)]
    {
        let (status, problem) = call(&turns[0], route, &body).await;
        assert_eq!((status, &problem["code"]), (409, &json!("conflict")), "{problem}");
        expect(&mine, route, 409, "conflict");
    }
    // The turn ends; whoever still has its socket may repeat the result, and nothing else.
    let (status, accepted) = call(&turns[0], &turn::POST_RESULT.route, &result(1, "done")).await;
    assert_eq!((status, &accepted["duplicate"]), (200, &json!(false)), "{accepted}");
    for route in turn::ROUTES {
        let (status, said) = call(&turns[0], route, &planted(route)).await;
        if route.path == "/turn/result" {
            assert_eq!((status, &said["duplicate"]), (200, &json!(true)), "{said}");
            continue;
        }
        assert_eq!((status, &said["code"]), (410, &json!("gone")), "{}: {said}", route.path);
        expect(&mine, route, 410, "gone");
    }
    // The other turn goes on, and ends by its own socket alone.
    let (status, said) =
        call(&turns[1], &turn::POST_RESULT.route, &result(1, "their answer")).await;
    assert_eq!(status, 200, "{said}");

    suite.restart("runed");
    audited::all(&suite, &["routd.log"], &wanted);
    let db = db::rusqlite::Connection::open_with_flags(
        suite.data().join("store/routd.db"),
        db::rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY,
    );
    let planted = "SELECT (SELECT count(*) FROM messages WHERE content LIKE '%planted%')
        + (SELECT count(*) FROM feed WHERE text LIKE '%planted%')";
    let planted: i64 = db.unwrap().query_row(planted, [], |row| row.get(0)).unwrap();
    assert_eq!(planted, 0, "what was refused is nowhere");
}
