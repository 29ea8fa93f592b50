//! The loop that hands what is said to the adapters.
//!
//! A lane for each chat, so that one dead chat blocks no other; a few hands for each platform, so that one dead
//! platform blocks no other. Each row's id travels as `Idempotency-Key`. A call whose outcome is not known leaves its
//! row ambiguous; it is asked about again only where the adapter says that it remembers keys (the capability
//! `idempotency`): then the repeat of a message that is out answers and sends nothing.

use crate::{
    adapters,
    app::App,
    fault::Fault,
    figures::OutboxLabels,
    ingest::platform_label,
    mcp,
    store::{channels, count, outbox, outbox::Fate, outbox::Kind, outbox::Parcel},
    traced,
    wake::Wake,
};
use kit::{CallOptions, Fact, Peer, PeerError};
use proto::{
    Nothing, Timestamp,
    routd::{DELETE, Delete, EDIT, Edit, REACT, React, SEND, Send, Sent},
};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// Calls to one platform's adapter at a time.
const HANDS: u32 = 4;
/// How long a call may take. An adapter answers sooner, with what it knows.
const CALL: Duration = Duration::from_secs(45);
/// The same, where the adapter fetches files first. A daemon answers within a minute in any case.
const CALL_WITH_FILES: Duration = Duration::from_secs(60);
/// How long the loop sleeps when nothing is due.
const BACKSTOP: Duration = Duration::from_secs(15);
/// The wait after a pass that failed.
const AFTER_FAILURE: Duration = Duration::from_secs(1);
/// The waits between attempts, in milliseconds, from the first to the longest.
const WAIT_MIN: i64 = 1_000;
const WAIT_MAX: i64 = 300_000;
/// How long a message may wait for a platform, in milliseconds: after that it has failed.
const PATIENCE_MS: i64 = 24 * 60 * 60 * 1_000;
/// How much more than the time that passed the clock must show to have been set. Far more than a busy machine is late.
const JUMP_MS: i64 = 10 * 60 * 1_000;

/// Runs until the daemon stops.
pub(crate) async fn run(app: Arc<App>) {
    let stop = app.context.stop.clone();
    let busy = Busy::default();
    let mut looked = (app.now(), Instant::now());
    while !stop.is_cancelled() {
        if let Err(fault) = follow_clock(&app, &mut looked).await {
            tracing::error!(error = %kit::chain(&fault), "the clock was set, and the outbox does not know");
        }
        let wait = match pass(&app, &busy).await {
            Ok(wait) => wait,
            Err(fault) => {
                tracing::error!(error = %kit::chain(&fault), "the outbox cannot be read");
                AFTER_FAILURE
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = app.wake.outbox.notified() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// Has answers in doubt hold their chats as long as they would have, where the clock was set forward meanwhile.
async fn follow_clock(app: &Arc<App>, looked: &mut (Timestamp, Instant)) -> Result<(), Fault> {
    let (before, at) = *looked;
    *looked = (app.now(), Instant::now());
    let passed = i64::try_from(at.elapsed().as_millis()).unwrap_or(i64::MAX);
    let jump = looked.0.0.saturating_sub(before.0).saturating_sub(passed);
    if jump < JUMP_MS {
        return Ok(());
    }
    tracing::warn!(seconds = jump / 1_000, "the clock was set forward");
    app.db.try_write("outbox.clock", move |tx| Ok(outbox::hold_on(tx, before, jump)?)).await
}

/// Hands out what is due to whoever has a hand free. Answers how long nothing more will be due.
async fn pass(app: &Arc<App>, busy: &Busy) -> Result<Duration, Fault> {
    let now = app.now();
    let platforms = app.db.read(move |conn| outbox::platforms_due(conn, now)).await?;
    for platform in platforms {
        let free = HANDS.saturating_sub(lock(busy).get(&platform).copied().unwrap_or_default());
        if free == 0 {
            continue;
        }
        let of = platform.clone();
        let take = move |tx: &db::Tx<'_>| outbox::take(tx, &of, now, free);
        for parcel in app.db.try_write("outbox.take", take).await? {
            let hand = Hand::take(&platform, busy, &app.wake);
            let app = app.clone();
            // A stop waits for what is under way, so that it does not end in doubt.
            app.context.tasks.clone().spawn("send", async move {
                let _hand = hand;
                carry(&app, parcel).await;
            });
        }
    }
    show(app).await?;
    let due = app.db.read(move |conn| outbox::next_due(conn, now)).await?;
    let wait = due.map(|due| due.0.saturating_sub(now.0).max(1).unsigned_abs());
    Ok(wait.map_or(BACKSTOP, Duration::from_millis).min(BACKSTOP))
}

/// How many calls are under way, by platform.
type Busy = Arc<Mutex<HashMap<String, u32>>>;

/// One call under way. Its end has the loop look again.
struct Hand {
    platform: String,
    busy: Busy,
    wake: Wake,
}

impl Hand {
    fn take(platform: &str, busy: &Busy, wake: &Wake) -> Self {
        *lock(busy).entry(platform.to_owned()).or_default() += 1;
        Self { platform: platform.to_owned(), busy: busy.clone(), wake: wake.clone() }
    }
}

impl Drop for Hand {
    fn drop(&mut self) {
        if let Some(count) = lock(&self.busy).get_mut(&self.platform) {
            *count = count.saturating_sub(1);
        }
        self.wake.outbox.notify_one();
    }
}

fn lock(busy: &Busy) -> MutexGuard<'_, HashMap<String, u32>> {
    busy.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Carries one parcel, and writes what became of it.
async fn carry(app: &Arc<App>, parcel: Parcel) {
    let span = traced::delivery(app, &parcel).await;
    let fate = match span.around(hand_over(app, &parcel)).await {
        Ok(fate) => fate,
        Err(fault) => {
            tracing::error!(id = parcel.id, error = %kit::chain(&fault), "a message is not sent");
            // Nothing was handed over yet.
            unreached(&parcel, app.now(), "routd could not look up the adapter".into())
        }
    };
    span.say(Fact::Outcome(fate.state()));
    span.end();
    let labels = OutboxLabels { platform: platform_label(&parcel.chat_jid), fate: fate.state() };
    let (now, id, wake) = (app.now(), parcel.id.clone(), app.wake.clone());
    let written = app.db.try_write("outbox.settle", move |tx| {
        wake.chat(tx, parcel.chat_jid.as_str());
        outbox::settle(tx, &parcel, &fate, now)
    });
    match written.await {
        Ok(()) => {
            app.figures.outbox.get_or_create(&labels).inc();
        }
        // The row stays as being sent, which the next start takes for ambiguous: nothing is sent twice.
        Err(fault) => {
            tracing::error!(id, error = %kit::chain(&fault), "a message's fate cannot be written");
        }
    }
}

/// Hands a parcel to the adapter of its chat.
async fn hand_over(app: &Arc<App>, parcel: &Parcel) -> Result<Fate, Fault> {
    let (chat, now) = (parcel.chat_jid.clone(), app.now());
    let platform = chat.platform().to_owned();
    let registered = app.db.read(move |conn| channels::of_chat(conn, &chat)).await?;
    let daemon = adapters::of_platform(&platform);
    let (Some(registered), Some(daemon)) = (registered, daemon) else {
        let why = format!("no adapter for {platform} has registered");
        app.context.health.degraded(&format!("adapter {platform}"), Some(why.clone()));
        return Ok(unreached(parcel, now, why));
    };
    let mut options = CallOptions::default();
    options.idempotency_key = Some(parcel.id.clone());
    options.timeout = Some(if parcel.attachments.is_empty() { CALL } else { CALL_WITH_FILES });
    if let Some(needs) = mcp::needs(parcel).filter(|needs| !registered.can(needs)) {
        let why = format!("the adapter of {platform} chats has not said that it can {needs}");
        return Ok(Fate::Unsupported(why));
    }
    let asks = registered.remembers() && parcel.attempts < outbox::ASKED_MAX;
    let adapter = app.context.peers.at(daemon, registered.channel.url);
    let Some(answer) = say(&adapter, parcel, options).await else {
        return Ok(Fate::Failed("the platform never had the message".into()));
    };
    let now = app.now();
    // A doubt of the adapter's own would be its answer again; one about the way to it can be cleared up.
    let broke_off = matches!(answer, Err(PeerError::Unknown { .. }));
    let (fate, trouble) = judge(parcel, answer, now);
    let fate = match fate {
        Fate::Ambiguous(why) if broke_off && asks => {
            Fate::Asking { hold_until: now.plus(outbox::HOLD_MS), why }
        }
        other => other,
    };
    app.context.health.degraded(&format!("adapter {platform}"), trouble);
    Ok(fate)
}

/// Says to an adapter what a parcel is about. Nothing, where that is a message that the platform does not have.
async fn say(
    adapter: &Peer,
    parcel: &Parcel,
    options: CallOptions,
) -> Option<Result<Sent, PeerError>> {
    let (chat_jid, content) = (parcel.chat_jid.clone(), parcel.content.clone());
    let none = |answer: Result<Nothing, PeerError>| answer.map(|_| Sent { ids: Vec::new() });
    let id = parcel.target.clone();
    Some(match parcel.kind {
        Kind::Send => {
            let thread_id = Some(parcel.thread.to_string()).filter(|thread| !thread.is_empty());
            let (reply_to, attachments) = (parcel.reply_to.clone(), parcel.attachments.clone());
            let message = Send { chat_jid, content, reply_to, thread_id, attachments };
            adapter.send(&SEND, &message, options).await
        }
        Kind::Edit => {
            none(adapter.send(&EDIT, &Edit { chat_jid, id: id?, content }, options).await)
        }
        Kind::Delete => none(adapter.send(&DELETE, &Delete { chat_jid, id: id? }, options).await),
        Kind::React => {
            let react = React { chat_jid, id: id?, emoji: content };
            none(adapter.send(&REACT, &react, options).await)
        }
    })
}

/// What an adapter's answer means. The second is what is wrong with the adapter, if something is.
fn judge(
    parcel: &Parcel,
    answer: Result<Sent, PeerError>,
    now: Timestamp,
) -> (Fate, Option<String>) {
    let error = match answer {
        Ok(sent) => return (Fate::Sent(sent), None),
        Err(error) => error,
    };
    let chain = kit::chain(&error);
    match &error {
        // What was answered and not understood was answered: the message may be out.
        PeerError::Unknown { .. } | PeerError::Protocol { .. } => {
            (Fate::Ambiguous(chain.clone()), Some(chain))
        }
        PeerError::Unreachable { .. } | PeerError::NoCredential { .. } => {
            (unreached(parcel, now, chain.clone()), Some(chain))
        }
        PeerError::Refused { problem, retry_after, .. } => {
            let detail = if problem.detail.is_empty() { &problem.title } else { &problem.detail };
            let why = format!("{}: {detail}", problem.code);
            let fate = match (problem.code.as_str(), problem.status) {
                ("unsupported", _) | (_, 501) => Fate::Unsupported(why),
                ("ambiguous", _) | (_, 504) => Fate::Ambiguous(why),
                ("permanent", _) => Fate::Failed(why),
                // The credential, or the adapter's state: not the message's fault.
                ("transient" | "rate_limited", _) | (_, 401 | 403 | 408 | 425 | 429) => {
                    later(parcel, now, *retry_after, why)
                }
                (_, 400..=499) => Fate::Failed(why),
                _ => later(parcel, now, *retry_after, why),
            };
            (fate, None)
        }
    }
}

/// Again later, unless it has waited long enough.
fn later(parcel: &Parcel, now: Timestamp, wait: Option<Duration>, why: String) -> Fate {
    if now.0.saturating_sub(parcel.created_at.0) > PATIENCE_MS {
        return Fate::Failed(format!("given up after a day: {why}"));
    }
    let growing = WAIT_MIN.saturating_mul(1 << parcel.attempts.min(20)).min(WAIT_MAX);
    let asked = wait.and_then(|wait| i64::try_from(wait.as_millis()).ok());
    let wait = asked.map_or(growing, |asked| asked.clamp(WAIT_MIN, outbox::WAIT_MAX));
    Fate::Later { not_before: now.plus(wait), unreached: false, why }
}

/// The same, where nobody was there to put it off.
fn unreached(parcel: &Parcel, now: Timestamp, why: String) -> Fate {
    match later(parcel, now, None, why) {
        Fate::Later { not_before, why, .. } => Fate::Later { not_before, unreached: true, why },
        other => other,
    }
}

/// Shows how much waits and how much is in doubt.
async fn show(app: &Arc<App>) -> Result<(), Fault> {
    let (pending, ambiguous) = app.db.read(pending_and_ambiguous).await?;
    let oldest = app.db.read(oldest).await?;
    app.figures.outbox_pending.set(i64::try_from(pending).unwrap_or(i64::MAX));
    app.figures.outbox_oldest.set(oldest.map_or(0, |at| at / 1_000));
    app.figures.outbox_ambiguous.set(i64::try_from(ambiguous).unwrap_or(i64::MAX));
    let trouble = (ambiguous > 0).then(|| {
        format!("{ambiguous} messages may or may not have been sent; see `arizuko trace`")
    });
    app.context.health.degraded("outbox", trouble);
    Ok(())
}

/// Since when the oldest message waits to be sent, in milliseconds since 1970.
fn oldest(conn: &rusqlite::Connection) -> rusqlite::Result<Option<i64>> {
    let first = "SELECT min(created_at) FROM outbox WHERE state IN ('pending', 'sending')";
    conn.query_row(first, [], |row| row.get(0))
}

/// How many messages wait to be sent, and of how many it is not known whether they were.
pub(crate) fn pending_and_ambiguous(conn: &rusqlite::Connection) -> rusqlite::Result<(u64, u64)> {
    let open = "SELECT count(*) FROM outbox WHERE state IN ('pending', 'sending')";
    let unknown = "SELECT count(*) FROM outbox WHERE state = 'ambiguous'";
    Ok((count(conn, open)?, count(conn, unknown)?))
}

#[cfg(test)]
mod tests;
