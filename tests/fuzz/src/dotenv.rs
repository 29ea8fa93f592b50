//! The text of a `.env` file.

use crate::under::dotenv::{parse, set, unset};

const NAME: &str = "FUZZED";

pub fn check(data: &[u8]) {
    let text = crate::text(data);
    let Ok(entries) = parse(&text) else {
        let told = parse(&text).unwrap_err().to_string();
        assert!(told.len() < text.len() + 200, "{told}");
        assert!(set(&text, NAME, "x").is_err() && unset(&text, NAME).is_err());
        return;
    };
    let mut end = 0;
    for entry in &entries {
        assert!(entry.span.start >= end && text.get(entry.span.clone()).is_some());
        end = entry.span.end;
    }
    let pairs = |text: &str| -> Vec<(String, String)> {
        let entries = parse(text).expect("what was written is read");
        entries.into_iter().map(|entry| (entry.name, entry.value.to_string())).collect()
    };
    let before = pairs(&text);
    let others = |pairs: &[(String, String)]| -> Vec<(String, String)> {
        pairs.iter().filter(|(name, _)| name != NAME).cloned().collect()
    };
    // Any value that is text can be written, the file itself among them, and nothing else changes.
    for value in [text.as_str(), "x"] {
        let after = pairs(&set(&text, NAME, value).expect("it parses"));
        let found = after.iter().find(|(name, _)| name == NAME);
        assert_eq!(found.map(|(_, value)| value.as_str()), Some(value));
        assert_eq!(others(&before), others(&after));
    }
    assert_eq!(others(&before), pairs(&unset(&text, NAME).expect("it parses")));
}
