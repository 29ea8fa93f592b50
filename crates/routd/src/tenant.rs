//! The secrets of folders and persons: stored sealed, and taken out at the moment of use.
//!
//! Whose secret a turn may have spent follows from the turn's rows: its folder's; and a person's, while that person
//! alone wrote what the turn answers. Nothing falls back to another owner's.

use crate::{
    binding::Binding,
    fault::Fault,
    gateway::key::fits_header,
    ids,
    keyring::{open_sealed, seal_as},
    record::record,
    store::{keys, messages, tenant_secrets as rows, turns::Turn},
};
use db::Tx;
use proto::{
    Timestamp,
    routd::{Owner, SetTenantSecret, TenantSecret},
};
use rusqlite::Connection;
use secrets::{Name, Secret, seal::DataKey};

/// Keys of models: spent by the model gateway, bound to the model's address by its setting.
pub(crate) const MODEL_KEYS: [&str; 3] =
    ["ANTHROPIC_API_KEY", "CLAUDE_CODE_OAUTH_TOKEN", "OPENAI_API_KEY"];

/// Stores a secret.
pub(crate) fn set(
    tx: &Tx<'_>,
    key: &DataKey,
    wanted: SetTenantSecret,
    by: &str,
    now: Timestamp,
) -> Result<TenantSecret, Fault> {
    let SetTenantSecret { owner, name, value, url, header } = wanted;
    let name: Name = name.parse().map_err(|error| Fault::Invalid(format!("`name`: {error}")))?;
    let secret = Secret::new(value.into_bytes())
        .map_err(|error| Fault::Invalid(format!("the value of {name}: {error}")))?;
    let (url, header) = bound(&name, url.as_deref(), header.as_deref(), &secret)?;
    let before = rows::find(tx, &owner, name.as_str())?;
    let id = match &before {
        Some(before) => {
            keys::drop_sealed(tx, &sealed_as(before))?;
            before.id.clone()
        }
        None => ids::opaque(&ids::fresh("s"))?,
    };
    let name = name.as_str().to_owned();
    let row = TenantSecret {
        id,
        owner,
        name,
        url,
        header,
        set_at: now,
        set_by: by.into(),
        used_at: None,
    };
    rows::put(tx, &row)?;
    seal_as(tx, key, &sealed_as(&row), secret.expose())?;
    let target = format!("{} {}", row.owner, row.name);
    record(
        tx,
        now,
        by,
        "tenant-secret.set",
        &target,
        row.url.as_deref().unwrap_or("a model's key"),
    )?;
    Ok(row)
}

/// Where a secret may go, as it is stored.
fn bound(
    name: &Name,
    url: Option<&str>,
    header: Option<&str>,
    secret: &Secret,
) -> Result<(Option<String>, Option<String>), Fault> {
    let is_model_key = MODEL_KEYS.contains(&name.as_str());
    match (is_model_key, url) {
        (true, None) if header.is_none() => match fits_header(secret) {
            Ok(()) => Ok((None, None)),
            Err(reason) => Err(Fault::Invalid(reason.into())),
        },
        (true, _) => {
            let text = format!(
                "{name} goes to the model and nowhere else: it has no `url` and no `header`"
            );
            Err(Fault::Invalid(text))
        }
        (false, None) => {
            let text =
                format!("{name} needs `url`: where it may go, such as https://api.example.com/v1/");
            Err(Fault::Invalid(text))
        }
        (false, Some(url)) => {
            let binding = Binding::parse(url, header);
            let binding = binding.map_err(|error| Fault::Invalid(error.to_string()))?;
            let plain = |b: &u8| b.is_ascii_graphic() || *b == b' ';
            if !secret.expose().iter().all(plain) {
                let text =
                    format!("the value of {name} cannot stand in a header: it is not plain ASCII");
                return Err(Fault::Invalid(text));
            }
            Ok((Some(binding.url().to_owned()), Some(binding.template())))
        }
    }
}

/// Removes a secret, and its value with it.
pub(crate) fn remove(
    tx: &Tx<'_>,
    row: &TenantSecret,
    by: &str,
    now: Timestamp,
) -> Result<(), Fault> {
    keys::drop_sealed(tx, &sealed_as(row))?;
    rows::remove(tx, row.id.as_str())?;
    record(tx, now, by, "tenant-secret.remove", &format!("{} {}", row.owner, row.name), "")?;
    Ok(())
}

/// A secret that a turn may have spent: the person's own, else the folder's.
pub(crate) fn of_turn(
    conn: &Connection,
    key: &DataKey,
    turn: &Turn,
    name: &str,
) -> Result<Option<(TenantSecret, Secret)>, Fault> {
    first_of_turn(conn, key, turn, &[name])
}

/// The first of these that a turn may have spent: of the person's own, else of the folder's.
pub(crate) fn first_of_turn(
    conn: &Connection,
    key: &DataKey,
    turn: &Turn,
    names: &[&str],
) -> Result<Option<(TenantSecret, Secret)>, Fault> {
    for owner in owners(conn, turn)? {
        for name in names {
            let Some(row) = rows::find(conn, &owner, name)? else { continue };
            let opened = open_sealed(conn, key, &sealed_as(&row))?;
            let secret = opened.ok_or_else(|| {
                Fault::Defect(format!("the value of {} {} is not there", row.owner, row.name))
            })?;
            return Ok(Some((row, secret)));
        }
    }
    Ok(None)
}

/// Whose secrets a turn may have spent, the first first.
pub(crate) fn owners(conn: &Connection, turn: &Turn) -> Result<Vec<Owner>, Fault> {
    let mut owners = Vec::new();
    // Somebody else's words in the same turn must not spend this person's secrets.
    if let Some(only) = messages::writer_of_turn(conn, &turn.id)? {
        owners.push(Owner::Person(only));
    }
    owners.push(Owner::Folder(turn.folder.clone()));
    Ok(owners)
}

/// The name of the row that holds the value, which is also what it is sealed for.
fn sealed_as(row: &TenantSecret) -> String {
    let (url, header) =
        (row.url.as_deref().unwrap_or_default(), row.header.as_deref().unwrap_or_default());
    format!("tenant\n{}\n{}\n{url}\n{header}", row.owner, row.name)
}
