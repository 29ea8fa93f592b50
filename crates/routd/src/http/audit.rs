//! What operators ask of the daemon itself: the audit log, how much there is to do, the key of the database.

use crate::{app::App, fault::Fault, outbox_loop::pending_and_ambiguous, store::count};
use kit::{Caller, Failure};
use proto::{
    Nothing,
    authd::Rekey,
    kit::DatabaseKey,
    routd::{AuditPage, AuditQuery, RoutdStatus},
};
use std::sync::Arc;

/// A page of the audit log, newest first.
pub(super) async fn list(
    app: Arc<App>,
    _: Caller,
    query: AuditQuery,
) -> Result<AuditPage, Failure> {
    let read = app.db.read(move |conn| db::audit::page(conn, query.before, query.limit)).await;
    Ok(read.map_err(Fault::from)?)
}

/// Messages without a route are counted for so long, in milliseconds.
const DAY_MS: i64 = 24 * 60 * 60 * 1_000;

/// Queue depths.
pub(super) async fn status(app: Arc<App>, _: Caller, _: Nothing) -> Result<RoutdStatus, Failure> {
    let since = app.now().plus(-DAY_MS).0;
    let unrouted = format!(
        "SELECT count(*) FROM messages WHERE disposition = 'unrouted' AND received_at > {since}"
    );
    let read = app.db.read(move |conn| {
        let (outbox_pending, outbox_ambiguous) = pending_and_ambiguous(conn)?;
        Ok(RoutdStatus {
            turns_queued: count(conn, "SELECT count(*) FROM turns WHERE state = 'queued'")?,
            turns_running: count(
                conn,
                "SELECT count(*) FROM turns WHERE state IN ('starting', 'running')",
            )?,
            outbox_pending,
            outbox_ambiguous,
            unrouted: count(conn, &unrouted)?,
            approvals_pending: count(
                conn,
                "SELECT count(*) FROM approvals WHERE state = 'pending'",
            )?,
        })
    });
    Ok(read.await.map_err(Fault::from)?)
}

/// Which values of `SECRETS_KEY` open the database.
pub(super) async fn database_key(
    app: Arc<App>,
    _: Caller,
    _: Nothing,
) -> Result<DatabaseKey, Failure> {
    app.keyring.state().await
}

/// Seals everything anew, leaked or not: nothing is kept here that a new key would not cover.
pub(super) async fn rekey(app: Arc<App>, caller: Caller, _: Rekey) -> Result<DatabaseKey, Failure> {
    app.keyring.rekey(caller.subject().as_str()).await?;
    app.keyring.state().await
}
