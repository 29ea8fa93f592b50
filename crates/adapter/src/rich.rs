//! Markdown as a list of blocks, which a platform writes in its own markup. Pure.
//!
//! Agents write CommonMark with tables and strike-through. Platforms know little of that: so what is nested becomes a
//! flat list, and a table becomes text of a fixed width. Nothing an agent writes can become markup of the platform's,
//! because all that is left of it is text and a few styles.

mod build;

use std::sync::Arc;

/// A message.
pub type Blocks = Vec<Block>;

/// A part of a message that begins on a line of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// What it is.
    pub kind: Kind,
    /// Whether it is quoted.
    pub quoted: bool,
    /// Whether an empty line stands before it, unless it is the first.
    pub apart: bool,
}

/// What a block is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Text.
    Text(Vec<Span>),
    /// A heading.
    Heading(Vec<Span>),
    /// An entry of a list.
    Item {
        /// What stands before it, such as `•` or `3.`; nothing where it is the rest of an entry.
        marker: String,
        /// How deep it stands: 0 for the outermost list.
        depth: usize,
        /// Its text.
        spans: Vec<Span>,
    },
    /// Text to be shown as it is, letter by letter.
    Code {
        /// Its language: letters, digits and `+#._-`.
        lang: Option<String>,
        /// The text, without a line's end at its end.
        text: String,
    },
    /// A line across.
    Rule,
}

/// Text of one style.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// The text. It may have line ends.
    pub text: String,
    /// How it looks.
    pub style: Style,
}

/// How text looks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Style {
    /// Strong.
    pub bold: bool,
    /// Emphasis.
    pub italic: bool,
    /// Struck through.
    pub strike: bool,
    /// Code in the line.
    pub code: bool,
    /// Where it leads: `http:`, `https:` or `mailto:`.
    pub link: Option<Arc<str>>,
}

impl Style {
    /// Whether it is text like any other.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        *self == Self::default()
    }
}

impl Block {
    /// Its text, if it has spans.
    #[must_use]
    pub fn spans(&self) -> Option<&[Span]> {
        match &self.kind {
            Kind::Text(spans) | Kind::Heading(spans) | Kind::Item { spans, .. } => Some(spans),
            Kind::Code { .. } | Kind::Rule => None,
        }
    }

    /// What stands before its text on its line: an entry's marker and its depth, as spaces.
    #[must_use]
    pub fn lead(&self) -> String {
        match &self.kind {
            Kind::Item { marker, depth, .. } if marker.is_empty() => "  ".repeat(depth + 1),
            Kind::Item { marker, depth, .. } => format!("{}{marker} ", "  ".repeat(*depth)),
            _ => String::new(),
        }
    }

    /// Its text alone, as somebody reads it.
    #[must_use]
    pub fn text(&self) -> String {
        match &self.kind {
            Kind::Code { text, .. } => text.clone(),
            Kind::Rule => RULE.to_owned(),
            _ => {
                let spans = self.spans().unwrap_or_default();
                self.lead() + &spans.iter().map(|span| span.text.as_str()).collect::<String>()
            }
        }
    }
}

/// A line across, as text.
pub const RULE: &str = "———";

/// What stands between two blocks.
#[must_use]
pub const fn gap(block: &Block) -> &'static str {
    if block.apart { "\n\n" } else { "\n" }
}

/// Reads Markdown. Never fails: what is not understood is text.
#[must_use]
pub fn parse(markdown: &str) -> Blocks {
    build::blocks(markdown)
}

/// Text that is no Markdown, as it is.
#[must_use]
pub fn verbatim(text: &str) -> Blocks {
    let span = Span { text: text.to_owned(), style: Style::default() };
    vec![Block { kind: Kind::Text(vec![span]), quoted: false, apart: false }]
}

/// A message without any style, for where the platform does not take its markup. Addresses of links that are not
/// their own text stand behind it.
#[must_use]
pub fn plain(blocks: &[Block]) -> String {
    let mut text = String::new();
    for (index, block) in blocks.iter().enumerate() {
        if index > 0 {
            text.push_str(gap(block));
        }
        match block.spans() {
            None => text.push_str(&block.text()),
            Some(spans) => {
                text.push_str(&block.lead());
                for span in spans {
                    text.push_str(&span.text);
                    let link = span.style.link.as_deref().filter(|link| *link != span.text);
                    if let Some(link) = link {
                        text.push_str(&format!(" ({link})"));
                    }
                }
            }
        }
    }
    text
}

#[cfg(test)]
mod tests;
