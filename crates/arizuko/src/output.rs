//! What a command prints: text for people, one JSON document for programs.

use crate::{
    cli::Global,
    failure::{Exit, Failure},
};
use serde::Serialize;
use std::io::{self, IsTerminal, Write};

/// Where a command prints.
#[derive(Clone, Copy, Debug)]
pub struct Output {
    json: bool,
    quiet: bool,
    colour: bool,
}

impl Output {
    /// As the flags say. `NO_COLOR` is honoured.
    pub fn new(global: &Global, no_color: bool) -> Self {
        let colour = !global.no_color && !no_color && io::stdout().is_terminal();
        Self { json: global.json, quiet: global.quiet, colour }
    }

    /// Prints `value` as JSON, or as what `text` makes of it.
    ///
    /// # Errors
    /// Standard output is closed.
    pub fn print<T: Serialize>(
        self,
        value: &T,
        text: impl FnOnce(&T) -> String,
    ) -> Result<(), Failure> {
        let failed = |error: serde_json::Error| Failure::new(Exit::Software, error.to_string());
        let whole = if self.json {
            serde_json::to_string_pretty(value).map_err(failed)?
        } else {
            text(value)
        };
        self.line(whole.trim_end())
    }

    /// Prints a line that was asked for.
    ///
    /// # Errors
    /// Standard output is closed.
    pub fn line(self, line: &str) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        let written = writeln!(out, "{line}").and_then(|()| out.flush());
        written.map_err(|error| Failure::new(Exit::TryAgain, format!("cannot print: {error}")))
    }

    /// Says on standard error what takes long or is good to know, unless that is unwanted.
    pub fn note(self, line: &str) {
        if !self.quiet && !self.json {
            // Whoever closed standard error does not want it.
            let _closed = writeln!(io::stderr(), "{line}").is_err();
        }
    }

    /// The same, without notes: for a command that is a part of another.
    pub const fn hushed(self) -> Self {
        Self { quiet: true, ..self }
    }

    /// `text`, in green, yellow or red where the terminal shows colours.
    pub fn mark(self, text: &str, mark: Mark) -> String {
        if !self.colour {
            return text.to_owned();
        }
        let code = match mark {
            Mark::Good => 32,
            Mark::Doubtful => 33,
            Mark::Bad => 31,
        };
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    }
}

/// How something stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// As it should.
    Good,
    /// Works, and somebody should look.
    Doubtful,
    /// Does not work.
    Bad,
}

/// Rows as a table, the columns as wide as they need to be.
pub fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let width = |text: &str| visible(text).chars().count();
    let widths: Vec<usize> = (0..head.len())
        .map(|column| {
            let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| width(cell));
            cells.chain(head.get(column).map(|text| width(text))).max().unwrap_or_default()
        })
        .collect();
    let line = |cells: Vec<&str>| {
        let padded = cells
            .iter()
            .zip(&widths)
            .map(|(cell, wide)| format!("{cell}{}", " ".repeat(wide.saturating_sub(width(cell)))));
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let head = line(head.to_vec());
    let body = rows.iter().map(|row| line(row.iter().map(String::as_str).collect()));
    std::iter::once(head).chain(body).collect::<Vec<_>>().join("\n")
}

/// The text without the codes that colour it.
fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut parts = text.split('\u{1b}');
    shown.push_str(parts.next().unwrap_or_default());
    for part in parts {
        shown.push_str(part.split_once('m').map_or("", |(_, rest)| rest));
    }
    shown
}

/// A number of seconds as people say it.
pub fn ago(seconds: u64) -> String {
    match seconds {
        0..=119 => format!("{seconds}s"),
        120..=7199 => format!("{}m", seconds / 60),
        7200..=172_799 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}
