//! The route table.

use super::groups::reach;
use crate::{
    app::App,
    fault::Fault,
    ingest,
    record::record,
    route::{Pattern, RouteError, Target},
    store::{groups, routes},
};
use kit::{Caller, Failure};
use proto::{
    Nothing,
    routd::{ExplainRoute, Explanation, NewRoute, RemoveRoute, RouteRow, RouteRows},
};
use std::sync::Arc;

/// Adds a row. A malformed predicate, or a folder that is not in service, is refused here and not met later.
pub(super) async fn add(
    app: Arc<App>,
    caller: Caller,
    wanted: NewRoute,
) -> Result<RouteRow, Failure> {
    let NewRoute { seq, pattern, target } = wanted;
    let invalid = |error: RouteError| Failure::bad_request(error.to_string());
    let pattern = Pattern::parse(&pattern).map_err(invalid)?;
    let parsed = Target::parse(&target).map_err(invalid)?;
    reach(&caller, parsed.base())?;
    let (now, actor) = (app.now(), caller.subject().to_string());
    let added = app.db.try_write("route.add", move |tx| {
        let folder = parsed.base();
        if !groups::in_service(tx, folder)? {
            let text = format!("there is no folder {folder}; add it with `arizuko group add`");
            return Err(Fault::NotFound(text));
        }
        let (row, new) = routes::add(tx, seq, &pattern, &target, now)?;
        if new {
            let detail = format!("{} {} -> {}", row.seq, row.pattern, row.target);
            record(tx, now, &actor, "route.add", &row.id.to_string(), &detail)?;
        }
        Ok(row)
    });
    Ok(added.await?)
}

/// The table.
pub(super) async fn list(app: Arc<App>, caller: Caller, _: Nothing) -> Result<RouteRows, Failure> {
    let mut routes = app.db.read(routes::list).await.map_err(Fault::from)?;
    routes.retain(|row| reaches(&caller, row));
    Ok(RouteRows { routes })
}

/// Removes a row.
pub(super) async fn remove(
    app: Arc<App>,
    caller: Caller,
    wanted: RemoveRoute,
) -> Result<Nothing, Failure> {
    let (now, actor) = (app.now(), caller.subject().to_string());
    let removed = app.db.try_write("route.remove", move |tx| {
        // The row that is there decides, not what the caller says of it.
        let Some(row) = routes::get(tx, wanted.id)? else { return Ok(()) };
        if !reaches(&caller, &row) {
            let text = format!("this token does not reach the folder of route {}", row.id);
            return Err(Fault::Forbidden(text));
        }
        if let Some(row) = routes::remove(tx, row.id)? {
            let detail = format!("{} {} -> {}", row.seq, row.pattern, row.target);
            record(tx, now, &actor, "route.remove", &row.id.to_string(), &detail)?;
        }
        Ok(())
    });
    removed.await?;
    Ok(Nothing {})
}

/// Which rule would take a message.
pub(super) async fn explain(
    app: Arc<App>,
    caller: Caller,
    query: ExplainRoute,
) -> Result<Explanation, Failure> {
    if !caller.reaches_all() {
        let text = "the whole table is looked at, and this token is limited to a folder";
        return Err(Failure::forbidden(text));
    }
    let now = app.now();
    let decided = app.db.try_read(move |conn| {
        let sender = query.sender.unwrap_or_default();
        let verb = query.verb.unwrap_or_else(|| ingest::MESSAGE.to_owned());
        ingest::explain(conn, &query.jid, &sender, &verb, now)
    });
    let decision = decided.await?;
    Ok(Explanation {
        folder: decision.folder,
        effect: decision.effect.name().into(),
        topic: decision.pinned_topic.then(|| decision.topic.to_string()),
        route_id: decision.route_id,
        steps: decision.steps,
    })
}

fn reaches(caller: &Caller, row: &RouteRow) -> bool {
    match Target::parse(&row.target) {
        Ok(target) => caller.reaches(target.base()),
        Err(_) => caller.reaches_all(),
    }
}
