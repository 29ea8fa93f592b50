//! A connection that is kept, with as little work of its own as can be: it runs beside what it measures.

use crate::Failed;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, body::Incoming, client::conn::http1::SendRequest};
use hyper_util::rt::TokioIo;
use std::path::Path;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
};

/// One connection to one daemon.
pub struct Client {
    send: SendRequest<Full<Bytes>>,
    host: String,
}

impl Client {
    /// Connects to `url`, such as `http://127.0.0.1:8080`.
    ///
    /// # Errors
    /// Nobody listens there.
    pub async fn open(url: &str) -> Result<Self, Failed> {
        let host = url.trim_start_matches("http://").trim_end_matches('/').to_owned();
        let stream = TcpStream::connect(&host).await?;
        stream.set_nodelay(true)?;
        Self::over(stream, host).await
    }

    /// Connects to a socket file.
    ///
    /// # Errors
    /// Nobody listens there.
    pub async fn on_socket(path: &Path) -> Result<Self, Failed> {
        Self::over(UnixStream::connect(path).await?, "localhost".to_owned()).await
    }

    async fn over(
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        host: String,
    ) -> Result<Self, Failed> {
        let (send, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(Self { send, host })
    }

    /// Sends one request, and gives its answer before its body.
    ///
    /// # Errors
    /// The connection is gone.
    pub async fn send(
        &mut self,
        method: &str,
        path: &str,
        bearer: &str,
        body: String,
    ) -> Result<hyper::Response<Incoming>, Failed> {
        self.send.ready().await?;
        let mut request = Request::builder().method(method).uri(path).header("host", &self.host);
        if !bearer.is_empty() {
            request = request.header("authorization", format!("Bearer {bearer}"));
        }
        if !body.is_empty() {
            request = request.header("content-type", "application/json");
        }
        Ok(self.send.send_request(request.body(Full::from(body))?).await?)
    }

    /// Sends one request whose answer must be a success, and gives its body.
    ///
    /// # Errors
    /// The connection is gone, or the answer is a refusal.
    pub async fn ok(
        &mut self,
        method: &str,
        path: &str,
        bearer: &str,
        body: String,
    ) -> Result<Bytes, Failed> {
        let answer = self.send(method, path, bearer, body).await?;
        let status = answer.status();
        let body = answer.into_body().collect().await?.to_bytes();
        if !status.is_success() {
            return Err(format!("{path}: {status}: {}", String::from_utf8_lossy(&body)).into());
        }
        Ok(body)
    }
}

/// A stream of server-sent events, one frame after the other.
pub struct Events {
    body: Incoming,
    rest: String,
    /// Keeps the connection.
    _client: Client,
}

impl Events {
    /// Follows `path` of the daemon at `url`.
    ///
    /// # Errors
    /// It is refused.
    pub async fn follow(url: &str, path: &str) -> Result<Self, Failed> {
        let mut client = Client::open(url).await?;
        let answer = client.send("GET", path, "", String::new()).await?;
        if !answer.status().is_success() {
            return Err(format!("{path}: {}", answer.status()).into());
        }
        Ok(Self { body: answer.into_body(), rest: String::new(), _client: client })
    }

    /// The next frame, as it stands on the wire.
    ///
    /// # Errors
    /// The stream ends.
    pub async fn next(&mut self) -> Result<String, Failed> {
        loop {
            if let Some(end) = self.rest.find("\n\n") {
                let frame = self.rest[..end].to_owned();
                self.rest.drain(..end + 2);
                return Ok(frame);
            }
            let part = self.body.frame().await.ok_or("the stream ended")??;
            if let Ok(bytes) = part.into_data() {
                self.rest.push_str(std::str::from_utf8(&bytes)?);
            }
        }
    }

    /// Waits for a frame of this event whose data contains `text`, and gives it.
    ///
    /// # Errors
    /// The stream ends.
    pub async fn wait(&mut self, event: &str, text: &str) -> Result<String, Failed> {
        loop {
            let frame = self.next().await?;
            if frame.contains(&format!("event: {event}")) && frame.contains(text) {
                return Ok(frame);
            }
        }
    }
}
