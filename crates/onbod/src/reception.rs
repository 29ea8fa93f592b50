//! What is done about newcomers: each function is the whole of one transaction, and asks [`crate::admission`] what to do.

use crate::{
    admission::{self, Answer, Arrival, Effect, Known, LINK_MS, Verdict},
    fault::Fault,
    folder::Template,
    settings::Values,
    store::{
        admissions, admissions::Entry, gates, invites, links, links::Standing, notices,
        notices::Kind, people, record,
    },
    token::Hash,
    words,
};
use db::Tx;
use proto::{
    Folder, Opaque, Timestamp,
    onbod::{Admission, AdmissionState as State, Knock},
};
use rand::Rng;

/// Those who wait whom one look at the gates takes in.
const RELEASED_AT_ONCE: u32 = 100;

/// A new id: 64 random bits, so that none comes twice, in this instance or in a copy of it.
pub(crate) fn fresh(prefix: &str) -> String {
    format!("{prefix}-{:016x}", rand::rng().random::<u64>())
}

/// Somebody wrote in a chat that no route takes.
pub(crate) fn knock(
    tx: &Tx<'_>,
    values: &Values,
    knock: &Knock,
    now: Timestamp,
) -> Result<Answer, Fault> {
    let entry = admissions::of_chat(tx, &knock.chat_jid)?;
    let known = Known {
        chat: entry.as_ref().map(|entry| admissions::chat(tx, entry)).transpose()?,
        addressed: notices::to_strangers(tx, now)?,
        waiting: admissions::waiting(tx)?,
    };
    let answer = admission::on_knock(values.policy, values.limits, known, now);
    let state = match answer {
        Answer::Silence(_) => return Ok(answer),
        Answer::Greet => State::Greeted,
        Answer::Queue => State::Waiting,
    };
    let id = match &entry {
        Some(entry) => entry.shown.id.to_string(),
        None => {
            let id = fresh("a");
            admissions::add_chat(tx, &id, knock, state, now)?;
            id
        }
    };
    if answer == Answer::Greet {
        say(tx, &id, Kind::Greeting, true, &values.greeting, now)?;
    } else {
        let entry = the_one(tx, &id)?;
        let line = words::queued(&values.assistant, entry.shown.position.unwrap_or(1));
        say(tx, &id, Kind::Line, true, &line, now)?;
    }
    Ok(answer)
}

/// What became of somebody who used a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Arrived {
    /// They come in, or wait, or were refused before: the page that shows how things stand says which.
    Taken,
    /// Somebody else used the link.
    Spent,
    /// Its time is over, or it never was.
    Gone,
    /// The queue is full: the link is as good as before.
    Full,
}

/// Somebody who logged in uses a pairing link. The link is spent and the chat is theirs, or neither.
pub(crate) fn arrive(
    tx: &Tx<'_>,
    values: &Values,
    hash: &Hash,
    subject: &str,
    now: Timestamp,
) -> Result<Arrived, Fault> {
    let id = match links::standing(tx, hash, now)? {
        Standing::Open(id) => id,
        Standing::Spent(by) if by == subject => return Ok(Arrived::Taken),
        Standing::Spent(_) => return Ok(Arrived::Spent),
        Standing::Gone => return Ok(Arrived::Gone),
    };
    let entry = the_one(tx, id.as_str())?;
    if entry.shown.state != State::Greeted || entry.shown.subject.is_some() {
        return Ok(Arrived::Gone);
    }
    let gates = gates::list(tx, now)?;
    let arrival = Arrival {
        approved: entry.approved,
        is_known: admissions::folder_of(tx, subject)?.is_some(),
        was_refused: admissions::was_refused(tx, subject)?,
        gate: admission::open_gate(&gates, subject),
        waiting: admissions::waiting(tx)?,
        queue_max: values.limits.queue_max,
    };
    let verdict = admission::on_arrival(arrival);
    if verdict == Verdict::Full {
        return Ok(Arrived::Full);
    }
    if !links::spend(tx, hash, subject, now)? || !admissions::claim(tx, &id, subject)? {
        return Err(Fault::Conflict(format!("the admission {id} was taken at the same time")));
    }
    links::end(tx, &id)?;
    let chat = entry.shown.chat_jid.as_ref().map_or("-", |chat| chat.as_str());
    record(tx, now, subject, "chat.pair", chat, id.as_str())?;
    match verdict {
        Verdict::Admit(gate) => let_in(tx, values, &entry, subject, gate.as_deref(), now)?,
        Verdict::Wait => {
            move_on(tx, &entry, State::Waiting, now)?;
            let position = the_one(tx, id.as_str())?.shown.position.unwrap_or(1);
            let line = words::queued(&values.assistant, position);
            say(tx, id.as_str(), Kind::Line, false, &line, now)?;
        }
        // They were told why the first time.
        Verdict::Refuse | Verdict::Full => move_on(tx, &entry, State::Refused, now)?,
    }
    Ok(Arrived::Taken)
}

/// Somebody who logged in uses an invite.
pub(crate) fn redeem(
    tx: &Tx<'_>,
    values: &Values,
    hash: &Hash,
    subject: &str,
    now: Timestamp,
) -> Result<Arrived, Fault> {
    // Who has a folder, or was refused, uses nothing up.
    let settled = admissions::folder_of(tx, subject)?.is_some();
    if settled || admissions::was_refused(tx, subject)? {
        return Ok(Arrived::Taken);
    }
    let Some(invite) = invites::open(tx, hash, now)? else { return Ok(Arrived::Gone) };
    if !invites::take(tx, &invite.id, now)? {
        return Ok(Arrived::Gone);
    }
    let by = format!("invite {}", invite.id);
    record(tx, now, subject, "invite.use", invite.id.as_str(), &invite.folder_template)?;
    let waits = |entry: &&Entry| entry.shown.state == State::Waiting;
    let of_them = admissions::of_subject(tx, subject)?;
    match of_them.iter().find(waits) {
        Some(entry) => {
            admissions::set_template(tx, &entry.shown.id, &invite.folder_template)?;
            admissions::decide(tx, &entry.shown.id, true, &by, None, now)?;
            let entry = the_one(tx, entry.shown.id.as_str())?;
            let_in(tx, values, &entry, subject, None, now)?;
        }
        None => {
            let folder = folder(&invite.folder_template, subject)?;
            let guest = admissions::Guest {
                subject,
                template: &invite.folder_template,
                folder: &folder,
                decided_by: &by,
            };
            admissions::add_guest(tx, &fresh("a"), guest, now)?;
        }
    }
    Ok(Arrived::Taken)
}

/// An operator lets somebody in.
pub(crate) fn approve(
    tx: &Tx<'_>,
    values: &Values,
    id: &Opaque,
    note: Option<&str>,
    by: &str,
    now: Timestamp,
) -> Result<Admission, Fault> {
    let entry = the_one(tx, id.as_str())?;
    let subject = entry.shown.subject.clone();
    let effect = admission::on_approval(entry.shown.state, subject.is_some(), entry.approved);
    if effect == Effect::Nothing {
        return Ok(entry.shown);
    }
    admissions::decide(tx, id, true, by, note, now)?;
    match (effect, &subject) {
        (Effect::Admit, Some(subject)) => let_in(tx, values, &entry, subject, None, now)?,
        (Effect::Greet, _) => {
            move_on(tx, &entry, State::Greeted, now)?;
            greet_approved(tx, values, id, note, now)?;
        }
        // The link that the chat has will do, unless its time is over.
        _ if admissions::chat(tx, &entry)?.greeted_at.plus(LINK_MS) <= now => {
            greet_approved(tx, values, id, note, now)?;
        }
        _ => {}
    }
    record(tx, now, by, "newcomer.approve", id.as_str(), &whom(&entry))?;
    Ok(the_one(tx, id.as_str())?.shown)
}

fn greet_approved(
    tx: &Tx<'_>,
    values: &Values,
    id: &Opaque,
    note: Option<&str>,
    now: Timestamp,
) -> Result<(), Fault> {
    let line = words::approved(&values.assistant, note);
    say(tx, id.as_str(), Kind::Greeting, false, &line, now)
}

/// An operator refuses somebody.
pub(crate) fn refuse(
    tx: &Tx<'_>,
    id: &Opaque,
    note: Option<&str>,
    by: &str,
    now: Timestamp,
) -> Result<Admission, Fault> {
    let entry = the_one(tx, id.as_str())?;
    match admission::on_refusal(entry.shown.state) {
        Effect::Refuse => {}
        Effect::TooLate => {
            let text = format!(
                "{id} was let in; take the folder out of service with `arizuko group rm` instead"
            );
            return Err(Fault::Conflict(text));
        }
        _ => return Ok(entry.shown),
    }
    admissions::decide(tx, id, false, by, note, now)?;
    move_on(tx, &entry, State::Refused, now)?;
    links::end(tx, id)?;
    // Who was only greeted waits for nothing, and hears of it where there is something to say.
    if entry.shown.chat_jid.is_some() && (entry.shown.state == State::Waiting || note.is_some()) {
        say(tx, id.as_str(), Kind::Line, false, &words::refused(note), now)?;
    }
    record(tx, now, by, "newcomer.refuse", id.as_str(), &whom(&entry))?;
    Ok(the_one(tx, id.as_str())?.shown)
}

/// Lets those in who wait and whose gate is open today, in the queue's order. How many.
pub(crate) fn release(tx: &Tx<'_>, values: &Values, now: Timestamp) -> Result<u32, Fault> {
    let mut gates = gates::list(tx, now)?;
    if gates.iter().all(|gate| gate.today >= gate.per_day) {
        return Ok(0);
    }
    let mut released = 0;
    for entry in admissions::waiting_people(tx, values.limits.queue_max)? {
        let Some(subject) = entry.shown.subject.clone() else { continue };
        let Some(open) = admission::open_gate(&gates, &subject).map(str::to_owned) else {
            continue;
        };
        let_in(tx, values, &entry, &subject, Some(&open), now)?;
        for gate in gates.iter_mut().filter(|gate| gate.pattern == open) {
            gate.today += 1;
        }
        released += 1;
        if released == RELEASED_AT_ONCE {
            break;
        }
    }
    Ok(released)
}

/// routd has made the folder, the right and the route.
pub(crate) fn finish(
    tx: &Tx<'_>,
    values: &Values,
    entry: &Entry,
    now: Timestamp,
) -> Result<(), Fault> {
    let (Some(subject), Some(folder)) = (&entry.shown.subject, &entry.shown.folder) else {
        return Err(Fault::Defect(format!("{} has no person or no folder", entry.shown.id)));
    };
    if !admissions::move_on(tx, entry, State::Admitted, now)? {
        return Ok(());
    }
    people::add(tx, subject, folder, now)?;
    if entry.shown.chat_jid.is_some() {
        let line = words::welcome(&values.assistant, entry.shown.note.as_deref());
        say(tx, entry.shown.id.as_str(), Kind::Line, false, &line, now)?;
    }
    let by = entry.shown.decided_by.as_deref().unwrap_or("being known");
    record(tx, now, subject, "newcomer.admit", folder.as_str(), &format!("by {by}"))?;
    Ok(())
}

/// From here on it is to be carried out.
fn let_in(
    tx: &Tx<'_>,
    values: &Values,
    entry: &Entry,
    subject: &str,
    gate: Option<&str>,
    now: Timestamp,
) -> Result<(), Fault> {
    let own = match admissions::folder_of(tx, subject)? {
        Some(folder) => folder,
        None => match &entry.template {
            Some(template) => folder(template, subject)?,
            None => folder_in(&values.template, subject)?,
        },
    };
    admissions::set_folder(tx, &entry.shown.id, &own)?;
    if let Some(gate) = gate {
        admissions::pass_gate(tx, &entry.shown.id, gate, now)?;
    }
    move_on(tx, entry, State::Admitting, now)
}

fn folder(template: &str, subject: &str) -> Result<Folder, Fault> {
    let template: Template =
        template.parse().map_err(|_| Fault::Defect(format!("`{template}` is no template")))?;
    folder_in(&template, subject)
}

fn folder_in(template: &Template, subject: &str) -> Result<Folder, Fault> {
    template.folder(subject).map_err(|error| Fault::Defect(error.to_string()))
}

fn move_on(tx: &Tx<'_>, from: &Entry, to: State, now: Timestamp) -> Result<(), Fault> {
    if admissions::move_on(tx, from, to, now)? {
        return Ok(());
    }
    Err(Fault::Conflict(format!("{} has changed in the meantime", from.shown.id)))
}

fn say(
    tx: &Tx<'_>,
    admission: &str,
    kind: Kind,
    to_stranger: bool,
    text: &str,
    now: Timestamp,
) -> Result<(), Fault> {
    let id = fresh("s");
    Ok(notices::add(tx, notices::New { id: &id, admission, kind, to_stranger, text }, now)?)
}

fn the_one(tx: &Tx<'_>, id: &str) -> Result<Entry, Fault> {
    admissions::get(tx, id)?
        .ok_or_else(|| Fault::NotFound(format!("there is no {id}; see `arizuko queue list`")))
}

fn whom(entry: &Entry) -> String {
    let chat = entry.shown.chat_jid.as_ref().map_or("-", |chat| chat.as_str());
    format!("{chat} {}", entry.shown.subject.as_deref().unwrap_or("(not logged in)"))
}
