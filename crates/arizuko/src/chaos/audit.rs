//! Asking, from outside, what became of every message.

use super::{
    faults::{Fault, Victim},
    inject::Happened,
    ledger::{Books, Known, Line, Row, Sent, Verdicts},
    stage::Stage,
};
use crate::failure::Failure;
use futures::{StreamExt, TryStreamExt, stream};
use kit::Peer;
use proto::{
    Daemon, Jid, Nothing, Opaque,
    routd::{
        FEED, FeedItem, FeedQuery, MessageState, OUTCOME, OutcomeQuery, STATUS, TRACE, Trace,
        TraceQuery, TraceStep,
    },
};
use serde::Deserialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

/// Questions at a time.
const AT_ONCE: usize = 8;
/// How long one question waits for an end, in seconds. The suite is to work meanwhile, and not to answer questions.
const ASK_SECONDS: u32 = 10;
/// How long nothing may end before what has not ended is lost. Longer than the waits of all attempts at a turn.
const STANDSTILL: Duration = Duration::from_secs(240);
/// How long the outbox, and the streams of chats, may take after that.
const SETTLE: Duration = Duration::from_secs(60);
/// How long a token of the operator is used.
const TOKEN_AGE: Duration = Duration::from_secs(120);
/// Traces that are printed.
const TRACES: usize = 50;

/// What was found.
pub struct Audited {
    known: BTreeMap<String, Known>,
    chats: BTreeMap<String, Vec<Line>>,
    /// Of the platform's chats: sends of unknown fate, by message, with the row's time.
    doubts: BTreeMap<String, Vec<TraceStep>>,
}

/// What a webhook's link says of a message.
#[derive(Deserialize)]
struct HookOutcome {
    state: MessageState,
    replies: Vec<String>,
}

/// A message whose whole life is shown.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Problem {
    /// The verdict.
    #[serde(flatten)]
    pub row: Row,
    /// What the suite recorded of it.
    pub trace: Option<Trace>,
}

/// Waits for every end, and collects what everybody can see.
///
/// # Errors
/// The suite does not answer the operator any more.
pub async fn audit(stage: &Stage) -> Result<Audited, Failure> {
    let sent = stage.load.record().sent.clone();
    let mut known = ends(stage, &sent).await?;
    settle(stage).await?;
    for sent in &sent {
        // What the webhook's own link says is what its program reads.
        let Some(url) = stage.hooks.iter().find(|(jid, _)| jid.as_str() == sent.chat) else {
            continue;
        };
        let outcome = hook_outcome(stage, url.1, &sent.id).await;
        let entry = known.entry(sent.id.clone()).or_default();
        entry.state = outcome.as_ref().map(|outcome| outcome.state);
        entry.replies = outcome.map(|outcome| outcome.replies).unwrap_or_default();
    }
    let chats = chats(stage).await?;
    let doubts = doubts(stage, &sent, &chats).await?;
    Ok(Audited { known, chats, doubts })
}

impl Audited {
    /// The books: everything that was seen, each doubt with the fault that explains it.
    pub fn books(mut self, stage: &Stage, happened: &[Happened]) -> Books {
        let lies = stage.platform.doubtful();
        for (id, steps) in self.doubts {
            let explained = steps.into_iter().map(|step| {
                let key = step.detail.split([',', ':', ' ']).next().unwrap_or_default().to_owned();
                let lie = lies.get(&key).map(|lie| lie.name().to_owned());
                let why = lie.or_else(|| ended_while_sending(&step, happened));
                (key, why)
            });
            self.known.entry(id).or_default().doubts = explained.collect();
        }
        Books {
            sent: stage.load.record().sent.clone(),
            chats: self.chats,
            known: self.known,
            shown: stage.platform.shown(),
            platform_chats: stage.platform_chats.iter().map(ToString::to_string).collect(),
        }
    }
}

/// The fault that ended routd after this message was put into the outbox, if the suite says that it was that.
fn ended_while_sending(step: &TraceStep, happened: &[Happened]) -> Option<String> {
    let ends_routd = |one: &Happened| match one.fault {
        Fault::Kill(victim) => victim == Victim::Daemon(Daemon::Routd),
        Fault::KillBoth(one, other) => one == Daemon::Routd || other == Daemon::Routd,
        Fault::KillStarting(daemon, _) => daemon == Daemon::Routd,
        Fault::DiskFull(daemon, _) => daemon == Daemon::Routd || one.whole,
        Fault::Stop(..) | Fault::Platform(_) | Fault::Clock(_) => false,
    };
    // routd's clock may have been set: then its times say nothing about which of them it was.
    let set = happened.iter().any(|one| matches!(one.fault, Fault::Clock(_)));
    let mut after = happened.iter().filter(|one| set || one.at + 5_000 >= step.at.0);
    let fault = after.find(|one| ends_routd(one))?;
    step.detail.contains("routd ended").then(|| fault.fault.name())
}

/// How each message ended, waited for as long as messages go on ending.
async fn ends(stage: &Stage, sent: &[Sent]) -> Result<BTreeMap<String, Known>, Failure> {
    let mut known = BTreeMap::new();
    let mut open: Vec<&Sent> = sent.iter().collect();
    let mut progress = Instant::now();
    while !open.is_empty() && progress.elapsed() < STANDSTILL {
        let mut left = Vec::new();
        // A few at a time: the token ages, and one that waits holds back no more than its neighbours.
        for some in open.chunks(128) {
            let routd = stage.operator(Daemon::Routd).await?;
            // Where nothing has ended for a while, waiting for each in turn would take hours.
            let wait = if progress.elapsed() < STANDSTILL / 3 { ASK_SECONDS } else { 0 };
            let asked = stream::iter(some).map(|sent| outcome(&routd, sent, wait));
            for (sent, found) in some.iter().zip(asked.buffered(AT_ONCE).collect::<Vec<_>>().await)
            {
                let ended = found.state.is_some_and(MessageState::is_final);
                known.insert(sent.id.clone(), found);
                if ended {
                    progress = Instant::now();
                } else {
                    left.push(*sent);
                }
            }
        }
        open = left;
        if !open.is_empty() {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
    Ok(known)
}

async fn outcome(routd: &Peer, sent: &Sent, wait_seconds: u32) -> Known {
    let (Ok(id), Ok(chat)) = (sent.id.parse::<Opaque>(), sent.chat.parse::<Jid>()) else {
        return Known::default();
    };
    let query = OutcomeQuery { id, chat_jid: Some(chat), wait_seconds };
    let wait = Duration::from_secs(wait_seconds.into());
    match routd.call_waiting(&OUTCOME, &query, wait).await {
        Ok(found) => Known {
            state: Some(found.state),
            turn: found.turn_id.map(String::from),
            replies: found.replies,
            doubts: Vec::new(),
        },
        Err(_) => Known::default(),
    }
}

async fn hook_outcome(stage: &Stage, url: &str, id: &str) -> Option<HookOutcome> {
    let request = stage.http.get(format!("{url}/{id}?wait=5")).timeout(SETTLE);
    request.send().await.ok()?.json().await.ok()
}

/// Waits until nothing waits to be sent, and what could be asked about was asked about.
async fn settle(stage: &Stage) -> Result<(), Failure> {
    let deadline = Instant::now() + SETTLE;
    let (mut last, mut steady) = (None, 0);
    while steady < 3 && Instant::now() < deadline {
        let routd = stage.operator(Daemon::Routd).await?;
        match routd.call(&STATUS, &Nothing {}).await {
            Ok(status) => {
                let same = last.replace(status.outbox_ambiguous) == Some(status.outbox_ambiguous);
                steady = if same && status.outbox_pending == 0 { steady + 1 } else { 0 };
            }
            // A clock that was set last may not be back everywhere: a token is too old then, or not good yet.
            Err(_) if Instant::now() < deadline => steady = 0,
            Err(error) => return Err(error.into()),
        }
        // A little longer than between two heartbeats of the adapters.
        tokio::time::sleep(Duration::from_millis(2_200)).await;
    }
    Ok(())
}

/// Every chat: web chats as they were watched, the others as the feed has them.
async fn chats(stage: &Stage) -> Result<BTreeMap<String, Vec<Line>>, Failure> {
    let mut chats = BTreeMap::new();
    for jid in stage.hooks.keys().chain(&stage.platform_chats) {
        chats.insert(jid.to_string(), feed(stage, jid).await?);
    }
    for (jid, watched) in &stage.watched {
        let whole = feed(stage, jid).await?.len();
        let deadline = Instant::now() + SETTLE;
        while watched.count() < whole && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        chats.insert(jid.to_string(), watched.lines());
    }
    Ok(chats)
}

async fn feed(stage: &Stage, jid: &Jid) -> Result<Vec<Line>, Failure> {
    let (mut lines, mut after) = (Vec::new(), 0);
    let (mut routd, mut since) = (stage.operator(Daemon::Routd).await?, Instant::now());
    loop {
        if since.elapsed() > TOKEN_AGE {
            (routd, since) = (stage.operator(Daemon::Routd).await?, Instant::now());
        }
        let query = FeedQuery {
            chat_jid: jid.clone(),
            after: Some(after),
            limit: Some(500),
            wait_seconds: 0,
        };
        let page = routd.call(&FEED, &query).await?;
        if page.events.is_empty() {
            return Ok(lines);
        }
        after = page.cursor;
        lines.extend(page.events.into_iter().filter_map(|event| match event.what {
            FeedItem::Message { reply_to, from_agent: true, content, .. } => {
                Some(Line::Agent { reply_to: reply_to.map(String::from), text: content })
            }
            FeedItem::Message { id, .. } => Some(Line::Person { id: id.into() }),
            FeedItem::Done { turn_id, .. } => Some(Line::Done { turn: turn_id.into() }),
            FeedItem::Edited { .. }
            | FeedItem::Deleted { .. }
            | FeedItem::Reacted { .. }
            | FeedItem::Status { .. } => None,
        }));
    }
}

/// The sends of unknown fate behind what the platform's people asked.
async fn doubts(
    stage: &Stage,
    sent: &[Sent],
    chats: &BTreeMap<String, Vec<Line>>,
) -> Result<BTreeMap<String, Vec<TraceStep>>, Failure> {
    let routd = stage.operator(Daemon::Routd).await?;
    let status = routd.call(&STATUS, &Nothing {}).await?;
    if status.outbox_ambiguous == 0 {
        return Ok(BTreeMap::new());
    }
    let ours: BTreeSet<&str> = stage.platform_chats.iter().map(Jid::as_str).collect();
    let asked: Vec<&Sent> = sent
        .iter()
        .filter(|sent| ours.contains(sent.chat.as_str()) && chats.contains_key(&sent.chat))
        .collect();
    let mut doubts = BTreeMap::new();
    for some in asked.chunks(512) {
        let routd = stage.operator(Daemon::Routd).await?;
        let traces = stream::iter(some).map(|sent| trace(&routd, &sent.id, &sent.chat));
        let traces: Vec<Trace> = traces.buffered(AT_ONCE).try_collect().await?;
        for (sent, trace) in some.iter().zip(traces) {
            let doubtful = trace.steps.into_iter().filter(|step| step.what == "outbox.ambiguous");
            let doubtful: Vec<TraceStep> = doubtful.collect();
            if !doubtful.is_empty() {
                doubts.insert(sent.id.clone(), doubtful);
            }
        }
    }
    Ok(doubts)
}

async fn trace(routd: &Peer, id: &str, chat: &str) -> Result<Trace, Failure> {
    let id = id.parse().map_err(|error| defect(&error))?;
    let chat_jid = Some(chat.parse().map_err(|error| defect(&error))?);
    Ok(routd.call(&TRACE, &TraceQuery { id, chat_jid }).await?)
}

fn defect(error: &dyn std::fmt::Display) -> Failure {
    Failure::new(crate::failure::Exit::Software, error.to_string())
}

/// The whole life of the messages that are not in order, as far as the suite will say.
pub async fn traces(stage: &Stage, verdicts: &Verdicts) -> Vec<Problem> {
    let bad = verdicts.rows.iter().filter(|row| !row.explained).take(TRACES);
    let mut problems = Vec::new();
    for row in bad {
        let trace = match stage.operator(Daemon::Routd).await {
            Ok(routd) => trace(&routd, &row.id, &row.chat).await.ok(),
            Err(_) => None,
        };
        problems.push(Problem { row: row.clone(), trace });
    }
    problems
}
