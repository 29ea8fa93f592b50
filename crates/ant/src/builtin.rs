//! The harness that calls a model by itself: a loop of model calls and tool calls, without a shell.
//!
//! Everything that it can do is a tool of the turn, apart from reading the skills. The conversation of each topic is
//! kept in the home. Where a model asks for several tools at once they are called beside each other, and each call
//! carries the model's own id for it as its key, so that it happens once.

mod model;
mod refusal;
mod reply;
mod transcript;

use crate::beneath::Beneath;
use crate::briefing::{self, SILENT};
use crate::budget::Budget;
use crate::files::Inbox;
use crate::link::Link;
use crate::progress::Progress;
use crate::steering::Steering;
use crate::tools::{ListedTool, ToolError, Tools};
use crate::{Ending, Options};
use futures::future::join_all;
use model::{Model, NoReply};
use proto::turn::TurnInput;
use reply::{Reply, Stop, ToolUse};
use serde_json::{Value, json};
use tokio::time::timeout_at;
use transcript::Transcript;

/// Model calls of one turn. In the last one the model may use no tool.
const ROUNDS: u32 = 50;
/// Tokens of one answer.
const TOKENS: u32 = 16_384;
/// Calls of tools that are made at a time.
const BESIDE: usize = 8;
/// Bytes of a tool's answer that the model is shown.
const ANSWER_MAX: usize = 64 * 1024;
/// The one tool of this harness's own.
const READ_SKILL: &str = "read_skill";
/// Bytes of a skill's file.
const SKILL_MAX: usize = 128 * 1024;

/// Where and for whom it runs.
pub(crate) struct Place<'a> {
    pub options: &'a Options,
    pub link: &'a Link,
    pub progress: &'a Progress,
}

/// Answers the turn, within the budget.
pub(crate) async fn run(place: &Place<'_>, input: &TurnInput, budget: Budget) -> Ending {
    let mut tools = Tools::new(place.link, input, budget.work, place.progress);
    let mut steering = Steering::begin(place.link, input, Inbox::of(&place.options.home, input));
    let mut talk = Talk::begin(place, input, budget);
    let done = timeout_at(budget.work, talk.answer(&mut tools, &mut steering)).await;
    tools.close().await;
    let ending = match done {
        Ok(Ok(())) => talk.end(),
        Ok(Err(line)) => Ending::failed(line),
        Err(_) => Ending::failed("I ran out of time."),
    };
    ending.having_taken(steering.taken())
}

/// One turn's conversation.
struct Talk<'a> {
    place: &'a Place<'a>,
    input: &'a TurnInput,
    model: Model<'a>,
    briefing: String,
    skills: Option<Beneath>,
    transcript: Transcript,
    /// The session that it went on from.
    resumed: Option<String>,
    /// What was said to the person, in order.
    said: Vec<String>,
}

impl<'a> Talk<'a> {
    fn begin(place: &'a Place<'a>, input: &'a TurnInput, budget: Budget) -> Self {
        let home = &place.options.home;
        let session = input.session.as_deref();
        let found = session.and_then(|session| Transcript::resume(home, session));
        let model = Model { link: place.link, progress: place.progress, limit: budget.work };
        let mut talk = Self {
            place,
            input,
            model,
            briefing: briefing::briefing(place.options, input.persona.as_deref()),
            skills: briefing::directory(&place.options.skills),
            resumed: session.filter(|_| found.is_some()).map(str::to_owned),
            transcript: Transcript::default(),
            said: Vec::new(),
        };
        match found {
            Some(found) => {
                talk.transcript = found;
                talk.transcript.say(&input.prompt);
            }
            None => talk.anew(),
        }
        talk
    }

    /// Begins without what is remembered, and with what was said before instead.
    fn anew(&mut self) {
        self.resumed = None;
        self.transcript = Transcript::default();
        self.transcript.say(self.input.prompt_anew.as_deref().unwrap_or(&self.input.prompt));
    }

    /// Calls model and tools in turn until the model has nothing more to ask. An error is a line for the person.
    async fn answer(
        &mut self,
        tools: &mut Tools<'_>,
        steering: &mut Steering,
    ) -> Result<(), String> {
        let listed = tools.list().await.map_err(|error| line(&error))?;
        let offered = offer(&listed, self.skills.is_some());
        for round in 1..=ROUNDS {
            self.hear(steering);
            self.place.progress.tell("thinking");
            let reply = self.ask(&offered, round == ROUNDS).await?;
            let (text, uses, stop) = (reply.text(), reply.tool_uses(), reply.stop.clone());
            if !reply.content.is_empty() {
                self.transcript
                    .messages
                    .push(json!({ "role": "assistant", "content": reply.content }));
            }
            match stop {
                Stop::Tools if !uses.is_empty() => {
                    let results = self.use_tools(tools, &listed, &uses).await?;
                    self.transcript.messages.push(json!({ "role": "user", "content": results }));
                }
                Stop::Paused => {}
                Stop::Refused => return Err("the model declined to answer this".into()),
                Stop::Full => {
                    return Err("the conversation is longer than the model can read".into());
                }
                Stop::TooLong if text.trim().is_empty() => {
                    return Err("the model's answer was too long to be whole".into());
                }
                Stop::TooLong => {
                    self.say(&format!(
                        "{}\n[the rest was too long and is left out]",
                        text.trim_end()
                    ));
                    return Ok(());
                }
                Stop::Tools | Stop::Done => {
                    self.say(&text);
                    if !self.hear(steering) {
                        return Ok(());
                    }
                }
            }
        }
        Err(format!("the model did not come to an end in {ROUNDS} rounds"))
    }

    /// Asks the model. A conversation that has become too long for it begins anew, once.
    async fn ask(&mut self, offered: &[Value], last: bool) -> Result<Reply, String> {
        loop {
            match self.model.answer(&self.request(offered, last)).await {
                Ok(reply) => return Ok(reply),
                Err(NoReply::Failed(line)) => return Err(line),
                Err(NoReply::Full) if self.resumed.is_some() => {
                    tracing::warn!("the conversation is too long for the model and begins anew");
                    self.anew();
                }
                Err(NoReply::Full) => {
                    return Err("what was asked is longer than the model can read".into());
                }
            }
        }
    }

    /// What stays the same comes first, and is marked so that the provider can keep it.
    fn request(&self, offered: &[Value], last: bool) -> Value {
        let mut messages = self.transcript.messages.clone();
        let newest = messages.last_mut().and_then(|message| message["content"].as_array_mut());
        if let Some(block) = newest.and_then(|content| content.last_mut()) {
            mark(block);
        }
        let mut request = json!({
            "model": self.input.model,
            "max_tokens": TOKENS,
            "stream": true,
            "system": [{ "type": "text", "text": self.briefing, "cache_control": { "type": "ephemeral" } }],
            "tools": offered,
            "messages": messages,
        });
        if last {
            request["tool_choice"] = json!({ "type": "none" });
        }
        request
    }

    /// Puts what was said meanwhile into the conversation. Whether there was something.
    fn hear(&mut self, steering: &mut Steering) -> bool {
        let Some(steered) = steering.now() else { return false };
        self.transcript.say(&steered.prompt);
        steering.took(steered.upto);
        self.place.progress.tell("reading a new message");
        true
    }

    async fn use_tools(
        &self,
        tools: &mut Tools<'_>,
        listed: &[ListedTool],
        uses: &[ToolUse],
    ) -> Result<Vec<Value>, String> {
        if let [one] = uses {
            return Ok(vec![self.use_tool(tools, listed, one).await?]);
        }
        let mut results = Vec::new();
        for some in uses.chunks(BESIDE) {
            let calls = some.iter().map(|one| {
                let mut beside = tools.beside();
                async move {
                    let result = self.use_tool(&mut beside, listed, one).await;
                    beside.close().await;
                    result
                }
            });
            for result in join_all(calls).await {
                results.push(result?);
            }
        }
        Ok(results)
    }

    /// One call. What a tool refuses is told to the model; that the tools are lost ends the turn.
    async fn use_tool(
        &self,
        tools: &mut Tools<'_>,
        listed: &[ListedTool],
        asked: &ToolUse,
    ) -> Result<Value, String> {
        let tool = listed.iter().find(|tool| tool.name == asked.name);
        let reads = |tool: &ListedTool| {
            tool.annotations.as_ref().is_some_and(|hints| hints.read_only_hint == Some(true))
        };
        let input = asked.input.clone();
        let outcome = match tool {
            Some(tool) if reads(tool) => tools.read(&asked.name, input).await,
            Some(_) => tools.change_as(&asked.id, &asked.name, input).await,
            None if asked.name == READ_SKILL => {
                return Ok(self.read_skill(asked));
            }
            None => {
                let reason = "there is no such tool, or it may not be used any more".into();
                Err(ToolError::Refused { tool: asked.name.clone(), reason })
            }
        };
        match outcome {
            Ok(answer) => Ok(result(asked, &answer.text, Told::Answer)),
            Err(ToolError::Refused { reason, .. }) => Ok(result(asked, &reason, Told::Refusal)),
            Err(error @ ToolError::Lost { .. }) => Err(line(&error)),
        }
    }

    fn read_skill(&self, asked: &ToolUse) -> Value {
        self.place.progress.tell("reading a skill");
        let path = asked.input["path"].as_str().unwrap_or_default();
        let found =
            self.skills.as_ref().map(|skills| skills.read(&format!("skills/{path}"), SKILL_MAX));
        match found {
            Some(Ok(Some(bytes))) => result(asked, &String::from_utf8_lossy(&bytes), Told::Answer),
            Some(Ok(None)) | None => result(asked, "there is no such file", Told::Refusal),
            Some(Err(error)) => result(asked, &error.to_string(), Told::Refusal),
        }
    }

    fn say(&mut self, text: &str) {
        let text = text.trim();
        if !text.is_empty() && text != SILENT {
            self.said.push(text.to_owned());
        }
    }

    /// Keeps the conversation, and ends. One that cannot be kept is forgotten; the answer is worth more.
    fn end(self) -> Ending {
        let ending = match self.said.is_empty() {
            true => Ending::silent(),
            false => Ending::replied(self.said.join("\n\n")),
        };
        let session = format!("b-{}-{}", self.input.turn_id, self.input.attempt);
        match self.transcript.keep(&self.place.options.home, &session, self.resumed.as_deref()) {
            Ok(()) => ending.with_session(session),
            Err(error) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "the conversation is not kept"
                );
                ending
            }
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Answer,
    Refusal,
}

/// What the model is told of a call.
fn result(asked: &ToolUse, text: &str, told: Told) -> Value {
    let end = (0..=ANSWER_MAX.min(text.len())).rev().find(|at| text.is_char_boundary(*at));
    let shown = text.get(..end.unwrap_or(0)).unwrap_or_default();
    let mark = if shown.len() < text.len() { "\n[the rest is left out]" } else { "" };
    json!({
        "type": "tool_result",
        "tool_use_id": asked.id,
        "content": format!("{shown}{mark}"),
        "is_error": told == Told::Refusal,
    })
}

/// The tools as the Messages API takes them, always in the same order, the last one marked.
fn offer(listed: &[ListedTool], skills: bool) -> Vec<Value> {
    let mut offered: Vec<Value> = listed
        .iter()
        .map(|tool| {
            json!({
                "name": tool.name,
                "description": tool.description.as_deref().unwrap_or_default(),
                "input_schema": *tool.input_schema,
            })
        })
        .collect();
    offered.sort_by(|a, b| a["name"].as_str().cmp(&b["name"].as_str()));
    if skills {
        let path = json!({ "type": "string", "description": "Such as `NAME/SKILL.md`, below the skills." });
        offered.push(json!({
            "name": READ_SKILL,
            "description": "Read a file of a skill.",
            "input_schema": { "type": "object", "properties": { "path": path }, "required": ["path"] },
        }));
    }
    if let Some(last) = offered.last_mut() {
        mark(last);
    }
    offered
}

/// Everything up to here is worth keeping for the next call.
fn mark(block: &mut Value) {
    block["cache_control"] = json!({ "type": "ephemeral" });
}

/// An error of the tools, for the person.
fn line(error: &ToolError) -> String {
    tracing::error!(error = error as &dyn std::error::Error, "the tools are lost");
    error.to_string()
}
