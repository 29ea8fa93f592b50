//! Telegram's entities as Markdown, so that an agent sees what a person saw. Pure.
//! <https://core.telegram.org/bots/api#messageentity>

use frankenstein::types::{MessageEntity, MessageEntityType as Type};

/// The text with its entities as Markdown. Entities that do not lie in the text are left out.
pub(crate) fn markdown(text: &str, entities: &[MessageEntity]) -> String {
    let mut marks: Vec<Mark> = Vec::new();
    for (order, entity) in entities.iter().enumerate() {
        let Some((open, close)) = around(entity) else { continue };
        let (from, to) =
            (usize::from(entity.offset), usize::from(entity.offset) + usize::from(entity.length));
        if from == to {
            continue;
        }
        // What was opened last is closed first; at one place, what ends comes before what begins.
        marks.push(Mark { at: from, rank: (1, order_of(order)), text: open });
        marks.push(Mark { at: to, rank: (0, -order_of(order)), text: close });
    }
    let quotes: Vec<(usize, usize)> = entities
        .iter()
        .filter(|entity| matches!(entity.type_field, Type::Blockquote | Type::ExpandableBlockquote))
        .map(|entity| {
            (usize::from(entity.offset), usize::from(entity.offset) + usize::from(entity.length))
        })
        .collect();
    marks.sort_by_key(|mark| (mark.at, mark.rank));
    let (mut written, mut at, mut marks) =
        (String::with_capacity(text.len() + 16), 0, marks.into_iter().peekable());
    for c in text.chars() {
        while let Some(mark) = marks.next_if(|mark| mark.at <= at) {
            written.push_str(&mark.text);
        }
        if quotes.iter().any(|(from, _)| *from == at) {
            written.push_str("> ");
        }
        written.push(c);
        at += c.len_utf16();
        if c == '\n' && quotes.iter().any(|(from, to)| *from < at && at < *to) {
            written.push_str("> ");
        }
    }
    marks.filter(|mark| mark.at <= at).for_each(|mark| written.push_str(&mark.text));
    written
}

struct Mark {
    at: usize,
    rank: (u8, i64),
    text: String,
}

fn order_of(order: usize) -> i64 {
    i64::try_from(order).unwrap_or(i64::MAX)
}

/// What stands before and after an entity.
fn around(entity: &MessageEntity) -> Option<(String, String)> {
    let both = |mark: &str| Some((mark.to_owned(), mark.to_owned()));
    match entity.type_field {
        Type::Bold => both("**"),
        Type::Italic => both("_"),
        Type::Strikethrough => both("~~"),
        Type::Code => both("`"),
        Type::Pre => {
            let lang = entity.language.as_deref().unwrap_or_default();
            Some((format!("```{lang}\n"), "\n```".into()))
        }
        Type::TextLink => {
            let url = entity.url.as_deref()?;
            Some(("[".into(), format!("]({url})")))
        }
        _ => None,
    }
}

/// The part of `text` that an entity is about.
pub(crate) fn part(text: &str, entity: &MessageEntity) -> String {
    let units: Vec<u16> = text.encode_utf16().collect();
    let (from, length) = (usize::from(entity.offset), usize::from(entity.length));
    String::from_utf16_lossy(units.get(from..from + length).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn entity(kind: &str, offset: u16, length: u16) -> MessageEntity {
        let entity = json!({ "type": kind, "offset": offset, "length": length, "url": "https://x.example/", "language": "rs" });
        serde_json::from_value(entity).unwrap()
    }

    #[test]
    fn entities_become_markdown_by_their_utf16_places() {
        let bold = [entity("bold", 2, 2), entity("italic", 2, 2)];
        assert_eq!(markdown("👋hi", &bold), "👋**_hi_**");
        assert_eq!(
            markdown("see this", &[entity("text_link", 4, 4)]),
            "see [this](https://x.example/)"
        );
        assert_eq!(markdown("let a;", &[entity("pre", 0, 6)]), "```rs\nlet a;\n```");
        assert_eq!(markdown("a\nb\nc", &[entity("blockquote", 0, 3)]), "> a\n> b\nc");
        assert_eq!(markdown("ab", &[entity("bold", 0, 1), entity("code", 1, 1)]), "**a**`b`");
        assert_eq!(part("👋hi", &entity("mention", 2, 2)), "hi");
        assert_eq!(part("a", &entity("mention", 5, 9)), "");
    }

    proptest! {
        #[test]
        fn no_place_of_an_entity_breaks_anything(text in ".{0,40}", offset in 0_u16..60, length in 0_u16..60) {
            let written = markdown(&text, &[entity("bold", offset, length)]);
            prop_assert_eq!(written.replace("**", ""), text.replace("**", ""));
            let _part = part(&text, &entity("mention", offset, length));
        }
    }
}
