//! A summary of what the tool `inspect_messages` answers. Pure.

use serde_json::Value;

/// How many of the messages are shown.
const SHOWN: usize = 5;
/// How many characters of each.
const LONGEST: usize = 80;

/// How many messages there are, and the latest of them: from the structured answer or a JSON text
/// (a list of messages, or an object with `messages`), else by the lines of the text.
pub(crate) fn summary(text: &str, structured: Option<&Value>) -> String {
    let parsed = serde_json::from_str::<Value>(text).ok();
    let messages = structured.and_then(list).or_else(|| parsed.as_ref().and_then(list));
    let lines: Vec<String> = match messages {
        Some(messages) => messages.iter().map(message).collect(),
        None => text.lines().filter(|line| !line.trim().is_empty()).map(cut).collect(),
    };
    match lines.len() {
        0 => "There are no messages.".into(),
        count => {
            let shown = lines.iter().skip(count.saturating_sub(SHOWN)).cloned();
            let shown: Vec<String> = shown.collect();
            let noun = if count == 1 { "message" } else { "messages" };
            format!("{count} {noun}; the latest:\n{}", shown.join("\n"))
        }
    }
}

fn list(answer: &Value) -> Option<&Vec<Value>> {
    answer.as_array().or_else(|| answer.get("messages")?.as_array())
}

fn message(value: &Value) -> String {
    let field =
        |name: &str| value.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    let who = field("sender_name").or_else(|| field("sender")).unwrap_or("somebody");
    match field("content").or_else(|| field("text")) {
        Some(content) => cut(&format!("{who}: {content}")),
        None => cut(&value.to_string()),
    }
}

/// One line of at most so many characters.
fn cut(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<&str>>().join(" ");
    match line.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", line.get(..end).unwrap_or_default()),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn messages_are_counted_and_the_latest_shown() {
        let of =
            |n: usize| json!({"sender": "u:1", "sender_name": "Ann", "content": format!("m{n}")});
        let seven: Vec<Value> = (1..=7).map(of).collect();
        let expected = "7 messages; the latest:\nAnn: m3\nAnn: m4\nAnn: m5\nAnn: m6\nAnn: m7";
        assert_eq!(summary("", Some(&json!({ "messages": seven }))), expected);
        assert_eq!(summary(&json!(seven).to_string(), None), expected);
        assert_eq!(summary("[]", None), "There are no messages.");
        assert_eq!(
            summary("ann: hi\n\nbob: yo\n", None),
            "2 messages; the latest:\nann: hi\nbob: yo"
        );
    }

    #[test]
    fn a_long_message_is_one_short_line() {
        let long = json!([{"sender": "u:1", "content": "é\n".repeat(500)}]);
        let shown = summary("", Some(&long));
        assert_eq!(shown.lines().count(), 2, "{shown}");
        assert!(shown.chars().count() < 120 && shown.ends_with('…'), "{shown}");
    }
}
