//! The body of a webhook's request to the text of a message. Pure.

use proto::Topic;
use serde_json::Value;

/// Most bytes of a body.
pub const BODY_MAX: usize = 256 * 1024;

/// What routd takes as the text of one message.
const CONTENT_MAX: usize = 262_144;

/// What a webhook said.
#[derive(Debug, PartialEq, Eq)]
pub struct HookText {
    /// The text.
    pub content: String,
    /// The topic, where the body names one.
    pub topic: Option<Topic>,
}

/// Why a body is no message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// There is nothing in it.
    #[error("the body is empty; send text, a form, or JSON such as {{\"content\":\"…\"}}")]
    Empty,
    /// It is not text.
    #[error("the body is not UTF-8 text; send text, a form, or JSON such as {{\"content\":\"…\"}}")]
    NotText,
    /// It says that it is JSON and is not.
    #[error("the body is not the JSON that its Content-Type promises: {0}")]
    NotJson(String),
    /// The topic is not one.
    #[error("`topic` is not a topic: {0}")]
    Topic(String),
    /// It is too long.
    #[error("the body has more than 262,144 bytes")]
    TooLong,
}

/// Reads a body of the given `Content-Type`.
///
/// A JSON object or a form with a text in `content` or `text` is that text; any other JSON is
/// shown as it is, indented; everything else that is text is the text.
pub fn read(content_type: Option<&str>, body: &[u8]) -> Result<HookText, BodyError> {
    if body.len() > BODY_MAX {
        return Err(BodyError::TooLong);
    }
    let text = std::str::from_utf8(body).map_err(|_| BodyError::NotText)?;
    let kind = content_type.unwrap_or_default().split(';').next().unwrap_or_default();
    let kind = kind.trim().to_ascii_lowercase();
    let said = if kind == "application/json" || kind.ends_with("+json") {
        let value = serde_json::from_str(text).map_err(|error| match text.trim() {
            "" => BodyError::Empty,
            _ => BodyError::NotJson(error.to_string()),
        })?;
        from_json(&value, text)?
    } else if kind == "application/x-www-form-urlencoded" && looks_like_form(text) {
        from_form(text)?
    } else {
        match serde_json::from_str(text) {
            // Many senders of JSON do not say so; text that is a JSON object is one.
            Ok(value @ Value::Object(_)) if kind != "text/plain" => from_json(&value, text)?,
            _ => HookText { content: text.to_owned(), topic: None },
        }
    };
    // No message has a NUL, and some databases and terminals stop at one.
    let content = said.content.replace('\0', "\u{FFFD}");
    match content.trim() {
        "" => Err(BodyError::Empty),
        content if content.len() > CONTENT_MAX => Err(BodyError::TooLong),
        content => Ok(HookText { content: content.to_owned(), ..said }),
    }
}

fn from_json(value: &Value, source: &str) -> Result<HookText, BodyError> {
    let field = |name: &str| value.get(name).and_then(Value::as_str);
    if let Some(content) = field("content").or_else(|| field("text")) {
        let topic = field("topic").map(topic).transpose()?;
        return Ok(HookText { content: content.to_owned(), topic });
    }
    if let Value::String(text) = value {
        return Ok(HookText { content: text.clone(), topic: None });
    }
    // Indentation can make it longer than a message may be; then it stays as it came.
    let pretty = serde_json::to_string_pretty(value).ok().filter(|text| text.len() <= CONTENT_MAX);
    Ok(HookText { content: pretty.unwrap_or_else(|| source.to_owned()), topic: None })
}

/// `curl -d TEXT` calls any text a form; only what has a `=` behind a plain name is one.
fn looks_like_form(text: &str) -> bool {
    let name = text.split_once('=').map(|(name, _)| name).unwrap_or_default();
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-.[]%+".contains(c);
    !name.is_empty() && name.chars().all(plain)
}

fn from_form(text: &str) -> Result<HookText, BodyError> {
    let fields: Vec<(String, String)> =
        form_urlencoded::parse(text.as_bytes()).into_owned().collect();
    let field = |name: &str| fields.iter().find(|(key, _)| key == name).map(|(_, value)| value);
    if let Some(content) = field("content").or_else(|| field("text")) {
        let topic = field("topic").map(|text| topic(text)).transpose()?;
        return Ok(HookText { content: content.clone(), topic });
    }
    // Some services put JSON into one field of a form.
    if let Some(payload) = field("payload")
        && let Ok(value) = serde_json::from_str(payload)
    {
        return from_json(&value, payload);
    }
    let lines: Vec<String> = fields.iter().map(|(key, value)| format!("{key}: {value}")).collect();
    Ok(HookText { content: lines.join("\n"), topic: None })
}

fn topic(text: &str) -> Result<Topic, BodyError> {
    text.parse().map_err(|error: proto::IdError| BodyError::Topic(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn whatever_the_body_is_a_message_has_text_and_no_nul(
            kind in "(application/json|x/y\\+json|application/x-www-form-urlencoded|text/plain|\\PC{0,20})",
            body in "([\\[\\]{}\":,=&%+\\\\0-9a-f\u{0} \n]|content|text|topic|payload|null|\\PC){0,60}",
        ) {
            match read(Some(&kind), body.as_bytes()) {
                Ok(said) => {
                    prop_assert!(!said.content.trim().is_empty() && said.content.len() <= CONTENT_MAX);
                    prop_assert!(!said.content.contains('\0'));
                }
                Err(error) => prop_assert!(error.to_string().len() < 400, "{}", error),
            }
        }

        #[test]
        fn no_bytes_make_it_panic(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _either = (read(None, &body), read(Some("application/json"), &body));
        }
    }

    fn said(kind: &str, body: &str) -> Result<String, BodyError> {
        let kind = Some(kind).filter(|kind| !kind.is_empty());
        read(kind, body.as_bytes()).map(|said| said.content)
    }

    #[test]
    fn every_kind_of_body_becomes_the_text_that_its_sender_meant() {
        const FORM: &str = "application/x-www-form-urlencoded";
        for (kind, body, expected) in [
            ("application/json", r#"{"content":"hi"}"#, "hi"),
            ("application/json; charset=utf-8", r#"{"text":"hi"}"#, "hi"),
            ("application/json", r#"{"a":1}"#, "{\n  \"a\": 1\n}"),
            ("application/json", r#""just text""#, "just text"),
            ("application/vnd.x+json", "[1]", "[\n  1\n]"),
            ("", r#"{"content":"hi"}"#, "hi"),
            ("", "build failed", "build failed"),
            ("text/plain", r#"{"content":"hi"}"#, r#"{"content":"hi"}"#),
            (FORM, "content=a+b%21", "a b!"),
            (FORM, "a=1&b=2", "a: 1\nb: 2"),
            (FORM, "payload=%7B%22text%22%3A%22x%22%7D", "x"),
            (FORM, "build failed: x = 1", "build failed: x = 1"),
            (FORM, r#"{"content":"curl -d"}"#, "curl -d"),
            ("text/markdown", "  # T\n", "# T"),
        ] {
            assert_eq!(said(kind, body).as_deref(), Ok(expected), "{kind} {body}");
        }
    }

    #[test]
    fn what_is_no_message_is_refused_with_its_reason() {
        assert_eq!(said("", ""), Err(BodyError::Empty));
        assert_eq!(said("application/json", ""), Err(BodyError::Empty));
        assert_eq!(said("application/json", r#"{"content":"  "}"#), Err(BodyError::Empty));
        assert!(matches!(said("application/json", "{"), Err(BodyError::NotJson(_))));
        assert_eq!(read(None, b"\xff\xfe"), Err(BodyError::NotText));
        assert_eq!(read(None, &vec![b'a'; BODY_MAX + 1]), Err(BodyError::TooLong));
        let topic = r#"{"content":"a","topic":"bad#topic"}"#;
        assert!(matches!(said("application/json", topic), Err(BodyError::Topic(_))));
    }

    #[test]
    fn a_body_that_would_grow_too_long_stays_as_it_came() {
        let dense = format!("[{}1]", "1,".repeat(CONTENT_MAX / 2 - 10));
        let text = said("application/json", &dense).unwrap();
        assert_eq!(text, dense, "indented, it would have been refused");
    }

    #[test]
    fn a_topic_travels_with_its_text() {
        let said = read(Some("application/json"), br#"{"text":"a","topic":"ci"}"#).unwrap();
        assert_eq!(said.topic.unwrap().as_str(), "ci");
    }
}
