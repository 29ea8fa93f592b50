//! What models were used, and what folders, persons and the instance may spend.

use super::page;
use crate::{
    app::App,
    fault::Fault,
    gateway::budget::Standing,
    record::record,
    store::{groups, usage as rows},
};
use kit::{Caller, Failure};
use proto::{
    Nothing,
    routd::{Cap, CapOf, Caps, SetCap, UsagePage, UsageQuery, UsageRow},
};
use std::sync::Arc;

/// Sums of what was used.
pub(super) async fn get(
    app: Arc<App>,
    caller: Caller,
    asked: UsageQuery,
) -> Result<UsagePage, Failure> {
    match &asked.folder {
        Some(folder) if !caller.reaches(folder) => {
            return Err(Failure::forbidden(format!("{folder} is beyond what you may see")));
        }
        None if !caller.reaches_all() => {
            return Err(Failure::forbidden("name the folder: you may not see all of them"));
        }
        Some(_) | None => {}
    }
    let after = asked.after.as_deref().map(cursor).transpose()?;
    let limit = page(asked.limit);
    let UsageQuery { folder, by, since, .. } = asked;
    let wanted = rows::Wanted { folder, by, since, after, limit: limit + 1 };
    let found = app.db.read(move |conn| rows::sums(conn, &wanted)).await;
    let mut rows = found.map_err(Fault::from)?;
    let fits = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = rows.len() > fits;
    rows.truncate(fits);
    let next = if more { rows.last().map(written).transpose()? } else { None };
    Ok(UsagePage { rows, next })
}

/// Sets a cap.
pub(super) async fn set_cap(app: Arc<App>, caller: Caller, asked: SetCap) -> Result<Cap, Failure> {
    let SetCap { of, limits } = asked;
    let reaches = match &of {
        CapOf::Folder(folder) => caller.reaches(folder),
        CapOf::Instance | CapOf::Person(_) => caller.reaches_all(),
    };
    if !reaches {
        return Err(Failure::forbidden(format!("{of} is beyond what you may change")));
    }
    let (now, by) = (app.now(), caller.subject().to_string());
    let set = app.db.try_write("usage.cap", move |tx| {
        if let CapOf::Folder(folder) = &of
            && !limits.is_none()
            && !groups::in_service(tx, folder)?
        {
            return Err(Fault::NotFound(format!("there is no folder {folder}")));
        }
        rows::set_cap(tx, &of, &limits, &by, now)?;
        let detail = match serde_json::to_string(&limits) {
            Ok(text) if !limits.is_none() => text,
            _ => "none".into(),
        };
        record(tx, now, &by, "usage.cap", &of.to_string(), &detail)?;
        Ok(shown(rows::standing(tx, of, limits, now)?))
    });
    Ok(set.await?)
}

/// The caps that the caller may see.
pub(super) async fn caps(app: Arc<App>, caller: Caller, _: Nothing) -> Result<Caps, Failure> {
    let now = app.now();
    let found = app.db.read(move |conn| rows::caps(conn, now)).await.map_err(Fault::from)?;
    let mut caps: Vec<Cap> = found.into_iter().map(shown).collect();
    caps.retain(|cap| match &cap.of {
        CapOf::Folder(folder) => caller.reaches(folder),
        CapOf::Person(address) => {
            caller.reaches_all() || caller.subject().as_str() == address.as_str()
        }
        CapOf::Instance => caller.reaches_all(),
    });
    Ok(Caps { caps })
}

fn shown(standing: Standing) -> Cap {
    let Standing { of, limits, today, this_month, .. } = standing;
    Cap { of, limits, today, this_month }
}

/// Where a page ends, as text: hexadecimal, so that no name in it needs quoting.
fn written(row: &UsageRow) -> Result<String, Failure> {
    let key = [&row.day, &row.folder, &row.person, &row.model];
    let json = serde_json::to_vec(&key).map_err(|error| Failure::internal(&error))?;
    Ok(hex::encode(json))
}

fn cursor(text: &str) -> Result<[String; 4], Failure> {
    let json = hex::decode(text).ok();
    let key = json.and_then(|json| serde_json::from_slice(&json).ok());
    key.ok_or_else(|| Failure::bad_request("`after` must be the `next` of a page"))
}
