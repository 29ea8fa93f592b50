//! One answer of the Messages API, put together from its events. Pure.
//!
//! Events as in Anthropic's "Streaming Messages". What is not known is kept as it came, where it is a block, and left
//! out, where it is an event: a newer API must not break an older agent.

use serde_json::{Value, json};

/// Bytes of an answer, whatever it is made of.
const BYTES_MAX: usize = 16 << 20;
/// Blocks of an answer.
const BLOCKS_MAX: usize = 1_000;

/// Why an answer ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// It is whole.
    Done,
    /// It asks for tools.
    Tools,
    /// It is as long as an answer may be.
    TooLong,
    /// The conversation is.
    Full,
    /// The model declines.
    Refused,
    /// It is to be called again as it is.
    Paused,
}

/// A whole answer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Reply {
    pub content: Vec<Value>,
    pub stop: Stop,
}

/// A call of a tool.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ToolUse {
    pub id: String,
    pub name: String,
    pub input: Value,
}

impl Reply {
    /// What it says.
    pub fn text(&self) -> String {
        let texts = self.content.iter().filter(|block| block["type"] == "text");
        let texts: Vec<&str> = texts.filter_map(|block| block["text"].as_str()).collect();
        texts.join("")
    }

    /// What it asks for.
    pub fn tool_uses(&self) -> Vec<ToolUse> {
        let word = |block: &Value, name: &str| block[name].as_str().unwrap_or_default().to_owned();
        let uses = self.content.iter().filter(|block| block["type"] == "tool_use");
        uses.map(|block| ToolUse {
            id: word(block, "id"),
            name: word(block, "name"),
            input: block["input"].clone(),
        })
        .collect()
    }
}

/// What is wrong with a stream.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Broken {
    /// It ended, or is not what it should be.
    #[error("the answer is not understood: {0}")]
    NotUnderstood(&'static str),
    /// The API says that it failed, after it had begun to answer.
    #[error("the answer broke off: {kind}: {message}")]
    Failed { kind: String, message: String },
}

/// An answer that is still coming.
#[derive(Debug, Default)]
pub(crate) struct Coming {
    blocks: Vec<Block>,
    stop: Option<Stop>,
    ended: bool,
    bytes: usize,
}

#[derive(Debug)]
struct Block {
    value: Value,
    /// The input of a tool, as far as it has come.
    json: String,
    whole: bool,
}

impl Coming {
    /// Takes one event's data. True when the answer has ended.
    pub fn take(&mut self, data: &str) -> Result<bool, Broken> {
        self.bytes = self.bytes.saturating_add(data.len());
        if self.bytes > BYTES_MAX {
            return Err(Broken::NotUnderstood("it is too large"));
        }
        let event: Value =
            serde_json::from_str(data).map_err(|_| Broken::NotUnderstood("an event is no JSON"))?;
        match event["type"].as_str().unwrap_or_default() {
            "content_block_start" => self.start(&event)?,
            "content_block_delta" => self.delta(&event)?,
            "content_block_stop" => self.block(&event)?.whole = true,
            "message_delta" => {
                if let Some(reason) = event["delta"]["stop_reason"].as_str() {
                    self.stop = Some(stop(reason));
                }
            }
            "message_stop" => self.ended = true,
            "error" => {
                let word =
                    |name: &str| event["error"][name].as_str().unwrap_or_default().to_owned();
                return Err(Broken::Failed { kind: word("type"), message: word("message") });
            }
            _ => {}
        }
        Ok(self.ended)
    }

    fn start(&mut self, event: &Value) -> Result<(), Broken> {
        let value = event["content_block"].clone();
        let next = u64::try_from(self.blocks.len()).unwrap_or(u64::MAX);
        if event["index"].as_u64() != Some(next)
            || !value.is_object()
            || self.blocks.len() >= BLOCKS_MAX
        {
            return Err(Broken::NotUnderstood("a block begins out of order"));
        }
        self.blocks.push(Block { value, json: String::new(), whole: false });
        Ok(())
    }

    fn block(&mut self, event: &Value) -> Result<&mut Block, Broken> {
        let index = event["index"].as_u64().and_then(|index| usize::try_from(index).ok());
        let open = index.and_then(|index| self.blocks.get_mut(index)).filter(|block| !block.whole);
        open.ok_or(Broken::NotUnderstood("a block goes on that did not begin"))
    }

    fn delta(&mut self, event: &Value) -> Result<(), Broken> {
        let block = self.block(event)?;
        let delta = &event["delta"];
        let mut append = |field: &str, from: &str| {
            let more = delta[from].as_str().unwrap_or_default();
            let so_far = block.value[field].as_str().unwrap_or_default();
            block.value[field] = Value::from(format!("{so_far}{more}"));
        };
        match delta["type"].as_str().unwrap_or_default() {
            "text_delta" => append("text", "text"),
            "thinking_delta" => append("thinking", "thinking"),
            "signature_delta" => append("signature", "signature"),
            "input_json_delta" => {
                block.json.push_str(delta["partial_json"].as_str().unwrap_or_default());
            }
            "citations_delta" => match block.value["citations"].as_array_mut() {
                Some(citations) => citations.push(delta["citation"].clone()),
                None => block.value["citations"] = json!([delta["citation"]]),
            },
            _ => {}
        }
        Ok(())
    }

    /// The answer, once it has ended. A tool call that was cut off is left out where the answer as a whole was.
    pub fn whole(self) -> Result<Reply, Broken> {
        let (true, Some(stop)) = (self.ended, self.stop) else {
            return Err(Broken::NotUnderstood("it ended in the middle"));
        };
        let mut content = Vec::new();
        for Block { mut value, json, .. } in self.blocks {
            if value["type"] == "tool_use" {
                let text = if json.trim().is_empty() { "{}" } else { &json };
                match serde_json::from_str::<Value>(text) {
                    Ok(input) if input.is_object() => value["input"] = input,
                    _ if stop == Stop::TooLong => continue,
                    _ => return Err(Broken::NotUnderstood("a tool's input is no JSON object")),
                }
            }
            // The API refuses its own empty texts when they are sent back.
            if value["type"] == "text" && value["text"].as_str().is_none_or(str::is_empty) {
                continue;
            }
            content.push(value);
        }
        Ok(Reply { content, stop })
    }
}

fn stop(reason: &str) -> Stop {
    match reason {
        "tool_use" => Stop::Tools,
        "max_tokens" => Stop::TooLong,
        "model_context_window_exceeded" => Stop::Full,
        "refusal" => Stop::Refused,
        "pause_turn" => Stop::Paused,
        // `end_turn`, `stop_sequence`, and what a newer API may say.
        _ => Stop::Done,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(events: &[Value]) -> Result<Reply, Broken> {
        let mut coming = Coming::default();
        for event in events {
            coming.take(&event.to_string())?;
        }
        coming.whole()
    }

    fn start(index: u32, block: Value) -> Value {
        json!({ "type": "content_block_start", "index": index, "content_block": block })
    }

    fn delta(index: u32, delta: Value) -> Value {
        json!({ "type": "content_block_delta", "index": index, "delta": delta })
    }

    fn end(reason: &str) -> [Value; 2] {
        let delta = json!({ "stop_reason": reason });
        [json!({ "type": "message_delta", "delta": delta }), json!({ "type": "message_stop" })]
    }

    #[test]
    fn an_answer_is_put_together_from_its_pieces() {
        let mut events = vec![
            json!({ "type": "message_start", "message": {} }),
            start(0, json!({ "type": "thinking", "thinking": "", "signature": "" })),
            delta(0, json!({ "type": "thinking_delta", "thinking": "hm" })),
            delta(0, json!({ "type": "signature_delta", "signature": "sig" })),
            json!({ "type": "content_block_stop", "index": 0 }),
            json!({ "type": "ping" }),
            start(1, json!({ "type": "text", "text": "" })),
            delta(1, json!({ "type": "text_delta", "text": "let " })),
            delta(1, json!({ "type": "text_delta", "text": "me" })),
            json!({ "type": "content_block_stop", "index": 1 }),
            start(2, json!({ "type": "tool_use", "id": "t1", "name": "reply", "input": {} })),
            delta(2, json!({ "type": "input_json_delta", "partial_json": "{\"content\":" })),
            delta(2, json!({ "type": "input_json_delta", "partial_json": "\"hi\"}" })),
            json!({ "type": "content_block_stop", "index": 2 }),
            start(3, json!({ "type": "tool_use", "id": "t2", "name": "get_memory", "input": {} })),
            json!({ "type": "content_block_stop", "index": 3 }),
        ];
        events.extend(end("tool_use"));
        let reply = all(&events).unwrap();
        assert_eq!((reply.text().as_str(), &reply.stop), ("let me", &Stop::Tools));
        let uses = reply.tool_uses();
        assert_eq!(uses[0].input, json!({ "content": "hi" }));
        assert_eq!((uses[1].name.as_str(), &uses[1].input), ("get_memory", &json!({})));
        assert_eq!(reply.content[0]["signature"], "sig");
    }

    #[test]
    fn what_is_not_whole_is_no_answer() {
        let text = [start(0, json!({ "type": "text", "text": "" }))];
        assert!(all(&text).is_err());
        let cut = [
            start(0, json!({ "type": "tool_use", "id": "t", "name": "x", "input": {} })),
            delta(0, json!({ "type": "input_json_delta", "partial_json": "{\"a\":" })),
        ];
        assert!(all(&[&cut[..], &end("tool_use")].concat()).is_err());
        let reply = all(&[&cut[..], &end("max_tokens")].concat()).unwrap();
        assert_eq!((reply.content, reply.stop), (vec![], Stop::TooLong));
        assert!(all(&[start(1, json!({ "type": "text" }))]).is_err());
        assert!(Coming::default().take("<html>").is_err());
        let error =
            json!({ "type": "error", "error": { "type": "overloaded_error", "message": "later" } });
        assert_eq!(
            all(&[error]).unwrap_err(),
            Broken::Failed { kind: "overloaded_error".into(), message: "later".into() }
        );
    }
}
