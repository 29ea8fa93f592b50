//! A person in the web chat, without a browser.

use super::LIMIT;
use serde_json::Value;

/// A chat link, opened.
pub struct Chat {
    http: reqwest::Client,
    url: String,
}

/// One event of the chat's stream.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Where to resume.
    pub id: String,
    /// `message`, `status` or `done`.
    pub kind: String,
    /// What happened.
    pub data: Value,
}

impl Chat {
    /// Opens the chat at `url`, which ends in `/`.
    pub fn open(url: &str) -> Self {
        kit::testing::install_crypto();
        let http = reqwest::Client::builder().no_proxy().timeout(LIMIT).build().unwrap();
        Self { http, url: url.trim_end_matches('/').to_owned() }
    }

    /// The page.
    pub async fn page(&self) -> reqwest::Response {
        self.http.get(format!("{}/", self.url)).send().await.unwrap()
    }

    /// Writes; the message's id.
    pub async fn write(&self, text: &str) -> String {
        let body = serde_json::json!({ "content": text });
        let answer = self.http.post(&self.url).json(&body).send().await.unwrap();
        let status = answer.status();
        let text = answer.text().await.unwrap();
        assert_eq!(status, 202, "{text}");
        serde_json::from_str::<Value>(&text).unwrap()["id"].as_str().unwrap().to_owned()
    }

    /// The events after `last` until `enough` says so.
    pub async fn events(&self, last: &str, mut enough: impl FnMut(&Event) -> bool) -> Vec<Event> {
        let mut request = self.http.get(format!("{}/events", self.url));
        if !last.is_empty() {
            request = request.header("last-event-id", last);
        }
        let mut answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 200);
        let (mut text, mut events) = (String::new(), Vec::new());
        let read = async {
            while let Some(chunk) = answer.chunk().await.unwrap() {
                text.push_str(&String::from_utf8_lossy(&chunk));
                while let Some((block, rest)) = text.split_once("\n\n") {
                    let event = parse(block);
                    text = rest.to_owned();
                    let Some(event) = event else { continue };
                    let done = enough(&event);
                    events.push(event);
                    if done {
                        return;
                    }
                }
            }
            panic!("the stream ended: {events:?}");
        };
        tokio::time::timeout(LIMIT, read).await.expect("no such event came in time");
        events
    }
}

fn parse(block: &str) -> Option<Event> {
    let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    Some(Event {
        id: field("id:").unwrap_or_default().to_owned(),
        kind: field("event:")?.to_owned(),
        data: serde_json::from_str(field("data:")?).unwrap_or(Value::Null),
    })
}
