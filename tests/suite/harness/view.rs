//! What single daemons say and accept, asked directly, whether or not the others answer.

use super::{LIMIT, Suite, eventually};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The status and the body of one request.
pub fn request(method: &str, url: &str, bearer: &str, body: Option<Value>) -> (u16, String) {
    kit::testing::install_crypto();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let http = reqwest::Client::builder().no_proxy().timeout(LIMIT).build().unwrap();
        let mut request = http.request(method.parse().unwrap(), url).bearer_auth(bearer);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    })
}

/// A way to each daemon, with a token that may see secrets' states and no value of them.
pub struct View {
    at: BTreeMap<String, String>,
    token: String,
}

impl View {
    /// Finds the daemons, and proves itself with a service key.
    pub fn new(suite: &Suite, key: &str) -> Self {
        let status = suite.json(&["status"]);
        let all = status["daemons"].as_array().unwrap().iter();
        let text = |of: &Value, field: &str| of[field].as_str().unwrap().to_owned();
        let at = all.map(|of| (text(of, "daemon"), text(of, "address"))).collect();
        let mut view = Self { at, token: String::new() };
        view.token = view.token_of("dashd", key).unwrap();
        view
    }

    /// The token of `daemon` that authd gives for `key`, or the status with which it refuses.
    pub fn token_of(&self, daemon: &str, key: &str) -> Result<String, u16> {
        let url = format!("{}/v1/service-token", self.at["authd"]);
        let (status, text) = request("POST", &url, key, Some(json!({ "daemon": daemon })));
        if status != 200 {
            return Err(status);
        }
        Ok(serde_json::from_str::<Value>(&text).unwrap()["token"].as_str().unwrap().to_owned())
    }

    /// The status with which `daemon` takes a token.
    pub fn shown_token(&self, daemon: &str, token: &str) -> u16 {
        request("GET", &format!("{}/v1/secrets", self.at[daemon]), token, None).0
    }

    /// The status with which routd takes a channel secret. The message has no text: whoever is
    /// believed is told so.
    pub fn shown_channel_secret(&self, secret: &str) -> u16 {
        let url = format!("{}/v1/messages", self.at["routd"]);
        let message = json!({
            "id": "m1", "chat_jid": "telegram:user/1", "sender": "telegram:user/1", "content": "",
        });
        request("POST", &url, secret, Some(message)).0
    }

    /// All that `daemon` says of its secrets.
    pub fn secrets(&self, daemon: &str) -> Value {
        let url = format!("{}/v1/secrets", self.at[daemon]);
        let (status, text) = request("GET", &url, &self.token, None);
        assert_eq!(status, 200, "{daemon}: {text}");
        serde_json::from_str(&text).unwrap()
    }

    /// What `daemon` says of one secret.
    pub fn state(&self, daemon: &str, name: &str) -> Value {
        let all = self.secrets(daemon);
        let all = all["secrets"].as_array().unwrap();
        all.iter().find(|secret| secret["name"] == name).cloned().unwrap_or_default()
    }

    /// The generation of `daemon`.
    pub fn generation(&self, daemon: &str) -> u64 {
        self.secrets(daemon)["generation"].as_u64().unwrap()
    }

    /// Makes a change, and waits until each of `daemons` has taken something up because of it.
    pub fn taken_up(&self, daemons: &[&str], change: impl FnOnce()) {
        let before: Vec<u64> = daemons.iter().map(|daemon| self.generation(daemon)).collect();
        change();
        for (daemon, before) in daemons.iter().zip(before) {
            eventually(&format!("{daemon} takes up the new value"), || {
                (self.generation(daemon) > before).then_some(())
            });
        }
    }

    /// What `daemon` says of its health.
    pub fn health(&self, daemon: &str) -> String {
        request("GET", &format!("{}/ready", self.at[daemon]), &self.token, None).1
    }

    /// Waits until routd refuses a channel secret.
    pub fn channel_secret_ends(&self, secret: &str) {
        eventually("the old channel secret is refused", || {
            (self.shown_channel_secret(secret) == 401).then_some(())
        });
    }

    /// Waits until authd refuses a service key.
    pub fn service_key_ends(&self, daemon: &str, key: &str) {
        eventually("the old service key is refused", || {
            (self.token_of(daemon, key) == Err(401)).then_some(())
        });
    }
}
