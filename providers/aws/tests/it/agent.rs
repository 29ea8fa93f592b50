//! What answers a pod's credentials on its node: the EKS agent for Pod Identity, as far as its callers see it.
//!
//! There is no such agent to be had outside of a cluster. That this one answers as the real one does is shown by boto3,
//! which takes its credentials for them.

use std::sync::{Arc, Mutex};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

/// An agent that gives credentials for a token.
#[derive(Clone)]
pub struct Agent {
    inside: Arc<Mutex<Inside>>,
    port: u16,
}

struct Inside {
    token: String,
    answer: String,
    asked: Vec<u16>,
}

impl Agent {
    /// One that answers whoever shows `token` with `answer`.
    pub async fn start(token: &str, answer: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let inside = Inside { token: token.into(), answer: answer.into(), asked: Vec::new() };
        let agent = Self { inside: Arc::new(Mutex::new(inside)), port };
        let serving = agent.clone();
        tokio::spawn(async move {
            loop {
                let (mut client, _) = listener.accept().await.unwrap();
                let mut bytes = vec![0; 16_384];
                let length = client.read(&mut bytes).await.unwrap_or_default();
                let answer = serving.answer(&String::from_utf8_lossy(&bytes[..length]));
                client.write_all(answer.as_bytes()).await.ok();
                client.shutdown().await.ok();
            }
        });
        agent
    }

    /// Wants to see this token from now on.
    pub fn wants(&self, token: &str) {
        self.inside.lock().unwrap().token = token.into();
    }

    /// `http://127.0.0.1:PORT/v1/credentials`.
    pub fn uri(&self) -> String {
        format!("http://127.0.0.1:{}/v1/credentials", self.port)
    }

    /// The statuses that it answered so far.
    pub fn asked(&self) -> Vec<u16> {
        self.inside.lock().unwrap().asked.clone()
    }

    fn answer(&self, request: &str) -> String {
        let mut inside = self.inside.lock().unwrap();
        let shown = request.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("authorization").then(|| value.trim().to_owned())
        });
        let is_right =
            request.starts_with("GET /v1/credentials ") && shown.as_ref() == Some(&inside.token);
        let (status, body) =
            if is_right { (200, inside.answer.clone()) } else { (403, "{}".into()) };
        inside.asked.push(status);
        let length = body.len();
        format!(
            "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
        )
    }
}
