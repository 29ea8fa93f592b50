//! What newcomers are told in their chat. Pure.

/// Their place in the queue.
pub(crate) fn queued(assistant: &str, position: u64) -> String {
    format!(
        "You are number {position} in the queue for {assistant}. You will hear here what was decided."
    )
}

/// An operator has approved a chat; the link follows.
pub(crate) fn approved(assistant: &str, note: Option<&str>) -> String {
    with_note(
        &format!(
            "You may talk to {assistant}. Open this link within ten minutes and log in, and this chat is yours:"
        ),
        note,
    )
}

/// They are in.
pub(crate) fn welcome(assistant: &str, note: Option<&str>) -> String {
    with_note(&format!("You are in: this chat is yours. Write to {assistant} here."), note)
}

/// They were refused.
pub(crate) fn refused(note: Option<&str>) -> String {
    with_note("You were not let in.", note)
}

/// The note comes first: a link stays the last line.
fn with_note(line: &str, note: Option<&str>) -> String {
    match note {
        Some(note) => format!("{note}\n\n{line}"),
        None => line.to_owned(),
    }
}
