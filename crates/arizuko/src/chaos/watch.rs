//! Web chats as a browser sees them: the stream of events, taken up again where it broke.

use super::ledger::Line;
use kit::HttpClient;
use serde_json::Value;
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// A stream says something at least every 15 seconds; one that does not is opened again.
const QUIET_MAX: Duration = Duration::from_secs(40);
const PAUSE: Duration = Duration::from_millis(200);

/// What one chat has shown so far.
#[derive(Clone, Default)]
pub struct Watched(Arc<Mutex<Vec<Line>>>);

impl Watched {
    /// All of it, in order.
    pub fn lines(&self) -> Vec<Line> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How much that is.
    pub fn count(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    fn saw(&self, line: Line) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }
}

/// Follows the chat at `url` from its beginning, for ever.
pub async fn follow(http: HttpClient, url: String, watched: Watched) {
    let mut last = "0".to_owned();
    loop {
        // However a stream ended, it is opened again behind the last event that came.
        let _broke = stream(&http, &url, &mut last, &watched).await.is_none();
        tokio::time::sleep(PAUSE).await;
    }
}

async fn stream(http: &HttpClient, url: &str, last: &mut String, watched: &Watched) -> Option<()> {
    let request = http.get(format!("{url}/events")).header("last-event-id", last.as_str());
    let mut answer = tokio::time::timeout(QUIET_MAX, request.send()).await.ok()?.ok()?;
    if !answer.status().is_success() {
        return None;
    }
    let mut text = String::new();
    loop {
        let chunk = tokio::time::timeout(QUIET_MAX, answer.chunk()).await.ok()?.ok()??;
        // Everything that is said in these chats is ASCII, so that no character is cut in two.
        text.push_str(&String::from_utf8_lossy(&chunk));
        while let Some((block, rest)) = text.split_once("\n\n") {
            let (id, line) = event(block);
            text = rest.to_owned();
            if let Some(id) = id {
                *last = id;
            }
            if let Some(line) = line {
                watched.saw(line);
            }
        }
    }
}

/// One event: where to go on after it, and what it shows.
fn event(block: &str) -> (Option<String>, Option<Line>) {
    let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let id = field("id:").map(str::to_owned);
    let data: Value =
        field("data:").and_then(|data| serde_json::from_str(data).ok()).unwrap_or_default();
    let text = |name: &str| data.get(name).and_then(Value::as_str).map(str::to_owned);
    let line = match field("event:") {
        Some("done") => text("turn_id").map(|turn| Line::Done { turn }),
        Some("message") if data.get("from_agent") == Some(&Value::Bool(true)) => {
            let (reply_to, said) = (text("reply_to"), text("content").unwrap_or_default());
            Some(Line::Agent { reply_to, text: said })
        }
        Some("message") => text("id").map(|id| Line::Person { id }),
        _ => None,
    };
    (id, line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_become_what_people_see() {
        let (id, line) = event("id: 7\nevent: done\ndata: {\"turn_id\":\"t1\"}");
        assert_eq!(id.as_deref(), Some("7"));
        assert!(matches!(line, Some(Line::Done { turn }) if turn == "t1"));
        let (_, line) = event(
            "event: message\nid: 8\ndata: {\"id\":\"m\",\"from_agent\":true,\"content\":\"x\",\"reply_to\":\"q\"}",
        );
        let said = |line| matches!(line, Some(Line::Agent { reply_to: Some(to), text }) if to == "q" && text == "x");
        assert!(said(line));
        let (id, line) = event("id: 9\nevent: status\ndata: {\"text\":\"waits\"}");
        assert!(line.is_none() && id.is_some(), "a status is passed over, and not asked for again");
        assert!(event(": a comment").1.is_none());
    }
}
