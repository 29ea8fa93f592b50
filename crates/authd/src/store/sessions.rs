//! The SQL of sessions: a browser's, and a program's with its refresh tokens.

use super::{Act, Hash, Store, StoreError};
use crate::session::{Kind, Session};
use db::Tx;
use proto::Timestamp;
use rusqlite::OptionalExtension;

const COLUMNS: &str = "id, subject, made_at_ms, seen_at_ms, rule, begun_from, kind";

/// What became of a refresh token that was shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refreshed {
    /// It was the good one, and is spent; the next one is kept.
    Done(Session),
    /// It was spent before: the session it belongs to has ended, if it had not.
    Reused(i64),
    /// It is none, or its session is over.
    Gone,
}

impl Store {
    /// The session of a cookie, unless somebody ended it. Whether it is over by itself is for
    /// [`Session`] to say.
    pub(crate) async fn session(&self, cookie: Hash) -> Result<Option<Session>, StoreError> {
        let row = self.db.read(move |conn| {
            let sql = format!(
                "SELECT {COLUMNS} FROM sessions WHERE cookie_hash = ?1 AND ended_at_ms IS NULL"
            );
            conn.prepare_cached(&sql)?.query_row([cookie], read_session).optional()
        });
        Ok(row.await?)
    }

    /// The session of that id, unless somebody ended it.
    pub(crate) async fn session_by_id(&self, id: i64) -> Result<Option<Session>, StoreError> {
        let row = self.db.read(move |conn| {
            let sql =
                format!("SELECT {COLUMNS} FROM sessions WHERE id = ?1 AND ended_at_ms IS NULL");
            conn.prepare_cached(&sql)?.query_row([id], read_session).optional()
        });
        Ok(row.await?)
    }

    /// The sessions of somebody that nobody ended, newest first: a person's, as an operator and not.
    pub(crate) async fn sessions_of(&self, subject: &str) -> Result<Vec<Session>, StoreError> {
        let (_, id) = subject.split_once(':').unwrap_or_default();
        let both = (format!("user:{id}"), format!("operator:{id}"));
        let rows = self.db.read(move |conn| {
            let sql = format!(
                "SELECT {COLUMNS} FROM sessions
                 WHERE subject IN (?1, ?2) AND ended_at_ms IS NULL ORDER BY id DESC LIMIT 1000"
            );
            conn.prepare_cached(&sql)?.query_map(both, read_session)?.collect()
        });
        Ok(rows.await?)
    }

    /// Sessions that nobody ended, newest first, of an id below `before`.
    pub(crate) async fn sessions_before(
        &self,
        before: i64,
        limit: u32,
    ) -> Result<Vec<Session>, StoreError> {
        let rows = self.db.read(move |conn| {
            let sql = format!(
                "SELECT {COLUMNS} FROM sessions
                 WHERE id < ?1 AND ended_at_ms IS NULL ORDER BY id DESC LIMIT ?2"
            );
            conn.prepare_cached(&sql)?.query_map((before, limit), read_session)?.collect()
        });
        Ok(rows.await?)
    }

    /// Notes that a session was used.
    pub(crate) async fn touch_session(&self, id: i64, now: Timestamp) -> Result<(), StoreError> {
        let job = move |tx: &Tx<'_>| {
            tx.execute(
                "UPDATE sessions SET seen_at_ms = max(seen_at_ms, ?2)
                 WHERE id = ?1 AND ended_at_ms IS NULL",
                (id, now.0),
            )
            .map(drop)
        };
        Ok(self.db.write("session.seen", job).await?)
    }

    /// Ends these sessions; the audit log gets a row for each that was not over yet.
    pub(crate) async fn end_sessions(&self, ids: Vec<i64>, act: Act) -> Result<u32, StoreError> {
        let job = move |tx: &Tx<'_>| {
            let mut ended = 0;
            for id in ids {
                ended += u32::from(end(tx, id, &act)?);
            }
            Ok(ended)
        };
        Ok(self.db.write("session.end", job).await?)
    }

    /// Begins a program's session, with its first refresh token.
    pub(crate) async fn begin_program(
        &self,
        session: Session,
        token: Hash,
        act: Act,
    ) -> Result<Session, StoreError> {
        let job = move |tx: &Tx<'_>| {
            // No cookie stands for it: the first token's hash is as good as any that nobody has.
            let session = insert_session(tx, &token, session.clone())?;
            add_refresh(tx, &token, session.id, act.at)?;
            let target = format!("session {}", session.id);
            Act { target, ..act.clone() }.append(tx)?;
            Ok(session)
        };
        Ok(self.db.write("program.begin", job).await?)
    }

    /// Spends a refresh token and keeps the next, in one transaction. One that was spent before is known
    /// to two: its session ends, since nobody can tell which of them has stolen it. `lives` says whether
    /// the session is not over by itself.
    pub(crate) async fn refresh(
        &self,
        shown: Hash,
        next: Hash,
        lives: impl Fn(&Session) -> bool + Send + 'static,
        act: Act,
    ) -> Result<Refreshed, StoreError> {
        let job = move |tx: &Tx<'_>| {
            let found: Option<(i64, Option<i64>)> = tx
                .prepare_cached("SELECT session, spent_at_ms FROM refreshes WHERE token_hash = ?1")?
                .query_row([shown], |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()?;
            let Some((id, spent)) = found else { return Ok(Refreshed::Gone) };
            let sql =
                format!("SELECT {COLUMNS} FROM sessions WHERE id = ?1 AND ended_at_ms IS NULL");
            let session = tx.prepare_cached(&sql)?.query_row([id], read_session).optional()?;
            let Some(mut session) = session.filter(&lives) else { return Ok(Refreshed::Gone) };
            if spent.is_some() {
                let detail = format!("a refresh token was shown twice, {}", act.detail);
                end(tx, id, &Act { action: "refresh.reuse", detail, ..act.clone() })?;
                return Ok(Refreshed::Reused(id));
            }
            tx.execute(
                "UPDATE refreshes SET spent_at_ms = ?2 WHERE token_hash = ?1",
                (shown, act.at.0),
            )?;
            add_refresh(tx, &next, id, act.at)?;
            tx.execute("UPDATE sessions SET seen_at_ms = ?2 WHERE id = ?1", (id, act.at.0))?;
            session.seen = act.at;
            Ok(Refreshed::Done(session))
        };
        Ok(self.db.write("refresh", job).await?)
    }
}

/// Keeps a session that begins; the same, with its id.
pub(super) fn insert_session(
    tx: &Tx<'_>,
    cookie: &Hash,
    session: Session,
) -> rusqlite::Result<Session> {
    tx.execute(
        "INSERT INTO sessions (cookie_hash, subject, made_at_ms, seen_at_ms, rule, begun_from, kind)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        (
            cookie,
            &session.subject,
            session.made.0,
            session.seen.0,
            &session.rule,
            &session.from,
            session.kind.name(),
        ),
    )?;
    Ok(Session { id: tx.last_insert_rowid(), ..session })
}

fn add_refresh(tx: &Tx<'_>, token: &Hash, session: i64, now: Timestamp) -> rusqlite::Result<()> {
    tx.execute(
        "INSERT INTO refreshes (token_hash, session, made_at_ms) VALUES (?1, ?2, ?3)",
        (token, session, now.0),
    )
    .map(drop)
}

/// Ends one, and says so; whether it had not ended before.
fn end(tx: &Tx<'_>, id: i64, act: &Act) -> rusqlite::Result<bool> {
    let changed = tx.execute(
        "UPDATE sessions SET ended_at_ms = ?2 WHERE id = ?1 AND ended_at_ms IS NULL",
        (id, act.at.0),
    )?;
    if changed == 1 {
        Act { target: format!("session {id}"), ..act.clone() }.append(tx)?;
    }
    Ok(changed == 1)
}

fn read_session(row: &rusqlite::Row<'_>) -> rusqlite::Result<Session> {
    Ok(Session {
        id: row.get(0)?,
        subject: row.get(1)?,
        made: Timestamp(row.get(2)?),
        seen: Timestamp(row.get(3)?),
        rule: row.get(4)?,
        from: row.get(5)?,
        kind: Kind::named(&row.get::<_, String>(6)?),
    })
}
