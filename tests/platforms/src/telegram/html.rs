//! Telegram's HTML: text and entities, or what is wrong with it. <https://core.telegram.org/bots/api#html-style>

use serde_json::{Value, json};

/// The tags that there are, with the entity that each makes.
const TAGS: [(&str, &str); 11] = [
    ("b", "bold"),
    ("strong", "bold"),
    ("i", "italic"),
    ("em", "italic"),
    ("u", "underline"),
    ("s", "strikethrough"),
    ("del", "strikethrough"),
    ("code", "code"),
    ("pre", "pre"),
    ("a", "text_link"),
    ("blockquote", "blockquote"),
];

pub(super) fn parse(html: &str) -> Result<(String, Vec<Value>), String> {
    let (mut text, mut entities, mut rest) = (String::new(), Vec::new(), html);
    let mut open: Vec<(&str, Value)> = Vec::new();
    while let Some(c) = rest.chars().next() {
        match c {
            '<' => {
                let (tag, after) = rest[1..].split_once('>').ok_or("Unclosed start tag")?;
                rest = after;
                match tag.strip_prefix('/') {
                    Some(name) => {
                        let (opened, mut entity) = open.pop().ok_or("Unexpected end tag")?;
                        if opened != name {
                            return Err(format!(
                                "Unmatched end tag, expected \"</{opened}>\", found \"</{name}>\""
                            ));
                        }
                        let from = entity["offset"].as_u64().unwrap();
                        entity["length"] = (units(&text) - from).into();
                        entities.push(entity);
                    }
                    None => {
                        let name = tag.split(' ').next().unwrap_or_default();
                        let kind = TAGS.iter().find(|(known, _)| *known == name);
                        let (name, kind) =
                            kind.ok_or(format!("Unsupported start tag \"{name}\""))?;
                        let mut entity = json!({ "type": kind, "offset": units(&text) });
                        if let Some((_, link)) = tag.split_once("href=\"") {
                            entity["url"] = unescape(link.trim_end_matches('"')).into();
                        }
                        open.push((name, entity));
                    }
                }
            }
            '&' => {
                let (entity, after) = rest[1..].split_once(';').ok_or("Unclosed entity")?;
                text.push_str(&unescape(&format!("&{entity};")));
                rest = after;
            }
            '>' => return Err("Unexpected `>`".into()),
            other => {
                text.push(other);
                rest = &rest[other.len_utf8()..];
            }
        }
    }
    match open.last() {
        Some((name, _)) => Err(format!("Can't find end tag corresponding to start tag \"{name}\"")),
        None => Ok((text, entities)),
    }
}

fn unescape(text: &str) -> String {
    let marks = [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&amp;", "&")];
    marks.iter().fold(text.to_owned(), |text, (mark, plain)| text.replace(mark, plain))
}

pub(super) fn units(text: &str) -> u64 {
    u64::try_from(text.encode_utf16().count()).unwrap()
}
