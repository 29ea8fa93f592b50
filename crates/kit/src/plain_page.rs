//! The frame of the pages by which people log in and come in: no script, one inline stylesheet that the policy names by
//! its hash, and headers that keep the page to itself. Each daemon that has such pages says what is in them.

use axum::response::{Html, IntoResponse, Response};
use base64::{Engine, engine::general_purpose::STANDARD};
use http::{HeaderName, HeaderValue, StatusCode, header};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use sha2::{Digest, Sha256};

const STYLE: &str = include_str!("plain_page.css");

/// One page.
#[derive(Debug)]
pub struct PlainPage<'a> {
    /// Its heading, and with the instance's name its title.
    pub title: &'a str,
    /// What follows the heading.
    pub body: Markup,
    /// After how many seconds the browser is to load it again.
    pub refresh: Option<u32>,
}

/// Makes the pages of one instance.
#[derive(Debug)]
pub struct PlainPages {
    instance: String,
    policy: HeaderValue,
}

impl PlainPages {
    /// The pages of `instance`.
    pub fn new(instance: &str) -> Self {
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

    /// The instance, as its pages name it.
    pub fn instance(&self) -> &str {
        &self.instance
    }

    /// The page, with the headers that keep it to itself.
    pub fn answer(&self, status: StatusCode, page: &PlainPage<'_>) -> Response {
        let headers = [
            (header::CONTENT_SECURITY_POLICY, self.policy.clone()),
            (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
            (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
            (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
            // Not `no-referrer`: a browser would then send our own forms with `Origin: null`. And not to other sites:
            // the address may be a right.
            (header::REFERRER_POLICY, HeaderValue::from_static("same-origin")),
            (
                HeaderName::from_static("cross-origin-opener-policy"),
                HeaderValue::from_static("same-origin"),
            ),
            (HeaderName::from_static("x-robots-tag"), HeaderValue::from_static("noindex")),
        ];
        (status, headers, Html(self.html(page))).into_response()
    }

    /// The page by itself.
    pub fn html(&self, page: &PlainPage<'_>) -> String {
        let page = html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    @if let Some(seconds) = page.refresh {
                        meta http-equiv="refresh" content=(seconds);
                    }
                    title { (page.title) " · " (self.instance) }
                    style { (PreEscaped(STYLE)) }
                }
                body {
                    main {
                        p.instance { "arizuko " span { (self.instance) } }
                        h1 { (page.title) }
                        (page.body)
                    }
                }
            }
        };
        page.into_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stylesheet_is_the_one_that_the_policy_names_and_nothing_else_may_be_loaded() {
        let pages = PlainPages::new("<b>demo</b>");
        let page =
            PlainPage { title: "Ask <i>first</i>", body: html! { p { "&" } }, refresh: None };
        let html = pages.html(&page);
        let (_, rest) = html.split_once("<style>").unwrap();
        let (style, _) = rest.split_once("</style>").unwrap();
        let hash = STANDARD.encode(Sha256::digest(style.as_bytes()));
        let answer = pages.answer(StatusCode::OK, &page);
        let policy = answer.headers()[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert!(policy.contains(&format!("style-src 'sha256-{hash}'")), "{policy}");
        assert!(policy.starts_with("default-src 'none';"), "{policy}");
        assert!(!html.contains("style="), "an inline style would be refused");
        assert!(!html.contains("<b>") && !html.contains("<i>"), "names are text: {html}");
        assert!(!html.contains("http-equiv"), "{html}");
        let again = PlainPage { refresh: Some(30), ..page };
        assert!(pages.html(&again).contains("http-equiv=\"refresh\" content=\"30\""));
    }
}
