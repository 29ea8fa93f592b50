//! Ids and names that cross a boundary.

use auth::{Principal, Scope, Scopes};
use proto::{Address, Daemon, Folder, Jid, Opaque, Topic};
use secrets::Name;
use serde::{Serialize, de::DeserializeOwned};
use std::{fmt::Display, path::Path, str::FromStr};

pub fn check(data: &[u8]) {
    let text = crate::text(data);
    if let Some(folder) = id::<Folder>(&text) {
        // It is a path below where it is put, and cannot be an option of a program.
        let path = Path::new(folder.as_str());
        assert!(path.components().all(|part| matches!(part, std::path::Component::Normal(_))));
        assert!(path.is_relative() && !text.starts_with('-') && text.len() <= 8 * 65);
        assert!(folder.contains(&folder));
    }
    if let Some(topic) = id::<Topic>(&text) {
        assert!(topic.as_str().len() <= 128 && !topic.as_str().contains(['#', '\n', '\0']));
    }
    if let Some(opaque) = id::<Opaque>(&text) {
        assert!((1..=256).contains(&opaque.as_str().len()));
    }
    if let Some(jid) = id::<Jid>(&text) {
        assert_eq!(format!("{}:{}", jid.platform(), jid.room()), text);
        assert!(text.len() <= 256);
        match jid.address() {
            Address::Web(_) => assert_eq!(jid.platform(), "web"),
            Address::Hook(folder, source) => {
                assert_eq!(Jid::hook(&folder, &source).expect("it is one"), jid);
            }
            Address::Platform => assert!(!["web", "hook"].contains(&jid.platform())),
        }
    }
    match text.parse::<Name>() {
        Ok(name) => {
            assert_eq!(name.as_str(), text);
            assert!(text.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_'));
        }
        // It could be a value in the place of a name.
        Err(error) => assert!(error.to_string().chars().count() < 160, "{error}"),
    }
    if let Ok(principal) = text.parse::<Principal>() {
        assert_eq!(format!("{}:{}", principal.kind(), principal.id()), text);
    }
    if let Ok(scope) = text.parse::<Scope>() {
        assert!(scope.covers(&text) || text.ends_with('*'));
    }
    if let Ok(scopes) = text.parse::<Scopes>() {
        assert_eq!(scopes.to_string().parse::<Scopes>().expect("what it writes").to_string(), scopes.to_string());
    }
    if let Ok(daemon) = text.parse::<Daemon>() {
        assert_eq!(daemon.name(), text);
    }
}

/// Reads it as an id, as text and through JSON, which must agree.
fn id<T>(text: &str) -> Option<T>
where
    T: FromStr + Serialize + DeserializeOwned + PartialEq + std::fmt::Debug + Display,
    T::Err: Display,
{
    let json = serde_json::to_string(text).expect("text is JSON");
    let through_json = serde_json::from_str::<T>(&json).ok();
    let parsed = text.parse::<T>();
    if let Err(error) = &parsed {
        assert!(error.to_string().chars().count() < 300, "{error}");
    }
    let parsed = parsed.ok();
    assert_eq!(parsed, through_json);
    if let Some(id) = &parsed {
        assert_eq!(id.to_string(), text);
        assert_eq!(serde_json::to_string(id).expect("an id is JSON"), json);
    }
    parsed
}
