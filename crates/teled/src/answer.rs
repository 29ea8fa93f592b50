//! What the Bot API's answers mean. Pure. <https://core.telegram.org/bots/api#making-requests>

use adapter::Trouble;
use frankenstein::response::ErrorResponse;
use serde::Deserialize;
use serde_json::Value;
use std::time::Duration;

/// A call that brought no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ApiError {
    /// There is no token yet.
    #[error("there is no TELEGRAM_BOT_TOKEN")]
    NoToken,
    /// Telegram does not know the token (any more).
    #[error("Telegram does not accept TELEGRAM_BOT_TOKEN: {0}")]
    Unauthorized(String),
    /// Somebody else asks for the same bot's updates, or a webhook gets them.
    #[error("Telegram says that another gets this bot's updates: {0}")]
    Conflict(String),
    /// Too much was asked.
    #[error("Telegram wants to be asked again in {} seconds", .0.as_secs())]
    RateLimited(Duration),
    /// The group has become a supergroup, with this id.
    #[error("the group has become the supergroup {0}")]
    Migrated(i64),
    /// The bot may not do this: it is blocked, or was removed.
    #[error("Telegram: {0}")]
    Forbidden(String),
    /// The request is not one.
    #[error("Telegram: {0}")]
    Invalid(String),
    /// Telegram failed; whether it did what was asked is not known.
    #[error("Telegram failed: {0}")]
    Failed(String),
    /// The request never reached Telegram.
    #[error("Telegram cannot be reached: {0}")]
    Unreachable(String),
    /// The request went out, and no answer came.
    #[error("Telegram did not answer: {0}")]
    NoAnswer(String),
    /// A file that was to be sent broke off, so that Telegram has half a request at most.
    #[error("the request broke off: {0}")]
    BrokeOff(Trouble),
}

/// Longest wait that is believed.
const WAIT_MAX: Duration = Duration::from_secs(60 * 60);

#[derive(Deserialize)]
struct Success {
    result: Value,
}

/// What an answer says.
pub(crate) fn read(status: u16, body: &[u8]) -> Result<Value, ApiError> {
    if (200..300).contains(&status) {
        let answer = serde_json::from_slice::<Success>(body);
        return answer.map(|answer| answer.result).map_err(|error| {
            ApiError::NoAnswer(format!("its answer is not understood ({error})"))
        });
    }
    let said = serde_json::from_slice::<ErrorResponse>(body).ok();
    let text =
        said.as_ref().map_or_else(|| format!("HTTP {status}"), |said| brief(&said.description));
    let parameters = said.as_ref().and_then(|said| said.parameters);
    // What stands in the way may answer in Telegram's place, and says nothing of Telegram.
    let is_telegram = said.is_some();
    Err(match status {
        401 | 404 if is_telegram => ApiError::Unauthorized(text),
        403 if is_telegram => ApiError::Forbidden(text),
        409 => ApiError::Conflict(text),
        429 => {
            let wait = parameters.and_then(|it| it.retry_after).unwrap_or(1).max(1);
            ApiError::RateLimited(Duration::from_secs(wait.into()).min(WAIT_MAX))
        }
        400..=499 => match parameters.and_then(|it| it.migrate_to_chat_id) {
            Some(chat) => ApiError::Migrated(chat),
            None => ApiError::Invalid(text),
        },
        _ => ApiError::Failed(text),
    })
}

/// A description, without what would not fit a line of a log.
fn brief(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(200).collect()
}

impl ApiError {
    /// What it means for something that was to be sent. Whoever says that it is harmless can do the same again.
    pub(crate) fn trouble(self, harmless: bool) -> Trouble {
        let why = self.to_string();
        match self {
            Self::NoToken | Self::Unauthorized(_) => Trouble::Refused(why),
            Self::RateLimited(wait) => {
                Trouble::RateLimited { wait, why: "Telegram asks for a pause".into() }
            }
            Self::Forbidden(_) | Self::Invalid(_) => Trouble::Permanent(why),
            Self::Migrated(_) | Self::Unreachable(_) | Self::Conflict(_) => Trouble::Transient(why),
            Self::BrokeOff(trouble) => trouble,
            Self::Failed(_) | Self::NoAnswer(_) if harmless => Trouble::Transient(why),
            Self::Failed(_) | Self::NoAnswer(_) => Trouble::Ambiguous(why),
        }
    }

    /// Whether Telegram cannot read the markup of what it was given.
    pub(crate) fn is_about_markup(&self) -> bool {
        matches!(self, Self::Invalid(text) if text.contains("can't parse entities"))
    }

    /// Whether it is a picture that Telegram does not take as one.
    pub(crate) fn is_about_the_picture(&self) -> bool {
        let words = ["PHOTO_INVALID_DIMENSIONS", "IMAGE_PROCESS_FAILED", "PHOTO_EXT_INVALID"];
        matches!(self, Self::Invalid(text) if words.iter().any(|word| text.contains(word)))
    }

    /// Whether what was to be so is so already.
    pub(crate) fn is_already_so(&self) -> bool {
        let words = ["message is not modified", "message to delete not found"];
        matches!(self, Self::Invalid(text) if words.iter().any(|word| text.contains(word)))
    }

    /// Whether the message is a file's, which has no text but a caption.
    pub(crate) fn is_a_caption(&self) -> bool {
        matches!(self, Self::Invalid(text) if text.contains("there is no text in the message"))
    }

    /// Whether Telegram has no such reaction.
    pub(crate) fn is_about_the_reaction(&self) -> bool {
        matches!(self, Self::Invalid(text) if text.contains("REACTION_INVALID"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn refusal(code: u16, text: &str, parameters: Value) -> ApiError {
        let body = json!({ "ok": false, "error_code": code, "description": text, "parameters": parameters });
        read(code, body.to_string().as_bytes()).unwrap_err()
    }

    #[test]
    fn each_answer_has_its_trouble() {
        let none = || json!({});
        let permanent = |text: &str| Trouble::Permanent(format!("Telegram: {text}"));
        for (error, sent, harmless) in [
            (
                refusal(403, "Forbidden: bot was blocked by the user", none()),
                permanent("Forbidden: bot was blocked by the user"),
                permanent("Forbidden: bot was blocked by the user"),
            ),
            (
                refusal(400, "Bad Request: chat not found", none()),
                permanent("Bad Request: chat not found"),
                permanent("Bad Request: chat not found"),
            ),
        ] {
            assert_eq!(error.clone().trouble(false), sent);
            assert_eq!(error.trouble(true), harmless);
        }
        let limited = refusal(429, "Too Many Requests: retry after 7", json!({ "retry_after": 7 }));
        assert_eq!(limited, ApiError::RateLimited(Duration::from_secs(7)));
        let moved = refusal(400, "upgraded", json!({ "migrate_to_chat_id": -1001 }));
        assert_eq!(moved, ApiError::Migrated(-1001));
        for code in [401, 404] {
            let refused = refusal(code, "Unauthorized", none());
            assert!(matches!(refused.trouble(false), Trouble::Refused(_)), "{code}");
        }
        for lost in
            [refusal(500, "Internal Server Error", none()), read(502, b"<html>").unwrap_err()]
        {
            assert!(matches!(lost.clone().trouble(false), Trouble::Ambiguous(_)), "{lost:?}");
            assert!(matches!(lost.trouble(true), Trouble::Transient(_)));
        }
        let garbled = read(200, b"{\"ok\":true").unwrap_err();
        assert!(
            matches!(garbled.trouble(false), Trouble::Ambiguous(_)),
            "it answered: it may be out"
        );
        assert!(matches!(read(404, b"nginx").unwrap_err(), ApiError::Invalid(_)));
    }

    #[test]
    fn a_result_is_read() {
        assert_eq!(read(200, br#"{"ok":true,"result":[1]}"#), Ok(json!([1])));
    }
}
