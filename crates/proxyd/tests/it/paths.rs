//! Path tricks, as bytes on the wire.

use crate::{limits::raw, rig::Edge};

#[tokio::test]
async fn no_trick_of_writing_a_path_reaches_a_daemon() {
    let edge = Edge::start().await;
    for (target, status) in [
        ("/v1/secrets", 404),
        ("/metrics", 404),
        ("/chat/../v1/secrets", 400),
        ("/chat/%2e%2e/v1/secrets", 400),
        ("/chat/.%2e/%2E./metrics", 400),
        ("/chat/t/..%2fmetrics", 400),
        ("/chat/t/%2e%2e%5cmetrics", 400),
        ("/chat/t\\..\\metrics", 400),
        ("/chat/%252e%252e/metrics", 400),
        ("//chat/t", 400),
        ("/chat//v1/secrets", 400),
        ("/chat/t;/../metrics", 400),
        ("/chat/t%00/metrics", 400),
        ("/chat/t%0d%0ax-user-subject:%20root", 400),
        ("/CHAT/t", 404),
        ("/%63hat/t", 404),
        ("/chat", 404),
        ("/auth", 308),
        ("http://webd/metrics", 404),
        ("http://webd:8086/v1/secrets", 404),
        ("http://webd/chat/../metrics", 400),
    ] {
        let request = format!("GET {target} HTTP/1.1\r\nhost: edge\r\nconnection: close\r\n\r\n");
        let answer = raw(edge.address, &request).await;
        let expected = format!("HTTP/1.1 {status}");
        assert!(answer.starts_with(&expected), "{target}: {answer}");
    }
    assert_eq!(edge.daemons.count(), 0, "{:?}", edge.daemons.seen);
    for method in ["CONNECT edge:80", "TRACE /chat/t", "BREW /chat/t"] {
        let request = format!("{method} HTTP/1.1\r\nhost: edge\r\nconnection: close\r\n\r\n");
        let answer = raw(edge.address, &request).await;
        assert!(answer.starts_with("HTTP/1.1 4"), "{method}: {answer}");
    }
    assert_eq!(edge.daemons.count(), 0);
    let plain =
        "GET http://edge/chat/t/?a=%2e%2e HTTP/1.1\r\nhost: edge\r\nconnection: close\r\n\r\n";
    assert!(raw(edge.address, plain).await.starts_with("HTTP/1.1 200"));
    assert_eq!(edge.daemons.last().0, "/chat/t/?a=%2e%2e", "a query may hold what it likes");
}
