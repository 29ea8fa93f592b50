//! Forms that only our own pages can have sent. Pure, apart from the random key.
//!
//! Each form carries a code that is made from the session of who it was shown to, under a key of this process. A page
//! of somebody else's can make a browser send a form, with its cookies; it cannot know the code, and it cannot say
//! that it was sent from here.

use aws_lc_rs::hmac;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

/// Makes and checks the codes of forms. A restart makes another one: forms of before it are to be loaded again.
#[derive(Debug)]
pub(crate) struct Forms(hmac::Key);

impl Forms {
    /// With a key that was never used before.
    pub(crate) fn new() -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, &rand::random::<[u8; 32]>()))
    }

    /// The code of the forms of this session.
    pub(crate) fn code(&self, session: &str) -> String {
        URL_SAFE_NO_PAD.encode(hmac::sign(&self.0, session.as_bytes()))
    }

    /// Whether this is the code of the forms of this session. Compared in constant time.
    pub(crate) fn is_good(&self, session: &str, shown: &str) -> bool {
        let shown = URL_SAFE_NO_PAD.decode(shown);
        shown.is_ok_and(|code| hmac::verify(&self.0, session.as_bytes(), &code).is_ok())
    }
}

/// What a browser says about where a form was sent from.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sender<'a> {
    /// `Sec-Fetch-Site`.
    pub(crate) fetch_site: Option<&'a str>,
    /// `Origin`.
    pub(crate) origin: Option<&'a str>,
    /// The host that the browser asked, with its port.
    pub(crate) host: Option<&'a str>,
}

impl Sender<'_> {
    /// Whether the form can have been on one of our own pages. Every browser of today says where a form that is
    /// posted comes from; what does not say is no browser, and has no business here.
    pub(crate) fn is_ours(&self) -> bool {
        let site = self.fetch_site.map(|site| site == "same-origin");
        let origin = self.origin.map(|origin| {
            let host = origin.split_once("://").map(|(_, host)| host);
            host.is_some() && host == self.host
        });
        match (site, origin) {
            (None, None) => false,
            (site, origin) => site.unwrap_or(true) && origin.unwrap_or(true),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_good_for_its_session_and_its_process_alone() {
        let (forms, others) = (Forms::new(), Forms::new());
        let code = forms.code("ann");
        assert!(forms.is_good("ann", &code));
        for (forms, session, code) in [
            (&forms, "bob", code.as_str()),
            (&others, "ann", code.as_str()),
            (&forms, "ann", ""),
            (&forms, "ann", &code[1..]),
            (&forms, "ann", "not base64!"),
        ] {
            assert!(!forms.is_good(session, code), "{session} {code}");
        }
    }

    #[test]
    fn a_form_from_elsewhere_or_from_nowhere_is_not_ours() {
        let sender =
            |fetch_site, origin| Sender { fetch_site, origin, host: Some("a.example:8443") };
        let good = Some("https://a.example:8443");
        assert!(sender(Some("same-origin"), good).is_ours());
        assert!(sender(None, good).is_ours());
        assert!(sender(Some("same-origin"), None).is_ours());
        for (site, origin) in [
            (None, None),
            (Some("none"), None),
            (Some("cross-site"), good),
            (Some("same-site"), good),
            (Some("same-origin"), Some("https://b.example")),
            (None, Some("https://a.example")),
            (None, Some("null")),
        ] {
            assert!(!sender(site, origin).is_ours(), "{site:?} {origin:?}");
        }
    }
}
