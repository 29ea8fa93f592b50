//! Newcomers, and who was let in.

use crate::{
    parts::{Mark, address, code, facts, mark, or_dash, table},
    shown::{head, time},
};
use maud::{Markup, html};
use proto::{
    Folder, Jid,
    onbod::{Admission, AdmissionPage, AdmissionState as State, Person},
};

/// The pages about people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tab {
    Queue,
    People,
    Invites,
    Gates,
    Sessions,
}

const TABS: [(Tab, &str, &str); 5] = [
    (Tab::Queue, "Queue", "/dash/newcomers"),
    (Tab::People, "People", "/dash/people"),
    (Tab::Invites, "Invites", "/dash/invites"),
    (Tab::Gates, "Gates", "/dash/gates"),
    (Tab::Sessions, "Logins", "/dash/sessions"),
];

/// The way from one of them to the others.
pub(crate) fn tabs(here: Tab) -> Markup {
    html! {
        nav.tabs aria-label="People" {
            @for (tab, name, href) in TABS {
                a href=(href) aria-current=[(tab == here).then_some("page")] { (name) }
            }
        }
    }
}

/// The states, as a filter offers them.
pub(crate) const STATES: [(&str, &str); 6] = [
    ("", "waiting"),
    ("greeted", "greeted: the link is out"),
    ("admitting", "being let in"),
    ("admitted", "let in"),
    ("refused", "refused"),
    ("all", "anything"),
];

fn state(admission: &Admission) -> Markup {
    html! {
        @match admission.state {
            State::Greeted => (mark(Mark::Quiet, "has a pairing link")),
            State::Waiting => (mark(Mark::Doubtful, "waits")),
            State::Admitting => (mark(Mark::Doubtful, "is being let in")),
            State::Admitted => (mark(Mark::Good, "let in")),
            State::Refused => (mark(Mark::Bad, "refused")),
        }
        @if let Some(trouble) = &admission.trouble { small { (trouble) } }
    }
}

/// What to call somebody: the name that they give themselves, else where they write.
pub(crate) fn name(admission: &Admission) -> String {
    let given = admission.sender_name.as_deref().filter(|name| !name.trim().is_empty());
    head(given.unwrap_or(&admission.sender), 60)
}

/// Newcomers, oldest first.
pub(crate) fn list(page: &AdmissionPage) -> Markup {
    let row = |one: &Admission| {
        vec![
            or_dash(one.position.map(|place| place.to_string()).as_deref()),
            html! {
                a href=(address("/dash/newcomers/one", &[("id", one.id.as_str())])) { (name(one)) }
                small { (code(one.chat_jid.as_ref().map_or("by an invite", Jid::as_str))) }
            },
            html! { (head(&one.excerpt, 120)) },
            state(one),
            match &one.subject {
                Some(subject) => code(subject),
                None => html! { span.quiet { "not yet" } },
            },
            folder(one.folder.as_ref()),
            time(one.created_at),
        ]
    };
    let heads = ["Place", "Who", "Wrote", "State", "Logged in", "Folder", "Since"];
    html! {
        p role="status" {
            @match page.waiting {
                0 => "Nobody waits.",
                1 => "1 waits.",
                count => { (count) " wait." }
            }
        }
        (table("Newcomers", &heads, page.admissions.iter().map(row).collect(), "Nobody is like that."))
    }
}

fn folder(folder: Option<&Folder>) -> Markup {
    match folder {
        Some(folder) => html! {
            a href=(address("/dash/folders/one", &[("folder", folder.as_str())])) { (folder) }
        },
        None => or_dash(None),
    }
}

/// One newcomer.
pub(crate) fn one(one: &Admission) -> Markup {
    html! {
        (facts(&[
            ("State", state(one)),
            ("Place", or_dash(one.position.map(|place| place.to_string()).as_deref())),
            ("Chat", match &one.chat_jid {
                Some(chat) => html! {
                    a href=(address("/dash/messages", &[("chat", chat.as_str())])) { (code(chat.as_str())) }
                },
                None => html! { "came by an invite" },
            }),
            ("Sender", code(&one.sender)),
            ("Logged in as", or_dash(one.subject.as_deref())),
            ("Folder", folder(one.folder.as_ref())),
            ("Decided by", or_dash(one.decided_by.as_deref())),
            ("Told", or_dash(one.note.as_deref())),
            ("Since", time(one.created_at)),
            ("Changed", time(one.changed_at)),
        ]))
        @if !one.excerpt.is_empty() {
            h2 { "How their first message begins" }
            pre.log tabindex="0" { (one.excerpt) }
        }
    }
}

/// What letting somebody in does, as things stand.
pub(crate) fn effect(one: &Admission) -> &'static str {
    match (one.state, &one.subject) {
        (_, Some(_)) => {
            "They have logged in: they get a folder of their own, the right to administer it and nothing else, and their \
             chat leads there."
        }
        (State::Greeted, None) => {
            "Nobody has used the link yet: whoever does, and logs in, comes in at once. They get a folder of their own, \
             the right to administer it and nothing else."
        }
        (_, None) => {
            "Their chat gets a pairing link for ten minutes. Whoever logs in by it gets a folder of their own, the right \
             to administer it and nothing else."
        }
    }
}

/// Who was let in, in the order of their coming.
pub(crate) fn people(people: &[Person]) -> Markup {
    let row = |one: &Person| {
        vec![
            html! {
                a href=(address("/dash/sessions", &[("subject", &one.subject)])) { (code(&one.subject)) }
            },
            folder(Some(&one.folder)),
            html! {
                @for chat in &one.chats {
                    div {
                        a href=(address("/dash/messages", &[("chat", chat.as_str())])) { (code(chat.as_str())) }
                    }
                }
            },
            time(one.since),
        ]
    };
    let heads = ["Person", "Folder", "Chats", "Since"];
    table("People", &heads, people.iter().map(row).collect(), "Nobody was let in yet.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::Timestamp;

    fn admission(state: State, subject: Option<&str>) -> Admission {
        Admission {
            id: "a-1".parse().unwrap(),
            state,
            chat_jid: Some("telegram:user/<b>7".parse().unwrap()),
            sender: "telegram:user/7".into(),
            sender_name: Some("<script>alert(1)</script>".into()),
            excerpt: "<img src=x>".into(),
            subject: subject.map(str::to_owned),
            folder: None,
            position: Some(1),
            decided_by: None,
            note: Some("<i>".into()),
            trouble: Some("<u>".into()),
            created_at: Timestamp(0),
            changed_at: Timestamp(0),
        }
    }

    #[test]
    fn what_a_stranger_chose_is_text_and_never_markup() {
        let stranger = admission(State::Waiting, Some("user:<i>"));
        let page = AdmissionPage { admissions: vec![stranger.clone()], next: None, waiting: 1 };
        for html in [list(&page).into_string(), one(&stranger).into_string()] {
            for markup in ["<script", "<img", "<b>", "<i>", "<u>"] {
                assert!(!html.contains(markup), "{markup}: {html}");
            }
            assert!(html.contains("&lt;img src=x&gt;"), "{html}");
        }
        let nameless = Admission { sender_name: Some("  ".into()), ..stranger };
        assert_eq!(name(&nameless), "telegram:user/7");
    }

    #[test]
    fn what_a_word_does_is_said_before_it_is_given() {
        let told = |state, subject| effect(&admission(state, subject));
        assert!(told(State::Waiting, Some("user:x")).starts_with("They have logged in"));
        assert!(told(State::Refused, Some("user:x")).starts_with("They have logged in"));
        assert!(told(State::Greeted, None).starts_with("Nobody has used the link"));
        for state in [State::Waiting, State::Refused] {
            assert!(told(state, None).starts_with("Their chat gets a pairing link"), "{state:?}");
        }
    }
}
