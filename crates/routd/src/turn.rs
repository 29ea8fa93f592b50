//! The life of a turn, as a state machine. Pure: it decides, the store writes, the loops drive.
//!
//! `queued → starting → running → ended`, and back to `queued` for another attempt. The rules:
//!
//! - a turn ends once, and every end is one that the person can see;
//! - what an attempt does, and what is said of it, counts for that attempt alone: a word from an attempt that was
//!   given up changes nothing;
//! - an attempt that ended without a result is repeated only when it had done nothing visible or lasting, and at
//!   most [`ATTEMPTS`] times in all; one whose agent could not even be started, [`STARTS`] times;
//! - a runner that cannot be reached is not the turn's failure: the turn waits where it is.

use proto::Timestamp;
use proto::routd::TurnEnd;
use proto::runed::RunEnd;
use proto::turn::Outcome;

/// How often a turn is tried.
pub(crate) const ATTEMPTS: u32 = 3;
/// The same where no agent ran: a disk that is full for a moment, or a runed that pauses a folder because of it, is not
/// the message's fault. Some minutes in all, longer than two of runed's pauses.
const STARTS: u32 = 7;
/// Milliseconds before the second attempt; each later one waits four times as long, up to [`WAIT_MAX`].
const FIRST_WAIT: i64 = 2_000;
/// The longest wait before an attempt, in milliseconds. A turn that would wait longer was put off by a clock that has
/// been set back since, and waits no more.
pub(crate) const WAIT_MAX: i64 = 32_000;
/// Characters of an agent's own explanation that a person is shown.
const LINE: usize = 500;

/// Where a turn stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// It waits for its time.
    Queued,
    /// It has a socket; its run is being asked for.
    Starting,
    /// Its run was accepted.
    Running,
    /// Nothing more will happen.
    Ended(TurnEnd),
}

impl State {
    /// Its name in the database.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Ended(_) => "ended",
        }
    }
}

/// The part of a turn that decides what may happen to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) state: State,
    /// The attempt in progress, or the last one; 0 before the first.
    pub(crate) attempt: u32,
    /// Whether that attempt did something visible or lasting.
    pub(crate) did_something: bool,
}

/// What happened to a turn.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Event {
    /// A place is free.
    Claimed,
    /// runed took this attempt.
    Accepted { attempt: u32 },
    /// The agent of this attempt says how it ended.
    Result { attempt: u32, outcome: Outcome, text: Option<String>, replied: bool },
    /// The run of this attempt is over, and had posted no result.
    RunOver { attempt: u32, over: Over },
    /// Somebody stopped the turn.
    Stopped { why: &'static str },
}

/// Why a run is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Over {
    /// It ended, and another attempt may do better.
    Lost(&'static str),
    /// No agent ran, and another attempt may do better.
    NotStarted,
    /// It ran out of its time.
    TimedOut,
    /// Somebody stopped it.
    Cancelled,
    /// No attempt can do better.
    Refused(String),
}

impl Over {
    /// What the end of a run means for its turn, when no result had come.
    pub(crate) fn of(end: Option<RunEnd>, detail: Option<&str>) -> Self {
        match end {
            Some(RunEnd::Completed) => Self::Lost("the agent exited without a result"),
            Some(RunEnd::Crashed) => Self::Lost("the agent crashed"),
            Some(RunEnd::OutOfMemory) => Self::Lost("the agent ran out of memory"),
            Some(RunEnd::StartFailed) => Self::NotStarted,
            Some(RunEnd::TimedOut) => Self::TimedOut,
            Some(RunEnd::Cancelled) => Self::Cancelled,
            Some(RunEnd::Refused) => Self::Refused(detail.unwrap_or_default().to_owned()),
            None => Self::Lost("the run is gone"),
        }
    }

    fn reason(&self) -> &str {
        match self {
            Self::Lost(why) => why,
            Self::NotStarted => "the agent could not be started",
            Self::TimedOut => "the agent ran out of time",
            Self::Cancelled => "the run was stopped",
            Self::Refused(_) => "this agent cannot run here",
        }
    }
}

/// What is to be done about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Begin this attempt.
    Start { attempt: u32 },
    /// Its run is in progress.
    Run,
    /// Try again, not before this time.
    Again { not_before: Timestamp, why: String },
    /// It is over: `say` goes to the person, as the agent's words or as the suite's own line.
    End { how: TurnEnd, say: Option<Say>, why: String },
}

/// What the person reads at the end of a turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Say {
    /// The agent's reply.
    Reply(String),
    /// One line that says what failed.
    Line(String),
}

/// Why an event changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ignored {
    /// The turn has ended.
    Ended,
    /// It is about an attempt that is not the one in progress.
    OtherAttempt,
    /// The turn is not where this could happen to it.
    OutOfPlace,
}

impl Standing {
    /// Decides.
    pub(crate) fn on(self, event: &Event, now: Timestamp) -> Result<Next, Ignored> {
        if let State::Ended(_) = self.state {
            return Err(Ignored::Ended);
        }
        let active = matches!(self.state, State::Starting | State::Running);
        let speaks_now = |attempt: u32| match (active, attempt == self.attempt) {
            (true, true) => Ok(()),
            (_, false) => Err(Ignored::OtherAttempt),
            (false, true) => Err(Ignored::OutOfPlace),
        };
        match event {
            Event::Claimed => match self.state {
                State::Queued => Ok(Next::Start { attempt: self.attempt + 1 }),
                _ => Err(Ignored::OutOfPlace),
            },
            Event::Accepted { attempt } => {
                speaks_now(*attempt)?;
                // Told twice, it is as true as told once.
                Ok(Next::Run)
            }
            Event::Result { attempt, outcome, text, replied } => {
                speaks_now(*attempt)?;
                Ok(result(*outcome, text.as_deref(), *replied))
            }
            Event::RunOver { attempt, over } => {
                speaks_now(*attempt)?;
                Ok(self.run_over(over, now))
            }
            Event::Stopped { why } => Ok(Next::End {
                how: TurnEnd::Cancelled,
                say: Some(Say::Line(format!("This was stopped: {why}."))),
                why: (*why).into(),
            }),
        }
    }

    fn again(self, why: &str, now: Timestamp) -> Next {
        Next::Again { not_before: now.plus(wait_after(self.attempt)), why: why.into() }
    }

    fn run_over(self, over: &Over, now: Timestamp) -> Next {
        let reason = over.reason();
        let end = |how, line: String| Next::End {
            how,
            say: Some(Say::Line(line)),
            why: match over {
                Over::Refused(detail) if !detail.is_empty() => format!("{reason}: {detail}"),
                _ => reason.to_owned(),
            },
        };
        match over {
            Over::Cancelled => {
                end(TurnEnd::Cancelled, "This was stopped before it was done.".into())
            }
            Over::Refused(_) => end(
                TurnEnd::Failed,
                "This could not be done: the agent cannot run here. An operator has to look at it; `arizuko doctor` says what is missing."
                    .into(),
            ),
            _ if self.did_something => end(
                TurnEnd::Interrupted,
                format!(
                    "This was cut off: {reason}. Part of it may be done, so it is not repeated."
                ),
            ),
            Over::TimedOut => end(TurnEnd::Failed, format!("This was not done: {reason}.")),
            Over::Lost(_) if self.attempt < ATTEMPTS => self.again(reason, now),
            Over::NotStarted if self.attempt < STARTS => self.again(reason, now),
            Over::Lost(_) | Over::NotStarted => end(
                TurnEnd::Failed,
                format!(
                    "This was not done: {reason}, {} times. Please try again later.",
                    self.attempt
                ),
            ),
        }
    }
}

/// Milliseconds to wait after attempt number `attempt`.
fn wait_after(attempt: u32) -> i64 {
    FIRST_WAIT.saturating_mul(4_i64.saturating_pow(attempt.saturating_sub(1))).min(WAIT_MAX)
}

fn result(outcome: Outcome, text: Option<&str>, replied: bool) -> Next {
    let text = text.filter(|text| !text.trim().is_empty());
    let end = |how, say, why: &str| Next::End { how, say, why: why.into() };
    match (outcome, text) {
        (Outcome::Replied, Some(text)) => {
            end(TurnEnd::Answered, Some(Say::Reply(text.into())), "replied")
        }
        (Outcome::Replied, None) if replied => end(TurnEnd::Answered, None, "replied with a tool"),
        (Outcome::Replied, None) => end(
            TurnEnd::Failed,
            Some(Say::Line("The agent ended without an answer. Please try again.".into())),
            "replied with nothing",
        ),
        // Whoever has read an answer was not met with silence.
        (Outcome::Silent, _) if replied => end(TurnEnd::Answered, None, "replied with a tool"),
        (Outcome::Silent, _) => end(TurnEnd::Silent, None, "silent on purpose"),
        (Outcome::Failed, text) => {
            let line = text.map_or_else(
                || "The agent failed. Please try again later.".to_owned(),
                |text| format!("The agent failed: {}", one_line(text)),
            );
            end(TurnEnd::Failed, Some(Say::Line(line)), "the agent says that it failed")
        }
    }
}

/// The text as one short line.
fn one_line(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(LINE) {
        Some((end, _)) => format!("{}…", line.get(..end).unwrap_or_default()),
        None => line,
    }
}

#[cfg(test)]
mod tests;
