//! Which headers pass. Pure: lists of what is known, and nothing else.

use super::vendor::Vendor;
use http::{HeaderMap, HeaderName, HeaderValue, header};

/// The agent's headers that pass on to any model.
const ASKED: &[&str] = &["accept", "content-type"];
/// And those of Anthropic's format.
const ASKED_ANTHROPIC: &[&str] = &["anthropic-version", "anthropic-beta"];
/// The model's headers that pass back. None that tells whose account it is, and no cookie.
const ANSWERED: &[&str] = &[
    "content-type",
    "request-id",
    "x-request-id",
    "retry-after",
    "retry-after-ms",
    "x-should-retry",
    "openai-processing-ms",
    "openai-version",
];
/// And those that begin so.
const ANSWERED_BEGIN: &[&str] = &["anthropic-ratelimit-", "x-ratelimit-"];

/// What an OAuth token of Claude Code needs beside itself.
const OAUTH_BETA: &str = "oauth-2025-04-20";
/// The version of the Messages API that a client means that names none.
const VERSION: &str = "2023-06-01";

/// The headers with which a request is passed on, before the key.
pub(crate) fn asked(vendor: Vendor, given: &HeaderMap, with_oauth: bool) -> HeaderMap {
    let mut passed = HeaderMap::new();
    let mut known = ASKED.to_vec();
    if vendor == Vendor::Anthropic {
        known.extend(ASKED_ANTHROPIC);
    }
    for name in known {
        for value in given.get_all(name) {
            passed.append(HeaderName::from_static(name), value.clone());
        }
    }
    if vendor == Vendor::Anthropic {
        passed.entry("anthropic-version").or_insert(HeaderValue::from_static(VERSION));
        if with_oauth {
            passed.append("anthropic-beta", HeaderValue::from_static(OAUTH_BETA));
        }
    }
    passed.insert(
        header::USER_AGENT,
        HeaderValue::from_static(concat!("arizuko/", env!("CARGO_PKG_VERSION"))),
    );
    passed
}

/// The headers with which an answer is passed back.
pub(crate) fn answered(given: &HeaderMap) -> HeaderMap {
    let mut passed = HeaderMap::new();
    for (name, value) in given {
        let text = name.as_str();
        if ANSWERED.contains(&text) || ANSWERED_BEGIN.iter().any(|begin| text.starts_with(begin)) {
            passed.append(name.clone(), value.clone());
        }
    }
    passed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect()
    }

    #[test]
    fn what_an_agent_says_of_itself_does_not_pass() {
        let given = map(&[
            ("authorization", "Bearer mine"),
            ("x-api-key", "mine"),
            ("api-key", "mine"),
            ("cookie", "a=b"),
            ("openai-organization", "org-other"),
            ("openai-project", "proj-other"),
            ("x-forwarded-for", "10.0.0.1"),
            ("accept-encoding", "gzip"),
            ("host", "evil.test"),
            ("anthropic-beta", "context-1m-2025-08-07"),
            ("content-type", "application/json"),
        ]);
        let names = |map: &HeaderMap| {
            let mut names: Vec<_> = map.keys().map(|name| name.as_str().to_owned()).collect();
            names.sort();
            names
        };
        let passed = asked(Vendor::Anthropic, &given, true);
        assert_eq!(
            names(&passed),
            ["anthropic-beta", "anthropic-version", "content-type", "user-agent"]
        );
        let betas: Vec<_> = passed.get_all("anthropic-beta").iter().collect();
        assert_eq!(betas, ["context-1m-2025-08-07", OAUTH_BETA]);
        assert_eq!(
            asked(Vendor::Anthropic, &given, false).get_all("anthropic-beta").iter().count(),
            1
        );
        assert_eq!(names(&asked(Vendor::OpenAi, &given, false)), ["content-type", "user-agent"]);
    }

    #[test]
    fn what_tells_of_the_account_does_not_pass_back() {
        let given = map(&[
            ("set-cookie", "sid=1"),
            ("anthropic-organization-id", "org"),
            ("openai-organization", "org"),
            ("server", "x"),
            ("transfer-encoding", "chunked"),
            ("content-length", "5"),
            ("retry-after", "3"),
            ("anthropic-ratelimit-requests-remaining", "9"),
        ]);
        let passed = answered(&given);
        assert_eq!(passed.len(), 2, "{passed:?}");
        assert!(passed.contains_key("retry-after"));
    }
}
