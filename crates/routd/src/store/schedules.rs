//! Schedules, and the log of what they did.

use super::{parsed, parsed_if_there, time};
use proto::{
    Folder, Opaque, Timestamp,
    routd::{RunOutcome, Schedule, ScheduleRun, ScheduleState},
};
use rusqlite::{Connection, OptionalExtension, Row};

/// Lines of a schedule's log that are kept.
const RUNS_KEPT: u32 = 100;

const COLUMNS: &str = "id, folder, chat_jid, topic, plan, zone, missed, content, state, next_at, \
    created_at, created_by";

/// Writes a new schedule.
pub(crate) fn add(conn: &Connection, schedule: &Schedule) -> rusqlite::Result<()> {
    conn.prepare_cached(
        "INSERT INTO schedules (id, folder, chat_jid, topic, plan, zone, missed, content, state,
             next_at, created_at, created_by)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
    )?
    .execute(rusqlite::params![
        schedule.id.as_str(),
        schedule.folder.as_str(),
        schedule.chat_jid.as_str(),
        schedule.topic.as_str(),
        schedule.when,
        schedule.zone,
        schedule.missed.name(),
        schedule.content,
        schedule.state.name(),
        schedule.next_at.map(|at| at.0),
        schedule.created_at.0,
        schedule.created_by,
    ])?;
    Ok(())
}

/// A schedule by its id.
pub(crate) fn get(conn: &Connection, id: &Opaque) -> rusqlite::Result<Option<Schedule>> {
    conn.prepare_cached(&format!("SELECT {COLUMNS} FROM schedules WHERE id = ?1"))?
        .query_row([id.as_str()], read)
        .optional()
}

/// A page of schedules by id, of one folder or of all.
pub(crate) fn list(
    conn: &Connection,
    folder: Option<&Folder>,
    after: Option<&Opaque>,
    limit: u32,
) -> rusqlite::Result<Vec<Schedule>> {
    let after = after.map_or("", Opaque::as_str);
    let sql = match folder {
        Some(_) => "folder = ?1 AND id > ?2",
        None => "?1 IS NULL AND id > ?2",
    };
    conn.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM schedules WHERE {sql} ORDER BY id LIMIT ?3"
    ))?
    .query_map((folder.map(Folder::as_str), after, limit), read)?
    .collect()
}

/// How many schedules of a folder may still fire.
pub(crate) fn count_of(conn: &Connection, folder: &Folder) -> rusqlite::Result<u32> {
    conn.prepare_cached("SELECT count(*) FROM schedules WHERE folder = ?1 AND state != 'done'")?
        .query_row([folder.as_str()], |row| row.get(0))
}

/// Schedules that are due, the longest due first.
pub(crate) fn due(
    conn: &Connection,
    now: Timestamp,
    limit: u32,
) -> rusqlite::Result<Vec<Schedule>> {
    conn.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM schedules WHERE next_at <= ?1 ORDER BY next_at LIMIT ?2"
    ))?
    .query_map((now.0, limit), read)?
    .collect()
}

/// When the next one is due.
pub(crate) fn next_due(conn: &Connection) -> rusqlite::Result<Option<Timestamp>> {
    conn.prepare_cached("SELECT min(next_at) FROM schedules WHERE next_at IS NOT NULL")?
        .query_row([], |row| Ok(row.get::<_, Option<i64>>(0)?.map(Timestamp)))
}

/// Moves a schedule from where it stands to another state or time. Whether it stood there.
pub(crate) fn step(
    conn: &Connection,
    from: &Schedule,
    state: ScheduleState,
    next: Option<Timestamp>,
) -> rusqlite::Result<bool> {
    let changed = conn
        .prepare_cached(
            "UPDATE schedules SET state = ?4, next_at = ?5
             WHERE id = ?1 AND state = ?2 AND next_at IS ?3",
        )?
        .execute((
            from.id.as_str(),
            from.state.name(),
            from.next_at.map(|at| at.0),
            state.name(),
            next.map(|at| at.0),
        ))?;
    Ok(changed == 1)
}

/// Removes a schedule and its log.
pub(crate) fn remove(conn: &Connection, id: &Opaque) -> rusqlite::Result<()> {
    conn.prepare_cached("DELETE FROM schedule_runs WHERE schedule_id = ?1")?
        .execute([id.as_str()])?;
    conn.prepare_cached("DELETE FROM schedules WHERE id = ?1")?.execute([id.as_str()])?;
    Ok(())
}

/// Writes a line of a schedule's log, and forgets those that are too many.
pub(crate) fn log(
    conn: &Connection,
    id: &Opaque,
    firing: &str,
    run: &ScheduleRun,
) -> rusqlite::Result<()> {
    conn.prepare_cached(
        "INSERT INTO schedule_runs (schedule_id, firing, due_at, at, outcome, message_id)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?
    .execute((
        id.as_str(),
        firing,
        run.due_at.0,
        run.at.0,
        run.outcome.name(),
        run.message_id.as_ref().map(Opaque::as_str),
    ))?;
    conn.prepare_cached(
        "DELETE FROM schedule_runs WHERE schedule_id = ?1 AND seq <=
             (SELECT seq FROM schedule_runs WHERE schedule_id = ?1 ORDER BY seq DESC LIMIT 1 OFFSET ?2)",
    )?
    .execute((id.as_str(), RUNS_KEPT))?;
    Ok(())
}

/// What became of one firing.
pub(crate) fn run(
    conn: &Connection,
    id: &Opaque,
    firing: &str,
) -> rusqlite::Result<Option<ScheduleRun>> {
    conn.prepare_cached(
        "SELECT due_at, at, outcome, message_id FROM schedule_runs
         WHERE schedule_id = ?1 AND firing = ?2",
    )?
    .query_row((id.as_str(), firing), read_run)
    .optional()
}

/// The log of a schedule, newest first.
pub(crate) fn runs(conn: &Connection, id: &Opaque) -> rusqlite::Result<Vec<ScheduleRun>> {
    conn.prepare_cached(
        "SELECT due_at, at, outcome, message_id FROM schedule_runs
         WHERE schedule_id = ?1 ORDER BY seq DESC",
    )?
    .query_map([id.as_str()], read_run)?
    .collect()
}

fn read(row: &Row<'_>) -> rusqlite::Result<Schedule> {
    let state: String = row.get("state")?;
    let all = [ScheduleState::Active, ScheduleState::Paused, ScheduleState::Done];
    let state = all.into_iter().find(|known| known.name() == state);
    Ok(Schedule {
        id: parsed(row, "id")?,
        folder: parsed(row, "folder")?,
        chat_jid: parsed(row, "chat_jid")?,
        topic: parsed(row, "topic")?,
        when: row.get("plan")?,
        zone: row.get("zone")?,
        missed: parsed(row, "missed")?,
        content: row.get("content")?,
        // The table's checks allow no other.
        state: state.ok_or(rusqlite::Error::InvalidQuery)?,
        next_at: row.get::<_, Option<i64>>("next_at")?.map(Timestamp),
        created_at: time(row, "created_at")?,
        created_by: row.get("created_by")?,
    })
}

fn read_run(row: &Row<'_>) -> rusqlite::Result<ScheduleRun> {
    let outcome: String = row.get("outcome")?;
    let outcome = RunOutcome::ALL.into_iter().find(|known| known.name() == outcome);
    Ok(ScheduleRun {
        due_at: time(row, "due_at")?,
        at: time(row, "at")?,
        // The table's checks allow no other.
        outcome: outcome.ok_or(rusqlite::Error::InvalidQuery)?,
        message_id: parsed_if_there(row, "message_id")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::routd::Missed;

    fn database() -> Connection {
        let conn = Connection::open_in_memory().unwrap();
        for migration in super::super::MIGRATIONS {
            conn.execute_batch(migration.sql).unwrap();
        }
        conn
    }

    /// A schedule that is written down.
    fn added(conn: &Connection, id: &str) -> Schedule {
        let schedule = Schedule {
            id: id.parse().unwrap(),
            folder: "atlas".parse().unwrap(),
            chat_jid: "web:atlas".parse().unwrap(),
            topic: "".parse().unwrap(),
            when: "@hourly".into(),
            zone: "UTC".into(),
            missed: Missed::Once,
            content: "it is time".into(),
            state: ScheduleState::Active,
            next_at: Some(Timestamp(3_600_000)),
            created_at: Timestamp(0),
            created_by: "operator:local".into(),
        };
        add(conn, &schedule).unwrap();
        schedule
    }

    #[test]
    fn a_schedule_moves_only_from_where_it_was_seen() {
        let conn = database();
        let seen = added(&conn, "s-1");
        let to = |state, next: Option<i64>| step(&conn, &seen, state, next.map(Timestamp)).unwrap();
        assert!(to(ScheduleState::Active, Some(7_200_000)));
        // Whoever looked before that claims nothing: neither the firing again, nor another state.
        assert!(!to(ScheduleState::Active, Some(7_200_000)));
        assert!(!to(ScheduleState::Paused, None));
        let found = get(&conn, &seen.id).unwrap().unwrap();
        assert_eq!(found, Schedule { next_at: Some(Timestamp(7_200_000)), ..seen.clone() });
        assert!(step(&conn, &found, ScheduleState::Paused, None).unwrap());
        let stale = step(&conn, &found, ScheduleState::Active, found.next_at).unwrap();
        assert!(!stale, "it is paused");
    }

    #[test]
    fn the_log_of_each_keeps_its_newest_lines() {
        let conn = database();
        let (busy, quiet) = (added(&conn, "s-1"), added(&conn, "s-2"));
        let write = |schedule: &Schedule, at: i64| {
            let (due_at, at) = (Timestamp(at), Timestamp(at));
            let run = ScheduleRun { due_at, at, outcome: RunOutcome::Skipped, message_id: None };
            log(&conn, &schedule.id, &due_at.0.to_string(), &run).unwrap();
        };
        write(&quiet, 0);
        (0..105).for_each(|at| write(&busy, at));
        let kept: Vec<i64> =
            runs(&conn, &busy.id).unwrap().iter().map(|run| run.due_at.0).collect();
        assert_eq!(kept, (5..105).rev().collect::<Vec<_>>());
        assert_eq!(runs(&conn, &quiet.id).unwrap().len(), 1, "another's lines are not counted");
    }
}
