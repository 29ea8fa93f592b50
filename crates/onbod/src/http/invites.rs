//! Invites and gates.

use super::desk::for_everybody;
use crate::{
    admission,
    app::App,
    fault::Fault,
    folder::Template,
    reception::fresh,
    store::{cut, gates, invites, page, record},
    token::Token,
};
use kit::{Caller, Failure};
use proto::{
    Nothing,
    onbod::{
        Gate, GateState, Gates, Invite, InvitePage, IssuedInvite, NewInvite, Page, RemoveGate,
        RevokeInvite,
    },
};
use std::sync::Arc;

/// How many may come by one invite.
const USES_MAX: u32 = 10_000;
/// For how long an invite is good, in seconds: when nothing is said, at least, at most.
const WEEK: u64 = 7 * 24 * 60 * 60;
const SHORTEST: u64 = 60;
const LONGEST: u64 = 366 * 24 * 60 * 60;
/// How many a day a gate lets in at most.
const PER_DAY_MAX: u32 = 1_000_000;

/// Why a gate is none.
const NO_PATTERN: &str = "nobody could come in by that gate: `pattern` is `*` for everybody, or the whole id of one \
     person as `arizuko queue list` shows it, such as user:p0123456789abcdef01234567; ids are random, so that no \
     beginning of one stands for the accounts of a provider";

/// Makes an invite.
pub(super) async fn create(
    app: Arc<App>,
    caller: Caller,
    wanted: NewInvite,
) -> Result<IssuedInvite, Failure> {
    for_everybody(&caller)?;
    let template = match wanted.folder_template {
        Some(text) => text.parse::<Template>().map_err(|e| Failure::bad_request(e.to_string()))?,
        None => app.values.template.clone(),
    };
    let uses_max = wanted.uses.unwrap_or(1);
    if !(1..=USES_MAX).contains(&uses_max) {
        return Err(Failure::bad_request("`uses` is a number from 1 to 10000"));
    }
    let seconds = wanted.expires_in.unwrap_or(WEEK);
    if !(SHORTEST..=LONGEST).contains(&seconds) {
        return Err(Failure::bad_request("`expires_in` is from a minute to a year, in seconds"));
    }
    let (token, now) = (Token::random(), app.now());
    let id = fresh("i");
    let invite = Invite {
        id: id.parse().map_err(|_| Fault::Defect(format!("`{id}` is no id")))?,
        folder_template: template.to_string(),
        uses: 0,
        uses_max,
        made_by: caller.subject().to_string(),
        created_at: now,
        expires_at: now.plus(i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(1_000)),
        revoked_at: None,
    };
    let (kept, hash) = (invite.clone(), token.hash());
    let added = app.db.write("invite.create", move |tx| {
        invites::add(tx, &kept, &hash)?;
        let detail = format!("{}, {} uses", kept.folder_template, kept.uses_max);
        record(tx, now, &kept.made_by, "invite.create", kept.id.as_str(), &detail)
    });
    added.await.map_err(Fault::from)?;
    let path = format!("/onboard/invite/{}", token.expose());
    Ok(IssuedInvite { invite, token: token.expose().to_owned(), path })
}

/// A page of invites.
pub(super) async fn list(
    app: Arc<App>,
    caller: Caller,
    query: Page,
) -> Result<InvitePage, Failure> {
    for_everybody(&caller)?;
    let (limit, after) = (page(query.limit), query.after.unwrap_or_default());
    let rows = app.db.read(move |conn| invites::list(conn, after, limit)).await;
    let (invites, next) = cut(rows.map_err(Fault::from)?, limit);
    Ok(InvitePage { invites, next })
}

/// Ends an invite.
pub(super) async fn revoke(
    app: Arc<App>,
    caller: Caller,
    wanted: RevokeInvite,
) -> Result<Nothing, Failure> {
    for_everybody(&caller)?;
    let (now, by) = (app.now(), caller.subject().to_string());
    let revoked = app.db.try_write("invite.revoke", move |tx| {
        if invites::revoke(tx, &wanted.id, now)? {
            record(tx, now, &by, "invite.revoke", wanted.id.as_str(), "")?;
        } else if !invites::is_there(tx, &wanted.id)? {
            // A mistyped id must not look like an invite that is shut.
            return Err(Fault::NotFound(format!("there is no invite {}", wanted.id)));
        }
        Ok(Nothing {})
    });
    Ok(revoked.await?)
}

/// Opens a gate, or changes it.
pub(super) async fn set_gate(app: Arc<App>, caller: Caller, wanted: Gate) -> Result<Gate, Failure> {
    for_everybody(&caller)?;
    if !admission::is_pattern(&wanted.pattern) {
        return Err(Failure::bad_request(NO_PATTERN));
    }
    if wanted.per_day > PER_DAY_MAX {
        return Err(Failure::bad_request("`per_day` is a number from 0 to 1000000"));
    }
    let (now, by, gate) = (app.now(), caller.subject().to_string(), wanted.clone());
    let wake = app.wake.clone();
    let set = app.db.try_write("gate.set", move |tx| {
        let known = gates::list(tx, now)?;
        let is_new = !known.iter().any(|known| known.pattern == gate.pattern);
        if is_new && known.len() >= usize::try_from(gates::GATES_MAX).unwrap_or(usize::MAX) {
            let text = format!("there are {} gates, which is enough", gates::GATES_MAX);
            return Err(Fault::Conflict(text));
        }
        if gates::set(tx, &gate.pattern, gate.per_day)? {
            let detail = format!("{} a day", gate.per_day);
            record(tx, now, &by, "gate.set", &gate.pattern, &detail)?;
            wake.all(tx);
        }
        Ok(())
    });
    set.await?;
    Ok(wanted)
}

/// The gates.
pub(super) async fn gates(app: Arc<App>, caller: Caller, _: Nothing) -> Result<Gates, Failure> {
    for_everybody(&caller)?;
    let now = app.now();
    let gates = app.db.read(move |conn| gates::list(conn, now)).await.map_err(Fault::from)?;
    let shown = |gate: admission::Gate| GateState {
        pattern: gate.pattern,
        per_day: gate.per_day,
        today: gate.today,
    };
    Ok(Gates { gates: gates.into_iter().map(shown).collect() })
}

/// Closes a gate.
pub(super) async fn remove_gate(
    app: Arc<App>,
    caller: Caller,
    wanted: RemoveGate,
) -> Result<Nothing, Failure> {
    for_everybody(&caller)?;
    let (now, by) = (app.now(), caller.subject().to_string());
    let removed = app.db.try_write("gate.remove", move |tx| {
        if !gates::remove(tx, &wanted.pattern)? {
            return Err(Fault::NotFound(format!("there is no gate for `{}`", wanted.pattern)));
        }
        record(tx, now, &by, "gate.remove", &wanted.pattern, "")?;
        Ok(Nothing {})
    });
    Ok(removed.await?)
}
