//! The adapters that have registered.

use super::{json, time};
use proto::{Jid, Timestamp, routd::Channel, routd::RegisterChannel};
use rusqlite::{Connection, OptionalExtension, Row};

/// An adapter, and who registered it.
#[derive(Clone, Debug)]
pub(crate) struct Registered {
    pub(crate) channel: Channel,
    /// The subject that registered it, such as `service:teled`.
    pub(crate) owner: String,
}

/// What an adapter that remembers idempotency keys says of itself.
pub(crate) const REMEMBERS: &str = "idempotency";

impl Registered {
    /// Whether it says that it can do this.
    pub(crate) fn can(&self, capability: &str) -> bool {
        self.channel.capabilities.iter().any(|one| one == capability)
    }

    /// Whether it can be asked about a message again: what is out is not sent twice.
    pub(crate) fn remembers(&self) -> bool {
        self.can(REMEMBERS)
    }
}

/// Writes a registration. Whether it says anything new.
pub(crate) fn register(
    conn: &Connection,
    channel: &RegisterChannel,
    owner: &str,
    now: Timestamp,
) -> rusqlite::Result<(Channel, bool)> {
    let before = get(conn, &channel.name)?;
    conn.prepare_cached(
        "INSERT INTO channels (name, url, jid_prefixes, capabilities, owner, seen_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT (name) DO UPDATE SET
             url = ?2, jid_prefixes = ?3, capabilities = ?4, owner = ?5, seen_at = ?6",
    )?
    .execute((
        &channel.name,
        &channel.url,
        super::to_json(&channel.jid_prefixes)?,
        super::to_json(&channel.capabilities)?,
        owner,
        now.0,
    ))?;
    let RegisterChannel { name, url, jid_prefixes, capabilities } = channel.clone();
    let after = Channel { name, url, jid_prefixes, capabilities, seen_at: now };
    let same = before.is_some_and(|before| {
        before.owner == owner && Channel { seen_at: now, ..before.channel } == after
    });
    Ok((after, !same))
}

/// Forgets them all.
pub(crate) fn forget_all(conn: &Connection) -> rusqlite::Result<()> {
    conn.execute("DELETE FROM channels", []).map(drop)
}

/// An adapter by its name.
pub(crate) fn get(conn: &Connection, name: &str) -> rusqlite::Result<Option<Registered>> {
    conn.prepare_cached(
        "SELECT name, url, jid_prefixes, capabilities, owner, seen_at FROM channels WHERE name = ?1",
    )?
    .query_row([name], read)
    .optional()
}

/// All of them, by name.
pub(crate) fn list(conn: &Connection) -> rusqlite::Result<Vec<Registered>> {
    conn.prepare_cached(
        "SELECT name, url, jid_prefixes, capabilities, owner, seen_at FROM channels ORDER BY name",
    )?
    .query_map([], read)?
    .collect()
}

/// The adapter of a chat: the one with the longest beginning of its address.
pub(crate) fn of_chat(conn: &Connection, chat: &Jid) -> rusqlite::Result<Option<Registered>> {
    let fits = |one: &Registered| {
        let prefixes = one.channel.jid_prefixes.iter();
        prefixes.filter(|prefix| chat.as_str().starts_with(*prefix)).map(String::len).max()
    };
    let best = list(conn)?.into_iter().filter_map(|one| fits(&one).map(|length| (length, one)));
    Ok(best.max_by_key(|(length, _)| *length).map(|(_, one)| one))
}

fn read(row: &Row<'_>) -> rusqlite::Result<Registered> {
    Ok(Registered {
        channel: Channel {
            name: row.get("name")?,
            url: row.get("url")?,
            jid_prefixes: json(row, "jid_prefixes")?,
            capabilities: json(row, "capabilities")?,
            seen_at: time(row, "seen_at")?,
        },
        owner: row.get("owner")?,
    })
}
