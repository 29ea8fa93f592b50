//! What an operator may set.

use crate::client_address::Trusted;
use kit::{AnySetting, Setting, WEB_HOST, parse};
use std::{net::SocketAddr, num::NonZeroU32, time::Duration};

/// Where TLS is served.
pub const PROXYD_TLS_ADDR: Setting<SocketAddr> = Setting {
    name: "PROXYD_TLS_ADDR",
    default: ":8443",
    about: "Where the edge serves TLS, once PROXYD_TLS_CERT and PROXYD_TLS_KEY are there.",
    expects: "an address such as :8443",
    parse: parse::socket_addr,
};

/// Whether plain HTTP only leads to TLS.
pub const PROXYD_HTTPS_REDIRECT: Setting<bool> = Setting {
    name: "PROXYD_HTTPS_REDIRECT",
    default: "false",
    about: "Whether requests by plain HTTP are sent to https://WEB_HOST, once TLS is served.",
    expects: "true or false",
    parse: parse::flag,
};

/// The proxies before the edge.
pub const TRUSTED_PROXIES: Setting<Trusted> = Setting {
    name: "TRUSTED_PROXIES",
    default: "",
    about: "The proxies before the edge whose X-Forwarded-For and X-Forwarded-Proto are believed.",
    expects: "addresses and networks, such as 10.0.0.0/8,192.0.2.7, or nothing",
    parse: Trusted::parse,
};

/// Requests of one client a second.
pub const PROXYD_RATE: Setting<NonZeroU32> = Setting {
    name: "PROXYD_RATE",
    default: "50",
    about: "Requests a second that one client may make for long.",
    expects: "a number from 1",
    parse: parse::number,
};

/// Requests of one client at once.
pub const PROXYD_BURST: Setting<NonZeroU32> = Setting {
    name: "PROXYD_BURST",
    default: "100",
    about: "Requests that one client may make at once before PROXYD_RATE holds it back.",
    expects: "a number from 1",
    parse: parse::number,
};

/// Failing capabilities of one client a minute.
pub const PROXYD_GUESSES: Setting<NonZeroU32> = Setting {
    name: "PROXYD_GUESSES",
    default: "10",
    about: "Links that do not exist which one client may try in a minute.",
    expects: "a number from 1",
    parse: parse::number,
};

/// Connections at once.
pub const PROXYD_MAX_CONNECTIONS: Setting<usize> = Setting {
    name: "PROXYD_MAX_CONNECTIONS",
    default: "4096",
    about: "Connections that the edge holds open at once; further ones wait to be accepted.",
    expects: "a number from 1 to 1000000",
    parse: connections,
};

/// Connections of one address at once.
pub const PROXYD_MAX_CONNECTIONS_PER_CLIENT: Setting<usize> = Setting {
    name: "PROXYD_MAX_CONNECTIONS_PER_CLIENT",
    default: "256",
    about: "Connections that one address may hold open at once; trusted proxies are not counted.",
    expects: "a number from 1 to 1000000",
    parse: connections,
};

/// The size of a request's body.
pub const PROXYD_MAX_BODY: Setting<u64> = Setting {
    name: "PROXYD_MAX_BODY",
    default: "1048576",
    about: "Bytes that a request's body may have.",
    expects: "a number of bytes from 1",
    parse: bytes,
};

/// How long a request's body may take.
pub const PROXYD_BODY_TIMEOUT: Setting<Duration> = Setting {
    name: "PROXYD_BODY_TIMEOUT",
    default: "30s",
    about: "How long a request's body may take; each 8 KiB that arrived gives it a second more.",
    expects: "a duration such as 30s",
    parse: parse::duration,
};

/// How long a request's head may take.
pub const PROXYD_HEADER_TIMEOUT: Setting<Duration> = Setting {
    name: "PROXYD_HEADER_TIMEOUT",
    default: "10s",
    about: "How long a TLS handshake, and a request's head, may take.",
    expects: "a duration such as 10s",
    parse: parse::duration,
};

/// How long a daemon may take to begin its answer.
pub const PROXYD_ANSWER_TIMEOUT: Setting<Duration> = Setting {
    name: "PROXYD_ANSWER_TIMEOUT",
    default: "30s",
    about: "How long a daemon behind the edge may take to begin its answer.",
    expects: "a duration such as 30s",
    parse: parse::duration,
};

/// The settings that proxyd reads.
pub const SETTINGS: &[&dyn AnySetting] = &[
    &PROXYD_TLS_ADDR,
    &PROXYD_HTTPS_REDIRECT,
    &WEB_HOST,
    &TRUSTED_PROXIES,
    &PROXYD_RATE,
    &PROXYD_BURST,
    &PROXYD_GUESSES,
    &PROXYD_MAX_CONNECTIONS,
    &PROXYD_MAX_CONNECTIONS_PER_CLIENT,
    &PROXYD_MAX_BODY,
    &PROXYD_BODY_TIMEOUT,
    &PROXYD_HEADER_TIMEOUT,
    &PROXYD_ANSWER_TIMEOUT,
];

fn connections(text: &str) -> Option<usize> {
    parse::number(text).filter(|n| (1..=1_000_000).contains(n))
}

fn bytes(text: &str) -> Option<u64> {
    parse::number(text).filter(|n| *n > 0)
}
