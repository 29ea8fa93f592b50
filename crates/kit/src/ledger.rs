//! Which refusals are written down, and when. Pure: the time is an argument.
//!
//! Whoever is refused chooses how often, so equal refusals become one line: the first at once, then
//! one a minute with their number. What may be different is bounded as well: so many kinds at a
//! time, and so many lines over all. What is beyond that is counted, and told in one line a minute.
//! A day of attack is so at most [`LINES`] lines and one each [`REFILL_MS`]: 45,000, a few megabytes.

use proto::{Timestamp, routd::Act};
use std::{borrow::Cow, collections::HashMap};

/// How long equal refusals are one line.
pub(crate) const WINDOW_MS: i64 = 60_000;
/// Kinds of refusals that are told apart at a time.
const KINDS_MAX: usize = 2048;
/// Lines at once.
const LINES: i64 = 2048;
/// One line more every so long.
const REFILL_MS: i64 = 2000;
/// Bytes kept of a text.
const TEXT_MAX: usize = 128;

/// What the audit log calls a refusal.
pub(crate) const ACTION: &str = "request.refuse";

/// A refusal: equal ones are told together. Nothing of what was presented is in it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Refused {
    /// Who, where that is proved; else `anonymous`.
    pub(crate) subject: Cow<'static, str>,
    /// Where from: an address, or the other end of a socket.
    pub(crate) from: String,
    /// The method and the route's template.
    pub(crate) route: Cow<'static, str>,
    /// The HTTP status.
    pub(crate) status: u16,
    /// Why, in a word.
    pub(crate) reason: Cow<'static, str>,
    /// For whom or what it was asked, where that is known; empty where not.
    pub(crate) about: String,
}

/// A refusal as it is written down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) at: Timestamp,
    pub(crate) refused: Refused,
    /// How many times since the line before it.
    pub(crate) times: u64,
}

impl Line {
    /// The row of the audit log.
    pub(crate) fn act(&self) -> Act {
        let Refused { subject, from, route, status, reason, about } = &self.refused;
        let mut detail = format!("reason={reason} status={status} from={from}");
        if !about.is_empty() {
            detail.push_str(" about=");
            detail.push_str(about);
        }
        detail.push_str(&format!(" times={}", self.times));
        Act {
            at: self.at,
            actor: subject.to_string(),
            action: ACTION.to_owned(),
            target: route.to_string(),
            detail,
        }
    }
}

/// Refusals that are equal, since the last line about them.
#[derive(Debug)]
struct Window {
    began: i64,
    more: u64,
}

/// The refusals of a daemon.
#[derive(Debug)]
pub(crate) struct Ledger {
    windows: HashMap<Refused, Window>,
    /// Lines that may be written now.
    lines: i64,
    refilled: i64,
    /// Refusals that no line of their own tells of.
    others: Window,
}

impl Ledger {
    pub(crate) fn new(now: Timestamp) -> Self {
        Self {
            windows: HashMap::new(),
            lines: LINES,
            refilled: now.0,
            others: Window { began: now.0, more: 0 },
        }
    }

    /// Counts a refusal; the line, if it is to be written down now.
    pub(crate) fn note(&mut self, now: Timestamp, mut refused: Refused) -> Option<Line> {
        refused.from.truncate(refused.from.floor_char_boundary(TEXT_MAX));
        refused.about.truncate(refused.about.floor_char_boundary(TEXT_MAX));
        if let Some(window) = self.windows.get_mut(&refused) {
            window.more += 1;
            return None;
        }
        if self.windows.len() >= KINDS_MAX || !self.may_write(now) {
            self.others.more += 1;
            return None;
        }
        self.windows.insert(refused.clone(), Window { began: now.0, more: 0 });
        Some(Line { at: now, refused, times: 1 })
    }

    /// The lines of the windows that are over.
    pub(crate) fn due(&mut self, now: Timestamp) -> Vec<Line> {
        self.close(now, WINDOW_MS)
    }

    /// The lines of all that was counted, before the daemon ends.
    pub(crate) fn rest(&mut self, now: Timestamp) -> Vec<Line> {
        self.close(now, 0)
    }

    fn close(&mut self, now: Timestamp, age_ms: i64) -> Vec<Line> {
        let mut lines = Vec::new();
        // A clock that was set back makes a window over too.
        let is_over = |window: &Window| !(0..age_ms).contains(&(now.0 - window.began));
        let over: Vec<Refused> = self
            .windows
            .iter()
            .filter(|(_, window)| is_over(window))
            .map(|(refused, _)| refused.clone())
            .collect();
        for refused in over {
            let times = self.windows.remove(&refused).map_or(0, |window| window.more);
            if times == 0 {
                continue;
            }
            if !self.may_write(now) {
                self.others.more += times;
                continue;
            }
            self.windows.insert(refused.clone(), Window { began: now.0, more: 0 });
            lines.push(Line { at: now, refused, times });
        }
        if self.others.more > 0 && is_over(&self.others) {
            let refused = Refused {
                subject: "anonymous".into(),
                from: "several".to_owned(),
                route: "several".into(),
                status: 0,
                reason: "too_many_to_tell".into(),
                about: String::new(),
            };
            lines.push(Line { at: now, refused, times: self.others.more });
            self.others = Window { began: now.0, more: 0 };
        }
        lines
    }

    /// Takes one of the lines that may be written.
    fn may_write(&mut self, now: Timestamp) -> bool {
        let passed = now.0.saturating_sub(self.refilled);
        if passed < 0 {
            self.refilled = now.0;
        }
        let more = passed.max(0) / REFILL_MS;
        self.refilled += more * REFILL_MS;
        self.lines = self.lines.saturating_add(more).min(LINES);
        if self.lines == 0 {
            return false;
        }
        self.lines -= 1;
        true
    }
}

#[cfg(test)]
mod tests;
