//! The globs of the route table: that none is slow, and that an escaped text is itself.

use crate::under::route::glob::Glob;

pub fn check(data: &[u8]) {
    let (pattern, text) = crate::two(data);
    let escaped: String = text.chars().flat_map(|c| ['\\', c]).collect();
    let exactly = Glob::parse(&escaped).expect("a text that is escaped is a pattern");
    assert!(exactly.matches(&text));
    assert!(!exactly.matches(&format!("{text}x")));
    match Glob::parse(&pattern) {
        Ok(glob) => {
            let _either = glob.matches(&text);
            // As with the other globs: exponential would not end.
            let _either = glob.matches(&"a".repeat(1024));
            let _either = glob.matches(&"ab".repeat(512));
            if !pattern.contains(['*', '?', '[', '\\']) {
                assert_eq!(glob.matches(&text), pattern == text);
            }
        }
        Err(why) => assert!(!why.is_empty()),
    }
}
