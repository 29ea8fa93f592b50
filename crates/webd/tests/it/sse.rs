//! Reading server-sent events.

use serde_json::Value;
use std::{collections::VecDeque, time::Duration};

#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    pub id: Option<i64>,
    pub name: String,
    pub data: Value,
}

pub struct Events {
    answer: reqwest::Response,
    text: String,
    ready: VecDeque<Event>,
}

impl Events {
    pub async fn open(url: &str, last_id: Option<i64>) -> Self {
        let mut request = crate::rig::client().get(url);
        if let Some(id) = last_id {
            request = request.header("last-event-id", id);
        }
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["content-type"], "text/event-stream");
        Self { answer, text: String::new(), ready: VecDeque::new() }
    }

    /// The next event; `None` when the stream has ended cleanly.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            let chunk = tokio::time::timeout(Duration::from_secs(10), self.answer.chunk());
            let chunk =
                chunk.await.expect("an event within ten seconds").expect("no broken stream");
            self.text.push_str(std::str::from_utf8(&chunk?).unwrap());
            while let Some((block, rest)) = self.text.split_once("\n\n") {
                let event = parse(block);
                self.text = rest.to_owned();
                self.ready.extend(event);
            }
        }
    }

    pub async fn texts(&mut self, count: usize) -> Vec<String> {
        let mut texts = Vec::new();
        while texts.len() < count {
            let event = self.next().await.expect("the stream goes on");
            texts.push(event.data["content"].as_str().unwrap_or_default().to_owned());
        }
        texts
    }
}

fn parse(block: &str) -> Option<Event> {
    let field =
        |name: &str| block.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    let data = field("data")?;
    Some(Event {
        id: field("id").map(|id| id.parse().unwrap()),
        name: field("event").unwrap().to_owned(),
        data: serde_json::from_str(data).unwrap(),
    })
}
