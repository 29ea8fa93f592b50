//! What an answer that is an error means. Pure.

use serde_json::Value;
use std::time::Duration;

/// The longest that an API's word on waiting is followed.
const WAIT_MAX: Duration = Duration::from_secs(120);
/// Characters of an explanation.
const LINE: usize = 300;

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The next try may succeed: not before so long, if the API says so.
    Passing { after: Option<Duration>, what: String },
    /// The conversation is longer than the model can read.
    Full,
    /// No other try will do: a line for the person.
    Final(String),
}

/// The headers that matter.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Advice<'a> {
    /// `retry-after`, in seconds.
    pub retry_after: Option<&'a str>,
    /// `x-should-retry`: what the API, or the gateway before it, says of trying again.
    pub should_retry: Option<&'a str>,
}

/// Reads an error's status, headers and body.
pub(crate) fn read(status: u16, advice: Advice<'_>, body: &[u8]) -> Refusal {
    let said = message(body);
    let passing = matches!(status, 408 | 409 | 425 | 429 | 500..);
    let passing = match advice.should_retry {
        Some("true") => true,
        Some("false") => false,
        _ => passing,
    };
    if passing {
        let after = advice.retry_after.and_then(|text| text.trim().parse().ok());
        let after = after.map(|seconds| Duration::from_secs(seconds).min(WAIT_MAX));
        let what = match status {
            429 => "the model's provider limits the rate".to_owned(),
            529 | 503 => "the model is overloaded".to_owned(),
            status => format!("the model answered {status}"),
        };
        return Refusal::Passing { after, what };
    }
    match status {
        400 | 413 if is_too_long(&said) || status == 413 => Refusal::Full,
        401 => Refusal::Final(format!(
            "the model refused the key; an operator has to look at it{}",
            because(&said)
        )),
        404 => Refusal::Final(format!("there is no such model{}", because(&said))),
        429 => Refusal::Final(format!("the model may not be called now{}", because(&said))),
        status => {
            Refusal::Final(format!("the model refused the request ({status}){}", because(&said)))
        }
    }
}

fn is_too_long(said: &str) -> bool {
    let said = said.to_lowercase();
    said.contains("prompt is too long")
        || said.contains("context window")
        || said.contains("context limit")
}

fn because(said: &str) -> String {
    if said.is_empty() { String::new() } else { format!(": {said}") }
}

/// What the error says of itself, in one short line.
fn message(body: &[u8]) -> String {
    let value: Value = serde_json::from_slice(body).unwrap_or_default();
    let said = value["error"]["message"].as_str().or_else(|| value["detail"].as_str());
    let line = said.unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ");
    line.trim_end_matches('.').chars().filter(|c| !c.is_control()).take(LINE).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(status: u16, body: &str) -> Refusal {
        read(status, Advice::default(), body.as_bytes())
    }

    #[test]
    fn errors_are_told_apart_by_what_can_be_done() {
        let error = |text: &str| format!("{{\"error\":{{\"message\":\"{text}\"}}}}");
        assert!(matches!(of(529, ""), Refusal::Passing { after: None, .. }));
        let advice = Advice { retry_after: Some("7"), should_retry: None };
        let Refusal::Passing { after, .. } = read(429, advice, b"") else { panic!() };
        assert_eq!(after, Some(Duration::from_secs(7)));
        let far = Advice { retry_after: Some("99999999"), should_retry: None };
        assert!(matches!(read(429, far, b""), Refusal::Passing { after: Some(WAIT_MAX), .. }));
        let never = Advice { retry_after: Some("7"), should_retry: Some("false") };
        assert_eq!(
            read(429, never, error("atlas has spent its cap.").as_bytes()),
            Refusal::Final("the model may not be called now: atlas has spent its cap".into())
        );
        assert_eq!(of(400, &error("prompt is too long: 9 > 8")), Refusal::Full);
        let Refusal::Final(line) = of(401, "<html>") else { panic!() };
        assert_eq!(line, "the model refused the key; an operator has to look at it");
        assert!(matches!(of(400, &error("no")), Refusal::Final(_)));
    }
}
