//! authd's pages as HTML, in the frame that [`kit::PlainPages`] gives them.

use crate::{
    session::{Kind, Session},
    store::Identity,
    vouched::Provider,
};
use axum::{http::StatusCode, response::Response};
use kit::{PlainPage, PlainPages};
use maud::{Markup, html};
use proto::Timestamp;

/// Somebody who is logged in.
#[derive(Debug)]
pub(crate) struct Who {
    pub(crate) session: Session,
    /// All sessions of theirs that last, this one among them.
    pub(crate) sessions: Vec<Session>,
    /// The accounts by which they log in.
    pub(crate) identities: Vec<Identity>,
    /// By which they may link another.
    pub(crate) providers: Vec<Provider>,
}

/// One page.
#[derive(Debug)]
pub(crate) enum Page<'a> {
    /// A link that logs in.
    Link,
    /// A link that has logged somebody in.
    Spent,
    /// A link that has ended or never was.
    Gone,
    /// A form that another site sent.
    Elsewhere,
    LoggedIn(&'a Who),
    LoggedOut {
        /// By which one may log in.
        providers: &'a [Provider],
        /// The page to go to afterwards.
        next: &'a str,
    },
    /// The way to a provider, for an account to be linked.
    ToLink {
        provider: Provider,
        address: &'a str,
    },
    /// Nobody is logged in whose account another could be linked to.
    NothingToLink,
    /// The account belongs to another person.
    Taken,
    /// The answer of a provider that belongs to no login of this browser.
    Stale,
    /// The provider did not vouch.
    NotBelieved,
    /// The provider could not be asked.
    ProviderAway,
    /// No rule lets this account in.
    NotAllowed,
    /// There is no such provider here.
    NoSuchLogin,
    /// The refresh token of a program, shown once.
    Program(&'a str),
    /// Something failed inside; the log has it under this reference.
    Broken(&'a str),
}

/// Makes the pages of one instance.
#[derive(Debug)]
pub(crate) struct Pages(PlainPages);

impl Pages {
    pub(crate) fn new(instance: &str) -> Self {
        Self(PlainPages::new(instance))
    }

    /// The page, with the headers that keep it to itself.
    pub(crate) fn show(&self, status: StatusCode, page: &Page<'_>) -> Response {
        self.0.answer(status, &self.framed(page))
    }

    fn framed(&self, page: &Page<'_>) -> PlainPage<'static> {
        PlainPage { title: title(page), body: body(page, self.0.instance()), refresh: None }
    }
}

fn title(page: &Page<'_>) -> &'static str {
    match page {
        Page::Link => "Log in",
        Page::Spent => "This link has been used",
        Page::Gone => "This link does not work",
        Page::Elsewhere => "Not from this page",
        Page::LoggedIn(_) => "You are logged in",
        Page::LoggedOut { .. } => "You are not logged in",
        Page::ToLink { .. } => "Link another account",
        Page::NothingToLink => "Nothing to link to",
        Page::Taken => "This account is somebody else's",
        Page::Stale => "This login is over",
        Page::NotBelieved => "The login did not succeed",
        Page::ProviderAway => "The provider does not answer",
        Page::NotAllowed => "This account may not log in here",
        Page::NoSuchLogin => "No such login",
        Page::Program(_) => "A token for a program",
        Page::Broken(_) => "Something failed",
    }
}

fn body(page: &Page<'_>, instance: &str) -> Markup {
    match page {
        Page::Link => html! {
            p { "This link logs this browser in as the operator of " strong { (instance) } "." }
            form method="post" { button.primary type="submit" { "Log in" } }
            p.quiet { "It works once. If you did not ask for it, close this page: nothing has happened yet." }
        },
        Page::Spent => html! {
            p { "A login link works once, and this one has logged a browser in." }
            p { "If that was not you, log out everywhere, and look at " code { "arizuko audit" } "." }
            (new_link())
        },
        Page::Gone => html! {
            p { "A login link lasts ten minutes. This one has ended, or it was not copied whole." }
            (new_link())
        },
        Page::Elsewhere => html! {
            p { "The request was sent by another site, so it was not carried out." }
            p { "Open the page itself, and press its button there." }
        },
        Page::LoggedIn(who) => logged_in(who),
        Page::LoggedOut { providers, next } => logged_out(providers, next),
        Page::ToLink { .. }
        | Page::NothingToLink
        | Page::Taken
        | Page::Stale
        | Page::NotBelieved
        | Page::ProviderAway
        | Page::NotAllowed
        | Page::NoSuchLogin => by_provider(page),
        Page::Program(token) => program(token),
        Page::Broken(reference) => html! {
            p { "This is not your doing. Try again; if it stays, look for the reference in authd's log." }
            dl { dt { "Reference" } dd { code { (reference) } } }
        },
    }
}

/// What went on between this host and a provider.
fn by_provider(page: &Page<'_>) -> Markup {
    let again = html! { p { a href="/auth/" { "Begin again" } } };
    match page {
        Page::ToLink { provider, address } => html! {
            p { "Log in at " (named(*provider)) " with the account that is to be yours here as well." }
            p { a.button href=(address) { "Go to " (named(*provider)) } }
            p.quiet { "Whoever has that account will then log in as you. If you did not ask for this, close this page." }
        },
        Page::NothingToLink => html! {
            p { "An account is linked to the one by which you are logged in, and that is none of a provider's." }
            (again)
        },
        Page::Taken => html! {
            p { "Somebody has logged in here by that account before, so it was not linked to yours." }
            (again)
        },
        Page::Stale => html! {
            p { "A login lasts ten minutes, counts once, and ends in the browser that began it." }
            (again)
        },
        Page::NotBelieved => html! {
            p { "The provider did not confirm who you are, or its answer was not what was asked for." }
            (again)
        },
        Page::ProviderAway => html! {
            p { "Who you are could not be asked for just now. If it stays so, the operator finds the reason in authd's log." }
            (again)
        },
        Page::NotAllowed => html! {
            p { "The provider knows you, and nothing here lets that account in. Ask the operator, or use another account." }
            (again)
        },
        _ => html! {
            p { "Nobody logs in by that here." }
            (again)
        },
    }
}

/// A provider, as people call it.
fn named(provider: Provider) -> &'static str {
    match provider {
        Provider::Oidc => "your organisation",
        Provider::Github => "GitHub",
    }
}

fn logged_out(providers: &[Provider], next: &str) -> Markup {
    let query = url::form_urlencoded::byte_serialize(next.as_bytes()).collect::<String>();
    html! {
        @for provider in providers {
            p {
                a.button.primary href={ "/auth/begin/" (provider) "?next=" (query) } {
                    "Log in with " (named(*provider))
                }
            }
        }
        @if providers.is_empty() {
            p { "Pages that need a login ask for one. There is no password: a link logs you in." }
        } @else {
            p.quiet { "The operator can log in by a link as well." }
        }
        (new_link())
    }
}

fn logged_in(who: &Who) -> Markup {
    let Who { session, sessions, .. } = who;
    html! {
        dl {
            dt { "As" } dd { code { (session.subject) } }
            dt { "Since" } dd { (time(session.made)) }
            dt { "Until" } dd { (time(session.ends())) ", if you do not come back before" }
        }
        form method="post" action="/auth/logout" { button type="submit" { "Log out" } }
        @if sessions.len() > 1 {
            form method="post" action="/auth/logout" {
                button type="submit" name="everywhere" value="yes" { "Log out everywhere" }
            }
        }
        (accounts(who))
        h2 { "Sessions" }
        ul.rows {
            @for one in sessions { (row(one, one.id == session.id)) }
        }
        form method="post" action="/auth/programs" {
            button type="submit" { "Make a token for a program" }
        }
    }
}

fn row(session: &Session, is_this: bool) -> Markup {
    html! {
        li {
            span {
                @match session.kind { Kind::Browser => "A browser", Kind::Program => "A program" }
                @if !session.from.is_empty() { " at " (session.from) }
                @if is_this { ", this one" }
                br;
                span.quiet { "last used " (time(session.seen)) }
            }
            @if !is_this {
                form method="post" action="/auth/sessions/end" {
                    button type="submit" name="id" value=(session.id) { "End" }
                }
            }
        }
    }
}

fn accounts(who: &Who) -> Markup {
    html! {
        @if !who.identities.is_empty() {
            h2 { "Accounts" }
            ul.rows {
                @for one in &who.identities {
                    li { span { (one.shown) br; span.quiet { code { (one.identity) } ", since " (time(one.linked)) } } }
                }
            }
            @for provider in &who.providers {
                form method="post" action={ "/auth/link/" (provider) } {
                    button type="submit" { "Link another account of " (named(*provider)) }
                }
            }
        }
    }
}

/// Shown once, since only its hash is kept.
fn program(token: &str) -> Markup {
    html! {
        p { "This is shown once. Whoever has it acts as you, until the session of the program ends." }
        pre { code { (token) } }
        p { "The program posts it as " code { "{\"refresh_token\":\"…\"}" } " to " code { "/auth/token" } ", and gets an access token of fifteen minutes and the next refresh token; each is good once." }
        p { a href="/auth/" { "Back" } }
    }
}

fn new_link() -> Markup {
    html! {
        p { "To make a new link, run this where arizuko runs:" }
        pre { code { "arizuko login" } }
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

    #[test]
    fn what_others_chose_is_text_and_never_markup() {
        let session = Session {
            id: 1,
            subject: "user:<script>alert(1)</script>".into(),
            made: Timestamp(1_700_000_000_123),
            seen: Timestamp(1_700_000_000_123),
            rule: Some("oidc anyone".into()),
            from: "<img>".into(),
            kind: Kind::Browser,
        };
        let identity = Identity {
            identity: "oidc:0:<b>x".into(),
            shown: "<script>x".into(),
            linked: Timestamp(1_700_000_000_123),
        };
        let who = Who {
            sessions: vec![session.clone(), Session { id: 2, ..session.clone() }],
            session,
            identities: vec![identity],
            providers: vec![Provider::Github],
        };
        let pages = Pages::new("<b>demo</b>");
        let html = pages.0.html(&pages.framed(&Page::LoggedIn(&who)));
        assert!(!html.contains("<script") && !html.contains("<b>demo"), "{html}");
        assert!(html.contains("2023-11-14 22:13 UTC"), "{html}");
        assert!(!html.contains("<img>") && html.contains("Log out everywhere"), "{html}");
    }
}
