//! The agent's side of a turn, played by the test on the turn's socket.

use crate::runed::Started;
use kit::{Peer, PeerError};
use proto::{
    Nothing,
    turn::{
        GET_TURN, NO_FILE, NoFile, Outcome, POST_EVENTS, POST_RESULT, POST_STEER, SOCKET, SteerAsk,
        Steered, TurnAccepted, TurnEvent, TurnEvents, TurnInput, TurnResult, WANTED_FILES,
        WantedAsk, WantedFile,
    },
};
use serde_json::{Value, json};

#[derive(Debug)]
pub struct Agent {
    peer: Peer,
    http: reqwest::Client,
    pub attempt: u32,
}

/// What a tool said.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    pub text: String,
    pub is_error: bool,
    pub structured: Value,
}

impl Agent {
    pub fn on(run: &Started) -> Self {
        let socket = run.directory.join(SOCKET);
        let http = reqwest::Client::builder().unix_socket(socket.clone()).no_proxy();
        Self {
            peer: Peer::on_socket("the turn", &socket).unwrap(),
            http: http.build().unwrap(),
            attempt: run.attempt,
        }
    }

    pub async fn input(&self) -> Result<TurnInput, PeerError> {
        self.peer.call(&GET_TURN, &Nothing {}).await
    }

    pub async fn status(&self, text: &str) -> Result<Nothing, PeerError> {
        let events = vec![TurnEvent { status: text.into() }];
        self.peer.call(&POST_EVENTS, &TurnEvents { attempt: self.attempt, events }).await
    }

    pub async fn result(
        &self,
        outcome: Outcome,
        text: Option<&str>,
    ) -> Result<TurnAccepted, PeerError> {
        let text = text.map(str::to_owned);
        let result = TurnResult { attempt: self.attempt, outcome, text, session: None, taken: 0 };
        self.post(&result).await
    }

    /// Says what was taken up, and asks for more.
    pub async fn steer(&self, taken: i64, wait_seconds: u32) -> Result<Steered, PeerError> {
        let ask = SteerAsk { attempt: self.attempt, taken, wait_seconds };
        let wait = std::time::Duration::from_secs(wait_seconds.into());
        self.peer.call_waiting(&POST_STEER, &ask, wait).await
    }

    /// Asks for a file that came with a message.
    pub async fn file(&self, id: &str) -> reqwest::Response {
        self.http.get(format!("http://localhost/turn/files/{id}")).send().await.unwrap()
    }

    /// Which files are wanted, after that one.
    pub async fn wanted(&self, after: i64, wait_seconds: u32) -> Vec<WantedFile> {
        let ask = WantedAsk { attempt: self.attempt, after, wait_seconds };
        let wait = std::time::Duration::from_secs(wait_seconds.into());
        self.peer.call_waiting(&WANTED_FILES, &ask, wait).await.unwrap().files
    }

    /// Brings a file.
    pub async fn bring(&self, id: i64, bytes: Vec<u8>) -> u16 {
        let url = format!("http://localhost/turn/files/wanted/{id}");
        self.http.put(url).body(bytes).send().await.unwrap().status().as_u16()
    }

    /// Says why it cannot be brought.
    pub async fn no_file(&self, id: i64, reason: &str) -> Result<Nothing, PeerError> {
        self.peer.call(&NO_FILE, &NoFile { id, reason: reason.into() }).await
    }

    pub async fn post(&self, result: &TurnResult) -> Result<TurnAccepted, PeerError> {
        self.peer.call(&POST_RESULT, result).await
    }

    /// Calls a tool; with a key, if there is one.
    pub async fn tool(&self, name: &str, arguments: Value, key: Option<&str>) -> Told {
        let mut params = json!({ "name": name, "arguments": arguments });
        if let Some(key) = key {
            params["_meta"] = json!({ proto::turn::MCP_IDEMPOTENCY_KEY: key });
        }
        let (status, answer) = self.mcp("tools/call", params).await;
        assert_eq!(status, 200, "{answer}");
        let result = &answer["result"];
        assert!(result.is_object(), "{answer}");
        Told {
            text: result["content"][0]["text"].as_str().unwrap_or_default().into(),
            is_error: result["isError"] == json!(true),
            structured: result["structuredContent"].clone(),
        }
    }

    /// The names of the tools that are listed.
    pub async fn tools(&self) -> Vec<String> {
        let (_, answer) = self.mcp("tools/list", json!({})).await;
        let tools = answer["result"]["tools"].as_array().cloned().unwrap_or_default();
        tools.iter().map(|tool| tool["name"].as_str().unwrap().to_owned()).collect()
    }

    pub async fn mcp(&self, method: &str, params: Value) -> (u16, Value) {
        let request = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let answer = self
            .http
            .post("http://localhost/mcp")
            .header("accept", "application/json, text/event-stream")
            .json(&request)
            .send()
            .await
            .unwrap();
        let status = answer.status().as_u16();
        (status, answer.json().await.unwrap_or(Value::Null))
    }
}
