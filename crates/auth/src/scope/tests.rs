//! Scopes, held against wanted.

use super::{FULL, Scope, Scopes, scopes};

#[test]
fn what_a_held_scope_covers() {
    let cases = [
        ("messages:write", "messages:write", true),
        ("messages:write", "messages:read", false),
        ("messages:write", "messages:*", false),
        ("messages:*", "messages:write", true),
        ("messages:*", "messages:*", true),
        ("messages:*", "message:write", false),
        ("messages:*", "messagesx:write", false),
        ("*:*", "messages:write", true),
        ("*:*", "messages:*", true),
        ("*:*", "*:*", true),
        ("messages:*", "*:*", false),
        // What is no scope is never covered, not even by everything.
        ("*:*", "", false),
        ("*:*", "*", false),
        ("*:*", "messages", false),
        ("*:*", "messages:", false),
        ("*:*", "*:write", false),
    ];
    for (held, wanted, expected) in cases {
        let held: Scope = held.parse().unwrap();
        assert_eq!(held.covers(wanted), expected, "{held} for {wanted:?}");
    }
}

#[test]
fn what_is_no_scope() {
    for text in
        ["", "*", ":", "a:", ":a", "a:b:c", "A:b", "a b", "a:b ", "*:a", "a:**", "a:*b", "a:b*"]
    {
        assert!(text.parse::<Scope>().is_err(), "{text:?}");
    }
    assert!("a".repeat(63).parse::<Scope>().is_err());
    assert!(format!("{}:b", "a".repeat(70)).parse::<Scope>().is_err());
}

#[test]
fn a_list_is_one_string_with_spaces() {
    let list: Scopes = "messages:read runs:*".parse().unwrap();
    assert_eq!(list.to_string(), "messages:read runs:*");
    assert!(list.cover(scopes::MESSAGES_READ) && list.cover("runs:write"));
    assert!(!list.cover(scopes::MESSAGES_WRITE));
    assert!("messages:read *".parse::<Scopes>().is_err());

    let none: Scopes = "".parse().unwrap();
    assert!(scopes::ALL.iter().all(|scope| !none.cover(scope)));
    let full = Scopes::from([FULL].as_slice());
    assert!(scopes::ALL.iter().all(|scope| full.cover(scope)));
}
