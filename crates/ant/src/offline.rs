//! The harness without a model: it answers deterministically, and drives the tools on request.
//!
//! It is what the demo and the tests use, and it proves a whole installation without a model's
//! key. The last message decides, in any case:
//!
#![doc = include_str!("offline/commands.md")]

mod ask;
mod history;

use crate::budget::Budget;
use crate::link::Link;
use crate::output::Output;
use crate::progress::Progress;
use crate::tools::{Answer, ToolError, Tools};
use crate::{AntError, Ending};
use ask::Ask;
use proto::turn::TurnInput;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::{Instant, sleep_until, timeout_at};

/// What the `help` command replies: the table of the commands.
pub const HELP: &str = include_str!("offline/commands.md");

/// The most that `loud` writes.
const LOUDEST: u64 = 64 << 20;
/// The folder of `arizuko doctor`'s probes.
const PROBES: &str = "arizuko-doctor";
/// How long a place is tried.
const REACHING: Duration = Duration::from_secs(2);
/// How many messages `history` looks at.
const HISTORY: u32 = 20;

/// Answers the turn. It ends within the budget; only `crash` and an attempt that was given up
/// leave no ending.
pub(crate) async fn run(
    link: &Link,
    input: &TurnInput,
    budget: Budget,
    progress: &Progress,
) -> Result<Ending, AntError> {
    let message = input.messages.last().map_or(input.prompt.as_str(), |last| &last.content);
    let ask = Ask::read(message);
    if ask == Ask::Crash {
        return Err(AntError::Crashed);
    }
    let mut tools = Tools::new(link, input, budget.work, progress);
    let ending =
        match timeout_at(budget.work, answer(ask, input, budget, progress, &mut tools)).await {
            Ok(Ok(ending)) => ending,
            Ok(Err(ToolError::Refused { tool, reason })) => {
                Ending::replied(format!("I could not use `{tool}`: {reason}"))
            }
            Ok(Err(error @ ToolError::Lost { .. })) => {
                tracing::error!(error = &error as &dyn std::error::Error, "the tools are lost");
                Ending::failed(format!("I gave up: {error}."))
            }
            Err(_) => Ending::failed("I ran out of time."),
        };
    tools.close().await;
    Ok(ending)
}

async fn answer(
    ask: Ask,
    input: &TurnInput,
    budget: Budget,
    progress: &Progress,
    tools: &mut Tools<'_>,
) -> Result<Ending, ToolError> {
    Ok(match ask {
        Ask::Echo => Ending::replied(echo(input)),
        Ask::Remember(what) => {
            let memory = tools.read("get_memory", json!({})).await?.text;
            let content = with_line(&memory, &what);
            let told = tools.change("set_memory", json!({ "content": content })).await?;
            Ending::replied(done(&told, format!("I will remember: {what}")))
        }
        Ask::Recall => match tools.read("get_memory", json!({})).await?.text.trim() {
            "" => Ending::replied("I remember nothing yet."),
            memory => Ending::replied(format!("I remember:\n{memory}")),
        },
        Ask::Forget => {
            let told = tools.change("set_memory", json!({ "content": "" })).await?;
            Ending::replied(done(&told, "I have forgotten everything.".into()))
        }
        Ask::Reply(text) => {
            tools.change("reply", json!({ "content": text })).await?;
            Ending::already_replied()
        }
        Ask::Say { first, last } => {
            tools.change("reply", json!({ "content": first })).await?;
            Ending::replied(last)
        }
        Ask::Send { to, text } => {
            let arguments = json!({ "chat_jid": to, "content": text });
            let told = tools.change("send", arguments).await?;
            Ending::replied(done(&told, format!("I sent that to {to}.")))
        }
        Ask::History => {
            let Answer { text, structured } =
                tools.read("inspect_messages", json!({ "limit": HISTORY })).await?;
            Ending::replied(history::summary(&text, structured.as_ref()))
        }
        Ask::Past => {
            let Answer { text, structured } =
                tools.read("fetch_history", json!({ "limit": HISTORY })).await?;
            Ending::replied(history::summary(&text, structured.as_ref()))
        }
        Ask::File { path, caption } => {
            tools.change("send_file", json!({ "path": path, "caption": caption })).await?;
            Ending::already_replied()
        }
        Ask::Back => back(input, tools).await?,
        Ask::Schedule { when, content } => {
            let arguments = json!({ "when": when, "content": content });
            Ending::replied(sentence(&tools.change("schedule_task", arguments).await?.text))
        }
        Ask::Tasks => Ending::replied(tasks(tools.read("list_tasks", json!({})).await?)),
        Ask::Cancel(id) => {
            let cancelled = tools.change("cancel_task", json!({ "id": id })).await?;
            Ending::replied(sentence(&cancelled.text))
        }
        Ask::Wait(seconds) => Ending::replied(wait(seconds, budget, progress).await),
        Ask::Silent => Ending::silent(),
        // `crash` never gets here; a process that must end has no ending to tell.
        Ask::Fail | Ask::Crash => Ending::failed("I failed, as the message asked."),
        Ask::Loud(bytes) => loud(bytes.min(LOUDEST)).await,
        Ask::Reach(places) if input.folder.as_str() == PROBES => {
            Ending::replied(reach(&places).await)
        }
        // Nobody else has an agent try what can be reached from here.
        Ask::Reach(_) => Ending::replied(echo(input)),
        Ask::Help => Ending::replied(HELP),
    })
}

/// What was done, or that it waits for a person's approval.
fn done(told: &Answer, done: String) -> String {
    let waits = told.structured.as_ref().is_some_and(|value| value["held"].is_string());
    if waits { told.text.trim().to_owned() } else { done }
}

/// Tries each place; says which of them took a connection.
async fn reach(places: &[String]) -> String {
    let mut reached = Vec::new();
    for place in places {
        let connecting = tokio::net::TcpStream::connect(place);
        if tokio::time::timeout(REACHING, connecting).await.is_ok_and(|stream| stream.is_ok()) {
            reached.push(format!("I reached {place}."));
        }
    }
    if reached.is_empty() {
        return format!("I reached nothing of {}.", places.join(", "));
    }
    reached.join(" ")
}

fn echo(input: &TurnInput) -> String {
    let said = |text: &str| format!("You said: {}", text.trim());
    match input.messages.as_slice() {
        [] => said(&input.prompt),
        messages => {
            let lines: Vec<String> =
                messages.iter().map(|message| said(&message.content)).collect();
            lines.join("\n")
        }
    }
}

/// Sends back what came with the messages.
async fn back(input: &TurnInput, tools: &mut Tools<'_>) -> Result<Ending, ToolError> {
    if input.files.is_empty() {
        return Ok(Ending::replied("No file came with that."));
    }
    for file in &input.files {
        tools.change("send_file", json!({ "path": file.path })).await?;
    }
    Ok(Ending::replied(format!("I sent back what came: {}.", input.files.len())))
}

/// A tool's line, as a sentence.
fn sentence(line: &str) -> String {
    let mut letters = line.trim().chars();
    let first: String = letters.next().map(|c| c.to_uppercase().collect()).unwrap_or_default();
    format!("{first}{}.", letters.as_str())
}

/// What is scheduled, a line each.
fn tasks(answer: Answer) -> String {
    let tasks = answer.structured.and_then(|mut value| value.get_mut("tasks").map(Value::take));
    let tasks = tasks.as_ref().and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let word = |task: &Value, field: &str| task[field].as_str().unwrap_or_default().to_owned();
    let line = |task: &Value| {
        format!("{}: {}: {}", word(task, "id"), word(task, "when"), word(task, "content"))
    };
    match tasks {
        [] => "Nothing is scheduled.".into(),
        tasks => tasks.iter().map(line).collect::<Vec<_>>().join("\n"),
    }
}

/// The memory with one more line; a text of several lines becomes one.
fn with_line(memory: &str, what: &str) -> String {
    let what: Vec<&str> = what.split_whitespace().collect();
    let what = what.join(" ");
    match memory.trim_end() {
        "" => format!("- {what}\n"),
        memory => format!("{memory}\n- {what}\n"),
    }
}

async fn wait(seconds: u64, budget: Budget, progress: &Progress) -> String {
    let start = Instant::now();
    // The ending itself needs a moment before the budget is over.
    let limit = budget.work - Duration::from_millis(100).min(budget.work - start);
    for passed in 1..=seconds {
        let next = start + Duration::from_secs(passed);
        if next > limit {
            sleep_until(limit).await;
            return format!("I waited {} of {seconds} seconds; the turn ends now.", passed - 1);
        }
        sleep_until(next).await;
        progress.tell(&format!("waited {passed} of {seconds} seconds"));
    }
    format!("I waited {seconds} seconds.")
}

async fn loud(bytes: u64) -> Ending {
    let output = match Output::standard() {
        Ok(output) => output,
        Err(error) => return Ending::failed(format!("I could not write: {error}.")),
    };
    let line = b"I am loud, as the message asked.\n";
    let mut left = usize::try_from(bytes).unwrap_or(usize::MAX);
    while left > 0 {
        let piece: Vec<u8> = line.iter().copied().cycle().take(left.min(8192)).collect();
        left -= piece.len();
        if !output.write(piece).await {
            return Ending::failed("I could not write: nobody reads my standard output.");
        }
    }
    output.close().await;
    Ending::replied(format!("I wrote {bytes} bytes on standard output."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_of_the_table_is_understood_as_one() {
        let commands: Vec<&str> = HELP.lines().filter_map(|line| line.split('`').nth(1)).collect();
        // The first row is plain text, whose code span is its reply.
        for command in &commands[1..] {
            let message = command.replace('N', "3").replace("JID", "web:demo");
            let message = message.replace("PATH", "out/a.txt").replace("ID", "s-1");
            assert_ne!(Ask::read(&message), Ask::Echo, "{message}");
        }
        assert_eq!(commands.len(), 21);
    }

    #[test]
    fn a_memory_grows_by_one_line_at_a_time() {
        assert_eq!(with_line("", "tea"), "- tea\n");
        assert_eq!(with_line("- tea\n", "milk\n- and sugar"), "- tea\n- milk - and sugar\n");
        assert_eq!(with_line("by hand", "tea"), "by hand\n- tea\n");
    }
}
