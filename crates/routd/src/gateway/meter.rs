//! What an answer says of its own usage, read from its bytes as they pass. Pure.
//!
//! The bytes may come in any pieces. Events (WHATWG HTML, section 9.2, as far as the vendors use it: lines that end
//! with LF or CRLF) are put together here for reading only; what is passed on is what came.

use super::vendor::Vendor;
use bytes::{Bytes, BytesMut};
use serde_json::Value;

/// Bytes of one event, or of an answer that is no stream, that are read; of a larger one usage is estimated.
const READ_MAX: usize = 16 * 1024 * 1024;
/// Bytes that a token has at least, on the average of what people and agents write.
pub(crate) const BYTES_OF_TOKEN: u64 = 3;

/// Tokens, by what they cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tokens {
    /// Input that the cache had no part in.
    pub(crate) input: u64,
    pub(crate) output: u64,
    pub(crate) cache_read: u64,
    /// Written to the cache, for however long.
    pub(crate) cache_write: u64,
    /// Of these, written for an hour.
    pub(crate) cache_write_long: u64,
}

impl Tokens {
    /// All that was read.
    pub(crate) const fn all_input(&self) -> u64 {
        self.input.saturating_add(self.cache_read).saturating_add(self.cache_write)
    }
}

/// What is known of a request's usage so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Meter {
    vendor: Vendor,
    tokens: Tokens,
    /// Whether the vendor said what was read.
    knows_input: bool,
    /// Whether the vendor's last word on it has come.
    is_final: bool,
    /// Bytes of text that the model has said.
    said: u64,
}

impl Meter {
    pub(crate) fn new(vendor: Vendor) -> Self {
        let tokens = Tokens::default();
        Self { vendor, tokens, knows_input: false, is_final: false, said: 0 }
    }

    /// Whether what is counted is what the vendor said, and not an estimate.
    pub(crate) const fn is_final(&self) -> bool {
        self.is_final
    }

    /// The tokens: as the vendor said, or, where the answer was cut before it did, what was set aside for the input and
    /// as many as the text that came must have been.
    pub(crate) fn counted(&self, set_aside: &Tokens) -> Tokens {
        if self.is_final {
            return self.tokens;
        }
        let mut tokens = self.tokens;
        if !self.knows_input {
            tokens.input = set_aside.input;
        }
        tokens.output = tokens.output.max(self.said.div_ceil(BYTES_OF_TOKEN));
        tokens
    }

    /// Takes one event's data, or a whole answer.
    fn take(&mut self, json: &Value, is_event: bool) {
        let usage = [&json["usage"], &json["message"]["usage"], &json["response"]["usage"]];
        let kind = json["type"].as_str().unwrap_or_default();
        if let Some(usage) = usage.into_iter().find(|usage| usage.is_object()) {
            match self.vendor {
                Vendor::Anthropic => self.anthropic(usage),
                Vendor::OpenAi => self.openai(usage),
            }
            self.is_final |= match self.vendor {
                // The counts of `message_start` are of the beginning; those of `message_delta` of the whole.
                Vendor::Anthropic => !is_event || kind == "message_delta",
                Vendor::OpenAi => true,
            };
        }
        self.said += match self.vendor {
            Vendor::Anthropic => text(&json["delta"]),
            Vendor::OpenAi => {
                let choices = json["choices"].as_array().map(Vec::as_slice).unwrap_or_default();
                let chat: u64 = choices.iter().map(|choice| text(&choice["delta"])).sum();
                chat + text(&json["delta"])
            }
        };
    }

    fn anthropic(&mut self, usage: &Value) {
        let tokens = &mut self.tokens;
        keep(&mut tokens.input, &usage["input_tokens"]);
        keep(&mut tokens.output, &usage["output_tokens"]);
        keep(&mut tokens.cache_read, &usage["cache_read_input_tokens"]);
        keep(&mut tokens.cache_write, &usage["cache_creation_input_tokens"]);
        keep(&mut tokens.cache_write_long, &usage["cache_creation"]["ephemeral_1h_input_tokens"]);
        self.knows_input |= usage["input_tokens"].is_u64();
    }

    fn openai(&mut self, usage: &Value) {
        let first = |names: [&str; 2]| names.iter().find_map(|name| usage[*name].as_u64());
        let input = first(["prompt_tokens", "input_tokens"]);
        let details = [&usage["prompt_tokens_details"], &usage["input_tokens_details"]];
        let of = |name: &str| details.iter().find_map(|of| of[name].as_u64()).unwrap_or_default();
        let (cached, written) = (of("cached_tokens"), of("cache_write_tokens"));
        // Counted once: the whole input has them in it.
        let rest = input.unwrap_or_default().saturating_sub(cached).saturating_sub(written);
        self.tokens = Tokens {
            input: rest,
            output: first(["completion_tokens", "output_tokens"]).unwrap_or_default(),
            cache_read: cached,
            cache_write: written,
            cache_write_long: 0,
        };
        self.knows_input |= input.is_some();
    }
}

fn keep(known: &mut u64, said: &Value) {
    if let Some(said) = said.as_u64() {
        *known = said;
    }
}

/// Bytes of all text in a piece of an answer.
fn text(value: &Value) -> u64 {
    match value {
        Value::String(text) => text.len() as u64,
        Value::Array(items) => items.iter().map(text).sum(),
        Value::Object(fields) => {
            let named = fields.iter().filter(|(name, _)| *name != "type" && *name != "role");
            named.map(|(_, value)| text(value)).sum()
        }
        _ => 0,
    }
}

/// Reads an answer as it passes.
#[derive(Debug)]
pub(crate) struct Reader {
    meter: Meter,
    form: Form,
    /// What has come of an event, or of the whole, and is not read yet.
    held: BytesMut,
    /// How much of it was searched for an end.
    searched: usize,
    /// Whether what is held became too large to be read.
    lost: bool,
}

/// The form of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// Server-sent events.
    Events,
    /// The same, without the event of OpenAI's that has nothing but the usage, for which the client has not asked.
    EventsWithoutUsage,
    /// One JSON document.
    Whole,
}

impl Reader {
    pub(crate) fn new(vendor: Vendor, form: Form) -> Self {
        let held = BytesMut::new();
        Self { meter: Meter::new(vendor), form, held, searched: 0, lost: false }
    }

    pub(crate) fn meter(&self) -> &Meter {
        &self.meter
    }

    /// Takes a piece; answers what of it, and of what was held back, is to be passed on.
    pub(crate) fn take(&mut self, piece: Bytes) -> Bytes {
        match self.form {
            Form::Whole => {
                self.lost |= self.held.len() + piece.len() > READ_MAX;
                if !self.lost {
                    self.held.extend_from_slice(&piece);
                }
                piece
            }
            Form::Events => {
                self.held.extend_from_slice(&piece);
                while self.next_event().is_some() {}
                if self.held.len() > READ_MAX {
                    // The rest of it reads as an event that is no JSON.
                    self.held.clear();
                    self.searched = 0;
                }
                piece
            }
            Form::EventsWithoutUsage => {
                self.held.extend_from_slice(&piece);
                let mut passed = BytesMut::new();
                while let Some((event, only_usage)) = self.next_event() {
                    if !only_usage {
                        passed.extend_from_slice(&event);
                    }
                }
                if self.held.len() > READ_MAX {
                    passed.extend_from_slice(&self.held.split());
                    self.searched = 0;
                }
                passed.freeze()
            }
        }
    }

    /// The end has come; answers what was held back.
    pub(crate) fn finish(&mut self) -> Bytes {
        let rest = self.held.split().freeze();
        match self.form {
            Form::Whole => {
                if let (false, Ok(json)) = (self.lost, serde_json::from_slice(&rest)) {
                    self.meter.take(&json, false);
                }
                Bytes::new()
            }
            Form::Events => Bytes::new(),
            Form::EventsWithoutUsage => rest,
        }
    }

    /// The next event that is whole, and whether it has nothing but usage.
    fn next_event(&mut self) -> Option<(BytesMut, bool)> {
        let end = self.end_of_event()?;
        let event = self.held.split_to(end);
        self.searched = 0;
        let mut data = Vec::new();
        for line in event[..].split(|byte| *byte == b'\n') {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if let Some(value) = line.strip_prefix(b"data:") {
                if !data.is_empty() {
                    data.push(b'\n');
                }
                data.extend_from_slice(value.strip_prefix(b" ").unwrap_or(value));
            }
        }
        let mut only_usage = false;
        if let Ok(json) = serde_json::from_slice::<Value>(&data) {
            self.meter.take(&json, true);
            only_usage =
                json["usage"].is_object() && json["choices"].as_array().is_some_and(Vec::is_empty);
        }
        Some((event, only_usage))
    }

    /// Where the first event ends: behind an empty line.
    fn end_of_event(&mut self) -> Option<usize> {
        let mut at = self.searched;
        while let Some(found) = self.held.get(at..)?.iter().position(|byte| *byte == b'\n') {
            let newline = at + found;
            let after = newline + 1;
            match self.held.get(after..).unwrap_or_default() {
                [b'\n', ..] => return Some(after + 1),
                [b'\r', b'\n', ..] => return Some(after + 2),
                // What decides it has not come.
                [] | [b'\r'] => {
                    self.searched = newline;
                    return None;
                }
                _ => at = after,
            }
        }
        self.searched = self.held.len();
        None
    }
}

#[cfg(test)]
mod tests;
