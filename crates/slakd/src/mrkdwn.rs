//! Markdown to Slack's own markup. Pure.
//!
//! Slack's `mrkdwn` (<https://docs.slack.dev/messaging/formatting-message-text>) has bold, italic, struck-out text, code,
//! links and quotes, and no headings, lists or tables: those become text that looks like them. `&`, `<` and `>` are
//! escaped, so that no text an agent writes calls a channel together; a member is called only by a name that is known.

use pulldown_cmark::{Event, LinkType, Options, Parser, Tag, TagEnd, TextMergeStream};

/// What makes Slack see a mark inside a word: a space that has no width.
const JOINT: char = '\u{200B}';
/// What lists within lists are shifted by.
const INDENT: &str = "    ";
/// Lists deeper than this are not shifted further.
const SHIFT_MAX: usize = 6;

/// The Markdown as `mrkdwn`. `member` knows the id of a member by the name that people see.
pub(crate) fn render(markdown: &str, member: impl Fn(&str) -> Option<String>) -> String {
    let options =
        Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH | Options::ENABLE_TASKLISTS;
    let mut page = Page::new(member);
    for event in TextMergeStream::new(Parser::new_ext(markdown, options)) {
        page.take(event);
    }
    page.out.trim_end().to_owned()
}

/// How long a piece of Markdown becomes, in the units in which Slack counts: at most those of UTF-16.
pub(crate) fn length(markdown: &str) -> usize {
    render(markdown, |_| None).encode_utf16().count()
}

/// A text as `mrkdwn` that shows it as it is.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    escape_into(text, &mut out);
    out
}

fn escape_into(text: &str, out: &mut String) {
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            c => out.push(c),
        }
    }
}

/// What is open around a line, from the outside.
enum Around {
    Quote,
    /// The number of the next item, in an ordered list.
    List(Option<u64>),
}

struct Page<F> {
    out: String,
    member: F,
    around: Vec<Around>,
    /// The marks of the open styles, from the outside; one may be open twice.
    styles: Vec<char>,
    /// Line breaks that come before whatever is next.
    breaks: usize,
    /// What the next line begins with, in place of its shift.
    marker: Option<String>,
    /// A style was closed just now: what follows must not look like a part of the word.
    closed: bool,
    link: Option<Link>,
    code: Option<String>,
    table: Option<Table>,
}

struct Link {
    address: String,
    label: String,
}

#[derive(Default)]
struct Table {
    rows: Vec<Vec<String>>,
}

impl<F: Fn(&str) -> Option<String>> Page<F> {
    fn new(member: F) -> Self {
        Self {
            out: String::new(),
            member,
            around: Vec::new(),
            styles: Vec::new(),
            breaks: 0,
            marker: None,
            closed: false,
            link: None,
            code: None,
            table: None,
        }
    }

    fn take(&mut self, event: Event<'_>) {
        match event {
            Event::Start(tag) => self.start(tag),
            Event::End(end) => self.end(end),
            Event::Text(text) => self.text(&text),
            Event::Code(code) => self.inline_code(&code),
            // HTML is not ours to interpret: it is shown as the text it is.
            Event::Html(text) | Event::InlineHtml(text) => self.text(&text),
            Event::InlineMath(text) | Event::DisplayMath(text) => self.inline_code(&text),
            Event::FootnoteReference(name) => self.text(&format!("[{name}]")),
            // In a chat, a new line is meant as one.
            Event::SoftBreak | Event::HardBreak => self.line_break(),
            Event::Rule => {
                self.block();
                self.write("———");
                self.block();
            }
            Event::TaskListMarker(done) => self.write(if done { "☑ " } else { "☐ " }),
        }
    }

    fn start(&mut self, tag: Tag<'_>) {
        match tag {
            Tag::Paragraph => self.block(),
            Tag::Heading { .. } => {
                self.block();
                self.open('*');
            }
            Tag::BlockQuote(_) => {
                self.block();
                self.around.push(Around::Quote);
            }
            Tag::CodeBlock(_) => {
                self.block();
                self.code = Some(String::new());
            }
            Tag::List(first) => {
                self.block();
                self.around.push(Around::List(first));
            }
            Tag::Item => self.item(),
            Tag::Table(_) => {
                self.block();
                self.table = Some(Table::default());
            }
            Tag::TableHead | Tag::TableRow => {
                if let Some(table) = &mut self.table {
                    table.rows.push(Vec::new());
                }
            }
            Tag::TableCell => {
                let row = self.table.as_mut().and_then(|table| table.rows.last_mut());
                if let Some(row) = row {
                    row.push(String::new());
                }
            }
            Tag::Emphasis => self.open('_'),
            Tag::Strong => self.open('*'),
            Tag::Strikethrough => self.open('~'),
            Tag::Link { link_type: LinkType::Email, dest_url, .. } => {
                self.open_link(format!("mailto:{dest_url}"));
            }
            Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. } => {
                self.open_link(dest_url.into_string());
            }
            _ => {}
        }
    }

    fn end(&mut self, end: TagEnd) {
        match end {
            TagEnd::Heading(_) => {
                self.close('*');
                self.block();
            }
            TagEnd::Paragraph => self.block(),
            TagEnd::BlockQuote(_) => {
                self.around.pop();
                self.block();
            }
            TagEnd::CodeBlock => self.code_block(),
            TagEnd::List(_) => {
                self.around.pop();
                self.marker = None;
                self.block();
            }
            TagEnd::Item => {
                // An item without anything is still one.
                if self.marker.is_some() {
                    self.write("");
                }
                self.breaks = self.breaks.max(1);
            }
            TagEnd::Table => self.table(),
            TagEnd::Emphasis => self.close('_'),
            TagEnd::Strong => self.close('*'),
            TagEnd::Strikethrough => self.close('~'),
            TagEnd::Link | TagEnd::Image => self.link(),
            _ => {}
        }
    }

    /// Parts what came from what comes: by an empty line, or by a new one within a list.
    fn block(&mut self) {
        if self.out.is_empty() || self.marker.is_some() {
            return;
        }
        let in_list = self.around.iter().any(|one| matches!(one, Around::List(_)));
        self.breaks = self.breaks.max(if in_list { 1 } else { 2 });
    }

    fn item(&mut self) {
        if !self.out.is_empty() {
            self.breaks = self.breaks.max(1);
        }
        let depth = self.depth().saturating_sub(1);
        let number = match self.around.last_mut() {
            Some(Around::List(Some(number))) => {
                *number += 1;
                Some(number.saturating_sub(1))
            }
            _ => None,
        };
        let shift = INDENT.repeat(depth.min(SHIFT_MAX));
        self.marker = Some(match number {
            Some(number) => format!("{shift}{number}. "),
            None => format!("{shift}• "),
        });
    }

    fn depth(&self) -> usize {
        self.around.iter().filter(|one| matches!(one, Around::List(_))).count()
    }

    /// Begins the lines that are due.
    fn settle(&mut self) {
        let quoted = self.around.iter().any(|one| matches!(one, Around::Quote));
        let fresh = self.out.is_empty();
        let breaks = std::mem::take(&mut self.breaks);
        if breaks == 0 && !fresh && self.marker.is_none() {
            return;
        }
        for nth in 0..breaks {
            self.out.push('\n');
            // The empty line between two parts of one quote belongs to it.
            if quoted && nth + 1 < breaks {
                self.out.push('>');
            }
        }
        if quoted && (breaks > 0 || fresh) {
            self.out.push_str("> ");
        }
        match self.marker.take() {
            Some(marker) => self.out.push_str(&marker),
            None => {
                let depth = self.depth().min(SHIFT_MAX);
                self.out.push_str(&INDENT.repeat(depth));
            }
        }
        self.closed = false;
    }

    fn write(&mut self, text: &str) {
        self.settle();
        if std::mem::take(&mut self.closed) && text.starts_with(char::is_alphanumeric) {
            self.out.push(JOINT);
        }
        self.out.push_str(text);
    }

    fn text(&mut self, text: &str) {
        if let Some(code) = &mut self.code {
            code.push_str(text);
            return;
        }
        if self.plain(text) {
            return;
        }
        for (nth, line) in text.split('\n').enumerate() {
            if nth > 0 {
                self.line_break();
            }
            if !line.is_empty() {
                let line = self.with_members(line);
                self.write(&line);
            }
        }
    }

    /// Where only text can be: a table's cell, a link's label.
    fn plain(&mut self, text: &str) -> bool {
        if let Some(link) = &mut self.link {
            link.label.push_str(text);
            return true;
        }
        let rows = self.table.as_mut().and_then(|table| table.rows.last_mut());
        match rows.and_then(|row| row.last_mut()) {
            Some(cell) => {
                cell.push_str(text);
                true
            }
            None => self.table.is_some(),
        }
    }

    /// The text escaped, with the members that it names called.
    fn with_members(&self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        let mut before = None;
        while let Some(at) = rest.find('@') {
            let (plain, from) = rest.split_at(at);
            escape_into(plain, &mut out);
            before = plain.chars().last().or(before);
            let name = from.get(1..).unwrap_or_default();
            let end = name.find(|c: char| !(c.is_alphanumeric() || "._-".contains(c)));
            let name = name.get(..end.unwrap_or(name.len())).unwrap_or_default();
            let name = name.trim_end_matches(['.', '-']);
            let called = Some(name)
                .filter(|name| !name.is_empty() && !before.is_some_and(char::is_alphanumeric))
                .and_then(|name| (self.member)(name));
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
        escape_into(rest, &mut out);
        out
    }

    fn line_break(&mut self) {
        if self.plain(" ") {
            return;
        }
        // A style ends with its line.
        let open = self.open_marks();
        self.out.extend(open.chars().rev());
        self.breaks = self.breaks.max(1);
        self.settle();
        self.out.push_str(&open);
        self.closed = false;
    }

    /// The marks of the open styles, each once.
    fn open_marks(&self) -> String {
        let mut marks = String::new();
        for mark in &self.styles {
            if !marks.contains(*mark) {
                marks.push(*mark);
            }
        }
        marks
    }

    fn open(&mut self, mark: char) {
        let first = !self.styles.contains(&mark);
        self.styles.push(mark);
        if first && self.link.is_none() && self.table.is_none() {
            self.settle();
            if self.out.ends_with(char::is_alphanumeric) {
                self.out.push(JOINT);
            }
            self.out.push(mark);
            self.closed = false;
        }
    }

    fn close(&mut self, mark: char) {
        if let Some(at) = self.styles.iter().rposition(|open| *open == mark) {
            self.styles.remove(at);
        }
        if !self.styles.contains(&mark) && self.link.is_none() && self.table.is_none() {
            self.out.push(mark);
            self.closed = true;
        }
    }

    fn inline_code(&mut self, code: &str) {
        if self.plain(code) {
            return;
        }
        // Slack has no way to write the mark itself in code of one line, and one in code of several.
        let fence = if code.contains('`') { "```" } else { "`" };
        self.settle();
        if self.out.ends_with(char::is_alphanumeric) {
            self.out.push(JOINT);
        }
        self.out.push_str(fence);
        escape_into(&code.replace("```", &format!("``{JOINT}`")), &mut self.out);
        self.out.push_str(fence);
        self.closed = true;
    }

    fn code_block(&mut self) {
        let code = self.code.take().unwrap_or_default();
        self.fenced(&code);
        self.block();
    }

    fn fenced(&mut self, code: &str) {
        self.settle();
        self.out.push_str("```\n");
        let code = code.trim_end_matches('\n').replace("```", &format!("``{JOINT}`"));
        escape_into(&code, &mut self.out);
        self.out.push_str("\n```");
    }

    fn open_link(&mut self, address: String) {
        // An image in a link is its label.
        if self.link.is_none() {
            self.link = Some(Link { address, label: String::new() });
        }
    }

    fn link(&mut self) {
        let Some(Link { address, label }) = self.link.take() else { return };
        let label = label.trim();
        if !is_safe(&address) || self.table.is_some() {
            let text = if label.is_empty() { &address } else { label };
            self.text(&text.to_owned());
            return;
        }
        let mut out = String::from("<");
        let broken = address.replace('|', "%7C").replace('<', "%3C").replace('>', "%3E");
        escape_into(&broken, &mut out);
        if !label.is_empty() && label != address && format!("mailto:{label}") != address {
            out.push('|');
            escape_into(label, &mut out);
        }
        out.push('>');
        self.write(&out);
        self.closed = true;
    }

    /// A table as code, so that its columns stand under each other.
    fn table(&mut self) {
        let table = self.table.take().unwrap_or_default();
        let columns = table.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = table.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let mut text = String::new();
        for (nth, row) in table.rows.iter().enumerate() {
            let mut line = String::new();
            for (column, width) in widths.iter().enumerate() {
                let cell = row.get(column).map_or("", String::as_str);
                line.push_str(if column > 0 { "  " } else { "" });
                line.push_str(cell);
                line.push_str(&" ".repeat(width.saturating_sub(cell.chars().count())));
            }
            text.push_str(line.trim_end());
            text.push('\n');
            if nth == 0 {
                let rules: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
                text.push_str(&rules.join("  "));
                text.push('\n');
            }
        }
        self.fenced(&text);
        self.block();
    }
}

/// Whether following an address can do no more than open a page or a letter.
fn is_safe(address: &str) -> bool {
    let scheme = address.split(':').next().unwrap_or_default().to_ascii_lowercase();
    matches!(scheme.as_str(), "http" | "https" | "mailto")
        && address.len() > scheme.len() + 1
        && !address.chars().any(|c| c.is_control() || c.is_whitespace())
}

#[cfg(test)]
mod tests;
