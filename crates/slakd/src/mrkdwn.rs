//! A message in Slack's own markup. Pure.
//!
//! Slack's `mrkdwn` (<https://docs.slack.dev/messaging/formatting-message-text>) has bold, italic, struck-out text, code,
//! links and quotes. `&`, `<` and `>` are escaped, so that no text an agent writes calls a channel together; a member is
//! called only by a name that is known.

use adapter::rich::{Block, Kind, RULE, Span, Style, gap};

/// What makes Slack see a mark inside a word: a space that has no width.
const JOINT: char = '\u{200B}';

/// How long a message may be, in the units of [`length`]: `chat.update` takes no more, and `chat.postMessage` advises it
/// (<https://docs.slack.dev/reference/methods/chat.update>).
pub(crate) const LENGTH_MAX: usize = 4_000;

/// The message as `mrkdwn`. `member` knows the id of a member by the name that people see.
pub(crate) fn render(blocks: &[Block], member: impl Fn(&str) -> Option<String>) -> String {
    let mut out = String::new();
    let mut before: Option<&Block> = None;
    for block in blocks {
        if let Some(before) = before {
            let quote = before.quoted && block.quoted;
            out.push_str(if quote && gap(block).len() > 1 { "\n>\n" } else { gap(block) });
        }
        let text = written(block, &member);
        if block.quoted {
            let lines: Vec<String> = text.lines().map(|line| format!("> {line}")).collect();
            out.push_str(&lines.join("\n"));
        } else {
            out.push_str(&text);
        }
        before = Some(block);
    }
    out
}

/// How long a message becomes, in units of UTF-16: never less than Slack counts.
pub(crate) fn length(blocks: &[Block]) -> usize {
    render(blocks, |_| None).encode_utf16().count()
}

/// A text as `mrkdwn` that shows it as it is.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            c => out.push(c),
        }
    }
    out
}

fn written(block: &Block, member: &impl Fn(&str) -> Option<String>) -> String {
    match &block.kind {
        Kind::Rule => RULE.to_owned(),
        Kind::Code { text, .. } => format!("```\n{}\n```", escape(&without_fences(text))),
        Kind::Heading(spans) => {
            let bold = spans.iter().map(|span| {
                let style = Style { bold: true, ..span.style.clone() };
                Span { text: span.text.clone(), style }
            });
            line(&bold.collect::<Vec<_>>(), member)
        }
        Kind::Text(spans) => line(spans, member),
        Kind::Item { spans, .. } => block.lead() + &line(spans, member),
    }
}

/// Slack has no way to write three of these marks in a row within code.
fn without_fences(code: &str) -> String {
    code.replace("```", &format!("``{JOINT}`"))
}

fn line(spans: &[Span], member: &impl Fn(&str) -> Option<String>) -> String {
    let mut out = String::new();
    for span in spans {
        for (nth, part) in span.text.split('\n').enumerate() {
            // A style ends with its line.
            if nth > 0 {
                out.push('\n');
            }
            if !part.is_empty() {
                join(&mut out, &styled(part, &span.style, member));
            }
        }
    }
    out
}

/// Adds a part, parted from a word that it would otherwise be taken for a piece of.
fn join(out: &mut String, part: &str) {
    let is_mark = |c: char| "*_~`<>".contains(c);
    let (last, first) = (out.chars().last(), part.chars().next());
    if let (Some(last), Some(first)) = (last, first)
        && (last.is_alphanumeric() && is_mark(first) || is_mark(last) && first.is_alphanumeric())
    {
        out.push(JOINT);
    }
    out.push_str(part);
}

fn styled(text: &str, style: &Style, member: &impl Fn(&str) -> Option<String>) -> String {
    // A mark that has a space beside it inside is shown as it is: the spaces stay outside.
    let inner = text.trim();
    if inner.is_empty() || style.is_plain() {
        return with_members(text, member);
    }
    let (front, back) = match text.find(inner) {
        Some(at) => (text.get(..at), text.get(at + inner.len()..)),
        None => (None, None),
    };
    let mut shown = match (&style.link, style.code) {
        (Some(link), _) => linked(link, inner),
        (None, true) if inner.contains('`') => {
            format!("```{}```", escape(&without_fences(inner)))
        }
        (None, true) => format!("`{}`", escape(inner)),
        (None, false) => with_members(inner, member),
    };
    for (on, mark) in [(style.strike, '~'), (style.italic, '_'), (style.bold, '*')] {
        if on {
            shown = format!("{mark}{shown}{mark}");
        }
    }
    format!("{}{shown}{}", front.unwrap_or_default(), back.unwrap_or_default())
}

fn linked(link: &str, label: &str) -> String {
    let address = escape(&link.replace('|', "%7C").replace('<', "%3C").replace('>', "%3E"));
    if label == link || link.strip_prefix("mailto:") == Some(label) {
        return format!("<{address}>");
    }
    format!("<{address}|{}>", escape(label))
}

/// The text escaped, with the members that it names called.
fn with_members(text: &str, member: &impl Fn(&str) -> Option<String>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    let mut before: Option<char> = None;
    while let Some(at) = rest.find('@') {
        let (plain, from) = rest.split_at(at);
        out.push_str(&escape(plain));
        before = plain.chars().last().or(before);
        let name = from.get(1..).unwrap_or_default();
        let end = name.find(|c: char| !(c.is_alphanumeric() || "._-".contains(c)));
        let name = name.get(..end.unwrap_or(name.len())).unwrap_or_default();
        let name = name.trim_end_matches(['.', '-']);
        let is_word = before.is_some_and(char::is_alphanumeric);
        let called = Some(name).filter(|name| !name.is_empty() && !is_word).and_then(member);
        let taken = match called {
            Some(id) => {
                out.push_str(&format!("<@{id}>"));
                1 + name.len()
            }
            None => {
                out.push('@');
                1
            }
        };
        before = Some('@');
        rest = from.get(taken..).unwrap_or_default();
    }
    out.push_str(&escape(rest));
    out
}

#[cfg(test)]
mod tests;
