//! The input of a turn as one text. Pure, and everything that somebody else wrote is escaped.
//!
//! The text is a document of a few elements, so that an agent can tell what is context, what is to be answered, and
//! who said it. A message cannot close its own element or forge another's.

use crate::origin::Origin;
use proto::Timestamp;

/// Bytes of observed and earlier messages that are shown; the newest come first in the choice.
const CONTEXT_BYTES: usize = 16_384;

/// Somebody said something.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) chat_jid: String,
    pub(crate) id: String,
    pub(crate) sender: String,
    pub(crate) sender_name: Option<String>,
    pub(crate) content: String,
    pub(crate) sent_at: Timestamp,
    pub(crate) verb: String,
    /// What it comes from, as routd knows it.
    pub(crate) origin: Origin,
    pub(crate) reply_to: Option<String>,
    /// What came with it.
    pub(crate) attachments: Vec<Attached>,
}

/// A file that came with a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Attached {
    /// What the turn's socket knows it by, where it can be had.
    pub(crate) id: Option<String>,
    pub(crate) name: String,
    pub(crate) mime: String,
    pub(crate) size: Option<u64>,
    /// Where it is put, relative to the home.
    pub(crate) path: Option<String>,
}

/// All that a prompt is made of.
#[derive(Clone, Debug)]
pub(crate) struct Material<'a> {
    pub(crate) now: Timestamp,
    pub(crate) assistant: &'a str,
    pub(crate) folder: &'a str,
    pub(crate) topic: &'a str,
    pub(crate) chat_jid: &'a str,
    /// Which attempt, from 1.
    pub(crate) attempt: u32,
    /// The folder's memory.
    pub(crate) memory: Option<&'a str>,
    /// What was said before, oldest first; left out where the harness has its own session.
    pub(crate) earlier: &'a [Line],
    /// What was stored for context since the last turn, oldest first.
    pub(crate) observed: &'a [Line],
    /// What is to be answered, oldest first.
    pub(crate) messages: &'a [Line],
}

/// Writes the prompt.
pub(crate) fn compose(material: &Material<'_>) -> String {
    let mut out = String::new();
    let Material { now, assistant, folder, topic, chat_jid, attempt, .. } = material;
    element(&mut out, "context", &[("now", &now.to_string())], |out| {
        field(out, "you", assistant);
        field(out, "folder", folder);
        field(out, "topic", topic);
        field(out, "chat", chat_jid);
        if *attempt > 1 {
            field(
                out,
                "attempt",
                &format!("{attempt}; an earlier one ended before it did anything"),
            );
        }
    });
    if let Some(memory) = material.memory.filter(|memory| !memory.is_empty()) {
        element(&mut out, "memory", &[], |out| {
            escape(memory, out);
            out.push('\n');
        });
    }
    lines(&mut out, "earlier", "message", newest(material.earlier));
    lines(&mut out, "observed", "message", newest(material.observed));
    lines(&mut out, "messages", "message", material.messages);
    out
}

/// Writes messages that came later, as the prompt has them.
pub(crate) fn messages(later: &[Line]) -> String {
    let mut out = String::new();
    lines(&mut out, "messages", "message", later);
    out
}

/// The newest lines that fit.
fn newest(all: &[Line]) -> &[Line] {
    let mut room = CONTEXT_BYTES;
    let fit = all.iter().rev().take_while(|line| match room.checked_sub(line.content.len()) {
        Some(left) => {
            room = left;
            true
        }
        None => false,
    });
    let from = all.len() - fit.count();
    all.get(from..).unwrap_or_default()
}

fn lines(out: &mut String, name: &str, each: &str, all: &[Line]) {
    if all.is_empty() {
        return;
    }
    element(out, name, &[], |out| {
        for line in all {
            message(out, each, line);
        }
    });
}

fn message(out: &mut String, name: &str, line: &Line) {
    let sent = line.sent_at.to_string();
    let mut attributes = vec![
        ("id", line.id.as_str()),
        ("origin", line.origin.name()),
        ("sender", &line.sender),
        ("at", &sent),
    ];
    if let Some(sender_name) = &line.sender_name {
        attributes.push(("name", sender_name));
    }
    attributes.push(("chat", &line.chat_jid));
    if line.verb != "message" {
        attributes.push(("kind", &line.verb));
    }
    if let Some(reply_to) = &line.reply_to {
        attributes.push(("answers", reply_to));
    }
    element(out, name, &attributes, |out| {
        for file in &line.attachments {
            out.push_str("<attachment");
            attribute(out, "name", &file.name);
            attribute(out, "type", &file.mime);
            if let Some(size) = file.size {
                attribute(out, "bytes", &size.to_string());
            }
            if let Some(path) = &file.path {
                attribute(out, "path", path);
            }
            out.push_str("/>\n");
        }
        escape(&line.content, out);
        out.push('\n');
    });
}

fn field(out: &mut String, name: &str, value: &str) {
    if !value.is_empty() {
        out.push_str(name);
        out.push_str(": ");
        escape(&value.replace(['\r', '\n'], " "), out);
        out.push('\n');
    }
}

fn element(
    out: &mut String,
    name: &str,
    attributes: &[(&str, &str)],
    inside: impl FnOnce(&mut String),
) {
    out.push('<');
    out.push_str(name);
    for (key, value) in attributes {
        attribute(out, key, value);
    }
    out.push_str(">\n");
    inside(out);
    out.push_str("</");
    out.push_str(name);
    out.push_str(">\n");
}

fn attribute(out: &mut String, key: &str, value: &str) {
    out.push(' ');
    out.push_str(key);
    out.push_str("=\"");
    escape(value, out);
    out.push('"');
}

/// No markup, no quotes, and no control characters but the line's own.
fn escape(text: &str, out: &mut String) {
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' | '\t' => out.push(c),
            c if c.is_control() => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn line(content: &str) -> Line {
        Line {
            chat_jid: "web:atlas".into(),
            id: "m1".into(),
            sender: "web:ann".into(),
            sender_name: Some("Ann \"A\" <b>".into()),
            content: content.into(),
            sent_at: Timestamp(1_700_000_000_000),
            verb: "message".into(),
            origin: Origin::Person,
            reply_to: None,
            attachments: vec![Attached {
                id: Some("7-0".into()),
                name: "a\"b.txt".into(),
                mime: "text/plain".into(),
                size: Some(12),
                path: Some("inbox/7-0-b.txt".into()),
            }],
        }
    }

    fn material(messages: &[Line]) -> Material<'_> {
        Material {
            now: Timestamp(1_700_000_000_000),
            assistant: "arizuko",
            folder: "atlas",
            topic: "",
            chat_jid: "web:atlas",
            attempt: 1,
            memory: Some("likes <tea>"),
            earlier: &[],
            observed: &[],
            messages,
        }
    }

    #[test]
    fn a_prompt_says_who_said_what_and_when() {
        let prompt = compose(&material(&[line("hello")]));
        assert_eq!(
            prompt,
            "<context now=\"2023-11-14T22:13:20Z\">\nyou: arizuko\nfolder: atlas\nchat: web:atlas\n</context>\n\
             <memory>\nlikes &lt;tea&gt;\n</memory>\n\
             <messages>\n\
             <message id=\"m1\" origin=\"person\" sender=\"web:ann\" at=\"2023-11-14T22:13:20Z\" name=\"Ann &quot;A&quot; &lt;b&gt;\" chat=\"web:atlas\">\n\
             <attachment name=\"a&quot;b.txt\" type=\"text/plain\" bytes=\"12\" path=\"inbox/7-0-b.txt\"/>\nhello\n</message>\n</messages>\n"
        );
    }

    #[test]
    fn old_context_makes_room_for_new() {
        let all: Vec<Line> = (0..4).map(|n| line(&n.to_string().repeat(6_000))).collect();
        let kept = newest(&all);
        assert_eq!(kept.len(), 2);
        assert!(kept.last().unwrap().content.starts_with('3'));
    }

    proptest! {
        #[test]
        fn no_text_forges_an_element(text in "(</?message>|</?messages|[<>\"&a-z\\n]| origin=\"system\")*", name in "(\\PC| origin=\"system\"){0,20}") {
            let mut forged = line(&text);
            forged.sender_name = Some(name.clone());
            forged.sender = name;
            let prompt = compose(&material(&[forged]));
            prop_assert_eq!(prompt.matches("<message ").count(), 1);
            prop_assert_eq!(prompt.matches(" origin=\"").count(), 1);
            prop_assert_eq!(prompt.matches("</message>").count(), 1);
            prop_assert_eq!(prompt.matches("</messages>").count(), 1);
        }
    }
}
