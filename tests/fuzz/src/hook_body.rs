//! The body of a webhook's request. The first line is its `Content-Type`.

use crate::under::hook_body::read;

pub fn check(data: &[u8]) {
    let at = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
    let (kind, body) = data.split_at(at);
    let body = body.get(1..).unwrap_or_default();
    let kind = String::from_utf8_lossy(kind);
    for kind in [None, Some(&*kind), Some("application/json"), Some("application/x-www-form-urlencoded")] {
        match read(kind, body) {
            Ok(said) => {
                assert!(!said.content.trim().is_empty() && said.content.len() <= 262_144);
                assert!(!said.content.contains('\0'));
            }
            Err(error) => assert!(error.to_string().len() < 400, "{error}"),
        }
    }
}
