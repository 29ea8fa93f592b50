//! `arizuko ask`: one message in, the agent's reply out.

use crate::{
    cli::Ask,
    failure::{Exit, Failure},
    instance::Instance,
    output::Output,
    session::Line,
};
use proto::{
    Daemon, Folder, Jid, Opaque, Topic,
    routd::{MessageOutcome, MessageState, NewMessage, OUTCOME, OutcomeQuery, POST_MESSAGE},
};
use std::{
    io::IsTerminal,
    time::{Duration, Instant},
};

/// How long one look at the message waits for its end.
const LOOK: Duration = Duration::from_secs(20);
/// How long the first one waits, after which somebody at a terminal is told why nothing comes.
const FIRST_LOOK: Duration = Duration::from_secs(2);

pub(super) async fn run(instance: &Instance, args: Ask, output: Output) -> Result<(), Failure> {
    let (id, chat_jid, mut routd, deadline) =
        begin(instance, &args.folder, args.topic, args.text, args.timeout).await?;
    let outcome = wait(&mut routd, id, chat_jid, deadline, output).await?;
    let reply = outcome.replies.join("\n\n");
    if outcome.state == MessageState::Answered {
        return output.print(&outcome, |_| reply);
    }
    Err(without_reply(&outcome, &args.folder, &reply))
}

/// Asks once, and waits as long as `patience` for whatever end it has; the message's id, and how it stands then.
///
/// # Errors
/// The message was not taken, or routd says nothing of it.
pub async fn once(
    instance: &Instance,
    folder: &Folder,
    text: String,
    patience: Duration,
) -> Result<(Opaque, MessageOutcome), Failure> {
    let (id, chat_jid, mut routd, deadline) = begin(instance, folder, None, text, patience).await?;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let wait_seconds = u32::try_from(left.min(LOOK).as_secs().max(1)).unwrap_or(1);
        let chat = Some(chat_jid.clone());
        let query = OutcomeQuery { id: id.clone(), chat_jid: chat, wait_seconds };
        match routd.peer().call_waiting(&OUTCOME, &query, left.min(LOOK)).await {
            Ok(outcome) if outcome.state.is_final() || left.is_zero() => return Ok((id, outcome)),
            Ok(_) => {}
            Err(error) if routd.recovers(&error, deadline).await => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Posts a message in a chat of its own: its id, the chat, who has it, and how long there is.
async fn begin<'a>(
    instance: &'a Instance,
    folder: &Folder,
    topic: Option<Topic>,
    content: String,
    patience: Duration,
) -> Result<(Opaque, Jid, Line<'a>, Instant), Failure> {
    let deadline = Instant::now() + patience;
    let mut routd = Line::open(instance, Daemon::Routd).await?;
    // A chat of its own, so that this question's answer is nobody else's.
    let unique = format!("{:016x}", rand::random::<u64>());
    let bad = |error: String| Failure::new(Exit::Software, error);
    let chat_jid = Jid::web(folder, &format!("ask-{unique}")).map_err(|e| bad(e.to_string()))?;
    let id: Opaque =
        format!("ask-{unique}").parse().map_err(|e: proto::IdError| bad(e.to_string()))?;
    let message = NewMessage {
        id: id.clone(),
        chat_jid: chat_jid.clone(),
        sender: "operator:local".into(),
        sender_name: None,
        content,
        timestamp: None,
        topic,
        verb: None,
        reply_to: None,
        is_group: false,
        attachments: Vec::new(),
    };
    post(&mut routd, &message, deadline).await?;
    Ok((id, chat_jid, routd, deadline))
}

/// Posts the message, again while routd is away: the same id is taken once.
async fn post(
    routd: &mut Line<'_>,
    message: &NewMessage,
    deadline: Instant,
) -> Result<(), Failure> {
    loop {
        match routd.peer().call(&POST_MESSAGE, message).await {
            Ok(_) => return Ok(()),
            Err(error) if routd.recovers(&error, deadline).await => {}
            Err(error) => return Err(error.into()),
        }
    }
}

async fn wait(
    routd: &mut Line<'_>,
    id: Opaque,
    chat_jid: Jid,
    deadline: Instant,
    output: Output,
) -> Result<MessageOutcome, Failure> {
    let mut patience = FIRST_LOOK;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let look = left.min(patience);
        let wait_seconds = u32::try_from(look.as_secs().max(1)).unwrap_or(1);
        let query = OutcomeQuery { id: id.clone(), chat_jid: Some(chat_jid.clone()), wait_seconds };
        match routd.peer().call_waiting(&OUTCOME, &query, look).await {
            Ok(outcome) if outcome.state.is_final() => return Ok(outcome),
            Ok(outcome) if Instant::now() >= deadline => {
                let stands = match outcome.state {
                    MessageState::Running => "its turn is in progress",
                    _ => "it waits for its turn",
                };
                let line = format!(
                    "no reply within the time given: {stands}, and it will be answered; see `arizuko trace {id}`"
                );
                return Err(Failure::new(Exit::TryAgain, line));
            }
            Ok(outcome) => {
                if patience == FIRST_LOOK && std::io::stderr().is_terminal() {
                    output.note(match outcome.state {
                        MessageState::Running => "the agent is at work…",
                        _ => "the message waits for its turn…",
                    });
                }
                patience = LOOK;
            }
            Err(error) if routd.recovers(&error, deadline).await => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn without_reply(outcome: &MessageOutcome, folder: &Folder, said: &str) -> Failure {
    let id = &outcome.id;
    match outcome.state {
        MessageState::Unrouted => Failure::new(
            Exit::Data,
            format!("there is no folder {folder}; add it with `arizuko group add {folder}`"),
        ),
        MessageState::Silent => Failure::new(Exit::Data, "the agent chose not to reply".to_owned()),
        MessageState::Failed | MessageState::Interrupted | MessageState::Cancelled => {
            Failure::new(Exit::Software, format!("{said}; see `arizuko trace {id}`"))
        }
        state => Failure::new(
            Exit::Software,
            format!("the message ended as {state:?}; see `arizuko trace {id}`"),
        ),
    }
}
