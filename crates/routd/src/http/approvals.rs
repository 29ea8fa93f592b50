//! Calls that are held until a person decides. Who may decide is asked of the ACL, in the transaction of the decision.

use super::page;
use crate::{
    app::App,
    approval::Verdict,
    approving::{self, By},
    fault::Fault,
    store::{acl, approvals as rows},
};
use auth::{Acl, Kind};
use kit::{Caller, Failure};
use proto::{
    Folder,
    routd::{Approval, Approvals, Decide, ListApprovals, OneApproval, REASON_MAX},
};
use std::sync::Arc;

/// Bytes of arguments that a list shows of each.
const LISTED_MAX: usize = 2_000;

/// The held calls that the caller may see.
pub(super) async fn list(
    app: Arc<App>,
    caller: Caller,
    asked: ListApprovals,
) -> Result<Approvals, Failure> {
    let limit = page(asked.limit);
    let found = app.db.try_read(move |conn| {
        let ListApprovals { folder, state, before, .. } = asked;
        let acl = acl::load(conn)?;
        let rows = rows::list(conn, folder.as_ref(), state, before, limit)?;
        let whole = usize::try_from(limit).is_ok_and(|limit| rows.len() == limit);
        let next = rows.last().filter(|_| whole).map(|(seq, _)| *seq);
        let seen = rows.into_iter().map(|(_, held)| held);
        let seen = seen.filter(|held| may_see(&caller, &acl, &held.folder)).map(listed);
        Ok::<_, Fault>(Approvals { approvals: seen.collect(), next })
    });
    Ok(found.await?)
}

/// One of them, whole.
pub(super) async fn get(
    app: Arc<App>,
    caller: Caller,
    OneApproval { id }: OneApproval,
) -> Result<Approval, Failure> {
    let found = app.db.try_read(move |conn| {
        let acl = acl::load(conn)?;
        let held = rows::get(conn, id.as_str())?;
        let held = held.filter(|held| may_see(&caller, &acl, &held.folder));
        held.ok_or_else(|| Fault::NotFound(format!("there is no held call {id}")))
    });
    Ok(found.await?)
}

/// Approves one.
pub(super) async fn approve(
    app: Arc<App>,
    caller: Caller,
    asked: Decide,
) -> Result<Approval, Failure> {
    decide(app, caller, asked, Verdict::Approve).await
}

/// Denies one.
pub(super) async fn deny(
    app: Arc<App>,
    caller: Caller,
    asked: Decide,
) -> Result<Approval, Failure> {
    decide(app, caller, asked, Verdict::Deny).await
}

async fn decide(
    app: Arc<App>,
    caller: Caller,
    Decide { id, reason }: Decide,
    verdict: Verdict,
) -> Result<Approval, Failure> {
    let reason = reason.map(|reason| reason.trim().to_owned()).filter(|text| !text.is_empty());
    if reason.as_ref().is_some_and(|reason| reason.len() > REASON_MAX) {
        return Err(Failure::bad_request(format!("`reason` has at most {REASON_MAX} bytes")));
    }
    let (now, wake) = (app.now(), app.wake.clone());
    let decided = app.db.try_write("approval.decide", move |tx| {
        let acl = acl::load(tx)?;
        let held = rows::get(tx, id.as_str())?;
        let held = held.filter(|held| may_see(&caller, &acl, &held.folder));
        let held = held.ok_or_else(|| Fault::NotFound(format!("there is no held call {id}")))?;
        if !may_decide(&caller, &acl, &held.folder) {
            let text = format!(
                "{} may not decide on calls that are held in {}: that takes `{}` or `{}` there",
                caller.subject(),
                held.folder,
                auth::APPROVE,
                auth::ADMINISTER
            );
            return Err(Fault::Forbidden(text));
        }
        let who = caller.subject().to_string();
        let by = By { who: &who, reason: reason.as_deref() };
        approving::decide(tx, &wake, &held, verdict, by, now)
    });
    Ok(decided.await?)
}

/// Whether the caller may decide on what is held there. Only people decide.
fn may_decide(caller: &Caller, acl: &Acl, folder: &Folder) -> bool {
    let within = caller.folder().is_none_or(|limit| limit.contains(folder));
    let may = match caller.kind() {
        Kind::Operator => true,
        Kind::User => acl.may_approve(caller.subject(), folder).allowed,
        Kind::Service | Kind::Secret | Kind::Anonymous => false,
    };
    within && may
}

fn may_see(caller: &Caller, acl: &Acl, folder: &Folder) -> bool {
    caller.reaches(folder) || may_decide(caller, acl, folder)
}

fn listed(mut held: Approval) -> Approval {
    let end = held.arguments.floor_char_boundary(LISTED_MAX);
    held.is_cut = end < held.arguments.len();
    held.arguments.truncate(end);
    held.answer = None;
    held
}
