//! A message comes in: checked, routed and committed with its turn in one transaction, then acknowledged.

use crate::{
    adapters::{self, Voice},
    app::App,
    approval::{self, Command, Verdict},
    approving::{self, By},
    fault::Fault,
    figures::MessageLabels,
    origin::Origin,
    record::record,
    route::{self, Decision, Effect, Facts, Query},
    say::{self, CONTENT_MAX, SYSTEM, Saying},
    steer::{self, Steer},
    store::{acl, approvals, context, feed, groups, messages, newcomers, routes, trace, turns},
    wake::Wake,
};
use auth::{Caller, Principal};
use db::Tx;
use kit::{Fact, Span};
use proto::{
    Address, Folder, Jid, Timestamp, Topic,
    routd::{MessageAck, NewMessage},
};
use rusqlite::Connection;
use std::sync::Arc;

/// Bytes of a sender's address and name.
const SENDER_MAX: usize = 256;
/// Attachments of one message, and bytes of the parts of one.
const ATTACHMENTS_MAX: usize = 32;
const FILENAME_MAX: usize = 255;
const URL_MAX: usize = 2_048;
/// The last moment that RFC 3339 can write, in milliseconds.
const LAST_TIME: i64 = 253_402_300_799_999;

/// The kind of a message that says nothing else.
pub(crate) const MESSAGE: &str = "message";
/// The kind of a message that was meant for the agent.
const MENTION: &str = "mention";

/// Commits one message.
pub(crate) async fn ingest(
    app: &Arc<App>,
    caller: &Caller,
    mut message: NewMessage,
) -> Result<MessageAck, Fault> {
    let voice = Voice::of(caller, || app.channel.with_own_secret())
        .ok_or_else(|| Fault::Forbidden("this credential delivers no messages".into()))?;
    speak_as(&voice, caller, &mut message)?;
    check(&message)?;
    let (id, jid) = (message.id.clone(), message.chat_jid.clone());
    let span = Span::current();
    span.say(Fact::Message(id.to_string()));
    let from = Source {
        origin: Origin::of(&voice, &jid),
        writer: approval::writer(&voice, &jid, &message.sender),
        span: span.traceparent(),
    };
    let (wake, now) = (app.wake.clone(), app.now());
    let commit = move |tx: &Tx<'_>| {
        if let Some(seq) = messages::place(tx, &message.chat_jid, &message.id)? {
            return Ok::<_, Fault>((seq, None));
        }
        let (seq, effect) = commit(tx, &wake, &message, &from, now)?;
        wake.chat(tx, message.chat_jid.as_str());
        if effect == Effect::Turn {
            wake.turns(tx);
        }
        Ok((seq, Some(effect)))
    };
    let (seq, effect) = app.db.try_write("message", commit).await?;
    if let Some(effect) = effect {
        let labels = MessageLabels { platform: platform_label(&jid), effect: effect.name() };
        app.figures.messages.get_or_create(&labels).inc();
    }
    Ok(MessageAck { id, seq, duplicate: effect.is_none() })
}

/// Refuses a caller who speaks for what is not its own, and gives operators and people their own names.
fn speak_as(voice: &Voice, caller: &Caller, message: &mut NewMessage) -> Result<(), Fault> {
    voice.require(caller, message.chat_jid.platform())?;
    if let Address::Web(folder) | Address::Hook(folder, _) = message.chat_jid.address()
        && !caller.reaches(&folder)
    {
        return Err(Fault::Forbidden(format!("this token does not reach the folder {folder}")));
    }
    if matches!(voice, Voice::Operator | Voice::Person) {
        message.sender = caller.subject().to_string();
    } else if !voice.may_name(&message.sender) {
        let sender: String = message.sender.chars().take(80).collect();
        return Err(Fault::Forbidden(format!(
            "{} may not say that `{sender}` wrote: that name is reserved, or another adapter's",
            caller.subject()
        )));
    }
    Ok(())
}

/// The limits of a message, as its type documents them.
fn check(message: &NewMessage) -> Result<(), Fault> {
    let no = |text: &str| Err(Fault::Invalid(text.to_owned()));
    let bare = |text: &str| !text.chars().any(char::is_control);
    if message.sender.is_empty() || message.sender.len() > SENDER_MAX || !bare(&message.sender) {
        return no("`sender` has 1 to 256 bytes and no control characters");
    }
    if message.sender_name.as_ref().is_some_and(|n| n.len() > SENDER_MAX || !bare(n)) {
        return no("`sender_name` has at most 256 bytes and no control characters");
    }
    let empty = message.content.trim().is_empty() && message.attachments.is_empty();
    if empty || message.content.len() > CONTENT_MAX {
        return no(
            "`content` has 1 to 262,144 bytes, and not only spaces; with files it may be empty",
        );
    }
    if message.timestamp.is_some_and(|at| !(0..=LAST_TIME).contains(&at.0)) {
        return no("`timestamp` lies between the years 1970 and 9999");
    }
    let word = |verb: &String| {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-';
        (1..=32).contains(&verb.len()) && verb.chars().all(plain)
    };
    if !message.verb.as_ref().is_none_or(word) {
        return no("`verb` is a word such as `message` or `mention`");
    }
    if message.attachments.len() > ATTACHMENTS_MAX {
        return no("a message has at most 32 attachments");
    }
    let fits = |file: &proto::routd::Attachment| {
        (1..=FILENAME_MAX).contains(&file.filename.len())
            && file.mime.len() <= FILENAME_MAX
            && bare(&file.filename)
            && bare(&file.mime)
            && file.url.as_ref().is_none_or(|url| url.len() <= URL_MAX)
    };
    if !message.attachments.iter().all(fits) {
        return no("an attachment has a `filename`, a `mime` and a `url` of sensible lengths");
    }
    Ok(())
}

/// What is known of where a message comes from, apart from what it says itself.
struct Source {
    origin: Origin,
    /// The person who wrote it, as the ACL knows them, where the voice vouches for one.
    writer: Option<Principal>,
    /// What its arrival is told of as, so that the turn goes on from there.
    span: Option<String>,
}

fn commit(
    tx: &Tx<'_>,
    wake: &Wake,
    message: &NewMessage,
    from: &Source,
    now: Timestamp,
) -> Result<(i64, Effect), Fault> {
    let origin = from.origin;
    let thread = message.topic.clone().unwrap_or_default();
    let facts = facts(tx, &message.chat_jid, &thread, &message.sender, now, message)?;
    let verb = verb(message, &facts);
    let query = Query { jid: &message.chat_jid, sender: &message.sender, verb, thread: &thread };
    let steered = match decided(tx, wake, &query, &facts, message, from, now)? {
        Some(decided) => Some(decided),
        None => steer(tx, &query, &facts, message, now)?,
    };
    let (decision, line) = match steered {
        Some((decision, line)) => (decision, Some(line)),
        None => {
            let decided = route::decide(&query, &facts, |folder| groups::in_service(tx, folder))?;
            (with_folder(tx, decided, &message.sender, now)?, None)
        }
    };
    let turn_id = match (&decision.effect, &decision.folder) {
        (Effect::Turn, Some(folder)) => {
            let asked = turns::Asked {
                folder,
                topic: &decision.topic,
                chat_jid: &message.chat_jid,
                thread: &thread,
                sender: &message.sender,
                per_person: decision.per_person,
                bytes: message.content.len(),
            };
            let (turn_id, is_new) = turns::join_or_add(tx, &asked, now)?;
            if let (Some(span), true) = (&from.span, is_new) {
                trace::go_on_from(tx, &turn_id, span, now)?;
            }
            Some(turn_id)
        }
        _ => None,
    };
    let row = messages::Inbound {
        id: &message.id,
        chat_jid: &message.chat_jid,
        sender: &message.sender,
        sender_name: message.sender_name.as_deref(),
        content: &message.content,
        verb,
        thread: &thread,
        topic: &decision.topic,
        folder: decision.folder.as_ref(),
        disposition: match decision.effect {
            Effect::Turn => "turn",
            Effect::Observe => "observed",
            Effect::Unrouted => "unrouted",
        },
        turn_id: turn_id.as_deref(),
        reply_to: message.reply_to.as_ref(),
        is_group: message.is_group,
        attachments: &message.attachments,
        sent_at: message.timestamp.unwrap_or(now),
        rule: &decision.rule,
        origin,
        delegation: None,
    };
    let seq = messages::add(tx, &row, now)?;
    knock(tx, wake, message, seq, decision.is_of_a_stranger() && origin == Origin::Person)?;
    feed::message(tx, &message.chat_jid, &decision.topic, seq, now)?;
    if let Some(line) = line {
        answer(tx, wake, message, &decision, &line, now)?;
    }
    Ok((seq, decision.effect))
}

/// Answers a message with a line of the suite's own.
fn answer(
    tx: &Tx<'_>,
    wake: &Wake,
    message: &NewMessage,
    decision: &Decision,
    line: &str,
    now: Timestamp,
) -> Result<(), Fault> {
    let Some(folder) = &decision.folder else { return Ok(()) };
    let thread = message.topic.clone().unwrap_or_default();
    let saying = Saying {
        sender: SYSTEM,
        content: line,
        attachments: &[],
        chat: &message.chat_jid,
        thread: &thread,
        topic: &decision.topic,
        folder,
        reply_to: Some(message.id.as_str()),
        turn_id: None,
        for_sender: None,
    };
    say::say(tx, wake, &saying, now)?;
    Ok(())
}

/// Has onbod told of a stranger's message. Of a group, nobody could say who of it may pair it.
fn knock(
    tx: &Tx<'_>,
    wake: &Wake,
    message: &NewMessage,
    seq: i64,
    is_a_strangers: bool,
) -> rusqlite::Result<()> {
    if is_a_strangers && !message.is_group {
        newcomers::knock(tx, &message.chat_jid, seq)?;
        wake.knocks(tx);
    }
    Ok(())
}

/// What kind of message it is: answering the agent is addressing it.
fn verb<'a>(message: &'a NewMessage, facts: &Facts) -> &'a str {
    match message.verb.as_deref() {
        None | Some(MESSAGE) if facts.replied.is_some() => MENTION,
        None => MESSAGE,
        Some(verb) => verb,
    }
}

/// Decides on a call that is held, where that is what the message says; with the line that answers it. Only in the chat
/// in which the call was made, and only what a person wrote there.
fn decided(
    tx: &Tx<'_>,
    wake: &Wake,
    query: &Query<'_>,
    facts: &Facts,
    message: &NewMessage,
    from: &Source,
    now: Timestamp,
) -> Result<Option<(Decision, String)>, Fault> {
    let is_written = matches!(query.verb, MESSAGE | MENTION) && message.attachments.is_empty();
    if from.origin != Origin::Person || !is_written {
        return Ok(None);
    }
    let Some(Command { verdict, id, reason }) = approval::command(&message.content) else {
        return Ok(None);
    };
    let held = approvals::get(tx, &id)?.filter(|held| held.chat_jid == *query.jid);
    let Some(held) = held else { return Ok(None) };
    let may = match &from.writer {
        Some(writer) => acl::load(tx)?.may_approve(writer, &held.folder).allowed,
        None => false,
    };
    let line = match verdict {
        _ if !may => {
            let detail = format!("{}, in {}", message.sender, query.jid);
            record(tx, now, "service:routd", "approval.refuse", &id, &detail)?;
            format!("You may not decide on {id}.")
        }
        Verdict::Approve if !approval::fits(&held.arguments) => format!(
            "{id} is too long to be shown here, and nobody approves what they have not seen: use the dashboard, or \
             `arizuko approval show {id}`."
        ),
        verdict => {
            let who = from.writer.as_ref().map(Principal::to_string).unwrap_or_default();
            let by = By { who: &who, reason: reason.as_deref() };
            match approving::decide(tx, wake, &held, verdict, by, now) {
                Ok(held) => format!("{id}: {}.", approving::standing(&held)),
                Err(Fault::Conflict(why)) => format!("{why}."),
                Err(fault) => return Err(fault),
            }
        }
    };
    let base = route::decide(query, facts, |folder| groups::in_service(tx, folder))?;
    let rule = "a decision on a held call".to_owned();
    let (effect, folder) = (Effect::Observe, Some(held.folder));
    Ok(Some((Decision { effect, folder, rule, made_below: None, ..base }, line)))
}

/// Pins the chat to a folder, or lets it go, where that is what the message says; with the line that answers it.
fn steer(
    tx: &Tx<'_>,
    query: &Query<'_>,
    facts: &Facts,
    message: &NewMessage,
    now: Timestamp,
) -> Result<Option<(Decision, String)>, Fault> {
    if !matches!(query.jid.address(), Address::Platform) || !message.content.contains('@') {
        return Ok(None);
    }
    let table = Facts { rules: facts.rules.clone(), ..Facts::default() };
    let base = route::decide(query, &table, |folder| groups::in_service(tx, folder))?;
    // A person's own folder is that person's; a pin would lead the whole chat there.
    let Some(folder) = base.folder.as_ref().filter(|_| !base.per_person) else { return Ok(None) };
    let (pinned, line) = match steer::read(&message.content, folder) {
        None => return Ok(None),
        Some(Steer::Unpin) if facts.pinned.is_none() => return Ok(None),
        Some(Steer::Unpin) => (None, "This chat goes by its routes again.".to_owned()),
        Some(Steer::Pin(folders)) => {
            let mut there = None;
            for folder in folders {
                if there.is_none() && groups::in_service(tx, &folder)? {
                    there = Some(folder);
                }
            }
            let Some(folder) = there else { return Ok(None) };
            let line = format!("This chat goes to {folder} now. Send `@` alone to undo that.");
            (Some(folder), line)
        }
    };
    context::pin(tx, query.jid, pinned.as_ref(), now)?;
    let place = pinned.as_ref().map_or("-", Folder::as_str);
    let detail = format!("{place}, by {}", message.sender);
    record(tx, now, "service:routd", "chat.pin", query.jid.as_str(), &detail)?;
    let rule = "steering".to_owned();
    Ok(Some((Decision { effect: Effect::Observe, rule, made_below: None, ..base }, line)))
}

/// Makes a person's folder where the decision asks for one. One that an operator removed stays removed.
fn with_folder(
    tx: &Tx<'_>,
    decision: Decision,
    sender: &str,
    now: Timestamp,
) -> Result<Decision, Fault> {
    let (Some(base), Some(folder)) = (&decision.made_below, &decision.folder) else {
        return Ok(decision);
    };
    if groups::add_below(tx, folder, base, now)? {
        record(tx, now, "service:routd", "group.add", folder.as_str(), &format!("for {sender}"))?;
    }
    if groups::in_service(tx, folder)? {
        return Ok(decision);
    }
    let rule = format!("{}; the folder {folder} is not in service", decision.rule);
    Ok(Decision { effect: Effect::Unrouted, folder: None, per_person: false, rule, ..decision })
}

fn facts(
    conn: &Connection,
    jid: &Jid,
    thread: &Topic,
    sender: &str,
    now: Timestamp,
    message: &NewMessage,
) -> Result<Facts, Fault> {
    let reply_to = message.reply_to.as_ref();
    let replied = reply_to.map(|id| messages::said_as(conn, jid, id)).transpose()?.flatten();
    Ok(Facts { replied, ..standing_facts(conn, jid, thread, sender, now)? })
}

/// What is known of a chat before a message of it is seen.
fn standing_facts(
    conn: &Connection,
    jid: &Jid,
    thread: &Topic,
    sender: &str,
    now: Timestamp,
) -> Result<Facts, Fault> {
    if !matches!(jid.address(), Address::Platform) {
        return Ok(Facts::default());
    }
    Ok(Facts {
        engaged: context::engaged(conn, jid, thread, sender, now)?,
        replied: None,
        pinned: context::pinned(conn, jid)?,
        rules: routes::rules_of(conn, jid)?,
    })
}

/// What would happen with a message of this kind now. Changes nothing.
pub(crate) fn explain(
    conn: &Connection,
    jid: &Jid,
    sender: &str,
    verb: &str,
    now: Timestamp,
) -> Result<Decision, Fault> {
    let thread = Topic::default();
    let mut facts = standing_facts(conn, jid, &thread, sender, now)?;
    // Also those of other chats: whoever asks may have mistyped the chat of one.
    facts.rules = routes::rules(conn)?;
    let query = Query { jid, sender, verb, thread: &thread };
    let mut decision = route::decide(&query, &facts, |folder| groups::in_service(conn, folder))?;
    if let (Some(_), Some(folder)) = (&decision.made_below, &decision.folder) {
        let step = match known(conn, folder)? {
            None => format!("the folder {folder} will be made"),
            Some(true) => format!("the folder {folder} is there"),
            Some(false) => {
                decision.effect = Effect::Unrouted;
                format!("the folder {folder} was removed from service")
            }
        };
        decision.steps.push(step);
        if decision.effect == Effect::Unrouted {
            decision.folder = None;
        }
    }
    Ok(decision)
}

/// Every folder that a message of this chat may go to now, whoever sends it.
pub(crate) fn standing(conn: &Connection, jid: &Jid, now: Timestamp) -> Result<Vec<Folder>, Fault> {
    let mut folders = context::engaged_folders(conn, jid, now)?;
    folders.extend(context::pinned(conn, jid)?);
    folders.extend(messages::folders_of_chat(conn, jid)?);
    for rule in routes::rules_of(conn, jid)? {
        if rule.pattern.may_hold(jid.as_str()) {
            folders.push(rule.target.base().clone());
            // What is tried after a row that takes all of the chat takes nothing of it.
            if rule.pattern.is_of_chat_alone() {
                break;
            }
        }
    }
    folders.sort();
    folders.dedup();
    Ok(folders)
}

/// Whether a folder is in service; `None` where it never was.
pub(crate) fn known(conn: &Connection, folder: &Folder) -> Result<Option<bool>, Fault> {
    let sql = "SELECT 1 FROM groups WHERE folder = ?1";
    if !crate::store::exists(conn, sql, [folder.as_str()])? {
        return Ok(None);
    }
    Ok(Some(groups::in_service(conn, folder)?))
}

/// Platforms that no adapter of the suite serves are counted as one, so that nobody makes labels without end.
pub(crate) fn platform_label(jid: &Jid) -> String {
    let known = adapters::of_platform(jid.platform()).is_some();
    if known { jid.platform().to_owned() } else { "other".to_owned() }
}
