//! What becomes of a newcomer. Pure: the facts are arguments.
//!
//! An admission begins with a knock or with an invite, and is in one of five states:
//!
//! - `greeted`: a pairing link was sent; nobody has used it yet;
//! - `waiting`: in the queue, with or without somebody who logged in;
//! - `admitting`: decided, and being carried out;
//! - `admitted`: done;
//! - `refused`: an operator said no.

use proto::{Timestamp, authd, onbod::AdmissionState as State};
use std::str::FromStr;

/// How long a pairing link can be used.
pub(crate) const LINK_MS: i64 = 10 * 60 * 1000;
/// A day of a gate.
const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// What the instance does with strangers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Policy {
    /// Nothing: they are not answered, and nothing is kept of them here.
    Refuse,
    /// They get a pairing link. Who has logged in comes in by a gate, or waits.
    Greet,
    /// They wait until an operator has looked, and get the pairing link then.
    Queue,
}

impl FromStr for Policy {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "refuse" => Ok(Self::Refuse),
            "greet" => Ok(Self::Greet),
            "queue" => Ok(Self::Queue),
            _ => Err(()),
        }
    }
}

/// How much of strangers there may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) greetings_per_chat: u32,
    pub(crate) greetings_per_hour: u32,
    pub(crate) queue_max: u32,
}

/// What is known when somebody knocks.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Known {
    /// How things stand with the chat.
    pub(crate) chat: Option<Chat>,
    /// How many strangers were addressed within the last hour.
    pub(crate) addressed: u32,
    /// How many wait.
    pub(crate) waiting: u32,
}

/// A chat that knocked before.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chat {
    pub(crate) state: State,
    /// How often it was greeted.
    pub(crate) greetings: u32,
    /// When it was greeted last.
    pub(crate) greeted_at: Timestamp,
}

/// What happens with a knock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Nothing, and nobody hears of it.
    Silence(Silence),
    /// The chat is greeted with a pairing link.
    Greet,
    /// The chat is put into the queue.
    Queue,
}

/// Why nothing happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Silence {
    /// The policy refuses strangers.
    Policy,
    /// It is dealt with already.
    Underway,
    /// An operator refused it, or took away what it had.
    Over,
    /// Enough was said in this chat.
    Chat,
    /// Enough strangers were addressed within the hour.
    Instance,
    /// The queue is full.
    Full,
}

impl Silence {
    /// For a metric.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Policy => "policy",
            Self::Underway => "underway",
            Self::Over => "over",
            Self::Chat => "chat_limit",
            Self::Instance => "instance_limit",
            Self::Full => "queue_full",
        }
    }
}

/// The one place that says what happens when somebody writes who has no route.
pub(crate) fn on_knock(policy: Policy, limits: Limits, known: Known, now: Timestamp) -> Answer {
    let silence = Answer::Silence;
    if policy == Policy::Refuse {
        return silence(Silence::Policy);
    }
    if let Some(chat) = known.chat {
        match chat.state {
            State::Waiting | State::Admitting => return silence(Silence::Underway),
            // Where a chat that was let in knocks, an operator took its route away.
            State::Admitted | State::Refused => return silence(Silence::Over),
            State::Greeted if now < chat.greeted_at.plus(LINK_MS) => {
                return silence(Silence::Underway);
            }
            State::Greeted if chat.greetings >= limits.greetings_per_chat => {
                return silence(Silence::Chat);
            }
            State::Greeted => {}
        }
    }
    if known.addressed >= limits.greetings_per_hour {
        return silence(Silence::Instance);
    }
    // Who was greeted before, under another policy or by an operator's word, is greeted again.
    if policy == Policy::Greet || known.chat.is_some() {
        return Answer::Greet;
    }
    if known.waiting >= limits.queue_max {
        return silence(Silence::Full);
    }
    Answer::Queue
}

/// What is known when somebody who logged in uses a pairing link.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival<'a> {
    /// Whether an operator has approved the chat already.
    pub(crate) approved: bool,
    /// Whether this person was let in before.
    pub(crate) is_known: bool,
    /// Whether an operator refused this person before.
    pub(crate) was_refused: bool,
    /// The gate by which they may come in today.
    pub(crate) gate: Option<&'a str>,
    /// How many wait.
    pub(crate) waiting: u32,
    pub(crate) queue_max: u32,
}

/// What happens with somebody who logged in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// They come in; by this gate, where it was one.
    Admit(Option<String>),
    /// They wait.
    Wait,
    /// An operator refused them before.
    Refuse,
    /// The queue is full: the link stays good, and nothing happens.
    Full,
}

/// Decides about somebody who logged in.
pub(crate) fn on_arrival(arrival: Arrival<'_>) -> Verdict {
    if arrival.approved || arrival.is_known {
        return Verdict::Admit(None);
    }
    if arrival.was_refused {
        return Verdict::Refuse;
    }
    match arrival.gate {
        Some(gate) => Verdict::Admit(Some(gate.to_owned())),
        None if arrival.waiting >= arrival.queue_max => Verdict::Full,
        None => Verdict::Wait,
    }
}

/// What an operator's word does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// They come in.
    Admit,
    /// The chat gets its pairing link, and who uses it comes in.
    Greet,
    /// The link that the chat has will do, and who uses it comes in.
    Note,
    /// They are refused.
    Refuse,
    /// It is so already.
    Nothing,
    /// They are in: that is not undone here.
    TooLate,
}

/// Decides what approving does in this state.
pub(crate) fn on_approval(state: State, has_subject: bool, approved: bool) -> Effect {
    match state {
        State::Waiting | State::Refused if has_subject => Effect::Admit,
        State::Waiting | State::Refused => Effect::Greet,
        State::Greeted if approved => Effect::Nothing,
        State::Greeted => Effect::Note,
        State::Admitting | State::Admitted => Effect::Nothing,
    }
}

/// Decides what refusing does in this state.
pub(crate) fn on_refusal(state: State) -> Effect {
    match state {
        State::Greeted | State::Waiting => Effect::Refuse,
        State::Refused => Effect::Nothing,
        State::Admitting | State::Admitted => Effect::TooLate,
    }
}

/// A gate, and how many came in by it today.
#[derive(Clone, Debug)]
pub(crate) struct Gate {
    pub(crate) pattern: String,
    pub(crate) per_day: u32,
    pub(crate) today: u32,
}

/// The gate of a person, if it lets one more in today. Their own counts before everybody's: one that is full does not
/// pass on to the wider one, which would let in whom it holds back.
pub(crate) fn open_gate<'a>(gates: &'a [Gate], subject: &str) -> Option<&'a str> {
    let of = |pattern: &str| gates.iter().find(|gate| gate.pattern == pattern);
    let own = of(subject).or_else(|| of(EVERYBODY))?;
    (own.today < own.per_day).then_some(&own.pattern)
}

/// The gate of whoever has none of their own.
const EVERYBODY: &str = "*";

/// Whether somebody can come in by a gate with this pattern: `*`, or a subject as authd makes them.
pub(crate) fn is_pattern(text: &str) -> bool {
    let operator = text.strip_prefix("operator:");
    let plain = |c: char| !c.is_whitespace() && !c.is_control() && c != '*';
    let is_operator = operator.is_some_and(|name| !name.is_empty() && name.chars().all(plain));
    text == EVERYBODY || authd::is_person(text) || (text.len() <= 200 && is_operator)
}

/// When the day of `now` began (UTC).
pub(crate) fn day_of(now: Timestamp) -> Timestamp {
    Timestamp(now.0.div_euclid(DAY_MS) * DAY_MS)
}

#[cfg(test)]
mod tests;
