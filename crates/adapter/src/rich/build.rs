//! From the parser's events to blocks. Pure.

use super::{Block, Blocks, Kind, RULE, Span, Style};
use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd, TextMergeStream};
use std::sync::Arc;

/// Entries of lists deeper than this stand as deep as this.
const DEPTH_MAX: usize = 8;
/// Steps that the parser may need for quotes and lists within each other: for each line it goes through all that are
/// open, of which there may be as many as a line begins with marks.
const STEPS_MAX: usize = 8_000_000;
/// The most columns of a table that is laid out; one with more is shown row by row.
const WIDTH_MAX: usize = 120;

pub(super) fn blocks(markdown: &str) -> Blocks {
    if steps(markdown) > STEPS_MAX {
        return super::verbatim(markdown);
    }
    let options =
        Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH | Options::ENABLE_TASKLISTS;
    let mut build = Build::default();
    for event in TextMergeStream::new(Parser::new_ext(markdown, options)) {
        build.take(event);
    }
    build.end_block();
    build.blocks
}

/// The most steps that quotes and lists within each other can cost.
fn steps(text: &str) -> usize {
    let is_mark = |byte: &u8| byte.is_ascii_digit() || b" \t>-+*.)".contains(byte);
    let lines = || text.as_bytes().split(|byte| matches!(byte, b'\n' | b'\r'));
    let marks = lines().map(|line| line.iter().take_while(|byte| is_mark(byte)).count()).max();
    marks.unwrap_or(0).saturating_mul(lines().count())
}

#[derive(Default)]
struct Build {
    blocks: Blocks,
    /// The text of the block that is being read.
    spans: Vec<Span>,
    heading: bool,
    bold: usize,
    italic: usize,
    strike: usize,
    links: Vec<Option<Arc<str>>>,
    quotes: usize,
    /// The open lists, each with the number of its next entry, if it has numbers.
    lists: Vec<Option<u64>>,
    /// The marker of the entry that begins.
    marker: Option<String>,
    /// Whether what comes next stands apart from what came last.
    apart: bool,
    code: Option<(Option<String>, String)>,
    table: Option<Table>,
}

#[derive(Default)]
struct Table {
    rows: Vec<Vec<String>>,
    cell: String,
}

impl Build {
    fn take(&mut self, event: Event<'_>) {
        match event {
            Event::Start(tag) => self.start(tag),
            Event::End(tag) => self.end(tag),
            // HTML is not ours to interpret: it is shown as the text it is.
            Event::Text(text) | Event::Html(text) | Event::InlineHtml(text) => self.text(&text),
            Event::Code(text) | Event::InlineMath(text) | Event::DisplayMath(text) => {
                let style = Style { code: true, ..self.style() };
                self.styled(&text, style);
            }
            Event::FootnoteReference(name) => self.text(&format!("[{name}]")),
            // In a chat, a new line is meant as one.
            Event::SoftBreak | Event::HardBreak => self.text("\n"),
            Event::Rule => {
                self.end_block();
                self.push(Kind::Rule);
                self.apart = true;
            }
            Event::TaskListMarker(done) => self.text(if done { "☑ " } else { "☐ " }),
        }
    }

    fn start(&mut self, tag: Tag<'_>) {
        match tag {
            Tag::Paragraph | Tag::HtmlBlock => self.end_block(),
            Tag::Heading { .. } => {
                self.end_block();
                self.heading = true;
            }
            Tag::BlockQuote(_) => {
                self.end_block();
                self.quotes += 1;
            }
            Tag::CodeBlock(kind) => {
                self.end_block();
                self.code = Some((language(&kind), String::new()));
            }
            Tag::List(first) => {
                self.end_block();
                self.lists.push(first);
            }
            Tag::Item => {
                self.end_block();
                let marker = match self.lists.last_mut() {
                    Some(Some(number)) => {
                        let marker = format!("{number}.");
                        *number += 1;
                        marker
                    }
                    _ => "•".to_owned(),
                };
                self.marker = Some(marker);
            }
            Tag::Table(_) => {
                self.end_block();
                self.table = Some(Table::default());
            }
            Tag::TableHead | Tag::TableRow => {
                if let Some(table) = &mut self.table {
                    table.rows.push(Vec::new());
                }
            }
            Tag::Emphasis => self.italic += 1,
            Tag::Strong => self.bold += 1,
            Tag::Strikethrough => self.strike += 1,
            // A picture would be a request to a stranger: it is shown as a link with its text.
            Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. } => {
                self.links.push(safe(&dest_url).then(|| Arc::from(dest_url.as_ref())));
            }
            _ => {}
        }
    }

    fn end(&mut self, tag: TagEnd) {
        match tag {
            TagEnd::Paragraph | TagEnd::HtmlBlock | TagEnd::Heading(_) => {
                self.end_block();
                self.heading = false;
                self.apart = true;
            }
            TagEnd::BlockQuote(_) => {
                self.end_block();
                self.quotes = self.quotes.saturating_sub(1);
                self.apart = true;
            }
            TagEnd::CodeBlock => {
                if let Some((lang, text)) = self.code.take() {
                    let text = text.strip_suffix('\n').unwrap_or(&text).to_owned();
                    self.push(Kind::Code { lang, text });
                }
                self.apart = true;
            }
            TagEnd::List(_) => {
                self.end_block();
                self.lists.pop();
                self.apart = self.lists.is_empty();
            }
            TagEnd::Item => {
                self.end_block();
                // An entry without any text is an entry all the same.
                if self.marker.is_some() {
                    self.push_text();
                }
                self.apart = false;
            }
            TagEnd::TableCell => {
                if let Some(table) = &mut self.table {
                    let cell = std::mem::take(&mut table.cell);
                    table.rows.last_mut().map(|row| row.push(cell)).unwrap_or_default();
                }
            }
            TagEnd::Table => self.end_table(),
            TagEnd::Emphasis => self.italic = self.italic.saturating_sub(1),
            TagEnd::Strong => self.bold = self.bold.saturating_sub(1),
            TagEnd::Strikethrough => self.strike = self.strike.saturating_sub(1),
            TagEnd::Link | TagEnd::Image => {
                self.links.pop();
            }
            _ => {}
        }
    }

    fn style(&self) -> Style {
        Style {
            bold: self.bold > 0,
            italic: self.italic > 0,
            strike: self.strike > 0,
            code: false,
            link: self.links.iter().rev().find_map(Clone::clone),
        }
    }

    fn text(&mut self, text: &str) {
        let style = self.style();
        self.styled(text, style);
    }

    fn styled(&mut self, text: &str, style: Style) {
        if let Some((_, code)) = &mut self.code {
            code.push_str(text);
        } else if let Some(table) = &mut self.table {
            table.cell.push_str(&text.replace('\n', " "));
        } else {
            match self.spans.last_mut() {
                Some(last) if last.style == style => last.text.push_str(text),
                _ => self.spans.push(Span { text: text.to_owned(), style }),
            }
        }
    }

    /// Ends what is being read, if that is anything.
    fn end_block(&mut self) {
        while self.spans.last().is_some_and(|span| span.text.trim_end().is_empty()) {
            self.spans.pop();
        }
        if let Some(last) = self.spans.last_mut() {
            last.text.truncate(last.text.trim_end().len());
            self.push_text();
        }
    }

    fn push_text(&mut self) {
        let spans = std::mem::take(&mut self.spans);
        let depth = self.lists.len().saturating_sub(1).min(DEPTH_MAX);
        let kind = match (self.marker.take(), self.lists.is_empty()) {
            (Some(marker), _) => Kind::Item { marker, depth, spans },
            (None, false) => Kind::Item { marker: String::new(), depth, spans },
            (None, true) if self.heading => Kind::Heading(spans),
            (None, true) => Kind::Text(spans),
        };
        self.push(kind);
        self.apart = false;
    }

    fn push(&mut self, kind: Kind) {
        self.blocks.push(Block { kind, quoted: self.quotes > 0, apart: self.apart });
    }

    /// A table as text of a fixed width, or row by row where that would be too wide.
    fn end_table(&mut self) {
        let Some(table) = self.table.take() else { return };
        let width = |text: &str| text.chars().count();
        let columns = table.rows.iter().map(Vec::len).max().unwrap_or(0);
        let cell = |row: &[String], at: usize| row.get(at).cloned().unwrap_or_default();
        let widths: Vec<usize> = (0..columns)
            .map(|at| table.rows.iter().map(|row| width(&cell(row, at))).max().unwrap_or(0))
            .collect();
        let total = widths.iter().map(|width| width + 2).sum::<usize>();
        let line = |row: &Vec<String>| {
            let padded = widths.iter().enumerate().map(|(at, widest)| {
                let text = cell(row, at);
                let missing = if total > WIDTH_MAX { 0 } else { widest - width(&text) };
                text + &" ".repeat(missing)
            });
            padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
        };
        let mut lines: Vec<String> = table.rows.iter().map(line).collect();
        if lines.len() > 1 {
            let under =
                if total > WIDTH_MAX { RULE.to_owned() } else { "─".repeat(total.max(4) - 2) };
            lines.insert(1, under);
        }
        self.push(Kind::Code { lang: None, text: lines.join("\n") });
        self.apart = true;
    }
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
