//! Links that carry their own right: unknown, ended, of the other kind, and another folder's.

use super::{FROM, client, refused, verb};
use crate::{access::audited::Refused, harness::Suite};
use proto::{Method, Needs, Route, authd};
use serde_json::{Value, json};
use std::collections::BTreeSet;

fn issued(suite: &Suite, kind: &str, folder: &str) -> (String, String) {
    let link = suite.json(&["token", "issue", "--kind", kind, "--folder", folder]);
    let url = link["url"].as_str().unwrap().trim_end_matches('/');
    let token = url.rsplit_once('/').unwrap().1.to_owned();
    (token, link["id"].as_str().unwrap().to_owned())
}

/// Tries every public path that carries a right, at the edge; how often.
pub async fn tried(
    suite: &Suite,
    wanted: &mut BTreeSet<Refused>,
    used: &mut BTreeSet<String>,
) -> usize {
    suite.ok(&["group", "add", "corp"]);
    let (chat, _) = issued(suite, "chat", "main");
    let (hook, _) = issued(suite, "hook", "main");
    let (other, _) = issued(suite, "hook", "corp");
    let (ended, id) = issued(suite, "chat", "main");
    suite.ok(&["token", "revoke", &id]);
    let unknown = "unknown-unknown-unknown-unknown-unknown-unk".to_owned();
    let edge = suite.edge();
    let http = client(FROM);
    // A message of another folder's, whose outcome is to be asked for with a link of this one's.
    let post = http.post(format!("{edge}/hook/{other}")).header("idempotency-key", "theirs");
    let answer = post.json(&json!({ "content": "hello" })).send().await.unwrap();
    assert_eq!(answer.status(), 202);
    let theirs: Value = answer.json().await.unwrap();
    let theirs = theirs["id"].as_str().unwrap().to_owned();

    let is_right = |route: &&Route| route.path.contains("{token}") || route.path.contains("{code}");
    let mut tries = 0;
    for route in webd::ROUTES.iter().chain(authd::ROUTES).filter(is_right) {
        assert_eq!(route.needs, Needs::Nobody);
        let owner = if route.path.starts_with("/auth/") { "authd" } else { "webd" };
        let mut tokens = vec![&unknown, &ended];
        match route.path {
            // Says only where the page would be, to whoever asks.
            "/chat/{token}" if route.method == Method::Get => continue,
            "/hook/{token}/{id}" => tokens.extend([&chat, &hook]),
            path if path.starts_with("/hook/") => tokens.push(&chat),
            path if path.starts_with("/chat/") => tokens.push(&hook),
            _ => tokens.extend([&chat, &hook]),
        }
        for token in tokens {
            let path = route.path.replace("{token}", token).replace("{code}", token);
            let path = path.replace("{id}", &theirs);
            let request = http.request(verb(route), format!("{edge}{path}"));
            let request = request.header("sec-fetch-site", "same-origin");
            let answer = request.json(&json!({ "content": "planted" })).send().await.unwrap();
            let place = format!("{owner} {} {}", route.method.name(), route.path);
            if owner == "authd" {
                // A page, for a person.
                assert_eq!(answer.status(), 404, "{place}");
            } else {
                refused(answer, 404, &place).await;
            }
            tries += 1;
            used.insert(token.clone());
            wanted.insert(Refused {
                daemon: owner.to_owned(),
                subject: "anonymous".into(),
                route: format!("{} {}", route.method.name(), route.path),
                status: 404,
                reason: "not_found".into(),
                from: FROM.to_owned(),
            });
        }
    }
    // With the right link it is there: nothing but the link was wrong.
    let outcome = http.get(format!("{edge}/hook/{other}/{theirs}")).send().await.unwrap();
    assert_eq!(outcome.status(), 200);
    assert!(tries > 20, "{tries}");
    tries
}

/// No folder, route or link came or went, and nobody said anything, but by `tried` itself.
pub fn nothing_was_done(suite: &Suite) {
    let groups = suite.json(&["group", "list"]);
    let names: Vec<&str> = groups["groups"]
        .as_array()
        .unwrap()
        .iter()
        .map(|g| g["folder"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["corp", "main"]);
    // The one that was revoked is not listed.
    assert_eq!(suite.json(&["token", "list"])["links"].as_array().unwrap().len(), 3);
    let rows = suite.json(&["audit", "--limit", "100000"]);
    let done = rows.as_array().unwrap().iter().map(|row| row["action"].as_str().unwrap());
    for action in done {
        let expected =
            ["group.add", "token.issue", "token.revoke", "token.operator", "message.send"]
                .contains(&action)
                || ["request.", "secret.", "key.", "wrap.", "run.", "tokens.", "route."]
                    .iter()
                    .any(|kind| action.starts_with(kind));
        assert!(expected, "somebody did {action}");
    }
    let db = db::rusqlite::Connection::open_with_flags(
        suite.data().join("store/routd.db"),
        db::rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY,
    );
    let planted = "SELECT count(*) FROM messages WHERE content LIKE '%planted%'";
    let planted: i64 = db.unwrap().query_row(planted, [], |row| row.get(0)).unwrap();
    assert_eq!(planted, 0, "a refused message is in the conversation");
}
