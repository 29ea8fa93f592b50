//! runed.db: every run and how it stands. All of runed's SQL is here and in the modules below.
//!
//! A run goes `pending`, `starting`, `running`, `ending`, `ended`, and may skip forward, never back but for one step: a
//! start that the machine knows nothing of, after a restart, is simply tried again from `starting`. Each step is one
//! guarded `UPDATE`; who finds the row in another state has lost a race, and is told so.

mod breakers;
mod rows;

pub(crate) use rows::end_name;
pub use rows::{Row, State};

use crate::queue;
use crate::run::{Ended, How, RunId, RunSpec};
use db::rusqlite::{self, Connection, OptionalExtension, params};
use db::{Database, Error, Migration, OpenError, Options, Schema, Tx, audit, epoch};
use proto::routd::AuditPage;
use proto::runed::{ListRuns, RunEnd};
use proto::{Folder, Opaque, Timestamp};
use rows::{read, select};
use std::collections::BTreeSet;
use std::path::Path;
use tokio::sync::watch;

/// `ARZe`: runed's mark in the file.
const APPLICATION_ID: i32 = 0x4152_5a65;

const MIGRATIONS: &[Migration] = &[
    Migration { version: 1, name: "runs", sql: include_str!("store/schema.sql") },
    Migration { version: 2, name: "audit", sql: audit::SCHEMA },
];

/// What a runed.db is.
pub const SCHEMA: Schema = Schema { application_id: APPLICATION_ID, migrations: MIGRATIONS };

/// Rows that a page has when nobody says, and at most.
const PAGE: (u32, u32) = (100, 500);

/// The runs.
#[derive(Clone, Debug)]
pub struct Store {
    db: Database,
    /// Counts the changes, for those who wait for one.
    changes: watch::Sender<u64>,
}

/// A run to be added.
#[derive(Clone, Debug)]
pub struct NewRun {
    /// What the backend is given.
    pub spec: RunSpec,
    /// The turn it serves.
    pub turn_id: Opaque,
    /// Which attempt at it.
    pub attempt: u32,
    /// The tenant.
    pub folder: Folder,
    /// Why it can never run, where that is known already.
    pub refusal: Option<String>,
    /// Who asks for it, as a subject.
    pub actor: String,
}

/// How many runs there are in each of the states that count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// They wait, or are being started.
    pub pending: i64,
    /// They run, or are being ended.
    pub running: i64,
}

impl Store {
    /// Opens the file at `path`, whose directory exists.
    pub async fn open(path: &Path) -> Result<Self, OpenError> {
        let db = Database::open(Options::new(path, APPLICATION_ID, MIGRATIONS)).await?;
        Ok(Self { db, changes: watch::Sender::new(0) })
    }

    /// Where this database is a copy that was brought back and that nobody has opened yet: has the numbers of runs, which
    /// are cursors, go on above those that were given out since. What became of the runs themselves the machine says, as
    /// after any start; an attempt that it knows is not made twice.
    pub async fn begin_epoch(&self, now: Timestamp) -> Result<(), Error> {
        self.db
            .write("epoch", move |tx| {
                let Some(begun) = epoch::begin(tx, now.0)? else { return Ok(()) };
                epoch::skip_to(tx, "runs", now.0)?;
                let taken = Timestamp(begun.from.taken_at_ms);
                let entry = audit::Entry {
                    at_ms: now.0,
                    actor: "service:runed",
                    action: "instance.restore",
                    target: &format!("epoch {}", begun.epoch),
                    detail: &format!("backup {} of {taken}", begun.from.backup),
                };
                audit::append(tx, &entry).map(drop)
            })
            .await
    }

    /// Told of every change after it is on the disk.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    async fn change<T, F>(&self, label: &'static str, job: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(&Tx<'_>) -> rusqlite::Result<T> + Send + 'static,
    {
        let tell = self.tell();
        let job = move |tx: &Tx<'_>| {
            let done = job(tx)?;
            tx.after_commit(tell);
            Ok(done)
        };
        self.db.write(label, job).await
    }

    /// Tells those who wait that something has changed. For after the commit.
    fn tell(&self) -> impl FnOnce() + Send + 'static {
        let changes = self.changes.clone();
        move || changes.send_modify(|count| *count += 1)
    }

    /// Adds a run. One of the same attempt that is there already is given instead, as it stands.
    pub async fn add(&self, run: NewRun, now: Timestamp) -> Result<Row, Error> {
        self.change("runs.add", move |tx| {
            if let Some(row) = by_attempt(tx, &run.turn_id, run.attempt)? {
                return Ok(row);
            }
            let ended = run.refusal.is_some();
            tx.execute(
                "INSERT INTO runs (id, turn_id, attempt, folder, spec, state, ending, detail,
                                   created_at_ms, ended_at_ms)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
                params![
                    run.spec.id.as_str(),
                    run.turn_id.as_str(),
                    run.attempt,
                    run.folder.as_str(),
                    rows::to_json(&run.spec)?,
                    if ended { State::Ended } else { State::Pending },
                    ended.then(|| end_name(RunEnd::Refused)),
                    run.refusal,
                    now.0,
                    ended.then_some(now.0),
                ],
            )?;
            let what =
                format!("turn {} attempt {}, folder {}", run.turn_id, run.attempt, run.folder);
            note(tx, now, &run.actor, "run.start", &run.spec.id, &what)?;
            by_id(tx, &run.spec.id)?.ok_or(rusqlite::Error::QueryReturnedNoRows)
        })
        .await
    }

    /// A run.
    pub async fn get(&self, id: &RunId) -> Result<Option<Row>, Error> {
        let id = id.clone();
        self.db.read(move |conn| by_id(conn, &id)).await
    }

    /// Runs, newest first, and the cursor of the next page.
    pub async fn list(&self, query: ListRuns) -> Result<(Vec<Row>, Option<i64>), Error> {
        let limit = query.limit.unwrap_or(PAGE.0).clamp(1, PAGE.1);
        let rows = self
            .db
            .read(move |conn| {
                let states = rows::states_shown_as(query.state);
                conn.prepare_cached(&format!(
                    "{} WHERE seq < ?1 AND state IN ({states}) ORDER BY seq DESC LIMIT ?2",
                    select()
                ))?
                .query_map((query.before.unwrap_or(i64::MAX), limit), read)?
                .collect::<rusqlite::Result<Vec<Row>>>()
            })
            .await?;
        let full = u32::try_from(rows.len()).is_ok_and(|length| length == limit);
        let next = rows.last().filter(|_| full).map(|row| row.seq);
        Ok((rows, next))
    }

    /// Every run that the backend may have: taken up, and not ended.
    pub async fn in_hand(&self) -> Result<Vec<Row>, Error> {
        let mut rows = self.db.read(open_rows).await?;
        rows.retain(|row| row.state != State::Pending);
        Ok(rows)
    }

    /// How many there are.
    pub async fn counts(&self) -> Result<Counts, Error> {
        self.db
            .read(|conn| {
                conn.query_row(
                    "SELECT count(*) FILTER (WHERE state IN ('pending', 'starting')),
                            count(*) FILTER (WHERE state IN ('running', 'ending'))
                     FROM runs WHERE state <> 'ended'",
                    [],
                    |row| Ok(Counts { pending: row.get(0)?, running: row.get(1)? }),
                )
            })
            .await
    }

    /// How many folders' breakers are open.
    pub async fn paused(&self, now: Timestamp) -> Result<i64, Error> {
        self.db.read(move |conn| breakers::open(conn, now)).await
    }

    /// Takes the runs whose turn it is, and gives them. Those of a folder whose breaker is open end instead.
    pub async fn claim(&self, capacity: u32, now: Timestamp) -> Result<Vec<Row>, Error> {
        let tell = self.tell();
        let claim = move |tx: &Tx<'_>| {
            let open = open_rows(tx)?;
            let queue: Vec<queue::Open> = open.iter().map(Row::in_queue).collect();
            let chosen: BTreeSet<i64> = queue::next(&queue, capacity).into_iter().collect();
            if chosen.is_empty() {
                // Not a change: whoever claims waits for changes.
                return Ok(Vec::new());
            }
            tx.after_commit(tell);
            let mut claimed = Vec::new();
            for row in open.into_iter().filter(|row| chosen.contains(&row.seq)) {
                match breakers::of(tx, &row.folder)?.admits(now) {
                    Ok(()) => {
                        step(tx, &row.id, State::Pending, State::Starting)?;
                        claimed.push(Row { state: State::Starting, ..row });
                    }
                    Err(until) => {
                        let detail = format!(
                            "not tried: the last starts in {} failed; the next is tried from {until}",
                            row.folder
                        );
                        finish(tx, &row.id, RunEnd::StartFailed, Some(detail), now)?;
                    }
                }
            }
            Ok(claimed)
        };
        self.db.write("runs.claim", claim).await
    }

    /// The agent runs. False when somebody has asked for its end meanwhile.
    pub async fn started(&self, id: &RunId, now: Timestamp) -> Result<bool, Error> {
        let id = id.clone();
        self.change("runs.started", move |tx| {
            tx.execute(
                "UPDATE runs SET started_at_ms = ?2 WHERE id = ?1 AND state <> 'ended'",
                (id.as_str(), now.0),
            )?;
            step(tx, &id, State::Starting, State::Running)
        })
        .await
    }

    /// Asks for the end of a run. One that waits ends at once; one that has ended stays as it is.
    pub async fn ask_end(
        &self,
        id: &RunId,
        actor: String,
        now: Timestamp,
    ) -> Result<Option<Row>, Error> {
        let id = id.clone();
        self.change("runs.ask_end", move |tx| {
            let Some(row) = by_id(tx, &id)? else { return Ok(None) };
            match row.state {
                State::Pending => {
                    finish(tx, &id, RunEnd::Cancelled, None, now)?;
                }
                State::Starting | State::Running => {
                    step(tx, &id, row.state, State::Ending)?;
                }
                State::Ending | State::Ended => return Ok(Some(row)),
            }
            tx.execute("UPDATE runs SET asked_by = ?2 WHERE id = ?1", (id.as_str(), &actor))?;
            note(tx, now, &actor, "run.end", &id, "")?;
            by_id(tx, &id)
        })
        .await
    }

    /// Records the end that the machine saw. The first word stands: false when the run had ended.
    pub async fn ended(&self, id: &RunId, ended: Ended, now: Timestamp) -> Result<bool, Error> {
        let id = id.clone();
        self.change("runs.ended", move |tx| {
            let Some(row) = by_id(tx, &id)?.filter(|row| row.state != State::Ended) else {
                return Ok(false);
            };
            let (end, detail) = ended.verdict(row.asked_by.is_some());
            breakers::learn(tx, &row.folder, &ended.how, now)?;
            if let Some(started) = ended.started_at() {
                tx.execute(
                    "UPDATE runs SET started_at_ms = ?2 WHERE id = ?1",
                    (id.as_str(), started.0),
                )?;
            }
            // A clock that was set back must not let a run end before it began.
            let at = ended.ended_at_ms.map_or(now, Timestamp).max(row.created_at);
            finish(tx, &id, end, detail, at)
        })
        .await
    }

    /// Forgets the runs that ended before `before`, and of the others all but the newest `most`. Returns the ids of
    /// those that are left, and before when those ended that are not.
    pub async fn forget(
        &self,
        before: Timestamp,
        most: u32,
    ) -> Result<(BTreeSet<RunId>, Timestamp), Error> {
        self.db
            .write("runs.forget", move |tx| {
                let surplus = tx
                    .query_row(
                        "SELECT ended_at_ms FROM runs WHERE state = 'ended'
                         ORDER BY ended_at_ms DESC LIMIT 1 OFFSET ?1",
                        [most],
                        |row| row.get::<_, i64>(0),
                    )
                    .optional()?;
                let before = surplus.map_or(before, |at| before.max(Timestamp(at + 1)));
                tx.execute(
                    "DELETE FROM runs WHERE state = 'ended' AND ended_at_ms < ?1",
                    [before.0],
                )?;
                let mut ids = tx.prepare_cached("SELECT id FROM runs")?;
                let left =
                    ids.query_map([], |row| rows::parsed(row, 0))?.collect::<Result<_, _>>()?;
                Ok((left, before))
            })
            .await
    }

    /// Keeps what others write into the audit log.
    pub fn keeper(&self) -> audit::Keeper {
        audit::Keeper::of(&self.db)
    }

    /// What was done, newest first, and the cursor of the next page.
    pub async fn audit(&self, before: Option<i64>, limit: Option<u32>) -> Result<AuditPage, Error> {
        self.db.read(move |conn| audit::page(conn, before, limit)).await
    }

    /// What the daemon's life needs of it: what is wrong, when it is gone, how it is closed.
    pub(crate) fn kept(&self) -> kit::Store {
        let (look, lost, close) = (self.db.watcher(), self.db.watcher(), self.db.watcher());
        kit::Store {
            name: "runed.db",
            trouble: Box::new(move || look.trouble()),
            lost: Box::pin(async move { lost.closed().await }),
            close: Box::pin(async move { close.close().await }),
        }
    }
}

fn by_id(conn: &Connection, id: &RunId) -> rusqlite::Result<Option<Row>> {
    conn.prepare_cached(&format!("{} WHERE id = ?1", select()))?
        .query_row([id.as_str()], read)
        .optional()
}

fn by_attempt(conn: &Connection, turn: &Opaque, attempt: u32) -> rusqlite::Result<Option<Row>> {
    conn.prepare_cached(&format!("{} WHERE turn_id = ?1 AND attempt = ?2", select()))?
        .query_row((turn.as_str(), attempt), read)
        .optional()
}

fn open_rows(conn: &Connection) -> rusqlite::Result<Vec<Row>> {
    conn.prepare_cached(&format!("{} WHERE state <> 'ended' ORDER BY seq", select()))?
        .query_map([], read)?
        .collect()
}

/// One step of a run. False when it was not in the state `from`.
fn step(tx: &Connection, id: &RunId, from: State, to: State) -> rusqlite::Result<bool> {
    let mut update =
        tx.prepare_cached("UPDATE runs SET state = ?3 WHERE id = ?1 AND state = ?2")?;
    Ok(update.execute((id.as_str(), from, to))? == 1)
}

/// The last step of a run. False when it had ended.
fn finish(
    tx: &Connection,
    id: &RunId,
    end: RunEnd,
    detail: Option<String>,
    at: Timestamp,
) -> rusqlite::Result<bool> {
    let mut update = tx.prepare_cached(
        "UPDATE runs SET state = 'ended', ending = ?2, detail = ?3, ended_at_ms = ?4
         WHERE id = ?1 AND state <> 'ended'",
    )?;
    Ok(update.execute((id.as_str(), end_name(end), detail, at.0))? == 1)
}

fn note(
    tx: &Connection,
    now: Timestamp,
    actor: &str,
    action: &str,
    id: &RunId,
    detail: &str,
) -> rusqlite::Result<()> {
    let entry = audit::Entry { at_ms: now.0, actor, action, target: id.as_str(), detail };
    audit::append(tx, &entry).map(drop)
}

/// Whether this end says something about starting, for the breaker.
fn was_start_failure(how: &How) -> Option<bool> {
    match how {
        How::NotStarted { permanent: false } => Some(true),
        How::NotStarted { permanent: true } | How::Lost | How::Stopped => None,
        _ => Some(false),
    }
}
