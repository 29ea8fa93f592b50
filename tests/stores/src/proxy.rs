//! A proxy in front of the server, which makes trouble and counts calls.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::sleep,
};

/// What becomes of a request.
#[derive(Clone, Debug)]
pub enum Mode {
    /// The server answers it.
    Pass,
    /// Takes the request and says nothing.
    Hang,
    /// One byte of an answer that never ends, now and then.
    Drip,
    /// Ends the connection in the middle of the request.
    Reset,
    /// This, and nothing else.
    Say(String),
}

/// A proxy on a port of its own. Clones are the same one.
#[derive(Clone)]
pub struct Proxy(Arc<Inner>);

/// What is done before a request is passed on.
type Meanwhile = Box<dyn FnOnce() + Send>;

struct Inner {
    mode: Mutex<Mode>,
    meanwhile: Mutex<Option<(String, Meanwhile)>>,
    requests: Mutex<Vec<String>>,
    port: u16,
}

impl Proxy {
    /// One in front of that port of 127.0.0.1.
    pub async fn before(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (mode, meanwhile) = (Mutex::new(Mode::Pass), Mutex::default());
        let inner = Inner { mode, meanwhile, requests: Mutex::default(), port };
        let proxy = Self(Arc::new(inner));
        let serving = proxy.clone();
        tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                tokio::spawn(serving.clone().serve(client, server));
            }
        });
        proxy
    }

    /// `http://127.0.0.1:PORT`, with the proxy's own port.
    #[must_use]
    pub fn base(&self) -> String {
        format!("http://127.0.0.1:{}", self.0.port)
    }

    /// Does this from the next request on.
    pub fn mode(&self, mode: Mode) {
        *self.0.mode.lock().unwrap() = mode;
    }

    /// Does this before it passes on the next request that has `part` in its line: what somebody else does between two
    /// calls. The action may block.
    pub fn meanwhile(&self, part: &str, action: impl FnOnce() + Send + 'static) {
        *self.0.meanwhile.lock().unwrap() = Some((part.to_owned(), Box::new(action)));
    }

    /// What was asked so far, such as `GET /v1/kv/data/az?version=1`, or `POST / secretsmanager.GetSecretValue`.
    #[must_use]
    pub fn requests(&self) -> Vec<String> {
        self.0.requests.lock().unwrap().clone()
    }

    /// How many requests have `part` in their first line.
    #[must_use]
    pub fn count(&self, part: &str) -> usize {
        self.requests().iter().filter(|line| line.contains(part)).count()
    }

    async fn serve(self, mut client: TcpStream, server: u16) {
        let mut upstream: Option<TcpStream> = None;
        let mut bytes = vec![0; 65_536];
        loop {
            let mut from_server = vec![0; 65_536];
            let read = match &mut upstream {
                Some(server) => tokio::select! {
                    read = client.read(&mut bytes) => read,
                    answer = server.read(&mut from_server) => {
                        let Ok(length @ 1..) = answer else { return };
                        if client.write_all(&from_server[..length]).await.is_err() {
                            return;
                        }
                        continue;
                    }
                },
                None => client.read(&mut bytes).await,
            };
            let Ok(length @ 1..) = read else { return };
            let text = String::from_utf8_lossy(&bytes[..length]).into_owned();
            let first = text.lines().next().unwrap_or_default();
            if let Some(line) = first.strip_suffix(" HTTP/1.1") {
                let named = operation(&text).map(|name| format!("{line} {name}"));
                let named = named.unwrap_or_else(|| line.to_owned());
                let action = {
                    let mut meanwhile = self.0.meanwhile.lock().unwrap();
                    meanwhile.take_if(|(part, _)| named.contains(part.as_str()))
                };
                self.0.requests.lock().unwrap().push(named);
                if let Some((_, action)) = action {
                    tokio::task::spawn_blocking(action).await.unwrap();
                }
            }
            let mode = self.0.mode.lock().unwrap().clone();
            match mode {
                Mode::Pass => {
                    if upstream.is_none() {
                        upstream = TcpStream::connect(("127.0.0.1", server)).await.ok();
                    }
                    let Some(server) = &mut upstream else { return };
                    if server.write_all(&bytes[..length]).await.is_err() {
                        return;
                    }
                }
                Mode::Hang => sleep(Duration::from_secs(120)).await,
                Mode::Drip => {
                    client.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9000\r\n\r\n").await.ok();
                    while client.write_all(b" ").await.is_ok() {
                        sleep(Duration::from_millis(100)).await;
                    }
                    return;
                }
                Mode::Reset => {
                    client.set_zero_linger().unwrap();
                    return;
                }
                Mode::Say(text) => {
                    client.write_all(text.as_bytes()).await.ok();
                    client.shutdown().await.ok();
                    return;
                }
            }
        }
    }
}

/// The operation, where the path does not name it: those of AWS stand in a header or at the beginning of a form.
fn operation(request: &str) -> Option<&str> {
    let header = request.lines().find_map(|line| line.strip_prefix("x-amz-target: "));
    let (_, form) = request.split_once("\r\n\r\n")?;
    header.or_else(|| form.strip_prefix("Action=")?.split('&').next())
}

/// An answer of HTTP.
#[must_use]
pub fn http(status: &str, headers: &str, body: &str) -> Mode {
    let length = body.len();
    Mode::Say(format!(
        "HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n{body}"
    ))
}
