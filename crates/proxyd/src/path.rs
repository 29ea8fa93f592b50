//! Which paths the edge passes on, to whom, and how they are written in a log. Pure.

use percent_encoding::percent_decode_str;
use proto::Daemon;

/// Longest path that is looked at, in bytes.
const PATH_MAX: usize = 2048;

/// Why a path is not even looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// It is longer than 2,048 bytes.
    #[error("the path is longer than 2,048 bytes")]
    TooLong,
    /// Two readers could take it for two different paths.
    #[error(
        "the path has an encoded or doubled separator, a dot segment, or a character that no path has"
    )]
    Ambiguous,
}

/// Where a path leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// A daemon behind the edge.
    Backend(Backend),
    /// The page at `/`.
    Landing,
    /// The edge's own health.
    Health,
    /// What search engines may see.
    Robots,
    /// The page with the slash: browsers ask for the directory without it.
    AddSlash,
    /// Nowhere.
    Nowhere,
}

/// How a daemon behind the edge is reached through it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backend {
    /// Which.
    pub daemon: Daemon,
    /// The first segment of the path.
    pub prefix: &'static str,
    /// Whether the second segment is a capability: a guess that fails counts against the guesser,
    /// and no log has it.
    pub is_capability: bool,
    /// Whether the daemon is told who is logged in, and never sees the session itself.
    pub wants_user: bool,
}

impl Backend {
    /// The daemon, where it may act for whoever is logged in: it holds `sessions:act`.
    pub fn acting(&self) -> Option<Daemon> {
        let acts = matches!(self.daemon, Daemon::Dashd | Daemon::Onbod);
        (self.wants_user && acts).then_some(self.daemon)
    }
}

/// Everything that is public. What is not here is 404, the daemons' own endpoints above all.
pub const BACKENDS: &[Backend] = &[
    Backend { daemon: Daemon::Webd, prefix: "chat", is_capability: true, wants_user: true },
    Backend { daemon: Daemon::Webd, prefix: "hook", is_capability: true, wants_user: false },
    Backend { daemon: Daemon::Dashd, prefix: "dash", is_capability: false, wants_user: true },
    Backend { daemon: Daemon::Authd, prefix: "auth", is_capability: false, wants_user: false },
    // Pairing links, and how things stand with a newcomer.
    Backend { daemon: Daemon::Onbod, prefix: "pair", is_capability: true, wants_user: true },
    Backend { daemon: Daemon::Onbod, prefix: "onboard", is_capability: false, wants_user: true },
    // What Telegram proves with a secret, teled checks.
    Backend { daemon: Daemon::Teled, prefix: "telegram", is_capability: false, wants_user: false },
    // What Slack signs, slakd checks.
    Backend { daemon: Daemon::Slakd, prefix: "slack", is_capability: false, wants_user: false },
];

/// Checks that a path can be read in one way only.
///
/// # Errors
/// When a server behind the edge could read it otherwise.
pub fn check(path: &str) -> Result<(), PathError> {
    if path.len() > PATH_MAX {
        return Err(PathError::TooLong);
    }
    let Some(rest) = path.strip_prefix('/') else { return Err(PathError::Ambiguous) };
    let segments = rest.split('/').count();
    for (index, segment) in rest.split('/').enumerate() {
        // Only the last may be empty: that is a slash at the end.
        if segment.is_empty() && index + 1 < segments {
            return Err(PathError::Ambiguous);
        }
        check_segment(segment)?;
    }
    Ok(())
}

fn check_segment(segment: &str) -> Result<(), PathError> {
    let bytes = segment.as_bytes();
    for (at, byte) in bytes.iter().enumerate() {
        let escapes =
            bytes.get(at + 1..at + 3).is_some_and(|next| next.iter().all(u8::is_ascii_hexdigit));
        match byte {
            b'%' if !escapes => return Err(PathError::Ambiguous),
            b'\\' | 0..=0x20 | 0x7f.. | b'"' | b'<' | b'>' | b'`' | b'{' | b'}' | b'|' | b'^' => {
                return Err(PathError::Ambiguous);
            }
            _ => {}
        }
    }
    let decoded = percent_decode_str(segment).decode_utf8().map_err(|_| PathError::Ambiguous)?;
    // A `%` that is still there after decoding would be decoded by the next reader.
    let hidden = |c: char| matches!(c, '/' | '\\' | '%' | ';') || c.is_control();
    let dots = matches!(&*decoded, "." | "..");
    if dots || decoded.chars().any(hidden) { Err(PathError::Ambiguous) } else { Ok(()) }
}

/// Where a checked path leads.
pub fn target(path: &str) -> Target {
    match path {
        "/" => return Target::Landing,
        "/health" => return Target::Health,
        "/robots.txt" => return Target::Robots,
        _ => {}
    }
    let mut segments = path.split('/').skip(1);
    let first = segments.next().unwrap_or_default();
    // Compared as it is written: `/%63hat/` is not `/chat/`, and nobody writes it so by accident.
    match BACKENDS.iter().find(|backend| backend.prefix == first) {
        None => Target::Nowhere,
        Some(backend) => match segments.next() {
            None if backend.is_capability => Target::Nowhere,
            None => Target::AddSlash,
            Some("") if backend.is_capability => Target::Nowhere,
            Some(_) => Target::Backend(*backend),
        },
    }
}

/// The path as a log may have it: without capabilities, and without anything that could be one.
pub fn masked(path: &str) -> String {
    if check(path).is_err() {
        return "(refused)".to_owned();
    }
    let mut masked = String::with_capacity(path.len());
    let mut opens = false;
    for (index, segment) in path.split('/').skip(1).enumerate() {
        masked.push('/');
        let shown = match index {
            0 => {
                opens = BACKENDS.iter().any(|b| b.is_capability && b.prefix == segment);
                segment.len() < 16
            }
            1 if opens => segment.is_empty() || segment == "assets",
            // Login codes, message ids, a token under a path that is misspelt.
            _ => segment.len() < 20 || segment.starts_with("chat.") || segment.starts_with("icon."),
        };
        masked.push_str(if shown { segment } else { "***" });
    }
    masked
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_path_that_could_be_read_in_two_ways_is_refused() {
        for path in [
            "",
            "chat/x",
            "*",
            "/chat//x",
            "//chat/x",
            "/chat/x//",
            "/chat/../auth/",
            "/..",
            "/.",
            "/chat/./x",
            "/chat/%2e%2e/v1",
            "/chat/.%2E/v1",
            "/chat/%2E/x",
            "/chat%2fx/",
            "/chat/x%2Fv1",
            "/chat/x%5cv1",
            "/chat/x\\v1",
            "/chat/x%00",
            "/chat/x%0a",
            "/chat/%",
            "/chat/%2",
            "/chat/%zz",
            "/chat/%252e%252e/",
            "/chat/x%25",
            "/chat/x;y",
            "/chat/x%3by",
            "/chat/%ff",
            "/chat/é",
            "/chat/a b",
            "/chat/a\tb",
            "/chat/<x>",
        ] {
            assert!(check(path).is_err(), "{path:?} must be refused");
        }
        assert_eq!(check(&format!("/{}", "a".repeat(2048))), Err(PathError::TooLong));
        for path in
            ["/", "/chat/abc_-/", "/chat/abc/events", "/hook/a/hook.1~2", "/auth/a%20b", "/a.b/..c"]
        {
            assert_eq!(check(path), Ok(()), "{path:?}");
        }
    }

    #[test]
    fn only_what_is_public_leads_anywhere() {
        let to = |path: &str| match target(path) {
            Target::Backend(backend) => backend.daemon.name(),
            Target::Landing => "landing",
            Target::Health => "health",
            Target::Robots => "robots",
            Target::AddSlash => "slash",
            Target::Nowhere => "nowhere",
        };
        for (path, expected) in [
            ("/", "landing"),
            ("/health", "health"),
            ("/robots.txt", "robots"),
            ("/chat/t", "webd"),
            ("/chat/t/events", "webd"),
            ("/hook/t", "webd"),
            ("/auth/", "authd"),
            ("/auth/login/x", "authd"),
            ("/auth", "slash"),
            ("/pair/t", "onbod"),
            ("/pair/", "nowhere"),
            ("/onboard", "slash"),
            ("/onboard/", "onbod"),
            ("/onboard/invite/t", "onbod"),
            ("/dash/", "dashd"),
            ("/dash/secrets", "dashd"),
            ("/dash", "slash"),
            ("/dashd/", "nowhere"),
            ("/slack/events", "slakd"),
            ("/slacks/events", "nowhere"),
            ("/telegram/webhook", "teled"),
            ("/files/x", "nowhere"),
            ("/send", "nowhere"),
            ("/chat", "nowhere"),
            ("/chat/", "nowhere"),
            ("/hook/", "nowhere"),
            ("/v1/secrets", "nowhere"),
            ("/metrics", "nowhere"),
            ("/ready", "nowhere"),
            ("/openapi.json", "nowhere"),
            ("/health/", "nowhere"),
            ("/chats/t", "nowhere"),
            ("/Chat/t", "nowhere"),
            ("/%63hat/t", "nowhere"),
            ("/.well-known/jwks.json", "nowhere"),
        ] {
            assert_eq!(to(path), expected, "{path}");
        }
    }

    #[test]
    fn a_log_has_no_capability_however_it_is_misspelt() {
        let token = "Zx81Ab-cdefghij_klmnopqrstuvwxyz0123456789A";
        for (path, expected) in [
            (format!("/chat/{token}/events"), "/chat/***/events"),
            (format!("/chat/{token}"), "/chat/***"),
            ("/chat/short/".into(), "/chat/***/"),
            (format!("/hook/{token}/hook.0123456789abcdef01234567"), "/hook/***/***"),
            (format!("/auth/login/{token}"), "/auth/login/***"),
            (format!("/pair/{token}"), "/pair/***"),
            (format!("/onboard/invite/{token}"), "/onboard/invite/***"),
            (format!("/chats/{token}/"), "/chats/***/"),
            (format!("/{token}"), "/***"),
            ("/chat/assets/chat.0123456789ab.css".into(), "/chat/assets/chat.0123456789ab.css"),
            ("/chat/a%2fb".into(), "(refused)"),
        ] {
            assert_eq!(masked(&path), expected);
        }
    }

    proptest! {
        #[test]
        fn what_is_passed_on_has_no_dot_segment_in_any_reading(path in "(/|\\.|%2[eEfF]|%5c|a|%25|;){1,12}") {
            let path = format!("/{path}");
            if check(&path).is_ok() {
                let decoded = percent_decode_str(&path).decode_utf8().unwrap().into_owned();
                prop_assert!(!decoded.split(['/', '\\']).any(|s| s == "." || s == ".."), "{}", path);
                prop_assert_eq!(decoded.matches('/').count(), path.matches('/').count());
            }
        }
    }
}
