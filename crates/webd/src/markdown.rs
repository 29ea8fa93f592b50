//! Markdown to a small tree of known elements. Pure.
//!
//! The tree is the one result of parsing: the server renders it into the page, and the page's
//! script builds the same elements from its JSON. It has no place for HTML, scripts, styles or
//! images, so that nothing an agent writes can become any of these.

use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TextMergeStream};
use serde::Serialize;

/// Elements deeper than this are flattened into the one that holds them.
const DEPTH_MAX: usize = 20;

/// Steps that the parser may need for what quotes and lists hold: for each line it goes through all
/// that are open, of which there may be as many as a line begins with marks. No message that was
/// written to be read comes near.
const STEPS_MAX: usize = 8_000_000;

/// One piece of a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Node {
    /// Text, to be shown as it is.
    Text(String),
    /// An element.
    Element(Element),
}

/// An element. Its name is one of a fixed set; it has no attributes but these.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Element {
    /// Its HTML name.
    #[serde(rename = "t")]
    pub name: &'static str,
    /// Where a link goes: `http:`, `https:` or `mailto:`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub href: Option<String>,
    /// The language of a code block: letters, digits and `+#._-`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lang: Option<String>,
    /// The first number of an ordered list, where it is not 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start: Option<u64>,
    /// What it holds.
    #[serde(rename = "c", skip_serializing_if = "Vec::is_empty")]
    pub children: Vec<Node>,
}

impl Element {
    const fn new(name: &'static str) -> Self {
        Self { name, href: None, lang: None, start: None, children: Vec::new() }
    }
}

/// Parses CommonMark with tables and strike-through. Never fails: what is not understood is text.
pub fn parse(text: &str) -> Vec<Node> {
    if steps(text) > STEPS_MAX {
        let children = vec![Node::Text(text.to_owned())];
        return vec![Node::Element(Element { children, ..Element::new("pre") })];
    }
    let options =
        Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH | Options::ENABLE_TASKLISTS;
    let mut tree = Tree { root: Vec::new(), open: Vec::new(), flattened: 0, in_head: false };
    for event in TextMergeStream::new(Parser::new_ext(text, options)) {
        tree.take(event);
    }
    tree.flattened = 0;
    while !tree.open.is_empty() {
        tree.close();
    }
    tree.root
}

struct Tree {
    root: Vec<Node>,
    /// The open elements; `None` for one whose children go to the one around it.
    open: Vec<Option<Element>>,
    /// How many more are open, too deep to be elements. Counted, so that each piece of text costs the
    /// same however deep it is.
    flattened: usize,
    in_head: bool,
}

impl Tree {
    fn take(&mut self, event: Event<'_>) {
        match event {
            Event::Start(tag) => self.start(tag),
            Event::End(_) => self.close(),
            Event::Text(text) => self.text(&text),
            Event::Code(text) => self.push_with("code", &text),
            // HTML is not ours to interpret: it is shown as the text it is.
            Event::Html(text) | Event::InlineHtml(text) => {
                self.push(Node::Text(text.into_string()))
            }
            Event::InlineMath(text) | Event::DisplayMath(text) => self.push_with("code", &text),
            Event::FootnoteReference(name) => self.push(Node::Text(format!("[{name}]"))),
            // In a chat, a new line is meant as one.
            Event::SoftBreak | Event::HardBreak => self.push(Node::Element(Element::new("br"))),
            Event::Rule => self.push(Node::Element(Element::new("hr"))),
            Event::TaskListMarker(done) => {
                self.push(Node::Text(if done { "☑ " } else { "☐ " }.to_owned()));
            }
        }
    }

    fn start(&mut self, tag: Tag<'_>) {
        let element = match tag {
            Tag::Paragraph => Some(Element::new("p")),
            // The page has the first two levels.
            Tag::Heading { level, .. } => Some(Element::new(match level as u8 {
                1 => "h3",
                2 => "h4",
                _ => "h5",
            })),
            Tag::BlockQuote(_) => Some(Element::new("blockquote")),
            Tag::CodeBlock(kind) => Some(Element { lang: language(&kind), ..Element::new("pre") }),
            Tag::List(None) => Some(Element::new("ul")),
            Tag::List(Some(first)) => {
                Some(Element { start: Some(first).filter(|n| *n != 1), ..Element::new("ol") })
            }
            Tag::Item => Some(Element::new("li")),
            Tag::Table(_) => Some(Element::new("table")),
            Tag::TableHead => {
                self.in_head = true;
                Some(Element::new("tr"))
            }
            Tag::TableRow => {
                self.in_head = false;
                Some(Element::new("tr"))
            }
            Tag::TableCell => Some(Element::new(if self.in_head { "th" } else { "td" })),
            Tag::Emphasis => Some(Element::new("em")),
            Tag::Strong => Some(Element::new("strong")),
            Tag::Strikethrough => Some(Element::new("del")),
            Tag::Link { dest_url, .. } => link(&dest_url),
            // An image would be a request to a stranger: it is shown as a link with its text.
            Tag::Image { dest_url, .. } => link(&dest_url),
            _ => None,
        };
        // The deepest may hold a line break, a rule, code or an address, which are elements too.
        if self.open.len() + 1 < DEPTH_MAX {
            self.open.push(element);
        } else {
            self.flattened += 1;
        }
    }

    fn close(&mut self) {
        if self.flattened > 0 {
            self.flattened -= 1;
        } else if let Some(Some(element)) = self.open.pop() {
            self.push(Node::Element(element));
        }
    }

    fn text(&mut self, text: &str) {
        let verbatim = |open: &Option<Element>| {
            open.as_ref().is_some_and(|element| matches!(element.name, "a" | "pre"))
        };
        if self.open.iter().any(verbatim) {
            self.push(Node::Text(text.to_owned()));
        } else {
            link_addresses(text, |node| self.push(node));
        }
    }

    fn push_with(&mut self, name: &'static str, text: &str) {
        let children = vec![Node::Text(text.to_owned())];
        self.push(Node::Element(Element { children, ..Element::new(name) }));
    }

    fn push(&mut self, node: Node) {
        let holder = self.open.iter_mut().rev().find_map(Option::as_mut);
        let nodes = holder.map_or(&mut self.root, |element| &mut element.children);
        match (nodes.last_mut(), node) {
            (Some(Node::Text(before)), Node::Text(text)) => before.push_str(&text),
            (_, node) => nodes.push(node),
        }
    }
}

/// The most steps that quotes and lists within each other can cost: the longest beginning of a line
/// that is made of marks and indentation, for every line.
fn steps(text: &str) -> usize {
    let is_mark = |byte: &u8| byte.is_ascii_digit() || b" \t>-+*.)".contains(byte);
    let lines = || text.as_bytes().split(|byte| matches!(byte, b'\n' | b'\r'));
    let marks = lines().map(|line| line.iter().take_while(|byte| is_mark(byte)).count()).max();
    marks.unwrap_or(0).saturating_mul(lines().count())
}

fn link(address: &str) -> Option<Element> {
    safe(address).then(|| Element { href: Some(address.to_owned()), ..Element::new("a") })
}

/// Whether following the address can do no more than open a page or a letter.
fn safe(address: &str) -> bool {
    let scheme = address.split(':').next().unwrap_or_default().to_ascii_lowercase();
    matches!(scheme.as_str(), "http" | "https" | "mailto")
        && address.len() > scheme.len() + 1
        && !address.chars().any(|c| c.is_control() || c.is_whitespace())
}

fn language(kind: &CodeBlockKind<'_>) -> Option<String> {
    let CodeBlockKind::Fenced(info) = kind else { return None };
    let word = info.split([' ', ',', '{']).next().unwrap_or_default();
    let plain = |c: char| c.is_ascii_alphanumeric() || "+#._-".contains(c);
    (!word.is_empty() && word.len() <= 32 && word.chars().all(plain)).then(|| word.to_owned())
}

/// Makes links of the bare addresses in `text`, in time in proportion to its length.
fn link_addresses(text: &str, mut push: impl FnMut(Node)) {
    let mut done = 0;
    for (at, _) in text.match_indices("http") {
        let Some(from) = text.get(at..).filter(|_| at >= done) else { continue };
        if !(from.starts_with("https://") || from.starts_with("http://")) {
            continue;
        }
        let ends = |c: char| c.is_whitespace() || c.is_control() || "<>\"'`".contains(c);
        let end = from.find(ends).unwrap_or(from.len());
        let address = without_end_of_sentence(from.get(..end).unwrap_or_default());
        let element = link(address).filter(|_| address.len() > "https://".len());
        let Some(element) = element else { continue };
        if let Some(before) = text.get(done..at).filter(|before| !before.is_empty()) {
            push(Node::Text(before.to_owned()));
        }
        let children = vec![Node::Text(address.to_owned())];
        push(Node::Element(Element { children, ..element }));
        done = at + address.len();
    }
    if let Some(rest) = text.get(done..).filter(|rest| !rest.is_empty()) {
        push(Node::Text(rest.to_owned()));
    }
}

/// The address without what ends the sentence around it.
fn without_end_of_sentence(address: &str) -> &str {
    let opened = address.matches('(').count();
    let mut closed = address.matches(')').count();
    address.trim_end_matches(|c| match c {
        '.' | ',' | ';' | ':' | '!' | '?' | '*' | '_' | ']' => true,
        ')' if closed > opened => {
            closed -= 1;
            true
        }
        _ => false,
    })
}

#[cfg(test)]
mod tests;
