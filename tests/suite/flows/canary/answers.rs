//! Everything that the daemons answer: each endpoint of each, asked by everybody.

use crate::harness::{LIMIT, Suite};
use serde_json::Value;
use std::{
    io::{self, Read, Write},
    net::TcpStream,
    os::unix::net::UnixStream,
    path::Path,
    sync::Mutex,
    thread,
    time::Duration,
};

/// How many are asked at once: a refused credential is answered slowly.
const AT_ONCE: usize = 24;

/// How long more of an answer is waited for. A stream has said by then what it says at once.
const PATIENCE: Duration = Duration::from_secs(3);

/// What was asked, and all bytes that came back, head and body.
pub(super) type Answer = (String, Vec<u8>);

/// One request, as it is written; the answer, as it came.
pub(super) fn exchange(
    mut stream: impl Read + Write,
    head: &str,
    body: &str,
) -> io::Result<Vec<u8>> {
    let request = format!(
        "{head}\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes())?;
    let (mut answer, mut piece) = (Vec::new(), [0; 8192]);
    // It ends with the connection, or when nothing more comes.
    while let Ok(read @ 1..) = stream.read(&mut piece) {
        answer.extend_from_slice(&piece[..read]);
    }
    Ok(answer)
}

pub(super) fn tcp(address: &str) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address.trim_start_matches("http://"))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

pub(super) fn unix(socket: &Path) -> io::Result<UnixStream> {
    let stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(LIMIT))?;
    Ok(stream)
}

/// The JSON of an answer's body.
pub(super) fn json(answer: &[u8]) -> Value {
    let text = String::from_utf8_lossy(answer);
    let body = text.split_once("\r\n\r\n").map(|(_, body)| body).unwrap_or_default();
    serde_json::from_str(body).unwrap_or_default()
}

/// The operator's token, from the admin socket.
pub(super) fn operator(suite: &Suite) -> String {
    let route = proto::authd::OPERATOR_TOKEN.route;
    let head = format!("POST {} HTTP/1.1\r\ncontent-type: application/json", route.path);
    let socket = unix(&suite.data().join("run/admin.sock")).unwrap();
    json(&exchange(socket, &head, "{}").unwrap())["token"]
        .as_str()
        .unwrap_or_else(|| panic!("no token"))
        .to_owned()
}

/// Where each daemon's own endpoints are.
pub(super) fn addresses(suite: &Suite) -> Vec<(String, String)> {
    let status = suite.json(&["status"]);
    let text = |of: &Value, field: &str| of[field].as_str().unwrap().to_owned();
    let all = status["daemons"].as_array().unwrap().iter();
    all.map(|of| (text(of, "daemon"), text(of, "address"))).collect()
}

/// Asks each endpoint of each daemon: as nobody, with each of `credentials` in each place where one may stand,
/// and as the operator, with a body and with what is no body. Then the edge.
pub(super) fn of_everything(suite: &Suite, credentials: &[&str], links: &[String]) -> Vec<Answer> {
    let token = operator(suite);
    let mut asked: Vec<(String, String, String)> = Vec::new();
    for (daemon, address) in addresses(suite) {
        let described = exchange(tcp(&address).unwrap(), "GET /openapi.json HTTP/1.1", "");
        let described = json(&described.unwrap());
        let paths = described["paths"].as_object().unwrap_or_else(|| panic!("{daemon} has none"));
        let mut endpoints: Vec<(String, String)> = Vec::new();
        for (path, methods) in paths {
            for method in methods.as_object().unwrap().keys() {
                endpoints.push((method.to_uppercase(), filled(path)));
            }
        }
        assert!(endpoints.len() >= 4, "{daemon} describes {} endpoints", endpoints.len());
        for path in ["/metrics", "/ready", "/openapi.json", "/no-such-path", "/v1/%zz"] {
            endpoints.push(("GET".into(), path.into()));
        }
        for (method, path) in endpoints {
            let head = format!("{method} {path} HTTP/1.1\r\ncontent-type: application/json");
            let mut ask = |more: &str, body: &str| {
                asked.push((address.clone(), format!("{head}{more}"), body.to_owned()));
            };
            ask("", "{}");
            let operator = format!("\r\nauthorization: Bearer {token}");
            ask(&operator, "{}");
            ask(&operator, "{\"name\":");
            for credential in credentials {
                ask(&format!("\r\nauthorization: Bearer {credential}"), "{}");
            }
            let first = credentials[0];
            ask(
                &format!(
                    "\r\nauthorization: Basic {first}\r\ncookie: arizuko_session={first}\r\nx-arizuko-edge: {first}"
                ),
                "{}",
            );
        }
    }
    let edge = suite.edge();
    for path in
        ["/", "/auth/", "/auth/login/x", "/assets/x", "/v1/secrets", "/chat/x/", "/hook/x", "//"]
    {
        for method in ["GET", "POST"] {
            let first = credentials[0];
            let head = format!(
                "{method} {path} HTTP/1.1\r\nauthorization: Bearer {first}\r\nx-arizuko-edge: {first}"
            );
            asked.push((edge.clone(), head, String::new()));
        }
    }
    for link in links {
        for more in ["", "/events", "/no"] {
            let link = link.trim_end_matches('/');
            asked.push((edge.clone(), format!("GET {link}{more} HTTP/1.1"), String::new()));
        }
    }
    all(&asked)
}

/// Asks all of it, some at a time.
fn all(asked: &[(String, String, String)]) -> Vec<Answer> {
    let (left, answers) = (Mutex::new(asked.iter()), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let next = left.lock().unwrap().next();
                    let Some((address, head, body)) = next else { return };
                    let answer = exchange(tcp(address).unwrap(), head, body).unwrap();
                    let what = head.lines().next().unwrap_or_default();
                    answers.lock().unwrap().push((format!("{address} {what}"), answer));
                }
            });
        }
    });
    answers.into_inner().unwrap()
}

/// A path with something in the place of each parameter.
fn filled(path: &str) -> String {
    let part = |part: &str| if part.starts_with('{') { "x1".to_owned() } else { part.to_owned() };
    path.split('/').map(part).collect::<Vec<_>>().join("/")
}
