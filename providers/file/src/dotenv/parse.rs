//! The text of a `.env` file: pure.
//!
//! ```text
//! # a comment
//! NAME=value            # a comment after white space
//! export NAME=value
//! NAME='as it is'
//! NAME="with \n \r \t \\ \" \$, and
//! over several lines"
//! ```
//!
//! Nothing is expanded. A name that stands twice is an error: which of the two is meant, nobody
//! can tell.

use secrets::Zeroizing;
use std::{collections::HashMap, ops::Range};

/// One assignment.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) value: Zeroizing<String>,
    /// All its lines in the text, the last line break included.
    pub(crate) span: Range<usize>,
    /// Whether it begins with `export`.
    pub(crate) exported: bool,
}

/// What is wrong, and where. Holds nothing of the text but names.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ParseError {
    #[error("line {line}: expected NAME=value")]
    NotAnAssignment { line: usize },
    #[error("line {line}: the name before the = is not one; use letters, digits and _")]
    NotAName { line: usize },
    #[error("lines {first} and {second} both set {name}; remove one")]
    Twice { name: String, first: usize, second: usize },
    #[error("line {line}: the {quote} that begins the value of {name} has no end")]
    Unclosed { line: usize, name: String, quote: char },
    #[error("line {line}: there is text after the closing quote of {name}")]
    AfterQuote { line: usize, name: String },
    #[error(
        "line {line}: the value of {name} has a \\ before something other than n r t \\ \" $; write \\\\ for a \\, or use single quotes"
    )]
    Escape { line: usize, name: String },
}

/// Reads the whole text, in order.
pub(crate) fn parse(text: &str) -> Result<Vec<Entry>, ParseError> {
    let mut entries: Vec<Entry> = Vec::new();
    let mut lines: HashMap<String, usize> = HashMap::new();
    // Some editors begin a file with a byte order mark.
    let mut at = if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
    let mut line = 1;
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        let (entry, length) = statement(rest, at, line)?;
        if let Some(entry) = entry {
            if let Some(first) = lines.insert(entry.name.clone(), line) {
                return Err(ParseError::Twice { name: entry.name, first, second: line });
            }
            entries.push(entry);
        }
        line += rest.bytes().take(length).filter(|byte| *byte == b'\n').count();
        at += length;
    }
    Ok(entries)
}

/// The statement that `rest` begins with, if it is not blank, and its length.
fn statement(rest: &str, at: usize, line: usize) -> Result<(Option<Entry>, usize), ParseError> {
    let first_line = rest.split_inclusive('\n').next().unwrap_or(rest);
    let trimmed = first_line.trim_start_matches([' ', '\t']);
    let content = trimmed.trim_end();
    if content.is_empty() || content.starts_with('#') {
        return Ok((None, first_line.len()));
    }
    let unexported = content
        .strip_prefix("export")
        .filter(|after| after.starts_with([' ', '\t']))
        .map(|after| after.trim_start_matches([' ', '\t']));
    let exported = unexported.is_some();
    let assignment = unexported.unwrap_or(content);
    let (name, _) = assignment.split_once('=').ok_or(ParseError::NotAnAssignment { line })?;
    let name = name.trim_end();
    if !is_name(name) {
        return Err(ParseError::NotAName { line });
    }
    // The value may go on over the next lines, so it is taken from the whole rest.
    let equals = first_line.find('=').ok_or(ParseError::NotAnAssignment { line })?;
    let after = rest.get(equals + 1..).unwrap_or_default();
    let (value, length) = value(after, name, line)?;
    let length = equals + 1 + length;
    let name = name.to_owned();
    let entry = Entry { name, value, span: at..at + length, exported };
    Ok((Some(entry), length))
}

pub(crate) fn is_name(name: &str) -> bool {
    let mut chars = name.chars();
    chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && chars.all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// The value at the beginning of `text`, and the length up to the end of its last line.
fn value(text: &str, name: &str, line: usize) -> Result<(Zeroizing<String>, usize), ParseError> {
    let skipped = text.len() - text.trim_start_matches([' ', '\t']).len();
    let body = text.get(skipped..).unwrap_or_default();
    let (value, used) = match body.chars().next() {
        Some(quote @ ('"' | '\'')) => quoted(body, quote, name, line)?,
        _ => return Ok(plain(text)),
    };
    let used = skipped + used;
    let tail = text.get(used..).unwrap_or_default();
    let tail = tail.split_inclusive('\n').next().unwrap_or(tail);
    let after = tail.trim();
    let is_comment = after.starts_with('#') && tail.starts_with([' ', '\t']);
    if after.is_empty() || is_comment {
        Ok((value, used + tail.len()))
    } else {
        let line = line + text.bytes().take(used).filter(|byte| *byte == b'\n').count();
        Err(ParseError::AfterQuote { line, name: name.to_owned() })
    }
}

/// A value without quotes: to the end of the line, or to a `#` after white space.
fn plain(text: &str) -> (Zeroizing<String>, usize) {
    let whole = text.split_inclusive('\n').next().unwrap_or(text);
    let is_comment = |(at, c): &(usize, char)| {
        *c == '#' && whole.get(..*at).is_some_and(|before| before.ends_with([' ', '\t']))
    };
    let end = whole.char_indices().find(is_comment).map_or(whole.len(), |(at, _)| at);
    let value = whole.get(..end).unwrap_or_default().trim();
    (Zeroizing::new(value.to_owned()), whole.len())
}

/// A value in quotes, and its length with them.
fn quoted(
    body: &str,
    quote: char,
    name: &str,
    line: usize,
) -> Result<(Zeroizing<String>, usize), ParseError> {
    let unclosed = || ParseError::Unclosed { line, name: name.to_owned(), quote };
    // As long as it can get, so that it never moves and leaves a copy behind; and no longer, since a
    // file may have thousands of them.
    let room = closing(body, quote).unwrap_or(body.len());
    let mut value = Zeroizing::new(String::with_capacity(room));
    let mut lines = 0;
    let mut chars = body.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        match c {
            _ if c == quote => return Ok((value, at + quote.len_utf8())),
            '\\' if quote == '"' => {
                let (_, escaped) = chars.next().ok_or_else(unclosed)?;
                value.push(match escaped {
                    'n' => '\n',
                    'r' => '\r',
                    't' => '\t',
                    '\\' | '"' | '$' => escaped,
                    _ => {
                        let (line, name) = (line + lines, name.to_owned());
                        return Err(ParseError::Escape { line, name });
                    }
                });
            }
            // A file with CRLF has its lines joined as any other.
            '\r' if chars.peek().is_some_and(|(_, next)| *next == '\n') => {}
            '\n' if quote == '\'' => return Err(unclosed()),
            _ => {
                lines += usize::from(c == '\n');
                value.push(c);
            }
        }
    }
    Err(unclosed())
}

/// Where the quote that begins `body` is closed.
fn closing(body: &str, quote: char) -> Option<usize> {
    let mut chars = body.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        match c {
            _ if c == quote => return Some(at),
            // Whatever is escaped does not close it.
            '\\' if quote == '"' => {
                chars.next();
            }
            _ => {}
        }
    }
    None
}

/// `text` with `name` set to `value`: in its place, or at the end. Everything else stays as it is.
pub(crate) fn set(text: &str, name: &str, value: &str) -> Result<Zeroizing<String>, ParseError> {
    let entries = parse(text)?;
    let written = written(value);
    let line_break = if text.contains("\r\n") { "\r\n" } else { "\n" };
    let room = text.len() + name.len() + written.len() + "export =".len() + 2 * line_break.len();
    let mut out = Zeroizing::new(String::with_capacity(room));
    let known = entries.iter().find(|entry| entry.name == name);
    let (before, after) = match known {
        Some(entry) => (text.get(..entry.span.start), text.get(entry.span.end..)),
        None => (Some(text), None),
    };
    out.push_str(before.unwrap_or_default());
    if !out.is_empty() && !out.ends_with('\n') && known.is_none() {
        out.push_str(line_break);
    }
    if known.is_some_and(|entry| entry.exported) {
        out.push_str("export ");
    }
    for part in [name, "=", &written, line_break, after.unwrap_or_default()] {
        out.push_str(part);
    }
    Ok(out)
}

/// `text` without `name`. Everything else stays as it is.
pub(crate) fn unset(text: &str, name: &str) -> Result<Zeroizing<String>, ParseError> {
    let entries = parse(text)?;
    let mut out = Zeroizing::new(String::with_capacity(text.len()));
    match entries.iter().find(|entry| entry.name == name) {
        Some(entry) => {
            out.push_str(text.get(..entry.span.start).unwrap_or_default());
            out.push_str(text.get(entry.span.end..).unwrap_or_default());
        }
        None => out.push_str(text),
    }
    Ok(out)
}

/// A value as it stands in the file.
fn written(value: &str) -> Zeroizing<String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:@%+,=~^".contains(c);
    if !value.is_empty() && value.chars().all(plain) {
        return Zeroizing::new(value.to_owned());
    }
    let mut out = Zeroizing::new(String::with_capacity(2 * value.len() + 2));
    out.push('"');
    for c in value.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\\' | '"' | '$' => {
                out.push('\\');
                out.push(c);
            }
            _ => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests;
