//! What one client may take.

use crate::rig::{Edge, client, until};
use proto::Problem;
use std::{net::SocketAddr, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// Sends `text` as it is, and reads until the edge closes or ten seconds have passed.
pub async fn raw(address: SocketAddr, text: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(text.as_bytes()).await.unwrap();
    read_to_end(&mut stream).await
}

async fn read_to_end(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut answer));
    // A reset after the answer is as good as a close.
    read.await.expect("the edge closes the connection").ok();
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_however_it_is_announced() {
    let edge = Edge::with(|rig| rig.setting("PROXYD_MAX_BODY", "1000")).await;
    let fits = client().post(edge.at("/hook/token")).body(vec![b'a'; 1000]).send().await.unwrap();
    assert_eq!(fits.status(), 200);
    assert_eq!(edge.daemons.last().2, 1000);
    let announced =
        client().post(edge.at("/hook/token")).body(vec![b'a'; 1001]).send().await.unwrap();
    assert_eq!(announced.status(), 413);
    assert_eq!(announced.json::<Problem>().await.unwrap().code, "too_large");
    let chunk = format!("1f4\r\n{}\r\n", "a".repeat(500));
    let request = format!(
        "POST /hook/token HTTP/1.1\r\nhost: x\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n{chunk}{chunk}{chunk}0\r\n\r\n"
    );
    let chunked = raw(edge.address, &request).await;
    assert!(chunked.starts_with("HTTP/1.1 413"), "{chunked}");
    assert_eq!(edge.daemons.count(), 1, "no daemon took a part for the whole");
}

#[tokio::test]
async fn a_request_whose_length_can_be_read_in_two_ways_goes_nowhere() {
    let edge = Edge::start().await;
    for head in [
        "content-length: 5\r\ncontent-length: 6",
        "content-length: +5",
        "transfer-encoding: xchunked",
        "transfer-encoding : chunked",
    ] {
        let request = format!(
            "POST /hook/token HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{head}\r\n\r\n0\r\n\r\nGET /auth/ HTTP/1.1\r\nhost: x\r\n\r\n"
        );
        let answer = raw(edge.address, &request).await;
        assert!(answer.starts_with("HTTP/1.1 4"), "{head}: {answer}");
        assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{head}: no second request in it");
    }
    assert_eq!(edge.daemons.count(), 0);
    // With both, the length does not count (RFC 9112, section 6.3), and the daemon never sees it.
    let both = "POST /hook/token HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 44\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\nGET /auth/ HTTP/1.1\r\nhost: x\r\n\r\n";
    let answer = raw(edge.address, both).await;
    assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{answer}");
    assert_eq!(edge.daemons.count(), 1);
    let (_, headers, size) = edge.daemons.last();
    assert_eq!((size, headers.get("content-length")), (0, None));
}

#[tokio::test]
async fn who_sends_too_slowly_is_cut_off() {
    let edge = Edge::with(|rig| {
        rig.setting("PROXYD_BODY_TIMEOUT", "200ms").setting("PROXYD_HEADER_TIMEOUT", "200ms")
    })
    .await;
    let body = "POST /hook/token HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\nabc";
    let answer = raw(edge.address, body).await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    let head = raw(edge.address, "GET /health HTTP/1.1\r\nhost: x\r\nx-slow: ").await;
    assert!(!head.contains("200 OK"), "{head}");
    let idle = raw(edge.address, "").await;
    assert_eq!(idle, "", "a connection without a request is closed too");
    let kept = raw(edge.address, "GET /health HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert!(kept.starts_with("HTTP/1.1 200"), "and so is one that is kept open: {kept}");
    assert_eq!(edge.daemons.count(), 0, "no daemon saw half a request as a whole");
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused() {
    let edge = Edge::start().await;
    let request =
        format!("GET /health HTTP/1.1\r\nhost: x\r\nx-long: {}\r\n\r\n", "a".repeat(100_000));
    let answer = raw(edge.address, &request).await;
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
}

#[tokio::test]
async fn each_real_client_has_a_rate_of_its_own() {
    let edge = Edge::with(|rig| {
        rig.setting("TRUSTED_PROXIES", "127.0.0.1")
            .setting("PROXYD_RATE", "1")
            .setting("PROXYD_BURST", "3")
    })
    .await;
    let ask = async |forwarded: &str| {
        client().get(edge.at("/hook/t")).header("x-forwarded-for", forwarded).send().await.unwrap()
    };
    // On a slow machine a second passes between two requests, and one more is allowed: so until one is refused.
    let refused = async |forwarded: &dyn Fn(u32) -> String| {
        for n in 1..100 {
            let answer = ask(&forwarded(n)).await;
            if answer.status() == 429 {
                return (n, answer);
            }
            assert_eq!(answer.status(), 200);
        }
        panic!("a hundred requests, and none was refused");
    };
    let (nth, answer) = refused(&|n| format!("2001:db8:0:1::{n}")).await;
    assert!(nth > 3, "the same /64 is the same client, and has its burst: {nth}");
    assert_eq!(answer.headers()["retry-after"], "1");
    assert_eq!(answer.json::<Problem>().await.unwrap().code, "rate_limited");
    // The left part is anybody's: where it were believed, each of these would be another client.
    refused(&|n| format!("198.51.100.{n}, 2001:db8:0:1::1")).await;
    assert_eq!(ask("2001:db8:0:2::1").await.status(), 200, "others are not concerned");
    assert_eq!(edge.daemons.last().1["x-forwarded-for"], "2001:db8:0:2::1");
}

#[tokio::test]
async fn without_trusted_proxies_a_client_cannot_be_many() {
    let edge = Edge::with(|rig| rig.setting("PROXYD_RATE", "1").setting("PROXYD_BURST", "2")).await;
    let mut statuses = Vec::new();
    for n in 0..4 {
        let forged = format!("198.51.100.{n}");
        let request = client().get(edge.at("/hook/t")).header("x-forwarded-for", forged);
        statuses.push(request.send().await.unwrap().status().as_u16());
    }
    assert_eq!(statuses[..2], [200, 200]);
    assert!(statuses[2..].contains(&429), "{statuses:?}");
}

#[tokio::test]
async fn who_guesses_links_is_held_back_and_the_daemon_is_not_asked() {
    let edge = Edge::with(|rig| rig.setting("PROXYD_GUESSES", "3")).await;
    for _ in 0..4 {
        assert_eq!(edge.get("/chat/guess/missing").await.status(), 404);
    }
    let asked = edge.daemons.count();
    let held = edge.get("/chat/token/").await;
    assert_eq!(held.status(), 429);
    let wait: u64 = held.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=20).contains(&wait), "{wait}");
    assert_eq!(edge.get("/hook/token").await.status(), 429, "both kinds of links");
    assert_eq!(edge.daemons.count(), asked, "nothing was tried meanwhile");
    assert_eq!(edge.get("/auth/").await.status(), 200, "what is no link is not held back");
}

#[tokio::test]
async fn connections_have_a_limit_for_each_client_and_are_given_back() {
    let edge = Edge::with(|rig| rig.setting("PROXYD_MAX_CONNECTIONS_PER_CLIENT", "2")).await;
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut stream = TcpStream::connect(edge.address).await.unwrap();
        stream.write_all(b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        let mut first = [0; 12];
        stream.read_exact(&mut first).await.unwrap();
        assert_eq!(&first, b"HTTP/1.1 200");
        held.push(stream);
    }
    assert_eq!(raw(edge.address, "GET /health HTTP/1.1\r\n\r\n").await, "", "one too many");
    held.pop();
    until(async || client().get(edge.at("/health")).send().await.is_ok()).await;
}
