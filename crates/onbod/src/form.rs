//! Forms that only our own pages send.
//!
//! A form carries a mark that is made of who is logged in, of what the form does, and of a key that this process alone
//! has. Another site can neither read it from our page nor make one, and one made for somebody else is no good.

use aws_lc_rs::hmac;
use axum::http::{HeaderMap, header};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use kit::EdgeIdentity;
use rand::RngCore;
use std::fmt;

/// Makes and checks marks. After a restart, pages that were open have to be opened again.
pub(crate) struct Forms(hmac::Key);

impl Forms {
    pub(crate) fn new() -> Self {
        let mut key = [0; 32];
        rand::rng().fill_bytes(&mut key);
        Self(hmac::Key::new(hmac::HMAC_SHA256, &key))
    }

    /// The mark of a form with which `subject` does `what`.
    pub(crate) fn mark(&self, subject: &str, what: &str) -> String {
        URL_SAFE_NO_PAD.encode(hmac::sign(&self.0, &signed(subject, what)))
    }

    /// Whether `body`, a form, carries that mark.
    pub(crate) fn has_mark(&self, body: &[u8], subject: &str, what: &str) -> bool {
        let shown = form_urlencoded::parse(body).find(|(name, _)| name == "mark");
        let shown = shown.and_then(|(_, value)| URL_SAFE_NO_PAD.decode(value.as_bytes()).ok());
        shown.is_some_and(|shown| hmac::verify(&self.0, &signed(subject, what), &shown).is_ok())
    }
}

fn signed(subject: &str, what: &str) -> Vec<u8> {
    format!("{}:{subject}{what}", subject.len()).into_bytes()
}

impl fmt::Debug for Forms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Forms(..)")
    }
}

/// Whether a browser says that a form was on one of our own pages. What sends neither header is no browser of today; the
/// mark is asked for in any case.
pub(crate) fn is_ours(edge: &EdgeIdentity, headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let host = text("x-forwarded-host").or_else(|| text(header::HOST.as_str()));
    match (text("sec-fetch-site"), text("origin")) {
        (Some(site), _) => matches!(site, "same-origin" | "none"),
        (None, Some(origin)) => {
            let scheme = if edge.https { "https" } else { "http" };
            host.is_some_and(|host| origin == format!("{scheme}://{host}"))
        }
        (None, None) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_good_for_one_person_and_one_form() {
        let forms = Forms::new();
        let mark = forms.mark("user:1", "pair x");
        let body = format!("other=1&mark={mark}");
        assert!(forms.has_mark(body.as_bytes(), "user:1", "pair x"));
        assert!(!forms.has_mark(body.as_bytes(), "user:2", "pair x"));
        assert!(!forms.has_mark(body.as_bytes(), "user:1", "pair y"));
        assert!(!forms.has_mark(body.as_bytes(), "user:1p", "air x"));
        assert!(!Forms::new().has_mark(body.as_bytes(), "user:1", "pair x"));
        for body in ["", "mark=", "mark=AAAA", "mark=%00"] {
            assert!(!forms.has_mark(body.as_bytes(), "user:1", "pair x"), "{body}");
        }
    }

    #[test]
    fn a_form_from_elsewhere_is_not_ours() {
        let edge = EdgeIdentity { subject: None, client: None, https: true, act: None };
        let headers = |pairs: &[(&'static str, &'static str)]| {
            let mut map = HeaderMap::new();
            map.insert("x-forwarded-host", "a.example".parse().unwrap());
            for (name, value) in pairs {
                map.insert(*name, value.parse().unwrap());
            }
            map
        };
        for good in
            [&[("sec-fetch-site", "same-origin")][..], &[("origin", "https://a.example")], &[]]
        {
            assert!(is_ours(&edge, &headers(good)), "{good:?}");
        }
        for bad in [
            &[("sec-fetch-site", "cross-site")][..],
            &[("sec-fetch-site", "same-site")],
            &[("origin", "https://b.example")],
            &[("origin", "http://a.example")],
            &[("origin", "null")],
        ] {
            assert!(!is_ours(&edge, &headers(bad)), "{bad:?}");
        }
    }
}
