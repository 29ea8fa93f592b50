//! What the edge takes out of a request and an answer, and what it puts in. Pure.

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{self, Entry},
};
use kit::{ACT_HEADER, EDGE_HEADER, Span, USER_HEADER};
use std::net::IpAddr;

/// The session cookie over TLS and over plain HTTP, as authd names them.
pub const SESSION_COOKIES: [&str; 2] = ["__Host-arizuko_session", "arizuko_session"];

/// Every cookie of authd's own, those of a login under way among them.
const AUTHD_COOKIES: [&str; 4] =
    ["__Host-arizuko_session", "arizuko_session", "__Host-arizuko_login", "arizuko_login"];

/// The header that ties the log lines of one request together.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// W3C Trace Context.
const TRACE_PARENT: HeaderName = HeaderName::from_static("traceparent");

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// RFC 9110, section 7.6.1, and what is like it.
const HOP_BY_HOP: [&str; 9] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Headers that nobody outside may set: who one is, where one comes from, what one may do.
/// No daemon behind the edge takes a bearer from the outside.
const OURS: [&str; 9] = [
    "authorization",
    "expect",
    "forwarded",
    "host",
    "x-real-ip",
    "x-client-ip",
    "true-client-ip",
    "x-original-url",
    "x-rewrite-url",
];
const OUR_PREFIXES: [&str; 3] = ["x-user-", "x-arizuko-", "x-forwarded-"];

/// What the edge says of a request.
#[derive(Debug)]
pub struct Stamp<'a> {
    /// The client's address.
    pub client: IpAddr,
    /// Whether the client came by TLS.
    pub https: bool,
    /// The host that the client asked for.
    pub host: Option<HeaderValue>,
    /// The id of this request.
    pub request_id: &'a str,
    /// Who is logged in.
    pub subject: Option<&'a str>,
    /// What lets the daemon act for them.
    pub act: Option<&'a str>,
    /// The edge's proof of itself for the daemon that the request goes to.
    pub proof: &'a str,
}

/// Takes out of a request what is not for the daemon behind the edge, or not the client's to say.
pub fn strip_request(headers: &mut HeaderMap) {
    strip_hop_by_hop(headers);
    let ours = |name: &HeaderName| {
        // Some servers read `X_User_Subject` as `X-User-Subject`.
        let name = name.as_str().replace('_', "-");
        OURS.contains(&&*name) || OUR_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
    };
    let doomed: Vec<HeaderName> = headers.keys().filter(|name| ours(name)).cloned().collect();
    for name in doomed {
        headers.remove(name);
    }
}

fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named {
        headers.remove(name);
    }
    for name in HOP_BY_HOP {
        headers.remove(name);
    }
}

/// Takes authd's cookies out of a request to a daemon that has no business with them.
pub fn strip_session(headers: &mut HeaderMap) {
    let is_session = |pair: &str| {
        let name = pair.split('=').next().unwrap_or_default().trim();
        AUTHD_COOKIES.contains(&name)
    };
    let kept: Vec<String> = headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .map(str::trim)
        .filter(|pair| !pair.is_empty() && !is_session(pair))
        .map(str::to_owned)
        .collect();
    headers.remove(header::COOKIE);
    if !kept.is_empty()
        && let Ok(mut value) = HeaderValue::from_str(&kept.join("; "))
    {
        value.set_sensitive(true);
        headers.insert(header::COOKIE, value);
    }
}

/// The login's cookie, of the name that authd gives it over this kind of connection.
pub fn session(headers: &HeaderMap, https: bool) -> Option<&str> {
    let wanted = SESSION_COOKIES[usize::from(!https)];
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(name, _)| *name == wanted)
        .map(|(_, value)| value)
        .filter(|value| value.len() == 43 && value.bytes().all(plain))
}

/// Puts into a stripped request what the edge vouches for.
pub fn stamp(headers: &mut HeaderMap, stamp: &Stamp<'_>) {
    let mut put = |name: HeaderName, value: &str, sensitive: bool| {
        // Addresses, ids, subjects and tokens are plain ASCII; anything else is better left out.
        if let Ok(mut value) = HeaderValue::from_str(value) {
            value.set_sensitive(sensitive);
            headers.insert(name, value);
        }
    };
    put(FORWARDED_FOR, &stamp.client.to_string(), false);
    put(FORWARDED_PROTO, if stamp.https { "https" } else { "http" }, false);
    put(REQUEST_ID, stamp.request_id, false);
    put(HeaderName::from_static(EDGE_HEADER), stamp.proof, true);
    if let Some(subject) = stamp.subject {
        put(HeaderName::from_static(USER_HEADER), subject, false);
    }
    if let Some(act) = stamp.act {
        put(HeaderName::from_static(ACT_HEADER), act, true);
    }
    if let Some(host) = &stamp.host {
        headers.insert(FORWARDED_HOST, host.clone());
    }
    let traced = headers.get(TRACE_PARENT).is_some_and(|value| is_trace_parent(value.as_bytes()));
    if !traced {
        let parent =
            format!("00-{:032x}-{:016x}-01", rand::random::<u128>() | 1, rand::random::<u64>() | 1);
        if let Ok(value) = HeaderValue::from_str(&parent) {
            headers.insert(TRACE_PARENT, value);
        }
    }
}

/// Has the daemon go on from what the edge is told of, where it is.
pub fn go_on_from(headers: &mut HeaderMap, span: &Span) {
    if let Some(value) = span.traceparent().and_then(|text| HeaderValue::from_str(&text).ok()) {
        headers.insert(TRACE_PARENT, value);
    }
}

/// `version-trace-parent-flags` in lower-case hexadecimal (W3C Trace Context, section 3.2).
fn is_trace_parent(value: &[u8]) -> bool {
    let parts: Vec<&[u8]> = value.split(|b| *b == b'-').collect();
    let hex = |part: &[u8]| part.iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let some = |part: &[u8]| part.iter().any(|b| *b != b'0');
    matches!(parts[..], [version, trace, parent, flags]
        if version == b"00" && trace.len() == 32 && parent.len() == 16 && flags.len() == 2
            && [trace, parent, flags].into_iter().all(hex) && some(trace) && some(parent))
}

/// Takes out of a daemon's answer what is between it and the edge, and adds what every answer has.
pub fn finish_response(headers: &mut HeaderMap, https: bool, request_id: &str) {
    strip_hop_by_hop(headers);
    let internal: Vec<HeaderName> =
        headers.keys().filter(|name| name.as_str().starts_with("x-arizuko-")).cloned().collect();
    for name in internal {
        headers.remove(name);
    }
    headers.remove(header::SERVER);
    for (name, value) in
        [(header::X_CONTENT_TYPE_OPTIONS, "nosniff"), (header::X_FRAME_OPTIONS, "DENY")]
    {
        headers.insert(name, HeaderValue::from_static(value));
    }
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, "frame-ancestors 'none'"),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (
            HeaderName::from_static("permissions-policy"),
            "camera=(), microphone=(), geolocation=(), payment=(), usb=()",
        ),
    ] {
        if let Entry::Vacant(vacant) = headers.entry(name) {
            vacant.insert(HeaderValue::from_static(value));
        }
    }
    if https {
        let value = HeaderValue::from_static("max-age=31536000");
        headers.insert(header::STRICT_TRANSPORT_SECURITY, value);
    }
    if let Ok(value) = HeaderValue::from_str(request_id) {
        headers.insert(REQUEST_ID, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&str, &str)| {
            (name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap())
        };
        let mut headers = HeaderMap::new();
        for (name, value) in pairs.iter().map(pair) {
            headers.append(name, value);
        }
        headers
    }

    fn names(headers: &HeaderMap) -> Vec<&str> {
        let mut names: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn nobody_outside_says_who_they_are_or_where_they_come_from() {
        let mut headers = map(&[
            ("X-User-Subject", "operator:local"),
            ("x-user-anything", "1"),
            ("X_User_Subject", "operator:local"),
            ("x-arizuko-edge", "eyJ"),
            ("x-forwarded-for", "1.1.1.1"),
            ("X-Forwarded-Proto", "https"),
            ("x_forwarded_host", "evil"),
            ("forwarded", "for=1.1.1.1"),
            ("x-real-ip", "1.1.1.1"),
            ("authorization", "Bearer eyJ"),
            ("host", "evil"),
            ("expect", "100-continue"),
            ("connection", "keep-alive, X-Custom"),
            ("x-custom", "dropped, as Connection says"),
            ("keep-alive", "1"),
            ("te", "trailers"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "websocket"),
            ("proxy-authorization", "x"),
            ("accept", "kept"),
            ("cookie", "kept=1"),
            ("idempotency-key", "kept"),
            ("last-event-id", "kept"),
        ]);
        strip_request(&mut headers);
        assert_eq!(names(&headers), ["accept", "cookie", "idempotency-key", "last-event-id"]);
    }

    #[test]
    fn what_connection_names_cannot_take_away_what_the_edge_stamps() {
        let mut headers = map(&[("connection", "x-forwarded-for, x-arizuko-edge")]);
        strip_request(&mut headers);
        let client = "192.0.2.1".parse().unwrap();
        let (subject, act) = (Some("operator:local"), Some("sealed"));
        let said =
            Stamp { client, https: true, host: None, request_id: "r1", subject, act, proof: "eyJ" };
        stamp(&mut headers, &said);
        assert_eq!(headers["x-forwarded-for"], "192.0.2.1");
        assert_eq!(headers["x-forwarded-proto"], "https");
        assert_eq!(headers["x-user-subject"], "operator:local");
        assert_eq!(headers["x-arizuko-edge"], "eyJ");
        assert_eq!(headers["x-user-act"], "sealed");
        assert!(headers["x-user-act"].is_sensitive());
        assert!(headers["x-arizuko-edge"].is_sensitive());
        assert!(is_trace_parent(headers["traceparent"].as_bytes()));
    }

    #[test]
    fn a_trace_goes_on_and_a_malformed_one_does_not() {
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert!(is_trace_parent(good.as_bytes()));
        for bad in [
            "",
            "00-0-0-0",
            &good.replace("4bf9", "4BF9"),
            &format!("{good}-x"),
            &good.replace("00-", "01-"),
        ] {
            assert!(!is_trace_parent(bad.as_bytes()), "{bad}");
        }
        assert!(!is_trace_parent(format!("00-{:032}-00f067aa0ba902b7-01", 0).as_bytes()));
    }

    #[test]
    fn the_session_is_read_by_its_right_name_and_taken_out() {
        let value = "a".repeat(43);
        let both = format!("theme=dark; arizuko_session={value}; __Host-arizuko_session={value}x");
        let mut headers = map(&[("cookie", &both), ("cookie", "more=1")]);
        assert_eq!(session(&headers, false), Some(&*value));
        assert_eq!(session(&headers, true), None, "the one for TLS is malformed here");
        strip_session(&mut headers);
        assert_eq!(headers["cookie"], "theme=dark; more=1");
        assert!(headers["cookie"].is_sensitive());
        let mut only = map(&[("cookie", &format!("arizuko_session={value}"))]);
        strip_session(&mut only);
        assert!(only.is_empty());
    }

    #[test]
    fn an_answer_gets_what_it_lacks_and_keeps_what_is_stricter() {
        let mut headers = map(&[
            ("server", "x"),
            ("x-arizuko-internal", "1"),
            ("connection", "close"),
            ("content-security-policy", "default-src 'none'"),
        ]);
        finish_response(&mut headers, true, "r1");
        assert_eq!(headers["content-security-policy"], "default-src 'none'");
        assert_eq!(headers["x-content-type-options"], "nosniff");
        assert_eq!(headers["referrer-policy"], "no-referrer");
        assert_eq!(headers["x-request-id"], "r1");
        assert!(headers.contains_key("strict-transport-security"));
        for gone in ["server", "x-arizuko-internal", "connection"] {
            assert!(!headers.contains_key(gone), "{gone}");
        }
        let mut plain = HeaderMap::new();
        finish_response(&mut plain, false, "r2");
        assert!(!plain.contains_key("strict-transport-security"), "a promise that cannot be kept");
    }
}
