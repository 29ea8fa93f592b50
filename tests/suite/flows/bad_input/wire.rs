//! HTTP by hand, for what no client would send.

use crate::harness::{LIMIT, Suite};
use serde_json::Value;
use std::{
    io::{Read, Write},
    net::{TcpStream, ToSocketAddrs},
};

/// An answer.
pub struct Answer {
    pub status: u16,
    pub text: String,
}

/// The host and port of an address such as `http://127.0.0.1:8080`.
pub fn host(url: &str) -> String {
    url.trim_start_matches("http://").trim_end_matches('/').to_owned()
}

/// Where each daemon answers, and the edge.
pub fn addresses(suite: &Suite) -> Vec<(String, String)> {
    let status = suite.json(&["status"]);
    let of = |daemon: &Value| {
        let text = |name: &str| daemon[name].as_str().unwrap().to_owned();
        (text("daemon"), host(&text("address")))
    };
    let mut all: Vec<_> = status["daemons"].as_array().unwrap().iter().map(of).collect();
    all.push(("edge".into(), host(&suite.edge())));
    all
}

/// Sends `bytes` and reads until the other side closes.
pub fn send(address: &str, bytes: &[u8]) -> Answer {
    let address = address.to_socket_addrs().unwrap().next().unwrap();
    let mut stream = TcpStream::connect_timeout(&address, LIMIT).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    stream.set_write_timeout(Some(LIMIT)).unwrap();
    // It may be refused before it is read whole.
    let _cut = stream.write_all(bytes).is_err();
    let (mut answer, mut block) = (Vec::new(), [0; 4096]);
    loop {
        match stream.read(&mut block) {
            Ok(0) => break,
            Ok(read) => answer.extend_from_slice(&block[..read]),
            // Closed with something of ours unread; what was answered is there.
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => break,
            Err(error) => panic!("no end of the answer ({error}): {}", lossy(&answer)),
        }
    }
    let text = lossy(&answer);
    let status = text.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or_default();
    Answer { status, text }
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A request that closes its connection; `lines` are more headers, each ending in a line's end.
pub fn request(line: &str, lines: &str, body: &[u8]) -> Vec<u8> {
    let length =
        if body.is_empty() { String::new() } else { format!("content-length: {}\r\n", body.len()) };
    let mut all =
        format!("{line} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{length}{lines}\r\n")
            .into_bytes();
    all.extend_from_slice(body);
    all
}

/// The problem that is the body of an answer.
pub fn problem(answer: &Answer) -> Value {
    let body = answer.text.split_once("\r\n\r\n").map(|(_, body)| body).unwrap_or_default();
    let start = body.find('{').unwrap_or_default();
    let end = body.rfind('}').map_or(body.len(), |end| end + 1);
    serde_json::from_str(&body[start..end]).unwrap_or(Value::Null)
}
