//! Paths that reach the edge.

use crate::under::edge_path::{Target, check as check_path, masked, target};
use percent_encoding::percent_decode_str;

pub fn check(data: &[u8]) {
    let path = crate::text(data);
    let shown = masked(&path);
    let leads = target(&path);
    if check_path(&path).is_err() {
        assert_eq!(shown, "(refused)");
        return;
    }
    // There is one reading of it.
    let decoded = percent_decode_str(&path).decode_utf8().expect("it is text").into_owned();
    assert!(!decoded.split(['/', '\\']).any(|segment| segment == "." || segment == ".."), "{path}");
    assert_eq!(decoded.matches('/').count(), path.matches('/').count(), "{path}");
    assert!(!decoded.contains(['%', ';', '\\']) && !path.contains("//"), "{path}");
    assert!(!decoded.chars().any(char::is_control), "{path}");
    if let Target::Backend(backend) = leads {
        assert!(path.starts_with(&format!("/{}/", backend.prefix)), "{path}");
        let second = path.split('/').nth(2).unwrap_or_default();
        // No log has what opens a chat.
        let told = shown.split('/').nth(2).unwrap_or_default();
        assert!(!backend.is_capability || told == "***" || second == "assets", "{path}: {shown}");
    }
}
