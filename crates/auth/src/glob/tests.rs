//! Globs by table, and against a slow matcher that is easy to believe.

use proptest::prelude::*;

use super::Glob;

/// Tries every split: exponential, and plainly right.
fn slowly(pattern: &[u8], text: &[u8]) -> bool {
    match pattern {
        [] => text.is_empty(),
        [b'*', b'*', rest @ ..] => (0..=text.len()).any(|n| slowly(rest, &text[n..])),
        [b'*', rest @ ..] => (0..=text.len())
            .take_while(|n| !text[..*n].contains(&b'/'))
            .any(|n| slowly(rest, &text[n..])),
        [byte, rest @ ..] => text.first() == Some(byte) && slowly(rest, &text[1..]),
    }
}

#[test]
fn one_star_stays_in_its_segment() {
    let cases = [
        ("acme", "acme", true),
        ("acme", "acme/eng", false),
        ("acme", "ACME", false),
        ("acme/*", "acme/eng", true),
        ("acme/*", "acme/", true),
        ("acme/*", "acme", false),
        ("acme/*", "acme/eng/web", false),
        ("acme/**", "acme/eng/web", true),
        ("acme/**", "acme", false),
        ("acme/**", "acmeeng", false),
        ("**", "acme/eng", true),
        ("**", "", true),
        ("*", "acme", true),
        ("*", "acme/eng", false),
        ("*/eng", "acme/eng", true),
        ("**/eng", "a/b/eng", true),
        ("a*c", "abbbc", true),
        ("a*c", "ab/c", false),
        ("a?c", "abc", false),
        ("a[bc]", "ab", false),
    ];
    for (pattern, text, expected) in cases {
        let glob: Glob = pattern.parse().unwrap();
        assert_eq!(glob.matches(text), expected, "{pattern} on {text:?}");
    }
}

#[test]
fn what_is_no_pattern() {
    for text in ["", "a b", "a\tb", "a\n"] {
        assert!(text.parse::<Glob>().is_err(), "{text:?}");
    }
    assert!("a".repeat(577).parse::<Glob>().is_err());
}

#[test]
fn a_hostile_pattern_is_not_slow() {
    let glob: Glob = "a*".repeat(256).parse().unwrap();
    assert!(!glob.matches(&format!("{}b/", "a".repeat(4096))));
}

proptest! {
    #[test]
    fn it_agrees_with_the_slow_matcher(
        pattern in "[ab/*]{1,8}",
        text in "[ab/]{0,8}",
    ) {
        let glob: Glob = pattern.parse().unwrap();
        prop_assert_eq!(glob.matches(&text), slowly(pattern.as_bytes(), text.as_bytes()));
    }
}

fn patterns() -> impl Strategy<Value = Glob> {
    "(a|b|/|\\*|\\*\\*){1,6}".prop_map(|text| text.parse().unwrap())
}

#[test]
fn what_covers_and_what_meets() {
    let cases = [
        ("**", "acme/*", true, true),
        ("acme/**", "acme/*", true, true),
        ("acme/*", "acme/**", false, true),
        ("acme/*", "acme/eng", true, true),
        ("acme/**", "acme", false, false),
        ("acme/*", "acme/eng/*", false, false),
        ("*/eng", "acme/*", false, true),
        ("acme", "acme", true, true),
    ];
    for (one, other, covers, meets) in cases {
        let (one, other): (Glob, Glob) = (one.parse().unwrap(), other.parse().unwrap());
        assert_eq!(one.covers(&other), covers, "{one} covers {other}");
        assert_eq!(one.meets(&other), meets, "{one} meets {other}");
        assert_eq!(other.meets(&one), meets, "{other} meets {one}");
    }
}

proptest! {
    #[test]
    fn nothing_escapes_what_covers_or_does_not_meet(
        one in patterns(), other in patterns(), text in "[ab/]{0,7}"
    ) {
        if one.covers(&other) && other.matches(&text) {
            prop_assert!(one.matches(&text), "{one} covers {other}, and not {text}");
        }
        if one.matches(&text) && other.matches(&text) {
            prop_assert!(one.meets(&other), "{text} is of {one} and of {other}");
        }
        prop_assert!(one.covers(&one));
    }
}
