//! One login by a provider, from its beginning to the answer that comes back. Pure.
//!
//! What a login was begun with stays in the browser, sealed, in a cookie that lasts ten minutes: so
//! an answer counts only in the browser that asked for it. The provider sees a random `state`, the
//! hash of a verifier (PKCE, RFC 7636), and a nonce that comes back within the ID token.

use crate::{session::Capability, store::Hash, vouched::Provider};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use proto::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt;
use url::Url;

/// How long a login may take.
pub(crate) const FLOW_MS: i64 = 10 * 60 * 1000;

const SECURE_COOKIE: &str = "__Host-arizuko_login";
const PLAIN_COOKIE: &str = "arizuko_login";
/// In bytes, of the sealed cookie.
const COOKIE_MAX: usize = 3072;
/// In bytes, of the page to go to afterwards.
const NEXT_MAX: usize = 512;
/// In bytes, of what a provider sends along.
const CODE_MAX: usize = 4096;

/// What a login was begun with. `Debug` shows nothing of it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Flow {
    pub(crate) provider: Provider,
    /// SHA-256 of the `state` that the provider was given.
    pub(crate) state: Hash,
    /// Of PKCE.
    pub(crate) verifier: String,
    /// Comes back within the ID token.
    pub(crate) nonce: String,
    /// Where the provider sends the browser back to.
    pub(crate) redirect_uri: String,
    /// The page to go to afterwards.
    pub(crate) next: String,
    /// The session that the account is to be linked to, instead of a new one.
    pub(crate) link: Option<i64>,
    pub(crate) ends: Timestamp,
}

impl fmt::Debug for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Flow({})", self.provider)
    }
}

/// A login that begins.
pub(crate) struct Begun {
    pub(crate) flow: Flow,
    /// For the provider, and nowhere kept.
    pub(crate) state: Capability,
}

impl Flow {
    /// Begins one.
    pub(crate) fn begin(
        provider: Provider,
        redirect_uri: String,
        next: String,
        link: Option<i64>,
        now: Timestamp,
    ) -> Begun {
        let state = Capability::random();
        let flow = Self {
            provider,
            state: state.hash(),
            verifier: Capability::random().expose().to_owned(),
            nonce: Capability::random().expose().to_owned(),
            redirect_uri,
            next,
            link,
            ends: now.plus(FLOW_MS),
        };
        Begun { flow, state }
    }

    /// The challenge for the verifier (RFC 7636, section 4.2).
    pub(crate) fn challenge(&self) -> String {
        URL_SAFE_NO_PAD.encode(Sha256::digest(self.verifier.as_bytes()))
    }

    /// Whether `answer` is the answer to this login, now.
    pub(crate) fn is_answered_by(&self, answer: &Answer, now: Timestamp) -> bool {
        let state = answer.state.as_deref().and_then(Capability::presented);
        now < self.ends && state.is_some_and(|state| state.hash() == self.state)
    }

    /// The address at the provider, with what it is asked.
    pub(crate) fn address(
        &self,
        endpoint: &Url,
        state: &Capability,
        client: &str,
        scope: &str,
    ) -> Url {
        let mut url = endpoint.clone();
        url.set_fragment(None);
        url.query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", client)
            .append_pair("redirect_uri", &self.redirect_uri)
            .append_pair("scope", scope)
            .append_pair("state", state.expose())
            .append_pair("code_challenge", &self.challenge())
            .append_pair("code_challenge_method", "S256");
        if self.provider == Provider::Oidc {
            url.query_pairs_mut().append_pair("nonce", &self.nonce);
        }
        url
    }
}

/// What a provider sent along with the browser (RFC 6749, section 4.1.2; RFC 9207).
#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct Answer {
    pub(crate) code: Option<String>,
    pub(crate) state: Option<String>,
    pub(crate) error: Option<String>,
    pub(crate) iss: Option<String>,
}

impl Answer {
    /// The code, if there is one that can be sent on.
    pub(crate) fn code(&self) -> Option<&str> {
        self.code.as_deref().filter(|code| !code.is_empty() && code.len() <= CODE_MAX)
    }
}

/// The page to go to after a login: one of this host, or the one that says who is logged in.
pub(crate) fn next(wanted: Option<&str>) -> String {
    let plain = |b: u8| b.is_ascii_graphic() && !b"\\\"<>`{}|^".contains(&b);
    let local = |path: &&str| {
        path.len() <= NEXT_MAX
            && path.starts_with('/')
            && !path.starts_with("//")
            && path.bytes().all(plain)
    };
    wanted.filter(local).unwrap_or("/auth/").to_owned()
}

/// The sealed login among a request's cookies.
pub(crate) fn cookie<'a>(
    headers: impl IntoIterator<Item = &'a [u8]>,
    https: bool,
) -> Option<&'a str> {
    headers
        .into_iter()
        .filter_map(|header| std::str::from_utf8(header).ok())
        .flat_map(|header| header.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(found, _)| *found == name(https))
        .map(|(_, value)| value)
        .filter(|value| !value.is_empty() && value.len() <= COOKIE_MAX)
}

/// `Set-Cookie` that keeps the sealed login. Lax, because the provider's answer comes from elsewhere.
pub(crate) fn set_cookie(sealed: &str, https: bool) -> String {
    let secure = if https { "; Secure" } else { "" };
    let (name, age) = (name(https), FLOW_MS / 1000);
    format!("{name}={sealed}; Path=/; Max-Age={age}; HttpOnly; SameSite=Lax{secure}")
}

/// `Set-Cookie` that has the browser forget it.
pub(crate) fn clear_cookie(https: bool) -> String {
    let secure = if https { "; Secure" } else { "" };
    format!("{}=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax{secure}", name(https))
}

const fn name(https: bool) -> &'static str {
    if https { SECURE_COOKIE } else { PLAIN_COOKIE }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begun() -> Begun {
        let back = "https://a.example/auth/callback/oidc".to_owned();
        Flow::begin(Provider::Oidc, back, "/dash/".into(), None, Timestamp(1000))
    }

    #[test]
    fn an_answer_counts_once_it_names_the_state_and_in_time() {
        let Begun { flow, state } = begun();
        let answer = |state: &str| Answer { state: Some(state.into()), ..Answer::default() };
        let ours = answer(state.expose());
        assert!(flow.is_answered_by(&ours, Timestamp(1000 + FLOW_MS - 1)));
        assert!(!flow.is_answered_by(&ours, Timestamp(1000 + FLOW_MS)));
        for other in ["", "x", Capability::random().expose(), &hex::encode(flow.state)] {
            assert!(!flow.is_answered_by(&answer(other), Timestamp(1000)), "{other}");
        }
        assert!(!flow.is_answered_by(&Answer::default(), Timestamp(1000)));
        assert_eq!(format!("{flow:?}"), "Flow(oidc)");
    }

    #[test]
    fn the_provider_is_told_neither_the_verifier_nor_anything_twice() {
        let Begun { flow, state } = begun();
        let endpoint = Url::parse("https://id.example/authorize?tenant=t#x").unwrap();
        let url = flow.address(&endpoint, &state, "arizuko", "openid email");
        let pairs: Vec<(String, String)> = url.query_pairs().into_owned().collect();
        let value = |name: &str| {
            let found: Vec<_> = pairs.iter().filter(|(known, _)| known == name).collect();
            assert_eq!(found.len(), 1, "{name}");
            found[0].1.clone()
        };
        assert_eq!(value("tenant"), "t");
        assert_eq!(value("redirect_uri"), "https://a.example/auth/callback/oidc");
        assert_eq!(value("code_challenge_method"), "S256");
        assert_eq!(value("code_challenge"), flow.challenge());
        assert_eq!(value("nonce"), flow.nonce);
        assert!(url.fragment().is_none() && !url.as_str().contains(&flow.verifier));
        // RFC 7636, appendix B.
        let known = Flow { verifier: "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk".into(), ..flow };
        assert_eq!(known.challenge(), "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
    }

    #[test]
    fn a_login_leads_to_a_page_of_this_host_alone() {
        for good in ["/dash/", "/onboard/?x=1", "/"] {
            assert_eq!(next(Some(good)), good);
        }
        for bad in [
            "//evil.example",
            "https://evil.example",
            "/\\evil.example",
            "dash",
            "",
            "/a b",
            "/a\r\nset-cookie: x",
            "/é",
            &format!("/{}", "a".repeat(600)),
        ] {
            assert_eq!(next(Some(bad)), "/auth/", "{bad:?}");
        }
        assert_eq!(next(None), "/auth/");
    }

    #[test]
    fn the_sealed_login_is_for_this_host_and_no_script() {
        let set = set_cookie("abc", true);
        let wanted =
            "__Host-arizuko_login=abc; Path=/; Max-Age=600; HttpOnly; SameSite=Lax; Secure";
        assert_eq!(set, wanted);
        let header = "a=b; arizuko_login=one; __Host-arizuko_login=two";
        assert_eq!(cookie([header.as_bytes()], true), Some("two"));
        assert_eq!(cookie([header.as_bytes()], false), Some("one"));
        assert_eq!(cookie([b"arizuko_login=".as_slice()], false), None);
    }
}
