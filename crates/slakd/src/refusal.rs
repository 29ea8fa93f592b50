//! What Slack's error words mean for whoever called. Pure.
//!
//! The words are those of <https://docs.slack.dev/reference/methods>. A word that is not known counts as permanent: it
//! came as an answer, so nothing was done, and the same call would be answered alike.

/// What to do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// The token is not good: another one may be.
    Credential,
    /// Too many calls: again after the time that came with it.
    RateLimited,
    /// Slack is not well: again later. Nothing was done.
    Transient,
    /// Slack says itself that a part of it may have been done.
    Ambiguous,
    /// It is already as the call wants it.
    AlreadySo,
    /// The app lacks a right: an operator has to give it one.
    Scope,
    /// The same call would be answered alike for ever.
    Permanent,
}

/// The class of an error word, as an answer to a call of `method`.
pub(crate) fn class(method: &str, word: &str) -> Class {
    match word {
        "invalid_auth" | "token_revoked" | "token_expired" | "account_inactive" | "not_authed"
        | "invalid_token" => Class::Credential,
        "ratelimited" | "rate_limited" => Class::RateLimited,
        "internal_error" | "fatal_error" if changes(method) => Class::Ambiguous,
        "internal_error"
        | "fatal_error"
        | "service_unavailable"
        | "request_timeout"
        | "team_added_to_org"
        | "org_login_required"
        | "accesslimited" => Class::Transient,
        "already_reacted" | "no_reaction" => Class::AlreadySo,
        "message_not_found" if method == "chat.delete" => Class::AlreadySo,
        "file_not_found" | "file_deleted" if method == "files.delete" => Class::AlreadySo,
        "missing_scope"
        | "no_permission"
        | "not_allowed_token_type"
        | "ekm_access_denied"
        | "access_denied" => Class::Scope,
        _ => Class::Permanent,
    }
}

/// The class of an answer that is no word of Slack's, by its HTTP status.
pub(crate) fn class_of_status(method: &str, status: u16) -> Class {
    match status {
        429 => Class::RateLimited,
        401 => Class::Credential,
        408 | 500.. if changes(method) => Class::Ambiguous,
        408 | 500.. => Class::Transient,
        _ => Class::Permanent,
    }
}

/// Whether a method changes something that a repeat would change once more.
fn changes(method: &str) -> bool {
    matches!(method, "chat.postMessage" | "files.completeUploadExternal")
}

/// What a person who reads a log should do about an error word.
pub(crate) fn advice(word: &str) -> Option<&'static str> {
    Some(match word {
        "channel_not_found" => "the conversation is gone, or the app was never in it",
        "not_in_channel" => "invite the app into the channel",
        "is_archived" => "the channel is archived",
        "missing_scope" => "give the app the scope and install it again",
        "restricted_action" | "restricted_action_read_only_channel" => {
            "the workspace's rules do not let the app post there"
        }
        "msg_too_long" => "the message is longer than Slack takes",
        "invalid_auth" | "token_revoked" | "token_expired" | "account_inactive" | "not_authed" => {
            "the token is not good any more; install the app again and set SLACK_BOT_TOKEN"
        }
        "cannot_reply_to_message" | "thread_not_found" => "the thread is gone",
        "edit_window_closed" => "the workspace's rules allow no edit of a message that old",
        "cant_update_message" | "cant_delete_message" => "the message is not the app's own",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_told_apart_by_what_is_to_be_done_about_them() {
        for (method, word, expected) in [
            ("chat.postMessage", "invalid_auth", Class::Credential),
            ("users.info", "token_revoked", Class::Credential),
            ("chat.postMessage", "ratelimited", Class::RateLimited),
            ("chat.postMessage", "internal_error", Class::Ambiguous),
            ("chat.postMessage", "fatal_error", Class::Ambiguous),
            ("chat.update", "fatal_error", Class::Transient),
            ("conversations.history", "internal_error", Class::Transient),
            ("chat.postMessage", "channel_not_found", Class::Permanent),
            ("chat.postMessage", "msg_too_long", Class::Permanent),
            ("chat.postMessage", "a_word_of_next_year", Class::Permanent),
            ("chat.delete", "message_not_found", Class::AlreadySo),
            ("chat.update", "message_not_found", Class::Permanent),
            ("files.delete", "file_not_found", Class::AlreadySo),
            ("files.info", "file_not_found", Class::Permanent),
            ("reactions.add", "already_reacted", Class::AlreadySo),
            ("reactions.remove", "no_reaction", Class::AlreadySo),
            ("chat.postMessage", "missing_scope", Class::Scope),
        ] {
            assert_eq!(class(method, word), expected, "{method} {word}");
        }
    }

    #[test]
    fn a_status_without_a_word_leaves_a_post_in_doubt_and_a_question_to_be_asked_again() {
        assert_eq!(class_of_status("chat.postMessage", 503), Class::Ambiguous);
        assert_eq!(class_of_status("users.info", 503), Class::Transient);
        assert_eq!(class_of_status("chat.postMessage", 429), Class::RateLimited);
        assert_eq!(class_of_status("chat.postMessage", 404), Class::Permanent);
    }
}
