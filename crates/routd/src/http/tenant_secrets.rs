//! The secrets of folders and persons. No answer ever has a value.

use crate::{app::App, fault::Fault, store::tenant_secrets as rows, tenant};
use kit::{Caller, Failure};
use proto::{
    Nothing,
    routd::{Owner, RemoveTenantSecret, SetTenantSecret, TenantSecret, TenantSecrets},
};
use std::sync::Arc;

/// Stores a secret.
pub(super) async fn set(
    app: Arc<App>,
    caller: Caller,
    wanted: SetTenantSecret,
) -> Result<TenantSecret, Failure> {
    if !may_see(&caller, &wanted.owner) {
        return Err(Failure::forbidden(format!("{} is beyond what you may change", wanted.owner)));
    }
    let (now, by) = (app.now(), caller.subject().to_string());
    let set = app
        .keyring
        .write("tenant-secret.set", move |tx, key| tenant::set(tx, key, wanted, &by, now));
    Ok(set.await?)
}

/// The secrets that the caller may see.
pub(super) async fn list(
    app: Arc<App>,
    caller: Caller,
    _: Nothing,
) -> Result<TenantSecrets, Failure> {
    let mut secrets = app.db.read(rows::list).await.map_err(Fault::from)?;
    secrets.retain(|secret| may_see(&caller, &secret.owner));
    Ok(TenantSecrets { secrets })
}

/// Removes a secret.
pub(super) async fn remove(
    app: Arc<App>,
    caller: Caller,
    wanted: RemoveTenantSecret,
) -> Result<Nothing, Failure> {
    let (now, by) = (app.now(), caller.subject().to_string());
    let removed = app.db.try_write("tenant-secret.remove", move |tx| {
        match rows::get(tx, wanted.id.as_str())? {
            Some(row) if may_see(&caller, &row.owner) => tenant::remove(tx, &row, &by, now)?,
            // A repeat answers alike, and nobody learns what there is.
            Some(_) | None => {}
        }
        Ok::<_, Fault>(Nothing {})
    });
    Ok(removed.await?)
}

/// A caller who is bound to folders has nothing to do with persons' secrets.
fn may_see(caller: &Caller, owner: &Owner) -> bool {
    match owner {
        Owner::Folder(folder) => caller.reaches(folder),
        Owner::Person(_) => caller.reaches_all(),
    }
}
