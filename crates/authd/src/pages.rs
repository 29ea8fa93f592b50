//! authd's pages as HTML: no script, one inline stylesheet that the policy names by its hash.

use crate::session::Session;
use axum::{
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::{Html, IntoResponse, Response},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use proto::Timestamp;
use sha2::{Digest, Sha256};

const STYLE: &str = include_str!("pages.css");

/// Somebody who is logged in.
#[derive(Debug)]
pub(crate) struct Who {
    pub(crate) session: Session,
    /// How many other sessions of theirs last.
    pub(crate) others: usize,
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
    LoggedOut,
    /// Something failed inside; the log has it under this reference.
    Broken(&'a str),
}

/// Makes the pages of one instance.
#[derive(Debug)]
pub(crate) struct Pages {
    instance: String,
    policy: HeaderValue,
}

impl Pages {
    pub(crate) fn new(instance: &str) -> Self {
        let style = STANDARD.encode(Sha256::digest(STYLE.as_bytes()));
        let policy = format!(
            "default-src 'none'; style-src 'sha256-{style}'; form-action 'self'; base-uri 'none'; \
             frame-ancestors 'none'"
        );
        // Base64 is always a header's value; without it, nothing at all would be allowed.
        let policy = HeaderValue::from_str(&policy)
            .unwrap_or_else(|_| HeaderValue::from_static("default-src 'none'"));
        Self { instance: instance.to_owned(), policy }
    }

    /// The page, with the headers that keep it to itself.
    pub(crate) fn show(&self, status: StatusCode, page: &Page<'_>) -> Response {
        let headers = [
            (header::CONTENT_SECURITY_POLICY, self.policy.clone()),
            (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
            (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
            (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
            // Not `no-referrer`: a browser would then send our own forms with `Origin: null`.
            (header::REFERRER_POLICY, HeaderValue::from_static("same-origin")),
            (
                HeaderName::from_static("cross-origin-opener-policy"),
                HeaderValue::from_static("same-origin"),
            ),
            (HeaderName::from_static("x-robots-tag"), HeaderValue::from_static("noindex")),
        ];
        (status, headers, Html(self.html(page).into_string())).into_response()
    }

    fn html(&self, page: &Page<'_>) -> Markup {
        html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    title { (title(page)) " · " (self.instance) }
                    style { (PreEscaped(STYLE)) }
                }
                body {
                    main {
                        p.instance { "arizuko " span { (self.instance) } }
                        h1 { (title(page)) }
                        (body(page, &self.instance))
                    }
                }
            }
        }
    }
}

fn title(page: &Page<'_>) -> &'static str {
    match page {
        Page::Link => "Log in",
        Page::Spent => "This link has been used",
        Page::Gone => "This link does not work",
        Page::Elsewhere => "Not from this page",
        Page::LoggedIn(_) => "You are logged in",
        Page::LoggedOut => "You are not logged in",
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
        Page::LoggedOut => html! {
            p { "Pages that need a login ask for one. There is no password: a link logs you in." }
            (new_link())
        },
        Page::Broken(reference) => html! {
            p { "This is not your doing. Try again; if it stays, look for the reference in authd's log." }
            dl { dt { "Reference" } dd { code { (reference) } } }
        },
    }
}

fn logged_in(who: &Who) -> Markup {
    let Who { session, others } = who;
    html! {
        dl {
            dt { "As" } dd { code { (session.subject) } }
            dt { "Since" } dd { (time(session.made)) }
            dt { "Until" } dd { (time(session.ends())) ", if you do not come back before" }
            @if *others > 0 {
                dt { "Also" } dd { (others) " other " (if *others == 1 { "session" } else { "sessions" }) }
            }
        }
        form method="post" action="/auth/logout" { button type="submit" { "Log out" } }
        @if *others > 0 {
            form method="post" action="/auth/logout" {
                button type="submit" name="everywhere" value="yes" { "Log out everywhere" }
            }
        }
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
        };
        let pages = Pages::new("<b>demo</b>");
        let html = pages.html(&Page::LoggedIn(&Who { session, others: 2 })).into_string();
        assert!(!html.contains("<script") && !html.contains("<b>demo"), "{html}");
        assert!(html.contains("2023-11-14 22:13 UTC"), "{html}");
        assert!(html.contains("2 other sessions"), "{html}");
    }

    #[test]
    fn the_stylesheet_is_the_one_that_the_policy_names() {
        let pages = Pages::new("demo");
        let html = pages.html(&Page::Link).into_string();
        let (_, rest) = html.split_once("<style>").unwrap();
        let (style, _) = rest.split_once("</style>").unwrap();
        let hash = STANDARD.encode(Sha256::digest(style.as_bytes()));
        assert!(pages.policy.to_str().unwrap().contains(&format!("'sha256-{hash}'")));
        assert!(!html.contains("style="), "an inline style would be refused");
    }
}
