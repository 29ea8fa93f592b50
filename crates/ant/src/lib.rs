//! The agent's side of a turn.
//!
//! `ant` runs inside an agent's sandbox. It fetches the one turn that its socket serves, runs the
//! harness that the turn names, and posts the one result. It holds no credential and reads no
//! environment: the socket is its identity, and everything it may do is behind it. In a cluster the
//! turn is at a listener instead, and `pinned` brings it to a socket.
//!
//! 1. `GET /turn` says what to do; another attempt that owns the turn ends this one at once. Files that
//!    came with the messages are put into the home.
//! 2. The harness works: [`offline`] answers without a model, `command` runs a program, `builtin`
//!    calls a model and the tools, `claude` runs the Claude Code CLI. Progress is reported as it
//!    comes, and a report that is lost costs nothing. The two that speak with a model also hear what
//!    is said while they work. Files of the home that a tool is to send are brought beside them.
//! 3. `POST /turn/result` is repeated until it is accepted or the turn's deadline has passed.
//!
//! How the harnesses are set up and what they may do: `docs/harnesses.md`.
//!
//! Invariants:
//! - routd may be restarted at any instant: whatever was not answered is asked again, until the
//!   deadline, and every change carries a key under which it happens once;
//! - no result is posted for a turn that was given up, stopped or ended by a crash;
//! - the harness ends before the deadline, early enough for its result to be posted;
//! - a program that was started is gone, with its descendants, when [`run`] returns.

mod beneath;
mod bridge;
mod briefing;
mod budget;
mod builtin;
mod child;
mod claude;
mod command;
mod error;
mod files;
mod handover;
mod link;
pub mod offline;
mod options;
mod output;
mod pinned;
mod progress;
mod retry;
mod steering;
mod tools;

pub use error::AntError;
pub use link::Trouble;
pub use options::{Listener, Options, UsageError, parse};
pub use tools::TOOLS;

use bridge::Bridge;
use budget::Budget;
use files::Inbox;
use link::Link;
use pinned::Door;
use progress::Progress;
use proto::turn::{Harness, Outcome, TurnInput, TurnResult};
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// How long the reports that are still waiting may take once the work is done.
const LAST_REPORTS: Duration = Duration::from_millis(500);

/// How a harness ended: what becomes the result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ending {
    outcome: Outcome,
    text: Option<String>,
    /// The harness's own, to go on with.
    session: Option<String>,
    /// Up to where messages that came meanwhile are answered too.
    taken: i64,
}

impl Ending {
    fn of(outcome: Outcome, text: Option<String>) -> Self {
        Self { outcome, text, session: None, taken: 0 }
    }

    fn replied(text: impl Into<String>) -> Self {
        Self::of(Outcome::Replied, Some(text.into()))
    }

    /// The reply has been sent with a tool already.
    fn already_replied() -> Self {
        Self::of(Outcome::Replied, None)
    }

    fn silent() -> Self {
        Self::of(Outcome::Silent, None)
    }

    fn failed(line: impl Into<String>) -> Self {
        Self::of(Outcome::Failed, Some(line.into()))
    }

    fn with_session(self, session: String) -> Self {
        Self { session: Some(session), ..self }
    }

    fn having_taken(self, taken: i64) -> Self {
        Self { taken, ..self }
    }
}

/// Serves the one turn behind the socket, and returns when its result was accepted.
///
/// SIGTERM stops it: the harness ends, nothing is posted. A result of a harness that failed is a
/// result too; the errors are the cases in which routd has none. [`AntError::exit_code`] is what
/// the process exits with.
pub async fn run(options: Options) -> Result<(), AntError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(AntError::Signals)?;
    run_until(options, async move {
        terminate.recv().await;
    })
    .await
}

/// As [`run`], stopped when `stop` is ready instead of by a signal.
pub async fn run_until(options: Options, stop: impl Future<Output = ()>) -> Result<(), AntError> {
    // What is dropped here stops: the harness's program is killed with its group.
    tokio::select! {
        biased;
        () = stop => Err(AntError::Stopped),
        done = found(options) => done,
    }
}

/// Serves the turn, wherever it is. One at a listener is brought to a socket of this run first.
async fn found(options: Options) -> Result<(), AntError> {
    let Some(listener) = &options.listener else { return turn(&options).await };
    let door = Door::open(listener)?;
    let near = Options { socket_dir: door.directory().to_owned(), ..options.clone() };
    tokio::select! {
        done = turn(&near) => done,
        error = door.serve() => Err(AntError::Door(error)),
    }
}

async fn turn(options: &Options) -> Result<(), AntError> {
    let link = Link::open(&options.socket_dir)?;
    let bridge = match options.bridge {
        true => Some(Bridge::open(link.socket()).await.map_err(AntError::Bridge)?),
        false => None,
    };
    let input = link.input(options.patience).await?;
    let budget = Budget::of(input.time_left_ms, input.deadline);
    tracing::info!(turn = %input.turn_id, attempt = input.attempt, harness = input.harness.name(), "turn begun");
    let Ending { outcome, text, session, taken } = match bridge {
        None => work(options, &link, &input, budget, None).await?,
        Some(bridge) => {
            let url = bridge.url();
            tokio::select! {
                ending = work(options, &link, &input, budget, Some(&url)) => ending?,
                error = bridge.serve() => return Err(AntError::Bridge(error)),
            }
        }
    };
    let result = TurnResult { attempt: input.attempt, outcome, text, session, taken };
    let accepted = link.finish(&result, budget.end).await?;
    tracing::info!(turn = %input.turn_id, ?outcome, duplicate = accepted.duplicate, "result accepted");
    Ok(())
}

/// Runs the harness, and reports its progress beside it. The reports also bring the news that the
/// attempt was given up, which ends the work.
async fn work(
    options: &Options,
    link: &Link,
    input: &TurnInput,
    budget: Budget,
    url: Option<&str>,
) -> Result<Ending, AntError> {
    let (progress, reports) = Progress::channel();
    let mut reporter = std::pin::pin!(progress::report(link, input.attempt, reports));
    let work = async {
        let inbox = Inbox::of(&options.home, input);
        let input = inbox.fill(link, input.clone(), budget.work, &progress).await;
        harness(options, link, &input, budget, url, &progress).await
    };
    let ending = tokio::select! {
        biased;
        ending = work => ending?,
        never = handover::serve(link, &options.home, input.attempt) => match never {},
        // It cannot end otherwise while `progress` lives.
        news = &mut reporter => return Err(news.err().unwrap_or(AntError::Superseded)),
    };
    drop(progress);
    match tokio::time::timeout(LAST_REPORTS, reporter).await {
        Ok(Err(given_up)) => Err(given_up),
        // Reports that are still waiting are worth less than the result.
        Ok(Ok(())) | Err(_) => Ok(ending),
    }
}

async fn harness(
    options: &Options,
    link: &Link,
    input: &TurnInput,
    budget: Budget,
    url: Option<&str>,
    progress: &Progress,
) -> Result<Ending, AntError> {
    match input.harness {
        Harness::Offline => offline::run(link, input, budget, progress).await,
        Harness::Command => {
            let place = command::Place { options, socket: link.socket(), url };
            Ok(command::run(&place, input, budget, progress).await)
        }
        Harness::Claude => {
            let place = claude::Place { options, link, progress, url };
            Ok(claude::run(&place, input, budget).await)
        }
        Harness::Builtin => {
            let place = builtin::Place { options, link, progress };
            Ok(builtin::run(&place, input, budget).await)
        }
    }
}
