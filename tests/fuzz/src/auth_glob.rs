//! Globs over folders: what they mean, and that none is slow.

use auth::Glob;

pub fn check(data: &[u8]) {
    let (pattern, text) = crate::two(data);
    let Ok(glob) = pattern.parse::<Glob>() else { return };
    assert_eq!(glob.as_str(), pattern);
    let found = glob.matches(&text);
    if pattern.len() <= 12 && text.len() <= 12 {
        assert_eq!(found, slowly(pattern.as_bytes(), text.as_bytes()), "{pattern} on {text}");
    }
    if !pattern.contains('*') {
        assert_eq!(found, pattern == text);
    }
    // Whatever it is, a text of four thousand bytes takes the pattern's length times that many steps. Were it
    // exponential in either, this would not end.
    let _either = glob.matches(&"a".repeat(4096));
    let _either = glob.matches(&format!("{}/{pattern}", "aab/".repeat(256)));
}

/// The definition: `*` is any text without `/`, two or more of it any text.
fn slowly(pattern: &[u8], text: &[u8]) -> bool {
    let Some((first, rest)) = pattern.split_first() else { return text.is_empty() };
    if *first != b'*' {
        return text.split_first().is_some_and(|(c, after)| c == first && slowly(rest, after));
    }
    let stars = pattern.iter().take_while(|c| **c == b'*').count();
    let rest = &pattern[stars..];
    (0..=text.len()).any(|taken| {
        (stars > 1 || !text[..taken].contains(&b'/')) && slowly(rest, &text[taken..])
    })
}
