//! Knocks, the queue, people, and the audit log.

use crate::{
    admission::Answer,
    app::App,
    fault::Fault,
    figures::KnockLabels,
    reception,
    store::{admissions, cut, page, people},
};
use kit::{Caller, Failure};
use proto::{
    Nothing,
    onbod::{
        Admission, AdmissionPage, Decide, GetAdmission, Knock, ListAdmissions, Page, PeoplePage,
    },
    routd::{AuditPage, AuditQuery},
};
use std::sync::Arc;

/// Bytes of a sender's address and name, and of how a message begins.
const SENDER_MAX: usize = 256;
const EXCERPT_MAX: usize = 4 * 280;
/// Characters of a note.
const NOTE_MAX: usize = 500;

/// Somebody wrote in a chat that no route takes.
pub(super) async fn knock(
    app: Arc<App>,
    _caller: Caller,
    knock: Knock,
) -> Result<Nothing, Failure> {
    let name = knock.sender_name.as_deref().unwrap_or_default();
    let fits = knock.sender.len() <= SENDER_MAX && name.len() <= SENDER_MAX;
    if !fits || knock.excerpt.len() > EXCERPT_MAX {
        return Err(Failure::bad_request("`sender`, `sender_name` or `excerpt` is too long"));
    }
    let (shared, now) = (app.clone(), app.now());
    let answered = app.db.try_write("knock", move |tx| {
        let answer = reception::knock(tx, &shared.values, &knock, now)?;
        if !matches!(answer, Answer::Silence(_)) {
            shared.wake.all(tx);
        }
        Ok::<_, Fault>(answer)
    });
    let answer = match answered.await? {
        Answer::Silence(why) => why.name(),
        Answer::Greet => "greeted",
        Answer::Queue => "queued",
    };
    app.figures.knocks.get_or_create(&KnockLabels { answer }).inc();
    Ok(Nothing {})
}

/// A page of admissions.
pub(super) async fn list(
    app: Arc<App>,
    caller: Caller,
    query: ListAdmissions,
) -> Result<AdmissionPage, Failure> {
    for_everybody(&caller)?;
    let (limit, after) = (page(query.limit), query.after.unwrap_or_default());
    let found = app.db.read(move |conn| {
        let rows = admissions::list(conn, query.state, after, limit)?;
        Ok((cut(rows, limit), admissions::waiting(conn)?))
    });
    let ((admissions, next), waiting) = found.await.map_err(Fault::from)?;
    Ok(AdmissionPage { admissions, next, waiting: waiting.into() })
}

/// One admission.
pub(super) async fn get(
    app: Arc<App>,
    caller: Caller,
    wanted: GetAdmission,
) -> Result<Admission, Failure> {
    for_everybody(&caller)?;
    let id = wanted.id.clone();
    let found = app.db.read(move |conn| admissions::get(conn, id.as_str())).await;
    let entry = found.map_err(Fault::from)?;
    entry.map(|entry| entry.shown).ok_or_else(|| {
        Failure::not_found(format!("there is no {}; see `arizuko queue list`", wanted.id))
    })
}

/// Lets somebody in.
pub(super) async fn approve(
    app: Arc<App>,
    caller: Caller,
    wanted: Decide,
) -> Result<Admission, Failure> {
    for_everybody(&caller)?;
    let note = note(wanted.note)?;
    let (shared, now, by) = (app.clone(), app.now(), caller.subject().to_string());
    let approved = app.db.try_write("approve", move |tx| {
        shared.wake.all(tx);
        reception::approve(tx, &shared.values, &wanted.id, note.as_deref(), &by, now)
    });
    Ok(approved.await?)
}

/// Refuses somebody.
pub(super) async fn refuse(
    app: Arc<App>,
    caller: Caller,
    wanted: Decide,
) -> Result<Admission, Failure> {
    for_everybody(&caller)?;
    let note = note(wanted.note)?;
    let (shared, now, by) = (app.clone(), app.now(), caller.subject().to_string());
    let refused = app.db.try_write("refuse", move |tx| {
        shared.wake.all(tx);
        reception::refuse(tx, &wanted.id, note.as_deref(), &by, now)
    });
    Ok(refused.await?)
}

/// A page of people.
pub(super) async fn people(
    app: Arc<App>,
    caller: Caller,
    query: Page,
) -> Result<PeoplePage, Failure> {
    for_everybody(&caller)?;
    let (limit, after) = (page(query.limit), query.after.unwrap_or_default());
    let rows = app.db.read(move |conn| people::list(conn, after, limit)).await;
    let (people, next) = cut(rows.map_err(Fault::from)?, limit);
    Ok(PeoplePage { people, next })
}

/// What was done.
pub(super) async fn audit(
    app: Arc<App>,
    caller: Caller,
    query: AuditQuery,
) -> Result<AuditPage, Failure> {
    for_everybody(&caller)?;
    let AuditQuery { before, limit } = query;
    let page = app.db.read(move |conn| db::audit::page(conn, before, limit));
    Ok(page.await.map_err(Fault::from)?)
}

/// Newcomers belong to no folder yet: a token that is limited to one sees none of them.
pub(super) fn for_everybody(caller: &Caller) -> Result<(), Failure> {
    if caller.reaches_all() {
        return Ok(());
    }
    Err(Failure::forbidden("newcomers belong to no folder, and this token is limited to one"))
}

/// A line for somebody: one paragraph of plain text.
fn note(note: Option<String>) -> Result<Option<String>, Failure> {
    let Some(note) = note else { return Ok(None) };
    let note = note.trim();
    let plain = |c: char| !c.is_control();
    if note.is_empty() || note.chars().count() > NOTE_MAX || !note.chars().all(plain) {
        let text = "`note` has 1 to 500 characters on one line";
        return Err(Failure::bad_request(text));
    }
    Ok(Some(note.to_owned()))
}
