//! What the edge answers by itself: a page for a browser, a problem for a program.

use base64::{Engine, engine::general_purpose::STANDARD};
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use proto::{Code, Problem};
use sha2::{Digest, Sha256};
use std::{sync::LazyLock, time::Duration};

const STYLE: &str = ":root{color-scheme:light dark;font:100%/1.6 ui-sans-serif,system-ui,\
-apple-system,\"Segoe UI\",Roboto,\"Helvetica Neue\",Arial,sans-serif}body{margin:0;\
min-height:100dvh;display:grid;place-content:center;padding:2rem;text-align:center;\
background:light-dark(#fbfaf7,#171715);color:light-dark(#23211d,#e9e6df)}h1{margin:0 0 .4rem;\
font-size:1.35rem;font-weight:600}p{margin:0;max-width:28rem;color:light-dark(#6a655c,#a19b8f)}\
a{display:inline-block;margin-top:1.4rem;color:light-dark(#2d6a53,#8cc7ac)}small{display:block;\
margin-top:1.4rem;color:light-dark(#6a655c,#a19b8f)}";

/// The policy of these pages: their one style, and nothing else.
static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let hash = STANDARD.encode(Sha256::digest(STYLE));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    // Base64 and the words above are ASCII; without the policy, the page would be refused nothing.
    HeaderValue::from_str(&policy).unwrap_or(HeaderValue::from_static("default-src 'none'"))
});

/// Why the edge answers a request itself.
#[derive(Debug)]
pub struct Refusal {
    status: StatusCode,
    code: &'static str,
    title: &'static str,
    detail: String,
    retry_after: Option<Duration>,
}

impl Refusal {
    /// With a status and a stable code of its own.
    pub fn new(
        status: StatusCode,
        code: &'static str,
        title: &'static str,
        detail: impl Into<String>,
    ) -> Self {
        Self { status, code, title, detail: detail.into(), retry_after: None }
    }

    /// Of one of the kinds that mean the same everywhere.
    pub fn of(code: Code, detail: impl Into<String>) -> Self {
        let status = StatusCode::from_u16(code.status()).unwrap_or(StatusCode::BAD_REQUEST);
        Self::new(status, code.as_str(), code.title(), detail)
    }

    /// When to try again.
    #[must_use]
    pub fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// The answer, as who asked can best read it.
    pub fn answer(self, asked: &HeaderMap, request_id: &str) -> Response<String> {
        let mut response = if wants_html(asked) {
            let note = format!("<small>Reference {}</small>", escape(request_id));
            page(self.title, &sentence(&self.detail), &note)
        } else {
            let problem = Problem {
                status: self.status.as_u16(),
                code: self.code.to_owned(),
                title: self.title.to_owned(),
                detail: self.detail,
                reference: Some(request_id.to_owned()),
            };
            let body = serde_json::to_string(&problem).unwrap_or_default();
            with_type(body, "application/problem+json")
        };
        *response.status_mut() = self.status;
        if let Some(wait) = self.retry_after {
            // Whole seconds, rounded up: coming back early would be refused again.
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)));
        }
        response
    }
}

/// The page at `/`.
pub fn landing() -> Response<String> {
    let text = "This is the front door of an arizuko instance. A chat is opened by the link that \
                you were given.";
    page("arizuko", text, "<a href=\"/auth/\">Log in</a>")
}

/// The edge's own health.
pub fn health() -> Response<String> {
    with_type("{\"status\":\"ok\",\"daemon\":\"proxyd\"}".into(), "application/json")
}

/// Nothing here is for search engines.
pub fn robots() -> Response<String> {
    with_type("User-agent: *\nDisallow: /\n".into(), "text/plain; charset=utf-8")
}

/// Leads elsewhere on the same or another origin, with the same method.
pub fn redirect(location: &str) -> Response<String> {
    let mut response = with_type(String::new(), "text/plain; charset=utf-8");
    *response.status_mut() = StatusCode::PERMANENT_REDIRECT;
    match HeaderValue::from_str(location) {
        Ok(location) => {
            response.headers_mut().insert(header::LOCATION, location);
        }
        Err(_) => *response.status_mut() = StatusCode::BAD_REQUEST,
    }
    response
}

/// Whether a person's browser asks.
pub fn wants_html(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    accept.is_some_and(|accept| accept.contains("text/html"))
}

/// A problem's detail as a sentence of its own.
fn sentence(detail: &str) -> String {
    let mut letters = detail.chars();
    let first = letters.next().map(|c| c.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}.", letters.as_str())
}

/// `more` is HTML of ours.
fn page(title: &str, text: &str, more: &str) -> Response<String> {
    let (title, text) = (escape(title), escape(text));
    let html = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><title>{title}</title><style>{STYLE}</style></head><body><main><h1>{title}</h1><p>{text}</p>{more}</main></body></html>"
    );
    let mut response = with_type(html, "text/html; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, POLICY.clone());
    response
}

fn with_type(body: String, kind: &'static str) -> Response<String> {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browser_gets_a_page_and_a_program_a_problem() {
        let mut browser = HeaderMap::new();
        browser.insert(header::ACCEPT, HeaderValue::from_static("text/html,*/*;q=0.8"));
        let refusal = || {
            Refusal::of(Code::NotFound, "nothing <here>").retry_after(Duration::from_millis(1200))
        };
        let page = refusal().answer(&browser, "r1");
        assert_eq!(page.status(), 404);
        assert_eq!(page.headers()["retry-after"], "2", "rounded up");
        assert!(page.body().contains("<p>Nothing &lt;here&gt;.</p>") && page.body().contains("r1"));
        let policy = page.headers()["content-security-policy"].to_str().unwrap();
        assert!(policy.contains("sha256-") && !policy.contains("unsafe"), "{policy}");
        let problem = refusal().answer(&HeaderMap::new(), "r1");
        assert_eq!(problem.headers()["content-type"], "application/problem+json");
        let problem: Problem = serde_json::from_str(problem.body()).unwrap();
        assert_eq!((problem.status, &*problem.code), (404, "not_found"));
    }
}
