//! What routd's answer to a delivered event means. Pure.

/// What happens to the event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It will never be taken: it is set aside, so that the next ones go on.
    Never,
    /// Again later, with the chat's order kept.
    Later,
    /// Again later: routd does not believe this adapter, or does not let it speak for its chats.
    Distrusted,
}

/// The verdict on an answer that is no success; `None` where there was no answer.
pub(crate) const fn on(status: Option<u16>) -> Verdict {
    match status {
        Some(401 | 403) => Verdict::Distrusted,
        // These are about the moment, or about an address that is no routd's: not about the event.
        None | Some(404 | 405 | 408 | 425 | 429) => Verdict::Later,
        Some(status) if status >= 400 && status < 500 => Verdict::Never,
        Some(_) => Verdict::Later,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_answer_about_the_event_itself_sets_it_aside() {
        for (status, verdict) in [
            (None, Verdict::Later),
            (Some(400), Verdict::Never),
            (Some(401), Verdict::Distrusted),
            (Some(403), Verdict::Distrusted),
            (Some(404), Verdict::Later),
            (Some(409), Verdict::Never),
            (Some(413), Verdict::Never),
            (Some(422), Verdict::Never),
            (Some(429), Verdict::Later),
            (Some(500), Verdict::Later),
            (Some(503), Verdict::Later),
        ] {
            assert_eq!(on(status), verdict, "{status:?}");
        }
    }
}
