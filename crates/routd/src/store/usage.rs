//! What models were used, and what folders, persons and the instance may spend.

use super::parsed;
use crate::gateway::{budget::Standing, meter::Tokens};
use proto::{
    Folder, Timestamp,
    routd::{CapLimits, CapOf, Spent, UsageBy, UsageRow},
};
use rusqlite::{Connection, OptionalExtension, Row};

/// A request that is about to be sent.
#[derive(Clone, Debug)]
pub(crate) struct NewUsage<'a> {
    pub(crate) turn_id: &'a str,
    pub(crate) attempt: u32,
    pub(crate) folder: &'a Folder,
    pub(crate) person: &'a str,
    pub(crate) vendor: &'static str,
    pub(crate) model: &'a str,
    pub(crate) key_owner: &'a str,
    /// What it may come to at most.
    pub(crate) at_most: &'a Tokens,
    /// What that costs, where the price is known.
    pub(crate) micro_dollars: Option<u64>,
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// Its usage is what the model said.
    Done,
    /// It broke off, and the rest is estimated.
    Cut,
    /// The model answered with an error, or was not reached.
    Failed,
}

impl Ended {
    /// Its name in the database and in metrics.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Cut => "cut",
            Self::Failed => "failed",
        }
    }
}

/// Writes that a request begins, with what is set aside for it: all that it may come to. Answers with its row's number.
pub(crate) fn begin(
    conn: &Connection,
    usage: &NewUsage<'_>,
    now: Timestamp,
) -> rusqlite::Result<i64> {
    let tokens = usage.at_most;
    conn.prepare_cached(
        "INSERT INTO usage (turn_id, attempt, folder, person, vendor, model, key_owner, state, input_tokens,
             output_tokens, cache_read_tokens, cache_write_tokens, micro_dollars, began_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 'open', ?8, ?9, 0, ?12, ?10, ?11) RETURNING seq",
    )?
    .query_row(
        (
            usage.turn_id,
            usage.attempt,
            usage.folder.as_str(),
            usage.person,
            usage.vendor,
            usage.model,
            usage.key_owner,
            whole(tokens.input),
            whole(tokens.output),
            usage.micro_dollars.map(whole),
            now.0,
            whole(tokens.cache_write),
        ),
        |row| row.get(0),
    )
}

/// Writes what a request came to. Once: one that is not open stays as it is.
pub(crate) fn end(
    conn: &Connection,
    seq: i64,
    how: Ended,
    tokens: &Tokens,
    micro_dollars: Option<u64>,
    now: Timestamp,
) -> rusqlite::Result<bool> {
    let changed = conn
        .prepare_cached(
            "UPDATE usage SET state = ?2, input_tokens = ?3, output_tokens = ?4, cache_read_tokens = ?5,
                 cache_write_tokens = ?6, micro_dollars = ?7, ended_at = ?8
             WHERE seq = ?1 AND state = 'open'",
        )?
        .execute((
            seq,
            how.name(),
            whole(tokens.input),
            whole(tokens.output),
            whole(tokens.cache_read),
            whole(tokens.cache_write),
            micro_dollars.map(whole),
            now.0,
        ))?;
    Ok(changed == 1)
}

/// Closes what a routd before this one left open: what was set aside counts as used. Answers how many.
pub(crate) fn lose_open(conn: &Connection) -> rusqlite::Result<usize> {
    conn.execute("UPDATE usage SET state = 'lost' WHERE state = 'open'", ())
}

/// The caps that hold for what a person asks for in a folder: the instance's, those of the folder and of those above it,
/// and the person's, each with what stands against it.
pub(crate) fn caps_over(
    conn: &Connection,
    folder: &Folder,
    person: &str,
    now: Timestamp,
) -> rusqlite::Result<Vec<Standing>> {
    let path = folder.as_str();
    let above = path.match_indices('/').map(|(at, _)| path.get(..at).unwrap_or_default());
    let mut whose = vec![CapOf::Instance.to_string()];
    whose.extend(above.chain([path]).map(|name| format!("folder:{name}")));
    if !person.is_empty() {
        whose.push(format!("person:{person}"));
    }
    let mut found = Vec::new();
    for whose in whose {
        let cap = conn
            .prepare_cached("SELECT * FROM caps WHERE whose = ?1")?
            .query_row([whose], cap)
            .optional()?;
        if let Some((of, limits)) = cap {
            found.push(standing(conn, of, limits, now)?);
        }
    }
    Ok(found)
}

/// Every cap, with what stands against it.
pub(crate) fn caps(conn: &Connection, now: Timestamp) -> rusqlite::Result<Vec<Standing>> {
    let caps = conn
        .prepare_cached("SELECT * FROM caps ORDER BY whose != 'instance', whose")?
        .query_map([], cap)?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    caps.into_iter().map(|(of, limits)| standing(conn, of, limits, now)).collect()
}

/// Sets a cap, or takes it away where it limits nothing.
pub(crate) fn set_cap(
    conn: &Connection,
    of: &CapOf,
    limits: &CapLimits,
    by: &str,
    now: Timestamp,
) -> rusqlite::Result<()> {
    if limits.is_none() {
        conn.execute("DELETE FROM caps WHERE whose = ?1", [of.to_string()])?;
        return Ok(());
    }
    conn.prepare_cached(
        "INSERT INTO caps (whose, daily_micro_dollars, monthly_micro_dollars, daily_tokens, monthly_tokens,
             set_at, set_by)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
         ON CONFLICT (whose) DO UPDATE SET daily_micro_dollars = ?2, monthly_micro_dollars = ?3, daily_tokens = ?4,
             monthly_tokens = ?5, set_at = ?6, set_by = ?7",
    )?
    .execute((
        of.to_string(),
        limits.daily_micro_dollars.map(whole),
        limits.monthly_micro_dollars.map(whole),
        limits.daily_tokens.map(whole),
        limits.monthly_tokens.map(whole),
        now.0,
        by,
    ))?;
    Ok(())
}

/// Somebody's limits with what stands against them.
pub(crate) fn standing(
    conn: &Connection,
    of: CapOf,
    limits: CapLimits,
    now: Timestamp,
) -> rusqlite::Result<Standing> {
    let seconds = now.0.div_euclid(1_000);
    // The calendar is SQLite's: days and months of UTC.
    let [day, tomorrow, month, next_month]: [i64; 4] = conn
        .prepare_cached(
            "SELECT unixepoch(?1, 'unixepoch', 'start of day'),
                 unixepoch(?1, 'unixepoch', 'start of day', '+1 day'),
                 unixepoch(?1, 'unixepoch', 'start of month'),
                 unixepoch(?1, 'unixepoch', 'start of month', '+1 month')",
        )?
        .query_row([seconds], |row| Ok([row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?]))?;
    let today = spent(conn, &of, day)?;
    let this_month = spent(conn, &of, month)?;
    let until = |then: i64| u64::try_from(then - seconds).unwrap_or(1);
    let resumes = [until(tomorrow), until(next_month)];
    Ok(Standing { of, limits, today, this_month, resumes })
}

/// What somebody spent since a second of the clock, with what is set aside.
fn spent(conn: &Connection, of: &CapOf, since: i64) -> rusqlite::Result<Spent> {
    let sums =
        |row: &Row<'_>| Ok(Spent { micro_dollars: natural(row, 0)?, tokens: natural(row, 1)? });
    let (which, name) = match of {
        CapOf::Instance => ("?1 = ''", ""),
        // `0` is the character after `/`.
        CapOf::Folder(folder) => {
            ("(folder = ?1 OR (folder > ?1 || '/' AND folder < ?1 || '0'))", folder.as_str())
        }
        CapOf::Person(address) => ("person = ?1", address.as_str()),
    };
    conn.prepare_cached(&format!(
        "SELECT coalesce(sum(micro_dollars), 0),
             coalesce(sum(input_tokens + output_tokens + cache_read_tokens + cache_write_tokens), 0)
         FROM usage WHERE began_at >= ?2 AND {which}"
    ))?
    .query_row((name, since.saturating_mul(1_000)), sums)
}

/// Which sums.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) folder: Option<Folder>,
    pub(crate) by: Option<UsageBy>,
    pub(crate) since: Option<Timestamp>,
    /// Day, folder, person and model of the row before the first.
    pub(crate) after: Option<[String; 4]>,
    pub(crate) limit: u32,
}

/// Sums of what was used, in the order of day, folder, person and model. What is in flight is not in them.
pub(crate) fn sums(conn: &Connection, wanted: &Wanted) -> rusqlite::Result<Vec<UsageRow>> {
    let is = |by| wanted.by.is_none_or(|asked| asked == by);
    let [day, folder, person, model] = wanted.after.clone().unwrap_or_default();
    conn.prepare_cached(
        "WITH named AS (
             SELECT iif(?1, strftime('%Y-%m-%d', began_at / 1000, 'unixepoch'), '') AS day,
                 iif(?2, folder, '') AS in_folder, iif(?3, person, '') AS who, iif(?4, model, '') AS of_model, *
             FROM usage
             WHERE state != 'open' AND began_at >= ?5
               AND (?6 IS NULL OR folder = ?6 OR (folder > ?6 || '/' AND folder < ?6 || '0')))
         SELECT day, in_folder, who, of_model, count(*), sum(input_tokens), sum(output_tokens),
             sum(cache_read_tokens), sum(cache_write_tokens), coalesce(sum(micro_dollars), 0),
             count(*) - count(micro_dollars)
         FROM named
         WHERE ?7 OR (day, in_folder, who, of_model) > (?8, ?9, ?10, ?11)
         GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4 LIMIT ?12",
    )?
    .query_map(
        (
            is(UsageBy::Day),
            is(UsageBy::Folder),
            is(UsageBy::Person),
            is(UsageBy::Model),
            wanted.since.unwrap_or(Timestamp(0)).0,
            wanted.folder.as_ref().map(Folder::as_str),
            wanted.after.is_none(),
            day,
            folder,
            person,
            model,
            wanted.limit,
        ),
        read,
    )?
    .collect()
}

fn read(row: &Row<'_>) -> rusqlite::Result<UsageRow> {
    Ok(UsageRow {
        day: row.get(0)?,
        folder: row.get(1)?,
        person: row.get(2)?,
        model: row.get(3)?,
        requests: natural(row, 4)?,
        input_tokens: natural(row, 5)?,
        output_tokens: natural(row, 6)?,
        cache_read_tokens: natural(row, 7)?,
        cache_write_tokens: natural(row, 8)?,
        micro_dollars: natural(row, 9)?,
        unpriced_requests: natural(row, 10)?,
    })
}

fn cap(row: &Row<'_>) -> rusqlite::Result<(CapOf, CapLimits)> {
    let limit = |name: &str| {
        let value = row.get::<_, Option<i64>>(name)?;
        Ok::<_, rusqlite::Error>(value.map(|value| u64::try_from(value).unwrap_or_default()))
    };
    let limits = CapLimits {
        daily_micro_dollars: limit("daily_micro_dollars")?,
        monthly_micro_dollars: limit("monthly_micro_dollars")?,
        daily_tokens: limit("daily_tokens")?,
        monthly_tokens: limit("monthly_tokens")?,
    };
    Ok((parsed(row, "whose")?, limits))
}

fn natural(row: &Row<'_>, at: usize) -> rusqlite::Result<u64> {
    Ok(u64::try_from(row.get::<_, i64>(at)?).unwrap_or_default())
}

/// As SQLite counts; what is beyond cannot be summed up, and is bounded far below that.
fn whole(count: u64) -> i64 {
    // So that not even a thousand of them overflow a sum.
    i64::try_from(count).unwrap_or(i64::MAX).min(1 << 52)
}
