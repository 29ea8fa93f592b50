//! What a request asks of a model, and what of it would leave the sandbox by the vendor's hands. Pure.
//!
//! An agent without a network could have the vendor reach one for it: search the web, fetch an address, run code there,
//! call a remote tool server. Such a request needs the folder's right `egress`. What is kept at the vendor, such as
//! files, containers and stored answers, lies under a key that other folders spend too, so it is refused in any case.
//! Both are decided by lists of what is known to stay here: what a vendor adds later is not on them.
//!
//! A client that is newer than these lists sends fields at the top of its request that are not on them. Such a field is
//! left out where the folder has no right `egress`: what is not passed on reaches nobody, and the request is one that a
//! client of before would have sent. Types of tools and of content are not left out but need the right, because what is
//! left of such a request would be another one.

mod anthropic;
mod openai;

use super::{
    meter::{BYTES_OF_TOKEN, Tokens},
    refusal::{Kind, Refusal},
    strict,
    vendor::{Operation, Vendor, is_model_in_body},
};
use bytes::Bytes;
use serde_json::{Map, Value};

/// Tokens of input that are guessed at most, where an answer is cut before the model counted them: what a body holds
/// beyond is mostly pictures.
const INPUT_GUESS: u64 = 200_000;
/// Tokens of input that any model takes: a request with more is refused by its vendor, and costs nothing.
const INPUT_MAX: u64 = 1_100_000;
/// Tokens that a vendor adds to what it is sent, as for tools.
const INPUT_ADDED: u64 = 1_000;
/// Tokens of a picture at most, however few bytes it has.
const PICTURE: u64 = 8_000;
/// Tokens of output that any model makes where a request sets no limit.
const OUTPUT_MAX: u64 = 128_000;

/// A request that may be passed on, as far as it alone can say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    /// The model, as it was asked for.
    pub(crate) model: String,
    /// What it is guessed to read, where the model does not come to say it.
    pub(crate) guess: Tokens,
    /// What it may come to at most, which is set aside for it.
    pub(crate) at_most: Tokens,
    /// What of it needs the right `egress`, for people.
    pub(crate) beyond: Option<String>,
    /// The body to pass on.
    pub(crate) body: Bytes,
    /// The body to pass on where the folder has no right `egress`, if that is another.
    pub(crate) trimmed: Option<Trimmed>,
    /// Whether usage was asked for that the client does not expect.
    pub(crate) hides_usage: bool,
}

/// A body without what is not known to stay here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Trimmed {
    pub(crate) body: Bytes,
    /// The names of the fields that were left out, for people.
    pub(crate) left_out: Vec<String>,
}

impl Asked {
    /// Takes out what is not known to stay here, and answers the names of it.
    pub(crate) fn trim(&mut self) -> Vec<String> {
        let Some(Trimmed { body, left_out }) = self.trimmed.take() else { return Vec::new() };
        self.body = body;
        left_out
    }
}

/// Reads a request's body.
pub(crate) fn inspect(vendor: Vendor, operation: Operation, body: Bytes) -> Result<Asked, Refusal> {
    let invalid = |text: String| Refusal::new(Kind::Invalid, text);
    let fields = strict::parse(&body).map_err(invalid)?;
    let model = fields.get("model").and_then(Value::as_str).unwrap_or_default();
    if !is_model_in_body(model) {
        return Err(invalid("`model` must be a model's name".into()));
    }
    let mut look = Look::default();
    match vendor {
        Vendor::Anthropic => anthropic::request(&mut look, &fields)?,
        Vendor::OpenAi => openai::request(&mut look, operation, &fields)?,
    }
    let bytes = body.len() as u64;
    let input = bytes.div_ceil(BYTES_OF_TOKEN).min(INPUT_GUESS);
    let guess = Tokens { input, ..Tokens::default() };
    let at_most = at_most(operation, &fields, bytes);
    let model = model.to_owned();
    let trimmed = (!look.unknown.is_empty()).then(|| {
        let mut known = fields.clone();
        known.retain(|name, _| !look.unknown.contains(name));
        let body = Value::Object(known.clone()).to_string().into();
        let left_out = look.unknown.iter().map(|name| brief(name)).collect();
        completed(operation, body, &known).map(|(body, _)| Trimmed { body, left_out })
    });
    let trimmed = trimmed.transpose()?;
    let (body, hides_usage) = completed(operation, body, &fields)?;
    Ok(Asked { model, guess, at_most, beyond: look.beyond, body, trimmed, hides_usage })
}

/// The body with what routd needs in it. Whether the client will see usage that it did not ask for is the second answer.
fn completed(
    operation: Operation,
    body: Bytes,
    fields: &Map<String, Value>,
) -> Result<(Bytes, bool), Refusal> {
    match operation {
        Operation::Chat => with_usage(body, fields),
        Operation::Responses if !fields.contains_key("store") => {
            Ok((insert(&body, b"\"store\":false,"), false))
        }
        _ => Ok((body, false)),
    }
}

/// What was found so far.
#[derive(Debug, Default)]
struct Look {
    beyond: Option<String>,
    /// Fields at the top of the request that are not known to stay here.
    unknown: Vec<String>,
}

impl Look {
    /// Notes something that needs a right.
    fn beyond(&mut self, what: impl Into<String>) {
        self.beyond.get_or_insert_with(|| what.into());
    }

    /// Notes fields at the top of the request that are not known to stay here.
    fn unknown(&mut self, fields: &Map<String, Value>, known: &[&str]) {
        let names = fields.keys().filter(|name| !known.contains(&name.as_str()));
        self.unknown.extend(names.cloned());
    }
}

/// What is kept at the vendor is refused whoever asks.
fn kept(what: &str) -> Refusal {
    let text = format!(
        "{what} is not passed on: what the vendor keeps lies under a key that other folders spend too"
    );
    Refusal::new(Kind::NotFound, text)
}

fn invalid(text: impl Into<String>) -> Refusal {
    Refusal::new(Kind::Invalid, text)
}

/// A name that somebody else chose, short enough to be told.
fn brief(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(60).collect()
}

/// A field's text; empty where there is none.
fn word<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}

/// Standard prices are counted, so what costs a multiple of them is refused.
fn standard_speed(fields: &Map<String, Value>) -> Result<(), Refusal> {
    let tier = fields.get("service_tier").filter(|tier| !tier.is_null());
    match tier.map(Value::as_str) {
        None | Some(Some("auto" | "default" | "flex" | "standard_only")) => Ok(()),
        _ => Err(invalid("this `service_tier` is not passed on; leave it out")),
    }
}

/// What a request may come to at most: no token has less than a byte, but for those of pictures and documents; the
/// answer is as long as the request lets it be; and what it asks to be kept in a cache costs as much.
fn at_most(operation: Operation, fields: &Map<String, Value>, bytes: u64) -> Tokens {
    let mut found = Found::default();
    fields.iter().for_each(|(name, value)| found.look(name, value));
    let read = match found.documents {
        0 => bytes.saturating_add(INPUT_ADDED).saturating_add(found.pictures * PICTURE),
        // A page of a few bytes is thousands of tokens.
        _ => INPUT_MAX,
    };
    let read = read.min(INPUT_MAX);
    let number = |name: &str| fields.get(name).and_then(Value::as_u64);
    let asked = ["max_tokens", "max_completion_tokens", "max_output_tokens"];
    let each = asked.into_iter().filter_map(number).max().unwrap_or(OUTPUT_MAX);
    let answers = number("n").unwrap_or(1).max(1);
    let output = match operation {
        Operation::Embeddings => 0,
        _ => each.saturating_mul(answers),
    };
    // OpenAI keeps what it likes, unasked.
    let caches = found.caches || matches!(operation, Operation::Chat | Operation::Responses);
    let (input, cache_write) = if caches { (0, read) } else { (read, 0) };
    let cache_write_long = if found.caches_long { read } else { 0 };
    Tokens { input, output, cache_read: 0, cache_write, cache_write_long }
}

/// What of a request makes its tokens more than its bytes, or dearer.
#[derive(Debug, Default)]
struct Found {
    pictures: u64,
    documents: u64,
    /// Whether it asks that its input be kept, and for an hour.
    caches: bool,
    caches_long: bool,
}

impl Found {
    fn look(&mut self, name: &str, value: &Value) {
        if name == "cache_control" && !value.is_null() {
            self.caches = true;
            self.caches_long |= value["ttl"] == "1h";
        }
        match value {
            Value::Object(fields) => {
                match fields.get("type").and_then(Value::as_str).unwrap_or_default() {
                    "image" | "image_url" | "input_image" => self.pictures += 1,
                    // Text is no more than its bytes.
                    "document" if matches!(word(&value["source"], "type"), "text" | "content") => {}
                    "document" | "file" | "input_file" => self.documents += 1,
                    _ => {}
                }
                fields.iter().for_each(|(name, value)| self.look(name, value));
            }
            Value::Array(items) => items.iter().for_each(|item| self.look("", item)),
            _ => {}
        }
    }
}

/// Has a stream of a chat say its usage. Whether the client will not expect that is the second answer.
fn with_usage(body: Bytes, fields: &Map<String, Value>) -> Result<(Bytes, bool), Refusal> {
    if fields.get("stream") != Some(&Value::Bool(true)) {
        return Ok((body, false));
    }
    match fields.get("stream_options") {
        None => Ok((insert(&body, b"\"stream_options\":{\"include_usage\":true},"), true)),
        Some(Value::Object(options)) if options.get("include_usage") == Some(&true.into()) => {
            Ok((body, false))
        }
        Some(options @ (Value::Object(_) | Value::Null)) => {
            let mut options = options.as_object().cloned().unwrap_or_default();
            options.insert("include_usage".into(), true.into());
            let mut fields = fields.clone();
            fields.insert("stream_options".into(), options.into());
            // The same request, with its fields in another order.
            Ok((Value::Object(fields).to_string().into(), true))
        }
        Some(_) => Err(invalid("`stream_options` must be an object")),
    }
}

/// Puts a field in front of those of an object, which has at least one, and leaves every other byte as it is.
fn insert(body: &Bytes, field: &[u8]) -> Bytes {
    let at = body.iter().position(|byte| *byte == b'{').map_or(0, |at| at + 1);
    let (before, after) = body.split_at(at);
    [before, field, after].concat().into()
}

#[cfg(test)]
mod tests;
