//! The main job: a message goes in, an agent's reply comes out.

use crate::harness::{Chat, Suite, eventually, reply_of};
use serde_json::{Value, json};

#[test]
fn a_fresh_machine_answers_a_question() {
    let suite = Suite::up();
    assert_eq!(suite.ok(&["ask", "hello"]).trim(), reply_of("hello"));
    suite.ok(&["ask", "remember the kettle is blue"]);
    assert!(suite.ok(&["ask", "what do you remember"]).contains("the kettle is blue"));

    // Another folder is another tenant: it exists only when it is added, and remembers nothing.
    let (code, line) = suite.fails(&["ask", "--folder", "team/b", "hello"]);
    assert_eq!(code, 65, "{line}");
    assert!(line.contains("arizuko group add team/b"), "{line}");
    suite.ok(&["group", "add", "team/b"]);
    suite.ok(&["group", "add", "team/b"]);
    assert!(!suite.ok(&["ask", "--folder", "team/b", "what do you remember"]).contains("kettle"));

    // Making it again changes nothing.
    let before = std::fs::read(suite.data().join(".env")).unwrap();
    suite.ok(&["create", "test"]);
    assert_eq!(std::fs::read(suite.data().join(".env")).unwrap(), before);
}

#[test]
fn stopping_is_clean_and_starting_again_goes_on() {
    let mut suite = Suite::up();
    suite.ok(&["ask", "remember one"]);
    let up = suite.process("up");
    assert_eq!(up.stop(), Some(0), "{}", up.log_text());
    assert!(!suite.data().join("run/addresses.json").exists(), "a stopped instance has no address");
    let (code, line) = suite.fails(&["ask", "anybody?"]);
    assert_eq!(code, 69, "{line}");
    assert!(line.contains("arizuko up"), "the line must say what to do next: {line}");
    suite.start_up();
    assert!(suite.ok(&["ask", "what do you remember"]).contains("one"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_writes_in_the_web_chat_and_a_program_posts_to_a_webhook() {
    let suite = Suite::up();
    let link = suite.json(&["token", "issue", "--kind", "chat", "--folder", "main"]);
    let chat = Chat::open(link["url"].as_str().unwrap());
    let page = chat.page().await;
    assert_eq!(page.status(), 200);
    assert!(
        page.headers()["content-security-policy"].to_str().unwrap().contains("script-src 'self'")
    );
    assert_eq!(page.headers()["referrer-policy"], "no-referrer");

    let id = chat.write("hello from a browser").await;
    let events = chat.events("0", |event| event.kind == "done").await;
    let said = |event: &&crate::harness::Event| {
        event.data.to_string().contains("You said: hello from a browser")
    };
    assert_eq!(events.iter().filter(said).count(), 1, "{events:?}");
    // A stream that breaks goes on where it was: nothing again, nothing left out.
    let last = &events.last().unwrap().id;
    chat.write("and again").await;
    let more = chat.events(last, |event| event.kind == "done").await;
    assert!(
        more.iter().all(|event| !event.data.to_string().contains("hello from a browser")),
        "{more:?}"
    );
    assert!(more.iter().any(|event| event.data.to_string().contains("You said: and again")));
    let trace = suite.json(&["trace", &id]);
    assert!(trace["steps"].as_array().unwrap().len() >= 3, "{trace}");

    let hook =
        suite.json(&["token", "issue", "--kind", "hook", "--folder", "main", "--source", "ci"]);
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = hook["url"].as_str().unwrap().trim_end_matches('/').to_owned();
    let post = async |key: &str| {
        let request = http
            .post(&url)
            .header("idempotency-key", key)
            .json(&json!({"content": "build 7 failed"}));
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 202);
        answer.json::<Value>().await.unwrap()["id"].as_str().unwrap().to_owned()
    };
    let (first, again) = (post("build-7").await, post("build-7").await);
    assert_eq!(first, again, "the same key is the same message");
    let answer = http.get(format!("{url}/{first}?wait=30")).send().await.unwrap();
    let answer: Value = answer.json().await.unwrap();
    assert_eq!(answer["state"], "answered", "{answer}");
    assert_eq!(answer["replies"].as_array().unwrap().len(), 1, "{answer}");

    // A link that was revoked opens nothing, and one nobody made never did.
    suite.ok(&["token", "revoke", link["id"].as_str().unwrap()]);
    let gone = suite.edge();
    eventually("the revoked link opens nothing", || {
        let status = std::process::Command::new("curl")
            .args(["-s", "-o", "/dev/null", "-w", "%{http_code}", link["url"].as_str().unwrap()])
            .output()
            .unwrap();
        (status.stdout == b"404").then_some(())
    });
    let never = http.get(format!("{gone}/chat/{}/", "x".repeat(43))).send().await.unwrap();
    assert_eq!(never.status(), 404);
    // What is a daemon's own is not the public's.
    for path in [
        "/v1/secrets",
        "/metrics",
        "/ready",
        "/v1/messages",
        "/openapi.json",
        "/chat/../v1/secrets",
    ] {
        let answer = http.get(format!("{gone}{path}")).send().await.unwrap();
        assert!(
            answer.status() == 404 || answer.status() == 400,
            "{path} answers {}",
            answer.status()
        );
    }
}

#[test]
fn an_operator_sees_and_changes_where_messages_go() {
    let suite = Suite::up();
    suite.ok(&["group", "add", "ops", "--jid", "telegram:group/-100"]);
    let why = suite.json(&["route", "explain", "telegram:group/-100"]);
    assert_eq!(
        (why["folder"].as_str(), why["effect"].as_str()),
        (Some("ops"), Some("turn")),
        "{why}"
    );
    let row = suite.json(&[
        "route",
        "add",
        "--match",
        "platform=slack verb=mention",
        "--target",
        "ops#observe",
        "--seq",
        "-5",
    ]);
    let why = suite.json(&["route", "explain", "slack:T1/channel/C1", "--verb", "mention"]);
    assert_eq!(why["effect"], "observe", "{why}");
    suite.ok(&["route", "rm", &row["id"].to_string()]);
    suite.ok(&["route", "rm", &row["id"].to_string()]);
    let why = suite.json(&["route", "explain", "slack:T1/channel/C1", "--verb", "mention"]);
    assert_eq!(why["effect"], "unrouted", "{why}");
    let (code, line) = suite.fails(&["route", "add", "--match", "colour=red", "--target", "ops"]);
    assert_eq!(code, 65, "a predicate that means nothing is refused: {line}");
    let (code, _) = suite.fails(&["group", "add", "../x"]);
    assert_eq!(code, 64);

    let audit = suite.json(&["audit", "--limit", "500"]).to_string();
    for done in ["group.add", "route.add", "operator:local"] {
        assert!(audit.contains(done), "`{done}` is not in the audit: {audit}");
    }
    for (daemon, code) in [("routd", 0), ("proxyd", 0)] {
        assert_eq!(suite.run(&["health", daemon]).status.code(), Some(code));
    }
    let status = suite.json(&["status"])["daemons"].clone();
    for daemon in ["authd", "routd", "runed", "timed", "onbod", "webd", "teled", "slakd", "proxyd"]
    {
        let own = status.as_array().unwrap().iter().find(|one| one["daemon"] == daemon);
        assert_eq!(own.unwrap()["ready"], true, "{daemon}");
    }
}
