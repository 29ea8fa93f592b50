//! Requests that no client of ours would send, to every daemon and to the edge.

use super::wire::{addresses, host, problem, request, send};
use crate::harness::{Chat, LIMIT, Suite};
use kit::Peer;
use proto::authd::{OPERATOR_TOKEN, OperatorTokenRequest};
use std::{
    io::{Read, Write},
    net::TcpStream,
};

fn address(suite: &Suite, daemon: &str) -> String {
    addresses(suite).into_iter().find(|(name, _)| name == daemon).unwrap().1
}

async fn operator(suite: &Suite) -> String {
    kit::testing::install_crypto();
    let authd = Peer::on_socket("authd", &suite.data().join("run/admin.sock")).unwrap();
    authd.call(&OPERATOR_TOKEN, &OperatorTokenRequest {}).await.unwrap().token
}

#[test]
fn absurd_paths_and_methods_are_refused_by_every_daemon_and_the_edge() {
    let suite = Suite::up();
    let long = format!("GET /{}", "a".repeat(100_000));
    let everybody = addresses(&suite);
    assert!(everybody.len() >= 9, "{everybody:?}");
    for (who, address) in &everybody {
        for line in [
            "GET /%00",
            "GET /..%2f..%2fetc/passwd",
            "GET /../../etc/passwd",
            "GET /health/../v1/secrets",
            "GET //v1/secrets",
            "GET /v1/secrets%2f",
            "GET /%ff%fe",
            "GET /v1/secrets;x=y",
            "GET /.env",
            "BREW /v1/secrets",
            "DELETE /v1/secrets",
            "POST /metrics",
            "TRACE /",
            "CONNECT /",
            "OPTIONS *",
            &long,
        ] {
            let answer = send(address, &request(line, "", b""));
            let shown: String = line.chars().take(60).collect();
            assert!((400..500).contains(&answer.status), "{who}: {shown}: {}", answer.text);
            assert!(!answer.text.contains("generation"), "{who}: {shown}: {}", answer.text);
        }
        // Not HTTP at all.
        for bytes in
            [&b"\x16\x03\x01\x02\x00\x01\x00"[..], b"EHLO there\r\n\r\n", b"\0\0\0\0\r\n\r\n"]
        {
            let answer = send(address, bytes);
            assert!([0, 400].contains(&answer.status), "{who}: {bytes:?}: {}", answer.text);
        }
    }
    assert_eq!(suite.ok(&["ask", "hello"]).trim(), "You said: hello");
}

#[test]
fn a_length_that_can_be_read_in_two_ways_is_refused_by_every_daemon_and_the_edge() {
    let suite = Suite::up();
    let smuggled = "GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n";
    for (who, address) in addresses(&suite) {
        for lines in [
            "content-length: 4\r\ncontent-length: 5\r\n",
            "content-length: +4\r\n",
            "content-length: 4 4\r\n",
            "transfer-encoding: chunked, identity\r\n",
            "transfer-encoding: xchunked\r\n",
        ] {
            let head = format!(
                "POST /v1/secrets/refresh HTTP/1.1\r\nhost: localhost\r\n{lines}\r\n0\r\n\r\n{smuggled}"
            );
            let answer = send(&address, head.as_bytes());
            assert!((400..500).contains(&answer.status), "{who}: {lines}: {}", answer.text);
            assert_eq!(
                answer.text.matches("HTTP/1.1 ").count(),
                1,
                "{who}: {lines}: {}",
                answer.text
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_too_large_no_json_no_text_or_says_too_much() {
    let suite = Suite::up();
    let routd = address(&suite, "routd");
    let token = operator(&suite).await;
    let bearer = format!("authorization: Bearer {token}\r\n");
    let huge = vec![b' '; (1 << 20) + 1];
    let unknown = br#"{"folder":"new","colour":"red"}"#;
    let twice = br#"{"folder":"new","folder":"newer"}"#;
    for (body, status, code) in [
        (&huge[..], 413, "too_large"),
        (b"folder=new", 400, "bad_request"),
        (b"{\"folder\":", 400, "bad_request"),
        (b"[]", 400, "bad_request"),
        (b"{\"folder\":\"\xff\xfe\"}", 400, "bad_request"),
        // What a person writes refuses unknown fields.
        (unknown, 400, "bad_request"),
        (twice, 400, "bad_request"),
        (b"", 400, "bad_request"),
    ] {
        let answer = send(&routd, &request("POST /v1/groups", &bearer, body));
        let shown: String = String::from_utf8_lossy(body).chars().take(40).collect();
        assert_eq!(answer.status, status, "{shown:?}: {}", answer.text);
        assert_eq!(problem(&answer)["code"], code, "{}", answer.text);
        assert!(answer.text.contains("application/problem+json"), "{}", answer.text);
    }
    assert_eq!(suite.json(&["group", "list"])["groups"].as_array().unwrap().len(), 1);
    // Nothing says what it is, and another thing is said: it is read as JSON all the same.
    for lines in ["", "content-type: text/plain\r\n"] {
        let lines = format!("{bearer}{lines}");
        let answer = send(&routd, &request("POST /v1/groups", &lines, br#"{"folder":"new"}"#));
        assert_eq!(answer.status, 200, "{}", answer.text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_somebody_by_a_header_or_by_two_credentials() {
    let suite = Suite::up();
    let token = operator(&suite).await;
    let claims = "x-user-sub: operator:local\r\nx-user-name: root\r\nx-forwarded-for: 127.0.0.1\r\n\
                  forwarded: for=127.0.0.1;by=proxyd\r\nx-forwarded-proto: https\r\n\
                  x-arizuko-edge: guess\r\nx-original-url: /v1/secrets\r\n";
    for (who, address) in addresses(&suite) {
        let answer = send(&address, &request("GET /v1/secrets", claims, b""));
        assert!([401, 404].contains(&answer.status), "{who}: {}", answer.text);
        if who == "edge" {
            continue;
        }
        // A good credential beside a bad one, in either order: which of them counts must not be a matter of luck.
        for lines in [
            format!("authorization: Bearer {token}\r\nauthorization: Bearer guess\r\n"),
            format!("authorization: Bearer guess\r\nauthorization: Bearer {token}\r\n"),
        ] {
            let answer = send(&address, &request("GET /v1/secrets", &lines, b""));
            assert_eq!(answer.status, 400, "{who}: two credentials: {}", answer.text);
        }
        let good = format!("authorization: Bearer {token}\r\n");
        assert_eq!(send(&address, &request("GET /v1/secrets", &good, b"")).status, 200, "{who}");
    }
}

#[test]
fn connections_that_say_nothing_keep_nobody_out() {
    let suite = Suite::up();
    let everybody = addresses(&suite);
    let mut silent = Vec::new();
    for (_, address) in &everybody {
        for n in 0..100 {
            let mut stream = TcpStream::connect(address).unwrap();
            // Half of them begin a request and never end it.
            if n % 2 == 0 {
                stream.write_all(b"POST /v1/messages HTTP/1.1\r\nhost: x\r\ncontent-le").unwrap();
            }
            silent.push(stream);
        }
    }
    for (who, address) in &everybody {
        let answer = send(address, &request("GET /health", "", b""));
        assert_eq!(answer.status, 200, "{who}: {}", answer.text);
    }
    assert_eq!(suite.ok(&["ask", "hello"]).trim(), "You said: hello");
    drop(silent);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_through_the_edge_and_cannot_be_is_refused_and_the_chat_goes_on() {
    let suite = Suite::up();
    let link = suite.json(&["token", "issue", "--kind", "chat", "--folder", "main"]);
    let path = link["path"].as_str().unwrap().trim_end_matches('/').to_owned();
    let edge = host(&suite.edge());
    let post = format!("POST {path}");
    let json = "content-type: application/json\r\n";
    let huge = vec![b'x'; (1 << 20) + 1];
    for (lines, body, status) in [
        (json, &huge[..], 413),
        (json, b"{\"content\":", 400),
        (json, b"{\"content\":\"\xff\"}", 400),
        (json, b"{\"content\":\"\"}", 400),
        (json, b"{\"content\":\"hello\",\"colour\":\"red\"}", 400),
        (json, b"{\"content\":\"hello\",\"topic\":\"a#b\"}", 400),
        ("", b"content", 400),
    ] {
        let answer = send(&edge, &request(&post, lines, body));
        let shown: String = String::from_utf8_lossy(body).chars().take(60).collect();
        assert_eq!(answer.status, status, "{shown:?}: {}", answer.text);
    }
    for link in ["/chat/", "/chat/x", "/hook/x", "/chat/%00", "/chat/..%2fv1"] {
        let answer =
            send(&edge, &request(&format!("POST {link}"), json, b"{\"content\":\"hello\"}"));
        assert!((400..500).contains(&answer.status), "{link}: {}", answer.text);
    }
    // A body that breaks off: what was announced never comes.
    let mut cut = TcpStream::connect(&edge).unwrap();
    cut.set_read_timeout(Some(LIMIT)).unwrap();
    let head = format!(
        "{post} HTTP/1.1\r\nhost: x\r\n{json}content-length: 1000\r\n\r\n{{\"content\":\"half"
    );
    cut.write_all(head.as_bytes()).unwrap();
    cut.shutdown(std::net::Shutdown::Write).unwrap();
    let mut text = String::new();
    // Closed on us, or refused; never taken.
    let _closed = cut.read_to_string(&mut text).is_err();
    assert!(!text.starts_with("HTTP/1.1 2"), "{text}");

    let chat = Chat::open(&format!("{}{path}/", suite.edge()));
    chat.write("hello").await;
    let events = chat.events("0", |event| event.kind == "done").await;
    let said: Vec<&str> = events
        .iter()
        .filter(|event| event.kind == "message")
        .filter_map(|event| event.data["content"].as_str())
        .collect();
    assert_eq!(said, ["hello", "You said: hello"], "something that was refused is there");
}
