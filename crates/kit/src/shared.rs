//! The settings that more than one daemon reads, each declared once.

use crate::settings::{Setting, parse};
use std::{net::IpAddr, time::Duration};

/// How long a run may take.
pub static RUN_TIMEOUT: Setting<Duration> = Setting {
    name: "RUN_TIMEOUT",
    default: "15m",
    about: "How long an agent may take for one turn. A run that asks for more gets this.",
    expects: "a duration from 1s to 24h, such as 15m",
    parse: |text| {
        let limits = Duration::from_secs(1)..=Duration::from_secs(24 * 60 * 60);
        parse::duration(text).filter(|time| limits.contains(time))
    },
};

/// What the agent is called.
pub static ASSISTANT_NAME: Setting<String> = Setting {
    name: "ASSISTANT_NAME",
    default: "Arizuko",
    about: "The agent's name, as people see it and as it is told itself.",
    expects: "a name of 1 to 40 characters",
    parse: |text| {
        let name = text.trim();
        let fits = (1..=40).contains(&name.chars().count()) && !name.chars().any(char::is_control);
        fits.then(|| name.to_owned())
    },
};

/// How long a replaced value is accepted.
pub static SECRETS_OVERLAP: Setting<Duration> = Setting {
    name: "SECRETS_OVERLAP",
    default: "5m",
    about: "How long a value is still accepted after another replaced it.",
    expects: "a duration such as 5m",
    parse: parse::duration,
};

/// The name under which people reach the edge.
pub static WEB_HOST: Setting<String> = Setting {
    name: "WEB_HOST",
    default: "",
    about: "The host, and port where it is not the usual one, under which people reach the edge.",
    expects: "a host such as chat.example.org or localhost:8090, or nothing",
    parse: host,
};

/// A host with an optional port: only what may stand in a `Location` header.
fn host(text: &str) -> Option<String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || ".-:[]".contains(c);
    (text.len() <= 255 && text.chars().all(plain)).then(|| text.to_ascii_lowercase())
}

/// The beginning of an address of the edge, for a host of [`WEB_HOST`]: `https://`, and without TLS where the host is
/// this machine alone, on which somebody tries the suite.
pub fn public_url(host: &str) -> String {
    let scheme = if is_this_machine(host) { "http" } else { "https" };
    format!("{scheme}://{host}")
}

/// Whether a host, with or without a port, is a name or an address of the loopback interface.
fn is_this_machine(host: &str) -> bool {
    let bare = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    bare == "localhost" || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_host_of_this_machine_goes_without_tls() {
        for host in ["localhost", "localhost:8090", "127.0.0.1:8090", "127.64.1.2", "[::1]:8090"] {
            assert_eq!(public_url(host), format!("http://{host}"));
        }
        for host in ["chat.example.org", "localhost.example.org:1", "10.0.0.1:8090", "[fe80::1]"] {
            assert_eq!(public_url(host), format!("https://{host}"));
        }
    }
}
