//! onbod's pages as HTML, in the frame that [`kit::PlainPages`] gives them.

use axum::{http::StatusCode, response::Response};
use kit::{PlainPage, PlainPages};
use maud::{Markup, html};
use proto::{
    Jid, Timestamp,
    onbod::{Admission, AdmissionState as State, Person},
};

/// Where one logs in.
const LOGIN: &str = "/auth/";

/// How things stand with somebody.
#[derive(Debug)]
pub(crate) struct Standing {
    pub(crate) subject: String,
    /// Where they were let in.
    pub(crate) person: Option<Person>,
    /// Theirs, the newest first.
    pub(crate) admissions: Vec<Admission>,
    /// How many wait.
    pub(crate) waiting: u32,
    /// Of the form that opens their chat.
    pub(crate) mark: String,
}

/// One page.
#[derive(Debug)]
pub(crate) enum Page<'a> {
    /// Nobody is logged in; this is the page that they come back to.
    LogIn(&'a str),
    /// A pairing link that can be used.
    Pair { admission: &'a Admission, subject: &'a str, mark: &'a str },
    /// Somebody else used it.
    Spent,
    /// It has ended, or never was.
    Gone,
    /// The queue is full.
    Full,
    /// An invite that can be used.
    Invite { subject: &'a str, mark: &'a str, until: Timestamp },
    /// An invite that has ended, is used up, or never was.
    NoInvite,
    /// How things stand.
    Standing(&'a Standing),
    /// A form that another site sent, or that was open for too long.
    Elsewhere,
    /// routd cannot be asked now.
    Later,
    /// Something failed inside; the log has it under this reference.
    Broken(&'a str),
}

/// Makes the pages of one instance.
#[derive(Debug)]
pub(crate) struct Pages {
    assistant: String,
    frame: PlainPages,
}

impl Pages {
    pub(crate) fn new(instance: &str, assistant: &str) -> Self {
        Self { assistant: assistant.to_owned(), frame: PlainPages::new(instance) }
    }

    /// The page, with the headers that keep it to itself.
    pub(crate) fn show(&self, status: StatusCode, page: &Page<'_>) -> Response {
        self.frame.answer(status, &self.framed(page))
    }

    fn framed(&self, page: &Page<'_>) -> PlainPage<'static> {
        PlainPage { title: title(page), body: self.body(page), refresh: refresh(page) }
    }

    fn body(&self, page: &Page<'_>) -> Markup {
        let assistant = &self.assistant;
        match page {
            Page::LogIn(back) => html! {
                p { "Log in first. If that does not lead you back here, open this link again." }
                p { a.button.primary href=(log_in(back)) { "Log in" } }
                p.quiet { "Nothing has happened yet." }
            },
            Page::Pair { admission, subject, mark } => html! {
                p { "This chat becomes yours: what is written there goes to " (assistant) " in a folder of your own." }
                dl {
                    @if let Some(chat) = &admission.chat_jid { dt { "Chat" } dd { code { (chat) } } }
                    @if let Some(name) = &admission.sender_name { dt { "Of" } dd { (name) } }
                    dt { "You are" } dd { code { (subject) } }
                }
                (form("This chat is mine", mark))
                p.quiet { "If this is not your chat, close this page: whoever sent you the link wants you to answer for theirs." }
            },
            Page::Spent => html! {
                p { "A pairing link works once, and somebody has used this one." }
                p { "If that was not you, tell whoever runs " strong { (self.frame.instance()) } "." }
            },
            Page::Gone => html! {
                p { "A pairing link lasts ten minutes. This one has ended, or it was not copied whole." }
                p { "Write in the chat again to get a new one." }
            },
            Page::Full => html! {
                p { "As many people wait as can. The link has not been used: try again within its ten minutes, or write in the chat later." }
            },
            Page::Invite { subject, mark, until } => html! {
                p { "You are invited to " strong { (self.frame.instance()) } ". You get a folder of your own, and " (assistant) " in it." }
                dl {
                    dt { "You are" } dd { code { (subject) } }
                    dt { "Good until" } dd { (time(*until)) }
                }
                (form("Come in", mark))
            },
            Page::NoInvite => html! {
                p { "This invite has ended, is used up, or was not copied whole." }
                p { "Ask whoever sent it for another." }
            },
            Page::Standing(standing) => self.standing(standing),
            Page::Elsewhere => html! {
                p { "The request was sent by another site, or the page was open for too long, so it was not carried out." }
                p { "Open the page again, and press its button there." }
            },
            Page::Later => html! {
                p { "This cannot be done just now, and nothing was done. Try again in a minute." }
            },
            Page::Broken(reference) => html! {
                p { "This is not your doing. Try again; if it stays, look for the reference in onbod's log." }
                dl { dt { "Reference" } dd { code { (reference) } } }
            },
        }
    }

    fn standing(&self, standing: &Standing) -> Markup {
        let Standing { subject, person, admissions, waiting, mark } = standing;
        let newest = admissions.first();
        html! {
            @match (person, newest) {
                (Some(person), _) => {
                    dl {
                        dt { "You are" } dd { code { (subject) } }
                        dt { "Folder" } dd { code { (person.folder) } }
                        dt { "Since" } dd { (time(person.since)) }
                        (chats(&person.chats))
                    }
                    form method="post" action="/onboard/chat" {
                        input type="hidden" name="mark" value=(mark);
                        button.primary type="submit" { "Talk to " (self.assistant) " here" }
                    }
                    p.quiet { "The button makes a new private link to a web chat of your folder. Keep it to yourself." }
                }
                (None, Some(admission)) => (self.pending(admission, *waiting)),
                (None, None) => {
                    p { "You are logged in as " code { (subject) } ", and have no folder here yet." }
                    p { "Open the link that you got in your chat, or the invite that somebody sent you." }
                }
            }
        }
    }

    fn pending(&self, admission: &Admission, waiting: u32) -> Markup {
        html! {
            @match admission.state {
                State::Refused => {
                    p { "Whoever runs " strong { (self.frame.instance()) } " did not let you in." }
                    @if let Some(note) = &admission.note { p { (note) } }
                }
                State::Waiting => {
                    p.place {
                        strong { (admission.position.unwrap_or(1)) } " of " (waiting) " in the queue"
                    }
                    p { "Somebody will decide. You hear of it in your chat, and see it here." }
                }
                _ => p { "Your folder is being made." }
            }
            dl {
                dt { "You are" } dd { code { (admission.subject.as_deref().unwrap_or("?")) } }
                @if let Some(chat) = &admission.chat_jid { dt { "Chat" } dd { code { (chat) } } }
            }
        }
    }
}

/// After how many seconds a page is to be looked at again.
fn refresh(page: &Page<'_>) -> Option<u32> {
    let Page::Standing(Standing { person: None, admissions, .. }) = page else { return None };
    match admissions.first()?.state {
        State::Admitting => Some(2),
        State::Waiting => Some(30),
        _ => None,
    }
}

fn title(page: &Page<'_>) -> &'static str {
    match page {
        Page::LogIn(_) => "Log in first",
        Page::Pair { .. } => "Is this chat yours?",
        Page::Spent => "This link has been used",
        Page::Gone => "This link does not work",
        Page::Full => "The queue is full",
        Page::Invite { .. } => "You are invited",
        Page::NoInvite => "This invite does not work",
        Page::Standing(standing) => match (&standing.person, standing.admissions.first()) {
            (Some(_), _) => "You are in",
            (None, None) => "You have no folder yet",
            (None, Some(admission)) => match admission.state {
                State::Waiting => "You are in the queue",
                State::Refused => "You were not let in",
                _ => "One moment",
            },
        },
        Page::Elsewhere => "Not from this page",
        Page::Later => "Not just now",
        Page::Broken(_) => "Something failed",
    }
}

/// The login that leads back to this page.
fn log_in(back: &str) -> String {
    let back: String = form_urlencoded::byte_serialize(back.as_bytes()).collect();
    format!("{LOGIN}?next={back}")
}

/// A form of one button that posts to the page's own address.
fn form(label: &str, mark: &str) -> Markup {
    html! {
        form method="post" {
            input type="hidden" name="mark" value=(mark);
            button.primary type="submit" { (label) }
        }
    }
}

fn chats(chats: &[Jid]) -> Markup {
    html! {
        @if !chats.is_empty() {
            dt { "Chats" }
            dd { @for chat in chats { code { (chat) } " " } }
        }
    }
}

/// To the minute, in UTC, with the whole in the attribute.
fn time(at: Timestamp) -> Markup {
    let whole = at.to_string();
    let short = whole.get(..16).unwrap_or(&whole).replace('T', " ");
    html! { time datetime=(whole) { (short) " UTC" } }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission() -> Admission {
        Admission {
            id: "a-1".parse().unwrap(),
            state: State::Waiting,
            chat_jid: Some("telegram:user/<b>7".parse().unwrap()),
            sender: "telegram:user/7".into(),
            sender_name: Some("<script>alert(1)</script>".into()),
            excerpt: "hello".into(),
            subject: Some("user:<i>".into()),
            folder: None,
            position: Some(2),
            decided_by: None,
            note: Some("<b>no</b>".into()),
            trouble: None,
            created_at: Timestamp(0),
            changed_at: Timestamp(0),
        }
    }

    #[test]
    fn what_others_chose_is_text_and_never_markup() {
        let pages = Pages::new("<b>demo</b>", "<u>Ari</u>");
        let one = admission();
        let refused = Admission { state: State::Refused, ..admission() };
        let standing = |admission: &Admission| Standing {
            subject: "user:<i>".into(),
            person: None,
            admissions: vec![admission.clone()],
            waiting: 3,
            mark: "m".into(),
        };
        let (waits, over) = (standing(&one), standing(&refused));
        let all = [
            Page::Pair { admission: &one, subject: "user:<i>", mark: "\"m" },
            Page::Standing(&waits),
            Page::Standing(&over),
        ];
        for page in &all {
            let html = pages.frame.html(&pages.framed(page));
            for markup in ["<script", "<b>", "<i>", "<u>", "value=\"\"m"] {
                assert!(!html.contains(markup), "{markup}: {html}");
            }
        }
        let html = pages.frame.html(&pages.framed(&all[1]));
        assert!(html.contains("<strong>2</strong> of 3 in the queue"), "{html}");
        assert!(html.contains("content=\"30\""), "it looks again by itself: {html}");
    }
}
